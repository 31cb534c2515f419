//! Values of parameters from the command line and from files.

use std::collections::BTreeMap;

use ::template::Given;
use anyhow::{Result, bail};

use crate::Usage;

/// The values of `NAME=VALUE` words. Says no value.
pub(super) fn words<'w>(words: impl Iterator<Item = &'w String>) -> Result<Given> {
    let mut given = Given::new();
    for (position, word) in words.enumerate() {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_name(name)) else {
            let what = format!(
                "value {} is not NAME=VALUE with a NAME of letters, digits and _",
                position + 1
            );
            return Err(Usage(what).into());
        };
        if given.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Usage(format!("{name} is given more than once; leave one out")).into());
        }
    }
    Ok(given)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(template::reference::is_name_byte)
}

/// The values of a file: a line `NAME=VALUE` for each, comments with `#`, and quotes around values with line breaks.
///
/// In double quotes `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are escapes; in single quotes there are none. Without quotes spaces at the
/// end and what follows ` #` do not belong to the value. `export` in front is passed over. Of a name that comes twice the last
/// value counts. Errors name the line and quote nothing.
pub(super) fn file(text: &str) -> Result<Given> {
    let mut given = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (head, _) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = head.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = &rest[(head.len() + 1).min(rest.len())..];
            line += 1;
            continue;
        }
        let Some((name, _)) = head.split_once('=') else {
            bail!("line {line} is not NAME=VALUE");
        };
        let start = name.len() + 1;
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if !is_name(name) {
            bail!("line {line} has a name that is not of letters, digits and _");
        }
        let Some((value, length)) = value(&rest[start..]) else {
            bail!("line {line} has a quote that is not closed, or text behind it");
        };
        given.insert(name.to_owned(), value);
        line += rest[..start + length].matches('\n').count();
        rest = &rest[start + length..];
    }
    Ok(given)
}

/// The value at the start of a text, and how much of the text it takes with the end of its line.
fn value(text: &str) -> Option<(String, usize)> {
    let spaces = text.len() - text.trim_start_matches([' ', '\t']).len();
    let inner = &text[spaces..];
    let (value, length) = match inner.chars().next() {
        Some('\'') => {
            let end = inner[1..].find('\'')?;
            (inner[1..=end].to_owned(), end + 2)
        }
        Some('"') => double_quoted(inner)?,
        _ => {
            let end = inner.find('\n').unwrap_or(inner.len());
            let line = &inner[..end];
            let comment = line.find(" #").unwrap_or(line.len());
            let value = line[..comment].trim_end();
            return Some((value.to_owned(), spaces + (end + 1).min(inner.len())));
        }
    };
    let behind = &inner[length..];
    let end = behind.find('\n').unwrap_or(behind.len());
    let comment = behind[..end].trim();
    if !comment.is_empty() && !comment.starts_with('#') {
        return None;
    }
    Some((value, spaces + length + (end + 1).min(behind.len())))
}

/// What stands in double quotes, and how long it is with them.
fn double_quoted(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' => match characters.next()?.1 {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                c @ ('"' | '\\' | '$') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_value_on_each_line() {
        let text = "# comment\n\nA=1\nexport B = two words # comment\nC='a\nb # $x'\nD=\"q\\\"\\n\\$\\\\ \\d\" # comment\nE=\nF=a=b#c\r\nA=last";
        let given = file(text).unwrap();
        let expected = [
            ("A", "last"),
            ("B", "two words"),
            ("C", "a\nb # $x"),
            ("D", "q\"\n$\\ \\d"),
            ("E", ""),
            ("F", "a=b#c"),
        ];
        assert_eq!(
            given,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        );
        assert!(file("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_value_is_named_by_its_line_and_not_quoted() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("A='x\ny'\nhunter 2=", 3),
            ("A=\"hunter2", 1),
            ("A='x' hunter2", 1),
        ] {
            let error = file(text).unwrap_err().to_string();
            assert!(
                error.contains(&format!("line {line} ")) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn words_are_taken_apart_at_the_first_equals_sign() {
        let of = |given: &[&str]| words(given.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().iter());
        assert_eq!(
            of(&["A=b=c", "B="]).unwrap(),
            Given::from([("A".into(), "b=c".into()), ("B".into(), String::new())])
        );
        for wrong in [&["A"][..], &["=x"], &["A B=x"], &["A=hunter2", "A=hunter3"]] {
            let error = of(wrong).unwrap_err();
            assert!(error.is::<Usage>() && !error.to_string().contains("hunter"), "{error}");
        }
    }
}
