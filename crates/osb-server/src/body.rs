//! Reading a request's body: bounded in size, in time, and in memory over all requests.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::Config;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// 400 (OSB-CT-03)
    #[error("the content type has to be application/json")]
    ContentType,
    /// 413
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// 408
    #[error("the body did not come in time")]
    Slow,
    /// 400: the connection broke, or its framing is wrong.
    #[error("the body could not be read")]
    Broken,
}

/// A body, and its share of the memory for bodies. The share is kept for what is decoded from the body, until the call
/// is done; dropping it makes room for others.
#[derive(Debug)]
pub(crate) struct Buffered {
    pub(crate) bytes: Bytes,
    pub(crate) share: OwnedSemaphorePermit,
}

/// Reads bodies.
pub(crate) struct BodyReader {
    max_bytes: usize,
    timeout: Duration,
    memory: Arc<Semaphore>,
}

impl BodyReader {
    pub(crate) fn new(config: &Config) -> Self {
        // Shares are counted in bytes as u32: a single body has to fit into that.
        let max_bytes = config.max_body_bytes.min(1 << 30);
        let memory = config.max_buffered_bytes.max(max_bytes).min(Semaphore::MAX_PERMITS);
        Self {
            max_bytes,
            timeout: config.body_timeout,
            memory: Arc::new(Semaphore::new(memory)),
        }
    }

    /// Reads a whole JSON body.
    pub(crate) async fn read<B: Body<Data = Bytes>>(
        &self,
        headers: &HeaderMap,
        body: B,
    ) -> Result<Buffered, ReadError> {
        if !is_json(headers) {
            return Err(ReadError::ContentType);
        }
        let hint = body.size_hint();
        if hint.lower() > self.max_bytes as u64 {
            return Err(ReadError::TooLarge(self.max_bytes));
        }
        timeout(self.timeout, self.collect(body))
            .await
            .unwrap_or(Err(ReadError::Slow))
    }

    /// Takes the share before the first byte, the whole of it at once: two bodies that each wait for the rest of theirs
    /// would wait for ever.
    async fn collect<B: Body<Data = Bytes>>(&self, body: B) -> Result<Buffered, ReadError> {
        let most = body
            .size_hint()
            .exact()
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(self.max_bytes);
        let most = u32::try_from(most.min(self.max_bytes)).unwrap_or(u32::MAX);
        let mut share = self
            .memory
            .clone()
            .acquire_many_owned(most)
            .await
            .map_err(|_| ReadError::Broken)?;
        let bytes = self.frames(body).await?;
        let unused = (most as usize).saturating_sub(bytes.len());
        drop(share.split(unused));
        Ok(Buffered { bytes, share })
    }

    /// A body of one frame is not copied.
    async fn frames<B: Body<Data = Bytes>>(&self, body: B) -> Result<Bytes, ReadError> {
        let mut body = pin!(body);
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else {
                continue;
            };
            if first.len() + all.len() + data.len() > self.max_bytes {
                return Err(ReadError::TooLarge(self.max_bytes));
            }
            if first.is_empty() && all.is_empty() {
                first = data;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&data);
            }
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

/// `application/json` in any letter case and with any parameters, or nothing (OSB-CT-02, OSB-CT-04).
fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|value| {
        let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OSB-CT-02, OSB-CT-03, OSB-CT-04.
    #[test]
    fn content_types_are_read_as_http_has_them() {
        let json = |value: &'static str| is_json(&HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]));
        assert!(is_json(&HeaderMap::new()));
        for value in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON;Charset=UTF-8",
            " application/json ;x",
        ] {
            assert!(json(value), "{value}");
        }
        for value in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "json",
            "*/*",
        ] {
            assert!(!json(value), "{value}");
        }
    }
}
