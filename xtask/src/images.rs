//! `cargo xtask images`: the image of `osb`, ready to be loaded.

use anyhow::{Result, bail};

use crate::metadata::Metadata;
use crate::run;

/// How the program of an image is built.
const PROFILE: &str = "dist";

/// Builds the program and writes its image to `images/osb.tar` in the target folder.
///
/// Times in the image are that of the last commit: another build of it in the same folders by the same compiler on the same system has
/// the same digest.
pub(crate) fn images(args: &[String]) -> Result<()> {
    if let Some(unknown) = args.first() {
        bail!("cargo xtask images takes no arguments, not {unknown:?}");
    }
    let metadata = Metadata::load()?;
    let committed = run::output(run::program("git").args(["log", "-1", "--format=%ct"]))?;
    run::run(
        run::cargo()
            .args(["build", "--profile", PROFILE, "--package", "osb"])
            .args(run::locked()),
    )?;
    let folder = metadata.target.join("images");
    std::fs::create_dir_all(&folder)?;
    let program = metadata.target.join(PROFILE).join("osb");
    run::run(
        run::program(&program)
            .arg("image")
            .arg(&program)
            .arg("--output")
            .arg(folder.join("osb.tar"))
            .args(["--name", concat!("osb:", env!("CARGO_PKG_VERSION"))])
            .env("SOURCE_DATE_EPOCH", committed.trim()),
    )
}
