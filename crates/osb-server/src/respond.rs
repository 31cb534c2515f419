//! From an outcome to a response: status, headers, body.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use osb_api::answer::Answer;
use osb_api::error::{ErrorBody, Refusal};
use osb_api::identity::IdentityError;
use osb_api::json::BodyError;
use osb_api::version::VersionError;

use crate::auth::Challenge;
use crate::body::ReadError;
use crate::query::QueryError;
use crate::route::RouteError;

/// The body of every response: one piece of known length.
pub type ResponseBody = Full<Bytes>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const BASIC: &str = "Basic realm=\"service broker\", charset=\"UTF-8\"";
const BASIC_OR_BEARER: &str = "Basic realm=\"service broker\", charset=\"UTF-8\", Bearer realm=\"service broker\"";

/// After how many seconds a client may try again when too many calls run.
const BUSY_RETRY_SECS: u32 = 1;

/// `X-Broker-API-Request-Identity`, which every response carries back (OSB-RID-01).
pub(crate) const REQUEST_IDENTITY: HeaderName = HeaderName::from_static("x-broker-api-request-identity");

/// A response in the making.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
    retry_after_secs: Option<u32>,
    /// The one header that belongs to this status: `ETag`, `Allow`, `WWW-Authenticate`.
    header: Option<(HeaderName, HeaderValue)>,
    /// What the body says, when it is an error; for log lines.
    error: Option<ErrorBody>,
}

/// What the front itself refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrontError {
    #[error("credentials are missing or wrong")]
    Unauthorized(Challenge),
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("the method is not allowed here; use {0}")]
    Method(&'static str),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("too many requests are being worked on")]
    Busy,
    #[error("the broker failed on this request")]
    Panicked,
}

impl FrontError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Version(VersionError::Unsupported) => StatusCode::PRECONDITION_FAILED,
            Self::Route(RouteError::NotFound) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Read(ReadError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Read(ReadError::Slow) => StatusCode::REQUEST_TIMEOUT,
            Self::Version(VersionError::Missing | VersionError::Malformed)
            | Self::Route(RouteError::Encoding | RouteError::Id(..))
            | Self::Read(ReadError::ContentType | ReadError::Broken)
            | Self::Identity(_)
            | Self::Query(_)
            | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<FrontError> for Reply {
    fn from(error: FrontError) -> Self {
        let header = match error {
            FrontError::Unauthorized(challenge) => Some((WWW_AUTHENTICATE, challenge_value(challenge))),
            FrontError::Method(allow) => Some((ALLOW, HeaderValue::from_static(allow))),
            _ => None,
        };
        let retry_after_secs = (error == FrontError::Busy).then_some(BUSY_RETRY_SECS);
        Self {
            header,
            retry_after_secs,
            ..Self::error(error.status(), ErrorBody::described(error.to_string()))
        }
    }
}

impl Reply {
    /// What a route of the broker came to.
    pub(crate) fn of<T: Answer, E: Refusal>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(answer) => Self {
                retry_after_secs: answer.retry_after_secs(),
                ..Self::new(status(answer.status()), JSON, answer.body())
            },
            Err(refusal) => Self {
                retry_after_secs: refusal.retry_after_secs(),
                ..Self::error(status(refusal.status().code()), refusal.body())
            },
        }
    }

    /// 200 with a JSON body and its tag, if it has one.
    pub(crate) fn json(body: Bytes, etag: Option<HeaderValue>) -> Self {
        Self {
            header: etag.map(|etag| (ETAG, etag)),
            ..Self::new(StatusCode::OK, JSON, body)
        }
    }

    /// 304: the client has the body already; the tag is repeated (OSB-CAT-09).
    pub(crate) fn not_modified(etag: HeaderValue) -> Self {
        Self {
            header: Some((ETAG, etag)),
            ..Self::new(StatusCode::NOT_MODIFIED, JSON, Bytes::new())
        }
    }

    /// 200 with measurements.
    pub(crate) fn metrics(text: String) -> Self {
        Self::new(StatusCode::OK, METRICS, text)
    }

    /// 503 with a reason.
    pub(crate) fn unavailable(reason: String) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, ErrorBody::described(reason))
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// `error` of the body.
    pub(crate) fn error_code(&self) -> Option<&str> {
        self.error.as_ref()?.error.as_deref()
    }

    /// The response; `identity` goes back as it came (OSB-RID-01).
    pub(crate) fn into_response(self, identity: Option<HeaderValue>) -> Response<ResponseBody> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.reserve(5);
        if self.status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_TYPE, self.content_type);
            headers.insert(CONTENT_LENGTH, self.body.len().into());
        }
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        headers.extend(self.header.map(|(name, value)| (Some(name), value)));
        headers.extend(identity.map(|value| (Some(REQUEST_IDENTITY), value)));
        response
    }

    fn error(status: StatusCode, error: ErrorBody) -> Self {
        let body = serde_json::to_vec(&error).expect("plain texts and booleans always serialise");
        Self {
            error: Some(error),
            ..Self::new(status, JSON, body)
        }
    }

    fn new(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            body: body.into(),
            retry_after_secs: None,
            header: None,
            error: None,
        }
    }
}

/// What a 401 asks for (RFC 9110 section 11.6.1).
fn challenge_value(challenge: Challenge) -> HeaderValue {
    HeaderValue::from_static(match challenge {
        Challenge::Basic => BASIC,
        Challenge::BasicOrBearer => BASIC_OR_BEARER,
    })
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
