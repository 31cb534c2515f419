//! Whether an object is of its type.

use std::collections::BTreeSet;

use super::{Type, item_element};
use crate::fields::{Element, show};
use crate::json::{Map, Value};
use crate::schema::{ListOf, ListType, MapOf, ScalarType};

/// Most errors that are collected.
const MAX_ERRORS: usize = 20;

/// What to do about items of a set, or with equal keys, that stand in a list more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Nothing: what is stored may have them.
    Allowed,
    /// They are errors.
    Refused,
}

/// A place at which an object is not of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct TypeError {
    /// For example `.spec.ports[name="a"].port`.
    pub path: String,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Looks whether an object is of a type. Null fits everywhere.
///
/// # Errors
///
/// The places where it does not, some of them where there are many.
pub fn check(object_type: Type<'_>, object: &Value<'_>, duplicates: Duplicates) -> Result<(), Vec<TypeError>> {
    let mut checker = Checker {
        duplicates,
        path: Vec::new(),
        errors: Vec::new(),
    };
    checker.value(object_type, object);
    if checker.errors.is_empty() {
        Ok(())
    } else {
        Err(checker.errors)
    }
}

struct Checker<'t> {
    duplicates: Duplicates,
    path: Vec<Element<'t>>,
    errors: Vec<TypeError>,
}

impl<'t> Checker<'t> {
    fn error(&mut self, problem: &'static str) {
        if self.errors.len() < MAX_ERRORS {
            let path = show(&self.path);
            self.errors.push(TypeError { path, problem });
        }
    }

    fn at(&mut self, element: Element<'t>, check: impl FnOnce(&mut Self)) {
        self.path.push(element);
        check(self);
        self.path.pop();
    }

    fn value(&mut self, value_type: Type<'_>, value: &Value<'t>) {
        use crate::schema::Shape;
        if value.is_null() {
            return;
        }
        match (value_type.shape_of(Some(value)), value) {
            (Shape::Map(map), Value::Object(members)) => self.members(&map, members),
            (Shape::List(list), Value::Array(items)) => self.items(&list, items),
            (Shape::Scalar(scalar), value) => self.scalar(scalar, value),
            (Shape::Map(_), _) => self.error("expected map"),
            (Shape::List(_), _) => self.error("expected list"),
        }
    }

    fn scalar(&mut self, scalar: ScalarType, value: &Value<'_>) {
        let problem = match (scalar, value) {
            (ScalarType::Number | ScalarType::Any, Value::Number(_))
            | (ScalarType::Text | ScalarType::Any, Value::String(_))
            | (ScalarType::Boolean | ScalarType::Any, Value::Bool(_)) => return,
            (ScalarType::Number, _) => "expected numeric (int or float)",
            (ScalarType::Text, _) => "expected string",
            (ScalarType::Boolean, _) => "expected boolean",
            (ScalarType::Any, _) => "expected any scalar",
        };
        self.error(problem);
    }

    fn members(&mut self, map: &MapOf<'_>, members: &Map<'t>) {
        for (name, value) in members.cows() {
            match map.member(name) {
                Some(member) => self.at(Element::Field(name.clone()), |this| this.value(member, value)),
                None => self.at(Element::Field(name.clone()), |this| {
                    this.error("field not declared in schema");
                }),
            }
        }
    }

    fn items(&mut self, list: &ListOf<'_>, items: &[Value<'t>]) {
        if *list.items_are == ListType::Atomic {
            for (position, item) in items.iter().enumerate() {
                let position = i64::try_from(position).unwrap_or(i64::MAX);
                self.at(Element::Index(position), |this| this.value(list.item, item));
            }
            return;
        }
        let mut seen = BTreeSet::new();
        for item in items {
            let Some(element) = item_element(list, item) else {
                self.error(match list.items_are {
                    ListType::Map(_) => "an item of a list with keys is no object, or gives none of its keys",
                    _ => "an item of a set is no single value",
                });
                return;
            };
            if self.duplicates == Duplicates::Refused && !seen.insert(element.clone()) {
                self.at(element.clone(), |this| this.error("duplicate entries for key"));
            }
            self.at(element, |this| this.value(list.item, item));
        }
    }
}
