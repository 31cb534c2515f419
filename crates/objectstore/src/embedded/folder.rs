//! The folder of a store: who owns it, and whether it is one.
//!
//! | file | holds |
//! |---|---|
//! | `format` | one line that names the format; written last when a store is made |
//! | `lock` | locked as long as a process has the store open; its id, for people |
//! | `acked` | the newest revision that was acknowledged, with a checksum; see below |
//! | `log/` | the log of what is not yet in the tables |
//! | `tree/` | the tables |
//!
//! `acked` is overwritten in place after each sync of the log and before anybody is answered, and is not synced itself:
//! it is never ahead of the log, and lags behind only when the machine, not just the process, went down. A log that
//! ends before it has lost something.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::disk::sync_folder;
use crate::Revision;

const FORMAT: &str = "objectstore embedded 1\n";
const FORMAT_NAME: &str = "objectstore embedded ";
const ACKED_BYTES: usize = 12;

/// An open folder. The lock goes with it.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    lock: File,
    acked: File,
}

impl Folder {
    /// Makes or opens a folder.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let wrap = |source| OpenError::io(path, source);
        fs::create_dir_all(path).map_err(wrap)?;
        check_format(path)?;
        let lock = lock(path)?;
        // Again, now that nobody else can be making it.
        let fresh = check_format(path)? == Format::Missing;
        let acked = if fresh {
            create(path).map_err(wrap)?
        } else {
            open_acked(path)?
        };
        Ok(Self {
            path: path.to_owned(),
            lock,
            acked,
        })
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// The newest revision known to have been acknowledged.
    pub(super) fn acked(&self) -> Result<Revision, OpenError> {
        let mut bytes = [0; ACKED_BYTES];
        self.acked
            .read_exact_at(&mut bytes, 0)
            .map_err(|source| OpenError::io(&self.path, source))?;
        decode_acked(&bytes).ok_or_else(|| OpenError::corrupt(&self.path, "the file `acked` is damaged"))
    }

    /// Notes that everything up to here is about to be acknowledged.
    pub(super) fn set_acked(&self, revision: Revision) -> io::Result<()> {
        self.acked.write_all_at(&encode_acked(revision), 0)
    }

    /// Lets another process have the folder.
    pub(super) fn unlock(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the store's folder could not be unlocked");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Format {
    Known,
    /// Nothing, or what is left when making a store was cut off.
    Missing,
}

fn check_format(path: &Path) -> Result<Format, OpenError> {
    let mut text = Vec::new();
    match File::open(path.join("format")) {
        Ok(file) => {
            file.take(256)
                .read_to_end(&mut text)
                .map_err(|source| OpenError::io(path, source))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_unformatted(path),
        Err(source) => return Err(OpenError::io(path, source)),
    }
    match std::str::from_utf8(&text) {
        Ok(FORMAT) => Ok(Format::Known),
        Ok(text) if text.starts_with(FORMAT_NAME) => Err(OpenError::Format {
            path: path.to_owned(),
            found: text.trim_end().to_owned(),
        }),
        _ => Err(OpenError::corrupt(
            path,
            "the file `format` does not name a format of this store",
        )),
    }
}

/// A folder without `format` is new, or a store that was being made, or somebody else's.
fn check_unformatted(path: &Path) -> Result<Format, OpenError> {
    for entry in fs::read_dir(path).map_err(|source| OpenError::io(path, source))? {
        let name = entry.map_err(|source| OpenError::io(path, source))?.file_name();
        if !["lock", "acked", "log", "tree", "format.new"]
            .iter()
            .any(|known| name == *known)
        {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    // The log is used only once `format` has been written.
    let used = match fs::read_dir(path.join("log")) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => false,
    };
    let acked = fs::read(path.join("acked")).ok().and_then(|bytes| decode_acked(&bytes));
    if used || acked.is_some_and(|acked| acked > Revision(0)) {
        return Err(OpenError::corrupt(path, "the file `format` is missing"));
    }
    Ok(Format::Missing)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(|source| OpenError::io(path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Only for the message; the lock itself says all that matters.
            let _ = file.take(32).read_to_string(&mut owner);
            return Err(OpenError::Locked {
                path: path.to_owned(),
                owner: owner.trim().to_owned(),
            });
        }
        Err(fs::TryLockError::Error(source)) => return Err(OpenError::io(path, source)),
    }
    let note = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    note.map_err(|source| OpenError::io(path, source))?;
    Ok(file)
}

/// Writes what a new store needs before its tables, and `format` last.
fn create(path: &Path) -> io::Result<File> {
    fs::create_dir_all(path.join("log"))?;
    fs::create_dir_all(path.join("tree"))?;
    let acked = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path.join("acked"))?;
    acked.write_all_at(&encode_acked(Revision(0)), 0)?;
    acked.sync_all()?;
    let mut format = File::create(path.join("format.new"))?;
    format.write_all(FORMAT.as_bytes())?;
    format.sync_all()?;
    fs::rename(path.join("format.new"), path.join("format"))?;
    sync_folder(path)?;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_folder(parent)?;
    }
    Ok(acked)
}

fn open_acked(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path.join("acked"));
    let file = file.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => OpenError::corrupt(path, "the file `acked` is missing"),
        _ => OpenError::io(path, source),
    })?;
    let length = file.metadata().map_err(|source| OpenError::io(path, source))?.len();
    if length != ACKED_BYTES as u64 {
        return Err(OpenError::corrupt(path, "the file `acked` is damaged"));
    }
    Ok(file)
}

fn encode_acked(revision: Revision) -> [u8; ACKED_BYTES] {
    let number = revision.0.to_le_bytes();
    let mut bytes = [0; ACKED_BYTES];
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
    bytes
}

fn decode_acked(bytes: &[u8]) -> Option<Revision> {
    let (number, crc) = bytes.split_first_chunk::<8>()?;
    (crc == crc32fast::hash(number).to_le_bytes()).then(|| Revision(u64::from_le_bytes(*number)))
}
