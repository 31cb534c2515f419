//! Offerings that come and go one at a time, while the broker runs.
//!
//! A broker with thousands of offerings cannot make its whole catalog anew for each change of one. Here each offering is
//! checked and written as JSON when it comes; the catalog is put together of these pieces when somebody asks for it and
//! something has changed since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use osb_api::catalog::{Catalog, CatalogProblem, Offering, Plan, Schemas, Severity};
use osb_api::id::{OfferingId, PlanId};
use osb_server::ServedCatalog;
use ring::digest::{Context, SHA256};

use crate::definition::{DefinitionError, Policy, Registration};
use crate::names;
use crate::services::{Found, PlanRuntime};

/// What a catalog begins with, also one without offerings.
const HEAD: &[u8] = b"{\"services\":[";

/// An offering of [`LiveOfferings`], and how its plans are run.
///
/// Its plans bring their schemas themselves: those of the service's types are not added, though requests are checked
/// against them. [`Operation::plan`](crate::Operation::plan) has the plan without its schemas.
///
/// ```
/// # mod osb_sdk { pub use osb_engine::*; pub use osb_api::catalog::{Offering, Plan}; }
/// use osb_sdk::{LiveOffering, Offering, Plan, Policy};
///
/// let offering = Offering::new("0f9d2f0c", "mailbox", "Mailboxes").plan(Plan::new("7a2f6f0e", "small", "One gigabyte"));
/// let live = LiveOffering::new(offering)
///     .policy(Policy { parallelism: 4, ..Policy::default() })
///     .also_known_as("the id that the broker before had for it", "and for its plan", 0);
/// # let _ = live;
/// ```
#[derive(Clone, Debug)]
pub struct LiveOffering {
    offering: Offering,
    policy: Policy,
    aliases: Vec<(String, String, usize)>,
}

impl LiveOffering {
    /// An offering whose plans are run with the default policy.
    pub fn new(offering: Offering) -> Self {
        Self {
            offering,
            policy: Policy::default(),
            aliases: Vec::new(),
        }
    }

    /// How its plans are run.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Further ids of the plan that stands at `position`: they are not in the catalog, but requests may name it by
    /// them. For platforms that knew it before it had its ids.
    #[must_use]
    pub fn also_known_as(
        mut self,
        offering_id: impl Into<String>,
        plan_id: impl Into<String>,
        position: usize,
    ) -> Self {
        self.aliases.push((offering_id.into(), plan_id.into(), position));
        self
    }
}

/// Offerings that come and go while a broker runs, all with one service behind them
/// ([`Broker::live`](crate::Broker::live)). Clones are the same offerings.
///
/// What there is of an offering that is withdrawn is served as before, also after a restart, when its plan is known by
/// its id only.
///
/// ```
/// # mod osb_sdk { pub use osb_engine::*; pub use osb_api::catalog::{Offering, Plan}; }
/// use osb_sdk::{LiveOffering, LiveOfferings, Offering, Plan};
///
/// let offerings = LiveOfferings::new();
/// let mailbox = Offering::new("0f9d2f0c", "mailbox", "Mailboxes").plan(Plan::new("7a2f6f0e", "small", "One gigabyte"));
/// offerings.offer(LiveOffering::new(mailbox))?;
/// assert_eq!(offerings.len(), 1);
/// offerings.withdraw("0f9d2f0c");
/// assert!(offerings.is_empty());
/// # Ok::<(), osb_sdk::DefinitionError>(())
/// ```
#[derive(Clone, Default)]
pub struct LiveOfferings {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    /// One at a time puts the catalog together.
    served: Mutex<Option<(u64, Arc<str>, ServedCatalog)>>,
}

#[derive(Default)]
struct State {
    /// In the order of the catalog: by name.
    pieces: BTreeMap<String, Arc<Piece>>,
    names: HashMap<OfferingId, String>,
    /// Whose a plan's id is.
    plans: HashMap<PlanId, OfferingId>,
    /// By the ids that requests name, aliases and withdrawn ones, too.
    known: HashMap<(OfferingId, PlanId), Known>,
    /// Names and ids of offerings and plans that the rest of the catalog has.
    reserved: HashSet<String>,
    changes: u64,
}

/// An offering as it stands in the catalog.
struct Piece {
    json: Bytes,
    digest: [u8; 32],
    /// The ids that requests name.
    keys: Vec<(OfferingId, PlanId)>,
}

#[derive(Clone)]
struct Known {
    plan: Arc<PlanRuntime>,
    flags: Flags,
    is_offered: bool,
}

/// What of an offering counts beside its plans.
#[derive(Clone, Copy)]
struct Flags {
    instances_retrievable: bool,
    bindings_retrievable: bool,
    allow_context_updates: bool,
}

impl std::fmt::Debug for LiveOfferings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveOfferings")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl LiveOfferings {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many are offered.
    pub fn len(&self) -> usize {
        self.read().pieces.len()
    }

    /// Whether none is offered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offers something, or something else under an id that is offered already.
    ///
    /// # Errors
    /// When it breaks rules of the specification, its name or an id is that of another one, or it binds
    /// asynchronously without retrievable bindings. What was offered under its id stays.
    pub fn offer(&self, live: LiveOffering) -> Result<(), DefinitionError> {
        let LiveOffering {
            offering,
            policy,
            aliases,
        } = live;
        let checked = Catalog::new()
            .offering(offering)
            .check()
            .map_err(DefinitionError::Catalog)?;
        let body = checked.body();
        // The catalog has one offering and nothing else.
        let json = Bytes::copy_from_slice(&body[HEAD.len()..body.len() - 2]);
        let offering = &checked.catalog().services[0];
        let id = OfferingId::new(&*offering.id).expect("a checked catalog has valid ids");
        if let Some(plan) = offering.plans.iter().find(|plan| {
            policy.bind == crate::Execution::Async
                && plan.bindable.unwrap_or(offering.bindable)
                && !offering.bindings_retrievable
        }) {
            return Err(DefinitionError::AsyncBindNotRetrievable(plan.name.clone()));
        }
        let mut known = known(&id, offering, &policy);
        for (offering_id, plan_id, position) in aliases {
            let ids = (OfferingId::new(offering_id), PlanId::new(plan_id));
            if let ((Ok(service), Ok(plan)), Some((_, entry))) = (ids, known.get(position)) {
                let entry = entry.clone();
                known.push(((service, plan), entry));
            }
        }
        let piece = Piece {
            digest: sha256(&json),
            json,
            keys: known.iter().map(|(key, _)| key.clone()).collect(),
        };
        self.write().put(id, offering, piece, known)
    }

    /// Offers it no more; `false` when it was not offered.
    pub fn withdraw(&self, id: &str) -> bool {
        OfferingId::new(id).is_ok_and(|id| self.write().take(&id))
    }

    /// Names and ids that the rest of the catalog has.
    pub(crate) fn reserve(&self, catalog: &Catalog) {
        let names = catalog.services.iter().flat_map(|offering| {
            let own = [named(&offering.name), offering.id.clone()];
            own.into_iter().chain(offering.plans.iter().map(|plan| plan.id.clone()))
        });
        self.write().reserved = names.collect();
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.shared.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The catalog with these behind those that stay.
    pub(crate) fn served(&self, fixed: &ServedCatalog) -> ServedCatalog {
        let mut cached = self.shared.served.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.read().changes;
        if let Some((of, behind, served)) = &*cached
            && *of == changes
            && *behind == fixed.etag
        {
            return served.clone();
        }
        let (changes, pieces) = {
            let state = self.read();
            (state.changes, state.pieces.values().cloned().collect::<Vec<_>>())
        };
        let served = together(fixed, &pieces);
        *cached = Some((changes, fixed.etag.clone(), served.clone()));
        served
    }
}

/// What stands behind a broker's live offerings.
pub(crate) struct Live {
    pub(crate) offerings: LiveOfferings,
    pub(crate) registration: Arc<Registration>,
}

impl Live {
    /// The plan, if it is offered.
    pub(crate) fn offered(&self, offering: &OfferingId, plan: &PlanId) -> Option<Found> {
        let known = self.known(offering, plan)?;
        known.is_offered.then(|| self.found(known))
    }

    /// The plan, whether it is offered, was once, or is not known any more.
    pub(crate) fn find(&self, offering: &OfferingId, plan: &PlanId) -> Found {
        let known = self.known(offering, plan).unwrap_or_else(|| forgotten(offering, plan));
        self.found(known)
    }

    fn known(&self, offering: &OfferingId, plan: &PlanId) -> Option<Known> {
        self.offerings
            .read()
            .known
            .get(&(offering.clone(), plan.clone()))
            .cloned()
    }

    fn found(&self, known: Known) -> Found {
        Found {
            registration: self.registration.clone(),
            plan: known.plan,
            instances_retrievable: known.flags.instances_retrievable,
            bindings_retrievable: known.flags.bindings_retrievable,
            allow_context_updates: known.flags.allow_context_updates,
        }
    }
}

impl State {
    fn put(
        &mut self,
        id: OfferingId,
        offering: &Offering,
        piece: Piece,
        known: Vec<((OfferingId, PlanId), Known)>,
    ) -> Result<(), DefinitionError> {
        self.free(&id, offering)?;
        self.take(&id);
        for ((service, plan), entry) in known {
            self.plans.entry(plan.clone()).or_insert_with(|| id.clone());
            self.known.insert((service, plan), entry);
        }
        self.pieces.insert(offering.name.clone(), Arc::new(piece));
        self.names.insert(id, offering.name.clone());
        self.changes += 1;
        Ok(())
    }

    /// Whether nobody else has its name and ids.
    fn free(&self, id: &OfferingId, offering: &Offering) -> Result<(), DefinitionError> {
        let taken = |requirement, path: String| {
            let problem = CatalogProblem {
                requirement,
                path,
                what: "is that of another offering or plan".to_owned(),
                mend: "give each offering and plan a name and an id of its own".to_owned(),
                severity: Severity::Error,
            };
            Err(DefinitionError::Catalog(vec![problem]))
        };
        let name = self.names.get(id);
        if self.reserved.contains(&offering.id) {
            return taken("OSB-SVC-02", format!("services[{}].id", offering.name));
        }
        let is_theirs = self.pieces.contains_key(&offering.name) && name != Some(&offering.name);
        if is_theirs || self.reserved.contains(&named(&offering.name)) {
            return taken("OSB-SVC-01", format!("services[{}].name", offering.name));
        }
        for plan in &offering.plans {
            let is_theirs = |plan: &PlanId| self.plans.get(plan).is_some_and(|owner| owner != id);
            if self.reserved.contains(&plan.id) || PlanId::new(&*plan.id).is_ok_and(|plan| is_theirs(&plan)) {
                return taken(
                    "OSB-PLAN-01",
                    format!("services[{}].plans[{}].id", offering.name, plan.name),
                );
            }
        }
        Ok(())
    }

    fn take(&mut self, id: &OfferingId) -> bool {
        let Some(piece) = self.names.remove(id).and_then(|name| self.pieces.remove(&name)) else {
            return false;
        };
        for key in &piece.keys {
            if self.plans.get(&key.1) == Some(id) {
                self.plans.remove(&key.1);
            }
            if let Some(known) = self.known.get_mut(key) {
                known.is_offered = false;
            }
        }
        self.changes += 1;
        true
    }
}

/// Names and ids stand in one set.
fn named(name: &str) -> String {
    format!("name {name}")
}

/// The plans of an offering by the ids that requests name, in their order.
fn known(id: &OfferingId, offering: &Offering, policy: &Policy) -> Vec<((OfferingId, PlanId), Known)> {
    let flags = Flags {
        instances_retrievable: offering.instances_retrievable,
        bindings_retrievable: offering.bindings_retrievable,
        allow_context_updates: offering.allow_context_updates,
    };
    let plans = offering.plans.iter().map(|plan| {
        let key = PlanId::new(&*plan.id).expect("a checked catalog has valid ids");
        let plan = Plan {
            schemas: Schemas::default(),
            ..plan.clone()
        };
        let known = Known {
            plan: Arc::new(PlanRuntime::new(offering, &plan, policy.clone())),
            flags,
            is_offered: true,
        };
        ((id.clone(), key), known)
    });
    plans.collect()
}

/// A plan that only stored instances name.
fn forgotten(offering: &OfferingId, plan: &PlanId) -> Known {
    let plan = Plan::new(plan.as_str(), "withdrawn", "A plan that is not offered any more");
    let offering = Offering::new(
        offering.as_str(),
        "withdrawn",
        "An offering that is not offered any more",
    )
    .bindable(true)
    .instances_retrievable(true)
    .bindings_retrievable(true);
    Known {
        plan: Arc::new(PlanRuntime::new(&offering, &plan, Policy::default())),
        flags: Flags {
            instances_retrievable: true,
            bindings_retrievable: true,
            allow_context_updates: false,
        },
        is_offered: false,
    }
}

/// The body of the catalog: the pieces stand in front of what the rest has.
fn together(fixed: &ServedCatalog, pieces: &[Arc<Piece>]) -> ServedCatalog {
    if pieces.is_empty() {
        return fixed.clone();
    }
    let rest = fixed
        .body
        .strip_prefix(HEAD)
        .expect("a catalog begins with its services");
    let size: usize = pieces.iter().map(|piece| piece.json.len() + 1).sum();
    let mut body = Vec::with_capacity(HEAD.len() + size + rest.len());
    let mut context = Context::new(&SHA256);
    context.update(fixed.etag.as_bytes());
    body.extend_from_slice(HEAD);
    for piece in pieces {
        if body.len() > HEAD.len() {
            body.push(b',');
        }
        body.extend_from_slice(&piece.json);
        context.update(&piece.digest);
    }
    if !rest.starts_with(b"]") {
        body.push(b',');
    }
    body.extend_from_slice(rest);
    ServedCatalog {
        body: body.into(),
        etag: format!("\"{}\"", names::base32(&context.finish().as_ref()[..20])).into(),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&SHA256, bytes).as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn offering(id: &str, name: &str) -> LiveOffering {
        let plan = Plan::new(format!("plan-{id}"), "default", "A plan");
        LiveOffering::new(Offering::new(id, name, "An offering").plan(plan))
    }

    fn fixed(names: &[&str]) -> ServedCatalog {
        let offerings = names.iter().map(|name| {
            let plan = Plan::new(format!("plan-{name}"), "default", "A plan");
            Offering::new(*name, *name, "An offering").plan(plan)
        });
        let checked = offerings
            .fold(Catalog::new(), Catalog::offering)
            .check()
            .expect("a right catalog");
        ServedCatalog::from(&checked)
    }

    fn names(served: &ServedCatalog) -> Vec<String> {
        let body: Value = serde_json::from_slice(&served.body).expect("JSON");
        let services = body["services"].as_array().expect("a list").iter();
        services
            .map(|service| service["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn the_catalog_is_put_together_of_pieces_in_the_order_of_names() {
        let live = LiveOfferings::new();
        assert_eq!(names(&live.served(&fixed(&[]))), [""; 0]);
        live.offer(offering("1", "b")).expect("offered");
        live.offer(offering("2", "a")).expect("offered");
        assert_eq!(names(&live.served(&fixed(&[]))), ["a", "b"]);
        assert_eq!(names(&live.served(&fixed(&["z", "c"]))), ["a", "b", "z", "c"]);
        assert!(live.withdraw("1") && !live.withdraw("1"));
        assert_eq!(names(&live.served(&fixed(&["z"]))), ["a", "z"]);
    }

    /// OSB-CAT-09
    #[test]
    fn the_tag_changes_exactly_when_the_body_does() {
        let live = LiveOfferings::new();
        let none = fixed(&[]);
        live.offer(offering("1", "a")).expect("offered");
        let first = live.served(&none);
        assert_eq!(live.served(&none).etag, first.etag);
        live.offer(offering("1", "a")).expect("offered again");
        assert_eq!(live.served(&none).etag, first.etag, "the same again");
        live.offer(offering("1", "renamed")).expect("offered anew");
        let second = live.served(&none);
        assert_ne!(second.etag, first.etag);
        assert_eq!(names(&second), ["renamed"]);
    }

    #[test]
    fn names_and_ids_are_taken_once() {
        let live = LiveOfferings::new();
        live.reserve(&Catalog::new().offering(Offering::new("fixed", "f", "F").plan(Plan::new("plan-9", "p", "P"))));
        live.offer(offering("1", "a")).expect("offered");
        for (id, name) in [("2", "a"), ("fixed", "b"), ("3", "f"), ("9", "c")] {
            assert!(
                matches!(live.offer(offering(id, name)), Err(DefinitionError::Catalog(_))),
                "{id} {name}"
            );
        }
        let mut theirs = offering("4", "d");
        theirs.offering.plans[0].id = "plan-1".to_owned();
        assert!(live.offer(theirs).is_err());
        assert!(
            live.offer(LiveOffering::new(Offering::new("5", "e", "no plans")))
                .is_err()
        );
        assert_eq!(live.len(), 1);
        live.withdraw("1");
        live.offer(offering("2", "a")).expect("the name is free again");
    }
}
