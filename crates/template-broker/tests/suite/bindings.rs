//! Bindings with credentials of their own: each has a TemplateInstance, which lives as long as it does.

use std::time::Duration;

use http::Method;
use osb_sdk::Reply;
use serde_json::{Value, json};

use crate::mall::{Mall, SHOP, Users, text};

/// A database whose bindings have logins of their own. What is done for a login outside is seen in ConfigMaps that stay.
const LOGINS: &str = r#"
kind: Template
apiVersion: v1
metadata:
  name: logins
  annotations:
    template.osb.internal/binding-template: |
      metadata:
        annotations:
          template.osb.internal/parameters: "ROLE: {enum: [reader, writer]}"
      parameters:
      - {name: BINDING_NAME}
      - {name: INSTANCE_ID}
      - {name: CREDENTIAL_ADMIN_PASSWORD, required: true}
      - {name: DATABASE, required: true}
      - {name: ROLE, value: reader}
      - {name: PASSWORD, generate: expression, from: "[a-zA-Z0-9]{24}"}
      objects:
      - kind: Secret
        apiVersion: v1
        metadata:
          name: ${BINDING_NAME}
          annotations:
            template.openshift.io/expose-username: "{.metadata.name}"
            template.openshift.io/expose-password: "{.data.password}"
            template.openshift.io/expose-database: "{.data.database}"
            template.openshift.io/expose-role: "{.data.role}"
        stringData:
          password: "${PASSWORD}"
          database: "${DATABASE}"
          role: "${ROLE}"
          made-by: "${CREDENTIAL_ADMIN_PASSWORD}"
      - kind: ConfigMap
        apiVersion: v1
        metadata:
          name: ${BINDING_NAME}
          annotations: {template.osb.internal/ready-when: "{.data.state}=READY"}
        data: {state: "STATE", of: "${INSTANCE_ID}"}
    template.osb.internal/unbinding-template: |
      parameters: [{name: BINDING_NAME}, {name: PASSWORD}, {name: CREDENTIAL_ADMIN_PASSWORD}]
      objects:
      - kind: ConfigMap
        apiVersion: v1
        metadata:
          name: revoked-${BINDING_NAME}
          annotations: {template.osb.internal/on-delete: retain}
        data: {password: "${PASSWORD}", by: "${CREDENTIAL_ADMIN_PASSWORD}"}
parameters:
- {name: NAME, value: admin}
- {name: DATABASE, value: orders}
- {name: PASSWORD, generate: expression, from: "[a-zA-Z0-9]{12}"}
objects:
- kind: Secret
  apiVersion: v1
  metadata:
    name: ${NAME}
    annotations: {template.openshift.io/expose-admin-password: "{.data.password}"}
  stringData: {password: "${PASSWORD}"}
"#;

/// The template where objects are ready at once.
fn at_once() -> String {
    LOGINS.replace("\"STATE\"", "\"READY\"")
}

/// The same where somebody has to do something first.
fn waiting() -> String {
    LOGINS.replace("\"STATE\"", "\"waiting\"")
}

fn configs() -> String {
    format!("/api/v1/namespaces/{SHOP}/configmaps")
}

async fn sell(mall: &Mall) {
    let made = mall.provisioned("a", "logins", json!({})).await;
    assert!(made.status < 300, "{made:?}");
}

/// The credentials of a bind that succeeds, now or later.
async fn bound(mall: &Mall, binding: &str, reply: Reply) -> Value {
    if reply.status != 202 {
        assert!(matches!(reply.status, 200 | 201), "{reply:?}");
        return reply.body["credentials"].clone();
    }
    let settled = mall.broker.binding_settled("a", binding).await;
    assert_eq!(settled.body["state"], "succeeded", "{settled:?}");
    fetched(mall, binding).await.body["credentials"].clone()
}

async fn fetched(mall: &Mall, binding: &str) -> Reply {
    let path = format!("/v2/service_instances/a/service_bindings/{binding}");
    mall.request(Method::GET, &path, None).await
}

async fn unbound(mall: &Mall, binding: &str) -> Reply {
    let reply = mall.broker.unbind("a", binding).await;
    if reply.status != 202 {
        return reply;
    }
    mall.broker.binding_settled("a", binding).await
}

/// The names of what there is in the shop, of a kind.
async fn names(mall: &Mall, plural: &str) -> Vec<String> {
    let root = if plural == "templateinstances" {
        "/apis/template.openshift.io/v1"
    } else {
        "/api/v1"
    };
    let list = mall.get(&format!("{root}/namespaces/{SHOP}/{plural}")).await;
    let list = list.expect("a list")["items"].as_array().cloned().expect("items");
    list.iter().map(|object| text(&object["metadata"]["name"])).collect()
}

async fn everything(mall: &Mall) -> Vec<String> {
    let mut all = Vec::new();
    for plural in ["templateinstances", "secrets", "configmaps"] {
        let names = names(mall, plural).await.into_iter();
        // A cluster's own.
        all.extend(names.filter(|name| name != "kube-root-ca.crt"));
    }
    all
}

async fn removed(mall: &Mall) {
    let removed = mall.broker.deprovision("a").await;
    let removed = mall.ended("a", removed).await;
    assert!(
        matches!(removed.status, 200 | 410) && removed.body["state"] != "failed",
        "{removed:?}"
    );
}

async fn each_has_its_own(mall: &Mall) {
    sell(mall).await;
    let admin = mall
        .get(&format!("/api/v1/namespaces/{SHOP}/secrets/admin"))
        .await
        .expect("a Secret");
    let mut logins = Vec::new();
    for (binding, role) in [("b", None), ("c", Some("writer"))] {
        let parameters = role.map_or_else(|| json!({}), |role| json!({"ROLE": role}));
        let reply = mall.broker.bind("a", binding, parameters.clone()).await;
        let login = bound(mall, binding, reply).await;
        assert_eq!(text(&login["password"]).len(), 24, "{login}");
        assert_eq!(
            (&login["database"], &login["role"]),
            (&json!("orders"), &json!(role.unwrap_or("reader")))
        );
        assert_eq!(
            login.as_object().map(serde_json::Map::len),
            Some(4),
            "nothing of the instance: {login}"
        );
        let again = mall.broker.bind("a", binding, parameters).await;
        assert_eq!((again.status, &again.body["credentials"]), (200, &login));
        assert_eq!(fetched(mall, binding).await.body["credentials"], login);
        let own = mall
            .get(&format!(
                "/api/v1/namespaces/{SHOP}/secrets/{}",
                text(&login["username"])
            ))
            .await;
        assert_eq!(own.expect("a Secret")["data"]["made-by"], admin["data"]["password"]);
        logins.push(login);
    }
    assert_ne!(logins[0]["password"], logins[1]["password"]);
    assert_ne!(logins[0]["username"], logins[1]["username"]);

    // A rotation makes a login; both work until the first is unbound.
    let reply = mall.broker.rotate("a", "d", "c").await;
    let rotated = bound(mall, "d", reply).await;
    assert_eq!(rotated["role"], "writer");
    assert_ne!(rotated["password"], logins[1]["password"]);

    assert_eq!(unbound(mall, "b").await.status, 200);
    let name = text(&logins[0]["username"]);
    assert!(
        everything(mall).await.iter().all(|other| *other != name),
        "{:?}",
        everything(mall).await
    );
    let revoked = mall
        .get(&format!("{}/revoked-{name}", configs()))
        .await
        .expect("it was taken back");
    assert_eq!(
        revoked["data"]["password"], logins[0]["password"],
        "with the password that it had"
    );
    assert_eq!(names(mall, "templateinstances").await.len(), 3, "instance, c and d");

    removed(mall).await;
    let left = everything(mall).await;
    assert!(
        left.len() == 3 && left.iter().all(|name| name.starts_with("revoked-")),
        "{left:?}"
    );
}

#[tokio::test]
async fn each_binding_has_credentials_of_its_own() {
    each_has_its_own(&Mall::open(&[&at_once()]).await).await;
}

#[tokio::test]
async fn each_binding_has_credentials_of_its_own_kubernetes() {
    let Some(mall) = Mall::on_kubernetes(&[&at_once()]).await else {
        return;
    };
    each_has_its_own(&mall).await;
}

#[tokio::test]
async fn users_of_bindings_give_what_is_theirs() {
    let mall = Mall::open(&[&at_once()]).await;
    let plan = mall.services().await["logins"]["plans"][0].clone();
    let schema = &plan["schemas"]["service_binding"]["create"]["parameters"];
    let mut open: Vec<&String> = schema["properties"].as_object().expect("properties").keys().collect();
    open.sort();
    assert_eq!(open, ["PASSWORD", "ROLE"], "DATABASE is the instance's");
    assert_eq!(plan["binding_rotatable"], true);
    sell(&mall).await;
    for (parameters, what) in [
        (json!({"ROLE": "owner"}), "parameters.ROLE: is none of"),
        (
            json!({"DATABASE": "others"}),
            "parameters.DATABASE: the template has no such parameter",
        ),
        (
            json!({"BINDING_NAME": "x"}),
            "parameters.BINDING_NAME: the template has no such parameter",
        ),
    ] {
        let refused = mall.broker.bind("a", "b", parameters).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(text(&refused.body["description"]).starts_with(what), "{refused:?}");
    }
    assert_eq!(names(&mall, "templateinstances").await, ["a"]);
}

/// Does what a Job would do, as soon as the objects of a binding are there.
async fn make_ready(mall: &Mall) {
    let name = loop {
        match names(mall, "configmaps")
            .await
            .into_iter()
            .find(|name| name.starts_with("binding-"))
        {
            Some(name) => break name,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let path = format!("{}/{name}", configs());
    let mut object = mall.get(&path).await.expect("a ConfigMap");
    object["data"]["state"] = "READY".into();
    mall.put(&path, &object).await;
}

#[tokio::test]
async fn a_binding_is_there_when_its_objects_are_ready() {
    let mall = Mall::open(&[&waiting()]).await;
    sell(&mall).await;
    let (reply, ()) = tokio::join!(mall.broker.bind("a", "b", json!({})), make_ready(&mall));
    let login = bound(&mall, "b", reply).await;
    assert_eq!(text(&login["password"]).len(), 24);
    removed(&mall).await;
}

/// Intent before anything is made, and generated values kept: a login that a crash interrupts is the same afterwards.
#[tokio::test]
async fn a_crash_in_the_middle_of_a_bind_makes_no_second_login() {
    let mut mall = Mall::open(&[&waiting()]).await;
    sell(&mall).await;
    let (secrets, password) = {
        let bind = mall.broker.bind("a", "b", json!({}));
        let made = async {
            loop {
                let secrets = names(&mall, "secrets").await;
                if let Some(own) = secrets.iter().find(|name| name.starts_with("binding-")) {
                    let own = mall
                        .get(&format!("/api/v1/namespaces/{SHOP}/secrets/{own}"))
                        .await
                        .expect("it");
                    return (secrets, own["data"]["password"].clone());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            reply = bind => panic!("nothing is ready: {reply:?}"),
            made = made => made,
        }
    };
    mall.broker.restart().await;
    make_ready(&mall).await;
    let settled = mall.broker.binding_settled("a", "b").await;
    assert_eq!(settled.body["state"], "succeeded", "{settled:?}");
    assert_eq!(names(&mall, "secrets").await.len(), secrets.len());
    let login = fetched(&mall, "b").await.body["credentials"].clone();
    let own = mall
        .get(&format!(
            "/api/v1/namespaces/{SHOP}/secrets/{}",
            text(&login["username"])
        ))
        .await;
    assert_eq!(own.expect("a Secret")["data"]["password"], password);
    // And in the middle of an unbind.
    let unbind = mall.broker.unbind("a", "b");
    let begun = async {
        while names(&mall, "templateinstances").await.len() != 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = unbind => {}
        () = begun => {}
    }
    mall.broker.restart().await;
    assert!(matches!(unbound(&mall, "b").await.status, 200 | 410));
    assert_eq!(names(&mall, "templateinstances").await, ["a"]);
    removed(&mall).await;
    let left = everything(&mall).await;
    assert_eq!(
        left,
        [format!("revoked-{}", text(&login["username"]))],
        "taken back once, and nothing else is left"
    );
}

#[tokio::test]
async fn a_bind_that_fails_says_why_and_leaves_nothing() {
    let wrong = at_once().replace("kind: ConfigMap", "kind: Spaceship");
    let mall = Mall::open(&[&wrong]).await;
    sell(&mall).await;
    let failed = mall.broker.bind("a", "b", json!({})).await;
    let failed = if failed.status == 202 {
        mall.broker.binding_settled("a", "b").await
    } else {
        failed
    };
    assert!(text(&failed.body["description"]).contains("Spaceship"), "{failed:?}");
    assert!(matches!(unbound(&mall, "b").await.status, 200 | 410));
    assert_eq!(names(&mall, "templateinstances").await, ["a"]);
    removed(&mall).await;
    assert_eq!(everything(&mall).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_said_and_can_be_left() {
    let wrong = at_once().replace("name: revoked-${BINDING_NAME}", "name: Not A Name");
    let mall = Mall::open(&[&wrong]).await;
    sell(&mall).await;
    let reply = mall.broker.bind("a", "b", json!({})).await;
    bound(&mall, "b", reply).await;
    let failed = unbound(&mall, "b").await;
    let said = text(&failed.body["description"]);
    assert!(
        said.contains("cannot be taken back") && said.contains("abandon"),
        "{failed:?}"
    );
    let own = names(&mall, "templateinstances").await;
    let own = own
        .iter()
        .find(|name| name.contains("-binding-"))
        .expect("that of the binding");
    let path = format!("/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/{own}");
    let mut object = mall.get(&path).await.expect("it");
    object["metadata"]["annotations"]["template.osb.internal/abandon"] = "true".into();
    mall.put(&path, &object).await;
    assert!(matches!(unbound(&mall, "b").await.status, 200 | 410));
    assert_eq!(names(&mall, "templateinstances").await, ["a"]);
}

/// Where each binding should have credentials of its own, and cannot, nobody gets those of the instance.
#[tokio::test]
async fn a_wrong_template_for_bindings_is_not_passed_over() {
    let wrong = LOGINS.replace(
        "      - {name: PASSWORD, generate: expression,",
        "      - {name: '!', generate: expression,",
    );
    let mall = Mall::open(&[&wrong]).await;
    let service = mall.services().await["logins"].clone();
    assert_eq!(service["bindable"], false);
}

/// A template that somebody has written into a TemplateInstance is not carried out with the rights of whoever uses it next.
#[tokio::test]
async fn nobody_makes_others_work_for_him() {
    let mut mall = Mall::with(&[&at_once()], Users::Named, |options| options).await;
    let rbac = "rbac.authorization.k8s.io";
    mall.apply(&json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "bob-too", "namespace": SHOP},
        "subjects": [{"kind": "User", "name": "bob", "apiGroup": rbac}],
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "ann"},
    }))
    .await;
    mall.as_user("ann", &[]);
    let made = mall.provision_in(SHOP, "a", "logins", json!({})).await;
    mall.ended("a", made).await;
    // Ann may change the instance in her own name, and may do nothing in the office, as bob may.
    let path = format!("/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/a");
    let mut evil = mall.get(&path).await.expect("an instance");
    let config =
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "evil", "namespace": "${PLACE}"}});
    let own = json!({"parameters": [{"name": "PLACE", "value": "office"}], "objects": [config]});
    evil["spec"]["template"]["metadata"]["annotations"]["template.osb.internal/binding-template"] =
        own.to_string().into();
    mall.put(&path, &evil).await;

    let service = mall.services().await["logins"].clone();
    let ids = json!({"service_id": service["id"], "plan_id": service["plans"][0]["id"]});
    let bind = async |mall: &Mall, binding: &str| {
        let path = format!("/v2/service_instances/a/service_bindings/{binding}");
        mall.request(Method::PUT, &path, Some(ids.clone())).await
    };
    mall.as_user("bob", &[]);
    let refused = bind(&mall, "b").await;
    assert!(
        text(&refused.body["description"]).contains("somebody has changed it"),
        "{refused:?}"
    );
    let body = json!({"service_id": service["id"], "parameters": {"NAME": "other"}});
    let update = "/v2/service_instances/a?accepts_incomplete=true";
    let refused = mall.request(Method::PATCH, update, Some(body)).await;
    let refused = mall.ended("a", refused).await;
    assert!(
        text(&refused.body["description"]).contains("somebody has changed it"),
        "{refused:?}"
    );
    assert_eq!(mall.get("/api/v1/namespaces/office/configmaps/evil").await, None);
    // In her own name she gets what she may have: nothing in the office.
    mall.as_user("ann", &[]);
    let failed = bind(&mall, "c").await;
    assert!(
        text(&failed.body["description"]).contains("cannot create resource \"configmaps\""),
        "{failed:?}"
    );
}
