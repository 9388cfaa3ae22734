//! Sends Sluice's own telemetry: spans and the log once in a second, metrics once in an interval.
//!
//! One request of each signal is on its way at a time, and no signal waits for another: an endpoint may take one and not the others. A
//! request that fails for now is sent again, after a wait that grows; new spans and log records wait in buffers that have a limit.
//! Metrics are not sent again: the next ones replace them.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Router;
use crate::export::{Answer, AttemptOutcome, TelemetryUpstream};
use crate::notice;
use crate::otlp::Signal;
use crate::telemetry::{LogScope, RecordBuffer, TelemetryOutcome, encode_request, log_records, resource};

/// How often spans and log records are sent, if there are any.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest wait after the endpoint has not taken anything.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// When the process ends, the time for requests on their way and for what is left.
pub(super) const LAST_TELEMETRY: Duration = Duration::from_secs(2);

/// Reads the present metrics.
pub type ReadMetrics = fn(Arc<Router>) -> Pin<Box<dyn Future<Output = Vec<Metric>> + Send>>;

/// Sends until `ending` is cancelled, and then what is left, for two seconds at most.
pub async fn send_telemetry(router: Arc<Router>, read_metrics: ReadMetrics, ending: CancellationToken) {
    let resource = resource(router.shared().telemetry.instance_id(), &router.env());
    let [traces, metrics, logs] = Signal::ALL.map(|signal| SignalSender {
        signal,
        router: router.clone(),
        read_metrics,
        resource: resource.clone(),
        upstream: None,
        waiting: None,
        failures: 0,
        not_before: Instant::now(),
    });
    let time_is_up = async {
        ending.cancelled().await;
        sleep(LAST_TELEMETRY).await;
    };
    // Records about sending go to the log alone, and not into own telemetry.
    let sending = async {
        let signals = async { tokio::join!(traces.send(&ending), metrics.send(&ending), logs.send(&ending)) };
        tokio::select! {
            _ = signals => {}
            () = time_is_up => warn!(
                "own telemetry that was left is not sent: the endpoint has not answered within {LAST_TELEMETRY:?}"
            ),
        }
    };
    LogScope::Withheld.of(sending).await;
}

/// Spans, metrics or log records that are to be sent, encoded.
#[derive(Clone)]
struct TelemetryRequest {
    bytes: Bytes,
    records: u64,
}

/// Sends the own telemetry of one signal.
struct SignalSender {
    signal: Signal,
    router: Arc<Router>,
    read_metrics: ReadMetrics,
    resource: Resource,
    /// The upstream of the last request.
    upstream: Option<Arc<TelemetryUpstream>>,
    /// The request that the endpoint has not taken yet: it is on its way, or is to be sent again.
    waiting: Option<TelemetryRequest>,
    /// Failed requests since the last one that was taken.
    failures: u32,
    /// When metrics are due, and the end of the wait after a failure.
    not_before: Instant,
}

impl SignalSender {
    /// Sends until `ending` is cancelled, and then what is left.
    async fn send(mut self, ending: &CancellationToken) {
        while !ending.is_cancelled() {
            self.send_what_is_due().await;
            tokio::select! {
                () = sleep(self.pause()) => {}
                () = self.has_many() => {}
                () = ending.cancelled() => {}
            }
        }
        self.not_before = Instant::now();
        // The request that is to be sent again, and then the records that have come behind it.
        self.send_what_is_due().await;
        self.send_what_is_due().await;
    }

    /// How long to wait for the next request, unless the buffer fills up before.
    fn pause(&self) -> Duration {
        let until_due = self.not_before.saturating_duration_since(Instant::now());
        if until_due.is_zero() { INTERVAL } else { INTERVAL.min(until_due) }
    }

    /// The buffer of the signal's records; metrics have none, as they are read when they are due.
    fn buffer(&self) -> Option<&RecordBuffer> {
        match self.signal {
            Signal::Traces => Some(self.router.shared().telemetry.spans()),
            Signal::Logs => Some(log_records()),
            Signal::Metrics => None,
        }
    }

    async fn has_many(&self) {
        match self.buffer() {
            Some(buffer) => buffer.has_many().await,
            None => pending().await,
        }
    }

    async fn send_what_is_due(&mut self) {
        let upstream = self.router.telemetry().upstream();
        if upstream.as_ref().map(Arc::as_ptr) != self.upstream.as_ref().map(Arc::as_ptr) {
            (self.failures, self.not_before) = (0, Instant::now());
            self.router.shared().telemetry.end_trouble(self.signal);
            self.upstream.clone_from(&upstream);
        }
        let Some(upstream) = upstream else {
            // A reload has taken the endpoint away.
            if let Some(request) = &self.waiting {
                self.count(TelemetryOutcome::Dropped, request.records);
            }
            return self.forget_waiting();
        };
        if self.not_before > Instant::now() {
            return;
        }
        if self.waiting.is_none() {
            self.waiting = self.next(&upstream).await;
        }
        let Some(request) = self.waiting.clone() else {
            return self.router.shared().telemetry.forget_trouble(self.signal);
        };
        let target = match upstream.target(self.signal) {
            Ok(target) => target,
            Err(error) => return self.fail(&request, "no_destination", &error, None),
        };
        let shared = self.router.shared();
        let common = (&*shared.redaction, &shared.budget);
        let (bytes, records) = (request.bytes.clone(), request.records);
        // Without an answer nothing was sent, and the request still waits.
        if let Some(answer) = upstream.attempt(&target, self.signal, bytes, records, common).await {
            self.settle(&request, &answer);
        }
    }

    /// The next request, if there is anything to send.
    async fn next(&mut self, upstream: &TelemetryUpstream) -> Option<TelemetryRequest> {
        let (encoded, records) = if let Some(buffer) = self.buffer() {
            let encoded = buffer.take();
            let records = encoded.len() as u64;
            (encoded, records)
        } else {
            self.not_before = Instant::now() + upstream.settings().interval;
            let metrics = (self.read_metrics)(self.router.clone()).await;
            (metrics.iter().map(Metric::encode_to_vec).collect(), metrics.iter().map(data_points).sum())
        };
        let request = || encode_request(self.resource.clone(), encoded).into();
        (records > 0).then(|| TelemetryRequest { bytes: request(), records })
    }

    /// Counts a request by its outcome, or keeps it to be sent again.
    fn settle(&mut self, request: &TelemetryRequest, answer: &Answer) {
        match answer.outcome {
            AttemptOutcome::Delivered { rejected, .. } => {
                self.failures = 0;
                self.router.shared().telemetry.end_trouble(self.signal);
                self.forget_waiting();
                self.count(TelemetryOutcome::Sent, request.records - rejected);
                self.count(TelemetryOutcome::Dropped, rejected);
            }
            AttemptOutcome::Retry { after } | AttemptOutcome::Hold { after, .. } => {
                self.fail(request, &answer.code, &answer.detail, after);
            }
            AttemptOutcome::Bad | AttemptOutcome::Refused | AttemptOutcome::Unwanted => {
                self.router.shared().telemetry.begin_trouble(self.signal, &answer.code);
                self.forget_waiting();
                self.count(TelemetryOutcome::Dropped, request.records);
                if let Some(suppressed) = notice::due("telemetry", &answer.code) {
                    let (signal, code, records) = (self.signal, &*answer.code, request.records);
                    warn!(%signal, code, records, suppressed, "own telemetry was refused: {}", answer.detail);
                }
            }
        }
    }

    /// Notes that the endpoint has not taken a request for now.
    fn fail(&mut self, request: &TelemetryRequest, code: &str, detail: &str, asked: Option<Duration>) {
        self.router.shared().telemetry.begin_trouble(self.signal, code);
        let own = INTERVAL.saturating_mul(1 << self.failures.min(6)).min(LONGEST_WAIT);
        let wait = asked.map_or(own, |asked| asked.clamp(own, LONGEST_WAIT));
        self.failures += 1;
        self.not_before = self.not_before.max(Instant::now() + wait);
        let signal = self.signal;
        if signal == Signal::Metrics {
            self.forget_waiting();
            self.count(TelemetryOutcome::Dropped, request.records);
        }
        if let Some(suppressed) = notice::due("telemetry", code) {
            warn!(%signal, code, ?wait, suppressed, "own telemetry is not taken for now; records without room in the buffer are dropped: {detail}");
        }
    }

    fn forget_waiting(&mut self) {
        self.waiting = None;
        if let Some(buffer) = self.buffer() {
            buffer.taken_have_left();
        }
    }

    fn count(&self, outcome: TelemetryOutcome, records: u64) {
        self.router.shared().telemetry.count(self.signal, outcome, records);
    }
}

fn data_points(metric: &Metric) -> u64 {
    let points = match &metric.data {
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
        None => 0,
    };
    points as u64
}
