//! The program: see the README.

use std::process::ExitCode;

use postgres_broker::{Settings, broker};

fn main() -> anyhow::Result<ExitCode> {
    Ok(osb_sdk::run(broker(&Settings::from_env()?)))
}
