//! What is done with the input of each fuzz target: everything that reads bytes from the network or from a file.
//!
//! A target is a function that takes any bytes, and panics when something is not as it has to be: a reader that panics,
//! a value that does not come back as it was, an answer outside of the specification. `fuzz/` has a program for each
//! target, which `cargo xtask fuzz` builds and runs with coverage feedback; the tests of this crate put every input that is
//! kept in `fuzz/corpus/` through the same functions.
//!
//! A new target is a row of [`TARGETS`], a program in `fuzz/fuzz_targets/`, its `[[bin]]` in `fuzz/Cargo.toml`, a few
//! inputs in `fuzz/corpus/` that show the form, and its name in this crate's `tests/suite/main.rs`.
//!
//! ```
//! let target = fuzzing::target("json").expect("there is such a target");
//! (target.run)(br#"{"a": [1, 2.5, "\u00e9"]}"#);
//! ```

mod api;
mod built_in;
mod bytes_of;
mod catalogs;
mod contract;
mod files;
mod front;
mod http_text;
mod kubernetes;
mod logins;
mod objects;
mod rules;
mod store;
mod stored;
mod templates;
mod tokens;

/// A function that takes any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of its program and of the folder of its corpus.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// Puts an input through.
    ///
    /// # Panics
    /// When something is not as it has to be.
    pub run: fn(&[u8]),
}

const fn row(name: &'static str, about: &'static str, run: fn(&[u8])) -> Target {
    Target { name, about, run }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    row("json", "JSON bodies of both APIs, against serde_json", contract::json),
    row("requests", "bodies of OSB requests", contract::requests),
    row("headers", "originating identity, version, Base64", contract::headers),
    row("trace", "trace headers of W3C and B3", contract::trace),
    row("catalog", "a catalog in JSON", catalogs::catalog),
    row(
        "lint",
        "two catalogs: what platforms refuse, what has changed",
        catalogs::lint,
    ),
    row("front", "whole OSB requests", front::front),
    row("logins", "the Authorization header, JWTs and key sets", logins::logins),
    row("auth_file", "the file of --auth-file", files::auth_file),
    row(
        "data_folder",
        "credentials, keys and the server's note in a data folder",
        files::data_folder,
    ),
    row("certificate", "the certificate of a client", files::certificate),
    row(
        "selectors",
        "label and field selectors, list options, paths",
        kubernetes::selectors,
    ),
    row("jsonpath", "JSONPath and an object", kubernetes::jsonpath),
    row("patches", "JSON patches and merge patches", objects::patches),
    row("schema", "a structural schema and an object", objects::schema),
    row("definition", "a definition of custom resources", objects::definition),
    row("metadata", "metadata, timestamps, continue tokens", objects::metadata),
    row("protobuf", "bodies of built-in kinds in protobuf", built_in::protobuf),
    row(
        "field_sets",
        "sets of fields, managed fields, two states of an object",
        built_in::field_sets,
    ),
    row("strategic", "strategic merge patches", built_in::strategic),
    row("tokens", "bearer tokens of service accounts", tokens::tokens),
    row("api", "scripts of Kubernetes requests", api::api),
    row("log", "a segment of the store's log", store::log),
    row("records", "records of the store's tables", store::records),
    row(
        "store",
        "a store's folder with a log that a crash has left",
        store::folder,
    ),
    row(
        "answers",
        "the answers of a broker, as the conformance check judges them",
        rules::answers,
    ),
    row(
        "stored",
        "stored objects of the engine, and sealed values",
        stored::stored,
    ),
    row("templates", "a file with OpenShift Templates", templates::templates),
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Puts an input through the target of that name.
///
/// # Panics
/// When there is no such target, or something is not as it has to be.
pub fn run(name: &str, data: &[u8]) {
    let target = target(name).expect("a target has a row in the table");
    (target.run)(data);
}
