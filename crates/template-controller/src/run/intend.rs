//! Before anything is made: values, the list of objects, the requester's rights, a dry run, and writing all that down.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ObjectReference;
use template::{Given, Roles, SystemRandom, Template, Unknown, Values};

use super::{Run, Stop, own};
use crate::access::{Action, may};
use crate::blot::Blot;
use crate::discovery::Resource;
use crate::names::WAITING_MESSAGE;
use crate::objects::{ObjectError, at_once};
use crate::plan::{self, Planned};
use crate::resources::{FrozenValues, InstanceObject, ObjectState, OperationKind};
use crate::status;
use crate::values::{self, Freeze, Kept, ValuesError};

/// The version of OpenShift's own roles.
const OPENSHIFT_ROLES: &str = "authorization.openshift.io/v1";

/// How often values that another attempt has kept are taken over.
const TRIES: usize = 3;

impl Run<'_> {
    /// Goes on with what was stored.
    pub(super) async fn resume(&mut self, template: &Template<'_>) -> Result<Vec<Planned>, Stop> {
        let frozen = self.status().values.unwrap_or_default();
        let kept = values::kept(&self.api, &self.key.namespace, &frozen).await?;
        let values = resolve(template, &kept.given)?;
        self.plan(template, &values).await
    }

    /// Decides what is to be made, and stores it.
    pub(super) async fn intend(&mut self, template: &Template<'_>) -> Result<Vec<Planned>, Stop> {
        let mut given = self.given(template).await?;
        let mut generated = self.kept_before(template, &mut given).await?;
        for _ in 0..TRIES {
            let values = resolve(template, &given)?;
            let planned = self.plan(template, &values).await?;
            let pruned = self.pruned(&planned);
            self.check_access(&planned, &pruned).await?;
            self.try_out(&planned).await?;
            if !status::has_finalizer(&self.instance) {
                status::set_finalizer(&self.api, &mut self.instance, true)
                    .await
                    .map_err(own)?;
            }
            let kept = Kept::of(&values, &generated);
            match values::freeze(&self.api, self.owner(), &self.slot(), self.generation, &kept).await? {
                Freeze::Done(frozen) => {
                    self.store_intent(&planned, pruned, frozen).await?;
                    return Ok(planned);
                }
                // An attempt for this generation that was interrupted: nothing was made of its values, but somebody may have
                // seen them.
                Freeze::Others(frozen, kept) if kept.given == values.frozen() => {
                    self.store_intent(&planned, pruned, frozen).await?;
                    return Ok(planned);
                }
                Freeze::Others(_, kept) => {
                    given = kept.given;
                    generated = kept.generated;
                }
            }
        }
        Err(Stop::Transient("another process makes the same instance".to_owned()))
    }

    /// The values of the instance's Secret, read as the requester.
    async fn given(&self, template: &Template<'_>) -> Result<Given, Stop> {
        let Some(secret) = &self.instance.spec.secret else {
            return Ok(Given::new());
        };
        let requester = self.api.acting_for(&self.requester);
        match values::given(&requester, &self.key.namespace, &secret.name, template).await {
            Ok(given) => Ok(given),
            Err(ValuesError::Api(error)) if error.is_not_found() => {
                // It is often written in the same moment.
                Err(Stop::Transient(format!("the Secret {} is not there", secret.name)))
            }
            Err(ValuesError::Api(error)) if error.code() == 403 => Err(Stop::Making(vec![format!(
                "unable to authorize user to get secrets: {error}"
            )])),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts generated values from before an update among those that are given; their names.
    async fn kept_before(&self, template: &Template<'_>, given: &mut Given) -> Result<BTreeSet<String>, Stop> {
        let Some(frozen) = self.status().values else {
            return Ok(BTreeSet::new());
        };
        match values::kept(&self.api, &self.key.namespace, &frozen).await {
            Ok(kept) => Ok(kept.keep_generated(template, given)),
            // They are lost. Whoever has changed the instance after being told so gets others.
            Err(ValuesError::Wrong(_)) => Ok(BTreeSet::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// The name under which new values are kept: not the one of those that are in use.
    fn slot(&self) -> String {
        let [first, second] = values::names(&self.uid);
        match self.status().values {
            Some(used) if used.name == first => second,
            _ => first,
        }
    }

    /// Processes the template and finds the resources of its objects.
    async fn plan(&mut self, template: &Template<'_>, values: &Values) -> Result<Vec<Planned>, Stop> {
        // Until names are known, no message may show a value.
        self.blot = Blot::new(template, values, &[]);
        let has_roles = template.objects.iter().any(|object| {
            object
                .get("kind")
                .and_then(template::json::Value::as_str)
                .is_some_and(template::roles::is_role)
        });
        let transient = |error: crate::api::ApiError| Stop::Transient(error.to_string());
        let is_openshift = has_roles
            && self
                .context
                .discovery
                .serves(&self.api, OPENSHIFT_ROLES)
                .await
                .map_err(transient)?;
        let roles = if is_openshift {
            Roles::OpenShift
        } else {
            Roles::Kubernetes
        };
        let drafts = plan::drafts(template, values, self.owner(), roles)
            .map_err(|error| Stop::Making(vec![format!("unable to process Template objects: {error}")]))?;
        let mut found = Vec::with_capacity(drafts.len());
        let mut wrong = Vec::new();
        for draft in &drafts {
            let resource = self
                .context
                .discovery
                .find(&self.api, &draft.api_version, &draft.kind)
                .await;
            match resource
                .map_err(transient)?
                .or_else(|| plan::defined(&drafts, &draft.api_version, &draft.kind))
            {
                Some(resource) => found.push(resource),
                None => wrong.push(unknown(draft)),
            }
        }
        if !wrong.is_empty() {
            return Err(Stop::Making(wrong));
        }
        let drafts = drafts.into_iter().zip(found).collect();
        let planned = plan::plan(drafts, self.owner(), self.context.options.cross_namespace).map_err(Stop::Making)?;
        let shown: Vec<&str> = planned
            .iter()
            .flat_map(|one| [one.name.as_str(), one.namespace.as_str()])
            .chain([&*self.key.name])
            .collect();
        self.blot = Blot::new(template, values, &shown);
        Ok(planned)
    }

    /// What the status names and the template has no more.
    fn pruned(&self, planned: &[Planned]) -> Vec<InstanceObject> {
        let objects = self.status().objects.into_iter();
        objects
            .filter(|object| !planned.iter().any(|one| one.is(&object.reference)))
            .collect()
    }

    /// The uid of an object that was made before.
    fn made_before(&self, planned: &Planned) -> Option<String> {
        let objects = self.instance.status.as_ref()?.objects.iter();
        let mut same = objects.filter(|object| planned.is(&object.reference));
        same.find_map(|object| object.reference.uid.clone())
    }

    /// Asks for every object whether the requester may do what is to be done.
    async fn check_access(&self, planned: &[Planned], pruned: &[InstanceObject]) -> Result<(), Stop> {
        let mut removed: Vec<(Resource, &ObjectReference)> = Vec::new();
        for object in pruned {
            if let Some((resource, ..)) = self.locate(&object.reference).await? {
                removed.push((resource, &object.reference));
            }
        }
        let mut actions: Vec<Action<'_>> = Vec::new();
        for one in planned {
            let verb = if self.made_before(one).is_some() {
                "patch"
            } else {
                "create"
            };
            let Planned {
                resource,
                namespace,
                name,
                ..
            } = one;
            actions.push(Action {
                verb,
                resource,
                namespace,
                name,
            });
        }
        for (resource, reference) in &removed {
            let namespace = reference.namespace.as_deref().unwrap_or_default();
            let name = reference.name.as_deref().unwrap_or_default();
            actions.push(Action {
                verb: "delete",
                resource,
                namespace,
                name,
            });
        }
        let mut asked: Vec<BoxFuture<'_, _>> = Vec::with_capacity(actions.len());
        for action in actions {
            asked.push(Box::pin(may(&self.api, &self.requester, action)));
        }
        let mut wrong = Vec::new();
        for answer in at_once(asked).await {
            if let Err(refusal) = answer.map_err(|error| Stop::Transient(error.to_string()))? {
                wrong.push(refusal);
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Stop::Making(wrong))
        }
    }

    /// Has the API server try every object, where what it needs is there.
    async fn try_out(&self, planned: &[Planned]) -> Result<(), Stop> {
        let hands = self.hands();
        let uids: Vec<Option<String>> = planned.iter().map(|one| self.made_before(one)).collect();
        let mut tried: Vec<BoxFuture<'_, _>> = Vec::with_capacity(planned.len());
        for (one, uid) in planned.iter().zip(&uids) {
            if one.needs.iter().all(|&needed| uids[needed].is_some()) {
                tried.push(Box::pin(hands.try_out(one, uid.as_deref())));
            }
        }
        let mut wrong = Vec::new();
        for answer in at_once(tried).await {
            match answer {
                Ok(()) => {}
                Err(ObjectError::Transient(why)) => return Err(Stop::Transient(why)),
                Err(ObjectError::Permanent(why)) => wrong.push(why),
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Stop::Making(wrong))
        }
    }

    async fn store_intent(
        &mut self,
        planned: &[Planned],
        pruned: Vec<InstanceObject>,
        frozen: FrozenValues,
    ) -> Result<(), Stop> {
        let mut objects: Vec<InstanceObject> = planned
            .iter()
            .map(|one| InstanceObject {
                reference: one.reference(self.made_before(one)),
                state: Some(ObjectState::Pending),
                message: None,
            })
            .collect();
        objects.extend(pruned.into_iter().map(|object| InstanceObject {
            state: Some(ObjectState::Removing),
            message: None,
            ..object
        }));
        let generation = self.generation;
        let status = self.status_mut();
        status.objects = objects;
        status.values = Some(frozen);
        status.observed_generation = Some(generation);
        status::set_waiting(status, WAITING_MESSAGE, Some(generation));
        debug_assert!(
            status
                .operation
                .as_ref()
                .is_some_and(|operation| operation.kind != OperationKind::Delete)
        );
        status::write(&self.api, &mut self.instance).await.map_err(own)
    }
}

fn resolve(template: &Template<'_>, given: &Given) -> Result<Values, Stop> {
    template
        .resolve(given, Unknown::Ignored, &mut SystemRandom)
        .map_err(|problems| Stop::Making(vec![format!("unable to process Template objects: {problems}")]))
}

fn unknown(draft: &plan::Draft) -> String {
    let plan::Draft {
        place,
        api_version,
        kind,
        ..
    } = draft;
    let why = if template::groups::needs_openshift(api_version, kind) {
        "it is a kind of OpenShift, which this cluster does not serve"
    } else {
        "this cluster does not serve it"
    };
    format!("unable to identify the resource mapping for {kind} in {api_version} ({place}): {why}")
}
