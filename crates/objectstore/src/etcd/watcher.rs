//! A watch as the caller reads it: what has happened, from memory or from etcd, then what happens.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;

use super::Shared;
use super::past::{Past, Step};
use super::upstream::Joined;
use crate::hub::Subscription;
use crate::watch::follow;
use crate::{Delivery, Error, Revision, Watch};

struct Watcher {
    shared: Arc<Shared>,
    keys: Range<Bytes>,
    /// Everything up to here has been put out, or lies in `ready`.
    cursor: Revision,
    ready: VecDeque<Delivery>,
    live: Option<Subscription>,
    past: Option<Past>,
    ended: bool,
}

/// A watch of all changes after a revision.
pub(super) fn start(shared: &Arc<Shared>, keys: Range<Bytes>, after: Revision) -> Result<Watch, Error> {
    let mut watcher = Watcher {
        shared: shared.clone(),
        keys,
        cursor: after,
        ready: VecDeque::new(),
        live: None,
        past: None,
        ended: false,
    };
    watcher.join()?;
    Ok(futures::stream::unfold(watcher, Watcher::next).boxed())
}

impl Watcher {
    /// Joins the live stream, if that goes back to the cursor.
    fn join(&mut self) -> Result<(), Error> {
        match self.shared.join(&self.keys, self.cursor) {
            Joined::Closed => Err(Error::Closed),
            Joined::Behind => Ok(()),
            Joined::Live(newer, live) => {
                self.cursor = self.cursor.max(live.joined);
                let last = newer.last().and_then(|events| events.first());
                let told = last.is_some_and(|event| event.revision == self.cursor);
                self.ready.extend(newer.into_iter().map(Delivery::Events));
                // What is committed may still be on its way here: then there is nothing of it in the range.
                if !told && self.cursor <= self.shared.known() {
                    self.ready.push_back(Delivery::Progress(self.cursor));
                }
                self.past = None;
                self.live = Some(live);
                Ok(())
            }
        }
    }

    async fn next(mut self) -> Option<(Result<Delivery, Error>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Some((Ok(delivery), self));
            }
            if let Some(live) = &self.live {
                let next = follow(&self.shared.hub, live, &mut self.cursor).await;
                self.ended = !matches!(next, Some(Ok(_)));
                return next.map(|next| (next, self));
            }
            if self.shared.is_closed() {
                return None;
            }
            if let Err(error) = self.read().await {
                self.ended = true;
                // A store that has been closed ends its watches without an error.
                return (!matches!(error, Error::Closed)).then_some((Err(error), self));
            }
        }
    }

    /// Reads the next part of the past, and joins the live stream when that is near.
    async fn read(&mut self) -> Result<(), Error> {
        let past = self
            .past
            .get_or_insert_with(|| Past::new(self.shared.clone(), self.keys.clone(), self.cursor));
        match past.step().await? {
            Step::Transactions(part) => {
                self.cursor = past.cursor;
                self.ready.extend(part.into_iter().map(Delivery::Events));
                Ok(())
            }
            Step::Upto(revision) => {
                self.cursor = self.cursor.max(revision);
                self.join()
            }
        }
    }
}
