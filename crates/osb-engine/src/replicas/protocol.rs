//! What a replica does next: pure decisions. Time is an argument, and so is everything that was read.
//!
//! A replica may call the author in a shard while the table names it as the owner and its own lease is valid, which ends
//! at two thirds of the lease after it last sent a renewal that was done. So a shard may change hands when
//!
//! - its owner writes the other's name there himself, after everything in it has ended; or
//! - its owner's `Replica` was not renewed for a full lease after that version of it was first seen, and could be deleted
//!   in exactly that version, which proves it; or
//! - its owner has no `Replica` for a full lease, since somebody else has deleted it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::resource::{Shard, ShardTableSpec};
use crate::shards::{SHARDS, next_epoch, taken};

/// What was read of a `Replica`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// Its resource version, which each renewal changes.
    pub(crate) version: String,
    pub(crate) lease: Duration,
}

/// Another replica.
#[derive(Clone, Debug)]
struct Seen {
    version: String,
    /// When that version was seen first.
    since: Instant,
    lease: Duration,
}

/// An owner without a `Replica`.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// When it was first missing in a list.
    since: Instant,
    /// When it was last missing in a list.
    confirmed: Instant,
    lease: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Delete that `Replica` in exactly that version, and say [`Protocol::proven_dead`] when that was done.
    Bury { name: String, version: String },
    /// Write this in the place of the table that was read.
    Write {
        table: ShardTableSpec,
        /// So many shards come to this replica from dead ones.
        taken: usize,
    },
    /// Look again at that time, or when something has changed.
    Wait(Option<Instant>),
    /// Nothing is owned any more by who leaves: delete the own `Replica`.
    Leave,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Protocol {
    me: String,
    lease: Duration,
    /// All others that are there.
    others: BTreeMap<String, Seen>,
    missing: BTreeMap<String, Missing>,
    /// Those that call nobody any more.
    dead: BTreeSet<String>,
    table: Option<ShardTableSpec>,
    leaving: bool,
}

impl Protocol {
    pub(crate) fn new(me: String, lease: Duration) -> Self {
        Self {
            me,
            lease,
            others: BTreeMap::new(),
            missing: BTreeMap::new(),
            dead: BTreeSet::new(),
            table: None,
            leaving: false,
        }
    }

    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    /// Goes on under a new name, after the old one was declared dead and everything that it did has ended.
    pub(crate) fn rename(&mut self, me: String) {
        let before = std::mem::replace(&mut self.me, me);
        self.dead.insert(before);
    }

    /// From now on everything is given away.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
    }

    /// All replicas, as they were listed after that time.
    pub(crate) fn listed(&mut self, all: Vec<Listed>, asked: Instant, now: Instant) {
        let mut others = BTreeMap::new();
        for listed in all {
            if listed.name == self.me || self.dead.contains(&listed.name) {
                continue;
            }
            let known = self.others.remove(&listed.name);
            let since = known.filter(|known| known.version == listed.version);
            let seen = Seen {
                since: since.map_or(now, |known| known.since),
                version: listed.version,
                lease: listed.lease,
            };
            others.insert(listed.name, seen);
        }
        let gone = std::mem::replace(&mut self.others, others);
        let owners: BTreeSet<&str> = self.owners().filter(|owner| self.is_unknown(owner)).collect();
        let missing = owners.into_iter().map(|owner| {
            let before = self.missing.get(owner);
            let lease = gone.get(owner).map_or(self.lease, |seen| seen.lease.max(self.lease));
            let missing = Missing {
                since: before.map_or(now, |before| before.since),
                confirmed: asked,
                lease: before.map_or(lease, |before| before.lease),
            };
            (owner.to_owned(), missing)
        });
        self.missing = missing.collect();
    }

    /// A replica has changed. Whether it is one that is known; else they have to be listed.
    pub(crate) fn saw(&mut self, name: &str, version: &str, now: Instant) -> bool {
        if name == self.me || self.dead.contains(name) {
            return true;
        }
        let Some(seen) = self.others.get_mut(name) else {
            return false;
        };
        if seen.version != version {
            version.clone_into(&mut seen.version);
            seen.since = now;
        }
        true
    }

    /// A replica could be deleted in the version in which it had not been renewed for a full lease.
    pub(crate) fn proven_dead(&mut self, name: &str) {
        self.others.remove(name);
        self.missing.remove(name);
        self.dead.insert(name.to_owned());
    }

    /// The table as it stands.
    pub(crate) fn read(&mut self, table: Option<ShardTableSpec>) {
        self.table = table;
        let owners: BTreeSet<String> = self.owners().map(str::to_owned).collect();
        self.dead.retain(|name| owners.contains(name));
    }

    /// Whether nothing more may be begun in one of the own shards.
    pub(crate) fn drains(&self, shard: &Shard) -> bool {
        let wanted = |next: &String| *next != self.me && self.may_get(next);
        shard.owner == self.me && (self.leaving || shard.next.as_ref().is_some_and(wanted))
    }

    /// What to do next. `drained` says of an own shard whether nothing runs in it and nothing will begin; `unix_seconds`
    /// is where epochs of new tables begin.
    pub(crate) fn next(&self, now: Instant, drained: impl Fn(usize) -> bool, unix_seconds: u64) -> Step {
        if !self.leaving
            && let Some((name, seen)) = self.others.iter().find(|(_, seen)| now >= seen.since + seen.lease)
        {
            return Step::Bury {
                name: name.clone(),
                version: seen.version.clone(),
            };
        }
        let Some(table) = &self.table else {
            return if self.leaving {
                Step::Leave
            } else {
                let table = taken(None, &self.me, unix_seconds);
                Step::Write { table, taken: 0 }
            };
        };
        let mut wanted = self.wanted(table, drained);
        if wanted.table != *table {
            if wanted.moved {
                let epoch = next_epoch(Some(table), unix_seconds);
                wanted.table.epoch = epoch;
                for (after, before) in wanted.table.shards.iter_mut().zip(&table.shards) {
                    if after.owner != before.owner {
                        after.epoch = epoch;
                    }
                }
            }
            return Step::Write {
                table: wanted.table,
                taken: wanted.taken,
            };
        }
        if self.leaving && table.shards.iter().all(|shard| shard.owner != self.me) {
            return Step::Leave;
        }
        Step::Wait(self.next_look())
    }

    /// The table as this replica wants it, with the epochs of before.
    fn wanted(&self, before: &ShardTableSpec, drained: impl Fn(usize) -> bool) -> Wanted {
        let mut wanted = Wanted {
            table: before.clone(),
            moved: false,
            taken: 0,
        };
        wanted.table.shards.resize(SHARDS, Shard::default());
        let mut counts: BTreeMap<&str, usize> = self.others.keys().map(|name| (name.as_str(), 0)).collect();
        if !self.leaving {
            counts.insert(&self.me, 0);
        }
        for shard in &before.shards {
            // What is promised counts for who gets it.
            let holder = shard.next.as_deref().filter(|next| counts.contains_key(next));
            if let Some(count) = counts.get_mut(holder.unwrap_or(&shard.owner)) {
                *count += 1;
            }
        }
        for (number, shard) in wanted.table.shards.iter_mut().enumerate() {
            let mine = shard.owner == self.me;
            let next = shard.next.clone();
            let next = next.filter(|next| *next != shard.owner && self.may_get(next));
            if mine || shard.next.as_ref() == Some(&self.me) {
                shard.next.clone_from(&next);
            }
            let abandoned = self.is_dead(&shard.owner);
            if !abandoned && !(mine && drained(number) && (self.leaving || next.is_some())) {
                continue;
            }
            let fewest = || {
                let fewest = counts.iter().min_by_key(|(_, count)| **count);
                fewest.map(|(name, _)| (*name).to_owned())
            };
            let promised = next.is_some();
            // Who leaves last leaves it to nobody.
            let owner = next.or_else(fewest).unwrap_or_default();
            if owner == shard.owner {
                continue;
            }
            if let Some(count) = counts.get_mut(owner.as_str()).filter(|_| !promised) {
                *count += 1;
            }
            wanted.taken += usize::from(abandoned && owner == self.me);
            wanted.moved = true;
            shard.owner = owner;
            shard.next = None;
        }
        self.ask(&mut wanted.table, &counts);
        wanted
    }

    /// Asks the fullest for shards, up to an even share.
    fn ask(&self, table: &mut ShardTableSpec, counts: &BTreeMap<&str, usize>) {
        let Some(&mine) = counts.get(self.me.as_str()) else {
            return;
        };
        let share = SHARDS / counts.len();
        let mut counts: BTreeMap<String, usize> = counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        for _ in mine..share {
            let others = counts
                .iter()
                .filter(|(name, count)| **name != self.me && **count > share);
            let Some(fullest) = others.max_by_key(|(_, count)| **count).map(|(name, _)| name.clone()) else {
                return;
            };
            let free = |shard: &&mut Shard| shard.owner == fullest && shard.next.is_none();
            let Some(shard) = table.shards.iter_mut().rev().find(free) else {
                return;
            };
            shard.next = Some(self.me.clone());
            if let Some(count) = counts.get_mut(&fullest) {
                *count -= 1;
            }
        }
    }

    /// When something may have to be done although nothing changes.
    fn next_look(&self) -> Option<Instant> {
        let others = self.others.values().filter(|_| !self.leaving);
        let leases = others.map(|seen| seen.since + seen.lease);
        // A list after that time confirms it.
        let missing = self.missing.values().filter(|missing| !missing.is_over());
        let missing = missing.map(|missing| missing.since + missing.lease);
        leases.chain(missing).min()
    }

    /// Whether somebody is to be listed again, since an owner has been missing for a full lease.
    pub(crate) fn has_to_list(&self, now: Instant) -> bool {
        let due = |missing: &Missing| now >= missing.since + missing.lease && !missing.is_over();
        self.missing.values().any(due)
            || self
                .owners()
                .any(|owner| self.is_unknown(owner) && !self.missing.contains_key(owner))
    }

    fn owners(&self) -> impl Iterator<Item = &str> {
        let shards = self.table.iter().flat_map(|table| &table.shards);
        shards
            .map(|shard| shard.owner.as_str())
            .filter(|owner| !owner.is_empty())
    }

    /// Whether it is not known if it lives.
    fn is_unknown(&self, owner: &str) -> bool {
        owner != self.me && !self.others.contains_key(owner) && !self.dead.contains(owner)
    }

    /// Whether an owner calls nobody any more.
    fn is_dead(&self, owner: &str) -> bool {
        owner.is_empty() || self.dead.contains(owner) || self.missing.get(owner).is_some_and(Missing::is_over)
    }

    fn may_get(&self, name: &str) -> bool {
        self.others.contains_key(name) || name == self.me && !self.leaving
    }
}

impl Missing {
    fn is_over(&self) -> bool {
        self.confirmed >= self.since + self.lease
    }
}

struct Wanted {
    table: ShardTableSpec,
    /// Whether any shard has another owner.
    moved: bool,
    taken: usize,
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
