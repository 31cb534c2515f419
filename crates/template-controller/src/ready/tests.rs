use super::*;
use serde_json::json;

fn state(object: &Value) -> &'static str {
    match readiness(object) {
        Ready => "ready",
        Readiness::Waiting(_) => "waiting",
        Failed(_) => "failed",
    }
}

/// An object with a generation of 2, looked at, whose status has these conditions: type, status, reason.
fn with_conditions(api_version: &str, kind: &str, conditions: &[(&str, &str, &str)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, status, reason)| json!({"type": type_, "status": status, "reason": reason}))
        .collect();
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "generation": 2},
        "status": {"observedGeneration": 2, "conditions": conditions}})
}

#[test]
fn a_build_is_ready_when_it_is_complete() {
    let build =
        |phase: &str| json!({"apiVersion": "build.openshift.io/v1", "kind": "Build", "status": {"phase": phase}});
    for (phase, expected) in [
        ("New", "waiting"),
        ("Pending", "waiting"),
        ("Running", "waiting"),
        ("Complete", "ready"),
        ("Failed", "failed"),
        ("Error", "failed"),
        ("Cancelled", "failed"),
    ] {
        assert_eq!(state(&build(phase)), expected, "{phase}");
    }
}

/// Bug C17: without a build nothing was said for an hour.
#[test]
fn a_build_configuration_is_as_ready_as_its_last_build() {
    let mut config =
        json!({"apiVersion": "v1", "kind": "BuildConfig", "metadata": {"name": "shop"}, "status": {"lastVersion": 0}});
    assert_eq!(build_of(&config), None);
    let Readiness::Waiting(what) = readiness(&config) else {
        panic!()
    };
    assert!(what.contains("there is no build yet"), "{what}");
    config["status"]["lastVersion"] = json!(3);
    assert_eq!(build_of(&config).as_deref(), Some("shop-3"));
}

#[test]
fn rollouts_are_ready_when_they_are_done_and_available() {
    for (version, kind, done) in [
        ("apps/v1", "Deployment", "NewReplicaSetAvailable"),
        (
            "apps.openshift.io/v1",
            "DeploymentConfig",
            "NewReplicationControllerAvailable",
        ),
        ("v1", "DeploymentConfig", "NewReplicationControllerAvailable"),
    ] {
        let with = |conditions: &[(&str, &str, &str)]| with_conditions(version, kind, conditions);
        assert_eq!(state(&with(&[])), "waiting");
        assert_eq!(
            state(&with(&[("Progressing", "True", done), ("Available", "True", "")])),
            "ready"
        );
        assert_eq!(
            state(&with(&[("Progressing", "True", done), ("Available", "False", "")])),
            "waiting"
        );
        assert_eq!(
            state(&with(&[
                ("Progressing", "True", "ReplicaSetUpdated"),
                ("Available", "True", "")
            ])),
            "waiting"
        );
        assert_eq!(
            state(&with(&[("Progressing", "False", "ProgressDeadlineExceeded")])),
            "failed"
        );
        let mut old = with(&[("Progressing", "False", "ProgressDeadlineExceeded")]);
        old["status"]["observedGeneration"] = json!(1);
        assert_eq!(state(&old), "waiting");
        assert_eq!(
            state(&json!({"apiVersion": version, "kind": kind, "metadata": {"generation": 1}})),
            "waiting"
        );
    }
}

#[test]
fn a_stateful_set_is_ready_with_its_pods_in_the_newest_form() {
    let set = |ready: i64, updated: i64, revision: &str| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"generation": 1}, "spec": {"replicas": 2},
            "status": {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": updated,
            "currentRevision": revision, "updateRevision": "b"}})
    };
    assert_eq!(state(&set(1, 2, "b")), "waiting");
    assert_eq!(state(&set(2, 1, "b")), "waiting");
    assert_eq!(state(&set(2, 2, "a")), "waiting");
    assert_eq!(state(&set(2, 2, "b")), "ready");
    let mut by_hand = set(2, 0, "a");
    by_hand["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    assert_eq!(state(&by_hand), "ready");
}

/// Bug C8: one failed pod with retries left was a failure.
#[test]
fn a_job_fails_only_when_it_is_over() {
    let job = |status: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generation": 1}, "status": status});
    assert_eq!(state(&job(json!({"failed": 1, "active": 1}))), "waiting");
    assert_eq!(state(&job(json!({"completionTime": "2026-01-01T00:00:00Z"}))), "ready");
    assert_eq!(
        state(&job(
            json!({"failed": 1, "conditions": [{"type": "Complete", "status": "True"}]})
        )),
        "ready"
    );
    let failed =
        json!({"failed": 7, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]});
    assert_eq!(readiness(&job(failed)), Failed("BackoffLimitExceeded".to_owned()));
}

#[test]
fn a_route_has_to_be_admitted() {
    let route = |admitted: &[&str]| {
        let ingress: Vec<Value> = admitted
            .iter()
            .map(|status| json!({"conditions": [{"type": "Admitted", "status": status, "reason": "HostAlreadyClaimed"}]}))
            .collect();
        json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "spec": {"host": "h"}, "status": {"ingress": ingress}})
    };
    assert_eq!(state(&route(&[])), "waiting");
    assert_eq!(state(&route(&["False"])), "waiting");
    assert_eq!(state(&route(&["False", "True"])), "ready");
}

#[test]
fn kinds_of_kubernetes_are_known() {
    let object = |version: &str, kind: &str, spec: Value, status: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"generation": 1}, "spec": spec, "status": status});
    let none = || json!({});
    for (object, expected) in [
        (
            object(
                "apps/v1",
                "DaemonSet",
                none(),
                json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}),
            ),
            "ready",
        ),
        (
            object(
                "apps/v1",
                "DaemonSet",
                none(),
                json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2}),
            ),
            "waiting",
        ),
        (
            object(
                "apps/v1",
                "ReplicaSet",
                json!({"replicas": 1}),
                json!({"observedGeneration": 1, "readyReplicas": 1}),
            ),
            "ready",
        ),
        (
            object(
                "v1",
                "ReplicationController",
                json!({"replicas": 1}),
                json!({"observedGeneration": 1}),
            ),
            "waiting",
        ),
        (
            object(
                "v1",
                "Pod",
                none(),
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
            ),
            "ready",
        ),
        (object("v1", "Pod", none(), json!({"phase": "Running"})), "waiting"),
        (object("v1", "Pod", none(), json!({"phase": "Failed"})), "failed"),
        (object("v1", "Pod", none(), json!({"phase": "Succeeded"})), "ready"),
        (
            object("v1", "PersistentVolumeClaim", none(), json!({"phase": "Bound"})),
            "ready",
        ),
        (
            object("v1", "PersistentVolumeClaim", none(), json!({"phase": "Pending"})),
            "waiting",
        ),
        (
            object("v1", "PersistentVolumeClaim", none(), json!({"phase": "Lost"})),
            "failed",
        ),
        (object("v1", "Service", none(), none()), "ready"),
        (
            object("v1", "Service", json!({"type": "LoadBalancer"}), none()),
            "waiting",
        ),
        (
            object(
                "v1",
                "Service",
                json!({"type": "LoadBalancer"}),
                json!({"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}),
            ),
            "ready",
        ),
        (object("networking.k8s.io/v1", "Ingress", none(), none()), "waiting"),
        (object("batch/v1", "CronJob", none(), none()), "ready"),
        (
            object(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                none(),
                json!({"conditions": [{"type": "Established", "status": "True"}]}),
            ),
            "ready",
        ),
        (
            object(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                none(),
                json!({"conditions": [{"type": "NamesAccepted", "status": "False"}]}),
            ),
            "failed",
        ),
        (
            object("apiregistration.k8s.io/v1", "APIService", none(), none()),
            "waiting",
        ),
        (object("v1", "ConfigMap", none(), none()), "ready"),
    ] {
        assert_eq!(state(&object), expected, "{object}");
    }
}

#[test]
fn any_kind_is_judged_by_its_conditions() {
    let with = |conditions: &[(&str, &str, &str)]| state(&with_conditions("example.com/v1", "Backup", conditions));
    assert_eq!(with(&[("Ready", "True", "")]), "ready");
    assert_eq!(with(&[("Ready", "False", "")]), "waiting");
    assert_eq!(with(&[("Available", "True", "")]), "ready");
    assert_eq!(with(&[("Failed", "True", "Broken")]), "failed");
    assert_eq!(with(&[("Odd", "True", "")]), "waiting");
    let mut old = with_conditions("example.com/v1", "Backup", &[("Ready", "True", "")]);
    old["status"]["observedGeneration"] = json!(1);
    assert_eq!(state(&old), "waiting");
}

#[test]
fn an_object_may_say_itself_when_it_is_ready() {
    let when = ReadyWhen::parse("{.status.phase}/{.data.n}=Running/3").unwrap();
    assert_eq!(
        when.readiness(&json!({"status": {"phase": "Running"}, "data": {"n": 3}})),
        Ready
    );
    assert!(matches!(
        when.readiness(&json!({"status": {"phase": "Running"}})),
        Readiness::Waiting(_)
    ));
    assert!(ReadyWhen::parse("{.status.phase}").is_err());
    assert!(ReadyWhen::parse("{.status=3").is_err());
}
