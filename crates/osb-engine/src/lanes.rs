//! Lanes: one for each instance that something is to be done for. All calls of the author for an instance and its
//! bindings go through its lane, one after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::objects::Known;
use crate::resource::{Kind, Stored, Verb};

/// An instance, with its bindings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LaneKey {
    pub(crate) namespace: Box<str>,
    pub(crate) instance: Box<str>,
}

/// An object of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) name: Box<str>,
}

/// An operation that a request of this process has just accepted, with what the request knew.
pub(crate) struct Accepted {
    /// The object as it was written.
    pub(crate) stored: Stored,
    /// What is sealed in it, if the request had it at hand.
    pub(crate) known: Option<Known>,
    /// For a bind: its instance, as it was read under the same ticket.
    pub(crate) instance: Option<Stored>,
}

impl From<Stored> for Box<Accepted> {
    fn from(stored: Stored) -> Self {
        Box::new(Accepted {
            stored,
            known: None,
            instance: None,
        })
    }
}

/// Something to look at.
pub(crate) struct Job {
    pub(crate) target: Target,
    /// The operation as it was just accepted; read anew when absent.
    pub(crate) accepted: Option<Box<Accepted>>,
    /// From 1 on.
    pub(crate) attempt: u32,
    /// Of the request that began it: its log lines and those of the author's function belong together.
    pub(crate) span: Span,
    /// Somebody deleted the object behind our back: what runs for it is to stop.
    pub(crate) deleted: bool,
    /// What had been done in the lane before `accepted` was written.
    seen: Option<Seen>,
}

/// How many jobs had begun or ended for the instance of a lane, and for one of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    instance: u64,
    target: u64,
}

impl Job {
    /// An operation that this process has just accepted.
    pub(crate) fn accepted(accepted: impl Into<Box<Accepted>>) -> Self {
        let accepted = accepted.into();
        let target = Target {
            kind: accepted.stored.which(),
            name: accepted.stored.metadata.name.as_str().into(),
        };
        Self {
            target,
            accepted: Some(accepted),
            attempt: 1,
            span: Span::current(),
            deleted: false,
            seen: None,
        }
    }

    /// An object that changed, or an operation that is to be tried again.
    pub(crate) fn look_at(target: Target, attempt: u32) -> Self {
        Self {
            target,
            accepted: None,
            attempt,
            span: Span::current(),
            deleted: false,
            seen: None,
        }
    }

    /// As [`look_at`](Self::look_at), for an object whose deletion somebody else has requested.
    pub(crate) fn look_at_deleted(target: Target) -> Self {
        Self {
            deleted: true,
            ..Self::look_at(target, 1)
        }
    }

    /// As [`accepted`](Self::accepted), with the ticket that was taken before the write: when something has been done
    /// for the object since, what was written is not what stands there, and the object is read anew.
    pub(crate) fn accepted_under(ticket: &Ticket, accepted: impl Into<Box<Accepted>>) -> Self {
        Self {
            seen: Some(ticket.seen),
            ..Self::accepted(accepted)
        }
    }

    /// This job, after another one for the same object that has not begun.
    fn after(self, queued: Job) -> Job {
        let known = |job: &Job| {
            let stored = &job.accepted.as_ref()?.stored;
            Some((stored.spec.incarnation.clone(), stored.record.as_ref()?.counter))
        };
        let deleted = self.deleted || queued.deleted;
        match (known(&queued), known(&self)) {
            // A request may tell of its write after a later one has told.
            (Some((older, before)), Some((newer, now))) if older == newer && before > now => Job { deleted, ..queued },
            (Some((older, _)), Some((newer, _))) if older != newer => Job {
                accepted: None,
                deleted,
                ..self
            },
            _ => Job { deleted, ..self },
        }
    }

    /// Whether what runs in the lane has to stop for this job.
    fn supersedes(&self, running: &Target) -> bool {
        let removal = self.deleted || self.verb().is_some_and(Verb::removes);
        removal && (self.target == *running || self.target.kind == Kind::Instance)
    }

    fn is_deprovision(&self) -> bool {
        self.verb() == Some(Verb::Deprovision)
    }

    /// What the operation does that was accepted.
    fn verb(&self) -> Option<Verb> {
        Some(self.accepted.as_ref()?.stored.running()?.verb)
    }
}

#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<LaneKey, Lane>>,
    /// The number of lanes that are worked on.
    working: AtomicUsize,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Job>,
    running: Option<(Target, CancellationToken)>,
    /// Whether somebody works on the lane, or is about to.
    working: bool,
    /// So many are about to write an object of the lane.
    tickets: usize,
    /// How many jobs have begun or ended, by object: one that runs may read what is written meanwhile, so its end counts.
    turns: HashMap<Target, u64>,
}

/// Keeps a lane open while a write is under way, so that it is known what has been done there meanwhile.
pub(crate) struct Ticket {
    lanes: Arc<Lanes>,
    key: LaneKey,
    seen: Seen,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get_mut(&self.key) {
            lane.tickets -= 1;
            if lane.is_done() {
                lanes.remove(&self.key);
            }
        }
    }
}

impl Lane {
    fn is_done(&self) -> bool {
        !self.working && self.tickets == 0
    }

    fn seen(&self, key: &LaneKey, target: &Target) -> Seen {
        let turns = |target: &Target| self.turns.get(target).copied().unwrap_or_default();
        Seen {
            instance: turns(&Target {
                kind: Kind::Instance,
                name: key.instance.clone(),
            }),
            target: turns(target),
        }
    }
}

impl Lanes {
    /// To be taken before an object is written whose content is then told with [`Job::accepted_under`].
    pub(crate) fn ticket(self: &Arc<Self>, key: &LaneKey, target: &Target) -> Ticket {
        let mut lanes = self.lock();
        let lane = lanes.entry(key.clone()).or_default();
        lane.tickets += 1;
        Ticket {
            lanes: self.clone(),
            key: key.clone(),
            seen: lane.seen(key, target),
        }
    }

    /// Adds a job; the answer says whether the caller has to start a worker for the lane.
    pub(crate) fn push(&self, key: &LaneKey, job: Job) -> bool {
        let mut lanes = self.lock();
        let lane = lanes.entry(key.clone()).or_default();
        if let Some((target, cancelled)) = &lane.running
            && job.supersedes(target)
        {
            cancelled.cancel();
        }
        if let Some(place) = lane.queue.iter().position(|queued| queued.target == job.target) {
            if let Some(queued) = lane.queue.remove(place) {
                lane.queue.insert(place, job.after(queued));
            }
        } else if job.is_deprovision() {
            lane.queue.push_front(job);
        } else {
            lane.queue.push_back(job);
        }
        let new = !std::mem::replace(&mut lane.working, true);
        self.working.fetch_add(usize::from(new), Ordering::AcqRel);
        new
    }

    /// The next job of a lane with the token that cancels it; `None` ends the work on the lane.
    pub(crate) fn next(&self, key: &LaneKey, parent: &CancellationToken) -> Option<(Job, CancellationToken)> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(key)?;
        if let Some((ended, _)) = lane.running.take() {
            *lane.turns.entry(ended).or_default() += 1;
        }
        let Some(mut job) = lane.queue.pop_front() else {
            lane.working = false;
            self.working.fetch_sub(1, Ordering::AcqRel);
            if lane.is_done() {
                lanes.remove(key);
            }
            return None;
        };
        if job.seen.is_some_and(|seen| seen != lane.seen(key, &job.target)) {
            job.accepted = None;
        }
        *lane.turns.entry(job.target.clone()).or_default() += 1;
        let cancelled = parent.child_token();
        lane.running = Some((job.target.clone(), cancelled.clone()));
        Some((job, cancelled))
    }

    /// Whether something is done, or is about to be written, for an instance.
    pub(crate) fn has(&self, key: &LaneKey) -> bool {
        self.lock().contains_key(key)
    }

    /// Whether something runs for an instance.
    pub(crate) fn runs(&self, key: &LaneKey) -> bool {
        self.lock().get(key).is_some_and(|lane| lane.running.is_some())
    }

    /// The number of instances that something is being done for.
    pub(crate) fn len(&self) -> usize {
        self.working.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneKey, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};

    use super::*;
    use crate::resource::{Meta, Record, Running, Spec};

    fn key() -> LaneKey {
        LaneKey {
            namespace: "n".into(),
            instance: "a".into(),
        }
    }

    /// The instance `a`, or a binding on it, with a running operation.
    fn stored(binding: Option<&str>, verb: Verb) -> Stored {
        let running = Running {
            id: Record::operation_id("i", 1),
            verb,
            accepted_at: None,
            progress: None,
            plan_id: None,
            digest: None,
            request: None,
            bound: None,
            trace: None,
        };
        Stored {
            api_version: String::new(),
            kind: String::new(),
            metadata: Meta {
                name: binding.unwrap_or("a").to_owned(),
                namespace: "n".to_owned(),
                ..Meta::default()
            },
            spec: Spec {
                instance_id: InstanceId::new("a").expect("a valid id"),
                binding_id: binding.map(|id| BindingId::new(id).expect("a valid id")),
                incarnation: "i".to_owned(),
                instance_incarnation: None,
                service_id: OfferingId::new("s").expect("a valid id"),
                plan_id: PlanId::new("p").expect("a valid id"),
                digest: None,
                maintenance: None,
                context: None,
                parameters: None,
            },
            record: Some(Record {
                operation: Some(running),
                ..Record::default()
            }),
            status: None,
            ext: None,
        }
    }

    fn accepted(binding: Option<&str>, verb: Verb) -> Job {
        Job::accepted(stored(binding, verb))
    }

    fn look(binding: Option<&str>, attempt: u32) -> Job {
        let kind = if binding.is_some() {
            Kind::Binding
        } else {
            Kind::Instance
        };
        Job::look_at(
            Target {
                kind,
                name: binding.unwrap_or("a").into(),
            },
            attempt,
        )
    }

    /// The names of the jobs in the order in which they are given out, until the lane closes.
    fn drained(lanes: &Lanes) -> Vec<String> {
        let parent = CancellationToken::new();
        std::iter::from_fn(|| lanes.next(&key(), &parent))
            .map(|(job, _)| job.target.name.to_string())
            .collect()
    }

    #[test]
    fn the_first_job_opens_a_lane_and_the_last_one_closes_it() {
        let lanes = Lanes::default();
        let parent = CancellationToken::new();
        assert!(lanes.push(&key(), accepted(None, Verb::Provision)));
        assert!(!lanes.push(&key(), accepted(Some("b"), Verb::Bind)));
        let (job, _) = lanes.next(&key(), &parent).expect("a job");
        assert_eq!(&*job.target.name, "a");
        // A job that comes while the last one runs keeps the lane open.
        assert!(!lanes.push(&key(), look(Some("c"), 1)));
        assert_eq!(lanes.len(), 1);
        assert_eq!(drained(&lanes), ["b", "c"]);
        assert_eq!(lanes.len(), 0);
        assert!(lanes.next(&key(), &parent).is_none());
        assert!(lanes.push(&key(), look(None, 1)));
    }

    #[test]
    fn lanes_of_other_instances_and_namespaces_are_others() {
        let lanes = Lanes::default();
        let elsewhere = LaneKey {
            namespace: "m".into(),
            ..key()
        };
        let other = LaneKey {
            instance: "b".into(),
            ..key()
        };
        for key in [&key(), &elsewhere, &other] {
            assert!(lanes.push(key, look(None, 1)));
        }
        assert_eq!(lanes.len(), 3);
    }

    #[test]
    fn newer_news_of_an_object_takes_the_place_of_older() {
        let lanes = Lanes::default();
        lanes.push(&key(), look(Some("b"), 3));
        lanes.push(&key(), look(None, 1));
        lanes.push(&key(), accepted(Some("b"), Verb::Unbind));
        let (job, _) = lanes.next(&key(), &CancellationToken::new()).expect("a job");
        assert_eq!((&*job.target.name, job.attempt, job.accepted.is_some()), ("b", 1, true));
        assert_eq!(drained(&lanes), ["a"]);
    }

    /// A request may tell of its write after another one has written and told.
    #[test]
    fn an_older_operation_does_not_take_the_place_of_a_newer_one() {
        let lanes = Lanes::default();
        let numbered = |verb, counter| {
            let mut stored = stored(None, verb);
            stored.record.as_mut().expect("a record").counter = counter;
            Job::accepted(stored)
        };
        lanes.push(&key(), numbered(Verb::Deprovision, 2));
        lanes.push(&key(), numbered(Verb::Provision, 1));
        let (job, _) = lanes.next(&key(), &CancellationToken::new()).expect("a job");
        let verb = job.verb();
        assert!(matches!(verb, None | Some(Verb::Deprovision)), "{verb:?}");
        assert!(drained(&lanes).is_empty());
    }

    #[test]
    fn a_binding_is_not_an_instance_of_its_name() {
        let lanes = Lanes::default();
        lanes.push(&key(), look(None, 1));
        lanes.push(&key(), look(Some("a"), 1));
        assert_eq!(drained(&lanes), ["a", "a"]);
    }

    #[test]
    fn a_deprovision_goes_before_the_binds_that_wait() {
        let lanes = Lanes::default();
        lanes.push(&key(), accepted(Some("b"), Verb::Bind));
        lanes.push(&key(), accepted(Some("c"), Verb::Unbind));
        lanes.push(&key(), accepted(None, Verb::Deprovision));
        assert_eq!(drained(&lanes), ["a", "b", "c"]);
    }

    /// OSB-DEP-08, OSB-UNB-08
    #[test]
    fn a_removal_cancels_what_runs_for_the_same_object_and_a_deprovision_what_runs_for_its_bindings() {
        let runs = [(None, Verb::Provision), (Some("b"), Verb::Bind)];
        let comes = [
            ("provision", None, Verb::Provision),
            ("deprovision", None, Verb::Deprovision),
            ("unbind b", Some("b"), Verb::Unbind),
            ("unbind c", Some("c"), Verb::Unbind),
            ("bind c", Some("c"), Verb::Bind),
        ];
        let mut told = Vec::new();
        for (name, binding, verb) in comes {
            let cancelled = runs.map(|(running, made)| cancels(accepted(running, made), accepted(binding, verb)));
            told.push(format!("{name}: {cancelled:?}"));
        }
        let expected = [
            "provision: [false, false]",
            "deprovision: [true, true]",
            "unbind b: [false, true]",
            "unbind c: [false, false]",
            "bind c: [false, false]",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_deletion_behind_our_back_cancels_like_a_removal_and_a_mere_look_does_not() {
        let deleted = |binding| Job {
            deleted: true,
            ..look(binding, 1)
        };
        assert!(cancels(accepted(None, Verb::Provision), deleted(None)));
        assert!(cancels(accepted(Some("b"), Verb::Bind), deleted(None)));
        assert!(cancels(accepted(Some("b"), Verb::Bind), deleted(Some("b"))));
        assert!(!cancels(accepted(Some("b"), Verb::Bind), deleted(Some("c"))));
        assert!(!cancels(accepted(None, Verb::Provision), look(None, 1)));
    }

    #[test]
    fn the_end_of_the_process_cancels_what_runs() {
        let lanes = Lanes::default();
        let stopping = CancellationToken::new();
        lanes.push(&key(), accepted(None, Verb::Provision));
        let (_, cancelled) = lanes.next(&key(), &stopping).expect("a job");
        stopping.cancel();
        assert!(cancelled.is_cancelled());
    }

    fn trusted(job: &Job) -> bool {
        job.accepted.is_some()
    }

    #[test]
    fn what_a_request_wrote_is_trusted_while_nothing_was_done_for_the_object() {
        let (lanes, parent) = (Arc::new(Lanes::default()), CancellationToken::new());
        let target = Target {
            kind: Kind::Instance,
            name: "a".into(),
        };
        let ticket = lanes.ticket(&key(), &target);
        lanes.push(&key(), look(Some("b"), 1));
        lanes.next(&key(), &parent).expect("a job for a binding");
        lanes.push(&key(), Job::accepted_under(&ticket, stored(None, Verb::Provision)));
        assert!(trusted(&lanes.next(&key(), &parent).expect("a job").0));
    }

    #[test]
    fn what_a_request_wrote_is_read_anew_after_a_job_that_began_or_ended_meanwhile() {
        let (lanes, parent) = (Arc::new(Lanes::default()), CancellationToken::new());
        let target = Target {
            kind: Kind::Instance,
            name: "a".into(),
        };
        let early = lanes.ticket(&key(), &target);
        lanes.push(&key(), look(None, 1));
        lanes.next(&key(), &parent).expect("a job");
        // That job runs now, and may read what is written under this ticket.
        let during = lanes.ticket(&key(), &target);
        for ticket in [&early, &during] {
            lanes.push(&key(), Job::accepted_under(ticket, stored(None, Verb::Provision)));
            assert!(!trusted(&lanes.next(&key(), &parent).expect("a job").0));
        }
    }

    #[test]
    fn a_ticket_keeps_its_lane_open_and_its_end_closes_it() {
        let (lanes, parent) = (Arc::new(Lanes::default()), CancellationToken::new());
        let ticket = lanes.ticket(
            &key(),
            &Target {
                kind: Kind::Instance,
                name: "a".into(),
            },
        );
        lanes.push(&key(), look(None, 1));
        while lanes.next(&key(), &parent).is_some() {}
        assert_eq!((lanes.len(), lanes.lock().len()), (0, 1));
        drop(ticket);
        assert_eq!(lanes.lock().len(), 0);
    }

    /// Whether a job cancels the one that runs.
    fn cancels(runs: Job, comes: Job) -> bool {
        let lanes = Lanes::default();
        lanes.push(&key(), runs);
        let (_, cancelled) = lanes.next(&key(), &CancellationToken::new()).expect("a job");
        lanes.push(&key(), comes);
        cancelled.is_cancelled()
    }
}
