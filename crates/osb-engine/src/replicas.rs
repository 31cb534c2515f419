//! Several processes of one broker on one home: what `protocol` decides, carried out.
//!
//! A process has a `Replica` object under a name of its own, which it renews three times in each lease, and follows the
//! `ShardTable` and the other `Replica`s by their watches; both are also read at each third of a lease, should a watch be
//! silent. What it may do then stands in `Shards`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::controller;
use crate::engine::Inner;
use crate::home::{Home, HomeError, Selection, WatchKind};
use crate::names;
use crate::resource::{Kind, Meta, Replica, ReplicaSpec, ShardTable, ShardTableSpec};
use crate::shards::{SHARDS, Shards, read_table, unix_seconds, write_table};

mod heartbeat;
mod protocol;

use heartbeat::Heartbeat;
use protocol::{Listed, Protocol, Step};

/// How often something is tried in one go when others change it at the same time.
const TRIES: usize = 20;

/// The longest prefix of a replica's name: a DNS label with what is random behind it.
const MAX_PREFIX: usize = 50;

/// What a process is called among several that share a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// For people: what the process is called, such as the name of its pod. Its object has that name with something
    /// random behind it, since each start is another replica.
    pub name: String,
    /// A replica that was not seen renewing for so long is dead, and others take over. At two thirds of it a replica that
    /// could not renew stops by itself. Whole seconds; at least one.
    pub lease: Duration,
    /// For people: where the process can be reached.
    pub address: Option<String>,
}

/// What has become known through a watch.
#[derive(Debug)]
enum Event {
    /// A watch begins (again): something may have been missed.
    Refresh,
    Replica(Meta),
    Gone(String),
    Table(Meta),
}

/// The membership of this process.
pub(crate) struct Member {
    home: Home,
    namespace: String,
    config: ReplicaConfig,
    /// So long what runs in a shard that is asked for may go on, and so long after it was cancelled.
    grace: Duration,
    shards: Arc<Shards>,
    protocol: Protocol,
    heartbeat: Heartbeat,
    tasks: TaskTracker,
    /// As it was read or written last.
    table: Option<ShardTable>,
    /// What has to be read before anything is decided.
    stale: Stale,
    /// A write of the table whose answer was lost may still be done while the table has this resource version.
    doubt: Option<String>,
    /// When what runs in a shard that is to be handed over is cancelled.
    draining: BTreeMap<usize, Instant>,
    listed_at: Instant,
    /// After that time a replica that leaves waits for nothing more.
    leave_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stale {
    replicas: bool,
    table: bool,
}

impl Stale {
    const ALL: Self = Self {
        replicas: true,
        table: true,
    };
}

/// What a replica is made of.
pub(crate) struct Joining<'a> {
    pub(crate) home: &'a Home,
    pub(crate) namespace: &'a str,
    pub(crate) config: &'a ReplicaConfig,
    pub(crate) grace: Duration,
    pub(crate) shards: &'a Arc<Shards>,
    pub(crate) tasks: &'a TaskTracker,
}

impl Joining<'_> {
    /// Joins the replicas of the home. What is free is owned then; what others have comes later.
    pub(crate) async fn join(self) -> Result<Member, HomeError> {
        let mut config = self.config.clone();
        config.lease = Duration::from_secs(config.lease.as_secs().max(1));
        let heartbeat = begin(self.home, self.namespace, &config, self.shards, self.tasks).await?;
        let mut member = Member {
            protocol: Protocol::new(heartbeat.name().to_owned(), config.lease),
            home: self.home.clone(),
            namespace: self.namespace.to_owned(),
            grace: self.grace.min(config.lease / 3),
            config,
            shards: self.shards.clone(),
            heartbeat,
            tasks: self.tasks.clone(),
            table: None,
            stale: Stale::ALL,
            doubt: None,
            draining: BTreeMap::new(),
            listed_at: Instant::now(),
            leave_until: None,
        };
        // Whatever has come is looked for by the look for work of the start.
        member.round(&mut Vec::new()).await?;
        Ok(member)
    }
}

/// Makes a `Replica` under a new name, and renews it from then on.
async fn begin(
    home: &Home,
    namespace: &str,
    config: &ReplicaConfig,
    shards: &Arc<Shards>,
    tasks: &TaskTracker,
) -> Result<Heartbeat, HomeError> {
    let name = object_name(&config.name)?;
    let replica = Replica {
        api_version: home.api_version(),
        kind: Kind::Replica.name().to_owned(),
        metadata: Meta {
            name,
            namespace: namespace.to_owned(),
            ..Meta::default()
        },
        spec: ReplicaSpec {
            holder_identity: config.name.clone(),
            lease_duration_seconds: i32::try_from(config.lease.as_secs()).unwrap_or(i32::MAX),
            renew_time: Some(jiff::Timestamp::now()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            address: config.address.clone(),
        },
    };
    let sent = Instant::now();
    let meta = home.create(Kind::Replica, namespace, &replica).await?;
    Ok(Heartbeat::start(home, meta, config.lease, shards, sent, tasks))
}

/// What is left of the name in a DNS label, and something random.
fn object_name(prefix: &str) -> Result<String, HomeError> {
    let random = names::incarnation().map_err(|_| HomeError::Unknown)?;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let prefix: String = prefix.chars().map(plain).take(MAX_PREFIX).collect();
    let prefix = prefix.trim_matches('-');
    let random = &random[..random.len().min(10)];
    Ok(if prefix.is_empty() {
        format!("replica-{random}")
    } else {
        format!("{prefix}-{random}")
    })
}

impl Member {
    /// Keeps up with the others until the process stops and everything is given away.
    pub(crate) async fn run(mut self, inner: Arc<Inner>) {
        let (sender, mut events) = mpsc::channel(64);
        for kind in [Kind::Replica, Kind::ShardTable] {
            let watching = watch(self.home.clone(), kind, self.namespace.clone(), sender.clone());
            let (stopping, events) = (inner.stopping.clone(), sender.clone());
            self.tasks.spawn(async move {
                // While it leaves, it reads what it needs.
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = events.closed() => {}
                    () = watching => {}
                }
            });
        }
        drop(sender);
        loop {
            let mut gained = Vec::new();
            let due = match self.round(&mut gained).await {
                Ok(Round::Left) => return,
                Ok(Round::Until(due)) => due,
                Err(error) => {
                    tracing::warn!(%error, "the home does not let this replica keep up with the others; trying again");
                    self.stale = Stale::ALL;
                    Instant::now() + self.config.lease / 15
                }
            };
            if self.heartbeat.take_lapsed() {
                gained.extend(0..SHARDS);
            }
            if !gained.is_empty() {
                self.tasks.spawn(controller::look_in(inner.clone(), gained));
            }
            if self.leave_until.is_some_and(|until| Instant::now() >= until) {
                tracing::warn!(
                    "what this replica owned could not be given away; others take it when its lease has ended"
                );
                return;
            }
            let leaving = self.leave_until.is_some();
            tokio::select! {
                Some(event) = events.recv(), if !leaving => {
                    self.take(event);
                    while let Ok(event) = events.try_recv() {
                        self.take(event);
                    }
                }
                () = tokio::time::sleep_until(due) => {}
                () = self.shards.poke.notified() => {}
                () = self.heartbeat.died(), if !leaving => self.come_back(&inner).await,
                () = inner.stopping.cancelled(), if !leaving => self.leave(),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Refresh => self.stale = Stale::ALL,
            Event::Replica(meta) => {
                let known = self.protocol.saw(&meta.name, &meta.resource_version, Instant::now());
                self.stale.replicas |= !known;
            }
            Event::Gone(name) if name == self.protocol.me() => self.heartbeat.is_dead(),
            Event::Gone(_) => self.stale.replicas = true,
            Event::Table(meta) => {
                let known = self
                    .table
                    .as_ref()
                    .map(|table| table.metadata.resource_version.as_str());
                self.stale.table |= known != Some(&meta.resource_version);
            }
        }
    }

    fn leave(&mut self) {
        self.protocol.leave();
        self.leave_until = Some(Instant::now() + self.config.lease + self.grace);
    }

    /// After it was declared dead: ends everything, and joins anew.
    async fn come_back(&mut self, inner: &Inner) {
        tracing::error!(
            replica = self.protocol.me(),
            "this replica was declared dead; it starts over as another one"
        );
        self.heartbeat.quit();
        self.shards.lose_all();
        self.draining.clear();
        let pause = self.config.lease / 15;
        loop {
            if inner.stopping.is_cancelled() {
                return;
            }
            // What others take is theirs by their own proof; what comes back to this process waits for its end.
            if self.shards.is_idle() {
                let begun = begin(&self.home, &self.namespace, &self.config, &self.shards, &self.tasks).await;
                match begun {
                    Ok(heartbeat) => {
                        self.protocol.rename(heartbeat.name().to_owned());
                        self.heartbeat = heartbeat;
                        self.stale = Stale::ALL;
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "joining the replicas anew failed; trying again"),
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads what is stale, and does what there is to do now.
    async fn round(&mut self, gained: &mut Vec<usize>) -> Result<Round, HomeError> {
        let period = self.config.lease / 3;
        let now = Instant::now();
        if self.shards.take_stale() {
            self.stale.table = true;
        }
        if now >= self.listed_at + period {
            self.stale = Stale::ALL;
        }
        for _ in 0..TRIES {
            if self.stale.replicas || self.protocol.has_to_list(Instant::now()) {
                self.list().await?;
            }
            if self.stale.table {
                self.read().await?;
                if self.protocol.has_to_list(Instant::now()) {
                    self.list().await?;
                }
            }
            if !self.settle_doubt().await? {
                continue;
            }
            self.follow(gained);
            let shards = self.shards.clone();
            match self
                .protocol
                .next(Instant::now(), |shard| shards.is_drained(shard), unix_seconds())
            {
                Step::Bury { name, version } => self.bury(&name, version).await?,
                Step::Write { table, taken } => self.write(table, taken).await?,
                Step::Wait(due) => {
                    let deadlines = self.draining.values().copied().filter(|due| *due > Instant::now());
                    let due = deadlines
                        .chain(due)
                        .chain([self.listed_at + period, now + period])
                        .min();
                    return Ok(Round::Until(due.unwrap_or(now)));
                }
                Step::Leave => {
                    self.timed(self.heartbeat.end(&self.home)).await?;
                    return Ok(Round::Left);
                }
            }
        }
        Err(HomeError::Conflict)
    }

    /// Tells the shards what the table says, and drains what is asked for.
    fn follow(&mut self, gained: &mut Vec<usize>) {
        let Some(table) = &self.table else { return };
        gained.extend(self.shards.follow(self.protocol.me(), &table.spec));
        let now = Instant::now();
        for (number, shard) in table.spec.shards.iter().enumerate().take(SHARDS) {
            if self.protocol.drains(shard) {
                if self.shards.drain(number) {
                    self.draining.insert(number, now + self.grace);
                }
            } else {
                self.draining.remove(&number);
                if shard.owner == self.protocol.me() && self.shards.keep(number) {
                    gained.push(number);
                }
            }
        }
        for (number, due) in &self.draining {
            if now >= *due {
                self.shards.cancel(*number);
            }
        }
    }

    async fn list(&mut self) -> Result<(), HomeError> {
        let asked = Instant::now();
        let selection = Selection {
            namespace: Some(&self.namespace),
            ..Selection::default()
        };
        let page = self.timed(self.home.list::<Replica>(Kind::Replica, selection)).await?;
        let all = page.items.unwrap_or_default().into_iter();
        let all = all.map(|replica| Listed {
            name: replica.metadata.name,
            version: replica.metadata.resource_version,
            lease: match u64::try_from(replica.spec.lease_duration_seconds) {
                Ok(seconds @ 1..) => Duration::from_secs(seconds),
                _ => self.config.lease,
            },
        });
        self.protocol.listed(all.collect(), asked, Instant::now());
        self.stale.replicas = false;
        self.listed_at = asked;
        Ok(())
    }

    async fn read(&mut self) -> Result<(), HomeError> {
        self.table = self.timed(read_table(&self.home, &self.namespace)).await?;
        self.protocol.read(self.table.as_ref().map(|table| table.spec.clone()));
        self.stale.table = false;
        Ok(())
    }

    /// Sees to it that a write whose answer was lost is not done any more, before anything is decided by a table without
    /// it. The answer is whether the table can be decided by.
    async fn settle_doubt(&mut self) -> Result<bool, HomeError> {
        let Some(doubt) = &self.doubt else { return Ok(true) };
        let Some(table) = self
            .table
            .as_ref()
            .filter(|table| table.metadata.resource_version == *doubt)
        else {
            self.doubt = None;
            return Ok(true);
        };
        let mut touched = table.spec.clone();
        touched.epoch += 1;
        self.write(touched, 0).await?;
        Ok(false)
    }

    async fn bury(&mut self, name: &str, version: String) -> Result<(), HomeError> {
        let found: Option<Replica> = self.timed(self.home.get(Kind::Replica, &self.namespace, name)).await?;
        let meta = found.map(|found| found.metadata);
        self.stale.replicas = true;
        let Some(meta) = meta.filter(|meta| meta.resource_version == version) else {
            return Ok(());
        };
        match self.timed(self.home.delete(Kind::Replica, &meta)).await {
            Ok(_) => {
                tracing::warn!(
                    replica = name,
                    "a replica has not renewed its lease and is taken for dead"
                );
                self.protocol.proven_dead(name);
                Ok(())
            }
            Err(HomeError::Conflict | HomeError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, spec: ShardTableSpec, taken: usize) -> Result<(), HomeError> {
        let written = write_table(&self.home, &self.namespace, self.table.as_ref(), spec.clone());
        let written = self.timed(written).await;
        self.stale.table = true;
        match written {
            Ok(metadata) => {
                self.stale.table = false;
                self.doubt = None;
                self.protocol.read(Some(spec.clone()));
                self.table = Some(ShardTable {
                    api_version: self.home.api_version(),
                    kind: Kind::ShardTable.name().to_owned(),
                    metadata,
                    spec,
                });
                self.shards.count_takeovers(taken);
                Ok(())
            }
            Err(HomeError::Conflict | HomeError::AlreadyExists | HomeError::NotFound) => Ok(()),
            Err(error) => {
                let known = self.table.as_ref().map(|table| &table.metadata.resource_version);
                self.doubt = known.cloned();
                Err(error)
            }
        }
    }

    /// No request may keep a replica from what else it has to do.
    async fn timed<T>(&self, request: impl Future<Output = Result<T, HomeError>>) -> Result<T, HomeError> {
        let answer = tokio::time::timeout(self.config.lease / 3, request).await;
        answer.unwrap_or(Err(HomeError::Unknown))
    }
}

enum Round {
    /// There is nothing to do before that time, unless something changes.
    Until(Instant),
    /// Everything is given away.
    Left,
}

/// Tells what becomes of the objects of a kind, for as long as anybody listens.
async fn watch(home: Home, kind: Kind, namespace: String, events: mpsc::Sender<Event>) {
    const PAUSE: Duration = Duration::from_secs(1);
    while !events.is_closed() {
        if let Err(error) = watch_once(&home, kind, &namespace, &events).await {
            tracing::debug!(%error, "a watch is begun again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn watch_once(home: &Home, kind: Kind, namespace: &str, events: &mpsc::Sender<Event>) -> Result<(), HomeError> {
    let selection = Selection {
        namespace: Some(namespace),
        limit: Some(1),
        ..Selection::default()
    };
    let first = home.list_metadata(kind, selection).await?;
    let lines = home.watch_in(kind, namespace, &first.metadata.resource_version).await?;
    let mut lines = pin!(lines);
    let mut event = Some(Event::Refresh);
    loop {
        if let Some(event) = event.take()
            && events.send(event).await.is_err()
        {
            return Ok(());
        }
        let Some(line) = lines.next().await else { return Ok(()) };
        let line = line?;
        let meta = line.object.metadata;
        event = match (line.kind, kind) {
            (WatchKind::Error, _) => return Err(HomeError::Expired),
            (WatchKind::Bookmark, _) => None,
            (WatchKind::Deleted, Kind::Replica) => Some(Event::Gone(meta.name)),
            (_, Kind::Replica) => Some(Event::Replica(meta)),
            _ => Some(Event::Table(meta)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_replica_is_a_label_and_never_the_same() {
        let long = "x".repeat(300);
        for prefix in ["broker-0", "Node.Example.COM", "", "ä_", &long] {
            let (one, two) = (object_name(prefix).unwrap(), object_name(prefix).unwrap());
            assert_ne!(one, two);
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(
                one.len() <= 63 && one.bytes().all(plain) && !one.starts_with('-'),
                "{one}"
            );
        }
        assert!(object_name("Node.Example").unwrap().starts_with("node-example-"));
    }
}
