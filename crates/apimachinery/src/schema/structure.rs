//! The rules that make a schema structural: each place says its type, and branches only add conditions.

use serde_json::{Map, Value};

use super::compile::Level;
use super::{Additional, Branches, JsonType, ListType, Node, Resource};
use crate::field::{self, FieldError};

pub(super) fn check(node: &Node, map: &Map<String, Value>, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let mut rules = Checker {
        node,
        map,
        path,
        errors,
    };
    rules.unsupported_keywords();
    if let Level::Branch { int_or_string } = level {
        return rules.branch_keywords(int_or_string);
    }
    rules.type_is_given(level);
    rules.children();
    rules.metadata(level);
    rules.lists();
    rules.maps();
    if let Some(branches) = &node.branches {
        complete_branches(branches, node, path, path, errors);
    }
}

struct Checker<'a> {
    node: &'a Node,
    map: &'a Map<String, Value>,
    path: &'a str,
    errors: &'a mut Vec<FieldError>,
}

impl Checker<'_> {
    fn at(&self, name: &str) -> String {
        field::child(self.path, name)
    }

    fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    fn is_true(&self, name: &str) -> bool {
        self.map.get(name) == Some(&Value::Bool(true))
    }

    fn forbid(&mut self, when: bool, name: &str, detail: &str) {
        if when {
            self.errors.push(FieldError::forbidden(self.at(name), detail));
        }
    }

    fn require(&mut self, when: bool, name: &str, detail: &str) {
        if when {
            self.errors.push(FieldError::required(self.at(name), detail));
        }
    }

    /// The type must be `wanted`, whatever the reason for it.
    fn require_type(&mut self, wanted: JsonType, reason: &str) {
        if self.node.json_type != Some(wanted) {
            let found = self.node.json_type.map_or("", JsonType::name);
            let detail = format!("must be {} {reason}", wanted.name());
            self.errors.push(FieldError::invalid(
                self.at("type"),
                found,
                detail.trim_end().to_owned(),
            ));
        }
    }

    fn unsupported_keywords(&mut self) {
        for name in [
            "$ref",
            "id",
            "additionalItems",
            "patternProperties",
            "definitions",
            "dependencies",
        ] {
            self.forbid(self.has(name), name, &format!("{name} is not supported"));
        }
        self.forbid(
            self.is_true("uniqueItems"),
            "uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
        let rules = self.map.get("x-kubernetes-validations").and_then(Value::as_array);
        self.forbid(
            rules.is_some_and(|rules| !rules.is_empty()),
            "x-kubernetes-validations",
            "validation rules (CEL) are not supported by this server",
        );
        let both = !self.node.properties.is_empty() && !matches!(self.node.additional, Additional::None);
        self.forbid(
            both,
            "additionalProperties",
            "additionalProperties and properties are mutual exclusive",
        );
        if self.map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let at = self.at("x-kubernetes-preserve-unknown-fields");
            self.errors
                .push(FieldError::invalid(at, false, "must be true or undefined"));
        }
    }

    /// Branches hold conditions only.
    fn branch_keywords(&mut self, int_or_string: bool) {
        let named = self.node.json_type.is_some();
        let allowed = int_or_string && matches!(self.node.json_type, Some(JsonType::Integer | JsonType::String));
        self.forbid(named && !allowed, "type", "must be empty to be structural");
        for name in ["title", "description"] {
            let filled = self
                .map
                .get(name)
                .and_then(Value::as_str)
                .is_some_and(|text| !text.is_empty());
            self.forbid(filled, name, "must be empty to be structural");
        }
        self.forbid(self.has("default"), "default", "must be undefined to be structural");
        self.forbid(
            self.has("additionalProperties"),
            "additionalProperties",
            "must be undefined to be structural",
        );
        self.forbid(self.is_true("nullable"), "nullable", "must be false to be structural");
        for name in [
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
        ] {
            self.forbid(self.is_true(name), name, "must be false to be structural");
        }
        for name in [
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-map-type",
        ] {
            self.forbid(self.has(name), name, "must be undefined to be structural");
        }
    }

    fn type_is_given(&mut self, level: Level) {
        let node = self.node;
        if node.int_or_string {
            self.forbid(
                node.json_type.is_some(),
                "type",
                "must be empty if x-kubernetes-int-or-string is true",
            );
        } else if node.resource.is_some() {
            self.require_type(JsonType::Object, "if x-kubernetes-embedded-resource is true");
        } else if node.json_type.is_none() && !node.preserve_unknown {
            let detail = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field | Level::Branch { .. } => "must not be empty for specified object fields",
            };
            self.require(true, "type", detail);
        }
        if level == Level::Root && node.json_type.is_some() {
            self.require_type(JsonType::Object, "at the root");
        }
    }

    fn children(&mut self) {
        let node = self.node;
        let embedded = node.resource == Some(Resource::Embedded);
        let additional = !matches!(node.additional, Additional::None);
        self.forbid(
            embedded && additional,
            "additionalProperties",
            "must not be used if x-kubernetes-embedded-resource is set",
        );
        self.require(
            embedded && !node.preserve_unknown && node.properties.is_empty(),
            "properties",
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }

    /// `apiVersion`, `kind` and `metadata` may be named, but say no more than the API says.
    fn metadata(&mut self, level: Level) {
        if level != Level::Root && self.node.resource.is_none() {
            return;
        }
        let properties = self.at("properties");
        for (name, wanted) in [
            ("apiVersion", JsonType::String),
            ("kind", JsonType::String),
            ("metadata", JsonType::Object),
        ] {
            let Some(child) = self
                .node
                .properties
                .get(name)
                .filter(|child| child.json_type != Some(wanted))
            else {
                continue;
            };
            let at = field::child(&field::key(&properties, name), "type");
            let found = child.json_type.map_or("", JsonType::name);
            self.errors
                .push(FieldError::invalid(at, found, format!("must be {}", wanted.name())));
        }
        let Some(metadata) = self.node.properties.get("metadata") else {
            return;
        };
        let at = field::child(&field::key(&properties, "metadata"), "properties");
        for name in metadata
            .properties
            .keys()
            .filter(|name| !matches!(name.as_str(), "name" | "generateName"))
        {
            self.errors.push(FieldError::forbidden(
                field::key(&at, name),
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            ));
        }
    }

    fn lists(&mut self) {
        let is_map = matches!(self.node.list_type, ListType::Map(_));
        if self.has("x-kubernetes-list-type") {
            self.require_type(JsonType::Array, "if x-kubernetes-list-type is specified");
        }
        self.forbid(
            !is_map && self.has("x-kubernetes-list-map-keys"),
            "x-kubernetes-list-map-keys",
            "must be empty if x-kubernetes-list-type is not map",
        );
        if self.node.list_type == ListType::Atomic {
            return;
        }
        let Some(items) = self.node.items.as_deref() else {
            let detail = "must have a schema if x-kubernetes-list-type is map or set";
            return self.require(true, "items", detail);
        };
        self.forbid(
            items.nullable,
            "items.nullable",
            "cannot be nullable when x-kubernetes-list-type is set or map",
        );
        match &self.node.list_type {
            ListType::Map(keys) => self.map_keys(keys, items),
            _ => self.set_items(items),
        }
    }

    fn map_keys(&mut self, keys: &[String], items: &Node) {
        const KEYS: &str = "x-kubernetes-list-map-keys";
        self.require(
            keys.is_empty(),
            KEYS,
            "must not be empty if x-kubernetes-list-type is map",
        );
        if items.json_type != Some(JsonType::Object) {
            let found = items.json_type.map_or("", JsonType::name);
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            self.errors
                .push(FieldError::invalid(self.at("items.type"), found, detail));
        }
        for (i, key) in keys.iter().enumerate() {
            let at = field::index(&self.at(KEYS), i);
            if keys[..i].contains(key) {
                self.errors.push(FieldError::duplicate(at, key.as_str()));
                continue;
            }
            let Some(property) = items.properties.get(key) else {
                self.errors.push(FieldError::invalid(
                    at,
                    key.as_str(),
                    "entries must all be names of item properties",
                ));
                continue;
            };
            let place = field::key(&self.at("items.properties"), key);
            if !is_scalar(property) {
                let found = property.json_type.map_or("", JsonType::name);
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.errors
                    .push(FieldError::invalid(field::child(&place, "type"), found, detail));
            }
            if property.default.is_none() && !items.rules.required.contains(key) {
                self.errors.push(FieldError::required(
                    field::child(&place, "default"),
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                ));
            }
        }
    }

    /// Items of a set are compared whole.
    fn set_items(&mut self, items: &Node) {
        let schema = self.map.get("items");
        let says = |name: &str, value: &str| schema.and_then(|s| s.get(name)).and_then(Value::as_str) == Some(value);
        let (name, atomic) = match items.json_type {
            Some(JsonType::Object) => ("items.x-kubernetes-map-type", says("x-kubernetes-map-type", "atomic")),
            Some(JsonType::Array) => ("items.x-kubernetes-list-type", items.list_type == ListType::Atomic),
            _ => return,
        };
        if !atomic {
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            self.errors.push(FieldError::invalid(self.at(name), "", detail));
        }
    }

    fn maps(&mut self) {
        const NAME: &str = "x-kubernetes-map-type";
        let Some(map_type) = self.map.get(NAME).filter(|v| !v.is_null()) else {
            return;
        };
        if !matches!(map_type.as_str(), Some("atomic" | "granular")) {
            let at = self.at(NAME);
            self.errors
                .push(FieldError::not_supported(at, map_type.clone(), &["atomic", "granular"]));
        }
        self.require_type(JsonType::Object, "if x-kubernetes-map-type is specified");
    }
}

fn is_scalar(node: &Node) -> bool {
    node.int_or_string || !matches!(node.json_type, None | Some(JsonType::Object | JsonType::Array))
}

/// Whatever a branch names must be named outside of it, too.
fn complete_branches(branches: &Branches, outer: &Node, outer_path: &str, path: &str, errors: &mut Vec<FieldError>) {
    let lists = [
        ("allOf", &branches.all_of),
        ("anyOf", &branches.any_of),
        ("oneOf", &branches.one_of),
    ];
    for (name, list) in lists {
        for (i, branch) in list.iter().enumerate() {
            complete(
                branch,
                Some(outer),
                outer_path,
                &field::index(&field::child(path, name), i),
                errors,
            );
        }
    }
    if let Some(branch) = &branches.not {
        complete(branch, Some(outer), outer_path, &field::child(path, "not"), errors);
    }
}

fn complete(branch: &Node, outer: Option<&Node>, outer_path: &str, path: &str, errors: &mut Vec<FieldError>) {
    let Some(outer) = outer else {
        errors.push(FieldError::required(
            outer_path,
            format!("because it is defined in {path}"),
        ));
        return;
    };
    if let Some(branches) = &branch.branches {
        complete_branches(branches, outer, outer_path, path, errors);
    }
    for (name, child) in &branch.properties {
        let within = |path: &str| field::key(&field::child(path, "properties"), name);
        complete(
            child,
            outer.properties.get(name).map(|place| &**place),
            &within(outer_path),
            &within(path),
            errors,
        );
    }
    if let Some(items) = &branch.items {
        let within = |path: &str| field::child(path, "items");
        complete(
            items,
            outer.items.as_deref(),
            &within(outer_path),
            &within(path),
            errors,
        );
    }
}
