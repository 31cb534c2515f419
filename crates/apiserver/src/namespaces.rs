//! Whether a namespace takes new objects.
//!
//! What is remembered here is never trusted alone: each create compares the namespace's key in its own transaction,
//! so a namespace that another process has closed refuses it there.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use apimachinery::gvk;
use apimachinery::meta;
use apimachinery::status::Status;
use bytes::Bytes;
use objectstore::{Compare, Entry, Revision, Store};

use crate::codec::Stored;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::read::after;

/// Namespaces that cannot be deleted, and those that exist from the first start on.
pub(crate) const PERMANENT: [&str; 3] = ["default", "kube-system", "kube-public"];
pub(crate) const INITIAL: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// What is known of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    modified: Revision,
    terminating: bool,
}

/// What is known of the namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    keys: Keys,
    known: RwLock<HashMap<String, Known>>,
}

impl Namespaces {
    pub(crate) fn new() -> Namespaces {
        Namespaces {
            keys: Keys::new("", "namespaces", false),
            known: RwLock::default(),
        }
    }

    /// The compare by which a transaction creates an object in a namespace.
    ///
    /// # Errors
    /// 404 when there is no such namespace, 403 when it is being deleted.
    pub(crate) async fn admit(
        &self,
        store: &Store,
        namespace: &str,
        resource: &gvk::Resource,
        name: &str,
    ) -> Result<Compare, Failure> {
        let remembered = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(namespace)
            .copied();
        let key = self.keys.object("", namespace);
        let known = match remembered {
            Some(known) => known,
            None => match store.get(key.clone(), None).await? {
                Some(entry) => self.learn(namespace, &entry)?,
                None => return Err(missing(namespace).into()),
            },
        };
        if known.terminating {
            // A remembered "terminating" may be a namespace that has gone and come back since.
            return match store.get(key.clone(), None).await? {
                None => Err(missing(namespace).into()),
                Some(entry) if !self.learn(namespace, &entry)?.terminating => {
                    Ok(Compare::Modified(key, entry.modified))
                }
                Some(_) => Err(Status::namespace_terminating(resource, name, namespace).into()),
            };
        }
        Ok(Compare::Modified(key, known.modified))
    }

    /// Takes in what a refused compare has shown.
    pub(crate) fn refused(&self, namespace: &str, current: Option<&Entry>) -> Result<(), Failure> {
        match current {
            Some(entry) => {
                self.learn(namespace, entry)?;
            }
            None => {
                self.known
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(namespace);
            }
        }
        Ok(())
    }

    fn learn(&self, namespace: &str, entry: &Entry) -> Result<Known, Failure> {
        let metadata = Stored::read(entry.value.clone())?.metadata();
        let known = Known {
            modified: entry.modified,
            terminating: meta::is_being_deleted(&metadata.members()?),
        };
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let newest = all.entry(namespace.to_owned()).or_insert(known);
        if newest.modified < known.modified {
            *newest = known;
        }
        Ok(known)
    }

    /// The names of all namespaces at a revision.
    pub(crate) async fn names(&self, store: &Store, at: Revision) -> Result<Vec<String>, Failure> {
        let mut range = self.keys.objects(None);
        let mut names = Vec::new();
        loop {
            let page = store.range(range.clone(), 1000, Some(at)).await?;
            names.extend(
                page.entries
                    .iter()
                    .filter_map(|entry| self.keys.parts(&entry.key))
                    .map(|(_, name)| name.to_owned()),
            );
            match page.entries.last().filter(|_| page.more) {
                Some(last) => range.start = after(&last.key),
                None => return Ok(names),
            }
        }
    }

    /// The key of a namespace.
    pub(crate) fn key(&self, namespace: &str) -> Bytes {
        self.keys.object("", namespace)
    }
}

fn missing(namespace: &str) -> Status {
    Status::not_found(&gvk::Resource::new("", "namespaces"), namespace)
}
