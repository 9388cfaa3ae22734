//! The bodies of answers.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::header::{CONTENT_ENCODING, VARY};
use ::http::{HeaderMap, HeaderName, HeaderValue, Response};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use super::watch::InProgress;
use crate::coding::Coding;

/// The shortest answer, in bytes, that is compressed.
const WORTH_COMPRESSING: usize = 512;

/// The answer to a request of a listener.
pub type HttpResponse = Response<ResponseBody>;

/// A body that is there as a whole, perhaps with trailers, or one that goes on.
pub struct ResponseBody(ResponseContent);

enum ResponseContent {
    Whole { data: Option<Bytes>, trailers: Option<HeaderMap> },
    Stream { body: UnsyncBoxBody<Bytes, Infallible>, lasting: Lasting, kept: Option<Box<dyn Any + Send>> },
}

/// Whether the request of an answer that comes in pieces lasts for as long as the answer.
enum Lasting {
    /// The request is over with the head of the answer: the connection may be closed as idle.
    No,
    /// The request lasts as long as the answer. `None` before the connection has begun to send the answer.
    Yes(Option<InProgress>),
}

impl ResponseBody {
    /// A body with trailers behind it.
    pub fn with_trailers(data: Bytes, trailers: HeaderMap) -> Self {
        Self(ResponseContent::Whole {
            data: Some(data).filter(|data| !data.is_empty()),
            trailers: Some(trailers),
        })
    }

    /// The length of a body that is there as a whole.
    pub(super) fn whole(&self) -> Option<u64> {
        match &self.0 {
            ResponseContent::Whole { data, .. } => Some(data.as_ref().map_or(0, Bytes::len) as u64),
            ResponseContent::Stream { .. } => None,
        }
    }

    /// A body that comes in pieces.
    pub fn stream(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self(ResponseContent::Stream { body: body.boxed_unsync(), lasting: Lasting::No, kept: None })
    }

    /// A body that comes in pieces for as long as its reader likes. Until it ends the connection has a request: it is not closed as
    /// idle. A connection whose reader takes no pieces is closed like one whose reader takes no answers. The body ends by itself, the
    /// next time that it is asked for a piece, once its listener stops.
    pub fn lasting_stream(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self(ResponseContent::Stream { body: body.boxed_unsync(), lasting: Lasting::Yes(None), kept: None })
    }

    /// Has the request last for as long as the body, if it is one for which it does.
    pub(super) fn keep_in_progress(&mut self, request: InProgress) {
        if let ResponseContent::Stream { lasting: Lasting::Yes(kept), .. } = &mut self.0 {
            *kept = Some(request);
        }
    }
}

/// Keeps `guard` for as long as the last part of an answer is held by whoever sends it: for as long as it goes on, or until its
/// trailers, its bytes or its head have been written.
pub(super) fn hold<G: Send + Sync + 'static>(answer: &mut Response<ResponseBody>, guard: G) {
    match &mut answer.body_mut().0 {
        ResponseContent::Stream { kept, .. } => *kept = Some(Box::new(guard)),
        ResponseContent::Whole { trailers: Some(trailers), .. } => hold_in(trailers, guard),
        ResponseContent::Whole { data: Some(data), .. } => *data = held(std::mem::take(data), guard),
        ResponseContent::Whole { .. } => hold_in(answer.headers_mut(), guard),
    }
}

/// Keeps `guard` in one of the headers: each answer and each set of trailers has one.
fn hold_in<G: Send + Sync + 'static>(headers: &mut HeaderMap, guard: G) {
    debug_assert!(!headers.is_empty(), "without a header the guard is dropped before the answer is written");
    if let Some(value) = headers.values_mut().next() {
        let bytes = held(Bytes::copy_from_slice(value.as_bytes()), guard);
        *value = HeaderValue::from_maybe_shared(bytes).expect("it was a value before");
        // A sensitive value is not put into the table of HPACK, which would keep it.
        value.set_sensitive(true);
    }
}

fn held<G: Send + Sync + 'static>(data: Bytes, guard: G) -> Bytes {
    Bytes::from_owner(GuardedBytes { data, _guard: guard })
}

/// Bytes, and a guard that lives as long as they do.
struct GuardedBytes<G> {
    data: Bytes,
    _guard: G,
}

impl<G> AsRef<[u8]> for GuardedBytes<G> {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl From<Bytes> for ResponseBody {
    fn from(data: Bytes) -> Self {
        Self(ResponseContent::Whole { data: Some(data).filter(|data| !data.is_empty()), trailers: None })
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ResponseContent::Whole { data, trailers } => {
                f.debug_struct("ResponseBody").field("data", data).field("trailers", trailers).finish()
            }
            ResponseContent::Stream { .. } => f.write_str("ResponseBody::stream"),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            ResponseContent::Whole { data, trailers } => {
                let data = data.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            ResponseContent::Stream { body, lasting: Lasting::Yes(Some(request)), .. } => {
                if request.is_last() {
                    return Poll::Ready(None);
                }
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|Ok(frame)| Ok(frame.map_data(|data| held(data, request.answer())))))
            }
            ResponseContent::Stream { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            ResponseContent::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            ResponseContent::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            // So that no `Content-Length` stands where trailers follow.
            ResponseContent::Whole { trailers: Some(_), .. } => SizeHint::default(),
            ResponseContent::Whole { data, .. } => {
                SizeHint::with_exact(data.as_ref().map_or(0, Bytes::len) as u64)
            }
            ResponseContent::Stream { body, .. } => body.size_hint(),
        }
    }
}

/// The body compressed by gzip, if that makes it smaller.
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
pub(super) fn compress(answer: &mut Response<ResponseBody>) {
    if let ResponseContent::Whole { data: Some(data), trailers: None } = &mut answer.body_mut().0
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
    use std::sync::Arc;

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
        let mut body = ResponseBody::with_trailers("data".into(), trailers.clone());
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data");
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert!(ResponseBody::from(Bytes::new()).is_end_stream());
    }

    #[tokio::test]
    async fn what_an_answer_holds_is_held_by_its_last_part() {
        let held = |answer: &mut Response<ResponseBody>| {
            let guard = Arc::new(());
            let held = Arc::downgrade(&guard);
            hold(answer, guard);
            held
        };
        let mut bare = Response::new(ResponseBody::from(Bytes::new()));
        bare.headers_mut().insert("x", HeaderValue::from_static("y"));
        let guard = held(&mut bare);
        let (mut head, body) = bare.into_parts();
        drop(body);
        assert_eq!(head.headers["x"], "y");
        assert!(head.headers["x"].is_sensitive());
        assert_eq!(guard.strong_count(), 1);
        head.headers.clear();
        assert_eq!(guard.strong_count(), 0);

        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        for (mut answer, parts) in [
            (Response::new(ResponseBody::from(Bytes::from_static(b"data"))), 1),
            (Response::new(ResponseBody::with_trailers("data".into(), trailers)), 2),
            (Response::new(ResponseBody::stream(http_body_util::Full::from("data"))), 1),
        ] {
            answer.headers_mut().insert("x", HeaderValue::from_static("y"));
            let guard = held(&mut answer);
            let mut body = answer.into_body();
            for left in (0..parts).rev() {
                let part = body.frame().await.unwrap().unwrap();
                assert_eq!(guard.strong_count(), 1, "{left} are left");
                drop(part);
            }
            drop(body);
            assert_eq!(guard.strong_count(), 0);
        }
    }
}
