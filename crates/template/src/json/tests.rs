use super::*;

fn round(text: &str) -> String {
    read(text).unwrap().value.to_string()
}

#[test]
fn numbers_and_order_stay_as_they_are() {
    let text =
        r#"{"z":1.0,"a":[1e3,-0,9007199254740993,123456789012345678901234567890,1.10E-05],"m":{"y":null,"b":true}}"#;
    assert_eq!(round(text), text);
    assert_eq!(round(&read(text).unwrap().value.pretty()), text);
}

#[test]
fn texts_are_read_and_written_with_their_escapes() {
    let text = r#""a\"\\\n\t\r\b\f\u0001é\ud83d\ude00\/""#;
    assert_eq!(
        read(text).unwrap().value.as_str(),
        Some("a\"\\\n\t\r\u{8}\u{c}\u{1}é😀/")
    );
    assert_eq!(round(text), r#""a\"\\\n\t\r\b\f\u0001é😀/""#);
    assert!(matches!(
        read(r#""plain""#).unwrap().value,
        Value::String(Cow::Borrowed(_))
    ));
}

#[test]
fn what_serde_json_reads_is_read_alike() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "nul",
        "truth",
        "\"\\x\"",
        "\"\n\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\u12\"",
        "[1 2]",
        "1 2",
        "{} x",
        "\u{feff}1",
        "[[]]",
        "{\"a\":[{}]}",
        " 1 ",
        "-0.5e+7",
        "\"\\u00e9\"",
        "[1,\n 2]",
        "{\"a\" 1}",
        "{1:2}",
    ] {
        let theirs = serde_json::from_str::<serde_json::Value>(text);
        assert_eq!(read(text).is_ok(), theirs.is_ok(), "{text:?}");
    }
}

#[test]
fn of_a_key_that_stands_twice_the_last_value_counts_and_it_is_told() {
    let document = read(r#"{"a":1,"b":[{"c":1,"c":2,"c":3}],"a":4}"#).unwrap();
    assert_eq!(document.value.to_string(), r#"{"a":4,"b":[{"c":3}]}"#);
    assert_eq!(document.twice, ["b[0].c", "b[0].c", "a"]);
    let many: String = (0..100).map(|i| format!("\"k{}\":{i},", i % 50)).collect();
    let text = format!("{{{many}\"k0\":0}}");
    let document = read(&text).unwrap();
    assert_eq!(document.value.as_object().unwrap().len(), 50);
    assert!(document.value.to_string().starts_with(r#"{"k0":0,"k1":51,"#));
    assert_eq!(document.twice.len(), 51);
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(read(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(read(&nested(MAX_DEPTH + 1)).unwrap_err().what, "nested too deeply");
    assert_eq!(read(&"[".repeat(1_000_000)).unwrap_err().what, "nested too deeply");
    let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
    assert_eq!(read(&many).unwrap_err().what, "too many values");
}

#[test]
fn an_error_names_the_place_and_never_the_text() {
    let error = read("{\n  \"secret\": hunter2}").unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 13: this is no JSON");
    assert_eq!(read("\"hunter2").unwrap_err().what, "a text has no end");
}

#[test]
fn documents_may_stand_behind_each_other() {
    let documents = read_all("{}\n[1] 2").unwrap();
    assert_eq!(documents.len(), 3);
    assert!(read_all("").is_err() && read("{} []").is_err());
}
