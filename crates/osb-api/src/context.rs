//! `context`: what a platform tells of where an instance or a binding lives (OSB-PROF-01 to -04).

use serde::{Deserialize, Serialize};

use crate::Object;

/// The context object as it was sent: unknown platforms and members are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Context(pub Object);
