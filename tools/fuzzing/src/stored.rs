//! What the engine has stored: objects and sealed values.

use osb_engine::resource::{ShardTable, Stored, Tombstone};
use osb_engine::{Keys, fuzzing};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bytes_of;

/// An object that is read comes back as it was after it was written; a sealed value opens where it was sealed and nowhere
/// else, and not when a bit of it has changed. Parts of the input: JSON, a sealed value.
pub(crate) fn stored(data: &[u8]) {
    let parts = bytes_of::parts(data, 2);
    comes_back::<Stored>(parts[0]);
    comes_back::<Tombstone>(parts[0]);
    comes_back::<ShardTable>(parts[0]);
    if let Ok(stored) = serde_json::from_slice::<Stored>(parts[0]) {
        let _ = (
            stored.which(),
            stored.running().is_some(),
            stored.is_complete(),
            stored.instance_name(),
        );
    }
    sealed(data, parts.get(1).copied().unwrap_or_default());
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq>(json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(json) else {
        return;
    };
    let text = serde_json::to_vec(&value).expect("a stored object can be written");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert!(value == again, "a stored object does not come back");
}

fn sealed(plain: &[u8], given: &[u8]) {
    let keys = Keys::new([1; 32], [[2; 32]]);
    if let Ok(text) = std::str::from_utf8(given) {
        assert!(
            fuzzing::open(&keys, text).is_err(),
            "a value opens that was never sealed"
        );
        let _ = fuzzing::redigest(&keys, text, plain);
    }
    let sealed = fuzzing::seal(&keys, plain).expect("the system has randomness");
    assert_eq!(
        fuzzing::open(&keys, &sealed).as_deref(),
        Ok(plain),
        "a sealed value does not open"
    );
    assert!(
        fuzzing::open_elsewhere(&keys, &sealed).is_err(),
        "a sealed value opens elsewhere"
    );
    // The input says which character is changed, and into which one.
    let (Some(at), Some(to)) = (plain.first(), plain.last()) else {
        return;
    };
    let mut changed = sealed.clone().into_bytes();
    let at = usize::from(*at) * changed.len() / 256;
    let to = b"ABCDEFGHIJKLMNOPabcdefghijklmnop0123456789+/="[usize::from(*to) % 45];
    if changed[at] != to {
        changed[at] = to;
        let changed = String::from_utf8(changed).expect("Base64 is ASCII");
        assert!(fuzzing::open(&keys, &changed).is_err(), "a changed value opens");
    }
}
