//! Access and token reviews: kinds that are only created, answered at once and never stored.

use super::{Builtin, Rules, Special, kind};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    /// May somebody do this?
    SubjectAccess,
    /// The same in one namespace.
    LocalSubjectAccess,
    /// May I do this?
    SelfSubjectAccess,
    /// What may I do?
    SelfSubjectRules,
    /// Who am I?
    SelfSubject,
    /// Whose token is this?
    Token,
}

const fn rules(review: Review) -> Rules {
    Rules {
        delete_collection: false,
        special: Special::Review(review),
        ..Rules::PLAIN
    }
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// The kinds.
pub(super) const TABLE: &[Builtin] = &[
    kind(AUTHORIZATION, "SubjectAccessReview", rules(Review::SubjectAccess), &[]),
    kind(
        AUTHORIZATION,
        "LocalSubjectAccessReview",
        rules(Review::LocalSubjectAccess),
        &[],
    ),
    kind(
        AUTHORIZATION,
        "SelfSubjectAccessReview",
        rules(Review::SelfSubjectAccess),
        &[],
    ),
    kind(
        AUTHORIZATION,
        "SelfSubjectRulesReview",
        rules(Review::SelfSubjectRules),
        &[],
    ),
    kind(AUTHENTICATION, "SelfSubjectReview", rules(Review::SelfSubject), &[]),
    kind(AUTHENTICATION, "TokenReview", rules(Review::Token), &[]),
];
