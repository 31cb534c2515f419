//! `GET` of instances and bindings, where the catalog promises it. Of the parameters only those are told that the author
//! shows: they may be secret (OSB-GETI-06, OSB-GETB-05).

use osb_api::Object;
use osb_api::answer::{BindingBody, BindingDetails, InstanceBody, InstanceDetails};
use osb_api::error::FetchError;
use osb_api::id::{BindingId, InstanceId};
use osb_api::request::MaintenanceVersion;
use osb_server::Caller;

use super::{fault, fault_of_seal};
use crate::engine::Inner;
use crate::hooks::{Action, ActionVerb};
use crate::names;
use crate::objects;
use crate::resource::{Kind, Stored};
use crate::services::Found;

impl Inner {
    pub(super) async fn fetch_instance(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceDetails, FetchError> {
        let (stored, found) = self
            .complete(caller, Kind::Instance, &names::instance(id), id, None)
            .await?;
        let body: Option<InstanceBody> =
            objects::outputs(&self.keys, &stored).map_err(|error| fault_of_seal(&error))?;
        let body = body.unwrap_or_default();
        let parameters = self.parameters_of(&stored)?;
        Ok(InstanceDetails {
            service_id: Some(stored.spec.service_id),
            plan_id: Some(stored.spec.plan_id),
            dashboard_url: body.dashboard_url,
            parameters: found.registration.service.shown_parameters(parameters),
            maintenance_info: stored.spec.maintenance.map(|version| MaintenanceVersion { version }),
            metadata: body.metadata,
        })
    }

    pub(super) async fn fetch_binding(
        &self,
        caller: &Caller,
        instance: &InstanceId,
        id: &BindingId,
    ) -> Result<BindingDetails, FetchError> {
        let name = names::binding(instance, id);
        let (stored, found) = self.complete(caller, Kind::Binding, &name, instance, Some(id)).await?;
        let parameters = self.parameters_of(&stored)?;
        let body: Option<BindingBody> = objects::outputs(&self.keys, &stored).map_err(|error| fault_of_seal(&error))?;
        Ok(BindingDetails {
            body: body.unwrap_or_default(),
            parameters: found.registration.service.shown_bind_parameters(parameters),
        })
    }

    /// The parameters as they are after all updates (OSB-GETI-07).
    fn parameters_of(&self, stored: &Stored) -> Result<Object, FetchError> {
        let request = objects::request(&self.keys, stored).map_err(|error| fault_of_seal(&error))?;
        Ok(request.parameters)
    }

    /// The object with its plan, if it is complete and its offering promises that it can be fetched (OSB-GETI-04, OSB-GETI-09,
    /// OSB-GETB-02).
    async fn complete(
        &self,
        caller: &Caller,
        kind: Kind,
        name: &str,
        instance: &InstanceId,
        binding: Option<&BindingId>,
    ) -> Result<(Stored, Found), FetchError> {
        let namespace = self.tenant(caller)?;
        let found: Option<Stored> = self.home.get(kind, namespace, name).await.map_err(fault)?;
        let stored = found.ok_or(FetchError::NotFound)?;
        let same_ids = stored.spec.instance_id == *instance && stored.spec.binding_id.as_ref() == binding;
        if !same_ids || !stored.is_complete() || self.is_gone(&stored).await.map_err(fault)? {
            return Err(FetchError::NotFound);
        }
        let plan = self.services().find(&stored.spec.service_id, &stored.spec.plan_id);
        let plan = plan.ok_or(FetchError::NotFound)?;
        let retrievable = match kind {
            Kind::Binding => plan.bindings_retrievable,
            _ => plan.instances_retrievable,
        };
        if !retrievable {
            return Err(FetchError::NotFound);
        }
        let verb = match kind {
            Kind::Binding => ActionVerb::FetchBinding,
            _ => ActionVerb::FetchInstance,
        };
        let spec = &stored.spec;
        let ids = (&spec.service_id, &spec.plan_id);
        let known = self.instance_context(&stored).await.map_err(fault)?;
        let context = spec.context.as_ref();
        let action = Action::new(verb, caller, (instance, binding), ids, context, known.as_ref());
        self.services().hooks.authorize(&action).await?;
        Ok((stored, plan))
    }
}
