//! The journals: what the clients asked and were answered, what the backend was asked to do, and when the broker was
//! killed. One clock gives every event its place.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use torture::{Begin, How};

/// Numbers that grow with each event of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    /// The place of a new event.
    pub(crate) fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// The place of the next event.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a client asks for on a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) target: Target,
    pub(crate) verb: Asked,
    /// `accepts_incomplete`.
    pub(crate) incomplete: bool,
}

/// The instance of a slot, or one of its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    Instance,
    Binding(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// With these of the attributes that the slot knows.
    Put(u8),
    Delete,
    /// Of an operation, or of the newest.
    Poll(Option<String>),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The broker was not there: nothing was sent.
    NotSent,
    /// The connection ended first, or the client hung up: it may have been done, now or later.
    Cut,
    /// An answer.
    Got(Got),
}

/// An answer, as far as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) operation: Option<String>,
    /// Of a poll.
    pub(crate) state: Option<String>,
    /// The code of an error.
    pub(crate) error: Option<String>,
    /// The whole body of a 200 or 201.
    pub(crate) body: Option<String>,
}

/// A request of a client with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Requests of one group were under way together; groups of a slot follow each other.
    pub(crate) group: u64,
    pub(crate) sent: u64,
    pub(crate) done: u64,
    pub(crate) ask: Ask,
    pub(crate) answer: Answer,
}

/// Who an id belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SlotId {
    pub(crate) platform: String,
    pub(crate) instance: String,
}

/// Everything that was asked for one instance id of one platform, in order.
#[derive(Clone, Debug)]
pub(crate) struct SlotJournal {
    pub(crate) id: SlotId,
    pub(crate) plan_is_async: bool,
    /// Whether one client at a time works on it, so that each answer can be judged.
    pub(crate) ordered: bool,
    pub(crate) entries: Vec<Entry>,
}

/// An event at the backend.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) call: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Begin(Box<Begin>),
    Step(String),
    Make(String),
    Remove,
    End(How, Option<Value>),
    /// The connection ended before the call did.
    Gone,
}

/// The end of one process of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    /// After this nothing of the process is left.
    pub(crate) at: u64,
}

/// What is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) slot: Option<SlotId>,
    pub(crate) at: u64,
    pub(crate) text: String,
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for (name, value) in [
            ("error", &self.error),
            ("state", &self.state),
            ("operation", &self.operation),
        ] {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        match &self.body {
            Some(body) => write!(f, " {body}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verb {
            Asked::Put(attributes) => write!(f, "PUT with attributes {attributes}")?,
            Asked::Delete => write!(f, "DELETE")?,
            Asked::Poll(None) => write!(f, "poll")?,
            Asked::Poll(Some(operation)) => write!(f, "poll of {operation}")?,
        }
        if let Target::Binding(number) = self.target {
            write!(f, " of binding {number}")?;
        }
        if !self.incomplete && !matches!(self.verb, Asked::Poll(_)) {
            write!(f, ", not accepting a 202")?;
        }
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent => write!(f, "not sent: no broker"),
            Self::Cut => write!(f, "cut off"),
            Self::Got(got) => got.fmt(f),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(begin) => {
                write!(
                    f,
                    "{:?} begins, key {}, epoch {}, {}",
                    begin.verb, begin.key, begin.fence, begin.own_name
                )
            }
            Self::Step(name) => write!(f, "makes {name} as a step"),
            Self::Make(name) => write!(f, "makes {name}"),
            Self::Remove => write!(f, "removes everything"),
            Self::End(how, Some(value)) => write!(f, "ends: {how:?} {value}"),
            Self::End(how, None) => write!(f, "ends: {how:?}"),
            Self::Gone => write!(f, "is gone without an end"),
        }
    }
}
