//! The span of an attempt to deliver a batch. There is one if traced requests have entries in the batch, which it is linked with.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::{Answer, AttemptOutcome, Exporter, Target};
use crate::client::Secrets;
use crate::stream::{Batch, Stream};
use crate::telemetry::{BatchLinks, OpenSpan, OwnTelemetry, SpanEnd, integer, text};
use otlp::Signal;

/// The outcome of an attempt that was given up before its answer was there.
const GIVEN_UP: &str = "given_up";

/// What is known of an attempt before it is made.
pub(super) struct AttemptMade<'a> {
    pub(super) exporter: &'a Exporter,
    pub(super) stream: &'a Stream,
    pub(super) target: &'a Target,
    pub(super) piece: &'a Batch,
    /// How many were made before at the same piece, and what the last of them came to.
    pub(super) before: (u64, Option<&'a str>),
}

/// The span of an attempt. It begins with it: one that is not made after all has none.
#[derive(Debug)]
pub(super) struct AttemptSpan {
    telemetry: Arc<OwnTelemetry>,
    span: OpenSpan,
    links: BatchLinks,
    /// How the attempt has ended, once it has been answered.
    end: Option<SpanEnd>,
}

/// What a span is called: the names are few.
const fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "export traces",
        Signal::Metrics => "export metrics",
        Signal::Logs => "export logs",
    }
}

/// Of what leaves this process there may be a span on the other side.
const fn kind(target: &Target) -> SpanKind {
    match target {
        Target::Http(_) | Target::Grpc(_) => SpanKind::Client,
        Target::File(_) | Target::Debug(_) | Target::Nop => SpanKind::Internal,
    }
}

impl AttemptSpan {
    /// The span of an attempt at a piece of a batch with these traced requests, before it begins.
    pub(super) fn new(attempt: &AttemptMade<'_>, links: Option<&BatchLinks>) -> Option<Self> {
        let links = links?.clone();
        let AttemptMade { exporter, stream, target, piece, before: (before, last_code) } = attempt;
        let (telemetry, stream) = (exporter.registry().shared().telemetry.clone(), stream.name());
        let span = telemetry.trace_attempt(kind(target), Cow::Borrowed(name(stream.signal)))?;
        span.set("sluice.exporter", text(&**exporter.name()));
        span.set("sluice.signal", text(stream.signal.name()));
        span.set("sluice.key", text(stream.key.text()));
        if let Some(tenant) = stream.key.tenant() {
            span.set("sluice.tenant", text(tenant));
        }
        span.set("sluice.bytes", integer(piece.len() as u64));
        span.set("sluice.records", integer(piece.records()));
        span.set("sluice.attempt", integer(before + 1));
        if let Some(code) = last_code {
            span.set("sluice.previous_code", text(*code));
        }
        // As short as a message of the log: what it is made of may come from senders.
        let place = || text(Secrets::default().clean(&target.to_string()));
        match target {
            Target::Http(_) => span.set("url.full", place()),
            Target::Grpc(_) => {
                span.set("url.full", place());
                span.set_call(Some(stream.signal.method()));
            }
            Target::File(_) => span.set("file.path", place()),
            Target::Debug(_) | Target::Nop => {}
        }
        Some(Self { telemetry, span, links, end: None })
    }

    /// As it is while the attempt is under way.
    pub(super) fn open(&self) -> &OpenSpan {
        &self.span
    }

    /// Ends it by what the attempt has come to.
    pub(super) fn answered(mut self, answer: &Answer) {
        let span = &self.span;
        span.set("sluice.code", text(&*answer.code));
        span.set("sluice.outcome", text(answer.outcome.name()));
        if let Ok(status) = answer.code.parse() {
            span.set("http.response.status_code", integer(status));
        }
        self.end = Some(match answer.outcome {
            AttemptOutcome::Delivered { rejected, .. } => {
                if rejected > 0 {
                    span.set("sluice.rejected_records", integer(rejected));
                }
                SpanEnd::Well
            }
            _ => SpanEnd::Failed(answer.detail.clone()),
        });
    }
}

impl Drop for AttemptSpan {
    /// An attempt that has begun may have been taken, whether or not its answer was waited for.
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or_else(|| {
            self.span.set("sluice.outcome", text(GIVEN_UP));
            SpanEnd::Well
        });
        self.telemetry.end_span(&self.span, end, Some(&self.links));
    }
}
