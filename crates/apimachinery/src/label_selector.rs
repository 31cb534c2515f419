//! Label selectors: the text form in the query parameter `labelSelector`.
//!
//! Comma-separated requirements, all of which must hold: `k`, `!k`, `k=v`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, `k>5`,
//! `k<5`. An absent label satisfies `!=`, `notin` and `!`.

use std::fmt;

use crate::json::{Map, Value};

use crate::field::FieldError;
use crate::meta;
use crate::status::Status;

mod checked;
mod object;

pub use object::format;

/// Most requirements of a selector: each is compared with each object of a list. An `in` may have any number of values.
pub const MAX_REQUIREMENTS: usize = 1000;

/// What one requirement asks of its label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label has one of these values, sorted.
    In(Vec<String>),
    /// The label has none of these values or is not there; sorted.
    NotIn(Vec<String>),
    /// The label is an integer above this.
    GreaterThan(i64),
    /// The label is an integer below this.
    LessThan(i64),
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
}

impl Requirement {
    /// Whether a label value, or its absence, satisfies it.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let integer = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::In(values) => value.is_some_and(|v| contains(values, v)),
            Operator::NotIn(values) => value.is_none_or(|v| !contains(values, v)),
            Operator::GreaterThan(bound) => integer().is_some_and(|n| n > *bound),
            Operator::LessThan(bound) => integer().is_some_and(|n| n < *bound),
        }
    }
}

fn contains(sorted: &[String], value: &str) -> bool {
    sorted.binary_search_by(|v| v.as_str().cmp(value)).is_ok()
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0]),
            Operator::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", values[0]),
            Operator::In(values) => write!(f, "{key} in ({})", values.join(",")),
            Operator::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            Operator::GreaterThan(bound) => write!(f, "{key}>{bound}"),
            Operator::LessThan(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

/// A label selector; the empty one matches everything. Prints in its text form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// All of them must hold. Sorted by key.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads the text form. The empty text gives the empty selector.
    ///
    /// # Errors
    ///
    /// 400 with the API's message when the text breaks the grammar, or a key or value is no label key or value.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut requirements = Parser::new(text).selector().map_err(Status::bad_request)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether `metadata.labels` satisfy it. A label that is not a string counts as absent.
    pub fn matches(&self, labels: &Map<'_>) -> bool {
        self.matches_with(|key| labels.get(key).and_then(Value::as_str))
    }

    /// Whether the labels that `label` looks up satisfy it.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }

    /// The value that a label must have, if one requirement says exactly one: lets an index be used.
    pub fn exact(&self, key: &str) -> Option<&str> {
        self.requirements
            .iter()
            .filter(|r| r.key == key)
            .find_map(|r| match &r.operator {
                Operator::In(values) if values.len() == 1 => Some(values[0].as_str()),
                _ => None,
            })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Identifier(&'a str),
    /// `in` and `notin` are identifiers where a key or value is expected.
    Keyword(&'a str),
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Identifier(text) | Self::Keyword(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }

    fn as_value(self) -> Self {
        match self {
            Self::Keyword(text) => Self::Identifier(text),
            other => other,
        }
    }

    fn is(self, symbol: &str) -> bool {
        self == Token::Symbol(symbol)
    }
}

/// The grammar of the Kubernetes API, with its messages.
struct Parser<'a> {
    rest: &'a str,
    next: Token<'a>,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut parser = Self {
            rest: text,
            next: Token::End,
        };
        parser.consume();
        parser
    }

    /// Takes the next token.
    fn consume(&mut self) -> Token<'a> {
        let (token, rest) = scan(self.rest);
        self.rest = rest;
        std::mem::replace(&mut self.next, token)
    }

    fn selector(mut self) -> Parsed<Vec<Requirement>> {
        let mut requirements = Vec::new();
        loop {
            match self.next.as_value() {
                Token::End => return Ok(requirements),
                Token::Identifier(_) => {}
                token if token.is("!") => {}
                token => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        token.text()
                    ));
                }
            }
            let requirement = self
                .requirement()
                .map_err(|e| format!("unable to parse requirement: {e}"))?;
            requirements.push(requirement);
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(format!("a selector may have at most {MAX_REQUIREMENTS} requirements"));
            }
            match self.consume().as_value() {
                Token::End => return Ok(requirements),
                token if token.is(",") => self.expect_another()?,
                token => return Err(format!("found '{}', expected: ',' or 'end of string'", token.text())),
            }
        }
    }

    fn expect_another(&self) -> Parsed<()> {
        match self.next.as_value() {
            Token::Identifier(_) => Ok(()),
            token if token.is("!") => Ok(()),
            token => Err(format!("found '{}', expected: identifier after ','", token.text())),
        }
    }

    fn requirement(&mut self) -> Parsed<Requirement> {
        let negated = self.next.is("!");
        if negated {
            self.consume();
        }
        let key = match self.consume().as_value() {
            Token::Identifier(key) => check_key(key)?.to_owned(),
            token => return Err(format!("found '{}', expected: identifier", token.text())),
        };
        let operator = if negated {
            Operator::DoesNotExist
        } else if self.next == Token::End || self.next.is(",") {
            Operator::Exists
        } else {
            self.operator(&key)?
        };
        Ok(Requirement { key, operator })
    }

    fn operator(&mut self, key: &str) -> Parsed<Operator> {
        let token = self.consume();
        match token.text() {
            "in" => Ok(Operator::In(check_values(key, self.values()?)?)),
            "notin" => Ok(Operator::NotIn(check_values(key, self.values()?)?)),
            "=" | "==" => Ok(Operator::In(check_values(key, vec![self.exact_value()?])?)),
            "!=" => Ok(Operator::NotIn(check_values(key, vec![self.exact_value()?])?)),
            ">" => Ok(Operator::GreaterThan(check_integer(key, &self.exact_value()?)?)),
            "<" => Ok(Operator::LessThan(check_integer(key, &self.exact_value()?)?)),
            text => Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn exact_value(&mut self) -> Parsed<String> {
        if self.next == Token::End || self.next.is(",") {
            return Ok(String::new());
        }
        match self.consume().as_value() {
            Token::Identifier(value) => Ok(value.to_owned()),
            token => Err(format!("found '{}', expected: identifier", token.text())),
        }
    }

    /// A list in parentheses; an empty place in it is the empty value, as in `(a,)` and `()`.
    fn values(&mut self) -> Parsed<Vec<String>> {
        let open = self.consume();
        if !open.is("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        match self.next.as_value() {
            token if token.is(")") => {
                self.consume();
                return Ok(vec![String::new()]);
            }
            Token::Identifier(_) => {}
            token if token.is(",") => {}
            token => return Err(format!("found '{}', expected: ',', ')' or identifier", token.text())),
        }
        let values = self.identifiers()?;
        let close = self.consume();
        if close.is(")") {
            Ok(values)
        } else {
            Err(format!("found '{}', expected: ')'", close.text()))
        }
    }

    fn identifiers(&mut self) -> Parsed<Vec<String>> {
        let mut values = Vec::new();
        loop {
            match self.consume().as_value() {
                Token::Identifier(value) => {
                    values.push(value.to_owned());
                    match self.next {
                        token if token.is(",") => {}
                        token if token.is(")") => return Ok(values),
                        token => return Err(format!("found '{}', expected: ',' or ')'", token.text())),
                    }
                }
                token if token.is(",") => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    if self.next.is(")") {
                        values.push(String::new());
                        return Ok(values);
                    }
                    if self.next.is(",") {
                        self.consume();
                        values.push(String::new());
                    }
                }
                token => return Err(format!("found '{}', expected: ',', or identifier", token.text())),
            }
        }
    }
}

fn scan(text: &str) -> (Token<'_>, &str) {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if text.is_empty() {
        return (Token::End, text);
    }
    for symbol in ["==", "!=", "=", "!", "(", ")", ",", ">", "<"] {
        if let Some(rest) = text.strip_prefix(symbol) {
            return (Token::Symbol(&text[..symbol.len()]), rest);
        }
    }
    let end = text
        .find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<'])
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let token = if matches!(word, "in" | "notin") {
        Token::Keyword(word)
    } else {
        Token::Identifier(word)
    };
    (token, rest)
}

fn check_key(key: &str) -> Parsed<&str> {
    match meta::qualified_name_problems(key) {
        problems if problems.is_empty() => Ok(key),
        problems => Err(FieldError::invalid("<nil>", key, problems.join("; ")).to_string()),
    }
}

/// Sorts and checks the values, in the order in which the API names them in an error.
fn check_values(key: &str, mut values: Vec<String>) -> Parsed<Vec<String>> {
    values.sort_unstable();
    values.dedup();
    let errors: Vec<String> = values
        .iter()
        .enumerate()
        .filter_map(|(i, value)| {
            let problems = meta::label_value_problems(value);
            let error = || FieldError::invalid(format!("values[{i}][{key}]"), value.as_str(), problems.join("; "));
            (!problems.is_empty()).then(|| error().to_string())
        })
        .collect();
    match errors.as_slice() {
        [] => Ok(values),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

fn check_integer(key: &str, value: &str) -> Parsed<i64> {
    check_values(key, vec![value.to_owned()])?;
    value.parse().map_err(|_| {
        FieldError::invalid(
            "values[0]",
            value,
            "for 'Gt', 'Lt' operators, the value must be an integer",
        )
        .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn matches(selector: &str, labels: Value) -> bool {
        LabelSelector::parse(selector)
            .unwrap()
            .matches(labels.as_object().unwrap())
    }

    #[test]
    fn each_operator_selects_what_it_says() {
        for (selector, on_a1, on_b, on_none) in [
            ("", true, true, true),
            ("k", true, true, false),
            ("!k", false, false, true),
            ("k=1", true, false, false),
            ("k==1", true, false, false),
            ("k!=1", false, true, true),
            ("k in (1, 2)", true, false, false),
            ("k notin (1,2)", false, true, true),
            ("k>0", true, false, false),
            ("k<1", false, false, false),
            ("k in ()", false, false, false),
            ("k=", false, false, false),
            (" k , k = 1 ", true, false, false),
        ] {
            let found = [json!({"k": "1"}), json!({"k": "b"}), json!({})].map(|l| matches(selector, l));
            assert_eq!(found, [on_a1, on_b, on_none], "{selector}");
        }
        assert!(matches("k in ()", json!({"k": ""})) && matches("k in (a,)", json!({"k": ""})));
        assert!(matches("in in (in,notin)", json!({"in": "notin"})));
    }

    #[test]
    fn what_the_grammar_does_not_know_is_refused_with_its_message() {
        for (selector, expected) in [
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "app in (x",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an \
                 integer",
            ),
        ] {
            let status = LabelSelector::parse(selector).unwrap_err();
            assert_eq!((status.code(), status.message.as_str()), (400, expected), "{selector}");
        }
        assert!(LabelSelector::parse(&format!("a={}", "x".repeat(64))).is_err());
        assert!(LabelSelector::parse(&format!("{}=a", "x".repeat(64))).is_err());
    }

    #[test]
    fn an_exact_requirement_can_use_an_index() {
        let selector = LabelSelector::parse("a=1,b in (2,3)").unwrap();
        assert_eq!((selector.exact("a"), selector.exact("b")), (Some("1"), None));
    }
}
