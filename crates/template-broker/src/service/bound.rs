//! Bindings with objects of their own: a TemplateInstance for each, and one more for a moment when it is removed.

use osb_sdk::{Error, Operation, Result};
use template::Given;
use template_controller::names::{ABANDON, GROUP, VERSION};
use template_controller::resources::{Body, Requester, Template, TemplateInstance};

use super::{End, Instance, Templates, final_or_not, no_credentials, unsuccessful, without_waiting};
use crate::binding::{BindingError, BindingTemplate, Facts};
use crate::cluster::{At, MadeFor, Whose};
use crate::credentials::{Credentials, Exposing, credentials};
use crate::parameters::{Fixed, Purpose};
use crate::place;
use crate::review::{Right, may};
use crate::start::Workloads;

/// What stands before the incarnation of a binding in [`crate::cluster::MADE_FOR`].
const BINDING: &str = "binding";

impl Templates {
    /// Makes the objects of a binding, and gives what they expose.
    pub(super) async fn bind_own(
        &self,
        op: &Operation,
        state: &Instance,
        instance: &TemplateInstance,
        binding: BindingTemplate,
        request: osb_sdk::Object,
    ) -> Result<Credentials> {
        let given = binding.parameters.given(&request, &Fixed::default(), Purpose::Create);
        let given = given.map_err(|wrong| Error::failed(wrong.to_string()))?;
        let requester = self.requester(op)?;
        let at = at(op, state, place::Part::Binding)?;
        let (id, life) = names(op)?;
        let made_for = MadeFor::binding(&id, &life);
        let made = match self.0.cluster.instance(&at).await? {
            Some(found) if made_for.of(&found.metadata) == Whose::Ours => found,
            Some(_) => {
                return Err(Error::failed(format!(
                    "There is a TemplateInstance {at} that is not this binding's."
                )));
            }
            None => {
                state.trust(&instance.spec.template, instance.spec.requester.as_ref(), &requester)?;
                self.may_make(&requester, &at).await?;
                let facts = self
                    .facts(op, state, instance, binding.needs_credentials(), &requester)
                    .await?;
                let values = binding.values(&facts, given);
                let body = self.to_be_made(binding.body)?;
                self.make(op, &at, body, &values, requester.clone(), &made_for).await?
            }
        };
        let uid = made.metadata.uid.unwrap_or_default();
        match self.end(op, &at, &uid).await? {
            End::Ready => {}
            other => return Err(unsuccessful(other)),
        }
        let made = self.0.cluster.instance(&at).await?;
        let made =
            made.ok_or_else(|| Error::failed("The TemplateInstance of the binding is gone: somebody has deleted it."))?;
        let objects = self.readable(&made, &requester).await?;
        credentials(&objects).map_err(|error| no_credentials(error.into()))
    }

    /// Removes what there is of a binding with objects of its own, and before that has taken back what they did elsewhere.
    ///
    /// The Secret of the binding, which is the first that is made, is the last that goes: so an unbind that was interrupted finds
    /// that there is something left.
    pub(super) async fn unbind_own(&self, op: &Operation, state: &Instance) -> Result<()> {
        let at = at(op, state, place::Part::Binding)?;
        let (id, life) = names(op)?;
        let made_for = MadeFor::binding(&id, &life);
        let is_ours = |metadata: &kube::api::ObjectMeta| made_for.of(metadata) == Whose::Ours;
        let found = self
            .0
            .cluster
            .instance(&at)
            .await?
            .filter(|found| is_ours(&found.metadata));
        let secret = self
            .0
            .cluster
            .secret(&at)
            .await?
            .filter(|secret| is_ours(&secret.metadata));
        if found.is_none() && secret.is_none() {
            return Ok(());
        }
        let undoing = self::at(op, state, place::Part::Unbinding)?;
        if let Some(found) = found {
            if found.metadata.deletion_timestamp.is_none() && !is_abandoned(&found) {
                self.undo(op, state, &found, &undoing, &made_for).await?;
            }
            self.remove(op, &at, found.metadata.uid.as_deref().unwrap_or_default())
                .await?;
        }
        self.remove_made(op, &undoing, &made_for).await?;
        self.remove_made(op, &at, &made_for).await
    }

    /// Makes the objects that take back what those of a binding did, and waits for them.
    async fn undo(
        &self,
        op: &Operation,
        state: &Instance,
        binding: &TemplateInstance,
        at: &At,
        made_for: &MadeFor<'_>,
    ) -> Result<()> {
        let is_begun = binding.status.as_ref().is_some_and(|status| status.values.is_some());
        let Some(instance) = self.0.cluster.instance(&state.at()).await? else {
            return Ok(());
        };
        if !is_begun || instance.metadata.uid.as_deref() != Some(&*state.uid) {
            return Ok(());
        }
        let Some(undoing) = read(&instance, BindingTemplate::undoing)? else {
            return Ok(());
        };
        // Who unbinds may be the platform itself; who has bound could make the objects, and so could have others made.
        let requester = binding.spec.requester.clone().unwrap_or_default();
        state.trust(&instance.spec.template, instance.spec.requester.as_ref(), &requester)?;
        let needs_credentials = undoing.needs_credentials();
        let mut facts = self.facts(op, state, &instance, needs_credentials, &requester).await?;
        facts.instance.extend(self.values_of(binding).await?);
        let values = undoing.values(&facts, Given::new());
        let body = self.to_be_made(undoing.body)?;
        let made = match self.0.cluster.instance(at).await? {
            None => self.make(op, at, body, &values, requester, made_for).await?,
            Some(found) if made_for.of(&found.metadata) != Whose::Ours => {
                return Err(Error::failed(format!(
                    "There is a TemplateInstance {at} that is not this binding's."
                )));
            }
            // What an earlier unbind has tried in vain is tried again.
            Some(found) if found.spec.revision.as_deref() != Some(op.key()) => {
                let spec = crate::cluster::spec(body, at, requester, op.key());
                let changed = self.0.cluster.change(at, &found, &spec).await;
                changed.map_err(|error| final_or_not(error, "The TemplateInstance cannot be changed"))?
            }
            Some(found) => found,
        };
        match self
            .end(op, at, made.metadata.uid.as_deref().unwrap_or_default())
            .await?
        {
            End::Ready => Ok(()),
            End::Failed(why) => Err(Error::failed(format!(
                "What the binding has done cannot be taken back: {why}. With the annotation {ABANDON}: \"true\" on the \
                 TemplateInstance {} it is left as it is.",
                binding.metadata.name.as_deref().unwrap_or_default()
            ))),
            other => Err(unsuccessful(other)),
        }
    }

    async fn facts(
        &self,
        op: &Operation,
        state: &Instance,
        instance: &TemplateInstance,
        needs_credentials: bool,
        requester: &Requester,
    ) -> Result<Facts> {
        let (id, _) = names(op)?;
        let known = [
            ("BINDING_ID", id),
            ("BINDING_NAME", op.object_name(BINDING)),
            ("INSTANCE_ID", op.instance().as_str().to_owned()),
            ("INSTANCE_NAME", state.name.clone()),
        ];
        let credentials = if needs_credentials {
            let objects = self.readable(instance, requester).await?;
            credentials(&objects).map_err(|error| no_credentials(error.into()))?
        } else {
            Credentials::new()
        };
        Ok(Facts {
            known: known
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            credentials,
            instance: self.values_of(instance).await?,
        })
    }

    /// The values that the parameters of an instance have.
    async fn values_of(&self, instance: &TemplateInstance) -> Result<Given> {
        let kept = instance.status.as_ref().and_then(|status| status.values.as_ref());
        // The cluster's own controller, on OpenShift, keeps none: then there are those that were given.
        let given = instance.spec.secret.as_ref().map(|secret| secret.name.as_str());
        let Some(name) = kept.map(|kept| kept.name.as_str()).or(given) else {
            return Ok(Given::new());
        };
        let at = At {
            namespace: instance.metadata.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        };
        let secret = self.0.cluster.secret(&at).await?;
        let is_it = |uid: Option<&String>| kept.is_none_or(|kept| uid == Some(&kept.uid));
        let secret = secret.filter(|secret| is_it(secret.metadata.uid.as_ref()));
        let secret = secret.ok_or_else(|| {
            Error::failed(format!(
                "The Secret {at} with the values of the parameters is gone, or another one."
            ))
        })?;
        let texts = secret.data.unwrap_or_default().into_iter();
        let texts = texts.filter(|(name, _)| !name.starts_with('.'));
        Ok(texts
            .filter_map(|(name, value)| Some((name, String::from_utf8(value.0).ok()?)))
            .collect())
    }

    /// The objects of an instance that expose something, if the user may read them all.
    async fn readable(&self, instance: &TemplateInstance, requester: &Requester) -> Result<Vec<Exposing>> {
        let client = self.0.cluster.client();
        let objects = self.0.reader.exposing(client, instance).await.map_err(no_credentials)?;
        for object in &objects {
            if let Err(missing) = may(client, requester, &object.reading()).await? {
                return Err(Error::failed(missing));
            }
        }
        Ok(objects)
    }

    /// Whether the user may have what a binding is made of.
    async fn may_make(&self, requester: &Requester, at: &At) -> Result<()> {
        for right in making(at) {
            if let Err(missing) = may(self.0.cluster.client(), requester, &right).await? {
                return Err(Error::failed(missing));
            }
        }
        Ok(())
    }

    /// The template as it is made here.
    fn to_be_made(&self, body: Body) -> Result<Body> {
        match self.0.workloads {
            Workloads::Run => Ok(body),
            Workloads::Stored => {
                let template: Template = serde_json::from_str(body.as_str())?;
                without_waiting(&template)
            }
        }
    }
}

/// What somebody has to be allowed who has objects of his own made.
pub(crate) fn making(at: &At) -> [Right<'_>; 2] {
    let right = |group, version, resource| Right {
        verb: "create",
        group,
        version,
        resource,
        namespace: &at.namespace,
        name: &at.name,
    };
    [right(GROUP, VERSION, "templateinstances"), right("", "v1", "secrets")]
}

/// One of the templates within the template of an instance.
pub(super) fn read(
    instance: &TemplateInstance,
    of: fn(&template::Template<'_>) -> std::result::Result<Option<BindingTemplate>, BindingError>,
) -> Result<Option<BindingTemplate>> {
    let template = instance.spec.template.read()?;
    of(&template).map_err(|error| Error::failed(error.to_string()))
}

fn is_abandoned(instance: &TemplateInstance) -> bool {
    let annotations = instance.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(ABANDON))
        .is_some_and(|value| value == "true")
}

/// The id of the binding, and what calls this life of it.
fn names(op: &Operation) -> Result<(String, String)> {
    let id = op
        .binding()
        .ok_or_else(|| Error::failed("There is no binding in this operation."))?;
    Ok((id.as_str().to_owned(), op.stable_name(BINDING)))
}

fn at(op: &Operation, state: &Instance, part: place::Part) -> Result<At> {
    let id = op
        .binding()
        .ok_or_else(|| Error::failed("There is no binding in this operation."))?;
    Ok(At {
        namespace: state.namespace.clone(),
        name: place::of_binding(op.instance(), id, part),
    })
}
