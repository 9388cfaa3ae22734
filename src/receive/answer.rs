//! The bodies of answers.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::header::{CONTENT_ENCODING, VARY};
use ::http::{HeaderMap, HeaderName, HeaderValue, Response};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::coding::Coding;

/// Shorter answers gain nothing by compression.
const WORTH_COMPRESSING: usize = 512;

/// A body that is there as a whole, perhaps with trailers, or one that goes on.
pub struct AnswerBody(Kind);

enum Kind {
    Whole { data: Option<Bytes>, trailers: Option<HeaderMap> },
    Stream { body: UnsyncBoxBody<Bytes, Infallible>, kept: Option<Box<dyn Any + Send>> },
}

impl AnswerBody {
    /// A body with trailers behind it.
    pub fn with_trailers(data: Bytes, trailers: HeaderMap) -> Self {
        Self(Kind::Whole { data: Some(data).filter(|data| !data.is_empty()), trailers: Some(trailers) })
    }

    /// Keeps what a body that comes in pieces needs for as long as it goes on. Nothing is kept for one that is there as a whole.
    pub(super) fn keep<G: Send + 'static>(&mut self, guard: impl FnOnce() -> G) {
        if let Kind::Stream { kept, .. } = &mut self.0 {
            *kept = Some(Box::new(guard()));
        }
    }

    /// Keeps what `guard` makes of the body's length for as long as its bytes are held, by whoever sends them. Nothing is
    /// kept for a body without bytes, nor for one that goes on: that is as long as its reader likes.
    pub(super) fn hold<G: Send + Sync + 'static>(&mut self, guard: impl FnOnce(u64) -> G) {
        if let Kind::Whole { data: Some(data), .. } = &mut self.0 {
            let guard = guard(data.len() as u64);
            *data = Bytes::from_owner(Held { data: std::mem::take(data), _guard: guard });
        }
    }

    /// A body that comes in pieces.
    pub fn stream(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self(Kind::Stream { body: body.boxed_unsync(), kept: None })
    }
}

/// Bytes, and what lives as long as they do.
struct Held<G> {
    data: Bytes,
    _guard: G,
}

impl<G> AsRef<[u8]> for Held<G> {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl From<Bytes> for AnswerBody {
    fn from(data: Bytes) -> Self {
        Self(Kind::Whole { data: Some(data).filter(|data| !data.is_empty()), trailers: None })
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole { data, trailers } => {
                f.debug_struct("AnswerBody").field("data", data).field("trailers", trailers).finish()
            }
            Kind::Stream { .. } => f.write_str("AnswerBody::stream"),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole { data, trailers } => {
                let data = data.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            Kind::Stream { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            Kind::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            // So that no `Content-Length` stands where trailers follow.
            Kind::Whole { trailers: Some(_), .. } => SizeHint::default(),
            Kind::Whole { data, .. } => SizeHint::with_exact(data.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Stream { body, .. } => body.size_hint(),
        }
    }
}

/// A body, compressed by gzip, if that makes it smaller.
pub(super) fn gzipped(body: &[u8]) -> Option<Bytes> {
    if body.len() < WORTH_COMPRESSING {
        return None;
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).ok()?;
    let smaller = encoder.finish().ok().filter(|compressed| compressed.len() < body.len());
    smaller.map(Bytes::from)
}

/// Compresses an answer by gzip, if that makes it smaller.
pub(super) fn compress(answer: &mut Response<AnswerBody>) {
    if let Kind::Whole { data: Some(data), trailers: None } = &mut answer.body_mut().0
        && let Some(smaller) = gzipped(data)
    {
        *data = smaller;
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(Coding::Gzip.name()));
        answer.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Whether a list of codings (`Accept-Encoding`, `grpc-accept-encoding`) has gzip. `gzip;q=0` is a no.
pub(super) fn takes_gzip(headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = quality.trim().strip_prefix("q=").and_then(|quality| quality.parse::<f32>().ok());
        Coding::of(name) == Some(Coding::Gzip) && quality.is_none_or(|quality| quality > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_named() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", value.parse().unwrap());
            takes_gzip(&headers, &::http::header::ACCEPT_ENCODING)
        };
        for yes in ["gzip", "deflate, GZIP", "br;q=1.0, gzip;q=0.8, *;q=0.1", "x-gzip"] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "gzip; q=0.0", "gzipped"] {
            assert!(!takes(no), "{no}");
        }
    }

    #[test]
    fn only_what_becomes_smaller_is_compressed() {
        assert_eq!(gzipped(&[b'a'; WORTH_COMPRESSING - 1]), None);
        assert!(gzipped(&[b'a'; WORTH_COMPRESSING]).unwrap().len() < 100);
        let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(4096).collect();
        assert_eq!(gzipped(&noise), None);
    }

    #[tokio::test]
    async fn data_comes_before_trailers_and_nothing_after() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let mut body = AnswerBody::with_trailers("data".into(), trailers.clone());
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data");
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert!(AnswerBody::from(Bytes::new()).is_end_stream());
    }
}
