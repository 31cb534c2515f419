//! Making objects of a template and the values of its parameters.

use std::borrow::Cow;

use crate::annotation::WHEN;
use crate::condition::{Condition, ConditionError};
use crate::groups;
use crate::json::{self, Object, Value};
use crate::model::Template;
use crate::problem::{Place, Problem, Problems, Rule, cut, quoted};
use crate::reference::{FunctionFailed, Piece, Reference, Typed, pieces, typed};
use crate::resolve::Values;
use crate::roles::{self, Roles};

/// How much text references may insert into a template, in bytes.
pub const MAX_INSERTED_BYTES: usize = 16 << 20;

/// How deep lists may stand in each other.
const MAX_LISTS: usize = 8;

/// How long the place in an object grows in a message.
const MAX_PLACE_BYTES: usize = 512;

/// How a template is processed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The form of roles and their bindings.
    pub roles: Roles,
}

/// What came of a template.
#[derive(Clone, Debug, Default)]
pub struct Processed<'t> {
    /// What is shown to the user.
    pub message: Option<Cow<'t, str>>,
    /// The labels that every object has.
    pub labels: Vec<(Cow<'t, str>, Cow<'t, str>)>,
    /// The objects, in the order of the template, lists taken apart.
    pub objects: Vec<Made<'t>>,
    /// Places of objects whose condition does not hold.
    pub left_out: Vec<Place>,
}

/// An object that was made.
#[derive(Clone, Debug)]
pub struct Made<'t> {
    /// Where in the template it comes from.
    pub place: Place,
    /// The object.
    pub object: Object<'t>,
}

impl Template<'_> {
    /// Puts values into the objects.
    ///
    /// In one pass over each: conditions, lists taken apart, fixed namespaces removed, references replaced in all texts and
    /// keys, groups of old kinds set, labels added. Pod templates get no labels: they would break selectors.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once: objects that are none or have no kind, keys that become equal, namespaces that refer to
    /// nothing, conditions and functions that cannot be computed, more than [`MAX_INSERTED_BYTES`].
    ///
    /// ```
    /// use template::{Given, Options, SystemRandom, Unknown, document};
    ///
    /// let text = r#"{"kind": "Template", "parameters": [{"name": "N", "value": "3"}],
    ///     "objects": [{"kind": "ConfigMap", "apiVersion": "v1", "data": {"n": "${N}", "next": "${{N}}"}}]}"#;
    /// let template = &document::templates(text).unwrap()[0];
    /// let values = template.resolve(&Given::new(), Unknown::Refused, &mut SystemRandom).unwrap();
    /// let processed = template.process(&values, &Options::default()).unwrap();
    /// assert_eq!(processed.objects[0].object.get("data").unwrap().to_string(), r#"{"n":"3","next":3}"#);
    /// ```
    pub fn process<'a>(&'a self, values: &'a Values, options: &Options) -> Result<Processed<'a>, Problems> {
        let mut processor = Processor {
            filler: Filler {
                values,
                left: MAX_INSERTED_BYTES,
            },
            problems: Problems::new(self.name()),
            labels: Vec::new(),
            options: *options,
        };
        let message = self
            .message
            .as_deref()
            .map(|message| processor.plain("message", message));
        processor.template_labels(&self.labels);
        let mut made = Vec::new();
        let mut left_out = Vec::new();
        for (place, source) in flat(&self.objects, &mut processor.problems) {
            match processor.object(&place, source) {
                Ok(Some(object)) => made.push(Made { place, object }),
                Ok(None) => left_out.push(place),
                Err(problem) => processor.problems.push(*problem),
            }
        }
        processor.problems.check()?;
        Ok(Processed {
            message,
            labels: processor.labels,
            objects: made,
            left_out,
        })
    }
}

/// The place of an object.
pub(crate) fn place(object: String, source: &Value<'_>) -> Place {
    let kind = source["kind"].as_str().unwrap_or_default();
    Place::Object {
        object,
        kind: cut(kind, 100).into_owned(),
        field: String::new(),
    }
}

/// The same place, further inside.
pub(crate) fn inside(place: &Place, field: &str) -> Place {
    let mut place = place.clone();
    if let Place::Object { field: inner, .. } = &mut place {
        *inner = cut(field, MAX_PLACE_BYTES).into_owned();
    }
    place
}

/// The objects, with those of lists in the place of the lists. What is no object is a problem.
pub(crate) fn flat<'a, 't>(objects: &'a [Value<'t>], problems: &mut Problems) -> Vec<(Place, &'a Object<'t>)> {
    let mut found = Vec::with_capacity(objects.len());
    for (index, value) in objects.iter().enumerate() {
        flat_into(&format!("objects[{index}]"), value, MAX_LISTS, problems, &mut found);
    }
    found
}

fn flat_into<'a, 't>(
    at: &str,
    value: &'a Value<'t>,
    depth: usize,
    problems: &mut Problems,
    found: &mut Vec<(Place, &'a Object<'t>)>,
) {
    let here = place(at.to_owned(), value);
    let mut wrong = |what: String, mend: &str| problems.push(Problem::new(Rule::ObjectShape, here.clone(), what, mend));
    let Value::Object(object) = value else {
        return wrong(
            format!("is {}", value.what()),
            "write an object with apiVersion and kind",
        );
    };
    match object.get("kind").and_then(Value::as_str) {
        Some("List") => {}
        Some("") | None => return wrong("has no kind".to_owned(), "write apiVersion and kind"),
        Some(_) => return found.push((here, object)),
    }
    let Some(items) = object.get("items").and_then(Value::as_array) else {
        return wrong("is a List without items".to_owned(), "write items, a list of objects");
    };
    if depth == 0 {
        return wrong(
            "has lists nested too deeply".to_owned(),
            "put the objects into one list",
        );
    }
    for (index, item) in items.iter().enumerate() {
        flat_into(&format!("{at}.items[{index}]"), item, depth - 1, problems, found);
    }
}

struct Processor<'a> {
    filler: Filler<'a>,
    problems: Problems,
    labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    options: Options,
}

/// What cannot be done, at a place inside of an object that grows on the way out.
struct Failed {
    field: String,
    rule: Rule,
    what: String,
    mend: &'static str,
}

impl Failed {
    fn new(rule: Rule, what: impl Into<String>, mend: &'static str) -> Box<Self> {
        Box::new(Self {
            field: String::new(),
            rule,
            what: what.into(),
            mend,
        })
    }

    fn function(reference: &Reference<'_>, failed: FunctionFailed) -> Box<Self> {
        let what = format!("has a function of {}, but {failed}", cut(reference.name, 100));
        Self::new(
            Rule::FunctionFailed,
            what,
            "give another value, or leave the function out",
        )
    }

    fn too_much() -> Box<Self> {
        Self::new(
            Rule::ObjectSize,
            "inserts more than 16 MiB",
            "give smaller values, or refer to them less often",
        )
    }

    fn under(mut self: Box<Self>, parent: &str) -> Box<Self> {
        if self.field.is_empty() {
            self.field = cut(parent, MAX_PLACE_BYTES).into_owned();
        } else {
            json::read::under(&mut self.field, parent);
        }
        self
    }

    fn at(self, place: &Place) -> Problem {
        Problem::new(self.rule, inside(place, &self.field), self.what, self.mend)
    }

    fn in_template(mut self: Box<Self>, field: &str) -> Problem {
        self = self.under(field);
        Problem::new(self.rule, Place::field(self.field), self.what, self.mend)
    }
}

type Fill<T> = Result<T, Box<Failed>>;

impl<'a> Processor<'a> {
    /// The text of the message or of a label, in which `${{NAME}}` is text, too.
    fn plain(&mut self, field: &str, text: &'a str) -> Cow<'a, str> {
        self.filler.plain(text).unwrap_or_else(|failed| {
            self.problems.push(failed.in_template(field));
            Cow::Borrowed("")
        })
    }

    fn template_labels(&mut self, labels: &'a [(Cow<'_, str>, Cow<'_, str>)]) {
        let mut filled = Object::with_capacity(labels.len());
        for (key, value) in labels {
            let key = self.plain("labels", key);
            let value = self.plain("labels", value);
            filled.push(key, Value::String(value));
        }
        if let Some(key) = filled.twice() {
            let what = format!("has the key {} twice when references are replaced", shown(labels, key));
            let mend = "give the parameters different values, or write one label";
            self.problems
                .push(Problem::new(Rule::KeyTwice, Place::field("labels"), what, mend));
        }
        self.labels = filled
            .into_iter()
            .filter_map(|(key, value)| match value {
                Value::String(value) => Some((key, value)),
                _ => None,
            })
            .collect();
    }

    /// Makes an object; `None` when its condition does not hold.
    fn object(&mut self, place: &Place, source: &'a Object<'_>) -> Result<Option<Object<'a>>, Box<Problem>> {
        if !self.is_wanted(source).map_err(|failed| Box::new(failed.at(place)))? {
            return Ok(None);
        }
        let made = self.filler.root(source).and_then(|mut object| {
            if object.get("kind").and_then(Value::as_str).is_none_or(str::is_empty) {
                let mend = "give the parameter a value";
                return Err(
                    Failed::new(Rule::ObjectShape, "becomes no kind when references are replaced", mend).under("kind"),
                );
            }
            self.set_group(&mut object);
            self.set_labels(&mut object)?;
            Ok(object)
        });
        made.map(Some).map_err(|failed| Box::new(failed.at(place)))
    }

    fn is_wanted(&self, source: &Object<'_>) -> Fill<bool> {
        let Some(text) = condition(source) else {
            return Ok(true);
        };
        let holds = text.and_then(|text| Condition::parse(text)?.holds(&|name| self.filler.values.get(name)));
        holds.map_err(|error| {
            let what = format!("has a condition that {error}");
            Failed::new(Rule::When, what, CONDITION)
                .under(WHEN)
                .under("metadata.annotations")
        })
    }

    fn set_group(&self, object: &mut Object<'a>) {
        let text = |name| object.get(name).and_then(Value::as_str);
        let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            return;
        };
        let is_role = roles::is_role(kind) && self.options.roles == Roles::Kubernetes;
        if is_role && matches!(version, "v1" | "authorization.openshift.io/v1") {
            roles::to_kubernetes(object);
        } else if version == "v1"
            && let Some(version) = groups::version_of(kind)
        {
            object.set("apiVersion", version);
        }
    }

    fn set_labels(&self, object: &mut Object<'a>) -> Fill<()> {
        if self.labels.is_empty() {
            return Ok(());
        }
        let wrong = |field: &str, found: &str| {
            let what = format!("is {found}, so that the labels of the template have no place");
            Err(Failed::new(Rule::ObjectShape, what, "write an object").under(field))
        };
        let metadata = match child(object, "metadata") {
            Ok(metadata) => metadata,
            Err(found) => return wrong("metadata", found),
        };
        let labels = match child(metadata, "labels") {
            Ok(labels) => labels,
            Err(found) => return wrong("metadata.labels", found),
        };
        if labels.len() > 16 && self.labels.len() > 16 {
            let own: std::collections::HashSet<&str> = self.labels.iter().map(|(key, _)| &**key).collect();
            labels.retain(|key, _| !own.contains(key));
        } else {
            labels.retain(|key, _| !self.labels.iter().any(|(own, _)| own == key));
        }
        for (key, value) in &self.labels {
            labels.push(key.clone(), Value::String(value.clone()));
        }
        Ok(())
    }
}

/// What to write where a condition is wrong.
pub(crate) const CONDITION: &str = "write NAME, !NAME, NAME == 'text' or NAME != 'text', with && and || between them";

/// The condition of an object, if it has one.
pub(crate) fn condition<'o>(object: &'o Object<'_>) -> Option<Result<&'o str, ConditionError>> {
    let condition = object.get("metadata")?.get("annotations")?.get(WHEN)?;
    Some(condition.as_str().ok_or(ConditionError::Syntax {
        position: 0,
        what: "it is no text",
    }))
}

/// The key of a label as it stands in the template: what became of it may be somebody's value.
fn shown(labels: &[(Cow<'_, str>, Cow<'_, str>)], key: &str) -> String {
    let mut sources = labels.iter().map(|(source, _)| &**source);
    let source = sources.find(|source| *source != key && source.contains("${"));
    quoted(source.unwrap_or(key))
}

/// The object in a member, which is made when it is missing or null.
fn child<'o, 't>(object: &'o mut Object<'t>, name: &'static str) -> Result<&'o mut Object<'t>, &'static str> {
    if object.get(name).is_none_or(Value::is_null) {
        object.set(name, Object::default());
    }
    match object.get_mut(name) {
        Some(Value::Object(members)) => Ok(members),
        Some(other) => Err(other.what()),
        None => Err("nothing"),
    }
}

/// Replaces references.
struct Filler<'a> {
    values: &'a Values,
    left: usize,
}

impl<'a> Filler<'a> {
    fn spend(&mut self, bytes: usize) -> Fill<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(Failed::too_much)?;
        Ok(())
    }

    /// A whole object: in its metadata the namespace is special, and the condition goes.
    fn root(&mut self, source: &'a Object<'_>) -> Fill<Object<'a>> {
        let has_metadata = source.get("metadata").is_some();
        self.members(source, |filler, key, value| match (key, value) {
            ("metadata", Value::Object(metadata)) => filler.metadata(metadata).map(Value::Object).map(Some),
            ("namespace", value) if !has_metadata => filler.namespace(value),
            (_, value) => filler.value(value).map(Some),
        })
    }

    fn metadata(&mut self, source: &'a Object<'_>) -> Fill<Object<'a>> {
        self.members(source, |filler, key, value| match (key, value) {
            ("namespace", value) => filler.namespace(value),
            ("annotations", Value::Object(annotations)) if annotations.get(WHEN).is_some() => {
                let kept = filler.members(annotations, |filler, key, value| {
                    let kept = (key != WHEN).then(|| filler.value(value));
                    kept.transpose()
                })?;
                Ok((!kept.is_empty()).then_some(Value::Object(kept)))
            }
            (_, value) => filler.value(value).map(Some),
        })
    }

    /// The namespace of an object: removed where it is fixed, empty where it is nothing or no text.
    fn namespace(&mut self, source: &'a Value<'_>) -> Fill<Option<Value<'a>>> {
        let Value::String(text) = source else {
            return Ok(Some("".into()));
        };
        let names = namespace_references(text);
        let unknown = names.iter().find(|name| self.values.get(name).is_none());
        if let Some(name) = unknown {
            let what = format!("refers to {}, which is no parameter", cut(name, 100));
            return Err(Failed::new(
                Rule::Namespace,
                what,
                "declare the parameter, or leave the namespace out",
            ));
        }
        if names.is_empty() {
            return Ok(text.is_empty().then(|| "".into()));
        }
        self.plain(text).map(Value::String).map(Some)
    }

    /// The members, each as `fill` makes it; `None` leaves it out.
    fn members<'s, 't: 'a>(
        &mut self,
        source: &'a Object<'t>,
        mut fill: impl FnMut(&mut Self, &str, &'a Value<'t>) -> Fill<Option<Value<'a>>>,
    ) -> Fill<Object<'a>> {
        let mut made = Object::with_capacity(source.len());
        let mut is_changed = false;
        for (key, value) in source.members() {
            let filled = fill(self, key, value).map_err(|failed| failed.under(key))?;
            let Some(filled) = filled else { continue };
            if memchr::memchr(b'$', key.as_bytes()).is_none() {
                made.push(Cow::Borrowed(key), filled);
                continue;
            }
            let new = self.key(key).map_err(|failed| failed.under(key))?;
            is_changed |= new != *key;
            made.push(new, filled);
        }
        if is_changed && let Some(twice) = made.twice() {
            // Named as it stands in the template: what became of it may be somebody's value.
            let mut keys = source.members().iter().map(|(key, _)| &**key);
            let written = keys.find(|key| key.contains("${") && self.key(key).is_ok_and(|key| key == twice));
            let what = format!(
                "has the key {} twice when references are replaced",
                quoted(written.unwrap_or_default())
            );
            return Err(Failed::new(
                Rule::KeyTwice,
                what,
                "give the parameters different values, or write one key",
            ));
        }
        Ok(made)
    }

    /// A key: the text of the value, also where the whole key is `${{NAME}}`; without quotes where it is a text of JSON.
    fn key(&mut self, text: &'a str) -> Fill<Cow<'a, str>> {
        let value = match typed(text) {
            Some(Typed::Reference(_)) => self.plain(text)?,
            _ => return self.plain(text),
        };
        if value.trim_start().starts_with('"')
            && let Ok(document) = json::read(&value)
            && let Value::String(inner) = document.value
        {
            return Ok(Cow::Owned(inner.into_owned()));
        }
        Ok(value)
    }

    fn value(&mut self, source: &'a Value<'_>) -> Fill<Value<'a>> {
        match source {
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                let mut made = Vec::with_capacity(items.len());
                for (position, item) in items.iter().enumerate() {
                    let item = self
                        .value(item)
                        .map_err(|failed| failed.under(&format!("[{position}]")))?;
                    made.push(item);
                }
                Ok(Value::Array(made))
            }
            Value::Object(members) => {
                let made = self.members(members, |filler, _, value| filler.value(value).map(Some));
                made.map(Value::Object)
            }
            scalar => Ok(scalar.borrowed()),
        }
    }

    fn string(&mut self, text: &'a str) -> Fill<Value<'a>> {
        if memchr::memchr(b'$', text.as_bytes()).is_none() {
            return Ok(Value::String(Cow::Borrowed(text)));
        }
        match typed(text) {
            Some(Typed::Reference(reference)) => match self.values.get(reference.name) {
                Some(value) => self.typed(&reference, value),
                None => Ok(text.into()),
            },
            Some(Typed::Escaped(head, tail)) => Ok(format!("{head}{tail}").into()),
            None => self.text(text).map(Value::String),
        }
    }

    /// A value as JSON, or as text where it is none.
    fn typed(&mut self, reference: &Reference<'_>, value: &'a str) -> Fill<Value<'a>> {
        let text = reference
            .apply(value)
            .map_err(|failed| Failed::function(reference, failed))?;
        // Lists and objects take more memory than text.
        let is_tree = text.trim_start().starts_with(['[', '{']);
        self.spend(text.len() * if is_tree { 8 } else { 1 })?;
        Ok(match text {
            Cow::Borrowed(text) => match json::read(text) {
                Ok(document) => document.value,
                Err(_) => text.into(),
            },
            Cow::Owned(text) => match json::read(&text) {
                Ok(document) => document.value.into_owned(),
                Err(_) => text.into(),
            },
        })
    }

    /// A key, the message or a label: always a text.
    fn plain(&mut self, text: &'a str) -> Fill<Cow<'a, str>> {
        match typed(text) {
            Some(Typed::Reference(reference)) => match self.values.get(reference.name) {
                None => Ok(Cow::Borrowed(text)),
                Some(value) => {
                    let value = reference
                        .apply(value)
                        .map_err(|failed| Failed::function(&reference, failed))?;
                    self.spend(value.len())?;
                    Ok(value)
                }
            },
            Some(Typed::Escaped(head, tail)) => Ok(Cow::Owned(format!("{head}{tail}"))),
            None => self.text(text),
        }
    }

    fn text(&mut self, text: &'a str) -> Fill<Cow<'a, str>> {
        let mut out: Option<String> = None;
        let mut done = 0;
        for piece in pieces(text) {
            let (length, new) = match piece {
                Piece::Text(text) => (text.len(), None),
                Piece::Escaped(head, tail) => {
                    let written = head.len() + "|literal".len() + tail.len();
                    (written, Some(Cow::Owned(format!("{head}{tail}"))))
                }
                Piece::Reference(reference, whole) => {
                    let value = match self.values.get(reference.name) {
                        Some(value) => reference.apply(value).map(Some),
                        None => Ok(None),
                    };
                    (
                        whole.len(),
                        value.map_err(|failed| Failed::function(&reference, failed))?,
                    )
                }
            };
            if let Some(new) = new {
                self.spend(new.len())?;
                if length == text.len() {
                    return Ok(new);
                }
                out.get_or_insert_with(|| text[..done].to_owned()).push_str(&new);
            } else if let Some(out) = &mut out {
                out.push_str(&text[done..done + length]);
            }
            done += length;
        }
        Ok(out.map_or(Cow::Borrowed(text), Cow::Owned))
    }
}

/// The parameters that a namespace refers to; none where it is fixed.
pub(crate) fn namespace_references(text: &str) -> Vec<&str> {
    match typed(text) {
        Some(Typed::Reference(reference)) => vec![reference.name],
        _ => crate::resolve::references(text).collect(),
    }
}

#[cfg(test)]
mod tests;
