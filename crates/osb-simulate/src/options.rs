//! The settings of a simulation.

use std::time::Duration;

use osb_api::Object;
use serde_json::Value;

/// What is bought, and how patient the tester is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plans to play with, by name or id; each scenario is played with each of them. Default: the first plan of
    /// the catalog that can be bound, else the first.
    pub plans: Vec<String>,
    /// The parameters of each provision. Default: none.
    pub parameters: Object,
    /// The parameters of each bind. Default: none.
    pub bind_parameters: Object,
    /// Parameters with which a provision fails. Without them that scenario is left out.
    pub failing_parameters: Option<Object>,
    /// The scenarios to play, by name. Default: all.
    pub scenarios: Vec<String>,
    /// How long one scenario may take, in real time. Default two minutes: what is not over then has failed. Enough for
    /// a [`VirtualClock`](crate::VirtualClock); platforms in real time need an hour.
    pub limit: Duration,
    /// How long a broker may take, in real time, to finish what nobody waits for, and to end an operation before the
    /// limits count that a platform sets on polling in virtual time. Default 30 s.
    pub settle: Duration,
}

impl Options {
    /// The default, with the parameters of each provision.
    ///
    /// ```
    /// use osb_simulate::Options;
    ///
    /// let options = Options::with_parameters([("size_gb", 5)]);
    /// assert_eq!(options.parameters["size_gb"], 5);
    /// ```
    pub fn with_parameters<N: Into<String>, V: Into<Value>>(parameters: impl IntoIterator<Item = (N, V)>) -> Self {
        let parameters = parameters.into_iter();
        Self {
            parameters: parameters.map(|(name, value)| (name.into(), value.into())).collect(),
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plans: Vec::new(),
            parameters: Object::new(),
            bind_parameters: Object::new(),
            failing_parameters: None,
            scenarios: Vec::new(),
            limit: Duration::from_secs(120),
            settle: Duration::from_secs(30),
        }
    }
}
