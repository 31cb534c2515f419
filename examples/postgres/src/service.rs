//! The functions of the service.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use osb_sdk::{Binding, Change, Endpoint, Error, Object, Operation, Result, Service, Undone, Updatable};
use postgres_protocol::password::scram_sha_256;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::catalog::PlanSize;
use crate::parameters::{ChangeDatabase, Extension, NewDatabase, NewLogin};
use crate::server::{Installed, Server, Session};
use crate::settings::{PublicAddress, Settings};
use crate::sql;

/// How often it is looked whether sessions that were ended are gone, and the pause between.
const LOOKS: usize = 100;
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// The step of an update that keeps what was installed before it.
const BEFORE: &str = "before";

/// The service: PostgreSQL databases on one server.
pub struct Databases {
    server: Server,
    public: PublicAddress,
}

/// What the broker stores of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The database.
    pub name: String,
    /// The role that owns it, and that its logins are members of.
    pub owner: String,
}

/// What is chosen for a login before it is made.
#[derive(Serialize, Deserialize)]
struct Secret {
    password: String,
    valid_until: Option<Timestamp>,
}

/// What an application gets.
#[derive(Serialize, Deserialize)]
pub struct Login {
    /// All of it: `postgres://username:password@host:port/database`.
    pub uri: String,
    /// Name or address of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// The login.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl Databases {
    /// Databases on the server of the settings. Connects when it is first used.
    pub fn new(settings: &Settings) -> Self {
        Self {
            server: Server::new(settings),
            public: settings.public.clone(),
        }
    }
}

impl Service for Databases {
    type Parameters = NewDatabase;
    type BindParameters = NewLogin;
    type State = Database;
    type Credentials = Login;

    async fn provision(&self, op: &Operation, new: NewDatabase) -> Result<Database> {
        let size = size(op)?;
        let session = self.server.session(op).await?;
        let database = Database::of(op);
        op.progress("Creating the owner");
        op.step("owner", || create_owner(&session, &database)).await?;
        op.progress("Creating the database");
        op.step("database", || create_database(&session, &database, size, &new))
            .await?;
        let opening = database.opening(op);
        op.step("access", || session.execute(&opening)).await?;
        if !new.extensions.is_empty() {
            op.progress("Installing the extensions");
            op.step("extensions", || create_extensions(&session, &database, &new.extensions))
                .await?;
        }
        session.close().await;
        Ok(database)
    }

    async fn deprovision(&self, op: &Operation, database: Option<Database>) -> Result<()> {
        let session = self.server.session(op).await?;
        let database = database.unwrap_or_else(|| Database::of(op));
        op.progress("Dropping the database");
        drop_database(&session, &database.name).await?;
        // Logins that a broken off unbind may have left.
        for login in session.members(&database.owner).await? {
            drop_login(&session, &login, None).await?;
        }
        if session.role(&database.owner).await?.is_some() {
            session.execute(&sql::drop_role(&database.owner)).await?;
        }
        session.mark_removed().await?;
        session.close().await;
        Ok(())
    }

    // A rotation is a bind, too: a further login under a name of its own. The old one works until it is unbound.
    async fn bind(&self, op: &Operation, database: &Database, new: NewLogin) -> Result<Binding<Login>> {
        let username = op.stable_name("login");
        // Chosen once and stored, so that a repeat gives the same login.
        let secret = op.step("secret", || async { Secret::new(&new) }).await?;
        let session = self.server.session(op).await?;
        let exists = session.role(&username).await?.is_some();
        session
            .execute(&secret.put_login(&username, &database.owner, exists))
            .await?;
        session
            .inside(&database.name)
            .await?
            .execute(&sql::share(&username, &database.owner))
            .await?;
        session.close().await;
        let login = self.public.login(&database.name, username, secret.password);
        Ok(expiring(Binding::new(login), secret.valid_until).endpoints(vec![self.public.endpoint()]))
    }

    async fn unbind(&self, op: &Operation, database: &Database, _: Option<Login>) -> Result<()> {
        let session = self.server.session(op).await?;
        drop_login(&session, &op.stable_name("login"), Some(database)).await?;
        session.close().await;
        Ok(())
    }

    // Nothing in them is secret.
    fn shown_parameters(&self, parameters: Object) -> Option<Object> {
        Some(parameters)
    }

    fn shown_bind_parameters(&self, parameters: Object) -> Option<Object> {
        Some(parameters)
    }

    async fn list_backend(&self) -> Result<Option<Vec<String>>> {
        Ok(Some(self.server.names().await?))
    }
}

impl Updatable for Databases {
    type Update = ChangeDatabase;

    async fn update(&self, op: &Operation, database: Database, change: Change<ChangeDatabase>) -> Result<Database> {
        let size = size(op)?;
        let session = self.server.session(op).await?;
        let inside = session.inside(&database.name).await?;
        // What a late end of the update is taken back to.
        op.step(BEFORE, || inside.installed(&database.owner)).await?;
        let outdated = match change.maintenance {
            // Users may have installed further ones: all that belong to the instance.
            Some(_) => inside.outdated(&database.owner).await?,
            None => Vec::new(),
        };
        let new = change.parameters.unwrap_or_default();
        op.progress("Changing the database");
        // In one transaction: an update that fails has changed nothing.
        let statements = [
            sql::create_extensions(&database.owner, &new.extensions),
            sql::update_extensions(&database.owner, &outdated),
            sql::limit_connections(&database.name, size.connections),
        ];
        inside.execute(&statements.join("; ")).await?;
        session.close().await;
        Ok(database)
    }

    async fn undo_update(&self, op: &Operation, database: Database, change: Change<ChangeDatabase>) -> Result<Undone> {
        let Some(before) = op.earlier_step::<Vec<Installed>>(BEFORE) else {
            return Ok(Undone::Everything);
        };
        let size = match &change.previous_plan {
            Some(plan) => PlanSize::with_id(plan.as_str()).ok_or_else(no_size)?,
            None => size(op)?,
        };
        let session = self.server.session(op).await?;
        let inside = session.inside(&database.name).await?;
        let now = inside.installed(&database.owner).await?;
        let upgraded = |old: &Installed| now.iter().any(|new| new.name == old.name && new.version != old.version);
        if before.iter().any(upgraded) {
            // PostgreSQL has no way back from a newer version of an extension.
            return Ok(Undone::Nothing);
        }
        let mut added = change.parameters.unwrap_or_default().extensions;
        added.retain(|wanted| before.iter().all(|old| old.name != wanted.as_str()));
        let statements = sql::take_back(&database, &added, size.connections);
        let undone = inside.execute_unless_in_use(&statements).await?;
        session.close().await;
        Ok(undone)
    }
}

impl Database {
    fn of(op: &Operation) -> Self {
        Self {
            name: op.instance_name("db"),
            owner: op.instance_name("owner"),
        }
    }

    /// The comment tells the operator which instance it is. Ids may hold any character; the server's own character set
    /// may not.
    fn opening(&self, op: &Operation) -> String {
        let id = op.instance().as_str().chars();
        let id: String = id.map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
        sql::open_database(&self.name, &format!("service instance {id}"))
    }
}

impl Secret {
    fn new(new: &NewLogin) -> Result<Self> {
        let days = |days: u32| Timestamp::now() + SignedDuration::from_hours(24 * i64::from(days));
        Ok(Self {
            password: random_password()?,
            valid_until: new.valid_days.map(days),
        })
    }

    fn put_login(&self, username: &str, owner: &str, exists: bool) -> String {
        let verifier = scram_sha_256(self.password.as_bytes());
        let until = self.valid_until.map(|time| time.to_string());
        let until = until.as_deref().unwrap_or("infinity");
        sql::put_login(username, owner, &verifier, until, exists)
    }
}

/// The last quarter of its time is left for renewing it.
fn expiring(binding: Binding<Login>, valid_until: Option<Timestamp>) -> Binding<Login> {
    let Some(end) = valid_until.map(SystemTime::from) else {
        return binding;
    };
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    binding.expires_at(end).renew_before(end - left / 4)
}

fn size(op: &Operation) -> Result<PlanSize> {
    PlanSize::with_id(&op.plan().id).ok_or_else(no_size)
}

fn no_size() -> Error {
    Error::failed("The plan has no size.")
}

async fn create_owner(session: &Session<'_>, database: &Database) -> Result<()> {
    let join = sql::join(&database.owner);
    let statements = match session.role(&database.owner).await? {
        Some(_) => join,
        None => format!("{}; {join}", sql::create_owner(&database.owner)),
    };
    session.execute(&statements).await
}

async fn create_database(session: &Session<'_>, database: &Database, size: PlanSize, new: &NewDatabase) -> Result<()> {
    if session.database(&database.name).await?.is_some() {
        return Ok(());
    }
    session
        .execute(&sql::create_database(
            &database.name,
            &database.owner,
            size.connections,
            new.encoding,
        ))
        .await
}

async fn create_extensions(session: &Session<'_>, database: &Database, extensions: &[Extension]) -> Result<()> {
    let inside = session.inside(&database.name).await?;
    inside
        .execute(&sql::create_extensions(&database.owner, extensions))
        .await
}

async fn drop_database(session: &Session<'_>, name: &str) -> Result<()> {
    let Some(found) = session.database(name).await? else {
        return Ok(());
    };
    if found.whole {
        session.execute(&sql::close_database(name)).await?;
    }
    session.execute(&sql::drop_database(name)).await
}

/// Drops a login with its sessions; what belongs to it goes to the owner of the instance's database, if there still is
/// one.
async fn drop_login(session: &Session<'_>, login: &str, database: Option<&Database>) -> Result<()> {
    let Some(role) = session.role(login).await? else {
        return Ok(());
    };
    session.execute(&sql::close_login(login)).await?;
    end_sessions(session, role).await?;
    if let Some(database) = database
        && session.database(&database.name).await?.is_some_and(|found| found.open)
    {
        let inside = session.inside(&database.name).await?;
        inside.execute(&sql::hand_over(login, &database.owner)).await?;
    }
    session.execute(&sql::drop_role(login)).await?;
    // Who had logged in just before the login was closed.
    end_sessions(session, role).await
}

async fn end_sessions(session: &Session<'_>, role: u32) -> Result<()> {
    for _ in 0..LOOKS {
        if session.end_sessions(role).await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Err(Error::retry("The login's sessions are still ending."))
}

/// 192 random bits in 32 characters that need no escape anywhere.
fn random_password() -> Result<String> {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::retry("The system gives no random numbers."))?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(CHARACTERS[usize::from(byte % 64)]))
        .collect())
}

impl PublicAddress {
    fn endpoint(&self) -> Endpoint {
        Endpoint {
            host: self.host.clone(),
            ports: vec![self.port.to_string()],
            protocol: None,
        }
    }

    fn login(&self, database: &str, username: String, password: String) -> Login {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let query = if self.tls { "?sslmode=require" } else { "" };
        let uri = format!(
            "postgres://{username}:{password}@{host}:{}/{database}{query}",
            self.port
        );
        Login {
            uri,
            host: self.host.clone(),
            port: self.port,
            database: database.to_owned(),
            username,
            password,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_different_and_need_no_escape() {
        let (one, two) = (random_password().expect("random"), random_password().expect("random"));
        assert_ne!(one, two);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn the_uri_says_all_of_it() {
        let public = PublicAddress {
            host: "::1".to_owned(),
            port: 6000,
            tls: true,
        };
        let login = public.login("db", "user".to_owned(), "secret".to_owned());
        assert_eq!(login.uri, "postgres://user:secret@[::1]:6000/db?sslmode=require");
    }
}
