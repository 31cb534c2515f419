//! What the backend's journal must show.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use torture::{Begin, How, Verb, Wanted};

use crate::journal::{Event, Kill, SlotId, Violation, What};

/// Everything in the journal that may not be.
pub(crate) fn check(events: &[Event], kills: &[Kill]) -> Vec<Violation> {
    let mut checker = Checker::default();
    for event in events {
        checker.event(event, kills);
    }
    for (slot, call) in &checker.running {
        let violation = Violation {
            slot: Some(slot.clone()),
            at: u64::MAX,
            text: format!("call {call} has never ended"),
        };
        checker.violations.push(violation);
    }
    checker.violations
}

#[derive(Default)]
struct Checker {
    violations: Vec<Violation>,
    calls: HashMap<u64, Begin>,
    /// The call that runs for an instance.
    running: HashMap<SlotId, u64>,
    keys: HashMap<String, Key>,
    /// Whose a name of the backend is.
    names: HashMap<String, (SlotId, Option<String>)>,
    /// The result of the last creation or update that returned one, by name.
    results: HashMap<String, Results>,
    /// Names of instances that have been removed.
    removed: HashSet<String>,
    /// The update that was the last call of an instance, and succeeded: its key, and what it was to change.
    updated: HashMap<SlotId, (String, Wanted)>,
    /// The highest epoch, and of how many kills it is.
    epoch: u64,
    epoch_kills: usize,
}

/// What a name's last call returned.
struct Results {
    last: Value,
    /// Of an update: what holds when it was superseded before its result could be stored.
    before: Option<Value>,
}

struct Key {
    of: (SlotId, Option<String>, Verb, String),
    /// Steps after which something of the same key has begun: their results were stored.
    stored: HashSet<String>,
    last: Option<String>,
}

fn slot_of(begin: &Begin) -> SlotId {
    SlotId {
        platform: begin.platform.clone(),
        instance: begin.instance.clone(),
    }
}

impl Checker {
    fn violation(&mut self, begin: &Begin, at: u64, text: String) {
        self.violations.push(Violation {
            slot: Some(slot_of(begin)),
            at,
            text,
        });
    }

    fn event(&mut self, event: &Event, kills: &[Kill]) {
        if let What::Begin(begin) = &event.what {
            self.calls.insert(event.call, (**begin).clone());
            return self.begin(event, begin, kills);
        }
        let Some(begin) = self.calls.get(&event.call).cloned() else {
            return;
        };
        match &event.what {
            What::Begin(_) => {}
            What::Step(name, _) => self.step(event, &begin, name),
            What::Make(..) | What::Remove => self.stored_last(&begin.key),
            What::End(how, value) => {
                self.end(&begin, event.call);
                if *how == How::Done {
                    self.stored_last(&begin.key);
                    self.done(&begin, value.as_ref());
                }
            }
            What::Gone => self.end(&begin, event.call),
        }
    }

    fn begin(&mut self, event: &Event, begin: &Begin, kills: &[Kill]) {
        let slot = slot_of(begin);
        if let Some(other) = self.running.insert(slot.clone(), event.call) {
            self.violation(
                begin,
                event.at,
                format!(
                    "call {} begins while call {other} of the same instance runs",
                    event.call
                ),
            );
        }
        self.epoch(event, begin, kills);
        self.identity(event, begin);
        if !begin.verb.removes() && self.removed.contains(&begin.instance_name) {
            self.violation(
                begin,
                event.at,
                format!("{:?} on {}, which has been removed", begin.verb, begin.instance_name),
            );
        }
        self.handed_over(event, begin);
        self.change(event, begin);
        if begin.verb == Verb::Rotate {
            self.predecessor(event, begin);
        }
    }

    /// An update is asked for once, begins where the last one ended, and goes to where its request said.
    fn change(&mut self, event: &Event, begin: &Begin) {
        let slot = slot_of(begin);
        let last = self.updated.remove(&slot);
        let Some(wanted) = &begin.wanted else { return };
        if let Some((key, before)) = last
            && key != begin.key
            && (&before.plan, &before.note) == (&wanted.plan, &wanted.note)
        {
            let text = format!("{wanted:?} is done again, although {key} has done it and nothing came between");
            self.violation(begin, event.at, text);
        }
        let plan = begin.state.as_ref().and_then(|state| state["plan"].as_str());
        let from = wanted.previous_plan.as_deref().unwrap_or(&wanted.plan);
        if plan.is_some_and(|plan| plan != from) {
            let text = format!("an update from plan {from} of an instance that has plan {plan:?}");
            self.violation(begin, event.at, text);
        }
    }

    /// What a rotation takes the place of works until it is unbound (OSB-ROT-05).
    fn predecessor(&mut self, event: &Event, begin: &Begin) {
        let name = begin
            .credentials
            .as_ref()
            .and_then(|credentials| credentials["name"].as_str());
        let Some(name) = name.map(str::to_owned) else {
            return self.violation(begin, event.at, "a rotation without its predecessor".to_owned());
        };
        if name == begin.own_name {
            self.violation(begin, event.at, format!("{name} is rotated with itself"));
        }
        let returned = self.results.get(&name).map(|results| &results.last);
        if begin.credentials.as_ref() != returned {
            let text = format!("a rotation of {:?}, but {returned:?} was returned", begin.credentials);
            self.violation(begin, event.at, text);
        }
    }

    /// Epochs never go down, and a new process has a higher one.
    fn epoch(&mut self, event: &Event, begin: &Begin, kills: &[Kill]) {
        let killed = kills.iter().filter(|kill| kill.at < event.at).count();
        if begin.fence < self.epoch {
            self.violation(begin, event.at, format!("epoch {} after {}", begin.fence, self.epoch));
        } else if begin.fence == self.epoch && killed > self.epoch_kills {
            self.violation(begin, event.at, format!("epoch {} as before the kill", begin.fence));
        } else if begin.fence > self.epoch && self.epoch > 0 && killed == self.epoch_kills {
            self.violation(
                begin,
                event.at,
                format!("epoch {} after {} in one process", begin.fence, self.epoch),
            );
        }
        self.epoch = self.epoch.max(begin.fence);
        self.epoch_kills = killed;
    }

    /// A key belongs to one operation, a name to one instance or binding.
    fn identity(&mut self, event: &Event, begin: &Begin) {
        let slot = slot_of(begin);
        let verb = begin.verb.of_operation();
        let of = (slot.clone(), begin.binding.clone(), verb, begin.own_name.clone());
        let known = self.keys.entry(begin.key.clone()).or_insert_with(|| Key {
            of: of.clone(),
            stored: HashSet::new(),
            last: None,
        });
        if known.of != of {
            let text = format!("key {} is used for {of:?} and for {:?}", begin.key, known.of);
            self.violation(begin, event.at, text);
        }
        let own = (slot.clone(), begin.binding.clone());
        for (name, owner) in [(&begin.instance_name, (slot, None)), (&begin.own_name, own)] {
            let known = self.names.entry(name.clone()).or_insert_with(|| owner.clone()).clone();
            if known != owner {
                self.violation(
                    begin,
                    event.at,
                    format!("the name {name} is used for {owner:?} and for {known:?}"),
                );
            }
        }
    }

    /// The state and the credentials that the engine hands over are those that were returned last.
    fn handed_over(&mut self, event: &Event, begin: &Begin) {
        let needs_state = !matches!(begin.verb, Verb::Provision | Verb::Deprovision);
        if needs_state && begin.state.is_none() {
            self.violation(
                begin,
                event.at,
                format!("{:?} without the state of the instance", begin.verb),
            );
        }
        let own = begin.credentials.as_ref().filter(|_| begin.verb != Verb::Rotate);
        let given = [
            ("state", &begin.instance_name, begin.state.as_ref()),
            ("credentials", &begin.own_name, own),
        ];
        for (what, name, value) in given {
            let Some(value) = value else { continue };
            let results = self.results.get_mut(name);
            let returned = results.as_ref().map(|results| results.last.clone());
            let fits = results.is_some_and(|results| results.fits(value, begin.verb == Verb::Update));
            if !fits {
                self.violation(
                    begin,
                    event.at,
                    format!("{what} {value}, but {returned:?} was returned"),
                );
            }
        }
    }

    /// A step after which the operation went on is not run again.
    fn step(&mut self, event: &Event, begin: &Begin, name: &str) {
        let Some(key) = self.keys.get_mut(&begin.key) else {
            return;
        };
        if key.last.as_deref() != Some(name) {
            let before = key.last.replace(name.to_owned());
            key.stored.extend(before);
        }
        if key.stored.contains(name) {
            let text = format!("{name} of {} is run again, although its result was stored", begin.key);
            self.violation(begin, event.at, text);
        }
    }

    fn stored_last(&mut self, key: &str) {
        if let Some(key) = self.keys.get_mut(key) {
            key.stored.extend(key.last.clone());
        }
    }

    fn end(&mut self, begin: &Begin, call: u64) {
        let slot = slot_of(begin);
        if self.running.get(&slot) == Some(&call) {
            self.running.remove(&slot);
        }
    }

    fn done(&mut self, begin: &Begin, value: Option<&Value>) {
        if let Some(wanted) = &begin.wanted {
            let of_update = (begin.key.clone(), wanted.clone());
            self.updated.insert(slot_of(begin), of_update);
        }
        match (begin.verb, value) {
            (Verb::Provision | Verb::Update | Verb::Bind | Verb::Rotate, Some(value)) => {
                let results = Results {
                    last: value.clone(),
                    before: begin.state.clone().filter(|_| begin.verb == Verb::Update),
                };
                self.results.insert(begin.own_name.clone(), results);
            }
            (Verb::Deprovision, _) => {
                self.removed.insert(begin.instance_name.clone());
            }
            _ => {}
        }
    }
}

impl Results {
    /// Whether a value can be what is stored; which one it is, is known from then on. An update that is called again
    /// after a crash gets what was there before it.
    fn fits(&mut self, value: &Value, again: bool) -> bool {
        if self.before.as_ref() == Some(value) {
            if !again {
                self.last = value.clone();
                self.before = None;
            }
            return true;
        }
        if self.last == *value {
            self.before = None;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn begin(verb: Verb, key: &str, fence: u64) -> Begin {
        let binding = matches!(verb, Verb::Bind | Verb::Rotate | Verb::Unbind).then(|| "b".to_owned());
        Begin {
            verb,
            key: key.to_owned(),
            fence,
            platform: "p".to_owned(),
            instance: "i".to_owned(),
            own_name: if binding.is_some() {
                "b_1".to_owned()
            } else {
                "i_1".to_owned()
            },
            binding,
            instance_name: "i_1".to_owned(),
            state: (!matches!(verb, Verb::Provision | Verb::Deprovision)).then(|| json!(1)),
            credentials: None,
            wanted: None,
            version: 1,
        }
    }

    fn begins(call: u64, begin: Begin) -> (u64, What) {
        (call, What::Begin(Box::new(begin)))
    }

    fn done(call: u64, value: i32) -> (u64, What) {
        (call, What::End(How::Done, Some(json!(value))))
    }

    fn step(call: u64, name: &str) -> (u64, What) {
        (call, What::Step(name.to_owned(), String::new()))
    }

    /// What is found in a journal whose events happen at 0, 10, 20 and so on.
    fn found(events: Vec<(u64, What)>, kills: &[u64]) -> Vec<String> {
        let at = (0..).step_by(10);
        let events: Vec<_> = at
            .zip(events)
            .map(|(at, (call, what))| Event { at, call, what })
            .collect();
        let kills: Vec<_> = kills.iter().map(|at| Kill { at: *at }).collect();
        check(&events, &kills)
            .into_iter()
            .map(|violation| violation.text)
            .collect()
    }

    fn assert_found(events: Vec<(u64, What)>, kills: &[u64], text: &str) {
        let found = found(events, kills);
        assert!(found.len() == 1 && found[0].contains(text), "{found:?}");
    }

    #[test]
    fn a_life_with_a_kill_in_the_middle_is_fine() {
        let mut unbind = begin(Verb::Unbind, "k3", 6);
        unbind.credentials = Some(json!(2));
        let mut deprovision = begin(Verb::Deprovision, "k4", 6);
        deprovision.state = Some(json!(1));
        let events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            step(1, "a"),
            step(1, "b"),
            (1, What::Gone),
            begins(2, begin(Verb::Provision, "k1", 6)),
            step(2, "b"),
            (2, What::Make("main".to_owned(), String::new())),
            done(2, 1),
            begins(3, begin(Verb::Bind, "k2", 6)),
            done(3, 2),
            begins(4, unbind),
            done(4, 0),
            begins(5, deprovision),
            (5, What::Remove),
            done(5, 0),
        ];
        assert_eq!(found(events, &[35]), Vec::<String>::new());
    }

    #[test]
    fn calls_of_one_instance_that_overlap_are_found() {
        let events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            begins(2, begin(Verb::Deprovision, "k2", 5)),
            done(1, 1),
            done(2, 1),
        ];
        assert_found(events, &[], "begins while call 1");
    }

    #[test]
    fn a_call_that_never_ends_is_found() {
        assert_found(vec![begins(1, begin(Verb::Provision, "k1", 5))], &[], "never ended");
    }

    #[test]
    fn an_epoch_that_goes_down_is_found() {
        let events = |second| {
            vec![
                begins(1, begin(Verb::Provision, "k1", 5)),
                (1, What::Gone),
                begins(2, begin(Verb::Provision, "k1", second)),
                done(2, 1),
            ]
        };
        assert_found(events(4), &[15], "epoch 4 after 5");
        assert_found(events(5), &[15], "epoch 5 as before the kill");
        assert_found(events(6), &[], "in one process");
        assert!(found(events(6), &[15]).is_empty());
    }

    #[test]
    fn a_step_that_is_run_again_is_found() {
        let again = |name| {
            vec![
                begins(1, begin(Verb::Provision, "k1", 5)),
                step(1, "a"),
                step(1, "b"),
                (1, What::End(How::Retry, None)),
                begins(2, begin(Verb::Provision, "k1", 5)),
                step(2, name),
                done(2, 1),
            ]
        };
        assert_found(again("a"), &[], "a of k1 is run again");
        assert!(found(again("b"), &[]).is_empty());
        let after_make = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            step(1, "a"),
            (1, What::Make("main".to_owned(), String::new())),
            (1, What::Gone),
            begins(2, begin(Verb::Provision, "k1", 6)),
            step(2, "a"),
            done(2, 1),
        ];
        assert_found(after_make, &[35], "a of k1 is run again");
    }

    #[test]
    fn a_key_of_two_operations_is_found() {
        let events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            done(1, 1),
            begins(2, begin(Verb::Deprovision, "k1", 5)),
            done(2, 1),
        ];
        assert_found(events, &[], "key k1");
    }

    #[test]
    fn a_name_of_two_platforms_is_found() {
        let mut other = begin(Verb::Provision, "k2", 5);
        other.platform = "q".to_owned();
        let events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            done(1, 1),
            begins(2, other),
            done(2, 1),
        ];
        let found = found(events, &[]);
        assert!(
            !found.is_empty() && found.iter().all(|text| text.contains("the name i_1")),
            "{found:?}"
        );
    }

    #[test]
    fn a_wrong_state_is_found() {
        let mut deprovision = begin(Verb::Deprovision, "k2", 5);
        deprovision.state = Some(json!(7));
        let events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            done(1, 1),
            begins(2, deprovision),
            done(2, 0),
        ];
        assert_found(events, &[], "state 7");
        let mut bind = begin(Verb::Bind, "k2", 5);
        bind.state = None;
        let events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            done(1, 1),
            begins(2, bind),
            done(2, 0),
        ];
        assert_found(events, &[], "without the state");
    }

    #[test]
    fn a_bind_after_the_removal_is_found() {
        let events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            done(1, 1),
            begins(2, begin(Verb::Deprovision, "k2", 5)),
            done(2, 0),
            begins(3, begin(Verb::Bind, "k3", 5)),
            done(3, 0),
        ];
        assert_found(events, &[], "which has been removed");
    }

    fn wanted(plan: &str, note: &str, previous: Option<&str>) -> Option<Wanted> {
        Some(Wanted {
            plan: plan.to_owned(),
            previous_plan: previous.map(str::to_owned),
            note: Some(note.to_owned()),
        })
    }

    fn state(plan: &str, token: i32) -> Value {
        json!({"plan": plan, "token": token})
    }

    fn returns(call: u64, value: Value) -> (u64, What) {
        (call, What::End(How::Done, Some(value)))
    }

    /// An instance on plan p, an update to q that returned its result, and then this.
    fn updated(then: Vec<(u64, What)>) -> Vec<(u64, What)> {
        let update = Begin {
            state: Some(state("p", 1)),
            wanted: wanted("q", "n", Some("p")),
            ..begin(Verb::Update, "k2", 5)
        };
        let mut events = vec![
            begins(1, begin(Verb::Provision, "k1", 5)),
            returns(1, state("p", 1)),
            begins(2, update),
            returns(2, state("q", 2)),
        ];
        events.extend(then);
        events
    }

    fn with_state(verb: Verb, key: &str, given: Value) -> Begin {
        Begin {
            state: Some(given),
            ..begin(verb, key, 5)
        }
    }

    #[test]
    fn the_state_from_before_an_update_lives_only_until_the_new_one_was_seen() {
        let bind = |call, key: &str, given| vec![begins(call, with_state(Verb::Bind, key, given)), done(call, 7)];
        assert!(found(updated(bind(3, "k3", state("q", 2))), &[]).is_empty());
        // A removal that superseded the update, and failed, leaves what was before.
        assert!(found(updated(bind(3, "k3", state("p", 1))), &[]).is_empty());
        for (first, second) in [(("q", 2), ("p", 1)), (("p", 1), ("q", 2))] {
            let mut unbind = with_state(Verb::Unbind, "k4", state(second.0, second.1));
            unbind.credentials = Some(json!(7));
            let mut events = bind(3, "k3", state(first.0, first.1));
            events.extend([begins(4, unbind), done(4, 0)]);
            assert_found(updated(events), &[], "state ");
        }
    }

    #[test]
    fn an_update_that_is_done_twice_is_found() {
        let again = |key, given: Value, note, previous| {
            let update = Begin {
                wanted: wanted("q", note, previous),
                ..with_state(Verb::Update, key, given)
            };
            updated(vec![begins(3, update), returns(3, state("q", 3))])
        };
        assert_found(again("k3", state("q", 2), "n", None), &[], "done again");
        assert!(found(again("k3", state("q", 2), "other", None), &[]).is_empty());
        // After a crash the same operation is called again, with the state from before it.
        assert!(found(again("k2", state("p", 1), "n", Some("p")), &[]).is_empty());
        assert_found(
            again("k3", state("q", 2), "other", Some("p")),
            &[],
            "an update from plan p",
        );
    }

    #[test]
    fn a_rotation_gets_what_its_predecessor_has() {
        let rotated = |credentials: Value| {
            let mut rotate = with_state(Verb::Rotate, "k3", json!(1));
            rotate.own_name = "b_2".to_owned();
            rotate.binding = Some("b2".to_owned());
            rotate.credentials = Some(credentials);
            vec![
                begins(1, begin(Verb::Provision, "k1", 5)),
                done(1, 1),
                begins(2, begin(Verb::Bind, "k2", 5)),
                returns(2, json!({"name": "b_1", "token": 1})),
                begins(3, rotate),
                done(3, 2),
            ]
        };
        assert!(found(rotated(json!({"name": "b_1", "token": 1})), &[]).is_empty());
        assert_found(rotated(json!({"name": "b_1", "token": 2})), &[], "a rotation of");
        assert_found(rotated(json!({})), &[], "without its predecessor");
    }
}
