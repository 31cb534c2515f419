//! What the oracle is built from, and where the result lies: shared by `cargo xtask oracle`, which builds, and by the tests,
//! which look for it.
//!
//! Layout of the cache folder ([`cache`]), outside each checkout:
//!
//! ```text
//! oracle/<key>/etcd, kube-apiserver, kube-controller-manager, kubectl
//! oracle/<key>-clients-<key of their sources>
//! oracle/helm-<key>
//! ```
//!
//! `<key>` is a hash of everything that decides the bytes: go.mod, go.sum, [`Program`]s and flags, Go's version and target.
//! A folder with that name is complete: it is built under another name and renamed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

const PART: &str = "the oracle";
const HINT_GO: &str =
    "install Go 1.21 or newer from https://go.dev/dl/ (it fetches the release that oracle/go.mod asks for)";

/// One program of the oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// File name.
    pub name: &'static str,
    /// Go package.
    pub package: &'static str,
    /// Whether the program carries the Kubernetes version: unstamped ones report one that clients cannot parse.
    pub stamped: bool,
}

/// The programs, in the order in which they are built.
pub const PROGRAMS: [Program; 4] = [
    Program {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        stamped: false,
    },
    Program {
        name: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        stamped: true,
    },
    Program {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        stamped: true,
    },
    Program {
        name: "kubectl",
        package: "k8s.io/kubernetes/cmd/kubectl",
        stamped: true,
    },
];

/// Environment of each call of Go: static programs, and nothing taken from the user's own settings.
pub const GO_ENV: [(&str, &str); 3] = [
    ("CGO_ENABLED", "0"),
    ("GOWORK", "off"),
    ("GOFLAGS", "-buildvcs=false -mod=readonly"),
];

/// Flags of `go build` beside `-ldflags`.
pub const BUILD_FLAGS: [&str; 1] = ["-trimpath"];

/// What the oracle of this checkout is built from.
#[derive(Debug)]
pub struct Recipe {
    /// Folder of the Go module.
    pub module: PathBuf,
    /// Version of Kubernetes in go.mod, as `1.36.3`.
    pub kubernetes: String,
    /// Where the programs are, or will be once they are built.
    pub folder: PathBuf,
}

impl Recipe {
    /// Reads the recipe of the checkout that this crate was built in.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] without Go or without a home folder for the cache, [`Error::Start`] when go.mod or go.sum cannot be read.
    pub fn of_checkout() -> Result<Self, Error> {
        let module = checkout().join("oracle");
        let read = |name: &str| {
            let path = module.join(name);
            std::fs::read_to_string(&path)
                .map_err(|error| Error::start(PART, format_args!("{}: {error}", path.display())))
        };
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        let kubernetes = required_version(&go_mod, "k8s.io/kubernetes")
            .ok_or_else(|| Error::start(PART, "oracle/go.mod requires no k8s.io/kubernetes"))?;
        let key = key(&[&go_mod, &go_sum, &settings(), &go_target(&module)?]);
        let folder = cache()?.join("oracle").join(key);
        Ok(Self {
            module,
            kubernetes,
            folder,
        })
    }

    /// Whether the programs are there.
    pub fn is_built(&self) -> bool {
        self.folder.is_dir()
    }

    /// Where the program of `oracle/clients` is, or will be once it is built. It has a name of its own, so that a change of
    /// it does not have everything else built again.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] when its sources cannot be read.
    pub fn clients(&self) -> Result<PathBuf, Error> {
        let folder = self.module.join("clients");
        let failed = |error: std::io::Error| Error::start(PART, format_args!("{}: {error}", folder.display()));
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        let sources = paths.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>();
        let sources = sources.map_err(failed)?;
        let texts: Vec<&str> = sources.iter().map(String::as_str).collect();
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        Ok(self.folder.with_file_name(format!("{name}-clients-{}", key(&texts))))
    }

    /// Folder of the Go module of Helm.
    pub fn helm_module(&self) -> PathBuf {
        self.module.join("helm")
    }

    /// Where Helm is, or will be once it is built: a module of its own, so that neither has the other built again.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] when its go.mod or go.sum cannot be read, [`Error::Missing`] without Go.
    pub fn helm(&self) -> Result<PathBuf, Error> {
        let module = self.helm_module();
        let read = |name: &str| {
            let path = module.join(name);
            std::fs::read_to_string(&path)
                .map_err(|error| Error::start(PART, format_args!("{}: {error}", path.display())))
        };
        let key = key(&[&read("go.mod")?, &read("go.sum")?, &settings(), &go_target(&module)?]);
        Ok(self.folder.with_file_name(format!("helm-{key}")))
    }

    /// The value of `-ldflags` for a program; `date` is the time of the Kubernetes version, RFC 3339.
    pub fn ldflags(&self, program: Program, date: &str) -> String {
        if !program.stamped {
            return "-s -w".to_owned();
        }
        let mut numbers = self.kubernetes.split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let stamps = [
            ("gitVersion", format!("v{}", self.kubernetes)),
            ("gitMajor", major.to_owned()),
            ("gitMinor", minor.to_owned()),
            ("gitTreeState", "clean".to_owned()),
            ("gitCommit", "proxy".to_owned()),
            ("buildDate", date.to_owned()),
        ];
        stamps.iter().fold("-s -w".to_owned(), |flags, (name, value)| {
            format!("{flags} -X k8s.io/component-base/version.{name}={value}")
        })
    }
}

/// Root of the checkout that this crate was built in.
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The cache folder: `$OSB_CACHE`, else `$XDG_CACHE_HOME/osb-sdk`, else `~/.cache/osb-sdk`. It need not exist yet.
///
/// # Errors
///
/// [`Error::Missing`] when none of the three variables names an absolute path.
pub fn cache() -> Result<PathBuf, Error> {
    cache_from(|name| std::env::var_os(name).map(PathBuf::from))
}

fn cache_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Error> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    absolute("OSB_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| cache.join("osb-sdk")))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache/osb-sdk")))
        .ok_or_else(|| {
            Error::missing(
                "the cache folder",
                "HOME is not set",
                "set OSB_CACHE to an absolute path",
            )
        })
}

fn required_version(go_mod: &str, module: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace().filter(|word| *word != "require");
        (words.next() == Some(module))
            .then(|| words.next()?.strip_prefix('v').map(str::to_owned))
            .flatten()
    })
}

fn settings() -> String {
    format!("{PROGRAMS:?}{GO_ENV:?}{BUILD_FLAGS:?}stamps 1")
}

/// Version and target of the Go that would build, seen from the module: go.mod may ask for another release than the one installed.
fn go_target(module: &Path) -> Result<String, Error> {
    let output = Command::new("go")
        .args(["env", "GOVERSION", "GOOS", "GOARCH"])
        .envs(GO_ENV)
        .current_dir(module)
        .output()
        .map_err(|error| Error::missing(PART, format!("cannot run go: {error}"), HINT_GO))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::missing(PART, format!("go env failed: {message}"), HINT_GO));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// FNV-1a, 128 bits, over each text and its end. A name for a cache entry, no protection against anybody.
fn key(texts: &[&str]) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_fnv_1a_and_keeps_texts_apart() {
        // FNV-1a 128 of the two bytes "a", 0xff, computed by hand from its definition.
        let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(309_485_009_821_345_068_724_781_371);
        let expected = step(step(144_066_263_297_769_815_596_495_629_667_062_367_629, b'a'), 0xff);
        assert_eq!(key(&["a"]), format!("{expected:032x}"));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
    }

    #[test]
    fn the_version_is_found_in_both_forms_of_a_requirement() {
        let single = "module m\nrequire k8s.io/kubernetes v1.36.3\n";
        let block = "require (\n\tk8s.io/kubernetes/x v9.9.9\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        for go_mod in [single, block] {
            assert_eq!(required_version(go_mod, "k8s.io/kubernetes").as_deref(), Some("1.36.3"));
        }
        assert_eq!(required_version("module m\n", "k8s.io/kubernetes"), None);
    }

    #[test]
    fn the_cache_folder_follows_the_first_absolute_variable() {
        let with = |set: &'static [(&str, &str)]| {
            cache_from(move |name| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| PathBuf::from(value))
            })
        };
        assert_eq!(with(&[("OSB_CACHE", "/c"), ("HOME", "/h")]).unwrap(), Path::new("/c"));
        assert_eq!(
            with(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]).unwrap(),
            Path::new("/x/osb-sdk")
        );
        assert_eq!(
            with(&[("OSB_CACHE", ""), ("HOME", "/h")]).unwrap(),
            Path::new("/h/.cache/osb-sdk")
        );
        assert!(matches!(with(&[("HOME", "relative")]), Err(Error::Missing { .. })));
    }

    #[test]
    fn only_programs_of_kubernetes_are_stamped() {
        let recipe = Recipe {
            module: PathBuf::new(),
            kubernetes: "1.36.3".to_owned(),
            folder: PathBuf::new(),
        };
        let [etcd, apiserver, ..] = PROGRAMS;
        assert_eq!(recipe.ldflags(etcd, "D"), "-s -w");
        let flags = recipe.ldflags(apiserver, "D");
        for stamp in ["gitVersion=v1.36.3", "gitMajor=1", "gitMinor=36", "buildDate=D"] {
            assert!(
                flags.contains(&format!(" -X k8s.io/component-base/version.{stamp}")),
                "{flags}"
            );
        }
    }
}
