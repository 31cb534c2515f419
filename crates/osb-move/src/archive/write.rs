//! Archives, written.

use std::io::Write;

use ring::digest::{Context, SHA256};
use serde_json::value::RawValue;

use super::{ArchiveError, End, Header, Line, Resource, hex};

/// Writes an archive from its first line to its last. What was not ended is no archive.
pub struct Writer<W> {
    out: W,
    digest: Context,
    end: End,
    resource: Option<Resource>,
    in_resource: u64,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn new(out: W, header: &Header) -> Result<Self, ArchiveError> {
        let mut writer = Self {
            out,
            digest: Context::new(&SHA256),
            end: End::default(),
            resource: None,
            in_resource: 0,
            line: Vec::new(),
        };
        writer.write(&Line::Header(header))?;
        Ok(writer)
    }

    /// Says of what kind the next objects are.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn resource(&mut self, resource: &Resource) -> Result<(), ArchiveError> {
        self.close_resource();
        self.write(&Line::Resource(resource))?;
        self.resource = Some(resource.clone());
        Ok(())
    }

    /// Adds an object as it stands in an answer of the home.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn object(&mut self, object: &RawValue) -> Result<(), ArchiveError> {
        self.in_resource += 1;
        self.write(&Line::Object(object))
    }

    /// Notes what an object needs that was added: keys, and an epoch.
    pub fn needs(&mut self, keys: impl IntoIterator<Item = String>, epoch: Option<u64>) {
        self.end.keys.extend(keys);
        self.end.highest_epoch = self.end.highest_epoch.max(epoch.unwrap_or_default());
    }

    /// How many objects were added.
    pub fn objects(&self) -> u64 {
        self.end.objects + self.in_resource
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn finish(mut self) -> Result<(W, End), ArchiveError> {
        self.close_resource();
        self.end.sha256 = hex(self.digest.clone().finish().as_ref());
        let end = std::mem::take(&mut self.end);
        self.write(&Line::End(&end))?;
        Ok((self.out, end))
    }

    fn close_resource(&mut self) {
        let count = std::mem::take(&mut self.in_resource);
        self.end.objects += count;
        if let Some(resource) = self.resource.take() {
            *self.end.resources.entry(resource.name()).or_default() += count;
        }
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), ArchiveError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(std::io::Error::other)?;
        // A line end inside of JSON is space between its parts.
        for byte in &mut self.line {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.line.push(b'\n');
        self.digest.update(&self.line);
        self.out.write_all(&self.line)?;
        Ok(())
    }
}
