//! Which resources the API server has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::api::{Api, ApiError, segment};

/// How long what was found is believed; what was not found is looked for again each time.
const FRESH: Duration = Duration::from_secs(300);

/// A kind of objects as the API server serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) is_namespaced: bool,
}

impl Resource {
    /// Empty for the core group.
    pub(crate) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(crate) fn version(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or(&self.api_version, |(_, version)| version)
    }

    /// The path of all objects, of a namespace where one is given.
    pub(crate) fn all(&self, namespace: Option<&str>) -> String {
        let root = match self.group() {
            "" => format!("/api/{}", segment(&self.api_version)),
            group => format!("/apis/{}/{}", segment(group), segment(self.version())),
        };
        match namespace.filter(|namespace| self.is_namespaced && !namespace.is_empty()) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", segment(namespace), segment(&self.plural)),
            None => format!("{root}/{}", segment(&self.plural)),
        }
    }

    /// The path of an object.
    pub(crate) fn one(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.all(Some(namespace)), segment(name))
    }
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
}

type Kinds = Arc<HashMap<String, Resource>>;

/// What has been found.
#[derive(Default)]
pub(crate) struct Discovery {
    known: Mutex<HashMap<String, (Instant, Kinds)>>,
    served: Mutex<HashMap<String, (Instant, bool)>>,
}

impl Discovery {
    /// The resource of a kind; `None` when the API server has none.
    pub(crate) async fn find(
        &self,
        api: &Api<'_>,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, ApiError> {
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known
                .get(api_version)
                .filter(|(since, _)| since.elapsed() < FRESH)
                .map(|(_, kinds)| kinds.clone())
        };
        if let Some(found) = known.and_then(|kinds| kinds.get(kind).cloned()) {
            return Ok(Some(found));
        }
        let Some(kinds) = look(api, api_version).await? else {
            return Ok(None);
        };
        let found = kinds.get(kind).cloned();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(api_version.to_owned(), (Instant::now(), Arc::new(kinds)));
        Ok(found)
    }

    /// Whether a version of a group is served.
    pub(crate) async fn serves(&self, api: &Api<'_>, api_version: &str) -> Result<bool, ApiError> {
        let known = {
            let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            served
                .get(api_version)
                .filter(|(since, _)| since.elapsed() < FRESH)
                .map(|(_, is_served)| *is_served)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let is_served = look(api, api_version).await?.is_some();
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.insert(api_version.to_owned(), (Instant::now(), is_served));
        Ok(is_served)
    }
}

async fn look(api: &Api<'_>, api_version: &str) -> Result<Option<HashMap<String, Resource>>, ApiError> {
    let path = match api_version.split_once('/') {
        Some((group, version)) => format!("/apis/{}/{}", segment(group), segment(version)),
        None => format!("/api/{}", segment(api_version)),
    };
    let list: ResourceList = match api.get(&path).await {
        Ok(list) => list,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    // Subresources have a slash in their names.
    let own = list.resources.into_iter().filter(|found| !found.name.contains('/'));
    let resources = own.map(|found| {
        let resource = Resource {
            api_version: api_version.to_owned(),
            kind: found.kind.clone(),
            plural: found.name,
            is_namespaced: found.namespaced,
        };
        (found.kind, resource)
    });
    Ok(Some(resources.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_their_paths() {
        let resource = |api_version: &str, plural: &str, is_namespaced| Resource {
            api_version: api_version.to_owned(),
            kind: "K".to_owned(),
            plural: plural.to_owned(),
            is_namespaced,
        };
        assert_eq!(
            resource("v1", "pods", true).one("a", "b"),
            "/api/v1/namespaces/a/pods/b"
        );
        assert_eq!(
            resource("v1", "namespaces", false).one("a", "b"),
            "/api/v1/namespaces/b"
        );
        assert_eq!(
            resource("apps/v1", "deployments", true).all(None),
            "/apis/apps/v1/deployments"
        );
        assert_eq!(
            resource("v1", "pods", true).one("a", "b/c"),
            "/api/v1/namespaces/a/pods/b%2Fc"
        );
    }
}
