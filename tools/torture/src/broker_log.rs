//! What a broker under torture writes on stderr.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// So much of its end is shown.
const TAIL_BYTES: usize = 4_000;

/// A file that every process of the broker appends to.
pub(crate) struct BrokerLog(PathBuf);

impl BrokerLog {
    /// The log in a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self(folder.join("broker.log"))
    }

    /// The file, for a process.
    pub(crate) fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.0)
    }

    /// The end of the log.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read(&self.0).unwrap_or_default();
        let begin = text.len().saturating_sub(TAIL_BYTES);
        format!("the end of its log:\n{}", String::from_utf8_lossy(&text[begin..]))
    }

    /// Lines of the log that tell of a defect, and the log is emptied.
    pub(crate) fn take_panics(&self) -> io::Result<Vec<String>> {
        let text = fs::read(&self.0).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let tells = |line: &&str| line.contains("panicked at") || line.contains("broke down while");
        let panics = text.lines().filter(tells).map(str::to_owned).collect();
        // The broker appends, so it goes on at the new end.
        File::options().write(true).truncate(true).open(&self.0)?;
        Ok(panics)
    }
}
