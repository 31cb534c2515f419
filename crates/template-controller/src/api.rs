//! Requests to the API server, and what can come of them.

use http::{Method, Request, header};
use kube::Client;
use serde::de::DeserializeOwned;

use crate::resources::Requester;

/// What is written as JSON.
pub(crate) const JSON: &str = "application/json";
/// A patch of some members.
pub(crate) const MERGE: &str = "application/merge-patch+json";
/// Server-side apply of an object as JSON.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// Why a request did nothing, or nobody knows whether it did.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The API server refuses.
    #[error("{}", .0.message)]
    Refused(Box<kube::core::Status>),
    /// There is no answer, or one that cannot be read.
    #[error("the API server does not answer: {0}")]
    NoAnswer(String),
}

impl ApiError {
    /// The HTTP status; 0 without an answer.
    pub(crate) fn code(&self) -> u16 {
        match self {
            ApiError::Refused(status) => status.code,
            ApiError::NoAnswer(_) => 0,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    pub(crate) fn already_exists(&self) -> bool {
        matches!(self, ApiError::Refused(status) if status.code == 409 && status.reason == "AlreadyExists")
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == 409 && !self.already_exists()
    }

    /// Whether the same request may be answered differently a moment later, without anybody having changed anything.
    pub(crate) fn is_transient(&self) -> bool {
        match self.code() {
            0 | 401 | 408 | 410 | 429 | 500..=599 => true,
            _ => self.is_conflict(),
        }
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => ApiError::Refused(status),
            // What could not be read may quote the object.
            kube::Error::SerdeError(_) => ApiError::NoAnswer("the answer cannot be read".to_owned()),
            other => ApiError::NoAnswer(other.to_string()),
        }
    }
}

/// A connection to the API server, in the controller's own name or in somebody else's.
#[derive(Clone)]
pub(crate) struct Api<'c> {
    client: &'c Client,
    acting_for: Option<&'c Requester>,
}

impl<'c> Api<'c> {
    pub(crate) fn new(client: &'c Client) -> Self {
        Self {
            client,
            acting_for: None,
        }
    }

    /// The same in the name of a user. Who may be that is decided in [`crate::requester`].
    pub(crate) fn acting_for(&self, requester: &'c Requester) -> Self {
        Self {
            client: self.client,
            acting_for: Some(requester),
        }
    }

    /// Sends a request; the answer is its text.
    pub(crate) async fn text(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<String, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, JSON)
            .header(header::CONTENT_TYPE, content_type);
        if let Some(requester) = self.acting_for {
            for (name, value) in impersonation(requester) {
                request = request.header(name, value);
            }
        }
        let request = request
            .body(body)
            .map_err(|error| ApiError::NoAnswer(format!("the request cannot be made: {error}")))?;
        Ok(self.client.request_text(request).await?)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<T, ApiError> {
        let text = self.text(method, path, content_type, body).await?;
        serde_json::from_str(&text).map_err(|_| ApiError::NoAnswer("the answer cannot be read".to_owned()))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.call(Method::GET, path, JSON, Vec::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, ApiError> {
        self.call(Method::POST, path, JSON, body).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<T, ApiError> {
        self.call(Method::PATCH, path, content_type, body).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &serde_json::Value) -> Result<(), ApiError> {
        let body = options.to_string().into_bytes();
        self.text(Method::DELETE, path, JSON, body).await.map(|_| ())
    }
}

/// The headers of impersonation, with names and values as headers can have them.
fn impersonation(requester: &Requester) -> Vec<(String, String)> {
    let mut headers = vec![("Impersonate-User".to_owned(), requester.username.clone())];
    if !requester.uid.is_empty() {
        headers.push(("Impersonate-Uid".to_owned(), requester.uid.clone()));
    }
    let groups = requester.groups.iter();
    headers.extend(groups.map(|group| ("Impersonate-Group".to_owned(), group.clone())));
    for (key, values) in &requester.extra {
        let name = format!("Impersonate-Extra-{}", escaped(key));
        headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
    }
    headers
}

/// A key of `extra` in the name of a header: what such a name cannot have, and `%`, is escaped.
fn escaped(key: &str) -> String {
    percent(key, b"!#$&'*+-.^_`|~")
}

/// A part of a path of the API, such as a name, so that it can be nothing else.
///
/// ```
/// assert_eq!(template_controller::segment("system:a-b.c"), "system:a-b.c");
/// assert_eq!(template_controller::segment("../x?y"), "..%2Fx%3Fy");
/// ```
pub fn segment(text: &str) -> String {
    percent(text, b"-._~:")
}

/// What is neither a letter, a digit, nor one of these, as `%XX`.
fn percent(text: &str, others: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || others.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_extra_fit_into_the_name_of_a_header() {
        let requester = Requester {
            username: "eve".to_owned(),
            uid: "7".to_owned(),
            groups: vec!["a".to_owned(), "b".to_owned()],
            extra: [("example.com/Scopes".to_owned(), vec!["x".to_owned(), "y".to_owned()])].into(),
        };
        let headers = impersonation(&requester);
        let shown: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            shown,
            [
                "Impersonate-User: eve",
                "Impersonate-Uid: 7",
                "Impersonate-Group: a",
                "Impersonate-Group: b",
                "Impersonate-Extra-example.com%2FScopes: x",
                "Impersonate-Extra-example.com%2FScopes: y",
            ]
        );
    }

    #[test]
    fn what_heals_by_itself_is_told_from_what_does_not() {
        let refused = |code: u16, reason: &str| {
            ApiError::Refused(Box::new(kube::core::Status {
                code,
                reason: reason.to_owned(),
                ..kube::core::Status::default()
            }))
        };
        for (code, reason) in [
            (429, ""),
            (503, ""),
            (500, "InternalError"),
            (409, "Conflict"),
            (504, "Timeout"),
        ] {
            assert!(refused(code, reason).is_transient(), "{code}");
        }
        for (code, reason) in [
            (409, "AlreadyExists"),
            (403, "Forbidden"),
            (422, "Invalid"),
            (404, "NotFound"),
        ] {
            assert!(!refused(code, reason).is_transient(), "{code}");
        }
        assert!(ApiError::NoAnswer(String::new()).is_transient());
    }
}
