//! What would become of a template.

use serde_json::json;
use template::{Given, Unknown, document};
use template_controller::preview::{Verdict, preview};

use crate::places::on_each_place;

on_each_place! {
    async fn each_object_is_tried_and_none_is_made(place: Place) {
        place.put(&place.core("configmaps"), json!({"metadata": {"name": "there"}})).await;
        let other = format!("{}-new", place.name);
        let text = json!({"kind": "Template", "parameters": [{"name": "SECRET"}, {"name": "NS", "value": other}], "objects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fine"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}, "spec": {"type": "${SECRET}", "ports": [{"port": 80}]}},
            {"apiVersion": "v1", "kind": "Odd", "metadata": {"name": "odd"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later", "namespace": "${NS}"}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "${NS}"}},
        ]}).to_string();
        let template = &document::templates(&text).unwrap()[0];
        let given = Given::from([("SECRET".to_owned(), "hunter2-hunter2".to_owned())]);
        let lines = preview(&place.client(), template, &given, Unknown::Refused, &place.name).await.unwrap();
        let verdict = |name: &str| {
            let line = lines.iter().find(|line| line.object.ends_with(name)).unwrap_or_else(|| panic!("{name}: {lines:?}"));
            line.verdict.clone()
        };
        assert_eq!(verdict("/fine"), Verdict::Created);
        assert_eq!(verdict("/there"), Verdict::Exists);
        assert_eq!(verdict("/later"), Verdict::AfterOthers(vec![format!("Namespace {other}")]));
        assert_eq!(verdict(&other), Verdict::Created);
        assert!(matches!(verdict("Odd of v1"), Verdict::Refused(_)));
        let Verdict::Refused(why) = verdict("/bad") else { panic!("{lines:?}") };
        assert!(why.contains("${SECRET}") && !why.contains("hunter2"), "{why}");
        assert_eq!(place.get(&format!("{}/fine", place.core("configmaps"))).await, None);
        assert_eq!(place.get(&format!("/api/v1/namespaces/{other}")).await, None);

        // A user's own rights count.
        let lines = preview(&place.client_as("nobody", &[]), template, &given, Unknown::Refused, &place.name).await.unwrap();
        let refused = lines.iter().filter(|line| matches!(&line.verdict, Verdict::Refused(why) if why.contains("forbidden")));
        assert!(refused.count() >= 3, "{lines:?}");
    }
}
