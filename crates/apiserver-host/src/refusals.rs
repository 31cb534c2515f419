//! Gives a reason to what the HTTP library refuses by itself.
//!
//! A request whose head cannot be read or is too large never becomes a request: the library answers with a status and
//! no body, and closes. Clients of a broker and of the Kubernetes API expect JSON also then. And a client that is still
//! sending must be let to read the answer: a connection that is closed on what it sends is reset, and the answer with
//! it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::listener::{MAX_HEAD_BYTES, MAX_HEADERS};

/// How long, and for how many bytes, a client that was refused is listened to before its connection is closed.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 8 << 20;

/// Makes the body of a refusal from its status and its reason.
pub type Explain = fn(u16, &str) -> Value;

/// A connection on which refusals without a body get one.
pub(crate) struct Explained<S> {
    inner: S,
    listener: &'static str,
    explain: Explain,
    state: State,
}

enum State {
    /// What is written goes through.
    Open,
    /// The answer stands in for the bytes that the library is writing.
    Answering { answer: Vec<u8>, sent: usize },
    /// Nothing but the end is to come.
    Refused,
    /// The client is told that nothing follows, and is listened to until it ends, too.
    Lingering { until: Pin<Box<Sleep>>, left: usize },
}

impl<S> Explained<S> {
    pub(crate) fn new(inner: S, listener: &'static str, explain: Explain) -> Self {
        Self {
            inner,
            listener,
            explain,
            state: State::Open,
        }
    }

    /// Looks whether the bytes are a refusal without a body.
    fn look(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Open) {
            return;
        }
        let Some(refusal) = Refusal::of(bytes) else { return };
        let reason = reason(refusal.status);
        tracing::info!(listener = self.listener, status = refusal.status, reason, "refused");
        let body = (self.explain)(refusal.status, &reason).to_string();
        self.state = State::Answering {
            answer: refusal.with_body(&body),
            sent: 0,
        };
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Writes the answer; `None` when there is none to be written.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        let State::Answering { answer, sent } = &mut self.state else {
            return Poll::Ready(None);
        };
        while *sent < answer.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &answer[*sent..])) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(more) => *sent += more,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        self.state = State::Refused;
        Poll::Ready(Some(Ok(())))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Explained<S> {
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Lingering { until, left } = &mut self.state else {
            return Poll::Ready(());
        };
        let mut bytes = [0; 4096];
        while *left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => *left = left.saturating_sub(read.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncWrite + AsyncRead + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.look(bytes);
        match ready!(self.poll_answer(cx)) {
            Some(answered) => Poll::Ready(answered.map(|()| bytes.len())),
            None => Pin::new(&mut self.inner).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = parts.iter().filter(|part| !part.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(cx, only);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Lingering { .. }) {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            if matches!(self.state, State::Refused) {
                self.state = State::Lingering {
                    until: Box::pin(tokio::time::sleep(LINGER)),
                    left: LINGER_BYTES,
                };
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

/// The head of an answer that refuses and has no body.
struct Refusal<'a> {
    status: u16,
    /// The status line and all headers in front of the length, then those behind it, both with their line ends.
    around: (&'a str, &'a str),
}

impl<'a> Refusal<'a> {
    /// Only the library's own refusals look like this: all others have a body.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        const LINE: &str = "HTTP/1.1 ";
        const NO_BODY: &str = "\r\ncontent-length: 0\r\n";
        if !bytes.starts_with(b"HTTP/1.1 4") || !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let head = std::str::from_utf8(bytes).ok()?;
        let status = head.get(LINE.len()..LINE.len() + 3)?.parse().ok()?;
        let (before, behind) = head.split_once(NO_BODY)?;
        // One head, and nothing else.
        let is_alone = !before.contains("\r\n\r\n") && head.find("\r\n\r\n") == Some(head.len() - 4);
        is_alone.then_some(Self {
            status,
            around: (before, behind),
        })
    }

    fn with_body(&self, body: &str) -> Vec<u8> {
        let (before, behind) = self.around;
        let length = body.len();
        format!("{before}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{behind}{body}").into_bytes()
    }
}

fn reason(status: u16) -> String {
    match status {
        414 => "the path and query are too long".to_owned(),
        431 => format!("the head of a request may have {MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes"),
        _ => "this is no HTTP request that can be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BARE: &[u8] = b"HTTP/1.1 431 Too Large\r\ncontent-length: 0\r\ndate: now\r\n\r\n";

    fn explain(status: u16, reason: &str) -> Value {
        serde_json::json!({"status": status, "reason": reason})
    }

    async fn written(parts: &[&[u8]]) -> Vec<u8> {
        // A pipe that takes a few bytes at a time.
        let (near, mut far) = tokio::io::duplex(7);
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let writing = tokio::spawn(async move {
            let mut io = Explained::new(near, "test", explain);
            for part in parts {
                io.write_all(&part).await.unwrap();
            }
            io.shutdown().await.unwrap();
        });
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        drop(far);
        writing.await.unwrap();
        all
    }

    #[tokio::test]
    async fn a_refusal_without_a_body_gets_one() {
        let text = String::from_utf8(written(&[BARE]).await).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["status"], 431);
        assert!(body["reason"].as_str().unwrap().contains("65536 bytes"));
        let length = format!("content-length: {}", body.to_string().len());
        assert_eq!(
            head.lines().collect::<Vec<_>>(),
            [
                "HTTP/1.1 431 Too Large",
                "content-type: application/json",
                &length,
                "date: now"
            ]
        );
    }

    #[tokio::test]
    async fn everything_else_goes_through_as_it_is() {
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 23\r\n\r\n\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 404 Not \xff\r\ncontent-length: 0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(written(&[other]).await, other);
        }
    }

    /// The client is still sending when it is refused.
    #[tokio::test]
    async fn a_refused_client_is_heard_for_a_while() {
        let (near, mut far) = tokio::io::duplex(64);
        let ending = tokio::spawn(async move {
            let mut io = Explained::new(near, "test", explain);
            io.write_all(BARE).await.unwrap();
            io.shutdown().await.unwrap();
        });
        let mut answer = [0; 12];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        // Far more than fits into the pipe: somebody takes it.
        far.write_all(&[b'y'; 10_000]).await.unwrap();
        drop(far);
        ending.await.unwrap();
    }
}
