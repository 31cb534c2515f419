//! The engine of a broker: the author's trait, and everything that turns it into a complete Open Service Broker.
//!
//! An author implements [`Service`] for each offering and declares a [`Broker`]. [`Engine::start`] runs it on a
//! [`Home`]: any Kubernetes API, in this process or elsewhere. The engine answers the calls of the HTTP front
//! (`osb_server::Broker`), stores every accepted request before it is acknowledged, and carries it to an end whatever
//! is killed meanwhile.
//!
//! The engine knows no HTTP and no storage: below it is the Kubernetes API, behind a `kube::Client` or in this process.

mod admin;
mod canonical;
mod clock;
mod controller;
mod custom;
mod decide;
mod definition;
mod engine;
mod erased;
mod front;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod home;
mod hooks;
mod lanes;
mod live;
mod metrics;
pub mod names;
mod objects;
mod operation;
mod own_writes;
mod recorder;
mod removal;
mod replicas;
pub mod resource;
mod schema;
mod seal;
mod served;
mod service;
mod services;
mod shards;
mod stored_version;
mod transport;
mod waiters;

pub use admin::{ADMIN_ANNOTATION, ADMIN_ANSWER_ANNOTATION, AdminAnswer, AdminOrder, AdminVerb, MAX_REASON_CHARS};
pub use clock::Clock;
pub use controller::{Orphan, OrphanError};
pub use custom::{
    Column, Controller, Custom, CustomKind, Fields, MAX_FIELDS_BYTES, Next, NoStatus, Reconcile, ResourceError,
    Resources, Scope, Watched,
};
pub use definition::{Broker, DefinitionError, Execution, Policy};
pub use engine::{Config, Engine, StartError, Tenants};
pub use home::{Home, HomeError};
pub use hooks::{Action, ActionVerb, Authorize, Draft, DraftRequest, Refused, Validate};
pub use live::{LiveOffering, LiveOfferings};
pub use operation::Operation;
pub use replicas::ReplicaConfig;
pub use schema::SchemaError;
pub use seal::{KEY_BYTES, Keys, SealError, sealed_with};
pub use served::CatalogChange;
pub use service::{
    Binding, BindingMetadata, Change, Endpoint, Error, InstanceMetadata, NoParameters, Result, Service, Undone,
    Updatable, VolumeMount,
};
pub use shards::SHARDS;
pub use stored_version::{RESTORING_LABEL, STORED_VERSION, STORED_VERSION_LABEL};
