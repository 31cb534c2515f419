//! The audit log: who did what, one event for each request, in the form of `audit.k8s.io/v1` at the level `Metadata`.
//!
//! An event has no body of a request or answer in it, and no text of a refusal, which may quote one: so no secret can come into the
//! log. A watch is told of twice, when it begins and when it ends.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::auth::UserInfo;

/// When in the life of a request an event was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Stage {
    /// The answer has begun, and goes on: a watch.
    ResponseStarted,
    /// The answer is whole.
    ResponseComplete,
}

/// A user, as an event tells of him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditUser {
    /// The name.
    pub username: String,
    /// The id, if there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What else is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl From<&UserInfo> for AuditUser {
    fn from(user: &UserInfo) -> AuditUser {
        AuditUser {
            username: user.name.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
        }
    }
}

/// The object that a request was about. Empty texts are not written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// The plural name of the resource.
    pub resource: String,
    /// The namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name; of a create the one that the object got.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// The version of the API.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// For example `status`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResponseStatus {
    /// Always empty.
    pub metadata: BTreeMap<String, String>,
    /// `Failure` or nothing.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub status: &'static str,
    /// The reason of a failure, such as `Forbidden`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The HTTP status code.
    pub code: u16,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// `Event`.
    pub kind: &'static str,
    /// `audit.k8s.io/v1`.
    pub api_version: &'static str,
    /// `Metadata`.
    pub level: &'static str,
    /// Also in the answer's header `Audit-Id`.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// When it was made.
    pub stage: Stage,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// As in rules; for a path that is no resource the method in lower case.
    pub verb: String,
    /// Who sent it; nobody where the credentials were wrong.
    pub user: AuditUser,
    /// Whom the sender acted as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<AuditUser>,
    /// The address of the sender, where the listener tells it.
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// The program of the sender, as it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// What it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    /// What became of it.
    pub response_status: ResponseStatus,
    /// RFC 3339 with microseconds.
    pub request_received_timestamp: String,
    /// RFC 3339 with microseconds.
    pub stage_timestamp: String,
    /// `authorization.k8s.io/decision` and `authorization.k8s.io/reason`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, String>,
}

/// Takes the events. It is called on the request's own task and should be quick.
pub trait AuditSink: Send + Sync + 'static {
    /// Writes an event down.
    fn record(&self, event: &AuditEvent);
}

/// The address that a request comes from. A listener hands it over as a request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub std::net::IpAddr);

/// An [`AuditSink`] that appends each event as a line of JSON to a file. A line is in the file when the request is answered, so
/// that a crash of the process loses none; the file is not synced.
#[derive(Debug)]
pub struct AuditFile {
    file: Mutex<File>,
    lost: AtomicU64,
}

impl AuditFile {
    /// Opens or makes the file; on Unix only its owner can read a new one.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn open(path: &Path) -> std::io::Result<AuditFile> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(AuditFile {
            file: Mutex::new(options.open(path)?),
            lost: AtomicU64::new(0),
        })
    }

    /// How many events could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl AuditSink for AuditFile {
    fn record(&self, event: &AuditEvent) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        let written = self
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&line);
        if let Err(error) = written
            && self.lost.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000)
        {
            tracing::error!(%error, lost = self.lost(), "the audit log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_names_of_the_api() {
        let event = AuditEvent {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: "Metadata",
            audit_id: "a".into(),
            stage: Stage::ResponseComplete,
            request_uri: "/api".into(),
            verb: "get".into(),
            user: (&UserInfo::anonymous()).into(),
            impersonated_user: None,
            source_ips: vec!["::1".into()],
            user_agent: "x".into(),
            object_ref: Some(ObjectReference {
                resource: "pods".into(),
                api_version: "v1".into(),
                ..ObjectReference::default()
            }),
            response_status: ResponseStatus {
                code: 200,
                ..ResponseStatus::default()
            },
            request_received_timestamp: "t".into(),
            stage_timestamp: "t".into(),
            annotations: BTreeMap::from([("authorization.k8s.io/decision", "allow".into())]),
        };
        assert_eq!(
            serde_json::to_value(&event).expect("it can be written"),
            serde_json::json!({
                "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "a", "stage": "ResponseComplete",
                "requestURI": "/api", "verb": "get", "user": {"username": "system:anonymous", "groups": ["system:unauthenticated"]},
                "sourceIPs": ["::1"], "userAgent": "x", "objectRef": {"resource": "pods", "apiVersion": "v1"},
                "responseStatus": {"metadata": {}, "code": 200}, "requestReceivedTimestamp": "t", "stageTimestamp": "t",
                "annotations": {"authorization.k8s.io/decision": "allow"},
            })
        );
    }
}
