//! Sends a call of the model to an engine, and tells the kind of its answer.

use osb_api::answer::{BindingBody, Bound, Polled, Provisioned, Removed, State, Updated};
use osb_api::error::{BindError, DeprovisionError, Fault, PollError, ProvisionError, UnbindError, UpdateError};
use osb_api::id::OperationId;
use serde_json::Value;

use super::BINDING_IDS;
use super::calls::{Answer, BIND_WISHES, Call, UPDATE_WISHES, WISHES, Which};
use crate::platform::{ACCEPTS, Platform, REFUSES};

pub(super) async fn send(platform: &Platform, instance: &str, call: &Call) -> Answer {
    let mode = |accepts: bool| if accepts { ACCEPTS } else { REFUSES };
    let json = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    match call {
        Call::Provision { asked, accepts } => {
            let parameters = json(WISHES[asked.wish].parameters);
            provisioned(
                platform
                    .on_plan(asked.plan)
                    .provision_if(instance, parameters, mode(*accepts))
                    .await,
            )
        }
        Call::Update { change, accepts } => {
            let parameters = json(UPDATE_WISHES[change.wish].parameters);
            let change = serde_json::json!({"plan_id": change.plan, "parameters": parameters});
            updated(platform.update_if(instance, change, mode(*accepts)).await)
        }
        Call::Deprovision { plan, accepts } => {
            match platform.on_plan(plan).deprovision_if(instance, mode(*accepts)).await {
                Ok(done) => removed(done),
                Err(DeprovisionError::Invalid(_)) => Answer::Invalid,
                Err(DeprovisionError::Gone) => Answer::Gone,
                Err(DeprovisionError::AsyncRequired) => Answer::AsyncRequired,
                Err(DeprovisionError::Concurrency) => Answer::Concurrency,
                Err(DeprovisionError::Fault(fault)) => failed(&fault),
            }
        }
        Call::Bind { binding, asked } => {
            let parameters = json(BIND_WISHES[asked.wish].parameters);
            bound(
                platform
                    .on_plan(asked.plan)
                    .bind(instance, BINDING_IDS[*binding], parameters)
                    .await,
            )
        }
        Call::Unbind { binding, plan, accepts } => {
            match platform
                .on_plan(plan)
                .unbind_if(instance, BINDING_IDS[*binding], mode(*accepts))
                .await
            {
                Ok(done) => removed(done),
                Err(UnbindError::Invalid(_)) => Answer::Invalid,
                Err(UnbindError::Gone) => Answer::Gone,
                Err(UnbindError::AsyncRequired) => Answer::AsyncRequired,
                Err(UnbindError::Concurrency) => Answer::Concurrency,
                Err(UnbindError::Fault(fault)) => failed(&fault),
            }
        }
        Call::Poll { binding, which } => {
            let operation = match which {
                Which::Newest => None,
                Which::Given(id) => Some(OperationId::new(id.clone()).expect("a valid id")),
                Which::Unknown => Some(OperationId::new("never given out").expect("a valid id")),
            };
            polled(match binding {
                Some(binding) => {
                    platform
                        .poll_binding(instance, BINDING_IDS[*binding], operation.as_ref())
                        .await
                }
                None => platform.poll(instance, operation.as_ref()).await,
            })
        }
    }
}

fn provisioned(answer: Result<Provisioned, ProvisionError>) -> Answer {
    match answer {
        Ok(Provisioned::Created(_)) => Answer::Created(None),
        Ok(Provisioned::Exists(_)) => Answer::Exists(None),
        Ok(Provisioned::Accepted(operation, _)) => Answer::Accepted(operation.as_str().to_owned()),
        Err(ProvisionError::Invalid(_)) => Answer::Invalid,
        Err(ProvisionError::Conflict(_)) => Answer::Conflict,
        Err(ProvisionError::AsyncRequired) => Answer::AsyncRequired,
        Err(ProvisionError::Concurrency) => Answer::Concurrency,
        Err(ProvisionError::Fault(fault)) => failed(&fault),
        Err(other) => Answer::Other(other.to_string()),
    }
}

fn updated(answer: Result<Updated, UpdateError>) -> Answer {
    match answer {
        Ok(Updated::Done(_)) => Answer::Done,
        Ok(Updated::Accepted(operation, _)) => Answer::Accepted(operation.as_str().to_owned()),
        Err(UpdateError::Invalid(_)) => Answer::Invalid,
        Err(UpdateError::NoInstance) => Answer::NotFound,
        Err(UpdateError::AsyncRequired) => Answer::AsyncRequired,
        Err(UpdateError::Concurrency) => Answer::Concurrency,
        Err(UpdateError::Failed { .. }) => Answer::Failed,
        Err(UpdateError::Fault(fault)) => failed(&fault),
        Err(other) => Answer::Other(other.to_string()),
    }
}

fn bound(answer: Result<Bound, BindError>) -> Answer {
    let password = |body: BindingBody| Some(body.credentials?.get("password")?.as_str()?.to_owned());
    match answer {
        Ok(Bound::Created(body)) => Answer::Created(password(body)),
        Ok(Bound::Exists(body)) => Answer::Exists(password(body)),
        Ok(Bound::Accepted(operation)) => Answer::Accepted(operation.as_str().to_owned()),
        Err(BindError::Invalid(_)) => Answer::Invalid,
        Err(BindError::NoInstance) => Answer::NotFound,
        Err(BindError::Conflict(_)) => Answer::Conflict,
        Err(BindError::AsyncRequired) => Answer::AsyncRequired,
        Err(BindError::Concurrency) => Answer::Concurrency,
        Err(BindError::Fault(fault)) => failed(&fault),
        Err(other) => Answer::Other(other.to_string()),
    }
}

fn removed(removed: Removed) -> Answer {
    match removed {
        Removed::Done => Answer::Done,
        Removed::Accepted(operation) => Answer::Accepted(operation.as_str().to_owned()),
    }
}

fn polled(answer: Result<Polled, PollError>) -> Answer {
    match answer.map(|polled| polled.body.state) {
        Ok(State::InProgress) => Answer::InProgress,
        Ok(State::Succeeded) => Answer::Succeeded,
        Ok(State::Failed) => Answer::OperationFailed,
        Err(PollError::Invalid(_)) => Answer::Invalid,
        Err(PollError::NotFound) => Answer::NotFound,
        Err(PollError::Gone) => Answer::Gone,
        Err(PollError::Fault(fault)) => failed(&fault),
    }
}

fn failed(fault: &Fault) -> Answer {
    match fault {
        Fault::Failed(_) => Answer::Failed,
        other => Answer::Other(other.to_string()),
    }
}
