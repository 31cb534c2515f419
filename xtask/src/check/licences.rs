//! Licences of everything that is built.

use crate::metadata::Metadata;

/// What may be built into a program under Apache-2.0 without further duties than to name it.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Every package whose licence is missing or not allowed, one line each.
pub(crate) fn findings(metadata: &Metadata) -> Vec<String> {
    let refused = metadata.packages.iter().filter_map(|package| {
        let (name, version) = (&package.name, &package.version);
        match &package.license {
            None => Some(format!("{name} {version} names no licence")),
            Some(licence) if is_allowed(licence) => None,
            Some(licence) => Some(format!("{name} {version} has the licence {licence}")),
        }
    });
    refused.collect()
}

/// Whether an SPDX expression can be fulfilled with allowed licences alone. `/` is the old form of `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

/// `all OR all OR ...`; `None` when it is no expression.
fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = all(rest)?;
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        allowed |= all(rest)?;
    }
    Some(allowed)
}

/// `one AND one AND ...`
fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(rest)?;
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        allowed &= one(rest)?;
    }
    Some(allowed)
}

/// A licence, one with an exception, or an expression in parentheses.
fn one(rest: &mut &[&str]) -> Option<bool> {
    let (licence, tail) = match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let allowed = any(rest)?;
            *rest = rest.strip_prefix(&[")"])?;
            return Some(allowed);
        }
        ["OR" | "AND" | "WITH" | ")", ..] | [] => return None,
        [licence, "WITH", exception, tail @ ..] => (format!("{licence} WITH {exception}"), tail),
        [licence, tail @ ..] => ((*licence).to_owned(), tail),
    };
    *rest = tail;
    Some(ALLOWED.contains(&licence.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::fixture::graph;

    #[test]
    fn an_expression_is_allowed_if_a_choice_of_it_is() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0",
            "GPL-3.0-only AND ISC OR MIT",
        ] {
            assert!(is_allowed(expression), "{expression}");
        }
        for expression in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "GPL-2.0 WITH Classpath-exception-2.0",
            "MIT OR",
            "(MIT",
            "MIT)",
            "",
            "mit",
            "(MIT OR GPL-3.0-only) AND SSPL-1.0",
        ] {
            assert!(!is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn packages_are_named_with_what_is_wrong() {
        let mut metadata = graph(&[("a", &[]), ("b", &[]), ("c", &[])]);
        metadata.packages[1].license = None;
        metadata.packages[2].license = Some("SSPL-1.0".to_owned());
        assert_eq!(
            findings(&metadata),
            ["b 1.0.0 names no licence", "c 1.0.0 has the licence SSPL-1.0"]
        );
    }
}
