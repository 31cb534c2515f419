//! What the broker sells, and how its plans behave.

use serde_json::Value;

/// How a plan answers a request that may be answered with 202.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Sync,
    Async,
}

/// A plan of the catalog, with what of its offering applies to it.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) service_id: String,
    pub(crate) plan_id: String,
    /// `offering/plan`, by name.
    pub(crate) label: String,
    names: [String; 2],
    pub(crate) bindable: bool,
    pub(crate) rotatable: bool,
    pub(crate) updatable: bool,
    pub(crate) context_updates: bool,
    pub(crate) instances_retrievable: bool,
    pub(crate) bindings_retrievable: bool,
    pub(crate) maintenance: Option<String>,
    /// Seconds.
    pub(crate) maximum_polling: Option<u64>,
    schemas: Value,
}

impl Offer {
    /// Every plan that can be named in a request.
    pub(crate) fn all(catalog: &Value) -> Vec<Self> {
        let items = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut offers = Vec::new();
        for service in items(catalog, "services") {
            offers.extend(
                items(&service, "plans")
                    .iter()
                    .filter_map(|plan| Self::of(&service, plan)),
            );
        }
        offers
    }

    fn of(service: &Value, plan: &Value) -> Option<Self> {
        let text = |object: &Value, name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let flag = |object: &Value, name: &str| object.get(name).and_then(Value::as_bool);
        let either = |name: &str| flag(plan, name).or_else(|| flag(service, name)).unwrap_or(false);
        let names = [
            text(service, "name").unwrap_or_default(),
            text(plan, "name").unwrap_or_default(),
        ];
        Some(Self {
            service_id: text(service, "id")?,
            plan_id: text(plan, "id")?,
            label: names.join("/"),
            names,
            bindable: either("bindable"),
            rotatable: flag(plan, "binding_rotatable").unwrap_or(false),
            updatable: either("plan_updateable"),
            context_updates: flag(service, "allow_context_updates").unwrap_or(false),
            instances_retrievable: flag(service, "instances_retrievable").unwrap_or(false),
            bindings_retrievable: flag(service, "bindings_retrievable").unwrap_or(false),
            maintenance: plan.get("maintenance_info").and_then(|info| text(info, "version")),
            maximum_polling: plan.get("maximum_polling_duration").and_then(Value::as_u64),
            schemas: plan.get("schemas").cloned().unwrap_or_default(),
        })
    }

    /// Whether it is of this offering and this plan, each by name or id.
    pub(crate) fn is(&self, service: Option<&str>, plan: Option<&str>) -> bool {
        service.is_none_or(|text| text == self.service_id || text == self.names[0])
            && plan.is_none_or(|text| text == self.plan_id || text == self.names[1])
    }

    /// A schema of parameters: `service_instance`, `create`.
    pub(crate) fn schema(&self, of: &str, verb: &str) -> Option<&Value> {
        self.schemas.get(of)?.get(verb)?.get("parameters")
    }
}

/// A plan that was tried.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) offer: Offer,
    pub(crate) provision: Mode,
    pub(crate) deprovision: Option<Mode>,
    /// `None`: it cannot be bound, or was not.
    pub(crate) bind: Option<Mode>,
    pub(crate) unbind: Option<Mode>,
}

/// What there is to work on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    /// Every plan of the catalog, also those that are not to be used.
    pub(crate) offers: Vec<Offer>,
    /// The plans that were tried and work.
    pub(crate) subjects: Vec<Subject>,
}

impl Ground {
    /// The quickest plan.
    pub(crate) fn any(&self) -> Option<&Subject> {
        self.pick(|_| true)
    }

    /// The quickest plan that fits: one that is made at once before one that is not.
    pub(crate) fn pick(&self, fits: impl Fn(&Subject) -> bool) -> Option<&Subject> {
        let quick = |subject: &&Subject| subject.provision == Mode::Sync && subject.bind != Some(Mode::Async);
        let sync = |subject: &&Subject| subject.provision == Mode::Sync;
        let fitting = || self.subjects.iter().filter(|subject| fits(subject));
        fitting()
            .find(quick)
            .or_else(|| fitting().find(sync))
            .or_else(|| fitting().next())
    }

    /// The quickest plan that can be bound.
    pub(crate) fn bound(&self) -> Option<&Subject> {
        self.pick(|subject| subject.bind.is_some())
    }

    /// Another plan of the same offering.
    pub(crate) fn sibling(&self, offer: &Offer) -> Option<&Offer> {
        let other = |other: &&Offer| other.service_id == offer.service_id && other.plan_id != offer.plan_id;
        let tried = self.subjects.iter().map(|subject| &subject.offer).find(other);
        tried.or_else(|| self.offers.iter().find(other))
    }
}
