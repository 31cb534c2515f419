//! Korifi.

use std::time::Duration;

use osb_api::Object;
use serde_json::{Value, json};

use super::{
    Collect, Draft, Judgement, Polled, Purpose, Rules, Then, Trouble, WhileRunning, World, credentials_are_an_object,
    doubling, ids, parameters, regular_poll, set, success,
};
use crate::answer::{Answer, Outcome, summary};
use crate::call::{Call, Order, Terms, Verb};

/// The first pause of a reconciliation that is not done.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1000);

#[derive(Debug)]
pub(crate) struct Korifi;

impl Rules for Korifi {
    /// No user, no context, no content type; `null` where there are no parameters.
    fn draft(&self, call: Call, order: &Order, world: &World, _: Purpose) -> Draft {
        Draft {
            headers: vec![("x-broker-api-version", "2.17".to_owned())],
            body: body(call, order, world),
        }
    }

    fn accepts_incomplete(&self, call: Call, _: &Terms) -> bool {
        matches!(call, Call::Provision | Call::Deprovision | Call::Bind | Call::Unbind)
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn judge(&self, verb: Verb, _: &Terms, outcome: &Outcome) -> Judgement {
        let Ok(answer) = outcome else {
            return Judgement::Retry(Trouble::new(summary(outcome), Then::Nothing));
        };
        let nothing = |why| Trouble::new(why, Then::Nothing);
        match answer.status {
            410 if verb.removes() => Judgement::Done(Object::new()),
            200..=299 => read(verb, answer).unwrap_or_else(|why| Judgement::Retry(nothing(why))),
            400 | 422 => Judgement::Failed(nothing(answer.summary())),
            409 if verb.creates() => Judgement::Failed(nothing(answer.summary())),
            _ => Judgement::Retry(nothing(answer.summary())),
        }
    }

    fn judge_poll(&self, verb: Verb, outcome: &Outcome) -> Polled {
        match outcome {
            // An error of this call ends the reconciliation; the next one sends the DELETE again and sees its 410.
            Ok(answer) if answer.status == 410 => Polled::Again,
            _ => regular_poll(verb, outcome, Then::Nothing).unwrap_or(Polled::Again),
        }
    }

    fn before_poll(&self, _: u32, _: Option<Duration>) -> Duration {
        Duration::ZERO
    }

    fn polling_limit(&self, _: Option<Duration>) -> Option<Duration> {
        None
    }

    fn before_retry(&self, retries: u32) -> Duration {
        doubling(FIRST_PAUSE, retries.saturating_sub(1), LONGEST_PAUSE)
    }

    fn collects(&self, verb: Verb) -> Collect {
        if verb == Verb::Bind {
            Collect::SendAgain
        } else {
            Collect::Nothing
        }
    }

    fn while_running(&self) -> WhileRunning {
        WhileRunning::SendsAgain
    }

    /// It has none.
    fn before_mitigation(&self, _: u32, _: Duration) -> Option<Duration> {
        None
    }

    fn updates(&self) -> bool {
        false
    }
}

/// Any 2xx is a success, 202 one to be polled.
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
            set(&mut body, "organization_guid", world.organization.clone());
            set(&mut body, "space_guid", world.space.clone());
        }
        Call::Bind => {
            set(&mut body, "app_guid", order.app.clone());
            set(&mut body, "bind_resource", json!({"app_guid": order.app}));
        }
        _ => return None,
    }
    let parameters = parameters(call, order);
    let parameters = (!parameters.is_empty()).then(|| parameters.clone());
    set(&mut body, "parameters", parameters.map_or(Value::Null, Value::Object));
    Some(body)
}
