//! `/livez`, `/readyz` and `/healthz`.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use objectstore::Error;

use crate::body::Body;
use crate::failure::Failure;
use crate::namespaces::INITIAL;
use crate::query::Query;
use crate::render;
use crate::server::Server;

/// So long a store that is not in this process may take to answer.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The checks of a root.
pub(crate) fn checks(root: &str) -> &'static [&'static str] {
    if root == "readyz" {
        &["ping", "store", "informer-sync", "shutdown"]
    } else {
        &["ping", "store"]
    }
}

/// The answer to a health path, `None` when it is no such path.
pub(crate) async fn answer(
    server: &Server,
    segments: &[String],
    query: &Query<'_>,
) -> Option<Result<Response<Body>, Failure>> {
    let (root, wanted) = match segments {
        [root] => (root.as_str(), None),
        [root, check] => (root.as_str(), Some(check.as_str())),
        _ => return None,
    };
    if !matches!(root, "livez" | "readyz" | "healthz") {
        return None;
    }
    if wanted.is_some_and(|wanted| !checks(root).contains(&wanted)) {
        return Some(Err(Failure::NoSuchPath));
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut lines = String::new();
    let mut healthy = true;
    for name in checks(root) {
        if wanted.is_some_and(|wanted| wanted != *name) {
            continue;
        }
        if excluded.contains(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if passes(server, name).await {
            lines.push_str(&format!("[+]{name} ok\n"));
        } else {
            healthy = false;
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
        }
    }
    for name in excluded.iter().filter(|name| !checks(root).contains(name)) {
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {name:?}\n"
        ));
    }
    let verdict = if healthy { "passed" } else { "failed" };
    let code = if healthy {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let brief = healthy && query.first("verbose").is_none();
    Some(Ok(render::text(
        code,
        if brief {
            "ok".to_owned()
        } else {
            format!("{lines}{root} check {verdict}\n")
        },
    )))
}

pub(crate) async fn passes(server: &Server, check: &str) -> bool {
    match check {
        "store" => {
            let read = server.store.get(server.namespaces.key(INITIAL[0]), None);
            let read = tokio::time::timeout(STORE_PATIENCE, read).await;
            !matches!(
                read,
                Err(_) | Ok(Err(Error::Closed | Error::Damaged(_) | Error::Unavailable(_)))
            )
        }
        // Roles and bindings that other processes write are seen.
        "informer-sync" => server.access.rbac.as_ref().is_none_or(|rbac| rbac.is_followed()),
        "shutdown" => !*server.closing.borrow(),
        _ => true,
    }
}

/// `/`: what can be asked for.
pub(crate) fn index(served: impl Iterator<Item = String>) -> Response<Body> {
    let mut paths: Vec<String> = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    paths.extend(served);
    paths.sort_unstable();
    render::respond(
        StatusCode::OK,
        "application/json",
        Bytes::from(serde_json::json!({"paths": paths}).to_string()),
    )
}
