use super::*;
use crate::document;
use crate::random::SystemRandom;
use crate::resolve::{Given, Unknown};

/// The objects of a template, each as JSON, or what is wrong.
fn run(text: &str) -> Result<Vec<String>, String> {
    run_with(text, &[], &Options::default())
}

fn run_with(text: &str, given: &[(&str, &str)], options: &Options) -> Result<Vec<String>, String> {
    let template = &document::templates(text).unwrap()[0];
    let given: Given = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let values = template
        .resolve(&given, Unknown::Refused, &mut SystemRandom)
        .map_err(|error| error.to_string())?;
    let processed = template.process(&values, options).map_err(|error| error.to_string())?;
    Ok(processed
        .objects
        .iter()
        .map(|made| Value::Object(made.object.clone()).to_string())
        .collect())
}

/// A template named `t` with these parameters and objects, both as JSON.
fn template(parameters: &[(&str, &str)], rest: &str) -> String {
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(name, value)| serde_json::json!({"name": name, "value": value}).to_string())
        .collect();
    let parameters = parameters.join(",");
    format!(r#"{{"kind":"Template","metadata":{{"name":"t"}},"parameters":[{parameters}],{rest}}}"#)
}

/// What a field of an object becomes.
fn field(parameters: &[(&str, &str)], json: &str) -> String {
    let made = run(&template(
        parameters,
        &format!(r#""objects":[{{"kind":"K","f":{json}}}]"#),
    ))
    .unwrap();
    made[0]
        .strip_prefix(r#"{"kind":"K","f":"#)
        .unwrap()
        .strip_suffix('}')
        .unwrap()
        .to_owned()
}

#[test]
fn texts_keys_kinds_and_names_are_filled() {
    let text = template(
        &[("A", "x"), ("KIND", "Pod")],
        r#""objects":[{"kind":"${KIND}","apiVersion":"${A}/v1","metadata":{"name":"n-${A}"},"${A}":[{"k${A}":"${A}${A}"}],
        "n":1.0,"b":true,"z":null}]"#,
    );
    assert_eq!(
        run(&text).unwrap(),
        [r#"{"kind":"Pod","apiVersion":"x/v1","metadata":{"name":"n-x"},"x":[{"kx":"xx"}],"n":1.0,"b":true,"z":null}"#]
    );
}

/// Bug P9: what is inserted is not looked at again, and the reference behind it is replaced.
#[test]
fn one_pass_replaces_each_reference_once() {
    assert_eq!(field(&[("A", "${B}"), ("B", "x")], r#""${A}-${B}""#), r#""${B}-x""#);
    assert_eq!(field(&[("A", "${{B}}"), ("B", "x")], r#""${A}""#), r#""${{B}}""#);
    assert_eq!(field(&[("A", "[\"${B}\"]"), ("B", "x")], r#""${{A}}""#), r#"["${B}"]"#);
}

/// Bug P10: numbers keep their text, null is null in maps and in lists.
#[test]
fn typed_references_become_json() {
    for (value, expected) in [
        ("1", "1"),
        ("true", "true"),
        ("[1,\"a\"]", "[1,\"a\"]"),
        ("{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"),
        (" 1 ", "1"),
        ("\"q\"", "\"q\""),
        ("abc", "\"abc\""),
        ("007", "\"007\""),
        ("0x10", "\"0x10\""),
        ("yes", "\"yes\""),
        ("1 2", "\"1 2\""),
        ("{bad", "\"{bad\""),
        ("", "\"\""),
        ("null", "null"),
        ("9007199254740993", "9007199254740993"),
        ("1.0", "1.0"),
        ("1e3", "1e3"),
        ("{\"y\":\"${A}\"}", "{\"y\":\"${A}\"}"),
    ] {
        assert_eq!(
            field(&[("A", value)], r#"["${{A}}",{"m":"${{A}}"}]"#),
            format!("[{expected},{{\"m\":{expected}}}]")
        );
    }
    assert_eq!(
        field(
            &[("A", "1"), ("B", "x")],
            r#"["a${{A}}","${{A}} ","${{A}}${{B}}","${{A}}${B}"]"#
        ),
        r#"["a${{A}}","${{A}} ","${{A}}${{B}}","${{A}}x"]"#
    );
}

/// Bug P10: a key is always a text, and no value of it ends the program.
#[test]
fn typed_keys_are_the_text_of_the_value() {
    for (value, expected) in [
        ("1", "1"),
        ("true", "true"),
        ("null", "null"),
        ("\"q\"", "q"),
        ("[1]", "[1]"),
        ("a", "a"),
    ] {
        assert_eq!(
            field(&[("A", value)], r#"{"${{A}}":1}"#),
            serde_json::json!({expected: 1}).to_string()
        );
    }
}

/// Bug P11: keys that become equal are an error, not a loss.
#[test]
fn keys_that_become_equal_are_refused() {
    let text = template(
        &[("A", "hunter2"), ("B", "hunter2")],
        r#""objects":[{"kind":"K","m":{"${A}":1,"${B}":2,"c":3}}]"#,
    );
    assert_eq!(
        run(&text).unwrap_err(),
        "template t: objects[0] (K) m: has the key \"${A}\" twice when references are replaced; give the parameters \
         different values, or write one key"
    );
    let text = template(&[("A", "x")], r#""labels":{"${A}":"1","x":"2"},"objects":[]"#);
    assert!(run(&text).unwrap_err().contains("labels: has the key \"${A}\" twice"));
}

/// Bug P12: labels whose keys have references become the same each time.
#[test]
fn labels_are_filled_in_keys_and_values() {
    let parameters: Vec<(String, String)> = (0..20).map(|i| (format!("P{i}"), format!("v{i}"))).collect();
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
    let labels: Vec<String> = (0..20).map(|i| format!(r#""k${{P{i}}}":"${{{{P{i}}}}}""#)).collect();
    let text = template(
        &parameters,
        &format!(r#""labels":{{{}}},"objects":[{{"kind":"K"}}]"#, labels.join(",")),
    );
    let expected: Vec<String> = (0..20).map(|i| format!(r#""kv{i}":"v{i}""#)).collect();
    let expected = format!(r#"{{"kind":"K","metadata":{{"labels":{{{}}}}}}}"#, expected.join(","));
    for _ in 0..20 {
        assert_eq!(run(&text).unwrap(), std::slice::from_ref(&expected));
    }
}

/// Bug P13: a label of the object that is no text does not drop those of the template. Bug P17: nor does `metadata: null`.
/// Bug P14: pod templates get none.
#[test]
fn labels_reach_every_object_and_nothing_inside_it() {
    let text = template(
        &[],
        r#""labels":{"a":"new"},"objects":[{"kind":"A","metadata":{"labels":{"n":1,"a":"old"}}},{"kind":"B","metadata":null},
        {"kind":"C","metadata":{"labels":null}},
        {"kind":"DeploymentConfig","apiVersion":"apps.openshift.io/v1","spec":{"template":{"metadata":{"labels":{"x":"y"}}}}}]"#,
    );
    assert_eq!(
        run(&text).unwrap(),
        [
            r#"{"kind":"A","metadata":{"labels":{"n":1,"a":"new"}}}"#,
            r#"{"kind":"B","metadata":{"labels":{"a":"new"}}}"#,
            r#"{"kind":"C","metadata":{"labels":{"a":"new"}}}"#,
            "{\"kind\":\"DeploymentConfig\",\"apiVersion\":\"apps.openshift.io/v1\",\
             \"spec\":{\"template\":{\"metadata\":{\"labels\":{\"x\":\"y\"}}}},\"metadata\":{\"labels\":{\"a\":\"new\"}}}",
        ]
    );
    let wrong = template(
        &[],
        r#""labels":{"a":"b"},"objects":[{"kind":"A","metadata":"text"},{"kind":"B","metadata":{"labels":[]}}]"#,
    );
    assert_eq!(
        run(&wrong).unwrap_err(),
        "template t: objects[0] (A) metadata: is a text, so that the labels of the template have no place; write an object\n\
         template t: objects[1] (B) metadata.labels: is a list, so that the labels of the template have no place; write an object"
    );
}

/// Bug P15: objects of a List are objects like others: no fixed namespaces, groups, labels.
#[test]
fn lists_are_taken_apart() {
    let text = template(
        &[],
        r#""labels":{"a":"b"},"objects":[{"kind":"List","items":[{"kind":"Route","apiVersion":"v1","metadata":{"namespace":"n"}},
        {"kind":"List","items":[{"kind":"Pod"}]}]},{"kind":"Secret"}]"#,
    );
    assert_eq!(
        run(&text).unwrap(),
        [
            r#"{"kind":"Route","apiVersion":"route.openshift.io/v1","metadata":{"labels":{"a":"b"}}}"#,
            r#"{"kind":"Pod","metadata":{"labels":{"a":"b"}}}"#,
            r#"{"kind":"Secret","metadata":{"labels":{"a":"b"}}}"#,
        ]
    );
    let templates = document::templates(&text).unwrap();
    let values = Values::default();
    let processed = templates[0].process(&values, &Options::default()).unwrap();
    assert_eq!(
        processed.objects[1].place.to_string(),
        "objects[0].items[1].items[0] (Pod)"
    );
}

/// Bug P16: `${{NS}}` is a reference; one to nothing is an error and not the name of a namespace.
#[test]
fn namespaces_stay_where_they_are_parameters() {
    let namespace = |namespace: &str| {
        let text = template(
            &[("NS", "ns"), ("E", ""), ("N", "12")],
            &format!(r#""objects":[{{"kind":"K","metadata":{{"namespace":{namespace}}}}}]"#),
        );
        run(&text).map(|made| made[0].replace(r#"{"kind":"K","metadata":"#, "").replace("}}", "}"))
    };
    for (given, expected) in [
        (r#""fixed""#, "{}"),
        (r#""${NS}""#, r#"{"namespace":"ns"}"#),
        (r#""a-${NS}-b""#, r#"{"namespace":"a-ns-b"}"#),
        (r#""${{NS}}""#, r#"{"namespace":"ns"}"#),
        (r#""${{N}}""#, r#"{"namespace":"12"}"#),
        (r#""prefix-${{NS}}""#, "{}"),
        (r#""${E}""#, r#"{"namespace":""}"#),
        (r#""""#, r#"{"namespace":""}"#),
        ("5", r#"{"namespace":""}"#),
        ("null", r#"{"namespace":""}"#),
    ] {
        assert_eq!(namespace(given).unwrap(), expected, "{given}");
    }
    assert_eq!(
        namespace(r#""${NOBODY}""#).unwrap_err(),
        "template t: objects[0] (K) metadata.namespace: refers to NOBODY, which is no parameter; declare the parameter, or \
         leave the namespace out"
    );
    let bare = template(
        &[],
        r#""objects":[{"kind":"K","namespace":"n"},{"kind":"K","namespace":"n","metadata":{}}]"#,
    );
    assert_eq!(
        run(&bare).unwrap(),
        [r#"{"kind":"K"}"#, r#"{"kind":"K","namespace":"n","metadata":{}}"#]
    );
    let subjects = template(
        &[],
        r#""objects":[{"kind":"K","metadata":{},"subjects":[{"namespace":"n"}]}]"#,
    );
    assert!(run(&subjects).unwrap()[0].contains(r#""namespace":"n""#));
}

#[test]
fn old_kinds_get_their_group_after_filling() {
    let text = template(
        &[("K", "Route"), ("V", "v1")],
        r#""objects":[{"kind":"${K}","apiVersion":"${V}"},{"kind":"Route","apiVersion":"v1beta1"},{"kind":"Pod","apiVersion":"v1"},
        {"kind":"Route","apiVersion":"other/v1"},{"kind":"RoleBinding","apiVersion":"v1","roleRef":{"name":"view"}}]"#,
    );
    let versions = |options: &Options| -> Vec<String> {
        let made = run_with(&text, &[], options).unwrap();
        made.iter()
            .map(|object| {
                json::read(object).unwrap().value["apiVersion"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let mut expected = [
        "route.openshift.io/v1",
        "v1beta1",
        "v1",
        "other/v1",
        "authorization.openshift.io/v1",
    ];
    assert_eq!(versions(&Options::default()), expected);
    expected[4] = "rbac.authorization.k8s.io/v1";
    assert_eq!(
        versions(&Options {
            roles: Roles::Kubernetes
        }),
        expected
    );
}

#[test]
fn conditions_choose_objects_and_do_not_reach_them() {
    let when = |condition: &str| {
        template(
            &[("TLS", "true"), ("DB", "mysql")],
            &format!(
                r#""objects":[{{"kind":"A","metadata":{{"annotations":{{"{WHEN}":{condition}}}}}}},
                {{"kind":"B","metadata":{{"annotations":{{"{WHEN}":"!TLS","x":"y"}}}}}},
                {{"kind":"C","metadata":{{"annotations":{{"{WHEN}":"TLS","x":"y"}}}}}}]"#
            ),
        )
    };
    let kept = r#"{"kind":"C","metadata":{"annotations":{"x":"y"}}}"#;
    assert_eq!(
        run(&when(r#""DB == 'mysql'""#)).unwrap(),
        [r#"{"kind":"A","metadata":{}}"#, kept]
    );
    assert_eq!(run(&when(r#""DB != 'mysql'""#)).unwrap(), [kept]);
    for (condition, what) in [
        (r#""NOBODY""#, "names NOBODY, which is no parameter"),
        (r#""DB""#, "takes DB for true or false, but its value is neither"),
        (r#""DB ==""#, "cannot be read at byte 5: expected a text in quotes"),
        ("true", "cannot be read at byte 0: it is no text"),
    ] {
        let error = run(&when(condition)).unwrap_err();
        assert!(
            error.contains(&format!("annotations.{WHEN}: has a condition that {what}; write ")),
            "{error}"
        );
    }
}

#[test]
fn functions_and_the_escape_work_in_texts_and_keys() {
    let parameters = [("A", "a b"), ("J", "\"q\"\n")];
    assert_eq!(
        field(&parameters, r#"{"${A|upper}":"${A|url}:${A|base64}"}"#),
        r#"{"A B":"a%20b:YSBi"}"#
    );
    assert_eq!(
        field(&parameters, r#"["${{A|json}}","${A|literal}","${{A|literal}}"]"#),
        r#"["a b","${A}","${{A}}"]"#
    );
    assert_eq!(
        field(&parameters, r#""{\"v\":${J|json}}""#),
        r#""{\"v\":\"\\\"q\\\"\\n\"}""#
    );
    let text = template(
        &[("A", "hunter2")],
        r#""objects":[{"kind":"K","a":{"b":["${A|base64decode}"]}}],"message":"${A|base64decode}""#,
    );
    assert_eq!(
        run(&text).unwrap_err(),
        "template t: message: has a function of A, but its value is no base64; give another value, or leave the function out\n\
         template t: objects[0] (K) a.b[0]: has a function of A, but its value is no base64; give another value, or leave the \
         function out"
    );
}

#[test]
fn the_message_is_filled_as_text() {
    let text = template(&[("A", "7")], r#""message":"${{A}}","objects":[]"#);
    let templates = document::templates(&text).unwrap();
    let values = templates[0]
        .resolve(&Given::new(), Unknown::Refused, &mut SystemRandom)
        .unwrap();
    let processed = templates[0].process(&values, &Options::default()).unwrap();
    assert_eq!(processed.message.as_deref(), Some("7"));
}

#[test]
fn all_objects_that_are_none_are_told_at_once() {
    let text = template(
        &[("E", "")],
        r#""objects":["text",null,{},{"kind":""},{"kind":5},{"kind":"List"},{"kind":"List","items":[7]},{"kind":"${E}"},[]]"#,
    );
    let error = run(&text).unwrap_err();
    assert_eq!(
        error
            .lines()
            .map(|line| line.strip_prefix("template t: ").unwrap())
            .collect::<Vec<_>>(),
        [
            "objects[0]: is a text; write an object with apiVersion and kind",
            "objects[1]: is null; write an object with apiVersion and kind",
            "objects[2]: has no kind; write apiVersion and kind",
            "objects[3]: has no kind; write apiVersion and kind",
            "objects[4]: has no kind; write apiVersion and kind",
            "objects[5] (List): is a List without items; write items, a list of objects",
            "objects[6].items[0]: is a number; write an object with apiVersion and kind",
            "objects[8]: is a list; write an object with apiVersion and kind",
            "objects[7] (${E}) kind: becomes no kind when references are replaced; give the parameter a value",
        ]
    );
}

#[test]
fn a_million_references_cost_bounded_memory() {
    let objects = |count| format!(r#""objects":[{{"kind":"K","l":[{}null]}}]"#, r#""${A}","#.repeat(count));
    let made = run(&template(&[("A", "abc")], &objects(1_000_000))).unwrap();
    assert_eq!(made[0].len(), r#"{"kind":"K","l":[null]}"#.len() + 6_000_000);
    let objects = objects(20_000);
    let large = "x".repeat(1000);
    let error = run(&template(&[("A", &large)], &objects)).unwrap_err();
    assert!(
        error.contains("inserts more than 16 MiB; give smaller values"),
        "{error}"
    );
    let list = format!("[{}0]", "0,".repeat(20_000));
    let error = run(&template(&[("A", &list)], &objects.replace("${A}", "${{A}}"))).unwrap_err();
    assert!(error.contains("inserts more than 16 MiB"), "{error}");
}

#[test]
fn a_template_inside_a_template_is_filled_from_the_outer_one() {
    let text = template(
        &[("A", "outer")],
        r#""objects":[{"kind":"Template","apiVersion":"v1","parameters":[{"name":"A","value":"inner"}],"objects":[{"kind":"${A}"}]}]"#,
    );
    let made = run(&text).unwrap();
    assert!(made[0].contains(r#""objects":[{"kind":"outer"}]"#) && made[0].contains("template.openshift.io/v1"));
}
