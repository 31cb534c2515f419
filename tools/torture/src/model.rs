//! What may be true of one instance id and its bindings, given what its clients were answered.
//!
//! The model holds every state that is possible. A request with its answer leaves those states that it is legal in;
//! between requests operations end by themselves. When no state is left, the answers contradict each other, and the
//! broker has broken a rule.
//!
//! A request without an answer (a *ghost*) may be carried out once or not at all, at any time until the process that
//! it was sent to is dead. The model lets it happen any number of times in that time: it allows a little too much
//! rather than accuse wrongly.

use std::collections::{BTreeSet, HashMap};

use crate::journal::{Answer, Ask, Asked, Entry, Got, Kill, SlotJournal, Target, Violation};
use rules::{Around, NOTHING, ROTATED, Terms, thing, usable};

pub(crate) use rules::{Attributes, Fate, Thing};

mod rules;

/// How many bindings a slot has.
pub(crate) const BINDINGS: usize = 2;

/// More states than that are not followed: the check of the slot ends there. Ghosts of many kinds can make that many.
const MOST_STATES: usize = 20_000;

/// A possible state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) instance: Thing,
    pub(crate) bindings: [Thing; BINDINGS],
}

/// The first answer of a slot that cannot be, if there is one; and the states that are possible at the end.
pub(crate) fn check(slot: &SlotJournal, kills: &[Kill]) -> (Option<Violation>, BTreeSet<State>) {
    let mut model = Model {
        states: BTreeSet::from([State {
            instance: NOTHING,
            bindings: [NOTHING; BINDINGS],
        }]),
        ghosts: Vec::new(),
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
            let violation = Violation {
                slot: Some(slot.id.clone()),
                at: first.sent,
                text: explain(group, &before),
            };
            return (Some(violation), BTreeSet::new());
        }
        model.states = after;
        let cut = group
            .iter()
            .filter(|entry| entry.answer == Answer::Cut && !entry.ask.verb.reads());
        model.ghosts.extend(cut.map(|entry| (entry.sent, entry.ask.clone())));
    }
    (None, model.close(model.states.clone()))
}

/// What a request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Creation,
    Update,
    Removal,
}

fn purpose(verb: &Asked) -> Purpose {
    match verb {
        Asked::Delete => Purpose::Removal,
        Asked::Patch(_) => Purpose::Update,
        Asked::Put(_) | Asked::Rotate | Asked::Poll(_) | Asked::Fetch => Purpose::Creation,
    }
}

/// Operation ids that were given to more than one thing, or for more than one purpose.
pub(crate) fn shared_operations(slots: &[SlotJournal]) -> Vec<Violation> {
    let mut owners = HashMap::new();
    let mut violations = Vec::new();
    for (slot, entry) in slots
        .iter()
        .flat_map(|slot| slot.entries.iter().map(move |entry| (slot, entry)))
    {
        let Answer::Got(Got {
            status: 202,
            operation: Some(operation),
            ..
        }) = &entry.answer
        else {
            continue;
        };
        let owner = (&slot.id, entry.ask.target, purpose(&entry.ask.verb));
        let known = *owners.entry(operation).or_insert(owner);
        if known != owner {
            let text = format!("the operation {operation} belongs to {known:?} and to {owner:?}");
            violations.push(Violation {
                slot: Some(slot.id.clone()),
                at: entry.sent,
                text,
            });
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
            let Answer::Got(Got {
                status: 202,
                operation: Some(operation),
                ..
            }) = &entry.answer
            else {
                continue;
            };
            let target = entry.ask.target;
            now.entry(target).or_default().insert(operation);
            if past.get(&target).is_some_and(|past| past.contains(operation.as_str())) {
                let text = format!("the operation {operation} comes again: {}", entry.ask);
                violations.push(Violation {
                    slot: Some(slot.id.clone()),
                    at: entry.sent,
                    text,
                });
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
                next.extend(Self::ask(&state, ghost, &Answer::Cut));
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
                    next.extend(Self::ask(state, &entry.ask, &entry.answer));
                }
                states = if position + 1 < order.len() {
                    self.close(next)
                } else {
                    next
                };
            }
            after.extend(states.into_iter().map(State::settled));
        });
        after
    }

    /// The states that a request with this answer can lead to.
    fn ask(state: &State, ask: &Ask, answer: &Answer) -> Vec<State> {
        let terms = Terms {
            plan: ask.plan,
            incomplete: ask.incomplete,
            around: None,
        };
        match ask.target {
            Target::Instance => {
                let things = thing(&state.instance, &ask.verb, terms, answer);
                things
                    .into_iter()
                    .map(|instance| state.with_instance(instance))
                    .collect()
            }
            Target::Binding(number) => {
                let around = Around {
                    usable: usable(&state.instance),
                    plan: state.instance.attributes().map(|made| made.plan),
                    predecessor: matches!(state.bindings[other_binding(number)], Thing::Ready { .. }),
                };
                let terms = Terms {
                    around: Some(around),
                    ..terms
                };
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

/// The request that creates what has this note.
pub(crate) fn creation(target: Target, note: u8) -> Asked {
    match target {
        Target::Binding(_) if note == ROTATED => Asked::Rotate,
        _ => Asked::Put(note),
    }
}

/// The binding whose place one takes in a rotation.
pub(crate) fn other_binding(number: usize) -> usize {
    (number + 1) % BINDINGS
}

/// States that instances and bindings go through, as people call them.
pub(crate) const STATES: &[&str] = &["ready", "in progress", "failed", "removed", "a binding that is ready"];

impl State {
    /// Which of the [`STATES`] there are.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let name = match &self.instance {
            Thing::Absent { known: true } => Some("removed"),
            Thing::Absent { known: false } => None,
            Thing::Making { .. } | Thing::Updating { .. } | Thing::Removing { .. } => Some("in progress"),
            Thing::Ready { .. } => Some("ready"),
            Thing::Broken { .. } => Some("failed"),
        };
        let bound = self
            .bindings
            .iter()
            .filter(|binding| matches!(binding, Thing::Ready { .. }));
        name.into_iter()
            .chain(bound.map(|_| "a binding that is ready"))
            .collect()
    }

    fn with_instance(&self, instance: Thing) -> Self {
        let mut bindings = self.bindings.clone();
        if matches!(instance, Thing::Absent { .. }) {
            // Bindings go along with their instance.
            for binding in &mut bindings {
                *binding = Thing::Absent {
                    known: *binding != NOTHING,
                };
            }
        }
        Self { instance, bindings }
    }

    /// What can follow without a request.
    fn by_itself(&self) -> Vec<Self> {
        let mut next: Vec<_> = self
            .instance
            .by_itself()
            .into_iter()
            .map(|thing| self.with_instance(thing))
            .collect();
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
