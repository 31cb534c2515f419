//! A folder as a disk has it: what is there for certain, and what was written and not synced.
//!
//! - A file's bytes are durable when the file was synced after they were written.
//! - A name (made, renamed, removed) is durable when its folder was synced after that. A file that was synced may have
//!   no name yet.
//! - Everything else may be there or not, in pieces ([`image`](super::image)); changes of one name keep their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::image::{Image, Luck, Op};
use super::trace::{self, Call};
use crate::random::Random;

/// More changes of the same bytes than that are not told apart.
const MOST_OVERWRITES: usize = 32;

/// What syncs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncs {
    Count,
    /// Nothing, as with a broker that never syncs: the check must find that.
    Ignored,
}

/// A folder with everything below it.
pub(super) struct Disk {
    root: PathBuf,
    syncs: Syncs,
    nodes: Vec<Node>,
    /// Names as the process sees them.
    now: BTreeMap<PathBuf, usize>,
    /// Names that are there after the power has failed.
    durable: BTreeMap<PathBuf, usize>,
    /// Changes of names that were not synced.
    unsynced: Vec<(u64, Change)>,
    /// Calls that need a name which another thread is about to make.
    waiting: Vec<Call>,
    process: Process,
}

enum Node {
    Folder,
    File {
        durable: Image,
        unsynced: Vec<(u64, Op)>,
        now: u64,
    },
}

#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// What the numbers of a process mean.
#[derive(Default)]
struct Process {
    files: HashMap<i64, usize>,
    opened: Vec<Opened>,
}

/// An open file; several numbers may mean the same.
struct Opened {
    node: usize,
    /// The name of a folder.
    path: PathBuf,
    position: u64,
    appends: bool,
}

impl Change {
    fn names(&self) -> Vec<&Path> {
        match self {
            Self::Link(name, _) | Self::Unlink(name) => vec![name],
            Self::Rename(from, to) => vec![from, to],
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Disk {
    /// A folder as it lies there, all of it durable.
    pub(super) fn read(root: &Path, syncs: Syncs) -> Result<Self> {
        let mut disk = Self {
            root: root.to_owned(),
            syncs,
            nodes: Vec::new(),
            now: BTreeMap::new(),
            durable: BTreeMap::new(),
            unsynced: Vec::new(),
            waiting: Vec::new(),
            process: Process::default(),
        };
        disk.read_below(root)?;
        disk.durable = disk.now.clone();
        Ok(disk)
    }

    fn read_below(&mut self, path: &Path) -> Result<()> {
        let is_folder = path.is_dir();
        let node = if is_folder {
            Node::Folder
        } else {
            let durable = Image::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Node::File {
                now: durable.size,
                durable,
                unsynced: Vec::new(),
            }
        };
        let number = self.add(node);
        self.now.insert(path.to_owned(), number);
        if is_folder {
            for entry in fs::read_dir(path)? {
                self.read_below(&entry?.path())?;
            }
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Another process goes on with the folder; what the one before wrote is in the memory of the machine.
    pub(super) fn next_process(&mut self) {
        self.process = Process::default();
    }

    /// What a call has done.
    ///
    /// # Errors
    /// For calls that this program does not understand.
    pub(super) fn apply(&mut self, call: &Call) -> Result<()> {
        self.apply_or_wait(call)?;
        // Names that it has made may be what others waited for.
        let mut tried = self.waiting.len();
        while tried > 0 && !self.waiting.is_empty() {
            let call = self.waiting.remove(0);
            let before = self.waiting.len();
            self.apply_or_wait(&call)?;
            tried = match self.waiting.len() == before {
                true => self.waiting.len(),
                false => tried - 1,
            };
        }
        Ok(())
    }

    fn apply_or_wait(&mut self, call: &Call) -> Result<()> {
        if call.result < 0 {
            return Ok(());
        }
        let done = self
            .carry_out(call)
            .with_context(|| format!("{}({:.300})", call.name, call.args.join(", ")))?;
        if !done {
            self.waiting.push(call.clone());
        }
        Ok(())
    }

    /// `false` when it needs a name that is not there yet.
    fn carry_out(&mut self, call: &Call) -> Result<bool> {
        let arg = |index: usize| {
            call.args
                .get(index)
                .map(String::as_str)
                .context("an argument is missing")
        };
        let number = |index: usize| -> Result<i64> { Ok(arg(index)?.parse()?) };
        match call.name.as_str() {
            "execve" | "sync_file_range" => {}
            "open" => self.open(call, None, arg(0)?, arg(1)?)?,
            "openat" => self.open(call, Some(arg(0)?), arg(1)?, arg(2)?)?,
            "close" => {
                self.process.files.remove(&number(0)?);
            }
            "dup" | "dup2" | "dup3" => self.duplicate(number(0)?, call.result),
            "fcntl" if arg(1)?.starts_with("F_DUPFD") => self.duplicate(number(0)?, call.result),
            "fcntl" => {}
            "lseek" => {
                if let Some(opened) = self.opened(number(0)?) {
                    opened.position = u64::try_from(call.result)?;
                }
            }
            "write" | "writev" => {
                if self.opened(number(0)?).is_some() {
                    let bytes = match call.name.as_str() {
                        "write" => trace::bytes(arg(1)?)?,
                        _ => trace::buffers(arg(1)?)?,
                    };
                    self.write(call, number(0)?, None, bytes)?;
                }
            }
            "pwrite64" => {
                if self.opened(number(0)?).is_some() {
                    let offset = u64::try_from(number(3)?)?;
                    self.write(call, number(0)?, Some(offset), trace::bytes(arg(1)?)?)?;
                }
            }
            "ftruncate" => {
                let size = u64::try_from(number(1)?)?;
                self.change_file(call, number(0)?, Op::Resize(size));
            }
            "fallocate" => {
                let end = u64::try_from(number(2)? + number(3)?)?;
                match arg(1)? {
                    "0" => self.change_file(call, number(0)?, Op::Extend(end)),
                    mode if self.opened(number(0)?).is_some() => bail!("allocates with {mode}"),
                    _ => {}
                }
            }
            "fsync" | "fdatasync" => self.sync(call, number(0)?),
            "mkdir" => return self.make_folder(call, None, arg(0)?),
            "mkdirat" => return self.make_folder(call, Some(arg(0)?), arg(1)?),
            "unlink" | "rmdir" => return self.unlink(call, None, arg(0)?),
            "unlinkat" => return self.unlink(call, Some(arg(0)?), arg(1)?),
            "rename" => return self.rename(call, (None, arg(0)?), (None, arg(1)?)),
            "renameat" => return self.rename(call, (Some(arg(0)?), arg(1)?), (Some(arg(2)?), arg(3)?)),
            "renameat2" if arg(4)?.contains("EXCHANGE") => bail!("exchanges names"),
            "renameat2" => return self.rename(call, (Some(arg(0)?), arg(1)?), (Some(arg(2)?), arg(3)?)),
            "mmap" => {
                let file = arg(4)?.parse().ok().and_then(|file| self.opened(file));
                if file.is_some() && arg(3)?.contains("MAP_SHARED") && arg(2)?.contains("PROT_WRITE") {
                    bail!("writes through memory");
                }
            }
            "sendfile" | "splice" => {}
            name => self.check_foreign(call, name)?,
        }
        Ok(true)
    }

    /// Calls that nobody is known to use on these files.
    fn check_foreign(&mut self, call: &Call, name: &str) -> Result<()> {
        let numbers = call.args.iter().filter_map(|arg| arg.parse().ok());
        let known = numbers.filter(|file| self.process.files.contains_key(file)).count();
        let root = self.root.clone();
        let below = |arg: &String| trace::bytes(arg).is_ok_and(|path| to_path(path).starts_with(&root));
        let first = call.args.first().is_some_and(|arg| arg.parse::<i64>().is_ok());
        if call.args.iter().any(below) || (first && known > 0) || matches!(name, "io_uring_setup" | "close_range") {
            bail!("{name} is not understood");
        }
        Ok(())
    }

    fn opened(&mut self, file: i64) -> Option<&mut Opened> {
        let index = *self.process.files.get(&file)?;
        self.process.opened.get_mut(index)
    }

    fn duplicate(&mut self, file: i64, new: i64) {
        match self.process.files.get(&file).copied() {
            Some(opened) => self.process.files.insert(new, opened),
            None => self.process.files.remove(&new),
        };
    }

    /// A path as the process named it, if it lies in the folder.
    fn path(&mut self, folder: Option<&str>, text: &str) -> Result<Option<PathBuf>> {
        let path = to_path(trace::bytes(text)?);
        let path = match folder
            .and_then(|folder| folder.parse().ok())
            .map(|folder| self.opened(folder))
        {
            Some(Some(opened)) => opened.path.join(path),
            _ => path,
        };
        Ok(path.starts_with(&self.root).then(|| path.components().collect()))
    }

    fn open(&mut self, call: &Call, folder: Option<&str>, path: &str, flags: &str) -> Result<()> {
        // The number means something else from now on.
        self.process.files.remove(&call.result);
        let Some(path) = self.path(folder, path)? else {
            return Ok(());
        };
        let node = match self.now.get(&path) {
            Some(node) => *node,
            // Another thread is about to give it that name, or has just taken it away; it is only read here.
            None if !flags.contains("O_CREAT") => return Ok(()),
            None => {
                let file = Node::File {
                    durable: Image::default(),
                    unsynced: Vec::new(),
                    now: 0,
                };
                let node = self.add(file);
                self.change(call, Change::Link(path.clone(), node));
                node
            }
        };
        let opened = Opened {
            node,
            path,
            position: 0,
            appends: flags.contains("O_APPEND"),
        };
        self.process.opened.push(opened);
        self.process.files.insert(call.result, self.process.opened.len() - 1);
        if flags.contains("O_TRUNC") {
            self.change_file(call, call.result, Op::Resize(0));
        }
        Ok(())
    }

    fn write(&mut self, call: &Call, file: i64, offset: Option<u64>, mut bytes: Vec<u8>) -> Result<()> {
        bytes.truncate(usize::try_from(call.result)?);
        let Some(opened) = self.opened(file) else { return Ok(()) };
        let (node, position, appends) = (opened.node, opened.position, opened.appends);
        let size = match &self.nodes[node] {
            Node::File { now, .. } => *now,
            Node::Folder => bail!("writes to a folder"),
        };
        let at = offset.unwrap_or(if appends { size } else { position });
        if let (None, Some(opened)) = (offset, self.opened(file)) {
            opened.position = at + bytes.len() as u64;
        }
        self.change_file(call, file, Op::Write(at, bytes));
        Ok(())
    }

    fn change_file(&mut self, call: &Call, file: i64, op: Op) {
        let Some(node) = self.opened(file).map(|opened| opened.node) else {
            return;
        };
        let Node::File { unsynced, now, .. } = &mut self.nodes[node] else {
            return;
        };
        *now = op.size_after(*now);
        // The same bytes over and over: some of the older ones are forgotten.
        if let (Op::Write(offset, bytes), Some((_, Op::Write(before, old)))) = (&op, unsynced.last())
            && (offset, bytes.len()) == (before, old.len())
            && unsynced.len() > MOST_OVERWRITES
        {
            unsynced.remove(unsynced.len() / 2);
        }
        unsynced.push((call.ended, op));
    }

    fn change(&mut self, call: &Call, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push((call.ended, change));
    }

    fn make_folder(&mut self, call: &Call, folder: Option<&str>, path: &str) -> Result<bool> {
        if let Some(path) = self.path(folder, path)? {
            let node = self.add(Node::Folder);
            self.change(call, Change::Link(path, node));
        }
        Ok(true)
    }

    fn unlink(&mut self, call: &Call, folder: Option<&str>, path: &str) -> Result<bool> {
        let Some(path) = self.path(folder, path)? else {
            return Ok(true);
        };
        let known = self.now.contains_key(&path);
        if known {
            self.change(call, Change::Unlink(path));
        }
        Ok(known)
    }

    fn rename(&mut self, call: &Call, from: (Option<&str>, &str), to: (Option<&str>, &str)) -> Result<bool> {
        let (from, to) = match (self.path(from.0, from.1)?, self.path(to.0, to.1)?) {
            (None, None) => return Ok(true),
            (Some(from), Some(to)) => (from, to),
            _ => bail!("renames across the border of the folder"),
        };
        let Some(node) = self.now.get(&from) else {
            return Ok(false);
        };
        if matches!(self.nodes[*node], Node::Folder) {
            bail!("renames a folder");
        }
        self.change(call, Change::Rename(from, to));
        Ok(true)
    }

    /// Everything that had ended before the sync began is durable.
    fn sync(&mut self, call: &Call, file: i64) {
        if self.syncs == Syncs::Ignored {
            return;
        }
        let Some((node, path)) = self.opened(file).map(|opened| (opened.node, opened.path.clone())) else {
            return;
        };
        match &mut self.nodes[node] {
            Node::File { durable, unsynced, .. } => {
                let count = unsynced.iter().take_while(|(ended, _)| *ended < call.began).count();
                for (_, op) in unsynced.drain(..count) {
                    durable.apply(&op);
                }
            }
            Node::Folder => {
                let of_folder = |change: &Change| change.names().iter().any(|name| name.parent() == Some(&path));
                let all = std::mem::take(&mut self.unsynced);
                let (synced, rest) = all
                    .into_iter()
                    .partition(|(ended, change)| *ended < call.began && of_folder(change));
                self.unsynced = rest;
                for (_, change) in &synced as &Vec<(u64, Change)> {
                    change.apply(&mut self.durable);
                }
            }
        }
    }

    /// Writes the folder to `target` as it may be after the power has failed now.
    pub(super) fn rebuild(&self, target: &Path, random: &mut Random) -> Result<()> {
        // On some moments nothing or all of it is lucky; on most each file is for itself.
        let common = match random.below(10) {
            0..3 => Some(Luck::Nothing),
            3 => Some(Luck::Everything),
            _ => None,
        };
        let names = self.names_after(common, random);
        for (path, node) in &names {
            let Ok(below) = path.strip_prefix(&self.root) else {
                continue;
            };
            let path = target.join(below);
            // A folder whose name was lost takes everything in it along.
            let parent = path.parent().is_none_or(Path::is_dir);
            match &self.nodes[*node] {
                Node::Folder if below.as_os_str().is_empty() || parent => {
                    fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
                }
                Node::File { durable, unsynced, .. } if parent => {
                    let ops: Vec<Op> = unsynced.iter().map(|(_, op)| op.clone()).collect();
                    let luck = common.unwrap_or_else(|| Luck::draw(random));
                    durable.after_power_loss(&ops, luck, random).write(&path)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn names_after(&self, common: Option<Luck>, random: &mut Random) -> BTreeMap<PathBuf, usize> {
        let mut names = self.durable.clone();
        let mut lost: BTreeSet<&Path> = BTreeSet::new();
        for (_, change) in &self.unsynced {
            let keep = match common {
                Some(Luck::Nothing) => false,
                Some(Luck::Everything) => true,
                _ => random.percent(60),
            };
            let involved = change.names();
            if keep && !involved.iter().any(|name| lost.contains(name)) {
                change.apply(&mut names);
            } else {
                lost.extend(involved);
            }
        }
        names
    }

    /// Compares what the calls have made with the folder itself: nothing may have been done behind this program's back.
    pub(super) fn check_whole(&self) -> Result<()> {
        if let Some(call) = self.waiting.first() {
            bail!("{}({}) names what is not there", call.name, call.args.join(", "));
        }
        let mut there = BTreeSet::new();
        paths_below(&self.root, &mut there)?;
        let known: BTreeSet<_> = self.now.keys().cloned().collect();
        if known != there {
            let odd: Vec<_> = known.symmetric_difference(&there).collect();
            bail!("these are there, or not, other than the calls say: {odd:?}");
        }
        for (path, number) in &self.now {
            let Node::File { durable, unsynced, .. } = &self.nodes[*number] else {
                continue;
            };
            let mut image = durable.clone();
            unsynced.iter().for_each(|(_, op)| image.apply(op));
            let real = Image::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            if real != image {
                bail!("{} is not as the calls say", path.display());
            }
        }
        Ok(())
    }
}

fn paths_below(path: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    found.insert(path.to_owned());
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            paths_below(&entry?.path(), found)?;
        }
    }
    Ok(())
}

fn to_path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests;
