//! A round: clients at work while the broker is killed, then peace, and the check of all journals.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use loadgen::http::Target;
use serde::{Deserialize, Serialize};
use torture::{Begin, Verb};

use crate::backend::Backend;
use crate::broker_process::{BrokerProcess, Moment, PLATFORMS};
use crate::client::{Abilities, Client, Slot};
use crate::journal::{Answer, Asked, Entry, Event, Got, Kill, Plan, SlotId, SlotJournal, Violation, What};
use crate::model::Attributes;
use crate::random::Random;
use crate::wire::{Place, World, note_text};
use crate::{calls, model, story};

/// Ids of its own that each client has.
const SLOTS: usize = 3;

/// Ids that all clients work on at once.
const SHARED: usize = 4;

/// How a round is run.
pub(crate) struct Round {
    pub(crate) number: u64,
    pub(crate) kills: u64,
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    pub(crate) addr: SocketAddr,
    pub(crate) abilities: Abilities,
}

/// What a round found.
pub(crate) struct Found {
    /// Violations, told as stories.
    pub(crate) stories: Vec<String>,
    pub(crate) counts: Vec<(&'static str, u64)>,
}

/// What was written down until a moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Past {
    pub(crate) slots: Vec<SlotJournal>,
    pub(crate) events: Vec<Event>,
    pub(crate) kills: Vec<Kill>,
}

/// Everything that was written down, and what was seen at the end.
struct Journals {
    past: Past,
    /// What did not come to its end.
    unfinished: Vec<(SlotId, String)>,
    /// What instances had for certain before they were removed at the end.
    held: Vec<(SlotId, Attributes)>,
    /// What was left in the backend after everything was deleted.
    left: Vec<(String, String)>,
    /// Panics in the broker's log.
    panics: Vec<String>,
}

impl Round {
    /// # Errors
    /// When the broker does not start again, which is a violation that ends the run, and when this program cannot go on.
    pub(crate) fn run(&self, broker: &mut BrokerProcess, backend: &Backend, world: &World) -> Result<Found> {
        let (mut clients, kills) = self.work(world, || {
            let mut kills = Vec::new();
            self.kill(broker, &mut kills)?;
            Ok(kills)
        })?;
        let past = Past {
            kills,
            ..Past::default()
        };
        let journals = conclude(past, &mut clients, broker, backend)?;
        Ok(judge(&journals))
    }

    /// Has clients work while something is done to the broker.
    pub(crate) fn work(
        &self,
        world: &World,
        meanwhile: impl FnOnce() -> Result<Vec<Kill>>,
    ) -> Result<(Vec<Client>, Vec<Kill>)> {
        let stop = AtomicBool::new(false);
        let mut clients: Vec<_> = (0..self.clients).map(|number| self.client(world, number)).collect();
        let kills = std::thread::scope(|scope| {
            let stop = &stop;
            let workers: Vec<_> = clients
                .iter_mut()
                .map(|client| scope.spawn(move || client.work(stop)))
                .collect();
            let killed = meanwhile();
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                worker.join().map_err(|_| anyhow::anyhow!("a client broke down"))?;
            }
            killed
        })
        .with_context(|| format!("round {}", self.number))?;
        Ok((clients, kills))
    }

    /// Kills and restarts; at the end the broker runs.
    fn kill(&self, broker: &mut BrokerProcess, kills: &mut Vec<Kill>) -> Result<()> {
        let mut random = Random::of(self.seed, ("kills", self.number));
        for _ in 0..self.kills {
            kills.push(broker.kill_at(Moment::draw(&mut random))?);
            broker.start()?;
        }
        broker.wait_until_ready()
    }

    fn client(&self, world: &World, number: usize) -> Client {
        // Two neighbours belong to different platforms and use equal ids.
        let platform = number % PLATFORMS.len();
        let own = (0..SLOTS).map(|slot| self.slot(platform, (number / PLATFORMS.len()) * SLOTS + slot, true));
        let shared = (0..SHARED).map(|slot| self.slot(platform, 100_000 + slot, false));
        let random = Random::of(self.seed, ("client", self.number, number));
        Client::new(world, own.chain(shared).collect(), random)
    }

    fn slot(&self, platform: usize, number: usize, ordered: bool) -> Slot {
        let (platform, ..) = PLATFORMS[platform];
        let id = SlotId {
            platform: platform.to_owned(),
            instance: odd_id(self.number, number),
        };
        let place = place(&id, self.addr);
        Slot::new(id, place, Plan::ALL[number % 2], ordered, self.abilities)
    }
}

/// Where a slot is asked for.
fn place(id: &SlotId, addr: SocketAddr) -> Place {
    let login = PLATFORMS.iter().find(|(platform, ..)| *platform == id.platform);
    let (_, user, password) = login.unwrap_or(&PLATFORMS[0]);
    Place {
        address: Target::new(addr, user, password),
        instance: id.instance.clone(),
        bindings: ["b".to_owned(), format!("{}/service_bindings/B", id.instance)],
    }
}

impl Past {
    /// What had been written down when the machine went down, right after this event: what came later was never seen,
    /// and what had no answer yet never gets one. The clock goes on behind the answer.
    pub(crate) fn until(&self, event: u64) -> (Self, u64) {
        let end = event + 1;
        let mut slots = self.slots.clone();
        for slot in &mut slots {
            slot.entries.retain(|entry| entry.sent <= event);
            for entry in slot.entries.iter_mut().filter(|entry| entry.done > event) {
                entry.answer = Answer::Cut;
                entry.done = end;
            }
        }
        let mut events: Vec<_> = self.events.iter().filter(|seen| seen.at <= event).cloned().collect();
        let mut open = BTreeSet::new();
        for seen in &events {
            match seen.what {
                What::Begin(_) => open.insert(seen.call),
                What::End(..) | What::Gone => open.remove(&seen.call),
                _ => false,
            };
        }
        events.extend(open.into_iter().map(|call| Event {
            at: end,
            call,
            what: What::Gone,
        }));
        let mut kills: Vec<_> = self.kills.iter().filter(|kill| kill.at <= event).copied().collect();
        kills.push(Kill { at: end });
        let past = Self { slots, events, kills };
        (past, end)
    }
}

/// Work that ends with a kill in the middle of it.
pub(crate) struct Recording {
    pub(crate) number: u64,
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    pub(crate) works_for: Duration,
    /// Kills before the last one.
    pub(crate) kills: u64,
}

impl Recording {
    /// # Errors
    /// As [`Round::run`].
    pub(crate) fn run(
        &self,
        broker: &mut BrokerProcess,
        backend: &Backend,
        world: &World,
        addr: SocketAddr,
    ) -> Result<Past> {
        broker.start()?;
        let round = Round {
            number: self.number,
            kills: self.kills,
            seed: self.seed,
            clients: self.clients,
            addr,
            abilities: broker.abilities()?,
        };
        let mut random = Random::of(self.seed, ("recording", self.number));
        let (clients, kills) = round.work(world, || {
            let mut kills = Vec::new();
            let part = self.works_for / u32::try_from(self.kills + 1)?;
            for left in (0..=self.kills).rev() {
                broker.wait_until_ready()?;
                std::thread::sleep(part.mul_f64(0.75) + random.micros_below(500_000).min(part / 2));
                broker.check_alive()?;
                kills.push(broker.kill()?);
                if left > 0 {
                    broker.start()?;
                }
            }
            Ok(kills)
        })?;
        Ok(Past {
            slots: clients
                .into_iter()
                .flat_map(|client| client.slots)
                .map(|slot| slot.journal)
                .collect(),
            events: backend.take_events(),
            kills,
        })
    }
}

/// Finishes what was begun until the event `end`: the broker that lies beside this program goes on in the folder with
/// this form of states, and the backend is as it was left.
///
/// # Errors
/// As [`Round::run`].
pub(crate) fn resume(past: Past, end: u64, folder: &Path, seed: u64, state_version: u32) -> Result<Found> {
    const WORKERS: usize = 6;
    let world = World::behind(end);
    let backend = Backend::after(&past.events, world.clock.clone(), seed)?;
    let addr = crate::free_addr()?;
    let mut broker = BrokerProcess::new(crate::broker_program()?, folder, addr, backend.clone(), world.clone())?;
    broker.keep_states_as(state_version);
    broker.start()?;
    let Past {
        slots: journals,
        events,
        kills,
    } = past;
    let mut slots: Vec<Vec<Slot>> = (0..WORKERS).map(|_| Vec::new()).collect();
    for (number, journal) in journals.into_iter().enumerate() {
        let place = place(&journal.id, addr);
        slots[number % WORKERS].push(Slot::resumed(journal, place));
    }
    let numbered = slots.into_iter().zip(0_u64..);
    let mut clients: Vec<_> = numbered
        .map(|(slots, number)| Client::new(&world, slots, Random::of(seed, ("resumed", number))))
        .collect();
    let past = Past {
        slots: Vec::new(),
        events,
        kills,
    };
    let journals = conclude(past, &mut clients, &mut broker, &backend)?;
    Ok(judge(&journals))
}

/// Waits until everything has ended, looks at it, and deletes it.
fn conclude(past: Past, clients: &mut [Client], broker: &mut BrokerProcess, backend: &Backend) -> Result<Journals> {
    broker.wait_until_ready()?;
    let Past { mut events, kills, .. } = past;
    let unfinished = std::thread::scope(|scope| {
        let kills = &kills;
        let finishing: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(move || client.finish(kills, backend)))
            .collect();
        let mut unfinished = Vec::new();
        for client in finishing {
            unfinished.extend(client.join().map_err(|_| anyhow::anyhow!("a client broke down"))?);
        }
        anyhow::Ok(unfinished)
    })?;
    broker.check_alive()?;
    wait_for_quiet(backend);
    events.extend(backend.take_events());
    let slots = || clients.iter().flat_map(|client| &client.slots);
    let held = slots().filter_map(|slot| Some((slot.journal.id.clone(), slot.held?)));
    Ok(Journals {
        held: held.collect(),
        past: Past {
            slots: slots().map(|slot| slot.journal.clone()).collect(),
            events,
            kills,
        },
        unfinished,
        left: backend.parts(),
        panics: broker.take_panics()?,
    })
}

/// Ids of every kind that a platform may choose.
fn odd_id(round: u64, number: usize) -> String {
    match number % 7 {
        0 => format!("5a1c1d0e-{round:04x}-4000-8000-{number:012x}"),
        1 => format!("{round}.{number}"),
        2 => format!("a/b:c%2F?{round}&{number}#"),
        3 => format!("UPPER {round} {number} ä\u{1F600}"),
        4 => format!("osb-{round}-{number}"),
        5 => format!("..%2f../{round}/{number}/last_operation"),
        _ => format!("{round}-{number}-{}", "x".repeat(400)),
    }
}

/// A call that was the last of its instance may still be on its way home.
fn wait_for_quiet(backend: &Backend) {
    for _ in 0..1_000 {
        if backend.running() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn judge(journals: &Journals) -> Found {
    let Past { slots, events, kills } = &journals.past;
    let mut violations = calls::check(events, kills);
    let mut lost = 0;
    for slot in slots {
        if slot.ordered {
            let (violation, states) = model::check(slot, kills);
            lost += usize::from(violation.is_none() && states.is_empty());
            violations.extend(violation);
            violations.extend(model::operations_that_come_again(slot));
        } else {
            violations.extend(illegal_answers(slot));
        }
    }
    violations.extend(model::shared_operations(slots));
    let unfinished = journals.unfinished.iter();
    violations.extend(unfinished.map(|(id, text)| Violation {
        slot: Some(id.clone()),
        at: u64::MAX,
        text: text.clone(),
    }));
    violations.extend(journals.held.iter().filter_map(|held| other_state(held, events)));
    violations.extend(orphans(&journals.left, events));
    for panic in &journals.panics {
        violations.push(Violation {
            slot: None,
            at: 0,
            text: format!("the broker's log: {panic}"),
        });
    }
    violations.sort_by_key(|violation| violation.at);
    let stories = violations
        .iter()
        .map(|violation| story::tell(violation, slots, events, kills))
        .collect();
    Found {
        stories,
        counts: count(journals, lost),
    }
}

/// The author is handed the state of the last update that was acknowledged, and of no other one.
fn other_state((slot, attributes): &(SlotId, Attributes), events: &[Event]) -> Option<Violation> {
    let mut removals = events.iter().rev().filter_map(|event| match &event.what {
        What::Begin(begin) if begin.verb == Verb::Deprovision => Some((event.at, begin)),
        _ => None,
    });
    let of_slot = |begin: &Begin| begin.platform == slot.platform && begin.instance == slot.instance;
    let (at, begin) = removals.find(|(_, begin)| of_slot(begin))?;
    let state = begin.state.clone().unwrap_or_default();
    // The first version of the broker kept neither.
    if state["name"].is_string() && state["note"].is_null() {
        return None;
    }
    let fits = state["note"] == note_text(attributes.note) && state["plan"] == attributes.plan.id();
    (!fits).then(|| Violation {
        slot: Some(slot.clone()),
        at,
        text: format!("it had {attributes:?} for its platform, and {state} for its author"),
    })
}

/// What is left in the backend of instances that are deleted.
fn orphans(left: &[(String, String)], events: &[Event]) -> Vec<Violation> {
    let orphan = |(name, part): &(String, String)| {
        let mut calls = events.iter().filter_map(|event| match &event.what {
            What::Begin(begin) if begin.own_name == *name => Some((event.at, begin)),
            _ => None,
        });
        let last = calls.next_back();
        let slot = last.map(|(_, begin)| SlotId {
            platform: begin.platform.clone(),
            instance: begin.instance.clone(),
        });
        let at = last.map_or(u64::MAX, |(at, _)| at);
        Violation {
            slot,
            at,
            text: format!("{part} of {name} is left in the backend; this was its last call"),
        }
    };
    left.iter().map(orphan).collect()
}

/// Where many clients race, only the answer itself can be judged.
fn illegal_answers(slot: &SlotJournal) -> Vec<Violation> {
    let illegal = |got: &Got| {
        !matches!(
            got.status,
            200 | 201 | 202 | 400 | 404 | 409 | 410 | 422 | 429 | 500 | 503
        )
    };
    let entries = slot
        .entries
        .iter()
        .filter(|entry| matches!(&entry.answer, Answer::Got(got) if illegal(got)));
    entries
        .map(|entry| Violation {
            slot: Some(slot.id.clone()),
            at: entry.sent,
            text: format!("no legal answer: {} -> {}", entry.ask, entry.answer),
        })
        .collect()
}

fn count(journals: &Journals, lost: usize) -> Vec<(&'static str, u64)> {
    let Past { slots, events, kills } = &journals.past;
    let entries = || slots.iter().flat_map(|slot| &slot.entries);
    let answered = |from: u16, to: u16, of: fn(&Asked) -> bool| {
        let fits = |entry: &&Entry| {
            of(&entry.ask.verb) && matches!(&entry.answer, Answer::Got(got) if (from..=to).contains(&got.status))
        };
        entries().filter(fits).count()
    };
    let calls = |of: fn(&What) -> bool| events.iter().filter(|event| of(&event.what)).count();
    let counts = [
        ("kills", kills.len()),
        ("requests", entries().count()),
        ("acknowledged", answered(200, 202, |_| true)),
        ("updates", answered(200, 202, |asked| matches!(asked, Asked::Patch(_)))),
        ("rotations", answered(201, 202, |asked| *asked == Asked::Rotate)),
        ("fetches", answered(200, 200, |asked| *asked == Asked::Fetch)),
        ("cut off", entries().filter(|entry| entry.answer == Answer::Cut).count()),
        ("5xx", answered(500, 599, |_| true)),
        ("author calls", calls(|what| matches!(what, What::Begin(_)))),
        ("author calls interrupted", calls(|what| matches!(what, What::Gone))),
        ("ids that were not followed to the end", lost),
    ];
    counts
        .map(|(what, number)| (what, u64::try_from(number).unwrap_or(u64::MAX)))
        .to_vec()
}
