//! The catalog follows the templates.

use serde_json::{Value, json};

use crate::life::DATABASE;
use crate::mall::{Mall, TEMPLATES, Users, text};
use template_broker::Namespaces;

fn template(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "template.openshift.io/v1", "kind": "Template",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"description": "A template"}},
        "objects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}],
    })
}

fn path(namespace: &str, name: &str) -> String {
    format!("/apis/template.openshift.io/v1/namespaces/{namespace}/templates/{name}")
}

/// S1, S24
#[tokio::test]
async fn templates_of_the_chosen_namespaces_come_and_go() {
    let mall = Mall::open(&[]).await;
    assert!(mall.services().await.is_empty());
    mall.apply(&template("office", "elsewhere")).await;
    mall.apply(&template(TEMPLATES, "one")).await;
    mall.until("a new template is offered", |services| services.contains_key("one"))
        .await;
    let mut changed = template(TEMPLATES, "one");
    changed["metadata"]["annotations"]["description"] = "Another".into();
    mall.apply(&changed).await;
    mall.until("a change is seen", |services| {
        services["one"]["description"] == "Another"
    })
    .await;
    mall.apply(&template(TEMPLATES, "two")).await;
    mall.until("two are offered", |services| services.len() == 2).await;
    mall.delete(&path(TEMPLATES, "one")).await;
    mall.until("a deleted one is not", |services| {
        services.len() == 1 && services.contains_key("two")
    })
    .await;
}

/// S4: an instance does not lose its service with its template.
#[tokio::test]
async fn a_template_that_is_gone_serves_its_instances_and_comes_back_as_the_same_service() {
    let mut mall = Mall::open(&[DATABASE]).await;
    mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    let id = mall.services().await["database"]["id"].clone();
    mall.delete(&path(TEMPLATES, "database")).await;
    mall.until("it is offered no more", |services| services.is_empty())
        .await;
    let bound = mall.broker.bind("a", "b", json!({})).await;
    assert_eq!(bound.status, 201, "{bound:?}");
    let changed = mall.broker.update("a", None, json!({"SIZE": "7Gi"})).await;
    assert_eq!(mall.ended("a", changed).await.status, 200);
    // The test's broker makes its templates anew when it starts: the same service, though another object.
    mall.broker.restart().await;
    mall.until("it is back", |services| services.contains_key("database"))
        .await;
    assert_eq!(mall.services().await["database"]["id"], id);
    assert_eq!(mall.broker.unbind("a", "b").await.status, 200);
    let removed = mall.broker.deprovision("a").await;
    assert!(matches!(mall.ended("a", removed).await.status, 200 | 410));
}

#[tokio::test]
async fn the_uid_of_a_template_is_understood() {
    let mall = Mall::open(&[DATABASE]).await;
    let uid = mall.get(&path(TEMPLATES, "database")).await.expect("a template")["metadata"]["uid"].clone();
    let body = json!({
        "service_id": uid, "plan_id": uid, "organization_guid": "o", "space_guid": "s", "parameters": {"OWNER": "me"},
    });
    let made = mall
        .request(
            http::Method::PUT,
            "/v2/service_instances/a?accepts_incomplete=true",
            Some(body),
        )
        .await;
    let made = mall.ended("a", made).await;
    assert!(matches!(made.status, 200 | 201), "{made:?}");
}

#[tokio::test]
async fn a_selector_chooses_namespaces_as_their_labels_change() {
    let mall = Mall::with(&[], Users::One, |mut options| {
        options.namespaces = Namespaces::Selected("templates=yes".to_owned());
        options
    })
    .await;
    let labelled = |value: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "office", "labels": {"templates": value}}});
    mall.apply(&template("office", "one")).await;
    assert!(mall.services().await.is_empty());
    mall.apply(&labelled("yes")).await;
    mall.until("its templates are offered", |services| services.contains_key("one"))
        .await;
    mall.apply(&labelled("no")).await;
    mall.until("and no more", |services| services.is_empty()).await;
}

/// S3
#[tokio::test]
async fn equal_names_of_two_namespaces_are_told_apart() {
    let mall = Mall::with(&[], Users::One, |mut options| {
        options.namespaces = Namespaces::Named([TEMPLATES.to_owned(), "office".to_owned()].into());
        options
    })
    .await;
    mall.apply(&template(TEMPLATES, "db")).await;
    mall.until("the first has the name", |services| services.contains_key("db"))
        .await;
    mall.apply(&template("office", "db")).await;
    mall.until("the second has another", |services| services.len() == 2)
        .await;
    let names: Vec<String> = mall
        .services()
        .await
        .into_values()
        .map(|service| text(&service["name"]))
        .collect();
    assert!(names.contains(&"db".to_owned()), "{names:?}");
}
