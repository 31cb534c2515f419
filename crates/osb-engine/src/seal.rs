//! Sealed fields: what must not be readable in an API answer, a log, a data file or a backup is stored encrypted.
//!
//! A sealed value is base64 of `1 | key id (8) | salt (16) | ciphertext and tag`. Each value has a key of its own,
//! derived by HKDF-SHA256 from the master key and the random salt, so the AES-256-GCM nonce can be zero and no limit
//! on the number of values applies. The associated data names the object, its incarnation and the field: a value that
//! is moved elsewhere does not open.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::canonical::Canonical;

const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + SALT_BYTES;

/// The length of a master key in bytes.
pub const KEY_BYTES: usize = 32;

/// All sealed fields of an object together hold at most this many bytes, before base64.
pub(crate) const MAX_SEALED_BYTES: usize = 512 * 1024;

/// Where a sealed value stands: it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) object: &'a str,
    pub(crate) incarnation: &'a str,
    pub(crate) field: &'a str,
}

impl Place<'_> {
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.object.len() + self.incarnation.len() + self.field.len() + 2);
        for (i, part) in [self.object, self.incarnation, self.field].into_iter().enumerate() {
            if i > 0 {
                data.push(0);
            }
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Stands in a digest before the part that an update changes; base64 has no such character.
const CHANGING: char = '.';

/// Why a sealed value cannot be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The value was sealed with a key that this broker does not have.
    #[error("sealed with the key {0}, which is not among the configured keys")]
    UnknownKey(String),
    /// The value was changed, or belongs to another place.
    #[error("the sealed value is damaged or does not belong here")]
    Damaged,
    /// The system gives no randomness.
    #[error("no randomness available")]
    NoRandomness,
}

/// The master keys: the first seals, all open.
pub struct Keys {
    keys: Vec<MasterKey>,
    random: SystemRandom,
}

struct MasterKey {
    id: [u8; KEY_ID_BYTES],
    /// HKDF takes the master key as salt of its extraction; the value's salt goes into the expansion.
    bytes: [u8; KEY_BYTES],
    digest: hmac::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| hex(&key.id)))
            .finish()
    }
}

impl Keys {
    /// The first key seals; all of them open what they sealed.
    pub fn new(first: [u8; KEY_BYTES], older: impl IntoIterator<Item = [u8; KEY_BYTES]>) -> Self {
        let keys = std::iter::once(first).chain(older).map(MasterKey::new).collect();
        Self {
            keys,
            random: SystemRandom::new(),
        }
    }

    /// A new random key.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn generate() -> Result<[u8; KEY_BYTES], SealError> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| SealError::NoRandomness)?;
        Ok(bytes)
    }

    /// The public ids of the keys, in their order: each sealed value names its own.
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| hex(&key.id)).collect()
    }

    pub(crate) fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<String, SealError> {
        let key = self.first();
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + AES_256_GCM.tag_len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&salt);
        let mut body = plain.to_vec();
        key.value_key(&salt)?
            .seal_in_place_append_tag(zero_nonce(), Aad::from(place.associated_data()), &mut body)
            .map_err(|_| SealError::Damaged)?;
        sealed.extend_from_slice(&body);
        Ok(base64::encode(&sealed))
    }

    pub(crate) fn open(&self, place: Place<'_>, sealed: &str) -> Result<Vec<u8>, SealError> {
        let mut sealed = base64::decode(sealed).ok_or(SealError::Damaged)?;
        if sealed.len() < HEADER_BYTES || sealed[0] != FORMAT {
            return Err(SealError::Damaged);
        }
        let mut body = sealed.split_off(HEADER_BYTES);
        let (id, salt) = sealed[1..].split_at(KEY_ID_BYTES);
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| SealError::UnknownKey(hex(id)))?;
        let plain = key
            .value_key(salt)?
            .open_in_place(zero_nonce(), Aad::from(place.associated_data()), &mut body)
            .map_err(|_| SealError::Damaged)?
            .len();
        body.truncate(plain);
        Ok(body)
    }

    /// Seals a field of an object that is to be stored; the names are those of [`Self::open_field`].
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn seal_field(&self, object: &str, incarnation: &str, field: &str, plain: &[u8]) -> Result<String, SealError> {
        let place = Place {
            object,
            incarnation,
            field,
        };
        self.seal(place, plain)
    }

    /// Opens a sealed field of a stored object, for looking at what is stored without a broker: `object` and `incarnation`
    /// are those of the object, `field` is where it stands (`parameters`, `request`, `data`, `outputs`, or a step's key
    /// with `step/` before it).
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_field(&self, object: &str, incarnation: &str, field: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let place = Place {
            object,
            incarnation,
            field,
        };
        self.open(place, sealed)
    }

    /// The keyed digest by which a repeated request is recognised; it names its key.
    pub(crate) fn digest(&self, canonical: &Canonical) -> String {
        self.first().digest_of(canonical)
    }

    /// Whether a stored digest is that of this request, also when another key is first now.
    pub(crate) fn same_digest(&self, stored: &str, canonical: &Canonical) -> bool {
        self.key_of_digest(stored)
            .is_some_and(|key| key.digest_of(canonical) == stored)
    }

    /// The digest with another changing part; `None` when its key is unknown, or it has no such part.
    pub(crate) fn redigest(&self, stored: &str, changing: &[u8]) -> Option<String> {
        let (fixed, _) = stored.split_once(CHANGING)?;
        let part = self.key_of_digest(stored)?.digest_part(changing);
        Some(format!("{fixed}{CHANGING}{part}"))
    }

    fn key_of_digest(&self, stored: &str) -> Option<&MasterKey> {
        let (id, _) = stored.split_once(':')?;
        self.keys.iter().find(|key| hex(&key.id) == id)
    }

    fn first(&self) -> &MasterKey {
        self.keys.first().expect("there is always a first key")
    }
}

/// The public id of the key that a value was sealed with; `None` when it is no sealed value.
pub fn sealed_with(sealed: &str) -> Option<String> {
    // Four digits of base 64 are three bytes.
    let digits = HEADER_BYTES.div_ceil(3) * 4;
    let header = base64::decode(sealed.get(..digits)?)?;
    (header.first() == Some(&FORMAT)).then(|| hex(&header[1..=KEY_ID_BYTES]))
}

impl MasterKey {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&hmac::sign(&root, b"osb key id").as_ref()[..KEY_ID_BYTES]);
        let digest = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, b"osb request digest").as_ref());
        Self { id, bytes, digest }
    }

    fn value_key(&self, salt: &[u8]) -> Result<LessSafeKey, SealError> {
        let pseudo_random = Salt::new(HKDF_SHA256, salt).extract(&self.bytes);
        let info = [b"osb sealed field".as_slice()];
        let output = pseudo_random
            .expand(&info, &AES_256_GCM)
            .map_err(|_| SealError::Damaged)?;
        Ok(LessSafeKey::new(UnboundKey::from(output)))
    }

    fn digest_of(&self, canonical: &Canonical) -> String {
        let mut text = format!("{}:{}", hex(&self.id), self.digest_part(&canonical.fixed));
        if let Some(changing) = &canonical.changing {
            text.push(CHANGING);
            text.push_str(&self.digest_part(changing));
        }
        text
    }

    fn digest_part(&self, part: &[u8]) -> String {
        base64::encode(hmac::sign(&self.digest, part).as_ref())
    }
}

/// Each value has a key of its own.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

mod base64 {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;

    pub(super) fn encode(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'static> = Place {
        object: "a",
        incarnation: "i",
        field: "parameters",
    };

    #[test]
    fn a_value_opens_where_it_was_sealed_and_nowhere_else() {
        let keys = Keys::new([1; 32], []);
        let sealed = keys.seal(HERE, b"hunter2").expect("sealed");
        assert_eq!(keys.open(HERE, &sealed).expect("opened"), b"hunter2");
        for elsewhere in [
            Place { object: "b", ..HERE },
            Place {
                incarnation: "j",
                ..HERE
            },
            Place { field: "data", ..HERE },
        ] {
            assert_eq!(keys.open(elsewhere, &sealed), Err(SealError::Damaged));
        }
    }

    #[test]
    fn a_sealed_value_names_its_key() {
        let keys = Keys::new([1; 32], []);
        let sealed = keys.seal(HERE, b"").expect("sealed");
        assert_eq!(sealed_with(&sealed), keys.ids().pop());
        for wrong in [
            "",
            "AQ==",
            "not base 64 at all, and long enough to be one",
            &"é".repeat(40),
            &"A".repeat(80),
        ] {
            assert_eq!(sealed_with(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_same_value_is_never_sealed_to_the_same_text() {
        let keys = Keys::new([1; 32], []);
        assert_ne!(
            keys.seal(HERE, b"x").expect("sealed"),
            keys.seal(HERE, b"x").expect("sealed")
        );
    }

    #[test]
    fn after_a_rotation_the_old_key_still_opens_and_recognises() {
        let old = Keys::new([1; 32], []);
        let request = |text: &str| Canonical {
            fixed: text.as_bytes().to_vec(),
            changing: Some(b"plan".to_vec()),
        };
        let (sealed, digest) = (old.seal(HERE, b"x").expect("sealed"), old.digest(&request("request")));
        let both = Keys::new([2; 32], [[1; 32]]);
        assert_eq!(both.open(HERE, &sealed).expect("opened"), b"x");
        assert!(both.same_digest(&digest, &request("request")));
        assert!(!both.same_digest(&digest, &request("other")));
        let changed = both.redigest(&digest, b"another plan").expect("its key is known");
        let other_plan = Canonical {
            changing: Some(b"another plan".to_vec()),
            ..request("request")
        };
        assert!(both.same_digest(&changed, &other_plan) && !both.same_digest(&changed, &request("request")));
        let new = Keys::new([2; 32], []);
        assert!(matches!(new.open(HERE, &sealed), Err(SealError::UnknownKey(_))));
    }

    #[test]
    fn a_changed_value_does_not_open_and_nothing_panics() {
        let keys = Keys::new([1; 32], []);
        let sealed = keys.seal(HERE, b"hunter2").expect("sealed");
        for i in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("still text");
            assert!(keys.open(HERE, &changed).is_err(), "byte {i}");
            assert!(keys.open(HERE, &sealed[..i]).is_err(), "cut at {i}");
        }
    }
}
