//! The same on the embedded API server, by hooks in its process.

use std::collections::BTreeSet;
use std::sync::Arc;

use apimachinery::status::Reason;
use apiserver::{AdmissionRequest, MASTERS, Mutate, Operation, Refusal, Status, UserInfo, Validate, Warnings};
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde_json::{Value, json};

use super::{Kind, Proof};
use crate::names::GROUP;
use crate::requester::same;
use crate::resources::Requester;

/// Hooks of an API server that write the requester of an instance where it is missing, and refuse any that is not the caller,
/// whole. They also refuse templates that cannot be processed.
///
/// ```
/// use template_controller::Admission;
///
/// let admission = Admission::new(["broker"]);
/// let mut options = apiserver::Options::default();
/// // Before the server is opened: what it lets in from then on is proven.
/// let proof = admission.install(&mut options);
/// # drop((options, proof));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Admission {
    trusted: Arc<BTreeSet<String>>,
}

impl Admission {
    /// Hooks that let these users, and members of `system:masters`, name others as requesters.
    pub fn new(trusted: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            trusted: Arc::new(trusted.into_iter().map(Into::into).collect()),
        }
    }

    /// Puts the hooks into the options of a server; the answer tells the controller that they are there. All instances of the
    /// server's store have to come through them.
    #[must_use = "the controller needs it"]
    pub fn install(&self, options: &mut apiserver::Options) -> Proof {
        options.mutating.push(Arc::new(self.clone()));
        options.validating.push(Arc::new(self.clone()));
        Proof(Kind::Admission)
    }

    fn may_name_others(&self, user: &UserInfo) -> bool {
        self.trusted.contains(&user.name) || user.groups.iter().any(|group| group == MASTERS)
    }

    fn check(&self, request: &AdmissionRequest<'_>, old: Option<&Value>, new: &Value) -> Result<(), Refusal> {
        if old.is_some_and(|old| old["spec"] == new["spec"]) {
            return Ok(());
        }
        check_template(&new["spec"]["template"], "spec.template")?;
        let requester: Requester = serde_json::from_value(new["spec"]["requester"].clone()).unwrap_or_default();
        if same(&requester, &identity(request.user)) || self.may_name_others(request.user) {
            return Ok(());
        }
        Err(Refusal::forbidden(
            "spec.requester is not you, in each part (username, uid, groups, extra), and you may not name others; \
             leave it out, and the server writes you there",
        ))
    }
}

/// What the API server knows of a user.
fn identity(user: &UserInfo) -> Requester {
    Requester {
        username: user.name.clone(),
        uid: user.uid.clone(),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
    }
}

/// What cannot be processed is not stored.
fn check_template(value: &Value, path: &str) -> Result<(), Refusal> {
    let text = value.to_string();
    let invalid = |what: String| {
        let message = format!("{path}: {what}");
        Refusal::Status(Box::new(Status::failure(Reason::Invalid, message)))
    };
    let document = template::json::read(&text).map_err(|error| invalid(error.to_string()))?;
    let read = template::Template::decode(document).map_err(|problems| invalid(problems.to_string()))?;
    template::lint::validate(&read).map_err(|problems| invalid(problems.to_string()))
}

fn is_ours(request: &AdmissionRequest<'_>, resource: &str) -> bool {
    request.group == GROUP && request.resource == resource && request.subresource.is_empty()
}

impl Mutate for Admission {
    fn wants(&self, request: &AdmissionRequest<'_>) -> bool {
        is_ours(request, "templateinstances")
    }

    fn mutate<'a>(
        &'a self,
        request: &'a AdmissionRequest<'a>,
        _: Option<&'a Value>,
        new: &'a mut Value,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>> {
        let named = new["spec"]["requester"]["username"].as_str();
        if named.is_none_or(str::is_empty)
            && new["spec"].is_object()
            && new["spec"]["requester"].get("groups").is_none()
        {
            new["spec"]["requester"] = json!(identity(request.user));
        }
        ready(Ok(Warnings::new())).boxed()
    }
}

impl Validate for Admission {
    fn wants(&self, request: &AdmissionRequest<'_>) -> bool {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        writes && (is_ours(request, "templateinstances") || is_ours(request, "templates"))
    }

    fn validate<'a>(
        &'a self,
        request: &'a AdmissionRequest<'a>,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>> {
        let checked = match new {
            None => Ok(()),
            Some(new) if request.resource == "templates" => check_template(new, "template"),
            Some(new) => self.check(request, old, new),
        };
        ready(checked.map(|()| Warnings::new())).boxed()
    }
}
