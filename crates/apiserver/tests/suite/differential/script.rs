//! What scripts are made of: requests with places for what only an answer tells.

use super::super::support::{DEFINITIONS, TestServer};

/// A request of a script. In path and body stand, each between `<` and `>`:
///
/// | place | becomes |
/// |---|---|
/// | `maps`, `secrets`, `leases`, `events`, `widgets`, `oldwidgets`, `gadgets`, `oldgadgets`, `deployments`, `services`, `instances` | the path of the collection in the script's namespace |
/// | `things`, `oldthings` | the same of a kind that the script defines itself |
/// | `definition`, `definitions` | the path of its definition, of all definitions |
/// | `ns`, `group`, `own` | the namespace, the group of the custom resources, the group of the script's own kind |
/// | `rv NAME`, `first NAME` | the last and the first resourceVersion that an answer showed of an object |
/// | `uid NAME` | its uid |
/// | `list`, `continue` | resourceVersion and token of the last list |
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) accept: Option<&'static str>,
    pub(crate) body: String,
    /// The events from the revision of this place of the script on are looked at when all else is over.
    pub(crate) is_watch: bool,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

impl Template {
    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Template {
        let path = path.into();
        Template {
            method,
            path,
            content_type: None,
            accept: None,
            body: String::new(),
            is_watch: false,
        }
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: impl ToString) -> Template {
        self.content_type = Some(content_type);
        self.body = body.to_string();
        self
    }

    /// The collection in angle brackets that the path starts with.
    pub(crate) fn collection(&self) -> &str {
        self.path
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .map_or("", |(name, _)| name)
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let watch = if self.is_watch { " (watch)" } else { "" };
        write!(f, "{}{watch} {}", self.method, self.path)?;
        if let Some(accept) = self.accept {
            write!(f, "\n    accept: {accept}")?;
        }
        if let Some(content_type) = self.content_type {
            write!(f, "\n    {content_type}: {:.600}", self.body)?;
        }
        Ok(())
    }
}

/// The path of a collection by its name in a template.
pub(crate) fn collection_path(server: &TestServer, name: &str) -> Option<String> {
    let namespace = server.namespace_path();
    Some(match name {
        "maps" => server.maps(),
        "secrets" => format!("{namespace}/secrets"),
        "events" => format!("{namespace}/events"),
        "leases" => format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", server.namespace),
        "widgets" => server.widgets(),
        "deployments" => format!("/apis/apps/v1/namespaces/{}/deployments", server.namespace),
        "services" => format!("{namespace}/services"),
        "gadgets" => server.custom("v1", "gadgets"),
        "oldgadgets" => server.custom("v1beta1", "gadgets"),
        "oldwidgets" => server.custom("v1beta1", "widgets"),
        "instances" => server.instances(),
        "things" => format!("/apis/{}/v1/namespaces/{}/things", own_group(server), server.namespace),
        "oldthings" => format!(
            "/apis/{}/v1beta1/namespaces/{}/things",
            own_group(server),
            server.namespace
        ),
        "definitions" => DEFINITIONS.to_owned(),
        "definition" => format!("{DEFINITIONS}/things.{}", own_group(server)),
        _ => return None,
    })
}

/// The group that the script in this namespace may define kinds in.
pub(crate) fn own_group(server: &TestServer) -> String {
    format!("{}.own.example.com", server.namespace)
}
