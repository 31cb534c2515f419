//! The platforms: what each sends, and what it does with each answer.
//!
//! A platform's [`Rules`] are pure: they judge outcomes and name pauses. [`Job`](crate::job::Job) makes one state
//! machine of them, and the driver carries that out.

mod cf;
mod ibm;
mod korifi;
mod service_catalog;
mod service_manager;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use osb_api::Object;
use osb_api::identity::OriginatingIdentity;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::{Answer, Outcome, Progress};
use crate::call::{Call, Order, Terms, Verb};

/// A platform that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Platform {
    /// The Cloud Controller of Cloud Foundry: speaks 2.15, polls at once and then each minute, mitigates in the
    /// background for 34 hours and never asks what became of it.
    CloudFoundry,
    /// Korifi, Cloud Foundry on Kubernetes: speaks 2.17, sends the same PUT at each reconciliation, never gives up,
    /// never mitigates, and writes `null` for parameters that nobody has given.
    Korifi,
    /// Kubernetes Service Catalog: speaks 2.14, mitigates and then sends the PUT again with the same id, polls after
    /// 1, 2, 4 seconds and so on.
    ServiceCatalog,
    /// SAP Service Manager: speaks 2.14, waits ten seconds for an answer, polls every four seconds.
    ServiceManager,
    /// IBM Cloud: speaks 2.12; instance ids are CRNs with colons and slashes.
    Ibm,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CloudFoundry,
        Self::Korifi,
        Self::ServiceCatalog,
        Self::ServiceManager,
        Self::Ibm,
    ];

    /// The short name: `cf`, `korifi`, `servicecatalog`, `sm`, `ibm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudFoundry => "cf",
            Self::Korifi => "korifi",
            Self::ServiceCatalog => "servicecatalog",
            Self::ServiceManager => "sm",
            Self::Ibm => "ibm",
        }
    }

    /// Whose rules for catalogs it has beside the specification's.
    pub(crate) fn linted_as(self) -> Option<osb_lint::Platform> {
        match self {
            Self::CloudFoundry => Some(osb_lint::Platform::CloudFoundry),
            Self::Korifi => Some(osb_lint::Platform::Korifi),
            Self::ServiceCatalog => Some(osb_lint::Platform::ServiceCatalog),
            Self::ServiceManager => Some(osb_lint::Platform::ServiceManager),
            Self::Ibm => None,
        }
    }

    pub(crate) fn rules(self) -> &'static dyn Rules {
        match self {
            Self::CloudFoundry => &cf::CloudFoundry,
            Self::Korifi => &korifi::Korifi,
            Self::ServiceCatalog => &service_catalog::ServiceCatalog,
            Self::ServiceManager => &service_manager::ServiceManager,
            Self::Ibm => &ibm::Ibm,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No platform has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPlatform;

impl fmt::Display for UnknownPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Platform::ALL.map(Platform::name).join(", ");
        write!(f, "no platform has this name; there are {names}")
    }
}

impl std::error::Error for UnknownPlatform {}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        let found = Self::ALL.into_iter().find(|platform| platform.name() == text);
        found.ok_or(UnknownPlatform)
    }
}

/// What a platform makes of the outcome of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Judgement {
    /// Done, with this answer.
    Done(Object),
    /// To be polled, with this `operation`.
    Accepted(Option<String>),
    /// The user is told that it has failed.
    Failed(Trouble),
    /// It will be sent again.
    Retry(Trouble),
}

/// Why a request did not succeed, and what the platform does about what may be left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) why: String,
    pub(crate) then: Then,
}

/// What a platform does about what may be left of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Orphan mitigation.
    Mitigate,
}

impl Trouble {
    pub(crate) fn new(why: impl Into<String>, then: Then) -> Self {
        Self { why: why.into(), then }
    }
}

impl Then {
    pub(crate) fn mitigate_if(condition: bool) -> Self {
        if condition { Self::Mitigate } else { Self::Nothing }
    }
}

/// What a platform makes of the outcome of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    Succeeded,
    Failed(Trouble),
    /// It polls again.
    Again,
}

/// What a platform makes of the outcome of a DELETE of its mitigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cleaned {
    Done,
    Accepted(Option<String>),
    Again,
}

/// What follows when an operation has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collect {
    Nothing,
    /// The credentials are fetched.
    Fetch,
    /// The request is sent again: its answer has the credentials.
    SendAgain,
}

/// What a platform does while an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhileRunning {
    Polls,
    /// Sends the request again before each poll.
    SendsAgain,
}

/// The names that a platform gives to its own things, GUIDs, new for each simulation.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) organization: String,
    pub(crate) space: String,
    pub(crate) cluster: String,
    pub(crate) user: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let [organization, space, cluster, user] = [(); 4].map(|()| Uuid::new_v4().to_string());
        Self {
            organization,
            space,
            cluster,
            user,
        }
    }
}

/// Headers and body of a request; the login and `Content-Length` come later.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

/// Why a request is made: some platforms leave out the user when they clean up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    User,
    Mitigation,
}

/// How a platform behaves.
pub(crate) trait Rules: Send + Sync + fmt::Debug {
    /// What it sends.
    fn draft(&self, call: Call, order: &Order, world: &World, purpose: Purpose) -> Draft;

    /// Whether a call says `accepts_incomplete=true`.
    fn accepts_incomplete(&self, call: Call, terms: &Terms) -> bool;

    /// How long it waits for an answer; `None`: without end.
    fn patience(&self) -> Option<Duration>;

    /// What it makes of the outcome of a request.
    fn judge(&self, verb: Verb, terms: &Terms, outcome: &Outcome) -> Judgement;

    /// What it makes of the outcome of a poll.
    fn judge_poll(&self, verb: Verb, outcome: &Outcome) -> Polled;

    /// The pause before the next poll, when so many were made since the last 202.
    fn before_poll(&self, polls: u32, retry_after: Option<Duration>) -> Duration;

    /// How long it polls, given the plan's own limit; `None`: without end.
    fn polling_limit(&self, maximum: Option<Duration>) -> Option<Duration>;

    /// The pause before a request is sent again, when so many were sent in vain.
    fn before_retry(&self, retries: u32) -> Duration;

    /// What follows a success of polling.
    fn collects(&self, verb: Verb) -> Collect;

    /// What it does while an operation runs.
    fn while_running(&self) -> WhileRunning {
        WhileRunning::Polls
    }

    /// The pause before a DELETE of the mitigation, when so many were sent in vain within this time; `None`: it gives up.
    fn before_mitigation(&self, tries: u32, spent: Duration) -> Option<Duration>;

    /// What it makes of the outcome of a DELETE of its mitigation.
    fn judge_mitigation(&self, outcome: &Outcome) -> Cleaned {
        match outcome {
            Ok(answer) if answer.status == 410 => Cleaned::Done,
            Ok(answer) if answer.status == 200 && answer.object().is_some() => Cleaned::Done,
            Ok(answer) if answer.status == 202 => answer.operation().map_or(Cleaned::Again, Cleaned::Accepted),
            _ => Cleaned::Again,
        }
    }

    /// Whether it asks what became of a mitigation that was answered with 202.
    fn polls_mitigation(&self) -> bool {
        true
    }

    /// Whether it ever cleans up what a failed creation may have left.
    fn mitigates(&self) -> bool {
        self.before_mitigation(0, Duration::ZERO).is_some()
    }

    /// Whether users can have credentials that are for no application.
    fn has_service_keys(&self) -> bool {
        false
    }

    /// Whether it enables and disables instances.
    fn has_enablement(&self) -> bool {
        false
    }

    /// Whether it ever sends updates.
    fn updates(&self) -> bool {
        true
    }

    /// Whether a provision that was refused with a 4xx needs no DELETE when the user removes it.
    fn trusts_refusals(&self) -> bool {
        false
    }

    /// Whether also what says that something is gone has to be a JSON object.
    fn reads_refusals(&self) -> bool {
        false
    }

    /// The id of a new instance.
    fn instance_id(&self) -> String {
        Uuid::new_v4().to_string()
    }
}

/// 7 days: how long most platforms go on.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// 1, 2, 4 … of a unit, up to a limit.
fn doubling(unit: Duration, times: u32, limit: Duration) -> Duration {
    let factor = 1u32.checked_shl(times.min(31)).unwrap_or(u32::MAX);
    unit.saturating_mul(factor).min(limit)
}

/// `X-Broker-API-Originating-Identity`.
fn identity(platform: &str, value: Value) -> String {
    let value = match value {
        Value::Object(object) => object,
        _ => Object::new(),
    };
    let platform = platform.to_owned();
    OriginatingIdentity { platform, value }.encode()
}

/// Adds a member.
fn set(body: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(members) = body {
        members.insert(name.to_owned(), value.into());
    }
}

/// The parameters of a call.
fn parameters(call: Call, order: &Order) -> &Object {
    if call == Call::Bind {
        &order.bind_parameters
    } else {
        &order.parameters
    }
}

/// Adds the parameters when there are any: what most platforms do.
fn set_parameters(body: &mut Value, call: Call, order: &Order) {
    let parameters = parameters(call, order);
    if !parameters.is_empty() {
        set(body, "parameters", parameters.clone());
    }
}

/// The offering and plan of an order.
fn ids(order: &Order) -> Value {
    json!({"service_id": order.service, "plan_id": order.plan})
}

/// A success as all platforms read it: 200 and 201 with the object, 202 with the operation. `Err` says what is wrong
/// with the body.
fn success(answer: &Answer) -> Result<Judgement, String> {
    if answer.status == 202 {
        return answer.operation().map(Judgement::Accepted);
    }
    answer.expect_object().cloned().map(Judgement::Done)
}

/// The description of a failed operation.
fn failure(answer: &Answer) -> String {
    match answer.text("description") {
        Some(description) => format!("the operation failed: {description}"),
        None => "the operation failed".to_owned(),
    }
}

/// A poll as it should be: 200 with a state, and 410 after a removal. `None` for everything else.
fn regular_poll(verb: Verb, outcome: &Outcome, then: Then) -> Option<Polled> {
    let answer = outcome.as_ref().ok()?;
    if answer.status == 410 && verb.removes() {
        return Some(Polled::Succeeded);
    }
    Some(match answer.progress()? {
        Progress::Ongoing => Polled::Again,
        Progress::Succeeded => Polled::Succeeded,
        Progress::Failed => Polled::Failed(Trouble::new(failure(answer), then)),
    })
}

/// `credentials` have to be an object.
fn credentials_are_an_object(body: &Object) -> Result<(), String> {
    match body.get("credentials") {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err("`credentials` is no object".to_owned()),
    }
}
