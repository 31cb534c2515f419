//! Strategic merge patch: a merge patch that knows which lists are merged, and by what their items are known.
//!
//! The types say so ([`crate::schema::Patch`]), and directives in the patch say more: `$patch`, `$retainKeys`,
//! `$deleteFromPrimitiveList/…` and `$setElementOrder/…`. Only built-in kinds have such types.

use std::collections::{BTreeMap, BTreeSet};

use crate::fields::Element;
use crate::json::{Map, Value};
use crate::schema::{Patch, Type};
use crate::status::{Reason, Status};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const ORDER: &str = "$setElementOrder";

/// Why a strategic merge patch cannot be applied. Never quotes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StrategicError {
    /// `$deleteFromPrimitiveList` is no list, or does not name one.
    #[error("invalid patch format of primitive list")]
    DeleteList,
    /// `$retainKeys` is no list, or lacks a member of the patch.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` is no list, does not name one, or contradicts the patch.
    #[error("invalid patch format of setElementOrder list")]
    Order,
    /// A `$patch` that is not known here.
    #[error("unknown patch type in map")]
    Directive,
    /// An item of a list that is merged does not say which one it is.
    #[error("map does not contain the declared merge key")]
    NoMergeKey,
    /// The items of a list that is merged are of several types.
    #[error("list element types are not identical")]
    MixedList,
    /// A list of lists cannot be merged.
    #[error("lists of lists are not supported")]
    ListOfLists,
}

impl StrategicError {
    /// The answer to the client: 400 or 422.
    pub fn status(self) -> Status {
        match self {
            Self::DeleteList | Self::RetainKeys | Self::Order => Status::bad_request(self.to_string()),
            _ => Status::failure(Reason::Invalid, self.to_string()),
        }
    }
}

/// Applies a strategic merge patch to an object of a type.
///
/// # Errors
///
/// When the patch contradicts itself or the type.
pub fn strategic_merge<'t>(object_type: Type<'_>, object: Map<'t>, patch: Map<'t>) -> Result<Map<'t>, StrategicError> {
    merge_members(Some(object_type), object, patch)
}

/// What is known of a member: its type, or that of its items, and how it is patched.
fn member<'s>(object_type: Option<Type<'s>>, name: &str) -> (Option<Type<'s>>, Patch) {
    let found = object_type.and_then(Type::as_map).and_then(|map| map.member(name));
    (found, found.map(Type::patch).unwrap_or_default())
}

fn merge_members<'t>(
    object_type: Option<Type<'_>>,
    mut object: Map<'t>,
    mut patch: Map<'t>,
) -> Result<Map<'t>, StrategicError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            _ => Err(StrategicError::Directive),
        };
    }
    retain_keys(&mut object, &mut patch)?;
    merge_ordered(object_type, &mut object, &mut patch)?;
    for (name, value) in patch {
        if name.starts_with(DELETE_FROM) {
            let list = listed(&name).ok_or(StrategicError::DeleteList)?;
            delete_from(&mut object, list, value)?;
        } else if value.is_null() {
            object.remove(&name);
        } else {
            let new = match object.remove(&name) {
                Some(old) => merge_member(object_type, &name, old, value)?,
                None => cleaned(value),
            };
            if let Some(new) = new {
                object.insert(name, new);
            }
        }
    }
    Ok(object)
}

/// The name of the list that a directive is for.
fn listed(directive: &str) -> Option<&str> {
    directive.split_once('/').map(|(_, name)| name)
}

fn merge_member<'t>(
    object_type: Option<Type<'_>>,
    name: &str,
    old: Value<'t>,
    patch: Value<'t>,
) -> Result<Option<Value<'t>>, StrategicError> {
    let (member_type, how) = member(object_type, name);
    Ok(match (old, patch) {
        (Value::Object(_), Value::Object(patch)) if how.replace => Some(Value::Object(patch)),
        (Value::Object(old), Value::Object(patch)) => Some(Value::Object(merge_members(member_type, old, patch)?)),
        (Value::Array(old), Value::Array(patch)) if how.merge => {
            Some(Value::Array(merge_items(member_type, how, old, patch)?))
        }
        (Value::Array(_), Value::Array(patch)) => Some(Value::Array(patch)),
        (_, patch) => cleaned(patch),
    })
}

/// What a patch leaves where nothing was: without nulls and directives. `None` when it is itself one.
fn cleaned(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Object(members) if members.contains_key(DIRECTIVE) => None,
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Some(Value::Object(
                members
                    .filter_map(|(name, value)| Some((name, cleaned(value)?)))
                    .collect(),
            ))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(cleaned).collect())),
        other => Some(other),
    }
}

/// `$retainKeys`: the members that may stay, which must name all that the patch sets.
fn retain_keys(object: &mut Map<'_>, patch: &mut Map<'_>) -> Result<(), StrategicError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = keys.as_array().ok_or(StrategicError::RetainKeys)?;
    let keys: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let is_directive = |name: &str| name.starts_with(DELETE_FROM) || name.starts_with(ORDER);
    let mut set = patch
        .iter()
        .filter(|(name, value)| !value.is_null() && !is_directive(name));
    if set.any(|(name, _)| !keys.contains(name)) {
        return Err(StrategicError::RetainKeys);
    }
    object.retain(|name, _| keys.contains(name));
    Ok(())
}

/// `$deleteFromPrimitiveList/…`: items that go.
fn delete_from(object: &mut Map<'_>, list: &str, gone: Value<'_>) -> Result<(), StrategicError> {
    let gone = match gone {
        Value::Array(gone) => gone,
        Value::Null => {
            object.remove(list);
            return Ok(());
        }
        _ => return Ok(()),
    };
    let Some(Value::Array(items)) = object.get_mut(list) else {
        return Ok(());
    };
    if items.is_empty() && gone.is_empty() {
        return Ok(());
    }
    if items_are(items.iter().chain(&gone))? == Items::Objects {
        return Err(StrategicError::NoMergeKey);
    }
    let gone: BTreeSet<Element<'_>> = gone.into_iter().map(Element::Value).collect();
    items.retain(|item| !gone.contains(&Element::Value(item.clone())));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Items {
    Objects,
    Scalars,
}

/// What all items of lists are.
fn items_are<'v, 't: 'v>(items: impl Iterator<Item = &'v Value<'t>>) -> Result<Items, StrategicError> {
    let mut first: Option<&Value<'t>> = None;
    for item in items {
        if item.is_array() {
            return Err(StrategicError::ListOfLists);
        }
        let same = first.is_none_or(|first| std::mem::discriminant(first) == std::mem::discriminant(item));
        if !same || item.is_null() {
            return Err(StrategicError::MixedList);
        }
        first = first.or(Some(item));
    }
    match first {
        Some(Value::Object(_)) => Ok(Items::Objects),
        _ => Ok(Items::Scalars),
    }
}

/// What an item is known by: the value of its merge key, or itself.
fn identity<'t>(item: &Value<'t>, key: Option<&str>) -> Result<Element<'t>, StrategicError> {
    let Some(key) = key else {
        return Ok(Element::Value(item.clone()));
    };
    let value = item.as_object().and_then(|item| item.get(key));
    value.cloned().map(Element::Value).ok_or(StrategicError::NoMergeKey)
}

fn identities<'t>(items: &[Value<'t>], key: Option<&str>) -> Result<BTreeMap<Element<'t>, usize>, StrategicError> {
    let mut found = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        found.entry(identity(item, key)?).or_insert(at);
    }
    Ok(found)
}

/// Merges a list into another one. New items come before the old ones behind them in the patch's order.
fn merge_items<'t>(
    list_type: Option<Type<'_>>,
    how: Patch,
    old: Vec<Value<'t>>,
    patch: Vec<Value<'t>>,
) -> Result<Vec<Value<'t>>, StrategicError> {
    if old.is_empty() && patch.is_empty() {
        return Ok(old);
    }
    if items_are(old.iter().chain(&patch))? == Items::Scalars {
        let order = identities(&patch, None)?;
        let before = identities(&old, None)?;
        let mut seen = BTreeSet::new();
        let all = old.into_iter().chain(patch);
        let merged = all.filter(|item| seen.insert(Element::Value(item.clone()))).collect();
        return ordered(merged, &order, &before, None);
    }
    let key = how.merge_key.ok_or(StrategicError::NoMergeKey)?;
    let Special { old, patch, replaced } = special_items(old, patch, key)?;
    if replaced {
        identities(&old, Some(key))?;
        return Ok(old);
    }
    let order = identities(&patch, Some(key))?;
    let before = identities(&old, Some(key))?;
    let mut merged = old;
    let mut places = before.clone();
    for item in patch {
        let known = identity(&item, Some(key))?;
        match (places.get(&known), item) {
            (Some(at), Value::Object(item)) => {
                if let Value::Object(there) = merged[*at].take() {
                    let item_type = list_type.and_then(Type::as_list).map(|list| list.item);
                    merged[*at] = Value::Object(merge_members(item_type, there, item)?);
                }
            }
            (_, item) => {
                places.insert(known, merged.len());
                merged.push(item);
            }
        }
    }
    ordered(merged, &order, &before, Some(key))
}

/// A list and a patch without the items that are directives.
struct Special<'t> {
    old: Vec<Value<'t>>,
    patch: Vec<Value<'t>>,
    /// The patch's items are all that is left.
    replaced: bool,
}

fn special_items<'t>(mut old: Vec<Value<'t>>, patch: Vec<Value<'t>>, key: &str) -> Result<Special<'t>, StrategicError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut gone = BTreeSet::new();
    let mut replaced = false;
    for item in patch {
        match item.get(DIRECTIVE).map(Value::as_str) {
            None => plain.push(item),
            Some(Some("delete")) => {
                gone.insert(identity(&item, Some(key))?);
            }
            Some(Some("replace")) => replaced = true,
            Some(_) => return Err(StrategicError::Directive),
        }
    }
    if !gone.is_empty() {
        old.retain(|item| !identity(item, Some(key)).is_ok_and(|known| gone.contains(&known)));
    }
    Ok(match replaced {
        true => Special {
            old: plain,
            patch: Vec::new(),
            replaced,
        },
        false => Special {
            old,
            patch: plain,
            replaced,
        },
    })
}

/// The items that an order names, in that order, and the others as they stood before. Where the two meet, an item that
/// stood before the next one of the order stays before it.
fn ordered<'t>(
    items: Vec<Value<'t>>,
    order: &BTreeMap<Element<'t>, usize>,
    before: &BTreeMap<Element<'t>, usize>,
    key: Option<&str>,
) -> Result<Vec<Value<'t>>, StrategicError> {
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in items {
        let known = identity(&item, key)?;
        let place = before.get(&known).copied();
        match order.get(&known) {
            Some(at) => named.push((*at, place, item)),
            None => others.push((place.unwrap_or(usize::MAX), item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(place, _)| *place);
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, place, item) in named {
        while let Some((_, other)) = others.next_if(|(other, _)| place.is_some_and(|place| *other < place)) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others.map(|(_, item)| item));
    Ok(out)
}

/// `$setElementOrder/…`: merges the lists for which the patch gives an order.
fn merge_ordered<'t>(
    object_type: Option<Type<'_>>,
    object: &mut Map<'t>,
    patch: &mut Map<'t>,
) -> Result<(), StrategicError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|name| name.starts_with(ORDER))
        .map(str::to_owned)
        .collect();
    for directive in directives {
        let name = listed(&directive).ok_or(StrategicError::Order)?;
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(StrategicError::Order);
        };
        let (list_type, how) = member(object_type, name);
        let old = list(object.remove(name))?;
        let new = list(patch.remove(name))?;
        check_order(new.as_deref().unwrap_or_default(), &order, how.merge_key)?;
        let before = identities(old.as_deref().unwrap_or_default(), how.merge_key)?;
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(cleaned).collect(),
            (Some(old), Some(new)) if how.merge => merge_items(list_type, how, old, new)?,
            (Some(_), Some(new)) => new,
        };
        let order = identities(&order, how.merge_key)?;
        let merged = ordered(merged, &order, &before, how.merge_key)?;
        object.insert(name.to_owned(), Value::Array(merged));
    }
    Ok(())
}

fn list(value: Option<Value<'_>>) -> Result<Option<Vec<Value<'_>>>, StrategicError> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(_) => Err(StrategicError::Order),
    }
}

/// The items of the patch must stand in the order, as they follow each other.
fn check_order(patch: &[Value<'_>], order: &[Value<'_>], key: Option<&str>) -> Result<(), StrategicError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut order = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let known = identity(item, key)?;
        let mut found = false;
        for other in order.by_ref() {
            found = identity(other, key)? == known;
            if found {
                break;
            }
        }
        if !found {
            return Err(StrategicError::Order);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
