//! `receivers`.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::MapAccess;

use super::named::Typed;
use super::units::{ByteSize, Duration};
use super::{Auth, TlsVersion};
use crate::receive::MAX_CONCURRENT_STREAMS;

/// A receiver of OTLP.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Receiver {
    /// The protocols it speaks; one that is not written is not served.
    pub(in crate::config) protocols: Protocols,
}

impl Typed for Receiver {
    const WHAT: &'static str = "receiver";
    const TYPES: &'static [&'static str] = &["otlp"];

    #[cfg(test)]
    fn schema(_: &str, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<Self>()
    }

    fn read<'de, A: MapAccess<'de>>(_: &str, map: &mut A) -> Result<Self, A::Error> {
        map.next_value()
    }
}

/// The protocols a receiver speaks.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Protocols {
    /// OTLP/HTTP; `http:` alone serves it with the defaults. Its port takes OTLP/gRPC, too.
    #[cfg_attr(test, schemars(extend("x-asked-by-key" = true)))]
    pub(in crate::config) http: Option<HttpReceiver>,
    /// OTLP/gRPC on a port of its own, for senders that expect it on 4317; `grpc:` alone serves it with the defaults. That
    /// port takes OTLP/HTTP, too.
    #[cfg_attr(test, schemars(extend("x-asked-by-key" = true)))]
    pub(in crate::config) grpc: Option<GrpcReceiver>,
}

/// OTLP/HTTP in: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`, and the same below `/otlp`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct HttpReceiver {
    /// Host and port. `localhost` is 127.0.0.1; to be reached from other machines, write `0.0.0.0:4318`.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) endpoint: String,
    /// The largest body, before and again after decompression; 0 means the default.
    pub(in crate::config) max_request_body_size: ByteSize,
    /// TLS, which is spoken if this is written.
    pub(in crate::config) tls: Option<ServerTls>,
    /// Who may send. Without it, whoever reaches the endpoint may.
    pub(in crate::config) auth: Option<Auth>,
    /// Lets web pages of other origins send.
    pub(in crate::config) cors: Option<Cors>,
    /// The whole head of a request must arrive in this time; 0 sets no limit.
    pub(in crate::config) read_header_timeout: Duration,
    /// The whole body of a request must arrive in this time, from the end of its head on; 0 sets no limit.
    pub(in crate::config) read_timeout: Duration,
    /// A kept-alive connection is closed after this time without a request; 0 sets no limit.
    pub(in crate::config) idle_timeout: Duration,
    /// A connection whose sender takes nothing of its answers for this time is closed; 0 sets no limit.
    pub(in crate::config) write_timeout: Duration,
    /// Connections at a time. Beyond, those on which no request has come yet make room for new ones; if there are none, new
    /// ones wait until one closes.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(in crate::config) max_connections: usize,
    /// Another path for traces, beside `/v1/traces`.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) traces_url_path: Option<String>,
    /// Another path for metrics, beside `/v1/metrics`.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) metrics_url_path: Option<String>,
    /// Another path for logs, beside `/v1/logs`.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) logs_url_path: Option<String>,
}

impl Default for HttpReceiver {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:4318".into(),
            max_request_body_size: ByteSize(64 << 20),
            tls: None,
            auth: None,
            cors: None,
            read_header_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            max_connections: 10_000,
            traces_url_path: None,
            metrics_url_path: None,
            logs_url_path: None,
        }
    }
}

/// TLS towards senders. Files are PEM.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ServerTls {
    /// The certificate chain, the receiver's own certificate first.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) key_file: Option<PathBuf>,
    /// Certificate authorities. With them, every sender has to show a certificate that one of them has signed.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) client_ca_file: Option<PathBuf>,
    /// The lowest version spoken. 1.3 is spoken with every sender that can.
    pub(in crate::config) min_version: Option<TlsVersion>,
    /// How old what is known of the files may be when a connection comes. Open connections go on with what they began
    /// with. `0` reads them with the configuration alone.
    pub(in crate::config) reload_interval: Duration,
}

impl Default for ServerTls {
    fn default() -> Self {
        Self {
            cert_file: None,
            key_file: None,
            client_ca_file: None,
            min_version: None,
            reload_interval: Duration::from_secs(10),
        }
    }
}

/// Which web pages may send.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Cors {
    /// Origins as globs, such as `https://*.example.com`, in any case of letters.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) allowed_origins: Vec<String>,
    /// Request headers that pages may set, beyond those that browsers always allow.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) allowed_headers: Vec<String>,
    /// Seconds for which a browser may remember the answer.
    pub(in crate::config) max_age: u64,
}

/// OTLP/gRPC in: `Export` of the trace, metrics and logs services, and `grpc.health.v1.Health`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct GrpcReceiver {
    /// Host and port. `localhost` is 127.0.0.1; to be reached from other machines, write `0.0.0.0:4317`.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) endpoint: String,
    /// The largest message in MiB, before and again after decompression; 0 means the default.
    #[cfg_attr(test, schemars(range(max = 1_048_576)))]
    pub(in crate::config) max_recv_msg_size_mib: u64,
    /// Calls at a time on one connection; a sender keeps further ones back. 0 means the default.
    pub(in crate::config) max_concurrent_streams: u32,
    /// How long connections live.
    pub(in crate::config) keepalive: Keepalive,
    /// A whole call must arrive in this time, and in its own deadline.
    pub(in crate::config) read_timeout: Duration,
    /// Connections at a time. Beyond, those on which no call has come yet make room for new ones; if there are none, new
    /// ones wait until one closes.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(in crate::config) max_connections: usize,
    /// TLS, which is spoken if this is written.
    pub(in crate::config) tls: Option<ServerTls>,
    /// Who may send. Without it, whoever reaches the endpoint may. `grpc.health.v1.Health` answers everybody.
    pub(in crate::config) auth: Option<Auth>,
}

impl Default for GrpcReceiver {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:4317".into(),
            max_recv_msg_size_mib: 64,
            max_concurrent_streams: MAX_CONCURRENT_STREAMS,
            keepalive: Keepalive::default(),
            read_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            tls: None,
            auth: None,
        }
    }
}

/// How long connections live.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Keepalive {
    /// What the receiver does by itself.
    pub(in crate::config) server_parameters: KeepaliveServer,
}

/// What a receiver does by itself to connections.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct KeepaliveServer {
    /// A connection without a call is closed after this time; `0` never closes it.
    pub(in crate::config) max_connection_idle: Duration,
    /// A connection takes no new calls beyond this age, a tenth more or less, so that senders spread anew; `0` sets no
    /// limit.
    pub(in crate::config) max_connection_age: Duration,
    /// The calls on such a connection have this long to end; `0` means the default.
    pub(in crate::config) max_connection_age_grace: Duration,
    /// After this time of silence the sender is asked whether it still lives; `0` means the default.
    pub(in crate::config) time: Duration,
    /// It has this long to answer; `0` means the default.
    pub(in crate::config) timeout: Duration,
}

impl Default for KeepaliveServer {
    fn default() -> Self {
        Self {
            max_connection_idle: Duration::from_secs(300),
            max_connection_age: Duration::from_secs(0),
            max_connection_age_grace: Duration::from_secs(30),
            time: Duration::from_secs(30),
            timeout: Duration::from_secs(20),
        }
    }
}
