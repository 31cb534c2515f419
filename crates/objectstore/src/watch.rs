//! A watch: first what history has, then what is committed from now on, without a gap or a repeat.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;

use crate::hub::{End, Hub, Subscription};
use crate::{Delivery, Error, Event, Revision, Watch};

/// After how long without an event a watcher is told how far it is.
const IDLE: Duration = Duration::from_secs(1);

/// The most transactions that are read from history at a time; the thread is given up in between.
const CHUNK: usize = 256;

/// Where a watch gets its events from.
pub(crate) trait Source: Send + Sync + 'static {
    /// The newest committed revision.
    fn revision(&self) -> Revision;

    /// The changes in a range after a revision, from at most `limit` transactions.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] when history starts behind `after + 1`.
    fn changes(&self, keys: &Range<Bytes>, after: Revision, limit: usize) -> Result<Changes, Error>;

    /// Where the live events come from.
    fn hub(&self) -> &Arc<Hub>;
}

/// A part of history.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Transactions, oldest first.
    pub(crate) transactions: Vec<Arc<[Event]>>,
    /// All up to here has been looked at.
    pub(crate) upto: Revision,
}

struct State<S> {
    source: Arc<S>,
    keys: Range<Bytes>,
    /// Everything up to here has been put out, or lies in `ready`.
    cursor: Revision,
    ready: VecDeque<Delivery>,
    live: Option<Subscription>,
    ended: bool,
}

/// A watch of all changes after a revision, which may lie in the future.
///
/// # Errors
///
/// [`Error::Compacted`] when history does not reach back so far, [`Error::Closed`].
pub(crate) fn start<S: Source>(source: Arc<S>, keys: Range<Bytes>, after: Option<Revision>) -> Result<Watch, Error> {
    let cursor = after.unwrap_or_default();
    let mut state = State {
        source,
        keys,
        cursor,
        ready: VecDeque::new(),
        live: None,
        ended: false,
    };
    match after {
        Some(after) if after <= state.source.revision() => state.read()?,
        _ => state.join(after)?,
    }
    Ok(futures::stream::unfold(state, State::next).boxed())
}

impl<S: Source> State<S> {
    /// Starts with what is committed from now on, or behind a revision that is still to come.
    fn join(&mut self, after: Option<Revision>) -> Result<(), Error> {
        let live = self.subscribe(after.unwrap_or_default())?;
        self.cursor = after.unwrap_or(live.joined);
        if after.is_none() {
            self.ready.push_back(Delivery::Progress(self.cursor));
        }
        self.live = Some(live);
        Ok(())
    }

    fn subscribe(&self, after: Revision) -> Result<Subscription, Error> {
        self.source
            .hub()
            .subscribe(self.keys.clone(), after)
            .ok_or(Error::Closed)
    }

    /// Reads the next part of history, and joins the live stream when there is no more.
    fn read(&mut self) -> Result<(), Error> {
        let changes = self.source.changes(&self.keys, self.cursor, CHUNK)?;
        self.cursor = changes.upto;
        self.ready
            .extend(changes.transactions.into_iter().map(Delivery::Events));
        if self.live.is_none() && self.cursor >= self.source.revision() {
            self.live = Some(self.subscribe(self.cursor)?);
        }
        if !self.behind() {
            self.ready.push_back(Delivery::Progress(self.cursor));
        }
        Ok(())
    }

    /// Whether what was committed before the live stream was joined has still to be read.
    fn behind(&self) -> bool {
        self.live.as_ref().is_none_or(|live| self.cursor < live.joined)
    }

    async fn next(mut self) -> Option<(Result<Delivery, Error>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Some((Ok(delivery), self));
            }
            if !self.behind() {
                break;
            }
            tokio::task::yield_now().await;
            if let Err(error) = self.read() {
                self.ended = true;
                // A store that has been closed ends its watches without an error.
                return (!matches!(error, Error::Closed)).then_some((Err(error), self));
            }
        }
        self.follow().await
    }

    /// The next live delivery.
    async fn follow(mut self) -> Option<(Result<Delivery, Error>, Self)> {
        let live = self.live.as_ref()?;
        let next = follow(self.source.hub(), live, &mut self.cursor).await;
        self.ended = !matches!(next, Some(Ok(_)));
        next.map(|next| (next, self))
    }
}

/// The next live delivery behind a cursor, `None` when the store has been closed; after an error nothing follows.
pub(crate) async fn follow(hub: &Hub, live: &Subscription, cursor: &mut Revision) -> Option<Result<Delivery, Error>> {
    loop {
        let next = match tokio::time::timeout(IDLE, live.next()).await {
            Ok(next) => next,
            Err(_elapsed) => {
                // All up to this revision has been put into the buffer, so that an empty one proves progress.
                let dispatched = hub.dispatched();
                match live.at_hand() {
                    Some(next) => next,
                    None if dispatched > *cursor => {
                        *cursor = dispatched;
                        return Some(Ok(Delivery::Progress(dispatched)));
                    }
                    None => continue,
                }
            }
        };
        match next {
            Ok(events) => {
                let revision = events.first().map_or(*cursor, |event| event.revision);
                if revision <= *cursor {
                    // History had it already.
                    continue;
                }
                *cursor = revision;
                return Some(Ok(Delivery::Events(events)));
            }
            Err(End::Lagged) => return Some(Err(Error::Lagged)),
            Err(End::Closed) => return None,
        }
    }
}
