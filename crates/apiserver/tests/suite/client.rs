//! Through `kube::Client`, as the programs above use it.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use serde_json::json;

use crate::on_each_server;
use crate::support::TestServer;

fn instances(server: &TestServer) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(&server.group, "v1", "ServiceInstance");
    Api::namespaced_with(
        server.client(),
        &server.namespace,
        &ApiResource::from_gvk_with_plural(&kind, "serviceinstances"),
    )
}

on_each_server! {
    async fn a_custom_resource_is_served_as_soon_as_its_definition_is_created(server: TestServer) {
        let server = server.with_instances().await;
        let api = instances(&server);
        let made = api
            .create(
                &PostParams::default(),
                &serde_json::from_value(server.instance("a")).unwrap(),
            )
            .await
            .unwrap();
        assert_eq!(made.data["spec"]["planId"], "p");
        let read = api.get("a").await.unwrap();
        assert_eq!(read.metadata.resource_version, made.metadata.resource_version);
        let patch = json!({"metadata": {"resourceVersion": read.metadata.resource_version}, "record": {"operation": null}, "status": {"conditions": []}});
        let patched = api
            .patch(
                "a",
                &PatchParams::apply("osb").validation_strict(),
                &Patch::Merge(patch.clone()),
            )
            .await;
        // `apply` sets only the field manager here.
        let patched = patched.unwrap();
        assert_eq!(patched.data["record"], json!({"epoch": 1, "counter": 1}));
        let stale = api
            .patch("a", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap_err();
        assert!(matches!(stale, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"));
        assert!(api.get_opt("none").await.unwrap().is_none());
    }

    async fn a_watch_shows_what_happens_after_the_list(server: TestServer) {
        let server = server.with_instances().await;
        let api = instances(&server);
        api.create(
            &PostParams::default(),
            &serde_json::from_value(server.instance("a")).unwrap(),
        )
        .await
        .unwrap();
        let list = api.list(&ListParams::default()).await.unwrap();
        assert_eq!(list.items.len(), 1);
        let mut watch = api
            .watch(&WatchParams::default(), &list.metadata.resource_version.unwrap())
            .await
            .unwrap()
            .boxed();
        api.create(
            &PostParams::default(),
            &serde_json::from_value(server.instance("b")).unwrap(),
        )
        .await
        .unwrap();
        api.delete("a", &DeleteParams::default()).await.unwrap();
        api.patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"finalizers": null}})),
        )
        .await
        .unwrap();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(match watch.try_next().await.unwrap().unwrap() {
                WatchEvent::Added(object) => format!("added {}", object.metadata.name.unwrap()),
                WatchEvent::Modified(object) => format!("modified {}", object.metadata.name.unwrap()),
                WatchEvent::Deleted(object) => format!("deleted {}", object.metadata.name.unwrap()),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => panic!("{status:?}"),
            });
        }
        assert_eq!(seen, ["added b", "modified a", "deleted a"]);
    }

    async fn built_in_kinds_have_their_types(server: TestServer) {
        let client = server.client();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &server.namespace);
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"generateName": "m-"}, "data": {"a": "b"}})).unwrap();
        let made = maps.create(&PostParams::default(), &map).await.unwrap();
        assert!(made.metadata.name.unwrap().starts_with("m-"));
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &server.namespace);
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}})).unwrap();
        let made = secrets.create(&PostParams::default(), &secret).await.unwrap();
        assert_eq!(
            (made.type_.as_deref(), made.data.unwrap()["a"].0.as_slice()),
            (Some("Opaque"), b"b".as_slice())
        );
        let namespaces: Api<Namespace> = Api::all(client);
        let names: Vec<String> = namespaces
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .into_iter()
            .filter_map(|namespace| namespace.metadata.name)
            .collect();
        for name in [
            "default",
            "kube-node-lease",
            "kube-public",
            "kube-system",
            &server.namespace,
        ] {
            assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
        }
    }
}
