use super::*;
use template::{Given, SystemRandom, Unknown, document};

const OWNER: Owner<'static> = Owner {
    namespace: "home",
    name: "mine",
    uid: "0-1",
};

fn resource(api_version: &str, kind: &str) -> Resource {
    Resource {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
        is_namespaced: !matches!(
            kind,
            "Namespace" | "ClusterRole" | "ClusterRoleBinding" | "CustomResourceDefinition"
        ),
    }
}

fn drafted(objects: &str) -> Result<Vec<Draft>, String> {
    let text = format!(
        r#"{{"kind": "Template", "parameters": [{{"name": "NS", "value": "other"}}], "objects": [{objects}]}}"#
    );
    let template = &document::templates(&text).unwrap()[0];
    let values = template
        .resolve(&Given::new(), Unknown::Refused, &mut SystemRandom)
        .unwrap();
    drafts(template, &values, OWNER, Roles::Kubernetes)
}

fn planned(objects: &str, cross: CrossNamespace) -> Result<Vec<Planned>, Vec<String>> {
    let drafts = drafted(objects).map_err(|error| vec![error])?;
    let located: Vec<(Draft, Resource)> = drafts
        .into_iter()
        .map(|draft| {
            let resource = resource(&draft.api_version, &draft.kind);
            (draft, resource)
        })
        .collect();
    plan(located, OWNER, cross)
}

fn json(one: &Planned) -> serde_json::Value {
    serde_json::from_str(&one.text()).unwrap()
}

#[test]
fn objects_get_label_owner_and_namespace() {
    let objects = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "fixed"}, "n": 1.50},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "${NS}", "labels": null}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "b", "namespace": "${NS}"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations": {"template.osb.internal/on-delete": "retain"}}}"#;
    let planned = planned(objects, CrossNamespace::Allowed).unwrap();
    let places: Vec<String> = planned.iter().map(Planned::called).collect();
    // Roles come first.
    assert_eq!(
        places,
        [
            "ClusterRole b",
            "ConfigMap home/a",
            "ConfigMap other/a",
            "Secret home/s"
        ]
    );
    let owner =
        serde_json::json!([{"apiVersion": API_VERSION, "kind": "TemplateInstance", "name": "mine", "uid": "0-1"}]);
    for one in &planned {
        let object = json(one);
        assert_eq!(object["metadata"]["labels"][OWNER_LABEL], "0-1");
        let is_owned = object["metadata"]["ownerReferences"] == owner;
        assert_eq!(is_owned, one.called() == "ConfigMap home/a", "{object}");
        assert_eq!(
            object["metadata"]["namespace"].as_str().unwrap_or_default(),
            one.namespace
        );
    }
    assert!(planned[1].text().contains("1.50"));
    assert!(planned[1].text_for("7").contains(r#""uid":"7""#));
}

#[test]
fn an_administrator_may_keep_objects_in_their_namespace() {
    let wrong = planned(
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "${NS}"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}"#,
        CrossNamespace::Refused,
    )
    .unwrap_err();
    assert_eq!(wrong.len(), 2);
    assert!(
        wrong[0].contains("objects[0] (ConfigMap): is in another namespace"),
        "{wrong:?}"
    );
    assert!(wrong[1].contains("is of the whole cluster"), "{wrong:?}");
}

#[test]
fn a_generated_name_is_the_same_each_time() {
    let object = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}}"#;
    let names = || {
        let planned = planned(&format!("{object}, {object}"), CrossNamespace::Allowed).unwrap();
        planned.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    let (first, second) = (names(), names());
    assert_eq!(first, second);
    assert!(
        first[0] != first[1] && first[0].starts_with("a-") && first[0].len() == 7,
        "{first:?}"
    );
}

#[test]
fn what_others_need_is_made_first() {
    let objects = r#"{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "rb"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"serviceAccountName": "sa"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}},
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"},
         "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"}}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "${NS}"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}"#;
    let drafts = drafted(objects).unwrap();
    let thing = defined(&drafts, "example.com/v1", "Thing").unwrap();
    assert_eq!((thing.plural.as_str(), thing.is_namespaced), ("things", true));
    assert_eq!(defined(&drafts, "example.com/v1", "Other"), None);
    let planned = planned(objects, CrossNamespace::Allowed).unwrap();
    let kinds: Vec<&str> = planned.iter().map(|one| one.resource.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "Namespace",
            "CustomResourceDefinition",
            "ServiceAccount",
            "Role",
            "Thing",
            "RoleBinding",
            "Pod",
            "ConfigMap"
        ]
    );
    let needs: Vec<Vec<usize>> = planned.iter().map(|one| one.needs.iter().copied().collect()).collect();
    let expected: [&[usize]; 8] = [&[], &[], &[], &[], &[1], &[3], &[2], &[0]];
    assert_eq!(needs, expected);
}

#[test]
fn what_cannot_be_made_is_told_with_its_place() {
    let wrong = |object: &str| planned(object, CrossNamespace::Allowed).unwrap_err().join("\n");
    assert!(wrong(r#"{"apiVersion": "v1", "kind": "Pod"}"#).contains("objects[0] (Pod): has no name"));
    assert!(wrong(r#"{"kind": "Pod", "metadata": {"name": "a"}}"#).contains("has no apiVersion"));
    assert!(
        wrong(r#"{"apiVersion": "../v1", "kind": "Pod", "metadata": {"name": "a"}}"#)
            .contains("apiVersion that cannot be one")
    );
    assert!(
        wrong(r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "../a"}}"#)
            .contains("name that cannot be one")
    );
    let twice = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}"#;
    assert!(
        wrong(&format!("{twice}, {twice}"))
            .contains("objects[1] (Pod): has the kind, namespace and name of objects[0] (Pod)")
    );
    let odd = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"template.osb.internal/on-delete": "keep"}}}"#;
    assert!(wrong(odd).contains("write delete or retain"));
}

#[test]
fn times_have_units() {
    assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
    assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
    for wrong in ["", "5", "m", "-1s", "1x", "99999999999999999999s", "1ä"] {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
}
