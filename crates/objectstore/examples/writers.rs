//! Measures synced writes: closed-loop writers that each wait until their own put is durable.
//!
//! `cargo run --release -p objectstore --example writers -- FOLDER [WRITERS] [SECONDS] [KEYS]`
//!
//! Each writer puts values of 1 KiB, over new keys, or over `KEYS` keys in turns. Prints, among others, the time of one
//! append with `fdatasync` on the same disk, without which the figures say little:
//!
//! ```text
//! sync: p50 260 us  p99 410 us
//! 128 writers: 70000 ops/s  p50 1.7 ms  p99 4.1 ms  max 60 ms  12.5 us CPU per op  RSS 60 MiB
//! close: 40 ms  open: 3 ms  RSS after open: 6 MiB
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use objectstore::{Store, Transaction, embedded};

const VALUE: &[u8] = &[b'v'; 1024];

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("name a folder"));
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (writers, seconds, keys) = (number(128), number(5), number(0));

    std::fs::create_dir_all(&folder).expect("the folder can be made");
    print_times("sync", &sync_times(&folder));
    let data = folder.join("data");
    let started = Instant::now();
    let store = embedded::open(&data, embedded::Options::default()).expect("the store opens");
    println!("open: {:?}  RSS {} MiB", started.elapsed(), resident_mib());

    let (cpu, started) = (cpu_time(), Instant::now());
    let deadline = started + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..writers)
        .map(|w| tokio::spawn(write(store.clone(), w, keys, deadline)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("the writer ends"));
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    let each = cpu.as_secs_f64() * 1e6 / times.len() as f64;
    println!(
        "{writers} writers: {rate:.0} ops/s  {each:.1} us CPU per op  RSS {} MiB",
        resident_mib()
    );
    times.sort_unstable();
    print_times("latency", &times);

    let started = Instant::now();
    store.close().await.expect("the store closes");
    drop(store);
    println!("close: {:?}", started.elapsed());
    let started = Instant::now();
    let store = embedded::open(&data, embedded::Options::default()).expect("the store opens");
    println!(
        "open: {:?} at revision {}  RSS {} MiB",
        started.elapsed(),
        store.revision().0,
        resident_mib()
    );
}

async fn write(store: Store, writer: u64, keys: u64, deadline: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < deadline {
        let number = times.len() as u64;
        let key = format!(
            "objects/{writer:04}/{:010}",
            if keys == 0 { number } else { number % keys }
        );
        let started = Instant::now();
        store
            .transact(Transaction::default().put(key, VALUE))
            .await
            .expect("it is committed");
        times.push(started.elapsed());
    }
    times
}

/// How long an append and its sync take, sorted.
fn sync_times(folder: &Path) -> Vec<Duration> {
    let path = folder.join("sync");
    let file = File::create(&path).expect("the file can be made");
    let mut times: Vec<_> = (0..300)
        .map(|n| {
            let started = Instant::now();
            file.write_all_at(VALUE, n * VALUE.len() as u64).expect("it is written");
            file.sync_data().expect("it is synced");
            started.elapsed()
        })
        .collect();
    std::fs::remove_file(path).expect("the file can be removed");
    times.sort_unstable();
    times
}

fn print_times(what: &str, sorted: &[Duration]) {
    let at = |per_mille: usize| sorted[(sorted.len() - 1) * per_mille / 1000];
    println!("{what}: p50 {:?}  p99 {:?}  max {:?}", at(500), at(990), at(1000));
}

fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields follow").split(' ').collect();
    let ticks: u64 = [fields[11], fields[12]]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("it is there");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        / 1024
}
