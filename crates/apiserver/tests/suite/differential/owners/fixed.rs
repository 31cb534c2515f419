//! Scripts for single rules.

use serde_json::{Value, json};

use super::super::script::{APPLY, MERGE, STRATEGIC, Template};
use super::{apply, gadget, get, json_patch, map, merge, post, put, strategic};

/// All of them.
pub(super) fn scripts() -> Vec<Vec<Template>> {
    let g = |spec: Value| gadget(spec);
    let ap = |manager: &str, spec: Value| apply("gadgets", "/g", manager, "", gadget(spec));
    let forced = |manager: &str, spec: Value| apply("gadgets", "/g", manager, "&force=true", gadget(spec));
    let apm = |manager: &str, data: Value| apply("maps", "/m", manager, "", map(data));
    vec![
        // Creating, and taking over.
        vec![
            ap("a", json!({"size": 1})),
            ap("a", json!({"size": 1})),
            ap("b", json!({"size": 2})),
            forced("b", json!({"size": 2})),
            ap("a", json!({})),
            ap("b", json!({})),
        ],
        vec![
            ap("a", json!({"size": 1})),
            ap("b", json!({"size": 1})),
            ap("a", json!({})),
            ap("b", json!({})),
        ],
        vec![
            post(
                "gadgets",
                "a",
                g(json!({"size": 1, "ports": [{"port": 80, "name": "x"}], "set": ["a"]})),
            ),
            ap(
                "b",
                json!({"set": ["b"], "ports": [{"port": 80, "name": "y"}, {"port": 81}]}),
            ),
            forced(
                "b",
                json!({"set": ["b"], "ports": [{"port": 81}, {"port": 80, "name": "y"}]}),
            ),
            ap("b", json!({})),
            get("<gadgets>/g"),
        ],
        vec![
            ap(
                "a",
                json!({"free": {"a": {"b": [1]}, "c": 1}, "kept": {"known": {"a": "x"}, "other": {"deep": [1]}}}),
            ),
            ap("b", json!({"free": {"a": {"b": [2]}}})),
            forced("b", json!({"free": {"a": {"b": [2]}, "d": null}})),
            ap("a", json!({})),
        ],
        vec![
            ap("a", json!({"sealed": {"a": "1"}, "texts": {"a": "1"}, "whole": [1]})),
            ap("b", json!({"sealed": {"b": "1"}})),
            forced("b", json!({"sealed": {"b": "1"}, "texts": {"b": "1"}, "whole": []})),
            ap("b", json!({"texts": {}})),
            ap("a", json!({})),
        ],
        vec![
            ap(
                "a",
                json!({"either": 5, "nul": null, "child": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "q", "labels": {"a": "b"}}, "x": [1]}}),
            ),
            forced(
                "b",
                json!({"either": "5", "child": {"apiVersion": "v1", "kind": "X", "metadata": {"labels": {"a": "c"}}}}),
            ),
            ap("a", json!({})),
        ],
        // Nothing that is nothing.
        vec![
            ap("a", json!({})),
            ap(
                "a",
                json!({"inner": {}, "set": [], "texts": {}, "ports": [], "whole": []}),
            ),
            ap("a", json!({"inner": {"deep": {}}})),
            ap("a", json!({})),
        ],
        vec![
            ap("a", json!({"inner": {"a": "x", "deep": {"b": "y"}}})),
            merge("gadgets", "/g", "b", json!({"spec": {"inner": {"deep": {"c": "z"}}}})),
            ap("a", json!({})),
            merge("gadgets", "/g", "b", json!({"spec": {"inner": null}})),
        ],
        // Order of lists.
        vec![
            ap("a", json!({"set": ["a", "b", "c"]})),
            ap("b", json!({"set": ["c", "x", "a"]})),
            ap("b", json!({"set": ["y", "b"]})),
            ap("a", json!({"set": ["c", "a"]})),
        ],
        vec![
            ap("a", json!({"ports": [{"port": 1}, {"port": 2}, {"port": 3}]})),
            ap(
                "b",
                json!({"ports": [{"port": 3, "name": "x"}, {"port": 4}, {"port": 1}]}),
            ),
            ap("a", json!({"ports": [{"port": 2}, {"port": 1, "protocol": "UDP"}]})),
            ap("c", json!({"ports": [{"port": 9, "more": {"a": "1"}}, {"port": 3}]})),
            ap("b", json!({})),
        ],
        // Duplicates, and what is wrong.
        vec![
            ap("a", json!({"set": ["a", "a"]})),
            ap("a", json!({"ports": [{"port": 1}, {"port": 1}]})),
            ap("a", json!({"size": "x"})),
            ap("a", json!({"junk": 1})),
            ap("a", json!({"ports": [{"name": "x"}]})),
        ],
        vec![
            apply("gadgets", "/g", "", "", g(json!({}))),
            apply("gadgets", "/g", "a", "&force=false", g(json!({"size": 1}))),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"kind": "Gadget", "metadata": {"name": "g"}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Other", "metadata": {"name": "g"}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1beta1", "kind": "Gadget", "metadata": {"name": "g"}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "other"}}),
            ),
            apply(
                "gadgets",
                "/new",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget"}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "managedFields": []}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "managedFields": null}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": "elsewhere"}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "uid": "x"}}),
            ),
            apply(
                "gadgets",
                "/new",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "new", "uid": "x"}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "resourceVersion": "<first g>"}, "spec": {"size": 7}}),
            ),
            apply(
                "gadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "resourceVersion": "1"}, "spec": {"size": 7}}),
            ),
            apply("gadgets", "/g", "a", "&dryRun=All", g(json!({"size": 3}))),
            apply(
                "gadgets",
                "/fresh",
                "a",
                "&dryRun=All",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "fresh"}}),
            ),
            apply("gadgets", "/g", &"x".repeat(129), "", g(json!({"size": 3}))),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a").body(APPLY, "[]"),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a").body(APPLY, ""),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a").body(APPLY, "a: b: c"),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a").body(
                APPLY,
                "apiVersion: <group>/v1\nkind: Gadget\nmetadata:\n  name: g\nspec:\n  size: 4\n  texts: {x: y}\n",
            ),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a&fieldValidation=Strict").body(
                APPLY,
                "{\"apiVersion\": \"<group>/v1\", \"kind\": \"Gadget\", \"spec\": {\"size\": 4, \"size\": 5}}",
            ),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a&fieldValidation=Ignore").body(
                APPLY,
                "{\"apiVersion\": \"<group>/v1\", \"kind\": \"Gadget\", \"spec\": {\"size\": 4, \"size\": 5}}",
            ),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a&force=maybe").body(MERGE, "{}"),
            Template::new("PATCH", "<gadgets>/g?fieldManager=a").body(STRATEGIC, "{}"),
        ],
        // Updates.
        vec![
            post(
                "gadgets",
                "a",
                g(json!({"size": 1, "set": ["a", "b"], "texts": {"a": "1"}})),
            ),
            merge("gadgets", "/g", "b", json!({"spec": {"size": 2, "texts": {"b": "2"}}})),
            merge("gadgets", "/g", "b", json!({"spec": {"size": 2}})),
            put(
                "gadgets",
                "/g",
                "c",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "resourceVersion": "<rv g>"}, "spec": {"size": 2, "set": ["b", "c"]}}),
            ),
            get("<gadgets>/g"),
        ],
        vec![
            post("gadgets", "a", g(json!({"size": 1}))),
            merge(
                "gadgets",
                "/g",
                "b",
                json!({"metadata": {"labels": {"x": "y"}, "annotations": {"k": "v"}, "finalizers": ["ex.io/a", "ex.io/b"]}}),
            ),
            merge(
                "gadgets",
                "/g",
                "c",
                json!({"metadata": {"labels": {"x": null}, "finalizers": ["ex.io/b"]}}),
            ),
            json_patch(
                "gadgets",
                "/g",
                "d",
                json!([{"op": "remove", "path": "/metadata/finalizers"}]),
            ),
        ],
        vec![
            post(
                "gadgets",
                "a",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"generateName": "g-"}}),
            ),
            post(
                "gadgets",
                "a",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g"}}),
            ),
            merge("gadgets", "/g", "b", json!({"spec": {"size": 1}})),
            ap("c", json!({"size": 1})),
        ],
        // Status.
        vec![
            post(
                "gadgets",
                "a",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 1}, "status": {"phase": "X"}}),
            ),
            merge(
                "gadgets",
                "/g/status",
                "s",
                json!({"status": {"phase": "P", "conditions": [{"type": "A", "status": "T"}]}, "metadata": {"labels": {"no": "no"}}, "spec": {"size": 9}}),
            ),
            apply(
                "gadgets",
                "/g/status",
                "t",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g", "labels": {"no": "no"}}, "status": {"conditions": [{"type": "A", "status": "F"}, {"type": "B", "status": "T"}]}}),
            ),
            apply(
                "gadgets",
                "/g/status",
                "t",
                "&force=true",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "status": {"conditions": [{"type": "A", "status": "F"}, {"type": "B", "status": "T"}]}}),
            ),
            merge("gadgets", "/g", "u", json!({"status": {"phase": "Q"}})),
            ap("a", json!({"size": 2})),
            apply(
                "gadgets",
                "/g/status",
                "t",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget"}),
            ),
            apply(
                "gadgets",
                "/none/status",
                "t",
                "",
                json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "none"}}),
            ),
        ],
        // Scale.
        vec![
            post("gadgets", "a", g(json!({"size": 1, "replicas": 2}))),
            merge("gadgets", "/g/scale", "b", json!({"spec": {"replicas": 3}})),
            get("<gadgets>/g"),
            merge("gadgets", "/g/scale", "b", json!({"spec": {"replicas": 3}})),
            get("<gadgets>/g"),
            merge("gadgets", "/g/scale", "b", json!({"spec": {"replicas": 4}})),
            get("<gadgets>/g"),
            merge("gadgets", "/g/scale", "c", json!({"spec": {"replicas": 5}})),
            get("<gadgets>/g"),
            ap("d", json!({"replicas": 6})),
            forced("d", json!({"replicas": 6})),
            merge("gadgets", "/g/scale", "c", json!({"spec": {"replicas": 7}})),
            get("<gadgets>/g"),
        ],
        vec![
            ap("a", json!({"replicas": 2})),
            merge("gadgets", "/g/scale", "b", json!({"spec": {"replicas": 2}})),
            get("<gadgets>/g"),
            apply(
                "gadgets",
                "/g/scale",
                "s",
                "",
                json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "g"}, "spec": {"replicas": 3}}),
            ),
            apply(
                "gadgets",
                "/g/scale",
                "s",
                "&force=true",
                json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "g"}, "spec": {"replicas": 3}}),
            ),
            get("<gadgets>/g"),
            put(
                "gadgets",
                "/g/scale",
                "p",
                json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "g"}, "spec": {"replicas": 3}}),
            ),
            get("<gadgets>/g"),
        ],
        // The tracking itself.
        vec![
            ap("a", json!({"size": 1})),
            merge("gadgets", "/g", "b", json!({"metadata": {"managedFields": [{}]}})),
            merge("gadgets", "/g", "b", json!({"spec": {"size": 2}})),
            ap("c", json!({"size": 2, "color": "blue"})),
            forced("c", json!({"size": 2, "color": "blue"})),
        ],
        vec![
            ap("a", json!({"size": 1})),
            merge("gadgets", "/g", "b", json!({"metadata": {"managedFields": []}})),
            merge("gadgets", "/g", "b", json!({"metadata": {"managedFields": null}})),
            merge(
                "gadgets",
                "/g",
                "b",
                json!({"metadata": {"managedFields": [{"manager": "x"}]}}),
            ),
            json_patch(
                "gadgets",
                "/g",
                "b",
                json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "z"}]),
            ),
            json_patch(
                "gadgets",
                "/g",
                "b",
                json!([{"op": "add", "path": "/metadata/managedFields/-", "value": {"manager": "x", "operation": "Update", "apiVersion": "<group>/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:none": {}}}}}]),
            ),
            merge(
                "gadgets",
                "/g/status",
                "b",
                json!({"metadata": {"managedFields": [{}]}}),
            ),
        ],
        vec![
            apm("a", json!({"k": "v"})),
            merge("maps", "/m", "b", json!({"metadata": {"managedFields": []}})),
            merge("maps", "/m", "b", json!({"metadata": {"managedFields": [{}]}})),
            merge("maps", "/m", "b", json!({"data": {"k": "w"}})),
            apm("a", json!({"k": "v"})),
        ],
        (0..14)
            .map(|i| {
                merge(
                    "gadgets",
                    "/g",
                    &format!("m{i:02}"),
                    json!({"spec": {"texts": {format!("t{i:02}"): "x"}}}),
                )
            })
            .fold(vec![post("gadgets", "a", g(json!({"size": 1})))], |mut all, one| {
                all.push(one);
                all
            }),
        // Built-in kinds.
        vec![
            post("maps", "a", json!({"metadata": {"name": "m"}})),
            merge("maps", "/m", "b", json!({"data": {"k": "v"}})),
            apm("c", json!({"k": "v", "l": "w"})),
            apm("d", json!({"k": "x"})),
            apm("c", json!({"l": "w"})),
            strategic("maps", "/m", "e", json!({"data": {"k": null, "n": "1"}})),
            put(
                "maps",
                "/m",
                "f",
                json!({"metadata": {"name": "m"}, "data": {"n": "1"}}),
            ),
        ],
        vec![
            apm("a", json!({"k": "v"})),
            apm("a", json!({})),
            apply(
                "maps",
                "/m",
                "a",
                "",
                json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": 5}}),
            ),
            apply(
                "maps",
                "/m",
                "a",
                "",
                json!({"apiVersion": "v1", "kind": "ConfigMap", "junk": {"k": 5}}),
            ),
        ],
        vec![
            post(
                "secrets",
                "a",
                json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}}),
            ),
            apply(
                "secrets",
                "/s",
                "b",
                "",
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"l": "dg=="}}),
            ),
            strategic(
                "secrets",
                "/s",
                "c",
                json!({"data": {"k": null}, "stringData": {"x": "y"}}),
            ),
        ],
        vec![
            post(
                "leases",
                "a",
                json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}}),
            ),
            strategic(
                "leases",
                "/l",
                "b",
                json!({"spec": {"holderIdentity": "y", "leaseDurationSeconds": 3}}),
            ),
            apply(
                "leases",
                "/l",
                "c",
                "&force=true",
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "z"}}),
            ),
        ],
        vec![
            post(
                "events",
                "a",
                json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "X", "namespace": "<ns>"}, "reason": "r"}),
            ),
            strategic(
                "events",
                "/e",
                "b",
                json!({"count": 2, "lastTimestamp": "2026-01-01T00:00:00Z"}),
            ),
        ],
        vec![
            post(
                "maps",
                "a",
                json!({"metadata": {"name": "m", "finalizers": ["ex.io/a"], "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"}]}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"finalizers": ["ex.io/b"], "ownerReferences": [{"uid": "2", "apiVersion": "v1", "kind": "X", "name": "y"}]}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["ex.io/a"], "ownerReferences": [{"$patch": "delete", "uid": "1"}]}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"$setElementOrder/finalizers": ["ex.io/c", "ex.io/b"], "finalizers": ["ex.io/c"]}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"$setElementOrder/finalizers": ["ex.io/b"], "finalizers": ["ex.io/c"]}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"ownerReferences": [{"name": "z"}]}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"labels": {"$patch": "replace", "only": "this"}}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"labels": {"$retainKeys": ["more"], "more": "that"}}}),
            ),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"metadata": {"labels": {"$retainKeys": ["more"], "other": "that"}}}),
            ),
            strategic("maps", "/m", "b", json!({"metadata": {"$patch": "bogus"}})),
            strategic("maps", "/m", "b", json!({"data": {"$patch": "delete"}})),
            strategic("maps", "/m", "b", json!({"junk": 1, "data": {"k": "v"}})),
            strategic(
                "maps",
                "/m",
                "b",
                json!({"data": {"k": "v"}, "metadata": {"finalizers": null}}),
            ),
            strategic("maps", "/none", "b", json!({"data": {"k": "v"}})),
        ],
        // From client-side apply to server-side apply, as kubectl does it.
        vec![
            post(
                "maps",
                "kubectl-client-side-apply",
                json!({"metadata": {"name": "m", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"v\",\"l\":\"1\"},\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{},\"name\":\"m\"}}\n"}}, "data": {"k": "v", "l": "1"}}),
            ),
            apply(
                "maps",
                "/m",
                "kubectl",
                "",
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "w", "n": "<>&"}}),
            ),
            apply(
                "maps",
                "/m",
                "other",
                "",
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "x"}}),
            ),
            merge("maps", "/m", "third", json!({"data": {"k": "y"}})),
            apply(
                "maps",
                "/m",
                "kubectl",
                "",
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "z"}}),
            ),
        ],
        // Two versions.
        vec![
            apply(
                "oldgadgets",
                "/g",
                "a",
                "",
                json!({"apiVersion": "<group>/v1beta1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 1, "set": ["a"]}}),
            ),
            ap("b", json!({"size": 2})),
            forced("b", json!({"size": 2})),
            ap("a", json!({"set": ["b"]})),
            merge("oldgadgets", "/g", "c", json!({"spec": {"set": ["x"]}})),
            merge("gadgets", "/g", "c", json!({"spec": {"size": 4}})),
            get("<gadgets>/g"),
        ],
    ]
}
