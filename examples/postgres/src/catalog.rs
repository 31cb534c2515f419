//! What is for sale.

use osb_sdk::{MaintenanceInfo, Offering, Plan};

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

const PLANS: [PlanSize; 3] = [
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
    PlanSize {
        id: "5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a03",
        name: "large",
        description: "A database with at most 200 connections",
        connections: 200,
    },
];

impl PlanSize {
    /// The size of the plan with an id.
    pub(crate) fn with_id(id: &str) -> Option<Self> {
        PLANS.into_iter().find(|size| size.id == id)
    }

    fn plan(self, maintenance_version: &str) -> Plan {
        let plan = Plan::new(self.id, self.name, self.description).binding_rotatable(true);
        Plan {
            maintenance_info: Some(MaintenanceInfo {
                version: maintenance_version.to_owned(),
                description: Some("Brings the extensions to the newest versions that the server has".to_owned()),
            }),
            ..plan
        }
    }
}

/// The ids of the plans.
pub(crate) fn plan_ids() -> impl Iterator<Item = &'static str> {
    PLANS.into_iter().map(|size| size.id)
}

/// The offering with its plans.
pub(crate) fn offering(maintenance_version: &str) -> Offering {
    let offering = Offering::new(OFFERING, "postgres", "A PostgreSQL database of your own")
        .bindable(true)
        .plan_updateable(true)
        .instances_retrievable(true)
        .bindings_retrievable(true)
        .tags(["postgres", "postgresql", "relational"])
        .metadata("displayName", "PostgreSQL");
    let plans = PLANS.into_iter().map(|size| size.plan(maintenance_version));
    plans.fold(offering, Offering::plan)
}

#[cfg(test)]
mod tests {
    use osb_api::catalog::Catalog;

    use super::*;

    #[test]
    fn every_platform_takes_the_catalog() {
        let checked = Catalog::new()
            .offering(offering("1.0.0"))
            .check()
            .expect("a catalog without errors");
        let served = serde_json::from_slice(checked.body()).expect("JSON");
        assert_eq!(osb_lint::lint(&served), []);
    }
}
