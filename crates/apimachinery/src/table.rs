//! Tables: what `kubectl get` shows, computed by the server.

use crate::go;
use crate::json::Value;
use crate::jsonpath::JsonPath;
use crate::meta;
use crate::status::ListMeta;
use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// Type of a column's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Text; other values are shown as text, lists and objects as JSON.
    String,
    /// Whole number.
    Integer,
    /// Number.
    Number,
    /// Boolean.
    Boolean,
    /// Time, shown as an age.
    Date,
}

impl ColumnType {
    /// The type of a printer column's `type`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            _ => return None,
        })
    }
}

/// One of a table's `columnDefinitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDefinition {
    /// The heading.
    pub name: String,
    /// The type of its cells.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// `name` for the first column, else the format that a printer column names, or nothing.
    pub format: String,
    /// For people.
    pub description: String,
    /// 0: always shown; greater: only in wide output.
    pub priority: i32,
}

impl ColumnDefinition {
    /// The first column of every table.
    pub fn name() -> Self {
        Self {
            name: "Name".to_owned(),
            column_type: ColumnType::String,
            format: "name".to_owned(),
            description: "Name must be unique within a namespace.".to_owned(),
            priority: 0,
        }
    }
}

/// A column whose cells a path finds.
#[derive(Debug, Clone, PartialEq)]
pub struct TableColumn {
    /// What clients see of it.
    pub definition: ColumnDefinition,
    /// Where the cell's value stands.
    pub path: JsonPath,
}

impl TableColumn {
    /// The column of resources that name none: their age.
    pub fn age() -> Self {
        Self {
            definition: ColumnDefinition {
                name: "Age".to_owned(),
                column_type: ColumnType::Date,
                format: String::new(),
                description: "Time since the object was created.".to_owned(),
                priority: 0,
            },
            path: JsonPath::path(".metadata.creationTimestamp").expect("a path of plain fields"),
        }
    }

    /// The cell of an object: null when nothing is found or the type is another. Ages are counted up to `now`.
    pub fn cell(&self, object: &Value<'_>, now: Timestamp) -> Value<'static> {
        let Some(value) = self.path.first_value(object).filter(|value| !value.is_null()) else {
            return Value::Null;
        };
        match (self.definition.column_type, value) {
            (ColumnType::String, value) => Value::from(go::text(value)),
            (ColumnType::Integer, Value::Number(n)) => match (n.as_i64(), n.as_f64()) {
                (Some(n), _) => n.into(),
                #[expect(clippy::cast_possible_truncation, reason = "the fraction goes; a cast saturates")]
                (None, Some(f)) => (f as i64).into(),
                (None, None) => Value::Null,
            },
            (ColumnType::Number, Value::Number(_)) | (ColumnType::Boolean, Value::Bool(_)) => {
                value.clone().into_owned()
            }
            (ColumnType::Date, Value::String(text)) => Value::from(age(text, now)),
            _ => Value::Null,
        }
    }
}

/// The age of an object that was created at the time in `timestamp`: `5m12s`, `<invalid>` if that is no time.
pub fn age(timestamp: &str, now: Timestamp) -> String {
    match meta::parse_timestamp(timestamp) {
        Some(created) => human_duration(now.as_second().saturating_sub(created.as_second())),
        None => "<invalid>".to_owned(),
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// So many seconds in the short form that kubectl has for ages: `5m12s`, `2d`, `3y40d`. A moment before zero counts as zero.
pub fn human_duration(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        let (whole, rest) = (seconds / big, seconds % big / small);
        if rest == 0 {
            format!("{whole}{big_unit}")
        } else {
            format!("{whole}{big_unit}{rest}{small_unit}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(MINUTE, "m", 1, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(HOUR, "h", MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(DAY, "d", HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(YEAR, "y", DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// How much of each object a row carries: the query parameter `includeObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Its metadata, as `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

impl IncludeObject {
    /// Reads the parameter; `None` when it has another value. The empty one is the default.
    pub fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "" | "Metadata" => Self::Metadata,
            "Object" => Self::Object,
            "None" => Self::None,
            _ => return None,
        })
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// One cell for each column.
    pub cells: Vec<Value<'static>>,
    /// The object, its metadata, or null.
    pub object: Value<'static>,
}

impl Row {
    /// The row of a custom resource: its name, then the cell of each column.
    pub fn of(
        object: &Value<'_>,
        columns: &[TableColumn],
        include: IncludeObject,
        api_version: &str,
        now: Timestamp,
    ) -> Self {
        let name = object["metadata"]["name"].clone().into_owned();
        let cells = std::iter::once(name)
            .chain(columns.iter().map(|column| column.cell(object, now)))
            .collect();
        let object = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Object => object.clone().into_owned(),
            IncludeObject::Metadata => partial_object_metadata(object, api_version),
        };
        Self { cells, object }
    }
}

/// The metadata of an object as an object of its own; `api_version` is `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
pub fn partial_object_metadata(object: &Value<'_>, api_version: &str) -> Value<'static> {
    let metadata = object
        .get("metadata")
        .cloned()
        .unwrap_or_else(|| Value::Object(crate::json::Map::new()));
    crate::json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata})
}

/// The `Table` answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`, as the client asked.
    pub api_version: &'static str,
    /// Of the list, or the resourceVersion of the one object.
    pub metadata: ListMeta,
    /// The columns; `None` in all events of a watch but the first.
    pub columns: Option<Vec<ColumnDefinition>>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_struct("Table", 5)?;
        table.serialize_field("kind", "Table")?;
        table.serialize_field("apiVersion", self.api_version)?;
        table.serialize_field("metadata", &self.metadata)?;
        table.serialize_field("columnDefinitions", &self.columns)?;
        table.serialize_field("rows", &self.rows)?;
        table.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn cell(column_type: ColumnType, value: Value) -> Value {
        let definition = ColumnDefinition {
            column_type,
            ..ColumnDefinition::name()
        };
        let column = TableColumn {
            definition,
            path: JsonPath::path(".v").unwrap(),
        };
        column.cell(&json!({"v": value}), "2026-11-21T07:40:53Z".parse().unwrap())
    }

    #[test]
    fn ages_are_as_short_as_kubectl_s() {
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (312, "5m12s"),
            (10 * MINUTE + 5, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (5 * HOUR + 7 * MINUTE, "5h7m"),
            (47 * HOUR + 3, "47h"),
            (2 * DAY, "2d"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (3 * YEAR + 40 * DAY, "3y40d"),
            (9 * YEAR + DAY, "9y"),
        ] {
            assert_eq!(human_duration(seconds), expected);
        }
    }

    #[test]
    fn cells_have_their_column_s_type_or_nothing() {
        for (column_type, value, expected) in [
            (ColumnType::String, json!("a"), json!("a")),
            (ColumnType::String, json!(3), json!("3")),
            (ColumnType::String, json!({"a": [1]}), json!("{\"a\":[1]}")),
            (ColumnType::String, json!(null), json!(null)),
            (ColumnType::Integer, json!(3), json!(3)),
            (ColumnType::Integer, json!(3.7), json!(3)),
            (ColumnType::Integer, json!("3"), json!(null)),
            (ColumnType::Number, json!(3.7), json!(3.7)),
            (ColumnType::Boolean, json!(true), json!(true)),
            (ColumnType::Boolean, json!("true"), json!(null)),
            (ColumnType::Date, json!("2026-11-21T07:40:47Z"), json!("6s")),
            (ColumnType::Date, json!("soon"), json!("<invalid>")),
            (ColumnType::Date, json!(5), json!(null)),
        ] {
            assert_eq!(cell(column_type, value.clone()), expected, "{column_type:?} {value}");
        }
    }

    #[test]
    fn a_table_serialises_as_the_api_has_it() {
        let now = "2026-11-21T07:40:53Z".parse().unwrap();
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-11-21T07:40:47Z"}});
        let table = Table {
            api_version: "meta.k8s.io/v1",
            metadata: ListMeta {
                resource_version: "7".to_owned(),
                ..ListMeta::default()
            },
            columns: None,
            rows: vec![Row::of(
                &object,
                &[TableColumn::age()],
                IncludeObject::Metadata,
                "meta.k8s.io/v1",
                now,
            )],
        };
        assert_eq!(
            serde_json::to_string(&table).unwrap(),
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7"},"columnDefinitions":null,"rows":[{"cells":["a","6s"],"object":{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"creationTimestamp":"2026-11-21T07:40:47Z","name":"a"}}}]}"#
        );
    }
}
