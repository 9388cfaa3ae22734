//! Sends what Sluice tells of itself: spans and the log once in a second, metrics once in an interval.
//!
//! One request is on its way at a time. What an endpoint does not take just now is sent again, after a wait that grows; what comes
//! meanwhile waits in buffers that have a limit. Metrics are not sent again: the next ones say it all.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{ReloadError, Router};
use crate::config::Compiled;
use crate::export::{Answer, Outcome, TelemetryUpstream};
use crate::net::Network;
use crate::notice;
use crate::otlp::Signal;
use crate::telemetry::{LogScope, OwnTelemetry, TelemetryOutcome, log_records, resource};

/// How often spans and log records are sent, if there are any.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest wait after the endpoint has not taken anything.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Time for what is left when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where own telemetry is sent, if anywhere. A reload changes it.
#[derive(Debug, Default)]
pub(super) struct TelemetryExport(ArcSwapOption<TelemetryUpstream>);

impl TelemetryExport {
    /// What a configuration says, which is what is there if it says the same.
    pub(super) fn prepare(
        &self,
        compiled: &Compiled,
        telemetry: &OwnTelemetry,
        network: &Network,
    ) -> Result<Option<Arc<TelemetryUpstream>>, ReloadError> {
        let Some(settings) = &compiled.telemetry else { return Ok(None) };
        if let Some(same) = self.0.load_full().filter(|known| known.settings() == settings) {
            return Ok(Some(same));
        }
        let new = TelemetryUpstream::new(settings.clone(), telemetry.instance_id(), network);
        new.map(|new| Some(Arc::new(new))).map_err(|error| ReloadError::Telemetry(Arc::new(error)))
    }

    /// Has own telemetry be sent there from now on, or nowhere.
    pub(super) fn put_to_use(&self, upstream: Option<Arc<TelemetryUpstream>>, telemetry: &OwnTelemetry) {
        let before = self.0.swap(upstream.clone());
        if let Some(upstream) = upstream {
            telemetry.begin(upstream.settings().sampling);
            log_records().want(true);
        } else if before.is_some() {
            telemetry.end();
            log_records().want(false);
        }
    }
}

/// Sends for ever; once it is `ending`, what is left, and no longer than for a moment. `read_metrics` gives the metrics of now.
pub async fn send_telemetry(
    router: Arc<Router>,
    read_metrics: fn(&Arc<Router>) -> Vec<Metric>,
    ending: CancellationToken,
) {
    let telemetry = router.shared().telemetry.clone();
    let resource = resource(telemetry.instance_id(), &router.env());
    let mut sender = TelemetrySender {
        resource,
        read_metrics,
        upstream: None,
        waiting: Default::default(),
        failures: 0,
        not_before: Instant::now(),
        metrics_due: Instant::now(),
        router,
    };
    // What is logged about it goes to the log alone.
    let sending = async {
        while !ending.is_cancelled() {
            sender.send_what_is_due().await;
            tokio::select! {
                () = sleep(sender.pause()) => {}
                () = telemetry.spans().has_many() => {}
                () = log_records().has_many() => {}
                () = ending.cancelled() => {}
            }
        }
        (sender.not_before, sender.metrics_due) = (Instant::now(), Instant::now());
        let _ = timeout(LAST_WORDS, sender.send_what_is_due()).await;
    };
    LogScope::Withheld.of(sending).await;
}

/// Spans or log records that are to be sent, encoded.
#[derive(Clone)]
struct TelemetryRequest {
    bytes: Bytes,
    records: u64,
}

struct TelemetrySender {
    router: Arc<Router>,
    read_metrics: fn(&Arc<Router>) -> Vec<Metric>,
    resource: Resource,
    /// Where it was sent last.
    upstream: Option<Arc<TelemetryUpstream>>,
    /// What the endpoint has not taken yet, by signal; never metrics.
    waiting: [Option<TelemetryRequest>; 3],
    /// Requests that it has not taken since it has last taken one.
    failures: u32,
    not_before: Instant,
    metrics_due: Instant,
}

impl TelemetrySender {
    /// How long until something may be due that does not make itself known before.
    fn pause(&self) -> Duration {
        // Metrics that are due already wait with everything else until the endpoint may be asked again.
        let until_metrics = self.metrics_due.saturating_duration_since(Instant::now());
        if until_metrics.is_zero() { INTERVAL } else { INTERVAL.min(until_metrics) }
    }

    async fn send_what_is_due(&mut self) {
        let upstream = self.router.telemetry().0.load_full();
        if upstream.as_ref().map(Arc::as_ptr) != self.upstream.as_ref().map(Arc::as_ptr) {
            (self.failures, self.not_before, self.metrics_due) = (0, Instant::now(), Instant::now());
            self.upstream.clone_from(&upstream);
        }
        let Some(upstream) = upstream else {
            self.waiting = Default::default();
            return;
        };
        for signal in Signal::ALL {
            if self.not_before > Instant::now() {
                return;
            }
            let Some(request) = self.next(signal, &upstream) else { continue };
            let target = match upstream.target(signal) {
                Ok(target) => target,
                Err(error) => {
                    self.fail(signal, request, "no_destination", &error, None);
                    continue;
                }
            };
            let budget = &self.router.shared().budget;
            let (bytes, records) = (request.bytes.clone(), request.records);
            if let Some(answer) = upstream.attempt(&target, signal, bytes, records, budget).await {
                self.settle(signal, request, &answer);
            }
        }
    }

    /// What is to be sent of a signal now, if anything is.
    fn next(&mut self, signal: Signal, upstream: &TelemetryUpstream) -> Option<TelemetryRequest> {
        if let Some(waiting) = self.waiting[signal.index()].take() {
            return Some(waiting);
        }
        let (scope, resource) = (Some(scope()), Some(self.resource.clone()));
        match signal {
            Signal::Traces => {
                let spans = self.router.shared().telemetry.spans().take();
                let records = spans.len() as u64;
                let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
                let resource_spans =
                    vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
                TelemetryRequest::of(&ExportTraceServiceRequest { resource_spans }, records)
            }
            Signal::Logs => {
                let log_records = log_records().take();
                let records = log_records.len() as u64;
                let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
                let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
                TelemetryRequest::of(&ExportLogsServiceRequest { resource_logs }, records)
            }
            Signal::Metrics => {
                if self.metrics_due > Instant::now() {
                    return None;
                }
                self.metrics_due = Instant::now() + upstream.settings().interval;
                let metrics = (self.read_metrics)(&self.router);
                let records = metrics.iter().map(data_points).sum();
                let scope_metrics = vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }];
                let resource_metrics =
                    vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
                TelemetryRequest::of(&ExportMetricsServiceRequest { resource_metrics }, records)
            }
        }
    }

    /// Counts a request by what came of it, or keeps it to be sent again.
    fn settle(&mut self, signal: Signal, request: TelemetryRequest, answer: &Answer) {
        match answer.outcome {
            Outcome::Delivered { rejected, .. } => {
                self.failures = 0;
                self.count(signal, TelemetryOutcome::Sent, request.records - rejected);
                self.count(signal, TelemetryOutcome::Dropped, rejected);
            }
            Outcome::Retry { after } | Outcome::Hold { after, .. } => {
                self.fail(signal, request, &answer.code, &answer.detail, after);
            }
            Outcome::Bad | Outcome::Refused | Outcome::Unwanted => {
                self.count(signal, TelemetryOutcome::Dropped, request.records);
                if let Some(suppressed) = notice::due("telemetry", &answer.code) {
                    let (code, records) = (&*answer.code, request.records);
                    warn!(%signal, code, records, suppressed, "own telemetry was refused: {}", answer.detail);
                }
            }
        }
    }

    /// The endpoint has not taken a request just now.
    fn fail(
        &mut self,
        signal: Signal,
        request: TelemetryRequest,
        code: &str,
        detail: &str,
        asked: Option<Duration>,
    ) {
        let own = INTERVAL.saturating_mul(1 << self.failures.min(6)).min(LONGEST_WAIT);
        let wait = asked.map_or(own, |asked| asked.clamp(own, LONGEST_WAIT));
        self.failures += 1;
        self.not_before = Instant::now() + wait;
        if signal == Signal::Metrics {
            self.count(signal, TelemetryOutcome::Dropped, request.records);
        } else {
            self.waiting[signal.index()] = Some(request);
        }
        if let Some(suppressed) = notice::due("telemetry", code) {
            warn!(%signal, code, ?wait, suppressed, "own telemetry is not taken; what there is no room for meanwhile is dropped: {detail}");
        }
    }

    fn count(&self, signal: Signal, outcome: TelemetryOutcome, records: u64) {
        self.router.shared().telemetry.count(signal, outcome, records);
    }
}

impl TelemetryRequest {
    fn of(request: &impl Message, records: u64) -> Option<Self> {
        (records > 0).then(|| Self { bytes: request.encode_to_vec().into(), records })
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "sluice".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
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
