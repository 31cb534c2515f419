//! The Kubernetes API of a home, as far as moving needs it: any resource, as bytes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;

/// So often a home that is overloaded or starting is asked again.
const TRIES: u32 = 60;

const PAUSE: Duration = Duration::from_secs(1);

/// Why the home did not do as it was asked. It quotes no object: what a home says of a refused write does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is no such object or resource.
    #[error("not found")]
    NotFound,
    /// An object of that name is there.
    #[error("already exists")]
    AlreadyExists,
    /// The object has changed since it was read.
    #[error("changed by somebody else")]
    Conflict,
    /// The resource version is too old to be read.
    #[error("the state that was being read is not kept any more")]
    Expired,
    /// The rights do not suffice.
    #[error("refused for want of rights (status {0})")]
    Forbidden(u16),
    /// Everything else that is refused.
    #[error("refused with status {0}{1}")]
    Refused(u16, String),
    /// No usable answer, also after some tries.
    #[error("no usable answer")]
    NoAnswer,
}

type Send = dyn Fn(Request<Body>) -> BoxFuture<'static, Option<(StatusCode, Bytes)>> + std::marker::Send + Sync;

/// A client of a home. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    send: Arc<Send>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// Wherever that client leads.
    pub fn of_client(client: kube::Client) -> Self {
        let send = move |request| -> BoxFuture<'static, _> {
            let client = client.clone();
            Box::pin(async move { collected(client.send(request).await.ok()?).await })
        };
        Self { send: Arc::new(send) }
    }

    /// An API server in this process: any tower service that speaks the Kubernetes API and is cheap to clone.
    pub fn in_process<S, B>(service: S) -> Self
    where
        S: tower_service::Service<Request<Body>, Response = Response<B>, Future: std::marker::Send>
            + Clone
            + std::marker::Send
            + Sync
            + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + std::marker::Send + Sync>>>
            + std::marker::Send
            + 'static,
    {
        let send = move |request| -> BoxFuture<'static, _> {
            let mut service = service.clone();
            Box::pin(async move {
                std::future::poll_fn(|context| service.poll_ready(context)).await.ok()?;
                collected(service.call(request).await.ok()?).await
            })
        };
        Self { send: Arc::new(send) }
    }

    /// Reads what a path names.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get(&self, path: &str) -> Result<Bytes, ApiError> {
        self.call(Method::GET, path, "application/json", &[]).await
    }

    /// Reads what a path names, if there is anything.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn find<T: for<'a> Deserialize<'a>>(&self, path: &str) -> Result<Option<T>, ApiError> {
        match self.get(path).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| ApiError::NoAnswer),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create(&self, path: &str, object: &Value) -> Result<Bytes, ApiError> {
        let path = format!("{path}?fieldManager=osb");
        self.call(Method::POST, &path, "application/json", &body(object)).await
    }

    /// Replaces an object, whose metadata names the resource version that is replaced.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Bytes, ApiError> {
        let path = format!("{path}?fieldManager=osb");
        self.call(Method::PUT, &path, "application/json", &body(object)).await
    }

    /// Merges a patch into an object; it names the resource version that it changes.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Bytes, ApiError> {
        let path = format!("{path}?fieldManager=osb");
        self.call(Method::PATCH, &path, "application/merge-patch+json", &body(patch))
            .await
    }

    /// Deletes an object of exactly this uid.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete(&self, path: &str, uid: &str) -> Result<Bytes, ApiError> {
        let options = serde_json::json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        self.call(Method::DELETE, path, "application/json", &body(&options))
            .await
    }

    async fn call(&self, method: Method, path: &str, content: &str, bytes: &[u8]) -> Result<Bytes, ApiError> {
        let mut last = ApiError::NoAnswer;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header(header::ACCEPT, "application/json")
                .header(header::CONTENT_TYPE, content)
                .body(Body::from(bytes.to_vec()));
            let request = request.map_err(|_| ApiError::Refused(0, String::new()))?;
            let Some((status, answer)) = (self.send)(request).await else {
                // Who cannot be reached now is not there; who was overloaded a moment ago may be.
                if attempt > 2 {
                    return Err(last);
                }
                continue;
            };
            match refusal(status, &answer) {
                None => return Ok(answer),
                Some(error @ ApiError::NoAnswer) => last = error,
                Some(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn body(object: &Value) -> Vec<u8> {
    serde_json::to_vec(object).unwrap_or_default()
}

async fn collected<B>(response: Response<B>) -> Option<(StatusCode, Bytes)>
where
    B: http_body::Body<Data = Bytes>,
{
    let status = response.status();
    let bytes = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, bytes))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    reason: String,
}

fn refusal(status: StatusCode, answer: &[u8]) -> Option<ApiError> {
    if status.is_success() {
        return None;
    }
    let refusal: Refusal = serde_json::from_slice(answer).unwrap_or_default();
    Some(match status.as_u16() {
        401 | 403 => ApiError::Forbidden(status.as_u16()),
        404 => ApiError::NotFound,
        409 if refusal.reason == "AlreadyExists" => ApiError::AlreadyExists,
        409 => ApiError::Conflict,
        410 => ApiError::Expired,
        429 | 502..=504 => ApiError::NoAnswer,
        // A reason is one word of the API's own.
        status if refusal.reason.is_empty() => ApiError::Refused(status, String::new()),
        status => ApiError::Refused(status, format!(" ({})", refusal.reason)),
    })
}

/// A value in a query.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
