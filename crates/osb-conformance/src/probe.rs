//! The probes: each plays a scenario and notes what it shows of some requirements.

mod bind;
mod binding_runs;
mod catalog;
mod crash;
mod deprovision;
mod fetch;
mod headers;
mod identity;
mod instance_runs;
mod malformed;
mod provision;
mod races;
mod rotation;
mod unbind;
mod update;
mod update_runs;
mod urls;

use futures::future::BoxFuture;

use crate::checker::Checker;
use crate::subject::Ground;

/// A scenario.
#[derive(Clone, Copy)]
pub(crate) struct Probe {
    /// The requirements that it looks at, besides those that are looked at in every answer.
    pub(crate) covers: &'static [&'static str],
    pub(crate) run: for<'a> fn(&'a Checker, &'a Ground) -> BoxFuture<'a, ()>,
}

/// A [`Probe`] of an async function.
macro_rules! probe {
    ($run:path, $($id:literal),+ $(,)?) => {
        $crate::probe::Probe { covers: &[$($id),+], run: |check, ground| Box::pin($run(check, ground)) }
    };
}
pub(crate) use probe;

/// All probes, in the order in which they are played.
pub(crate) fn all() -> impl Iterator<Item = &'static Probe> {
    const ALL: &[&[Probe]] = &[
        catalog::PROBES,
        headers::PROBES,
        identity::PROBES,
        urls::PROBES,
        malformed::PROBES,
        provision::PROBES,
        instance_runs::PROBES,
        fetch::PROBES,
        update::PROBES,
        update_runs::PROBES,
        bind::PROBES,
        binding_runs::PROBES,
        rotation::PROBES,
        unbind::PROBES,
        deprovision::PROBES,
        races::PROBES,
        crash::PROBES,
    ];
    ALL.iter().flat_map(|probes| probes.iter())
}

/// Why most probes cannot be played.
const NO_PLAN: &str = "no plan can be provisioned";
const NOT_BINDABLE: &str = "no plan can be bound";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::requirement::REQUIREMENTS;
    use crate::{rules, survey};

    #[test]
    fn every_requirement_is_looked_at_and_no_other() {
        let probes = super::all().flat_map(|probe| probe.covers);
        let covered: BTreeSet<&str> = probes
            .chain(rules::answers::COVERED)
            .chain(survey::COVERED)
            .chain(rules::catalog::COVERED)
            .copied()
            .collect();
        let table: BTreeSet<&str> = REQUIREMENTS.iter().map(|requirement| requirement.id).collect();
        assert_eq!(
            table.difference(&covered).collect::<Vec<_>>(),
            [&""; 0],
            "not looked at"
        );
        assert_eq!(
            covered.difference(&table).collect::<Vec<_>>(),
            [&""; 0],
            "not in the table"
        );
    }
}
