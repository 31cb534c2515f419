//! Definitions of custom resources: served at once, changed, deleted.

use http::Method;
use serde_json::{Value, json};

use crate::on_each_server;
use crate::support::{Answer, DEFINITIONS, Events, TestServer};

/// A definition with status, scale, columns, a default and two served versions.
pub(crate) fn widgets(group: &str) -> Value {
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
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [version("v1beta1", false), version("v1", true)],
        },
    })
}

on_each_server! {
    async fn a_new_definition_is_in_every_form_of_discovery_and_established(server: TestServer) {
        let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let before = server.get_as("/apis", aggregated).await;
        let server = server.with_own_group().with_widgets().await;
        let made = server.get(&server.widgets_definition()).await.ok();
        let conditions = made["status"]["conditions"].as_array().unwrap();
        assert!(
            conditions
                .iter()
                .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
        );
        assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
        let group = server.get(&format!("/apis/{}", server.group)).await.ok();
        assert_eq!(group["preferredVersion"]["version"], "v1");
        let resources = server.get(&format!("/apis/{}/v1", server.group)).await.ok();
        let names: Vec<&str> = resources["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
        let find = |groups: &Value| {
            let mut groups = groups["items"].as_array().unwrap().iter();
            groups
                .find(|group| group["metadata"]["name"] == server.group.as_str())
                .cloned()
        };
        let is_complete =
            |after: &Answer| find(&after.ok()).is_some_and(|group| group["versions"].as_array().unwrap().len() == 2);
        let after = server
            .soon(async || server.get_as("/apis", aggregated).await, is_complete)
            .await;
        assert_eq!(after.headers["content-type"], aggregated);
        assert_ne!(before.headers["etag"], after.headers["etag"]);
        let ours = find(&after.ok()).unwrap();
        assert_eq!(
            ours["versions"][0]["resources"][0]["responseKind"],
            json!({"group": server.group, "version": "v1", "kind": "Widget"})
        );
        // Other tests define kinds on the same server meanwhile.
        let unchanged = async || {
            let etag = server.get_as("/apis", aggregated).await.headers["etag"]
                .to_str()
                .unwrap()
                .to_owned();
            let again = server
                .send(
                    Method::GET,
                    "/apis",
                    &[("accept", aggregated), ("if-none-match", &etag)],
                    "",
                )
                .await;
            (again.code.as_u16(), again.body.len())
        };
        server.soon(unchanged, |answer| *answer == (304, 0)).await;
    }

    async fn every_served_version_shows_the_same_object(server: TestServer) {
        let server = server.with_widgets().await;
        let widgets = server.widgets();
        server.post(&widgets, server.widget("a")).await.ok();
        let old = server.custom("v1beta1", "widgets");
        let seen = server.get(&format!("{old}/a")).await.ok();
        assert_eq!(
            (&seen["apiVersion"], &seen["spec"]["color"]),
            (&json!(format!("{}/v1beta1", server.group)), &json!("red"))
        );
        let patched = server
            .merge(&format!("{old}/a"), json!({"spec": {"color": "blue"}}))
            .await
            .ok();
        assert_eq!(patched["apiVersion"], seen["apiVersion"]);
        assert_eq!(server.get(&format!("{widgets}/a")).await.ok()["spec"]["color"], "blue");
    }

    async fn unknown_and_duplicate_fields_are_dropped_told_or_refused(server: TestServer) {
        let server = server.with_widgets().await;
        let widgets = server.widgets();
        let group = &server.group;
        let body = |name: &str| {
            format!(
                r#"{{"apiVersion":"{group}/v1","kind":"Widget","metadata":{{"name":"{name}"}},"spec":{{"size":3,"size":4,"junk":1,"free":{{"any":1}}}}}}"#
            )
        };
        let send = |path: String, body: String| {
            let server = &server;
            async move { server.send(Method::POST, &path, &[], body).await }
        };
        let told = send(widgets.clone(), body("a")).await;
        assert_eq!(
            told.warnings(),
            [
                r#"299 - "duplicate field \"spec.size\"""#,
                r#"299 - "unknown field \"spec.junk\"""#
            ]
        );
        assert_eq!(
            told.ok()["spec"],
            json!({"size": 4, "free": {"any": 1}, "color": "red"})
        );
        assert_eq!(
            send(format!("{widgets}?fieldValidation=Ignore"), body("b"))
                .await
                .warnings(),
            [""; 0]
        );
        let refused = send(format!("{widgets}?fieldValidation=Strict"), body("c")).await;
        assert_eq!(refused.refused(), (400, "BadRequest".into()));
        let patch = server
            .send(
                Method::PATCH,
                &format!("{widgets}/a?fieldValidation=Strict"),
                &[("content-type", "application/merge-patch+json")],
                r#"{"spec":{"junk":2}}"#,
            )
            .await;
        assert_eq!(patch.refused(), (422, "Invalid".into()));
        assert_eq!(patch.json()["details"]["causes"][0]["field"], "patch");
    }

    async fn a_dry_run_checks_everything_and_stores_nothing(server: TestServer) {
        let server = server.with_widgets().await;
        let widgets = server.widgets();
        let (mut generated, mut too_large) = (server.widget(""), server.widget("g"));
        generated["metadata"]["generateName"] = json!("g-");
        too_large["spec"]["size"] = json!(99);
        let tried = server.post(&format!("{widgets}?dryRun=All"), generated).await.ok();
        assert!(
            tried["metadata"]["name"].as_str().unwrap().len() == 7
                && tried["metadata"].get("resourceVersion").is_none()
        );
        assert_eq!(
            server
                .post(&format!("{widgets}?dryRun=All"), too_large)
                .await
                .refused()
                .0,
            422
        );
        server.post(&widgets, server.widget("a")).await.ok();
        assert_eq!(
            server
                .post(&format!("{widgets}?dryRun=All"), server.widget("a"))
                .await
                .refused()
                .0,
            409
        );
        let patched = server
            .merge(&format!("{widgets}/a?dryRun=All"), json!({"spec": {"size": 5}}))
            .await
            .ok();
        assert_eq!(patched["spec"]["size"], 5);
        assert_eq!(
            server.delete(&format!("{widgets}/a?dryRun=All")).await.ok()["status"],
            "Success"
        );
        assert_eq!(server.get(&format!("{widgets}/a")).await.ok()["spec"]["size"], 3);
    }

    async fn a_changed_schema_shows_in_objects_that_are_there_already(server: TestServer) {
        let server = server.with_own_group().with_widgets().await;
        let widgets = server.widgets();
        server.post(&widgets, server.widget("a")).await.ok();
        let mut watch = Events::of(server.open(Method::GET, &format!("{widgets}?watch=1"), &[], "").await);
        assert_eq!(watch.change().await.0, "ADDED");
        let mut changed = server.get(&server.widgets_definition()).await.ok();
        changed["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["shape"] =
            json!({"type": "string", "default": "round"});
        server.put(&server.widgets_definition(), changed).await.ok();
        server
            .soon(
                async || server.get(&format!("{widgets}/a")).await.ok()["spec"]["shape"].clone(),
                |shape| shape == "round",
            )
            .await;
        assert_eq!(server.get(&widgets).await.ok()["items"][0]["spec"]["shape"], "round");
        let patched = server
            .merge(&format!("{widgets}/a"), json!({"spec": {"shape": "flat"}}))
            .await
            .ok();
        assert_eq!(patched["spec"]["shape"], "flat");
        let event = watch.next().await.unwrap();
        assert_eq!(event["type"], "MODIFIED");
        // A watch of a real server keeps the schema that it began with.
        let shape = server.is_ours().then(|| json!("flat"));
        assert_eq!(event["object"]["spec"].get("shape"), shape.as_ref());
    }

    async fn a_field_that_becomes_selectable_finds_the_objects_from_before(server: TestServer) {
        let server = server.with_own_group().with_widgets().await;
        let widgets = server.widgets();
        for name in ["a", "b"] {
            server.post(&widgets, server.widget(name)).await.ok();
        }
        server
            .merge(&format!("{widgets}/b"), json!({"spec": {"color": "blue"}}))
            .await
            .ok();
        let mut changed = server.get(&server.widgets_definition()).await.ok();
        for version in changed["spec"]["versions"].as_array_mut().unwrap() {
            version["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
        }
        server.put(&server.widgets_definition(), changed).await.ok();
        let find = async || server.get(&format!("{widgets}?fieldSelector=spec.color%3Dblue")).await;
        let found = server.soon(find, |answer| answer.code == 200).await.ok();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "while the index is made");
        if server.is_ours() {
            let store = &server.ours().store;
            let marker = bytes::Bytes::from(format!("/indexed/{}/widgets/spec.color", server.group));
            let state = async || store.get(marker.clone(), None).await.unwrap().map(|entry| entry.value);
            server
                .until(state, |state| state.as_ref().is_some_and(|value| value == "complete"))
                .await;
            let prefix = format!("/index/{}/widgets/spec.color/{}/=blue", server.group, server.namespace);
            let entries = store
                .range(objectstore::prefix(prefix.as_bytes()), 10, None)
                .await
                .unwrap();
            assert_eq!(entries.entries.len(), 1);
            assert_eq!(
                find().await.ok()["items"].as_array().unwrap().len(),
                1,
                "from the index"
            );
        }
    }

    async fn a_deleted_definition_takes_its_objects_along(server: TestServer) {
        let server = server.with_own_group().with_instances().await;
        let instances = server.instances();
        server.post(&instances, server.instance("held")).await.ok();
        let mut free = server.instance("free");
        free["metadata"]["finalizers"] = json!([]);
        server.post(&instances, free).await.ok();
        let path = format!("{DEFINITIONS}/serviceinstances.{}", server.group);
        let marked = server.delete(&path).await.ok();
        assert_eq!(
            marked["metadata"]["finalizers"],
            json!(["customresourcecleanup.apiextensions.k8s.io"])
        );
        // What a real server would still take for a moment is not to stay.
        let late = format!("{instances}?dryRun=All");
        server
            .soon(
                async || server.post(&late, server.instance("late")).await.code.as_u16(),
                |code| *code == 403,
            )
            .await;
        server.until_missing(&format!("{instances}/free")).await;
        let is_marked = |held: &Value| held["metadata"]["deletionTimestamp"].is_string();
        server
            .until(async || server.get(&format!("{instances}/held")).await.ok(), is_marked)
            .await;
        server
            .merge(&format!("{instances}/held"), json!({"metadata": {"finalizers": null}}))
            .await
            .ok();
        server.until_missing(&path).await;
        let gone = server
            .soon(async || server.get(&instances).await, |answer| answer.code == 404)
            .await;
        assert_eq!(gone.body.as_ref(), b"404 page not found\n".as_slice());
        let discovery = format!("/apis/{}", server.group);
        server
            .soon(async || server.get(&discovery).await.code.as_u16(), |code| *code == 404)
            .await;
        if server.is_ours() {
            let registry = format!("/registry/{}", server.group);
            for left in [registry.as_str(), "/index/", "/indexed/", "/cleanup/"] {
                let page = server
                    .ours()
                    .store
                    .range(objectstore::prefix(left.as_bytes()), 10, None)
                    .await
                    .unwrap();
                assert!(page.entries.is_empty(), "{page:?}");
            }
        }
    }

    async fn scale_reads_and_writes_the_named_paths(server: TestServer) {
        let server = server.with_widgets().await;
        let widgets = server.widgets();
        server.post(&widgets, server.widget("a")).await.ok();
        let scale = format!("{widgets}/a/scale");
        assert_eq!(server.get(&scale).await.refused().0, 500);
        let set = server.merge(&scale, json!({"spec": {"replicas": 4}})).await.ok();
        assert_eq!(
            (set["kind"].as_str(), set["spec"]["replicas"].as_i64()),
            (Some("Scale"), Some(4))
        );
        let object = server.get(&format!("{widgets}/a")).await.ok();
        assert_eq!(
            (
                object["spec"]["replicas"].as_i64(),
                object["metadata"]["generation"].as_i64()
            ),
            (Some(4), Some(2))
        );
        assert_eq!(
            server
                .merge(&scale, json!({"spec": {"replicas": -1}}))
                .await
                .refused()
                .0,
            422
        );
    }

    async fn columns_are_printed_as_tables(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        server.post(&instances, server.instance("a")).await.ok();
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let table = server.get_as(&instances, accept).await.ok();
        let columns: Vec<&str> = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(columns, ["Name", "Plan", "Ready", "Operation", "Age", "Progress"]);
        assert_eq!(
            table["rows"][0]["cells"].as_array().unwrap()[..4],
            [json!("a"), json!("p"), Value::Null, json!("Provision")]
        );
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        let mut watch = Events::of(
            server
                .open(Method::GET, &format!("{instances}?watch=1"), &[("accept", accept)], "")
                .await,
        );
        server.post(&instances, server.instance("b")).await.ok();
        assert!(watch.next().await.unwrap()["object"]["columnDefinitions"].is_array());
        assert!(watch.next().await.unwrap()["object"]["columnDefinitions"].is_null());
    }
}
