//! The life of a namespace.

use serde_json::json;

use crate::support::TestServer;
use crate::{on_each_engine, on_each_server};

on_each_server! {
    async fn nothing_new_comes_into_a_namespace_that_is_missing_or_goes(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let elsewhere = instances.replace(&format!("/{}/", server.namespace), "/none/");
        let missing = server.post(&elsewhere, server.instance("a")).await;
        assert_eq!(missing.refused(), (404, "NotFound".into()));
        assert_eq!(missing.json()["details"], json!({"name": "none", "kind": "namespaces"}));
        server.post(&instances, server.instance("a")).await.ok();
        let terminating = server.delete(&server.namespace_path()).await.ok();
        assert_eq!(terminating["status"]["phase"], "Terminating");
        let refused = server.post(&instances, server.instance("b")).await;
        assert_eq!(refused.refused(), (403, "Forbidden".into()));
        assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
        server
            .merge(&format!("{instances}/a"), json!({"record": {"counter": 2}}))
            .await
            .ok();
    }

    async fn a_deleted_namespace_goes_when_its_content_is_gone(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        server.post(&instances, server.instance("a")).await.ok();
        server
            .post(&server.maps(), json!({"metadata": {"name": "m"}}))
            .await
            .ok();
        server.delete(&server.namespace_path()).await.ok();
        server.until_missing(&format!("{}/m", server.maps())).await;
        let remaining = |namespace: &serde_json::Value| {
            let conditions = namespace["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            conditions
                .iter()
                .any(|condition| condition["type"] == "NamespaceFinalizersRemaining" && condition["status"] == "True")
        };
        server
            .until(
                async || server.get(&server.namespace_path()).await.json(),
                |namespace| remaining(namespace),
            )
            .await;
        server
            .merge(&format!("{instances}/a"), json!({"metadata": {"finalizers": null}}))
            .await
            .ok();
        server.until_missing(&server.namespace_path()).await;
        let again = server
            .post("/api/v1/namespaces", json!({"metadata": {"name": server.namespace}}))
            .await
            .ok();
        assert_eq!(again["status"]["phase"], "Active");
        server.post(&instances, server.instance("a")).await.ok();
    }
}

on_each_engine! {
    async fn a_deletion_goes_on_in_the_next_process(server: TestServer) {
        let first = server.with_instances().await;
        let (instances, namespace) = (first.instances(), first.namespace_path());
        first.post(&instances, first.instance("a")).await.ok();
        // The background tasks end, as when the process dies right after the answer.
        first.ours().api.shutdown().await;
        first.delete(&namespace).await.ok();
        first
            .merge(&format!("{instances}/a"), json!({"metadata": {"finalizers": null}}))
            .await
            .ok();
        assert_eq!(first.get(&namespace).await.ok()["status"]["phase"], "Terminating");
        let second = first.beside().await;
        second.until_missing(&namespace).await;
        assert_eq!(second.get(&format!("{instances}/a")).await.code.as_u16(), 404);
    }

    async fn two_servers_on_one_store_see_each_others_namespaces_and_definitions(server: TestServer) {
        let second = server.beside().await;
        let first = server.with_instances().await;
        let instances = first.instances();
        let discovery = format!("/apis/{}/v1", first.group);
        second
            .until(async || second.get(&discovery).await.code.as_u16(), |code| *code == 200)
            .await;
        second.post(&instances, second.instance("a")).await.ok();
        first.delete(&first.namespace_path()).await.ok();
        let refused = second.post(&instances, second.instance("b")).await.refused();
        assert_eq!(
            refused,
            (403, "Forbidden".into()),
            "known at once, by the transaction itself"
        );
    }
}

on_each_server! {
    async fn some_namespaces_stay(server: TestServer) {
        assert_eq!(
            server.delete("/api/v1/namespaces/default").await.refused(),
            (403, "Forbidden".into())
        );
        assert_eq!(
            server.delete("/api/v1/namespaces").await.refused(),
            (405, "MethodNotAllowed".into())
        );
        let active = server
            .get("/api/v1/namespaces?fieldSelector=status.phase%3DActive")
            .await
            .ok();
        let names: Vec<&str> = active["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap())
            .collect();
        assert!(
            names.contains(&"default") && names.contains(&server.namespace.as_str()),
            "{names:?}"
        );
        let others = server
            .get("/api/v1/namespaces?fieldSelector=status.phase!%3DActive,status.phase!%3DTerminating")
            .await
            .ok();
        assert_eq!(others["items"], json!([]));
    }
}
