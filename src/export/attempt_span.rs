//! The span of an attempt to deliver a batch. There is one if traced requests have entries in the batch, which it is linked with.

use std::borrow::Cow;

use http::HeaderValue;

use super::upstream::detail::Secrets;
use super::{Answer, Exporter, Outcome, Target};
use crate::otlp::Signal;
use crate::stream::{Batch, Stream};
use crate::telemetry::{BatchLinks, OpenSpan, OwnTelemetry, SpanEnd, integer, text};

/// What is known of an attempt before it is made.
pub(super) struct AttemptMade<'a> {
    pub(super) exporter: &'a Exporter,
    pub(super) stream: &'a Stream,
    pub(super) target: &'a Target,
    pub(super) piece: &'a Batch,
    /// How many were made before at the same piece, and what the last of them came to.
    pub(super) before: (u64, Option<&'a str>),
}

/// The span of an attempt that is under way. An attempt that is not made after all has none.
#[derive(Debug)]
pub(super) struct AttemptSpan<'a> {
    telemetry: &'a OwnTelemetry,
    span: OpenSpan,
    links: BatchLinks,
    traceparent: HeaderValue,
}

/// What a span is called: the names are few.
const fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "export traces",
        Signal::Metrics => "export metrics",
        Signal::Logs => "export logs",
    }
}

impl<'a> AttemptSpan<'a> {
    /// Begins the span of an attempt at a piece of a batch with these traced requests.
    pub(super) fn begin(attempt: &AttemptMade<'a>, links: Option<&BatchLinks>) -> Option<Self> {
        let links = links?.clone();
        let AttemptMade { exporter, stream, target, piece, before: (before, last_code) } = attempt;
        let (telemetry, stream) = (&*exporter.registry().shared().telemetry, stream.name());
        let span = telemetry.trace_attempt(Cow::Borrowed(name(stream.signal)))?;
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
        span.set("url.full", text(Secrets::default().clean(&target.to_string())));
        let traceparent = span.context().header();
        Some(Self { telemetry, span, links, traceparent })
    }

    /// Names it to the upstream.
    pub(super) fn traceparent(&self) -> &HeaderValue {
        &self.traceparent
    }

    /// Ends it by what the attempt has come to.
    pub(super) fn answered(self, answer: &Answer) {
        let Self { telemetry, span, links, .. } = self;
        span.set("sluice.code", text(&*answer.code));
        span.set("sluice.outcome", text(answer.outcome.name()));
        if let Ok(status) = answer.code.parse() {
            span.set("http.response.status_code", integer(status));
        }
        let end = match answer.outcome {
            Outcome::Delivered { rejected, .. } => {
                if rejected > 0 {
                    span.set("sluice.rejected_records", integer(rejected));
                }
                SpanEnd::Well
            }
            _ => SpanEnd::Failed(answer.detail.clone()),
        };
        telemetry.end_span(&span, end, Some(&links));
    }
}
