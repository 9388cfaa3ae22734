//! The YAML as typed: every key with its type, unit and default. The JSON Schema, the check of every key and the
//! reference in the documentation are made from these types; their doc comments are what users read.
//!
//! A map of options is a `…Section`, and a choice of words a `…Word`, where the engine has a type of the plain name, which is
//! what the option is compiled into. In the schema either has the plain name.
//!
//! The schema is derived in unit tests alone, which write it to the file that `config::schema` reads.

mod exporters;
mod extensions;
mod named;
mod processors;
mod queue;
mod receivers;
mod routes;
mod tap;
mod telemetry;
mod tenants;
mod tls;
mod units;

use std::path::PathBuf;

use serde::Deserialize;

use crate::journal::JournalSettings;

pub(super) use exporters::{
    CompressionWord, EncodingWord, ExporterSection, GrpcCompression, Headers, OtlpGrpc, OtlpHttp, Rotation,
    StatusActionTimes, StatusActionWord, StatusRule, ValidKeySection, Verbosity,
};
pub(super) use extensions::{Auth, BasicAuth, BearerTokenAuth, Extension, OAuth2Client, OneOrMore};
pub(super) use named::{Named, Typed, type_of};
pub(super) use processors::{
    ActionName, AttributeAction, AttributeMatch, MatchProperties, MatchType, Processor, TypeName,
    WrittenValue,
};
pub(super) use queue::{RetryOnFailure, SendingQueue, Sizer, WhenFullWord};
pub(super) use receivers::{GrpcReceiver, HttpReceiver, Receiver, ServerTls};
pub(super) use routes::{
    AttributeNames, ExactBooleans, ExactNumbers, ExactTexts, ExactValues, KeyPartSection, KeySection,
    MatchRule, MatchValue, Negated, NegatedRule, RecordConditions, RecordSource, RequestConditions,
    RouteSection, SignalWord, TenantGlobs,
};
pub(super) use tap::{TapSection, WatchSection};
pub(super) use telemetry::TelemetrySection;
pub(super) use tenants::{
    TenantAttribute, TenantPassword, TenantRow, TenantSender, TenantShare, TenantValue, TenantsSection,
    UnlistedTenant,
};
pub(super) use tls::{TlsSection, TlsVersion};
pub(super) use units::{
    ByteRate, ByteSize, Duration, FileMode, JournalSync, Memory, QueueSize, Timestamp, boolean,
    instead_of_sexagesimal, integer, octal_or_decimal, sexagesimal,
};

/// The configuration of Sluice.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// Where telemetry comes in: `otlp`, or several as `otlp/NAME`.
    pub(super) receivers: Named<Receiver>,
    /// What receivers and exporters name in `auth`: `TYPE` or `TYPE/NAME`. The types are `bearertokenauth`, `basicauth` and
    /// `oauth2client`.
    pub(super) extensions: Named<Extension>,
    /// Where telemetry goes: `TYPE` or `TYPE/NAME`. The types are `otlp_http` (also written `otlphttp`), `otlp_grpc`
    /// (also written `otlp`), `file`, `debug` and `nop`.
    pub(super) exporters: Named<ExporterSection>,
    /// What routes name in their `processors`: `TYPE` or `TYPE/NAME`. The types are `resource` and `attributes`; what becomes
    /// of others of a Collector's says [Processors](#processors).
    pub(super) processors: Named<Processor>,
    /// Which resource goes where. The first route that matches takes it, unless that route says `continue: true`.
    pub(super) routes: Vec<RouteSection>,
    /// The table of tenants: who may send, where it goes, how much.
    #[cfg_attr(test, schemars(extend("x-asked-by-key" = true)))]
    pub(super) tenants: Option<TenantsSection>,
    /// What happens to resources that no route matches.
    pub(super) unrouted: UnroutedWord,
    /// With `unrouted: reject`, the status that answers a request of which no route takes a single record: `200` with partial
    /// success, as the specification wants, though most SDKs say nothing of that, or `400` (by gRPC `INVALID_ARGUMENT`), which they
    /// log. A request of which something is taken gets 200 in any case.
    pub(super) unrouted_status: UnroutedStatus,
    /// What Sluice may use.
    pub(super) limits: LimitsSection,
    /// When a sender gets its answer.
    pub(super) acknowledge: AcknowledgeWord,
    /// With `acknowledge: delivered`, how long a sender waits. What is not delivered by then is taken back and answered by
    /// 503, so that the sender's retry finds no copy of it in a queue. Shorter than the senders' own timeouts, which are 10s
    /// for most SDKs and 5s for a Collector.
    pub(super) acknowledge_timeout: Duration,
    /// Keeps what is queued on disk, so that it outlives the process. Without it queues are in memory alone.
    #[cfg_attr(test, schemars(extend("x-asked-by-key" = true)))]
    pub(super) journal: Option<JournalSection>,
    /// Where data is kept that an upstream refused for good. Without it, such data is only counted and logged.
    #[cfg_attr(test, schemars(extend("x-asked-by-key" = true)))]
    pub(super) dead_letter: Option<DeadLetterSection>,
    /// Metrics, health, API, dashboard.
    pub(super) admin: AdminSection,
    /// A second listener that serves `/healthz`, `/readyz`, which is also `/`, and `/metrics` alone, for the kubelet and Prometheus.
    #[cfg_attr(test, schemars(extend("x-asked-by-key" = true)))]
    pub(super) health: Option<HealthSection>,
    /// Who sees records as they pass, and what of them.
    pub(super) tap: TapSection,
    /// Queries whose records are counted as they are admitted, and which fire when there are too many or too few.
    pub(super) watches: Vec<WatchSection>,
    /// The URL of an Alertmanager that is told which watches fire, such as `http://alertmanager:9093`.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(super) alertmanager: Option<String>,
    /// Where Sluice sends its own metrics, log and traces by OTLP/HTTP. Without it, it sends none.
    #[cfg_attr(test, schemars(extend("x-asked-by-key" = true)))]
    pub(super) telemetry: Option<TelemetrySection>,
    /// At shutdown, how long Sluice goes on accepting after `/readyz` turned negative: for sidecars whose application
    /// flushes while it ends.
    pub(super) shutdown_delay: Duration,
    /// At shutdown and for removed exporters, how long to wait until everything is delivered.
    pub(super) shutdown_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            receivers: Named::default(),
            extensions: Named::default(),
            exporters: Named::default(),
            processors: Named::default(),
            routes: Vec::new(),
            tenants: None,
            unrouted: UnroutedWord::default(),
            unrouted_status: UnroutedStatus::default(),
            limits: LimitsSection::default(),
            acknowledge: AcknowledgeWord::default(),
            acknowledge_timeout: Duration::from_secs(8),
            journal: None,
            dead_letter: None,
            admin: AdminSection::default(),
            health: None,
            tap: TapSection::default(),
            watches: Vec::new(),
            alertmanager: None,
            telemetry: None,
            shutdown_delay: Duration::from_secs(0),
            shutdown_timeout: Duration::from_secs(25),
        }
    }
}

/// What happens to resources that no route matches.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, schemars(rename = "Unrouted"))]
pub(super) enum UnroutedWord {
    /// The sender is told which route is missing.
    #[default]
    Reject,
    /// They are dropped, and counted.
    Drop,
    /// They become dead letters, which `sluice replay` sends once there is a route for them.
    DeadLetter,
}

/// The answer to a request of which no route takes any record.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
pub(super) enum UnroutedStatus {
    /// Success, of which partial success takes back all.
    #[default]
    #[serde(rename = "200")]
    Ok,
    /// An error.
    #[serde(rename = "400")]
    BadRequest,
}

/// What Sluice may use.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Limits"))]
pub(super) struct LimitsSection {
    /// Memory for data in flight and queued. A share such as `60%` is one of the control group's limit, else of the
    /// machine's memory. Beyond it requests are refused with 503.
    pub(super) memory: Memory,
    /// Streams alive at a time: one per exporter, signal and routing key.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(super) streams: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self { memory: Memory::Bytes(512 << 20), streams: 100_000 }
    }
}

/// When a sender gets its answer.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, schemars(rename = "Acknowledge"))]
pub(super) enum AcknowledgeWord {
    /// Once its data is queued in memory.
    #[default]
    Queued,
    /// Once every upstream that it goes to has accepted it.
    Delivered,
}

/// The durable queue on disk: senders are answered once their data is there. A reload can't change it.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Journal"))]
pub(super) struct JournalSection {
    /// The directory; made if it is not there, for this user alone. One process has it at a time.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(super) directory: PathBuf,
    /// What its files may take, at least 16MiB. Senders are refused with 503 while all of that is not delivered yet.
    pub(super) max_size: ByteSize,
    /// `always`: a sender is answered once its data is safe against a power cut. A time such as `100ms`: it is made safe
    /// so often, and senders don't wait for that. `never`: that is left to the system.
    pub(super) sync: JournalSync,
    /// The size of one file, from 1MiB to 1GiB; at most a sixteenth of `max_size` is used. A disk has to have room for a whole
    /// one.
    pub(super) segment_size: ByteSize,
}

impl Default for JournalSection {
    fn default() -> Self {
        Self {
            directory: "./journal".into(),
            max_size: ByteSize(JournalSettings::MAX_SIZE),
            sync: JournalSync::default(),
            segment_size: ByteSize(JournalSettings::SEGMENT_SIZE),
        }
    }
}

/// Where data is kept that an upstream refused for good.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "DeadLetter"))]
pub(super) struct DeadLetterSection {
    /// The directory; made if it is not there, for this user alone. Not the journal's, nor in it.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(super) directory: PathBuf,
    /// What it may hold; beyond, new dead letters are dropped and counted.
    pub(super) max_size: ByteSize,
}

impl Default for DeadLetterSection {
    fn default() -> Self {
        Self { directory: "./dead-letters".into(), max_size: ByteSize(1 << 30) }
    }
}

/// Metrics, health, API, dashboard.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Admin"))]
pub(super) struct AdminSection {
    /// Whether to listen at all.
    pub(super) enabled: bool,
    /// Host and port. On loopback everybody may read; elsewhere a read needs a token, or a client certificate where `tls` has a
    /// `client_ca_file`, and without any of these Sluice does not start.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(super) endpoint: String,
    /// Names by which it is known, beside its addresses, `localhost` and the host of `endpoint`. Requests to other names are
    /// refused.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(super) hosts: Vec<String>,
    /// The token that may read: `Authorization: Bearer TOKEN`. With `${file:PATH}` it comes from a file, and is another one as
    /// soon as that changes. An empty text is no token, an empty file is an error.
    pub(super) read_token: Option<String>,
    /// The SHA-256 of a token that may read, in 64 hexadecimal digits: `printf %s TOKEN | sha256sum | cut -c1-64`. Beside
    /// `read_token`, both tokens hold.
    pub(super) read_token_sha256: Option<String>,
    /// The token that may read and change something. Once there is one, every change needs it, also on loopback.
    pub(super) write_token: Option<String>,
    /// The SHA-256 of a token that may read and change something. Beside `write_token`, both tokens hold.
    pub(super) write_token_sha256: Option<String>,
    /// TLS, which is spoken if this is written, with the keys of a receiver's `tls`. With a `client_ca_file` every client has to
    /// show a certificate; it may read, and change something where there is no token for that.
    pub(super) tls: Option<ServerTls>,
    /// Says that everybody is meant to read what `endpoint` shows, wherever they are, if there are neither tokens nor client
    /// certificates. A warning says so at each start.
    pub(super) insecure: bool,
    /// Whether `/metrics/tenants` is there, with some ten series for each tenant that has sent something.
    pub(super) tenant_metrics: bool,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: "127.0.0.1:8888".into(),
            hosts: Vec::new(),
            read_token: None,
            read_token_sha256: None,
            write_token: None,
            write_token_sha256: None,
            tls: None,
            insecure: false,
            tenant_metrics: false,
        }
    }
}

/// A listener for `/healthz`, `/readyz`, which is also `/`, and `/metrics` alone.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Health"))]
pub(super) struct HealthSection {
    /// Host and port.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(super) endpoint: String,
}

impl Default for HealthSection {
    fn default() -> Self {
        Self { endpoint: "0.0.0.0:13133".into() }
    }
}
