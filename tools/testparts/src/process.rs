//! A server process that cannot outlive the program that started it.
//!
//! Between the two stands a shell. It starts the server and reads a pipe that only the test program holds open: when the pipe
//! ends, because the value was dropped or because the test program was killed, it ends the server and removes its folder.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Error;
use crate::folder::{Folder, User};

/// How long a part may take to be ready: twenty times what it takes on a free machine.
const READY_WITHIN: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// How much of a log is shown when a part does not start, in bytes.
const LOG_SHOWN: usize = 4000;

/// `$1` signal that ends the server, `$2` its folder, then the server's command line.
///
/// The server is always a child that has not been waited for when it is signalled, so its number cannot have passed to another
/// process. `stopping` tells a server that was ended (its folder goes) from one that ended by itself (its log is still wanted).
const SHELL: &str = r#"
signal=$1; folder=$2; shift 2
exec 3<&0
"$@" 3<&- &
server=$!
stopping=
trap 'stopping=1; kill -s "$signal" "$server"' USR1
{ read -r _; kill -s USR1 $$; } <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$server"; code=$?
if [ -n "$stopping" ]; then
    wait "$server"
    rm -rf -- "$folder"
else
    kill "$watcher"
fi
exit "$code"
"#;

/// How a server is ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// SIGKILL: for servers that leave nothing outside their folder.
    Kill,
    /// SIGQUIT: PostgreSQL's immediate shutdown, which frees its shared memory.
    Quit,
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    /// Name of the part, for errors.
    pub(crate) part: &'static str,
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [String],
    pub(crate) stop: Stop,
    /// Owner of the folder, when the server shall not run as this user.
    pub(crate) user: Option<User>,
}

/// A running server and its folder; both end with the value.
#[derive(Debug)]
pub(crate) struct Process {
    part: &'static str,
    shell: Child,
    /// Open for as long as the server shall run.
    lifeline: Option<ChildStdin>,
    folder: Folder,
}

impl Process {
    /// Starts a server that keeps its files in `folder`; its log becomes the file `log` there.
    pub(crate) fn start(spec: &Spec<'_>, folder: Folder) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::start(spec.part, error);
        let log = File::create(log_path(&folder)).map_err(failed)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SHELL, "testparts", spec.stop.signal()])
            .arg(folder.path());
        command.arg(spec.program).args(spec.args).current_dir(folder.path());
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        // A group of its own: the keyboard's interrupt is for the test program, and the shell must live to clean up.
        command.process_group(0);
        become_user(&mut command, spec.user);
        let mut shell = command.spawn().map_err(failed)?;
        let lifeline = shell.stdin.take();
        Ok(Self {
            part: spec.part,
            shell,
            lifeline,
            folder,
        })
    }

    /// The server's own process number, not that of the shell before it.
    pub(crate) fn server(&self, program: &str) -> io::Result<u32> {
        let shell = self.shell.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let is_server = |number: &&str| {
            std::fs::read_to_string(format!("/proc/{number}/comm")).is_ok_and(|name| name.trim_end() == program)
        };
        let number = children.split_ascii_whitespace().find(is_server);
        number
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{program} has ended")))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Polls until `ready` says so.
    ///
    /// # Errors
    ///
    /// With the end of the log, when the server has ended or is not ready in time.
    pub(crate) fn wait_until(&mut self, ready: impl Fn(&Path) -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.shell.try_wait().map_err(|error| Error::start(self.part, error))? {
                return Err(self.failure(&format!("it ended with {status}")));
            }
            if ready(self.folder.path()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("it was not ready within {} s", READY_WITHIN.as_secs())));
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// All that the server has said until now.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(log_path(&self.folder)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn failure(&self, what: &str) -> Error {
        let log = std::fs::read(log_path(&self.folder)).unwrap_or_default();
        let end = log.get(log.len().saturating_sub(LOG_SHOWN)..).unwrap_or_default();
        Error::start(
            self.part,
            format_args!("{what}; the end of its log:\n{}", String::from_utf8_lossy(end)),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The shell ends after its server; without this the folder could be removed under a server that still writes.
        let _ = self.shell.wait();
    }
}

impl Stop {
    fn signal(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }
}

/// Makes the command run as `user`; the standard library also drops root's supplementary groups.
pub(crate) fn become_user(command: &mut Command, user: Option<User>) {
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
}

fn log_path(folder: &Folder) -> PathBuf {
    folder.path().join("log")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set in the test program that shall be killed: where it reports its server.
    const VICTIM: &str = "TESTPARTS_VICTIM";

    /// A server that says its own process number and then runs for longer than any test.
    fn server(folder: Folder) -> Process {
        let args = [
            "-c".to_owned(),
            "echo $$ > pid; echo started; exec sleep 600".to_owned(),
        ];
        let spec = Spec {
            part: "a server",
            program: Path::new("/bin/sh"),
            args: &args,
            stop: Stop::Kill,
            user: None,
        };
        let mut process = Process::start(&spec, folder).unwrap();
        process.wait_until(|folder| pid_in(folder).is_some()).unwrap();
        process
    }

    fn pid_in(folder: &Path) -> Option<u32> {
        std::fs::read_to_string(folder.join("pid")).ok()?.trim().parse().ok()
    }

    fn lives(pid: u32) -> bool {
        Path::new("/proc").join(pid.to_string()).exists()
    }

    fn eventually(what: impl Fn() -> bool) -> bool {
        (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            what()
        })
    }

    #[test]
    fn server_and_folder_end_with_the_value() {
        let process = server(Folder::create(None).unwrap());
        let (pid, folder) = (pid_in(process.folder()).unwrap(), process.folder().to_owned());
        assert!(lives(pid));
        drop(process);
        assert!(!lives(pid));
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_that_ends_is_reported_with_its_log() {
        let args = ["-c".to_owned(), "echo the reason >&2; exit 3".to_owned()];
        let spec = Spec {
            part: "a server",
            program: Path::new("/bin/sh"),
            args: &args,
            stop: Stop::Kill,
            user: None,
        };
        let mut process = Process::start(&spec, Folder::create(None).unwrap()).unwrap();
        let error = process.wait_until(|_| false).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("the reason"),
            "{error}"
        );
        let folder = process.folder().to_owned();
        drop(process);
        assert!(!folder.exists());
    }

    #[test]
    fn server_and_folder_end_when_the_test_program_is_killed() {
        let report = Folder::create(None).unwrap();
        let path = report.path().join("report");
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::tests::victim", "--nocapture"])
            .env(VICTIM, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let reported = || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            text.strip_suffix('\n')
                .and_then(|line| line.split_once(' '))
                .map(|(pid, folder)| (pid.parse::<u32>().unwrap(), PathBuf::from(folder)))
        };
        assert!(eventually(|| reported().is_some()));
        let (pid, folder) = reported().unwrap();
        assert!(lives(pid) && folder.exists());

        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(eventually(|| !lives(pid)), "the server outlived its program");
        assert!(eventually(|| !folder.exists()), "the folder outlived its program");
    }

    /// Not a test of its own: the program that the test above kills.
    #[test]
    fn victim() {
        let Some(path) = std::env::var_os(VICTIM) else { return };
        let process = server(Folder::create(None).unwrap());
        let line = format!("{} {}\n", pid_in(process.folder()).unwrap(), process.folder().display());
        std::fs::write(path, line).unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
}
