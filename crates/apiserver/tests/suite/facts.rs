//! What was observed on a real API server about the objects of a broker, played again.

use http::Method;
use serde_json::{Value, json};

use crate::on_each_server;
use crate::support::{DEFINITIONS, Events, TestServer};

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

async fn three(server: &TestServer) {
    let instances = server.instances();
    for name in ["a", "b", "c"] {
        server.post(&instances, server.instance(name)).await.ok();
    }
    // b has settled.
    server
        .merge(&format!("{instances}/b"), json!({"record": {"operation": null}}))
        .await
        .ok();
}

on_each_server! {
    async fn the_busy_are_selected_and_an_absent_field_is_empty(server: TestServer) {
        // The group is its own, because it looks at all namespaces.
        let server = server.with_own_group().with_instances().await;
        let instances = server.instances();
        three(&server).await;
        for (selector, expected) in [
            ("record.operation.id!%3D", vec!["a", "c"]),
            ("record.operation.id%3D", vec!["b"]),
            ("record.operation.id%3Dop-c", vec!["c"]),
            ("spec.planId%3Dp", vec!["a", "b", "c"]),
            ("spec.planId%3Dp,spec.instanceId%3Db", vec!["b"]),
            ("spec.instanceId%3Dnone", vec![]),
            ("metadata.name%3Da", vec!["a"]),
            ("metadata.name!%3Da,record.operation.id!%3D", vec!["c"]),
        ] {
            assert_eq!(
                names(&server.get(&format!("{instances}?fieldSelector={selector}")).await.ok()),
                expected,
                "{selector}"
            );
            let all = server
                .get(&format!(
                    "/apis/{}/v1/serviceinstances?fieldSelector={selector}",
                    server.group
                ))
                .await
                .ok();
            assert_eq!(names(&all), expected, "{selector} in all namespaces");
        }
        assert_eq!(
            server
                .get(&format!("{instances}?fieldSelector=spec.digest%3Dx"))
                .await
                .refused(),
            (400, "BadRequest".into())
        );
        assert_eq!(
            server
                .get(&format!("{instances}?fieldSelector=spec.planId%3Ep"))
                .await
                .refused()
                .0,
            400
        );
    }

    async fn an_indexed_list_comes_in_pages_of_one_revision(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        for number in 0..7 {
            server
                .post(&instances, server.instance(&format!("i{number}")))
                .await
                .ok();
        }
        let path = format!("{instances}?fieldSelector=record.operation.id!%3D&limit=3");
        let first = server.get(&path).await.ok();
        assert_eq!(names(&first), ["i0", "i1", "i2"]);
        // What happens meanwhile does not show.
        server
            .merge(&format!("{instances}/i4"), json!({"record": {"operation": null}}))
            .await
            .ok();
        server.post(&instances, server.instance("i55")).await.ok();
        let token = first["metadata"]["continue"].as_str().unwrap();
        let second = server.get(&format!("{path}&continue={token}")).await.ok();
        assert_eq!(names(&second), ["i3", "i4", "i5"]);
        assert_eq!(
            second["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        let token = second["metadata"]["continue"].as_str().unwrap();
        let third = server.get(&format!("{path}&continue={token}")).await.ok();
        assert_eq!(names(&third), ["i6"]);
        assert_eq!(third["metadata"]["continue"], "");
    }

    async fn a_field_selected_watch_sees_objects_come_and_go(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let mut watch = Events::of(
            server
                .open(
                    Method::GET,
                    &format!("{instances}?watch=1&fieldSelector=record.operation.id!%3D"),
                    &[],
                    "",
                )
                .await,
        );
        let path = format!("{instances}/a");
        server.post(&instances, server.instance("a")).await.ok();
        server
            .merge(&path, json!({"record": {"operation": {"progress": "half"}}}))
            .await
            .ok();
        let settled = server.merge(&path, json!({"record": {"operation": null}})).await.ok();
        server
            .merge(&path, json!({"metadata": {"labels": {"x": "y"}}}))
            .await
            .ok();
        server.delete(&path).await.ok();
        server
            .merge(
                &path,
                json!({"record": {"operation": {"id": "op2", "verb": "Deprovision"}}}),
            )
            .await
            .ok();
        assert_eq!(watch.change().await.0, "ADDED");
        assert_eq!(watch.change().await.0, "MODIFIED");
        let gone = watch.next().await.unwrap();
        assert_eq!(gone["type"], "DELETED");
        assert_eq!(
            gone["object"]["record"]["operation"]["progress"], "half",
            "the previous content"
        );
        assert_eq!(
            gone["object"]["metadata"]["resourceVersion"], settled["metadata"]["resourceVersion"],
            "the new revision"
        );
        let back = watch.next().await.unwrap();
        assert_eq!(
            (
                back["type"].as_str(),
                back["object"]["record"]["operation"]["id"].as_str()
            ),
            (Some("ADDED"), Some("op2"))
        );
    }

    async fn only_simple_fields_of_text_number_and_boolean_are_selectable(server: TestServer) {
        let definition = |path: &str, count: usize| {
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("things.{}", server.group)},
                "spec": {"group": server.group, "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [{
                    "name": "v1", "served": true, "storage": true, "selectableFields": vec![json!({"jsonPath": path}); count],
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "s": {"type": "string"}, "n": {"type": "number"}, "l": {"type": "array", "items": {"type": "string"}},
                    }}}}},
                }]},
            })
        };
        for (path, count) in [
            (".spec.n", 1),
            (".spec.l", 1),
            (".spec", 1),
            (".spec.l[0]", 1),
            (".metadata.name", 1),
            (".spec.s", 9),
        ] {
            assert_eq!(
                server.post(DEFINITIONS, definition(path, count)).await.refused(),
                (422, "Invalid".into()),
                "{path}"
            );
        }
    }

    async fn a_status_subresource_splits_the_writes(server: TestServer) {
        let server = server.with_widgets().await;
        let path = server.widgets();
        let widget = |size: i64| {
            let mut widget = server.widget("a");
            widget["spec"]["size"] = json!(size);
            widget["status"] = json!({"phase": "X"});
            widget
        };
        let made = server.post(&path, widget(3)).await.ok();
        assert_eq!(made.get("status"), None);
        let part = format!("{path}/a/status");
        let patched = server.merge(&part, json!({"spec": {"size": 9}, "status": {"phase": "Y"}, "metadata": {"labels": {"l": "1"}, "finalizers": ["ex.io/f"]}})).await.ok();
        assert_eq!(
            (
                &patched["spec"]["size"],
                &patched["status"]["phase"],
                patched["metadata"].get("labels")
            ),
            (&json!(3), &json!("Y"), None)
        );
        assert_eq!(patched["metadata"]["generation"], 1);
        let same = server
            .merge(&part, json!({"metadata": {"labels": {"l": "1"}}}))
            .await
            .ok();
        assert_eq!(
            same["metadata"]["resourceVersion"],
            patched["metadata"]["resourceVersion"]
        );
        let main = server
            .merge(&format!("{path}/a"), json!({"status": {"phase": "Z"}}))
            .await
            .ok();
        assert_eq!(
            main["metadata"]["resourceVersion"],
            patched["metadata"]["resourceVersion"]
        );
        // Stale and missing revisions.
        let mut stale = patched.clone();
        stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
        assert_eq!(
            server.put(&part, stale.clone()).await.refused(),
            (409, "Conflict".into())
        );
        assert_eq!(
            server
                .merge(
                    &part,
                    json!({"metadata": {"resourceVersion": stale["metadata"]["resourceVersion"]}})
                )
                .await
                .refused()
                .0,
            409
        );
        assert_eq!(
            server
                .json_patch(
                    &part,
                    json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}])
                )
                .await
                .refused(),
            (422, "Invalid".into())
        );
        assert_eq!(
            server.put(&format!("{path}/a"), widget(3)).await.refused(),
            (422, "Invalid".into())
        );
        for odd in [json!(""), json!("0"), Value::Null] {
            assert_eq!(
                server
                    .merge(&format!("{path}/a"), json!({"metadata": {"resourceVersion": odd}}))
                    .await
                    .refused()
                    .0,
                422,
                "{odd}"
            );
        }
        assert_eq!(
            server.merge(&part, json!({"metadata": {"uid": "other"}})).await.code,
            200
        );
        assert_eq!(
            server
                .merge(&format!("{path}/a"), json!({"metadata": {"uid": "other"}}))
                .await
                .refused(),
            (422, "Invalid".into())
        );
    }

    async fn without_a_status_subresource_one_patch_changes_everything(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let made = server.post(&instances, server.instance("a")).await.ok();
        assert_eq!(server.get(&format!("{instances}/a/status")).await.refused().0, 404);
        let patch = json!({"metadata": {"labels": {"l": "1"}, "finalizers": null}, "spec": {"planId": "q"}, "record": {"operation": null}, "status": {"conditions": []}});
        let patched = server.merge(&format!("{instances}/a"), patch).await.ok();
        assert_eq!(patched["spec"]["planId"], "q");
        assert_eq!(patched["status"], json!({"conditions": []}));
        assert_eq!(
            (
                made["metadata"]["generation"].as_i64(),
                patched["metadata"]["generation"].as_i64()
            ),
            (Some(1), Some(2))
        );
    }

    async fn a_finalizer_holds_an_object_until_it_is_taken_off(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let path = format!("{instances}/a");
        let made = server.post(&instances, server.instance("a")).await.ok();
        let marked = server.delete(&path).await.ok();
        assert_eq!(
            (marked["kind"].as_str(), marked["metadata"]["generation"].as_i64()),
            (Some("ServiceInstance"), Some(2))
        );
        let again = server.delete(&path).await.ok();
        assert_eq!(
            again["metadata"]["resourceVersion"],
            marked["metadata"]["resourceVersion"]
        );
        let old =
            json!({"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "record": {"counter": 2}});
        assert_eq!(server.merge(&path, old).await.refused(), (409, "Conflict".into()));
        assert_eq!(server.merge(&path, json!({"record": {"counter": 2}})).await.code, 200);
        assert_eq!(
            server
                .merge(
                    &path,
                    json!({"metadata": {"finalizers": ["osb.internal/deprovision", "ex.io/new"]}})
                )
                .await
                .refused()
                .0,
            422
        );
        let kept = server
            .merge(&path, json!({"metadata": {"deletionTimestamp": null}}))
            .await
            .ok();
        assert_eq!(
            kept["metadata"]["deletionTimestamp"],
            marked["metadata"]["deletionTimestamp"]
        );
        let taken = server.post(&instances, server.instance("a")).await;
        assert_eq!(taken.refused(), (409, "AlreadyExists".into()));
        assert!(
            taken.json()["message"]
                .as_str()
                .unwrap()
                .starts_with("object is being deleted")
        );
        let stale = json!({"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "finalizers": null}});
        assert_eq!(server.merge(&path, stale).await.refused().0, 409);
        let current = json!({"metadata": {"resourceVersion": kept["metadata"]["resourceVersion"], "finalizers": null}});
        assert_eq!(server.merge(&path, current).await.code, 200);
        assert_eq!(server.get(&path).await.refused(), (404, "NotFound".into()));
        server.post(&instances, server.instance("a")).await.ok();
        for precondition in [
            json!({"uid": made["metadata"]["uid"]}),
            json!({"resourceVersion": made["metadata"]["resourceVersion"]}),
        ] {
            let refused = server.delete_with(&path, json!({"preconditions": precondition})).await;
            assert_eq!(refused.refused(), (409, "Conflict".into()));
            assert_eq!(refused.json()["details"]["kind"], "ServiceInstance");
        }
    }

    async fn a_collection_is_deleted_by_label(server: TestServer) {
        let path = server.maps();
        for (name, hour) in [("a", "495048"), ("b", "495049"), ("c", "495051")] {
            server
                .post(
                    &path,
                    json!({"metadata": {"name": name, "labels": {"osb.internal/expires": hour}}}),
                )
                .await
                .ok();
        }
        let deleted = server
            .delete(&format!("{path}?labelSelector=osb.internal/expires%3C495050"))
            .await
            .ok();
        assert_eq!(names(&deleted), ["a", "b"]);
        assert_eq!(names(&server.get(&path).await.ok()), ["c"]);
    }

    async fn a_claim_with_the_epoch_that_stands_there_fences_nobody(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let path = format!("{instances}/a");
        let made = server.post(&instances, server.instance("a")).await.ok();
        let revision = &made["metadata"]["resourceVersion"];
        let same = server
            .merge(
                &path,
                json!({"metadata": {"resourceVersion": revision}, "record": {"epoch": 1}}),
            )
            .await
            .ok();
        assert_eq!(&same["metadata"]["resourceVersion"], revision);
        server
            .merge(
                &path,
                json!({"metadata": {"resourceVersion": revision}, "record": {"epoch": 2}}),
            )
            .await
            .ok();
        assert_eq!(
            server
                .merge(
                    &path,
                    json!({"metadata": {"resourceVersion": revision}, "record": {"operation": null}})
                )
                .await
                .refused()
                .0,
            409
        );
        let guarded = json!([{"op": "test", "path": "/record/epoch", "value": 2}, {"op": "replace", "path": "/record/counter", "value": 7}]);
        server
            .merge(&path, json!({"metadata": {"annotations": {"by": "somebody"}}}))
            .await
            .ok();
        assert_eq!(
            server.json_patch(&path, guarded.clone()).await.ok()["record"]["counter"],
            7
        );
        server.merge(&path, json!({"record": {"epoch": 3}})).await.ok();
        assert_eq!(server.json_patch(&path, guarded).await.refused().0, 422);
    }

    async fn odd_ids_come_back_unchanged_and_are_found_by_a_selector(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let long = "x".repeat(1000);
        for (number, id) in [
            "a/b",
            "A:B",
            "..",
            "nul\0",
            "quo\"te",
            "com,ma=back\\slash",
            " ",
            long.as_str(),
            "ü",
        ]
        .into_iter()
        .enumerate()
        {
            let mut object = server.instance(&format!("i{number}"));
            object["spec"]["instanceId"] = json!(id);
            assert_eq!(server.post(&instances, object).await.ok()["spec"]["instanceId"], id);
            let escaped: String = apimachinery::field_selector::escape(id)
                .bytes()
                .map(|byte| format!("%{byte:02X}"))
                .collect();
            let found = server
                .get(&format!("{instances}?fieldSelector=spec.instanceId%3D{escaped}"))
                .await
                .ok();
            assert_eq!(names(&found), [format!("i{number}")], "{id:?}");
        }
    }

    async fn an_object_that_is_too_large_is_refused(server: TestServer) {
        let path = format!("{}/events", server.namespace_path());
        let event = |size: usize| json!({"metadata": {"name": format!("e{size}")}, "involvedObject": {"namespace": server.namespace}, "message": "x".repeat(size)});
        assert_eq!(server.post(&path, event(1_500_000)).await.code, 201);
        // There the limit is that of etcd, which has no reason of the API.
        let refusal = if server.is_ours() {
            (413, "RequestEntityTooLarge".into())
        } else {
            (500, String::new())
        };
        assert_eq!(server.post(&path, event(1_600_000)).await.refused(), refusal);
        assert_eq!(
            server.post(&path, event(3_200_000)).await.refused(),
            (413, "RequestEntityTooLarge".into())
        );
        let map = json!({"metadata": {"name": "m"}, "data": {"a": "x".repeat(1_048_577)}});
        assert_eq!(server.post(&server.maps(), map).await.refused().0, 422);
    }

    async fn metadata_alone_is_served_on_lists_watches_and_writes(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let headers = [("accept", partial), ("content-type", "application/json")];
        let made = server
            .send(Method::POST, &instances, &headers, server.instance("a").to_string())
            .await
            .ok();
        assert_eq!(
            (
                made["kind"].as_str(),
                made.get("spec"),
                made["metadata"]["name"].as_str()
            ),
            (Some("PartialObjectMetadata"), None, Some("a"))
        );
        let list = server
            .get_as(
                &instances,
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            )
            .await
            .ok();
        assert_eq!(
            (list["kind"].as_str(), list["apiVersion"].as_str(), names(&list)),
            (Some("PartialObjectMetadataList"), Some("meta.k8s.io/v1"), vec!["a"])
        );
        let mut watch = Events::of(
            server
                .open(Method::GET, &format!("{instances}?watch=1"), &[("accept", partial)], "")
                .await,
        );
        let event = watch.next().await.unwrap();
        assert_eq!(
            event["object"],
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]})
        );
    }
}
