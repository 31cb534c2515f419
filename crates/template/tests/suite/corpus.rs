//! The corpus: public templates, beside the checkout, with what the library in Go makes of each.
//!
//! Where it is not, these tests say so and pass; in CI they fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use template::json;
use template::lint::lint;
use template::reference::{Piece, Typed, pieces, typed};
use template::{Given, Options, Rule, Severity, SystemRandom, Template, Unknown, document};

/// The folder of the corpus, if it is there.
fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/templates");
    if folder.join("expected").is_dir() {
        return Some(folder);
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "the corpus is missing: {}", folder.display());
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    use std::io::Write as _;
    // Past the harness, which would hide it.
    drop(std::io::stderr().write_all(format!("skipped: {name}: no corpus in {}\n", folder.display()).as_bytes()));
    None
}

/// Names and texts of the files.
fn files(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.is_file() && !path.ends_with("INDEX.md"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    files.iter().map(read).collect()
}

/// One result of the library in Go.
struct Expected(Value);

impl Expected {
    fn of(folder: &Path, name: &str) -> Vec<Self> {
        let path = folder.join("expected").join(format!("{name}.expected.json"));
        let all: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        all.into_iter().map(Self).collect()
    }

    fn given(&self) -> Given {
        let parameters = self.0["parameters"].as_object().into_iter().flatten();
        parameters
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect()
    }
}

/// What is processed, in the form of what is expected.
fn processed(template: &Template<'_>, given: &Given) -> Result<Value, String> {
    let values = template
        .resolve(given, Unknown::Refused, &mut SystemRandom)
        .map_err(|error| error.to_string())?;
    let processed = template
        .process(&values, &Options::default())
        .map_err(|error| error.to_string())?;
    let objects = processed
        .objects
        .iter()
        .map(|made| json::Value::Object(made.object.clone()).to_string());
    let objects: Vec<Value> = objects.map(|object| serde_json::from_str(&object).unwrap()).collect();
    let labels: BTreeMap<_, _> = processed
        .labels
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    Ok(serde_json::json!({"message": processed.message, "labels": labels, "objects": objects}))
}

/// Every place where two values differ, as `/objects/0/kind: theirs -> ours`.
fn differences(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let place = format!("{path}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => differences(&place, a, b, found),
                    (a, b) => found.push(format!("{place}: {} -> {}", shown(a), shown(b))),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (position, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{position}"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        // The library writes floats in its own way: what is the same number is no difference here.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (a, b) => found.push(format!("{path}: {} -> {}", shown(Some(a)), shown(Some(b)))),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

/// Where ours differs from the library's, and the bug of theirs that is the reason; everything else is alike.
const WANTED: &[(&str, &str)] = &[
    // P21: a number as a default is no error. What it becomes is looked at below.
    ("clair--backstop.yaml", "P21"),
    // P16: a namespace that is `${{NAME}}` is a parameter and stays.
    (
        "origin--template-with-namespaces.json /objects/3/metadata/namespace: nothing -> \"substituted\"",
        "P16",
    ),
];

#[test]
fn the_corpus_becomes_what_the_library_in_go_makes_of_it() {
    let Some(folder) = folder() else { return };
    let mut found = Vec::new();
    let mut count = 0;
    for (name, text) in files(&folder) {
        let templates = document::templates(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = Expected::of(&folder, &name);
        assert_eq!(templates.len(), expected.len(), "{name}");
        for (template, expected) in templates.iter().zip(&expected) {
            count += 1;
            if !expected.0["error"].is_null() {
                found.push(name.clone());
                continue;
            }
            let ours = processed(template, &expected.given());
            let ours = ours.unwrap_or_else(|error| panic!("{name}: {error}"));
            for part in ["message", "labels", "objects"] {
                let empty = [Value::Null, serde_json::json!({}), serde_json::json!([])];
                let (theirs, ours) = (&expected.0[part], &ours[part]);
                if !empty.contains(theirs) || !empty.contains(ours) {
                    differences(&format!("{name} /{part}"), theirs, ours, &mut found);
                }
            }
        }
    }
    let wanted: Vec<String> = WANTED.iter().map(|(difference, _)| (*difference).to_owned()).collect();
    assert_eq!(found, wanted);
    assert_eq!(count, 81);
}

/// Bug P21: the one template of the corpus that the library refuses, for the numbers in it.
#[test]
fn numbers_as_defaults_are_their_text() {
    let Some(folder) = folder() else { return };
    let text = fs::read_to_string(folder.join("clair--backstop.yaml")).unwrap();
    let template = &document::templates(&text).unwrap()[0];
    let ours = processed(template, &Given::new()).unwrap();
    let arguments = &ours["objects"][0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<&str> = arguments
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap())
        .collect();
    assert!(
        arguments.contains(&"-page-size=100") && arguments.contains(&"-page-count=-1"),
        "{arguments:?}"
    );
    let warned = lint(template)
        .into_iter()
        .filter(|finding| finding.rule == Rule::ParameterValueType)
        .count();
    assert_eq!(warned, 3);
}

/// The escape, functions, derived parameters and conditions are written in ways that no template of the corpus has: they change
/// none of them.
#[test]
fn extensions_change_no_template_of_the_corpus() {
    let Some(folder) = folder() else { return };
    let mut texts = 0;
    for (name, text) in files(&folder) {
        assert!(!text.contains("template.osb.internal/"), "{name}");
        for template in document::templates(&text).unwrap() {
            assert!(
                template
                    .parameters
                    .iter()
                    .all(|parameter| parameter.generate != "derived"),
                "{name}"
            );
            let mut look = |text: &str| {
                texts += 1;
                for piece in pieces(text) {
                    assert!(!matches!(piece, Piece::Escaped(..)), "{name}: {text}");
                    if let Piece::Reference(reference, whole) = piece {
                        assert_eq!(whole, format!("${{{}}}", reference.name), "{name}");
                    }
                }
                if let Some(found) = typed(text) {
                    assert!(
                        matches!(found, Typed::Reference(reference) if !reference.has_functions()),
                        "{name}: {text}"
                    );
                }
            };
            template.objects.iter().for_each(|object| each_text(object, &mut look));
            template.message.iter().for_each(|message| look(message));
        }
    }
    assert!(texts > 20_000, "{texts}");
}

/// Calls `look` with every text and key.
fn each_text(value: &json::Value<'_>, look: &mut impl FnMut(&str)) {
    match value {
        json::Value::String(text) => look(text),
        json::Value::Array(items) => items.iter().for_each(|item| each_text(item, look)),
        json::Value::Object(members) => {
            for (key, value) in members.iter() {
                look(key);
                each_text(value, look);
            }
        }
        _ => {}
    }
}

#[test]
fn yaml_that_is_written_reads_as_the_same() {
    let Some(folder) = folder() else { return };
    for (name, text) in files(&folder) {
        for document in document::read(&text).unwrap() {
            let yaml = template::yaml::to_yaml(&document.value);
            let again = template::yaml::read_all(&yaml).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(again[0].value.to_string(), document.value.to_string(), "{name}");
        }
    }
}

/// What is known of the corpus, and nothing else, is an error in it.
#[test]
fn the_corpus_has_few_errors() {
    let Some(folder) = folder() else { return };
    let mut errors = Vec::new();
    let mut unknown = BTreeSet::new();
    for (name, text) in files(&folder) {
        for template in document::templates(&text).unwrap() {
            for finding in lint(&template) {
                if finding.rule.severity() == Severity::Error {
                    errors.push(format!("{name}: {finding}"));
                } else if finding.rule == Rule::ReferenceUnknown {
                    let reference = finding.what.split(['{', '}']).nth(1).unwrap();
                    unknown.insert(format!("{name} {reference}"));
                }
            }
        }
    }
    let [twice] = &errors[..] else { panic!("{errors:#?}") };
    assert!(
        twice.starts_with(
            "assisted-service--template.yaml: parameters[10] OPENSHIFT_RELEASE_SYNCER_INTERVAL: is declared"
        ),
        "{twice}"
    );
    let unknown: Vec<String> = unknown.into_iter().collect();
    assert_eq!(
        unknown,
        [
            "assisted-service--template.yaml OPENSHIFT_SUPPORT_LEVEL_API_BASE_URL",
            "openshift-toolkit--pipeline.yml EXPORT_TO",
            "openshift-toolkit--pipeline.yml IMAGE_CONTENT",
            "openshift-toolkit--pipeline.yml IMAGE_NAME",
            "openshift-toolkit--pipeline.yml IMAGE_NAMESPACE",
            "openshift-toolkit--pipeline.yml IMAGE_TO_SCAN",
            "openshift-toolkit--pipeline.yml JENKINS_WORKSPACE",
            "openshift-toolkit--pipeline.yml RESULTS",
            "openshift-toolkit--pipeline.yml WORKING_DIR",
            "openshift-toolkit--pipeline.yml cluster_images",
            "openshift-toolkit--pipeline.yml images_complete",
            "openshift-toolkit--pipeline.yml num_images",
            "openshift-toolkit--pipeline.yml percent",
            "origin--bluegreen-pipeline.yaml altTag",
            "origin--bluegreen-pipeline.yaml appName",
            "origin--bluegreen-pipeline.yaml err",
            "origin--bluegreen-pipeline.yaml project",
            "origin--bluegreen-pipeline.yaml routeHost",
            "origin--bluegreen-pipeline.yaml tag",
            "origin--prometheus.yaml 1",
            "xpaas--eap64-tx-recovery-postgresql-s2i.json HOSTNAME_HTTPS",
        ]
    );
}
