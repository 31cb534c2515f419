//! Who sends a request, and whether they may.

pub(crate) mod access;
pub(crate) mod authenticate;
pub(crate) mod escalation;
pub(crate) mod follow;
pub(crate) mod impersonate;
pub(crate) mod rbac;
pub(crate) mod roles;
pub(crate) mod tokens;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use apimachinery::rbac::Rule;
use http::{HeaderMap, header};

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The user of a request without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Who sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name, unique among the users.
    pub name: String,
    /// An id that outlives a change of name; may be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with the given groups and `system:authenticated`.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> UserInfo {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        UserInfo {
            name: name.into(),
            groups,
            ..UserInfo::default()
        }
    }

    /// The process itself: a member of [`MASTERS`].
    pub fn admin() -> UserInfo {
        UserInfo::new("system:admin", [MASTERS])
    }

    /// Whether the user is a member of [`MASTERS`].
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// The user of a request without credentials.
    pub fn anonymous() -> UserInfo {
        UserInfo {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..UserInfo::default()
        }
    }
}

/// The identity in a verified client certificate. The TLS listener hands it over as a request extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The subject's common name: the user.
    pub common_name: String,
    /// The subject's organizations: the groups.
    pub organizations: Vec<String>,
}

/// A credential was sent and is wrong. The request is answered with 401, never as anonymous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credentials are wrong")]
pub struct BadCredentials;

/// Tells who sends a request.
pub trait Authenticator: Send + Sync + 'static {
    /// The user, or `None` when the request carries no credentials that this authenticator knows.
    ///
    /// # Errors
    /// [`BadCredentials`] when it carries some and they are wrong.
    fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerIdentity>,
    ) -> Result<Option<UserInfo>, BadCredentials>;
}

/// The default [`Authenticator`]: client certificates, and bearer tokens from a fixed table.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(String, UserInfo)>);

impl Tokens {
    /// Accepts these tokens.
    pub fn new(tokens: impl IntoIterator<Item = (String, UserInfo)>) -> Tokens {
        Tokens(tokens.into_iter().collect())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Authenticator for Tokens {
    fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerIdentity>,
    ) -> Result<Option<UserInfo>, BadCredentials> {
        if let Some(peer) = peer {
            return Ok(Some(UserInfo::new(
                &peer.common_name,
                peer.organizations.iter().cloned(),
            )));
        }
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            return Ok(None);
        };
        let token = bearer(authorization.as_bytes()).ok_or(BadCredentials)?;
        let mut found = None;
        // Every entry is compared whole, so that the time tells nothing about a token.
        for (known, user) in &self.0 {
            if bool::from(subtle::ConstantTimeEq::ct_eq(known.as_bytes(), token)) {
                found = Some(user);
            }
        }
        found.cloned().map(Some).ok_or(BadCredentials)
    }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
        .filter(|token| !token.is_empty())
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes<'r> {
    /// Something with a resource.
    Resource {
        /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
        verb: &'r str,
        /// The API group, empty for the core group.
        group: &'r str,
        /// The plural name of the resource.
        resource: &'r str,
        /// The subresource, or empty.
        subresource: &'r str,
        /// The namespace, empty for the cluster scope.
        namespace: &'r str,
        /// The object, or empty. A list or watch that selects one `metadata.name` names it here.
        name: &'r str,
    },
    /// Something else.
    Path {
        /// The HTTP method in lower case.
        verb: &'r str,
        /// The URL path.
        path: &'r str,
    },
}

/// An [`Authorizer`]'s answer. The text is added to the message of a refusal, behind a colon, when it is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The request goes on.
    Allow,
    /// 403, whatever others behind this authorizer would say.
    Deny(String),
    /// The next authorizer is asked; 403 when there is none.
    NoOpinion(String),
}

/// What a user may do in a namespace, as far as an [`Authorizer`] can list it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldRules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Whether the user may do more than what is listed.
    pub incomplete: bool,
    /// What could not be looked at; empty for nothing.
    pub error: String,
}

/// Decides what a user may do. It is asked for every request but those to the open paths (`/livez`, `/readyz`,
/// `/healthz`, and where there are no roles also what is below them and `/version`), on the request's own task, so it must answer from memory.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether the user may do this.
    fn authorize(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Decision;

    /// Why the user may do what [`Authorizer::authorize`] has allowed: for access reviews and the audit log. By default nothing is said.
    fn explain(&self, user: &UserInfo, attributes: &Attributes<'_>) -> String {
        let _ = (user, attributes);
        String::new()
    }

    /// What the user may do in a namespace. By default nothing is known of it, and whoever grants a role needs the
    /// verb `escalate` or `bind` for it.
    fn rules(&self, user: &UserInfo, namespace: &str) -> HeldRules {
        let _ = (user, namespace);
        HeldRules {
            incomplete: true,
            ..HeldRules::default()
        }
    }
}

/// Members of [`MASTERS`] may do everything; nothing is said of others.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowMasters;

impl Authorizer for AllowMasters {
    fn authorize(&self, user: &UserInfo, _: &Attributes<'_>) -> Decision {
        if user.is_master() {
            Decision::Allow
        } else {
            Decision::NoOpinion(String::new())
        }
    }

    fn rules(&self, user: &UserInfo, _: &str) -> HeldRules {
        HeldRules {
            rules: user.is_master().then(everything).unwrap_or_default(),
            ..HeldRules::default()
        }
    }
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysAllow;

impl Authorizer for AlwaysAllow {
    fn authorize(&self, _: &UserInfo, _: &Attributes<'_>) -> Decision {
        Decision::Allow
    }

    fn rules(&self, _: &UserInfo, _: &str) -> HeldRules {
        HeldRules {
            rules: everything(),
            ..HeldRules::default()
        }
    }
}

/// The rules of somebody who may do everything.
fn everything() -> Vec<Rule> {
    let all = || vec!["*".to_owned()];
    vec![
        Rule {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..Rule::default()
        },
        Rule {
            verbs: all(),
            non_resource_urls: all(),
            ..Rule::default()
        },
    ]
}

/// How a server decides who may do what.
#[derive(Clone, Default)]
pub enum Authorization {
    /// [`AllowMasters`] alone: nobody else may do anything.
    #[default]
    Masters,
    /// [`AlwaysAllow`].
    AlwaysAllow,
    /// The Roles and ClusterRoles that are bound to the user; members of [`MASTERS`] may do everything. A role or
    /// binding counts from the moment its write is answered.
    Rbac,
    /// An authorizer of one's own. It decides on members of [`MASTERS`], too.
    Custom(Arc<dyn Authorizer>),
    /// One after the other, until one allows or denies.
    Chain(Vec<Authorization>),
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authorization::Masters => f.write_str("Masters"),
            Authorization::AlwaysAllow => f.write_str("AlwaysAllow"),
            Authorization::Rbac => f.write_str("Rbac"),
            Authorization::Custom(_) => f.write_str("Custom"),
            Authorization::Chain(all) => f.debug_list().entries(all).finish(),
        }
    }
}

/// Whether everybody may see a path without credentials.
pub(crate) fn is_open(path: &str) -> bool {
    let root = path.strip_prefix('/').unwrap_or(path);
    let root = root.split('/').next().unwrap_or(root);
    matches!(root, "livez" | "readyz" | "healthz") || path.trim_end_matches('/') == "/version"
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    #[test]
    fn a_wrong_token_is_an_error_and_no_token_is_nobody() {
        let tokens = Tokens::new([("s3cret".to_owned(), UserInfo::new("bob", ["dev"]))]);
        assert_eq!(tokens.authenticate(&HeaderMap::new(), None), Ok(None));
        assert_eq!(
            tokens.authenticate(&with("Bearer s3cret"), None),
            Ok(Some(UserInfo::new("bob", ["dev"])))
        );
        for wrong in ["Bearer s3cre", "Bearer ", "Basic s3cret", "Bearer", ""] {
            assert_eq!(tokens.authenticate(&with(wrong), None), Err(BadCredentials), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_is_a_user_with_its_organizations_as_groups() {
        let peer = PeerIdentity {
            common_name: "carol".to_owned(),
            organizations: vec![MASTERS.to_owned()],
        };
        let user = Tokens::default()
            .authenticate(&HeaderMap::new(), Some(&peer))
            .expect("no error")
            .expect("a user");
        assert_eq!((user.name.as_str(), user.groups.len()), ("carol", 2));
        assert_eq!(
            AllowMasters.authorize(
                &user,
                &Attributes::Path {
                    verb: "get",
                    path: "/metrics"
                }
            ),
            Decision::Allow
        );
    }

    #[test]
    fn only_health_and_version_are_open() {
        for open in ["/livez", "/readyz/ping", "/healthz/", "/version", "/version/"] {
            assert!(is_open(open), "{open}");
        }
        for closed in ["/", "/api", "/livezz", "/versions", "/metrics", "/version/x"] {
            assert!(!is_open(closed), "{closed}");
        }
    }
}
