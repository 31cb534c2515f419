//! Makes a catalog readable that has members of a wrong type, so that the rest of it can be looked at all the same.

use serde_json::{Value, json};

use crate::finding::{Finding, Severity};

/// A catalog without what its shape was wrong with.
pub(crate) struct Repaired {
    pub(crate) catalog: Value,
    /// Pointers to what is not as it came.
    places: Vec<String>,
}

impl Repaired {
    /// `shape` is what was found out about the catalog's members.
    pub(crate) fn of(catalog: &Value, shape: &[Finding]) -> Self {
        let wrong = shape.iter().filter(|finding| finding.severity == Severity::Error);
        let places: Vec<String> = wrong
            .map(|finding| place_of_the_member(&finding.place).to_owned())
            .collect();
        let mut repaired = catalog.clone();
        for (number, place) in places.iter().enumerate() {
            repair(&mut repaired, place, number);
        }
        Self {
            catalog: repaired,
            places,
        }
    }

    /// Whether something was found about the catalog as it came.
    pub(crate) fn is_true(&self, finding: &Finding) -> bool {
        let lies_in = |place: &String| {
            finding
                .place
                .strip_prefix(place.as_str())
                .is_some_and(is_end_of_pointer)
        };
        !self.places.iter().any(lies_in)
    }
}

fn is_end_of_pointer(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// An element of a list of texts is repaired with its list.
fn place_of_the_member(place: &str) -> &str {
    match place.rsplit_once('/') {
        Some((list, index)) if index.parse::<usize>().is_ok() => list,
        _ => place,
    }
}

fn repair(catalog: &mut Value, place: &str, number: usize) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        *catalog = json!({ "services": [] });
        return;
    };
    let Some(members) = catalog.pointer_mut(parent).and_then(Value::as_object_mut) else {
        return;
    };
    let stand_in = match name {
        "services" | "plans" => json!([]),
        // Each its own: ids and names are unique.
        "id" | "name" | "description" | "secret" => json!(format!("missing-{number}")),
        "version" => json!("0.0.0"),
        // Nothing is said against plans that can be bound.
        "bindable" => json!(true),
        _ => {
            members.remove(name);
            return;
        }
    };
    members.insert(name.to_owned(), stand_in);
}
