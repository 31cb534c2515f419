//! The one thread that commits.
//!
//! It takes whatever has queued up, decides each transaction against what is stored and what the group has changed
//! already, writes one frame, syncs it once, and only then applies, publishes, tells watchers and answers.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::core::Core;
use super::frame::Encoder;
use super::log::{AppendError, Writer};
use super::queue::{Pending, Queue, Reply, Request};
use super::records::Checkpoint;
use super::tree::{Newest, Tables};
use super::upkeep::{Alarm, Upkeep};
use crate::decide::{self, Change, Decision, View};
use crate::keys::{self, KeyHasher};
use crate::window::Clock;
use crate::{Entry, Error, Outcome, Revision, Transaction};

/// How often the thread looks at the clock when nothing comes in.
const TICK: Duration = Duration::from_secs(1);

/// After how long without a commit what is in memory is written to a table, so that it need not stay in memory and a
/// start after a crash has nothing to do.
const IDLE: Duration = Duration::from_secs(30);

/// How long an answer about free space is believed.
const SPACE_CHECK: Duration = Duration::from_millis(50);

/// At most so many transactions, and about so many bytes, are synced at once.
const GROUP_TRANSACTIONS: usize = 2048;
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Memory of an earlier group that is kept for the next one, in bytes.
const KEPT_BUFFER: usize = 256 * 1024;

/// Everything that the thread owns.
pub(super) struct Committer {
    pub(super) core: Arc<Core>,
    pub(super) tables: Arc<Tables>,
    pub(super) queue: Arc<Queue>,
    pub(super) log: Writer,
    pub(super) upkeep: Upkeep,
    pub(super) clock: Clock,
    pub(super) buffer: Vec<u8>,
    pub(super) room: Room,
    /// Whether something was applied since the last seal.
    pub(super) dirty: bool,
    pub(super) hasher: KeyHasher,
}

/// What is known of the free space.
pub(super) struct Room {
    pub(super) checked: Option<Instant>,
    pub(super) lack: Option<String>,
    /// Whether it was said that there is none, and nothing has been written since.
    pub(super) told: bool,
}

/// Nobody may wait for an answer of a thread that is gone.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        self.0.take(Vec::new(), Duration::ZERO);
    }
}

/// Entries that may differ from those in the tables.
type Overlay = HashMap<Bytes, Option<Entry>, KeyHasher>;

/// A group on its way.
struct Group<'a> {
    newest: Newest<'a>,
    /// The revision that the tables show.
    base: Revision,
    /// The last revision given out.
    revision: Revision,
    /// What stands at the keys that the group looked at, its own changes included.
    overlay: Overlay,
    commits: Vec<(Revision, Vec<Change>)>,
    frame: Encoder,
    transactions: Vec<(Pending, Result<Outcome, Error>)>,
    compactions: Vec<Reply<()>>,
    /// The oldest revision that can be read afterwards.
    oldest: Revision,
}

impl Committer {
    /// Commits until the queue is closed or the store has failed.
    pub(super) fn run(mut self) {
        let queue = CloseOnDrop(self.queue.clone());
        let alarm = Alarm(self.core.clone());
        let mut requests = Vec::new();
        let mut last_commit = Instant::now();
        loop {
            let mut work = self.queue.take(requests, TICK);
            if work.requests.is_empty() {
                if work.closing {
                    break;
                }
                self.expire(Instant::now());
                self.tables.forget_written();
                if last_commit.elapsed() >= IDLE {
                    self.seal();
                }
            } else {
                last_commit = Instant::now();
                self.commit_all(&mut work.requests);
            }
            if self.core.has_failed() {
                break;
            }
            requests = work.requests;
        }
        self.end();
        drop((alarm, queue));
    }

    fn end(mut self) {
        self.queue.close();
        if !self.core.has_failed() {
            self.seal();
        }
        self.upkeep.stop();
        // The core lets go of its tables itself; nobody may keep them open behind its back.
        drop(self.tables);
        self.core.shut();
    }

    /// Commits all requests, in groups.
    fn commit_all(&mut self, requests: &mut Vec<Request>) {
        let mut requests = requests.drain(..).peekable();
        while requests.peek().is_some() && !self.core.has_failed() {
            match self.check_room() {
                Ok(()) => self.commit(&mut requests),
                Err(why) => requests.by_ref().for_each(|request| refuse(request, &why)),
            }
        }
    }

    /// Whether there is room for a group, on the disk and in memory.
    fn check_room(&mut self) -> Result<(), String> {
        self.upkeep.wait_for_room()?;
        if self.room.checked.is_none_or(|checked| checked.elapsed() >= SPACE_CHECK) {
            self.room.checked = Some(Instant::now());
            self.room.lack = self.core.lack_of_space(0);
            if let Some(why) = self.room.lack.clone() {
                self.tell_of_lack(&why);
            }
        }
        self.room.lack.clone().map_or(Ok(()), Err)
    }

    /// Says so to people, once until something is written again.
    fn tell_of_lack(&mut self, why: &str) {
        if !std::mem::replace(&mut self.room.told, true) {
            tracing::error!(folder = %self.core.folder.path.display(), "no writes until there is room again: {why}");
        }
    }

    fn tell_of_room(&mut self) {
        if std::mem::take(&mut self.room.told) {
            tracing::info!(folder = %self.core.folder.path.display(), "writes are taken again");
        }
    }

    /// Commits the next group.
    fn commit(&mut self, requests: &mut impl Iterator<Item = Request>) {
        let tables = self.tables.clone();
        let frame = Encoder::new(std::mem::take(&mut self.buffer));
        let base = self.core.published();
        let newest = tables.newest(base);
        let overlay = HashMap::with_hasher(self.hasher);
        let mut group = Group::new(newest, overlay, base, self.core.oldest(), frame);
        while !group.is_full()
            && let Some(request) = requests.next()
        {
            group.take(request);
        }
        match self.write(&mut group) {
            Ok(()) => self.finish(group),
            Err(AppendError::NoRoom(error)) => {
                let why = format!("the log takes no writes: {error}");
                self.tell_of_lack(&why);
                group.refuse(&why);
            }
            // Dropping the group drops its answers.
            Err(AppendError::Broken(error)) => self.core.fail(&format!("the log cannot be written: {error}")),
        }
    }

    /// Makes the group durable.
    fn write(&mut self, group: &mut Group<'_>) -> Result<(), AppendError> {
        if group.is_unwritten() {
            return Ok(());
        }
        let first = Revision(group.base.0 + 1);
        let sealed = self.log.append(&mut group.frame, first, group.oldest)?;
        self.upkeep.add_segment(sealed);
        self.tell_of_room();
        Ok(())
    }

    /// Applies, publishes, tells and answers, in this order.
    fn finish(&mut self, group: Group<'_>) {
        self.dirty |= !group.is_unwritten();
        self.core.forget(group.oldest);
        if !group.commits.is_empty() {
            self.tables.apply(&group.commits);
            if let Err(error) = self.core.folder.set_acked(group.revision) {
                return self.core.fail(&format!("the file `acked` cannot be written: {error}"));
            }
            self.core.publish(group.revision);
            self.core.hub.dispatch_changes(group.revision, &group.commits);
        }
        let weight = group
            .commits
            .iter()
            .flat_map(|(_, changes)| changes)
            .map(Change::weight)
            .sum();
        let revision = group.revision;
        self.buffer = group.answer();
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
        let now = Instant::now();
        self.clock.record(now, revision, weight);
        self.expire(now);
        if self.tables.active_bytes() >= self.core.options.memory_bytes {
            self.seal();
        }
    }

    /// Forgets what is older than the window. Made durable with the next frame or checkpoint.
    fn expire(&mut self, now: Instant) {
        if let Some(oldest) = self.clock.expire(now) {
            self.core.forget(oldest);
        }
    }

    /// Ends the part in memory and has it written to a table.
    fn seal(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let applied = self.core.published();
        self.upkeep.add_segment(self.log.seal(applied));
        self.tables.seal(Checkpoint {
            applied,
            oldest: self.core.oldest(),
        });
        self.upkeep.request_flush(applied);
    }
}

fn refuse(request: Request, why: &str) {
    let error = Error::Unavailable(why.to_owned());
    // Nobody may be waiting any more.
    match request {
        Request::Transact(pending) => drop(pending.reply.send(Err(error))),
        Request::Compact(_, reply) => drop(reply.send(Err(error))),
    }
}

impl<'a> Group<'a> {
    fn new(newest: Newest<'a>, overlay: Overlay, base: Revision, oldest: Revision, frame: Encoder) -> Self {
        Self {
            newest,
            base,
            revision: base,
            overlay,
            commits: Vec::new(),
            frame,
            transactions: Vec::new(),
            compactions: Vec::new(),
            oldest,
        }
    }

    /// Whether there is nothing that must be made durable.
    fn is_unwritten(&self) -> bool {
        self.commits.is_empty() && self.compactions.is_empty()
    }

    fn is_full(&self) -> bool {
        self.transactions.len() >= GROUP_TRANSACTIONS || self.frame.len() >= GROUP_BYTES
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Transact(mut pending) => {
                let transaction = std::mem::take(&mut pending.transaction);
                let outcome = self.decide(transaction);
                self.transactions.push((pending, outcome));
            }
            Request::Compact(revision, reply) => {
                if revision > self.revision {
                    let error = Error::Future {
                        requested: revision,
                        current: self.revision,
                    };
                    return drop(reply.send(Err(error)));
                }
                self.oldest = self.oldest.max(revision);
                self.compactions.push(reply);
            }
        }
    }

    fn decide(&mut self, transaction: Transaction) -> Result<Outcome, Error> {
        match decide::decide(self, transaction)? {
            Decision::Refused { compare, current } => Ok(Outcome::Refused {
                compare,
                current,
                revision: self.revision,
            }),
            Decision::Changes(changes) if changes.is_empty() => Ok(Outcome::Committed(self.revision)),
            Decision::Changes(changes) => {
                self.revision.0 += 1;
                for change in &changes {
                    self.overlay.insert(change.key.clone(), change.entry(self.revision));
                }
                self.frame.push(&changes);
                self.commits.push((self.revision, changes));
                Ok(Outcome::Committed(self.revision))
            }
        }
    }

    /// Nothing of the group was written.
    fn refuse(self, why: &str) {
        for (pending, _) in self.transactions {
            refuse(Request::Transact(pending), why);
        }
        for reply in self.compactions {
            refuse(Request::Compact(Revision(0), reply), why);
        }
    }

    /// Answers, and gives the frame's memory back.
    fn answer(self) -> Vec<u8> {
        for (pending, outcome) in self.transactions {
            // Nobody may be waiting any more.
            drop(pending.reply.send(outcome));
        }
        for reply in self.compactions {
            drop(reply.send(Ok(())));
        }
        self.frame.into_bytes()
    }
}

impl View for Group<'_> {
    fn entry(&mut self, key: &Bytes) -> Result<Option<Entry>, Error> {
        if let Some(entry) = self.overlay.get(key) {
            return Ok(entry.clone());
        }
        let entry = self.newest.entry(key)?;
        self.overlay.insert(key.clone(), entry.clone());
        Ok(entry)
    }

    fn first(&mut self, range: &Range<Bytes>) -> Result<Option<Entry>, Error> {
        if keys::is_empty(range) {
            return Ok(None);
        }
        let changed = self.overlay.iter().filter(|(key, _)| keys::contains(range, key));
        let changed = changed.filter_map(|(_, entry)| entry.as_ref());
        let changed = changed.min_by(|a, b| a.key.cmp(&b.key)).cloned();
        for stored in self.newest.entries(range) {
            let stored = stored?;
            if changed.as_ref().is_some_and(|changed| changed.key <= stored.key) {
                break;
            }
            // What the group has changed is either `changed`, or gone.
            if !self.overlay.contains_key(&stored.key) {
                return Ok(Some(stored));
            }
        }
        Ok(changed)
    }
}
