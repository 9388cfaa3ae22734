//! `preset: highlight`.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use sluice::otlp::Signal;

use super::{QUICK, send, texts};
use crate::support::Sluice;
use crate::support::payload::{attribute, entry_of, request, resource};
use crate::support::stand_ins::{Highlight, StandIn};
use crate::support::yaml;

const PROJECT: &str = "highlight.project_id";

const PROJECTS: [&str; 3] = ["1", "2147483647", "1jdkoe52"];

fn config(exporter: &str, options: &str) -> String {
    yaml::exporters(&[(exporter, format!("preset: highlight, {options}, {QUICK}"))])
        + &format!("routes: [{{ match: {{ {PROJECT}: '*' }}, key: {PROJECT}, exporters: [{exporter}] }}]\n")
}

/// Sluice in front of Highlight, by HTTP and by gRPC.
async fn both(highlight: &StandIn<Highlight>) -> [Sluice; 2] {
    let http = config("otlp_http/highlight", &format!("endpoint: '{}'", highlight.url()));
    let grpc = config("otlp_grpc/highlight", &highlight.grpc_options());
    [Sluice::start(&http).await, Sluice::start(&grpc).await]
}

#[tokio::test]
async fn every_signal_of_every_project_arrives_in_order_by_http_and_by_grpc() {
    let highlight = Highlight::start(&PROJECTS).await;
    for sluice in both(&highlight).await {
        let before = highlight.taken();
        for round in 0..3 {
            for project in PROJECTS {
                for signal in Signal::ALL {
                    let text = format!("{project} {round}");
                    send(&sluice, signal, &[(PROJECT, project)], &[&text]).await;
                }
            }
        }
        sluice.settled().await;
        let taken = highlight.taken();
        for project in PROJECTS {
            for signal in Signal::ALL {
                let new = &taken.of(project, signal)[before.of(project, signal).len()..];
                assert_eq!(new, texts(project, 3), "{signal}");
            }
        }
    }
}

#[tokio::test]
async fn what_highlight_would_drop_without_a_word_is_refused_before_it_is_sent() {
    let highlight = Highlight::start(&PROJECTS).await;
    for sluice in both(&highlight).await {
        for project in ["0", "-1", "2147483648", "not-an-id", "UPPER", &"x".repeat(33)] {
            let entries = [project, "1"]
                .map(|project| entry_of(Signal::Logs, resource(&[(PROJECT, project)]), &["x", "y"]));
            let answer = sluice.post(Signal::Logs, request(&entries)).await;
            let (rejected, why) = answer.partial(Signal::Logs).expect("it says so");
            assert_eq!((answer.status, rejected), (200, 2), "{project}");
            let expected = format!(
                "the upstream does not take the key `{project}`: a project's id is a number from 1 to 2147483647, or a short word of \
                 small letters and digits"
            );
            assert!(why.contains(&expected), "{why}");
        }
        sluice.settled().await;
    }
    let taken = highlight.taken();
    assert_eq!((taken.streams().len(), taken.of("1", Signal::Logs).len()), (1, 24), "all of the right one");
}

#[tokio::test]
async fn a_key_that_is_valid_by_what_is_written_is_sent_whatever_the_preset_says() {
    let highlight = Highlight::start(&["1"]).await;
    highlight.expect_drops();
    let options = format!("endpoint: '{}', valid_key: {{ regex: '.+' }}", highlight.url());
    let sluice = Sluice::start(&config("otlp_http/highlight", &options)).await;
    send(&sluice, Signal::Logs, &[(PROJECT, "not-an-id")], &["dropped there"]).await;
    sluice.settled().await;
    assert_eq!(highlight.taken().dropped, ["dropped there"]);
}

#[tokio::test]
async fn a_record_of_another_project_than_its_resource_is_in_that_project_at_highlight() {
    let highlight = Highlight::start(&PROJECTS).await;
    let record = |text: &str, own: &[(&str, &str)]| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) }),
        time_unix_nano: 1,
        attributes: own.iter().map(|(key, value)| attribute(key, value)).collect(),
        ..LogRecord::default()
    };
    let log_records = vec![
        record("of the resource", &[]),
        record("of the record", &[(PROJECT, "1jdkoe52")]),
        record("of a key that counts less", &[("x-highlight-project", "1jdkoe52")]),
    ];
    let entry = ResourceLogs {
        resource: Some(resource(&[(PROJECT, "1")])),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    let [sluice, _] = both(&highlight).await;
    sluice.accept(Signal::Logs, request(&[entry.encode_to_vec()])).await;
    let taken = highlight.records(3).await;
    assert_eq!(taken.of("1", Signal::Logs), ["of the resource", "of a key that counts less"]);
    assert_eq!(taken.of("1jdkoe52", Signal::Logs), ["of the record"]);
}

#[tokio::test]
async fn highlight_that_is_not_there_for_a_moment_is_asked_again() {
    let highlight = Highlight::start(&PROJECTS).await;
    for sluice in both(&highlight).await {
        let before = highlight.taken().of("1", Signal::Traces).len();
        highlight.fail_next(&[503, 503]);
        send(&sluice, Signal::Traces, &[(PROJECT, "1")], &["x"]).await;
        sluice.settled().await;
        assert_eq!(highlight.taken().of("1", Signal::Traces).len(), before + 1);
    }
}
