//! `telemetry`: what Sluice tells of itself.

use serde::Deserialize;

use super::{Duration, Headers, TlsSection};

/// Where Sluice sends its own metrics, log and traces by OTLP/HTTP.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TelemetrySection {
    /// The base URL, to which `/v1/traces`, `/v1/metrics` and `/v1/logs` are added.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) endpoint: Option<String>,
    /// Headers of every request, as a map from name to value or a list of both. Values are secret: they are never shown.
    pub(in crate::config) headers: Headers,
    /// TLS, for an `https` URL.
    pub(in crate::config) tls: TlsSection,
    /// The part, from 0 to 1, of the requests that is traced. A request whose sender sends a `traceparent` is traced if that says so, and
    /// only then.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub(in crate::config) sampling: f64,
    /// How often metrics are sent. Spans and the log are sent once in a second.
    pub(in crate::config) interval: Duration,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Headers::default(),
            tls: TlsSection::default(),
            sampling: 0.01,
            interval: Duration::from_secs(60),
        }
    }
}
