//! The project's load generator: `cargo xtask bench`.
//!
//! ```text
//! cargo xtask bench [--quick] [--million] [--no-write] [--peer FOLDER] [--only NAME]...
//! cargo xtask bench apiserver [--quick] [--no-write]
//! cargo xtask bench templates [--quick]
//! ```

mod apiserver;
mod drive;
mod probe;
mod process;
mod report;
mod scenarios;
mod server;
mod templates;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use testparts::proof::Proof;

use crate::report::Place;
use crate::scenarios::{Bench, Size};

const HELP: &str = "\
cargo xtask bench [ARGS]: load on the reference broker, and the figures into BENCHMARKS.md and proofs/bench.json
cargo xtask bench apiserver [ARGS]: load on our API server and on a real one, and the figures into BENCHMARKS.md and
proofs/bench-apiserver.json; of the options only --quick, --no-write and --program
cargo xtask bench templates [ARGS]: the corpus of templates beside the checkout, and the template broker; prints only; of
the options only --quick and --program

  --quick          fewer operations, one run each; writes no file
  --million        instead of all else: what a million finished instances change; takes about ten minutes and 10 GB
  --no-write       prints only
  --only NAME      only this group; can be given again: provision, update, bind, read, catalog, start, many, peer
  --peer FOLDER    the sources of the peer in Go (default: tools/loadgen/peer)
  --program FILE   the program `osb` (default: $OSB_PROGRAM)
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
#[derive(Debug)]
struct Options {
    size: Size,
    million: bool,
    apiserver: bool,
    templates: bool,
    quick: bool,
    write: bool,
    only: Vec<String>,
    peer: Option<PathBuf>,
    program: Option<PathBuf>,
}

fn run(args: impl Iterator<Item = String>) -> Result<()> {
    let Some(options) = parse(args)? else {
        print!("{HELP}");
        return Ok(());
    };
    let root = testparts::recipe::checkout();
    if options.apiserver {
        return run_apiserver(options, &root);
    }
    if options.templates {
        let program = options.program.context("where is the program osb? set OSB_PROGRAM")?;
        let size = if options.quick {
            templates::Size::QUICK
        } else {
            templates::Size::FULL
        };
        return templates::run(&program, &root.join("target/bench"), size);
    }
    let program = options
        .program
        .context("where is the program osb? set OSB_PROGRAM, or run cargo xtask bench");
    let peer = options.peer.unwrap_or_else(|| root.join("tools/loadgen/peer"));
    let all = options.only.is_empty();
    let bench = Bench {
        program,
        peer,
        cache: testparts::recipe::cache()?.join("peers"),
        work: root.join("target").join("bench"),
        size: options.size,
        only: options.only,
    };
    // A run to the end, and its figures; not the file with them.
    let (mut proof, place) = if options.million {
        let args = ["bench", "--million", "--no-write"];
        (Proof::begin("bench-million", None, args), Place::MILLION)
    } else {
        (Proof::begin("bench", None, ["bench", "--no-write"]), Place::STANDARD)
    };
    // Before this program adds to it.
    let others = report::load_average();
    let report = if options.million {
        bench.run_million()?
    } else {
        bench.run()?
    };
    let section = report.markdown(&format!("{} {others}", report::about(&root)));
    println!("{section}");
    if options.write && all {
        report::write(&root.join("BENCHMARKS.md"), place, &section)?;
        for (what, number) in report.counts() {
            proof.count(&what, number);
        }
        println!("written: {}", proof.write()?.display());
    }
    Ok(())
}

/// Our API server beside a real one.
fn run_apiserver(options: Options, root: &Path) -> Result<()> {
    let program = options.program.context("where is the program osb? set OSB_PROGRAM")?;
    let mut proof = Proof::begin("bench-apiserver", None, ["bench", "apiserver", "--no-write"]);
    let others = report::load_average();
    let size = if options.quick {
        apiserver::Size::QUICK
    } else {
        apiserver::Size::FULL
    };
    let report = apiserver::run(&program, &root.join("target/bench"), size)?;
    let section = report.markdown(&format!("{} {others}", report::about(root)));
    println!("{section}");
    if options.write {
        report::write(&root.join("BENCHMARKS.md"), Place::APISERVER, &section)?;
        for (what, number) in report.counts() {
            proof.count(&what, number);
        }
        println!("written: {}", proof.write()?.display());
    }
    Ok(())
}

/// `None` asks for help.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let program = std::env::var_os("OSB_PROGRAM").map(PathBuf::from);
    let mut options = Options {
        size: Size::FULL,
        million: false,
        apiserver: false,
        templates: false,
        quick: false,
        write: true,
        only: Vec::new(),
        peer: None,
        program,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value\n\n{HELP}"));
        match arg.as_str() {
            "apiserver" => options.apiserver = true,
            "templates" => options.templates = true,
            "--quick" => (options.size, options.write, options.quick) = (Size::QUICK, false, true),
            "--million" => options.million = true,
            "--no-write" => options.write = false,
            "--only" => options.only.push(value()?),
            "--peer" => options.peer = Some(value()?.into()),
            "--program" => options.program = Some(value()?.into()),
            "--help" | "-h" => return Ok(None),
            unknown => bail!("there is no option {unknown:?}\n\n{HELP}"),
        }
    }
    if options.million && !options.only.is_empty() {
        bail!("--million has no groups: --only cannot be given with it\n\n{HELP}");
    }
    if options.apiserver && (options.million || !options.only.is_empty() || options.peer.is_some()) {
        bail!("apiserver takes --quick, --no-write and --program only\n\n{HELP}");
    }
    if options.templates && (options.apiserver || options.million || !options.only.is_empty()) {
        bail!("templates takes --quick and --program only\n\n{HELP}");
    }
    for group in &options.only {
        if !scenarios::GROUPS.contains(&group.as_str()) {
            bail!("there is no group {group:?}\n\n{HELP}");
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Options>> {
        parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn a_quick_run_writes_nothing() {
        assert!(!parsed(&["--quick"]).unwrap().unwrap().write);
        assert!(parsed(&[]).unwrap().unwrap().write);
    }

    #[test]
    fn a_wrong_option_is_named() {
        let million = ["--million", "--only", "bind"];
        let apiserver = ["--million", "apiserver"];
        for args in [
            &["--fast"][..],
            &["--only"],
            &["--only", "nothing"],
            &million,
            &apiserver,
        ] {
            let error = parsed(args).unwrap_err().to_string();
            assert!(error.contains(args[args.len() - 1]), "{error}");
        }
    }
}
