//! Standard Base64 (RFC 4648 section 4), as two headers need it: `Authorization` and the originating identity.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text is no Base64: a foreign character, a length that no encoder makes, or padding in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not Base64")]
pub struct Base64Error;

/// Encodes with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for index in 0..4 {
            if index <= chunk.len() {
                let six = (bits >> (18 - 6 * index)) & 63;
                text.push(char::from(ALPHABET[six as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Decodes. Padding may be there or missing: some platforms leave it out.
///
/// # Errors
/// [`Base64Error`] for everything else that no encoder makes.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    let digits = without_padding(text)?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &digit in group {
            bits = bits << 6 | value(digit)?;
        }
        let [_, first, second, third] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => bytes.extend_from_slice(&[first, second, third]),
            3 => bytes.extend_from_slice(&[first, second]),
            2 => bytes.push(first),
            _ => return Err(Base64Error),
        }
    }
    Ok(bytes)
}

/// The digits before the padding; the padding has to complete the last group of four, or to be missing.
fn without_padding(text: &[u8]) -> Result<&[u8], Base64Error> {
    let end = text.iter().position(|&byte| byte == b'=').unwrap_or(text.len());
    let (digits, padding) = text.split_at(end);
    let complete = padding.is_empty() || (padding.len() <= 2 && text.len().is_multiple_of(4));
    if complete && padding.iter().all(|&byte| byte == b'=') {
        Ok(digits)
    } else {
        Err(Base64Error)
    }
}

fn value(digit: u8) -> Result<u32, Base64Error> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return Err(Base64Error),
    };
    Ok(u32::from(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, text) in vectors {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).unwrap(), plain.as_bytes());
            assert_eq!(
                decode(text.trim_end_matches('=').as_bytes()).unwrap(),
                plain.as_bytes(),
                "padding may be missing"
            );
        }
    }

    #[test]
    fn what_no_encoder_makes_is_refused() {
        for text in [
            "Z", "Zm9vY", "Zg=", "Zg===", "=", "====", "Zg==Zg==", "Zm 9v", "Zm9v\n", "Zm_v", "Zm-v", "é",
        ] {
            assert_eq!(decode(text.as_bytes()), Err(Base64Error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_reverses_encoding(bytes: Vec<u8>) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()).unwrap(), bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
