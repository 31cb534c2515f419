//! Tasks of the project: `cargo xtask help`.

mod check;
mod fuzz;
mod images;
mod kinds;
mod kube_rs;
mod long;
mod metadata;
mod oracle;
mod python;
mod run;
mod spec;
mod test;
mod tools;
mod upgrade;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Tasks of the project: cargo xtask TASK

  check [NAME...]    format, arrows, unused, licences, clippy, docs: all, or the named ones
  test               every test with real servers, obtained where possible, then the long runs of CI
  test --quick       the same without the long runs
  test ARGS          what ARGS of cargo test choose (-p CRATE NAME), with real servers
  images             build the container image of osb, without a daemon
  oracle             build etcd, kube-apiserver, kube-controller-manager, kubectl and Helm; print their folder
  kinds              write the facts about the built-in kinds (crates/kinds/data) anew from the oracle
  kube-rs            kube-rs's own tests for a cluster (its ignored ones), on our server and on a real one
  python             make the virtual environment with Python's client of Kubernetes; print its folder
  bench [ARGS]       the load generator (tools/loadgen), release build
  bench apiserver    our API server and a real one, side by side
  bench templates    the corpus of templates beside the checkout, and the template broker
  torture [ARGS]     kill and restart a broker under load (tools/torture), release build; --power: take its power
  upgrade [ARGS]     leave data folders with an older commit's broker (--from REV), and go on with this one
  long [NAME]        play tests longer than CI does, from a seed; without NAME: which there are
  fuzz [TARGET...]   run the fuzz targets (fuzz/), each for 60 s or as --seconds says; --minimise, --list
  proof [NAME]       repeat the run that proofs/NAME.json records; without NAME: which there are
  spec [PART...]     which tests prove which requirements of the specification (spec/osb-2.17.tsv)
  spec --strict      the same; fails when a requirement is cited by no test
  help               this text

cargo test needs nothing but Rust; tests that need a server then pass with a line \"skipped: ...\".
What is built for tests is kept in $OSB_CACHE (default: $XDG_CACHE_HOME/osb-sdk or ~/.cache/osb-sdk).
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, args) = match args.split_first() {
        Some((task, args)) => (task.as_str(), args),
        None => ("help", &[][..]),
    };
    match run_task(task, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_task(task: &str, args: &[String]) -> Result<()> {
    match task {
        "check" => check::check(args),
        "test" => test::test(args),
        "oracle" => {
            println!("{}", oracle::ensure()?.display());
            Ok(())
        }
        "images" => images::images(args),
        "kinds" => kinds::kinds(),
        "kube-rs" => kube_rs::kube_rs(args),
        "python" => {
            println!("{}", python::ensure()?.display());
            Ok(())
        }
        "bench" | "torture" => tools::tool(task, args),
        "upgrade" => upgrade::upgrade(args),
        "long" => long::long(args),
        "fuzz" => fuzz::fuzz(args),
        "proof" => tools::proof(args),
        "spec" => spec::spec(args),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => bail!("there is no task {unknown:?}\n\n{HELP}"),
    }
}
