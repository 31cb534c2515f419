//! Reading JSON from outside: strict where a mistake could be misread, silent about values.
//!
//! Nesting is bounded, a member that stands twice is refused (which of the two counts differs from parser to parser),
//! and an error names the place and what was expected there, never the value: it may be a secret. Unknown members are
//! ignored (OSB-GEN-01); `null` counts as absent (Amb-29).

use std::fmt::Write as _;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::Object;
use crate::id::IdError;

/// The deepest nesting that is read: objects and arrays within each other, the body itself being the first.
pub const MAX_DEPTH: usize = 64;

/// How names start that mean something to serde_json: what was taken with one would be read as something else, or not at
/// all, when it comes back from where it was stored.
const RESERVED: &str = "$serde_json::private::";

/// How much of one member's name an error shows, in characters.
const SHOWN_NAME: usize = 64;

/// Why a body cannot be used: 400 (OSB-PROV-09, OSB-CT-03).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON.
    #[error("the body is not valid JSON: line {line}, column {column}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1; 0 for the start of a line.
        column: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the body is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A member stands twice in one object.
    #[error("`{path}` stands twice")]
    Duplicate {
        /// The member.
        path: String,
    },
    /// The body is no object.
    #[error("the body has to be a JSON object")]
    NoObject,
    /// A required member is not there.
    #[error("`{path}` is required")]
    Missing {
        /// The member.
        path: String,
    },
    /// A member has another type.
    #[error("`{path}` has to be {expected}")]
    WrongType {
        /// The member.
        path: String,
        /// The type with its article: `a string`.
        expected: &'static str,
    },
    /// A member has the right type and cannot be used.
    #[error("`{path}` {reason}")]
    Unusable {
        /// The member.
        path: String,
        /// What is wrong: `must not be empty`.
        reason: String,
    },
}

/// Reads one JSON value and nothing after it.
///
/// # Errors
/// [`BodyError::Syntax`], [`BodyError::TooDeep`], [`BodyError::Duplicate`]; [`BodyError::Unusable`] for a member whose name
/// serde_json keeps for itself.
pub fn read(bytes: &[u8]) -> Result<Value, BodyError> {
    let mut failure = None;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let strict = Strict {
        depth: MAX_DEPTH,
        failure: &mut failure,
    };
    let read = strict
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| {
        let syntax = || BodyError::Syntax {
            line: error.line(),
            column: error.column(),
        };
        failure.map_or_else(syntax, Failure::into_error)
    })
}

/// What [`Strict`] has found, with the way to it, innermost first. It travels beside serde's error, which is a text.
struct Failure {
    kind: FailureKind,
    way: Vec<Step>,
}

enum FailureKind {
    TooDeep,
    Duplicate,
    Reserved,
}

enum Step {
    Name(String),
    Index(usize),
}

impl Failure {
    fn into_error(self) -> BodyError {
        match self.kind {
            FailureKind::TooDeep => BodyError::TooDeep,
            FailureKind::Duplicate => BodyError::Duplicate {
                path: path_of(self.way.iter().rev()),
            },
            FailureKind::Reserved => BodyError::Unusable {
                path: path_of(self.way.iter().rev()),
                reason: "has a name that cannot be used".to_owned(),
            },
        }
    }
}

fn path_of<'a>(way: impl Iterator<Item = &'a Step>) -> String {
    way.fold(String::new(), |path, step| match step {
        Step::Name(name) => child(&path, name),
        Step::Index(index) => element(&path, *index),
    })
}

/// The path of a member.
fn child(path: &str, name: &str) -> String {
    let mut child = path.to_owned();
    if !child.is_empty() {
        child.push('.');
    }
    child.extend(name.chars().take(SHOWN_NAME).flat_map(char::escape_debug));
    if name.chars().nth(SHOWN_NAME).is_some() {
        child.push('…');
    }
    child
}

/// The path of an element of an array.
fn element(path: &str, index: usize) -> String {
    let mut element = path.to_owned();
    write!(element, "[{index}]").expect("writing to a String does not fail");
    element
}

/// Builds a [`Value`], counting the levels that are left.
struct Strict<'a> {
    depth: usize,
    failure: &'a mut Option<Failure>,
}

impl Strict<'_> {
    fn inner<E: serde::de::Error>(&mut self) -> Result<Strict<'_>, E> {
        let Some(depth) = self.depth.checked_sub(1) else {
            *self.failure = Some(Failure {
                kind: FailureKind::TooDeep,
                way: Vec::new(),
            });
            return Err(E::custom("too deep"));
        };
        Ok(Strict {
            depth,
            failure: self.failure,
        })
    }

    fn step(&mut self, step: Step) {
        if let Some(failure) = self.failure {
            failure.way.push(step);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        loop {
            match seq.next_element_seed(self.inner::<A::Error>()?) {
                Ok(Some(value)) => elements.push(value),
                Ok(None) => return Ok(Value::Array(elements)),
                Err(error) => {
                    self.step(Step::Index(elements.len()));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        self.inner::<A::Error>()?;
        while let Some(name) = map.next_key::<String>()? {
            let refused = if object.contains_key(&name) {
                Some(FailureKind::Duplicate)
            } else {
                name.starts_with(RESERVED).then_some(FailureKind::Reserved)
            };
            if let Some(kind) = refused {
                let way = vec![Step::Name(name)];
                *self.failure = Some(Failure { kind, way });
                return Err(A::Error::custom("refused"));
            }
            match map.next_value_seed(self.inner::<A::Error>()?) {
                Ok(value) => object.insert(name, value),
                Err(error) => {
                    self.step(Step::Name(name));
                    return Err(error);
                }
            };
        }
        Ok(Value::Object(object))
    }
}

/// The members of an object, taken out one by one by name and type.
///
/// Each reader answers `None` for a member that is absent or `null`; [`Members::required`] makes an error of that.
#[derive(Clone, Debug)]
pub struct Members {
    path: String,
    object: Object,
}

impl Members {
    /// Reads a body that has to be an object.
    ///
    /// # Errors
    /// Those of [`read`], and [`BodyError::NoObject`].
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        Self::of(read(bytes)?)
    }

    /// The members of a whole document.
    ///
    /// # Errors
    /// [`BodyError::NoObject`].
    pub fn of(value: Value) -> Result<Self, BodyError> {
        match value {
            Value::Object(object) => Ok(Self {
                path: String::new(),
                object,
            }),
            _ => Err(BodyError::NoObject),
        }
    }

    /// What has not been taken out.
    pub fn into_object(self) -> Object {
        self.object
    }

    /// A member that has to be there, read by one of the readers below.
    ///
    /// # Errors
    /// [`BodyError::Missing`], and those of the reader.
    pub fn required<T>(
        &mut self,
        name: &str,
        read: impl Fn(&mut Self, &str) -> Result<Option<T>, BodyError>,
    ) -> Result<T, BodyError> {
        read(self, name)?.ok_or_else(|| BodyError::Missing {
            path: child(&self.path, name),
        })
    }

    /// Any string.
    ///
    /// # Errors
    /// [`BodyError::WrongType`].
    pub fn string(&mut self, name: &str) -> Result<Option<String>, BodyError> {
        self.take(name, "a string", |value| {
            if let Value::String(text) = value {
                Some(text)
            } else {
                None
            }
        })
    }

    /// A string that is not empty.
    ///
    /// # Errors
    /// [`BodyError::WrongType`], [`BodyError::Unusable`].
    pub fn text(&mut self, name: &str) -> Result<Option<String>, BodyError> {
        let text = self.string(name)?;
        if text.as_ref().is_some_and(String::is_empty) {
            return Err(self.unusable(name, &IdError::Empty));
        }
        Ok(text)
    }

    /// An identifier.
    ///
    /// # Errors
    /// [`BodyError::WrongType`], [`BodyError::Unusable`].
    pub fn id<T: TryFrom<String, Error = IdError>>(&mut self, name: &str) -> Result<Option<T>, BodyError> {
        self.string(name)?
            .map(|text| T::try_from(text).map_err(|error| self.unusable(name, &error)))
            .transpose()
    }

    /// An object, as it is.
    ///
    /// # Errors
    /// [`BodyError::WrongType`].
    pub fn object(&mut self, name: &str) -> Result<Option<Object>, BodyError> {
        self.take(name, "an object", |value| {
            if let Value::Object(object) = value {
                Some(object)
            } else {
                None
            }
        })
    }

    /// An object, to be read further.
    ///
    /// # Errors
    /// [`BodyError::WrongType`].
    pub fn members(&mut self, name: &str) -> Result<Option<Self>, BodyError> {
        let path = child(&self.path, name);
        Ok(self.object(name)?.map(|object| Self { path, object }))
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`BodyError::WrongType`].
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, BodyError> {
        self.take(name, "a boolean", |value| value.as_bool())
    }

    /// An integer from 0 on.
    ///
    /// # Errors
    /// [`BodyError::WrongType`].
    pub fn integer(&mut self, name: &str) -> Result<Option<u64>, BodyError> {
        self.take(name, "an integer from 0 on", |value| value.as_u64())
    }

    /// An array of strings.
    ///
    /// # Errors
    /// [`BodyError::WrongType`], for the array or the first element that is no string.
    pub fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>, BodyError> {
        self.array(name, |path, value| match value {
            Value::String(text) => Ok(text),
            _ => Err(BodyError::WrongType {
                path,
                expected: "a string",
            }),
        })
    }

    /// An array of objects, to be read further.
    ///
    /// # Errors
    /// [`BodyError::WrongType`], for the array or the first element that is no object.
    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Self>>, BodyError> {
        self.array(name, |path, value| match value {
            Value::Object(object) => Ok(Self { path, object }),
            _ => Err(BodyError::WrongType {
                path,
                expected: "an object",
            }),
        })
    }

    /// The error of a member that has the right type and cannot be used.
    pub fn unusable(&self, name: &str, reason: &dyn std::fmt::Display) -> BodyError {
        BodyError::Unusable {
            path: child(&self.path, name),
            reason: reason.to_string(),
        }
    }

    fn array<T>(
        &mut self,
        name: &str,
        read: impl Fn(String, Value) -> Result<T, BodyError>,
    ) -> Result<Option<Vec<T>>, BodyError> {
        let path = child(&self.path, name);
        let values = self.take(name, "an array", |value| {
            if let Value::Array(values) = value {
                Some(values)
            } else {
                None
            }
        })?;
        values
            .map(|values| {
                values
                    .into_iter()
                    .enumerate()
                    .map(|(index, value)| read(element(&path, index), value))
                    .collect()
            })
            .transpose()
    }

    fn take<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, BodyError> {
        match self.object.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| BodyError::WrongType {
                path: child(&self.path, name),
                expected,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        let mut text = "[".repeat(levels);
        text.push_str(&"]".repeat(levels));
        text.into_bytes()
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(BodyError::TooDeep));
        assert_eq!(read("[".repeat(1_000_000).as_bytes()), Err(BodyError::TooDeep));
        assert_eq!(read(r#"{"a":"#.repeat(1_000_000).as_bytes()), Err(BodyError::TooDeep));
    }

    #[test]
    fn a_duplicate_member_is_named_with_its_path() {
        for (text, path) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":{"b":[0,{"c":1,"d":2,"c":3}]}}"#, "a.b[1].c"),
            (r#"{"\u0061":1,"a":2}"#, "a"),
            (r#"{"a\nb":1,"a\nb":2}"#, r"a\nb"),
        ] {
            assert_eq!(
                read(text.as_bytes()),
                Err(BodyError::Duplicate { path: path.to_owned() }),
                "{text}"
            );
        }
        let long = "x".repeat(1000);
        let Err(error) = read(format!(r#"{{"{long}":1,"{long}":2}}"#).as_bytes()) else {
            panic!()
        };
        assert!(error.to_string().len() < 100, "{error}");
    }

    #[test]
    fn a_name_that_serde_json_keeps_for_itself_is_refused() {
        for (text, path) in [
            (
                r#"{"a":{"$serde_json::private::RawValue":"[1"}}"#,
                "a.$serde_json::private::RawValue",
            ),
            (
                r#"[{"\u0024serde_json::private::Number":"1"}]"#,
                "[0].$serde_json::private::Number",
            ),
        ] {
            let reason = "has a name that cannot be used".to_owned();
            let path = path.to_owned();
            assert_eq!(read(text.as_bytes()), Err(BodyError::Unusable { path, reason }));
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        assert_eq!(read(b"{\"a\": hunter2}"), Err(BodyError::Syntax { line: 1, column: 7 }));
        for text in [
            &b""[..],
            b"{",
            b"{}{}",
            b"{} x",
            b"{\"a\":\"\xff\"}",
            b"{'a':1}",
            b"{\"a\":01}",
            b"[1,]",
            b"\xef\xbb\xbf{}",
            b"{\"a\":1e999}",
            br#"{"a":"\ud800"}"#,
        ] {
            assert!(
                matches!(read(text), Err(BodyError::Syntax { .. })),
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn numbers_keep_their_kind() {
        assert_eq!(
            read(b"[1,-1,1.5,1e3,18446744073709551615]").unwrap(),
            json!([1, -1, 1.5, 1e3, u64::MAX])
        );
    }

    #[test]
    fn wrong_types_name_the_path_and_the_type_but_not_the_value() {
        let mut body = Members::read(br#"{"a":{"b":["x",{"secret":"hunter2"}],"c":"hunter2","d":""}}"#).unwrap();
        let mut a = body.required("a", Members::members).unwrap();
        let messages = [
            a.strings("b").unwrap_err(),
            a.object("c").unwrap_err(),
            a.text("d").unwrap_err(),
            a.required("e", Members::string).unwrap_err(),
        ];
        let messages = messages.map(|error| error.to_string());
        assert_eq!(
            messages,
            [
                "`a.b[1]` has to be a string",
                "`a.c` has to be an object",
                "`a.d` must not be empty",
                "`a.e` is required"
            ]
        );
        assert_eq!(Members::read(b"[]").unwrap_err(), BodyError::NoObject);
    }

    /// Amb-29.
    #[test]
    fn null_counts_as_absent() {
        let mut body = Members::read(br#"{"a":null}"#).unwrap();
        assert_eq!(body.string("a"), Ok(None));
        assert_eq!(
            body.required("a", Members::string),
            Err(BodyError::Missing { path: "a".to_owned() })
        );
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in values()) {
            prop_assert_eq!(read(value.to_string().as_bytes()).unwrap(), value);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn arbitrary_json_like_text_never_panics(text in r#"[\[\]{}",:a0\\ .eE+-]{0,64}"#) {
            let strict = read(text.as_bytes());
            if strict.is_ok() {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
            }
        }
    }
}
