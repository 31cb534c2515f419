//! A Template as an offering of the catalog.

use std::fmt;

use osb_sdk::{Object, Offering, Plan, Schemas};
use serde::de::DeserializeOwned;
use serde_json::json;
use template::{Template, annotation as shared};

use crate::binding::BindingTemplate;
use crate::parameters::{Fixed, Parameters, Purpose, Rules, empty_schema, pattern_of};
use crate::plans::PlanRule;
use crate::{annotation, ids};

const NO_DESCRIPTION: &str = "No description provided.";

/// The largest annotation that is read, in bytes.
const MAX_ANNOTATION: usize = 64 << 10;

/// The most plans of a template.
pub const MAX_PLANS: usize = 100;

/// Which template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which ids are those of the catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// Those of the annotations, else those derived from namespace and name. A template's UID is understood, too.
    #[default]
    Stable,
    /// The UID of the template is the id of its service, as it was for the broker in Go, whose platforms know it.
    Uid,
}

/// A template as a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// Which template.
    pub key: Key,
    /// Its UID; empty where it has none yet.
    pub uid: String,
    /// The version of the object; empty where it has none yet.
    pub version: String,
    /// When it was made, as the server writes it.
    pub created: String,
    /// The offering, under the name that it would like to have.
    pub offering: Offering,
    /// What its plans say of parameters, in the order of the plans.
    pub fixed: Vec<Fixed>,
    /// Its parameters.
    pub parameters: Parameters,
    /// What is wrong with its annotations, and was passed over.
    pub problems: Vec<String>,
}

impl Mapped {
    /// The service of a template.
    pub fn of(template: &Template<'_>, ids: Ids) -> Self {
        let text = |name: &str| {
            template
                .metadata
                .get(name)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        let key = Key {
            namespace: text("namespace").to_owned(),
            name: text("name").to_owned(),
        };
        let mut notes = Notes(Vec::new());
        let rules: Rules = notes.read(template, annotation::PARAMETERS).unwrap_or_default();
        let parameters = Parameters::of(template, &rules);
        for unknown in rules.keys().filter(|name| parameters.get(name).is_none()) {
            notes.say(
                annotation::PARAMETERS,
                format!("names {unknown:?}, which is no parameter"),
            );
        }
        for (name, rule) in &rules {
            if let Some(pattern) = rule.pattern.as_ref().filter(|pattern| pattern_of(pattern).is_none()) {
                let what = format!("the pattern of {name:?} is not checked here, only by platforms: {pattern}");
                notes.say(annotation::PARAMETERS, what);
            }
        }
        let plans = notes.plans(template, &parameters);
        let uid = text("uid").to_owned();
        let id = notes.id(template, &key, &uid, ids);
        let binding = notes.binding(template);
        let mut offering = offering(template, &key, id, is_bindable(template, &binding));
        let mut fixed = Vec::new();
        let polling = notes.seconds(template);
        let version = notes.version(template);
        for (position, rule) in plans.into_iter().enumerate() {
            let values = rule.fixed();
            let first_is_uid = ids == Ids::Uid && position == 0 && !uid.is_empty() && rule.id.is_none();
            let id = match &rule.id {
                Some(id) => id.clone(),
                // What platforms of the broker in Go call it; distinct from the service's id in no other way.
                None if first_is_uid => uid.clone(),
                None => ids::plan(&key.namespace, &key.name, &rule.name),
            };
            let mut plan = plan(rule, id, &offering, &parameters, &values);
            if let (Some(binding), true) = (&binding, plan.bindable.unwrap_or(offering.bindable)) {
                plan.schemas.binding_create = Some(binding.parameters.schema(&Fixed::default(), Purpose::Create));
                plan = plan.binding_rotatable(true);
            }
            plan.maximum_polling_duration = plan.maximum_polling_duration.or(polling);
            if let Some(version) = &version {
                plan = plan.maintenance_version(version.clone());
            }
            offering = offering.plan(plan);
            fixed.push(values);
        }
        offering.plan_updateable = offering.plans.len() > 1;
        Self {
            key,
            uid,
            version: text("resourceVersion").to_owned(),
            created: text("creationTimestamp").to_owned(),
            offering,
            fixed,
            parameters,
            problems: notes.0,
        }
    }

    /// Whether both were made of the very same object.
    pub fn is_same_version(&self, other: &Mapped) -> bool {
        !self.version.is_empty() && (&self.uid, &self.version) == (&other.uid, &other.version)
    }

    /// Where a plan stands among the plans: its id, or the template's UID for the first.
    pub fn position(&self, plan: &str) -> Option<usize> {
        let listed = self.offering.plans.iter().position(|one| one.id == plan);
        listed.or_else(|| (plan == self.uid).then_some(0))
    }

    /// The ids that stand for service and first plan beside those of the catalog.
    pub fn alias(&self) -> Option<(&str, &str)> {
        let known = self.offering.id == self.uid && self.offering.plans.first().is_some_and(|plan| plan.id == self.uid);
        (!known && !self.uid.is_empty()).then_some((self.uid.as_str(), self.uid.as_str()))
    }
}

fn offering(template: &Template<'_>, key: &Key, id: String, bindable: bool) -> Offering {
    let said = |name: &str| template.annotation(name).filter(|text| !text.trim().is_empty());
    let name = said(annotation::SERVICE_NAME).unwrap_or(&key.name);
    let description = said(annotation::DESCRIPTION).unwrap_or(NO_DESCRIPTION);
    let mut offering = Offering::new(id, name, description)
        .bindable(bindable)
        .instances_retrievable(true)
        .bindings_retrievable(true)
        .tags(tags(template.annotation(annotation::TAGS).unwrap_or_default()));
    for (member, name) in [
        ("displayName", annotation::DISPLAY_NAME),
        ("longDescription", annotation::LONG_DESCRIPTION),
        ("providerDisplayName", annotation::PROVIDER),
        ("documentationUrl", annotation::DOCUMENTATION),
        ("supportUrl", annotation::SUPPORT),
        ("imageUrl", annotation::IMAGE),
        ("console.openshift.io/iconClass", annotation::ICON_CLASS),
    ] {
        if let Some(text) = said(name) {
            offering = offering.metadata(member, text);
        }
    }
    offering
}

fn plan(rule: PlanRule, id: String, offering: &Offering, parameters: &Parameters, fixed: &Fixed) -> Plan {
    let bindable = rule.bindable.unwrap_or(offering.bindable);
    let description = rule.description.filter(|text| !text.is_empty());
    let description = description.unwrap_or_else(|| format!("Plan {}", rule.name));
    let form = json!({"service_instance": {"create": {"openshift_form_definition": parameters.form(fixed)}}});
    let mut metadata: Object = rule.metadata;
    metadata.insert("schemas".to_owned(), form);
    let schemas = Schemas {
        instance_create: Some(parameters.schema(fixed, Purpose::Create)),
        instance_update: Some(parameters.schema(fixed, Purpose::Update)),
        binding_create: bindable.then(empty_schema),
    };
    Plan {
        metadata,
        maximum_polling_duration: rule.maximum_polling_duration.filter(|seconds| *seconds > 0),
        ..Plan::new(id, rule.name, description)
            .free(rule.free)
            .bindable(bindable)
            .schemas(schemas)
    }
}

/// Words, each once, without blanks around them.
fn tags(text: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// Whether a bind gives anything: the annotation says so, or it does not say no and an object exposes something. A
/// template that exposes nothing had credentials without members in the broker in Go. Where bindings should have credentials of
/// their own, and cannot, nobody gets those of the instance instead.
fn is_bindable(template: &Template<'_>, binding: &Option<BindingTemplate>) -> bool {
    let exposes = match binding {
        Some(binding) => binding.exposes,
        None if template.annotation(annotation::BINDING_TEMPLATE).is_some() => return false,
        None => exposes_anything(template),
    };
    match template.annotation(shared::BINDABLE) {
        Some(said) if said.eq_ignore_ascii_case("true") => true,
        _ => template.is_bindable() && exposes,
    }
}

/// Whether an object of the template exposes something.
pub(crate) fn exposes_anything(template: &Template<'_>) -> bool {
    template.objects.iter().any(exposes)
}

fn exposes(object: &template::json::Value<'_>) -> bool {
    // Items of lists become objects of their own.
    if object
        .get("items")
        .and_then(|items| items.as_array())
        .is_some_and(|items| items.iter().any(exposes))
    {
        return true;
    }
    let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let names = annotations.and_then(|annotations| annotations.as_object());
    names.is_some_and(|names| {
        let mut names = names.iter().map(|(name, _)| name);
        // A name may also come of parameters.
        names.any(|name| {
            let plain = |prefix: &str| name.strip_prefix(prefix).is_some_and(|key| !key.is_empty());
            plain(shared::EXPOSE) || plain(shared::BASE64_EXPOSE) || name.contains("${")
        })
    })
}

/// What is wrong with annotations: it is told, and the template is offered without it.
struct Notes(Vec<String>);

impl Notes {
    fn say(&mut self, annotation: &str, what: impl fmt::Display) {
        self.0.push(format!("annotation {annotation}: {what}"));
    }

    /// An annotation in YAML or JSON.
    fn read<T: DeserializeOwned>(&mut self, template: &Template<'_>, name: &str) -> Option<T> {
        let text = template.annotation(name)?;
        if text.len() > MAX_ANNOTATION {
            self.say(name, "is larger than 64 KiB");
            return None;
        }
        match serde_saphyr::from_str(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.say(name, error);
                None
            }
        }
    }

    fn plans(&mut self, template: &Template<'_>, parameters: &Parameters) -> Vec<PlanRule> {
        let mut plans: Vec<PlanRule> = self.read(template, annotation::PLANS).unwrap_or_default();
        let (mut names, mut ids) = (Vec::new(), Vec::new());
        plans.truncate(MAX_PLANS);
        plans.retain(|plan| {
            let is_new = !plan.name.is_empty() && !names.contains(&plan.name);
            let has_id = plan.id.as_ref().is_none_or(|id| is_id(id) && !ids.contains(id));
            if !is_new || !has_id {
                self.say(
                    annotation::PLANS,
                    format!("plan {:?}: name or id is missing, wrong or taken", plan.name),
                );
                return false;
            }
            for unknown in plan.parameters.keys().chain(plan.defaults.keys()) {
                if parameters.get(unknown).is_none() {
                    self.say(
                        annotation::PLANS,
                        format!("plan {:?} sets {unknown:?}, which is no parameter", plan.name),
                    );
                }
            }
            names.push(plan.name.clone());
            ids.extend(plan.id.clone());
            true
        });
        if plans.is_empty() {
            plans.push(PlanRule::default_plan());
        }
        plans
    }

    fn binding(&mut self, template: &Template<'_>) -> Option<BindingTemplate> {
        let undoing = BindingTemplate::undoing(template).err();
        let binding = BindingTemplate::of(template);
        let wrong = [binding.as_ref().err(), undoing.as_ref()];
        self.0.extend(wrong.into_iter().flatten().map(ToString::to_string));
        binding.ok().flatten()
    }

    fn id(&mut self, template: &Template<'_>, key: &Key, uid: &str, ids: Ids) -> String {
        if ids == Ids::Uid && !uid.is_empty() {
            return uid.to_owned();
        }
        match template.annotation(annotation::SERVICE_ID) {
            Some(id) if is_id(id) => id.to_owned(),
            Some(_) => {
                self.say(annotation::SERVICE_ID, "is no id: write a UUID");
                ids::service(&key.namespace, &key.name)
            }
            None => ids::service(&key.namespace, &key.name),
        }
    }

    fn seconds(&mut self, template: &Template<'_>) -> Option<u64> {
        let text = template.annotation(annotation::MAXIMUM_POLLING)?;
        let seconds = text.trim().parse().ok().filter(|seconds| *seconds > 0);
        if seconds.is_none() {
            self.say(annotation::MAXIMUM_POLLING, "is no positive number of seconds");
        }
        seconds
    }

    fn version(&mut self, template: &Template<'_>) -> Option<String> {
        let version = template.annotation(annotation::VERSION)?;
        let parts: Vec<&str> = version
            .split(['-', '+'])
            .next()
            .unwrap_or_default()
            .split('.')
            .collect();
        let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.len() == 3 && parts.iter().all(number) {
            return Some(version.to_owned());
        }
        self.say(annotation::VERSION, "is no semantic version: write MAJOR.MINOR.PATCH");
        None
    }
}

/// What can be an id without being escaped in an address.
fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=255).contains(&id.len()) && id.bytes().all(plain) && id != "." && id != ".."
}

#[cfg(test)]
mod tests;
