//! The packages of the workspace and what they depend on, as `cargo metadata` reports them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run;

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ordinary,
    Dev,
    Build,
}

/// An edge of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    /// The crate's name as the source sees it.
    pub(crate) extern_name: String,
    /// Index of the package.
    pub(crate) package: usize,
    pub(crate) kinds: Vec<Kind>,
}

#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// Folder of its Cargo.toml.
    pub(crate) folder: PathBuf,
    pub(crate) is_member: bool,
    pub(crate) dependencies: Vec<Dependency>,
}

/// The resolved graph: only what is built for this platform with the features in use.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let mut command = run::cargo();
        command.args(["metadata", "--format-version=1", "--filter-platform", &host()?]);
        if run::in_ci() {
            command.arg("--locked");
        }
        let value = serde_json::from_str(&run::output(&mut command)?)?;
        Self::parse(&value).context("cargo metadata has a form that xtask does not know")
    }

    /// Reads the form that cargo calls version 1; `None` when a part is missing.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let members: HashSet<&str> = array(value, "workspace_members")?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let nodes = array(value.get("resolve")?, "nodes")?;
        let index: HashMap<&str, usize> = nodes
            .iter()
            .enumerate()
            .filter_map(|(i, node)| Some((text(node, "id")?, i)))
            .collect();
        let described: HashMap<&str, &Value> = array(value, "packages")?
            .iter()
            .filter_map(|package| Some((text(package, "id")?, package)))
            .collect();
        let packages = nodes.iter().map(|node| {
            let id = text(node, "id")?;
            let mut package = package(described.get(id)?, members.contains(id))?;
            package.dependencies = array(node, "deps")?
                .iter()
                .map(|edge| dependency(edge, &index))
                .collect::<Option<_>>()?;
            Some(package)
        });
        Some(Self {
            packages: packages.collect::<Option<_>>()?,
            root: text(value, "workspace_root")?.into(),
            target: text(value, "target_directory")?.into(),
        })
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_member)
    }

    /// Every package that `from` needs when it is built without its tests, itself included.
    pub(crate) fn needed_by<'a>(&'a self, from: &'a Package) -> Vec<&'a Package> {
        let mut seen = HashSet::new();
        let mut open = vec![from];
        let mut found = vec![from];
        while let Some(package) = open.pop() {
            for dependency in package
                .dependencies
                .iter()
                .filter(|dependency| dependency.is_ordinary())
            {
                if seen.insert(dependency.package) {
                    let next = &self.packages[dependency.package];
                    open.push(next);
                    found.push(next);
                }
            }
        }
        found
    }
}

impl Dependency {
    pub(crate) fn is_ordinary(&self) -> bool {
        self.kinds.contains(&Kind::Ordinary)
    }
}

fn package(value: &Value, is_member: bool) -> Option<Package> {
    Some(Package {
        name: text(value, "name")?.to_owned(),
        version: text(value, "version")?.to_owned(),
        license: text(value, "license").map(str::to_owned),
        folder: Path::new(text(value, "manifest_path")?).parent()?.to_owned(),
        is_member,
        dependencies: Vec::new(),
    })
}

fn dependency(edge: &Value, index: &HashMap<&str, usize>) -> Option<Dependency> {
    let kinds = array(edge, "dep_kinds")?.iter().map(|kind| match text(kind, "kind") {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Ordinary,
    });
    Some(Dependency {
        extern_name: text(edge, "name")?.to_owned(),
        package: *index.get(text(edge, "pkg")?)?,
        kinds: kinds.collect(),
    })
}

fn host() -> Result<String> {
    let printed = run::output(run::program("rustc").arg("-vV"))?;
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn array<'a>(value: &'a Value, key: &str) -> Option<&'a Vec<Value>> {
    value.get(key)?.as_array()
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A graph of members: name and edges, each as the kind's first letter and the name of the other side.
    pub(crate) fn graph(packages: &[(&str, &[&str])]) -> Metadata {
        let index = |name: &str| {
            packages
                .iter()
                .position(|(package, _)| *package == name)
                .expect("a package of the fixture")
        };
        let edge = |edge: &&str| {
            let (kind, to) = edge.split_once(' ').expect("kind and name");
            let kind = if kind == "dev" { Kind::Dev } else { Kind::Ordinary };
            Dependency {
                extern_name: to.replace('-', "_"),
                package: index(to),
                kinds: vec![kind],
            }
        };
        let package = |(name, edges): &(&str, &[&str])| Package {
            name: (*name).to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            folder: Path::new("/w/crates").join(name),
            is_member: !name.starts_with("ext-") && !name.starts_with("kube"),
            dependencies: edges.iter().map(edge).collect(),
        };
        Metadata {
            packages: packages.iter().map(package).collect(),
            root: "/w".into(),
            target: "/w/target".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_form_of_cargo_is_read() {
        let value = json!({
            "workspace_root": "/w",
            "target_directory": "/t",
            "workspace_members": ["path+file:///w/a#0.1.0"],
            "packages": [
                {"id": "registry#b@2.0.0", "name": "b-c", "version": "2.0.0", "license": null, "manifest_path": "/r/b/Cargo.toml"},
                {"id": "path+file:///w/a#0.1.0", "name": "a", "version": "0.1.0", "license": "MIT", "manifest_path": "/w/a/Cargo.toml"},
                {"id": "registry#windows", "name": "windows", "version": "1.0.0", "license": "MIT", "manifest_path": "/r/w/Cargo.toml"},
            ],
            "resolve": {"nodes": [
                {"id": "path+file:///w/a#0.1.0", "deps": [
                    {"name": "b_c", "pkg": "registry#b@2.0.0", "dep_kinds": [{"kind": null, "target": null}, {"kind": "dev", "target": null}]},
                ]},
                {"id": "registry#b@2.0.0", "deps": []},
            ]},
        });
        let metadata = Metadata::parse(&value).unwrap();
        assert_eq!(
            metadata.packages.len(),
            2,
            "what is not built on this platform is left out"
        );
        let [a] = metadata.members().collect::<Vec<_>>()[..] else {
            panic!("one member")
        };
        assert_eq!((a.name.as_str(), a.folder.as_path()), ("a", Path::new("/w/a")));
        assert_eq!(a.dependencies[0].extern_name, "b_c");
        assert_eq!(a.dependencies[0].kinds, [Kind::Ordinary, Kind::Dev]);
        assert_eq!(
            metadata
                .needed_by(a)
                .iter()
                .map(|package| &package.name)
                .collect::<Vec<_>>(),
            ["a", "b-c"]
        );
        assert!(Metadata::parse(&json!({})).is_none());
    }
}
