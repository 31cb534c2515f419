//! A catalog of any size: one offering with so many plans, all alike.

use osb_sdk::{Broker, Offering, Plan};

use crate::service::{Gives, Reference};

/// The offering `sized`.
pub const SIZED: &str = "1a2c9b0e-35d8-4e6c-8f5e-6f0a5d1c9e21";

/// Adds the offering.
pub(crate) fn add_to(broker: Broker, plans: u16) -> Broker {
    let offering = Offering::new(SIZED, "sized", "As many plans as were ordered")
        .bindable(true)
        .plan_updateable(true)
        .instances_retrievable(true)
        .bindings_retrievable(true);
    let offering = (1..=plans).map(plan).fold(offering, Offering::plan);
    broker.updatable(offering, Reference(Gives::Credentials))
}

/// The id stays when there are more plans: instances that were made on it are found again.
fn plan(number: u16) -> Plan {
    let id = format!("1a2c9b0e-35d8-4e6c-8f5e-{number:012x}");
    Plan::new(
        id,
        format!("plan-{number}"),
        format!("Number {number} of plans that are all alike"),
    )
}
