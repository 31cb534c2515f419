//! The answers of a broker that is checked: it may say anything.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use osb_conformance::fuzzing;
use serde_json::Value;

/// A line with the status, lines `NAME: VALUE`, an empty line, the body: as an answer to every kind of call.
pub(crate) fn answers(data: &[u8]) {
    let Some(at) = data.windows(2).position(|window| window == b"\n\n") else {
        return;
    };
    let (head, body) = (&data[..at], &data[at + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok());
    let Some(status) = status else { return };
    let mut response = Response::new(());
    *response.status_mut() = status;
    for line in lines {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            return;
        };
        let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) else {
            return;
        };
        response.headers_mut().append(name, value);
    }
    let (parts, ()) = response.into_parts();
    let (_, shown) = fuzzing::answer(&parts, &Bytes::copy_from_slice(body));
    // A transcript is for people, and in no case longer than a page.
    assert!(
        shown.iter().all(|text| text.chars().count() < 4_000),
        "a transcript is too long"
    );
    if let Ok(catalog) = serde_json::from_slice::<Value>(body) {
        let _ = fuzzing::catalog(&catalog);
    }
}
