//! Which connections are open, and which of them do nothing: at the limit, the one that has been idle for longest makes
//! room for a new one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The open connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// By the order in which they became idle.
    idle: BTreeMap<u64, CancellationToken>,
    next: u64,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            state: Mutex::default(),
        })
    }

    /// Takes a connection in. At the limit the longest idle one is told to end; when all are at work, `None`.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Arc<Connection>> {
        let mut state = self.lock();
        if state.open >= self.most && !state.evict() {
            return None;
        }
        state.open += 1;
        let evicted = CancellationToken::new();
        let place = state.rest(evicted.clone());
        drop(state);
        Some(Arc::new(Connection {
            all: self.clone(),
            evicted,
            work: Mutex::new(Work { requests: 0, place }),
        }))
    }

    /// Ends the longest idle connection, if there is one.
    pub(crate) fn evict(&self) -> bool {
        self.lock().evict()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn evict(&mut self) -> bool {
        let oldest = self.idle.pop_first();
        oldest.map(|(_, token)| token.cancel()).is_some()
    }

    fn rest(&mut self, token: CancellationToken) -> u64 {
        let place = self.next;
        self.next += 1;
        self.idle.insert(place, token);
        place
    }
}

/// One open connection. Idle while no request of it is being answered: a client that sends a head slowly is idle, too.
#[derive(Debug)]
pub(crate) struct Connection {
    all: Arc<Connections>,
    evicted: CancellationToken,
    work: Mutex<Work>,
}

#[derive(Debug)]
struct Work {
    requests: usize,
    /// Among the idle ones, when there are no requests.
    place: u64,
}

impl Connection {
    /// Ends when the connection has to make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// A request has come. `None` when the connection has just lost its place: then nothing may be done for it.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let mut work = self.lock();
        if work.requests == 0 {
            self.all.lock().idle.remove(&work.place)?;
        }
        work.requests += 1;
        Some(Busy(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let place = self.lock().place;
        let mut state = self.all.lock();
        state.open -= 1;
        state.idle.remove(&place);
    }
}

/// A request that is being answered, until the last byte of its answer has been taken from it.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut work = self.0.lock();
        work.requests -= 1;
        if work.requests == 0 {
            work.place = self.0.all.lock().rest(self.0.evicted.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(connection: &Connection) -> bool {
        connection.evicted.is_cancelled()
    }

    #[test]
    fn the_longest_idle_connection_makes_room() {
        let all = Connections::new(3);
        let (a, b, c) = (all.admit().unwrap(), all.admit().unwrap(), all.admit().unwrap());
        // `a` works and then rests: `b` has been idle for longest.
        drop(a.begin().unwrap());
        let d = all.admit().unwrap();
        assert_eq!(
            [&a, &b, &c, &d].map(|connection| ended(connection)),
            [false, true, false, false]
        );
        assert!(b.begin().is_none(), "an evicted connection does no more work");
    }

    #[test]
    fn work_is_never_interrupted() {
        let all = Connections::new(2);
        let (a, b) = (all.admit().unwrap(), all.admit().unwrap());
        let busy = [a.begin(), a.begin(), b.begin()].map(Option::unwrap);
        assert!(all.admit().is_none());
        let [first, second, _third] = busy;
        drop(first);
        assert!(all.admit().is_none(), "a second request is still being answered");
        drop(second);
        assert!(all.admit().is_some() && ended(&a) && !ended(&b));
    }

    #[test]
    fn an_ended_connection_leaves_its_place() {
        let all = Connections::new(1);
        for _ in 0..3 {
            let connection = all.admit().unwrap();
            assert!(!ended(&connection));
            drop(connection);
        }
        let state = all.lock();
        assert_eq!((state.open, state.idle.len()), (0, 0));
    }
}
