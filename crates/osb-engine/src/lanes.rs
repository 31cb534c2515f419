//! Lanes: one for each instance that something is to be done for. All calls of the author for an instance and its
//! bindings go through its lane, one after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::resource::{Kind, Stored, Verb};

/// An instance, with its bindings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LaneKey {
    pub(crate) namespace: Box<str>,
    pub(crate) instance: Box<str>,
}

/// An object of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) name: Box<str>,
}

/// Something to look at.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Target,
    /// The object as it was just written; read anew when absent.
    pub(crate) stored: Option<Box<Stored>>,
    /// From 1 on.
    pub(crate) attempt: u32,
    /// Somebody deleted the object behind our back: what runs for it is to stop.
    pub(crate) deleted: bool,
}

impl Job {
    /// An operation that this process has just accepted.
    pub(crate) fn accepted(stored: Stored) -> Self {
        let target = Target { kind: stored.which(), name: stored.metadata.name.as_str().into() };
        Self { target, stored: Some(Box::new(stored)), attempt: 1, deleted: false }
    }

    /// An object that changed, or an operation that is to be tried again.
    pub(crate) fn look_at(target: Target, attempt: u32) -> Self {
        Self { target, stored: None, attempt, deleted: false }
    }

    /// Whether what runs in the lane has to stop for this job.
    fn supersedes(&self, running: &Target) -> bool {
        let removal = self.deleted
            || self.stored.as_ref().and_then(|stored| stored.running()).is_some_and(|running| running.verb.removes());
        removal && (self.target == *running || self.target.kind == Kind::Instance)
    }

    fn is_deprovision(&self) -> bool {
        self.stored
            .as_ref()
            .and_then(|stored| stored.running())
            .is_some_and(|running| running.verb == Verb::Deprovision)
    }
}

#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<LaneKey, Lane>>,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Job>,
    running: Option<(Target, CancellationToken)>,
}

impl Lanes {
    /// Adds a job; the answer says whether the caller has to start a worker for the lane.
    pub(crate) fn push(&self, key: &LaneKey, job: Job) -> bool {
        let mut lanes = self.lock();
        let new = !lanes.contains_key(key);
        let lane = lanes.entry(key.clone()).or_default();
        if let Some((target, cancelled)) = &lane.running
            && job.supersedes(target)
        {
            cancelled.cancel();
        }
        if let Some(queued) = lane.queue.iter_mut().find(|queued| queued.target == job.target) {
            // Newer news replaces older; a look without a snapshot reads anyway.
            *queued = job;
        } else if job.is_deprovision() {
            lane.queue.push_front(job);
        } else {
            lane.queue.push_back(job);
        }
        new
    }

    /// The next job of a lane with the token that cancels it; `None` closes the lane.
    pub(crate) fn next(&self, key: &LaneKey, parent: &CancellationToken) -> Option<(Job, CancellationToken)> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(key)?;
        match lane.queue.pop_front() {
            Some(job) => {
                let cancelled = parent.child_token();
                lane.running = Some((job.target.clone(), cancelled.clone()));
                Some((job, cancelled))
            }
            None => {
                lanes.remove(key);
                None
            }
        }
    }

    /// The number of instances that something is being done for.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneKey, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
