//! What the kernel knows of a process: its CPU time and its memory.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The kernel shows CPU time in ticks of this length on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time that a process has used, user and system; known to 10 ms.
///
/// # Errors
/// When the process is gone.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("/proc/{pid}/stat has another form"))?;
    Ok(TICK * ticks)
}

/// The CPU time of several processes together.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn cpu_of(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| cpu(*pid)).sum()
}

/// The memory that a process holds, in bytes.
///
/// # Errors
/// When the process is gone.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The part of it that is no file: what the process has allocated.
///
/// # Errors
/// When the process is gone.
pub(crate) fn anonymous_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "RssAnon:")
}

fn status_bytes(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let kib = status_kib(&status, name).with_context(|| format!("/proc/{pid}/status has another form"))?;
    Ok(kib * 1024)
}

/// Waits until a process does nothing any more: no tick of CPU time in a quarter of a second.
///
/// # Errors
/// When the process is gone, or still busy after `within`.
pub(crate) fn wait_until_idle(pid: u32, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut before = cpu(pid)?;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(250));
        let now = cpu(pid)?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    bail!("the server is still busy after {} s", within.as_secs())
}

/// The name of the program may hold blanks and parentheses, so the fields are counted from its end on.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let user: u32 = fields.nth(11)?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn status_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_blanks() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 3 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(281));
    }

    #[test]
    fn resident_memory_is_found() {
        let status = "Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t   1234 kB\nRssAnon:\t 56 kB\n";
        assert_eq!(status_kib(status, "VmRSS:"), Some(1234));
        assert_eq!(status_kib(status, "RssAnon:"), Some(56));
        assert_eq!(status_kib("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_both() {
        let pid = std::process::id();
        let (all, allocated) = (resident_bytes(pid).unwrap(), anonymous_bytes(pid).unwrap());
        assert!(all > 100_000 && allocated > 0, "{all} {allocated}");
        cpu(std::process::id()).unwrap();
    }
}
