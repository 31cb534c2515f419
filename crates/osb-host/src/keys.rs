//! The keys that seal secrets in the stored state.

use std::path::Path;

use osb_engine::{KEY_BYTES, Keys};

use crate::data_dir::DataDir;
use crate::error::HostError;
use crate::files;

/// What came of looking for the keys.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) keys: Keys,
    /// Whether the key was made now.
    pub(crate) made: bool,
}

/// Reads the keys, or makes the first one when there is no data yet. Keys that do not fit the data are refused.
pub(crate) fn load(folder: &DataDir, elsewhere: Option<&Path>) -> Result<Loaded, HostError> {
    let sealed_with = read_ids(folder)?;
    let path = elsewhere.map_or_else(|| folder.key(), Path::to_owned);
    let found = files::read(&path).map_err(|source| HostError::file("read the key in", &path, source))?;
    let (lines, made) = match found {
        Some(bytes) => (parse(&bytes).map_err(|what| HostError::content(&path, what))?, false),
        None if !sealed_with.is_empty() => return Err(HostError::KeyMissing { path }),
        // A file that somebody named is that person's to make.
        None if elsewhere.is_some() => {
            return Err(HostError::content(path, format!("does not exist. {HOW_TO_MAKE}")));
        }
        None => (vec![make(&path)?], true),
    };
    let mut lines = lines.into_iter();
    let first = lines
        .next()
        .ok_or_else(|| HostError::content(&path, format!("holds no key. {HOW_TO_MAKE}")))?;
    let keys = Keys::new(first, lines);
    let ids = keys.ids();
    if let Some(wanted) = sealed_with.iter().find(|id| !ids.contains(id)) {
        return Err(HostError::WrongKey {
            folder: folder.path().to_owned(),
            path,
            wanted: wanted.clone(),
        });
    }
    note(folder, sealed_with, &ids)?;
    Ok(Loaded { keys, made })
}

pub(crate) const HOW_TO_MAKE: &str = "A key is a line of 64 hexadecimal digits, as `openssl rand -hex 32` prints";

/// One key per line; the first seals, all open.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<[u8; KEY_BYTES]>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("is not text. {HOW_TO_MAKE}"))?;
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| key(line).ok_or_else(|| format!("holds no key in line {number}. {HOW_TO_MAKE}")))
        .collect()
}

fn key(line: &str) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    if line.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(line.as_bytes().chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(value(digits[0])? << 4 | value(digits[1])?).ok()?;
    }
    Some(key)
}

fn make(path: &Path) -> Result<[u8; KEY_BYTES], HostError> {
    let key = Keys::generate().map_err(|_| HostError::NoRandomness)?;
    let mut line: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    line.push('\n');
    files::write(path, line.as_bytes()).map_err(|source| HostError::file("write the key to", path, source))?;
    Ok(key)
}

fn read_ids(folder: &DataDir) -> Result<Vec<String>, HostError> {
    let path = folder.sealed_with();
    let bytes = files::read(&path)
        .map_err(|source| HostError::file("read", &path, source))?
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Notes keys that have sealed what came into the folder.
pub(crate) fn note_all(folder: &DataDir, ids: impl IntoIterator<Item = String>) -> Result<(), HostError> {
    let mut noted = read_ids(folder)?;
    let before = noted.len();
    for id in ids {
        if !noted.contains(&id) {
            noted.push(id);
        }
    }
    if noted.len() == before {
        return Ok(());
    }
    let path = folder.sealed_with();
    let text = noted.join("\n") + "\n";
    files::write(&path, text.as_bytes()).map_err(|source| HostError::file("write", path, source))
}

/// Notes the key that seals from now on, before it has sealed anything.
fn note(folder: &DataDir, mut noted: Vec<String>, ids: &[String]) -> Result<(), HostError> {
    let Some(first) = ids.first().filter(|first| !noted.contains(first)) else {
        return Ok(());
    };
    noted.push(first.clone());
    let path = folder.sealed_with();
    let text = noted.join("\n") + "\n";
    files::write(&path, text.as_bytes()).map_err(|source| HostError::file("write", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataDir::new(temporary.path());
        (temporary, folder)
    }

    #[test]
    fn the_key_is_made_once() {
        let (_temporary, folder) = folder();
        let first = load(&folder, None).unwrap();
        let second = load(&folder, None).unwrap();
        assert!(first.made && !second.made);
        assert_eq!(first.keys.ids(), second.keys.ids());
    }

    #[test]
    fn data_is_not_opened_with_another_key_and_no_new_one_is_made_for_it() {
        let (_temporary, folder) = folder();
        let wanted = load(&folder, None).unwrap().keys.ids();
        let right = std::fs::read_to_string(folder.key()).unwrap();
        std::fs::remove_file(folder.key()).unwrap();
        assert!(matches!(load(&folder, None), Err(HostError::KeyMissing { .. })));
        let other = "00".repeat(32);
        std::fs::write(folder.key(), &other).unwrap();
        let error = load(&folder, None).unwrap_err();
        assert!(
            matches!(&error, HostError::WrongKey { wanted: id, .. } if *id == wanted[0]),
            "{error}"
        );
        // Rotation: the new key first, the old one below.
        std::fs::write(folder.key(), format!("# keys\n{other}\n{right}")).unwrap();
        load(&folder, None).unwrap();
        std::fs::write(folder.key(), &right).unwrap();
        assert!(
            matches!(load(&folder, None), Err(HostError::WrongKey { .. })),
            "the new key has sealed, too"
        );
    }

    #[test]
    fn a_named_file_is_used_and_never_made() {
        let (temporary, folder) = folder();
        let path = temporary.path().join("elsewhere");
        assert!(matches!(load(&folder, Some(&path)), Err(HostError::Content { .. })));
        assert!(!path.exists());
        std::fs::write(&path, "ab".repeat(32)).unwrap();
        assert_eq!(load(&folder, Some(&path)).unwrap().keys.ids().len(), 1);
        assert!(!folder.key().exists());
    }

    #[test]
    fn an_unreadable_key_is_named_but_not_quoted() {
        let (_temporary, folder) = folder();
        for bad in [
            "",
            "# none\n",
            "not-a-key-at-all",
            &"g0".repeat(32),
            &"ab".repeat(33),
            &"é".repeat(32),
        ] {
            std::fs::write(folder.key(), bad).unwrap();
            let error = load(&folder, None).unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
            assert!(bad.trim().is_empty() || !error.contains(bad), "{error}");
        }
    }
}
