//! Kubernetes Service Catalog 0.3.

use std::time::Duration;

use osb_api::Object;
use osb_api::error::Reserved;
use serde_json::{Value, json};

use super::{
    Collect, Draft, Judgement, Polled, Purpose, Rules, Then, Trouble, WEEK, World, doubling, identity, ids,
    regular_poll, set, set_parameters, success,
};
use crate::answer::{Answer, Outcome, summary};
use crate::call::{Call, Order, Terms, Verb};
use crate::transport::Lost;

const SECOND: Duration = Duration::from_secs(1);
/// The longest pause between two polls and between two requests.
const LONGEST_PAUSE: Duration = Duration::from_secs(20 * 60);

#[derive(Debug)]
pub(crate) struct ServiceCatalog;

impl Rules for ServiceCatalog {
    fn draft(&self, call: Call, order: &Order, world: &World, _: Purpose) -> Draft {
        let mut headers = vec![
            ("x-broker-api-version", "2.14".to_owned()),
            ("user-agent", "Go-http-client/1.1".to_owned()),
        ];
        if !matches!(call, Call::Catalog | Call::FetchInstance | Call::FetchBinding) {
            headers.push(("x-broker-api-originating-identity", user(world)));
        }
        let body = body(call, order, world);
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Draft { headers, body }
    }

    /// Asynchronous bindings are an alpha feature that is off by default.
    fn accepts_incomplete(&self, call: Call, _: &Terms) -> bool {
        matches!(call, Call::Provision | Call::Update | Call::Deprovision)
    }

    fn patience(&self) -> Option<Duration> {
        Some(60 * SECOND)
    }

    fn judge(&self, verb: Verb, _: &Terms, outcome: &Outcome) -> Judgement {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(lost) => {
                let then = Then::mitigate_if(verb.creates() && *lost == Lost::Timeout);
                return Judgement::Retry(Trouble::new(summary(outcome), then));
            }
        };
        let read = match (answer.status, verb.creates()) {
            (410, _) if verb.removes() => return Judgement::Done(Object::new()),
            (200 | 202, _) | (201, true) => read(verb, answer),
            (400, _) => return Judgement::Failed(Trouble::new(answer.summary(), Then::Nothing)),
            _ => Err(refusal(answer)),
        };
        read.unwrap_or_else(|why| {
            let uncertain = matches!(answer.status, 201..=299 | 500..=599);
            Judgement::Retry(Trouble::new(why, Then::mitigate_if(verb.creates() && uncertain)))
        })
    }

    fn judge_poll(&self, verb: Verb, outcome: &Outcome) -> Polled {
        match outcome {
            Ok(answer) if answer.status == 400 => {
                Polled::Failed(Trouble::new(answer.summary(), Then::mitigate_if(verb.creates())))
            }
            _ => regular_poll(verb, outcome, Then::mitigate_if(verb.creates())).unwrap_or(Polled::Again),
        }
    }

    /// `Retry-After` is read and not looked at.
    fn before_poll(&self, polls: u32, _: Option<Duration>) -> Duration {
        doubling(SECOND, polls, LONGEST_PAUSE)
    }

    fn polling_limit(&self, _: Option<Duration>) -> Option<Duration> {
        Some(WEEK)
    }

    fn before_retry(&self, retries: u32) -> Duration {
        doubling(SECOND, retries.saturating_sub(1), LONGEST_PAUSE)
    }

    fn collects(&self, _: Verb) -> Collect {
        Collect::Nothing
    }

    fn before_mitigation(&self, tries: u32, spent: Duration) -> Option<Duration> {
        let pause = match tries {
            0 => Duration::ZERO,
            _ => doubling(SECOND, tries - 1, LONGEST_PAUSE),
        };
        (spent + pause <= WEEK).then_some(pause)
    }

    fn trusts_refusals(&self) -> bool {
        true
    }
}

/// The reserved errors count only when both code and text are the specification's.
fn refusal(answer: &Answer) -> String {
    let known = [
        Reserved::AsyncRequired,
        Reserved::ConcurrencyError,
        Reserved::RequiresApp,
    ];
    let reserved = known
        .into_iter()
        .find(|reserved| answer.error() == Some(reserved.code()));
    match reserved {
        Some(reserved) if answer.text("description") != Some(reserved.description()) => {
            format!(
                "{}: not recognised, its text is not the specification's",
                answer.summary()
            )
        }
        _ => answer.summary(),
    }
}

fn read(verb: Verb, answer: &Answer) -> Result<Judgement, String> {
    let read = success(answer)?;
    if let (Verb::Bind, Judgement::Done(body)) = (verb, &read) {
        secret_keys(body)?;
    }
    Ok(read)
}

/// Each member of the credentials becomes a key of a Secret.
fn secret_keys(body: &Object) -> Result<(), String> {
    super::credentials_are_an_object(body)?;
    let Some(Value::Object(credentials)) = body.get("credentials") else {
        return Ok(());
    };
    let fits = |key: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !key.is_empty() && key.len() <= 253 && key.bytes().all(known)
    };
    match credentials.keys().find(|key| !fits(key)) {
        Some(key) => Err(format!(
            "`credentials` has the member `{key}`, which cannot be a key of a Secret"
        )),
        None => Ok(()),
    }
}

/// `extra` is flattened into the user, where the specification does not expect it.
fn user(world: &World) -> String {
    let user = json!({
        "username": "alice@example.com", "uid": world.user,
        "groups": ["developers", "system:authenticated"],
        "example.com/team": ["blue"],
    });
    identity("kubernetes", user)
}

fn body(call: Call, order: &Order, world: &World) -> Option<Value> {
    let mut body = ids(order);
    match call {
        Call::Provision => {
            set(&mut body, "organization_guid", world.cluster.clone());
            set(&mut body, "space_guid", world.space.clone());
        }
        // Neither plan nor parameters are sent when they do not change.
        Call::Update => {
            body = json!({
                "service_id": order.service,
                "previous_values": {"plan_id": order.plan, "service_id": order.service},
            });
            if let Some(plan) = &order.new_plan {
                set(&mut body, "plan_id", plan.clone());
            }
        }
        Call::Bind => set(&mut body, "bind_resource", json!({"app_guid": world.space})),
        _ => return None,
    }
    set_parameters(&mut body, call, order);
    let context = json!({
        "platform": "kubernetes", "clusterid": world.cluster,
        "namespace": "simulated", "instance_name": order.name,
    });
    set(&mut body, "context", context);
    Some(body)
}
