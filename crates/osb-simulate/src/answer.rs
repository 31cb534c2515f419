//! What came of a call, read as far as all platforms read it alike.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::RETRY_AFTER;
use osb_api::Object;
use osb_api::id::MAX_OPERATION_CHARS;
use serde_json::Value;

use crate::transport::Lost;

/// What came of a call.
pub(crate) type Outcome = Result<Answer, Lost>;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Seconds only, as the specification recommends (OSB-LOI-10).
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Content,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Object(Object),
    /// Any other JSON.
    Json,
    /// So many bytes of something else.
    Other(usize),
}

/// `state` of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Ongoing,
    Succeeded,
    Failed,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ongoing => "in progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        })
    }
}

impl Answer {
    pub(crate) fn read(response: &Response<Bytes>) -> Self {
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        Self {
            status: response.status().as_u16(),
            retry_after: retry_after
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
            body: match serde_json::from_slice(response.body()) {
                Ok(Value::Object(object)) => Content::Object(object),
                Ok(_) => Content::Json,
                Err(_) => Content::Other(response.body().len()),
            },
        }
    }

    pub(crate) fn object(&self) -> Option<&Object> {
        match &self.body {
            Content::Object(object) => Some(object),
            Content::Json | Content::Other(_) => None,
        }
    }

    /// The body of a success.
    pub(crate) fn expect_object(&self) -> Result<&Object, String> {
        self.object()
            .ok_or_else(|| format!("the body of the answer {} is no JSON object", self.status))
    }

    /// `operation` of a 202.
    pub(crate) fn operation(&self) -> Result<Option<String>, String> {
        match self.expect_object()?.get("operation") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= MAX_OPERATION_CHARS => {
                Ok(Some(text.clone()).filter(|text| !text.is_empty()))
            }
            Some(Value::String(_)) => Err(format!("`operation` has more than {MAX_OPERATION_CHARS} characters")),
            Some(_) => Err("`operation` is no string".to_owned()),
        }
    }

    /// `state`, if this is what a successful poll gives.
    pub(crate) fn progress(&self) -> Option<Progress> {
        if self.status != 200 {
            return None;
        }
        match self.object()?.get("state")?.as_str()? {
            "in progress" => Some(Progress::Ongoing),
            "succeeded" => Some(Progress::Succeeded),
            "failed" => Some(Progress::Failed),
            _ => None,
        }
    }

    /// `error`: the code.
    pub(crate) fn error(&self) -> Option<&str> {
        self.text("error")
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.object()?.get(name)?.as_str()
    }

    /// For messages: the status and what the broker says of it.
    pub(crate) fn summary(&self) -> String {
        let said = [self.error(), self.text("description")];
        let said: Vec<&str> = said.into_iter().flatten().collect();
        if said.is_empty() {
            self.status.to_string()
        } else {
            format!("{} ({})", self.status, said.join(": "))
        }
    }
}

/// For messages: what came of a call.
pub(crate) fn summary(outcome: &Outcome) -> String {
    match outcome {
        Ok(answer) => answer.summary(),
        Err(lost) => lost.to_string(),
    }
}

#[cfg(test)]
pub(crate) fn answer(status: u16, body: Value) -> Outcome {
    let body = match body {
        Value::Object(object) => Content::Object(object),
        Value::Null => Content::Other(0),
        _ => Content::Json,
    };
    Ok(Answer {
        status,
        retry_after: None,
        body,
    })
}
