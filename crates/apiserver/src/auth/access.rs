//! The authorizers of a server, in the order in which they are asked.

use std::sync::Arc;

use apimachinery::gvk;
use apimachinery::rbac::Subject;
use apimachinery::status::Status;

use super::rbac::Rbac;
use super::{AllowMasters, AlwaysAllow, Attributes, Authorization, Authorizer, Decision, HeldRules, UserInfo, is_open};

/// Who may do what on this server.
pub(crate) struct Access {
    chain: Vec<Arc<dyn Authorizer>>,
    /// Kept up to date where it is one of the chain.
    pub(crate) rbac: Option<Arc<Rbac>>,
}

impl Access {
    pub(crate) fn new(authorization: &Authorization) -> Access {
        let mut access = Access {
            chain: Vec::new(),
            rbac: None,
        };
        access.add(authorization);
        access
    }

    fn add(&mut self, authorization: &Authorization) {
        match authorization {
            Authorization::Masters => self.chain.push(Arc::new(AllowMasters)),
            Authorization::AlwaysAllow => self.chain.push(Arc::new(AlwaysAllow)),
            Authorization::Custom(custom) => self.chain.push(custom.clone()),
            Authorization::Chain(all) => all.iter().for_each(|one| self.add(one)),
            Authorization::Rbac => {
                let rbac = self.rbac.get_or_insert_with(Arc::default).clone();
                self.chain.push(rbac);
            }
        }
    }

    /// Refuses what the user may not do.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self.authorize(user, attributes) {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => Err(refusal(user, attributes, &why)),
        }
    }

    /// Whether everybody may see a path without being asked about. With roles, these say so but for the three roots.
    pub(crate) fn is_open(&self, path: &str) -> bool {
        match self.rbac {
            Some(_) => matches!(path, "/livez" | "/readyz" | "/healthz"),
            None => is_open(path),
        }
    }

    pub(crate) fn allows(&self, user: &UserInfo, attributes: &Attributes<'_>) -> bool {
        self.authorize(user, attributes) == Decision::Allow
    }
}

impl Authorizer for Access {
    fn authorize(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.chain {
            match authorizer.authorize(user, attributes) {
                Decision::NoOpinion(why) if why.is_empty() => {}
                Decision::NoOpinion(why) => reasons.push(why),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    fn explain(&self, user: &UserInfo, attributes: &Attributes<'_>) -> String {
        let decides = |authorizer: &&Arc<dyn Authorizer>| authorizer.authorize(user, attributes) == Decision::Allow;
        let decider = self.chain.iter().find(decides);
        decider.map_or_else(String::new, |authorizer| authorizer.explain(user, attributes))
    }

    fn rules(&self, user: &UserInfo, namespace: &str) -> HeldRules {
        let mut all = HeldRules::default();
        let mut errors = Vec::new();
        for authorizer in &self.chain {
            let held = authorizer.rules(user, namespace);
            all.incomplete |= held.incomplete;
            all.rules.extend(held.rules);
            errors.extend(Some(held.error).filter(|error| !error.is_empty()));
        }
        all.error = errors.join(", ");
        all
    }
}

impl<'r> Attributes<'r> {
    /// What a rule looks at.
    pub(crate) fn subject(&self) -> Subject<'r> {
        match *self {
            Attributes::Resource {
                group,
                resource,
                subresource,
                name,
                ..
            } => Subject::Resource {
                group,
                resource,
                subresource,
                name,
            },
            Attributes::Path { path, .. } => Subject::Path(path),
        }
    }

    pub(crate) fn verb(&self) -> &'r str {
        match *self {
            Attributes::Resource { verb, .. } | Attributes::Path { verb, .. } => verb,
        }
    }

    /// The namespace, or nothing.
    pub(crate) fn namespace(&self) -> &'r str {
        match *self {
            Attributes::Resource { namespace, .. } => namespace,
            Attributes::Path { .. } => "",
        }
    }
}

/// The text of a user or path in a message, without what looks like markup.
fn harmless(text: String) -> String {
    if text.contains(['&', '<', '>']) {
        return text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    }
    text
}

/// What somebody is told who may not do this.
pub(crate) fn refusal(user: &UserInfo, attributes: &Attributes<'_>, why: &str) -> Status {
    let explained = |text: String| {
        let text = harmless(text);
        if why.is_empty() { text } else { format!("{text}: {why}") }
    };
    match *attributes {
        Attributes::Path { verb, path } => {
            Status::forbidden_path(&explained(format!("User {:?} cannot {verb} path {path:?}", user.name)))
        }
        Attributes::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
        } => {
            let part = if subresource.is_empty() { "" } else { "/" };
            let place = match namespace {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            let text = format!(
                "User {:?} cannot {verb} resource \"{resource}{part}{subresource}\" in API group {group:?} {place}",
                user.name
            );
            Status::forbidden(&gvk::Resource::new(group, resource), name, &explained(text))
        }
    }
}
