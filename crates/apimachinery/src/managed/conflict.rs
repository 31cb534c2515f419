//! What an apply would take from somebody else.

use super::{Manager, Operation};
use crate::fields::{Path, show};
use crate::go;
use crate::status::{Details, Reason, Status};

/// Most conflicts that an answer names.
const MAX_CAUSES: usize = 100;

/// A field that somebody else owns, and for which another value was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict<'t> {
    /// Who owns it.
    pub manager: Manager<'t>,
    /// Where it stands.
    pub path: Path<'t>,
}

impl Conflict<'_> {
    /// 409: the answer to an apply that meets these.
    pub fn status(conflicts: &[Conflict<'_>]) -> Status {
        let mut details = Details::default();
        for conflict in conflicts.iter().take(MAX_CAUSES) {
            let message = format!("conflict with {}", named(&conflict.manager));
            details = details.with_cause("FieldManagerConflict", message, &show(&conflict.path));
        }
        Status::failure(Reason::Conflict, message(conflicts)).with_details(details)
    }
}

fn message(conflicts: &[Conflict<'_>]) -> String {
    if let [only] = conflicts {
        let (manager, path) = (named(&only.manager), show(&only.path));
        return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts.iter().take(MAX_CAUSES) {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", named(&conflict.manager)));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", show(&conflict.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

fn named(manager: &Manager<'_>) -> String {
    let mut name = go::quote(&manager.name);
    if !manager.subresource.is_empty() {
        name = format!("{name} with subresource {}", go::quote(&manager.subresource));
    }
    match manager.operation {
        Operation::Apply => name,
        Operation::Update => format!("{name} using {}", manager.api_version),
    }
}
