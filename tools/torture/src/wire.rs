//! Requests of the clients over HTTP, each a line of a journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loadgen::http::{Connection, Target as Address, escape};
use serde_json::{Value, json};
use torture::SERVICE;

use crate::journal::{Answer, Ask, Asked, Clock, Got, Plan, Target};
use crate::model::{BINDINGS, other_binding};
use crate::random::Random;

/// Longer than any answer of the broker takes: it gives up waiting after 50 s.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Whom a client asks for what.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) instance: String,
    pub(crate) bindings: [String; BINDINGS],
}

/// What all clients of a run share.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    /// The number of the broker's process: connections to an older one are not used any more.
    pub(crate) process: Arc<AtomicU64>,
}

impl World {
    /// A world in which time goes on behind an event.
    pub(crate) fn behind(event: u64) -> Self {
        Self {
            clock: Clock::behind(event),
            process: Arc::default(),
        }
    }
}

/// When a client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Never.
    Waits,
    /// So long after the request was sent.
    HangsUpAfter(Duration),
    /// After so many thousandths of the request.
    Within(usize),
}

/// A client's connection, opened anew when that is needed.
pub(crate) struct Wire {
    world: World,
    connection: Option<(u64, Connection)>,
    request: Vec<u8>,
}

/// A request that was made: when it was sent, when its answer was there, and the answer.
pub(crate) struct Exchange {
    pub(crate) sent: u64,
    pub(crate) done: u64,
    pub(crate) answer: Answer,
}

impl Wire {
    pub(crate) fn new(world: World) -> Self {
        Self {
            world,
            connection: None,
            request: Vec::new(),
        }
    }

    pub(crate) fn ask(&mut self, place: &Place, ask: &Ask, patience: Patience, random: &mut Random) -> Exchange {
        let (method, path, body) = request(place, ask, random);
        place
            .address
            .request(&mut self.request, method, &path, body.as_deref().map(str::as_bytes));
        let process = self.world.process.load(Ordering::SeqCst);
        if self.connection.as_ref().is_none_or(|(of, _)| *of != process) {
            self.connection = Connection::open(place.address.addr, TIMEOUT)
                .ok()
                .map(|opened| (process, opened));
        }
        // After the connection is made: it leads to a process that lives, or lived until now.
        let sent = self.world.clock.tick();
        let answer = match self.connection.take() {
            None => Answer::NotSent,
            Some((of, connection)) => self.exchange(of, connection, patience, ask),
        };
        Exchange {
            sent,
            done: self.world.clock.tick(),
            answer,
        }
    }

    fn exchange(&mut self, process: u64, mut connection: Connection, patience: Patience, ask: &Ask) -> Answer {
        let part = match patience {
            Patience::Within(per_mille) => self.request.len() * per_mille.min(999) / 1000,
            _ => self.request.len(),
        };
        if connection.send(&self.request[..part]).is_err() {
            return Answer::Cut;
        }
        match patience {
            Patience::Waits => {}
            Patience::HangsUpAfter(pause) => {
                std::thread::sleep(pause);
                return Answer::Cut;
            }
            Patience::Within(_) => return Answer::Cut,
        }
        let Ok(response) = connection.receive() else {
            return Answer::Cut;
        };
        let got = got(response.status, response.body, ask);
        if !response.closes {
            self.connection = Some((process, connection));
        }
        Answer::Got(got)
    }
}

fn request(place: &Place, ask: &Ask, random: &mut Random) -> (&'static str, String, Option<String>) {
    let mut path = format!("/v2/service_instances/{}", escape(&place.instance));
    if let Target::Binding(number) = ask.target {
        path.push_str(&format!("/service_bindings/{}", escape(&place.bindings[number])));
    }
    let incomplete = if ask.incomplete {
        "accepts_incomplete=true"
    } else {
        "x-unknown=1"
    };
    let plan = ask.plan.unwrap_or(Plan::Auto).id();
    match &ask.verb {
        Asked::Put(_) | Asked::Rotate => {
            let body = body(place, ask, random);
            ("PUT", format!("{path}?{incomplete}"), Some(body))
        }
        Asked::Patch(_) => {
            let body = body(place, ask, random);
            ("PATCH", format!("{path}?{incomplete}"), Some(body))
        }
        Asked::Delete => (
            "DELETE",
            format!("{path}?service_id={SERVICE}&plan_id={plan}&{incomplete}"),
            None,
        ),
        Asked::Poll(operation) => {
            let operation = operation
                .as_ref()
                .map(|operation| format!("&operation={}", escape(operation)));
            let operation = operation.unwrap_or_default();
            (
                "GET",
                format!("{path}/last_operation?service_id={SERVICE}&plan_id={plan}{operation}"),
                None,
            )
        }
        Asked::Fetch => ("GET", path, None),
    }
}

/// The same attributes in another order are the same request; so are unknown members.
fn body(place: &Place, ask: &Ask, random: &mut Random) -> String {
    let mut members = vec![format!(r#""service_id":"{SERVICE}""#)];
    if let Some(plan) = ask.plan {
        members.push(format!(r#""plan_id":"{}""#, plan.id()));
    }
    let note = match ask.verb {
        Asked::Put(note) => Some(note),
        Asked::Patch(note) => note,
        _ => None,
    };
    if let Some(note) = note {
        members.push(format!(r#""parameters":{}"#, parameters(note, random)));
    }
    if let (Asked::Rotate, Target::Binding(number)) = (&ask.verb, ask.target) {
        let predecessor = Value::from(place.bindings[other_binding(number)].as_str());
        members.push(format!(r#""predecessor_binding_id":{predecessor}"#));
    }
    if ask.target == Target::Instance && matches!(ask.verb, Asked::Put(_)) {
        members.push(r#""organization_guid":"org""#.to_owned());
        members.push(r#""space_guid":"space""#.to_owned());
    }
    if random.percent(20) {
        members.push(format!(r#""x-unknown":{}"#, random.below(100)));
    }
    for index in (1..members.len()).rev() {
        members.swap(index, random.below(index + 1));
    }
    format!("{{{}}}", members.join(","))
}

/// What a note in a request looks like.
pub(crate) fn note_text(note: u8) -> String {
    format!("n{note}")
}

fn parameters(note: u8, random: &mut Random) -> String {
    let (steps, note) = (note % 4, note_text(note));
    match random.percent(50) {
        true => format!(r#"{{"steps":{steps},"note":"{note}"}}"#),
        false => format!(r#"{{ "note":"{note}", "steps":{steps} }}"#),
    }
}

fn got(status: u16, body: &[u8], ask: &Ask) -> Got {
    let value: Value = serde_json::from_slice(body).unwrap_or_else(|_| json!({"error": "NoJson"}));
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let done = matches!(status, 200 | 201);
    let body = match (&ask.verb, ask.target) {
        (Asked::Put(_) | Asked::Rotate | Asked::Fetch, Target::Binding(_)) => Some(&value["credentials"]),
        (Asked::Put(_), Target::Instance) => Some(&value),
        _ => None,
    };
    let fetched = ask.verb == Asked::Fetch && ask.target == Target::Instance;
    let plan = |plan: &Plan| fetched && value["plan_id"] == plan.id();
    Got {
        status,
        operation: text("operation"),
        state: text("state"),
        error: text("error"),
        body: body.filter(|_| done).map(Value::to_string),
        plan: Plan::ALL.into_iter().find(plan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_attributes_are_written_in_many_ways_and_mean_the_same() {
        let mut random = Random::new(1);
        let place = Place {
            address: Address::new(([127, 0, 0, 1], 1).into(), "", ""),
            instance: "i".to_owned(),
            bindings: ["a".to_owned(), "b".to_owned()],
        };
        let ask = |note| Ask {
            target: Target::Instance,
            verb: Asked::Put(note),
            plan: Some(Plan::Auto),
            incomplete: true,
        };
        let parsed = |text: &str| {
            let mut value: Value = serde_json::from_str(text).unwrap();
            value.as_object_mut().unwrap().remove("x-unknown");
            value
        };
        let bodies: Vec<String> = (0..50).map(|_| body(&place, &ask(2), &mut random)).collect();
        assert!(bodies.iter().all(|text| parsed(text) == parsed(&bodies[0])));
        assert!(bodies.iter().collect::<std::collections::BTreeSet<_>>().len() > 5);
        assert_ne!(parsed(&bodies[0]), parsed(&body(&place, &ask(3), &mut random)));
    }
}
