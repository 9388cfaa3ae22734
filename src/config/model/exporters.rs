//! `exporters`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess};

use super::extensions::Auth;
use super::named::Typed;
use super::queue::{RetryOnFailure, SendingQueue};
use super::tls::TlsSection;
use super::units::{Duration, FileMode};
use crate::config::presets::{self, Preset};

/// An exporter of any type.
pub(in crate::config) enum ExporterSection {
    OtlpHttp(Box<OtlpHttp>),
    OtlpGrpc(Box<OtlpGrpc>),
    File(Box<File>),
    Debug(Box<Debug>),
    Nop,
}

impl Typed for ExporterSection {
    const WHAT: &'static str = "exporter";
    const TYPES: &'static [&'static str] =
        &["otlp_http", "otlphttp", "otlp_grpc", "otlp", "file", "debug", "nop"];

    #[cfg(test)]
    fn schema(r#type: &str, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        match r#type {
            "otlp_http" | "otlphttp" => generator.subschema_for::<OtlpHttp>(),
            "otlp_grpc" | "otlp" => generator.subschema_for::<OtlpGrpc>(),
            "file" => generator.subschema_for::<File>(),
            "debug" => generator.subschema_for::<Debug>(),
            _ => generator.subschema_for::<Nop>(),
        }
    }

    fn read<'de, A: MapAccess<'de>>(r#type: &str, map: &mut A) -> Result<Self, A::Error> {
        match r#type {
            "otlp_http" | "otlphttp" => map.next_value().map(Self::OtlpHttp),
            "otlp_grpc" | "otlp" => map.next_value().map(Self::OtlpGrpc),
            "file" => map.next_value().map(Self::File),
            "debug" => map.next_value().map(Self::Debug),
            "nop" => map.next_value().map(|Nop {}| Self::Nop),
            _ => Err(A::Error::custom("an exporter of an unknown type")),
        }
    }
}

impl ExporterSection {
    /// What is known of the upstream that it names as its preset.
    pub(in crate::config) fn preset(&self) -> Option<&'static Preset> {
        let name = match self {
            Self::OtlpHttp(http) => http.preset.as_ref(),
            Self::OtlpGrpc(grpc) => grpc.preset.as_ref(),
            Self::File(_) | Self::Debug(_) | Self::Nop => None,
        };
        name.and_then(|name| presets::named(name))
    }
}

/// OTLP/HTTP out.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct OtlpHttp {
    /// The upstream by its name, which fills in what is known of it: what is written beside it wins.
    #[cfg_attr(test, schemars(extend("enum" = presets::names())))]
    pub(in crate::config) preset: Option<String>,
    /// The credential, which the preset puts into the header that the upstream reads it from. A template, and secret: it is
    /// never shown.
    pub(in crate::config) token: Option<String>,
    /// What a routing key has to be for the upstream to take it; entries with another key are rejected.
    pub(in crate::config) valid_key: Option<ValidKeySection>,
    /// The base URL, to which `/v1/traces`, `/v1/metrics` or `/v1/logs` is added. A template.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) endpoint: Option<String>,
    /// The whole URL for traces, used as it is. A template.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) traces_endpoint: Option<String>,
    /// The whole URL for metrics, used as it is. A template.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) metrics_endpoint: Option<String>,
    /// The whole URL for logs, used as it is. A template.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) logs_endpoint: Option<String>,
    /// How requests are encoded.
    pub(in crate::config) encoding: EncodingWord,
    /// How requests are compressed.
    pub(in crate::config) compression: CompressionWord,
    /// How hard they are compressed.
    pub(in crate::config) compression_params: CompressionParams,
    /// Headers of every request, as a map from name to value or a list of both. Values are templates and secret:
    /// they are never shown.
    pub(in crate::config) headers: Headers,
    /// What each request is authenticated with, beside `headers`.
    pub(in crate::config) auth: Option<Auth>,
    /// For one attempt, from connecting to the end of the answer; 0 sets no limit.
    pub(in crate::config) timeout: Duration,
    /// TLS, for `https` URLs.
    pub(in crate::config) tls: TlsSection,
    /// An HTTP proxy to send through. Without it `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment hold.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) proxy_url: Option<String>,
    /// The queue of each stream.
    pub(in crate::config) sending_queue: SendingQueue,
    /// How an attempt that failed is repeated.
    pub(in crate::config) retry_on_failure: RetryOnFailure,
    /// What becomes of a batch by the HTTP status that answers it, where that is not to be what it usually is: a map from a
    /// status (`404`), a range (`520-530`), a class (`5xx`) or `default` to a word, or to a map of one word to its least time
    /// (`{ hold: 1h }`). The narrowest that names a status counts, and it wins over `retry_on_failure.statuses`; `default` is for
    /// those that neither these keys nor Sluice's own rules name. A success can't be changed.
    #[cfg_attr(
        test,
        schemars(extend(
            "x-key" = "status",
            "propertyNames" = { "pattern": "^([2-5]([0-9]{2}|[xX]{2})|[2-5][0-9]{2}-[2-5][0-9]{2}|default)$" }
        ))
    )]
    pub(in crate::config) statuses: BTreeMap<String, StatusRule>,
    /// Idle connections kept per destination; by default as many as `sending_queue.max_in_flight`.
    pub(in crate::config) max_idle_conns_per_host: Option<usize>,
    /// Connections at a time per destination; lowers `sending_queue.max_in_flight`. 0 sets no limit.
    pub(in crate::config) max_conns_per_host: usize,
    /// An idle connection is closed after this time; 0 sets no limit.
    pub(in crate::config) idle_conn_timeout: Duration,
    /// Use every connection for one request only.
    pub(in crate::config) disable_keep_alives: bool,
    /// A connection takes no new requests beyond this age, so that an upstream that moves is followed; 0 sets no limit.
    pub(in crate::config) max_connection_age: Duration,
}

impl Default for OtlpHttp {
    fn default() -> Self {
        Self {
            preset: None,
            token: None,
            valid_key: None,
            endpoint: None,
            traces_endpoint: None,
            metrics_endpoint: None,
            logs_endpoint: None,
            encoding: EncodingWord::default(),
            compression: CompressionWord::default(),
            compression_params: CompressionParams::default(),
            headers: Headers::default(),
            auth: None,
            timeout: Duration::from_secs(30),
            tls: TlsSection::default(),
            proxy_url: None,
            sending_queue: SendingQueue::default(),
            retry_on_failure: RetryOnFailure::default(),
            statuses: BTreeMap::new(),
            max_idle_conns_per_host: None,
            max_conns_per_host: 0,
            idle_conn_timeout: Duration::from_secs(90),
            disable_keep_alives: false,
            max_connection_age: Duration::from_secs(300),
        }
    }
}

/// OTLP/gRPC out.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct OtlpGrpc {
    /// The upstream by its name, which fills in what is known of it: what is written beside it wins.
    #[cfg_attr(test, schemars(extend("enum" = presets::names())))]
    pub(in crate::config) preset: Option<String>,
    /// The credential, which the preset puts into the header that the upstream reads it from. A template, and secret: it is
    /// never shown.
    pub(in crate::config) token: Option<String>,
    /// What a routing key has to be for the upstream to take it; entries with another key are rejected.
    pub(in crate::config) valid_key: Option<ValidKeySection>,
    /// Host and port, with or without a scheme. A template.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) endpoint: Option<String>,
    /// How requests are compressed.
    pub(in crate::config) compression: GrpcCompression,
    /// Metadata of every request, as a map from name to value or a list of both. Values are templates and secret:
    /// they are never shown.
    pub(in crate::config) headers: Headers,
    /// What each request is authenticated with, beside `headers`.
    pub(in crate::config) auth: Option<Auth>,
    /// For one attempt, from connecting to the end of the answer; 0 sets no limit.
    pub(in crate::config) timeout: Duration,
    /// TLS; `insecure: true` or an `http` URL sends without.
    pub(in crate::config) tls: TlsSection,
    /// A connection takes no new calls beyond this age, so that an upstream that moves is followed.
    pub(in crate::config) max_connection_age: Duration,
    /// The queue of each stream.
    pub(in crate::config) sending_queue: SendingQueue,
    /// How an attempt that failed is repeated.
    pub(in crate::config) retry_on_failure: RetryOnFailure,
    /// What becomes of a batch by the status that answers it, where that is not to be what it usually is: a map from a status
    /// of gRPC (`NOT_FOUND`), or, for answers without one, a status of HTTP (`404`), a range of them (`520-530`) or a class
    /// (`5xx`), or from `default`, to a word, or to a map of one word to its least time (`{ hold: 1h }`). The narrowest that names
    /// a status counts, and it wins over `retry_on_failure.statuses`; `default` is for those that neither these keys nor Sluice's
    /// own rules name. A success can't be changed.
    #[cfg_attr(
        test,
        schemars(extend(
            "x-key" = "status",
            "propertyNames" = { "pattern": "^([3-5]([0-9]{2}|[xX]{2})|[3-5][0-9]{2}-[3-5][0-9]{2}|[A-Z_]+|default)$" }
        ))
    )]
    pub(in crate::config) statuses: BTreeMap<String, StatusRule>,
}

impl Default for OtlpGrpc {
    fn default() -> Self {
        Self {
            preset: None,
            token: None,
            valid_key: None,
            endpoint: None,
            compression: GrpcCompression::default(),
            headers: Headers::default(),
            auth: None,
            timeout: Duration::from_secs(30),
            tls: TlsSection::default(),
            max_connection_age: Duration::from_secs(300),
            sending_queue: SendingQueue::default(),
            retry_on_failure: RetryOnFailure::default(),
            statuses: BTreeMap::new(),
        }
    }
}

/// What a routing key has to be. A preset fills it in where the key of each route that sends there is one text.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "ValidKey"))]
pub(in crate::config) struct ValidKeySection {
    /// A regular expression that matches the whole of a key that is valid.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) regex: Option<String>,
    /// The same in words, for those who are told why a key is not valid.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) description: Option<String>,
}

/// What becomes of a batch that is answered by a status: a word, or a map of one word to its least time.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum StatusRule {
    /// The word alone.
    Word(StatusActionWord),
    /// With its least time.
    Timed(StatusActionTimes),
}

/// What becomes of a batch that is answered by a status.
#[derive(Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, schemars(rename = "StatusAction"))]
pub(in crate::config) enum StatusActionWord {
    /// It counts as delivered.
    Delivered,
    /// The stream waits and tries again.
    Retry,
    /// The stream is held: the destination is wrong, not the data.
    Hold,
    /// All streams of its tenant at this exporter are held; of what is no tenant's, the stream.
    HoldTenant,
    /// All streams of the exporter are held.
    HoldExporter,
    /// It is sent again in parts, until what is refused stands alone and becomes a dead letter.
    Split,
    /// What `split` was called before.
    #[cfg_attr(test, schemars(extend("deprecated" = true)))]
    Divide,
    /// It becomes a dead letter.
    DeadLetter,
    /// It is dropped, without a dead letter.
    Drop,
}

/// One of these words, with the least time of what it says. What is tried again or held is so for that long at least; what is
/// split, dead-lettered or dropped was tried again until so much time had passed since its first failure.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct StatusActionTimes {
    /// The stream waits at least so long, and tries again.
    pub(in crate::config) retry: Option<Duration>,
    /// The stream is held for at least so long.
    pub(in crate::config) hold: Option<Duration>,
    /// All streams of its tenant at this exporter are held for at least so long; of what is no tenant's, the stream.
    pub(in crate::config) hold_tenant: Option<Duration>,
    /// All streams of the exporter are held for at least so long.
    pub(in crate::config) hold_exporter: Option<Duration>,
    /// The batch is tried again for so long, and then sent in parts, until what is refused stands alone and becomes a dead letter.
    pub(in crate::config) split: Option<Duration>,
    /// The batch is tried again for so long, and then becomes a dead letter.
    pub(in crate::config) dead_letter: Option<Duration>,
    /// The batch is tried again for so long, and then dropped, without a dead letter.
    pub(in crate::config) drop: Option<Duration>,
    /// Nothing: what counts as delivered does so at once.
    #[cfg_attr(test, schemars(extend("deprecated" = true)))]
    pub(in crate::config) delivered: Option<Duration>,
}

/// A map from name to value, or a list of both, which the Collector takes, too.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum Headers {
    /// Names and values.
    Map(
        #[cfg_attr(test, schemars(with = "std::collections::BTreeMap<String, String>"))]
        serde_json::Map<String, serde_json::Value>,
    ),
    /// The same as a list.
    List(Vec<HeaderSection>),
}

impl Default for Headers {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// A header.
#[derive(Clone, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Header"))]
pub(in crate::config) struct HeaderSection {
    /// Its name.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) name: String,
    /// Its value.
    pub(in crate::config) value: String,
}

/// The encoding of requests.
#[derive(Clone, Copy, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, schemars(rename = "Encoding"))]
pub(in crate::config) enum EncodingWord {
    /// `application/x-protobuf`.
    #[default]
    Proto,
    /// `application/json`.
    Json,
}

/// The compression of requests.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, schemars(rename = "Compression"))]
pub(in crate::config) enum CompressionWord {
    /// As they are.
    None,
    /// `Content-Encoding: gzip`.
    #[default]
    Gzip,
    /// `Content-Encoding: zstd`.
    Zstd,
    /// `Content-Encoding: zlib`.
    Zlib,
    /// `Content-Encoding: deflate`, which is the same under the name that HTTP has for it.
    Deflate,
    /// `Content-Encoding: snappy`: one block, which Collectors before 0.126 don't take.
    Snappy,
    /// `Content-Encoding: x-snappy-framed`: frames of snappy.
    #[serde(rename = "x-snappy-framed")]
    SnappyFramed,
    /// `Content-Encoding: lz4`: frames of LZ4.
    Lz4,
}

/// The compression of messages.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum GrpcCompression {
    /// As they are.
    None,
    /// `grpc-encoding: gzip`.
    #[default]
    Gzip,
    /// `grpc-encoding: zstd`.
    Zstd,
    /// `grpc-encoding: snappy`: frames of snappy.
    Snappy,
}

/// How hard requests are compressed.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CompressionParams {
    /// 1 (fastest) to 9 for gzip, zlib and deflate, by default 1; 1 to 22 for zstd, by default 3, and what is beyond is the
    /// nearest of them. Others have none. 0 and -1 mean the default, as in the Collector.
    pub(in crate::config) level: Option<i32>,
}

/// OTLP JSON lines in `PATH/<routing key>/<signal>.jsonl`, which a Collector's `otlpjsonfile` receiver reads.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct File {
    /// The directory; made if it is not there. Relative to the working directory. Each routing key has a directory of its own in
    /// it, named by the key with all but ASCII letters, digits, `-`, `.` and `_` percent-encoded (`a/b` is `a%2Fb`, a dot or a
    /// dash at the beginning is, too); what would be longer than 200 bytes ends in `~` and a hash. `@all` is what has no key.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) path: PathBuf,
    /// Who may read and write the files that are made, whatever the umask. Directories that are made can be entered, too, by
    /// whoever may read. What is there already stays as it is.
    pub(in crate::config) mode: FileMode,
    /// When a file is put aside, and for how long.
    pub(in crate::config) rotation: Rotation,
    /// The format of the lines.
    pub(in crate::config) format: FormatWord,
    /// The queue of each stream.
    pub(in crate::config) sending_queue: SendingQueue,
    /// How a write that failed is repeated.
    pub(in crate::config) retry_on_failure: RetryOnFailure,
}

impl Default for File {
    fn default() -> Self {
        Self {
            path: "./data".into(),
            mode: FileMode(0o600),
            rotation: Rotation::default(),
            format: FormatWord::default(),
            sending_queue: SendingQueue::default(),
            retry_on_failure: RetryOnFailure::default(),
        }
    }
}

/// When a file is put aside, and for how long.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Rotation {
    /// A file that would grow beyond this many MiB is put aside and a new one begun; 0 means the default.
    #[cfg_attr(test, schemars(range(max = 1_048_576)))]
    pub(in crate::config) max_megabytes: u64,
    /// Files put aside that are kept per stream; 0 keeps all.
    pub(in crate::config) max_backups: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_megabytes: 64, max_backups: 8 }
    }
}

/// The format of a file.
#[derive(Clone, Copy, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, schemars(rename = "Format"))]
pub(in crate::config) enum FormatWord {
    /// One OTLP/JSON request per line.
    #[default]
    Json,
}

/// Prints what it gets.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Debug {
    /// How much is printed.
    pub(in crate::config) verbosity: Verbosity,
    /// The queue of each stream.
    pub(in crate::config) sending_queue: SendingQueue,
    /// How a write that failed is repeated.
    pub(in crate::config) retry_on_failure: RetryOnFailure,
}

/// Sends nothing anywhere. What it gets counts as delivered.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Nop {}

/// How much is printed.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Verbosity {
    /// One line per batch.
    #[default]
    Basic,
    /// The same as `basic`.
    Normal,
    /// Every batch as OTLP JSON.
    Detailed,
}
