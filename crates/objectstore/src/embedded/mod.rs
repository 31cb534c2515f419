//! The durable engine: one folder, one process.
//!
//! A transaction goes first into a log (`embedded/frame.rs` has its format), which is synced once for all transactions
//! that waited; then into tables in memory and, in the background, on disk (`embedded/records.rs`; the tables
//! themselves are those of the crate `lsm-tree`). Nothing is read into memory when a store is opened: after a clean stop
//! there is nothing to do, after a crash the rest of the log is written to a table. `embedded/folder.rs` names the files.
//!
//! - A group that was torn by a crash, and so had not been acknowledged, is left out. Damage to anything before is
//!   reported when the store is opened ([`OpenError::Corrupt`]), damage to a table at the latest when the damaged part
//!   is read ([`Error::Damaged`]). Both name the file. Each read from the disk is compared with a checksum, so that
//!   nothing that was changed there is served, or merged into another table.
//! - When the log or a table cannot be written or synced, the process ends ([`Options::on_fatal`]): nobody knows what is
//!   on the disk, and a second sync would say that all is well.
//! - When the free space falls below a reserve, or the disk says itself that it is full or read-only, nothing is written
//!   and transactions get [`Error::Unavailable`] until there is room again.
//!
//! Reads run on the caller's thread and may wait for the disk: short reads of what is mostly in the page cache.

mod commit;
mod core;
mod disk;
mod folder;
mod frame;
mod fresh;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod intact;
mod log;
mod queue;
mod records;
mod replay;
mod tree;
mod upkeep;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

pub use disk::{Disk, OsDisk};

use self::commit::{Committer, Room};
use self::core::Core;
use self::folder::Folder;
use self::frame::Frame;
use self::log::Writer;
use self::queue::{Pending, Queue, Request};
use self::records::Checkpoint;
use self::tree::Tables;
use self::upkeep::Upkeep;
use crate::decide::{self, Change};
use crate::keys::KeyHasher;
use crate::window::{Clock, Window};
use crate::{Engine, Entry, Error, Outcome, Page, Revision, Store, Transaction, Watch, watch};

/// How a durable store behaves.
#[derive(Clone)]
pub struct Options {
    /// How much history is kept; default 5 minutes and 1 GiB. What was kept when a store was closed counts as new when
    /// it is opened.
    pub window: Window,
    /// How many transactions a watcher may lag behind before it gets [`Error::Lagged`]; default 4,096. It gets that also
    /// when they hold more than 16 MiB.
    pub watch_buffer: usize,
    /// How many transactions may wait for their commit; more wait in their callers. Default 8,192.
    pub queue: usize,
    /// How many bytes are held in memory before they are written to a table; up to three times as much under load.
    /// Default 16 MiB.
    pub memory_bytes: u64,
    /// How large the cache of table blocks grows, in bytes; the page cache serves what it does not hold. Default 2 MiB.
    pub cache_bytes: u64,
    /// How many bytes of the disk are never used. What is in memory must find room there. Default 64 MiB.
    pub reserve_bytes: u64,
    /// A store that is made now counts its transactions from behind this revision, so that what it takes the place of had
    /// lower ones; one that is there goes on where it is. Default 0.
    pub first_revision: Revision,
    /// The disk; default the real one.
    pub disk: Arc<dyn Disk>,
    /// What to do when the store must not go on; it gets a message for people, which has been logged. Default:
    /// [`std::process::abort`]. If it returns, the store is closed and answers nothing that was not durable.
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: Window {
                age: Duration::from_secs(300),
                bytes: 1 << 30,
            },
            watch_buffer: 4096,
            queue: 8192,
            memory_bytes: 16 << 20,
            cache_bytes: 2 << 20,
            reserve_bytes: 64 << 20,
            first_revision: Revision(0),
            disk: Arc::new(OsDisk),
            on_fatal: Arc::new(|_| std::process::abort()),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("window", &self.window)
            .field("watch_buffer", &self.watch_buffer)
            .field("queue", &self.queue)
            .field("memory_bytes", &self.memory_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a store cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data folder {path} is in use by process {owner}: stop that process, or name another folder", path = .path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The id of the process, as it left it.
        owner: String,
    },
    /// The folder holds something else.
    #[error(
        "the folder {path} holds `{found}`, which is no part of a store: name an empty or new folder, or move that away",
        path = .path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The first foreign name.
        found: String,
    },
    /// Another version of this program made it.
    #[error("the data folder {path} has the format \"{found}\", which this version cannot read: use the version that wrote it, or a newer one", path = .path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// Data is damaged or missing.
    #[error("the data in {path} is damaged: {what}. Nothing was changed: restore the folder from a backup, or keep a copy of it and start with a new one", path = .path.display())]
    Corrupt {
        /// Where.
        path: PathBuf,
        /// What is damaged.
        what: String,
    },
    /// The folder cannot be read or written.
    #[error("the data folder {path} cannot be used: check its owner and permissions, and whether the disk is full or read-only", path = .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl OpenError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    fn tables(path: &Path, error: lsm_tree::Error) -> Self {
        match error {
            lsm_tree::Error::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => Self::io(path, source),
            error => Self::corrupt(
                path,
                match intact::first_damaged(path) {
                    Some(name) => format!("the file `{name}` cannot be read: {error:?}"),
                    None => format!("the tables cannot be read: {error:?}"),
                },
            ),
        }
    }

    fn read(path: &Path, error: &Error) -> Self {
        Self::corrupt(path, error.to_string())
    }
}

/// Opens the store in a folder; makes it when the folder is missing or empty. Blocks: some milliseconds after a clean
/// stop, more when the end of the log has to be written to tables after a crash, which is no longer than about four times
/// [`Options::memory_bytes`]. How many entries there are hardly matters to either.
///
/// # Errors
///
/// Whatever [`OpenError`] names. Nothing in the folder is changed then.
pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Store, OpenError> {
    let folder = Folder::open(path.as_ref())?;
    let acked = folder.acked()?;
    let path = folder.tree();
    let checked = intact::check(&path, acked == Revision(0));
    checked.map_err(|what| OpenError::corrupt(&path, what))?;
    let tables = Tables::open(&path, options.cache_bytes);
    let tables = tables.map_err(|error| OpenError::tables(&path, error))?;
    let checkpoint = tables.checkpoint().map_err(|error| OpenError::read(&path, &error))?;
    let (next_segment, mut state) = recover(&folder, &tables, checkpoint, acked, &options)?;
    if state.applied == Revision(0) && options.first_revision > Revision(0) {
        state = jump(&folder, &tables, options.first_revision)?;
    }

    let log = Writer::new(
        folder.log(),
        options.disk.clone(),
        segment_bytes(&options),
        next_segment,
    );
    let clock = Clock::new(options.window, Instant::now(), state.applied);
    let permits = Arc::new(Semaphore::new(options.queue.max(1)));
    let core = Arc::new(Core::new(options, folder, tables, state.applied, state.oldest));
    let Some(tables) = core.tables() else {
        unreachable!("a new core is open")
    };
    let queue = Arc::new(Queue::default());
    let start = |source| OpenError::io(path.as_ref(), source);
    let upkeep = Upkeep::start(core.clone(), tables.clone()).map_err(start)?;
    let committer = Committer {
        core: core.clone(),
        tables,
        queue: queue.clone(),
        log,
        upkeep,
        clock,
        buffer: Vec::new(),
        room: Room {
            checked: None,
            lack: None,
            told: false,
        },
        dirty: false,
        hasher: KeyHasher::default(),
    };
    let thread = std::thread::Builder::new()
        .name("store-commit".into())
        .spawn(move || committer.run());
    let thread = Mutex::new(Some(thread.map_err(start)?));
    Ok(Arc::new(Embedded {
        core,
        queue,
        permits,
        thread,
    }))
}

/// A segment holds about what one part in memory holds, so that its file lives about as long.
fn segment_bytes(options: &Options) -> u64 {
    options.memory_bytes.max(1 << 20)
}

/// Writes what the log has beyond the tables to a table, and empties the log. Gives the number of the next segment.
fn recover(
    folder: &Folder,
    tables: &Tables,
    checkpoint: Checkpoint,
    acked: Revision,
    options: &Options,
) -> Result<(u64, Checkpoint), OpenError> {
    let mut state = checkpoint;
    let path = folder.log();
    let replayed = replay::read(&path, checkpoint.applied, acked, |frame| {
        replay_frame(&path, tables, frame, &mut state)?;
        if tables.active_bytes() >= options.memory_bytes {
            write_out(folder, tables, state)?;
        }
        Ok(())
    })?;
    state.applied = replayed.last;
    if state != checkpoint {
        write_out(folder, tables, state)?;
    }
    for file in &replayed.files {
        std::fs::remove_file(file).map_err(|source| OpenError::io(file, source))?;
    }
    if !replayed.files.is_empty() {
        // New segments do not continue the chain of these: they must not come back.
        disk::sync_folder(&path).map_err(|source| OpenError::io(&path, source))?;
    }
    Ok((replayed.next_number, state))
}

/// Has an empty store begin behind a revision. The tables say so before anything else does: a crash in between leaves a
/// store that has jumped.
fn jump(folder: &Folder, tables: &Tables, behind: Revision) -> Result<Checkpoint, OpenError> {
    let state = Checkpoint {
        applied: behind,
        oldest: behind,
    };
    write_out(folder, tables, state)?;
    let noted = folder.set_acked(behind);
    noted.map_err(|source| OpenError::io(&folder.path, source))?;
    Ok(state)
}

/// Writes what is in memory, which is everything up to a checkpoint, to a table.
fn write_out(folder: &Folder, tables: &Tables, checkpoint: Checkpoint) -> Result<(), OpenError> {
    tables.seal(checkpoint);
    let written = tables.flush();
    written.map_err(|error| OpenError::tables(&folder.tree(), error))?;
    tables.forget_written();
    Ok(())
}

fn replay_frame(path: &Path, tables: &Tables, frame: &Frame, state: &mut Checkpoint) -> Result<(), OpenError> {
    let Some(transactions) = frame.decode_transactions() else {
        return Err(OpenError::corrupt(
            path,
            format!("the group at revision {} makes no sense", frame.first.0),
        ));
    };
    for (revision, changes) in (frame.first.0..).map(Revision).zip(transactions) {
        if revision <= state.applied {
            continue;
        }
        let changes = changes.into_iter().map(|(key, value)| {
            let previous = tables.entry(&key, state.applied)?;
            Ok(Change { key, value, previous })
        });
        let changes: Vec<_> = changes
            .collect::<Result<_, _>>()
            .map_err(|error| OpenError::read(path, &error))?;
        tables.apply(&[(revision, changes)]);
        state.applied = revision;
    }
    state.oldest = state.oldest.max(frame.oldest);
    Ok(())
}

struct Embedded {
    core: Arc<Core>,
    queue: Arc<Queue>,
    permits: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Ends the threads; waits for them.
    fn stop(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the commit thread panicked");
        }
    }
}

impl Engine for Embedded {
    fn revision(&self) -> Revision {
        self.core.published()
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        async move { self.core.get(&key, at) }.boxed()
    }

    fn range(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<Page, Error>> {
        async move { self.core.range(&keys, limit, at) }.boxed()
    }

    fn count(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<u64, Error>> {
        async move { self.core.count(&keys, limit, at) }.boxed()
    }

    fn transact(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, Error>> {
        async move {
            decide::check(&transaction)?;
            let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
            let (reply, answer) = oneshot::channel();
            self.queue.push(Request::Transact(Pending {
                transaction,
                reply,
                _permit: permit,
            }));
            answer.await.unwrap_or(Err(Error::Closed))
        }
        .boxed()
    }

    fn watch(&self, keys: Range<Bytes>, after: Option<Revision>) -> BoxFuture<'_, Result<Watch, Error>> {
        async move { watch::start(self.core.clone(), keys, after) }.boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let (reply, answer) = oneshot::channel();
            self.queue.push(Request::Compact(revision, reply));
            answer.await.unwrap_or(Err(Error::Closed))
        }
        .boxed()
    }

    fn oldest(&self) -> Revision {
        self.core.oldest()
    }

    /// Blocks a thread of its own until what is in memory has been written to a table.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.queue.close();
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                if !matches!(joined, Ok(Ok(()))) {
                    tracing::error!("the commit thread panicked");
                }
            }
            Ok(())
        }
        .boxed()
    }
}

impl Drop for Embedded {
    /// A store that was not closed is closed, which blocks for some milliseconds.
    fn drop(&mut self) {
        self.stop();
    }
}
