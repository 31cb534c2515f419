//! What waits to be committed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{Error, Outcome, Revision, Transaction};

/// An answer is dropped, not sent, when the store fails meanwhile.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A transaction that waits for its commit.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) transaction: Transaction,
    pub(super) reply: Reply<Outcome>,
    /// Bounds the queue; given back with the answer.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What the commit thread is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Transact(Pending),
    Compact(Revision, Reply<()>),
}

/// What has come in.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) requests: Vec<Request>,
    /// Nothing follows.
    pub(super) closing: bool,
}

/// Requests on their way to the commit thread. Bounded by the permits of its writers.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    closed: bool,
    waiting: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in a request; drops it once the queue is closed.
    pub(super) fn push(&self, request: Request) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.requests.push(request);
        if state.waiting {
            state.waiting = false;
            self.arrived.notify_one();
        }
    }

    /// Takes no further requests. Those that came before are still carried out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits for requests, at most so long. `spent` is filled; its memory comes from an earlier round.
    pub(super) fn take(&self, mut spent: Vec<Request>, patience: Duration) -> Work {
        spent.clear();
        let mut state = self.lock();
        if state.requests.is_empty() && !state.closed {
            state.waiting = true;
            let waited = self.arrived.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting = false;
        }
        std::mem::swap(&mut state.requests, &mut spent);
        Work {
            requests: spent,
            closing: state.closed,
        }
    }
}
