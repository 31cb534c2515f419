//! A small, correct broker in memory, with everything that OSB 2.17 offers. Work that is asynchronous ends after two
//! polls, so that nothing depends on time. A fault makes it break one requirement.

mod bindings;
mod catalog;
mod http;
mod instances;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Map, Value, json};

pub(crate) use http::{PASSWORD, USER, serve};

pub(crate) const SERVICE: &str = "svc-a";
pub(crate) const SLOW: &str = "plan-slow";
pub(crate) const APP: &str = "plan-app";

/// How many polls an operation takes.
const POLLS: u32 = 2;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Catalog,
    Provision,
    FetchInstance,
    Update,
    Deprovision,
    PollInstance,
    Bind,
    FetchBinding,
    Unbind,
    PollBinding,
    Unknown,
}

/// A request, decoded.
pub(crate) struct Ask {
    pub(crate) route: Route,
    pub(crate) instance: String,
    pub(crate) binding: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// As they came over the wire: names of headers with their letter case.
    pub(crate) head: String,
    /// The body, if it is a JSON object.
    pub(crate) body: Option<Map<String, Value>>,
}

impl Ask {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.body.as_ref()?.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_str()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<Value>,
    /// Never sent.
    pub(crate) hangs: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
        Self {
            status,
            headers,
            body: Some(body),
            hangs: false,
        }
    }

    pub(crate) fn refused(status: u16, description: &str) -> Self {
        Self::new(status, json!({"description": description}))
    }

    pub(crate) fn reserved(code: &str) -> Self {
        Self::new(422, json!({"error": code, "description": "Not now, or not so."}))
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        if let Some(Value::Object(members)) = &mut self.body {
            members.insert(name.to_owned(), value);
        }
    }
}

/// The work that runs for an instance or binding.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) verb: Route,
    pub(crate) operation: String,
    pub(crate) left: u32,
    pub(crate) begin: Instant,
    /// What was asked for, to know it again.
    pub(crate) asked: Value,
    /// It replaced the making.
    pub(crate) supersedes: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) plan: String,
    pub(crate) first_plan: String,
    pub(crate) asked: Value,
    pub(crate) parameters: Value,
    pub(crate) work: Option<Work>,
    /// The last operation, when it was asynchronous, and how often its end was told.
    pub(crate) finished: Option<(String, u32)>,
    pub(crate) stuck: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) asked: Value,
    pub(crate) parameters: Value,
    pub(crate) plan: String,
    pub(crate) predecessor: Option<String>,
    pub(crate) work: Option<Work>,
    pub(crate) finished: Option<(String, u32)>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) instances: HashMap<String, Instance>,
    pub(crate) bindings: HashMap<(String, String), Binding>,
    /// The operations of what is gone.
    pub(crate) gone: HashMap<String, String>,
    pub(crate) operations: u32,
    pub(crate) fetches: u32,
}

impl State {
    pub(crate) fn work(&mut self, verb: Route, asked: Value) -> Work {
        self.operations += 1;
        let operation = format!("op-{}", self.operations);
        Work {
            verb,
            operation,
            left: POLLS,
            begin: Instant::now(),
            asked,
            supersedes: false,
        }
    }
}

/// The broker.
pub(crate) struct Broker {
    pub(crate) fault: &'static str,
    pub(crate) state: Mutex<State>,
}

impl Broker {
    pub(crate) fn new(fault: &'static str) -> Arc<Self> {
        Arc::new(Self {
            fault,
            state: Mutex::default(),
        })
    }

    pub(crate) fn breaks(&self, id: &str) -> bool {
        self.fault == id
    }

    /// Everything that is there.
    pub(crate) fn left(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.instances.len(), state.bindings.len())
    }

    /// What a crash does: nothing, if the broker is right.
    pub(crate) fn crash(&self) {
        let mut state = self.state.lock().unwrap();
        match self.fault {
            "OSB-CRASH-01" => state.instances.retain(|_, instance| instance.work.is_none()),
            "OSB-CRASH-02" => state.instances.clear(),
            "OSB-CRASH-03" => state.bindings.clear(),
            "OSB-CRASH-04" => state.gone.clear(),
            _ => {}
        }
    }

    pub(crate) fn answer(&self, ask: &Ask) -> Reply {
        let mut reply = match crate::faults::instead(self.fault, ask) {
            Some(reply) => reply,
            None => self.checked(ask),
        };
        if let Some(identity) = ask.headers.get("x-broker-api-request-identity") {
            reply
                .headers
                .insert("x-broker-api-request-identity".to_owned(), identity.clone());
        }
        crate::faults::spoil(self.fault, ask, &mut reply);
        reply
    }

    fn checked(&self, ask: &Ask) -> Reply {
        let conditional = ask.header("if-none-match") == catalog::ETAG;
        if let Some(refusal) = self.authenticate(ask) {
            if self.breaks("OSB-AUTH-07") || self.breaks("OSB-CAT-10") && conditional {
                let reply = self.route(ask);
                return if conditional { reply } else { refusal };
            }
            return refusal;
        }
        if let Some(refusal) = self.version(ask) {
            if self.breaks("OSB-VER-11") {
                self.route(ask);
            }
            return refusal;
        }
        self.route(ask)
    }

    fn authenticate(&self, ask: &Ask) -> Option<Reply> {
        let open = self.breaks("OSB-AUTH-01") && ask.route == Route::Catalog && ask.header("authorization").is_empty()
            || self.breaks("OSB-AUTH-03") && ask.route == Route::PollBinding;
        if open || ask.header("authorization") == http::login() {
            return None;
        }
        let mut reply = Reply::refused(401, "Who are you?");
        reply
            .headers
            .insert("www-authenticate".to_owned(), "Basic realm=\"broker\"".to_owned());
        Some(reply)
    }

    fn version(&self, ask: &Ask) -> Option<Reply> {
        let Some(version) = ask.headers.get("x-broker-api-version") else {
            return Some(Reply::refused(400, "The header X-Broker-API-Version is required."));
        };
        let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some([2, _]) => None,
            Some([_, _]) if self.breaks("OSB-VER-08") => None,
            Some([_, _]) if self.breaks("OSB-VER-12") && ask.route == Route::PollInstance => None,
            Some([_, _]) => Some(Reply::refused(412, "This broker speaks version 2.17.")),
            _ => Some(Reply::refused(400, "That is no version.")),
        }
    }

    fn route(&self, ask: &Ask) -> Reply {
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        match ask.route {
            Route::Catalog => self.catalog(state, ask),
            Route::Provision => self.provision(state, ask),
            Route::FetchInstance => self.fetch_instance(state, ask),
            Route::Update => self.update(state, ask),
            Route::Deprovision => self.deprovision(state, ask),
            Route::PollInstance => self.poll_instance(state, ask),
            Route::Bind => self.bind(state, ask),
            Route::FetchBinding => self.fetch_binding(state, ask),
            Route::Unbind => self.unbind(state, ask),
            Route::PollBinding => self.poll_binding(state, ask),
            Route::Unknown => Reply::refused(404, "There is no such route."),
        }
    }

    pub(crate) fn accepts(&self, ask: &Ask) -> bool {
        match ask.param("accepts_incomplete") {
            Some("true") => true,
            Some("false") | None => false,
            Some(_) => self.breaks("OSB-ASY-10"),
        }
    }

    /// One poll: whether the work is done now.
    pub(crate) fn advance(&self, work: &mut Work) -> bool {
        if self.breaks("OSB-POLL-02") {
            return work.begin.elapsed().as_millis() > 1_200;
        }
        work.left = work.left.saturating_sub(1);
        work.left == 0
    }
}

/// 202, or the operation of another one when that is the fault.
pub(crate) fn accepted(state: &mut State, work: &Work, renews: bool) -> Reply {
    let mut operation = work.operation.clone();
    if renews {
        state.operations += 1;
        operation = format!("op-{}", state.operations);
    }
    Reply::new(202, json!({"operation": operation}))
}

pub(crate) fn in_progress() -> Reply {
    let mut reply = Reply::new(
        200,
        json!({"state": "in progress", "description": "Half of it is done."}),
    );
    reply.headers.insert("retry-after".to_owned(), "1".to_owned());
    reply
}

pub(crate) fn ended(state: &str) -> Reply {
    Reply::new(200, json!({"state": state, "description": "That was it."}))
}
