//! Who may call the author for which instance: 64 shards, owned by replicas, each in an epoch.
//!
//! The protocol for several replicas is that of `ShardTable` and `Replica`; a process that runs alone has no `Replica`
//! object and takes all shards under a new epoch when it starts, which fences what an older process still writes.

use jiff::Timestamp;

use crate::home::{Home, HomeError};
use crate::names;
use crate::resource::{Kind, Meta, Shard, ShardTable, ShardTableSpec};

/// The number of shards.
pub const SHARDS: usize = 64;

const NAME: &str = "shards";

/// How often the table is tried again when another process changes it at the same time.
const TRIES: usize = 20;

/// The shards of this process.
#[derive(Debug)]
pub(crate) struct Shards {
    /// By number; `None` is somebody else's.
    epochs: Vec<Option<u64>>,
}

impl Shards {
    /// Takes all shards under a new epoch.
    pub(crate) async fn take(home: &Home, namespace: &str) -> Result<Self, HomeError> {
        let owner = names::incarnation().map_err(|_| HomeError::Unknown)?;
        for _ in 0..TRIES {
            let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
            let found: Option<ShardTable> = home.get(Kind::ShardTable, namespace, NAME).await?;
            let table = taken(found.as_ref().map(|found| &found.spec), &owner, now);
            let epoch = table.epoch;
            let object = ShardTable {
                api_version: home.api_version(),
                kind: Kind::ShardTable.name().to_owned(),
                metadata: found.as_ref().map_or_else(
                    || Meta {
                        name: NAME.to_owned(),
                        namespace: namespace.to_owned(),
                        ..Meta::default()
                    },
                    |found| found.metadata.clone(),
                ),
                spec: table,
            };
            let written = match &found {
                None => home.create(Kind::ShardTable, namespace, &object).await,
                Some(found) => home.replace(Kind::ShardTable, &found.metadata, &object).await,
            };
            match written {
                Ok(_) => {
                    return Ok(Self {
                        epochs: vec![Some(epoch); SHARDS],
                    });
                }
                Err(HomeError::Conflict | HomeError::AlreadyExists | HomeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(HomeError::Conflict)
    }

    /// The epoch in which this process owns the shard of an instance.
    pub(crate) fn epoch(&self, instance_name: &str) -> Option<u64> {
        self.epochs[names::shard(instance_name, SHARDS)]
    }
}

/// The table after `owner` has taken all shards: every epoch is higher than any that was ever given out, also by a
/// table that a restore has lost.
fn taken(before: Option<&ShardTableSpec>, owner: &str, now: u64) -> ShardTableSpec {
    let epoch = before.map_or(now, |before| (before.epoch + 1).max(now));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_starts_at_unix_seconds_and_each_start_has_a_higher_epoch() {
        let first = taken(None, "a", 1_000);
        assert_eq!((first.epoch, first.shards.len()), (1_000, SHARDS));
        let second = taken(Some(&first), "b", 1_000);
        assert_eq!(second.epoch, 1_001);
        assert!(
            second
                .shards
                .iter()
                .all(|shard| shard.owner == "b" && shard.epoch == 1_001)
        );
        assert_eq!(taken(Some(&second), "c", 5_000).epoch, 5_000);
    }
}
