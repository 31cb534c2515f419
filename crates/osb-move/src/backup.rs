//! From a home into an archive, while its broker serves.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use osb_engine::STORED_VERSION;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{Api, ApiError};
use crate::archive::crypt::{Encrypt, Key};
use crate::archive::{ArchiveError, End, Header, Resource, VERSION, Writer};
use crate::inventory;
use crate::layout::Layout;
use crate::needs::Needs;
use crate::pages::{self, Pages};

/// How often a backup begins anew because it took longer than the home keeps what was.
const TRIES: usize = 3;

/// What of a home belongs to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The home is the broker's own: everything.
    Whole,
    /// The home is a cluster with much else in it: the objects of this API group in the broker's namespaces.
    Group(String),
}

/// Whether the values of Secrets may stand in an archive that everybody can read who has the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Only in an encrypted one.
    Encrypted,
    /// Also in the clear.
    Clear,
}

/// What is to be kept, and how.
#[derive(Debug)]
pub struct Backup<'a> {
    /// The home.
    pub api: &'a Api,
    /// The name of that kind of home.
    pub home: &'a str,
    /// How it names namespaces.
    pub layout: &'a Layout,
    /// How much of it.
    pub extent: Extent,
    /// Encrypts the archive.
    pub key: Option<&'a Key>,
    /// What is done with Secrets.
    pub secrets: Secrets,
    /// The program, with its version.
    pub program: &'a str,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is there already.
    #[error("{path} is there already: name a new file", path = .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{path} cannot be written", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// The home does not say what is in it.
    #[error("{what} cannot be read: {error}")]
    Home {
        /// What was asked for.
        what: String,
        /// What came of it.
        error: ApiError,
    },
    /// There is no broker.
    #[error("there is no broker's state: the API group {0} is not served")]
    NoGroup(String),
    /// There are Secrets, and they would be readable.
    #[error(
        "the home has Secrets, whose values would stand readable in the file: encrypt it with --archive-key FILE, or allow that with --plain-secrets"
    )]
    Secrets,
}

/// An archive that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its first line.
    pub header: Header,
    /// Its last line.
    pub end: End,
    /// How large it is.
    pub bytes: u64,
}

/// Members of the metadata by which it is decided whether an object is kept.
#[derive(Default, Deserialize)]
struct Sketch {
    metadata: SketchMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SketchMeta {
    name: String,
    namespace: String,
}

impl Backup<'_> {
    /// Writes the archive. Everything in it is of one moment; the file is there only when it is whole.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn write(&self, path: &Path) -> Result<Made, BackupError> {
        if path.exists() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let partial = partial(path);
        let made = self.write_partial(&partial).await;
        let file = |source: io::Error| BackupError::File {
            path: path.to_owned(),
            source: source.into(),
        };
        match made {
            Ok(made) => {
                fs::rename(&partial, path).map_err(file)?;
                if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file)?;
                }
                Ok(made)
            }
            Err(error) => {
                // What is left of it is of no use to anybody.
                let _ = fs::remove_file(&partial);
                Err(error)
            }
        }
    }

    async fn write_partial(&self, partial: &Path) -> Result<Made, BackupError> {
        let (groups, resources) = self.inventory().await?;
        for _ in 1..TRIES {
            match self.try_write(partial, &groups, &resources).await {
                Err(BackupError::Home {
                    error: ApiError::Expired,
                    ..
                }) => {}
                made => return made,
            }
        }
        self.try_write(partial, &groups, &resources).await
    }

    async fn inventory(&self) -> Result<(Vec<String>, Vec<Resource>), BackupError> {
        let reading = |what: &str| {
            let what = what.to_owned();
            |error| BackupError::Home { what, error }
        };
        match &self.extent {
            Extent::Whole => {
                let groups = inventory::broker_groups(self.api).await;
                let groups = groups.map_err(reading("the definitions"))?;
                let resources = inventory::of_home(self.api).await;
                Ok((groups, resources.map_err(reading("the list of resources"))?))
            }
            Extent::Group(group) => {
                let served = inventory::of_group(self.api, group, osb_engine::resource::VERSION).await;
                let served = served.map_err(reading("the list of resources"))?;
                let mut served = served.ok_or_else(|| BackupError::NoGroup(group.clone()))?;
                // Who may not read definitions makes an archive for homes that have them.
                if self
                    .api
                    .get(&format!("{}?limit=1", definitions().path(None)))
                    .await
                    .is_ok()
                {
                    served.insert(0, definitions());
                }
                Ok((vec![group.clone()], served))
            }
        }
    }

    async fn try_write(&self, partial: &Path, groups: &[String], resources: &[Resource]) -> Result<Made, BackupError> {
        let failed = |source: ArchiveError| BackupError::File {
            path: partial.to_owned(),
            source,
        };
        let reading = |resource: &Resource| {
            let what = resource.name();
            |error| BackupError::Home { what, error }
        };
        let first = resources.iter().find(|resource| groups.contains(&resource.group));
        let first = first.or_else(|| resources.first());
        let first = first.ok_or_else(|| BackupError::NoGroup("of a broker".to_owned()))?;
        let revision = pages::newest(self.api, first).await.map_err(reading(first))?;
        let header = self.header(groups, &revision);
        let out = Out::create(partial, self.key).map_err(failed)?;
        let mut writer = Writer::new(out, &header).map_err(failed)?;
        for resource in resources {
            let ours = groups.contains(&resource.group);
            writer.resource(resource).map_err(failed)?;
            let mut pages = Pages::of(self.api, resource, Some(&revision));
            while let Some(page) = pages.next().await.map_err(reading(resource))? {
                for object in pages::parse(&page).map_err(reading(resource))? {
                    self.keep(&mut writer, resource, ours, object)
                        .map_err(|error| match error {
                            Kept::Archive(error) => failed(error),
                            Kept::Secret => BackupError::Secrets,
                        })?;
                }
            }
        }
        let (out, end) = writer.finish().map_err(failed)?;
        let bytes = out.finish().map_err(failed)?;
        Ok(Made { header, end, bytes })
    }

    fn header(&self, groups: &[String], revision: &str) -> Header {
        Header {
            version: VERSION,
            made: Timestamp::now().to_string(),
            program: self.program.to_owned(),
            home: self.home.to_owned(),
            revision: revision.to_owned(),
            groups: groups.to_vec(),
            system_namespace: self.layout.system.clone(),
            tenant_prefix: self.layout.tenant_prefix.clone(),
            stored_version: STORED_VERSION,
        }
    }

    fn keep(&self, writer: &mut Writer<Out>, resource: &Resource, ours: bool, object: &RawValue) -> Result<(), Kept> {
        if let Extent::Group(group) = &self.extent {
            let sketch: Sketch = serde_json::from_str(object.get()).unwrap_or_default();
            let is_definition = *resource == definitions();
            let foreign = if resource.namespaced {
                self.layout.owner(&sketch.metadata.namespace).is_none()
            } else {
                is_definition && !sketch.metadata.name.ends_with(&format!(".{group}"))
            };
            if foreign {
                return Ok(());
            }
        }
        let is_secret = resource.group.is_empty() && resource.plural == "secrets";
        if is_secret && self.key.is_none() && self.secrets == Secrets::Encrypted {
            return Err(Kept::Secret);
        }
        writer.object(object).map_err(Kept::Archive)?;
        if ours {
            let needs = Needs::of(object.get());
            writer.needs(needs.keys, needs.epoch);
        }
        Ok(())
    }
}

/// The definitions of custom resources.
fn definitions() -> Resource {
    Resource {
        group: "apiextensions.k8s.io".to_owned(),
        version: "v1".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        namespaced: false,
        status: true,
    }
}

/// Why an object was not kept.
enum Kept {
    Archive(ArchiveError),
    Secret,
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// The file, with what lies before it.
enum Out {
    Plain(BufWriter<File>),
    Encrypted(Box<Encrypt<BufWriter<File>>>),
}

impl Out {
    fn create(path: &Path, key: Option<&Key>) -> Result<Self, ArchiveError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let buffered = BufWriter::with_capacity(1 << 20, file);
        Ok(match key {
            None => Self::Plain(buffered),
            Some(key) => Self::Encrypted(Box::new(Encrypt::new(buffered, key)?)),
        })
    }

    /// Everything lies on the disk then. The answer is the number of bytes.
    fn finish(self) -> Result<u64, ArchiveError> {
        let buffered = match self {
            Self::Plain(buffered) => buffered,
            Self::Encrypted(encrypt) => encrypt.finish()?,
        };
        let file = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Encrypted(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Encrypted(out) => out.flush(),
        }
    }
}
