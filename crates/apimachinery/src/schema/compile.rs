//! From `openAPIV3Schema` to [`Node`]s.

use serde_json::{Map, Number, Value};

use super::format::Format;
use super::pattern::Pattern;
use super::{
    Additional, Bound, Branches, JsonType, ListType, MapType, Node, Place, Resource, Rules, fill, prune, structure,
    validate,
};
use crate::field::{self, FieldError};
use crate::json;

/// Most patterns in one schema: each may take memory.
const MAX_PATTERNS: usize = 1000;

/// Where a schema stands, which decides what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    /// A property, or the values of a map.
    Field,
    /// The items of a list.
    Item,
    /// Inside `allOf`, `anyOf`, `oneOf` or `not`.
    Branch {
        /// Whether the field takes integers or strings: then a branch may name these types.
        int_or_string: bool,
    },
}

pub(super) fn compile(schema: &Value, path: &str) -> Result<Node, Vec<FieldError>> {
    let mut compiler = Compiler {
        errors: Vec::new(),
        patterns: 0,
    };
    let mut root = compiler.node(schema, path, Level::Root);
    root.resource = Some(Resource::Root);
    root.defaulted
        .retain(|name| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    if compiler.errors.is_empty() {
        Ok(root)
    } else {
        Err(compiler.errors)
    }
}

struct Compiler {
    errors: Vec<FieldError>,
    patterns: usize,
}

impl Compiler {
    fn node(&mut self, schema: &Value, path: &str, level: Level) -> Node {
        let Some(map) = schema.as_object() else {
            self.errors
                .push(FieldError::invalid(path, "", "must be a schema object"));
            return Node::default();
        };
        let mut node = Node {
            json_type: self.json_type(map, path),
            int_or_string: self.flag(map, path, "x-kubernetes-int-or-string"),
            preserve_unknown: self.flag(map, path, "x-kubernetes-preserve-unknown-fields"),
            nullable: self.flag(map, path, "nullable"),
            rules: self.rules(map, path),
            ..Node::default()
        };
        if self.flag(map, path, "x-kubernetes-embedded-resource") {
            node.resource = Some(Resource::Embedded);
        }
        self.children(&mut node, map, path, level);
        node.list_type = self.list_type(map, path);
        if map.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic") {
            node.map_type = MapType::Atomic;
        }
        node.branches = self.branches(&node, map, path);
        structure::check(&node, map, level, path, &mut self.errors);
        node.has_unique_lists = node.list_type != ListType::Atomic
            || node.items.as_ref().is_some_and(|n| n.has_unique_lists)
            || node.properties.values().any(|n| n.has_unique_lists)
            || matches!(&node.additional, Additional::Schema(n) if n.has_unique_lists);
        node.default = self.default(&node, map, path, level);
        node
    }

    fn json_type(&mut self, map: &Map<String, Value>, path: &str) -> Option<JsonType> {
        let at = || field::child(path, "type");
        match self.text(map, path, "type")? {
            "" => None,
            "null" => {
                self.errors.push(FieldError::forbidden(
                    at(),
                    "type cannot be set to null, use nullable as an alternative",
                ));
                None
            }
            name => {
                let found = JsonType::parse(name);
                if found.is_none() {
                    let types = ["array", "boolean", "integer", "number", "object", "string"];
                    self.errors.push(FieldError::not_supported(at(), name, &types));
                }
                found
            }
        }
    }

    fn children(&mut self, node: &mut Node, map: &Map<String, Value>, path: &str, level: Level) {
        let field_level = if matches!(level, Level::Branch { .. }) {
            level
        } else {
            Level::Field
        };
        if let Some(properties) = map.get("properties").filter(|p| !p.is_null()) {
            let at = field::child(path, "properties");
            match properties.as_object() {
                Some(properties) => {
                    for (name, schema) in properties {
                        let child = self.node(schema, &field::key(&at, name), field_level);
                        if child.default.is_some() {
                            node.defaulted.push(name.clone());
                        }
                        node.properties.insert(name.clone(), Place::own(child));
                    }
                }
                None => self
                    .errors
                    .push(FieldError::invalid(at, "", "must be an object of schemas")),
            }
        }
        match map.get("items") {
            None | Some(Value::Null) => {}
            Some(Value::Array(_)) => self.errors.push(FieldError::forbidden(
                field::child(path, "items"),
                "items must be a schema object and not an array",
            )),
            Some(schema) => {
                let level = if matches!(level, Level::Branch { .. }) {
                    level
                } else {
                    Level::Item
                };
                let items = self.node(schema, &field::child(path, "items"), level);
                node.items = Some(Place::own(items));
            }
        }
        match map.get("additionalProperties") {
            None | Some(Value::Null) => {}
            Some(Value::Bool(true)) => node.additional = Additional::Any,
            Some(Value::Bool(false)) => self.errors.push(FieldError::forbidden(
                field::child(path, "additionalProperties"),
                "additionalProperties cannot be set to false",
            )),
            Some(schema) => {
                let child = self.node(schema, &field::child(path, "additionalProperties"), field_level);
                node.additional = Additional::Schema(Place::own(child));
            }
        }
    }

    fn rules(&mut self, map: &Map<String, Value>, path: &str) -> Rules {
        Rules {
            required: self.texts(map, path, "required"),
            allowed: self
                .list(map, path, "enum")
                .map(|list| list.iter().cloned().map(json::Value::from).collect()),
            minimum: self.bound(map, path, "minimum", "exclusiveMinimum"),
            maximum: self.bound(map, path, "maximum", "exclusiveMaximum"),
            multiple_of: self.multiple_of(map, path),
            min_length: self.count(map, path, "minLength"),
            max_length: self.count(map, path, "maxLength"),
            pattern: self.pattern(map, path),
            format: self.text(map, path, "format").and_then(Format::parse),
            min_items: self.count(map, path, "minItems"),
            max_items: self.count(map, path, "maxItems"),
            min_properties: self.count(map, path, "minProperties"),
            max_properties: self.count(map, path, "maxProperties"),
        }
    }

    fn bound(&mut self, map: &Map<String, Value>, path: &str, name: &str, exclusive: &str) -> Option<Bound> {
        let exclusive = self.flag(map, path, exclusive);
        self.number(map, path, name).map(|limit| Bound { limit, exclusive })
    }

    fn multiple_of(&mut self, map: &Map<String, Value>, path: &str) -> Option<Number> {
        let factor = self.number(map, path, "multipleOf")?;
        if factor.as_f64().is_some_and(|f| f > 0.0) {
            return Some(factor);
        }
        self.errors.push(FieldError::invalid(
            field::child(path, "multipleOf"),
            Value::Number(factor),
            "must be greater than 0",
        ));
        None
    }

    fn pattern(&mut self, map: &Map<String, Value>, path: &str) -> Option<Pattern> {
        let text = self.text(map, path, "pattern").filter(|text| !text.is_empty())?;
        let at = field::child(path, "pattern");
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            if self.patterns == MAX_PATTERNS + 1 {
                self.errors.push(FieldError::forbidden(
                    at,
                    format!("a schema may have at most {MAX_PATTERNS} patterns"),
                ));
            }
            return None;
        }
        Pattern::new(text)
            .map_err(|why| {
                let detail = format!("must be a valid regular expression, but isn't: {why}");
                self.errors.push(FieldError::invalid(at, text, detail));
            })
            .ok()
    }

    fn list_type(&mut self, map: &Map<String, Value>, path: &str) -> ListType {
        let keys = self.texts(map, path, "x-kubernetes-list-map-keys");
        match self.text(map, path, "x-kubernetes-list-type") {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(keys),
            None | Some("atomic") => ListType::Atomic,
            Some(other) => {
                let at = field::child(path, "x-kubernetes-list-type");
                self.errors
                    .push(FieldError::not_supported(at, other, &["atomic", "map", "set"]));
                ListType::Atomic
            }
        }
    }

    fn branches(&mut self, node: &Node, map: &Map<String, Value>, path: &str) -> Option<Box<Branches>> {
        let level = Level::Branch {
            int_or_string: node.int_or_string,
        };
        let mut branches = Branches {
            all_of: self.branch_list(map, path, "allOf", level),
            any_of: self.branch_list(map, path, "anyOf", level),
            one_of: self.branch_list(map, path, "oneOf", level),
            not: None,
        };
        if let Some(schema) = map.get("not").filter(|schema| !schema.is_null()) {
            branches.not = Some(self.node(schema, &field::child(path, "not"), level));
        }
        let empty = branches.all_of.is_empty() && branches.any_of.is_empty() && branches.one_of.is_empty();
        (!empty || branches.not.is_some()).then(|| Box::new(branches))
    }

    fn branch_list(&mut self, map: &Map<String, Value>, path: &str, name: &str, level: Level) -> Vec<Node> {
        let schemas = self.list(map, path, name).unwrap_or_default();
        let at = field::child(path, name);
        schemas
            .iter()
            .enumerate()
            .map(|(i, schema)| self.node(schema, &field::index(&at, i), level))
            .collect()
    }

    /// The default, complete with the defaults inside it. It must be an object that the schema accepts as it is.
    fn default(
        &mut self,
        node: &Node,
        map: &Map<String, Value>,
        path: &str,
        level: Level,
    ) -> Option<json::Value<'static>> {
        let given = map.get("default").filter(|value| !value.is_null() || node.nullable)?;
        if matches!(level, Level::Branch { .. }) {
            return None;
        }
        let at = field::child(path, "default");
        let mut default = json::Value::from(given.clone());
        if !prune::prune(node, &mut default).is_empty() {
            self.errors.push(FieldError::invalid(
                at,
                "",
                "must not contain fields that the schema does not specify",
            ));
            return None;
        }
        fill::fill(node, &mut default, fill::Nulls::Dropped);
        for error in validate::validate(node, &default) {
            let at = if error.path == "<nil>" {
                at.clone()
            } else {
                field::child(&at, &error.path)
            };
            self.errors.push(FieldError { path: at, ..error });
        }
        Some(default)
    }

    fn text<'m>(&mut self, map: &'m Map<String, Value>, path: &str, name: &str) -> Option<&'m str> {
        let value = present(map, name)?;
        self.expect(value.as_str(), path, name, "must be a string")
    }

    fn flag(&mut self, map: &Map<String, Value>, path: &str, name: &str) -> bool {
        present(map, name)
            .and_then(|value| self.expect(value.as_bool(), path, name, "must be a boolean"))
            .unwrap_or(false)
    }

    fn number(&mut self, map: &Map<String, Value>, path: &str, name: &str) -> Option<Number> {
        let value = present(map, name)?;
        self.expect(value.as_number().cloned(), path, name, "must be a number")
    }

    fn count(&mut self, map: &Map<String, Value>, path: &str, name: &str) -> Option<u64> {
        let value = present(map, name)?;
        self.expect(value.as_u64(), path, name, "must be an integer that is not negative")
    }

    fn list<'m>(&mut self, map: &'m Map<String, Value>, path: &str, name: &str) -> Option<&'m [Value]> {
        let value = present(map, name)?;
        self.expect(value.as_array().map(Vec::as_slice), path, name, "must be a list")
    }

    fn texts(&mut self, map: &Map<String, Value>, path: &str, name: &str) -> Vec<String> {
        let list = self.list(map, path, name).unwrap_or_default();
        let texts: Option<Vec<String>> = list.iter().map(|v| v.as_str().map(str::to_owned)).collect();
        self.expect(texts, path, name, "must be a list of strings")
            .unwrap_or_default()
    }

    fn expect<T>(&mut self, found: Option<T>, path: &str, name: &str, rule: &str) -> Option<T> {
        if found.is_none() {
            self.errors
                .push(FieldError::invalid(field::child(path, name), "", rule));
        }
        found
    }
}

/// A keyword that is there and not null.
fn present<'m>(map: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    map.get(name).filter(|value| !value.is_null())
}
