//! Roles and their bindings in OpenShift's own form, as Kubernetes has them.
//!
//! OpenShift had them before Kubernetes did. Its group is served on OpenShift only, so elsewhere they become
//! `rbac.authorization.k8s.io/v1`, and the old fields `userNames` and `groupNames` become subjects.

use crate::json::{Object, Value};

const GROUP: &str = "rbac.authorization.k8s.io";
const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// Which form roles and bindings without a group, or of OpenShift's group, get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Roles {
    /// OpenShift's, as `oc process` gives them.
    #[default]
    OpenShift,
    /// That of Kubernetes, which clusters of both kinds take.
    Kubernetes,
}

/// Whether it is one of the kinds that can be written in both forms.
pub fn is_role(kind: &str) -> bool {
    matches!(kind, "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding")
}

/// Rewrites an object of OpenShift's group, if it is one of these kinds.
///
/// `roleRef` gets a kind: that of the namespace of the binding where it names one, else ClusterRole. What Kubernetes does not
/// know, `attributeRestrictions`, goes.
pub fn to_kubernetes(object: &mut Object<'_>) {
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !is_role(&kind) {
        return;
    }
    object.set("apiVersion", VERSION);
    if kind.ends_with("Binding") {
        binding(object);
    } else if let Some(Value::Array(rules)) = object.get_mut("rules") {
        rules.iter_mut().filter_map(Value::as_object_mut).for_each(rule);
    }
}

fn rule(rule: &mut Object<'_>) {
    rule.remove("attributeRestrictions");
    let has = |name: &str| {
        let list = rule.get(name).and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty())
    };
    if has("resources") && !has("apiGroups") {
        rule.set("apiGroups", vec![""]);
    }
    rule.retain(|_, value| !value.is_null());
}

fn binding(object: &mut Object<'_>) {
    if let Some(role) = object.get_mut("roleRef").and_then(Value::as_object_mut) {
        let namespace = role.remove("namespace");
        let is_local = namespace.is_some_and(|namespace| namespace.as_str().is_some_and(|text| !text.is_empty()));
        if role.get("kind").is_none_or(Value::is_null) {
            role.set("kind", if is_local { "Role" } else { "ClusterRole" });
        }
        role.retain(|name, _| matches!(name, "kind" | "name"));
        role.set("apiGroup", GROUP);
    }
    let users = object.remove("userNames");
    let groups = object.remove("groupNames");
    let is_list = |value: &Option<Value<'_>>| matches!(value, Some(Value::Array(_)));
    if is_list(&users) || is_list(&groups) {
        let mut subjects = Vec::new();
        let (users, groups) = (texts(users), texts(groups));
        subjects.extend(users.iter().map(|user| match service_account(user) {
            Some((namespace, name)) => account(namespace, name),
            None => named("User", user),
        }));
        subjects.extend(groups.iter().map(|group| named("Group", group)));
        object.set("subjects", subjects);
    } else if let Some(Value::Array(subjects)) = object.get_mut("subjects") {
        subjects.iter_mut().filter_map(Value::as_object_mut).for_each(subject);
    }
}

fn texts(value: Option<Value<'_>>) -> Vec<String> {
    let Some(Value::Array(items)) = value else {
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Namespace and name of the service account that a user is.
fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

fn account(namespace: &str, name: &str) -> Value<'static> {
    let members = [("kind", "ServiceAccount"), ("namespace", namespace), ("name", name)];
    Value::Object(
        members
            .into_iter()
            .map(|(key, value)| (key, value.to_owned()))
            .collect(),
    )
}

fn named(kind: &str, name: &str) -> Value<'static> {
    let members = [("kind", kind), ("apiGroup", GROUP), ("name", name)];
    Value::Object(
        members
            .into_iter()
            .map(|(key, value)| (key, value.to_owned()))
            .collect(),
    )
}

fn subject(subject: &mut Object<'_>) {
    let kind = match subject.get("kind").and_then(Value::as_str) {
        Some("User" | "SystemUser") => "User",
        Some("Group" | "SystemGroup") => "Group",
        _ => return,
    };
    let name = subject
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    match service_account(&name) {
        Some((namespace, name)) if kind == "User" => {
            let Value::Object(account) = account(namespace, name) else {
                return;
            };
            *subject = account;
        }
        _ => {
            subject.set("kind", kind);
            subject.set("apiGroup", GROUP);
            subject.remove("namespace");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn converted(text: &str) -> String {
        let mut value = json::read(text).unwrap().value;
        to_kubernetes(value.as_object_mut().unwrap());
        value.to_string()
    }

    #[test]
    fn names_of_users_and_groups_become_subjects() {
        assert_eq!(
            converted(
                r#"{"kind":"RoleBinding","roleRef":{"name":"view"},"subjects":[{"kind":"User","name":"old"}],
                "userNames":["eve","system:serviceaccount:ns:sa"],"groupNames":["all"]}"#
            ),
            "{\"kind\":\"RoleBinding\",\
             \"roleRef\":{\"name\":\"view\",\"kind\":\"ClusterRole\",\"apiGroup\":\"rbac.authorization.k8s.io\"},\
             \"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"eve\"},\
             {\"kind\":\"ServiceAccount\",\"namespace\":\"ns\",\"name\":\"sa\"},\
             {\"kind\":\"Group\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"all\"}],\
             \"apiVersion\":\"rbac.authorization.k8s.io/v1\"}"
        );
    }

    #[test]
    fn subjects_get_their_group_and_a_local_role_stays_local() {
        assert_eq!(
            converted(
                r#"{"apiVersion":"v1","kind":"RoleBinding","roleRef":{"name":"r","namespace":"ns"},"userNames":null,
                "subjects":[{"kind":"SystemGroup","name":"g"},{"kind":"ServiceAccount","name":"s"},
                {"kind":"SystemUser","name":"system:serviceaccount:n:t"}]}"#
            ),
            "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"RoleBinding\",\
             \"roleRef\":{\"name\":\"r\",\"kind\":\"Role\",\"apiGroup\":\"rbac.authorization.k8s.io\"},\
             \"subjects\":[{\"kind\":\"Group\",\"name\":\"g\",\"apiGroup\":\"rbac.authorization.k8s.io\"},\
             {\"kind\":\"ServiceAccount\",\"name\":\"s\"},\
             {\"kind\":\"ServiceAccount\",\"namespace\":\"n\",\"name\":\"t\"}]}"
        );
    }

    #[test]
    fn rules_lose_what_kubernetes_does_not_know() {
        assert_eq!(
            converted(
                r#"{"kind":"Role","rules":[{"apiGroups":null,"attributeRestrictions":null,"resources":["pods"],"verbs":["get"]},
                {"nonResourceURLs":["/"],"verbs":["get"]}]}"#
            ),
            "{\"kind\":\"Role\",\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\"]},\
             {\"nonResourceURLs\":[\"/\"],\"verbs\":[\"get\"]}],\"apiVersion\":\"rbac.authorization.k8s.io/v1\"}"
        );
        assert_eq!(converted(r#"{"kind":"Route"}"#), r#"{"kind":"Route"}"#);
    }
}
