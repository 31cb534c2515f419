//! Dependencies that nothing refers to, and those that only tests refer to.
//!
//! A crate counts as used where its name stands as the start of a path (`name::`) or in a `use`. That cannot see macros that
//! expand to it or a dependency taken for its features alone: such ones stand in [`KEPT`], with the reason.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::metadata::{Kind, Metadata, Package};

/// Member, dependency as the source would name it, why it stays.
const KEPT: &[(&str, &str, &str)] = &[(
    "osb-engine",
    "k8s_openapi",
    "kube does not build unless somebody chooses the version of its types; a broker author should not have to",
)];

/// The sources of a member, each group as one text.
#[derive(Debug, Default)]
struct Sources {
    /// `src`, without its comments.
    ordinary: String,
    /// Everything that is compiled for tests, with the examples in its comments.
    all: String,
    /// `build.rs`.
    build: String,
}

/// Every dependency that should go or move, one line each.
pub(crate) fn findings(metadata: &Metadata) -> Result<Vec<String>> {
    findings_except(metadata, KEPT)
}

fn findings_except(metadata: &Metadata, kept: &[(&str, &str, &str)]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for member in metadata.members() {
        let kept: Vec<&str> = kept
            .iter()
            .filter(|(name, ..)| *name == member.name)
            .map(|(_, kept, _)| *kept)
            .collect();
        found.extend(findings_in(member, &Sources::read(&member.folder)?, &kept));
    }
    Ok(found)
}

fn findings_in(member: &Package, sources: &Sources, kept: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for dependency in &member.dependencies {
        let name = dependency.extern_name.as_str();
        let complaint = dependency.kinds.iter().find_map(|kind| complaint(*kind, name, sources));
        match (complaint, kept.contains(&name)) {
            (Some(complaint), false) => found.push(format!("{}: {name} {complaint}", member.name)),
            (None, true) => found.push(format!(
                "{}: {name} is used; take it out of the list of kept ones",
                member.name
            )),
            _ => {}
        }
    }
    found
}

fn complaint(kind: Kind, name: &str, sources: &Sources) -> Option<&'static str> {
    match kind {
        Kind::Ordinary if refers_to(&sources.ordinary, name) => None,
        Kind::Ordinary if refers_to(&sources.all, name) => {
            Some("is used by tests or examples only: make it a dev-dependency")
        }
        Kind::Dev if refers_to(&sources.all, name) => None,
        Kind::Build if refers_to(&sources.build, name) => None,
        _ => Some("is not used"),
    }
}

impl Sources {
    fn read(folder: &Path) -> Result<Self> {
        let mut sources = Self::default();
        let mut src = String::new();
        collect(&folder.join("src"), &mut src)?;
        sources.ordinary = without_comments(&src);
        sources.all = src;
        for part in ["tests", "benches", "examples"] {
            collect(&folder.join(part), &mut sources.all)?;
        }
        let build = folder.join("build.rs");
        if build.is_file() {
            sources.build = fs::read_to_string(&build).with_context(|| format!("cannot read {}", build.display()))?;
        }
        Ok(sources)
    }
}

/// Appends every Rust file below a folder, if there is one.
fn collect(folder: &Path, text: &mut String) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, text)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
            text.push('\n');
        }
    }
    Ok(())
}

/// Without the lines that are comments as a whole.
fn without_comments(source: &str) -> String {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// Whether the source names the crate `name` as the start of a path or in a `use`.
fn refers_to(source: &str, name: &str) -> bool {
    source
        .match_indices(name)
        .any(|(at, _)| is_reference(&source[..at], &source[at + name.len()..]))
}

fn is_reference(before: &str, after: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    if before.ends_with(part_of_name) || after.starts_with(part_of_name) {
        return false;
    }
    // `crate::http::x` is a module of our own; `::http::x` is the crate.
    let inside_a_path = before
        .strip_suffix("::")
        .is_some_and(|front| front.ends_with(part_of_name));
    let before = before.trim_end().trim_end_matches("::").trim_end();
    let ends_with_word = |word: &&str| {
        before
            .strip_suffix(*word)
            .is_some_and(|front| !front.ends_with(part_of_name))
    };
    let imported = ["use", "extern crate"].iter().any(ends_with_word);
    !inside_a_path && (after.trim_start().starts_with("::") || imported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    #[test]
    fn a_path_or_a_use_is_a_reference() {
        for source in [
            "fn f() { http::get() }",
            "use http::{a, b};",
            "pub use ::http as h;",
            "extern crate http;",
            "#[http::main]",
            "x(http ::y)",
        ] {
            assert!(refers_to(source, "http"), "{source}");
        }
    }

    #[test]
    fn other_words_are_no_reference() {
        for source in [
            "use hyper_http::x;",
            "http_body::f()",
            "crate::http::f()",
            "let http = 1;",
            "mod http;",
            "\"http://x\"",
            "because http",
        ] {
            assert!(!refers_to(source, "http"), "{source}");
        }
    }

    fn member(kinds: &[Kind]) -> Package {
        let dependency = Dependency {
            extern_name: "dep".to_owned(),
            package: 0,
            kinds: kinds.to_vec(),
        };
        Package {
            name: "m".to_owned(),
            version: String::new(),
            license: None,
            folder: "/w/m".into(),
            is_member: true,
            dependencies: vec![dependency],
        }
    }

    #[test]
    fn each_kind_is_looked_for_where_it_belongs() {
        let nowhere = Sources::default();
        let in_src = Sources {
            ordinary: "dep::f()".to_owned(),
            all: "dep::f()".to_owned(),
            build: String::new(),
        };
        let in_tests = Sources {
            all: "dep::f()".to_owned(),
            ..Sources::default()
        };
        let in_build = Sources {
            build: "dep::f()".to_owned(),
            ..Sources::default()
        };
        let cases: [(Kind, &Sources, &[&str]); 8] = [
            (Kind::Ordinary, &nowhere, &["m: dep is not used"]),
            (Kind::Ordinary, &in_src, &[]),
            (
                Kind::Ordinary,
                &in_tests,
                &["m: dep is used by tests or examples only: make it a dev-dependency"],
            ),
            (Kind::Dev, &nowhere, &["m: dep is not used"]),
            (Kind::Dev, &in_tests, &[]),
            (Kind::Dev, &in_src, &[]),
            (Kind::Build, &in_src, &["m: dep is not used"]),
            (Kind::Build, &in_build, &[]),
        ];
        for (kind, sources, expected) in cases {
            assert_eq!(
                findings_in(&member(&[kind]), sources, &[]),
                expected,
                "{kind:?} {sources:?}"
            );
        }
    }

    #[test]
    fn the_list_of_kept_ones_cannot_go_stale() {
        let used = Sources {
            ordinary: "dep::f()".to_owned(),
            ..Sources::default()
        };
        assert_eq!(
            findings_in(&member(&[Kind::Ordinary]), &Sources::default(), &["dep"]),
            [""; 0]
        );
        assert_eq!(findings_in(&member(&[Kind::Ordinary]), &used, &["dep"]).len(), 1);
    }

    #[test]
    fn comments_of_src_do_not_count_for_ordinary_ones() {
        assert_eq!(without_comments("a\n    /// dep::f()\nb // dep\n"), "a\nb // dep\n");
    }
}
