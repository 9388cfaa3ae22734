//! `receivers`, `admin` and `health`.

use std::time::Duration;

use super::*;

fn with_http(http: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {http} }} }} }}\nexporters: {{ debug: }}\nroutes: [{{ exporters: [debug] }}]\n"
    )
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let compiled = good(MINIMAL);
    let listener = &compiled.listeners[0];
    assert_eq!(listener.name, "otlp");
    assert_eq!(listener.endpoint, "127.0.0.1:4318".parse().unwrap());
    assert_eq!(listener.max_request_body_size, 64 << 20);
    assert_eq!(listener.read_header_timeout, Duration::from_secs(10));
    assert_eq!(listener.max_connections, 10_000);
    assert_eq!(listener.url_paths, [None, None, None]);
    assert_eq!(listener.cors, None);
    assert_eq!(compiled.admin, Some("127.0.0.1:8888".parse().unwrap()));
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
    assert_eq!(listeners[1].name, "otlp/internal");
    assert_eq!(listeners[1].url_paths, [Some("/t".to_owned()), None, None]);
}

#[test]
fn grpc_is_accepted_with_a_warning() {
    let yaml = MINIMAL.replace("http: }", "http: , grpc: { endpoint: \"127.0.0.1:4317\", auth: {} } }");
    let said = said(&yaml);
    assert!(said[0].contains("warning: the gRPC receiver of `otlp` is not served yet"), "{said:?}");
    assert!(
        said[1].contains("error: `auth` is not available: senders can't be authenticated yet"),
        "{said:?}"
    );
}

#[test]
fn tls_and_authentication_are_refused_not_left_out() {
    let said = said(&with_http("{ tls: { cert_file: a, key_file: b }, auth: { authenticator: basic } }"));
    assert_eq!(
        said,
        [
            "1:43 error: `tls` is not available: receivers don't terminate TLS yet; remove it, and put a proxy that does \
             in front",
            "1:79 error: `auth` is not available: senders can't be authenticated yet; remove it, and let only trusted \
             senders reach the endpoint",
        ]
    );
}

#[test]
fn values_of_a_receiver_are_checked() {
    assert_eq!(
        said(&with_http(
            "{ max_request_body_size: 0, logs_url_path: v1, metrics_url_path: /v1/traces, cors: {} }"
        )),
        [
            "1:66 error: `max_request_body_size` must be above zero",
            "1:84 error: `v1` is not a URL path (write a path such as `/v1/logs`)",
            "1:106 error: `/v1/traces` is already the path of traces",
            "1:124 error: `cors` without `allowed_origins` lets no page send (write `allowed_origins: \
             [\"https://app.example.com\"]`)",
        ]
    );
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
        ["1:14 error: the receiver `otlp` has no protocol (write `protocols:`, and below it `http:`)"]
    );
    let grpc_only = MINIMAL.replace("http:", "grpc:");
    assert!(said(&grpc_only).iter().any(|line| line.contains("error: there is no receiver for OTLP/HTTP")));
}

#[test]
fn admin_can_be_turned_off() {
    assert_eq!(good(&with("admin: { enabled: false }\n")).admin, None);
    assert_eq!(good(MINIMAL).health, None);
    assert_eq!(good(&with("health: {}\n")).health, Some("0.0.0.0:13133".parse().unwrap()));
}
