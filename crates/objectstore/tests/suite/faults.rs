//! A disk that fails once: each operation of a scripted run on a file of the store, that of the tables included, is made
//! to fail in each of the ways in which it can.
//!
//! The process then refuses what it could not store and goes on, or does not open the store, or ends itself. Opened
//! again on a healthy disk, the folder holds everything that was acknowledged, in its order and with its history, and
//! nothing that was refused. What had no answer may be there or not, as a whole.
//!
//! `OSB_STORE_FAULTS` sets how many operations of each kind fail in each way; in a long run all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use objectstore::{Error, Revision, Store, Transaction, embedded, prefix};
use testparts::long_run::{count, number};

use crate::support::*;
use crate::tracer::{self, Call, Ended, Fault, Op};

const FOLDER: &str = "OBJECTSTORE_TEST_FOLDER";
const ANSWERS: &str = "OBJECTSTORE_TEST_ANSWERS";
const FIRST: &str = "OBJECTSTORE_TEST_FIRST";

/// How many transactions each opening of the script has.
const WRITES: u64 = 26;

const KEYS: u64 = 5;

/// Writes a table after each few transactions, and merges them.
fn tiny() -> embedded::Options {
    embedded::Options {
        memory_bytes: 6 << 10,
        ..small()
    }
}

/// Not a test of its own: the script, run by the process whose disk fails. A new store is filled, closed, opened and
/// filled again; in the end it is left as by a crash. Each answer is noted.
#[tokio::test]
#[ignore = "runs as a child of the tests below"]
async fn child() {
    let (Ok(folder), Ok(answers), Ok(first)) = (std::env::var(FOLDER), std::env::var(ANSWERS), std::env::var(FIRST))
    else {
        return;
    };
    let mut answers = File::options().append(true).open(answers).unwrap();
    let first: u64 = first.parse().unwrap();
    for round in 0..2 {
        let store = match embedded::open(&folder, tiny()) {
            Ok(store) => store,
            Err(error) => {
                writeln!(answers, "unopened 0 {error}").unwrap();
                return;
            }
        };
        for n in 0..WRITES {
            let n = first + round * WRITES + n;
            let answer = write(&store, n).await;
            answers.write_all(answer.as_bytes()).unwrap();
            if n % 10 == 9 {
                // Forgets a part of history; may be refused as a write may.
                let _ = store.compact(Revision(store.revision().0 / 3)).await;
            }
        }
        if round == 0 {
            store.close().await.unwrap();
        } else {
            // The threads end with the process, in the middle of what they are doing.
            std::mem::forget(store);
        }
    }
}

/// Writes both keys of a number, reads them back, and gives the line that says how it went.
async fn write(store: &Store, n: u64) -> String {
    let value = format!("{n} {}", "v".repeat(500));
    let key = n % KEYS;
    let both = Transaction::default()
        .put(format!("a/{key}"), value.clone())
        .put(format!("b/{key}"), value.clone());
    match store.transact(both).await {
        Ok(_) => {
            let found = store.get(b(format!("a/{key}")), None).await;
            match found {
                Ok(Some(entry)) if entry.value == value => format!("acked {n}\n"),
                // A disk that cannot be read.
                Err(Error::Damaged(_) | Error::Closed) => format!("acked {n}\n"),
                wrong => format!("wrong {n} {wrong:?}\n"),
            }
        }
        Err(Error::Unavailable(_) | Error::Damaged(_)) => format!("refused {n}\n"),
        Err(Error::Closed) => format!("unknown {n}\n"),
        Err(error) => format!("wrong {n} {error}\n"),
    }
}

/// What the process said of each transaction, in order; of one that was on its way when it ended, nothing.
#[derive(Default)]
struct Answers {
    acked: Vec<u64>,
    refused: BTreeSet<u64>,
    unopened: bool,
}

impl Answers {
    fn read(path: &Path, what: &str) -> Self {
        let mut answers = Self::default();
        for line in fs::read_to_string(path).unwrap().lines() {
            let (answer, rest) = line.split_once(' ').unwrap();
            let n = rest.split(' ').next().unwrap().parse().unwrap();
            match answer {
                "acked" => answers.acked.push(n),
                "refused" => assert!(answers.refused.insert(n)),
                "unknown" => {}
                "unopened" => answers.unopened = true,
                _ => panic!("{what}: {line}"),
            }
        }
        answers
    }
}

/// A folder to start from, with what was acknowledged there.
struct Start {
    folder: Option<PathBuf>,
    answers: String,
    first: u64,
}

/// A run of the script.
struct Play {
    _folder: tempfile::TempDir,
    store: PathBuf,
    answers: PathBuf,
    ended: Ended,
}

fn play(start: &Start, decide: impl FnMut(&Call) -> Option<Fault>) -> Result<Play, testparts::Error> {
    let folder = tempfile::tempdir().unwrap();
    let (store, answers) = (folder.path().join("store"), folder.path().join("answers"));
    if let Some(from) = &start.folder {
        snapshot(from, &store);
    }
    fs::write(&answers, &start.answers).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "faults::child",
        "--ignored",
        "--nocapture",
        "--test-threads",
        "1",
    ]);
    command
        .env(FOLDER, &store)
        .env(ANSWERS, &answers)
        .env(FIRST, start.first.to_string());
    let ended = tracer::run(&command, &store, decide)?;
    Ok(Play {
        _folder: folder,
        store,
        answers,
        ended,
    })
}

/// The folder holds what was acknowledged, and no part of what was refused.
async fn check(play: &Play, what: &str) -> Answers {
    let answers = Answers::read(&play.answers, what);
    let store = embedded::open(&play.store, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let oldest = store.oldest().0;
    let mut watch = store.watch(prefix(b""), Some(Revision(oldest))).await.unwrap();
    let events = match store.revision().0 > oldest {
        true => events_until(&mut watch, store.revision()).await,
        false => Vec::new(),
    };
    let number = |value: &[u8]| -> u64 {
        let text = String::from_utf8(value.to_vec()).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    // The transactions that are there, by their revision, as far as history goes.
    let mut history = BTreeMap::new();
    for pair in events.chunks(2) {
        let [one, two] = pair else {
            panic!("{what}: half a transaction")
        };
        assert_eq!((&one.value, one.revision), (&two.value, two.revision), "{what}");
        history.insert(one.revision.0, number(one.value.as_ref().unwrap()));
    }
    assert!(
        history.keys().copied().eq(oldest + 1..=store.revision().0),
        "{what}: a gap in history"
    );
    let written: Vec<u64> = history.values().copied().collect();
    assert!(written.is_sorted(), "{what}: {written:?}");
    assert!(
        written.iter().all(|n| !answers.refused.contains(n)),
        "{what}: refused, but there"
    );
    let forgotten = written.first().copied().unwrap_or(u64::MAX);
    let missing = answers.acked.iter().find(|n| **n >= forgotten && !written.contains(n));
    assert_eq!(missing, None, "{what}: acknowledged, but missing in history");
    for key in 0..KEYS {
        let one = get(&store, &format!("a/{key}"), None).await;
        let two = get(&store, &format!("b/{key}"), None).await;
        assert_eq!(
            one.as_ref().map(|entry| &entry.value),
            two.as_ref().map(|entry| &entry.value),
            "{what}"
        );
        let found = one.map(|entry| number(&entry.value));
        let newest = answers.acked.iter().filter(|n| **n % KEYS == key).max();
        assert!(
            found >= newest.copied(),
            "{what}: key {key} has {found:?}, acknowledged was {newest:?}"
        );
        assert!(
            found.is_none_or(|n| !answers.refused.contains(&n)),
            "{what}: refused, but there"
        );
    }
    put(&store, "a/later", "later").await;
    answers
}

/// The ways in which an operation can fail.
fn faults(op: Op) -> &'static [Fault] {
    const EIO: Fault = Fault::Error(Errno::EIO);
    const ENOSPC: Fault = Fault::Error(Errno::ENOSPC);
    match op {
        Op::Write => &[EIO, ENOSPC, Fault::Half(Errno::EIO), Fault::Half(Errno::ENOSPC)],
        Op::Open => &[EIO, Fault::Error(Errno::EMFILE)],
        Op::Create | Op::Allocate | Op::Rename | Op::MakeFolder | Op::Sync => &[EIO, ENOSPC],
        Op::Read | Op::Remove | Op::List => &[EIO],
    }
}

/// So many numbers below a total, spread over all of them.
fn spread(total: u64, number: u64) -> impl Iterator<Item = u64> {
    let number = number.min(total);
    (0..number).map(move |n| n * total / number + total / number / 2)
}

async fn fail_once_each(start: &Start) {
    let mut totals = BTreeMap::new();
    let healthy = play(start, |call| {
        *totals.entry(call.op).or_insert(0u64) += 1;
        None
    });
    let Some(healthy) = testparts::need(healthy) else {
        return;
    };
    let answers = check(&healthy, "healthy").await;
    assert_eq!(healthy.ended, Ended::Exited(0));
    assert_eq!(
        answers.acked.len() as u64,
        start.first + 2 * WRITES,
        "a healthy disk refuses nothing"
    );
    let number = number("OSB_STORE_FAULTS", 2);
    for (op, total) in totals {
        for fault in faults(op) {
            for n in spread(total, number) {
                one_fault(start, op, *fault, n).await;
            }
        }
    }
}

/// The operation of that number fails.
async fn one_fault(start: &Start, op: Op, fault: Fault, n: u64) {
    let (mut seen, mut failed) = (0, None);
    let play = play(start, |call| {
        seen += u64::from(call.op == op);
        (call.op == op && seen == n + 1).then(|| {
            failed = Some(call.path.clone());
            fault
        })
    });
    let play = play.unwrap();
    // The threads of the store are not always equally fast: there may be one operation less.
    let Some(path) = failed else { return };
    let what = format!("{op:?} {n}, {fault:?}, of {}", path.display());
    let answers = check(&play, &what).await;
    let aborted = match play.ended {
        Ended::Exited(0) => false,
        Ended::Killed(Signal::SIGABRT) => true,
        ended => panic!("{what}: {ended:?}"),
    };
    let is_log = path.extension().is_some_and(|extension| extension == "log");
    if is_log && op == Op::Sync {
        assert!(aborted, "{what}: a failed sync must not be passed over");
    }
    if is_log && op == Op::Write && matches!(fault, Fault::Error(Errno::ENOSPC) | Fault::Half(Errno::ENOSPC)) {
        // It may have been the group of a compaction, whose answer is not noted.
        assert!(
            aborted || answers.refused.len() <= 1,
            "{what}: a disk that was full is used again"
        );
    }
    count("faults", 1);
    count("processes that ended themselves", aborted.into());
    count("stores that did not open", answers.unopened.into());
    count("transactions refused", answers.refused.len() as u64);
    count("transactions acknowledged", answers.acked.len() as u64);
}

#[tokio::test]
async fn a_disk_that_fails_once_loses_nothing_of_a_new_store() {
    let start = Start {
        folder: None,
        answers: String::new(),
        first: 0,
    };
    fail_once_each(&start).await;
}

/// With a log that has to be replayed.
#[tokio::test]
async fn a_disk_that_fails_once_loses_nothing_of_a_store_that_was_killed() {
    let live = tempfile::tempdir().unwrap();
    let path = live.path().join("store");
    let store = embedded::open(
        &path,
        embedded::Options {
            memory_bytes: 1 << 20,
            ..small()
        },
    )
    .unwrap();
    let mut answers = String::new();
    for n in 0..20 {
        answers.push_str(&write(&store, n).await);
    }
    let copy = live.path().join("copy");
    snapshot(&path, &copy);
    let start = Start {
        folder: Some(copy),
        answers,
        first: 20,
    };
    fail_once_each(&start).await;
}
