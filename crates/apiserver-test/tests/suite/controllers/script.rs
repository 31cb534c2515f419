//! What users do with workloads, owners and namespaces, and what is left of it in the end.

use serde_json::{Value, json};

use super::world::World;

/// A namespace of the script, and its paths.
struct Space<'w> {
    world: &'w World,
    name: String,
}

impl Space<'_> {
    fn path(&self, group: &str, resource: &str) -> String {
        format!("/{group}/namespaces/{}/{resource}", self.name)
    }

    fn maps(&self) -> String {
        self.path("api/v1", "configmaps")
    }

    fn pods(&self) -> String {
        self.path("api/v1", "pods")
    }

    fn deployments(&self) -> String {
        self.path("apis/apps/v1", "deployments")
    }

    fn replica_sets(&self) -> String {
        self.path("apis/apps/v1", "replicasets")
    }

    fn jobs(&self) -> String {
        self.path("apis/batch/v1", "jobs")
    }
}

/// Plays it all in a namespace that nobody has used. What is left, without what differs by nature.
pub(super) async fn play(world: &World, round: u64) -> Value {
    let namespaces = ["work", "full", "held", "empty"].map(|name| format!("{name}-{round}"));
    for name in &namespaces {
        let namespace = json!({"metadata": {"name": name}});
        world.post("/api/v1/namespaces", namespace).await;
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        world.until(&account, Value::is_object).await;
    }
    let [work, full, held, empty] = namespaces.map(|name| Space { world, name });
    let kubelet = async {
        loop {
            run_pods(&work).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let script = async {
        deployments(&work).await;
        jobs(&work).await;
        owners(&work).await;
    };
    tokio::select! {
        () = kubelet => {}
        () = script => {}
    }
    deleted_namespaces(&full, &held, &empty).await;
    left(world, &[&work, &full, &held, &empty]).await
}

/// What a kubelet does: pods of jobs end, others are ready.
async fn run_pods(space: &Space<'_>) {
    for pod in space.world.list(&space.pods()).await {
        if pod["status"]["phase"] != "Pending" || pod["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        let of_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
        let now = "2026-01-01T00:00:00Z";
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
        let status = if of_job {
            json!({"phase": "Succeeded"})
        } else {
            let conditions = ["Initialized", "ContainersReady", "Ready", "PodScheduled"].map(condition);
            json!({"phase": "Running", "startTime": now, "conditions": conditions})
        };
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("{}/{name}/status", space.pods());
        space.world.merge(&path, json!({"status": status})).await;
    }
}

fn deployment(name: &str, image: &str, replicas: u64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

/// Whether everything that a Deployment wants is there, and nothing else.
fn is_rolled_out(deployment: &Value, replicas: u64) -> bool {
    let (spec, status) = (&deployment["metadata"], &deployment["status"]);
    let count = |name: &str| status[name].as_u64().unwrap_or_default() == replicas;
    let conditions = status["conditions"].as_array();
    let complete = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["reason"] == "NewReplicaSetAvailable");
    let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
    complete && counts.into_iter().all(count) && status["observedGeneration"] == spec["generation"]
}

async fn deployments(space: &Space<'_>) {
    let world = space.world;
    let path = |name: &str| format!("{}/{name}", space.deployments());
    for name in ["stays", "background", "foreground", "orphans"] {
        world
            .post(&space.deployments(), deployment(name, "example.com/a:1", 2))
            .await;
    }
    for name in ["stays", "background", "foreground", "orphans"] {
        world.until(&path(name), |object| is_rolled_out(object, 2)).await;
    }
    let scaled = json!({"spec": {"replicas": 3}});
    assert!(world.merge(&format!("{}/scale", path("stays")), scaled).await);
    world.until(&path("stays"), |object| is_rolled_out(object, 3)).await;
    let image = json!([{"name": "c", "image": "example.com/a:2"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": image}}}});
    assert!(world.merge(&path("stays"), patch).await);
    let second = |object: &Value| {
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2" && is_rolled_out(object, 3)
    };
    world.until(&path("stays"), second).await;
    for (name, policy) in [
        ("background", "Background"),
        ("foreground", "Foreground"),
        ("orphans", "Orphan"),
    ] {
        world.delete(&path(name), policy).await;
        world.until_missing(&path(name)).await;
    }
    // Of the first two nothing is left, and of the last one all but itself.
    let is_left = |list: &Value| {
        let items = list["items"].as_array();
        let apps = items
            .into_iter()
            .flatten()
            .map(|item| &item["metadata"]["labels"]["app"]);
        let mut apps: Vec<&str> = apps.filter_map(Value::as_str).collect();
        apps.sort_unstable();
        apps.dedup();
        apps == ["orphans", "stays"]
    };
    for list in [space.replica_sets(), space.pods()] {
        world.until(&list, is_left).await;
    }
    let orphan = |list: &Value| {
        let items = list["items"].as_array();
        let mut orphans = items
            .into_iter()
            .flatten()
            .filter(|item| item["metadata"]["labels"]["app"] == "orphans");
        orphans.all(|item| item["metadata"]["ownerReferences"].is_null())
    };
    world.until(&space.replica_sets(), orphan).await;
}

async fn jobs(space: &Space<'_>) {
    let world = space.world;
    for name in ["done", "gone"] {
        let template = json!({"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/a:1"}],
        }});
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"completions": 3, "parallelism": 2, "template": template},
        });
        world.post(&space.jobs(), job).await;
    }
    let is_complete = |job: &Value| {
        let conditions = job["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Complete" && condition["status"] == "True")
    };
    for name in ["done", "gone"] {
        world.until(&format!("{}/{name}", space.jobs()), is_complete).await;
    }
    world.delete(&format!("{}/gone", space.jobs()), "Background").await;
    let selected = format!("{}?labelSelector=job-name%3Dgone", space.pods());
    world.until(&selected, |list| list["items"] == json!([])).await;
}

fn owned_by(owner: &Value, blocks: bool) -> Value {
    let metadata = &owner["metadata"];
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"],
        "blockOwnerDeletion": blocks,
    })
}

/// Owners and dependents that no other controller knows of.
async fn owners(space: &Space<'_>) {
    let world = space.world;
    let path = |name: &str| format!("{}/{name}", space.maps());
    let make = async |name: &str, owners: Value| {
        let map = json!({"metadata": {"name": name, "ownerReferences": owners}});
        world.post(&space.maps(), map).await
    };
    let policies = ["Background", "Foreground", "Orphan"].map(|policy| (policy, policy.to_lowercase()));
    for (_, name) in &policies {
        let owner = make(&format!("{name}-owner"), json!([])).await;
        let child = make(&format!("{name}-child"), json!([owned_by(&owner, true)])).await;
        make(&format!("{name}-leaf"), json!([owned_by(&child, false)])).await;
    }
    let (solid, lost) = (make("solid", json!([])).await, make("lost", json!([])).await);
    make("both", json!([owned_by(&solid, false), owned_by(&lost, false)])).await;
    let nobody = json!({"metadata": {"name": "nobody", "uid": "00000000-0000-0000-0000-000000000001"}});
    make("foundling", json!([owned_by(&nobody, false)])).await;
    for (policy, name) in &policies {
        world.delete(&path(&format!("{name}-owner")), policy).await;
    }
    world.delete(&path("lost"), "Background").await;
    for name in [
        "background-leaf",
        "foreground-owner",
        "foreground-leaf",
        "orphan-owner",
        "foundling",
    ] {
        world.until_missing(&path(name)).await;
    }
    let one_is_left = |both: &Value| {
        let owners = both["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.len() == 1)
    };
    world.until(&path("both"), one_is_left).await;
    let has_none = |child: &Value| child["metadata"]["ownerReferences"].is_null();
    world.until(&path("orphan-child"), has_none).await;
}

async fn deleted_namespaces(full: &Space<'_>, held: &Space<'_>, empty: &Space<'_>) {
    let world = full.world;
    let path = |space: &Space<'_>| format!("/api/v1/namespaces/{}", space.name);
    world.post(&full.maps(), json!({"metadata": {"name": "a"}})).await;
    world
        .post(&full.deployments(), deployment("web", "example.com/a:1", 1))
        .await;
    let one = |list: &Value| list["items"].as_array().is_some_and(|items| items.len() == 1);
    world.until(&full.pods(), one).await;
    let map = json!({"metadata": {"name": "a", "finalizers": ["ex.io/hold"]}});
    world.post(&held.maps(), map).await;
    for space in [full, held, empty] {
        world.delete(&path(space), "Background").await;
    }
    for space in [full, empty] {
        world.until_missing(&path(space)).await;
    }
    let waits = |namespace: &Value| {
        let conditions = namespace["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition["reason"] == "SomeFinalizersRemain")
    };
    world.until(&path(held), waits).await;
}

async fn left(world: &World, spaces: &[&Space<'_>]) -> Value {
    let mut all = Vec::new();
    for namespace in world.list("/api/v1/namespaces").await {
        if spaces.iter().any(|space| namespace["metadata"]["name"] == *space.name) {
            all.push(namespace);
        }
    }
    for space in spaces {
        for list in [
            space.maps(),
            space.pods(),
            space.path("api/v1", "serviceaccounts"),
            space.replica_sets(),
            space.deployments(),
            space.jobs(),
        ] {
            for mut object in world.list(&list).await {
                object["list"] = json!(list);
                all.push(object);
            }
        }
    }
    for object in &mut all {
        rename(object);
        forget(object);
    }
    all.sort_by_cached_key(Value::to_string);
    json!(all)
}

/// Names that a server has made up are like the name that it was asked for.
fn rename(object: &mut Value) {
    let metadata = &mut object["metadata"];
    if let Some(prefix) = metadata["generateName"].as_str() {
        metadata["name"] = json!(format!("{prefix}*"));
    }
}

/// Takes out what differs from server to server, and from moment to moment.
fn forget(value: &mut Value) {
    const VARY: [&str; 5] = [
        "uid",
        "resourceVersion",
        "managedFields",
        "selfLink",
        "batch.kubernetes.io/controller-uid",
    ];
    let varies = |name: &str| {
        VARY.contains(&name) || name.ends_with("Timestamp") || name.ends_with("Time") || name == "controller-uid"
    };
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !varies(name));
            members.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}
