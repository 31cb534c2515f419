//! A catalog as it came: its offerings and plans with their places, whatever else is wrong with it.

use serde_json::Value;

use osb_api::Object;

use crate::place::Place;

/// A catalog as JSON.
pub(crate) struct Document<'a> {
    pub(crate) value: &'a Value,
    /// The offerings that are objects.
    pub(crate) offerings: Vec<Entry<'a>>,
    /// The plans that are objects, of these offerings.
    pub(crate) plans: Vec<PlanEntry<'a>>,
}

/// An offering or plan.
#[derive(Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) place: Place,
    pub(crate) members: &'a Object,
}

/// A plan, with its offering.
pub(crate) struct PlanEntry<'a> {
    /// Which of [`Document::offerings`].
    pub(crate) offering: Entry<'a>,
    pub(crate) plan: Entry<'a>,
}

impl<'a> Document<'a> {
    pub(crate) fn of(value: &'a Value) -> Self {
        let offerings = entries(value.get("services"), &Place::root().member("services"));
        let plans = offerings
            .iter()
            .flat_map(|offering| {
                entries(offering.get("plans"), &offering.place.member("plans"))
                    .into_iter()
                    .map(|plan| PlanEntry {
                        offering: offering.clone(),
                        plan,
                    })
            })
            .collect();
        Self {
            value,
            offerings,
            plans,
        }
    }
}

fn entries<'a>(list: Option<&'a Value>, place: &Place) -> Vec<Entry<'a>> {
    let elements = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let objects = elements.iter().enumerate();
    objects
        .filter_map(|(index, element)| {
            Some(Entry {
                place: place.element(index),
                members: element.as_object()?,
            })
        })
        .collect()
}

impl<'a> Entry<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    pub(crate) fn object(&self, name: &str) -> Option<Entry<'a>> {
        Some(Entry {
            place: self.place.member(name),
            members: self.get(name)?.as_object()?,
        })
    }

    /// The name for messages, empty when there is none.
    pub(crate) fn name(&self) -> &'a str {
        self.text("name").unwrap_or_default()
    }
}

impl PlanEntry<'_> {
    /// Whether the plan can be bound, as the specification reads it (OSB-PLAN-06).
    pub(crate) fn bindable(&self) -> bool {
        let inherited = || self.offering.flag("bindable");
        self.plan.flag("bindable").or_else(inherited).unwrap_or(false)
    }
}

/// The three places of a plan's schemas (OSB-SCH-01), with the words for them that Cloud Foundry uses.
pub(crate) const SCHEMAS: [[&str; 2]; 3] = [
    ["service_instance", "create"],
    ["service_instance", "update"],
    ["service_binding", "create"],
];
