//! The values of parameters.
//!
//! A value comes from, highest first: the value that is given; the default, if it is not empty; the generator; nothing. A given
//! value that is empty counts as given only where there is no generator. After that a required parameter must not be empty.
//!
//! The generator `derived` is ours: its `from` is a text with references to other parameters, `${USER}-${DATABASE}` or
//! `${PASSWORD|base64}`. It is computed after all others, in whatever order they need. For other processors it is an unknown
//! generator, so no template that works elsewhere has one.

use std::collections::{BTreeMap, HashMap};

use crate::generator::Expression;
use crate::model::{Parameter, Template};
use crate::problem::{Place, Problem, Problems, Rule, cut, quoted};
use crate::random::Random;
use crate::reference::{Piece, pieces};

/// The largest value, in bytes: what fits into a Secret.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// The largest values together, in bytes.
pub const MAX_VALUES_BYTES: usize = 16 << 20;

/// Values that are given, by the names of parameters.
pub type Given = BTreeMap<String, String>;

/// What becomes of a given value whose parameter does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unknown {
    /// It is an error.
    #[default]
    Refused,
    /// It is passed over.
    Ignored,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was given.
    Given,
    /// It is the default, or empty because there is none.
    Default,
    /// It was drawn: who processes again has to give it, or gets another one.
    Generated,
    /// It was computed of others.
    Derived,
}

/// The value of a parameter.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The parameter's name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Without the value, which may be a password.
impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.name, self.origin)
    }
}

/// The values of all parameters, each once, in the order of the template.
#[derive(Clone, Debug, Default)]
pub struct Values {
    values: Vec<Resolved>,
    positions: HashMap<String, usize>,
}

impl Values {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.positions.get(name).map(|&at| self.values[at].value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Resolved> {
        self.values.iter()
    }

    /// The same values to be given to a later processing, which then generates nothing anew.
    pub fn frozen(&self) -> Given {
        let values = self.values.iter();
        values.map(|value| (value.name.clone(), value.value.clone())).collect()
    }

    fn push(&mut self, value: Resolved) {
        self.positions.insert(value.name.clone(), self.values.len());
        self.values.push(value);
    }
}

impl Template<'_> {
    /// Finds the values of all parameters.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once: required parameters without a value, generators that do not exist or cannot be read, values
    /// for parameters that do not exist, derived parameters that need themselves, values that are too large.
    ///
    /// ```
    /// use template::{Given, SystemRandom, Unknown, document};
    ///
    /// let text = r#"{"kind": "Template", "parameters": [
    ///     {"name": "USER", "generate": "expression", "from": "user[A-Z0-9]{3}"},
    ///     {"name": "HOST", "value": "db"},
    ///     {"name": "URI", "generate": "derived", "from": "postgresql://${USER}@${HOST}"}]}"#;
    /// let template = &document::templates(text).unwrap()[0];
    /// let given = Given::from([("USER".to_owned(), "eve".to_owned())]);
    /// let values = template.resolve(&given, Unknown::Refused, &mut SystemRandom).unwrap();
    /// assert_eq!(values.get("URI"), Some("postgresql://eve@db"));
    /// ```
    pub fn resolve(&self, given: &Given, unknown: Unknown, random: &mut dyn Random) -> Result<Values, Problems> {
        let mut resolver = Resolver {
            problems: Problems::new(self.name()),
            values: Values::default(),
            left: MAX_VALUES_BYTES,
        };
        let counting = self.counting();
        if unknown == Unknown::Refused {
            resolver.unknown(given, &counting);
        }
        let mut derived = Vec::new();
        for (index, parameter) in self.parameters.iter().enumerate() {
            if counting.get(&*parameter.name) == Some(&index) {
                let wait = resolver.parameter(index, parameter, given.get(&*parameter.name), random);
                derived.extend(wait.then_some(index));
            }
        }
        resolver.derive(self, &derived);
        resolver.required(self, &counting);
        resolver.problems.check()?;
        Ok(resolver.values)
    }

    /// For each name the position of the parameter that counts: of several the last one.
    pub(crate) fn counting(&self) -> HashMap<&str, usize> {
        let parameters = self.parameters.iter().enumerate();
        parameters.map(|(index, parameter)| (&*parameter.name, index)).collect()
    }
}

/// Whether a parameter is derived from others.
pub(crate) fn is_derived(parameter: &Parameter<'_>) -> bool {
    parameter.generate == "derived"
}

struct Resolver {
    problems: Problems,
    values: Values,
    left: usize,
}

impl Resolver {
    fn problem(&mut self, rule: Rule, place: Place, what: impl Into<String>, mend: impl Into<String>) {
        self.problems.push(Problem::new(rule, place, what, mend));
    }

    fn unknown(&mut self, given: &Given, counting: &HashMap<&str, usize>) {
        for name in given.keys().filter(|name| !counting.contains_key(name.as_str())) {
            let similar = counting.keys().find(|known| known.eq_ignore_ascii_case(name));
            let mend = match similar {
                Some(similar) => format!("write {}", cut(similar, 100)),
                None => "leave it out, or declare it in the template".to_owned(),
            };
            let place = Place::parameter(None, name);
            self.problem(Rule::ParameterUnknown, place, "is no parameter of this template", mend);
        }
    }

    /// Puts the value of a parameter in its place; `true` when it is to be derived.
    fn parameter(
        &mut self,
        index: usize,
        parameter: &Parameter<'_>,
        given: Option<&String>,
        random: &mut dyn Random,
    ) -> bool {
        let place = || Place::parameter(Some(index), &parameter.name);
        let can_generate = !parameter.generate.is_empty();
        let mut wait = false;
        let (value, origin) = match given {
            Some(given) if !given.is_empty() || !can_generate => (given.clone(), Origin::Given),
            _ if !parameter.value.is_empty() => (parameter.value.clone().into_owned(), Origin::Default),
            _ if !can_generate => (String::new(), Origin::Default),
            _ if parameter.generate == "expression" => match generate(&parameter.from, random) {
                Ok(generated) => (generated, Origin::Generated),
                Err((what, mend)) => {
                    self.problem(Rule::ParameterExpression, place(), what, mend);
                    (String::new(), Origin::Generated)
                }
            },
            _ if is_derived(parameter) => {
                wait = true;
                (String::new(), Origin::Derived)
            }
            _ => {
                let (what, mend) = unknown_generator(parameter);
                self.problem(Rule::ParameterGenerator, place(), what, mend);
                (String::new(), Origin::Default)
            }
        };
        let value = self.bounded(value, place);
        let name = parameter.name.clone().into_owned();
        self.values.push(Resolved { name, value, origin });
        wait
    }

    /// The value, or nothing and a problem when it is too large.
    fn bounded(&mut self, value: String, place: impl Fn() -> Place) -> String {
        if value.len() > MAX_VALUE_BYTES {
            self.problem(
                Rule::ParameterSize,
                place(),
                "has a value of more than 1 MiB",
                "give less",
            );
        } else if let Some(left) = self.left.checked_sub(value.len()) {
            self.left = left;
            return value;
        } else {
            self.problem(Rule::ParameterSize, place(), "is beyond 16 MiB of values", "give less");
        }
        String::new()
    }

    /// Computes derived parameters, each as soon as those that it refers to are there.
    fn derive(&mut self, template: &Template<'_>, derived: &[usize]) {
        let mut waiting = Waiting::new(template, derived);
        while let Some(index) = waiting.ready.pop() {
            let parameter = &template.parameters[index];
            let place = || Place::parameter(Some(index), &parameter.name);
            let value = self.derived_value(&parameter.from, &place);
            let value = self.bounded(value, place);
            if let Some(&at) = self.values.positions.get(&*parameter.name) {
                self.values.values[at].value = value;
            }
            waiting.done(&parameter.name);
        }
        if let Some((index, cycle)) = waiting.cycle(template) {
            let place = Place::parameter(Some(index), &template.parameters[index].name);
            let what = format!("needs itself: {}", cycle.join(" -> "));
            self.problem(Rule::ParameterDerived, place, what, "give one of them a value");
        }
    }

    fn derived_value(&mut self, from: &str, place: &dyn Fn() -> Place) -> String {
        let mut out = String::new();
        let mut problems = Vec::new();
        for piece in pieces(from) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Escaped(head, tail) => out.extend([head, tail]),
                Piece::Reference(reference, whole) => match self.values.get(reference.name) {
                    None => problems.push(unknown_in_derived(whole)),
                    Some(value) => match reference.apply(value) {
                        Ok(value) => out.push_str(&value),
                        Err(failed) => problems.push((
                            Rule::FunctionFailed,
                            format!("has {} in from, but {failed}", quoted(whole)),
                            "give another value, or leave the function out".to_owned(),
                        )),
                    },
                },
            }
            // What is refused as too large needs not be made whole.
            if out.len() > MAX_VALUE_BYTES {
                break;
            }
        }
        for (rule, what, mend) in problems {
            self.problem(rule, place(), what, mend);
        }
        out
    }

    fn required(&mut self, template: &Template<'_>, counting: &HashMap<&str, usize>) {
        // What has a problem already is empty for that reason.
        let told: Vec<String> = self
            .problems
            .problems
            .iter()
            .map(|problem| problem.place.to_string())
            .collect();
        for (index, parameter) in template.parameters.iter().enumerate() {
            let is_empty = self.values.get(&parameter.name).is_none_or(str::is_empty);
            if parameter.required && is_empty && counting.get(&*parameter.name) == Some(&index) {
                let place = Place::parameter(Some(index), &parameter.name);
                if !told.contains(&place.to_string()) {
                    let mend = format!("give it one: {}=...", cut(&parameter.name, 100));
                    self.problem(Rule::ParameterRequired, place, "is required and has no value", mend);
                }
            }
        }
    }
}

fn generate(from: &str, random: &mut dyn Random) -> Result<String, (String, &'static str)> {
    let expression = Expression::parse(from).map_err(|error| {
        let what = format!(
            "has a bad expression at byte {} of from: {}",
            error.position, error.what
        );
        (what, error.mend)
    })?;
    expression
        .generate(random)
        .map_err(|error| (format!("cannot be generated: {error}"), "try again"))
}

pub(crate) fn unknown_generator(parameter: &Parameter<'_>) -> (String, &'static str) {
    let what = format!(
        "has the generator {}, which does not exist",
        quoted(&parameter.generate)
    );
    (what, "write generate: expression, or derived")
}

pub(crate) fn unknown_in_derived(reference: &str) -> (Rule, String, String) {
    (
        Rule::ParameterDerived,
        format!("refers to {} in from, which is no parameter", quoted(reference)),
        "declare it, or write the reference as ${NAME|literal}".to_owned(),
    )
}

/// The parameter that needs itself, and how, if one of these does.
pub(crate) fn cycle(template: &Template<'_>, derived: Vec<usize>) -> Option<(String, String)> {
    let mut waiting = Waiting::new(template, &derived);
    while let Some(index) = waiting.ready.pop() {
        waiting.done(&template.parameters[index].name);
    }
    let (index, names) = waiting.cycle(template)?;
    let name = template.parameters[index].name.clone().into_owned();
    Some((name, format!("needs itself: {}", names.join(" -> "))))
}

/// Derived parameters that wait for others.
struct Waiting<'t> {
    /// For how many others each still waits, by its position.
    missing: HashMap<usize, usize>,
    /// Who waits for a name.
    needed_by: HashMap<&'t str, Vec<usize>>,
    ready: Vec<usize>,
}

impl<'t> Waiting<'t> {
    fn new(template: &'t Template<'_>, derived: &[usize]) -> Self {
        let names = derived.iter().map(|&index| &*template.parameters[index].name);
        let names: std::collections::HashSet<&str> = names.collect();
        let mut waiting = Self {
            missing: HashMap::new(),
            needed_by: HashMap::new(),
            ready: Vec::new(),
        };
        for &index in derived {
            let needs = references(&template.parameters[index].from);
            let needs: Vec<&str> = needs.filter(|name| names.contains(name)).collect();
            for name in &needs {
                waiting.needed_by.entry(name).or_default().push(index);
            }
            if needs.is_empty() {
                waiting.ready.push(index);
            } else {
                waiting.missing.insert(index, needs.len());
            }
        }
        waiting
    }

    fn done(&mut self, name: &str) {
        for index in self.needed_by.remove(name).unwrap_or_default() {
            if let Some(missing) = self.missing.get_mut(&index) {
                *missing -= 1;
                if *missing == 0 {
                    self.missing.remove(&index);
                    self.ready.push(index);
                }
            }
        }
    }

    /// One of the circles that are left, from its first parameter back to it.
    fn cycle(&self, template: &Template<'_>) -> Option<(usize, Vec<String>)> {
        let counting = template.counting();
        let next = |index: usize| {
            let mut needs = references(&template.parameters[index].from);
            needs.find_map(|name| {
                counting
                    .get(name)
                    .copied()
                    .filter(|index| self.missing.contains_key(index))
            })
        };
        let mut way: Vec<usize> = vec![*self.missing.keys().min()?];
        let mut seen: HashMap<usize, usize> = HashMap::from([(way[0], 0)]);
        loop {
            let index = next(*way.last()?)?;
            if let Some(&start) = seen.get(&index) {
                let name = |index: &usize| cut(&template.parameters[*index].name, 100).into_owned();
                let mut names: Vec<String> = way[start..].iter().take(20).map(name).collect();
                names.push(name(&index));
                return Some((index, names));
            }
            seen.insert(index, way.len());
            way.push(index);
        }
    }
}

/// The names of parameters that a text refers to.
pub(crate) fn references(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Reference(reference, _) => Some(reference.name),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
