//! Merge patch (RFC 7386), JSON patch (RFC 6902) and strategic merge patch, at bounded cost.

use crate::json::{MAX_DEPTH, Map, Value, depth_exceeds};
use crate::status::Status;

mod pointer;
mod strategic;

use pointer::Pointer;

pub use strategic::{StrategicError, strategic_merge};

/// Most operations of a JSON patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// How much the `copy` operations of one JSON patch may copy, in bytes of JSON.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// How many values one JSON patch may move in lists and trees: 10,000 operations on a short list, or a few on a long one.
const MAX_MOVED: usize = 50_000_000;

/// Applies a merge patch: objects are merged key by key, null removes a key, and everything else replaces what was there.
///
/// Beyond RFC 7386, and as a real API server does it, members that are null are also left out of objects inside lists.
///
/// ```
/// use apimachinery::json;
///
/// let mut target = json!({"a": 1, "b": {"c": 2, "d": 3}});
/// apimachinery::patch::merge_patch(&mut target, json!({"a": null, "b": {"c": 4}}));
/// assert_eq!(target, json!({"b": {"c": 4, "d": 3}}));
/// ```
pub fn merge_patch<'t>(target: &mut Value<'t>, patch: Value<'t>) {
    *target = merged(Some(target.take()), patch);
}

/// What a patch makes of a value, or of none.
fn merged<'t>(target: Option<Value<'t>>, patch: Value<'t>) -> Value<'t> {
    let patch = match patch {
        Value::Object(patch) => patch,
        mut other => {
            remove_nulls(&mut other);
            return other;
        }
    };
    let mut members = match target {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.merge(patch, |member, patch| (!patch.is_null()).then(|| merged(member, patch)));
    Value::Object(members)
}

/// Takes the members that are null out of the objects inside a list.
fn remove_nulls(value: &mut Value<'_>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        Value::Object(map) => {
            map.retain(|_, member| !member.is_null());
            map.values_mut().for_each(remove_nulls);
        }
        _ => {}
    }
}

/// Why a JSON patch cannot be read or applied. Names the operation by its position and never quotes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Not a list of objects.
    #[error("a JSON patch is a list of operations")]
    NotAList,
    /// Over [`MAX_OPERATIONS`].
    #[error("a JSON patch may have at most {MAX_OPERATIONS} operations")]
    TooManyOperations,
    /// An operation lacks a member, has one of the wrong type, or a malformed path.
    #[error("operation {0} is malformed")]
    Malformed(usize),
    /// A path leads nowhere.
    #[error("operation {0} names a place that does not exist")]
    NotFound(usize),
    /// A `test` does not hold.
    #[error("operation {0}: the test failed")]
    TestFailed(usize),
    /// A value would be moved into itself.
    #[error("operation {0} moves a value into itself")]
    IntoItself(usize),
    /// The result would be nested deeper than [`MAX_DEPTH`].
    #[error("operation {0} nests the document too deeply")]
    TooDeep(usize),
    /// The patch copies more than [`MAX_COPIED_BYTES`], or moves values about without measure.
    #[error("operation {0}: the patch copies or moves too much")]
    TooMuch(usize),
}

impl PatchError {
    /// The answer to the client: 400, 413 or 422.
    pub fn status(&self) -> Status {
        match self {
            Self::NotAList => Status::bad_request(format!("error decoding patch: {self}")),
            Self::TooManyOperations => Status::failure(
                crate::status::Reason::RequestEntityTooLarge,
                format!("the patch is too large: {self}"),
            ),
            _ => Status::rejected(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Operation<'t> {
    Add(Pointer, Value<'t>),
    Remove(Pointer),
    Replace(Pointer, Value<'t>),
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test(Pointer, Value<'t>),
}

/// A JSON patch, read and checked, ready to be applied to any document.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPatch<'t> {
    operations: Vec<Operation<'t>>,
}

impl<'t> JsonPatch<'t> {
    /// Reads the operations. `null` is a patch without any, and a value that is not given is `null`.
    ///
    /// # Errors
    ///
    /// When it is no list of operations, one of them is malformed, or there are too many.
    pub fn parse(patch: &Value<'t>) -> Result<Self, PatchError> {
        let list = match patch {
            Value::Null => &[],
            Value::Array(list) if list.iter().all(Value::is_object) => list.as_slice(),
            _ => return Err(PatchError::NotAList),
        };
        if list.len() > MAX_OPERATIONS {
            return Err(PatchError::TooManyOperations);
        }
        let operations: Result<_, _> = list
            .iter()
            .enumerate()
            .map(|(i, op)| operation(op).ok_or(PatchError::Malformed(i)))
            .collect();
        Ok(Self {
            operations: operations?,
        })
    }

    /// The document with all operations applied in their order.
    ///
    /// # Errors
    ///
    /// When one of them cannot be applied; nothing is left of the document then.
    pub fn apply(&self, document: Value<'t>) -> Result<Value<'t>, PatchError> {
        let mut state = State {
            document,
            copied: 0,
            moved: 0,
        };
        for (i, operation) in self.operations.iter().enumerate() {
            state.apply(operation).map_err(|problem| problem.at(i))?;
        }
        Ok(state.document)
    }
}

fn operation<'t>(op: &Value<'t>) -> Option<Operation<'t>> {
    let path = || Pointer::parse(op.get("path")?.as_str()?);
    let from = || Pointer::parse(op.get("from")?.as_str()?);
    let value = || op.get("value").cloned().unwrap_or_default();
    Some(match op.get("op")?.as_str()? {
        "add" => Operation::Add(path()?, value()),
        "remove" => Operation::Remove(path()?),
        "replace" => Operation::Replace(path()?, value()),
        "move" => Operation::Move {
            from: from()?,
            path: path()?,
        },
        "copy" => Operation::Copy {
            from: from()?,
            path: path()?,
        },
        "test" => Operation::Test(path()?, value()),
        _ => return None,
    })
}

/// A [`PatchError`] before it is known which operation it was.
#[derive(Clone, Copy)]
enum Problem {
    NotFound,
    TestFailed,
    IntoItself,
    TooDeep,
    TooMuch,
}

impl Problem {
    fn at(self, operation: usize) -> PatchError {
        match self {
            Self::NotFound => PatchError::NotFound(operation),
            Self::TestFailed => PatchError::TestFailed(operation),
            Self::IntoItself => PatchError::IntoItself(operation),
            Self::TooDeep => PatchError::TooDeep(operation),
            Self::TooMuch => PatchError::TooMuch(operation),
        }
    }
}

struct State<'t> {
    document: Value<'t>,
    copied: usize,
    moved: usize,
}

impl<'t> State<'t> {
    fn apply(&mut self, operation: &Operation<'t>) -> Result<(), Problem> {
        match operation {
            Operation::Add(path, value) => self.add(path, value.clone()),
            Operation::Remove(path) => self.remove(path).map(drop),
            Operation::Replace(path, value) => {
                check_depth(path, value)?;
                if let Some(place) = path.find_mut(&mut self.document) {
                    *place = value.clone();
                    return Ok(());
                }
                // A member that is missing is added, as the patches of a real API server do it.
                if !self.lacks_member(path) {
                    return Err(Problem::NotFound);
                }
                self.add(path, value.clone())
            }
            Operation::Move { from, path } if from == path => {
                from.find(&self.document).map(drop).ok_or(Problem::NotFound)
            }
            Operation::Move { from, path } => {
                if from.is_above(path) {
                    return Err(Problem::IntoItself);
                }
                let value = self.remove(from)?;
                self.charge(count(&value))?;
                self.add(path, value)
            }
            Operation::Copy { from, path } => {
                let missing = self.lacks_member(from).then_some(&Value::Null);
                let value = from.find(&self.document).or(missing).ok_or(Problem::NotFound)?;
                self.copied += size(value, MAX_COPIED_BYTES);
                if self.copied > MAX_COPIED_BYTES {
                    return Err(Problem::TooMuch);
                }
                let value = value.clone();
                self.add(path, value)
            }
            Operation::Test(path, value) => {
                let missing = self.lacks_member(path).then_some(&Value::Null);
                let found = path.find(&self.document).or(missing).ok_or(Problem::TestFailed)?;
                if equal(found, value) {
                    Ok(())
                } else {
                    Err(Problem::TestFailed)
                }
            }
        }
    }

    fn add(&mut self, path: &Pointer, value: Value<'t>) -> Result<(), Problem> {
        check_depth(path, &value)?;
        let Some((parent, last)) = path.split() else {
            self.document = value;
            return Ok(());
        };
        match parent.find_mut(&mut self.document).ok_or(Problem::NotFound)? {
            Value::Object(map) => {
                let behind = map.behind(last);
                map.insert(last.to_owned(), value);
                self.charge(behind)
            }
            Value::Array(items) => {
                let i = if last == "-" {
                    items.len()
                } else {
                    pointer::index(last).ok_or(Problem::NotFound)?
                };
                if i > items.len() {
                    return Err(Problem::NotFound);
                }
                let behind = items.len() - i;
                items.insert(i, value);
                self.charge(behind)
            }
            _ => Err(Problem::NotFound),
        }
    }

    fn remove(&mut self, path: &Pointer) -> Result<Value<'t>, Problem> {
        let Some((parent, last)) = path.split() else {
            return Ok(std::mem::take(&mut self.document));
        };
        match parent.find_mut(&mut self.document).ok_or(Problem::NotFound)? {
            Value::Object(map) => {
                let behind = map.behind(last);
                let value = map.remove(last).ok_or(Problem::NotFound)?;
                self.charge(behind)?;
                Ok(value)
            }
            Value::Array(items) => {
                let i = pointer::index(last)
                    .filter(|i| *i < items.len())
                    .ok_or(Problem::NotFound)?;
                let behind = items.len() - i;
                let value = items.remove(i);
                self.charge(behind)?;
                Ok(value)
            }
            _ => Err(Problem::NotFound),
        }
    }

    /// Whether a path leads to a member that its object does not have. For a real API server that is null, but when it is to be
    /// removed.
    fn lacks_member(&self, path: &Pointer) -> bool {
        path.split().is_some_and(|(parent, last)| {
            let object = parent.find(&self.document).and_then(Value::as_object);
            object.is_some_and(|object| !object.contains_key(last))
        })
    }

    fn charge(&mut self, values: usize) -> Result<(), Problem> {
        self.moved = self.moved.saturating_add(values);
        if self.moved > MAX_MOVED {
            Err(Problem::TooMuch)
        } else {
            Ok(())
        }
    }
}

fn check_depth(path: &Pointer, value: &Value<'_>) -> Result<(), Problem> {
    match MAX_DEPTH.checked_sub(path.len()) {
        Some(left) if !depth_exceeds(value, left) => Ok(()),
        _ => Err(Problem::TooDeep),
    }
}

/// How many values a value holds, itself among them.
fn count(value: &Value<'_>) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// About how many bytes of JSON a value is; stops counting behind `limit`.
fn size(value: &Value<'_>, limit: usize) -> usize {
    let mut total = 2;
    let mut add = |more: usize| {
        total += more + 1;
        total <= limit
    };
    match value {
        Value::String(text) => total += text.len(),
        Value::Array(items) => {
            let _ = items.iter().all(|item| add(size(item, limit)));
        }
        Value::Object(map) => {
            let _ = map.iter().all(|(key, value)| add(key.len() + 3 + size(value, limit)));
        }
        _ => total += 4,
    }
    total
}

/// Equality of JSON: numbers by their value, however they are written.
fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || (x.is_f64() != y.is_f64() && x.as_f64() == y.as_f64()),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| equal(a, b)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, a)| y.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn apply(document: Value<'static>, patch: Value<'static>) -> Result<Value<'static>, PatchError> {
        JsonPatch::parse(&patch)?.apply(document)
    }

    #[test]
    fn merge_patches_do_what_rfc_7386_lists() {
        for (mut target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            merge_patch(&mut target, patch.clone());
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn json_patches_do_what_rfc_6902_lists() {
        for (document, patch, expected) in [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"baz": "qux", "foo": "bar"}),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/0", "value": "x"}]),
                json!({"foo": ["x", "bar"]}),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": "x"}]),
                json!({"foo": ["bar", "x"]}),
            ),
            (
                json!({"foo": 1, "b": 2}),
                json!([{"op": "remove", "path": "/b"}]),
                json!({"foo": 1}),
            ),
            (
                json!({"foo": [1, 2, 3]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                json!({"foo": [1, 3]}),
            ),
            (
                json!({"foo": 1}),
                json!([{"op": "replace", "path": "/foo", "value": null}]),
                json!({"foo": null}),
            ),
            (
                json!({"a": {"b": 1}, "c": {}}),
                json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
                json!({"a": {}, "c": {"d": 1}}),
            ),
            (
                json!({"l": [1, 2, 3]}),
                json!([{"op": "move", "from": "/l/0", "path": "/l/2"}]),
                json!({"l": [2, 3, 1]}),
            ),
            (
                json!({"a": [1]}),
                json!([{"op": "copy", "from": "/a", "path": "/b"}]),
                json!({"a": [1], "b": [1]}),
            ),
            (
                json!({"a/b": 1, "m~n": 2}),
                json!([{"op": "test", "path": "/a~1b", "value": 1.0}, {"op": "test", "path": "/m~0n", "value": 2}]),
                json!({"a/b": 1, "m~n": 2}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "add", "path": "", "value": [1]}]),
                json!([1]),
            ),
        ] {
            assert_eq!(apply(document, patch.clone()), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn failed_operations_are_named() {
        let document = || json!({"a": {"b": [1]}, "c": 1});
        for (patch, expected) in [
            (json!({}), PatchError::NotAList),
            (json!([5]), PatchError::NotAList),
            (json!([{"op": "add"}]), PatchError::Malformed(0)),
            (json!([{"op": "odd", "path": "/x"}]), PatchError::Malformed(0)),
            (json!([{"op": "remove", "path": "x"}]), PatchError::Malformed(0)),
            (json!([{"op": "remove", "path": "/x~2"}]), PatchError::Malformed(0)),
            (json!([{"op": "remove", "path": "/x"}]), PatchError::NotFound(0)),
            (
                json!([{"op": "replace", "path": "/nope/k", "value": "9"}]),
                PatchError::NotFound(0),
            ),
            (
                json!([{"op": "add", "path": "/a/b/2", "value": 1}]),
                PatchError::NotFound(0),
            ),
            (
                json!([{"op": "add", "path": "/a/b/-1", "value": 1}]),
                PatchError::NotFound(0),
            ),
            (
                json!([{"op": "add", "path": "/a/b/00", "value": 1}]),
                PatchError::NotFound(0),
            ),
            (
                json!([{"op": "add", "path": "/c/d", "value": 1}]),
                PatchError::NotFound(0),
            ),
            (
                json!([{"op": "test", "path": "/c", "value": 1}, {"op": "test", "path": "/c", "value": "1"}]),
                PatchError::TestFailed(1),
            ),
            (
                json!([{"op": "move", "from": "/a", "path": "/a/b/0"}]),
                PatchError::IntoItself(0),
            ),
        ] {
            assert_eq!(apply(document(), patch.clone()), Err(expected), "{patch}");
        }
        let rejected = PatchError::TestFailed(0).status();
        assert_eq!(
            (rejected.code(), rejected.message.as_str()),
            (422, "the server rejected our request due to an error in our request")
        );
        assert_eq!(PatchError::TooManyOperations.status().code(), 413);
        assert_eq!(PatchError::NotAList.status().code(), 400);
        assert_eq!(PatchError::Malformed(0).status().code(), 422);
    }

    #[test]
    fn a_merge_leaves_null_members_out_of_lists() {
        let mut target = json!({});
        merge_patch(&mut target, json!({"l": [null, 1, {"a": null, "b": [{"c": null}]}]}));
        assert_eq!(target, json!({"l": [null, 1, {"b": [{}]}]}));
    }

    #[test]
    fn a_missing_member_is_null_as_on_a_real_server() {
        for (patch, expected) in [
            (json!(null), json!({"a": 1})),
            (
                json!([{"op": "replace", "path": "/b", "value": 2}]),
                json!({"a": 1, "b": 2}),
            ),
            (json!([{"op": "test", "path": "/b", "value": null}]), json!({"a": 1})),
            (
                json!([{"op": "copy", "from": "/b", "path": "/c"}]),
                json!({"a": 1, "c": null}),
            ),
            (json!([{"op": "add", "path": "/b"}]), json!({"a": 1, "b": null})),
        ] {
            assert_eq!(apply(json!({"a": 1}), patch.clone()), Ok(expected), "{patch}");
        }
        for patch in [
            json!([{"op": "test", "path": "/b/c", "value": null}]),
            json!([{"op": "move", "from": "/b", "path": "/c"}]),
            json!([{"op": "replace", "path": "/a/b", "value": 1}]),
        ] {
            assert!(apply(json!({"a": 1}), patch.clone()).is_err(), "{patch}");
        }
    }

    #[test]
    fn a_patch_cannot_blow_a_document_up() {
        let doubling: Vec<Value> = (0..40)
            .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}))
            .collect();
        let document = json!({"a": ["x".repeat(1000)]});
        assert!(matches!(
            apply(document, Value::Array(doubling)),
            Err(PatchError::TooMuch(_))
        ));

        let nesting: Vec<Value> = (0..200)
            .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"}))
            .collect();
        assert!(matches!(
            apply(json!({"a": {}}), Value::Array(nesting)),
            Err(PatchError::TooDeep(_))
        ));

        let many = vec![json!({"op": "test", "path": "", "value": 1}); MAX_OPERATIONS + 1];
        assert_eq!(apply(json!(1), Value::Array(many)), Err(PatchError::TooManyOperations));

        let shifting = vec![json!({"op": "add", "path": "/0", "value": 0}); MAX_OPERATIONS];
        let long = Value::Array(vec![json!(0); 20_000]);
        assert!(matches!(
            apply(long, Value::Array(shifting)),
            Err(PatchError::TooMuch(_))
        ));
    }
}
