//! The broker as a process: started, killed, started again.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loadgen::http::{Connection, Target};
use torture::BACKEND;

use crate::backend::Backend;
use crate::journal::Kill;
use crate::random::Random;
use crate::wire::World;

const READY_WITHIN: Duration = Duration::from_secs(60);
const TAIL_BYTES: usize = 4_000;

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
        std::fs::write(
            data.join("credentials"),
            serde_json::json!({"users": users}).to_string(),
        )?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            addr,
            backend,
            world,
            child: None,
        })
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.program);
        command
            .arg("--listen")
            .arg(self.addr.to_string())
            .args(["--kube-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.folder.join("data"));
        command
            .env(BACKEND, self.backend.addr().to_string())
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
                    self.tail()
                );
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// # Errors
    /// When the process has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("the broker ended by itself: {status}\n{}", self.tail());
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

    fn kill(&mut self) -> Result<Kill> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        self.backend.drain()?;
        self.world.process.fetch_add(1, Ordering::SeqCst);
        Ok(Kill {
            at: self.world.clock.tick(),
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("broker.log")
    }

    /// The end of the broker's log.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let begin = text.len().saturating_sub(TAIL_BYTES);
        format!("the end of its log:\n{}", String::from_utf8_lossy(&text[begin..]))
    }

    /// Lines of the log that tell of a defect, and the log is emptied.
    pub(crate) fn take_panics(&self) -> Result<Vec<String>> {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let tells = |line: &&str| line.contains("panicked at") || line.contains("broke down while");
        let panics = text.lines().filter(tells).map(str::to_owned).collect();
        // The broker appends, so it goes on at the new end.
        File::options().write(true).truncate(true).open(self.log())?;
        Ok(panics)
    }
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

fn is_ready(addr: SocketAddr, request: &[u8]) -> bool {
    let Ok(mut connection) = Connection::open(addr, Duration::from_secs(5)) else {
        return false;
    };
    connection.send(request).is_ok() && connection.receive().is_ok_and(|answer| answer.status == 200)
}
