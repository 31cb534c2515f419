//! A template, read from its document.

use std::borrow::Cow;

use crate::annotation;
use crate::json::{Document, Object, Value};
use crate::problem::{Place, Problem, Problems, Rule, quoted};

/// A template: parameters, and the objects that they are put into.
///
/// Objects are as they stand in the document; nothing is known of their kinds.
#[derive(Clone, Debug, Default)]
pub struct Template<'t> {
    /// Name, namespace, annotations and labels of the template itself; nothing of it reaches the objects.
    pub metadata: Object<'t>,
    /// What is shown to the user afterwards.
    pub message: Option<Cow<'t, str>>,
    /// Labels that every object gets.
    pub labels: Vec<(Cow<'t, str>, Cow<'t, str>)>,
    /// Parameters, in the order of a form.
    pub parameters: Vec<Parameter<'t>>,
    /// The objects.
    pub objects: Vec<Value<'t>>,
    /// What is not as it should be in the document, and was taken all the same.
    pub(crate) taken: Vec<Problem>,
}

/// A parameter of a template.
#[derive(Clone, Debug, Default)]
pub struct Parameter<'t> {
    /// Its name: letters, digits and `_`.
    pub name: Cow<'t, str>,
    /// Its label in a form.
    pub display_name: Cow<'t, str>,
    /// Help for a form.
    pub description: Cow<'t, str>,
    /// The default value; empty where there is none.
    pub value: Cow<'t, str>,
    /// The generator that makes a value where none is given and there is no default: `expression` or `derived`.
    pub generate: Cow<'t, str>,
    /// What the generator works on.
    pub from: Cow<'t, str>,
    /// Whether the value must not be empty in the end.
    pub required: bool,
}

const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "message",
    "objects",
    "parameters",
    "labels",
];

const PARAMETER_FIELDS: &[&str] = &[
    "name",
    "displayName",
    "description",
    "value",
    "generate",
    "from",
    "required",
];

impl<'t> Template<'t> {
    /// Reads a template from its document.
    ///
    /// Numbers and booleans as the value of a parameter are taken as their text; that, fields which a template does not have and
    /// members that stand twice are reported by [`crate::lint`].
    ///
    /// # Errors
    ///
    /// When it is no template, or a field has another type ([`Rule::TemplateShape`]).
    pub fn decode(document: Document<'t>) -> Result<Self, Problems> {
        let mut decoder = Decoder {
            problems: Problems::new(""),
            template: Self::default(),
        };
        for place in document.twice {
            let mend = "keep one of them: only the last one counts";
            let what = "stands more than once";
            decoder.note(Rule::FieldTwice, Place::field(place), what, mend);
        }
        match document.value {
            Value::Object(members) => decoder.members(members),
            other => decoder.wrong(Place::template(), "an object", &other),
        }
        decoder.problems.template = Problems::new(decoder.template.name()).template;
        decoder.problems.check()?;
        Ok(decoder.template)
    }

    /// The template's name; empty where it has none.
    pub fn name(&self) -> &str {
        self.metadata.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// An annotation of the template.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.get("annotations")?.get(name)?.as_str()
    }

    /// Whether instances of it can be bound: unless the annotation `template.openshift.io/bindable` is `false`.
    pub fn is_bindable(&self) -> bool {
        let annotation = self.annotation(annotation::BINDABLE);
        !annotation.is_some_and(|value| value.eq_ignore_ascii_case("false"))
    }

    /// The parameter of a name; of several the last one counts.
    pub fn parameter(&self, name: &str) -> Option<&Parameter<'t>> {
        self.parameters.iter().rev().find(|parameter| parameter.name == name)
    }

    /// The parameters that count, each name once: those whose values [`Template::resolve`] finds, in the same order.
    pub fn declared(&self) -> impl Iterator<Item = &Parameter<'t>> {
        let counting = self.counting();
        let all = self.parameters.iter().enumerate();
        let declared = all.filter(move |(index, parameter)| counting.get(&*parameter.name) == Some(index));
        declared.map(|(_, parameter)| parameter)
    }

    /// Sets a label that every object gets.
    pub fn set_label(&mut self, key: impl Into<Cow<'t, str>>, value: impl Into<Cow<'t, str>>) {
        let (key, value) = (key.into(), value.into());
        self.labels.retain(|(known, _)| *known != key);
        self.labels.push((key, value));
    }
}

struct Decoder<'t> {
    problems: Problems,
    template: Template<'t>,
}

impl<'t> Decoder<'t> {
    fn note(&mut self, rule: Rule, place: Place, what: impl Into<String>, mend: impl Into<String>) {
        if self.template.taken.len() < crate::problem::MAX_PROBLEMS {
            self.template.taken.push(Problem::new(rule, place, what, mend));
        }
    }

    fn wrong(&mut self, place: Place, expected: &str, found: &Value<'_>) {
        let (what, mend) = (format!("is {}", found.what()), format!("write {expected}"));
        self.problems.push(Problem::new(Rule::TemplateShape, place, what, mend));
    }

    fn members(&mut self, members: Object<'t>) {
        for (key, value) in members {
            let place = Place::field(&*key);
            match (&*key, value) {
                ("kind", Value::String(kind)) if kind == "Template" => {}
                ("kind", other) => self.wrong(place, "Template", &other),
                ("apiVersion", Value::String(version)) if is_version(&version) => {}
                ("apiVersion", other) => self.wrong(place, "template.openshift.io/v1", &other),
                ("metadata", Value::Object(metadata)) => self.template.metadata = metadata,
                ("message", Value::String(message)) => self.template.message = Some(message),
                ("labels", Value::Object(labels)) => self.labels(labels),
                ("parameters", Value::Array(parameters)) => self.parameters(parameters),
                ("objects", Value::Array(objects)) => self.template.objects = objects,
                ("metadata" | "message" | "labels" | "parameters" | "objects", Value::Null) => {}
                ("metadata" | "labels", other) => self.wrong(place, "an object", &other),
                ("message", other) => self.wrong(place, "a text", &other),
                ("parameters" | "objects", other) => self.wrong(place, "a list", &other),
                _ => self.unknown(place, &key, FIELDS),
            }
        }
    }

    fn unknown(&mut self, place: Place, key: &str, known: &[&str]) {
        let similar = known.iter().find(|known| known.eq_ignore_ascii_case(key));
        let mend = mend_field(similar);
        self.note(Rule::UnknownField, place, "is no field of a template", mend);
    }

    fn labels(&mut self, labels: Object<'t>) {
        for (key, value) in labels {
            match value {
                Value::String(value) => self.template.labels.push((key, value)),
                other => {
                    let place = Place::field(format!("labels.{}", crate::problem::cut(&key, 100)));
                    self.wrong(place, "a text, in quotes", &other);
                }
            }
        }
    }

    fn parameters(&mut self, parameters: Vec<Value<'t>>) {
        for (index, parameter) in parameters.into_iter().enumerate() {
            match parameter {
                Value::Object(members) => self.parameter(index, members),
                other => self.wrong(Place::parameter(Some(index), ""), "an object with a name", &other),
            }
        }
    }

    fn parameter(&mut self, index: usize, members: Object<'t>) {
        let mut parameter = Parameter::default();
        let name = members
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        for (key, value) in members {
            let place = || Place::parameter(Some(index), &name);
            let field = match &*key {
                "name" => &mut parameter.name,
                "displayName" => &mut parameter.display_name,
                "description" => &mut parameter.description,
                "value" => &mut parameter.value,
                "generate" => &mut parameter.generate,
                "from" => &mut parameter.from,
                "required" => {
                    match value {
                        Value::Bool(required) => parameter.required = required,
                        Value::Null => {}
                        other => self.field(place(), &key, "true or false", &other),
                    }
                    continue;
                }
                _ => {
                    let (what, mend) = unknown_in_parameter(&key);
                    self.note(Rule::UnknownField, place(), what, mend);
                    continue;
                }
            };
            match value {
                Value::String(text) => *field = text,
                Value::Null => {}
                Value::Number(_) | Value::Bool(_) if key == "value" => {
                    let what = format!("has {} as value, which is taken as its text", value.what());
                    self.note(Rule::ParameterValueType, place(), what, "write it in quotes");
                    *field = Cow::Owned(value.to_string());
                }
                other => self.field(place(), &key, "a text, in quotes", &other),
            }
        }
        self.template.parameters.push(parameter);
    }

    fn field(&mut self, place: Place, field: &str, expected: &str, found: &Value<'_>) {
        let what = format!("has {} as {field}", found.what());
        let mend = format!("write {expected}");
        self.problems.push(Problem::new(Rule::TemplateShape, place, what, mend));
    }
}

fn unknown_in_parameter(key: &str) -> (String, String) {
    let what = format!("has {}, which is no field of a parameter", quoted(key));
    let mut known = PARAMETER_FIELDS.iter();
    let similar = known.find(|known| known.eq_ignore_ascii_case(key));
    (what, mend_field(similar))
}

fn mend_field(similar: Option<&&str>) -> String {
    match similar {
        Some(similar) => format!("write {similar}"),
        None => "remove it".to_owned(),
    }
}

fn is_version(version: &str) -> bool {
    matches!(version, "v1" | "template.openshift.io/v1")
}

#[cfg(test)]
mod tests;
