//! The built-in kinds: a table of definitions in the form of custom resources, with the few rules that differ by kind.

use serde_json::{Value, json};

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
}

impl Rules {
    /// The rules of every custom resource.
    pub(crate) const CUSTOM: Rules = Rules {
        names: Names::Subdomain,
        unconditional_update: false,
        create_on_update: false,
        generation: true,
        delete_collection: true,
        special: Special::Custom,
    };

    const PLAIN: Rules = Rules {
        unconditional_update: true,
        generation: false,
        special: Special::Plain,
        ..Rules::CUSTOM
    };
}

/// Where a column of a built-in kind takes its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The text or number at a path of member names.
    At(&'static [&'static str]),
    /// The time since the first of these paths that has a value.
    Since(&'static [&'static [&'static str]]),
    /// The number of members of these maps together.
    Count(&'static [&'static str]),
    /// The object that an Event is about, as `kind/name`.
    Involved,
    /// The component and host that an Event comes from.
    Source,
}

/// A column of a built-in kind: header, type, priority (0 is always shown), cell.
pub(crate) type Column = (&'static str, &'static str, u8, Cell);

/// A built-in kind.
pub(crate) struct Builtin {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
    pub(crate) rules: Rules,
    /// Beside `metadata.name` and `metadata.namespace`.
    pub(crate) selectable: &'static [&'static str],
    pub(crate) columns: &'static [Column],
    /// The members of the object beside apiVersion, kind and metadata.
    pub(crate) properties: fn() -> Value,
}

const CREATED: &[&str] = &["metadata", "creationTimestamp"];
const AGE: Column = ("Age", "string", 0, Cell::Since(&[CREATED]));

/// The table.
pub(crate) const TABLE: &[Builtin] = &[
    Builtin {
        group: "",
        version: "v1",
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        short_names: &["ns"],
        namespaced: false,
        status: true,
        rules: Rules {
            names: Names::Label,
            delete_collection: false,
            special: Special::Namespace,
            ..Rules::PLAIN
        },
        selectable: &["status.phase"],
        columns: &[("Status", "string", 0, Cell::At(&["status", "phase"])), AGE],
        properties: namespace,
    },
    Builtin {
        group: "",
        version: "v1",
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short_names: &["cm"],
        namespaced: true,
        status: false,
        rules: Rules {
            special: Special::ConfigMap,
            ..Rules::PLAIN
        },
        selectable: &[],
        columns: &[("Data", "string", 0, Cell::Count(&["data", "binaryData"])), AGE],
        properties: || json!({"data": map_of(json!({"type": "string"})), "binaryData": map_of(json!({"type": "string", "format": "byte"})), "immutable": {"type": "boolean"}}),
    },
    Builtin {
        group: "",
        version: "v1",
        plural: "secrets",
        singular: "secret",
        kind: "Secret",
        short_names: &[],
        namespaced: true,
        status: false,
        rules: Rules {
            special: Special::Secret,
            ..Rules::PLAIN
        },
        selectable: &["type"],
        columns: &[
            ("Type", "string", 0, Cell::At(&["type"])),
            ("Data", "string", 0, Cell::Count(&["data"])),
            AGE,
        ],
        properties: || {
            json!({
                "data": map_of(json!({"type": "string"})),
                "stringData": map_of(json!({"type": "string"})),
                "type": {"type": "string"},
                "immutable": {"type": "boolean"},
            })
        },
    },
    Builtin {
        group: "",
        version: "v1",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        kind: "ServiceAccount",
        short_names: &["sa"],
        namespaced: true,
        status: false,
        rules: Rules::PLAIN,
        selectable: &[],
        columns: &[AGE],
        properties: || {
            json!({
                "secrets": list_of(reference()),
                "imagePullSecrets": list_of(json!({"type": "object", "properties": {"name": {"type": "string"}}})),
                "automountServiceAccountToken": {"type": "boolean"},
            })
        },
    },
    Builtin {
        group: "",
        version: "v1",
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        namespaced: true,
        status: false,
        rules: Rules {
            create_on_update: true,
            special: Special::Event,
            ..Rules::PLAIN
        },
        selectable: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        columns: &[
            (
                "Last Seen",
                "string",
                0,
                Cell::Since(&[
                    &["series", "lastObservedTime"],
                    &["lastTimestamp"],
                    &["eventTime"],
                    CREATED,
                ]),
            ),
            ("Type", "string", 0, Cell::At(&["type"])),
            ("Reason", "string", 0, Cell::At(&["reason"])),
            ("Object", "string", 0, Cell::Involved),
            ("Subobject", "string", 1, Cell::At(&["involvedObject", "fieldPath"])),
            ("Source", "string", 1, Cell::Source),
            ("Message", "string", 0, Cell::At(&["message"])),
            (
                "First Seen",
                "string",
                1,
                Cell::Since(&[&["firstTimestamp"], &["eventTime"], CREATED]),
            ),
            ("Count", "string", 1, Cell::At(&["count"])),
            ("Name", "string", 1, Cell::At(&["metadata", "name"])),
        ],
        properties: event,
    },
    Builtin {
        group: "coordination.k8s.io",
        version: "v1",
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        short_names: &[],
        namespaced: true,
        status: false,
        rules: Rules {
            unconditional_update: false,
            create_on_update: true,
            ..Rules::PLAIN
        },
        selectable: &[],
        columns: &[("Holder", "string", 0, Cell::At(&["spec", "holderIdentity"])), AGE],
        properties: || {
            json!({"spec": {"type": "object", "default": {}, "properties": {
                "holderIdentity": {"type": "string"}, "leaseDurationSeconds": {"type": "integer", "format": "int32", "minimum": 1},
                "acquireTime": optional_time(), "renewTime": optional_time(), "leaseTransitions": {"type": "integer", "format": "int32", "minimum": 0},
                "strategy": {"type": "string"}, "preferredHolder": {"type": "string"},
            }}})
        },
    },
    Builtin {
        group: "apiextensions.k8s.io",
        version: "v1",
        plural: "customresourcedefinitions",
        singular: "customresourcedefinition",
        kind: "CustomResourceDefinition",
        short_names: &["crd", "crds"],
        namespaced: false,
        status: true,
        rules: Rules {
            unconditional_update: false,
            generation: true,
            special: Special::Definition,
            ..Rules::PLAIN
        },
        selectable: &[],
        columns: &[("Created At", "date", 0, Cell::At(CREATED))],
        properties: definition,
    },
];

fn map_of(values: Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

fn list_of(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// A time that is served as null when there is none.
fn time() -> Value {
    json!({"type": "string", "format": "date-time", "nullable": true})
}

/// A time that is left out when there is none.
fn optional_time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn conditions() -> Value {
    list_of(json!({"type": "object", "required": ["type", "status"], "properties": {
        "type": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"}, "message": {"type": "string"},
        "lastTransitionTime": time(), "observedGeneration": {"type": "integer", "format": "int64"},
    }}))
}

fn reference() -> Value {
    let names = [
        "kind",
        "namespace",
        "name",
        "uid",
        "apiVersion",
        "resourceVersion",
        "fieldPath",
    ];
    let properties: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"type": "string"})))
        .collect();
    json!({"type": "object", "x-kubernetes-map-type": "atomic", "properties": properties})
}

fn namespace() -> Value {
    json!({
        "spec": {"type": "object", "properties": {"finalizers": list_of(json!({"type": "string"}))}},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "conditions": conditions()}},
    })
}

fn event() -> Value {
    json!({
        "involvedObject": reference(), "related": reference(),
        "reason": {"type": "string"}, "message": {"type": "string"}, "type": {"type": "string"}, "action": {"type": "string"},
        "source": {"type": "object", "default": {}, "properties": {"component": {"type": "string"}, "host": {"type": "string"}}},
        "firstTimestamp": time(), "lastTimestamp": time(), "eventTime": time(),
        "count": {"type": "integer", "format": "int32"},
        "series": {"type": "object", "properties": {"count": {"type": "integer", "format": "int32"}, "lastObservedTime": time()}},
        "reportingComponent": {"type": "string", "default": ""}, "reportingInstance": {"type": "string", "default": ""},
    })
}

fn definition() -> Value {
    let names = json!({"type": "object", "properties": {
        "plural": {"type": "string"}, "singular": {"type": "string"}, "kind": {"type": "string"}, "listKind": {"type": "string"},
        "shortNames": list_of(json!({"type": "string"})), "categories": list_of(json!({"type": "string"})),
    }});
    let path = || json!({"type": "string"});
    let version = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "served": {"type": "boolean"}, "storage": {"type": "boolean"},
        "deprecated": {"type": "boolean"}, "deprecationWarning": {"type": "string"},
        // A schema is recursive, which a structural schema cannot say; the rules for definitions look at it.
        "schema": {"type": "object", "properties": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        "subresources": {"type": "object", "properties": {
            "status": {"type": "object"},
            "scale": {"type": "object", "properties": {"specReplicasPath": path(), "statusReplicasPath": path(), "labelSelectorPath": path()}},
        }},
        "additionalPrinterColumns": list_of(json!({"type": "object", "properties": {
            "name": {"type": "string"}, "type": {"type": "string"}, "format": {"type": "string"}, "description": {"type": "string"},
            "priority": {"type": "integer", "format": "int32"}, "jsonPath": path(),
        }})),
        "selectableFields": list_of(json!({"type": "object", "properties": {"jsonPath": path()}})),
    }});
    json!({
        "spec": {"type": "object", "properties": {
            "group": {"type": "string"}, "names": names, "scope": {"type": "string"}, "versions": list_of(version),
            "preserveUnknownFields": {"type": "boolean"},
            "conversion": {"type": "object", "properties": {
                "strategy": {"type": "string"}, "webhook": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }},
        }},
        "status": {"type": "object", "properties": {
            "conditions": conditions(), "acceptedNames": names, "storedVersions": list_of(json!({"type": "string"})),
            "observedGeneration": {"type": "integer", "format": "int64"},
        }},
    })
}
