//! What is counted and written down about requests: metrics and the audit log. Off, it costs a look at a flag.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apimachinery::request_info::{ResourceRequest, Verb};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use jiff::Timestamp;
use serde::Deserialize;

use crate::audit::{AuditEvent, AuditSink, ObjectReference, PeerAddress, ResponseStatus, Stage};
use crate::auth::{Attributes, Authorizer as _, Decision, UserInfo};
use crate::body::Body;
use crate::metrics::{self, Metrics};
use crate::negotiate::{self, BodyType};
use crate::server::Server;
use crate::{Options, health, workqueues};

const AUDIT_ID: &str = "audit-id";
/// The longest id that a client can give its request.
const LONGEST_ID: usize = 64;
/// How long the numbers of objects are shown before they are counted again.
const COUNT_EVERY: Duration = Duration::from_secs(60);

type Counts = Vec<(String, String, u64)>;

/// Who is told of requests.
pub(crate) struct Observers {
    audit: Option<Arc<dyn AuditSink>>,
    pub(crate) metrics: Option<Arc<Metrics>>,
    counts: Mutex<Option<(Instant, Counts)>>,
    counting: AtomicBool,
}

impl Observers {
    pub(crate) fn new(options: &Options) -> Observers {
        Observers {
            audit: options.audit.clone(),
            metrics: options.metrics.then(|| Arc::new(Metrics::new())),
            counts: Mutex::default(),
            counting: AtomicBool::new(false),
        }
    }

    /// Begins to look at a request, if anybody wants to know.
    pub(crate) fn begin(&self) -> Option<Box<Seen>> {
        if self.audit.is_none() && self.metrics.is_none() {
            return None;
        }
        Some(Box::new(Seen {
            begun: Instant::now(),
            received: Timestamp::now(),
            sender: None,
            acting: None,
            request: None,
            decision: None,
            is_known: false,
        }))
    }

    /// The id of a request: its own, or a new one where the answer has one.
    pub(crate) fn audit_id(&self, headers: &HeaderMap, in_process: bool) -> Option<HeaderValue> {
        let own = headers
            .get(AUDIT_ID)
            .filter(|id| !id.is_empty() && id.len() <= LONGEST_ID);
        if own.is_some() || (in_process && self.audit.is_none()) {
            return own.cloned();
        }
        HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok()
    }
}

/// What is learnt of a request while it is worked on.
pub(crate) struct Seen {
    begun: Instant,
    received: Timestamp,
    pub(crate) sender: Option<UserInfo>,
    /// Whom the sender acts as.
    pub(crate) acting: Option<UserInfo>,
    pub(crate) request: Option<(ResourceRequest, Verb)>,
    /// Whether the request was allowed, and why.
    decision: Option<(bool, String)>,
    /// Whether the resource is one that is served: names of others are not counted.
    pub(crate) is_known: bool,
}

impl Seen {
    /// Notes what the authorizers said.
    pub(crate) fn decided(
        &mut self,
        server: &Server,
        user: &UserInfo,
        attributes: &Attributes<'_>,
        decision: Option<&Decision>,
    ) {
        let allowed = decision.is_none_or(|decision| *decision == Decision::Allow);
        if let Some(metrics) = &server.observers.metrics {
            metrics.authorized(allowed);
        }
        if server.observers.audit.is_none() {
            return;
        }
        let why = match decision {
            Some(Decision::Deny(why) | Decision::NoOpinion(why)) => why.clone(),
            Some(Decision::Allow) => server.access.explain(user, attributes),
            None => String::new(),
        };
        self.decision = Some((allowed, why));
    }
}

/// Ends the look at a request: at once for a whole answer, with its stream for others.
pub(crate) fn end(
    server: &Arc<Server>,
    seen: Box<Seen>,
    parts: &Parts,
    mut response: Response<Body>,
    id: Option<&HeaderValue>,
    reason: String,
) -> Response<Body> {
    let verb = verb_label(&seen, parts);
    let mut end = End {
        server: server.clone(),
        event: None,
        verb,
        code: response.status().as_u16(),
        bytes: response.body().bytes().map(bytes::Bytes::len),
        dry_run: parts.uri.query().is_some_and(|query| query.contains("dryRun=All")),
        seen,
    };
    if server.observers.audit.is_some() {
        end.event = Some(Box::new(event(&end, parts, &response, id, reason)));
    }
    if response.body().is_whole() {
        drop(end);
        return response;
    }
    if let (Some(sink), Some(event)) = (&server.observers.audit, &mut end.event) {
        event.stage = Stage::ResponseStarted;
        sink.record(event);
        event.stage = Stage::ResponseComplete;
    }
    if let (Some(_), Some((request, _))) = (&server.observers.metrics, &end.seen.request) {
        let (counter, request) = (server.clone(), request.clone());
        let body = std::mem::replace(response.body_mut(), Body::whole(bytes::Bytes::new()));
        *response.body_mut() = body.inspected(move |frame| {
            if let Some(metrics) = &counter.observers.metrics {
                metrics.events(&request.group, &request.version, &request.resource, frame);
            }
        });
    }
    response.map(|body| body.holding(end))
}

/// Tells of a request when it is dropped: then its answer is over.
struct End {
    server: Arc<Server>,
    event: Option<Box<AuditEvent>>,
    verb: &'static str,
    code: u16,
    bytes: Option<usize>,
    dry_run: bool,
    seen: Box<Seen>,
}

impl Drop for End {
    fn drop(&mut self) {
        let observers = &self.server.observers;
        if let (Some(sink), Some(event)) = (&observers.audit, &mut self.event) {
            event.stage_timestamp = micros(Timestamp::now());
            sink.record(event);
            if let Some(metrics) = &observers.metrics {
                metrics.audited();
            }
        }
        let Some(metrics) = &observers.metrics else { return };
        let request = self.seen.request.as_ref().filter(|_| self.seen.is_known);
        let named = request.is_some_and(|(request, _)| request.name.is_some());
        let namespaced = request.is_some_and(|(request, _)| request.namespace.is_some());
        let text = |text: fn(&ResourceRequest) -> &str| request.map_or("", |(request, _)| text(request));
        metrics.request(&metrics::Request {
            verb: self.verb,
            group: text(|request| &request.group),
            version: text(|request| &request.version),
            resource: text(|request| &request.resource),
            subresource: text(|request| request.subresource.as_deref().unwrap_or_default()),
            scope: match request {
                None => "",
                Some(_) if named => "resource",
                Some(_) if namespaced => "namespace",
                Some(_) => "cluster",
            },
            dry_run: self.dry_run,
            code: self.code,
            took: self.seen.begun.elapsed(),
            bytes: self.bytes,
        });
    }
}

fn verb_label(seen: &Seen, parts: &Parts) -> &'static str {
    match seen.request.as_ref().map(|(_, verb)| verb) {
        Some(Verb::Get) => "GET",
        Some(Verb::List) => "LIST",
        Some(Verb::Watch) => "WATCH",
        Some(Verb::Create) => "POST",
        Some(Verb::Update) => "PUT",
        Some(Verb::Patch) if negotiate::body_type(&parts.headers) == BodyType::Apply => "APPLY",
        Some(Verb::Patch) => "PATCH",
        Some(Verb::Delete) => "DELETE",
        Some(Verb::DeleteCollection) => "DELETECOLLECTION",
        None => match parts.method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "OTHER",
        },
    }
}

fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn event(end: &End, parts: &Parts, response: &Response<Body>, id: Option<&HeaderValue>, reason: String) -> AuditEvent {
    let seen = &end.seen;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut annotations = BTreeMap::new();
    if let Some((allowed, why)) = &seen.decision {
        let decision = if *allowed { "allow" } else { "forbid" };
        annotations.insert("authorization.k8s.io/decision", decision.to_owned());
        annotations.insert("authorization.k8s.io/reason", why.clone());
    }
    let user = seen.sender.clone().unwrap_or_default();
    AuditEvent {
        kind: "Event",
        api_version: "audit.k8s.io/v1",
        level: "Metadata",
        audit_id: id.map(text).unwrap_or_default(),
        stage: Stage::ResponseComplete,
        request_uri: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        verb: match &seen.request {
            Some((_, verb)) => verb.as_str().to_owned(),
            None => parts.method.as_str().to_ascii_lowercase(),
        },
        user: (&user).into(),
        impersonated_user: seen.acting.as_ref().map(Into::into),
        source_ips: parts
            .extensions
            .get::<PeerAddress>()
            .map(|peer| peer.0.to_string())
            .into_iter()
            .collect(),
        user_agent: parts.headers.get(header::USER_AGENT).map(text).unwrap_or_default(),
        object_ref: seen
            .request
            .as_ref()
            .map(|(request, verb)| object(request, *verb, response)),
        response_status: ResponseStatus {
            status: if end.code >= 400 { "Failure" } else { "" },
            reason,
            code: end.code,
            ..ResponseStatus::default()
        },
        request_received_timestamp: micros(seen.received),
        stage_timestamp: micros(Timestamp::now()),
        annotations,
    }
}

/// The name of an object in an answer.
#[derive(Deserialize)]
struct Named {
    metadata: Name,
}

#[derive(Deserialize)]
struct Name {
    #[serde(default)]
    name: String,
}

fn object(request: &ResourceRequest, verb: Verb, response: &Response<Body>) -> ObjectReference {
    let made = || {
        let body = response
            .body()
            .bytes()
            .filter(|_| verb == Verb::Create && response.status().is_success())?;
        serde_json::from_slice::<Named>(body)
            .ok()
            .map(|named| named.metadata.name)
    };
    ObjectReference {
        resource: request.resource.clone(),
        namespace: request.namespace.clone().unwrap_or_default(),
        name: request.name.clone().or_else(made).unwrap_or_default(),
        api_group: request.group.clone(),
        api_version: request.version.clone(),
        subresource: request.subresource.clone().unwrap_or_default(),
    }
}

/// `/metrics`: `None` where nothing is counted.
pub(crate) async fn metrics(server: &Arc<Server>) -> Option<String> {
    let metrics = server.observers.metrics.as_ref()?;
    let (reads, writes, watches) = server.places.taken();
    let now = metrics::Now {
        reads,
        writes,
        watches,
        objects: counts(server).await,
        health: checks(server).await,
        depths: workqueues::depths(server).await,
    };
    Some(metrics.render(&now))
}

/// `/metrics/slis`: the checks alone.
pub(crate) async fn slis(server: &Arc<Server>) -> Option<String> {
    server.observers.metrics.as_ref()?;
    Some(metrics::render_checks(&checks(server).await))
}

async fn checks(server: &Arc<Server>) -> Vec<(&'static str, &'static str, u8)> {
    let mut checks = Vec::new();
    for root in ["healthz", "livez", "readyz"] {
        for name in health::checks(root) {
            checks.push((*name, root, u8::from(health::passes(server, name).await)));
        }
    }
    checks
}

/// How many objects there are. A count scans, so it is kept for a while, and made by one request at a time.
async fn counts(server: &Arc<Server>) -> Counts {
    let observers = &server.observers;
    let known = observers.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let fresh = known.as_ref().is_some_and(|(at, _)| at.elapsed() < COUNT_EVERY);
    if fresh || observers.counting.swap(true, Ordering::Relaxed) {
        return known.map(|(_, counts)| counts).unwrap_or_default();
    }
    let mut counts = Counts::new();
    for resource in server
        .registry
        .snapshot()
        .resources()
        .filter(|resource| resource.is_stored())
    {
        if let Ok(count) = server.store.count(resource.keys.objects(None), usize::MAX, None).await {
            counts.push((resource.id.group.clone(), resource.id.plural.clone(), count));
        }
    }
    *observers.counts.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), counts.clone()));
    observers.counting.store(false, Ordering::Relaxed);
    counts
}
