//! Ranges of keys, and their hashes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::{Bound, Range};

use bytes::Bytes;

/// Whether a key lies in a range whose empty end means unbounded.
pub(crate) fn contains(keys: &Range<Bytes>, key: &[u8]) -> bool {
    key >= &keys.start[..] && (keys.end.is_empty() || key < &keys.end[..])
}

/// Whether no key can lie in the range.
pub(crate) fn is_empty(keys: &Range<Bytes>) -> bool {
    !keys.end.is_empty() && keys.start >= keys.end
}

/// The range as bounds of a map.
pub(crate) fn bounds(keys: &Range<Bytes>) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let end = if keys.end.is_empty() {
        Bound::Unbounded
    } else {
        Bound::Excluded(&keys.end[..])
    };
    (Bound::Included(&keys.start[..]), end)
}

/// A prefix that all keys of the range share; the longest one when the range is that of a prefix.
pub(crate) fn common_prefix(keys: &Range<Bytes>) -> Bytes {
    if keys.end.is_empty() {
        return Bytes::new();
    }
    let shared = keys.start.iter().zip(&keys.end).take_while(|(a, b)| a == b).count();
    let successor = keys.end.len() == shared + 1
        && keys
            .start
            .get(shared)
            .is_some_and(|byte| byte.checked_add(1) == Some(keys.end[shared]));
    keys.start.slice(..if successor { shared + 1 } else { shared })
}

/// Hashes keys, which are long and may be chosen by clients: fast, and from a secret start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHasher(u64);

impl Default for KeyHasher {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = KeyState;

    fn build_hasher(&self) -> KeyState {
        KeyState(self.0)
    }
}

/// A hash on its way.
#[derive(Debug)]
pub(crate) struct KeyState(u64);

impl Hasher for KeyState {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    /// The length of what follows.
    fn write_usize(&mut self, length: usize) {
        self.0 = self.0.wrapping_add(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix;

    #[test]
    fn an_empty_end_is_unbounded() {
        let all = prefix(b"");
        assert!(contains(&all, b"\xff\xff") && contains(&all, b"") && !is_empty(&all));
        let tail = prefix(b"\xff");
        assert!(contains(&tail, b"\xff\xff") && !contains(&tail, b"\xfe"));
    }

    #[test]
    fn the_common_prefix_is_the_prefix_of_a_prefix_range() {
        assert_eq!(&common_prefix(&prefix(b"pets/"))[..], b"pets/");
        assert_eq!(&common_prefix(&prefix(b""))[..], b"");
        assert_eq!(&common_prefix(&(Bytes::from("abc")..Bytes::from("abx")))[..], b"ab");
        assert_eq!(&common_prefix(&(Bytes::from("ab")..Bytes::from("abx")))[..], b"ab");
    }

    #[test]
    fn every_key_of_a_range_starts_with_its_common_prefix() {
        let ends: Vec<Bytes> = ["", "a", "a\u{1}", "ab", "abc", "b", "ba", "c"]
            .map(Bytes::from)
            .to_vec();
        for start in &ends {
            for end in &ends {
                let range = start.clone()..end.clone();
                let shared = common_prefix(&range);
                for key in ends.iter().filter(|key| contains(&range, key)) {
                    assert!(key.starts_with(&shared), "{range:?} {key:?} {shared:?}");
                }
            }
        }
    }
}
