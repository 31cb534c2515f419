//! Random scripts: mostly right requests, each now and then with one thing that is odd.
//!
//! Nothing is asked for "at any revision" (`resourceVersion=0`): that a real server may answer with any state of the past.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};
use super::script::{JSON, JSON_PATCH, MERGE, Template};

/// A script of at most `longest` requests.
pub(crate) fn script(longest: usize) -> impl Strategy<Value = Vec<Template>> {
    // A script stays with few kinds and names, so that its requests meet.
    (select(KINDS), select(KINDS)).prop_flat_map(move |(one, other)| {
        let first = (right_create(one), right_create(other)).prop_map(|(one, other)| vec![one, other]);
        let rest = prop::collection::vec(step(vec![one, one, other]), 1..=longest);
        (first, rest).prop_map(|(first, rest)| [first, rest].concat())
    })
}

/// An object that is there when the script begins.
pub(super) fn right_create(kind: Kind) -> impl Strategy<Value = Template> {
    let object = (kind.content)().swap_remove(1);
    let finalizers = select(vec![json!([]), json!(["ex.io/hold"])]);
    finalizers.prop_map(move |finalizers| {
        let mut object = object.clone();
        (object["apiVersion"], object["kind"]) = (kind.api_version.into(), kind.kind.into());
        object["metadata"] = json!({"name": format!("{}0", kind.letter), "finalizers": finalizers});
        Template::new("POST", format!("<{}>", kind.collection)).body(JSON, object)
    })
}

fn step(kinds: Vec<Kind>) -> impl Strategy<Value = Template> {
    (select(kinds), texts(&["0", "0", "1"])).prop_flat_map(|(kind, number)| {
        let name = format!("{}{number}", kind.letter);
        prop_oneof![
            6 => create(kind, &name),
            3 => update(kind, &name),
            5 => merge(kind, &name),
            3 => json_patch(kind, &name),
            2 => get(kind, &name),
            3 => list(kind),
            3 => delete(kind, &name),
            1 => delete_collection(kind),
            2 => watch(kind),
            1 => bad(kind, &name),
        ]
    })
}

fn texts(choices: &[&'static str]) -> impl Strategy<Value = &'static str> + use<> {
    select(choices.to_vec())
}

/// The first choice mostly.
fn mostly(usual: &'static str, odd: &[&'static str]) -> impl Strategy<Value = &'static str> + use<> {
    prop_oneof![12 => Just(usual), 3 => texts(odd)]
}

fn write_query() -> impl Strategy<Value = &'static str> {
    mostly(
        "",
        &[
            "?fieldValidation=Strict",
            "?fieldValidation=Strict",
            "?fieldValidation=Ignore",
            "?fieldValidation=Warn",
            "?fieldValidation=Bogus",
            "?dryRun=All",
            "?dryRun=All&fieldValidation=Strict",
            "?dryRun=Some",
            "?dryRun=",
            "?fieldManager=me",
            "?fieldManager=%07",
            "?force=true",
            "?pretty=1",
        ],
    )
}

const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

/// For an object.
fn accept() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        14 => Just(None),
        1 => Just(Some("application/json;as=Table;v=v1;g=meta.k8s.io")),
        1 => Just(Some(PARTIAL)),
        1 => Just(Some("text/plain")),
    ]
}

/// For a list.
fn accept_list() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        14 => Just(None),
        1 => Just(Some("application/json;as=Table;v=v1;g=meta.k8s.io")),
        1 => Just(Some(PARTIAL_LIST)),
        1 => texts(&[PARTIAL, "text/plain"]).prop_map(Some),
    ]
}

/// Metadata of an object of this name, with something odd now and then.
fn metadata(name: &str) -> impl Strategy<Value = Value> + use<> {
    let labels = vec![
        json!(null),
        json!({"app": "x"}),
        json!({"app": "y", "tier": "1"}),
        json!({"tier": "2"}),
    ];
    let finalizers = vec![
        json!(null),
        json!(null),
        json!(["ex.io/hold"]),
        json!(["ex.io/hold", "ex.io/two"]),
        json!([]),
    ];
    let odd = prop_oneof![4 => Just(None), 1 => select(odd_metadata(name)).prop_map(Some)];
    let name = name.to_owned();
    (select(labels), select(finalizers), odd).prop_map(move |(labels, finalizers, odd)| {
        let mut metadata = json!({"name": name});
        for (member, value) in [("labels", labels), ("finalizers", finalizers)] {
            if !value.is_null() {
                metadata[member] = value;
            }
        }
        if let Some((member, value)) = odd {
            metadata[member] = value;
        }
        metadata
    })
}

fn odd_metadata(name: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("resourceVersion", format!("<rv {name}>").into()),
        ("resourceVersion", format!("<first {name}>").into()),
        ("resourceVersion", json!("0")),
        ("resourceVersion", json!("")),
        ("resourceVersion", json!("abc")),
        ("resourceVersion", json!(5)),
        ("uid", format!("<uid {name}>").into()),
        ("uid", json!("other")),
        ("generation", json!(7)),
        ("creationTimestamp", json!(null)),
        ("creationTimestamp", json!("2020-01-01T00:00:00Z")),
        ("creationTimestamp", json!("bad")),
        ("deletionTimestamp", json!("2020-01-01T00:00:00Z")),
        ("deletionGracePeriodSeconds", json!(5)),
        ("namespace", json!("<ns>")),
        ("namespace", json!("elsewhere")),
        ("junk", json!(1)),
        ("selfLink", json!("x")),
        ("name", json!(5)),
        ("name", json!("other")),
        ("name", json!("Bad_Name")),
        ("name", json!("")),
        ("labels", json!(null)),
        ("labels", json!([1])),
        ("labels", json!({"a": 5})),
        ("labels", json!({"a": null})),
        ("labels", json!({"bad key!": "v", "k": "bad value!"})),
        ("labels", json!({"a/b/c": "v", "": "w"})),
        ("annotations", json!({"ex.io/a": "1", "b": ""})),
        ("annotations", json!({"bad key": "v"})),
        ("annotations", json!({"A/b": 1})),
        ("finalizers", json!("x")),
        ("finalizers", json!(["bad"])),
        ("finalizers", json!(["ex.io/hold", "ex.io/hold"])),
        ("finalizers", json!([""])),
        ("finalizers", json!([5])),
        ("finalizers", json!(null)),
        ("ownerReferences", json!([{}])),
        (
            "ownerReferences",
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ""}]),
        ),
        ("ownerReferences", json!([])),
        ("managedFields", json!([])),
    ]
}

fn content(kind: Kind) -> impl Strategy<Value = Value> {
    prop_oneof![3 => select((kind.content)()), 1 => select((kind.odd_content)())]
}

/// A whole object, its type mostly right.
fn object(kind: Kind, name: &str) -> impl Strategy<Value = Value> + use<> {
    let type_of = prop_oneof![
        12 => Just((Some(kind.api_version), Some(kind.kind))),
        1 => Just((None, None)),
        1 => Just((Some("v2"), Some(kind.kind))),
        1 => Just((Some(kind.api_version), Some("Other"))),
    ];
    (type_of, metadata(name), content(kind)).prop_map(|((api_version, kind), metadata, mut object)| {
        object["metadata"] = metadata;
        for (member, value) in [("apiVersion", api_version), ("kind", kind)] {
            if let Some(value) = value {
                object[member] = value.into();
            }
        }
        object
    })
}

pub(super) fn create(kind: Kind, name: &str) -> impl Strategy<Value = Template> + use<> {
    (object(kind, name), write_query(), accept()).prop_map(move |(object, query, accept)| {
        let template = Template::new("POST", format!("<{}>{query}", kind.collection)).body(JSON, object);
        Template { accept, ..template }
    })
}

pub(super) fn update(kind: Kind, name: &str) -> impl Strategy<Value = Template> + use<> {
    let name = name.to_owned();
    let revision = prop_oneof![3 => Just("rv"), 1 => Just("first"), 1 => Just("")];
    (object(kind, &name), revision, texts(kind.subresources), write_query()).prop_map(
        move |(mut object, revision, part, query)| {
            if !revision.is_empty() && object["metadata"].get("resourceVersion").is_none() {
                object["metadata"]["resourceVersion"] = format!("<{revision} {name}>").into();
            }
            Template::new("PUT", format!("<{}>/{name}{part}{query}", kind.collection)).body(JSON, object)
        },
    )
}

pub(super) fn merge(kind: Kind, name: &str) -> impl Strategy<Value = Template> + use<> {
    let patch = prop_oneof![
        3 => content(kind),
        2 => metadata(name).prop_map(|mut metadata| {
            metadata.as_object_mut().unwrap().retain(|member, value| member != "name" || value == "" || value.is_number());
            json!({"metadata": metadata})
        }),
        1 => select(vec![
            json!({}),
            json!({"metadata": {"finalizers": null}}),
            json!({"metadata": {"finalizers": null}}),
            json!({"metadata": {"labels": {"app": null, "new": "1"}}}),
            json!({"metadata": null}),
            json!({"spec": null, "data": null}),
            json!({"kind": "Other"}),
            json!({"apiVersion": null}),
            json!({"status": {"phase": "Q", "replicas": 3}, "spec": {"replicas": 3}}),
            json!([1]),
            json!(5),
            json!(null),
        ]),
    ];
    let name = name.to_owned();
    (patch, texts(kind.subresources), write_query(), accept()).prop_map(move |(patch, part, query, accept)| {
        let template = Template::new("PATCH", format!("<{}>/{name}{part}{query}", kind.collection)).body(MERGE, patch);
        // A Scale has no other form here.
        Template {
            accept: accept.filter(|_| part != "/scale"),
            ..template
        }
    })
}

pub(super) fn json_patch(kind: Kind, name: &str) -> impl Strategy<Value = Template> + use<> {
    let operation = select(vec![
        json!({"op": "add", "path": "/metadata/labels", "value": {"app": "x"}}),
        json!({"op": "add", "path": "/metadata/labels/app", "value": "y"}),
        json!({"op": "remove", "path": "/metadata/finalizers"}),
        json!({"op": "remove", "path": "/metadata/finalizers/0"}),
        json!({"op": "add", "path": "/metadata/finalizers/-", "value": "ex.io/more"}),
        json!({"op": "replace", "path": "/metadata/name", "value": "other"}),
        json!({"op": "test", "path": "/metadata/uid", "value": format!("<uid {name}>")}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": format!("<rv {name}>")}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": format!("<first {name}>")}),
        json!({"op": "test", "path": "/none", "value": null}),
        json!({"op": "add", "path": "/data", "value": {"k": "p"}}),
        json!({"op": "replace", "path": "/data/k", "value": "q"}),
        json!({"op": "replace", "path": "/spec/size", "value": 5}),
        json!({"op": "replace", "path": "/spec/size", "value": 50}),
        json!({"op": "replace", "path": "/spec/planId", "value": "q"}),
        json!({"op": "remove", "path": "/spec"}),
        json!({"op": "add", "path": "/spec/junk", "value": 1}),
        json!({"op": "copy", "from": "/metadata/name", "path": "/metadata/annotations"}),
        json!({"op": "move", "from": "/spec", "path": "/status"}),
        json!({"op": "fly", "path": "/spec"}),
        json!({"op": "add", "path": "spec"}),
        json!({"op": "add"}),
        json!({"op": "replace", "path": "", "value": {}}),
    ]);
    let patch = prop_oneof![
        8 => prop::collection::vec(operation, 1..3).prop_map(Value::from),
        1 => select(vec![json!([]), json!({}), json!(null), json!("text"), json!([5])]),
    ];
    let name = name.to_owned();
    (patch, texts(kind.subresources), write_query()).prop_map(move |(patch, part, query)| {
        Template::new("PATCH", format!("<{}>/{name}{part}{query}", kind.collection)).body(JSON_PATCH, patch)
    })
}

pub(super) fn get(kind: Kind, name: &str) -> impl Strategy<Value = Template> + use<> {
    let name = name.to_owned();
    let query = prop_oneof![
        8 => Just(String::new()),
        1 => Just(format!("?resourceVersion=<rv {name}>")),
        1 => Just("?resourceVersion=abc".to_owned()),
    ];
    (texts(kind.subresources), query, accept()).prop_map(move |(part, query, accept)| Template {
        accept: accept.filter(|_| part != "/scale"),
        ..Template::new("GET", format!("<{}>/{name}{part}{query}", kind.collection))
    })
}

fn label_selector() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just(""),
        4 => texts(&["app%3Dx", "app", "!app", "app!%3Dx", "app+in+(x,y),tier", "tier+notin+(1)", "tier%3E1", "app%3D%3Dy", "app%3D", "app+in+()"]),
        1 => texts(&["app%3D%3D%3Dx", "app+in", "bad+key", "app%3Dbad+value!", ",", "app%3Dx,", "tier%3Ex", "!", "app+in+(x"]),
    ]
}

fn field_selector(kind: Kind) -> impl Strategy<Value = String> + use<> {
    let letter = kind.letter;
    let mut known = vec![
        format!("metadata.name%3D{letter}0"),
        format!("metadata.name!%3D{letter}0"),
        "metadata.namespace%3D<ns>".to_owned(),
        "metadata.namespace%3Delsewhere".to_owned(),
    ];
    known.extend(kind.fields.iter().map(|field| (*field).to_owned()));
    prop_oneof![
        5 => Just(String::new()),
        3 => select(known),
        1 => texts(&["none%3D1", "metadata.name", "metadata.name%3Ea", "metadata.name%3D%5Cx", ",", "metadata.labels%3Dx"]).prop_map(str::to_owned),
    ]
}

fn list(kind: Kind) -> impl Strategy<Value = Template> + use<> {
    let page = prop_oneof![
        6 => Just(""),
        3 => texts(&["limit=1", "limit=2"]),
        3 => Just("limit=1&continue=<continue>"),
        2 => texts(&["limit=0", "limit=-1", "limit=abc", "continue=garbage", "continue=<continue>&resourceVersion=<list>", "limit=99999999999999999999"]),
        2 => texts(&[
            "resourceVersion=<list>",
            "resourceVersion=<list>&resourceVersionMatch=Exact",
            "resourceVersion=<list>&resourceVersionMatch=NotOlderThan",
            "resourceVersion=<list>&limit=1",
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch=Exact",
            "resourceVersion=<list>&resourceVersionMatch=Bogus",
            "resourceVersion=abc",
            "resourceVersion=-1",
            "sendInitialEvents=true",
            "timeoutSeconds=abc",
            "allowWatchBookmarks=maybe",
        ]),
    ];
    (label_selector(), field_selector(kind), page, accept_list()).prop_map(move |(labels, fields, page, accept)| {
        Template {
            accept,
            ..Template::new("GET", format!("<{}>?{}", kind.collection, query(labels, &fields, page)))
        }
    })
}

fn query(labels: &str, fields: &str, more: &str) -> String {
    let mut parts = Vec::new();
    if !labels.is_empty() {
        parts.push(format!("labelSelector={labels}"));
    }
    if !fields.is_empty() {
        parts.push(format!("fieldSelector={fields}"));
    }
    if !more.is_empty() {
        parts.push(more.to_owned());
    }
    parts.join("&")
}

pub(super) fn delete(kind: Kind, name: &str) -> impl Strategy<Value = Template> + use<> {
    let options = prop_oneof![
        5 => Just(Value::Null),
        3 => select(vec![
            json!({"preconditions": {"uid": format!("<uid {name}>")}}),
            json!({"preconditions": {"uid": "other"}}),
            json!({"preconditions": {"resourceVersion": format!("<rv {name}>")}}),
            json!({"preconditions": {"resourceVersion": format!("<first {name}>")}}),
            json!({"preconditions": {"uid": "other", "resourceVersion": "1"}}),
            json!({"propagationPolicy": "Background"}),
            json!({"dryRun": ["All"]}),
            json!({"gracePeriodSeconds": 0}),
            json!({"gracePeriodSeconds": 30}),
            json!({"kind": "DeleteOptions", "apiVersion": "v1"}),
        ]),
        1 => select(vec![
            json!({"propagationPolicy": "Bogus"}),
            json!({"propagationPolicy": "Background", "orphanDependents": true}),
            json!({"dryRun": ["Some"]}),
            json!({"dryRun": "All"}),
            json!({"gracePeriodSeconds": "x"}),
            json!({"gracePeriodSeconds": -1}),
            json!({"kind": "Other", "apiVersion": "v1"}),
            json!({"preconditions": 5}),
            json!({"junk": 1}),
            json!([]),
        ]),
    ];
    let query = mostly(
        "",
        &[
            "?dryRun=All",
            "?dryRun=Some",
            "?propagationPolicy=Background",
            "?propagationPolicy=Bogus",
            "?gracePeriodSeconds=0",
            "?gracePeriodSeconds=x",
        ],
    );
    let name = name.to_owned();
    (options, query).prop_map(move |(options, query)| {
        let template = Template::new("DELETE", format!("<{}>/{name}{query}", kind.collection));
        if options.is_null() {
            template
        } else {
            template.body(JSON, options)
        }
    })
}

pub(super) fn delete_collection(kind: Kind) -> impl Strategy<Value = Template> + use<> {
    let more = mostly(
        "",
        &[
            "dryRun=All",
            "limit=1",
            "propagationPolicy=Bogus",
            "resourceVersion=abc",
        ],
    );
    (label_selector(), field_selector(kind), more).prop_map(move |(labels, fields, more)| {
        Template::new(
            "DELETE",
            format!("<{}>?{}", kind.collection, query(labels, &fields, more)),
        )
    })
}

/// The selectors of a watch select the object that ends it.
fn watch(kind: Kind) -> impl Strategy<Value = Template> + use<> {
    let labels = texts(&["", "", "app%3Dx", "app", "app+in+(x,z)", "!tier"]);
    let fields = select(vec![
        String::new(),
        String::new(),
        format!("metadata.name!%3D{}0", kind.letter),
    ]);
    let start = texts(&["resourceVersion=<list>", "resourceVersion=<list>", ""]);
    (labels, fields, start, accept()).prop_map(move |(labels, fields, start, accept)| {
        let accept = accept.filter(|accept| !accept.starts_with("text") && !accept.contains("Table"));
        let path = format!(
            "<{}>?watch=1&timeoutSeconds=60&{}",
            kind.collection,
            query(labels, &fields, start)
        );
        Template {
            accept,
            is_watch: true,
            ..Template::new("GET", path)
        }
    })
}

/// A body that is none, or a method or type that is not for the path.
fn bad(kind: Kind, name: &str) -> impl Strategy<Value = Template> + use<> {
    let name = name.to_owned();
    let body = texts(&[
        "",
        "{",
        "[]",
        "1",
        "\"text\"",
        "{}",
        "{\"metadata\":5}",
        "{\"metadata\":{}}",
        "{\"a\":1}x",
        "{\"kind\":5}",
        "\u{0}",
        "{'a':1}",
        "{\"metadata\":{\"name\":\"a\",\"name\":\"b\"}}",
    ]);
    let content_type = texts(&[
        JSON,
        JSON,
        JSON,
        MERGE,
        JSON_PATCH,
        "text/plain",
        "application/json; charset=utf-8",
        "application/xml",
    ]);
    let place = select(vec![
        ("POST", format!("<{}>", kind.collection)),
        ("POST", format!("<{}>", kind.collection)),
        ("POST", format!("<{}>/{name}", kind.collection)),
        ("PUT", format!("<{}>", kind.collection)),
        ("PUT", format!("<{}>/{name}", kind.collection)),
        ("PATCH", format!("<{}>", kind.collection)),
        ("PATCH", format!("<{}>/{name}", kind.collection)),
        ("DELETE", format!("<{}>/{name}", kind.collection)),
        ("DELETE", format!("<{}>/{name}/status", kind.collection)),
        ("GET", format!("<{}>/{name}/a/b", kind.collection)),
    ]);
    (place, body, content_type).prop_map(|((method, path), body, content_type)| match method {
        "GET" => Template::new(method, path),
        _ => Template::new(method, path).body(content_type, body),
    })
}
