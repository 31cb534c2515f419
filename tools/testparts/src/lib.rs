//! Real servers as parts of tests, and the record of a long run.
//!
//! A test that needs a server beside itself asks for it here: [`Oracle`] (etcd and kube-apiserver, the model that the project's
//! own API server is measured with), [`Etcd`], [`Postgres`], [`kubectl`], [`SmallDisk`]. A server listens on a free port of the loopback interface,
//! keeps its files in a temporary folder of its own, and ends with the value that stands for it. It also ends when the test
//! program is killed: nothing is left behind.
//!
//! ```no_run
//! // In a test:
//! let Some(oracle) = testparts::need(testparts::Oracle::start()) else { return };
//! let namespaces = oracle.kubectl().args(["get", "namespaces"]).output();
//! ```
//!
//! `cargo test` needs nothing but Rust, so [`need`] lets a test pass with a line on stderr where a part is missing. Under
//! `cargo xtask test`, which obtains the parts, and in CI the same test fails: see [`required`].
//!
//! The crate knows nothing of Open Service Broker and is light on purpose: the standard library and `serde_json`.

mod disk;
mod error;
mod etcd;
mod folder;
mod locate;
pub mod long_run;
mod oracle;
mod ports;
mod postgres;
mod process;
pub mod proof;
mod python;
pub mod recipe;
mod strace;

use std::io::Write as _;

pub use disk::SmallDisk;
pub use error::Error;
pub use etcd::{Etcd, EtcdOptions, EtcdTls};
pub use locate::{go_clients, helm, kubectl, oracle_bin, postgres_bin};
pub use oracle::{ControllerManager, Controllers, Oracle, OracleOptions};
pub use postgres::Postgres;
pub use python::{PYTHON_CLIENT, python, python_folder, system_python};
pub use strace::strace;

/// Whether a missing part is a failure: `OSB_TEST_PARTS=require` (set by `cargo xtask test`) or `CI=true`.
pub fn required() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    is("OSB_TEST_PARTS", "require") || is("CI", "true")
}

/// The started part, or `None` where it is missing and may be: the test then returns and passes.
///
/// The line `skipped: ...` goes to stderr past the test harness, which would hide it.
///
/// # Panics
///
/// When the part is there but does not start, and when it is missing although it is [`required`].
pub fn need<T>(part: Result<T, Error>) -> Option<T> {
    // Nobody to tell when stderr is closed.
    decide(part, required(), |line| {
        drop(std::io::stderr().write_all(line.as_bytes()))
    })
}

fn decide<T>(part: Result<T, Error>, required: bool, mut say: impl FnMut(&str)) -> Option<T> {
    match part {
        Ok(part) => Some(part),
        Err(missing @ Error::Missing { .. }) if !required => {
            let thread = std::thread::current();
            say(&format!("skipped: {}: {missing}\n", thread.name().unwrap_or("a test")));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Result<(), Error> {
        Err(Error::missing("a part", "not here", "install it"))
    }

    #[test]
    fn a_missing_part_skips_aloud_where_nothing_is_required() {
        let mut said = String::new();
        assert_eq!(decide(missing(), false, |line| said.push_str(line)), None);
        assert!(
            said.starts_with("skipped: ") && said.ends_with("a part is missing: not here; install it\n"),
            "{said}"
        );
    }

    #[test]
    #[should_panic(expected = "a part is missing: not here; install it")]
    fn a_missing_part_fails_where_parts_are_required() {
        decide(missing(), true, |_| {});
    }

    #[test]
    #[should_panic(expected = "a part did not start")]
    fn a_broken_part_fails_everywhere() {
        decide::<()>(Err(Error::start("a part", "it ended")), false, |_| {});
    }
}
