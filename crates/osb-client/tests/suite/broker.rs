//! A small broker behind the project's own front, on a port of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use osb_api::answer::{BindingBody, Bound, InstanceBody, LastOperation, Polled, Provisioned, Removed, State};
use osb_api::catalog::{Catalog, Offering, Plan};
use osb_api::error::{BindError, DeprovisionError, Fault, PollError, ProvisionError, UnbindError};
use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId, PlanId};
use osb_api::request::{BindRequest, Incomplete, PollQuery, ProvisionRequest, RemovalQuery};
use osb_client::{Client, Options, Wait};
use osb_server::{Broker, Caller, Config, Platform, ServedCatalog, Server};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// How many polls an operation takes.
const POLLS: u32 = 3;

/// Instances with what is left to do for them; each operation takes some polls, and one of them meets a broker that is
/// down for a moment.
#[derive(Default)]
pub(crate) struct Slow {
    instances: Mutex<HashMap<InstanceId, Work>>,
}

struct Work {
    operation: &'static str,
    left: u32,
}

pub(crate) fn catalog() -> Catalog {
    let offering = Offering::new("s", "db", "A database").bindable(true);
    Catalog::new().offering(offering.plan(Plan::new("p", "small", "A plan").free(false)))
}

impl Broker for Slow {
    fn catalog(&self) -> ServedCatalog {
        ServedCatalog::new(catalog().check().unwrap().body().to_vec())
    }

    async fn provision(
        &self,
        caller: Caller,
        id: InstanceId,
        request: ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        assert_eq!(caller.identity.unwrap().user_id(), Some("u1"));
        if request.plan_id.as_str() != "p" {
            return Err(ProvisionError::Invalid("there is no such plan".into()));
        }
        if incomplete == Incomplete::Refused {
            return Err(ProvisionError::AsyncRequired);
        }
        self.instances.lock().unwrap().insert(
            id,
            Work {
                operation: "make&1",
                left: POLLS,
            },
        );
        let body = InstanceBody {
            dashboard_url: Some("https://d".into()),
            metadata: None,
        };
        Ok(Provisioned::Accepted(OperationId::new("make&1").unwrap(), body))
    }

    async fn deprovision(
        &self,
        _: Caller,
        id: InstanceId,
        query: RemovalQuery,
        _: Incomplete,
    ) -> Result<Removed, DeprovisionError> {
        assert_eq!((query.service_id.as_str(), query.plan_id.as_str()), ("s", "p"));
        let mut instances = self.instances.lock().unwrap();
        let work = instances.get_mut(&id).ok_or(DeprovisionError::Gone)?;
        *work = Work {
            operation: "remove",
            left: POLLS,
        };
        Ok(Removed::Accepted(OperationId::new("remove").unwrap()))
    }

    async fn instance_last_operation(&self, _: Caller, id: InstanceId, query: PollQuery) -> Result<Polled, PollError> {
        let mut instances = self.instances.lock().unwrap();
        let work = instances.get_mut(&id).ok_or(PollError::NotFound)?;
        assert_eq!(query.operation.unwrap().as_str(), work.operation);
        work.left -= 1;
        if work.left == 1 {
            return Err(Fault::Unavailable("the store is starting".into()).into());
        }
        let state = match (work.left, work.operation) {
            (0, "remove") => return Err(PollError::Gone),
            (0, _) => State::Succeeded,
            _ => State::InProgress,
        };
        let body = LastOperation {
            state,
            description: Some(format!("{} to go", work.left)),
            instance_usable: None,
            update_repeatable: None,
        };
        Ok(Polled {
            body,
            retry_after_secs: Some(0),
        })
    }

    async fn bind(
        &self,
        _: Caller,
        instance: InstanceId,
        binding: BindingId,
        request: BindRequest,
        _: Incomplete,
    ) -> Result<Bound, BindError> {
        if !self.instances.lock().unwrap().contains_key(&instance) {
            return Err(BindError::NoInstance);
        }
        assert_eq!(request.app_guid(), Some("app"));
        let credentials = serde_json::json!({ "user": binding.as_str() }).as_object().cloned();
        Ok(Bound::Created(BindingBody {
            credentials,
            ..BindingBody::default()
        }))
    }

    async fn unbind(
        &self,
        _: Caller,
        _: InstanceId,
        _: BindingId,
        _: RemovalQuery,
        _: Incomplete,
    ) -> Result<Removed, UnbindError> {
        Ok(Removed::Done)
    }

    async fn binding_last_operation(
        &self,
        _: Caller,
        _: InstanceId,
        _: BindingId,
        _: PollQuery,
    ) -> Result<Polled, PollError> {
        let body = LastOperation {
            state: State::Failed,
            description: Some("no".into()),
            instance_usable: None,
            update_repeatable: None,
        };
        Ok(Polled {
            body,
            retry_after_secs: None,
        })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn register_metrics(&self, _: &mut Registry) {}
}

/// The front of the broker, with the user `user:pa:ss` and the prefix `cf`.
pub(crate) fn front() -> Server<Slow> {
    let platform = Platform("cf".into());
    let config = Config::default()
        .user("user", "pa:ss", platform.clone())
        .prefix("cf", platform);
    Server::new(Arc::new(Slow::default()), &config).unwrap()
}

/// Serves one connection.
pub(crate) async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, front: Server<Slow>) {
    let service = TowerToHyperService::new(front);
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Serves the broker over plain HTTP.
pub(crate) async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = front();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, front.clone()));
        }
    });
    address
}

pub(crate) fn options(url: String) -> Options {
    let value = serde_json::json!({ "user_id": "u1" }).as_object().cloned().unwrap();
    let identity = osb_api::identity::OriginatingIdentity {
        platform: "cloudfoundry".into(),
        value,
    };
    Options {
        identity: Some(identity),
        ..Options::new(url, "user", "pa:ss")
    }
}

pub(crate) async fn client() -> Client {
    Client::new(&options(format!("http://{}/cf", serve().await))).unwrap()
}

pub(crate) fn quickly() -> Wait {
    Wait {
        first_interval: std::time::Duration::from_millis(1),
        ..Wait::default()
    }
}

pub(crate) fn instance(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

pub(crate) fn binding(id: &str) -> BindingId {
    BindingId::new(id).unwrap()
}

pub(crate) fn removal() -> RemovalQuery {
    RemovalQuery {
        service_id: OfferingId::new("s").unwrap(),
        plan_id: PlanId::new("p").unwrap(),
    }
}

pub(crate) fn provision(plan: &str) -> ProvisionRequest {
    ProvisionRequest {
        service_id: OfferingId::new("s").unwrap(),
        plan_id: PlanId::new(plan).unwrap(),
        organization_guid: "o".into(),
        space_guid: "g".into(),
        context: None,
        parameters: None,
        maintenance_info: None,
    }
}

pub(crate) fn bind() -> BindRequest {
    BindRequest {
        service_id: Some(OfferingId::new("s").unwrap()),
        plan_id: Some(PlanId::new("p").unwrap()),
        context: None,
        app_guid: Some("app".into()),
        bind_resource: None,
        parameters: None,
        predecessor_binding_id: None,
    }
}
