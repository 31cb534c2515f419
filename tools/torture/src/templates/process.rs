//! The program `osb serve templates` as a process: started, killed, started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loadgen::http::Target;

use super::Addresses;
use crate::broker_log::BrokerLog;
use crate::broker_process::{PLATFORMS, is_ready};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The broker under torture.
pub(super) struct Process {
    program: PathBuf,
    folder: PathBuf,
    addresses: Addresses,
    child: Option<Child>,
}

impl Process {
    /// Makes the data folder, with a login.
    pub(super) fn new(folder: &Path, addresses: Addresses) -> Result<Self> {
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let (platform, user, password) = PLATFORMS[0];
        let users = serde_json::json!({"users": [{"username": user, "password": password, "platform": platform}]});
        fs::write(data.join("credentials"), users.to_string())?;
        Ok(Self {
            program: program()?,
            folder: folder.to_owned(),
            addresses,
            child: None,
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        self.addresses
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("data").join("kubeconfig")
    }

    pub(super) fn start(&mut self) -> Result<()> {
        let log = self.log().open()?;
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "templates", "--templates"])
            .arg(self.folder.join("templates"));
        command.arg("--listen").arg(self.addresses.broker.to_string());
        command.arg("--kube-listen").arg(self.addresses.kubernetes.to_string());
        command.arg("--data-dir").arg(self.folder.join("data"));
        command
            .env("OSB_LOG", "warn")
            .env_remove("OSB_USERNAME")
            .env_remove("OSB_PASSWORD");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn();
        self.child = Some(child.with_context(|| format!("cannot start {}", self.program.display()))?);
        Ok(())
    }

    /// Waits until `/readyz` says so.
    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut request = Vec::new();
        Target::new(self.addresses.broker, "", "").request(&mut request, "GET", "/readyz", None);
        while !is_ready(self.addresses.broker, &request) {
            self.check_alive()?;
            if Instant::now() > deadline {
                bail!(
                    "the broker is not ready after {} s\n{}",
                    READY_WITHIN.as_secs(),
                    self.log().tail()
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// # Errors
    /// When the process has ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("the broker ended by itself: {status}\n{}", self.log().tail());
        }
        Ok(())
    }

    /// Kills, and waits until nothing of the process is left.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    pub(super) fn log(&self) -> BrokerLog {
        BrokerLog::of(&self.folder)
    }

    /// Lines of the log that tell of a defect, and the log is emptied.
    pub(super) fn take_panics(&self) -> Result<Vec<String>> {
        let panics = self.log().take_panics()?.into_iter();
        Ok(panics.map(|line| format!("the broker's log: {line}")).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// What `cargo xtask` has built, or what lies beside this program.
fn program() -> Result<PathBuf> {
    let program = match std::env::var_os("OSB_PROGRAM") {
        Some(program) => PathBuf::from(program),
        None => std::env::current_exe()?.with_file_name("osb"),
    };
    if !program.is_file() {
        bail!("{} is not there: build the package osb", program.display());
    }
    Ok(program)
}
