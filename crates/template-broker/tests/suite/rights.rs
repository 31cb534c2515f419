//! Whose rights count.

use http::Method;
use osb_sdk::Reply;
use serde_json::json;

use crate::life::DATABASE;
use crate::mall::{Mall, SHOP, TEMPLATES, Users, text};

fn said(reply: &Reply) -> String {
    text(&reply.body["description"])
}

async fn mall() -> Mall {
    Mall::with(&[DATABASE], Users::Named, |options| options).await
}

#[tokio::test]
async fn a_user_makes_instances_where_he_may() {
    let mut mall = mall().await;
    let owner = json!({"OWNER": "me"});
    let nobody = mall.provision_in(SHOP, "a", "database", owner.clone()).await;
    assert_eq!(nobody.status, 403);
    assert!(said(&nobody).contains("names no user"), "{nobody:?}");
    mall.as_user("bob", &[]);
    let refused = mall.provision_in(SHOP, "a", "database", owner.clone()).await;
    assert_eq!(refused.status, 403);
    assert!(
        said(&refused).contains("\"bob\" may not create templateinstances"),
        "{refused:?}"
    );
    mall.as_user("ann", &["dev"]);
    let made = mall.provision_in(SHOP, "a", "database", owner.clone()).await;
    let made = mall.ended("a", made).await;
    assert!(matches!(made.status, 200 | 201), "{made:?}");
    let path = format!("/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/a");
    let requester = mall.get(&path).await.expect("an instance")["spec"]["requester"].clone();
    assert_eq!(
        requester,
        json!({"username": "ann", "uid": "uid-of-ann", "groups": ["dev"]})
    );
    let elsewhere = mall.provision_in("office", "b", "database", owner).await;
    assert_eq!(elsewhere.status, 403, "{elsewhere:?}");
}

/// S21, and each operation of somebody without rights.
#[tokio::test]
async fn others_can_do_nothing_with_an_instance() {
    let mut mall = mall().await;
    mall.as_user("ann", &[]);
    let made = mall.provision_in(SHOP, "a", "database", json!({"OWNER": "me"})).await;
    mall.ended("a", made).await;
    let service = mall.services().await["database"].clone();
    let ids = json!({"service_id": service["id"], "plan_id": service["plans"][0]["id"]});
    let query = format!(
        "service_id={}&plan_id={}",
        text(&ids["service_id"]),
        text(&ids["plan_id"])
    );
    let (instance, binding) = ("/v2/service_instances/a", "/v2/service_instances/a/service_bindings/b");
    let bound = mall.request(Method::PUT, binding, Some(ids.clone())).await;
    assert_eq!(bound.status, 201, "{bound:?}");
    mall.as_user("bob", &[]);
    // Also one who says that it is in a namespace of his own.
    let mut elsewhere = ids.clone();
    elsewhere["context"] = json!({"platform": "kubernetes", "namespace": "office", "clusterid": "c"});
    let mut update = elsewhere.clone();
    update["parameters"] = json!({"SIZE": "1Gi"});
    let accepts = "accepts_incomplete=true";
    for (method, path, body) in [
        (Method::PATCH, format!("{instance}?{accepts}"), Some(update)),
        (Method::PUT, format!("{instance}/service_bindings/c"), Some(elsewhere)),
        (Method::PUT, format!("{instance}/service_bindings/c"), Some(ids.clone())),
        (Method::GET, instance.to_owned(), None),
        (Method::GET, binding.to_owned(), None),
        (Method::DELETE, format!("{binding}?{query}"), None),
        (Method::DELETE, format!("{instance}?{accepts}&{query}"), None),
    ] {
        let refused = mall.request(method.clone(), &path, body).await;
        assert_eq!(refused.status, 403, "{method} {path}: {refused:?}");
    }
    mall.as_user("ann", &[]);
    assert_eq!(
        mall.request(Method::DELETE, &format!("{binding}?{query}"), None)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn nobody_is_the_system_and_a_template_that_one_may_not_read_is_not_sold() {
    let mut mall = mall().await;
    let owner = json!({"OWNER": "me"});
    for (name, groups) in [("system:admin", &[][..]), ("ann", &["system:masters"])] {
        mall.as_user(name, groups);
        let refused = mall.provision_in(SHOP, "a", "database", owner.clone()).await;
        assert_eq!(refused.status, 403);
        assert!(said(&refused).contains("system's own"), "{refused:?}");
    }
    mall.as_user("ann", &[]);
    mall.delete(&format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{TEMPLATES}/rolebindings/readers"
    ))
    .await;
    let refused = mall.provision_in(SHOP, "a", "database", owner).await;
    assert_eq!(refused.status, 403);
    assert!(said(&refused).contains("may not get templates"), "{refused:?}");
}

/// The objects are made with the rights of the user, not with the broker's.
#[tokio::test]
async fn a_template_gives_nobody_more_rights() {
    let escalating = r#"
kind: Template
apiVersion: template.openshift.io/v1
metadata: {name: escalating}
objects:
- kind: ConfigMap
  apiVersion: v1
  metadata: {name: foothold, namespace: "${WHERE}"}
parameters:
- {name: WHERE, value: office}
"#;
    let mut mall = Mall::with(&[escalating], Users::Named, |options| options).await;
    mall.as_user("ann", &[]);
    let made = mall.provision_in(SHOP, "a", "escalating", json!({})).await;
    let ended = mall.ended("a", made).await;
    let failed = ended.status >= 400 || ended.body["state"] == "failed";
    assert!(failed, "{ended:?}");
    assert_eq!(mall.get("/api/v1/namespaces/office/configmaps/foothold").await, None);
}

/// An instance that the broker in Go has made goes on here, for the user who made it.
#[tokio::test]
async fn an_instance_of_the_old_broker_is_taken_over() {
    let mut mall = mall().await;
    let template = mall
        .get(&format!(
            "/apis/template.openshift.io/v1/namespaces/{TEMPLATES}/templates/database"
        ))
        .await
        .expect("a template");
    mall.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "old", "namespace": SHOP}, "stringData": {"OWNER": "me"},
    }))
    .await;
    mall.apply(&json!({
        "apiVersion": "template.openshift.io/v1", "kind": "TemplateInstance",
        "metadata": {"name": "old", "namespace": SHOP, "annotations": {
            "openservicebroker.openshift.io/instance-external-id": "old",
        }},
        "spec": {
            "template": template, "secret": {"name": "old"},
            "requester": {"username": "ann", "uid": "uid-of-ann"},
        },
    }))
    .await;
    mall.as_user("eve", &[]);
    let refused = mall.provision_in(SHOP, "old", "database", json!({"OWNER": "me"})).await;
    assert_eq!(refused.status, 403);
    mall.as_user("ann", &[]);
    let taken = mall.provision_in(SHOP, "old", "database", json!({"OWNER": "me"})).await;
    let taken = mall.ended("old", taken).await;
    assert!(matches!(taken.status, 200 | 201), "{taken:?}");
    let service = mall.services().await["database"].clone();
    let query = format!(
        "service_id={}&plan_id={}",
        text(&service["id"]),
        text(&service["plans"][0]["id"])
    );
    let path = format!("/v2/service_instances/old?accepts_incomplete=true&{query}");
    let removed = mall.request(Method::DELETE, &path, None).await;
    let removed = mall.ended("old", removed).await;
    assert!(matches!(removed.status, 200 | 410), "{removed:?}");
    for path in [
        format!("/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/old"),
        format!("/api/v1/namespaces/{SHOP}/secrets/old"),
    ] {
        assert_eq!(mall.get(&path).await, None, "{path}");
    }
}
