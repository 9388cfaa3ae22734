//! What is told of this process, and what has become of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::log_export::log_records;
use super::{BatchLinks, OpenSpan, RecordBuffer, RequestTrace, SpanEnd, TraceContext};
use crate::otlp::Signal;

/// The header of every request with own telemetry, whose value says which process it tells of.
pub const INSTANCE_HEADER: HeaderName = HeaderName::from_static("sluice-instance");

/// The header by which a sender says which span its request belongs to.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The numbers of traces are below this.
const NUMBERS: f64 = (1_u64 << 63) as f64;

/// What has become of a record of own telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelemetryOutcome {
    /// The endpoint has taken it.
    Sent,
    /// There was no room for it, or the endpoint does not want it.
    Dropped,
}

impl TelemetryOutcome {
    /// Every outcome.
    pub const ALL: [Self; 2] = [Self::Sent, Self::Dropped];

    /// The `outcome` label of `sluice_telemetry_records_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Dropped => "dropped",
        }
    }
}

/// What this process tells of itself, until it is sent.
#[derive(Debug)]
pub struct OwnTelemetry {
    instance_id: Arc<str>,
    /// New traces with a number below this are recorded.
    sampled_below: AtomicU64,
    spans: RecordBuffer,
    counts: [[AtomicU64; 2]; 3],
}

impl Default for OwnTelemetry {
    /// One that tells nothing yet.
    fn default() -> Self {
        // As a random UUID (RFC 9562, section 5.4).
        let bits = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let digits = format!("{bits:032x}");
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        Self {
            instance_id: parts.join("-").into(),
            sampled_below: AtomicU64::new(0),
            spans: RecordBuffer::new(),
            counts: Default::default(),
        }
    }
}

impl OwnTelemetry {
    /// From now on requests are told of, and this part of those whose senders say nothing of a trace is traced.
    pub fn begin(&self, sampling: f64) {
        self.sampled_below.store((sampling * NUMBERS) as u64, Ordering::Relaxed);
        self.spans.want(true);
    }

    /// From now on nothing is told, and what waits to be sent is forgotten.
    pub fn end(&self) {
        self.spans.want(false);
    }

    /// Whether anything is told.
    pub fn is_told(&self) -> bool {
        self.spans.is_wanted()
    }

    /// The `service.instance.id` of what is told.
    pub fn instance_id(&self) -> &Arc<str> {
        &self.instance_id
    }

    /// Spans that have ended.
    pub fn spans(&self) -> &RecordBuffer {
        &self.spans
    }

    /// Decides whether a request with these headers is traced: as its sender says of its own span, if it has one, else by chance.
    /// `name` is that of its span.
    pub fn trace_request(
        &self,
        headers: &HeaderMap,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> RequestTrace {
        if !self.is_told() {
            return RequestTrace::Untraced;
        }
        if headers.get(INSTANCE_HEADER).is_some_and(|instance| *instance == *self.instance_id) {
            return RequestTrace::OwnTelemetry;
        }
        let parent = parent(headers);
        let is_sampled = |number| number < self.sampled_below.load(Ordering::Relaxed);
        let context = parent.map_or_else(|| TraceContext::root(is_sampled), TraceContext::child);
        if !context.is_sampled() {
            return RequestTrace::Untraced;
        }
        RequestTrace::Sampled(Arc::new(OpenSpan::of(SpanKind::Server, name(), context, parent)))
    }

    /// Begins the span of an attempt to send a batch with these requests in it: the first of a trace of its own, since it is for all of
    /// them.
    pub fn trace_attempt(&self, name: Cow<'static, str>) -> Option<OpenSpan> {
        self.is_told().then(|| OpenSpan::new(SpanKind::Client, name, None))
    }

    /// Ends a span, which then waits to be sent.
    pub fn end_span(&self, span: &OpenSpan, end: SpanEnd, links: Option<&BatchLinks>) {
        if self.is_told() && !span.is_discarded() {
            self.spans.push(&span.ended(end, links));
        }
    }

    /// Counts records of what is sent by this signal.
    pub fn count(&self, signal: Signal, outcome: TelemetryOutcome, records: u64) {
        self.counts[signal.index()][outcome as usize].fetch_add(records, Ordering::Relaxed);
    }

    /// Records that have ended so.
    pub fn counted(&self, signal: Signal, outcome: TelemetryOutcome) -> u64 {
        let without_room = match (signal, outcome) {
            (_, TelemetryOutcome::Sent) | (Signal::Metrics, _) => 0,
            (Signal::Traces, _) => self.spans.dropped(),
            (Signal::Logs, _) => log_records().dropped(),
        };
        self.counts[signal.index()][outcome as usize].load(Ordering::Relaxed) + without_room
    }
}

/// The span that the sender of a request with these headers names. Which of two it means is not known.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next().filter(|_| parents.next().is_none())?;
    TraceContext::parse(parent.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().expect("a header's value"))
        };
        values.iter().map(pair).collect()
    }

    fn is_sampled(telemetry: &OwnTelemetry, values: &[(&'static str, &str)]) -> bool {
        matches!(telemetry.trace_request(&headers(values), || "POST".into()), RequestTrace::Sampled(_))
    }

    #[test]
    fn chance_decides_where_senders_say_nothing() {
        let telemetry = OwnTelemetry::default();
        assert!(!is_sampled(&telemetry, &[]), "nothing is told yet");
        let share = |sampling| {
            telemetry.begin(sampling);
            (0..10_000).filter(|_| is_sampled(&telemetry, &[])).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        assert!((700..1300).contains(&share(0.1)));
        telemetry.end();
        assert!(!is_sampled(&telemetry, &[]));
    }

    #[test]
    fn the_senders_decision_counts_and_an_invalid_one_is_none() {
        let span = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let (sampled, unsampled) = (format!("00-{span}-01"), format!("00-{span}-00"));
        let telemetry = OwnTelemetry::default();
        for sampling in [0.0, 1.0] {
            telemetry.begin(sampling);
            assert!(is_sampled(&telemetry, &[("traceparent", &sampled)]));
            assert!(!is_sampled(&telemetry, &[("traceparent", &unsampled)]));
            let by_chance = sampling > 0.5;
            assert_eq!(is_sampled(&telemetry, &[("traceparent", "00-nothing")]), by_chance);
            let two = [("traceparent", &*sampled), ("traceparent", &*sampled)];
            let mut both = headers(&two[..1]);
            both.append("traceparent", sampled.parse().unwrap());
            let traced = telemetry.trace_request(&both, || "POST".into());
            assert_eq!(matches!(traced, RequestTrace::Sampled(_)), by_chance);
        }
    }

    #[test]
    fn what_this_process_tells_of_itself_is_never_traced() {
        let (telemetry, other) = (OwnTelemetry::default(), OwnTelemetry::default());
        telemetry.begin(1.0);
        let traced = |telemetry: &OwnTelemetry, instance: &str| {
            telemetry.trace_request(&headers(&[("sluice-instance", instance)]), || "POST".into())
        };
        assert!(matches!(traced(&telemetry, &telemetry.instance_id), RequestTrace::OwnTelemetry));
        assert!(matches!(traced(&telemetry, &other.instance_id), RequestTrace::Sampled(_)));
    }
}
