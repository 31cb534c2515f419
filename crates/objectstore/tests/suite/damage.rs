//! Torn ends open without the torn group; any other damage is reported.
//!
//! `acked` tells the two apart: a group is put into it before anybody is answered. A crash before that is played by
//! the `acked` of one transaction earlier.

use std::fs;
use std::path::PathBuf;

use objectstore::embedded::{self, OpenError};
use objectstore::{Revision, Store, prefix};

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
        assert_eq!(
            store.count(prefix(b"key"), usize::MAX, None).await.unwrap(),
            4,
            "{what}"
        );
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
        assert_eq!(store.count(prefix(b"key"), usize::MAX, None).await.unwrap(), 5);
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

/// The length of a list says how much memory to take, which must not be believed before its checksum has been compared.
#[tokio::test]
async fn a_table_with_an_impossible_length_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, "key", "value").await;
    store.close().await.unwrap();
    drop(store);
    let table = fs::read_dir(folder.path().join("tree/tables"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut bytes = fs::read(table.path()).unwrap();
    let contents = bytes.windows(4).rposition(|part| part == b"TOC!").unwrap();
    bytes[contents + 7] ^= 0x80;
    fs::write(table.path(), bytes).unwrap();
    let error = embedded::open(folder.path(), small())
        .err()
        .expect("it is damaged")
        .to_string();
    let name = format!("`tables/{}`", table.file_name().display());
    assert!(error.contains(&name) && error.contains("backup"), "{error}");
}
