//! Pure rules on what a broker serves: each looks at JSON and says what it has found.

pub(crate) mod answers;
pub(crate) mod bindings;
pub(crate) mod catalog;
pub(crate) mod plans;

use serde_json::Value;

/// What rules have found: for each requirement that they looked at, nothing or what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<(&'static str, Option<String>)>,
}

impl Findings {
    pub(crate) fn that(&mut self, id: &'static str, holds: bool, wrong: impl FnOnce() -> String) {
        self.found.push((id, (!holds).then(wrong)));
    }

    /// A member that may be absent or null.
    pub(crate) fn optional(&mut self, id: &'static str, object: &Value, place: &str, name: &str, kind: Kind) {
        if let Some(value) = object.get(name).filter(|value| !value.is_null()) {
            self.that(id, kind.fits(value), || {
                format!("{place}: `{name}` is not {}", kind.name())
            });
        }
    }

    /// A member that has to be there.
    pub(crate) fn required(&mut self, id: &'static str, object: &Value, place: &str, name: &str, kind: Kind) {
        let fits = object.get(name).is_some_and(|value| kind.fits(value));
        self.that(id, fits, || {
            format!("{place}: `{name}` is missing or not {}", kind.name())
        });
    }
}

/// The type of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A string that is not empty.
    Word,
    Boolean,
    Object,
    Array,
    Texts,
    /// An integer above zero.
    Positive,
}

impl Kind {
    pub(crate) fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Word => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            Self::Positive => value.as_u64().is_some_and(|number| number > 0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Word => "a string that is not empty",
            Self::Boolean => "a boolean",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Texts => "an array of strings",
            Self::Positive => "an integer above zero",
        }
    }
}

/// Only the characters that a URL takes as they are.
pub(crate) fn is_unreserved(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}
