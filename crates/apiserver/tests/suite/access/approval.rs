//! Who approves requests for certificates: the verb `approve` on the signer, beside the write itself.

use serde_json::json;

use super::{RBAC, on_both};
use crate::parts::request;
use crate::support::TestServer;

on_both! {
    async fn a_signers_requests_are_approved_by_who_may_speak_for_it(server: TestServer) {
        let bob = server.user("bob");
        let name = format!("approver-{}", server.namespace);
        let role = |signers: &[&str]| json!({"metadata": {"name": name}, "rules": [
            {"verbs": ["get", "patch"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"]},
            {"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": signers},
        ]});
        let roles = format!("{RBAC}/clusterroles");
        server.post(&roles, role(&["ex.io/other"])).await.ok();
        let binding = json!({
            "metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [{"kind": "User", "name": bob.name}],
        });
        server.post(&format!("{RBAC}/clusterrolebindings"), binding).await.ok();
        let path = request(&server, "ex.io/signer").await;
        bob.gets(&path, 200).await;
        let approval = format!("{path}/approval");
        let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}});
        let refused = bob.merge(&approval, approved.clone()).await;
        assert_eq!(refused.refused().0, 403);
        let message = refused.json()["message"].clone();
        assert!(message.as_str().unwrap().ends_with(": user not permitted to approve requests with signerName \"ex.io/signer\""), "{message}");
        server.put(&format!("{roles}/{name}"), role(&["ex.io/*"])).await.ok();
        server
            .soon(async || bob.merge(&approval, approved.clone()).await.code.as_u16(), |code| *code == 200)
            .await;
        for path in [path, format!("{RBAC}/clusterrolebindings/{name}"), format!("{roles}/{name}")] {
            server.delete(&path).await.ok();
        }
    }
}
