//! Credentials: what objects expose by annotations.
//!
//! `template.openshift.io/expose-password: "{.data['password']}"` on a Secret exposes its password under the name `password`. The
//! value of the annotation is a JSONPath template as kubectl has them, and is computed on the object as the cluster has it, of
//! whatever kind, `status` included. What stands in `data` of a Secret and in `binaryData` of a ConfigMap counts as the bytes that
//! it is base64 of; `base64-expose-` gives the base64 of all bytes of the result, for what is no text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use apimachinery::json::Value;
use apimachinery::jsonpath::{self, Found, JsonPath};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::annotation::{BASE64_EXPOSE, EXPOSE, EXPOSE_OPTIONAL};
use crate::problem::quoted;

/// The largest value of a credential, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 1 << 20;

/// Credentials by their names.
pub type Credentials = BTreeMap<String, String>;

/// What an annotation says.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// The name of the credential.
    pub key: String,
    is_base64: bool,
    is_optional: bool,
    template: JsonPath,
}

/// Why a credential is not exposed. Never quotes a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExposeError {
    /// The annotation has no name of a credential.
    #[error("the annotation {EXPOSE} has no name behind the dash; write {EXPOSE}NAME")]
    NoKey,
    /// What the annotation says is no JSONPath.
    #[error("credential {key}: {what}; write {{.path.to.a.value}} as for kubectl -o jsonpath")]
    Path {
        /// The credential.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// It is exposed more than once.
    #[error("credential {key} is exposed by {first} and by {second}; give one of them another name")]
    Twice {
        /// The credential.
        key: String,
        /// The object that was there.
        first: String,
        /// The object that came.
        second: String,
    },
    /// Nothing is there.
    #[error("credential {key}: {object} has nothing at the path; correct it, or name {key} in {EXPOSE_OPTIONAL}")]
    Missing {
        /// The credential.
        key: String,
        /// The object.
        object: String,
    },
    /// What is there is no single value.
    #[error("credential {key}: what {object} has at the path is {found}; lead to one text, number or boolean")]
    NoScalar {
        /// The credential.
        key: String,
        /// The object.
        object: String,
        /// What it is instead.
        found: &'static str,
    },
    /// Bytes that are no text.
    #[error("credential {key}: what {object} has at the path is no UTF-8; write {BASE64_EXPOSE}{key}")]
    NoText {
        /// The credential.
        key: String,
        /// The object.
        object: String,
    },
    /// Larger than [`MAX_CREDENTIAL_BYTES`].
    #[error("credential {key}: what {object} has at the path is larger than 1 MiB; expose less")]
    TooLarge {
        /// The credential.
        key: String,
        /// The object.
        object: String,
    },
}

/// What annotations expose, in the order of their names.
///
/// # Errors
///
/// When one has no name, or no JSONPath template, or two expose the same credential.
pub fn exposures<'a>(annotations: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Vec<Exposure>, ExposeError> {
    let annotations: BTreeMap<&str, &str> = annotations.collect();
    let optional = annotations.get(EXPOSE_OPTIONAL).copied().unwrap_or_default();
    let optional: Vec<&str> = optional.split(',').map(str::trim).collect();
    let mut found: Vec<Exposure> = Vec::new();
    for (name, text) in &annotations {
        let (key, is_base64) = match (name.strip_prefix(EXPOSE), name.strip_prefix(BASE64_EXPOSE)) {
            (Some(key), _) => (key, false),
            (_, Some(key)) => (key, true),
            _ => continue,
        };
        if key.is_empty() {
            return Err(ExposeError::NoKey);
        }
        if found.iter().any(|exposure| exposure.key == key) {
            let (first, second) = (format!("{EXPOSE}{key}"), format!("{BASE64_EXPOSE}{key}"));
            return Err(ExposeError::Twice {
                key: key.to_owned(),
                first,
                second,
            });
        }
        let template = JsonPath::template(text).map_err(|error| ExposeError::Path {
            key: key.to_owned(),
            what: error.to_string(),
        })?;
        found.push(Exposure {
            key: key.to_owned(),
            is_base64,
            is_optional: optional.contains(&key),
            template,
        });
    }
    Ok(found)
}

/// The credentials that objects of a cluster expose.
///
/// # Errors
///
/// When an annotation is wrong, a value is missing and not optional, no text, or exposed twice.
///
/// ```
/// use apimachinery::json::parse_strict;
/// use template::expose::credentials;
///
/// let (secret, _) = parse_strict(br#"{"apiVersion": "v1", "kind": "Secret",
///     "metadata": {"name": "db", "annotations": {"template.openshift.io/expose-password": "{.data.password}"}},
///     "data": {"password": "aHVudGVyMg=="}}"#).unwrap();
/// assert_eq!(credentials([&secret]).unwrap()["password"], "hunter2");
/// ```
pub fn credentials<'a, 't: 'a>(objects: impl IntoIterator<Item = &'a Value<'t>>) -> Result<Credentials, ExposeError> {
    let mut found = Credentials::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for object in objects {
        let Some(annotations) = object.pointer("/metadata/annotations").and_then(Value::as_object) else {
            continue;
        };
        let annotations = annotations.iter();
        let texts = annotations.filter_map(|(name, value)| Some((name, value.as_str()?)));
        for exposure in exposures(texts)? {
            let owner = name(object);
            if let Some(first) = owners.insert(exposure.key.clone(), owner.clone()) {
                return Err(ExposeError::Twice {
                    key: exposure.key,
                    first,
                    second: owner,
                });
            }
            if let Some(value) = exposure.value(object)? {
                found.insert(exposure.key, value);
            }
        }
    }
    Ok(found)
}

/// `Secret "db"`, for messages.
fn name(object: &Value<'_>) -> String {
    let kind = object["kind"].as_str().unwrap_or("the object");
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{kind} {}", quoted(name))
}

impl Exposure {
    /// Its value on an object; `None` where there is nothing and that may be.
    ///
    /// # Errors
    ///
    /// When there is nothing, or something else than one text, number or boolean for each path.
    pub fn value(&self, object: &Value<'_>) -> Result<Option<String>, ExposeError> {
        let key = || self.key.clone();
        let no_scalar = |found| ExposeError::NoScalar {
            key: key(),
            object: name(object),
            found,
        };
        let binary = binary(object);
        let mut out: Vec<u8> = Vec::new();
        for piece in self.template.pieces(object) {
            match piece {
                Found::Text(text) => out.extend_from_slice(text.as_bytes()),
                Found::Nothing if self.is_optional => return Ok(None),
                Found::Nothing => {
                    return Err(ExposeError::Missing {
                        key: key(),
                        object: name(object),
                    });
                }
                Found::Many => return Err(no_scalar("more than one value")),
                Found::Value(Value::Null) => return Err(no_scalar("null")),
                Found::Value(Value::Array(_)) => return Err(no_scalar("a list")),
                Found::Value(Value::Object(_)) => return Err(no_scalar("an object")),
                Found::Value(value) => out.extend_from_slice(&bytes(value, binary)),
            }
            if out.len() > MAX_CREDENTIAL_BYTES {
                return Err(ExposeError::TooLarge {
                    key: key(),
                    object: name(object),
                });
            }
        }
        if self.is_base64 {
            return Ok(Some(STANDARD.encode(&out)));
        }
        let text = String::from_utf8(out);
        text.map(Some).map_err(|_| ExposeError::NoText {
            key: key(),
            object: name(object),
        })
    }
}

/// The member of an object whose texts are base64 of bytes.
fn binary<'v, 't>(object: &'v Value<'t>) -> Option<&'v Value<'t>> {
    match (object["apiVersion"].as_str()?, object["kind"].as_str()?) {
        ("v1", "Secret") => object.get("data"),
        ("v1", "ConfigMap") => object.get("binaryData"),
        _ => None,
    }
}

/// The bytes that a scalar stands for.
fn bytes<'v>(value: &'v Value<'_>, binary: Option<&Value<'_>>) -> Cow<'v, [u8]> {
    let members = binary.and_then(Value::as_object);
    let is_binary = members.is_some_and(|members| members.values().any(|known| std::ptr::eq(known, value)));
    match value {
        Value::String(text) if is_binary => match STANDARD.decode(text.as_bytes()) {
            Ok(bytes) => Cow::Owned(bytes),
            Err(_) => Cow::Borrowed(text.as_bytes()),
        },
        Value::String(text) => Cow::Borrowed(text.as_bytes()),
        other => Cow::Owned(jsonpath::text(other).into_bytes()),
    }
}

#[cfg(test)]
mod tests;
