//! Signed tokens (RFC 7515, RFC 7519) and the keys that they are checked with (RFC 7517, RFC 7518, RFC 8037).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

/// Longer tokens are refused unread, in bytes.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The most keys of a set that are looked at: each may have to be tried.
const MAX_KEYS: usize = 64;

/// The kinds of signatures. Those with a shared secret are not among them: whoever can check one can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256, PKCS #1 v1.5, keys of 2,048 bits and more.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// As `alg` says it.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// As `alg` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// The keys of an issuer.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The point, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct JsonKeys {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct JsonKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The keys of a set that can be used here; the others are left out. `None` when there is none.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let set: JsonKeys = serde_json::from_slice(json).ok()?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::of).take(MAX_KEYS).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Whether one of the keys has made the signature; `None` when no key can have.
    fn verify(&self, token: &Token<'_>) -> Option<bool> {
        let mut candidates = self.0.iter().filter(|key| key.may_sign(token)).peekable();
        candidates.peek()?;
        Some(candidates.any(|key| key.material.verify(token)))
    }
}

impl Key {
    fn of(json: Value) -> Option<Self> {
        let json: JsonKey = serde_json::from_value(json).ok()?;
        if json.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let material = match (json.kty.as_str(), json.crv.as_deref()) {
            ("RSA", _) => Material::Rsa {
                n: bytes(json.n)?,
                e: bytes(json.e)?,
            },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(json.x)?, bytes(json.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                Material::P256([&[4], &*x, &*y].concat())
            }
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(json.x)?),
            _ => return None,
        };
        if json.alg.is_some_and(|name| name != material.algorithm().name()) {
            return None;
        }
        Some(Self { id: json.kid, material })
    }

    /// A token without a key id is tried with all keys of its kind.
    fn may_sign(&self, token: &Token<'_>) -> bool {
        self.material.algorithm() == token.algorithm && (token.key_id.is_none() || token.key_id == self.id)
    }
}

impl Material {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn verify(&self, token: &Token<'_>) -> bool {
        let (signed, of) = (token.signed, &token.signature);
        let verified = match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, of)
            }
            Self::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(signed, of),
            Self::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(signed, of),
        };
        verified.is_ok()
    }
}

/// A token that has been read and not been believed yet.
pub(crate) struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Value,
    signed: &'a [u8],
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is no signed token that can be read")]
    Malformed,
    #[error("its algorithm is not accepted")]
    Algorithm,
    #[error("no known key has its id and kind")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is for another audience")]
    Audience,
    #[error("it does not say until when it is valid, or is no longer")]
    Expired,
    #[error("it is not valid yet")]
    TooEarly,
}

/// What the claims of a token have to say.
pub(crate) struct Expected<'a> {
    pub(crate) algorithms: &'a [Algorithm],
    pub(crate) audiences: &'a [String],
    pub(crate) clock_skew: Duration,
    /// Since 1970.
    pub(crate) now: Duration,
}

impl<'a> Token<'a> {
    /// Takes a token apart; nothing of it is to be believed before [`believed`](Self::believed).
    pub(crate) fn read(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let header = decode(header)?;
        // serde would take an array for the members in their order.
        if !header.trim_ascii_start().starts_with(b"{") {
            return Err(TokenError::Malformed);
        }
        let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        let claims: Value = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed)?;
        // What is critical is something that we do not know (RFC 7515 section 4.1.11).
        if !claims.is_object() || header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        Ok(Self {
            algorithm: Algorithm::of(&header.alg).ok_or(TokenError::Algorithm)?,
            key_id: header.kid,
            claims,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        })
    }

    /// Who says to have made it.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// The claims, if everything is right.
    pub(crate) fn believed(&self, keys: &KeySet, expected: &Expected<'_>) -> Result<&Value, TokenError> {
        if !expected.algorithms.contains(&self.algorithm) {
            return Err(TokenError::Algorithm);
        }
        if !keys.verify(self).ok_or(TokenError::UnknownKey)? {
            return Err(TokenError::Signature);
        }
        let for_us = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| expected.audiences.iter().any(|own| own == text))
        };
        let audience = self.claims.get("aud").is_some_and(|audience| match audience {
            Value::Array(several) => several.iter().any(for_us),
            one => for_us(one),
        });
        if !audience {
            return Err(TokenError::Audience);
        }
        self.check_time(expected)?;
        Ok(&self.claims)
    }

    /// `exp` has to be there; `nbf` need not (RFC 7519 sections 4.1.4 and 4.1.5). Both may have fractions.
    fn check_time(&self, expected: &Expected<'_>) -> Result<(), TokenError> {
        let (now, skew) = (expected.now.as_secs_f64(), expected.clock_skew.as_secs_f64());
        let expires = self.claims.get("exp").and_then(Value::as_f64);
        if expires.is_none_or(|expires| now >= expires + skew) {
            return Err(TokenError::Expired);
        }
        match self.claims.get("nbf").map(Value::as_f64) {
            None => Ok(()),
            Some(Some(first)) if now >= first - skew => Ok(()),
            Some(_) => Err(TokenError::TooEarly),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key() -> Ed25519KeyPair {
        let random = SystemRandom::new();
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap()
    }

    fn set(key: &Ed25519KeyPair, id: &str) -> KeySet {
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x}, {"kty": "oct", "k": "AA"}, 7]});
        KeySet::from_json(set.to_string().as_bytes()).unwrap()
    }

    fn signed(key: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn check(text: &str, keys: &KeySet) -> Result<Value, TokenError> {
        let audiences = ["osb".to_owned()];
        let expected = Expected {
            algorithms: &Algorithm::ALL,
            audiences: &audiences,
            clock_skew: Duration::from_secs(60),
            now: Duration::from_secs(NOW),
        };
        Token::read(text)?.believed(keys, &expected).cloned()
    }

    /// OSB-AUTH-01: what is right is believed; each thing that is wrong by itself is enough to be refused.
    #[test]
    fn claims_are_believed_only_with_signature_audience_and_time() {
        let (own, other) = (key(), key());
        let keys = set(&own, "k");
        let header = json!({"alg": "EdDSA", "kid": "k"});
        let claims = |change: Value| {
            let mut claims = json!({"iss": "i", "aud": ["x", "osb"], "exp": NOW + 10, "nbf": NOW - 10});
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            claims
        };
        for (header, change, wanted) in [
            (header.clone(), json!({}), None),
            (header.clone(), json!({"aud": "osb"}), None),
            (header.clone(), json!({"exp": NOW - 59, "nbf": NOW + 60}), None),
            (header.clone(), json!({"exp": NOW as f64 + 0.5}), None),
            (json!({"alg": "EdDSA"}), json!({}), None),
            (header.clone(), json!({"exp": NOW - 60}), Some(TokenError::Expired)),
            (header.clone(), json!({"exp": null}), Some(TokenError::Expired)),
            (header.clone(), json!({"exp": "never"}), Some(TokenError::Expired)),
            (header.clone(), json!({"nbf": NOW + 61}), Some(TokenError::TooEarly)),
            (header.clone(), json!({"nbf": "soon"}), Some(TokenError::TooEarly)),
            (header.clone(), json!({"aud": "osb2"}), Some(TokenError::Audience)),
            (header.clone(), json!({"aud": []}), Some(TokenError::Audience)),
            (header.clone(), json!({"aud": null}), Some(TokenError::Audience)),
            (
                json!({"alg": "EdDSA", "kid": "l"}),
                json!({}),
                Some(TokenError::UnknownKey),
            ),
            (
                json!({"alg": "RS256", "kid": "k"}),
                json!({}),
                Some(TokenError::UnknownKey),
            ),
            (json!({"alg": "none"}), json!({}), Some(TokenError::Algorithm)),
            (
                json!({"alg": "HS256", "kid": "k"}),
                json!({}),
                Some(TokenError::Algorithm),
            ),
            (
                json!({"alg": "EdDSA", "crit": ["b64"]}),
                json!({}),
                Some(TokenError::Malformed),
            ),
            (json!(["EdDSA", "k", null]), json!({}), Some(TokenError::Malformed)),
        ] {
            let text = signed(&own, &header, &claims(change.clone()));
            assert_eq!(check(&text, &keys).err(), wanted, "{header} {change}");
        }
        let good = signed(&own, &header, &claims(json!({})));
        assert_eq!(
            check(&signed(&other, &header, &claims(json!({}))), &keys),
            Err(TokenError::Signature)
        );
        for position in [good.len() - 10, good.len() / 2, 5] {
            let mut bytes = good.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            assert!(
                check(&String::from_utf8(bytes).unwrap(), &keys).is_err(),
                "at {position}"
            );
        }
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            &good[..good.len() - 1],
            &format!("{good}."),
            &good.replace('.', ".."),
        ] {
            assert!(check(text, &keys).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_that_are_not_for_signatures_or_of_another_kind_are_left_out() {
        let x = URL_SAFE_NO_PAD.encode(key().public_key());
        for (key, used) in [
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x}), true),
            (
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA"}),
                true,
            ),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc"}), false),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "ES256"}), false),
            (json!({"kty": "OKP", "crv": "X25519", "x": x}), false),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": "AA"}), false),
            (json!({"kty": "RSA", "n": "AQAB"}), false),
        ] {
            let set = json!({ "keys": [key] }).to_string();
            assert_eq!(KeySet::from_json(set.as_bytes()).is_some(), used, "{key}");
        }
        for text in ["", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#] {
            assert!(KeySet::from_json(text.as_bytes()).is_none());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_tokens_never_panic(text: String, header: String, claims: String) {
            let keys = set(&key(), "k");
            let _ = check(&text, &keys);
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let _ = check(&format!("{}.{}.AA", part(&header), part(&claims)), &keys);
            let _ = KeySet::from_json(text.as_bytes());
        }
    }
}
