//! What an author may have to say to a request before anything is done for it: who may do what, and with what values.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use osb_api::Object;
use osb_api::context::Context;
use osb_api::error::Fault;
use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};
use osb_api::identity::{OriginatingIdentity, UserInfo};
use osb_api::request::{BindRequest, ProvisionRequest, UpdateRequest};
use osb_server::{Caller, Platform};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::definition::Broker;

/// A hook that takes longer has not decided: the platform is told to come again.
const LIMIT: Duration = Duration::from_secs(10);

/// What somebody wants to do.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::ActionVerb;
///
/// /// What only administrators may do.
/// fn is_dangerous(verb: ActionVerb) -> bool {
///     matches!(verb, ActionVerb::Deprovision | ActionVerb::FetchBinding)
/// }
/// assert!(is_dangerous(ActionVerb::Deprovision) && !is_dangerous(ActionVerb::Bind));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActionVerb {
    /// Make an instance.
    Provision,
    /// Change an instance.
    Update,
    /// Remove an instance.
    Deprovision,
    /// Make a binding, also in place of another one.
    Bind,
    /// Remove a binding.
    Unbind,
    /// See an instance.
    FetchInstance,
    /// See a binding, credentials and all.
    FetchBinding,
}

/// What somebody wants to do, to what, and who it is.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Action, ActionVerb, Broker, Refused};
///
/// const PRODUCTION: &str = "5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a02";
///
/// fn production_is_removed_by_people(action: &Action<'_>) -> Result<(), Refused> {
///     if action.verb == ActionVerb::Deprovision && action.plan.as_str() == PRODUCTION && action.user.is_none() {
///         return Err(Refused::because(format!("{} does not say who wants that.", action.platform.0)));
///     }
///     Ok(())
/// }
///
/// let broker = Broker::new("databases").authorize(production_is_removed_by_people);
/// ```
#[derive(Clone, Debug)]
pub struct Action<'a> {
    /// What is to be done.
    pub verb: ActionVerb,
    /// The platform that asks.
    pub platform: &'a Platform,
    /// Its user, if it says who that is. Clean-up that a platform makes on its own has none.
    pub user: Option<UserInfo>,
    /// That user as the platform has named him, with the name of the platform that knows him.
    pub identity: Option<&'a OriginatingIdentity>,
    /// The instance, as the platform calls it.
    pub instance: &'a InstanceId,
    /// The binding, in those verbs that have one.
    pub binding: Option<&'a BindingId>,
    /// The offering.
    pub offering: &'a OfferingId,
    /// The plan; of an update the one that the instance would have afterwards.
    pub plan: &'a PlanId,
    /// The context of the request, else that of what is there already.
    pub context: Option<&'a Context>,
    /// The context that the instance has, whatever the request says; of a provision there is none.
    pub instance_context: Option<&'a Context>,
}

/// A request whose parameters fit the schema.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Broker, Draft, Refused};
///
/// fn somebody_asks(draft: &Draft<'_>) -> Result<(), Refused> {
///     let user = draft.action.user.as_ref();
///     user.map(|_| ()).ok_or_else(|| Refused::because("Nothing is made for nobody."))
/// }
///
/// let broker = Broker::new("databases").validate(somebody_asks);
/// ```
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// What it is to do.
    pub action: &'a Action<'a>,
    /// What it brings.
    pub request: DraftRequest<'a>,
}

/// What a request brings, by its verb.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Broker, Draft, DraftRequest, Refused};
///
/// fn applications_only(draft: &Draft<'_>) -> Result<(), Refused> {
///     match draft.request {
///         DraftRequest::Bind(bind) if bind.app_guid().is_none() => Err(Refused::because("Name an application.")),
///         DraftRequest::Provision(_) | DraftRequest::Update(_) | DraftRequest::Bind(_) => Ok(()),
///     }
/// }
///
/// let broker = Broker::new("databases").validate(applications_only);
/// ```
#[derive(Clone, Copy, Debug)]
pub enum DraftRequest<'a> {
    /// Of a provision.
    Provision(&'a ProvisionRequest),
    /// Of an update.
    Update(&'a UpdateRequest),
    /// Of a bind. A rotation without parameters takes those of its predecessor, which are not here.
    Bind(&'a BindRequest),
}

impl Draft<'_> {
    /// The parameters of the request, in a type of the author's; no parameters are an empty object.
    ///
    /// # Errors
    /// [`Refused`] when they do not fit.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        let parameters: Option<&Object> = match self.request {
            DraftRequest::Provision(request) => request.parameters.as_ref(),
            DraftRequest::Update(request) => request.parameters.as_ref(),
            DraftRequest::Bind(request) => request.parameters.as_ref(),
        };
        // What serde says quotes what it refuses.
        T::deserialize(Value::Object(parameters.cloned().unwrap_or_default()))
            .map_err(|_| Refused::because("parameters: their names, types or values are not what the service takes"))
    }
}

/// Why a hook does not let a request through.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::Refused;
///
/// /// What a directory of users said of somebody.
/// fn decide(answer: std::io::Result<bool>) -> Result<(), Refused> {
///     match answer {
///         Ok(true) => Ok(()),
///         Ok(false) => Err(Refused::because("Your account is closed.")),
///         Err(_) => Err(Refused::undecided()),
///     }
/// }
/// assert_eq!(decide(Ok(true)), Ok(()));
/// assert_eq!(decide(Err(std::io::ErrorKind::TimedOut.into())), Err(Refused::undecided()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(Reason);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Text(String),
    Unready(String),
    Undecided,
}

impl Refused {
    /// It may not be done: 403 of [`Authorize`], 400 of [`Validate`]. The user reads the text: keep secrets out of it.
    pub fn because(text: impl Into<String>) -> Self {
        Self(Reason::Text(text.into()))
    }

    /// It may be done, but what there is does not allow it now: 422. The user reads the text: keep secrets out of it.
    pub fn unready(text: impl Into<String>) -> Self {
        Self(Reason::Unready(text.into()))
    }

    /// It cannot be decided now, for instance because whoever is to be asked does not answer: 503, and the platform
    /// comes again.
    pub fn undecided() -> Self {
        Self(Reason::Undecided)
    }
}

/// Decides who may do what. Registered with [`Broker::authorize`]; a function `Fn(&Action) -> Result<(), Refused>` is
/// one, too.
///
/// It is asked before anything is written or the author is called, for each request that changes something or fetches
/// something, again for each repeat. What is not there is not asked about. It is not asked about what the broker does on
/// its own, such as the removal of what nobody waited for, and not about polls. A refused deprovision or unbind leaves
/// what there is; a platform that cleans up comes without a user.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use std::collections::HashSet;
/// use std::sync::Arc;
/// use osb_sdk::{Action, Authorize, Broker, Refused};
/// use tokio::sync::RwLock;
///
/// /// Who has been locked out; something else keeps the list.
/// struct LockedOut(Arc<RwLock<HashSet<String>>>);
///
/// impl Authorize for LockedOut {
///     async fn authorize(&self, action: &Action<'_>) -> Result<(), Refused> {
///         let names = self.0.read().await;
///         match &action.user {
///             Some(user) if names.contains(&user.name) => Err(Refused::because("You are locked out.")),
///             _ => Ok(()),
///         }
///     }
/// }
///
/// let list = Arc::new(RwLock::new(HashSet::new()));
/// let broker = Broker::new("databases").authorize(LockedOut(list));
/// ```
pub trait Authorize: Send + Sync + 'static {
    /// Lets the action through, or says why not. After 10 seconds it counts as undecided.
    ///
    /// # Errors
    /// [`Refused`].
    fn authorize(&self, action: &Action<'_>) -> impl Future<Output = Result<(), Refused>> + Send;
}

impl<F: Fn(&Action<'_>) -> Result<(), Refused> + Send + Sync + 'static> Authorize for F {
    fn authorize(&self, action: &Action<'_>) -> impl Future<Output = Result<(), Refused>> + Send {
        ready(self(action))
    }
}

/// Decides whether values that fit the schema make sense. Registered with [`Broker::validate`]; a function
/// `Fn(&Draft) -> Result<(), Refused>` is one, too.
///
/// It is asked about each provision, update and bind after all other checks and before anything is written. The answer
/// to a repeat of what is there already does not depend on it.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Broker, Draft, DraftRequest, Refused, Validate};
/// use tokio::sync::Semaphore;
///
/// /// So many disks are left.
/// struct Disks(Semaphore);
///
/// impl Validate for Disks {
///     async fn validate(&self, draft: &Draft<'_>) -> Result<(), Refused> {
///         match draft.request {
///             DraftRequest::Provision(_) if self.0.available_permits() == 0 => Err(Refused::because("All disks are sold.")),
///             _ => Ok(()),
///         }
///     }
/// }
///
/// let broker = Broker::new("databases").validate(Disks(Semaphore::new(12)));
/// ```
pub trait Validate: Send + Sync + 'static {
    /// Lets the request through, or says why not. After 10 seconds it counts as undecided.
    ///
    /// # Errors
    /// [`Refused`].
    fn validate(&self, draft: &Draft<'_>) -> impl Future<Output = Result<(), Refused>> + Send;
}

impl<F: Fn(&Draft<'_>) -> Result<(), Refused> + Send + Sync + 'static> Validate for F {
    fn validate(&self, draft: &Draft<'_>) -> impl Future<Output = Result<(), Refused>> + Send {
        ready(self(draft))
    }
}

/// The hooks of a broker, all of which have to agree.
#[derive(Default)]
pub(crate) struct Hooks {
    authorize: Vec<Arc<dyn AnyAuthorize>>,
    validate: Vec<Arc<dyn AnyValidate>>,
}

trait AnyAuthorize: Send + Sync {
    fn ask<'a>(&'a self, action: &'a Action<'a>) -> BoxFuture<'a, Result<(), Refused>>;
}

impl<H: Authorize> AnyAuthorize for H {
    fn ask<'a>(&'a self, action: &'a Action<'a>) -> BoxFuture<'a, Result<(), Refused>> {
        self.authorize(action).boxed()
    }
}

trait AnyValidate: Send + Sync {
    fn ask<'a>(&'a self, draft: &'a Draft<'a>) -> BoxFuture<'a, Result<(), Refused>>;
}

impl<H: Validate> AnyValidate for H {
    fn ask<'a>(&'a self, draft: &'a Draft<'a>) -> BoxFuture<'a, Result<(), Refused>> {
        self.validate(draft).boxed()
    }
}

impl Broker {
    /// Has a hook decide who may do what. Several have all to agree.
    ///
    /// ```
    /// # use osb_engine as osb_sdk;
    /// use osb_sdk::{Action, ActionVerb, Broker, Refused};
    ///
    /// fn only_admins_remove(action: &Action<'_>) -> Result<(), Refused> {
    ///     let is_admin = action.user.as_ref().is_some_and(|user| user.groups.iter().any(|group| group == "admins"));
    ///     if action.verb == ActionVerb::Deprovision && !is_admin {
    ///         return Err(Refused::because("Only administrators may remove an instance."));
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let broker = Broker::new("databases").authorize(only_admins_remove);
    /// ```
    #[must_use]
    pub fn authorize(mut self, hook: impl Authorize) -> Self {
        self.hooks.authorize.push(Arc::new(hook));
        self
    }

    /// Has a hook look at the values of requests. Several have all to agree.
    ///
    /// ```
    /// # use osb_engine as osb_sdk;
    /// use osb_sdk::{Broker, Draft, DraftRequest, Refused};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct NewDatabase { min_gb: u32, max_gb: u32 }
    ///
    /// fn sizes_fit(draft: &Draft<'_>) -> Result<(), Refused> {
    ///     if let DraftRequest::Provision(_) = draft.request {
    ///         let new: NewDatabase = draft.parameters()?;
    ///         if new.min_gb > new.max_gb {
    ///             return Err(Refused::because("min_gb must not be more than max_gb."));
    ///         }
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let broker = Broker::new("databases").validate(sizes_fit);
    /// ```
    #[must_use]
    pub fn validate(mut self, hook: impl Validate) -> Self {
        self.hooks.validate.push(Arc::new(hook));
        self
    }
}

impl<'a> Action<'a> {
    pub(crate) fn new(
        verb: ActionVerb,
        caller: &'a Caller,
        (instance, binding): (&'a InstanceId, Option<&'a BindingId>),
        (offering, plan): (&'a OfferingId, &'a PlanId),
        context: Option<&'a Context>,
        instance_context: Option<&'a Context>,
    ) -> Self {
        Self {
            verb,
            platform: &caller.platform,
            user: caller.identity.as_ref().map(|identity| identity.user_info()),
            identity: caller.identity.as_deref(),
            instance,
            binding,
            offering,
            plan,
            context,
            instance_context,
        }
    }
}

impl Hooks {
    /// Whether somebody decides who may do what.
    pub(crate) fn authorizes(&self) -> bool {
        !self.authorize.is_empty()
    }

    /// Asks all who decide who may do what.
    pub(crate) async fn authorize(&self, action: &Action<'_>) -> Result<(), Fault> {
        for hook in &self.authorize {
            if let Some(text) = decided(hook.ask(action)).await? {
                return Err(Fault::Forbidden(text));
            }
        }
        Ok(())
    }

    /// Asks all who look at values; the text says what is wrong with them.
    pub(crate) async fn validate(&self, draft: &Draft<'_>) -> Result<Option<String>, Fault> {
        for hook in &self.validate {
            if let Some(text) = decided(hook.ask(draft)).await? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

/// The text of a refusal.
async fn decided(asked: BoxFuture<'_, Result<(), Refused>>) -> Result<Option<String>, Fault> {
    match tokio::time::timeout(LIMIT, asked).await {
        Ok(Ok(())) => Ok(None),
        Ok(Err(Refused(Reason::Text(text)))) => Ok(Some(text)),
        Ok(Err(Refused(Reason::Unready(text)))) => Err(Fault::Unready(text)),
        Ok(Err(Refused(Reason::Undecided))) | Err(_) => Err(Fault::Unavailable(
            "The broker cannot decide at the moment whether this may be done.".to_owned(),
        )),
    }
}
