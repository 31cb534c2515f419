//! The broker as a process: started, killed, started again.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loadgen::http::{Connection, Target};
use rustix::process::{Pid, Signal, kill_process};
use torture::{BACKEND, STATE_VERSION};

use crate::backend::Backend;
use crate::broker_log::BrokerLog;
use crate::client::Abilities;
use crate::journal::Kill;
use crate::power::trace::{self, CALLS};
use crate::random::Random;
use crate::wire::World;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The platforms: name, user and password.
pub(crate) const PLATFORMS: [(&str, &str, &str); 2] = [
    ("default", "first", "first-password"),
    ("second", "second", "second-password"),
];

/// When a broker is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// So long after its process was started, ready or not.
    Started(Duration),
    /// So long after it was ready.
    Ready(Duration),
    /// After so many more events in the journals since it was ready, and this pause.
    Busy(u64, Duration),
}

impl Moment {
    /// From microseconds after the start to seconds of work.
    pub(crate) fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..10 => Self::Started(random.micros_below(3_000)),
            10..25 => Self::Started(random.micros_below(120_000)),
            25..40 => Self::Ready(random.micros_below(50_000)),
            40..65 => Self::Busy(1 + random.next() % 400, random.micros_below(600)),
            65..90 => Self::Ready(random.micros_below(1_500_000)),
            _ => Self::Ready(random.micros_below(5_000_000)),
        }
    }
}

/// The broker under torture.
pub(crate) struct BrokerProcess {
    program: PathBuf,
    folder: PathBuf,
    addr: SocketAddr,
    backend: Backend,
    world: World,
    child: Option<Child>,
    /// [`STATE_VERSION`] of the next process.
    state_version: u32,
    /// Where each process's calls on files are written down, if they are.
    traces: Option<Vec<PathBuf>>,
}

impl BrokerProcess {
    /// Makes the data folder, with a login for each platform.
    pub(crate) fn new(
        program: PathBuf,
        folder: &Path,
        addr: SocketAddr,
        backend: Backend,
        world: World,
    ) -> Result<Self> {
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let users: Vec<_> = PLATFORMS
            .iter()
            .map(|(platform, user, password)| {
                serde_json::json!({"username": user, "password": password, "platform": platform})
            })
            .collect();
        let credentials = data.join("credentials");
        if !credentials.exists() {
            std::fs::write(credentials, serde_json::json!({"users": users}).to_string())?;
        }
        Ok(Self {
            program,
            folder: folder.to_owned(),
            addr,
            backend,
            world,
            child: None,
            state_version: 1,
            traces: None,
        })
    }

    /// Has what further processes do with files written down, by `strace`.
    pub(crate) fn trace(&mut self) {
        self.traces = Some(Vec::new());
    }

    /// Has further processes keep states in this form.
    pub(crate) fn keep_states_as(&mut self, state_version: u32) {
        self.state_version = state_version;
    }

    /// What each process did with files, oldest first.
    pub(crate) fn traces(&self) -> &[PathBuf] {
        self.traces.as_deref().unwrap_or_default()
    }

    /// What is started: the broker, or `strace`, which becomes the broker and leaves a process that watches it.
    fn command(&mut self) -> Command {
        let Some(traces) = &mut self.traces else {
            return Command::new(&self.program);
        };
        let path = self.folder.join(format!("trace-{}", traces.len()));
        let calls: Vec<_> = CALLS.iter().map(|call| format!("?{call}")).collect();
        let mut command = Command::new("strace");
        // Texts whole and as numbers, times to the nanosecond.
        command.args(["-D", "-f", "--seccomp-bpf", "--quiet=attach,personality", "-xx"]);
        command.args(["-s", "268435456", "--absolute-timestamps=format:unix,precision:ns"]);
        command
            .args(["--syscall-times=ns", "-e"])
            .arg(format!("trace={}", calls.join(",")));
        command.arg("-o").arg(&path).arg("--").arg(&self.program);
        traces.push(path);
        command
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let log = self.log().open()?;
        let mut command = self.command();
        command
            .arg("--listen")
            .arg(self.addr.to_string())
            .args(["--kube-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.folder.join("data"));
        command
            .env(BACKEND, self.backend.addr().to_string())
            .env(STATE_VERSION, self.state_version.to_string())
            .env("OSB_LOG", "warn");
        command.env_remove("OSB_USERNAME").env_remove("OSB_PASSWORD");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// When it ends by itself, or does not come to that.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut request = Vec::new();
        Target::new(self.addr, "", "").request(&mut request, "GET", "/readyz", None);
        while !is_ready(self.addr, &request) {
            self.check_alive()?;
            if Instant::now() > deadline {
                bail!(
                    "the broker is not ready after {} s\n{}",
                    READY_WITHIN.as_secs(),
                    self.log().tail()
                );
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// What the broker can do, by its catalog.
    ///
    /// # Errors
    /// When it does not become ready, or its catalog cannot be read.
    pub(crate) fn abilities(&mut self) -> Result<Abilities> {
        self.wait_until_ready()?;
        let (_, user, password) = PLATFORMS[0];
        let mut request = Vec::new();
        Target::new(self.addr, user, password).request(&mut request, "GET", "/v2/catalog", None);
        let mut connection = Connection::open(self.addr, READY_WITHIN)?;
        connection.send(&request)?;
        let answer = connection.receive()?;
        let catalog: serde_json::Value = serde_json::from_slice(answer.body).context("the catalog is no JSON")?;
        let offering = &catalog["services"][0];
        Ok(Abilities {
            updates: offering["plan_updateable"] == true,
            rotates: offering["plans"][0]["binding_rotatable"] == true,
            fetches: offering["instances_retrievable"] == true && offering["bindings_retrievable"] == true,
        })
    }

    /// # Errors
    /// When the process has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("the broker ended by itself: {status}\n{}", self.log().tail());
        }
        Ok(())
    }

    /// Waits for the moment, kills, and waits until nothing of the process is left.
    pub(crate) fn kill_at(&mut self, moment: Moment) -> Result<Kill> {
        match moment {
            Moment::Started(pause) => std::thread::sleep(pause),
            Moment::Ready(pause) => {
                self.wait_until_ready()?;
                std::thread::sleep(pause);
            }
            Moment::Busy(events, pause) => {
                self.wait_until_ready()?;
                let until = self.world.clock.now() + events;
                let deadline = Instant::now() + Duration::from_secs(5);
                while self.world.clock.now() < until && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_micros(30));
                }
                std::thread::sleep(pause);
            }
        }
        self.check_alive()?;
        self.kill()
    }

    /// Kills, and waits until nothing of the process is left.
    pub(crate) fn kill(&mut self) -> Result<Kill> {
        if let Some(mut child) = self.child.take() {
            if self.traces.is_some() {
                stop_between_calls(&child)?;
            }
            child.kill()?;
            child.wait()?;
        }
        self.wait_for_trace()?;
        self.backend.drain()?;
        self.world.process.fetch_add(1, Ordering::SeqCst);
        Ok(Kill {
            at: self.world.clock.tick(),
        })
    }

    fn wait_for_trace(&self) -> Result<()> {
        let Some(path) = self.traces().last() else {
            return Ok(());
        };
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let mut end = Vec::new();
            let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(200)))?;
            file.read_to_end(&mut end)?;
            if trace::is_whole(&String::from_utf8_lossy(&end)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("strace does not come to its end");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn log(&self) -> BrokerLog {
        BrokerLog::of(&self.folder)
    }

    /// Lines of the log that tell of a defect, and the log is emptied.
    pub(crate) fn take_panics(&self) -> Result<Vec<String>> {
        Ok(self.log().take_panics()?)
    }
}

/// Stops a process that is traced, with none of its threads in a call on files: of one that is killed in a call the trace
/// does not say whether the call was carried out.
fn stop_between_calls(child: &Child) -> Result<()> {
    kill_process(Pid::from_child(child), Signal::STOP).context("cannot stop the broker")?;
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    let deadline = Instant::now() + READY_WITHIN;
    // A tracer that sleeps has let go on whom it had stopped for a call.
    while !(are_stopped(&folder)? && is_tracer_asleep(&folder)? && are_stopped(&folder)?) {
        if Instant::now() > deadline {
            bail!("the broker does not stop");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether all threads are stopped.
fn are_stopped(process: &Path) -> Result<bool> {
    for thread in fs::read_dir(process.join("task")).context("the broker is gone")? {
        if !matches!(state(&thread?.path()), Some('T' | 't')) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_tracer_asleep(process: &Path) -> Result<bool> {
    let status = fs::read_to_string(process.join("status")).context("the broker is gone")?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    let tracer = tracer.context("nobody traces the broker")?.trim();
    Ok(state(&Path::new("/proc").join(tracer)) == Some('S'))
}

/// The letter that the kernel shows for what a thread does.
fn state(thread: &Path) -> Option<char> {
    let stat = fs::read_to_string(thread.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn is_ready(addr: SocketAddr, request: &[u8]) -> bool {
    let Ok(mut connection) = Connection::open(addr, Duration::from_secs(5)) else {
        return false;
    };
    connection.send(request).is_ok() && connection.receive().is_ok_and(|answer| answer.status == 200)
}
