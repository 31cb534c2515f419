use apimachinery::json;
use apimachinery::json::Value;

fn complete(name: &str, mut object: Value<'static>) -> Value<'static> {
    let of = crate::find(name).unwrap();
    of.shape(&mut object).unwrap();
    of.default(&mut object);
    object
}

#[test]
fn a_deployment_is_completed_down_to_its_probes() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
        {"name": "c", "image": "nginx", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}}]}});
    let given = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let spec = &complete("apps/v1.Deployment", given)["spec"];
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let pod = &spec["template"]["spec"];
    assert_eq!(
        *pod,
        json!({
            "containers": [{
                "name": "c", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "livenessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                },
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30,
        })
    );
}

#[test]
fn images_without_a_fixed_tag_are_pulled_always() {
    for (image, expected) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("host:5000/nginx", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
        ("", "IfNotPresent"),
    ] {
        let pod = complete(
            "core/v1.Pod",
            json!({"spec": {"containers": [{"name": "c", "image": image}]}}),
        );
        assert_eq!(
            *pod.pointer("/spec/containers/0/imagePullPolicy").unwrap(),
            expected,
            "{image}"
        );
    }
}

#[test]
fn what_is_given_stays() {
    let given =
        json!({"spec": {"replicas": 0, "revisionHistoryLimit": 0, "paused": true, "strategy": {"type": "Recreate"}}});
    let spec = &complete("apps/v1.Deployment", given)["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["revisionHistoryLimit"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(spec["strategy"], json!({"type": "Recreate"}));
    let rc = complete("core/v1.ReplicationController", json!({"spec": {"replicas": 0}}));
    assert_eq!(rc["spec"]["replicas"], 0);
}

#[test]
fn limits_are_requests_of_a_pod() {
    let container = json!({"name": "c", "resources": {"limits": {"cpu": "0.0001", "memory": "1Gi"}, "requests": {"memory": "1Mi"}}});
    let pod = complete("core/v1.Pod", json!({"spec": {"containers": [container]}}));
    assert_eq!(
        *pod.pointer("/spec/containers/0/resources").unwrap(),
        json!({"limits": {"cpu": "1m", "memory": "1Gi"}, "requests": {"cpu": "1m", "memory": "1Mi"}})
    );
}
