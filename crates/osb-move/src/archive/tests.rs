use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::value::RawValue;

use super::crypt::{Encrypt, Key};
use super::*;

fn header() -> Header {
    Header {
        version: VERSION,
        made: "2026-01-02T03:04:05Z".to_owned(),
        program: "test".to_owned(),
        home: "embedded".to_owned(),
        revision: "4711".to_owned(),
        groups: vec!["probe.osb.internal".to_owned()],
        system_namespace: "osb-system".to_owned(),
        tenant_prefix: String::new(),
        stored_version: 1,
    }
}

fn resource() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "configmaps".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespaced: true,
        status: false,
    }
}

fn write_to<W: std::io::Write>(out: W, objects: &[String]) -> W {
    let mut writer = Writer::new(out, &header()).unwrap();
    writer.resource(&resource()).unwrap();
    for object in objects {
        writer.object(&RawValue::from_string(object.clone()).unwrap()).unwrap();
    }
    writer.needs(["k1".to_owned()], Some(7));
    writer.finish().unwrap().0
}

/// Objects that make several pieces.
fn objects() -> Vec<String> {
    (0..200)
        .map(|n| format!("{{\"n\":{n},\n \"text\":\"{}\"}}", "x".repeat(1000)))
        .collect()
}

fn plain() -> Vec<u8> {
    write_to(Vec::new(), &objects())
}

fn encrypted(key: &Key) -> Vec<u8> {
    write_to(Encrypt::new(Vec::new(), key).unwrap(), &objects())
        .finish()
        .unwrap()
}

fn open(path: &Path, bytes: &[u8], keys: &[Key]) -> Result<(Archive, usize), ArchiveError> {
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
    let mut seen = 0;
    let archive = Archive::open(path, keys, |event| {
        seen += usize::from(matches!(event, Event::Object(..)));
        Ok(())
    })?;
    Ok((archive, seen))
}

#[test]
fn what_was_written_is_read_in_the_clear_and_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let key = Key::new([9; 32]);
    for (bytes, keys) in [
        (plain(), vec![]),
        (encrypted(&key), vec![Key::new([1; 32]), key.clone()]),
    ] {
        let (archive, seen) = open(&path, &bytes, &keys).unwrap();
        assert_eq!(seen, 200);
        let summary = archive.summary();
        assert_eq!((&summary.header, summary.end.objects), (&header(), 200));
        assert_eq!((summary.end.highest_epoch, summary.end.keys.len()), (7, 1));
        assert_eq!(summary.end.resources.get("configmaps"), Some(&200));
        let mut again = 0;
        archive
            .read(|event| {
                if let Event::Object(of, object) = event {
                    assert_eq!((of, object.get().contains('\n')), (&resource(), false));
                    again += 1;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(again, 200);
    }
}

#[test]
fn what_is_cut_off_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let key = Key::new([9; 32]);
    for (bytes, keys) in [(plain(), vec![]), (encrypted(&key), vec![key.clone()])] {
        for end in (0..bytes.len()).step_by(997).chain([bytes.len() - 1]) {
            let refused = open(&path, &bytes[..end], &keys);
            assert!(refused.is_err(), "cut off at {end}");
        }
    }
}

#[test]
fn what_was_changed_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let key = Key::new([9; 32]);
    for (bytes, keys) in [(plain(), vec![]), (encrypted(&key), vec![key.clone()])] {
        for place in (0..bytes.len() - 1).step_by(991) {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let refused = open(&path, &changed, &keys);
            assert!(refused.is_err(), "changed at {place}");
        }
        let mut longer = bytes.clone();
        longer.extend_from_slice(b"x\n");
        assert!(open(&path, &longer, &keys).is_err());
    }
}

#[test]
fn what_is_foreign_newer_or_of_another_key_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let (key, other) = (Key::new([9; 32]), Key::new([8; 32]));
    let text = String::from_utf8(plain()).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert!(matches!(open(&path, b"", &[]), Err(ArchiveError::Foreign)));
    assert!(matches!(open(&path, b"{\"a\":1}\n", &[]), Err(ArchiveError::Foreign)));
    assert!(matches!(
        open(&path, &[0x1f; 5000], &[]),
        Err(ArchiveError::Foreign | ArchiveError::Truncated)
    ));
    assert!(matches!(
        open(&path, newer.as_bytes(), &[]),
        Err(ArchiveError::Newer(2))
    ));
    assert!(matches!(open(&path, &encrypted(&key), &[]), Err(ArchiveError::Encrypted(id)) if id == key.id()));
    assert!(matches!(open(&path, &encrypted(&key), &[other]), Err(ArchiveError::WrongKey(id)) if id == key.id()));
    assert!(matches!(open(&path, &plain(), &[key]), Err(ArchiveError::Clear)));
}

#[test]
fn pieces_in_another_order_do_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let key = Key::new([9; 32]);
    let bytes = encrypted(&key);
    let head = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let piece = 4 + (1 << 16) + 16;
    let mut swapped = bytes[..head].to_vec();
    swapped.extend_from_slice(&bytes[head + piece..head + 2 * piece]);
    swapped.extend_from_slice(&bytes[head..head + piece]);
    swapped.extend_from_slice(&bytes[head + 2 * piece..]);
    assert_eq!(swapped.len(), bytes.len());
    let refused = open(&path, &swapped, &[key]);
    assert!(matches!(refused, Err(ArchiveError::Damaged(_))), "{refused:?}");
}
