//! What OSB 2.17 says of one instance and its bindings, in the form of a machine that may be in several states at a
//! time: work ends at moments that the platform does not see, so an answer narrows down where the broker can be.
//!
//! The machine knows ids and credentials only from the answers. Calls that were sent together are explained by trying
//! every order of them, with work that ends in between.
mod explain;

pub(super) use explain::{explain, settled};

use super::calls::{Answer, Asked, BIND_WISHES, BINDINGS, Call, UPDATE_WISHES, WISHES, Which, Wish};
use crate::author::{ASYNC, Behaviour, UNBINDABLE};

/// So many ended operations are remembered for certain.
const REMEMBERED: usize = 16;

/// An instance with its bindings, as the platform could know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    instance: Entry,
    bindings: [Entry; BINDINGS],
    /// The number of the next operation.
    next: u32,
    /// A binding that could not be removed fails the deprovision.
    doomed: bool,
    /// The number of lives that the instance has had.
    lives: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Entry {
    life: Option<Life>,
    /// The operations of the life before, if there was one that ended with a removal.
    buried: Option<Vec<Ended>>,
    /// The passwords of earlier lives.
    passwords: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    /// With the plan that it has now.
    asked: Asked,
    /// Of a binding: the life of the instance that it belongs to.
    of: u32,
    /// An update has changed the parameters.
    altered: bool,
    /// The update that was the last that was done, and succeeded.
    updated: Option<Asked>,
    complete: bool,
    running: Option<Running>,
    ended: Vec<Ended>,
    password: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Running {
    op: u32,
    id: Option<String>,
    removes: bool,
    /// Of an update: the plan that comes, and its wish.
    change: Option<Asked>,
    /// A DELETE of the platform began it, and not the deprovision of the instance.
    asked_for: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ended {
    id: Option<String>,
    outcome: Outcome,
}

/// An operation that has ended.
type Event = (u32, Outcome);

/// Takes a change that may happen next.
type Take<'a> = dyn FnMut(&dyn Fn(&mut Slot) -> Vec<Event>) + 'a;

/// Which entry: the instance's, or that of a binding.
type Place = Option<usize>;

/// How far a call is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Progress {
    ToDo,
    /// A bind has looked at its instance; what it got is the refusal of a new bind, and in which life the instance was.
    Looked(Option<Answer>, u32),
    Waits {
        op: u32,
        begun: bool,
    },
    Answered,
}

/// What the rules say to a call.
enum Rule {
    Is(Answer),
    Exists,
    Looked(Option<Answer>, u32),
    /// The operation answers, at once with a 202 or with its outcome.
    Runs {
        op: u32,
        begun: bool,
        accepts: bool,
        at_once: bool,
    },
    /// Nothing is said of polls of operations that may be forgotten.
    Any,
}

impl Entry {
    fn running(&self) -> Option<&Running> {
        self.life.as_ref()?.running.as_ref()
    }

    fn removing(&self) -> bool {
        self.running().is_some_and(|running| running.removes)
    }

    fn ids(&self) -> impl Iterator<Item = &String> {
        let ended = self
            .life
            .iter()
            .flat_map(|life| &life.ended)
            .chain(self.buried.iter().flatten());
        ended
            .filter_map(|ended| ended.id.as_ref())
            .chain(self.running().and_then(|running| running.id.as_ref()))
    }

    fn poll(&self, which: &Which) -> Rule {
        let of = |ended: &Ended| {
            Rule::Is(if ended.outcome == Outcome::Succeeded {
                Answer::Succeeded
            } else {
                Answer::OperationFailed
            })
        };
        let buried = |id: &String| {
            self.buried
                .iter()
                .flatten()
                .find(|ended| ended.id.as_ref() == Some(id))
                .map(of)
        };
        let Some(life) = &self.life else {
            return match which {
                _ if self.buried.is_none() => Rule::Is(Answer::NotFound),
                Which::Given(id) => buried(id).unwrap_or(Rule::Is(Answer::Gone)),
                Which::Newest | Which::Unknown => Rule::Is(Answer::Gone),
            };
        };
        match (which, &life.running) {
            (Which::Newest, Some(_)) => Rule::Is(Answer::InProgress),
            (Which::Newest, None) => life.ended.last().map_or(Rule::Any, of),
            (Which::Unknown, _) => Rule::Is(Answer::Invalid),
            (Which::Given(id), Some(running)) if running.id.as_ref() == Some(id) => Rule::Is(Answer::InProgress),
            (Which::Given(_), _) if life.ended.len() >= REMEMBERED => Rule::Any,
            (Which::Given(id), _) => {
                let here = life.ended.iter().find(|ended| ended.id.as_ref() == Some(id)).map(of);
                here.or_else(|| buried(id)).unwrap_or(Rule::Is(Answer::Invalid))
            }
        }
    }
}

/// What an author's function comes to; `None` while it waits.
fn outcome(behaviour: Behaviour, open: bool) -> Option<Outcome> {
    match behaviour {
        Behaviour::Succeed | Behaviour::Hiccup => Some(Outcome::Succeeded),
        Behaviour::Fail | Behaviour::Panic | Behaviour::Blab | Behaviour::Ruin => Some(Outcome::Failed),
        Behaviour::Block | Behaviour::Hang | Behaviour::Steps => open.then_some(Outcome::Succeeded),
        // Wished for by no request of the model.
        Behaviour::Stuck | Behaviour::Late => None,
    }
}

fn wish_of(place: Place, asked: Asked) -> &'static Wish {
    if place.is_some() {
        &BIND_WISHES[asked.wish]
    } else {
        &WISHES[asked.wish]
    }
}

impl Slot {
    fn entry(&self, place: Place) -> &Entry {
        place.map_or(&self.instance, |binding| &self.bindings[binding])
    }

    fn entry_mut(&mut self, place: Place) -> &mut Entry {
        match place {
            Some(binding) => &mut self.bindings[binding],
            None => &mut self.instance,
        }
    }

    fn places() -> impl Iterator<Item = Place> {
        std::iter::once(None).chain((0..BINDINGS).map(Some))
    }

    /// Whether nothing runs.
    pub(super) fn is_quiet(&self) -> bool {
        Self::places().all(|place| self.entry(place).running().is_none())
    }

    /// What is stored of the instance and of each binding: whether it is complete.
    pub(super) fn stored(&self) -> Vec<Option<bool>> {
        Self::places()
            .map(|place| self.entry(place).life.as_ref().map(|life| life.complete))
            .collect()
    }

    // What can happen to an entry.

    fn create(&mut self, place: Place, asked: Asked, of: u32) -> u32 {
        if place.is_none() {
            self.lives += 1;
        }
        let life = Life {
            asked,
            of,
            altered: false,
            updated: None,
            complete: false,
            running: None,
            ended: Vec::new(),
            password: None,
        };
        self.entry_mut(place).life = Some(life);
        self.start(place, false, true).0
    }

    /// Begins an operation; what runs is superseded.
    fn start(&mut self, place: Place, removes: bool, asked_for: bool) -> (u32, Option<Event>) {
        let event = self
            .entry(place)
            .running()
            .is_some()
            .then(|| self.end(place, Outcome::Failed));
        self.next += 1;
        let op = self.next;
        if let Some(life) = &mut self.entry_mut(place).life {
            life.running = Some(Running {
                op,
                id: None,
                removes,
                change: None,
                asked_for,
            });
        }
        (op, event)
    }

    fn end(&mut self, place: Place, outcome: Outcome) -> Event {
        let life = self.entry_mut(place).life.as_mut().expect("only what lives ends");
        let running = life.running.take().expect("only what runs ends");
        if !running.removes && outcome == Outcome::Succeeded {
            life.complete = true;
        }
        life.updated = running.change.filter(|_| outcome == Outcome::Succeeded);
        if let Some(change) = life.updated {
            life.asked.plan = change.plan;
            life.altered |= UPDATE_WISHES[change.wish].parameters != "{}";
        }
        life.ended.push(Ended {
            id: running.id,
            outcome,
        });
        (running.op, outcome)
    }

    /// A removal has succeeded.
    fn bury(&mut self, place: Place) -> Event {
        let event = self.end(place, Outcome::Succeeded);
        let entry = self.entry_mut(place);
        let life = entry.life.take().expect("only what lives is buried");
        entry.passwords.extend(life.password);
        entry.buried = Some(life.ended);
        event
    }

    /// A bind was too late: nothing was made, and nothing is remembered.
    fn vanish(&mut self, place: Place) -> Event {
        let event = self.end(place, Outcome::Failed);
        self.entry_mut(place).life = None;
        event
    }

    // What the broker does by itself.

    /// Everything that may happen next, with the operations that it ends. `open` says whether functions that wait may
    /// go on.
    fn steps(&self, open: bool) -> Vec<(Slot, Vec<Event>)> {
        let mut steps = Vec::new();
        let mut step = |change: &dyn Fn(&mut Slot) -> Vec<Event>| {
            let mut next = self.clone();
            let events = change(&mut next);
            steps.push((next, events));
        };
        match self.instance.running() {
            Some(running) if running.removes => self.deprovision_steps(open, &mut step),
            Some(running) => {
                let asked = self.instance.life.as_ref().expect("it runs").asked;
                let wish = running
                    .change
                    .map_or_else(|| wish_of(None, asked), |change| &UPDATE_WISHES[change.wish]);
                if let Some(outcome) = outcome(wish.make, open) {
                    step(&|slot| vec![slot.end(None, outcome)]);
                }
            }
            None => {}
        }
        for binding in 0..BINDINGS {
            match self.bindings[binding].running() {
                Some(running) if running.removes => self.unbind_steps(binding, running.asked_for, open, &mut step),
                Some(_) => self.bind_steps(binding, open, &mut step),
                None => {}
            }
        }
        steps
    }

    fn deprovision_steps(&self, open: bool, step: &mut Take<'_>) {
        if self.doomed {
            return step(&|slot| {
                slot.doomed = false;
                vec![slot.end(None, Outcome::Failed)]
            });
        }
        let left: Vec<usize> = (0..BINDINGS)
            .filter(|binding| self.bindings[*binding].life.is_some())
            .collect();
        for binding in &left {
            if !self.bindings[*binding].removing() {
                step(&|slot| slot.start(Some(*binding), true, false).1.into_iter().collect());
            }
        }
        let life = self.instance.life.as_ref().expect("it runs");
        let behaviour = if life.complete {
            wish_of(None, life.asked).remove
        } else {
            Behaviour::Succeed
        };
        match outcome(behaviour, open) {
            Some(Outcome::Succeeded) if left.is_empty() => step(&|slot| vec![slot.bury(None)]),
            Some(Outcome::Failed) if left.is_empty() => step(&|slot| vec![slot.end(None, Outcome::Failed)]),
            _ => {}
        }
    }

    fn bind_steps(&self, binding: usize, open: bool, step: &mut Take<'_>) {
        let place = Some(binding);
        let of = self.bindings[binding].life.as_ref().expect("it runs").of;
        let complete = self.instance.life.as_ref().is_some_and(|life| life.complete);
        if self.instance.removing() || !complete || of != self.lives {
            return step(&|slot| vec![slot.vanish(place)]);
        }
        let asked = self.bindings[binding].life.as_ref().expect("it runs").asked;
        if let Some(outcome) = outcome(wish_of(place, asked).make, open) {
            step(&|slot| vec![slot.end(place, outcome)]);
        }
    }

    fn unbind_steps(&self, binding: usize, asked_for: bool, open: bool, step: &mut Take<'_>) {
        let place = Some(binding);
        let life = self.bindings[binding].life.as_ref().expect("it runs");
        let has_state = life.of == self.lives && self.instance.life.as_ref().is_some_and(|life| life.complete);
        let behaviour = if has_state && life.complete {
            wish_of(place, life.asked).remove
        } else {
            Behaviour::Succeed
        };
        match outcome(behaviour, open) {
            None => {}
            Some(Outcome::Succeeded) => step(&|slot| vec![slot.bury(place)]),
            Some(Outcome::Failed) => {
                if self.instance.removing() {
                    step(&|slot| {
                        slot.doomed = true;
                        vec![slot.end(place, Outcome::Failed)]
                    });
                }
                if asked_for {
                    step(&|slot| vec![slot.end(place, Outcome::Failed)]);
                }
            }
        }
    }

    // What a call does.

    fn advance(&mut self, call: &Call, looked: Option<(&Option<Answer>, u32)>) -> (Rule, Option<Event>) {
        match (call, looked) {
            (Call::Provision { asked, accepts }, _) => {
                let needs_async = asked.plan == ASYNC && !accepts;
                let refusal = if needs_async {
                    Some(Answer::AsyncRequired)
                } else {
                    (!WISHES[asked.wish].valid).then_some(Answer::Invalid)
                };
                (self.put(None, *asked, 0, refusal, *accepts, asked.plan == ASYNC), None)
            }
            (Call::Bind { asked, .. }, None) => (self.look(*asked), None),
            (Call::Bind { binding, asked }, Some((refusal, life))) => (
                self.put(Some(*binding), *asked, life, refusal.clone(), false, false),
                None,
            ),
            (Call::Update { change, accepts }, _) => (self.update(*change, *accepts), None),
            (Call::Deprovision { plan, accepts }, _) => self.delete(None, plan, *accepts),
            (Call::Unbind { binding, plan, accepts }, _) => self.delete(Some(*binding), plan, *accepts),
            (Call::Poll { binding, which }, _) => (self.entry(*binding).poll(which), None),
        }
    }

    /// OSB-PROV-10 to -15, OSB-BIND-09 to -16, Amb-23; an identical PUT after a failure starts again.
    fn put(
        &mut self,
        place: Place,
        asked: Asked,
        of: u32,
        refusal: Option<Answer>,
        accepts: bool,
        at_once: bool,
    ) -> Rule {
        let Some(life) = &self.entry(place).life else {
            return match refusal {
                Some(refusal) => Rule::Is(refusal),
                None => Rule::Runs {
                    op: self.create(place, asked, of),
                    begun: true,
                    accepts,
                    at_once,
                },
            };
        };
        match &life.running {
            Some(running) if running.removes => Rule::Is(Answer::Concurrency),
            // A binding has the plan of its instance, which a look at that has compared already.
            _ if life.asked.wish != asked.wish || life.altered => Rule::Is(Answer::Conflict),
            _ if place.is_none() && life.asked.plan != asked.plan => Rule::Is(Answer::Conflict),
            Some(running) if running.change.is_some() => Rule::Exists,
            // A 202 would be the answer, and the platform does not take one (OSB-ASY-03).
            Some(_) if refusal == Some(Answer::AsyncRequired) => Rule::Is(Answer::AsyncRequired),
            Some(running) => Rule::Runs {
                op: running.op,
                begun: false,
                accepts,
                at_once: accepts,
            },
            None if life.complete => Rule::Exists,
            None => match refusal {
                Some(refusal) => Rule::Is(refusal),
                None => Rule::Runs {
                    op: self.start(place, false, true).0,
                    begun: true,
                    accepts,
                    at_once,
                },
            },
        }
    }

    /// OSB-UPD-10 to -19; an identical PATCH joins what runs, and is done when it was the last that was.
    fn update(&mut self, change: Asked, accepts: bool) -> Rule {
        let Some(life) = &self.instance.life else {
            return Rule::Is(Answer::NotFound);
        };
        let wish = &UPDATE_WISHES[change.wish];
        let nothing = life.asked.plan == change.plan && wish.parameters == "{}";
        let refusal = if nothing {
            None
        } else if !wish.valid {
            Some(Answer::Invalid)
        } else {
            (change.plan == ASYNC && !accepts).then_some(Answer::AsyncRequired)
        };
        match (&life.running, refusal) {
            (Some(running), refusal) if running.change == Some(change) => match refusal {
                Some(refusal) => Rule::Is(refusal),
                None => Rule::Runs {
                    op: running.op,
                    begun: false,
                    accepts,
                    at_once: accepts,
                },
            },
            (Some(_), _) => Rule::Is(Answer::Concurrency),
            (None, _) if !life.complete => Rule::Is(Answer::Invalid),
            (None, _) if life.updated == Some(change) => Rule::Is(Answer::Done),
            (None, Some(refusal)) => Rule::Is(refusal),
            (None, None) if nothing => Rule::Is(Answer::Done),
            (None, None) => {
                let (op, _) = self.start(None, false, true);
                let life = self.instance.life.as_mut().expect("it is there");
                if let Some(running) = &mut life.running {
                    running.change = Some(change);
                }
                Rule::Runs {
                    op,
                    begun: true,
                    accepts,
                    at_once: accepts && change.plan == ASYNC,
                }
            }
        }
    }

    /// The instance of a bind: Amb-13, Amb-24, OSB-BIND-02, OSB-BIND-18.
    fn look(&self, asked: Asked) -> Rule {
        let Some(instance) = &self.instance.life else {
            return Rule::Is(Answer::NotFound);
        };
        if instance.asked.plan != asked.plan || asked.plan == UNBINDABLE {
            return Rule::Is(Answer::Invalid);
        }
        let refusal = if instance.running.is_some() {
            Some(Answer::Concurrency)
        } else {
            (!instance.complete || !BIND_WISHES[asked.wish].valid).then_some(Answer::Invalid)
        };
        Rule::Looked(refusal, self.lives)
    }

    /// OSB-DEP-03 to -08, OSB-UNB-03 to -08.
    fn delete(&mut self, place: Place, plan: &str, accepts: bool) -> (Rule, Option<Event>) {
        let Some(life) = &self.entry(place).life else {
            return (Rule::Is(Answer::Gone), None);
        };
        // A binding has the plan of its instance, also that from before an update.
        let of_instance = self.instance.life.as_ref().filter(|_| place.is_some());
        if life.asked.plan != plan && of_instance.is_none_or(|instance| instance.asked.plan != plan) {
            return (Rule::Is(Answer::Invalid), None);
        }
        let is_async = plan == ASYNC;
        if is_async && !accepts {
            return (Rule::Is(Answer::AsyncRequired), None);
        }
        match &life.running {
            Some(running) if running.removes => (
                Rule::Runs {
                    op: running.op,
                    begun: false,
                    accepts,
                    at_once: accepts,
                },
                None,
            ),
            _ => {
                let (op, event) = self.start(place, true, true);
                (
                    Rule::Runs {
                        op,
                        begun: true,
                        accepts,
                        at_once: accepts && is_async,
                    },
                    event,
                )
            }
        }
    }

    // What an answer tells.

    /// The id of a running operation: always the same one, and never that of another operation.
    fn learn_id(&mut self, op: u32, id: &str) -> bool {
        let known = Self::places().any(|place| self.entry(place).ids().any(|known| known == id));
        for place in Self::places() {
            let running = self
                .entry_mut(place)
                .life
                .as_mut()
                .and_then(|life| life.running.as_mut());
            if let Some(running) = running.filter(|running| running.op == op) {
                return match &running.id {
                    Some(before) => before == id,
                    None => {
                        running.id = Some(id.to_owned());
                        !known
                    }
                };
            }
        }
        false
    }

    /// The password of a binding: the same as long as it lives, and never that of another binding (OSB-BIND-21).
    fn learn_password(&mut self, call: &Call, password: Option<&String>) -> bool {
        let (Call::Bind { binding, .. }, Some(password)) = (call, password) else {
            return matches!(call, Call::Provision { .. });
        };
        let others = self.bindings.iter().flat_map(|entry| {
            entry
                .passwords
                .iter()
                .chain(entry.life.as_ref().and_then(|life| life.password.as_ref()))
        });
        let known = others.into_iter().any(|known| known == password);
        let Some(life) = &mut self.bindings[*binding].life else {
            return true;
        };
        match &life.password {
            Some(before) => before == password,
            None => {
                life.password = Some(password.clone());
                !known
            }
        }
    }

    /// The answer to a call whose operation has ended.
    fn is_outcome(&mut self, call: &Call, begun: bool, outcome: Outcome, answer: &Answer) -> bool {
        let removes = matches!(call, Call::Deprovision { .. } | Call::Unbind { .. });
        match (outcome, answer) {
            (Outcome::Failed, answer) => *answer == Answer::Failed,
            (_, answer) if matches!(call, Call::Update { .. }) => *answer == Answer::Done,
            (_, Answer::Done) => removes && begun,
            // Of several deletes one reports 200 (OSB-BLK-04).
            (_, Answer::Gone) => removes && !begun,
            (_, Answer::Created(password)) => !removes && begun && self.learn_password(call, password.as_ref()),
            (_, Answer::Exists(password)) => !removes && !begun && self.learn_password(call, password.as_ref()),
            _ => false,
        }
    }

    /// The same state, with the numbers of operations in one form.
    fn canonical(mut self) -> Self {
        self.next = 0;
        // Which life a binding is of matters only as far as it is the newest one.
        for binding in &mut self.bindings {
            if let Some(life) = &mut binding.life {
                life.of = u32::from(life.of == self.lives);
            }
        }
        self.lives = 1;
        for place in Self::places() {
            self.next += 1;
            let op = self.next;
            if let Some(running) = self
                .entry_mut(place)
                .life
                .as_mut()
                .and_then(|life| life.running.as_mut())
            {
                running.op = op;
            }
        }
        self
    }
}
