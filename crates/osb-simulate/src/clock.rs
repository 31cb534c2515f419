//! The time of a platform.

use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

/// The time in which a platform lives: its pauses, its limits and the times in its story.
pub trait Clock: Send + Sync {
    /// The time since the clock was made. Never goes back.
    fn now(&self) -> Duration;

    /// Lets this much time go by, while the broker works.
    fn sleep(&self, pause: Duration) -> impl Future<Output = ()> + Send;

    /// Lets this much time go by while there is nothing that the broker could do.
    fn skip(&self, pause: Duration) -> impl Future<Output = ()> + Send {
        self.sleep(pause)
    }

    /// Whether hours go by in no time, so that scenarios that last for days can be played.
    fn is_virtual(&self) -> bool;
}

/// A [`Clock`] behind a pointer.
pub(crate) trait AnyClock: Send + Sync {
    fn time(&self) -> Duration;
    fn pause(&self, pause: Duration) -> BoxFuture<'_, ()>;
    fn jump(&self, pause: Duration) -> BoxFuture<'_, ()>;
    fn jumps(&self) -> bool;
}

impl<C: Clock> AnyClock for C {
    fn time(&self) -> Duration {
        self.now()
    }

    fn pause(&self, pause: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.sleep(pause))
    }

    fn jump(&self, pause: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.skip(pause))
    }

    fn jumps(&self) -> bool {
        self.is_virtual()
    }
}

/// The real time, as slow as the platforms are: Cloud Foundry polls once a minute.
///
/// It is tokio's. In a test with a paused runtime, in which the broker runs, too, it jumps together with the broker's
/// own timers.
#[derive(Clone, Copy, Debug)]
pub struct RealClock {
    started: Instant,
}

impl RealClock {
    /// Starts at zero.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    fn is_virtual(&self) -> bool {
        false
    }
}

/// A clock whose pauses jump and are summed up: 34 hours of a platform's retries take a moment.
///
/// A broker that works in real time needs some of it: a pause of the platform takes at most the clock's *pace*. So an
/// operation that takes a second outlasts fifty pauses of any length at the default pace of 20 ms. The platform's limits
/// on polling count only after [`Options::settle`](crate::Options::settle) of real time, unless the broker is away.
#[derive(Debug)]
pub struct VirtualClock {
    started: Instant,
    pace: Duration,
    /// How far the clock is ahead of the real time.
    ahead: Mutex<Duration>,
}

impl VirtualClock {
    /// Starts at zero; a pause takes at most 20 ms.
    pub fn new() -> Self {
        Self::paced(Duration::from_millis(20))
    }

    /// Starts at zero; a pause takes at most so long.
    pub fn paced(pace: Duration) -> Self {
        Self {
            started: Instant::now(),
            pace,
            ahead: Mutex::new(Duration::ZERO),
        }
    }

    fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Goes on to a time, unless it is over. Two that sleep at the same time do not add up.
    fn reach(&self, time: Duration) {
        let missing = time.saturating_sub(self.started.elapsed());
        let mut ahead = self.ahead.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *ahead = missing.max(*ahead);
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.started.elapsed() + self.ahead()
    }

    async fn sleep(&self, pause: Duration) {
        let end = self.now() + pause;
        tokio::time::sleep(pause.min(self.pace)).await;
        self.reach(end);
    }

    async fn skip(&self, pause: Duration) {
        self.reach(self.now() + pause);
        tokio::task::yield_now().await;
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn virtual_pauses_are_summed_up() {
        let clock = VirtualClock::paced(Duration::ZERO);
        let real = std::time::Instant::now();
        for _ in 0..34 {
            clock.sleep(HOUR).await;
        }
        clock.skip(HOUR).await;
        assert!(clock.now() >= 35 * HOUR);
        assert!(clock.now() < 35 * HOUR + real.elapsed() + HOUR);
    }

    #[tokio::test]
    async fn pauses_at_the_same_time_do_not_add_up() {
        let clock = VirtualClock::paced(Duration::from_millis(1));
        tokio::join!(clock.sleep(HOUR), clock.sleep(HOUR), clock.sleep(HOUR / 2));
        assert!((HOUR..2 * HOUR).contains(&clock.now()), "{:?}", clock.now());
    }
}
