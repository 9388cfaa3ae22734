//! Keys of a Collector's YAML that Sluice does not have, and why.
//!
//! Most of them are harmless to leave out and give a warning. Keys that protect something - authentication, trust, queues on
//! disk - are refused instead: a pasted block must not run with less protection than it asks for. A key whose value is the Collector's
//! own default asks for nothing, and is accepted in silence. `processors` has the table of processors.

use super::model;
use super::node::{Node, NodeValue};
use super::processors;

/// What is done about a key of the Collector's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyVerdict {
    /// The key is left out, with a warning.
    Ignored,
    /// The key is an error.
    Refused,
    /// The key is an error unless there is a `journal`, which does the same.
    NeedsJournal,
    /// The key asks for the default, and is an error beside a file that replaces the default.
    RefusedBesideFile,
    /// Connectors by name, each of which is left out for another reason.
    Connectors,
}

use KeyVerdict::{Connectors, Ignored, NeedsJournal, Refused, RefusedBesideFile};

const SOCKET: &str = "the operating system sizes its socket buffers by itself";
const H1: &str = "requests are sent by HTTP/1.1";
const PEM: &str = "write the PEM text to a file and name that: `ca_file`, `cert_file`, `key_file`";
const MIDDLEWARE: &str = "there are no extensions, so it would be left out whatever it guards";
const JWT: &str = "tokens are fetched by the client credentials grant: write `client_id` and `client_secret`";
const JOURNAL: &str = "the queues of all exporters are kept in `journal`";
const KEEPALIVE: &str = "connections are kept alive and probed by defaults that need no setting";

/// Definitions of the schema, keys, the verdict about them, and the reason in the problem's text.
const TABLE: &[(&[&str], &[&str], KeyVerdict, &str)] = &[
    (&["Config"], &["service"], Ignored, "there are no pipelines; `routes` says what goes where"),
    (&["Config"], &["connectors"], Connectors, "`routes` says what goes where"),
    (
        &["AttributeAction"],
        &["from_context"],
        Refused,
        "what a request came with is not kept: write `value` with a template, such as `{{ tenant.id }}`",
    ),
    (&["MatchProperties"], &["regexp"], Ignored, "what was matched is not kept"),
    (
        &["MatchProperties"],
        &["expressions", "resource_attributes"],
        Refused,
        "write `metric_names`, or let a Collector before this one do it",
    ),
    (
        &["Auth"],
        &["request_params"],
        Refused,
        "credentials are read from headers, not from the query of a URL",
    ),
    (
        &["ClientAuth"],
        &["aws_secrets_manager"],
        Refused,
        "credentials are read from files: `username_file`, `password_file`",
    ),
    (
        &["OAuth2Client"],
        &[
            "grant_type",
            "client_certificate_key",
            "client_certificate_key_file",
            "client_certificate_key_id",
            "signature_algorithm",
            "iss",
            "audience",
            "claims",
        ],
        Refused,
        JWT,
    ),
    (
        &["HttpReceiver", "GrpcReceiver"],
        &["include_metadata"],
        Ignored,
        "streams are named by resource attributes",
    ),
    (&["HttpReceiver", "GrpcReceiver"], &["middlewares"], Refused, MIDDLEWARE),
    (&["HttpReceiver", "GrpcReceiver"], &["transport"], Ignored, "receivers listen on TCP"),
    (&["HttpReceiver", "GrpcReceiver"], &["dialer"], Ignored, "a receiver opens no connections"),
    (&["HttpReceiver"], &["include_tls_metadata"], Ignored, "streams are named by resource attributes"),
    (
        &["HttpReceiver"],
        &["keep_alives_enabled"],
        Ignored,
        "`idle_timeout` says how long connections are kept",
    ),
    (&["HttpReceiver"], &["response_headers"], Ignored, "answers have the headers that OTLP asks for"),
    (
        &["HttpReceiver"],
        &["compression_algorithms"],
        Ignored,
        "all that Collectors take is always accepted, each with a cap while decompressing",
    ),
    (&["GrpcReceiver"], &["read_buffer_size", "write_buffer_size"], Ignored, SOCKET),
    (&["Keepalive"], &["enforcement_policy"], Ignored, "senders may ping as they like"),
    (&["Cors"], &["exposed_headers"], Ignored, "answers have no headers that a page needs"),
    (&["OtlpHttp", "OtlpGrpc"], &["read_buffer_size", "write_buffer_size"], Ignored, SOCKET),
    (&["OtlpHttp", "OtlpGrpc"], &["middlewares"], Refused, MIDDLEWARE),
    (&["OtlpHttp", "OtlpGrpc"], &["user_agent"], Ignored, "write it as `headers: { User-Agent: … }`"),
    (&["OtlpHttp", "OtlpGrpc"], &["batcher"], Ignored, "batches are formed in `sending_queue.batch`"),
    (&["OtlpHttp"], &["profiles_endpoint"], Ignored, "profiles are not routed"),
    (
        &["OtlpHttp"],
        &["max_idle_conns"],
        Ignored,
        "idle connections are limited by `max_idle_conns_per_host`",
    ),
    (&["OtlpHttp"], &["force_attempt_http2", "http2_read_idle_timeout", "http2_ping_timeout"], Ignored, H1),
    (&["OtlpHttp"], &["cookies"], Ignored, "cookies of upstreams are not kept"),
    (
        &["OtlpGrpc"],
        &["balancer_name"],
        Ignored,
        "requests go to the addresses of the endpoint's name in turn",
    ),
    (&["OtlpGrpc"], &["keepalive"], Ignored, KEEPALIVE),
    (&["OtlpGrpc"], &["wait_for_ready"], Ignored, "an attempt that can't connect is retried with backoff"),
    (
        &["OtlpGrpc"],
        &["authority"],
        Ignored,
        "it is the endpoint's host; `tls.server_name_override` changes the verified name",
    ),
    (&["OtlpGrpc"], &["compression_params"], Ignored, "messages are compressed at the fastest level"),
    (&["SendingQueue"], &["storage", "persistent_storage_enabled"], NeedsJournal, JOURNAL),
    (
        &["SendingQueue"],
        &["block_on_overflow", "blocking"],
        Ignored,
        "`when_full` says what happens to a full stream",
    ),
    (&["Batch"], &["partition"], Ignored, "every batch holds one stream; a route's `key` names it"),
    (&["ServerTls"], &["ca_file"], Ignored, "certificates of senders are verified by `client_ca_file`"),
    (&["ServerTls"], &["client_ca_file_reload"], Ignored, "a change of the file is noticed without it"),
    (&["Tls"], &["reload_interval"], Ignored, "a change of the files is noticed without it"),
    (
        &["Tls", "ServerTls"],
        &["max_version", "cipher_suites", "curve_preferences", "include_insecure_cipher_suites"],
        Ignored,
        "the choice is made by rustls",
    ),
    (&["Tls", "ServerTls"], &["ca_pem", "cert_pem", "key_pem", "client_ca_pem"], Refused, PEM),
    (
        &["Tls", "ServerTls"],
        &["include_system_ca_certs_pool"],
        RefusedBesideFile,
        "the file that is named replaces the system's roots; add them to that file",
    ),
    (&["Tls", "ServerTls"], &["tpm"], Refused, "keys are read from `key_file`"),
    (&["Rotation"], &["max_days", "localtime"], Ignored, "files are rotated by size and kept by number"),
    (&["File"], &["append", "flush_interval"], Ignored, "every batch is appended and flushed"),
    (&["File"], &["directory_permissions"], Ignored, "`mode` says it of files and directories"),
    (&["File"], &["group_by"], Ignored, "each routing key has files of its own"),
    (
        &["File"],
        &["compression", "encoding", "create_directory"],
        Ignored,
        "files are OTLP JSON lines, in directories made when needed",
    ),
    (
        &["Debug"],
        &["sampling_initial", "sampling_thereafter", "use_internal_logger", "output_paths"],
        Ignored,
        "every batch is printed to standard output",
    ),
];

/// The defaults of such keys in the Collector, where they are not null, zero or false: definitions, the key or the path to it from a
/// key of the definition, and values of which each is the default or means the same.
const DEFAULTS: &[(&[&str], &str, &[&str])] = &[
    (&["HttpReceiver", "GrpcReceiver"], "transport", &["tcp"]),
    (&["HttpReceiver"], "keep_alives_enabled", &["true"]),
    (
        &["HttpReceiver"],
        "compression_algorithms",
        &["", "gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed"],
    ),
    (&["GrpcReceiver"], "read_buffer_size", &["0", "524288"]),
    (&["OtlpHttp", "OtlpGrpc"], "write_buffer_size", &["0", "524288"]),
    (&["OtlpHttp"], "max_idle_conns", &["100"]),
    // HTTP/1.1 is spoken, which is what `false` asks for.
    (&["OtlpHttp"], "force_attempt_http2", &["true", "false"]),
    (&["OtlpGrpc"], "balancer_name", &["round_robin"]),
    (&["OtlpGrpc"], "keepalive.time", &["10s"]),
    (&["OtlpGrpc"], "keepalive.timeout", &["10s"]),
    (&["OtlpGrpc"], "compression_params.level", &["0", "-1"]),
    (&["File"], "flush_interval", &["1s"]),
    (&["File"], "directory_permissions", &["0755"]),
    (&["OAuth2Client"], "grant_type", &["client_credentials"]),
    (&["Debug"], "output_paths", &["stdout"]),
    (&["Debug"], "sampling_initial", &["2"]),
    (&["Debug"], "sampling_thereafter", &["1"]),
    (&["Debug"], "use_internal_logger", &["true"]),
];

/// Keys with names below them rather than settings: each of these asks for the thing that it names, whatever its value.
const OF_NAMES: &[&str] = &["service", "processors", "connectors", "response_headers"];

/// Common names of a Collector's components other than processors, and the sections that name components in a pipeline.
const COMPONENTS: &[&str] = &[
    "count",
    "datadog",
    "elasticsearch",
    "exporters",
    "filelog",
    "forward",
    "health_check",
    "hostmetrics",
    "jaeger",
    "kafka",
    "kubeletstats",
    "logging",
    "loki",
    "pprof",
    "processors",
    "prometheus",
    "prometheusremotewrite",
    "receivers",
    "routing",
    "spanmetrics",
    "statsd",
    "syslog",
    "zipkin",
    "zpages",
];

/// Whether a text is a common name of a Collector's component.
pub(super) fn is_component(text: &str) -> bool {
    COMPONENTS.contains(&text) || processors::is_type(text)
}

/// The verdict and the reason about a key of the definition, if it is the Collector's.
pub(super) fn verdict(definition: &str, key: &str) -> Option<(KeyVerdict, &'static str)> {
    TABLE
        .iter()
        .find(|(definitions, keys, ..)| definitions.contains(&definition) && keys.contains(&key))
        .map(|(.., verdict, why)| (*verdict, *why))
}

/// Whether the value of such a key of the definition is the Collector's own default, or Sluice's, so that the key asks for nothing. `map`
/// is the map that has the key.
pub(super) fn asks_for_nothing(definition: &str, key: &str, value: &Node, map: &Node) -> bool {
    value.is_null()
        || is_default(definition, key, value)
        || asks_for_system_roots(definition, key, value, map)
        || is_of_no_queue(definition, map)
}

/// Whether the key is of a queue that is turned off, so that it has no effect.
fn is_of_no_queue(definition: &str, map: &Node) -> bool {
    let enabled = map.get("enabled").and_then(Node::text).and_then(model::boolean);
    definition == "SendingQueue" && enabled == Some(false)
}

/// Whether the system's roots are asked for where nothing replaces them: of a server no certificate is verified at all
/// without `client_ca_file`.
fn asks_for_system_roots(definition: &str, key: &str, value: &Node, map: &Node) -> bool {
    let replaces = if definition == "ServerTls" { "client_ca_file" } else { "ca_file" };
    key == "include_system_ca_certs_pool"
        && value.text().and_then(model::boolean) == Some(true)
        && map.get(replaces).is_none_or(|file| file.is_null() || file.text() == Some(""))
}

/// The values of a key, or of a path below it, of which each is the default in the Collector or means the same.
pub(super) fn defaults(definition: &str, path: &str) -> Option<&'static [&'static str]> {
    let of =
        DEFAULTS.iter().find(|(definitions, known, _)| definitions.contains(&definition) && *known == path);
    of.map(|(.., values)| *values)
}

fn is_default(definition: &str, path: &str, value: &Node) -> bool {
    let known = defaults(definition, path);
    let below = |key: &str, value: &Node| is_default(definition, &format!("{path}.{key}"), value);
    match &value.value {
        // An empty substitution was meant to have a value.
        NodeValue::Scalar(scalar) if scalar.is_null() => !scalar.is_substituted(),
        // An empty name still asks for something.
        NodeValue::Scalar(scalar) if scalar.text.is_empty() => !path.ends_with(".authenticator"),
        NodeValue::Scalar(scalar) => match known {
            Some(values) => values.iter().any(|default| is_same(&scalar.text, default)),
            None => ["0", "0s", "false"].iter().any(|zero| is_same(&scalar.text, zero)),
        },
        NodeValue::Seq(items) => {
            let texts = || items.iter().filter_map(Node::text);
            let is_known = known.is_some_and(|values| {
                texts().count() == items.len()
                    && texts().all(|text| values.contains(&text))
                    && values.iter().all(|value| texts().any(|text| text == *value))
            });
            let is_empty = |item: &Node| {
                item.is_null() || (!item.entries().is_empty() && is_default(definition, path, item))
            };
            items.is_empty() || is_known || (!OF_NAMES.contains(&path) && items.iter().all(is_empty))
        }
        NodeValue::Map(entries) if OF_NAMES.contains(&path) => entries.is_empty(),
        NodeValue::Map(entries) => {
            let disabled =
                value.get("enabled").and_then(Node::text).is_some_and(|enabled| is_same(enabled, "false"));
            disabled || entries.iter().all(|entry| below(&entry.key, &entry.value))
        }
    }
}

/// Whether two texts are the same boolean, number or duration, or the same text.
fn is_same(text: &str, other: &str) -> bool {
    fn is<T: PartialEq>(read: impl Fn(&str) -> Option<T>, text: &str, other: &str) -> bool {
        read(text).is_some_and(|value| Some(value) == read(other))
    }
    text == other
        || is(model::boolean, text, other)
        || is(model::integer, text, other)
        || is(|text: &str| text.parse::<model::Duration>().ok(), text, other)
}

/// Sluice's type with the function of a type in a Collector; `what` is `exporter` or `receiver`.
pub(super) fn same_exporter(what: &str, name: &str) -> Option<&'static str> {
    // `logging` was the name of `debug` until 2024.
    (what == "exporter" && model::type_of(name) == "logging").then_some("debug")
}

/// Why a connector is left out, and which part of its function `routes` has.
pub(super) fn connector(name: &str) -> &'static str {
    match model::type_of(name) {
        "routing" => {
            "`routes` says what goes where. Write its conditions as the `match` of routes: globs and regular expressions over \
             attributes of resources, below `record` of spans, data points or log records, and below `request` headers of \
             the request"
        }
        "forward" => {
            "a route may name several `exporters`, and with `continue: true` later routes are asked as well"
        }
        _ => {
            "there is nothing like it: `routes` only chooses exporters; no telemetry is made from other telemetry, and no \
             exporter stands in for another"
        }
    }
}

/// Why an extension of a Collector is left out. Extensions that protect something are named by an `auth`, which is refused.
pub(super) fn other_extension(name: &str) -> &'static str {
    match model::type_of(name) {
        "health_check" | "healthcheck" | "healthcheckv2" => "health is `health:`",
        "pprof" | "zpages" => "metrics and API are `admin:`",
        "file_storage" | "db_storage" | "redis_storage" => {
            "`journal` keeps the queues of all exporters on disk"
        }
        "memory_limiter" => "`limits.memory` bounds what is held",
        _ => "there is nothing like it",
    }
}

/// Whether the definition has such a key in a Collector.
pub(super) fn knows(definition: &str, key: &str) -> bool {
    verdict(definition, key).is_some()
}

/// The keys that the definition has in a Collector alone.
pub(super) fn keys_of(definition: &str) -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .filter(move |(definitions, ..)| definitions.contains(&definition))
        .flat_map(|(_, keys, ..)| keys.iter().copied())
}

/// Every such key.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|(_, keys, ..)| keys.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::schema;

    #[test]
    fn the_table_names_definitions_and_no_key_that_exists() {
        for (definitions, keys, ..) in TABLE {
            for definition in *definitions {
                let body = match *definition {
                    "Config" => schema(),
                    name => &schema()["$defs"][name],
                };
                assert!(body["properties"].is_object(), "`{definition}` is not in the schema");
                for key in *keys {
                    assert!(body["properties"][key].is_null(), "`{definition}.{key}` exists");
                }
            }
        }
    }
}
