//! `osb new`: a broker of one's own, to begin with.
//!
//! It is made from the example `starter`, which is built, tested and linted with everything else; only names and ids
//! are others.

mod chart;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use crate::Usage;

/// The longest name: Service Catalog takes no longer ones of offerings.
const LONGEST_NAME: usize = 63;

/// Names that a crate of this shape cannot have.
const TAKEN: [&str; 8] = [
    "osb-sdk",
    "osb-simulate",
    "schemars",
    "serde",
    "serde-json",
    "tokio",
    "std",
    "test",
];

/// The name in the files of the example, and the ids that each broker gets anew.
const NAME: &str = "starter";
const IDS: [&str; 3] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
    "00000000-0000-4000-8000-000000000003",
];
const SDK: &str = "@SDK@";

/// Where each file goes, what stands in it, and whether it is a program.
const FILES: [(&str, &str, bool); 7] = [
    ("Cargo.toml", include_str!("new/Cargo.toml.in"), false),
    ("README.md", include_str!("new/README.md.in"), false),
    (".gitignore", "/target\n", false),
    ("ci.sh", include_str!("new/ci.sh.in"), true),
    (
        "src/lib.rs",
        include_str!("../../../examples/starter/src/lib.rs"),
        false,
    ),
    (
        "src/main.rs",
        include_str!("../../../examples/starter/src/main.rs"),
        false,
    ),
    (
        "tests/suite/main.rs",
        include_str!("../../../examples/starter/tests/suite/main.rs"),
        false,
    ),
];

#[derive(clap::Args)]
pub(crate) struct NewArgs {
    /// The name of the broker, of its crate, its folder and its offering: small letters, digits and dashes
    name: String,

    /// The folder of the SDK's sources [default: the one that this program was built from]
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

/// Makes the folder of the name in the current one.
pub(crate) fn new(args: &NewArgs) -> Result<()> {
    check_name(&args.name)?;
    let sdk = sdk(args.sdk.as_deref())?;
    let ids = IDS.map(|_| Uuid::new_v4().to_string());
    let folder = Path::new(&args.name);
    if folder.exists() {
        bail!(Usage(format!("there is something at {} already", folder.display())));
    }
    for (name, text, program) in FILES {
        write(&folder.join(name), &filled(text, &args.name, &sdk, &ids), program)?;
    }
    for (path, text) in chart::files(&args.name) {
        write(&folder.join(path), &text, false)?;
    }
    println!(
        "The broker `{name}` is in the folder {name}.\n\n  cd {name}\n  cargo run      # serves it\n  cargo test     # its life, and all platforms against it\n\n\
         What it sells is in src/lib.rs.",
        name = args.name
    );
    Ok(())
}

fn check_name(name: &str) -> Result<(), Usage> {
    let fine = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && !name.contains("--")
        && name.len() <= LONGEST_NAME;
    if !fine {
        return Err(Usage(format!(
            "{name:?} is no name of a broker: at most {LONGEST_NAME} small letters, digits and single dashes between them, the first one a letter, such as message-queues"
        )));
    }
    if TAKEN.contains(&name) {
        return Err(Usage(format!(
            "{name:?} is the name of a crate that the broker uses: choose another one"
        )));
    }
    Ok(())
}

/// The folder of the sources, as an absolute path.
fn sdk(given: Option<&Path>) -> Result<String> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = given.unwrap_or(&built_from);
    let Ok(folder) = folder.canonicalize() else {
        bail!(Usage(format!(
            "there are no sources of the SDK at {}: name their folder with --sdk",
            folder.display()
        )));
    };
    if !folder.join("crates/osb-sdk/Cargo.toml").is_file() {
        bail!(Usage(format!(
            "the folder {} does not hold the sources of the SDK: name theirs with --sdk",
            folder.display()
        )));
    }
    let path = folder.to_str().context("the path of the SDK's sources is not UTF-8")?;
    // It stands between quotes in a TOML file.
    if path.contains(['"', '\\']) || path.chars().any(char::is_control) {
        bail!(Usage(format!("a path like {path:?} cannot stand in a Cargo.toml")));
    }
    Ok(path.to_owned())
}

/// The text of a file with the broker's own name, ids, and path of the SDK. A crate's name has underscores in Rust.
fn filled(text: &str, name: &str, sdk: &str, ids: &[String; 3]) -> String {
    let text = text.replace(SDK, sdk);
    let text = text.replace(&format!("{NAME}::"), &format!("{}::", name.replace('-', "_")));
    let text = text.replace(NAME, name);
    IDS.iter()
        .zip(ids)
        .fold(text, |text, (old, new)| text.replace(old, new))
}

fn write(path: &Path, text: &str, program: bool) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    let mode = if program { 0o755 } else { 0o644 };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_crate_and_of_an_offering() {
        for fine in ["a", "message-queues", "s3"] {
            assert!(check_name(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "",
            "Queues",
            "9lives",
            "a_b",
            "a--b",
            "a-",
            "../a",
            "serde",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_of_the_example_is_left() {
        let ids = ["one", "two", "three"].map(str::to_owned);
        for (path, text, _) in FILES {
            let filled = filled(text, "message-queues", "/sdk", &ids);
            assert!(!filled.contains(NAME) && !filled.contains(SDK), "{path}");
            assert!(IDS.iter().all(|id| !filled.contains(id)), "{path}");
        }
        let main = filled(FILES[5].1, "message-queues", "/sdk", &ids);
        assert!(main.contains("message_queues::broker()"), "{main}");
    }
}
