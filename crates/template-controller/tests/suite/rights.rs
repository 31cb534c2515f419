//! Ways to borrow somebody's rights, none of which leads anywhere.

use http::Method;
use serde_json::{Value, json};
use template_controller::ServiceAccounts;
use template_controller::resources::Outcome;

use crate::places::{Place, on_each_place, send};

fn config(name: &str) -> Value {
    json!({"objects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}]})
}

fn instance(template: Value, requester: Value) -> Value {
    json!({"metadata": {"name": "stolen"}, "spec": {"template": template, "requester": requester}})
}

on_each_place! {
    /// Bug A1: a caller could keep its own name and claim any groups, uid and extra.
    async fn nobody_names_another_requester_or_other_groups(place: Place) {
        let eve = place.client_as("eve", &["dev"]);
        for requester in [
            json!({"username": "root"}),
            json!({"username": "eve", "groups": ["dev", "system:authenticated", "admins"]}),
            json!({"username": "eve", "groups": ["system:masters"]}),
            json!({"username": "eve", "groups": ["dev", "system:authenticated"], "uid": "7"}),
            json!({"username": "eve", "groups": ["dev", "system:authenticated"], "extra": {"scopes": ["all"]}}),
            json!({"username": "eve", "groups": ["dev"]}),
        ] {
            let refused = send(&eve, Method::POST, &place.instances(), Some(&instance(config("a"), requester.clone()))).await;
            let (code, message) = refused.unwrap_err();
            assert_eq!(code, 403, "{requester}: {message}");
            assert!(message.contains("spec.requester is not you"), "{message}");
        }
        let own = json!({"username": "eve", "groups": ["system:authenticated", "dev"]});
        send(&eve, Method::POST, &place.instances(), Some(&instance(config("a"), own))).await.unwrap();
    }

    /// Bug C16: whether something is to be made was decided by how many objects there are; here another one takes the place of one.
    async fn nobody_changes_somebody_elses_instance_under_his_name(place: Place) {
        let _controller = place.start();
        place.grant("edit", "bob").await;
        place.make("mine", config("a"), json!({})).await;
        place.ready("mine").await;
        let bob = place.client_as("bob", &["ops"]);
        let other = json!({"spec": {"template": config("b")}});
        let refused = send(&bob, Method::PATCH, &place.instance("mine"), Some(&other)).await;
        assert_eq!(refused.unwrap_err().0, 403);
        let requester = json!({"spec": {"requester": {"username": "bob"}}});
        let refused = send(&bob, Method::PATCH, &place.instance("mine"), Some(&requester)).await;
        assert_eq!(refused.unwrap_err().0, 403, "with the groups of eve");
        // What is no matter of rights he may change.
        let label = json!({"metadata": {"labels": {"seen": "yes"}}});
        send(&bob, Method::PATCH, &place.instance("mine"), Some(&label)).await.unwrap();
        let own = json!({"username": "bob", "groups": ["ops", "system:authenticated"], "uid": null, "extra": null});
        let patch = json!({"spec": {"template": config("b"), "requester": own}});
        send(&bob, Method::PATCH, &place.instance("mine"), Some(&patch)).await.unwrap();
        place.ready("mine").await;
        assert!(place.get(&format!("{}/b", place.core("configmaps"))).await.is_some());
        assert!(place.get(&format!("{}/a", place.core("configmaps"))).await.is_none());
    }

    async fn kubernetes_itself_is_never_impersonated(place: Place) {
        let _controller = place.start();
        let account = format!("system:serviceaccount:{}:robot", place.name);
        for (at, requester) in [
            json!({"username": "system:admin"}),
            json!({"username": "eve", "groups": ["system:masters"]}),
            json!({"username": account}),
        ].into_iter().enumerate() {
            // The administrator may name anybody.
            let mut instance = instance(config("a"), requester);
            instance["metadata"]["name"] = json!(format!("i{at}"));
            send(&place.client(), Method::POST, &place.instances(), Some(&instance)).await.unwrap();
            let message = Place::failure(place.outcome(&format!("i{at}")).await);
            assert!(message.contains("the requester"), "{message}");
        }
        assert_eq!(place.get(&format!("{}/a", place.core("configmaps"))).await, None);
    }

    async fn a_service_account_may_be_allowed(place: Place) {
        let mut options = place.options();
        options.service_accounts = ServiceAccounts::Allowed;
        let _controller = place.start_with(options);
        let account = format!("system:serviceaccount:{}:robot", place.name);
        place.grant("edit", &account).await;
        let instance = instance(config("a"), json!({"username": account}));
        send(&place.client(), Method::POST, &place.instances(), Some(&instance)).await.unwrap();
        place.ready("stolen").await;
    }

    /// Bug C14: objects were made as a cluster-wide administrator.
    async fn objects_are_made_with_the_rights_of_the_requester(place: Place) {
        let _controller = place.start();
        let other = format!("{}-x", place.name);
        place.put("/api/v1/namespaces", json!({"metadata": {"name": other}})).await;
        let role = |kind: &str, name: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]});
        let templates = [
            ("elsewhere", json!({"parameters": [{"name": "NS", "value": other}], "objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "${NS}"}}]}),
                format!("cannot create resource \"configmaps\" in API group \"\" in the namespace {other:?}")),
            ("binding", json!({"objects": [role("RoleBinding", "grab")]}), "cannot create resource \"rolebindings\"".to_owned()),
            ("cluster", json!({"objects": [role("ClusterRoleBinding", "grab")]}), "at the cluster scope".to_owned()),
            ("storage", json!({"objects": [{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "s"},
                "provisioner": "p"}]}), "cannot create resource \"storageclasses\"".to_owned()),
        ];
        for (name, template, expected) in templates {
            place.make(name, template, json!({})).await;
            let message = Place::failure(place.outcome(name).await);
            assert!(message.starts_with("unable to authorize user to create"), "{message}");
            assert!(message.contains(&expected), "{message}");
        }
        // An administrator of the namespace may bind roles there, but none with more than he has.
        let admin = format!("adam-{}", place.name);
        place.grant("admin", &admin).await;
        let mut small = role("RoleBinding", "small");
        small["roleRef"]["name"] = json!("view");
        place.try_make(&admin, "small", json!({"objects": [small]}), json!({})).await.unwrap();
        place.ready("small").await;
        place.try_make(&admin, "large", json!({"objects": [role("RoleBinding", "large")]}), json!({})).await.unwrap();
        let message = Place::failure(place.outcome("large").await);
        assert!(message.contains("attempting to grant RBAC permissions not currently held"), "{message}");
    }

    async fn a_viewer_neither_makes_nor_deletes_and_only_the_controller_writes_status(place: Place) {
        place.grant("view", "vic").await;
        place.make("mine", config("a"), json!({})).await;
        let vic = place.client_as("vic", &[]);
        let made = send(&vic, Method::POST, &place.instances(), Some(&instance(config("a"), Value::Null))).await;
        assert_eq!(made.unwrap_err().0, 403);
        assert_eq!(send(&vic, Method::DELETE, &place.instance("mine"), None).await.unwrap_err().0, 403);
        let eve = place.client_as("eve", &["dev"]);
        let status = json!({"status": {"objects": []}});
        let path = format!("{}/status", place.instance("mine"));
        assert_eq!(send(&eve, Method::PATCH, &path, Some(&status)).await.unwrap_err().0, 403);
    }

    /// The values of parameters are read as the requester, and kept so that nobody else can put others there.
    async fn values_come_from_the_requester_and_stay_what_they_are(place: Place) {
        let user = format!("ann-{}", place.name);
        let rules = json!([
            {"apiGroups": ["template.openshift.io"], "resources": ["templateinstances"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]);
        let api = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", place.name);
        place.put(&format!("{api}/roles"), json!({"metadata": {"name": "ann"}, "rules": rules})).await;
        place.put(&format!("{api}/rolebindings"), json!({"metadata": {"name": "ann"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ann"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})).await;
        let controller = place.start();
        place.try_make(&user, "hers", config("a"), json!({"NAME": "x"})).await.unwrap();
        let message = Place::failure(place.outcome("hers").await);
        assert!(message.starts_with("unable to authorize user to get secrets"), "{message}");

        let template = json!({"parameters": [{"name": "P", "generate": "expression", "from": "[a-z]{20}"}], "objects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p",
             "annotations": {"template.osb.internal/ready-when": "{.data.go}=yes"}}, "data": {"p": "${P}"}}]});
        place.make("mine", template, json!({})).await;
        place.until("it waits", async || place.get(&format!("{}/p", place.core("configmaps"))).await).await;
        let kept = place.until("values are kept", async || place.read("mine").await.status.unwrap().values).await;
        controller.end().await;
        let path = format!("{}/{}", place.core("secrets"), kept.name);
        let mut secret = place.get(&path).await.unwrap();
        let changed = send(&place.client(), Method::PATCH, &path, Some(&json!({"data": {"P": "eA=="}}))).await;
        assert_eq!(changed.unwrap_err().0, 422);
        place.delete(&path).await;
        for member in ["uid", "resourceVersion", "creationTimestamp"] {
            secret["metadata"].as_object_mut().unwrap().remove(member);
        }
        secret["data"]["P"] = json!("eA==");
        place.put(&place.core("secrets"), secret).await;
        let _controller = place.start();
        let message = Place::failure(place.outcome("mine").await);
        assert!(message.contains("is gone or was replaced"), "{message}");
    }
}

/// On a cluster nothing is made for requesters whom nobody has checked.
#[tokio::test]
async fn without_the_policy_nothing_is_made() {
    let place = Place::embedded().await;
    let mut options = place.options();
    options.proof = template_controller::Proof::policy();
    let controller = place.start_with(options.clone());
    place.make("mine", config("a"), json!({})).await;
    let message = Place::failure(place.outcome("mine").await);
    assert!(
        message.contains("templateinstance-requester.template.osb.internal is not there"),
        "{message}"
    );
    controller.end().await;

    // What is older than the policy is not proven by it.
    place.make("older", config("a"), json!({})).await;
    let paths = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
    for (plural, object) in paths.into_iter().zip(template_controller::proof::policy()) {
        place
            .put(&format!("/apis/admissionregistration.k8s.io/v1/{plural}"), object)
            .await;
    }
    let _controller = place.start_with(options);
    let message = Place::failure(place.outcome("older").await);
    assert!(message.contains("is not younger than the policy"), "{message}");
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    place.make("younger", config("a"), json!({})).await;
    assert_eq!(place.outcome("younger").await, Outcome::Ready);
}
