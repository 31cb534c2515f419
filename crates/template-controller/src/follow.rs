//! Lists and watches: what changes is told, again and again after interruptions.
//!
//! Of objects only the metadata is read, so that it does not matter how large they are, or what secrets they hold.

use std::time::Duration;

use futures::StreamExt as _;
use http::{Request, header};
use kube::Client;
use kube::api::ObjectMeta;
use kube::core::WatchEvent;
use serde::Deserialize;

use crate::api::ApiError;

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const PAGE: u32 = 500;

/// The pause before a watch that ended is begun anew.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause after a refusal.
const LONG_PAUSE: Duration = Duration::from_secs(15);

#[derive(Clone, Deserialize)]
struct Meta {
    #[serde(default)]
    metadata: ObjectMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    metadata: ListMeta,
    /// `null` where a real server has none.
    items: Option<Vec<Meta>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It stands in the list that everything begins with, also after an interruption.
    Listed,
    /// The list has ended: what was there before and did not stand in it is gone. Told without an object.
    AllListed,
    /// It has been made, or has changed.
    There,
    /// It is gone.
    Gone,
}

/// What is followed: the path of a list, and a label that its objects have.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The path of the list.
    pub path: String,
    /// The name of the label; `None` for all objects.
    pub label: Option<&'static str>,
}

impl Scope {
    fn request(&self, accept: &str, more: &str) -> Result<Request<Vec<u8>>, ApiError> {
        let mut uri = format!("{}?{more}", self.path);
        if let Some(label) = self.label {
            uri.push_str("&labelSelector=");
            uri.push_str(&label.replace('/', "%2F"));
        }
        let request = Request::get(uri).header(header::ACCEPT, accept).body(Vec::new());
        request.map_err(|error| ApiError::NoAnswer(error.to_string()))
    }
}

/// Tells of everything that is there, and then of each change, until it is dropped.
pub async fn follow(client: &Client, scope: &Scope, tell: &(dyn Fn(Seen, &ObjectMeta) + Send + Sync)) {
    loop {
        let pause = match list(client, scope, tell).await {
            Ok(version) => {
                tell(Seen::AllListed, &ObjectMeta::default());
                watch(client, scope, version, tell).await;
                PAUSE
            }
            Err(error) => {
                tracing::warn!(%error, path = scope.path, "cannot be listed; trying again");
                if error.is_transient() { PAUSE } else { LONG_PAUSE }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Tells of everything that is there, once; whether that was possible.
pub async fn each(client: &Client, scope: &Scope, tell: &(dyn Fn(Seen, &ObjectMeta) + Send + Sync)) -> bool {
    list(client, scope, tell).await.is_ok()
}

async fn list(
    client: &Client,
    scope: &Scope,
    tell: &(dyn Fn(Seen, &ObjectMeta) + Send + Sync),
) -> Result<String, ApiError> {
    let mut next: Option<String> = None;
    loop {
        let mut more = format!("limit={PAGE}");
        if let Some(next) = &next {
            more.push_str("&continue=");
            more.push_str(&next.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
        }
        let page: List = client.request(scope.request(METADATA_LIST, &more)?).await?;
        page.items
            .iter()
            .flatten()
            .for_each(|item| tell(Seen::Listed, &item.metadata));
        next = page.metadata.next.filter(|next| !next.is_empty());
        if next.is_none() {
            return Ok(page.metadata.resource_version);
        }
    }
}

/// Returns when the watch has ended and cannot be continued.
async fn watch(client: &Client, scope: &Scope, mut version: String, tell: &(dyn Fn(Seen, &ObjectMeta) + Send + Sync)) {
    loop {
        let more = format!("watch=true&allowWatchBookmarks=true&resourceVersion={version}");
        let Ok(request) = scope.request(METADATA, &more) else {
            return;
        };
        let Ok(lines) = client.request_events::<Meta>(request).await else {
            return;
        };
        let mut lines = std::pin::pin!(lines);
        let mut any = false;
        while let Some(line) = lines.next().await {
            let seen = match line {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Some((Seen::There, object)),
                Ok(WatchEvent::Deleted(object)) => Some((Seen::Gone, object)),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    version = bookmark.metadata.resource_version;
                    None
                }
                Ok(WatchEvent::Error(_)) | Err(_) => return,
            };
            any = true;
            if let Some((seen, object)) = seen {
                if let Some(newer) = &object.metadata.resource_version {
                    version.clone_from(newer);
                }
                tell(seen, &object.metadata);
            }
        }
        if !any {
            return;
        }
    }
}
