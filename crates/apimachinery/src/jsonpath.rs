//! kubectl's dialect of JSONPath: printer columns, selectable fields, scale paths, and templates.
//!
//! It is not RFC 9535. A path is `.spec.name`, with `\.` for a dot in a name or `['a.b']`, `[0]`, `[-1]`, `[1:3]`, `[*]`, `.*`, `..name`,
//! `['a','b']`, `[0,2]` and filters `[?(@.type=="Ready")]` with `==`, `!=`, `<`, `<=`, `>`, `>=` or nothing (the path exists). A
//! template is text with `{path}`, `{"quoted text"}` and `{range path}…{end}` in it.
//!
//! What is missing is no error: a path then finds nothing. Objects are walked in the order of their keys.

use crate::go;
use crate::json::Value;

mod eval;
mod parse;

use eval::Budget;

/// Longest text of a path or template, in bytes.
pub const MAX_TEXT_BYTES: usize = 8192;

/// A path or template, compiled.
///
/// ```
/// use apimachinery::jsonpath::JsonPath;
/// use apimachinery::json;
///
/// let object = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
/// let path = JsonPath::path(r#".status.conditions[?(@.type=="Ready")].status"#).unwrap();
/// assert_eq!(path.first_value(&object), Some(&json!("True")));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    parts: Vec<Part>,
}

/// Why a text is no JSONPath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSONPath at byte {position}: {problem}")]
pub struct JsonPathError {
    /// Where, in bytes from the start.
    pub position: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Part>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// One item; from the end when negative.
    Index(i64),
    Slice {
        start: i64,
        end: Option<i64>,
        step: usize,
    },
    Wildcard,
    /// The value and everything below it.
    Recursive,
    Union(Vec<Step>),
    Filter(Box<Filter>),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Vec<Step>,
    /// `None`: the left side exists.
    comparison: Option<(Comparison, Operand)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value<'static>),
    Path(Vec<Step>),
}

impl JsonPath {
    /// A single path without braces, as printer columns have it: `.spec.x`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is longer than [`MAX_TEXT_BYTES`].
    pub fn path(text: &str) -> Result<Self, JsonPathError> {
        parse::path(text).map(|steps| Self {
            parts: vec![Part::Path(steps)],
        })
    }

    /// A template: text with expressions in braces.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is longer than [`MAX_TEXT_BYTES`].
    pub fn template(text: &str) -> Result<Self, JsonPathError> {
        parse::template(text).map(|parts| Self { parts })
    }

    /// The names of a path that only goes from field to field (`.spec.planId`); `None` for any other.
    pub fn simple_fields(&self) -> Option<Vec<&str>> {
        let [Part::Path(steps)] = self.parts.as_slice() else {
            return None;
        };
        steps
            .iter()
            .map(|step| {
                if let Step::Field(name) = step {
                    Some(name.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    /// The first value that its first path finds.
    pub fn first_value<'v, 't>(&self, object: &'v Value<'t>) -> Option<&'v Value<'t>> {
        let steps = self.parts.iter().find_map(|part| match part {
            Part::Path(steps) | Part::Range(steps, _) => Some(steps),
            Part::Text(_) => None,
        })?;
        match eval::walk_fields(steps, object) {
            Ok(value) => value,
            Err(()) => eval::find(steps, object, &Budget::new()).into_iter().next(),
        }
    }

    /// All values that its paths find, in order; those inside of `range` are not looked for.
    pub fn find_all<'v, 't>(&self, object: &'v Value<'t>) -> Vec<&'v Value<'t>> {
        let budget = Budget::new();
        let mut found = Vec::new();
        for part in &self.parts {
            if let Part::Path(steps) | Part::Range(steps, _) = part {
                found.extend(eval::find(steps, object, &budget));
            }
        }
        found
    }

    /// The text that kubectl prints: values of one path with a space between them; strings raw, lists and objects as JSON.
    pub fn render(&self, object: &Value<'_>) -> String {
        let mut out = String::new();
        render(&self.parts, object, &Budget::new(), &mut out);
        out
    }
}

fn render(parts: &[Part], object: &Value<'_>, budget: &Budget, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(steps) => {
                for (i, value) in eval::find(steps, object, budget).into_iter().enumerate() {
                    if i > 0 {
                        out.push(' ');
                    }
                    out.push_str(&go::text(value));
                }
            }
            Part::Range(steps, inner) => {
                for value in eval::find(steps, object, budget) {
                    render(inner, value, budget, out);
                }
            }
        }
        if budget.is_spent() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
