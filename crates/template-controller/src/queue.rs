//! What has to be looked at, each thing by one worker at a time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace; empty where it has none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// When it has to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When it changes.
    Done,
    /// After this time at the latest.
    After(Duration),
    /// After a pause that grows with each time.
    Retry,
}

/// The pauses of [`Next::Retry`].
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// The first one; it doubles each time.
    pub first: Duration,
    /// The longest one.
    pub longest: Duration,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Key>,
    /// In `ready`, or to be looked at once more when its worker is done.
    dirty: HashSet<Key>,
    working: HashSet<Key>,
    failures: HashMap<Key, u32>,
    due: HashMap<Key, Instant>,
    timers: BTreeSet<(Instant, Key)>,
}

/// What has to be looked at. Things that are added again while they wait are looked at once.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
    pauses: Pauses,
}

impl Queue {
    /// An empty one.
    pub fn new(pauses: Pauses) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            pauses,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has something looked at soon.
    pub fn add(&self, key: Key) {
        self.state().add(key);
        self.changed.notify_one();
    }

    /// The next thing to look at. Cancel-safe.
    pub async fn next(&self) -> Key {
        loop {
            let first = {
                let mut state = self.state();
                state.expire(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    if !state.ready.is_empty() {
                        // Whoever was told of this one may be told of the next.
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.timers.first().map(|(due, _)| *due)
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {}
            }
        }
    }

    /// It has been looked at.
    pub fn done(&self, key: &Key, next: Next) {
        let mut state = self.state();
        state.working.remove(key);
        let pause = match next {
            Next::Done => None,
            Next::After(pause) => Some(pause),
            Next::Retry => {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures = failures.saturating_add(1);
                let factor = 1u32 << (*failures - 1).min(16);
                Some(self.pauses.first.saturating_mul(factor).min(self.pauses.longest))
            }
        };
        if next != Next::Retry {
            state.failures.remove(key);
        }
        if let Some(pause) = pause {
            state.remember(key, Instant::now() + pause);
        } else {
            state.forget(key);
        }
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
        }
        drop(state);
        self.changed.notify_one();
    }
}

impl State {
    fn add(&mut self, key: Key) {
        if self.dirty.insert(key.clone()) && !self.working.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn remember(&mut self, key: &Key, due: Instant) {
        self.forget(key);
        self.due.insert(key.clone(), due);
        self.timers.insert((due, key.clone()));
    }

    fn forget(&mut self, key: &Key) {
        if let Some(due) = self.due.remove(key) {
            self.timers.remove(&(due, key.clone()));
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((due, key)) = self.timers.first().cloned() {
            if due > now {
                return;
            }
            self.forget(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            namespace: "n".into(),
            name: name.into(),
        }
    }

    fn queue() -> Queue {
        let second = Duration::from_secs(1);
        Queue::new(Pauses {
            first: second,
            longest: second * 3,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_looked_at_by_one_worker_and_again_when_it_changed_meanwhile() {
        let queue = queue();
        queue.add(key("a"));
        queue.add(key("a"));
        assert_eq!(queue.next().await, key("a"));
        queue.add(key("a"));
        let none = tokio::time::timeout(Duration::from_secs(60), queue.next()).await;
        assert!(none.is_err());
        queue.done(&key("a"), Next::Done);
        assert_eq!(queue.next().await, key("a"));
        queue.done(&key("a"), Next::Done);
        assert!(
            tokio::time::timeout(Duration::from_secs(60), queue.next())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_are_bounded() {
        let queue = queue();
        queue.add(key("a"));
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let began = Instant::now();
            let next = queue.next().await;
            pauses.push(began.elapsed().as_secs());
            queue.done(&next, Next::Retry);
        }
        assert_eq!(pauses, [0, 1, 2, 3]);
    }
}
