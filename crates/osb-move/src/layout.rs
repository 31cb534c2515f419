//! Which namespaces belong to a broker: each kind of home names them in its own way.

/// How a home names the namespaces of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The namespace of the broker's own objects.
    pub system: String,
    /// What the namespace of a platform begins with, before the platform's name.
    pub tenant_prefix: String,
}

/// Whose a namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The broker's own.
    System,
    /// The platform of that name.
    Platform(String),
}

impl Layout {
    /// Whose a namespace is; `None` when it belongs to no broker.
    pub fn owner(&self, namespace: &str) -> Option<Owner> {
        if namespace == self.system {
            return Some(Owner::System);
        }
        let platform = namespace.strip_prefix(&self.tenant_prefix)?;
        (!platform.is_empty()).then(|| Owner::Platform(platform.to_owned()))
    }

    /// The namespace of an owner.
    pub fn namespace(&self, owner: &Owner) -> String {
        match owner {
            Owner::System => self.system.clone(),
            Owner::Platform(name) => format!("{}{name}", self.tenant_prefix),
        }
    }

    /// What a namespace of another home is called here; what belongs to no broker keeps its name.
    pub fn renamed(&self, from: &Layout, namespace: &str) -> String {
        from.owner(namespace)
            .map_or_else(|| namespace.to_owned(), |owner| self.namespace(&owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_keeps_its_owner_when_it_moves() {
        let embedded = Layout {
            system: "osb-system".to_owned(),
            tenant_prefix: String::new(),
        };
        let cluster = Layout {
            system: "brokers".to_owned(),
            tenant_prefix: "brokers-".to_owned(),
        };
        for (here, there) in [
            ("osb-system", "brokers"),
            ("default", "brokers-default"),
            ("cf", "brokers-cf"),
        ] {
            assert_eq!(cluster.renamed(&embedded, here), there);
            assert_eq!(embedded.renamed(&cluster, there), here);
        }
        assert_eq!(cluster.owner("kube-system"), None);
        assert_eq!(cluster.owner("brokers-"), None);
    }
}
