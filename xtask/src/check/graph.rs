//! The arrows between the crates, as ARCHITECTURE.md draws them.

use std::path::Path;

use crate::metadata::{Kind, Metadata, Package};

/// What a member may use of the workspace when it is built without its tests.
///
/// A new crate gets a line here. What a crate may not use it does not know: that is the design, so change ARCHITECTURE.md first.
const ARROWS: &[(&str, &[&str])] = &[
    ("objectstore", &[]),
    ("apimachinery", &[]),
    ("kinds", &["apimachinery"]),
    ("apiserver", &["apimachinery", "kinds", "objectstore"]),
    ("apiserver-host", &["apiserver", "objectstore"]),
    ("apiserver-test", &["apiserver", "apiserver-host", "objectstore"]),
    ("osb-api", &[]),
    ("osb-lint", &["osb-api"]),
    ("template", &["apimachinery"]),
    ("template-controller", &["template", "apimachinery", "apiserver"]),
    ("osb-server", &["osb-api"]),
    ("osb-client", &["osb-api"]),
    ("osb-conformance", &[]),
    ("osb-simulate", &["osb-client", "osb-lint", "osb-api"]),
    ("osb-engine", &["osb-api", "osb-server"]),
    ("osb-move", &["osb-engine"]),
    (
        "osb-host",
        &[
            "osb-engine",
            "osb-move",
            "osb-server",
            "osb-lint",
            "osb-api",
            "apiserver",
            "apiserver-host",
            "objectstore",
        ],
    ),
    ("osb-sdk", &["osb-host", "osb-engine", "osb-server", "osb-api"]),
    ("reference-broker", &["osb-sdk"]),
    (
        "template-broker",
        &["apimachinery", "osb-sdk", "template", "template-controller"],
    ),
    (
        "osb",
        &[
            "apiserver",
            "apiserver-host",
            "osb-engine",
            "osb-host",
            "osb-sdk",
            "osb-client",
            "osb-conformance",
            "osb-lint",
            "osb-move",
            "osb-simulate",
            "osb-api",
            "reference-broker",
            "template",
            "template-broker",
            "template-controller",
        ],
    ),
    ("testparts", &[]),
    (
        "fuzzing",
        &[
            "apimachinery",
            "apiserver",
            "kinds",
            "objectstore",
            "osb-api",
            "osb-conformance",
            "osb-engine",
            "osb-host",
            "osb-lint",
            "osb-server",
            "template",
        ],
    ),
    ("xtask", &["testparts"]),
];

/// What each example may use: exactly what any author can use.
const EXAMPLES: &[&str] = &["osb-sdk"];

/// The program: a test that needs it starts its executable.
const PROGRAM: &str = "osb";

/// Crates that a member must not need, directly or through others, tests aside.
const UNKNOWN_TO: &[(&str, &[&str], &str)] = &[
    (
        "osb-api",
        &["tokio", "hyper", "kube-client"],
        "the contract does no input and output",
    ),
    (
        "osb-lint",
        &["tokio", "hyper", "kube-client"],
        "the rules do no input and output",
    ),
    (
        "apimachinery",
        &["tokio", "hyper", "kube-client"],
        "the rules do no input and output",
    ),
    (
        "kinds",
        &["tokio", "hyper", "kube-client", "k8s-openapi"],
        "the facts do no input and output",
    ),
    (
        "template",
        &["tokio", "hyper", "kube-client"],
        "templates are processed without input and output",
    ),
    (
        "objectstore",
        &["kube-client", "k8s-openapi"],
        "the store knows no Kubernetes",
    ),
    (
        "apiserver",
        &["kube-client"],
        "the server knows no client of its own; the seam is above it",
    ),
    (
        "apiserver-host",
        &["kube-client"],
        "the server knows no client of its own; the seam is above it",
    ),
    (
        "osb-engine",
        &["kube-runtime"],
        "the engine follows its objects without a cache",
    ),
];

/// Crates that must not be in the tree at all.
const BANNED: &[(&str, &str)] = &[
    (
        "aws-lc-rs",
        "ring is the one library for cryptography; a second one costs a C build of minutes",
    ),
    (
        "openssl-sys",
        "rustls is the one TLS library; this one needs a library of the system",
    ),
    ("native-tls", "rustls is the one TLS library"),
    ("chrono", "jiff is the one library for time"),
];

/// Every breach, one line each.
pub(crate) fn breaches(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for member in metadata.members() {
        found.extend(breaches_of(metadata, member));
    }
    for (name, reason) in BANNED {
        for package in metadata.packages.iter().filter(|package| package.name == *name) {
            let users = users(metadata, package).join(", ");
            found.push(format!(
                "{name} {} must not be in the tree ({reason}); it is used by {users}",
                package.version
            ));
        }
    }
    found
}

fn breaches_of(metadata: &Metadata, member: &Package) -> Vec<String> {
    let mut found = Vec::new();
    match allowed(metadata, member) {
        Allowed::Unknown => found.push(format!("{} has no line in the table of arrows", member.name)),
        Allowed::Everything => {}
        Allowed::These(allowed) => found.extend(
            uses(metadata, member, |kind| kind != Kind::Dev)
                .filter(|used| !allowed.contains(used))
                .map(|used| format!("{} must not depend on {used}", member.name)),
        ),
    }
    if uses(metadata, member, |kind| kind == Kind::Dev).any(|used| used == PROGRAM) {
        found.push(format!(
            "{} must not dev-depend on {PROGRAM}: start the executable",
            member.name
        ));
    }
    for (_, names, reason) in UNKNOWN_TO.iter().filter(|(name, ..)| *name == member.name) {
        let needed = metadata.needed_by(member);
        let known = names
            .iter()
            .filter(|name| needed.iter().any(|package| package.name == **name));
        found.extend(known.map(|name| format!("{} must not need {name}: {reason}", member.name)));
    }
    found
}

enum Allowed {
    Everything,
    These(&'static [&'static str]),
    Unknown,
}

fn allowed(metadata: &Metadata, member: &Package) -> Allowed {
    if let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member.name) {
        return Allowed::These(allowed);
    }
    let place = member.folder.strip_prefix(&metadata.root).unwrap_or(&member.folder);
    if place.starts_with("examples") {
        Allowed::These(EXAMPLES)
    } else if place.parent() == Some(Path::new("tools")) {
        Allowed::Everything
    } else {
        Allowed::Unknown
    }
}

/// Names of the members that a member uses directly, by an edge of one of these kinds.
fn uses<'a>(metadata: &'a Metadata, member: &'a Package, of: fn(Kind) -> bool) -> impl Iterator<Item = &'a str> {
    let edges = member
        .dependencies
        .iter()
        .filter(move |dependency| dependency.kinds.iter().any(|kind| of(*kind)));
    edges
        .map(|dependency| &metadata.packages[dependency.package])
        .filter(|used| used.is_member)
        .map(|used| used.name.as_str())
}

fn users<'a>(metadata: &'a Metadata, package: &Package) -> Vec<&'a str> {
    let is_it = |index: usize| std::ptr::eq(&raw const metadata.packages[index], package);
    let users = metadata
        .packages
        .iter()
        .filter(|user| user.dependencies.iter().any(|dependency| is_it(dependency.package)));
    users.map(|user| user.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::fixture::graph;

    #[test]
    fn arrows_that_point_down_pass() {
        let metadata = graph(&[
            ("osb-api", &[]),
            ("osb-server", &["ord osb-api"]),
            ("apiserver", &[]),
            ("osb-engine", &["ord osb-server", "dev apiserver"]),
        ]);
        assert_eq!(breaches(&metadata), [""; 0]);
    }

    #[test]
    fn an_arrow_that_points_up_is_named() {
        let metadata = graph(&[("osb-api", &["ord osb-server"]), ("osb-server", &[])]);
        assert_eq!(breaches(&metadata), ["osb-api must not depend on osb-server"]);
    }

    #[test]
    fn a_crate_without_a_line_is_named() {
        assert_eq!(
            breaches(&graph(&[("novelty", &[])])),
            ["novelty has no line in the table of arrows"]
        );
    }

    #[test]
    fn nobody_dev_depends_on_the_program() {
        let metadata = graph(&[("osb", &[]), ("osb-client", &["dev osb"])]);
        assert_eq!(
            breaches(&metadata),
            ["osb-client must not dev-depend on osb: start the executable"]
        );
    }

    #[test]
    fn an_example_uses_what_an_author_can_use_and_a_tool_what_it_likes() {
        let mut metadata = graph(&[
            ("osb-engine", &[]),
            ("postgres-broker", &["ord osb-engine"]),
            ("torture", &["ord osb-engine"]),
        ]);
        metadata.packages[1].folder = "/w/examples/postgres".into();
        metadata.packages[2].folder = "/w/tools/torture".into();
        assert_eq!(breaches(&metadata), ["postgres-broker must not depend on osb-engine"]);
    }

    #[test]
    fn a_foreign_crate_is_found_through_others_but_not_in_tests() {
        let through = graph(&[
            ("osb-engine", &["ord ext-middle"]),
            ("ext-middle", &["ord kube-runtime"]),
            ("kube-runtime", &[]),
        ]);
        assert_eq!(
            breaches(&through),
            ["osb-engine must not need kube-runtime: the engine follows its objects without a cache"]
        );
        let in_tests = graph(&[("osb-engine", &["dev kube-runtime"]), ("kube-runtime", &[])]);
        assert_eq!(breaches(&in_tests), [""; 0]);
    }

    #[test]
    fn a_banned_crate_is_named_with_its_users() {
        let mut metadata = graph(&[("osb-api", &["dev ext-x"]), ("ext-x", &[])]);
        metadata.packages[1].name = "chrono".to_owned();
        let [line] = &breaches(&metadata)[..] else {
            panic!("one breach")
        };
        assert!(
            line.starts_with("chrono 1.0.0 must not be in the tree") && line.ends_with("used by osb-api"),
            "{line}"
        );
    }
}
