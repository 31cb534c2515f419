//! What the disk can do: the same folder, the same minute, no broker.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use loadgen::histogram::Histogram;

const WRITES: usize = 500;

/// Appends 4 KiB and waits for `fdatasync`, many times: how long one takes.
pub(crate) fn fdatasync(folder: &Path) -> Result<(Duration, Duration)> {
    let path = folder.join("probe");
    let mut file = File::create(&path)?;
    let mut times = Histogram::default();
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.record(begun.elapsed());
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok((times.quantile(500), times.quantile(990)))
}
