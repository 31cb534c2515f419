//! `cargo xtask fuzz`: runs the programs of `fuzz/` with libFuzzer, and keeps what they find.
//!
//! What is found on the way lies below `target/fuzz`; `fuzz/corpus` changes only with `--minimise`, which keeps of all inputs
//! those that are needed to reach what has been reached.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use testparts::proof::Proof;
use testparts::recipe;

use crate::metadata::Metadata;
use crate::run;

/// The version of cargo-fuzz that is installed.
const CARGO_FUZZ: &str = "0.13.2";
/// How long a target runs when nobody says, in seconds.
const SECONDS: u64 = 60;
/// The largest input that libFuzzer makes, in bytes.
const MAX_BYTES: u64 = 16 << 10;
/// An input may take so many seconds; a target as much memory, and a single allocation of it. In MiB.
const INPUT_SECONDS: u64 = 20;
const MEMORY_MIB: u64 = 1024;
const ALLOCATION_MIB: u64 = 128;

const HELP: &str = "\
cargo xtask fuzz [TARGET...] [--seconds N] [--jobs N] [--proof]   run the targets, or all of them, each for N seconds (60), N at a time (1)
cargo xtask fuzz --minimise [TARGET...]                           keep in fuzz/corpus what it takes to reach all that was reached
cargo xtask fuzz --list                                           which targets there are

The first call installs cargo-fuzz into the cache folder and builds the targets, which takes a C++ compiler and minutes.
What is found is named; put the input into fuzz/corpus/TARGET when it is mended: cargo test -p fuzzing repeats it.
";

/// What a call asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    targets: Vec<String>,
    seconds: Option<u64>,
    jobs: Option<usize>,
    proof: bool,
    minimise: bool,
    list: bool,
}

/// The task.
pub(crate) fn fuzz(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let all = targets()?;
    if options.list {
        all.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown:?}; there are: {}", all.join(", "));
    }
    let wanted = if options.targets.is_empty() {
        &all
    } else {
        &options.targets
    };
    let place = Place::built(wanted)?;
    if options.minimise {
        return wanted.iter().try_for_each(|name| place.minimise(name));
    }
    let seconds = options.seconds.unwrap_or(SECONDS);
    let mut proof = Proof::begin("fuzz", None, words(&options.targets, seconds));
    for (name, reached) in place.run_all(wanted, seconds, options.jobs.unwrap_or(1))? {
        proof.count(&format!("{name}: edges"), reached.edges);
        proof.count(&format!("{name}: inputs"), reached.inputs);
    }
    if options.proof {
        println!("written: {}", proof.write()?.display());
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => options.seconds = Some(number(arg, args.next())?),
            "--jobs" => options.jobs = Some(number(arg, args.next())?),
            "--proof" => options.proof = true,
            "--minimise" => options.minimise = true,
            "--list" => options.list = true,
            name if !name.starts_with('-') => options.targets.push(name.to_owned()),
            _ => bail!("{HELP}"),
        }
    }
    Ok(options)
}

fn number<T: FromStr<Err: Error + Send + Sync + 'static>>(option: &str, value: Option<&String>) -> Result<T> {
    let value = value.with_context(|| format!("{option} needs a number"))?;
    let number = value.parse();
    number.with_context(|| format!("{option} needs a number, not {value:?}"))
}

/// What stands behind `cargo xtask` to repeat the run.
fn words(targets: &[String], seconds: u64) -> Vec<String> {
    let mut words = vec!["fuzz".to_owned()];
    words.extend(targets.iter().cloned());
    words.extend(["--seconds".to_owned(), seconds.to_string()]);
    words
}

fn folder() -> PathBuf {
    run::root().join("fuzz")
}

/// The targets, by their programs.
fn targets() -> Result<Vec<String>> {
    let programs = folder().join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&programs).with_context(|| format!("cannot read {}", programs.display()))? {
        let name = entry?.file_name();
        names.extend(
            name.to_str()
                .and_then(|name| name.strip_suffix(".rs"))
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

/// The folder with `cargo-fuzz` in it, installed if it is not there.
fn cargo_fuzz() -> Result<PathBuf> {
    let root = recipe::cache()?.join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    if !root.join("bin/cargo-fuzz").is_file() {
        let mut install = run::cargo();
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]);
        run::run(install.arg(&root))?;
    }
    Ok(root.join("bin"))
}

/// What a run has reached.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reached {
    inputs: u64,
    edges: u64,
}

impl Reached {
    /// Learns from a line of libFuzzer's: `#12 NEW    cov: 34 ft: …`, `stat::number_of_executed_units: 56`.
    fn learn(&mut self, line: &str) {
        let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(inputs) = line.strip_prefix("stat::number_of_executed_units:").and_then(number) {
            self.inputs = inputs;
        }
        if let Some((_, edges)) = line.split_once(" cov: ").filter(|_| line.starts_with('#')) {
            self.edges = number(edges).unwrap_or(self.edges);
        }
    }
}

/// Where everything lies.
struct Place {
    programs: PathBuf,
    /// What runs have found, by target.
    found: PathBuf,
}

impl Place {
    /// Builds the programs. Without a sanitizer: the code is safe Rust, and so it needs no nightly compiler.
    fn built(targets: &[String]) -> Result<Self> {
        let target = Metadata::load()?.target.join("fuzz");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(cargo_fuzz()?).chain(std::env::split_paths(&path));
        let path: OsString = std::env::join_paths(folders).context("the cache folder cannot stand in PATH")?;
        // cargo-fuzz builds one of them, or all.
        let only = match targets {
            [only] => Some(only),
            _ => None,
        };
        let mut build = run::cargo();
        build.args(["fuzz", "build", "--sanitizer", "none", "--target-dir"]);
        run::run(build.arg(&target).args(only).env("PATH", &path))?;
        let host = run::output(run::program("rustc").args(["--print", "host-tuple"]))?;
        Ok(Self {
            programs: target.join(host.trim()).join("release"),
            found: target.join("corpus"),
        })
    }

    fn kept(name: &str) -> PathBuf {
        folder().join("corpus").join(name)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = run::program("nice");
        command.args(["-n", "15"]).arg(self.programs.join(name));
        command.arg(format!("-max_len={MAX_BYTES}"));
        command.arg(format!("-timeout={INPUT_SECONDS}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        command.arg(format!("-malloc_limit_mb={ALLOCATION_MIB}"));
        command
    }

    /// Runs targets, so many at a time. What one finds does not stop the others.
    fn run_all(&self, targets: &[String], seconds: u64, jobs: usize) -> Result<Vec<(String, Reached)>> {
        let waiting = Mutex::new(targets.iter());
        let ended = Mutex::new(Vec::new());
        let next = || lock(&waiting).next();
        let work = || {
            while let Some(name) = next() {
                let reached = self.run(name, seconds);
                match &reached {
                    Ok(reached) => println!("{name}: {} inputs, {} edges", reached.inputs, reached.edges),
                    Err(error) => eprintln!("{name}: {error:#}"),
                }
                lock(&ended).push((name.clone(), reached));
            }
        };
        std::thread::scope(|scope| {
            (0..jobs.max(1)).for_each(|_| {
                scope.spawn(work);
            });
        });
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<&str> = ended
            .iter()
            .filter(|(_, reached)| reached.is_err())
            .map(|(name, _)| name.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("these targets have found something: {}", failed.join(", "));
        }
        ended
            .into_iter()
            .map(|(name, reached)| reached.map(|reached| (name, reached)))
            .collect()
    }

    /// Runs a target, from the inputs that are kept and those that earlier runs have found.
    fn run(&self, name: &str, seconds: u64) -> Result<Reached> {
        let (found, artifacts) = (self.found.join(name), folder().join("artifacts").join(name));
        for folder in [&found, &artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut command = self.program(name);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        command
            .args(["-print_final_stats=1", "-reload=0"])
            .arg(&found)
            .arg(Self::kept(name));
        eprintln!("\n== {name}: {seconds} s");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the fuzz target")?;
        let mut reached = Reached::default();
        let mut last = Vec::new();
        for line in BufReader::new(child.stderr.take().context("its output is piped")?).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            reached.learn(&line);
            if !line.starts_with('#') {
                last.push(line);
            }
        }
        if !child.wait()?.success() {
            let from = last.len().saturating_sub(60);
            bail!(
                "{}\n\nthe target {name} has found something; the input is named above: {} INPUT repeats it",
                last[from..].join("\n"),
                self.programs.join(name).display()
            );
        }
        Ok(reached)
    }

    /// Puts in place of the kept inputs the fewest that reach what they and those of earlier runs do.
    fn minimise(&self, name: &str) -> Result<()> {
        let (kept, found) = (Self::kept(name), self.found.join(name));
        let fewest = self.found.join(format!("{name}.fewest"));
        if fewest.exists() {
            fs::remove_dir_all(&fewest)?;
        }
        for folder in [&fewest, &found] {
            fs::create_dir_all(folder)?;
        }
        // By what is reached, not by how often: that would keep several times as many.
        run::run(
            self.program(name)
                .args(["-merge=1", "-use_counters=0"])
                .args([&fewest, &kept, &found]),
        )?;
        let before = count(&kept)?;
        fs::remove_dir_all(&kept)?;
        fs::create_dir_all(&kept)?;
        for entry in fs::read_dir(&fewest)? {
            let entry = entry?;
            fs::copy(entry.path(), kept.join(entry.file_name()))?;
        }
        println!("{name}: {before} inputs before, {} now", count(&kept)?);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(folder: &Path) -> Result<usize> {
    Ok(fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options> {
        parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_recorded_asks_for_the_same_run() {
        let words = words(&["json".to_owned()], 600);
        assert_eq!(words, ["fuzz", "json", "--seconds", "600"]);
        let options = parse(&words[1..]).unwrap();
        assert_eq!((options.targets, options.seconds), (vec!["json".to_owned()], Some(600)));
    }

    #[test]
    fn a_wrong_option_is_told() {
        for args in [
            &["--second", "3"][..],
            &["--seconds"],
            &["--seconds", "many"],
            &["--jobs", "-1"],
        ] {
            assert!(parsed(args).is_err(), "{args:?}");
        }
        let error = fuzz(&["no-such-target".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("json"), "{error}");
    }

    #[test]
    fn the_figures_of_a_run_are_read() {
        let mut reached = Reached::default();
        for line in [
            "INFO: Seed: 1 cov: 9",
            "#2\tINITED cov: 12 ft: 13 corp: 1/1b",
            "#4096\tpulse  cov: 340 ft: 900 corp: 33/2kb",
            "stat::number_of_executed_units: 51234",
        ] {
            reached.learn(line);
        }
        assert_eq!(
            reached,
            Reached {
                inputs: 51234,
                edges: 340
            }
        );
    }
}
