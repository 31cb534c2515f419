//! Rules of the approval of requests for certificates.

use std::collections::HashSet;

use apimachinery::field::{self, FieldError};
use apimachinery::json::Value;

use super::{items, joined, text};

/// The conditions that decide, which are never false and never taken back.
const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];
const CONDITIONS: &str = "status.conditions";

/// Checks what somebody says of a request.
pub(super) fn check_approval(old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    let mut decided = None;
    for (position, condition) in items(new, CONDITIONS).iter().enumerate() {
        let place = field::index(CONDITIONS, position);
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        let of_kind = joined(&place, "type");
        if kind.is_empty() {
            errors.push(FieldError::required(&of_kind, ""));
        }
        let allowed: &[&str] = if DECISIONS.contains(&kind) {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        if status.is_empty() {
            errors.push(FieldError::required(joined(&place, "status"), ""));
        } else if !allowed.contains(&status) {
            errors.push(FieldError::not_supported(
                joined(&place, "status"),
                status.to_owned(),
                allowed,
            ));
        }
        if matches!(kind, "Approved" | "Denied") && *decided.get_or_insert(kind) != kind {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&of_kind, kind.to_owned(), why));
        }
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(&of_kind, kind.to_owned()));
        }
    }
    for decision in DECISIONS {
        let has = |object: &Value<'_>| {
            items(object, CONDITIONS)
                .iter()
                .any(|known| text(known, "type") == decision)
        };
        if has(old) && !has(new) {
            let why = format!("updates may not remove a condition of type {decision:?}");
            errors.push(FieldError::forbidden(CONDITIONS, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::json;

    fn told(old: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<String> {
        let request = |conditions: &[(&str, &str)]| {
            let conditions: Vec<Value<'_>> = conditions
                .iter()
                .map(|(kind, status)| json!({"type": (*kind).to_owned(), "status": (*status).to_owned()}))
                .collect();
            json!({"status": {"conditions": conditions}})
        };
        let mut errors = Vec::new();
        check_approval(&request(old), &request(new), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_decided_stays() {
        assert!(told(&[], &[("Approved", "True"), ("Other", "False")]).is_empty());
        assert_eq!(told(&[("Denied", "True")], &[]).len(), 1);
        assert_eq!(told(&[], &[("Approved", "True"), ("Denied", "True")]).len(), 1);
        assert_eq!(told(&[], &[("Approved", "False")]).len(), 1);
        assert_eq!(told(&[], &[("A", ""), ("A", "True")]).len(), 2);
    }
}
