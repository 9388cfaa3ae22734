//! A Collector's whole file: it runs as it is, and as `sluice import` writes it.

use rig::sink::Sink;
use sluice::otlp::Signal;

use crate::support::payload::{attribute, entry_of, request, resource};
use crate::support::process::SluiceProcess;
use crate::support::sinks::{self, Received as _};
use crate::support::{Sluice, grpc};

/// A Collector's file with an exporter for each upstream, each of which gets every request as a batch of its own.
fn file(upstreams: &[(&str, &Sink)], rest: &str) -> String {
    let exporters: String = upstreams.iter().fold(String::new(), |all, (name, up)| {
        let queue = "sending_queue: { batch: { min_size: 1, flush_timeout: 0s } }";
        all + &format!("  otlphttp/{name}: {{ endpoint: '{}', compression: none, {queue} }}\n", up.url())
    });
    format!(
        "receivers:\n  otlp:\n    protocols:\n      http: {{ endpoint: 127.0.0.1:0, include_metadata: true }}\nprocessors: {{ batch: }}\n\
         exporters:\n  nop:\n{exporters}{rest}"
    )
}

fn log(attributes: &[(&str, &str)], text: &str) -> Vec<u8> {
    request(&[entry_of(Signal::Logs, resource(attributes), &[text])])
}

/// What a command prints, and how it ended.
async fn sluice(args: &[&str], file: &std::path::Path) -> (String, Option<i32>) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(args)
        .arg(file)
        .env_remove("RUST_LOG")
        .output()
        .await
        .expect("the binary was built");
    (String::from_utf8(output.stdout).expect("it prints text"), output.status.code())
}

/// The file as it is, and as it is imported.
async fn both(yaml: &str) -> [String; 2] {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collector.yaml");
    std::fs::write(&path, yaml).unwrap();
    let (imported, code) = sluice(&["import"], &path).await;
    assert_eq!(code, Some(0), "{imported}");
    let own = directory.path().join("sluice.yaml");
    std::fs::write(&own, &imported).unwrap();
    let (said, code) = sluice(&["check"], &own).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("sluice.yaml: fine\n"), "{said}\n{imported}");
    [yaml.to_owned(), imported]
}

#[tokio::test]
async fn pipelines_of_one_receiver_and_those_behind_a_forward_connector_each_get_everything() {
    let (first, second, third) =
        (sinks::recording().await, sinks::recording().await, sinks::recording().await);
    let yaml = file(
        &[("first", &first), ("second", &second), ("third", &third)],
        "connectors: { forward: }\nservice:\n  pipelines:\n    \
         logs/a: { receivers: [otlp], processors: [batch], exporters: [otlphttp/first, nop] }\n    \
         logs/b: { receivers: [otlp], exporters: [forward] }\n    \
         logs/c: { receivers: [forward], exporters: [otlphttp/second] }\n    \
         traces: { receivers: [otlp], exporters: [otlphttp/third] }\n",
    );
    for (round, yaml) in both(&yaml).await.iter().enumerate() {
        let sluice = Sluice::start(yaml).await;
        sluice.accept(Signal::Logs, log(&[], &format!("log {round}"))).await;
        sluice.accept(Signal::Traces, request(&[entry_of(Signal::Traces, resource(&[]), &["span"])])).await;
        sluice.settled().await;
        let answer =
            sluice.post(Signal::Metrics, request(&[entry_of(Signal::Metrics, resource(&[]), &["m"])])).await;
        assert!(answer.partial(Signal::Metrics).is_some(), "no pipeline takes it");
        assert_eq!(sluice.metric("sluice_routed_records_total", &[("exporter", "nop")]).await, 1.0);
        sluice.assert_conserved().await;
    }
    for up in [&first, &second] {
        assert_eq!(up.texts(Signal::Logs), ["log 0", "log 1"]);
        assert_eq!(up.texts(Signal::Traces), [""; 0]);
    }
    assert_eq!(third.texts(Signal::Traces), ["span", "span"]);
}

#[tokio::test]
async fn a_routing_connector_sends_each_resource_record_and_request_one_way() {
    let names = ["acme", "east", "header", "rest"];
    let ups = [
        sinks::recording().await,
        sinks::recording().await,
        sinks::recording().await,
        sinks::recording().await,
    ];
    let exporters: Vec<(&str, &Sink)> = names.into_iter().zip(&ups).collect();
    let pipelines: String = names.iter().fold(String::new(), |all, name| {
        all + &format!("    logs/{name}: {{ receivers: [routing], exporters: [otlphttp/{name}] }}\n")
    });
    let yaml = file(
        &exporters,
        &format!(
            "connectors:\n  routing:\n    default_pipelines: [logs/rest]\n    table:\n      \
             - {{ condition: 'resource.attributes[\"tenant\"] == \"acme\" or IsMatch(attributes[\"tenant\"], \"^acme-\")', pipelines: [logs/acme] }}\n      \
             - {{ context: log, condition: 'attributes[\"region\"] == \"east\"', pipelines: [logs/east] }}\n      \
             - {{ context: request, condition: 'request[\"X-Tenant\"] == \"acme\"', pipelines: [logs/header] }}\n\
             service:\n  pipelines:\n    logs/in: {{ receivers: [otlp], exporters: [routing] }}\n{pipelines}"
        ),
    );
    // A resource of whose two records one is in the east.
    let mixed = || {
        use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
        use prost::Message as _;
        let record = |text: &str, attributes| LogRecord {
            body: Some(opentelemetry_proto::tonic::common::v1::AnyValue {
                value: Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(
                    text.to_owned(),
                )),
            }),
            attributes,
            ..LogRecord::default()
        };
        let log_records = vec![record("5", Vec::new()), record("6", vec![attribute("region", "east")])];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        ResourceLogs { resource: Some(resource(&[])), scope_logs, ..ResourceLogs::default() }.encode_to_vec()
    };
    for yaml in both(&yaml).await {
        let sluice = Sluice::start(&yaml).await;
        sluice.accept(Signal::Logs, log(&[("tenant", "acme")], "1")).await;
        sluice.accept(Signal::Logs, log(&[("tenant", "acme-2")], "2")).await;
        sluice.accept(Signal::Logs, log(&[("tenant", "globex")], "3")).await;
        let headers = [("x-tenant", "acme")];
        assert_eq!(sluice.post_with(Signal::Logs, log(&[], "4"), &headers).await.status, 200);
        sluice.accept(Signal::Logs, request(&[mixed()])).await;
        let call = grpc::framed(0, &log(&[("tenant", "globex")], "7"));
        let reply = grpc::call(sluice.otlp, grpc::export(Signal::Logs), &[("X-Tenant", "acme")], call).await;
        assert_eq!(reply.code(), tonic::Code::Ok, "metadata is looked at as headers are");
        // What stands on the resource is none of the record's.
        sluice.accept(Signal::Logs, log(&[("region", "east")], "8")).await;
        sluice.settled().await;
        sluice.assert_conserved().await;
    }
    let texts = |up: &Sink| {
        let mut texts = up.texts(Signal::Logs);
        texts.sort();
        texts
    };
    let twice = |texts: &[&str]| {
        texts.iter().flat_map(|text| [(*text).to_owned(), (*text).to_owned()]).collect::<Vec<_>>()
    };
    assert_eq!(texts(&ups[0]), twice(&["1", "2"]));
    assert_eq!(texts(&ups[1]), twice(&["6"]));
    assert_eq!(texts(&ups[2]), twice(&["4", "7"]));
    assert_eq!(texts(&ups[3]), twice(&["3", "5", "8"]));
}

#[tokio::test]
async fn a_header_of_the_request_is_sent_on_in_streams_that_mix_no_values() {
    let up = sinks::recording().await;
    let yaml = file(
        &[("up", &up)],
        "extensions: { headers_setter: { headers: [{ key: X-Scope-OrgID, from_context: X-Tenant }, { key: X-Fixed, value: a }] } }\n\
         service:\n  extensions: [headers_setter]\n  pipelines:\n    logs: { receivers: [otlp], exporters: [otlphttp/up] }\n",
    )
    .replace("compression: none,", "compression: none, auth: { authenticator: headers_setter },");
    for yaml in both(&yaml).await {
        let sluice = Sluice::start(&yaml).await;
        for tenant in ["acme", "globex", "acme"] {
            let answer = sluice.post_with(Signal::Logs, log(&[], tenant), &[("X-Tenant", tenant)]).await;
            assert_eq!(answer.status, 200);
        }
        sluice.settled().await;
        let without = sluice.post(Signal::Logs, log(&[], "nobody")).await;
        let (_, message) = without.partial(Signal::Logs).expect("it is of no stream");
        assert!(message.contains("routes look at the headers `x-tenant` of the request"), "{message}");
        // Whose it is can't be told.
        let twice = [("X-Tenant", "acme"), ("X-Tenant", "globex")];
        let answer = sluice.post_with(Signal::Logs, log(&[], "both"), &twice).await;
        let (_, message) = answer.partial(Signal::Logs).expect("it is of two streams");
        assert!(message.contains("the header `x-tenant` of its request occurs twice"), "{message}");
    }
    let taken = up.taken();
    assert_eq!(taken.len(), 6);
    for request in taken {
        let sent = &request.headers["x-scope-orgid"];
        assert_eq!(request.headers["x-fixed"], "a");
        let entries: Vec<Vec<u8>> = crate::support::payload::entries(&request.body);
        for entry in entries {
            assert_eq!(crate::support::payload::texts(Signal::Logs, &entry), [sent.to_str().unwrap()]);
        }
    }
}

#[tokio::test]
async fn a_reload_that_comes_to_look_at_a_header_takes_requests_that_come_behind_it() {
    let up = sinks::recording().await;
    let with = |routing: &str| file(&[("up", &up)], routing);
    let plain = with("service: { pipelines: { logs: { receivers: [otlp], exporters: [otlphttp/up] } } }\n");
    let sluice = Sluice::start(&plain).await;
    sluice.accept(Signal::Logs, log(&[], "1")).await;
    sluice
        .reconfigure(&with(
            "connectors: { routing: { table: [{ context: request, condition: 'request[\"X-A\"] == \"b\"', pipelines: [logs/up] }] } }\n\
             service: { pipelines: { logs: { receivers: [otlp], exporters: [routing] }, logs/up: { receivers: [routing], exporters: [otlphttp/up] } } }\n",
        ))
        .await;
    assert_eq!(sluice.post_with(Signal::Logs, log(&[], "2"), &[("x-a", "b")]).await.status, 200);
    let answer = sluice.post_with(Signal::Logs, log(&[], "3"), &[("x-a", "c")]).await;
    assert!(answer.partial(Signal::Logs).is_some());
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2"]);
}

#[tokio::test]
async fn a_file_with_what_protects_is_refused_and_imported_so_that_it_is_still_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collector.yaml");
    let up = sinks::recording().await;
    let yaml = file(
        &[("up", &up)],
        "service: { pipelines: { logs: { receivers: [otlp, syslog], processors: [redaction], exporters: [otlphttp/up] } } }\n",
    )
    .replace("processors: {", "processors: { redaction: { allow_all_keys: true },")
    .replace("receivers:\n", "receivers:\n  syslog: {}\n");
    std::fs::write(&path, yaml).unwrap();
    let (said, code) = sluice(&["check"], &path).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("the processor `redaction` is not available"), "{said}");
    let (imported, code) = sluice(&["import"], &path).await;
    assert_eq!(code, Some(1));
    assert!(
        imported.contains("# Could not be taken:\n# - line 2: the receiver `syslog` is not available"),
        "{imported}"
    );
    let own = directory.path().join("sluice.yaml");
    std::fs::write(&own, &imported).unwrap();
    let (said, code) = sluice(&["check"], &own).await;
    assert_eq!(code, Some(1), "{said}");
}

#[tokio::test]
async fn the_binary_runs_a_collectors_file() {
    let up = sinks::recording().await;
    let yaml = file(
        &[("up", &up)],
        "service: { pipelines: { logs: { receivers: [otlp], exporters: [otlphttp/up] } } }\n",
    );
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    sluice.accept(Signal::Logs, log(&[], "1")).await;
    up.records(1).await;
}

#[tokio::test]
async fn explain_takes_headers_and_shows_none_of_their_values() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sluice.yaml");
    let config = "receivers: { otlp: { protocols: { http: } } }\nexporters: { nop: }\n\
                  routes: [{ name: a, match: { request: { X-Tenant: acme } }, key: { org: { request: X-Org } }, exporters: [nop] }]\n";
    std::fs::write(&path, config).unwrap();
    let payload = directory.path().join("logs.pb");
    std::fs::write(&payload, log(&[], "1")).unwrap();
    let payload = payload.to_str().unwrap();
    let explain = async |headers: &[&str]| {
        let mut args = vec!["explain", "--payload", payload];
        for header in headers {
            args.extend(["--header", header]);
        }
        sluice(&args, &path).await.0
    };
    let without = explain(&[]).await;
    assert!(
        without.contains(
            "route `a` does not take it: the header `x-tenant` of the request is absent, which does not match"
        ),
        "{without}"
    );
    let other = explain(&["X-Tenant: s3cret"]).await;
    assert!(
        other.contains("the header `x-tenant` of the request does not match") && !other.contains("s3cret"),
        "{other}"
    );
    let taken = explain(&["x-tenant:acme", "X-Org: o1"]).await;
    assert!(taken.contains("route `a`: stream `o1` of exporter `nop`\n    nowhere"), "{taken}");
}
