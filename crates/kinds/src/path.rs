//! Paths into an object that cost nothing until they are printed.

use apimachinery::field;

/// A place in an object, as a list of steps up to the root on the stack.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(crate) fn key(&'p self, key: &'p str) -> Self {
        Path::Key(self, key)
    }

    pub(crate) fn index(&'p self, index: usize) -> Self {
        Path::Index(self, index)
    }

    /// As errors print it: `spec.list[1].name`.
    pub(crate) fn render(&self) -> String {
        match self {
            Path::Root => String::new(),
            Path::Key(parent, key) => field::child(&parent.render(), key),
            Path::Index(parent, index) => field::index(&parent.render(), *index),
        }
    }
}
