//! What a broker offers now, and what it offered before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use osb_api::answer::BindingBody;
use osb_api::catalog::{Catalog, CheckedCatalog, Offering, Plan, Requires};
use osb_api::id::{OfferingId, PlanId};
use osb_server::ServedCatalog;
use tokio::sync::Semaphore;

use crate::definition::{Policy, Registration};
use crate::hooks::Hooks;
use crate::live::Live;
use crate::{names, served};

/// The checked catalog and what stands behind it.
pub(crate) struct Services {
    pub(crate) catalog: CheckedCatalog,
    served: ServedCatalog,
    pub(crate) hooks: Hooks,
    /// Offerings that come and go one at a time.
    live: Option<Live>,
    registered: HashMap<String, Arc<Registration>>,
    plans: HashMap<String, Arc<PlanRuntime>>,
    /// Plans of earlier catalogs: nothing new is made of them, what there is of them is served.
    retired: HashMap<(OfferingId, PlanId), Found>,
    /// As they were offered.
    pub(crate) withdrawn: Catalog,
}

/// A plan with how it is run.
pub(crate) struct PlanRuntime {
    pub(crate) plan: Arc<Plan>,
    pub(crate) bindable: bool,
    /// What the offering requires of the platform.
    pub(crate) requires: Vec<Requires>,
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

impl PlanRuntime {
    /// A plan of an offering, run as the policy says.
    pub(crate) fn new(offering: &Offering, plan: &Plan, policy: Policy) -> Self {
        Self {
            plan: Arc::new(plan.clone()),
            bindable: plan.bindable.unwrap_or(offering.bindable),
            requires: offering.requires.clone(),
            slots: Semaphore::new(policy.parallelism.clamp(1, Semaphore::MAX_PERMITS)),
            deadline: shorter(policy.deadline, plan.maximum_polling_duration),
            removal_deadline: shorter(policy.removal_deadline, plan.maximum_polling_duration),
            policy,
        }
    }

    /// A member of a binding that needs a permission of the platform which the offering does not require, and that
    /// permission (OSB-BIND-22 to OSB-BIND-24).
    pub(crate) fn forbidden(&self, body: &BindingBody) -> Option<(&'static str, &'static str)> {
        let given = [
            (
                body.syslog_drain_url.is_some(),
                Requires::SyslogDrain,
                ("syslog_drain_url", "syslog_drain"),
            ),
            (
                body.route_service_url.is_some(),
                Requires::RouteForwarding,
                ("route_service_url", "route_forwarding"),
            ),
            (
                body.volume_mounts.as_ref().is_some_and(|mounts| !mounts.is_empty()),
                Requires::VolumeMount,
                ("volume_mounts", "volume_mount"),
            ),
        ];
        let wrong = given
            .into_iter()
            .find(|(given, needs, _)| *given && !self.requires.contains(needs));
        wrong.map(|(_, _, names)| names)
    }
}

/// Operations end a little before the platform stops polling (OSB-POLL-02).
fn shorter(deadline: Duration, maximum_polling_secs: Option<u64>) -> Duration {
    match maximum_polling_secs {
        Some(secs) => deadline.min(Duration::from_secs(secs) * 9 / 10),
        None => deadline,
    }
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
        live: Option<Live>,
    ) -> Self {
        if let Some(live) = &live {
            live.offerings.reserve(catalog.catalog());
        }
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
            live,
            registered,
            plans,
            retired: HashMap::new(),
            withdrawn: Catalog::new(),
        }
    }

    /// The catalog as it is served now.
    pub(crate) fn served(&self) -> ServedCatalog {
        match &self.live {
            Some(live) => live.offerings.served(&self.served),
            None => self.served.clone(),
        }
    }

    /// These, after others: plans that are not offered any more are retired.
    pub(crate) fn after(mut self, before: &Services) -> Self {
        let listed = before.catalog.plans().filter_map(|listed| {
            let key = served::ids(listed.offering, listed.plan)?;
            let found = before.offered(&key.0, &key.1)?;
            Some((key, found))
        });
        let earlier = before.retired.iter().map(|(key, found)| (key.clone(), found.clone()));
        self.retired = earlier
            .chain(listed)
            .filter(|((offering, plan), _)| self.offered(offering, plan).is_none())
            .collect();
        self.withdrawn = served::withdrawn([&before.withdrawn, before.catalog.catalog()], &self.catalog);
        self
    }

    /// These, after a restart: plans that were offered once are retired. The service behind them is that of their
    /// offering, or else that of the offering which has its name now, or the one that the author names
    /// ([`Broker::withdrawn`](crate::Broker::withdrawn)).
    pub(crate) fn retiring(mut self, withdrawn: Catalog) -> Self {
        for offering in &withdrawn.services {
            let Some(registration) = self.behind(offering).cloned() else {
                tracing::error!(offering = %offering.name, id = %offering.id,
                    "this offering is not in the catalog any more: instances of it that are left cannot be removed; \
                     keep its service with Broker::withdrawn");
                continue;
            };
            for plan in &offering.plans {
                let Some(key) = served::ids(offering, plan) else {
                    continue;
                };
                let runtime = Arc::new(PlanRuntime::new(offering, plan, Policy::default()));
                let found = Found::of(&registration, runtime, offering);
                self.retired.insert(key, found);
            }
        }
        self.withdrawn = withdrawn;
        self
    }

    fn behind(&self, offering: &Offering) -> Option<&Arc<Registration>> {
        let renamed = || {
            let mut offered = self.catalog.catalog().services.iter();
            let same = offered.find(|other| other.name == offering.name)?;
            self.registered.get(&same.id)
        };
        self.registered.get(&offering.id).or_else(renamed)
    }

    /// The plan, if the offering has it or once had it: for what there is of it.
    pub(crate) fn find(&self, offering: &OfferingId, plan: &PlanId) -> Option<Found> {
        self.offered(offering, plan)
            .or_else(|| self.retired.get(&(offering.clone(), plan.clone())).cloned())
            .or_else(|| self.live.as_ref().map(|live| live.find(offering, plan)))
    }

    /// Whether instances can leave that plan; `None` when it is not offered any more.
    pub(crate) fn can_leave(&self, offering: &OfferingId, plan: &PlanId) -> Option<bool> {
        if let Some(listed) = self.catalog.plan(offering, plan) {
            return Some(listed.plan_updateable());
        }
        let live = self.live.as_ref()?.offered(offering, plan)?;
        live.plan.plan.plan_updateable
    }

    /// The plan, if the offering has it: for what is new.
    pub(crate) fn offered(&self, offering: &OfferingId, plan: &PlanId) -> Option<Found> {
        let Some(listed) = self.catalog.plan(offering, plan) else {
            return self.live.as_ref()?.offered(offering, plan);
        };
        let registration = self.registered.get(offering.as_str())?;
        let plan = self.plans.get(plan.as_str())?.clone();
        Some(Found::of(registration, plan, listed.offering))
    }
}

impl Found {
    fn of(registration: &Arc<Registration>, plan: Arc<PlanRuntime>, offering: &Offering) -> Self {
        Self {
            registration: registration.clone(),
            plan,
            instances_retrievable: offering.instances_retrievable,
            bindings_retrievable: offering.bindings_retrievable,
            allow_context_updates: offering.allow_context_updates,
        }
    }
}
