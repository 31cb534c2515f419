//! The resource versions that this process wrote itself: their watch events carry no news.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// So many are remembered; an event that comes later than that many writes is looked at like a stranger's, which
/// costs a read and does no harm.
const REMEMBERED: usize = 100_000;

#[derive(Default)]
pub(crate) struct OwnWrites {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    versions: HashSet<u64>,
    order: VecDeque<u64>,
}

impl OwnWrites {
    pub(crate) fn add(&self, resource_version: &str) {
        let Ok(version) = resource_version.parse() else { return };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.versions.insert(version) {
            inner.order.push_back(version);
        }
        if inner.order.len() > REMEMBERED
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.versions.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, resource_version: &str) -> bool {
        let Ok(version) = resource_version.parse::<u64>() else {
            return false;
        };
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .versions
            .contains(&version)
    }
}
