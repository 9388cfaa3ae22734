//! What a Collector's YAML may hold that means nothing here, and why.
//!
//! Most of it is harmless to leave out and gives a warning. What protects something - authentication, trust - is
//! refused instead: a pasted block must not run with less protection than it asks for.

/// What is done about such a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is left out, with a warning.
    Ignored,
    /// It is an error.
    Refused,
}

use Verdict::{Ignored, Refused};

const SOCKET: &str = "the operating system sizes its socket buffers by itself";
const H1: &str = "requests are sent by HTTP/1.1";
const AUTH_OUT: &str = "there are no extensions; write the credential into `headers`";
const AUTH_IN: &str =
    "senders can't be authenticated yet; remove it, and let only trusted senders reach the endpoint";
const PEM: &str = "write the PEM text to a file and name that: `ca_file`, `cert_file`, `key_file`";
const MIDDLEWARE: &str = "there are no extensions";
const KEEPALIVE: &str = "connections are kept alive and probed by defaults that need no setting";

/// Definitions of the schema, their keys, and what is said about them.
const TABLE: &[(&[&str], &[&str], Verdict, &str)] = &[
    (&["Config"], &["service"], Ignored, "there are no pipelines; `routes` says what goes where"),
    (&["Config"], &["processors"], Ignored, "data is routed and forwarded byte for byte, not processed"),
    (&["Config"], &["connectors"], Ignored, "`routes` does what the routing connector does"),
    (&["Config"], &["extensions"], Ignored, "health is `health:`, metrics and API are `admin:`"),
    (&["HttpReceiver", "GrpcReceiver"], &["auth"], Refused, AUTH_IN),
    (
        &["HttpReceiver", "GrpcReceiver"],
        &["include_metadata"],
        Ignored,
        "streams are named by resource attributes",
    ),
    (&["HttpReceiver", "GrpcReceiver"], &["middlewares"], Ignored, MIDDLEWARE),
    (&["HttpReceiver", "GrpcReceiver"], &["transport"], Ignored, "receivers listen on TCP"),
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
        "gzip, zstd and deflate are always accepted, each with a cap while decompressing",
    ),
    (&["GrpcReceiver"], &["read_buffer_size", "write_buffer_size"], Ignored, SOCKET),
    (&["Keepalive"], &["enforcement_policy"], Ignored, "senders may ping as they like"),
    (&["Cors"], &["exposed_headers"], Ignored, "answers have no headers that a page needs"),
    (&["OtlpHttp", "OtlpGrpc"], &["auth"], Refused, AUTH_OUT),
    (&["OtlpHttp", "OtlpGrpc"], &["read_buffer_size", "write_buffer_size"], Ignored, SOCKET),
    (&["OtlpHttp", "OtlpGrpc"], &["middlewares"], Ignored, MIDDLEWARE),
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
    (
        &["SendingQueue"],
        &["storage"],
        Ignored,
        "`journal: { directory: … }` keeps the queues of all exporters on disk",
    ),
    (
        &["SendingQueue"],
        &["block_on_overflow", "blocking"],
        Ignored,
        "`when_full` says what happens to a full stream",
    ),
    (&["SendingQueue"], &["wait_for_result"], Ignored, "`acknowledge` says when a sender gets its answer"),
    (&["Batch"], &["partition"], Ignored, "every batch holds one stream; a route's `key` names it"),
    (&["ServerTls"], &["ca_file"], Ignored, "certificates of senders are verified by `client_ca_file`"),
    (&["ServerTls"], &["client_ca_file_reload"], Ignored, "a change of the file is noticed without it"),
    (&["Tls"], &["reload_interval"], Ignored, "a change of the files is noticed without it"),
    (
        &["Tls", "ServerTls"],
        &["max_version", "cipher_suites", "curve_preferences"],
        Ignored,
        "the choice is made by rustls",
    ),
    (&["Tls", "ServerTls"], &["ca_pem", "cert_pem", "key_pem", "client_ca_pem"], Refused, PEM),
    (
        &["Tls", "ServerTls"],
        &["include_system_ca_certs_pool"],
        Refused,
        "the file that is named replaces the system's roots; add them to that file",
    ),
    (&["Tls", "ServerTls"], &["tpm"], Refused, "keys are read from `key_file`"),
    (&["Rotation"], &["max_days", "localtime"], Ignored, "files are rotated by size and kept by number"),
    (&["File"], &["append", "flush_interval"], Ignored, "every batch is appended and flushed"),
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

/// What is said about a key of the definition, if it is the Collector's.
pub(super) fn verdict(definition: &str, key: &str) -> Option<(Verdict, &'static str)> {
    TABLE
        .iter()
        .find(|(definitions, keys, ..)| definitions.contains(&definition) && keys.contains(&key))
        .map(|(.., verdict, why)| (*verdict, *why))
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
