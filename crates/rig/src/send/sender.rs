//! One connection's loop: take a ticket, send a request, count its result.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Refusal, SendFailure};
use super::pace::Pace;
use super::report::RunTally;
use super::settings::{SendCompression, SendEncoding, SendProtocol, SendSettings};
use super::streams::SenderStreams;
use super::template::RequestTemplate;

/// The wait after the first failure, doubled with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait before a retry, unless the server asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A connection with its request, its streams and its share of the report.
pub(super) struct LoadSender {
    pub(super) settings: Arc<SendSettings>,
    pub(super) client: Client,
    pub(super) template: RequestTemplate,
    pub(super) streams: SenderStreams,
    pub(super) pace: Arc<Pace>,
    pub(super) tally: Arc<Mutex<RunTally>>,
    /// Cancelled when no new requests are to be sent.
    pub(super) stop: CancellationToken,
    /// Cancelled some time later, when no more retries are to be sent.
    pub(super) give_up: CancellationToken,
}

impl LoadSender {
    /// Sends until there are no more tickets; returns the streams, and how far each has come.
    pub(super) async fn run(mut self) -> SenderStreams {
        while let Some(due) = self.pace.ticket().await {
            let body = self.template.fill(self.streams.places());
            // Encoding is the generator's own work, but it delays the request, and counts as part of its latency.
            let body = encode(&self.settings, body);
            let body = compress(&self.settings, body);
            let wire_bytes = body.len() as u64;
            match self.deliver(body).await {
                Ok(rejected) => {
                    let bytes = self.template.len() as u64;
                    self.tally.lock().taken(due.elapsed(), &self.settings, bytes, wire_bytes, rejected);
                    self.streams.advance();
                }
                Err(failure) => {
                    self.tally.lock().failed(failure);
                    if self.settings.at_most_once && failure.may_have_arrived() {
                        self.streams.give_up();
                    }
                    if matches!(failure, SendFailure::Connect | SendFailure::Tls) {
                        // Nobody is there to talk to: asking again at once would only cost CPU.
                        wait_unless(&self.stop, FIRST_WAIT).await;
                    }
                }
            }
        }
        self.streams
    }

    /// Sends one request, again and again if that is asked for.
    async fn deliver(&mut self, body: Bytes) -> Result<u64, SendFailure> {
        let mut wait = FIRST_WAIT;
        loop {
            let refusal = match self.client.send(body.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(refusal) => refusal,
            };
            let Refusal { failure, retry_after } = refusal;
            let repeats = self.settings.at_most_once && failure.may_have_arrived();
            if !self.settings.retry || !refusal.is_retryable() || repeats {
                return Err(failure);
            }
            self.tally.lock().retried(failure);
            let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
            if !wait_unless(&self.give_up, retry_after.unwrap_or(jittered)).await {
                return Err(failure);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Waits until the time has passed or `told` is cancelled; whether the time has passed.
async fn wait_unless(told: &CancellationToken, wait: Duration) -> bool {
    tokio::select! {
        () = sleep(wait) => true,
        () = told.cancelled() => false,
    }
}

fn encode(settings: &SendSettings, body: Bytes) -> Bytes {
    match settings.encoding {
        SendEncoding::Proto => body,
        SendEncoding::Json => {
            let mut json = Vec::with_capacity(body.len() * 3);
            otlp::write_request(settings.signal, &[body], &mut json);
            json.into()
        }
    }
}

fn compress(settings: &SendSettings, body: Bytes) -> Bytes {
    let compressed = match (settings.compression, settings.protocol) {
        (SendCompression::None, _) => return body,
        (SendCompression::Gzip, _) => gzip(&body),
        (SendCompression::Zstd, _) => zstd::bulk::compress(&body, 1),
        (SendCompression::Snappy, SendProtocol::Http) => {
            snap::raw::Encoder::new().compress_vec(&body).map_err(Into::into)
        }
        (SendCompression::Snappy, SendProtocol::Grpc) => snappy_frames(&body),
        (SendCompression::Lz4, _) => lz4(&body),
    };
    compressed.expect("compressing into memory doesn't fail").into()
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn snappy_frames(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut frames = Vec::with_capacity(body.len() / 4);
    let mut encoder = snap::write::FrameEncoder::new(&mut frames);
    encoder.write_all(body)?;
    encoder.flush()?;
    drop(encoder);
    Ok(frames)
}

fn lz4(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::with_capacity(body.len() / 4));
    encoder.write_all(body)?;
    encoder.finish().map_err(Into::into)
}
