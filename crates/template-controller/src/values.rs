//! The values of parameters: read from the instance's Secret, and kept in a Secret of the controller's own.
//!
//! They are kept because a generated value must stay what it is: an attempt that is interrupted goes on with the same password,
//! and an update keeps it. They lie in a Secret, since they are secrets; in the namespace of the instance, so that they go with
//! it, with the instance as owner; and it is immutable, so that whoever may write Secrets there cannot put other values under
//! the objects of a requester with more rights: a Secret that was made anew has another uid than the status says.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use template::{Given, Origin, Template, Values};

use crate::api::{Api, ApiError, segment};
use crate::names::{API_VERSION, OWNER_LABEL};
use crate::plan::Owner;
use crate::resources::FrozenValues;

/// The key with the names of parameters whose values were generated. No parameter can have it as its name.
const GENERATED: &str = ".generated";
/// The generation of the instance that the values are of.
const GENERATION: &str = "template.osb.internal/generation";

/// A Secret as the API server has it.
#[derive(Deserialize)]
struct Secret {
    metadata: Meta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Values that are kept.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) given: Given,
    /// The names of those that were generated.
    pub(crate) generated: BTreeSet<String>,
}

impl Kept {
    /// These values; `before` were generated earlier and are given now.
    pub(crate) fn of(values: &Values, before: &BTreeSet<String>) -> Self {
        let generated = values
            .iter()
            .filter(|value| value.origin == Origin::Generated || before.contains(&value.name));
        Self {
            given: values.frozen(),
            generated: generated.map(|value| value.name.clone()).collect(),
        }
    }

    /// Adds to what is given now what was generated before, where the template still generates it and nobody gives another.
    /// The names of those.
    pub(crate) fn keep_generated(&self, template: &Template<'_>, given: &mut Given) -> BTreeSet<String> {
        let mut kept = BTreeSet::new();
        for parameter in template
            .declared()
            .filter(|parameter| parameter.generate == "expression")
        {
            let name = &*parameter.name;
            let is_given = given.get(name).is_some_and(|value| !value.is_empty()) || !parameter.value.is_empty();
            if let Some(value) = self
                .given
                .get(name)
                .filter(|_| !is_given && self.generated.contains(name))
            {
                given.insert(name.to_owned(), value.clone());
                kept.insert(name.to_owned());
            }
        }
        kept
    }
}

/// Why values cannot be had.
#[derive(Debug)]
pub(crate) enum ValuesError {
    Api(ApiError),
    /// Something is wrong with what is there; said to people.
    Wrong(String),
}

impl From<ApiError> for ValuesError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{}/secrets/{}", segment(namespace), segment(name))
}

/// The values that a Secret gives to the parameters of a template. Other keys of the Secret mean nothing.
pub(crate) async fn given(
    api: &Api<'_>,
    namespace: &str,
    name: &str,
    template: &Template<'_>,
) -> Result<Given, ValuesError> {
    let secret: Secret = api.get(&path(namespace, name)).await?;
    let data = secret.data.unwrap_or_default();
    let mut given = Given::new();
    for parameter in template.declared() {
        if let Some(value) = data.get(&*parameter.name) {
            let text = decode(value).ok_or_else(|| {
                let what = "a value that is no text; parameters are texts";
                ValuesError::Wrong(format!("the Secret {name} has for {} {what}", parameter.name))
            })?;
            given.insert(parameter.name.clone().into_owned(), text);
        }
    }
    Ok(given)
}

fn decode(value: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(value).ok()?).ok()
}

/// The two names that the kept values of an instance can have: while it is updated there are those from before, and the new ones.
pub(crate) fn names(uid: &str) -> [String; 2] {
    ["a", "b"].map(|slot| format!("template-values-{uid}-{slot}"))
}

/// Reads kept values. The Secret has to be the one that the status names.
pub(crate) async fn kept(api: &Api<'_>, namespace: &str, frozen: &FrozenValues) -> Result<Kept, ValuesError> {
    let gone = || {
        let what = "which keeps the values of the parameters, is gone or was replaced";
        let mend = "write another spec.revision to begin anew; generated values will be others";
        ValuesError::Wrong(format!("the Secret {}, {what}; {mend}", frozen.name))
    };
    let secret: Secret = match api.get(&path(namespace, &frozen.name)).await {
        Ok(secret) => secret,
        Err(error) if error.is_not_found() => return Err(gone()),
        Err(error) => return Err(error.into()),
    };
    if secret.metadata.uid != frozen.uid {
        return Err(gone());
    }
    read(secret).ok_or_else(gone)
}

fn read(secret: Secret) -> Option<Kept> {
    let mut data = secret.data.unwrap_or_default();
    let generated = decode(&data.remove(GENERATED)?)?;
    let generated = generated.lines().map(str::to_owned).collect();
    let texts = data.into_iter().map(|(name, value)| Some((name, decode(&value)?)));
    let given = texts.collect::<Option<Given>>()?;
    Some(Kept { given, generated })
}

/// What came of keeping values.
pub(crate) enum Freeze {
    /// They are kept.
    Done(FrozenValues),
    /// Others are kept already, from an attempt that was interrupted: these count.
    Others(FrozenValues, Kept),
}

/// Keeps values under a name, before any object is made of them.
pub(crate) async fn freeze(
    api: &Api<'_>,
    owner: Owner<'_>,
    name: &str,
    generation: i64,
    values: &Kept,
) -> Result<Freeze, ValuesError> {
    let body = secret(owner, name, generation, values).to_string().into_bytes();
    let all = format!("/api/v1/namespaces/{}/secrets", segment(owner.namespace));
    // Twice, because what an older attempt for another generation left has to go first.
    for _ in 0..2 {
        let made: Result<Secret, ApiError> = api.post(&all, body.clone()).await;
        match made {
            Ok(made) => {
                return Ok(Freeze::Done(FrozenValues {
                    name: name.to_owned(),
                    uid: made.metadata.uid,
                }));
            }
            Err(error) if error.already_exists() => {}
            Err(error) => return Err(error.into()),
        }
        let found: Secret = api.get(&path(owner.namespace, name)).await?;
        if found.metadata.labels.get(OWNER_LABEL).map(String::as_str) != Some(owner.uid) {
            let what = "is there already and does not belong to this instance; remove it";
            return Err(ValuesError::Wrong(format!("the Secret {name} {what}")));
        }
        let frozen = FrozenValues {
            name: name.to_owned(),
            uid: found.metadata.uid.clone(),
        };
        if found.metadata.annotations.get(GENERATION) == Some(&generation.to_string())
            && let Some(kept) = read(found)
        {
            return Ok(Freeze::Others(frozen, kept));
        }
        remove(api, owner.namespace, name, Some(&frozen.uid)).await?;
    }
    Err(ValuesError::Api(ApiError::NoAnswer(
        "another process keeps values of the same instance".to_owned(),
    )))
}

fn secret(owner: Owner<'_>, name: &str, generation: i64, kept: &Kept) -> serde_json::Value {
    let mut data: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &kept.given {
        data.insert(name, STANDARD.encode(value));
    }
    let generated: Vec<&str> = kept.generated.iter().map(String::as_str).collect();
    data.insert(GENERATED, STANDARD.encode(generated.join("\n")));
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
        "metadata": {
            "name": name, "namespace": owner.namespace,
            "labels": {OWNER_LABEL: owner.uid},
            "annotations": {GENERATION: generation.to_string()},
            "ownerReferences": [{
                "apiVersion": API_VERSION, "kind": "TemplateInstance", "name": owner.name, "uid": owner.uid,
            }],
        },
        "data": data,
    })
}

/// Removes kept values, if they are there.
pub(crate) async fn remove(api: &Api<'_>, namespace: &str, name: &str, uid: Option<&str>) -> Result<(), ApiError> {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    if let Some(uid) = uid {
        options["preconditions"] = json!({"uid": uid});
    }
    match api.delete(&path(namespace, name), &options).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
