//! The members of an object.

use std::borrow::Cow;

use super::Value;

/// Up to so many members are looked through one by one: that is quicker than halving.
const FEW: usize = 12;

/// The members of an object, in the order of their keys, each key once.
///
/// They lie in one piece of memory, so a key that is put between others moves those behind it: what puts many in at
/// once uses [`Map::merge`] or collects them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Map<'t> {
    members: Vec<(Cow<'t, str>, Value<'t>)>,
}

impl<'t> Map<'t> {
    /// No members.
    pub const fn new() -> Self {
        Self { members: Vec::new() }
    }

    /// No members yet, and room for so many.
    pub fn with_capacity(members: usize) -> Self {
        Self {
            members: Vec::with_capacity(members),
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Where the key stands, or where it would.
    fn position(&self, key: &str) -> Result<usize, usize> {
        self.members.binary_search_by(|(known, _)| known.as_ref().cmp(key))
    }

    fn find(&self, key: &str) -> Option<usize> {
        if self.members.len() <= FEW {
            self.members.iter().position(|(known, _)| known == key)
        } else {
            self.position(key).ok()
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.find(key).map(|at| &self.members[at].1)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value<'t>> {
        self.find(key).map(|at| &mut self.members[at].1)
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// How many members stand behind the place of a key: so many does [`Map::insert`] or [`Map::remove`] move.
    pub fn behind(&self, key: &str) -> usize {
        let (Ok(at) | Err(at)) = self.position(key);
        self.members.len() - at
    }

    /// Sets the value of a key. The one that was there comes back.
    pub fn insert(&mut self, key: impl Into<Cow<'t, str>>, value: impl Into<Value<'t>>) -> Option<Value<'t>> {
        let (key, value) = (key.into(), value.into());
        if self.members.last().is_none_or(|(last, _)| *last < key) {
            self.members.push((key, value));
            return None;
        }
        match self.position(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.members[at].1, value)),
            Err(at) => {
                self.members.insert(at, (key, value));
                None
            }
        }
    }

    /// The value of a key, which is put there when it is missing.
    pub fn get_or_insert(&mut self, key: impl Into<Cow<'t, str>>, value: impl Into<Value<'t>>) -> &mut Value<'t> {
        let key = key.into();
        let at = match self.position(&key) {
            Ok(at) => at,
            Err(at) => {
                self.members.insert(at, (key, value.into()));
                at
            }
        };
        &mut self.members[at].1
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Value<'t>> {
        self.find(key).map(|at| self.members.remove(at).1)
    }

    /// Keeps the members for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value<'t>) -> bool) {
        self.members.retain_mut(|(key, value)| keep(key, value));
    }

    /// Goes through both in the order of their keys: what is only in one stays or comes, and for what is in both, and
    /// for what comes, `join` says what becomes of it; `None` leaves the member out. Takes time for each member of both
    /// once.
    pub fn merge(&mut self, more: Map<'t>, mut join: impl FnMut(Option<Value<'t>>, Value<'t>) -> Option<Value<'t>>) {
        let mut more = more.members.into_iter().peekable();
        let here = std::mem::take(&mut self.members);
        self.members.reserve(here.len() + more.len());
        for (key, value) in here {
            while let Some((new, added)) = more.next_if(|(new, _)| *new < key) {
                self.members.extend(join(None, added).map(|value| (new, value)));
            }
            match more.next_if(|(new, _)| *new == key) {
                Some((_, other)) => self.members.extend(join(Some(value), other).map(|value| (key, value))),
                None => self.members.push((key, value)),
            }
        }
        for (new, added) in more {
            self.members.extend(join(None, added).map(|value| (new, value)));
        }
    }

    /// The members.
    pub fn iter(&self) -> Iter<'_, 't> {
        Iter(self.members.iter())
    }

    /// The members, their keys as they lie here: a clone of one that is borrowed costs nothing.
    pub(crate) fn cows(&self) -> impl Iterator<Item = (&Cow<'t, str>, &Value<'t>)> {
        self.members.iter().map(|(key, value)| (key, value))
    }

    /// A member, its key as it lies here.
    pub(crate) fn cow(&self, key: &str) -> Option<(&Cow<'t, str>, &Value<'t>)> {
        self.find(key).map(|at| (&self.members[at].0, &self.members[at].1))
    }

    /// The members, their values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value<'t>)> {
        self.members.iter_mut().map(|(key, value)| (&**key, value))
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(key, _)| key.as_ref())
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &Value<'t>> {
        self.members.iter().map(|(_, value)| value)
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value<'t>> {
        self.members.iter_mut().map(|(_, value)| value)
    }

    /// The same without anything borrowed.
    pub fn into_owned(self) -> Map<'static> {
        let members = self.members.into_iter();
        Map {
            members: members
                .map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()))
                .collect(),
        }
    }
}

/// Of a key that comes twice the last value counts.
impl<'t, K: Into<Cow<'t, str>>> FromIterator<(K, Value<'t>)> for Map<'t> {
    fn from_iter<I: IntoIterator<Item = (K, Value<'t>)>>(members: I) -> Self {
        let mut members: Vec<_> = members.into_iter().map(|(key, value)| (key.into(), value)).collect();
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            // Of two that are equal the later one goes, with what the earlier one had.
            members.dedup_by(|(later, value), (earlier, kept)| {
                let same = later == earlier;
                if same {
                    std::mem::swap(value, kept);
                }
                same
            });
        }
        Self { members }
    }
}

impl<'t> IntoIterator for Map<'t> {
    type Item = (Cow<'t, str>, Value<'t>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl<'m, 't> IntoIterator for &'m Map<'t> {
    type Item = (&'m str, &'m Value<'t>);
    type IntoIter = Iter<'m, 't>;

    fn into_iter(self) -> Iter<'m, 't> {
        self.iter()
    }
}

/// The members of an object, one after the other.
#[derive(Clone, Debug)]
pub struct Iter<'m, 't>(std::slice::Iter<'m, (Cow<'t, str>, Value<'t>)>);

impl<'m, 't> Iterator for Iter<'m, 't> {
    type Item = (&'m str, &'m Value<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_ref(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_, '_> {}

impl serde::Serialize for Map<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(members: &[(&'static str, i64)]) -> Map<'static> {
        members.iter().map(|(key, value)| (*key, Value::from(*value))).collect()
    }

    #[test]
    fn members_stand_in_the_order_of_their_keys_and_the_last_value_counts() {
        let map = map(&[("b", 1), ("a", 2), ("b", 3), ("c", 4), ("b", 5)]);
        assert!(map.iter().eq([("a", &2.into()), ("b", &5.into()), ("c", &4.into())]));
    }

    #[test]
    fn small_and_large_maps_find_the_same() {
        for size in [0, 1, FEW, FEW + 1, 100] {
            let keys: Vec<String> = (0..size).map(|i| format!("{:03}", i * 2)).collect();
            let mut map = Map::default();
            for (i, key) in keys.iter().enumerate().rev() {
                assert_eq!(map.insert(key.clone(), i as u64), None);
            }
            assert!(map.keys().eq(keys.iter()));
            for (i, key) in keys.iter().enumerate() {
                assert_eq!(map.get(key), Some(&Value::from(i as u64)));
                assert_eq!(map.behind(key), size - i);
                assert!(!map.contains_key(&format!("{:03}", i * 2 + 1)));
            }
            if let Some(key) = keys.first() {
                assert_eq!(map.remove(key), Some(Value::from(0u64)));
                assert_eq!(map.len(), size - 1);
            }
        }
    }

    #[test]
    fn a_merge_takes_and_leaves_what_it_is_told() {
        let mut target = map(&[("b", 1), ("d", 2), ("f", 3)]);
        target.merge(
            map(&[("a", 10), ("d", 20), ("e", 0), ("f", 0), ("g", 30)]),
            |old, new| {
                (new != 0)
                    .then(|| Value::from(old.and_then(|old| old.as_i64()).unwrap_or(0) + new.as_i64().unwrap_or(0)))
            },
        );
        assert_eq!(target, map(&[("a", 10), ("b", 1), ("d", 22), ("g", 30)]));
    }
}
