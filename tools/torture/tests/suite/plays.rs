//! Power losses, and folders of earlier commits.

use std::process::{Command, Output};

fn torture(args: &[&str]) -> Output {
    // The broker lies beside it.
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    command.args(args).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn power(more: &[&str]) -> Output {
    let args = ["--power", "--moments", "3", "--clients", "4", "--seed", "7"];
    torture(&[&args[..], more].concat())
}

#[test]
fn what_was_acknowledged_survives_a_power_loss() {
    if testparts::need(testparts::strace()).is_none() {
        return;
    }
    let output = power(&[]);
    assert!(output.status.success(), "{}", text(&output));
}

/// The check would be worth nothing if a broker passed it that never syncs.
#[test]
fn a_broker_that_never_syncs_is_found() {
    if testparts::need(testparts::strace()).is_none() {
        return;
    }
    let output = power(&["--without-syncs"]);
    let text = text(&output);
    // It has lost something, or does not even start on what is left.
    let found = ["violations in moment", "the power failed at moment"];
    let is_found = found.iter().any(|found| text.contains(found));
    assert!(!output.status.success() && is_found, "{text}");
}

#[test]
fn a_folder_of_an_earlier_commit_is_gone_on_with() {
    let output = torture(&["--fixtures"]);
    assert!(output.status.success(), "{}", text(&output));
}
