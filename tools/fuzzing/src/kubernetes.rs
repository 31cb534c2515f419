//! What stands in paths and queries of the Kubernetes API.

use apimachinery::field_selector::{self, FieldSelector};
use apimachinery::json::{Map, Value};
use apimachinery::jsonpath::JsonPath;
use apimachinery::label_selector::LabelSelector;
use apimachinery::list::{ContinueToken, ListOptions, resource_version};
use apimachinery::request_info::{RequestInfo, percent_decode};

use crate::bytes_of;

/// What a selector, a token or a path says, it says again when it is written. Parts of the input: a label selector, a field
/// selector, a query, a method and a path.
pub(crate) fn selectors(data: &[u8]) {
    let Some(texts) = bytes_of::texts(data, 4) else { return };
    for text in &texts {
        labels(text);
        fields(text);
        let _ = (
            ContinueToken::decode(text).map(|token| {
                assert_eq!(
                    ContinueToken::decode(&token.encode()).as_ref(),
                    Ok(&token),
                    "a token does not come back"
                );
            }),
            resource_version(text),
        );
        if let Ok(decoded) = percent_decode(text) {
            assert!(decoded.len() <= text.len(), "decoding makes longer");
        }
    }
    let query = texts.get(2).copied().unwrap_or_default();
    let pairs: Vec<(&str, &str)> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    let _ = ListOptions::parse(pairs.iter().copied());
    if let Some((method, path)) = texts.get(3).and_then(|line| line.split_once(' '))
        && let Ok(RequestInfo::Resource(request)) = RequestInfo::parse(method, path, pairs.iter().copied())
    {
        assert!(
            !request.version.is_empty() && !request.resource.is_empty(),
            "a resource without a name"
        );
        let _ = request.authorization_name();
    }
}

fn labels(text: &str) {
    let Ok(selector) = LabelSelector::parse(text) else {
        return;
    };
    let written = selector.to_string();
    assert_eq!(
        LabelSelector::parse(&written).as_ref(),
        Ok(&selector),
        "{written:?} is another selector than {text:?}"
    );
    assert_eq!(selector.is_empty(), written.is_empty());
    if selector.is_empty() {
        assert!(selector.matches(&Map::new()), "the empty selector selects everything");
    }
}

fn fields(text: &str) {
    let escaped = field_selector::escape(text);
    let one = FieldSelector::parse(&format!("a={escaped}"));
    assert_eq!(
        one.as_ref().map(|one| one.exact("a")),
        Ok(Some(text)),
        "an escaped value is another one"
    );
    let Ok(selector) = FieldSelector::parse(text) else {
        return;
    };
    let written = selector.to_string();
    assert_eq!(
        FieldSelector::parse(&written).as_ref(),
        Ok(&selector),
        "{written:?} is another selector than {text:?}"
    );
    let _ = selector.matches(|_| None);
}

/// Parts of the input: a path or template, an object.
pub(crate) fn jsonpath(data: &[u8]) {
    let parts = bytes_of::parts(data, 2);
    let Ok(text) = std::str::from_utf8(parts[0]) else {
        return;
    };
    let object = parts
        .get(1)
        .and_then(|json| apimachinery::json::parse_strict(json).ok());
    let object = object.map_or(Value::Null, |(value, _)| value);
    let path = JsonPath::path(text);
    if let Ok(path) = &path {
        assert_eq!(
            path.first_value(&object),
            path.find_all(&object).first().copied(),
            "the first of all is another one"
        );
        if let Some(names) = path.simple_fields() {
            let walked = names
                .iter()
                .try_fold(&object, |value, name| value.as_object()?.get(name));
            assert_eq!(path.first_value(&object), walked, "a plain path leads elsewhere");
        }
    }
    for path in path.into_iter().chain(JsonPath::template(text)) {
        // Bounded whatever ranges stand in each other: more would be a way to have a server write without end.
        assert!(path.render(&object).len() <= 64 << 20);
    }
}
