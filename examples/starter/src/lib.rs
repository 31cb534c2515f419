//! The broker `starter`: what it sells, and how it is made.
//!
//! The four functions of [`Store`] may be interrupted at any moment and are called again then, with the same
//! `stable_name`. So each of them looks what is there, and does what is missing. That is all that a broker's author has to
//! see to: what the platform repeats, what it gives up, and what a crash has left behind is the SDK's.

use osb_sdk::{Binding, Broker, Change, NoParameters, Offering, Operation, Plan, Result, Service, Updatable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of a provision. Their JSON schema stands in the catalog, and requests are checked against it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewStore {
    /// What it is for, in words of the user's.
    #[schemars(length(max = 100))]
    pub label: Option<String>,
}

/// Parameters of an update.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeStore {
    /// What it is for from now on.
    #[schemars(length(max = 100))]
    pub label: Option<String>,
}

/// What the broker remembers of an instance; it is stored sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Its name in the backend.
    pub name: String,
    /// What it is for.
    pub label: Option<String>,
}

/// What an application gets; it is stored sealed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// Where the application finds its store.
    pub uri: String,
    /// Its user.
    pub username: String,
}

/// The service. The client of the backend belongs in here.
pub struct Store;

impl Service for Store {
    type Parameters = NewStore;
    type BindParameters = NoParameters;
    type State = State;
    type Credentials = Credentials;

    async fn provision(&self, op: &Operation, new: NewStore) -> Result<State> {
        let name = op.stable_name("store");
        op.progress("Making the store");
        // Make the store `name` in the size of `op.plan()`, if it is not there.
        Ok(State { name, label: new.label })
    }

    async fn deprovision(&self, op: &Operation, _: Option<State>) -> Result<()> {
        let _name = op.stable_name("store");
        // Remove the store, if it is there. There is no state when the provision did not come to its end.
        Ok(())
    }

    async fn bind(&self, op: &Operation, store: &State, _: NoParameters) -> Result<Binding<Credentials>> {
        let username = op.stable_name("user");
        // Make the user, if it is not there. A password is to be chosen in `op.step`, which gives the same one again.
        Ok(Binding::new(Credentials {
            uri: format!("store://store.example.com/{}", store.name),
            username,
        }))
    }

    async fn unbind(&self, op: &Operation, _: &State, _: Option<Credentials>) -> Result<()> {
        let _username = op.stable_name("user");
        // Remove the user, if it is there.
        Ok(())
    }
}

impl Updatable for Store {
    type Update = ChangeStore;

    async fn update(&self, _: &Operation, store: State, change: Change<ChangeStore>) -> Result<State> {
        if change.plan_changed() {
            // Give the store the size of the new plan.
        }
        let label = change.parameters.and_then(|new| new.label).or(store.label);
        Ok(State { label, ..store })
    }
}

/// The broker. Platforms know offerings and plans by these ids, so they stay for ever; names may change.
pub fn broker() -> Broker {
    let offering = Offering::new(
        "00000000-0000-4000-8000-000000000001",
        "starter",
        "Stores for applications",
    )
    .bindable(true)
    .plan_updateable(true)
    .instances_retrievable(true)
    .bindings_retrievable(true)
    .plan(Plan::new(
        "00000000-0000-4000-8000-000000000002",
        "small",
        "A small store",
    ))
    .plan(Plan::new(
        "00000000-0000-4000-8000-000000000003",
        "large",
        "A large store",
    ));
    Broker::new("starter").updatable(offering, Store)
}
