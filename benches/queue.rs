//! From a split request to the queues: routing its entry and enqueueing it, with consumers that settle every batch at
//! once; and beside that, counting which way it went.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice::otlp::{self, Entry, Signal};
use sluice::receive::{FlowPaths, FlowVolume, RequestFlow};
use sluice::route::{
    EntryOrigin, Glob, Hit, KeySource, KeySpec, Matcher, RouteSpec, RouteTable, Unroutable, Unrouted,
};
use sluice::stream::{
    Admission, BatchSettings, Budget, EngineState, InFlight, Outlet, Placement, QueueSettings, Registry,
    Reservation, Stream, StreamCount, StreamName, WhenFull,
};
use tokio::runtime::Handle;

mod samples;

const SIZES: [(&str, usize); 3] = [("0.4 kB", 400), ("3 kB", 3_000), ("100 kB", 100_000)];

/// Takes batches and forgets them.
#[derive(Debug)]
struct Nowhere(Handle);

impl Outlet<Stream> for Nowhere {
    fn check(&self, _: &StreamName) -> Result<(), String> {
        Ok(())
    }

    fn count_lost(&self, _: &StreamName, _: u64) {}

    fn count_withdrawn(&self, _: &StreamName, _: u64) {}

    fn start(&self, stream: Arc<Stream>) {
        self.0.spawn(async move {
            while let Some(batch) = InFlight::take(&stream) {
                drop(batch);
            }
        });
    }
}

/// Keys on resources alone.
fn routes() -> RouteTable {
    table(None)
}

/// Keys on this attribute of records, or else on resources.
fn routes_by_record(attribute: &str) -> RouteTable {
    table(Some(attribute))
}

fn table(of_records: Option<&str>) -> RouteTable {
    RouteTable::new(specs(of_records), Unrouted::Reject { whole_as_error: false })
}

fn specs(of_records: Option<&str>) -> Vec<RouteSpec> {
    // Two routes that miss before the one that takes the entry, as in the default configuration.
    let route = |attribute: &str| RouteSpec {
        name: attribute.to_owned(),
        matches: vec![(attribute.to_owned(), Matcher::Glob(Glob::new("*")))],
        record_matches: Vec::new(),
        record_alone_matches: Vec::new(),
        request_matches: Vec::new(),
        signals: [true; 3],
        tenants: None,
        receivers: None,
        key: KeySpec::One(match of_records {
            None => KeySource::Attributes(vec![attribute.to_owned()]),
            Some(record) => {
                KeySource::Records { record: vec![record.to_owned()], resource: vec![attribute.to_owned()] }
            }
        }),
        edits: Vec::new(),
        exporters: vec![0],
        continues: false,
        max_streams: None,
    };
    ["s2.stream", "highlight.project_id", "service.name"].map(route).to_vec()
}

fn registry(handle: &Handle) -> Arc<Registry> {
    let batch =
        BatchSettings { flush_timeout: Duration::from_millis(50), min_size: 256 << 10, max_size: 512 << 10 };
    let settings = QueueSettings {
        enabled: true,
        num_consumers: 1,
        queue_bytes: 1 << 40,
        queue_requests: None,
        when_full: WhenFull::Refuse,
        batch,
    };
    let shared = EngineState::new(Arc::new(Budget::new(1 << 40)), Arc::new(StreamCount::new(1000)), None);
    let registry = Arc::new(Registry::new("bench".into(), settings, Arc::new(shared)));
    registry.attach(Box::new(Nowhere(handle.clone())));
    registry
}

fn queue(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the system has threads");
    let _entered = runtime.enter();
    let registry = registry(runtime.handle());
    // Records have no `s2.stream`, all the same method, and each a path of its own.
    let tables = [
        ("", routes()),
        (", records looked at that have nothing", routes_by_record("s2.stream")),
        (", records that agree", routes_by_record("http.request.method")),
        (", records that differ", routes_by_record("url.path")),
    ];
    let mut group = criterion.benchmark_group("route and enqueue");
    for (size, bytes) in SIZES {
        let request = samples::request(Signal::Logs, bytes);
        let split = otlp::split(Signal::Logs, &request).expect("samples are well-formed");
        group.throughput(Throughput::Bytes(request.len() as u64));
        for (what, routes) in &tables {
            group.bench_function(format!("{size}{what}"), |bencher| {
                bencher.iter(|| route_and_enqueue(routes, &registry, &split.entries));
            });
        }
    }
    group.finish();
}

fn route_and_enqueue(routes: &RouteTable, registry: &Arc<Registry>, entries: &[Entry<'_>]) {
    let mut admission = Admission::new(Signal::Logs, Reservation::empty(registry.shared().budget.clone()), 0);
    let (mut scratch, origin) = (String::new(), EntryOrigin::default());
    let mut position = 0;
    for entry in entries {
        let parts = routes.partition(Signal::Logs, entry, &origin, &mut |_| true).expect("there is room");
        for part in parts.as_deref().unwrap_or(std::slice::from_ref(entry)) {
            let place = |hit: Hit<'_>| {
                let at = Placement { registry, key: hit.key, route: None };
                admission.place(position, &part.bytes, part.records, &at).expect("there is room");
                Ok(())
            };
            let routed =
                routes.route::<Unroutable>(Signal::Logs, part, &origin, &mut scratch, place, |_, _| {});
            assert_eq!(routed, Ok(true));
            position += 1;
        }
    }
    black_box(admission.commit()).expect("there is room");
}

/// What a request pays for the flow that the dashboard shows, whoever looks.
fn flow(criterion: &mut Criterion) {
    let (specs, receivers) = (specs(None), ["otlp/http", "otlp/grpc"].map(Arc::from).to_vec());
    let paths = FlowPaths::new(&Arc::default(), receivers, &specs, vec!["bench".into()]);
    let mut group = criterion.benchmark_group("count the flow");
    for entries in [1, 10, 100] {
        group.bench_function(format!("{entries} entries"), |bencher| {
            bencher.iter(|| {
                let mut flow = RequestFlow::default();
                for entry in 0..entries {
                    let volume = FlowVolume { records: 38, bytes: 11_000 };
                    flow.add(black_box(entry % 3), 0, false, volume);
                }
                paths.count(black_box("otlp/grpc"), &flow);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, queue, flow);
criterion_main!(benches);
