//! From a path to a route. The path is split first; each segment is decoded once afterwards (OSB-URL-03).

use std::borrow::Cow;

use http::Method;
use osb_api::id::{BindingId, IdError, InstanceId};

use crate::percent::{PercentError, Plus, decode};

/// The segments of a path: `/v2/catalog` has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segments<'a>(&'a str);

impl<'a> Segments<'a> {
    /// Of a raw path.
    pub(crate) fn of(path: &'a str) -> Self {
        Self(path.strip_prefix('/').unwrap_or(path))
    }

    /// The first segment and the rest behind it.
    pub(crate) fn split(self) -> (&'a str, Option<Self>) {
        self.0
            .split_once('/')
            .map_or((self.0, None), |(first, rest)| (first, Some(Self(rest))))
    }

    /// Whether this is exactly one segment, the one given.
    pub(crate) fn is(self, segment: &str) -> bool {
        self.0 == segment
    }
}

/// A page beside the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The process is there.
    Health,
    /// Requests can be served.
    Ready,
    /// Measurements.
    Metrics,
}

impl Probe {
    /// The page that a path names.
    pub(crate) fn of(path: Segments<'_>) -> Option<Self> {
        [
            ("healthz", Self::Health),
            ("readyz", Self::Ready),
            ("metrics", Self::Metrics),
        ]
        .into_iter()
        .find_map(|(segment, probe)| path.is(segment).then_some(probe))
    }

    /// The path, for metrics and logs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
        }
    }
}

/// The routes of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/catalog`
    Catalog,
    /// `/v2/service_instances/:instance_id`
    Instance(InstanceId),
    /// `/v2/service_instances/:instance_id/last_operation`
    InstanceOperation(InstanceId),
    /// `/v2/service_instances/:instance_id/service_bindings/:binding_id`
    Binding(InstanceId, BindingId),
    /// `/v2/service_instances/:instance_id/service_bindings/:binding_id/last_operation`
    BindingOperation(InstanceId, BindingId),
}

/// Why a path is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// 404
    #[error("there is no such page")]
    NotFound,
    /// 400
    #[error("the path is not valid percent-encoded UTF-8")]
    Encoding,
    /// 400 (OSB-URL-04)
    #[error("the {0} in the path {1}")]
    Id(&'static str, IdError),
}

impl From<PercentError> for RouteError {
    fn from(_: PercentError) -> Self {
        Self::Encoding
    }
}

impl Route {
    /// The route of a path without its prefix.
    pub(crate) fn of(path: Segments<'_>) -> Result<Self, RouteError> {
        const MOST: usize = 6;
        // There is nothing to decode in it, and it is asked for most.
        if path.is("v2/catalog") {
            return Ok(Self::Catalog);
        }
        let mut raw = path.0.split('/');
        let mut segments: [Cow<'_, str>; MOST] = [const { Cow::Borrowed("") }; MOST];
        let mut count = 0;
        for (segment, text) in segments.iter_mut().zip(raw.by_ref()) {
            *segment = decode(text, Plus::Plus)?;
            count += 1;
        }
        if raw.next().is_some() {
            return Err(RouteError::NotFound);
        }
        match segments.each_ref().map(|segment| &**segment)[..count] {
            ["v2", "catalog"] => Ok(Self::Catalog),
            ["v2", "service_instances", instance] => Ok(Self::Instance(instance_id(instance)?)),
            ["v2", "service_instances", instance, "last_operation"] => {
                Ok(Self::InstanceOperation(instance_id(instance)?))
            }
            ["v2", "service_instances", instance, "service_bindings", binding] => {
                Ok(Self::Binding(instance_id(instance)?, binding_id(binding)?))
            }
            [
                "v2",
                "service_instances",
                instance,
                "service_bindings",
                binding,
                "last_operation",
            ] => Ok(Self::BindingOperation(instance_id(instance)?, binding_id(binding)?)),
            _ => Err(RouteError::NotFound),
        }
    }

    /// The path as the specification writes it, for metrics and logs.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Catalog => "/v2/catalog",
            Self::Instance(_) => "/v2/service_instances/:instance_id",
            Self::InstanceOperation(_) => "/v2/service_instances/:instance_id/last_operation",
            Self::Binding(..) => "/v2/service_instances/:instance_id/service_bindings/:binding_id",
            Self::BindingOperation(..) => {
                "/v2/service_instances/:instance_id/service_bindings/:binding_id/last_operation"
            }
        }
    }

    /// The instance that the path names.
    pub(crate) fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Catalog => None,
            Self::Instance(instance) | Self::InstanceOperation(instance) => Some(instance),
            Self::Binding(instance, _) | Self::BindingOperation(instance, _) => Some(instance),
        }
    }

    /// The binding that the path names.
    pub(crate) fn binding(&self) -> Option<&BindingId> {
        match self {
            Self::Binding(_, binding) | Self::BindingOperation(_, binding) => Some(binding),
            Self::Catalog | Self::Instance(_) | Self::InstanceOperation(_) => None,
        }
    }

    /// The methods that the route has, as `Allow` lists them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Catalog | Self::InstanceOperation(_) | Self::BindingOperation(..) => "GET",
            Self::Instance(_) => "GET, PUT, PATCH, DELETE",
            Self::Binding(..) => "GET, PUT, DELETE",
        }
    }
}

/// The name of a method for metrics and logs: a closed set.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn instance_id(text: &str) -> Result<InstanceId, RouteError> {
    InstanceId::new(text).map_err(|error| RouteError::Id("instance id", error))
}

fn binding_id(text: &str) -> Result<BindingId, RouteError> {
    BindingId::new(text).map_err(|error| RouteError::Id("binding id", error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(path: &str) -> Result<Route, RouteError> {
        Route::of(Segments::of(path))
    }

    fn instance(id: &str) -> InstanceId {
        InstanceId::new(id).unwrap()
    }

    fn binding(id: &str) -> BindingId {
        BindingId::new(id).unwrap()
    }

    #[test]
    fn the_ten_routes_have_five_paths() {
        assert_eq!(route("/v2/catalog"), Ok(Route::Catalog));
        assert_eq!(route("/v2/service_instances/i"), Ok(Route::Instance(instance("i"))));
        assert_eq!(
            route("/v2/service_instances/i/last_operation"),
            Ok(Route::InstanceOperation(instance("i")))
        );
        assert_eq!(
            route("/v2/service_instances/i/service_bindings/b"),
            Ok(Route::Binding(instance("i"), binding("b")))
        );
        let last = route("/v2/service_instances/i/service_bindings/b/last_operation");
        assert_eq!(last, Ok(Route::BindingOperation(instance("i"), binding("b"))));
        for path in [
            "",
            "/",
            "//v2/catalog",
            "/v2",
            "/v2/",
            "/v2/catalog/",
            "/V2/catalog",
            "/v2/service_instances",
            "/v2/service_instances/i/",
            "/v2/service_instances/i/service_bindings",
            "/v2/service_instances/i/service_bindings/b/last_operation/x",
            "/v2/service_instances/i/service_bindings/b/last_operation/",
        ] {
            assert_eq!(route(path), Err(RouteError::NotFound), "{path}");
        }
    }

    /// OSB-URL-01, OSB-URL-03.
    #[test]
    fn an_escaped_slash_is_part_of_the_id() {
        assert_eq!(
            route("/v2/service_instances/a%2Flast_operation"),
            Ok(Route::Instance(instance("a/last_operation")))
        );
        assert_eq!(
            route("/v2/service_instances/%2e%2e/last_operation"),
            Ok(Route::InstanceOperation(instance("..")))
        );
        assert_eq!(
            route("/v2/service_instances/crn:v1:x%3A%3a"),
            Ok(Route::Instance(instance("crn:v1:x::")))
        );
        assert_eq!(
            route("/v2/service_instances/%252F"),
            Ok(Route::Instance(instance("%2F")))
        );
        assert_eq!(
            route("/v2/service_instances/last_operation"),
            Ok(Route::Instance(instance("last_operation")))
        );
    }

    /// OSB-URL-04.
    #[test]
    fn ids_that_cannot_be_handled_are_refused() {
        assert_eq!(
            route("/v2/service_instances/"),
            Err(RouteError::Id("instance id", IdError::Empty))
        );
        assert_eq!(
            route("/v2/service_instances//last_operation"),
            Err(RouteError::Id("instance id", IdError::Empty))
        );
        assert_eq!(
            route("/v2/service_instances/i/service_bindings/"),
            Err(RouteError::Id("binding id", IdError::Empty))
        );
        assert_eq!(
            route(&format!("/v2/service_instances/{}", "x".repeat(1025))),
            Err(RouteError::Id("instance id", IdError::TooLong))
        );
        assert_eq!(route("/v2/service_instances/%FF"), Err(RouteError::Encoding));
        assert_eq!(route("/v2/service_instances/%4"), Err(RouteError::Encoding));
    }

    proptest! {
        #[test]
        fn arbitrary_ids_reach_only_themselves(id in r"\PC{1,30}") {
            let encoded: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(route(&format!("/v2/service_instances/{encoded}")), Ok(Route::Instance(instance(&id))));
        }

        #[test]
        fn arbitrary_paths_never_panic(path: String) {
            let _ = route(&path);
        }
    }
}
