//! `osb template`: works on OpenShift Templates, all but `preview` without a cluster.

mod given;
mod input;
mod lint;
mod preview;
mod process;

use std::io::Read;

use ::template::document::MAX_TEXT_BYTES;
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum TemplateCommand {
    /// Make the objects of a template, as `oc process --local` does
    Process(Box<process::ProcessArgs>),
    /// Try on a cluster what would become of each object; nothing is made
    Preview(Box<preview::PreviewArgs>),
    /// Tell what is wrong with templates, or looks like it
    Lint(lint::LintArgs),
}

pub(crate) async fn template(command: TemplateCommand) -> Result<()> {
    match command {
        TemplateCommand::Process(args) => process::process(&args),
        TemplateCommand::Preview(args) => preview::preview(&args).await,
        TemplateCommand::Lint(args) => lint::lint(&args),
    }
}

/// The text of a file, or of stdin for `-`.
fn text(source: &str) -> Result<String> {
    if source == "-" {
        return bounded(std::io::stdin().lock()).context("cannot read stdin");
    }
    let read = || bounded(std::fs::File::open(source)?);
    read().with_context(|| format!("cannot read {source}"))
}

fn bounded(reader: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    reader.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TEXT_BYTES {
        bail!("it is larger than {} MiB", MAX_TEXT_BYTES >> 20);
    }
    String::from_utf8(bytes).context("it is not UTF-8")
}
