//! What a transaction comes to, given what is stored: the same for all engines.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

use crate::{
    Compare, Entry, Error, Event, MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, MAX_WRITES, Revision, Transaction, Write,
};

/// What is stored at the moment of the decision.
pub(crate) trait View {
    /// The entry of a key.
    fn entry(&mut self, key: &Bytes) -> Result<Option<Entry>, Error>;

    /// The first entry of a range.
    fn first(&mut self, keys: &Range<Bytes>) -> Result<Option<Entry>, Error>;
}

/// One key's change, still without its revision.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    /// `None` for a deletion.
    pub(crate) value: Option<Bytes>,
    pub(crate) previous: Option<Entry>,
}

impl Change {
    /// What stands at the key afterwards.
    pub(crate) fn entry(&self, revision: Revision) -> Option<Entry> {
        let created = self.previous.as_ref().map_or(revision, |previous| previous.created);
        self.value.clone().map(|value| Entry {
            key: self.key.clone(),
            value,
            created,
            modified: revision,
        })
    }

    /// What a watcher is told.
    pub(crate) fn event(&self, revision: Revision) -> Event {
        Event {
            revision,
            key: self.key.clone(),
            value: self.value.clone(),
            previous: self.previous.clone(),
        }
    }

    /// About how many bytes of history the change costs.
    pub(crate) fn weight(&self) -> u64 {
        let value = self.value.as_ref().map_or(0, Bytes::len);
        let previous = self.previous.as_ref().map_or(0, |entry| entry.value.len());
        (2 * self.key.len() + value + previous + 64) as u64
    }
}

/// What becomes of a transaction.
#[derive(Debug)]
pub(crate) enum Decision {
    /// A compare did not hold.
    Refused { compare: usize, current: Option<Entry> },
    /// All compares hold; without a change no revision is taken.
    Changes(Vec<Change>),
}

/// Decides.
///
/// # Errors
///
/// Whatever the view fails with. The transaction must have passed [`check`].
pub(crate) fn decide(view: &mut impl View, transaction: Transaction) -> Result<Decision, Error> {
    for (index, compare) in transaction.compares.iter().enumerate() {
        if let Err(current) = holds(view, compare)? {
            return Ok(Decision::Refused {
                compare: index,
                current,
            });
        }
    }
    let mut changes = Vec::with_capacity(transaction.writes.len());
    for write in transaction.writes {
        let (key, value) = match write {
            Write::Put(key, value) => (key, Some(value)),
            Write::Delete(key) => (key, None),
        };
        let previous = view.entry(&key)?;
        if value.is_some() || previous.is_some() {
            changes.push(Change { key, value, previous });
        }
    }
    Ok(Decision::Changes(changes))
}

/// `Err` has what stands there instead.
fn holds(view: &mut impl View, compare: &Compare) -> Result<Result<(), Option<Entry>>, Error> {
    let (current, holds) = match compare {
        Compare::Absent(key) => absent(view.entry(key)?),
        Compare::Exists(key) => {
            let current = view.entry(key)?;
            let holds = current.is_some();
            (current, holds)
        }
        Compare::Modified(key, revision) => {
            let current = view.entry(key)?;
            let holds = current.as_ref().is_some_and(|entry| entry.modified == *revision);
            (current, holds)
        }
        Compare::Empty(keys) => absent(view.first(keys)?),
    };
    Ok(if holds { Ok(()) } else { Err(current) })
}

fn absent(current: Option<Entry>) -> (Option<Entry>, bool) {
    let holds = current.is_none();
    (current, holds)
}

/// Refuses what can never be carried out.
///
/// # Errors
///
/// [`Error::Invalid`].
pub(crate) fn check(transaction: &Transaction) -> Result<(), Error> {
    if transaction.writes.len() > MAX_WRITES {
        return Err(Error::Invalid(format!(
            "{} writes, at most {MAX_WRITES} are allowed",
            transaction.writes.len()
        )));
    }
    for compare in &transaction.compares {
        match compare {
            Compare::Absent(key) | Compare::Exists(key) | Compare::Modified(key, _) => check_key(key)?,
            Compare::Empty(_) => {}
        }
    }
    let mut bytes = 0;
    for write in &transaction.writes {
        check_key(key_of(write))?;
        bytes += key_of(write).len();
        if let Write::Put(_, value) = write {
            bytes += value.len();
        }
    }
    if bytes > MAX_TRANSACTION_BYTES {
        return Err(Error::Invalid(format!(
            "{bytes} bytes, at most {MAX_TRANSACTION_BYTES} are allowed"
        )));
    }
    if writes_a_key_twice(&transaction.writes) {
        return Err(Error::Invalid("a key is written twice".into()));
    }
    Ok(())
}

fn key_of(write: &Write) -> &Bytes {
    let (Write::Put(key, _) | Write::Delete(key)) = write;
    key
}

fn writes_a_key_twice(writes: &[Write]) -> bool {
    /// So few are compared each with each.
    const FEW: usize = 8;
    if writes.len() <= FEW {
        let twice = |(i, write): (usize, &Write)| writes[..i].iter().any(|other| key_of(other) == key_of(write));
        return writes.iter().enumerate().any(twice);
    }
    let mut seen = HashSet::with_capacity(writes.len());
    !writes.iter().all(|write| seen.insert(key_of(write)))
}

/// Refuses keys that cannot be stored.
pub(crate) fn check_key(key: &Bytes) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::Invalid("an empty key".into())),
        1..=MAX_KEY_BYTES => Ok(()),
        length => Err(Error::Invalid(format!(
            "a key of {length} bytes, at most {MAX_KEY_BYTES} are allowed"
        ))),
    }
}

/// Whether a revision can be read.
pub(crate) fn check_readable(requested: Revision, oldest: Revision, current: Revision) -> Result<(), Error> {
    if requested > current {
        return Err(Error::Future { requested, current });
    }
    if requested < oldest {
        return Err(Error::Compacted { requested, oldest });
    }
    Ok(())
}

/// Whether a watch can start behind a revision.
pub(crate) fn check_watchable(after: Revision, oldest: Revision) -> Result<(), Error> {
    if after.0.saturating_add(1) < oldest.0 {
        return Err(Error::Compacted {
            requested: after,
            oldest,
        });
    }
    Ok(())
}
