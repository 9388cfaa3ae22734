//! The walks over encoded requests, against decoding them with prost.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use sluice::otlp::{self, Signal};

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
            let mut json = Vec::new();
            group.bench_function("write JSON", |bencher| {
                bencher.iter(|| {
                    json.clear();
                    otlp::write_request(signal, &[black_box(&request)], &mut json);
                });
            });
            group.bench_function("prost decode", |bencher| {
                bencher.iter(|| prost_decode(signal, black_box(&request)));
            });
            group.finish();
        }
    }
}

fn prost_decode(signal: Signal, request: &[u8]) {
    match signal {
        Signal::Traces => drop(black_box(ExportTraceServiceRequest::decode(request))),
        Signal::Metrics => drop(black_box(ExportMetricsServiceRequest::decode(request))),
        Signal::Logs => drop(black_box(ExportLogsServiceRequest::decode(request))),
    }
}

criterion_group!(benches, walks);
criterion_main!(benches);
