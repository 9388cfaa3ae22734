//! `preset`: what is filled in, what is written beside it, and what is said of both.

use std::fmt::Write as _;

use http::header::AUTHORIZATION;

use super::*;
use crate::config::presets::{PRESETS, Preset, PresetAccess};
use crate::export::{ExporterSettings, Statuses};
use crate::otlp::Signal;
use crate::route::{RoutingKey, Template, TemplateTarget, Values};

/// A stream, for templates.
struct ExampleStream(RoutingKey, Signal);

impl Values for ExampleStream {
    fn key(&self) -> Option<&RoutingKey> {
        Some(&self.0)
    }

    fn signal(&self) -> Signal {
        self.1
    }
}

/// A configuration with one exporter of this type and these lines, and a route with this key.
fn keyed(r#type: &str, lines: &str, key: &str) -> String {
    let routes = format!("routes: [{{ key: {key}, exporters: [{type}] }}]\n");
    with_exporter(r#type, lines).replace(&format!("routes: [{{ exporters: [{type}] }}]\n"), &routes)
}

fn settings(text: &str) -> ExporterSettings {
    good(text).exporters.remove(0).1
}

fn http(settings: &ExporterSettings) -> &OtlpHttpSettings {
    match &settings.kind {
        ExporterKind::OtlpHttp(http) => http,
        other => panic!("{other:?}"),
    }
}

/// The headers as they are sent for a stream of this key.
fn headers(settings: &ExporterSettings, key: &str, signal: Signal) -> Vec<String> {
    let headers = match &settings.kind {
        ExporterKind::OtlpHttp(http) => &http.upstream.headers,
        ExporterKind::OtlpGrpc(grpc) => &grpc.upstream.headers,
        other => panic!("{other:?}"),
    };
    let stream = ExampleStream(RoutingKey::written(key), signal);
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.0.render(&stream, TemplateTarget::Header).unwrap()))
        .collect()
}

fn urls(settings: &ExporterSettings) -> Vec<&str> {
    http(settings).urls.iter().flatten().map(|url| url.as_text().unwrap()).collect()
}

/// Each way to each upstream, with all that has to be written.
fn ways() -> Vec<(&'static Preset, &'static PresetAccess, &'static str, String)> {
    let mut ways = Vec::new();
    for preset in PRESETS {
        for (access, r#type) in [(&preset.http, "otlp_http"), (&preset.grpc, "otlp_grpc")] {
            let Some(access) = access else { continue };
            let mut lines = format!("preset: {}\n", preset.name);
            if access.default.is_none() {
                writeln!(lines, "endpoint: {}", access.example.to_lowercase()).unwrap();
            }
            if preset.credential.is_some() {
                lines.push_str("token: user:s3cret\n");
            }
            if !preset.needs.is_empty() {
                lines.push_str("headers: { x-aws-log-group: group }\n");
            }
            let key = preset.stream.attribute.unwrap_or("tenant.id");
            let signals: Vec<&str> = preset.signals.iter().map(|signal| signal.name()).collect();
            let text = keyed(r#type, &lines, &format!("{key}, signals: [{}]", signals.join(", ")));
            ways.push((preset, access, r#type, text));
        }
    }
    ways
}

#[test]
fn each_preset_is_enough_with_what_differs_from_account_to_account() {
    for (preset, access, _, text) in ways() {
        let text = text.replace("datadog_site", "datadoghq.com");
        let text = if preset.name == "better_stack" {
            text.replace("https://ingesting_host", "https://s1.eu-nbg-2.betterstackdata.com")
        } else {
            text
        };
        let compiled = good(&text);
        let plain = access.example.starts_with("http://");
        let warned: Vec<_> = compiled.warnings.iter().map(|warning| &warning.message).collect();
        assert_eq!(warned, [""; 0], "{text}");
        assert!(!plain || preset.credential.is_none(), "a credential over plain HTTP is no example: {text}");
        let [filled] = compiled.presets.as_slice() else { panic!("{:?}", compiled.presets) };
        assert_eq!(filled.preset, preset.name);
        let shown = format!("{filled} {}", serde_json::to_string(&compiled.presets).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn each_preset_fills_in_all_that_it_has() {
    for (preset, access, _, text) in ways() {
        let compiled = match load(&text) {
            Ok(compiled) => compiled,
            Err(problems) => panic!("{problems}"),
        };
        let filled: Vec<&str> =
            compiled.presets[0].filled_in.iter().map(|option| option.key.as_str()).collect();
        let options = access.options.iter().map(|(path, _)| path.join("."));
        let headers = preset.stream.headers.iter().map(|(name, _)| format!("headers.{name}"));
        let token = preset.credential.iter().map(|credential| format!("headers.{}", credential.header));
        let valid = preset.stream.valid.iter();
        let valid = valid.flat_map(|_| ["valid_key.description", "valid_key.regex"].map(str::to_owned));
        let endpoint = access.default.iter().map(|_| "endpoint".to_owned());
        let expected: Vec<String> =
            endpoint.chain(options).chain(token).chain(headers).chain(valid).collect();
        assert_eq!(filled, expected, "{text}");
    }
}

#[test]
fn what_is_filled_in_is_the_same_as_if_it_were_written() {
    for (_, access, r#type, text) in ways() {
        let filled = settings(&text);
        let mut written = text.clone();
        for (path, value) in access.options {
            let nested =
                path.iter().rev().skip(1).fold(format!("{}: {value}", path.last().unwrap()), |inner, key| {
                    format!("{key}: {{ {inner} }}")
                });
            // Each alone beside the preset: it is what would be there without it.
            written = text.replace("    preset:", &format!("    {nested}\n    preset:"));
            let both = settings(&written);
            assert_eq!(both.queue, filled.queue, "{written}");
            assert_eq!(both.statuses, filled.statuses, "{written}");
            assert_eq!(both.retry, filled.retry, "{written}");
        }
        assert!(r#type == "otlp_http" || !written.contains("encoding"), "gRPC has no encoding");
    }
}

#[test]
fn a_token_goes_into_the_header_that_the_upstream_reads() {
    let sent =
        |lines: &str| headers(&settings(&keyed("otlp_http", lines, "tenant.id")), "acme", Signal::Logs);
    let better_stack = "preset: better_stack\nendpoint: https://in-otel.logs.betterstack.com\n";
    assert_eq!(sent(&format!("{better_stack}token: t0ken")), ["authorization: Bearer t0ken"]);
    assert_eq!(
        sent("preset: honeycomb\ntoken: t0ken"),
        ["x-honeycomb-team: t0ken", "x-honeycomb-dataset: acme"]
    );
    assert_eq!(sent("preset: uptrace\ntoken: https://s@h?grpc=4317"), ["uptrace-dsn: https://s@h?grpc=4317"]);
    let grafana = "preset: grafana_cloud\nendpoint: https://otlp-gateway-eu.grafana.net\n";
    for token in ["1234:glc_x", "MTIzNDpnbGNfeA=="] {
        let expected = ["authorization: Basic MTIzNDpnbGNfeA=="];
        assert_eq!(sent(&format!("{grafana}token: \"{token}\"")), expected, "{token}");
    }
    // The Collector's other form of headers.
    assert_eq!(
        sent("preset: new_relic\ntoken: t0ken\nheaders: [{ name: X-A, value: b }]"),
        ["x-a: b", "api-key: t0ken"]
    );
}

#[test]
fn a_token_may_be_a_template_and_what_is_substituted_into_it_is_none() {
    let lines =
        "preset: dash0\nendpoint: https://ingress.eu-west-1.aws.dash0.com\nheaders: { dash0-dataset: d }\n";
    let env = |name: &str| (name == "TOKEN").then(|| "{{ tenant.other }}".to_owned());
    let text = keyed("otlp_http", &format!("{lines}token: \"${{env:TOKEN}}-{{{{ tenant.token }}}}\""), "a");
    let text = format!("{text}tenants: {{ list: [{{ id: acme, values: {{ token: s3cret }} }}] }}\n");
    let compiled = load_with(&text, &env).unwrap_or_else(|problems| panic!("{problems}"));
    let (_, value) = http(&compiled.exporters[0].1)
        .upstream
        .headers
        .iter()
        .find(|(name, _)| name == AUTHORIZATION)
        .cloned()
        .unwrap();
    let substituted = std::slice::from_ref(&(7..25));
    let expected =
        Template::parse_around("Bearer {{ tenant.other }}-{{ tenant.token }}", substituted).unwrap();
    assert_eq!(value.0, expected);
}

#[test]
fn user_and_password_are_written_in_base64_whatever_is_in_them() {
    let lines = "preset: openobserve\nendpoint: https://o.example/api/acme\nheaders: { stream-name: a }\n";
    let env = |name: &str| (name == "PASSWORD").then(|| "{{ tenant.x }}:".to_owned());
    let text = keyed("otlp_http", &format!("{lines}token: \"root:${{env:PASSWORD}}\""), "a");
    let compiled = load_with(&text, &env).unwrap_or_else(|problems| panic!("{problems}"));
    let expected = ["stream-name: a", "authorization: Basic cm9vdDp7eyB0ZW5hbnQueCB9fTo="];
    assert_eq!(headers(&compiled.exporters[0].1, "a", Signal::Logs), expected);
}

#[test]
fn what_is_written_beside_a_preset_wins() {
    let s2 = "preset: s2\nendpoint: https://my-basin.b.s2.dev/otlp\ntoken: t\n";
    let of = |lines: &str| settings(&keyed("otlp_http", &format!("{s2}{lines}"), "s2.stream"));
    let plain = of("");
    assert_eq!((plain.queue.batch.min_size, plain.queue.batch.max_size), (256 << 10, 512 << 10));
    assert_eq!(http(&plain).upstream.compression, crate::export::Compression::None);
    let written = of("compression: zstd\nsending_queue: { batch: { max_size: 1MiB } }");
    assert_eq!((written.queue.batch.min_size, written.queue.batch.max_size), (256 << 10, 1 << 20));
    assert_eq!(http(&written).upstream.compression, crate::export::Compression::Zstd { level: 3 });

    // Of statuses each by itself, whatever the width of what is written.
    let mut expected = Statuses::retrying(vec![408, 429, 500, 502, 503, 504]);
    let dead_letter = crate::export::StatusAction::DeadLetter;
    expected.set(412..=412, dead_letter).unwrap();
    for (range, statuses) in [(409..=409, "409: drop"), (400..=411, "400-411: drop")] {
        let mut expected = expected.clone();
        expected.set(range, crate::export::StatusAction::Drop).unwrap();
        assert_eq!(of(&format!("statuses: {{ {statuses} }}")).statuses, expected, "{statuses}");
    }
    let mut all = Statuses::retrying(vec![503]);
    all.set(400..=499, crate::export::StatusAction::Drop).unwrap();
    assert_eq!(of("statuses: { 4xx: drop }\nretry_on_failure: { statuses: [503] }").statuses, all);

    let tenant = "preset: loki\nendpoint: http://loki:3100\nheaders: { x-scope-orgid: one }";
    let written = settings(&keyed("otlp_http", tenant, "tenant.id, signals: [logs]"));
    assert_eq!(headers(&written, "acme", Signal::Logs), ["x-scope-orgid: one"]);
    assert_eq!(written.valid_key, None, "what it says of the key is not what is sent");
}

#[test]
fn the_path_of_an_endpoint_is_added_where_none_is_written() {
    let of = |lines: &str, rest: &str| -> Vec<String> {
        let settings = settings(&keyed("otlp_http", lines, &format!("tenant.id{rest}")));
        urls(&settings).into_iter().map(ToOwned::to_owned).collect()
    };
    let logs = ", signals: [logs]";
    for endpoint in
        ["http://loki:3100", "http://loki:3100/", "http://loki:3100/otlp", "http://loki:3100/otlp/"]
    {
        let urls = of(&format!("preset: loki\nendpoint: {endpoint}"), logs);
        assert_eq!(urls, ["http://loki:3100/otlp/v1/logs"], "{endpoint}");
    }
    let urls = of("preset: loki\nendpoint: http://gateway/loki", logs);
    assert_eq!(urls, ["http://gateway/loki/v1/logs"]);
    let urls = of("preset: victorialogs\nendpoint: http://v:9428", logs);
    assert_eq!(urls, ["http://v:9428/insert/opentelemetry/v1/logs"]);
    let urls = of(
        "preset: loki\nlogs_endpoint: http://l/logs\nmetrics_endpoint: http://m/metrics",
        ", signals: [logs, metrics]",
    );
    assert_eq!(urls, ["http://m/metrics", "http://l/logs"]);
    let compiled = good(&keyed(
        "otlp_http",
        "preset: s2\ntoken: t\nendpoint: \"https://{{ key }}.b.s2.dev\"",
        "s2.stream",
    ));
    let url = http(&compiled.exporters[0].1).urls[0].clone().unwrap();
    let stream = ExampleStream(RoutingKey::written("a"), Signal::Logs);
    assert_eq!(url.render(&stream, TemplateTarget::Url).unwrap(), "https://a.b.s2.dev/otlp/v1/traces");
    assert_eq!(compiled.warnings, []);
}

#[test]
fn an_endpoint_from_elsewhere_gets_its_path_and_may_be_missing_where_no_secret_is_needed() {
    let text =
        keyed("otlp_http", "preset: loki\nendpoint: \"${env:LOKI}${env:SLASH}\"", "a, signals: [logs]");
    let env = |name: &str| Some(if name == "LOKI" { "http://loki:3100" } else { "//" }.to_owned());
    let compiled = load_with(&text, &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(urls(&compiled.exporters[0].1), ["http://loki:3100/otlp/v1/logs"]);

    for endpoint in ["${env:LOKI}", "https://${env:HOST}", "https://${env:BASIN}.b.s2.dev"] {
        let preset = if endpoint.contains("BASIN") { "s2" } else { "loki" };
        let lines = format!("preset: {preset}\nendpoint: \"{endpoint}\"");
        let text = keyed("otlp_http", &lines, "s2.stream, signals: [logs]");
        let compiled = load_without_secrets(&text).unwrap_or_else(|problems| panic!("{problems}"));
        let hosts = |warning: &&crate::config::Problem| warning.message.contains("host");
        assert_eq!(compiled.warnings.iter().find(hosts), None, "{endpoint}");
    }
}

#[test]
fn what_names_a_stream_is_filled_in_where_each_route_has_a_key_of_one_text() {
    let loki = "preset: loki\nendpoint: http://loki:3100";
    let of = |key: &str| {
        let compiled = good(&keyed("otlp_http", loki, &format!("{key}, signals: [logs]")));
        let warned: Vec<String> = compiled.warnings.iter().map(|warning| warning.message.clone()).collect();
        let settings = &compiled.exporters[0].1;
        (http(settings).upstream.headers.len(), settings.valid_key.is_some(), warned)
    };
    for key in ["tenant.id", "[tenant.id, service.name]", "\"{{ resource['a'] }}\""] {
        assert_eq!(of(key), (1, true, Vec::new()), "{key}");
    }
    assert_eq!(of(""), (0, false, Vec::new()), "one stream, of which Loki need not know");
    let (sent, checked, warned) = of("{ tenant: tenant.id, service: service.name }");
    assert_eq!((sent, checked), (0, false));
    assert_eq!(warned, ["`X-Scope-OrgID` is not filled in: a key of a route that sends there has parts"]);
}

#[test]
fn an_upstream_that_reads_an_attribute_gets_a_key_of_it() {
    let of = |key: &str| {
        let compiled = good(&keyed("otlp_http", "preset: highlight", key));
        let warned: Vec<String> = compiled.warnings.iter().map(|warning| warning.message.clone()).collect();
        (compiled.exporters[0].1.valid_key.is_some(), warned)
    };
    assert_eq!(of("highlight.project_id"), (true, Vec::new()));
    assert!(of("\"{{ resource['highlight.project_id'] }}\"").0);
    for key in ["", "service.name"] {
        let expected = "Highlight takes the stream from the resource attribute `highlight.project_id`, and a route that sends there \
                        has another key";
        assert_eq!(of(key), (false, vec![expected.to_owned()]), "{key}");
    }
    let (checked, warned) = of("{ project: highlight.project_id, service: service.name }");
    assert!(!checked);
    assert_eq!(warned, ["the parts of a key are not checked for what Highlight takes"]);
}

#[test]
fn a_key_is_valid_as_the_upstream_has_it() {
    let valid = |preset: &str, key: &str| {
        let preset = PRESETS.iter().find(|other| other.name == preset).unwrap();
        let (regex, _) = preset.stream.valid.unwrap();
        regex::Regex::new(&format!(r"\A(?:{regex})\z")).unwrap().is_match(key)
    };
    for key in ["1", "42", "999999999", "1999999999", "2147483647", "1jdkoe52", "qe9y4yg1", "a"] {
        assert!(valid("highlight", key), "{key}");
    }
    for key in [
        "0",
        "007",
        "-1",
        "2147483648",
        "3000000000",
        "99999999999",
        "1JDKOE52",
        "a-b",
        "a b",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        assert!(!valid("highlight", key), "{key}");
    }
    for key in ["acme", "a.b", ".a", "..a", "...", "it's-(me)!*_", &"x".repeat(150)] {
        assert!(valid("loki", key), "{key}");
    }
    for key in [".", "..", "a/b", "a|b", "a b", "ä", &"x".repeat(151)] {
        assert!(!valid("loki", key), "{key}");
    }
    for key in ["0", "7", "999999999", "3999999999", "4294967295"] {
        assert!(valid("victorialogs", key), "{key}");
    }
    for key in ["", "-1", "4294967296", "4300000000", "99999999999", "acme"] {
        assert!(!valid("victorialogs", key), "{key}");
    }
    assert!(valid("cloudwatch", "a/b c") && !valid("cloudwatch", "a:b") && !valid("cloudwatch", "a*"));
}

#[test]
fn a_credential_of_the_wrong_shape_is_a_warning_that_does_not_show_it() {
    let better_stack = "preset: better_stack\nendpoint: https://in-otel.logs.betterstack.com\n";
    let grafana = "preset: grafana_cloud\nendpoint: https://otlp-gateway-eu.grafana.net\n";
    let of = |lines: &str, token: &str| {
        let env = |name: &str| (name == "TOKEN").then(|| "Bearer s3cret".to_owned());
        said_with(&keyed("otlp_http", &format!("{lines}token: \"{token}\""), "tenant.id"), &env)
    };
    let schemes = |scheme: &str| {
        format!(
            "6:12 warning: the token has a scheme before it, and the preset puts `{scheme}` before that (write the token alone)"
        )
    };
    for token in ["Bearer s3cret", "bearer s3cret", "Basic s3cret", "${env:TOKEN}"] {
        assert_eq!(of(better_stack, token), [schemes("Bearer")], "{token}");
    }
    assert_eq!(of(grafana, "Basic MTIzNDpnbGNfeA=="), [schemes("Basic")]);
    for token in ["glc_s3cret", "czNjcmV0"] {
        assert_eq!(
            of(grafana, token),
            [
                "6:12 warning: this is neither a user and a password for Grafana Cloud nor these in Base64 (write \
                 `INSTANCE_ID:TOKEN`, or that in Base64)"
            ],
            "{token}"
        );
    }
    for (lines, token) in [
        (better_stack, "s3cret"),
        (grafana, "1234:glc_s3cret"),
        (grafana, "MTIzNDpnbGNfeA=="),
        ("preset: honeycomb\n# \n", "Bearer s3cret"),
    ] {
        assert_eq!(of(lines, token), [""; 0], "{token}");
    }
    let text = keyed("otlp_http", &format!("{grafana}token: \"${{env:NONE}}\""), "tenant.id");
    let without = load_without_secrets(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(
        without.warnings.iter().all(|warning| !warning.message.contains("Base64")),
        "{:?}",
        without.warnings
    );
}

#[test]
fn mistakes_with_presets_say_what_to_write() {
    for (r#type, lines, expected) in [
        (
            "otlp_http",
            "preset: s3\nendpoint: https://a.example",
            "4:13 error: `s3` is not a value of `preset` (did you mean `s2`? the values are",
        ),
        (
            "otlp_grpc",
            "preset: s2\nendpoint: https://a.b.s2.dev:443",
            "4:5 error: S2 does not take OTLP over gRPC (name the exporter `otlp_http/s2`, here and in `routes`)",
        ),
        (
            "otlp_http",
            "preset: s2\ntoken: t",
            "4:5 error: `preset: s2` needs an `endpoint`: it is not the same for all (write `endpoint: https://BASIN.b.s2.dev/otlp`)",
        ),
        (
            "otlp_http",
            "token: s3cret\nendpoint: https://a.example",
            "4:5 error: `token` needs a `preset`, which says the header that it goes into (write `headers: { Authorization: \"Bearer …\" }` instead, or a `preset`)",
        ),
        (
            "otlp_http",
            "preset: highlight\ntoken: s3cret",
            "5:5 error: `preset: highlight` has no header for a token (write `headers` or `auth` for a credential that is asked for in front of it)",
        ),
        (
            "otlp_http",
            "preset: honeycomb\ntoken: s3cret\nheaders: { X-Honeycomb-Team: s3cret }",
            "5:5 error: `token` stands beside the header `x-honeycomb-team` (keep one of the two)",
        ),
        (
            "otlp_http",
            "preset: honeycomb",
            "4:13 warning: Honeycomb takes nothing without a credential (write `token: \"${env:TOKEN}\"`, its API key)",
        ),
        (
            "otlp_http",
            "preset: s2\nendpoint: https://my-basin.b.s2.com/otlp\ntoken: s3cret",
            "5:15 warning: this host is none of S2's (S2's endpoints are such as `https://BASIN.b.s2.dev/otlp`)",
        ),
        (
            "otlp_http",
            "preset: s2\nendpoint: https://my-basin.b.s2.dev/otel\ntoken: s3cret",
            "5:15 warning: S2's endpoints do not have this path (write `https://BASIN.b.s2.dev/otlp`)",
        ),
        (
            "otlp_http",
            "preset: cloudwatch\nendpoint: https://logs.eu-west-1.amazonaws.com\ntoken: s3cret",
            "4:13 error: Amazon CloudWatch Logs needs the header `x-aws-log-group` (write `headers: { x-aws-log-group: … }`, the name of the log group)",
        ),
        (
            "otlp_http",
            "preset: new_relic\ntoken: s3cret\nsending_queue: { batch: { max_size: 2MiB } }",
            "6:41 warning: New Relic takes no request above 1MB (write at most `max_size: 1MB`)",
        ),
        (
            "otlp_http",
            "preset: grafana_cloud\nendpoint: https://otlp-gateway-eu.grafana.net\ntoken: \"{{ key }}:s3cret\"",
            "6:12 error: user and password that are templates can't be written in Base64 (keep what stands behind `Basic ` in the tenant's row: `token: \"{{ tenant.basic }}\"`)",
        ),
        (
            "otlp_http",
            "preset: tempo\nendpoint: http://tempo:4318",
            "6:24 error: Grafana Tempo takes traces alone, and this route sends it metrics and logs as well: `otlp_http` has `preset: tempo` (write `signals: [traces]` in the route)",
        ),
        (
            "otlp_http",
            "endpoint: https://a.example\nvalid_key: { regex: \"(\" }",
            "5:25 error: `(` is not a regular expression",
        ),
        (
            "otlp_http",
            "endpoint: https://a.example\nvalid_key: { description: x }",
            "5:16 error: `valid_key` does not say which keys are valid (write `valid_key: { regex: \"[0-9]+\" }`, or leave it out where every key is)",
        ),
    ] {
        let attribute = PRESETS
            .iter()
            .find(|preset| lines.contains(&format!("preset: {}\n", preset.name)))
            .and_then(|preset| preset.stream.attribute);
        let text = match attribute {
            Some(attribute) => keyed(r#type, lines, attribute),
            None if lines.contains("cloudwatch") => keyed(r#type, lines, "a, signals: [logs]"),
            None => with_exporter(r#type, lines),
        };
        let said = said(&text);
        assert!(said.iter().any(|problem| problem.starts_with(expected)), "{lines}\n{said:#?}");
        assert!(said.iter().all(|problem| !problem.contains("s3cret")), "{said:#?}");
        assert_eq!(said.len(), 1, "{said:#?}");
    }
}

#[test]
fn an_exporter_that_is_none_of_otlp_has_no_preset() {
    for r#type in ["file", "debug"] {
        let said = said(&with_exporter(r#type, "preset: s2"));
        assert!(
            said[0].starts_with(&format!("4:5 error: unknown key `preset` in `exporters.{type}`")),
            "{said:?}"
        );
    }
}
