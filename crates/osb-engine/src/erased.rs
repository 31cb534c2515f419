//! Services with their types erased: what the engine calls.

use std::cmp::Ordering;

use futures::future::{BoxFuture, FutureExt as _};
use osb_api::Object;
use osb_api::answer::{BindingBody, InstanceMetadata};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::operation::Operation;
use crate::service::{Binding, Change, Error, Result, Service, Undone, Updatable};

/// An author's state as it is stored, before it is sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredState {
    pub(crate) json: Vec<u8>,
    /// [`Service::STATE_VERSION`] of the broker that wrote it.
    pub(crate) version: u32,
}

/// An [`Updatable`] with its types erased.
pub(crate) trait ErasedUpdate: Send + Sync {
    fn reads_update(&self, parameters: &Object) -> Result<(), String>;
    fn update<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        change: Change<Object>,
    ) -> BoxFuture<'a, Result<Made>>;
    fn undo<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        change: Change<Object>,
    ) -> BoxFuture<'a, Result<Undone>>;
}

impl<S: Updatable> ErasedUpdate for Typed<S> {
    fn reads_update(&self, parameters: &Object) -> Result<(), String> {
        read_parameters::<S::Update>(parameters).map(|_| ())
    }

    fn update<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        change: Change<Object>,
    ) -> BoxFuture<'a, Result<Made>> {
        async move {
            let change = typed(change)?;
            let state = self.0.update(op, self.state(state).await?, change).await?;
            self.made(op, &state)
        }
        .boxed()
    }

    fn undo<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        change: Change<Object>,
    ) -> BoxFuture<'a, Result<Undone>> {
        async move {
            let change = typed(change)?;
            self.0.undo_update(op, self.state(state).await?, change).await
        }
        .boxed()
    }
}

fn typed<P: DeserializeOwned>(change: Change<Object>) -> Result<Change<P>> {
    let parameters = change.parameters.map(|parameters| read_parameters(&parameters));
    Ok(Change {
        parameters: parameters.transpose().map_err(Error::failed)?,
        previous_plan: change.previous_plan,
        maintenance: change.maintenance,
    })
}

/// A [`Service`] with its types erased: states travel as JSON text, as they are stored.
pub(crate) trait Erased: Send + Sync {
    fn reads_parameters(&self, parameters: &Object) -> Result<(), String>;
    fn reads_bind_parameters(&self, parameters: &Object) -> Result<(), String>;
    fn dashboard_url(&self, op: &Operation) -> Option<String>;
    fn shown_parameters(&self, parameters: Object) -> Option<Object>;
    fn shown_bind_parameters(&self, parameters: Object) -> Option<Object>;
    fn list_backend(&self) -> BoxFuture<'_, Result<Option<Vec<String>>>>;
    fn provision<'a>(&'a self, op: &'a Operation, parameters: Object) -> BoxFuture<'a, Result<Made>>;
    fn deprovision<'a>(&'a self, op: &'a Operation, state: Option<StoredState>) -> BoxFuture<'a, Result<()>>;
    /// With the credentials of the predecessor it is a rotation.
    fn bind<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        predecessor: Option<Object>,
        parameters: Object,
    ) -> BoxFuture<'a, Result<BindingBody>>;
    fn unbind<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        credentials: Option<Object>,
    ) -> BoxFuture<'a, Result<()>>;
}

/// What a provision or an update comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Made {
    pub(crate) state: StoredState,
    pub(crate) metadata: Option<InstanceMetadata>,
}

pub(crate) struct Typed<S>(pub(crate) S);

impl<S: Service> Typed<S> {
    /// Reads a stored state, migrated if an older version of the broker wrote it.
    async fn state(&self, stored: StoredState) -> Result<S::State> {
        match stored.version.cmp(&S::STATE_VERSION) {
            Ordering::Equal => serde_json::from_slice(&stored.json).map_err(|_| unreadable()),
            Ordering::Less => {
                let state: Value = serde_json::from_slice(&stored.json).map_err(|_| unreadable())?;
                self.0.migrate(stored.version, state).await
            }
            Ordering::Greater => Err(unreadable()),
        }
    }

    fn made(&self, op: &Operation, state: &S::State) -> Result<Made> {
        let json =
            serde_json::to_vec(state).map_err(|_| Error::failed("The state of the service cannot be stored."))?;
        let version = S::STATE_VERSION;
        Ok(Made {
            state: StoredState { json, version },
            metadata: self.0.metadata(op, state),
        })
    }
}

impl<S: Service> Erased for Typed<S> {
    fn reads_parameters(&self, parameters: &Object) -> Result<(), String> {
        read_parameters::<S::Parameters>(parameters).map(|_| ())
    }

    fn reads_bind_parameters(&self, parameters: &Object) -> Result<(), String> {
        read_parameters::<S::BindParameters>(parameters).map(|_| ())
    }

    fn dashboard_url(&self, op: &Operation) -> Option<String> {
        self.0.dashboard_url(op)
    }

    fn shown_parameters(&self, parameters: Object) -> Option<Object> {
        self.0.shown_parameters(parameters)
    }

    fn shown_bind_parameters(&self, parameters: Object) -> Option<Object> {
        self.0.shown_bind_parameters(parameters)
    }

    fn list_backend(&self) -> BoxFuture<'_, Result<Option<Vec<String>>>> {
        self.0.list_backend().boxed()
    }

    fn provision<'a>(&'a self, op: &'a Operation, parameters: Object) -> BoxFuture<'a, Result<Made>> {
        async move {
            let parameters = read_parameters(&parameters).map_err(Error::failed)?;
            let state = self.0.provision(op, parameters).await?;
            self.made(op, &state)
        }
        .boxed()
    }

    fn deprovision<'a>(&'a self, op: &'a Operation, state: Option<StoredState>) -> BoxFuture<'a, Result<()>> {
        async move {
            let state = match state {
                Some(state) => Some(self.state(state).await?),
                None => None,
            };
            self.0.deprovision(op, state).await
        }
        .boxed()
    }

    fn bind<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        predecessor: Option<Object>,
        parameters: Object,
    ) -> BoxFuture<'a, Result<BindingBody>> {
        async move {
            let parameters = read_parameters(&parameters).map_err(Error::failed)?;
            let state = self.state(state).await?;
            let binding = match predecessor {
                None => self.0.bind(op, &state, parameters).await?,
                Some(credentials) => {
                    let credentials = read_credentials(credentials)?;
                    self.0.rotate(op, &state, credentials, parameters).await?
                }
            };
            body(binding)
        }
        .boxed()
    }

    fn unbind<'a>(
        &'a self,
        op: &'a Operation,
        state: StoredState,
        credentials: Option<Object>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let credentials = credentials.map(read_credentials).transpose()?;
            self.0.unbind(op, &self.state(state).await?, credentials).await
        }
        .boxed()
    }
}

/// Errors of serde quote what they refuse, so they are not passed on.
fn read_parameters<T: DeserializeOwned>(parameters: &Object) -> Result<T, String> {
    T::deserialize(Value::Object(parameters.clone()))
        .map_err(|_| "parameters: their names, types or values are not what the service takes".to_owned())
}

fn read_credentials<T: DeserializeOwned>(credentials: Object) -> Result<T> {
    serde_json::from_value(Value::Object(credentials)).map_err(|_| unreadable())
}

/// A newer version of the broker, or the older one, may be able to read it: worth trying again.
fn unreadable() -> Error {
    Error::retry("The stored state of the service does not fit this version of the broker.")
}

fn body<C: serde::Serialize>(binding: Binding<C>) -> Result<BindingBody> {
    let Ok(Value::Object(credentials)) = serde_json::to_value(&binding.credentials) else {
        return Err(Error::failed("The credentials of the service are not a JSON object."));
    };
    let extra = binding.extra;
    let metadata = extra.metadata.map(|mut metadata| {
        // Both have the same form, so the earlier text is the earlier time (OSB-BIND-30).
        if let (Some(renew), Some(expires)) = (&metadata.renew_before, &metadata.expires_at)
            && renew > expires
        {
            metadata.renew_before.clone_from(&metadata.expires_at);
        }
        metadata
    });
    Ok(BindingBody {
        metadata,
        credentials: Some(credentials),
        syslog_drain_url: extra.syslog_drain_url,
        route_service_url: extra.route_service_url,
        volume_mounts: extra.volume_mounts,
        endpoints: extra.endpoints,
    })
}
