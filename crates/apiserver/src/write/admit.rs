//! Calls the admission hooks in the course of a write. Without hooks this costs nothing.

use apimachinery::json::Value;
use apimachinery::meta;
use objectstore::Entry;
use serde_json::json;

use super::create::Request;
use super::object::{self, Came};
use super::options::{Validation, decode};
use crate::admission::{AdmissionRequest, Mutate, Operation, Validate, Warnings};
use crate::codec::Stored;
use crate::failure::Failure;
use crate::server::Server;
use crate::target::Target;

/// The hooks of a server.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) mutating: Vec<std::sync::Arc<dyn Mutate>>,
    pub(crate) validating: Vec<std::sync::Arc<dyn Validate>>,
}

impl Hooks {
    pub(crate) fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty()
    }
}

/// The options of a write as they came in its query, those of a delete also in its body.
fn options(kind: &str, request: Request<'_>) -> serde_json::Value {
    if kind == "DeleteOptions"
        && !request.body.is_empty()
        && let Ok(decoded) = decode(request.headers, request.body)
    {
        return decoded.value.into();
    }
    let query = request.query;
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    if !dry_run.is_empty() {
        options["dryRun"] = json!(dry_run);
    }
    for name in ["fieldManager", "fieldValidation", "propagationPolicy"] {
        if let Some(value) = query.first(name) {
            options[name] = json!(value);
        }
    }
    if let Some(force) = query.first("force") {
        options["force"] = json!(force == "true");
    }
    options
}

/// A write that hooks look at.
#[derive(Clone, Copy)]
pub(crate) struct Admission<'a> {
    pub(crate) server: &'a Server,
    pub(crate) target: &'a Target,
    pub(crate) request: Request<'a>,
    pub(crate) operation: Operation,
    pub(crate) dry_run: bool,
}

impl<'a> Admission<'a> {
    fn options(&self) -> serde_json::Value {
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
        };
        options(kind, self.request)
    }

    fn asked<'b>(&'b self, name: &'b str, options: &'b serde_json::Value) -> AdmissionRequest<'b> {
        let target = self.target;
        AdmissionRequest {
            operation: self.operation,
            user: self.request.user,
            group: &target.resource.id.group,
            version: &target.version().name,
            kind: &target.resource.kind.kind,
            resource: &target.resource.id.plural,
            subresource: target.subresource.as_str(),
            namespace: &target.namespace,
            name,
            dry_run: self.dry_run,
            options,
        }
    }

    /// Lets the mutating hooks change an object that has been shaped; it is shaped again when one has. The warnings of the hooks,
    /// and whether anything has changed.
    pub(crate) async fn mutate(
        &self,
        old: Option<&Value<'_>>,
        new: &mut Value<'_>,
    ) -> Result<(Warnings, bool), Failure> {
        let hooks = &self.server.hooks.mutating;
        if hooks.is_empty() {
            return Ok((Warnings::new(), false));
        }
        let options = self.options();
        let name = name_of(self.target, new);
        let request = self.asked(&name, &options);
        let wanting: Vec<_> = hooks.iter().filter(|hook| hook.wants(&request)).collect();
        if wanting.is_empty() {
            return Ok((Warnings::new(), false));
        }
        let old: Option<serde_json::Value> = old.map(|old| old.clone().into());
        let before: serde_json::Value = new.clone().into();
        let mut object = before.clone();
        let mut warnings = Warnings::new();
        for hook in wanting {
            let more = hook.mutate(&request, old.as_ref(), &mut object).await;
            warnings.extend(more.map_err(|refusal| refusal.into_status(&self.target.resource.id, &name))?);
        }
        let changed = object != before;
        if changed {
            keep_identity(&before, &mut object);
            *new = object.into();
            object::shape(self.target, new, &[], Validation::Ignore, Came::Whole)?;
        }
        Ok((warnings, changed))
    }

    /// Asks the validating hooks about what is about to be stored.
    pub(crate) async fn validate(&self, old: Option<&Value<'_>>, new: Option<&Value<'_>>) -> Result<Warnings, Failure> {
        let hooks = &self.server.hooks.validating;
        if hooks.is_empty() {
            return Ok(Warnings::new());
        }
        let options = self.options();
        let name = new.map_or_else(|| self.target.name.clone(), |new| name_of(self.target, new));
        let request = self.asked(&name, &options);
        let wanting: Vec<_> = hooks.iter().filter(|hook| hook.wants(&request)).collect();
        if wanting.is_empty() {
            return Ok(Warnings::new());
        }
        let owned = |object: Option<&Value<'_>>| object.map(|object| serde_json::Value::from(object.clone()));
        let (old, new) = (owned(old), owned(new));
        let mut warnings = Warnings::new();
        for hook in wanting {
            let more = hook.validate(&request, old.as_ref(), new.as_ref()).await;
            warnings.extend(more.map_err(|refusal| refusal.into_status(&self.target.resource.id, &name))?);
        }
        Ok(warnings)
    }

    /// Asks the validating hooks about the removal of what is stored.
    pub(crate) async fn delete(&self, entry: &Entry) -> Result<Warnings, Failure> {
        if self.server.hooks.validating.is_empty() {
            return Ok(Warnings::new());
        }
        let stored = Stored::read(entry.value.clone())?;
        let text = stored.object(&self.target.version().opening, entry.modified);
        self.validate(Some(&text.value()?), None).await
    }
}

fn name_of(target: &Target, object: &Value<'_>) -> String {
    let given = meta::of(object).map_or("", |metadata| meta::text(metadata, "name"));
    if given.is_empty() {
        target.name.clone()
    } else {
        given.to_owned()
    }
}

/// Puts back what a hook may not change.
fn keep_identity(before: &serde_json::Value, after: &mut serde_json::Value) {
    if !after.is_object() {
        *after = before.clone();
        return;
    }
    for member in ["apiVersion", "kind"] {
        after[member] = before[member].clone();
    }
    if !after["metadata"].is_object() {
        after["metadata"] = before["metadata"].clone();
    }
    for member in ["name", "namespace", "uid", "resourceVersion"] {
        match before["metadata"].get(member) {
            Some(value) => after["metadata"][member] = value.clone(),
            None => {
                if let Some(metadata) = after["metadata"].as_object_mut() {
                    metadata.remove(member);
                }
            }
        }
    }
}
