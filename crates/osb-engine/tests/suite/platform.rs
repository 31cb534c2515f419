//! A platform that talks to an engine.

use std::sync::Arc;
use std::time::Duration;

use osb_api::answer::{BindingDetails, Bound, InstanceDetails, Polled, Provisioned, Removed, State, Updated};
use osb_api::error::{BindError, DeprovisionError, FetchError, PollError, ProvisionError, UnbindError, UpdateError};
use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId, PlanId};
use osb_api::identity::OriginatingIdentity;
use osb_api::request::{BindRequest, FetchQuery, Incomplete, PollQuery, ProvisionRequest, RemovalQuery};
use osb_api::version::ApiVersion;
use osb_engine::Engine;
use osb_server::{Broker as _, Caller, Platform as Tenant, Trace};
use serde_json::{Value, json};

use crate::author::{AUTO, SERVICE};

pub(crate) const ACCEPTS: Incomplete = Incomplete::Accepted;
pub(crate) const REFUSES: Incomplete = Incomplete::Refused;

/// One platform's view of a broker.
#[derive(Clone)]
pub(crate) struct Platform {
    engine: Engine,
    name: &'static str,
    pub(crate) plan: &'static str,
    identity: Option<Arc<OriginatingIdentity>>,
    trace: Option<Arc<Trace>>,
}

pub(crate) fn instance_id(text: &str) -> InstanceId {
    InstanceId::new(text).expect("a valid id")
}

pub(crate) fn binding_id(text: &str) -> BindingId {
    BindingId::new(text).expect("a valid id")
}

impl Platform {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            name: "one",
            plan: AUTO,
            identity: None,
            trace: None,
        }
    }

    pub(crate) fn other(&self) -> Self {
        Self {
            name: "two",
            ..self.clone()
        }
    }

    pub(crate) fn on_plan(&self, plan: &'static str) -> Self {
        Self { plan, ..self.clone() }
    }

    pub(crate) fn as_user(&self, value: Value) -> Self {
        let Value::Object(value) = value else {
            panic!("an object")
        };
        let identity = OriginatingIdentity {
            platform: "kubernetes".to_owned(),
            value,
        };
        Self {
            identity: Some(Arc::new(identity)),
            ..self.clone()
        }
    }

    /// In a trace that the platform has begun.
    pub(crate) fn traced(&self, traceparent: &str) -> Self {
        let trace = Trace::parse(traceparent).expect("a traceparent");
        Self {
            trace: Some(Arc::new(trace)),
            ..self.clone()
        }
    }

    fn caller(&self) -> Caller {
        Caller {
            identity: self.identity.clone(),
            trace: self.trace.clone(),
            ..Caller::new(Tenant(self.name.into()), ApiVersion { major: 2, minor: 17 })
        }
    }

    pub(crate) fn provision_request(&self, parameters: &Value) -> ProvisionRequest {
        let body = json!({
            "service_id": SERVICE, "plan_id": self.plan, "organization_guid": "org", "space_guid": "space",
            "context": {"platform": "cloudfoundry", "instance_name": "mine"}, "parameters": parameters,
        });
        serde_json::from_value(body).expect("a request")
    }

    pub(crate) async fn provision(&self, id: &str, parameters: Value) -> Result<Provisioned, ProvisionError> {
        self.provision_if(id, parameters, REFUSES).await
    }

    pub(crate) async fn provision_if(
        &self,
        id: &str,
        parameters: Value,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        let request = self.provision_request(&parameters);
        self.engine
            .provision(self.caller(), instance_id(id), request, incomplete)
            .await
    }

    pub(crate) async fn send_provision(
        &self,
        id: &str,
        request: ProvisionRequest,
    ) -> Result<Provisioned, ProvisionError> {
        self.engine
            .provision(self.caller(), instance_id(id), request, REFUSES)
            .await
    }

    /// A PATCH with these members beside `service_id`.
    pub(crate) async fn update_if(
        &self,
        id: &str,
        changes: Value,
        incomplete: Incomplete,
    ) -> Result<Updated, UpdateError> {
        let mut body = json!({"service_id": SERVICE});
        for (name, value) in changes.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let request = serde_json::from_value(body).expect("a request");
        self.engine
            .update(self.caller(), instance_id(id), request, incomplete)
            .await
    }

    pub(crate) async fn update(&self, id: &str, changes: Value) -> Result<Updated, UpdateError> {
        self.update_if(id, changes, REFUSES).await
    }

    /// A PUT that takes the place of another binding.
    pub(crate) async fn rotate(&self, id: &str, binding: &str, predecessor: &str) -> Result<Bound, BindError> {
        let body = json!({"predecessor_binding_id": predecessor});
        let request = serde_json::from_value(body).expect("a request");
        self.send_bind(id, binding, request).await
    }

    fn removal(&self) -> RemovalQuery {
        RemovalQuery {
            service_id: OfferingId::new(SERVICE).expect("a valid id"),
            plan_id: PlanId::new(self.plan).expect("a valid id"),
        }
    }

    pub(crate) async fn deprovision(&self, id: &str) -> Result<Removed, DeprovisionError> {
        self.deprovision_if(id, REFUSES).await
    }

    pub(crate) async fn deprovision_if(&self, id: &str, incomplete: Incomplete) -> Result<Removed, DeprovisionError> {
        self.engine
            .deprovision(self.caller(), instance_id(id), self.removal(), incomplete)
            .await
    }

    pub(crate) fn bind_request(&self, parameters: &Value) -> BindRequest {
        let body = json!({"service_id": SERVICE, "plan_id": self.plan, "parameters": parameters});
        serde_json::from_value(body).expect("a request")
    }

    pub(crate) async fn bind(&self, id: &str, binding: &str, parameters: Value) -> Result<Bound, BindError> {
        let request = self.bind_request(&parameters);
        self.send_bind(id, binding, request).await
    }

    pub(crate) async fn send_bind(&self, id: &str, binding: &str, request: BindRequest) -> Result<Bound, BindError> {
        self.engine
            .bind(self.caller(), instance_id(id), binding_id(binding), request, REFUSES)
            .await
    }

    pub(crate) async fn unbind(&self, id: &str, binding: &str) -> Result<Removed, UnbindError> {
        self.unbind_if(id, binding, REFUSES).await
    }

    pub(crate) async fn unbind_if(
        &self,
        id: &str,
        binding: &str,
        incomplete: Incomplete,
    ) -> Result<Removed, UnbindError> {
        self.engine
            .unbind(
                self.caller(),
                instance_id(id),
                binding_id(binding),
                self.removal(),
                incomplete,
            )
            .await
    }

    pub(crate) async fn bind_if(
        &self,
        id: &str,
        binding: &str,
        parameters: Value,
        incomplete: Incomplete,
    ) -> Result<Bound, BindError> {
        let request = self.bind_request(&parameters);
        self.engine
            .bind(self.caller(), instance_id(id), binding_id(binding), request, incomplete)
            .await
    }

    pub(crate) async fn fetch(&self, id: &str) -> Result<InstanceDetails, FetchError> {
        self.engine
            .fetch_instance(self.caller(), instance_id(id), FetchQuery::default())
            .await
    }

    pub(crate) async fn fetch_binding(&self, id: &str, binding: &str) -> Result<BindingDetails, FetchError> {
        let query = FetchQuery::default();
        self.engine
            .fetch_binding(self.caller(), instance_id(id), binding_id(binding), query)
            .await
    }

    pub(crate) async fn poll(&self, id: &str, operation: Option<&OperationId>) -> Result<Polled, PollError> {
        let query = PollQuery {
            operation: operation.cloned(),
            ..PollQuery::default()
        };
        self.engine
            .instance_last_operation(self.caller(), instance_id(id), query)
            .await
    }

    /// A poll that names offering and plan.
    pub(crate) async fn poll_with_hints(&self, id: &str) -> Result<Polled, PollError> {
        let RemovalQuery { service_id, plan_id } = self.removal();
        let query = PollQuery {
            service_id: Some(service_id),
            plan_id: Some(plan_id),
            operation: None,
        };
        self.engine
            .instance_last_operation(self.caller(), instance_id(id), query)
            .await
    }

    pub(crate) async fn poll_binding(
        &self,
        id: &str,
        binding: &str,
        operation: Option<&OperationId>,
    ) -> Result<Polled, PollError> {
        let query = PollQuery {
            operation: operation.cloned(),
            ..PollQuery::default()
        };
        self.engine
            .binding_last_operation(self.caller(), instance_id(id), binding_id(binding), query)
            .await
    }

    /// Polls until the operation has ended.
    pub(crate) async fn wait(&self, id: &str, operation: Option<&OperationId>) -> Result<State, PollError> {
        for _ in 0..3_000 {
            let polled = self.poll(id, operation).await?;
            if polled.body.state != State::InProgress {
                return Ok(polled.body.state);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{id} stays in progress");
    }
}

/// The operation of a 202.
pub(crate) fn accepted(answer: Result<Provisioned, ProvisionError>) -> OperationId {
    match answer {
        Ok(Provisioned::Accepted(operation, _)) => operation,
        other => panic!("not a 202: {other:?}"),
    }
}

/// The operation of a 202 to a removal.
pub(crate) fn accepted_removal<E: std::fmt::Debug>(answer: Result<Removed, E>) -> OperationId {
    match answer {
        Ok(Removed::Accepted(operation)) => operation,
        other => panic!("not a 202: {other:?}"),
    }
}
