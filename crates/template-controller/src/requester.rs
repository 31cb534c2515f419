//! In whose name objects are made.
//!
//! Nobody lends his name unasked: see [`crate::proof`] for how it is known that the requester asked. Here is who is never acted
//! for, whoever says so.

use std::collections::BTreeSet;

use crate::resources::Requester;

/// Prefix of the users and groups of Kubernetes itself.
const SYSTEM: &str = "system:";
/// The group of everybody who is somebody; the API server adds it by itself.
const AUTHENTICATED: &str = "system:authenticated";
const ACCOUNT: &str = "system:serviceaccount:";
const ACCOUNTS: &str = "system:serviceaccounts";

/// Whether service accounts may be requesters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceAccounts {
    /// They are refused like every other user of Kubernetes itself.
    #[default]
    Refused,
    /// They may ask for instances, in any namespace where they may create them.
    Allowed,
}

/// Why nobody acts for a requester.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwanted {
    #[error("spec.requester.username is missing; write in whose name the objects are to be made")]
    Missing,
    #[error("the requester {0} is a user of Kubernetes itself, which is never impersonated; let a person ask")]
    SystemUser(String),
    #[error(
        "the requester {0} is a service account, which this controller does not act for; let a person ask, or allow service accounts"
    )]
    ServiceAccount(String),
    #[error(
        "the requester is in the group {0}, in whose name nothing is made; name a requester without groups of Kubernetes itself"
    )]
    SystemGroup(String),
    #[error("{0} of the requester cannot be sent: {1}")]
    Unsendable(&'static str, &'static str),
}

/// The identity to act for: without the groups that the API server adds by itself.
pub(crate) fn check(requester: Option<&Requester>, accounts: ServiceAccounts) -> Result<Requester, Unwanted> {
    let requester = requester
        .filter(|requester| !requester.username.is_empty())
        .ok_or(Unwanted::Missing)?;
    sendable(requester)?;
    let account = account(&requester.username);
    match (account, accounts) {
        (Some(_), ServiceAccounts::Allowed) => {}
        (Some(_), ServiceAccounts::Refused) => return Err(Unwanted::ServiceAccount(requester.username.clone())),
        (None, _) if requester.username.starts_with(SYSTEM) => {
            return Err(Unwanted::SystemUser(requester.username.clone()));
        }
        (None, _) => {}
    }
    let mut checked = requester.clone();
    checked.groups.clear();
    for group in &requester.groups {
        if is_implied(group, account) {
            continue;
        }
        if group.starts_with(SYSTEM) {
            return Err(Unwanted::SystemGroup(group.clone()));
        }
        checked.groups.push(group.clone());
    }
    // The API server adds the groups of a service account only where none are named.
    if let Some(namespace) = account.filter(|_| !checked.groups.is_empty()) {
        checked.groups.push(ACCOUNTS.to_owned());
        checked.groups.push(format!("{ACCOUNTS}:{namespace}"));
    }
    Ok(checked)
}

/// The namespace of a service account.
fn account(user: &str) -> Option<&str> {
    let (namespace, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty()).then_some(namespace)
}

/// Whether the API server adds the group by itself, or it says only how the user has logged in.
fn is_implied(group: &str, account: Option<&str>) -> bool {
    let login = group.strip_prefix(AUTHENTICATED);
    if login.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
        return true;
    }
    account.is_some_and(|namespace| {
        group == ACCOUNTS || group.strip_prefix(ACCOUNTS).and_then(|rest| rest.strip_prefix(':')) == Some(namespace)
    })
}

/// Headers have no control characters, and their names no capitals.
fn sendable(requester: &Requester) -> Result<(), Unwanted> {
    let plain = |text: &str| !text.chars().any(char::is_control);
    let control = "it has control characters";
    if !plain(&requester.username) {
        return Err(Unwanted::Unsendable("the username", control));
    }
    if !plain(&requester.uid) {
        return Err(Unwanted::Unsendable("the uid", control));
    }
    if !requester.groups.iter().all(|group| plain(group) && !group.is_empty()) {
        return Err(Unwanted::Unsendable("a group", "it is empty or has control characters"));
    }
    for (key, values) in &requester.extra {
        if key.is_empty() || !plain(key) || key.chars().any(char::is_uppercase) {
            return Err(Unwanted::Unsendable(
                "a key of extra",
                "it is empty, or has capitals or control characters",
            ));
        }
        if !values.iter().all(|value| plain(value)) {
            return Err(Unwanted::Unsendable("a value of extra", control));
        }
    }
    Ok(())
}

/// Whether two identities are the same in each part: name, uid, groups and extra.
pub(crate) fn same(one: &Requester, other: &Requester) -> bool {
    fn set(texts: &[String]) -> BTreeSet<&str> {
        texts.iter().map(String::as_str).collect()
    }
    let keys = |requester: &Requester| -> BTreeSet<String> {
        let extra = requester.extra.iter();
        extra
            .filter(|(_, values)| !values.is_empty())
            .map(|(key, _)| key.clone())
            .collect()
    };
    let values = |requester: &Requester, key: &str| -> BTreeSet<String> {
        requester.extra.get(key).into_iter().flatten().cloned().collect()
    };
    one.username == other.username
        && one.uid == other.uid
        && set(&one.groups) == set(&other.groups)
        && keys(one) == keys(other)
        && keys(one).iter().all(|key| values(one, key) == values(other, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requester(name: &str, groups: &[&str]) -> Requester {
        Requester {
            username: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Requester::default()
        }
    }

    #[test]
    fn users_and_groups_of_kubernetes_itself_are_never_acted_for() {
        let refused =
            |name, groups: &[&str]| check(Some(&requester(name, groups)), ServiceAccounts::Allowed).unwrap_err();
        assert_eq!(check(None, ServiceAccounts::Refused), Err(Unwanted::Missing));
        assert_eq!(refused("", &["dev"]), Unwanted::Missing);
        for name in [
            "system:admin",
            "system:anonymous",
            "system:node:a",
            "system:serviceaccount:x",
            "system:serviceaccount::",
        ] {
            assert_eq!(refused(name, &[]), Unwanted::SystemUser(name.to_owned()));
        }
        for group in [
            "system:masters",
            "system:unauthenticated",
            "system:nodes",
            "system:serviceaccounts",
            "system:authenticatedx",
        ] {
            assert_eq!(refused("eve", &["dev", group]), Unwanted::SystemGroup(group.to_owned()));
        }
        // Groups of another namespace are not implied by the account.
        let groups = ["system:serviceaccounts:b"];
        assert!(matches!(
            refused("system:serviceaccount:a:robot", &groups),
            Unwanted::SystemGroup(_)
        ));
    }

    #[test]
    fn groups_that_the_server_adds_are_left_to_it() {
        let groups = ["system:authenticated", "dev", "system:authenticated:oauth"];
        let checked = check(Some(&requester("eve", &groups)), ServiceAccounts::Refused).unwrap();
        assert_eq!(checked.groups, ["dev"]);
        let robot = requester(
            "system:serviceaccount:a:robot",
            &[
                "system:serviceaccounts",
                "system:serviceaccounts:a",
                "system:authenticated",
            ],
        );
        assert!(matches!(
            check(Some(&robot), ServiceAccounts::Refused),
            Err(Unwanted::ServiceAccount(_))
        ));
        assert!(check(Some(&robot), ServiceAccounts::Allowed).unwrap().groups.is_empty());
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused() {
        let accounts = ServiceAccounts::Refused;
        assert!(check(Some(&requester("eve\r\nImpersonate-Group: x", &[])), accounts).is_err());
        assert!(check(Some(&requester("eve", &["a\nb"])), accounts).is_err());
        let mut eve = requester("eve", &[]);
        eve.extra.insert("Scopes".to_owned(), vec!["x".to_owned()]);
        assert!(check(Some(&eve), accounts).is_err());
    }

    /// Bug A1 of the old broker: it compared the name only.
    #[test]
    fn each_part_of_an_identity_is_compared() {
        let eve = Requester {
            uid: "7".to_owned(),
            extra: [("k".to_owned(), vec!["v".to_owned()])].into(),
            ..requester("eve", &["a", "b"])
        };
        assert!(same(&eve, &eve));
        let change = |change: fn(&mut Requester)| {
            let mut other = eve.clone();
            change(&mut other);
            same(&eve, &other)
        };
        assert!(change(|other| other.groups.reverse()));
        assert!(!change(|other| other.username.push('x')));
        assert!(!change(|other| other.uid.clear()));
        assert!(!change(|other| other.groups.push("admins".to_owned())));
        assert!(!change(|other| drop(other.groups.pop())));
        assert!(!change(|other| drop(other.extra.remove("k"))));
        assert!(!change(|other| drop(
            other.extra.insert("k".to_owned(), vec!["w".to_owned()])
        )));
        assert!(!change(|other| drop(
            other.extra.insert("l".to_owned(), vec!["w".to_owned()])
        )));
    }
}
