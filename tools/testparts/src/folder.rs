//! Temporary folders, and the user that may own them.

use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A user by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A folder that only its owner can read, removed with this value.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a folder below the system's folder for temporary files, and gives it to `owner`.
    pub(crate) fn create(owner: Option<User>) -> io::Result<Self> {
        Self::create_in(&std::env::temp_dir(), owner)
    }

    /// The same below another folder.
    pub(crate) fn create_in(parent: &Path, owner: Option<User>) -> io::Result<Self> {
        let path = parent.join(format!("osb-part-{}", secret()?));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self { path };
        if let Some(User { uid, gid }) = owner {
            std::os::unix::fs::chown(&folder.path, Some(uid), Some(gid))?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder belongs to root, which tells without a system call of our own whether this process runs as root.
    pub(crate) fn is_roots(&self) -> io::Result<bool> {
        Ok(fs::metadata(&self.path)?.uid() == 0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The watcher of a part may have removed it already.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// 128 random bits as 32 hexadecimal digits.
pub(crate) fn secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// The user for a server that refuses root: `postgres`, else `nobody`.
pub(crate) fn unprivileged() -> io::Result<Option<User>> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    Ok(find_user(&passwd, "postgres").or_else(|| find_user(&passwd, "nobody")))
}

fn find_user(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        Some(User {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody2:x:9:9::/:/\nnobody:x:65534:65533:nobody:/x:/y\n";
        assert_eq!(find_user(passwd, "nobody"), Some(User { uid: 65534, gid: 65533 }));
        assert_eq!(find_user(passwd, "postgres"), None);
    }

    #[test]
    fn a_folder_is_private_and_goes_with_its_value() {
        let folder = Folder::create(None).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
