use super::*;
use crate::document;
use crate::random::SystemRandom;

fn resolve(parameters: &str, given: &[(&str, &str)]) -> Result<Values, String> {
    let text =
        format!("{{kind: Template, metadata: {{name: t}}, parameters: [{parameters}]}}").replace("{kind", "---\n{kind");
    let template = &document::templates(&text).unwrap()[0];
    let given = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    template
        .resolve(&given, Unknown::Refused, &mut SystemRandom)
        .map_err(|problems| problems.to_string())
}

fn value(parameter: &str, given: &[(&str, &str)]) -> (String, Origin) {
    let values = resolve(&format!("{{name: A, {parameter}}}"), given).unwrap();
    let value = values.iter().next().unwrap();
    (value.value.clone(), value.origin)
}

#[test]
fn a_value_comes_from_what_is_given_then_the_default_then_the_generator() {
    let of = |value: &str, origin| (value.to_owned(), origin);
    let all = "value: d, generate: expression, from: 'g[a]{1}'";
    assert_eq!(value(all, &[("A", "x")]), of("x", Origin::Given));
    assert_eq!(value(all, &[]), of("d", Origin::Default));
    assert_eq!(
        value("generate: expression, from: 'g[a]{1}'", &[]),
        of("ga", Origin::Generated)
    );
    assert_eq!(value("required: false", &[]), of("", Origin::Default));
    assert_eq!(value("generate: expression", &[]), of("", Origin::Generated));
    // Given and empty is given, where there is no generator.
    assert_eq!(value("value: d", &[("A", "")]), of("", Origin::Given));
}

/// Bug P20: an empty value does not switch a generator off.
#[test]
fn an_empty_value_is_generated() {
    assert_eq!(value("generate: expression, from: 'g[a]{1}'", &[("A", "")]).0, "ga");
}

/// Bug P19: of a name that is declared twice the last one counts, once.
#[test]
fn a_parameter_that_is_declared_twice_has_one_value() {
    let values = resolve("{name: A, value: x}, {name: B}, {name: A, value: z}", &[]).unwrap();
    let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
    assert_eq!((names, values.get("A")), (vec!["B", "A"], Some("z")));
}

#[test]
fn all_problems_are_told_at_once_and_no_value_is_quoted() {
    let error = resolve(
        "{name: A, required: true}, {name: B, generate: magic}, {name: C, generate: expression, from: '[a-z]'}, {name: D, \
         generate: magic, value: hunter2}, {name: E, generate: expression, required: true}",
        &[("a", "hunter2"), ("X", "hunter2")],
    )
    .unwrap_err();
    assert_eq!(
        error
            .lines()
            .map(|line| line.strip_prefix("template t: ").unwrap())
            .collect::<Vec<_>>(),
        [
            "parameter X: is no parameter of this template; leave it out, or declare it in the template",
            "parameter a: is no parameter of this template; write A",
            "parameters[1] B: has the generator \"magic\", which does not exist; write generate: expression, or derived",
            "parameters[2] C: has a bad expression at byte 5 of from: a set without a length; write a length behind the set: \
             [a-z]{8}",
            "parameters[0] A: is required and has no value; give it one: A=...",
            "parameters[4] E: is required and has no value; give it one: E=...",
        ]
    );
}

#[test]
fn names_that_do_not_exist_can_be_ignored() {
    let text = "kind: Template\nparameters: [{name: A}]";
    let template = &document::templates(text).unwrap()[0];
    let given = Given::from([("X".to_owned(), "y".to_owned())]);
    assert!(template.resolve(&given, Unknown::Refused, &mut SystemRandom).is_err());
    assert!(template.resolve(&given, Unknown::Ignored, &mut SystemRandom).is_ok());
}

#[test]
fn derived_parameters_follow_the_others_in_any_order() {
    let values = resolve(
        "{name: URI, generate: derived, from: 'db://${LOGIN}@${HOST}'}, {name: LOGIN, generate: derived, from: \
         '${USER}:${PASSWORD|url}'}, {name: USER, value: eve}, {name: PASSWORD}, {name: HOST, generate: derived, from: 'h${X|literal}'}",
        &[("PASSWORD", "a/b")],
    )
    .unwrap();
    assert_eq!(values.get("URI"), Some("db://eve:a%2Fb@h${X}"));
    assert_eq!(values.iter().next().unwrap().origin, Origin::Derived);
    let given = resolve("{name: A, generate: derived, from: '${A}'}", &[("A", "x")]).unwrap();
    assert_eq!(given.get("A"), Some("x"));
}

#[test]
fn a_circle_of_derived_parameters_is_named() {
    let error = resolve(
        "{name: Z, generate: derived, from: '${A}'}, {name: A, generate: derived, from: '${B}'}, {name: B, generate: derived, from: \
         'x${A}'}, {name: C, generate: derived, from: '${NOBODY}${D|base64decode}'}, {name: D, value: hunter2!}",
        &[],
    )
    .unwrap_err();
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "template t: parameters[3] C: refers to \"${NOBODY}\" in from, which is no parameter; declare it, or write the \
             reference as ${NAME|literal}",
            "template t: parameters[3] C: has \"${D|base64decode}\" in from, but its value is no base64; give another value, or \
             leave the function out",
            "template t: parameters[1] A: needs itself: A -> B -> A; give one of them a value",
        ]
    );
}

#[test]
fn values_are_bounded_however_they_grow() {
    let doubling: Vec<String> = (1..60)
        .map(|i| format!("{{name: P{i}, generate: derived, from: '${{P{0}}}${{P{0}}}'}}", i - 1))
        .collect();
    let error = resolve(&format!("{{name: P0, value: x}}, {}", doubling.join(", ")), &[]).unwrap_err();
    assert!(error.contains("P21: has a value of more than 1 MiB"), "{error}");
    let large = "x".repeat(MAX_VALUE_BYTES);
    let many: Vec<String> = (0..20).map(|i| format!("{{name: P{i}, value: '{large}'}}")).collect();
    assert!(
        resolve(&many.join(", "), &[])
            .unwrap_err()
            .contains("P16: is beyond 16 MiB of values")
    );
    let long: Vec<String> = (0..20_000)
        .map(|i| format!("{{name: P{i}, generate: derived, from: '${{P{}}}'}}", i + 1))
        .collect();
    let values = resolve(&format!("{}, {{name: P20000, value: end}}", long.join(", ")), &[]).unwrap();
    assert_eq!(values.get("P0"), Some("end"));
}

/// What is generated can be frozen: processing again with it gives the same.
#[test]
fn generated_values_can_be_kept() {
    let text = "kind: Template\nparameters: [{name: A, generate: expression, from: '[a-z]{20}'}, {name: E}]";
    let template = &document::templates(text).unwrap()[0];
    let first = template
        .resolve(&Given::new(), Unknown::Refused, &mut SystemRandom)
        .unwrap();
    let again = template
        .resolve(&first.frozen(), Unknown::Refused, &mut SystemRandom)
        .unwrap();
    assert_eq!(first.get("A"), again.get("A"));
    let shown = format!("{first:?}");
    assert!(!shown.contains(first.get("A").unwrap()), "{shown}");
}
