//! The kinds of the random scripts, with what is right and what is odd in them.

use serde_json::{Value, json};

/// A kind of object in scripts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) collection: &'static str,
    /// Of the names of its objects.
    pub(crate) letter: char,
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    /// What objects hold.
    pub(crate) content: fn() -> Vec<Value>,
    /// What they may not hold, or what is odd about it.
    pub(crate) odd_content: fn() -> Vec<Value>,
    pub(crate) fields: &'static [&'static str],
    pub(crate) subresources: &'static [&'static str],
}

/// The kinds.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        collection: "maps",
        letter: 'm',
        api_version: "v1",
        kind: "ConfigMap",
        content: || {
            vec![
                json!({}),
                json!({"data": {"k": "v"}}),
                json!({"data": {"k": "w", "l": ""}}),
                json!({"data": {}, "binaryData": {"b": "AAEC"}}),
                json!({"immutable": true, "data": {"k": "v"}}),
            ]
        },
        odd_content: || {
            vec![
                json!({"data": {"k": 5}}),
                json!({"data": {"k": null}}),
                json!({"data": ["k"]}),
                json!({"data": "text"}),
                json!({"data": {"bad key!": "v", "..": "w"}}),
                json!({"data": {"k": "v"}, "binaryData": {"k": "AA=="}}),
                json!({"binaryData": {"b": "!!"}}),
                json!({"immutable": "yes"}),
                json!({"immutable": false}),
                json!({"junk": 1, "data": {"k": "v"}}),
                json!({"Data": {"k": "v"}}),
                json!({"data": null}),
                json!({"status": {}}),
            ]
        },
        fields: &[],
        subresources: &["", "/status", "/none"],
    },
    Kind {
        collection: "secrets",
        letter: 's',
        api_version: "v1",
        kind: "Secret",
        content: || {
            vec![
                json!({}),
                json!({"data": {"k": "dg=="}}),
                json!({"stringData": {"k": "v"}}),
                json!({"data": {"k": "dg=="}, "stringData": {"k": "other", "l": "m"}}),
                json!({"type": "ex.io/own", "data": {"k": ""}}),
                json!({"type": "Opaque", "immutable": true}),
            ]
        },
        odd_content: || {
            vec![
                json!({"data": {"k": "!"}}),
                json!({"data": {"k": "dg"}}),
                json!({"data": {"k": null}}),
                json!({"data": {"bad key!": "dg=="}}),
                json!({"stringData": {"k": 5}}),
                json!({"type": "kubernetes.io/tls", "data": {}}),
                json!({"type": "kubernetes.io/basic-auth"}),
                json!({"type": 5}),
                json!({"type": ""}),
                json!({"junk": {"deep": [1]}}),
            ]
        },
        fields: &["type%3DOpaque", "type!%3DOpaque"],
        subresources: &[""],
    },
    Kind {
        collection: "leases",
        letter: 'l',
        api_version: "coordination.k8s.io/v1",
        kind: "Lease",
        content: || {
            vec![
                json!({"spec": {"holderIdentity": "a", "leaseDurationSeconds": 5}}),
                json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z", "leaseTransitions": 1}}),
                json!({"spec": {}}),
                json!({}),
            ]
        },
        odd_content: || {
            vec![
                json!({"spec": {"leaseDurationSeconds": 0}}),
                json!({"spec": {"leaseDurationSeconds": -1, "leaseTransitions": -1}}),
                json!({"spec": {"leaseDurationSeconds": "5"}}),
                json!({"spec": {"leaseDurationSeconds": 1.5}}),
                json!({"spec": {"leaseDurationSeconds": 3000000000_i64}}),
                json!({"spec": {"renewTime": "2026-01-01T00:00:00Z"}}),
                json!({"spec": {"renewTime": "2026-01-01T02:00:00.5+02:00"}}),
                json!({"spec": {"renewTime": "soon"}}),
                json!({"spec": {"renewTime": null, "holderIdentity": null}}),
                json!({"spec": {"holderIdentity": ""}}),
                json!({"spec": 5}),
                json!({"spec": {"junk": true}}),
            ]
        },
        fields: &[],
        subresources: &[""],
    },
    Kind {
        collection: "widgets",
        letter: 'w',
        api_version: "<group>/v1",
        kind: "Widget",
        content: || {
            vec![
                json!({"spec": {"size": 3}}),
                json!({"spec": {"size": 4, "color": "blue", "replicas": 2}}),
                json!({"spec": {"size": 1, "free": {"any": [1, {"x": null}]}, "nul": null}}),
                json!({"spec": {"size": 3, "nul": "text"}, "status": {"phase": "P", "replicas": 1}}),
            ]
        },
        odd_content: || {
            vec![
                json!({}),
                json!({"spec": {}}),
                json!({"spec": null}),
                json!({"spec": {"size": 0}}),
                json!({"spec": {"size": 11, "color": "green"}}),
                json!({"spec": {"size": "3"}}),
                json!({"spec": {"size": 3.0}}),
                json!({"spec": {"size": 3.5}}),
                json!({"spec": {"size": null}}),
                json!({"spec": {"size": 3, "color": null}}),
                json!({"spec": {"size": 3, "color": 5}}),
                json!({"spec": {"size": 3, "free": 5}}),
                json!({"spec": {"size": 3, "free": null, "replicas": null}}),
                json!({"spec": {"size": 3, "junk": 1, "Color": "blue"}}),
                json!({"spec": {"size": 3}, "junk": {"a": 1}}),
                json!({"spec": {"size": 3, "replicas": -1}}),
                json!({"spec": {"size": 3}, "status": {"phase": 5, "junk": 1}}),
            ]
        },
        fields: &["spec.size%3D3"],
        subresources: &["", "", "/status", "/scale", "/none"],
    },
    Kind {
        collection: "instances",
        letter: 'i',
        api_version: "<group>/v1",
        kind: "ServiceInstance",
        content: || {
            let spec = json!({"instanceId": "x", "serviceId": "s", "planId": "p", "incarnation": "i"});
            let mut other = spec.clone();
            other["planId"] = json!("q");
            other["context"] = json!({"free": [1, {"a": null}]});
            vec![
                json!({"spec": spec}),
                json!({"spec": spec, "record": {"epoch": 1, "operation": {"id": "op", "verb": "Provision"}}}),
                json!({"spec": other, "record": {"epoch": 9007199254740993_i64, "history": [{"id": "h"}]}}),
                json!({"spec": spec, "status": {"conditions": [{"type": "Ready", "status": "True"}]}, "ext": {"k": 1.50}}),
            ]
        },
        odd_content: || {
            let with = |name: &str, value: Value| {
                let mut spec = json!({"instanceId": "x", "serviceId": "s", "planId": "p", "incarnation": "i"});
                spec[name] = value;
                json!({"spec": spec})
            };
            vec![
                with("instanceId", json!("")),
                with("instanceId", json!("y".repeat(1025))),
                with("incarnation", Value::Null),
                with("planId", json!(5)),
                with("junk", json!(5)),
                with("context", json!("text")),
                json!({"spec": {"instanceId": "x"}}),
                json!({"spec": [1]}),
                json!({"record": {"operation": {"id": "op", "verb": "Fly"}}}),
                json!({"record": {"operation": {"verb": "Bind"}, "epoch": 1.5}}),
                json!({"record": {"dataVersion": 3000000000_i64}}),
                json!({"record": {"operation": {"id": "op", "verb": "Bind", "acceptedAt": "soon"}}}),
                json!({"record": {"operation": {"id": "op", "verb": "Bind", "acceptedAt": "2026-01-01T00:00:00Z", "steps": {"a": {"at": 1, "junk": 2}}}}}),
            ]
        },
        fields: &[
            "record.operation.id%3D",
            "record.operation.id!%3D",
            "spec.planId%3Dq",
            "spec.instanceId%3Dx,spec.planId!%3Dq",
        ],
        subresources: &["", "", "/status"],
    },
];
