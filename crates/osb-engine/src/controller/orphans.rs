//! The look for what is in the backend and belongs to nothing any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::Inner;
use crate::home::{HomeError, Selection};
use crate::names;
use crate::resource::{Kind, Stored};
use crate::service::Error;

/// When after the start it is looked for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(5 * 60);

const INTERVAL: Duration = Duration::from_secs(60 * 60);

const PAGE: u32 = 500;

/// So many names stand in a log line.
const NAMED: usize = 20;

/// Something in the backend that belongs to no instance and no binding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Orphan {
    /// The id of the offering.
    pub offering: String,
    /// What the backend calls it.
    pub name: String,
}

/// Why it is not known what is left in the backend.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    /// The service did not say what is in its backend.
    #[error("{0}")]
    Backend(Error),
    /// The home did not say what is stored.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// Looks once an hour and reports.
pub(super) async fn look_for_orphans(inner: Arc<Inner>) {
    let mut pause = FIRST_LOOK;
    loop {
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = INTERVAL,
        }
        if !inner.shards.leads() {
            continue;
        }
        if let Err(error) = inner.look_for_orphans().await {
            tracing::warn!(%error, "it cannot be told what is left in the backend");
        }
    }
}

impl Inner {
    /// Looks now, and reports.
    pub(crate) async fn look_for_orphans(&self) -> Result<Vec<Orphan>, OrphanError> {
        let found = self.orphans().await?;
        self.report(&found);
        Ok(found)
    }

    fn report(&self, found: &[Orphan]) {
        let mut by_offering: HashMap<&str, Vec<&str>> = HashMap::new();
        for orphan in found {
            by_offering.entry(&orphan.offering).or_default().push(&orphan.name);
        }
        for (offering, _) in self.services().registered() {
            let names = by_offering.remove(offering).unwrap_or_default();
            self.metrics.orphans(offering, names.len());
            if let Some(some) = names.get(..names.len().min(NAMED)).filter(|some| !some.is_empty()) {
                tracing::warn!(
                    offering,
                    count = names.len(),
                    ?some,
                    "in the backend is what belongs to nothing"
                );
            }
        }
    }

    /// What is made or removed meanwhile is never taken for an orphan: it counts only what the backend lists
    /// before and after the look at what is stored.
    async fn orphans(&self) -> Result<Vec<Orphan>, OrphanError> {
        let mut candidates = self.listed().await?;
        if !candidates.is_empty() {
            self.strike_out_known(&mut candidates).await?;
        }
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let still: HashSet<Orphan> = self.listed().await?.into_values().flatten().collect();
        let mut found: Vec<Orphan> = candidates
            .into_values()
            .flatten()
            .filter(|orphan| still.contains(orphan))
            .collect();
        found.sort();
        Ok(found)
    }

    /// What the backends list, by the incarnation in the name. Names that we did not make are left out.
    async fn listed(&self) -> Result<HashMap<String, Vec<Orphan>>, OrphanError> {
        let mut listed: HashMap<String, Vec<Orphan>> = HashMap::new();
        for (offering, registration) in self.services().registered() {
            let names = registration
                .service
                .list_backend()
                .await
                .map_err(OrphanError::Backend)?;
            for name in names.into_iter().flatten() {
                if let Some(incarnation) = names::incarnation_of(&name) {
                    let offering = offering.to_owned();
                    listed
                        .entry(incarnation.to_owned())
                        .or_default()
                        .push(Orphan { offering, name });
                }
            }
        }
        Ok(listed)
    }

    async fn strike_out_known(&self, candidates: &mut HashMap<String, Vec<Orphan>>) -> Result<(), HomeError> {
        for kind in [Kind::Instance, Kind::Binding] {
            let mut next: Option<String> = None;
            loop {
                let selection = Selection {
                    limit: Some(PAGE),
                    next: next.as_deref(),
                    ..Selection::default()
                };
                let page = match self.home.list::<Stored>(kind, selection).await {
                    Err(HomeError::Expired) => {
                        next = None;
                        continue;
                    }
                    page => page?,
                };
                for stored in page.items.unwrap_or_default() {
                    candidates.remove(&stored.spec.incarnation);
                }
                next = page.metadata.next.filter(|next| !next.is_empty());
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}
