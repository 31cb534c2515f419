//! Kubernetes' protobuf encoding of objects, read into the JSON tree that everything else works on.
//!
//! A body is four bytes, [`MAGIC`], and an envelope with apiVersion, kind and the message of that kind. Fields that the
//! data does not know are passed over, as protobuf wants it.

use std::borrow::Cow;

use apimachinery::json::{self, Map, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::data;
use crate::facts::{Field, Shape, Type};
use crate::time;
use wire::{Number, Reader, Wire};

mod wire;

/// What a body in this encoding begins with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// Most values in one body, as a bound of the memory that it takes: a message of two bytes may become an object.
const MAX_VALUES: usize = 250_000;

/// Why a body is not an object. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin with [`MAGIC`].
    #[error("the body does not begin as protobuf of Kubernetes does")]
    NoMagic,
    /// The envelope names no kind.
    #[error("the body does not say what kind it is")]
    NoKind,
    /// There is no such built-in kind: what else there is has no protobuf form.
    #[error("there is no protobuf form of this kind")]
    UnknownKind,
    /// It breaks off, or is no protobuf.
    #[error("the body is no protobuf message of its kind")]
    Malformed,
    /// It is nested deeper than JSON may be, or has more values than are taken.
    #[error("the body is nested too deeply or has too many values")]
    TooLarge,
}

/// The outer message of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'b> {
    /// apiVersion; may be empty.
    pub api_version: &'b str,
    /// Kind; may be empty.
    pub kind: &'b str,
    /// The message of the kind.
    pub raw: &'b [u8],
}

impl<'b> Envelope<'b> {
    /// Reads the envelope of a body.
    ///
    /// # Errors
    ///
    /// [`Error::NoMagic`] and [`Error::Malformed`].
    pub fn read(body: &'b [u8]) -> Result<Envelope<'b>, Error> {
        let body = body.strip_prefix(MAGIC).ok_or(Error::NoMagic)?;
        let mut envelope = Envelope {
            api_version: "",
            kind: "",
            raw: &[],
        };
        let mut reader = Reader::new(body);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Bytes(meta)) => {
                    let mut meta = Reader::new(meta);
                    while let Some((number, wire)) = meta.field()? {
                        match (number, wire) {
                            (1, Wire::Bytes(text)) => envelope.api_version = utf8(text)?,
                            (2, Wire::Bytes(text)) => envelope.kind = utf8(text)?,
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(raw)) => envelope.raw = raw,
                // A content encoding: none is known.
                (3, Wire::Bytes(encoding)) if !encoding.is_empty() => return Err(Error::Malformed),
                _ => {}
            }
        }
        Ok(envelope)
    }

    /// The type of the message. Options of a delete are the same in each group and version.
    ///
    /// # Errors
    ///
    /// [`Error::NoKind`] and [`Error::UnknownKind`].
    pub fn object_type(&self) -> Result<&'static Type, Error> {
        if self.kind.is_empty() {
            return Err(Error::NoKind);
        }
        if self.kind == "DeleteOptions" {
            return data::type_in("meta/v1", "DeleteOptions").ok_or(Error::UnknownKind);
        }
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", self.api_version));
        let package = data::package_of(group, version).ok_or(Error::UnknownKind)?;
        data::type_in(package, self.kind).ok_or(Error::UnknownKind)
    }
}

/// Reads a body: the object, with its apiVersion and kind. Texts borrow from the body.
///
/// # Errors
///
/// See [`Error`].
pub fn decode(body: &[u8]) -> Result<Value<'_>, Error> {
    let envelope = Envelope::read(body)?;
    let mut object = message(envelope.object_type()?, envelope.raw)?;
    object.insert("apiVersion", envelope.api_version);
    object.insert("kind", envelope.kind);
    Ok(Value::Object(object))
}

/// Reads a message of a type.
///
/// # Errors
///
/// [`Error::Malformed`] and [`Error::TooLarge`].
pub fn message<'b>(of: &'static Type, raw: &'b [u8]) -> Result<Map<'b>, Error> {
    let mut decoder = Decoder { values: 0 };
    let mut members = Map::new();
    decoder.message(of, raw, 0, &mut members)?;
    Ok(members)
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::Malformed)
}

/// The entries of the maps of a message, which come one by one and in any order.
type Maps<'b> = Vec<(&'static str, Vec<Entry<'b>>)>;
type Entry<'b> = (Cow<'b, str>, Value<'b>);

struct Decoder {
    values: usize,
}

impl Decoder {
    fn enter(&mut self, depth: usize) -> Result<usize, Error> {
        self.values += 1;
        if self.values > MAX_VALUES || depth >= json::MAX_DEPTH {
            return Err(Error::TooLarge);
        }
        Ok(depth + 1)
    }

    /// Reads the fields of a message into the members of an object. What came before of the same message stays.
    fn message<'b>(&mut self, of: &'static Type, raw: &'b [u8], depth: usize, into: &mut Map<'b>) -> Result<(), Error> {
        let depth = self.enter(depth)?;
        let mut maps: Maps<'b> = Vec::new();
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.field()? {
            let Some(field) = of.own.iter().find(|field| field.number == number) else {
                continue;
            };
            if let Shape::Map(inner) = &field.shape {
                let entry = self.entry(inner, wire.bytes()?, depth)?;
                match maps.iter_mut().find(|(name, _)| *name == field.name) {
                    Some((_, entries)) => entries.push(entry),
                    None => maps.push((field.name, vec![entry])),
                }
                continue;
            }
            self.field(field, wire, depth, into)?;
        }
        for (name, entries) in maps {
            if let Value::Object(members) = into.get_or_insert(name, Map::new()) {
                members.merge(entries.into_iter().collect(), |_, entry| Some(entry));
            }
        }
        Ok(())
    }

    fn field<'b>(
        &mut self,
        field: &'static Field,
        wire: Wire<'b>,
        depth: usize,
        into: &mut Map<'b>,
    ) -> Result<(), Error> {
        match &field.shape {
            Shape::Object(inner) if field.name.is_empty() => {
                // Its fields stand beside the others in JSON.
                self.message(inner.get(), wire.bytes()?, depth - 1, into)
            }
            Shape::Object(inner) => {
                let place = into.get_or_insert(field.name, Map::new());
                let Value::Object(members) = place else {
                    return Err(Error::Malformed);
                };
                self.message(inner.get(), wire.bytes()?, depth, members)
            }
            Shape::List(inner) => {
                let depth = self.enter(depth)?;
                let place = into.get_or_insert(field.name, Vec::<Value<'_>>::new());
                let Value::Array(items) = place else {
                    return Err(Error::Malformed);
                };
                self.items(inner, wire, depth, items)
            }
            shape => {
                let value = self.value(shape, wire, depth)?;
                if !(field.omit_empty && !field.pointer && is_nothing(&value)) {
                    into.insert(field.name, value);
                }
                Ok(())
            }
        }
    }

    /// One item of a list, or several numbers packed together.
    fn items<'b>(
        &mut self,
        inner: &'static Shape,
        wire: Wire<'b>,
        depth: usize,
        items: &mut Vec<Value<'b>>,
    ) -> Result<(), Error> {
        if let (Shape::Int32 | Shape::Int64 | Shape::Bool, Wire::Bytes(packed)) = (inner, &wire) {
            let mut packed = Reader::new(packed);
            while let Some(number) = packed.packed()? {
                self.enter(depth)?;
                items.push(scalar(inner, Wire::Number(Number::Varint(number)))?);
            }
            return Ok(());
        }
        items.push(self.value(inner, wire, depth)?);
        Ok(())
    }

    fn entry<'b>(&mut self, inner: &'static Shape, raw: &'b [u8], depth: usize) -> Result<Entry<'b>, Error> {
        let depth = self.enter(depth)?;
        let (mut key, mut value) = ("", None);
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => key = utf8(wire.bytes()?)?,
                2 => value = Some(self.value(inner, wire, depth)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(inner, Wire::nothing(inner), depth)?,
        };
        Ok((Cow::Borrowed(key), value))
    }

    fn value<'b>(&mut self, shape: &'static Shape, wire: Wire<'b>, depth: usize) -> Result<Value<'b>, Error> {
        let depth = self.enter(depth)?;
        match shape {
            Shape::Object(inner) => {
                let mut members = Map::new();
                self.message(inner.get(), wire.bytes()?, depth, &mut members)?;
                Ok(members.into())
            }
            Shape::List(inner) | Shape::WrappedList(inner) => {
                let mut items = Vec::new();
                let mut reader = Reader::new(wire.bytes()?);
                while let Some((number, wire)) = reader.field()? {
                    if number == 1 {
                        self.items(inner, wire, depth, &mut items)?;
                    }
                }
                Ok(Value::Array(items))
            }
            Shape::Map(inner) => {
                let (key, value) = self.entry(inner, wire.bytes()?, depth)?;
                Ok(Value::Object([(key, value)].into_iter().collect()))
            }
            Shape::Raw | Shape::Json | Shape::Fields => embedded(wire.bytes()?),
            Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
                self.schema(shape, wire.bytes()?, depth)
            }
            scalar_shape => scalar(scalar_shape, wire),
        }
    }

    /// The messages of a definition that are a schema or something else.
    fn schema<'b>(&mut self, shape: &'static Shape, raw: &'b [u8], depth: usize) -> Result<Value<'b>, Error> {
        let schema_type = data::type_in("apiextensions/v1", "JSONSchemaProps").ok_or(Error::UnknownKind)?;
        let (mut schema, mut others, mut allows) = (None, Vec::new(), false);
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.field()? {
            match (shape, number) {
                (Shape::SchemaOrBool, 1) => allows = wire.varint()? != 0,
                (Shape::SchemaOrBool, 2) | (Shape::SchemaOrArray | Shape::SchemaOrStrings, 1) => {
                    let mut members = Map::new();
                    self.message(schema_type, wire.bytes()?, depth, &mut members)?;
                    schema = Some(members);
                }
                (Shape::SchemaOrArray, 2) => {
                    let mut members = Map::new();
                    self.message(schema_type, wire.bytes()?, depth, &mut members)?;
                    others.push(Value::Object(members));
                }
                (Shape::SchemaOrStrings, 2) => others.push(utf8(wire.bytes()?)?.into()),
                _ => {}
            }
        }
        Ok(match (shape, schema) {
            (_, Some(schema)) if others.is_empty() => schema.into(),
            (Shape::SchemaOrBool, _) => allows.into(),
            _ => Value::Array(others),
        })
    }
}

/// Whether a scalar that is no pointer counts as absent.
fn is_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// JSON that lies in a message as it is.
fn embedded(raw: &[u8]) -> Result<Value<'_>, Error> {
    let mut reader = Reader::new(raw);
    let mut text: &[u8] = &[];
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            text = wire.bytes()?;
        }
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let (value, _) = json::parse_strict(text).map_err(|_| Error::Malformed)?;
    Ok(value)
}

fn scalar<'b>(shape: &Shape, wire: Wire<'b>) -> Result<Value<'b>, Error> {
    Ok(match shape {
        Shape::Text => utf8(wire.bytes()?)?.into(),
        Shape::Bytes => STANDARD.encode(wire.bytes()?).into(),
        Shape::Bool => (wire.varint()? != 0).into(),
        // A negative one comes as 64 bits.
        Shape::Int32 => (wire.varint()? as i32).into(),
        Shape::Int64 => (wire.varint()? as i64).into(),
        Shape::Float64 => serde_json::Number::from_f64(wire.double()?)
            .ok_or(Error::Malformed)?
            .into(),
        Shape::Time => moment(wire.bytes()?, |seconds, _| time::of_seconds(seconds))?,
        Shape::MicroTime => moment(wire.bytes()?, time::of_nanos)?,
        Shape::Quantity => {
            let [_, text] = small_message(wire.bytes()?)?.texts;
            text.into()
        }
        Shape::IntOrString => {
            let message = small_message(wire.bytes()?)?;
            match message.numbers[1] {
                1 => message.texts[0].into(),
                _ => (message.numbers[2] as i32).into(),
            }
        }
        _ => return Err(Error::Malformed),
    })
}

/// The fields of the small messages that scalars come in.
struct Small<'b> {
    /// By their numbers.
    numbers: [u64; 3],
    /// Of the fields 3 and 1.
    texts: [&'b str; 2],
    is_empty: bool,
}

fn small_message(raw: &[u8]) -> Result<Small<'_>, Error> {
    let mut small = Small {
        numbers: [0; 3],
        texts: [""; 2],
        is_empty: true,
    };
    let mut reader = Reader::new(raw);
    while let Some((number, wire)) = reader.field()? {
        small.is_empty = false;
        match (number, wire) {
            (1 | 2, Wire::Number(Number::Varint(value))) => small.numbers[number as usize] = value,
            (3, Wire::Bytes(text)) => small.texts[0] = utf8(text)?,
            (1, Wire::Bytes(text)) => small.texts[1] = utf8(text)?,
            _ => {}
        }
    }
    Ok(small)
}

/// A time; an empty message is none.
fn moment<'b>(raw: &[u8], write: impl Fn(i64, i32) -> Option<String>) -> Result<Value<'b>, Error> {
    let small = small_message(raw)?;
    if small.is_empty {
        return Ok(Value::Null);
    }
    let text = write(small.numbers[1] as i64, small.numbers[2] as i32);
    Ok(text.ok_or(Error::Malformed)?.into())
}

#[cfg(test)]
mod tests;
