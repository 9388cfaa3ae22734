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
            "routes": [{ "match": { "auth.token": "[redacted]" }, "exporters": ["otlp_http/token-service"] }],
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
fn the_number_of_records_at_which_a_watch_fires_is_shown_and_nothing_else_in_its_place() {
    let shown = |above: &str| {
        let watches = format!("watches: [{{ name: errors, query: 'level:error', above: {above} }}]\n");
        match load_with(&with(&watches), &|_| Some("10".into())) {
            Ok(compiled) => compiled.redacted["watches"][0]["above"].as_str().unwrap().to_owned(),
            Err(problems) => problems.to_string(),
        }
    };
    assert_eq!(shown("10 in 5m"), "10 in 5m");
    assert_eq!(shown("'${env:COUNT} in 5m'"), "${env:COUNT} in 5m");
    for wrong in ["s3cret in 5m", "10 in s3cret", "s3cret"] {
        assert!(!shown(wrong).contains("s3cret"), "{}", shown(wrong));
    }
}

/// Values that are no secrets, and one in each place that could hold one.
const HARMLESS: &str = r#"receivers:
  otlp: { protocols: { http: { auth: { authenticator: bearertokenauth }, cors: { allowed_origins: ["https://*.example.com"], allowed_headers: [X-Team] } } } }
extensions:
  bearertokenauth: { token: "${env:TOKEN}" }
  oauth2client: { client_id: s3cret, client_secret: s3cret, token_url: https://id.example.com, scopes: ["api://otlp/.write"] }
exporters:
  otlp_http/up:
    endpoint: https://example.com
    auth: { authenticator: oauth2client }
    proxy_url: http://proxy:3128
    headers: [{ name: X-Team, value: s3cret }, { name: Y, value: "Bearer ${env:TOKEN}" }, { name: X, value: "a${env:X}" }]
    valid_key: { regex: "[a-z]{1,8}", description: "up to 8 letters, in lower case" }
  debug:
processors:
  attributes/a:
    include: { match_type: regexp, services: ["^api$"], attributes: [{ key: zone, value: "eu-.*" }, { key: api.token, value: s3cret }] }
    actions: [{ key: zone, action: insert, value: s3cret }, { pattern: "^x_.*", action: delete }]
routes:
  - name: all of a team
    match:
      to: well
      service.name: ["prod-*", "billing service"]
      zone: { regex: "^(eu|us)-[0-9]+$", not: eu-1 }
      db.password: { equals: { text: s3cret } }
      record: { kind: "a?", session_token: s3cret, level: { equals: { text: [error, warn] } } }
      request: { x-team: s3cret }
    tenants: "acme-*"
    exporters: [otlp_http/up]
  - { match: { record: ["x y"] }, signals: [traces], exporters: [debug], processors: [attributes/a] }
tenants: { list: [{ id: acme, values: { token: s3cret } }] }
tap: { redact: [s3cret] }
watches: [{ name: API errors, query: "level:error", tenants: "*", above: 10 in 5m }]
"#;

#[test]
fn what_can_hold_no_secret_is_shown_as_it_is_written() {
    let compiled = load_with(HARMLESS, &|_| Some("s3cret".into())).unwrap();
    for text in [compiled.redacted.to_string(), compiled.text.clone()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    // Line by line, so that it is clear which place is hidden.
    for (written, shown) in HARMLESS.lines().zip(compiled.text.lines()) {
        let written = written.replace("s3cret", "[redacted]").replace("\"a${env:X}\"", "[redacted]");
        assert_eq!(shown.trim_end(), written.trim_end());
    }
}

#[test]
fn header_values_and_proxies_are_not_in_the_debug_text() {
    let mut compiled = good(SECRETS);
    let ExporterKind::OtlpHttp(http) = &compiled.exporters[0].1.kind else { panic!() };
    assert!(!format!("{:?} {:?}", http.upstream.headers, http.proxy_url).contains("s3cret"));
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
        "headers: { X-Api: \"first\", X-Api: \"s3cret\" }",
        "headers: { s3cret , s3cret }",
        "headers: { Authorization: Bearer, s3cret }",
        "headers:\n- X-Api: \"s3cret\n",
        "heders: { X-Api: s3cret }",
        "heders:\n  X-Api: s3cret\ntimeout: x",
        "endpoint: user:s3cret@h:4317",
        "endpoint: https://h/?api_key=s3cret x",
        "endpoint: \"https://user:pa/s3cret@h\"",
        "endpoint: \"https://user:pa#s3cret@h\"",
        "endpoint: \"https://user:${env:X:-s3cret}@h\"",
        "tls: { key_file: \"-----BEGIN PRIVATE KEY-----\\ns3cret\" }",
        "tls:\n  key_file: |\n    -----BEGIN PRIVATE KEY-----\n    s3cret/x.y\n",
        "timeout: s3cret",
        "timeout: s3cret # s3cret",
        "timeout: x # Authorization: s3cret",
        "encoding: s3cret",
        "tls: { insecure: s3cret }",
        "tls: [s3cret]",
        "sending_queue: s3cret",
        "sending_queue: { batch: [s3cret, s3cret] }",
        "sending_queue: { storage: s3cret }",
        "headers: { X: \"${s3cret-}\" }",
        "headers: { X: \"pa${s3cret:x}\" }",
        "headers: { X: \"${file:s3cret x}\" }",
        "headers: { X: !s3cret }",
        "headers: { X: *s3cret }",
        "headers: { X: &s3cret , Y: z }",
        "timeout: \"{{ s3cret }}\"",
        "endpoint: \"https://a/{{ s3cret }}\"",
        "endpoint: a: s3cret: b",
        "  timeout: 5s\n s3cret: 5",
        "? s3cret\n: [",
        "@s3cret",
        "%s3cret",
    ];
    for line in lines {
        let yaml = if line.starts_with("{ ") {
            with_exporter("otlp_http", "").replace("otlp_http:\n", &format!("otlp_http: {line}\n"))
        } else {
            with_exporter("otlp_http", line)
        };
        let problems = load_with(&yaml, &|_| Some("s3cret".into())).expect_err(line);
        let in_log: Vec<String> = problems.list.iter().map(|problem| format!("{problem:#}")).collect();
        let shown = format!(
            "{problems} {:?} {in_log:?} {}",
            problems.list,
            serde_json::to_string(&problems).unwrap()
        );
        assert!(!shown.contains("s3cret"), "{line}\n{shown}");
    }
}

#[test]
fn names_of_a_collectors_components_are_shown() {
    // Names of a Collector's components, which may have no value.
    let shown = |more: &str| good(&with(more)).warnings[0].to_string();
    assert!(shown("processors: { batch: }\n").contains("4 | processors: { batch: }\n"));
    assert!(shown("processors: { memory_limiter: }\n").contains("4 | processors: { memory_limiter: }\n"));
    assert!(shown("connectors: { forward: }\n").contains("4 | connectors: { forward: }\n"));
    let pipelines = "service: { pipelines: { logs: { processors: [batch] } } }\n";
    let warnings = good(&with(pipelines)).warnings;
    assert!(warnings[1].to_string().contains("processors: [batch]"), "{}", warnings[1]);
    let logging = load(&MINIMAL.replace("debug:", "logging:")).unwrap_err().to_string();
    assert!(logging.contains("error: `logging` is not a known type"), "{logging}");
    // Another name without a value may be a value itself.
    let other = load(&with("processors: { batch: , hunter2: }\n")).unwrap_err().to_string();
    assert!(other.contains("processors: { batch: , [redacted]: }"), "{other}");
}

#[test]
fn a_secret_in_a_route_is_not_printed_by_its_regex() {
    let yaml = with_routes("  - { match: { a: { regex: \"(${env:TOKEN}\" } }, exporters: [debug, file] }\n");
    let problems = load_with(&yaml, &|_| Some("s3cret[".into())).unwrap_err();
    assert!(!problems.to_string().contains("s3cret"), "{problems}");
}

/// Scalars of a whole configuration, each of which is a secret in turn, in a place where the schema knows no harmless
/// text; and what is broken around them.
mod property {
    use proptest::prelude::*;

    use super::*;

    /// `@` stands for a value. What is not marked is a name, a number, or a word of the schema.
    const LINES: [&str; 41] = [
        "receivers:",
        "  otlp:",
        "    protocols:",
        "      http:",
        "        endpoint: @",
        "        max_request_body_size: @",
        "        traces_url_path: @",
        "        cors: { allowed_origins: [@, @], allowed_headers: [x], max_age: @ }",
        "        tls: { cert_file: @, key_file: @, min_version: @ }",
        "exporters:",
        "  otlp_http/s2:",
        "    endpoint: @",
        "    traces_endpoint: @",
        "    encoding: @",
        "    compression: @",
        "    headers:",
        "      Authorization: @",
        "      X-Api: @",
        "    timeout: @",
        "    proxy_url: @",
        "    tls: { ca_file: @, insecure: @, server_name_override: @, key_pem: @ }",
        "    sending_queue: { queue_size: @, storage: @, batch: { min_size: @ } }",
        "    retry_on_failure: { initial_interval: @, multiplier: @, statuses: [@, 503] }",
        "    statuses: { 404: @, 5xx: { hold: @ }, default: @ }",
        "    auth: { authenticator: bearertokenauth/up }",
        "    token: @",
        "    valid_key: { regex: x, description: x }",
        "  file/local: { path: @, rotation: { max_megabytes: @ } }",
        "routes:",
        "  - match:",
        "      session.token: @",
        "      other.token: { regex: @ }",
        "      more.token: [@, { not: @ }]",
        "    signals: [@]",
        "    max_streams: @",
        "    exporters: [otlp_http/s2, file/local]",
        "limits: { memory: @, streams: @ }",
        "journal: { directory: @, sync: @ }",
        "unrouted: @",
        "processors: { attributes: { actions: [{ key: k, value: @ }] } }",
        "admin: { endpoint: @, enabled: @, hosts: [@], read_token: @, write_token_sha256: @, tls: { key_file: @ } }",
    ];

    /// How a value is written: `#` stands for the secret. It is no variable's name, which an error has to tell.
    const FORMS: [&str; 23] = [
        "#",
        "\"#\"",
        "'#'",
        "\"Bearer #\"",
        "Bearer #, #",
        "user:#@h:4317",
        "\"https://user:p/#@h\"",
        "\"https://user:p##@h\"",
        "https://h/v1?api_key=#",
        "\"${env:NONE:-#}\"",
        "\"${NONE}#\"",
        "\"${#\"",
        "\"{{ # }}\"",
        "\"x\", X-Api: \"#\"",
        "[#, #]",
        "{ a: # }",
        "\"#",
        "'#",
        "# x: #: y",
        "!!str #",
        "&a #",
        "\"-----BEGIN PRIVATE KEY-----\\n#\"",
        "|\n                          -----BEGIN PRIVATE KEY-----\n                          #",
    ];

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Nothing,
        Misspelt,
        OneSpaceMore,
        OneSpaceLess,
        Twice,
        WithoutColon,
        AsAList,
        Comment,
        Tab,
    }

    fn changed(line: &str, change: Change) -> String {
        match change {
            Change::Nothing => line.to_owned(),
            Change::Misspelt => line.replacen(['a', 'e', 'o'], "", 1),
            Change::OneSpaceMore => format!(" {line}"),
            Change::OneSpaceLess => line.strip_prefix(' ').unwrap_or(line).to_owned(),
            Change::Twice => format!("{line}\n{line}"),
            Change::WithoutColon => line.replacen(": ", " ", 1),
            Change::AsAList => {
                let text = line.trim_start();
                format!("{}- {text}", &line[..line.len() - text.len()])
            }
            Change::Comment => line.replacen('@', "1 # @", 1),
            Change::Tab => line.replacen("  ", "\t", 1),
        }
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            12 => Just(Change::Nothing),
            1 => Just(Change::Misspelt),
            1 => Just(Change::OneSpaceMore),
            1 => Just(Change::OneSpaceLess),
            1 => Just(Change::Twice),
            1 => Just(Change::WithoutColon),
            1 => Just(Change::AsAList),
            1 => Just(Change::Comment),
            1 => Just(Change::Tab),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn no_secret_of_a_broken_configuration_is_in_what_is_said_of_it(
            secret in "[a-z]{3}[0-9]{2}[A-Z]{4}",
            forms in proptest::collection::vec(proptest::sample::select(FORMS.as_slice()), LINES.len()),
            changes in proptest::collection::vec(change(), LINES.len()),
            left_out in proptest::collection::vec(proptest::bool::weighted(0.3), LINES.len()),
        ) {
            let mut yaml = String::new();
            for (((line, form), change), left_out) in LINES.iter().zip(&forms).zip(&changes).zip(&left_out) {
                if !left_out {
                    yaml.push_str(&changed(line, *change).replace('@', &form.replace('#', &secret)));
                    yaml.push('\n');
                }
            }
            let said = match load_with(&yaml, &|_| None) {
                Ok(compiled) => format!("{:?} {}", compiled.warnings, compiled.redacted),
                Err(problems) => {
                    let in_log: Vec<String> = problems.list.iter().map(|problem| format!("{problem:#}")).collect();
                    let as_json = serde_json::to_string(&problems).unwrap();
                    format!("{problems}\n{in_log:#?}\n{as_json}\n{:?}", problems.list)
                }
            };
            prop_assert!(!said.contains(&secret), "{secret}\n{yaml}\n{said}");
        }

        #[test]
        fn no_secret_of_a_right_configuration_is_in_its_redacted_form(
            secret in "[a-z]{3}[0-9]{2}[A-Z]{4}",
        ) {
            let compiled = good(&SECRETS.replace("s3cret", &secret));
            prop_assert!(!compiled.redacted.to_string().contains(&secret));
        }
    }
}
