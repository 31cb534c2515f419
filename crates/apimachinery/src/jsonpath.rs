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

    /// What it renders, piece by piece, for callers to whom it matters whether something is there: each path outside of a
    /// range yields one piece, whatever it finds.
    ///
    /// ```
    /// use apimachinery::json;
    /// use apimachinery::jsonpath::{Found, JsonPath};
    ///
    /// let object = json!({"a": 1, "l": [1, 2]});
    /// let template = JsonPath::template("a={.a}{.b}{.l[*]}").unwrap();
    /// let [Found::Text("a="), Found::Value(one), Found::Nothing, Found::Many] = template.pieces(&object)[..] else { panic!() };
    /// assert_eq!(*one, 1);
    /// ```
    pub fn pieces<'v, 't>(&'v self, object: &'v Value<'t>) -> Vec<Found<'v, 't>> {
        let mut out = Vec::new();
        pieces(&self.parts, object, &Budget::new(), &mut out);
        out
    }

    /// The text that kubectl prints: values of one path with a space between them; strings raw, lists and objects as JSON.
    pub fn render(&self, object: &Value<'_>) -> String {
        let mut out = String::new();
        render(&self.parts, object, &Budget::new(), &mut out);
        out
    }
}

/// A piece of what a template renders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'v, 't> {
    /// Text of the template.
    Text(&'v str),
    /// The one value that a path finds.
    Value(&'v Value<'t>),
    /// A path finds nothing.
    Nothing,
    /// A path finds more than one value.
    Many,
}

fn pieces<'v, 't>(parts: &'v [Part], object: &'v Value<'t>, budget: &Budget, out: &mut Vec<Found<'v, 't>>) {
    for part in parts {
        match part {
            Part::Text(text) => out.push(Found::Text(text)),
            Part::Path(steps) => out.push(match eval::find(steps, object, budget)[..] {
                [] => Found::Nothing,
                [value] => Found::Value(value),
                _ => Found::Many,
            }),
            Part::Range(steps, inner) => {
                for value in eval::find(steps, object, budget) {
                    pieces(inner, value, budget, out);
                }
            }
        }
        if budget.is_spent() {
            return;
        }
    }
}

/// One value as text, as kubectl prints it: a string raw, a list or object as JSON.
pub fn text(value: &Value<'_>) -> String {
    go::text(value)
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
