//! Whether the files of the tables are whole where the library takes it for granted, and which of them is not.
//!
//! The library checks each block of a table when it reads it, but believes some of what leads there, and its errors name
//! no file. What it believes is looked at here before it opens a folder:
//!
//! - the list of tables: damage there would make tables vanish, and opening deletes what is not listed;
//! - the list of contents at the end of each table, which says how much memory to take before it is compared with its
//!   checksum.
//!
//! Of the list of tables there is a copy of our own, from which it is restored when it is damaged. The library needs that
//! itself: when a change of the list fails at its very end, `current` names a list already which the next change writes
//! anew, and a process that ends then leaves half of it.
//!
//! ```text
//! current            number of the list u64, its checksum u128, kind of the checksum u8
//! vNUMBER, tables/ID sections, then the list of contents: "TOC!"  sections u32
//!                    and for each: position u64  length u64  length of its name u16  name
//!                    and the trailer: "SFA!"  version u8  kind of the checksum u8
//!                    checksum of the list of contents u128  its position u64  its length u64
//! kept               a copy of `current`, and of the list
//! section "tables"   levels u8; for each: runs u8; for each: tables u32;
//!                    for each: id u64  kind of the checksum u8  checksum of the whole file u128  sequence number u64
//! ```
//!
//! Numbers are little-endian, checksums are XXH3.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Buf as _;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::disk::sync_folder;

const TRAILER: usize = 38;

/// The length of `current`, in bytes.
const CURRENT: usize = 25;

/// How often the list of tables is read again while it changes.
const TRIES: usize = 100;

/// No list of contents is longer, in bytes: a table has at most seven sections.
const LONGEST_CONTENTS: u64 = 64 * 1024;

/// A table that must be there.
struct Listed {
    /// Its file, below the folder of the tables.
    name: String,
    checksum: u128,
}

/// Checks what the library believes. `is_new` says that there need be nothing yet.
///
/// `Err` says what is damaged.
pub(super) fn check(path: &Path, is_new: bool) -> Result<(), String> {
    let tables = match list(path, is_new) {
        Err(what) if restore(path).is_some() => {
            tracing::warn!(folder = %path.display(), "{what}: restored from its copy");
            list(path, is_new)?
        }
        found => found?,
    };
    for table in tables {
        match has_whole_contents(&path.join(&table.name)) {
            Ok(true) => {}
            Ok(false) => return Err(format!("the file `{}` is damaged", table.name)),
            Err(error) => return Err(format!("the file `{}` cannot be read: {error}", table.name)),
        }
    }
    Ok(())
}

/// Names the first table whose file is not as it was written. Reads all of them.
pub(super) fn first_damaged(path: &Path) -> Option<String> {
    let tables = list(path, true).ok()?;
    let damaged = |table: &Listed| !matches!(checksum(&path.join(&table.name)), Ok(found) if found == table.checksum);
    tables.into_iter().find(damaged).map(|table| table.name)
}

/// Keeps a copy of the list of tables. To be called after each change of it, by one thread at a time, and before the log
/// of what is in new tables is let go.
///
/// # Errors
///
/// When the copy cannot be written, or the list not be read.
pub(super) fn keep(path: &Path) -> io::Result<()> {
    let mut tries = 0;
    let copy = loop {
        // Another thread may be changing it.
        match fs::read(path.join("current"))
            .map_err(|error| error.to_string())
            .and_then(|current| {
                let (_, list) = list_of(path, &current)?;
                Ok([current, list].concat())
            }) {
            Ok(copy) => break copy,
            Err(_) if tries < TRIES => tries += 1,
            Err(what) => return Err(io::Error::other(what)),
        }
    };
    replace(path, "kept", &copy)
}

/// Writes the list of tables again as the copy has it, if all of its tables are there.
fn restore(path: &Path) -> Option<()> {
    let copy = fs::read(path.join("kept")).ok()?;
    let (current, list) = copy.split_at_checked(CURRENT)?;
    let (number, checksum) = decode_current(current)?;
    if xxh3_128(list) != checksum {
        return None;
    }
    let mut tables = tables(list)?.into_iter();
    if !tables.all(|table| matches!(has_whole_contents(&path.join(table.name)), Ok(true))) {
        return None;
    }
    replace(path, &format!("v{number}"), list).ok()?;
    replace(path, "current", current).ok()
}

/// Writes a file, durably, in one step.
fn replace(path: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = path.join("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path.join(name))?;
    sync_folder(path)
}

/// The tables that the list names.
fn list(path: &Path, is_new: bool) -> Result<Vec<Listed>, String> {
    let current = match fs::read(path.join("current")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => return Ok(Vec::new()),
        Err(error) => return Err(format!("the file `current` cannot be read: {error}")),
    };
    let (name, list) = list_of(path, &current)?;
    tables(&list).ok_or_else(|| format!("the file `{name}` is of a kind that this version cannot read"))
}

/// The list that `current` names: the name of its file, and its bytes.
fn list_of(path: &Path, current: &[u8]) -> Result<(String, Vec<u8>), String> {
    let Some((number, checksum)) = decode_current(current) else {
        return Err("the file `current` is damaged".into());
    };
    let name = format!("v{number}");
    let list = fs::read(path.join(&name))
        .map_err(|error| format!("the file `{name}`, which `current` names, cannot be read: {error}"))?;
    if xxh3_128(&list) != checksum {
        return Err(format!("the file `{name}`, or `current`, is damaged"));
    }
    Ok((name, list))
}

/// The number of the list, and its checksum.
fn decode_current(current: &[u8]) -> Option<(u64, u128)> {
    let mut rest = current;
    let parts = (rest.try_get_u64_le().ok()?, rest.try_get_u128_le().ok()?);
    (rest == [0]).then_some(parts)
}

/// The tables in the bytes of a list.
fn tables(list: &[u8]) -> Option<Vec<Listed>> {
    let (rest, trailer) = list.split_last_chunk::<TRAILER>()?;
    let (_, position) = contents(trailer)?;
    let mut section = section(list, rest.get(usize::try_from(position).ok()?..)?, b"tables")?;
    let mut tables = Vec::new();
    for _ in 0..section.try_get_u8().ok()? {
        for _ in 0..section.try_get_u8().ok()? {
            for _ in 0..section.try_get_u32_le().ok()? {
                tables.push(listed(&mut section)?);
            }
        }
    }
    section.is_empty().then_some(tables)
}

fn listed(section: &mut &[u8]) -> Option<Listed> {
    let id = section.try_get_u64_le().ok()?;
    let kind = section.try_get_u8().ok()?;
    let checksum = section.try_get_u128_le().ok()?;
    section.try_get_u64_le().ok()?;
    (kind == 0).then(|| Listed {
        name: format!("tables/{id}"),
        checksum,
    })
}

/// The section of that name, by a list of contents.
fn section<'a>(file: &'a [u8], mut contents: &[u8], wanted: &[u8]) -> Option<&'a [u8]> {
    contents = contents.strip_prefix(b"TOC!")?;
    for _ in 0..contents.try_get_u32_le().ok()? {
        let position = usize::try_from(contents.try_get_u64_le().ok()?).ok()?;
        let length = usize::try_from(contents.try_get_u64_le().ok()?).ok()?;
        let name = usize::from(contents.try_get_u16_le().ok()?);
        let (name, rest) = contents.split_at_checked(name)?;
        if name == wanted {
            return file.get(position..position.checked_add(length)?);
        }
        contents = rest;
    }
    None
}

/// Checksum and position of the list of contents, as the trailer says them.
fn contents(trailer: &[u8; TRAILER]) -> Option<(u128, u64)> {
    let mut rest = trailer.strip_prefix(b"SFA!\x01\x00")?;
    Some((rest.get_u128_le(), rest.get_u64_le()))
}

/// Whether the file has a list of contents, and it is as it was written.
fn has_whole_contents(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let Some(end) = file.metadata()?.len().checked_sub(TRAILER as u64) else {
        return Ok(false);
    };
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, end)?;
    let Some((checksum, position)) = contents(&trailer) else {
        return Ok(false);
    };
    let Some(length) = end.checked_sub(position).filter(|length| *length <= LONGEST_CONTENTS) else {
        return Ok(false);
    };
    let mut list = vec![0; length as usize];
    file.read_exact_at(&mut list, position)?;
    Ok(xxh3_128(&list) == checksum)
}

fn checksum(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hasher = Xxh3Default::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.digest128()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;
    use crate::embedded::records::Checkpoint;
    use crate::embedded::tree::Tables;

    /// A folder with three tables.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let tables = Tables::open(folder.path(), 1 << 20).unwrap();
        for revision in 1..=3 {
            tables.seal(Checkpoint {
                applied: Revision(revision),
                oldest: Revision(revision),
            });
            tables.flush().unwrap();
        }
        folder
    }

    #[test]
    fn every_table_is_known_with_its_checksum() {
        let folder = folder();
        let listed = list(folder.path(), false).unwrap();
        assert_eq!(listed.len(), 3);
        for table in &listed {
            assert_eq!(checksum(&folder.path().join(&table.name)).unwrap(), table.checksum);
        }
        check(folder.path(), false).unwrap();
        assert_eq!(first_damaged(folder.path()), None);
    }

    #[test]
    fn a_list_of_contents_that_was_changed_is_noticed_wherever() {
        let folder = folder();
        let name = list(folder.path(), false).unwrap().remove(1).name;
        let path = folder.path().join(&name);
        let bytes = fs::read(&path).unwrap();
        let trailer = bytes.last_chunk::<TRAILER>().unwrap();
        let (_, position) = contents(trailer).unwrap();
        // The length, at the very end, is not looked at by anybody.
        for index in position as usize..bytes.len() - 8 {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << (index % 8);
            fs::write(&path, changed).unwrap();
            let what = check(folder.path(), false).expect_err("it is damaged");
            assert!(what.contains(&name), "byte {index}: {what}");
        }
        for length in [0, 5, TRAILER, bytes.len() / 2] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(check(folder.path(), false).is_err(), "cut to {length} bytes");
        }
        fs::write(&path, &bytes).unwrap();
        check(folder.path(), false).unwrap();
        let mut changed = bytes;
        changed[10] ^= 1;
        fs::write(&path, changed).unwrap();
        assert_eq!(first_damaged(folder.path()), Some(name));
    }

    #[test]
    fn a_table_that_is_missing_is_named() {
        let folder = folder();
        let name = list(folder.path(), false).unwrap().remove(2).name;
        fs::remove_file(folder.path().join(&name)).unwrap();
        assert!(check(folder.path(), false).unwrap_err().contains(&name));
        fs::remove_file(folder.path().join("current")).unwrap();
        assert!(check(folder.path(), false).unwrap_err().contains("current"));
        check(folder.path(), true).unwrap();
    }

    #[test]
    fn a_damaged_list_is_restored_while_its_copy_is_whole() {
        let folder = folder();
        let path = folder.path();
        let names = || -> Vec<_> { list(path, false).unwrap().into_iter().map(|table| table.name).collect() };
        let (before, current) = (names(), fs::read(path.join("current")).unwrap());
        let (name, bytes) = list_of(path, &current).unwrap();
        for damaged in [&b""[..], &bytes[..bytes.len() / 2], &[0; 500]] {
            fs::write(path.join(&name), damaged).unwrap();
            check(path, false).unwrap();
            assert_eq!(names(), before);
        }
        fs::remove_file(path.join("current")).unwrap();
        check(path, false).unwrap();
        assert_eq!(names(), before);

        let mut kept = fs::read(path.join("kept")).unwrap();
        kept[100] ^= 1;
        fs::write(path.join("kept"), kept).unwrap();
        fs::write(path.join(&name), "").unwrap();
        assert!(check(path, false).unwrap_err().contains(&name));
        assert_eq!(fs::read(path.join(&name)).unwrap(), b"", "left as it is");
    }

    #[test]
    fn a_list_is_not_restored_without_its_tables() {
        let folder = folder();
        let tables = list(folder.path(), false).unwrap();
        fs::remove_file(folder.path().join(&tables[0].name)).unwrap();
        fs::write(folder.path().join("current"), "").unwrap();
        assert!(check(folder.path(), false).unwrap_err().contains("current"));
        assert_eq!(fs::read(folder.path().join("current")).unwrap(), b"", "left as it is");
    }

    #[test]
    fn rubbish_is_no_list() {
        for bytes in [
            &b""[..],
            b"SFA!",
            &[0xff; 100],
            &[b"SFA!\x01\x00".as_slice(), &[0xff; 32]].concat(),
        ] {
            assert!(tables(bytes).is_none());
        }
    }
}
