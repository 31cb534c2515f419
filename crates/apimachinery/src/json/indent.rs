//! JSON for people.

/// Appends a JSON text with two spaces for each level, as Go's encoder writes it: empty lists and objects stay on one
/// line. `json` is taken to be valid; whitespace between its tokens does not count.
///
/// Returns false, with `out` cut off somewhere, when it would become longer than `limit` bytes: a deeply nested text
/// may become a hundred times as long.
pub fn indent(json: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
    let mut indenter = Indenter { out, depth: 0 };
    let mut rest = json.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'{' | b'[' => {
                indenter.out.push(byte);
                while rest.next_if(u8::is_ascii_whitespace).is_some() {}
                match rest.next_if(|next| matches!(next, b'}' | b']')) {
                    Some(end) => indenter.out.push(end),
                    None => indenter.line(1),
                }
            }
            b'}' | b']' => {
                indenter.line(-1);
                indenter.out.push(byte);
            }
            b',' => {
                indenter.out.push(byte);
                indenter.line(0);
            }
            b':' => indenter.out.extend_from_slice(b": "),
            b'"' => {
                indenter.out.push(byte);
                string(&mut rest, indenter.out);
            }
            _ => indenter.out.push(byte),
        }
        if indenter.out.len() > limit {
            return false;
        }
    }
    true
}

struct Indenter<'o> {
    out: &'o mut Vec<u8>,
    depth: usize,
}

impl Indenter<'_> {
    /// Begins a line, so many levels deeper.
    fn line(&mut self, deeper: isize) {
        self.depth = self.depth.saturating_add_signed(deeper);
        self.out.push(b'\n');
        self.out.resize(self.out.len() + 2 * self.depth, b' ');
    }
}

/// Copies a string behind its opening quote, up to and with the closing one.
fn string(rest: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    while let Some(byte) = rest.next() {
        out.push(byte);
        match byte {
            b'"' => return,
            b'\\' => out.extend(rest.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indented(json: &str) -> String {
        let mut out = Vec::new();
        assert!(indent(json.as_bytes(), 1000, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_member_has_a_line_of_its_own() {
        let value = serde_json::json!({"a": [1, {"b": "x,{}\\\"y"}, []], "c": {}, "d": null, "e": [[-1.5e3]]});
        assert_eq!(
            indented(&value.to_string()),
            serde_json::to_string_pretty(&value).unwrap()
        );
        assert_eq!(indented("{ \"a\" :\n[ ] }"), "{\n  \"a\": []\n}");
        assert_eq!(indented("\"\""), "\"\"");
    }

    #[test]
    fn what_becomes_too_long_is_given_up() {
        let nested = "[".repeat(100) + &"1,".repeat(99) + "1" + &"]".repeat(100);
        assert!(!indent(nested.as_bytes(), 10_000, &mut Vec::new()));
    }

    #[test]
    fn broken_text_is_copied_without_a_panic() {
        for text in ["", "\"", "\"\\", "}]", "{", "[,"] {
            indent(text.as_bytes(), 1000, &mut Vec::new());
        }
    }
}
