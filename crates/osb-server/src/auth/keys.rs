//! The keys of an issuer, fetched again when they are old or when a token names one that is not known.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::jwt::KeySet;
use crate::config::ConfigError;

/// Gets the keys: a JSON Web Key Set, or why there is none. It bounds its own time and size.
pub type Fetch = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> + Send + Sync>;

/// When keys are fetched.
#[derive(Clone, Copy, Debug)]
pub struct Refresh {
    /// Not more often than that, whatever tokens name: nobody can make us hammer an issuer. Default 10 s.
    pub least: Duration,
    /// Keys that are older are fetched anew before they are used, so that one that the issuer has taken back stops
    /// working. Default 10 minutes.
    pub most: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            least: Duration::from_secs(10),
            most: Duration::from_secs(600),
        }
    }
}

/// The keys of one issuer.
pub struct IssuerKeys {
    source: Option<(Fetch, Refresh)>,
    state: Mutex<State>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys").finish_non_exhaustive()
    }
}

impl IssuerKeys {
    /// Keys that stay as they are.
    pub fn fixed(keys: KeySet) -> Self {
        let state = State {
            keys: Some(Arc::new(keys)),
            ..State::default()
        };
        Self {
            source: None,
            state: Mutex::new(state),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// Keys that are fetched when they are needed first, and again as `refresh` says.
    pub fn fetched(fetch: Fetch, refresh: Refresh) -> Self {
        Self {
            source: Some((fetch, refresh)),
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// The keys; `None` while there are none. When new ones cannot be had, the old ones stay.
    pub(crate) async fn current(&self) -> Option<Arc<KeySet>> {
        let state = self.state();
        let old = self
            .source
            .as_ref()
            .is_some_and(|(_, refresh)| state.fetched.is_none_or(|fetched| fetched.elapsed() >= refresh.most));
        if old { self.fetch(&state).await } else { state.keys }
    }

    /// The keys after a token has named one that is not among `known`.
    pub(crate) async fn newer(&self, known: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        let state = self.state();
        let keys = if state.keys.as_ref().is_some_and(|keys| Arc::ptr_eq(keys, known)) {
            self.fetch(&state).await
        } else {
            state.keys
        };
        keys.filter(|keys| !Arc::ptr_eq(keys, known))
    }

    /// Fetches, unless somebody else has since `seen`, or it is too soon.
    async fn fetch(&self, seen: &State) -> Option<Arc<KeySet>> {
        let Some((fetch, refresh)) = &self.source else {
            return seen.keys.clone();
        };
        let _turn = self.fetching.lock().await;
        let state = self.state();
        let too_soon = state.tried.is_some_and(|tried| tried.elapsed() < refresh.least);
        if state.tried != seen.tried || too_soon {
            return state.keys;
        }
        self.lock().tried = Some(Instant::now());
        let keys = fetch()
            .await
            .and_then(|json| KeySet::from_json(&json).ok_or_else(|| ConfigError::Keys.to_string()));
        match keys {
            Ok(keys) => {
                let mut state = self.lock();
                state.keys = Some(Arc::new(keys));
                state.fetched = Some(Instant::now());
            }
            Err(reason) => tracing::warn!(reason, "the keys of an issuer cannot be fetched"),
        }
        self.state().keys
    }

    fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// Keys whose source counts how often it was asked, and fails from the second time on if told so.
    fn counted(refresh: Refresh, fails_later: bool) -> (IssuerKeys, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let asked = count.clone();
        let fetch: Fetch = Box::new(move || {
            let failed = asked.fetch_add(1, Ordering::SeqCst) > 0 && fails_later;
            Box::pin(async move { if failed { Err("gone".into()) } else { Ok(KEYS.into()) } })
        });
        (IssuerKeys::fetched(fetch, refresh), count)
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_keys_are_looked_for_again_but_not_often() {
        let (keys, count) = counted(Refresh::default(), false);
        let first = keys.current().await.unwrap();
        for _ in 0..100 {
            assert!(keys.newer(&first).await.is_none());
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_secs(11)).await;
        let (a, b) = tokio::join!(keys.newer(&first), keys.newer(&first));
        assert!(a.is_some() && b.is_some());
        assert_eq!(
            count.load(Ordering::SeqCst),
            2,
            "whoever waits takes what the first one has fetched"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_are_fetched_anew_and_kept_when_that_fails() {
        let (keys, count) = counted(Refresh::default(), true);
        keys.current().await.unwrap();
        tokio::time::advance(Duration::from_secs(599)).await;
        keys.current().await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        for _ in 0..10 {
            assert!(keys.current().await.is_some());
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
