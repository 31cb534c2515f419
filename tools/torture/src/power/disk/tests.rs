use std::fs;

use super::*;

/// A folder on the disk and the calls of a process that works in it.
struct Played {
    folder: tempfile::TempDir,
    disk: Disk,
    place: u64,
}

fn hex(text: &str) -> String {
    let codes: String = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{codes}\"")
}

impl Played {
    fn new(syncs: Syncs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let disk = Disk::read(&folder.path().join("data"), syncs).unwrap();
        Self { folder, disk, place: 0 }
    }

    fn name(&self, name: &str) -> String {
        let path = self.folder.path().join("data").join(name);
        hex(path.to_str().unwrap())
    }

    fn call(&mut self, name: &str, args: &[&str], result: i64) {
        self.place += 1;
        let call = Call {
            name: name.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            result,
            began: self.place,
            ended: self.place,
            nanos: self.place,
        };
        self.disk.apply(&call).unwrap();
    }

    fn create(&mut self, name: &str, file: i64) {
        let path = self.name(name);
        self.call("openat", &["AT_FDCWD", &path, "O_RDWR|O_CREAT", "0600"], file);
    }

    fn write(&mut self, file: i64, text: &str) {
        let length = text.len().to_string();
        self.call("write", &[&file.to_string(), &hex(text), &length], text.len() as i64);
    }

    fn sync(&mut self, file: i64) {
        self.call("fdatasync", &[&file.to_string()], 0);
    }

    fn sync_folder(&mut self) {
        let path = self.name("");
        self.call("openat", &["AT_FDCWD", &path, "O_RDONLY"], 99);
        self.call("fsync", &["99"], 0);
        self.call("close", &["99"], 0);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let (from, to) = (self.name(from), self.name(to));
        self.call("rename", &[&from, &to], 0);
    }

    /// What each name may hold after the power has failed now.
    fn after(&self, name: &str) -> BTreeSet<Option<String>> {
        (0..60)
            .map(|seed| {
                let target = self.folder.path().join(format!("after-{seed}"));
                self.disk.rebuild(&target, &mut Random::new(seed)).unwrap();
                let content = fs::read(target.join(name)).ok();
                fs::remove_dir_all(&target).unwrap();
                content.map(|bytes| String::from_utf8(bytes).unwrap())
            })
            .collect()
    }
}

fn texts(texts: &[Option<&str>]) -> BTreeSet<Option<String>> {
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn what_was_synced_with_its_name_is_there() {
    let mut played = Played::new(Syncs::Count);
    played.create("a", 3);
    played.write(3, "one");
    played.sync(3);
    assert_eq!(
        played.after("a"),
        texts(&[None, Some("one")]),
        "its folder was not synced"
    );
    played.sync_folder();
    assert_eq!(played.after("a"), texts(&[Some("one")]));
    played.write(3, "two");
    assert_eq!(
        played.after("a"),
        texts(&[Some("one"), Some("one\0\0\0"), Some("onetwo")])
    );
    played.sync(3);
    assert_eq!(played.after("a"), texts(&[Some("onetwo")]));
}

#[test]
fn a_sync_that_does_nothing_loses_everything() {
    let mut played = Played::new(Syncs::Ignored);
    played.create("a", 3);
    played.write(3, "one");
    played.sync(3);
    played.sync_folder();
    assert!(played.after("a").contains(&None));
}

#[test]
fn a_rename_happens_as_a_whole_or_not() {
    let mut played = Played::new(Syncs::Count);
    for (name, text) in [("a", "old"), ("b", "new")] {
        played.create(name, 3);
        played.write(3, text);
        played.sync(3);
    }
    played.sync_folder();
    played.rename("b", "a");
    assert_eq!(played.after("a"), texts(&[Some("old"), Some("new")]));
    assert_eq!(played.after("b"), texts(&[None, Some("new")]));
    played.sync_folder();
    assert_eq!(played.after("a"), texts(&[Some("new")]));
    assert_eq!(played.after("b"), texts(&[None]));
}

#[test]
fn a_name_that_another_thread_is_about_to_make_is_waited_for() {
    let mut played = Played::new(Syncs::Count);
    played.create("a", 3);
    played.write(3, "one");
    // Written down in the order of the ends of the calls.
    played.rename("b", "c");
    played.rename("a", "b");
    assert!(played.disk.now.keys().any(|path| path.ends_with("c")));
    assert!(played.disk.waiting.is_empty());
}

#[test]
fn writing_beside_the_calls_is_found() {
    let mut played = Played::new(Syncs::Count);
    let path = played.folder.path().join("data").join("a");
    fs::write(&path, "one").unwrap();
    assert!(played.disk.check_whole().is_err(), "its name is not known");
    played.create("a", 3);
    assert!(played.disk.check_whole().is_err(), "its bytes are not known");
    played.write(3, "one");
    played.disk.check_whole().unwrap();
    let unknown = Call {
        name: "copy_file_range".to_owned(),
        args: vec!["3".to_owned(), "NULL".to_owned()],
        result: 1,
        began: 50,
        ended: 50,
        nanos: 50,
    };
    assert!(played.disk.apply(&unknown).is_err());
}
