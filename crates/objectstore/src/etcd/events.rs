//! What a watch of etcd's brings, as transactions of the store.

use std::sync::Arc;

use super::Places;
use super::proto::{EventKind, WatchEvent, WatchResponse};
use super::revisions::Epoch;
use crate::{Event, Revision};

/// What stood at a key before has been forgotten already: history does not reach so far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten;

/// Puts transactions together whose events come in more than one message.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Of one transaction, which may have more.
    open: Vec<Event>,
}

impl Transactions {
    /// The transactions that are whole with a further message.
    pub(super) fn add(
        &mut self,
        places: &Places,
        epoch: Epoch,
        message: WatchResponse,
    ) -> Result<Vec<Arc<[Event]>>, Forgotten> {
        let mut whole = Vec::new();
        for found in message.events {
            let Some(event) = event(places, epoch, found)? else {
                continue;
            };
            if self.open.first().is_some_and(|open| open.revision != event.revision) {
                whole.push(std::mem::take(&mut self.open).into());
            }
            self.open.push(event);
        }
        if !message.fragment && !self.open.is_empty() {
            whole.push(std::mem::take(&mut self.open).into());
        }
        Ok(whole)
    }
}

/// `None` for what is not of the store's data.
fn event(places: &Places, epoch: Epoch, found: WatchEvent) -> Result<Option<Event>, Forgotten> {
    let Some(kv) = found.kv.filter(|kv| kv.key.starts_with(&places.data)) else {
        return Ok(None);
    };
    let deleted = found.kind == EventKind::Delete as i32;
    let is_new = !deleted && kv.create_revision == kv.mod_revision;
    if !is_new && found.prev_kv.is_none() {
        return Err(Forgotten);
    }
    Ok(Some(Event {
        revision: epoch.revision(kv.mod_revision),
        key: kv.key.slice(places.data.len()..),
        value: (!deleted).then_some(kv.value),
        previous: found
            .prev_kv
            .filter(|_| !is_new)
            .map(|previous| epoch.entry(previous, places.data.len())),
    }))
}

/// How far a message says that a watch is, when it brings nothing else.
pub(super) fn progress(epoch: Epoch, message: &WatchResponse) -> Option<Revision> {
    let tells = !message.created && !message.canceled && !message.fragment && message.events.is_empty();
    let at = super::proto::revision(message.header.as_ref());
    (tells && at > 0).then(|| epoch.revision(at))
}

#[cfg(test)]
mod tests {
    use super::super::proto::KeyValue;
    use super::*;

    const EPOCH: Epoch = Epoch {
        etcd: 10,
        first: Revision(0),
    };

    fn put(key: &str, created: i64, modified: i64) -> WatchEvent {
        let kv = |modified| KeyValue {
            key: format!("/p/data{key}").into(),
            create_revision: created,
            mod_revision: modified,
            value: "v".into(),
        };
        WatchEvent {
            kind: EventKind::Put as i32,
            kv: Some(kv(modified)),
            prev_kv: (created < modified).then(|| kv(modified - 1)),
        }
    }

    fn message(events: Vec<WatchEvent>, fragment: bool) -> WatchResponse {
        WatchResponse {
            events,
            fragment,
            ..WatchResponse::default()
        }
    }

    #[test]
    fn a_transaction_in_several_messages_comes_out_as_one() {
        let places = Places::new("/p");
        let mut transactions = Transactions::default();
        let mut add = |events, fragment| {
            let whole = transactions.add(&places, EPOCH, message(events, fragment)).unwrap();
            let shape = whole.iter().map(|part| (part[0].revision.0, part.len()));
            shape.collect::<Vec<_>>()
        };
        assert_eq!(add(vec![put("a", 11, 11), put("b", 12, 12)], true), [(1, 1)]);
        assert_eq!(add(vec![put("c", 12, 12)], true), []);
        assert_eq!(add(vec![put("d", 12, 12), put("a", 11, 13)], false), [(2, 3), (3, 1)]);
        assert_eq!(add(vec![], false), []);
    }

    #[test]
    fn only_data_is_told_of_and_what_was_before_must_be_known() {
        let places = Places::new("/p");
        let other = WatchEvent {
            kv: Some(KeyValue {
                key: "/p/fence".into(),
                ..KeyValue::default()
            }),
            ..WatchEvent::default()
        };
        let mut transactions = Transactions::default();
        assert!(
            transactions
                .add(&places, EPOCH, message(vec![other], false))
                .unwrap()
                .is_empty()
        );
        let forgotten = |event: WatchEvent| {
            let event = WatchEvent { prev_kv: None, ..event };
            Transactions::default().add(&places, EPOCH, message(vec![event], false)) == Err(Forgotten)
        };
        assert!(forgotten(put("a", 11, 12)) && !forgotten(put("a", 12, 12)));
        let deletion = WatchEvent {
            kind: EventKind::Delete as i32,
            ..put("a", 0, 12)
        };
        assert!(forgotten(deletion));
    }
}
