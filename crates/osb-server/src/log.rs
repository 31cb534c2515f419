//! The audit: one structured line for each call that changes something, carried out or refused, with target `audit`.
//! And a line for each other request that the front refuses. No bodies, no credentials; texts from outside are escaped.

use std::sync::Arc;
use std::time::Instant;

use osb_api::id::{BindingId, InstanceId};
use osb_api::identity::OriginatingIdentity;
use tracing::{error, field, info, warn};

use crate::auth::Login;
use crate::broker::{Caller, Trail};
use crate::respond::{FrontError, Reply};
use crate::trace::Trace;

/// The target of the lines of the audit.
pub const AUDIT: &str = "audit";

/// The longest text from outside that a line has, in characters.
const SHOWN: usize = 256;

/// What is known of a request, from its head on: more with each step that it takes.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) login: Option<Login>,
    pub(crate) trace: Option<Arc<Trace>>,
    pub(crate) request_identity: Option<Arc<str>>,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) binding: Option<BindingId>,
}

/// What a line says of a call.
pub(crate) struct Mutation {
    verb: &'static str,
    login: Login,
    instance: InstanceId,
    binding: Option<BindingId>,
    service: Option<String>,
    plan: Option<String>,
    identity: Option<Arc<OriginatingIdentity>>,
    request_identity: Option<Arc<str>>,
    trace: Option<Arc<Trace>>,
    trail: Trail,
    started: Instant,
}

/// A text that is shown escaped, if there is one.
macro_rules! shown {
    ($text:expr) => {
        $text.map(|text| field::display(escaped(text)))
    };
}

impl Mutation {
    pub(crate) fn new(
        verb: &'static str,
        login: Login,
        caller: &Caller,
        instance: &InstanceId,
        binding: Option<&BindingId>,
    ) -> Self {
        Self {
            verb,
            login,
            instance: instance.clone(),
            binding: binding.cloned(),
            service: None,
            plan: None,
            identity: caller.identity.clone(),
            request_identity: caller.request_identity.clone(),
            trace: caller.trace.clone(),
            trail: caller.trail.clone(),
            started: Instant::now(),
        }
    }

    /// What the request names.
    pub(crate) fn of(mut self, service: Option<&str>, plan: Option<&str>) -> Self {
        self.service = service.map(str::to_owned);
        self.plan = plan.map(str::to_owned);
        self
    }

    /// Writes the line.
    pub(crate) fn done(&self, reply: &Reply) {
        let status = reply.status().as_u16();
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    target: AUDIT,
                    verb = self.verb,
                    platform = %escaped(&self.login.platform.0),
                    login = self.login.method,
                    login_name = %escaped(&self.login.name),
                    instance = %escaped(self.instance.as_str()),
                    binding = shown!(self.binding.as_ref().map(BindingId::as_str)),
                    service = shown!(self.service.as_deref()),
                    plan = shown!(self.plan.as_deref()),
                    status,
                    error = reply.error_code(),
                    begun = (status < 300).then(|| self.trail.says()),
                    ms = self.started.elapsed().as_millis() as u64,
                    user_platform = shown!(self.identity.as_ref().map(|identity| identity.platform.as_str())),
                    user = shown!(self.identity.as_ref().and_then(|identity| identity.user())),
                    user_id = shown!(self.identity.as_ref().and_then(|identity| identity.uid().or(identity.user_id()))),
                    request = shown!(self.request_identity.as_deref()),
                    trace_id = self.trace.as_ref().map(|trace| trace.trace_id.as_str()),
                    parent_id = self.trace.as_ref().map(|trace| trace.parent_id.as_str()),
                    "call"
                )
            };
        }
        if status >= 500 { line!(warn) } else { line!(info) }
    }

    /// Says that the broker's code panicked. The panic's own text may hold anything and is not repeated here.
    pub(crate) fn panicked(&self) {
        error!(verb = self.verb, instance = %escaped(self.instance.as_str()), "the broker panicked");
    }
}

/// The line of a request that the front refuses; of one that would change something it is the audit's.
pub(crate) fn refused(method: &'static str, route: &'static str, seen: &Seen, refusal: &FrontError) {
    macro_rules! line {
        ($level:ident, $target:expr, $said:literal) => {
            $level!(
                target: $target,
                method,
                route,
                status = refusal.status().as_u16(),
                platform = shown!(seen.login.as_ref().map(|login| &*login.platform.0)),
                login = seen.login.as_ref().map(|login| login.method),
                login_name = shown!(seen.login.as_ref().map(|login| &*login.name)),
                instance = shown!(seen.instance.as_ref().map(InstanceId::as_str)),
                binding = shown!(seen.binding.as_ref().map(BindingId::as_str)),
                reason = %refusal,
                request = shown!(seen.request_identity.as_deref()),
                trace_id = seen.trace.as_ref().map(|trace| trace.trace_id.as_str()),
                parent_id = seen.trace.as_ref().map(|trace| trace.parent_id.as_str()),
                $said
            )
        };
    }
    let failed = matches!(refusal, FrontError::Panicked);
    let changes = matches!(method, "PUT" | "PATCH" | "DELETE");
    match (changes, failed) {
        (true, true) => line!(warn, AUDIT, "failed"),
        (true, false) => line!(info, AUDIT, "refused"),
        (false, true) => line!(warn, module_path!(), "failed"),
        (false, false) => line!(info, module_path!(), "refused"),
    }
}

/// Escaped like in a string literal, and cut.
fn escaped(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}
