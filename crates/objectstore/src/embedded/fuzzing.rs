//! What reads the log and the tables, for the fuzz targets of this repository.

use bytes::Bytes;

use super::frame::{self, Encoder, Frame, Segment, holds_a_frame};
use super::records;
use crate::decide::Change;
use crate::{Entry, Revision};

/// How long the header of a segment is, in bytes.
pub const SEGMENT_HEADER: usize = frame::SEGMENT_HEADER;
/// How long the header of a frame is, in bytes.
pub const FRAME_HEADER: usize = frame::FRAME_HEADER;
/// The number and nonce of the segments that [`segment`] reads.
pub const NUMBER: u64 = 1;
/// See [`NUMBER`].
pub const NONCE: u64 = 7;

/// Reads a segment: how many of its frames are whole and make sense.
///
/// # Panics
/// When a frame that was read is not the same after it was written again.
pub fn segment(bytes: &Bytes) -> usize {
    if Segment::decode(bytes, NUMBER, NONCE).is_none() {
        return 0;
    }
    let (mut position, mut count) = (SEGMENT_HEADER, 0);
    while let Some(frame) = bytes
        .get(position..)
        .and_then(|_| Frame::decode(&bytes.slice(position..), NONCE))
    {
        assert!(holds_a_frame(&bytes.slice(position..), NONCE), "a whole frame is found");
        if let Some(transactions) = frame.decode_transactions() {
            let written = bytes.slice(position..position + frame.len());
            assert_eq!(again(&frame, transactions), written, "a frame comes back as it was");
            count += 1;
        }
        assert!(
            frame.last() >= Revision(frame.first.0.saturating_sub(1)),
            "revisions grow"
        );
        position += frame.len();
    }
    count
}

fn again(frame: &Frame, transactions: Vec<super::frame::Written>) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::with_capacity(FRAME_HEADER));
    for written in transactions {
        let changes: Vec<Change> = written.into_iter().map(|(key, value)| change(key, value)).collect();
        encoder.push(&changes);
    }
    encoder.finish(NONCE, frame.first, frame.chain, frame.oldest).0.to_vec()
}

fn change(key: Bytes, value: Option<Bytes>) -> Change {
    Change {
        key,
        value,
        previous: None,
    }
}

/// Reads a record of the tables as each kind of record.
///
/// # Panics
/// When a record that was read is not the same after it was written again.
pub fn record(bytes: &Bytes) {
    if let Some(entry) = records::decode_entry(Bytes::from_static(b"key"), bytes.clone()) {
        let Entry { created, modified, .. } = entry;
        assert_eq!(records::encode_entry(&entry), bytes, "{created:?} {modified:?}");
    }
    if let Some(transactions) = records::decode_changes(bytes.clone()) {
        let changes = |keys: Vec<records::Changed>| {
            let value = |deleted: bool| (!deleted).then(Bytes::new);
            keys.into_iter()
                .map(|key| change(key.key, value(key.deleted)))
                .collect()
        };
        let group: Vec<(Revision, Vec<Change>)> = transactions
            .into_iter()
            .map(|(revision, keys)| (revision, changes(keys)))
            .collect();
        assert_eq!(records::encode_changes(&group), bytes, "changes come back as they were");
    }
    if let Some((key, revision)) = records::key_of_history(bytes) {
        assert_eq!(
            records::history_key(&key, revision),
            bytes,
            "a key of the history comes back"
        );
    }
    let _ = records::is_expired(bytes, Revision(5));
    let half = bytes.len() / 2;
    let _ = records::Checkpoint::decode(&bytes[..half], &bytes[half..]);
}
