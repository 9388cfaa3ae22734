//! The telemetry of this process about itself, and what has become of its records.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::log_export::log_records;
use super::span::RemoteParent;
use super::trace_state::trace_state;
use super::trouble::{SignalTroubles, TelemetryTrouble};
use super::{
    BatchLinks, InstanceId, OpenSpan, RecordBuffer, RequestTrace, SpanEnd, TRACEPARENT, TraceContext,
};
use otlp::Signal;

/// The header of every request with own telemetry, by whose value the process that has sent it recognises it.
pub const INSTANCE_HEADER: HeaderName = HeaderName::from_static("sluice-instance");

/// The numbers of traces are below this.
const NUMBERS: f64 = (1_u64 << 63) as f64;

/// The outcome of a record of own telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelemetryOutcome {
    /// The endpoint has taken it.
    Sent,
    /// There was no room for the record, or the endpoint has refused it.
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

/// The telemetry of this process about itself, until it is sent.
#[derive(Debug)]
pub struct OwnTelemetry {
    instance_id: InstanceId,
    /// New traces with a number below this are recorded.
    sampled_below: AtomicU64,
    spans: RecordBuffer,
    counts: [[AtomicU64; 2]; 3],
    /// The signals whose endpoint takes nothing now.
    troubles: SignalTroubles,
}

impl Default for OwnTelemetry {
    /// Own telemetry that is not enabled yet.
    fn default() -> Self {
        Self {
            instance_id: InstanceId::random(),
            sampled_below: AtomicU64::new(0),
            spans: RecordBuffer::new(),
            counts: Default::default(),
            troubles: SignalTroubles::default(),
        }
    }
}

impl OwnTelemetry {
    /// Records spans of requests from now on. Of requests whose senders name no trace, the part `sampling` is traced.
    pub fn enable(&self, sampling: f64) {
        self.sampled_below.store((sampling * NUMBERS) as u64, Ordering::Relaxed);
        self.spans.want(true);
    }

    /// Records no spans from now on, and forgets those that wait to be sent.
    pub fn disable(&self) {
        self.spans.want(false);
    }

    /// Whether spans are recorded.
    pub fn is_enabled(&self) -> bool {
        self.spans.is_wanted()
    }

    /// The id by which this process's own telemetry is recognised.
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance_id
    }

    /// Spans that have ended.
    pub fn spans(&self) -> &RecordBuffer {
        &self.spans
    }

    /// Decides whether a request with these headers is traced: as its sender says of its own span, if it has one, else by chance.
    /// While the sender is not trusted, chance decides in any case, until [`RequestTrace::trust_sender`] is called. `name` is that of its
    /// span.
    pub fn trace_request(
        &self,
        headers: &HeaderMap,
        is_trusted: bool,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> RequestTrace {
        if !self.is_enabled() {
            return RequestTrace::Untraced;
        }
        if headers.get(INSTANCE_HEADER).is_some_and(|instance| *instance == *self.instance_id.secret()) {
            return RequestTrace::OwnTelemetry;
        }
        let parent = parent(headers);
        let by_chance = TraceContext::root(|number| number < self.sampled_below.load(Ordering::Relaxed));
        let is_sampled = match parent {
            Some(parent) if is_trusted => parent.is_sampled(),
            _ => by_chance.is_sampled(),
        };
        let may_be_sampled = is_sampled || parent.is_some_and(|parent| !is_trusted && parent.is_sampled());
        if !may_be_sampled {
            return RequestTrace::Untraced;
        }
        let context = parent.map_or(by_chance, TraceContext::child).sampled();
        let parent = parent.map(|context| RemoteParent { context, state: trace_state(headers) });
        let span = OpenSpan::new(SpanKind::Server, name(), context, parent);
        span.begin();
        if !is_sampled {
            span.discard();
        }
        RequestTrace::Sampled(Arc::new(span))
    }

    /// The span of an attempt to send a batch, which has not begun yet: the first of a trace of its own, since it is for all requests that
    /// are in the batch.
    pub fn trace_attempt(&self, kind: SpanKind, name: Cow<'static, str>) -> Option<OpenSpan> {
        self.is_enabled().then(|| OpenSpan::new(kind, name, TraceContext::root(|_| true), None))
    }

    /// Ends a span, which then waits to be sent, if it has begun and is to be told of.
    pub fn end_span(&self, span: &OpenSpan, end: SpanEnd, links: Option<&BatchLinks>) {
        if self.is_enabled()
            && let Some(ended) = span.ended(end, links)
        {
            self.spans.push(&ended);
        }
    }

    /// Counts records of own telemetry of this signal.
    pub fn count(&self, signal: Signal, outcome: TelemetryOutcome, records: u64) {
        self.counts[signal.index()][outcome as usize].fetch_add(records, Ordering::Relaxed);
    }

    /// Records with this outcome.
    pub fn counted(&self, signal: Signal, outcome: TelemetryOutcome) -> u64 {
        let without_room = match (signal, outcome) {
            (_, TelemetryOutcome::Sent) | (Signal::Metrics, _) => 0,
            (Signal::Traces, _) => self.spans.dropped(),
            (Signal::Logs, _) => log_records().dropped(),
        };
        self.counts[signal.index()][outcome as usize].load(Ordering::Relaxed) + without_room
    }

    /// Notes that the endpoint has not taken a request of this signal, before anything of it is counted as dropped.
    pub fn begin_trouble(&self, signal: Signal, code: &str) {
        self.troubles.begin(signal, code, || self.counted(signal, TelemetryOutcome::Dropped));
    }

    /// Notes that the endpoint has taken something of this signal, or that there is another one.
    pub fn end_trouble(&self, signal: Signal) {
        self.troubles.end(signal);
    }

    /// Notes that there is nothing of this signal to send. Nobody knows whether the endpoint would take anything now, and the records
    /// that it has not taken are gone: after a while there is nothing left to attend to.
    pub fn forget_trouble(&self, signal: Signal) {
        self.troubles.forget(signal);
    }

    /// The trouble with a signal, if there is any.
    pub fn trouble(&self, signal: Signal) -> Option<TelemetryTrouble> {
        self.troubles.current(signal, || self.counted(signal, TelemetryOutcome::Dropped))
    }
}

/// The span that the sender of a request with these headers names; none if it names several.
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
        is_told(&telemetry.trace_request(&headers(values), true, || "POST".into()))
    }

    fn is_told(trace: &RequestTrace) -> bool {
        matches!(trace, RequestTrace::Sampled(span) if !span.is_discarded())
    }

    #[test]
    fn chance_decides_where_senders_say_nothing() {
        let telemetry = OwnTelemetry::default();
        assert!(!is_sampled(&telemetry, &[]), "nothing is told yet");
        let share = |sampling| {
            telemetry.enable(sampling);
            (0..10_000).filter(|_| is_sampled(&telemetry, &[])).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        assert!((700..1300).contains(&share(0.1)));
        telemetry.disable();
        assert!(!is_sampled(&telemetry, &[]));
    }

    #[test]
    fn the_senders_decision_counts_and_an_invalid_one_is_none() {
        let span = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let (sampled, unsampled) = (format!("00-{span}-01"), format!("00-{span}-00"));
        let telemetry = OwnTelemetry::default();
        for sampling in [0.0, 1.0] {
            telemetry.enable(sampling);
            assert!(is_sampled(&telemetry, &[("traceparent", &sampled)]));
            assert!(!is_sampled(&telemetry, &[("traceparent", &unsampled)]));
            let by_chance = sampling > 0.5;
            assert_eq!(is_sampled(&telemetry, &[("traceparent", "00-nothing")]), by_chance);
            let two = [("traceparent", &*sampled), ("traceparent", &*sampled)];
            let mut both = headers(&two[..1]);
            both.append("traceparent", sampled.parse().unwrap());
            let traced = telemetry.trace_request(&both, true, || "POST".into());
            assert_eq!(matches!(traced, RequestTrace::Sampled(_)), by_chance);
        }
    }

    #[test]
    fn a_span_that_has_not_begun_is_not_told_of() {
        let telemetry = OwnTelemetry::default();
        telemetry.enable(1.0);
        let span = telemetry.trace_attempt(SpanKind::Client, "export logs".into()).unwrap();
        telemetry.end_span(&span, SpanEnd::Well, None);
        assert!(telemetry.spans().take().is_empty());
        let before = crate::telemetry::unix_nanos(std::time::SystemTime::now());
        span.begin();
        telemetry.end_span(&span, SpanEnd::Well, None);
        let [ended] = &telemetry.spans().take()[..] else { panic!("there is one") };
        let ended = <opentelemetry_proto::tonic::trace::v1::Span as prost::Message>::decode(&ended[..])
            .expect("it is a span");
        assert!(ended.start_time_unix_nano >= before, "it begins with the attempt");
    }

    #[test]
    fn a_stranger_decides_nothing_until_it_is_known() {
        let telemetry = OwnTelemetry::default();
        for (sampling, by_chance) in [(0.0, false), (1.0, true)] {
            telemetry.enable(sampling);
            for flag in ["00", "01"] {
                let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flag}");
                let headers = headers(&[("traceparent", &parent)]);
                let trace = telemetry.trace_request(&headers, false, || "POST".into());
                assert_eq!(is_told(&trace), by_chance, "{parent} at {sampling}");
                trace.trust_sender();
                assert_eq!(is_told(&trace), flag == "01", "{parent} at {sampling}");
            }
            let trace = telemetry.trace_request(&HeaderMap::new(), false, || "POST".into());
            trace.trust_sender();
            assert_eq!(is_told(&trace), by_chance);
        }
    }

    #[test]
    fn what_this_process_tells_of_itself_is_never_traced() {
        let (telemetry, other) = (OwnTelemetry::default(), OwnTelemetry::default());
        telemetry.enable(1.0);
        let traced = |telemetry: &OwnTelemetry, instance: &str| {
            telemetry.trace_request(&headers(&[("sluice-instance", instance)]), true, || "POST".into())
        };
        assert!(matches!(traced(&telemetry, telemetry.instance_id.secret()), RequestTrace::OwnTelemetry));
        assert!(matches!(traced(&telemetry, other.instance_id.secret()), RequestTrace::Sampled(_)));
        assert!(matches!(traced(&telemetry, telemetry.instance_id.published()), RequestTrace::Sampled(_)));
    }
}
