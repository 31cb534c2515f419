//! The forms that an answer can have, and how a client asks for one.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Events, TestServer};
use crate::{on_each_engine, on_each_server};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const OLD_TABLE: &str = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

fn kind(answer: &Answer) -> String {
    let object = answer.ok();
    format!(
        "{} {}",
        object["apiVersion"].as_str().unwrap_or_default(),
        object["kind"].as_str().unwrap_or_default()
    )
}

async fn a_map(server: &TestServer) -> String {
    server
        .post(
            &server.maps(),
            json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"k": "v"}}),
        )
        .await
        .ok();
    format!("{}/a", server.maps())
}

on_each_server! {
    async fn the_first_form_that_is_known_is_given(server: TestServer) {
        let object = a_map(&server).await;
        let list = server.maps();
        for (path, accept, expected) in [
            (&object, "*/*", "v1 ConfigMap"),
            (&object, "application/vnd.kubernetes.unknown, application/json", "v1 ConfigMap"),
            (&object, TABLE, "meta.k8s.io/v1 Table"),
            (&object, OLD_TABLE, "meta.k8s.io/v1beta1 Table"),
            (&object, PARTIAL, "meta.k8s.io/v1 PartialObjectMetadata"),
            (&list, PARTIAL_LIST, "meta.k8s.io/v1 PartialObjectMetadataList"),
            (&list, &format!("{TABLE},{OLD_TABLE},application/json"), "meta.k8s.io/v1 Table"),
            (&list, &format!("application/json;as=Chair;v=v1;g=meta.k8s.io,{OLD_TABLE}"), "meta.k8s.io/v1beta1 Table"),
            (&list, "application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "v1 ConfigMapList"),
            (&list, "text/html;q=0.9, application/json;q=0.5", "v1 ConfigMapList"),
        ] {
            assert_eq!(kind(&server.get_as(path, accept).await), expected, "{accept}");
        }
        for accept in ["text/plain", "application/json;as=Chair;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9;g=meta.k8s.io"] {
            assert_eq!(server.get_as(&list, accept).await.refused(), (406, "NotAcceptable".into()), "{accept}");
        }
        for (path, accept) in [(&object, PARTIAL_LIST), (&list, PARTIAL)] {
            assert_eq!(server.get_as(path, accept).await.refused(), (406, "NotAcceptable".into()), "{accept}");
        }
        let protobuf = "application/vnd.kubernetes.protobuf";
        let server = server.with_widgets().await;
        assert_eq!(server.get_as(&server.widgets(), protobuf).await.code, StatusCode::NOT_ACCEPTABLE);
        assert_eq!(kind(&server.get_as(&server.widgets(), &format!("{protobuf},application/json")).await), format!("{}/v1 WidgetList", server.group));
    }

    async fn the_answer_to_a_write_has_the_form_that_is_asked_for(server: TestServer) {
        let object = a_map(&server).await;
        let headers = [("accept", PARTIAL), ("content-type", "application/merge-patch+json")];
        let patched = server.send(Method::PATCH, &object, &headers, json!({"data": {"k": "w"}}).to_string()).await;
        assert_eq!(kind(&patched), "meta.k8s.io/v1 PartialObjectMetadata");
        let made = server.send(Method::POST, &server.maps(), &[("accept", TABLE), ("content-type", "application/yaml")], "metadata: {name: b}\n").await;
        assert_eq!((made.code, kind(&made)), (StatusCode::CREATED, "meta.k8s.io/v1 Table".to_owned()));
        assert_eq!(made.json()["rows"][0]["cells"][0], "b");
    }

    async fn a_table_carries_what_is_asked_for(server: TestServer) {
        let object = a_map(&server).await;
        for (include, expected) in [("", "PartialObjectMetadata"), ("Metadata", "PartialObjectMetadata"), ("Object", "ConfigMap"), ("None", "")] {
            let table = server.get_as(&format!("{object}?includeObject={include}"), TABLE).await.ok();
            let row = &table["rows"][0];
            assert_eq!(row["object"]["kind"].as_str().unwrap_or_default(), expected, "{include}");
            assert_eq!((&row["cells"][0], &row["cells"][1]), (&json!("a"), &json!(1)));
            let names: Vec<&str> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["Name", "Data", "Age"]);
        }
        assert_eq!(server.get_as(&format!("{object}?includeObject=Half"), TABLE).await.refused().0, 400);
    }

    async fn the_first_event_of_a_table_watch_carries_the_columns(server: TestServer) {
        a_map(&server).await;
        for (accept, version) in [(TABLE, "meta.k8s.io/v1"), (OLD_TABLE, "meta.k8s.io/v1beta1")] {
            let path = format!("{}?watch=1", server.maps());
            let mut events = Events::of(server.open(Method::GET, &path, &[("accept", accept)], "").await);
            let own = async |events: &mut Events| loop {
                let event = events.next().await.unwrap();
                if event["object"]["rows"][0]["cells"][0] == "a" {
                    return event["object"].clone();
                }
                // A real cluster puts its authority into each namespace.
                assert_eq!(event["object"]["rows"][0]["cells"][0], "kube-root-ca.crt");
            };
            let first = own(&mut events).await;
            assert_eq!((&first["kind"], &first["apiVersion"]), (&json!("Table"), &json!(version)));
            server.merge(&format!("{}/a", server.maps()), json!({"data": {version.rsplit('/').next().unwrap(): "x"}})).await.ok();
            let second = own(&mut events).await;
            assert_eq!(second["columnDefinitions"], Value::Null);
        }
    }

    async fn people_get_lines(server: TestServer) {
        let object = a_map(&server).await;
        let lines = async |query: &str, agent: &'static str| {
            let answer = server.send(Method::GET, &format!("{object}{query}"), &[("user-agent", agent)], "").await;
            String::from_utf8(answer.body.to_vec()).unwrap().trim_end().lines().count()
        };
        for (query, agent, are_many) in [
            ("", "kubectl/v1.32", false),
            ("", "curl/8.5.0", true),
            ("", "Mozilla/5.0 (X11)", true),
            ("?pretty=false", "curl/8.5.0", false),
            ("?pretty=true", "kubectl/v1.32", true),
            ("?pretty=1", "kubectl/v1.32", true),
        ] {
            assert_eq!(lines(query, agent).await > 1, are_many, "{query} {agent}");
        }
        let pretty = server.get(&format!("{object}?pretty=1")).await;
        let text = String::from_utf8(pretty.body.to_vec()).unwrap();
        assert!(text.contains("\n    \"name\": \"a\","), "{text}");
        let missing = server.send(Method::GET, &format!("{}/none", server.maps()), &[("user-agent", "curl/8")], "").await;
        assert!(missing.body.starts_with(b"{\n  \"kind\": \"Status\",\n"), "{missing:?}");
    }

    async fn a_long_list_is_compressed_for_who_takes_that(server: TestServer) {
        for name in ["a", "b", "c"] {
            let long = "0123456789abcdef".repeat(4096);
            server.post(&server.maps(), json!({"metadata": {"name": name}, "data": {"k": long}})).await.ok();
        }
        let answer = server.send(Method::GET, &server.maps(), &[("accept-encoding", "gzip")], "").await;
        assert_eq!(answer.headers["content-encoding"], "gzip");
        assert!(answer.body.len() < 64 * 1024 && answer.body.starts_with(&[0x1f, 0x8b]), "{} bytes", answer.body.len());
        let short = server.send(Method::GET, &format!("{}/a", server.maps()), &[("accept-encoding", "gzip")], "").await;
        assert!(!short.headers.contains_key("content-encoding"));
        assert!(!server.get(&server.maps()).await.headers.contains_key("content-encoding"));
    }

    async fn the_deprecated_prefix_watches(server: TestServer) {
        let object = a_map(&server).await;
        let watch = |path: &str| path.replacen("/api/v1/", "/api/v1/watch/", 1);
        for path in [watch(&object), watch(&server.maps())] {
            let mut events = Events::of(server.open(Method::GET, &path, &[], "").await);
            loop {
                let (kind, name) = events.change().await;
                assert_eq!(kind, "ADDED");
                if name == "a" {
                    break;
                }
            }
        }
    }

    async fn slashes_at_the_end_do_not_count_for_roots(server: TestServer) {
        for (path, kind) in [("/api/", "APIVersions"), ("/apis/", "APIGroupList"), ("/api/v1/", "APIResourceList"), ("/apis/coordination.k8s.io/", "APIGroup"), ("/apis/coordination.k8s.io/v1/", "APIResourceList")] {
            assert_eq!(server.get(path).await.ok()["kind"], kind, "{path}");
        }
        let version = server.get("/version/").await.ok();
        for name in ["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"] {
            assert!(version[name].is_string(), "{name}");
        }
        assert!(version["gitVersion"].as_str().unwrap().starts_with("v1."));
        let paths = server.get("/").await.ok();
        let paths: Vec<&str> = paths["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        assert!(paths.is_sorted());
        for path in ["/api", "/api/v1", "/apis", "/apis/coordination.k8s.io", "/apis/coordination.k8s.io/v1", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] {
            assert!(paths.contains(&path), "{path} in {paths:?}");
        }
    }

    async fn both_forms_of_discovery_say_the_same(server: TestServer) {
        let server = server.with_widgets().await;
        let aggregated = server.get_as("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").await.ok();
        let groups = aggregated["items"].as_array().unwrap();
        let named = |name: &str| groups.iter().find(|group| group["metadata"]["name"] == name).unwrap_or_else(|| panic!("{name}"));
        for group in ["coordination.k8s.io", "apiextensions.k8s.io", server.group.as_str()] {
            let old = server.get(&format!("/apis/{group}")).await.ok();
            let versions: Vec<&Value> = named(group)["versions"].as_array().unwrap().iter().map(|version| &version["version"]).collect();
            let old_versions: Vec<&Value> = old["versions"].as_array().unwrap().iter().map(|version| &version["version"]).collect();
            assert_eq!(versions, old_versions, "{group}");
            for version in named(group)["versions"].as_array().unwrap() {
                let name = version["version"].as_str().unwrap();
                let old = server.get(&format!("/apis/{group}/{name}")).await.ok();
                let mut flat = Vec::new();
                for resource in version["resources"].as_array().unwrap() {
                    flat.push((resource["resource"].clone(), resource["verbs"].clone(), resource["shortNames"].clone(), resource["categories"].clone()));
                    for part in resource["subresources"].as_array().into_iter().flatten() {
                        let name = format!("{}/{}", resource["resource"].as_str().unwrap(), part["subresource"].as_str().unwrap());
                        flat.push((json!(name), part["verbs"].clone(), Value::Null, Value::Null));
                    }
                }
                let mut old: Vec<_> = old["resources"].as_array().unwrap().iter().map(|resource| (resource["name"].clone(), resource["verbs"].clone(), resource["shortNames"].clone(), resource["categories"].clone())).collect();
                flat.sort_by_key(|(name, ..)| name.to_string());
                old.sort_by_key(|(name, ..)| name.to_string());
                assert_eq!(flat, old, "{group}/{name}");
            }
        }
    }

    async fn discovery_names_the_stored_form_of_a_kind(server: TestServer) {
        let server = server.with_widgets().await;
        let hash = async |path: &str, resource: &str| {
            let list = server.get(path).await.ok();
            let found = list["resources"].as_array().unwrap().iter().find(|known| known["name"] == resource).unwrap().clone();
            found["storageVersionHash"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(hash("/api/v1", "configmaps").await, "qFsyl6wFWjQ=");
        let widgets = hash(&format!("/apis/{}/v1", server.group), "widgets").await;
        assert_eq!(widgets.len(), 12, "{widgets}");
        assert_eq!(hash(&format!("/apis/{}/v1beta1", server.group), "widgets").await, widgets);
    }
}

on_each_engine! {
    async fn the_older_aggregated_form_is_served_too(server: TestServer) {
        let old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        let answer = server.get_as("/apis", old).await;
        assert_eq!(answer.headers["content-type"], old);
        assert_eq!(answer.ok()["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    }

    /// What a real server takes seconds for: all that describes a new kind is there with the commit that
    /// establishes it.
    async fn every_description_changes_with_the_commit_that_establishes_a_definition(server: TestServer) {
        let server = server.with_own_group();
        let definition = crate::definitions::widgets(&server.group);
        let seen = async || {
            let group = &server.group;
            let aggregated = server.get_as("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").await.ok().to_string();
            [
                aggregated.contains(group.as_str()),
                server.get("/apis").await.ok().to_string().contains(group.as_str()),
                server.get(&format!("/apis/{group}/v1")).await.code.is_success(),
                server.get("/openapi/v3").await.ok()["paths"].get(format!("apis/{group}/v1")).is_some(),
                server.get(&format!("/openapi/v3/apis/{group}/v1")).await.code.is_success(),
                server.get(&server.widgets()).await.code.is_success(),
            ]
        };
        for _ in 0..20 {
            server.until(seen, |seen| *seen == [false; 6]).await;
            server.post(crate::support::DEFINITIONS, definition.clone()).await.ok();
            assert_eq!(seen().await, [true; 6]);
            server.delete(&server.widgets_definition()).await.ok();
            server.until_missing(&server.widgets_definition()).await;
        }
    }
}
