//! OpenShift Templates: their types, parameters, generators, processing and validation.
//!
//! A [`Template`] is a list of objects in which parameters stand: [`document::templates`] reads it, [`Template::resolve`] finds the
//! values of its parameters, [`Template::process`] makes the objects, [`lint::lint`] tells what is wrong with it, and
//! [`expose::credentials`] finds what the objects expose once a cluster has them.
//!
//! What templates of others mean is kept, with the mistakes of the processor that they were written for left out: numbers stay
//! as they are written, what is inserted is not looked at again, ranges have both ends, passwords come from the system's
//! randomness. What is added changes no existing template: functions and an escape in references ([`reference`](mod@reference)),
//! parameters derived from others ([`resolve`]), objects under a condition ([`condition`]).
//!
//! There is no input and output, no async, and nothing of Open Service Broker here. Texts from outside never panic anything and
//! cost bounded time and memory; no message says the value of a parameter.
//!
//! ```
//! use template::{Given, Options, SystemRandom, Unknown, document};
//!
//! let text = "
//! kind: Template
//! apiVersion: template.openshift.io/v1
//! metadata: {name: greeting}
//! parameters:
//! - {name: NAME, value: world}
//! objects:
//! - kind: ConfigMap
//!   apiVersion: v1
//!   metadata: {name: '${NAME}'}
//!   data: {greeting: 'hello ${NAME|upper}'}
//! ";
//! let template = &document::templates(text)?[0];
//! let values = template.resolve(&Given::new(), Unknown::Refused, &mut SystemRandom)?;
//! let processed = template.process(&values, &Options::default())?;
//! assert_eq!(processed.objects[0].object.get("data").unwrap().to_string(), r#"{"greeting":"hello WORLD"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod annotation;
pub mod condition;
pub mod document;
pub mod expose;
pub mod generator;
pub mod groups;
pub mod json;
pub mod lint;
pub mod model;
pub mod problem;
pub mod process;
pub mod random;
pub mod reference;
pub mod resolve;
pub mod roles;
pub mod yaml;

pub use model::{Parameter, Template};
pub use problem::{Place, Problem, Problems, Rule, Severity};
pub use process::{Made, Options, Processed};
pub use random::{NoRandomness, Random, SystemRandom};
pub use resolve::{Given, Origin, Resolved, Unknown, Values};
pub use roles::Roles;
