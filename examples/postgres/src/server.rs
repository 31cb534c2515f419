//! The database server: connections, and the session in which one call of the broker works.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use osb_sdk::{Error, Operation, Result, Undone};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::Settings;
use crate::sql;

/// The most sessions in the broker's own database; a call inside of an instance's database has one more there.
const SESSIONS: usize = 16;
/// So long a call waits for a free session and a new connection.
const WAIT: Duration = Duration::from_secs(15);
/// So long a statement waits for a lock that somebody else holds.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '10s'";
/// `DROP DATABASE ... WITH (FORCE)` and trusted extensions.
const OLDEST_VERSION: i32 = 130_000;

/// A PostgreSQL server that the broker may create databases and roles on.
pub(crate) struct Server {
    postgres: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    pool: Pool,
    prepared: OnceCell<()>,
}

impl Server {
    /// Connects when it is first used.
    pub(crate) fn new(settings: &Settings) -> Self {
        let tls = MakeRustlsConnect::new(settings.tls.clone());
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(settings.postgres.clone(), tls.clone(), config);
        let timeouts = Timeouts {
            wait: Some(WAIT),
            create: Some(WAIT),
            recycle: Some(WAIT),
        };
        let pool = Pool::builder(manager)
            .max_size(SESSIONS)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is given, which is all that timeouts need");
        Self {
            postgres: settings.postgres.clone(),
            tls,
            pool,
            prepared: OnceCell::new(),
        }
    }

    /// Opens the session of one call: it alone works on the instance until it ends.
    ///
    /// Whoever else still holds the instance's lock (a session of a process that was killed, or of a call that was
    /// given up, whose statement still runs in the server) is ended. A process with an older epoch is refused.
    pub(crate) async fn session(&self, op: &Operation) -> Result<Session<'_>> {
        let client = self.pool.get().await?;
        let mut session = Session {
            server: self,
            client: Some(client),
            instance: op.instance_name("instance"),
            epoch: i64::try_from(op.fence()).unwrap_or(i64::MAX),
        };
        session.execute(LOCK_TIMEOUT).await?;
        self.prepared.get_or_try_init(|| prepare(&session)).await?;
        session.claim().await?;
        Ok(session)
    }

    /// The databases and roles that a broker with this login has made, of whatever instance. It waits for no instance's
    /// lock, so some may be gone a moment later.
    pub(crate) async fn names(&self) -> Result<Vec<String>> {
        let client = self.pool.get().await?;
        let rows = client.query_typed(sql::NAMES, &[]).await.map_err(explain)?;
        let names = rows.iter().map(|row| row.try_get(0));
        Ok(names.collect::<std::result::Result<_, _>>()?)
    }

    async fn connect(&self, database: &str) -> Result<Inside> {
        let mut config = self.postgres.clone();
        config.dbname(database);
        let (client, connection) = config.connect(self.tls.clone()).await?;
        // Without it no query would ever be answered; its error is the one that the query gets.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Inside { client, connection })
    }
}

/// Makes the bookkeeping, once.
async fn prepare(session: &Session<'_>) -> Result<()> {
    let found = session.client().query_typed_one(
        "SELECT current_setting('server_version_num')::int4, to_regclass('osb_broker.instance') IS NOT NULL",
        &[],
    );
    let row = found.await.map_err(explain)?;
    if row.try_get::<_, i32>(0)? < OLDEST_VERSION {
        return Err(Error::failed("The database server is older than PostgreSQL 13."));
    }
    if row.try_get(1)? {
        Ok(())
    } else {
        session.execute(sql::BOOKKEEPING).await
    }
}

/// A session in the broker's own database that holds the lock of one instance.
///
/// Dropped before [`close`](Self::close), it takes its connection along, which ends what it was doing.
pub(crate) struct Session<'a> {
    server: &'a Server,
    /// Present until the session ends.
    client: Option<Object>,
    instance: String,
    epoch: i64,
}

/// What is known of a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Database {
    /// Whether the broker can connect to it.
    pub(crate) open: bool,
    /// Whether it can still be changed; else only dropped.
    pub(crate) whole: bool,
}

impl<'a> Session<'a> {
    /// The epoch first, so that the lock cannot go back to an older process; then its sessions; then the lock; and
    /// then again the epoch, for who came by meanwhile.
    async fn claim(&mut self) -> Result<()> {
        let epoch = [(&self.instance as _, Type::TEXT), (&self.epoch as _, Type::INT8)];
        let announced = self
            .client()
            .execute_typed(sql::ANNOUNCE, &epoch)
            .await
            .map_err(explain)?;
        if announced == 0 {
            return Err(overtaken());
        }
        let instance = [(&self.instance as _, Type::TEXT)];
        self.client()
            .query_typed(sql::END_OTHERS, &instance)
            .await
            .map_err(explain)?;
        self.client().query_typed(sql::LOCK, &instance).await.map_err(explain)?;
        let row = self
            .client()
            .query_typed_opt(sql::STILL_HIGHEST, &epoch)
            .await
            .map_err(explain)?;
        match row.map(|row| row.try_get(0)).transpose()? {
            Some(true) => Ok(()),
            _ => Err(overtaken()),
        }
    }

    /// Gives the connection back for the next call.
    pub(crate) async fn close(mut self) {
        // A connection that cannot unlock is lost, and the lock with it.
        if self.client().batch_execute(sql::UNLOCK).await.is_ok() {
            drop(self.client.take());
        }
    }

    /// Opens a session inside of an instance's database. It has the instance's lock there, too.
    pub(crate) async fn inside(&self, database: &str) -> Result<Inside> {
        let inside = self.server.connect(database).await?;
        inside.execute(LOCK_TIMEOUT).await?;
        inside
            .client
            .query_typed(sql::LOCK, &[(&self.instance, Type::TEXT)])
            .await
            .map_err(explain)?;
        // Whoever ended this session before that other one was to be seen must not be worked against.
        self.execute("").await?;
        Ok(inside)
    }

    /// Runs statements, in one transaction if there are several.
    pub(crate) async fn execute(&self, statements: &str) -> Result<()> {
        self.client().batch_execute(statements).await.map_err(explain)
    }

    /// The number of a role, if it is there.
    pub(crate) async fn role(&self, name: &str) -> Result<Option<u32>> {
        let row = self
            .client()
            .query_typed_opt(sql::ROLE, &[(&name, Type::TEXT)])
            .await
            .map_err(explain)?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// The roles that are members of another.
    pub(crate) async fn members(&self, role: &str) -> Result<Vec<String>> {
        let rows = self
            .client()
            .query_typed(sql::MEMBERS, &[(&role, Type::TEXT)])
            .await
            .map_err(explain)?;
        Ok(rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<std::result::Result<_, _>>()?)
    }

    /// A database, if it is there.
    pub(crate) async fn database(&self, name: &str) -> Result<Option<Database>> {
        let row = self
            .client()
            .query_typed_opt(sql::DATABASE, &[(&name, Type::TEXT)])
            .await
            .map_err(explain)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Database {
            open: row.try_get(0)?,
            whole: row.try_get(1)?,
        }))
    }

    /// Ends the sessions of a role; says whether there was none any more.
    pub(crate) async fn end_sessions(&self, role: u32) -> Result<bool> {
        let rows = self
            .client()
            .query_typed(sql::END_SESSIONS, &[(&role, Type::OID)])
            .await
            .map_err(explain)?;
        Ok(rows.is_empty())
    }

    /// Notes that the instance is gone.
    pub(crate) async fn mark_removed(&self) -> Result<()> {
        self.client()
            .execute_typed(sql::MARK_REMOVED, &[(&self.instance, Type::TEXT)])
            .await
            .map_err(explain)?;
        self.execute(sql::FORGET_REMOVED).await
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it is taken only when the session ends")
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

/// An extension that a database has.
#[derive(Serialize, Deserialize)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A session inside of an instance's database; ends with the value.
pub(crate) struct Inside {
    client: Client,
    connection: JoinHandle<()>,
}

impl Inside {
    /// Runs statements, in one transaction if there are several.
    pub(crate) async fn execute(&self, statements: &str) -> Result<()> {
        self.client.batch_execute(statements).await.map_err(explain)
    }

    /// Runs statements in one transaction, unless something still needs what they drop.
    pub(crate) async fn execute_unless_in_use(&self, statements: &str) -> Result<Undone> {
        match self.client.batch_execute(statements).await {
            Ok(()) => Ok(Undone::Everything),
            Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => Ok(Undone::Nothing),
            Err(error) => Err(explain(error)),
        }
    }

    /// The extensions of a role.
    pub(crate) async fn installed(&self, owner: &str) -> Result<Vec<Installed>> {
        let found = self.client.query_typed(sql::INSTALLED, &[(&owner, Type::TEXT)]).await;
        let rows = found.map_err(explain)?.into_iter();
        let extension = |row: tokio_postgres::Row| {
            Ok(Installed {
                name: row.try_get(0)?,
                version: row.try_get(1)?,
            })
        };
        rows.map(extension).collect()
    }

    /// The extensions of a role that the server has newer versions of.
    pub(crate) async fn outdated(&self, owner: &str) -> Result<Vec<String>> {
        let found = self.client.query_typed(sql::OUTDATED, &[(&owner, Type::TEXT)]).await;
        let names = found.map_err(explain)?.into_iter().map(|row| row.try_get(0));
        Ok(names.collect::<std::result::Result<_, _>>()?)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn overtaken() -> Error {
    Error::retry("Another process of the broker works on this instance.")
}

/// What an error of the server means. Most pass: a lost connection, a server that starts, a full pool.
fn explain(error: tokio_postgres::Error) -> Error {
    let Some(code) = error.code() else { return error.into() };
    let explained = match code {
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::failed("The broker's login on the database server lacks a right that this needs.")
        }
        code if *code == SqlState::FEATURE_NOT_SUPPORTED || *code == SqlState::UNDEFINED_FILE => {
            Error::failed("The database server does not have what was asked for.")
        }
        code if *code == SqlState::INVALID_PARAMETER_VALUE => {
            Error::failed("The database server cannot make a database with these parameters.")
        }
        code if *code == SqlState::DEPENDENT_OBJECTS_STILL_EXIST => Error::failed(
            "Something outside of the instance's database still belongs to it: the operator has to remove that.",
        ),
        code if *code == SqlState::DUPLICATE_OBJECT
            || *code == SqlState::DUPLICATE_TABLE
            || *code == SqlState::DUPLICATE_FUNCTION =>
        {
            Error::failed("Something in the database has a name that an extension needs: rename it first.")
        }
        code if *code == SqlState::OBJECT_IN_USE || *code == SqlState::LOCK_NOT_AVAILABLE => {
            Error::retry("The database is in use.")
        }
        _ => return error.into(),
    };
    explained.caused_by(error)
}
