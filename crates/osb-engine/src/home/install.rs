//! How the home learns of the broker's kinds and namespaces.

use std::time::Duration;

use http::Method;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Home, HomeError, METADATA, METADATA_LIST, MetaOnly, empty, json as request};
use crate::custom::structural::not_additive;
use crate::definition::Broker;
use crate::engine::StartError;
use crate::resource::{self, VERSION};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// How often it is looked whether a new kind is served.
const LOOKS: usize = 600;

const PAUSE: Duration = Duration::from_millis(50);

/// How often a definition that somebody else changes at the same time is looked at again.
const TRIES: usize = 5;

/// Why a definition was not put.
enum PutError {
    Home(HomeError),
    /// What is stored might not fit it any more.
    NotAdditive(String),
}

impl From<HomeError> for PutError {
    fn from(error: HomeError) -> Self {
        Self::Home(error)
    }
}

impl Home {
    /// Makes the definitions of our kinds known to the home, in the form of this version of the broker and without
    /// additions of an author's, and waits until they are served.
    ///
    /// # Errors
    /// [`HomeError`] when the home does not take them.
    pub async fn install(&self) -> Result<(), HomeError> {
        let definitions = resource::definitions(&self.group);
        self.put_definitions(&definitions).await.map_err(|error| match error {
            PutError::Home(error) => error,
            // Ours are not compared.
            PutError::NotAdditive(_) => HomeError::Refused(0),
        })
    }

    /// Makes the definitions of a broker's resources known to the home, in the form of this version of the broker
    /// ([`Broker::definitions`]), and waits until they are served. Needs rights on `customresourcedefinitions`; an
    /// operator may apply them instead. Kinds that are not declared any more are left alone.
    ///
    /// # Errors
    /// [`StartError`] when they cannot be made, or the home does not take them, or the author has changed the type of
    /// a field that is there already.
    pub async fn install_for(&self, broker: &Broker) -> Result<(), StartError> {
        let definitions = broker.definitions_in(&self.group)?;
        self.put_definitions(&definitions).await.map_err(|error| match error {
            PutError::Home(error) => StartError::Home {
                doing: "making the kinds of its resources known",
                error,
            },
            PutError::NotAdditive(what) => StartError::NotAdditive(what),
        })
    }

    async fn put_definitions(&self, definitions: &[Value]) -> Result<(), PutError> {
        for definition in definitions {
            self.put_definition(definition).await?;
        }
        for definition in definitions {
            let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
            self.wait_until_served(plural).await?;
        }
        Ok(())
    }

    /// Makes a namespace if it is not there.
    ///
    /// # Errors
    /// [`HomeError`] when the home does not take it.
    pub async fn ensure_namespace(&self, name: &str) -> Result<(), HomeError> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let body = serde_json::to_vec(&namespace).map_err(|_| HomeError::Refused(0))?;
        let request = request(Method::POST, "/api/v1/namespaces", METADATA, "application/json", body);
        match self.call::<MetaOnly>(request).await {
            Ok(_) | Err(HomeError::AlreadyExists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The first of a broker's resources that the home does not serve, for a broker that may not install them.
    ///
    /// # Errors
    /// [`StartError`] when its definitions cannot be made, or the home does not say.
    pub async fn not_served(&self, broker: &Broker) -> Result<Option<String>, StartError> {
        for definition in broker.definitions_in(&self.group)? {
            let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
            let path = format!("/apis/{}/{VERSION}/{plural}?limit=1", self.group);
            match self.call::<IgnoredAny>(empty(Method::GET, &path, METADATA_LIST)).await {
                Ok(_) => {}
                Err(HomeError::NotFound) => return Ok(Some(plural.to_owned())),
                Err(error) => {
                    return Err(StartError::Home {
                        doing: "looking for the kinds of its resources",
                        error,
                    });
                }
            }
        }
        Ok(None)
    }

    /// Whether there is a namespace of that name.
    ///
    /// # Errors
    /// [`HomeError`] when the home does not say.
    pub async fn has_namespace(&self, name: &str) -> Result<bool, HomeError> {
        let path = format!("/api/v1/namespaces/{name}");
        Ok(self.get_at::<IgnoredAny>(&path).await?.is_some())
    }

    /// Creates a definition, or replaces its `spec` when that differs.
    async fn put_definition(&self, definition: &Value) -> Result<(), PutError> {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{DEFINITIONS}/{name}");
        for _ in 0..TRIES {
            let found = self.call::<Value>(empty(Method::GET, &path, "application/json")).await;
            let request = match found {
                Err(HomeError::NotFound) => {
                    let body = serde_json::to_vec(definition).map_err(|_| HomeError::Refused(0))?;
                    request(Method::POST, DEFINITIONS, METADATA, "application/json", body)
                }
                Err(error) => return Err(error.into()),
                Ok(found) if contains(&found["spec"], &definition["spec"]) => return Ok(()),
                Ok(found) => {
                    if let Some(what) = changed(&found, definition) {
                        return Err(PutError::NotAdditive(format!("{name}: {what}")));
                    }
                    let version = &found["metadata"]["resourceVersion"];
                    let patch = json!({"metadata": {"resourceVersion": version}, "spec": definition["spec"]});
                    let body = serde_json::to_vec(&patch).map_err(|_| HomeError::Refused(0))?;
                    request(Method::PATCH, &path, METADATA, "application/merge-patch+json", body)
                }
            };
            match self.call::<MetaOnly>(request).await {
                Ok(_) => return Ok(()),
                // Another process does the same, or the server writes the status: what stands there now counts.
                Err(HomeError::AlreadyExists | HomeError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn wait_until_served(&self, plural: &str) -> Result<(), HomeError> {
        let path = format!("/apis/{}/{VERSION}/{plural}?limit=1", self.group);
        for _ in 0..LOOKS {
            match self.call::<IgnoredAny>(empty(Method::GET, &path, METADATA_LIST)).await {
                Ok(_) => return Ok(()),
                Err(HomeError::NotFound | HomeError::Busy) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(HomeError::NotFound)
    }
}

/// What an author has changed in his part of a definition so that stored objects might not fit any more.
fn changed(found: &Value, wanted: &Value) -> Option<String> {
    let schema = |definition: &Value| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let (found, wanted) = (schema(found), schema(wanted));
    // `spec`, `record` and `status` of our own kinds are our own affair.
    let ours = wanted["properties"]["record"].is_object();
    let parts: &[&str] = if ours { &["ext"] } else { &["spec", "status"] };
    parts.iter().find_map(|part| {
        let (before, after) = (&found["properties"][part], &wanted["properties"][part]);
        // What had no schema of its own is shown by the new one as far as it fits.
        let comparable = before["properties"].is_object() && after.is_object();
        comparable.then(|| not_additive(before, after, part)).flatten()
    })
}

/// Whether everything that is wanted stands in what was found; a server adds defaults of its own.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| found.get(name).is_some_and(|found| contains(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| contains(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}
