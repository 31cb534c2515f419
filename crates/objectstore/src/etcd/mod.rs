//! The engine on an etcd cluster (v3), for any number of processes.
//!
//! What one process acknowledges all others read at once: reads ask the cluster, which answers with its newest state. Watches
//! come from etcd, too: a process has one, of all data, from which its watchers are served; whoever wants to know more of
//! the past has etcd read it. Nothing is kept in memory but the newest few changes.
//!
//! - A cluster may serve others beside this store: its keys have a prefix, and its revisions begin with its mark
//!   (`etcd/revisions.rs`).
//! - A read, and what has not been sent yet, is tried again at another member. What became of a transaction that was on its
//!   way is found out before anything is repeated (`etcd/settle.rs`). When no member answers in time, a transaction that
//!   was not carried out gets [`Error::Unavailable`], and one of which that is not known [`Error::Unknown`].
//! - Transactions that are sent at the same time are carried out in any order.
//! - One of the processes has etcd forget history from time to time (`etcd/compaction.rs`).
//!
//! etcd's limits hold: 128 operations in a transaction, and 1.5 MiB of keys and values.

mod client;
mod compaction;
mod connection;
mod engine;
mod events;
mod past;
mod proto;
mod revisions;
mod settle;
mod txn;
mod upstream;
mod watcher;
mod wire;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::sync::watch;

use self::client::{Cluster, Failure};
use self::engine::Etcd;
use self::proto::{
    Comparison, Op, PutRequest, RangeRequest, RangeResponse, Relation, RequestOp, StatusResponse, Subject, Than,
    TxnRequest, TxnResponse,
};
use self::revisions::Epoch;
use self::upstream::Feed;
use crate::hub::Hub;
use crate::window::Window;
use crate::{Error, Revision, Store};

/// How a store on etcd behaves.
#[derive(Clone)]
pub struct Options {
    /// Where the members listen for clients: `https://host:port`, `http://host:port` or `host:port`.
    pub endpoints: Vec<String>,
    /// What the keys of this store start with, such as `/osb/databases`.
    pub prefix: String,
    /// Whom to trust, and as whom to come, for `https`; its protocols are set here.
    pub tls: Option<Arc<ClientConfig>>,
    /// For a cluster that asks for it.
    pub login: Option<Login>,
    /// How much history is kept; default 5 minutes and 256 MiB. Others who use the same cluster may shorten it.
    pub window: Window,
    /// How much time passes at least between two cuts of history by age; default 5 minutes.
    pub compact_every: Duration,
    /// How many transactions a watcher may lag behind before it gets [`Error::Lagged`]; default 4,096. It gets that also
    /// when they hold more than 16 MiB.
    pub watch_buffer: usize,
    /// So long one member is waited for; default 2 seconds, in which a cluster elects a leader.
    pub attempt: Duration,
    /// So long a request may take, with all its attempts; default 10 seconds.
    pub deadline: Duration,
    /// How many operations the cluster takes in a transaction (its flag `--max-txn-ops`); default 128.
    pub most_operations: usize,
    /// The first revision of a new store: zero, or the newest one of another store that this one takes over from. A store
    /// that is there keeps its own.
    pub first_revision: Revision,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            prefix: String::new(),
            tls: None,
            login: None,
            window: Window {
                age: Duration::from_secs(300),
                bytes: 256 << 20,
            },
            compact_every: Duration::from_secs(300),
            watch_buffer: 4096,
            attempt: Duration::from_secs(2),
            deadline: Duration::from_secs(10),
            most_operations: 128,
            first_revision: Revision(0),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("window", &self.window)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A user of the cluster.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a store cannot be opened. Each message says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// An endpoint makes no sense.
    #[error("{0}")]
    Endpoint(String),
    /// The prefix would not tell this store from others.
    #[error("the prefix {0:?} cannot be used: expected one such as /osb/databases, of at most 512 bytes")]
    Prefix(String),
    /// No member answers.
    #[error("no member of the etcd cluster answers: {0}")]
    Unreachable(String),
    /// The cluster does not let this process in.
    #[error("etcd refuses: {0}; check user, password and the rights on the prefix")]
    Refused(String),
    /// A member is too old.
    #[error("the etcd at {endpoint} has version {version}: at least 3.5.13 is needed (3.4.31 of the older line)")]
    Version {
        /// Which member.
        endpoint: String,
        /// What it says.
        version: String,
    },
    /// Another version of this program made the store, or it is none.
    #[error(
        "the key {key} in etcd says {found:?}, which this version cannot use: use the version that wrote it, a newer one, or another prefix"
    )]
    Format {
        /// Which key.
        key: String,
        /// What it says.
        found: String,
    },
    /// There are keys of somebody else.
    #[error("there are keys below {prefix} in etcd that are of no store: name another prefix, or remove them")]
    Foreign {
        /// Where.
        prefix: String,
    },
}

/// Where a store's keys lie.
#[derive(Clone, Debug)]
struct Places {
    /// What the keys of data start with.
    data: Bytes,
    /// What makes it a store.
    mark: Bytes,
    /// Modified by whoever has to know what became of a transaction.
    fence: Bytes,
}

impl Places {
    fn new(prefix: &str) -> Places {
        let place = |name: &str| Bytes::from(format!("{prefix}/{name}"));
        Places {
            data: place("data"),
            mark: place("store"),
            fence: place("fence"),
        }
    }

    fn key(&self, key: &[u8]) -> Bytes {
        [&self.data[..], key].concat().into()
    }

    fn range(&self, keys: &Range<Bytes>) -> Range<Bytes> {
        let end = match keys.end.is_empty() {
            true => crate::prefix(&self.data).end,
            false => self.key(&keys.end),
        };
        self.key(&keys.start)..end
    }
}

/// All that the parts of a store share.
struct Shared {
    cluster: Cluster,
    places: Places,
    epoch: Epoch,
    /// The newest revision that this process has heard of.
    known: AtomicU64,
    oldest: AtomicU64,
    /// etcd's revision of the last time that the fence was raised, as far as this process knows.
    fence: AtomicI64,
    raising: tokio::sync::Mutex<()>,
    hub: Arc<Hub>,
    feed: std::sync::Mutex<Feed>,
    closed: AtomicBool,
    closing: watch::Sender<bool>,
    window: Window,
    compact_every: Duration,
    attempt: Duration,
    most_operations: usize,
}

impl Shared {
    fn known(&self) -> Revision {
        Revision(self.known.load(Ordering::Acquire))
    }

    fn oldest(&self) -> Revision {
        Revision(self.oldest.load(Ordering::Acquire))
    }

    /// etcd has told of one of its revisions.
    fn saw(&self, etcd: i64) -> Revision {
        let revision = self.epoch.revision(etcd);
        self.known.fetch_max(revision.0, Ordering::AcqRel);
        revision
    }

    /// etcd says that it cannot read what is older than this one of its revisions. Of a change at that one it does not know
    /// any more what was there before.
    fn compacted(&self, etcd: i64) {
        let oldest = self.epoch.revision(etcd.saturating_add(1));
        self.oldest.fetch_max(oldest.0, Ordering::AcqRel);
    }

    fn forgotten(&self, requested: Revision) -> Error {
        let oldest = self.oldest().max(Revision(requested.0.saturating_add(1)));
        Error::Compacted { requested, oldest }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Opens the store at a prefix of a cluster; makes it when there is none. Has to run in a tokio runtime, in which its work
/// in the background goes on.
///
/// # Errors
///
/// Whatever [`OpenError`] names.
pub async fn open(options: Options) -> Result<Store, OpenError> {
    let prefix = options.prefix.trim_end_matches('/');
    if prefix.is_empty() || prefix.len() > 512 {
        return Err(OpenError::Prefix(options.prefix.clone()));
    }
    let places = Places::new(prefix);
    let cluster = Cluster::new(&options)?;
    check_versions(&cluster, &options).await?;
    let (epoch, now) = claim(&cluster, &places, options.first_revision, prefix).await?;
    let fence = read(&cluster, &places.fence).await?;
    let fence = fence.kvs.first().map_or(0, |kv| kv.mod_revision);
    let now = epoch.revision(now);
    let shared = Arc::new(Shared {
        cluster,
        places,
        epoch,
        known: AtomicU64::new(now.0),
        oldest: AtomicU64::new(epoch.first.0),
        fence: AtomicI64::new(fence),
        raising: tokio::sync::Mutex::default(),
        hub: Hub::new(now, options.watch_buffer),
        feed: std::sync::Mutex::new(Feed::new(now, options.window)),
        closed: AtomicBool::new(false),
        closing: watch::Sender::new(false),
        window: options.window,
        compact_every: options.compact_every,
        attempt: options.attempt,
        most_operations: options.most_operations.max(2),
    });
    let far = shared.look_how_far().await;
    far.map_err(|error| OpenError::Unreachable(error.to_string()))?;
    tokio::spawn(until_closed(shared.clone(), upstream::run(shared.clone(), now)));
    tokio::spawn(until_closed(shared.clone(), compaction::run(shared.clone(), now)));
    Ok(Arc::new(Etcd { shared }))
}

async fn until_closed(shared: Arc<Shared>, work: impl Future<Output = ()>) {
    let mut closing = shared.closing.subscribe();
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = work => {}
    }
}

fn refused(failure: Failure) -> OpenError {
    match failure {
        Failure::Refused(status) => OpenError::Refused(status.message),
        failure => OpenError::Unreachable(failure.text().to_owned()),
    }
}

/// Looks at each member that answers: some older ones say that all has been sent when it has not.
async fn check_versions(cluster: &Cluster, options: &Options) -> Result<(), OpenError> {
    let ask = |member| {
        let status = wire::frame(&proto::Empty {});
        cluster.attempt_at(member, proto::STATUS, status, options.attempt)
    };
    let answers = futures::future::join_all((0..cluster.size()).map(ask)).await;
    for (answer, endpoint) in answers.into_iter().zip(&options.endpoints) {
        // Who does not answer now may do so later; who does not tell is not asked again.
        let Ok(bytes) = answer else { continue };
        let version = wire::decode::<StatusResponse>(bytes)
            .map_err(OpenError::Unreachable)?
            .version;
        if !is_new_enough(&version) {
            return Err(OpenError::Version {
                endpoint: endpoint.clone(),
                version,
            });
        }
    }
    Ok(())
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().ok());
    let mut next = || parts.next().flatten().unwrap_or(0);
    match (next(), next(), next()) {
        (3, 4, patch) => patch >= 31,
        (3, 5, patch) => patch >= 13,
        (3, minor, _) => minor > 5,
        (major, ..) => major > 3,
    }
}

async fn read(cluster: &Cluster, key: &Bytes) -> Result<RangeResponse, OpenError> {
    let request = RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    };
    cluster.ask(proto::RANGE, &request).await.map_err(refused)
}

const FORMAT: &str = "objectstore etcd 1 from ";

/// Reads the mark of the store, or makes it. Its epoch, and etcd's revision now.
async fn claim(cluster: &Cluster, places: &Places, first: Revision, prefix: &str) -> Result<(Epoch, i64), OpenError> {
    let operation = |op| RequestOp { op: Some(op) };
    let absent = |keys: Range<Bytes>| Comparison {
        relation: Relation::Equal as i32,
        subject: Subject::Created as i32,
        key: keys.start,
        than: Some(Than::Created(0)),
        range_end: keys.end,
    };
    let request = TxnRequest {
        compares: vec![
            absent(places.mark.clone()..Bytes::new()),
            absent(places.range(&crate::prefix(b""))),
        ],
        success: vec![operation(Op::Put(PutRequest {
            key: places.mark.clone(),
            value: format!("{FORMAT}{}", first.0).into(),
        }))],
        failure: vec![operation(Op::Range(RangeRequest {
            key: places.mark.clone(),
            ..RangeRequest::default()
        }))],
    };
    let answer: TxnResponse = cluster.ask(proto::TXN, &request).await.map_err(refused)?;
    let now = proto::revision(answer.header.as_ref());
    if answer.succeeded {
        return Ok((Epoch { etcd: now, first }, now));
    }
    let mut seen = answer.responses.into_iter().filter_map(|response| response.range);
    let Some(mark) = seen.next().and_then(|range| range.kvs.into_iter().next()) else {
        return Err(OpenError::Foreign {
            prefix: prefix.to_owned(),
        });
    };
    let text = String::from_utf8_lossy(&mark.value).into_owned();
    let Some(first) = text.strip_prefix(FORMAT).and_then(|first| first.trim().parse().ok()) else {
        return Err(OpenError::Format {
            key: String::from_utf8_lossy(&places.mark).into_owned(),
            found: text.chars().take(100).collect(),
        });
    };
    let epoch = Epoch {
        etcd: mark.create_revision,
        first: Revision(first),
    };
    Ok((epoch, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_known() {
        for (version, fine) in [
            ("3.6.8", true),
            ("3.5.13", true),
            ("3.5.12", false),
            ("3.4.31", true),
            ("3.4.23", false),
            ("3.3.99", false),
            ("4.0.0", true),
            ("3.7.0-alpha.0", true),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), fine, "{version}");
        }
    }

    #[test]
    fn the_range_of_all_data_holds_nothing_else() {
        let places = Places::new("/osb/a");
        let all = places.range(&crate::prefix(b""));
        assert!(all.contains(&places.key(b"")) && all.contains(&places.key(b"\xff\xff")));
        assert!(!all.contains(&places.mark) && !all.contains(&places.fence));
        assert_eq!(
            &places.range(&(Bytes::from("a")..Bytes::from("b"))).end[..],
            b"/osb/a/datab"
        );
    }
}
