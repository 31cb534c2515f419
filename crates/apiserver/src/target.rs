//! What a request's path leads to.

use std::sync::Arc;

use bytes::Bytes;

use crate::registry::{Resource, Version};

/// A part of an object with routes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subresource {
    /// The object itself.
    None,
    Status,
    Scale,
    /// Of namespaces only.
    Finalize,
    /// Of service accounts only.
    Token,
    /// Of certificate signing requests only: the conditions.
    Approval,
    /// Of pods only.
    EphemeralContainers,
}

impl Subresource {
    /// As the path has it; empty for the object itself.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Subresource::None => "",
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::Token => "token",
            Subresource::Approval => "approval",
            Subresource::EphemeralContainers => "ephemeralcontainers",
        }
    }

    /// Where the part of the object stands that a write through its path may change; `None` when that is the whole, or is
    /// made in another way.
    pub(crate) fn place(self) -> Option<&'static [&'static str]> {
        match self {
            Subresource::None | Subresource::Scale | Subresource::Token => None,
            Subresource::Status => Some(&["status"]),
            Subresource::Finalize => Some(&["spec"]),
            Subresource::Approval => Some(&["status", "conditions"]),
            Subresource::EphemeralContainers => Some(&["spec", "ephemeralContainers"]),
        }
    }
}

/// A resource in a version, with the namespace and name of the path.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    version: usize,
    /// Empty for a cluster-scoped resource and for all namespaces.
    pub(crate) namespace: String,
    /// Empty for the collection.
    pub(crate) name: String,
    pub(crate) subresource: Subresource,
}

impl Target {
    /// `version` is a position in the resource's versions.
    pub(crate) fn new(
        resource: Arc<Resource>,
        version: usize,
        namespace: String,
        name: String,
        subresource: Subresource,
    ) -> Target {
        debug_assert!(version < resource.versions.len());
        Target {
            resource,
            version,
            namespace,
            name,
            subresource,
        }
    }

    /// An object, for the server's own work: in whatever version.
    pub(crate) fn internal(resource: Arc<Resource>, namespace: &str, name: &str) -> Target {
        Target {
            resource,
            version: 0,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: Subresource::None,
        }
    }

    pub(crate) fn version(&self) -> &Version {
        &self.resource.versions[self.version]
    }

    /// The namespace of a list, `None` for all.
    pub(crate) fn namespace(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }

    /// Another object of the same resource and version.
    pub(crate) fn named(&self, namespace: &str, name: &str) -> Target {
        Target {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// The key of the object.
    pub(crate) fn key(&self) -> Bytes {
        self.key_of(&self.name)
    }

    /// The key of another object of the same collection.
    pub(crate) fn key_of(&self, name: &str) -> Bytes {
        self.resource.keys.object(&self.namespace, name)
    }

    /// The same path on a newer snapshot's resource, if the version is still served.
    pub(crate) fn on(&self, resource: Arc<Resource>) -> Option<Target> {
        let name = &self.version().name;
        let version = resource
            .versions
            .iter()
            .position(|version| version.served && version.name == *name)?;
        Some(Target {
            resource,
            version,
            ..self.clone()
        })
    }
}
