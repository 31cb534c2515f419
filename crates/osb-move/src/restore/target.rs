//! The home that an archive comes to: whether it may, and how brokers are kept out meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use osb_engine::resource::VERSION;
use osb_engine::{RESTORING_LABEL, SHARDS};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Existing, Life, RestoreError, Target};
use crate::api::ApiError;
use crate::archive::Resource;
use crate::backup::Extent;
use crate::inventory;
use crate::pages::{self, Pages};

/// What makes a home one that is in use.
const IN_USE: [&str; 3] = ["serviceinstances", "servicebindings", "tombstones"];

/// A replica that has not renewed itself for so long is dead.
const LEASE: Duration = Duration::from_secs(16);

const LOOK: Duration = Duration::from_millis(500);

/// How often it is looked whether a new kind is served.
const LOOKS: usize = 600;

const PAUSE: Duration = Duration::from_millis(50);

const TABLE: &str = "shards";

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    items: Vec<Named>,
}

#[derive(Clone, Deserialize)]
struct Named {
    metadata: NamedMeta,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMeta {
    name: String,
    #[serde(default)]
    resource_version: String,
}

/// Whether objects of a resource have lives.
pub(super) fn has_lives(groups: &[String], resource: &Resource) -> bool {
    groups.contains(&resource.group) && IN_USE[..2].contains(&resource.plural.as_str())
}

fn path_in(group: &str, namespace: &str, plural: &str) -> String {
    format!("/apis/{group}/{VERSION}/namespaces/{namespace}/{plural}")
}

fn failed(what: impl Into<String>) -> impl FnOnce(ApiError) -> RestoreError {
    let what = what.into();
    |error| RestoreError::Home { what, error }
}

impl Target {
    /// Finds out whether the archive of that mark may be restored here, and as what: after an interrupted restore of the
    /// same archive everything that is there is its own.
    pub(super) async fn look_over(
        &self,
        groups: &[String],
        namespaces: &[String],
        mark: &str,
        existing: Existing,
    ) -> Result<Existing, RestoreError> {
        let mut existing = existing;
        for group in groups {
            let served = inventory::of_group(&self.api, group, VERSION).await;
            if served.map_err(failed("the list of resources"))?.is_none() {
                match self.extent {
                    // Its definitions come with the archive.
                    Extent::Whole => continue,
                    Extent::Group(_) => {
                        return Err(RestoreError::NotPrepared(format!("resources of the group {group}")));
                    }
                }
            }
            if self.extent != Extent::Whole {
                self.check_namespaces(namespaces).await?;
            }
            match self.mark(group).await? {
                Some(found) if found == mark => existing = Existing::Kept,
                Some(_) => return Err(RestoreError::Another),
                None => {}
            }
            self.check_replicas(group).await?;
            if existing == Existing::Refused {
                self.check_empty(group, namespaces).await?;
            }
        }
        Ok(existing)
    }

    async fn check_namespaces(&self, namespaces: &[String]) -> Result<(), RestoreError> {
        for namespace in namespaces {
            match self.api.get(&format!("/api/v1/namespaces/{namespace}")).await {
                // Who may not look will see when the first object is made.
                Ok(_) | Err(ApiError::Forbidden(_)) => {}
                Err(ApiError::NotFound) => return Err(RestoreError::NotPrepared(format!("namespace {namespace}"))),
                Err(error) => return Err(failed(format!("the namespace {namespace}"))(error)),
            }
        }
        Ok(())
    }

    /// Makes the broker's namespaces, in a home of its own: a cluster's are not in an archive.
    pub(super) async fn make_namespaces(&self, namespaces: &[String]) -> Result<(), RestoreError> {
        for namespace in namespaces {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            match self.api.create("/api/v1/namespaces", &object).await {
                Ok(_) | Err(ApiError::AlreadyExists) => {}
                Err(error) => return Err(failed(format!("the namespace {namespace}"))(error)),
            }
        }
        Ok(())
    }

    /// An archive that was made without the rights to read definitions has none.
    pub(super) async fn check_served(&self, groups: &[String]) -> Result<(), RestoreError> {
        for group in groups {
            let served = inventory::of_group(&self.api, group, VERSION).await;
            if served.map_err(failed("the list of resources"))?.is_none() {
                return Err(RestoreError::NoDefinitions(group.clone()));
            }
        }
        Ok(())
    }

    async fn check_empty(&self, group: &str, namespaces: &[String]) -> Result<(), RestoreError> {
        for namespace in namespaces {
            for plural in IN_USE {
                let path = format!("{}?limit=1", path_in(group, namespace, plural));
                let found: Option<Listed> = self.api.find(&path).await.map_err(failed(plural))?;
                if let Some(some) = found.and_then(|found| found.items.into_iter().next()) {
                    let what = format!("{plural} {namespace}/{}", some.metadata.name);
                    return Err(RestoreError::NotEmpty(what));
                }
            }
        }
        Ok(())
    }

    /// A replica that renews itself is alive. One that does not move for a full lease is not, whatever its times say.
    async fn check_replicas(&self, group: &str) -> Result<(), RestoreError> {
        let path = path_in(group, &self.layout.system, "replicas");
        let look = async || {
            let found: Result<Option<Listed>, ApiError> = self.api.find(&path).await;
            let found = found.map_err(failed("the list of replicas"))?;
            Ok::<_, RestoreError>(found.map(|found| found.items).unwrap_or_default())
        };
        let before = look().await?;
        if before.is_empty() {
            return Ok(());
        }
        let known: HashMap<&str, &str> = before
            .iter()
            .map(|replica| {
                (
                    replica.metadata.name.as_str(),
                    replica.metadata.resource_version.as_str(),
                )
            })
            .collect();
        let begin = tokio::time::Instant::now();
        while begin.elapsed() < LEASE {
            tokio::time::sleep(LOOK).await;
            let now = look().await?;
            let moved = |replica: &&Named| {
                known.get(replica.metadata.name.as_str()) != Some(&replica.metadata.resource_version.as_str())
            };
            if let Some(alive) = now.iter().find(moved) {
                return Err(RestoreError::Alive(alive.metadata.name.clone()));
            }
        }
        Ok(())
    }

    /// The lives of the ids in the home, by resource, namespace and name.
    pub(super) async fn lives(&self, groups: &[String]) -> Result<HashMap<String, String>, RestoreError> {
        let mut lives = HashMap::new();
        for group in groups {
            let served = inventory::of_group(&self.api, group, VERSION).await;
            let served = served.map_err(failed("the list of resources"))?.unwrap_or_default();
            for resource in served.iter().filter(|resource| has_lives(groups, resource)) {
                let mut pages = Pages::of(&self.api, resource, None);
                while let Some(page) = pages.next().await.map_err(failed(resource.name()))? {
                    for object in pages::parse(&page).map_err(failed(resource.name()))? {
                        let Ok(life) = serde_json::from_str::<Life>(object.get()) else {
                            continue;
                        };
                        let place = format!("{}/{}/{}", resource.name(), life.metadata.namespace, life.metadata.name);
                        lives.insert(place, life.spec.incarnation);
                    }
                }
            }
        }
        Ok(lives)
    }

    fn table(&self, group: &str) -> String {
        format!("{}/{TABLE}", path_in(group, &self.layout.system, "shardtables"))
    }

    /// The mark of a restore that was begun here and has not ended.
    async fn mark(&self, group: &str) -> Result<Option<String>, RestoreError> {
        let found: Option<Value> = self
            .api
            .find(&self.table(group))
            .await
            .map_err(failed("the ShardTable"))?;
        let label = |found: &Value| found["metadata"]["labels"][RESTORING_LABEL].as_str().map(str::to_owned);
        Ok(found.as_ref().and_then(label))
    }

    /// From here on no broker starts on this home.
    pub(super) async fn begin(&self, group: &str, mark: &str) -> Result<(), RestoreError> {
        self.write_table(group, Some(mark), 0).await
    }

    /// Brokers may start; every epoch that they give out is higher than those of all objects.
    pub(super) async fn end(&self, group: &str, highest_epoch: u64) -> Result<(), RestoreError> {
        self.write_table(group, None, highest_epoch).await
    }

    async fn write_table(&self, group: &str, mark: Option<&str>, above: u64) -> Result<(), RestoreError> {
        let path = self.table(group);
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let found: Option<Value> = self.api.find(&path).await.map_err(failed("the ShardTable"))?;
        let before = found
            .as_ref()
            .and_then(|found| found["spec"]["epoch"].as_u64())
            .unwrap_or_default();
        let epoch = now.max(above).max(before) + 1;
        let shard = json!({"owner": "", "epoch": epoch});
        let spec = json!({"epoch": epoch, "shards": vec![shard; SHARDS]});
        let labels = json!({RESTORING_LABEL: mark});
        let written = match found {
            Some(found) => {
                let version = &found["metadata"]["resourceVersion"];
                let patch = json!({"metadata": {"resourceVersion": version, "labels": labels}, "spec": spec});
                self.api.patch(&path, &patch).await
            }
            None => {
                let mut metadata = json!({"name": TABLE, "namespace": self.layout.system});
                if mark.is_some() {
                    metadata["labels"] = labels;
                }
                let object = json!({
                    "apiVersion": format!("{group}/{VERSION}"), "kind": "ShardTable", "metadata": metadata, "spec": spec,
                });
                let collection = path_in(group, &self.layout.system, "shardtables");
                self.api.create(&collection, &object).await
            }
        };
        written.map_err(failed("the ShardTable")).map(|_| ())
    }

    pub(super) async fn wait_until_served(&self, path: &str) -> Result<(), RestoreError> {
        for _ in 0..LOOKS {
            match self.api.get(path).await {
                Ok(_) => return Ok(()),
                Err(ApiError::NotFound) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(failed(path)(error)),
            }
        }
        Err(failed(path)(ApiError::NotFound))
    }
}
