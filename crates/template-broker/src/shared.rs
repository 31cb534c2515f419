//! What all parts of the broker look at.

use std::sync::Arc;

use osb_sdk::{Context, InstanceId};
use template_controller::resources::TemplateInstance;

use crate::cluster::{At, Cluster};
use crate::credentials::Reader;
use crate::identity::Identities;
use crate::offering::{Ids, Mapped};
use crate::place::{self, NoPlace, Places};
use crate::registry::{Registry, Sold};
use crate::start::Workloads;

pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) registry: Arc<Registry>,
    pub(crate) identities: Identities,
    pub(crate) reader: Reader,
    pub(crate) places: Places,
    pub(crate) workloads: Workloads,
    pub(crate) ids: Ids,
}

impl Shared {
    /// Where an instance is.
    pub(crate) fn at(&self, context: Option<&Context>, instance: &InstanceId) -> Result<At, NoPlace> {
        Ok(At {
            namespace: place::namespace(context, &self.places)?,
            name: place::name(instance),
        })
    }

    /// What a plan stands for.
    pub(crate) fn sold(&self, service: &str, plan: &str) -> Option<Sold> {
        self.registry.sold(service, plan)
    }

    /// The same, also of a template that is gone: by the copy that its instance has.
    pub(crate) fn sold_or_stored(
        &self,
        service: &str,
        plan: &str,
        instance: Option<&TemplateInstance>,
    ) -> Option<Sold> {
        self.sold(service, plan).or_else(|| {
            let template = instance?.spec.template.read().ok()?;
            let mapped = Mapped::of(&template, self.ids);
            let position = mapped.position(plan)?;
            Some(Sold {
                key: mapped.key,
                uid: mapped.uid,
                fixed: mapped.fixed.get(position).cloned().unwrap_or_default(),
                parameters: Arc::new(mapped.parameters),
            })
        })
    }
}
