//! What a broker has answered, and how it is shown without secrets.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::response::Parts;
use serde_json::Value;

use crate::call::{Call, Op};

/// How much of a body a transcript shows, in characters.
const SHOWN_BODY: usize = 300;

/// Members whose values are never shown, wherever they stand.
const SECRET: &[&str] = &[
    "credentials",
    "parameters",
    "secret",
    "syslog_drain_url",
    "route_service_url",
    "volume_mounts",
    "dashboard_url",
];

/// An answer, or that there was none.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) op: Op,
    /// 0 when there was no answer.
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body, if it is JSON.
    pub(crate) json: Option<Value>,
    /// Whether the request allowed a 202, clearly or not at all; `None` for another value than `true` and `false`.
    pub(crate) accepting: Option<bool>,
    /// No answer in time.
    pub(crate) late: bool,
    request: String,
    lost: Option<String>,
}

impl Answer {
    pub(crate) fn of(call: &Call, parts: &Parts, body: Bytes) -> Self {
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers.clone(),
            json: serde_json::from_slice(&body).ok(),
            body,
            ..Self::none(call)
        }
    }

    pub(crate) fn lost(call: &Call, what: String) -> Self {
        Self {
            lost: Some(what),
            ..Self::none(call)
        }
    }

    pub(crate) fn unanswered(call: &Call, timeout: Duration) -> Self {
        let what = format!("no answer within {} s", timeout.as_secs_f64());
        Self {
            lost: Some(what),
            late: true,
            ..Self::none(call)
        }
    }

    fn none(call: &Call) -> Self {
        Self {
            op: call.op,
            status: 0,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            json: None,
            accepting: call.accepts(),
            late: false,
            request: request_line(call),
            lost: None,
        }
    }

    pub(crate) fn is(&self, statuses: &[u16]) -> bool {
        statuses.contains(&self.status)
    }

    /// 2xx
    pub(crate) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// 4xx
    pub(crate) fn refused(&self) -> bool {
        (400..500).contains(&self.status)
    }

    pub(crate) fn was_answered(&self) -> bool {
        self.status != 0
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.json.as_ref()?.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_str()
    }

    pub(crate) fn operation(&self) -> Option<&str> {
        self.text("operation")
    }

    /// The state of a poll.
    pub(crate) fn state(&self) -> Option<&str> {
        if self.status == 200 { self.text("state") } else { None }
    }

    /// 422 with one of the reserved codes.
    pub(crate) fn is_reserved(&self, code: &str) -> bool {
        self.status == 422 && self.text("error") == Some(code)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `422 ConcurrencyError`, as it is told.
    pub(crate) fn told(&self) -> String {
        match (&self.lost, self.text("error")) {
            (Some(lost), _) => format!("nothing ({lost})"),
            (None, Some(error)) if self.status >= 400 => format!("{} {}", self.status, short(error, 40)),
            (None, _) => self.status.to_string(),
        }
    }

    /// Request line, status and body.
    pub(crate) fn transcript(&self) -> String {
        let answer = match &self.lost {
            Some(lost) => lost.clone(),
            None => format!("{} {}", self.status, self.shown_body()),
        };
        format!("{} -> {}", self.request, answer.trim_end())
    }

    fn shown_body(&self) -> String {
        match &self.json {
            Some(json) => shown(json),
            None if self.body.is_empty() => String::new(),
            // It may be anything.
            None => format!("({} bytes that are no JSON)", self.body.len()),
        }
    }
}

fn request_line(call: &Call) -> String {
    let line = format!("{} {}", call.method, short(&call.target(), 200));
    match &call.body {
        None => line,
        Some(body) => match serde_json::from_slice(body) {
            Ok(json) => format!("{line} {}", shown(&json)),
            Err(_) => format!("{line} ({} bytes that are no JSON)", body.len()),
        },
    }
}

/// JSON without secrets, shortened.
fn shown(json: &Value) -> String {
    let mut json = json.clone();
    blot(&mut json);
    short(&json.to_string(), SHOWN_BODY)
}

fn blot(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                let plain = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                if SECRET.contains(&name.as_str()) && !plain {
                    *value = Value::String("…".to_owned());
                } else {
                    blot(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blot),
        _ => {}
    }
}

pub(crate) fn short(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn transcripts_show_no_secret() {
        let call = Call::bind("i", "b", &json!({"plan_id": "p", "parameters": {"pin": "canary"}}));
        let answer = Answer {
            json: Some(json!({"credentials": {"password": "canary"}, "metadata": {"secret": "canary"}, "x": [1]})),
            status: 201,
            ..Answer::none(&call)
        };
        let text = answer.transcript();
        assert!(!text.contains("canary"), "{text}");
        assert!(
            text.starts_with("PUT /v2/service_instances/i/service_bindings/b {"),
            "{text}"
        );
        assert!(text.contains("-> 201 {"), "{text}");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("äöü", 2), "äö…");
        assert_eq!(short("äöü", 3), "äöü");
    }
}
