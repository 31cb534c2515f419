//! The reader of JSON.

use std::borrow::Cow;

use apimachinery::json::plain_length;

use super::{Document, MAX_DEPTH, MAX_REPORTED, MAX_VALUES, Number, Object, ReadError, Value};

/// Up to so many members are compared each with each: that is quicker than sorting.
const FEW: usize = 16;

/// How long a reported place grows at most, in bytes, before its outer part is left out.
const MAX_PLACE_BYTES: usize = 1024;

/// Reads one JSON document.
///
/// # Errors
///
/// When the text is not one complete JSON document, is nested deeper than [`MAX_DEPTH`] or has more than [`MAX_VALUES`] values.
///
/// ```
/// let document = template::json::read(r#"{"size": 1.10, "a": 1, "a": 2}"#).unwrap();
/// assert_eq!(document.value.to_string(), r#"{"size":1.10,"a":2}"#);
/// assert_eq!(document.twice, ["a"]);
/// ```
pub fn read(text: &str) -> Result<Document<'_>, ReadError> {
    let mut reader = Reader::new(text);
    let document = reader.document()?;
    match reader.skip() {
        None => Ok(document),
        Some(_) => Err(reader.error("text behind the end of the document")),
    }
}

/// Reads JSON documents that stand one behind the other, at least one.
///
/// # Errors
///
/// As [`read`]; the bounds are those of all documents together.
pub fn read_all(text: &str) -> Result<Vec<Document<'_>>, ReadError> {
    let mut reader = Reader::new(text);
    let mut documents = vec![reader.document()?];
    while reader.skip().is_some() {
        documents.push(reader.document()?);
    }
    Ok(documents)
}

/// Whether the text is a number of JSON.
pub(super) fn is_number(text: &[u8]) -> bool {
    number_length(text) == Some(text.len())
}

/// How many bytes of a number stand at the start; `None` where there is none.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let count = text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut at = digits(start)?;
    if text[start] == b'0' && at > start + 1 {
        return None;
    }
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Some(at)
}

type Member<'t> = (Cow<'t, str>, Value<'t>);

/// The position of a key that stands before, too.
pub(super) fn first_twice(members: &[Member<'_>]) -> Option<usize> {
    if members.len() <= FEW {
        let mut positions = 1..members.len();
        return positions.find(|&at| members[..at].iter().any(|(key, _)| *key == members[at].0));
    }
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| members[*a].0.cmp(&members[*b].0));
    let mut pairs = order.windows(2).filter(|pair| members[pair[0]].0 == members[pair[1]].0);
    pairs.next().map(|pair| pair[1])
}

/// Keeps of each key the last value, where the first one stood, and tells the keys.
pub(crate) fn drop_twice(members: &mut Vec<Member<'_>>, mut tell: impl FnMut(&str)) {
    if first_twice(members).is_none() {
        return;
    }
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| members[*a].0.cmp(&members[*b].0));
    let mut gone = vec![false; members.len()];
    let mut moves = Vec::new();
    for same in order.chunk_by(|a, b| members[*a].0 == members[*b].0) {
        if let [first, .., last] = same {
            moves.push((*first, *last));
            same[1..].iter().for_each(|at| gone[*at] = true);
        }
    }
    for (first, last) in moves {
        members.swap(first, last);
    }
    let mut at = 0;
    members.retain(|(key, _)| {
        at += 1;
        if gone[at - 1] {
            tell(key);
        }
        !gone[at - 1]
    });
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// How many more values may come.
    values: usize,
    twice: Vec<String>,
}

type Read<T> = Result<T, &'static str>;

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            values: MAX_VALUES,
            twice: Vec::new(),
        }
    }

    fn error(&self, what: &str) -> ReadError {
        let before = &self.text.as_bytes()[..self.at];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        ReadError {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: 1 + self.at - line_start,
            what: what.to_owned(),
        }
    }

    fn document(&mut self) -> Result<Document<'t>, ReadError> {
        let value = self.value(MAX_DEPTH).map_err(|what| self.error(what))?;
        Ok(Document {
            value,
            twice: std::mem::take(&mut self.twice),
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no space, which stays the next one.
    fn skip(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                found => return found,
            }
        }
    }

    fn next(&mut self) -> Read<u8> {
        self.skip().ok_or("the text ends too early")
    }

    fn value(&mut self, depth: usize) -> Read<Value<'t>> {
        self.values = self.values.checked_sub(1).ok_or("too many values")?;
        let inner = |depth: usize| depth.checked_sub(1).ok_or("nested too deeply");
        match self.next()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.object(inner(depth)?).map(Value::Object),
            b'[' => self.array(inner(depth)?).map(Value::Array),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err("this is no JSON"),
        }
    }

    fn word(&mut self, word: &str, value: Value<'t>) -> Read<Value<'t>> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err("this is no JSON");
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Read<Value<'t>> {
        let length = number_length(&self.text.as_bytes()[self.at..]).ok_or("this is no number")?;
        let text = &self.text[self.at..self.at + length];
        self.at += length;
        Ok(Value::Number(Number(Cow::Borrowed(text))))
    }

    fn array(&mut self, depth: usize) -> Read<Vec<Value<'t>>> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next()? == b']' {
            self.at += 1;
            return Ok(items);
        }
        loop {
            let reported = self.twice.len();
            items.push(self.value(depth)?);
            if self.twice.len() != reported {
                self.prefix(reported, &format!("[{}]", items.len() - 1));
            }
            match self.next()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err("expected a comma or ]"),
            }
        }
        self.at += 1;
        Ok(items)
    }

    fn object(&mut self, depth: usize) -> Read<Object<'t>> {
        self.at += 1;
        let mut members = Vec::new();
        if self.next()? == b'}' {
            self.at += 1;
            return Ok(Object { members });
        }
        loop {
            if self.next()? != b'"' {
                return Err("expected a key in double quotes");
            }
            let key = self.string()?;
            if self.next()? != b':' {
                return Err("expected a colon");
            }
            self.at += 1;
            let reported = self.twice.len();
            let value = self.value(depth)?;
            if self.twice.len() != reported {
                self.prefix(reported, &key);
            }
            members.push((key, value));
            match self.next()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err("expected a comma or }"),
            }
        }
        self.at += 1;
        let twice = &mut self.twice;
        drop_twice(&mut members, |key| report(twice, key));
        Ok(Object { members })
    }

    /// Puts the name of the parent before the places that were reported inside it.
    fn prefix(&mut self, from: usize, parent: &str) {
        self.twice[from..].iter_mut().for_each(|place| under(place, parent));
    }

    /// A text, from its opening quote on.
    fn string(&mut self) -> Read<Cow<'t, str>> {
        self.at += 1;
        let start = self.at;
        if self.plain()? == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut out = String::new();
        let mut from = start;
        loop {
            let found = self.plain()?;
            out.push_str(&self.text[from..self.at]);
            self.at += 1;
            if found == b'"' {
                return Ok(Cow::Owned(out));
            }
            out.push(self.escape()?);
            from = self.at;
        }
    }

    /// Goes to the next quote or backslash.
    fn plain(&mut self) -> Read<u8> {
        self.at += plain_length(&self.text.as_bytes()[self.at..]);
        match self.peek() {
            Some(found @ (b'"' | b'\\')) => Ok(found),
            Some(_) => Err("a control character in a text; write it as \\n, \\t or \\u00.."),
            None => Err("a text has no end"),
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Read<char> {
        let found = match self.peek().ok_or("a text has no end")? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err("an escape that JSON does not have"),
        };
        self.at += 1;
        Ok(found)
    }

    fn unicode(&mut self) -> Read<char> {
        const WRONG: &str = "half of a pair of \\u escapes";
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    return Err(WRONG);
                }
                self.at += 2;
                match self.hex()? {
                    second @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Err(WRONG),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(WRONG)
    }

    fn hex(&mut self) -> Read<u32> {
        const WRONG: &str = "\\u needs four hexadecimal digits";
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(WRONG)?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + char::from(*digit).to_digit(16).ok_or(WRONG)?;
        }
        self.at += 4;
        Ok(value)
    }
}

/// Notes a key that stands twice.
pub(crate) fn report(twice: &mut Vec<String>, key: &str) {
    if twice.len() < MAX_REPORTED {
        twice.push(crate::problem::cut(key, MAX_PLACE_BYTES).into_owned());
    }
}

/// Puts the name of the parent before a place.
pub(crate) fn under(place: &mut String, parent: &str) {
    if place.len() < MAX_PLACE_BYTES {
        let parent = crate::problem::cut(parent, MAX_PLACE_BYTES);
        let dot = if place.starts_with('[') { "" } else { "." };
        *place = format!("{parent}{dot}{place}");
    }
}
