//! The documents that describe what is served: what kubectl reads before it creates, applies and explains.

use http::StatusCode;
use serde_json::{Value, json};

use crate::on_each_server;
use crate::support::{Answer, TestServer};

/// The URL of a version's document, once the index names it.
fn url(index: &Value, path: &str) -> Option<String> {
    index["paths"][path]["serverRelativeURL"].as_str().map(str::to_owned)
}

/// The URL of the document of the test's own group.
async fn own_url(server: &TestServer) -> String {
    let path = format!("apis/{}/v1", server.group);
    let index = async || server.get("/openapi/v3").await.ok();
    let index = server.soon(index, |index| url(index, &path).is_some()).await;
    url(&index, &path).unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The schema of a kind, found as kubectl finds it.
fn schema_of<'d>(document: &'d Value, group: &str, version: &str, kind: &str) -> &'d Value {
    let gvk = json!({"group": group, "version": version, "kind": kind});
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let is_it = |schema: &&Value| {
        schema["x-kubernetes-group-version-kind"]
            .as_array()
            .is_some_and(|kinds| kinds.contains(&gvk))
    };
    schemas
        .values()
        .find(is_it)
        .unwrap_or_else(|| panic!("no schema for {gvk}"))
}

on_each_server! {
    async fn a_document_says_what_a_client_asks_it(server: TestServer) {
        let server = server.with_own_group().with_widgets().await;
        let document = server.get(&own_url(&server).await).await.ok();
        assert_eq!(document["openapi"], "3.0.0");
        let object = format!("/apis/{}/v1/namespaces/{{namespace}}/widgets/{{name}}", server.group);
        for path in [object.clone(), format!("{object}/status"), format!("{object}/scale")] {
            let patch = &document["paths"][&path]["patch"];
            let mut names: Vec<&str> = patch["parameters"].as_array().unwrap().iter().filter_map(|parameter| parameter["name"].as_str()).collect();
            names.retain(|name| matches!(*name, "dryRun" | "fieldManager" | "fieldValidation" | "force"));
            assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"], "{path}");
            assert_eq!(patch["x-kubernetes-action"], "patch");
            assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Widget", "{path}");
            let mut types: Vec<&str> = patch["requestBody"]["content"].as_object().unwrap().keys().map(String::as_str).collect();
            types.retain(|name| !name.ends_with("cbor"));
            assert_eq!(types, ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]);
        }
        let widget = schema_of(&document, &server.group, "v1", "Widget");
        assert_eq!(widget["properties"]["metadata"]["allOf"][0]["$ref"], "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let spec = &widget["properties"]["spec"]["properties"];
        assert_eq!(spec["color"], json!({"type": "string", "enum": ["red", "blue"], "default": "red"}));
        assert_eq!(spec["free"]["x-kubernetes-preserve-unknown-fields"], true);
        assert_eq!(widget["required"], json!(["spec"]));
        let list = schema_of(&document, &server.group, "v1", "WidgetList");
        let item = list["properties"]["items"]["items"]["$ref"].as_str().unwrap();
        let backwards = server.group.rsplit('.').collect::<Vec<_>>().join(".");
        assert_eq!(item, format!("#/components/schemas/{backwards}.v1.Widget"));
        // Each reference leads somewhere.
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }

    async fn the_document_of_a_built_in_kind_has_its_operations(server: TestServer) {
        let index = server.get("/openapi/v3").await.ok();
        let core = server.get(&url(&index, "api/v1").unwrap()).await.ok();
        let path = &core["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"];
        assert_eq!(path["put"]["operationId"], "replaceCoreV1NamespacedConfigMap");
        assert_eq!(path["patch"]["x-kubernetes-group-version-kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
        assert_eq!(core["paths"]["/api/v1/configmaps"]["get"]["operationId"], "listCoreV1ConfigMapForAllNamespaces");
        let map = schema_of(&core, "", "v1", "ConfigMap");
        assert_eq!(map["properties"]["data"]["type"], "object");
        assert_eq!(map["properties"]["immutable"]["type"], "boolean");
        schema_of(&core, "", "v1", "Status");
        // There is no DELETE on all namespaces.
        assert_eq!(core["paths"]["/api/v1/namespaces"].get("delete"), None);
        assert!(core["paths"]["/api/v1/namespaces/{name}"].get("delete").is_some());
    }

    async fn a_document_is_kept_by_its_hash(server: TestServer) {
        let server = server.with_own_group().with_widgets().await;
        let current = own_url(&server).await;
        let (path, _) = current.split_once("?hash=").unwrap();
        let kept = server.get(&current).await;
        assert_eq!((kept.code, header(&kept, "cache-control"), header(&kept, "vary")), (StatusCode::OK, "public, immutable", "Accept"));
        assert!(header(&kept, "expires").ends_with(" GMT") || !server.is_ours(), "{kept:?}");
        let etag = header(&kept, "etag").to_owned();
        assert!(current.ends_with(&format!("?hash={}", etag.trim_matches('"'))), "{etag} {current}");
        let plain = server.get(path).await;
        assert_eq!((plain.code, header(&plain, "cache-control"), header(&plain, "etag")), (StatusCode::OK, "no-cache, private", etag.as_str()));
        let stale = server.get(&format!("{path}?hash=BAD")).await;
        assert_eq!((stale.code, header(&stale, "location")), (StatusCode::MOVED_PERMANENTLY, current.as_str()));
        let known = server.send(http::Method::GET, path, &[("if-none-match", &etag)], "").await;
        assert_eq!((known.code, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
        let protobuf = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
        let answer = server.get_as(path, protobuf).await;
        // Only a real server has that form.
        assert_eq!(answer.code, if server.is_ours() { StatusCode::NOT_ACCEPTABLE } else { StatusCode::OK });
        assert_eq!(server.get_as(path, &format!("{protobuf},application/json;q=0.5")).await.code, StatusCode::OK);
        assert_eq!(server.get("/openapi/v3/apis/none.io/v1").await.code, StatusCode::NOT_FOUND);
    }

    async fn a_document_follows_its_definition(server: TestServer) {
        let server = server.with_own_group().with_widgets().await;
        let before = own_url(&server).await;
        let path = "/spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/fresh";
        let change = json!([{"op": "add", "path": path, "value": {"type": "string", "description": "New."}}]);
        server.json_patch(&server.widgets_definition(), change).await.ok();
        let after = server.soon(async || own_url(&server).await, |after| *after != before).await;
        let document = server.get(&after).await.ok();
        let fresh = &schema_of(&document, &server.group, "v1", "Widget")["properties"]["spec"]["properties"]["fresh"];
        assert_eq!(fresh, &json!({"type": "string", "description": "New."}));
        let moved = server.get(&before).await;
        assert_eq!((moved.code, header(&moved, "location")), (StatusCode::MOVED_PERMANENTLY, after.as_str()));
        // A real server goes on to describe a version that is not served any more.
        if server.is_ours() {
            let unserved = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": false}]);
            server.json_patch(&server.widgets_definition(), unserved).await.ok();
            let other = format!("apis/{}/v1beta1", server.group);
            let index = async || server.get("/openapi/v3").await.ok();
            server.soon(index, |index| url(index, &other).is_none()).await;
        }
        server.delete(&server.widgets_definition()).await.ok();
        let gone = format!("apis/{}/v1", server.group);
        let left = async || url(&server.get("/openapi/v3").await.ok(), &gone);
        server.until(left, Option::is_none).await;
    }
}
