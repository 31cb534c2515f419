//! `cargo xtask long`: tests played longer than in CI, from a seed, with a record that `cargo xtask proof` repeats.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use testparts::long_run;
use testparts::proof::Proof;

use crate::{oracle, run};

/// A run. To have another one, add its row, and [`long_run::count`] to its tests.
struct LongRun {
    /// Name of the run and of its record.
    name: &'static str,
    about: &'static str,
    /// What `cargo test` is told.
    tests: &'static [&'static str],
    /// The environment variable for how often it is played, and how often that is when nobody says.
    cases: Option<(&'static str, u64)>,
    /// The environment variable for the seed; without one, the run is the same each time.
    seed: Option<&'static str>,
    /// Whether it takes a real kube-apiserver.
    oracle: bool,
}

const RUNS: &[LongRun] = &[
    LongRun {
        name: "model",
        about: "random calls of two platforms and restarts, against the rules of OSB 2.17, on the embedded home",
        tests: &[
            "-p",
            "osb-engine",
            "--test",
            "suite",
            "model::",
            "--",
            "--skip",
            "kubernetes",
        ],
        cases: Some(("OSB_MODEL_CASES", 500)),
        seed: Some("OSB_MODEL_SEED"),
        oracle: false,
    },
    LongRun {
        name: "model-kubernetes",
        about: "the same on a real kube-apiserver",
        tests: &["-p", "osb-engine", "--test", "suite", "model::", "--", "kubernetes"],
        cases: Some(("OSB_MODEL_CASES", 60)),
        seed: Some("OSB_MODEL_SEED"),
        oracle: true,
    },
    LongRun {
        name: "crashes",
        about: "a crash before and after each write of each operation, on both homes",
        tests: &["-p", "osb-engine", "--test", "suite", "crashes::"],
        cases: None,
        seed: None,
        oracle: true,
    },
    LongRun {
        name: "store-model",
        about: "random transactions, reads, watches and restarts of both stores against a model",
        tests: &["-p", "objectstore", "--test", "suite", "model::"],
        cases: Some(("OSB_STORE_CASES", 2000)),
        seed: Some("OSB_STORE_SEED"),
        oracle: false,
    },
    LongRun {
        name: "store-kills",
        about: "writers on the durable store, killed at random moments",
        tests: &["-p", "objectstore", "--test", "suite", "crash::"],
        cases: Some(("OSB_STORE_KILLS", 300)),
        seed: Some("OSB_STORE_SEED"),
        oracle: false,
    },
    LongRun {
        name: "store-faults",
        about: "each operation of a run of the durable store on its files fails once, in each way",
        tests: &["-p", "objectstore", "--test", "suite", "faults::"],
        cases: Some(("OSB_STORE_FAULTS", 1000)),
        seed: None,
        oracle: false,
    },
    LongRun {
        name: "store-flips",
        about: "one bit of one file of the durable store is changed, so many in each file",
        tests: &["-p", "objectstore", "--test", "suite", "flips::"],
        cases: Some(("OSB_STORE_FLIPS", 250)),
        seed: Some("OSB_STORE_SEED"),
        oracle: false,
    },
    LongRun {
        name: "differential",
        about: "random requests to our Kubernetes API and to a real one",
        tests: &["-p", "apiserver", "--test", "suite", "differential::"],
        cases: Some(("OSB_DIFFERENTIAL_CASES", 1000)),
        seed: Some("OSB_DIFFERENTIAL_SEED"),
        oracle: true,
    },
    LongRun {
        name: "collector",
        about: "owners and dependents that come and go at the same time, through two servers on one store",
        tests: &["-p", "apiserver", "--test", "suite", "collection::races::"],
        cases: Some(("OSB_COLLECTOR_ROUNDS", 800)),
        seed: None,
        oracle: false,
    },
    LongRun {
        name: "new-broker",
        about: "what `osb new` makes, built and put through its own CI: tests, platforms, `osb lint`, `osb check`",
        tests: &["-p", "osb", "--test", "suite", "new::", "--", "--ignored"],
        cases: None,
        seed: None,
        oracle: false,
    },
    LongRun {
        name: "controllers",
        about: "a real kube-controller-manager on our Kubernetes API and on a real one: the same is left",
        tests: &["-p", "apiserver-test", "--test", "suite", "controllers::"],
        cases: Some(("OSB_CONTROLLER_ROUNDS", 6)),
        seed: None,
        oracle: true,
    },
];

/// What a call asks for, the run aside.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    cases: Option<u64>,
    seed: Option<u64>,
    proof: bool,
}

/// Plays a run; without a name, says which there are.
pub(crate) fn long(args: &[String]) -> Result<()> {
    let Some((name, args)) = args.split_first() else {
        print!("{}", list());
        return Ok(());
    };
    let Some(found) = RUNS.iter().find(|row| row.name == name) else {
        bail!("there is no long run {name:?}\n\n{}", list());
    };
    found.play(&found.parse(args)?)
}

fn list() -> String {
    let mut text = "Long runs: cargo xtask long NAME [--cases N] [--seed N] [--proof]\n\n".to_owned();
    for row in RUNS {
        let cases = row
            .cases
            .map_or(String::new(), |(_, cases)| format!(" ({cases} cases)"));
        text.push_str(&format!("  {:<18} {}{cases}\n", row.name, row.about));
    }
    text.push_str("\n--proof writes proofs/NAME.json when the run passes. torture and bench record theirs, too.\n");
    text
}

impl LongRun {
    fn parse(&self, args: &[String]) -> Result<Options> {
        let mut options = Options::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = |applies: bool| -> Result<Option<u64>> {
                if !applies {
                    bail!("the run {} is the same each time: there is no {arg}", self.name);
                }
                let value = args.next().with_context(|| format!("{arg} needs a number"))?;
                let number = value
                    .parse()
                    .with_context(|| format!("{arg} needs a number, not {value:?}"))?;
                Ok(Some(number))
            };
            match arg.as_str() {
                "--cases" => options.cases = number(self.cases.is_some())?,
                "--seed" => options.seed = number(self.seed.is_some())?,
                "--proof" => options.proof = true,
                unknown => bail!("there is no option {unknown:?}\n\n{}", list()),
            }
        }
        Ok(options)
    }

    fn play(&self, options: &Options) -> Result<()> {
        let cases = self.cases.map(|(_, default)| options.cases.unwrap_or(default));
        let seed = self.seed.map(|_| options.seed.unwrap_or_else(drawn));
        let words = self.words(cases, seed);
        println!("cargo xtask {}", words.join(" "));
        // Built before the clock starts.
        run::run(self.cargo_test().arg("--no-run").args(self.arguments().0))?;
        let folder = run::root().join("target").join("long");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(format!("{}-{}", self.name, std::process::id()));
        let mut proof = Proof::begin(self.name, seed, words);
        let counts = self.counted(cases, seed, &path);
        // Nothing to be done about a file that stays below `target`.
        let _ = fs::remove_file(&path);
        for (what, number) in &counts? {
            println!("{what}: {number}");
            proof.count(what, *number);
        }
        if options.proof {
            println!("written: {}", proof.write()?.display());
        }
        Ok(())
    }

    /// Runs the tests, and gives what they counted in the file.
    fn counted(&self, cases: Option<u64>, seed: Option<u64>, path: &Path) -> Result<BTreeMap<String, u64>> {
        let mut command = self.cargo_test();
        let (before, behind) = self.arguments();
        command.args(before).arg("--").args(behind).env(long_run::COUNTS, path);
        if let (Some((variable, _)), Some(cases)) = (self.cases, cases) {
            command.env(variable, cases.to_string());
        }
        if let (Some(variable), Some(seed)) = (self.seed, seed) {
            command.env(variable, seed.to_string());
        }
        if self.oracle {
            command
                .env("OSB_TEST_PARTS", "require")
                .env("OSB_ORACLE_BIN", oracle::ensure()?);
        }
        let again = self.words(cases, seed).join(" ");
        run::run(&mut command).with_context(|| format!("repeat it with: cargo xtask {again}"))?;
        let counts = long_run::counts(path)?;
        if counts.is_empty() {
            bail!(
                "the run {} has counted nothing: do its tests still have these names?",
                self.name
            );
        }
        Ok(counts)
    }

    fn cargo_test(&self) -> Command {
        let mut command = run::cargo();
        command.arg("test").args(run::locked());
        command
    }

    /// What is for cargo, and what is for the tests.
    fn arguments(&self) -> (&'static [&'static str], &'static [&'static str]) {
        let mut parts = self.tests.splitn(2, |word| *word == "--");
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }

    /// What stands behind `cargo xtask` to repeat the run.
    fn words(&self, cases: Option<u64>, seed: Option<u64>) -> Vec<String> {
        let mut words = vec!["long".to_owned(), self.name.to_owned()];
        for (option, number) in [("--cases", cases), ("--seed", seed)] {
            words.extend(
                number
                    .into_iter()
                    .flat_map(|number| [option.to_owned(), number.to_string()]),
            );
        }
        words
    }
}

/// A seed of six digits, which are enough to type again.
fn drawn() -> u64 {
    RandomState::new().hash_one(0) % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static LongRun {
        RUNS.iter().find(|row| row.name == name).unwrap()
    }

    fn parsed(name: &str, args: &[&str]) -> Result<Options> {
        named(name).parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_recorded_asks_for_the_same_run() {
        let model = named("model");
        let words = model.words(Some(9), Some(7));
        assert_eq!(words, ["long", "model", "--cases", "9", "--seed", "7"]);
        let options = model.parse(&words[2..]).unwrap();
        assert_eq!((options.cases, options.seed, options.proof), (Some(9), Some(7), false));
        assert_eq!(named("crashes").words(None, None), ["long", "crashes"]);
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (name, args, told) in [
            ("model", &["--case", "3"][..], "--case"),
            ("model", &["--cases", "many"], "many"),
            ("model", &["--seed"], "--seed"),
            ("crashes", &["--seed", "3"], "the same each time"),
        ] {
            let error = format!("{:#}", parsed(name, args).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
        assert!(format!("{:#}", long(&["modell".to_owned()]).unwrap_err()).contains("model-kubernetes"));
    }

    #[test]
    fn every_name_can_be_the_name_of_a_record() {
        for row in RUNS {
            Proof::begin(row.name, None, row.words(None, None));
            assert!(!row.arguments().0.is_empty(), "{}", row.name);
        }
    }
}
