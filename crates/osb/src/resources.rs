//! What the broker on this machine knows: its resources, read through its kubeconfig. The Open Service Broker API itself
//! has no lists.

use anyhow::{Context as _, Result};
use http::Request;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use osb_host::{DataDir, HomeKind, ServerInfo};
use serde::Deserialize;

/// The most objects of one page.
const PAGE: u32 = 500;

/// The resources of the default platform.
pub(crate) struct Resources {
    client: Client,
    path: String,
}

/// An instance or binding; only what clients need.
#[derive(Debug, Deserialize)]
pub(crate) struct Resource {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) creation_timestamp: Option<String>,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) instance_id: String,
    #[serde(default)]
    pub(crate) binding_id: Option<String>,
    pub(crate) service_id: String,
    pub(crate) plan_id: String,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMetadata,
    items: Vec<Resource>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue", default)]
    next: String,
}

impl Resource {
    /// `Ready`, or why it is not.
    pub(crate) fn state(&self) -> &str {
        let ready = self
            .status
            .conditions
            .iter()
            .find(|condition| condition.kind == "Ready");
        match ready {
            Some(condition) if condition.status == "True" => "Ready",
            Some(condition) if !condition.reason.is_empty() => &condition.reason,
            _ if self.metadata.deletion_timestamp.is_some() => "Deleting",
            _ => "Unknown",
        }
    }
}

impl Resources {
    pub(crate) async fn open(folder: &DataDir, info: &ServerInfo) -> Result<Self> {
        let path = folder.kubeconfig();
        let read = || match info.home {
            HomeKind::Embedded | HomeKind::Etcd => format!("cannot use the kubeconfig {}", path.display()),
            HomeKind::Kubernetes => format!(
                "the broker keeps its state in the cluster {}, and there is no kubeconfig that could be used (KUBECONFIG)",
                info.kubernetes_url
            ),
        };
        let mut config = match info.home {
            HomeKind::Embedded | HomeKind::Etcd => {
                let kubeconfig = Kubeconfig::read_from(&path).with_context(read)?;
                Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                    .await
                    .with_context(read)?
            }
            // With the rights of whoever asks.
            HomeKind::Kubernetes => Config::infer().await.with_context(read)?,
        };
        // A person is waiting.
        config.default_retry = false;
        let client = Client::try_from(config).with_context(read)?;
        Ok(Self {
            client,
            path: format!("/apis/{}/v1/namespaces/{}", info.group, info.namespace),
        })
    }

    pub(crate) async fn instances(&self) -> Result<Vec<Resource>> {
        self.list("serviceinstances", None).await
    }

    pub(crate) async fn instance(&self, id: &str) -> Result<Option<Resource>> {
        Ok(self.list("serviceinstances", Some(id)).await?.pop())
    }

    /// All bindings, or those of one instance.
    pub(crate) async fn bindings(&self, instance: Option<&str>) -> Result<Vec<Resource>> {
        self.list("servicebindings", instance).await
    }

    async fn list(&self, kind: &str, instance: Option<&str>) -> Result<Vec<Resource>> {
        let mut all = Vec::new();
        let mut next = String::new();
        loop {
            let mut uri = format!("{}/{kind}?limit={PAGE}", self.path);
            if let Some(id) = instance {
                uri += "&fieldSelector=";
                uri += &escape(&format!("spec.instanceId={}", selector_value(id)));
            }
            if !next.is_empty() {
                uri += "&continue=";
                uri += &escape(&next);
            }
            let request = Request::get(uri).body(Vec::new())?;
            let page: List = self
                .client
                .request(request)
                .await
                .context("the broker's resources cannot be read")?;
            all.extend(page.items);
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(all);
            }
        }
    }
}

/// In a field selector `\`, `,` and `=` have a meaning.
fn selector_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_signs_select_themselves() {
        assert_eq!(selector_value(r"a\b,c=d"), r"a\\b\,c\=d");
        assert_eq!(escape("a=é&"), "a%3D%C3%A9%26");
    }
}
