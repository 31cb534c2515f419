//! A black-box check of any Open Service Broker against version 2.17 of the API.
//!
//! [`run`] plays a broker's whole life over HTTP, the malformed and the simultaneous parts too, and says for each of the
//! [`REQUIREMENTS`] whether it is held, broken or could not be looked at. It has tables and JSON rules of its own and
//! knows none of this project's types of the API, so that it shares no mistake with them.
//!
//! ```no_run
//! use osb_conformance::{Login, Options};
//!
//! # async fn check() -> Result<(), osb_conformance::SetupError> {
//! let login = Login::Basic { username: "user".into(), password: "secret".into() };
//! let report = osb_conformance::run(&Options::new("http://127.0.0.1:8080", login)).await?;
//! print!("{}", report.table());
//! assert!(!report.is_failed());
//! # Ok(())
//! # }
//! ```
//!
//! It makes instances and bindings, of the chosen plans or else of each, and removes them again; what could not be
//! removed is in [`Report::leftovers`]. Which plans suit a probe it learns from the catalog and by trying each plan
//! once. What the catalog does not offer is skipped, with the reason.

mod answer;
mod call;
mod checker;
mod cleanup;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ledger;
mod life;
mod options;
mod probe;
mod report;
mod requirement;
mod rules;
mod subject;
mod survey;
mod wire;

pub use ledger::Breach;
pub use options::{Login, Options, Restart, SetupError};
pub use report::{Finding, Report, Verdict};
pub use requirement::{Level, Origin, REQUIREMENTS, Requirement};

use crate::checker::Checker;
use crate::probe::Probe;

/// Checks a broker. Cancelling leaves instances behind.
///
/// # Errors
/// [`SetupError`]: the options cannot be used, or nothing answers at the URL. What a broker does wrong is no error but a
/// [`Verdict::Failed`].
pub async fn run(options: &Options) -> Result<Report, SetupError> {
    if let Some(unknown) = options
        .only
        .iter()
        .chain(&options.skip)
        .find(|id| Requirement::of(id).is_none())
    {
        return Err(SetupError::Requirement(unknown.clone()));
    }
    let check = Checker::new(options)?;
    let first = check.send_unjudged(call::Call::catalog()).await;
    if !first.was_answered() && !first.late {
        return Err(SetupError::Unreachable(first.told()));
    }
    let ground = Box::pin(survey::survey(&check)).await;
    for probe in probe::all().filter(|probe| is_wanted(options, probe)) {
        if check.is_settled() {
            break;
        }
        (probe.run)(&check, &ground).await;
    }
    let leftovers = Box::pin(cleanup::cleanup(&check, &ground)).await;
    let plans = ground
        .subjects
        .iter()
        .map(|subject| subject.offer.label.clone())
        .collect();
    Ok(Report::new(check, plans, leftovers))
}

/// Whether a probe looks at something that is asked for. What is looked at in every answer needs them all.
fn is_wanted(options: &Options, probe: &Probe) -> bool {
    let everywhere = rules::answers::COVERED.iter().any(|id| options.wants(id));
    everywhere || probe.covers.iter().any(|id| options.wants(id))
}
