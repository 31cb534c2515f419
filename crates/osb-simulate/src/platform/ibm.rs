//! IBM Cloud.
//!
//! How it repeats, polls and cleans up is not public. Where nothing is known it does what the specification's table of
//! orphan mitigation says.

use std::time::Duration;

use osb_api::Object;
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
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Ibm;

impl Rules for Ibm {
    fn draft(&self, call: Call, order: &Order, world: &World, purpose: Purpose) -> Draft {
        let mut headers = vec![
            ("x-broker-api-version", "2.12".to_owned()),
            ("accept", "application/json".to_owned()),
        ];
        if call != Call::Catalog && purpose == Purpose::User {
            let user = json!({"iam_id": format!("IBMid-{}", bare(&world.user))});
            headers.push(("x-broker-api-originating-identity", identity("ibmcloud", user)));
        }
        let body = body(call, order, world);
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Draft { headers, body }
    }

    fn accepts_incomplete(&self, call: Call, _: &Terms) -> bool {
        matches!(call, Call::Provision | Call::Update | Call::Deprovision)
    }

    fn patience(&self) -> Option<Duration> {
        Some(MINUTE)
    }

    fn judge(&self, verb: Verb, _: &Terms, outcome: &Outcome) -> Judgement {
        let read = match outcome {
            Ok(answer) if answer.status == 410 && verb.removes() => return Judgement::Done(Object::new()),
            Ok(answer) if matches!((answer.status, verb.creates()), (200 | 202, _) | (201, true)) => read(verb, answer),
            _ => Err(summary(outcome)),
        };
        read.unwrap_or_else(|why| {
            let then = Then::mitigate_if(verb.creates() && is_uncertain(outcome));
            Judgement::Failed(Trouble::new(why, then))
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

    fn before_poll(&self, _: u32, retry_after: Option<Duration>) -> Duration {
        retry_after.map_or(10 * SECOND, |asked| asked.max(SECOND))
    }

    fn polling_limit(&self, maximum: Option<Duration>) -> Option<Duration> {
        Some(maximum.map_or(WEEK, |maximum| maximum.min(WEEK)))
    }

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

    fn before_mitigation(&self, tries: u32, spent: Duration) -> Option<Duration> {
        let pause = if tries == 0 { Duration::ZERO } else { MINUTE };
        (spent + pause <= WEEK).then_some(pause)
    }

    fn has_enablement(&self) -> bool {
        true
    }

    fn instance_id(&self) -> String {
        let [account, id] = [Uuid::new_v4(), Uuid::new_v4()];
        format!("crn:v1:bluemix:public:simulated:us-south:a/{}:{id}::", account.simple())
    }
}

/// The specification's table: everything but 200, 4xx and a broken connection.
fn is_uncertain(outcome: &Outcome) -> bool {
    match outcome {
        Ok(answer) => matches!(answer.status, 201..=299 | 500..=599),
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

/// There is neither an organization nor a space.
fn body(call: Call, order: &Order, world: &World) -> Option<Value> {
    let mut body = ids(order);
    match call {
        Call::Provision => {}
        Call::Update => {
            set(
                &mut body,
                "plan_id",
                order.new_plan.as_ref().unwrap_or(&order.plan).clone(),
            );
            set(&mut body, "previous_values", json!({"plan_id": order.plan}));
        }
        Call::Bind => {
            let account = bare(&world.organization);
            let app = format!(
                "crn:v1:bluemix:public:simulated-app:us-south:a/{account}:{}::",
                order.app
            );
            set(
                &mut body,
                "bind_resource",
                json!({"serviceid_crn": app, "target_crn": app}),
            );
        }
        Call::SetState => {
            let initiator = format!("IBMid-{}", bare(&world.user));
            return Some(
                json!({"enabled": order.enabled, "initiator_id": initiator, "reason_code": "IBMCLOUD_ACCT_SUSPEND"}),
            );
        }
        _ => return None,
    }
    set_parameters(&mut body, call, order);
    let context = json!({
        "platform": "ibmcloud", "name": order.name, "crn": order.instance,
        "account_id": bare(&world.organization),
        "resource_group_crn": format!(
            "crn:v1:bluemix:public:resource-controller::a/{}::resource-group:{}",
            bare(&world.organization), bare(&world.space)
        ),
        "target_crn": "crn:v1:bluemix:public:globalcatalog::::deployment:simulated",
    });
    set(&mut body, "context", context);
    Some(body)
}

/// A GUID without its hyphens.
fn bare(guid: &str) -> String {
    guid.replace('-', "")
}
