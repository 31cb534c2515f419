//! The built-in kinds: what differs by kind beyond its types, which the crate `kinds` knows.

use std::sync::LazyLock;

use apimachinery::crd::Scale;
use apimachinery::json::Value;
use jiff::Timestamp;

mod cells;
mod core;
mod others;
pub(crate) mod reviews;
mod workloads;

/// What differs by kind beyond its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How names are checked.
    pub(crate) names: Names,
    /// A PUT without resourceVersion overwrites what stands there.
    pub(crate) unconditional_update: bool,
    /// A PUT of a name that does not exist creates the object.
    pub(crate) create_on_update: bool,
    /// The server counts `metadata.generation`; otherwise the client's value is kept.
    pub(crate) generation: bool,
    /// DELETE on the collection exists.
    pub(crate) delete_collection: bool,
    /// A DELETE that names no policy leaves the dependents.
    pub(crate) orphans_dependents: bool,
    /// Code of its own.
    pub(crate) special: Special,
}

/// How an object's name is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// A DNS-1123 subdomain of at most 253 characters.
    Subdomain,
    /// A DNS-1123 label of at most 63 characters.
    Label,
    /// What can be one segment of a path.
    PathSegment,
}

/// Kinds with code of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// None: the schema says all.
    Plain,
    /// A custom resource, which its definition describes.
    Custom,
    /// Lifecycle and content.
    Namespace,
    /// Definitions of custom resources.
    Definition,
    /// `stringData`, base64, immutability.
    Secret,
    /// Disjoint keys, immutability.
    ConfigMap,
    /// The namespace of what it is about.
    Event,
    /// Addresses of the cluster.
    Service,
    /// The phase that it begins in.
    Pod,
    /// The selector of its pods.
    Job,
    /// A volume: since when it is in its phase.
    Volume,
    /// Counts the changes of its template.
    DaemonSet,
    /// Its status may be given from the beginning.
    Node,
    /// Who asks for the certificate.
    CertificateRequest,
    /// Stored, but nothing is called or evaluated for it: each write says so.
    Unused(&'static str),
    /// Role and ClusterRole: the rules.
    Role,
    /// RoleBinding and ClusterRoleBinding: who gets which role.
    Binding,
    /// Only created, answered and not stored.
    Review(reviews::Review),
}

impl Rules {
    /// The rules of every custom resource.
    pub(crate) const CUSTOM: Rules = Rules {
        names: Names::Subdomain,
        unconditional_update: false,
        create_on_update: false,
        generation: true,
        delete_collection: true,
        orphans_dependents: false,
        special: Special::Custom,
    };

    const PLAIN: Rules = Rules {
        unconditional_update: true,
        generation: false,
        special: Special::Plain,
        ..Rules::CUSTOM
    };

    /// A kind whose changes are counted.
    const COUNTED: Rules = Rules {
        generation: true,
        ..Rules::PLAIN
    };
}

/// Where a column of a built-in kind takes its value from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    /// The text or number at a path of member names.
    At(&'static [&'static str]),
    /// The same as a text, or this text where there is none.
    Or(&'static [&'static str], &'static str),
    /// The number at a path, or this text where there is none.
    NumberOr(&'static [&'static str], &'static str),
    /// The number at a path, 0 where there is none.
    Number(&'static [&'static str]),
    /// The time since the first of these paths that has a value.
    Since(&'static [&'static [&'static str]]),
    /// The number of members of these maps together.
    Count(&'static [&'static str]),
    /// The object that an Event is about, as `kind/name`.
    Involved,
    /// The component and host that an Event comes from.
    Source,
    /// What a function makes of the object.
    Made(fn(&Value<'_>, Timestamp) -> Value<'static>),
}

/// A column of a built-in kind: header, type, priority (0 is always shown), cell.
pub(crate) type Column = (&'static str, &'static str, u8, Cell);

/// A built-in kind.
#[derive(Debug)]
pub(crate) struct Builtin {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) rules: Rules,
    /// Beside `metadata.name` and `metadata.namespace`.
    pub(crate) selectable: &'static [&'static str],
    pub(crate) columns: &'static [Column],
}

impl Builtin {
    /// What discovery and the types say of it.
    pub(crate) fn facts(&self) -> &'static ::kinds::Kind {
        ::kinds::kind(self.group, self.version, self.kind).expect("a test finds the facts of each kind of the table")
    }
}

/// Group and plural name of the kind that is another view of the Events of the core group.
pub(crate) const EVENTS_VIEW: (&str, &str) = ("events.k8s.io", "events");

/// Where the numbers of a built-in kind with a Scale stand.
pub(crate) fn scale() -> Scale {
    Scale {
        spec_replicas_path: ".spec.replicas".to_owned(),
        status_replicas_path: ".status.replicas".to_owned(),
        label_selector_path: Some(".spec.selector".to_owned()),
    }
}

/// Selectable fields that are not named as in the object, or are something when they are absent: where they stand, and what
/// they are then.
pub(crate) fn selected_otherwise(label: &str) -> Option<(&'static str, &'static str)> {
    Some(match label {
        "source" => ("/source/component", ""),
        // What is stored is an Event of the core group.
        "regarding.kind" => ("/involvedObject/kind", ""),
        "regarding.namespace" => ("/involvedObject/namespace", ""),
        "regarding.name" => ("/involvedObject/name", ""),
        "regarding.uid" => ("/involvedObject/uid", ""),
        "regarding.apiVersion" => ("/involvedObject/apiVersion", ""),
        "regarding.resourceVersion" => ("/involvedObject/resourceVersion", ""),
        "regarding.fieldPath" => ("/involvedObject/fieldPath", ""),
        "reportingController" => ("/reportingComponent", ""),
        "status.successful" => ("/status/succeeded", "0"),
        "status.replicas" => ("/status/replicas", "0"),
        "spec.unschedulable" => ("/spec/unschedulable", "false"),
        "spec.hostNetwork" => ("/spec/hostNetwork", "false"),
        "status.podIPs" => ("/status/podIPs/0/ip", ""),
        _ => return None,
    })
}

const CREATED: &[&str] = &["metadata", "creationTimestamp"];
const AGE: Column = ("Age", "string", 0, Cell::Since(&[CREATED]));
const CREATED_AT: Column = ("Created At", "date", 0, Cell::At(CREATED));

/// A column that is always shown.
const fn column(name: &'static str, cell: Cell) -> Column {
    (name, "string", 0, cell)
}

/// A column of numbers.
const fn number(name: &'static str, path: &'static [&'static str]) -> Column {
    (name, "integer", 0, Cell::Number(path))
}

/// A column that is shown with `-o wide`.
const fn wide(name: &'static str, cell: Cell) -> Column {
    (name, "string", 1, cell)
}

/// A kind without selectable fields of its own.
const fn kind(group: &'static str, kind: &'static str, rules: Rules, columns: &'static [Column]) -> Builtin {
    Builtin {
        group,
        version: "v1",
        kind,
        rules,
        selectable: &[],
        columns,
    }
}

/// The table.
pub(crate) static TABLE: LazyLock<Vec<&'static Builtin>> = LazyLock::new(|| {
    core::TABLE
        .iter()
        .chain(workloads::TABLE)
        .chain(others::TABLE)
        .chain(reviews::TABLE)
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_the_table_has_its_facts() {
        for builtin in TABLE.iter() {
            let facts = builtin.facts();
            assert!(facts.verbs.contains(&"create"), "{}", builtin.kind);
            assert_eq!(
                facts.verbs.contains(&"deletecollection"),
                builtin.rules.delete_collection,
                "{}",
                builtin.kind
            );
        }
    }
}
