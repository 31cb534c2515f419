//! Everything that the author of a broker needs: implement [`Service`] for each offering, declare a [`Broker`], and give
//! it to [`run`].
//!
//! Beside this crate an author depends on `serde` and `schemars` (version 1), whose derive macros name their crates
//! themselves: state and credentials are `Serialize` and `Deserialize`, parameters `Deserialize` and `JsonSchema`.
//!
//! ```
//! use osb_sdk::{Binding, Broker, NoParameters, Offering, Operation, Plan, Result, Service};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct NewMailbox {
//!     /// Who reads the mail.
//!     owner: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Mailbox {
//!     name: String,
//!     owner: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Login {
//!     mailbox: String,
//!     user: String,
//! }
//!
//! struct Mailboxes;
//!
//! impl Service for Mailboxes {
//!     type Parameters = NewMailbox;
//!     type BindParameters = NoParameters;
//!     type State = Mailbox;
//!     type Credentials = Login;
//!
//!     async fn provision(&self, op: &Operation, new: NewMailbox) -> Result<Mailbox> {
//!         Ok(Mailbox { name: op.stable_name("mailbox"), owner: new.owner })
//!     }
//!
//!     async fn deprovision(&self, _: &Operation, _: Option<Mailbox>) -> Result<()> {
//!         Ok(())
//!     }
//!
//!     async fn bind(&self, op: &Operation, mailbox: &Mailbox, _: NoParameters) -> Result<Binding<Login>> {
//!         Ok(Binding::new(Login { mailbox: mailbox.name.clone(), user: op.stable_name("user") }))
//!     }
//!
//!     async fn unbind(&self, _: &Operation, _: &Mailbox, _: Option<Login>) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! fn broker() -> Broker {
//!     let plan = Plan::new("7a2f6f0e-8a7b-4a51-9a76-5f2a7d7f0a11", "small", "One gigabyte of mail");
//!     let offering = Offering::new("0f9d2f0c-3c4e-4c40-8f6a-0c1d5f7e2b33", "mailbox", "Mailboxes");
//!     Broker::new("mail").service(offering.bindable(true).plan(plan), Mailboxes)
//! }
//!
//! // The whole `main` is `osb_sdk::run(broker())`. In a test the same broker runs in the test's own process:
//! # #[tokio::main]
//! # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
//! let mut test = osb_sdk::TestBroker::start(broker).await;
//! assert_eq!(test.provision("mine", "small", serde_json::json!({"owner": "me"})).await.status, 201);
//! test.restart().await; // what a crash does
//! assert_eq!(test.bind("mine", "app", serde_json::json!({})).await.status, 201);
//! assert_eq!(test.deprovision("mine").await.status, 200);
//!
//! // … or as a process does, on a folder and a port of its own:
//! let folder = tempfile::tempdir()?;
//! let host = osb_sdk::Host::start(broker(), &osb_sdk::HostOptions::on(folder.path())).await?;
//! assert!(host.info().url.starts_with("http://127.0.0.1:"));
//! host.stop().await;
//! # Ok(())
//! # }
//! ```

// What a catalog offers.
#[doc(inline)]
pub use osb_api::catalog::{DashboardClient, MaintenanceInfo, Offering, Plan, Requires, Schemas};

// The service behind it, and what it gives back.
#[doc(inline)]
pub use osb_api::answer::{
    BindingMetadata, Device, DeviceType, Endpoint, InstanceMetadata, Protocol, VolumeMode, VolumeMount,
};
#[doc(inline)]
pub use osb_engine::{
    Binding, Broker, Change, DefinitionError, Error, Execution, LiveOffering, LiveOfferings, NoParameters, Operation,
    Policy, Result, Service, Undone, Updatable,
};

// What is known of a request.
#[doc(inline)]
pub use osb_api::{
    Object,
    context::{CloudFoundryContext, Context, ContextView, KubernetesContext},
    id::{BindingId, IdError, InstanceId, OfferingId, PlanId},
    identity::{OriginatingIdentity, UserInfo},
    request::{BindRequest, BindResource, MaintenanceVersion, PreviousValues, ProvisionRequest, UpdateRequest},
};
#[doc(inline)]
pub use osb_engine::resource::Verb;
#[doc(inline)]
pub use osb_server::Platform;

// Resources of the author's own, and fields of his on ours.
#[doc(inline)]
pub use osb_engine::{
    Column, Controller, Custom, CustomKind, Fields, HomeError, MAX_FIELDS_BYTES, Next, NoStatus, Reconcile,
    ResourceError, Resources, Scope, Watched,
};

// Hooks that look at requests before anything is done for them.
#[doc(inline)]
pub use osb_engine::{Action, ActionVerb, Authorize, Draft, DraftRequest, Refused, Validate};

// A broker as a program, and inside one.
#[doc(inline)]
pub use osb_host::{
    Credentials, DataDir, DataDirOption, EtcdOptions, HomeKind, HomeOptions, Host, HostError, HostOptions, LogFormat,
    ServerInfo, manifests, manifests_yaml, run, serve, serve_with,
};

// A broker in a test.
#[doc(inline)]
pub use osb_host::{Reply, TestBroker, TestService};
