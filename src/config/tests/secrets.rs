//! What must never be shown.

use serde_json::json;

use super::*;

/// Secrets in every place that one may stand in, each with the same text.
const SECRETS: &str = r#"receivers: { otlp: { protocols: { http: } } }
exporters:
  otlp_http/token-service:
    endpoint: https://example.com/otlp
    traces_endpoint: https://example.com/v1/traces?api_key=s3cret
    proxy_url: http://user:s3cret@proxy:3128
    headers: { Authorization: "Bearer s3cret", X-Team: s3cret }
routes:
  - { match: { auth.token: "a*" }, exporters: [otlp_http/token-service] }
"#;

#[test]
fn the_redacted_text_is_as_written_without_secrets() {
    let compiled = good(SECRETS);
    assert_eq!(
        compiled.redacted,
        json!({
            "receivers": { "otlp": { "protocols": { "http": null } } },
            "exporters": { "otlp_http/token-service": {
                "endpoint": "https://example.com/otlp",
                "traces_endpoint": "https://example.com/v1/traces?[redacted]",
                "proxy_url": "[redacted]",
                "headers": { "Authorization": "[redacted]", "X-Team": "[redacted]" },
            } },
            "routes": [{ "match": { "auth.token": "a*" }, "exporters": ["otlp_http/token-service"] }],
        })
    );
}

#[test]
fn what_is_substituted_is_shown_as_written() {
    let yaml = with("shutdown_timeout: ${env:TIME}\nlimits: { streams: 5 }\n");
    let compiled = load_with(&yaml, &|_| Some("3s".into())).unwrap();
    assert_eq!(compiled.redacted["shutdown_timeout"], "${env:TIME}");
    assert_eq!(compiled.redacted["limits"]["streams"], 5);
    assert_eq!(compiled.shutdown_timeout.as_secs(), 3);
}

#[test]
fn header_values_and_proxies_are_not_in_the_debug_text() {
    let mut compiled = good(SECRETS);
    let ExporterKind::OtlpHttp(http) = &compiled.exporters[0].1.kind else { panic!() };
    assert!(!format!("{:?} {:?}", http.headers, http.proxy_url).contains("s3cret"));
    let text = format!("{:?}", {
        compiled.exporters.clear();
        compiled
    });
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn no_problem_shows_a_secret_wherever_it_stands() {
    let lines = [
        "headers: { Authorization: \"Bearer s3cret\", \"a b\": s3cret }",
        "headers: { Authorization: \"Bearer s3cret\", authorization: s3cret }",
        "headers: { X: \"s3cret {{ s3cret }}\" }",
        "headers: { X: \"s3cret\\u0001\" }",
        "headers: { Authorization \"Bearer s3cret\", X: y }",
        "{ endpoint: x, Authorization 'Bearer s3cret' }",
        "headers: s3cret",
        "headers: [s3cret]",
        "header: { Authorization: s3cret }",
        "headers: { X: { s: s3cret } }",
        "tokens: s3cret",
        "{ endpont: x, headers: { X: s3cret } }",
        "auth: { password: s3cret }",
        "tls: { key_pem: s3cret }",
        "proxy_url: s3cret",
        "proxy_url: \"ftp://user:s3cret@host\"",
        "endpoint: https://user:s3cret@example.com",
        "endpoint: ftp://example.com/?token=s3cret",
        "timeout: \"${env:TOKEN}\"",
        "endpoint: \"${env:TOKEN}\"",
        "endpoint: \"https://x:y@${env:TOKEN}\"",
        "headers: { X: \"{{ ${env:TOKEN} }}\" }",
        "headers: { Authorization: \"Bearer s3cret }",
        "headers:\n  Authorization: 'Bearer\n  s3cret",
        "headers:\n  - Bearer: [\n  s3cret",
        "compression: \"${env:TOKEN}\"",
        "X-Honeycomb-Team: s3cret",
        "headers:\n  Authorization: |\n    Bearer s3cret\n    s3cret",
        "headers:\n  Authorization: \"Bearer\n    s3cret\\u0001\"",
        "headers:\n  ? Authorization\n  : s3cret\n  ? x y\n  : s3cret",
        "headers: &h { X Y: s3cret }\ntls: *h",
        "tls: &h { X Y: s3cret }\nheaders: *h",
        "sending_queue: { num_consumers: \"${env:TOKEN}\", queue_size: \"${env:TOKEN}\" }",
    ];
    for line in lines {
        let yaml = if line.starts_with('{') {
            with_exporter("otlp_http", "").replace("otlp_http:\n", &format!("otlp_http: {line}\n"))
        } else {
            with_exporter("otlp_http", line)
        };
        let problems = load_with(&yaml, &|_| Some("s3cret".into())).expect_err(line);
        let shown = format!("{problems} {problems:?} {}", serde_json::to_string(&problems).unwrap());
        assert!(!shown.contains("s3cret"), "{line}\n{shown}");
    }
}

#[test]
fn a_secret_in_a_route_is_not_printed_by_its_regex() {
    let yaml = with_routes("  - { match: { a: { regex: \"(${env:TOKEN}\" } }, exporters: [debug, file] }\n");
    let problems = load_with(&yaml, &|_| Some("s3cret[".into())).unwrap_err();
    assert!(!problems.to_string().contains("s3cret"), "{problems}");
}
