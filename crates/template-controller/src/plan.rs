//! What is to be made of an instance: the objects of its template, in the order in which they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use template::json::{Object, Value};
use template::{Options, Roles, Template, Values};

use crate::discovery::Resource;
use crate::names::{API_VERSION, ON_DELETE, OWNER_LABEL, READY_WHEN, TIMEOUT, WAIT_FOR_READY};
use crate::ready::ReadyWhen;

/// The instance that objects are made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'i> {
    pub(crate) namespace: &'i str,
    pub(crate) name: &'i str,
    pub(crate) uid: &'i str,
}

/// Whether objects may be made in other namespaces than that of their instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossNamespace {
    /// Where the requester may make them.
    #[default]
    Allowed,
    /// Nowhere else, and nothing without a namespace.
    Refused,
}

/// An object of the template, whose resource has still to be found.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Where it stands in the template: `objects[2] (Deployment)`.
    pub(crate) place: String,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    object: Object<'static>,
}

/// An object to be made.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) place: String,
    pub(crate) resource: Resource,
    /// Empty for cluster-scoped objects.
    pub(crate) namespace: String,
    pub(crate) name: String,
    object: Object<'static>,
    pub(crate) stage: Stage,
    /// Whether the instance waits for it.
    pub(crate) waits: bool,
    /// What has to be there before the API server can say anything about the object: positions in the plan.
    pub(crate) needs: BTreeSet<usize>,
}

/// What is made first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Namespaces,
    Definitions,
    /// What others name, and the API server looks at when they are made.
    Accounts,
    Others,
}

impl Stage {
    pub(crate) const ALL: [Stage; 4] = [Stage::Namespaces, Stage::Definitions, Stage::Accounts, Stage::Others];

    pub(crate) fn of(api_version: &str, kind: &str) -> Self {
        match (api_version.split_once('/').map_or("", |(group, _)| group), kind) {
            ("", "Namespace") | ("project.openshift.io", "Project" | "ProjectRequest") => Stage::Namespaces,
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Stage::Definitions,
            ("", "ServiceAccount") => Stage::Accounts,
            (_, "Role" | "ClusterRole") => Stage::Accounts,
            _ => Stage::Others,
        }
    }

    /// Whether the next stage waits until its objects are ready, although nobody asks for it.
    pub(crate) fn is_waited_for(self) -> bool {
        matches!(self, Stage::Namespaces | Stage::Definitions)
    }
}

/// Processes a template: the objects with labels, in the template's order.
///
/// # Errors
/// What is wrong, for people.
pub(crate) fn drafts(
    template: &Template<'_>,
    values: &Values,
    owner: Owner<'_>,
    roles: Roles,
) -> Result<Vec<Draft>, String> {
    let options = Options { roles };
    let processed = template
        .process(values, &options)
        .map_err(|problems| problems.to_string())?;
    let mut drafts = Vec::with_capacity(processed.objects.len());
    for (position, made) in processed.objects.into_iter().enumerate() {
        let Value::Object(mut object) = Value::Object(made.object).into_owned() else {
            continue;
        };
        let place = made.place.to_string();
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if api_version.is_empty() {
            return Err(format!("{place}: has no apiVersion; write one"));
        }
        if !is_version(&api_version) {
            return Err(format!(
                "{place}: has an apiVersion that cannot be one; write GROUP/VERSION, or v1"
            ));
        }
        let metadata =
            member(&mut object, "metadata").ok_or_else(|| format!("{place}: has metadata that is no object"))?;
        name(metadata, owner, position).map_err(|what| format!("{place}: {what}"))?;
        let labels = member(metadata, "labels").ok_or_else(|| format!("{place}: has labels that are no object"))?;
        labels.set(OWNER_LABEL, owner.uid.to_owned());
        drafts.push(Draft {
            place,
            api_version,
            kind,
            object,
        });
    }
    Ok(drafts)
}

/// `v1`, or a group in small letters and a version.
fn is_version(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
            && part.starts_with(|first: char| first.is_ascii_alphanumeric())
    };
    match text.split_once('/') {
        Some((group, version)) => is_part(group) && is_part(version),
        None => is_part(text),
    }
}

/// What can stand between two slashes of a path and mean itself.
fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '%'])
}

/// The object in a member, which is made when there is none.
fn member<'o>(object: &'o mut Object<'static>, name: &'static str) -> Option<&'o mut Object<'static>> {
    if object.get(name).is_none_or(Value::is_null) {
        object.set(name, Object::default());
    }
    object.get_mut(name).and_then(Value::as_object_mut)
}

/// An object without a name of its own gets one that is the same each time, so that it is not made twice.
fn name(metadata: &mut Object<'static>, owner: Owner<'_>, position: usize) -> Result<(), String> {
    let text = |name: &str| {
        metadata
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    if text("name").is_some() {
        return Ok(());
    }
    let prefix = text("generateName").ok_or("has no name; write metadata.name")?;
    metadata.remove("generateName");
    metadata.set("name", format!("{prefix}{}", suffix(owner.uid, position)));
    Ok(())
}

/// Five letters and digits of an instance and a position: FNV-1a, since nothing depends on its being hard to guess.
fn suffix(uid: &str, position: usize) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in uid.bytes().chain(position.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..5)
        .map(|at| char::from(LETTERS[(hash >> (at * 5) & 31) as usize]))
        .collect()
}

/// A resource that a definition in the plan is going to make, before the API server knows of it.
pub(crate) fn defined(drafts: &[Draft], api_version: &str, kind: &str) -> Option<Resource> {
    let (group, version) = api_version.split_once('/')?;
    let text = |value: &Value<'_>| value.as_str().map(str::to_owned);
    drafts
        .iter()
        .filter(|draft| Stage::of(&draft.api_version, &draft.kind) == Stage::Definitions)
        .find_map(|draft| {
            let spec = draft.object.get("spec")?;
            let names = spec.get("names")?;
            let is_it = text(spec.get("group")?)? == group && text(names.get("kind")?)? == kind;
            is_it.then_some(())?;
            Some(Resource {
                api_version: format!("{group}/{version}"),
                kind: kind.to_owned(),
                plural: text(names.get("plural")?)?,
                is_namespaced: text(spec.get("scope")?)? == "Namespaced",
            })
        })
}

/// Puts objects, whose resources have been found, into the order in which they are made.
///
/// # Errors
/// What is wrong, for people, all of it.
pub(crate) fn plan(
    drafts: Vec<(Draft, Resource)>,
    owner: Owner<'_>,
    cross: CrossNamespace,
) -> Result<Vec<Planned>, Vec<String>> {
    let mut planned: Vec<Planned> = Vec::with_capacity(drafts.len());
    let mut wrong = Vec::new();
    let mut facts = Vec::with_capacity(drafts.len());
    for (draft, resource) in drafts {
        let fact = Facts::of(&draft.object);
        match place(draft, resource, owner, cross) {
            Ok(one) => {
                facts.push((one.stage, fact, planned.len()));
                planned.push(one);
            }
            Err(what) => wrong.push(what),
        }
    }
    wrong.extend(twice(&planned));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    facts.sort_by_key(|(stage, _, position)| (*stage, *position));
    let mut by_position: BTreeMap<usize, Planned> = planned.into_iter().enumerate().collect();
    let order = facts.iter().filter_map(|(_, _, position)| by_position.remove(position));
    let mut ordered: Vec<Planned> = order.collect();
    for (at, (_, fact, _)) in facts.iter().enumerate() {
        ordered[at].needs = needs(&ordered, at, fact);
    }
    Ok(ordered)
}

fn twice(planned: &[Planned]) -> Vec<String> {
    let mut seen: BTreeMap<(&str, &str, &str, &str), &str> = BTreeMap::new();
    let mut wrong = Vec::new();
    for one in planned {
        let key = (
            one.resource.group(),
            one.resource.kind.as_str(),
            one.namespace.as_str(),
            one.name.as_str(),
        );
        if let Some(first) = seen.insert(key, &one.place) {
            wrong.push(format!(
                "{}: has the kind, namespace and name of {first}; give them different names",
                one.place
            ));
        }
    }
    wrong
}

fn place(draft: Draft, resource: Resource, owner: Owner<'_>, cross: CrossNamespace) -> Result<Planned, String> {
    let Draft { place, mut object, .. } = draft;
    let metadata = member(&mut object, "metadata").ok_or_else(|| format!("{place}: has metadata that is no object"))?;
    let given = metadata
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    metadata.remove("namespace");
    let namespace = match (resource.is_namespaced, given.as_str()) {
        (false, _) => String::new(),
        (true, "") => owner.namespace.to_owned(),
        (true, given) => given.to_owned(),
    };
    if !namespace.is_empty() && !is_segment(&namespace) {
        return Err(format!("{place}: has a namespace that cannot be one"));
    }
    if cross == CrossNamespace::Refused && namespace != owner.namespace {
        let what = if namespace.is_empty() {
            "is of the whole cluster"
        } else {
            "is in another namespace"
        };
        return Err(format!(
            "{place}: {what}, which the administrator does not allow; leave it out"
        ));
    }
    if !namespace.is_empty() {
        metadata.set("namespace", namespace.clone());
    }
    let is_retained = annotation(metadata, ON_DELETE).is_some_and(|value| value == "retain");
    check_annotations(metadata).map_err(|what| format!("{place}: {what}"))?;
    let waits = annotation(metadata, WAIT_FOR_READY).is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || annotation(metadata, READY_WHEN).is_some();
    let name = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !is_segment(&name) {
        return Err(format!(
            "{place}: has a name that cannot be one; write metadata.name without / and %"
        ));
    }
    if namespace == owner.namespace && !is_retained {
        own(metadata, owner);
    }
    Ok(Planned {
        place,
        stage: Stage::of(&resource.api_version, &resource.kind),
        resource,
        namespace,
        name,
        object,
        waits,
        needs: BTreeSet::new(),
    })
}

fn annotation<'o>(metadata: &'o Object<'_>, name: &str) -> Option<&'o str> {
    metadata.get("annotations")?.get(name)?.as_str()
}

fn check_annotations(metadata: &Object<'_>) -> Result<(), String> {
    if let Some(text) = annotation(metadata, READY_WHEN) {
        ReadyWhen::parse(text).map_err(|why| format!("has an annotation {READY_WHEN} that cannot be read: {why}"))?;
    }
    if let Some(text) = annotation(metadata, TIMEOUT) {
        duration(text).ok_or_else(|| format!("has an annotation {TIMEOUT} that is no time; write 90s, 10m or 2h"))?;
    }
    match annotation(metadata, ON_DELETE) {
        None | Some("delete" | "retain") => Ok(()),
        Some(_) => Err(format!(
            "has an annotation {ON_DELETE} that is unknown; write delete or retain"
        )),
    }
}

/// The instance owns what is in its own namespace, for the garbage collector, beside the owners that the template names.
fn own(metadata: &mut Object<'static>, owner: Owner<'_>) {
    let members = [
        ("apiVersion", API_VERSION),
        ("kind", "TemplateInstance"),
        ("name", owner.name),
        ("uid", owner.uid),
    ];
    let mut reference = Object::default();
    for (name, value) in members {
        reference.set(name, value.to_owned());
    }
    let reference = Value::Object(reference);
    match metadata.get_mut("ownerReferences") {
        Some(Value::Array(owners)) => owners.push(reference),
        _ => metadata.set("ownerReferences", vec![reference]),
    }
}

/// `90s`, `10m`, `2h`, or numbers and units one after the other.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    Some(Duration::from_secs(seconds))
}

/// What an object names that may be in the same template.
#[derive(Debug, Default)]
struct Facts {
    role: Option<(String, String)>,
    account: Option<String>,
}

impl Facts {
    fn of(object: &Object<'_>) -> Self {
        let text = |value: Option<&Value<'_>>| value.and_then(Value::as_str).map(str::to_owned);
        let role = object
            .get("roleRef")
            .and_then(|role| Some((text(role.get("kind"))?, text(role.get("name"))?)));
        let account = match object.get("kind").and_then(Value::as_str) {
            Some("Pod") => object
                .get("spec")
                .and_then(|spec| text(spec.get("serviceAccountName")).or_else(|| text(spec.get("serviceAccount")))),
            _ => None,
        };
        Facts { role, account }
    }
}

/// What of the plan the API server has to know before it can judge this object.
fn needs(planned: &[Planned], at: usize, facts: &Facts) -> BTreeSet<usize> {
    let this = &planned[at];
    let is_needed = |other: &Planned| match (other.stage, other.resource.kind.as_str()) {
        (Stage::Namespaces, _) => other.name == this.namespace,
        (Stage::Definitions, _) => other.name == format!("{}.{}", this.resource.plural, this.resource.group()),
        (_, "ServiceAccount") => facts.account.as_ref() == Some(&other.name) && other.namespace == this.namespace,
        (_, kind @ ("Role" | "ClusterRole")) => {
            let is_named = facts
                .role
                .as_ref()
                .is_some_and(|(role, name)| role == kind && *name == other.name);
            is_named && (other.namespace.is_empty() || other.namespace == this.namespace)
        }
        _ => false,
    };
    let others = planned.iter().enumerate().filter(|(position, _)| *position != at);
    others
        .filter(|(_, other)| is_needed(other))
        .map(|(position, _)| position)
        .collect()
}

/// `ConfigMap ns/name`, without a namespace for what has none.
pub(crate) fn called(kind: &str, namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

impl Planned {
    /// The object as JSON.
    pub(crate) fn text(&self) -> String {
        Value::Object(self.object.clone()).to_string()
    }

    /// The object as JSON, for a change of the one with this uid only.
    pub(crate) fn text_for(&self, uid: &str) -> String {
        let mut object = self.object.clone();
        if let Some(metadata) = member(&mut object, "metadata") {
            metadata.set("uid", uid.to_owned());
        }
        Value::Object(object).to_string()
    }

    /// `ConfigMap ns/name`
    pub(crate) fn called(&self) -> String {
        called(&self.resource.kind, &self.namespace, &self.name)
    }

    /// How the status names it.
    pub(crate) fn reference(&self, uid: Option<String>) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.resource.api_version.clone()),
            kind: Some(self.resource.kind.clone()),
            namespace: Some(self.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(self.name.clone()),
            uid,
            ..ObjectReference::default()
        }
    }

    /// Whether a reference of the status names it; the version of its API may have changed.
    pub(crate) fn is(&self, reference: &ObjectReference) -> bool {
        let version = reference.api_version.as_deref().unwrap_or_default();
        version.split_once('/').map_or("", |(group, _)| group) == self.resource.group()
            && reference.kind.as_deref() == Some(&self.resource.kind)
            && reference.namespace.as_deref().unwrap_or_default() == self.namespace
            && reference.name.as_deref() == Some(&self.name)
    }
}

#[cfg(test)]
mod tests;
