//! Parameters of a template as parameters of a service: their types, their JSON schemas, and what becomes of the values of a
//! request.
//!
//! A template knows texts only. The annotation `template.osb.internal/parameters` says more of a parameter, in words of JSON
//! Schema:
//!
//! ```yaml
//! NAME: {unique: true}
//! SIZE: {type: integer, minimum: 1, maximum: 100}
//! EDITION: {enum: [community, enterprise]}
//! PASSWORD: {sensitive: true, minLength: 12}
//! ```
//!
//! Without it a parameter whose default is a number or a boolean, and which stands somewhere as `${{NAME}}`, has that type;
//! all others are texts. A number or boolean may also be sent as its text, as it had to be for the broker in Go.

use std::collections::BTreeMap;

use osb_sdk::Object;
use serde::Deserialize;
use serde_json::{Value, json};
use template::{Given, Template};

/// The dialect that every platform can read.
const DRAFT_4: &str = "http://json-schema.org/draft-04/schema#";

/// The most bytes of all values of a request together: what a Secret takes.
pub const MAX_VALUES_BYTES: usize = 1 << 20;

/// The most memory that a pattern takes, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The most problems that one answer names.
const MAX_PROBLEMS: usize = 10;

/// What the annotation says of a parameter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// The only values that are taken.
    #[serde(rename = "enum")]
    pub values: Option<Vec<Value>>,
    /// The smallest number.
    pub minimum: Option<f64>,
    /// The largest number.
    pub maximum: Option<f64>,
    /// The fewest characters of a text.
    pub min_length: Option<u64>,
    /// The most characters of a text.
    pub max_length: Option<u64>,
    /// A regular expression that a text has to match somewhere, as in JSON Schema. One that looks ahead or back, or refers to a
    /// group, is checked by platforms and forms only.
    pub pattern: Option<String>,
    /// Whether it is a secret: its default is not published. Unless it is said, the name decides.
    pub sensitive: Option<bool>,
    /// Whether each instance gets another value where none is given: the default with a few characters behind it. For names
    /// of objects, so that there can be more than one instance of a template in a namespace.
    pub unique: bool,
}

/// The type of a parameter's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Any text.
    #[default]
    String,
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A JSON list, for `${{NAME}}`.
    Array,
    /// A JSON object, for `${{NAME}}`.
    Object,
}

/// The rules of all parameters that the annotation speaks of.
pub type Rules = BTreeMap<String, Rule>;

/// A parameter of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    title: String,
    description: String,
    default: String,
    is_generated: bool,
    is_required: bool,
    is_sensitive: bool,
    rule: Rule,
}

/// The parameters of a template, in the order of its form, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(Vec<Parameter>);

/// What a plan says of parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fixed {
    /// Values that users cannot change.
    pub values: Given,
    /// Defaults instead of the template's.
    pub defaults: Given,
}

/// Parameters of a request that are not taken. Quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Wrong(pub Vec<String>);

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Makes an instance: what is required must be there.
    Create,
    /// Changes one: what is not named stays.
    Update,
}

impl Parameters {
    /// The parameters of a template, with what the annotation says of them.
    pub fn of(template: &Template<'_>, rules: &Rules) -> Self {
        let inserted = inserted_as_json(template);
        let parameters = template.declared().map(|parameter| {
            let mut rule = rules.get(&*parameter.name).cloned().unwrap_or_default();
            if rule.kind.is_none() && inserted.iter().any(|name| *name == parameter.name) {
                rule.kind = kind_of(&parameter.value);
            }
            Parameter {
                name: parameter.name.clone().into_owned(),
                title: parameter.display_name.clone().into_owned(),
                description: parameter.description.clone().into_owned(),
                default: parameter.value.clone().into_owned(),
                is_generated: !parameter.generate.is_empty(),
                is_required: parameter.required,
                is_sensitive: rule.sensitive.unwrap_or_else(|| sounds_secret(&parameter.name)),
                rule,
            }
        });
        Self(parameters.collect())
    }

    /// Those of them that are wanted.
    #[must_use]
    pub fn only(mut self, is_wanted: impl Fn(&Parameter) -> bool) -> Self {
        self.0.retain(is_wanted);
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// The parameter of that name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|parameter| parameter.name == name)
    }

    /// The schema of a provision's or an update's parameters.
    pub fn schema(&self, fixed: &Fixed, purpose: Purpose) -> Object {
        let open = || self.0.iter().filter(|one| !fixed.values.contains_key(&one.name));
        let properties: Object = open()
            .map(|one| (one.name.clone(), Value::Object(one.schema(fixed, purpose))))
            .collect();
        let mut schema = empty_schema();
        schema.insert("properties".to_owned(), Value::Object(properties));
        let required: Vec<&str> = open()
            .filter(|one| purpose == Purpose::Create && one.must_be_given(fixed))
            .map(|one| one.name.as_str())
            .collect();
        // An empty list is against draft 4.
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        schema
    }

    /// The values of those that are unique for each instance: their defaults with the suffix behind them.
    pub fn unique(&self, suffix: &str) -> Given {
        let unique = self.0.iter().filter(|one| one.rule.unique);
        let value = |one: &Parameter| match one.default.as_str() {
            "" => suffix.to_owned(),
            default => format!("{default}-{suffix}"),
        };
        unique.map(|one| (one.name.clone(), value(one))).collect()
    }

    /// The names of those that users may give, in the order of a form.
    pub fn form(&self, fixed: &Fixed) -> Vec<&str> {
        let open = self.0.iter().filter(|one| !fixed.values.contains_key(&one.name));
        open.map(|one| one.name.as_str()).collect()
    }

    /// The values of a request as the texts that a template takes. An empty text for a parameter with a generator is left
    /// out, so that it is generated; `null` counts as not given.
    ///
    /// # Errors
    /// [`Wrong`] with all that is wrong: unknown names, values that the plan fixes, other types, what is missing.
    pub fn given(&self, request: &Object, fixed: &Fixed, purpose: Purpose) -> Result<Given, Wrong> {
        let mut problems = Vec::new();
        let mut given = Given::new();
        let mut size = 0;
        for (name, value) in request {
            let taken = match self.get(name) {
                None => Err("the template has no such parameter".to_owned()),
                Some(_) if fixed.values.contains_key(name) => Err("is fixed by the plan".to_owned()),
                Some(_) if value.is_null() => continue,
                Some(parameter) => parameter.text(value).map(|text| (parameter, text)),
            };
            match taken {
                Err(problem) => problems.push(format!("parameters.{}: {problem}", shown(name))),
                Ok((parameter, text)) if text.is_empty() && parameter.is_generated => {}
                Ok((_, text)) => {
                    size += name.len() + text.len();
                    given.insert(name.clone(), text);
                }
            }
        }
        if size > MAX_VALUES_BYTES {
            problems.push("parameters: are larger than 1 MiB together".to_owned());
        }
        if purpose == Purpose::Create {
            let is_nothing = |value: &Value| value.is_null() || *value == "";
            let missing = |one: &&Parameter| one.must_be_given(fixed) && request.get(&one.name).is_none_or(is_nothing);
            for parameter in self.0.iter().filter(missing) {
                problems.push(format!("parameters.{}: is required", shown(&parameter.name)));
            }
        }
        problems.truncate(MAX_PROBLEMS);
        if problems.is_empty() {
            Ok(given)
        } else {
            Err(Wrong(problems))
        }
    }
}

impl Parameter {
    fn must_be_given(&self, fixed: &Fixed) -> bool {
        let settled = |values: &Given| values.get(&self.name).is_some_and(|value| !value.is_empty());
        let has_default =
            self.rule.unique || !self.default.is_empty() || settled(&fixed.defaults) || settled(&fixed.values);
        self.is_required && !self.is_generated && !has_default
    }

    fn schema(&self, fixed: &Fixed, purpose: Purpose) -> Object {
        let mut schema = Object::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                schema.insert(name.to_owned(), value);
            }
        };
        let text = |text: &str| (!text.is_empty()).then(|| Value::from(text));
        let default = fixed.defaults.get(&self.name).unwrap_or(&self.default);
        let is_known = !self.is_sensitive && !self.rule.unique;
        let shows_default = purpose == Purpose::Create && is_known && !default.is_empty();
        set("type", Some(self.kind().name().into()));
        set("title", text(&self.title));
        set("description", text(&self.description));
        set(
            "default",
            if shows_default {
                self.kind().value(default)
            } else {
                None
            },
        );
        set("enum", self.rule.values.clone().map(Value::Array));
        set("minimum", self.rule.minimum.and_then(number));
        set("maximum", self.rule.maximum.and_then(number));
        set("minLength", self.rule.min_length.map(Value::from));
        set("maxLength", self.rule.max_length.map(Value::from));
        set("pattern", self.rule.pattern.clone().map(Value::from));
        if self.is_sensitive {
            set("format", (self.kind() == Kind::String).then(|| "password".into()));
            set("writeOnly", Some(true.into()));
        }
        schema
    }

    /// Whether its value is a secret.
    pub fn is_sensitive(&self) -> bool {
        self.is_sensitive
    }

    /// Whether a value is made where none is given.
    pub fn is_generated(&self) -> bool {
        self.is_generated
    }

    fn kind(&self) -> Kind {
        self.rule.kind.unwrap_or_default()
    }

    /// A value as the text that a template takes.
    fn text(&self, value: &Value) -> Result<String, String> {
        let kind = self.kind();
        let read = match value {
            Value::String(text) if kind != Kind::String => kind.value(text),
            other => Some(other.clone()),
        };
        let Some(value) = read.filter(|value| kind.fits(value)) else {
            return Err(format!("is not {}", kind.article()));
        };
        self.check(&value)?;
        Ok(match value {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        let rule = &self.rule;
        if let Some(values) = &rule.values
            && !values.iter().any(|one| same(one, value))
        {
            let values: Vec<String> = values.iter().take(20).map(Value::to_string).collect();
            return Err(format!("is none of {}", values.join(", ")));
        }
        if let Some(number) = value.as_f64() {
            let within =
                |bound: Option<f64>, holds: fn(f64, f64) -> bool| bound.is_none_or(|bound| holds(number, bound));
            if !within(rule.minimum, |number, bound| number >= bound) {
                return Err(format!("is less than {}", rule.minimum.unwrap_or_default()));
            }
            if !within(rule.maximum, |number, bound| number <= bound) {
                return Err(format!("is more than {}", rule.maximum.unwrap_or_default()));
            }
        }
        if let Value::String(text) = value {
            let length = text.chars().count() as u64;
            // An empty text of a generated parameter is no value.
            if rule.min_length.is_some_and(|least| length < least) && !(text.is_empty() && self.is_generated) {
                return Err("is too short".to_owned());
            }
            if rule.max_length.is_some_and(|most| length > most) {
                return Err("is too long".to_owned());
            }
            let is_nothing = text.is_empty() && self.is_generated;
            if let Some(pattern) = &rule.pattern
                && !is_nothing
                && pattern_of(pattern).is_some_and(|pattern| !pattern.is_match(text))
            {
                return Err(format!("does not match the pattern {pattern}"));
            }
        }
        Ok(())
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    fn article(self) -> &'static str {
        match self {
            Self::String => "a text",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Array => "a list",
            Self::Object => "an object",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    /// What a text says in this type; `None` when it is of another.
    fn value(self, text: &str) -> Option<Value> {
        if self == Self::String {
            return Some(text.into());
        }
        let value = serde_json::from_str(text.trim()).ok();
        value.filter(|value| self.fits(value))
    }
}

/// The schema of an object without members.
pub fn empty_schema() -> Object {
    let schema = json!({"$schema": DRAFT_4, "type": "object", "additionalProperties": false});
    schema.as_object().cloned().unwrap_or_default()
}

/// A pattern that can be checked here. It is read for each value, which costs less than to keep those of thousands of templates.
pub(crate) fn pattern_of(text: &str) -> Option<regex::Regex> {
    let mut pattern = regex::RegexBuilder::new(text);
    pattern.size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
    pattern.build().ok()
}

/// The type of a default that is no text.
fn kind_of(default: &str) -> Option<Kind> {
    match serde_json::from_str(default).ok()? {
        Value::Bool(_) => Some(Kind::Boolean),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(Kind::Integer),
        Value::Number(_) => Some(Kind::Number),
        _ => None,
    }
}

/// `1.0` as `1`: most bounds are integers.
fn number(value: f64) -> Option<Value> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only what is integral within 32 bits is cast"
    )]
    if value.fract() == 0.0 && value.abs() < f64::from(i32::MAX) {
        return Some((value as i64).into());
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}

/// Numbers are compared as numbers: `1` in YAML may be an integer here and a float there.
fn same(one: &Value, other: &Value) -> bool {
    one == other || matches!((one.as_f64(), other.as_f64()), (Some(one), Some(other)) if one == other)
}

/// Whether a name is that of a secret.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "PRIVATE_KEY",
        "CREDENTIAL",
        "ACCESS_KEY",
    ]
    .iter()
    .any(|part| name.contains(part))
}

/// A name for a message.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

/// The parameters that stand somewhere as `${{NAME}}`.
fn inserted_as_json<'v>(template: &'v Template<'_>) -> Vec<&'v str> {
    let mut found = Vec::new();
    let mut left: Vec<&template::json::Value<'_>> = template.objects.iter().collect();
    while let Some(value) = left.pop() {
        match value {
            template::json::Value::String(text) => {
                let name = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
                found.extend(name);
            }
            template::json::Value::Array(values) => left.extend(values),
            template::json::Value::Object(members) => left.extend(members.iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests;
