//! Events of watches as they are sent, each made once for all watchers of the same form.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use objectstore::Revision;

use crate::codec::Stamp;
use crate::negotiate::Form;
use crate::render::Include;

/// How many events are remembered, and how many bytes: about as many as watchers of one resource are apart.
const MOST_EVENTS: usize = 64;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What tells one event in one form from all others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) revision: Revision,
    /// Of the object.
    pub(crate) key: Bytes,
    pub(crate) kind: &'static str,
    /// The schema by which it is shown, and the definition with its columns.
    pub(crate) stamp: Stamp,
    pub(crate) definition: Option<Revision>,
    pub(crate) api_version: String,
    pub(crate) form: Form,
    pub(crate) include: Include,
}

/// The newest events.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Newest>);

#[derive(Debug, Default)]
struct Newest {
    events: VecDeque<(Shape, Bytes)>,
    bytes: usize,
}

impl Shared {
    /// The event, made by the first who asks for it.
    ///
    /// # Errors
    /// What `make` fails with.
    pub(crate) fn get<E>(&self, shape: Shape, make: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Bytes, E> {
        if let Some(known) = self.lock().find(&shape) {
            return Ok(known);
        }
        // Outside of the lock: two may do it at the same time, and both are right.
        let made = Bytes::from(make()?);
        self.lock().add(shape, made.clone());
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newest {
    fn find(&self, shape: &Shape) -> Option<Bytes> {
        let mut newest = self.events.iter().rev();
        newest.find(|(known, _)| known == shape).map(|(_, bytes)| bytes.clone())
    }

    fn add(&mut self, shape: Shape, event: Bytes) {
        self.bytes += event.len();
        self.events.push_back((shape, event));
        while self.events.len() > MOST_EVENTS || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.events.pop_front() else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }
}

/// Events on their way into one frame. A single one is sent as it is, without being copied.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    first: Option<Bytes>,
    rest: Vec<u8>,
}

impl Frame {
    /// Adds an event.
    pub(crate) fn push(&mut self, event: Bytes) {
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(event);
        } else {
            self.text().extend_from_slice(&event);
        }
    }

    /// Where further text is written.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        if let Some(first) = self.first.take() {
            self.rest.extend_from_slice(&first);
        }
        &mut self.rest
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.first.as_ref().map_or(self.rest.len(), Bytes::len)
    }

    /// The bytes to be sent.
    pub(crate) fn finish(self) -> Bytes {
        self.first.unwrap_or_else(|| Bytes::from(self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(revision: u64, kind: &'static str) -> Shape {
        Shape {
            revision: Revision(revision),
            key: Bytes::from_static(b"/registry/core/configmaps/t/a"),
            kind,
            stamp: Stamp(1),
            definition: None,
            api_version: "v1".to_owned(),
            form: Form::Object,
            include: Include::Metadata,
        }
    }

    #[test]
    fn an_event_is_made_once_for_each_form() {
        let shared = Shared::default();
        let text = |revision, kind, text: &str| {
            let made = shared.get(shape(revision, kind), || Ok::<_, ()>(text.as_bytes().to_vec()));
            String::from_utf8(made.expect("nothing fails").to_vec()).expect("text")
        };
        assert_eq!(text(1, "ADDED", "first"), "first");
        assert_eq!(text(1, "ADDED", "again"), "first");
        assert_eq!(text(1, "DELETED", "other"), "other");
        for revision in 2..=1000 {
            text(revision, "ADDED", "more");
        }
        assert_eq!(text(1, "ADDED", "forgotten"), "forgotten");
    }

    #[test]
    fn large_events_are_not_kept() {
        let shared = Shared::default();
        for revision in 0..10 {
            let large = || Ok::<_, ()>(vec![b'x'; MOST_BYTES / 2 + 1]);
            shared.get(shape(revision, "ADDED"), large).expect("nothing fails");
            assert!(shared.lock().bytes <= MOST_BYTES, "{revision}");
        }
    }

    #[test]
    fn one_event_is_sent_as_it_is_and_more_are_joined() {
        let mut frame = Frame::default();
        let event = Bytes::from_static(b"a\n");
        frame.push(event.clone());
        assert_eq!(frame.len(), 2);
        assert_eq!(
            Frame {
                first: Some(event.clone()),
                rest: Vec::new()
            }
            .finish()
            .as_ptr(),
            event.as_ptr()
        );
        frame.push(Bytes::from_static(b"b\n"));
        frame.text().extend_from_slice(b"c\n");
        assert_eq!((frame.len(), frame.finish().as_ref()), (6, &b"a\nb\nc\n"[..]));
    }
}
