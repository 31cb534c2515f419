//! In whose name objects are made: what a platform may say of its user, and what becomes of requests without one.
//!
//! Name, uid, groups and extra of a user all have to be such that the platform may name them. Nobody acts as a user or member of a
//! group of the system's own (`system:…`), whoever says so.

use std::collections::BTreeMap;

use osb_sdk::{OriginatingIdentity, UserInfo};
use template_controller::resources::Requester;

/// What every user is a member of; the API server adds it to whoever acts as somebody.
const AUTHENTICATED: &str = "system:authenticated";

/// The platform of the identities that Kubernetes sends.
const KUBERNETES: &str = "kubernetes";

/// What begins so is the system's own.
const SYSTEM: &str = "system:";

/// In whose name requests are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// In that of the user whom the platform names; a request without one is refused.
    Named,
    /// The same, and a request that names nobody is carried out in the name of this user.
    NamedOr(String),
    /// Always in the name of this user, whomever the platform names.
    Always(String),
}

/// Users of a platform other than Kubernetes, by the name of their platform: how their names begin here.
pub type Mapped = BTreeMap<String, String>;

/// Who may be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// What becomes of requests.
    pub policy: Policy,
    /// What each platform may say, by its name here: that of its credentials. One that is not in it may name nobody.
    pub allowed: BTreeMap<String, Allowed>,
    /// Users of other platforms, such as `cloudfoundry`; those that are not in it are refused.
    pub mapped: Mapped,
}

/// The identities that a platform may name. A text that ends with `*` stands for all that begin so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Names of users.
    pub users: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Keys of `extra`.
    pub extra: Vec<String>,
}

impl Allowed {
    /// Everybody but the system's own.
    pub fn everybody() -> Self {
        let all = || vec!["*".to_owned()];
        Self {
            users: all(),
            groups: all(),
            extra: all(),
        }
    }
}

/// Why a request is not carried out in anybody's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It names nobody.
    #[error("the request names no user: this broker acts only in the name of one (X-Broker-API-Originating-Identity)")]
    Nobody,
    /// Its user is one of a platform that nobody has mapped.
    #[error("users of the platform {0:?} are not users of this cluster")]
    NotMapped(String),
    /// The system's own.
    #[error("{0:?} is the system's own: this broker does not act so")]
    System(String),
    /// The platform may not say so.
    #[error("the platform may not act as {what} {name:?}")]
    NotAllowed {
        /// User, group or extra.
        what: &'static str,
        /// Which one.
        name: String,
    },
}

impl Identities {
    /// Whose objects these will be.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn requester(&self, platform: &str, identity: Option<&OriginatingIdentity>) -> Result<Requester, Refusal> {
        let named = |name: &String| Requester {
            username: name.clone(),
            ..Requester::default()
        };
        match (&self.policy, identity) {
            (Policy::Always(name), _) | (Policy::NamedOr(name), None) => Ok(named(name)),
            (Policy::Named, None) => Err(Refusal::Nobody),
            (_, Some(identity)) => self.named(platform, identity),
        }
    }

    fn named(&self, platform: &str, identity: &OriginatingIdentity) -> Result<Requester, Refusal> {
        let user = identity.user_info();
        if user.name.is_empty() {
            return Err(Refusal::Nobody);
        }
        let requester = if identity.platform.eq_ignore_ascii_case(KUBERNETES) {
            requester(user)
        } else {
            let prefix = self.mapped.get(&identity.platform);
            let prefix = prefix.ok_or_else(|| Refusal::NotMapped(identity.platform.clone()))?;
            // The id outlives the name, and nobody else can have it.
            let id = if user.uid.is_empty() { &user.name } else { &user.uid };
            Requester {
                username: format!("{prefix}{id}"),
                ..Requester::default()
            }
        };
        let nothing = Allowed::default();
        check(&requester, self.allowed.get(platform).unwrap_or(&nothing))?;
        Ok(requester)
    }
}

fn requester(user: UserInfo) -> Requester {
    Requester {
        username: user.name,
        uid: user.uid,
        groups: user.groups.into_iter().filter(|group| group != AUTHENTICATED).collect(),
        extra: user.extra,
    }
}

fn check(requester: &Requester, allowed: &Allowed) -> Result<(), Refusal> {
    let names = std::iter::once(&requester.username).chain(&requester.groups);
    if let Some(name) = names
        .clone()
        .find(|name| name.trim_start().to_ascii_lowercase().starts_with(SYSTEM))
    {
        return Err(Refusal::System(name.clone()));
    }
    let extra = requester.extra.keys();
    let users = std::iter::once(("the user", &requester.username, &allowed.users));
    let groups = requester
        .groups
        .iter()
        .map(|group| ("a member of", group, &allowed.groups));
    let extra = extra.map(|key| ("somebody with the extra", key, &allowed.extra));
    for (what, name, patterns) in users.chain(groups).chain(extra) {
        if !patterns.iter().any(|pattern| matches(pattern, name)) {
            return Err(Refusal::NotAllowed {
                what,
                name: name.clone(),
            });
        }
    }
    Ok(())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn identity(platform: &str, value: Value) -> OriginatingIdentity {
        OriginatingIdentity {
            platform: platform.to_owned(),
            value: value.as_object().cloned().unwrap(),
        }
    }

    fn identities(policy: Policy, allowed: Allowed) -> Identities {
        Identities {
            policy,
            allowed: BTreeMap::from([("shop".to_owned(), allowed)]),
            mapped: Mapped::from([("cloudfoundry".to_owned(), "cf:".to_owned())]),
        }
    }

    fn ann() -> OriginatingIdentity {
        let extra = json!({"scopes": ["a"]});
        identity(
            "kubernetes",
            json!({"username": "ann", "uid": "u1", "groups": ["dev", "system:authenticated"], "extra": extra}),
        )
    }

    #[test]
    fn a_user_is_taken_whole() {
        let identities = identities(Policy::Named, Allowed::everybody());
        let requester = identities.requester("shop", Some(&ann())).unwrap();
        assert_eq!((requester.username.as_str(), requester.uid.as_str()), ("ann", "u1"));
        assert_eq!(requester.groups, ["dev"]);
        assert_eq!(requester.extra["scopes"], ["a"]);
    }

    #[test]
    fn requests_without_a_user_are_refused_unless_somebody_stands_in() {
        let of = |policy, identity: Option<&OriginatingIdentity>| {
            let requester = identities(policy, Allowed::everybody()).requester("shop", identity);
            requester.map(|requester| requester.username)
        };
        assert_eq!(of(Policy::Named, None), Err(Refusal::Nobody));
        assert_eq!(
            of(Policy::Named, Some(&identity("kubernetes", json!({})))),
            Err(Refusal::Nobody)
        );
        assert_eq!(of(Policy::NamedOr("bot".to_owned()), None), Ok("bot".to_owned()));
        assert_eq!(
            of(Policy::NamedOr("bot".to_owned()), Some(&ann())),
            Ok("ann".to_owned())
        );
        assert_eq!(of(Policy::Always("bot".to_owned()), Some(&ann())), Ok("bot".to_owned()));
    }

    #[test]
    fn nobody_acts_as_the_system() {
        let identities = identities(Policy::Named, Allowed::everybody());
        for value in [
            json!({"username": "system:admin"}),
            json!({"username": "ann", "groups": ["dev", "system:masters"]}),
            json!({"username": "System:serviceaccount:kube-system:admin"}),
            json!({"username": "ann", "groups": [" system:masters"]}),
        ] {
            let refused = identities.requester("shop", Some(&identity("kubernetes", value.clone())));
            assert!(matches!(refused, Err(Refusal::System(_))), "{value}: {refused:?}");
        }
    }

    #[test]
    fn a_platform_names_only_whom_it_may() {
        let allowed = Allowed {
            users: vec!["ann".to_owned(), "shop-*".to_owned()],
            groups: vec!["dev".to_owned()],
            extra: Vec::new(),
        };
        let identities = identities(Policy::Named, allowed);
        let of = |platform: &str, value: Value| identities.requester(platform, Some(&identity("kubernetes", value)));
        assert!(of("shop", json!({"username": "ann", "groups": ["dev"]})).is_ok());
        assert!(of("shop", json!({"username": "shop-7"})).is_ok());
        for value in [
            json!({"username": "eve"}),
            json!({"username": "ann", "groups": ["admins"]}),
            json!({"username": "ann", "extra": {"scopes": ["all"]}}),
        ] {
            assert!(matches!(of("shop", value), Err(Refusal::NotAllowed { .. })));
        }
        assert!(matches!(
            of("office", json!({"username": "ann"})),
            Err(Refusal::NotAllowed { .. })
        ));
    }

    #[test]
    fn users_of_other_platforms_are_taken_by_their_id_where_they_are_mapped() {
        let identities = identities(Policy::Named, Allowed::everybody());
        let cloud_foundry = identity("cloudfoundry", json!({"user_id": "683ea748", "user_name": "root"}));
        let requester = identities.requester("shop", Some(&cloud_foundry)).unwrap();
        assert_eq!(requester.username, "cf:683ea748");
        let other = identity("sapcp", json!({"user_id": "u"}));
        assert_eq!(
            identities.requester("shop", Some(&other)),
            Err(Refusal::NotMapped("sapcp".to_owned()))
        );
    }
}
