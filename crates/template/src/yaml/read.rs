//! The reader of YAML.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use super::scalar::resolve;
use crate::json::read::{drop_twice, report, under};
use crate::json::{Document, MAX_DEPTH, MAX_VALUES, Object, ReadError, Value};

/// How much text aliases may repeat, in bytes.
const MAX_REPEATED_BYTES: usize = 16 << 20;

/// Reads the documents of a stream; empty ones are left out.
///
/// # Errors
///
/// When the text is no YAML, or has what JSON cannot say: keys that are no texts, numbers that are none, aliases to what they
/// stand in. Also beyond the bounds of [`crate::json`].
///
/// ```
/// let documents = template::yaml::read_all("kind: A\nsize: 1.10\n---\nkind: B\n").unwrap();
/// assert_eq!(documents[0].value.to_string(), r#"{"kind":"A","size":1.10}"#);
/// assert_eq!(documents.len(), 2);
/// ```
pub fn read_all(text: &str) -> Result<Vec<Document<'_>>, ReadError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder {
        documents: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        values: MAX_VALUES,
        repeated: MAX_REPEATED_BYTES,
        twice: Vec::new(),
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| ReadError {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            what: error.info(),
        })?;
        builder.take(event).map_err(|what| failed(&span, what))?;
    }
    Ok(builder.documents)
}

fn failed(span: &Span, what: &str) -> ReadError {
    ReadError {
        line: span.start.line(),
        column: span.start.col() + 1,
        what: what.to_owned(),
    }
}

type Read<T> = Result<T, &'static str>;

struct Builder<'t> {
    documents: Vec<Document<'t>>,
    open: Vec<Open<'t>>,
    anchors: HashMap<usize, Value<'t>>,
    values: usize,
    repeated: usize,
    twice: Vec<String>,
}

/// A list or mapping that has not ended.
struct Open<'t> {
    is: Collection<'t>,
    anchor: usize,
    /// How many keys were reported before it.
    reported: usize,
}

enum Collection<'t> {
    List(Vec<Value<'t>>),
    Mapping {
        members: Vec<(Cow<'t, str>, Value<'t>)>,
        merged: Vec<Value<'t>>,
        key: Key<'t>,
    },
}

enum Key<'t> {
    /// Comes next.
    Awaited,
    Text(Cow<'t, str>),
    /// `<<`
    Merge,
}

impl<'t> Builder<'t> {
    fn take(&mut self, event: Event<'t>) -> Read<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref()),
            Event::SequenceStart(_, anchor, _) => self.start(Collection::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => {
                let members = Vec::new();
                let merged = Vec::new();
                let key = Key::Awaited;
                self.start(Collection::Mapping { members, merged, key }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor),
            Event::UnresolvedAlias(_) => Err("an alias to an anchor that does not exist"),
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: Cow<'t, str>, style: ScalarStyle, anchor: usize, tag: Option<&Tag>) -> Read<()> {
        let tag = tag.map(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:").unwrap_or_default());
        let is_plain = match tag.as_deref() {
            None => style == ScalarStyle::Plain,
            Some("int" | "float" | "bool" | "null") => true,
            Some("binary") => return Err("!!binary is not supported; write the base64 as a text"),
            Some(_) => false,
        };
        if let Some(Open {
            is: Collection::Mapping {
                key: key @ Key::Awaited,
                ..
            },
            ..
        }) = self.open.last_mut()
        {
            let is_merge = text == "<<" && style == ScalarStyle::Plain;
            if anchor != 0 {
                self.anchors.insert(anchor, Value::String(text.clone()));
            }
            *key = if is_merge { Key::Merge } else { Key::Text(text) };
            return Ok(());
        }
        let value = if is_plain {
            resolve(text).ok_or("a number that is none; JSON has no infinity")?
        } else {
            Value::String(text)
        };
        self.anchored(anchor, &value);
        self.place(value, self.twice.len())
    }

    fn anchored(&mut self, anchor: usize, value: &Value<'t>) {
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
    }

    fn start(&mut self, is: Collection<'t>, anchor: usize) -> Read<()> {
        if self.open.len() == MAX_DEPTH {
            return Err("nested too deeply");
        }
        if let Some(Open {
            is: Collection::Mapping { key: Key::Awaited, .. },
            ..
        }) = self.open.last()
        {
            return Err("a list or mapping as a key");
        }
        self.open.push(Open {
            is,
            anchor,
            reported: self.twice.len(),
        });
        Ok(())
    }

    fn end(&mut self) -> Read<()> {
        let Some(Open { is, anchor, reported }) = self.open.pop() else {
            return Err("an end without a start");
        };
        let value = match is {
            Collection::List(items) => Value::Array(items),
            Collection::Mapping {
                mut members, merged, ..
            } => {
                let twice = &mut self.twice;
                drop_twice(&mut members, |key| report(twice, key));
                merge(&mut members, merged)?;
                Value::Object(Object::of(members))
            }
        };
        if anchor != 0 {
            // The anchored copy is memory, too.
            self.spend(&value)?;
        }
        self.anchored(anchor, &value);
        self.place(value, reported)
    }

    fn alias(&mut self, anchor: usize) -> Read<()> {
        let value = self.anchors.remove(&anchor).ok_or("an alias to what it stands in")?;
        let done = self.repeat(&value);
        self.anchors.insert(anchor, value);
        done
    }

    fn repeat(&mut self, value: &Value<'t>) -> Read<()> {
        if let Some(Open {
            is: Collection::Mapping {
                key: key @ Key::Awaited,
                ..
            },
            ..
        }) = self.open.last_mut()
        {
            let Value::String(text) = value else {
                return Err("a key that is no text");
            };
            *key = Key::Text(text.clone());
            return Ok(());
        }
        self.spend(value)?;
        if depth(value) + self.open.len() > MAX_DEPTH {
            return Err("nested too deeply");
        }
        self.place(value.clone(), self.twice.len())
    }

    /// Counts what an alias repeats.
    fn spend(&mut self, value: &Value<'t>) -> Read<()> {
        const TOO_MUCH: &str = "aliases repeat too much";
        let text = match value {
            Value::String(text) => text.len(),
            Value::Array(items) => return self.spend_all(items.iter()),
            Value::Object(object) => {
                let keys = object.iter().map(|(key, _)| key.len()).sum();
                self.repeated = self.repeated.checked_sub(keys).ok_or(TOO_MUCH)?;
                return self.spend_all(object.iter().map(|(_, value)| value));
            }
            _ => 0,
        };
        self.values = self.values.checked_sub(1).ok_or(TOO_MUCH)?;
        self.repeated = self.repeated.checked_sub(text).ok_or(TOO_MUCH)?;
        Ok(())
    }

    fn spend_all<'v>(&mut self, mut values: impl Iterator<Item = &'v Value<'t>>) -> Read<()>
    where
        't: 'v,
    {
        self.values = self.values.checked_sub(1).ok_or("aliases repeat too much")?;
        values.try_for_each(|value| self.spend(value))
    }

    /// Puts a value where it belongs; keys that were reported inside it, from `reported` on, get its name.
    fn place(&mut self, value: Value<'t>, reported: usize) -> Read<()> {
        self.values = self.values.checked_sub(1).ok_or("too many values")?;
        let Some(open) = self.open.last_mut() else {
            let twice = std::mem::take(&mut self.twice);
            if !value.is_null() {
                self.documents.push(Document { value, twice });
            }
            return Ok(());
        };
        let name = match &mut open.is {
            Collection::List(items) => {
                items.push(value);
                (self.twice.len() > reported).then(|| format!("[{}]", items.len() - 1))
            }
            Collection::Mapping { members, merged, key } => match std::mem::replace(key, Key::Awaited) {
                Key::Text(text) => {
                    let name = (self.twice.len() > reported).then(|| text.clone().into_owned());
                    members.push((text, value));
                    name
                }
                Key::Merge => {
                    merged.push(value);
                    None
                }
                Key::Awaited => return Err("a value without a key"),
            },
        };
        if let Some(name) = name {
            self.twice[reported..].iter_mut().for_each(|place| under(place, &name));
        }
        Ok(())
    }
}

/// Adds what `<<` names and the mapping does not have itself; of two that are named the first one counts.
fn merge<'t>(members: &mut Vec<(Cow<'t, str>, Value<'t>)>, merged: Vec<Value<'t>>) -> Read<()> {
    if merged.is_empty() {
        return Ok(());
    }
    let mut sources = Vec::new();
    for value in merged {
        match value {
            Value::Array(items) => sources.extend(items),
            other => sources.push(other),
        }
    }
    let mut known: std::collections::HashSet<Cow<'t, str>> = members.iter().map(|(key, _)| key.clone()).collect();
    for source in sources {
        let Value::Object(source) = source else {
            return Err("<< takes mappings");
        };
        for (key, value) in source {
            if known.insert(key.clone()) {
                members.push((key, value));
            }
        }
    }
    Ok(())
}

fn depth(value: &Value<'_>) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}
