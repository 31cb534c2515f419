//! `cargo xtask oracle`: builds etcd, kube-apiserver, kube-controller-manager, kubectl, Helm and our Go clients into the cache folder, once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use testparts::recipe::{BUILD_FLAGS, GO_ENV, PROGRAMS, Program, Recipe};

use crate::run;

/// Beginning of the extension of a folder that is being built; the builder's process number follows.
const HALF_BUILT: &str = "building-";

/// The folder with the programs, built if they are not there.
pub(crate) fn ensure() -> Result<PathBuf> {
    let recipe = Recipe::of_checkout()?;
    let (clients, helm) = (recipe.clients()?, recipe.helm()?);
    if recipe.is_built() && clients.is_file() && helm.is_file() {
        return Ok(recipe.folder);
    }
    let place = recipe.folder.parent().context("the cache folder has no parent")?;
    fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    let _lock = lock(&recipe.folder.with_extension("lock"))?;
    // Another call may have built it while this one waited.
    if !recipe.is_built() {
        build(&recipe)?;
    }
    // Most of its parts are those of kubectl.
    if !clients.is_file() {
        build_beside(&recipe.module, "./clients", &clients)?;
    }
    if !helm.is_file() {
        build_beside(&recipe.helm_module(), "helm.sh/helm/v3/cmd/helm", &helm)?;
    }
    Ok(recipe.folder)
}

/// Takes the lock of one build; it ends with the file, also when this process is killed.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another build of the oracle ({})", path.display());
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn build(recipe: &Recipe) -> Result<()> {
    eprintln!(
        "building the oracle (Kubernetes {}): 4 to 10 minutes, once",
        recipe.kubernetes
    );
    let started = Instant::now();
    remove_half_built(recipe)?;
    // With the process number: a compiler that outlived a killed build must not write into this one.
    let half = recipe
        .folder
        .with_extension(format!("{HALF_BUILT}{}", std::process::id()));
    fs::create_dir(&half).with_context(|| format!("cannot make {}", half.display()))?;
    let date = release_date(recipe)?;
    for program in PROGRAMS {
        run::run(&mut go_build(recipe, program, &half, &date)).context(
            "the first build downloads about 100 MB from the Go module proxy and takes 2 GB of memory and 4 GB of disk",
        )?;
    }
    check_version(recipe, &half)?;
    fs::rename(&half, &recipe.folder).with_context(|| format!("cannot rename {}", half.display()))?;
    eprintln!("built the oracle in {}", run::seconds(started.elapsed()));
    Ok(())
}

/// Builds a program that is not one of the oracle's servers, from its own module.
fn build_beside(module: &Path, package: &str, program: &Path) -> Result<()> {
    let half = program.with_extension(format!("{HALF_BUILT}{}", std::process::id()));
    let mut command = Command::new("nice");
    command
        .args(["-n", "15", "go", "build"])
        .args(BUILD_FLAGS)
        .args(["-ldflags", "-s -w", "-o"])
        .arg(&half)
        .arg(package)
        .envs(GO_ENV)
        .current_dir(module);
    run::run(&mut command)?;
    fs::rename(&half, program).with_context(|| format!("cannot rename {}", half.display()))
}

/// Removes what killed builds of this recipe have left; the caller holds the lock.
fn remove_half_built(recipe: &Recipe) -> Result<()> {
    let (Some(place), Some(key)) = (recipe.folder.parent(), recipe.folder.file_name()) else {
        return Ok(());
    };
    let prefix = format!("{}.{HALF_BUILT}", key.display());
    for entry in fs::read_dir(place).with_context(|| format!("cannot read {}", place.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// When the version was published, as the module proxy says.
fn release_date(recipe: &Recipe) -> Result<String> {
    const FORMAT: &str = r#"{{.Time.UTC.Format "2006-01-02T15:04:05Z"}}"#;
    let mut command = Command::new("go");
    command
        .args(["list", "-m", "-f", FORMAT, "k8s.io/kubernetes"])
        .envs(GO_ENV)
        .current_dir(&recipe.module);
    Ok(run::output(&mut command)?.trim().to_owned())
}

fn go_build(recipe: &Recipe, program: Program, folder: &Path, date: &str) -> Command {
    // Niced, so that a build beside other work does not hold it up.
    let mut command = Command::new("nice");
    command
        .args(["-n", "15", "go", "build"])
        .args(BUILD_FLAGS)
        .args(["-ldflags", &recipe.ldflags(program, date), "-o"])
        .arg(folder.join(program.name))
        .arg(program.package)
        .envs(GO_ENV)
        .current_dir(&recipe.module);
    command
}

/// A stamp that went nowhere is not an error of the linker.
fn check_version(recipe: &Recipe, folder: &Path) -> Result<()> {
    let printed = run::output(Command::new(folder.join("kube-apiserver")).arg("--version"))?;
    let expected = format!("Kubernetes v{}", recipe.kubernetes);
    if printed.trim() != expected {
        bail!(
            "kube-apiserver --version prints {:?}, expected {expected:?}",
            printed.trim()
        );
    }
    Ok(())
}
