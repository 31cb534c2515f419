//! How much history is kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Revision;

/// How much history an engine keeps by itself. Whichever limit is reached first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// A revision can be read and watched from at least this long after it stopped being the newest one.
    pub age: Duration,
    /// About how many bytes of keys and values (new and previous ones) the kept history may take up.
    pub bytes: u64,
}

/// Into how many steps the window is divided; it is passed by at most one step.
const STEPS: u32 = 64;

#[derive(Clone, Copy, Debug)]
struct Step {
    /// When the last transaction of the step was committed.
    at: Instant,
    revision: Revision,
    /// All bytes of history ever recorded, up to and with this step.
    total: u64,
}

/// Remembers when which revision was committed, coarsely.
#[derive(Debug)]
pub(crate) struct Clock {
    window: Window,
    steps: VecDeque<Step>,
    started: Instant,
    total: u64,
}

impl Clock {
    /// Starts at a revision that counts as committed now.
    pub(crate) fn new(window: Window, now: Instant, revision: Revision) -> Self {
        Self {
            window,
            steps: VecDeque::from([Step {
                at: now,
                revision,
                total: 0,
            }]),
            started: now,
            total: 0,
        }
    }

    /// Notes that everything up to `revision`, of so many bytes, was committed.
    pub(crate) fn record(&mut self, now: Instant, revision: Revision, bytes: u64) {
        self.total += bytes;
        let step = Step {
            at: now,
            revision,
            total: self.total,
        };
        match self.steps.back_mut() {
            Some(last)
                if now.duration_since(self.started) < self.window.age / STEPS
                    && self.total - last.total < self.window.bytes / u64::from(STEPS) =>
            {
                last.at = now;
                last.revision = revision;
            }
            _ => {
                self.started = now;
                self.steps.push_back(step);
            }
        }
    }

    /// The oldest revision to keep, when it has changed.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Revision> {
        let mut oldest = None;
        while let Some(step) = self.steps.front() {
            let aged = now.duration_since(step.at) >= self.window.age;
            let heavy = self.total - step.total > self.window.bytes;
            // The last step is the newest revision, which is always readable.
            if !(aged || heavy) {
                break;
            }
            oldest = Some(step.revision);
            self.steps.pop_front();
        }
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window {
            age: Duration::from_secs(64),
            bytes: 6400,
        }
    }

    #[test]
    fn a_revision_is_kept_for_the_age_of_the_window() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock::new(window(), start, Revision(0));
        for second in 1..=200 {
            clock.record(at(second), Revision(second), 1);
        }
        assert_eq!(clock.expire(at(200)), Some(Revision(136)));
        assert_eq!(clock.expire(at(200)), None);
        assert_eq!(clock.expire(at(263)), Some(Revision(199)));
        assert_eq!(clock.expire(at(1000)), Some(Revision(200)));
        assert_eq!(clock.expire(at(2000)), None);
    }

    #[test]
    fn many_bytes_shorten_the_window() {
        let start = Instant::now();
        let mut clock = Clock::new(window(), start, Revision(0));
        for revision in 1..=1000 {
            clock.record(start, Revision(revision), 100);
        }
        let oldest = clock.expire(start).expect("over the limit");
        assert!((Revision(930)..=Revision(940)).contains(&oldest), "{oldest:?}");
    }

    #[test]
    fn a_busy_store_remembers_a_bounded_number_of_steps() {
        let start = Instant::now();
        let mut clock = Clock::new(window(), start, Revision(0));
        for millis in 1..=64_000 {
            clock.record(start + Duration::from_millis(millis), Revision(millis), 0);
        }
        assert!(clock.steps.len() <= 66, "{}", clock.steps.len());
    }
}
