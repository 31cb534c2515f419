//! What holds for every template and every text.

use proptest::prelude::*;
use regex::{Captures, Regex};
use template::json::{self, Value};
use template::lint::lint;
use template::reference::{Piece, pieces};
use template::{Given, NoRandomness, Options, Random, Unknown, document, yaml};

/// Bytes that count up.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

/// Texts that are full of what means something.
fn text() -> impl Strategy<Value = String> {
    let tokens = [
        "$", "{", "}", "${", "}", "${A}", "${B}", "${{A}}", "${{B}}", "A", "B", "C_1", "|", "|base64", "|literal",
        "|x", " ", "é", "\n", "\"", "x", "1", "null", "[1]",
    ];
    let token = prop::sample::select(tokens.to_vec());
    prop::collection::vec(token, 0..8).prop_map(|tokens| tokens.concat())
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        text().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        Just(serde_json::Value::Null)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let key = prop_oneof![
            text(),
            prop::sample::select(vec![
                "kind",
                "metadata",
                "namespace",
                "labels",
                "annotations",
                "items",
                "name",
                "apiVersion"
            ])
            .prop_map(str::to_owned),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn template() -> impl Strategy<Value = serde_json::Value> {
    let generate = prop::sample::select(vec!["", "", "expression", "derived", "other"]);
    let from = prop_oneof![text(), Just("[a-z]{3}".to_owned())];
    let parameter = (
        prop::sample::select(vec!["A", "B", "C_1"]),
        text(),
        generate,
        from,
        any::<bool>(),
    );
    let parameter = parameter.prop_map(|(name, value, generate, from, required)| {
        serde_json::json!({"name": name, "value": value, "generate": generate, "from": from, "required": required})
    });
    let object = prop_oneof![
        value(),
        (value(), text()).prop_map(|(metadata, text)| {
            serde_json::json!({"kind": "K", "apiVersion": "v1", "metadata": metadata, "text": text})
        }),
    ];
    let label = prop::collection::btree_map(text(), text(), 0..3);
    let parameters = prop::collection::vec(parameter, 0..4);
    (parameters, prop::collection::vec(object, 0..4), label, text()).prop_map(|(parameters, objects, labels, message)| {
        serde_json::json!({"kind": "Template", "parameters": parameters, "objects": objects, "labels": labels, "message": message})
    })
}

/// Reads, looks over, resolves and processes; whatever comes out is JSON and YAML that reads back as the same.
fn through(text: &str) {
    for template in document::each(text).into_iter().flatten().flatten() {
        for finding in lint(&template) {
            assert!(finding.to_string().len() < 4096);
        }
        let Ok(values) = template.resolve(&Given::new(), Unknown::Refused, &mut Counting(0)) else {
            continue;
        };
        let Ok(processed) = template.process(&values, &Options::default()) else {
            continue;
        };
        for made in processed.objects {
            let object = Value::Object(made.object);
            let text = object.to_string();
            serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
            assert_eq!(json::read(&text).expect("it is JSON").twice, [""; 0]);
            let yaml = yaml::to_yaml(&object);
            let again = yaml::read_all(&yaml).expect("it is YAML");
            assert_eq!(again[0].value.to_string(), text, "{yaml}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics_anything(text in prop_oneof!["\\PC{0,40}", "[\\[\\]{}:,&*!|>'\"%@a-c0-9 \n-]{0,60}"]) {
        through(&text);
        through(&format!("kind: Template\nobjects:\n- {text}"));
        let _ = template::generator::Expression::parse(&text);
        let _ = template::condition::Condition::parse(&text);
    }

    #[test]
    fn whatever_comes_out_reads_back(template in template()) {
        through(&template.to_string());
    }

    #[test]
    fn pieces_make_up_the_text(text in text()) {
        let mut again = String::new();
        for piece in pieces(&text) {
            match piece {
                Piece::Text(text) | Piece::Reference(_, text) => again.push_str(text),
                Piece::Escaped(head, tail) => again.extend([head, "|literal", tail]),
            }
        }
        prop_assert_eq!(again, text);
    }

    /// The extensions aside, a text becomes what an independent replacement makes of it, in one pass.
    #[test]
    fn texts_are_filled_in_one_pass(text in text(), a in text(), b in text()) {
        prop_assume!(!text.contains('|'));
        let whole = Regex::new(r"^\$\{\{([A-Za-z0-9_]+)\}\}$").unwrap();
        prop_assume!(!whole.is_match(&text));
        let reference = Regex::new(r"\$\{([A-Za-z0-9_]+)\}").unwrap();
        let expected = reference.replace_all(&text, |found: &Captures<'_>| match &found[1] {
            "A" => a.clone(),
            "B" => b.clone(),
            _ => found[0].to_owned(),
        });
        let parameters = serde_json::json!([{"name": "A", "value": a}, {"name": "B", "value": b}]);
        let objects = serde_json::json!([{"kind": "K", "text": text}]);
        let source = serde_json::json!({"kind": "Template", "parameters": parameters, "objects": objects}).to_string();
        let template = &document::templates(&source).unwrap()[0];
        let values = template.resolve(&Given::new(), Unknown::Refused, &mut Counting(0)).unwrap();
        let processed = template.process(&values, &Options::default()).unwrap();
        prop_assert_eq!(processed.objects[0].object.get("text").and_then(Value::as_str), Some(&*expected));
    }
}
