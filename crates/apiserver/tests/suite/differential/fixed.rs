//! Scripts that are played in each run, for what random ones reach seldom or never.

use serde_json::{Value, json};

use super::script::{APPLY, JSON, JSON_PATCH, MERGE, STRATEGIC, Template};

const YAML: &str = "application/yaml";

fn get(path: &str) -> Template {
    Template::new("GET", path)
}

fn delete(path: &str) -> Template {
    Template::new("DELETE", path)
}

fn post(path: &str, body: Value) -> Template {
    Template::new("POST", path).body(JSON, body)
}

fn put(path: &str, body: Value) -> Template {
    Template::new("PUT", path).body(JSON, body)
}

fn merge(path: &str, body: Value) -> Template {
    Template::new("PATCH", path).body(MERGE, body)
}

fn watch(path: &str) -> Template {
    Template {
        is_watch: true,
        ..get(path)
    }
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "x"}}, "data": {"k": name}})
}

fn widget(name: &str) -> Value {
    json!({"apiVersion": "<group>/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3, "replicas": 2}})
}

/// All of them.
pub(crate) fn scripts() -> Vec<Vec<Template>> {
    vec![
        pages(),
        forms(),
        patches(),
        odd_patches(),
        scales(),
        statuses(),
        versions(),
        deletions(),
        watches(),
        bodies(),
        secrets(),
        immutables(),
        events(),
        discovery(),
        elsewhere(),
    ]
    .into_iter()
    .chain(parting())
    .collect()
}

fn pages() -> Vec<Template> {
    let mut script: Vec<Template> = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|name| post("<maps>", map(name)))
        .collect();
    script.extend([
        get("<maps>?limit=2"),
        delete("<maps>/c"),
        post("<maps>", map("cc")),
        get("<maps>?limit=2&continue=<continue>"),
        get("<maps>?limit=2&continue=<continue>"),
        get("<maps>?limit=2"),
        get("<maps>?limit=2&continue=<continue>&resourceVersion=<list>"),
        get("<maps>?limit=2&labelSelector=app%3Dx"),
        get("<maps>?limit=10&labelSelector=app%3Dx&continue=<continue>"),
        get("<maps>?resourceVersion=<list>&resourceVersionMatch=Exact"),
        get("<maps>?resourceVersion=999999999"),
        get("<maps>/a?resourceVersion=999999999"),
        get("<maps>?fieldSelector=metadata.name%3Da,metadata.namespace%3D<ns>"),
        Template {
            accept: Some("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
            ..get("<maps>?fieldSelector=metadata.name%3Dnone")
        },
    ]);
    script
}

/// Answers in other forms, and refusals that say more or less than ours.
fn forms() -> Vec<Template> {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut numbered = map("n");
    numbered["metadata"]["resourceVersion"] = json!("5");
    let large = json!({
        "apiVersion": "<group>/v1", "kind": "ServiceInstance", "metadata": {"name": "i"},
        "spec": {"instanceId": "i", "incarnation": "i", "serviceId": "s", "planId": "p"},
        "record": {"dataVersion": 3_000_000_000_i64},
    });
    let accept = |accept: &'static str, template: Template| Template {
        accept: Some(accept),
        ..template
    };
    vec![
        post("<maps>", map("a")),
        post("<widgets>", widget("w")),
        accept(table, get("<maps>")),
        accept(table, get("<maps>/a")),
        accept(table, get("<widgets>")),
        accept("text/plain", merge("<maps>/a", json!({}))),
        Template::new("PATCH", "<widgets>/w")
            .body(JSON_PATCH, json!([{"op": "move", "from": "/spec", "path": "/status"}])),
        post("<maps>", numbered),
        post("<instances>", large),
        merge("<maps>/a?fieldValidation=Ignore", json!([1])),
    ]
}

fn patches() -> Vec<Template> {
    let patch = |body: Value| Template::new("PATCH", "<maps>/a").body(JSON_PATCH, body);
    vec![
        post("<maps>", map("a")),
        patch(json!(null)),
        patch(json!([])),
        patch(json!([{"op": "replace", "path": "/data/new", "value": "1"}])),
        patch(json!([{"op": "replace", "path": "/none/new", "value": "1"}])),
        patch(json!([{"op": "test", "path": "/none", "value": null}])),
        patch(json!([{"op": "test", "path": "/none/deep", "value": null}])),
        patch(json!([{"op": "copy", "from": "/data/none", "path": "/data/copied"}])),
        patch(json!([{"op": "move", "from": "/data/none", "path": "/data/moved"}])),
        patch(json!([{"op": "add", "path": "/data/null"}])),
        patch(json!([{"op": "remove", "path": "/data"}])),
        patch(json!([{"op": "add", "path": "/metadata/finalizers", "value": ["ex.io/a", "ex.io/b"]}])),
        patch(json!([{"op": "add", "path": "/metadata/finalizers/1", "value": "ex.io/c"}])),
        patch(json!([{"op": "remove", "path": "/metadata/finalizers/7"}])),
        patch(json!([{"op": "replace", "path": "/metadata/finalizers/0", "value": "ex.io/d"}])),
        merge(
            "<maps>/a",
            json!({"metadata": {"labels": {"app": null}, "annotations": {"a": "b"}}}),
        ),
        merge("<maps>/a", json!({"metadata": {"finalizers": null}})),
    ]
}

fn odd_patches() -> Vec<Template> {
    vec![
        post("<maps>", map("a")),
        merge("<maps>/a", json!([1])),
        merge("<maps>/a", json!({"apiVersion": "v2"})),
        merge("<maps>/a", json!({"kind": "Other"})),
        merge("<maps>/a", json!({"metadata": {"name": "b"}})),
        merge("<maps>/a", json!({"metadata": {"namespace": "elsewhere"}})),
        merge(
            "<maps>/a",
            json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}),
        ),
        merge("<maps>/a", json!({"metadata": {"deletionGracePeriodSeconds": 5}})),
        merge(
            "<maps>/a",
            json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}}),
        ),
        merge("<maps>/a?fieldValidation=Strict", json!({"junk": 1})),
        merge("<maps>/a", json!({"junk": 1, "data": {"k": 5}})),
        merge("<maps>/a", json!({"immutable": true})),
        merge("<maps>/a", json!({"data": {"k": "other"}})),
        merge("<maps>/a", json!({"immutable": false})),
    ]
}

fn scales() -> Vec<Template> {
    let scale = |replicas: Value| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w"}, "spec": {"replicas": replicas}});
    vec![
        post("<widgets>", widget("w")),
        get("<widgets>/w/scale"),
        put("<widgets>/w/scale", scale(json!(5))),
        merge("<widgets>/w/scale", json!({"spec": {"junk": 1}})),
        get("<widgets>/w"),
        put("<widgets>/w/scale", scale(json!(-1))),
        put("<widgets>/w/scale", widget("w")),
        merge("<widgets>/w/scale", json!({"kind": "Other"})),
        merge("<widgets>/w/scale", json!({"apiVersion": "v2"})),
        merge("<widgets>/w/scale", json!({"kind": null})),
        merge("<widgets>/w/scale", json!({"spec": {"replicas": 0}})),
        merge("<widgets>/w", json!({"spec": {"replicas": -3}})),
        merge("<widgets>/w", json!({"spec": {"replicas": null}})),
        get("<widgets>/w/scale"),
        merge("<widgets>/w/scale", json!({"metadata": {"labels": {"a": "b"}}})),
    ]
}

fn statuses() -> Vec<Template> {
    vec![
        post("<widgets>", widget("w")),
        merge(
            "<widgets>/w/status",
            json!({"status": {"phase": "A"}, "spec": {"size": 9}, "metadata": {"labels": {"a": "b"}}}),
        ),
        merge("<widgets>/w", json!({"status": {"phase": "B"}})),
        merge("<widgets>/w/status", json!({"status": {"phase": 5}})),
        merge("<widgets>/w/status", json!({"status": {"junk": 5}})),
        merge("<widgets>/w/status", json!({"status": null})),
        get("<widgets>/w/status"),
        get("<widgets>/w"),
    ]
}

fn versions() -> Vec<Template> {
    vec![
        post("<widgets>", widget("w")),
        get("<oldwidgets>/w"),
        get("<oldwidgets>"),
        merge("<oldwidgets>/w", json!({"spec": {"color": "blue"}})),
        put("<oldwidgets>/w", widget("w")),
        merge(
            "<widgets>/w",
            json!({"kind": "Other", "metadata": {"deletionGracePeriodSeconds": 5, "uid": "other"}}),
        ),
        post("<oldwidgets>", widget("v")),
        watch("<oldwidgets>?watch=1&resourceVersion=<list>&timeoutSeconds=60"),
    ]
}

fn deletions() -> Vec<Template> {
    let held = |name: &str| json!({"metadata": {"name": name, "finalizers": ["ex.io/hold"]}});
    vec![
        post("<maps>", held("a")),
        Template::new("DELETE", "<maps>/a").body(
            JSON,
            json!({"preconditions": {"uid": "<uid a>", "resourceVersion": "<rv a>"}}),
        ),
        Template::new("DELETE", "<maps>/a").body(
            JSON,
            json!({"preconditions": {"uid": "<uid a>", "resourceVersion": "<first a>"}}),
        ),
        delete("<maps>/a"),
        post("<maps>", held("a")),
        merge(
            "<maps>/a",
            json!({"metadata": {"finalizers": ["ex.io/hold", "ex.io/new"]}}),
        ),
        merge(
            "<maps>/a",
            json!({"metadata": {"uid": "other", "finalizers": ["ex.io/hold", "ex.io/new"], "labels": {"a": "!"}}}),
        ),
        merge(
            "<maps>/a",
            json!({"metadata": {"uid": "other", "resourceVersion": "1"}}),
        ),
        merge(
            "<maps>/a",
            json!({"metadata": {"deletionTimestamp": null}, "data": {"still": "changes"}}),
        ),
        merge("<maps>/a?dryRun=All", json!({"metadata": {"finalizers": null}})),
        merge("<maps>/a", json!({"metadata": {"finalizers": null}})),
        get("<maps>/a"),
        post("<maps>", map("b")),
        post("<maps>", map("c")),
        delete("<maps>?labelSelector=app%3Dx&dryRun=All"),
        delete("<maps>?labelSelector=app%3Dx&limit=1"),
        delete("<maps>?labelSelector=app%3Dx"),
        get("<maps>"),
    ]
}

fn watches() -> Vec<Template> {
    vec![
        post("<widgets>", widget("w")),
        get("<widgets>"),
        watch("<widgets>?watch=1&resourceVersion=<list>&timeoutSeconds=60"),
        watch("<widgets>?watch=true&resourceVersion=<list>&timeoutSeconds=60&labelSelector=app%3Dx"),
        watch("<widgets>?watch=1&resourceVersion=<list>&timeoutSeconds=60&fieldSelector=metadata.name!%3Dw"),
        watch(
            "<widgets>?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=60",
        ),
        watch("<widgets>?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&timeoutSeconds=60"),
        merge("<widgets>/w", json!({"metadata": {"labels": {"app": "x"}}})),
        merge("<widgets>/w", json!({"spec": {"size": 4}})),
        merge(
            "<widgets>/w",
            json!({"metadata": {"labels": {"app": "y"}, "finalizers": ["ex.io/hold"]}}),
        ),
        delete("<widgets>/w"),
        merge("<widgets>/w", json!({"metadata": {"finalizers": null}})),
        post("<widgets>", widget("w")),
        get("<widgets>?watch=1&sendInitialEvents=true&timeoutSeconds=1"),
        get("<widgets>?watch=1&resourceVersionMatch=Exact&timeoutSeconds=1"),
        get("<widgets>?watch=1&fieldSelector=none%3D1&timeoutSeconds=1"),
        get("<widgets>?watch=1&labelSelector=app+in&timeoutSeconds=1"),
        get("<widgets>?watch=1&resourceVersion=abc&timeoutSeconds=1"),
        get("<widgets>/w?watch=1"),
    ]
}

fn bodies() -> Vec<Template> {
    vec![
        Template::new("POST", "<maps>").body(YAML, "kind: ConfigMap\nmetadata:\n  name: y\ndata:\n  k: \"0644\"\n"),
        Template::new("POST", "<maps>").body(YAML, "kind: ConfigMap\nmetadata:\n  name: z\ndata:\n  k: 0644\n"),
        Template::new("POST", "<maps>").body(YAML, ": ["),
        Template::new("POST", "<maps>?fieldValidation=Strict").body(JSON, r#"{"metadata":{"name":"d"},"data":{"a":"1","a":"2"},"junk":1}"#),
        Template::new("POST", "<maps>").body(JSON, r#"{"metadata":{"name":"d"},"data":{"a":"1","a":"2"},"junk":1}"#),
        Template::new("POST", "<widgets>?dryRun=All").body(JSON, json!({"apiVersion": "<group>/v1", "kind": "Widget", "metadata": {"generateName": "g-"}, "spec": {"size": 1}})),
        Template::new("POST", "<maps>?dryRun=All").body(JSON, json!({"metadata": {"generateName": "g-"}})),
        Template::new("POST", "<maps>").body(JSON, json!({"metadata": {"name": "x".repeat(254)}})),
        Template::new("POST", "<maps>").body(JSON, json!({"metadata": {"name": "n", "annotations": {"a": "x".repeat(262_145)}}})),
        Template::new("POST", "<maps>").body(JSON, json!({"metadata": {"name": "n", "labels": {"a": "x".repeat(64)}}})),
        post("<secrets>", json!({"metadata": {"name": "t"}, "type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}})),
        post("<secrets>", json!({"metadata": {"name": "s"}, "type": "kubernetes.io/ssh-auth"})),
        post("<secrets>", json!({"metadata": {"name": "d"}, "type": "kubernetes.io/dockerconfigjson", "stringData": {"other": "x"}})),
        post("<secrets>", json!({"metadata": {"name": "b"}, "type": "kubernetes.io/basic-auth", "stringData": {"username": "x"}})),
        merge("<secrets>/b", json!({"type": "Opaque"})),
        put("<leases>/made", json!({"metadata": {"name": "made"}, "spec": {"holderIdentity": "a"}})),
        put("<leases>/made", json!({"metadata": {"name": "made"}, "spec": {"holderIdentity": "b"}})),
        put("<leases>/made", json!({"metadata": {"name": "made", "resourceVersion": "<rv made>"}, "spec": {"holderIdentity": "b"}})),
        put("<leases>/none", json!({"metadata": {"name": "none"}, "spec": {"renewTime": null, "acquireTime": null}})),
        put("<leases>/none", json!({"metadata": {"name": "none", "resourceVersion": "<rv none>"}, "spec": {}})),
        put("<leases>/other", json!({"metadata": {"name": "other", "uid": "some"}, "spec": {"holderIdentity": "a"}})),
    ]
}

/// A type that is left out is the usual one, whatever it was.
fn secrets() -> Vec<Template> {
    let named = |name: &str, mut more: Value| {
        more["metadata"] = json!({"name": name});
        more
    };
    vec![
        post(
            "<secrets>",
            named("own", json!({"type": "ex.io/own", "data": {"k": ""}})),
        ),
        put("<secrets>/own", named("own", json!({"data": {"k": "dg=="}}))),
        merge("<secrets>/own", json!({"type": null})),
        merge("<secrets>/own", json!({"type": ""})),
        merge("<secrets>/own", json!({"stringData": {}})),
        put(
            "<secrets>/own",
            named("own", json!({"type": "ex.io/own", "data": {}, "stringData": {}})),
        ),
        get("<secrets>/own"),
        post("<secrets>", named("b", json!({"stringData": {}}))),
    ]
}

/// Empty bytes are other data than none, empty texts are not.
fn immutables() -> Vec<Template> {
    let fixed = json!({"metadata": {"name": "f"}, "immutable": true});
    let with = |more: Value| {
        let mut object = fixed.clone();
        object
            .as_object_mut()
            .unwrap()
            .append(&mut more.as_object().unwrap().clone());
        object
    };
    let mut script = vec![post("<secrets>", fixed.clone()), post("<maps>", fixed.clone())];
    for of in ["<secrets>/f", "<maps>/f"] {
        script.extend([
            put(of, with(json!({"data": {}}))),
            put(of, with(json!({"data": null}))),
            merge(of, json!({"data": {}})),
            merge(of, json!({"immutable": null, "data": {"k": "dg=="}})),
        ]);
    }
    script.extend([
        put("<secrets>/f", with(json!({"data": {}, "type": "kubernetes.io/tls"}))),
        put("<secrets>/f", with(json!({"stringData": {}}))),
        put("<maps>/f", with(json!({"binaryData": {}}))),
    ]);
    script
}

fn events() -> Vec<Template> {
    let event = |name: &str, namespace: &str| json!({"metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace}, "reason": "Made", "message": "m", "type": "Normal", "count": 1});
    vec![
        post("<events>", event("a", "<ns>")),
        post("<events>", event("b", "elsewhere")),
        post("<events>", event("c", "")),
        get("<events>?fieldSelector=involvedObject.name%3Dp,reason%3DMade"),
        get("<events>?fieldSelector=involvedObject.name%3Dq"),
        get("<events>?fieldSelector=count%3D1"),
        merge("<events>/a", json!({"count": 2})),
        merge("<events>/a", json!({"count": "x"})),
        delete("<events>"),
    ]
}

fn discovery() -> Vec<Template> {
    vec![
        get("/apis/<group>"),
        get("/apis/<group>/v1"),
        get("/apis/<group>/v1beta1"),
        get("/apis/<group>/v9"),
        get("/apis/none.example.com"),
        get("/api/v9"),
        get("/apis/coordination.k8s.io"),
    ]
}

fn elsewhere() -> Vec<Template> {
    vec![
        post("/api/v1/namespaces/none/configmaps", map("a")),
        get("/api/v1/namespaces/none/configmaps"),
        get("/api/v1/namespaces/none/configmaps/a"),
        post("/api/v1/configmaps", map("a")),
        post("/apis/<group>/v1/widgets", widget("a")),
        get("/api/v1/namespaces/<ns>"),
        get("/api/v1/namespaces/none"),
        put(
            "/api/v1/namespaces/<ns>",
            json!({"metadata": {"name": "<ns>", "labels": {"a": "b"}}}),
        ),
        merge(
            "/api/v1/namespaces/<ns>",
            json!({"spec": {"finalizers": []}, "status": {"phase": "Odd"}}),
        ),
        delete("/api/v1/namespaces/default"),
        delete("/api/v1/namespaces/none"),
        post("/api/v1/namespaces", json!({"metadata": {"name": "Bad.Name"}})),
        post("/api/v1/namespaces", json!({"metadata": {"name": "<ns>"}})),
    ]
}

/// Scripts that end with a request after which the servers are known to part.
fn parting() -> Vec<Vec<Template>> {
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
    let instance = json!({
        "apiVersion": "<group>/v1", "kind": "ServiceInstance", "metadata": {"name": "a"},
        "spec": {"instanceId": "i", "incarnation": "i", "serviceId": "s", "planId": "p"},
    });
    let mut other = widget("a");
    other["kind"] = json!("Other");
    other["spec"]["junk"] = json!(1);
    let deleted = json!({"name": "a", "finalizers": ["ex.io/hold"], "deletionTimestamp": "2020-01-01T00:00:00Z"});
    let of_a_map = [
        Template::new("PATCH", "<maps>/a").body(STRATEGIC, json!({"data": {"a": "b"}})),
        Template::new("PATCH", "<maps>/a?fieldManager=me").body(APPLY, apply),
        Template::new("DELETE", "<maps>/a").body(JSON, json!({"propagationPolicy": "Foreground"})),
        Template::new("PATCH", "<maps>/a").body(STRATEGIC, json!({"metadata": {"$patch": "bogus"}})),
        delete("<maps>/a?propagationPolicy=Orphan"),
        merge("<maps>/a", json!({"apiVersion": null})),
    ];
    let mut junk = widget("a");
    junk["spec"]["junk"] = json!(1);
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}});
    let of_a_widget = [
        merge("<widgets>/a/scale", json!({})),
        merge("<widgets>/a/scale?fieldValidation=Strict", json!({"spec": {"junk": 1}})),
        Template::new("PATCH", "<widgets>/a?fieldManager=me").body(APPLY, junk),
        Template::new("PATCH", "<widgets>/a/scale?fieldManager=me&force=true").body(APPLY, scale),
    ];
    let of_nothing = [
        post("<instances>/a", instance),
        post("<widgets>?fieldValidation=Strict", other),
        put("<leases>/a", json!({"metadata": deleted})),
        put(
            "<leases>/a?dryRun=All",
            json!({"metadata": {"name": "a", "resourceVersion": "1"}}),
        ),
    ];
    let lease = vec![
        post("<leases>", json!({"metadata": {"name": "a"}})),
        merge("<leases>/a?dryRun=All", json!({"metadata": {"selfLink": "x"}})),
    ];
    let held = |name: &str| json!({"metadata": {"name": name, "finalizers": ["ex.io/hold"]}});
    let marked_lease = vec![
        post("<leases>", held("a")),
        delete("<leases>/a"),
        post("<secrets>", json!({"metadata": {"name": "later"}})),
        merge("<leases>/a", json!({"apiVersion": null})),
    ];
    let last_of_a_secret = vec![
        post("<secrets>", held("s")),
        delete("<secrets>/s"),
        put("<secrets>/s", json!({"metadata": {"name": "s"}, "data": {"k": null}})),
        get("<secrets>/s"),
    ];
    let on_map = of_a_map.map(|last| vec![post("<maps>", map("a")), last]);
    let on_widget = of_a_widget.map(|last| vec![post("<widgets>", widget("a")), last]);
    let alone = of_nothing.map(|last| vec![last]);
    on_map
        .into_iter()
        .chain(on_widget)
        .chain(alone)
        .chain([lease, marked_lease, last_of_a_secret])
        .collect()
}
