//! The answers of a broker that is checked: it may say anything.

use osb_conformance::fuzzing;
use serde_json::Value;

use crate::http_text;

/// An answer, judged as one to every kind of call.
pub(crate) fn answers(data: &[u8]) {
    let Some(response) = http_text::response(data) else {
        return;
    };
    let (parts, body) = response.into_parts();
    // A transcript is for people, and in no case longer than a page.
    assert!(
        fuzzing::answer(&parts, &body)
            .iter()
            .all(|text| text.chars().count() < 4_000),
        "a transcript is too long"
    );
    if let Ok(catalog) = serde_json::from_slice::<Value>(&body) {
        fuzzing::catalog(&catalog);
    }
}
