//! A program for Linux and the libraries that it loads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::Usage;

/// The bytes that an ELF file of 64 bits begins with, little end first.
const ELF: &[u8] = b"\x7fELF\x02\x01";

/// Where the kind of the machine stands in them, as two bytes.
const MACHINE: usize = 18;

#[derive(Debug)]
pub(crate) struct Program {
    /// Its file name.
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    /// As images call it.
    pub(crate) architecture: &'static str,
    /// What it loads when it starts, with the loader itself.
    pub(crate) libraries: Vec<Library>,
}

#[derive(Debug)]
pub(crate) struct Library {
    /// Path without a leading slash, where the program looks for it.
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

impl Program {
    /// Reads a program of this machine.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let Some(architecture) = architecture(&content) else {
            bail!(Usage(format!(
                "{} is no program for Linux on amd64 or arm64; build the broker with cargo build --release first",
                path.display()
            )));
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name
            .filter(|name| !name.is_empty())
            .context("the program has no name")?;
        let mut libraries = Vec::new();
        for library in loaded(path)? {
            let content = std::fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?;
            let path = library.to_str().context("a library whose path is no text")?;
            libraries.push(Library {
                path: path.trim_start_matches('/').to_owned(),
                content,
            });
        }
        Ok(Self {
            name: name.to_owned(),
            content,
            architecture,
            libraries,
        })
    }
}

fn architecture(content: &[u8]) -> Option<&'static str> {
    let machine = content
        .strip_prefix(ELF)
        .and_then(|_| content.get(MACHINE..MACHINE + 2))?;
    match machine {
        [0x3e, 0] => Some("amd64"),
        [0xb7, 0] => Some("arm64"),
        _ => None,
    }
}

/// What the loader of this machine says that it would load.
fn loaded(program: &Path) -> Result<Vec<PathBuf>> {
    let program = program.canonicalize()?;
    let output = Command::new("ldd")
        .arg(&program)
        .output()
        .context("cannot run ldd, which tells the libraries of a program")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if [&text, &errors]
        .iter()
        .any(|said| said.contains("not a dynamic executable"))
    {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        bail!("ldd {}: {}", program.display(), errors.trim());
    }
    libraries(&text)
}

/// The paths in what `ldd` prints.
fn libraries(text: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.ends_with("=> not found") {
            bail!("a library is missing: {line}");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split(" (").next().unwrap_or_default();
        // The kernel's own has no file.
        if path.starts_with('/') {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_as_ldd_prints_them() {
        let text = "\tlinux-vdso.so.1 (0x00007f15be2de000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f15bb73e000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f15be2e0000)\n";
        let paths = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(text).unwrap(), paths.map(PathBuf::from));
        assert_eq!(libraries("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        assert!(libraries("\tlibx.so => not found\n").is_err());
    }

    #[test]
    fn only_programs_for_linux_go_into_an_image() {
        assert_eq!(architecture(b"#!/bin/sh\n"), None);
        assert_eq!(architecture(b"\x7fELF\x02\x01"), None);
        let mut elf = ELF.to_vec();
        elf.resize(MACHINE, 0);
        elf.extend([0xb7, 0]);
        assert_eq!(architecture(&elf), Some("arm64"));
    }
}
