//! Watch: the changes of a collection as a stream of JSON documents, one a line.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::list::ListOptions;
use apimachinery::status::Status;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Response, StatusCode};
use objectstore::{Delivery, Error, Event, Revision, Watch};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::body::Body;
use crate::codec::{Stored, push_number};
use crate::failure::Failure;
use crate::filter::{Filter, Plan};
use crate::negotiate::{Encoding, Form, Wanted};
use crate::query::Query;
use crate::read::{after, include, wait_for};
use crate::render::{self, Include, View, write_json};
use crate::server::Server;
use crate::shared::{Frame, Shape};
use crate::target::Target;

/// How many objects of the first state are read at once.
const CHUNK: usize = 200;
/// How often a quiet watch is told where it is, and how long before its end.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// The shortest and longest time of a watch that names none, so that clients do not come back all at once.
const SHORTEST: Duration = Duration::from_secs(30 * 60);
const SPREAD_SECS: u64 = 30 * 60;
/// A frame is sent once it is this long, even if more is at hand.
const FULL_FRAME: usize = 64 * 1024;

/// Opens a watch.
pub(crate) async fn watch(
    server: &Arc<Server>,
    target: &Target,
    query: &Query<'_>,
    options: ListOptions,
    wanted: Wanted,
) -> Result<Response<Body>, Failure> {
    if wanted.encoding != Encoding::Json {
        return Err(Status::not_acceptable(&["application/json"]).into());
    }
    let include = include(query)?;
    let filter = Filter::new(&target.resource, options.label_selector, options.field_selector)?;
    let since = options.resource_version.filter(|revision| *revision > 0).map(Revision);
    let initial = options.send_initial_events.unwrap_or_else(|| since.is_none());
    let namespace = target
        .namespace()
        .or_else(|| filter.namespace())
        .filter(|_| target.resource.namespaced)
        .map(str::to_owned);
    let range = match filter.plan(&target.resource, namespace.as_deref()) {
        _ if !target.name.is_empty() => target.resource.keys.only(&target.namespace, &target.name),
        Plan::Name(name) => target
            .resource
            .keys
            .only(namespace.as_deref().unwrap_or_default(), &name),
        Plan::Scan | Plan::Index { .. } => target.resource.keys.objects(namespace.as_deref()),
    };
    if initial && let Some(revision) = since {
        wait_for(server, revision).await?;
    }
    let start = if initial || since.is_none() {
        server.store.latest().await?
    } else {
        since.unwrap_or_default()
    };
    let now = Instant::now();
    let deadline = now + options.timeout.unwrap_or_else(random_time);
    let watcher = Watcher {
        server: server.clone(),
        target: target.clone(),
        filter,
        form: wanted.form,
        include,
        phase: if initial {
            Phase::Initial { rest: range.clone() }
        } else {
            Phase::Opening
        },
        range,
        seen: start,
        bookmarks: options.allow_bookmarks,
        announce_end: options.send_initial_events == Some(true) || (initial && options.send_initial_events.is_none()),
        columns: true,
        deadline,
        next_bookmark: (now + BOOKMARK_EVERY).min(last_bookmark(deadline, now)),
        closing: server.closing.subscribe(),
        waiting: VecDeque::new(),
    };
    let stream = futures::stream::unfold(watcher, |mut watcher| async move {
        let frame = watcher.next().await?;
        Some((frame, watcher))
    });
    let mut response = render::respond(StatusCode::OK, "application/json", Bytes::new());
    *response.body_mut() = Body::stream(stream);
    Ok(response)
}

fn random_time() -> Duration {
    let random = uuid::Uuid::new_v4().as_u64_pair().1;
    SHORTEST + Duration::from_secs(random % SPREAD_SECS)
}

fn last_bookmark(deadline: Instant, now: Instant) -> Instant {
    deadline
        .checked_sub(BOOKMARK_BEFORE_END)
        .filter(|at| *at > now)
        .unwrap_or(deadline + BOOKMARK_EVERY)
}

enum Phase {
    /// The state at `seen` is being sent; `rest` of it is still to be read.
    Initial {
        rest: Range<Bytes>,
    },
    /// The store's watch has to be opened.
    Opening,
    Live(Watch),
    Over,
}

struct Watcher {
    server: Arc<Server>,
    target: Target,
    filter: Filter,
    form: Form,
    include: Include,
    phase: Phase,
    range: Range<Bytes>,
    /// Everything up to here has been sent, but for what is waiting.
    seen: Revision,
    bookmarks: bool,
    /// Whether a bookmark marks the end of the first state.
    announce_end: bool,
    /// Whether the next table carries its columns.
    columns: bool,
    deadline: Instant,
    next_bookmark: Instant,
    closing: watch::Receiver<bool>,
    /// Changes that did not fit into the last frame.
    waiting: VecDeque<Event>,
}

impl Watcher {
    /// The next frame, `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if *self.closing.borrow() || Instant::now() >= self.deadline {
                return None;
            }
            let mut out = Frame::default();
            if let Err(failure) = self.step(&mut out).await {
                self.phase = Phase::Over;
                self.waiting.clear();
                error_event(&failure, out.text());
            }
            if out.len() > 0 {
                return Some(out.finish());
            }
            if matches!(self.phase, Phase::Over) {
                return None;
            }
        }
    }

    async fn step(&mut self, out: &mut Frame) -> Result<(), Failure> {
        if !self.waiting.is_empty() {
            return self.send_waiting(out);
        }
        match &mut self.phase {
            Phase::Initial { rest } => {
                let rest = rest.clone();
                self.send_state(rest, out.text()).await
            }
            Phase::Opening => {
                match self.server.store.watch(self.range.clone(), Some(self.seen)).await {
                    Ok(watch) => self.phase = Phase::Live(watch),
                    Err(error) => return self.broken(error),
                }
                Ok(())
            }
            Phase::Live(watch) => {
                let mut closing = self.closing.clone();
                tokio::select! {
                    delivery = watch.next() => match delivery {
                        Some(Ok(delivery)) => self.take(delivery, out),
                        Some(Err(error)) => self.broken(error),
                        None => {
                            self.phase = Phase::Over;
                            Ok(())
                        }
                    },
                    () = sleep_until(self.next_bookmark.min(self.deadline)) => {
                        self.bookmark_when_due(out.text());
                        Ok(())
                    }
                    _ = closing.wait_for(|closing| *closing) => {
                        self.phase = Phase::Over;
                        Ok(())
                    }
                }
            }
            Phase::Over => Ok(()),
        }
    }

    /// The store's watch ended: with an error the client can act on, or silently, so that it comes back. One that did not
    /// keep up goes on from the store's history, at its own pace and without a buffer, until that reaches no further back.
    fn broken(&mut self, error: Error) -> Result<(), Failure> {
        match error {
            Error::Compacted { oldest, .. } => Err(Status::expired_watch(self.seen.0, oldest.0).into()),
            Error::Lagged => {
                self.phase = Phase::Opening;
                Ok(())
            }
            Error::Closed => {
                self.phase = Phase::Over;
                Ok(())
            }
            other => Err(other.into()),
        }
    }

    async fn send_state(&mut self, rest: Range<Bytes>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let page = self.server.store.range(rest.clone(), CHUNK, Some(self.seen)).await?;
        for entry in &page.entries {
            let stored = Stored::read(entry.value.clone())?;
            if self.selects(&entry.key, &stored)? {
                self.event("ADDED", &stored, entry.modified, out)?;
            }
        }
        if let Some(last) = page.entries.last().filter(|_| page.more) {
            self.phase = Phase::Initial {
                rest: after(&last.key)..rest.end,
            };
            return Ok(());
        }
        self.phase = Phase::Opening;
        if self.bookmarks && self.announce_end {
            self.bookmark(true, out);
        }
        Ok(())
    }

    fn take(&mut self, delivery: Delivery, out: &mut Frame) -> Result<(), Failure> {
        match delivery {
            Delivery::Events(events) => {
                self.follow_definition();
                self.waiting.extend(events.iter().cloned());
                self.send_waiting(out)
            }
            Delivery::Progress(revision) => {
                self.seen = self.seen.max(revision);
                Ok(())
            }
        }
    }

    /// A definition may have changed since the watch began: its newer objects are shown by its newer schema.
    fn follow_definition(&mut self) {
        let resource = &self.target.resource;
        if resource.definition.is_none() {
            return;
        }
        let snapshot = self.server.registry.snapshot();
        if let Some(current) = snapshot.resource(&resource.id.group, &resource.id.plural)
            && !Arc::ptr_eq(current, resource)
            && let Some(target) = self.target.on(current.clone())
        {
            self.target = target;
        }
    }

    fn send_waiting(&mut self, out: &mut Frame) -> Result<(), Failure> {
        while out.len() < FULL_FRAME {
            let Some(event) = self.waiting.pop_front() else { break };
            self.change(&event, out)?;
            self.seen = event.revision;
        }
        Ok(())
    }

    /// A change as the selectors see it: what comes into their sight is added, what leaves it is deleted.
    fn change(&mut self, event: &Event, out: &mut Frame) -> Result<(), Failure> {
        let new = event.value.clone().map(Stored::read).transpose()?;
        let old = event
            .previous
            .as_ref()
            .map(|entry| Stored::read(entry.value.clone()))
            .transpose()?;
        let selects = |stored: &Option<Stored>| {
            stored
                .as_ref()
                .map_or(Ok(false), |stored| self.selects(&event.key, stored))
        };
        let (kind, shown) = match (selects(&old)?, selects(&new)?) {
            (false, true) => ("ADDED", new.as_ref()),
            (true, true) => ("MODIFIED", new.as_ref()),
            (true, false) => ("DELETED", old.as_ref()),
            (false, false) => return Ok(()),
        };
        let shown = shown.expect("it is selected");
        // The first table of a watch has a header that others do not have.
        if self.columns && matches!(self.form, Form::Table(_)) {
            return self.event(kind, shown, event.revision, out.text());
        }
        out.push(self.shared_event(kind, event, shown)?);
        Ok(())
    }

    /// An event as all watchers of this form get it.
    fn shared_event(&self, kind: &'static str, event: &Event, shown: &Stored) -> Result<Bytes, Failure> {
        let (resource, version) = (&self.target.resource, self.target.version());
        let shape = Shape {
            revision: event.revision,
            key: event.key.clone(),
            kind,
            stamp: version.stamp,
            definition: resource.definition.as_ref().map(|definition| definition.revision),
            api_version: version.api_version.clone(),
            form: self.form,
            include: self.include,
        };
        self.server.events.get(shape, || {
            let mut out = Vec::with_capacity(shown.len() + 256);
            write_event(kind, &self.view(), shown, event.revision, false, &mut out)?;
            Ok(out)
        })
    }

    fn view(&self) -> View<'_> {
        View {
            resource: &self.target.resource,
            version: self.target.version(),
            form: self.form,
            include: self.include,
        }
    }

    fn selects(&self, key: &[u8], stored: &Stored) -> Result<bool, Failure> {
        if self.filter.is_empty() {
            return Ok(true);
        }
        let (namespace, name) = self.target.resource.keys.parts(key).ok_or(crate::codec::Damaged)?;
        Ok(self
            .filter
            .matches(&self.target.resource, self.target.version(), namespace, name, stored)?)
    }

    fn event(&mut self, kind: &str, stored: &Stored, revision: Revision, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.reserve(stored.len() + 128);
        write_event(kind, &self.view(), stored, revision, self.columns, out)?;
        self.columns = false;
        Ok(())
    }

    fn bookmark_when_due(&mut self, out: &mut Vec<u8>) {
        let now = Instant::now();
        if now < self.next_bookmark {
            return;
        }
        self.next_bookmark = (now + BOOKMARK_EVERY).min(last_bookmark(self.deadline, now));
        if self.bookmarks {
            self.bookmark(false, out);
        }
    }

    fn bookmark(&mut self, initial_events_end: bool, out: &mut Vec<u8>) {
        let mut metadata = Vec::new();
        metadata.extend_from_slice(br#"{"resourceVersion":""#);
        push_number(&mut metadata, self.seen.0);
        metadata.push(b'"');
        if initial_events_end {
            metadata.extend_from_slice(br#","annotations":{"k8s.io/initial-events-end":"true"}"#);
        }
        metadata.push(b'}');
        let (kind, api_version) = match self.form {
            Form::Object => (
                self.target.resource.kind.kind.as_str(),
                self.target.version().api_version.as_str(),
            ),
            Form::Partial(api_version) => ("PartialObjectMetadata", api_version),
            Form::Table(api_version) => ("Table", api_version),
        };
        open_event("BOOKMARK", out);
        out.extend_from_slice(br#"{"kind":"#);
        write_json(kind, out);
        out.extend_from_slice(br#","apiVersion":"#);
        write_json(api_version, out);
        out.extend_from_slice(br#","metadata":"#);
        out.extend_from_slice(&metadata);
        if matches!(self.form, Form::Table(_)) {
            out.extend_from_slice(br#","columnDefinitions":null,"rows":[]"#);
        }
        out.extend_from_slice(b"}}\n");
    }
}

fn write_event(
    kind: &str,
    view: &View<'_>,
    stored: &Stored,
    revision: Revision,
    columns: bool,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    open_event(kind, out);
    view.object(stored, Some(revision), columns, out)?;
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn open_event(kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","object":"#);
}

fn error_event(failure: &Failure, out: &mut Vec<u8>) {
    out.clear();
    open_event("ERROR", out);
    match failure {
        Failure::Status(status) => write_json(status.as_ref(), out),
        Failure::NoSuchPath => write_json(
            &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}),
            out,
        ),
    }
    out.extend_from_slice(b"}\n");
}
