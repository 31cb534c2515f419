//! Every input that fuzzing has kept, through the same functions, without libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzzing::TARGETS;

/// The most bytes that all inputs together may have: they are in every clone.
const MOST_BYTES: usize = 1 << 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn names(files: &[PathBuf]) -> BTreeSet<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(stem).collect()
}

/// Puts the corpus of a target through it; what panics is named.
fn replay(name: &str) {
    for path in files(&fuzz().join("corpus").join(name)) {
        let input = fs::read(&path).unwrap();
        let run = std::panic::catch_unwind(|| fuzzing::run(name, &input));
        assert!(run.is_ok(), "{} fails: see above", path.display());
    }
}

macro_rules! corpora {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_program_a_corpus_and_a_test() {
            let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
            let tested: BTreeSet<String> = [$(stringify!($name).to_owned()),*].into();
            assert_eq!(tested, targets);
            assert_eq!(names(&files(&fuzz().join("fuzz_targets"))), targets);
            assert_eq!(names(&files(&fuzz().join("corpus"))), targets);
            let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
            for name in &targets {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
            }
        }
    };
}

corpora! {
    answers api auth_file catalog certificate data_folder definition field_sets front headers json jsonpath lint log logins
    metadata patches protobuf records requests schema selectors store stored strategic templates tokens trace
}

#[test]
fn the_corpora_stay_small() {
    let folders = files(&fuzz().join("corpus"));
    let bytes: usize = folders
        .iter()
        .flat_map(|folder| files(folder))
        .map(|path| fs::read(path).unwrap().len())
        .sum();
    assert!(
        bytes <= MOST_BYTES,
        "{bytes} bytes: minimise them with cargo xtask fuzz --minimise"
    );
}
