//! Events have two groups: what is stored is of the core group, and `events.k8s.io` shows the same under other names.

use apimachinery::json::{Map, Value};

/// The names of a field: in the core group, and in `events.k8s.io`. All others are the same.
const NAMES: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// Makes of an Event of the core group one of `events.k8s.io`; apiVersion is left alone.
///
/// ```
/// let mut event = apimachinery::json!({"message": "started", "involvedObject": {"name": "a"}, "reason": "R"});
/// kinds::events::from_core(&mut event);
/// assert_eq!(event, apimachinery::json!({"note": "started", "regarding": {"name": "a"}, "reason": "R"}));
/// kinds::events::to_core(&mut event);
/// assert_eq!(event["message"], "started");
/// ```
pub fn from_core(event: &mut Value<'_>) {
    rename(event, |(core, other)| (core, other));
}

/// Makes of an Event of `events.k8s.io` one of the core group; apiVersion is left alone.
pub fn to_core(event: &mut Value<'_>) {
    rename(event, |(core, other)| (other, core));
}

fn rename(event: &mut Value<'_>, names: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Value::Object(members) = event else { return };
    let known = std::mem::take(members).into_iter().map(|(key, value)| {
        let found = NAMES.into_iter().map(&names).find(|(from, _)| *from == key);
        (found.map_or(key, |(_, to)| to.into()), value)
    });
    *members = known.collect::<Map<'_>>();
}
