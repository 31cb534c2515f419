//! The form for CI: JUnit's XML. Only a broken MUST is a failure there; the others go to `system-out`.

use std::fmt::Write as _;

use super::{Finding, Report, Verdict};
use crate::requirement::Level;

impl Report {
    /// One test suite with a test case for each requirement.
    pub fn junit(&self) -> String {
        let failures = self.failed(Level::Must).count();
        let skipped = self.count(|verdict| matches!(verdict, Verdict::Skipped(_)));
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            xml,
            "<testsuite name=\"osb check\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">",
            self.findings.len()
        );
        for finding in &self.findings {
            case(&mut xml, finding);
        }
        xml.push_str("</testsuite>\n");
        xml
    }
}

fn case(xml: &mut String, finding: &Finding) {
    let requirement = finding.requirement;
    let name = escaped(&format!(
        "{} {} {}",
        requirement.id,
        requirement.grade(),
        requirement.title
    ));
    let class = escaped(&format!("osb.{}", requirement.section));
    let _ = write!(xml, "  <testcase classname=\"{class}\" name=\"{name}\"");
    match &finding.verdict {
        Verdict::Passed(_) => xml.push_str("/>\n"),
        Verdict::Skipped(reason) => {
            let _ = writeln!(xml, "><skipped message=\"{}\"/></testcase>", escaped(reason));
        }
        Verdict::Failed(breaches) => {
            let texts = breaches
                .iter()
                .map(|breach| format!("{}\n{}", breach.what, breach.transcript.join("\n")));
            let text = escaped(&texts.collect::<Vec<_>>().join("\n"));
            let first = escaped(breaches.first().map_or("", |breach| &breach.what));
            let _ = if requirement.level == Level::Must {
                writeln!(xml, "><failure message=\"{first}\">{text}</failure></testcase>")
            } else {
                writeln!(xml, "><system-out>{text}</system-out></testcase>")
            };
        }
    }
}

/// Text for XML 1.0; characters that it cannot have become a replacement character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_escaped() {
        assert_eq!(escaped("a<b>&\"\u{0}\n"), "a&lt;b&gt;&amp;&quot;\u{fffd}\n");
    }
}
