use apimachinery::json;

use super::*;

fn object(kind: &str, annotations: &[(&str, &str)], rest: &serde_json::Value) -> Value<'static> {
    let annotations: serde_json::Map<_, _> = annotations
        .iter()
        .map(|(name, value)| (format!("template.openshift.io/{name}"), (*value).into()))
        .collect();
    let mut object =
        serde_json::json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "n", "annotations": annotations}});
    for (key, value) in rest.as_object().unwrap() {
        object[key] = value.clone();
    }
    object.into()
}

fn exposed(kind: &str, annotations: &[(&str, &str)], rest: serde_json::Value) -> Result<String, String> {
    let object = object(kind, annotations, &rest);
    let found = credentials([&object]).map_err(|error| error.to_string())?;
    Ok(serde_json::to_string(&found).unwrap())
}

#[test]
fn paths_and_text_are_joined() {
    let route = serde_json::json!({"spec": {"host": "h", "path": "/p", "ports": [{"name": "web", "port": 80}]}, "v": 1.5, "ok": true});
    for (template, expected) in [
        ("http://{.spec.host}{.spec.path}", "http://h/p"),
        ("{.spec.ports[?(.name==\"web\")].port}", "80"),
        ("{range .spec.ports[*]}{.name}:{.port};{end}", "web:80;"),
        ("{.v}{.ok}", "1.5true"),
        ("plain", "plain"),
        ("", ""),
    ] {
        let expected = format!("{{\"uri\":\"{expected}\"}}");
        assert_eq!(
            exposed("Route", &[("expose-uri", template)], route.clone()),
            Ok(expected),
            "{template}"
        );
    }
}

/// Bug S22: what is missing is an error, unless it is said to be optional; nothing becomes an empty credential.
#[test]
fn what_is_missing_is_an_error_unless_it_is_optional() {
    let rest = serde_json::json!({"l": [1, 2], "o": {}, "n": null});
    for (path, what) in [
        ("{.x.y}", "Service \"n\" has nothing at the path"),
        ("{.l[?(@==3)]}", "Service \"n\" has nothing at the path"),
        ("{.l[5]}", "Service \"n\" has nothing at the path"),
        ("{.l[*]}", "what Service \"n\" has at the path is more than one value"),
        ("{.l}", "what Service \"n\" has at the path is a list"),
        ("{.o}", "what Service \"n\" has at the path is an object"),
        ("{.n}", "what Service \"n\" has at the path is null"),
        ("{.l", "invalid JSONPath at byte 3"),
    ] {
        let error = exposed("Service", &[("expose-a", path)], rest.clone()).unwrap_err();
        assert!(error.starts_with(&format!("credential a: {what}")), "{error}");
    }
    let mut optional = object("Service", &[("expose-a", "{.x}"), ("expose-b", "{.l[0]}")], &rest);
    let annotations = optional
        .pointer_mut("/metadata/annotations")
        .unwrap()
        .as_object_mut()
        .unwrap();
    annotations.insert(EXPOSE_OPTIONAL, " c, a ");
    assert_eq!(
        credentials([&optional]).unwrap(),
        Credentials::from([("b".to_owned(), "1".to_owned())])
    );
}

/// Bug S22: base64 is of bytes, whatever the object.
#[test]
fn bytes_are_bytes_and_base64_is_of_all_of_them() {
    let secret = serde_json::json!({"data": {"my.key": "aHVudGVyMg==", "raw": "/w=="}, "stringData": {"s": "eA=="}});
    let of = |name, path| exposed("Secret", &[(name, path)], secret.clone());
    assert_eq!(
        of("expose-a", "{.data['my\\.key']}").or_else(|_| of("expose-a", "{.data['my.key']}")),
        Ok(r#"{"a":"hunter2"}"#.into())
    );
    assert_eq!(of("expose-a", "{.data.my\\.key}"), Ok(r#"{"a":"hunter2"}"#.into()));
    assert_eq!(
        of("base64-expose-a", "{.data.my\\.key}"),
        Ok(r#"{"a":"aHVudGVyMg=="}"#.into())
    );
    assert_eq!(of("base64-expose-a", "{.data.raw}"), Ok(r#"{"a":"/w=="}"#.into()));
    assert_eq!(
        of("expose-a", "user:{.data.my\\.key}"),
        Ok(r#"{"a":"user:hunter2"}"#.into())
    );
    assert_eq!(of("base64-expose-a", "x{.data.raw}"), Ok(r#"{"a":"eP8="}"#.into()));
    assert_eq!(of("expose-a", "{.stringData.s}"), Ok(r#"{"a":"eA=="}"#.into()));
    assert_eq!(
        of("expose-a", "{.data.raw}").unwrap_err(),
        "credential a: what Secret \"n\" has at the path is no UTF-8; write template.openshift.io/base64-expose-a"
    );
    let map = serde_json::json!({"data": {"t": "x"}, "binaryData": {"b": "/w=="}});
    assert_eq!(
        exposed("ConfigMap", &[("base64-expose-a", "{.data.t}")], map.clone()),
        Ok(r#"{"a":"eA=="}"#.into())
    );
    assert_eq!(
        exposed("ConfigMap", &[("base64-expose-a", "{.binaryData.b}")], map),
        Ok(r#"{"a":"/w=="}"#.into())
    );
}

#[test]
fn any_kind_exposes_and_each_credential_once() {
    let status = serde_json::json!({"apiVersion": "example.com/v1", "status": {"endpoint": "e"}});
    let custom = object("Database", &[("expose-host", "{.status.endpoint}")], &status);
    assert_eq!(credentials([&custom]).unwrap()["host"], "e");
    let other = object("Service", &[("expose-host", "x")], &serde_json::json!({}));
    assert_eq!(
        credentials([&custom, &other]).unwrap_err().to_string(),
        "credential host is exposed by Database \"n\" and by Service \"n\"; give one of them another name"
    );
    let both = object(
        "Service",
        &[("expose-a", "x"), ("base64-expose-a", "y")],
        &serde_json::json!({}),
    );
    assert!(matches!(credentials([&both]), Err(ExposeError::Twice { .. })));
    let none = object("Service", &[("expose-", "x")], &serde_json::json!({}));
    assert_eq!(credentials([&none]), Err(ExposeError::NoKey));
    assert_eq!(
        credentials([&json!({"metadata": {"annotations": []}}), &json!(5)]).unwrap(),
        Credentials::new()
    );
}

#[test]
fn no_error_quotes_a_value() {
    let secret = object(
        "Secret",
        &[("expose-a", "{.data}")],
        &serde_json::json!({"data": {"p": "aHVudGVyMg=="}}),
    );
    let error = credentials([&secret]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("aHVudGVyMg"));
}
