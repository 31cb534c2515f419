//! Reading and checking definitions.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{CustomResourceDefinition, MAX_SELECTABLE_FIELDS, Names, Scale, Scope, SelectableField, Version};
use crate::field::{self, FieldError};
use crate::jsonpath::JsonPath;
use crate::meta;
use crate::schema::{FieldType, StructuralSchema};
use crate::table::{ColumnDefinition, ColumnType, TableColumn};

pub(super) fn apply_defaults(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        fill(names, "singular", || kind.to_lowercase());
        fill(names, "listKind", || {
            if kind.is_empty() {
                String::new()
            } else {
                format!("{kind}List")
            }
        });
    }
    let conversion = spec.entry("conversion").or_insert(Value::Null);
    if conversion.is_null() {
        *conversion = json!({});
    }
    if let Some(conversion) = conversion.as_object_mut() {
        fill(conversion, "strategy", || "None".to_owned());
    }
}

/// Puts a text where nothing, null or the empty text stands.
fn fill(map: &mut Map<String, Value>, name: &str, text: impl FnOnce() -> String) {
    if map.get(name).is_none_or(|v| v.is_null() || v == "") {
        map.insert(name.to_owned(), Value::String(text()));
    }
}

pub(super) fn parse(object: &Value) -> Result<CustomResourceDefinition, Vec<FieldError>> {
    let mut reader = Reader { errors: Vec::new() };
    let definition = reader.definition(object);
    match definition {
        Some(definition) if reader.errors.is_empty() => Ok(definition),
        _ => Err(reader.errors),
    }
}

pub(super) fn validate_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let fixed = [
        ("spec.group", "/spec/group"),
        ("spec.scope", "/spec/scope"),
        ("spec.names.plural", "/spec/names/plural"),
        ("spec.names.kind", "/spec/names/kind"),
    ];
    for (path, pointer) in fixed {
        let value = new.pointer(pointer);
        if old.pointer(pointer) != value {
            errors.push(FieldError::invalid(
                path,
                value.cloned().unwrap_or_default(),
                "field is immutable",
            ));
        }
    }
    let versions = new
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let stored = new
        .pointer("/status/storedVersions")
        .or_else(|| old.pointer("/status/storedVersions"));
    for (i, name) in stored.and_then(Value::as_array).into_iter().flatten().enumerate() {
        if !versions.iter().any(|v| v.get("name") == Some(name)) {
            let path = field::index("status.storedVersions", i);
            let detail = "missing from spec.versions; objects may still be stored in this version";
            errors.push(FieldError::invalid(path, name.clone(), detail));
        }
    }
    errors
}

const ONE_STORAGE_VERSION: &str = "must have exactly one version marked as storage version";

struct Reader {
    errors: Vec<FieldError>,
}

impl Reader {
    fn definition(&mut self, object: &Value) -> Option<CustomResourceDefinition> {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        let Some(spec) = object.get("spec").and_then(Value::as_object) else {
            self.errors.push(FieldError::required("spec", ""));
            return None;
        };
        let group = self.group(spec, object);
        let names = self.names(spec);
        if name != format!("{}.{group}", names.plural) {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            self.errors
                .push(FieldError::invalid("metadata.name", name.as_str(), detail));
        }
        let scope = self.scope(spec);
        self.conversion(spec);
        if spec.get("preserveUnknownFields") == Some(&Value::Bool(true)) {
            self.errors.push(FieldError::invalid(
                "spec.preserveUnknownFields",
                true,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            ));
        }
        let versions = self.versions(spec, &group, &names.kind);
        Some(CustomResourceDefinition {
            name,
            group,
            names,
            scope: scope?,
            versions: versions?,
        })
    }

    fn texts(&mut self, path: &str, value: &str, problems: Vec<String>) {
        self.errors
            .extend(problems.into_iter().map(|p| FieldError::invalid(path, value, p)));
    }

    fn group(&mut self, spec: &Map<String, Value>, object: &Value) -> String {
        let group = text(spec, "group");
        if group.is_empty() {
            self.errors.push(FieldError::required("spec.group", ""));
        } else if group.contains('.') {
            self.texts("spec.group", group, meta::dns_subdomain_problems(group));
        } else {
            self.errors.push(FieldError::invalid(
                "spec.group",
                group,
                "should be a domain with at least one dot",
            ));
        }
        const APPROVED: &str = "api-approved.kubernetes.io";
        let protected = [".k8s.io", ".kubernetes.io"]
            .iter()
            .any(|suffix| group.ends_with(suffix));
        let approved = object
            .pointer("/metadata/annotations")
            .is_some_and(|a| a.get(APPROVED).is_some());
        if protected && !approved {
            self.errors.push(FieldError::required(
                field::key("metadata.annotations", APPROVED),
                format!("protected groups must have approval annotation \"{APPROVED}\""),
            ));
        }
        group.to_owned()
    }

    fn names(&mut self, spec: &Map<String, Value>) -> Names {
        let path = "spec.names";
        let names = match spec.get("names").map(Names::deserialize_from) {
            Some(Some(names)) => names,
            Some(None) => {
                self.errors
                    .push(FieldError::invalid(path, "", "has a field of the wrong type"));
                return Names::default();
            }
            None => Names::default(),
        };
        for (field, name) in [("plural", &names.plural), ("singular", &names.singular)] {
            self.label(&field::child(path, field), name);
        }
        for (field, name) in [("kind", &names.kind), ("listKind", &names.list_kind)] {
            let at = field::child(path, field);
            if name.is_empty() {
                self.errors.push(FieldError::required(at, ""));
                continue;
            }
            let problems = meta::dns_1035_label_problems(&name.to_lowercase());
            let mixed = |p: String| format!("may have mixed case, but should otherwise match: {p}");
            self.texts(&at, name, problems.into_iter().map(mixed).collect());
        }
        if !names.kind.is_empty() && names.kind == names.list_kind {
            let at = field::child(path, "listKind");
            self.errors.push(FieldError::invalid(
                at,
                names.list_kind.as_str(),
                "kind and listKind may not be the same",
            ));
        }
        for (field, list) in [("shortNames", &names.short_names), ("categories", &names.categories)] {
            for (i, name) in list.iter().enumerate() {
                self.label(&field::index(&field::child(path, field), i), name);
            }
        }
        names
    }

    fn label(&mut self, path: &str, name: &str) {
        if name.is_empty() {
            self.errors.push(FieldError::required(path, ""));
        } else {
            self.texts(path, name, meta::dns_1035_label_problems(name));
        }
    }

    fn scope(&mut self, spec: &Map<String, Value>) -> Option<Scope> {
        match text(spec, "scope") {
            "Namespaced" => Some(Scope::Namespaced),
            "Cluster" => Some(Scope::Cluster),
            "" => {
                self.errors.push(FieldError::required("spec.scope", ""));
                None
            }
            other => {
                self.errors.push(FieldError::not_supported(
                    "spec.scope",
                    other,
                    &["Cluster", "Namespaced"],
                ));
                None
            }
        }
    }

    fn conversion(&mut self, spec: &Map<String, Value>) {
        let strategy = spec.get("conversion").and_then(|c| c.get("strategy"));
        if let Some(other) = strategy.filter(|s| !s.is_null() && *s != "None") {
            self.errors.push(FieldError::not_supported(
                "spec.conversion.strategy",
                other.clone(),
                &["None"],
            ));
        }
    }

    fn versions(&mut self, spec: &Map<String, Value>, group: &str, kind: &str) -> Option<Vec<Version>> {
        let list = spec
            .get("versions")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        if list.is_empty() {
            self.errors
                .push(FieldError::invalid("spec.versions", json!([]), ONE_STORAGE_VERSION));
            return None;
        }
        let parsed: Vec<Option<Version>> = list
            .iter()
            .enumerate()
            .map(|(i, version)| self.version(list, i, version, group, kind))
            .collect();
        let names: Vec<&str> = list
            .iter()
            .map(|v| v.get("name").and_then(Value::as_str).unwrap_or(""))
            .collect();
        for (i, name) in names.iter().enumerate().filter(|(i, name)| names[..*i].contains(name)) {
            let at = field::child(&field::index("spec.versions", i), "name");
            self.errors.push(FieldError::duplicate(at, *name));
        }
        if list.iter().filter(|v| flag(v, "storage")).count() != 1 {
            self.errors
                .push(FieldError::invalid("spec.versions", json!(names), ONE_STORAGE_VERSION));
        }
        parsed.into_iter().collect()
    }

    fn version(&mut self, all: &[Value], i: usize, version: &Value, group: &str, kind: &str) -> Option<Version> {
        let path = field::index("spec.versions", i);
        let Some(map) = version.as_object() else {
            self.errors.push(FieldError::invalid(path, "", "must be an object"));
            return None;
        };
        let name = text(map, "name");
        self.label(&field::child(&path, "name"), name);
        let place = Place { all, path };
        let openapi = version
            .pointer("/schema/openAPIV3Schema")
            .filter(|schema| !schema.is_null());
        let schema = self.schema(&place, openapi);
        let columns = self.columns(&place, version);
        let selectable_fields = self.selectable_fields(&place, version, schema.as_ref());
        let scale = self.scale(&place, version);
        let warning = flag(version, "deprecated").then(|| match text(map, "deprecationWarning") {
            "" => format!("{group}/{name} {kind} is deprecated"),
            warning => warning.to_owned(),
        });
        Some(Version {
            name: name.to_owned(),
            served: flag(version, "served"),
            storage: flag(version, "storage"),
            deprecation_warning: warning,
            schema: Arc::new(schema?),
            openapi: openapi?.clone(),
            status_subresource: version.pointer("/subresources/status").is_some_and(Value::is_object),
            scale,
            columns,
            selectable_fields,
        })
    }

    fn schema(&mut self, place: &Place<'_>, openapi: Option<&Value>) -> Option<StructuralSchema> {
        let Some(openapi) = openapi else {
            let at = format!("{}.schema.openAPIV3Schema", place.path);
            self.errors.push(FieldError::required(at, ""));
            return None;
        };
        let path = place.shared("/schema", "spec.validation.openAPIV3Schema", "schema.openAPIV3Schema");
        let shared = path.starts_with("spec.validation");
        match StructuralSchema::from_openapi(openapi, &path) {
            Ok(schema) => Some(schema),
            Err(errors) => {
                // Versions that share a schema share its errors: they are said once.
                if !shared || place.is_first() {
                    self.errors.extend(errors);
                }
                None
            }
        }
    }

    fn columns(&mut self, place: &Place<'_>, version: &Value) -> Vec<TableColumn> {
        let list = version
            .get("additionalPrinterColumns")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        if list.is_empty() {
            return vec![TableColumn::age()];
        }
        let name = "additionalPrinterColumns";
        let path = place.shared("/additionalPrinterColumns", "spec.additionalPrinterColumns", name);
        list.iter()
            .enumerate()
            .filter_map(|(i, column)| self.column(&field::index(&path, i), column))
            .collect()
    }

    fn column(&mut self, path: &str, column: &Value) -> Option<TableColumn> {
        let part = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or("");
        for name in ["name", "type", "jsonPath"]
            .into_iter()
            .filter(|name| part(name).is_empty())
        {
            self.errors.push(FieldError::required(field::child(path, name), ""));
        }
        let column_type = ColumnType::parse(part("type"));
        if column_type.is_none() && !part("type").is_empty() {
            let types = ["integer", "number", "string", "boolean", "date"];
            self.errors.push(FieldError::not_supported(
                field::child(path, "type"),
                part("type"),
                &types,
            ));
        }
        let json_path = part("jsonPath");
        let compiled = JsonPath::path(json_path);
        if let (Err(e), false) = (&compiled, json_path.is_empty()) {
            let detail = format!("is an invalid JSON path: {e}");
            self.errors
                .push(FieldError::invalid(field::child(path, "jsonPath"), json_path, detail));
        }
        let description = match part("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {json_path}"),
            text => text.to_owned(),
        };
        let priority = column.get("priority").and_then(Value::as_i64).unwrap_or(0);
        let definition = ColumnDefinition {
            name: part("name").to_owned(),
            column_type: column_type?,
            format: part("format").to_owned(),
            description,
            priority: i32::try_from(priority).unwrap_or(0),
        };
        Some(TableColumn {
            definition,
            path: compiled.ok()?,
        })
    }

    fn selectable_fields(
        &mut self,
        place: &Place<'_>,
        version: &Value,
        schema: Option<&StructuralSchema>,
    ) -> Vec<SelectableField> {
        let list = version
            .get("selectableFields")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        if list.is_empty() {
            return Vec::new();
        }
        let path = place.shared("/selectableFields", "spec.selectableFields", "selectableFields");
        let Some(schema) = schema else {
            if version.pointer("/schema/openAPIV3Schema").is_none_or(Value::is_null) {
                self.errors.push(FieldError::invalid(
                    path,
                    "",
                    "may only be set when validations.schema is included",
                ));
            }
            return Vec::new();
        };
        if list.len() > MAX_SELECTABLE_FIELDS {
            self.errors.push(FieldError::too_many(
                path.as_str(),
                list.len() as u64,
                MAX_SELECTABLE_FIELDS as u64,
            ));
        }
        let mut fields: Vec<SelectableField> = Vec::new();
        for (i, entry) in list.iter().enumerate().take(MAX_SELECTABLE_FIELDS) {
            let at = field::child(&field::index(&path, i), "jsonPath");
            let json_path = entry.get("jsonPath").and_then(Value::as_str).unwrap_or("");
            match selectable_field(json_path, schema) {
                Ok(field) if fields.iter().any(|f| f.label == field.label) => {
                    self.errors.push(FieldError::duplicate(at, json_path));
                }
                Ok(field) => fields.push(field),
                Err("") => self.errors.push(FieldError::required(at, "")),
                Err(detail) => self.errors.push(FieldError::invalid(at, json_path, detail)),
            }
        }
        fields
    }

    fn scale(&mut self, place: &Place<'_>, version: &Value) -> Option<Scale> {
        let scale = version.pointer("/subresources/scale")?.as_object()?;
        let path = place.shared("/subresources", "spec.subresources.scale", "subresources.scale");
        let mut check = |name: &str, roots: &[&str], detail: &str, required: bool| {
            let value = text(scale, name);
            let at = field::child(&path, name);
            if value.is_empty() {
                if required {
                    self.errors.push(FieldError::required(at, ""));
                }
                return;
            }
            let fields = JsonPath::path(value)
                .ok()
                .and_then(|p| Some(p.simple_fields()?.first()?.to_string()));
            if !fields.is_some_and(|first| roots.contains(&first.as_str())) {
                self.errors.push(FieldError::invalid(at, value, detail));
            }
        };
        check("specReplicasPath", &["spec"], "should be a json path under .spec", true);
        check(
            "statusReplicasPath",
            &["status"],
            "should be a json path under .status",
            true,
        );
        check(
            "labelSelectorPath",
            &["spec", "status"],
            "should be a json path under either .spec or .status",
            false,
        );
        let selector = text(scale, "labelSelectorPath");
        Some(Scale {
            spec_replicas_path: text(scale, "specReplicasPath").to_owned(),
            status_replicas_path: text(scale, "statusReplicasPath").to_owned(),
            label_selector_path: (!selector.is_empty()).then(|| selector.to_owned()),
        })
    }
}

/// Where a version stands. What all versions have alike is named by the place that the API once had for it.
struct Place<'a> {
    all: &'a [Value],
    path: String,
}

impl Place<'_> {
    fn shared(&self, pointer: &str, common: &str, own: &str) -> String {
        let first = self.all[0].pointer(pointer);
        if self.all.iter().all(|v| v.pointer(pointer) == first) {
            common.to_owned()
        } else {
            field::child(&self.path, own)
        }
    }

    fn is_first(&self) -> bool {
        self.path == "spec.versions[0]"
    }
}

/// A field of one plain type outside of metadata; the error is what is wrong, empty for a missing path.
fn selectable_field(json_path: &str, schema: &StructuralSchema) -> Result<SelectableField, &'static str> {
    if json_path.is_empty() {
        return Err("");
    }
    if json_path.contains('[') {
        return Err("is an invalid path: array notation is not allowed");
    }
    let invalid = "is an invalid path: does not refer to a valid field";
    let path = JsonPath::path(json_path).map_err(|_| invalid)?;
    let fields = path
        .simple_fields()
        .filter(|fields| !fields.is_empty())
        .ok_or(invalid)?;
    if matches!(fields[0], "metadata" | "apiVersion" | "kind") {
        return Err(invalid);
    }
    match schema.field(fields.iter().copied()) {
        None => Err(invalid),
        Some(FieldType::Other) => Err(
            "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
        ),
        Some(_) => {
            let label = json_path.trim_start_matches(['$', '.']).to_owned();
            Ok(SelectableField { label, path })
        }
    }
}

impl Names {
    /// The names, nulls counting as absent; `None` when a field has the wrong type.
    fn deserialize_from(value: &Value) -> Option<Self> {
        let mut map = value.as_object()?.clone();
        map.retain(|_, value| !value.is_null());
        serde_json::from_value(Value::Object(map)).ok()
    }
}

fn text<'m>(map: &'m Map<String, Value>, name: &str) -> &'m str {
    map.get(name).and_then(Value::as_str).unwrap_or("")
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name) == Some(&Value::Bool(true))
}
