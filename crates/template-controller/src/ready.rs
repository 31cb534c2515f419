//! Whether an object of a cluster is ready, or will not become so.

use apimachinery::jsonpath::JsonPath;
use serde_json::Value;

/// How far an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// Not yet; what it waits for.
    Waiting(String),
    /// It will not become ready; why.
    Failed(String),
}

use Readiness::{Failed, Ready};

fn waiting(what: impl Into<String>) -> Readiness {
    Readiness::Waiting(what.into())
}

/// Looks at an object as the API server has it. Kinds of which nothing is known and that have no conditions are ready when they
/// are there.
pub(crate) fn readiness(object: &Value) -> Readiness {
    let (group, kind) = group_and_kind(object);
    if !is_observed(object) {
        return waiting("what was written last has not been looked at yet");
    }
    match (group, kind) {
        ("build.openshift.io" | "", "Build") => build(object),
        ("build.openshift.io" | "", "BuildConfig") => waiting("there is no build yet; start one, or give it a trigger"),
        ("apps.openshift.io" | "", "DeploymentConfig") => rollout(object, "NewReplicationControllerAvailable"),
        ("apps", "Deployment") => rollout(object, "NewReplicaSetAvailable"),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replicas(object),
        ("batch", "Job") => job(object),
        ("batch", "CronJob") => Ready,
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Service") => service(object),
        ("", "Namespace") | ("project.openshift.io", "Project") => namespace(object),
        ("networking.k8s.io" | "extensions", "Ingress") => ingress(object),
        ("route.openshift.io" | "", "Route") => route(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => condition_is_true(object, "Available"),
        _ => by_conditions(object),
    }
}

fn group_and_kind(object: &Value) -> (&str, &str) {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    (group, object["kind"].as_str().unwrap_or_default())
}

/// The name of the Build to look at instead of a BuildConfig.
pub(crate) fn build_of(object: &Value) -> Option<String> {
    let (group, kind) = group_and_kind(object);
    let last = object["status"]["lastVersion"].as_u64().filter(|last| *last > 0)?;
    let is_config = kind == "BuildConfig" && matches!(group, "" | "build.openshift.io");
    is_config.then(|| format!("{}-{last}", object["metadata"]["name"].as_str().unwrap_or_default()))
}

/// A status that is about an older generation says nothing. Kinds that tell none are believed.
fn is_observed(object: &Value) -> bool {
    match (
        object["status"]["observedGeneration"].as_i64(),
        object["metadata"]["generation"].as_i64(),
    ) {
        (Some(observed), Some(generation)) => observed >= generation,
        _ => true,
    }
}

struct Condition<'o> {
    status: &'o str,
    reason: &'o str,
    message: &'o str,
}

impl Condition<'_> {
    fn text(&self) -> String {
        match (self.reason, self.message) {
            ("", "") => "no reason is told".to_owned(),
            (reason, "") => reason.to_owned(),
            ("", message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

fn conditions(object: &Value) -> impl Iterator<Item = (&str, Condition<'_>)> {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.map(|condition| {
        let text = |name: &str| condition[name].as_str().unwrap_or_default();
        (
            text("type"),
            Condition {
                status: text("status"),
                reason: text("reason"),
                message: text("message"),
            },
        )
    })
}

fn condition<'o>(object: &'o Value, type_: &str) -> Option<Condition<'o>> {
    conditions(object)
        .find(|(name, _)| *name == type_)
        .map(|(_, condition)| condition)
}

fn condition_is_true(object: &Value, type_: &str) -> Readiness {
    match condition(object, type_) {
        Some(found) if found.status == "True" => Ready,
        Some(found) => waiting(format!("{type_} is {}: {}", found.status, found.text())),
        None => waiting(format!("it has no condition {type_} yet")),
    }
}

fn number(object: &Value, path: &str) -> Option<i64> {
    object.pointer(path).and_then(Value::as_i64)
}

fn build(object: &Value) -> Readiness {
    let status = &object["status"];
    let phase = status["phase"].as_str().unwrap_or("New");
    match phase {
        "Complete" => Ready,
        "Failed" | "Error" | "Cancelled" => {
            let why = status["message"]
                .as_str()
                .or_else(|| status["reason"].as_str())
                .unwrap_or_default();
            Failed(format!("the build is {phase} {why}").trim_end().to_owned())
        }
        _ => waiting(format!("the build is {phase}")),
    }
}

/// Deployments and DeploymentConfigs.
fn rollout(object: &Value, done: &str) -> Readiness {
    if object["status"]["observedGeneration"].as_i64().is_none() {
        return waiting("nobody has looked at it yet");
    }
    let progressing = condition(object, "Progressing");
    if let Some(found) = progressing.as_ref().filter(|found| found.status == "False") {
        return Failed(found.text());
    }
    if !progressing.is_some_and(|found| found.status == "True" && found.reason == done) {
        return waiting("its pods are being made");
    }
    condition_is_true(object, "Available")
}

fn stateful_set(object: &Value) -> Readiness {
    if object["status"]["observedGeneration"].as_i64().is_none() {
        return waiting("nobody has looked at it yet");
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = number(object, "/status/readyReplicas").unwrap_or(0);
    if ready < wanted {
        return waiting(format!("{ready} of {wanted} pods are ready"));
    }
    // Pods of an older form are changed only by a rolling update, and only from the partition on.
    if object["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return Ready;
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let updated = number(object, "/status/updatedReplicas").unwrap_or(0);
    let revision = |name: &str| object["status"][name].as_str().unwrap_or_default();
    if partition == 0 && revision("currentRevision") != revision("updateRevision") || updated < wanted - partition {
        return waiting(format!("{updated} of {wanted} pods have the newest form"));
    }
    Ready
}

fn daemon_set(object: &Value) -> Readiness {
    if object["status"]["observedGeneration"].as_i64().is_none() {
        return waiting("nobody has looked at it yet");
    }
    let wanted = number(object, "/status/desiredNumberScheduled").unwrap_or(0);
    let ready = number(object, "/status/numberReady").unwrap_or(0);
    let updated = number(object, "/status/updatedNumberScheduled").unwrap_or(0);
    let by_hand = object["spec"]["updateStrategy"]["type"] == "OnDelete";
    if ready < wanted || (!by_hand && updated < wanted) {
        return waiting(format!(
            "{ready} of {wanted} pods are ready, {updated} have the newest form"
        ));
    }
    Ready
}

fn replicas(object: &Value) -> Readiness {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = number(object, "/status/readyReplicas").unwrap_or(0);
    if object["status"]["observedGeneration"].as_i64().is_none() || ready < wanted {
        return waiting(format!("{ready} of {wanted} pods are ready"));
    }
    Ready
}

/// A pod that failed is tried again until the backoff limit: only the condition says that it is over.
fn job(object: &Value) -> Readiness {
    if let Some(found) = condition(object, "Failed").filter(|found| found.status == "True") {
        return Failed(found.text());
    }
    let complete = condition(object, "Complete").is_some_and(|found| found.status == "True");
    if complete || object["status"]["completionTime"].is_string() {
        return Ready;
    }
    let failed = number(object, "/status/failed").unwrap_or(0);
    waiting(match failed {
        0 => "the job is not done".to_owned(),
        failed => format!("the job is not done, {failed} of its pods have failed"),
    })
}

fn pod(object: &Value) -> Readiness {
    match object["status"]["phase"].as_str().unwrap_or("Pending") {
        "Succeeded" => Ready,
        "Failed" => Failed(
            object["status"]["message"]
                .as_str()
                .unwrap_or("the pod has failed")
                .to_owned(),
        ),
        _ => condition_is_true(object, "Ready"),
    }
}

fn claim(object: &Value) -> Readiness {
    match object["status"]["phase"].as_str().unwrap_or("Pending") {
        "Bound" => Ready,
        "Lost" => Failed("its volume is lost".to_owned()),
        phase => waiting(format!("the volume claim is {phase}")),
    }
}

fn service(object: &Value) -> Readiness {
    if object["spec"]["type"] != "LoadBalancer" || has_address(object) {
        return Ready;
    }
    waiting("the load balancer has no address yet")
}

fn ingress(object: &Value) -> Readiness {
    if has_address(object) {
        return Ready;
    }
    waiting("the ingress has no address yet")
}

fn has_address(object: &Value) -> bool {
    let addresses = object["status"]["loadBalancer"]["ingress"].as_array();
    addresses.is_some_and(|addresses| !addresses.is_empty())
}

fn namespace(object: &Value) -> Readiness {
    match object["status"]["phase"].as_str().unwrap_or("Active") {
        "Active" => Ready,
        phase => waiting(format!("the namespace is {phase}")),
    }
}

/// Admitted by one router and refused by none. Without a status no router may be there: then a host has to do.
fn route(object: &Value) -> Readiness {
    let routers = object["status"]["ingress"].as_array().into_iter().flatten();
    let admitted: Vec<(bool, String)> = routers
        .flat_map(|router| router["conditions"].as_array().into_iter().flatten())
        .filter(|condition| condition["type"] == "Admitted")
        .map(|condition| {
            let why = condition["message"]
                .as_str()
                .or_else(|| condition["reason"].as_str())
                .unwrap_or_default();
            (condition["status"] == "True", why.to_owned())
        })
        .collect();
    if admitted.iter().any(|(is_admitted, _)| *is_admitted) {
        return Ready;
    }
    match admitted.into_iter().next() {
        Some((_, why)) => waiting(format!("no router has admitted the route: {why}")),
        None => waiting("no router has admitted the route yet"),
    }
}

fn definition(object: &Value) -> Readiness {
    if let Some(found) = condition(object, "NamesAccepted").filter(|found| found.status == "False") {
        return Failed(found.text());
    }
    condition_is_true(object, "Established")
}

/// Any kind with conditions: `Ready`, `Available`, `Complete`, `Succeeded`; failed when `Failed` is true or `Stalled`.
fn by_conditions(object: &Value) -> Readiness {
    for bad in ["Failed", "Stalled"] {
        if let Some(found) = condition(object, bad).filter(|found| found.status == "True") {
            return Failed(found.text());
        }
    }
    for good in ["Ready", "Available", "Complete", "Succeeded", "Established"] {
        if condition(object, good).is_some() {
            return condition_is_true(object, good);
        }
    }
    if object["status"]["conditions"].is_array() {
        let names: Vec<&str> = conditions(object).map(|(name, _)| name).collect();
        return waiting(format!("it has no condition Ready, only {}", names.join(", ")));
    }
    Ready
}

/// What an object itself says is ready: a JSONPath template, and after the last `=` what it has to yield.
#[derive(Clone, Debug)]
pub(crate) struct ReadyWhen {
    path: JsonPath,
    wanted: String,
    text: String,
}

impl ReadyWhen {
    /// Reads it, as `{.status.phase}=Running`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (path, wanted) = text.rsplit_once('=').ok_or("write {PATH}=VALUE")?;
        let path = JsonPath::template(path).map_err(|error| error.to_string())?;
        Ok(Self {
            path,
            wanted: wanted.to_owned(),
            text: text.to_owned(),
        })
    }

    /// Looks at an object.
    pub(crate) fn readiness(&self, object: &Value) -> Readiness {
        let text = object.to_string();
        let Ok((parsed, _)) = apimachinery::json::parse_strict(text.as_bytes()) else {
            return waiting("the object cannot be read");
        };
        if self.path.render(&parsed) == self.wanted {
            return Ready;
        }
        waiting(format!("{} does not hold yet", self.text))
    }
}

#[cfg(test)]
mod tests;
