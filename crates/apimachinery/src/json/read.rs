//! The reader of JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::Number;

use super::{DuplicateField, MAX_REPORTED_FIELDS, Map, ParseError, Problem, Value};
use crate::go;

/// How long a reported path grows at most, in bytes, before its outer part is left out.
const MAX_PATH_BYTES: usize = 1024;

/// From so many members on, those that are out of order are put into a tree: putting them into the row would move
/// those behind them each time.
const MANY: usize = 64;

/// Whole numbers of so many digits fit into 64 bits with a sign.
const PLAIN_DIGITS: usize = 18;

/// Reads a document of at most `depth` levels.
pub(super) fn document(bytes: &[u8], depth: usize) -> Result<(Value<'_>, Vec<DuplicateField>), ParseError> {
    let (text, is_whole) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, true),
        // What is wrong before the bytes that are no text comes first.
        Err(error) => (
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
            false,
        ),
    };
    let mut reader = Reader {
        text,
        at: 0,
        duplicates: Vec::new(),
    };
    match reader.whole(depth) {
        Ok(value) if is_whole => Ok((value, reader.duplicates)),
        Err(problem) if is_whole || problem != Problem::UnexpectedEnd => Err(reader.error(problem)),
        _ => {
            reader.at = text.len();
            Err(reader.error(Problem::Syntax))
        }
    }
}

/// How many bytes from the start stand in a text of JSON as they are: up to a quote, backslash or control character.
///
/// ```
/// assert_eq!(apimachinery::json::plain_length(b"plain\\n"), 5);
/// ```
pub fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest bit that is set belongs to the first such byte; those above it may be wrong.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let controls = |word: u64| word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (position, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\'))) | controls(word);
        if found != 0 {
            return position * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    bytes.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

struct Reader<'t> {
    text: &'t str,
    /// The byte that comes next.
    at: usize,
    duplicates: Vec<DuplicateField>,
}

impl<'t> Reader<'t> {
    /// The place is that of the byte which does not fit, or of the last one when the text ends too early.
    fn error(&self, problem: Problem) -> ParseError {
        let bytes = self.text.as_bytes();
        let end = (self.at + 1).min(bytes.len());
        let line_start = bytes[..end]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        ParseError {
            line: 1 + bytes[..line_start].iter().filter(|byte| **byte == b'\n').count(),
            column: end - line_start,
            problem,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no space, which stays the next one.
    fn next(&mut self) -> Result<u8, Problem> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err(Problem::UnexpectedEnd),
            }
        }
    }

    fn whole(&mut self, depth: usize) -> Result<Value<'t>, Problem> {
        let value = self.value(depth)?;
        match self.next() {
            Err(_) => Ok(value),
            Ok(_) => Err(Problem::Syntax),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'t>, Problem> {
        match self.next()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.object(inner(depth)?).map(Value::Object),
            b'[' => self.array(inner(depth)?).map(Value::Array),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            _ => Err(Problem::Syntax),
        }
    }

    fn word(&mut self, word: &str, value: Value<'t>) -> Result<Value<'t>, Problem> {
        for expected in word.bytes() {
            match self.peek() {
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return Err(Problem::Syntax),
                None => return Err(Problem::UnexpectedEnd),
            }
        }
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'t>>, Problem> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next()? == b']' {
            self.at += 1;
            return Ok(items);
        }
        loop {
            let reported = self.duplicates.len();
            items.push(self.value(depth)?);
            if self.duplicates.len() != reported {
                let position = items.len() - 1;
                self.prefix(reported, &format!("[{position}]"));
            }
            match self.next()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(Problem::Syntax),
            }
        }
        self.at += 1;
        Ok(items)
    }

    fn object(&mut self, depth: usize) -> Result<Map<'t>, Problem> {
        self.at += 1;
        let mut members = Members::Few(Map::new());
        if self.next()? == b'}' {
            self.at += 1;
            return Ok(Map::new());
        }
        loop {
            if self.next()? != b'"' {
                return Err(Problem::Syntax);
            }
            let key = self.string()?;
            if self.next()? != b':' {
                return Err(Problem::Syntax);
            }
            self.at += 1;
            let reported = self.duplicates.len();
            let value = self.value(depth)?;
            if self.duplicates.len() != reported {
                self.prefix(reported, &go::cut(&key, MAX_PATH_BYTES));
            }
            if let Some(path) = members.insert(key, value)
                && self.duplicates.len() < MAX_REPORTED_FIELDS
            {
                self.duplicates.push(DuplicateField { path });
            }
            match self.next()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(Problem::Syntax),
            }
        }
        self.at += 1;
        Ok(members.finish())
    }

    /// Puts the name of the parent before the paths that were reported inside it.
    fn prefix(&mut self, from: usize, name: &str) {
        for duplicate in &mut self.duplicates[from..] {
            let inner = &duplicate.path;
            if inner.len() < MAX_PATH_BYTES {
                let dot = if inner.starts_with('[') { "" } else { "." };
                duplicate.path = format!("{name}{dot}{inner}");
            }
        }
    }

    fn number(&mut self) -> Result<Number, Problem> {
        let start = self.at;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative);
        let (digits, value) = self.digits();
        let first = self.text.as_bytes().get(self.at - digits);
        match (digits, first) {
            (0, _) if self.peek().is_none() => return Err(Problem::UnexpectedEnd),
            (0, _) => return Err(Problem::Syntax),
            // A zero that more digits follow.
            (2.., Some(b'0')) => {
                self.at -= digits - 1;
                return Err(Problem::Syntax);
            }
            _ => {}
        }
        let is_plain = !matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        // Minus zero is a float.
        if is_plain && digits <= PLAIN_DIGITS && !(is_negative && value == 0) {
            return Ok(if is_negative { (-value).into() } else { value.into() });
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.required_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.required_digits()?;
        }
        // A number that is out of range is the only thing that can be wrong with it now.
        self.text[start..self.at].parse().map_err(|_| Problem::Syntax)
    }

    fn required_digits(&mut self) -> Result<(), Problem> {
        match self.digits() {
            (0, _) if self.peek().is_none() => Err(Problem::UnexpectedEnd),
            (0, _) => Err(Problem::Syntax),
            _ => Ok(()),
        }
    }

    /// How many digits come, and their value if they are at most [`PLAIN_DIGITS`].
    fn digits(&mut self) -> (usize, i64) {
        let start = self.at;
        let mut value = 0_i64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at - start, value)
    }

    /// A text, from its opening quote on.
    fn string(&mut self) -> Result<Cow<'t, str>, Problem> {
        self.at += 1;
        let start = self.at;
        match self.plain()? {
            b'"' => {
                let text = &self.text[start..self.at];
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            _ => self.escaped(start).map(Cow::Owned),
        }
    }

    /// Goes to the next quote or backslash.
    fn plain(&mut self) -> Result<u8, Problem> {
        self.at += plain_length(&self.text.as_bytes()[self.at..]);
        match self.peek() {
            Some(found @ (b'"' | b'\\')) => Ok(found),
            Some(_) => Err(Problem::Syntax),
            None => Err(Problem::UnexpectedEnd),
        }
    }

    /// The rest of a text that began at `start` and has an escape next.
    fn escaped(&mut self, mut start: usize) -> Result<String, Problem> {
        let mut out = String::new();
        loop {
            let found = self.plain()?;
            out.push_str(&self.text[start..self.at]);
            self.at += 1;
            if found == b'"' {
                return Ok(out);
            }
            out.push(self.escape()?);
            start = self.at;
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Problem> {
        let found = match self.peek().ok_or(Problem::UnexpectedEnd)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(Problem::Syntax),
        };
        self.at += 1;
        Ok(found)
    }

    /// The four digits behind `\u`, and for a half of a pair also the other half.
    fn unicode(&mut self) -> Result<char, Problem> {
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                for expected in *b"\\u" {
                    match self.peek() {
                        Some(byte) if byte == expected => self.at += 1,
                        Some(_) => return Err(Problem::Syntax),
                        None => return Err(Problem::UnexpectedEnd),
                    }
                }
                match self.hex()? {
                    second @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Err(Problem::Syntax),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(Problem::Syntax)
    }

    fn hex(&mut self) -> Result<u32, Problem> {
        let bytes = self.text.as_bytes();
        let Some(digits) = bytes.get(self.at..self.at + 4) else {
            self.at = bytes.len();
            return Err(Problem::UnexpectedEnd);
        };
        let mut value = 0;
        for digit in digits {
            value = value * 16 + char::from(*digit).to_digit(16).ok_or(Problem::Syntax)?;
            self.at += 1;
        }
        Ok(value)
    }
}

fn inner(depth: usize) -> Result<usize, Problem> {
    depth.checked_sub(1).ok_or(Problem::TooDeep)
}

/// The members of an object while it is read.
enum Members<'t> {
    Few(Map<'t>),
    Many(BTreeMap<Cow<'t, str>, Value<'t>>),
}

impl<'t> Members<'t> {
    /// Adds a member. Its key comes back when it was there already.
    fn insert(&mut self, key: Cow<'t, str>, value: Value<'t>) -> Option<String> {
        match self {
            Members::Few(map) if map.len() < MANY || map.behind(&key) == 0 => {
                // A key without escapes is not copied by this.
                let name = key.clone();
                map.insert(key, value).map(|_| name.into_owned())
            }
            Members::Few(map) => {
                let mut tree: BTreeMap<_, _> = std::mem::take(map).into_iter().collect();
                let again = tree.contains_key(&key).then(|| key.to_string());
                tree.insert(key, value);
                *self = Members::Many(tree);
                again
            }
            Members::Many(tree) => match tree.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                    None
                }
                Entry::Occupied(mut entry) => {
                    entry.insert(value);
                    Some(entry.key().to_string())
                }
            },
        }
    }

    fn finish(self) -> Map<'t> {
        match self {
            Members::Few(map) => map,
            Members::Many(tree) => tree.into_iter().collect(),
        }
    }
}
