//! Answers of HTTP/1.1 that are read as they come, however long they are.

use anyhow::{Context as _, Result, bail};

/// Heads are short.
const LONGEST_HEAD: usize = 64 << 10;

/// Where in an answer the next byte belongs.
#[derive(Debug, Default)]
enum At {
    #[default]
    Head,
    /// In a body with so many bytes to come.
    Plain(u64),
    /// In the line with the size of a chunk.
    Size,
    /// In a chunk with so many bytes to come, its CR LF included.
    Chunk(u64),
    /// In the lines behind the last chunk.
    Trailer,
    End,
}

/// Takes an answer apart and keeps nothing of its body.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    at: At,
    line: Vec<u8>,
    status: u16,
}

impl Drain {
    /// The status of the answer, once its head was read.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Reads on; `see` gets the parts of the body. Whether the answer has ended.
    ///
    /// # Errors
    /// For what is no HTTP/1.1 answer, or goes on behind its end.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], see: &mut impl FnMut(&[u8])) -> Result<bool> {
        while !bytes.is_empty() {
            match self.at {
                At::End => bail!("the answer goes on behind its end"),
                At::Plain(left) => {
                    let (part, rest) = first(bytes, left);
                    see(part);
                    bytes = rest;
                    let left = left - part.len() as u64;
                    self.at = if left == 0 { At::End } else { At::Plain(left) };
                }
                At::Chunk(left) => {
                    let (part, rest) = first(bytes, left);
                    // The CR LF behind the data does not belong to the body.
                    let data = usize::try_from(left.saturating_sub(2))
                        .unwrap_or(usize::MAX)
                        .min(part.len());
                    see(&part[..data]);
                    bytes = rest;
                    let left = left - part.len() as u64;
                    self.at = if left == 0 { At::Size } else { At::Chunk(left) };
                }
                At::Head | At::Size | At::Trailer => {
                    let (byte, rest) = bytes.split_first().context("there is a byte")?;
                    bytes = rest;
                    self.line.push(*byte);
                    self.end_line()?;
                }
            }
        }
        Ok(matches!(self.at, At::End))
    }

    fn end_line(&mut self) -> Result<()> {
        if self.line.len() > LONGEST_HEAD {
            bail!("the head of an answer is too long");
        }
        let ends = match self.at {
            At::Head => self.line.ends_with(b"\r\n\r\n"),
            _ => self.line.ends_with(b"\r\n"),
        };
        if !ends {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line)?.trim_end();
        self.at = match self.at {
            At::Head => {
                let status = text.strip_prefix("HTTP/1.1 ").and_then(|text| text.get(..3));
                self.status = status
                    .and_then(|text| text.parse().ok())
                    .context("no answer of HTTP/1.1")?;
                framing(text)?
            }
            At::Size => match u64::from_str_radix(text.split(';').next().unwrap_or_default(), 16)? {
                0 => At::Trailer,
                size => At::Chunk(size.saturating_add(2)),
            },
            _ if text.is_empty() => At::End,
            _ => At::Trailer,
        };
        Ok(())
    }
}

fn first(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len()))
}

fn framing(head: &str) -> Result<At> {
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().context("a length that is no number")?;
            return Ok(if length == 0 { At::End } else { At::Plain(length) });
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return Ok(At::Size);
        }
    }
    bail!("an answer without length")
}

/// The events in a part of a watch: each ends with a line feed of its own, while those of the framing follow a carriage
/// return. `last` is the byte before the part.
pub(crate) fn events(part: &[u8], last: &mut u8) -> u64 {
    let mut count = 0;
    for byte in part {
        count += u64::from(*byte == b'\n' && *last != b'\r');
        *last = *byte;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of an answer that comes in parts of this size.
    fn body(answer: &str, size: usize) -> (u16, String) {
        let (mut drain, mut found, mut ended) = (Drain::default(), Vec::new(), false);
        for part in answer.as_bytes().chunks(size) {
            assert!(!ended);
            ended = drain
                .feed(part, &mut |part: &[u8]| found.extend_from_slice(part))
                .unwrap();
        }
        assert!(ended);
        (drain.status(), String::from_utf8(found).unwrap())
    }

    #[test]
    fn answers_are_read_in_any_parts() {
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n";
        for size in 1..60 {
            assert_eq!(body(plain, size), (200, "hello".to_owned()));
            assert_eq!(body(chunked, size), (201, "hello".to_owned()));
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for wrong in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        ] {
            assert!(
                Drain::default().feed(wrong.as_bytes(), &mut |_: &[u8]| ()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn events_are_told_from_framing() {
        let stream = b"1a\r\n{\"type\":\"ADDED\"}\n\r\n20\r\n{\"a\":\"\\n\"}\n{}\n\r\n";
        for size in 1..stream.len() {
            let mut last = 0;
            let count: u64 = stream.chunks(size).map(|part| events(part, &mut last)).sum();
            assert_eq!(count, 3);
        }
    }
}
