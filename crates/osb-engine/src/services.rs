//! What a broker offers now, and what it offered before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use osb_api::catalog::{CheckedCatalog, Plan};
use osb_api::id::{OfferingId, PlanId};
use osb_server::ServedCatalog;
use tokio::sync::Semaphore;

use crate::definition::{Policy, Registration};
use crate::hooks::Hooks;
use crate::names;

/// The checked catalog and what stands behind it.
pub(crate) struct Services {
    pub(crate) catalog: CheckedCatalog,
    pub(crate) served: ServedCatalog,
    pub(crate) hooks: Hooks,
    registered: HashMap<String, Arc<Registration>>,
    plans: HashMap<String, Arc<PlanRuntime>>,
    /// Plans of earlier catalogs: nothing new is made of them, what there is of them is served.
    retired: HashMap<(OfferingId, PlanId), Found>,
}

/// A plan with how it is run.
pub(crate) struct PlanRuntime {
    pub(crate) plan: Arc<Plan>,
    pub(crate) bindable: bool,
    pub(crate) policy: Policy,
    pub(crate) slots: Semaphore,
    pub(crate) deadline: Duration,
    pub(crate) removal_deadline: Duration,
}

/// A plan of an offering, and the service behind it.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) registration: Arc<Registration>,
    pub(crate) plan: Arc<PlanRuntime>,
    pub(crate) instances_retrievable: bool,
    pub(crate) bindings_retrievable: bool,
    pub(crate) allow_context_updates: bool,
}

impl Services {
    /// The offerings' ids with what stands behind them.
    pub(crate) fn registered(&self) -> impl Iterator<Item = (&str, &Registration)> {
        self.registered
            .iter()
            .map(|(id, registration)| (id.as_str(), &**registration))
    }

    pub(crate) fn new(
        catalog: CheckedCatalog,
        registered: HashMap<String, Arc<Registration>>,
        plans: HashMap<String, Arc<PlanRuntime>>,
        hooks: Hooks,
    ) -> Self {
        let body = Bytes::copy_from_slice(catalog.body());
        let digest = ring::digest::digest(&ring::digest::SHA256, &body);
        let etag = format!("\"{}\"", names::base32(&digest.as_ref()[..20]));
        Self {
            catalog,
            served: ServedCatalog {
                body,
                etag: etag.into(),
            },
            hooks,
            registered,
            plans,
            retired: HashMap::new(),
        }
    }

    /// These, after others: plans that are not offered any more are retired.
    pub(crate) fn after(mut self, before: &Services) -> Self {
        let id = |text: &str| (OfferingId::new(text).ok(), PlanId::new(text).ok());
        let listed = before.catalog.plans().filter_map(|listed| {
            let key = (id(&listed.offering.id).0?, id(&listed.plan.id).1?);
            let found = before.offered(&key.0, &key.1)?;
            Some((key, found))
        });
        let earlier = before.retired.iter().map(|(key, found)| (key.clone(), found.clone()));
        self.retired = earlier
            .chain(listed)
            .filter(|((offering, plan), _)| self.offered(offering, plan).is_none())
            .collect();
        self
    }

    /// The plan, if the offering has it or once had it: for what there is of it.
    pub(crate) fn find(&self, offering: &OfferingId, plan: &PlanId) -> Option<Found> {
        self.offered(offering, plan)
            .or_else(|| self.retired.get(&(offering.clone(), plan.clone())).cloned())
    }

    /// The plan, if the offering has it: for what is new.
    pub(crate) fn offered(&self, offering: &OfferingId, plan: &PlanId) -> Option<Found> {
        let listed = self.catalog.plan(offering, plan)?;
        Some(Found {
            registration: self.registered.get(offering.as_str())?.clone(),
            plan: self.plans.get(plan.as_str())?.clone(),
            instances_retrievable: listed.offering.instances_retrievable,
            bindings_retrievable: listed.offering.bindings_retrievable,
            allow_context_updates: listed.offering.allow_context_updates,
        })
    }
}
