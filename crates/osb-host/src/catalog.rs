//! What platforms will say of the catalog, in the log of the start.

use osb_engine::{CatalogChange, Engine};
use osb_lint::{Finding, Severity};
use osb_server::Broker as _;

/// A larger catalog is not looked over at the start: that would take more memory than the broker itself.
const MAX_BYTES: usize = 4 << 20;

/// The most findings that one start logs.
const MOST: usize = 20;

/// Logs what `osb lint` finds, each as a warning: in the catalog, and in what has changed since the last start. Nothing
/// waits for it, and nothing is refused that the engine serves.
pub(crate) fn look_over(engine: &Engine) {
    let body = engine.catalog().body;
    if body.len() > MAX_BYTES {
        tracing::info!("the catalog is too large to be looked over at the start; `osb lint` does");
        return;
    }
    let change = engine.catalog_change();
    // A large catalog with schemas takes milliseconds, which a start does not have.
    tokio::task::spawn_blocking(move || {
        let catalog = serde_json::from_slice(&body);
        warn(&catalog.map_or_else(|_| Vec::new(), |catalog| osb_lint::lint(&catalog)));
        if let Some(CatalogChange { previous, current }) = change {
            warn(&osb_lint::compare(&previous, &current));
        }
    });
}

fn warn(findings: &[Finding]) {
    let serious = |finding: &&Finding| finding.severity > Severity::Notice;
    for finding in findings.iter().filter(serious).take(MOST) {
        tracing::warn!(
            rule = finding.rule,
            platform = finding.platform.id(),
            severity = %finding.severity,
            says = finding.says.as_deref(),
            "catalog: {finding}"
        );
    }
    let more = findings.iter().filter(serious).count().saturating_sub(MOST);
    if more > 0 {
        tracing::warn!("catalog: {more} more findings; `osb lint` shows all");
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use osb_api::catalog::{Catalog, Offering, Plan};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(catalog: &Catalog) -> String {
        let body = serde_json::to_value(catalog.check().unwrap().catalog()).unwrap();
        told(&osb_lint::lint(&body))
    }

    fn told(findings: &[Finding]) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || warn(findings));
        let lines = lines.0.lock().unwrap();
        String::from_utf8(lines.clone()).unwrap()
    }

    fn named(name: &str, plans: usize) -> Catalog {
        let plans = (0..plans).map(|n| Plan::new(format!("p{n}"), format!("plan {n}"), "A plan"));
        Catalog::new().offering(plans.fold(Offering::new("o", name, "An offering"), Offering::plan))
    }

    #[test]
    fn what_a_platform_refuses_is_a_warning() {
        let told = logged(&named("my db", 1));
        assert!(
            told.contains("WARN") && told.contains("rule=\"korifi-name-label\""),
            "{told}"
        );
        assert!(
            told.contains("catalog: /services/0/name cannot be the value of a label"),
            "{told}"
        );
        let clean = Catalog::new().offering(Offering::new("o", "db", "d").plan(Plan::new("p", "small", "d")));
        assert_eq!(logged(&clean), "");
    }

    /// OSB-CAT-02
    #[test]
    fn what_a_change_means_for_instances_is_a_warning() {
        let (before, after) = (named("db", 2), named("db", 1));
        let text = told(&osb_lint::compare(&before, &after));
        assert!(text.contains("WARN") && text.contains("plan 1"), "{text}");
        assert_eq!(told(&osb_lint::compare(&before, &before)), "");
    }

    #[test]
    fn one_start_does_not_flood_the_log() {
        let told = logged(&named("db", 30));
        assert_eq!(told.lines().count(), MOST + 1, "{told}");
        assert!(told.contains("10 more findings"), "{told}");
    }
}
