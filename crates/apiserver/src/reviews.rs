//! Access reviews, token reviews and token requests: answered at once, never stored.

use apimachinery::field::FieldError;
use apimachinery::gvk;
use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::meta;
use apimachinery::status::Status;
use http::{Response, StatusCode};
use jiff::Timestamp;

use crate::auth::tokens::{Account, Claims, Reference, found};
use crate::auth::{Attributes, Authorizer as _, Decision, UserInfo, authenticate};
use crate::body::Body;
use crate::builtin::reviews::Review;
use crate::codec::{Damaged, Opening, Stored};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::negotiate::Form;
use crate::registry::Resource;
use crate::render;
use crate::server::Server;
use crate::target::Target;
use crate::write::create::Request;
use crate::write::object::{self, Came};
use crate::write::options::{self, WriteOptions};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
/// How long a token is good that names no time, and the shortest and longest time, in seconds.
const TOKEN_SECS: i64 = 3600;
const SHORTEST_TOKEN_SECS: i64 = 600;
const LONGEST_TOKEN_SECS: i64 = 1 << 32;

/// Whether tokens can be asked for objects of this kind.
pub(crate) fn has_tokens(resource: &Resource) -> bool {
    resource.id.group.is_empty() && resource.id.plural == "serviceaccounts"
}

/// What is answered.
enum Answer<'t> {
    /// The object as it came, with this status.
    Status(Map<'t>),
    /// These members.
    Members(Map<'t>),
}

/// POST of a review.
pub(crate) async fn create(
    server: &Server,
    target: &Target,
    review: Review,
    request: Request<'_>,
) -> Result<Response<Body>, Failure> {
    acceptable(&request)?;
    let write = WriteOptions::parse("CreateOptions", request.query)?;
    let decoded = options::decode(request.headers, request.body)?;
    let mut object = decoded.value;
    object::check_type(target, &mut object, Came::Whole)?;
    let warnings = object::shape(target, &mut object, &decoded.duplicates, write.validation, Came::Whole)?;
    meta::fill_namespace(object::metadata_mut(&mut object)?, target.namespace())?;
    let answer = match review {
        Review::SubjectAccess | Review::LocalSubjectAccess | Review::SelfSubjectAccess => {
            access(server, review, request.user, &object)?
        }
        Review::SelfSubjectRules => rules(server, request.user, &object)?,
        Review::SelfSubject => Answer::Members(myself(request.user)),
        Review::Token => token_review(server, &object).await?,
    };
    let members = object.as_object_mut().ok_or(Damaged)?;
    let mut out = Map::new();
    for name in ["kind", "apiVersion"] {
        out.insert(name, members.remove(name).unwrap_or_default());
    }
    match answer {
        Answer::Status(status) => {
            for name in ["metadata", "spec"] {
                out.insert(name, members.remove(name).unwrap_or_else(|| Map::new().into()));
            }
            out.insert("status", status);
        }
        Answer::Members(more) => more.into_iter().for_each(|(name, value)| {
            out.insert(name.into_owned(), value);
        }),
    }
    written(out, &request, &warnings)
}

fn written(object: Map<'_>, request: &Request<'_>, warnings: &[String]) -> Result<Response<Body>, Failure> {
    let mut json = Vec::with_capacity(512);
    Value::from(object).write(&mut json);
    render::answer(StatusCode::CREATED, json, request.wanted.encoding, warnings)
}

/// There is no other form of an answer.
fn acceptable(request: &Request<'_>) -> Result<(), Failure> {
    match request.wanted.form {
        Form::Object => Ok(()),
        _ => Err(crate::discovery::not_acceptable().into()),
    }
}

/// Reads the texts of a list.
fn texts(list: Option<&Value<'_>>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text<'v>(object: &'v Value<'_>, at: &str) -> &'v str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn access(server: &Server, review: Review, user: &UserInfo, object: &Value<'_>) -> Result<Answer<'static>, Failure> {
    let errors = access_errors(review, object);
    if !errors.is_empty() {
        return Err(Status::invalid(&gvk::Kind::new(AUTHORIZATION, ""), "", errors).into());
    }
    let other;
    let user = match review {
        Review::SelfSubjectAccess => user,
        _ => {
            other = subject(object);
            &other
        }
    };
    let attributes = match object.pointer("/spec/resourceAttributes") {
        Some(_) => Attributes::Resource {
            verb: text(object, "/spec/resourceAttributes/verb"),
            group: text(object, "/spec/resourceAttributes/group"),
            resource: text(object, "/spec/resourceAttributes/resource"),
            subresource: text(object, "/spec/resourceAttributes/subresource"),
            namespace: text(object, "/spec/resourceAttributes/namespace"),
            name: text(object, "/spec/resourceAttributes/name"),
        },
        None => Attributes::Path {
            verb: text(object, "/spec/nonResourceAttributes/verb"),
            path: text(object, "/spec/nonResourceAttributes/path"),
        },
    };
    let decision = server.access.authorize(user, &attributes);
    let mut status = Map::new();
    status.insert("allowed", decision == Decision::Allow);
    if matches!(decision, Decision::Deny(_)) {
        status.insert("denied", true);
    }
    let reason = match decision {
        Decision::Allow => server.access.explain(user, &attributes),
        Decision::Deny(why) | Decision::NoOpinion(why) => why,
    };
    if !reason.is_empty() {
        status.insert("reason", reason);
    }
    Ok(Answer::Status(status))
}

/// The user whom a review is about.
fn subject(object: &Value<'_>) -> UserInfo {
    let extra = object.pointer("/spec/extra").and_then(Value::as_object);
    UserInfo {
        name: text(object, "/spec/user").to_owned(),
        uid: text(object, "/spec/uid").to_owned(),
        groups: texts(object.pointer("/spec/groups")),
        extra: extra
            .into_iter()
            .flatten()
            .map(|(name, values)| (name.to_owned(), texts(Some(values))))
            .collect(),
    }
}

fn access_errors(review: Review, object: &Value<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let resource = object.pointer("/spec/resourceAttributes");
    let path = object.pointer("/spec/nonResourceAttributes");
    let shown = path.map_or(Value::Null, |_| {
        json!({
            "Path": text(object, "/spec/nonResourceAttributes/path"), "Verb": text(object, "/spec/nonResourceAttributes/verb"),
        })
    });
    match (resource.is_some(), path.is_some()) {
        (true, true) => errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            shown.clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    if review != Review::SelfSubjectAccess
        && text(object, "/spec/user").is_empty()
        && texts(object.pointer("/spec/groups")).is_empty()
    {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid("spec.user", "", why));
    }
    let namespace = meta::of(object).map_or("", |metadata| meta::text(metadata, "namespace"));
    let local = review == Review::LocalSubjectAccess;
    if has_metadata(object, local) {
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        let why = if local {
            "must be empty except for namespace"
        } else {
            "must be empty"
        };
        errors.push(FieldError::invalid("metadata", metadata, why));
    }
    let asked = text(object, "/spec/resourceAttributes/namespace");
    if local && resource.is_some() && asked != namespace {
        let at = "spec.resourceAttributes.namespace";
        errors.push(FieldError::invalid(at, asked, "must match metadata.namespace"));
    }
    if local && path.is_some() {
        let why = "disallowed on this kind of request";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", shown, why));
    }
    errors
}

/// Whether a review carries metadata that it should not.
fn has_metadata(object: &Value<'_>, may_have_namespace: bool) -> bool {
    let is_given = |(name, value): (&str, &Value<'_>)| {
        !(value.is_null() || value == "" || (may_have_namespace && name == "namespace"))
    };
    meta::of(object).is_some_and(|metadata| metadata.iter().any(is_given))
}

fn rules(server: &Server, user: &UserInfo, object: &Value<'_>) -> Result<Answer<'static>, Failure> {
    let namespace = text(object, "/spec/namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request").into());
    }
    let held = server.access.rules(user, namespace);
    let mut resources: Vec<Value<'static>> = Vec::new();
    let mut paths: Vec<Value<'static>> = Vec::new();
    for mut rule in held.rules {
        let urls = std::mem::take(&mut rule.non_resource_urls);
        if !urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs.clone(), "nonResourceURLs": urls}));
        }
        if !rule.resources.is_empty() {
            resources.push(rule.to_value());
        }
    }
    let mut status = Map::new();
    status.insert("resourceRules", resources);
    status.insert("nonResourceRules", paths);
    status.insert("incomplete", held.incomplete);
    if !held.error.is_empty() {
        status.insert("evaluationError", held.error);
    }
    let mut members = Map::new();
    members.insert("metadata", Map::new());
    members.insert("spec", Map::new());
    members.insert("status", status);
    Ok(Answer::Members(members))
}

fn user_value(user: &UserInfo) -> Map<'static> {
    let mut value = Map::new();
    for (name, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            value.insert(name, text.clone());
        }
    }
    if !user.groups.is_empty() {
        value.insert("groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        let mut extra = Map::new();
        for (name, values) in &user.extra {
            extra.insert(name.clone(), values.clone());
        }
        value.insert("extra", extra);
    }
    value
}

fn myself(user: &UserInfo) -> Map<'static> {
    let mut metadata = Map::new();
    metadata.insert("creationTimestamp", meta::format_timestamp(Timestamp::now()));
    let mut status = Map::new();
    status.insert("userInfo", user_value(user));
    let mut members = Map::new();
    members.insert("metadata", metadata);
    members.insert("status", status);
    members
}

async fn token_review(server: &Server, object: &Value<'_>) -> Result<Answer<'static>, Failure> {
    let token = text(object, "/spec/token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication").into());
    }
    let audiences = texts(object.pointer("/spec/audiences"));
    let mut status = Map::new();
    match authenticate::review(server, token, &audiences).await? {
        Ok(verified) => {
            status.insert("authenticated", true);
            status.insert("user", user_value(&verified.user));
            status.insert("audiences", verified.audiences);
        }
        Err(why) => {
            status.insert("user", Map::new());
            status.insert("error", why);
        }
    }
    Ok(Answer::Status(status))
}

/// POST on `serviceaccounts/NAME/token`.
pub(crate) async fn token(server: &Server, target: &Target, request: Request<'_>) -> Result<Response<Body>, Failure> {
    acceptable(&request)?;
    WriteOptions::parse("CreateOptions", request.query)?;
    let decoded = options::decode(request.headers, request.body)?;
    let object = decoded.value;
    let asked = TokenRequest::read(&object, target)?;
    let account = found(server, "serviceaccounts", target.namespace(), &target.name).await?;
    let account = account.ok_or_else(|| Status::not_found(&target.resource.id, &target.name))?;
    if !asked.uid.is_empty() && asked.uid != account.uid {
        let why = format!(
            "the UID in the token request ({}) does not match the UID of the service account ({})",
            asked.uid, account.uid
        );
        return Err(token_conflict("TokenRequest", AUTHENTICATION, &target.name, &why));
    }
    if !asked.errors.is_empty() {
        return Err(Status::invalid(&gvk::Kind::new(AUTHENTICATION, "TokenRequest"), "", asked.errors).into());
    }
    let mut claimed = Account {
        namespace: target.namespace.clone(),
        node: None,
        pod: None,
        secret: None,
        serviceaccount: Reference {
            name: target.name.clone(),
            uid: account.uid.clone(),
        },
    };
    if let Some(bound) = &asked.bound {
        bind(server, target, bound, &mut claimed).await?;
    }
    let audiences = Some(asked.audiences).filter(|audiences| !audiences.is_empty());
    let audiences = audiences.unwrap_or_else(|| server.tokens.accounts.audiences.clone());
    let now = Timestamp::now().as_second();
    let claims = Claims {
        aud: audiences.clone(),
        exp: now.saturating_add(asked.seconds),
        iat: now,
        iss: server.tokens.accounts.issuer.clone(),
        jti: uuid::Uuid::new_v4().to_string(),
        nbf: now,
        sub: format!("system:serviceaccount:{}:{}", target.namespace, target.name),
        account: claimed,
    };
    let token = server.tokens.issue(server, &claims).await?;
    let mut spec = Map::new();
    spec.insert("audiences", audiences);
    spec.insert("expirationSeconds", asked.seconds);
    spec.insert("boundObjectRef", asked.bound.map_or(Value::Null, |bound| bound.shown));
    let expires = Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX);
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": target.name.clone(), "namespace": target.namespace.clone(), "uid": account.uid,
            "creationTimestamp": meta::format_timestamp(Timestamp::now()),
        },
        "spec": Value::from(spec),
        "status": {"token": token, "expirationTimestamp": meta::format_timestamp(expires)},
    });
    match answer {
        Value::Object(members) => written(members, &request, &[]),
        _ => Err(Damaged.into()),
    }
}

/// What somebody else needs who is to believe the tokens of this server; `None` when the path is another one.
pub(crate) async fn issuer(server: &Server, segments: &[String]) -> Option<Result<Response<Body>, Failure>> {
    let issuer = &server.tokens.accounts.issuer;
    let document = match segments {
        [well_known, document] if well_known == ".well-known" && document == "openid-configuration" => {
            Ok(serde_json::json!({
                "issuer": issuer, "jwks_uri": format!("{}/openid/v1/jwks", issuer.trim_end_matches('/')),
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }))
        }
        [root, version, keys] if root == "openid" && version == "v1" && keys == "jwks" => {
            let key = server.tokens.public_key(server).await;
            key.map(|key| serde_json::json!({"keys": [key]}))
        }
        _ => return None,
    };
    Some(document.map(|document| render::respond(StatusCode::OK, "application/json", document.to_string())))
}

/// What a token is to hang on.
struct BoundObject {
    kind: String,
    api_version: String,
    name: String,
    uid: String,
    shown: Value<'static>,
}

/// A request for a token.
struct TokenRequest {
    uid: String,
    audiences: Vec<String>,
    seconds: i64,
    bound: Option<BoundObject>,
    errors: Vec<FieldError>,
}

impl TokenRequest {
    fn read(object: &Value<'_>, target: &Target) -> Result<TokenRequest, Failure> {
        let kind = gvk::Kind::new(AUTHENTICATION, "TokenRequest");
        for (at, expected) in [("/apiVersion", "authentication.k8s.io/v1"), ("/kind", "TokenRequest")] {
            let given = text(object, at);
            if !given.is_empty() && given != expected {
                let why = format!("{given:?} is not the {} of a request for a token", &at[1..]);
                return Err(Status::bad_request(why).into());
            }
        }
        let wrong_type = [
            (
                "/spec/audiences",
                object
                    .pointer("/spec/audiences")
                    .is_some_and(|list| !list.is_array() && !list.is_null()),
            ),
            (
                "/spec/expirationSeconds",
                object
                    .pointer("/spec/expirationSeconds")
                    .is_some_and(|number| number.as_i64().is_none() && !number.is_null()),
            ),
        ];
        if let Some((at, _)) = wrong_type.iter().find(|(_, wrong)| *wrong) {
            return Err(Status::bad_request(format!("TokenRequest: {at} has the wrong type")).into());
        }
        for (at, own, what) in [
            ("name", &target.name, "must match the service account name if specified"),
            (
                "namespace",
                &target.namespace,
                "must match the service account namespace if specified",
            ),
        ] {
            let given = text(object, &format!("/metadata/{at}"));
            if !given.is_empty() && given != own.as_str() {
                let error = FieldError::invalid(format!("metadata.{at}"), given, what);
                return Err(Status::invalid(&kind, &target.name, vec![error]).into());
            }
        }
        let seconds = object
            .pointer("/spec/expirationSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(TOKEN_SECS);
        let mut errors = Vec::new();
        let mut wrong = |why: &str| errors.push(FieldError::invalid("spec.expirationSeconds", seconds, why));
        if seconds < SHORTEST_TOKEN_SECS {
            wrong("may not specify a duration less than 10 minutes");
        }
        if seconds > LONGEST_TOKEN_SECS {
            wrong("may not specify a duration larger than 2^32 seconds");
        }
        let bound = object
            .pointer("/spec/boundObjectRef")
            .filter(|bound| bound.is_object())
            .map(|bound| BoundObject {
                kind: text(bound, "/kind").to_owned(),
                api_version: text(bound, "/apiVersion").to_owned(),
                name: text(bound, "/name").to_owned(),
                uid: text(bound, "/uid").to_owned(),
                shown: bound.clone().into_owned(),
            });
        Ok(TokenRequest {
            uid: text(object, "/metadata/uid").to_owned(),
            audiences: texts(object.pointer("/spec/audiences")),
            seconds,
            bound,
            errors,
        })
    }
}

fn token_conflict(kind: &str, group: &str, name: &str, why: &str) -> Failure {
    Status::conflict_because(&gvk::Resource::new(group, kind), name, why).into()
}

/// Binds a token to an object that must exist.
async fn bind(server: &Server, target: &Target, bound: &BoundObject, account: &mut Account) -> Result<(), Failure> {
    let (plural, scope) = match (bound.api_version.as_str(), bound.kind.as_str()) {
        ("v1", "Pod") => ("pods", target.namespace()),
        ("v1", "Secret") => ("secrets", target.namespace()),
        ("v1", "Node") => ("nodes", None),
        (version, kind) => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(why).into());
        }
    };
    let found = found(server, plural, scope, &bound.name).await?;
    let found = found.ok_or_else(|| Status::not_found(&gvk::Resource::new("", plural), &bound.name))?;
    if !bound.uid.is_empty() && bound.uid != found.uid {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted \
             and then recreated",
            bound.uid
        );
        return Err(token_conflict(&bound.kind, "", &bound.name, &why));
    }
    let reference = Reference {
        name: bound.name.clone(),
        uid: found.uid,
    };
    match plural {
        "pods" => {
            account.node = node_of_pod(server, target, &bound.name).await?;
            account.pod = Some(reference);
        }
        "secrets" => account.secret = Some(reference),
        _ => account.node = Some(reference),
    }
    Ok(())
}

/// The node of a pod, which must run as the account that the token is for.
async fn node_of_pod(server: &Server, target: &Target, pod: &str) -> Result<Option<Reference>, Failure> {
    let key = Keys::new("", "pods", true).object(&target.namespace, pod);
    let Some(entry) = server.store.get(key, None).await? else {
        return Ok(None);
    };
    let stored = Stored::read(entry.value)?.object(&Opening::anonymous(), entry.modified);
    let stored = stored.value()?;
    if text(&stored, "/spec/serviceAccountName") != target.name {
        let why = format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            target.name
        );
        return Err(Status::bad_request(why).into());
    }
    let node = text(&stored, "/spec/nodeName");
    if node.is_empty() {
        return Ok(None);
    }
    let found = found(server, "nodes", None, node).await?;
    Ok(Some(Reference {
        name: node.to_owned(),
        uid: found.map(|found| found.uid).unwrap_or_default(),
    }))
}
