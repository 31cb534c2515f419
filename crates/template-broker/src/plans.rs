//! Plans of a template, by the annotation `template.osb.internal/plans`:
//!
//! ```yaml
//! - name: small
//!   description: One gigabyte
//!   parameters: {SIZE: 1Gi}        # fixed; users cannot give it
//!   defaults: {MEMORY: 512Mi}      # instead of the template's default
//! - name: large
//!   description: A hundred gigabytes
//!   free: false
//!   parameters: {SIZE: 100Gi}
//! ```
//!
//! Without the annotation there is one plan, `default`.

use std::collections::BTreeMap;

use osb_sdk::Object;
use serde::Deserialize;
use serde_json::Value;
use template::Given;

use crate::parameters::Fixed;

/// A plan as the annotation has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRule {
    /// What users call it.
    pub name: String,
    /// One line for users.
    #[serde(default)]
    pub description: Option<String>,
    /// Its id; without it one is derived from namespace, template and name.
    #[serde(default)]
    pub id: Option<String>,
    /// Whether it costs nothing.
    #[serde(default = "yes")]
    pub free: bool,
    /// Whether its instances can be bound, whatever the template says.
    #[serde(default)]
    pub bindable: Option<bool>,
    /// Values of parameters that users cannot change.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// Defaults of parameters instead of the template's.
    #[serde(default)]
    pub defaults: BTreeMap<String, Value>,
    /// Shown by platforms, such as `bullets` and `costs`.
    #[serde(default)]
    pub metadata: Object,
    /// So long platforms poll for an operation, in seconds.
    #[serde(default)]
    pub maximum_polling_duration: Option<u64>,
}

fn yes() -> bool {
    true
}

impl PlanRule {
    /// The one plan of a template that names none.
    pub fn default_plan() -> Self {
        Self {
            name: "default".to_owned(),
            description: Some("Default plan".to_owned()),
            id: None,
            free: true,
            bindable: None,
            parameters: BTreeMap::new(),
            defaults: BTreeMap::new(),
            metadata: Object::new(),
            maximum_polling_duration: None,
        }
    }

    /// What it says of parameters.
    pub fn fixed(&self) -> Fixed {
        Fixed {
            values: texts(&self.parameters),
            defaults: texts(&self.defaults),
        }
    }
}

/// Values as the texts that a template takes.
fn texts(values: &BTreeMap<String, Value>) -> Given {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    values.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}
