//! API servers in memory, and a broker's objects in them.

use std::path::{Path, PathBuf};

use apiserver::{ApiServer, Options, UserInfo};
use osb_move::archive::crypt::Key;
use osb_move::{
    Api, Backup, BackupError, Existing, Extent, Layout, Made, Restore, RestoreError, Restored, Secrets, Target,
};
use serde_json::{Value, json};

pub(crate) const GROUP: &str = "probe.osb.internal";

/// A home of a broker's own.
pub(crate) struct Home {
    pub(crate) api: Api,
    _server: ApiServer,
}

pub(crate) fn layout() -> Layout {
    Layout {
        system: "osb-system".to_owned(),
        tenant_prefix: String::new(),
    }
}

impl Home {
    /// Without anything.
    pub(crate) async fn empty() -> Self {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let server = ApiServer::open(store, Options::default()).await.unwrap();
        Self {
            api: Api::in_process(server.service_as(UserInfo::admin())),
            _server: server,
        }
    }

    /// With a broker's definitions and namespaces, and two kinds of an author's own.
    pub(crate) async fn new() -> Self {
        let home = Self::empty().await;
        for name in ["osb-system", "cf"] {
            home.create(
                "/api/v1/namespaces",
                json!({"kind": "Namespace", "metadata": {"name": name}}),
            )
            .await;
        }
        let own = ["Parent", "Child"].map(definition);
        for definition in osb_engine::resource::definitions(GROUP).into_iter().chain(own) {
            let plural = definition["spec"]["names"]["plural"].as_str().unwrap().to_owned();
            home.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
                .await;
            let path = format!("/apis/{GROUP}/v1/{plural}");
            while home.api.get(&path).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
        home
    }

    pub(crate) async fn create(&self, path: &str, mut object: Value) -> Value {
        object["apiVersion"] = match path.strip_prefix("/apis/") {
            Some(rest) => rest.split('/').take(2).collect::<Vec<_>>().join("/").into(),
            None => "v1".into(),
        };
        let made = self.api.create(path, &object).await.unwrap();
        serde_json::from_slice(&made).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        self.api.find(path).await.unwrap()
    }

    pub(crate) async fn backup(&self, file: &Path, key: Option<&Key>) -> Result<Made, BackupError> {
        let backup = Backup {
            api: &self.api,
            home: "embedded",
            layout: &layout(),
            extent: Extent::Whole,
            key,
            secrets: Secrets::Encrypted,
            program: "a test",
        };
        backup.write(file).await
    }

    pub(crate) async fn restore(&self, file: &Path, existing: Existing) -> Result<Restored, RestoreError> {
        let target = Target {
            api: self.api.clone(),
            layout: layout(),
            extent: Extent::Whole,
            keys: Vec::new(),
        };
        Restore::open(file, &[])?.into_home(target, existing).await
    }
}

/// A kind with a status of its own.
fn definition(kind: &str) -> Value {
    let (plural, singular) = (format!("{}s", kind.to_lowercase()), kind.to_lowercase());
    json!({
        "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"plural": plural, "singular": singular, "kind": kind},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

pub(crate) fn path(plural: &str) -> String {
    format!("/apis/{GROUP}/v1/namespaces/cf/{plural}")
}

/// An instance as the engine stores one.
pub(crate) fn instance(name: &str, incarnation: &str, epoch: u64) -> Value {
    json!({
        "kind": "ServiceInstance",
        "metadata": {"name": name, "namespace": "cf", "finalizers": ["osb.internal/operations"], "labels": {"kept": "yes"}},
        "spec": {"instanceId": name, "incarnation": incarnation, "serviceId": "s", "planId": "p"},
        "record": {"epoch": epoch, "counter": 1, "history": [{"id": format!("{incarnation}.1"), "verb": "Provision", "outcome": "Succeeded"}]},
        "status": {"conditions": []},
    })
}

pub(crate) fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("archive")
}
