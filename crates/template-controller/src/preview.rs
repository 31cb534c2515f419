//! What would become of a template on a cluster, object by object, without anything being made.

use std::fmt;

use futures::future::BoxFuture;
use kube::Client;
use template::{Given, Problems, Roles, SystemRandom, Template, Unknown};

use crate::api::{Api, ApiError};
use crate::blot::Blot;
use crate::discovery::{Discovery, Resource};
use crate::objects::at_once;
use crate::plan::{self, CrossNamespace, Owner, Planned};

/// Stands for the uid of the instance, which nobody makes.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The template cannot be processed with these values.
    #[error("{0}")]
    Template(Problems),
    /// What comes of it are no objects.
    #[error("{}", .0.join("\n"))]
    Objects(Vec<String>),
    /// The API server does not answer.
    #[error("looking what the cluster serves: {0}")]
    Cluster(String),
}

/// What would become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Where it stands in the template: `objects[2] (Deployment)`.
    pub place: String,
    /// Which one: `Deployment shop/web`.
    pub object: String,
    /// What would become of it.
    pub verdict: Verdict,
}

/// What would become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be created.
    Created,
    /// An object of its name is there: an instance would fail.
    Exists,
    /// It cannot be tried before others are there, which the template makes first: these.
    AfterOthers(Vec<String>),
    /// It would be refused; why.
    Refused(String),
}

impl Verdict {
    /// Whether an instance would come past it.
    pub fn is_good(&self) -> bool {
        matches!(self, Verdict::Created | Verdict::AfterOthers(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Created => f.write_str("would be created"),
            Verdict::Exists => f.write_str("is there already"),
            Verdict::AfterOthers(others) => write!(f, "can be tried only when {} is there", others.join(", ")),
            Verdict::Refused(why) => write!(f, "would be refused: {why}"),
        }
    }
}

/// Tries every object of a template on the API server, as the client's user, in the order in which an instance in this namespace
/// would make them. Nothing is made: these are dry runs.
///
/// # Errors
/// [`PreviewError`], when it does not come to single objects.
pub async fn preview(
    client: &Client,
    template: &Template<'_>,
    given: &Given,
    unknown: Unknown,
    namespace: &str,
) -> Result<Vec<Preview>, PreviewError> {
    let values = template
        .resolve(given, unknown, &mut SystemRandom)
        .map_err(PreviewError::Template)?;
    let owner = Owner {
        namespace,
        name: "preview",
        uid: NOBODY,
    };
    let api = Api::new(client);
    let drafts =
        plan::drafts(template, &values, owner, Roles::Kubernetes).map_err(|what| PreviewError::Objects(vec![what]))?;
    let mut located = Vec::with_capacity(drafts.len());
    let mut lines = Vec::new();
    let discovery = Discovery::default();
    for draft in &drafts {
        let found = discovery.find(&api, &draft.api_version, &draft.kind).await;
        let found = found.map_err(|error| PreviewError::Cluster(error.to_string()))?;
        located.push(found.or_else(|| plan::defined(&drafts, &draft.api_version, &draft.kind)));
    }
    let mut known: Vec<(plan::Draft, Resource)> = Vec::with_capacity(drafts.len());
    for (draft, resource) in drafts.into_iter().zip(located) {
        match resource {
            Some(resource) => known.push((draft, resource)),
            None => lines.push(Preview {
                object: format!("{} of {}", draft.kind, draft.api_version),
                place: draft.place,
                verdict: Verdict::Refused("the cluster does not serve this kind".to_owned()),
            }),
        }
    }
    let planned = plan::plan(known, owner, CrossNamespace::Allowed).map_err(PreviewError::Objects)?;
    let shown: Vec<&str> = planned
        .iter()
        .flat_map(|one| [one.name.as_str(), one.namespace.as_str()])
        .collect();
    let blot = Blot::new(template, &values, &shown);
    let mut tried: Vec<BoxFuture<'_, Verdict>> = Vec::with_capacity(planned.len());
    for one in &planned {
        tried.push(Box::pin(verdict(&api, &planned, one, &blot)));
    }
    for (one, verdict) in planned.iter().zip(at_once(tried).await) {
        lines.push(Preview {
            place: one.place.clone(),
            object: one.called(),
            verdict,
        });
    }
    Ok(lines)
}

async fn verdict(api: &Api<'_>, planned: &[Planned], one: &Planned, blot: &Blot) -> Verdict {
    let mut missing = Vec::new();
    for &needed in &one.needs {
        let needed = &planned[needed];
        let path = needed.resource.one(&needed.namespace, &needed.name);
        if api.get::<serde_json::Value>(&path).await.is_err() {
            missing.push(needed.called());
        }
    }
    if !missing.is_empty() {
        return Verdict::AfterOthers(missing);
    }
    let path = format!("{}?dryRun=All", one.resource.all(Some(&one.namespace)));
    let tried: Result<serde_json::Value, ApiError> = api.post(&path, one.text().into_bytes()).await;
    match tried {
        Ok(_) => Verdict::Created,
        Err(error) if error.already_exists() => Verdict::Exists,
        Err(error) => Verdict::Refused(blot.out(&error.to_string())),
    }
}
