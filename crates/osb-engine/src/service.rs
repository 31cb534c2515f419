//! What a broker author writes: one [`Service`] for each offering of the catalog.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use osb_api::Object;
use osb_api::id::PlanId;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operation::Operation;
pub use osb_api::answer::{BindingMetadata, Endpoint, InstanceMetadata, VolumeMount};

/// The business logic behind one service offering.
///
/// The engine calls these functions; it has stored the request durably before, and stores what they return.
///
/// - For one instance and its bindings at most one function runs at a time.
/// - After a crash, or when a function returns an error that may be retried, it is called **again** with the same
///   [`Operation::key`]. Make each call safe to repeat: derive names with [`Operation::stable_name`], create with "if it does not exist", and put work
///   whose result must not be made twice into an [`Operation::step`].
/// - [`deprovision`](Service::deprovision) and [`unbind`](Service::unbind) are called also when the provision or bind
///   failed or was interrupted half-way; then there is no state, and they clean up what the stable names may have made.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Binding, NoParameters, Operation, Result, Service};
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Deserialize, JsonSchema)]
/// struct NewDatabase {
///     /// Size in gigabytes.
///     #[schemars(range(min = 1, max = 100))]
///     #[serde(default = "one")]
///     size_gb: u32,
/// }
/// # fn one() -> u32 { 1 }
///
/// #[derive(Serialize, Deserialize)]
/// struct Database { name: String }
///
/// #[derive(Serialize, Deserialize)]
/// struct Login { uri: String }
///
/// struct Databases;
///
/// impl Service for Databases {
///     type Parameters = NewDatabase;
///     type BindParameters = NoParameters;
///     type State = Database;
///     type Credentials = Login;
///
///     async fn provision(&self, op: &Operation, new: NewDatabase) -> Result<Database> {
///         let name = op.stable_name("db");
///         // … make the database `name` of `new.size_gb` gigabytes if it is not there …
///         # let _ = new.size_gb;
///         Ok(Database { name })
///     }
///     async fn deprovision(&self, op: &Operation, database: Option<Database>) -> Result<()> {
///         let name = database.map_or_else(|| op.stable_name("db"), |database| database.name);
///         // … drop the database `name` if it is there …
///         # let _ = name;
///         Ok(())
///     }
///     async fn bind(&self, op: &Operation, database: &Database, _: NoParameters) -> Result<Binding<Login>> {
///         let user = op.stable_name("u");
///         Ok(Binding::new(Login { uri: format!("db://{user}@localhost/{}", database.name) }))
///     }
///     async fn unbind(&self, op: &Operation, _: &Database, _: Option<Login>) -> Result<()> {
///         let user = op.stable_name("u");
///         // … drop the user if it is there …
///         # let _ = user;
///         Ok(())
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// `parameters` of a provision. The JSON schema of this type stands in the catalog and every request is checked
    /// against it; defaults are serde's.
    type Parameters: DeserializeOwned + JsonSchema + Send + 'static;
    /// `parameters` of a bind.
    type BindParameters: DeserializeOwned + JsonSchema + Send + 'static;
    /// What the author needs to know of an instance later. Stored encrypted with the instance.
    type State: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What a binding hands to the application. Stored encrypted with the binding; serialises to a JSON object.
    type Credentials: Serialize + DeserializeOwned + Send + 'static;

    /// The version of the form in which [`State`](Self::State) is stored. Raise it when a new version of the broker
    /// cannot read what the one before has stored, and translate in [`migrate`](Self::migrate).
    const STATE_VERSION: u32 = 1;

    /// Translates a state that an older version of the broker has stored.
    ///
    /// # Errors
    /// Without an implementation an older state cannot be read: what needs it is tried again until its deadline.
    fn migrate(&self, from: u32, state: Value) -> impl Future<Output = Result<Self::State>> + Send {
        drop(state);
        std::future::ready(Err(Error::retry(format!(
            "The stored state has version {from}, and this version of the broker does not translate it."
        ))))
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// See [`Error`]. What was made until then is cleaned up by [`deprovision`](Service::deprovision) when the
    /// platform deletes the instance.
    fn provision(
        &self,
        op: &Operation,
        parameters: Self::Parameters,
    ) -> impl Future<Output = Result<Self::State>> + Send;

    /// Removes an instance and everything of it. `state` is `None` when the provision never succeeded.
    ///
    /// # Errors
    /// See [`Error`]. After a failure the instance stays, and the platform may deprovision it again.
    fn deprovision(&self, op: &Operation, state: Option<Self::State>) -> impl Future<Output = Result<()>> + Send;

    /// Makes a binding: a login of its own for one application.
    ///
    /// # Errors
    /// See [`Error`].
    fn bind(
        &self,
        op: &Operation,
        state: &Self::State,
        parameters: Self::BindParameters,
    ) -> impl Future<Output = Result<Binding<Self::Credentials>>> + Send;

    /// Removes a binding: its credentials stop working. `credentials` is `None` when the bind never succeeded.
    ///
    /// # Errors
    /// See [`Error`]. After a failure the binding stays, and the platform may unbind it again.
    fn unbind(
        &self,
        op: &Operation,
        state: &Self::State,
        credentials: Option<Self::Credentials>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Makes a binding that takes the place of another one, its predecessor (plans with `binding_rotatable`). Both work
    /// until the platform removes the predecessor (OSB-ROT-05). `parameters` are the predecessor's when the request
    /// has none. Without an implementation a rotation is a [`bind`](Service::bind): a new login under a new name.
    ///
    /// # Errors
    /// See [`Error`].
    fn rotate(
        &self,
        op: &Operation,
        state: &Self::State,
        predecessor: Self::Credentials,
        parameters: Self::BindParameters,
    ) -> impl Future<Output = Result<Binding<Self::Credentials>>> + Send {
        drop(predecessor);
        self.bind(op, state, parameters)
    }

    /// The names of everything in the backend that [`Operation::stable_name`] and [`Operation::instance_name`] have
    /// named, as far as it is easily told. The engine looks once an hour for names that belong to no instance and no
    /// binding any more, logs them and counts them (`osb_backend_orphans`); nothing is deleted. `None`, as without an
    /// implementation: that is not known.
    ///
    /// # Errors
    /// See [`Error`]. It is tried again an hour later.
    fn list_backend(&self) -> impl Future<Output = Result<Option<Vec<String>>>> + Send {
        std::future::ready(Ok(None))
    }

    /// Labels and attributes of an instance, told when it has been made or changed (OSB-META-01, OSB-META-02). It is
    /// always the complete set: platforms replace what they had (OSB-META-03). `None` keeps what was told before.
    fn metadata(&self, op: &Operation, state: &Self::State) -> Option<InstanceMetadata> {
        let _ = (op, state);
        None
    }

    /// What of its parameters a platform may see that fetches an instance (OSB-GETI-06), of the `parameters` as they are
    /// after all updates. `None`, as without an implementation: nothing, for they may be secret. Take out what is, or
    /// name what is not:
    ///
    /// ```
    /// # use osb_api::Object;
    /// fn shown_parameters(mut parameters: Object) -> Option<Object> {
    ///     parameters.remove("admin_password");
    ///     Some(parameters)
    /// }
    /// ```
    fn shown_parameters(&self, parameters: Object) -> Option<Object> {
        drop(parameters);
        None
    }

    /// As [`shown_parameters`](Self::shown_parameters), of a binding (OSB-GETB-03, OSB-GETB-05).
    fn shown_bind_parameters(&self, parameters: Object) -> Option<Object> {
        drop(parameters);
        None
    }

    /// Where the user manages the instance. It is part of the first answer, even of a 202, so it can depend only on
    /// what is known before the work begins (OSB-PROV-17).
    fn dashboard_url(&self, op: &Operation) -> Option<String> {
        let _ = op;
        None
    }
}

/// A service whose instances can be changed: to another plan, with other parameters, to a newer maintenance version.
/// Offered with [`Broker::updatable`](crate::Broker::updatable).
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Change, Operation, Result, Updatable};
/// # use osb_sdk::{Binding, NoParameters, Service};
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Database { name: String }
/// # struct Databases;
/// # impl Service for Databases {
/// #     type Parameters = NoParameters;
/// #     type BindParameters = NoParameters;
/// #     type State = Database;
/// #     type Credentials = NoParameters;
/// #     async fn provision(&self, op: &Operation, _: NoParameters) -> Result<Database> {
/// #         Ok(Database { name: op.stable_name("db") })
/// #     }
/// #     async fn deprovision(&self, _: &Operation, _: Option<Database>) -> Result<()> { Ok(()) }
/// #     async fn bind(&self, _: &Operation, _: &Database, _: NoParameters) -> Result<Binding<NoParameters>> {
/// #         Ok(Binding::new(NoParameters {}))
/// #     }
/// #     async fn unbind(&self, _: &Operation, _: &Database, _: Option<NoParameters>) -> Result<()> { Ok(()) }
/// # }
/// #[derive(Deserialize, JsonSchema)]
/// struct Resize {
///     /// Size in gigabytes.
///     size_gb: Option<u32>,
/// }
///
/// impl Updatable for Databases {
///     type Update = Resize;
///
///     async fn update(&self, op: &Operation, database: Database, change: Change<Resize>) -> Result<Database> {
///         if change.plan_changed() {
///             // … move `database.name` to the size of `op.plan()` …
///         }
///         if let Some(size_gb) = change.parameters.and_then(|resize| resize.size_gb) {
///             // … give `database.name` that size …
///             # let _ = size_gb;
///         }
///         Ok(database)
///     }
/// }
/// ```
pub trait Updatable: Service {
    /// `parameters` of an update. The JSON schema of this type stands in the catalog, and every request is checked
    /// against it.
    type Update: DeserializeOwned + JsonSchema + Send + 'static;

    /// Changes an instance. [`Operation::plan`] is the plan that it has afterwards, [`Operation::context`] its newest
    /// context. Like the other functions it is called again after a crash, with the state from before.
    ///
    /// # Errors
    /// See [`Error`], also [`Error::instance_unusable`] and [`Error::not_repeatable`]. After a failure plan, parameters
    /// and state are those from before.
    fn update(
        &self,
        op: &Operation,
        state: Self::State,
        change: Change<Self::Update>,
    ) -> impl Future<Output = Result<Self::State>> + Send;

    /// Takes back what [`update`](Self::update) may have done of a change that does not succeed any more: it has
    /// failed, or was stopped at its deadline. With a platform that takes no 202 that deadline is near, because nothing
    /// of an update may be applied that is answered with an error (OSB-UPD-19).
    ///
    /// `state` is that from before, which the instance keeps; [`Operation::earlier_step`] has the stored steps of the
    /// update, and [`Operation::plan`] is the plan that the instance would have had. It is called again after a crash.
    /// Without an implementation nothing is taken back, which is right for an update that is one step in the backend,
    /// and the platform is told that parts of a stopped one may be in effect.
    ///
    /// # Errors
    /// See [`Error`]. When it fails, the platform is told that the instance is not usable (OSB-UPD-21); another update
    /// may repair it.
    fn undo_update(
        &self,
        op: &Operation,
        state: Self::State,
        change: Change<Self::Update>,
    ) -> impl Future<Output = Result<Undone>> + Send {
        let _ = (op, state, change);
        std::future::ready(Ok(Undone::Nothing))
    }
}

/// What [`Updatable::undo_update`] has taken back.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Result, Undone};
///
/// /// A disk that grows can be made small again only while nothing lies on the new part.
/// fn shrink(used_gb: u32, before_gb: u32) -> Result<Undone> {
///     if used_gb > before_gb {
///         return Ok(Undone::Nothing);
///     }
///     // … shrink it …
///     Ok(Undone::Everything)
/// }
/// assert_eq!(shrink(3, 5).ok(), Some(Undone::Everything));
/// ```
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Result, Undone};
///
/// /// The end of an `undo_update`: what the backend says of the size that was there before.
/// fn undone(size_before: u32, size_now: u32) -> Result<Undone> {
///     Ok(if size_now == size_before { Undone::Everything } else { Undone::Nothing })
/// }
/// assert_eq!(undone(5, 5).unwrap(), Undone::Everything);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The instance is as it was before the update.
    Everything,
    /// What the update has done stays.
    Nothing,
}

/// What an update is to change.
///
/// ```
/// # use osb_engine as osb_sdk;
/// # use osb_sdk::Change;
/// # struct Resize { size_gb: u32 }
/// let change = Change { parameters: Some(Resize { size_gb: 5 }), previous_plan: None, maintenance: None };
/// assert!(!change.plan_changed());
/// assert_eq!(change.parameters.map(|resize| resize.size_gb), Some(5));
/// ```
#[derive(Clone, Debug)]
pub struct Change<P> {
    /// The parameters of the request; `None` when there are none, and then they are not to be changed (OSB-UPD-03).
    pub parameters: Option<P>,
    /// The plan from before, when the plan changes.
    pub previous_plan: Option<PlanId>,
    /// The maintenance version to upgrade to, when the platform asks for one.
    pub maintenance: Option<String>,
}

impl<P> Change<P> {
    /// Whether the plan changes.
    pub fn plan_changed(&self) -> bool {
        self.previous_plan.is_some()
    }
}

/// A binding as [`Service::bind`] returns it: the credentials, and what else the platform may need.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use std::time::{Duration, SystemTime};
/// use osb_sdk::Binding;
/// # #[derive(serde::Serialize)]
/// # struct Login { user: String, password: String }
///
/// let login = Login { user: "u_1".to_owned(), password: "…".to_owned() };
/// let day = Duration::from_secs(24 * 60 * 60);
/// let binding = Binding::new(login)
///     .expires_at(SystemTime::now() + 30 * day)
///     .renew_before(SystemTime::now() + 23 * day);
/// # let _ = binding;
/// ```
#[derive(Debug)]
pub struct Binding<C> {
    pub(crate) credentials: C,
    pub(crate) extra: BindingExtra,
}

/// What a binding may carry beside its credentials.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BindingExtra {
    pub(crate) metadata: Option<BindingMetadata>,
    pub(crate) syslog_drain_url: Option<String>,
    pub(crate) route_service_url: Option<String>,
    pub(crate) volume_mounts: Option<Vec<VolumeMount>>,
    pub(crate) endpoints: Option<Vec<Endpoint>>,
}

impl<C> Binding<C> {
    /// A binding with these credentials.
    pub fn new(credentials: C) -> Self {
        Self {
            credentials,
            extra: BindingExtra::default(),
        }
    }

    /// When the credentials stop working (OSB-BIND-29).
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.extra.metadata.get_or_insert_default().expires_at = Some(timestamp(time));
        self
    }

    /// Until when the binding should be rotated; not after it expires (OSB-BIND-30).
    #[must_use]
    pub fn renew_before(mut self, time: SystemTime) -> Self {
        self.extra.metadata.get_or_insert_default().renew_before = Some(timestamp(time));
        self
    }

    /// Where the platform sends the application's log; the offering `requires` `syslog_drain` (OSB-BIND-22).
    #[must_use]
    pub fn syslog_drain_url(mut self, url: impl Into<String>) -> Self {
        self.extra.syslog_drain_url = Some(url.into());
        self
    }

    /// Where the platform sends the requests of a route; the offering `requires` `route_forwarding` (OSB-BIND-23).
    #[must_use]
    pub fn route_service_url(mut self, url: impl Into<String>) -> Self {
        self.extra.route_service_url = Some(url.into());
        self
    }

    /// What the platform mounts into the application; the offering `requires` `volume_mount` (OSB-BIND-24, -25).
    #[must_use]
    pub fn volume_mounts(mut self, mounts: Vec<VolumeMount>) -> Self {
        self.extra.volume_mounts = Some(mounts);
        self
    }

    /// Names hosts and ports of the service; call it once with all that are relevant (OSB-BIND-27).
    #[must_use]
    pub fn endpoints(mut self, endpoints: Vec<Endpoint>) -> Self {
        self.extra.endpoints = Some(endpoints);
        self
    }
}

/// `yyyy-mm-ddThh:mm:ss.sZ`: at least one digit of the fraction, UTC (Amb-15). Times that jiff cannot say become its ends.
fn timestamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    format!("{}", time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
}

/// For services that take no parameters: any object is accepted and ignored.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::NoParameters;
///
/// assert_eq!(serde_json::from_str::<NoParameters>(r#"{"anything": 1}"#)?, NoParameters {});
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoParameters {}

/// The result of an author's function.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Error, Result};
///
/// async fn free_address(addresses: &[(&str, bool)]) -> Result<String> {
///     let free = addresses.iter().find(|(_, taken)| !taken);
///     let (address, _) = free.ok_or_else(|| Error::retry("All addresses are taken."))?;
///     Ok(address.to_string())
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(free_address(&[("10.0.0.1", true), ("10.0.0.2", false)]).await.unwrap(), "10.0.0.2");
/// # }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an author's function did not succeed.
///
/// Any error that is turned into this one with `?` counts as passing: the engine calls the function again, with
/// growing pauses, until the operation's deadline. Such errors are not shown to the user. [`Error::failed`] ends the operation at once, with a text
/// that the user sees.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use std::time::Duration;
/// use osb_sdk::{Error, Result};
///
/// fn read_size(text: &str) -> Result<u32> {
///     match text.parse::<u32>()? {
///         0 => Err(Error::failed("A database has at least one gigabyte.")),
///         size if size > 100 => Err(Error::retry("The large disks are all in use.").after(Duration::from_secs(600))),
///         size => Ok(size),
///     }
/// }
/// assert_eq!(read_size("5").ok(), Some(5));
/// assert_eq!(read_size("0").unwrap_err().to_string(), "A database has at least one gigabyte.");
/// ```
pub struct Error {
    pub(crate) kind: Kind,
    /// For the user.
    pub(crate) description: Option<String>,
    pub(crate) instance_usable: Option<bool>,
    pub(crate) update_repeatable: Option<bool>,
    /// For the log.
    pub(crate) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    Retry(Option<Duration>),
}

impl Error {
    /// The operation has failed and trying again would not help. The text is shown to the user: keep internals and
    /// secrets out of it.
    pub fn failed(description: impl Into<String>) -> Self {
        Self {
            description: Some(description.into()),
            ..Self::bare(Kind::Failed)
        }
    }

    /// The operation could not be done now; it is tried again. The text is shown to the user as progress, and as the
    /// reason if the deadline passes.
    pub fn retry(description: impl Into<String>) -> Self {
        Self {
            description: Some(description.into()),
            ..Self::bare(Kind::Retry(None))
        }
    }

    /// Not before this time has passed.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        if let Kind::Retry(after) = &mut self.kind {
            *after = Some(pause);
        }
        self
    }

    /// After this failed update or deprovision the instance cannot be used any more (OSB-UPD-21). Else platforms take
    /// it that it can.
    #[must_use]
    pub fn instance_unusable(mut self) -> Self {
        self.instance_usable = Some(false);
        self
    }

    /// The same update would fail again (OSB-UPD-21). Else platforms take it that it may succeed later.
    #[must_use]
    pub fn not_repeatable(mut self) -> Self {
        self.update_repeatable = Some(false);
        self
    }

    pub(crate) fn bare(kind: Kind) -> Self {
        Self {
            kind,
            description: None,
            instance_usable: None,
            update_repeatable: None,
            source: None,
        }
    }

    /// Adds the cause, for the operator's log; the user does not see it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(source: E) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..Self::bare(Kind::Retry(None))
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description.as_deref().unwrap_or("the backend failed"))
    }
}
