//! Parts of built-in kinds with a path of their own: the approval of a request for a certificate, the ephemeral containers of
//! a pod.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::on_each_server;
use super::support::TestServer;

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// A request for a certificate (PKCS #10, PEM) in base64.
const REQUEST: &str = concat!(
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIT01IVUNBUUF3RXpFUk1BOEdBMVVFQXd3SWMyOXRaV0p2Wkhr",
    "d1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqTwpQUU1CQndOQ0FBUnlOdEFYckY0azJLaS8wU0NrQXhXZU5RZXRkQmZxV09PUFRlZFMw",
    "UEtob0JiYmo0aXpic0Z3CitMMGdrTS9NVVB1U093NGpPSmk3NlNCUTF3dDJyYVlBb0FBd0NnWUlLb1pJemowRUF3SURTUUF3UmdJ",
    "aEFPMmUKZGRIYURTTlkrMWMwU0FTU2FycnNmSWxuVjNyWFJIbTE0bkJoekdvVkFpRUE2YUJUdzRqYTFLcEdLWi8xZnNqMwp2akQr",
    "Yi9wM2pLVGpLQzJuT0QwSTM5RT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==",
);

/// What comes of a request of this signer.
pub(crate) async fn request(server: &TestServer, signer: &str) -> String {
    let name = format!("r-{}", server.namespace);
    let request = json!({
        "metadata": {"name": name},
        "spec": {"request": REQUEST, "signerName": signer, "usages": ["client auth"]},
    });
    server.post(REQUESTS, request).await.ok();
    format!("{REQUESTS}/{name}")
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Because", "message": "m"})
}

fn conditions(list: &[Value]) -> Value {
    json!({"status": {"conditions": list, "certificate": "AA=="}, "spec": {"signerName": "ex.io/other"}})
}

on_each_server! {
    /// Only the conditions are changed there, and what was decided stays.
    async fn a_certificate_is_approved(server: TestServer) {
        let path = request(&server, "ex.io/signer").await;
        let approval = format!("{path}/approval");
        let refused = server.merge(&approval, conditions(&[condition("Approved", "False")])).await;
        assert_eq!(refused.refused(), (422, "Invalid".to_owned()));
        let both = [condition("Approved", "True"), condition("Denied", "True")];
        assert_eq!(server.merge(&approval, conditions(&both)).await.code, StatusCode::UNPROCESSABLE_ENTITY);
        let approved = server.merge(&approval, conditions(&[condition("Approved", "True")])).await.ok();
        assert_eq!(approved["spec"]["signerName"], "ex.io/signer");
        assert_eq!(approved["status"]["certificate"], Value::Null);
        let first = &approved["status"]["conditions"][0];
        assert!(first["lastUpdateTime"].is_string() && first["lastTransitionTime"].is_string(), "{first}");
        let undone = server.merge(&approval, conditions(&[])).await;
        assert_eq!(undone.refused(), (422, "Invalid".to_owned()));
        assert_eq!(
            undone.json()["details"]["causes"][0]["message"],
            "Forbidden: updates may not remove a condition of type \"Approved\""
        );
        assert_eq!(server.get(&approval).await.ok(), server.get(&path).await.ok());
        assert_eq!(server.delete(&approval).await.code, StatusCode::METHOD_NOT_ALLOWED);
        server.delete(&path).await.ok();
    }

    /// They are only ever added, and nothing else is changed on their way.
    async fn a_pod_gets_ephemeral_containers(server: TestServer) {
        let pods = format!("{}/pods", server.namespace_path());
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
        server.post(&pods, pod).await.ok();
        let (whole, part) = (format!("{pods}/p"), format!("{pods}/p/ephemeralcontainers"));
        let container = |name: &str| json!({"name": name, "image": "busybox"});
        let with = |list: &[Value]| json!({"metadata": {"labels": {"a": "b"}}, "spec": {"ephemeralContainers": list, "nodeName": "n"}});
        let direct = server.merge(&whole, json!({"spec": {"ephemeralContainers": [container("d")]}})).await;
        assert_eq!(direct.refused(), (422, "Invalid".to_owned()));
        let made = server.merge(&part, with(&[container("d")])).await.ok();
        assert_eq!(made["spec"]["ephemeralContainers"][0]["terminationMessagePath"], "/dev/termination-log");
        assert_eq!((&made["metadata"]["labels"], &made["spec"]["nodeName"]), (&Value::Null, &Value::Null));
        let strategic = server
            .send(Method::PATCH, &part, &[("content-type", STRATEGIC)], with(&[container("e")]).to_string())
            .await.ok();
        assert_eq!(strategic["spec"]["ephemeralContainers"].as_array().unwrap().len(), 2);
        for wrong in [
            vec![container("d")],
            vec![],
            vec![container("d"), container("e"), container("c")],
            vec![container("d"), container("e"), json!({"name": "f", "image": "i", "ports": [{"containerPort": 80}]})],
            vec![container("d"), container("e"), json!({"name": "f", "image": "i", "targetContainerName": "none"})],
        ] {
            let told = server.merge(&part, with(&wrong)).await;
            assert_eq!(told.refused(), (422, "Invalid".to_owned()), "{wrong:?}");
        }
        assert_eq!(server.get(&part).await.ok(), server.get(&whole).await.ok());
    }
}
