//! A client: it works on some ids of its own, one group of requests after the other, and keeps a journal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::journal::{Answer, Ask, Asked, Entry, Got, Plan, SlotId, SlotJournal, Target};
use crate::model::{self, Attributes, BINDINGS, State, Thing};
use crate::random::Random;
use crate::wire::{Patience, Place, Wire, World};

/// Attributes are numbers below this.
const ATTRIBUTES: usize = 6;

/// Updates and conflicting requests may have some more of them.
const ATTRIBUTES_IN_ALL: u8 = 20;

/// So long everything may take to come to its end when nothing is killed any more.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// An instance id of a platform.
pub(crate) struct Slot {
    pub(crate) place: Place,
    pub(crate) journal: SlotJournal,
    /// What the broker can do beyond the first version of OSB.
    abilities: Abilities,
    /// What the instance has, as the client believes.
    attributes: Attributes,
    /// What it has when an update has gone well whose end the client does not know.
    changed: Option<Attributes>,
    instance: Hint,
    bindings: [Hint; BINDINGS],
    groups: u64,
    /// What the instance had for certain before it was removed at the end.
    pub(crate) held: Option<Attributes>,
}

/// What the broker can do, by its catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) updates: bool,
    pub(crate) rotates: bool,
    /// Instances and bindings can be fetched.
    pub(crate) fetches: bool,
}

/// What the client believes; only what it asks for next depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hint {
    Absent,
    Busy(Option<String>),
    Ready,
    Removing(Option<String>),
}

impl Slot {
    pub(crate) fn new(id: SlotId, place: Place, plan: Plan, ordered: bool, abilities: Abilities) -> Self {
        let journal = SlotJournal {
            id,
            ordered,
            entries: Vec::new(),
        };
        Self {
            place,
            journal,
            abilities,
            attributes: Attributes { note: 0, plan },
            changed: None,
            instance: Hint::Absent,
            bindings: [Hint::Absent, Hint::Absent],
            groups: 0,
            held: None,
        }
    }

    /// A slot that was worked on before, and is only to be finished.
    pub(crate) fn resumed(journal: SlotJournal, place: Place) -> Self {
        let named = journal.entries.iter().rev().find_map(|entry| entry.ask.plan);
        let plan = named.unwrap_or(Plan::Auto);
        let slot = Self::new(journal.id.clone(), place, plan, journal.ordered, Abilities::default());
        Self {
            groups: journal.entries.last().map_or(0, |entry| entry.group),
            journal,
            ..slot
        }
    }

    /// Asks for one thing and waits for the answer.
    fn one(&mut self, wire: &mut Wire, ask: Ask, random: &mut Random) -> Answer {
        let exchange = wire.ask(&self.place, &ask, Patience::Waits, random);
        let answer = exchange.answer.clone();
        self.groups += 1;
        self.note(self.groups, ask, exchange.sent, exchange.done, exchange.answer);
        answer
    }

    fn note(&mut self, group: u64, ask: Ask, sent: u64, done: u64, answer: Answer) {
        if answer == Answer::NotSent {
            return;
        }
        match (&answer, &ask.verb) {
            (Answer::Got(got), _) => self.learn(&ask, got),
            (Answer::Cut, Asked::Patch(note)) => self.changed = Some(self.after(&ask, *note)),
            _ => {}
        }
        self.journal.entries.push(Entry {
            group,
            sent,
            done,
            ask,
            answer,
        });
    }

    fn learn(&mut self, ask: &Ask, got: &Got) {
        if ask.target == Target::Instance {
            self.learn_attributes(ask, got);
        }
        let hint = match ask.target {
            Target::Instance => &mut self.instance,
            Target::Binding(number) => &mut self.bindings[number],
        };
        let operation = got.operation.clone();
        let new = match (&ask.verb, got.status, got.state.as_deref()) {
            (Asked::Put(_) | Asked::Rotate | Asked::Patch(_) | Asked::Fetch, 200 | 201, _) => Hint::Ready,
            (Asked::Put(_) | Asked::Rotate | Asked::Patch(_), 202, _) => Hint::Busy(operation),
            (Asked::Put(_) | Asked::Rotate | Asked::Patch(_), 404, _) => Hint::Absent,
            (Asked::Delete, 200 | 410, _) | (Asked::Poll(_), 404 | 410, _) => Hint::Absent,
            (Asked::Delete, 202, _) => Hint::Removing(operation),
            (Asked::Poll(_), 200, Some("succeeded")) if matches!(hint, Hint::Removing(_)) => Hint::Absent,
            (Asked::Poll(_), 200, Some("succeeded")) => Hint::Ready,
            // An update that has failed leaves the instance as it was.
            (Asked::Poll(_), 200, Some("failed")) if self.changed.is_some() && ask.target == Target::Instance => {
                self.changed = None;
                Hint::Ready
            }
            _ => return,
        };
        *hint = new;
        if ask.target == Target::Instance && self.instance == Hint::Absent {
            self.bindings = [Hint::Absent, Hint::Absent];
        }
    }

    /// What an answer tells of plan and parameters.
    fn learn_attributes(&mut self, ask: &Ask, got: &Got) {
        let note = match ask.verb {
            Asked::Put(note) => Some(note),
            Asked::Patch(note) => note,
            _ => None,
        };
        let mut asked = self.after(ask, note);
        asked.plan = got.plan.unwrap_or(asked.plan);
        match (&ask.verb, got.status, got.state.as_deref()) {
            (Asked::Put(_) | Asked::Patch(_) | Asked::Fetch, 200 | 201, _) | (Asked::Put(_), 202, _) => {
                self.attributes = asked;
                self.changed = None;
            }
            (Asked::Patch(_), 202 | 500.., _) => self.changed = Some(asked),
            (Asked::Poll(Some(_)), 200, Some("succeeded")) => {
                self.attributes = self.changed.take().unwrap_or(self.attributes);
            }
            // It was another plan.
            _ => {}
        }
    }

    /// What the instance has when a request has gone well.
    fn after(&self, ask: &Ask, note: Option<u8>) -> Attributes {
        Attributes {
            note: note.unwrap_or(self.attributes.note),
            plan: ask.plan.unwrap_or(self.attributes.plan),
        }
    }

    /// What the client believes that the instance has; it may not know whether an update has gone well.
    fn believed(&self, random: &mut Random) -> Attributes {
        match self.changed {
            Some(changed) if random.percent(50) => changed,
            _ => self.attributes,
        }
    }

    /// The next requests, all to be under way together.
    fn plan(&mut self, random: &mut Random) -> Vec<Ask> {
        if self.instance == Hint::Absent {
            self.attributes.note = u8::try_from(random.below(ATTRIBUTES)).unwrap_or_default();
            if self.abilities.updates && random.percent(15) {
                self.attributes.plan = self.attributes.plan.other();
            }
            self.changed = None;
        }
        if let Some(group) = self.plan_beyond(random) {
            return group;
        }
        let note = self.believed(random).note;
        let (put, differ, delete) = (Asked::Put(note), Asked::Put(note + 1), Asked::Delete);
        let roll = random.below(100);
        let verbs = match &self.instance {
            Hint::Absent => match roll {
                0..68 => vec![put],
                68..80 => vec![put.clone(), put],
                80..87 => vec![put, differ],
                87..92 => vec![delete],
                92..96 => vec![Asked::Poll(None)],
                _ => return self.plan_binding(random),
            },
            Hint::Busy(operation) => match roll {
                0..45 => vec![Asked::Poll(operation.clone())],
                45..62 => vec![put],
                62..67 => vec![differ],
                67..75 => vec![delete],
                75..82 => vec![put, delete],
                82..88 => return self.plan_binding(random),
                _ => vec![put, Asked::Poll(operation.clone())],
            },
            Hint::Ready => match roll {
                0..12 => vec![put],
                12..15 => vec![differ],
                15..21 => vec![delete],
                21..25 => vec![delete.clone(), delete],
                25..29 => vec![put, delete],
                29..34 => {
                    let mut group = self.plan_binding(random);
                    group.push(self.ask(Target::Instance, delete, random));
                    return group;
                }
                34..36 => vec![Asked::Poll(None)],
                _ => return self.plan_binding(random),
            },
            Hint::Removing(operation) => match roll {
                0..40 => vec![Asked::Poll(operation.clone())],
                40..58 => vec![put],
                58..78 => vec![delete],
                78..88 => vec![put, delete],
                _ => return self.plan_binding(random),
            },
        };
        verbs
            .into_iter()
            .map(|verb| self.ask(Target::Instance, verb, random))
            .collect()
    }

    /// Requests of what not every broker can do: fetches at any time, updates and rotations of what is there.
    fn plan_beyond(&mut self, random: &mut Random) -> Option<Vec<Ask>> {
        let roll = random.below(100);
        if roll < 4 && self.abilities.fetches {
            let target = match random.below(BINDINGS + 1) {
                0 => Target::Instance,
                number => Target::Binding(number - 1),
            };
            return Some(vec![self.ask(target, Asked::Fetch, random)]);
        }
        let updates = match &self.instance {
            Hint::Ready => roll < 26,
            Hint::Busy(_) | Hint::Removing(_) => roll < 10,
            Hint::Absent => roll < 6,
        };
        if !updates || !self.abilities.updates {
            return None;
        }
        let update = self.update(random);
        let other = match random.below(100) {
            0..62 => return Some(vec![update]),
            62..74 => update.clone(),
            74..82 => self.update(random),
            82..88 => self.ask(Target::Instance, Asked::Delete, random),
            88..92 => self.ask(Target::Instance, Asked::Put(self.attributes.note), random),
            92..96 => self.ask(Target::Instance, Asked::Fetch, random),
            _ => {
                let mut group = self.plan_binding(random);
                group.push(update);
                return Some(group);
            }
        };
        Some(vec![update, other])
    }

    /// An update of the plan, of the parameters, of both, or of nothing.
    fn update(&self, random: &mut Random) -> Ask {
        let Attributes { note, plan } = self.believed(random);
        let next = match random.below(100) {
            0..60 => note + 1,
            60..80 => note,
            _ => u8::try_from(random.below(ATTRIBUTES)).unwrap_or_default(),
        } % ATTRIBUTES_IN_ALL;
        let (plan, note) = match random.below(100) {
            0..35 => (None, Some(next)),
            35..50 => (Some(plan), Some(next)),
            50..75 => (Some(plan.other()), None),
            75..92 => (Some(plan.other()), Some(next)),
            92..96 => (Some(plan), None),
            _ => (None, None),
        };
        Ask {
            plan,
            ..self.ask(Target::Instance, Asked::Patch(note), random)
        }
    }

    fn plan_binding(&self, random: &mut Random) -> Vec<Ask> {
        let number = random.below(BINDINGS);
        let other_is_ready = self.bindings[model::other_binding(number)] == Hint::Ready;
        if self.abilities.rotates && random.percent(if other_is_ready { 35 } else { 5 }) {
            return self.rotation(number, random);
        }
        let own = u8::try_from(number).unwrap_or_default() + 1;
        let (put, differ, delete) = (Asked::Put(own), Asked::Put(own + 1), Asked::Delete);
        let roll = random.below(100);
        let verbs = match &self.bindings[number] {
            Hint::Absent => match roll {
                0..75 => vec![put],
                75..87 => vec![put.clone(), put],
                87..93 => vec![put, differ],
                _ => vec![delete],
            },
            Hint::Busy(operation) => match roll {
                0..50 => vec![Asked::Poll(operation.clone())],
                50..70 => vec![put],
                70..85 => vec![delete],
                _ => vec![put, delete],
            },
            Hint::Ready => match roll {
                0..30 => vec![put],
                30..38 => vec![differ],
                38..78 => vec![delete],
                78..86 => vec![delete.clone(), delete],
                _ => vec![put, delete],
            },
            Hint::Removing(operation) => match roll {
                0..50 => vec![Asked::Poll(operation.clone())],
                50..80 => vec![delete],
                _ => vec![put],
            },
        };
        verbs
            .into_iter()
            .map(|verb| self.ask(Target::Binding(number), verb, random))
            .collect()
    }

    /// Gives the application a new binding in the place of the other one, which is removed then, or together with it.
    fn rotation(&self, number: usize, random: &mut Random) -> Vec<Ask> {
        let (own, other) = (Target::Binding(number), Target::Binding(model::other_binding(number)));
        let mut rotate = self.ask(own, Asked::Rotate, random);
        if random.percent(30) {
            rotate.plan = None;
        }
        match (&self.bindings[number], random.below(100)) {
            (Hint::Ready, 0..50) => vec![self.ask(other, Asked::Delete, random)],
            (Hint::Ready, _) => vec![rotate],
            (_, 0..70) => vec![rotate],
            (_, 70..80) => vec![rotate.clone(), rotate],
            (_, 80..90) => vec![rotate, self.ask(other, Asked::Delete, random)],
            _ => vec![rotate, self.ask(own, Asked::Delete, random)],
        }
    }

    fn ask(&self, target: Target, verb: Asked, random: &mut Random) -> Ask {
        let plan = self.believed(random).plan;
        let incomplete = random.percent(if plan == Plan::Async { 95 } else { 60 });
        Ask {
            target,
            verb,
            plan: Some(plan),
            incomplete,
        }
    }

    /// Sends requests together, each on a connection of its own.
    fn together(&mut self, wires: &mut [Wire], group: &[Ask], random: &mut Random) -> bool {
        let place = &self.place;
        let exchanges: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = group
                .iter()
                .zip(wires)
                .map(|(ask, wire)| {
                    let mut random = Random::new(random.next());
                    let patience = patience(&mut random);
                    let head_start = random.micros_below(800);
                    scope.spawn(move || {
                        std::thread::sleep(head_start);
                        wire.ask(place, ask, patience, &mut random)
                    })
                })
                .collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        self.groups += 1;
        let mut all_answered = true;
        for (ask, exchange) in group.iter().zip(exchanges) {
            let Ok(exchange) = exchange else { continue };
            all_answered &= matches!(exchange.answer, Answer::Got(_));
            self.note(self.groups, ask.clone(), exchange.sent, exchange.done, exchange.answer);
        }
        all_answered
    }
}

/// Most clients wait; some hang up at any moment.
fn patience(random: &mut Random) -> Patience {
    match random.below(100) {
        0..3 => Patience::HangsUpAfter(random.micros_below(4_000)),
        3 => Patience::Within(random.below(1000)),
        _ => Patience::Waits,
    }
}

/// A client at work on its slots.
pub(crate) struct Client {
    pub(crate) slots: Vec<Slot>,
    wires: Vec<Wire>,
    random: Random,
}

impl Client {
    pub(crate) fn new(world: &World, slots: Vec<Slot>, random: Random) -> Self {
        Self {
            slots,
            wires: (0..4).map(|_| Wire::new(world.clone())).collect(),
            random,
        }
    }

    /// Asks until it is told to stop.
    pub(crate) fn work(&mut self, stop: &AtomicBool) {
        let mut again: Option<(usize, Vec<Ask>)> = None;
        while !stop.load(Ordering::Relaxed) {
            let (index, group) = match again.take() {
                Some(repeated) if self.random.percent(60) => repeated,
                _ => {
                    let index = self.random.below(self.slots.len());
                    (index, self.slots[index].plan(&mut self.random))
                }
            };
            if self.slots[index].together(&mut self.wires, &group, &mut self.random) {
                std::thread::sleep(self.random.micros_below(12_000));
            } else {
                again = Some((index, group));
                std::thread::sleep(self.random.micros_below(6_000));
            }
        }
    }

    /// Waits until nothing is in progress, looks at what must be there, and deletes everything.
    ///
    /// The broker runs and is not killed any more. What is found is for the slots' journals; the answer says what did
    /// not come to its end.
    pub(crate) fn finish(
        &mut self,
        kills: &[crate::journal::Kill],
        backend: &crate::backend::Backend,
    ) -> Vec<(SlotId, String)> {
        let mut found = Vec::new();
        let deadline = Instant::now() + ENDS_WITHIN;
        let (wire, random) = (&mut self.wires[0], &mut self.random);
        for slot in &mut self.slots {
            let finished = slot
                .wait_for_all(wire, random, deadline)
                .and_then(|()| slot.look(wire, random, kills, backend))
                .and_then(|()| slot.delete(wire, random, deadline));
            if let Err(text) = finished {
                found.push((slot.journal.id.clone(), text));
            }
        }
        found
    }
}

impl Slot {
    fn targets() -> impl Iterator<Item = Target> {
        std::iter::once(Target::Instance).chain((0..BINDINGS).map(Target::Binding))
    }

    /// Polls until nothing is in progress, and every operation that was ever acknowledged has ended.
    fn wait_for_all(&mut self, wire: &mut Wire, random: &mut Random, deadline: Instant) -> Result<(), String> {
        for target in Self::targets() {
            self.wait_for(wire, random, target, None, deadline)?;
        }
        let acknowledged = self.journal.entries.iter().filter_map(|entry| match &entry.answer {
            Answer::Got(Got {
                status: 202, operation, ..
            }) => Some((entry.ask.target, operation.clone())),
            _ => None,
        });
        let mut acknowledged: Vec<_> = acknowledged.collect();
        acknowledged.sort();
        acknowledged.dedup();
        for (target, operation) in acknowledged {
            let operation = operation.ok_or("a 202 without an operation")?;
            self.wait_for(wire, random, target, Some(operation), deadline)?;
        }
        Ok(())
    }

    fn wait_for(
        &mut self,
        wire: &mut Wire,
        random: &mut Random,
        target: Target,
        operation: Option<String>,
        deadline: Instant,
    ) -> Result<(), String> {
        loop {
            let ask = Ask {
                target,
                verb: Asked::Poll(operation.clone()),
                plan: Some(self.attributes.plan),
                incomplete: true,
            };
            let answer = self.one(wire, ask, random);
            match &answer {
                Answer::Got(got) if got.status < 500 && got.state.as_deref() != Some("in progress") => return Ok(()),
                _ if Instant::now() > deadline => {
                    return Err(format!(
                        "{target:?} does not come to its end, operation {operation:?}: {answer}"
                    ));
                }
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Repeats the requests for what must be there: the same answers again, and credentials that work.
    fn look(
        &mut self,
        wire: &mut Wire,
        random: &mut Random,
        kills: &[crate::journal::Kill],
        backend: &crate::backend::Backend,
    ) -> Result<(), String> {
        if !self.journal.ordered {
            return Ok(());
        }
        let (violation, states) = model::check(&self.journal, kills);
        if violation.is_some() {
            // The check of the whole journal reports it.
            return Ok(());
        }
        for target in Self::targets() {
            let Some(attributes) = surely_ready(&states, target) else {
                continue;
            };
            let plan = surely_ready(&states, Target::Instance).map_or(attributes.plan, |instance| instance.plan);
            let ask = Ask {
                target,
                verb: model::creation(target, attributes.note),
                plan: Some(plan),
                incomplete: true,
            };
            let Answer::Got(Got {
                status: 200,
                body: Some(body),
                ..
            }) = self.one(wire, ask, random)
            else {
                continue;
            };
            match target {
                Target::Instance => self.held = Some(attributes),
                Target::Binding(_) if works(&body, backend) => {}
                Target::Binding(_) => return Err(format!("the credentials of {target:?} do not work: {body}")),
            }
        }
        Ok(())
    }

    fn delete(&mut self, wire: &mut Wire, random: &mut Random, deadline: Instant) -> Result<(), String> {
        loop {
            let ask = Ask {
                target: Target::Instance,
                verb: Asked::Delete,
                plan: Some(self.attributes.plan),
                incomplete: true,
            };
            let answer = self.one(wire, ask, random);
            match &answer {
                Answer::Got(Got { status: 410, .. }) => return Ok(()),
                _ if Instant::now() > deadline => return Err(format!("the instance cannot be deleted: {answer}")),
                // An update of another client has ended meanwhile.
                Answer::Got(Got { status: 400, .. }) => self.attributes.plan = self.attributes.plan.other(),
                Answer::Got(Got {
                    status: 202, operation, ..
                }) => {
                    self.wait_for(wire, random, Target::Instance, operation.clone(), deadline)?;
                }
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// The attributes of what is there in every possible state.
fn surely_ready(states: &std::collections::BTreeSet<State>, target: Target) -> Option<Attributes> {
    let mut all = states.iter().map(|state| {
        let thing = match target {
            Target::Instance => &state.instance,
            Target::Binding(number) => &state.bindings[number],
        };
        match thing {
            Thing::Ready { attributes, .. } => Some(*attributes),
            _ => None,
        }
    });
    let first = all.next()??;
    all.all(|attributes| attributes == Some(first)).then_some(first)
}

/// Whether the backend knows what the credentials say.
fn works(body: &str, backend: &crate::backend::Backend) -> bool {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let (Some(name), Some(tokens)) = (body["name"].as_str(), body["tokens"].as_array()) else {
        return false;
    };
    // A removal that has failed half-way leaves a binding whose credentials do not work: the author's to mend.
    if backend.was_removed(name) {
        return true;
    }
    let Some((main, steps)) = tokens.split_last() else {
        return false;
    };
    let same = |part: &str, token: &serde_json::Value| backend.token(name, part).as_deref() == token.as_str();
    same("main", main)
        && steps
            .iter()
            .enumerate()
            .all(|(number, token)| same(&format!("step-{number}"), token))
}
