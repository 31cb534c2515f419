//! Requests that are wrong, or that nobody may send.

use apiserver::UserInfo;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{TestServer, read};
use crate::{on_each_engine, on_each_server};

on_each_server! {
    async fn what_is_not_there_is_told_apart(server: TestServer) {
        let server = server.with_instances().await;
        for path in [
            "/nothing",
            "/apis/none.io/v1",
            "/apis/none.io/v1/things",
            &format!("/apis/{}/v2/serviceinstances", server.group),
            "/apis/v1",
            "/livez/none",
        ] {
            let answer = server.get(path).await;
            assert_eq!(
                (answer.code.as_u16(), answer.headers["content-type"].to_str().unwrap()),
                (404, "text/plain; charset=utf-8"),
                "{path}"
            );
        }
        for path in [
            "/api/v1/things",
            "/api/v2",
            "/api/v2/things",
            "/apis/coordination.k8s.io/v9",
            "/apis/coordination.k8s.io/v9/leases",
            "/api/v1/namespaces/default/configmaps/a/status",
            "/apis/coordination.k8s.io/v1/things",
        ] {
            assert_eq!(server.get(path).await.refused(), (404, "NotFound".into()), "{path}");
        }
        let maps = server.maps();
        for (method, path) in [
            (Method::PUT, maps.as_str()),
            (Method::POST, "/api/v1/configmaps"),
            (Method::DELETE, "/api/v1/configmaps"),
            (Method::POST, "/api/v1/namespaces/default/configmaps/a"),
            (Method::OPTIONS, &maps),
        ] {
            assert_eq!(
                server.send(method, path, &[], "{}").await.refused(),
                (405, "MethodNotAllowed".into()),
                "{path}"
            );
        }
    }

    async fn wrong_bodies_are_refused(server: TestServer) {
        let server = server.with_instances().await;
        let instances = server.instances();
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        for body in [
            "",
            "{",
            "[]",
            "1",
            "\u{0}",
            "{\"metadata\":5}",
            "{\"metadata\":{\"name\":5}}",
            deep.as_str(),
            "{\"metadata\":{\"labels\":[1]}}",
        ] {
            for path in [&server.maps(), &instances] {
                assert_eq!(
                    server.send(Method::POST, path, &[], body.to_owned()).await.refused(),
                    (400, "BadRequest".into()),
                    "{path} {body:.40}"
                );
            }
        }
        let not_text = server
            .send(
                Method::POST,
                &server.maps(),
                &[],
                vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'],
            )
            .await;
        // A real server reads bytes that are no text as U+FFFD, and then misses a name.
        assert_eq!(not_text.refused().0, if server.is_ours() { 400 } else { 422 });
        let mut wrong = server.instance("a");
        wrong["spec"]["planId"] = json!(5);
        let refused = server.post(&instances, wrong).await;
        assert_eq!(refused.refused(), (422, "Invalid".into()));
        assert_eq!(refused.json()["details"]["causes"][0]["field"], "spec.planId");
        let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
        let no_protobuf = server.send(Method::POST, &server.maps(), &protobuf, "{}").await;
        assert_eq!(no_protobuf.refused(), (400, "BadRequest".into()));
        let plain = [("content-type", "text/plain")];
        let no_object = server.send(Method::POST, &server.maps(), &plain, "{}").await;
        assert_eq!(no_object.refused(), (415, "UnsupportedMediaType".into()));
        let strategic = "application/strategic-merge-patch+json";
        for media in [strategic] {
            server.post(&instances, server.instance("p")).await;
            assert_eq!(
                server
                    .send(
                        Method::PATCH,
                        &format!("{instances}/p"),
                        &[("content-type", media)],
                        "{}"
                    )
                    .await
                    .refused()
                    .0,
                415
            );
        }
        assert_eq!(server.get("/api/v1/namespaces/%zz/configmaps").await.code.as_u16(), 400);
        assert_eq!(server.get("/api/v1/namespaces/a%2Fb/configmaps").await.refused().0, 404);
    }

    async fn yaml_goes_in_and_comes_out(server: TestServer) {
        let maps = server.maps();
        server
            .yaml(&maps, "kind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: \"0644\"\n")
            .await
            .ok();
        let answer = server.get_as(&format!("{maps}/a"), "application/yaml").await;
        assert_eq!(answer.headers["content-type"], "application/yaml");
        assert!(
            String::from_utf8_lossy(&answer.body).contains("k: \"0644\""),
            "{:?}",
            answer.body
        );
    }
}

on_each_engine! {
    async fn only_masters_may_do_anything(server: TestServer) {
        let maps = server.maps();
        let send = |user: UserInfo, path: &str| {
            let service = server.ours().api.service_as(user);
            let path = path.to_owned();
            async move {
                read(
                    service
                        .oneshot(Request::get(path).body(Full::<bytes::Bytes>::default()).unwrap())
                        .await
                        .unwrap(),
                )
                .await
            }
        };
        for path in [maps.as_str(), "/api", "/apis", "/metrics", "/"] {
            assert_eq!(
                send(UserInfo::new("bob", ["dev"]), path).await.refused(),
                (403, "Forbidden".into()),
                "{path}"
            );
        }
        for path in ["/livez", "/readyz", "/healthz", "/version"] {
            assert_eq!(send(UserInfo::anonymous(), path).await.code.as_u16(), 200, "{path}");
        }
        assert_eq!(
            send(UserInfo::new("carol", [apiserver::MASTERS]), &maps)
                .await
                .code
                .as_u16(),
            200
        );
    }
}

on_each_server! {
    async fn a_taken_generated_name_is_tried_again(server: TestServer) {
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let made = server
                .post(&server.maps(), json!({"metadata": {"generateName": "g-"}}))
                .await
                .ok();
            assert!(names.insert(made["metadata"]["name"].as_str().unwrap().to_owned()));
        }
        assert_eq!(
            server.post(&server.maps(), json!({"metadata": {}})).await.refused(),
            (422, "Invalid".into())
        );
    }
}

on_each_engine! {
    async fn health_can_be_looked_at_in_detail(server: TestServer) {
        let verbose = server.get("/readyz?verbose").await;
        assert_eq!(
            String::from_utf8_lossy(&verbose.body),
            "[+]ping ok\n[+]store ok\n[+]informer-sync ok\n[+]shutdown ok\nreadyz check passed\n"
        );
        assert_eq!(server.get("/livez/store").await.body.as_ref(), b"ok");
        server.ours().store.close().await.unwrap();
        assert_eq!(server.get("/livez").await.code.as_u16(), 500);
        assert_eq!(server.get("/livez?exclude=store").await.code.as_u16(), 200);
        assert_eq!(
            server.get(&server.maps()).await.refused(),
            (503, "ServiceUnavailable".into())
        );
    }
}
