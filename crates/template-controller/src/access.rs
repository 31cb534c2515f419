//! What a requester may do.

use serde::Deserialize;
use serde_json::json;

use crate::api::{Api, ApiError};
use crate::discovery::Resource;
use crate::resources::Requester;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// The group of everybody who is somebody: the API server adds it to whoever is impersonated, but not in a review.
const AUTHENTICATED: &str = "system:authenticated";

/// Something to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action<'a> {
    pub(crate) verb: &'static str,
    pub(crate) resource: &'a Resource,
    /// Empty for cluster-scoped objects.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

#[derive(Default, Deserialize)]
struct Review {
    #[serde(default)]
    status: Verdict,
}

#[derive(Default, Deserialize)]
struct Verdict {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
    #[serde(default)]
    reason: String,
}

/// Asks whether the requester may do something. `Err` of the inner result says which right is missing.
pub(crate) async fn may(
    api: &Api<'_>,
    requester: &Requester,
    action: Action<'_>,
) -> Result<Result<(), String>, ApiError> {
    let review = review(requester, action);
    let review: Review = api.post(REVIEWS, review.to_string().into_bytes()).await?;
    if review.status.allowed && !review.status.denied {
        return Ok(Ok(()));
    }
    Ok(Err(refusal(requester, action, &review.status.reason)))
}

/// The question, with the whole identity and with the version of the API.
fn review(requester: &Requester, action: Action<'_>) -> serde_json::Value {
    let resource = action.resource;
    let mut groups = requester.groups.clone();
    groups.push(AUTHENTICATED.to_owned());
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": requester.username, "uid": requester.uid, "groups": groups, "extra": requester.extra,
            "resourceAttributes": {
                "verb": action.verb, "group": resource.group(), "version": resource.version(),
                "resource": resource.plural, "namespace": action.namespace, "name": action.name,
            },
        },
    })
}

/// As an API server says it.
fn refusal(requester: &Requester, action: Action<'_>, reason: &str) -> String {
    let Action {
        verb,
        resource,
        namespace,
        name,
    } = action;
    let mut text = format!(
        "unable to authorize user to {verb} {}: User {:?} cannot {verb} resource {:?} in API group {:?}",
        resource.plural,
        requester.username,
        resource.plural,
        resource.group()
    );
    match namespace {
        "" => text.push_str(" at the cluster scope"),
        namespace => text.push_str(&format!(" in the namespace {namespace:?}")),
    }
    text.push_str(&format!(" (name {name:?})"));
    if !reason.is_empty() {
        text.push_str(": ");
        text.push_str(reason);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug C15: uid and version were not told, and a kind was asked for that does not exist.
    #[test]
    fn a_review_has_the_whole_identity_and_the_whole_object() {
        let requester = Requester {
            username: "eve".to_owned(),
            uid: "7".to_owned(),
            groups: vec!["dev".to_owned()],
            extra: [("k".to_owned(), vec!["v".to_owned()])].into(),
        };
        let resource = Resource {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
            is_namespaced: true,
        };
        let action = Action {
            verb: "create",
            resource: &resource,
            namespace: "n",
            name: "a",
        };
        assert_eq!(
            review(&requester, action)["spec"],
            json!({
                "user": "eve", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": {"k": ["v"]},
                "resourceAttributes": {"verb": "create", "group": "apps", "version": "v1", "resource": "deployments",
                    "namespace": "n", "name": "a"},
            })
        );
    }
}
