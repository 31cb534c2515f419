//! A process that is killed at any moment, or that the disk refuses, loses nothing that it has acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use objectstore::{Revision, Transaction, embedded, prefix};
use testparts::long_run::{count, number};

use crate::support::*;

const FOLDER: &str = "OBJECTSTORE_TEST_FOLDER";
const ROUND: &str = "OBJECTSTORE_TEST_ROUND";
const WRITERS: usize = 8;

/// Not a test of its own: what the killed process runs. Its writers count up, each in two keys at once, and say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as a child of the tests below"]
async fn child() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else {
        return;
    };
    let store = embedded::open(folder, small()).unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let (store, round) = (store.clone(), round.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let value = format!("{round}.{n:06} {}", "x".repeat(200));
                let both = Transaction::default().put(format!("a/{writer}"), value.clone());
                let revision = commit(&store, both.put(format!("b/{writer}"), value)).await;
                let line = format!("acked {writer} {} {n}\n", revision.0);
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

fn spawn_child(folder: &Path, round: usize, limit: Option<u32>) -> Child {
    let program = std::env::current_exe().unwrap();
    // Without the signal a write beyond the limit fails as it does on a full disk.
    let script = limit.map_or(String::new(), |blocks| format!("trap '' XFSZ; ulimit -f {blocks}; "));
    Command::new("sh")
        .args([
            "-c",
            &format!("{script}exec \"$0\" --exact crash::child --ignored --nocapture"),
        ])
        .arg(program)
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the child acknowledged: of each writer the last revision and number.
type Acked = BTreeMap<usize, (u64, u64)>;

fn read_line(line: &str, acked: &mut Acked) {
    let Some(fields) = line.strip_prefix("acked ") else {
        return;
    };
    let fields: Vec<u64> = fields.split(' ').map_while(|field| field.parse().ok()).collect();
    if let [writer, revision, number] = fields[..] {
        acked.insert(writer as usize, (revision, number));
    }
}

/// Kills the child some time after its first answer and gives all its answers.
fn run_until_killed(folder: &Path, round: usize, patience: Duration) -> Acked {
    let mut child = spawn_child(folder, round, None);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let mut acked = Acked::new();
    let mut first = None;
    let mut killed = false;
    while let Some(Ok(line)) = lines.next() {
        read_line(&String::from_utf8_lossy(&line), &mut acked);
        if !acked.is_empty() {
            let first = *first.get_or_insert_with(Instant::now);
            if first.elapsed() >= patience && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself");
    acked
}

async fn check(folder: &Path, round: usize, acked: &Acked) {
    let store = open(folder);
    let newest = acked.values().map(|(revision, _)| *revision).max().unwrap();
    assert!(
        store.revision() >= Revision(newest),
        "{:?} < {newest}",
        store.revision()
    );
    for (writer, (revision, number)) in acked {
        let one = get(&store, &format!("a/{writer}"), None).await.unwrap();
        let two = get(&store, &format!("b/{writer}"), None).await.unwrap();
        assert_eq!((&one.value, one.modified), (&two.value, two.modified), "both or none");
        // The answer to one further write may have been on its way.
        let value = String::from_utf8(one.value.to_vec()).unwrap();
        let found = value.split([' ', '.']).nth(1).unwrap().parse::<u64>().unwrap();
        assert!(value.starts_with(&format!("{round}.")), "{value}");
        assert!(
            found == *number || found == number + 1,
            "writer {writer}: {found} after {number}"
        );
        assert!(one.modified >= Revision(*revision));
    }
    let mut watch = store.watch(prefix(b""), Some(Revision(0))).await.unwrap();
    let events = events_until(&mut watch, store.revision()).await;
    let revisions: Vec<_> = events.chunks(2).map(|pair| pair[0].revision.0).collect();
    assert_eq!(revisions, Vec::from_iter(1..=store.revision().0), "no gap in history");
}

/// `OSB_STORE_KILLS` sets how often a process is killed, `OSB_STORE_SEED` at which moments.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    const MOMENTS: [u64; 6] = [1, 30, 90, 10, 150, 60];
    let kills = number("OSB_STORE_KILLS", MOMENTS.len() as u64);
    let mut moved = number("OSB_STORE_SEED", 0);
    let mut folder = tempfile::tempdir().unwrap();
    for kill in 0..kills {
        let round = kill as usize % MOMENTS.len();
        if round == 0 {
            folder = tempfile::tempdir().unwrap();
        }
        // A step of a well-known generator of numbers that look random.
        moved = moved
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let moment = MOMENTS[round] * 1000 + (moved >> 33) % 20_000;
        let acked = run_until_killed(folder.path(), round, Duration::from_micros(moment));
        // Every second time the next process does the replay, under load.
        if round % 2 == 1 || kill + 1 == kills {
            check(folder.path(), round, &acked).await;
        }
        count("kills", 1);
        count("acknowledged", acked.values().map(|(_, number)| number + 1).sum());
    }
}

/// The limit on the size of files is met by a real write of the log or of a table: the store refuses further writes, or
/// the process ends itself; what it acknowledged is there.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_a_write_fails() {
    for blocks in [1, 40, 400, 1900] {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        let mut child = spawn_child(folder.path(), 0, Some(blocks));
        let mut acked = Acked::new();
        let started = Instant::now();
        for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
            read_line(&String::from_utf8_lossy(&line.unwrap()), &mut acked);
            if started.elapsed() > Duration::from_secs(1) {
                // Some limits are never met.
                let _ = child.kill();
            }
        }
        child.wait().unwrap();
        if !acked.is_empty() {
            check(folder.path(), 0, &acked).await;
        }
        open(folder.path());
    }
}
