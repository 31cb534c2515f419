//! What platforms will say of the catalog, in the log of the start.

use osb_engine::Engine;
use osb_lint::{Finding, Severity};
use osb_server::Broker as _;

/// The most findings that one start logs.
const MOST: usize = 20;

/// Logs what `osb lint` finds, each as a warning. Nothing waits for it, and nothing is refused that the engine serves.
pub(crate) fn look_over(engine: &Engine) {
    let body = engine.catalog().body;
    // Large catalogs with schemas take milliseconds.
    tokio::task::spawn_blocking(move || {
        let findings = serde_json::from_slice(&body).map_or_else(|_| Vec::new(), |catalog| osb_lint::lint(&catalog));
        warn(&findings);
    });
}

fn warn(findings: &[Finding]) {
    let serious: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.severity > Severity::Notice)
        .collect();
    for finding in serious.iter().take(MOST) {
        tracing::warn!(
            rule = finding.rule,
            platform = finding.platform.id(),
            severity = %finding.severity,
            says = finding.says.as_deref(),
            "catalog: {finding}"
        );
    }
    if serious.len() > MOST {
        tracing::warn!("catalog: {} more findings; `osb lint` shows all", serious.len() - MOST);
    }
}
