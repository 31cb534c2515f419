//! What is in the Kubernetes API of the broker, seen from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The lists in which nothing may be left.
pub(super) const EVERYTHING: [&str; 5] = [
    "/api/v1/namespaces/templates/secrets",
    "/api/v1/namespaces/templates/configmaps",
    "/api/v1/namespaces/templates/serviceaccounts",
    "/apis/template.openshift.io/v1/namespaces/templates/templateinstances",
    "/apis/template.openshift.io/v1/brokertemplateinstances",
];

/// So long the broker may be away.
const AWAY: Duration = Duration::from_secs(60);

/// Reads objects, however often the broker is killed meanwhile.
pub(super) struct Look {
    runtime: Runtime,
    client: Client,
}

/// An object, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: String,
    /// Its data as texts.
    pub(super) data: BTreeMap<String, String>,
}

impl Look {
    pub(super) fn new(kubeconfig: &Path) -> Result<Self> {
        // Of several threads the first one decides; all mean the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let client = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    /// An object; `None` when it is not there.
    pub(super) fn get(&self, path: &str) -> Result<Option<Value>> {
        let deadline = Instant::now() + AWAY;
        loop {
            match self.runtime.block_on(self.ask(path)) {
                Ok(found) => return Ok(found),
                Err(error) if Instant::now() > deadline => return Err(error).context(path.to_owned()),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    async fn ask(&self, path: &str) -> Result<Option<Value>> {
        let request = http::Request::get(path).body(Vec::new())?;
        match self.client.request(request).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in a list.
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>> {
        let Some(list) = self.get(path)? else {
            bail!("{path} is not served");
        };
        let items = list["items"].as_array().into_iter().flatten();
        let names = items.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned));
        Ok(names.collect())
    }

    /// A Secret or a ConfigMap of the namespace.
    pub(super) fn data(&self, plural: &str, name: &str) -> Result<Option<Seen>> {
        let Some(found) = self.get(&format!("/api/v1/namespaces/templates/{plural}/{name}"))? else {
            return Ok(None);
        };
        let data = found["data"].as_object().into_iter().flatten();
        let texts = data.map(|(name, value)| {
            let text = value.as_str().unwrap_or_default();
            let text = match plural {
                "secrets" => String::from_utf8(STANDARD.decode(text)?)?,
                _ => text.to_owned(),
            };
            Ok((name.clone(), text))
        });
        Ok(Some(Seen {
            uid: found["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            data: texts.collect::<Result<_>>()?,
        }))
    }

    /// Deletes an object.
    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let deadline = Instant::now() + AWAY;
        while self.get(path)?.is_some() {
            let deleted = self.runtime.block_on(async {
                let request = http::Request::delete(path).body(Vec::new())?;
                self.client.request::<Value>(request).await?;
                anyhow::Ok(())
            });
            if deleted.is_err() && Instant::now() > deadline {
                return deleted;
            }
        }
        Ok(())
    }
}
