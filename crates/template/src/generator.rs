//! The generator `expression`: text with `[set]{length}` in it.
//!
//! `user[A-Z0-9]{3}` is the text `user` and three characters, each drawn from its set. A set is made of single letters, digits
//! and `_`, ranges inside of `a-z`, `A-Z` or `0-9` with both ends, and the classes
//!
//! - `\w`: letters, digits and `_`
//! - `\d`: digits
//! - `\a`: letters
//! - `\A`: the symbols ``~!@#$%^&*()-_+={}[]\|<,>.?/"';:` ``
//!
//! in any mix. A length is from 1 to 255. Brackets that are no set are an error: taken for text they would be a password that
//! everybody knows.

use crate::random::{Draw, NoRandomness, Random};

/// The longest text that an expression may generate, in bytes.
pub const MAX_GENERATED_BYTES: usize = 64 << 10;

/// The longest set, in bytes between its brackets.
const MAX_SET_BYTES: usize = 1024;

const SYMBOLS: &str = "~!@#$%^&*()-_+={}[]\\|<,>.?/\"';:`";

/// An expression, read once.
///
/// ```
/// use template::generator::Expression;
/// use template::random::SystemRandom;
///
/// let name = Expression::parse("user[A-Z0-9]{3}").unwrap().generate(&mut SystemRandom).unwrap();
/// assert!(name.starts_with("user") && name.len() == 7);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// So many characters of these.
    Set(Vec<u8>, usize),
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {position} of the expression: {what}; {mend}")]
pub struct ExpressionError {
    /// Where, in bytes from the start.
    pub position: usize,
    /// What is wrong there.
    pub what: &'static str,
    /// What to write instead.
    pub mend: &'static str,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// When brackets are no set with a length, a set is wrong, or more than [`MAX_GENERATED_BYTES`] would be generated.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut at = 0;
        let mut generated = 0;
        while at < text.len() {
            let plain = plain(&text[at..]).map_err(|(offset, what, mend)| error(at + offset, what, mend))?;
            let (part, length) = if plain > 0 {
                (Part::Text(text[at..at + plain].to_owned()), plain)
            } else {
                segment(&text[at..]).map_err(|(offset, what, mend)| error(at + offset, what, mend))?
            };
            generated += match &part {
                Part::Text(text) => text.len(),
                Part::Set(_, count) => *count,
            };
            if generated > MAX_GENERATED_BYTES {
                return Err(error(at, "more than 64 KiB would be generated", "generate less"));
            }
            parts.push(part);
            at += length;
        }
        Ok(Self { parts })
    }

    /// Draws a text.
    ///
    /// # Errors
    ///
    /// When there are no random bytes.
    pub fn generate(&self, random: &mut dyn Random) -> Result<String, NoRandomness> {
        let mut draw = Draw::new(random);
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Set(set, count) => {
                    for _ in 0..*count {
                        out.push(char::from(set[draw.below(set.len())?]));
                    }
                }
            }
        }
        Ok(out)
    }

    /// Whether it generates the same text each time.
    pub fn is_constant(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.all(|part| matches!(part, Part::Text(_)) || matches!(part, Part::Set(set, _) if set.len() == 1))
    }
}

type Wrong = (usize, &'static str, &'static str);

fn error(position: usize, what: &'static str, mend: &'static str) -> ExpressionError {
    ExpressionError { position, what, mend }
}

/// How many bytes at the start are text.
fn plain(text: &str) -> Result<usize, Wrong> {
    const BRACKETS: &str = "a set looks like [a-z]{8}; text with brackets around it goes into a derived parameter";
    let end = text.find(['[', ']', '{']).unwrap_or(text.len());
    match text.as_bytes().get(end) {
        Some(b']') => Err((end, "a closing bracket without a set", BRACKETS)),
        Some(b'{') => {
            let digits = text[end + 1..].bytes().take_while(u8::is_ascii_digit).count();
            if digits > 0 && text[end + 1 + digits..].starts_with('}') {
                return Err((end, "a length without a set in front of it", BRACKETS));
            }
            Ok(end + 1)
        }
        _ => Ok(end),
    }
}

/// `[set]{length}` at the start, and how long it is written.
fn segment(text: &str) -> Result<(Part, usize), Wrong> {
    let end = set_end(text).ok_or((
        0,
        "a set without its closing bracket",
        "close it and give a length: [a-z]{8}",
    ))?;
    if end > MAX_SET_BYTES {
        return Err((0, "a set that is too long", "write ranges: [a-zA-Z0-9]{8}"));
    }
    let set = set(&text[1..end]).map_err(|(offset, what, mend)| (1 + offset, what, mend))?;
    const LENGTH: &str = "write a length behind the set: [a-z]{8}";
    let Some(rest) = text[end + 1..].strip_prefix('{') else {
        return Err((end + 1, "a set without a length", LENGTH));
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || !rest[digits..].starts_with('}') {
        return Err((end + 1, "a length that is not one number", LENGTH));
    }
    let count = rest[..digits].parse().ok().filter(|count| (1..=255).contains(count));
    let Some(count) = count else {
        return Err((end + 2, "a length beyond 1 to 255", "use several sets for longer texts"));
    };
    Ok((Part::Set(set, count), end + 1 + 1 + digits + 1))
}

/// Where the bracket is that closes the set.
fn set_end(text: &str) -> Option<usize> {
    text.find(']')
}

/// The characters of a set, each once.
fn set(text: &str) -> Result<Vec<u8>, Wrong> {
    const CHARACTERS: &str =
        "a set has letters, digits, _, ranges such as a-z, and the classes \\w \\d \\a \\A; \\A are symbols";
    let bytes = text.as_bytes();
    let mut in_set = [false; 128];
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'\\' {
            let class = bytes.get(at + 1).copied().and_then(class);
            let class = class.ok_or((at, "a class that does not exist", CHARACTERS))?;
            class.into_iter().for_each(|byte| in_set[usize::from(byte)] = true);
            at += 2;
        } else if !is_single(byte) {
            return Err((at, "a character that a set cannot have", CHARACTERS));
        } else if bytes.get(at + 1) == Some(&b'-') {
            let end = bytes.get(at + 2).copied();
            let end = end.ok_or((at, "a range without an end", CHARACTERS))?;
            range(byte, end).map_err(|what| (at, what, "write ranges such as a-z, A-Z or 0-9, each on its own"))?;
            (byte..=end).for_each(|byte| in_set[usize::from(byte)] = true);
            at += 3;
        } else {
            in_set[usize::from(byte)] = true;
            at += 1;
        }
    }
    let set: Vec<u8> = (0..128_u8).filter(|byte| in_set[usize::from(*byte)]).collect();
    if set.is_empty() {
        return Err((0, "an empty set", CHARACTERS));
    }
    Ok(set)
}

fn is_single(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn range(start: u8, end: u8) -> Result<(), &'static str> {
    let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
    if !kinds.iter().any(|kind| kind(&start) && kind(&end)) {
        return Err("a range whose ends are not both small letters, capital letters or digits");
    }
    if start > end {
        return Err("a range that ends before it starts");
    }
    Ok(())
}

fn class(name: u8) -> Option<Vec<u8>> {
    let all = |keep: fn(u8) -> bool| (0..128).filter(|byte| keep(*byte)).collect();
    match name {
        b'w' => Some(all(is_single)),
        b'd' => Some(all(|byte| byte.is_ascii_digit())),
        b'a' => Some(all(|byte| byte.is_ascii_alphabetic())),
        b'A' => Some(SYMBOLS.bytes().collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
