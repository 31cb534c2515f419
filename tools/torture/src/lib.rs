//! What the broker under torture and its backend say to each other.
//!
//! Each call of an author's function opens a connection and sends lines of JSON: first [`Request::Begin`], then what it
//! does, last [`Request::End`]. Each line is answered with a [`Reply`], which also says what to do next: to wait, to go
//! on, to return an error. So the backend alone decides what goes wrong, and a connection that ends without
//! [`Request::End`] is a call that was killed or dropped.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The environment variable that holds the backend's address.
pub const BACKEND: &str = "TORTURE_BACKEND";
/// The environment variable that says in which form the broker keeps its states: 1 (without it) or 2. A broker of the
/// second form translates what one of the first has stored.
pub const STATE_VERSION: &str = "TORTURE_STATE_VERSION";
/// The offering.
pub const SERVICE: &str = "2f0c6a52-7f0b-4b5e-9a8a-000000000001";
/// The plan that answers with the outcome, when it comes in time.
pub const AUTO_PLAN: &str = "2f0c6a52-7f0b-4b5e-9a8a-000000000002";
/// The plan that always answers with a 202.
pub const ASYNC_PLAN: &str = "2f0c6a52-7f0b-4b5e-9a8a-000000000003";

/// The author's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verb {
    /// Makes an instance.
    Provision,
    /// Changes an instance.
    Update,
    /// Removes an instance.
    Deprovision,
    /// Makes a binding.
    Bind,
    /// Makes a binding that takes the place of another one.
    Rotate,
    /// Removes a binding.
    Unbind,
}

impl Verb {
    /// Whether it removes something.
    pub fn removes(self) -> bool {
        matches!(self, Self::Deprovision | Self::Unbind)
    }

    /// The same for functions that one operation may call: a rotation whose predecessor has gone is a bind.
    #[must_use]
    pub fn of_operation(self) -> Self {
        match self {
            Self::Rotate => Self::Bind,
            verb => verb,
        }
    }
}

/// What an update is to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The plan that the instance has afterwards.
    pub plan: String,
    /// The plan from before, when it changes.
    pub previous_plan: Option<String>,
    /// The note in the parameters, when there are parameters.
    pub note: Option<String>,
}

/// A call, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Which function.
    pub verb: Verb,
    /// The idempotency key.
    pub key: String,
    /// The epoch of the process.
    pub fence: u64,
    /// The platform that asked.
    pub platform: String,
    /// The platform's id of the instance.
    pub instance: String,
    /// The platform's id of the binding.
    pub binding: Option<String>,
    /// The name of the instance in the backend.
    pub instance_name: String,
    /// The name of what the call makes or removes: the instance's, or the binding's.
    pub own_name: String,
    /// The state that the engine hands over.
    pub state: Option<Value>,
    /// The credentials that the engine hands over: to an unbind its own, to a rotation its predecessor's.
    pub credentials: Option<Value>,
    /// Of an update.
    #[serde(default)]
    pub wanted: Option<Wanted>,
    /// [`STATE_VERSION`] of the process, which every state that it is handed has been translated to.
    #[serde(default = "first")]
    pub version: u32,
}

fn first() -> u32 {
    1
}

/// A line from the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The first.
    Begin(Box<Begin>),
    /// Work whose result the engine stores: makes a part.
    Step(String),
    /// Work without a stored result: makes a part if it is not there.
    Make(String),
    /// Removes everything of the name.
    Remove,
    /// The function returns.
    End(How, Option<Value>),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// With a result.
    Done,
    /// With an error that may be tried again.
    Retry,
    /// With an error that may not.
    Failed,
    /// It was told to stop, and did.
    Stopped,
}

/// An answer of the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What a step or a make has made.
    pub token: String,
    /// Wait so long, in microseconds, before going on.
    pub pause_micros: u64,
    /// Then do this.
    pub then: Then,
    /// After [`Request::Begin`]: whether to stop when the operation is cancelled. If not, the engine has to drop the call.
    pub heeds: bool,
}

/// What a call does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// It goes on.
    #[default]
    Go,
    /// It returns an error that may be tried again.
    Retry,
    /// It returns an error that may not.
    Fail,
}
