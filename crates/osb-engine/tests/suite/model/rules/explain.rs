//! Finds an order of calls, and of work that ends meanwhile, that explains the answers.

use std::collections::HashSet;

use super::{Event, Progress, Rule, Slot};
use crate::model::calls::{Answer, Call};

/// A state while calls are on their way.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Node {
    slot: Slot,
    calls: Vec<Progress>,
}

impl Node {
    /// Tells the calls that wait of operations that have ended; `None` when an answer does not fit.
    fn told(mut self, events: impl IntoIterator<Item = Event>, sent: &[(Call, Answer)]) -> Option<Self> {
        for (op, outcome) in events {
            for (progress, (call, answer)) in self.calls.iter_mut().zip(sent) {
                if let Progress::Waits { op: waits, begun } = *progress
                    && waits == op
                {
                    if !self.slot.is_outcome(call, begun, outcome, answer) {
                        return None;
                    }
                    *progress = Progress::Answered;
                }
            }
        }
        Some(self)
    }

    /// Has call number `number` do what it does next; `None` when its answer does not fit.
    fn advanced(&self, number: usize, sent: &[(Call, Answer)]) -> Option<Self> {
        let mut next = self.clone();
        let looked = match &self.calls[number] {
            Progress::ToDo => None,
            Progress::Looked(refusal, life) => Some((refusal, *life)),
            Progress::Waits { .. } | Progress::Answered => return None,
        };
        let (call, answer) = &sent[number];
        let (rule, event) = next.slot.advance(call, looked);
        next.calls[number] = match rule {
            Rule::Any => Progress::Answered,
            Rule::Is(expected) => (expected == *answer).then_some(Progress::Answered)?,
            Rule::Exists => {
                let Answer::Exists(password) = answer else { return None };
                next.slot
                    .learn_password(call, password.as_ref())
                    .then_some(Progress::Answered)?
            }
            Rule::Looked(refusal, life) => Progress::Looked(refusal, life),
            Rule::Runs {
                op,
                begun,
                accepts,
                at_once,
            } => match answer {
                Answer::Accepted(id) if accepts => next.slot.learn_id(op, id).then_some(Progress::Answered)?,
                _ if at_once => return None,
                _ => Progress::Waits { op, begun },
            },
        };
        next.told(event, sent)
    }
}

/// The states in which a broker can be that answered these calls, sent together, like that; empty when the answers
/// have no explanation. `open` says whether functions that wait could go on meanwhile.
pub(in crate::model) fn explain(from: &HashSet<Slot>, sent: &[(Call, Answer)], open: bool) -> HashSet<Slot> {
    let start = |slot: &Slot| Node {
        slot: slot.clone(),
        calls: vec![Progress::ToDo; sent.len()],
    };
    let mut stack: Vec<Node> = from.iter().map(start).collect();
    let mut seen: HashSet<Node> = HashSet::new();
    let mut found = HashSet::new();
    while let Some(node) = stack.pop() {
        if !seen.insert(node.clone()) {
            continue;
        }
        if node.calls.iter().all(|progress| *progress == Progress::Answered) {
            found.insert(node.slot.canonical());
            continue;
        }
        for (slot, events) in node.slot.steps(open) {
            stack.extend(
                Node {
                    slot,
                    calls: node.calls.clone(),
                }
                .told(events, sent),
            );
        }
        stack.extend((0..sent.len()).filter_map(|number| node.advanced(number, sent)));
    }
    found
}

/// The states in which nothing runs any more, when nothing waits.
pub(in crate::model) fn settled(from: &HashSet<Slot>) -> HashSet<Slot> {
    let mut stack: Vec<Slot> = from.iter().cloned().collect();
    let mut seen = HashSet::new();
    while let Some(slot) = stack.pop() {
        if seen.insert(slot.clone()) {
            stack.extend(slot.steps(true).into_iter().map(|(slot, _)| slot.canonical()));
        }
    }
    seen.into_iter().filter(Slot::is_quiet).collect()
}
