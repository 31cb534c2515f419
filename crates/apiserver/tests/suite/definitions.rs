//! Definitions of custom resources: served at once, changed, deleted.

use http::Method;
use serde_json::{Value, json};

use super::support::{Events, INSTANCES, TestServer, instance};

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A definition with status, scale, columns, a default and two served versions.
pub(crate) fn widgets() -> Value {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                "spec": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 10}, "replicas": {"type": "integer"},
                    "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                    "nul": {"type": "string", "nullable": true},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }},
                "status": {"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
            }}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.ex.io"},
        "spec": {
            "group": "ex.io", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [version("v1beta1", false), version("v1", true)],
        },
    })
}

const WIDGETS: &str = "/apis/ex.io/v1/namespaces/default/widgets";

fn widget(name: &str) -> Value {
    json!({"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3}})
}

#[tokio::test]
async fn a_new_definition_is_in_every_form_of_discovery_and_established() {
    let server = TestServer::start().await;
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let before = server.get_as("/apis", aggregated).await;
    let made = server.post(DEFINITIONS, widgets()).await.ok();
    let conditions = made["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True"));
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    let group = server.get("/apis/ex.io").await.ok();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let resources = server.get("/apis/ex.io/v1").await.ok();
    let names: Vec<&str> = resources["resources"].as_array().unwrap().iter().map(|resource| resource["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    let after = server.get_as("/apis", aggregated).await;
    assert_eq!(after.headers["content-type"], aggregated);
    assert_ne!(before.headers["etag"], after.headers["etag"]);
    let items = after.ok()["items"].clone();
    let ours = items.as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "ex.io").unwrap();
    assert_eq!(ours["versions"][0]["resources"][0]["responseKind"], json!({"group": "ex.io", "version": "v1", "kind": "Widget"}));
    let again = server.send(Method::GET, "/apis", &[("accept", aggregated), ("if-none-match", after.headers["etag"].to_str().unwrap())], "").await;
    assert_eq!((again.code.as_u16(), again.body.len()), (304, 0));
}

#[tokio::test]
async fn every_served_version_shows_the_same_object() {
    let server = TestServer::start().await;
    server.post(DEFINITIONS, widgets()).await.ok();
    server.post(WIDGETS, widget("a")).await.ok();
    let old = "/apis/ex.io/v1beta1/namespaces/default/widgets";
    let seen = server.get(&format!("{old}/a")).await.ok();
    assert_eq!((seen["apiVersion"].as_str(), seen["spec"]["color"].as_str()), (Some("ex.io/v1beta1"), Some("red")));
    let patched = server.merge(&format!("{old}/a"), json!({"spec": {"color": "blue"}})).await.ok();
    assert_eq!(patched["apiVersion"], "ex.io/v1beta1");
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["color"], "blue");
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_dropped_told_or_refused() {
    let server = TestServer::start().await;
    server.post(DEFINITIONS, widgets()).await.ok();
    let body = |name: &str| format!(r#"{{"apiVersion":"ex.io/v1","kind":"Widget","metadata":{{"name":"{name}"}},"spec":{{"size":3,"size":4,"junk":1,"free":{{"any":1}}}}}}"#);
    let send = |path: String, body: String| {
        let server = &server;
        async move { server.send(Method::POST, &path, &[], body).await }
    };
    let told = send(WIDGETS.to_owned(), body("a")).await;
    assert_eq!(told.warnings(), [r#"299 - "unknown field \"spec.junk\"""#, r#"299 - "duplicate field \"spec.size\"""#]);
    assert_eq!(told.ok()["spec"], json!({"size": 4, "free": {"any": 1}, "color": "red"}));
    assert_eq!(send(format!("{WIDGETS}?fieldValidation=Ignore"), body("b")).await.warnings(), [""; 0]);
    let refused = send(format!("{WIDGETS}?fieldValidation=Strict"), body("c")).await;
    assert_eq!(refused.refused(), (400, "BadRequest".into()));
    let patch = server.send(Method::PATCH, &format!("{WIDGETS}/a?fieldValidation=Strict"), &[("content-type", "application/merge-patch+json")], r#"{"spec":{"junk":2}}"#).await;
    assert_eq!(patch.refused(), (422, "Invalid".into()));
    assert_eq!(patch.json()["details"]["causes"][0]["field"], "patch");
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_stores_nothing() {
    let server = TestServer::start().await;
    server.post(DEFINITIONS, widgets()).await.ok();
    let tried = server.post(&format!("{WIDGETS}?dryRun=All"), json!({"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"generateName": "g-"}, "spec": {"size": 1}})).await.ok();
    assert!(tried["metadata"]["name"].as_str().unwrap().len() == 7 && tried["metadata"].get("resourceVersion").is_none());
    assert_eq!(server.post(&format!("{WIDGETS}?dryRun=All"), json!({"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": "g"}, "spec": {"size": 99}})).await.refused().0, 422);
    server.post(WIDGETS, widget("a")).await.ok();
    assert_eq!(server.post(&format!("{WIDGETS}?dryRun=All"), widget("a")).await.refused().0, 409);
    let patched = server.merge(&format!("{WIDGETS}/a?dryRun=All"), json!({"spec": {"size": 5}})).await.ok();
    assert_eq!(patched["spec"]["size"], 5);
    assert_eq!(server.delete(&format!("{WIDGETS}/a?dryRun=All")).await.ok()["status"], "Success");
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["size"], 3);
}

#[tokio::test]
async fn a_changed_schema_shows_in_objects_that_are_there_already() {
    let server = TestServer::start().await;
    let made = server.post(DEFINITIONS, widgets()).await.ok();
    server.post(WIDGETS, widget("a")).await.ok();
    let mut watch = Events::of(server.open(Method::GET, &format!("{WIDGETS}?watch=1"), &[], "").await);
    assert_eq!(watch.change().await.0, "ADDED");
    let mut changed = made;
    changed["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["shape"] = json!({"type": "string", "default": "round"});
    server.put(&format!("{DEFINITIONS}/widgets.ex.io"), changed).await.ok();
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["shape"], "round");
    assert_eq!(server.get(WIDGETS).await.ok()["items"][0]["spec"]["shape"], "round");
    let patched = server.merge(&format!("{WIDGETS}/a"), json!({"spec": {"shape": "flat"}})).await.ok();
    assert_eq!(patched["spec"]["shape"], "flat");
    let event = watch.next().await.unwrap();
    assert_eq!((event["type"].as_str(), event["object"]["spec"]["shape"].as_str()), (Some("MODIFIED"), Some("flat")));
}

#[tokio::test]
async fn a_field_that_becomes_selectable_finds_the_objects_from_before() {
    let server = TestServer::start().await;
    let made = server.post(DEFINITIONS, widgets()).await.ok();
    for name in ["a", "b"] {
        server.post(WIDGETS, widget(name)).await.ok();
    }
    server.merge(&format!("{WIDGETS}/b"), json!({"spec": {"color": "blue"}})).await.ok();
    let mut changed = made;
    changed["spec"]["versions"][1]["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
    server.put(&format!("{DEFINITIONS}/widgets.ex.io"), changed).await.ok();
    let find = async || server.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue")).await.ok()["items"].as_array().unwrap().len();
    assert_eq!(find().await, 1, "while the index is made");
    let marker = bytes::Bytes::from_static(b"/indexed/ex.io/widgets/spec.color");
    for _ in 0..500 {
        let state = server.store.get(marker.clone(), None).await.unwrap();
        if state.is_some_and(|entry| entry.value == "complete") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(server.store.get(marker, None).await.unwrap().unwrap().value, "complete");
    let entries = server.store.range(objectstore::prefix(b"/index/ex.io/widgets/spec.color/default/=blue"), 10, None).await.unwrap();
    assert_eq!(entries.entries.len(), 1);
    assert_eq!(find().await, 1, "from the index");
}

#[tokio::test]
async fn a_deleted_definition_takes_its_objects_along() {
    let server = TestServer::with_instances().await;
    server.post(INSTANCES, instance("held")).await.ok();
    let mut free = instance("free");
    free["metadata"]["finalizers"] = json!([]);
    server.post(INSTANCES, free).await.ok();
    let path = format!("{DEFINITIONS}/serviceinstances.reference.osb.internal");
    let marked = server.delete(&path).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(server.post(INSTANCES, instance("late")).await.refused().0, 405);
    server.until_missing(&format!("{INSTANCES}/free")).await;
    let is_marked = |held: &Value| held["metadata"]["deletionTimestamp"].is_string();
    server.until(async || server.get(&format!("{INSTANCES}/held")).await.ok(), is_marked).await;
    server.merge(&format!("{INSTANCES}/held"), json!({"metadata": {"finalizers": null}})).await.ok();
    server.until_missing(&path).await;
    let gone = server.get(INSTANCES).await;
    assert_eq!((gone.code.as_u16(), gone.body.as_ref()), (404, b"404 page not found\n".as_slice()));
    assert_eq!(server.get("/apis/reference.osb.internal").await.code.as_u16(), 404);
    for left in [b"/registry/reference".as_slice(), b"/index/", b"/indexed/", b"/cleanup/"] {
        let page = server.store.range(objectstore::prefix(left), 10, None).await.unwrap();
        assert!(page.entries.is_empty(), "{page:?}");
    }
}

#[tokio::test]
async fn scale_reads_and_writes_the_named_paths() {
    let server = TestServer::start().await;
    server.post(DEFINITIONS, widgets()).await.ok();
    server.post(WIDGETS, widget("a")).await.ok();
    let scale = format!("{WIDGETS}/a/scale");
    assert_eq!(server.get(&scale).await.refused().0, 500);
    let set = server.merge(&scale, json!({"spec": {"replicas": 4}})).await.ok();
    assert_eq!((set["kind"].as_str(), set["spec"]["replicas"].as_i64()), (Some("Scale"), Some(4)));
    let object = server.get(&format!("{WIDGETS}/a")).await.ok();
    assert_eq!((object["spec"]["replicas"].as_i64(), object["metadata"]["generation"].as_i64()), (Some(4), Some(2)));
    assert_eq!(server.merge(&scale, json!({"spec": {"replicas": -1}})).await.refused().0, 422);
}

#[tokio::test]
async fn columns_are_printed_as_tables() {
    let server = TestServer::with_instances().await;
    server.post(INSTANCES, instance("a")).await.ok();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = server.get_as(INSTANCES, accept).await.ok();
    let columns: Vec<&str> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Plan", "Ready", "Operation", "Age", "Progress"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..4], [json!("a"), json!("p"), Value::Null, json!("Provision")]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let mut watch = Events::of(server.open(Method::GET, &format!("{INSTANCES}?watch=1"), &[("accept", accept)], "").await);
    server.post(INSTANCES, instance("b")).await.ok();
    assert!(watch.next().await.unwrap()["object"]["columnDefinitions"].is_array());
    assert!(watch.next().await.unwrap()["object"]["columnDefinitions"].is_null());
}
