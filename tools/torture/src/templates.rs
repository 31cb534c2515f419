//! The template broker, killed at any moment: `cargo xtask torture --broker templates`.
//!
//! The broker is the program `osb`, with its home in a folder. What it makes are objects of its Kubernetes API, and those are what
//! is looked at from outside, beside what it answers:
//!
//! - a generated value is in all objects of an instance or binding the same, in each answer, and for ever;
//! - no object is made a second time;
//! - what was acknowledged is there, with the parameters that were acknowledged;
//! - what was removed is gone, with everything that was made for it, and what takes a login back has run before that;
//! - BrokerTemplateInstances show the bindings that there are.

mod client;
mod look;
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::client::{Client, Outcome};
use self::look::Look;
use self::process::Process;
use crate::options::Options;
use crate::random::Random;
use crate::{Counts, free_addr};

/// The namespace of templates and instances.
const NAMESPACE: &str = "templates";

/// Kills in one round.
const KILLS_OF_A_ROUND: u64 = 25;

/// So long is waited for what is done behind the requests.
const BEHIND: Duration = Duration::from_secs(60);

/// What stands in the folder of templates.
const TEMPLATES: [(&str, &str); 2] = [
    ("shared.yaml", include_str!("templates/shared.yaml")),
    ("own.yaml", include_str!("templates/own.yaml")),
];

/// Where the broker can be reached.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    broker: SocketAddr,
    kubernetes: SocketAddr,
}

/// Plays it.
///
/// # Errors
/// What was found, or what went wrong with the play itself.
pub(crate) fn run(kills: u64, options: &Options, folder: &Path) -> Result<Counts> {
    let templates = folder.join("templates");
    std::fs::create_dir_all(&templates)?;
    for (name, text) in TEMPLATES {
        std::fs::write(templates.join(name), text)?;
    }
    let addresses = Addresses {
        broker: free_addr()?,
        kubernetes: free_addr()?,
    };
    let mut process = Process::new(folder, addresses)?;
    process.start()?;
    process.wait_until_ready()?;
    let mut counts = Counts::new();
    let (mut left, mut number) = (kills, 0);
    while left > 0 {
        let kills = left.min(KILLS_OF_A_ROUND);
        left -= kills;
        let outcome = round(&mut process, options, (number, kills))?;
        for (what, count) in &outcome.counts {
            *counts.entry((*what).to_owned()).or_default() += count;
        }
        *counts.entry("kills".to_owned()).or_default() += kills;
        println!("round {number}: {counts:?}");
        if !outcome.violations.is_empty() {
            for violation in outcome.violations.iter().take(5) {
                println!("\n{violation}");
            }
            bail!("{} violations in round {number}", outcome.violations.len());
        }
        number += 1;
    }
    Ok(counts)
}

/// Has clients work while the broker is killed, then waits until everything has ended, looks at it, and removes it.
fn round(process: &mut Process, options: &Options, (number, kills): (u64, u64)) -> Result<Outcome> {
    let stop = AtomicBool::new(false);
    let kubeconfig = process.kubeconfig();
    let mut outcome = std::thread::scope(|scope| {
        let (stop, kubeconfig) = (&stop, &kubeconfig);
        let addresses = process.addresses();
        let workers: Vec<_> = (0..options.clients)
            .map(|client| {
                let random = Random::of(options.seed, ("templates", number, client));
                scope.spawn(move || {
                    let look = Look::new(kubeconfig)?;
                    Client::new(format!("r{number}c{client}"), addresses.broker, look, random).work(stop)
                })
            })
            .collect();
        let killed = kill(process, kills, Random::of(options.seed, ("kills", number)));
        stop.store(true, Ordering::Relaxed);
        let mut outcome = Outcome::default();
        for worker in workers {
            let found = worker.join().map_err(|_| anyhow::anyhow!("a client broke down"))?;
            outcome.add(found.with_context(|| process.log().tail())?);
        }
        killed.map(|()| outcome)
    })
    .with_context(|| format!("round {number}"))?;
    process.check_alive()?;
    let look = Look::new(&process.kubeconfig())?;
    outcome.violations.extend(left(&look)?);
    outcome.violations.extend(process.take_panics()?);
    Ok(outcome)
}

/// Kills and restarts; at the end the broker runs.
fn kill(process: &mut Process, kills: u64, mut random: Random) -> Result<()> {
    for _ in 0..kills {
        match random.below(100) {
            // Ready or not.
            0..15 => std::thread::sleep(random.micros_below(200_000)),
            15..60 => {
                process.wait_until_ready()?;
                std::thread::sleep(random.micros_below(300_000));
            }
            _ => {
                process.wait_until_ready()?;
                std::thread::sleep(random.micros_below(2_000_000));
            }
        }
        process.check_alive()?;
        process.kill()?;
        process.start()?;
    }
    process.wait_until_ready()
}

/// What is left although everything has been removed.
fn left(look: &Look) -> Result<Vec<String>> {
    let deadline = std::time::Instant::now() + BEHIND;
    loop {
        let mut left = Vec::new();
        for path in look::EVERYTHING {
            let names = look.names(path)?;
            left.extend(names.into_iter().map(|name| format!("{path}: {name} is left")));
        }
        if left.is_empty() || std::time::Instant::now() > deadline {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
