use serde_json::{Value, json};

use super::*;
use crate::codec::{Draft, Stamp};

const READ_PODS: fn() -> Value = || json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);

fn stored(object: &Value) -> Bytes {
    let object: apimachinery::json::Value<'static> = object.clone().into();
    let members = object.as_object().expect("an object");
    let metadata = apimachinery::meta::of(&object).expect("metadata");
    Draft::new(members).finish(Stamp(0), metadata).bytes().clone()
}

fn key(path: &str) -> Bytes {
    Bytes::from(format!("/registry/{GROUP}/{path}"))
}

impl Rbac {
    fn put(&self, path: &str, at: u64, from: From, mut object: Value) {
        let name = path.rsplit('/').next().expect("a name");
        object["metadata"]["name"] = json!(name);
        self.apply(&key(path), Revision(at), Some(&stored(&object)), from);
    }

    fn remove(&self, path: &str, at: u64, from: From) {
        self.apply(&key(path), Revision(at), None, from);
    }
}

fn bind(kind: &str, role: &str, subject: Value) -> Value {
    json!({"metadata": {}, "roleRef": {"kind": kind, "name": role}, "subjects": [subject]})
}

fn get_pods(namespace: &str) -> Attributes<'_> {
    Attributes::Resource {
        verb: "get",
        group: "",
        resource: "pods",
        subresource: "",
        namespace,
        name: "x",
    }
}

fn bob() -> UserInfo {
    UserInfo::new("bob", ["dev"])
}

fn may(rbac: &Rbac, user: &UserInfo, namespace: &str) -> bool {
    rbac.authorize(user, &get_pods(namespace)) == Decision::Allow
}

#[test]
fn a_role_counts_where_it_is_bound() {
    let rbac = Rbac::default();
    rbac.put(
        "roles/t1/r",
        1,
        From::Commit,
        json!({"metadata": {}, "rules": READ_PODS()}),
    );
    let user = json!({"kind": "User", "name": "bob"});
    rbac.put("rolebindings/t1/b", 2, From::Commit, bind("Role", "r", user.clone()));
    assert!(may(&rbac, &bob(), "t1"));
    assert!(!may(&rbac, &bob(), "t2") && !may(&rbac, &bob(), ""));
    assert!(!may(&rbac, &UserInfo::new("eve", ["bob"]), "t1"));
    assert_eq!(
        rbac.explain(&bob(), &get_pods("t1")),
        r#"RBAC: allowed by RoleBinding "b/t1" of Role "r" to User "bob""#
    );
    rbac.put(
        "clusterroles/c",
        3,
        From::Commit,
        json!({"metadata": {}, "rules": READ_PODS()}),
    );
    let group = json!({"kind": "Group", "name": "dev"});
    rbac.put(
        "clusterrolebindings/b",
        4,
        From::Commit,
        bind("ClusterRole", "c", group),
    );
    assert!(may(&rbac, &bob(), "t2") && may(&rbac, &bob(), ""));
    rbac.remove("clusterrolebindings/b", 5, From::Commit);
    assert!(!may(&rbac, &bob(), "t2") && may(&rbac, &bob(), "t1"));
    rbac.put(
        "rolebindings/t1/b",
        6,
        From::Commit,
        json!({"metadata": {}, "roleRef": {"kind": "Role", "name": "r"}}),
    );
    assert!(!may(&rbac, &bob(), "t1"));
}

#[test]
fn a_service_account_is_bound_in_its_own_namespace() {
    let rbac = Rbac::default();
    rbac.put(
        "clusterroles/c",
        1,
        From::Commit,
        json!({"metadata": {}, "rules": READ_PODS()}),
    );
    let own = json!({"kind": "ServiceAccount", "name": "robot"});
    rbac.put(
        "rolebindings/t1/own",
        2,
        From::Commit,
        bind("ClusterRole", "c", own.clone()),
    );
    let other = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "t2"});
    rbac.put(
        "rolebindings/t3/other",
        3,
        From::Commit,
        bind("ClusterRole", "c", other),
    );
    // Without a namespace it is nobody in the whole cluster.
    rbac.put(
        "clusterrolebindings/none",
        4,
        From::Commit,
        bind("ClusterRole", "c", own),
    );
    let robot = |namespace: &str| UserInfo::new(format!("system:serviceaccount:{namespace}:robot"), [""; 0]);
    assert!(may(&rbac, &robot("t1"), "t1") && may(&rbac, &robot("t2"), "t3"));
    assert!(!may(&rbac, &robot("t1"), "t3") && !may(&rbac, &robot("t1"), ""));
}

#[test]
fn a_role_that_is_missing_is_named() {
    let rbac = Rbac::default();
    let user = json!({"kind": "User", "name": "bob"});
    for (binding, role) in [("a", "nope"), ("b", "nope"), ("c", "never")] {
        rbac.put(
            &format!("rolebindings/t1/{binding}"),
            1,
            From::Commit,
            bind("Role", role, user.clone()),
        );
    }
    let decision = rbac.authorize(&bob(), &get_pods("t1"));
    assert_eq!(
        decision,
        Decision::NoOpinion(
            r#"RBAC: [role.rbac.authorization.k8s.io "nope" not found, role.rbac.authorization.k8s.io "never" not found]"#.into()
        )
    );
    assert_eq!(rbac.authorize(&UserInfo::admin(), &get_pods("t1")), Decision::Allow);
}

#[test]
fn the_newest_of_what_is_told_in_any_order_counts() {
    let rbac = Rbac::default();
    let role = || json!({"metadata": {}, "rules": READ_PODS()});
    let user = json!({"kind": "User", "name": "bob"});
    rbac.put("clusterroles/c", 1, From::Commit, role());
    rbac.put(
        "clusterrolebindings/b",
        2,
        From::Commit,
        bind("ClusterRole", "c", user.clone()),
    );
    rbac.remove("clusterrolebindings/b", 5, From::Commit);
    // The watch is late.
    rbac.put(
        "clusterrolebindings/b",
        2,
        From::Watch,
        bind("ClusterRole", "c", user.clone()),
    );
    assert!(!may(&rbac, &bob(), ""));
    rbac.remove("clusterrolebindings/b", 5, From::Watch);
    // A commit that is told of after the watch has passed it is known.
    rbac.put(
        "clusterrolebindings/b",
        4,
        From::Commit,
        bind("ClusterRole", "c", user.clone()),
    );
    assert!(!may(&rbac, &bob(), ""));
    rbac.put("clusterrolebindings/b", 6, From::Commit, bind("ClusterRole", "c", user));
    assert!(may(&rbac, &bob(), ""));
    // A read from before the last write takes nothing of it away; a later one does.
    rbac.load(Revision(5), &[(key("clusterroles/c"), Revision(1), stored(&role()))]);
    assert!(may(&rbac, &bob(), ""));
    rbac.load(Revision(7), &[(key("clusterroles/c"), Revision(1), stored(&role()))]);
    assert!(!may(&rbac, &bob(), ""));
}

#[test]
fn rules_are_gathered_over_several_steps() {
    let rbac = Rbac::default();
    let gathers = |from: &str, label: &str| json!({"metadata": {"labels": {label: "true"}}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {from: "true"}}]}});
    rbac.put("clusterroles/admin", 1, From::Commit, gathers("to-admin", "x"));
    rbac.put("clusterroles/edit", 2, From::Commit, gathers("to-edit", "to-admin"));
    let leaf = json!({"metadata": {"labels": {"to-edit": "true"}}, "rules": READ_PODS()});
    rbac.put("clusterroles/leaf", 3, From::Commit, leaf);
    let user = json!({"kind": "User", "name": "bob"});
    rbac.put(
        "clusterrolebindings/b",
        4,
        From::Commit,
        bind("ClusterRole", "admin", user),
    );
    assert!(may(&rbac, &bob(), "t1"));
    let mut stale: Vec<String> = rbac.stale_aggregates().into_iter().map(|(name, _)| name).collect();
    stale.sort_unstable();
    assert_eq!(stale, ["admin", "edit"]);
    // Two that gather from one another keep nothing alive.
    rbac.put("clusterroles/leaf", 5, From::Commit, gathers("to-admin", "to-edit"));
    assert!(!may(&rbac, &bob(), "t1"));
}

#[test]
fn a_rule_is_listed_once_for_each_binding() {
    let rbac = Rbac::default();
    rbac.put(
        "clusterroles/c",
        1,
        From::Commit,
        json!({"metadata": {}, "rules": READ_PODS()}),
    );
    let mut twice = bind("ClusterRole", "c", json!({"kind": "User", "name": "bob"}));
    twice["subjects"] = json!([{"kind": "User", "name": "bob"}, {"kind": "Group", "name": "dev"}]);
    rbac.put("rolebindings/t1/b", 2, From::Commit, twice);
    assert_eq!(rbac.rules(&bob(), "t1").rules.len(), 1);
    assert_eq!(rbac.rules(&bob(), "t2"), HeldRules::default());
}
