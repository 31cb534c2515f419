//! What was found out, by requirement.

use std::collections::{BTreeMap, BTreeSet};

use crate::requirement::Requirement;

/// The most breaches of one requirement that are kept: more say nothing new.
const MAX_BREACHES: usize = 5;

/// A breach of a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// What is wrong.
    pub what: String,
    /// The exchanges that show it: request line, status, body, without secrets.
    pub transcript: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) passes: usize,
    pub(crate) breaches: Vec<Breach>,
    pub(crate) reasons: BTreeSet<String>,
}

/// One entry for each requirement that was looked at.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<&'static str, Entry>,
}

impl Ledger {
    pub(crate) fn pass(&mut self, id: &'static str) {
        self.entry(id).passes += 1;
    }

    pub(crate) fn breach(&mut self, id: &'static str, breach: Breach) {
        let entry = self.entry(id);
        let known = entry.breaches.iter().any(|other| other.what == breach.what);
        if !known && entry.breaches.len() < MAX_BREACHES {
            entry.breaches.push(breach);
        }
    }

    /// Why it could not be looked at; counts only if it never could.
    pub(crate) fn skip(&mut self, id: &'static str, reason: String) {
        self.entry(id).reasons.insert(reason);
    }

    pub(crate) fn of(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    fn entry(&mut self, id: &'static str) -> &mut Entry {
        debug_assert!(Requirement::of(id).is_some(), "{id} is not in the table");
        self.entries.entry(id).or_default()
    }
}
