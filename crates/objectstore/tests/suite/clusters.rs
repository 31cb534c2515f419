//! A real etcd for a test alone: others would take revisions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use objectstore::etcd::Options;
use testparts::{Etcd, need, oracle_bin};

/// Those that nobody uses now.
static FREE: Mutex<Vec<Etcd>> = Mutex::new(Vec::new());
static FOUND: OnceLock<bool> = OnceLock::new();
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An etcd of one member and a prefix that nobody else uses, until the value ends.
pub(crate) struct Lease {
    etcd: Option<Etcd>,
    prefix: String,
}

/// An etcd for the caller alone; `None` where there is none.
pub(crate) fn lease() -> Option<Lease> {
    if !*FOUND.get_or_init(|| need(oracle_bin()).is_some()) {
        return None;
    }
    let free = FREE.lock().unwrap().pop();
    let etcd = free.or_else(|| need(Etcd::start()))?;
    Some(Lease {
        etcd: Some(etcd),
        prefix: format!("/test/{}", NEXT.fetch_add(1, Ordering::Relaxed)),
    })
}

impl Lease {
    /// For the store at this place; history is cut as soon as its window says so.
    pub(crate) fn options(&self) -> Options {
        Options {
            endpoints: self.etcd().endpoints(),
            prefix: self.prefix.clone(),
            compact_every: Duration::ZERO,
            ..Options::default()
        }
    }

    pub(crate) fn etcd(&self) -> &Etcd {
        self.etcd.as_ref().unwrap()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        FREE.lock().unwrap().extend(self.etcd.take());
    }
}
