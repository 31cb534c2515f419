//! Runs a process and makes calls to the operating system fail, as a disk would: the process is stopped before and
//! after each of its calls (`ptrace`), so that also the files which a library writes are reached.
//!
//! Only calls on the files below one folder count.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_long, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// No process takes longer; one that hangs is killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is no longer than this is written as a whole or not at all, in bytes.
const SECTOR: u64 = 512;

/// What a process asks of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    Open,
    Create,
    Read,
    Write,
    Allocate,
    Sync,
    Rename,
    Remove,
    List,
    MakeFolder,
}

/// A call of the process.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) op: Op,
    /// The file or folder, named from the watched folder.
    pub(crate) path: PathBuf,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done.
    Error(Errno),
    /// Half is written, if it is more than a sector; what the process then writes to the file fails.
    Half(Errno),
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Killed(Signal),
}

/// Runs a command until its end, and lets the calls fail for which `decide` says so.
///
/// # Errors
///
/// Where a process may not be traced.
#[expect(clippy::zombie_processes, reason = "the tracer waits until it has ended")]
pub(crate) fn run(
    command: &Command,
    folder: &Path,
    decide: impl FnMut(&Call) -> Option<Fault>,
) -> Result<Ended, testparts::Error> {
    // It waits until it is traced. Without memory dumps: some are meant to end with an abort.
    let mut waiting = Command::new("sh");
    waiting.args(["-c", "ulimit -c 0; read -r begin; exec \"$0\" \"$@\""]);
    waiting.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        waiting.env(name, value.unwrap_or_default());
    }
    let mut child = waiting.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    let traced = ptrace::seize(pid, options).and_then(|()| ptrace::interrupt(pid));
    if let Err(error) = traced {
        child.kill().unwrap();
        child.wait().unwrap();
        return Err(testparts::Error::Missing {
            part: "a debugger's rights",
            why: format!("no process may be traced: {error}"),
            hint: "in a container, allow it the capability SYS_PTRACE",
        });
    }
    child.stdin.take().unwrap().write_all(b"begin\n").unwrap();
    let (done, watched) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if watched.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let mut tracer = Tracer {
        pid,
        folder,
        decide,
        inside: HashMap::new(),
        failing: None,
    };
    let ended = tracer.run();
    drop(done);
    watchdog.join().unwrap();
    Ok(ended)
}

/// What is to be done when a call returns.
enum Return {
    Nothing,
    /// It was not carried out.
    Fail(Errno),
    /// It was carried out with another length.
    Restore(u64),
}

struct Tracer<'f, F> {
    pid: Pid,
    folder: &'f Path,
    decide: F,
    /// The threads that are inside a call which is changed.
    inside: HashMap<Pid, Return>,
    /// The next write to this file fails.
    failing: Option<(PathBuf, Errno)>,
}

impl<F: FnMut(&Call) -> Option<Fault>> Tracer<'_, F> {
    fn run(&mut self) -> Ended {
        loop {
            // Only what this thread traces: others have children, too.
            let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
            let (thread, signal) = match status {
                WaitStatus::Exited(pid, code) if pid == self.pid => return Ended::Exited(code),
                WaitStatus::Signaled(pid, signal, _) if pid == self.pid => return Ended::Killed(signal),
                WaitStatus::PtraceSyscall(thread) => {
                    // Fails only when the process is being killed.
                    let _ = self.call(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            let _ = ptrace::syscall(thread, signal);
        }
    }

    /// A thread begins a call, or has ended one.
    fn call(&mut self, thread: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(thread)?;
        // Not by turns: tracing may have begun within a call.
        if ptrace::syscall_info(thread)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            let then = self.enter(thread, &mut registers);
            if !matches!(then, Return::Nothing) {
                ptrace::setregs(thread, registers)?;
                self.inside.insert(thread, then);
            }
            return Ok(());
        }
        match self.inside.remove(&thread) {
            None | Some(Return::Nothing) => return Ok(()),
            Some(Return::Fail(error)) => registers.rax = -i64::from(error as i32) as u64,
            Some(Return::Restore(length)) => registers.rdx = length,
        }
        ptrace::setregs(thread, registers)
    }

    fn enter(&mut self, thread: Pid, registers: &mut user_regs_struct) -> Return {
        let Some(call) = self.decode(thread, registers) else {
            return Return::Nothing;
        };
        let after_half = self
            .failing
            .take_if(|(path, _)| call.op == Op::Write && *path == call.path);
        let fault = match after_half {
            Some((_, error)) => Some(Fault::Error(error)),
            None => (self.decide)(&call),
        };
        match fault {
            None => Return::Nothing,
            Some(Fault::Half(error)) if call.op == Op::Write && registers.rdx > SECTOR => {
                let length = registers.rdx;
                registers.rdx /= 2;
                self.failing = Some((call.path, error));
                Return::Restore(length)
            }
            Some(Fault::Error(error) | Fault::Half(error)) => {
                // No call has this number.
                registers.orig_rax = u64::MAX;
                Return::Fail(error)
            }
        }
    }

    fn decode(&self, thread: Pid, registers: &user_regs_struct) -> Option<Call> {
        let (first, second, third) = (registers.rdi, registers.rsi, registers.rdx);
        let opened = |flags: u64| match flags & libc::O_CREAT as u64 {
            0 => Op::Open,
            _ => Op::Create,
        };
        let (op, path) = match registers.orig_rax as c_long {
            libc::SYS_open => (opened(second), named(thread, first)?),
            libc::SYS_openat => (opened(third), named(thread, second)?),
            libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv => (Op::Read, open(thread, first)?),
            libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_pwritev => {
                (Op::Write, open(thread, first)?)
            }
            libc::SYS_fallocate | libc::SYS_ftruncate => (Op::Allocate, open(thread, first)?),
            libc::SYS_fsync | libc::SYS_fdatasync => (Op::Sync, open(thread, first)?),
            libc::SYS_rename => (Op::Rename, named(thread, second)?),
            libc::SYS_renameat | libc::SYS_renameat2 => (Op::Rename, named(thread, registers.r10)?),
            libc::SYS_link => (Op::Rename, named(thread, second)?),
            libc::SYS_unlink | libc::SYS_rmdir => (Op::Remove, named(thread, first)?),
            libc::SYS_unlinkat => (Op::Remove, named(thread, second)?),
            libc::SYS_getdents64 => (Op::List, open(thread, first)?),
            libc::SYS_mkdir => (Op::MakeFolder, named(thread, first)?),
            libc::SYS_mkdirat => (Op::MakeFolder, named(thread, second)?),
            _ => return None,
        };
        let path = path.strip_prefix(self.folder).ok()?.to_owned();
        Some(Call { op, path })
    }
}

/// The name of an open file.
fn open(thread: Pid, descriptor: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{thread}/fd/{}", descriptor as i32)).ok()
}

/// The name that a thread gives to the system.
fn named(thread: Pid, mut address: u64) -> Option<PathBuf> {
    const PAGE: u64 = 4096;
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut name = Vec::new();
    while name.len() < libc::PATH_MAX as usize {
        // Not beyond the page: the next one need not be there.
        let mut part = vec![0; (PAGE - address % PAGE) as usize];
        memory.read_exact_at(&mut part, address).ok()?;
        address += part.len() as u64;
        match part.iter().position(|byte| *byte == 0) {
            Some(end) => {
                name.extend_from_slice(&part[..end]);
                return Some(OsString::from_vec(name).into());
            }
            None => name.extend(part),
        }
    }
    None
}

#[test]
fn a_call_on_a_file_of_the_folder_fails_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let script = "exec 2> /dev/null; echo one > \"$0/a\"; echo two > \"$1/a\"; echo three > \"$0/b\"; cat \"$0/a\" \"$1/a\" > \"$1/read\"; true";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(folder.path()).arg(other.path());
    let mut calls = Vec::new();
    let ended = run(&command, folder.path(), |call| {
        calls.push((call.op, call.path.clone()));
        let writes = calls.iter().filter(|(op, _)| *op == Op::Write).count();
        (call.op == Op::Write && writes == 2).then_some(Fault::Error(Errno::EIO))
    });
    let Some(ended) = testparts::need(ended) else { return };
    assert_eq!(ended, Ended::Exited(0));
    let written = |path: &Path, name: &str| std::fs::read_to_string(path.join(name)).unwrap();
    assert_eq!(written(folder.path(), "a"), "one\n");
    assert_eq!(written(folder.path(), "b"), "");
    assert_eq!(written(other.path(), "a"), "two\n");
    let name = |name: &str| PathBuf::from(OsStr::from_bytes(name.as_bytes()));
    let expected = [
        (Op::Create, name("a")),
        (Op::Write, name("a")),
        (Op::Create, name("b")),
        (Op::Write, name("b")),
    ];
    assert_eq!(calls[..4], expected);
}

#[test]
fn half_a_write_is_followed_by_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "dd if=/dev/zero of=\"$0/a\" bs=4096 count=1 2> /dev/null"])
        .arg(folder.path());
    let ended = run(&command, folder.path(), |call| {
        (call.op == Op::Write).then_some(Fault::Half(Errno::ENOSPC))
    });
    let Some(ended) = testparts::need(ended) else { return };
    assert_eq!(ended, Ended::Exited(1));
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), [0; 2048]);
}
