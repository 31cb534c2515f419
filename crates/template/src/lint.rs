//! What is wrong with a template, or looks like it, before anybody processes it.

use std::collections::{HashMap, HashSet};

use apimachinery::meta::{label_value_problems, qualified_name_problems};

use crate::annotation::WHEN;
use crate::condition::{Condition, ConditionError};
use crate::expose::{self, ExposeError};
use crate::generator::Expression;
use crate::groups;
use crate::json::{Object, Value};
use crate::model::{Parameter, Template};
use crate::problem::{MAX_PROBLEMS, Place, Problem, Problems, Rule, Severity, cut, quoted};
use crate::process::{CONDITION, condition, flat, inside, namespace_references};
use crate::reference::{Function, Piece, Typed, is_name_byte, pieces, typed};
use crate::resolve::{is_derived, references, unknown_generator, unknown_in_derived};

/// How many findings there are at most of a rule.
const MAX_OF_A_RULE: usize = MAX_PROBLEMS;

/// Everything that is wrong or remarkable: first what concerns the template, then parameters, then objects, in their order.
///
/// ```
/// use template::{Rule, document, lint::lint};
///
/// let text = r#"{"kind": "Template", "parameters": [{"name": "A"}], "objects": [
///     {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${B}"}}]}"#;
/// let rules: Vec<Rule> = lint(&document::templates(text).unwrap()[0]).iter().map(|finding| finding.rule).collect();
/// assert_eq!(rules, [Rule::ExposeNothing, Rule::ParameterUnused, Rule::NameUnknown]);
/// ```
pub fn lint(template: &Template<'_>) -> Vec<Problem> {
    let mut linter = Linter::new(template);
    linter.objects();
    linter.template();
    linter.parameters();
    linter.sorted()
}

/// What must not be, for whoever stores a template: the findings of [`lint`] that are errors.
///
/// # Errors
///
/// When there is one.
pub fn validate(template: &Template<'_>) -> Result<(), Problems> {
    let mut problems = Problems::new(template.name());
    let findings = lint(template).into_iter();
    findings
        .filter(|finding| finding.rule.severity() == Severity::Error)
        .for_each(|finding| problems.push(finding));
    problems.check()
}

struct Linter<'t> {
    template: &'t Template<'t>,
    known: HashMap<&'t str, usize>,
    used: HashSet<&'t str>,
    exposes: bool,
    found: Vec<Problem>,
    counts: HashMap<Rule, usize>,
}

impl<'t> Linter<'t> {
    fn new(template: &'t Template<'_>) -> Self {
        Self {
            template,
            known: template.counting(),
            used: HashSet::new(),
            exposes: false,
            found: Vec::new(),
            counts: HashMap::new(),
        }
    }

    fn find(&mut self, rule: Rule, place: Place, what: impl Into<String>, mend: impl Into<String>) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= MAX_OF_A_RULE {
            self.found.push(Problem::new(rule, place, what, mend));
        }
    }

    fn sorted(self) -> Vec<Problem> {
        let mut found = self.template.taken.clone();
        found.extend(self.found);
        // Objects were gone through first, to know which parameters are used.
        found.sort_by_key(|problem| match &problem.place {
            Place::Template { .. } => (0, 0),
            Place::Parameter { index, .. } => (1, index.unwrap_or_default()),
            Place::Object { object, .. } => {
                let index = object.trim_start_matches("objects[").split(']').next();
                (2, index.and_then(|index| index.parse().ok()).unwrap_or_default())
            }
        });
        found
    }

    fn template(&mut self) {
        let template = self.template;
        if let Some(message) = template.message.as_deref() {
            self.text(&Place::field("message"), message, &mut HashSet::new());
        }
        let mut seen = HashSet::new();
        for (key, value) in &template.labels {
            let place = Place::field("labels");
            self.text(&place, key, &mut seen);
            self.text(&place, value, &mut seen);
            if references(key).next().is_none() && references(value).next().is_none() {
                self.label(key, value);
            }
        }
        if !self.exposes && template.is_bindable() && !template.objects.is_empty() {
            let mend = format!(
                "annotate a Secret with {}NAME, or the template with bindable \"false\"",
                crate::annotation::EXPOSE
            );
            self.find(
                Rule::ExposeNothing,
                Place::template(),
                "exposes nothing, so that bindings have no credentials",
                mend,
            );
        }
    }

    /// Labels are checked before an API server refuses every object for them.
    fn label(&mut self, key: &str, value: &str) {
        if !qualified_name_problems(key).is_empty() || !label_value_problems(value).is_empty() {
            let what = format!("has {}, whose key or value no label can have", quoted(key));
            let mend = "use letters, digits, -, _ and . in at most 63 characters, with a letter or digit at both ends";
            self.find(Rule::Labels, Place::field("labels"), what, mend);
        }
    }

    fn parameters(&mut self) {
        let template = self.template;
        let mut seen: HashSet<&str> = HashSet::new();
        for (index, parameter) in template.parameters.iter().enumerate() {
            let place = || Place::parameter(Some(index), &parameter.name);
            let is_name = !parameter.name.is_empty() && parameter.name.bytes().all(is_name_byte);
            if !is_name {
                let mend = "write letters, digits and _ only";
                self.find(
                    Rule::ParameterName,
                    place(),
                    "has a name that references cannot have",
                    mend,
                );
            } else if !seen.insert(&parameter.name) {
                let mend = "keep one of them: only the last one counts";
                self.find(Rule::ParameterTwice, place(), "is declared more than once", mend);
            } else if !self.used.contains(&*parameter.name) {
                let mend = format!("write ${{{}}} somewhere, or remove it", cut(&parameter.name, 100));
                self.find(Rule::ParameterUnused, place(), "is not used", mend);
            }
            self.generator(&place, parameter);
            self.default(&place, parameter);
        }
        self.cycles();
    }

    fn generator(&mut self, place: &dyn Fn() -> Place, parameter: &'t Parameter<'_>) {
        match &*parameter.generate {
            "" => {}
            "expression" => match Expression::parse(&parameter.from) {
                Ok(expression) if expression.is_constant() && !parameter.from.is_empty() => {
                    let mend = "write sets such as [a-zA-Z0-9]{16}, or make it the value";
                    self.find(
                        Rule::ParameterConstant,
                        place(),
                        "generates the same text each time",
                        mend,
                    );
                }
                Ok(_) => {}
                Err(error) => {
                    let what = format!(
                        "has a bad expression at byte {} of from: {}",
                        error.position, error.what
                    );
                    self.find(Rule::ParameterExpression, place(), what, error.mend);
                }
            },
            "derived" => {
                for piece in pieces(&parameter.from) {
                    if let Piece::Reference(reference, whole) = piece
                        && !self.known.contains_key(reference.name)
                    {
                        let (rule, what, mend) = unknown_in_derived(whole);
                        self.find(rule, place(), what, mend);
                    }
                }
            }
            _ => {
                let (what, mend) = unknown_generator(parameter);
                self.find(Rule::ParameterGenerator, place(), what, mend);
            }
        }
    }

    /// A default with references to parameters, which others hoped would be replaced, too.
    fn default(&mut self, place: &dyn Fn() -> Place, parameter: &Parameter<'_>) {
        let mut names = references(&parameter.value);
        if let Some(name) = names.find(|name| self.known.contains_key(name)) {
            let what = format!("refers to {} in its value, which is not replaced", cut(name, 100));
            let mend = "write generate: derived and put the text into from, or leave it if it is meant as it stands";
            self.find(Rule::ParameterDefault, place(), what, mend);
        }
    }

    /// Derived parameters that need themselves. That is found as processing finds it: without values, and with nothing drawn.
    fn cycles(&mut self) {
        let mut bare = Template::default();
        let derived = self
            .template
            .parameters
            .iter()
            .filter(|parameter| is_derived(parameter));
        bare.parameters.extend(derived.map(|parameter| Parameter {
            name: parameter.name.as_ref().into(),
            generate: "derived".into(),
            from: parameter.from.as_ref().into(),
            ..Parameter::default()
        }));
        let positions: HashMap<&str, usize> = bare.counting();
        if let Some((name, what)) = crate::resolve::cycle(&bare, positions.values().copied().collect()) {
            let place = Place::parameter(self.known.get(name.as_str()).copied(), &name);
            self.find(Rule::ParameterDerived, place, what, "give one of them a value");
        }
    }

    fn objects(&mut self) {
        let template = self.template;
        for parameter in template.parameters.iter().filter(|parameter| is_derived(parameter)) {
            self.used.extend(references(&parameter.from));
        }
        for text in template
            .message
            .iter()
            .chain(template.labels.iter().flat_map(|(key, value)| [key, value]))
        {
            self.used.extend(references(text));
            self.used.extend(typed_name(text));
        }
        let mut problems = Problems::new("");
        let mut names: HashMap<[&str; 4], String> = HashMap::new();
        let mut exposed: HashMap<String, String> = HashMap::new();
        for (place, object) in flat(&template.objects, &mut problems) {
            self.object(&place, object);
            self.twice(&place, object, &mut names);
            self.exposed(&place, object, &mut exposed);
        }
        self.found.extend(problems.problems);
    }

    fn object(&mut self, place: &Place, object: &'t Object<'t>) {
        let metadata = object.get("metadata");
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if version.is_empty() {
            self.find(
                Rule::ObjectVersion,
                place.clone(),
                "has no apiVersion",
                "write one, such as v1 or apps/v1",
            );
        }
        if groups::needs_openshift(version, kind) {
            let what = "needs a cluster that serves the groups of OpenShift";
            self.find(Rule::OpenShift, place.clone(), what, "");
        }
        let name = metadata.and_then(|metadata| metadata.get("name"));
        let fields = [
            ("apiVersion", object.get("apiVersion")),
            ("kind", object.get("kind")),
            ("metadata.name", name),
        ];
        let mut seen = HashSet::new();
        for (field, value) in fields {
            self.essential(place, field, value, &mut seen);
        }
        self.namespace(
            place,
            metadata.and_then(|metadata| metadata.get("namespace")),
            &mut seen,
        );
        self.condition(place, object);
        self.labels(place, metadata);
        self.members(place, &mut String::new(), object, &mut seen);
    }

    /// What an object cannot do without has no reference left.
    fn essential(&mut self, place: &Place, field: &str, value: Option<&'t Value<'_>>, seen: &mut HashSet<&'t str>) {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        let unknown = references(text)
            .chain(typed_name(text))
            .find(|name| !self.known.contains_key(name));
        if let Some(name) = unknown {
            seen.insert(name);
            let what = format!("refers to {}, which is no parameter", cut(name, 100));
            self.find(
                Rule::NameUnknown,
                inside(place, field),
                what,
                "declare the parameter, or correct the name",
            );
        }
    }

    fn namespace(&mut self, place: &Place, value: Option<&'t Value<'_>>, seen: &mut HashSet<&'t str>) {
        let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) else {
            return;
        };
        let place = inside(place, "metadata.namespace");
        let names = namespace_references(text);
        if let Some(name) = names.iter().find(|name| !self.known.contains_key(*name)) {
            let name: &'t str = name;
            seen.insert(name);
            let what = format!("refers to {}, which is no parameter", cut(name, 100));
            self.find(
                Rule::Namespace,
                place,
                what,
                "declare the parameter, or leave the namespace out",
            );
        } else if names.is_empty() {
            let what = "is fixed and will be removed: the object goes where the instance is";
            self.find(
                Rule::NamespaceRemoved,
                place,
                what,
                "leave it out, or make it a parameter",
            );
        }
    }

    fn condition(&mut self, place: &Place, object: &'t Object<'_>) {
        let Some(text) = condition(object) else { return };
        let checked = text.and_then(|text| {
            let condition = Condition::parse(text)?;
            for name in condition.names() {
                match self.known.get_key_value(name) {
                    Some((name, _)) => self.used.insert(name),
                    None => return Err(ConditionError::Unknown(name.to_owned())),
                };
            }
            Ok(())
        });
        if let Err(error) = checked {
            let place = inside(place, &format!("metadata.annotations.{WHEN}"));
            self.find(Rule::When, place, format!("has a condition that {error}"), CONDITION);
        }
    }

    fn labels(&mut self, place: &Place, metadata: Option<&Value<'_>>) {
        let labels = metadata.and_then(|metadata| metadata.get("labels"));
        for (key, value) in labels
            .and_then(Value::as_object)
            .iter()
            .flat_map(|labels| labels.iter())
        {
            if !matches!(value, Value::String(_)) {
                let place = inside(place, &format!("metadata.labels.{}", cut(key, 100)));
                self.find(
                    Rule::Labels,
                    place,
                    format!("is {}", value.what()),
                    "write a text, in quotes",
                );
            }
        }
    }

    fn twice(&mut self, place: &Place, object: &'t Object<'_>, names: &mut HashMap<[&'t str; 4], String>) {
        let of = |value: Option<&'t Value<'_>>| value.and_then(Value::as_str).unwrap_or_default();
        let metadata = object.get("metadata");
        let name = of(metadata.and_then(|metadata| metadata.get("name")));
        // Of two with a condition each may stand for the other.
        if name.is_empty() || condition(object).is_some() {
            return;
        }
        let namespace = of(metadata.and_then(|metadata| metadata.get("namespace")));
        let namespace = if namespace_references(namespace).is_empty() {
            ""
        } else {
            namespace
        };
        let group = of(object.get("apiVersion"))
            .split_once('/')
            .map_or("", |(group, _)| group);
        let key = [group, of(object.get("kind")), name, namespace];
        if let Some(first) = names.insert(key, place.to_string()) {
            let what = format!("has the same kind, name and namespace as {first}");
            self.find(Rule::ObjectTwice, place.clone(), what, "give it another name");
        }
    }

    fn exposed(&mut self, place: &Place, object: &Object<'_>, exposed: &mut HashMap<String, String>) {
        let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
        let Some(annotations) = annotations.and_then(Value::as_object) else {
            return;
        };
        let texts = annotations
            .iter()
            .filter_map(|(name, value)| Some((filled(name), filled(value.as_str()?))));
        let texts: Vec<(String, String)> = texts.collect();
        let place = inside(place, "metadata.annotations");
        match expose::exposures(texts.iter().map(|(name, text)| (&**name, &**text))) {
            Ok(exposures) => {
                for exposure in exposures {
                    self.exposes = true;
                    if let Some(first) = exposed.get(&exposure.key) {
                        let what = format!("exposes {}, as {first} does", quoted(&exposure.key));
                        self.find(Rule::ExposeKey, place.clone(), what, "give one of them another name");
                    } else if condition(object).is_none() {
                        // Of two with a condition each may stand for the other.
                        exposed.insert(exposure.key, place.to_string());
                    }
                }
            }
            Err(error) => {
                self.exposes = true;
                let rule = match error {
                    ExposeError::NoKey | ExposeError::Twice { .. } => Rule::ExposeKey,
                    _ => Rule::ExposePath,
                };
                self.find(rule, place, error.to_string(), "");
            }
        }
    }

    fn value(&mut self, place: &Place, field: &mut String, value: &'t Value<'t>, seen: &mut HashSet<&'t str>) {
        match value {
            Value::String(text) if text.contains("${") => self.text(&inside(place, field), text, seen),
            Value::Array(items) => {
                for (position, item) in items.iter().enumerate() {
                    let length = field.len();
                    field.push_str(&format!("[{position}]"));
                    self.value(place, field, item, seen);
                    field.truncate(length);
                }
            }
            Value::Object(members) => self.members(place, field, members, seen),
            _ => {}
        }
    }

    fn members(&mut self, place: &Place, field: &mut String, members: &'t Object<'t>, seen: &mut HashSet<&'t str>) {
        for (key, value) in members.members() {
            let length = field.len();
            field.push_str(if length == 0 { "" } else { "." });
            field.push_str(&cut(key, 100));
            if key.contains("${") {
                self.text(&inside(place, field), key, seen);
            }
            self.value(place, field, value, seen);
            field.truncate(length);
        }
    }

    /// The references of a text; an unknown name is told once for each object.
    fn text(&mut self, place: &Place, text: &'t str, seen: &mut HashSet<&'t str>) {
        if let Some(name) = typed_name(text) {
            self.name(place, name, "${{NAME}}", seen);
            return;
        }
        for piece in pieces(text) {
            if let Piece::Reference(reference, _) = piece {
                self.name(place, reference.name, "${NAME}", seen);
            }
        }
        self.near_misses(place, text);
    }

    fn name(&mut self, place: &Place, name: &'t str, form: &str, seen: &mut HashSet<&'t str>) {
        self.used.insert(name);
        if self.known.contains_key(name) || !seen.insert(name) {
            return;
        }
        let similar = self.known.keys().find(|known| known.eq_ignore_ascii_case(name));
        let mend = match similar {
            Some(similar) => format!("write {}", form.replace("NAME", similar)),
            None => "declare the parameter, or leave it if it is meant as it stands".to_owned(),
        };
        let what = format!(
            "has {}, which is no parameter and stays",
            form.replace("NAME", &cut(name, 100))
        );
        self.find(Rule::ReferenceUnknown, place.clone(), what, mend);
    }

    /// What looks like a reference to a parameter and is none.
    fn near_misses(&mut self, place: &Place, text: &str) {
        for (at, _) in text.match_indices("${") {
            let rest = &text[at + 2..];
            let inner = rest.strip_prefix('{').unwrap_or(rest);
            let name = &inner[..inner.bytes().take_while(|byte| is_name_byte(*byte)).count()];
            if !self.known.contains_key(name) {
                continue;
            }
            let behind = &inner[name.len()..];
            if inner.len() != rest.len() && behind.starts_with("}}") {
                let what = format!("has ${{{{{name}}}}} inside of a text, where it stays");
                let mend = format!("write ${{{name}}}, or nothing else beside it");
                self.find(Rule::ReferenceTyped, place.clone(), what, mend);
            } else if behind.starts_with('|') && matches!(pieces(&text[at..]).next(), Some(Piece::Text(_))) {
                let what = format!("has a function of {name} that does not exist, so that it stays");
                let names: Vec<&str> = Function::ALL.iter().map(|(name, _)| *name).collect();
                let mend = format!("functions are {} and literal", names.join(", "));
                self.find(Rule::ReferenceUnknown, place.clone(), what, mend);
            }
        }
    }
}

/// The name in a text that is nothing but a typed reference.
fn typed_name(text: &str) -> Option<&str> {
    match typed(text)? {
        Typed::Reference(reference) => Some(reference.name),
        Typed::Escaped(..) => None,
    }
}

/// A text with something in the place of each reference.
fn filled(text: &str) -> String {
    let pieces = pieces(text).map(|piece| match piece {
        Piece::Text(text) => text,
        Piece::Reference(..) | Piece::Escaped(..) => "x",
    });
    pieces.collect()
}

#[cfg(test)]
mod tests;
