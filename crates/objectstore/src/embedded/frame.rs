//! The bytes of the log.
//!
//! A segment is a file `NUMBER-NONCE.log` (20 decimal and 16 hexadecimal digits): a header of 40 bytes, then frames
//! without gaps. What follows the last frame has no meaning: zeros, or what an earlier segment left in a file that is
//! used again. Numbers are little-endian.
//!
//! ```text
//! segment header  "OSTLOG1\n"  number u64  nonce u64  first revision u64  chain u32  crc u32
//! frame header    "OSTF"  payload length u32  first revision u64  transactions u32  chain u32  oldest u64  crc u32
//! payload         for each transaction: changes u16, and for each change: kind u8 (0 delete, 1 put),
//!                 key length u32, key; for a put also value length u32, value
//! ```
//!
//! A frame is what one group commit wrote: its transactions have the revisions from its first one on, without gaps,
//! also from frame to frame. `chain` is the `crc` of the frame before (of the last frame of the segment before for the
//! first frame; 0 when there is none). `crc` is CRC-32 of the nonce, the header up to there, and the payload: a frame
//! of another segment, or bytes that a client chose, are never taken for a frame. `oldest` is the oldest revision that
//! can be read.

use bytes::{Buf as _, Bytes};
use memchr::memmem;

use crate::Revision;
use crate::decide::Change;

pub(super) const SEGMENT_HEADER: usize = 40;
pub(super) const FRAME_HEADER: usize = 36;

const SEGMENT_MAGIC: &[u8; 8] = b"OSTLOG1\n";
const FRAME_MAGIC: &[u8; 4] = b"OSTF";

/// What a segment starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) nonce: u64,
    /// The first revision that can stand in it.
    pub(super) first: Revision,
    /// The checksum of the last frame before.
    pub(super) chain: u32,
}

impl Segment {
    pub(super) fn file_name(number: u64, nonce: u64) -> String {
        format!("{number:020}-{nonce:016x}.log")
    }

    /// Number and nonce of a file's name.
    pub(super) fn parse_file_name(name: &str) -> Option<(u64, u64)> {
        let (number, nonce) = name.strip_suffix(".log")?.split_once('-')?;
        let parsed = (number.parse().ok()?, u64::from_str_radix(nonce, 16).ok()?);
        (Self::file_name(parsed.0, parsed.1) == name).then_some(parsed)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.chain.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// `None` when the bytes are no whole header of this segment.
    pub(super) fn decode(bytes: &[u8], number: u64, nonce: u64) -> Option<Self> {
        let (body, mut crc) = bytes.get(..SEGMENT_HEADER)?.split_at(SEGMENT_HEADER - 4);
        let mut rest = body.strip_prefix(SEGMENT_MAGIC)?;
        let found = (rest.get_u64_le(), rest.get_u64_le());
        let segment = Self {
            number,
            nonce,
            first: Revision(rest.get_u64_le()),
            chain: rest.get_u32_le(),
        };
        (crc.get_u32_le() == crc32fast::hash(body) && found == (number, nonce)).then_some(segment)
    }
}

/// A group of transactions on its way into the log.
#[derive(Debug)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    transactions: u32,
}

impl Encoder {
    /// An empty frame, which may use the memory of an earlier one.
    pub(super) fn new(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.resize(FRAME_HEADER, 0);
        Self { bytes, transactions: 0 }
    }

    /// Adds the next transaction.
    pub(super) fn push(&mut self, changes: &[Change]) {
        self.transactions += 1;
        // Bounded far below these types: `MAX_WRITES`, `MAX_KEY_BYTES`, `MAX_TRANSACTION_BYTES`.
        self.bytes.extend_from_slice(&(changes.len() as u16).to_le_bytes());
        for change in changes {
            self.bytes.push(u8::from(change.value.is_some()));
            self.put_bytes(&change.key);
            if let Some(value) = &change.value {
                self.put_bytes(value);
            }
        }
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// How long the frame is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Completes the frame and gives its checksum, which is the next one's chain.
    pub(super) fn finish(&mut self, nonce: u64, first: Revision, chain: u32, oldest: Revision) -> (&[u8], u32) {
        let payload = (self.bytes.len() - FRAME_HEADER) as u32;
        let mut header = Vec::with_capacity(FRAME_HEADER);
        header.extend_from_slice(FRAME_MAGIC);
        header.extend_from_slice(&payload.to_le_bytes());
        header.extend_from_slice(&first.0.to_le_bytes());
        header.extend_from_slice(&self.transactions.to_le_bytes());
        header.extend_from_slice(&chain.to_le_bytes());
        header.extend_from_slice(&oldest.0.to_le_bytes());
        let crc = checksum(nonce, &header, &self.bytes[FRAME_HEADER..]);
        header.extend_from_slice(&crc.to_le_bytes());
        self.bytes[..FRAME_HEADER].copy_from_slice(&header);
        (&self.bytes, crc)
    }

    /// Gives the memory back.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn checksum(nonce: u64, header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// What a transaction wrote: keys with their new values, `None` for a deletion.
pub(super) type Written = Vec<(Bytes, Option<Bytes>)>;

/// A frame as it was read, its checksum verified.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) first: Revision,
    pub(super) transactions: u32,
    pub(super) chain: u32,
    pub(super) oldest: Revision,
    pub(super) crc: u32,
    payload: Bytes,
}

impl Frame {
    /// The frame at the start of the bytes; `None` when none stands there whole.
    pub(super) fn decode(bytes: &Bytes, nonce: u64) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER)?;
        let mut rest = header.strip_prefix(FRAME_MAGIC)?;
        let length = rest.get_u32_le() as usize;
        let payload = FRAME_HEADER..FRAME_HEADER.checked_add(length)?;
        if payload.end > bytes.len() {
            return None;
        }
        let frame = Self {
            first: Revision(rest.get_u64_le()),
            transactions: rest.get_u32_le(),
            chain: rest.get_u32_le(),
            oldest: Revision(rest.get_u64_le()),
            crc: rest.get_u32_le(),
            payload: bytes.slice(payload),
        };
        (checksum(nonce, &header[..FRAME_HEADER - 4], &frame.payload) == frame.crc).then_some(frame)
    }

    pub(super) fn len(&self) -> usize {
        FRAME_HEADER + self.payload.len()
    }

    /// The last revision of the frame; the one before its first when it has no transactions.
    pub(super) fn last(&self) -> Revision {
        Revision(
            self.first
                .0
                .saturating_add(u64::from(self.transactions))
                .saturating_sub(1),
        )
    }

    /// The transactions. `None` when the payload makes no sense.
    pub(super) fn decode_transactions(&self) -> Option<Vec<Written>> {
        let mut rest = self.payload.clone();
        let mut transactions = Vec::new();
        for _ in 0..self.transactions {
            let mut changes = Vec::new();
            for _ in 0..rest.try_get_u16_le().ok()? {
                let kind = rest.try_get_u8().ok()?;
                let key = take_bytes(&mut rest)?;
                let value = match kind {
                    0 => None,
                    1 => Some(take_bytes(&mut rest)?),
                    _ => return None,
                };
                changes.push((key, value));
            }
            transactions.push(changes);
        }
        rest.is_empty().then_some(transactions)
    }
}

fn take_bytes(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.try_get_u32_le().ok()? as usize;
    (length <= rest.len()).then(|| rest.split_to(length))
}

/// Whether any frame stands whole somewhere in the bytes. After a crash that is a whole segment to look through, so it
/// is done with a search made for that. The magic does not overlap with itself: no start is passed over.
pub(super) fn holds_a_frame(bytes: &Bytes, nonce: u64) -> bool {
    memmem::find_iter(bytes, FRAME_MAGIC).any(|start| Frame::decode(&bytes.slice(start..), nonce).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &'static str, value: Option<&'static str>) -> Change {
        Change {
            key: Bytes::from(key),
            value: value.map(Bytes::from),
            previous: None,
        }
    }

    fn frame() -> Bytes {
        let mut encoder = Encoder::new(Vec::new());
        encoder.push(&[change("a", Some("1")), change("b", None)]);
        encoder.push(&[change("c", Some(""))]);
        Bytes::copy_from_slice(encoder.finish(7, Revision(5), 42, Revision(3)).0)
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let read = Frame::decode(&frame(), 7).expect("it is whole");
        assert_eq!(
            (read.first, read.last(), read.chain, read.oldest),
            (Revision(5), Revision(6), 42, Revision(3))
        );
        let b = |text: &'static str| Bytes::from(text);
        let expected = vec![
            vec![(b("a"), Some(b("1"))), (b("b"), None)],
            vec![(b("c"), Some(b("")))],
        ];
        assert_eq!(read.decode_transactions(), Some(expected));
    }

    #[test]
    fn no_changed_byte_and_no_other_segment_goes_unnoticed() {
        let frame = frame();
        assert!(Frame::decode(&frame, 8).is_none());
        for index in 0..frame.len() {
            let mut bytes = frame.to_vec();
            bytes[index] ^= 0x10;
            assert!(Frame::decode(&Bytes::from(bytes), 7).is_none(), "byte {index}");
            assert!(Frame::decode(&frame.slice(..index), 7).is_none(), "cut at {index}");
        }
    }

    #[test]
    fn a_frame_is_found_behind_rubbish() {
        let bytes = Bytes::from([b"OSTFOSTF rubbish", &frame()[..], b"more"].concat());
        assert!(holds_a_frame(&bytes, 7));
        assert!(!holds_a_frame(&bytes, 8));
        assert!(!holds_a_frame(&Bytes::from_static(b"OSTF"), 7));
    }

    #[test]
    fn a_segment_header_belongs_to_its_file() {
        let segment = Segment {
            number: 3,
            nonce: 9,
            first: Revision(8),
            chain: 5,
        };
        let bytes = segment.encode();
        assert_eq!(Segment::decode(&bytes, 3, 9), Some(segment));
        assert_eq!(Segment::decode(&bytes, 4, 9), None);
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_eq!(Segment::decode(&changed, 3, 9), None, "byte {index}");
        }
        assert_eq!(Segment::parse_file_name(&Segment::file_name(3, 9)), Some((3, 9)));
        assert_eq!(Segment::parse_file_name("3-9.log"), None);
    }
}
