//! Instances are made, changed and removed.

use http::Method;
use serde_json::{Value, json};
use template_controller::names::{FINALIZER, OWNER_LABEL};
use template_controller::resources::{ObjectState, Outcome};

use crate::places::{Place, on_each_place, send};

/// A Secret and a ConfigMap with the same generated password, and a Service.
fn shop() -> Value {
    json!({
        "metadata": {"name": "shop"}, "labels": {"app": "${NAME}"},
        "parameters": [
            {"name": "NAME", "required": true},
            {"name": "PASSWORD", "generate": "expression", "from": "[a-zA-Z0-9]{24}"},
            {"name": "LEVEL", "value": "info"},
        ],
        "objects": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "${NAME}"}, "stringData": {"password": "${PASSWORD}"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${NAME}"},
             "data": {"password": "${PASSWORD}", "level": "${LEVEL}", "extra": "x"}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "${NAME}"},
             "spec": {"selector": {"app": "${NAME}"}, "ports": [{"port": 80}]}},
        ],
    })
}

on_each_place! {
/// Bug C18: eve may do nothing in the namespace `default`.
        async fn an_instance_becomes_its_objects(place: Place) {
        let _controller = place.start();
        place.make("mine", shop(), json!({"NAME": "shop"})).await;
        let made = place.ready("mine").await;
        let uid = made.metadata.uid.clone().unwrap();
        assert_eq!(made.spec.requester.as_ref().unwrap().username, "eve");
        assert!(made.metadata.finalizers.as_ref().unwrap().iter().any(|name| name == FINALIZER));

        let status = made.status.clone().unwrap();
        let kinds: Vec<&str> = status.objects.iter().map(|object| object.reference.kind.as_deref().unwrap()).collect();
        assert_eq!(kinds, ["Secret", "ConfigMap", "Service"]);
        let condition = made.condition("Ready").unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_str(), condition.message.as_str()), ("True", "Created", ""));
        for object in &status.objects {
            assert_eq!(object.state, Some(ObjectState::Ready));
            let plural = format!("{}s", object.reference.kind.as_deref().unwrap().to_lowercase());
            let found = place.get(&format!("{}/shop", place.core(&plural))).await.unwrap();
            assert_eq!(found["metadata"]["uid"].as_str(), object.reference.uid.as_deref());
            assert_eq!(found["metadata"]["labels"][OWNER_LABEL], uid.as_str());
            assert_eq!(found["metadata"]["labels"]["app"], "shop");
            assert_eq!(found["metadata"]["ownerReferences"][0]["uid"], uid.as_str());
        }
        let map = place.get(&format!("{}/shop", place.core("configmaps"))).await.unwrap();
        let password = map["data"]["password"].as_str().unwrap();
        assert_eq!(password.len(), 24);
        // The password is in no status and no event.
        assert!(!place.get(&place.instance("mine")).await.unwrap().to_string().contains(password));
        let events = place.get(&place.core("events")).await.unwrap();
        assert!(!events.to_string().contains(password));
        place.until("an event tells", async || {
            let events = place.get(&place.core("events")).await.unwrap();
            let mut events = events["items"].as_array().unwrap().iter();
            events.any(|event| event["reason"] == "Created" && event["involvedObject"]["name"] == "mine").then_some(())
        }).await;

        place.delete(&place.instance("mine")).await;
        place.gone(&place.instance("mine")).await;
        for plural in ["secrets", "configmaps", "services"] {
            assert_eq!(place.get(&format!("{}/shop", place.core(plural))).await, None, "{plural}");
        }
        assert_eq!(place.owned("secrets").await.len(), 0);
    }

    async fn an_update_changes_makes_and_removes_objects_and_keeps_what_was_generated(place: Place) {
        let controller = place.start();
        place.make("mine", shop(), json!({"NAME": "shop"})).await;
        let before = place.ready("mine").await;
        let map = format!("{}/shop", place.core("configmaps"));
        let password = place.get(&map).await.unwrap()["data"]["password"].clone();

        let mut newer = shop();
        newer["objects"].as_array_mut().unwrap().pop();
        newer["objects"][1]["data"] = json!({"password": "${PASSWORD}", "level": "${LEVEL}", "new": "y"});
        newer["objects"].as_array_mut().unwrap().push(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${NAME}-more"}}));
        // Somebody has taken one away meanwhile, which the update makes again.
        place.delete(&format!("{}/shop", place.core("secrets"))).await;
        let values = json!({"metadata": {"name": "newer"}, "stringData": {"NAME": "shop", "LEVEL": "debug"}});
        place.put(&place.core("secrets"), values).await;
        let patch = json!({"spec": {"template": {"objects": newer["objects"]}, "secret": {"name": "newer"}}});
        send(&place.client_as("eve", &["dev"]), Method::PATCH, &place.instance("mine"), Some(&patch)).await.unwrap();
        let after = place.ready("mine").await;
        assert!(after.metadata.generation > before.metadata.generation);

        let found = place.get(&map).await.unwrap();
        assert_eq!(found["data"], json!({"password": password, "level": "debug", "new": "y"}));
        let uid = |instance: &template_controller::resources::TemplateInstance| {
            let objects = &instance.status.as_ref().unwrap().objects;
            let mut maps = objects.iter().filter(|object| object.reference.kind.as_deref() == Some("ConfigMap"));
            maps.next().unwrap().reference.uid.clone()
        };
        assert_eq!(uid(&before), uid(&after));
        assert_eq!(place.get(&format!("{}/shop", place.core("services"))).await, None);
        assert!(place.get(&format!("{}/shop-more", place.core("configmaps"))).await.is_some());
        assert!(place.get(&format!("{}/shop", place.core("secrets"))).await.is_some());
        assert_eq!(after.status.as_ref().unwrap().objects.len(), 3);
        // The values from before are not kept.
        let kept = place.owned("secrets").await;
        assert_eq!(kept.iter().filter(|secret| secret["immutable"] == true).count(), 1);
        controller.end().await;
    }

    /// Bugs C2 and C3: an error of the server was final, and half of the objects stayed.
    async fn nothing_is_made_when_one_object_is_refused_and_a_change_heals_it(place: Place) {
        let _controller = place.start();
        let mut broken = shop();
        broken["objects"][2]["spec"]["ports"][0]["port"] = json!(123_456);
        place.make("mine", broken, json!({"NAME": "shop"})).await;
        let message = Place::failure(place.outcome("mine").await);
        assert!(message.contains("unable to create Service") && message.contains("objects[2] (Service)"), "{message}");
        let made = place.read("mine").await;
        assert!(made.condition("Ready").is_none());
        assert_eq!(made.condition("InstantiateFailure").unwrap().reason, "Failed");
        assert_eq!(place.get(&format!("{}/shop", place.core("configmaps"))).await, None);
        assert_eq!(place.owned("secrets").await.len(), 0);

        let patch = json!({"spec": {"template": {"objects": shop()["objects"]}}});
        send(&place.client_as("eve", &["dev"]), Method::PATCH, &place.instance("mine"), Some(&patch)).await.unwrap();
        let made = place.ready("mine").await;
        assert!(made.condition("InstantiateFailure").is_none());
        place.delete(&place.instance("mine")).await;
        place.gone(&place.instance("mine")).await;
    }

    /// Bug C2.
    async fn what_fails_for_a_moment_is_tried_again(place: Place) {
        let controller = place.start();
        controller.faults.fail("/configmaps", 3);
        place.make("mine", shop(), json!({"NAME": "shop"})).await;
        place.ready("mine").await;
        controller.faults.fail("/status", 2);
        place.make("other", shop(), json!({"NAME": "other"})).await;
        place.ready("other").await;
    }

    /// Bug C5: without objects nothing was looked at.
    async fn required_parameters_are_required_without_objects_too(place: Place) {
        let _controller = place.start();
        let empty = json!({"parameters": [{"name": "NAME", "required": true}], "objects": []});
        place.make("mine", empty.clone(), json!({})).await;
        let message = Place::failure(place.outcome("mine").await);
        assert!(message.contains("parameters[0] NAME") && message.contains("required"), "{message}");
        place.make("other", empty, json!({"NAME": "x"})).await;
        place.ready("other").await;
    }

    /// Bug C6: an instance that was being deleted was still made.
    async fn an_instance_that_is_being_deleted_is_not_made(place: Place) {
        place.make("mine", shop(), json!({"NAME": "shop"})).await;
        let held = json!({"metadata": {"finalizers": ["example.com/held", FINALIZER]}});
        place.merge(&place.instance("mine"), held).await;
        place.delete(&place.instance("mine")).await;
        let _controller = place.start();
        place.until("our finalizer is off", async || {
            let found = place.get(&place.instance("mine")).await.unwrap();
            (found["metadata"]["finalizers"] == json!(["example.com/held"])).then_some(())
        }).await;
        assert_eq!(place.get(&format!("{}/shop", place.core("configmaps"))).await, None);
        place.merge(&place.instance("mine"), json!({"metadata": {"finalizers": null}})).await;
        place.gone(&place.instance("mine")).await;
    }

    /// Bug C11: what somebody made in the place of an object was deleted.
    async fn what_was_made_in_the_place_of_an_object_stays(place: Place) {
        let _controller = place.start();
        place.make("mine", shop(), json!({"NAME": "shop"})).await;
        place.ready("mine").await;
        let map = format!("{}/shop", place.core("configmaps"));
        place.delete(&map).await;
        place.put(&place.core("configmaps"), json!({"metadata": {"name": "shop"}, "data": {"own": "yes"}})).await;
        place.delete(&place.instance("mine")).await;
        place.gone(&place.instance("mine")).await;
        assert_eq!(place.get(&map).await.unwrap()["data"]["own"], "yes");
        assert_eq!(place.get(&format!("{}/shop", place.core("services"))).await, None);
    }

    async fn somebody_elses_object_is_neither_taken_nor_changed(place: Place) {
        let _controller = place.start();
        place.put(&place.core("configmaps"), json!({"metadata": {"name": "shop"}, "data": {"own": "yes"}})).await;
        place.make("mine", shop(), json!({"NAME": "shop"})).await;
        let message = Place::failure(place.outcome("mine").await);
        assert!(message.contains("does not belong to this instance"), "{message}");
        place.delete(&place.instance("mine")).await;
        place.gone(&place.instance("mine")).await;
        let found = place.get(&format!("{}/shop", place.core("configmaps"))).await.unwrap();
        assert_eq!(found["data"], json!({"own": "yes"}));
    }

    async fn an_unknown_kind_is_told(place: Place) {
        let _controller = place.start();
        let template = json!({"objects": [
            {"apiVersion": "v1", "kind": "DeploymentConfig", "metadata": {"name": "a"}},
            {"apiVersion": "example.com/v1", "kind": "Odd", "metadata": {"name": "a"}},
        ]});
        place.make("mine", template, json!({})).await;
        let message = Place::failure(place.outcome("mine").await);
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("unable to identify the resource mapping for DeploymentConfig"), "{message}");
        assert!(lines[0].contains("a kind of OpenShift") && lines[1].contains("objects[1] (Odd)"), "{message}");
    }

    /// A template may bring its own kinds, namespaces and accounts: they come first, and the rest waits for them.
    async fn definitions_and_namespaces_come_before_what_needs_them(place: Place) {
        let _controller = place.start();
        let group = format!("{}.example.com", place.name);
        let other = format!("{}-other", place.name);
        let template = json!({
            "parameters": [{"name": "NS", "value": other}],
            "objects": [
                {"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "t"}, "spec": {"n": 1}},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "far", "namespace": "${NS}"}},
                {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": []},
                {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
                 "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "${NS}"}},
                {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                 "metadata": {"name": format!("things.{group}")},
                 "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
                  "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                   {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}},
            ],
        });
        let user = format!("root-{}", place.name);
        let binding = json!({"metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
        place.put("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
        place.try_make(&user, "mine", template, json!({})).await.unwrap();
        let made = place.ready("mine").await;
        let kinds: Vec<String> = made.status.unwrap().objects.into_iter().map(|object| object.reference.kind.unwrap()).collect();
        assert_eq!(kinds, ["Namespace", "CustomResourceDefinition", "Role", "Thing", "ConfigMap", "RoleBinding"]);
        assert!(place.get(&format!("/api/v1/namespaces/{other}/configmaps/far")).await.is_some());
        place.delete(&place.instance("mine")).await;
        place.gone(&place.instance("mine")).await;
        assert_eq!(place.get(&format!("/api/v1/namespaces/{other}")).await, None);
    }

    async fn an_object_may_stay_when_its_instance_goes(place: Place) {
        let _controller = place.start();
        let keep = json!({"template.osb.internal/on-delete": "retain"});
        let template = json!({"objects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "annotations": keep}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone"}},
        ]});
        place.make("mine", template, json!({})).await;
        place.ready("mine").await;
        place.delete(&place.instance("mine")).await;
        place.gone(&place.instance("mine")).await;
        assert!(place.get(&format!("{}/kept", place.core("configmaps"))).await.is_some());
        assert!(place.get(&format!("{}/gone", place.core("configmaps"))).await.is_none());
    }

    /// Bug C9: an object that nobody waits for failed the instance when it could not be read. Here it is not even looked at.
    async fn only_objects_with_the_annotation_are_waited_for(place: Place) {
        let controller = place.start();
        let deployment = |name: &str, annotations: Value| json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "annotations": annotations},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"a": name}}, "template": {
                "metadata": {"labels": {"a": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        let template = json!({"objects": [deployment("unwatched", json!({}))]});
        place.make("mine", template, json!({})).await;
        place.ready("mine").await;
        let waits = json!({"template.alpha.openshift.io/wait-for-ready": "TRUE", "template.osb.internal/timeout": "1s"});
        place.make("other", json!({"objects": [deployment("watched", waits)]}), json!({})).await;
        let message = Place::failure(place.outcome("other").await);
        assert!(message.starts_with(&format!("readiness failed on Deployment {}/watched: timeout after 1 seconds", place.name)), "{message}");
        let made = place.read("other").await;
        let ready = made.condition("Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str(), ready.message.as_str()),
            ("False", "Failed", "See InstantiateFailure condition for error message"));
        controller.end().await;
    }

    /// All are looked at in each round: bug C10, where the first unready one hid a later one that had failed.
    async fn a_later_object_that_fails_is_seen_behind_an_unready_one(place: Place) {
        let _controller = place.start();
        let waiting = |name: &str, condition: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name,
            "annotations": {"template.osb.internal/ready-when": condition}}, "data": {"state": "new"}});
        let template = json!({"objects": [waiting("one", "{.data.state}=done"), waiting("two", "{.data.state}=done")]});
        place.make("mine", template, json!({})).await;
        let path = |name: &str| format!("{}/{name}", place.core("configmaps"));
        let waits = place.until("both wait", async || {
            let objects = place.read("mine").await.status.unwrap_or_default().objects;
            let both = objects.len() == 2 && objects.iter().all(|object| object.state == Some(ObjectState::Waiting));
            both.then_some(objects)
        }).await;
        assert_eq!(waits[1].message.as_deref(), Some("{.data.state}=done does not hold yet"));
        let made = place.read("mine").await;
        let ready = made.condition("Ready").unwrap();
        assert_eq!((ready.reason.as_str(), ready.message.as_str()), ("Waiting", "Waiting for instantiated objects to report ready"));
        place.merge(&path("two"), json!({"data": {"state": "done"}})).await;
        place.until("the second is ready", async || {
            let objects = place.read("mine").await.status.unwrap().objects;
            (objects[1].state == Some(ObjectState::Ready)).then_some(())
        }).await;
        assert_eq!(place.read("mine").await.outcome(), Outcome::InProgress);
        place.merge(&path("one"), json!({"data": {"state": "done"}})).await;
        place.ready("mine").await;

        let template = json!({"objects": [waiting("three", "{.data.state}=done"), waiting("four", "{.data.state}=done")]});
        place.make("other", template, json!({})).await;
        place.until("both wait", async || place.get(&path("four")).await).await;
        place.delete(&path("four")).await;
        let message = Place::failure(place.outcome("other").await);
        assert_eq!(message, format!("readiness failed on ConfigMap {}/four: it was removed", place.name));
    }

    /// Bug C7: the time counted from the creation of the instance.
    async fn the_time_counts_from_the_start_of_the_operation(place: Place) {
        let template = json!({"objects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "slow",
            "annotations": {"template.osb.internal/ready-when": "{.data.state}=done"}}}]});
        place.make("mine", template, json!({})).await;
        // The controller was away for longer than the instance may take.
        tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
        let mut options = place.options();
        options.timeout = std::time::Duration::from_secs(3);
        let _controller = place.start_with(options);
        place.until("it is there", async || place.get(&format!("{}/slow", place.core("configmaps"))).await).await;
        assert_eq!(place.read("mine").await.outcome(), Outcome::InProgress);
        let message = Place::failure(place.outcome("mine").await);
        assert!(message.starts_with("timeout while waiting for template instance to be ready: ConfigMap"), "{message}");
        // It heals when it is tried again.
        place.merge(&format!("{}/slow", place.core("configmaps")), json!({"data": {"state": "done"}})).await;
        let patch = json!({"spec": {"revision": "again"}});
        send(&place.client_as("eve", &["dev"]), Method::PATCH, &place.instance("mine"), Some(&patch)).await.unwrap();
        place.ready("mine").await;
    }

    /// What the API server quotes of an object that it refuses shows no value of a parameter.
    async fn no_message_shows_a_value(place: Place) {
        let _controller = place.start();
        let template = json!({"parameters": [{"name": "SECRET"}], "objects": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
             "spec": {"type": "${SECRET}", "ports": [{"port": 80}]}}]});
        place.make("mine", template, json!({"SECRET": "hunter2-hunter2"})).await;
        let message = Place::failure(place.outcome("mine").await);
        assert!(message.contains("${SECRET}"), "{message}");
        for path in [place.instance("mine"), place.core("events")] {
            assert!(!place.get(&path).await.unwrap().to_string().contains("hunter2"));
        }
    }

    /// Bug C12: the finalizer stayed for ever when a kind was gone.
    async fn an_instance_can_go_when_a_kind_is_gone(place: Place) {
        let _controller = place.start();
        let group = format!("{}.example.com", place.name);
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        place.put(definitions, json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("things.{group}")},
            "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
             "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
              {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})).await;
        let user = format!("root-{}", place.name);
        let binding = json!({"metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
        place.put("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
        let things = format!("/apis/{group}/v1/things");
        place.until("the kind is served", async || send(&place.client(), Method::GET, &things, None).await.ok()).await;
        let template = json!({"objects": [
            {"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "t"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}]});
        place.try_make(&user, "mine", template, json!({})).await.unwrap();
        place.ready("mine").await;
        place.delete(&format!("{definitions}/things.{group}")).await;
        place.gone(&format!("{definitions}/things.{group}")).await;
        place.delete(&place.instance("mine")).await;
        place.gone(&place.instance("mine")).await;
        assert_eq!(place.get(&format!("{}/c", place.core("configmaps"))).await, None);
    }

    /// Bug C13: the instance was gone before its objects were.
    async fn an_instance_stays_until_its_objects_are_gone(place: Place) {
        let _controller = place.start();
        let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/held"]}});
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
        place.make("mine", json!({"objects": [held, other]}), json!({})).await;
        place.ready("mine").await;
        place.delete(&place.instance("mine")).await;
        let waiting = place.until("it says what it waits for", async || {
            let found = place.get(&place.instance("mine")).await.expect("the instance stays");
            let objects = found["status"]["objects"].as_array().unwrap().clone();
            (objects.len() == 1 && objects[0]["state"] == "Removing").then_some(objects)
        }).await;
        assert_eq!(waiting[0]["ref"]["name"], "held");
        let ready = place.read("mine").await.condition("Ready").cloned().unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Removing"));
        place.merge(&format!("{}/held", place.core("configmaps")), json!({"metadata": {"finalizers": null}})).await;
        place.gone(&place.instance("mine")).await;
    }

    async fn what_cannot_be_removed_can_be_abandoned(place: Place) {
        let _controller = place.start();
        let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/held"]}});
        place.make("mine", json!({"objects": [held]}), json!({})).await;
        place.ready("mine").await;
        place.delete(&place.instance("mine")).await;
        place.until("it waits", async || {
            let found = place.get(&place.instance("mine")).await.unwrap();
            (found["status"]["objects"][0]["state"] == "Removing").then_some(())
        }).await;
        place.merge(&place.instance("mine"), json!({"metadata": {"annotations": {"template.osb.internal/abandon": "true"}}})).await;
        place.gone(&place.instance("mine")).await;
        let path = format!("{}/held", place.core("configmaps"));
        assert!(place.get(&path).await.is_some());
        place.merge(&path, json!({"metadata": {"finalizers": null}})).await;
    }
}
