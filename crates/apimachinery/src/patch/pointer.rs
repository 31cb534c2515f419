//! JSON pointers (RFC 6901).

use crate::json::Value;

/// A path to one place of a document; the empty one is the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    tokens: Vec<String>,
}

impl Pointer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { tokens: Vec::new() });
        }
        let tokens: Option<Vec<String>> = text.strip_prefix('/')?.split('/').map(unescape).collect();
        Some(Self { tokens: tokens? })
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether `other` lies inside of it.
    pub(super) fn is_above(&self, other: &Self) -> bool {
        other.tokens.len() > self.tokens.len() && other.tokens.starts_with(&self.tokens)
    }

    /// The place around it, and its own last token.
    pub(super) fn split(&self) -> Option<(Place<'_>, &str)> {
        let (last, parent) = self.tokens.split_last()?;
        Some((Place(parent), last))
    }

    pub(super) fn find<'v, 't>(&self, document: &'v Value<'t>) -> Option<&'v Value<'t>> {
        Place(&self.tokens).find(document)
    }

    pub(super) fn find_mut<'v, 't>(&self, document: &'v mut Value<'t>) -> Option<&'v mut Value<'t>> {
        Place(&self.tokens).find_mut(document)
    }
}

pub(super) struct Place<'p>(&'p [String]);

impl Place<'_> {
    pub(super) fn find<'v, 't>(&self, document: &'v Value<'t>) -> Option<&'v Value<'t>> {
        self.0.iter().try_fold(document, |value, token| match value {
            Value::Object(map) => map.get(token),
            Value::Array(items) => items.get(index(token)?),
            _ => None,
        })
    }

    pub(super) fn find_mut<'v, 't>(&self, document: &'v mut Value<'t>) -> Option<&'v mut Value<'t>> {
        self.0.iter().try_fold(document, |value, token| match value {
            Value::Object(map) => map.get_mut(token),
            Value::Array(items) => items.get_mut(index(token)?),
            _ => None,
        })
    }
}

/// A position in a list: digits without leading zeros.
pub(super) fn index(token: &str) -> Option<usize> {
    let leading_zero = token.len() > 1 && token.starts_with('0');
    if leading_zero || !token.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    token.parse().ok()
}

/// `~1` is a slash, `~0` a tilde, and no other escape exists.
fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}
