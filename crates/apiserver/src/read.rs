//! Get and list.

use std::time::Duration;

use apimachinery::list::{ContinueToken, ListOptions, VersionMatch, resource_version};
use apimachinery::status::{ListMeta, Status};
use bytes::Bytes;
use http::{Response, StatusCode};
use objectstore::{Entry, Error, Revision};

use crate::body::Body;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::filter::{Filter, Plan};
use crate::negotiate::{Form, Wanted};
use crate::query::Query;
use crate::render::{self, Include, View};
use crate::server::Server;
use crate::table;
use crate::target::{Subresource, Target};
use crate::write::scale;

/// How many entries are read from the store at once.
const CHUNK: usize = 500;
/// How many objects behind a page are counted; of more than these nothing is said.
const MOST_COUNTED: usize = 10_000;
/// How long a read waits for a revision of the future, and how often it looks.
const FUTURE_PATIENCE: Duration = Duration::from_secs(3);
const FUTURE_POLL: Duration = Duration::from_millis(20);

/// `includeObject` of a table request.
pub(crate) fn include(query: &Query<'_>) -> Result<Include, Status> {
    match query.first("includeObject") {
        None | Some("" | "Metadata") => Ok(Include::Metadata),
        Some("Object") => Ok(Include::Object),
        Some("None") => Ok(Include::Nothing),
        Some(other) => Err(Status::bad_request(format!(
            "unrecognized includeObject value: {other:?}"
        ))),
    }
}

/// One object.
pub(crate) async fn get(
    server: &Server,
    target: &Target,
    query: &Query<'_>,
    wanted: Wanted,
) -> Result<Response<Body>, Failure> {
    if let Some(revision) = resource_version(query.first("resourceVersion").unwrap_or(""))? {
        wait_for(server, Revision(revision)).await?;
    }
    let entry = server.store.get(target.key(), None).await?;
    let entry = entry.ok_or_else(|| Status::not_found(&target.resource.id, &target.name))?;
    let stored = Stored::read(entry.value)?;
    let mut out = Vec::with_capacity(stored.len() + 128);
    if target.subresource == Subresource::Scale {
        scale::write(target, &stored, entry.modified, &mut out)?;
        if let Form::Table(api_version) = wanted.form {
            out = table::of_scale(api_version, &out, include(query)?)?;
        }
    } else {
        let view = View {
            resource: &target.resource,
            version: target.version(),
            form: wanted.form,
            include: include(query)?,
        };
        view.object(&stored, Some(entry.modified), true, &mut out)?;
    }
    render::answer(StatusCode::OK, out, wanted.encoding, &deprecation(target))
}

/// The warning of a deprecated version.
pub(crate) fn deprecation(target: &Target) -> Vec<String> {
    target.version().deprecation_warning.iter().cloned().collect()
}

/// The objects of a namespace or all namespaces that the selectors select.
pub(crate) async fn list(
    server: &Server,
    target: &Target,
    query: &Query<'_>,
    options: ListOptions,
    wanted: Wanted,
) -> Result<Response<Body>, Failure> {
    let include = include(query)?;
    let start = Start::of(&options);
    if let Some(revision) = start.not_older_than {
        wait_for(server, revision).await?;
    }
    let filter = Filter::new(&target.resource, options.label_selector, options.field_selector)?;
    let limit = options.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut page = match collect(server, target, &filter, &start, limit).await {
        Err(Failure::Status(status)) if status.code() == 410 => return Err(start.expired().into()),
        other => other?,
    };
    if filter.is_empty() && page.next.is_some() {
        page.remaining = remaining(server, target, &start, &page).await?;
    }
    let metadata = ListMeta {
        resource_version: page.revision.0.to_string(),
        continue_token: page.continue_token(),
        remaining_item_count: page.remaining,
    };
    let view = View {
        resource: &target.resource,
        version: target.version(),
        form: wanted.form,
        include,
    };
    let mut out = Vec::with_capacity(256 + page.items.iter().map(|(_, stored, _)| stored.len() + 96).sum::<usize>());
    let items: Vec<(Stored, Revision)> = page
        .items
        .into_iter()
        .map(|(_, stored, revision)| (stored, revision))
        .collect();
    view.list(&items, &metadata, &mut out)?;
    render::answer(StatusCode::OK, out, wanted.encoding, &deprecation(target))
}

/// How many objects there are behind a page: counted at the first one, where they are not very many, and from then on what
/// the token of the page says less what the page holds.
async fn remaining(server: &Server, target: &Target, start: &Start, page: &Collected) -> Result<Option<u64>, Failure> {
    if start.key.is_some() && start.at.is_some() {
        return Ok(start
            .remaining
            .and_then(|left| left.checked_sub(page.items.len() as u64)));
    }
    let Some(next) = &page.next else { return Ok(None) };
    let mut range = target.resource.keys.objects(target.namespace());
    range.start = start_key(target, next).clamp(range.start, range.end.clone());
    let count = server.store.count(range, MOST_COUNTED + 1, Some(page.revision)).await?;
    Ok(Some(count).filter(|count| *count <= MOST_COUNTED as u64))
}

/// At which revision and key a list starts.
#[derive(Debug, Default)]
pub(crate) struct Start {
    at: Option<Revision>,
    not_older_than: Option<Revision>,
    /// Relative to the prefix of the list.
    key: Option<String>,
    /// How many objects there are from that key on.
    remaining: Option<u64>,
}

impl Start {
    /// The latest state, from a key that [`Collected::next`] has named.
    pub(crate) fn at_key(key: String) -> Start {
        Start {
            key: Some(key),
            ..Start::default()
        }
    }

    fn of(options: &ListOptions) -> Start {
        if let Some(token) = &options.continue_token {
            return Start {
                at: token.revision.map(Revision),
                not_older_than: None,
                key: Some(token.start.clone()),
                remaining: token.remaining,
            };
        }
        let Some(revision) = options.resource_version.filter(|revision| *revision > 0).map(Revision) else {
            return Start::default();
        };
        // A page of a given revision without a match is exact, as on a real server.
        let exact = match options.version_match {
            Some(VersionMatch::Exact) => true,
            Some(VersionMatch::NotOlderThan) => false,
            None => options.limit.is_some(),
        };
        Start {
            at: exact.then_some(revision),
            not_older_than: Some(revision),
            ..Start::default()
        }
    }

    /// The answer when the revision is no longer kept: with a token that goes on in the latest state.
    fn expired(&self) -> Status {
        let token = self.key.as_ref().map(|start| {
            ContinueToken {
                revision: None,
                start: start.clone(),
                remaining: None,
            }
            .encode()
        });
        Status::expired_list(token)
    }
}

/// Objects in key order.
#[derive(Debug)]
pub(crate) struct Collected {
    /// Key, object and its resourceVersion.
    pub(crate) items: Vec<(Bytes, Stored, Revision)>,
    /// The state that they show.
    pub(crate) revision: Revision,
    /// Where the next page starts, if there is more.
    pub(crate) next: Option<String>,
    /// How many objects the next pages have together, if that is known.
    pub(crate) remaining: Option<u64>,
}

impl Collected {
    /// The token of the next page, empty when there is none.
    pub(crate) fn continue_token(&self) -> String {
        let token = self.next.as_ref().map(|start| ContinueToken {
            revision: Some(self.revision.0),
            start: start.clone(),
            remaining: self.remaining,
        });
        token.map(|token| token.encode()).unwrap_or_default()
    }
}

/// The selected objects from a start on, at most `limit`.
pub(crate) async fn collect(
    server: &Server,
    target: &Target,
    filter: &Filter,
    start: &Start,
    limit: Option<usize>,
) -> Result<Collected, Failure> {
    let namespace = target
        .namespace()
        .or_else(|| filter.namespace())
        .filter(|_| target.resource.namespaced);
    for field in filter.missing_indexes(&target.resource) {
        server.wanted.ask(&target.resource.id, field);
    }
    match filter.plan(&target.resource, namespace) {
        // What the index was not complete for yet it does not know.
        Plan::Index { since, .. } if start.at.is_some_and(|at| at < since) => {
            scan(server, target, namespace, filter, start, limit).await
        }
        Plan::Scan => scan(server, target, namespace, filter, start, limit).await,
        Plan::Name(name) => {
            let keys = vec![target.resource.keys.object(namespace.unwrap_or_default(), &name)];
            let revision = shown(server, start).await?;
            pick(server, target, filter, keys, revision, limit).await
        }
        Plan::Index { field, value, .. } => {
            let revision = shown(server, start).await?;
            let mut keys = indexed(server, target, namespace, &field, value.as_deref(), revision).await?;
            keys.sort_unstable();
            keys.dedup();
            if let Some(first) = &start.key {
                let first = start_key(target, first);
                keys.retain(|key| *key >= first);
            }
            pick(server, target, filter, keys, revision, limit).await
        }
    }
}

/// The state to show: the one that the first page has shown, or the newest.
async fn shown(server: &Server, start: &Start) -> Result<Revision, Failure> {
    match start.at {
        Some(at) => Ok(at),
        None => Ok(server.store.latest().await?),
    }
}

async fn scan(
    server: &Server,
    target: &Target,
    namespace: Option<&str>,
    filter: &Filter,
    start: &Start,
    limit: Option<usize>,
) -> Result<Collected, Failure> {
    let mut range = target.resource.keys.objects(namespace);
    if let Some(first) = &start.key {
        range.start = start_key(target, first).clamp(range.start, range.end.clone());
    }
    let mut at = start.at;
    let mut items = Vec::new();
    loop {
        let chunk = limit
            .filter(|_| filter.is_empty())
            .map_or(CHUNK, |limit| (limit - items.len()).clamp(1, CHUNK));
        let page = server.store.range(range.clone(), chunk, at).await?;
        at = Some(page.revision);
        let last = page.entries.last().map(|entry| entry.key.clone());
        for entry in page.entries {
            if limit.is_some_and(|limit| items.len() >= limit) {
                // One more matches or may match: the next page starts there.
                return Ok(Collected {
                    next: Some(relative(target, &entry.key)),
                    items,
                    revision: page.revision,
                    remaining: None,
                });
            }
            items.extend(selected(target, filter, entry)?);
        }
        let Some(last) = last.filter(|_| page.more) else {
            return Ok(Collected {
                items,
                revision: page.revision,
                next: None,
                remaining: None,
            });
        };
        range.start = after(&last);
        if limit.is_some_and(|limit| items.len() >= limit) {
            return Ok(Collected {
                next: Some(relative(target, &range.start)),
                items,
                revision: page.revision,
                remaining: None,
            });
        }
    }
}

/// The objects at `keys` that are selected.
async fn pick(
    server: &Server,
    target: &Target,
    filter: &Filter,
    keys: Vec<Bytes>,
    revision: Revision,
    limit: Option<usize>,
) -> Result<Collected, Failure> {
    let mut items = Vec::new();
    for key in keys {
        if limit.is_some_and(|limit| items.len() >= limit) {
            return Ok(Collected {
                next: Some(relative(target, &key)),
                items,
                revision,
                remaining: None,
            });
        }
        if let Some(entry) = server.store.get(key, Some(revision)).await? {
            items.extend(selected(target, filter, entry)?);
        }
    }
    Ok(Collected {
        items,
        revision,
        next: None,
        remaining: None,
    })
}

/// The keys of the objects that the index of a field names. With a value, each namespace has a range of its own.
async fn indexed(
    server: &Server,
    target: &Target,
    namespace: Option<&str>,
    field: &str,
    value: Option<&str>,
    revision: Revision,
) -> Result<Vec<Bytes>, Failure> {
    let keys = &target.resource.keys;
    let ranges = match (value, namespace) {
        (None, namespace) => vec![keys.index_any(field, namespace)],
        (Some(value), Some(namespace)) => vec![keys.index_value(field, namespace, value)],
        (Some(value), None) if !target.resource.namespaced => vec![keys.index_value(field, "", value)],
        (Some(value), None) => server
            .namespaces
            .names(&server.store, revision)
            .await?
            .iter()
            .map(|namespace| keys.index_value(field, namespace, value))
            .collect(),
    };
    let mut found = Vec::new();
    for mut range in ranges {
        loop {
            let page = server.store.range(range.clone(), CHUNK, Some(revision)).await?;
            found.extend(
                page.entries
                    .iter()
                    .filter_map(|entry| keys.index_parts(field, &entry.key))
                    .map(|(namespace, name)| keys.object(namespace, name)),
            );
            let Some(last) = page.entries.last().filter(|_| page.more) else {
                break;
            };
            range.start = after(&last.key);
        }
    }
    Ok(found)
}

fn selected(target: &Target, filter: &Filter, entry: Entry) -> Result<Option<(Bytes, Stored, Revision)>, Failure> {
    let stored = Stored::read(entry.value)?;
    let (namespace, name) = target.resource.keys.parts(&entry.key).ok_or(crate::codec::Damaged)?;
    let matches = filter.is_empty() || filter.matches(&target.resource, target.version(), namespace, name, &stored)?;
    Ok(matches.then_some((entry.key, stored, entry.modified)))
}

/// The key that follows a key.
pub(crate) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}

fn relative(target: &Target, key: &[u8]) -> String {
    let prefix = target.resource.keys.objects_prefix(None);
    String::from_utf8_lossy(key.strip_prefix(prefix.as_ref()).unwrap_or(key)).into_owned()
}

fn start_key(target: &Target, relative: &str) -> Bytes {
    let prefix = target.resource.keys.objects_prefix(None);
    Bytes::from([prefix.as_ref(), relative.as_bytes()].concat())
}

/// Waits until the store has reached a revision that a client has seen elsewhere.
pub(crate) async fn wait_for(server: &Server, revision: Revision) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + FUTURE_PATIENCE;
    while server.store.revision() < revision && server.store.latest().await? < revision {
        if tokio::time::Instant::now() >= deadline {
            return Err(Error::Future {
                requested: revision,
                current: server.store.revision(),
            }
            .into());
        }
        tokio::time::sleep(FUTURE_POLL).await;
    }
    Ok(())
}
