//! Role based access control: roles and bindings in memory.
//!
//! Every write of a role or binding is taken in before it is answered; what other processes write to the same store
//! comes through a watch. Both may tell of the same write, and in any order: the newest revision counts.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use apimachinery::rbac::{GROUP, Rule};
use bytes::Bytes;
use objectstore::Revision;
use tokio::sync::Notify;

use super::roles::{Binding, Reading, Role, RoleRef, aggregate, read};
use super::{Attributes, Authorizer, Decision, HeldRules, UserInfo};
use crate::codec::{Damaged, Stored};

/// The roles and bindings of a namespace, or those of the cluster.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) roles: HashMap<String, Role>,
    bindings: HashMap<String, Arc<Binding>>,
    /// The bindings by user (also service accounts) and by group.
    users: HashMap<String, Vec<Arc<Binding>>>,
    groups: HashMap<String, Vec<Arc<Binding>>>,
}

impl Space {
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.bindings.is_empty()
    }

    fn bind(&mut self, name: &str, binding: Binding) {
        self.unbind(name);
        let binding = Arc::new(binding);
        for subject in &binding.subjects {
            let bound = if subject.is_group {
                &mut self.groups
            } else {
                &mut self.users
            };
            let bound = bound.entry(subject.identity.clone()).or_default();
            if !bound.iter().any(|known| Arc::ptr_eq(known, &binding)) {
                bound.push(binding.clone());
            }
        }
        self.bindings.insert(name.to_owned(), binding);
    }

    fn unbind(&mut self, name: &str) {
        let Some(binding) = self.bindings.remove(name) else {
            return;
        };
        for subject in &binding.subjects {
            let bound = if subject.is_group {
                &mut self.groups
            } else {
                &mut self.users
            };
            if let Some(all) = bound.get_mut(&subject.identity) {
                all.retain(|known| !Arc::ptr_eq(known, &binding));
                if all.is_empty() {
                    bound.remove(&subject.identity);
                }
            }
        }
    }

    /// The bindings of a user; one that binds the user and a group of his comes twice.
    fn of<'s>(&'s self, user: &'s UserInfo) -> impl Iterator<Item = &'s Arc<Binding>> {
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group));
        self.users.get(&user.name).into_iter().chain(groups).flatten()
    }
}

#[derive(Debug, Default)]
struct State {
    /// Everything up to here has come through the watch.
    seen: Revision,
    /// What was removed after that.
    gone: HashMap<Bytes, Revision>,
    /// By namespace; the cluster's under the empty name.
    spaces: HashMap<String, Space>,
}

/// All roles and bindings.
#[derive(Debug, Default)]
pub(crate) struct Rbac {
    state: RwLock<State>,
    /// Whether the watch of what other processes write is cut off.
    behind: AtomicBool,
    /// A ClusterRole has changed.
    pub(crate) changed: Notify,
}

/// Where a change is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// This process has written it.
    Commit,
    /// The watch tells of it.
    Watch,
}

/// What is in a key of a role or binding: whether it is a binding, the namespace (or nothing), and the name.
fn parts(key: &[u8]) -> Option<(bool, &str, &str)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix("/registry/")?;
    let (plural, rest) = rest.strip_prefix(GROUP)?.strip_prefix('/')?.split_once('/')?;
    match plural {
        "clusterroles" => Some((false, "", rest)),
        "clusterrolebindings" => Some((true, "", rest)),
        "roles" => rest.split_once('/').map(|(namespace, name)| (false, namespace, name)),
        "rolebindings" => rest.split_once('/').map(|(namespace, name)| (true, namespace, name)),
        _ => None,
    }
}

impl State {
    /// The revision up to which a key's object is known.
    fn known(&self, key: &Bytes) -> Option<Revision> {
        let (is_binding, namespace, name) = parts(key)?;
        let space = self.spaces.get(namespace);
        let modified = match is_binding {
            true => space
                .and_then(|space| space.bindings.get(name))
                .map(|binding| binding.modified),
            false => space.and_then(|space| space.roles.get(name)).map(|role| role.modified),
        };
        modified.or_else(|| self.gone.get(key).copied())
    }

    fn apply(&mut self, key: &Bytes, at: Revision, value: Option<&Bytes>) -> Result<(), Damaged> {
        let Some((is_binding, namespace, name)) = parts(key) else {
            return Ok(());
        };
        if self.known(key).is_some_and(|known| known >= at) {
            return Ok(());
        }
        let reading = value
            .map(|value| read(&Stored::read(value.clone())?, is_binding, namespace, at))
            .transpose()?;
        let space = self.spaces.entry(namespace.to_owned()).or_default();
        match reading {
            Some(Reading::Role(role)) => {
                space.roles.insert(name.to_owned(), role);
            }
            Some(Reading::Binding(binding)) => space.bind(name, binding),
            None if is_binding => space.unbind(name),
            None => {
                space.roles.remove(name);
            }
        }
        if value.is_some() {
            self.gone.remove(key);
        } else {
            self.gone.insert(key.clone(), at);
        }
        if space.is_empty() {
            self.spaces.remove(namespace);
        }
        Ok(())
    }

    fn role(&self, binding_namespace: &str, role: &RoleRef) -> Option<&Role> {
        let namespace = if role.is_cluster_role { "" } else { binding_namespace };
        self.spaces.get(namespace)?.roles.get(&role.name)
    }

    /// Shows each rule that a user has, with its binding, until `look` has seen enough. A role that does not exist is
    /// shown as the text about it.
    fn visit<'s, R>(
        &'s self,
        user: &'s UserInfo,
        namespace: &str,
        mut look: impl FnMut(&'s Binding, Result<&'s Rule, String>) -> ControlFlow<R>,
    ) -> Option<R> {
        let cluster = self.spaces.get("").map(|space| ("", space));
        let own = Some(namespace).filter(|namespace| !namespace.is_empty());
        let own = own.and_then(|namespace| Some((namespace, self.spaces.get(namespace)?)));
        for (namespace, space) in cluster.into_iter().chain(own) {
            for binding in space.of(user) {
                let Some(role) = self.role(namespace, &binding.role) else {
                    if let ControlFlow::Break(found) = look(binding, Err(binding.role.missing())) {
                        return Some(found);
                    }
                    continue;
                };
                for rule in &role.effective {
                    if let ControlFlow::Break(found) = look(binding, Ok(rule)) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }
}

impl Rbac {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what other processes write is seen.
    pub(crate) fn is_followed(&self) -> bool {
        !self.behind.load(Ordering::Relaxed)
    }

    /// Says whether the watch of what other processes write works.
    pub(crate) fn follows(&self, works: bool) {
        self.behind.store(!works, Ordering::Relaxed);
    }

    /// Takes in a write or removal.
    pub(crate) fn apply(&self, key: &Bytes, at: Revision, value: Option<&Bytes>, from: From) {
        let mut state = self.write();
        if from == From::Commit && at <= state.seen {
            return;
        }
        if let Err(damaged) = state.apply(key, at, value) {
            tracing::error!(key = %String::from_utf8_lossy(key), "{damaged}");
        }
        if from == From::Watch {
            state.seen = at;
            state.gone.retain(|_, gone| *gone > at);
        }
        let cluster_role = parts(key).is_some_and(|(is_binding, namespace, _)| !is_binding && namespace.is_empty());
        if cluster_role && let Some(space) = state.spaces.get_mut("") {
            aggregate(space);
            self.changed.notify_one();
        }
    }

    /// Takes in everything that there is at a revision: what is known and is no longer there goes.
    pub(crate) fn load(&self, at: Revision, entries: &[(Bytes, Revision, Bytes)]) {
        let mut state = self.write();
        for (key, modified, value) in entries {
            if let Err(damaged) = state.apply(key, *modified, Some(value)) {
                tracing::error!(key = %String::from_utf8_lossy(key), "{damaged}");
            }
        }
        let there: HashSet<(bool, &str, &str)> = entries.iter().filter_map(|(key, ..)| parts(key)).collect();
        for (namespace, space) in &mut state.spaces {
            space
                .roles
                .retain(|name, role| role.modified > at || there.contains(&(false, namespace, name)));
            let lost = space
                .bindings
                .iter()
                .filter(|(name, binding)| binding.modified <= at && !there.contains(&(true, namespace, name)));
            let lost: Vec<String> = lost.map(|(name, _)| name.clone()).collect();
            lost.iter().for_each(|name| space.unbind(name));
        }
        state.seen = at;
        state.gone.retain(|_, gone| *gone > at);
        if let Some(space) = state.spaces.get_mut("") {
            aggregate(space);
        }
        self.changed.notify_one();
    }

    /// The ClusterRoles whose stored rules are not those that they gather from others, with these.
    pub(crate) fn stale_aggregates(&self) -> Vec<(String, Vec<Rule>)> {
        let state = self.read();
        let roles = state.spaces.get("").into_iter().flat_map(|space| &space.roles);
        roles
            .filter(|(_, role)| role.aggregation.is_some() && role.stored != role.effective)
            .map(|(name, role)| (name.clone(), role.effective.clone()))
            .collect()
    }

    /// The rules of a role that a binding in a namespace (or of the cluster) refers to; `None` when there is no such role.
    pub(crate) fn rules_of(&self, binding_namespace: &str, role: &RoleRef) -> Option<Vec<Rule>> {
        self.read()
            .role(binding_namespace, role)
            .map(|role| role.effective.clone())
    }
}

/// Several texts as one, each once: `[a, b]`.
fn joined(mut errors: Vec<String>) -> String {
    let mut seen = HashSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    match errors.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Decision {
        if user.is_master() {
            return Decision::Allow;
        }
        let (verb, subject) = (attributes.verb(), attributes.subject());
        let mut missing = Vec::new();
        let found = self.read().visit(user, attributes.namespace(), |_, rule| match rule {
            Ok(rule) if rule.allows(verb, &subject) => ControlFlow::Break(()),
            Ok(_) => ControlFlow::Continue(()),
            Err(why) => {
                missing.push(why);
                ControlFlow::Continue(())
            }
        });
        match (found, joined(missing)) {
            (Some(()), _) => Decision::Allow,
            (None, why) if why.is_empty() => Decision::NoOpinion(why),
            (None, why) => Decision::NoOpinion(format!("RBAC: {why}")),
        }
    }

    fn explain(&self, user: &UserInfo, attributes: &Attributes<'_>) -> String {
        if user.is_master() {
            return String::new();
        }
        let (verb, subject) = (attributes.verb(), attributes.subject());
        let found = self
            .read()
            .visit(user, attributes.namespace(), |binding, rule| match rule {
                Ok(rule) if rule.allows(verb, &subject) => ControlFlow::Break(binding.describe(user)),
                _ => ControlFlow::Continue(()),
            });
        found.map_or_else(String::new, |who| format!("RBAC: allowed by {who}"))
    }

    fn rules(&self, user: &UserInfo, namespace: &str) -> HeldRules {
        let mut held = HeldRules::default();
        let mut missing = Vec::new();
        let mut visited = HashSet::new();
        self.read().visit(user, namespace, |binding, rule| {
            match rule {
                Ok(rule) => {
                    // A binding that binds the user twice is listed once.
                    let this = (std::ptr::from_ref(binding), std::ptr::from_ref(rule));
                    if visited.insert(this) {
                        held.rules.push(rule.clone());
                    }
                }
                Err(why) => missing.push(why),
            }
            ControlFlow::<()>::Continue(())
        });
        held.error = joined(missing);
        held
    }
}

#[cfg(test)]
mod tests;
