//! What a request is about, read from its method and URL path.

use std::borrow::Cow;

use crate::list::{ListOptions, query_bool};
use crate::meta;
use crate::status::Status;

/// What is done to a resource, in the words of authorization rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the verbs of the API")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// As rules and discovery documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes nothing.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// A request for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequest {
    /// The verb; `None` for methods that no resource has (`OPTIONS`, …).
    pub verb: Option<Verb>,
    /// The group, empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The namespace. Requests for a namespace object name it here, too.
    pub namespace: Option<String>,
    /// The plural name of the resource.
    pub resource: String,
    /// The object; `None` for a collection.
    pub name: Option<String>,
    /// For example `status`.
    pub subresource: Option<String>,
    /// What follows the subresource; nothing here serves such paths.
    pub rest: Vec<String>,
    /// The name that a list or watch is limited to by `metadata.name=…`: authorization takes it for the name.
    pub selected_name: Option<String>,
}

impl ResourceRequest {
    /// The name that authorization rules compare with their `resourceNames`.
    pub fn authorization_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.selected_name.as_deref())
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestInfo {
    /// A resource: `/api/v1/…`, `/apis/GROUP/VERSION/…`.
    Resource(ResourceRequest),
    /// Anything else: discovery, health, OpenAPI, paths with an empty segment. The decoded path's segments, without empty ones at
    /// the ends.
    NonResource(Vec<String>),
}

impl RequestInfo {
    /// Reads method, path (still percent-encoded) and decoded query pairs.
    ///
    /// # Errors
    ///
    /// 400 when the path has a bad percent-encoding or ends behind `watch`.
    pub fn parse<'a>(
        method: &str,
        path: &str,
        query: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Status> {
        let segments = segments(path)?;
        let named = segments.iter().all(|segment| !segment.is_empty());
        let Some((group, version, rest)) = split_prefix(&segments).filter(|_| named) else {
            return Ok(Self::NonResource(segments));
        };
        let mut parts = rest;
        let watch_prefix = parts[0] == "watch";
        if watch_prefix {
            parts = &parts[1..];
            if parts.is_empty() {
                return Err(Status::bad_request("unable to determine kind and namespace from url"));
            }
        }
        let mut namespace = None;
        if parts[0] == "namespaces" && parts.len() > 1 {
            namespace = Some(parts[1].clone());
            if parts.len() > 2 && !matches!(parts[2].as_str(), "status" | "finalize") {
                parts = &parts[2..];
            }
        }
        let mut request = ResourceRequest {
            verb: None,
            group: group.to_owned(),
            version: version.to_owned(),
            namespace,
            resource: parts[0].clone(),
            name: parts.get(1).cloned(),
            subresource: parts.get(2).cloned(),
            rest: parts.get(3..).unwrap_or_default().to_vec(),
            selected_name: None,
        };
        let query = Query::of(query);
        request.verb = verb(method, request.name.is_some(), watch_prefix || query.watch);
        if watch_prefix && request.verb == Some(Verb::Get) {
            request.verb = Some(Verb::Watch);
        }
        if request.name.is_none() && request.verb != Some(Verb::Create) {
            request.selected_name = query.selected_name();
        }
        Ok(Self::Resource(request))
    }
}

#[derive(Default)]
struct Query<'a> {
    watch: bool,
    field_selector: Option<&'a str>,
}

impl<'a> Query<'a> {
    fn of(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs {
            match name {
                "watch" => query.watch = query_bool(value),
                "fieldSelector" if query.field_selector.is_none() => query.field_selector = Some(value),
                _ => {}
            }
        }
        query
    }

    fn selected_name(&self) -> Option<String> {
        let options = ListOptions::parse([("fieldSelector", self.field_selector?)]).ok()?;
        let name = options.field_selector.exact("metadata.name")?;
        (!name.is_empty() && meta::path_segment_problems(name).is_empty()).then(|| name.to_owned())
    }
}

fn verb(method: &str, named: bool, watch: bool) -> Option<Verb> {
    Some(match (method, named) {
        ("GET" | "HEAD", true) => Verb::Get,
        ("GET" | "HEAD", false) if watch => Verb::Watch,
        ("GET" | "HEAD", false) => Verb::List,
        ("POST", _) => Verb::Create,
        ("PUT", _) => Verb::Update,
        ("PATCH", _) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return None,
    })
}

/// Group, version and the segments behind them, of which there is at least one.
fn split_prefix(segments: &[String]) -> Option<(&str, &str, &[String])> {
    match segments {
        [api, version, rest @ ..] if api == "api" && !rest.is_empty() => Some(("", version, rest)),
        [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => Some((group, version, rest)),
        _ => None,
    }
}

/// The decoded segments. Slashes at both ends do not count.
fn segments(path: &str) -> Result<Vec<String>, Status> {
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    trimmed
        .split('/')
        .map(|segment| percent_decode(segment).map(Cow::into_owned))
        .collect()
}

/// Decodes `%XX`; a `+` stays one.
///
/// # Errors
///
/// 400 for an incomplete escape, or when the result is not UTF-8.
pub fn percent_decode(text: &str) -> Result<Cow<'_, str>, Status> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let invalid = || Status::bad_request("invalid percent-encoding in the URL");
    let hex = |b: Option<u8>| {
        b.and_then(|b| char::from(b).to_digit(16))
            .and_then(|d| u8::try_from(d).ok())
            .ok_or_else(invalid)
    };
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(if b == b'%' {
            hex(bytes.next())? << 4 | hex(bytes.next())?
        } else {
            b
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verb, group/version, namespace, resource, name, subresource; `-` for none.
    fn summary(method: &str, url: &str) -> String {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        match RequestInfo::parse(method, path, pairs).unwrap() {
            RequestInfo::NonResource(segments) => segments.join("|"),
            RequestInfo::Resource(r) => {
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                format!(
                    "{} {}/{} {} {} {} {}",
                    r.verb.map_or("-", Verb::as_str),
                    r.group,
                    r.version,
                    or(r.namespace),
                    r.resource,
                    or(r.name.or(r.selected_name)),
                    or(r.subresource)
                )
            }
        }
    }

    #[test]
    fn paths_name_resources() {
        for (method, url, expected) in [
            ("GET", "/api/v1/pods", "list /v1 - pods - -"),
            ("GET", "/api/v1/pods/", "list /v1 - pods - -"),
            ("GET", "/api/v1/pods?watch=1", "watch /v1 - pods - -"),
            ("GET", "/api/v1/pods?watch=false", "list /v1 - pods - -"),
            ("GET", "/api/v1/namespaces/n/pods/p?watch=1", "get /v1 n pods p -"),
            (
                "POST",
                "/apis/ex.io/v1/namespaces/n/widgets",
                "create ex.io/v1 n widgets - -",
            ),
            (
                "PUT",
                "/apis/ex.io/v1/namespaces/n/widgets/w/status",
                "update ex.io/v1 n widgets w status",
            ),
            ("PATCH", "/apis/ex.io/v1/clusters/c", "patch ex.io/v1 - clusters c -"),
            ("DELETE", "/api/v1/namespaces/n/pods", "deletecollection /v1 n pods - -"),
            ("DELETE", "/api/v1/namespaces/n", "delete /v1 n namespaces n -"),
            ("GET", "/api/v1/namespaces", "list /v1 - namespaces - -"),
            (
                "PUT",
                "/api/v1/namespaces/n/finalize",
                "update /v1 n namespaces n finalize",
            ),
            ("GET", "/api/v1/namespaces/n/status", "get /v1 n namespaces n status"),
            ("GET", "/api/v1/watch/namespaces/n/pods", "watch /v1 n pods - -"),
            (
                "GET",
                "/api/v1/pods?fieldSelector=metadata.name=a",
                "list /v1 - pods a -",
            ),
            ("GET", "/api/v1/namespaces/n/pods/a%2Fb", "get /v1 n pods a/b -"),
            ("OPTIONS", "/api/v1/pods", "- /v1 - pods - -"),
            ("GET", "/api/v1", "api|v1"),
            ("GET", "/apis/ex.io/v1/", "apis|ex.io|v1"),
            ("GET", "/api/v1/namespaces//pods", "api|v1|namespaces||pods"),
            ("GET", "/", ""),
            ("GET", "/openapi/v3/apis/ex.io/v1", "openapi|v3|apis|ex.io|v1"),
        ] {
            assert_eq!(summary(method, url), expected, "{method} {url}");
        }
    }

    #[test]
    fn bad_paths_are_refused() {
        for path in ["/api/v1/%", "/api/v1/%zz", "/api/v1/%ff", "/api/v1/watch"] {
            assert_eq!(RequestInfo::parse("GET", path, []).unwrap_err().code(), 400, "{path}");
        }
    }
}
