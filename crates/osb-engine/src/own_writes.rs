//! The resource versions that this process wrote itself: their watch events carry no news.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// So many are remembered; an event that comes later than that many writes is looked at like a stranger's, which
/// costs a read and does no harm.
const REMEMBERED: usize = 100_000;

#[derive(Default)]
pub(crate) struct OwnWrites {
    versions: Mutex<BTreeSet<u64>>,
}

impl OwnWrites {
    pub(crate) fn add(&self, resource_version: &str) {
        let Ok(version) = resource_version.parse() else { return };
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(version);
        if versions.len() > REMEMBERED {
            // Versions grow: the smallest is the oldest.
            versions.pop_first();
        }
    }

    /// Whether an event is of our own making. Each write has one event, so it is forgotten then.
    pub(crate) fn take(&self, resource_version: &str) -> bool {
        let Ok(version) = resource_version.parse::<u64>() else {
            return false;
        };
        self.versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_write_is_known_once_and_a_strangers_never() {
        let own = OwnWrites::default();
        own.add("7");
        assert!(own.take("7"));
        assert!(!own.take("7") && !own.take("8") && !own.take("no number"));
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let own = OwnWrites::default();
        for version in 0..=REMEMBERED {
            own.add(&version.to_string());
        }
        assert!(!own.take("0") && own.take("1") && own.take(&REMEMBERED.to_string()));
    }
}
