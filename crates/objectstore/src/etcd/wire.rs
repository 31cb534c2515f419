//! gRPC on the wire: messages in their frames, and how a call has ended.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;

/// The byte that says whether a message is compressed, and its length.
const PREFIX: usize = 5;

/// The largest message that is read: a page of the largest values.
const LARGEST: usize = 1 << 30;

/// A message in its frame.
pub(super) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX + length);
    out.put_u8(0);
    // Bounded by the 16 MiB of a transaction.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows by itself: there is always room.
    let _ = message.encode(&mut out);
    out.freeze()
}

/// Takes frames apart that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: BytesMut,
}

impl Frames {
    /// A further piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole message.
    ///
    /// # Errors
    ///
    /// When no message can come of it.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, String> {
        let Some(prefix) = self.bytes.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *prefix;
        let length = u32::from_be_bytes(length) as usize;
        if compressed != 0 || length > LARGEST {
            return Err("a message in a form that was not asked for".to_owned());
        }
        if self.bytes.len() < PREFIX + length {
            return Ok(None);
        }
        self.bytes.advance(PREFIX);
        Ok(Some(self.bytes.split_to(length).freeze()))
    }
}

/// Reads a message.
///
/// # Errors
///
/// When it is none.
pub(super) fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, String> {
    M::decode(bytes).map_err(|error| format!("an answer that cannot be read: {error}"))
}

/// How a server has ended a call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// As gRPC numbers them.
    pub(super) code: u16,
    pub(super) message: String,
}

/// Codes of gRPC.
pub(super) const OK: u16 = 0;
pub(super) const UNKNOWN: u16 = 2;
pub(super) const INVALID_ARGUMENT: u16 = 3;
pub(super) const PERMISSION_DENIED: u16 = 7;
pub(super) const RESOURCE_EXHAUSTED: u16 = 8;
pub(super) const FAILED_PRECONDITION: u16 = 9;
pub(super) const OUT_OF_RANGE: u16 = 11;
pub(super) const UNIMPLEMENTED: u16 = 12;
pub(super) const UNAUTHENTICATED: u16 = 16;

impl Status {
    /// What headers or trailers say; `None` when they do not speak of an end.
    pub(super) fn of(headers: &HeaderMap) -> Option<Status> {
        let code = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(UNKNOWN);
        let message = headers.get("grpc-message").map_or(&b""[..], |value| value.as_bytes());
        Some(Status {
            code,
            message: unescaped(message),
        })
    }
}

/// Without the percent signs of gRPC; at most so much of it as a log can bear.
fn unescaped(text: &[u8]) -> String {
    const LONGEST: usize = 500;
    let mut out = Vec::with_capacity(text.len().min(LONGEST));
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if out.len() == LONGEST {
            break;
        }
        let escaped = tail
            .first_chunk::<2>()
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::proto::{KeyValue, RangeResponse};
    use super::*;

    #[test]
    fn messages_come_out_of_pieces_of_any_size() {
        let message = RangeResponse {
            kvs: vec![KeyValue {
                key: "a".into(),
                value: "b".repeat(300).into(),
                ..KeyValue::default()
            }],
            ..RangeResponse::default()
        };
        let framed = [frame(&message), frame(&RangeResponse::default())].concat();
        for size in [1, 2, 7, 1000] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in framed.chunks(size) {
                frames.push(piece);
                while let Some(bytes) = frames.next().unwrap() {
                    found.push(decode::<RangeResponse>(bytes).unwrap());
                }
            }
            assert_eq!(found, [message.clone(), RangeResponse::default()]);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut frames = Frames::default();
        frames.push(&[1, 0, 0, 0, 1, 0]);
        assert!(frames.next().is_err());
        let mut frames = Frames::default();
        frames.push(&[0, 255, 255, 255, 255]);
        assert!(frames.next().is_err());
        assert!(decode::<RangeResponse>(Bytes::from_static(b"\xff\xff")).is_err());
    }

    #[test]
    fn an_end_is_read_with_its_text() {
        let mut headers = HeaderMap::new();
        assert_eq!(Status::of(&headers), None);
        headers.insert("grpc-status", "14".parse().unwrap());
        headers.insert("grpc-message", "etcdserver: no leader%21 100%".parse().unwrap());
        let status = Status::of(&headers).unwrap();
        assert_eq!(
            (status.code, status.message.as_str()),
            (14, "etcdserver: no leader! 100%")
        );
    }
}
