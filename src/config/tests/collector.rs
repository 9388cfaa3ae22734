//! Every key that the Collector's own structs have, with the verdict on it.

use super::*;

/// What is done about a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    /// It means what it means there.
    Taken,
    /// It has no effect, and a warning says why.
    Warned,
    /// It can't be had, and is an error.
    Refused,
}

use Said::{Refused, Taken, Warned};

/// `@` stands for the key with its value.
fn verdict_in(frame: &str, key: &str, value: &str) -> Said {
    let yaml = frame.replace('@', &format!("{key}: {value}"));
    match load(&yaml) {
        Err(problems) => {
            let text = problems.to_string();
            assert!(text.contains(&format!("`{key}` is not available")), "{key}: {text}");
            Refused
        }
        Ok(compiled) if compiled.warnings.is_empty() => Taken,
        Ok(compiled) => {
            let text = compiled.warnings[0].to_string();
            assert!(text.contains(&format!("`{key}` has no effect: ")), "{key}: {text}");
            Warned
        }
    }
}

fn check(frame: &str, keys: &[(&str, &str, Said)]) {
    for (key, value, expected) in keys {
        assert_eq!(verdict_in(frame, key, value), *expected, "{key}: {value}");
    }
}

const ROUTE: &str = "routes: [{ exporters: [EXPORTER] }]\n";
const RECEIVER: &str = "receivers: { otlp: { protocols: { http: } } }\n";

fn in_exporter(name: &str, block: &str) -> String {
    format!("{RECEIVER}exporters: {{ {name}: {block} }}\n{}", ROUTE.replace("EXPORTER", name))
}

fn in_receiver(protocol: &str, block: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ {protocol}: {block} }} }} }}\nexporters: {{ debug: }}\n{}",
        ROUTE.replace("EXPORTER", "debug")
    )
}

/// `confighttp.ClientConfig` and the exporter's own.
#[test]
fn every_key_of_the_collectors_http_client_has_a_verdict() {
    let keys = [
        ("traces_endpoint", "\"https://b/x\"", Taken),
        ("metrics_endpoint", "\"https://b/x\"", Taken),
        ("logs_endpoint", "\"https://b/x\"", Taken),
        ("profiles_endpoint", "\"https://b/x\"", Warned),
        ("encoding", "json", Taken),
        ("proxy_url", "\"http://proxy:3128\"", Taken),
        ("tls", "{ insecure: false }", Taken),
        ("read_buffer_size", "4096", Warned),
        ("write_buffer_size", "4096", Warned),
        ("timeout", "5s", Taken),
        ("headers", "{ a: b }", Taken),
        ("auth", "{ authenticator: x }", Refused),
        ("compression", "zstd", Taken),
        ("compression_params", "{ level: 2 }", Taken),
        ("max_idle_conns", "5", Warned),
        ("max_idle_conns_per_host", "5", Taken),
        ("max_conns_per_host", "5", Taken),
        ("idle_conn_timeout", "5s", Taken),
        ("disable_keep_alives", "true", Taken),
        ("http2_read_idle_timeout", "5s", Warned),
        ("http2_ping_timeout", "5s", Warned),
        ("cookies", "{ enabled: true }", Warned),
        ("force_attempt_http2", "false", Warned),
        ("middlewares", "[{ id: x }]", Refused),
        ("user_agent", "me", Warned),
        ("sending_queue", "{ enabled: true }", Taken),
        ("retry_on_failure", "{ enabled: true }", Taken),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", @ }"), &keys);
}

/// `configgrpc.ClientConfig` and `exporterhelper.TimeoutConfig`.
#[test]
fn every_key_of_the_collectors_grpc_client_has_a_verdict() {
    let keys = [
        ("compression", "zstd", Taken),
        ("tls", "{ insecure: false }", Taken),
        ("keepalive", "{ time: 10s, timeout: 5s, permit_without_stream: true }", Warned),
        ("read_buffer_size", "4096", Warned),
        ("write_buffer_size", "524288", Warned),
        ("wait_for_ready", "true", Warned),
        ("headers", "{ a: b }", Taken),
        ("user_agent", "me", Warned),
        ("balancer_name", "pick_first", Warned),
        ("authority", "x", Warned),
        ("auth", "{ authenticator: x }", Refused),
        ("middlewares", "[{ id: x }]", Refused),
        ("timeout", "5s", Taken),
        ("sending_queue", "{ enabled: true }", Taken),
        ("retry_on_failure", "{ enabled: true }", Taken),
    ];
    check(&in_exporter("otlp", "{ endpoint: \"a:4317\", @ }"), &keys);
}

/// `confighttp.ServerConfig`, `confignet.AddrConfig` and the receiver's own.
#[test]
fn every_key_of_the_collectors_http_server_has_a_verdict() {
    let keys = [
        ("endpoint", "\"127.0.0.1:4318\"", Taken),
        ("transport", "tcp4", Warned),
        ("dialer", "{ timeout: 5s }", Warned),
        ("cors", "{ allowed_origins: [\"*\"] }", Taken),
        ("auth", "{ authenticator: x, request_params: [a] }", Refused),
        ("max_request_body_size", "1000000", Taken),
        ("include_metadata", "true", Warned),
        ("include_tls_metadata", "true", Warned),
        ("response_headers", "{ a: b }", Warned),
        ("compression_algorithms", "[gzip]", Warned),
        ("read_timeout", "5s", Taken),
        ("read_header_timeout", "5s", Taken),
        ("write_timeout", "5s", Taken),
        ("idle_timeout", "5s", Taken),
        ("middlewares", "[{ id: x }]", Refused),
        ("keep_alives_enabled", "false", Warned),
        ("traces_url_path", "/a", Taken),
        ("metrics_url_path", "/b", Taken),
        ("logs_url_path", "/c", Taken),
    ];
    check(&in_receiver("http", "{ @ }"), &keys);
    let cors =
        [("allowed_headers", "[X]", Taken), ("exposed_headers", "[X]", Warned), ("max_age", "5", Taken)];
    check(&in_receiver("http", "{ cors: { allowed_origins: [\"*\"], @ } }"), &cors);
}

/// `configgrpc.ServerConfig` and `confignet.AddrConfig`.
#[test]
fn every_key_of_the_collectors_grpc_server_has_a_verdict() {
    let keys = [
        ("endpoint", "\"127.0.0.1:4317\"", Taken),
        ("transport", "tcp6", Warned),
        ("dialer", "{ timeout: 5s }", Warned),
        ("max_recv_msg_size_mib", "5", Taken),
        ("max_concurrent_streams", "5", Taken),
        ("read_buffer_size", "524288", Warned),
        ("write_buffer_size", "4096", Warned),
        ("keepalive", "{ server_parameters: { max_connection_age: 5s } }", Taken),
        ("auth", "{ authenticator: x }", Refused),
        ("include_metadata", "true", Warned),
        ("middlewares", "[{ id: x }]", Refused),
    ];
    check(&in_receiver("grpc", "{ @ }"), &keys);
    check(
        &in_receiver("grpc", "{ keepalive: { @ } }"),
        &[("enforcement_policy", "{ min_time: 5s }", Warned)],
    );
    let parameters = [
        ("max_connection_idle", "5s", Taken),
        ("max_connection_age", "5s", Taken),
        ("max_connection_age_grace", "5s", Taken),
        ("time", "5s", Taken),
        ("timeout", "5s", Taken),
    ];
    check(&in_receiver("grpc", "{ keepalive: { server_parameters: { @ } } }"), &parameters);
}

/// `configtls.ClientConfig` and `configtls.ServerConfig`.
#[test]
fn every_key_of_the_collectors_tls_has_a_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let common = [
        ("ca_pem", "x", Refused),
        ("cert_pem", "x", Refused),
        ("key_pem", "x", Refused),
        ("include_system_ca_certs_pool", "true", Refused),
        ("min_version", "\"1.3\"", Taken),
        ("max_version", "\"1.3\"", Warned),
        ("cipher_suites", "[TLS_AES_128_GCM_SHA256]", Warned),
        ("curve_preferences", "[X25519]", Warned),
        ("tpm", "{ enabled: true }", Refused),
    ];
    let client = in_exporter("otlphttp", "{ endpoint: \"https://a\", tls: { @ } }");
    check(&client, &common);
    let own = [
        ("ca_file", cert.as_str(), Taken),
        ("reload_interval", "5s", Warned),
        ("insecure", "false", Taken),
        ("insecure_skip_verify", "false", Taken),
        ("server_name_override", "a.b", Taken),
    ];
    check(&client, &own);
    check(
        &in_exporter("otlphttp", &format!("{{ endpoint: \"https://a\", tls: {{ key_file: {key}, @ }} }}")),
        &[("cert_file", &cert, Taken)],
    );

    let server = in_receiver("http", &format!("{{ tls: {{ cert_file: {cert}, key_file: {key}, @ }} }}"));
    check(&server, &common);
    let own = [
        ("ca_file", cert.as_str(), Warned),
        ("client_ca_file", cert.as_str(), Taken),
        ("client_ca_file_reload", "true", Warned),
        ("reload_interval", "5s", Taken),
    ];
    check(&server, &own);
}

/// `queuebatch.Config`, `queuebatch.BatchConfig` and `configretry.BackOffConfig`.
#[test]
fn every_key_of_the_collectors_queue_and_retries_has_a_verdict() {
    let queue = [
        ("enabled", "true", Taken),
        ("wait_for_result", "true", Taken),
        ("sizer", "bytes", Taken),
        ("queue_size", "100", Taken),
        ("block_on_overflow", "true", Warned),
        ("blocking", "true", Warned),
        ("storage", "x", Refused),
        ("num_consumers", "1", Taken),
        ("batch", "{ flush_timeout: 1s }", Taken),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", sending_queue: { @ } }"), &queue);
    let batch = [
        ("flush_timeout", "1s", Taken),
        ("sizer", "bytes", Taken),
        ("min_size", "10", Taken),
        ("max_size", "1000000", Taken),
        ("partition", "{ metadata_keys: [a] }", Warned),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", sending_queue: { batch: { @ } } }"), &batch);
    let retry = [
        ("enabled", "true", Taken),
        ("initial_interval", "1s", Taken),
        ("randomization_factor", "0.1", Taken),
        ("multiplier", "2", Taken),
        ("max_interval", "60s", Taken),
        ("max_elapsed_time", "5m", Taken),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", retry_on_failure: { @ } }"), &retry);
}

/// `debugexporter.Config` and `fileexporter.Config`.
#[test]
fn every_key_of_the_collectors_debug_and_file_exporters_has_a_verdict() {
    let debug = [
        ("verbosity", "detailed", Taken),
        ("sampling_initial", "5", Warned),
        ("sampling_thereafter", "5", Warned),
        ("use_internal_logger", "false", Warned),
        ("output_paths", "[stderr]", Warned),
        ("sending_queue", "{ enabled: true }", Taken),
    ];
    check(&in_exporter("debug", "{ @ }"), &debug);
    let file = [
        ("path", "./data", Taken),
        ("append", "true", Warned),
        ("rotation", "{ max_megabytes: 5, max_backups: 1 }", Taken),
        ("format", "json", Taken),
        ("encoding", "x", Warned),
        ("compression", "zstd", Warned),
        ("flush_interval", "5s", Warned),
        ("group_by", "{ enabled: true }", Warned),
        ("create_directory", "true", Warned),
        ("directory_permissions", "'0750'", Warned),
    ];
    check(&in_exporter("file", "{ @ }"), &file);
}
