//! Instances and bindings, from the first request to the last.

use http::Method;
use osb_simulate::InProcess;
use serde_json::{Value, json};

use crate::mall::{Mall, SHOP, text};

/// A Secret whose password is generated and a ConfigMap, in which all that a template can do occurs.
pub(crate) const DATABASE: &str = r#"
kind: Template
apiVersion: v1
metadata:
  name: database
  annotations:
    template.osb.internal/parameters: "NAME: {unique: true}"
    template.osb.internal/version: 1.0.0
    template.osb.internal/plans: |
      - {name: default, description: Any size}
      - {name: small, description: One gigabyte, parameters: {SIZE: 1Gi}}
parameters:
- {name: NAME, value: db, required: true}
- {name: SIZE, value: 5Gi}
- {name: OWNER, required: true}
- {name: PASSWORD, generate: expression, from: "[a-zA-Z0-9]{24}"}
objects:
- kind: Secret
  apiVersion: v1
  metadata:
    name: ${NAME}
    annotations: {template.openshift.io/expose-password: "{.data.password}"}
  stringData: {password: "${PASSWORD}"}
- kind: ConfigMap
  apiVersion: v1
  metadata:
    name: ${NAME}
    annotations:
      template.openshift.io/expose-size: "{.data.size}"
      template.openshift.io/expose-name: "{.metadata.name}"
  data: {size: "${SIZE}", owner: "${OWNER}"}
"#;

fn instance(id: &str) -> String {
    format!("/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/{id}")
}

fn secret(id: &str) -> String {
    format!("/api/v1/namespaces/{SHOP}/secrets/{id}")
}

fn config(name: &str) -> String {
    format!("/api/v1/namespaces/{SHOP}/configmaps/{name}")
}

#[tokio::test]
async fn an_instance_is_made_bound_changed_and_removed() {
    let mall = Mall::open(&[DATABASE]).await;
    let made = mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    assert!(matches!(made.status, 200 | 201), "{made:?}");
    let bound = mall.broker.bind("a", "b", json!({})).await;
    assert_eq!(bound.status, 201, "{bound:?}");
    let credentials = bound.body["credentials"].clone();
    assert_eq!(
        (text(&credentials["password"]).len(), &credentials["size"]),
        (24, &json!("5Gi"))
    );
    let name = text(&credentials["name"]);
    assert!(name.starts_with("db-") && name.len() == 9, "{name}");
    let stored = mall.get(&instance("a")).await.expect("a TemplateInstance");
    assert_eq!(stored["spec"]["requester"]["username"], "ann");
    assert_eq!(
        stored["metadata"]["annotations"]["openservicebroker.openshift.io/instance-external-id"],
        "a"
    );

    let changed = mall.broker.update("a", None, json!({"SIZE": "9Gi"})).await;
    let changed = mall.ended("a", changed).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let other = mall.broker.bind("a", "c", json!({})).await.body["credentials"].clone();
    assert_eq!(
        (&other["size"], &other["password"]),
        (&json!("9Gi"), &credentials["password"]),
        "the password stays"
    );
    let moved = mall.broker.update("a", Some("small"), json!({})).await;
    assert_eq!(mall.ended("a", moved).await.status, 200);
    assert_eq!(
        mall.get(&config(&name)).await.expect("a ConfigMap")["data"],
        json!({"size": "1Gi", "owner": "me"})
    );

    assert_eq!(mall.broker.unbind("a", "b").await.status, 200);
    let removed = mall.broker.deprovision("a").await;
    let removed = mall.ended("a", removed).await;
    assert!(matches!(removed.status, 200 | 410), "{removed:?}");
    for path in [instance("a"), secret("a"), secret(&name), config(&name)] {
        assert_eq!(mall.get(&path).await, None, "{path}");
    }
}

/// S9, S10, S12: a repeat is recognised, and nobody sleeps.
#[tokio::test]
async fn a_repeat_is_no_second_instance_and_other_parameters_conflict() {
    let mall = Mall::open(&[DATABASE]).await;
    mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    let again = mall
        .broker
        .provision("a", "database/default", json!({"OWNER": "me"}))
        .await;
    assert_eq!(again.status, 200, "{again:?}");
    let other = mall
        .broker
        .provision("a", "database/default", json!({"OWNER": "you"}))
        .await;
    assert_eq!(other.status, 409);
    // S11
    assert!(!text(&other.body["description"]).is_empty());
}

/// Two instances of one template in one project.
#[tokio::test]
async fn there_are_two_instances_of_a_template_in_a_namespace() {
    let mall = Mall::open(&[DATABASE]).await;
    let mut passwords = Vec::new();
    for id in ["a", "b"] {
        let made = mall.provisioned(id, "database", json!({"OWNER": id})).await;
        assert!(made.status < 300, "{made:?}");
        passwords.push(mall.broker.bind(id, "x", json!({})).await.body["credentials"]["password"].clone());
    }
    assert_ne!(passwords[0], passwords[1]);
}

/// S13: killed in the middle, the next process goes on, and the password is generated once.
#[tokio::test]
async fn a_crash_loses_nothing() {
    let mut mall = Mall::open(&[DATABASE]).await;
    let path = {
        let service = mall.services().await["database"].clone();
        let body = json!({
            "service_id": service["id"], "plan_id": service["plans"][0]["id"], "organization_guid": "o", "space_guid": "s",
            "context": {"platform": "test"}, "parameters": {"OWNER": "me"},
        });
        let path = "/v2/service_instances/a?accepts_incomplete=true".to_owned();
        let request = mall.request(Method::PUT, &path, Some(body));
        // The request is given up as soon as the instance is written, in the middle of the work.
        let written = async {
            while mall.get(&instance("a")).await.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = request => {}
            () = written => {}
        }
        path
    };
    mall.broker.restart().await;
    let ended = mall.broker.settled("a").await;
    assert_eq!(ended.body["state"], "succeeded", "{path}: {ended:?}");
    let first = mall.get(&instance("a")).await.expect("an instance")["metadata"]["uid"].clone();
    mall.broker.restart().await;
    assert_eq!(
        mall.get(&instance("a")).await.expect("the same")["metadata"]["uid"],
        first
    );
    let names = mall
        .get(&format!("/api/v1/namespaces/{SHOP}/configmaps"))
        .await
        .expect("a list");
    let own = names["items"].as_array().expect("items").iter();
    assert_eq!(
        own.filter(|map| text(&map["metadata"]["name"]).starts_with("db-"))
            .count(),
        1
    );
}

/// S5, S6, S7
#[tokio::test]
async fn parameters_are_checked_before_anything_is_made() {
    let mall = Mall::open(&[DATABASE]).await;
    for (parameters, what) in [
        (json!({}), "parameters.OWNER: is required"),
        (
            json!({"OWNER": "me", "SIZZE": "1"}),
            "parameters.SIZZE: the template has no such parameter",
        ),
        (json!({"OWNER": ["me"]}), "parameters.OWNER: is not a text"),
    ] {
        let refused = mall.broker.provision("a", "database/default", parameters).await;
        assert_eq!(
            (refused.status, text(&refused.body["description"]).as_str()),
            (400, what)
        );
    }
    let fixed = mall
        .broker
        .provision("a", "database/small", json!({"OWNER": "me", "SIZE": "9Gi"}))
        .await;
    assert_eq!(
        text(&fixed.body["description"]),
        "parameters.SIZE: is fixed by the plan"
    );
    assert_eq!(mall.get(&instance("a")).await, None);
    assert_eq!(mall.get(&secret("a")).await, None);
}

/// S15, S22: what is not ready, or exposes nothing where it should, is a clear 422 and no empty credentials.
#[tokio::test]
async fn an_instance_that_is_not_ready_is_not_bound() {
    let mall = Mall::open(&[DATABASE]).await;
    mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    let name = text(&mall.broker.bind("a", "b", json!({})).await.body["credentials"]["name"]);
    let map = mall.get(&config(&name)).await.expect("a ConfigMap");
    let mut without = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": SHOP}});
    without["data"] = json!({"owner": map["data"]["owner"]});
    let request = http::Request::put(config(&name))
        .body(
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": map["metadata"], "data": {"owner": "me"},
            })
            .to_string()
            .into_bytes(),
        )
        .expect("a request");
    let _: Value = mall
        .client
        .request(request)
        .await
        .expect("somebody takes the size away");
    let refused = mall.broker.bind("a", "c", json!({})).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(
        text(&refused.body["description"]).contains("credential size"),
        "{refused:?}"
    );

    mall.delete(&instance("a")).await;
    while mall.get(&instance("a")).await.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let refused = mall.broker.bind("a", "c", json!({})).await;
    assert_eq!(refused.status, 422);
    assert!(text(&refused.body["description"]).contains("gone"), "{refused:?}");
    // S17, S23: what is left can be removed.
    assert_eq!(mall.broker.unbind("a", "b").await.status, 200);
    let removed = mall.broker.deprovision("a").await;
    assert!(matches!(mall.ended("a", removed).await.status, 200 | 410));
}

/// S14
#[tokio::test]
async fn what_is_not_there_is_404_or_410() {
    let mall = Mall::open(&[DATABASE]).await;
    let poll = mall
        .request(Method::GET, "/v2/service_instances/nobody/last_operation", None)
        .await;
    assert_eq!(poll.status, 404);
    mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    assert_eq!(
        mall.request(Method::GET, "/v2/service_instances/a/last_operation", None)
            .await
            .status,
        200
    );
    assert_eq!(mall.broker.unbind("a", "nobody").await.status, 410);
}

/// S16
#[tokio::test]
async fn a_binding_with_other_attributes_is_a_conflict_and_takes_no_parameters() {
    let mall = Mall::open(&[DATABASE]).await;
    mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    assert_eq!(mall.broker.bind("a", "b", json!({"x": 1})).await.status, 400);
    assert_eq!(mall.broker.bind("a", "b", json!({})).await.status, 201);
    assert_eq!(mall.broker.bind("a", "b", json!({})).await.status, 200);
    let service = mall.services().await["database"].clone();
    let body = json!({
        "service_id": service["id"], "plan_id": service["plans"][0]["id"], "bind_resource": {"app_guid": "other"},
    });
    let path = "/v2/service_instances/a/service_bindings/b";
    assert_eq!(mall.request(Method::PUT, path, Some(body)).await.status, 409);
}

/// S8
#[tokio::test]
async fn a_plan_of_another_service_is_refused() {
    let mall = Mall::open(&[DATABASE]).await;
    let service = mall.services().await["database"].clone();
    for (service_id, plan_id) in [
        (service["id"].clone(), service["id"].clone()),
        (json!("nobody"), service["plans"][0]["id"].clone()),
    ] {
        let body = json!({
            "service_id": service_id, "plan_id": plan_id, "organization_guid": "o", "space_guid": "s",
            "parameters": {"OWNER": "me"},
        });
        let path = "/v2/service_instances/a?accepts_incomplete=true";
        assert_eq!(mall.request(Method::PUT, path, Some(body)).await.status, 400);
    }
}

#[tokio::test]
async fn what_cannot_be_made_says_why_and_can_be_removed() {
    let broken = r#"
kind: Template
apiVersion: template.openshift.io/v1
metadata: {name: broken}
objects:
- {kind: Spaceship, apiVersion: example.com/v1, metadata: {name: a}}
"#;
    let mall = Mall::open(&[broken]).await;
    let failed = mall.provisioned("a", "broken", json!({})).await;
    let said = failed.body["description"].as_str().unwrap_or_default();
    assert!(said.contains("Spaceship"), "{failed:?}");
    let removed = mall.broker.deprovision("a").await;
    assert!(matches!(mall.ended("a", removed).await.status, 200 | 410));
    assert_eq!(mall.get(&instance("a")).await, None);
}

/// Names are no rights: what somebody else has made under the name of an instance stays.
#[tokio::test]
async fn what_belongs_to_somebody_else_is_neither_used_nor_removed() {
    let mall = Mall::open(&[DATABASE]).await;
    mall.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": SHOP}, "stringData": {"mine": "x"},
    }))
    .await;
    let failed = mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    assert!(failed.status >= 400 || failed.body["state"] == "failed", "{failed:?}");
    let removed = mall.broker.deprovision("a").await;
    assert!(matches!(mall.ended("a", removed).await.status, 200 | 410));
    assert!(mall.get(&secret("a")).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_platform_gets_on() {
    let mall = Mall::open(&[DATABASE]).await;
    let options = osb_simulate::Options {
        plans: vec!["default".to_owned()],
        parameters: json!({"OWNER": "me"}).as_object().cloned().unwrap_or_default(),
        failing_parameters: json!({"OWNER": "me", "SIZE": "x".repeat(70_000), "NAME": "Not A Name"})
            .as_object()
            .cloned(),
        ..osb_simulate::Options::default()
    };
    osb_simulate::assert_all_platforms_get_on(InProcess::open(mall.broker.service()), options).await;
}
