//! The broker on a folder of its own, and a platform that buys from it over HTTP.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use osb_api::answer::{BindingBody, BindingDetails, InstanceBody, InstanceDetails, LastOperation};
use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId, PlanId};
use osb_api::request::{
    BindRequest, FetchQuery, Incomplete, MissingOrganization, PollQuery, ProvisionRequest, RemovalQuery, UpdateRequest,
};
use osb_client::{Client, End, Error, Reply, Wait};
use osb_sdk::{Credentials, Host, HostOptions};
use serde_json::{Value, json};

pub(crate) struct Shop {
    host: Host,
    pub(crate) client: Client,
    /// The offering of each plan.
    offerings: HashMap<String, String>,
    folder: Folder,
}

/// A folder that outlives a test that fails: a broker whose folder vanishes aborts the process, and with it all that the
/// test has to say.
struct Folder(Option<tempfile::TempDir>);

impl Folder {
    fn new() -> Self {
        Self(Some(tempfile::tempdir().unwrap()))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().expect("it is taken only when dropped").path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|_| std::thread::panicking()) {
            let _ = folder.keep();
        }
    }
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with(&reference_broker::Options::default()).await
    }

    pub(crate) async fn with(options: &reference_broker::Options) -> Self {
        Self::on(Folder::new(), options).await
    }

    /// The broker is stopped and started again with other options, on the same folder.
    pub(crate) async fn reopen(self, options: &reference_broker::Options) -> Self {
        self.host.stop().await;
        Self::on(self.folder, options).await
    }

    async fn on(folder: Folder, options: &reference_broker::Options) -> Self {
        let host = Host::start(options.broker(), &HostOptions::on(folder.path()))
            .await
            .unwrap();
        let login = Credentials::read(host.data_dir()).unwrap().unwrap();
        let client = osb_client::Options::new(&host.info().url, login.username, login.password);
        let client = Client::new(&client).unwrap();
        let catalog = client.catalog().await.unwrap();
        let plans = catalog.services.iter().flat_map(|offering| {
            let plans = offering.plans.iter();
            plans.map(|plan| (plan.id.clone(), offering.id.clone()))
        });
        Self {
            offerings: plans.collect(),
            folder,
            host,
            client,
        }
    }

    pub(crate) async fn close(self) {
        self.host.stop().await;
    }

    /// The offering of a plan.
    pub(crate) fn offering(&self, plan: &str) -> &str {
        &self.offerings[plan]
    }

    /// The ids and whatever else stands in a request.
    fn body(&self, plan: &str, more: Value) -> Value {
        let mut body = json!({"service_id": self.offering(plan), "plan_id": plan});
        let Value::Object(more) = more else { panic!("an object") };
        body.as_object_mut().unwrap().extend(more);
        body
    }

    pub(crate) async fn provision(&self, id: &str, plan: &str, order: Value) -> Result<Reply<InstanceBody>, Error> {
        self.provision_with(id, plan, json!({"parameters": order})).await
    }

    pub(crate) async fn provision_with(&self, id: &str, plan: &str, more: Value) -> Result<Reply<InstanceBody>, Error> {
        let mut body = self.body(plan, more);
        body["organization_guid"] = "o".into();
        body["space_guid"] = "s".into();
        let request = ProvisionRequest::from_json(body.to_string().as_bytes(), MissingOrganization::Refuse).unwrap();
        self.client
            .provision(&instance(id), &request, Incomplete::Accepted)
            .await
    }

    /// With `service_id` of that plan; `more` is all else.
    pub(crate) async fn update(&self, id: &str, plan: &str, more: Value) -> Result<Reply<InstanceBody>, Error> {
        let mut body = self.body(plan, json!({}));
        body.as_object_mut().unwrap().remove("plan_id");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = UpdateRequest::from_json(body.to_string().as_bytes()).unwrap();
        self.client.update(&instance(id), &request, Incomplete::Accepted).await
    }

    pub(crate) async fn bind_with(
        &self,
        id: &str,
        plan: &str,
        binding: &str,
        more: Value,
        incomplete: Incomplete,
    ) -> Result<Reply<BindingBody>, Error> {
        let request = BindRequest::from_json(self.body(plan, more).to_string().as_bytes()).unwrap();
        self.client
            .bind(&instance(id), &binding_id(binding), &request, incomplete)
            .await
    }

    /// A binding of a plan that answers at once.
    pub(crate) async fn binding(&self, id: &str, plan: &str, binding: &str, more: Value) -> Result<BindingBody, Error> {
        match self.bind_with(id, plan, binding, more, Incomplete::Refused).await? {
            Reply::Created(body) | Reply::Done(body) => Ok(body),
            Reply::Accepted { .. } => panic!("nobody asked for a 202"),
        }
    }

    /// The credentials of a plain binding.
    pub(crate) async fn bind(&self, id: &str, plan: &str, binding: &str) -> Result<Value, Error> {
        let body = self.binding(id, plan, binding, json!({})).await?;
        Ok(Value::Object(body.credentials.unwrap()))
    }

    pub(crate) async fn unbind(&self, id: &str, plan: &str, binding: &str) -> Result<Option<OperationId>, Error> {
        let query = self.removal(plan);
        let (instance, binding) = (instance(id), binding_id(binding));
        let removed = self
            .client
            .unbind(&instance, &binding, &query, Incomplete::Accepted)
            .await?;
        Ok(operation(removed))
    }

    pub(crate) async fn deprovision(&self, id: &str, plan: &str) -> Result<Option<OperationId>, Error> {
        let query = self.removal(plan);
        let removed = self
            .client
            .deprovision(&instance(id), &query, Incomplete::Accepted)
            .await?;
        Ok(operation(removed))
    }

    pub(crate) async fn fetch(&self, id: &str) -> Result<InstanceDetails, Error> {
        self.client.fetch_instance(&instance(id), &FetchQuery::default()).await
    }

    pub(crate) async fn fetch_binding(&self, id: &str, binding: &str) -> Result<BindingDetails, Error> {
        let query = FetchQuery::default();
        self.client
            .fetch_binding(&instance(id), &binding_id(binding), &query)
            .await
    }

    pub(crate) fn removal(&self, plan: &str) -> RemovalQuery {
        RemovalQuery {
            service_id: OfferingId::new(self.offering(plan)).unwrap(),
            plan_id: PlanId::new(plan).unwrap(),
        }
    }

    /// The end of what a 202 has begun, and the texts of its progress.
    pub(crate) async fn end(&self, id: &str, reply: Reply<InstanceBody>) -> (End, Vec<String>) {
        let Reply::Accepted { operation, .. } = reply else {
            panic!("{reply:?}")
        };
        let mut texts = Vec::new();
        let note = |last: &LastOperation| texts.extend(last.description.clone());
        let query = query(operation);
        let end = self
            .client
            .wait_for_instance(&instance(id), &query, &quickly(), note)
            .await
            .unwrap();
        (end, texts)
    }

    /// The end of an operation on an instance.
    pub(crate) async fn instance_end(&self, id: &str, operation: Option<OperationId>) -> End {
        let query = query(operation);
        self.client
            .wait_for_instance(&instance(id), &query, &quickly(), |_| {})
            .await
            .unwrap()
    }

    /// That what an answer has begun or done has succeeded.
    pub(crate) async fn instance_end_of(&self, id: &str, reply: Reply<InstanceBody>) {
        if let operation @ Some(_) = operation(reply) {
            let end = self.instance_end(id, operation).await;
            assert!(matches!(end, End::Succeeded(_)), "{id}: {end:?}");
        }
    }

    /// The end of an operation on a binding.
    pub(crate) async fn binding_end(&self, id: &str, binding: &str, operation: Option<OperationId>) -> End {
        let query = query(operation);
        let (id, binding) = (instance(id), binding_id(binding));
        self.client
            .wait_for_binding(&id, &binding, &query, &quickly(), |_| {})
            .await
            .unwrap()
    }
}

/// Polls as often as a test can bear.
fn quickly() -> Wait {
    Wait {
        first_interval: Duration::from_millis(5),
        longest_interval: Duration::from_millis(100),
        longest_retry_after: Duration::from_millis(100),
        ..Wait::default()
    }
}

fn query(operation: Option<OperationId>) -> PollQuery {
    PollQuery {
        operation,
        ..PollQuery::default()
    }
}

/// The operation of a 202.
pub(crate) fn operation<T>(reply: Reply<T>) -> Option<OperationId> {
    match reply {
        Reply::Accepted { operation, .. } => operation,
        Reply::Created(_) | Reply::Done(_) => None,
    }
}

pub(crate) fn instance(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

pub(crate) fn binding_id(id: &str) -> BindingId {
    BindingId::new(id).unwrap()
}

pub(crate) fn failed(end: &End) -> &LastOperation {
    let End::Failed(last) = end else { panic!("{end:?}") };
    last
}
