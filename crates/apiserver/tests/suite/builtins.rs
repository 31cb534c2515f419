//! The built-in kinds: the same objects are created here and on a real server, and must look the same.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::on_each_server;
use super::support::TestServer;

/// What differs on purpose: plural, JSON pointer of what is not compared, and why.
const ON_PURPOSE: &[(&str, &str, &str)] = &[
    (
        "persistentvolumeclaims",
        "/metadata/finalizers",
        "nothing here would take the protection away again",
    ),
    (
        "persistentvolumes",
        "/metadata/finalizers",
        "nothing here would take the protection away again",
    ),
    (
        "certificatesigningrequests",
        "/spec/uid",
        "the administrator of a real server has one",
    ),
    (
        "certificatesigningrequests",
        "/spec/username",
        "the administrators have different names",
    ),
    ("services", "/spec/ports/0/nodePort", "random"),
    ("apiservices", "/status", "a real server tries to reach the other one"),
    ("nodes", "/spec/taints", "a real server waits for a kubelet"),
    (
        "volumeattributesclasses",
        "/metadata/finalizers",
        "nothing here would take the protection away again",
    ),
    ("persistentvolumes", "/status/lastPhaseTransitionTime", "a time"),
];

fn pod_spec() -> Value {
    json!({"containers": [{"name": "c", "image": "nginx"}]})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": pod_spec()})
}

fn full_pod_spec() -> Value {
    json!({
        "serviceAccountName": "default", "hostNetwork": true, "terminationGracePeriodSeconds": 5, "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "volumes": [
            {"name": "empty"}, {"name": "config", "configMap": {"name": "m"}}, {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "host", "hostPath": {"path": "/x"}}, {"name": "down", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "projected", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        ],
        "initContainers": [{"name": "i", "image": "busybox:1", "command": ["true"]}],
        "containers": [{
            "name": "c", "image": "host:5000/nginx:latest", "args": ["a"], "ports": [{"containerPort": 80, "name": "web"}],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.25"}},
            "volumeMounts": [{"name": "config", "mountPath": "/c"}],
            "livenessProbe": {"httpGet": {"port": "web"}}, "readinessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 3},
            "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
            "securityContext": {"runAsUser": 1},
        }],
    })
}

/// The path of the collection behind the group's, whether it lies in the namespace, and what is created.
fn objects() -> Vec<(&'static str, bool, Value)> {
    let selector = json!({"matchLabels": {"app": "a"}});
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let webhook = json!([{"name": "a.ex.io", "clientConfig": {"url": "https://127.0.0.1/x"}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "failurePolicy": "Ignore",
        "rules": [{"apiGroups": ["none.ex.io"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}]}]);
    vec![
        ("api/v1/configmaps", true, json!({})),
        (
            "api/v1/configmaps",
            true,
            json!({"data": {"a": "1"}, "binaryData": {"b": "AA=="}, "immutable": true}),
        ),
        ("api/v1/secrets", true, json!({})),
        (
            "api/v1/secrets",
            true,
            json!({"stringData": {"a": "1"}, "data": {"b": "AA=="}}),
        ),
        (
            "api/v1/secrets",
            true,
            json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "", "tls.key": ""}}),
        ),
        (
            "api/v1/secrets",
            true,
            json!({"type": "kubernetes.io/basic-auth", "stringData": {"username": "u"}}),
        ),
        (
            "api/v1/serviceaccounts",
            true,
            json!({"automountServiceAccountToken": false, "imagePullSecrets": [{"name": "s"}]}),
        ),
        ("api/v1/services", true, json!({"spec": {"ports": [{"port": 80}]}})),
        (
            "api/v1/services",
            true,
            json!({"spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "web"}]}}),
        ),
        ("api/v1/services", true, json!({"spec": {"clusterIP": "None"}})),
        (
            "api/v1/services",
            true,
            json!({"spec": {"type": "ExternalName", "externalName": "ex.io"}}),
        ),
        (
            "api/v1/services",
            true,
            json!({"spec": {"type": "NodePort", "sessionAffinity": "ClientIP", "ports": [{"port": 80, "name": "a"}]}}),
        ),
        (
            "api/v1/services",
            true,
            json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}),
        ),
        (
            "api/v1/endpoints",
            true,
            json!({"subsets": [{"addresses": [{"ip": "10.9.0.1"}], "ports": [{"port": 80}]}]}),
        ),
        ("api/v1/pods", true, json!({"spec": pod_spec()})),
        (
            "api/v1/pods",
            true,
            json!({"metadata": {"labels": {"a": "b"}}, "spec": full_pod_spec()}),
        ),
        ("api/v1/podtemplates", true, json!({"template": template()})),
        (
            "api/v1/replicationcontrollers",
            true,
            json!({"spec": {"template": template()}}),
        ),
        (
            "api/v1/replicationcontrollers",
            true,
            json!({"spec": {"replicas": 0, "selector": {"app": "a"}, "template": template()}}),
        ),
        ("api/v1/nodes", false, json!({})),
        (
            "api/v1/nodes",
            false,
            json!({"spec": {"unschedulable": true}, "status": {"capacity": {"cpu": "2", "memory": "1000Ki"}}}),
        ),
        (
            "api/v1/persistentvolumes",
            false,
            json!({"spec": {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}),
        ),
        (
            "api/v1/persistentvolumeclaims",
            true,
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
        (
            "api/v1/resourcequotas",
            true,
            json!({"spec": {"hard": {"count/widgets.ex.io": "1000"}}}),
        ),
        (
            "api/v1/limitranges",
            true,
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}}),
        ),
        (
            "api/v1/events",
            true,
            json!({"involvedObject": {"namespace": "NAMESPACE", "name": "x", "kind": "Pod"}, "reason": "R", "message": "m", "type": "Normal", "count": 1}),
        ),
        (
            "apis/events.k8s.io/v1/events",
            true,
            json!({
            "eventTime": "2026-11-21T07:40:53.000001Z", "regarding": {"namespace": "NAMESPACE", "name": "x", "kind": "Pod"}, "reason": "R", "note": "n",
            "type": "Normal", "action": "A", "reportingController": "ex.io/c", "reportingInstance": "i"}),
        ),
        (
            "apis/apps/v1/deployments",
            true,
            json!({"spec": {"selector": selector, "template": template()}}),
        ),
        (
            "apis/apps/v1/deployments",
            true,
            json!({"spec": {"replicas": 0, "paused": true, "strategy": {"type": "Recreate"}, "selector": selector,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": full_pod_spec()}}}),
        ),
        (
            "apis/apps/v1/replicasets",
            true,
            json!({"spec": {"selector": selector, "template": template()}}),
        ),
        (
            "apis/apps/v1/daemonsets",
            true,
            json!({"spec": {"selector": selector, "template": template()}}),
        ),
        (
            "apis/apps/v1/statefulsets",
            true,
            json!({"spec": {"serviceName": "s", "selector": selector, "template": template(),
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}}),
        ),
        (
            "apis/apps/v1/controllerrevisions",
            true,
            json!({"revision": 1, "data": {"a": 1}}),
        ),
        (
            "apis/batch/v1/jobs",
            true,
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}),
        ),
        (
            "apis/batch/v1/jobs",
            true,
            json!({"spec": {"parallelism": 2, "suspend": true, "ttlSecondsAfterFinished": 5,
            "template": {"metadata": {"labels": {"l": "m"}}, "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "i"}]}}}}),
        ),
        (
            "apis/batch/v1/cronjobs",
            true,
            json!({"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
        ),
        (
            "apis/autoscaling/v2/horizontalpodautoscalers",
            true,
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}}),
        ),
        (
            "apis/autoscaling/v2/horizontalpodautoscalers",
            true,
            json!({"spec": {"minReplicas": 2, "maxReplicas": 3, "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}},
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1024Mi"}}}]}}),
        ),
        (
            "apis/policy/v1/poddisruptionbudgets",
            true,
            json!({"spec": {"minAvailable": "50%", "selector": selector}}),
        ),
        (
            "apis/networking.k8s.io/v1/ingresses",
            true,
            json!({"spec": {"rules": [{"host": "ex.io", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        ),
        (
            "apis/networking.k8s.io/v1/ingressclasses",
            false,
            json!({"spec": {"controller": "ex.io/c", "parameters": {"kind": "K", "name": "n", "apiGroup": "ex.io"}}}),
        ),
        (
            "apis/networking.k8s.io/v1/networkpolicies",
            true,
            json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}}),
        ),
        ("apis/coordination.k8s.io/v1/leases", true, json!({})),
        (
            "apis/coordination.k8s.io/v1/leases",
            true,
            json!({"spec": {"holderIdentity": "h", "leaseDurationSeconds": 15, "renewTime": "2026-11-21T08:40:53.000001+01:00"}}),
        ),
        (
            "apis/discovery.k8s.io/v1/endpointslices",
            true,
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.9.0.1"]}], "ports": [{"port": 80}]}),
        ),
        ("apis/rbac.authorization.k8s.io/v1/roles", true, json!({})),
        ("apis/rbac.authorization.k8s.io/v1/roles", true, json!({"rules": rules})),
        (
            "apis/rbac.authorization.k8s.io/v1/clusterroles",
            false,
            json!({"rules": rules}),
        ),
        (
            "apis/rbac.authorization.k8s.io/v1/rolebindings",
            true,
            json!({"roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "default"}]}),
        ),
        (
            "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            false,
            json!({"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "Group", "name": "g"}]}),
        ),
        ("apis/scheduling.k8s.io/v1/priorityclasses", false, json!({"value": 7})),
        (
            "apis/storage.k8s.io/v1/storageclasses",
            false,
            json!({"provisioner": "ex.io/p"}),
        ),
        ("apis/storage.k8s.io/v1/csidrivers", false, json!({"spec": {}})),
        (
            "apis/storage.k8s.io/v1/csinodes",
            false,
            json!({"spec": {"drivers": []}}),
        ),
        (
            "apis/storage.k8s.io/v1/csistoragecapacities",
            true,
            json!({"storageClassName": "s", "capacity": "1024Mi"}),
        ),
        (
            "apis/storage.k8s.io/v1/volumeattachments",
            false,
            json!({"spec": {"attacher": "ex.io", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
        ),
        (
            "apis/storage.k8s.io/v1/volumeattributesclasses",
            false,
            json!({"driverName": "ex.io", "parameters": {"a": "b"}}),
        ),
        ("apis/node.k8s.io/v1/runtimeclasses", false, json!({"handler": "runc"})),
        (
            "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            false,
            json!({"webhooks": webhook}),
        ),
        (
            "apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            false,
            json!({"webhooks": webhook}),
        ),
        (
            "apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            false,
            json!({"spec": {"policyName": "p", "validationActions": ["Deny"], "matchResources": {}}}),
        ),
        (
            "apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
            false,
            json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}}),
        ),
        (
            "apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
            false,
            json!({"spec": {"priorityLevelConfiguration": {"name": "global-default"}}}),
        ),
    ]
}

/// Objects that a real server refuses.
fn wrong_objects() -> Vec<(&'static str, bool, Value)> {
    let selector = json!({"matchLabels": {"app": "a"}});
    vec![
        ("api/v1/pods", true, json!({"spec": {}})),
        (
            "api/v1/pods",
            true,
            json!({"spec": {"containers": [{"name": "A"}], "restartPolicy": "Odd"}}),
        ),
        (
            "api/v1/pods",
            true,
            json!({"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}}),
        ),
        ("api/v1/pods", true, json!({"spec": {"containers": "x"}})),
        ("api/v1/services", true, json!({"spec": {}})),
        (
            "api/v1/services",
            true,
            json!({"spec": {"ports": [{"port": 0}], "type": "Odd"}}),
        ),
        (
            "api/v1/services",
            true,
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}),
        ),
        ("api/v1/services", true, json!({"spec": {"type": "ExternalName"}})),
        ("api/v1/secrets", true, json!({"type": "kubernetes.io/tls"})),
        ("api/v1/secrets", true, json!({"data": {"a": "no base64"}})),
        ("api/v1/persistentvolumeclaims", true, json!({"spec": {}})),
        (
            "api/v1/replicationcontrollers",
            true,
            json!({"spec": {"replicas": -1, "selector": {"x": "y"}, "template": template()}}),
        ),
        (
            "apis/apps/v1/deployments",
            true,
            json!({"spec": {"template": template()}}),
        ),
        (
            "apis/apps/v1/deployments",
            true,
            json!({"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": template()}}),
        ),
        (
            "apis/apps/v1/deployments",
            true,
            json!({"spec": {"selector": {}, "template": template()}}),
        ),
        (
            "apis/apps/v1/deployments",
            true,
            json!({"spec": {"replicas": "1", "selector": selector, "template": template()}}),
        ),
        (
            "apis/apps/v1/deployments",
            true,
            json!({"spec": {"replicas": -1, "selector": selector, "template": template()}}),
        ),
        ("apis/batch/v1/jobs", true, json!({"spec": {"template": template()}})),
        (
            "apis/batch/v1/cronjobs",
            true,
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
        ),
        ("apis/networking.k8s.io/v1/ingresses", true, json!({"spec": {}})),
        (
            "apis/rbac.authorization.k8s.io/v1/roles",
            true,
            json!({"rules": [{"resources": ["pods"]}]}),
        ),
        (
            "apis/rbac.authorization.k8s.io/v1/rolebindings",
            true,
            json!({"roleRef": {"kind": "Dog", "name": "r"}}),
        ),
        (
            "apis/rbac.authorization.k8s.io/v1/rolebindings",
            true,
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "Dog", "name": "d"}]}),
        ),
        (
            "apis/coordination.k8s.io/v1/leases",
            true,
            json!({"spec": {"leaseDurationSeconds": 0}}),
        ),
        (
            "apis/coordination.k8s.io/v1/leases",
            true,
            json!({"spec": {"renewTime": "2026-11-21T08:40:53Z"}}),
        ),
        ("apis/storage.k8s.io/v1/storageclasses", false, json!({})),
        (
            "apis/autoscaling/v2/horizontalpodautoscalers",
            true,
            json!({"spec": {}}),
        ),
        (
            "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            false,
            json!({"webhooks": [{"name": "a"}]}),
        ),
        (
            "apis/policy/v1/poddisruptionbudgets",
            true,
            json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}),
        ),
        ("apis/node.k8s.io/v1/runtimeclasses", false, json!({"handler": "A_b"})),
    ]
}

fn plural(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, plural)| plural)
}

fn collection(server: &TestServer, path: &str, namespaced: bool) -> String {
    if !namespaced {
        return format!("/{path}");
    }
    let (version, plural) = path.rsplit_once('/').unwrap();
    format!("/{version}/namespaces/{}/{plural}", server.namespace)
}

/// Creates an object under a name of its own; code, and what of the answer is to be compared.
async fn create(server: &TestServer, position: usize, path: &str, namespaced: bool, mut object: Value) -> (u16, Value) {
    let name = format!("b{position}-{}", server.namespace);
    let text = object.to_string().replace("NAMESPACE", &server.namespace);
    object = serde_json::from_str(&text).unwrap();
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    object["metadata"]["name"] = json!(name);
    let collection = collection(server, path, namespaced);
    let made = server.post(&collection, object).await;
    if made.code != StatusCode::CREATED {
        let status = made.json();
        let mut causes: Vec<String> = status["details"]["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cause| format!("{} {}", cause["field"], cause["reason"]))
            .collect();
        causes.sort();
        causes.dedup();
        return (
            made.code.as_u16(),
            json!({"reason": status["reason"], "causes": causes}),
        );
    }
    let mut found = made.json();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = server.get_as(&format!("{collection}/{name}"), accept).await.ok();
    found["table"] = columns(&table);
    let deleted = server.delete(&format!("{collection}/{name}")).await;
    assert!(deleted.code.is_success(), "{deleted:?}");
    (201, normal(plural(path), &found, &server.namespace))
}

/// The columns of a table and what stands in its row, but for times.
fn columns(table: &Value) -> Value {
    // Times, and what a controller of a real server finds out.
    const TIMES: [&str; 5] = ["Age", "Created At", "First Seen", "Last Seen", "MissingPL"];
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap().iter().zip(cells);
    let shown = columns.map(|(column, cell)| {
        let name = column["name"].as_str().unwrap();
        let cell = if TIMES.contains(&name) {
            "a time"
        } else {
            cell.as_str().unwrap_or("other")
        };
        json!([name, column["type"], column["priority"], cell])
    });
    shown.collect()
}

/// Without what differs from server to server.
fn normal(plural: &str, object: &Value, namespace: &str) -> Value {
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let mut text = object.to_string().replace(uid, "UID").replace(namespace, "NAMESPACE");
    if let Some(address) = object
        .pointer("/spec/clusterIP")
        .and_then(Value::as_str)
        .filter(|ip| *ip != "None")
    {
        text = text.replace(address, "ADDRESS");
    }
    let ports = object.pointer("/spec/ports").and_then(Value::as_array);
    for port in ports.into_iter().flatten().filter_map(|port| port["nodePort"].as_i64()) {
        text = text.replace(&format!(":{port}/"), ":NODEPORT/");
    }
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for name in ["managedFields", "resourceVersion", "creationTimestamp"] {
        metadata.remove(name);
    }
    for (_, at, _) in ON_PURPOSE.iter().filter(|(of, ..)| *of == plural) {
        let (above, last) = at.rsplit_once('/').unwrap();
        if let Some(above) = object.pointer_mut(above).and_then(Value::as_object_mut) {
            above.remove(last);
        }
    }
    object
}

/// Where two values differ, one line each.
fn differences(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                differences(&ours[key], &theirs[key], &format!("{path}.{key}"), found);
                if a.contains_key(key) != b.contains_key(key) && ours[key] == theirs[key] {
                    found.push(format!("{path}.{key}: only on one side"));
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (position, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{path}[{position}]"), found);
            }
        }
        _ if ours != theirs => found.push(format!("{path}: ours {ours}, theirs {theirs}")),
        _ => {}
    }
}

#[tokio::test]
async fn objects_become_what_a_real_server_makes_of_them() {
    let ours = TestServer::memory().await;
    let theirs = TestServer::kubernetes().await;
    let mut found = Vec::new();
    let cases = objects().into_iter().map(|case| (case, true));
    let cases = cases.chain(wrong_objects().into_iter().map(|case| (case, false)));
    for (position, ((path, namespaced, object), is_right)) in cases.enumerate() {
        let (code, here) = create(&ours, position, path, namespaced, object.clone()).await;
        let what = format!("{path} {}", object.to_string().chars().take(100).collect::<String>());
        if (code == 201) != is_right {
            found.push(format!("{what}: {code} {here}"));
        }
        if let Some(theirs) = &theirs {
            let (expected, there) = create(theirs, position, path, namespaced, object).await;
            if code != expected {
                found.push(format!("{what}: code {code} {here}, theirs {expected} {there}"));
            } else {
                differences(&here, &there, &what, &mut found);
            }
        }
    }
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}

on_each_server! {
    /// kubectl and typed clients send built-in kinds so; a custom resource has no such form.
    async fn bodies_come_in_protobuf(server: TestServer) {
        let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x11\x0a\x07\x0a\x05proto\x12\x06\x0a\x01a\x12\x011".to_vec();
        let headers = [("content-type", "application/vnd.kubernetes.protobuf")];
        let made = server.send(Method::POST, &server.maps(), &headers, body.clone()).await.ok();
        assert_eq!((&made["metadata"]["name"], &made["data"]), (&json!("proto"), &json!({"a": "1"})));
        let mut changed = body.clone();
        changed.pop();
        changed.push(b'2');
        let path = format!("{}/proto", server.maps());
        let put = server.send(Method::PUT, &path, &headers, changed).await.ok();
        assert_eq!(put["data"], json!({"a": "2"}));
        // A real server breaks the connection off.
        if server.is_ours() {
            let broken = server.send(Method::PUT, &path, &headers, body[..body.len() - 1].to_vec()).await;
            assert_eq!(broken.refused(), (400, "BadRequest".to_owned()));
        }
        let options = b"k8s\0\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x0c\x22\x0aBackground".to_vec();
        server.send(Method::DELETE, &path, &headers, options).await.ok();

        // Here, too.
        if server.is_ours() {
            let server = server.with_widgets().await;
            let widget = server.send(Method::POST, &server.widgets(), &headers, body).await;
            assert_eq!(widget.refused(), (415, "UnsupportedMediaType".to_owned()));
        }
    }

    /// The Scale of a Deployment, with its selector as a text.
    async fn a_deployment_is_scaled(server: TestServer) {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", server.namespace);
        let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template()}});
        server.post(&path, deployment).await.ok();
        let scale = server.get(&format!("{path}/d/scale")).await.ok();
        assert_eq!((&scale["kind"], &scale["spec"], &scale["status"]), (&json!("Scale"), &json!({"replicas": 1}), &json!({"replicas": 0, "selector": "app=a"})));
        let scaled = server.merge(&format!("{path}/d/scale"), json!({"spec": {"replicas": 3}})).await.ok();
        assert_eq!(scaled["spec"]["replicas"], 3);
        let after = server.get(&format!("{path}/d")).await.ok();
        assert_eq!((&after["spec"]["replicas"], &after["metadata"]["generation"]), (&json!(3), &json!(2)));
        let status = json!({"status": {"replicas": 2}, "spec": {"replicas": 9}});
        let told = server.merge(&format!("{path}/d/status"), status).await.ok();
        assert_eq!((&told["status"]["replicas"], &told["spec"]["replicas"], &told["metadata"]["generation"]), (&json!(2), &json!(3), &json!(2)));
        let fixed = server.merge(&format!("{path}/d"), json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}})).await;
        assert_eq!(fixed.refused(), (422, "Invalid".to_owned()));
    }

    /// An Event is one object in two groups.
    async fn an_event_has_two_views(server: TestServer) {
        let core = format!("{}/events", server.namespace_path());
        let other = format!("/apis/events.k8s.io/v1/namespaces/{}/events", server.namespace);
        let event = json!({
            "metadata": {"name": "e"}, "eventTime": "2026-11-21T07:40:53.000001Z", "reason": "R", "note": "n", "type": "Normal", "action": "A",
            "regarding": {"namespace": server.namespace, "name": "x", "kind": "Pod"}, "reportingController": "ex.io/c", "reportingInstance": "i",
        });
        let made = server.post(&other, event).await.ok();
        let found = server.get(&format!("{core}/e")).await.ok();
        assert_eq!(made["metadata"]["uid"], found["metadata"]["uid"]);
        assert_eq!(found["apiVersion"], "v1");
        assert_eq!((&found["message"], &found["involvedObject"]["name"], &found["reportingComponent"]), (&json!("n"), &json!("x"), &json!("ex.io/c")));
        let patched = server.merge(&format!("{other}/e"), json!({"series": {"count": 2, "lastObservedTime": "2026-11-21T07:41:53.000001Z"}})).await.ok();
        assert_eq!((&patched["note"], &patched["deprecatedFirstTimestamp"]), (&json!("n"), &Value::Null));
        let seen = server.get(&format!("{core}?fieldSelector=involvedObject.name=x,reason=R")).await.ok();
        assert_eq!(seen["items"][0]["series"]["count"], 2);
        let seen = server.get(&format!("{other}?fieldSelector=regarding.name=x")).await.ok();
        assert_eq!(seen["items"][0]["note"], "n");
        server.delete(&format!("{core}/e")).await.ok();
        assert_eq!(server.get(&format!("{other}/e")).await.code, StatusCode::NOT_FOUND);
    }

    /// What a Service was given it keeps, and another cannot have.
    async fn a_service_keeps_its_address(server: TestServer) {
        let path = format!("{}/services", server.namespace_path());
        let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        let made = server.post(&path, service("s")).await.ok();
        let address = made["spec"]["clusterIP"].clone();
        assert_eq!(made["spec"]["clusterIPs"], json!([address]));
        let put = server.put(&format!("{path}/s"), service("s")).await.ok();
        assert_eq!(put["spec"]["clusterIP"], address);
        let mut other = service("t");
        other["spec"]["clusterIP"] = address;
        assert_eq!(server.post(&path, other).await.refused(), (422, "Invalid".to_owned()));
        let moved = server.merge(&format!("{path}/s"), json!({"spec": {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"]}})).await;
        assert_eq!(moved.refused(), (422, "Invalid".to_owned()));
        let typed = server.get(&format!("{path}?fieldSelector=spec.type=ClusterIP")).await.ok();
        assert_eq!(typed["items"].as_array().unwrap().len(), 1);
    }
}
