//! Patterns with the meaning of RE2.
//!
//! The regex crate is RE2's grandchild and nearly reads its syntax. The differences are translated: `\d`, `\w`, `\s` and `\b` mean
//! ASCII, inside brackets `[`, `&` and `~` are plain characters, and a brace that begins no repetition is one, too.

use regex::{Regex, RegexBuilder};

/// Most bytes that one compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;

/// A compiled pattern that remembers its text for messages.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) text: String,
    regex: Regex,
}

impl Pattern {
    /// # Errors
    ///
    /// A short reason why it is none.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(&translate(text))
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build()
            .map_err(|e| match e {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                other => other.to_string(),
            })?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => escape(rest, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                open_class(rest, &mut out)
            }
            '[' if rest.starts_with("[:") && rest.contains(":]") => {
                let end = rest.find(":]").map_or(rest.len(), |i| i + 2);
                out.push_str(&rest[..end]);
                end
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                1
            }
            ']' if in_class => {
                in_class = false;
                out.push(c);
                1
            }
            '{' if !in_class && !is_repetition(rest) => {
                out.push_str("\\{");
                1
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// `[`, `[^`, and a bracket right behind them, which is a plain character.
fn open_class(rest: &str, out: &mut String) -> usize {
    let open = if rest.starts_with("[^") { "[^" } else { "[" };
    out.push_str(open);
    if rest[open.len()..].starts_with(']') {
        out.push_str("\\]");
        return open.len() + 1;
    }
    open.len()
}

fn escape(rest: &str, in_class: bool, out: &mut String) -> usize {
    let Some(c) = rest[1..].chars().next() else {
        out.push('\\');
        return 1;
    };
    match c {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        c => {
            out.push('\\');
            out.push(c);
        }
    }
    1 + c.len_utf8()
}

/// Whether a text begins with `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest[1..].split_once('}') else {
        return false;
    };
    let (min, max) = inside.split_once(',').unwrap_or((inside, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !min.is_empty() && digits(min) && digits(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().is_match(text)
    }

    #[test]
    fn classes_mean_ascii() {
        assert!(matches(r"^\d+$", "12") && !matches(r"^\d+$", "١٢"));
        assert!(matches(r"^[\w-]+$", "a_b-1") && !matches(r"^[\w-]+$", "é"));
        assert!(matches(r"^\W$", "é") && matches(r"^[^\W]$", "a"));
        assert!(matches(r"^.$", "é"));
        assert!(matches(r"\bfoo\b", "a foo b"));
    }

    #[test]
    fn brackets_and_braces_are_read_as_re2_reads_them() {
        assert!(matches(r"^[[]$", "[") && matches(r"^[^[]$", "a") && matches(r"^[]a]$", "]"));
        assert!(matches(r"^[a&&b]+$", "&a") && matches(r"^[[:alpha:]]$", "x"));
        assert!(matches(r"^\$\{a{2}\}$", "${aa}") && matches(r"^${x}$|^\{x\}$", "{x}"));
        assert!(matches(r"^{a}$", "{a}") && matches(r"^a{,2}$", "a{,2}"));
    }

    #[test]
    fn usual_patterns_of_names_fit_and_monsters_do_not() {
        assert!(Pattern::new(r"^[\w.-]{1,253}$").is_ok());
        assert!(Pattern::new(r"((.{1000}){1000}){1000}").is_err());
        assert!(Pattern::new("(").is_err() && Pattern::new("\\").is_err() && Pattern::new("a(?=b)").is_err());
    }
}
