//! What has to be known of a whole archive before its first object is made: who names whom.

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::archive::{Archive, ArchiveError, Event, Resource};

/// A uid as a number: there may be many.
pub(super) type Uid = u128;

/// The kinds of which there may be very many; nobody's uid stands in them but those of their owners.
const MANY: [&str; 3] = ["serviceinstances", "servicebindings", "tombstones"];

/// Their status is the server's own affair.
const WITHOUT_STATUS: [&str; 2] = ["namespaces", "customresourcedefinitions"];

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The uids of objects of the archive that other objects of it name.
    pub(super) named: HashSet<Uid>,
    /// The namespaces of all objects of the brokers.
    pub(super) namespaces: BTreeSet<String>,
    /// Whether something is to be done when all objects are there: a status, or a deletion.
    pub(super) late: bool,
}

#[derive(Default, Deserialize)]
struct Sketch {
    metadata: SketchMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SketchMeta {
    namespace: String,
    uid: String,
    deletion_timestamp: Option<String>,
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
struct OwnerReference {
    uid: String,
}

impl Survey {
    /// Of one event of the first reading. Which of the uids are of objects of the archive [`Self::settle`] finds out.
    pub(super) fn look(&mut self, groups: &[String], event: &Event<'_>) -> Result<(), ArchiveError> {
        let Event::Object(resource, object) = event else {
            return Ok(());
        };
        let sketch = sketch(object)?;
        self.late |= sketch.metadata.deletion_timestamp.is_some() || has_late_status(resource);
        let owners = sketch.metadata.owner_references.iter();
        self.named.extend(owners.filter_map(|owner| uid(&owner.uid)));
        if groups.contains(&resource.group) && resource.namespaced {
            self.namespaces.insert(sketch.metadata.namespace);
        }
        if !is_many(groups, resource) {
            let value = value(object)?;
            visit(&value, &mut |text| self.named.extend(uid(text)));
        }
        Ok(())
    }

    /// Keeps the uids of objects that are in the archive.
    pub(super) fn settle(&mut self, archive: &Archive) -> Result<(), ArchiveError> {
        if self.named.is_empty() {
            return Ok(());
        }
        let mut there = HashSet::new();
        archive.read(|event| {
            if let Event::Object(_, object) = event {
                let found = uid(&sketch(object)?.metadata.uid);
                there.extend(found.filter(|found| self.named.contains(found)));
            }
            Ok(())
        })?;
        self.named = there;
        Ok(())
    }
}

/// Whether the status of such objects is written apart, when all objects are there.
pub(super) fn has_late_status(resource: &Resource) -> bool {
    resource.status && !WITHOUT_STATUS.contains(&resource.plural.as_str())
}

pub(super) fn is_many(groups: &[String], resource: &Resource) -> bool {
    groups.contains(&resource.group) && MANY.contains(&resource.plural.as_str())
}

fn sketch(object: &RawValue) -> Result<Sketch, ArchiveError> {
    serde_json::from_str(object.get()).map_err(|_| ArchiveError::Damaged("an object has no metadata"))
}

fn value(object: &RawValue) -> Result<Value, ArchiveError> {
    serde_json::from_str(object.get()).map_err(|_| ArchiveError::Damaged("an object makes no sense"))
}

/// Every text of an object but its own uid and what the home keeps about its fields.
fn visit(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        Value::Object(members) => {
            for (name, member) in members {
                if name != "managedFields" && !(name == "uid" && members.contains_key("resourceVersion")) {
                    visit(member, look);
                }
            }
        }
        _ => {}
    }
}

/// The uids in a value that are among those.
pub(super) fn named_in(value: &Value, named: &HashSet<Uid>) -> HashSet<Uid> {
    let mut found = HashSet::new();
    if !named.is_empty() {
        visit(value, &mut |text| {
            found.extend(uid(text).filter(|uid| named.contains(uid)))
        });
    }
    found
}

/// The number of a text of the form `8-4-4-4-12` hexadecimal digits in lower case.
pub(super) fn uid(text: &str) -> Option<Uid> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    if text.len() != 36 {
        return None;
    }
    text.bytes().enumerate().try_fold(0, |number: Uid, (place, byte)| {
        if DASHES.contains(&place) {
            return (byte == b'-').then_some(number);
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | Uid::from(digit))
    })
}

/// The text of a uid.
pub(super) fn text(uid: Uid) -> String {
    let digits = format!("{uid:032x}");
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_read_as_they_are_written() {
        let some = "0b8cdfe2-a8f2-4c0b-9b61-0123456789ab";
        assert_eq!(uid(some).map(text).as_deref(), Some(some));
        for other in [
            "",
            "0B8CDFE2-a8f2-4c0b-9b61-0123456789ab",
            &some[1..],
            &some.replace('-', "a"),
            &"é".repeat(18),
        ] {
            assert_eq!(uid(other), None, "{other:?}");
        }
    }
}
