//! Sets of fields: what `metadata.managedFields` says that a manager owns.
//!
//! A set is a tree. Each step is an [`Element`]: a member of an object, or an item of a list that is known by its keys or by its
//! value. As JSON (`FieldsV1`) a step is a key (`f:name`, `k:{"name":"a"}`, `v:"a"`, `i:0`), and `.` says that the place itself
//! belongs to the set, not only what is below it; a step without anything below it belongs to the set in any case.

use std::cmp::Ordering;

use crate::json::Value;

mod element;
mod json;

pub use element::Element;
pub(crate) use element::compare;
pub use json::FieldsError;

/// A way from the root of an object to a place in it.
pub type Path<'t> = Vec<Element<'t>>;

/// A set of places in an object.
///
/// ```
/// use apimachinery::fields::FieldSet;
/// use apimachinery::json;
///
/// let text = json!({"f:spec": {"f:size": {}, "f:ports": {"k:{\"port\":80}": {".": {}, "f:name": {}}}}});
/// let set = FieldSet::parse(&text).unwrap();
/// let places: Vec<String> = set.paths().iter().map(|path| apimachinery::fields::show(path)).collect();
/// assert_eq!(places, [".spec.size", ".spec.ports[port=80]", ".spec.ports[port=80].name"]);
/// assert_eq!(set.to_value(), text);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet<'t> {
    /// In order, each element once; each is in the set itself or has something below it.
    entries: Vec<Entry<'t>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry<'t> {
    element: Element<'t>,
    is_member: bool,
    below: FieldSet<'t>,
}

impl<'t> Entry<'t> {
    /// Nothing, where the place is not in the set and nothing below it is.
    fn kept(self) -> Option<Entry<'t>> {
        (self.is_member || !self.below.is_empty()).then_some(self)
    }
}

impl<'t> FieldSet<'t> {
    /// No places.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// A set of places below members of objects: `["metadata", "name"]`.
    pub fn of_names(places: &[&[&'t str]]) -> Self {
        let mut set = Self::new();
        for place in places {
            set.insert(place.iter().map(|name| Element::Field((*name).into())));
        }
        set
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a place. The root is never in a set.
    pub fn insert(&mut self, path: impl IntoIterator<Item = Element<'t>>) {
        let mut path = path.into_iter().peekable();
        let mut set = self;
        while let Some(element) = path.next() {
            let entry = set.entry(element);
            entry.is_member |= path.peek().is_none();
            set = &mut entry.below;
        }
    }

    /// The entry of an element, which may be new and then belongs to nothing yet.
    fn entry(&mut self, element: Element<'t>) -> &mut Entry<'t> {
        let at = match self.entries.last() {
            None => Err(0),
            Some(last) => match last.element.cmp(&element) {
                Ordering::Less => Err(self.entries.len()),
                Ordering::Equal => Ok(self.entries.len() - 1),
                Ordering::Greater => self.find(&element),
            },
        };
        let at = at.unwrap_or_else(|at| {
            let entry = Entry {
                element,
                is_member: false,
                below: FieldSet::new(),
            };
            self.entries.insert(at, entry);
            at
        });
        &mut self.entries[at]
    }

    fn find(&self, element: &Element<'_>) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.element.cmp(element))
    }

    fn get(&self, element: &Element<'_>) -> Option<&Entry<'t>> {
        self.find(element).ok().map(|at| &self.entries[at])
    }

    /// Whether the place of an element is in the set, and what is in it below that place.
    pub(crate) fn at(&self, element: &Element<'_>) -> (bool, Option<&FieldSet<'t>>) {
        match self.get(element) {
            Some(entry) => (entry.is_member, Some(&entry.below).filter(|below| !below.is_empty())),
            None => (false, None),
        }
    }

    /// Whether a place is in the set.
    pub fn contains(&self, path: &[Element<'_>]) -> bool {
        let Some((last, above)) = path.split_last() else {
            return false;
        };
        let mut set = self;
        for element in above {
            match set.get(element) {
                Some(entry) => set = &entry.below,
                None => return false,
            }
        }
        set.get(last).is_some_and(|entry| entry.is_member)
    }

    /// The elements of the first level: whether each is in the set itself, and what is below it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Element<'t>, bool, &FieldSet<'t>)> {
        self.entries
            .iter()
            .map(|entry| (&entry.element, entry.is_member, &entry.below))
    }

    /// All places, those of a level before those below it.
    pub fn paths(&self) -> Vec<Path<'t>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, above: &mut Path<'t>, paths: &mut Vec<Path<'t>>) {
        for entry in self.entries.iter().filter(|entry| entry.is_member) {
            let mut path = above.clone();
            path.push(entry.element.clone());
            paths.push(path);
        }
        for entry in &self.entries {
            above.push(entry.element.clone());
            entry.below.collect(above, paths);
            above.pop();
        }
    }

    /// What is in one of them.
    #[must_use]
    pub fn union(self, other: FieldSet<'t>) -> FieldSet<'t> {
        if self.is_empty() {
            return other;
        }
        let mut entries = Vec::with_capacity(self.entries.len() + other.entries.len());
        let mut others = other.entries.into_iter().peekable();
        for mut entry in self.entries {
            while let Some(before) = others.next_if(|other| other.element < entry.element) {
                entries.push(before);
            }
            if let Some(same) = others.next_if(|other| other.element == entry.element) {
                entry.is_member |= same.is_member;
                entry.below = entry.below.union(same.below);
            }
            entries.push(entry);
        }
        entries.extend(others);
        FieldSet { entries }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet<'_>) -> FieldSet<'t> {
        self.matched(other, |entry, same| {
            let same = same?;
            Some(Entry {
                element: entry.element.clone(),
                is_member: entry.is_member && same.is_member,
                below: entry.below.intersection(&same.below),
            })
        })
    }

    /// What is in this one only, each place taken for itself: that a place is in the other one says nothing of what is below.
    #[must_use]
    pub fn difference(&self, other: &FieldSet<'_>) -> FieldSet<'t> {
        self.matched(other, |entry, same| {
            Some(match same {
                None => entry.clone(),
                Some(same) => Entry {
                    element: entry.element.clone(),
                    is_member: entry.is_member && !same.is_member,
                    below: entry.below.difference(&same.below),
                },
            })
        })
    }

    /// What is left without the places of the other set and everything below them.
    #[must_use]
    pub fn without(&self, other: &FieldSet<'_>) -> FieldSet<'t> {
        self.matched(other, |entry, same| match same {
            None => Some(entry.clone()),
            Some(same) if same.is_member => None,
            Some(same) => Some(Entry {
                element: entry.element.clone(),
                is_member: entry.is_member,
                below: entry.below.without(&same.below),
            }),
        })
    }

    /// What `join` makes of each entry and the one of the same element in the other set.
    fn matched<'o>(
        &self,
        other: &FieldSet<'o>,
        join: impl Fn(&Entry<'t>, Option<&Entry<'o>>) -> Option<Entry<'t>>,
    ) -> FieldSet<'t> {
        let mut others = other.entries.iter().peekable();
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            while others.next_if(|other| other.element < entry.element).is_some() {}
            let same = others.peek().copied().filter(|other| other.element == entry.element);
            entries.extend(join(entry, same).and_then(Entry::kept));
        }
        FieldSet { entries }
    }

    /// Reads the JSON of a set. Steps of a kind that is not known are left out.
    ///
    /// # Errors
    ///
    /// When it is no set.
    pub fn parse(fields: &Value<'t>) -> Result<FieldSet<'t>, FieldsError> {
        json::read(fields)
    }

    /// The set as JSON.
    pub fn to_value(&self) -> Value<'t> {
        json::write(self)
    }

    /// The same without anything borrowed.
    pub fn into_owned(self) -> FieldSet<'static> {
        let entries = self.entries.into_iter().map(|entry| Entry {
            element: entry.element.into_owned(),
            is_member: entry.is_member,
            below: entry.below.into_owned(),
        });
        FieldSet {
            entries: entries.collect(),
        }
    }
}

/// Puts a set together from elements in any order. It is sorted once, so that many elements cost no more than that.
#[derive(Debug, Default)]
pub(crate) struct Builder<'t> {
    entries: Vec<Entry<'t>>,
    is_unsorted: bool,
}

impl<'t> Builder<'t> {
    /// Adds what stands at an element and below it. Adds nothing when there is nothing.
    pub(crate) fn add(&mut self, element: Element<'t>, is_member: bool, below: FieldSet<'t>) {
        if is_member || !below.is_empty() {
            self.is_unsorted |= self.entries.last().is_some_and(|last| last.element >= element);
            self.entries.push(Entry {
                element,
                is_member,
                below,
            });
        }
    }

    pub(crate) fn finish(self) -> FieldSet<'t> {
        if !self.is_unsorted {
            return FieldSet { entries: self.entries };
        }
        let mut entries = self.entries;
        entries.sort_by(|a, b| a.element.cmp(&b.element));
        entries.dedup_by(|later, earlier| {
            let same = later.element == earlier.element;
            if same {
                earlier.is_member |= later.is_member;
                earlier.below = std::mem::take(&mut earlier.below).union(std::mem::take(&mut later.below));
            }
            same
        });
        FieldSet { entries }
    }
}

/// A place as messages show it: `.spec.ports[name="a"].port`.
pub fn show(path: &[Element<'_>]) -> String {
    path.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
