//! How long it takes to process the corpus beside the checkout, on one core: `cargo xtask bench templates`.
//!
//! Ends with 1 when a bar is missed, with 2 when there is no corpus.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use template::json::{self, Object, Value};
use template::{Given, Options, SystemRandom, Template, Unknown, document};

/// How often each measure is repeated; the median counts.
const ROUNDS: usize = 51;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/templates");
    let Some(files) = files(&folder) else {
        eprintln!("no corpus in {}", folder.display());
        return ExitCode::from(2);
    };
    let given: Vec<Vec<Given>> = files.iter().map(|(name, _)| given(&folder, name)).collect();
    let decoded: Vec<Vec<Template<'_>>> = files.iter().map(|(_, text)| templates(text)).collect();
    let jsons: Vec<String> = files.iter().map(|(_, text)| as_json(text)).collect();
    let bytes: usize = jsons.iter().map(String::len).sum();
    println!(
        "{} templates, {bytes} bytes of JSON; median of {ROUNDS}\n",
        decoded.iter().map(Vec::len).sum::<usize>()
    );
    println!("| what | time | bar |\n|---|---:|---|");

    let mut is_met = true;
    let mut row = |what: &str, bar: Option<f64>, work: &mut dyn FnMut()| {
        let ms = median(work).as_secs_f64() * 1000.0;
        let bar = bar.map_or(String::new(), |bar| {
            is_met &= ms <= bar;
            format!("≤ {bar} ms: {}", if ms <= bar { "met" } else { "**missed**" })
        });
        println!("| {what} | {ms:.2} ms | {bar} |");
    };
    row("decoded to processed", Some(4.0), &mut || {
        for (templates, given) in decoded.iter().zip(&given) {
            process(templates, given, &mut |objects| drop(black_box(objects)));
        }
    });
    row("JSON to JSON", Some(7.5), &mut || through(jsons.iter(), &given));
    row("file text to JSON", Some(30.0), &mut || {
        through(files.iter().map(|(_, text)| text), &given)
    });
    row("reading the JSON only", None, &mut || {
        for text in &jsons {
            black_box(json::read_all(text).expect("it was written by us"));
        }
    });
    row(
        "reading the JSON only, with the tree of the API server",
        None,
        &mut || {
            for text in jsons.iter().flat_map(|text| text.lines()) {
                black_box(apimachinery::json::parse_strict(text.as_bytes()).expect("it was written by us"));
            }
        },
    );
    ExitCode::from(u8::from(!is_met))
}

fn files(folder: &Path) -> Option<Vec<(String, String)>> {
    let entries = fs::read_dir(folder).ok()?;
    let paths = entries.map(|entry| entry.expect("a file").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.is_file() && !path.ends_with("INDEX.md"))
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let read = |path: &PathBuf| (name(path), fs::read_to_string(path).expect("a text"));
    Some(paths.iter().map(read).collect())
}

/// The values for each template of a file.
fn given(folder: &Path, name: &str) -> Vec<Given> {
    let text = fs::read_to_string(folder.join("expected").join(format!("{name}.expected.json")));
    let text = text.expect("each file has its results");
    let all = json::read(&text).expect("JSON").value;
    let parameters = |template: &Value<'_>| -> Given {
        let parameters = template["parameters"].as_object().map(Object::iter);
        let texts = parameters.into_iter().flatten();
        texts
            .map(|(name, value)| (name.to_owned(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    all.as_array().expect("a list").iter().map(parameters).collect()
}

fn templates(text: &str) -> Vec<Template<'_>> {
    document::templates(text).expect("the corpus can be read")
}

/// The documents of a file as JSON, one on a line.
fn as_json(text: &str) -> String {
    let documents = document::read(text).expect("the corpus can be read");
    documents
        .iter()
        .map(|document| document.value.to_string() + "\n")
        .collect()
}

fn process(templates: &[Template<'_>], given: &[Given], take: &mut dyn FnMut(Vec<template::Made<'_>>)) {
    for (template, given) in templates.iter().zip(given) {
        let values = template
            .resolve(given, Unknown::Ignored, &mut SystemRandom)
            .expect("the values fit");
        take(
            template
                .process(&values, &Options::default())
                .expect("the corpus can be processed")
                .objects,
        );
    }
}

/// From text to the text of a list of objects.
fn through<'t>(texts: impl Iterator<Item = &'t String>, given: &[Vec<Given>]) {
    for (text, given) in texts.zip(given) {
        process(&templates(text), given, &mut |objects| {
            let mut out = String::new();
            for made in objects {
                Value::Object(made.object).write(&mut out);
            }
            black_box(out);
        });
    }
}

/// How long this thread was on a CPU, where the system tells: what else runs on the machine is no time of ours.
fn on_cpu() -> Option<Duration> {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn median(work: &mut dyn FnMut()) -> Duration {
    work();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let (start, used) = (Instant::now(), on_cpu());
            work();
            match (used, on_cpu()) {
                (Some(before), Some(after)) => after - before,
                _ => start.elapsed(),
            }
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}
