//! Catalogs: read, checked, linted, compared.

use osb_api::catalog::Catalog;
use serde_json::Value;

use crate::bytes_of;

/// A catalog that is right is served as a body that is the same catalog.
pub(crate) fn catalog(data: &[u8]) {
    let Ok(catalog) = Catalog::from_json(data) else { return };
    let problems = catalog.problems();
    match catalog.check() {
        Ok(checked) => {
            let served = Catalog::from_json(checked.body()).expect("the body of a catalog is a catalog");
            assert_eq!(
                served.problems(),
                checked.advice().to_vec(),
                "the body has other problems"
            );
            for plan in checked.plans() {
                let _ = (plan.bindable(), plan.plan_updateable(), plan.maintenance_version());
            }
        }
        Err(errors) => assert!(!errors.is_empty() && !problems.is_empty(), "a refusal says nothing"),
    }
}

/// The rules say the same each time, and nothing has changed between a catalog and itself.
pub(crate) fn lint(data: &[u8]) {
    let parts = bytes_of::parts(data, 2);
    for part in &parts {
        let Ok(value) = serde_json::from_slice::<Value>(part) else {
            continue;
        };
        assert_eq!(osb_lint::lint(&value), osb_lint::lint(&value));
    }
    let catalogs: Vec<Catalog> = parts.iter().filter_map(|part| Catalog::from_json(part).ok()).collect();
    for catalog in &catalogs {
        if catalog.check().is_ok() {
            assert_eq!(osb_lint::compare(catalog, catalog), [], "a catalog differs from itself");
        }
    }
    if let [previous, current] = catalogs.as_slice() {
        let _ = (
            osb_lint::compare(previous, current),
            osb_lint::compare(current, previous),
        );
    }
}
