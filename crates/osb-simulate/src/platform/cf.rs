//! The Cloud Controller.

use std::time::Duration;

use osb_api::Object;
use osb_api::catalog::Requires;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Collect, Draft, Judgement, Polled, Purpose, Rules, Then, Trouble, WEEK, World, credentials_are_an_object, identity,
    ids, regular_poll, set, set_parameters, success,
};
use crate::answer::{Answer, Outcome, summary};
use crate::call::{Call, Order, Terms, Verb};
use crate::transport::Lost;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A mitigation is tried so often; the pauses between are 2, 4, 8 … 1,024 minutes: 34 hours in all.
const MITIGATIONS: u32 = 11;

/// The codes of a 422 that say that nothing was made.
const HARMLESS: [&str; 3] = ["AsyncRequired", "ConcurrencyError", "MaintenanceInfoConflict"];

#[derive(Debug)]
pub(crate) struct CloudFoundry;

impl Rules for CloudFoundry {
    fn draft(&self, call: Call, order: &Order, world: &World, purpose: Purpose) -> Draft {
        let request = Uuid::new_v4();
        let trace = request.simple().to_string();
        let span = &trace[..16];
        let mut headers = vec![
            ("x-broker-api-version", "2.15".to_owned()),
            ("accept", "application/json".to_owned()),
            ("x-broker-api-request-identity", request.to_string()),
            ("x-vcap-request-id", format!("{request}::{}", Uuid::new_v4())),
            ("x-api-info-location", "api.cf.example.com/v2/info".to_owned()),
            ("x-b3-traceid", trace.clone()),
            ("x-b3-spanid", span.to_owned()),
            ("b3", format!("{trace}-{span}")),
        ];
        if call != Call::Catalog && purpose == Purpose::User {
            let user = identity("cloudfoundry", json!({"user_id": world.user}));
            headers.push(("x-broker-api-originating-identity", user));
        }
        let body = body(call, order, world);
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Draft { headers, body }
    }

    fn accepts_incomplete(&self, call: Call, terms: &Terms) -> bool {
        match call {
            Call::Provision | Call::Update | Call::Deprovision => true,
            Call::Bind | Call::Unbind => terms.bindings_retrievable,
            _ => false,
        }
    }

    fn patience(&self) -> Option<Duration> {
        Some(MINUTE)
    }

    fn judge(&self, verb: Verb, terms: &Terms, outcome: &Outcome) -> Judgement {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(lost) => {
                let then = Then::mitigate_if(verb.creates() && *lost == Lost::Timeout);
                return Judgement::Failed(Trouble::new(summary(outcome), then));
            }
        };
        let read = match (answer.status, verb.creates()) {
            (410, _) if verb.removes() => return Judgement::Done(Object::new()),
            (200 | 202, _) | (201, true) => read(verb, terms, answer),
            _ => Err(answer.summary()),
        };
        read.unwrap_or_else(|why| {
            let then = Then::mitigate_if(verb.creates() && mitigates(answer));
            Judgement::Failed(Trouble::new(why, then))
        })
    }

    fn judge_poll(&self, verb: Verb, outcome: &Outcome) -> Polled {
        match outcome {
            Ok(answer) if answer.status == 400 => Polled::Failed(Trouble::new(answer.summary(), Then::Nothing)),
            _ => regular_poll(verb, outcome, Then::Nothing).unwrap_or(Polled::Again),
        }
    }

    fn before_poll(&self, polls: u32, retry_after: Option<Duration>) -> Duration {
        match (polls, retry_after) {
            (0, _) => Duration::ZERO,
            (_, Some(asked)) => asked.clamp(MINUTE, DAY),
            (_, None) => MINUTE,
        }
    }

    fn polling_limit(&self, maximum: Option<Duration>) -> Option<Duration> {
        Some(maximum.map_or(WEEK, |maximum| maximum.min(WEEK)))
    }

    /// It never sends a request again; this is a user who does.
    fn before_retry(&self, _: u32) -> Duration {
        MINUTE
    }

    fn collects(&self, verb: Verb) -> Collect {
        if verb == Verb::Bind {
            Collect::Fetch
        } else {
            Collect::Nothing
        }
    }

    fn before_mitigation(&self, tries: u32, _: Duration) -> Option<Duration> {
        match tries {
            0 => Some(Duration::ZERO),
            MITIGATIONS.. => None,
            _ => Some(MINUTE * 2u32.pow(tries)),
        }
    }

    fn has_service_keys(&self) -> bool {
        true
    }

    fn polls_mitigation(&self) -> bool {
        false
    }
}

/// Whether the answer of a failed creation means that something may be left.
fn mitigates(answer: &Answer) -> bool {
    match answer.status {
        200 => false,
        201..=399 | 410 | 500..=599 => true,
        422 => !answer.error().is_some_and(|error| HARMLESS.contains(&error)),
        _ => false,
    }
}

fn read(verb: Verb, terms: &Terms, answer: &Answer) -> Result<Judgement, String> {
    let read = success(answer)?;
    if let (Verb::Bind, Judgement::Done(body)) = (verb, &read) {
        credentials_are_an_object(body)?;
        extras(terms, body)?;
    }
    Ok(read)
}

/// What a binding may have only if the offering says that it needs it.
fn extras(terms: &Terms, body: &Object) -> Result<(), String> {
    let needs = [
        ("syslog_drain_url", Requires::SyslogDrain, "syslog_drain"),
        ("volume_mounts", Requires::VolumeMount, "volume_mount"),
    ];
    for (name, permission, required) in needs {
        let has = body
            .get(name)
            .is_some_and(|value| !value.is_null() && *value != json!([]));
        if has && !terms.requires.contains(&permission) {
            return Err(format!("`{name}`, and the offering does not require `{required}`"));
        }
    }
    match body.get("route_service_url") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(url)) if url.starts_with("https://") => Ok(()),
        Some(_) => Err("`route_service_url` does not begin with https://".to_owned()),
    }
}

fn body(call: Call, order: &Order, world: &World) -> Option<Value> {
    let mut body = ids(order);
    match call {
        Call::Provision => {
            set(&mut body, "organization_guid", world.organization.clone());
            set(&mut body, "space_guid", world.space.clone());
            set_parameters(&mut body, call, order);
            if let Some(version) = &order.maintenance {
                set(&mut body, "maintenance_info", json!({"version": version}));
            }
        }
        // The plan is always sent, and parameters at least as `{}`.
        Call::Update => {
            set(
                &mut body,
                "plan_id",
                order.new_plan.as_ref().unwrap_or(&order.plan).clone(),
            );
            set(&mut body, "parameters", order.parameters.clone());
            let previous = json!({
                "plan_id": order.plan, "service_id": order.service,
                "organization_id": world.organization, "space_id": world.space,
                "maintenance_info": order.maintenance.as_ref().map(|version| json!({"version": version})),
            });
            set(&mut body, "previous_values", previous);
        }
        Call::Bind if order.app.is_empty() => {
            set(
                &mut body,
                "bind_resource",
                json!({"credential_client_id": "cc_service_key_client"}),
            );
            set_parameters(&mut body, call, order);
        }
        Call::Bind => {
            set(&mut body, "app_guid", order.app.clone());
            let resource = json!({"app_guid": order.app, "space_guid": world.space, "app_annotations": {}});
            set(&mut body, "bind_resource", resource);
            set_parameters(&mut body, call, order);
        }
        _ => return None,
    }
    set(&mut body, "context", context(call, order, world));
    Some(body)
}

fn context(call: Call, order: &Order, world: &World) -> Value {
    let mut context = json!({
        "platform": "cloudfoundry",
        "organization_guid": world.organization, "organization_name": "simulated",
        "organization_annotations": {},
        "space_guid": world.space, "space_name": "development", "space_annotations": {},
    });
    if call != Call::Bind {
        set(&mut context, "instance_name", order.name.clone());
        set(&mut context, "instance_annotations", json!({}));
    }
    context
}
