//! Events: what people see with `kubectl describe`.

use http::Method;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::api::{Api, JSON, segment};
use crate::blot::cut;
use crate::names::{API_VERSION, FIELD_MANAGER};
use crate::resources::TemplateInstance;

/// The longest note of an event, in bytes.
const MAX_NOTE_BYTES: usize = 1000;

/// How bad it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Normal,
    Warning,
}

/// Tells of an instance. What cannot be told is logged: nothing depends on it.
pub(crate) async fn tell(api: &Api<'_>, instance: &TemplateInstance, level: Level, reason: &str, message: &str) {
    let metadata = &instance.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let now = Timestamp::now();
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        // As client-go names them.
        "metadata": {"name": format!("{}.{:x}", cut_name(name), now.as_nanosecond()), "namespace": namespace},
        "involvedObject": {
            "apiVersion": API_VERSION, "kind": "TemplateInstance", "namespace": namespace, "name": name,
            "uid": metadata.uid, "resourceVersion": metadata.resource_version,
        },
        "type": match level { Level::Normal => "Normal", Level::Warning => "Warning" },
        "reason": reason,
        "message": cut(message, MAX_NOTE_BYTES),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": crate::status::whole_seconds(now), "lastTimestamp": crate::status::whole_seconds(now),
        "count": 1,
    });
    let path = format!("/api/v1/namespaces/{}/events", segment(namespace));
    if let Err(error) = api
        .text(Method::POST, &path, JSON, event.to_string().into_bytes())
        .await
    {
        tracing::debug!(%error, namespace, name, "an event could not be written");
    }
}

/// A name with room for the time behind it.
fn cut_name(name: &str) -> &str {
    let end = name.len().min(200);
    name.get(..end).unwrap_or(name).trim_end_matches(['.', '-'])
}
