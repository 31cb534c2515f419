//! What the engine asks of the operating system and tests want to answer for it.

use std::fs::File;
use std::io;
use std::path::Path;

/// The part of the disk whose failures cannot be brought about at will.
pub trait Disk: Send + Sync + 'static {
    /// How many bytes can still be written below a folder.
    ///
    /// # Errors
    ///
    /// When the folder cannot be asked, or its file system takes no writes ([`io::ErrorKind::ReadOnlyFilesystem`]).
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;

    /// Makes durable what was written to the file (`fdatasync`).
    ///
    /// # Errors
    ///
    /// When the operating system says that this failed; then nobody knows what is on the disk.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(folder)?;
        if status.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a failure means that there is no room, which may pass.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        StorageFull | QuotaExceeded | ReadOnlyFilesystem | FileTooLarge
    )
}
