//! The end of an object: Tombstone, DELETE, finalizer. Each step may be repeated, by anybody, after any crash.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::Inner;
use crate::home::HomeError;
use crate::objects::{self, Order};
use crate::resource::{FINALIZER, Kind, Meta, Outcome, Stored, Tombstone};

/// How often an object that others change at the same time is looked at again.
const TRIES: usize = 20;

/// Why a removal could not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The object is gone or is another one now.
    #[error("changed by somebody else")]
    Changed,
    #[error(transparent)]
    Home(HomeError),
    #[error("the value cannot be sealed")]
    Seal,
}

impl Inner {
    /// Writes a further operation onto an object, if nobody has changed it meanwhile. The answer is the object as it
    /// stands then.
    pub(crate) async fn accept(self: &Arc<Self>, stored: &Stored, order: Order<'_>) -> Result<Stored, AcceptError> {
        let now = self.now();
        let (mut next, patch) =
            objects::with_operation(&self.keys, stored, order, now).map_err(|_| AcceptError::Seal)?;
        match self.home.patch(stored.which(), &stored.metadata, &patch).await {
            Ok(meta) => {
                self.own.add(&meta.resource_version);
                next.metadata = meta;
            }
            Err(HomeError::Conflict | HomeError::NotFound) => return Err(AcceptError::Changed),
            Err(HomeError::Unknown) => next.metadata = self.written_after_all(stored, &next).await?,
            Err(error) => return Err(AcceptError::Home(error)),
        }
        if let Some(superseded) = stored.running() {
            self.count_ended(stored, superseded, Outcome::Superseded);
            self.waiters
                .settle(&superseded.id, &crate::waiters::Settled::Superseded);
        }
        Ok(next)
    }

    /// Whether a write whose answer was lost has been done.
    async fn written_after_all(&self, before: &Stored, wanted: &Stored) -> Result<Meta, AcceptError> {
        let meta = &before.metadata;
        let found: Option<Stored> = self
            .home
            .get(before.which(), &meta.namespace, &meta.name)
            .await
            .map_err(AcceptError::Home)?;
        match found {
            Some(found) if found.running().map(|op| &op.id) == wanted.running().map(|op| &op.id) => Ok(found.metadata),
            Some(found) if found.metadata.resource_version == meta.resource_version => {
                Err(AcceptError::Home(HomeError::Unknown))
            }
            _ => Err(AcceptError::Changed),
        }
    }

    /// Brings the removal of an object to its end: Tombstone first, so that the outcome is known whatever happens
    /// then. `after_tombstone` is called once the outcome is durable.
    pub(crate) async fn finish_removal(
        &self,
        stored: &Stored,
        after_tombstone: impl FnOnce(),
    ) -> Result<(), HomeError> {
        self.bury(stored).await?;
        after_tombstone();
        self.let_go(stored).await
    }

    async fn bury(&self, stored: &Stored) -> Result<(), HomeError> {
        let Some(running) = stored.running() else { return Ok(()) };
        let now = self.now();
        let retention = SignedDuration::try_from(self.config.retention).unwrap_or(SignedDuration::MAX);
        let expires = now.checked_add(retention).unwrap_or(Timestamp::MAX);
        let removal = objects::ended(running.id.clone(), running.verb, Outcome::Succeeded, None, now);
        let mut tombstone = objects::tombstone(&self.home, stored, removal, expires);
        let namespace = &stored.metadata.namespace;
        for _ in 0..TRIES {
            match self.home.create(Kind::Tombstone, namespace, &tombstone).await {
                // A namespace that is being deleted takes no Tombstone, and nobody will ask for it.
                Ok(_) | Err(HomeError::Terminating) => return Ok(()),
                Err(HomeError::AlreadyExists | HomeError::Unknown) => {}
                Err(error) => return Err(error),
            }
            let Some(old) = self.tombstone(namespace, &stored.metadata.name).await? else {
                continue;
            };
            if old.spec.incarnation == stored.spec.incarnation {
                return Ok(());
            }
            tombstone
                .metadata
                .resource_version
                .clone_from(&old.metadata.resource_version);
            match self.home.replace(Kind::Tombstone, &old.metadata, &tombstone).await {
                Ok(_) => return Ok(()),
                Err(HomeError::Conflict | HomeError::NotFound) => tombstone.metadata.resource_version.clear(),
                Err(error) => return Err(error),
            }
        }
        Err(HomeError::Conflict)
    }

    /// The Tombstone of a name.
    pub(crate) async fn tombstone(&self, namespace: &str, name: &str) -> Result<Option<Tombstone>, HomeError> {
        self.home.get(Kind::Tombstone, namespace, name).await
    }

    /// Whether the removal of this object has its Tombstone already.
    pub(crate) async fn is_buried(&self, stored: &Stored) -> Result<bool, HomeError> {
        let found = self
            .tombstone(&stored.metadata.namespace, &stored.metadata.name)
            .await?;
        Ok(found.is_some_and(|found| found.spec.incarnation == stored.spec.incarnation))
    }

    /// Whether the object is being removed, and the removal has its Tombstone already.
    pub(crate) async fn is_gone(&self, stored: &Stored) -> Result<bool, HomeError> {
        Ok(stored.running().is_some_and(|running| running.verb.removes()) && self.is_buried(stored).await?)
    }

    /// DELETE and finalizer off, in whatever state the object is; another incarnation is left alone.
    pub(crate) async fn let_go(&self, stored: &Stored) -> Result<(), HomeError> {
        let kind = stored.which();
        let mut meta = stored.metadata.clone();
        for _ in 0..TRIES {
            let done = if meta.deletion_timestamp.is_none() {
                match self.home.delete(kind, &meta).await {
                    Ok(Some(kept)) => {
                        self.own.add(&kept.resource_version);
                        meta = kept;
                        continue;
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => Err(error),
                }
            } else {
                let others: Vec<&str> = meta
                    .finalizers
                    .iter()
                    .map(String::as_str)
                    .filter(|name| *name != FINALIZER)
                    .collect();
                self.home.set_finalizers(kind, &meta, &others).await
            };
            match done {
                Ok(last) => {
                    self.own.add(&last.resource_version);
                    return Ok(());
                }
                Err(HomeError::NotFound) => return Ok(()),
                Err(HomeError::Conflict | HomeError::Unknown) => {}
                Err(error) => return Err(error),
            }
            match self.home.get::<Stored>(kind, &meta.namespace, &meta.name).await? {
                Some(found) if found.spec.incarnation == stored.spec.incarnation => meta = found.metadata,
                _ => return Ok(()),
            }
        }
        Err(HomeError::Conflict)
    }
}
