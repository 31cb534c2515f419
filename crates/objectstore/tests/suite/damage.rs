//! Torn ends open without the torn group; any other damage is reported.
//!
//! `acked` tells the two apart: a group is put into it before anybody is answered. A crash before that is played by
//! the `acked` of one transaction earlier.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use objectstore::embedded::{self, OpenError};
use objectstore::{Error, Revision, Store, prefix};

use crate::support::*;

/// A crash image with five transactions in the log, and `acked` from before the last.
struct Image {
    folder: tempfile::TempDir,
    segment: PathBuf,
    bytes: Vec<u8>,
    frames: Vec<usize>,
    acked_before: Vec<u8>,
    acked: Vec<u8>,
}

fn roomy() -> embedded::Options {
    embedded::Options {
        memory_bytes: 1 << 20,
        ..small()
    }
}

impl Image {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (live, image) = (folder.path().join("live"), folder.path().join("image"));
        let store = embedded::open(&live, roomy()).unwrap();
        for n in 1..=4 {
            put(&store, &format!("key{n}"), "value").await;
        }
        let acked_before = fs::read(live.join("acked")).unwrap();
        put(&store, "key5", "a value in the last group").await;
        snapshot(&live, &image);
        let segment = segments(&image).remove(0);
        let bytes = fs::read(&segment).unwrap();
        let frames = frames(&bytes);
        assert_eq!(frames.len(), 6, "each in a group of its own");
        let acked = fs::read(image.join("acked")).unwrap();
        Self {
            folder,
            segment,
            bytes,
            frames,
            acked_before,
            acked,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Opens a fresh image whose segment has been changed.
    fn open(&self, acked: &[u8], segment: &[u8]) -> Result<Store, OpenError> {
        let path = self.folder.path().join("play");
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        snapshot(&self.path(), &path);
        fs::write(path.join("acked"), acked).unwrap();
        fs::write(path.join("log").join(self.segment.file_name().unwrap()), segment).unwrap();
        embedded::open(path, roomy())
    }

    /// The last group, whatever became of it, was never acknowledged: the store opens without it.
    async fn opens_without_the_last(&self, what: &str, segment: &[u8]) {
        let store = self
            .open(&self.acked_before, segment)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(store.revision(), Revision(4), "{what}");
        assert_eq!(store.count(prefix(b"key"), None).await.unwrap(), 4, "{what}");
        assert_eq!(put(&store, "key6", "later").await, Revision(5), "{what}");
    }

    fn is_refused(&self, what: &str, acked: &[u8], segment: &[u8]) {
        match self.open(acked, segment) {
            Err(OpenError::Corrupt { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
            Ok(store) => panic!("{what}: opened at {:?}", store.revision()),
        }
    }
}

#[tokio::test]
async fn the_image_itself_opens_whole() {
    let image = Image::new().await;
    for acked in [&image.acked, &image.acked_before] {
        let store = image.open(acked, &image.bytes).unwrap();
        assert_eq!(store.revision(), Revision(5));
        assert_eq!(store.count(prefix(b"key"), None).await.unwrap(), 5);
    }
}

#[tokio::test]
async fn a_last_group_cut_at_any_byte_is_left_out() {
    let image = Image::new().await;
    let (start, end) = (image.frames[4], image.frames[5]);
    for cut in start..end {
        image
            .opens_without_the_last(&format!("cut at {cut}"), &image.bytes[..cut])
            .await;
    }
}

#[tokio::test]
async fn a_last_group_with_zeros_or_rubbish_anywhere_is_left_out() {
    let image = Image::new().await;
    let (start, end) = (image.frames[4], image.frames[5]);
    for byte in start..end {
        let mut bytes = image.bytes.clone();
        bytes[byte] ^= 0xff;
        image
            .opens_without_the_last(&format!("byte {byte} changed"), &bytes)
            .await;
    }
    for (from, to) in [
        (start, end),
        (start, start + 36),
        (start + 36, end),
        (start, start + 4),
        (end - 4, end),
    ] {
        let mut bytes = image.bytes.clone();
        bytes[from..to].fill(0);
        image
            .opens_without_the_last(&format!("{from}..{to} zero"), &bytes)
            .await;
    }
}

#[tokio::test]
async fn a_last_group_that_was_acknowledged_must_be_there() {
    let image = Image::new().await;
    let (start, end) = (image.frames[4], image.frames[5]);
    for byte in start..end {
        let mut bytes = image.bytes.clone();
        bytes[byte] ^= 1;
        image.is_refused(&format!("byte {byte} changed"), &image.acked, &bytes);
    }
    image.is_refused("cut", &image.acked, &image.bytes[..start]);
    fs::remove_file(&image.segment).unwrap();
    assert!(matches!(
        embedded::open(image.path(), roomy()),
        Err(OpenError::Corrupt { .. })
    ));
}

/// Even if `acked` had lost its latest writes, as it can when the machine goes down.
#[tokio::test]
async fn damage_before_the_last_group_is_refused_wherever_it_is() {
    let image = Image::new().await;
    for byte in 0..image.frames[4] {
        let mut bytes = image.bytes.clone();
        bytes[byte] ^= 1;
        image.is_refused(&format!("byte {byte} changed"), &image.acked_before, &bytes);
    }
    for start in &image.frames[..4] {
        let mut bytes = image.bytes.clone();
        bytes[*start..start + 36].fill(0);
        image.is_refused(&format!("header at {start} zero"), &image.acked_before, &bytes);
    }
    let cut_out = [&image.bytes[..image.frames[2]], &image.bytes[image.frames[3]..]].concat();
    image.is_refused("a group cut out", &image.acked_before, &cut_out);
}

#[tokio::test]
async fn a_refused_folder_is_left_as_it_is() {
    let image = Image::new().await;
    let mut bytes = image.bytes.clone();
    bytes[image.frames[1] + 40] ^= 1;
    fs::write(&image.segment, &bytes).unwrap();
    let before = contents(&image.path());
    let error = embedded::open(image.path(), roomy()).err().unwrap();
    let message = error.to_string();
    assert!(message.contains("damaged") && message.contains("backup"), "{message}");
    assert_eq!(contents(&image.path()), before);
}

#[tokio::test]
async fn damaged_small_files_are_refused() {
    let image = Image::new().await;
    for byte in 0..image.acked.len() {
        let mut acked = image.acked.clone();
        acked[byte] ^= 1;
        image.is_refused(&format!("acked byte {byte}"), &acked, &image.bytes);
    }
    image.is_refused("acked cut", &image.acked[..4], &image.bytes);
    fs::remove_file(image.path().join("acked")).unwrap();
    assert!(matches!(
        embedded::open(image.path(), roomy()),
        Err(OpenError::Corrupt { .. })
    ));
}

/// A cleanly stopped store with its data in tables, one byte of one file changed: it does not open, or a read says so,
/// or the byte did not matter. What is read is never wrong, and nothing panics or hangs. `OBJECTSTORE_TEST_BYTES` sets
/// how many bytes of each file are changed, each with a store of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_a_table_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (image, play) = (folder.path().join("image"), folder.path().join("play"));
    let store = open(&image);
    let value = |n: usize| format!("{n} {}", "v".repeat(200));
    for n in 0..400 {
        put(&store, &format!("k{:03}", n % 200), &value(n)).await;
    }
    store.close().await.unwrap();
    drop(store);
    let (mut reported, mut tried) = (0, 0);
    let bytes_of_each = std::env::var("OBJECTSTORE_TEST_BYTES").map_or(40, |text| text.parse().unwrap());
    for (path, bytes) in contents(&image.join("tree")) {
        let step = (bytes.len() / bytes_of_each).max(1);
        for byte in (tried % step..bytes.len()).step_by(step) {
            tried += 1;
            let _ = fs::remove_dir_all(&play);
            snapshot(&image, &play);
            let mut changed = bytes.clone();
            changed[byte] ^= if tried % 2 == 0 { 0x55 } else { 0x80 };
            fs::write(play.join(path.strip_prefix(&image).unwrap()), changed).unwrap();
            let what = format!("{} byte {byte}", path.display());
            reported += usize::from(is_reported(&play, &what, value).await);
        }
    }
    assert!(tried > 100 && reported * 2 > tried, "{reported} of {tried}");
}

async fn is_reported(folder: &Path, what: &str, value: impl Fn(usize) -> String) -> bool {
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| embedded::open(folder, small())));
    let store = match opened.unwrap_or_else(|_| panic!("{what}: panicked")) {
        Ok(store) => store,
        Err(OpenError::Corrupt { .. } | OpenError::Io { .. }) => return true,
        Err(error) => panic!("{what}: {error}"),
    };
    let mut reported = false;
    for n in 0..200 {
        let key = format!("k{n:03}");
        for (at, expected) in [(None, n + 200), (Some(Revision(n as u64 + 1)), n)] {
            match store.get(b(&key), at).await {
                Ok(Some(entry)) => assert_eq!(entry.value, value(expected), "{what}: {key}"),
                Ok(None) => panic!("{what}: {key} at {at:?} is gone"),
                Err(Error::Damaged(_)) => reported = true,
                Err(error) => panic!("{what}: {key}: {error}"),
            }
        }
    }
    match store.range(prefix(b"k"), usize::MAX, None).await {
        Ok(page) => assert_eq!(page.entries.len(), 200, "{what}"),
        Err(Error::Damaged(_)) => reported = true,
        Err(error) => panic!("{what}: {error}"),
    }
    reported
}
