//! Writes the log: segments that are allocated ahead and used again, one frame for each group.
//!
//! A frame is synced before the next one is written, so that only the last one can be torn.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, is_full, sync_folder};
use super::frame::{Encoder, SEGMENT_HEADER, Segment};
use crate::Revision;

/// An old segment on its way to be the spare file. The thread that discards segments owns this name.
const RETIRED: &str = "retired";

/// A file that waits to become a segment: put there by one thread, taken by the other, by renaming.
const SPARE: &str = "spare";

/// A file that is being made a segment. The thread that writes the log owns this name.
const NEXT: &str = "next";

/// Whether a file of that name is no part of the log, and means nothing after a crash.
pub(super) fn is_unused(name: &std::ffi::OsStr) -> bool {
    [RETIRED, SPARE, NEXT].iter().any(|unused| name == *unused)
}

/// Why a frame is not in the log.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There is no room for the frame, or for a further segment; the log is as it was.
    NoRoom(io::Error),
    /// Nobody knows what is on the disk.
    Broken(io::Error),
}

/// A segment that takes no further frames.
#[derive(Debug)]
pub(super) struct Sealed {
    path: PathBuf,
    /// The last revision in it.
    pub(super) last: Revision,
}

/// The end of the log.
pub(super) struct Writer {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    open: Option<Open>,
    next_number: u64,
    chain: u32,
}

struct Open {
    file: File,
    path: PathBuf,
    nonce: u64,
    position: u64,
}

impl Writer {
    /// Goes on with a new segment, once there is something to write.
    pub(super) fn new(folder: PathBuf, disk: Arc<dyn Disk>, segment_bytes: u64, next_number: u64) -> Self {
        Self {
            folder,
            disk,
            segment_bytes,
            open: None,
            next_number,
            chain: 0,
        }
    }

    /// Appends a frame whose transactions start at `first`, and syncs it. Gives the segment that was full, if one was.
    pub(super) fn append(
        &mut self,
        frame: &mut Encoder,
        first: Revision,
        oldest: Revision,
    ) -> Result<Option<Sealed>, AppendError> {
        let mut sealed = None;
        let fits = |open: &Open| open.position + frame.len() as u64 <= self.segment_bytes;
        if !self.open.as_ref().is_some_and(fits) {
            // The new segment first: without room for it the old one stays, and is not forgotten.
            let next = self.start_segment(first)?;
            sealed = self.seal(Revision(first.0 - 1));
            self.open = Some(next);
        }
        let Some(open) = &mut self.open else {
            unreachable!("a segment was started above")
        };
        let (bytes, crc) = frame.finish(open.nonce, first, self.chain, oldest);
        write_frame(&open.file, bytes, open.position)?;
        self.disk.sync(&open.file).map_err(AppendError::Broken)?;
        open.position += bytes.len() as u64;
        self.chain = crc;
        Ok(sealed)
    }

    /// Ends the current segment, whose last revision is given.
    pub(super) fn seal(&mut self, last: Revision) -> Option<Sealed> {
        self.open.take().map(|open| Sealed { path: open.path, last })
    }

    fn start_segment(&mut self, first: Revision) -> Result<Open, AppendError> {
        let nonce = random();
        let number = self.next_number;
        let path = self.folder.join(Segment::file_name(number, nonce));
        // Room first: without it the log stays as it is.
        let file = allocate(&self.folder, self.segment_bytes).map_err(AppendError::NoRoom)?;
        let header = Segment {
            number,
            nonce,
            first,
            chain: self.chain,
        }
        .encode();
        let publish = || {
            file.write_all_at(&header, 0)?;
            file.sync_all()?;
            fs::rename(self.folder.join(NEXT), &path)?;
            sync_folder(&self.folder)
        };
        publish().map_err(AppendError::Broken)?;
        self.next_number += 1;
        Ok(Open {
            file,
            path,
            nonce,
            position: SEGMENT_HEADER as u64,
        })
    }
}

/// Writes all of a frame, or nothing that could be taken for one: a full disk may have taken its beginning, which the
/// next frame overwrites.
fn write_frame(file: &File, bytes: &[u8], position: u64) -> Result<(), AppendError> {
    const NO_FRAME: [u8; 4] = [0; 4];
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], position + written as u64) {
            Ok(0) => return Err(AppendError::Broken(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_full(&error) && (written == 0 || file.write_all_at(&NO_FRAME, position).is_ok()) => {
                return Err(AppendError::NoRoom(error));
            }
            Err(error) => return Err(AppendError::Broken(error)),
        }
    }
    Ok(())
}

/// Takes the spare file or makes one, with all its blocks allocated, under the name `NEXT`.
fn allocate(folder: &Path, bytes: u64) -> io::Result<File> {
    let path = folder.join(NEXT);
    match fs::rename(folder.join(SPARE), &path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    let enough = file.metadata()?.len() >= bytes;
    let allocated = match enough {
        true => Ok(()),
        false => match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // Some file systems cannot; then blocks are allocated as they are written.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => result,
        },
    };
    if let Err(error) = allocated {
        // What was allocated of it is of better use elsewhere.
        let _ = fs::remove_file(&path);
        return Err(error.into());
    }
    Ok(file)
}

/// Removes segments whose contents lie in the tables, oldest first; one is kept to be used again. What is left of them
/// after an error is to be removed before any later one: the log must not get a gap.
pub(super) fn discard(folder: &Path, segments: &mut Vec<Sealed>) -> io::Result<()> {
    while let Some(segment) = segments.first() {
        match discard_one(folder, &segment.path) {
            // Gone since an earlier try.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => segments.remove(0),
        };
    }
    Ok(())
}

fn discard_one(folder: &Path, segment: &Path) -> io::Result<()> {
    let spare = folder.join(SPARE);
    if spare.try_exists()? {
        return fs::remove_file(segment);
    }
    // Its old name must be gone for good before it gets a new content.
    fs::rename(segment, folder.join(RETIRED))?;
    sync_folder(folder)?;
    fs::rename(folder.join(RETIRED), &spare)
}

/// A number that nobody can guess: the keys of the standard hasher come from the system's random source.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two threads meet here: one makes a segment of a file while the other retires an old segment.
    #[test]
    fn a_segment_that_is_retired_does_not_get_in_the_way_of_one_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old");
        fs::write(&path, "old").unwrap();
        let file = allocate(folder.path(), 100).unwrap();
        discard(
            folder.path(),
            &mut vec![Sealed {
                path,
                last: Revision(1),
            }],
        )
        .unwrap();
        file.write_all_at(b"new", 0).unwrap();
        assert!(fs::read(folder.path().join(NEXT)).unwrap().starts_with(b"new"));
        assert!(fs::read(folder.path().join(SPARE)).unwrap().starts_with(b"old"));
        let file = allocate(folder.path(), 2).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3, "the spare is used");
        assert!(!folder.path().join(SPARE).exists());
    }

    /// The real answer of a full disk.
    #[test]
    fn a_frame_for_which_there_is_no_room_leaves_the_log_as_it_was() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let refused = write_frame(&full, b"frame", 40);
        assert!(matches!(refused, Err(AppendError::NoRoom(_))), "{refused:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        fs::write(&path, "").unwrap();
        let read_only = File::open(&path).unwrap();
        let broken = write_frame(&read_only, b"frame", 40);
        assert!(matches!(broken, Err(AppendError::Broken(_))), "{broken:?}");
    }

    #[test]
    fn a_full_segment_is_not_forgotten_when_there_is_no_room_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(crate::embedded::OsDisk);
        let mut log = Writer::new(folder.path().to_owned(), disk, 100, 1);
        let append = |log: &mut Writer, first| {
            let mut frame = Encoder::new(Vec::new());
            frame.push(&[]);
            log.append(&mut frame, Revision(first), Revision(0))
        };
        // One frame fits.
        assert!(append(&mut log, 1).unwrap().is_none());
        // Nothing can be made in a folder that is gone.
        let away = folder.path().with_extension("away");
        fs::rename(folder.path(), &away).unwrap();
        let refused = append(&mut log, 2);
        assert!(matches!(refused, Err(AppendError::NoRoom(_))), "{refused:?}");
        fs::rename(&away, folder.path()).unwrap();
        let sealed = append(&mut log, 2).unwrap().expect("the full one");
        assert_eq!(sealed.last, Revision(1));
    }
}
