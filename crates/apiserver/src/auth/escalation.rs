//! Nobody grants what he does not hold: the check of writes of roles and bindings, and of approved certificates.

use apimachinery::json::Value;
use apimachinery::meta;
use apimachinery::rbac::{GROUP, Rule, uncovered};
use apimachinery::status::Status;

use super::roles::RoleRef;
use super::{Attributes, Authorizer as _, UserInfo, everything};
use crate::builtin::Special;
use crate::codec::{Opening, Stored};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::server::Server;
use crate::target::{Subresource, Target};

/// Checks a role or binding on its way into the store; other kinds pass. `object` has been shaped, not validated yet.
///
/// # Errors
/// 403 when the user would grant what he does not hold; 404 when the role of a binding does not exist and the user may not
/// bind it unseen.
pub(crate) async fn check(
    server: &Server,
    user: &UserInfo,
    target: &Target,
    object: &Value<'_>,
    old: Option<&Value<'_>>,
) -> Result<(), Failure> {
    let special = target.resource.rules.special;
    if target.subresource == Subresource::Approval {
        return approval(server, user, target, object);
    }
    if !matches!(special, Special::Role | Special::Binding) || user.is_master() {
        return Ok(());
    }
    if old.is_some_and(|old| only_lifecycle_differs(old, object)) {
        return Ok(());
    }
    match special {
        Special::Role => role(server, user, target, object, old),
        _ => binding(server, user, target, object).await,
    }
}

/// Who approves a request for a certificate may do so for its signer, by name or for all of the signer's domain.
fn approval(server: &Server, user: &UserInfo, target: &Target, object: &Value<'_>) -> Result<(), Failure> {
    let signer = object
        .pointer("/spec/signerName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    let may = |name: &str| {
        let approve = Attributes::Resource {
            verb: "approve",
            group: &target.resource.id.group,
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
        };
        server.access.allows(user, &approve)
    };
    if may(signer) || domain.as_deref().is_some_and(may) {
        return Ok(());
    }
    let why = format!("user not permitted to approve requests with signerName {signer:?}");
    Err(Status::forbidden(&target.resource.id, &target.name, &why).into())
}

fn role(
    server: &Server,
    user: &UserInfo,
    target: &Target,
    object: &Value<'_>,
    old: Option<&Value<'_>>,
) -> Result<(), Failure> {
    let escalate = Attributes::Resource {
        verb: "escalate",
        group: GROUP,
        resource: &target.resource.id.plural,
        subresource: "",
        namespace: &target.namespace,
        name: &target.name,
    };
    if server.access.allows(user, &escalate) {
        return Ok(());
    }
    confirm(server, user, target, object, &Rule::read_all(object))?;
    let gathers = |role: &Value<'_>| {
        let selectors = role
            .pointer("/aggregationRule/clusterRoleSelectors")
            .and_then(Value::as_array);
        selectors.is_some_and(|selectors| !selectors.is_empty())
    };
    let aggregates = gathers(object) || old.is_some_and(gathers);
    if aggregates && !uncovered(&server.access.rules(user, "").rules, &everything()).is_empty() {
        let why = "must have cluster-admin privileges to use the aggregationRule";
        return Err(Status::forbidden(&target.resource.id, name_of(target, object), why).into());
    }
    Ok(())
}

async fn binding(server: &Server, user: &UserInfo, target: &Target, object: &Value<'_>) -> Result<(), Failure> {
    let role = RoleRef::read(object);
    let group = object.pointer("/roleRef/apiGroup").and_then(Value::as_str);
    let group = group.filter(|group| !group.is_empty()).unwrap_or(GROUP);
    let plural = if role.is_cluster_role { "clusterroles" } else { "roles" };
    let bind = Attributes::Resource {
        verb: "bind",
        group,
        resource: plural,
        subresource: "",
        namespace: &target.namespace,
        name: &role.name,
    };
    if server.access.allows(user, &bind) {
        return Ok(());
    }
    let rules = match &server.access.rbac {
        Some(rbac) => rbac.rules_of(&target.namespace, &role),
        None => stored_rules(server, &target.namespace, plural, &role).await?,
    };
    let rules = rules.ok_or_else(|| Status::not_found(&target.resource.id, &role.name))?;
    confirm(server, user, target, object, &rules)
}

async fn stored_rules(
    server: &Server,
    namespace: &str,
    plural: &str,
    role: &RoleRef,
) -> Result<Option<Vec<Rule>>, Failure> {
    let key = Keys::new(GROUP, plural, !role.is_cluster_role).object(namespace, &role.name);
    let Some(entry) = server.store.get(key, None).await? else {
        return Ok(None);
    };
    let text = Stored::read(entry.value)?.object(&Opening::anonymous(), entry.modified);
    Ok(Some(Rule::read_all(&text.value()?)))
}

/// Refuses rules that the user does not hold.
fn confirm(
    server: &Server,
    user: &UserInfo,
    target: &Target,
    object: &Value<'_>,
    rules: &[Rule],
) -> Result<(), Failure> {
    let held = server.access.rules(user, &target.namespace);
    let missing = uncovered(&held.rules, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = missing.iter().map(Rule::to_string).collect();
    lines.sort_unstable();
    lines.dedup();
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    let mut why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        lines.join("\n")
    );
    if !held.error.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", held.error));
    }
    Err(Status::forbidden(&target.resource.id, name_of(target, object), &why).into())
}

fn name_of<'n>(target: &'n Target, object: &'n Value<'_>) -> &'n str {
    let given = meta::of(object).map_or("", |metadata| meta::text(metadata, "name"));
    if given.is_empty() { &target.name } else { given }
}

/// Whether two objects differ in nothing but what says who owns them and what holds them: who collects garbage changes that.
fn only_lifecycle_differs(old: &Value<'_>, new: &Value<'_>) -> bool {
    let stripped = |object: &Value<'_>| {
        let mut object = object.clone().into_owned();
        if let Some(metadata) = meta::of_mut(&mut object) {
            for name in ["ownerReferences", "finalizers", "resourceVersion", "managedFields"] {
                metadata.remove(name);
            }
        }
        object
    };
    stripped(old) == stripped(new)
}
