//! Which objects a controller has to look at, and when. Pure: time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::follow::Key;

/// How a look at an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing to do until it changes.
    Done,
    /// To be looked at again then, as something new.
    After(Duration),
    /// To be tried again then.
    Again(Duration),
}

#[derive(Debug, Default)]
struct Entry {
    running: bool,
    due: Option<Instant>,
    /// Looks since the last one that succeeded.
    attempts: u32,
}

/// An object is looked at by one call at a time; what changes while it runs has it looked at once more.
#[derive(Debug, Default)]
pub(crate) struct Work {
    entries: HashMap<Key, Entry>,
    /// Those that do not run, by when they are due.
    due: BTreeSet<(Instant, Key)>,
}

impl Work {
    /// Somebody has changed an object.
    pub(crate) fn changed(&mut self, key: Key, now: Instant) {
        self.schedule(key, now);
    }

    /// The next object to be looked at, and the number of the attempt, from 1 on.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(Key, u32)> {
        let first = self.due.first().filter(|(due, _)| *due <= now)?.clone();
        self.due.remove(&first);
        let key = first.1;
        let entry = self.entries.get_mut(&key)?;
        entry.running = true;
        entry.due = None;
        entry.attempts += 1;
        Some((key, entry.attempts))
    }

    /// When the next object is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A look has ended.
    pub(crate) fn ended(&mut self, key: Key, ended: Ended, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.running = false;
        if !matches!(ended, Ended::Again(_)) {
            entry.attempts = 0;
        }
        // What has changed meanwhile waits for no pause.
        let changed = entry.due.take();
        let due = match ended {
            Ended::Done => changed,
            Ended::After(pause) | Ended::Again(pause) => Some(changed.unwrap_or(now + pause)),
        };
        match due {
            Some(due) => self.schedule(key, due),
            None => {
                self.entries.remove(&key);
            }
        }
    }

    fn schedule(&mut self, key: Key, due: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        let earlier = entry.due.map_or(due, |before| before.min(due));
        if !entry.running {
            if let Some(before) = entry.due {
                self.due.remove(&(before, key.clone()));
            }
            self.due.insert((earlier, key));
        }
        entry.due = Some(earlier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            namespace: "n".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn an_object_that_changes_while_it_is_looked_at_is_looked_at_once_more() {
        let (mut work, now) = (Work::default(), Instant::now());
        work.changed(key("a"), now);
        work.changed(key("a"), now);
        assert_eq!(work.next(now), Some((key("a"), 1)));
        assert_eq!(work.next(now), None, "one call at a time");
        work.changed(key("a"), now);
        work.changed(key("a"), now);
        assert_eq!(work.next(now), None);
        work.ended(key("a"), Ended::Done, now);
        assert_eq!(work.next(now), Some((key("a"), 1)));
        work.ended(key("a"), Ended::Done, now);
        assert_eq!((work.next(now), work.next_due()), (None, None));
        assert!(work.entries.is_empty(), "what is done takes no memory");
    }

    #[test]
    fn a_failed_look_is_counted_and_waits_unless_the_object_changes() {
        let (mut work, now) = (Work::default(), Instant::now());
        let pause = Duration::from_secs(9);
        work.changed(key("a"), now);
        work.next(now);
        work.ended(key("a"), Ended::Again(pause), now);
        assert_eq!((work.next(now), work.next_due()), (None, Some(now + pause)));
        assert_eq!(work.next(now + pause), Some((key("a"), 2)));
        work.ended(key("a"), Ended::Again(pause), now);
        work.changed(key("a"), now);
        assert_eq!(work.next(now), Some((key("a"), 3)), "a change waits for no pause");
        work.ended(key("a"), Ended::After(pause), now);
        assert_eq!(work.next(now + pause), Some((key("a"), 1)), "a success begins anew");
    }

    #[test]
    fn what_is_due_first_comes_first() {
        let (mut work, now) = (Work::default(), Instant::now());
        work.changed(key("b"), now + Duration::from_secs(1));
        work.changed(key("a"), now + Duration::from_secs(2));
        let later = now + Duration::from_secs(3);
        assert_eq!(work.next(later).map(|(key, _)| key.name).as_deref(), Some("b"));
        assert_eq!(work.next(later).map(|(key, _)| key.name).as_deref(), Some("a"));
    }
}
