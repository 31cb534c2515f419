//! Who may call the author for which instance: 64 shards, owned by replicas, each in an epoch.
//!
//! A process that runs alone has no `Replica` object and takes all shards under a new epoch when it starts, which fences
//! what an older process still writes. What several replicas do is in `replicas`; it tells this module what it may do,
//! and everything that works on an object asks here.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::home::{Home, HomeError};
use crate::names;
use crate::resource::{Kind, Meta, Shard, ShardTable, ShardTableSpec};

/// The number of shards.
pub const SHARDS: usize = 64;

/// The shard whose owner does what one replica has to do for all.
const LEADER: usize = 0;

const NAME: &str = "shards";

/// How often the table is tried again when another process changes it at the same time.
const TRIES: usize = 20;

/// What this process may do.
pub(crate) struct Shards {
    cells: Vec<Cell>,
    begin: Instant,
    /// Until when the author may be called, in microseconds since `begin`; `u64::MAX` where nobody takes over.
    valid_until: AtomicU64,
    /// When the lease was renewed last, in microseconds since `begin`.
    renewed: AtomicU64,
    takeovers: AtomicU64,
    /// Whether what runs was cancelled, because the lease was not renewed in time.
    suspended: Mutex<bool>,
    /// An object shows an epoch that only a newer table explains.
    stale: AtomicBool,
    /// Cancelled when the process stops; all tokens are its children.
    stopping: CancellationToken,
    /// Something has become idle, or has been seen that only a newer table explains.
    pub(crate) poke: Notify,
    /// Grows when shards come or go.
    changes: watch::Sender<u64>,
}

struct Cell {
    /// The epoch in which this process owns it; 0 is somebody else's.
    own: AtomicU64,
    /// The newest epoch that the table has shown.
    seen: AtomicU64,
    /// It is to be handed over: nothing new is begun.
    draining: AtomicBool,
    /// So many pieces of work are going on.
    busy: AtomicUsize,
    /// Cancels them.
    token: Mutex<CancellationToken>,
}

impl Shards {
    /// Of a process that has to find out what it owns.
    pub(crate) fn none(stopping: &CancellationToken) -> Self {
        let cell = || Cell {
            own: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            token: Mutex::new(stopping.child_token()),
        };
        Self {
            cells: std::iter::repeat_with(cell).take(SHARDS).collect(),
            begin: Instant::now(),
            valid_until: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            takeovers: AtomicU64::new(0),
            suspended: Mutex::new(false),
            stale: AtomicBool::new(false),
            stopping: stopping.clone(),
            poke: Notify::new(),
            changes: watch::Sender::new(0),
        }
    }

    /// Takes all shards under a new epoch, for a process that runs alone.
    pub(crate) async fn take_all(
        home: &Home,
        namespace: &str,
        stopping: &CancellationToken,
    ) -> Result<Self, HomeError> {
        let owner = names::incarnation().map_err(|_| HomeError::Unknown)?;
        for _ in 0..TRIES {
            let found = read_table(home, namespace).await?;
            let table = taken(found.as_ref().map(|found| &found.spec), &owner, unix_seconds());
            let epoch = table.epoch;
            match write_table(home, namespace, found.as_ref(), table).await {
                Ok(_) => {
                    let shards = Self::none(stopping);
                    shards.valid_until.store(u64::MAX, Ordering::SeqCst);
                    for cell in &shards.cells {
                        cell.own.store(epoch, Ordering::SeqCst);
                        cell.seen.store(epoch, Ordering::SeqCst);
                    }
                    return Ok(shards);
                }
                Err(HomeError::Conflict | HomeError::AlreadyExists | HomeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(HomeError::Conflict)
    }

    /// The epoch that an operation on an instance is accepted under, whoever will carry it out. An old one costs the
    /// owner a claim and does no harm.
    pub(crate) fn stamp(&self, instance_name: &str) -> u64 {
        self.cell(instance_name).seen.load(Ordering::SeqCst)
    }

    /// Whether this process may begin something for an instance now.
    pub(crate) fn is_mine(&self, instance_name: &str) -> bool {
        self.may_begin(names::shard(instance_name, SHARDS))
    }

    /// Whether this is the one replica that does what is to be done once for all.
    pub(crate) fn leads(&self) -> bool {
        self.may_begin(LEADER)
    }

    /// Whether this process may end what it has begun for an instance.
    pub(crate) fn may_write(&self, instance_name: &str) -> bool {
        self.cell(instance_name).own.load(Ordering::SeqCst) != 0 && self.is_valid()
    }

    /// Begins a piece of work for an instance, if the instance is this process's; the shard is handed over after its
    /// end.
    pub(crate) fn enter(self: &Arc<Self>, instance_name: &str) -> Option<Tenure> {
        let shard = names::shard(instance_name, SHARDS);
        let cell = &self.cells[shard];
        // Counted first: who wants to hand it over sets `draining` and looks at the count then.
        cell.busy.fetch_add(1, Ordering::SeqCst);
        let tenure = Tenure {
            shards: self.clone(),
            shard,
            epoch: cell.own.load(Ordering::SeqCst),
        };
        self.may_begin(shard).then_some(tenure)
    }

    /// Begins a piece of work as soon as its shard is this process's; `None` when the process stops.
    pub(crate) async fn enter_when_mine(self: &Arc<Self>, name: &str) -> Option<Tenure> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(tenure) = self.enter(name) {
                return Some(tenure);
            }
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                _ = changes.changed() => {}
            }
        }
    }

    /// An object shows a newer epoch than the table that is known: there is a newer table.
    pub(crate) fn is_stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
        self.poke.notify_one();
    }

    /// Cancelled when what runs for an instance has to stop.
    pub(crate) fn token(&self, instance_name: &str) -> CancellationToken {
        self.cell(instance_name).token()
    }

    fn cell(&self, instance_name: &str) -> &Cell {
        &self.cells[names::shard(instance_name, SHARDS)]
    }

    fn may_begin(&self, shard: usize) -> bool {
        let cell = &self.cells[shard];
        cell.own.load(Ordering::SeqCst) != 0 && !cell.draining.load(Ordering::SeqCst) && self.is_valid()
    }

    fn still_holds(&self, shard: usize, epoch: u64) -> bool {
        epoch != 0 && self.cells[shard].own.load(Ordering::SeqCst) == epoch && self.is_valid()
    }

    /// By this process's own clock, which goes on while it is stopped.
    fn is_valid(&self) -> bool {
        match self.valid_until.load(Ordering::SeqCst) {
            u64::MAX => true,
            until => self.micros_since_begin() < until,
        }
    }

    fn micros_since_begin(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX - 1)
    }

    fn told(&self) {
        self.changes.send_modify(|number| *number += 1);
    }
}

/// What the replica tells.
impl Shards {
    /// The lease was renewed by a request sent at that time; the author may be called for so long after it. The answer is
    /// whether it had run out before, so that what was left alone meanwhile has to be looked for.
    pub(crate) fn renewed(&self, sent: Instant, valid: Duration) -> bool {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1);
        let sent = micros(sent.saturating_duration_since(self.begin));
        let mut suspended = self.suspended();
        let lapsed = !self.is_valid();
        if std::mem::take(&mut *suspended) {
            self.cells.iter().for_each(|cell| cell.renew(&self.stopping));
        }
        self.renewed.store(sent, Ordering::SeqCst);
        self.valid_until
            .store(sent.saturating_add(micros(valid)), Ordering::SeqCst);
        drop(suspended);
        if lapsed {
            self.told();
        }
        lapsed
    }

    /// When the author may not be called any more.
    pub(crate) fn valid_until(&self) -> Instant {
        self.begin + Duration::from_micros(self.valid_until.load(Ordering::SeqCst))
    }

    /// Waits until the lease is renewed after it had run out.
    pub(crate) async fn valid_again(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if self.is_valid() || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Cancels everything, if the lease was not renewed in time.
    pub(crate) fn suspend(&self) -> bool {
        let mut suspended = self.suspended();
        if self.is_valid() {
            return false;
        }
        *suspended = true;
        for cell in &self.cells {
            cell.token().cancel();
        }
        drop(suspended);
        self.told();
        true
    }

    /// Gives up everything: this replica was declared dead.
    pub(crate) fn lose_all(&self) {
        self.valid_until.store(0, Ordering::SeqCst);
        for cell in &self.cells {
            cell.own.store(0, Ordering::SeqCst);
            cell.draining.store(false, Ordering::SeqCst);
        }
        self.suspend();
    }

    fn suspended(&self) -> MutexGuard<'_, bool> {
        self.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the table says; the answer is the shards that have come.
    pub(crate) fn follow(&self, me: &str, table: &ShardTableSpec) -> Vec<usize> {
        let mut gained = Vec::new();
        let mut changed = false;
        for (number, (cell, shard)) in self.cells.iter().zip(&table.shards).enumerate() {
            cell.seen.fetch_max(shard.epoch, Ordering::SeqCst);
            let own = if shard.owner == me { shard.epoch } else { 0 };
            if cell.own.load(Ordering::SeqCst) == own {
                continue;
            }
            changed = true;
            cell.own.store(0, Ordering::SeqCst);
            cell.token().cancel();
            cell.draining.store(false, Ordering::SeqCst);
            if own != 0 {
                cell.renew(&self.stopping);
                cell.own.store(own, Ordering::SeqCst);
                gained.push(number);
            }
        }
        if changed {
            self.told();
        }
        gained
    }

    /// Begins nothing more in a shard, which is to be handed over; whether that is new.
    pub(crate) fn drain(&self, shard: usize) -> bool {
        let new = !self.cells[shard].draining.swap(true, Ordering::SeqCst);
        if new {
            self.told();
        }
        new
    }

    /// Nobody wants the shard any more; whether it was being drained.
    pub(crate) fn keep(&self, shard: usize) -> bool {
        let cell = &self.cells[shard];
        let was = cell.draining.load(Ordering::SeqCst);
        if was {
            cell.renew(&self.stopping);
            cell.draining.store(false, Ordering::SeqCst);
            self.told();
        }
        was
    }

    /// Stops what runs in a shard.
    pub(crate) fn cancel(&self, shard: usize) {
        self.cells[shard].token().cancel();
    }

    /// Whether a shard can be handed over: nothing runs in it, and nothing will begin.
    pub(crate) fn is_drained(&self, shard: usize) -> bool {
        let cell = &self.cells[shard];
        cell.draining.load(Ordering::SeqCst) && cell.busy.load(Ordering::SeqCst) == 0
    }

    /// Whether nothing runs at all.
    pub(crate) fn is_idle(&self) -> bool {
        self.cells.iter().all(|cell| cell.busy.load(Ordering::SeqCst) == 0)
    }

    /// Whether somebody has seen that there is a newer table.
    pub(crate) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::SeqCst)
    }

    /// Shards of a dead replica have come to this one.
    pub(crate) fn count_takeovers(&self, count: usize) {
        self.takeovers.fetch_add(count as u64, Ordering::SeqCst);
    }
}

/// What is shown of them.
impl Shards {
    pub(crate) fn owned(&self) -> usize {
        let owned = |cell: &&Cell| cell.own.load(Ordering::SeqCst) != 0;
        self.cells.iter().filter(owned).count()
    }

    pub(crate) fn takeovers(&self) -> u64 {
        self.takeovers.load(Ordering::SeqCst)
    }

    /// How long ago the lease was renewed.
    pub(crate) fn lease_age(&self) -> Duration {
        let renewed = self.renewed.load(Ordering::SeqCst);
        Duration::from_micros(self.micros_since_begin().saturating_sub(renewed))
    }
}

impl Cell {
    fn token(&self) -> CancellationToken {
        self.lock().clone()
    }

    fn renew(&self, stopping: &CancellationToken) {
        *self.lock() = stopping.child_token();
    }

    fn lock(&self) -> MutexGuard<'_, CancellationToken> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards")
            .field("owned", &self.owned())
            .finish_non_exhaustive()
    }
}

/// A piece of work that this process may do; its shard is not handed over before it ends.
pub(crate) struct Tenure {
    shards: Arc<Shards>,
    shard: usize,
    epoch: u64,
}

impl Tenure {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether something may still be begun.
    pub(crate) fn is_current(&self) -> bool {
        self.shards.may_begin(self.shard) && self.shards.still_holds(self.shard, self.epoch)
    }

    /// Ends when nothing more may be begun.
    pub(crate) async fn ended(&self) {
        let mut changes = self.shards.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if !self.is_current() || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Cancelled when it has to stop.
    pub(crate) fn token(&self) -> CancellationToken {
        self.shards.cells[self.shard].token()
    }

    /// What proves that its writes are allowed, also for one that outlives it.
    pub(crate) fn pass(&self) -> Pass {
        Pass {
            shards: self.shards.clone(),
            shard: self.shard,
            epoch: self.epoch,
        }
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        let cell = &self.shards.cells[self.shard];
        let last = cell.busy.fetch_sub(1, Ordering::SeqCst) == 1;
        // When all is lost, too, somebody waits for the end.
        if last && (cell.draining.load(Ordering::SeqCst) || cell.own.load(Ordering::SeqCst) == 0) {
            self.shards.poke.notify_one();
        }
    }
}

/// The right to write for an instance, as long as this process has it.
#[derive(Clone)]
pub(crate) struct Pass {
    shards: Arc<Shards>,
    shard: usize,
    epoch: u64,
}

impl Pass {
    pub(crate) fn holds(&self) -> bool {
        self.shards.still_holds(self.shard, self.epoch)
    }
}

/// The table as it stands.
pub(crate) async fn read_table(home: &Home, namespace: &str) -> Result<Option<ShardTable>, HomeError> {
    home.get(Kind::ShardTable, namespace, NAME).await
}

/// Writes the table in the place of the one that was found.
pub(crate) async fn write_table(
    home: &Home,
    namespace: &str,
    found: Option<&ShardTable>,
    spec: ShardTableSpec,
) -> Result<Meta, HomeError> {
    let new = || Meta {
        name: NAME.to_owned(),
        namespace: namespace.to_owned(),
        ..Meta::default()
    };
    let object = ShardTable {
        api_version: home.api_version(),
        kind: Kind::ShardTable.name().to_owned(),
        metadata: found.map_or_else(new, |found| found.metadata.clone()),
        spec,
    };
    match found {
        None => home.create(Kind::ShardTable, namespace, &object).await,
        Some(found) => home.replace(Kind::ShardTable, &found.metadata, &object).await,
    }
}

pub(crate) fn unix_seconds() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// The table after `owner` has taken all shards: every epoch is higher than any that was ever given out, also by a
/// table that a restore has lost.
pub(crate) fn taken(before: Option<&ShardTableSpec>, owner: &str, now: u64) -> ShardTableSpec {
    let epoch = next_epoch(before, now);
    let shard = Shard {
        owner: owner.to_owned(),
        epoch,
        next: None,
    };
    ShardTableSpec {
        epoch,
        shards: vec![shard; SHARDS],
    }
}

/// The epoch of the next change of hands.
pub(crate) fn next_epoch(before: Option<&ShardTableSpec>, now: u64) -> u64 {
    before.map_or(now, |before| (before.epoch + 1).max(now))
}

#[cfg(test)]
mod tests;
