//! The files of a store. Checksums are made right here: behind a wrong one nothing would ever be found.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use objectstore::embedded::fuzzing::{FRAME_HEADER, SEGMENT_HEADER};
use objectstore::embedded::{self, Options, fuzzing};
use objectstore::{Entry, Revision, prefix};
use tempfile::TempDir;

use crate::files;
use crate::front::paused_runtime;

const FRAME_MAGIC: &[u8] = b"OSTF";
/// A chain that is left as it is, and so is wrong.
const WRONG_CHAIN: [u8; 4] = [0xff; 4];

/// Makes number, nonce, checksums and chains of a segment right, as far as it has their form.
fn repaired(data: &[u8]) -> Bytes {
    let mut bytes = data.to_vec();
    let Some(header) = bytes.get_mut(..SEGMENT_HEADER) else {
        return bytes.into();
    };
    header[8..16].copy_from_slice(&fuzzing::NUMBER.to_le_bytes());
    header[16..24].copy_from_slice(&fuzzing::NONCE.to_le_bytes());
    let crc = crc32fast::hash(&header[..SEGMENT_HEADER - 4]);
    header[SEGMENT_HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    let mut chain = [header[32], header[33], header[34], header[35]];
    let mut position = SEGMENT_HEADER;
    while let Some(frame) = bytes.get_mut(position..).filter(|rest| rest.starts_with(FRAME_MAGIC)) {
        let Some(length) = frame
            .get(4..8)
            .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        else {
            break;
        };
        let Some(frame) = frame.get_mut(..FRAME_HEADER + length as usize) else {
            break;
        };
        if frame[20..24] != WRONG_CHAIN {
            frame[20..24].copy_from_slice(&chain);
        }
        let (header, payload) = frame.split_at_mut(FRAME_HEADER);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&fuzzing::NONCE.to_le_bytes());
        hasher.update(&header[..FRAME_HEADER - 4]);
        hasher.update(payload);
        chain = hasher.finalize().to_le_bytes();
        header[FRAME_HEADER - 4..].copy_from_slice(&chain);
        position += FRAME_HEADER + payload.len();
    }
    bytes.into()
}

/// A segment is read up to its end or its first damage, and its frames come back as they were.
pub(crate) fn log(data: &[u8]) {
    let _ = fuzzing::segment(&Bytes::copy_from_slice(data));
    let whole = repaired(data);
    let _ = fuzzing::segment(&whole);
}

/// Records are read or refused, and come back as they were.
pub(crate) fn records(data: &[u8]) {
    fuzzing::record(&Bytes::copy_from_slice(data));
}

thread_local! {
    /// A store that was just made.
    static NEW: TempDir = new_store();
}

fn options() -> Options {
    Options {
        memory_bytes: 1 << 20,
        reserve_bytes: 0,
        on_fatal: Arc::new(|what| panic!("the store must not go on: {what}")),
        ..Options::default()
    }
}

fn new_store() -> TempDir {
    let folder = files::folder();
    let store = embedded::open(folder.path(), options()).expect("a store is made in an empty folder");
    paused_runtime().block_on(store.close()).expect("a new store is closed");
    folder
}

/// A folder whose log is the input is opened or refused; what was opened has the same contents when it is opened again. The
/// first byte is the newest revision that was acknowledged.
pub(crate) fn folder(data: &[u8]) {
    let Some((acked, segment)) = data.split_first() else {
        return;
    };
    let folder = files::folder();
    NEW.with(|new| copy(new.path(), folder.path()));
    let log = folder.path().join("log");
    for entry in fs::read_dir(&log).expect("a store has a log") {
        let _ = fs::remove_file(entry.expect("a folder can be read").path());
    }
    let name = format!("{:020}-{:016x}.log", fuzzing::NUMBER, fuzzing::NONCE);
    write(&log.join(name), &repaired(segment));
    let mut note = u64::from(*acked).to_le_bytes().to_vec();
    note.extend_from_slice(&crc32fast::hash(&note).to_le_bytes());
    write(&folder.path().join("acked"), &note);
    let Some(first) = contents(folder.path()) else { return };
    assert!(first.0 >= Revision(u64::from(*acked)), "what was acknowledged is lost");
    let second = contents(folder.path()).expect("what was opened is opened again");
    assert!(second == first, "a store has other contents when it is opened again");
}

/// Revision and entries of the store in a folder; `None` when it is refused.
fn contents(folder: &Path) -> Option<(Revision, Vec<Entry>)> {
    let store = match embedded::open(folder, options()) {
        Ok(store) => store,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says nothing");
            return None;
        }
    };
    let found = paused_runtime().block_on(async {
        let page = store.range(prefix(b""), 10_000, None).await;
        let page = page.expect("what was read from the log can be read");
        store.close().await.expect("a store that was read is closed");
        (page.revision, page.entries)
    });
    Some(found)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir_all(&to).expect("a folder can be made");
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file can be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else nothing behind the checksums would be looked at any more, and no target would say so.
    #[test]
    fn the_corpora_reach_what_is_behind_the_checksums() {
        let inputs = |name: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fuzz/corpus")
                .join(name);
            let entries = fs::read_dir(folder).unwrap();
            entries.map(|entry| Bytes::from(fs::read(entry.unwrap().path()).unwrap()))
        };
        let frames = |segment: &[u8]| fuzzing::segment(&repaired(segment));
        assert!(inputs("log").any(|input| frames(&input) > 1));
        assert!(inputs("store").any(|input| input.get(1..).is_some_and(|segment| frames(segment) > 1)));
    }
}
