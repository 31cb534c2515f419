//! Kills a broker under load, again and again, and checks what it has lost: `cargo xtask torture`.
//!
//! - The *broker* (`torture-broker`, built on the SDK) is a process that is killed with SIGKILL and started again on its
//!   data folder.
//! - The *backend* of its functions is this process, which is never killed. It journals every call.
//! - *Clients* of two platforms that use equal ids ask for a random mix of everything, repeat what was cut off, hang up,
//!   and race with themselves. Each journals what it asked and was answered.
//! - The *checker* reads the journals and nothing else: [`calls`] what the backend saw, [`model`] what the clients were
//!   answered.
//!
//! The run goes in rounds, each with ids of its own on the same data folder. At the end of a round the broker is left
//! alone until everything has ended; then all is deleted, and nothing may be left in the backend.

mod backend;
mod broker_process;
mod calls;
mod client;
mod journal;
mod model;
mod random;
mod round;
mod story;
mod wire;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use testparts::proof::Proof;

use crate::backend::Backend;
use crate::broker_process::BrokerProcess;
use crate::round::Round;
use crate::wire::World;

const HELP: &str = "\
cargo xtask torture [ARGS]: kill and restart a broker under load, and check what it has lost

  --kills N      how often it is killed (default 50)
  --seed N       repeats the mix of requests and the moments of the kills of a run (default: drawn)
  --clients N    how many clients there are (default 12)
  --proof        writes proofs/torture.json when the run passes
  --keep         keeps the data folder also when the run passes
";

/// Kills in one round.
const KILLS_OF_A_ROUND: u64 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    kills: u64,
    seed: u64,
    clients: usize,
    proof: bool,
    keep: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|options| options.map_or_else(help, run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> Result<()> {
    print!("{HELP}");
    Ok(())
}

/// `None` asks for help.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>> {
    // Six digits are enough to type again.
    let drawn = RandomState::new().hash_one(0) % 1_000_000;
    let mut options = Options {
        kills: 50,
        seed: drawn,
        clients: 12,
        proof: false,
        keep: false,
    };
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u64> {
            let value = args.next().with_context(|| format!("{arg} needs a number\n\n{HELP}"))?;
            value
                .parse()
                .with_context(|| format!("{arg} needs a number, not {value:?}"))
        };
        match arg.as_str() {
            "--kills" => options.kills = number()?,
            "--seed" => options.seed = number()?,
            "--clients" => options.clients = usize::try_from(number()?)?.clamp(1, 200),
            "--proof" => options.proof = true,
            "--keep" => options.keep = true,
            "--help" | "-h" => return Ok(None),
            unknown => bail!("there is no option {unknown:?}\n\n{HELP}"),
        }
    }
    Ok(Some(options))
}

fn run(options: Options) -> Result<()> {
    let Options {
        kills, seed, clients, ..
    } = options;
    println!("torture: {kills} kills, {clients} clients, seed {seed}");
    let words = [
        "torture".to_owned(),
        "--kills".to_owned(),
        kills.to_string(),
        "--seed".to_owned(),
        seed.to_string(),
        "--clients".to_owned(),
        clients.to_string(),
    ];
    let mut proof = Proof::begin("torture", seed, words);
    // On the disk of the checkout: /tmp may be memory, where nothing needs to be synced.
    let work = testparts::recipe::checkout().join("target").join("torture");
    std::fs::create_dir_all(&work)?;
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&work)?;
    let result = rounds(options, folder.path());
    match result {
        Ok(counts) => {
            for (what, number) in &counts {
                proof.count(what, *number);
            }
            if options.keep {
                println!("the data folder is kept: {}", folder.keep().display());
            }
            if options.proof {
                println!("written: {}", proof.write()?.display());
            }
            Ok(())
        }
        Err(error) => {
            let folder = folder.keep();
            Err(error.context(format!(
                "torture failed; repeat it with: cargo xtask torture --kills {kills} --seed {seed} --clients {clients}; \
                 the data folder is kept: {}",
                folder.display()
            )))
        }
    }
}

fn rounds(options: Options, folder: &Path) -> Result<BTreeMap<String, u64>> {
    let world = World::default();
    let backend = Backend::start(world.clock.clone(), options.seed)?;
    // Free a moment ago, and the broker's for the whole run: clients find it again after each kill.
    let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut broker = BrokerProcess::new(broker_program()?, folder, addr, backend.clone(), world.clone())?;
    broker.start()?;
    let started = Instant::now();
    let mut counts = BTreeMap::new();
    let mut left = options.kills;
    for number in 0.. {
        if left == 0 {
            break;
        }
        let kills = left.min(KILLS_OF_A_ROUND);
        left -= kills;
        let round = Round {
            number,
            kills,
            seed: options.seed,
            clients: options.clients,
            addr,
        };
        let found = round.run(&mut broker, &backend, &world)?;
        for (what, number) in found.counts {
            *counts.entry(what.to_owned()).or_default() += number;
        }
        let shown: Vec<_> = counts.iter().map(|(what, number)| format!("{what} {number}")).collect();
        println!("{:>6.1} s  {}", started.elapsed().as_secs_f64(), shown.join(", "));
        if !found.stories.is_empty() {
            for story in found.stories.iter().take(5) {
                println!("\n{story}");
            }
            bail!(
                "{} violations in round {number}, seed {}",
                found.stories.len(),
                options.seed
            );
        }
    }
    Ok(counts)
}

/// The broker lies beside this program.
fn broker_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("torture-broker");
    if !program.is_file() {
        bail!(
            "{} is not there: build the package torture as a whole",
            program.display()
        );
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Options>> {
        parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn kills_seed_and_clients_are_read() {
        let options = parsed(&["--kills", "3", "--seed", "9", "--clients", "2", "--proof"])
            .unwrap()
            .unwrap();
        assert_eq!(
            options,
            Options {
                kills: 3,
                seed: 9,
                clients: 2,
                proof: true,
                keep: false
            }
        );
        assert_eq!(parsed(&["--help"]).unwrap(), None);
    }

    #[test]
    fn a_wrong_option_is_named() {
        for args in [&["--kill", "3"][..], &["--kills", "x"], &["--seed"]] {
            let error = format!("{:#}", parsed(args).unwrap_err());
            assert!(error.contains(args[0]), "{error}");
        }
    }
}
