//! A broker of all this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream;
use kube::Client;
use osb_sdk::Broker;
use template_controller::InstallError;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::credentials::Reader;
use crate::gate::Gate;
use crate::identity::{Identities, Policy};
use crate::offering::Ids;
use crate::place::Places;
use crate::projection::Projection;
use crate::registry::Registry;
use crate::service::Templates;
use crate::shared::Shared;
use crate::watching::{Following, Namespaces};

/// The name of the broker: its own resources are of the API group `templates.osb.internal`.
pub const NAME: &str = "templates";

/// Whether a cluster runs what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workloads {
    /// It does: an instance is ready when the objects are that its template wants to be waited for.
    #[default]
    Run,
    /// It has no nodes, as the API server of a broker's own home: objects are stored, no pod ever starts, and so nothing is
    /// waited for.
    Stored,
}

/// What a template broker does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose templates are offered.
    pub namespaces: Namespaces,
    /// Which ids are those of the catalog.
    pub ids: Ids,
    /// In whose name requests are carried out.
    pub identities: Identities,
    /// In which namespaces instances live.
    pub places: Places,
    /// Whether the cluster runs what is in it.
    pub workloads: Workloads,
    /// What the controller of TemplateInstances is to know; `None` where another process has one.
    pub controller: Option<template_controller::Options>,
}

impl Options {
    /// The templates of one namespace, for platforms that name their users, which nobody may yet.
    pub fn of(namespace: impl Into<String>) -> Self {
        Self {
            namespaces: Namespaces::Named(BTreeSet::from([namespace.into()])),
            ids: Ids::default(),
            identities: Identities {
                policy: Policy::Named,
                allowed: BTreeMap::new(),
                mapped: BTreeMap::new(),
            },
            places: Places::OfContext(None),
            workloads: Workloads::Run,
            controller: Some(template_controller::Options::default()),
        }
    }
}

/// Why the broker cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kinds are not served, and cannot be made known.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The API server refuses or does not answer.
    #[error("the API server does not give the templates: {0}")]
    Templates(#[from] kube::Error),
}

/// Tasks that end with the broker.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Makes the broker of the templates in a cluster. The kinds are made known to the cluster where it does not serve them. What
/// follows the templates ends with the broker's engine.
///
/// `home` leads to the API server with the broker's own objects, which may be the same: what the BrokerTemplateInstances in the
/// cluster show is read there.
///
/// # Errors
/// [`StartError`].
pub async fn broker(home: Client, client: Client, options: Options) -> Result<Broker, StartError> {
    let served = template_controller::install(&client).await?;
    let registry = Arc::new(Registry::default());
    let following = Following::new(client.clone(), options.ids, registry.clone());
    following.load(&options.namespaces).await?;
    tracing::info!(templates = registry.len(), "the templates are offered");
    let shared = Arc::new(Shared {
        cluster: Cluster::new(client.clone()),
        registry: registry.clone(),
        identities: options.identities,
        reader: Reader::default(),
        places: options.places,
        workloads: options.workloads,
        ids: options.ids,
    });
    let mut tasks = Tasks(vec![tokio::spawn(following.run(options.namespaces))]);
    let metrics = options.controller.as_ref().map(|controller| controller.metrics.clone());
    if let Some(controller) = options.controller {
        let controller = template_controller::Controller::new(client, controller);
        tasks.0.push(tokio::spawn(async move {
            if let Err(error) = controller.run(std::future::pending()).await {
                tracing::error!(%error, "nobody looks after the TemplateInstances");
            }
        }));
    }
    let broker = Broker::new(NAME);
    let projection = Projection::new(home, broker.group().to_owned(), shared.clone(), served);
    tasks.0.push(tokio::spawn(projection.run()));
    // The engine drops this stream when it stops.
    let until_the_end = stream::once(async move {
        let _tasks = tasks;
        std::future::pending::<Broker>().await
    });
    let broker = match metrics {
        Some(metrics) => broker.collector(metrics),
        None => broker,
    };
    Ok(broker
        .live(registry.offerings(), Templates(shared.clone()))
        .authorize(Gate(shared.clone()))
        .validate(Gate(shared))
        .changing(until_the_end))
}
