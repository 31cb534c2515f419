//! The archive: a text that is read line by line, whole or not at all.
//!
//! Each line is a JSON object with one member, whose name says what the line is:
//!
//! ```text
//! {"osb-backup":{"version":1,"made":"…","home":"embedded","revision":"4711","groups":["reference.osb.internal"],…}}
//! {"resource":{"group":"reference.osb.internal","version":"v1","plural":"serviceinstances","kind":"ServiceInstance",…}}
//! {"object":{"metadata":{…},"spec":{…},…}}
//! {"end":{"objects":1,"keys":["0b8cdfe2a8f2c0bb"],"highestEpoch":1790000000,"sha256":"…"}}
//! ```
//!
//! A line `resource` says of what kind the objects are that follow it. The checksum is that of all bytes before the last
//! line, so that an archive that was cut off or changed is known before anything is made of it. An encrypted archive is
//! this text in pieces behind one line in the clear ([`crypt`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub mod crypt;
mod read;
mod write;

pub use read::{Archive, Event, Summary};
pub use write::Writer;

/// The version of the format that is written; older ones are read.
pub const VERSION: u32 = 1;

/// The longest line: far above what an object may have in any home.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Of the format.
    pub version: u32,
    /// When the backup began, as text of RFC 3339.
    pub made: String,
    /// The program that made it.
    pub program: String,
    /// Where it was made: `embedded`, `etcd` or `kubernetes`.
    pub home: String,
    /// Everything in it was read at this resource version.
    pub revision: String,
    /// The API groups of the brokers in it.
    pub groups: Vec<String>,
    /// The namespace of the broker's own objects.
    pub system_namespace: String,
    /// What the namespace of a platform begins with.
    pub tenant_prefix: String,
    /// The newest version of the stored form in it.
    pub stored_version: u32,
}

/// What the objects are that follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The version in paths.
    pub version: String,
    /// The name in paths.
    pub plural: String,
    /// The kind.
    pub kind: String,
    /// Whether its objects lie in namespaces.
    #[serde(default)]
    pub namespaced: bool,
    /// Whether their status is written apart.
    #[serde(default)]
    pub status: bool,
}

impl Resource {
    /// `plural.group`, or `plural` in the core group.
    pub fn name(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `group/version`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The path of its objects, in one namespace or in all.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let of_group = self.api_version();
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/{of_group}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{of_group}/{}", self.plural),
        }
    }
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// How many objects there are.
    pub objects: u64,
    /// How many of each resource, by [`Resource::name`].
    pub resources: BTreeMap<String, u64>,
    /// The public ids of the keys that sealed something in it.
    pub keys: BTreeSet<String>,
    /// The highest epoch that an object carries.
    pub highest_epoch: u64,
    /// Of all bytes before this line, in hexadecimal digits.
    pub sha256: String,
}

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read or written.
    #[error("it cannot be read or written")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("it is no archive of a broker")]
    Foreign,
    /// A newer program made it.
    #[error("it has version {0} of the format, which this program does not know: use a newer one")]
    Newer(u32),
    /// It has no end.
    #[error("it ends too early: it was cut off, or the backup was interrupted")]
    Truncated,
    /// It is not what was written.
    #[error("it is damaged or was changed: {0}")]
    Damaged(&'static str),
    /// It is encrypted.
    #[error("it is encrypted with the key {0}: name the file that holds this key")]
    Encrypted(String),
    /// It is encrypted with another key.
    #[error("it is encrypted with the key {0}, which is not in the file that was named")]
    WrongKey(String),
    /// It is not encrypted, but a key was given.
    #[error(
        "it is not encrypted, so whoever could reach it may have made it: leave the key away to use it all the same"
    )]
    Clear,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// A line that is written.
#[derive(Serialize)]
enum Line<'a> {
    #[serde(rename = "osb-backup")]
    Header(&'a Header),
    #[serde(rename = "resource")]
    Resource(&'a Resource),
    #[serde(rename = "object")]
    Object(&'a serde_json::value::RawValue),
    #[serde(rename = "end")]
    End(&'a End),
}

/// A line that was read.
#[derive(Deserialize)]
enum ReadLine<'a> {
    #[serde(rename = "osb-backup")]
    Header(Header),
    #[serde(rename = "resource")]
    Resource(Resource),
    #[serde(rename = "object", borrow)]
    Object(&'a serde_json::value::RawValue),
    #[serde(rename = "end")]
    End(End),
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
