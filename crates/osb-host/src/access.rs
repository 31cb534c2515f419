//! Who may call and what TLS is spoken with: read at the start, and again while the broker runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apiserver_host::Tls;
use osb_engine::Engine;
use osb_server::Server;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::auth_file::{AuthFile, ClientAuthority};
use crate::credentials::{self, Credentials, Logins};
use crate::data_dir::DataDir;
use crate::error::{HostError, explain};
use crate::options::HostOptions;
use crate::tls;

/// How often files are looked at. One that has changed is read when it was the same twice: it is not half-written then.
const LOOK: Duration = Duration::from_secs(1);

/// How often files that name other files each time are read in a row.
const READS: usize = 3;

/// What all the files say.
pub(crate) struct Access {
    /// The login of this machine's clients, and further users of the data folder.
    pub(crate) local: Logins,
    file: AuthFile,
    pub(crate) tls: Option<Tls>,
}

/// The files that were read, as they were before.
#[derive(Default)]
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

impl Access {
    /// Reads all files. In the data folder a login is made when there is none.
    pub(crate) fn read(options: &HostOptions, folder: &DataDir) -> (Files, Result<Self, HostError>) {
        let mut files = Files::default();
        let mut tries = 0;
        loop {
            tries += 1;
            let mut paths = Vec::new();
            let access = Self::read_once(options, folder, &mut paths);
            // What changes between a look at it and its reading is read again later, so the look has to come first.
            if paths == files.paths || tries > READS {
                return (files, access);
            }
            files.stamps = stamps(&paths);
            files.paths = paths;
        }
    }

    fn read_once(options: &HostOptions, folder: &DataDir, files: &mut Vec<PathBuf>) -> Result<Self, HostError> {
        files.push(folder.credentials());
        let (file, tls) = named(options, files)?;
        let local = credentials::load(folder, Credentials::from_environment())?;
        Ok(Self { local, file, tls })
    }

    /// Everybody who may call.
    pub(crate) fn logins(&self) -> osb_server::Logins {
        let mut logins = self.file.logins.clone();
        logins.users.splice(0..0, self.local.users());
        logins
    }

    /// Each platform once: those of the data folder first.
    pub(crate) fn platforms(&self) -> Vec<&str> {
        let mut names = self.local.platforms();
        for platform in self.file.platforms() {
            if !names.contains(&&*platform.0) {
                names.push(&platform.0);
            }
        }
        names
    }
}

/// What the flags name, also for a look before anything is made.
pub(crate) fn named(options: &HostOptions, files: &mut Vec<PathBuf>) -> Result<(AuthFile, Option<Tls>), HostError> {
    files.extend([&options.tls_cert, &options.tls_key].into_iter().flatten().cloned());
    let file = match &options.auth_file {
        Some(path) => AuthFile::read(path, files)?,
        None => AuthFile::default(),
    };
    let clients = file.client_authority.as_ref();
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(chain), Some(key)) => Some(Tls::new(tls::from_files(chain, key, clients)?)),
        _ => None,
    };
    if let (Some(path), Some(_), None) = (&options.auth_file, clients, &tls) {
        let what = "has client_certificates, which clients show in TLS only: give --tls-cert and --tls-key, too";
        return Err(HostError::content(path, what));
    }
    Ok((file, tls))
}

/// Follows the files for as long as it lives.
pub(crate) struct Reloader {
    now: Arc<Notify>,
    _ends: DropGuard,
}

impl Reloader {
    pub(crate) fn start(
        (files, access): (Files, &Access),
        options: &HostOptions,
        folder: &DataDir,
        front: &Server<Engine>,
        tls: Option<watch::Sender<Tls>>,
    ) -> Self {
        let (now, ends) = (Arc::new(Notify::new()), CancellationToken::new());
        let followed = Followed {
            files,
            platforms: access.platforms().into_iter().map(str::to_owned).collect(),
            authority: access.file.client_authority.clone(),
            options: options.clone(),
            folder: folder.clone(),
            front: front.clone(),
            tls,
        };
        tokio::spawn(ends.clone().run_until_cancelled_owned(followed.follow(now.clone())));
        Self {
            now,
            _ends: ends.drop_guard(),
        }
    }

    /// Reads everything again, whether it has changed or not.
    pub(crate) fn now(&self) {
        self.now.notify_one();
    }
}

/// The files in use, and what they are used for.
struct Followed {
    files: Files,
    /// Those that there were at the start: each has a namespace and a prefix.
    platforms: Vec<String>,
    authority: Option<ClientAuthority>,
    options: HostOptions,
    folder: DataDir,
    front: Server<Engine>,
    tls: Option<watch::Sender<Tls>>,
}

/// What tells one content of a file from another without reading it.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
    };
    files.iter().map(stamp).collect()
}

impl Followed {
    async fn follow(mut self, now: Arc<Notify>) {
        let mut seen = self.files.stamps.clone();
        loop {
            let asked = tokio::select! {
                () = now.notified() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let found = stamps(&self.files.paths);
            let changed = found != self.files.stamps && found == seen;
            seen = found;
            if changed || asked {
                self.reload();
                seen.clone_from(&self.files.stamps);
            }
        }
    }

    /// Reads everything anew and puts it into use; if anything is wrong, all stays as it was. What cannot be used is
    /// read again when it has changed, and complained about once.
    fn reload(&mut self) {
        let (files, access) = Access::read(&self.options, &self.folder);
        self.files = files;
        match access.and_then(|access| self.put_into_use(&access)) {
            Ok(()) => tracing::info!("logins and certificates were read again"),
            Err(error) => {
                tracing::error!(error = %explain(&error), "logins and certificates stay as they were: what was changed cannot be used");
            }
        }
    }

    fn put_into_use(&mut self, access: &Access) -> Result<(), HostError> {
        if let Some(new) = access
            .platforms()
            .into_iter()
            .find(|name| !self.platforms.iter().any(|old| old == name))
        {
            return Err(HostError::NewPlatform { name: new.to_owned() });
        }
        self.front.set_logins(&access.logins())?;
        if let (Some(sender), Some(tls)) = (&self.tls, &access.tls) {
            let mut tls = tls.clone();
            if self.authority == access.file.client_authority {
                tls.withdrawn = sender.borrow().withdrawn.clone();
                sender.send_replace(tls);
            } else {
                // The new authorities may not know whom the old ones have let in.
                sender.send_replace(tls).withdrawn.cancel();
                self.authority.clone_from(&access.file.client_authority);
            }
        }
        Ok(())
    }
}
