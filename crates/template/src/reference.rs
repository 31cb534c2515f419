//! References in texts: the grammar, once.
//!
//! | written | becomes |
//! |---|---|
//! | `${NAME}` | the value, as text, anywhere in a text or key, as often as one likes |
//! | `${{NAME}}` as the whole text | the value, read as JSON; what is no JSON stays a text |
//! | `${NAME\|base64}` | what the function makes of the value; several one after the other: `${NAME\|trim\|base64}` |
//! | `${NAME\|literal}` | the escape: `${NAME}` itself, whether there is such a parameter or not |
//! | anything else | stays as it is: `${1}` or `${altTag}` without a parameter of that name, `${ X }`, `${env.X}`, `a${{X}}` |
//!
//! `NAME` is one or more of `[A-Za-z0-9_]`. A text is gone through once, from left to right; what is inserted is never looked at
//! again, so with A=`${B}` the text `${A}-${B}` becomes `${B}-` and the value of B.
//!
//! Functions and the escape are extensions. They change no existing template: a name that is followed by `|` and the name of a
//! function is no reference for other processors, and neither shells, Groovy nor Prometheus have a use for it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json;

/// A function of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Standard base64 of the bytes.
    Base64,
    /// The text behind standard base64. Fails when it is none, or no UTF-8 comes out.
    Base64Decode,
    /// The text as JSON, in its quotes.
    Json,
    /// The text as it stands between the quotes of JSON, for JSON that a template has in a text.
    JsonInner,
    /// Small letters.
    Lower,
    /// Capital letters.
    Upper,
    /// Without spaces and line breaks at both ends.
    Trim,
    /// Everything but letters, digits and `-._~` as `%XX`, so that it can be a part of a URL.
    Url,
}

impl Function {
    /// All of them, with their names.
    pub const ALL: &[(&str, Function)] = &[
        ("base64", Function::Base64),
        ("base64decode", Function::Base64Decode),
        ("json", Function::Json),
        ("jsoninner", Function::JsonInner),
        ("lower", Function::Lower),
        ("upper", Function::Upper),
        ("trim", Function::Trim),
        ("url", Function::Url),
    ];

    /// The function of a name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, function)| *function)
    }

    fn apply(self, text: &str) -> Result<String, FunctionFailed> {
        Ok(match self {
            Function::Base64 => STANDARD.encode(text),
            Function::Base64Decode => {
                let bytes = STANDARD
                    .decode(text.trim())
                    .map_err(|_| FunctionFailed("is no base64"))?;
                String::from_utf8(bytes).map_err(|_| FunctionFailed("is base64 of bytes that are no UTF-8"))?
            }
            Function::Json | Function::JsonInner => {
                let mut out = String::new();
                if self == Function::Json {
                    json::write::text(text, &mut out);
                } else {
                    json::write::inner(text, &mut out);
                }
                out
            }
            Function::Lower => text.to_lowercase(),
            Function::Upper => text.to_uppercase(),
            Function::Trim => text.trim().to_owned(),
            Function::Url => url(text),
        })
    }
}

fn url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A value of which a function cannot be computed. Does not say the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its value {0}")]
pub struct FunctionFailed(&'static str);

/// The name of the escape, which stands where a function would.
const LITERAL: &str = "literal";

/// A reference to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'t> {
    /// The parameter's name.
    pub name: &'t str,
    /// Names of functions, with `|` between them.
    functions: &'t str,
}

impl<'t> Reference<'t> {
    /// Applies the functions, the left one first.
    ///
    /// # Errors
    ///
    /// When one of them cannot be computed of the value.
    pub fn apply<'v>(&self, value: &'v str) -> Result<Cow<'v, str>, FunctionFailed> {
        let mut value = Cow::Borrowed(value);
        if self.functions.is_empty() {
            return Ok(value);
        }
        for function in self.functions.split('|').filter_map(Function::named) {
            value = Cow::Owned(function.apply(&value)?);
        }
        Ok(value)
    }

    /// Whether it has functions.
    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }
}

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Stays as it is.
    Text(&'t str),
    /// Is replaced, if there is such a parameter; else it stays as it is written, which is the second part.
    Reference(Reference<'t>, &'t str),
    /// A reference that is written as [escape](self): the two parts follow each other.
    Escaped(&'t str, &'t str),
}

/// Cuts a text into its pieces.
///
/// ```
/// use template::reference::{Piece, pieces};
///
/// let names = |text| pieces(text).filter_map(|piece| match piece {
///     Piece::Reference(reference, _) => Some(reference.name),
///     _ => None,
/// }).collect::<Vec<_>>();
/// assert_eq!(names("${A}-${${B}} ${c.d} ${A|upper} ${A|literal}"), ["A", "B", "A"]);
/// ```
pub fn pieces(text: &str) -> Pieces<'_> {
    Pieces { rest: text }
}

/// The pieces of a text.
#[derive(Clone, Debug)]
pub struct Pieces<'t> {
    rest: &'t str,
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        if self.rest.is_empty() {
            return None;
        }
        let (text, found) = plain(self.rest);
        if !text.is_empty() {
            self.rest = &self.rest[text.len()..];
            return Some(Piece::Text(text));
        }
        let (piece, length) = found?;
        self.rest = &self.rest[length..];
        Some(piece)
    }
}

/// The text up to the first reference, and that reference with its length.
fn plain(text: &str) -> (&str, Option<(Piece<'_>, usize)>) {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'$', &text.as_bytes()[from..]) {
        let at = from + at;
        if let Some(found) = reference(&text[at..]) {
            return (&text[..at], Some(found));
        }
        from = at + 1;
    }
    (text, None)
}

/// The reference at the start of a text, and its length.
fn reference(text: &str) -> Option<(Piece<'_>, usize)> {
    let (body, end) = body(text.strip_prefix("${")?)?;
    if !text[2 + end..].starts_with('}') {
        return None;
    }
    let length = 2 + end + 1;
    let whole = &text[..length];
    Some(match body {
        Body::Reference(reference) => (Piece::Reference(reference, whole), length),
        Body::Escaped(kept) => (Piece::Escaped(&text[..2 + kept], "}"), length),
    })
}

enum Body<'t> {
    Reference(Reference<'t>),
    /// So many bytes of it stay.
    Escaped(usize),
}

/// Name and functions at the start of a text, and how long they are.
fn body(text: &str) -> Option<(Body<'_>, usize)> {
    let length = |text: &str| text.bytes().take_while(|byte| is_name_byte(*byte)).count();
    let name = &text[..length(text)];
    if name.is_empty() {
        return None;
    }
    let start = name.len();
    let mut end = start;
    while text[end..].starts_with('|') {
        let word = &text[end + 1..];
        let word = &word[..length(word)];
        let next = end + 1 + word.len();
        if word == LITERAL && !text[next..].starts_with('|') {
            return Some((Body::Escaped(end), next));
        }
        // `literal` before others is the text that a further escape protects.
        if word != LITERAL {
            Function::named(word)?;
        }
        end = next;
    }
    let functions = text[start..end].strip_prefix('|').unwrap_or_default();
    let is_text = functions.split('|').any(|word| word == LITERAL);
    (!is_text).then_some((Body::Reference(Reference { name, functions }), end))
}

/// Whether a byte may stand in the name of a parameter.
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A text that is nothing but `${{NAME}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed<'t> {
    /// Is replaced by a JSON value.
    Reference(Reference<'t>),
    /// Is written as escape: what is in front of the end, and the end.
    Escaped(&'t str, &'t str),
}

/// The reference that a whole text is.
///
/// ```
/// use template::reference::typed;
///
/// assert!(typed("${{REPLICAS}}").is_some());
/// assert!(typed("a${{REPLICAS}}").is_none() && typed("${REPLICAS}").is_none());
/// ```
pub fn typed(text: &str) -> Option<Typed<'_>> {
    let inner = text.strip_prefix("${{")?;
    let (body, end) = body(inner)?;
    if &inner[end..] != "}}" {
        return None;
    }
    Some(match body {
        Body::Reference(reference) => Typed::Reference(reference),
        Body::Escaped(kept) => Typed::Escaped(&text[..3 + kept], "}}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text becomes with A=`${B}` and B=`x`.
    fn filled(text: &str) -> String {
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Escaped(head, tail) => out.extend([head, tail]),
                Piece::Reference(reference, whole) => match reference.name {
                    "A" => out.push_str(&reference.apply("${B}").unwrap()),
                    "B" => out.push_str(&reference.apply("x").unwrap()),
                    _ => out.push_str(whole),
                },
            }
        }
        out
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        for (text, expected) in [
            ("${B}", "x"),
            ("a${B}b${B}", "axbx"),
            ("$${B}", "$x"),
            ("\\${B}", "\\x"),
            ("${B}}", "x}"),
            ("${${B}}", "${x}"),
            ("${{${B}}}", "${{x}}"),
            ("${X${B}", "${Xx"),
            ("é${B}é", "éxé"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_stays() {
        for text in [
            "",
            "$",
            "${",
            "${}",
            "${B",
            "$B",
            "${ B }",
            "${B-C}",
            "${env.B}",
            "${é}",
            "${1}",
            "${altTag}",
            "a${{B}}",
            "${{B}} ",
            "${{A}}${{B}}",
            "${B|}",
            "${B|unknown}",
            "${B|base64|}",
            "${B |base64}",
            "${B||base64}",
            "${|base64}",
            "${B|Base64}",
            "${B|literal|base64}",
        ] {
            assert_eq!(filled(text), text);
        }
    }

    #[test]
    fn what_was_inserted_is_not_looked_at_again() {
        assert_eq!(filled("${A}-${B}"), "${B}-x");
    }

    #[test]
    fn every_text_can_be_written_with_the_escape() {
        for (text, expected) in [
            ("${B|literal}", "${B}"),
            ("${nobody|literal}", "${nobody}"),
            ("${B|base64|literal}", "${B|base64}"),
            ("${B|literal|literal}", "${B|literal}"),
            ("${B|literal|base64|literal}", "${B|literal|base64}"),
            ("${${B|literal}}", "${${B}}"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
        assert_eq!(typed("${{B|literal}}"), Some(Typed::Escaped("${{B", "}}")));
    }

    #[test]
    fn functions_are_computed_from_left_to_right() {
        let apply = |functions, value| Reference { name: "X", functions }.apply(value).map(Cow::into_owned);
        for (functions, value, expected) in [
            ("base64", "user:pass", "dXNlcjpwYXNz"),
            ("base64decode", "dXNlcjpwYXNz\n", "user:pass"),
            ("json", "a\"b\n", "\"a\\\"b\\n\""),
            ("jsoninner", "a\"b\n", "a\\\"b\\n"),
            ("upper|lower", "aÉ", "aé"),
            ("trim|base64", " a\n", "YQ=="),
            ("url", "a/b c~é", "a%2Fb%20c~%C3%A9"),
        ] {
            assert_eq!(apply(functions, value).as_deref(), Ok(expected), "{functions}");
        }
        let error = apply("base64decode", "hunter2!").unwrap_err();
        assert_eq!(error.to_string(), "its value is no base64");
        assert!(apply("base64decode", "/w==").is_err());
    }
}
