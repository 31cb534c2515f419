//! What is played.

mod failures;
mod lifecycle;
mod losses;
mod repeats;

use futures::future::BoxFuture;

use crate::play::{Play, Played};

/// A scenario: it passes, finds something wrong, or makes no sense here.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What has to hold.
    pub(crate) claim: &'static str,
    pub(crate) play: for<'p> fn(&'p Play<'p>) -> BoxFuture<'p, Played>,
}

/// A scenario by the name of its function.
macro_rules! scenario {
    ($module:ident::$function:ident, $claim:literal) => {
        Scenario {
            name: stringify!($function),
            claim: $claim,
            play: |play| Box::pin($module::$function(play)),
        }
    };
}

/// All scenarios, in the order in which they are played.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(lifecycle::life, "an instance is made, bound, unbound and removed"),
    scenario!(
        lifecycle::many_at_once,
        "several instances are made, bound, unbound and removed at the same time"
    ),
    scenario!(
        lifecycle::two_bindings,
        "one application has two bindings to an instance at the same time"
    ),
    scenario!(
        lifecycle::service_key,
        "credentials are made for no application, as Cloud Foundry's service keys"
    ),
    scenario!(lifecycle::update, "an instance is updated"),
    scenario!(
        lifecycle::enablement,
        "an instance can be disabled and enabled, as IBM Cloud does it"
    ),
    scenario!(
        repeats::repeated_provision,
        "a repeated provision is the same provision"
    ),
    scenario!(repeats::repeated_bind, "a repeated bind gives the same credentials"),
    scenario!(repeats::repeated_removal, "repeated removals do no harm"),
    scenario!(
        repeats::same_millisecond,
        "polls of several workers in one millisecond agree"
    ),
    scenario!(
        repeats::removal_while_creating,
        "an instance can be removed while it is made"
    ),
    scenario!(
        losses::provision_answer_lost,
        "a provision whose answer is lost leaves no orphan"
    ),
    scenario!(
        losses::provision_connection_broken,
        "a provision whose connection breaks leaves no orphan"
    ),
    scenario!(
        losses::provision_bad_gateway,
        "a provision that a proxy answers with 502 leaves no orphan"
    ),
    scenario!(
        losses::provision_swallowed,
        "a mitigation for an instance that never was is answered"
    ),
    scenario!(
        losses::provision_refused,
        "a provision that finds no connection at first"
    ),
    scenario!(losses::bind_answer_lost, "a bind whose answer is lost leaves no orphan"),
    scenario!(
        losses::bind_bad_gateway,
        "a bind that a proxy answers with 502 leaves no orphan"
    ),
    scenario!(
        losses::update_answer_lost,
        "an update whose answer is lost can be sent again"
    ),
    scenario!(
        losses::unbind_answer_lost,
        "an unbind whose answer is lost can be sent again"
    ),
    scenario!(
        losses::deprovision_answer_lost,
        "a deprovision whose answer is lost can be sent again"
    ),
    scenario!(losses::polls_lost, "lost polls change nothing"),
    scenario!(
        failures::refused_provision,
        "a provision that is refused leaves nothing"
    ),
    scenario!(
        failures::failing_provision,
        "a provision that fails leaves nothing after its removal"
    ),
    scenario!(failures::outage, "a broker that was away for hours still cleans up"),
    scenario!(
        failures::polling_limit,
        "an operation that outlasts the platform's polling leaves no orphan"
    ),
];
