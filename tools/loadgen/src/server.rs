//! The processes that are measured: the reference broker, and the peer in Go.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loadgen::http::{Connection, Target};

use crate::process;

const USER: &str = "user";
const PASSWORD: &str = "password";
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// A running server. It is killed with the value, unless it was stopped before.
pub(crate) struct Server {
    child: Child,
    pub(crate) target: Target,
    /// From the start of the process to its first good answer.
    pub(crate) ready_after: Duration,
    /// The CPU time that it had used by then.
    pub(crate) ready_cpu: Duration,
}

impl Server {
    /// Starts `osb serve reference` on a folder.
    pub(crate) fn reference(program: &Path, folder: &Path) -> Result<Self> {
        Self::reference_with(program, folder, &[])
    }

    /// The same with more flags.
    pub(crate) fn reference_with(program: &Path, folder: &Path, flags: &[&str]) -> Result<Self> {
        let addr = free_address()?;
        let mut command = Command::new(program);
        command.args(["serve", "reference", "--kube-listen", "127.0.0.1:0"]);
        command
            .arg("--listen")
            .arg(addr.to_string())
            .arg("--data-dir")
            .arg(folder)
            .args(flags);
        command.env("OSB_USERNAME", USER).env("OSB_PASSWORD", PASSWORD);
        Self::plain(command, addr, "/readyz")
    }

    /// Starts `osb serve templates` on a folder, with the templates of another one and its Kubernetes API at an address.
    pub(crate) fn templates(program: &Path, folder: &Path, templates: &Path, kubernetes: SocketAddr) -> Result<Self> {
        let addr = free_address()?;
        let mut command = Command::new(program);
        command.args(["serve", "templates", "--templates"]).arg(templates);
        command.arg("--listen").arg(addr.to_string());
        command.arg("--kube-listen").arg(kubernetes.to_string());
        command.arg("--data-dir").arg(folder);
        command.env("OSB_USERNAME", USER).env("OSB_PASSWORD", PASSWORD);
        Self::plain(command, addr, "/readyz")
    }

    /// Starts the peer, with a catalog of its own or with that of a file.
    pub(crate) fn peer(program: &Path, catalog: Option<&Path>) -> Result<Self> {
        let addr = free_address()?;
        let mut command = Command::new(program);
        command.arg("-addr").arg(addr.to_string());
        if let Some(catalog) = catalog {
            command.arg("-catalog").arg(catalog);
        }
        Self::plain(command, addr, "/v2/catalog")
    }

    /// A broker or the peer, ready when it answers 200 on a path.
    fn plain(command: Command, addr: SocketAddr, probe: &str) -> Result<Self> {
        let target = Target::new(addr, USER, PASSWORD);
        let mut request = Vec::new();
        target.request(&mut request, "GET", probe, None);
        Self::start(command, target, || answers(addr, &request))
    }

    /// Any server; `is_ready` is asked over and over.
    pub(crate) fn start(mut command: Command, target: Target, is_ready: impl Fn() -> bool) -> Result<Self> {
        let program = command.get_program().to_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self {
            child,
            target,
            ready_after: Duration::ZERO,
            ready_cpu: Duration::ZERO,
        };
        loop {
            if is_ready() {
                server.ready_after = begun.elapsed();
                server.ready_cpu = process::cpu(server.pid())?;
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended before it was ready: {status}", program.display());
            }
            if begun.elapsed() > READY_WITHIN {
                bail!("{} is not ready after {} s", program.display(), READY_WITHIN.as_secs());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until nothing is done in the background any more.
    pub(crate) fn settle(&self) -> Result<()> {
        process::wait_until_idle(self.pid(), Duration::from_secs(600))
    }

    /// Ends the server with SIGKILL, in the midst of what it is doing.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the server to stop, and waits for it.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("a process without a number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("the server did not stop well: {status}");
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("the server did not stop within {} s", STOPPED_WITHIN.as_secs())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lists all instances through the broker's Kubernetes API, as `osb instances` does: in pages of 500. Gives how many
/// there are.
pub(crate) fn list(program: &Path, folder: &Path) -> Result<u64> {
    let mut command = Command::new(program);
    command.args(["instances", "--data-dir"]).arg(folder);
    command.env("OSB_USERNAME", USER).env("OSB_PASSWORD", PASSWORD);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().context("cannot start osb instances")?;
    let output = child.stdout.take().context("a pipe was asked for")?;
    // The first line has the names of the columns.
    let lines = BufReader::new(output)
        .split(b'\n')
        .try_fold(0_u64, |lines, line| line.map(|_| lines + 1));
    let status = child.wait()?;
    if !status.success() {
        bail!("osb instances has failed: {status}");
    }
    Ok(lines?.saturating_sub(1))
}

fn answers(addr: SocketAddr, request: &[u8]) -> bool {
    let Ok(mut connection) = Connection::open(addr, Duration::from_secs(5)) else {
        return false;
    };
    connection.send(request).is_ok() && connection.receive().is_ok_and(|answer| answer.status == 200)
}

/// An address that was free a moment ago: the time to the first answer is measured, so nobody can be asked for it.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The peer's program, built from its sources into the cache folder; `Err` says why it is not there.
pub(crate) fn build_peer(sources: &Path, cache: &Path) -> Result<PathBuf> {
    if !sources.join("main.go").is_file() {
        bail!("its sources are not there: {}", sources.display());
    }
    std::fs::create_dir_all(cache)?;
    let program = cache.join("peer-go");
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(sources)
        .stdin(Stdio::null())
        .output()
        .context("go cannot be run")?;
    if !output.status.success() {
        bail!("go build failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(program)
}
