//! What is for sale.

use osb_sdk::{Offering, Plan};

const OFFERING: &str = "1f7ddf0e-6d7c-4b3c-9c0e-2f0b1a5d3b11";

/// What a plan gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanSize {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    /// The most connections to the database at one time.
    pub(crate) connections: u32,
}

const PLANS: [PlanSize; 2] = [
    PlanSize {
        id: "5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a01",
        name: "small",
        description: "A database with at most 10 connections",
        connections: 10,
    },
    PlanSize {
        id: "5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a02",
        name: "medium",
        description: "A database with at most 50 connections",
        connections: 50,
    },
];

impl PlanSize {
    /// The size of a plan of the catalog.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        PLANS.into_iter().find(|size| size.id == plan.id)
    }
}

/// The ids of the plans.
pub(crate) fn plan_ids() -> impl Iterator<Item = &'static str> {
    PLANS.into_iter().map(|size| size.id)
}

/// The offering with its plans.
pub(crate) fn offering() -> Offering {
    let offering = Offering::new(OFFERING, "postgres", "A PostgreSQL database of your own").bindable(true);
    PLANS.into_iter().fold(offering, |offering, size| {
        offering.plan(Plan::new(size.id, size.name, size.description))
    })
}
