//! Objects as Go writes them in both encodings: `cargo xtask kinds` makes them from Kubernetes' own types.

use apimachinery::json::{self, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const EXAMPLES: &str = include_str!("data/golden.jsonl");

fn examples() -> impl Iterator<Item = (String, Value<'static>, Vec<u8>)> {
    EXAMPLES.lines().map(|line| {
        let (example, _) = json::parse_strict(line.as_bytes()).unwrap();
        let name = format!(
            "{} {}",
            example["apiVersion"].as_str().unwrap(),
            example["kind"].as_str().unwrap()
        );
        let protobuf = STANDARD.decode(example["protobuf"].as_str().unwrap()).unwrap();
        (name, example["json"].clone().into_owned(), protobuf)
    })
}

/// Nested metadata is compared, the object's own belongs to the API.
fn without_metadata(mut object: Value<'_>) -> Value<'_> {
    if let Some(members) = object.as_object_mut() {
        members.remove("metadata");
    }
    object
}

#[test]
fn protobuf_says_what_json_says() {
    let mut count = 0;
    for (name, expected, protobuf) in examples() {
        let mut found = kinds::protobuf::decode(&protobuf).unwrap_or_else(|error| panic!("{name}: {error}"));
        let of = kinds::protobuf::Envelope::read(&protobuf)
            .unwrap()
            .object_type()
            .unwrap();
        // Both leave out and write out empty fields by the rules of the same types.
        assert_eq!(of.shape(&mut found).unwrap(), Vec::<String>::new(), "{name}");
        let metadata = |object: &Value<'_>| {
            let mut metadata = object["metadata"].clone().into_owned();
            if let Some(members) = metadata.as_object_mut() {
                apimachinery::meta::decode(members, "metadata").unwrap();
            }
            metadata.to_string().replace("null", "{}")
        };
        assert_eq!(metadata(&found), metadata(&expected), "{name}");
        let (found, expected) = (
            without_metadata(found).to_string(),
            without_metadata(expected).to_string(),
        );
        assert_eq!(found, expected, "{name}");
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[test]
fn what_go_writes_keeps_its_form() {
    for (name, expected, protobuf) in examples() {
        let of = kinds::protobuf::Envelope::read(&protobuf)
            .unwrap()
            .object_type()
            .unwrap();
        let mut object = expected.clone();
        let unknown = of.shape(&mut object).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (unknown, object.to_string()),
            (Vec::new(), expected.to_string()),
            "{name}"
        );
    }
}

#[test]
fn broken_bodies_are_refused_and_never_panic() {
    for (name, _, protobuf) in examples() {
        for at in (0..protobuf.len()).step_by(13) {
            let _ = kinds::protobuf::decode(&protobuf[..at]);
            let mut changed = protobuf.clone();
            changed[at] ^= 0x41;
            if let Ok(mut object) = kinds::protobuf::decode(&changed) {
                let of = kinds::protobuf::Envelope::read(&changed)
                    .unwrap()
                    .object_type()
                    .unwrap();
                if of.shape(&mut object).is_ok() {
                    of.default(&mut object);
                }
            }
        }
        assert!(!name.is_empty());
    }
}
