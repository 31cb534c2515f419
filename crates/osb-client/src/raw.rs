//! Requests as their caller has made them.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};

use crate::client::{Http, MAX_ANSWER_BYTES, connection, login};
use crate::error::Error;
use crate::options::Options;
use crate::uri::Base;

/// Sends requests as they are to the broker of some [`Options`], and gives its answers as they are.
///
/// For tools that look at a broker more closely than a [`Client`](crate::Client) does. The login is added to each
/// request; no other header is, so `version`, `identity` and `timeout` of the options do not count here. Keeps
/// connections; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Raw {
    http: Http,
    base: Base,
    login: HeaderValue,
}

impl Raw {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Header`], [`Error::Trust`].
    pub fn new(options: &Options) -> Result<Self, Error> {
        let base = Base::of(options)?;
        Ok(Self {
            http: connection(options, &base)?,
            base,
            login: login(options)?,
        })
    }

    /// Sends a request whose URI is a path with or without a query, below the broker's URL. Waits without a limit.
    ///
    /// # Errors
    /// [`Error::Url`] for a URI that cannot be used; [`Error::Transport`] when there is no answer, or none that ends
    /// within 16 MiB.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.uri(&parts.uri)?;
        parts.headers.insert(AUTHORIZATION, self.login.clone());
        let request = Request::from_parts(parts, Full::new(body));
        let response = self.http.request(request).await;
        let (parts, body) = response.map_err(|error| Error::Transport(error.into()))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        Ok(Response::from_parts(parts, body.map_err(Error::Transport)?.to_bytes()))
    }

    fn uri(&self, path: &Uri) -> Result<Uri, Error> {
        let path = path.path_and_query().ok_or(Error::Url("has no path"))?;
        self.base.below(path.as_str())
    }
}
