//! The tower service: from an HTTP request to the handler of its verb.

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
use http::{Method, Request, Response};

use crate::auth::{self, Attributes, Decision, PeerIdentity, UserInfo};
use crate::body::{self, Body, LONGEST_REQUEST, ReadError};
use crate::builtin::Special;
use crate::failure::Failure;
use crate::negotiate::{self, Form, Wanted};
use crate::query::Query;
use crate::registry::Found;
use crate::server::Server;
use crate::target::{Subresource, Target};
use crate::write::create::{self, Creates};
use crate::write::{delete, options, update};
use crate::{discovery, health, read, render, watch};

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
            let handled = AssertUnwindSafe(handle(&server, user.as_deref(), creates, &parts, body))
                .catch_unwind()
                .await;
            let mut response = match handled {
                Ok(Ok(response)) => response,
                Ok(Err(failure)) => render::refusal(&failure),
                Err(_) => {
                    tracing::error!(method = %parts.method, path = parts.uri.path(), "a request handler panicked");
                    render::refusal(&Status::internal("the request could not be handled").into())
                }
            };
            if parts.method == Method::HEAD {
                *response.body_mut() = Body::whole(Bytes::new());
            }
            Ok(response)
        })
    }
}

async fn handle<B>(
    server: &Arc<Server>,
    user: Option<&UserInfo>,
    creates: Creates,
    parts: &Parts,
    body: B,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes> + Send,
{
    let query = Query::parse(parts.uri.query());
    let authenticated;
    let user = match user {
        Some(user) => user,
        None => {
            authenticated = authenticate(server, parts)?;
            &authenticated
        }
    };
    match RequestInfo::parse(parts.method.as_str(), parts.uri.path(), query.pairs())? {
        RequestInfo::NonResource(segments) => {
            authorize_path(server, user, parts)?;
            other(server, parts, &segments, &query).await
        }
        RequestInfo::Resource(request) => {
            let Some(verb) = request.verb else {
                return Err(Status::method_not_allowed().into());
            };
            authorize(server, user, &request, verb)?;
            let target = route(server, &request, verb)?;
            dispatch(server, target, verb, creates, parts, &query, body).await
        }
    }
}

fn authenticate(server: &Server, parts: &Parts) -> Result<UserInfo, Failure> {
    let peer = parts.extensions.get::<PeerIdentity>();
    match server.authenticator.authenticate(&parts.headers, peer) {
        Ok(user) => Ok(user.unwrap_or_else(UserInfo::anonymous)),
        Err(auth::BadCredentials) => Err(Status::unauthorized().into()),
    }
}

fn authorize_path(server: &Server, user: &UserInfo, parts: &Parts) -> Result<(), Failure> {
    let path = parts.uri.path();
    if auth::is_open(path) {
        return Ok(());
    }
    let verb = parts.method.as_str().to_ascii_lowercase();
    match server
        .authorizer
        .authorize(user, &Attributes::Path { verb: &verb, path })
    {
        Decision::Allow => Ok(()),
        Decision::Deny(why) => Err(Status::forbidden_path(&explained(
            format!("User {:?} cannot {verb} path {path:?}", user.name),
            &why,
        ))
        .into()),
    }
}

fn authorize(server: &Server, user: &UserInfo, request: &ResourceRequest, verb: Verb) -> Result<(), Failure> {
    let attributes = Attributes::Resource {
        verb: verb.as_str(),
        group: &request.group,
        resource: &request.resource,
        subresource: request.subresource.as_deref().unwrap_or_default(),
        namespace: request.namespace.as_deref().unwrap_or_default(),
        name: request.authorization_name().unwrap_or_default(),
    };
    let Decision::Deny(why) = server.authorizer.authorize(user, &attributes) else {
        return Ok(());
    };
    let resource = apimachinery::gvk::Resource::new(&request.group, &request.resource);
    let part = request
        .subresource
        .as_ref()
        .map(|part| format!("/{part}"))
        .unwrap_or_default();
    let place = match &request.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let text = format!(
        "User {:?} cannot {} resource \"{}{part}\" in API group {:?} {place}",
        user.name,
        verb.as_str(),
        request.resource,
        request.group
    );
    Err(Status::forbidden(
        &resource,
        request.name.as_deref().unwrap_or_default(),
        &explained(text, &why),
    )
    .into())
}

fn explained(text: String, why: &str) -> String {
    if why.is_empty() { text } else { format!("{text}: {why}") }
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
    let snapshot = server.registry.snapshot();
    if segments.is_empty() {
        return Ok(health::index(
            snapshot
                .groups()
                .keys()
                .filter(|group| !group.is_empty())
                .map(|group| format!("/apis/{group}")),
        ));
    }
    if segments == ["version"] {
        return Ok(discovery::version());
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
        Some("finalize") if resource.rules.special == Special::Namespace => Subresource::Finalize,
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
    server: &Arc<Server>,
    target: Target,
    verb: Verb,
    creates: Creates,
    parts: &Parts,
    query: &Query<'_>,
    body: B,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes> + Send,
{
    if parts.method == Method::HEAD {
        return Err(Status::method_not_allowed().into());
    }
    let wanted = negotiate::object(&parts.headers).map_err(|negotiate::NotAcceptable| discovery::not_acceptable())?;
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
    };
    match (verb, target.subresource) {
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
