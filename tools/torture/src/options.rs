//! What the command line says.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

pub(crate) const HELP: &str = "\
cargo xtask torture [ARGS]: kill and restart a broker under load, and check what it has lost

  --kills N            how often it is killed (default 50)
  --broker templates   kill the template broker (the program osb) instead of one made for this
  --power              take the power from the machine instead: what was not synced is lost or torn (needs strace)
  --moments N          at how many moments the power fails (default 100)
  --without-syncs      with --power: as if the broker never synced, which must be found
  --from-program PATH  start with this older torture-broker, kill it, and go on with the one that was built
  --from-revision REV  the commit of that program, for the record
  --rounds N           with --from-program: how often (default 10)
  --fixtures           go on with the data folders that older commits have left in tools/torture/fixtures
  --make-fixture NAME  make such a folder, with --from-program or the broker that was built
  --seed N             repeats the mix of requests and the moments of a run (default: drawn)
  --clients N          how many clients there are (default 12; 6 with --power)
  --proof              writes proofs/torture.json, power.json or upgrade.json when the run passes
  --keep               keeps the data folders also when the run passes
";

/// What is done to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    Kills(u64),
    /// The template broker is killed so often.
    Templates(u64),
    Power {
        moments: u64,
        without_syncs: bool,
    },
    Upgrade {
        rounds: u64,
        from: PathBuf,
        revision: Option<String>,
    },
    Fixtures,
    MakeFixture {
        name: String,
        from: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) play: Play,
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    pub(crate) proof: bool,
    pub(crate) keep: bool,
}

impl Options {
    /// The name of the record of the run.
    pub(crate) fn name(&self) -> &'static str {
        match self.play {
            Play::Kills(_) => "torture",
            Play::Templates(_) => "torture-templates",
            Play::Power { .. } => "power",
            Play::Upgrade { .. } | Play::Fixtures | Play::MakeFixture { .. } => "upgrade",
        }
    }

    /// What stands behind `cargo xtask` to repeat the run.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec!["torture".to_owned()];
        match &self.play {
            Play::Kills(kills) => words.extend(["--kills".to_owned(), kills.to_string()]),
            Play::Templates(kills) => {
                words.extend(["--broker".to_owned(), "templates".to_owned()]);
                words.extend(["--kills".to_owned(), kills.to_string()]);
            }
            Play::Power { moments, without_syncs } => {
                words.extend(["--power".to_owned(), "--moments".to_owned(), moments.to_string()]);
                words.extend(without_syncs.then(|| "--without-syncs".to_owned()));
            }
            // The task that has built the older program can build it again.
            Play::Upgrade { rounds, revision, .. } => {
                words = vec!["upgrade".to_owned(), "--rounds".to_owned(), rounds.to_string()];
                if let Some(revision) = revision {
                    words.extend(["--from".to_owned(), revision.clone()]);
                }
            }
            Play::Fixtures => words.push("--fixtures".to_owned()),
            Play::MakeFixture { name, .. } => words.extend(["--make-fixture".to_owned(), name.clone()]),
        }
        words.extend(["--seed".to_owned(), self.seed.to_string()]);
        words.extend(["--clients".to_owned(), self.clients.to_string()]);
        words
    }
}

/// `None` asks for help.
pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>> {
    // Six digits are enough to type again.
    let drawn = RandomState::new().hash_one(0) % 1_000_000;
    let (mut seed, mut clients, mut proof, mut keep) = (drawn, None, false, false);
    let (mut kills, mut moments, mut rounds) = (50, 100, 10);
    let (mut power, mut without_syncs, mut fixtures, mut templates) = (false, false, false, false);
    let (mut from, mut revision, mut name) = (None, None, None);
    while let Some(arg) = args.next() {
        let mut text = || args.next().with_context(|| format!("{arg} needs a value\n\n{HELP}"));
        let number = |text: Result<String>| -> Result<u64> {
            let value = text?;
            value
                .parse()
                .with_context(|| format!("{arg} needs a number, not {value:?}"))
        };
        match arg.as_str() {
            "--kills" => kills = number(text())?,
            "--moments" => moments = number(text())?,
            "--rounds" => rounds = number(text())?,
            "--seed" => seed = number(text())?,
            "--clients" => clients = Some(usize::try_from(number(text())?)?.clamp(1, 200)),
            "--power" => power = true,
            "--broker" => match text()?.as_str() {
                "templates" => templates = true,
                other => bail!("--broker knows templates only, not {other:?}"),
            },
            "--without-syncs" => without_syncs = true,
            "--fixtures" => fixtures = true,
            "--from-program" => from = Some(PathBuf::from(text()?)),
            "--from-revision" => revision = Some(text()?),
            "--make-fixture" => name = Some(text()?),
            "--proof" => proof = true,
            "--keep" => keep = true,
            "--help" | "-h" => return Ok(None),
            unknown => bail!("there is no option {unknown:?}\n\n{HELP}"),
        }
    }
    let play = match (name, from) {
        (Some(name), from) => Play::MakeFixture { name, from },
        (None, Some(from)) => Play::Upgrade { rounds, from, revision },
        _ if fixtures => Play::Fixtures,
        _ if templates => Play::Templates(kills),
        _ if power => Play::Power { moments, without_syncs },
        _ => Play::Kills(kills),
    };
    let usual = match play {
        Play::Kills(_) => 12,
        _ => 6,
    };
    Ok(Some(Options {
        play,
        seed,
        clients: clients.unwrap_or(usual),
        proof,
        keep,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Options>> {
        parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn what_is_recorded_asks_for_the_same_run() {
        for args in [
            &["--kills", "3", "--seed", "9", "--clients", "2"][..],
            &[
                "--power",
                "--moments",
                "7",
                "--without-syncs",
                "--seed",
                "9",
                "--clients",
                "6",
            ],
            &["--fixtures", "--seed", "9", "--clients", "6"],
            &["--broker", "templates", "--kills", "4", "--seed", "9", "--clients", "6"],
        ] {
            let options = parsed(args).unwrap().unwrap();
            assert_eq!(options.words()[1..], *args);
            let again = parse(options.words().into_iter().skip(1)).unwrap();
            assert_eq!(again, Some(options));
        }
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
