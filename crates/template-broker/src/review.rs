//! Asks the API server what a user may do.

use http::{Method, Request, header};
use kube::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use template_controller::resources::Requester;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Right<'a> {
    /// `get`, `create`, `update`, `delete`.
    pub(crate) verb: &'static str,
    /// The group of the API.
    pub(crate) group: &'a str,
    /// Its version.
    pub(crate) version: &'a str,
    /// The resource, in the plural.
    pub(crate) resource: &'a str,
    /// Where.
    pub(crate) namespace: &'a str,
    /// Which one.
    pub(crate) name: &'a str,
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    allowed: bool,
    reason: String,
}

/// Whether the user may do that; if not, what to tell him: the right that is missing.
///
/// # Errors
/// When the API server does not say.
pub(crate) async fn may(
    client: &Client,
    user: &Requester,
    right: &Right<'_>,
) -> Result<Result<(), String>, kube::Error> {
    let mut groups = user.groups.clone();
    groups.push("system:authenticated".to_owned());
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user.username, "uid": user.uid, "groups": groups, "extra": user.extra, "resourceAttributes": right,
        },
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(REVIEWS)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    let review: Review = client.request(request).await?;
    Ok(if review.status.allowed {
        Ok(())
    } else {
        Err(denied(user, right, &review.status.reason))
    })
}

fn denied(user: &Requester, right: &Right<'_>, reason: &str) -> String {
    let Right {
        verb,
        group,
        resource,
        namespace,
        name,
        ..
    } = right;
    let group = if group.is_empty() {
        String::new()
    } else {
        format!(".{group}")
    };
    let reason = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    let user = &user.username;
    format!("the user {user:?} may not {verb} {resource}{group} {name:?} in the namespace {namespace:?}{reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_right_that_is_missing() {
        let user = Requester {
            username: "ann".to_owned(),
            ..Requester::default()
        };
        let mut right = Right {
            verb: "create",
            group: "template.openshift.io",
            version: "v1",
            resource: "templateinstances",
            namespace: "shop",
            name: "db",
        };
        assert_eq!(
            denied(&user, &right, "no role"),
            "the user \"ann\" may not create templateinstances.template.openshift.io \"db\" in the namespace \"shop\": no role"
        );
        (right.group, right.resource) = ("", "secrets");
        assert!(denied(&user, &right, "").ends_with("create secrets \"db\" in the namespace \"shop\""));
    }
}
