//! What the objects of an instance expose.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use serde::Deserialize;
use template::expose::{self, ExposeError};
use template_controller::resources::TemplateInstance;
use template_controller::segment;

use crate::review::Right;

/// Credentials by their names.
pub(crate) type Credentials = BTreeMap<String, String>;

/// So many objects are read at a time.
const TOGETHER: usize = 8;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The API server refuses or does not answer.
    #[error("the API server does not give the objects of the instance: {0}")]
    Api(#[from] kube::Error),
    /// An object of the instance is not there any more, or is another one.
    #[error("{0} is not the object that the instance has made: delete the instance and make it anew")]
    Replaced(String),
    /// The cluster does not serve a kind.
    #[error("the cluster does not serve {0}")]
    UnknownKind(String),
    /// What the template exposes is wrong.
    #[error(transparent)]
    Expose(#[from] ExposeError),
}

/// An object that exposes something. It is not printed: it holds passwords.
#[derive(Clone)]
pub(crate) struct Exposing {
    /// Its group.
    pub(crate) group: String,
    /// Its version.
    pub(crate) version: String,
    /// The resource, in the plural.
    pub(crate) resource: String,
    /// Where.
    pub(crate) namespace: String,
    /// Which one.
    pub(crate) name: String,
    /// The object.
    text: String,
}

impl Exposing {
    /// What somebody has to be allowed who gets what it exposes.
    pub(crate) fn reading(&self) -> Right<'_> {
        Right {
            verb: "get",
            group: &self.group,
            version: &self.version,
            resource: &self.resource,
            namespace: &self.namespace,
            name: &self.name,
        }
    }
}

/// Reads objects of any kind.
#[derive(Default)]
pub(crate) struct Reader {
    /// The plural of each kind, and whether it has namespaces.
    kinds: Mutex<HashMap<(String, String), (String, bool)>>,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    metadata: ReadMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadMeta {
    uid: String,
    annotations: BTreeMap<String, String>,
}

impl Reader {
    /// The objects of an instance that expose something, in the order of the template.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub(crate) async fn exposing(
        &self,
        client: &Client,
        instance: &TemplateInstance,
    ) -> Result<Vec<Exposing>, CredentialsError> {
        let mut references = Vec::new();
        if let Some(status) = &instance.status {
            references.extend(status.objects.iter().map(|object| object.reference.clone()));
        }
        let read = stream::iter(references)
            .map(|reference| self.read(client, reference))
            .buffered(TOGETHER);
        let found: Vec<Option<Exposing>> = read.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// An object, if it exposes something.
    async fn read(&self, client: &Client, reference: ObjectReference) -> Result<Option<Exposing>, CredentialsError> {
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let (api_version, kind, name) = (
            said(&reference.api_version),
            said(&reference.kind),
            said(&reference.name),
        );
        let (resource, namespaced) = self.resource(client, &api_version, &kind).await?;
        let namespace = said(&reference.namespace);
        let root = root(&api_version);
        let path = if namespaced {
            format!(
                "{root}/namespaces/{}/{resource}/{}",
                segment(&namespace),
                segment(&name)
            )
        } else {
            format!("{root}/{resource}/{}", segment(&name))
        };
        let shown = || format!("{kind} {namespace}/{name}");
        let text = match client.request_text(get(&path)?).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(CredentialsError::Replaced(shown())),
            text => text?,
        };
        let read: Read = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
        // What is not exposed may be made anew by whoever likes.
        let exposes = |name: &String| {
            name.starts_with(template::annotation::EXPOSE) || name.starts_with(template::annotation::BASE64_EXPOSE)
        };
        if !read.metadata.annotations.keys().any(exposes) {
            return Ok(None);
        }
        if reference.uid.is_some_and(|uid| uid != read.metadata.uid) {
            return Err(CredentialsError::Replaced(shown()));
        }
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        Ok(Some(Exposing {
            group: group.to_owned(),
            version: version.to_owned(),
            resource,
            namespace,
            name,
            text,
        }))
    }

    async fn resource(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<(String, bool), CredentialsError> {
        let key = (api_version.to_owned(), kind.to_owned());
        let known = self
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let unknown = || CredentialsError::UnknownKind(format!("{kind} of {api_version}"));
        let list: Resources = match client.request(get(&root(api_version))?).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(unknown()),
            list => list?,
        };
        let own = list
            .resources
            .into_iter()
            .find(|one| one.kind == kind && !one.name.contains('/'));
        let own = own.ok_or_else(unknown)?;
        let found = (own.name, own.namespaced);
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, found.clone());
        Ok(found)
    }
}

/// What objects expose.
///
/// # Errors
/// [`ExposeError`].
pub(crate) fn credentials(objects: &[Exposing]) -> Result<Credentials, ExposeError> {
    let parsed: Vec<_> = objects
        .iter()
        .filter_map(|object| apimachinery::json::parse_strict(object.text.as_bytes()).ok())
        .collect();
    expose::credentials(parsed.iter().map(|(object, _)| object))
}

fn root(api_version: &str) -> String {
    match api_version.split_once('/') {
        Some((group, version)) => format!("/apis/{}/{}", segment(group), segment(version)),
        None => format!("/api/{}", segment(api_version)),
    }
}

fn get(path: &str) -> Result<http::Request<Vec<u8>>, kube::Error> {
    http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(
            (root("v1").as_str(), root("apps/v1").as_str()),
            ("/api/v1", "/apis/apps/v1")
        );
        assert_eq!(root("a/../b"), "/apis/a/..%2Fb");
    }

    #[test]
    fn credentials_come_of_all_objects() {
        let object = |text: &str| Exposing {
            group: String::new(),
            version: "v1".to_owned(),
            resource: "secrets".to_owned(),
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            text: text.to_owned(),
        };
        let secret = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations":
            {"template.openshift.io/expose-password": "{.data.p}"}}, "data": {"p": "aHVudGVyMg=="}}"#;
        let route = r#"{"apiVersion": "example.com/v1", "kind": "Db", "metadata": {"name": "r", "annotations":
            {"template.openshift.io/expose-url": "http://{.status.host}"}}, "status": {"host": "h"}}"#;
        let found = credentials(&[object(secret), object(route)]).unwrap();
        assert_eq!(
            (found["password"].as_str(), found["url"].as_str()),
            ("hunter2", "http://h")
        );
    }
}
