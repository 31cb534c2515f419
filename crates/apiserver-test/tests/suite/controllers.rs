//! A real kube-controller-manager on this server: with the collectors of this server off and its own on, and with those of
//! this server alone. The same script leaves the same objects, which are those of a real server.

mod script;
mod world;

use apiserver::Controller;

use world::World;

/// What the controller manager may complain of, and why.
const KNOWN: &[(&str, &str)] = &[
    (
        "The manifest file is empty, ignoring",
        "of its own options, before it has spoken to a server",
    ),
    (
        "is not as new as written version",
        "it has just written an object that its own cache does not show yet, and looks again",
    ),
    (
        "\\\" not found",
        "the object or its namespace was deleted while a controller worked on it, which it learns by this answer",
    ),
    (
        "because it is being terminated",
        "the namespace is being deleted while a controller makes something in it",
    ),
    (
        "Operation cannot be fulfilled on",
        "another controller was quicker to write the object, and this one looks again",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_left_whoever_collects() {
    let rounds = testparts::long_run::number("OSB_CONTROLLER_ROUNDS", 1);
    let worlds = tokio::join!(
        World::kubernetes(),
        World::ours("ours, collected by kube-controller-manager", Controller::External),
        World::ours("ours, collecting by itself", Controller::Embedded),
    );
    let (Some(real), Some(managed), Some(alone)) = worlds else {
        return;
    };
    for round in 0..rounds {
        let (real, managed, alone) = tokio::join!(
            script::play(&real, round),
            script::play(&managed, round),
            script::play(&alone, round)
        );
        assert_same(&managed, &real, "collected by kube-controller-manager");
        assert_same(&alone, &real, "collecting by itself");
    }
    for world in [&real, &managed, &alone] {
        assert_eq!(world.complaints(KNOWN), [""; 0], "{}", world.name);
    }
    testparts::long_run::count("rounds", rounds);
}

/// Names what is left here and not there, object by object.
fn assert_same(ours: &serde_json::Value, real: &serde_json::Value, which: &str) {
    let objects = |all: &serde_json::Value| all.as_array().cloned().unwrap_or_default();
    let (ours, real) = (objects(ours), objects(real));
    let only = |these: &[serde_json::Value], those: &[serde_json::Value]| -> Vec<String> {
        let missing = these.iter().filter(|object| !those.contains(object));
        missing.map(|object| format!("{object:#}")).collect()
    };
    let (here, there) = (only(&ours, &real), only(&real, &ours));
    assert!(
        here.is_empty() && there.is_empty() && ours.len() == real.len(),
        "{which}\nonly here:\n{}\nonly there:\n{}",
        here.join("\n"),
        there.join("\n")
    );
}
