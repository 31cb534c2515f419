//! Sends requests, applies the rules that hold for every answer, and remembers what has to be removed again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::{Call, Op, Usual};
use crate::ledger::{Breach, Ledger};
use crate::options::{Login, Options, SetupError};
use crate::rules::{self, Findings};
use crate::subject::Offer;
use crate::wire::Wire;

/// The pauses between polls.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many polls in a row may have no answer that counts.
const MAX_BAD_POLLS: usize = 5;
/// The most exchanges that are shown for one breach.
const MAX_EVIDENCE: usize = 4;

/// One check of one broker.
pub(crate) struct Checker {
    pub(crate) options: Options,
    wire: Wire,
    ledger: Mutex<Ledger>,
    tracks: Mutex<BTreeMap<String, Track>>,
    /// What each offering announces in `requires`.
    requires: Mutex<HashMap<String, Vec<String>>>,
    requests: AtomicU64,
    ids: AtomicU64,
    run: String,
}

/// What may be there under an id.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) service: String,
    /// The plans that it may have, the latest one first.
    pub(crate) plans: Vec<String>,
    pub(crate) bindings: BTreeSet<String>,
    /// A request that makes it was not refused.
    pub(crate) made: bool,
}

/// How an operation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    /// 410, or 404.
    Gone,
    /// Not within the time, or the polls have no answers that count.
    Open,
}

/// An operation that was followed to its end.
pub(crate) struct Followed {
    pub(crate) end: End,
    pub(crate) last: Answer,
}

impl Checker {
    pub(crate) fn new(options: &Options) -> Result<Self, SetupError> {
        Ok(Self {
            wire: Wire::new(options)?,
            options: options.clone(),
            ledger: Mutex::default(),
            tracks: Mutex::default(),
            requires: Mutex::default(),
            requests: AtomicU64::new(0),
            ids: AtomicU64::new(0),
            run: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
        })
    }

    /// A new id: of this run, and told apart.
    pub(crate) fn id(&self, what: &str) -> String {
        format!(
            "osb-check-{}-{what}-{}",
            self.run,
            self.ids.fetch_add(1, Ordering::Relaxed)
        )
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn into_ledger(self) -> Ledger {
        self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what the offerings announce.
    pub(crate) fn announce(&self, catalog: &Value) {
        let services = catalog
            .get("services")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for service in &services {
            let Some(id) = service.get("id").and_then(Value::as_str) else {
                continue;
            };
            let items = service
                .get("requires")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let items = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            lock(&self.requires).insert(id.to_owned(), items);
        }
    }

    // What was found out.

    pub(crate) fn findings(&self, findings: Findings, evidence: &[&Answer]) {
        for (id, wrong) in findings.found {
            match wrong {
                None => lock(&self.ledger).pass(id),
                Some(what) => self.breach(id, what, evidence),
            }
        }
    }

    /// Notes whether a requirement is held.
    pub(crate) fn that(&self, id: &'static str, holds: bool, wrong: impl Into<String>, evidence: &[&Answer]) {
        if holds {
            lock(&self.ledger).pass(id);
        } else {
            self.breach(id, wrong.into(), evidence);
        }
    }

    /// The answer has to have one of these codes.
    pub(crate) fn answers(&self, id: &'static str, what: &str, answer: &Answer, statuses: &[u16]) {
        let wrong = format!("{what} is answered {}, not {}", answer.told(), listed(statuses));
        self.that(id, answer.is(statuses), wrong, &[answer]);
    }

    /// The answer has to be 422 with this reserved code.
    pub(crate) fn reserved(&self, id: &'static str, what: &str, answer: &Answer, code: &str) {
        let wrong = format!("{what} is answered {}, not 422 {code}", answer.told());
        self.that(id, answer.is_reserved(code), wrong, &[answer]);
    }

    fn breach(&self, id: &'static str, what: String, evidence: &[&Answer]) {
        let transcript = evidence
            .iter()
            .take(MAX_EVIDENCE)
            .map(|answer| self.blotted(answer.transcript()))
            .collect();
        lock(&self.ledger).breach(
            id,
            Breach {
                what: self.blotted(what),
                transcript,
            },
        );
    }

    /// Whether all that was asked for by number is broken already, so that nothing more can be learnt.
    pub(crate) fn is_settled(&self) -> bool {
        let ledger = lock(&self.ledger);
        let is_broken = |id: &String| ledger.of(id).is_some_and(|entry| !entry.breaches.is_empty());
        !self.options.only.is_empty() && self.options.only.iter().all(is_broken)
    }

    /// A text without the login, which a broker may have sent back.
    fn blotted(&self, text: String) -> String {
        match &self.options.login {
            Login::Basic { password: secret, .. } | Login::Bearer(secret) if secret.len() > 3 => {
                text.replace(secret.as_str(), "…")
            }
            _ => text,
        }
    }

    pub(crate) fn skip(&self, ids: &[&'static str], reason: &str) {
        for id in ids {
            lock(&self.ledger).skip(id, reason.to_owned());
        }
    }

    // Requests.

    pub(crate) async fn send(&self, call: Call) -> Answer {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let identity = format!("{}-{number}", self.run);
        let carried = match &call.request_identity {
            Usual::AsConfigured => Some(identity.as_str()),
            Usual::Value(value) => Some(value.as_str()),
            Usual::Absent => None,
        };
        self.track(&call);
        let answer = self.wire.exchange(&call, &identity).await;
        let requires = self.requires_of(&call);
        self.findings(rules::answers::look(&answer, carried, requires.as_deref()), &[&answer]);
        self.untrack(&call, &answer);
        answer
    }

    /// A request whose answer is not judged.
    pub(crate) async fn send_unjudged(&self, call: Call) -> Answer {
        let answer = self.wire.exchange(&call, "cleanup").await;
        self.untrack(&call, &answer);
        answer
    }

    fn requires_of(&self, call: &Call) -> Option<Vec<String>> {
        let service = lock(&self.tracks).get(call.instance.as_ref()?)?.service.clone();
        lock(&self.requires).get(&service).cloned()
    }

    /// What a request may leave behind has to be removed in the end.
    fn track(&self, call: &Call) {
        let (Op::Provision | Op::Bind | Op::Update, Some(instance)) = (call.op, &call.instance) else {
            return;
        };
        let body: Value = serde_json::from_slice(call.body.as_deref().unwrap_or_default()).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("unknown").to_owned();
        let mut tracks = lock(&self.tracks);
        let track = tracks.entry(instance.clone()).or_insert_with(|| Track {
            service: text("service_id"),
            plans: Vec::new(),
            bindings: BTreeSet::new(),
            made: false,
        });
        let plan = text("plan_id");
        if !track.plans.contains(&plan) {
            track.plans.insert(0, plan);
        }
        track.bindings.extend(call.binding.clone());
    }

    fn untrack(&self, call: &Call, answer: &Answer) {
        let Some(instance) = &call.instance else { return };
        let mut tracks = lock(&self.tracks);
        match (call.op, &call.binding) {
            (Op::Provision, _) if !answer.refused() => {
                if let Some(track) = tracks.get_mut(instance) {
                    track.made = true;
                }
            }
            (Op::Deprovision, _) if answer.is(&[200, 410]) => drop(tracks.remove(instance)),
            (Op::Unbind, Some(binding)) if answer.is(&[200, 410]) => {
                if let Some(track) = tracks.get_mut(instance) {
                    track.bindings.remove(binding);
                }
            }
            _ => {}
        }
    }

    /// What may still be there.
    pub(crate) fn tracks(&self) -> BTreeMap<String, Track> {
        lock(&self.tracks).clone()
    }

    /// Polls until the operation has ended.
    pub(crate) async fn follow(&self, poll: &Call) -> Followed {
        let deadline = Instant::now() + self.options.operation_timeout;
        let (mut pause, mut bad) = (FIRST_PAUSE, 0);
        loop {
            let last = self.send(poll.clone()).await;
            let end = match (last.status, last.state()) {
                (200, Some("succeeded")) => Some(End::Succeeded),
                (200, Some("failed")) => Some(End::Failed),
                (404 | 410, _) => Some(End::Gone),
                (200, Some("in progress")) => {
                    bad = 0;
                    None
                }
                _ => {
                    if last.status == 400 {
                        self.wants_hints(poll, &last).await;
                    }
                    bad += 1;
                    (bad >= MAX_BAD_POLLS).then_some(End::Open)
                }
            };
            let end = end.or_else(|| (Instant::now() > deadline).then_some(End::Open));
            if let Some(end) = end {
                return Followed { end, last };
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Polls go without service_id and plan_id, as any platform may send them. When one is refused and the same with
    /// them is not, that is the reason.
    async fn wants_hints(&self, poll: &Call, answer: &Answer) {
        let id = poll.instance.as_deref().unwrap_or_default();
        let Some(track) = lock(&self.tracks).get(id).cloned() else {
            return;
        };
        let plan = track.plans.first().map_or("", String::as_str);
        let hinted = poll.clone().query("service_id", &track.service).query("plan_id", plan);
        let hinted = self.send(hinted).await;
        if hinted.status == 200 {
            let id = if poll.op == Op::PollBinding {
                "OSB-LOB-01"
            } else {
                "OSB-LOI-01"
            };
            let wrong = "a poll without service_id and plan_id is answered 400";
            self.that(id, false, wrong, &[answer, &hinted]);
        }
    }

    // Orders.

    /// The body of a provision.
    pub(crate) fn order(&self, offer: &Offer) -> Value {
        let mut body = json!({
            "service_id": offer.service_id, "plan_id": offer.plan_id,
            "organization_guid": "osb-check-organization", "space_guid": "osb-check-space",
        });
        if let Some(parameters) = &self.options.parameters {
            body["parameters"] = Value::Object(parameters.clone());
        }
        body
    }

    /// The body of a bind.
    pub(crate) fn bind_order(&self, offer: &Offer) -> Value {
        let mut body = json!({
            "service_id": offer.service_id, "plan_id": offer.plan_id,
            "bind_resource": {"app_guid": "osb-check-application"},
        });
        if let Some(parameters) = &self.options.bind_parameters {
            body["parameters"] = Value::Object(parameters.clone());
        }
        body
    }
}

fn listed(statuses: &[u16]) -> String {
    let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
    statuses.join(" or ")
}

/// Nothing that is guarded is left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
