//! The embedded facts, and where each of them stands.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use crate::facts::{Kind, Type};
use crate::parse;

/// One file of facts: the types of a package of Kubernetes.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its name as fields know it: `apps/v1`.
    pub(crate) name: &'static str,
    text: &'static str,
    types: OnceLock<BTreeMap<&'static str, Place>>,
}

/// Where a type stands, and what it is once it has been read.
#[derive(Debug)]
struct Place {
    lines: &'static str,
    read: OnceLock<Type>,
}

macro_rules! packages {
    ($($name:literal $file:literal),* $(,)?) => {
        static PACKAGES: [Package; [$($name),*].len()] = [$(Package {
            name: $name,
            text: include_str!(concat!("../data/", $file)),
            types: OnceLock::new(),
        }),*];
    };
}

packages!(
    "admissionregistration/v1" "admissionregistration.v1.txt",
    "apiextensions/v1" "apiextensions.v1.txt",
    "apiregistration/v1" "apiregistration.v1.txt",
    "apps/v1" "apps.v1.txt",
    "authentication/v1" "authentication.v1.txt",
    "authorization/v1" "authorization.v1.txt",
    "autoscaling/v1" "autoscaling.v1.txt",
    "autoscaling/v2" "autoscaling.v2.txt",
    "batch/v1" "batch.v1.txt",
    "certificates/v1" "certificates.v1.txt",
    "coordination/v1" "coordination.v1.txt",
    "core/v1" "core.v1.txt",
    "discovery/v1" "discovery.v1.txt",
    "events/v1" "events.v1.txt",
    "flowcontrol/v1" "flowcontrol.v1.txt",
    "meta/v1" "meta.v1.txt",
    "networking/v1" "networking.v1.txt",
    "node/v1" "node.v1.txt",
    "policy/v1" "policy.v1.txt",
    "rbac/v1" "rbac.v1.txt",
    "scheduling/v1" "scheduling.v1.txt",
    "storage/v1" "storage.v1.txt",
);

impl Package {
    /// The lines before the types: names and kinds.
    fn head(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.text.lines().take_while(|line| !line.starts_with("type "))
    }

    /// What stands before the names of its types in OpenAPI documents.
    pub(crate) fn openapi(&self) -> &'static str {
        let mut head = self.head();
        head.find_map(|line| line.strip_prefix("package ")).unwrap_or_default()
    }

    fn types(&'static self) -> &'static BTreeMap<&'static str, Place> {
        self.types.get_or_init(|| {
            let mut types = BTreeMap::new();
            let mut rest = self.text.find("\ntype ").map_or("", |at| &self.text[at + 1..]);
            while !rest.is_empty() {
                let end = rest.find("\ntype ").map_or(rest.len(), |at| at + 1);
                let (lines, behind) = rest.split_at(end);
                let place = Place {
                    lines,
                    read: OnceLock::new(),
                };
                types.insert(parse::type_name(lines), place);
                rest = behind;
            }
            types
        })
    }

    fn find(&'static self, name: &str) -> Option<&'static Type> {
        let place = self.types().get(name)?;
        Some(place.read.get_or_init(|| parse::read_type(self, place.lines)))
    }
}

fn package(name: &str) -> Option<&'static Package> {
    let found = PACKAGES.binary_search_by(|package| package.name.cmp(name)).ok()?;
    Some(&PACKAGES[found])
}

/// A type by its package (`apps/v1`) and name.
pub(crate) fn type_in(in_package: &str, name: &str) -> Option<&'static Type> {
    package(in_package)?.find(name)
}

/// A type by its name as the data has it: `core/v1.PodSpec`, `meta/v1.ObjectMeta`.
pub fn find(name: &str) -> Option<&'static Type> {
    let (in_package, name) = name.rsplit_once('.')?;
    type_in(in_package, name)
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let mut kinds: Vec<Kind> = PACKAGES
        .iter()
        .flat_map(|package| parse::kinds(package.name, package.head()))
        .collect();
    kinds.sort_by_key(|kind| (kind.group, kind.version, kind.plural));
    kinds
});

/// All built-in kinds that a real server serves in the groups that are known here, by group, version and plural name.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// A built-in kind by group (empty for core), version and kind.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    let mut all = kinds().iter();
    all.find(|known| known.group == group && known.version == version && known.kind == kind)
}

/// The package of a group and version.
pub(crate) fn package_of(group: &str, version: &str) -> Option<&'static str> {
    let mut all = kinds().iter();
    let kind = all.find(|known| known.group == group && known.version == version)?;
    Some(kind.object.package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Shape;

    fn walk(shape: &Shape) {
        match shape {
            Shape::List(inner) | Shape::WrappedList(inner) | Shape::Map(inner) => walk(inner),
            Shape::Object(inner) => assert!(!inner.get().name.is_empty()),
            _ => {}
        }
    }

    #[test]
    fn every_type_that_is_named_is_there() {
        let mut fields = 0;
        for package in &PACKAGES {
            assert!(package.openapi().starts_with("io.k8s."), "{}", package.name);
            for name in package.types().keys() {
                let found = package.find(name).unwrap();
                for field in &found.own {
                    walk(&field.shape);
                }
                assert!(found.fields().is_sorted_by(|a, b| a.name < b.name), "{name}");
                fields += found.own.len();
            }
        }
        for kind in kinds() {
            assert!(!kind.object_type().fields().is_empty(), "{}", kind.kind);
        }
        assert!(fields > 2000, "{fields}");
    }

    #[test]
    fn packages_are_sorted() {
        assert!(PACKAGES.is_sorted_by(|a, b| a.name < b.name));
    }
}
