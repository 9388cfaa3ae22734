//! `receivers` and `health`.

use std::time::Duration;

use super::*;
use crate::receive::{Http2Settings, Protocol};

fn with_http(http: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {http} }} }} }}\nexporters: {{ debug: }}\nroutes: [{{ exporters: [debug] }}]\n"
    )
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let compiled = good(MINIMAL);
    let listener = &compiled.listeners[0];
    assert_eq!(&*listener.name, "otlp");
    assert_eq!(listener.endpoint, "127.0.0.1:4318".parse().unwrap());
    assert_eq!(listener.max_request_body_size, 64 << 20);
    assert_eq!(listener.read_header_timeout, Duration::from_secs(10));
    assert_eq!(listener.max_connections, 10_000);
    assert_eq!(listener.url_paths, [None, None, None]);
    assert_eq!(listener.cors, None);
    assert_eq!(compiled.admin.unwrap().endpoint, "127.0.0.1:8888".parse().unwrap());
    assert_eq!(compiled.health, None);
    assert_eq!(compiled.warnings, []);
}

#[test]
fn endpoints_are_written_as_for_the_collector() {
    let endpoint = |text: &str| {
        good(&with_http(&format!("{{ endpoint: \"{text}\" }}"))).listeners[0].endpoint.to_string()
    };
    assert_eq!(endpoint("localhost:4318"), "127.0.0.1:4318");
    assert_eq!(endpoint("0.0.0.0:4318"), "0.0.0.0:4318");
    assert_eq!(endpoint(":4318"), "0.0.0.0:4318");
    assert_eq!(endpoint("[::1]:4318"), "[::1]:4318");
}

#[test]
fn what_cannot_be_listened_on_says_why() {
    let why = |text: &str| said(&with_http(&format!("{{ endpoint: \"{text}\" }}"))).join("\n");
    assert_eq!(
        why("unix:///run/otlp.sock"),
        "1:53 error: `unix:///run/otlp.sock` can't be listened on: Unix sockets are not served (write host and port, such \
         as `127.0.0.1:4318`)"
    );
    for (text, reason) in [
        ("http://localhost:4318", "it is a URL"),
        ("localhost", "it has no port"),
        ("localhost:99999", "its port is not a number up to 65535"),
        ("4318", "it has no host"),
    ] {
        assert!(why(text).contains(reason), "{}", why(text));
    }
}

#[test]
fn listeners_do_not_overlap() {
    assert_eq!(
        said(&with("admin: { endpoint: \"0.0.0.0:4318\" }\nhealth: { endpoint: \"127.0.0.1:4318\" }\n")),
        [
            "4:20 error: `admin` and the HTTP receiver of `otlp` can't both listen on port 4318 (give each a port of its \
             own)",
            "5:21 error: `health` and the HTTP receiver of `otlp` can't both listen on port 4318 (give each a port of its \
             own)",
        ]
    );
    let apart = with_http("{ endpoint: \"127.0.0.1:0\" }")
        + "admin: { endpoint: \"127.0.0.1:0\" }\nhealth: { endpoint: \"127.0.0.2:8888\" }\n";
    assert_eq!(good(&apart).warnings, []);
}

#[test]
fn several_receivers_keep_their_names() {
    let yaml = "\
receivers:
  otlp: { protocols: { http: } }
  otlp/internal: { protocols: { http: { endpoint: \"127.0.0.1:5318\", traces_url_path: /t } } }
exporters: { debug: }
routes: [{ exporters: [debug] }]
";
    let listeners = good(yaml).listeners;
    assert_eq!(&*listeners[1].name, "otlp/internal");
    assert_eq!(listeners[1].url_paths, [Some("/t".to_owned()), None, None]);
}

fn with_grpc(grpc: &str) -> String {
    with_http("").replace("http: ", &format!("grpc: {grpc}"))
}

#[test]
fn rules_23_and_48_the_ports_of_grpc_and_http_are_4317_and_4318() {
    let compiled = good(&MINIMAL.replace("http:", "http: , grpc:"));
    let [http, grpc] = &compiled.listeners[..] else { panic!("{:?}", compiled.listeners) };
    assert_eq!((http.protocol, grpc.protocol), (Protocol::Http, Protocol::Grpc));
    assert_eq!(grpc.endpoint, "127.0.0.1:4317".parse().unwrap());
    assert_eq!(http.endpoint, "127.0.0.1:4318".parse().unwrap());
}

#[test]
fn the_defaults_of_grpc_are_the_documented_ones() {
    let compiled = good(&MINIMAL.replace("http:", "grpc:"));
    let grpc = &compiled.listeners[0];
    assert_eq!(grpc.max_request_body_size, 64 << 20);
    assert_eq!(grpc.idle_timeout, Duration::from_secs(300));
    assert_eq!(grpc.http2.max_concurrent_streams, 256);
    assert_eq!(grpc.http2.max_connection_age, None);
    assert_eq!(compiled.warnings, []);
}

#[test]
fn options_of_grpc_are_the_collectors() {
    let compiled = good(&with_grpc(
        "{ endpoint: \"localhost:5317\", max_recv_msg_size_mib: 4, max_concurrent_streams: 10, keepalive: { \
         server_parameters: { max_connection_idle: 11s, max_connection_age: 12s, max_connection_age_grace: 13s, time: \
         14s, timeout: 5s }, enforcement_policy: { min_time: 10s } } }",
    ));
    let grpc = &compiled.listeners[0];
    assert_eq!((grpc.max_request_body_size, grpc.idle_timeout), (4 << 20, Duration::from_secs(11)));
    let expected = Http2Settings {
        max_concurrent_streams: 10,
        keepalive_time: Duration::from_secs(14),
        keepalive_timeout: Duration::from_secs(5),
        max_connection_age: Some(Duration::from_secs(12)),
        max_connection_age_grace: Duration::from_secs(13),
    };
    assert_eq!(grpc.http2, expected);
    assert_eq!(compiled.warnings.len(), 1);
    assert!(compiled.warnings[0].message.contains("`enforcement_policy` has no effect"));
    assert_eq!(
        good(&with_grpc("{ max_concurrent_streams: 0 }")).listeners[0].http2.max_concurrent_streams,
        256
    );
}

#[test]
fn a_zero_that_is_the_collectors_default_is_the_default() {
    let without = good(&with_grpc("")).listeners.remove(0);
    let zeros = "{ max_recv_msg_size_mib: 0, max_concurrent_streams: 0, keepalive: { server_parameters: { \
                 max_connection_age_grace: 0, time: 0s, timeout: 0s } } }";
    let compiled = good(&with_grpc(zeros));
    assert_eq!(compiled.warnings, []);
    assert_eq!(compiled.listeners[0].max_request_body_size, without.max_request_body_size);
    assert_eq!(compiled.listeners[0].http2, without.http2);
    for zero in ["0", "0MiB", "0x0", ""] {
        let compiled = good(&with_http(&format!("{{ max_request_body_size: {zero} }}")));
        assert_eq!(
            (&compiled.warnings[..], compiled.listeners[0].max_request_body_size),
            (&[][..], 64 << 20)
        );
    }
}

/// Certificate and key, and files that are neither, in a directory.
pub(super) fn pem_files() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    for (name, content) in [
        ("cert.pem", made.cert.pem()),
        ("key.pem", made.signing_key.serialize_pem()),
        ("other.pem", other.serialize_pem()),
        ("nonsense.pem", "nonsense".to_owned()),
    ] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

#[test]
fn tls_reads_its_files() {
    let directory = pem_files();
    let tls = "{ tls: { cert_file: @/cert.pem, key_file: @/key.pem, client_ca_file: @/cert.pem, min_version: \"1.3\", \
               reload_interval: 1m } }";
    let compiled = good(&with_http(&tls.replace('@', directory.path().to_str().unwrap())));
    assert!(compiled.listeners[0].tls.is_some());
    assert_eq!(compiled.warnings, []);
}

#[test]
fn tls_files_that_cannot_be_used_are_shown_at_their_place() {
    let directory = pem_files();
    let path = directory.path().to_str().unwrap();
    let said = |tls: &str| {
        let said = said(&with_http(&format!("{{ tls: {{ {tls} }} }}").replace('@', path)));
        said.join("\n").replace(path, "@")
    };
    for (tls, expected) in [
        (
            "cert_file: @/no.pem, key_file: @/key.pem",
            "1:61 error: can't read `@/no.pem` of `tls.cert_file`: No such file",
        ),
        (
            "cert_file: @/nonsense.pem, key_file: @/key.pem",
            "1:61 error: `@/nonsense.pem` of `tls.cert_file` holds no usable certificate",
        ),
        (
            "cert_file: @/cert.pem, key_file: @/nonsense.pem",
            "`@/nonsense.pem` of `tls.key_file` holds no usable private key",
        ),
        (
            "cert_file: @/cert.pem, key_file: @/other.pem",
            "`tls.cert_file` and `tls.key_file` don't make an identity",
        ),
        (
            "cert_file: @/cert.pem, key_file: @/key.pem, client_ca_file: @/key.pem",
            "`@/key.pem` of `tls.client_ca_file` holds no usable certificate",
        ),
        ("cert_file: @/cert.pem", "1:48 error: `tls` of a receiver needs `key_file`"),
    ] {
        let said = said(tls);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn values_of_a_receiver_are_checked() {
    assert_eq!(
        said(&with_http(
            "{ max_request_body_size: 5, logs_url_path: \"/v1 x\", metrics_url_path: /v1/traces }"
        )),
        [
            "1:84 error: this is not a URL path (write a path such as `/v1/logs`)",
            "1:111 error: `/v1/traces` is already the path of traces",
        ]
    );
}

#[test]
fn a_slash_is_added_to_a_url_path_as_in_the_collector() {
    let paths = |http: &str| good(&with_http(http)).listeners.remove(0).url_paths;
    let written = "{ traces_url_path: traces, metrics_url_path: /m, logs_url_path: a/b }";
    assert_eq!(paths(written), ["/traces", "/m", "/a/b"].map(|path| Some(path.to_owned())));
    assert_eq!(paths("{ traces_url_path: v1/traces, logs_url_path: '' }"), [None, None, None]);
    assert!(said(&with_http("{ traces_url_path: v1/logs }"))[0].contains("is already the path of logs"));
    assert!(
        said(&with_http("{ traces_url_path: x, logs_url_path: /x }"))[0]
            .contains("is the path of another signal")
    );
}

#[test]
fn what_asks_for_nothing_is_its_default() {
    let nothing = "{ endpoint: , auth: , tls: , cors: , middlewares: [], include_metadata: false, transport: tcp, dialer: { timeout: 0s } }";
    for yaml in [with_http(nothing), with_grpc(&nothing.replace("cors: , ", ""))] {
        let compiled = good(&yaml);
        assert_eq!(compiled.warnings, []);
        assert!(compiled.listeners[0].tls.is_none() && compiled.listeners[0].cors.is_none());
    }
    for cors in ["{}", "{ allowed_origins: [] }", "{ allowed_origins: , max_age: 0 }"] {
        let compiled =
            good(&with_http(&format!("{{ cors: {cors}, keep_alives_enabled: true, write_timeout: 30s }}")));
        assert_eq!((compiled.warnings, &compiled.listeners[0].cors), (vec![], &None), "{cors}");
    }
    assert_eq!(
        said(&with_http("{ cors: { allowed_headers: [X] } }")),
        ["1:49 warning: `cors` without `allowed_origins` lets no page send (write `allowed_origins: \
             [\"https://app.example.com\"]`)"]
    );
    // A `tls` that is there without a certificate asks for what can't be had.
    assert_eq!(said(&with_http("{ tls: {} }")).len(), 2);
}

#[test]
fn a_receivers_timeout_of_zero_is_no_limit_as_in_the_collector() {
    let listener = good(&with_http("{ read_timeout: 0, read_header_timeout: 0s, idle_timeout: 0 }"));
    let listener = &listener.listeners[0];
    for timeout in [listener.read_timeout, listener.read_header_timeout, listener.idle_timeout] {
        assert!(timeout >= Duration::from_secs(365 * 24 * 3600), "{timeout:?}");
    }
}

#[test]
fn without_a_receiver_nothing_can_come_in() {
    let yaml = "receivers: { otlp: {} }\nexporters: { debug: }\nroutes: [{ exporters: [debug] }]\n";
    assert_eq!(
        said(yaml),
        [
            "1:14 error: the receiver `otlp` has no protocol (write `protocols:`, and below it `http:` or `grpc:`)"
        ]
    );
    let none = MINIMAL.replace("{ otlp: { protocols: { http: } } }", "{}");
    assert!(
        said(&none).iter().any(|line| line.contains("error: there is no receiver, so nothing can come in"))
    );
}

#[test]
fn the_health_listener_is_there_if_it_is_written() {
    assert_eq!(good(MINIMAL).health, None);
    assert_eq!(good(&with("health: {}\n")).health, Some("0.0.0.0:13133".parse().unwrap()));
}

#[test]
fn each_port_that_other_machines_reach_without_tls_is_a_warning() {
    let warned = |yaml: &str| {
        let warnings = good(yaml).warnings;
        warnings.iter().filter(|warning| warning.message.contains("is not encrypted")).count()
    };
    let both = |http: &str, grpc: &str| {
        with_http(&format!("{{ endpoint: \"{http}\" }}, grpc: {{ endpoint: \"{grpc}\" }}"))
    };
    assert_eq!(warned(&both("127.0.0.1:4318", "[::1]:4317")), 0);
    assert_eq!(warned(&both("0.0.0.0:4318", "0.0.0.0:4317")), 2, "each by itself");
    assert_eq!(
        said(&both("0.0.0.0:4318", "0.0.0.0:4317")),
        [
            "1:53 warning: whoever reaches 0.0.0.0:4318 can send, and what is sent is not encrypted (write `tls:`, or an \
             endpoint on 127.0.0.1 if all senders are on this machine)",
            "1:89 warning: whoever reaches 0.0.0.0:4317 can send, and what is sent is not encrypted",
        ],
        "what to do is said once"
    );
    let grpc_first = with_http("{ endpoint: \"0.0.0.0:4318\" }")
        .replace("http:", "grpc: { endpoint: \"0.0.0.0:4317\" }, http:");
    let said_in_order = said(&grpc_first);
    assert!(said_in_order[0].contains("0.0.0.0:4317") && said_in_order[0].contains("(write `tls:`"));
    assert!(said_in_order[1].contains("0.0.0.0:4318") && !said_in_order[1].contains("(write"));
    assert_eq!(warned(&both("localhost:4318", ":4317")), 1);
    assert_eq!(warned(&both("192.0.2.1:4318", "127.0.0.1:4317")), 1);
    assert_eq!(
        said(&with_http("{ endpoint: \"0.0.0.0:4318\" }")),
        [
            "1:53 warning: whoever reaches 0.0.0.0:4318 can send, and what is sent is not encrypted (write `tls:`, or an \
             endpoint on 127.0.0.1 if all senders are on this machine)"
        ]
    );
    let directory = pem_files();
    let tls = "{ endpoint: \"0.0.0.0:4318\", tls: { cert_file: @/cert.pem, key_file: @/key.pem } }";
    assert_eq!(warned(&with_http(&tls.replace('@', directory.path().to_str().unwrap()))), 0);
}
