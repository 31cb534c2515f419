//! Reads the lines of the data. They are part of the program, so what is not understood is a mistake of the program that a
//! test finds; it is left out rather than told.

use std::sync::OnceLock;

use apimachinery::schema::{ListType, MapType, Patch};

use crate::data::Package;
use crate::facts::{Field, Kind, Shape, Subresource, Type, TypeRef};

/// The name of the type whose lines these are.
pub(crate) fn type_name(lines: &'static str) -> &'static str {
    lines.split_ascii_whitespace().nth(1).unwrap_or_default()
}

/// Reads a type.
pub(crate) fn read_type(package: &'static Package, lines: &'static str) -> Type {
    let mut lines = lines.lines();
    let mut head = lines.next().unwrap_or_default().split(' ').skip(1);
    let name = head.next().unwrap_or_default();
    let map_type = head.find_map(|word| word.strip_prefix("map=")).and_then(map_type);
    Type {
        package,
        name,
        map_type: map_type.unwrap_or_default(),
        own: lines.map(|line| field(package.name, line.trim_start())).collect(),
        fields: OnceLock::new(),
        schema: OnceLock::new(),
    }
}

fn field(package: &'static str, line: &'static str) -> Field {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (name, number, shape_word) = (next(), next(), next());
    let mut field = Field {
        name: if name == "+" { "" } else { name },
        number: number.parse().unwrap_or_default(),
        shape: shape(package, shape_word),
        pointer: false,
        omit_empty: false,
        omit_zero: false,
        required: false,
        default: None,
        list_type: None,
        map_type: None,
        patch: Patch::default(),
        values: Vec::new(),
        format: None,
    };
    for word in words {
        add(&mut field, word);
    }
    field
}

fn add(field: &mut Field, word: &'static str) {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    match name {
        "pointer" => field.pointer = true,
        "omitempty" => field.omit_empty = true,
        "omitzero" => field.omit_zero = true,
        "required" => field.required = true,
        "default" => field.default = Some(value),
        "list" => {
            field.list_type = Some(match value {
                "set" => ListType::Set,
                "map" => ListType::Map(Vec::new()),
                _ => ListType::Atomic,
            });
        }
        "keys" => field.list_type = Some(ListType::Map(value.split(',').map(str::to_owned).collect())),
        "map" => field.map_type = map_type(value),
        "patchStrategy" => {
            for strategy in value.split(',') {
                match strategy {
                    "merge" => field.patch.merge = true,
                    "retainKeys" => field.patch.retain_keys = true,
                    _ => field.patch.replace = true,
                }
            }
        }
        "patchMergeKey" => field.patch.merge_key = Some(value),
        "enum" => field.values = value.split('|').collect(),
        "format" => field.format = Some(value),
        _ => {}
    }
}

fn map_type(word: &str) -> Option<MapType> {
    match word {
        "atomic" => Some(MapType::Atomic),
        "granular" => Some(MapType::Granular),
        _ => None,
    }
}

fn shape(package: &'static str, word: &'static str) -> Shape {
    if let Some(inner) = word.strip_prefix("[]") {
        return Shape::List(Box::new(shape(package, inner)));
    }
    if let Some(inner) = word.strip_prefix("[*]") {
        return Shape::WrappedList(Box::new(shape(package, inner)));
    }
    if let Some(inner) = word.strip_prefix("{}") {
        return Shape::Map(Box::new(shape(package, inner)));
    }
    if let Some(name) = word.strip_prefix('@') {
        let (in_package, name) = name.rsplit_once('.').unwrap_or((package, name));
        return Shape::Object(TypeRef::new(in_package, name));
    }
    match word {
        "string" => Shape::Text,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "float64" => Shape::Float64,
        "bytes" => Shape::Bytes,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "quantity" => Shape::Quantity,
        "intorstring" => Shape::IntOrString,
        "fields" => Shape::Fields,
        "json" => Shape::Json,
        "schemaorarray" => Shape::SchemaOrArray,
        "schemaorbool" => Shape::SchemaOrBool,
        "schemaorstrings" => Shape::SchemaOrStrings,
        _ => Shape::Raw,
    }
}

/// The kinds that the head of a package tells of.
pub(crate) fn kinds(package: &'static str, head: impl Iterator<Item = &'static str>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    let mut parts: Vec<(&'static str, Subresource)> = Vec::new();
    let mut at = ("", "");
    for line in head {
        let mut words = line.split(' ');
        match words.next() {
            Some("group") => at = group_version(words.next().unwrap_or_default()),
            Some("kind") => kinds.push(kind(package, at, words)),
            Some("sub") => parts.extend(subresource(at, words)),
            _ => {}
        }
    }
    for kind in &mut kinds {
        let own = parts.extract_if(.., |(plural, _)| *plural == kind.plural);
        kind.subresources = leak(own.map(|(_, part)| part).collect());
    }
    kinds
}

/// What is kept for good: there is a fixed number of kinds, which are read once.
fn leak<T>(list: Vec<T>) -> &'static [T] {
    if list.is_empty() {
        &[]
    } else {
        Box::leak(list.into_boxed_slice())
    }
}

fn group_version(text: &'static str) -> (&'static str, &'static str) {
    text.split_once('/').unwrap_or(("", text))
}

fn list(text: &'static str) -> &'static [&'static str] {
    leak(text.split(',').filter(|word| !word.is_empty()).collect())
}

fn kind(package: &'static str, at: (&'static str, &'static str), mut words: std::str::Split<'static, char>) -> Kind {
    let mut next = || words.next().unwrap_or_default();
    let (plural, name, singular, scope, verbs) = (next(), next(), next(), next(), next());
    let mut kind = Kind {
        group: at.0,
        version: at.1,
        kind: name,
        plural,
        singular,
        namespaced: scope == "Namespaced",
        verbs: list(verbs),
        short_names: &[],
        categories: &[],
        subresources: &[],
        object: TypeRef::new(package, name),
    };
    for word in words {
        match word.split_once('=') {
            Some(("short", names)) => kind.short_names = list(names),
            Some(("categories", names)) => kind.categories = list(names),
            _ => {}
        }
    }
    kind
}

fn subresource(
    at: (&'static str, &'static str),
    mut words: std::str::Split<'static, char>,
) -> Option<(&'static str, Subresource)> {
    let (plural, name) = words.next()?.split_once('/')?;
    let (kind, verbs) = (words.next()?, words.next()?);
    let (group_version_of, kind) = kind.rsplit_once('/').unwrap_or(("", kind));
    let (group, version) = if group_version_of.is_empty() {
        at
    } else {
        group_version(group_version_of)
    };
    let part = Subresource {
        name,
        kind: (group, version, kind),
        verbs: list(verbs),
    };
    Some((plural, part))
}
