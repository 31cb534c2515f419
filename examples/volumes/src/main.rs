//! A broker of shared folders: an instance is a folder on a disk of an NFS server, and platforms mount it into
//! applications. It runs on that server.
//!
//! What is for sale stands in a file, a plan for each disk, and that file may change while the broker runs:
//!
//! `cargo run -p volumes -- --data-dir /tmp/volumes` serves what `examples/volumes/offer.json` says, or the file that
//! `VOLUMES` names, and prints
//!
//! ```text
//! The broker `volumes` is ready.
//! ```
//!
//! Add a disk to the file, or take one away: `osb catalog` shows it a second later, and folders on a disk that is not for
//! sale any more are served as before.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use futures::stream::{self, Stream};
use osb_sdk::{
    Binding, Broker, Device, DeviceType, Error, NoParameters, Object, Offering, Operation, Plan, Requires, Result,
    Service, VolumeMode, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::fs;

const OFFERING: &str = "c0a4c3a8-4c3e-4d6a-8a44-3a5f0a8c1e01";
/// The pause between two looks at the file.
const PAUSE: Duration = Duration::from_secs(1);

/// The file; and the service that it describes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Volumes {
    /// The server, as applications reach it.
    server: String,
    disks: Vec<Disk>,
}

/// A plan and its disk.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disk {
    plan_id: String,
    plan: String,
    description: String,
    /// Folders of instances are made in this one.
    folder: PathBuf,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Mount {
    /// Where the application finds the folder; without it in `/data`.
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
    /// Whether the application may only read.
    read_only: bool,
}

/// The second form of the state. The first one was only the folder's name: there was only one disk.
#[derive(Serialize, Deserialize)]
struct Volume {
    folder: PathBuf,
}

impl Service for Volumes {
    type Parameters = NoParameters;
    type BindParameters = Mount;
    type State = Volume;
    type Credentials = NoParameters;

    const STATE_VERSION: u32 = 2;

    async fn migrate(&self, _from: u32, state: Value) -> Result<Volume> {
        match (state.as_str(), self.disks.first()) {
            (Some(name), Some(first)) => Ok(Volume {
                folder: first.folder.join(name),
            }),
            _ => Err(Error::failed("It is not known where this folder is.")),
        }
    }

    // Not `create_dir_all`: a disk that is not mounted is waited for.
    async fn provision(&self, op: &Operation, _: NoParameters) -> Result<Volume> {
        let folder = self.folder(op)?;
        unless(ErrorKind::AlreadyExists, fs::create_dir(&folder).await)?;
        Ok(Volume { folder })
    }

    async fn deprovision(&self, op: &Operation, volume: Option<Volume>) -> Result<()> {
        let folder = volume.map_or_else(|| self.folder(op), |volume| Ok(volume.folder))?;
        unless(ErrorKind::NotFound, fs::remove_dir_all(folder).await)
    }

    async fn bind(&self, op: &Operation, volume: &Volume, mount: Mount) -> Result<Binding<NoParameters>> {
        let source = format!("nfs://{}{}", self.server, volume.folder.display());
        let mount = VolumeMount {
            driver: "nfsv3driver".to_owned(),
            container_dir: mount.path.unwrap_or_else(|| "/data".to_owned()),
            mode: if mount.read_only {
                VolumeMode::Read
            } else {
                VolumeMode::ReadWrite
            },
            device_type: DeviceType::Shared,
            device: Device {
                volume_id: op.instance_name("vol"),
                mount_config: Some(Object::from_iter([("source".to_owned(), source.into())])),
            },
        };
        Ok(Binding::new(NoParameters {}).volume_mounts(vec![mount]))
    }

    // A mount leaves nothing on the server.
    async fn unbind(&self, _: &Operation, _: &Volume, _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }

    async fn list_backend(&self) -> Result<Option<Vec<String>>> {
        let mut names = Vec::new();
        for disk in &self.disks {
            let mut folders = fs::read_dir(&disk.folder).await?;
            while let Some(folder) = folders.next_entry().await? {
                names.extend(folder.file_name().into_string());
            }
        }
        Ok(Some(names))
    }
}

impl Volumes {
    fn folder(&self, op: &Operation) -> Result<PathBuf> {
        let disk = self.disks.iter().find(|disk| disk.plan_id == op.plan().id);
        let disk = disk.ok_or_else(|| Error::failed("The plan has no disk."))?;
        Ok(disk.folder.join(op.stable_name("vol")))
    }
}

/// That it is done already is no error.
fn unless(done: ErrorKind, result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != done => Err(error.into()),
        _ => Ok(()),
    }
}

/// What a file says is for sale.
fn offer(text: &str) -> serde_json::Result<Broker> {
    let volumes: Volumes = serde_json::from_str(text)?;
    let offering = Offering::new(OFFERING, "volume", "Shared folders")
        .bindable(true)
        .requires(Requires::VolumeMount);
    let plan = |disk: &Disk| Plan::new(&disk.plan_id, &disk.plan, &disk.description);
    let offering = volumes.disks.iter().map(plan).fold(offering, Offering::plan);
    Ok(Broker::new("volumes").service(offering, volumes))
}

/// What the file says is for sale, each time it says something else.
fn changes(file: PathBuf, first: String) -> impl Stream<Item = Broker> + Send {
    stream::unfold((file, first), |(file, mut known)| async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            let text = fs::read_to_string(&file).await.unwrap_or_else(|_| known.clone());
            if text == known {
                continue;
            }
            known = text;
            match offer(&known) {
                Ok(broker) => return Some((broker, (file, known))),
                Err(error) => tracing::warn!(%error, "the file is not used, what it said before stays for sale"),
            }
        }
    })
}

fn broker(file: &Path) -> anyhow::Result<Broker> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let broker = offer(&text).with_context(|| format!("{} is not what it should be", file.display()))?;
    Ok(broker.changing(changes(file.to_owned(), text)))
}

fn main() -> anyhow::Result<ExitCode> {
    let file = std::env::var_os("VOLUMES").unwrap_or_else(|| "examples/volumes/offer.json".into());
    Ok(osb_sdk::run(broker(Path::new(&file))?))
}

#[cfg(test)]
mod tests;
