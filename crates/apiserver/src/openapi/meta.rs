//! The schemas that all kinds share.

use serde_json::{Map, Value, json};

use super::document::{gvk, reference};

const PACKAGE: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const SCALE: &str = "io.k8s.api.autoscaling.v1";

pub(super) const API_VERSION: &str = "The group and version of the kind: `v1`, or GROUP/VERSION.";
pub(super) const KIND: &str = "The name of the kind, in CamelCase.";

/// The full name of a schema of this module.
pub(super) fn model(kind: &str) -> String {
    format!("{PACKAGE}.{kind}")
}

/// The full name of the schema of the scale subresource.
pub(super) fn scale_model() -> String {
    format!("{SCALE}.Scale")
}

fn a(kind: &str, description: &str) -> Value {
    json!({"description": description, "allOf": [reference(&model(kind))]})
}

/// The property `metadata` of an object.
pub(super) fn object_meta() -> Value {
    a("ObjectMeta", "Standard object's metadata.")
}

/// The property `metadata` of a list.
pub(super) fn list_meta() -> Value {
    a("ListMeta", "Standard list metadata.")
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

fn flag(description: &str) -> Value {
    json!({"description": description, "type": "boolean"})
}

fn number(description: &str, format: &str) -> Value {
    json!({"description": description, "type": "integer", "format": format})
}

fn texts(description: &str, list_type: &str) -> Value {
    json!({"description": description, "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": list_type})
}

fn text_map(description: &str) -> Value {
    json!({"description": description, "type": "object", "additionalProperties": {"type": "string"}})
}

fn object(description: &str, properties: Value) -> Value {
    json!({"description": description, "type": "object", "properties": properties})
}

/// The shared schemas of a document.
pub(super) fn schemas(group: &str, version: &str) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut put = |kind: &str, schema: Value| schemas.insert(model(kind), schema);
    put("ObjectMeta", object_meta_schema());
    put("OwnerReference", owner_reference());
    put("ManagedFieldsEntry", managed_fields_entry());
    put("ListMeta", list_meta_schema());
    put(
        "Time",
        json!({"description": "A time, RFC 3339, in seconds.", "type": "string", "format": "date-time"}),
    );
    put(
        "FieldsV1",
        json!({"description": "A set of fields, as a tree of their names.", "type": "object"}),
    );
    put(
        "Patch",
        json!({"description": "A patch, in the form that the media type says.", "type": "object"}),
    );
    put(
        "Preconditions",
        object(
            "What must hold of the object.",
            json!({
                "uid": text("Its uid."), "resourceVersion": text("Its resourceVersion."),
            }),
        ),
    );
    put("DeleteOptions", delete_options(group, version));
    put("Status", status());
    put("StatusDetails", status_details());
    put(
        "StatusCause",
        object(
            "One of the causes of a refusal.",
            json!({
                "reason": text("What kind of cause it is, for programs."),
                "message": text("What is wrong, for people."),
                "field": text("The field that is meant, as a path."),
            }),
        ),
    );
    put(
        "WatchEvent",
        object(
            "A line of a watch.",
            json!({
                "type": text("ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."),
                "object": {"description": "The object, or a Status after ERROR.", "type": "object"},
            }),
        ),
    );
    schemas
}

/// The schemas of the scale subresource.
pub(super) fn add_scale(schemas: &mut Map<String, Value>) {
    let part = |kind: &str, description: &str| json!({"description": description, "allOf": [reference(&format!("{SCALE}.{kind}"))]});
    let mut scale = object(
        "The size of an object.",
        json!({
            "apiVersion": text(API_VERSION), "kind": text(KIND), "metadata": object_meta(),
            "spec": part("ScaleSpec", "The size that is wanted."), "status": part("ScaleStatus", "The size that there is."),
        }),
    );
    scale["x-kubernetes-group-version-kind"] = json!([gvk("autoscaling", "v1", "Scale")]);
    schemas.insert(scale_model(), scale);
    schemas.insert(
        format!("{SCALE}.ScaleSpec"),
        object(
            "The size that is wanted.",
            json!({
                "replicas": number("How many are wanted.", "int32"),
            }),
        ),
    );
    let mut status = object(
        "The size that there is.",
        json!({
            "replicas": number("How many there are.", "int32"),
            "selector": text("A label selector for them."),
        }),
    );
    status["required"] = json!(["replicas"]);
    schemas.insert(format!("{SCALE}.ScaleStatus"), status);
}

fn object_meta_schema() -> Value {
    object(
        "Metadata that every stored object has.",
        json!({
            "name": text("The name: unique for its kind in its namespace, and never changed."),
            "generateName": text("The beginning of a name that the server completes, when there is no name."),
            "namespace": text("The namespace, for kinds that live in one; never changed."),
            "uid": text("Set by the server: tells the object from others that have had its name."),
            "resourceVersion": text("Set by the server: changes with each write of the object."),
            "generation": number("Set by the server: counts the changes of what is wanted.", "int64"),
            "creationTimestamp": a("Time", "Set by the server: when the object was created."),
            "deletionTimestamp": a("Time", "Set by the server: when the object was asked to go. It goes when its finalizers are off."),
            "deletionGracePeriodSeconds": number("How long the object was given to end, in seconds.", "int64"),
            "labels": text_map("Names and values to select objects by."),
            "annotations": text_map("Names and values for programs and people; nothing is selected by them."),
            "finalizers": {
                "description": "Who has something to do before the object can go.",
                "type": "array", "items": {"type": "string"},
                "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge",
            },
            "ownerReferences": {
                "description": "The objects that this one belongs to; it is removed when all of them are gone.",
                "type": "array", "items": {"allOf": [reference(&model("OwnerReference"))], "default": {}},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "uid",
            },
            "managedFields": {
                "description": "Set by the server: who has set which fields.",
                "type": "array", "items": {"allOf": [reference(&model("ManagedFieldsEntry"))], "default": {}},
                "x-kubernetes-list-type": "atomic",
            },
            "selfLink": text("No longer used."),
        }),
    )
}

fn owner_reference() -> Value {
    let mut schema = object(
        "An object that another one belongs to.",
        json!({
            "apiVersion": text("The group and version of the owner."),
            "kind": text("The kind of the owner."),
            "name": text("The name of the owner."),
            "uid": text("The uid of the owner."),
            "controller": flag("Whether the owner is the one that manages the object."),
            "blockOwnerDeletion": flag("Whether the owner waits for the object when it is deleted in the foreground."),
        }),
    );
    schema["required"] = json!(["apiVersion", "kind", "name", "uid"]);
    schema["x-kubernetes-map-type"] = json!("atomic");
    schema
}

fn managed_fields_entry() -> Value {
    object(
        "The fields that somebody has set.",
        json!({
            "manager": text("Who."),
            "operation": text("Apply or Update."),
            "apiVersion": text("The version that the fields are named in."),
            "time": a("Time", "When the entry was changed last."),
            "fieldsType": text("Always FieldsV1."),
            "fieldsV1": a("FieldsV1", "The fields."),
            "subresource": text("The subresource that they were set through, if any."),
        }),
    )
}

fn list_meta_schema() -> Value {
    object(
        "Metadata of a list.",
        json!({
            "resourceVersion": text("The state that the list shows: a watch from it misses nothing."),
            "continue": text("Asks for the next page, when there is one."),
            "remainingItemCount": number("How many follow on later pages, where that is known.", "int64"),
            "selfLink": text("No longer used."),
        }),
    )
}

fn delete_options(group: &str, version: &str) -> Value {
    let mut schema = object(
        "How an object is deleted.",
        json!({
            "apiVersion": text(API_VERSION), "kind": text(KIND),
            "dryRun": texts("`All`: everything is checked and nothing is done.", "atomic"),
            "gracePeriodSeconds": number("How long the object may take to end, in seconds.", "int64"),
            "orphanDependents": flag("Replaced by propagationPolicy."),
            "preconditions": a("Preconditions", "What must hold; else nothing is deleted."),
            "propagationPolicy": text("What becomes of dependents: Orphan, Background or Foreground."),
        }),
    );
    let mut kinds = vec![gvk("", "v1", "DeleteOptions")];
    if !group.is_empty() {
        kinds.push(gvk(group, version, "DeleteOptions"));
    }
    schema["x-kubernetes-group-version-kind"] = Value::Array(kinds);
    schema
}

fn status() -> Value {
    let mut schema = object(
        "What came of a request that answers with no object.",
        json!({
            "apiVersion": text(API_VERSION), "kind": text(KIND), "metadata": list_meta(),
            "status": text("Success or Failure."),
            "message": text("What happened, for people."),
            "reason": text("What happened, for programs."),
            "details": a("StatusDetails", "What it is about."),
            "code": number("The HTTP status.", "int32"),
        }),
    );
    schema["x-kubernetes-group-version-kind"] = json!([gvk("", "v1", "Status")]);
    schema
}

fn status_details() -> Value {
    object(
        "What a Status is about.",
        json!({
            "name": text("The object."), "group": text("Its group."), "kind": text("Its resource or kind."), "uid": text("Its uid."),
            "causes": {
                "description": "Why the request was refused.", "type": "array", "items": reference(&model("StatusCause")),
                "x-kubernetes-list-type": "atomic",
            },
            "retryAfterSeconds": number("When to try again, in seconds.", "int32"),
        }),
    )
}
