//! `exporters`.

use std::collections::HashMap;
use std::path::{Component, PathBuf};
use std::sync::Arc;

use http::Uri;
use http::header::{CONTENT_TYPE, HeaderName};
use secrecy::SecretString;

use super::exporter_auth::ExporterAuths;
use super::extensions::Extensions;
use super::own_receivers::OwnReceivers;
use super::url::Upstream;
use super::{Context, client_tls, headers, queue, statuses, url};
use crate::config::model::{
    self, ByteSize, ExporterSection, Named, OtlpGrpc, OtlpHttp, RetryOnFailure, SendingQueue, Verbosity,
};
use crate::config::node::Node;
use crate::config::presets::Preset;
use crate::config::quoting::named;
use crate::credentials::ExporterAuth;
use crate::encoding::Encoding;
use crate::export::{
    Compression, DebugSettings, ExporterKind, ExporterSettings, FileSettings, MAX_GRPC_MESSAGE,
    OtlpGrpcSettings, OtlpHttpSettings, SecretTemplate, Statuses, UpstreamSettings, ValidKey,
};
use crate::otlp::Signal;
use crate::route::Template;

/// Compiles every exporter; one that has a mistake is in the list all the same, so that routes can name it.
pub(super) fn compile(
    exporters: &Named<ExporterSection>,
    own_receivers: &OwnReceivers<'_>,
    extensions: &mut Extensions<'_>,
    root: &Node,
    context: &mut Context<'_>,
) -> Vec<(Arc<str>, ExporterSettings)> {
    let all = root.near(&["exporters"]);
    if exporters.0.is_empty() && !context.is_excused(root, "exporters") {
        context
            .section_error(root, "exporters", "there is no exporter, so nothing can be sent")
            .help("write `exporters: { file/local: { path: ./data } }`");
    }
    shared_files(exporters, all, context);
    let mut auths = ExporterAuths::new(extensions);
    let nodes: HashMap<&str, &Node> =
        all.entries().iter().map(|entry| (entry.key.as_str(), &entry.value)).collect();
    exporters
        .0
        .iter()
        .map(|(name, exporter)| {
            let node = nodes.get(name.as_str()).copied().unwrap_or(all);
            let settings = one(name, exporter, &mut auths, node, context);
            warn_of_own_receivers(name, &settings.kind, own_receivers, node, context);
            (Arc::from(name.as_str()), settings)
        })
        .collect()
}

/// Warns of each URL at which a receiver of this configuration listens, unless there is a proxy, behind which an address is another
/// machine's.
fn warn_of_own_receivers(
    name: &str,
    kind: &ExporterKind,
    own_receivers: &OwnReceivers<'_>,
    node: &Node,
    context: &mut Context<'_>,
) {
    let base = node.near(&["endpoint"]);
    match kind {
        ExporterKind::OtlpHttp(http) if http.proxy_url.is_none() => {
            let keys = ["traces_endpoint", "metrics_endpoint", "logs_endpoint"];
            for (key, url) in keys.into_iter().zip(&http.urls) {
                let Some(url) = url else { continue };
                let own = node.get(key).filter(|own| own.text().is_some_and(|text| !text.is_empty()));
                own_receivers.warn_of(url, name, own.unwrap_or(base), context);
            }
        }
        ExporterKind::OtlpGrpc(grpc) => {
            if let Some(url) = &grpc.url {
                own_receivers.warn_of(url, name, base, context);
            }
        }
        ExporterKind::OtlpHttp(_) | ExporterKind::File(_) | ExporterKind::Debug(_) | ExporterKind::Nop => {}
    }
}

/// Reports `file` exporters with the same path. Their lines don't mix, but each rotates by its own settings.
fn shared_files(exporters: &Named<ExporterSection>, all: &Node, context: &mut Context<'_>) {
    let mut seen: HashMap<PathBuf, &str> = HashMap::new();
    for (name, exporter) in &exporters.0 {
        let ExporterSection::File(file) = exporter else { continue };
        // `./data` is `data`.
        let path: PathBuf = file.path.components().filter(|part| *part != Component::CurDir).collect();
        let other = *seen.entry(path).or_insert(name);
        if other != name {
            let entry = all.entry(name).filter(|entry| entry.value.get("path").is_none());
            let span = entry.map_or(all.near(&[name, "path"]).span, |entry| entry.key_span);
            context
                .report
                .warn(span, format!("{} writes to the same files as {}", named(name), named(other)))
                .help("write another `path`");
        }
    }
}

fn one(
    name: &str,
    exporter: &ExporterSection,
    auths: &mut ExporterAuths<'_, '_>,
    node: &Node,
    context: &mut Context<'_>,
) -> ExporterSettings {
    match exporter {
        ExporterSection::OtlpHttp(http) => {
            let mut settings = otlp_http(name, http, exporter.preset(), auths, node, context);
            let in_flight = if http.max_conns_per_host == 0 { usize::MAX } else { http.max_conns_per_host };
            let max_in_flight = http.sending_queue.max_in_flight.min(in_flight);
            let written = node.near(&["sending_queue", "max_in_flight"]);
            if max_in_flight < http.sending_queue.max_in_flight && written.text().is_some() {
                let shown = context.written(written);
                context
                    .report
                    .warn(written.span, format!("{shown} in flight need as many connections, and `max_conns_per_host` allows {max_in_flight}"))
                    .help("write the same number for both");
            }
            settings.max_idle_connections = match http.max_idle_conns_per_host {
                _ if http.disable_keep_alives => 0,
                None | Some(0) => max_in_flight,
                Some(idle) => idle,
            };
            let kind = ExporterKind::OtlpHttp(Box::new(settings));
            let settings = ExporterSettings {
                max_in_flight,
                statuses: statuses::compile(
                    statuses::ExporterProtocol::Http,
                    &http.statuses,
                    &http.retry_on_failure,
                    node,
                    context,
                ),
                valid_key: valid_key(http.valid_key.as_ref(), node, context),
                ..common(kind, &http.sending_queue, &http.retry_on_failure, node, context)
            };
            check_preset(exporter.preset(), http.token.is_some(), &settings, node, context);
            settings
        }
        ExporterSection::OtlpGrpc(grpc) => {
            let kind = ExporterKind::OtlpGrpc(Box::new(otlp_grpc(grpc, auths, node, context)));
            let mut settings = common(kind, &grpc.sending_queue, &grpc.retry_on_failure, node, context);
            settings.statuses = statuses::compile(
                statuses::ExporterProtocol::Grpc,
                &grpc.statuses,
                &grpc.retry_on_failure,
                node,
                context,
            );
            settings.valid_key = valid_key(grpc.valid_key.as_ref(), node, context);
            cap_messages(&mut settings, &grpc.sending_queue, node, context);
            check_preset(exporter.preset(), grpc.token.is_some(), &settings, node, context);
            settings
        }
        ExporterSection::File(file) => {
            let kind = ExporterKind::File(FileSettings {
                path: file.path.clone(),
                mode: file.mode.0,
                max_file_size: match file.rotation.max_megabytes {
                    0 => model::Rotation::default().max_megabytes << 20,
                    megabytes => megabytes << 20,
                },
                max_backups: file.rotation.max_backups,
            });
            common(kind, &file.sending_queue, &file.retry_on_failure, node, context)
        }
        ExporterSection::Debug(debug) => {
            let kind =
                ExporterKind::Debug(DebugSettings { detailed: debug.verbosity == Verbosity::Detailed });
            common(kind, &debug.sending_queue, &debug.retry_on_failure, node, context)
        }
        ExporterSection::Nop => {
            common(ExporterKind::Nop, &SendingQueue::default(), &RetryOnFailure::default(), node, context)
        }
    }
}

fn common(
    kind: ExporterKind,
    sending_queue: &SendingQueue,
    retry_on_failure: &RetryOnFailure,
    node: &Node,
    context: &mut Context<'_>,
) -> ExporterSettings {
    ExporterSettings {
        kind,
        queue: queue::compile(sending_queue, node.near(&["sending_queue"]), context),
        max_in_flight: sending_queue.max_in_flight,
        retry: queue::retry(retry_on_failure, node.near(&["retry_on_failure"]), context),
        statuses: Statuses::default(),
        valid_key: None,
    }
}

/// Reports a token without a preset that has a header for it, and batches that are larger than the preset's upstream takes.
fn check_preset(
    preset: Option<&Preset>,
    has_token: bool,
    settings: &ExporterSettings,
    node: &Node,
    context: &mut Context<'_>,
) {
    let Some(preset) = preset else {
        if let Some(token) = node.entry("token").filter(|_| has_token && node.get("preset").is_none()) {
            context
                .report
                .error(token.key_span, "`token` needs a `preset`, which says the header that it goes into")
                .help("write `headers: { Authorization: \"Bearer …\" }` instead, or a `preset`");
        }
        return;
    };
    let is_larger = |largest| settings.queue.batch.max_size as u64 > largest;
    if let Some(largest) = preset.largest
        && is_larger(largest.parse::<ByteSize>().expect("a test reads what is in the table of presets").0)
    {
        let span = node.near(&["sending_queue", "batch", "max_size"]).span;
        context
            .report
            .warn(span, format!("{} takes no request above {largest}", preset.upstream))
            .help(format!("write at most `max_size: {largest}`"));
    }
}

/// Compiles the `valid_key` of the exporter at `node`.
fn valid_key(
    written: Option<&model::ValidKeySection>,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<ValidKey> {
    let (written, node) = (written?, node.near(&["valid_key"]));
    let Some(regex) = &written.regex else {
        if !context.is_excused(node, "regex") {
            context
                .report
                .error(node.span, "`valid_key` does not say which keys are valid")
                .help("write `valid_key: { regex: \"[0-9]+\" }`, or leave it out where every key is");
        }
        return None;
    };
    let compiled = ValidKey::new(regex, written.description.as_deref().unwrap_or_default());
    if compiled.is_err() {
        let node = node.near(&["regex"]);
        let subject = context.subject(node);
        context.report.error(node.span, format!("{subject} is not a regular expression"));
    }
    compiled.ok()
}

/// The upstream of own telemetry, which has no queue and no streams, as an `otlp_http` exporter that is written at `node`.
pub(super) fn own_upstream(
    name: &str,
    http: &OtlpHttp,
    auths: &mut ExporterAuths<'_, '_>,
    node: &Node,
    context: &mut Context<'_>,
) -> ExporterSettings {
    let mut settings = otlp_http(name, http, None, auths, node, context);
    settings.max_idle_connections = 1;
    let kind = ExporterKind::OtlpHttp(Box::new(settings));
    common(kind, &http.sending_queue, &http.retry_on_failure, node, context)
}

fn otlp_http(
    name: &str,
    http: &OtlpHttp,
    preset: Option<&Preset>,
    auths: &mut ExporterAuths<'_, '_>,
    node: &Node,
    context: &mut Context<'_>,
) -> OtlpHttpSettings {
    let own = [
        ("traces_endpoint", &http.traces_endpoint),
        ("metrics_endpoint", &http.metrics_endpoint),
        ("logs_endpoint", &http.logs_endpoint),
    ];
    if let Some(base) = &http.endpoint
        && let Some(signal) =
            Signal::ALL.into_iter().find(|signal| base.trim_end_matches('/').ends_with(signal.path()))
    {
        let (at, path) = (node.near(&["endpoint"]), signal.path());
        context
            .report
            .warn(at.span, format!("`endpoint` ends in `{path}`, and that is added to it once more"))
            .help(format!("leave `{path}` out, or write `{signal}_endpoint`, which is used as it is"));
    }
    let mut upstreams = Vec::new();
    let mut urls: [Option<Template>; 3] = [None, None, None];
    for (signal, (key, own)) in Signal::ALL.into_iter().zip(own) {
        let upstream = match (own, &http.endpoint) {
            (Some(own), _) => url::upstream(own, "", node.near(&[key]), context),
            (None, _) if preset.is_some_and(|preset| !preset.signals.contains(&signal)) => continue,
            (None, Some(base)) => url::upstream(base, signal.path(), node.near(&["endpoint"]), context),
            (None, None) => continue,
        };
        urls[signal.index()] = upstream.as_ref().map(|upstream| upstream.url.clone());
        upstreams.extend(upstream);
    }
    let written = ["endpoint", "traces_endpoint", "metrics_endpoint", "logs_endpoint"];
    // A preset may fill it in.
    let any = node.near(&["preset"]).has_placeholder()
        || written.iter().any(|key| node.entry(key).is_some_and(|entry| !entry.value.is_null()));
    if !any && !context.is_excused(node, "endpoint") {
        context
            .report
            .error(node.span, format!("the exporter {} has no `endpoint`", named(name)))
            .help("write `endpoint: https://…`, to which `/v1/traces`, `/v1/metrics` or `/v1/logs` is added");
    }

    let headers = headers::compile(&http.headers, node.near(&["headers"]), context);
    if !context.is_excused(node, "encoding") {
        headers::check_content_type(&http.headers, http.encoding, node.near(&["headers"]), context);
    }
    let compression = compression(http, node, context);
    if !context.is_excused(node, "compression") {
        headers::check_content_encoding(&http.headers, compression, node.near(&["headers"]), context);
    }
    let auth = auths.compile(http.auth.as_ref(), &headers, node, context);
    warn_of_plain_credentials(&upstreams, &headers, auth.is_some(), node, context);
    let secure = upstreams.iter().any(|upstream| upstream.secure);
    if http.tls.insecure && secure {
        let span = node.near(&["tls", "insecure"]).span;
        context
            .report
            .warn(span, "`insecure` has no effect: the URL says `https`, and the URL decides")
            .help("write an `http` URL to send without TLS, or `insecure_skip_verify` to accept any certificate");
    }

    OtlpHttpSettings {
        urls,
        upstream: UpstreamSettings {
            headers,
            auth,
            compression,
            timeout: http.timeout.0,
            tls: client_tls::compile(&http.tls, node.near(&["tls"]), context),
            max_connection_age: http.max_connection_age.0,
        },
        encoding: match http.encoding {
            model::EncodingWord::Proto => Encoding::Proto,
            model::EncodingWord::Json => Encoding::Json,
        },
        proxy_url: proxy(http, node, context),
        max_idle_connections: 0,
        idle_timeout: http.idle_conn_timeout.0,
    }
}

/// The Collector takes `host:port`, with or without a scheme; one that is written says whether TLS is spoken.
fn otlp_grpc(
    grpc: &OtlpGrpc,
    auths: &mut ExporterAuths<'_, '_>,
    node: &Node,
    context: &mut Context<'_>,
) -> OtlpGrpcSettings {
    let scheme = if grpc.tls.insecure { "http" } else { "https" };
    let upstream = grpc
        .endpoint
        .as_ref()
        .and_then(|endpoint| url::server(endpoint, scheme, node.near(&["endpoint"]), context));
    // A preset may fill it in.
    let may_be_filled_in = node.near(&["preset"]).has_placeholder();
    if grpc.endpoint.is_none() && !may_be_filled_in && !context.is_excused(node, "endpoint") {
        context.report.error(node.span, "the exporter has no `endpoint`").help("write `endpoint: host:4317`");
    }
    let headers = headers::compile(&grpc.headers, node.near(&["headers"]), context);
    for (name, _) in &headers {
        if is_of_grpc(name) {
            let span = node.near(&["headers"]).span;
            context.report.error(span, format!("the header `{name}` can't be set: it is gRPC's own"));
        }
    }
    let auth = auths.compile(grpc.auth.as_ref(), &headers, node, context);
    if let Some(header) = auth.as_ref().map(ExporterAuth::header).filter(|header| is_of_grpc(header)) {
        let span = node.near(&["auth", "authenticator"]).span;
        context.report.error(span, format!("its header `{header}` can't be set: it is gRPC's own"));
    }
    warn_of_plain_credentials(upstream.as_slice(), &headers, auth.is_some(), node, context);
    OtlpGrpcSettings {
        url: upstream.map(|upstream| upstream.url),
        upstream: UpstreamSettings {
            headers,
            auth,
            compression: match grpc.compression {
                model::GrpcCompression::None => Compression::None,
                model::GrpcCompression::Gzip => Compression::Gzip { level: 1 },
                model::GrpcCompression::Zstd => Compression::Zstd { level: 3 },
                model::GrpcCompression::Snappy => Compression::SnappyFrames,
            },
            timeout: grpc.timeout.0,
            tls: client_tls::compile(&grpc.tls, node.near(&["tls"]), context),
            max_connection_age: grpc.max_connection_age.0,
        },
    }
}

/// Whether gRPC itself sets this header.
fn is_of_grpc(name: &HeaderName) -> bool {
    name.as_str().starts_with("grpc-") || name == CONTENT_TYPE
}

/// Limits batches to 4 MiB, since gRPC servers take no larger message by default, and a message has one batch.
fn cap_messages(
    settings: &mut ExporterSettings,
    queue: &SendingQueue,
    node: &Node,
    context: &mut Context<'_>,
) {
    let batch = &mut settings.queue.batch;
    if batch.max_size <= MAX_GRPC_MESSAGE {
        return;
    }
    if queue.batch.max_size.0 != 0 {
        context
            .report
            .warn(
                node.near(&["sending_queue", "batch", "max_size"]).span,
                "gRPC servers take messages of up to 4MiB, so batches are no larger",
            )
            .help("write at most `max_size: 4MiB`");
    }
    if batch.min_size > MAX_GRPC_MESSAGE {
        context
            .report
            .warn(
                node.near(&["sending_queue", "batch", "min_size"]).span,
                "batches are sent at 4MiB, since gRPC servers take no larger messages",
            )
            .help("write at most `min_size: 4MiB`");
    }
    batch.max_size = MAX_GRPC_MESSAGE;
    batch.min_size = batch.min_size.min(MAX_GRPC_MESSAGE);
}

/// Warns if a credential would be sent without encryption.
fn warn_of_plain_credentials(
    upstreams: &[Upstream],
    headers: &[(HeaderName, SecretTemplate)],
    has_auth: bool,
    node: &Node,
    context: &mut Context<'_>,
) {
    let in_the_clear = upstreams.iter().any(|upstream| !upstream.secure && !upstream.local);
    let in_headers = headers.iter().any(|(name, _)| headers::is_credential(name));
    if in_the_clear && (has_auth || in_headers) {
        let key = if has_auth { "auth" } else { "headers" };
        context
            .report
            .warn(
                node.near(&[key]).span,
                "a credential is sent over plain HTTP, where anyone in between can read it",
            )
            .help("write an `https` endpoint");
    }
}

/// Compiles the compression. As in the Collector, a level of 0 counts as not written, -1 is the compression's default, and for zstd a
/// number that is no level counts as the nearest one.
fn compression(http: &OtlpHttp, node: &Node, context: &mut Context<'_>) -> Compression {
    let written = http.compression_params.level.filter(|level| *level != 0);
    let level = written.filter(|level| *level != -1);
    let fast = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(1);
    let of_zstd = level.unwrap_or(3).clamp(1, 22);
    let (compression, levels) = match http.compression {
        model::CompressionWord::None => return Compression::None,
        model::CompressionWord::Zstd => return Compression::Zstd { level: of_zstd },
        model::CompressionWord::Gzip => (Compression::Gzip { level: fast }, true),
        model::CompressionWord::Zlib => (Compression::Zlib { level: fast, deflate: false }, true),
        model::CompressionWord::Deflate => (Compression::Zlib { level: fast, deflate: true }, true),
        model::CompressionWord::Snappy => (Compression::SnappyBlock, false),
        model::CompressionWord::SnappyFramed => (Compression::SnappyFrames, false),
        model::CompressionWord::Lz4 => (Compression::Lz4, false),
    };
    let span = node.near(&["compression_params", "level"]).span;
    match (level, written) {
        _ if context.is_excused(node, "compression") => {}
        (_, Some(_)) if !levels => {
            context
                .report
                .error(span, "this compression has no levels")
                .help("leave `compression_params` out, or write `compression: gzip` or `compression: zstd`");
        }
        // Go's `HuffmanOnly`, which compresses even less than level 1 and takes as long.
        (Some(-2), _) => {
            context.report.warn(span, "`-2` has no effect: level 1 is the fastest").help("write `level: 1`");
        }
        (Some(level), _) if !(1..=9).contains(&level) => {
            context
                .report
                .error(span, format!("`{level}` is not a level"))
                .help("levels are 1 (fastest) to 9");
        }
        _ => {}
    }
    compression
}

/// `proxy_url`; it may hold credentials, so no problem shows it.
fn proxy(http: &OtlpHttp, node: &Node, context: &mut Context<'_>) -> Option<SecretString> {
    let text = http.proxy_url.as_ref().filter(|text| !text.is_empty())?;
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if uri.is_none() {
        context
            .report
            .error(node.near(&["proxy_url"]).span, "`proxy_url` is not an `http` or `https` URL")
            .help("write `http://proxy.example.com:3128`");
        return None;
    }
    Some(SecretString::from(text.as_str()))
}
