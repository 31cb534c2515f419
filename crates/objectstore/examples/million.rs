//! Measures a store with many objects: how long it takes to open, what it keeps in memory, and what a read and a write
//! cost then, beside the same with 1,000.
//!
//! `cargo run --release -p objectstore --example million -- FOLDER [OBJECTS]`
//!
//! The keys and transactions are those of the API server for service instances that were provisioned: a create with an
//! index entry, and an outcome that replaces the object and takes the entry away. Each step runs in a process of its
//! own; what it keeps in memory is counted without the pages of files. The folder is kept, and what it has already is
//! not written again. Prints, for each number of objects:
//!
//! ```text
//! 1000000 objects: 2306 MiB on the disk
//!   after SIGKILL: open 310 ms, 9 MiB
//!   after a clean stop: open 8 ms, 8 MiB; get p50 41 us p99 160 us; provision p50 3.2 ms p99 6.1 ms
//!   after a list of 1000000 in pages of 500: 12 MiB, 4.1 s
//! ```

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use objectstore::{Compare, Outcome, Revision, Store, Transaction, embedded, prefix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OBJECTS: &str = "/registry/osb.example.com/serviceinstances/platform-one/";
const INDEX: &str = "/index/osb.example.com/serviceinstances/record.operation/platform-one/";
const DEFINITION: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/serviceinstances.osb.example.com";

/// How many provisions run at once.
const WRITERS: u64 = 64;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(arguments.first().expect("name a folder"));
    let number = |index: usize| {
        arguments
            .get(index)
            .map_or(1_000_000, |text| text.parse().expect("a number"))
    };
    match arguments.get(1).map(String::as_str) {
        Some("fill") => fill(&folder, number(2)).await,
        Some("open") => println!("open {:.0?}, {} MiB", open(&folder).1, anonymous_mib()),
        Some("use") => measure(&folder, number(2)).await,
        _ => {
            for objects in [1000, number(1)] {
                let folder = folder.join(objects.to_string());
                killed(&folder, objects);
                let child = |step: &str| step_of_its_own(&folder, step, objects).status().expect("it runs");
                println!("{objects} objects: {} MiB on the disk", disk_bytes(&folder) >> 20);
                print!("  after SIGKILL: ");
                flush();
                assert!(child("open").success());
                print!("  after a clean stop: ");
                flush();
                assert!(child("use").success());
            }
        }
    }
}

fn step_of_its_own(folder: &Path, step: &str, objects: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("Linux has it"));
    command.arg(folder).arg(step).arg(objects.to_string());
    command
}

/// Fills the folder, and kills the process that does it when the last object has been acknowledged.
fn killed(folder: &Path, objects: u64) {
    let mut child = step_of_its_own(folder, "fill", objects)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let said = BufReader::new(child.stdout.take().expect("it is a pipe"))
        .lines()
        .next();
    assert_eq!(said.and_then(Result::ok).as_deref(), Some("filled"));
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
}

async fn fill(folder: &Path, objects: u64) {
    let (store, _) = open(folder);
    let define = Transaction::default()
        .when(Compare::Absent(DEFINITION.into()))
        .put(DEFINITION, "definition");
    store.transact(define).await.expect("it is carried out");
    let there = store
        .count(prefix(OBJECTS.as_bytes()), usize::MAX, None)
        .await
        .expect("it can be read");
    provision(&store, there, objects.saturating_sub(there), 256).await;
    // So that the log is as long as it gets.
    provision(&store, objects.max(there), 5000, 256).await;
    println!("filled");
    std::future::pending::<()>().await;
}

/// Opens the store; gives how long that took.
fn open(folder: &Path) -> (Store, Duration) {
    let started = Instant::now();
    let store = embedded::open(folder, embedded::Options::default()).expect("the store opens");
    (store, started.elapsed())
}

async fn measure(folder: &Path, objects: u64) {
    let (store, opened) = open(folder);
    println!("open {opened:.0?}, {} MiB", anonymous_mib());
    let mut random = Random(1);
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let key = object(random.next() % objects);
        let started = Instant::now();
        let found = store.get(key, None).await.expect("it can be read");
        times.push(started.elapsed());
        assert!(found.is_some());
    }
    println!("  get: {}", summary(&mut times));
    let first = store
        .count(prefix(OBJECTS.as_bytes()), usize::MAX, None)
        .await
        .expect("it can be read");
    for _ in 0..2 {
        let mut times = provision(&store, first + random.next(), 10_000, WRITERS).await;
        println!("  provision, {WRITERS} at once: {}", summary(&mut times));
    }
    let started = Instant::now();
    let listed = list(&store).await;
    println!(
        "  after a list of {listed} in pages of 500: {} MiB, {:.1?}",
        anonymous_mib(),
        started.elapsed()
    );
    let closing = Instant::now();
    store.close().await.expect("it closes");
    println!("  close: {:.0?}", closing.elapsed());
}

async fn list(store: &Store) -> u64 {
    let all = prefix(OBJECTS.as_bytes());
    let (mut start, mut at, mut listed) = (all.start, None, 0);
    loop {
        let page = store
            .range(start..all.end.clone(), 500, at)
            .await
            .expect("it can be read");
        at = Some(page.revision);
        listed += page.entries.len() as u64;
        let Some(last) = page.entries.last().filter(|_| page.more) else {
            return listed;
        };
        start = [&last.key[..], b"\0"].concat().into();
    }
}

/// Provisions instances, so many at once; gives how long each took.
async fn provision(store: &Store, first: u64, count: u64, at_once: u64) -> Vec<Duration> {
    let tasks: Vec<_> = (0..at_once)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for number in (writer..count).step_by(at_once as usize) {
                    let started = Instant::now();
                    provision_one(&store, first.wrapping_add(number)).await;
                    times.push(started.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("it ends"));
    }
    times
}

async fn provision_one(store: &Store, number: u64) {
    let key = object(number);
    let name = std::str::from_utf8(&key[OBJECTS.len()..]).expect("it is text");
    let index = format!("{INDEX}Provision\0\0{name}");
    let create = Transaction::default()
        .when(Compare::Absent(key.clone()))
        .when(Compare::Exists(DEFINITION.into()))
        .put(key.clone(), value(number, 1600))
        .put(index.clone(), "");
    let Outcome::Committed(revision) = store.transact(create).await.expect("it is carried out") else {
        return;
    };
    let outcome = Transaction::default()
        .when(Compare::Modified(key.clone(), revision))
        .when(Compare::Exists(DEFINITION.into()))
        .put(key, value(number, 2048))
        .delete(index);
    let outcome = store.transact(outcome).await.expect("it is carried out");
    assert!(matches!(outcome, Outcome::Committed(at) if at > Revision(0)));
}

/// The key of an object: its name is spread as a UUID is.
fn object(number: u64) -> Bytes {
    let mut random = Random(number);
    let (high, low) = (random.next(), random.next());
    let name = format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    );
    format!("{OBJECTS}{name}").into()
}

/// Bytes that cannot be made smaller.
fn value(number: u64, bytes: usize) -> Bytes {
    let mut random = Random(!number);
    let mut value = Vec::with_capacity(bytes + 8);
    while value.len() < bytes {
        value.extend_from_slice(&random.next().to_le_bytes());
    }
    value.truncate(bytes);
    value.into()
}

/// Numbers that look random (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

fn summary(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1000];
    format!("p50 {:.1?}  p99 {:.1?}  max {:.1?}", at(500), at(990), at(1000))
}

fn flush() {
    std::io::Write::flush(&mut std::io::stdout()).expect("it is written");
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("it is there").filter_map(Result::ok);
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// What the process keeps in memory, without the pages of files.
fn anonymous_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a number") / 1024
}
