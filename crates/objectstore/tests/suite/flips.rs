//! One bit of one file of a store is another one than was written. It does not matter, or the store says which file is
//! damaged: when it is opened, or when that part is read. What it serves is never wrong, nothing that was acknowledged
//! is missing without a word, and nothing panics.
//!
//! Each bit is played with a copy of the folder of its own. `OSB_STORE_FLIPS` sets how many bits of each file,
//! `OSB_STORE_SEED` which ones.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use objectstore::embedded::{self, OpenError};
use objectstore::{Delivery, Error, Revision, Store, Transaction, prefix};
use testparts::long_run::{count, number};

use crate::model::Model;
use crate::support::*;

/// A folder in memory, and what was written there.
struct Image {
    /// By their names below the folder.
    files: BTreeMap<PathBuf, Vec<u8>>,
    model: Model,
}

/// How the process that wrote an image ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// All is in tables, and the log is empty.
    Clean,
    /// The last part is in the log only.
    Killed,
}

async fn transact(store: &Store, model: &mut Model, transaction: Transaction) {
    let outcome = store.transact(transaction.clone()).await.unwrap();
    assert_eq!(outcome, model.transact(&transaction));
}

/// Puts, replaces and removes in many small tables, of which some are merged, with history of which some is forgotten.
async fn fill(store: &Store, model: &mut Model, random: &mut Random, transactions: usize) {
    for _ in 0..transactions {
        let (one, two) = (random.below(60), random.below(60));
        let value = format!("{one} {}", "v".repeat(random.below(300)));
        let mut transaction = Transaction::default().put(format!("k{one:02}"), value);
        if two % 4 == 0 && one != two {
            transaction = transaction.delete(format!("k{two:02}"));
        }
        transact(store, model, transaction).await;
    }
}

async fn image(ended: Ended, seed: u64) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let (mut model, mut random) = (Model::new(), Random(seed));
    for round in 0..3 {
        let store = open(&live);
        fill(&store, &mut model, &mut random, 120).await;
        model.oldest = 40 + 30 * round;
        store.compact(Revision(model.oldest)).await.unwrap();
        fill(&store, &mut model, &mut random, 20).await;
        store.close().await.unwrap();
    }
    let copy = folder.path().join("copy");
    if ended == Ended::Killed {
        let roomy = embedded::Options {
            memory_bytes: 1 << 20,
            ..small()
        };
        let store = embedded::open(&live, roomy).unwrap();
        fill(&store, &mut model, &mut random, 30).await;
        snapshot(&live, &copy);
    } else {
        snapshot(&live, &copy);
    }
    let mut files = BTreeMap::new();
    collect(&copy, Path::new(""), &mut files);
    Image { files, model }
}

fn collect(folder: &Path, name: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder.join(name)).unwrap() {
        let name = name.join(entry.unwrap().file_name());
        if folder.join(&name).is_dir() {
            collect(folder, &name, files);
        } else {
            files.insert(name.clone(), fs::read(folder.join(&name)).unwrap());
        }
    }
}

impl Image {
    /// The folder with one bit of one file changed.
    fn write(&self, folder: &Path, changed: &Path, byte: usize, bit: usize) {
        let _ = fs::remove_dir_all(folder);
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            if name == changed {
                let mut bytes = bytes.clone();
                bytes[byte] ^= 1 << bit;
                fs::write(&path, bytes).unwrap();
            }
        }
    }
}

/// Which bytes of a file are tried: spread over all of it, and over its end, where a table says what it holds.
fn places(name: &Path, bytes: &[u8], number: usize, random: &mut Random) -> Vec<usize> {
    // What follows the last group of a segment means nothing.
    let length = match name.extension() {
        Some(_) => (*frames(bytes).last().unwrap() + 64).min(bytes.len()),
        None => bytes.len(),
    };
    let mut places = spread(0..length, number, random);
    if name.starts_with("tree/tables") {
        places.extend(spread(length.saturating_sub(1500)..length, number, random));
    }
    places
}

fn spread(all: Range<usize>, number: usize, random: &mut Random) -> Vec<usize> {
    let (start, length) = (all.start, all.len());
    if number >= length {
        return all.collect();
    }
    let part = |n: usize| start + n * length / number;
    (0..number)
        .map(|n| part(n) + random.below(part(n + 1) - part(n)))
        .collect()
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    NotOpened,
    Reported,
    DidNotMatter,
}

/// A look at a folder in which a file was changed.
struct Look<'a> {
    what: String,
    /// The name of the changed file, without its folders.
    file: &'a str,
    model: &'a Model,
    fatal: Arc<Mutex<Vec<String>>>,
    reported: bool,
}

impl Look<'_> {
    fn open(&self, folder: &Path) -> Option<Store> {
        let fatal = self.fatal.clone();
        let options = embedded::Options {
            on_fatal: Arc::new(move |message| fatal.lock().unwrap().push(message.to_owned())),
            ..small()
        };
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| embedded::open(folder, options)));
        match opened.unwrap_or_else(|_| panic!("{}: panicked", self.what)) {
            Ok(store) => Some(store),
            Err(error @ (OpenError::Corrupt { .. } | OpenError::Format { .. })) => {
                self.names_the_file(&error.to_string());
                None
            }
            Err(error) => panic!("{}: {error}", self.what),
        }
    }

    fn names_the_file(&self, message: &str) {
        assert!(message.contains(self.file), "{}: {message}", self.what);
        let advice = ["backup", "use the version that wrote it"];
        assert!(advice.iter().any(|advice| message.contains(advice)), "{message}");
    }

    /// The answer, unless it was refused because of the damage.
    fn answer<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(found) => Some(found),
            Err(Error::Damaged(message)) => {
                self.names_the_file(&message);
                self.reported = true;
                None
            }
            Err(error) => panic!("{}: {error}", self.what),
        }
    }

    /// Reads everything in every way.
    async fn read(&mut self, store: &Store) {
        let newest = self.model.revision();
        assert!(store.revision() >= newest, "{}: at {:?}", self.what, store.revision());
        let middle = (self.model.oldest + newest.0) / 2;
        for at in [newest.0, middle, self.model.oldest] {
            let state = &self.model.states[at as usize];
            for n in 0..60 {
                let key = b(format!("k{n:02}"));
                let found = store.get(key.clone(), Some(Revision(at))).await;
                if let Some(found) = self.answer(found) {
                    assert_eq!(found.as_ref(), state.get(&key), "{}: {key:?} at {at}", self.what);
                }
            }
            self.list(store, at).await;
            let counted = store.count(prefix(b"k"), usize::MAX, Some(Revision(at))).await;
            if let Some(counted) = self.answer(counted) {
                assert_eq!(counted, state.len() as u64, "{}: at {at}", self.what);
            }
        }
        self.watch(store).await;
    }

    /// All pages of a list.
    async fn list(&mut self, store: &Store, at: u64) {
        let mut start = Bytes::from("k");
        let mut entries = Vec::new();
        loop {
            let page = store
                .range(start.clone()..Bytes::from("l"), 25, Some(Revision(at)))
                .await;
            let Some(page) = self.answer(page) else { return };
            entries.extend(page.entries);
            if !page.more {
                break;
            }
            start = [&entries.last().unwrap().key[..], b"\0"].concat().into();
        }
        let state = self.model.states[at as usize].values();
        assert!(entries.iter().eq(state), "{}: at {at}", self.what);
    }

    /// All of the history that is kept.
    async fn watch(&mut self, store: &Store) {
        let (after, newest) = (self.model.oldest, self.model.revision());
        let watch = store.watch(prefix(b"k"), Some(Revision(after))).await;
        let Some(mut watch) = self.answer(watch) else { return };
        let mut seen = after;
        while seen < newest.0 {
            let delivery = tokio::time::timeout(std::time::Duration::from_secs(20), watch.next()).await;
            let delivery = delivery.unwrap_or_else(|_| panic!("{}: the watch hangs", self.what));
            let delivery = delivery.unwrap_or_else(|| panic!("{}: the watch ended", self.what));
            let Some(delivery) = self.answer(delivery) else { return };
            match delivery {
                Delivery::Events(events) => {
                    assert_eq!(events[..], self.model.events[seen as usize], "{}", self.what);
                    seen += 1;
                }
                Delivery::Progress(revision) => assert_eq!(revision.0, seen, "{}", self.what),
            }
        }
    }

    /// Writes so much that tables are written and merged, which must not make whole what is damaged.
    async fn write(&mut self, store: &Store) {
        for n in 0..12 {
            let write = Transaction::default().put(format!("z{n}"), vec![b'z'; 4000]);
            let outcome = store.transact(write).await;
            self.answer(outcome);
        }
        let closed = store.close().await;
        self.answer(closed);
    }
}

/// Looks at the folder, and with `twice` again after further writes.
async fn look(folder: &Path, what: String, file: &str, model: &Model, twice: bool) -> Verdict {
    let mut look = Look {
        what,
        file,
        model,
        fatal: Arc::default(),
        reported: false,
    };
    let Some(store) = look.open(folder) else {
        return Verdict::NotOpened;
    };
    look.read(&store).await;
    if twice {
        look.write(&store).await;
        drop(store);
        if let Some(store) = look.open(folder) {
            look.read(&store).await;
        }
    }
    let fatal = look.fatal.lock().unwrap().clone();
    assert!(fatal.is_empty(), "{}: {fatal:?}", look.what);
    match look.reported {
        true => Verdict::Reported,
        false => Verdict::DidNotMatter,
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Whether a change to the file need not be noticed: the number in `lock` is for people, some have no content that
/// counts, and the list of tables and its copy serve for each other.
fn may_be_silent(name: &str) -> bool {
    let is_list = name.starts_with('v') || ["current", "kept"].contains(&name);
    is_list || ["lock", "spare", "next", "retired"].contains(&name)
}

/// Whether all is there without the file: who is killed may leave a table that no list names.
async fn is_unused(image: &Image, folder: &Path, name: &Path) -> bool {
    image.write(folder, name, 0, 0);
    fs::remove_file(folder.join(name)).unwrap();
    let what = format!("without {}", name.display());
    look(folder, what, file_name(name), &image.model, false).await == Verdict::DidNotMatter
}

async fn play(ended: Ended, salt: u64) {
    let seed = number("OSB_STORE_SEED", 0) ^ salt;
    let number = number("OSB_STORE_FLIPS", 6) as usize;
    let image = image(ended, seed).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = Random(seed);
    let (mut tried, mut found) = (0, 0);
    for (name, bytes) in &image.files {
        let mut verdicts = Vec::new();
        for byte in places(name, bytes, number, &mut random) {
            let bit = random.below(8);
            image.write(&path, name, byte, bit);
            let what = format!("{} byte {byte} bit {bit}", name.display());
            let file = file_name(name);
            verdicts.push(look(&path, what, file, &image.model, random.below(4) == 0).await);
        }
        let silent = verdicts
            .iter()
            .filter(|verdict| **verdict == Verdict::DidNotMatter)
            .count();
        assert!(
            may_be_silent(file_name(name)) || silent * 4 <= verdicts.len() || is_unused(&image, &path, name).await,
            "{}: {verdicts:?}",
            name.display()
        );
        tried += verdicts.len();
        found += verdicts.len() - silent;
    }
    count("files", image.files.len() as u64);
    count("bits changed", tried as u64);
    count("bits found and said", found as u64);
    count("bits that did not matter", (tried - found) as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_bit_in_a_store_that_was_closed_is_found_and_never_served() {
    play(Ended::Clean, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_bit_in_a_store_that_was_killed_is_found_and_never_served() {
    play(Ended::Killed, 1).await;
}
