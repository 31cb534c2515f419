//! What keeps a server from starting: told clearly, and with an exit code.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::harness::{Place, Verb};

/// Starts a server that must refuse.
#[track_caller]
fn refused(place: &Place, flags: &[&str], code: i32, told: &[&str]) {
    let verb = place.refusal(flags);
    let text = verb.refuses(code);
    for part in told {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A folder that a server has used and left.
fn used() -> Place {
    let place = Place::new();
    let server = place.start();
    place.verb(&["provision", "kept"]).ok();
    assert_eq!(server.stop(), Some(0));
    place
}

#[test]
fn wrong_flags() {
    let place = Place::new();
    refused(&place, &["--frobnicate"], 2, &["--frobnicate"]);
    refused(
        &place,
        &["--drain-timeout", "soon"],
        2,
        &["--drain-timeout", "number of seconds"],
    );
    refused(&place, &["--tls-cert", "a.pem"], 2, &["--tls-key"]);
    assert!(!place.data().exists(), "a wrong flag leaves nothing behind");
}

#[test]
fn plain_http_beyond_this_machine() {
    let place = Place::new();
    let output = crate::harness::osb()
        .args([
            "serve",
            "reference",
            "--listen",
            "0.0.0.0:0",
            "--kube-listen",
            "127.0.0.1:0",
            "--data-dir",
        ])
        .arg(place.data())
        .output()
        .unwrap();
    let verb = Verb::of(&[], &output);
    assert!(verb.fails(1).contains("--insecure-plaintext"), "{verb:?}");
    assert!(!place.data().exists());
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new();
    let run = |flag: &str, other: &str| {
        let mut command = crate::harness::osb();
        command
            .args(["serve", "reference", flag, &address, other, "127.0.0.1:0", "--data-dir"])
            .arg(place.data());
        Verb::of(&[flag], &command.output().unwrap())
    };
    for (flag, other) in [("--listen", "--kube-listen"), ("--kube-listen", "--listen")] {
        let verb = run(flag, other);
        let text = verb.fails(1);
        assert!(
            text.contains(&address) && text.contains("another program") && text.contains(flag),
            "{text}"
        );
    }
    // What the attempts have left is no obstacle.
    assert_eq!(place.start().stop(), Some(0));
}

#[test]
fn a_folder_in_use() {
    let place = Place::new();
    let server = place.start();
    let pid = server.pid().to_string();
    refused(&place, &[], 1, &["is in use by process", &pid]);
    place.verb(&["provision", "unharmed"]).ok();
}

#[test]
fn somebody_elses_folder() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    write(&place.data().join("thesis.txt"), "text");
    refused(&place, &[], 1, &["thesis.txt", "--data-dir"]);
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1, "nothing was added");
}

#[test]
fn a_file_in_place_of_the_folder() {
    let place = Place::new();
    write(&place.data(), "");
    let path = place.data().display().to_string();
    refused(&place, &[], 1, &[&path]);
}

#[test]
fn a_damaged_store() {
    let place = used();
    let format = place.data().join("store/format");
    let text = fs::read(&format).unwrap();
    fs::write(&format, "objectstore embedded 99\n").unwrap();
    refused(&place, &[], 1, &["format", "embedded 99"]);
    fs::write(&format, &text).unwrap();

    let acked = place.data().join("store/acked");
    let mut bytes = fs::read(&acked).unwrap();
    bytes[0] ^= 1;
    fs::write(&acked, &bytes).unwrap();
    refused(&place, &[], 1, &["damaged", "Nothing was changed"]);
    bytes[0] ^= 1;
    fs::write(&acked, &bytes).unwrap();
    let _server = place.start();
    assert!(place.verb(&["instances"]).ok().contains("kept"));
}

#[test]
fn a_key_that_is_missing_wrong_or_unreadable() {
    let place = used();
    let path = place.data().join("key");
    let key = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    refused(&place, &[], 1, &["key is missing", "OSB_KEY_FILE"]);
    assert!(!path.exists(), "no new key is made for old data");
    write(&path, &"ab".repeat(32));
    refused(&place, &[], 1, &["was sealed with the key", "OSB_KEY_FILE"]);
    write(&path, "my secret key");
    refused(&place, &[], 1, &["line 1", "64 hexadecimal digits"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(&place, &[], 1, &["read the key in"]);
    fs::remove_dir(&path).unwrap();

    let elsewhere = place.data().with_file_name("elsewhere");
    write(&elsewhere, &key);
    let server = place.start_with(&["--key-file", elsewhere.to_str().unwrap()], &[]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let place = used();
    for (name, told) in [("credentials", "users"), ("pki", "remove it")] {
        let path = place.data().join(name);
        let text = fs::read_to_string(&path).unwrap();
        write(&path, "{ canary");
        let verb = place.refusal(&[]);
        let path_text = path.display().to_string();
        assert!(
            verb.fails(1).contains(told) && verb.stderr.contains(&path_text),
            "{verb:?}"
        );
        assert!(!verb.stderr.contains("canary"), "{verb:?}");
        write(&path, &text);
    }
    let nowhere = place.data().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    refused(
        &place,
        &["--tls-cert", nowhere, "--tls-key", nowhere],
        1,
        &[nowhere, "does not exist"],
    );
    refused(&place, &["--key-file", nowhere], 1, &[nowhere, "missing"]);
}

#[test]
fn everything_in_the_folder_is_its_owners_alone() {
    let place = used();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.data()), 0o700);
    for entry in fs::read_dir(place.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

/// All files below a folder with their bytes, but for the lock's note.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else if !path.ends_with("lock") {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_changed_byte_in_any_part_of_the_store() {
    let place = used();
    let server = place.start();
    place.verb(&["provision", "in-the-log"]).ok();
    server.kill();
    let store = place.data().join("store");
    let before = contents(&store);
    let damaged = |below: &[&str], damage: &dyn Fn(&mut Vec<u8>)| {
        let is_one = |path: &Path| below.iter().any(|below| path.to_string_lossy().contains(below));
        let of_it = || before.iter().filter(|(path, _)| is_one(path));
        assert!(of_it().count() >= below.len(), "no {below:?}: {:?}", before.keys());
        for (path, bytes) in of_it() {
            let mut bytes = bytes.clone();
            damage(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        let left = contents(&store);
        refused(&place, &[], 1, &["is damaged", "Nothing was changed", "from a backup"]);
        assert_eq!(contents(&store), left, "{below:?}");
        for (path, bytes) in of_it() {
            fs::write(path, bytes).unwrap();
        }
    };
    for (below, at) in [
        (&["store/log/0"][..], 3),
        // The first of several groups: not a torn end.
        (&["store/log/0"], 60),
        // The list of tables, and its copy with it.
        (&["store/tree/current", "store/tree/kept"], 10),
        (&["store/tree/v", "store/tree/kept"], 10),
        (&["store/format"], 0),
        (&["store/acked"], 11),
    ] {
        damaged(below, &|bytes| bytes[at] ^= 1);
    }
    // All of the tables: what a start does not look at is found by those who read it.
    damaged(&["store/tree/tables/"], &|bytes| {
        bytes.iter_mut().step_by(64).for_each(|byte| *byte ^= 1)
    });
    let _server = place.start();
    let listed = place.verb(&["instances"]);
    assert!(listed.ok().contains("kept") && listed.ok().contains("in-the-log"));
}

/// One of the two lists of tables is damaged or missing: the other one serves, and loses nothing.
#[test]
fn a_list_of_tables_is_restored_from_its_copy() {
    let place = used();
    let tree = place.data().join("store/tree");
    fs::remove_file(tree.join("current")).unwrap();
    let server = place.start();
    assert!(place.verb(&["instances"]).ok().contains("kept"));
    assert_eq!(server.stop(), Some(0));
    let mut copy = fs::read(tree.join("kept")).unwrap();
    copy[3] ^= 1;
    fs::write(tree.join("kept"), copy).unwrap();
    let _server = place.start();
    assert!(place.verb(&["instances"]).ok().contains("kept"));
}

/// The beginning of the only copy of what was acknowledged is missing, or something else lies among it.
#[test]
fn a_part_of_the_store_that_is_missing_or_foreign() {
    let place = used();
    let store = place.data().join("store");
    for name in ["acked", "format"] {
        let (path, away) = (store.join(name), place.data().with_file_name("away"));
        fs::rename(&path, &away).unwrap();
        refused(&place, &[], 1, &["is damaged", "Nothing was changed"]);
        fs::rename(&away, &path).unwrap();
    }
    let foreign = store.join("log").join("notes.txt");
    write(&foreign, "text");
    refused(&place, &[], 1, &["notes.txt", "move that away"]);
    fs::remove_file(&foreign).unwrap();
    let _server = place.start();
    assert!(place.verb(&["instances"]).ok().contains("kept"));
}
