//! A small broker in memory, right in all things, and with a flaw when a test wants one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::time::Instant;

/// What a broker gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// 409 to an identical repeat of a PUT.
    RepeatConflicts,
    /// 201 to an identical repeat of a PUT.
    RepeatCreates,
    /// Another operation each time that a running PUT is repeated.
    RepeatHasItsOwnOperation,
    /// A repeated bind makes new credentials.
    RepeatChangesCredentials,
    /// 500 when parameters are `null`.
    NullParameters,
    /// A removal is answered and not done.
    RemovalDoesNothing,
    /// An asynchronous removal goes on only when somebody polls.
    RemovalNeedsPolls,
    /// 404 instead of 410 for what is not there.
    GoneIsNotFound,
    /// The body of a removal's success is empty.
    RemovalHasNoBody,
    /// 500 to a removal of what is being made.
    RemovalWhileCreating,
    /// An id that was used once is refused.
    IdsAreUsedUp,
    /// Every other poll knows nothing: two replicas, one of which is late.
    PollsDisagree,
    /// Polls go on saying `in progress` now and then after the end.
    PollsGoBack,
    /// 400 without the header of the originating identity.
    NeedsIdentity,
    /// 400 without a content type.
    NeedsContentType,
    /// 400 without an organization.
    NeedsOrganization,
    /// 400 for ids that are not GUIDs.
    NeedsGuids,
    /// Refused with 400, and made.
    RefusalCreates,
    /// Credentials with names that have a space.
    OddCredentials,
    /// The catalog has other ids each time.
    RandomIds,
    /// A member of the catalog has a type that nobody expects.
    OddMetadata,
    /// An update that is sent again is refused.
    UpdateOnlyOnce,
    /// The failed instance cannot be removed.
    FailedStays,
    /// Does one thing at a time, and refuses all others meanwhile.
    OneAtATime,
    /// What is done already counts as gone when it is to be removed.
    GoneWhenDone,
    /// Takes twelve seconds for each provision.
    Slow,
    /// An `operation` of 10,001 characters.
    LongOperation,
}

/// Whether the broker works at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Synchronous,
    /// Each operation takes so long.
    Asynchronous(Duration),
}

#[derive(Clone)]
pub(crate) struct Broker {
    shared: Arc<Shared>,
}

struct Shared {
    pace: Pace,
    flaw: Option<Flaw>,
    state: Mutex<State>,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Default)]
struct State {
    /// Instances by id, bindings by both ids with a space between.
    things: HashMap<String, Thing>,
    gone: Vec<String>,
    operations: u32,
    polls: u32,
}

#[derive(Clone)]
struct Thing {
    body: Value,
    credentials: Value,
    running: Option<Running>,
    failed: bool,
    polled_to_the_end: bool,
}

#[derive(Clone)]
struct Running {
    operation: String,
    until: Instant,
    work: Work,
    polls: u32,
}

#[derive(Clone, PartialEq)]
enum Work {
    Create,
    Update(Value),
    Remove,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

type Answer = (u16, Value);

/// The parameters with which a provision fails.
pub(crate) fn failing() -> osb_api::Object {
    osb_api::Object::from_iter([("fail".to_owned(), json!(true))])
}

impl Broker {
    pub(crate) fn new(pace: Pace, flaw: Option<Flaw>) -> Self {
        Self {
            shared: Arc::new(Shared {
                pace,
                flaw,
                state: Mutex::default(),
                seen: Mutex::default(),
            }),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What is still there.
    pub(crate) fn left(&self) -> usize {
        let mut state = self.shared.state.lock().unwrap();
        self.shared.settle(&mut state);
        state.things.len()
    }

    async fn answer(self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let seen = Seen {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        self.shared.seen.lock().unwrap().push(seen.clone());
        if self.shared.flaw == Some(Flaw::Slow) && seen.method == Method::PUT {
            tokio::time::sleep(Duration::from_secs(12)).await;
        }
        // Two requests of the same millisecond really are under way at the same time.
        tokio::task::yield_now().await;
        let (status, value) = self.shared.call(&seen);
        let empty = self.shared.flaw == Some(Flaw::RemovalHasNoBody) && seen.method == Method::DELETE;
        let body = if empty { Bytes::new() } else { value.to_string().into() };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }
}

impl tower_service::Service<Request<Full<Bytes>>> for Broker {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let broker = self.clone();
        Box::pin(async move { Ok(broker.answer(request).await) })
    }
}

fn refused(status: u16, text: &str) -> Answer {
    (status, json!({"description": text}))
}

impl Shared {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn call(&self, seen: &Seen) -> Answer {
        let mut state = self.state.lock().unwrap();
        self.settle(&mut state);
        let segments: Vec<&str> = seen.path.trim_start_matches('/').split('/').collect();
        if let Some(refusal) = self.refusal(seen, &segments) {
            return refusal;
        }
        let key = match segments[..] {
            ["v2", "catalog"] => return (200, self.catalog()),
            ["v2", "service_instances", id] | ["v2", "service_instances", id, "last_operation"] => id.to_owned(),
            ["v2", "service_instances", id, "service_bindings", binding]
            | [
                "v2",
                "service_instances",
                id,
                "service_bindings",
                binding,
                "last_operation",
            ] => {
                format!("{id} {binding}")
            }
            _ => return refused(404, "no such route"),
        };
        match (&seen.method, segments.last()) {
            (&Method::GET, Some(&"last_operation")) => self.poll(&mut state, &key),
            (&Method::GET, _) => self.fetch(&state, &key),
            (&Method::PUT, _) => self.put(&mut state, &key, seen),
            (&Method::PATCH, _) => self.patch(&mut state, &key, seen),
            (&Method::DELETE, _) => self.delete(&mut state, &key),
            _ => refused(405, "no such method"),
        }
    }

    fn refusal(&self, seen: &Seen, segments: &[&str]) -> Option<Answer> {
        let has = |name: &str| seen.headers.contains_key(name);
        if !has("authorization") {
            return Some(refused(401, "who are you?"));
        }
        let is_catalog = segments.last() == Some(&"catalog");
        if self.has(Flaw::NeedsIdentity) && !is_catalog && !has("x-broker-api-originating-identity") {
            return Some(refused(400, "an identity is needed"));
        }
        let has_body = seen.method == Method::PUT || seen.method == Method::PATCH;
        if self.has(Flaw::NeedsContentType) && has_body && !has("content-type") {
            return Some(refused(400, "a content type is needed"));
        }
        let guid = |id: &&&str| id.contains('%') || id.len() != 36;
        if self.has(Flaw::NeedsGuids) && segments.get(2).filter(guid).is_some() {
            return Some(refused(400, "the id has to be a GUID"));
        }
        None
    }

    fn catalog(&self) -> Value {
        let id = |id: &str| match self.flaw {
            Some(Flaw::RandomIds) => format!("{id}-{:?}", Instant::now()),
            _ => id.to_owned(),
        };
        let plan = |name: &str| json!({"id": id(name), "name": name, "description": "a plan", "free": true, "bindable": true, "plan_updateable": true});
        let url = if self.has(Flaw::OddMetadata) {
            json!(7)
        } else {
            json!("https://example.com")
        };
        json!({"services": [{
            "id": id("service"), "name": "service", "description": "a service", "bindable": true,
            "plan_updateable": true, "bindings_retrievable": true, "instances_retrievable": true,
            "metadata": {"documentationUrl": url}, "plans": [plan("small"), plan("large")],
        }]})
    }

    /// Ends what is over.
    fn settle(&self, state: &mut State) {
        let now = Instant::now();
        let mut removed = Vec::new();
        for (key, thing) in &mut state.things {
            let Some(running) = &thing.running else { continue };
            let waits = self.has(Flaw::RemovalNeedsPolls) && running.work == Work::Remove && running.polls < 2;
            if now < running.until || waits {
                continue;
            }
            match &running.work {
                Work::Create => thing.failed = thing.body["parameters"]["fail"] == json!(true),
                Work::Update(plan) => thing.body["plan_id"] = plan.clone(),
                Work::Remove => removed.push(key.clone()),
            }
            thing.running = None;
        }
        for key in removed {
            self.forget(state, &key);
        }
    }

    fn forget(&self, state: &mut State, key: &str) {
        if self.has(Flaw::RemovalDoesNothing) || (self.has(Flaw::FailedStays) && state.things[key].failed) {
            return;
        }
        state.things.remove(key);
        state.gone.push(key.to_owned());
    }

    fn start(&self, state: &mut State, work: Work) -> Option<Running> {
        let Pace::Asynchronous(time) = self.pace else {
            return None;
        };
        state.operations += 1;
        Some(Running {
            operation: match self.flaw {
                Some(Flaw::LongOperation) => "x".repeat(10_001),
                _ => format!("operation-{}", state.operations),
            },
            until: Instant::now() + time,
            work,
            polls: 0,
        })
    }

    fn put(&self, state: &mut State, key: &str, seen: &Seen) -> Answer {
        let binding = key.contains(' ');
        let body = &seen.body;
        if self.has(Flaw::NullParameters) && body.get("parameters") == Some(&Value::Null) {
            return refused(500, "null pointer");
        }
        if self.has(Flaw::NeedsOrganization) && !binding && body["organization_guid"].as_str().is_none() {
            return refused(400, "`organization_guid` is missing");
        }
        let instance = key.split(' ').next().unwrap_or_default();
        if binding
            && state
                .things
                .get(instance)
                .is_none_or(|instance| instance.running.is_some())
        {
            return refused(400, "there is no such instance");
        }
        let wanted = json!({"plan_id": body["plan_id"], "parameters": body["parameters"]});
        if let Some(thing) = state.things.get(key).cloned() {
            return self.repeat(state, &thing, &wanted, binding);
        }
        if self.has(Flaw::OneAtATime) && state.things.values().any(|thing| thing.running.is_some()) {
            return refused(400, "busy with another instance");
        }
        let known = matches!(body["plan_id"].as_str(), Some("small" | "large"));
        if !known && !self.has(Flaw::RefusalCreates) {
            return refused(400, "there is no such plan");
        }
        if self.has(Flaw::IdsAreUsedUp) && state.gone.iter().any(|gone| gone == key) {
            return refused(409, "this id was used before");
        }
        let credentials = match (binding, self.flaw) {
            (false, _) => Value::Null,
            (true, Some(Flaw::OddCredentials)) => json!({"user name": "u"}),
            (true, _) => json!({"user": key, "password": "hunter2"}),
        };
        let asynchronous = !binding || seen.query.contains("accepts_incomplete=true");
        let running = if asynchronous {
            self.start(state, Work::Create)
        } else {
            None
        };
        let failing = !binding && wanted["parameters"]["fail"] == json!(true);
        let thing = Thing {
            body: wanted,
            credentials,
            failed: failing && running.is_none(),
            running,
            polled_to_the_end: false,
        };
        state.things.insert(key.to_owned(), thing.clone());
        match &thing.running {
            Some(running) => (202, json!({"operation": running.operation})),
            None if failing => refused(500, "fails as ordered"),
            None if !known => refused(400, "there is no such plan"),
            None => (201, created(&thing, binding)),
        }
    }

    fn repeat(&self, state: &mut State, thing: &Thing, wanted: &Value, binding: bool) -> Answer {
        if thing.body != *wanted || self.has(Flaw::RepeatConflicts) {
            return refused(409, "it is there already");
        }
        if let Some(running) = &thing.running {
            if running.work == Work::Remove {
                return (422, json!({"error": "ConcurrencyError", "description": CONCURRENCY}));
            }
            state.operations += 1;
            let own = format!("operation-{}", state.operations);
            let operation = if self.has(Flaw::RepeatHasItsOwnOperation) {
                &own
            } else {
                &running.operation
            };
            return (202, json!({"operation": operation}));
        }
        if thing.failed {
            return refused(500, "failed before");
        }
        let mut thing = thing.clone();
        if self.has(Flaw::RepeatChangesCredentials) && binding {
            state.operations += 1;
            thing.credentials["password"] = json!(format!("another {}", state.operations));
        }
        let status = if self.has(Flaw::RepeatCreates) { 201 } else { 200 };
        (status, created(&thing, binding))
    }

    fn patch(&self, state: &mut State, key: &str, seen: &Seen) -> Answer {
        let Some(thing) = state.things.get(key).cloned() else {
            return refused(404, "there is no such instance");
        };
        let plan = seen
            .body
            .get("plan_id")
            .cloned()
            .unwrap_or_else(|| thing.body["plan_id"].clone());
        if let Some(running) = &thing.running {
            let same = running.work == Work::Update(plan.clone()) && !self.has(Flaw::UpdateOnlyOnce);
            return match same {
                true => (202, json!({"operation": running.operation})),
                false => (422, json!({"error": "ConcurrencyError", "description": CONCURRENCY})),
            };
        }
        if plan == thing.body["plan_id"] && self.has(Flaw::UpdateOnlyOnce) {
            return refused(409, "it has this plan already");
        }
        let running = self.start(state, Work::Update(plan.clone()));
        let thing = state.things.get_mut(key).unwrap();
        thing.running = running;
        match &thing.running {
            Some(running) => (202, json!({"operation": running.operation})),
            None => {
                thing.body["plan_id"] = plan;
                (200, json!({}))
            }
        }
    }

    fn delete(&self, state: &mut State, key: &str) -> Answer {
        let Some(thing) = state.things.get(key).cloned() else {
            return if self.has(Flaw::GoneIsNotFound) {
                refused(404, "not there")
            } else {
                (410, json!({}))
            };
        };
        if self.has(Flaw::GoneWhenDone) && thing.running.is_none() {
            return (410, json!({}));
        }
        match &thing.running {
            Some(running) if running.work == Work::Remove => {
                return (202, json!({"operation": running.operation}));
            }
            Some(_) if self.has(Flaw::RemovalWhileCreating) => return refused(500, "it is being made"),
            _ => {}
        }
        let bindings: Vec<String> = state
            .things
            .keys()
            .filter(|other| other.starts_with(&format!("{key} ")))
            .cloned()
            .collect();
        for binding in bindings {
            self.forget(state, &binding);
        }
        match self.start(state, Work::Remove) {
            Some(running) => {
                let operation = running.operation.clone();
                state.things.get_mut(key).unwrap().running = Some(running);
                (202, json!({"operation": operation}))
            }
            None => {
                self.forget(state, key);
                (200, json!({}))
            }
        }
    }

    fn poll(&self, state: &mut State, key: &str) -> Answer {
        state.polls += 1;
        let odd = state.polls % 2 == 1;
        let gone = state.gone.iter().any(|gone| gone == key);
        let Some(thing) = state.things.get_mut(key) else {
            return if gone {
                (410, json!({}))
            } else {
                refused(404, "not there")
            };
        };
        if let Some(running) = &mut thing.running {
            running.polls += 1;
            if self.has(Flaw::PollsDisagree) && odd {
                return refused(404, "not there");
            }
            return (200, json!({"state": "in progress"}));
        }
        let ended = std::mem::replace(&mut thing.polled_to_the_end, true);
        if self.has(Flaw::PollsGoBack) && ended && odd {
            return (200, json!({"state": "in progress"}));
        }
        match thing.failed {
            true => (200, json!({"state": "failed", "description": "fails as ordered"})),
            false => (200, json!({"state": "succeeded"})),
        }
    }

    fn fetch(&self, state: &State, key: &str) -> Answer {
        match state.things.get(key) {
            Some(thing) if key.contains(' ') && thing.running.is_none() => (200, created(thing, true)),
            Some(thing)
                if thing
                    .running
                    .as_ref()
                    .is_none_or(|running| running.work != Work::Create) =>
            {
                (200, json!({"service_id": "service", "plan_id": thing.body["plan_id"]}))
            }
            _ => refused(404, "not there"),
        }
    }
}

const CONCURRENCY: &str = "The Service Instance is being updated and cannot be used.";

fn created(thing: &Thing, binding: bool) -> Value {
    match binding {
        true => json!({"credentials": thing.credentials}),
        false => json!({}),
    }
}
