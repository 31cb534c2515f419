//! Goes on with data folders that an older program has left behind, killed in the middle of its work.
//!
//! [`run`] has the older program leave them; [`fixtures`] takes those that earlier commits have left in the repository,
//! which costs no build of anything old. Half of the time the new program keeps its states in the second form, and has
//! to translate what is stored.
//!
//! A fixture is a folder `tools/torture/fixtures/NAME` with the journals until the kill (`journal.json`) and what is not
//! zero in the data folder, key included (`data.pack`: a line of JSON that says which bytes follow).

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::broker_process::BrokerProcess;
use crate::options::Options;
use crate::power::image::Image;
use crate::round::{Past, Recording, resume};
use crate::wire::World;
use crate::{Counts, Progress, broker_program, free_addr, model};

/// The forms of states that a new program goes on with.
const STATE_VERSIONS: [u32; 2] = [1, 2];

/// What a program left behind.
#[derive(Serialize, Deserialize)]
struct Left {
    past: Past,
    /// The last event.
    end: u64,
}

/// Has `from` work in a folder, kills it, and goes on with the program that lies beside this one.
///
/// # Errors
/// When something was lost, and when this program cannot go on.
pub(crate) fn run(rounds: u64, from: &Path, options: &Options, folder: &Path) -> Result<Counts> {
    let mut shown = Progress::default();
    for (number, state_version) in (0..rounds).zip(STATE_VERSIONS.into_iter().cycle()) {
        let folder = folder.join(format!("round-{number}"));
        let left = leave(number, from, options, &folder, Duration::from_secs(4))?;
        let kills = left.past.kills.len() as u64;
        let found = resume(left.past, left.end, &folder, options.seed, state_version)
            .with_context(|| format!("round {number}: the new program does not go on"))?;
        shown.count("upgrades", 1);
        shown.count("upgrades with older states", u64::from(state_version > 1));
        shown.count("kills of the older program", kills);
        shown.add(&format!("round {number}"), found)?;
        fs::remove_dir_all(&folder)?;
    }
    Ok(shown.counts)
}

/// Goes on with each fixture, in both forms.
///
/// # Errors
/// When something was lost, and when this program cannot go on.
pub(crate) fn fixtures(folder: &Path) -> Result<Counts> {
    let mut shown = Progress::default();
    let mut paths: Vec<_> = fs::read_dir(fixtures_folder())
        .context("there are no fixtures")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        for state_version in STATE_VERSIONS {
            let name = format!("{} as {state_version}", path.file_name().unwrap_or_default().display());
            let folder = folder.join(&name);
            let left: Left = serde_json::from_slice(&fs::read(path.join("journal.json"))?)?;
            unpack(&path.join("data.pack"), &folder.join("data")).with_context(|| path.display().to_string())?;
            let found = resume(left.past, left.end, &folder, 1, state_version)
                .with_context(|| format!("the program does not go on with {name}"))?;
            shown.count("fixtures", 1);
            shown.add(&name, found)?;
        }
    }
    if shown.counts.is_empty() {
        bail!("there are no fixtures");
    }
    Ok(shown.counts)
}

/// Makes a fixture.
///
/// # Errors
/// When there is one of this name, when the folder does not hold something in each state (another seed will), and when
/// this program cannot go on.
pub(crate) fn make_fixture(name: &str, from: Option<&Path>, options: &Options, folder: &Path) -> Result<Counts> {
    let target = fixtures_folder().join(name);
    if target.exists() {
        bail!("{} is there already", target.display());
    }
    let program = match from {
        Some(from) => from.to_owned(),
        None => broker_program()?,
    };
    let left = leave(1, &program, options, folder, Duration::from_millis(1_500))?;
    let counts = states(&left.past);
    for state in model::STATES {
        if !counts.contains_key(*state) {
            bail!("nothing is {state}; there is {counts:?}");
        }
    }
    fs::create_dir_all(&target)?;
    pack(&folder.join("data"), &target.join("data.pack"))?;
    fs::write(target.join("journal.json"), serde_json::to_vec(&left)?)?;
    println!("{}: {counts:?}", target.display());
    Ok(counts)
}

fn fixtures_folder() -> PathBuf {
    testparts::recipe::checkout().join("tools/torture/fixtures")
}

/// How many instances and bindings are in each state, or may be.
fn states(past: &Past) -> Counts {
    let mut counts = Counts::new();
    for slot in past.slots.iter().filter(|slot| slot.ordered) {
        let (_, states) = model::check(slot, &past.kills);
        let names: BTreeSet<_> = states.iter().flat_map(model::State::names).collect();
        for name in names {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn leave(number: u64, program: &Path, options: &Options, folder: &Path, works_for: Duration) -> Result<Left> {
    let world = World::default();
    let backend = Backend::start(world.clock.clone(), options.seed)?;
    let addr = free_addr()?;
    fs::create_dir_all(folder)?;
    let mut broker = BrokerProcess::new(program.to_owned(), folder, addr, backend.clone(), world.clone())?;
    let recording = Recording {
        number,
        seed: options.seed,
        clients: options.clients,
        works_for,
        kills: number % 3,
    };
    let past = recording.run(&mut broker, &backend, &world, addr)?;
    Ok(Left {
        past,
        end: world.clock.now(),
    })
}

/// A file in a pack.
#[derive(Serialize, Deserialize)]
struct Packed {
    path: PathBuf,
    size: u64,
    /// Where its bytes belong, and how many there are at each place, in the order in which they follow.
    pieces: Vec<(u64, u64)>,
}

fn pack(folder: &Path, target: &Path) -> Result<()> {
    let mut files = Vec::new();
    let mut bytes = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let mut below: Vec<_> = fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?;
            below.sort();
            open.extend(below);
            continue;
        }
        let image = Image::read(&path)?;
        let mut pieces = Vec::new();
        for (offset, piece) in image.pieces() {
            pieces.push((offset, piece.len() as u64));
            bytes.extend_from_slice(piece);
        }
        files.push(Packed {
            path: path.strip_prefix(folder)?.to_owned(),
            size: image.size,
            pieces,
        });
    }
    let mut file = fs::File::create(target)?;
    serde_json::to_writer(&mut file, &files)?;
    file.write_all(b"\n")?;
    file.write_all(&bytes)?;
    Ok(())
}

fn unpack(pack: &Path, folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mut reader = BufReader::new(fs::File::open(pack)?);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let files: Vec<Packed> = serde_json::from_slice(&line).context("it does not say what is in it")?;
    for file in files {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut image = Image::default();
        for (offset, length) in file.pieces {
            let mut bytes = vec![0; usize::try_from(length)?];
            reader.read_exact(&mut bytes).context("it is too short")?;
            image.write_piece(offset, bytes);
        }
        image.resize(file.size);
        image.write(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_unpacked_as_it_was_packed() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        let mut large = vec![0; 100_000];
        large[50_000] = 7;
        for (name, content) in [("key", &b"secret"[..]), ("a/b/log", &large), ("a/empty", b"")] {
            fs::write(from.join(name), content).unwrap();
        }
        let pack_path = folder.path().join("pack");
        pack(&from, &pack_path).unwrap();
        assert!(fs::metadata(&pack_path).unwrap().len() < 5_000);
        unpack(&pack_path, &to).unwrap();
        for name in ["key", "a/b/log", "a/empty"] {
            assert_eq!(
                fs::read(from.join(name)).unwrap(),
                fs::read(to.join(name)).unwrap(),
                "{name}"
            );
        }
    }
}
