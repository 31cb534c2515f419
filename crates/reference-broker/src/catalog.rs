//! What is for sale: each optional member of a catalog occurs at least once.

use std::time::Duration;

use osb_sdk::{Broker, DashboardClient, Execution, MaintenanceInfo, Offering, Plan, Policy, Requires};
use serde_json::json;

use crate::service::{Gives, Reference};

/// The offering `reference`: what plans can be.
pub const OFFERING: &str = "b1f0b1a4-6d0f-4a3f-8f0e-5a3c3b0d7c01";
/// Its plan `fast`.
pub const FAST: &str = "2f6f7d1e-0c36-4a55-9c51-7f1f2f5f6a11";
/// Its plan `async`.
pub const ASYNC: &str = "9c2d5b3a-7e48-4b7e-8a37-1d8c4e9b2f12";
/// Its plan `unbindable`.
pub const UNBINDABLE: &str = "c7a4e6f0-3b1d-4d92-b0a5-6e2f9d8c1b13";
/// Its plan `narrow`.
pub const NARROW: &str = "e08b9c5d-1f27-4c63-9d84-3a7b5c0e4d14";
/// Its plan `async-bindings`.
pub const ASYNC_BINDINGS: &str = "e21d32cc-79ec-4733-8ec2-51b805ef189e";
/// Its plan `rotating`.
pub const ROTATING: &str = "6a3261dd-b951-48f8-b7a1-485cb4e0bac1";
/// Its plan `async-rotating`.
pub const ASYNC_ROTATING: &str = "c038baf0-e605-46f8-92c5-e1a9d175d689";
/// Its plan `maintained`.
pub const MAINTAINED: &str = "31a186e3-6ed7-4e98-9de5-683e837161bb";
/// Its plan `fixed`.
pub const FIXED: &str = "d7e3c19a-794e-490a-8e24-25ffc2eeb906";
/// Its plan `app-only`.
pub const APP_ONLY: &str = "84ebf3aa-0af3-4bf4-9ca8-8e7143f8b9e2";
/// Its plan `short`.
pub const SHORT: &str = "9414cd64-6505-4249-b2e3-9926d305f1b9";
/// Its plan `paid`.
pub const PAID: &str = "e0d86afa-a2de-412b-b8c0-fb227c4b1c71";

/// The offering `reference-logs`.
pub const LOGS: &str = "a0d051fc-010b-4e53-a7dd-511468dcd4eb";
/// Its plan `drain`.
pub const LOGS_PLAN: &str = "ff9664e2-90ec-470f-b3ca-6229a61b8801";
/// The offering `reference-routes`.
pub const ROUTES: &str = "0617d98b-e8e5-47f0-bfc9-b88caf609193";
/// Its plan `route`.
pub const ROUTES_PLAN: &str = "93bd51a3-f207-4dff-ae6e-7fd2ff3f530a";
/// The offering `reference-volumes`.
pub const VOLUMES: &str = "176da5ed-6433-4c18-9a05-046964f8c072";
/// Its plan `volume`.
pub const VOLUMES_PLAN: &str = "941e0fbb-80d4-4006-89c8-130bd6fd03c7";

/// The offering `reference-dashboard`.
pub const DASHBOARD: &str = "7b3cd7cc-0940-4154-95c9-e238e6e70015";
/// Its plan `open`, which instances can leave.
pub const DASHBOARD_PLAN: &str = "66e89dea-cb38-4fab-8c34-a52e3c66b49c";
/// Its plan `closed`, which they cannot leave.
pub const DASHBOARD_OTHER: &str = "da1eef77-2cff-4aed-8683-3538c55a5c72";

/// The offering `reference-modest`.
pub const MODEST: &str = "55b9c22c-aad4-4718-8bae-cf1d5735cfb8";
/// Its plan `plain`.
pub const MODEST_PLAIN: &str = "18ab96da-3a02-4bf0-8e81-89ba3216df43";
/// Its plan `bindable`.
pub const MODEST_BINDABLE: &str = "75a58c5f-42c2-4ea6-a464-056f83b0f212";

/// How long platforms poll instances of the plan `short`.
const SHORT_POLLING: Duration = Duration::from_secs(10);

/// Adds the offerings, and how their plans are run.
pub(crate) fn add_to(broker: Broker, maintenance_version: &str) -> Broker {
    broker
        .updatable(reference(maintenance_version), Reference(Gives::Credentials))
        .updatable(logs(), Reference(Gives::SyslogDrain))
        .updatable(routes(), Reference(Gives::RouteService))
        .updatable(volumes(), Reference(Gives::Volume))
        .updatable(dashboard(), Reference(Gives::Dashboard))
        .service(modest(), Reference(Gives::Credentials))
        .policy(ASYNC, asynchronous(Policy::default()))
        .policy(
            NARROW,
            Policy {
                parallelism: 1,
                ..Policy::default()
            },
        )
        .policy(ASYNC_BINDINGS, asynchronous_bindings(Policy::default()))
        .policy(ASYNC_ROTATING, asynchronous(asynchronous_bindings(Policy::default())))
        .policy(
            APP_ONLY,
            Policy {
                requires_app: true,
                ..Policy::default()
            },
        )
}

/// Whatever is done to instances is answered with 202.
pub(crate) fn asynchronous(policy: Policy) -> Policy {
    Policy {
        provision: Execution::Async,
        update: Execution::Async,
        deprovision: Execution::Async,
        ..policy
    }
}

/// Whatever is done to bindings is answered with 202.
pub(crate) fn asynchronous_bindings(policy: Policy) -> Policy {
    Policy {
        bind: Execution::Async,
        unbind: Execution::Async,
        ..policy
    }
}

/// `maintenance_info` with all its members.
pub(crate) fn maintenance_info(version: &str) -> MaintenanceInfo {
    MaintenanceInfo {
        version: version.to_owned(),
        description: Some("Does nothing, as ordered".to_owned()),
    }
}

fn reference(maintenance_version: &str) -> Offering {
    let offering = Offering::new(OFFERING, "reference", "Behaves as ordered, to test platforms with")
        .bindable(true)
        .plan_updateable(true)
        .instances_retrievable(true)
        .bindings_retrievable(true)
        .allow_context_updates(true)
        .tags(["reference", "test"])
        .metadata("displayName", "Reference")
        .metadata(
            "longDescription",
            "Sells behaviour: the plan and the parameters say what it does and how it fails.",
        )
        .metadata("providerDisplayName", "Open Service Broker SDK")
        .metadata("imageUrl", IMAGE)
        .metadata("documentationUrl", "https://reference.invalid/documentation")
        .metadata("supportUrl", "https://reference.invalid/support")
        .metadata("shareable", true);
    plans(maintenance_version).into_iter().fold(offering, Offering::plan)
}

fn plans(maintenance_version: &str) -> [Plan; 12] {
    let maintained = Plan {
        maintenance_info: Some(maintenance_info(maintenance_version)),
        ..Plan::new(
            MAINTAINED,
            "maintained",
            "Has a maintenance version, and can be upgraded",
        )
    };
    [
        Plan::new(FAST, "fast", "Answers at once, or with 202 when the work takes longer"),
        Plan::new(ASYNC, "async", "Always answers with 202"),
        Plan::new(UNBINDABLE, "unbindable", "Cannot be bound").bindable(false),
        Plan::new(NARROW, "narrow", "Does one thing at a time"),
        Plan::new(
            ASYNC_BINDINGS,
            "async-bindings",
            "Always answers with 202 to bind and unbind",
        ),
        Plan::new(ROTATING, "rotating", "Its bindings expire and can be rotated").binding_rotatable(true),
        Plan::new(
            ASYNC_ROTATING,
            "async-rotating",
            "Always answers with 202, also to rotations",
        )
        .binding_rotatable(true),
        maintained,
        Plan::new(FIXED, "fixed", "Instances cannot leave it").plan_updateable(false),
        Plan::new(APP_ONLY, "app-only", "Is bound to applications only"),
        Plan::new(SHORT, "short", "Is polled for ten seconds only").maximum_polling_duration(SHORT_POLLING),
        paid(),
    ]
}

fn paid() -> Plan {
    Plan::new(PAID, "paid", "Costs something")
        .free(false)
        .metadata("displayName", "Paid")
        .metadata("bullets", json!(["Not free", "The bill never comes"]))
        .metadata(
            "costs",
            json!([
                {"amount": {"usd": 99.0, "eur": 89.0}, "unit": "MONTHLY"},
                {"amount": {"usd": 0.99, "eur": 0.89}, "unit": "1 GB of messages over 20 GB"},
            ]),
        )
}

/// What the offerings for single features have in common.
fn feature(id: &str, name: &str, description: &str) -> Offering {
    Offering::new(id, name, description)
        .bindable(true)
        .instances_retrievable(true)
        .bindings_retrievable(true)
        .tags(["reference"])
}

fn logs() -> Offering {
    feature(LOGS, "reference-logs", "Takes the logs of applications")
        .requires(Requires::SyslogDrain)
        .plan(Plan::new(LOGS_PLAN, "drain", "Bindings have a syslog_drain_url"))
}

fn routes() -> Offering {
    feature(ROUTES, "reference-routes", "Stands in front of applications")
        .requires(Requires::RouteForwarding)
        .plan(Plan::new(ROUTES_PLAN, "route", "Bindings have a route_service_url"))
}

fn volumes() -> Offering {
    feature(VOLUMES, "reference-volumes", "Is mounted into applications")
        .requires(Requires::VolumeMount)
        .plan(Plan::new(VOLUMES_PLAN, "volume", "Bindings have volume_mounts"))
}

fn dashboard() -> Offering {
    feature(
        DASHBOARD,
        "reference-dashboard",
        "Has a dashboard, and tells its endpoints",
    )
    .dashboard_client(DashboardClient {
        id: "reference-dashboard".to_owned(),
        // There is no dashboard: it protects nothing.
        secret: "reference-dashboard-secret".to_owned(),
        redirect_uri: Some("https://reference.invalid/dashboard".to_owned()),
    })
    .plan(Plan::new(DASHBOARD_PLAN, "open", "Has a dashboard, and can be left").plan_updateable(true))
    .plan(Plan::new(
        DASHBOARD_OTHER,
        "closed",
        "Has another dashboard, and cannot be left",
    ))
}

/// As little as a broker can do.
fn modest() -> Offering {
    Offering::new(MODEST, "reference-modest", "Can do no more than a broker must")
        .plan(Plan::new(MODEST_PLAIN, "plain", "Cannot be bound, fetched or changed"))
        .plan(Plan::new(MODEST_BINDABLE, "bindable", "Can be bound, unlike its offering").bindable(true))
}

/// A grey dot: platforms load it without asking anybody.
const IMAGE: &str = "data:image/gif;base64,R0lGODlhAQABAIAAAICAgAAAACwAAAAAAQABAAACAkQBADs=";
