//! The two servers that are measured side by side.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use loadgen::http::Target;
use testparts::{Oracle, OracleOptions};

use super::https::Place;
use crate::process;
use crate::server::{Server, free_address};

/// A running API server. It ends with the value.
pub(crate) struct Side {
    pub(crate) place: Place,
    /// From the start of the process to its first good answer.
    pub(crate) ready_after: Duration,
    kind: Kind,
}

enum Kind {
    Ours(Server),
    Theirs(Oracle),
}

impl Side {
    /// `osb apiserver` on a folder.
    pub(crate) fn ours(program: &Path, folder: &Path, flags: &[&str]) -> Result<Self> {
        let addr = free_address()?;
        let mut command = Command::new(program);
        command.args(["apiserver", "--kube-listen"]).arg(addr.to_string());
        command.arg("--data-dir").arg(folder).args(flags);
        let kubeconfig = folder.join("kubeconfig");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let is_ready = || runtime.block_on(is_ready(addr, &kubeconfig));
        let server = Server::start(command, Target::bearer(addr, ""), is_ready)?;
        Ok(Self {
            place: place_of(addr, &kubeconfig)?,
            ready_after: server.ready_after,
            kind: Kind::Ours(server),
        })
    }

    /// kube-apiserver and etcd, whose data lie in the folder and are synced, without controllers.
    pub(crate) fn theirs(folder: &Path) -> Result<Self> {
        let options = OracleOptions {
            durable_in: Some(folder.to_owned()),
            ..OracleOptions::default()
        };
        let begun = Instant::now();
        let oracle = Oracle::start_with(&options)?;
        let addr = oracle.url().trim_start_matches("https://").parse()?;
        Ok(Self {
            ready_after: begun.elapsed(),
            place: Place::new(Target::bearer(addr, oracle.token()), &fs::read(oracle.ca_file())?)?,
            kind: Kind::Theirs(oracle),
        })
    }

    /// The processes of the server.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        Ok(match &self.kind {
            Kind::Ours(server) => vec![server.pid()],
            Kind::Theirs(oracle) => oracle.processes()?.to_vec(),
        })
    }

    /// What they hold of the memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.pids()?.into_iter().map(process::resident_bytes).sum()
    }

    /// Waits a moment for what is done in the background. The real server is never quite idle.
    pub(crate) fn settle(&self) -> Result<()> {
        match &self.kind {
            Kind::Ours(server) => server.settle(),
            Kind::Theirs(_) => {
                std::thread::sleep(Duration::from_secs(3));
                Ok(())
            }
        }
    }

    /// Asks our server to stop; the real one is killed, since nothing of it is needed again.
    pub(crate) fn stop(self) -> Result<()> {
        match self.kind {
            Kind::Ours(server) => server.stop(),
            Kind::Theirs(oracle) => {
                drop(oracle);
                Ok(())
            }
        }
    }
}

async fn is_ready(addr: SocketAddr, kubeconfig: &Path) -> bool {
    let asked = async {
        // Nobody listens: nothing else has to be looked at.
        tokio::net::TcpStream::connect(addr).await?;
        let mut connection = place_of(addr, kubeconfig)?.connect().await?;
        connection.expect(200, "GET", "/readyz", None).await
    };
    asked.await.is_ok()
}

/// What the kubeconfig says of our server.
pub(crate) fn place_of(addr: SocketAddr, kubeconfig: &Path) -> Result<Place> {
    let text = fs::read_to_string(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let member = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
        found.with_context(|| format!("{} has no {name}", kubeconfig.display()))
    };
    let authority = member("certificate-authority-data: ")?;
    let authority = base64::engine::general_purpose::STANDARD.decode(authority)?;
    Place::new(Target::bearer(addr, member("token: ")?), &authority)
}
