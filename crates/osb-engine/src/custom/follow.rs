//! The objects of a path and what becomes of them, for as long as anybody listens.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;

use super::kind::Raw;
use crate::home::{Home, HomeError, List, WatchKind};

const PAGE: u32 = 500;

/// The pause after the home did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Empty for what is in none.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn of(raw: &Raw) -> Self {
        Self {
            namespace: raw.metadata.namespace.clone(),
            name: raw.metadata.name.clone(),
        }
    }
}

/// What is known of an object.
#[derive(Debug)]
pub(crate) enum Seen {
    There(Box<Raw>),
    Gone(Key),
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: WatchKind,
    object: Value,
}

struct Follower {
    home: Home,
    path: String,
    /// From where to watch; absent before the first list, and when it has become too old.
    version: Option<String>,
    known: BTreeSet<Key>,
    ready: VecDeque<Seen>,
    lines: Option<BoxStream<'static, Result<Line, HomeError>>>,
}

/// Everything at the path, then its changes. What is gone when it is listed again is told, too.
pub(crate) fn follow(home: Home, path: String) -> impl Stream<Item = Seen> + Send {
    let follower = Follower {
        home,
        path,
        version: None,
        known: BTreeSet::new(),
        ready: VecDeque::new(),
        lines: None,
    };
    futures::stream::unfold(follower, |mut follower| async move {
        loop {
            if let Some(seen) = follower.ready.pop_front() {
                return Some((seen, follower));
            }
            if let Err(error) = follower.look().await {
                follower.lines = None;
                if error == HomeError::Expired {
                    follower.version = None;
                } else {
                    tracing::debug!(%error, "a watch is begun again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    })
}

impl Follower {
    /// Lists, begins to watch, or waits for the next line.
    async fn look(&mut self) -> Result<(), HomeError> {
        let Some(version) = &self.version else {
            return self.list().await;
        };
        let lines = match &mut self.lines {
            Some(lines) => lines,
            None => self.lines.insert(
                self.home
                    .watch_at(&self.path, "application/json", version)
                    .await?
                    .map(|line| serde_json::from_str(&line?).map_err(|_| HomeError::Unknown))
                    .boxed(),
            ),
        };
        match lines.next().await {
            Some(line) => self.take(line?),
            None => Err(HomeError::Unknown),
        }
    }

    async fn list(&mut self) -> Result<(), HomeError> {
        let mut next: Option<String> = None;
        let mut found = Vec::new();
        let version = loop {
            let page: List<Raw> = self.home.list_at(&self.path, None, PAGE, next.as_deref()).await?;
            found.extend(page.items.unwrap_or_default());
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                break page.metadata.resource_version;
            }
        };
        let now: BTreeSet<Key> = found.iter().map(Key::of).collect();
        let gone = self.known.difference(&now).cloned().map(Seen::Gone);
        self.ready.extend(gone);
        self.ready
            .extend(found.into_iter().map(|raw| Seen::There(Box::new(raw))));
        self.known = now;
        self.version = Some(version);
        Ok(())
    }

    fn take(&mut self, line: Line) -> Result<(), HomeError> {
        if line.kind == WatchKind::Error {
            let expired = line.object["code"] == 410;
            return Err(if expired {
                HomeError::Expired
            } else {
                HomeError::Unknown
            });
        }
        let version = line.object["metadata"]["resourceVersion"].as_str();
        self.version = version.map(str::to_owned).or_else(|| self.version.take());
        if line.kind == WatchKind::Bookmark {
            return Ok(());
        }
        let raw: Raw = serde_json::from_value(line.object).map_err(|_| HomeError::Unknown)?;
        let key = Key::of(&raw);
        if line.kind == WatchKind::Deleted {
            self.known.remove(&key);
            self.ready.push_back(Seen::Gone(key));
        } else {
            self.known.insert(key);
            self.ready.push_back(Seen::There(Box::new(raw)));
        }
        Ok(())
    }
}
