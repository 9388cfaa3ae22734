//! What the configuration says about exporters, compiled.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Statuses, ValidKey};
use crate::backoff::RetrySettings;
use crate::client::TlsClientSettings;
use crate::coding::{self, Coding};
use crate::credentials::ExporterAuth;
use crate::encoding::Encoding;
use crate::route::{Template, TemplateValue};
use crate::stream::QueueSettings;

/// How long a new connection may take to show that HTTP/2 is spoken.
pub(super) const GREETING: Duration = Duration::from_secs(10);

/// One configured exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct ExporterSettings {
    /// What it sends to.
    pub kind: ExporterKind,
    /// The queue of each of its streams.
    pub queue: QueueSettings,
    /// Requests at a time per destination.
    pub max_in_flight: usize,
    /// How an attempt that failed is repeated.
    pub retry: RetrySettings,
    /// What becomes of a batch by the status of the answer.
    pub statuses: Statuses,
    /// What a routing key has to be; `None` where every one will do.
    pub valid_key: Option<ValidKey>,
}

impl ExporterSettings {
    /// What it has as an exporter to the network, if it is one.
    pub fn upstream(&self) -> Option<&UpstreamSettings> {
        match &self.kind {
            ExporterKind::OtlpHttp(http) => Some(&http.upstream),
            ExporterKind::OtlpGrpc(grpc) => Some(&grpc.upstream),
            ExporterKind::File(_) | ExporterKind::Debug(_) | ExporterKind::Nop => None,
        }
    }

    /// `timeout`, where it has one: how long an attempt may take, and zero for ever.
    pub fn timeout(&self) -> Option<Duration> {
        self.upstream().map(|upstream| upstream.timeout)
    }

    /// How long a new connection may take to begin with the protocol, where that has a limit of its own beside `timeout`.
    pub fn greeting(&self) -> Option<Duration> {
        matches!(self.kind, ExporterKind::OtlpGrpc(_)).then_some(GREETING)
    }

    /// The values that its templates read.
    pub fn reads(&self) -> impl Iterator<Item = &TemplateValue> {
        let urls: &[Option<Template>] = match &self.kind {
            ExporterKind::OtlpHttp(http) => &http.urls,
            ExporterKind::OtlpGrpc(grpc) => std::slice::from_ref(&grpc.url),
            ExporterKind::File(_) | ExporterKind::Debug(_) | ExporterKind::Nop => &[],
        };
        let headers = self.upstream().into_iter().flat_map(|upstream| &upstream.headers);
        let headers = headers.map(|(_, template)| &template.0);
        urls.iter().flatten().chain(headers).flat_map(Template::reads)
    }
}

/// `telemetry`: where Sluice sends what it tells of itself, and how much that is.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetrySettings {
    /// An `otlp_http` exporter without values in its templates.
    pub upstream: ExporterSettings,
    /// The part, from 0 to 1, of the requests whose senders say nothing of a trace that is traced.
    pub sampling: f64,
    /// How often metrics are sent.
    pub interval: Duration,
}

/// The kinds of exporter.
#[derive(Clone, Debug, PartialEq)]
pub enum ExporterKind {
    /// `otlp_http`, also written `otlphttp`.
    OtlpHttp(Box<OtlpHttpSettings>),
    /// `otlp_grpc`, also written `otlp`.
    OtlpGrpc(Box<OtlpGrpcSettings>),
    /// `file`.
    File(FileSettings),
    /// `debug`.
    Debug(DebugSettings),
    /// `nop`.
    Nop,
}

/// What every exporter to the network has.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSettings {
    /// Names and value templates of headers or metadata, in the order of the file; they replace Sluice's own of the same name.
    pub headers: Vec<(HeaderName, SecretTemplate)>,
    /// What each attempt is authenticated with, beside `headers`.
    pub auth: Option<ExporterAuth>,
    /// How a body or message is compressed.
    pub compression: Compression,
    /// For one attempt, from the first byte of the connection to the last of the answer; zero means no limit. Over gRPC also the
    /// call's deadline.
    pub timeout: Duration,
    /// For `https` URLs.
    pub tls: TlsClientSettings,
    /// A connection is not used for new requests beyond this age, so that an upstream that moves is followed; zero
    /// means that age doesn't matter.
    pub max_connection_age: Duration,
}

/// An `otlp_http` exporter.
#[derive(Clone, Debug)]
pub struct OtlpHttpSettings {
    /// The full URL of each signal, by `Signal::index`: `endpoint` + `/v1/<signal>`, or `<signal>_endpoint`
    /// as it is. `None` where neither is given.
    pub urls: [Option<Template>; 3],
    /// What it has as every exporter to the network.
    pub upstream: UpstreamSettings,
    /// How a batch is encoded.
    pub encoding: Encoding,
    /// `proxy_url`; without it the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) decides.
    pub proxy_url: Option<SecretString>,
    /// `max_idle_conns_per_host`: idle connections kept per destination.
    pub max_idle_connections: usize,
    /// `idle_conn_timeout`: an idle connection is closed after this time; zero means never.
    pub idle_timeout: Duration,
}

/// A reload leaves an exporter alone if its settings are equal, so none may be left out here.
impl PartialEq for OtlpHttpSettings {
    fn eq(&self, other: &Self) -> bool {
        let Self { urls, upstream, encoding, proxy_url, max_idle_connections, idle_timeout } = self;
        let text =
            |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        *urls == other.urls
            && *upstream == other.upstream
            && *encoding == other.encoding
            && text(proxy_url) == text(&other.proxy_url)
            && *max_idle_connections == other.max_idle_connections
            && *idle_timeout == other.idle_timeout
    }
}

/// An `otlp_grpc` exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpGrpcSettings {
    /// The endpoint: `https` speaks TLS, `http` does not. `None` where there is none.
    pub url: Option<Template>,
    /// What it has as every exporter to the network.
    pub upstream: UpstreamSettings,
}

/// A template whose text must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretTemplate(pub Template);

impl std::fmt::Debug for SecretTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The compression of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// Level 1 unless `compression_params.level` says otherwise.
    Gzip {
        /// 1 (fastest) to 9.
        level: u32,
    },
    /// Level 3 unless `compression_params.level` says otherwise.
    Zstd {
        /// 1 (fastest) to 22.
        level: i32,
    },
    /// The format of zlib, under one of its two names.
    Zlib {
        /// 1 (fastest) to 9.
        level: u32,
        /// `deflate`, which is what HTTP calls it, rather than `zlib`.
        deflate: bool,
    },
    /// One block of snappy. Over HTTP that is called `snappy`.
    SnappyBlock,
    /// Frames of snappy. Over HTTP they are called `x-snappy-framed`, over gRPC `snappy`.
    SnappyFrames,
    /// Frames of LZ4.
    Lz4,
}

impl Compression {
    fn coding(self) -> Coding {
        match self {
            Self::None => Coding::Identity,
            Self::Gzip { .. } => Coding::Gzip,
            Self::Zstd { .. } => Coding::Zstd,
            Self::Zlib { .. } => Coding::Deflate,
            Self::SnappyBlock | Self::SnappyFrames => Coding::Snappy,
            Self::Lz4 => Coding::Lz4,
        }
    }

    /// Its name in `Content-Encoding`, where that is needed.
    pub fn in_http(self) -> Option<&'static str> {
        match self {
            Self::SnappyFrames => Some(coding::SNAPPY_FRAMED),
            other => other.in_grpc(),
        }
    }

    /// Its name in `grpc-encoding`, where that is needed.
    pub(super) fn in_grpc(self) -> Option<&'static str> {
        match (self, self.coding()) {
            (_, Coding::Identity) => None,
            (Self::Zlib { deflate: false, .. }, _) => Some(coding::ZLIB),
            (_, coding) => Some(coding.name()),
        }
    }
}

/// A `file` exporter: OTLP JSON lines in `path/<routing key>/<signal>.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// The directory.
    pub path: PathBuf,
    /// The permissions of files that are made, whatever the umask. Directories that are made have them as well, and can be
    /// entered by whoever may read.
    pub mode: u32,
    /// A file that would grow beyond this many bytes is rotated first.
    pub max_file_size: u64,
    /// Rotated files kept per stream; older ones are removed. 0 keeps all.
    pub max_backups: usize,
}

/// A `debug` exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugSettings {
    /// Print every batch as OTLP JSON, not only its size.
    pub detailed: bool,
}
