//! The three kinds of telemetry that Sluice routes.

use std::fmt;

/// A kind of telemetry, and with it one `Export<Signal>ServiceRequest` message of the OTLP schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// `ExportTraceServiceRequest`; a record is a span.
    Traces,
    /// `ExportMetricsServiceRequest`; a record is a data point.
    Metrics,
    /// `ExportLogsServiceRequest`; a record is a log record.
    Logs,
}

impl Signal {
    /// Every signal, in the order of [`Signal::index`].
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// The position in [`Signal::ALL`], for tables with one row per signal.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word used in URLs, labels, file names and configuration: `traces`, `metrics` or `logs`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// The name of a request's only field in the schema.
    pub const fn entry_field(self) -> &'static str {
        match self {
            Self::Traces => "resource_spans",
            Self::Metrics => "resource_metrics",
            Self::Logs => "resource_logs",
        }
    }

    /// The same name in OTLP/JSON.
    pub const fn json_entry_field(self) -> &'static str {
        match self {
            Self::Traces => "resourceSpans",
            Self::Metrics => "resourceMetrics",
            Self::Logs => "resourceLogs",
        }
    }

    /// The OTLP/HTTP path (rule 28).
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }

    /// The OTLP/gRPC path: service and method.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// The signal with this [`Signal::method`].
    pub fn from_method(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.method() == path)
    }

    /// The signal with this [`Signal::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
