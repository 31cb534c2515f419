//! A round: clients at work while the broker is killed, then peace, and the check of all journals.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use loadgen::http::Target;

use crate::backend::Backend;
use crate::broker_process::{BrokerProcess, Moment, PLATFORMS};
use crate::client::{Client, Slot};
use crate::journal::{Answer, Event, Got, Kill, SlotId, SlotJournal, Violation, What};
use crate::random::Random;
use crate::wire::{Place, World};
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
}

/// What a round found.
pub(crate) struct Found {
    /// Violations, told as stories.
    pub(crate) stories: Vec<String>,
    pub(crate) counts: Vec<(&'static str, u64)>,
}

/// Everything that was written down in a round.
struct Journals {
    slots: Vec<SlotJournal>,
    events: Vec<Event>,
    kills: Vec<Kill>,
    /// What did not come to its end.
    unfinished: Vec<(SlotId, String)>,
    /// What was left in the backend after everything was deleted.
    left: Vec<(String, String)>,
    /// Panics in the broker's log.
    panics: Vec<String>,
}

impl Round {
    /// # Errors
    /// When the broker does not start again, which is a violation that ends the run, and when this program cannot go on.
    pub(crate) fn run(&self, broker: &mut BrokerProcess, backend: &Backend, world: &World) -> Result<Found> {
        let journals = self.play(broker, backend, world)?;
        Ok(judge(&journals))
    }

    fn play(&self, broker: &mut BrokerProcess, backend: &Backend, world: &World) -> Result<Journals> {
        let stop = AtomicBool::new(false);
        let mut clients: Vec<_> = (0..self.clients)
            .map(|number| self.client(world, number, &stop))
            .collect();
        let mut kills = Vec::new();
        std::thread::scope(|scope| {
            let workers: Vec<_> = clients.iter_mut().map(|client| scope.spawn(|| client.work())).collect();
            let killed = self.kill(broker, &mut kills);
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                worker.join().map_err(|_| anyhow::anyhow!("a client broke down"))?;
            }
            killed
        })
        .with_context(|| format!("round {}", self.number))?;
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
        let journals = clients
            .into_iter()
            .flat_map(|client| client.slots)
            .map(|slot| slot.journal);
        Ok(Journals {
            slots: journals.collect(),
            events: backend.take_events(),
            kills,
            unfinished,
            left: backend.parts(),
            panics: broker.take_panics()?,
        })
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

    fn client<'a>(&self, world: &World, number: usize, stop: &'a AtomicBool) -> Client<'a> {
        // Two neighbours belong to different platforms and use equal ids.
        let platform = number % PLATFORMS.len();
        let own = (0..SLOTS).map(|slot| self.slot(platform, (number / PLATFORMS.len()) * SLOTS + slot, true));
        let shared = (0..SHARED).map(|slot| self.slot(platform, 100_000 + slot, false));
        let random = Random::of(self.seed, ("client", self.number, number));
        Client::new(world, own.chain(shared).collect(), random, stop)
    }

    fn slot(&self, platform: usize, number: usize, ordered: bool) -> Slot {
        let (platform, user, password) = PLATFORMS[platform];
        let instance = odd_id(self.number, number);
        let place = Place {
            address: Target::new(self.addr, user, password),
            instance: instance.clone(),
            bindings: ["b".to_owned(), format!("{instance}/service_bindings/B")],
            plan_is_async: number % 2 == 1,
        };
        Slot::new(
            SlotId {
                platform: platform.to_owned(),
                instance,
            },
            place,
            ordered,
        )
    }
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
    let Journals {
        slots, events, kills, ..
    } = journals;
    let mut violations = calls::check(events, kills);
    for slot in slots {
        if slot.ordered {
            violations.extend(model::check(slot, kills).0);
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
        counts: count(journals),
    }
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

fn count(journals: &Journals) -> Vec<(&'static str, u64)> {
    let answers = || {
        journals
            .slots
            .iter()
            .flat_map(|slot| &slot.entries)
            .map(|entry| &entry.answer)
    };
    let statuses = |from: u16, to: u16| {
        answers()
            .filter(|answer| matches!(answer, Answer::Got(got) if (from..=to).contains(&got.status)))
            .count()
    };
    let begun = journals
        .events
        .iter()
        .filter(|event| matches!(event.what, What::Begin(_)))
        .count();
    let gone = journals
        .events
        .iter()
        .filter(|event| matches!(event.what, What::Gone))
        .count();
    let counts = [
        ("kills", journals.kills.len()),
        ("requests", answers().count()),
        ("acknowledged", statuses(200, 202)),
        ("cut off", answers().filter(|answer| **answer == Answer::Cut).count()),
        ("5xx", statuses(500, 599)),
        ("author calls", begun),
        ("author calls interrupted", gone),
    ];
    counts
        .map(|(what, number)| (what, u64::try_from(number).unwrap_or(u64::MAX)))
        .to_vec()
}
