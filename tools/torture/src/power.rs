//! Takes the power from the machine: SIGKILL leaves to the operating system what was written and not synced, a power
//! loss does not.
//!
//! 1. A broker works for clients under `strace`, which writes down each of its calls on files. It is killed now and then.
//! 2. For random moments, each right after something was acknowledged, the data folder is built anew as it may be on a
//!    disk whose power fails then: what was synced is there, what was not is there in pieces ([`disk`], [`image`]).
//! 3. A broker is started on it. The backend is as it was at that moment, the clients have what they had been answered
//!    until then, and everything is carried to its end and judged by the same rules as after a kill.
//!
//! Clients, backend and `strace` read one clock. A call on a file counts when it had ended by the moment, an answer when
//! the client had it by then, so nothing is asked for that was acknowledged later.

pub(crate) mod disk;
pub(crate) mod image;
pub(crate) mod trace;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::backend::Backend;
use crate::broker_process::BrokerProcess;
use crate::journal::{Answer, Clock};
use crate::options::Options;
use crate::power::disk::{Disk, Syncs};
use crate::random::Random;
use crate::round::{Found, Past, Recording, resume};
use crate::wire::World;
use crate::{Counts, Progress, broker_program, free_addr};

/// Moments of one recording: its journals grow with its length, and each moment reads them all.
const MOMENTS_OF_A_RECORDING: u64 = 25;

/// How long a broker works for a recording.
const WORKS_FOR: Duration = Duration::from_millis(2_500);

/// Brokers that go on with a rebuilt folder at the same time: they wait most of the time.
const AT_ONCE: usize = 3;

/// A moment whose folder is built.
struct Job {
    number: u64,
    folder: PathBuf,
    past: Past,
    end: u64,
}

/// # Errors
/// When something was lost, and when this program cannot go on.
pub(crate) fn run(moments: u64, without_syncs: bool, options: &Options, folder: &Path) -> Result<Counts> {
    testparts::strace()?;
    let syncs = if without_syncs { Syncs::Ignored } else { Syncs::Count };
    let mut shown = Progress::default();
    let mut done = 0;
    for number in 0.. {
        if done == moments {
            break;
        }
        let count = MOMENTS_OF_A_RECORDING.min(moments - done);
        let folder = folder.join(format!("recording-{number}"));
        let recorded = record(number, options, &folder, syncs)?;
        shown.count("recordings", 1);
        shown.count("kills", recorded.past.kills.len() as u64);
        shown.count("calls on files", recorded.calls.len() as u64);
        let syncs = recorded
            .calls
            .iter()
            .filter(|call| matches!(call.name.as_str(), "fsync" | "fdatasync"));
        shown.count("syncs", syncs.count() as u64);
        fail(recorded, done, count, options.seed, &folder, &mut shown)?;
        fs::remove_dir_all(&folder)?;
        done += count;
    }
    Ok(shown.counts)
}

/// What was recorded.
struct Recorded {
    past: Past,
    clock: Clock,
    disk: Disk,
    calls: Vec<trace::Call>,
    /// How many calls each process did.
    of_processes: Vec<usize>,
}

fn record(number: u64, options: &Options, folder: &Path, syncs: Syncs) -> Result<Recorded> {
    let world = World::default();
    let backend = Backend::start(world.clock.clone(), options.seed)?;
    let addr = free_addr()?;
    fs::create_dir_all(folder)?;
    let mut broker = BrokerProcess::new(broker_program()?, folder, addr, backend.clone(), world.clone())?;
    broker.trace();
    let data = fs::canonicalize(folder.join("data"))?;
    let disk = Disk::read(&data, syncs)?;
    let recording = Recording {
        number,
        seed: options.seed,
        clients: options.clients,
        works_for: WORKS_FOR,
        kills: number % 3,
    };
    let past = recording.run(&mut broker, &backend, &world, addr)?;
    let mut places = 0;
    let (mut calls, mut of_processes) = (Vec::new(), Vec::new());
    for path in broker.traces() {
        let text = fs::read_to_string(path)?;
        let of_process = trace::read(&text, &mut places).with_context(|| path.display().to_string())?;
        of_processes.push(of_process.len());
        calls.extend(of_process);
        fs::remove_file(path)?;
    }
    Ok(Recorded {
        past,
        clock: world.clock,
        disk,
        calls,
        of_processes,
    })
}

/// Lets the power fail at so many moments, and looks at what is there then.
fn fail(recorded: Recorded, first: u64, count: u64, seed: u64, folder: &Path, shown: &mut Progress) -> Result<()> {
    let mut random = Random::of(seed, ("moments", first));
    let moments = recorded.moments(count, &mut random)?;
    let results = Mutex::new(Vec::new());
    let (sender, receiver) = sync_channel::<Job>(1);
    let receiver = Mutex::new(receiver);
    let Recorded {
        past,
        clock,
        disk,
        calls,
        of_processes,
    } = recorded;
    let mut player = Player {
        disk,
        calls: &calls,
        of_processes: &of_processes,
        next: 0,
        process: 0,
        left: of_processes.first().copied().unwrap_or_default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| look_at_all(&receiver, seed, &results));
        }
        // The workers end when nothing more can come.
        let sender = sender;
        for (number, event) in (first..).zip(moments) {
            player.play_until(clock.nanos_of(event))?;
            let folder = folder.join(format!("moment-{number}"));
            player.disk.rebuild(&folder.join("data"), &mut random)?;
            let (past, end) = past.until(event);
            let job = Job {
                number,
                folder,
                past,
                end,
            };
            if sender.send(job).is_err() {
                break;
            }
        }
        player.play_until(u64::MAX)?;
        player.disk.check_whole().context("strace has not seen everything")
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    for (number, found) in results {
        let mut found = found.with_context(|| format!("the power failed at moment {number}"))?;
        // The recording's requests are in the journals of each of its moments.
        found.counts.clear();
        shown.count("moments", 1);
        shown.add_quietly(&format!("moment {number}"), found)?;
    }
    shown.show();
    Ok(())
}

impl Recorded {
    /// Random moments, in their order, each right after a client had an acknowledgement.
    fn moments(&self, count: u64, random: &mut Random) -> Result<Vec<u64>> {
        let entries = self.past.slots.iter().flat_map(|slot| &slot.entries);
        let acknowledged = entries.filter(|entry| {
            !entry.ask.verb.reads() && matches!(&entry.answer, Answer::Got(got) if (200..=202).contains(&got.status))
        });
        let acknowledged: Vec<u64> = acknowledged.map(|entry| entry.done).collect();
        if acknowledged.is_empty() {
            bail!("nothing was acknowledged");
        }
        let mut moments: Vec<u64> = (0..count)
            .map(|_| acknowledged[random.below(acknowledged.len())])
            .collect();
        moments.sort_unstable();
        Ok(moments)
    }
}

/// Plays the calls, up to a moment and then on.
struct Player<'a> {
    disk: Disk,
    calls: &'a [trace::Call],
    of_processes: &'a [usize],
    next: usize,
    process: usize,
    /// Calls that are left of the process.
    left: usize,
}

impl Player<'_> {
    fn play_until(&mut self, nanos: u64) -> Result<()> {
        while let Some(call) = self.calls.get(self.next).filter(|call| call.nanos <= nanos) {
            while self.left == 0 {
                self.process += 1;
                self.left = self
                    .of_processes
                    .get(self.process)
                    .copied()
                    .context("no such process")?;
                self.disk.next_process();
            }
            self.disk.apply(call)?;
            self.next += 1;
            self.left -= 1;
        }
        Ok(())
    }
}

fn look_at_all(jobs: &Mutex<Receiver<Job>>, seed: u64, results: &Mutex<Vec<(u64, Result<Found>)>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let number = job.number;
        let found = look_at(job, seed);
        results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((number, found));
    }
}

fn look_at(job: Job, seed: u64) -> Result<Found> {
    let Job { folder, past, end, .. } = job;
    let found = resume(past, end, &folder, seed, 1)?;
    if found.stories.is_empty() {
        fs::remove_dir_all(&folder)?;
    }
    Ok(found)
}
