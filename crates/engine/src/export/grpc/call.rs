//! One unary call on an HTTP/2 connection: the message out, the answer in.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::export::upstream::answer_body::{AnswerError, MAX_ANSWER, UpstreamAnswerBody};
use crate::rpc::trailers::STATUS;
use crate::rpc::{PREFIX, announced, prefix};
use crate::stream::Budget;

/// The message of a call, without its frame.
#[derive(Clone, Copy, Debug)]
pub struct GrpcMessage<C> {
    /// Its pieces, one after the other.
    pub chunks: C,
    /// Bytes in all of them.
    pub len: u64,
    /// As `grpc-encoding` says.
    pub compressed: bool,
}

/// The answer to a call.
#[derive(Debug)]
pub struct CallAnswer {
    /// The status of HTTP: 200 for every answer of gRPC's own.
    pub status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The message in the body.
    pub(crate) message: Result<ReadMessage, AnswerError>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A message as far as it is kept.
#[derive(Debug)]
pub(crate) struct ReadMessage {
    pub(crate) bytes: UpstreamAnswerBody,
    /// As `grpc-encoding` says.
    pub(crate) compressed: bool,
}

impl CallAnswer {
    /// Where the status is: in the trailers, or in the head if there is nothing else.
    pub fn end(&self) -> Option<&HeaderMap> {
        [self.trailers.as_ref(), Some(&self.headers)]
            .into_iter()
            .flatten()
            .find(|headers| headers.contains_key(STATUS))
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// The connection takes no more calls, so that this one never left.
    Unsent(h2::Error),
    /// The message could not be written in the time it had: the upstream doesn't read, or the connection's window is
    /// full of what it doesn't read of others. It has not seen the end, so it can't have taken it.
    Stuck,
    /// The connection or the stream ended.
    Ended(h2::Error),
}

/// Sends a message and reads the answer, which is charged to `budget` as far as it is kept. The message has to be written
/// within `patience`, if that is given.
pub async fn call(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    message: GrpcMessage<impl IntoIterator<Item = Bytes>>,
    patience: Option<Duration>,
    budget: &Arc<Budget>,
) -> Result<CallAnswer, CallError> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let ready = within(deadline, sender.ready()).await.ok_or(CallError::Stuck)?;
    let (response, mut stream) =
        ready.map_err(CallError::Unsent)?.send_request(request, false).map_err(CallError::Unsent)?;
    let mut response = pin!(response);
    let writing = within(deadline, write(&mut stream, message));
    let early = tokio::select! {
        biased;
        // An upstream may refuse without reading to the end.
        early = response.as_mut() => Some(early),
        written = writing => {
            // What ended the stream is what the response says, too.
            let _ = written.ok_or(CallError::Stuck)?;
            None
        }
    };
    let response = match early {
        Some(early) => early,
        None => response.await,
    };
    let (head, mut body) = response.map_err(not_taken)?.into_parts();
    let read = read(&mut body, budget).await;
    let trailers = match read {
        // They say what became of the call whether a message came before them or not.
        Ok(_) | Err(AnswerError::Format) => body.trailers().await.ok().flatten(),
        // Behind what was not read to its end they would never come.
        Err(_) => None,
    };
    Ok(CallAnswer { status: head.status, headers: head.headers, message: read, trailers })
}

/// Streams that the other side says it has not looked at may be sent again at once (RFC 9113, sections 6.8 and 8.7).
fn not_taken(error: h2::Error) -> CallError {
    let unseen = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
        || error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if unseen { CallError::Unsent(error) } else { CallError::Ended(error) }
}

async fn within<F: Future>(deadline: Option<Instant>, work: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// Writes the whole message as far as the windows of stream and connection let it.
async fn write(
    stream: &mut SendStream<Bytes>,
    message: GrpcMessage<impl IntoIterator<Item = Bytes>>,
) -> Result<(), h2::Error> {
    let prefix = Bytes::copy_from_slice(&prefix(message.compressed, message.len));
    let mut remaining = PREFIX as u64 + message.len;
    for mut chunk in std::iter::once(prefix).chain(message.chunks) {
        while !chunk.is_empty() {
            stream.reserve_capacity(chunk.len());
            while stream.capacity() == 0 {
                match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(more) => _ = more?,
                    // The stream has ended; the response tells why.
                    None => return Ok(()),
                }
            }
            let piece = chunk.split_to(stream.capacity().min(chunk.len()));
            remaining -= piece.len() as u64;
            stream.send_data(piece, remaining == 0)?;
        }
    }
    Ok(())
}

/// Reads a body to its end, unless it is too long. What is left of one that is dropped goes back to the connection's
/// window, and the stream is reset: other calls go on.
async fn read(body: &mut RecvStream, budget: &Arc<Budget>) -> Result<ReadMessage, AnswerError> {
    let (mut frame, mut bytes, mut behind) = (Vec::with_capacity(PREFIX), UpstreamAnswerBody::new(budget), 0);
    while let Some(data) = body.data().await {
        let data = data.map_err(|_| AnswerError::BrokeOff)?;
        let (prefix, data_behind) = data.split_at(data.len().min(PREFIX - frame.len()));
        frame.extend_from_slice(prefix);
        let unread = announced(&frame).map_or(0, |(len, _)| len - bytes.len().min(len));
        let (message, others) = data_behind.split_at(data_behind.len().min(unread));
        bytes.push(message)?;
        // There is one message in the answer to a unary call; what else comes is not looked at.
        behind += others.len();
        if bytes.len() + behind > MAX_ANSWER {
            return Err(AnswerError::TooLong);
        }
        let _ = body.flow_control().release_capacity(data.len());
    }
    match announced(&frame) {
        Some((len, compressed)) if len == bytes.len() => Ok(ReadMessage { bytes, compressed }),
        _ => Err(AnswerError::Format),
    }
}
