use crate::json;

use super::*;

fn object() -> Value<'static> {
    json!({
        "kind": "List",
        "metadata": {"annotations": {"a.b/c": "dotted"}, "name": "n"},
        "items": [
            {"name": "a", "size": 1, "ok": true, "tags": ["x", "y"], "same": "a"},
            {"name": "b", "size": 2.5, "ok": false, "tags": [], "same": "c"},
            {"name": "c", "size": 3, "extra": {"name": "deep"}},
        ],
        "float": 1.0, "nul": null,
    })
}

fn found(path: &str) -> String {
    JsonPath::template(&format!("{{{path}}}")).unwrap().render(&object())
}

#[test]
fn paths_find_what_kubectl_finds() {
    for (path, expected) in [
        (".kind", "List"),
        ("$.kind", "List"),
        (".metadata.annotations.a\\.b/c", "dotted"),
        (".metadata.annotations['a.b/c']", "dotted"),
        (".items[0].name", "a"),
        (".items[-1].name", "c"),
        (".items[*].name", "a b c"),
        (".items[0:2].name", "a b"),
        (".items[1:].name", "b c"),
        (".items[::2].name", "a c"),
        (".items[-2:].name", "b c"),
        (".items[0,2].name", "a c"),
        (".items[0]['name','size']", "a 1"),
        (".items[9].name", ""),
        (".items[0:9].name", ""),
        (".items[?(@.name==\"b\")].size", "2.5"),
        (".items[?(@.name=='b')].size", "2.5"),
        (".items[?(@.size>1)].name", "b c"),
        (".items[?(@.size>=2.5)].name", "b c"),
        (".items[?(@.size < 3)].name", "a b"),
        (".items[?(@.size<=1)].name", "a"),
        (".items[?(@.name!=\"b\")].name", "a c"),
        (".items[?(@.ok==true)].name", "a"),
        (".items[?(@.extra)].name", "c"),
        (".items[?(@.name==@.same)].name", "a"),
        (".items[?(@.tags[?(@.x)])].name", ""),
        ("..name", "a b c deep n"),
        (".items[0].tags", "[\"x\",\"y\"]"),
        (".items[2].extra", "{\"name\":\"deep\"}"),
        (".metadata.*", "{\"a.b/c\":\"dotted\"} n"),
        (".float", "1"),
        (".nul", "null"),
        (".missing.deep", ""),
        (".kind.deep", ""),
    ] {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn templates_mix_text_and_values() {
    let template = JsonPath::template("{.kind}:{range .items[*]}{.name}={.size}{\"\\t\"}{end}{'done'}").unwrap();
    assert_eq!(template.render(&object()), "List:a=1\tb=2.5\tc=3\tdone");
    assert_eq!(JsonPath::template("").unwrap().render(&object()), "");
    assert_eq!(JsonPath::template("plain").unwrap().render(&object()), "plain");
    assert_eq!(
        JsonPath::template("{.kind \"-\" .metadata.name}")
            .unwrap()
            .render(&object()),
        "List-n"
    );
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    for bad in [
        "",
        "spec",
        "[",
        "['a",
        "[?(@.a==)]",
        "[?(@.a",
        "[a]",
        ".a b",
        "[1:2:0]",
        "[-]",
        ".a\\",
        "[99999999999999999999]",
    ] {
        assert!(JsonPath::path(bad).is_err(), "{bad}");
    }
    for bad in ["{", "{.a", "{end}", "{range .a}", "{a}", "{\"x}"] {
        assert!(JsonPath::template(bad).is_err(), "{bad}");
    }
    assert_eq!(JsonPath::path(".a b").unwrap_err().position, 3);
    assert!(JsonPath::path(&format!(".{}", "a".repeat(MAX_TEXT_BYTES))).is_err());
    assert!(JsonPath::path(&"[?(@".repeat(1000)).is_err());
}

#[test]
fn only_plain_fields_are_simple() {
    assert_eq!(
        JsonPath::path(".spec.planId").unwrap().simple_fields(),
        Some(vec!["spec", "planId"])
    );
    assert_eq!(
        JsonPath::path(".spec['a.b']").unwrap().simple_fields(),
        Some(vec!["spec", "a.b"])
    );
    assert_eq!(JsonPath::path(".spec[0]").unwrap().simple_fields(), None);
    assert_eq!(JsonPath::path(".spec.*").unwrap().simple_fields(), None);
}

#[test]
fn work_is_bounded() {
    let wide = Value::Array(vec![Value::Array(vec![json!([1, 2, 3]); 100]); 100]);
    let path = JsonPath::path("..*..*..*..*..*..*").unwrap();
    assert!(path.find_all(&wide).len() <= 1_000_000);
}
