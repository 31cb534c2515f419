//! Field selectors: the text form in the query parameter `fieldSelector`.
//!
//! Comma-separated terms, all of which must hold: `f=v`, `f==v`, `f!=v`. In a value `\`, `,` and `=` are escaped by a backslash.
//! An absent field has the empty value.

use std::borrow::Cow;
use std::fmt;

use crate::status::Status;

/// Most terms of a selector: each is compared with each object of a list.
pub const MAX_TERMS: usize = 1000;

/// How a term compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldOperator {
    /// The field has the value.
    Equals,
    /// The field has another value.
    NotEquals,
}

/// One term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field label, for example `metadata.name` or `record.operation.id`.
    pub path: String,
    /// How it compares.
    pub operator: FieldOperator,
    /// The value, without escapes.
    pub value: String,
}

impl fmt::Display for FieldTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            FieldOperator::Equals => "=",
            FieldOperator::NotEquals => "!=",
        };
        write!(f, "{}{operator}{}", self.path, escape(&self.value))
    }
}

/// A field selector; the empty one matches everything. Prints in its text form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    /// All of them must hold.
    pub terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Reads the text form. Which field labels a kind supports is checked by [`FieldSelector::require_supported`].
    ///
    /// # Errors
    ///
    /// 400 for a term without an operator, or a value with a wrong or missing escape.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut parts = split_terms(text);
        parts.retain(|part| !part.is_empty());
        if parts.len() > MAX_TERMS {
            return Err(Status::bad_request(format!(
                "a selector may have at most {MAX_TERMS} terms"
            )));
        }
        parts.sort_unstable();
        let mut terms = Vec::with_capacity(parts.len());
        for part in parts {
            let Some((path, operator, value)) = split_term(part) else {
                return Err(Status::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let value = unescape(value).map_err(|e| Status::bad_request(format!("invalid field selector: {e}")))?;
            terms.push(FieldTerm {
                path: path.to_owned(),
                operator,
                value,
            });
        }
        Ok(Self { terms })
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the fields that `field` looks up satisfy it.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        self.terms.iter().all(|term| {
            let equal = field(&term.path).as_deref().unwrap_or("") == term.value;
            equal == (term.operator == FieldOperator::Equals)
        })
    }

    /// The value that a field must have, if a term says so: lets an index, or a single read, be used.
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| t.path == path && t.operator == FieldOperator::Equals)
            .map(|t| t.value.as_str())
    }

    /// # Errors
    ///
    /// 400 for the first term whose field is neither `metadata.name`, `metadata.namespace` nor `supported`.
    pub fn require_supported(&self, supported: impl Fn(&str) -> bool) -> Result<(), Status> {
        let known = |path: &str| matches!(path, "metadata.name" | "metadata.namespace") || supported(path);
        match self.terms.iter().find(|term| !known(&term.path)) {
            Some(term) => Err(Status::bad_request(format!("field label not supported: {}", term.path))),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

/// A value as it must stand in a selector.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.bytes().enumerate() {
        match c {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, FieldOperator, &str)> {
    let at = term.bytes().enumerate().find_map(|(i, c)| {
        let negated = c == b'!' && term.as_bytes().get(i + 1) == Some(&b'=');
        (negated || c == b'=').then_some(i)
    })?;
    let (path, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((path, FieldOperator::NotEquals, value));
    }
    let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?;
    Some((path, FieldOperator::Equals, value))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid escape sequence: \\{c}")),
                None => return Err("invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("unescaped character in value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, name: Option<&str>) -> bool {
        FieldSelector::parse(selector)
            .unwrap()
            .matches(|path| name.filter(|_| path == "f").map(Cow::from))
    }

    #[test]
    fn an_absent_field_has_the_empty_value() {
        for (selector, on_a, on_absent) in [
            ("f=a", true, false),
            ("f==a", true, false),
            ("f!=a", false, true),
            ("f=", false, true),
            ("f!=", true, false),
            ("", true, true),
        ] {
            assert_eq!(
                (matches(selector, Some("a")), matches(selector, None)),
                (on_a, on_absent),
                "{selector}"
            );
        }
    }

    #[test]
    fn escapes_let_any_value_be_asked_for() {
        let id = r"a,b=c\d!é";
        let selector = format!("f={}", escape(id));
        assert_eq!(FieldSelector::parse(&selector).unwrap().exact("f"), Some(id));
        assert!(matches(&selector, Some(id)));
    }

    #[test]
    fn malformed_selectors_are_refused_with_the_api_s_message() {
        for (selector, expected) in [
            (
                "metadata.name",
                "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
            ),
            ("a=b=c", "invalid field selector: unescaped character in value: ="),
            (r"a=b\c", r"invalid field selector: invalid escape sequence: \c"),
            (r"a=b\", r"invalid field selector: invalid escape sequence: \"),
            ("a>b", "invalid selector: 'a>b'; can't understand 'a>b'"),
        ] {
            let status = FieldSelector::parse(selector).unwrap_err();
            assert_eq!((status.code(), status.message.as_str()), (400, expected), "{selector}");
        }
        let selector = FieldSelector::parse("spec.foo=1").unwrap();
        assert_eq!(
            selector.require_supported(|_| false).unwrap_err().message,
            "field label not supported: spec.foo"
        );
    }
}
