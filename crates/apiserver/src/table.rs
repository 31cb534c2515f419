//! Tables: what `kubectl get` prints.

use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::jsonpath::JsonPath;
use apimachinery::status::ListMeta;
use apimachinery::table::{ColumnDefinition, ColumnType, human_duration};
use jiff::Timestamp;

use crate::builtin::{self, Cell};
use crate::codec::Damaged;
use crate::registry::{Columns, Kept, Version};
use crate::render::{Include, write_json};

/// Appends a table up to the opening of its rows. Without columns the header is null, as in later events of a watch.
pub(crate) fn open(api_version: &str, metadata: &ListMeta, columns: Option<&Version>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"kind":"Table","apiVersion":"#);
    write_json(api_version, out);
    out.extend_from_slice(br#","metadata":"#);
    write_json(metadata, out);
    out.extend_from_slice(br#","columnDefinitions":"#);
    write_json(&columns.map(definitions), out);
    out.extend_from_slice(br#","rows":["#);
}

/// Appends the cells of an object's row.
pub(crate) fn write_cells(version: &Version, object: &Value<'_>, now: Timestamp, out: &mut Vec<u8>) {
    let core;
    let object = match version.kept {
        Kept::Own => object,
        Kept::CoreEvent => {
            let mut event = object.clone();
            ::kinds::events::to_core(&mut event);
            core = event;
            &core
        }
    };
    let mut cells = Vec::new();
    if !has_own_name(version) {
        cells.push(object["metadata"]["name"].clone());
    }
    match &version.columns {
        Columns::Custom(columns) => cells.extend(columns.iter().map(|column| column.cell(object, now))),
        Columns::Builtin(columns) => cells.extend(columns.iter().map(|(.., cell)| builtin_cell(*cell, object, now))),
    }
    write_json(&cells, out);
}

fn definitions(version: &Version) -> Vec<ColumnDefinition> {
    let name = (!has_own_name(version)).then(ColumnDefinition::name);
    let rest: Vec<ColumnDefinition> = match &version.columns {
        Columns::Custom(columns) => columns.iter().map(|column| column.definition.clone()).collect(),
        Columns::Builtin(columns) => columns.iter().map(builtin_definition).collect(),
    };
    name.into_iter().chain(rest).collect()
}

/// Whether the name has its place among the other columns: everywhere else it comes first.
fn has_own_name(version: &Version) -> bool {
    matches!(&version.columns, Columns::Builtin(columns) if columns.iter().any(|(name, ..)| *name == "Name"))
}

fn builtin_definition((name, kind, priority, _): &builtin::Column) -> ColumnDefinition {
    let column_type = match *kind {
        "date" => ColumnType::Date,
        "integer" => ColumnType::Integer,
        "boolean" => ColumnType::Boolean,
        _ => ColumnType::String,
    };
    ColumnDefinition {
        name: (*name).to_owned(),
        column_type,
        format: if *name == "Name" {
            "name".to_owned()
        } else {
            String::new()
        },
        description: String::new(),
        priority: i32::from(*priority),
    }
}

fn builtin_cell(cell: Cell, object: &Value<'_>, now: Timestamp) -> Value<'static> {
    let at = |path: &[&str]| path.iter().try_fold(object, |value, name| value.get(name));
    let text = |path: &[&str]| at(path).and_then(Value::as_str).unwrap_or_default();
    match cell {
        Cell::At(path) => at(path).map_or_else(|| "".into(), |found| found.clone().into_owned()),
        Cell::Or(path, other) => match at(path) {
            None | Some(Value::Null) => other.into(),
            Some(Value::String(text)) if text.is_empty() => other.into(),
            Some(found) => found.as_str().map_or_else(|| found.to_string(), str::to_owned).into(),
        },
        Cell::NumberOr(path, other) => match at(path).and_then(Value::as_i64) {
            Some(number) => number.into(),
            None => other.into(),
        },
        Cell::Number(path) => at(path).and_then(Value::as_i64).unwrap_or_default().into(),
        Cell::Made(make) => make(object, now),
        Cell::Since(paths) => {
            let since = paths.iter().find_map(|path| text(path).parse::<Timestamp>().ok());
            json!(since.map_or_else(
                || "<unknown>".to_owned(),
                |since| human_duration(now.as_second() - since.as_second())
            ))
        }
        Cell::Count(names) => json!(
            names
                .iter()
                .filter_map(|name| object.get(name)?.as_object())
                .map(Map::len)
                .sum::<usize>()
        ),
        Cell::Involved => {
            let kind = text(&["involvedObject", "kind"]).to_lowercase();
            let name = text(&["involvedObject", "name"]);
            json!(if name.is_empty() {
                kind
            } else {
                format!("{kind}/{name}")
            })
        }
        Cell::Source => {
            let mut parts = [text(&["source", "component"]), text(&["source", "host"])];
            if parts[0].is_empty() {
                parts = [text(&["reportingComponent"]), text(&["reportingInstance"])];
            }
            json!(
                parts
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}

/// The table of a Scale, which is given as JSON.
pub(crate) fn of_scale(api_version: &str, scale: &[u8], include: Include) -> Result<Vec<u8>, Damaged> {
    let scale: serde_json::Value = serde_json::from_slice(scale).map_err(|_| Damaged)?;
    let column = |name: &str, column_type, description: &str| ColumnDefinition {
        name: name.to_owned(),
        column_type,
        format: String::new(),
        description: description.to_owned(),
        priority: 0,
    };
    let columns = [
        ColumnDefinition::name(),
        column("Desired", ColumnType::Integer, "How many are wanted."),
        column("Available", ColumnType::Integer, "How many there are."),
        column("Age", ColumnType::String, "Time since the object was created."),
    ];
    let metadata = &scale["metadata"];
    let created = metadata["creationTimestamp"].as_str().unwrap_or_default();
    let count = |part: &str| scale[part]["replicas"].as_i64().unwrap_or_default();
    let age = apimachinery::table::age(created, Timestamp::now());
    let object = match include {
        Include::Object => scale.clone(),
        Include::Metadata => {
            serde_json::json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata})
        }
        Include::Nothing => serde_json::Value::Null,
    };
    let table = serde_json::json!({
        "kind": "Table", "apiVersion": api_version, "metadata": {"resourceVersion": metadata["resourceVersion"]},
        "columnDefinitions": columns,
        "rows": [{"cells": [metadata["name"], count("spec"), count("status"), age], "object": object}],
    });
    Ok(table.to_string().into_bytes())
}

/// The value at a path of a definition (scale), if it is there.
pub(crate) fn at_path<'v, 't>(path: &str, object: &'v Value<'t>) -> Option<&'v Value<'t>> {
    JsonPath::path(path).ok()?.first_value(object)
}
