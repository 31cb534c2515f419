//! `osb template process`: the objects of a template.

use ::template::json::{Object, Value};
use ::template::{Options, Parameter, Processed, Rule, SystemRandom, Template, Values, yaml};
use anyhow::Result;
use clap::ValueEnum;

use super::input::Input;
use crate::Usage;
use crate::output::table;

#[derive(clap::Args)]
pub(crate) struct ProcessArgs {
    #[command(flatten)]
    input: Input,

    /// Labels that every object gets, beside those of the template
    #[arg(short, long, value_name = "KEY=VALUE,...", value_delimiter = ',')]
    labels: Vec<String>,

    /// Lists the parameters, and ends
    #[arg(long, conflicts_with_all = ["raw", "labels"])]
    parameters: bool,

    /// Prints the template with values and objects in it, instead of a list of the objects
    #[arg(long)]
    raw: bool,

    /// The form of roles and role bindings that templates for OpenShift have
    #[arg(long, value_enum, default_value = "openshift", value_name = "FORM")]
    roles: RoleForm,

    /// The form of what is printed [default: json]
    #[arg(short, long, value_enum, value_name = "FORM")]
    output: Option<Form>,

    /// Does nothing: there is no other way; oc has it
    #[arg(long, hide = true)]
    local: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleForm {
    Openshift,
    Kubernetes,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Yaml,
    Name,
}

pub(super) fn process(args: &ProcessArgs) -> Result<()> {
    let read = args.input.read()?;
    let mut template = args.input.template(&read)?;
    for label in &args.labels {
        let Some((key, value)) = label.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Usage("a label is KEY=VALUE".to_owned()).into());
        };
        template.set_label(key, value);
    }
    if args.parameters {
        return parameters(&template, args.output);
    }
    warn(&template);
    let values = template.resolve(&read.given, args.input.unknown(), &mut SystemRandom)?;
    let options = Options {
        roles: match args.roles {
            RoleForm::Openshift => template::Roles::OpenShift,
            RoleForm::Kubernetes => template::Roles::Kubernetes,
        },
    };
    let processed = template.process(&values, &options)?;
    match args.output {
        Some(Form::Name) => print(&names(&processed)),
        form => {
            let whole = if args.raw {
                raw(&template, &values, processed)
            } else {
                list(processed)
            };
            print(&written(&whole, form))
        }
    }
}

/// Says what was taken although it is not as it should be.
pub(super) fn warn(template: &Template<'_>) {
    let warned = [
        Rule::ParameterTwice,
        Rule::ParameterValueType,
        Rule::FieldTwice,
        Rule::UnknownField,
        Rule::NameUnknown,
    ];
    for finding in template::lint::lint(template)
        .iter()
        .filter(|finding| warned.contains(&finding.rule))
    {
        eprintln!("warning: {finding}");
    }
}

pub(super) fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn written(value: &Value<'_>, form: Option<Form>) -> String {
    match form {
        Some(Form::Yaml) => yaml::to_yaml(value),
        _ => value.pretty() + "\n",
    }
}

fn objects(processed: Processed<'_>) -> Vec<Value<'_>> {
    processed
        .objects
        .into_iter()
        .map(|made| Value::Object(made.object))
        .collect()
}

fn list(processed: Processed<'_>) -> Value<'_> {
    let mut list = Object::default();
    list.set("kind", "List");
    list.set("apiVersion", "v1");
    list.set("metadata", Object::default());
    list.set("items", objects(processed));
    list.into()
}

/// The template as a server gives it back: values of parameters, message, labels and objects in it.
fn raw<'a>(template: &'a Template<'_>, values: &'a Values, processed: Processed<'a>) -> Value<'a> {
    let mut whole = Object::default();
    whole.set("kind", "Template");
    whole.set("apiVersion", "template.openshift.io/v1");
    let metadata = template.metadata.iter().map(|(key, value)| (key, value.borrowed()));
    whole.set("metadata", metadata.collect::<Object<'_>>());
    if let Some(message) = &processed.message {
        whole.set("message", message.clone());
    }
    if !processed.labels.is_empty() {
        let labels = processed.labels.iter();
        whole.set(
            "labels",
            labels
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect::<Object<'_>>(),
        );
    }
    let resolved = template.declared().zip(values.iter());
    let resolved = resolved.map(|(declared, value)| parameter(declared, &value.value));
    whole.set("parameters", resolved.collect::<Vec<_>>());
    whole.set("objects", objects(processed));
    whole.into()
}

/// A parameter as an object, with this value.
fn parameter<'a>(parameter: &'a Parameter<'_>, value: &'a str) -> Object<'a> {
    let mut object: Object<'a> = Object::default();
    object.set("name", &*parameter.name);
    let texts: [(&str, &'a str); 5] = [
        ("displayName", &parameter.display_name),
        ("description", &parameter.description),
        ("value", value),
        ("generate", &parameter.generate),
        ("from", &parameter.from),
    ];
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        object.set(key, text);
    }
    if parameter.required {
        object.set("required", true);
    }
    object
}

fn parameters(template: &Template<'_>, form: Option<Form>) -> Result<()> {
    let declared = template.declared();
    match form {
        None => {
            let rows = declared.map(|parameter| {
                let (name, description) = (parameter.name.to_string(), parameter.description.replace('\n', " "));
                let value = if parameter.value.is_empty() {
                    &parameter.from
                } else {
                    &parameter.value
                };
                [
                    name,
                    description,
                    parameter.generate.to_string(),
                    value.replace('\n', "\\n"),
                ]
            });
            print(&table(
                ["NAME", "DESCRIPTION", "GENERATOR", "VALUE"],
                &rows.collect::<Vec<_>>(),
            ))
        }
        Some(Form::Name) => print(
            &declared
                .map(|parameter| format!("{}\n", parameter.name))
                .collect::<String>(),
        ),
        form => {
            let list = declared.map(|declared| parameter(declared, &declared.value));
            print(&written(&Value::from(list.collect::<Vec<_>>()), form))
        }
    }
}

/// `deployment.apps/web`, one on a line.
fn names(processed: &Processed<'_>) -> String {
    let line = |made: &template::Made<'_>| {
        let text = |name| made.object.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = made.object.get("metadata").and_then(|metadata| metadata.get("name"));
        let group = text("apiVersion")
            .split_once('/')
            .map_or(String::new(), |(group, _)| format!(".{group}"));
        let name = name.and_then(Value::as_str).unwrap_or_default();
        format!("{}{group}/{name}\n", text("kind").to_lowercase())
    };
    processed.objects.iter().map(line).collect()
}
