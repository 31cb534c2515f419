use apimachinery::json;

use super::*;

/// A field of bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

fn body(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &meta), bytes(2, message)].concat()
}

#[test]
fn a_config_map_is_read() {
    let entry = [bytes(1, b"a"), bytes(2, b"1")].concat();
    let message = [bytes(1, &bytes(1, b"name")), bytes(2, &entry)].concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &message)).unwrap(),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "name"}, "data": {"a": "1"}})
    );
}

#[test]
fn what_is_no_object_is_refused() {
    for (body, expected) in [
        (b"".to_vec(), Error::NoMagic),
        (b"{\"kind\":\"Pod\"}".to_vec(), Error::NoMagic),
        (MAGIC.to_vec(), Error::NoKind),
        (body("v1", "Pod", &[0x0a]), Error::Malformed),
        (
            body("v1", "Pod", &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Error::Malformed,
        ),
        (body("v1", "Pod", &[0xff; 20]), Error::Malformed),
        (body("v1", "Pod", &[0x0b]), Error::Malformed),
        (body("v1", "Pod", &bytes(1, &bytes(1, &[0xff]))), Error::Malformed),
        (body("ex.io/v1", "Widget", b""), Error::UnknownKind),
        (body("v1", "Widget", b""), Error::UnknownKind),
    ] {
        assert_eq!(decode(&body), Err(expected), "{body:?}");
    }
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    // spec.versions[0].schema.openAPIV3Schema, and in it `not` after `not`.
    let mut schema = Vec::new();
    for _ in 0..200 {
        schema = [vec![0xe2, 0x01], bytes(0, &schema)[1..].to_vec()].concat();
    }
    let version = bytes(4, &bytes(1, &schema));
    let message = bytes(2, &bytes(7, &version));
    let kind = "CustomResourceDefinition";
    assert_eq!(
        decode(&body("apiextensions.k8s.io/v1", kind, &message)),
        Err(Error::TooLarge)
    );

    let containers = bytes(2, b"").repeat(MAX_VALUES);
    assert_eq!(decode(&body("v1", "Pod", &bytes(2, &containers))), Err(Error::TooLarge));
}
