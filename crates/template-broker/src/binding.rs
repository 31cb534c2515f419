//! Credentials of its own for each binding: a template within the template, by the annotation
//! `template.osb.internal/binding-template`.
//!
//! ```yaml
//! kind: Template
//! metadata:
//!   name: database
//!   annotations:
//!     template.osb.internal/binding-template: |
//!       parameters:
//!       - {name: BINDING_NAME}                # what the broker gives
//!       - {name: CREDENTIAL_HOST}             # what the instance exposes as `host`
//!       - {name: DATABASE}                    # a parameter of the instance
//!       - {name: ROLE, value: reader}         # what the user of the binding may give
//!       - {name: PASSWORD, generate: expression, from: "[a-zA-Z0-9]{24}"}
//!       objects:
//!       - kind: Secret                        # what it exposes are the credentials of the binding
//!         apiVersion: v1
//!         metadata:
//!           name: ${BINDING_NAME}
//!           annotations: {template.openshift.io/expose-password: "{.data.password}"}
//!         stringData: {password: "${PASSWORD}"}
//!       - kind: Job                           # makes the login; the binding is there when it has succeeded
//!         apiVersion: batch/v1
//!         metadata:
//!           name: ${BINDING_NAME}
//!           annotations: {template.alpha.openshift.io/wait-for-ready: "true"}
//!         # ...
//! ```
//!
//! Its objects are made at each bind, as a TemplateInstance of their own and in the name of whoever binds, and are removed at
//! unbind. Each parameter has the first of these values that there is:
//!
//! 1. what the broker knows: `BINDING_ID` and `INSTANCE_ID` as the platform calls them, `BINDING_NAME`, a name of letters,
//!    digits and `-` that no other binding ever has, and `INSTANCE_NAME`, the name of the TemplateInstance;
//! 2. for `CREDENTIAL_` and a name: what the instance exposes under this name, in capitals and with `_` for all that is neither
//!    letter nor digit;
//! 3. the value that a parameter of the same name has in the instance, generated or given, unless it has a generator of its own:
//!    so that the `PASSWORD` of a binding is never that of the instance;
//! 4. what the user of the binding gives: only parameters that have none of the values above are offered to him;
//! 5. its default or generator.
//!
//! What the instance exposes is no part of the binding's credentials, unless the template of the binding exposes it again: so the
//! password of an administrator stays where it is.
//!
//! `template.osb.internal/unbinding-template` is a template of the same form whose objects are made before those of the binding
//! are removed, and removed with them: a Job that takes the login back, for instance. Its parameters have the values that those of
//! the binding had, generated ones, too.

use std::collections::BTreeMap;

use template::{Given, Template, document};
use template_controller::resources::Body;

use crate::annotation;
use crate::offering::exposes_anything;
use crate::parameters::{Parameter, Parameters, Rules};

/// What stands before the name of something that the instance exposes.
pub const CREDENTIAL: &str = "CREDENTIAL_";

/// Parameters whose values the broker knows.
pub const KNOWN: [&str; 4] = ["BINDING_ID", "BINDING_NAME", "INSTANCE_ID", "INSTANCE_NAME"];

/// The largest template in an annotation, in bytes: annotations of an object are bounded to 256 KiB together.
const MAX_TEMPLATE: usize = 128 << 10;

/// Why an annotation is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// It is too large.
    #[error("annotation {0}: is larger than 128 KiB")]
    TooLarge(&'static str),
    /// It is something else, or more than one.
    #[error("annotation {0}: is not one template: {1}")]
    NoTemplate(&'static str, String),
}

/// A template for bindings.
#[derive(Clone, Debug)]
pub struct BindingTemplate {
    /// The template.
    pub body: Body,
    /// The parameters that the user of a binding may give.
    pub parameters: Parameters,
    /// The names of all its parameters, and whether they have generators.
    pub names: Vec<(String, bool)>,
    /// Whether its objects expose anything.
    pub exposes: bool,
}

/// What the parameters of a binding are made of.
#[derive(Clone, Default)]
pub struct Facts {
    /// Those of [`KNOWN`], by their names.
    pub known: Given,
    /// What the instance exposes.
    pub credentials: BTreeMap<String, String>,
    /// The values of the instance's parameters.
    pub instance: Given,
}

impl BindingTemplate {
    /// The template for the bindings of a template's instances; `None` where all bindings have what the instance exposes.
    ///
    /// # Errors
    /// [`BindingError`].
    pub fn of(template: &Template<'_>) -> Result<Option<Self>, BindingError> {
        Self::read(template, annotation::BINDING_TEMPLATE)
    }

    /// The template whose objects are made before those of a binding are removed, where there is one.
    ///
    /// # Errors
    /// [`BindingError`].
    pub fn undoing(template: &Template<'_>) -> Result<Option<Self>, BindingError> {
        Self::read(template, annotation::UNBINDING_TEMPLATE)
    }

    fn read(template: &Template<'_>, name: &'static str) -> Result<Option<Self>, BindingError> {
        let Some(text) = template.annotation(name) else {
            return Ok(None);
        };
        if text.len() > MAX_TEMPLATE {
            return Err(BindingError::TooLarge(name));
        }
        let wrong = |why: String| BindingError::NoTemplate(name, why);
        let documents = document::read(text).map_err(|error| wrong(error.to_string()))?;
        let [document] = <[template::json::Document<'_>; 1]>::try_from(documents)
            .map_err(|documents| wrong(format!("there are {} documents in it", documents.len())))?;
        let body = Body::from_text(document.value.to_string()).map_err(|error| wrong(error.to_string()))?;
        let own = body.read().map_err(|error| wrong(error.to_string()))?;
        template::lint::validate(&own).map_err(|problems| wrong(problems.to_string()))?;
        let rules: Rules = match own.annotation(annotation::PARAMETERS) {
            Some(rules) => serde_saphyr::from_str(rules).map_err(|error| wrong(error.to_string()))?,
            None => Rules::default(),
        };
        let is_of_instance = |one: &Parameter| !one.is_generated() && template.parameter(&one.name).is_some();
        let parameters = Parameters::of(&own, &rules).only(|one| !is_settled(&one.name) && !is_of_instance(one));
        let names = own
            .declared()
            .map(|parameter| (parameter.name.clone().into_owned(), !parameter.generate.is_empty()))
            .collect();
        let exposes = exposes_anything(&own);
        drop(own);
        Ok(Some(Self {
            body,
            parameters,
            names,
            exposes,
        }))
    }

    /// Whether it wants something that the instance exposes.
    pub fn needs_credentials(&self) -> bool {
        self.names.iter().any(|(name, _)| name.starts_with(CREDENTIAL))
    }

    /// The values of its parameters, over those that the user gives.
    pub fn values(&self, facts: &Facts, mut given: Given) -> Given {
        let credentials: BTreeMap<String, &String> = facts
            .credentials
            .iter()
            .map(|(name, value)| (parameter_of(name), value))
            .collect();
        for (name, is_generated) in &self.names {
            let known = facts.known.get(name).or_else(|| credentials.get(name).copied());
            let inherits = !is_settled(name) && !is_generated;
            let known = known.or_else(|| facts.instance.get(name).filter(|_| inherits));
            if let Some(value) = known {
                given.insert(name.clone(), value.clone());
            }
        }
        given
    }
}

/// Whether no user gives a parameter of that name, whatever the instance has.
fn is_settled(name: &str) -> bool {
    KNOWN.contains(&name) || name.starts_with(CREDENTIAL)
}

/// The parameter for something that the instance exposes.
fn parameter_of(credential: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    CREDENTIAL.chars().chain(credential.chars().map(plain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = r#"
kind: Template
metadata:
  name: database
  annotations:
    template.osb.internal/binding-template: |
      metadata: {annotations: {template.osb.internal/parameters: "ROLE: {enum: [reader, writer]}"}}
      parameters: [{name: BINDING_ID}, {name: CREDENTIAL_ADMIN_NAME}, {name: DATABASE}, {name: ROLE}, {name: INSTANCE_NAME}]
      objects:
      - {kind: Secret, apiVersion: v1, metadata: {name: "x", annotations: {template.openshift.io/expose-x: "{.data.x}"}}}
parameters: [{name: DATABASE, value: db}]
objects: []
"#;

    fn of(text: &str) -> Result<Option<BindingTemplate>, BindingError> {
        BindingTemplate::of(&document::templates(text).unwrap()[0])
    }

    #[test]
    fn users_give_what_nobody_else_knows() {
        let binding = of(DATABASE).unwrap().unwrap();
        let open: Vec<&str> = binding.parameters.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(open, ["ROLE"]);
        assert!(binding.exposes && binding.needs_credentials());
        assert!(of("kind: Template\nobjects: []\n").unwrap().is_none());
    }

    #[test]
    fn the_broker_comes_before_the_instance_and_the_instance_before_the_user() {
        let texts = |values: &[(&str, &str)]| -> Given {
            let owned = values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            owned.collect()
        };
        let facts = Facts {
            known: texts(&[("BINDING_ID", "b"), ("INSTANCE_NAME", "i")]),
            credentials: texts(&[("admin-name", "root"), ("password", "secret")]),
            instance: texts(&[("DATABASE", "shop"), ("OTHER", "x"), ("BINDING_ID", "forged")]),
        };
        let binding = of(DATABASE).unwrap().unwrap();
        let values = binding.values(&facts, texts(&[("ROLE", "writer"), ("DATABASE", "theirs")]));
        let expected = [
            ("BINDING_ID", "b"),
            ("CREDENTIAL_ADMIN_NAME", "root"),
            ("DATABASE", "shop"),
            ("INSTANCE_NAME", "i"),
            ("ROLE", "writer"),
        ];
        assert_eq!(values, texts(&expected));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let with = |text: &str| {
            let annotation = serde_json::to_string(text).unwrap();
            let name = annotation::BINDING_TEMPLATE;
            of(&format!(
                "kind: Template\nmetadata: {{annotations: {{{name}: {annotation}}}}}\nobjects: []\n"
            ))
        };
        for wrong in ["", "{", "[1]", "objects: 7", "objects: []\n---\nobjects: []\n"] {
            assert!(matches!(with(wrong), Err(BindingError::NoTemplate(..))), "{wrong}");
        }
        let large = format!("message: {}\nobjects: []\n", "x".repeat(MAX_TEMPLATE));
        assert_eq!(
            with(&large).unwrap_err(),
            BindingError::TooLarge(annotation::BINDING_TEMPLATE)
        );
    }
}
