//! Folders that cannot be opened, and what the message says.

use std::fs;

use objectstore::embedded::{self, OpenError};

use crate::support::*;

fn open_error(path: &std::path::Path) -> OpenError {
    embedded::open(path, small()).err().expect("it must not open")
}

#[tokio::test]
async fn a_folder_that_is_in_use_says_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let error = open_error(folder.path());
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains(&std::process::id().to_string()) && message.contains("stop that process"),
        "{message}"
    );
    put(&store, "a", "1").await;
    drop(store);
    assert_eq!(get(&open(folder.path()), "a", None).await, Some(entry("a", "1", 1, 1)));
}

#[tokio::test]
async fn a_closed_store_gives_its_folder_free_while_watches_still_live() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let _watch = store.watch(objectstore::prefix(b""), None).await.unwrap();
    store.close().await.unwrap();
    open(folder.path());
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let error = open_error(folder.path());
    assert!(
        matches!(&error, OpenError::Foreign { found, .. } if found == "thesis.txt"),
        "{error}"
    );
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["thesis.txt"]);
}

#[test]
fn a_newer_format_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    fs::write(folder.path().join("format"), "objectstore embedded 2\n").unwrap();
    let before = contents(folder.path());
    let error = open_error(folder.path());
    assert!(
        matches!(&error, OpenError::Format { found, .. } if found == "objectstore embedded 2"),
        "{error}"
    );
    assert_eq!(contents(folder.path()), before);
}

#[tokio::test]
async fn a_store_without_its_format_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, "a", "1").await;
    drop(store);
    fs::remove_file(folder.path().join("format")).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    fs::write(folder.path().join("format"), "rubbish").unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn a_store_whose_making_was_cut_off_is_made() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    fs::remove_file(folder.path().join("format")).unwrap();
    fs::write(folder.path().join("format.new"), "obj").unwrap();
    drop(open(folder.path()));
    fs::remove_file(folder.path().join("format")).unwrap();
    fs::remove_file(folder.path().join("acked")).unwrap();
    fs::remove_dir_all(folder.path().join("tree")).unwrap();
    open(folder.path());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let path = folder.path().join("file").join("data");
    let error = open_error(&path);
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()) && error.to_string().contains("permissions"));
    // A file system that takes no folders, whoever asks.
    assert!(matches!(open_error("/sys/objectstore".as_ref()), OpenError::Io { .. }));
}
