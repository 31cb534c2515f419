//! A platform with a broker, and the operator's view of the database server.

use std::time::Duration;

use apiserver::{ApiServer, UserInfo};
use osb_api::answer::{BindingBody, Bound, InstanceDetails, Provisioned, Removed, Updated};
use osb_api::error::{BindError, DeprovisionError, ProvisionError, UnbindError, UpdateError};
use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};
use osb_api::request::{
    BindRequest, FetchQuery, Incomplete, MissingOrganization, ProvisionRequest, RemovalQuery, UpdateRequest,
};
use osb_api::version::ApiVersion;
use osb_engine::{Config, Engine, Home, Keys, Tenants};
use osb_server::{Broker as _, Caller, Platform};
use postgres_broker::{Login, Settings};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use testparts::Postgres;
use tokio_postgres::{Client, NoTls};

pub(crate) const SMALL: &str = "small";

/// The home of one or more broker processes.
pub(crate) struct World {
    api: ApiServer,
}

impl World {
    pub(crate) async fn new() -> Self {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let api = ApiServer::open(store, apiserver::Options::default())
            .await
            .expect("an API server");
        let world = Self { api };
        let home = world.home();
        home.install().await.expect("our kinds");
        for namespace in ["system", "one"] {
            home.ensure_namespace(namespace).await.expect("a namespace");
        }
        world
    }

    fn home(&self) -> Home {
        Home::in_process(self.api.service_as(UserInfo::admin()), "postgres.osb.internal")
    }

    /// Starts a broker process: it takes over from those before it, which go on as if they did not know.
    pub(crate) async fn broker(&self, url: &str) -> Broker {
        self.broker_at(url, "1.0.0").await
    }

    /// With that maintenance version.
    pub(crate) async fn broker_at(&self, url: &str, maintenance_version: &str) -> Broker {
        let variables = [
            ("POSTGRES_URL", url),
            ("POSTGRES_MAINTENANCE_VERSION", maintenance_version),
        ];
        self.broker_with(&settings(&variables)).await
    }

    /// With these settings.
    pub(crate) async fn broker_with(&self, settings: &Settings) -> Broker {
        let config = Config {
            grace: Duration::from_millis(20),
            ..Config::default()
        };
        self.broker_of(settings, config).await
    }

    /// Whose updates have less than two seconds, and half as long again to be taken back.
    pub(crate) async fn hasty_broker(&self, settings: &Settings) -> Broker {
        let config = Config {
            budget_complete: Duration::from_millis(3500),
            grace: Duration::from_millis(850),
            ..Config::default()
        };
        self.broker_of(settings, config).await
    }

    async fn broker_of(&self, settings: &Settings, config: Config) -> Broker {
        let config = Config {
            system_namespace: "system".to_owned(),
            tenants: Tenants::new([(platform(), "one".to_owned())]),
            first_retry: Duration::from_millis(5),
            longest_retry: Duration::from_millis(200),
            ..config
        };
        let broker = postgres_broker::broker(settings);
        let engine = Engine::start(broker, self.home(), Keys::new([7; 32], []), config)
            .await
            .expect("the engine starts");
        Broker::new(engine)
    }
}

/// The settings of these variables.
pub(crate) fn settings(variables: &[(&str, &str)]) -> Settings {
    let value = |name: &str| variables.iter().find(|(key, _)| *key == name);
    Settings::read(|name| Some(value(name)?.1.to_owned())).expect("usable settings")
}

fn platform() -> Platform {
    Platform("one".into())
}

/// A broker as a platform uses it: every call waits for its outcome.
#[derive(Clone)]
pub(crate) struct Broker {
    engine: Engine,
    offering: String,
    plans: Vec<(String, String)>,
}

impl Broker {
    fn new(engine: Engine) -> Self {
        let catalog: Value = serde_json::from_slice(&engine.catalog().body).expect("a catalog");
        let offering = &catalog["services"][0];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let plans = offering["plans"].as_array().expect("plans").iter();
        let plans = plans.map(|plan| (text(&plan["name"]), text(&plan["id"]))).collect();
        Self {
            offering: text(&offering["id"]),
            plans,
            engine,
        }
    }

    fn plan(&self, name: &str) -> &str {
        &self
            .plans
            .iter()
            .find(|(plan, _)| plan == name)
            .expect("a plan of the catalog")
            .1
    }

    pub(crate) async fn provision(
        &self,
        instance: &str,
        plan: &str,
        parameters: Value,
    ) -> Result<Provisioned, ProvisionError> {
        let body = json!({
            "service_id": self.offering, "plan_id": self.plan(plan), "parameters": parameters,
            "organization_guid": "o", "space_guid": "s",
        });
        let request = ProvisionRequest::from_json(body.to_string().as_bytes(), MissingOrganization::Refuse);
        let request = request.expect("a request");
        self.engine
            .provision(caller(), instance_id(instance), request, Incomplete::Refused)
            .await
    }

    /// Provisions the small plan and expects success.
    pub(crate) async fn buy(&self, instance: &str) {
        self.provision(instance, SMALL, json!({})).await.expect("provisioned");
    }

    /// `change` is what stands in the request beside the offering; a `plan` in it is a name.
    pub(crate) async fn update(&self, instance: &str, mut change: Value) -> Result<Updated, UpdateError> {
        change["service_id"] = self.offering.as_str().into();
        if let Some(plan) = change["plan"].as_str() {
            change["plan_id"] = self.plan(plan).into();
        }
        let request = UpdateRequest::from_json(change.to_string().as_bytes()).expect("a request");
        self.engine
            .update(caller(), instance_id(instance), request, Incomplete::Refused)
            .await
    }

    pub(crate) async fn fetch(&self, instance: &str) -> InstanceDetails {
        let fetched = self
            .engine
            .fetch_instance(caller(), instance_id(instance), FetchQuery::default());
        fetched.await.expect("fetched")
    }

    pub(crate) async fn try_bind(&self, instance: &str, binding: &str) -> Result<BindingBody, BindError> {
        let plan = json!({"plan_id": self.plan(SMALL)});
        self.try_bind_with(instance, binding, plan).await
    }

    /// `more` is what stands in the request beside the offering.
    pub(crate) async fn try_bind_with(
        &self,
        instance: &str,
        binding: &str,
        mut more: Value,
    ) -> Result<BindingBody, BindError> {
        more["service_id"] = self.offering.as_str().into();
        let body = more;
        let request = BindRequest::from_json(body.to_string().as_bytes()).expect("a request");
        let binding = BindingId::new(binding).expect("an id");
        match self
            .engine
            .bind(caller(), instance_id(instance), binding, request, Incomplete::Refused)
            .await?
        {
            Bound::Created(body) | Bound::Exists(body) => Ok(body),
            Bound::Accepted(_) => panic!("accepted, although that was refused"),
        }
    }

    pub(crate) async fn bind(&self, instance: &str, binding: &str) -> Login {
        login(self.try_bind(instance, binding).await.expect("bound"))
    }

    /// A new login that takes the place of an old one.
    pub(crate) async fn rotate(&self, instance: &str, binding: &str, old: &str) -> Result<BindingBody, BindError> {
        self.try_bind_with(instance, binding, json!({"predecessor_binding_id": old}))
            .await
    }

    pub(crate) async fn unbind(&self, instance: &str, binding: &str) -> Result<Removed, UnbindError> {
        let binding = BindingId::new(binding).expect("an id");
        self.engine
            .unbind(
                caller(),
                instance_id(instance),
                binding,
                self.query(),
                Incomplete::Refused,
            )
            .await
    }

    pub(crate) async fn deprovision(&self, instance: &str) -> Result<Removed, DeprovisionError> {
        self.engine
            .deprovision(caller(), instance_id(instance), self.query(), Incomplete::Refused)
            .await
    }

    /// What belongs to nothing in the server, and how many of it there are by `/metrics` then.
    pub(crate) async fn orphans(&self) -> (Vec<String>, Option<usize>) {
        let found = self.engine.orphans().await.expect("the server and the home answer");
        let mut registry = Registry::default();
        self.engine.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a text");
        let line = format!("osb_backend_orphans{{service=\"{}\"}} ", self.offering);
        let count = text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok());
        (found.into_iter().map(|orphan| orphan.name).collect(), count)
    }

    /// Waits until nothing is under way any more.
    pub(crate) async fn idle(&self) {
        self.engine.idle().await;
    }

    fn query(&self) -> RemovalQuery {
        let service_id = OfferingId::new(self.offering.clone()).expect("an id");
        RemovalQuery {
            service_id,
            plan_id: PlanId::new(self.plan(SMALL)).expect("an id"),
        }
    }
}

pub(crate) fn login(body: BindingBody) -> Login {
    let credentials = Value::Object(body.credentials.expect("credentials"));
    serde_json::from_value(credentials).expect("a login")
}

fn caller() -> Caller {
    Caller::new(platform(), ApiVersion::CURRENT)
}

fn instance_id(text: &str) -> InstanceId {
    InstanceId::new(text).expect("an id")
}

/// A session; it ends when the value is dropped.
pub(crate) async fn connect(uri: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(uri, NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// The operator's view.
pub(crate) struct Operator {
    pub(crate) client: Client,
}

impl Operator {
    pub(crate) async fn of(postgres: &Postgres) -> Self {
        Self {
            client: connect(&postgres.url()).await.expect("the operator logs in"),
        }
    }

    /// A server drops no database while a session hangs in the middle of its login; it ends such a session after a
    /// minute. Where sessions are left hanging that has to be sooner.
    pub(crate) async fn impatient(postgres: &Postgres) -> Self {
        let operator = Self::of(postgres).await;
        for statement in [
            "ALTER SYSTEM SET authentication_timeout = '3s'",
            "SELECT pg_reload_conf()",
        ] {
            operator.client.batch_execute(statement).await.expect("set");
        }
        operator
    }

    async fn names(&self, query: &str) -> Vec<String> {
        let rows = self.client.query(query, &[]).await.expect("an answer");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The databases that the broker made.
    pub(crate) async fn databases(&self) -> Vec<String> {
        self.names("SELECT datname::text FROM pg_database WHERE datname LIKE 'db\\_%' ORDER BY 1")
            .await
    }

    /// The roles that the broker made.
    pub(crate) async fn roles(&self) -> Vec<String> {
        self.names(
            "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'owner\\_%' OR rolname LIKE 'login\\_%' ORDER BY 1",
        )
        .await
    }

    /// The roles that can log in, of those that the broker made.
    pub(crate) async fn logins(&self) -> Vec<String> {
        let mut roles = self.roles().await;
        roles.retain(|role| role.starts_with("login_"));
        roles
    }
}

/// The SQLSTATE of an attempt to log in that is refused.
pub(crate) async fn refusal(uri: &str) -> String {
    match connect(uri).await {
        Ok(_) => panic!("the login still works"),
        Err(error) => error.code().expect("an answer of the server").code().to_owned(),
    }
}
