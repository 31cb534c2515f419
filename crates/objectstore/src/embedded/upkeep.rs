//! Two threads that write what is in memory to tables, and merge tables.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::Core;
use super::disk::is_full;
use super::log::{self, Sealed};
use super::tree::{MAX_RUNS, Tables};
use crate::Revision;

/// How many sealed parts may wait in memory before writers do.
const MAX_WAITING: usize = 2;

/// How long to wait before trying again on a full disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// A merge writes no more than the tables have together, and seldom more than this.
const MERGE_BYTES: u64 = 1 << 30;

const STACK_BYTES: usize = 1024 * 1024;

/// What the commit thread and the threads of the upkeep tell each other.
#[derive(Default)]
struct State {
    /// Segments that can go once the tables hold their last revision.
    segments: Vec<Sealed>,
    /// What was sealed last, if it has still to be written.
    sealed: Option<Revision>,
    merge: bool,
    /// Tables cannot be merged, so that nobody should wait for it.
    merge_failed: bool,
    stop: bool,
    /// Why nothing can be written at the moment.
    full: Option<String>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    core: Arc<Core>,
    tables: Arc<Tables>,
}

/// The threads; [`Upkeep::stop`] ends them.
pub(super) struct Upkeep {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Upkeep {
    pub(super) fn start(core: Arc<Core>, tables: Arc<Tables>) -> io::Result<Self> {
        // Tables that were left unmerged are looked after once.
        let state = Mutex::new(State {
            merge: true,
            ..State::default()
        });
        let shared = Arc::new(Shared {
            state,
            changed: Condvar::new(),
            core,
            tables,
        });
        let threads = vec![
            spawn("store-flush", shared.clone(), Shared::run_flush)?,
            spawn("store-merge", shared.clone(), Shared::run_merge)?,
        ];
        Ok(Self { shared, threads })
    }

    /// Notes a segment that no further frames go to.
    pub(super) fn add_segment(&self, segment: Option<Sealed>) {
        self.shared.lock().segments.extend(segment);
    }

    /// Has everything up to this revision written, in the background.
    pub(super) fn request_flush(&self, sealed: Revision) {
        self.shared.lock().sealed = Some(sealed);
        self.shared.changed.notify_all();
    }

    /// Waits until there is room in memory and among the tables for more. `Err` says why there is none for now.
    pub(super) fn wait_for_room(&self) -> Result<(), String> {
        let mut state = self.shared.lock();
        while self.shared.is_crowded(&state) && !state.stop {
            if let Some(why) = &state.full {
                return Err(why.clone());
            }
            if self.shared.core.has_failed() {
                return Ok(());
            }
            state = self.shared.wait(state, PATIENCE);
        }
        Ok(())
    }

    /// Writes what is sealed, unless the disk is full or the store has failed, and ends the threads.
    pub(super) fn stop(self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn spawn(name: &str, shared: Arc<Shared>, run: impl FnOnce(&Shared) + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _alarm = Alarm(shared.core.clone());
            run(&shared);
        })
}

/// A thread that panics takes the store with it: nobody would do its work.
pub(super) struct Alarm(pub(super) Arc<Core>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("one of its threads panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, patience)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn is_crowded(&self, state: &State) -> bool {
        self.tables.waiting() > MAX_WAITING || (self.tables.runs() > MAX_RUNS && !state.merge_failed)
    }

    fn run_flush(&self) {
        loop {
            let mut state = self.lock();
            while state.sealed.is_none() && !state.stop {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(sealed) = state.sealed.take() else { return };
            drop(state);
            if !self.flush(sealed) {
                return;
            }
        }
    }

    /// Writes the sealed parts and lets go of their log. Gives whether to go on.
    fn flush(&self, sealed: Revision) -> bool {
        match self.tables.flush() {
            Ok(()) => {
                let mut done = self.flushed(sealed);
                if let Err(error) = log::discard(&self.core.folder.log(), &mut done) {
                    tracing::warn!(%error, "a part of the log that is no longer needed cannot be removed yet");
                    self.lock().segments.splice(0..0, done);
                }
                true
            }
            Err(lsm_tree::Error::Io(error)) if is_full(&error) => self.is_out_of_room(sealed, &error),
            Err(error) => {
                self.core.fail(&format!("the tables cannot be written: {error:?}"));
                self.changed.notify_all();
                false
            }
        }
    }

    fn flushed(&self, sealed: Revision) -> Vec<Sealed> {
        let mut state = self.lock();
        state.full = None;
        state.merge = true;
        let (done, rest) = std::mem::take(&mut state.segments)
            .into_iter()
            .partition(|s: &Sealed| s.last <= sealed);
        state.segments = rest;
        self.changed.notify_all();
        done
    }

    /// What could not be written stays in memory and in the log; a new table is tried when there is room again. Not
    /// before: half a table stays on the disk until the next start.
    fn is_out_of_room(&self, sealed: Revision, error: &io::Error) -> bool {
        tracing::warn!(%error, "no room to write a table; trying again");
        let mut state = self.lock();
        state.full = Some(format!("no room to write a table: {error}"));
        state.sealed = state.sealed.max(Some(sealed));
        self.changed.notify_all();
        while !state.stop {
            state = self.wait(state, PATIENCE);
            if self.core.lack_of_space(0).is_none() {
                return true;
            }
        }
        false
    }

    fn run_merge(&self) {
        loop {
            let mut state = self.lock();
            while !state.merge && !state.stop {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stop {
                return;
            }
            state.merge = false;
            drop(state);
            while self.merge() {
                self.changed.notify_all();
            }
            self.changed.notify_all();
        }
    }

    /// Takes one step of merging. Gives whether there may be more to do.
    fn merge(&self) -> bool {
        let dropped = self.tables.drop_expired();
        // On a full disk it would leave half a table until the next start. Merging is no need, only a saving.
        let lacks_space = self
            .core
            .lack_of_space(self.tables.disk_bytes().min(MERGE_BYTES))
            .is_some();
        let merged = match lacks_space {
            false => dropped.and_then(|()| self.tables.merge()),
            true => dropped.map(|()| false),
        };
        let mut state = self.lock();
        state.merge_failed = merged.is_err() || lacks_space;
        match merged {
            Ok(more) => more && !state.stop,
            Err(lsm_tree::Error::Io(error)) if !is_full(&error) => {
                drop(state);
                self.core.fail(&format!("tables cannot be merged: {error}"));
                false
            }
            Err(error) => {
                // The tables are as they were. Damaged ones are reported to those who read them, too.
                tracing::error!(?error, "tables cannot be merged");
                false
            }
        }
    }
}
