//! SAP Service Manager.

use std::time::Duration;

use osb_api::Object;
use osb_api::base64;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Collect, Draft, Judgement, Polled, Purpose, Rules, Then, Trouble, WEEK, World, credentials_are_an_object, identity,
    ids, regular_poll, set, set_parameters, success,
};
use crate::answer::{Answer, Outcome, summary};
use crate::call::{Call, Order, Terms, Verb};
use crate::transport::Lost;

const SECOND: Duration = Duration::from_secs(1);
/// The pause between two tries to clean up.
const MAINTENANCE: Duration = Duration::from_secs(10 * 60);

#[derive(Debug)]
pub(crate) struct ServiceManager;

impl Rules for ServiceManager {
    fn draft(&self, call: Call, order: &Order, world: &World, purpose: Purpose) -> Draft {
        let mut headers = vec![
            ("x-broker-api-version", "2.14".to_owned()),
            ("user-agent", "Go-http-client/1.1".to_owned()),
            ("x-correlationid", Uuid::new_v4().to_string()),
        ];
        if call != Call::Catalog && purpose == Purpose::User {
            let user = json!({"user_info": {"username": "alice@example.com", "user_id": world.user}});
            headers.push(("x-broker-api-originating-identity", identity("service-manager", user)));
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
        Some(10 * SECOND)
    }

    fn judge(&self, verb: Verb, _: &Terms, outcome: &Outcome) -> Judgement {
        let read = match outcome {
            Ok(answer) if answer.status == 410 && verb.removes() => return Judgement::Done(Object::new()),
            Ok(answer) if matches!((answer.status, verb.creates()), (200 | 202, _) | (201, true)) => read(verb, answer),
            _ => Err(summary(outcome)),
        };
        read.unwrap_or_else(|why| {
            let uncertain = is_uncertain(outcome);
            if verb.removes() && uncertain {
                return Judgement::Retry(Trouble::new(why, Then::Nothing));
            }
            Judgement::Failed(Trouble::new(why, Then::mitigate_if(verb.creates() && uncertain)))
        })
    }

    fn judge_poll(&self, verb: Verb, outcome: &Outcome) -> Polled {
        let regular = regular_poll(verb, outcome, Then::mitigate_if(verb.creates()));
        regular.unwrap_or_else(|| match outcome {
            Err(Lost::Timeout) => Polled::Again,
            Ok(answer) if matches!(answer.status, 200 | 404 | 503) => Polled::Again,
            _ => Polled::Failed(Trouble::new(summary(outcome), Then::Nothing)),
        })
    }

    fn before_poll(&self, _: u32, _: Option<Duration>) -> Duration {
        4 * SECOND
    }

    fn polling_limit(&self, maximum: Option<Duration>) -> Option<Duration> {
        Some(maximum.map_or(WEEK, |maximum| maximum.min(WEEK)))
    }

    fn before_retry(&self, _: u32) -> Duration {
        MAINTENANCE
    }

    fn collects(&self, verb: Verb) -> Collect {
        if verb == Verb::Bind {
            Collect::Fetch
        } else {
            Collect::Nothing
        }
    }

    fn reads_refusals(&self) -> bool {
        true
    }

    fn before_mitigation(&self, tries: u32, spent: Duration) -> Option<Duration> {
        let pause = if tries == 0 { Duration::ZERO } else { MAINTENANCE };
        (spent + pause <= WEEK).then_some(pause)
    }
}

/// Whether something may have happened.
fn is_uncertain(outcome: &Outcome) -> bool {
    match outcome {
        Ok(answer) => matches!(answer.status, 201..=299 | 408 | 500..=599),
        Err(lost) => *lost == Lost::Timeout,
    }
}

fn read(verb: Verb, answer: &Answer) -> Result<Judgement, String> {
    let read = success(answer)?;
    if let (Verb::Bind, Judgement::Done(body)) = (verb, &read) {
        credentials_are_an_object(body)?;
    }
    Ok(read)
}

fn body(call: Call, order: &Order, world: &World) -> Option<Value> {
    let mut body = ids(order);
    match call {
        Call::Provision => {
            set(&mut body, "organization_guid", "-");
            set(&mut body, "space_guid", "-");
        }
        Call::Update => {
            set(
                &mut body,
                "plan_id",
                order.new_plan.as_ref().unwrap_or(&order.plan).clone(),
            );
            set(&mut body, "previous_values", json!({"plan_id": order.plan}));
        }
        Call::Bind => set(&mut body, "bind_resource", json!({})),
        _ => return None,
    }
    set_parameters(&mut body, call, order);
    set(&mut body, "context", context(order, world));
    Some(body)
}

/// The signature has the form of the real one and is made of nothing: only Service Manager has the key.
fn context(order: &Order, world: &World) -> Value {
    json!({
        "platform": "sapcp", "origin": "sapcp", "region": "cf-eu10",
        "instance_name": order.name,
        "global_account_id": world.organization, "subaccount_id": world.space, "zone_id": world.space,
        "signature": base64::encode(format!("{}{}", world.user, world.space).as_bytes()),
    })
}
