//! Roles and bindings as they are read from the store.

use apimachinery::json::{Map, Value};
use apimachinery::label_selector::LabelSelector;
use apimachinery::meta;
use apimachinery::rbac::Rule;
use objectstore::Revision;

use super::UserInfo;
use super::rbac::Space;
use crate::codec::{Damaged, Opening, Stored};

/// A Role or ClusterRole.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) modified: Revision,
    pub(crate) labels: Map<'static>,
    /// Which ClusterRoles it gathers its rules from.
    pub(crate) aggregation: Option<Vec<LabelSelector>>,
    /// The rules that it has as an object.
    pub(crate) stored: Vec<Rule>,
    /// The rules that count.
    pub(crate) effective: Vec<Rule>,
}

/// Which role a binding gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleRef {
    pub(crate) is_cluster_role: bool,
    pub(crate) name: String,
}

impl RoleRef {
    /// Reads `roleRef` of a binding.
    pub(crate) fn read(binding: &Value<'_>) -> RoleRef {
        let text = |at: &str| binding.pointer(at).and_then(Value::as_str).unwrap_or_default();
        RoleRef {
            is_cluster_role: text("/roleRef/kind") == "ClusterRole",
            name: text("/roleRef/name").to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        if self.is_cluster_role { "ClusterRole" } else { "Role" }
    }

    /// What is said where the role does not exist.
    pub(crate) fn missing(&self) -> String {
        let kind = if self.is_cluster_role { "clusterrole" } else { "role" };
        format!("{kind}.rbac.authorization.k8s.io {:?} not found", self.name)
    }
}

/// Somebody who is bound.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) is_group: bool,
    /// The name of the user (also of a service account) or group.
    pub(crate) identity: String,
    /// As it is shown: `User "bob"`.
    shown: String,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) modified: Revision,
    pub(crate) role: RoleRef,
    pub(crate) subjects: Vec<Bound>,
    /// As it is shown: `RoleBinding "name/namespace"`.
    shown: String,
}

impl Binding {
    /// How the user comes to what the binding gives.
    pub(crate) fn describe(&self, user: &UserInfo) -> String {
        let is_user = |subject: &&Bound| match subject.is_group {
            true => user.groups.contains(&subject.identity),
            false => user.name == subject.identity,
        };
        let subject = self.subjects.iter().find(is_user).map_or("", |subject| &subject.shown);
        format!(
            "{} of {} {:?} to {subject}",
            self.shown,
            self.role.kind(),
            self.role.name
        )
    }
}

/// What stands at a key.
pub(crate) enum Reading {
    Role(Role),
    Binding(Binding),
}

/// Reads a role or binding of a namespace or the cluster (the empty name).
pub(crate) fn read(stored: &Stored, is_binding: bool, namespace: &str, modified: Revision) -> Result<Reading, Damaged> {
    let text = stored.object(&Opening::anonymous(), modified);
    let object = text.value()?;
    Ok(if is_binding {
        Reading::Binding(binding(&object, namespace, modified))
    } else {
        Reading::Role(role(&object, modified))
    })
}

fn role(object: &Value<'_>, modified: Revision) -> Role {
    let labels = meta::of(object)
        .and_then(|metadata| metadata.get("labels"))
        .and_then(Value::as_object);
    let stored = Rule::read_all(object);
    let selectors = object
        .pointer("/aggregationRule/clusterRoleSelectors")
        .and_then(Value::as_array);
    let selectors = selectors.map(|all| {
        let readable = all
            .iter()
            .filter_map(|selector| LabelSelector::from_object(selector, "").ok());
        readable.collect()
    });
    Role {
        modified,
        labels: labels.cloned().unwrap_or_default().into_owned(),
        aggregation: selectors,
        effective: stored.clone(),
        stored,
    }
}

fn binding(object: &Value<'_>, namespace: &str, modified: Revision) -> Binding {
    let name = meta::of(object).map_or("", |metadata| meta::text(metadata, "name"));
    let subjects = object.get("subjects").and_then(Value::as_array);
    let shown = match namespace {
        "" => format!("ClusterRoleBinding {name:?}"),
        namespace => format!("RoleBinding {:?}", format!("{name}/{namespace}")),
    };
    Binding {
        modified,
        role: RoleRef::read(object),
        subjects: subjects
            .into_iter()
            .flatten()
            .filter_map(|subject| bound(subject, namespace))
            .collect(),
        shown,
    }
}

fn bound(subject: &Value<'_>, namespace: &str) -> Option<Bound> {
    let text = |name: &str| subject.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = text("name");
    let kind = text("kind");
    let shown = format!("{kind} {name:?}");
    match kind {
        "User" | "Group" => Some(Bound {
            is_group: kind == "Group",
            identity: name.to_owned(),
            shown,
        }),
        "ServiceAccount" => {
            let own = Some(text("namespace"))
                .filter(|own| !own.is_empty())
                .unwrap_or(namespace);
            (!own.is_empty()).then(|| Bound {
                is_group: false,
                identity: format!("system:serviceaccount:{own}:{name}"),
                shown: format!("{kind} {:?}", format!("{name}/{own}")),
            })
        }
        _ => None,
    }
}

/// Gathers the rules of the ClusterRoles that say so from those that they select.
pub(super) fn aggregate(space: &mut Space) {
    let mut names: Vec<String> = space.roles.keys().cloned().collect();
    names.sort_unstable();
    let gathering: Vec<String> = names
        .iter()
        .filter(|name| space.roles[*name].aggregation.is_some())
        .cloned()
        .collect();
    for name in &gathering {
        if let Some(role) = space.roles.get_mut(name) {
            role.effective.clear();
        }
    }
    // One that gathers from another one that gathers needs a further round.
    for _ in 0..=gathering.len() {
        let mut changed = false;
        for name in &gathering {
            let rules = gathered(space, &names, name);
            if let Some(role) = space.roles.get_mut(name)
                && role.effective != rules
            {
                role.effective = rules;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

fn gathered(space: &Space, names: &[String], own: &String) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for selector in space.roles[own].aggregation.iter().flatten() {
        for name in names.iter().filter(|name| *name != own) {
            let role = &space.roles[name];
            if !selector.matches(&role.labels) {
                continue;
            }
            for rule in &role.effective {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}
