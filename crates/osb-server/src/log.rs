//! One structured line for each call that changes something, and for each request that the front refuses. No bodies, no
//! credentials; texts from outside are escaped.

use std::sync::Arc;
use std::time::Instant;

use osb_api::id::{BindingId, InstanceId};
use osb_api::identity::OriginatingIdentity;
use tracing::{error, field, info, warn};

use crate::broker::{Caller, Platform};
use crate::respond::{FrontError, Reply};

/// The longest text from outside that a line has, in characters.
const SHOWN: usize = 256;

/// What a line says of a call.
pub(crate) struct Mutation {
    verb: &'static str,
    platform: Platform,
    instance: InstanceId,
    binding: Option<BindingId>,
    identity: Option<Arc<OriginatingIdentity>>,
    request_identity: Option<Arc<str>>,
    started: Instant,
}

impl Mutation {
    pub(crate) fn new(verb: &'static str, caller: &Caller, instance: &InstanceId, binding: Option<&BindingId>) -> Self {
        Self {
            verb,
            platform: caller.platform.clone(),
            instance: instance.clone(),
            binding: binding.cloned(),
            identity: caller.identity.clone(),
            request_identity: caller.request_identity.clone(),
            started: Instant::now(),
        }
    }

    /// Writes the line.
    pub(crate) fn done(&self, reply: &Reply) {
        let status = reply.status().as_u16();
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    verb = self.verb,
                    platform = %escaped(&self.platform.0),
                    instance = %escaped(self.instance.as_str()),
                    binding = self.binding.as_ref().map(|id| field::display(escaped(id.as_str()))),
                    status,
                    error = reply.error_code(),
                    ms = self.started.elapsed().as_millis() as u64,
                    user = self.user().map(|text| field::display(escaped(text))),
                    request = self.request_identity.as_deref().map(|text| field::display(escaped(text))),
                    "call"
                )
            };
        }
        if status >= 500 { line!(warn) } else { line!(info) }
    }

    fn user(&self) -> Option<&str> {
        self.identity.as_ref()?.user()
    }

    /// Says that the broker's code panicked. The panic's own text may hold anything and is not repeated here.
    pub(crate) fn panicked(&self) {
        error!(verb = self.verb, instance = %escaped(self.instance.as_str()), "the broker panicked");
    }
}

/// The line of a request that the front refuses.
pub(crate) fn refused(method: &'static str, route: &'static str, refusal: &FrontError) {
    match refusal {
        FrontError::Panicked | FrontError::Stopping => warn!(method, route, reason = %refusal, "failed"),
        _ => info!(method, route, reason = %refusal, "refused"),
    }
}

/// Escaped like in a string literal, and cut.
fn escaped(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}
