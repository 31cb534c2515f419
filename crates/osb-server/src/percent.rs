//! Percent-decoding: once, after a path or query has been split (OSB-URL-03).

use std::borrow::Cow;

/// What `+` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    /// Itself, in paths.
    Plus,
    /// A space, in queries: platforms encode them as forms.
    Space,
}

/// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not valid percent-encoded UTF-8")]
pub(crate) struct PercentError;

/// Decodes one segment or value; borrows when there is nothing to decode.
pub(crate) fn decode(text: &str, plus: Plus) -> Result<Cow<'_, str>, PercentError> {
    let special = |byte: u8| byte == b'%' || (byte == b'+' && plus == Plus::Space);
    if !text.bytes().any(special) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            b'+' if plus == Plus::Space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| PercentError)
}

fn digit(byte: Option<u8>) -> Result<u8, PercentError> {
    let digit = byte
        .and_then(|byte| char::from(byte).to_digit(16))
        .ok_or(PercentError)?;
    u8::try_from(digit).map_err(|_| PercentError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// OSB-URL-03.
    #[test]
    fn everything_is_decoded_once() {
        for (text, decoded) in [
            ("a", "a"),
            ("%2D", "-"),
            ("%2d", "-"),
            ("a%2Fb", "a/b"),
            ("%252F", "%2F"),
            ("%2B", "+"),
            ("+", "+"),
            ("%C3%A9", "é"),
            ("é", "é"),
            ("%00", "\0"),
        ] {
            assert_eq!(decode(text, Plus::Plus).unwrap(), decoded);
        }
        assert_eq!(decode("a+b%2B", Plus::Space).unwrap(), "a b+");
    }

    /// OSB-URL-04.
    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%2", "%zz", "%+1", "a%", "%FF", "%C3", "%C0%AF", "%é"] {
            assert_eq!(decode(text, Plus::Plus), Err(PercentError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text: String) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&encoded, Plus::Space).unwrap(), text);
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = decode(&text, Plus::Space);
        }
    }
}
