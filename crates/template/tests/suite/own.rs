//! The templates of this repository: they are examples, so nothing may be wrong with them.

use std::fs;
use std::path::Path;

use template::expose::credentials;
use template::json::Value;
use template::lint::lint;
use template::{Given, Options, Rule, SystemRandom, Unknown, document};

fn texts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    yaml.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn given(pairs: &[(&str, &str)]) -> Given {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// The objects of a template of ours, as `kind/name`, and the credentials that they expose in a cluster.
fn made(name: &str, values: &[(&str, &str)]) -> (Vec<String>, template::expose::Credentials) {
    let all = texts();
    let (_, text) = all
        .iter()
        .find(|(path, _)| path.ends_with(&format!("/{name}.yaml")))
        .unwrap();
    let template = &document::templates(text).unwrap()[0];
    let values = template
        .resolve(&given(values), Unknown::Refused, &mut SystemRandom)
        .unwrap();
    let processed = template.process(&values, &Options::default()).unwrap();
    let texts: Vec<String> = processed
        .objects
        .iter()
        .map(|made| in_cluster(&Value::Object(made.object.clone())))
        .collect();
    let names = texts.iter().map(|text| {
        let object = template::json::read(text).unwrap().value;
        format!(
            "{}/{}",
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap()
        )
    });
    let objects = texts
        .iter()
        .map(|text| apimachinery::json::parse_strict(text.as_bytes()).unwrap().0);
    let objects: Vec<_> = objects.collect();
    (names.collect(), credentials(&objects).unwrap())
}

/// What an API server makes of an object, as far as credentials need it: a namespace, and `stringData` in `data`.
fn in_cluster(object: &Value<'_>) -> String {
    let mut object: serde_json::Value = serde_json::from_str(&object.to_string()).unwrap();
    object["metadata"]["namespace"] = "ns".into();
    let texts = object.as_object_mut().unwrap().remove("stringData");
    for (key, value) in texts.iter().filter_map(|texts| texts.as_object()).flatten() {
        use base64::Engine as _;
        object["data"][key] = base64::engine::general_purpose::STANDARD
            .encode(value.as_str().unwrap())
            .into();
    }
    object.to_string()
}

#[test]
fn our_templates_have_nothing_to_mend() {
    let texts = texts();
    assert!(texts.len() >= 4);
    for (path, text) in texts {
        for template in document::templates(&text).unwrap() {
            let found: Vec<String> = lint(&template)
                .iter()
                .filter(|finding| finding.rule != Rule::OpenShift)
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, [""; 0], "{path}");
            assert!(
                !template.name().is_empty() && template.annotation("description").is_some(),
                "{path}"
            );
        }
    }
}

#[test]
fn a_database_exposes_its_login() {
    let (objects, credentials) = made(
        "postgresql",
        &[("PASSWORD", "a/b"), ("USERNAME", "eve"), ("NAME", "db")],
    );
    assert_eq!(objects, ["Secret/db", "Service/db", "StatefulSet/db"]);
    assert_eq!(credentials["uri"], "postgresql://eve:a%2Fb@db:5432/app");
    assert_eq!((&*credentials["host"], &*credentials["port"]), ("db.ns.svc", "5432"));
}

#[test]
fn a_web_application_is_exposed_as_it_is_told() {
    let uri = |values: &[(&str, &str)]| {
        let (objects, credentials) = made("web-application", values);
        (objects[2..].to_vec(), credentials.get("uri").cloned())
    };
    assert_eq!(
        uri(&[]),
        (
            vec!["Ingress/web".to_owned()],
            Some("http://web.example.com".to_owned())
        )
    );
    assert_eq!(uri(&[("TLS", "true")]).1.unwrap(), "https://web.example.com");
    assert_eq!(uri(&[("EXPOSED_BY", "route")]).0, ["Route/web"]);
    assert_eq!(uri(&[("EXPOSED_BY", "nothing")]), (vec![], None));
}

#[test]
fn configuration_is_valid_json_whatever_it_is_given() {
    let (_, credentials) = made("configuration", &[("ENDPOINT", "a\"b\\c\nd")]);
    let settings: serde_json::Value = serde_json::from_str(&credentials["settings"]).unwrap();
    assert_eq!(settings["endpoint"], "a\"b\\c\nd");
    let (_, credentials) = made("redis", &[("PASSWORD", "x")]);
    assert_eq!(credentials["password"], "x");
}
