//! What time it is.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The clock of an engine: of what it stores and of its deadlines. Pauses always follow tokio's clock.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// Tokio's: it stands still and jumps as that does (`#[tokio::test(start_paused = true)]`), so that a test sees days
    /// pass in milliseconds.
    Virtual {
        /// The time at `since`.
        start: Timestamp,
        /// From then on it runs.
        since: Instant,
    },
}

impl Clock {
    /// A virtual clock that shows the system's time now.
    pub fn virtual_from_now() -> Self {
        Self::Virtual {
            start: Timestamp::now(),
            since: Instant::now(),
        }
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Virtual { start, since } => {
                let passed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
                start.checked_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}
