//! Each item that this crate re-exports has an example in its documentation that runs.
//!
//! A scan of the sources: rustdoc itself can say it only on nightly.

use std::path::{Path, PathBuf};

/// These never return: their examples are compiled and not run.
const NEVER_RETURN: [&str; 3] = ["run", "serve", "serve_with"];

#[test]
fn each_item_that_an_author_meets_has_an_example_that_runs() {
    let exports = exports(include_str!("../../src/lib.rs"));
    assert!(exports.len() > 60, "the scan has missed some: {exports:?}");
    let items = exports.iter().filter(|export| !is_constant(&export.name));
    let wrong: Vec<String> = items.filter_map(finding).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A name that is re-exported, and the crate that has it.
#[derive(Debug)]
struct Export {
    package: String,
    name: String,
}

fn exports(source: &str) -> Vec<Export> {
    let mut found = Vec::new();
    for statement in source.split("\npub use ").skip(1) {
        let tree = statement.split(';').next().unwrap_or_default();
        let tree: String = tree.split_whitespace().collect();
        let (package, rest) = tree.split_once("::").expect("a path of another crate");
        leaves(rest, &mut |name| {
            found.push(Export {
                package: package.replace('_', "-"),
                name: name.to_owned(),
            });
        });
    }
    found
}

/// The last names of `a::{b, c::{d}}`: b and d.
fn leaves(tree: &str, take: &mut impl FnMut(&str)) {
    let Some((_, inner)) = tree.split_once('{') else {
        return take(tree.rsplit("::").next().unwrap_or_default());
    };
    let inner = inner.strip_suffix('}').expect("braces in pairs");
    let (mut depth, mut from) = (0, 0);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                leaves(&inner[from..at], take);
                from = at + 1;
            }
            _ => {}
        }
    }
    if from < inner.len() {
        leaves(&inner[from..], take);
    }
}

/// A number is said in a sentence.
fn is_constant(name: &str) -> bool {
    name.chars().all(|letter| !letter.is_lowercase())
}

/// What is wrong with the documentation of an item.
fn finding(export: &Export) -> Option<String> {
    let Export { package, name } = export;
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(package)
        .join("src");
    let docs = files(&source)
        .iter()
        .find_map(|file| docs_of(&std::fs::read_to_string(file).expect("a file of text"), name));
    let Some(docs) = docs else {
        return Some(format!("{package}: {name} is not found, or has no documentation"));
    };
    let runs = |fence: &String| fence.is_empty() || (fence == "no_run" && NEVER_RETURN.contains(&name.as_str()));
    let found = fences(&docs);
    (!found.iter().any(runs)).then(|| format!("{package}: {name} has no example that runs; it has {found:?}"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of documentation above the definition of a name; `None` when this is not the file that has it.
fn docs_of(source: &str, name: &str) -> Option<Vec<String>> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| defines(line, name))?;
    let above = lines[..at].iter().rev();
    let docs: Vec<String> = above
        .take_while(|line| line.starts_with("//") || line.starts_with("#[") || line.ends_with([',', '(', ')', ']']))
        .filter_map(|line| line.strip_prefix("///"))
        .map(|line| line.trim().to_owned())
        .collect();
    (!docs.is_empty()).then(|| docs.into_iter().rev().collect())
}

/// Whether a line begins a definition; the ids are made by a macro whose calls begin with the name alone.
fn defines(line: &str, name: &str) -> bool {
    let kinds = ["struct", "enum", "trait", "type", "fn"];
    let rest = kinds
        .iter()
        .find_map(|kind| line.strip_prefix("pub ")?.strip_prefix(kind));
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    match rest {
        Some(rest) => rest
            .strip_prefix(' ')
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(ends),
        None => line.strip_prefix(name).is_some_and(|rest| rest.starts_with(", check_")),
    }
}

/// What stands behind the fences that open blocks.
fn fences(docs: &[String]) -> Vec<String> {
    let all = docs.iter().filter_map(|line| line.strip_prefix("```"));
    all.step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_scan_reads_exports_and_documentation() {
    let names: Vec<String> = exports("\npub use osb_x::a::{B, c::{D, E}, f};\npub use osb_y::g::H;\n")
        .into_iter()
        .map(|export| format!("{} {}", export.package, export.name))
        .collect();
    assert_eq!(names, ["osb-x B", "osb-x D", "osb-x E", "osb-x f", "osb-y H"]);

    let source = "/// Another one.\npub struct BB;\n\n/// A thing.\n///\n/// ```\n/// B;\n/// ```\n/// ```text\n/// no\n/// ```\n\
                  #[derive(\n    Clone,\n)]\npub struct B;\n\npub struct Bare;\n";
    assert_eq!(fences(&docs_of(source, "B").expect("documented")), ["", "text"]);
    assert_eq!(docs_of(source, "BB").expect("documented"), ["Another one."]);
    assert_eq!(docs_of(source, "Bare"), None);
    assert_eq!(docs_of(source, "C"), None);
}
