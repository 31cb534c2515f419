//! How single objects are made, changed, looked at and removed.

use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{APPLY, Api, ApiError, JSON, MERGE};
use crate::discovery::Resource;
use crate::names::{FIELD_MANAGER, OWNER_LABEL};
use crate::plan::Planned;

/// Why an object is not as it should be.
#[derive(Clone, Debug)]
pub(crate) enum ObjectError {
    /// It may go better in a moment.
    Transient(String),
    /// It will not.
    Permanent(String),
}

/// What was made is told by the API server.
#[derive(Deserialize)]
struct Made {
    metadata: MadeMeta,
}

#[derive(Deserialize)]
struct MadeMeta {
    #[serde(default)]
    uid: String,
}

fn because(doing: &str, planned: &Planned, error: ApiError) -> ObjectError {
    let text = format!("unable to {doing} {} ({}): {error}", planned.called(), planned.place);
    if error.is_transient() {
        ObjectError::Transient(text)
    } else {
        ObjectError::Permanent(text)
    }
}

/// Two connections: one in the requester's name, one in the controller's own.
#[derive(Clone)]
pub(crate) struct Hands<'c> {
    pub(crate) requester: Api<'c>,
    pub(crate) own: Api<'c>,
    /// The uid of the instance.
    pub(crate) owner: &'c str,
}

impl Hands<'_> {
    /// Tries on the API server whether an object could be made, or changed where it is there.
    pub(crate) async fn try_out(&self, planned: &Planned, uid: Option<&str>) -> Result<(), ObjectError> {
        let tried = match uid {
            None => self.send_new(planned, "&dryRun=All").await,
            Some(uid) => self.send_change(planned, uid, "&dryRun=All").await,
        };
        match tried {
            Ok(_) => Ok(()),
            Err(error) if uid.is_none() && error.already_exists() => self.found(planned).await.map(|_| ()),
            // It was removed, or replaced: what becomes of that is seen when it is changed.
            Err(error) if uid.is_some() && error.is_conflict() => Ok(()),
            Err(error) => Err(because(if uid.is_some() { "change" } else { "create" }, planned, error)),
        }
    }

    /// Makes an object; the answer is its uid. One that is there already and belongs to the instance is as good.
    pub(crate) async fn make(&self, planned: &Planned) -> Result<String, ObjectError> {
        match self.send_new(planned, "").await {
            Ok(uid) => Ok(uid),
            Err(error) if error.already_exists() => self.found(planned).await,
            Err(error) => Err(because("create", planned, error)),
        }
    }

    /// Changes an object to what is planned; the answer is its uid, another one where it had been removed and is made anew.
    pub(crate) async fn change(&self, planned: &Planned, uid: &str) -> Result<String, ObjectError> {
        let path = planned.resource.one(&planned.namespace, &planned.name);
        let found: Value = match self.own.get(&path).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return self.make(planned).await,
            Err(error) => return Err(because("read", planned, error)),
        };
        if found["metadata"]["uid"] != *uid && !self.is_owned(&found) {
            return Err(foreign(planned));
        }
        let uid = found["metadata"]["uid"].as_str().unwrap_or(uid).to_owned();
        if let Some(patch) = applied(&found) {
            let path = format!("{path}?fieldManager={FIELD_MANAGER}");
            let body = patch.to_string().into_bytes();
            let taken: Result<Value, ApiError> = self.requester.patch(&path, MERGE, body).await;
            taken.map_err(|error| because("change", planned, error))?;
        }
        let changed = self.send_change(planned, &uid, "").await;
        changed.map_err(|error| because("change", planned, error))
    }

    async fn send_new(&self, planned: &Planned, more: &str) -> Result<String, ApiError> {
        let all = planned.resource.all(Some(&planned.namespace));
        let path = format!("{all}?fieldManager={FIELD_MANAGER}{more}");
        let made: Made = self.requester.post(&path, planned.text().into_bytes()).await?;
        Ok(made.metadata.uid)
    }

    async fn send_change(&self, planned: &Planned, uid: &str, more: &str) -> Result<String, ApiError> {
        let one = planned.resource.one(&planned.namespace, &planned.name);
        let path = format!("{one}?fieldManager={FIELD_MANAGER}&force=true{more}");
        let made: Made = self
            .requester
            .patch(&path, APPLY, planned.text_for(uid).into_bytes())
            .await?;
        Ok(made.metadata.uid)
    }

    /// An object of that name is there: from an attempt that was interrupted, or somebody else's.
    async fn found(&self, planned: &Planned) -> Result<String, ObjectError> {
        let path = planned.resource.one(&planned.namespace, &planned.name);
        match self.own.get::<Value>(&path).await {
            Ok(found) if self.is_owned(&found) => Ok(found["metadata"]["uid"].as_str().unwrap_or_default().to_owned()),
            Ok(_) => Err(foreign(planned)),
            Err(error) if error.is_not_found() => Err(ObjectError::Transient(format!(
                "{} was there and is not any more",
                planned.called()
            ))),
            Err(error) => Err(because("read", planned, error)),
        }
    }

    fn is_owned(&self, found: &Value) -> bool {
        found["metadata"]["labels"][OWNER_LABEL] == *self.owner && !self.owner.is_empty()
    }
}

fn foreign(planned: &Planned) -> ObjectError {
    let what = "it is there already, and does not belong to this instance; give it another name, or remove it";
    ObjectError::Permanent(format!(
        "unable to create {} ({}): {what}",
        planned.called(),
        planned.place
    ))
}

/// What turns the fields that were set when the object was created into applied ones, so that a later apply removes those that
/// the template has no more; `None` when they are.
fn applied(found: &Value) -> Option<Value> {
    let fields = found["metadata"]["managedFields"].as_array()?;
    let is_own =
        |entry: &&Value| entry["manager"] == FIELD_MANAGER && entry["subresource"].as_str().is_none_or(str::is_empty);
    if fields.iter().filter(is_own).any(|entry| entry["operation"] == "Apply") {
        return None;
    }
    fields.iter().find(is_own)?;
    let fields: Vec<Value> = fields
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            if is_own(&&entry) {
                entry["operation"] = json!("Apply");
            }
            entry
        })
        .collect();
    let metadata = &found["metadata"];
    Some(json!({"metadata": {
        "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "managedFields": fields,
    }}))
}

/// How far the removal of an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Gone,
    /// It will go.
    Going,
    /// Somebody else's object has its name; the one that was meant is gone.
    Replaced,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    metadata: FoundMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundMeta {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

/// Removes an object, and with it what depends on it. Only the one with this uid, or where it is not known, one that belongs to
/// the instance.
pub(crate) async fn remove(
    reader: &Api<'_>,
    remover: &Api<'_>,
    (resource, namespace, name): (&Resource, &str, &str),
    uid: Option<&str>,
    owner: &str,
) -> Result<Removal, ApiError> {
    let path = resource.one(namespace, name);
    let found: Found = match reader.get(&path).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(Removal::Gone),
        Err(error) => return Err(error),
    };
    let is_meant = match uid {
        Some(uid) => found.metadata.uid == uid,
        None => found
            .metadata
            .labels
            .get(OWNER_LABEL)
            .is_some_and(|label| label == owner),
    };
    if !is_meant {
        return Ok(Removal::Replaced);
    }
    if found.metadata.deletion_timestamp.is_some() {
        return Ok(Removal::Going);
    }
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground",
        "preconditions": {"uid": found.metadata.uid},
    });
    match remover
        .text(http::Method::DELETE, &path, JSON, options.to_string().into_bytes())
        .await
    {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(Removal::Gone),
        Err(error) if error.is_conflict() => return Ok(Removal::Going),
        Err(error) => return Err(error),
    }
    match reader.get::<Found>(&path).await {
        Err(error) if error.is_not_found() => Ok(Removal::Gone),
        _ => Ok(Removal::Going),
    }
}

/// Does several things at a time, in the order of the answers.
pub(crate) async fn at_once<T>(things: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    futures::stream::iter(things).buffered(8).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_create_become_applied_ones_once() {
        let found = json!({"metadata": {"uid": "u", "resourceVersion": "3", "managedFields": [
            {"manager": FIELD_MANAGER, "operation": "Update", "fieldsV1": {"f:data": {}}},
            {"manager": FIELD_MANAGER, "operation": "Update", "subresource": "status"},
            {"manager": "kubectl", "operation": "Update"},
        ]}});
        let patch = applied(&found).unwrap();
        let operations: Vec<&str> = patch["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["operation"].as_str().unwrap())
            .collect();
        assert_eq!(operations, ["Apply", "Update", "Update"]);
        assert_eq!(patch["metadata"]["resourceVersion"], "3");
        let mut again = found.clone();
        again["metadata"]["managedFields"] = patch["metadata"]["managedFields"].clone();
        assert_eq!(applied(&again), None);
    }
}
