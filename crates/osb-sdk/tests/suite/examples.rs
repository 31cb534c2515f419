//! The table of the examples names each of them, and what it names is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn the_table_of_the_examples_is_whole() {
    let table = std::fs::read_to_string(folder().join("README.md")).expect("a table");
    // `[minimal](minimal/src/main.rs)`
    let links = table.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links: Vec<&str> = links.filter(|link| !link.contains("://")).collect();
    for link in &links {
        let file = link.split('#').next().unwrap_or_default();
        assert!(
            folder().join(file).exists(),
            "the table leads to {link}, which is not there"
        );
    }
    let named: BTreeSet<&str> = links.iter().filter_map(|link| link.split('/').next()).collect();
    for entry in std::fs::read_dir(folder()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name of text");
        if path.join("Cargo.toml").exists() {
            assert!(named.contains(name), "the table does not name {name}");
        }
    }
}

/// What the README shows is what CI builds.
#[test]
fn the_readme_shows_the_smallest_example_as_it_is() {
    let readme = std::fs::read_to_string(folder().join("../README.md")).expect("a README");
    let source = std::fs::read_to_string(folder().join("minimal/src/main.rs")).expect("the example");
    let from = source.find("use osb_sdk").expect("its first line of code");
    assert!(readme.contains(&format!("```rust\n{}```\n", &source[from..])));
}
