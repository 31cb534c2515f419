//! What has happened, read from etcd: every change in a range after a revision, in order, until it is caught up with.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::client::{Attempts, Failure, WatchStream};
use super::events::{Transactions, progress};
use super::proto::{WatchAsk, WatchCreate, WatchResponse};
use crate::{Error, Event, Revision, keys};

/// How often a member is asked whether all has been sent. It does not answer before that.
const ASK_EVERY: Duration = Duration::from_millis(30);

/// A reader of the past.
pub(super) struct Past {
    shared: Arc<Shared>,
    keys: Range<Bytes>,
    /// Everything up to here has been read.
    pub(super) cursor: Revision,
    stream: Option<(WatchStream, Transactions)>,
    attempts: Attempts,
}

/// What comes next.
pub(super) enum Step {
    Transactions(Vec<Arc<[Event]>>),
    /// Nothing more is to come up to here.
    Upto(Revision),
}

impl Past {
    /// Nothing is opened before the first step.
    pub(super) fn new(shared: Arc<Shared>, keys: Range<Bytes>, after: Revision) -> Past {
        Past {
            attempts: shared.cluster.attempts(),
            shared,
            keys,
            cursor: after,
            stream: None,
        }
    }

    /// The next part.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`], and [`Error::Unavailable`] when no member has answered for long.
    pub(super) async fn step(&mut self) -> Result<Step, Error> {
        loop {
            match self.try_step().await {
                Ok(step) => {
                    self.attempts = self.shared.cluster.attempts();
                    return Ok(step);
                }
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing(failure)) => {
                    self.stream = None;
                    self.shared.cluster.watch_failed(&failure);
                    let again = self.attempts.again(&self.shared.cluster, failure).await;
                    again.map_err(|failure| Error::Unavailable(failure.text().to_owned()))?;
                }
            }
        }
    }

    async fn try_step(&mut self) -> Result<Step, Trouble> {
        let attempt = self.shared.attempt;
        if self.stream.is_none() {
            let stream = self.shared.open_watch(&self.keys, self.cursor).await?;
            self.stream = Some((stream, Transactions::default()));
        }
        let Some((stream, transactions)) = &mut self.stream else {
            return Err(Trouble::Passing(Failure::Unknown("no watch".to_owned())));
        };
        let silent_since = tokio::time::Instant::now();
        loop {
            let Ok(message) = tokio::time::timeout(ASK_EVERY, stream.next()).await else {
                if silent_since.elapsed() > attempt {
                    return Err(Trouble::Passing(Failure::Unknown("a member is silent".to_owned())));
                }
                stream.ask_for_progress();
                continue;
            };
            let message = message.map_err(Trouble::of)?;
            if message.created {
                stream.ask_for_progress();
            }
            check(&self.shared, self.cursor, &message)?;
            if let Some(upto) = progress(self.shared.epoch, &message) {
                self.cursor = self.cursor.max(upto);
                return Ok(Step::Upto(self.cursor));
            }
            let whole = transactions.add(&self.shared.places, self.shared.epoch, message);
            let mut whole = whole.map_err(|_| Trouble::Final(self.shared.forgotten(self.cursor)))?;
            // After the watch had to be opened anew, a part may come again.
            whole.retain(|events| events.first().is_some_and(|event| event.revision > self.cursor));
            if let Some(last) = whole.last().and_then(|events| events.first()) {
                self.cursor = last.revision;
                return Ok(Step::Transactions(whole));
            }
        }
    }
}

/// What stands in the way of a watch.
pub(super) enum Trouble {
    /// Another attempt may help.
    Passing(Failure),
    Final(Error),
}

impl Trouble {
    pub(super) fn of(failure: Failure) -> Trouble {
        match failure {
            Failure::Refused(status) => Trouble::Final(Error::Unavailable(status.message)),
            failure => Trouble::Passing(failure),
        }
    }
}

/// Whether a message says that its watch is over.
pub(super) fn check(shared: &Shared, after: Revision, message: &WatchResponse) -> Result<(), Trouble> {
    if message.compact_revision > 0 {
        shared.compacted(message.compact_revision);
        return Err(Trouble::Final(shared.forgotten(after)));
    }
    if message.canceled {
        let reason = format!("etcd has ended a watch: {}", message.cancel_reason);
        return Err(match message.cancel_reason.contains("permission denied") {
            true => Trouble::Final(Error::Unavailable(reason)),
            // An old token among others.
            false => Trouble::Passing(Failure::NotDone(reason)),
        });
    }
    Ok(())
}

impl Shared {
    /// Opens a watch of a range of data after a revision.
    pub(super) async fn open_watch(&self, keys: &Range<Bytes>, after: Revision) -> Result<WatchStream, Trouble> {
        let start = self
            .epoch
            .etcd(after)
            .ok_or_else(|| Trouble::Final(self.forgotten(after)))?;
        // Of a range without keys nothing comes, nor of the mark.
        let range = match keys::is_empty(keys) {
            true => self.places.mark.clone()..Bytes::new(),
            false => self.places.range(keys),
        };
        let mut stream = self.cluster.watch().await.map_err(Trouble::of)?;
        let create = WatchCreate {
            key: range.start,
            range_end: range.end,
            start_revision: start.saturating_add(1),
            progress_notify: true,
            prev_kv: true,
            fragment: true,
        };
        stream.send(WatchAsk::Create(create)).await.map_err(Trouble::of)?;
        Ok(stream)
    }
}
