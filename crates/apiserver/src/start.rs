//! What a server makes by itself when it starts, beside the first namespaces.

mod accounts;
mod roles;

use apimachinery::json::Value;
use apimachinery::rbac::{GROUP, Rule, uncovered};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use crate::auth::UserInfo;
use crate::codec::{Opening, Stored};
use crate::failure::Failure;
use crate::namespaces::INITIAL;
use crate::negotiate::Wanted;
use crate::query::Query;
use crate::server::Server;
use crate::target::Target;
use crate::write::create::{self, Creates, Request};
use crate::write::options::WriteOptions;
use crate::write::update;

pub(crate) use accounts::run as keep_accounts;

/// Roles of this annotation's value "false" are left as they are.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What a server makes by itself. By default nothing: a program that is the only client of its server needs none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartObjects {
    /// The ClusterRoles `cluster-admin`, `admin`, `edit`, `view`, `system:discovery`, `system:public-info-viewer`,
    /// `system:basic-user` and a few more, and their ClusterRoleBindings. What is missing in them at a start is added.
    pub roles: bool,
    /// The ServiceAccount `default` in every namespace, also in those that are made later.
    pub service_accounts: bool,
    /// PEM: the certificate of this server's authority, which every namespace then has in the ConfigMap `kube-root-ca.crt`.
    pub root_certificate: Option<String>,
}

impl StartObjects {
    /// All that clients of a cluster expect and that needs no certificate.
    pub fn all() -> StartObjects {
        StartObjects {
            roles: true,
            service_accounts: true,
            root_certificate: None,
        }
    }
}

/// An object to be made.
struct Wish {
    group: &'static str,
    plural: &'static str,
    namespace: String,
    object: serde_json::Value,
}

impl Wish {
    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// Makes what is missing. All of it is written side by side, so that it shares the store's syncs.
pub(crate) async fn run(server: &Server, start: &StartObjects) -> Result<(), Failure> {
    let mut wishes = Vec::new();
    if start.roles {
        wishes.extend(roles::wishes());
    }
    for namespace in INITIAL {
        wishes.extend(accounts::wishes(start, namespace));
    }
    try_join_all(wishes.iter().map(|wish| fulfil(server, wish))).await?;
    Ok(())
}

/// Makes an object, or adds to a role or binding what it lacks.
async fn fulfil(server: &Server, wish: &Wish) -> Result<(), Failure> {
    let snapshot = server.registry.snapshot();
    let Some(resource) = snapshot.resource(wish.group, wish.plural) else {
        return Ok(());
    };
    let target = Target::internal(resource.clone(), &wish.namespace, wish.name());
    let Some(entry) = server.store.get(target.key(), None).await? else {
        let collection = target.named(&wish.namespace, "");
        return match make(server, &collection, &wish.object).await {
            Err(Failure::Status(status)) if status.code() == 409 => Ok(()),
            other => other,
        };
    };
    let text = Stored::read(entry.value)?.object(&Opening::anonymous(), entry.modified);
    match lacking(wish, &text.value()?) {
        Some(change) => amend(server, &target, &change).await,
        None => Ok(()),
    }
}

async fn make(server: &Server, target: &Target, object: &serde_json::Value) -> Result<(), Failure> {
    let body = Bytes::from(object.to_string());
    let request = Request {
        headers: &HeaderMap::new(),
        body: &body,
        query: &Query::default(),
        wanted: Wanted::JSON,
        creates: Creates::Tracked,
        user: &UserInfo::admin(),
    };
    let write = WriteOptions::parse("CreateOptions", request.query)?;
    create::create_named(server, target, request, write, None)
        .await
        .map(drop)
}

async fn amend(server: &Server, target: &Target, change: &serde_json::Value) -> Result<(), Failure> {
    let body = Bytes::from(change.to_string());
    let merge = HeaderValue::from_static("application/merge-patch+json");
    let request = Request {
        headers: &HeaderMap::from_iter([(header::CONTENT_TYPE, merge)]),
        body: &body,
        query: &Query::default(),
        wanted: Wanted::JSON,
        creates: Creates::Tracked,
        user: &UserInfo::admin(),
    };
    update::patch(server, target, request).await.map(drop)
}

/// What a role or binding that is there lacks, as a merge patch.
fn lacking(wish: &Wish, found: &Value<'_>) -> Option<serde_json::Value> {
    let annotations = found.pointer("/metadata/annotations");
    let updates = annotations
        .and_then(|all| all.get(AUTO_UPDATE))
        .is_none_or(|value| value != "false");
    if wish.group != GROUP || !updates {
        return None;
    }
    let wanted = Value::from(wish.object.clone());
    if wish.plural == "clusterroles" {
        let mut held = Rule::read_all(found);
        let missing = uncovered(&held, &Rule::read_all(&wanted));
        if missing.is_empty() || found.get("aggregationRule").is_some() {
            return None;
        }
        held.extend(missing);
        let rules: Vec<serde_json::Value> = held.iter().map(|rule| rule.to_value().into()).collect();
        return Some(json!({"rules": rules}));
    }
    let list = |object: &Value<'_>| -> Vec<serde_json::Value> {
        let subjects = object.get("subjects").and_then(Value::as_array);
        subjects
            .into_iter()
            .flatten()
            .map(|subject| subject.clone().into())
            .collect()
    };
    let mut subjects = list(found);
    let same = |a: &serde_json::Value, b: &serde_json::Value| {
        ["kind", "name", "namespace"]
            .iter()
            .all(|member| a.get(member) == b.get(member))
    };
    let missing: Vec<_> = list(&wanted)
        .into_iter()
        .filter(|wanted| !subjects.iter().any(|known| same(known, wanted)))
        .collect();
    if missing.is_empty() {
        return None;
    }
    subjects.extend(missing);
    Some(json!({"subjects": subjects}))
}
