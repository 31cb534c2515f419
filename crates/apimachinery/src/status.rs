//! `metav1.Status`: every answer of the API that is not an object, with the messages that clients know.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::field::FieldError;
pub use crate::gvk::{Kind, Resource};

/// Whether the request did what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did.
    Success,
    /// It did not.
    Failure,
}

/// Why a request failed, in a form that clients compare. The HTTP status code belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the names are the API's own words; the constructors of Status say when each is used"
)]
pub enum Reason {
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
    /// No reason, or one that this crate does not know. Not written.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Reason {
    /// The HTTP status code that goes with it; 500 for [`Reason::Unknown`].
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::Unknown => 500,
            Self::ServiceUnavailable => 503,
            Self::ServerTimeout | Self::Timeout => 504,
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// One of several causes of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cause {
    /// For example `FieldValueRequired` or `NamespaceTerminating`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field concerned, for example `spec.size`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What a [`Status`] is about. Empty members are not written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Group of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The **resource** (plural) for most reasons, the kind for `Invalid` and for failed preconditions of a delete.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Each thing that was wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// After how many seconds a repeat makes sense; 0: not said.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

impl Details {
    fn resource(resource: &Resource, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.plural.clone(),
            ..Self::default()
        }
    }

    fn kind(kind: &Kind, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            ..Self::default()
        }
    }

    /// The same with one cause more.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        self.causes.push(Cause {
            reason: reason.to_owned(),
            message: message.into(),
            field: field.to_owned(),
        });
        self
    }
}

/// `metadata` of a [`Status`]: a list's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    /// Revision of the list.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Token of the next page.
    #[serde(rename = "continue", skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
    /// How many items follow, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<u64>,
}

/// `metav1.Status`. As JSON:
///
/// ```json
/// {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps \"a\" not found",
///  "reason":"NotFound","details":{"name":"a","kind":"configmaps"},"code":404}
/// ```
///
/// As an error it prints its message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Set only where a list expired: the token that goes on from there.
    #[serde(default)]
    pub metadata: Option<Box<ListMeta>>,
    /// Success or failure.
    pub status: Outcome,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// For programs.
    #[serde(default)]
    pub reason: Reason,
    /// What it is about. Some answers carry an empty one.
    #[serde(default)]
    pub details: Option<Box<Details>>,
    /// The HTTP status code; 0 where the answer does not repeat it (a success). See [`Status::code`].
    #[serde(default)]
    pub code: u16,
}

#[derive(Serialize)]
struct Wire<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: WireMeta<'a>,
    status: Outcome,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Reason::is_unknown")]
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    #[serde(skip_serializing_if = "is_zero_code")]
    code: u16,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireMeta<'a> {
    Some(&'a ListMeta),
    Empty {},
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            kind: "Status",
            api_version: "v1",
            metadata: self.metadata.as_deref().map_or(WireMeta::Empty {}, WireMeta::Some),
            status: self.status,
            message: &self.message,
            reason: self.reason,
            details: self.details.as_deref(),
            code: self.code,
        }
        .serialize(serializer)
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_zero_code(n: &u16) -> bool {
    *n == 0
}

/// How many errors one answer lists at most.
const MAX_CAUSES: usize = 100;

/// The message of failures about which nothing more is said.
const REJECTED: &str = "the server rejected our request due to an error in our request";

impl Status {
    /// A failure of any reason; the code follows from the reason.
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            metadata: None,
            status: Outcome::Failure,
            message: message.into(),
            reason,
            details: None,
            code: reason.code(),
        }
    }

    /// The same with these details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The HTTP status code to answer with.
    pub fn code(&self) -> u16 {
        match (self.code, self.status) {
            (0, Outcome::Success) => 200,
            (0, Outcome::Failure) => self.reason.code(),
            (code, _) => code,
        }
    }

    /// After how many seconds to try again, for the `Retry-After` header.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.details
            .as_ref()
            .map(|d| d.retry_after_seconds)
            .filter(|seconds| *seconds > 0)
    }

    /// 200: what the answer to a removal says.
    pub fn success(details: Details) -> Self {
        Self {
            metadata: None,
            status: Outcome::Success,
            message: String::new(),
            reason: Reason::Unknown,
            details: Some(Box::new(details)),
            code: 0,
        }
    }

    /// 200: the object of this name and uid is gone.
    pub fn deleted(resource: &Resource, name: &str, uid: &str) -> Self {
        Self::success(Details {
            uid: uid.to_owned(),
            ..Details::resource(resource, name)
        })
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(Reason::BadRequest, message)
    }

    /// 401: no or wrong credentials.
    pub fn unauthorized() -> Self {
        Self::failure(Reason::Unauthorized, "Unauthorized")
    }

    /// 403: `why` follows the text `R "name" is forbidden: `; an empty name is left out.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let object = if name.is_empty() {
            resource.to_string()
        } else {
            format!("{resource} \"{name}\"")
        };
        Self::failure(Reason::Forbidden, format!("{object} is forbidden: {why}"))
            .with_details(Details::resource(resource, name))
    }

    /// 403 for a path that is no resource; `why` for example `User "bob" cannot get path "/metrics"`.
    pub fn forbidden_path(why: &str) -> Self {
        Self::failure(Reason::Forbidden, format!("forbidden: {why}")).with_details(Details::default())
    }

    /// 403: nothing new may be made in a namespace that is being deleted.
    pub fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let details = Details::resource(resource, name).with_cause(
            "NamespaceTerminating",
            format!("namespace {namespace} is being terminated"),
            "metadata.namespace",
        );
        Self::forbidden(resource, name, &why).with_details(details)
    }

    /// 404: no object of this name.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::failure(Reason::NotFound, format!("{resource} \"{name}\" not found"))
            .with_details(Details::resource(resource, name))
    }

    /// 404: the group and version are known, the resource is not.
    pub fn unknown_resource() -> Self {
        Self::failure(Reason::NotFound, "the server could not find the requested resource")
            .with_details(Details::default())
    }

    /// 405: the resource is known, the method is not for it.
    pub fn method_not_allowed() -> Self {
        Self::failure(
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// 405 for a custom resource: `verb` as in `delete`.
    pub fn method_not_supported(resource: &Resource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{resource}\"");
        Self::failure(Reason::MethodNotAllowed, message).with_details(Details::resource(resource, ""))
    }

    /// 406: nothing that the client takes can be made; `accepted` are the media types that can.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::failure(
            Reason::NotAcceptable,
            format!("only the following media types are accepted: {list}"),
        )
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::failure(Reason::AlreadyExists, format!("{resource} \"{name}\" already exists"))
            .with_details(Details::resource(resource, name))
    }

    /// 409: the name is taken by an object that is on its way out.
    pub fn being_deleted(resource: &Resource, name: &str) -> Self {
        Self::failure(
            Reason::AlreadyExists,
            format!("object is being deleted: {resource} \"{name}\" already exists"),
        )
        .with_details(Details::resource(resource, name))
    }

    /// 409: no free name was found for a `generateName`; a repeat may help.
    pub fn generate_name_exhausted(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "{resource} \"{name}\" already exists, the server was not able to generate a unique name for the object"
        );
        let details = Details {
            retry_after_seconds: 1,
            ..Details::resource(resource, name)
        };
        Self::failure(Reason::AlreadyExists, message).with_details(details)
    }

    /// 409: the object has changed since the client read it.
    pub fn conflict(resource: &Resource, name: &str) -> Self {
        Self::conflict_because(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 for another cause: `why` follows `Operation cannot be fulfilled on R "name": `.
    pub fn conflict_because(resource: &Resource, name: &str, why: &str) -> Self {
        Self::failure(
            Reason::Conflict,
            format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"),
        )
        .with_details(Details::resource(resource, name))
    }

    /// 409: a precondition of a delete does not hold.
    pub fn precondition_failed(kind: &Kind, name: &str, precondition: &FailedPrecondition<'_>) -> Self {
        Self::failure(
            Reason::Conflict,
            format!("Operation cannot be fulfilled on {kind} \"{name}\": {precondition}"),
        )
        .with_details(Details::kind(kind, name))
    }

    /// 410: that revision is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(Reason::Expired, message)
    }

    /// 410 for a list of an old revision. With `continue_token` (see [`crate::list::ContinueToken`]) the client can go on from the
    /// same place in the latest state.
    pub fn expired_list(continue_token: Option<String>) -> Self {
        let Some(continue_token) = continue_token else {
            return Self::expired("The resourceVersion for the provided list is too old.");
        };
        let mut status = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
             the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
             Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
             deleted between the time the first chunk was returned and now may show up in the list.",
        );
        status.metadata = Some(Box::new(ListMeta {
            continue_token,
            ..ListMeta::default()
        }));
        status
    }

    /// 410 as the first event of a watch that starts too far back.
    pub fn expired_watch(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// 413: the body is over `limit_bytes`.
    pub fn too_large(limit_bytes: u64) -> Self {
        Self::failure(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {limit_bytes}"),
        )
    }

    /// 415: the body has a form that is not read here.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::failure(
            Reason::UnsupportedMediaType,
            format!("the body of the request was in an unknown format - accepted media types include: {list}"),
        )
    }

    /// 422: the object breaks rules. The first 100 are listed.
    pub fn invalid(kind: &Kind, name: &str, errors: Vec<FieldError>) -> Self {
        Self::invalid_details(kind.to_string(), Details::kind(kind, name), errors)
    }

    /// 422 whose subject is a resource and not a kind, as for a write without resourceVersion.
    pub fn invalid_resource(resource: &Resource, name: &str, errors: Vec<FieldError>) -> Self {
        Self::invalid_details(resource.to_string(), Details::resource(resource, name), errors)
    }

    fn invalid_details(subject: String, mut details: Details, mut errors: Vec<FieldError>) -> Self {
        errors.truncate(MAX_CAUSES);
        let mut texts: Vec<String> = Vec::new();
        for error in &errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [] => String::new(),
            [one] => format!(": {one}"),
            many => format!(": [{}]", many.join(", ")),
        };
        let message = format!("{subject} \"{}\" is invalid{list}", details.name);
        details.causes = errors
            .into_iter()
            .map(|e| Cause {
                reason: e.kind.reason().to_owned(),
                message: e.body(),
                field: e.path,
            })
            .collect();
        Self::failure(Reason::Invalid, message).with_details(details)
    }

    /// 422 for query parameters: `kind` is `ListOptions`, `CreateOptions`, `PatchOptions`, `UpdateOptions` or `DeleteOptions`.
    pub fn invalid_options(kind: &str, errors: Vec<FieldError>) -> Self {
        Self::invalid(&Kind::new("meta.k8s.io", kind), "", errors)
    }

    /// 422 without an explanation, as for a JSON patch that could not be applied.
    pub fn rejected() -> Self {
        Self::failure(Reason::Invalid, REJECTED).with_details(Details::default())
    }

    /// 429: too much at once; try again after so many seconds.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        Self::failure(Reason::TooManyRequests, "Too many requests, please try again later.").with_details(Details {
            retry_after_seconds,
            ..Details::default()
        })
    }

    /// 500: a defect or a fault here; the text must not repeat values of objects.
    pub fn internal(message: &str) -> Self {
        let details = Details::default().with_cause("", message, "");
        Self::failure(Reason::InternalError, format!("Internal error occurred: {message}")).with_details(details)
    }

    /// 503: not able to answer now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(Reason::ServiceUnavailable, message)
    }

    /// 504: the request took too long.
    pub fn timeout(message: &str) -> Self {
        Self::failure(Reason::Timeout, format!("Timeout: {message}")).with_details(Details::default())
    }

    /// 504: a revision of the future was asked for and did not come.
    pub fn too_large_resource_version(requested: u64, current: u64) -> Self {
        let details = Details {
            retry_after_seconds: 1,
            ..Details::default()
        }
        .with_cause("ResourceVersionTooLarge", "Too large resource version", "");
        Self::timeout(&format!("Too large resource version: {requested}, current: {current}")).with_details(details)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// Which precondition of a delete does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedPrecondition<'a> {
    /// The uid is another.
    Uid {
        /// The client's.
        wanted: &'a str,
        /// The object's.
        found: &'a str,
    },
    /// The resourceVersion is another.
    ResourceVersion {
        /// The client's.
        wanted: &'a str,
        /// The object's.
        found: &'a str,
    },
}

impl fmt::Display for FailedPrecondition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid { wanted, found } => write!(
                f,
                "the UID in the precondition ({wanted}) does not match the UID in record ({found}). The object might have been \
                 deleted and then recreated"
            ),
            Self::ResourceVersion { wanted, found } => write!(
                f,
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({found}). \
                 The object might have been modified"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_reason_is_read_and_not_written() {
        let read: Status = serde_json::from_str(r#"{"status":"Failure","reason":"Odd","code":418}"#).unwrap();
        assert_eq!((read.reason, read.code()), (Reason::Unknown, 418));
        assert!(!serde_json::to_string(&read).unwrap().contains("reason"));
    }

    #[test]
    fn equal_errors_stand_once_in_the_message_and_each_among_the_causes() {
        let error = FieldError::forbidden("metadata.finalizers", "no");
        let status = Status::invalid(&Kind::new("", "ConfigMap"), "a", vec![error.clone(), error]);
        assert_eq!(
            status.message,
            "ConfigMap \"a\" is invalid: metadata.finalizers: Forbidden: no"
        );
        assert_eq!(status.details.unwrap().causes.len(), 2);
    }

    #[test]
    fn a_status_stays_small_enough_to_be_an_error() {
        assert!(size_of::<Status>() <= 64);
    }
}
