//! The requirements that a comment names.
//!
//! `OSB-PROV-09`; further ones of the same part as `, -12`; and ranges, `OSB-SVC-01 to -13`.

/// Each requirement that is named, in the order of the text.
pub(super) fn of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("OSB-") {
        rest = &rest[start + "OSB-".len()..];
        let Some((part, number, after)) = whole(rest) else {
            continue;
        };
        found.push(id(part, number));
        rest = more(&mut found, part, number, after);
    }
    found
}

fn id(part: &str, number: u32) -> String {
    format!("OSB-{part}-{number:02}")
}

/// `PROV-09`, and what follows.
fn whole(text: &str) -> Option<(&str, u32, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_uppercase())?;
    let (part, rest) = text.split_at(end);
    let (number, rest) = number(rest.strip_prefix('-')?)?;
    (!part.is_empty()).then_some((part, number, rest))
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    // Numbers have two digits; `OSB-X-2019` is something else.
    (digits.len() == 2)
        .then(|| digits.parse().ok())
        .flatten()
        .map(|number| (number, rest))
}

/// What a requirement is followed by: `, -12` and ` to -13`, any number of times.
fn more<'a>(found: &mut Vec<String>, part: &str, mut last: u32, mut rest: &'a str) -> &'a str {
    loop {
        let ranged = [" to -", " to OSB-"].iter().find_map(|word| rest.strip_prefix(word));
        if let Some(after) = ranged {
            let after = after
                .strip_prefix(part)
                .and_then(|after| after.strip_prefix('-'))
                .unwrap_or(after);
            let Some((end, after)) = number(after) else { return rest };
            found.extend((last + 1..=end).map(|number| id(part, number)));
            (last, rest) = (end, after);
        } else if let Some((next, after)) = listed(rest) {
            found.push(id(part, next));
            (last, rest) = (next, after);
        } else {
            return rest;
        }
    }
}

fn listed(text: &str) -> Option<(u32, &str)> {
    let text = [", -", ", and -", " and -"]
        .iter()
        .find_map(|word| text.strip_prefix(word))?;
    number(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_listed_and_ranged_ones_are_read() {
        assert_eq!(of("as OSB-PROV-09 says"), ["OSB-PROV-09"]);
        assert_eq!(of("OSB-A-01, OSB-B-02."), ["OSB-A-01", "OSB-B-02"]);
        assert_eq!(of("OSB-A-01, -03, -05: why"), ["OSB-A-01", "OSB-A-03", "OSB-A-05"]);
        assert_eq!(
            of("OSB-A-01 to -03, -07"),
            ["OSB-A-01", "OSB-A-02", "OSB-A-03", "OSB-A-07"]
        );
        assert_eq!(of("OSB-A-01 to OSB-A-02"), ["OSB-A-01", "OSB-A-02"]);
        assert_eq!(of("OSB-A-01, Amb-3, -4"), ["OSB-A-01"]);
        for nothing in [
            "OSB-",
            "OSB-A",
            "OSB-A-",
            "OSB-A-1",
            "OSB-A-123",
            "OSB-a-01",
            "an OSB-broker",
        ] {
            assert_eq!(of(nothing), [""; 0], "{nothing}");
        }
    }
}
