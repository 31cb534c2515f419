//! OpenAPI v3: an index of documents, and a document for each group and version.
//!
//! A document is built when somebody asks for it, and its bytes are kept for who asks next while there is room for
//! them. Its hash is made of what it is built from, so that the index, which names the hash of each, builds none; and
//! it changes in the very moment in which a definition does.

mod document;
mod meta;
mod operations;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use apimachinery::gvk::GroupVersion;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::body::Body;
use crate::codec::{Opening, Stored};
use crate::discovery;
use crate::failure::Failure;
use crate::negotiate;
use crate::query::Query;
use crate::registry::{Group, Resource, Snapshot, Version, stamp};
use crate::render;
use crate::server::Server;
use document::Kind;

/// How many bytes of documents are kept.
const KEPT_BYTES: usize = 4 << 20;
/// How often a document is begun anew because a definition changes meanwhile.
const ATTEMPTS: usize = 5;
/// Changes with the form of the documents.
const FORM: &str = concat!("1 ", env!("CARGO_PKG_VERSION"));

/// Names the content of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u128);

impl Hash {
    /// FNV-1a, 128 bits, over each text and its end.
    fn of<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Hash {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let bytes = texts.into_iter().flat_map(|text| text.iter().copied().chain([0xff]));
        Hash(bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME)))
    }

    fn text(self) -> String {
        format!("{:032X}", self.0)
    }
}

/// Documents that were asked for, the latest one last.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    path: String,
    hash: Hash,
    body: Bytes,
}

impl Cache {
    fn get(&self, path: &str, hash: Hash) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|kept| kept.path == path && kept.hash == hash)?;
        let found = kept.remove(at)?;
        let body = found.body.clone();
        kept.push_back(found);
        Some(body)
    }

    /// Keeps a document in the place of the one that its path had, and drops what was not asked for for longest.
    fn put(&self, path: &str, hash: Hash, body: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.path != path);
        kept.push_back(Kept {
            path: path.to_owned(),
            hash,
            body,
        });
        let mut size: usize = kept.iter().map(|kept| kept.body.len()).sum();
        while size > KEPT_BYTES
            && let Some(oldest) = kept.pop_front()
        {
            size -= oldest.body.len();
        }
    }
}

/// The answer to a path below `/openapi`, `None` when it is no such path.
pub(crate) async fn answer(
    server: &Server,
    segments: &[String],
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Option<Result<Response<Body>, Failure>> {
    match segments {
        [openapi, v3] if openapi == "openapi" && v3 == "v3" => Some(Ok(index(&server.registry.snapshot(), headers))),
        [openapi, v3, path @ ..] if openapi == "openapi" && v3 == "v3" => {
            Some(group_version(server, path, query, headers).await)
        }
        _ => None,
    }
}

/// Which documents there are.
fn index(snapshot: &Snapshot, headers: &HeaderMap) -> Response<Body> {
    let mut paths = BTreeMap::new();
    for (group, resources) in snapshot.groups() {
        for version in discovery::versions(resources) {
            let (path, hash) = (path(group, &version), hash(group, &version, resources));
            paths.insert(path.clone(), json!({"serverRelativeURL": url(&path, hash)}));
        }
    }
    let body = Bytes::from(json!({"paths": paths}).to_string());
    let hash = Hash::of([body.as_ref()]);
    tagged(body, hash, headers)
}

async fn group_version(
    server: &Server,
    path: &[String],
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    let (group, version) = match path {
        [api, version] if api == "api" => ("", version.as_str()),
        [apis, group, version] if apis == "apis" && !group.is_empty() => (group.as_str(), version.as_str()),
        _ => return Err(Failure::NoSuchPath),
    };
    if !negotiate::takes_json(headers) {
        return Ok(render::respond(
            StatusCode::NOT_ACCEPTABLE,
            "application/json",
            Bytes::new(),
        ));
    }
    let path = path.join("/");
    let (hash, body) = document(server, group, version, &path).await?;
    let asked = query.first("hash").filter(|asked| !asked.is_empty());
    let mut response = match asked {
        Some(asked) if asked != hash.text() => {
            let mut moved = render::respond(StatusCode::MOVED_PERMANENTLY, "application/json", Bytes::new());
            set(&mut moved, header::LOCATION, &url(&path, hash));
            set(&mut moved, header::ETAG, &quoted(hash));
            moved
        }
        _ => tagged(body, hash, headers),
    };
    if asked.is_some_and(|asked| asked == hash.text()) {
        set(&mut response, header::CACHE_CONTROL, "public, immutable");
        let year = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(365 * 24);
        set(
            &mut response,
            header::EXPIRES,
            &year.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        );
    }
    set(&mut response, header::VARY, "Accept");
    Ok(response)
}

/// The document of a version as it is served now.
async fn document(server: &Server, group: &str, version: &str, path: &str) -> Result<(Hash, Bytes), Failure> {
    for _ in 0..ATTEMPTS {
        let snapshot = server.registry.snapshot();
        let resources = snapshot.groups().get(group).ok_or(Failure::NoSuchPath)?;
        if discovery::of_version(resources, version).next().is_none() {
            return Err(Failure::NoSuchPath);
        }
        let hash = hash(group, version, resources);
        if let Some(body) = server.openapi.get(path, hash) {
            return Ok((hash, body));
        }
        if let Some(kinds) = kinds(server, resources, version).await? {
            let body = Bytes::from(document::of(group, version, &kinds).to_string());
            server.openapi.put(path, hash, body.clone());
            return Ok((hash, body));
        }
    }
    let status = apimachinery::status::Status::internal("the definitions change too often to be described");
    Err(status.into())
}

/// The kinds of a version with their schemas; `None` when a definition has changed since the snapshot was taken.
async fn kinds<'s>(server: &Server, resources: &'s Group, version: &'s str) -> Result<Option<Vec<Kind<'s>>>, Failure> {
    let mut kinds = Vec::new();
    for (resource, version) in discovery::of_version(resources, version) {
        let Some(schema) = schema(server, resource, version).await? else {
            server.refresh_definition(&resource.id.to_string()).await?;
            return Ok(None);
        };
        kinds.push(Kind {
            resource,
            version,
            schema,
        });
    }
    Ok(Some(kinds))
}

/// The schema of a custom resource as its definition has it: definitions are read again rather than kept, since few
/// ask. What a built-in kind is made of is known.
async fn schema(server: &Server, resource: &Resource, version: &Version) -> Result<Option<Value>, Failure> {
    let Some(definition) = &resource.definition else {
        return Ok(Some(json!({"type": "object"})));
    };
    let Some(entry) = server.store.get(definition.key.clone(), None).await? else {
        return Ok(None);
    };
    let opening = Opening::of("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let text = Stored::read(entry.value)?.object(&opening, entry.modified);
    let object = Value::from(text.value()?);
    let versions = object.pointer("/spec/versions").and_then(Value::as_array);
    let found = versions
        .into_iter()
        .flatten()
        .find(|found| found["name"] == version.name.as_str())
        .and_then(|found| found.pointer("/schema/openAPIV3Schema"));
    Ok(found.filter(|schema| stamp(schema) == version.stamp).cloned())
}

/// What a document is built from.
fn hash(group: &str, version: &str, resources: &Group) -> Hash {
    let mut texts = vec![FORM.to_owned(), group.to_owned(), version.to_owned()];
    for (resource, version) in discovery::of_version(resources, version) {
        texts.push(format!(
            "{:?}",
            (&resource.id, &resource.kind, &resource.list_kind, resource.namespaced)
        ));
        texts.push(format!(
            "{:?}",
            (
                version.stamp,
                version.status,
                version.scale.is_some(),
                discovery::verbs(resource)
            )
        ));
        texts.extend(resource.fields.iter().map(|indexed| indexed.field.label.clone()));
    }
    Hash::of(texts.iter().map(String::as_bytes))
}

fn path(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", GroupVersion::new(group, version))
}

fn url(path: &str, hash: Hash) -> String {
    format!("/openapi/v3/{path}?hash={}", hash.text())
}

fn quoted(hash: Hash) -> String {
    format!("\"{}\"", hash.text())
}

/// The body with its tag, or 304 for a client that has it.
fn tagged(body: Bytes, hash: Hash, headers: &HeaderMap) -> Response<Body> {
    let tag = quoted(hash);
    let mut response = if negotiate::knows(headers, &tag) {
        render::respond(StatusCode::NOT_MODIFIED, "application/json", Bytes::new())
    } else {
        render::respond(StatusCode::OK, "application/json", body)
    };
    set(&mut response, header::ETAG, &tag);
    response
}

/// Sets a header whose value comes from names that were checked when they were defined.
fn set(response: &mut Response<Body>, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_keep_texts_apart() {
        assert_ne!(Hash::of([&b"ab"[..], b"c"]), Hash::of([&b"a"[..], b"bc"]));
        assert_eq!(Hash::of([&b"ab"[..]]).text().len(), 32);
    }

    #[test]
    fn the_cache_keeps_one_document_of_a_path_and_drops_the_oldest() {
        let cache = Cache::default();
        let body = |size: usize| Bytes::from(vec![b' '; size]);
        cache.put("a", Hash(1), body(10));
        cache.put("a", Hash(2), body(20));
        assert_eq!(cache.get("a", Hash(1)), None);
        assert_eq!(cache.get("a", Hash(2)).map(|body| body.len()), Some(20));
        cache.put("b", Hash(3), body(KEPT_BYTES - 20));
        assert!(cache.get("a", Hash(2)).is_some(), "both fit");
        cache.put("c", Hash(4), body(1));
        assert!(cache.get("b", Hash(3)).is_none() && cache.get("a", Hash(2)).is_some());
        cache.put("d", Hash(5), body(KEPT_BYTES + 1));
        assert!(cache.get("d", Hash(5)).is_none(), "what is too large is not kept");
    }
}
