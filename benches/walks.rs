//! The walks over encoded requests, against decoding them with prost.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice::otlp::{
    self, Edit, EditAction, EditKeys, EditMemory, EditedPart, NewValue, NoTexts, Signal, ValueSource,
    WriteWhere,
};
use sluice::query::{Query, QuerySet, QuerySight, RecordOrigin};

#[path = "samples/backwards.rs"]
mod backwards;
mod samples;

const SIZES: [(&str, usize); 3] = [("3 kB", 3_000), ("100 kB", 100_000), ("1 MB", 1_000_000)];

fn walks(criterion: &mut Criterion) {
    for signal in Signal::ALL {
        for (size, bytes) in SIZES {
            let request = samples::request(signal, bytes);
            let mut group = criterion.benchmark_group(format!("{signal}/{size}"));
            group.throughput(Throughput::Bytes(request.len() as u64));
            group.bench_function("validate", |bencher| {
                bencher.iter(|| otlp::validate(signal, black_box(&request)).expect("samples are valid"));
            });
            group.bench_function("split", |bencher| {
                bencher.iter(|| otlp::split(signal, black_box(&request)).expect("samples are well-formed"));
            });
            let backwards = backwards::backwards(signal, &request);
            group.bench_function("validate, from a Collector", |bencher| {
                bencher.iter(|| otlp::validate(signal, black_box(&backwards)).expect("samples are valid"));
            });
            group.bench_function("split, from a Collector", |bencher| {
                bencher.iter(|| otlp::split(signal, black_box(&backwards)).expect("samples are well-formed"));
            });
            for (name, edit) in edits() {
                let entries = otlp::split(signal, &request).expect("samples are well-formed").entries;
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        for entry in &entries {
                            let mut room = |_| true;
                            let mut memory = EditMemory::new(&mut room);
                            let edited = edit.apply(signal, black_box(&entry.bytes), &NoTexts, &mut memory);
                            black_box(edited.expect("there is room").expect("samples have what is edited"));
                        }
                    });
                });
            }
            for (name, queries) in watched() {
                let set = QuerySet::new(&queries);
                let streams = [("up", "orders")];
                let origin = RecordOrigin { signal, tenant: Some("acme"), streams: &streams, admitted: 1 };
                let entries = otlp::split(signal, &request).expect("samples are well-formed").entries;
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        let mut found = 0;
                        for entry in &entries {
                            let sight = QuerySight::EVERYTHING;
                            set.evaluate(&origin, black_box(&entry.bytes), &sight, &mut |_, _| found += 1);
                        }
                        found
                    });
                });
            }
            let mut json = Vec::new();
            group.bench_function("write JSON", |bencher| {
                bencher.iter(|| {
                    json.clear();
                    otlp::write_request(signal, &[black_box(&request)], &mut json);
                });
            });
            let mut json = Vec::new();
            otlp::write_request(signal, &[&request], &mut json);
            group.throughput(Throughput::Bytes(json.len() as u64));
            group.bench_function("read JSON", |bencher| {
                bencher.iter(|| otlp::read_request(signal, black_box(&json), &mut |_| true).expect("JSON"));
            });
            group.bench_function("serde read JSON", |bencher| {
                bencher.iter(|| serde_read(signal, black_box(&json)));
            });
            group.bench_function("serde read JSON, prost encode", |bencher| {
                bencher.iter(|| serde_read_prost_encode(signal, black_box(&json)));
            });
            group.throughput(Throughput::Bytes(request.len() as u64));
            group.bench_function("prost decode, serde write JSON", |bencher| {
                bencher.iter(|| prost_decode_serde_write(signal, black_box(&request)));
            });
            group.bench_function("prost decode", |bencher| {
                bencher.iter(|| prost_decode(signal, black_box(&request)));
            });
            group.finish();
        }
    }
}

/// What watches look for. None of the samples matches but where that is said.
fn watched() -> Vec<(&'static str, Vec<Query>)> {
    let parsed = |texts: &[&str]| {
        texts.iter().map(|text| Query::parse(text).expect("it is a query")).collect::<Vec<_>>()
    };
    let ten: Vec<String> = (0..10).map(|n| format!("level:error service:s{n} status:>=50{n}")).collect();
    let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
    vec![
        ("watch, of another tenant", parsed(&["tenant:globex level:error"])),
        ("watch, of another service by its resource", parsed(&["resource.service.name:api level:error"])),
        ("watch, level:error service:api", parsed(&["level:error service:api"])),
        ("watch, status:>=500", parsed(&["status:>=500"])),
        ("watch, a text in the body", parsed(&["\"connection refused\""])),
        ("watches, ten by level, service and status", parsed(&ten)),
        ("watch, everything matches", parsed(&["service:orders"])),
    ]
}

/// What a processor of a route does.
fn edits() -> [(&'static str, Edit); 5] {
    /// It is in each record of the samples.
    const KEY: &str = "http.request.method";
    let write = |key: &str| EditAction::Write {
        key: key.to_owned(),
        place: WriteWhere::Anywhere,
        source: Some(ValueSource::Value(NewValue::text("[redacted]"))),
        default: None,
    };
    let keys = || EditKeys { key: Some(KEY.to_owned()), pattern: None };
    let records = || EditedPart::Records { events: false, include: None, exclude: None };
    let edit = |action, of| Edit { actions: vec![action], of };
    [
        (
            "edit, upsert of a resource attribute",
            edit(write("deployment.environment.name"), EditedPart::Resource),
        ),
        ("edit, upsert of a new record attribute", edit(write("deployment.environment.name"), records())),
        ("edit, delete of a record attribute", edit(EditAction::Delete(keys()), records())),
        ("edit, update of a record attribute", edit(write(KEY), records())),
        ("edit, hash of a record attribute", edit(EditAction::Hash(keys()), records())),
    ]
}

fn prost_decode(signal: Signal, request: &[u8]) {
    match signal {
        Signal::Traces => drop(black_box(ExportTraceServiceRequest::decode(request))),
        Signal::Metrics => drop(black_box(ExportMetricsServiceRequest::decode(request))),
        Signal::Logs => drop(black_box(ExportLogsServiceRequest::decode(request))),
    }
}

fn serde_read(signal: Signal, json: &[u8]) {
    match signal {
        Signal::Traces => drop(black_box(from_json::<ExportTraceServiceRequest>(json))),
        Signal::Metrics => drop(black_box(from_json::<ExportMetricsServiceRequest>(json))),
        Signal::Logs => drop(black_box(from_json::<ExportLogsServiceRequest>(json))),
    }
}

fn serde_read_prost_encode(signal: Signal, json: &[u8]) -> Vec<u8> {
    match signal {
        Signal::Traces => from_json::<ExportTraceServiceRequest>(json).encode_to_vec(),
        Signal::Metrics => from_json::<ExportMetricsServiceRequest>(json).encode_to_vec(),
        Signal::Logs => from_json::<ExportLogsServiceRequest>(json).encode_to_vec(),
    }
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> T {
    serde_json::from_slice(json).expect("samples are what serde reads")
}

fn prost_decode_serde_write(signal: Signal, request: &[u8]) -> Vec<u8> {
    match signal {
        Signal::Traces => to_json(ExportTraceServiceRequest::decode(request)),
        Signal::Metrics => to_json(ExportMetricsServiceRequest::decode(request)),
        Signal::Logs => to_json(ExportLogsServiceRequest::decode(request)),
    }
}

fn to_json<T: Serialize>(decoded: Result<T, prost::DecodeError>) -> Vec<u8> {
    serde_json::to_vec(&decoded.expect("samples are valid")).expect("messages have string keys")
}

criterion_group!(benches, walks);
criterion_main!(benches);
