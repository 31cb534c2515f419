//! The journals: what the clients asked and were answered, what the backend was asked to do, and when the broker was
//! killed. One clock gives every event its place.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use torture::{ASYNC_PLAN, AUTO_PLAN, Begin, How};

/// Numbers that grow with each event of a run, and when each event was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    /// Events of an earlier run that this one goes on with.
    before: u64,
    /// Nanoseconds since 1970, on the clock of the machine.
    nanos: Vec<u64>,
}

impl Clock {
    /// A clock that goes on behind an event of an earlier run.
    pub(crate) fn behind(event: u64) -> Self {
        let times = Times {
            before: event + 1,
            nanos: Vec::new(),
        };
        Self(Arc::new(Mutex::new(times)))
    }

    /// The place of a new event.
    pub(crate) fn tick(&self) -> u64 {
        let mut times = self.lock();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        times.nanos.push(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        times.before + times.nanos.len() as u64 - 1
    }

    /// The place of the next event.
    pub(crate) fn now(&self) -> u64 {
        let times = self.lock();
        times.before + times.nanos.len() as u64
    }

    /// When an event was, in nanoseconds since 1970.
    pub(crate) fn nanos_of(&self, event: u64) -> u64 {
        let times = self.lock();
        let index = usize::try_from(event.saturating_sub(times.before)).unwrap_or(usize::MAX);
        times.nanos.get(index).copied().unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plan of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Plan {
    /// Answers with the outcome, when it comes in time.
    Auto,
    /// Answers with a 202.
    Async,
}

impl Plan {
    pub(crate) const ALL: [Self; 2] = [Self::Auto, Self::Async];

    /// As the catalog names it.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Auto => AUTO_PLAN,
            Self::Async => ASYNC_PLAN,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Auto => Self::Async,
            Self::Async => Self::Auto,
        }
    }
}

/// What a client asks for on a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) target: Target,
    pub(crate) verb: Asked,
    /// The plan that the request names; of an update the one that it asks for, or none.
    pub(crate) plan: Option<Plan>,
    /// `accepts_incomplete`.
    pub(crate) incomplete: bool,
}

/// The instance of a slot, or one of its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Target {
    Instance,
    Binding(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// With these of the attributes that the slot knows.
    Put(u8),
    /// A binding that takes the place of the slot's other one.
    Rotate,
    /// With these parameters, or none.
    Patch(Option<u8>),
    Delete,
    /// Of an operation, or of the newest.
    Poll(Option<String>),
    Fetch,
}

impl Asked {
    /// Whether it changes nothing.
    pub(crate) fn reads(&self) -> bool {
        matches!(self, Self::Poll(_) | Self::Fetch)
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The broker was not there: nothing was sent.
    NotSent,
    /// The connection ended first, or the client hung up: it may have been done, now or later.
    Cut,
    /// An answer.
    Got(Got),
}

/// An answer, as far as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) operation: Option<String>,
    /// Of a poll.
    pub(crate) state: Option<String>,
    /// The code of an error.
    pub(crate) error: Option<String>,
    /// What a 200 or 201 hands out: of a binding the credentials, else the whole body of the answer to a PUT.
    pub(crate) body: Option<String>,
    /// Of a fetched instance.
    pub(crate) plan: Option<Plan>,
}

/// A request of a client with its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Requests of one group were under way together; groups of a slot follow each other.
    pub(crate) group: u64,
    pub(crate) sent: u64,
    pub(crate) done: u64,
    pub(crate) ask: Ask,
    pub(crate) answer: Answer,
}

/// Who an id belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SlotId {
    pub(crate) platform: String,
    pub(crate) instance: String,
}

/// Everything that was asked for one instance id of one platform, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SlotJournal {
    pub(crate) id: SlotId,
    /// Whether one client at a time works on it, so that each answer can be judged.
    pub(crate) ordered: bool,
    pub(crate) entries: Vec<Entry>,
}

/// An event at the backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) call: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    Begin(Box<Begin>),
    /// A part, and its token.
    Step(String, String),
    /// A part, and its token.
    Make(String, String),
    Remove,
    End(How, Option<Value>),
    /// The connection ended before the call did.
    Gone,
}

/// The end of one process of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        if let Some(plan) = self.plan {
            write!(f, " plan={plan:?}")?;
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
            Asked::Rotate => write!(f, "PUT in the place of the other binding")?,
            Asked::Patch(None) => write!(f, "PATCH")?,
            Asked::Patch(Some(note)) => write!(f, "PATCH with attributes {note}")?,
            Asked::Fetch => write!(f, "GET")?,
            Asked::Delete => write!(f, "DELETE")?,
            Asked::Poll(None) => write!(f, "poll")?,
            Asked::Poll(Some(operation)) => write!(f, "poll of {operation}")?,
        }
        if let Target::Binding(number) = self.target {
            write!(f, " of binding {number}")?;
        }
        if let Some(plan) = self.plan.filter(|_| !self.verb.reads()) {
            write!(f, ", plan {plan:?}")?;
        }
        if !self.incomplete && !self.verb.reads() {
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
                )?;
                match &begin.wanted {
                    Some(wanted) => write!(f, ", to {} with {:?}", wanted.plan, wanted.note),
                    None => Ok(()),
                }
            }
            Self::Step(name, _) => write!(f, "makes {name} as a step"),
            Self::Make(name, _) => write!(f, "makes {name}"),
            Self::Remove => write!(f, "removes everything"),
            Self::End(how, Some(value)) => write!(f, "ends: {how:?} {value}"),
            Self::End(how, None) => write!(f, "ends: {how:?}"),
            Self::Gone => write!(f, "is gone without an end"),
        }
    }
}
