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
//!
//! [`templates`] does the same to the template broker, whose witnesses are the objects of its Kubernetes API.
//!
//! Two further plays leave a data folder behind, and have a broker go on with it under the eyes of the same checker:
//! [`power`] as of a moment at which the power failed, and [`upgrade`] as an older program has left it.

mod backend;
mod broker_log;
mod broker_process;
mod calls;
mod client;
mod journal;
mod model;
mod options;
mod power;
mod random;
mod round;
mod story;
mod templates;
mod upgrade;
mod wire;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use testparts::proof::Proof;

use crate::backend::Backend;
use crate::broker_process::BrokerProcess;
use crate::options::{HELP, Options, Play, parse};
use crate::round::{Found, Round};
use crate::wire::World;

/// Kills in one round.
const KILLS_OF_A_ROUND: u64 = 25;

/// How many of something a run did or saw.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let options = parse(std::env::args().skip(1));
    match options.and_then(|options| options.map_or_else(help, |options| run(&options))) {
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

fn run(options: &Options) -> Result<()> {
    let words = options.words();
    println!("{}", words.join(" "));
    let mut proof = Proof::begin(options.name(), options.seed, words.clone());
    // On the disk of the checkout: /tmp may be memory, where nothing needs to be synced.
    let work = testparts::recipe::checkout().join("target").join("torture");
    std::fs::create_dir_all(&work)?;
    // As the system names it: that is what a process is seen to name.
    let work = std::fs::canonicalize(work)?;
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&work)?;
    let result = match &options.play {
        Play::Kills(kills) => rounds(*kills, options, folder.path()),
        Play::Templates(kills) => templates::run(*kills, options, folder.path()),
        Play::Power { moments, without_syncs } => power::run(*moments, *without_syncs, options, folder.path()),
        Play::Upgrade { rounds, from, .. } => upgrade::run(*rounds, from, options, folder.path()),
        Play::Fixtures => upgrade::fixtures(folder.path()),
        Play::MakeFixture { name, from } => upgrade::make_fixture(name, from.as_deref(), options, folder.path()),
    };
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
        // What has to fail leaves nothing to look at.
        Err(error)
            if matches!(
                options.play,
                Play::Power {
                    without_syncs: true,
                    ..
                }
            ) =>
        {
            Err(error)
        }
        Err(error) => {
            let folder = folder.keep();
            Err(error.context(format!(
                "torture failed; repeat it with: cargo xtask {}; the data folder is kept: {}",
                words.join(" "),
                folder.display()
            )))
        }
    }
}

fn rounds(kills: u64, options: &Options, folder: &Path) -> Result<Counts> {
    let world = World::default();
    let backend = Backend::start(world.clock.clone(), options.seed)?;
    // The broker's for the whole run: clients find it again after each kill.
    let addr = free_addr()?;
    let mut broker = BrokerProcess::new(broker_program()?, folder, addr, backend.clone(), world.clone())?;
    broker.start()?;
    let abilities = broker.abilities()?;
    let mut shown = Progress::default();
    let mut left = kills;
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
            abilities,
        };
        let found = round.run(&mut broker, &backend, &world)?;
        shown.add(&format!("round {number}"), found)?;
    }
    Ok(shown.counts)
}

/// What was counted so far, shown now and then.
struct Progress {
    started: Instant,
    counts: Counts,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            counts: Counts::new(),
        }
    }
}

impl Progress {
    /// # Errors
    /// When something was found.
    fn add(&mut self, what: &str, found: Found) -> Result<()> {
        self.add_quietly(what, found)?;
        self.show();
        Ok(())
    }

    fn add_quietly(&mut self, what: &str, found: Found) -> Result<()> {
        for (what, number) in found.counts {
            self.count(what, number);
        }
        if found.stories.is_empty() {
            return Ok(());
        }
        self.show();
        for story in found.stories.iter().take(5) {
            println!("\n{story}");
        }
        bail!("{} violations in {what}", found.stories.len());
    }

    fn count(&mut self, what: &str, number: u64) {
        *self.counts.entry(what.to_owned()).or_default() += number;
    }

    fn show(&self) {
        let shown: Vec<_> = self
            .counts
            .iter()
            .map(|(what, number)| format!("{what} {number}"))
            .collect();
        println!("{:>6.1} s  {}", self.started.elapsed().as_secs_f64(), shown.join(", "));
    }
}

/// An address that was free a moment ago.
fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
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
