//! Scripts on built-in kinds with many lists: what their types say of owners and of strategic merges.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::super::script::Template;
use super::random::{MANAGERS, some_of};
use super::{apply, get, json_patch, merge, post, put, strategic};

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
}

fn of_pod(pod: Value) -> Value {
    json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}})
}

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec})
}

/// Scripts for single rules.
pub(super) fn scripts() -> Vec<Vec<Template>> {
    let container = |image: &str| json!({"name": "c", "image": image});
    let whole = |image: &str| deployment(of_pod(json!({"containers": [container(image)]})));
    let patch = |manager: &str, pod: Value| {
        strategic(
            "deployments",
            "/d",
            manager,
            json!({"spec": {"template": {"spec": pod}}}),
        )
    };
    let apply_d = |manager: &str, query: &str, body: Value| apply("deployments", "/d", manager, query, body);
    let part = |pod: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": pod}}});
    vec![
        vec![
            post("deployments", "a", whole("i1")),
            apply_d("b", "", part(json!({"containers": [{"name": "c", "image": "i2"}]}))),
            apply_d(
                "b",
                "&force=true",
                part(json!({"containers": [{"name": "c", "image": "i2", "env": [{"name": "X", "value": "1"}]}]})),
            ),
            patch(
                "c",
                json!({"containers": [{"name": "d", "image": "i3", "ports": [{"containerPort": 80}]}]}),
            ),
            patch(
                "c",
                json!({"containers": [{"name": "c", "env": [{"name": "Y", "value": "2"}]}], "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}]}),
            ),
            patch("c", json!({"containers": [{"name": "c", "$patch": "delete"}]})),
            apply_d(
                "b",
                "",
                part(
                    json!({"containers": [{"name": "d", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81, "protocol": "UDP"}]}]}),
                ),
            ),
            apply_d("b", "", json!({"apiVersion": "apps/v1", "kind": "Deployment"})),
            get("<deployments>/d"),
        ],
        vec![
            apply_d("a", "", whole("i1")),
            patch(
                "b",
                json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "m"}}]}),
            ),
            patch(
                "b",
                json!({"volumes": [{"$retainKeys": ["name", "secret"], "name": "v", "secret": {"secretName": "s"}}]}),
            ),
            strategic(
                "deployments",
                "/d",
                "c",
                json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            ),
            merge("deployments", "/d/scale", "s", json!({"spec": {"replicas": 3}})),
            apply_d(
                "a",
                "",
                deployment(
                    json!({"replicas": 4, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container("i1")]}}}),
                ),
            ),
            apply(
                "deployments",
                "/d/scale",
                "t",
                "&force=true",
                json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 5}}),
            ),
            merge(
                "deployments",
                "/d/status",
                "st",
                json!({"metadata": {"labels": {"no": "no"}, "annotations": {"yes": "yes"}}, "status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]}}),
            ),
            strategic(
                "deployments",
                "/d/status",
                "st",
                json!({"status": {"conditions": [{"type": "Progressing", "status": "True"}]}}),
            ),
            json_patch(
                "deployments",
                "/d",
                "j",
                json!([{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "e", "image": "i"}}]),
            ),
            get("<deployments>/d"),
        ],
        vec![
            post(
                "services",
                "a",
                service(json!({"ports": [{"port": 80}], "selector": {"a": "b"}, "clusterIP": "None"})),
            ),
            apply(
                "services",
                "/s",
                "b",
                "",
                service(json!({"ports": [{"port": 80, "name": "x"}]})),
            ),
            apply(
                "services",
                "/s",
                "b",
                "",
                service(
                    json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}], "selector": {"a": "c"}}),
                ),
            ),
            strategic(
                "services",
                "/s",
                "c",
                json!({"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 81, "name": "two"}]}}),
            ),
            strategic(
                "services",
                "/s",
                "c",
                json!({"spec": {"ports": [{"port": 81, "$patch": "delete"}], "selector": {"x": "y"}}}),
            ),
            get("<services>/s"),
        ],
    ]
}

fn pod() -> impl Strategy<Value = Value> {
    let containers = vec![
        json!([{"name": "c", "image": "i"}]),
        json!([{"name": "c", "image": "j", "env": [{"name": "X", "value": "1"}]}]),
        json!([{"name": "d", "image": "i", "ports": [{"containerPort": 80}]}, {"name": "c", "image": "i", "args": ["a"]}]),
        json!([{"name": "c", "image": "i", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "3"}], "resources": {"limits": {"cpu": "1"}}}]),
    ];
    let more = some_of(vec![
        (
            "volumes",
            vec![
                json!([{"name": "v", "emptyDir": {}}]),
                json!([{"name": "w", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]),
            ],
        ),
        ("nodeSelector", vec![json!({"a": "1"}), json!({"b": "1"})]),
        ("tolerations", vec![json!([{"key": "k", "operator": "Exists"}])]),
        (
            "imagePullSecrets",
            vec![json!([{"name": "p"}]), json!([{"name": "q"}, {"name": "p"}])],
        ),
        ("securityContext", vec![json!({"runAsUser": 5})]),
    ]);
    (select(containers), more).prop_map(|(containers, mut pod)| {
        pod["containers"] = containers;
        pod
    })
}

fn deployment_step() -> impl Strategy<Value = Template> {
    (pod(), select(&MANAGERS[..]), 1..4_i64, 0..8).prop_map(|(pod, manager, replicas, how)| {
        let mut spec = of_pod(pod.clone());
        if replicas < 3 {
            spec["replicas"] = replicas.into();
        }
        match how {
            0..=2 => apply("deployments", "/d", manager, "", deployment(spec)),
            3 => apply("deployments", "/d", manager, "&force=true", deployment(spec)),
            4 => put("deployments", "/d", manager, deployment(spec)),
            5 => merge(
                "deployments",
                "/d/scale",
                manager,
                json!({"spec": {"replicas": replicas}}),
            ),
            _ => strategic(
                "deployments",
                "/d",
                manager,
                json!({"spec": {"template": {"spec": pod}}}),
            ),
        }
    })
}

/// Random steps on a Deployment.
pub(super) fn random(longest: usize) -> impl Strategy<Value = Vec<Template>> {
    let first = post(
        "deployments",
        "a",
        deployment(of_pod(json!({"containers": [{"name": "c", "image": "i"}]}))),
    );
    prop::collection::vec(deployment_step(), 2..=longest).prop_map(move |steps| [vec![first.clone()], steps].concat())
}
