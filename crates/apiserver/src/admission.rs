//! Admission hooks: what a program adds to the rules of its API server, in its own process.
//!
//! A hook that mutates sees an object after it has been decoded and filled with defaults and may change it; what comes out is
//! checked like what a client has sent. A hook that validates sees what is about to be stored, and allows or refuses it. Hooks
//! are called in the order of their registration, the mutating ones first; a dry run calls them too. A write that is repeated
//! because another one came between calls them again.
//!
//! They are not called for access and token reviews, which are not stored, nor for what the server does by itself.

use apimachinery::gvk;
use apimachinery::status::Status;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::auth::UserInfo;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is replaced or patched, or one of its subresources is.
    Update,
    /// It is removed, or its removal begins.
    Delete,
}

/// What a hook is asked about.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionRequest<'r> {
    /// What is done.
    pub operation: Operation,
    /// Who does it; an impersonated user, if there is one.
    pub user: &'r UserInfo,
    /// The API group, empty for the core group.
    pub group: &'r str,
    /// The version of the API that the request uses.
    pub version: &'r str,
    /// The kind of the object; a change of its scale shows the object itself.
    pub kind: &'r str,
    /// The plural name of the resource.
    pub resource: &'r str,
    /// The subresource (`status`, `scale`, `finalize`), or empty.
    pub subresource: &'r str,
    /// The namespace, empty for a cluster-scoped object.
    pub namespace: &'r str,
    /// The name; empty in a create whose name the server generates.
    pub name: &'r str,
    /// Nothing will be stored: a hook must change nothing elsewhere.
    pub dry_run: bool,
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions` as they came.
    pub options: &'r Value,
}

/// Why a hook refuses.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// 403: the text follows `R "name" is forbidden: `.
    Forbidden(String),
    /// Any other answer. It should be a failure.
    Status(Box<Status>),
}

impl Refusal {
    /// 403 with a text for people.
    pub fn forbidden(why: impl Into<String>) -> Refusal {
        Refusal::Forbidden(why.into())
    }

    pub(crate) fn into_status(self, resource: &gvk::Resource, name: &str) -> Status {
        match self {
            Refusal::Forbidden(why) => Status::forbidden(resource, name, &why),
            Refusal::Status(status) => *status,
        }
    }
}

/// Texts that the client is shown as warnings.
pub type Warnings = Vec<String>;

/// A hook that may change objects before they are stored. It is not called for deletions.
pub trait Mutate: Send + Sync + 'static {
    /// Whether it wants to see the object. Saying no costs nothing; by default it sees everything.
    fn wants(&self, request: &AdmissionRequest<'_>) -> bool {
        let _ = request;
        true
    }

    /// Changes `new` in place. `old` is what is stored, for an update. Identity (kind, name, namespace, uid) cannot be changed.
    ///
    /// # Errors
    /// The write is refused.
    fn mutate<'a>(
        &'a self,
        request: &'a AdmissionRequest<'a>,
        old: Option<&'a Value>,
        new: &'a mut Value,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>>;
}

/// A hook that allows or refuses.
pub trait Validate: Send + Sync + 'static {
    /// Whether it wants to see the object. Saying no costs nothing; by default it sees everything.
    fn wants(&self, request: &AdmissionRequest<'_>) -> bool {
        let _ = request;
        true
    }

    /// Looks at a write. `old` is what is stored, for an update or delete; `new` is what will be, for a create or update.
    ///
    /// # Errors
    /// The write is refused.
    fn validate<'a>(
        &'a self,
        request: &'a AdmissionRequest<'a>,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>>;
}
