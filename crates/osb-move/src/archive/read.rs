//! Archives, read: the whole of one is looked at before anything is made of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde_json::value::RawValue;

use super::crypt::{self, Key};
use super::{ArchiveError, End, Header, MAX_LINE_BYTES, ReadLine, Resource, VERSION, hex};

/// An archive whose checksum was found right.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    key: Option<Key>,
    summary: Summary,
}

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its first line.
    pub header: Header,
    /// Its last line.
    pub end: End,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// What stands in an archive.
#[derive(Debug)]
pub enum Event<'a> {
    /// The next objects are of this resource.
    Resource(&'a Resource),
    /// An object of the last resource.
    Object(&'a Resource, &'a RawValue),
}

impl Archive {
    /// Reads an archive once, from its first line to its last, and compares its checksum. `look` sees all of it; what it
    /// does must not matter when the answer is an error.
    ///
    /// # Errors
    /// [`ArchiveError`] when the file is no archive, or not whole.
    pub fn open(
        path: &Path,
        keys: &[Key],
        look: impl FnMut(Event<'_>) -> Result<(), ArchiveError>,
    ) -> Result<Self, ArchiveError> {
        let key = key_of(path, keys)?;
        let (header, end) = walk(path, key.as_ref(), look)?;
        let summary = Summary {
            header,
            end,
            encrypted: key.is_some(),
        };
        Ok(Self {
            path: path.to_owned(),
            key,
            summary,
        })
    }

    /// The first line of an archive, of which nothing else has been looked at.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn header(path: &Path, keys: &[Key]) -> Result<Header, ArchiveError> {
        let file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut line = Vec::new();
        match key_of(path, keys)? {
            None => first_line(&mut BufReader::new(file), &mut line),
            Some(key) => {
                let mut opened = BufReader::with_capacity(1 << 16, crypt::Decrypt::new(file, &key)?);
                first_line(&mut opened, &mut line).map_err(crypt::cause)
            }
        }
    }

    /// What it says of itself.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads it again. What has changed since it was opened is an error at its end.
    ///
    /// # Errors
    /// [`ArchiveError`], also that of `look`.
    pub fn read(&self, look: impl FnMut(Event<'_>) -> Result<(), ArchiveError>) -> Result<(), ArchiveError> {
        let (header, end) = walk(&self.path, self.key.as_ref(), look)?;
        if (&header, &end) != (&self.summary.header, &self.summary.end) {
            return Err(ArchiveError::Damaged("it has changed since it was looked at"));
        }
        Ok(())
    }
}

/// The key of an encrypted archive, among those that were given.
fn key_of(path: &Path, keys: &[Key]) -> Result<Option<Key>, ArchiveError> {
    let mut first = Vec::new();
    BufReader::new(File::open(path)?.take(crypt::MAX_HEAD_BYTES)).read_until(b'\n', &mut first)?;
    match crypt::Head::parse(&first) {
        None if keys.is_empty() => Ok(None),
        None => Err(ArchiveError::Clear),
        Some(head) if keys.is_empty() => Err(ArchiveError::Encrypted(head.key)),
        Some(head) => match keys.iter().find(|key| key.id() == head.key) {
            Some(key) => Ok(Some(key.clone())),
            None => Err(ArchiveError::WrongKey(head.key)),
        },
    }
}

fn walk(
    path: &Path,
    key: Option<&Key>,
    look: impl FnMut(Event<'_>) -> Result<(), ArchiveError>,
) -> Result<(Header, End), ArchiveError> {
    let mut file = File::open(path)?;
    file.rewind()?;
    match key {
        None => lines(BufReader::with_capacity(1 << 16, file), look),
        Some(key) => {
            let opened = crypt::Decrypt::new(BufReader::with_capacity(1 << 16, file), key)?;
            lines(BufReader::with_capacity(1 << 16, opened), look).map_err(crypt::cause)
        }
    }
}

fn lines(
    mut reader: impl BufRead,
    mut look: impl FnMut(Event<'_>) -> Result<(), ArchiveError>,
) -> Result<(Header, End), ArchiveError> {
    let mut digest = Context::new(&SHA256);
    let mut line = Vec::new();
    let mut resource: Option<Resource> = None;
    let mut counted = 0;
    let header = first_line(&mut reader, &mut line)?;
    digest.update(&line);
    loop {
        if !next_line(&mut reader, &mut line)? {
            return Err(ArchiveError::Truncated);
        }
        let read = serde_json::from_slice(&line).map_err(|_| ArchiveError::Damaged("a line makes no sense"))?;
        match read {
            ReadLine::Header(_) => return Err(ArchiveError::Damaged("it begins twice")),
            ReadLine::Resource(next) => {
                look(Event::Resource(&next))?;
                resource = Some(next);
            }
            ReadLine::Object(object) => {
                let of = resource.as_ref();
                let of = of.ok_or(ArchiveError::Damaged("an object is of no resource"))?;
                look(Event::Object(of, object))?;
                counted += 1;
            }
            ReadLine::End(end) => {
                let found = hex(digest.finish().as_ref());
                if found != end.sha256 || counted != end.objects {
                    return Err(ArchiveError::Damaged("its checksum is not right"));
                }
                if next_line(&mut reader, &mut line)? {
                    return Err(ArchiveError::Damaged("something follows its end"));
                }
                return Ok((header, end));
            }
        }
        digest.update(&line);
    }
}

/// The version is looked at before anything else of the line is, which later versions may have changed.
fn first_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Result<Header, ArchiveError> {
    #[derive(serde::Deserialize)]
    struct First {
        #[serde(rename = "osb-backup")]
        header: Version,
    }
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    if !next_line(reader, line)? {
        return Err(ArchiveError::Foreign);
    }
    let first: First = serde_json::from_slice(line).map_err(|_| ArchiveError::Foreign)?;
    if first.header.version > VERSION {
        return Err(ArchiveError::Newer(first.header.version));
    }
    match serde_json::from_slice(line) {
        Ok(ReadLine::Header(header)) => Ok(header),
        _ => Err(ArchiveError::Damaged("its first line makes no sense")),
    }
}

/// Whether there is a further line, which stands in `line` then, with its end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, ArchiveError> {
    line.clear();
    let limit = MAX_LINE_BYTES as u64 + 1;
    reader.by_ref().take(limit).read_until(b'\n', line)?;
    match line.last() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) if line.len() > MAX_LINE_BYTES => Err(ArchiveError::Damaged("a line is too long")),
        Some(_) => Err(ArchiveError::Truncated),
    }
}
