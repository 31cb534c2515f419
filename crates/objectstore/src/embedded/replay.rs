//! Reads the log that a process left behind, and tells a torn end from damage.
//!
//! The last group may be torn: cut short, or partly written in any order of its sectors. It had not been acknowledged,
//! and is left out. Everything else that cannot be read is damage, and the store is not opened: a bad frame that is
//! followed by a whole one (which was written only after the sync of the one before), by another segment, or by
//! nothing although later revisions had been acknowledged.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::OpenError;
use super::frame::{Frame, SEGMENT_HEADER, Segment, holds_a_frame};
use super::log;
use crate::Revision;

/// A segment file, by its name.
#[derive(Clone, Debug)]
struct Found {
    number: u64,
    nonce: u64,
    path: PathBuf,
}

/// What the log had to say.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// The newest revision, of the log or of the tables.
    pub(super) last: Revision,
    /// The number for the next segment.
    pub(super) next_number: u64,
    /// The files that have been read, oldest first.
    pub(super) files: Vec<PathBuf>,
}

/// Reads the log and gives each frame that may go beyond `applied` to `visit`, oldest first.
pub(super) fn read(
    folder: &Path,
    applied: Revision,
    acked: Revision,
    mut visit: impl FnMut(&Frame) -> Result<(), OpenError>,
) -> Result<Replayed, OpenError> {
    let segments = list(folder)?;
    let mut reader = Reader {
        folder,
        applied,
        last: None,
        chain: None,
    };
    for found in &segments {
        reader.segment(found, &mut visit)?;
    }
    let last = reader.last.unwrap_or(applied).max(applied);
    if last < acked {
        let end = match segments.last().and_then(|found| found.path.file_name()) {
            Some(name) => format!("its last segment {}", name.display()),
            None => "it has no segment and".to_owned(),
        };
        let what = format!(
            "{end} ends at revision {}, but revision {} was acknowledged",
            last.0, acked.0
        );
        return Err(OpenError::corrupt(folder, what));
    }
    let next_number = segments.last().map_or(1, |found| found.number + 1);
    Ok(Replayed {
        last,
        next_number,
        files: segments.into_iter().map(|found| found.path).collect(),
    })
}

fn list(folder: &Path) -> Result<Vec<Found>, OpenError> {
    let wrap = |source| OpenError::io(folder, source);
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrap)? {
        let entry = entry.map_err(wrap)?;
        let name = entry.file_name();
        if log::is_unused(&name) {
            continue;
        }
        let Some((number, nonce)) = name.to_str().and_then(Segment::parse_file_name) else {
            return Err(OpenError::Foreign {
                path: folder.to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        };
        segments.push(Found {
            number,
            nonce,
            path: entry.path(),
        });
    }
    segments.sort_by_key(|found| found.number);
    Ok(segments)
}

struct Reader<'a> {
    folder: &'a Path,
    applied: Revision,
    /// The last revision read so far.
    last: Option<Revision>,
    chain: Option<u32>,
}

impl Reader<'_> {
    fn segment(
        &mut self,
        found: &Found,
        visit: &mut impl FnMut(&Frame) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let bytes = fs::read(&found.path).map_err(|source| OpenError::io(&found.path, source))?;
        let bytes = Bytes::from(bytes);
        let Some(header) = Segment::decode(&bytes, found.number, found.nonce) else {
            // Headers are synced before the file gets its name.
            return Err(self.damage(found, 0, "its header is damaged"));
        };
        self.check_continues(found, &header)?;
        self.last
            .get_or_insert_with(|| Revision(header.first.0.saturating_sub(1)));
        self.chain = Some(header.chain);
        let mut position = SEGMENT_HEADER;
        while let Some(frame) = Frame::decode(&bytes.slice(position..), found.nonce) {
            self.frame(found, position, &frame)?;
            if frame.last() >= self.applied {
                visit(&frame)?;
            }
            position += frame.len();
        }
        let rest = bytes.slice((position + 1).min(bytes.len())..);
        if holds_a_frame(&rest, found.nonce) {
            return Err(self.damage(found, position, "a group is damaged, and later ones follow"));
        }
        Ok(())
    }

    /// A segment goes on where the one before ended; the first one where the tables end, or before.
    fn check_continues(&self, found: &Found, header: &Segment) -> Result<(), OpenError> {
        let whole = match (self.last, self.chain) {
            (Some(last), Some(chain)) => header.first.0 == last.0 + 1 && header.chain == chain,
            _ => header.first.0 <= self.applied.0 + 1,
        };
        if whole {
            Ok(())
        } else {
            Err(self.damage(found, 0, "what should precede it is damaged or missing"))
        }
    }

    fn frame(&mut self, found: &Found, position: usize, frame: &Frame) -> Result<(), OpenError> {
        let expected = self.last.map_or(1, |last| last.0 + 1);
        if frame.first.0 != expected || self.chain != Some(frame.chain) {
            return Err(self.damage(found, position, "a group is missing before it"));
        }
        if frame.oldest > frame.last() {
            return Err(self.damage(found, position, "its history starts in the future"));
        }
        self.last = Some(frame.last());
        self.chain = Some(frame.crc);
        Ok(())
    }

    fn damage(&self, found: &Found, position: usize, what: &str) -> OpenError {
        let name = found.path.file_name().unwrap_or_default().to_string_lossy();
        OpenError::corrupt(self.folder, format!("segment {name} at byte {position}: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decide::Change;
    use crate::embedded::disk::OsDisk;
    use crate::embedded::frame::Encoder;

    /// A log of six groups in three segments.
    fn write(folder: &Path) -> Vec<PathBuf> {
        let mut writer = log::Writer::new(folder.to_owned(), Arc::new(OsDisk), 300, 1);
        for revision in 1..=6 {
            let mut frame = Encoder::new(Vec::new());
            let value = Some(Bytes::from(vec![b'v'; 60]));
            frame.push(&[Change {
                key: Bytes::from("key"),
                value,
                previous: None,
            }]);
            writer.append(&mut frame, Revision(revision), Revision(0)).unwrap();
        }
        let segments: Vec<_> = list(folder).unwrap().into_iter().map(|found| found.path).collect();
        assert_eq!(segments.len(), 3);
        segments
    }

    fn last(folder: &Path, applied: u64) -> Option<u64> {
        match read(folder, Revision(applied), Revision(0), |_| Ok(())) {
            Ok(replayed) => Some(replayed.last.0),
            Err(OpenError::Corrupt { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn segments_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let segments = write(folder.path());
        assert_eq!(last(folder.path(), 0), Some(6));
        assert!(
            read(folder.path(), Revision(0), Revision(7), |_| Ok(())).is_err(),
            "the end is missing"
        );
        // What lies in the tables already may have been removed.
        fs::remove_file(&segments[0]).unwrap();
        assert_eq!(last(folder.path(), 2), Some(6));
        assert_eq!(last(folder.path(), 4), Some(6));
        assert_eq!(last(folder.path(), 1), None, "revision 2 is missing");
    }

    #[test]
    fn a_missing_segment_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let segments = write(folder.path());
        fs::remove_file(&segments[1]).unwrap();
        for applied in [0, 4, 6] {
            assert_eq!(last(folder.path(), applied), None);
        }
    }

    #[test]
    fn history_cannot_start_in_the_future() {
        for (oldest, wanted) in [(1, Some(1)), (2, None)] {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = log::Writer::new(folder.path().to_owned(), Arc::new(OsDisk), 300, 1);
            let mut frame = Encoder::new(Vec::new());
            frame.push(&[]);
            writer.append(&mut frame, Revision(1), Revision(oldest)).unwrap();
            assert_eq!(last(folder.path(), 0), wanted);
        }
    }

    #[test]
    fn only_the_last_segment_may_have_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let segments = write(folder.path());
        for (index, segment) in segments.iter().enumerate() {
            let bytes = fs::read(segment).unwrap();
            let mut torn = bytes.clone();
            let second = SEGMENT_HEADER + (36 + 2 + 1 + 4 + 3 + 4 + 60);
            torn[second + 50] ^= 1;
            fs::write(segment, torn).unwrap();
            assert_eq!(last(folder.path(), 0), (index == 2).then_some(5), "segment {index}");
            fs::write(segment, bytes).unwrap();
        }
    }
}
