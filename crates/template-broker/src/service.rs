//! What an instance and a binding are: a TemplateInstance with its Secret, and what its objects expose.

mod bound;

use std::collections::BTreeMap;
use std::sync::Arc;

use osb_sdk::{Binding, Change, Error, Object, Operation, Result, Service, Undone, Updatable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use template::Given;
use template_controller::names::WAIT_FOR_READY;
use template_controller::resources::{
    Body, ObjectState, Outcome, Requester, Template, TemplateInstance, TemplateInstanceSpec,
};

use crate::binding::BindingTemplate;
use crate::cluster::{At, INSTANCE, MadeFor, Whose, is_made, refused, spec};
use crate::credentials::{Credentials, CredentialsError, credentials};
use crate::offering::Key;
use crate::parameters::Purpose;
use crate::registry::Sold;
use crate::shared::Shared;
use crate::start::Workloads;

pub(crate) use bound::making;

/// So many characters make a value unique.
const SUFFIX: usize = 6;

/// The service behind all templates.
#[derive(Clone)]
pub(crate) struct Templates(pub(crate) Arc<Shared>);

/// Parameters of a template. They are checked against those of the plan before anything is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Values(BTreeMap<String, Value>);

/// What is known of an instance.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    namespace: String,
    name: String,
    uid: String,
    /// The template that it was made of.
    template: (String, String),
    /// What users have given; what plans add is added again with each change.
    given: Given,
    /// Of the template as this broker has written it, without a value for one that somebody else has written. Instances of
    /// older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template_digest: Option<String>,
}

impl Instance {
    pub(crate) fn at(&self) -> At {
        At {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Has a template that somebody else may have written used in the name of whoever stands there as its requester only:
    /// otherwise who may change a TemplateInstance would have objects made with the rights of whoever uses the instance next.
    fn trust(&self, template: &Body, written_by: Option<&Requester>, requester: &Requester) -> Result<()> {
        let is_own = self.template_digest.as_deref() == Some(&*digest(template));
        if is_own || written_by == Some(requester) {
            return Ok(());
        }
        let name = &self.name;
        Err(Error::failed(format!(
            "The template of the TemplateInstance {name} is not the one that the broker has written: somebody has changed it, and \
             nothing is made of it in the name of somebody else. An upgrade of the instance writes that of the catalog again."
        )))
    }
}

/// How an instance ended up.
enum End {
    Ready,
    Failed(String),
    Gone,
    Stopped,
}

impl Service for Templates {
    type Parameters = Values;
    type BindParameters = Values;
    type State = Instance;
    type Credentials = Credentials;

    async fn provision(&self, op: &Operation, parameters: Values) -> Result<Instance> {
        let sold = self.0.sold(op.offering().as_str(), op.plan().id.as_str());
        let sold = sold.ok_or_else(|| Error::failed("The template of this service is not offered any more."))?;
        let at = self
            .0
            .at(op.context(), op.instance())
            .map_err(|error| Error::failed(error.to_string()))?;
        let requester = self.requester(op)?;
        let parameters: Object = parameters.0.into_iter().collect();
        let given = sold.parameters.given(&parameters, &sold.fixed, Purpose::Create);
        let given = given.map_err(|wrong| Error::failed(wrong.to_string()))?;
        let life = op.instance_name(INSTANCE);
        let made_for = MadeFor::instance(op.instance().as_str(), &life);
        let (found, template_digest) = match self.0.cluster.instance(&at).await? {
            None => {
                let template = self.template(&sold.key).await?;
                let digest = digest(&template);
                let values = values(op, &sold, &given);
                (
                    self.make(op, &at, template, &values, requester, &made_for).await?,
                    digest,
                )
            }
            Some(found) => {
                let is_ours = made_for.of(&found.metadata) == Whose::Ours;
                let found = self.take(&at, &found, &sold.key, &requester, &made_for).await?;
                let digest = self.digest_of(&found, &sold.key, is_ours).await?;
                (found, digest)
            }
        };
        let uid = found.metadata.uid.clone().unwrap_or_default();
        match self.end(op, &at, &uid).await? {
            End::Ready => Ok(Instance {
                namespace: at.namespace,
                name: at.name,
                uid,
                template: (sold.key.namespace, sold.key.name),
                given,
                template_digest: Some(template_digest),
            }),
            other => Err(unsuccessful(other)),
        }
    }

    async fn deprovision(&self, op: &Operation, state: Option<Instance>) -> Result<()> {
        let at = match &state {
            Some(state) => state.at(),
            // It had no place, so there is nothing.
            None => match self.0.at(op.context(), op.instance()) {
                Ok(at) => at,
                Err(_) => return Ok(()),
            },
        };
        let life = op.instance_name(INSTANCE);
        let made_for = MadeFor::instance(op.instance().as_str(), &life);
        self.remove_made(op, &at, &made_for).await
    }

    async fn bind(&self, op: &Operation, state: &Instance, values: Values) -> Result<Binding<Credentials>> {
        let found = self.0.cluster.instance(&state.at()).await?;
        let found = found.filter(|found| found.metadata.uid.as_deref() == Some(&*state.uid));
        let found = found.ok_or_else(|| Error::failed("The TemplateInstance is gone: somebody has deleted it."))?;
        if let Some(own) = bound::read(&found, BindingTemplate::of)? {
            let values = values.0.into_iter().collect();
            return Ok(Binding::new(self.bind_own(op, state, &found, own, values).await?));
        }
        if !values.0.is_empty() {
            return Err(Error::failed("A binding of this service takes no parameters."));
        }
        let exposing = self.0.reader.exposing(self.0.cluster.client(), &found).await;
        let found = exposing.and_then(|objects| Ok(credentials(&objects)?));
        Ok(Binding::new(found.map_err(no_credentials)?))
    }

    async fn unbind(&self, op: &Operation, state: &Instance, _: Option<Credentials>) -> Result<()> {
        // Whether there is anything of a binding is seen in the cluster: the template may be another one by now.
        self.unbind_own(op, state).await
    }
}

impl Updatable for Templates {
    type Update = Values;

    async fn update(&self, op: &Operation, mut state: Instance, change: Change<Values>) -> Result<Instance> {
        let at = state.at();
        let found = self.own(&state).await?;
        let sold = self
            .0
            .sold_or_stored(op.offering().as_str(), op.plan().id.as_str(), Some(&found));
        let sold = sold.ok_or_else(|| Error::failed("This plan is not offered any more.").not_repeatable())?;
        let parameters: Object = change
            .parameters
            .map_or_else(BTreeMap::new, |values| values.0)
            .into_iter()
            .collect();
        let given = sold.parameters.given(&parameters, &sold.fixed, Purpose::Update);
        state
            .given
            .extend(given.map_err(|wrong| Error::failed(wrong.to_string()).not_repeatable())?);
        let requester = self.requester(op)?;
        let before = op.step("before", || async { Before::of(&found) }).await?;
        let template = match change.maintenance {
            Some(_) => self.template(&sold.key).await?,
            None => {
                let template = before.body()?;
                if state.template_digest.is_some() {
                    let trusted = state.trust(&template, Some(&before.requester), &requester);
                    trusted.map_err(Error::not_repeatable)?;
                }
                template
            }
        };
        if state.template_digest.is_some() || change.maintenance.is_some() {
            state.template_digest = Some(digest(&template));
        }
        let spec = spec(template, &at, requester, op.key());
        self.change(op, &state, &values(op, &sold, &state.given), &spec).await?;
        Ok(state)
    }

    async fn undo_update(&self, op: &Operation, state: Instance, change: Change<Values>) -> Result<Undone> {
        let Some(before) = op.earlier_step::<Before>("before") else {
            // It had not begun.
            return Ok(Undone::Everything);
        };
        let found = self.own(&state).await?;
        let plan = change
            .previous_plan
            .as_ref()
            .map_or_else(|| op.plan().id.as_str(), |plan| plan.as_str());
        let sold = self.0.sold_or_stored(op.offering().as_str(), plan, Some(&found));
        let values = sold.map_or_else(|| state.given.clone(), |sold| values(op, &sold, &state.given));
        let spec = TemplateInstanceSpec {
            revision: Some(format!("{}-undone", op.key())),
            ..before.spec(&state.at())?
        };
        self.change(op, &state, &values, &spec).await?;
        Ok(Undone::Everything)
    }
}

/// What an instance was to be before an update.
#[derive(Serialize, Deserialize)]
struct Before {
    template: String,
    requester: Requester,
}

impl Before {
    fn of(found: &TemplateInstance) -> Result<Self> {
        Ok(Self {
            template: found.spec.template.as_str().to_owned(),
            requester: found.spec.requester.clone().unwrap_or_default(),
        })
    }

    fn body(&self) -> Result<Body> {
        Ok(Body::from_text(self.template.clone())?)
    }

    fn spec(&self, at: &At) -> Result<TemplateInstanceSpec> {
        Ok(spec(self.body()?, at, self.requester.clone(), ""))
    }
}

impl Templates {
    fn requester(&self, op: &Operation) -> Result<Requester> {
        let requester = self.0.identities.requester(&op.platform().0, op.identity());
        requester.map_err(|refusal| Error::failed(refusal.to_string()))
    }

    async fn template(&self, key: &Key) -> Result<Body> {
        let template = self.0.cluster.template(key).await?;
        let template = template.ok_or_else(|| Error::failed("The template of this service has been deleted."))?;
        Ok(match self.0.workloads {
            Workloads::Run => template.body()?,
            Workloads::Stored => without_waiting(&template)?,
        })
    }

    /// The digest of the template that an instance has which is there already.
    async fn digest_of(&self, found: &TemplateInstance, template: &Key, is_ours: bool) -> Result<String> {
        let digest = digest(&found.spec.template);
        // Since it was made it may have been changed: it is believed when it is still that of the catalog.
        let is_known = !is_ours
            || self
                .template(template)
                .await
                .is_ok_and(|template| self::digest(&template) == digest);
        Ok(if is_known { digest } else { String::new() })
    }

    /// Makes Secret and TemplateInstance, in this order: an instance without its parameters would be made with other ones.
    async fn make(
        &self,
        op: &Operation,
        at: &At,
        template: Body,
        values: &Given,
        requester: Requester,
        made_for: &MadeFor<'_>,
    ) -> Result<TemplateInstance> {
        let secret = self.0.cluster.secret(at).await?;
        if secret
            .as_ref()
            .is_some_and(|secret| made_for.of(&secret.metadata) != Whose::Ours)
        {
            return Err(Error::failed(format!(
                "There is a Secret {at} that is not this instance's."
            )));
        }
        let made = async {
            self.0.cluster.put_secret(at, secret, values, made_for).await?;
            self.0
                .cluster
                .create(at, spec(template, at, requester, op.key()), made_for)
                .await
        };
        made.await
            .map_err(|error| final_or_not(error, "The TemplateInstance cannot be made"))
    }

    /// Goes on with an instance that is there already.
    async fn take(
        &self,
        at: &At,
        found: &TemplateInstance,
        template: &Key,
        requester: &Requester,
        made_for: &MadeFor<'_>,
    ) -> Result<TemplateInstance> {
        let foreign = || Error::failed(format!("There is a TemplateInstance {at} that is not this instance's."));
        match made_for.of(&found.metadata) {
            Whose::Ours => Ok(found.clone()),
            Whose::OfAnotherBroker => {
                let of = found.spec.template.read().ok();
                let same_template = of.is_some_and(|of| of.name() == template.name);
                let same_user = found
                    .spec
                    .requester
                    .as_ref()
                    .is_some_and(|known| known.username == requester.username);
                if found.metadata.deletion_timestamp.is_some() || !same_template || !same_user {
                    return Err(foreign());
                }
                let adopted = self.0.cluster.adopt(at, found, requester, made_for).await;
                let adopted =
                    adopted.map_err(|error| final_or_not(error, "The TemplateInstance cannot be taken over"))?;
                // That broker has written nothing on its Secret that tells whose it is.
                if adopted
                    .spec
                    .secret
                    .as_ref()
                    .is_some_and(|secret| secret.name == at.name)
                    && let Some(secret) = self.0.cluster.secret(at).await?
                    && !is_made(&secret.metadata)
                {
                    self.0.cluster.adopt_secret(at, &secret, made_for).await?;
                }
                Ok(adopted)
            }
            Whose::Foreign => Err(foreign()),
        }
    }

    /// The instance, if it is still the one that was made.
    async fn own(&self, state: &Instance) -> Result<TemplateInstance> {
        let found = self.0.cluster.instance(&state.at()).await?;
        let found = found.filter(|found| found.metadata.uid.as_deref() == Some(&*state.uid));
        found.ok_or_else(|| {
            Error::failed("The TemplateInstance is gone: somebody has deleted it.")
                .instance_unusable()
                .not_repeatable()
        })
    }

    /// Writes parameters and what the instance is to be, and waits for it.
    async fn change(
        &self,
        op: &Operation,
        state: &Instance,
        values: &Given,
        spec: &TemplateInstanceSpec,
    ) -> Result<()> {
        let at = state.at();
        let life = op.instance_name(INSTANCE);
        let made_for = MadeFor::instance(op.instance().as_str(), &life);
        let found = self.own(state).await?;
        if found.spec.revision != spec.revision {
            let secret = self.0.cluster.secret(&at).await?;
            if secret
                .as_ref()
                .is_some_and(|secret| made_for.of(&secret.metadata) == Whose::Foreign)
            {
                return Err(Error::failed(format!(
                    "There is a Secret {at} that is not this instance's."
                )));
            }
            let written = async {
                self.0.cluster.put_secret(&at, secret, values, &made_for).await?;
                self.0.cluster.change(&at, &found, spec).await
            };
            written
                .await
                .map_err(|error| final_or_not(error, "The TemplateInstance cannot be changed"))?;
        }
        match self.end(op, &at, &state.uid).await? {
            End::Ready => Ok(()),
            other => Err(unsuccessful(other)),
        }
    }

    /// Waits until it is known what has become of an instance.
    async fn end(&self, op: &Operation, at: &At, uid: &str) -> Result<End> {
        let followed = self.0.cluster.follow(at, |found| {
            let end = match found.filter(|found| found.metadata.uid.as_deref() == Some(uid)) {
                None => Some(End::Gone),
                Some(found) => match found.outcome() {
                    Outcome::Ready => Some(End::Ready),
                    Outcome::Failed(text) => Some(End::Failed(text)),
                    Outcome::InProgress => {
                        op.progress(progress(&found));
                        None
                    }
                },
            };
            std::future::ready(end)
        });
        tokio::select! {
            () = op.cancelled() => Ok(End::Stopped),
            end = followed => Ok(end?),
        }
    }

    /// Removes what was made for an instance or binding: the TemplateInstance with all that was made of it, and the Secret.
    async fn remove_made(&self, op: &Operation, at: &At, made_for: &MadeFor<'_>) -> Result<()> {
        if let Some(found) = self.0.cluster.instance(at).await?
            && made_for.of(&found.metadata) == Whose::Ours
        {
            self.remove(op, at, found.metadata.uid.as_deref().unwrap_or_default())
                .await?;
        }
        if let Some(secret) = self.0.cluster.secret(at).await?
            && made_for.of(&secret.metadata) == Whose::Ours
        {
            let uid = secret.metadata.uid.unwrap_or_default();
            self.0.cluster.delete_secret(at, &uid).await?;
        }
        Ok(())
    }

    /// Deletes an instance, and waits until it is gone with all that was made of it.
    async fn remove(&self, op: &Operation, at: &At, uid: &str) -> Result<()> {
        let deleted = self.0.cluster.delete(at, uid).await;
        deleted.map_err(|error| final_or_not(error, "The TemplateInstance cannot be deleted"))?;
        let followed = self.0.cluster.follow(at, |found| {
            let found = found.filter(|found| found.metadata.uid.as_deref() == Some(uid));
            if let Some(found) = &found {
                op.progress(removal(found));
            }
            std::future::ready(found.is_none().then_some(()))
        });
        tokio::select! {
            () = op.cancelled() => Err(Error::retry("The removal goes on.")),
            gone = followed => Ok(gone?),
        }
    }
}

/// A template none of whose objects is waited for: where nothing runs, none would ever be ready.
fn without_waiting(template: &Template) -> Result<Body> {
    let mut template = template.clone();
    for object in &mut template.objects {
        let Ok(document) = template::json::read(object.get()) else {
            continue;
        };
        let mut value = document.value;
        let annotations = value
            .as_object_mut()
            .and_then(|members| members.get_mut("metadata"))
            .and_then(|metadata| metadata.as_object_mut()?.get_mut("annotations"))
            .and_then(|annotations| annotations.as_object_mut());
        if annotations.is_some_and(|annotations| annotations.remove(WAIT_FOR_READY).is_some()) {
            let changed = RawValue::from_string(value.to_string())?;
            *object = changed;
        }
    }
    Ok(template.body()?)
}

/// A digest of what a template says: an API server may write it in other words.
fn digest(template: &Body) -> String {
    let value: Value = serde_json::from_str(template.as_str()).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, lean(value).to_string().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Without members that are `null`, and with numbers in one form; members are sorted.
fn lean(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            let members: BTreeMap<String, Value> = members.map(|(name, value)| (name, lean(value))).collect();
            members.into_iter().collect()
        }
        Value::Array(values) => values.into_iter().map(lean).collect(),
        Value::Number(number) if number.is_f64() => integer(&number).map_or(Value::Number(number), Value::from),
        other => other,
    }
}

/// `1.0` as `1`.
fn integer(number: &serde_json::Number) -> Option<i64> {
    let text = number.as_f64().filter(|number| number.fract() == 0.0)?.to_string();
    text.parse().ok()
}

/// What the template is to be processed with: the plan's values, over what is given, over the plan's defaults, over what is
/// unique for the instance.
fn values(op: &Operation, sold: &Sold, given: &Given) -> Given {
    let life = op.instance_name("");
    let suffix = life.get(life.len().saturating_sub(SUFFIX)..).unwrap_or(&life);
    let mut values = sold.parameters.unique(suffix);
    values.extend(sold.fixed.defaults.clone());
    values.extend(given.clone());
    values.extend(sold.fixed.values.clone());
    values
}

fn unsuccessful(end: End) -> Error {
    match end {
        End::Failed(text) => Error::failed(text),
        End::Gone => Error::failed("The TemplateInstance is gone: somebody has deleted it."),
        End::Ready | End::Stopped => Error::retry("The instance is not ready yet."),
    }
}

/// What does not heal by itself ends the operation, with what the API server says.
fn final_or_not(error: kube::Error, what: &str) -> Error {
    match refused(&error) {
        Some(says) => Error::failed(format!("{what}: {says}")),
        None => error.into(),
    }
}

fn no_credentials(error: CredentialsError) -> Error {
    match error {
        CredentialsError::Api(error) => error.into(),
        other => Error::failed(other.to_string()),
    }
}

/// What is waited for, in one line.
fn progress(found: &TemplateInstance) -> String {
    let objects = found.status.iter().flat_map(|status| &status.objects);
    let mut waiting = objects.filter(|object| object.state != Some(ObjectState::Ready));
    match waiting.next() {
        None => "The objects are being made.".to_owned(),
        Some(first) => {
            let more = waiting.count();
            let said = |text: &Option<String>| text.clone().unwrap_or_default();
            let (kind, name) = (said(&first.reference.kind), said(&first.reference.name));
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            let why = first.message.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("Waiting for {kind} {name}{more}{why}")
        }
    }
}

fn removal(found: &TemplateInstance) -> String {
    let left = found.status.iter().flat_map(|status| &status.objects).count();
    format!("The instance is being removed; {left} objects are left.")
}
