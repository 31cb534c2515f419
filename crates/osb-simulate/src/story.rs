//! The story of an exchange, to be read by people.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use osb_api::Object;
use serde_json::Value;

use crate::transport::Lost;

/// How much of a body is shown, in characters.
const SHOWN: usize = 200;

/// Members whose values are for nobody's eyes.
const SECRET: [&str; 5] = [
    "credentials",
    "parameters",
    "syslog_drain_url",
    "route_service_url",
    "volume_mounts",
];

/// What went over the wire, call by call, in the order in which the calls were made.
///
/// Credentials and parameters are left out, and so is the login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    chapters: Vec<Chapter>,
    calls: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Chapter {
    /// What is done from here on.
    Heading(String),
    Exchange {
        number: usize,
        time: Duration,
        request: String,
        /// What the platform saw, then what really happened when that is something else.
        answer: Option<String>,
        note: Option<&'static str>,
    },
}

/// A place in a story where an answer is awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page(usize);

impl Story {
    pub(crate) fn heading(&mut self, text: impl Into<String>) {
        self.chapters.push(Chapter::Heading(text.into()));
    }

    pub(crate) fn request(&mut self, time: Duration, request: &Request<Bytes>, note: Option<&'static str>) -> Page {
        self.calls += 1;
        self.chapters.push(Chapter::Exchange {
            number: self.calls,
            time,
            request: line(request.method(), &request.uri().to_string(), request.body()),
            answer: None,
            note,
        });
        Page(self.chapters.len() - 1)
    }

    pub(crate) fn answer(&mut self, page: Page, answer: &Result<Response<Bytes>, Lost>) {
        let text = match answer {
            Ok(response) => format!("{} {}", response.status().as_u16(), shown(response.body())),
            Err(lost) => lost.to_string(),
        };
        if let Some(Chapter::Exchange { answer, .. }) = self.chapters.get_mut(page.0) {
            *answer = Some(text);
        }
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.chapters.is_empty()
    }

    /// Its lines, without line ends.
    pub fn lines(&self) -> Vec<String> {
        self.to_string().lines().map(str::to_owned).collect()
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.chapters[..];
        while let Some(first) = rest.first() {
            let alike = rest.iter().take_while(|chapter| chapter.is_like(first)).count();
            let (run, others) = rest.split_at(alike.max(1));
            match run {
                [first, second, between @ .., last] if between.len() > 1 => {
                    write!(f, "{first}{second}")?;
                    writeln!(f, "     … {} more like these …", between.len())?;
                    write!(f, "{last}")?;
                }
                _ => run.iter().try_for_each(|chapter| write!(f, "{chapter}"))?,
            }
            rest = others;
        }
        Ok(())
    }
}

impl Chapter {
    /// Whether both tell the same but for the time.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Exchange {
                    request, answer, note, ..
                },
                Self::Exchange {
                    request: other_request,
                    answer: other_answer,
                    note: other_note,
                    ..
                },
            ) => (request, answer, note) == (other_request, other_answer, other_note),
            _ => false,
        }
    }
}

impl fmt::Display for Chapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heading(text) => writeln!(f, "     # {text}"),
            Self::Exchange {
                number,
                time,
                request,
                answer,
                note,
            } => {
                writeln!(f, "{number:>4} {} {request}", clock(*time))?;
                let answer = answer.as_deref().unwrap_or("(no answer yet)");
                write!(f, "{:>20} {}", "=>", answer.trim_end())?;
                match note {
                    Some(note) => writeln!(f, "  [{note}]"),
                    None => writeln!(f),
                }
            }
        }
    }
}

/// Hours, minutes, seconds, milliseconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{:>3}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_millis()
    )
}

fn line(method: &Method, path: &str, body: &Bytes) -> String {
    if body.is_empty() {
        format!("{method} {path}")
    } else {
        format!("{method} {path} {}", shown(body))
    }
}

fn shown(body: &Bytes) -> String {
    if body.is_empty() {
        return String::new();
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return format!("({} bytes that are not JSON)", body.len());
    };
    if let Value::Object(members) = &mut value {
        if members.contains_key("services") {
            return format!("(a catalog of {} bytes)", body.len());
        }
        hide(members);
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Empty values stay: that a platform sends `null` is a part of the story.
fn hide(members: &mut Object) {
    for name in SECRET {
        if let Some(value) = members.get_mut(name) {
            let is_empty = match value {
                Value::Null => true,
                Value::Object(object) => object.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            if !is_empty {
                *value = Value::String("…".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str, answer: &str) -> String {
        let mut story = Story::default();
        story.heading("a bind");
        let request = Request::builder()
            .method("PUT")
            .uri("/v2/x?a=b")
            .header("authorization", "Basic abc");
        let page = story.request(
            Duration::from_millis(3_723_004),
            &request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap(),
            Some("the answer is lost"),
        );
        story.answer(
            page,
            &Ok(Response::builder()
                .status(201)
                .body(Bytes::copy_from_slice(answer.as_bytes()))
                .unwrap()),
        );
        story.to_string()
    }

    #[test]
    fn a_story_has_numbered_lines_and_no_secrets() {
        let story = told(
            r#"{"plan_id":"p","parameters":{"password":"hunter2"}}"#,
            r#"{"credentials":{"password":"hunter2"}}"#,
        );
        assert_eq!(
            story,
            "     # a bind\n\
             \x20  1   1:02:03.004 PUT /v2/x?a=b {\"parameters\":\"…\",\"plan_id\":\"p\"}\n\
             \x20                 => 201 {\"credentials\":\"…\"}  [the answer is lost]\n"
        );
    }

    #[test]
    fn parameters_that_nobody_gave_are_shown() {
        assert!(told(r#"{"parameters":null}"#, "{}").contains(r#"{"parameters":null}"#));
        assert!(told(r#"{"parameters":{}}"#, "{}").contains(r#"{"parameters":{}}"#));
    }

    #[test]
    fn what_is_not_json_is_only_counted() {
        assert!(told("{}", "<html>hunter2</html>").contains("201 (20 bytes that are not JSON)"));
    }

    #[test]
    fn what_repeats_for_days_is_told_once() {
        let mut story = Story::default();
        let request = Request::builder().uri("/v2/x").body(Bytes::new()).unwrap();
        for second in 0..10_000 {
            let page = story.request(Duration::from_secs(second), &request, None);
            story.answer(page, &Err(Lost::Timeout));
        }
        let lines = story.lines();
        assert_eq!(lines.len(), 7, "{story}");
        assert_eq!(lines[4], "     … 9997 more like these …");
        assert_eq!(lines[5], "10000   2:46:39.000 GET /v2/x");
    }
}
