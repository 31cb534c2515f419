//! The wire format of protobuf, as far as Kubernetes uses it.

use super::Error;
use crate::facts::Shape;

/// What stands behind the number of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire<'b> {
    Bytes(&'b [u8]),
    Number(Number),
}

/// A number of one of the three sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32,
}

impl<'b> Wire<'b> {
    pub(super) fn bytes(self) -> Result<&'b [u8], Error> {
        match self {
            Wire::Bytes(bytes) => Ok(bytes),
            Wire::Number(_) => Err(Error::Malformed),
        }
    }

    pub(super) fn varint(self) -> Result<u64, Error> {
        match self {
            Wire::Number(Number::Varint(number)) => Ok(number),
            _ => Err(Error::Malformed),
        }
    }

    pub(super) fn double(self) -> Result<f64, Error> {
        match self {
            Wire::Number(Number::Fixed64(bytes)) => Ok(f64::from_le_bytes(bytes)),
            _ => Err(Error::Malformed),
        }
    }

    /// What an absent value is.
    pub(super) fn nothing(shape: &Shape) -> Wire<'static> {
        match shape {
            Shape::Bool | Shape::Int32 | Shape::Int64 => Wire::Number(Number::Varint(0)),
            Shape::Float64 => Wire::Number(Number::Fixed64([0; 8])),
            _ => Wire::Bytes(&[]),
        }
    }
}

/// Reads a message field by field.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(message: &'b [u8]) -> Reader<'b> {
        Reader { rest: message }
    }

    /// The next field, `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Wire<'b>)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Error::Malformed)?;
        if number == 0 {
            return Err(Error::Malformed);
        }
        let wire = match key & 7 {
            0 => Wire::Number(Number::Varint(self.varint()?)),
            1 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(Error::Malformed)?;
                self.rest = rest;
                Wire::Number(Number::Fixed64(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Error::Malformed)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Number(Number::Fixed32)
            }
            // Groups, which nothing writes any more, and what is not defined.
            _ => return Err(Error::Malformed),
        };
        Ok(Some((number, wire)))
    }

    /// The next of several numbers that stand together without their field's number.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, Error> {
        if self.rest.is_empty() {
            Ok(None)
        } else {
            self.varint().map(Some)
        }
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value: u64 = 0;
        for at in 0..10 {
            let (byte, rest) = self.rest.split_first().ok_or(Error::Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Malformed)
    }
}
