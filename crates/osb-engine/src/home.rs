//! The broker's home: the Kubernetes API where its state lives.
//!
//! Every write of the engine goes through the few functions here. A patch always names the resource version that it
//! changes, a delete also the uid: there is no way to write past another writer. A home's error text is never passed on
//! or logged, since a refused patch quotes the object.

use std::sync::Arc;

use bytes::Bytes;
use futures::{AsyncBufReadExt as _, Stream, TryStreamExt as _};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::resource::{Kind, Meta, VERSION};
use crate::transport::{InProcess, Incoming, Transport};

mod install;

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const WRITE: &str = "fieldManager=osb&fieldValidation=Strict";

/// Why the home did not do as it was asked.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::HomeError;
///
/// assert!(HomeError::Busy.is_passing() && !HomeError::Conflict.is_passing());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HomeError {
    /// There is no such object, or no such namespace.
    #[error("not found")]
    NotFound,
    /// An object of that name is there.
    #[error("already exists")]
    AlreadyExists,
    /// The object has changed since it was read, or is not the one that was meant.
    #[error("changed by somebody else")]
    Conflict,
    /// The namespace is being deleted and takes no new objects.
    #[error("the namespace is being deleted")]
    Terminating,
    /// The resource version is too old to watch or page from.
    #[error("the resource version is too old")]
    Expired,
    /// The home is overloaded or starting.
    #[error("overloaded or starting")]
    Busy,
    /// The home refuses the request itself: wrong rights, an older CRD, a too large object.
    #[error("refused with status {0}")]
    Refused(u16),
    /// No answer, or one that cannot be read: whether the write was done is not known.
    #[error("no usable answer")]
    Unknown,
}

impl HomeError {
    /// Whether the same request may succeed a little later.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Busy | Self::Unknown)
    }
}

/// The Kubernetes API where a broker's state lives.
#[derive(Clone)]
pub struct Home {
    transport: Arc<dyn Transport>,
    group: Arc<str>,
}

/// One line of a metadata-only watch.
#[derive(Debug, Deserialize)]
pub(crate) struct WatchLine {
    #[serde(rename = "type")]
    pub(crate) kind: WatchKind,
    pub(crate) object: WatchedObject,
}

/// What happened to the watched object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum WatchKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// The metadata of a watched object, or the code of a `Status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WatchedObject {
    pub(crate) metadata: Meta,
    pub(crate) code: u16,
}

/// A part of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(crate) struct List<T> {
    pub(crate) metadata: ListMeta,
    /// An empty metadata-only list is `null` on a real server.
    #[serde(default = "none")]
    pub(crate) items: Option<Vec<T>>,
}

fn none<T>() -> Option<Vec<T>> {
    None
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListMeta {
    pub(crate) resource_version: String,
    #[serde(rename = "continue")]
    pub(crate) next: Option<String>,
}

/// An object of which only the metadata was asked.
#[derive(Debug, Deserialize)]
pub(crate) struct MetaOnly {
    pub(crate) metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    reason: String,
    details: RefusalDetails,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusalDetails {
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

/// Which objects of a kind a list holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection<'a> {
    /// All namespaces when absent.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) labels: Option<&'a str>,
    pub(crate) fields: Option<&'a str>,
    pub(crate) limit: Option<u32>,
    pub(crate) next: Option<&'a str>,
    /// Not older than this.
    pub(crate) resource_version: Option<&'a str>,
}

impl Home {
    /// The objects of the API group `group`, wherever the client leads.
    pub fn new(client: kube::Client, group: &str) -> Self {
        Self {
            transport: Arc::new(client),
            group: group.into(),
        }
    }

    /// The objects of the API group `group` of an API server in this process: any tower service that speaks the
    /// Kubernetes API and is cheap to clone.
    pub fn in_process<S, B>(service: S, group: &str) -> Self
    where
        S: tower_service::Service<Request<Body>, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        Self {
            transport: Arc::new(InProcess(service)),
            group: group.into(),
        }
    }

    /// `<group>/v1`
    pub fn api_version(&self) -> String {
        format!("{}/{VERSION}", self.group)
    }

    /// The API group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Creates an object; the answer is its metadata.
    pub(crate) async fn create(&self, kind: Kind, namespace: &str, object: &impl Serialize) -> Result<Meta, HomeError> {
        let path = format!("{}?{WRITE}", self.collection(kind, Some(namespace)));
        let body = serde_json::to_vec(object).map_err(|_| HomeError::Refused(0))?;
        let request = json(Method::POST, &path, METADATA, "application/json", body);
        Ok(self.call::<MetaOnly>(request).await?.metadata)
    }

    /// Reads an object: the newest state, never a cache's.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, HomeError> {
        let request = empty(Method::GET, &self.object(kind, namespace, name), "application/json");
        match self.call(request).await {
            Ok(object) => Ok(Some(object)),
            Err(HomeError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Merges a patch into the object as it was at the resource version of `meta`; the answer is the new metadata.
    pub(crate) async fn patch(&self, kind: Kind, meta: &Meta, patch: &impl Serialize) -> Result<Meta, HomeError> {
        let metadata = FencedMeta {
            resource_version: &meta.resource_version,
            finalizers: None,
        };
        self.send_patch(kind, meta, &Fenced { metadata, patch }).await
    }

    /// Sets the finalizers of the object as it was at the resource version of `meta`; the answer is the new metadata.
    pub(crate) async fn set_finalizers(&self, kind: Kind, meta: &Meta, finalizers: &[&str]) -> Result<Meta, HomeError> {
        let metadata = FencedMeta {
            resource_version: &meta.resource_version,
            finalizers: Some(finalizers),
        };
        self.send_patch(
            kind,
            meta,
            &Fenced {
                metadata,
                patch: &Nothing {},
            },
        )
        .await
    }

    /// As [`patch`](Self::patch), for a patch with metadata in it, which name the version that it changes.
    pub(crate) async fn patch_all(
        &self,
        kind: Kind,
        meta: &Meta,
        patch: &serde_json::Value,
    ) -> Result<Meta, HomeError> {
        let path = format!("{}?{WRITE}", self.object(kind, &meta.namespace, &meta.name));
        let body = serde_json::to_vec(patch).map_err(|_| HomeError::Refused(0))?;
        let request = json(Method::PATCH, &path, METADATA, "application/merge-patch+json", body);
        Ok(self.call::<MetaOnly>(request).await?.metadata)
    }

    async fn send_patch(&self, kind: Kind, meta: &Meta, patch: &Fenced<'_, impl Serialize>) -> Result<Meta, HomeError> {
        let path = format!("{}?{WRITE}", self.object(kind, &meta.namespace, &meta.name));
        let body = serde_json::to_vec(patch).map_err(|_| HomeError::Refused(0))?;
        let request = json(Method::PATCH, &path, METADATA, "application/merge-patch+json", body);
        Ok(self.call::<MetaOnly>(request).await?.metadata)
    }

    /// Replaces an object; its metadata names the resource version that is replaced.
    pub(crate) async fn replace(&self, kind: Kind, meta: &Meta, object: &impl Serialize) -> Result<Meta, HomeError> {
        let path = format!("{}?{WRITE}", self.object(kind, &meta.namespace, &meta.name));
        let body = serde_json::to_vec(object).map_err(|_| HomeError::Refused(0))?;
        let request = json(Method::PUT, &path, METADATA, "application/json", body);
        Ok(self.call::<MetaOnly>(request).await?.metadata)
    }

    /// Deletes exactly this object in exactly this version; the answer is the metadata of what the finalizer keeps.
    pub(crate) async fn delete(&self, kind: Kind, meta: &Meta) -> Result<Option<Meta>, HomeError> {
        let options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        });
        let path = self.object(kind, &meta.namespace, &meta.name);
        let body = serde_json::to_vec(&options).map_err(|_| HomeError::Refused(0))?;
        let request = json(Method::DELETE, &path, "application/json", "application/json", body);
        let answer: DeleteAnswer = self.call(request).await?;
        Ok((answer.kind != "Status").then_some(answer.metadata))
    }

    /// Deletes all objects of a kind that a label selector matches.
    pub(crate) async fn delete_selected(&self, kind: Kind, namespace: &str, labels: &str) -> Result<(), HomeError> {
        let query = query(&[("labelSelector", labels)]);
        let path = format!("{}{query}", self.collection(kind, Some(namespace)));
        self.call::<serde::de::IgnoredAny>(empty(Method::DELETE, &path, METADATA_LIST))
            .await
            .map(|_| ())
    }

    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        kind: Kind,
        selection: Selection<'_>,
    ) -> Result<List<T>, HomeError> {
        self.call(empty(
            Method::GET,
            &self.list_path(kind, &selection),
            "application/json",
        ))
        .await
    }

    pub(crate) async fn list_metadata(
        &self,
        kind: Kind,
        selection: Selection<'_>,
    ) -> Result<List<MetaOnly>, HomeError> {
        self.call(empty(Method::GET, &self.list_path(kind, &selection), METADATA_LIST))
            .await
    }

    /// All changes of a kind in all namespaces after a resource version, metadata only.
    pub(crate) async fn watch(
        &self,
        kind: Kind,
        resource_version: &str,
    ) -> Result<impl Stream<Item = Result<WatchLine, HomeError>> + use<>, HomeError> {
        let lines = self
            .watch_at(&self.collection(kind, None), METADATA, resource_version)
            .await?;
        Ok(lines.and_then(|line| async move { serde_json::from_str(&line).map_err(|_| HomeError::Unknown) }))
    }

    /// As [`watch`](Self::watch), in one namespace.
    pub(crate) async fn watch_in(
        &self,
        kind: Kind,
        namespace: &str,
        resource_version: &str,
    ) -> Result<impl Stream<Item = Result<WatchLine, HomeError>> + use<>, HomeError> {
        let path = self.collection(kind, Some(namespace));
        let lines = self.watch_at(&path, METADATA, resource_version).await?;
        Ok(lines.and_then(|line| async move { serde_json::from_str(&line).map_err(|_| HomeError::Unknown) }))
    }

    /// The lines of a watch of any kind.
    pub(crate) async fn watch_at(
        &self,
        path: &str,
        accept: &str,
        resource_version: &str,
    ) -> Result<impl Stream<Item = Result<String, HomeError>> + use<>, HomeError> {
        let query = query(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
        ]);
        let request = empty(Method::GET, &format!("{path}{query}"), accept);
        let response = self.transport.send(request).await.map_err(|_| HomeError::Unknown)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let bytes = response.into_body().into_data_stream().map_err(std::io::Error::other);
        let lines = futures::io::BufReader::new(bytes.into_async_read()).lines();
        Ok(lines.map_err(|_| HomeError::Unknown))
    }

    /// Reads an object of any kind.
    pub(crate) async fn get_at<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, HomeError> {
        match self.call(empty(Method::GET, path, "application/json")).await {
            Ok(object) => Ok(Some(object)),
            Err(HomeError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of the objects of any kind.
    pub(crate) async fn list_at<T: DeserializeOwned>(
        &self,
        path: &str,
        labels: Option<&str>,
        limit: u32,
        next: Option<&str>,
    ) -> Result<List<T>, HomeError> {
        let limit = limit.to_string();
        let pairs = [
            ("labelSelector", labels),
            ("limit", Some(limit.as_str())),
            ("continue", next),
        ];
        let pairs: Vec<_> = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let path = format!("{path}{}", query(&pairs));
        self.call(empty(Method::GET, &path, "application/json")).await
    }

    /// Creates an object of any kind.
    pub(crate) async fn post_at<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &impl Serialize,
    ) -> Result<T, HomeError> {
        let body = serde_json::to_vec(object).map_err(|_| HomeError::Refused(0))?;
        let path = format!("{path}?{WRITE}");
        self.call(json(Method::POST, &path, "application/json", "application/json", body))
            .await
    }

    /// Merges a patch, which names the resource version that it changes, into an object of any kind.
    pub(crate) async fn patch_at<T: DeserializeOwned>(
        &self,
        path: &str,
        patch: &impl Serialize,
    ) -> Result<T, HomeError> {
        let body = serde_json::to_vec(patch).map_err(|_| HomeError::Refused(0))?;
        let path = format!("{path}?{WRITE}");
        let merge = "application/merge-patch+json";
        self.call(json(Method::PATCH, &path, "application/json", merge, body))
            .await
    }

    /// Deletes an object of any kind, if it is there.
    pub(crate) async fn delete_at(&self, path: &str) -> Result<(), HomeError> {
        let request = empty(Method::DELETE, path, "application/json");
        match self.call::<serde::de::IgnoredAny>(request).await {
            Ok(_) | Err(HomeError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn call<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T, HomeError> {
        let response = self.transport.send(request).await.map_err(|_| HomeError::Unknown)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|_| HomeError::Unknown)?
            .to_bytes();
        serde_json::from_slice(&body).map_err(|_| HomeError::Unknown)
    }

    fn collection(&self, kind: Kind, namespace: Option<&str>) -> String {
        let (group, plural) = (&self.group, kind.plural());
        match namespace {
            Some(namespace) => format!("/apis/{group}/{VERSION}/namespaces/{namespace}/{plural}"),
            None => format!("/apis/{group}/{VERSION}/{plural}"),
        }
    }

    fn object(&self, kind: Kind, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(kind, Some(namespace)))
    }

    fn list_path(&self, kind: Kind, selection: &Selection<'_>) -> String {
        let limit = selection.limit.map(|limit| limit.to_string());
        let pairs: Vec<(&str, &str)> = [
            ("labelSelector", selection.labels),
            ("fieldSelector", selection.fields),
            ("limit", limit.as_deref()),
            ("continue", selection.next),
            ("resourceVersion", selection.resource_version),
            (
                "resourceVersionMatch",
                selection.resource_version.map(|_| "NotOlderThan"),
            ),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        format!("{}{}", self.collection(kind, selection.namespace), query(&pairs))
    }
}

/// A patch with the resource version that it changes: there is no way to send one without.
#[derive(Serialize)]
struct Fenced<'a, T> {
    metadata: FencedMeta<'a>,
    #[serde(flatten)]
    patch: &'a T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FencedMeta<'a> {
    resource_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    finalizers: Option<&'a [&'a str]>,
}

#[derive(Serialize)]
struct Nothing {}

/// A DELETE answers the object that its finalizer keeps, or a `Status` when it is gone.
#[derive(Deserialize)]
struct DeleteAnswer {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Meta,
}

fn json(method: Method, path: &str, accept: &str, content_type: &str, body: Vec<u8>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept)
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body))
        .expect("paths are made of checked names and escaped queries")
}

fn empty(method: Method, path: &str, accept: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .expect("paths are made of checked names and escaped queries")
}

/// `?a=b&c=d`, escaped; empty when there are no pairs.
fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

async fn refusal(response: Response<Incoming>) -> HomeError {
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
    let terminating = || {
        refusal
            .details
            .causes
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
    };
    match status {
        404 => HomeError::NotFound,
        409 if refusal.reason == "AlreadyExists" => HomeError::AlreadyExists,
        409 => HomeError::Conflict,
        410 => HomeError::Expired,
        403 if terminating() => HomeError::Terminating,
        429 | 503 | 504 => HomeError::Busy,
        500..=599 => HomeError::Unknown,
        status => HomeError::Refused(status),
    }
}
