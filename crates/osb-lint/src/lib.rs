//! The rules of a catalog: the specification's, those that single platforms add, and what a change breaks.
//!
//! [`lint`] reads a catalog as a platform gets it, as JSON: what is absent, `null` or of a wrong type counts, and each
//! platform reads that differently. The rules of the specification are those of `osb_api::catalog`; the platforms' own
//! are here, each with the platform's words where they are known. [`compare`] tells what becomes of instances when one
//! catalog takes the place of another.
//!
//! No I/O: where a catalog comes from and what becomes of the findings is the caller's.
//!
//! ```
//! use osb_lint::{Platform, lint};
//!
//! let catalog = serde_json::json!({ "services": [{
//!     "id": "5f2c", "name": "postgres", "description": "A database", "bindable": true,
//!     "plans": [{
//!         "id": "9a1d", "name": "small", "description": "1 GB", "free": true, "bindable": true,
//!         "plan_updateable": false, "maintenance_info": { "version": "1.0.0", "public": {} },
//!     }],
//! }]});
//! let findings = lint(&catalog);
//! assert_eq!((findings[0].rule, findings[0].platform), ("cf-maintenance-members", Platform::CloudFoundry));
//! assert_eq!(findings[0].place, "/services/0/plans/0/maintenance_info");
//! assert_eq!(findings[0].says.as_deref(), Some("Maintenance info contains invalid key(s): public"));
//! ```

mod compare;
mod document;
mod finding;
mod place;
mod platforms;
mod repair;
mod rules;
mod shape;
mod specification;

pub use compare::compare;
pub use finding::{Finding, Meaning, Platform, Severity};
pub use rules::RULES;

use serde_json::Value;

use crate::document::Document;
use crate::repair::Repaired;

/// Everything to mend in a catalog, the body of `GET /v2/catalog`: in the order of the specification, Cloud Foundry,
/// Korifi, Service Catalog, Service Manager.
pub fn lint(catalog: &Value) -> Vec<Finding> {
    let document = Document::of(catalog);
    let mut findings = shape::findings(&document);
    let repaired = Repaired::of(catalog, &findings);
    let others = specification::findings(&repaired.catalog);
    findings.extend(others.into_iter().filter(|finding| repaired.is_true(finding)));
    findings.extend(platforms::cloud_foundry::findings(&document));
    findings.extend(platforms::korifi::findings(&document));
    findings.extend(platforms::service_catalog::findings(&document));
    findings.extend(platforms::service_manager::findings(&document));
    findings
}

#[cfg(test)]
mod tests;
