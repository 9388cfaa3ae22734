//! `telemetry`: what is taken, and what is said of what is wrong.

use std::time::Duration;

use super::{good, said, with};
use crate::export::{ExporterKind, TelemetrySettings};
use crate::otlp::Signal;

fn telemetry(section: &str) -> TelemetrySettings {
    good(&with(&format!("telemetry: {{ {section} }}\n"))).telemetry.expect("it is written")
}

#[test]
fn an_endpoint_is_enough_and_each_signal_has_its_path() {
    let settings = telemetry("endpoint: 'http://collector:4318/'");
    assert_eq!((settings.sampling, settings.interval), (0.01, Duration::from_secs(60)));
    let ExporterKind::OtlpHttp(http) = &settings.upstream.kind else { panic!("{settings:?}") };
    for signal in Signal::ALL {
        let url = http.urls[signal.index()].as_ref().and_then(|url| url.as_text()).unwrap();
        assert_eq!(url, format!("http://collector:4318{}", signal.path()));
    }
    let settings =
        telemetry("endpoint: 'http://a', sampling: 1, interval: 5s, headers: { authorization: x }");
    assert_eq!((settings.sampling, settings.interval), (1.0, Duration::from_secs(5)));
    assert_eq!(good(&with("")).telemetry, None);
}

#[test]
fn it_is_said_what_is_wrong_and_where() {
    for (text, expected) in [
        ("sampling: 1", "`telemetry` has no `endpoint`"),
        ("endpoint: 'http://a/v1/traces'", "`endpoint` ends in `/v1/traces`"),
        ("endpoint: 'http://a/otlp?key=x'", "`endpoint` has a query"),
        ("endpoint: collector", "can't be sent to"),
        ("endpoint: 'https://user:s3cr3t@a'", "a URL with credentials"),
        ("endpoint: 'http://a', sampling: 1.5", "out of range for `sampling`"),
        ("endpoint: 'http://a', interval: 0s", "`interval` must be longer than zero"),
        ("endpoint: 'http://{{ key }}'", "a template"),
        ("endpoint: 'http://a', headers: { x-of: '{{ signal }}' }", "a template"),
        ("endpoint: 'http://127.0.0.1:4318'", "is sent to the own receiver `otlp`"),
        (
            "endpoint: 'http://a.example', headers: { authorization: s3cr3t }",
            "a credential is sent over plain HTTP",
        ),
    ] {
        let said = said(&with(&format!("telemetry: {{ {text} }}\n")));
        assert!(said.len() == 1 && said[0].contains(expected), "{text}: {said:?}");
        assert!(!said[0].contains("s3cr3t"), "{said:?}");
    }
}

#[test]
fn headers_are_not_shown() {
    let compiled =
        good(&with("telemetry: { endpoint: 'https://a', headers: { authorization: 'Bearer s3cr3t' } }\n"));
    for shown in [compiled.redacted.to_string(), compiled.text, format!("{:?}", compiled.telemetry)] {
        assert!(shown.contains("telemetry") || shown.contains("upstream"), "{shown}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}
