use super::*;
use crate::document;

fn decoded(text: &str) -> Result<Template<'_>, Problems> {
    Template::decode(document::read(text).unwrap().remove(0))
}

fn taken(text: &str) -> Vec<String> {
    decoded(text).unwrap().taken.iter().map(ToString::to_string).collect()
}

#[test]
fn all_fields_are_read() {
    let template = decoded(
        "kind: Template\napiVersion: template.openshift.io/v1\nmetadata: {name: t, annotations: {a: b}}\nmessage: m\n\
         labels: {l: v}\nobjects: [{kind: A}, null, text]\nparameters:\n- {name: A, displayName: D, description: T, value: v, \
         generate: expression, from: '[a]{1}', required: true}\n- {name: B, value: null}\n",
    )
    .unwrap();
    assert_eq!((template.name(), template.message.as_deref()), ("t", Some("m")));
    assert_eq!(template.annotation("a"), Some("b"));
    assert_eq!(template.labels, [("l".into(), "v".into())]);
    assert_eq!(template.objects.len(), 3);
    let first = &template.parameters[0];
    assert_eq!(
        (&*first.name, &*first.display_name, &*first.description),
        ("A", "D", "T")
    );
    assert_eq!(
        (&*first.value, &*first.generate, &*first.from, first.required),
        ("v", "expression", "[a]{1}", true)
    );
    assert_eq!(&*template.parameters[1].value, "");
    assert!(template.taken.is_empty());
}

/// Bug P21: numbers and booleans as default values are taken as they are written, with a warning.
#[test]
fn a_number_as_value_is_taken_as_its_text() {
    let text = "parameters: [{name: A, value: 1.10}, {name: B, value: true}, {name: C, value: -1}]";
    let template = decoded(text).unwrap();
    let values: Vec<&str> = template.parameters.iter().map(|parameter| &*parameter.value).collect();
    assert_eq!(values, ["1.10", "true", "-1"]);
    assert_eq!(
        taken(text)[0],
        "parameters[0] A: has a number as value, which is taken as its text; write it in quotes"
    );
}

#[test]
fn wrong_types_are_told_all_at_once_and_no_value_is_quoted() {
    let problems = decoded(
        "metadata: {name: t}\nmessage: 5\nobjects: {}\nlabels: {a: hunter2, b: 1}\nparameters:\n- hunter2\n\
         - {name: P, value: [hunter2], required: 'hunter2'}\n",
    )
    .unwrap_err()
    .to_string();
    assert_eq!(
        problems.lines().collect::<Vec<_>>(),
        [
            "template t: message: is a number; write a text",
            "template t: objects: is an object; write a list",
            "template t: labels.b: is a number; write a text, in quotes",
            "template t: parameters[0]: is a text; write an object with a name",
            "template t: parameters[1] P: has a list as value; write a text, in quotes",
            "template t: parameters[1] P: has a text as required; write true or false",
        ]
    );
    assert!(decoded("[1]").is_err() && decoded("kind: Pod").is_err() && decoded("apiVersion: v2").is_err());
}

#[test]
fn fields_that_a_template_does_not_have_are_told_with_the_right_name() {
    assert_eq!(
        taken("Objects: []\nparameters: [{name: A, displayname: x, type: y}]\n"),
        [
            "Objects: is no field of a template; write objects",
            "parameters[0] A: has \"displayname\", which is no field of a parameter; write displayName",
            "parameters[0] A: has \"type\", which is no field of a parameter; remove it",
        ]
    );
}

#[test]
fn only_false_makes_a_template_unbindable() {
    for (value, bindable) in [
        ("false", false),
        ("FALSE", false),
        ("no", true),
        ("", true),
        ("true", true),
    ] {
        let text = format!("metadata: {{annotations: {{template.openshift.io/bindable: \"{value}\"}}}}");
        assert_eq!(decoded(&text).unwrap().is_bindable(), bindable, "{value}");
    }
    assert!(decoded("metadata: {}").unwrap().is_bindable());
}
