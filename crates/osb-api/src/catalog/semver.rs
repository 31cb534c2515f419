//! Semantic Versioning 2.0.0: only whether a text is one (OSB-MNT-01).

/// Whether the text is `MAJOR.MINOR.PATCH` with optional pre-release and build parts.
pub(super) fn is_semantic_version(text: &str) -> bool {
    let (text, build) = cut(text, '+');
    let (core, pre_release) = cut(text, '-');
    let mut numbers = core.split('.');
    let three = [numbers.next(), numbers.next(), numbers.next()];
    three.iter().all(|number| number.is_some_and(is_number))
        && numbers.next().is_none()
        && pre_release.is_none_or(|part| part.split('.').all(is_pre_release))
        && build.is_none_or(|part| part.split('.').all(is_identifier))
}

fn cut(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_pre_release(text: &str) -> bool {
    is_identifier(text) && (!text.bytes().all(|byte| byte.is_ascii_digit()) || is_number(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OSB-MNT-01.
    #[test]
    fn semantic_versions_are_recognised() {
        for text in [
            "0.0.0",
            "1.2.3",
            "10.20.30",
            "2.1.1+abcdef",
            "1.0.0-alpha.1",
            "1.0.0--.-",
            "1.0.0-0a",
            "1.0.0-a+b.001",
            "1.0.0+1-2",
        ] {
            assert!(is_semantic_version(text), "{text}");
        }
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.02.3",
            "1.2.03",
            "v1.2.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+a+b",
            "1.2.3 ",
            "1.2.x",
            "-1.2.3",
            "1.2.3-é",
        ] {
            assert!(!is_semantic_version(text), "{text}");
        }
    }
}
