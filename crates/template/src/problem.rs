//! What can be wrong with a template, where, and what to write instead.

use std::borrow::Cow;
use std::fmt;

/// How many problems are collected at most; the rest is only counted.
pub const MAX_PROBLEMS: usize = 100;

/// The longest name or key that a message quotes, in bytes.
const MAX_QUOTED: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong, but it may not be what was meant.
    Notice,
    /// Most probably a mistake.
    Warning,
    /// The template cannot be stored or processed, or what comes of it cannot be created.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

macro_rules! rules {
    ($($variant:ident $severity:ident $name:literal $about:literal)*) => {
        /// What is looked at. Programs decide by it, people by the text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $(#[doc = $about] $variant,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Rule] = &[$(Rule::$variant),*];

            /// Its name: `parameter-unused`.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$variant => $name,)* }
            }

            /// What it is about, in a sentence.
            pub fn about(self) -> &'static str {
                match self { $(Rule::$variant => $about,)* }
            }

            /// How bad it is when it is not kept.
            pub fn severity(self) -> Severity {
                match self { $(Rule::$variant => Severity::$severity,)* }
            }
        }
    };
}

rules! {
    TemplateShape Error "template-shape" "A template is an object with the fields and types of template.openshift.io/v1."
    UnknownField Warning "field-unknown" "Fields that a template does not have are ignored by everything that reads it."
    FieldTwice Warning "field-twice" "Of a member that stands twice in an object only the last one counts."
    ParameterName Error "parameter-name" "A parameter has a name of letters, digits and _."
    ParameterTwice Error "parameter-twice" "A parameter is declared once."
    ParameterValueType Warning "parameter-value-type" "The value of a parameter is a text."
    ParameterUnused Warning "parameter-unused" "A parameter is referred to somewhere."
    ParameterUnknown Error "parameter-unknown" "A value is given only for parameters that the template has."
    ParameterRequired Error "parameter-required" "A required parameter gets a value."
    ParameterGenerator Error "parameter-generator" "The generators are expression and derived."
    ParameterExpression Error "parameter-expression" "An expression is text with sets such as [a-zA-Z0-9]{16} in it."
    ParameterConstant Warning "parameter-constant" "What is generated differs from one time to the next."
    ParameterDerived Error "parameter-derived" "A derived parameter refers to other parameters, and never through them to itself."
    ParameterDefault Notice "parameter-default" "References in the default value of a parameter are not replaced."
    ParameterSize Error "parameter-size" "A value has at most 1 MiB, all values together 16 MiB."
    ReferenceUnknown Warning "reference-unknown" "A reference names a parameter; one that does not stays in the text."
    ReferenceTyped Warning "reference-typed" "${{NAME}} is replaced only where it is the whole text."
    FunctionFailed Error "function-failed" "A function of a reference can be computed of the value."
    NameUnknown Error "name-unknown" "No reference stays in apiVersion, kind or name of an object."
    ObjectShape Error "object-shape" "An object of a template is a JSON object with a kind."
    ObjectVersion Warning "object-version" "An object has an apiVersion."
    ObjectTwice Warning "object-twice" "Two objects of a template do not have the same kind, name and namespace."
    ObjectSize Error "object-size" "What references insert into a template has at most 16 MiB in all."
    KeyTwice Error "key-twice" "Keys stay different when references in them are replaced."
    Namespace Error "namespace-unknown" "The namespace of an object refers to parameters that exist."
    NamespaceRemoved Notice "namespace-removed" "A namespace without a reference is removed: the object goes where the instance is."
    Labels Error "labels" "Labels have keys and values that Kubernetes takes."
    When Error "when" "A condition compares parameters, or names one that is true or false."
    ExposePath Error "expose-path" "An expose annotation has a JSONPath template that yields one value."
    ExposeKey Error "expose-key" "Each credential is exposed once, under a name."
    ExposeNothing Notice "expose-nothing" "A template that can be bound exposes something."
    OpenShift Notice "openshift-kind" "Kinds of OpenShift cannot be created on other clusters."
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The template as a whole, or a field of it.
    Template {
        /// The field, such as `metadata.annotations`; empty for the whole.
        field: String,
    },
    /// A parameter.
    Parameter {
        /// Its position from 0; `None` for a value given for a parameter that does not exist.
        index: Option<usize>,
        /// Its name.
        name: String,
    },
    /// An object, or something in it.
    Object {
        /// Which one: `objects[2]`, and `objects[2].items[0]` for what a list holds.
        object: String,
        /// Its kind as it stands in the template; empty where it has none.
        kind: String,
        /// The field in it, as `spec.replicas`; empty for the whole.
        field: String,
    },
}

impl Place {
    /// The whole template.
    pub fn template() -> Self {
        Self::field("")
    }

    /// A field of the template.
    pub fn field(field: impl Into<String>) -> Self {
        Place::Template { field: field.into() }
    }

    /// A parameter.
    pub fn parameter(index: Option<usize>, name: &str) -> Self {
        Place::Parameter {
            index,
            name: cut(name, MAX_QUOTED).into_owned(),
        }
    }

    /// Whether it is the whole template.
    pub fn is_whole(&self) -> bool {
        matches!(self, Place::Template { field } if field.is_empty())
    }
}

/// `objects[2] (Deployment) spec.replicas`, `parameters[0] PASSWORD`, `labels`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Template { field } => f.write_str(field),
            Place::Parameter {
                index: Some(index),
                name,
            } if name.is_empty() => write!(f, "parameters[{index}]"),
            Place::Parameter {
                index: Some(index),
                name,
            } => write!(f, "parameters[{index}] {name}"),
            Place::Parameter { index: None, name } => write!(f, "parameter {name}"),
            Place::Object { object, kind, field } => {
                f.write_str(object)?;
                if !kind.is_empty() {
                    write!(f, " ({kind})")?;
                }
                if !field.is_empty() {
                    write!(f, " {field}")?;
                }
                Ok(())
            }
        }
    }
}

/// One thing that is wrong. Says no value of any parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which rule is not kept.
    pub rule: Rule,
    /// Where.
    pub place: Place,
    /// What is there.
    pub what: String,
    /// What to write instead.
    pub mend: String,
}

impl Problem {
    /// A problem.
    pub fn new(rule: Rule, place: Place, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            rule,
            place,
            what: what.into(),
            mend: mend.into(),
        }
    }
}

/// `objects[2] (Route) metadata.namespace: refers to NS, which is no parameter; declare the parameter`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_whole() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with one template, in the order of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The template's name; empty where it has none.
    pub template: String,
    /// What is wrong, at most [`MAX_PROBLEMS`] of it.
    pub problems: Vec<Problem>,
    /// How much more there is.
    pub more: usize,
}

impl Problems {
    pub(crate) fn new(template: &str) -> Self {
        Self {
            template: cut(template, MAX_QUOTED).into_owned(),
            problems: Vec::new(),
            more: 0,
        }
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// `Ok` when nothing is wrong.
    pub(crate) fn check(self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One line for each problem.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            match self.template.as_str() {
                "" => write!(f, "template: {problem}")?,
                name => write!(f, "template {name}: {problem}")?,
            }
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

/// The text, or its first `max` bytes and three dots.
pub(crate) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let end = (0..=max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}...", &text[..end]))
}

/// A name or key in a message: bounded, in quotes, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text, MAX_QUOTED))
}
