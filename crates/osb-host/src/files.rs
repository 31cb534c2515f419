//! Small files that only this user may read, written whole or not at all.

use std::path::Path;

pub(crate) use apiserver_host::files::{read, write};

use crate::error::HostError;

/// The bytes of a file that somebody has named: it has to be there.
pub(crate) fn read_named(path: &Path) -> Result<Vec<u8>, HostError> {
    read(path)
        .map_err(|source| HostError::file("read", path, source))?
        .ok_or_else(|| HostError::content(path, "does not exist"))
}
