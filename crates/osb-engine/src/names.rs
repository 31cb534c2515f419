//! Names: of our objects, made from the platform's opaque ids, and of things in the author's backend.

use osb_api::id::{BindingId, InstanceId};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

/// The prefix of names that we make; an id that has it is hashed as well, so that nobody can choose our names.
pub const PREFIX: &str = "osb-";

/// The longest DNS label.
const MAX_LABEL: usize = 63;

/// RFC 4648 base 32 in lower case: all of it is allowed in DNS labels and in identifiers of databases.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The name of an instance's object: its id when that is a DNS label, else the prefix and a hash of the id.
pub fn instance(id: &InstanceId) -> String {
    if is_label(id.as_str()) && !id.as_str().starts_with(PREFIX) {
        return id.as_str().to_owned();
    }
    hashed(&[b"instance", id.as_str().as_bytes()])
}

/// The name of a binding's object: the prefix and a hash of both ids.
pub fn binding(instance: &InstanceId, id: &BindingId) -> String {
    hashed(&[b"binding", instance.as_str().as_bytes(), id.as_str().as_bytes()])
}

/// A new incarnation: 128 random bits.
///
/// # Errors
/// When the system gives no randomness.
pub fn incarnation() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(base32(&bytes))
}

/// A name in the author's backend.
pub(crate) fn backend(prefix: &str, incarnation: &str) -> String {
    format!("{prefix}_{incarnation}")
}

/// The incarnation in a name that [`backend`] has made.
pub(crate) fn incarnation_of(name: &str) -> Option<&str> {
    const LENGTH: usize = 26;
    let (_, incarnation) = name.rsplit_once('_')?;
    let ours = incarnation.len() == LENGTH && incarnation.bytes().all(|byte| ALPHABET.contains(&byte));
    ours.then_some(incarnation)
}

/// Which of `count` shards an instance and its bindings belong to.
pub(crate) fn shard(instance_name: &str, count: usize) -> usize {
    let digest = ring::digest::digest(&SHA256, instance_name.as_bytes());
    let bytes = digest.as_ref();
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) % count
}

fn hashed(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    format!("{PREFIX}{}", base32(context.finish().as_ref()))
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() <= MAX_LABEL
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|b| plain(b) || *b == b'-')
}

pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits) as usize & 31]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits)) as usize & 31]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InstanceId {
        InstanceId::new(text).expect("a valid id")
    }

    #[test]
    fn base32_is_that_of_rfc_4648_without_padding() {
        for (bytes, text) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn an_id_that_is_a_label_is_the_name() {
        assert_eq!(
            instance(&id("6a1c1d0e-0000-4000-8000-000000000001")),
            "6a1c1d0e-0000-4000-8000-000000000001"
        );
    }

    /// OSB-URL-01
    #[test]
    fn every_other_id_is_hashed_to_a_label() {
        let long = "x".repeat(1000);
        for text in [
            "A", "a/b", "a:b", "-a", "a.b", "osb-a", "ä", " ", "a\0b", "../..", &long,
        ] {
            let name = instance(&id(text));
            assert_eq!(name.len(), 56, "{text:?}");
            assert!(name.starts_with(PREFIX) && is_label(&name), "{text:?}");
        }
    }

    #[test]
    fn names_of_bindings_depend_on_both_ids() {
        let name = |i: &str, b: &str| binding(&id(i), &BindingId::new(b).expect("a valid id"));
        assert_ne!(name("ab", "c"), name("a", "bc"));
        assert_ne!(name("a", "b"), name("b", "a"));
        assert_eq!(name("a", "b"), name("a", "b"));
    }
}
