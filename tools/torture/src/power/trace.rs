//! What `strace` wrote down of a process: its calls on files, in the order in which they ended.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};

/// The calls that are written down: all that change files, or what a number of a file means, and those that would have
/// to be understood if anybody used them.
pub(crate) const CALLS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "creat",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "lseek",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "truncate",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "fsync",
    "fdatasync",
    "sync",
    "syncfs",
    "sync_file_range",
    "mmap",
    "copy_file_range",
    "sendfile",
    "splice",
    "io_uring_setup",
    "execve",
];

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    /// What it returned; negative for an error.
    pub(crate) result: i64,
    /// Places in the order of all beginnings and ends.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// When it ended, in nanoseconds since 1970.
    pub(crate) nanos: u64,
}

/// A call that has begun.
struct Begun {
    at: u64,
    text: String,
}

/// Reads what one process did. `places` goes on from one process to the next.
///
/// # Errors
/// For lines that are not understood.
pub(crate) fn read(text: &str, places: &mut u64) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    let mut open: HashMap<&str, Begun> = HashMap::new();
    for line in text.lines() {
        *places += 1;
        let call =
            read_line(line, *places, &mut open).with_context(|| format!("not understood: {}", start_of(line)))?;
        calls.extend(call);
    }
    Ok(calls)
}

/// Whether the process has ended and everything of it is written down.
pub(crate) fn is_whole(text: &str) -> bool {
    let last = text.lines().next_back().unwrap_or_default();
    text.ends_with('\n') && last.contains(" +++ ") && last.ends_with("+++")
}

fn start_of(line: &str) -> String {
    line.chars().take(200).collect()
}

fn read_line<'a>(line: &'a str, place: u64, open: &mut HashMap<&'a str, Begun>) -> Result<Option<Call>> {
    let (process, rest) = line.split_once(' ').context("no process")?;
    let (time, rest) = rest.trim_start().split_once(' ').context("no time")?;
    let nanos = nanos(time).context("no time")?;
    let rest = rest.trim_start();
    if rest.starts_with("+++") || rest.starts_with("---") {
        return Ok(None);
    }
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (_, tail) = resumed.split_once(" resumed>").context("what is resumed?")?;
        // A close counts from its beginning, since the number is free from then on.
        let Some(Begun { at, text }) = open.remove(process) else {
            return Ok(None);
        };
        return whole(&format!("{text}{tail}"), (at, place), Some(nanos), nanos);
    }
    if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
        if begun.starts_with("close(") {
            return whole(
                &format!("{}) = 0 <0.0>", begun.trim_end()),
                (place, place),
                Some(nanos),
                nanos,
            );
        }
        let begun = Begun {
            at: place,
            text: begun.trim_end().to_owned(),
        };
        open.insert(process, begun);
        return Ok(None);
    }
    whole(rest, (place, place), None, nanos)
}

/// A line with a whole call. It ended at `end`, or as long after `begin` as it says.
fn whole(text: &str, (began, ended): (u64, u64), end: Option<u64>, begin: u64) -> Result<Option<Call>> {
    let (name, rest) = text.split_once('(').context("no call")?;
    let (args, result) = rest.rsplit_once(" = ").context("no result")?;
    // Without a result the process ended in the call.
    let result = result.trim();
    if result.starts_with('?') {
        return Ok(None);
    }
    let args = args.trim_end().strip_suffix(')').context("no end of the arguments")?;
    let (number, rest) = result.split_once(' ').unwrap_or((result, ""));
    let number = match number.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap_or(i64::MAX),
        None => number.parse().with_context(|| format!("the result {number:?}"))?,
    };
    let took = || {
        let (_, took) = rest.rsplit_once('<')?;
        nanos(took.strip_suffix('>')?)
    };
    let nanos = match end {
        Some(end) => end,
        None => begin + took().context("how long did it take?")?,
    };
    Ok(Some(Call {
        name: name.to_owned(),
        args: split(args),
        result: number,
        began,
        ended,
        nanos,
    }))
}

/// Seconds with a fraction, as nanoseconds.
fn nanos(text: &str) -> Option<u64> {
    let (secs, fraction) = text.split_once('.')?;
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let secs: u64 = secs.parse().ok()?;
    secs.checked_mul(1_000_000_000)?.checked_add(fraction.parse().ok()?)
}

/// Arguments, which commas separate that stand in no brackets. Texts have no commas: every byte is a number in them.
fn split(args: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_u32, 0);
    for (index, byte) in args.bytes().enumerate() {
        match byte {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(args[from..index].trim().to_owned());
                from = index + 1;
            }
            _ => {}
        }
    }
    parts.push(args[from..].trim().to_owned());
    parts
}

/// The bytes of a text, which must be whole.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>> {
    let inner = text.strip_prefix('"').context("no text")?;
    let Some(inner) = inner.strip_suffix('"') else {
        bail!("a text that is not whole");
    };
    let mut bytes = Vec::with_capacity(inner.len() / 4);
    for code in inner.as_bytes().chunks(4) {
        let [b'\\', b'x', high, low] = code else {
            bail!("a text of something else than numbers");
        };
        let digit = |byte: &u8| char::from(*byte).to_digit(16).context("no number in a text");
        bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?)?);
    }
    Ok(bytes)
}

/// All bytes of a list of buffers.
pub(crate) fn buffers(list: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for part in list.split("iov_base=").skip(1) {
        let end = part.find(['}', ',']).context("a buffer without an end")?;
        all.extend(bytes(&part[..end])?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_in_the_order_of_their_ends() {
        let text = concat!(
            "7 100.000000001 openat(AT_FDCWD, \"\\x61\\x2c\", O_RDWR|O_CREAT, 0600) = 3 <0.000000009>\n",
            "7 100.100000000 write(3, \"\\x00\\xff\", 2 <unfinished ...>\n",
            "8 100.200000000 fdatasync(3)            = 0 <0.000005000>\n",
            "9 100.250000000 close(4 <unfinished ...>\n",
            "7 100.300000000 <... write resumed>)    = 2 <0.200000000>\n",
            "9 100.350000000 <... close resumed>)    = 0 <0.100000000>\n",
            "8 100.400000000 rename(\"\\x61\", \"\\x62\") = -1 ENOENT (No such file or directory) <0.000001000>\n",
            "8 100.500000000 --- SIGTERM {si_signo=SIGTERM} ---\n",
            "8 100.600000000 fsync(3)                = ?\n",
            "8 100.700000000 +++ killed by SIGKILL +++\n",
        );
        let mut places = 0;
        let calls = read(text, &mut places).unwrap();
        let seen: Vec<_> = calls
            .iter()
            .map(|call| (call.name.as_str(), call.result, call.began, call.ended, call.nanos))
            .collect();
        assert_eq!(
            seen,
            [
                ("openat", 3, 1, 1, 100_000_000_010),
                ("fdatasync", 0, 3, 3, 100_200_005_000),
                ("close", 0, 4, 4, 100_250_000_000),
                ("write", 2, 2, 5, 100_300_000_000),
                ("rename", -1, 7, 7, 100_400_001_000),
            ]
        );
        assert_eq!(bytes(&calls[0].args[1]).unwrap(), b"a,");
        assert_eq!(bytes(&calls[3].args[1]).unwrap(), [0, 255]);
        assert!(is_whole(text) && !is_whole(&text[..300]));
    }

    #[test]
    fn a_text_that_was_cut_short_is_an_error() {
        assert!(bytes("\"\\x61\"...").is_err());
        let list = "[{iov_base=\"\\x61\\x62\", iov_len=2}, {iov_base=\"\\x63\", iov_len=1}]";
        assert_eq!(buffers(list).unwrap(), b"abc");
    }
}
