//! `receivers`.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::MapAccess;
use serde::{Deserialize, Serialize};

use super::named::Typed;
use super::units::{Duration, Size};

/// A receiver of OTLP.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Receiver {
    /// The protocols it speaks; one that is not written is not served.
    pub(in crate::config) protocols: Protocols,
}

impl Typed for Receiver {
    const WHAT: &'static str = "receiver";
    const TYPES: &'static [&'static str] = &["otlp"];

    fn schema(_: &str, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }

    fn read<'de, A: MapAccess<'de>>(_: &str, map: &mut A) -> Result<Self, A::Error> {
        map.next_value()
    }
}

/// The protocols a receiver speaks.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Protocols {
    /// OTLP/HTTP; `http:` alone serves it with the defaults.
    pub(in crate::config) http: Option<HttpReceiver>,
    /// OTLP/gRPC. Accepted, but not served yet.
    pub(in crate::config) grpc: Option<GrpcReceiver>,
}

/// OTLP/HTTP in: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`, and the same below `/otlp`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct HttpReceiver {
    /// Host and port. `localhost` is 127.0.0.1; to be reached from other machines, write `0.0.0.0:4318`.
    pub(in crate::config) endpoint: String,
    /// The largest body, before and again after decompression.
    pub(in crate::config) max_request_body_size: Size,
    /// Lets web pages of other origins send.
    pub(in crate::config) cors: Option<Cors>,
    /// The whole head of a request must arrive in this time; 0 sets no limit.
    pub(in crate::config) read_header_timeout: Duration,
    /// The whole body of a request must arrive in this time, from the end of its head on; 0 sets no limit.
    pub(in crate::config) read_timeout: Duration,
    /// A kept-alive connection is closed after this time without a request; 0 sets no limit.
    pub(in crate::config) idle_timeout: Duration,
    /// Connections at a time; beyond, new ones wait until one closes.
    #[schemars(range(min = 1))]
    pub(in crate::config) max_connections: usize,
    /// Another path for traces, beside `/v1/traces`.
    pub(in crate::config) traces_url_path: Option<String>,
    /// Another path for metrics, beside `/v1/metrics`.
    pub(in crate::config) metrics_url_path: Option<String>,
    /// Another path for logs, beside `/v1/logs`.
    pub(in crate::config) logs_url_path: Option<String>,
}

impl Default for HttpReceiver {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:4318".into(),
            max_request_body_size: Size(64 << 20),
            cors: None,
            read_header_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            traces_url_path: None,
            metrics_url_path: None,
            logs_url_path: None,
        }
    }
}

/// Which web pages may send.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Cors {
    /// Origins as globs, such as `https://*.example.com`.
    pub(in crate::config) allowed_origins: Vec<String>,
    /// Request headers that pages may set, beyond those that browsers always allow.
    pub(in crate::config) allowed_headers: Vec<String>,
    /// Seconds for which a browser may remember the answer.
    pub(in crate::config) max_age: u64,
}

/// OTLP/gRPC in. Accepted, but not served yet.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct GrpcReceiver {
    /// Host and port.
    pub(in crate::config) endpoint: String,
    /// The largest message, in MiB.
    #[schemars(range(min = 1))]
    pub(in crate::config) max_recv_msg_size_mib: u64,
    /// Requests at a time on one connection; 0 sets no limit.
    pub(in crate::config) max_concurrent_streams: u32,
}

impl Default for GrpcReceiver {
    fn default() -> Self {
        Self { endpoint: "127.0.0.1:4317".into(), max_recv_msg_size_mib: 64, max_concurrent_streams: 0 }
    }
}
