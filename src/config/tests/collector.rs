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

/// Each key with a value that asks for something, what is said of that, and the value that `NewDefault…` and the component's
/// `createDefaultConfig` give it in the Collector. That value, and none, ask for nothing.
fn check(frame: &str, keys: &[(&str, &str, Said, &str)]) {
    for (key, value, expected, default) in keys {
        assert_eq!(verdict_in(frame, key, value), *expected, "{key}: {value}");
        for nothing in ["", "~", default] {
            let yaml = frame.replace('@', &format!("{key}: {nothing}"));
            assert_eq!(said(&yaml), [""; 0], "{key}: {nothing}");
        }
    }
}

const ROUTE: &str = "routes: [{ exporters: [EXPORTER] }]\n";
const RECEIVER: &str = "receivers: { otlp: { protocols: { http: } } }\n";

fn in_exporter(name: &str, block: &str) -> String {
    format!("{RECEIVER}exporters: {{ {name}: {block} }}\n{}", ROUTE.replace("EXPORTER", name))
}

fn in_receiver(protocol: &str, block: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ {protocol}: {block} }} }} }}\nexporters: {{ debug: }}\ntenants: {{ list: [] }}\n{}",
        ROUTE.replace("EXPORTER", "debug")
    )
}

/// `confighttp.ClientConfig` and the exporter's own.
#[test]
fn every_key_of_the_collectors_http_client_has_a_verdict() {
    let keys = [
        ("traces_endpoint", "\"https://b/x\"", Taken, "''"),
        ("metrics_endpoint", "\"https://b/x\"", Taken, "''"),
        ("logs_endpoint", "\"https://b/x\"", Taken, "''"),
        ("profiles_endpoint", "\"https://b/x\"", Warned, "''"),
        ("encoding", "json", Taken, "proto"),
        ("proxy_url", "\"http://proxy:3128\"", Taken, "''"),
        ("tls", "{ insecure: false }", Taken, "{ insecure: false }"),
        ("read_buffer_size", "4096", Warned, "0"),
        ("write_buffer_size", "4096", Warned, "524288"),
        ("timeout", "5s", Taken, "30s"),
        ("headers", "{ a: b }", Taken, "{}"),
        ("auth", "{}", Taken, "{ authenticator: }"),
        ("compression", "zstd", Taken, "gzip"),
        ("compression_params", "{ level: 2 }", Taken, "{ level: 0 }"),
        ("max_idle_conns", "5", Warned, "100"),
        ("max_idle_conns_per_host", "5", Taken, "0"),
        ("max_conns_per_host", "5", Taken, "0"),
        ("idle_conn_timeout", "5s", Taken, "90s"),
        ("disable_keep_alives", "true", Taken, "false"),
        ("http2_read_idle_timeout", "5s", Warned, "0s"),
        ("http2_ping_timeout", "5s", Warned, "0s"),
        ("cookies", "{ enabled: true }", Warned, "{ enabled: false }"),
        ("force_attempt_http2", "false", Taken, "true"),
        ("middlewares", "[{ id: x }]", Refused, "[]"),
        ("user_agent", "me", Warned, "''"),
        ("sending_queue", "{ enabled: true }", Taken, ""),
        ("retry_on_failure", "{ enabled: true }", Taken, "{ enabled: true }"),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", @ }"), &keys);
}

/// `configgrpc.ClientConfig` and `exporterhelper.TimeoutConfig`.
#[test]
fn every_key_of_the_collectors_grpc_client_has_a_verdict() {
    let keys = [
        ("compression", "zstd", Taken, "gzip"),
        ("tls", "{ insecure: false }", Taken, "{ insecure: false }"),
        (
            "keepalive",
            "{ time: 10s, timeout: 5s, permit_without_stream: true }",
            Warned,
            "{ time: 10s, timeout: 10s, permit_without_stream: false }",
        ),
        ("read_buffer_size", "4096", Warned, "0"),
        ("write_buffer_size", "4096", Warned, "524288"),
        ("wait_for_ready", "true", Warned, "false"),
        ("headers", "{ a: b }", Taken, "{}"),
        ("user_agent", "me", Warned, "''"),
        ("balancer_name", "pick_first", Warned, "round_robin"),
        ("authority", "x", Warned, "''"),
        ("auth", "{}", Taken, "{ authenticator: }"),
        ("middlewares", "[{ id: x }]", Refused, "[]"),
        ("timeout", "5s", Taken, "5s"),
        ("sending_queue", "{ enabled: true }", Taken, ""),
        ("retry_on_failure", "{ enabled: true }", Taken, "{ enabled: true }"),
    ];
    check(&in_exporter("otlp", "{ endpoint: \"a:4317\", @ }"), &keys);
}

/// `confighttp.ServerConfig`, `confignet.AddrConfig` and the receiver's own.
#[test]
fn every_key_of_the_collectors_http_server_has_a_verdict() {
    let keys = [
        ("endpoint", "\"127.0.0.1:4318\"", Taken, "localhost:4318"),
        ("transport", "tcp4", Warned, "tcp"),
        ("dialer", "{ timeout: 5s }", Warned, "{ timeout: 0s }"),
        ("cors", "{ allowed_origins: [\"*\"] }", Taken, "{}"),
        ("auth", "{ authenticator: tenants }", Taken, "{ authenticator: }"),
        ("max_request_body_size", "1000000", Taken, "0"),
        ("include_metadata", "true", Warned, "false"),
        ("include_tls_metadata", "true", Warned, "false"),
        ("response_headers", "{ a: b }", Warned, "{}"),
        (
            "compression_algorithms",
            "[gzip]",
            Warned,
            "[\"\", gzip, zstd, zlib, snappy, deflate, lz4, x-snappy-framed]",
        ),
        ("read_timeout", "5s", Taken, "0"),
        ("read_header_timeout", "5s", Taken, "1m"),
        ("write_timeout", "5s", Taken, "30s"),
        ("idle_timeout", "5s", Taken, "1m"),
        ("middlewares", "[{ id: x }]", Refused, "[]"),
        ("keep_alives_enabled", "false", Warned, "true"),
        ("traces_url_path", "/a", Taken, "/v1/traces"),
        ("metrics_url_path", "/b", Taken, "/v1/metrics"),
        ("logs_url_path", "/c", Taken, "/v1/logs"),
    ];
    check(&in_receiver("http", "{ @ }"), &keys);
    let cors = [
        ("allowed_headers", "[X]", Taken, "[]"),
        ("exposed_headers", "[X]", Warned, "[]"),
        ("max_age", "5", Taken, "0"),
    ];
    check(&in_receiver("http", "{ cors: { allowed_origins: [\"*\"], @ } }"), &cors);
}

/// `configgrpc.ServerConfig` and `confignet.AddrConfig`.
#[test]
fn every_key_of_the_collectors_grpc_server_has_a_verdict() {
    let keys = [
        ("endpoint", "\"127.0.0.1:4317\"", Taken, "localhost:4317"),
        ("transport", "tcp6", Warned, "tcp"),
        ("dialer", "{ timeout: 5s }", Warned, "{ timeout: 0s }"),
        ("max_recv_msg_size_mib", "5", Taken, "0"),
        ("max_concurrent_streams", "5", Taken, "0"),
        ("read_buffer_size", "4096", Warned, "524288"),
        ("write_buffer_size", "4096", Warned, "0"),
        (
            "keepalive",
            "{ server_parameters: { max_connection_age: 5s } }",
            Taken,
            "{ server_parameters: {}, enforcement_policy: {} }",
        ),
        ("auth", "{ authenticator: tenants }", Taken, "{ authenticator: }"),
        ("include_metadata", "true", Warned, "false"),
        ("middlewares", "[{ id: x }]", Refused, "[]"),
    ];
    check(&in_receiver("grpc", "{ @ }"), &keys);
    check(
        &in_receiver("grpc", "{ keepalive: { @ } }"),
        &[(
            "enforcement_policy",
            "{ min_time: 5s }",
            Warned,
            "{ min_time: 0s, permit_without_stream: false }",
        )],
    );
    let parameters = [
        ("max_connection_idle", "5s", Taken, "0s"),
        ("max_connection_age", "5s", Taken, "0s"),
        ("max_connection_age_grace", "5s", Taken, "0s"),
        ("time", "5s", Taken, "0s"),
        ("timeout", "5s", Taken, "0s"),
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
        ("ca_pem", "x", Refused, "''"),
        ("cert_pem", "x", Refused, "''"),
        ("key_pem", "x", Refused, "''"),
        ("include_system_ca_certs_pool", "true", Taken, "false"),
        ("min_version", "\"1.3\"", Taken, "''"),
        ("max_version", "\"1.3\"", Warned, "''"),
        ("cipher_suites", "[TLS_AES_128_GCM_SHA256]", Warned, "[]"),
        ("curve_preferences", "[X25519]", Warned, "[]"),
        ("include_insecure_cipher_suites", "true", Warned, "false"),
        ("tpm", "{ enabled: true }", Refused, "{ enabled: false, path: '', owner_auth: '', auth: '' }"),
    ];
    let client = in_exporter("otlphttp", "{ endpoint: \"https://a\", tls: { @ } }");
    check(&client, &common);
    let own = [
        ("ca_file", cert.as_str(), Taken, "''"),
        ("reload_interval", "5s", Warned, "0s"),
        ("insecure", "false", Taken, "false"),
        ("insecure_skip_verify", "false", Taken, "false"),
        ("server_name_override", "a.b", Taken, "''"),
    ];
    check(&client, &own);
    // With a key it can't be nothing.
    let with_key = format!("{{ endpoint: \"https://a\", tls: {{ key_file: {key}, @ }} }}");
    assert_eq!(verdict_in(&in_exporter("otlphttp", &with_key), "cert_file", &cert), Taken);

    let server = in_receiver("http", &format!("{{ tls: {{ cert_file: {cert}, key_file: {key}, @ }} }}"));
    check(&server, &common);
    let own = [
        ("ca_file", cert.as_str(), Warned, "''"),
        ("client_ca_file", cert.as_str(), Taken, "''"),
        ("client_ca_file_reload", "true", Warned, "false"),
        ("reload_interval", "5s", Taken, "0s"),
    ];
    check(&server, &own);
}

#[test]
fn the_systems_roots_can_be_asked_for_where_no_file_replaces_them() {
    let key = "include_system_ca_certs_pool";
    let client = |beside: &str| {
        in_exporter("otlphttp", &format!("{{ endpoint: \"https://a\", tls: {{ {beside} @ }} }}"))
    };
    for beside in ["", "ca_file: '',", "ca_file: ,", "min_version: \"1.3\","] {
        assert_eq!(said(&client(beside).replace('@', &format!("{key}: true"))), [""; 0], "{beside}");
    }
    let grpc = in_exporter("otlp", "{ endpoint: \"a:4317\", tls: { @ } }");
    assert_eq!(verdict_in(&grpc, key, "true"), Taken);
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [cert, private] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&private, made.signing_key.serialize_pem()).unwrap();
    let (cert, private) = (cert.display(), private.display());
    // The file would be trusted instead of them, not beside them.
    assert_eq!(verdict_in(&client(&format!("ca_file: {cert},")), key, "true"), Refused);
    assert_eq!(verdict_in(&client(""), key, "perhaps"), Refused);

    let server = |beside: &str| {
        in_receiver("http", &format!("{{ tls: {{ cert_file: {cert}, key_file: {private}, {beside} @ }} }}"))
    };
    assert_eq!(verdict_in(&server(""), key, "true"), Taken);
    assert_eq!(verdict_in(&server(&format!("client_ca_file: {cert},")), key, "true"), Refused);
}

/// `queuebatch.Config`, `queuebatch.BatchConfig` and `configretry.BackOffConfig`.
#[test]
fn every_key_of_the_collectors_queue_and_retries_has_a_verdict() {
    let queue = [
        ("enabled", "true", Taken, "true"),
        ("wait_for_result", "true", Taken, "false"),
        ("sizer", "bytes", Taken, ""),
        ("queue_size", "100", Taken, "1000"),
        ("block_on_overflow", "true", Warned, "false"),
        ("blocking", "true", Warned, "false"),
        ("storage", "x", Refused, ""),
        ("num_consumers", "1", Taken, "1"),
        ("batch", "{ flush_timeout: 1s }", Taken, ""),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", sending_queue: { @ } }"), &queue);
    let batch = [
        ("flush_timeout", "1s", Taken, "200ms"),
        ("sizer", "bytes", Taken, ""),
        ("min_size", "10", Taken, ""),
        ("max_size", "1000000", Taken, "0"),
        ("partition", "{ metadata_keys: [a] }", Warned, "{ metadata_keys: [] }"),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", sending_queue: { batch: { @ } } }"), &batch);
    let retry = [
        ("enabled", "true", Taken, "true"),
        ("initial_interval", "1s", Taken, "5s"),
        ("randomization_factor", "0.1", Taken, "0.5"),
        ("multiplier", "2", Taken, "1.5"),
        ("max_interval", "60s", Taken, "30s"),
        ("max_elapsed_time", "5m", Taken, "5m"),
    ];
    check(&in_exporter("otlphttp", "{ endpoint: \"https://a\", retry_on_failure: { @ } }"), &retry);
}

/// `debugexporter.Config` and `fileexporter.Config`.
#[test]
fn every_key_of_the_collectors_debug_and_file_exporters_has_a_verdict() {
    let debug = [
        ("verbosity", "detailed", Taken, "basic"),
        ("sampling_initial", "5", Warned, "2"),
        ("sampling_thereafter", "5", Warned, "1"),
        ("use_internal_logger", "false", Warned, "true"),
        ("output_paths", "[stderr]", Warned, "[stdout]"),
        ("sending_queue", "{ enabled: true }", Taken, ""),
    ];
    check(&in_exporter("debug", "{ @ }"), &debug);
    let file = [
        ("path", "./data", Taken, ""),
        ("append", "true", Warned, "false"),
        ("rotation", "{ max_megabytes: 5, max_backups: 1 }", Taken, ""),
        ("format", "json", Taken, "json"),
        ("encoding", "x", Warned, "''"),
        ("compression", "zstd", Warned, "''"),
        ("flush_interval", "5s", Warned, "1s"),
        (
            "group_by",
            "{ enabled: true }",
            Warned,
            "{ enabled: false, resource_attribute: fileexporter.path_segment, max_open_files: 100 }",
        ),
        ("create_directory", "true", Warned, "false"),
        ("directory_permissions", "'0750'", Warned, "'0755'"),
    ];
    check(&in_exporter("file", "{ @ }"), &file);
}

/// `configauth.Config`, `confighttp.AuthConfig`, `configmiddleware.Config`, `confignet.DialerConfig`,
/// `configcompression.CompressionParams`, `configgrpc.KeepaliveClientConfig`, `configgrpc.KeepaliveEnforcementPolicy` and
/// `configtls.TPMConfig`.
#[test]
fn what_stands_below_a_key_without_effect_asks_for_nothing_where_it_is_empty_or_the_default() {
    let http_client = in_exporter("otlphttp", "{ endpoint: \"https://a\", @ }");
    let grpc_client = in_exporter("otlp", "{ endpoint: \"a:4317\", @ }");
    let http_server = in_receiver("http", "{ @ }");
    let grpc_server = in_receiver("grpc", "{ @ }");
    let policy = in_receiver("grpc", "{ keepalive: { @ } }");
    let tls = in_exporter("otlphttp", "{ endpoint: \"https://a\", tls: { @ } }");
    let clients = [&http_client, &grpc_client];
    let servers = [&http_server, &grpc_server];
    let all = [&http_client, &grpc_client, &http_server, &grpc_server];
    let auth = in_receiver("http", "{ auth: { authenticator: tenants, @ } }");
    let keys: [(&[&String], _, &[_], &[_], _); 10] = [
        (&all, "auth", &["{ authenticator: }", "{}", "{ authenticator: , request_params: [] }"], &[], Taken),
        (&[&auth], "request_params", &["[]", ""], &["[a]"], Refused),
        (
            &all,
            "middlewares",
            &["[{ id: }]", "[~]"],
            &["[{ id: x }]", "[x]", "[{ id: }, { id: x }]"],
            Refused,
        ),
        (&clients, "compression_params", &["{ level: }", "{ level: 0 }", "{ level: -1 }", "{}"], &[], Taken),
        (&[&grpc_client], "compression_params", &["{ level: 0x0 }"], &["{ level: 1 }"], Warned),
        (
            &servers,
            "dialer",
            &["{ timeout: }", "{ timeout: 0 }", "{ timeout: 0ms }"],
            &["{ timeout: 5s }"],
            Warned,
        ),
        (
            &[&grpc_client],
            "keepalive",
            &[
                "{ time: }",
                "{ time: 10s }",
                "{ time: 10000ms, timeout: 10s }",
                "{ permit_without_stream: False }",
            ],
            &["{ time: 11s }", "{ time: 10s, permit_without_stream: true }", "{ timeout: 20s }"],
            Warned,
        ),
        (
            &[&policy],
            "enforcement_policy",
            &["{}", "{ min_time: , permit_without_stream: }", "{ min_time: 0s }"],
            &["{ min_time: 5m }", "{ permit_without_stream: true }"],
            Warned,
        ),
        (
            &[&tls],
            "tpm",
            &["{}", "{ enabled: , path: , owner_auth: , auth: }", "{ enabled: false, path: /dev/tpmrm0 }"],
            &["{ enabled: true }", "{ path: /dev/tpmrm0 }"],
            Refused,
        ),
        (
            &[&http_server],
            "compression_algorithms",
            &["[]", "[x-snappy-framed, lz4, deflate, snappy, zlib, zstd, gzip, '']"],
            &["[gzip, zstd]", "[br]", "['', gzip, zstd, zlib, snappy, deflate, lz4, x-snappy-framed, br]"],
            Warned,
        ),
    ];
    for (frames, key, nothing, something, verdict) in keys {
        for frame in frames {
            for value in nothing {
                assert_eq!(verdict_in(frame, key, value), Taken, "{key}: {value}");
            }
            for value in something {
                assert_eq!(verdict_in(frame, key, value), verdict, "{key}: {value}");
            }
        }
    }
}

/// Below these keys are names, of which each asks for something without any settings.
#[test]
fn names_without_settings_are_not_nothing() {
    for (key, nothing, something) in [
        ("extensions", "{}", "{ zpages: }"),
        ("connectors", "{}", "{ forward: }"),
        ("processors", "{}", "{ batch: }"),
        ("processors", "[]", "[batch]"),
        ("service", "{}", "{ extensions: }"),
    ] {
        let with = |value: &str| said(&with(&format!("{key}: {value}\n")));
        assert_eq!(with(nothing), [""; 0], "{key}");
        assert_eq!(with(something).len(), 1, "{key}");
    }
}
