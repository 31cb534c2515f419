//! The tower service: from an HTTP request to the handler of its verb.

use std::borrow::Cow;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use apimachinery::list::ListOptions;
use apimachinery::request_info::{RequestInfo, ResourceRequest, Verb};
use apimachinery::status::{Reason, Status};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};

use crate::auth::access::refusal;
use crate::auth::{Attributes, Authorizer as _, Decision, PeerIdentity, UserInfo, authenticate, impersonate};
use crate::body::{self, Body, LONGEST_REQUEST, ReadError};
use crate::builtin::Special;
use crate::failure::Failure;
use crate::negotiate::{self, Form, Wanted};
use crate::observe::{self, Seen};
use crate::query::Query;
use crate::registry::Found;
use crate::server::Server;
use crate::target::{Subresource, Target};
use crate::write::create::{self, Creates};
use crate::write::{delete, options, update};
use crate::{discovery, finish, health, openapi, read, render, reviews, watch};

/// The API as a tower service. Cheap to clone; always ready.
#[derive(Clone)]
pub struct Service {
    server: Arc<Server>,
    /// Who sends every request; `None`: each request is authenticated.
    user: Option<Arc<UserInfo>>,
    creates: Creates,
}

impl Service {
    pub(crate) fn new(server: Arc<Server>, user: Option<UserInfo>) -> Service {
        Service {
            server,
            user: user.map(Arc::new),
            creates: Creates::Tracked,
        }
    }

    /// The same service for a client that does not care who owns which field: objects that it creates have no
    /// `metadata.managedFields`, which makes its writes cheaper and its objects smaller.
    ///
    /// That is the state of any object from before server-side apply, and the rules for it are those of a real server: it
    /// stays so until somebody applies to it, who then finds all of it in the hands of `before-first-apply`.
    #[must_use]
    pub fn untracked(self) -> Service {
        Service {
            creates: Creates::Untracked,
            ..self
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Service { server, user, creates } = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let mut seen = server.observers.begin();
            let id = server.observers.audit_id(&parts.headers, user.is_some());
            let handled = AssertUnwindSafe(handle(
                &server,
                user.as_deref(),
                creates,
                &parts,
                body,
                seen.as_deref_mut(),
            ))
            .catch_unwind()
            .await;
            let failure = match handled {
                Ok(handled) => handled,
                Err(_) => {
                    tracing::error!(method = %parts.method, path = parts.uri.path(), "a request handler panicked");
                    Err(Status::internal("the request could not be handled").into())
                }
            };
            let reason = failure.as_ref().err().filter(|_| seen.is_some()).map(Failure::reason);
            let mut response = failure.unwrap_or_else(|failure| render::refusal(&failure));
            if parts.method == Method::HEAD {
                *response.body_mut() = Body::whole(Bytes::new());
            }
            let mut response = finish::finish(&parts, response);
            if let Some(seen) = seen {
                response = observe::end(&server, seen, &parts, response, id.as_ref(), reason.unwrap_or_default());
            }
            if let Some(id) = id {
                response.headers_mut().insert("audit-id", id);
            }
            Ok(response)
        })
    }
}

/// A request, and who sends it.
struct Asked<'r> {
    server: &'r Arc<Server>,
    /// A program in this process has sent it.
    in_process: bool,
    creates: Creates,
    parts: &'r Parts,
    query: &'r Query<'r>,
}

async fn handle<B>(
    server: &Arc<Server>,
    user: Option<&UserInfo>,
    creates: Creates,
    parts: &Parts,
    body: B,
    mut seen: Option<&mut Seen>,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes> + Send,
{
    let query = Query::parse(parts.uri.query());
    let asked = Asked {
        server,
        in_process: user.is_some(),
        creates,
        parts,
        query: &query,
    };
    let authenticated;
    let user = match user {
        Some(user) => user,
        None => {
            authenticated = authenticate(server, parts).await?;
            &authenticated
        }
    };
    if let Some(seen) = seen.as_deref_mut() {
        seen.sender = Some(user.clone());
    }
    match RequestInfo::parse(parts.method.as_str(), parts.uri.path(), query.pairs())? {
        RequestInfo::NonResource(segments) => {
            let verb = parts.method.as_str().to_ascii_lowercase();
            let attributes = Attributes::Path {
                verb: &verb,
                path: parts.uri.path(),
            };
            asked.permitted(user, &attributes, seen)?;
            other(server, parts, &segments, &query).await
        }
        RequestInfo::Resource(request) => {
            let Some(verb) = request.verb else {
                return Err(Status::method_not_allowed().into());
            };
            if let Some(seen) = seen.as_deref_mut() {
                seen.request = Some((request.clone(), verb));
            }
            let user = asked.permitted(user, &attributes(&request, verb), seen.as_deref_mut())?;
            let target = route(server, &request, verb)?;
            if let Some(seen) = seen {
                seen.is_known = true;
            }
            within_limits(&asked, &user, target, verb, body).await
        }
    }
}

async fn authenticate(server: &Server, parts: &Parts) -> Result<UserInfo, Failure> {
    let peer = parts.extensions.get::<PeerIdentity>();
    let user = authenticate::user(server, &parts.headers, peer).await;
    if let Some(metrics) = &server.observers.metrics {
        metrics.authenticated(user.is_ok());
    }
    user
}

impl Asked<'_> {
    /// The user that the request acts as (its sender, unless it says otherwise), if he may do what it wants.
    fn permitted<'u>(
        &self,
        sender: &'u UserInfo,
        attributes: &Attributes<'_>,
        seen: Option<&mut Seen>,
    ) -> Result<Cow<'u, UserInfo>, Failure> {
        let access = &self.server.access;
        let user = match impersonate::wanted(&self.parts.headers)? {
            None => Cow::Borrowed(sender),
            Some(wanted) => Cow::Owned(impersonate::user(access, sender, &wanted, attributes)?),
        };
        let decision = match attributes {
            Attributes::Path { path, .. } if access.is_open(path) => None,
            _ => Some(access.authorize(&user, attributes)),
        };
        if let Some(seen) = seen {
            if let Cow::Owned(acting) = &user {
                seen.acting = Some(acting.clone());
            }
            seen.decided(self.server, &user, attributes, decision.as_ref());
        }
        match decision {
            None | Some(Decision::Allow) => Ok(user),
            Some(Decision::Deny(why) | Decision::NoOpinion(why)) => Err(refusal(&user, attributes, &why).into()),
        }
    }
}

fn attributes(request: &ResourceRequest, verb: Verb) -> Attributes<'_> {
    Attributes::Resource {
        verb: verb.as_str(),
        group: &request.group,
        resource: &request.resource,
        subresource: request.subresource.as_deref().unwrap_or_default(),
        namespace: request.namespace.as_deref().unwrap_or_default(),
        name: request.authorization_name().unwrap_or_default(),
    }
}

/// Lets a request in when there is a place for it, and gives it up when its time is over.
async fn within_limits<B>(
    asked: &Asked<'_>,
    user: &UserInfo,
    target: Target,
    verb: Verb,
    body: B,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes> + Send,
{
    let places = &asked.server.places;
    if verb == Verb::Watch {
        let place = if asked.in_process { None } else { Some(places.watch()?) };
        let answer = dispatch(asked, user, target, verb, body).await?;
        return Ok(match place {
            Some(place) => answer.map(|body| body.holding(place)),
            None => answer,
        });
    }
    let timeout = asked.query.first("timeout");
    if asked.in_process && timeout.is_none() {
        return dispatch(asked, user, target, verb, body).await;
    }
    let deadline = places.deadline(timeout)?;
    let limited = async {
        let _place = if asked.in_process || user.is_master() {
            None
        } else {
            Some(places.enter(verb).await?)
        };
        dispatch(asked, user, target, verb, body).await
    };
    match tokio::time::timeout(deadline, limited).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::timeout("request did not complete within the allotted timeout").into()),
    }
}

async fn other(
    server: &Arc<Server>,
    parts: &Parts,
    segments: &[String],
    query: &Query<'_>,
) -> Result<Response<Body>, Failure> {
    if let Some(answer) = health::answer(server, segments, query).await {
        return answer;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed().into());
    }
    if let Some(answer) = reviews::issuer(server, segments).await {
        return answer;
    }
    if segments == ["metrics"]
        && let Some(metrics) = observe::metrics(server).await
    {
        return Ok(render::respond(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics,
        ));
    }
    if segments == ["metrics", "slis"]
        && let Some(metrics) = observe::slis(server).await
    {
        return Ok(render::respond(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics,
        ));
    }
    let snapshot = server.registry.snapshot();
    if segments.is_empty() {
        return Ok(health::index(discovery::paths(&snapshot)));
    }
    if segments == ["version"] {
        return Ok(discovery::version());
    }
    if let Some(answer) = openapi::answer(server, segments, query, &parts.headers).await {
        return answer;
    }
    match discovery::answer(&snapshot, segments, &parts.headers) {
        Some(Err(Failure::NoSuchPath)) if is_version_of_ours(segments) => Err(Status::unknown_resource().into()),
        Some(answer) => answer,
        None => Err(Failure::NoSuchPath),
    }
}

/// The resource that a request is about, if its path has the right form for it.
fn route(server: &Server, request: &ResourceRequest, verb: Verb) -> Result<Target, Failure> {
    let (resource, version) = match server
        .registry
        .snapshot()
        .find(&request.group, &request.version, &request.resource)
    {
        Found::Resource(resource, version) => (resource, version),
        Found::NoVersion | Found::NoResource if kinds_of_ours(&request.group) => {
            return Err(Status::unknown_resource().into());
        }
        Found::NoVersion | Found::NoResource => return Err(Failure::NoSuchPath),
    };
    let unknown = || Failure::from(Status::unknown_resource());
    // A namespace's own path names it as its namespace, too.
    let namespace = request
        .namespace
        .clone()
        .filter(|_| resource.namespaced)
        .unwrap_or_default();
    let misplaced = request.namespace.is_some() && !resource.namespaced && resource.rules.special != Special::Namespace;
    let name = request.name.clone().unwrap_or_default();
    if misplaced || name.contains('/') || namespace.contains('/') {
        return Err(unknown());
    }
    let custom = resource.rules.special == Special::Custom;
    let no_subresource = || {
        if custom {
            Status::not_found(&resource.id, &name).into()
        } else {
            unknown()
        }
    };
    if !request.rest.is_empty() {
        return Err(no_subresource());
    }
    let subresource = match request.subresource.as_deref() {
        None => Subresource::None,
        Some("status") if resource.versions[version].status => Subresource::Status,
        Some("scale") if resource.versions[version].scale.is_some() => Subresource::Scale,
        Some("token") if reviews::has_tokens(&resource) => Subresource::Token,
        Some("finalize") if resource.rules.special == Special::Namespace => Subresource::Finalize,
        Some(name) if let Some(part) = resource.versions[version].part(name) => part,
        Some(_) => return Err(no_subresource()),
    };
    let all_namespaces = resource.namespaced && namespace.is_empty();
    if all_namespaces && !matches!(verb, Verb::List | Verb::Watch) {
        return Err(if custom {
            Failure::NoSuchPath
        } else {
            Status::method_not_allowed().into()
        });
    }
    Ok(Target::new(resource, version, namespace, name, subresource))
}

/// Whether a group holds built-in kinds: there an unknown version or resource is known to be unknown.
fn kinds_of_ours(group: &str) -> bool {
    crate::builtin::TABLE.iter().any(|builtin| builtin.group == group)
}

/// Refuses the answer when the metadata of a list was asked for and it is an object, or the other way round.
fn fitting(answer: Response<Body>, wanted: Wanted, verb: Verb) -> Result<Response<Body>, Failure> {
    let (asked, found) = match (verb, wanted.is_of_list) {
        (Verb::List, false) => ("PartialObjectMetadata", "a list"),
        (Verb::Get, true) => ("PartialObjectMetadataList", "an object"),
        _ => return Ok(answer),
    };
    if !matches!(wanted.form, Form::Partial(_)) {
        return Ok(answer);
    }
    let why = format!("you requested {asked}, but the requested object is {found}");
    Err(Status::failure(Reason::NotAcceptable, why).into())
}

/// Whether a path names a version of a group that holds built-in kinds.
fn is_version_of_ours(segments: &[String]) -> bool {
    match segments {
        [root, _] => root == "api",
        [root, group, _] => root == "apis" && kinds_of_ours(group) && !group.is_empty(),
        _ => false,
    }
}

async fn dispatch<B>(
    asked: &Asked<'_>,
    user: &UserInfo,
    target: Target,
    verb: Verb,
    body: B,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes> + Send,
{
    let &Asked {
        server,
        creates,
        parts,
        query,
        ..
    } = asked;
    if parts.method == Method::HEAD {
        return Err(Status::method_not_allowed().into());
    }
    let wanted = negotiate::object(&parts.headers).map_err(|negotiate::NotAcceptable| discovery::not_acceptable())?;
    let creates_only = !target.resource.is_stored() || target.subresource == Subresource::Token;
    if creates_only && verb != Verb::Create {
        return Err(Status::method_not_allowed().into());
    }
    match verb {
        Verb::Get if target.subresource == Subresource::Finalize => return Err(Status::method_not_allowed().into()),
        Verb::Get => {
            let answer = read::get(server, &target, query, wanted).await?;
            return fitting(answer, wanted, verb);
        }
        Verb::List => {
            let answer = read::list(server, &target, query, ListOptions::parse(query.pairs())?, wanted).await?;
            return fitting(answer, wanted, verb);
        }
        Verb::Watch => return watch::watch(server, &target, query, ListOptions::parse(query.pairs())?, wanted).await,
        _ => {}
    }
    let body = body::read(body).await.map_err(|error| match error {
        ReadError::TooLong => Status::too_large(LONGEST_REQUEST as u64),
        ReadError::Broken => Status::bad_request("the body of the request broke off"),
    })?;
    let request = create::Request {
        headers: &parts.headers,
        body: &body,
        query,
        wanted,
        creates,
        user,
    };
    match (verb, target.subresource) {
        (Verb::Create, Subresource::None) if let Special::Review(review) = target.resource.rules.special => {
            reviews::create(server, &target, review, request).await
        }
        (Verb::Create, Subresource::Token) => reviews::token(server, &target, request).await,
        (Verb::Create, Subresource::None) if target.name.is_empty() => create::create(server, &target, request).await,
        (Verb::Update, _) if !target.name.is_empty() => update::update(server, &target, request).await,
        (Verb::Patch, part) if !target.name.is_empty() && part != Subresource::Finalize => {
            update::patch(server, &target, request).await
        }
        (Verb::Delete, Subresource::None) => delete::delete(server, &target, request).await,
        (Verb::DeleteCollection, Subresource::None) if target.resource.rules.delete_collection => {
            delete::delete_collection(server, &target, request).await
        }
        (verb, _) if target.resource.rules.special == Special::Custom => {
            if verb == Verb::Patch {
                options::check_patch_type(&parts.headers, true)?;
            }
            if matches!(verb, Verb::Patch | Verb::Update) {
                return Err(Status::bad_request("name must be provided").into());
            }
            Err(Status::method_not_supported(&target.resource.id, verb.as_str()).into())
        }
        _ => Err(Status::method_not_allowed().into()),
    }
}
