//! Columns that `kubectl get` shows.

use osb_api::Object;
use serde_json::{Value, json};

/// A column that `kubectl get` shows of each object.
///
/// The path names a field, from the author's type on: `.host`, `.size.gib`.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::Column;
///
/// let columns = [Column::text("Host", ".host"), Column::integer("Size", ".sizeGib").wide()];
/// # let _ = columns;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) path: String,
    kind: ColumnKind,
    wide: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnKind {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
}

impl ColumnKind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
        }
    }

    /// The type of the field that it shows.
    fn shows(self, json_type: &str) -> bool {
        match self {
            Self::Date => json_type == "string",
            Self::Number => matches!(json_type, "number" | "integer"),
            kind => kind.name() == json_type,
        }
    }
}

impl Column {
    fn new(name: impl Into<String>, path: impl Into<String>, kind: ColumnKind) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            kind,
            wide: false,
        }
    }

    /// A text.
    pub fn text(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, path, ColumnKind::Text)
    }

    /// A whole number.
    pub fn integer(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, path, ColumnKind::Integer)
    }

    /// Any number.
    pub fn number(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, path, ColumnKind::Number)
    }

    /// Yes or no.
    pub fn boolean(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, path, ColumnKind::Boolean)
    }

    /// A time in the form of RFC 3339, shown as the time that has passed since.
    pub fn date(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, path, ColumnKind::Date)
    }

    /// Shown with `-o wide` only.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// As it stands in a definition, with the path of the author's type in front of its own.
    pub(crate) fn definition(&self, prefix: &str) -> Value {
        let mut column = json!({
            "name": self.name, "type": self.kind.name(), "jsonPath": format!("{prefix}{}", self.path),
        });
        if self.wide {
            column["priority"] = 1.into();
        }
        column
    }

    /// What is wrong with it, given the schema of the author's type.
    pub(crate) fn check(&self, schema: &Object) -> Result<(), String> {
        let Self { name, path, kind, .. } = self;
        if name.is_empty() || name.chars().count() > 63 || name.chars().any(char::is_control) {
            return Err(format!("the column {name:?} needs a name of at most 63 characters"));
        }
        let Some(names) = path.strip_prefix('.').filter(|path| path.split('.').all(is_name)) else {
            return Err(format!(
                "the column {name}: the path {path:?} is not like `.field` or `.field.field`"
            ));
        };
        let mut place = schema;
        for field in names.split('.') {
            if place.contains_key("x-kubernetes-preserve-unknown-fields") && !place.contains_key("properties") {
                return Ok(());
            }
            let found = place.get("properties").and_then(|properties| properties.get(field));
            match found.and_then(Value::as_object) {
                Some(found) => place = found,
                None => return Err(format!("the column {name}: there is no field `{path}`")),
            }
        }
        match place.get("type").and_then(Value::as_str) {
            Some(json_type) if !kind.shows(json_type) => Err(format!(
                "the column {name}: `{path}` is of the type {json_type}, not {}",
                kind.name()
            )),
            _ => Ok(()),
        }
    }
}

/// A name that JSONPath takes without quotes.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_shows_a_field_that_is_there_and_of_its_type() {
        let schema = json!({"type": "object", "properties": {
            "host": {"type": "string"}, "size": {"type": "object", "properties": {"gib": {"type": "integer"}}},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
        }});
        let Value::Object(schema) = schema else {
            panic!("an object")
        };
        for fine in [
            Column::text("Host", ".host"),
            Column::date("Since", ".host"),
            Column::integer("Size", ".size.gib"),
            Column::number("Size", ".size.gib"),
            Column::text("Any", ".any.thing"),
        ] {
            assert_eq!(fine.check(&schema), Ok(()), "{fine:?}");
        }
        for wrong in [
            Column::text("", ".host"),
            Column::text("Host", "host"),
            Column::text("Host", ".hots"),
            Column::text("Host", "."),
            Column::text("Host", ".host[0]"),
            Column::integer("Host", ".host"),
            Column::text("Size", ".size"),
            Column::text("Size", ".size.gib.x"),
        ] {
            assert!(wrong.check(&schema).is_err(), "{wrong:?}");
        }
        let wide = Column::integer("Size", ".size.gib").wide().definition(".ext");
        let wanted = json!({"name": "Size", "type": "integer", "jsonPath": ".ext.size.gib", "priority": 1});
        assert_eq!(wide, wanted);
    }
}
