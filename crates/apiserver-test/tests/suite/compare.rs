//! What two servers' outputs have in common once ids, times and revisions are out of the way.

use std::sync::LazyLock;

use regex::Regex;

use crate::place::Done;

/// What differs between any two servers, and what stands in its place.
static OWN: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "TIME"),
        (
            r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w+ \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
            "TIME",
        ),
        (r#"("?resourceVersion"?: )"\d+""#, "${1}RV"),
        (r"(Resource Version: +)\d+", "${1}RV"),
        (r"https://127\.0\.0\.1:\d+", "SERVER"),
        (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
        (r"/tmp/[\w./-]+", "FILE"),
        // Ages, in a column of their own.
        (
            r"(?m)(^| {2,})(<invalid>|\d+s|\d+m\d+s|\d+m|\d+ms)( {2,}|$)",
            "${1}AGE${3}",
        ),
    ]
    .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
    .into()
});
static SPACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" {2,}|\t+").unwrap());

/// The text without what is each server's own. Columns stand one space apart.
pub(crate) fn common(text: &str) -> String {
    let mut text = text.to_owned();
    for (own, name) in OWN.iter() {
        text = own.replace_all(&text, *name).into_owned();
    }
    let lines = text.lines().map(|line| {
        let indented = line.len() - line.trim_start().len();
        format!(
            "{}{}",
            &line[..indented],
            SPACES.replace_all(line[indented..].trim_end(), "  ")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How two outputs differ, line by line; `None` when they do not.
pub(crate) fn difference(ours: &Done, theirs: &Done) -> Option<String> {
    let mut told = String::new();
    if ours.code != theirs.code {
        told.push_str(&format!(
            "  exit code: ours {:?}, theirs {:?}\n",
            ours.code, theirs.code
        ));
    }
    for (name, ours, theirs) in [
        ("stdout", &ours.stdout, &theirs.stdout),
        ("stderr", &ours.stderr, &theirs.stderr),
    ] {
        let (ours, theirs) = (common(ours), common(theirs));
        if ours == theirs {
            continue;
        }
        let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
        let only = |lines: &[&str], others: &[&str], mark: &str| -> String {
            lines
                .iter()
                .filter(|line| !others.contains(line))
                .map(|line| format!("  {name} {mark} {line}\n"))
                .collect()
        };
        let lines = only(&ours, &theirs, "ours:  ") + &only(&theirs, &ours, "theirs:");
        told.push_str(if lines.is_empty() {
            "  the same lines in another order or number\n"
        } else {
            &lines
        });
    }
    (!told.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_servers_own_does_not_count() {
        let ours = "NAME   AGE\na      3s\n  uid: 6d9a05a8-0000-4000-8000-0123456789ab\n  resourceVersion: \"7\"";
        let theirs =
            "NAME     AGE\na        12s\n  uid: 00000000-0000-4000-8000-0123456789ab\n  resourceVersion: \"901\"";
        assert_eq!(common(ours), common(theirs));
        assert_ne!(common("a   b"), common("a   c"));
    }
}
