//! Taking an input apart.

use std::str;

/// A line that parts an input.
const BETWEEN: &[u8] = b"\n----\n";

/// The parts of an input between lines of four hyphens, at most so many; the last one has the rest.
pub(crate) fn parts(data: &[u8], most: usize) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while parts.len() + 1 < most {
        let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) else {
            break;
        };
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// The parts as texts; `None` when one of them is none.
pub(crate) fn texts(data: &[u8], most: usize) -> Option<Vec<&str>> {
    let text = str::from_utf8(data).ok()?;
    let parts = parts(text.as_bytes(), most);
    parts.into_iter().map(|part| str::from_utf8(part).ok()).collect()
}

/// A small number that depends on every byte.
pub(crate) fn choice(text: &str, of: u8) -> u8 {
    let sum = text
        .bytes()
        .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    sum % of.max(1)
}
