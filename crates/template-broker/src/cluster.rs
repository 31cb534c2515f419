//! The TemplateInstances and Secrets of this broker in the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{
    Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use serde_json::json;
use template::Given;
use template_controller::names::EXTERNAL_ID;
use template_controller::resources::{Requester, SecretRef, Template, TemplateInstance, TemplateInstanceSpec};

use crate::offering::Key;

/// On what this broker has made: for which life of which instance. The same id may be used again later.
pub(crate) const MADE_FOR: &str = "template.osb.internal/made-for";

/// What stands before the incarnation of an instance in [`MADE_FOR`].
pub(crate) const INSTANCE: &str = "instance";

/// The manager of the fields that the broker writes.
pub(crate) const MANAGER: &str = "template-broker";

/// The kind that owns what the broker in Go has made.
const RECORD: &str = "BrokerTemplateInstance";

/// So long is waited before an instance is looked at again whose watch has ended.
const AGAIN: Duration = Duration::from_millis(200);

/// The longest time of one watch, in seconds.
const WATCH: u32 = 290;

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name of the TemplateInstance and of its Secret.
    pub(crate) name: String,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The cluster with the templates and their instances.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
}

impl Cluster {
    /// The cluster that a client leads to.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn instances(&self, namespace: &str) -> Api<TemplateInstance> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The template.
    pub(crate) async fn template(&self, key: &Key) -> Result<Option<Template>, kube::Error> {
        let api: Api<Template> = Api::namespaced(self.client.clone(), &key.namespace);
        api.get_opt(&key.name).await
    }

    /// The instance.
    pub(crate) async fn instance(&self, at: &At) -> Result<Option<TemplateInstance>, kube::Error> {
        self.instances(&at.namespace).get_opt(&at.name).await
    }

    /// Makes the instance.
    pub(crate) async fn create(
        &self,
        at: &At,
        spec: TemplateInstanceSpec,
        made_for: &MadeFor<'_>,
    ) -> Result<TemplateInstance, kube::Error> {
        let mut instance = TemplateInstance::new(&at.name, spec);
        instance.metadata.annotations = Some(made_for.annotations());
        self.instances(&at.namespace).create(&post(), &instance).await
    }

    /// Takes over an instance that another broker has made for the same id, from now on in the name of this user.
    pub(crate) async fn adopt(
        &self,
        at: &At,
        found: &TemplateInstance,
        requester: &Requester,
        made_for: &MadeFor<'_>,
    ) -> Result<TemplateInstance, kube::Error> {
        let mut adopted = found.clone();
        adopted
            .metadata
            .annotations
            .get_or_insert_default()
            .extend(made_for.annotations());
        adopted.spec.requester = Some(requester.clone());
        // That broker's record of the instance would take it along when it is deleted.
        if let Some(owners) = &mut adopted.metadata.owner_references {
            owners.retain(|owner| owner.kind != RECORD);
        }
        self.instances(&at.namespace).replace(&at.name, &post(), &adopted).await
    }

    /// Changes what an instance is to be, if it is still as it was found.
    pub(crate) async fn change(
        &self,
        at: &At,
        found: &TemplateInstance,
        spec: &TemplateInstanceSpec,
    ) -> Result<TemplateInstance, kube::Error> {
        let changed = TemplateInstance {
            metadata: found.metadata.clone(),
            spec: spec.clone(),
            status: None,
            ..TemplateInstance::default()
        };
        self.instances(&at.namespace).replace(&at.name, &post(), &changed).await
    }

    /// Deletes that very instance.
    pub(crate) async fn delete(&self, at: &At, uid: &str) -> Result<(), kube::Error> {
        gone(
            self.instances(&at.namespace)
                .delete(&at.name, &exactly(uid))
                .await
                .map(|_| ()),
        )
    }

    /// The Secret with the parameters.
    pub(crate) async fn secret(&self, at: &At) -> Result<Option<Secret>, kube::Error> {
        self.secrets(&at.namespace).get_opt(&at.name).await
    }

    /// Writes the parameters: makes the Secret, or replaces what stands in the one that was found.
    pub(crate) async fn put_secret(
        &self,
        at: &At,
        found: Option<Secret>,
        values: &Given,
        made_for: &MadeFor<'_>,
    ) -> Result<(), kube::Error> {
        let data = values
            .iter()
            .map(|(name, value)| (name.clone(), ByteString(value.clone().into_bytes())))
            .collect();
        let metadata = ObjectMeta {
            name: Some(at.name.clone()),
            annotations: Some(made_for.annotations()),
            ..ObjectMeta::default()
        };
        let api = self.secrets(&at.namespace);
        let secret = Secret {
            metadata: found.as_ref().map_or(metadata, |found| found.metadata.clone()),
            data: Some(data),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        match found {
            Some(found) if found.data == secret.data => Ok(()),
            Some(_) => api.replace(&at.name, &post(), &secret).await.map(|_| ()),
            None => api.create(&post(), &secret).await.map(|_| ()),
        }
    }

    /// Takes over the Secret of an instance that another broker has made for the same id.
    pub(crate) async fn adopt_secret(
        &self,
        at: &At,
        found: &Secret,
        made_for: &MadeFor<'_>,
    ) -> Result<(), kube::Error> {
        let version = &found.metadata.resource_version;
        let mut patch = json!({"metadata": {"resourceVersion": version, "annotations": made_for.annotations()}});
        if let Some(mut owners) = found.metadata.owner_references.clone() {
            owners.retain(|owner| owner.kind != RECORD);
            patch["metadata"]["ownerReferences"] = json!(owners);
        }
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.secrets(&at.namespace)
            .patch(&at.name, &params, &Patch::Merge(&patch))
            .await
            .map(|_| ())
    }

    /// Deletes that very Secret.
    pub(crate) async fn delete_secret(&self, at: &At, uid: &str) -> Result<(), kube::Error> {
        gone(
            self.secrets(&at.namespace)
                .delete(&at.name, &exactly(uid))
                .await
                .map(|_| ()),
        )
    }

    /// Shows the instance as it is and as it changes, until `done` says that it is enough. `None`: there is none.
    ///
    /// # Errors
    /// When the API server refuses or does not answer, or forgets where we were: it can be called again.
    pub(crate) async fn follow<T, F, Fut>(&self, at: &At, mut done: F) -> Result<T, kube::Error>
    where
        F: FnMut(Option<TemplateInstance>) -> Fut + Send,
        Fut: Future<Output = Option<T>> + Send,
    {
        let api = self.instances(&at.namespace);
        let params = WatchParams::default()
            .fields(&format!("metadata.name={}", at.name))
            .timeout(WATCH);
        let mut pause = Duration::ZERO;
        loop {
            tokio::time::sleep(pause).await;
            pause = AGAIN;
            let list = api
                .list(&kube::api::ListParams::default().fields(&format!("metadata.name={}", at.name)))
                .await?;
            let version = list.metadata.resource_version.unwrap_or_default();
            if let Some(done) = done(list.items.into_iter().next()).await {
                return Ok(done);
            }
            let mut watch = api.watch(&params, &version).await?.boxed();
            while let Some(event) = watch.try_next().await? {
                let seen = match event {
                    WatchEvent::Added(found) | WatchEvent::Modified(found) => Some(found),
                    WatchEvent::Deleted(_) => None,
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(_) => break,
                };
                if let Some(done) = done(seen).await {
                    return Ok(done);
                }
            }
        }
    }
}

/// How [`MADE_FOR`] calls a life of an instance, by its incarnation: as `Operation::instance_name` does.
pub(crate) fn life_of(incarnation: &str) -> String {
    format!("{INSTANCE}_{incarnation}")
}

/// On what is made for a binding: its id on the platform.
const BINDING_ID: &str = "template.osb.internal/binding-id";

/// For whom something is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MadeFor<'a> {
    /// The annotation with the id.
    called: &'static str,
    /// The id of the instance or binding on its platform.
    id: &'a str,
    /// This life of it.
    life: &'a str,
}

impl<'a> MadeFor<'a> {
    /// For an instance.
    pub(crate) fn instance(id: &'a str, life: &'a str) -> Self {
        let called = EXTERNAL_ID;
        Self { called, id, life }
    }

    /// For a binding.
    pub(crate) fn binding(id: &'a str, life: &'a str) -> Self {
        let called = BINDING_ID;
        Self { called, id, life }
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (self.called.to_owned(), self.id.to_owned()),
            (MADE_FOR.to_owned(), self.life.to_owned()),
        ])
    }

    /// What an object that is there already is to us.
    pub(crate) fn of(&self, metadata: &ObjectMeta) -> Whose {
        let annotation = |name: &str| {
            metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(name))
                .map(String::as_str)
        };
        match (annotation(MADE_FOR), annotation(EXTERNAL_ID)) {
            (Some(life), _) if life == self.life => Whose::Ours,
            // Other brokers make nothing for bindings.
            (None, Some(id)) if id == self.id && self.called == EXTERNAL_ID => Whose::OfAnotherBroker,
            _ => Whose::Foreign,
        }
    }
}

/// Whether one of these brokers has made or taken over an object.
pub(crate) fn is_made(metadata: &ObjectMeta) -> bool {
    metadata
        .annotations
        .as_ref()
        .is_some_and(|all| all.contains_key(MADE_FOR))
}

/// What an object is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// We have made it for this instance.
    Ours,
    /// Another broker has made it for the same id.
    OfAnotherBroker,
    /// Somebody's.
    Foreign,
}

/// What an instance is to be.
pub(crate) fn spec(
    template: template_controller::resources::Body,
    at: &At,
    requester: Requester,
    revision: &str,
) -> TemplateInstanceSpec {
    TemplateInstanceSpec {
        template,
        secret: Some(SecretRef { name: at.name.clone() }),
        requester: Some(requester),
        revision: Some(revision.to_owned()),
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn exactly(uid: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// A deletion of what is not there, or is another one by now, is done.
fn gone(deleted: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        other => other,
    }
}

/// The refusal of the API server that will not change, as a text for the user.
pub(crate) fn refused(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 405 | 413 | 422) => {
            Some(status.message.clone())
        }
        _ => None,
    }
}
