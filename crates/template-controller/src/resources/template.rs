//! `Template`, and the copy of one that a TemplateInstance carries.

use std::collections::BTreeMap;
use std::fmt;

use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{ApiVersion, TemplateKind};

/// A template as it is stored.
///
/// Its objects are texts, so that nothing in them changes on the way: numbers stay as they are written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// `template.openshift.io/v1`.
    #[serde(default)]
    pub api_version: ApiVersion,
    /// `Template`.
    #[serde(default)]
    pub kind: TemplateKind,
    /// Name, namespace, annotations. None of its labels reach the objects.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Shown to the user after instantiation; parameters are replaced in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The objects, each any JSON value.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub objects: Vec<Box<RawValue>>,
    /// The parameters, in the order of a form.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Labels that every object gets.
    #[serde(
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
}

/// OpenShift writes `null` where there are none.
fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A parameter of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// A label in a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Help for a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The default value: a text; numbers and booleans are taken as theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// The generator: `expression` or `derived`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<String>,
    /// What the generator works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether the value must not be empty in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

impl Template {
    /// The copy for a TemplateInstance: without what the server has added to the metadata.
    ///
    /// # Errors
    /// When a value cannot be written as JSON, which those that were read can.
    pub fn body(&self) -> Result<Body, BodyError> {
        let metadata = ObjectMeta {
            managed_fields: None,
            self_link: None,
            ..self.metadata.clone()
        };
        let copy = Template {
            metadata,
            ..self.clone()
        };
        serde_json::to_string(&copy)
            .map_err(|error| BodyError(error.to_string()))
            .and_then(Body::from_text)
    }
}

/// A text that is no template.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no template: {0}")]
pub struct BodyError(String);

/// A whole template as a JSON text, in which nothing changes on the way.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Body(Box<RawValue>);

impl Body {
    /// Takes a JSON text. Whether it is a template shows when it is read.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn from_text(text: String) -> Result<Self, BodyError> {
        RawValue::from_string(text)
            .map(Self)
            .map_err(|error| BodyError(error.to_string()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is no template, with what is wrong with it.
    pub fn read(&self) -> Result<template::Template<'_>, BodyError> {
        let document = template::json::read(self.as_str()).map_err(|error| BodyError(error.to_string()))?;
        template::Template::decode(document).map_err(|problems| BodyError(problems.to_string()))
    }
}

/// A template without objects.
impl Default for Body {
    fn default() -> Self {
        let empty = RawValue::from_string(r#"{"objects":[]}"#.to_owned());
        Self(empty.expect("a JSON text"))
    }
}

/// Without the text, which may hold passwords.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.as_str().len())
    }
}
