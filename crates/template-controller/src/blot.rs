//! Values of parameters do not show in messages, although what an API server refuses is quoted by it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use template::{Origin, Template, Values};

/// Values from this length on are blotted out wherever they stand; shorter ones where they are a word of their own.
const LONG: usize = 8;

/// The most of a message that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Replaces values by the names of their parameters.
#[derive(Clone, Default)]
pub(crate) struct Blot {
    /// What to look for and what to write, the longest first.
    words: Vec<(String, String)>,
}

impl Blot {
    /// Of values that somebody gave or that were generated: defaults stand in the template for everybody to read. `shown` are
    /// names of objects, which everybody sees as well.
    pub(crate) fn new(template: &Template<'_>, values: &Values, shown: &[&str]) -> Self {
        let mut words = Vec::new();
        for value in values
            .iter()
            .filter(|value| value.origin != Origin::Default && !value.value.is_empty())
        {
            let is_default = template
                .parameter(&value.name)
                .is_some_and(|parameter| parameter.value == value.value);
            if is_default || shown.contains(&value.value.as_str()) {
                continue;
            }
            let name = format!("${{{}}}", value.name);
            let quoted = format!("{:?}", value.value);
            let json = serde_json::to_string(&value.value).unwrap_or_default();
            for inner in [&quoted, &json] {
                words.push((inner.trim_matches('"').to_owned(), name.clone()));
            }
            words.push((STANDARD.encode(&value.value), name.clone()));
            words.push((value.value.clone(), name));
        }
        words.retain(|(word, _)| !word.is_empty());
        words.sort_by(|one, other| other.0.len().cmp(&one.0.len()).then_with(|| one.cmp(other)));
        words.dedup();
        Self { words }
    }

    /// The message without values, and of a bounded length.
    pub(crate) fn out(&self, message: &str) -> String {
        let mut text = message.to_owned();
        for (word, name) in &self.words {
            if text.contains(word.as_str()) {
                text = replaced(&text, word, name);
            }
        }
        cut(&text, MAX_MESSAGE_BYTES)
    }
}

fn replaced(text: &str, word: &str, name: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, found) = rest.split_at(at);
        let after = &found[word.len()..];
        out.push_str(before);
        let is_inside = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        let last = before.chars().next_back().or_else(|| out.chars().next_back());
        let is_part = is_inside(last) || is_inside(after.chars().next());
        if word.len() >= LONG || !is_part {
            out.push_str(name);
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The text, or its beginning and three dots.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use template::{Given, SystemRandom, Unknown};

    fn blot(shown: &[&str]) -> Blot {
        let text = r#"{"kind": "Template", "parameters": [{"name": "PASSWORD"}, {"name": "NAME"}, {"name": "N"},
            {"name": "LEVEL", "value": "information"}]}"#;
        let template = &template::document::templates(text).unwrap()[0];
        let given = [("PASSWORD", "s3\"cr3t-word"), ("NAME", "shop"), ("N", "7")];
        let given: Given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Blot::new(
            template,
            &template.resolve(&given, Unknown::Refused, &mut SystemRandom).unwrap(),
            shown,
        )
    }

    #[test]
    fn values_are_replaced_by_their_names_however_they_are_quoted() {
        let blot = blot(&[]);
        let text = r#"spec.x: Invalid value: "s3\"cr3t-word": too long"#;
        assert_eq!(blot.out(text), r#"spec.x: Invalid value: "${PASSWORD}": too long"#);
        assert_eq!(blot.out("xs3\"cr3t-wordy"), "x${PASSWORD}y");
        assert_eq!(
            blot.out(&format!("data: {}", STANDARD.encode("s3\"cr3t-word"))),
            "data: ${PASSWORD}"
        );
        assert_eq!(
            blot.out("replicas 7 of 17, level information"),
            "replicas ${N} of 17, level information"
        );
    }

    #[test]
    fn names_of_objects_are_shown() {
        assert_eq!(
            blot(&["shop"]).out("configmaps \"shop\" exists"),
            "configmaps \"shop\" exists"
        );
        assert_eq!(
            blot(&[]).out("configmaps \"shop\" exists"),
            "configmaps \"${NAME}\" exists"
        );
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(blot(&[]).out(&"ä".repeat(5000)).len(), MAX_MESSAGE_BYTES + 3);
    }
}
