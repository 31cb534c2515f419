//! Who may do what, and with what values: asked before anything is written.

use std::sync::Arc;

use osb_sdk::{Action, ActionVerb, Authorize, BindRequest, Draft, DraftRequest, Object, Refused, Validate};
use template_controller::names::{GROUP, VERSION};
use template_controller::resources::{Outcome, Requester, TemplateInstance};

use crate::annotation::BINDING_TEMPLATE;
use crate::binding::{BindingError, BindingTemplate};
use crate::cluster::At;
use crate::credentials::{CredentialsError, credentials};
use crate::offering::Key;
use crate::parameters::{Fixed, Purpose};
use crate::place::{self, NoPlace, Part};
use crate::review::{Right, may};
use crate::service::making;
use crate::shared::Shared;

/// Asks the API server in the name of the user, as the broker in Go does, and looks at parameters.
pub(crate) struct Gate(pub(crate) Arc<Shared>);

impl Authorize for Gate {
    async fn authorize(&self, action: &Action<'_>) -> Result<(), Refused> {
        let requester = self.requester(action)?;
        let at = match self.at(action) {
            Ok(at) => at,
            // Whatever the values are, nobody is let in by them: `validate` refuses them.
            Err(_) if action.verb == ActionVerb::Provision => return Ok(()),
            Err(error) => return Err(Refused::because(error.to_string())),
        };
        if action.verb == ActionVerb::Provision
            && let Some(sold) = self.0.sold(action.offering.as_str(), action.plan.as_str())
        {
            self.may_read(&requester, &sold.key).await?;
        }
        for verb in on_the_instance(action.verb) {
            self.may(&requester, &own(verb, &at)).await?;
        }
        for verb in on_the_secret(action.verb) {
            self.may(&requester, &secret(verb, &at)).await?;
        }
        match (action.verb, action.binding) {
            (ActionVerb::Bind, _) => self.may_bind(&requester, &at).await,
            (ActionVerb::FetchBinding, Some(binding)) => {
                let own = At {
                    namespace: at.namespace.clone(),
                    name: place::of_binding(action.instance, binding, Part::Binding),
                };
                // Of a binding without objects of its own, what the instance exposes is fetched.
                let instance = match self.instance(&own).await? {
                    Some(own) => Some(own),
                    None => self.instance(&at).await?,
                };
                match instance {
                    Some(instance) => self.may_read_credentials(&requester, &instance).await,
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl Validate for Gate {
    async fn validate(&self, draft: &Draft<'_>) -> Result<(), Refused> {
        let at = self
            .at(draft.action)
            .map_err(|error| Refused::because(error.to_string()))?;
        match draft.request {
            DraftRequest::Provision(request) => {
                self.values(draft.action, request.parameters.as_ref(), Purpose::Create, None)
            }
            DraftRequest::Update(request) => {
                let Some(instance) = self.instance(&at).await? else {
                    return Err(gone());
                };
                self.values(
                    draft.action,
                    request.parameters.as_ref(),
                    Purpose::Update,
                    Some(&instance),
                )?;
                let sold = self.0.sold(draft.action.offering.as_str(), draft.action.plan.as_str());
                match (&request.maintenance_info, sold) {
                    (Some(_), Some(sold)) => self.may_read(&self.requester(draft.action)?, &sold.key).await,
                    _ => Ok(()),
                }
            }
            DraftRequest::Bind(request) => self.can_be_bound(&at, request).await,
        }
    }
}

impl Gate {
    fn requester(&self, action: &Action<'_>) -> Result<Requester, Refused> {
        let requester = self.0.identities.requester(&action.platform.0, action.identity);
        requester.map_err(|refusal| Refused::because(refusal.to_string()))
    }

    /// Where the instance is: where it was made, whatever the request says of it.
    fn at(&self, action: &Action<'_>) -> Result<At, NoPlace> {
        let Some(known) = action.instance_context else {
            return self.0.at(action.context, action.instance);
        };
        let at = self.0.at(Some(known), action.instance)?;
        let said = |context| self.0.at(Some(context), action.instance);
        if action
            .context
            .is_some_and(|context| said(context).is_ok_and(|said| said != at))
        {
            return Err(NoPlace::Moved);
        }
        Ok(at)
    }

    async fn may(&self, requester: &Requester, right: &Right<'_>) -> Result<(), Refused> {
        match may(self.0.cluster.client(), requester, right).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(missing)) => Err(Refused::because(missing)),
            Err(error) => Err(undecided(&error)),
        }
    }

    async fn may_read(&self, requester: &Requester, template: &Key) -> Result<(), Refused> {
        let right = Right {
            verb: "get",
            group: GROUP,
            version: VERSION,
            resource: "templates",
            namespace: &template.namespace,
            name: &template.name,
        };
        self.may(requester, &right).await
    }

    /// Whoever gets what objects expose may read these objects.
    async fn may_read_credentials(&self, requester: &Requester, instance: &TemplateInstance) -> Result<(), Refused> {
        let exposing = match self.0.reader.exposing(self.0.cluster.client(), instance).await {
            Ok(exposing) => exposing,
            Err(CredentialsError::Api(error)) => return Err(undecided(&error)),
            // There are none; why, `validate` says.
            Err(_) => return Ok(()),
        };
        for object in exposing {
            self.may(requester, &object.reading()).await?;
        }
        Ok(())
    }

    /// Whoever binds reads what the instance exposes, or has objects made.
    async fn may_bind(&self, requester: &Requester, at: &At) -> Result<(), Refused> {
        let Some(instance) = self.instance(at).await? else {
            return Ok(());
        };
        // What is wrong with the template, `validate` says.
        let own = own_template(&instance).ok().flatten();
        if own.is_some() {
            for right in making(at) {
                self.may(requester, &right).await?;
            }
        }
        if own.is_none_or(|own| own.needs_credentials()) {
            self.may_read_credentials(requester, &instance).await?;
        }
        Ok(())
    }

    async fn instance(&self, at: &At) -> Result<Option<TemplateInstance>, Refused> {
        let found = self.0.cluster.instance(at).await;
        found.map_err(|error| undecided(&error))
    }

    fn values(
        &self,
        action: &Action<'_>,
        parameters: Option<&Object>,
        purpose: Purpose,
        instance: Option<&TemplateInstance>,
    ) -> Result<(), Refused> {
        let sold = self
            .0
            .sold_or_stored(action.offering.as_str(), action.plan.as_str(), instance);
        let sold = sold.ok_or_else(|| Refused::because("The template of this service is not offered any more."))?;
        let none = Object::new();
        let given = sold.parameters.given(parameters.unwrap_or(&none), &sold.fixed, purpose);
        given.map(|_| ()).map_err(|wrong| Refused::because(wrong.to_string()))
    }

    /// S15: before it is ready, an instance has no credentials.
    async fn can_be_bound(&self, at: &At, request: &BindRequest) -> Result<(), Refused> {
        let Some(instance) = self.instance(at).await? else {
            return Err(gone());
        };
        let own = own_template(&instance).map_err(|error| Refused::unready(error.to_string()))?;
        check_values(own.as_ref(), request)?;
        match instance.outcome() {
            Outcome::Ready => {}
            Outcome::InProgress => return Err(Refused::unready("The instance is not ready yet: bind it later.")),
            Outcome::Failed(why) => return Err(Refused::unready(format!("The instance has failed: {why}"))),
        }
        if own.is_some_and(|own| !own.needs_credentials()) {
            return Ok(());
        }
        let exposing = self.0.reader.exposing(self.0.cluster.client(), &instance).await;
        match exposing.and_then(|objects| Ok(credentials(&objects)?)) {
            Ok(_) => Ok(()),
            Err(CredentialsError::Api(error)) => Err(undecided(&error)),
            Err(error) => Err(Refused::unready(error.to_string())),
        }
    }
}

/// The template for the bindings of an instance, where they have objects of their own.
fn own_template(instance: &TemplateInstance) -> Result<Option<BindingTemplate>, BindingError> {
    let body = &instance.spec.template;
    // Most have none, and need not be read for that.
    if !body.as_str().contains(BINDING_TEMPLATE) {
        return Ok(None);
    }
    match body.read() {
        Ok(template) => BindingTemplate::of(&template),
        Err(_) => Ok(None),
    }
}

fn check_values(own: Option<&BindingTemplate>, request: &BindRequest) -> Result<(), Refused> {
    let none = Object::new();
    let parameters = match (&request.parameters, &request.predecessor_binding_id) {
        // A rotation has those of its predecessor.
        (None, Some(_)) => return Ok(()),
        (parameters, _) => parameters.as_ref().unwrap_or(&none),
    };
    let wrong = match own {
        Some(own) => own
            .parameters
            .given(parameters, &Fixed::default(), Purpose::Create)
            .err()
            .map(|wrong| wrong.to_string()),
        None if parameters.is_empty() => None,
        None => Some("parameters: a binding of this service takes none".to_owned()),
    };
    wrong.map_or(Ok(()), |wrong| Err(Refused::because(wrong)))
}

fn gone() -> Refused {
    Refused::unready("The TemplateInstance is gone: somebody has deleted it.")
}

fn undecided(error: &kube::Error) -> Refused {
    tracing::warn!(%error, "the API server does not say what somebody may do");
    Refused::undecided()
}

/// What somebody has to be allowed on the TemplateInstance.
fn on_the_instance(verb: ActionVerb) -> &'static [&'static str] {
    match verb {
        ActionVerb::Provision => &["create"],
        // S21: whoever may bind may unbind.
        ActionVerb::Update | ActionVerb::Bind | ActionVerb::Unbind => &["get", "update"],
        ActionVerb::Deprovision => &["get", "delete"],
        ActionVerb::FetchInstance | ActionVerb::FetchBinding => &["get"],
    }
}

/// What somebody has to be allowed on the Secret with the parameters.
fn on_the_secret(verb: ActionVerb) -> &'static [&'static str] {
    match verb {
        ActionVerb::Provision => &["create"],
        ActionVerb::Update => &["update"],
        _ => &[],
    }
}

fn own<'a>(verb: &'static str, at: &'a At) -> Right<'a> {
    Right {
        verb,
        group: GROUP,
        version: VERSION,
        resource: "templateinstances",
        namespace: &at.namespace,
        name: &at.name,
    }
}

fn secret<'a>(verb: &'static str, at: &'a At) -> Right<'a> {
    Right {
        group: "",
        version: "v1",
        resource: "secrets",
        ..own(verb, at)
    }
}
