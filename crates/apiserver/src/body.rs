//! Bodies: reading a request's, and the type of a response's.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// The longest request body, in bytes.
pub(crate) const LONGEST_REQUEST: usize = 3 * 1024 * 1024;

/// The body of a response: whole, or the stream of a watch.
pub struct Body(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        Body(Kind::Whole(
            Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()),
        ))
    }

    /// The same body, with something that lives as long as its stream; beside a whole body it ends at once.
    pub(crate) fn holding<G: Send + 'static>(self, guard: G) -> Body {
        match self.0 {
            Kind::Stream(mut stream) => Body::stream(futures::stream::poll_fn(move |cx| {
                let _held = &guard;
                stream.as_mut().poll_next(cx)
            })),
            whole => Body(whole),
        }
    }

    /// The same body; each frame of its stream is shown before it is sent.
    pub(crate) fn inspected(self, mut look: impl FnMut(&Bytes) + Send + Unpin + 'static) -> Body {
        match self.0 {
            Kind::Stream(stream) => Body::stream(futures::StreamExt::inspect(stream, move |frame| look(frame))),
            whole => Body(whole),
        }
    }

    /// Whether it is all there.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.0, Kind::Whole(_))
    }

    /// The bytes of a whole body.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref(),
            Kind::Stream(_) => None,
        }
    }

    pub(crate) fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Body {
        Body(Kind::Stream(Box::pin(stream)))
    }

    /// The bytes of a whole body; of a stream none are known.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref().map_or(0, Bytes::len),
            Kind::Stream(_) => 0,
        }
    }

    /// Changes a whole body; a stream stays as it is.
    pub(crate) fn map_whole(self, change: impl FnOnce(Bytes) -> Bytes) -> Body {
        match self.0 {
            Kind::Whole(bytes) => Body::whole(change(bytes.unwrap_or_default())),
            stream @ Kind::Stream(_) => Body(stream),
        }
    }

    /// Makes a stream of a whole body; a stream stays as it is.
    pub(crate) fn stream_whole<S>(self, stream: impl FnOnce(Bytes) -> S) -> Body
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        match self.0 {
            Kind::Whole(bytes) => Body::stream(stream(bytes.unwrap_or_default())),
            stream @ Kind::Stream(_) => Body(stream),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => write!(f, "Body({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
            Kind::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|item| item.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// Why a request body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// It is longer than [`LONGEST_REQUEST`].
    TooLong,
    /// The client went away or broke the framing.
    Broken,
}

/// Reads a request body of at most [`LONGEST_REQUEST`] bytes. A body of one frame is not copied.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ReadError>
where
    B: http_body::Body<Data = Bytes>,
{
    if body.size_hint().lower() > LONGEST_REQUEST as u64 {
        return Err(ReadError::TooLong);
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > LONGEST_REQUEST {
            return Err(ReadError::TooLong);
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt as _, stream};

    fn frames(sizes: &'static [usize]) -> impl http_body::Body<Data = Bytes> {
        http_body_util::StreamBody::new(
            stream::iter(sizes).map(|size| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; *size])))),
        )
    }

    #[tokio::test]
    async fn frames_are_joined_up_to_the_limit() {
        assert_eq!(read(frames(&[])).await.map(|bytes| bytes.len()), Ok(0));
        assert_eq!(read(frames(&[3, 0, 4])).await.map(|bytes| bytes.len()), Ok(7));
        assert_eq!(
            read(frames(&[1, LONGEST_REQUEST - 1])).await.map(|bytes| bytes.len()),
            Ok(LONGEST_REQUEST)
        );
        assert_eq!(read(frames(&[1, LONGEST_REQUEST])).await, Err(ReadError::TooLong));
        assert_eq!(
            read(http_body_util::Full::new(Bytes::from(vec![0; LONGEST_REQUEST + 1]))).await,
            Err(ReadError::TooLong)
        );
    }
}
