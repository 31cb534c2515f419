//! Impersonation: somebody acts as another user, where he may.
//!
//! There are two sorts of permission. The older one is the verb `impersonate` on users, groups, service accounts, uids and
//! extras, for whatever is done then. The constrained one is asked first: `impersonate:MODE` for the identity, and
//! `impersonate-on:MODE:VERB` for what is done. Its modes are a node that the service account runs on, any node, a service
//! account, and other users.

use std::collections::BTreeMap;

use apimachinery::meta::dns_subdomain_problems;
use apimachinery::status::Status;
use http::HeaderMap;

use super::access::{Access, refusal};
use super::{ANONYMOUS, AUTHENTICATED, Attributes, MASTERS, UNAUTHENTICATED, UserInfo};
use crate::query::percent_decode;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
/// From so many on, one question about all groups or extras is asked before those about each.
const MANY: usize = 4;

/// A way of constrained impersonation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
}

impl Mode {
    const ALL: [Mode; 4] = [
        Mode::AssociatedNode,
        Mode::ArbitraryNode,
        Mode::ServiceAccount,
        Mode::UserInfo,
    ];

    fn name(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "associated-node",
            Mode::ArbitraryNode => "arbitrary-node",
            Mode::ServiceAccount => "serviceaccount",
            Mode::UserInfo => "user-info",
        }
    }

    fn is_for(self, wanted: &UserInfo, requestor: &UserInfo) -> bool {
        let alone = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node_name(&wanted.name), account_name(&wanted.name));
        match self {
            Mode::AssociatedNode => {
                let own = requestor.extra.get("authentication.kubernetes.io/node-name");
                let own = own.and_then(|names| {
                    if let [one] = names.as_slice() {
                        Some(one.as_str())
                    } else {
                        None
                    }
                });
                alone && node.is_some() && own == node && account_name(&requestor.name).is_some()
            }
            Mode::ArbitraryNode => alone && node.is_some(),
            Mode::ServiceAccount => alone && account.is_some(),
            Mode::UserInfo => node.is_none() && account.is_none(),
        }
    }
}

/// The name of a node in the name of its user.
fn node_name(user: &str) -> Option<&str> {
    user.strip_prefix("system:node:")
        .filter(|name| dns_subdomain_problems(name).is_empty())
}

/// Namespace and name in the name of the user of a service account.
fn account_name(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let right = apimachinery::meta::dns_label_problems(namespace).is_empty() && dns_subdomain_problems(name).is_empty();
    right.then_some((namespace, name))
}

/// The user that a request wants to be, as its headers say it; `None` for a request that is nobody else's.
///
/// # Errors
/// 400 when there is more than a user, and no user.
pub(crate) fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, Status> {
    let is_impersonation = |name: &http::HeaderName| name.as_str().starts_with("impersonate-");
    if !headers.keys().any(is_impersonation) {
        return Ok(None);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let first = |name: &str| headers.get(name).map(text).unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra
                .entry(percent_decode(key).into_owned())
                .or_default()
                .push(text(value));
        }
    }
    let user = UserInfo {
        name: first(USER),
        uid: first(UID),
        groups: headers.get_all(GROUP).iter().map(text).collect(),
        extra,
    };
    if !user.name.is_empty() {
        return Ok(Some(user));
    }
    if user.uid.is_empty() && user.groups.is_empty() && user.extra.is_empty() {
        return Ok(None);
    }
    let why = "requested to impersonate a uid, groups or extras without impersonating a user name";
    Err(Status::bad_request(why))
}

/// The user that the request acts as, if its sender may.
///
/// # Errors
/// 403 by the first permission that was asked for.
pub(crate) fn user(
    access: &Access,
    requestor: &UserInfo,
    wanted: &UserInfo,
    attributes: &Attributes<'_>,
) -> Result<UserInfo, Status> {
    let mut first = None;
    for mode in Mode::ALL.into_iter().filter(|mode| mode.is_for(wanted, requestor)) {
        match constrained(access, mode, requestor, wanted, attributes) {
            Ok(user) => return Ok(user),
            Err(status) => first = first.or(Some(status)),
        }
    }
    let check = Check {
        access,
        requestor,
        mode: None,
    };
    check.identity(wanted).map_err(|status| first.unwrap_or(status))
}

fn constrained(
    access: &Access,
    mode: Mode,
    requestor: &UserInfo,
    wanted: &UserInfo,
    attributes: &Attributes<'_>,
) -> Result<UserInfo, Status> {
    let verb = format!("impersonate-on:{}:{}", mode.name(), attributes.verb());
    let on = match *attributes {
        Attributes::Resource {
            group,
            resource,
            subresource,
            namespace,
            name,
            ..
        } => Attributes::Resource {
            verb: &verb,
            group,
            resource,
            subresource,
            namespace,
            name,
        },
        Attributes::Path { path, .. } => Attributes::Path { verb: &verb, path },
    };
    access.check(requestor, &on)?;
    let check = Check {
        access,
        requestor,
        mode: Some(mode),
    };
    check.identity(wanted)
}

/// The questions about an identity, in a mode or the older way.
struct Check<'c> {
    access: &'c Access,
    requestor: &'c UserInfo,
    mode: Option<Mode>,
}

impl Check<'_> {
    fn verb(&self) -> String {
        self.mode.map_or_else(
            || "impersonate".to_owned(),
            |mode| format!("impersonate:{}", mode.name()),
        )
    }

    /// The group of users, groups and service accounts in rules.
    fn group(&self) -> &'static str {
        if self.mode.is_some() {
            "authentication.k8s.io"
        } else {
            ""
        }
    }

    fn ask(&self, group: &str, resource: &str, subresource: &str, namespace: &str, name: &str) -> Result<(), Status> {
        let verb = self.verb();
        let attributes = Attributes::Resource {
            verb: &verb,
            group,
            resource,
            subresource,
            namespace,
            name,
        };
        self.access.check(self.requestor, &attributes)
    }

    fn refuse(&self, resource: &str, name: &str, why: &str) -> Status {
        let (verb, group) = (self.verb(), self.resource_group(resource));
        let attributes = Attributes::Resource {
            verb: &verb,
            group,
            resource,
            subresource: "",
            namespace: "",
            name,
        };
        refusal(self.requestor, &attributes, why)
    }

    fn resource_group(&self, resource: &str) -> &'static str {
        if resource == "userextras" {
            "authentication.k8s.io"
        } else {
            self.group()
        }
    }

    fn identity(&self, wanted: &UserInfo) -> Result<UserInfo, Status> {
        let mut user = wanted.clone();
        self.name(wanted, &mut user)?;
        if !wanted.uid.is_empty() {
            self.ask("authentication.k8s.io", "uids", "", "", &wanted.uid)?;
        }
        self.groups(&wanted.groups)?;
        self.extra(&wanted.extra)?;
        let more = if user.name == ANONYMOUS {
            Some(UNAUTHENTICATED)
        } else {
            (!user.groups.iter().any(|group| group == UNAUTHENTICATED)).then_some(AUTHENTICATED)
        };
        if let Some(more) = more.filter(|more| !user.groups.iter().any(|group| group == more)) {
            user.groups.push(more.to_owned());
        }
        Ok(user)
    }

    fn name(&self, wanted: &UserInfo, user: &mut UserInfo) -> Result<(), Status> {
        if let Some(node) = node_name(&wanted.name).filter(|_| self.mode.is_some()) {
            user.groups = vec!["system:nodes".to_owned()];
            // A permission for the own node holds on whichever node that is.
            let node = if self.mode == Some(Mode::AssociatedNode) {
                "*"
            } else {
                node
            };
            return self.ask(self.group(), "nodes", "", "", node);
        }
        let Some((namespace, name)) = account_name(&wanted.name) else {
            return self.ask(self.group(), "users", "", "", &wanted.name);
        };
        if wanted.groups.is_empty() {
            user.groups = vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ];
        }
        self.ask(self.group(), "serviceaccounts", "", namespace, name)
    }

    fn groups(&self, groups: &[String]) -> Result<(), Status> {
        if self.mode.is_some() {
            if groups.iter().any(String::is_empty) {
                return Err(self.refuse("groups", "", "impersonating the empty string group is not allowed"));
            }
            if groups.iter().any(|group| group == MASTERS) {
                let why = "impersonating the system:masters group is not allowed";
                return Err(self.refuse("groups", MASTERS, why));
            }
            if groups.len() >= MANY && self.ask(self.group(), "groups", "", "", "*").is_ok() {
                return Ok(());
            }
        }
        groups
            .iter()
            .try_for_each(|group| self.ask(self.group(), "groups", "", "", group))
    }

    fn extra(&self, extra: &BTreeMap<String, Vec<String>>) -> Result<(), Status> {
        let group = "authentication.k8s.io";
        if self.mode.is_some() {
            let empty = |(key, values): (&String, &Vec<String>)| key.is_empty() || values.iter().any(String::is_empty);
            if extra.iter().any(empty) {
                let why = "impersonating the empty string in extra is not allowed";
                return Err(self.refuse("userextras", "", why));
            }
            let count: usize = extra.values().map(Vec::len).sum();
            if count >= MANY && self.ask(group, "userextras", "*", "", "*").is_ok() {
                return Ok(());
            }
        }
        for (key, values) in extra {
            values
                .iter()
                .try_for_each(|value| self.ask(group, "userextras", key, "", value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authorization, Authorizer, Decision};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    /// Allows what it lists, as `verb resource/part name`.
    struct Listed(&'static [&'static str]);

    impl Authorizer for Listed {
        fn authorize(&self, _: &UserInfo, attributes: &Attributes<'_>) -> Decision {
            let Attributes::Resource {
                verb,
                resource,
                subresource,
                name,
                ..
            } = attributes
            else {
                return Decision::NoOpinion(String::new());
            };
            let asked = format!("{verb} {resource}/{subresource} {name}");
            if self.0.contains(&asked.as_str()) {
                Decision::Allow
            } else {
                Decision::NoOpinion(String::new())
            }
        }
    }

    fn as_user(
        allowed: &'static [&'static str],
        requestor: &UserInfo,
        pairs: &[(&'static str, &'static str)],
    ) -> Result<UserInfo, String> {
        let access = Access::new(&Authorization::Custom(std::sync::Arc::new(Listed(allowed))));
        let wanted = wanted(&headers(pairs)).expect("good headers").expect("a user");
        let attributes = Attributes::Resource {
            verb: "list",
            group: "",
            resource: "pods",
            subresource: "",
            namespace: "t",
            name: "",
        };
        user(&access, requestor, &wanted, &attributes).map_err(|status| status.to_string())
    }

    fn bob() -> UserInfo {
        UserInfo::new("bob", ["dev"])
    }

    #[test]
    fn headers_name_a_user_or_nobody() {
        assert_eq!(wanted(&HeaderMap::new()), Ok(None));
        assert!(wanted(&headers(&[("impersonate-group", "g")])).is_err());
        assert!(wanted(&headers(&[("impersonate-extra-a", "g")])).is_err());
        let user = wanted(&headers(&[
            ("impersonate-user", "carol"),
            ("impersonate-group", "g"),
            ("impersonate-group", "h"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-Ex.io%2fScopes", "a"),
            ("impersonate-extra-ex.io%2fscopes", "b"),
        ]));
        let user = user.expect("good headers").expect("a user");
        assert_eq!(
            (user.name.as_str(), user.uid.as_str(), user.groups.len()),
            ("carol", "7", 2)
        );
        assert_eq!(user.extra["ex.io/scopes"], ["a", "b"]);
    }

    #[test]
    fn the_older_permission_is_for_each_part() {
        const ALL: &[&str] = &[
            "impersonate users/ carol",
            "impersonate groups/ g",
            "impersonate uids/ 7",
            "impersonate userextras/k v",
        ];
        let parts = [
            ("impersonate-user", "carol"),
            ("impersonate-group", "g"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-k", "v"),
        ];
        let user = as_user(ALL, &bob(), &parts).expect("allowed");
        assert_eq!(user.groups, ["g", "system:authenticated"]);
        for missing in [&ALL[1..], &ALL[..3], &ALL[..1]] {
            let refused = as_user(missing, &bob(), &parts).expect_err("refused");
            assert!(
                refused.contains("cannot impersonate-on:user-info:list resource \"pods\""),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_newer_permission_is_for_the_identity_and_for_what_is_done() {
        const BOTH: &[&str] = &[
            "impersonate-on:user-info:list pods/ ",
            "impersonate:user-info users/ carol",
        ];
        assert!(as_user(BOTH, &bob(), &[("impersonate-user", "carol")]).is_ok());
        assert!(as_user(&BOTH[1..], &bob(), &[("impersonate-user", "carol")]).is_err());
        let refused = as_user(&BOTH[..1], &bob(), &[("impersonate-user", "carol")]).expect_err("refused");
        assert!(
            refused.contains("cannot impersonate:user-info resource \"users\""),
            "{refused}"
        );
        // It never makes a master.
        const MASTER: &[&str] = &[
            "impersonate-on:user-info:list pods/ ",
            "impersonate:user-info users/ carol",
            "impersonate:user-info groups/ system:masters",
        ];
        let parts = [("impersonate-user", "carol"), ("impersonate-group", "system:masters")];
        assert!(as_user(MASTER, &bob(), &parts).is_err());
    }

    #[test]
    fn a_service_account_and_a_node_have_their_groups() {
        let account = [("impersonate-user", "system:serviceaccount:t:robot")];
        for allowed in [
            &["impersonate serviceaccounts/ robot"][..],
            &[
                "impersonate-on:serviceaccount:list pods/ ",
                "impersonate:serviceaccount serviceaccounts/ robot",
            ],
        ] {
            let user = as_user(allowed, &bob(), &account).expect("allowed");
            assert_eq!(
                user.groups,
                [
                    "system:serviceaccounts",
                    "system:serviceaccounts:t",
                    "system:authenticated"
                ]
            );
        }
        let node = [("impersonate-user", "system:node:n1")];
        let mut agent = UserInfo::new("system:serviceaccount:t:agent", [""; 0]);
        const OWN: &[&str] = &[
            "impersonate-on:associated-node:list pods/ ",
            "impersonate:associated-node nodes/ *",
        ];
        assert!(as_user(OWN, &agent, &node).is_err());
        agent
            .extra
            .insert("authentication.kubernetes.io/node-name".into(), vec!["n1".into()]);
        assert_eq!(
            as_user(OWN, &agent, &node).expect("allowed").groups,
            ["system:nodes", "system:authenticated"]
        );
        assert!(as_user(&["impersonate users/ system:node:n1"], &bob(), &node).is_ok());
    }

    #[test]
    fn anonymous_is_not_authenticated() {
        let user = as_user(
            &["impersonate users/ system:anonymous"],
            &bob(),
            &[("impersonate-user", "system:anonymous")],
        );
        assert_eq!(user.expect("allowed").groups, ["system:unauthenticated"]);
    }
}
