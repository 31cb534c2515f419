//! A small disk of its own as a part of a test: one that can be filled and made read-only.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::folder::Folder;
use crate::process::{Process, Spec, Stop};
use crate::{Error, locate};

const PART: &str = "a small disk";
const HINT: &str =
    "it takes unshare and nsenter (Debian: apt-get install util-linux), and the right to make user namespaces";

/// What fills the disk; it lies beside what the test keeps there.
const BALLAST: &str = "ballast";

/// `$1` the size in bytes. The shell becomes a process that does nothing and keeps the namespace.
const SHELL: &str = "mount -t tmpfs -o size=\"$1\",mode=0700 none disk && echo $$ >pid && exec sleep 2147483647";

/// A file system in memory that only the processes of [`SmallDisk::command`] see under [`SmallDisk::path`].
///
/// It is mounted in a mount namespace of its own, inside a user namespace, so that it takes no rights and leaves no mount behind.
#[derive(Debug)]
pub struct SmallDisk {
    process: Process,
    pid: u32,
}

impl SmallDisk {
    /// Mounts an empty disk of so many bytes, all of which are memory once they are used.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where no namespace can be made.
    pub fn start(bytes: u64) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::start(PART, error);
        check()?;
        let folder = Folder::create(None).map_err(failed)?;
        fs::create_dir(folder.path().join("disk")).map_err(failed)?;
        let mut args: Vec<String> = UNSHARE.map(str::to_owned).to_vec();
        args.extend(["sh", "-c", SHELL, "small-disk"].map(str::to_owned));
        args.push(bytes.to_string());
        let spec = Spec {
            part: PART,
            program: Path::new("unshare"),
            args: &args,
            stop: Stop::Kill,
            user: None,
        };
        let mut process = Process::start(&spec, folder)?;
        process.wait_until(|folder| pid_in(folder).is_some())?;
        let pid = pid_in(process.folder()).unwrap_or_default();
        Ok(Self { process, pid })
    }

    /// The disk, for the processes of [`SmallDisk::command`].
    pub fn path(&self) -> PathBuf {
        self.process.folder().join("disk")
    }

    /// The disk, for everybody else.
    pub fn from_outside(&self) -> PathBuf {
        let path = self.path();
        let below_root = path.strip_prefix("/").unwrap_or(&path);
        Path::new("/proc")
            .join(self.pid.to_string())
            .join("root")
            .join(below_root)
    }

    /// A command that sees the disk. Its process is the program itself, and starts in the folder `/`.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.pid))
            .args(["--user", "--mount", "--preserve-credentials", "--"])
            .arg(program.as_ref());
        command
    }

    /// Takes all of the free space, to the last byte.
    ///
    /// # Errors
    ///
    /// When the disk does not take what still fits.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::create(self.from_outside().join(BALLAST))?;
        let block = vec![0; 64 << 10];
        loop {
            match ballast.write_all(&block) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                written => written?,
            }
        }
    }

    /// Gives back what [`SmallDisk::fill`] has taken, but for so many bytes.
    ///
    /// # Errors
    ///
    /// When the disk was not filled.
    pub fn make_room(&self, kept: u64) -> io::Result<()> {
        let path = self.from_outside().join(BALLAST);
        if kept > 0 {
            return File::options().write(true).open(path)?.set_len(kept);
        }
        fs::remove_file(path)
    }

    /// Makes the disk read-only for everything that is opened from now on, also while files on it are open for writing, which a remount
    /// would not do.
    ///
    /// # Errors
    ///
    /// When it cannot be mounted so.
    pub fn make_read_only(&self) -> io::Result<()> {
        self.shell("mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"")
    }

    /// Undoes [`SmallDisk::make_read_only`].
    ///
    /// # Errors
    ///
    /// When it was not read-only.
    pub fn make_writable(&self) -> io::Result<()> {
        self.shell("umount --lazy \"$1\"")
    }

    fn shell(&self, script: &str) -> io::Result<()> {
        let output = self
            .command("sh")
            .args(["-c", script, "small-disk"])
            .arg(self.path())
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// A user namespace in which this user is root, and a mount namespace.
const UNSHARE: [&str; 3] = ["--map-root-user", "--mount", "--"];

/// Whether this machine lets a process have namespaces of its own.
fn check() -> Result<(), Error> {
    let missing = |why: String| Error::missing(PART, why, HINT);
    if !locate::is_in_path(&["unshare", "nsenter"]) {
        return Err(missing("unshare or nsenter is not in PATH".to_owned()));
    }
    let tried = Command::new("unshare")
        .args(UNSHARE)
        .args(["mount", "-t", "tmpfs", "none"])
        .arg(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing(error.to_string()))?;
    if tried.status.success() {
        return Ok(());
    }
    Err(missing(String::from_utf8_lossy(&tried.stderr).trim().to_owned()))
}

fn pid_in(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("pid")).ok()?;
    // Written in one go with its line end.
    text.strip_suffix('\n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(disk: &SmallDisk, script: &str) -> String {
        let output = disk
            .command("sh")
            .args(["-c", script])
            .current_dir("/")
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    #[test]
    fn it_is_full_and_read_only_when_told_and_writable_again() {
        let Some(disk) = crate::need(SmallDisk::start(8 << 20)) else {
            return;
        };
        let (path, outside) = (disk.path(), disk.from_outside());
        let write = format!("echo more >> {}/file", path.display());
        assert_eq!(says(&disk, &write), "");
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "more\n");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "nobody else sees it there");

        disk.fill().unwrap();
        let full = fs::write(outside.join("other"), "more").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        disk.make_room(4 << 20).unwrap();
        assert_eq!(says(&disk, &write), "");
        disk.make_room(0).unwrap();

        let mut open = File::options().append(true).open(outside.join("file")).unwrap();
        disk.make_read_only().unwrap();
        open.write_all(b"more\n").unwrap();
        let refused = says(&disk, &write);
        assert!(refused.contains("Read-only file system"), "{refused}");
        disk.make_writable().unwrap();
        assert_eq!(says(&disk, &write), "");
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "more\n".repeat(4));
    }

    #[test]
    fn its_command_is_the_program_itself() {
        let Some(disk) = crate::need(SmallDisk::start(1 << 20)) else {
            return;
        };
        let child = disk
            .command("sh")
            .args(["-c", "echo $$"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), pid.to_string());
    }
}
