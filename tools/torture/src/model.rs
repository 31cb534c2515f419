//! What may be true of one instance id and its bindings, given what its clients were answered.
//!
//! The model holds every state that is possible. A request with its answer leaves those states that it is legal in;
//! between requests operations end by themselves. When no state is left, the answers contradict each other, and the
//! broker has broken a rule. Names of rules are those of the specification's section on the route.
//!
//! A request without an answer (a *ghost*) may be carried out once or not at all, at any time until the process that
//! it was sent to is dead. The model lets it happen any number of times in that time: it allows a little too much
//! rather than accuse wrongly.

use std::collections::{BTreeSet, HashMap};

use crate::journal::{Answer, Ask, Asked, Entry, Got, Kill, SlotJournal, Target, Violation};

/// How many bindings a slot has.
pub(crate) const BINDINGS: usize = 2;

/// More states than that are not followed: the check of the slot ends there. Ghosts of many kinds can make that many.
const MOST_STATES: usize = 20_000;

/// An instance or a binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// `known`: it was there once, so it may not be forgotten.
    Absent { known: bool },
    Making { attributes: u8, operation: Option<String>, fate: Fate },
    Ready { attributes: u8, body: Option<String>, operation: Option<String> },
    /// Its creation has failed.
    Broken { attributes: u8, operation: Option<String> },
    Removing { attributes: u8, complete: bool, body: Option<String>, operation: Option<String>, fate: Fate },
}

/// What an answer has told of how an operation ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Open,
    Succeeds(Option<String>),
    Fails,
}

/// A possible state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) instance: Thing,
    pub(crate) bindings: [Thing; BINDINGS],
}

const NOTHING: Thing = Thing::Absent { known: false };

/// What stands around a request.
#[derive(Clone, Copy)]
struct Terms {
    /// The plan is asynchronous, and the client does not accept that.
    refuses: bool,
    usable: Usable,
}

/// Whether a bind can use the instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usable {
    Yes,
    Busy,
    Failed,
    Absent,
}

/// The first answer of a slot that cannot be, if there is one; and the states that are possible at the end.
pub(crate) fn check(slot: &SlotJournal, kills: &[Kill]) -> (Option<Violation>, BTreeSet<State>) {
    let mut model = Model {
        states: BTreeSet::from([State { instance: NOTHING, bindings: [NOTHING; BINDINGS] }]),
        ghosts: Vec::new(),
        plan_is_async: slot.plan_is_async,
    };
    let mut rest = slot.entries.as_slice();
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|entry| entry.group == first.group).count();
        let (group, later) = rest.split_at(length);
        rest = later;
        model.bury_ghosts(first.sent, kills);
        let states = std::mem::take(&mut model.states);
        let before = model.close(states);
        let after = model.group(&before, group);
        if before.len() > MOST_STATES {
            return (None, BTreeSet::new());
        }
        if after.is_empty() {
            let violation = Violation { slot: Some(slot.id.clone()), at: first.sent, text: explain(group, &before) };
            return (Some(violation), BTreeSet::new());
        }
        model.states = after;
        let cut = group.iter().filter(|entry| entry.answer == Answer::Cut && !matches!(entry.ask.verb, Asked::Poll(_)));
        model.ghosts.extend(cut.map(|entry| (entry.sent, entry.ask.clone())));
    }
    (None, model.close(model.states.clone()))
}

/// Operation ids that were given to more than one thing, or to a creation and a removal.
pub(crate) fn shared_operations(slots: &[SlotJournal]) -> Vec<Violation> {
    let mut owners = HashMap::new();
    let mut violations = Vec::new();
    for (slot, entry) in slots.iter().flat_map(|slot| slot.entries.iter().map(move |entry| (slot, entry))) {
        let Answer::Got(Got { status: 202, operation: Some(operation), .. }) = &entry.answer else { continue };
        let owner = (&slot.id, entry.ask.target, entry.ask.verb == Asked::Delete);
        let known = *owners.entry(operation).or_insert(owner);
        if known != owner {
            let text = format!("the operation {operation} belongs to {known:?} and to {owner:?}");
            violations.push(Violation { slot: Some(slot.id.clone()), at: entry.sent, text });
        }
    }
    violations
}

/// Operations that are answered with again after a later one of the same thing was.
pub(crate) fn operations_that_come_again(slot: &SlotJournal) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut current: HashMap<Target, BTreeSet<&str>> = HashMap::new();
    let mut past: HashMap<Target, BTreeSet<&str>> = HashMap::new();
    for group in slot.entries.chunk_by(|a, b| a.group == b.group) {
        let mut now: HashMap<Target, BTreeSet<&str>> = HashMap::new();
        for entry in group {
            let Answer::Got(Got { status: 202, operation: Some(operation), .. }) = &entry.answer else { continue };
            let target = entry.ask.target;
            now.entry(target).or_default().insert(operation);
            if past.get(&target).is_some_and(|past| past.contains(operation.as_str())) {
                let text = format!("the operation {operation} comes again: {}", entry.ask);
                violations.push(Violation { slot: Some(slot.id.clone()), at: entry.sent, text });
            }
        }
        for (target, operations) in now {
            let before = current.insert(target, operations.clone()).unwrap_or_default();
            past.entry(target).or_default().extend(before.difference(&operations));
        }
    }
    violations
}

fn explain(group: &[Entry], before: &BTreeSet<State>) -> String {
    let mut text = String::from("no state explains these answers:\n");
    for entry in group {
        text.push_str(&format!("    {} -> {}\n", entry.ask, entry.answer));
    }
    text.push_str("  possible before were:\n");
    for state in before.iter().take(12) {
        text.push_str(&format!("    {:?} with {:?}\n", state.instance, state.bindings));
    }
    text
}

struct Model {
    states: BTreeSet<State>,
    /// Requests without an answer, with the time when they were sent.
    ghosts: Vec<(u64, Ask)>,
    plan_is_async: bool,
}

impl Model {
    /// Ghosts of a process that is dead have done what they did.
    fn bury_ghosts(&mut self, now: u64, kills: &[Kill]) {
        let dead = |sent: u64| kills.iter().any(|kill| kill.at > sent && kill.at < now);
        if self.ghosts.iter().any(|(sent, _)| dead(*sent)) {
            let states = std::mem::take(&mut self.states);
            self.states = self.close(states);
            self.ghosts.retain(|(sent, _)| !dead(*sent));
        }
    }

    /// All states that come about by themselves.
    fn close(&self, states: BTreeSet<State>) -> BTreeSet<State> {
        let mut open: Vec<State> = states.iter().cloned().collect();
        let mut closed = states;
        while let Some(state) = open.pop() {
            if closed.len() > MOST_STATES {
                break;
            }
            let mut next = state.by_itself();
            for (_, ghost) in &self.ghosts {
                next.extend(self.ask(&state, ghost, &Answer::Cut));
            }
            for state in next {
                if closed.insert(state.clone()) {
                    open.push(state);
                }
            }
        }
        closed
    }

    /// The states after requests that were under way together: in any order.
    fn group(&self, before: &BTreeSet<State>, group: &[Entry]) -> BTreeSet<State> {
        let mut after = BTreeSet::new();
        permutations(&mut (0..group.len()).collect::<Vec<_>>(), 0, &mut |order| {
            let mut states = before.clone();
            for (position, index) in order.iter().enumerate() {
                let entry = &group[*index];
                let mut next = BTreeSet::new();
                for state in &states {
                    next.extend(self.ask(state, &entry.ask, &entry.answer));
                }
                states = if position + 1 < order.len() { self.close(next) } else { next };
            }
            after.extend(states.into_iter().map(State::settled));
        });
        after
    }

    /// The states that a request with this answer can lead to.
    fn ask(&self, state: &State, ask: &Ask, answer: &Answer) -> Vec<State> {
        let refuses = self.plan_is_async && !ask.incomplete;
        match ask.target {
            Target::Instance => {
                let terms = Terms { refuses, usable: Usable::Yes };
                let things = thing(&state.instance, &ask.verb, terms, answer);
                things.into_iter().map(|instance| state.with_instance(instance)).collect()
            }
            Target::Binding(number) => {
                let terms = Terms { refuses, usable: usable(&state.instance) };
                let things = thing(&state.bindings[number], &ask.verb, terms, answer);
                let with = |binding| {
                    let mut state = state.clone();
                    state.bindings[number] = binding;
                    state
                };
                things.into_iter().map(with).collect()
            }
        }
    }
}

fn usable(instance: &Thing) -> Usable {
    match instance {
        Thing::Absent { .. } => Usable::Absent,
        Thing::Making { .. } | Thing::Removing { .. } => Usable::Busy,
        Thing::Ready { .. } => Usable::Yes,
        Thing::Broken { .. } => Usable::Failed,
    }
}

impl State {
    fn with_instance(&self, instance: Thing) -> Self {
        let mut bindings = self.bindings.clone();
        if matches!(instance, Thing::Absent { .. }) {
            // Bindings go along with their instance.
            for binding in &mut bindings {
                *binding = Thing::Absent { known: *binding != NOTHING };
            }
        }
        Self { instance, bindings }
    }

    /// What can follow without a request.
    fn by_itself(&self) -> Vec<Self> {
        let mut next: Vec<_> = self.instance.by_itself().into_iter().map(|thing| self.with_instance(thing)).collect();
        let removing = matches!(self.instance, Thing::Removing { .. });
        for number in 0..BINDINGS {
            let binding = &self.bindings[number];
            let mut things = binding.by_itself();
            if removing && !matches!(binding, Thing::Absent { .. } | Thing::Removing { .. }) {
                things.push(binding.removing(None, Fate::Open));
            }
            for thing in things {
                let mut state = self.clone();
                state.bindings[number] = thing;
                next.push(state);
            }
        }
        next
    }

    /// After all answers of a group are there: what they have told is true by now.
    fn settled(self) -> Self {
        let instance = self.instance.clone().settled();
        let mut state = self.with_instance(instance);
        state.bindings = state.bindings.map(Thing::settled);
        state
    }
}

impl Thing {
    fn by_itself(&self) -> Vec<Self> {
        match self {
            Self::Making { attributes, operation, fate } => {
                let attributes = *attributes;
                let ready = |body: &Option<String>| Self::Ready {
                    attributes,
                    body: body.clone(),
                    operation: operation.clone(),
                };
                let broken = || Self::Broken { attributes, operation: operation.clone() };
                match fate {
                    Fate::Open => vec![ready(&None), broken()],
                    Fate::Succeeds(body) => vec![ready(body)],
                    Fate::Fails => vec![broken()],
                }
            }
            Self::Removing { attributes, complete, body, fate, .. } => {
                let kept = match complete {
                    true => Self::Ready { attributes: *attributes, body: body.clone(), operation: None },
                    false => Self::Broken { attributes: *attributes, operation: None },
                };
                match fate {
                    Fate::Open => vec![Self::Absent { known: true }, kept],
                    Fate::Succeeds(_) => vec![Self::Absent { known: true }],
                    Fate::Fails => vec![kept],
                }
            }
            Self::Absent { .. } | Self::Ready { .. } | Self::Broken { .. } => Vec::new(),
        }
    }

    fn settled(self) -> Self {
        let told = match &self {
            Self::Making { fate, .. } | Self::Removing { fate, .. } => *fate != Fate::Open,
            _ => false,
        };
        if told { self.by_itself().swap_remove(0) } else { self }
    }

    /// The same thing while it is being removed.
    fn removing(&self, operation: Option<String>, fate: Fate) -> Self {
        let (attributes, complete, body) = match self {
            Self::Absent { .. } => (0, false, None),
            Self::Making { attributes, .. } | Self::Broken { attributes, .. } => (*attributes, false, None),
            Self::Ready { attributes, body, .. } => (*attributes, true, body.clone()),
            Self::Removing { attributes, complete, body, .. } => (*attributes, *complete, body.clone()),
        };
        Self::Removing { attributes, complete, body, operation, fate }
    }

    fn operation(&self) -> Option<&str> {
        match self {
            Self::Absent { .. } => None,
            Self::Making { operation, .. }
            | Self::Ready { operation, .. }
            | Self::Broken { operation, .. }
            | Self::Removing { operation, .. } => operation.as_deref(),
        }
    }
}

/// What a request with this answer can make of a thing; nothing when the answer is not legal.
fn thing(thing: &Thing, verb: &Asked, terms: Terms, answer: &Answer) -> Vec<Thing> {
    let got = match answer {
        Answer::NotSent => return vec![thing.clone()],
        Answer::Cut => {
            let mut after = vec![thing.clone()];
            after.extend(match verb {
                Asked::Put(attributes) => put_unseen(thing, *attributes, terms),
                Asked::Delete => delete_unseen(thing, terms),
                Asked::Poll(_) => Vec::new(),
            });
            return after;
        }
        Answer::Got(got) => got,
    };
    match verb {
        Asked::Put(attributes) => put(thing, *attributes, terms, got),
        Asked::Delete => delete(thing, terms, got),
        Asked::Poll(operation) => poll(thing, operation.as_deref(), got),
    }
}

fn put_unseen(thing: &Thing, attributes: u8, terms: Terms) -> Vec<Thing> {
    let starts = match thing {
        Thing::Absent { .. } => true,
        Thing::Broken { attributes: made, .. } => *made == attributes,
        _ => false,
    };
    if starts && !terms.refuses && terms.usable == Usable::Yes {
        vec![Thing::Making { attributes, operation: None, fate: Fate::Open }]
    } else {
        Vec::new()
    }
}

fn delete_unseen(thing: &Thing, terms: Terms) -> Vec<Thing> {
    match thing {
        Thing::Absent { .. } | Thing::Removing { .. } => Vec::new(),
        _ if terms.refuses => Vec::new(),
        _ => vec![thing.removing(None, Fate::Open)],
    }
}

fn put(thing: &Thing, attributes: u8, terms: Terms, got: &Got) -> Vec<Thing> {
    let same = vec![thing.clone()];
    let when = |legal: bool| if legal { same.clone() } else { Vec::new() };
    if got.status >= 500 || got.status == 429 {
        return failed_put(thing, attributes, terms);
    }
    match thing {
        Thing::Absent { .. } => start(thing, attributes, terms, got),
        Thing::Making { attributes: made, .. }
        | Thing::Ready { attributes: made, .. }
        | Thing::Broken { attributes: made, .. }
            if *made != attributes =>
        {
            when(got.status == 409)
        }
        Thing::Making { operation, fate, .. } => match got.status {
            // It cannot be told with a 202 that it goes on, and may wait for the end instead.
            422 if terms.refuses => when(is_code(got, "AsyncRequired")),
            202 if operation.is_none() || *operation == got.operation => {
                vec![Thing::Making { attributes, operation: got.operation.clone(), fate: fate.clone() }]
            }
            200 if *fate != Fate::Fails => {
                let fate = Fate::Succeeds(got.body.clone());
                vec![Thing::Making { attributes, operation: operation.clone(), fate }]
            }
            _ => Vec::new(),
        },
        Thing::Ready { body, operation, .. } => {
            let is_same = body.is_none() || *body == got.body;
            if got.status == 200 && is_same {
                vec![Thing::Ready { attributes, body: got.body.clone(), operation: operation.clone() }]
            } else {
                Vec::new()
            }
        }
        // It starts again, under another operation.
        Thing::Broken { operation, .. } => {
            let repeated = got.operation.is_some() && got.operation == *operation;
            if repeated { Vec::new() } else { start(thing, attributes, terms, got) }
        }
        Thing::Removing { .. } => when(is_code(got, "ConcurrencyError")),
    }
}

/// A request that begins a creation.
fn start(thing: &Thing, attributes: u8, terms: Terms, got: &Got) -> Vec<Thing> {
    let same = vec![thing.clone()];
    let making = |operation: Option<String>, fate| vec![Thing::Making { attributes, operation, fate }];
    match got.status {
        422 if terms.refuses => if is_code(got, "AsyncRequired") { same } else { Vec::new() },
        _ if terms.refuses && terms.usable == Usable::Yes => Vec::new(),
        404 if terms.usable == Usable::Absent => same,
        422 if terms.usable == Usable::Busy && is_code(got, "ConcurrencyError") => same,
        400 if terms.usable == Usable::Failed => same,
        _ if terms.usable != Usable::Yes => Vec::new(),
        201 => making(None, Fate::Succeeds(got.body.clone())),
        202 => making(got.operation.clone(), Fate::Open),
        _ => Vec::new(),
    }
}

/// A 5xx: nothing was done, or what was begun has failed, or it is being cleaned up.
fn failed_put(thing: &Thing, attributes: u8, terms: Terms) -> Vec<Thing> {
    let mut after = vec![thing.clone()];
    let begun = match thing {
        Thing::Making { attributes: made, operation, .. } if *made == attributes => {
            vec![Thing::Making { attributes, operation: operation.clone(), fate: Fate::Fails }]
        }
        _ => put_unseen(thing, attributes, terms),
    };
    for begun in begun {
        after.push(begun.removing(None, Fate::Open));
        let Thing::Making { operation, .. } = begun else { continue };
        after.push(Thing::Making { attributes, operation, fate: Fate::Fails });
    }
    after
}

fn delete(thing: &Thing, terms: Terms, got: &Got) -> Vec<Thing> {
    let same = vec![thing.clone()];
    let failed = got.status >= 500 || got.status == 429;
    match thing {
        Thing::Absent { .. } => if got.status == 410 || failed { same } else { Vec::new() },
        _ if terms.refuses => if is_code(got, "AsyncRequired") || failed { same } else { Vec::new() },
        Thing::Removing { operation, fate, .. } => match got.status {
            202 if operation.is_none() || *operation == got.operation => {
                vec![thing.removing(got.operation.clone(), fate.clone())]
            }
            410 if *fate != Fate::Fails => vec![thing.removing(operation.clone(), Fate::Succeeds(None))],
            _ if failed => vec![thing.clone(), thing.removing(operation.clone(), Fate::Fails)],
            _ => Vec::new(),
        },
        _ => match got.status {
            200 => vec![thing.removing(None, Fate::Succeeds(None))],
            202 => vec![thing.removing(got.operation.clone(), Fate::Open)],
            _ if failed => vec![thing.clone(), thing.removing(None, Fate::Open), thing.removing(None, Fate::Fails)],
            _ => Vec::new(),
        },
    }
}

fn poll(thing: &Thing, asked: Option<&str>, got: &Got) -> Vec<Thing> {
    let runs = matches!(thing, Thing::Making { .. } | Thing::Removing { .. });
    let own = thing.operation();
    // Whether the answer is about the operation that the thing remembers.
    let about_own = asked.is_none() || asked == own;
    let may_be_own = about_own || own.is_none();
    let legal = match (got.status, got.state.as_deref()) {
        (500.., _) | (429, _) => true,
        (200, Some("in progress")) if runs && may_be_own => return vec![learn(thing, asked)],
        (200, Some("succeeded")) => match thing {
            Thing::Making { .. } | Thing::Removing { .. } => !about_own,
            Thing::Broken { .. } => !about_own,
            Thing::Absent { known } => *known && asked.is_some(),
            Thing::Ready { .. } => true,
        },
        (200, Some("failed")) => match thing {
            Thing::Making { .. } | Thing::Removing { .. } => !about_own,
            // A removal that has failed leaves the thing as it was, and is the newest operation.
            Thing::Ready { .. } => asked.is_none() || asked != own,
            Thing::Broken { .. } => true,
            Thing::Absent { known } => *known && asked.is_some(),
        },
        (400, _) => asked.is_some() && asked != own,
        (404, _) => *thing == NOTHING,
        (410, _) => matches!(thing, Thing::Absent { known: true }),
        _ => false,
    };
    if legal { vec![thing.clone()] } else { Vec::new() }
}

/// What runs is the operation that was asked for.
fn learn(thing: &Thing, asked: Option<&str>) -> Thing {
    let mut thing = thing.clone();
    if let (Thing::Making { operation, .. } | Thing::Removing { operation, .. }, Some(asked)) = (&mut thing, asked) {
        *operation = Some(asked.to_owned());
    }
    thing
}

fn is_code(got: &Got, code: &str) -> bool {
    got.status == 422 && got.error.as_deref() == Some(code)
}

fn permutations(items: &mut Vec<usize>, from: usize, visit: &mut impl FnMut(&[usize])) {
    if from + 1 >= items.len() {
        return visit(items);
    }
    for index in from..items.len() {
        items.swap(from, index);
        permutations(items, from + 1, visit);
        items.swap(from, index);
    }
}

#[cfg(test)]
mod tests;
