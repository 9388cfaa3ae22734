//! Whole files of a Collector in a real one, and as they are in Sluice: both get the same requests, and what comes out at each
//! exporter is compared. A file is in `whole_files`; addresses in it stand for others, which each program is given.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use proptest::sample::select;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;
use sluice::cli::sink::Sink;
use sluice::otlp::{self, Signal};
use sluice::run::Role;

use crate::collector::Collector;
use crate::decoded::Decoded;
use crate::messages;
use crate::support::sinks::{self, Received as _};
use crate::support::{Sluice, grpc, http};

/// Requests that both programs get.
const REQUESTS: usize = 300;

/// Where receivers listen by the files: one by HTTP, one by gRPC, and another one by HTTP.
const LISTENERS: [&str; 3] = ["localhost:4318", "localhost:4317", "localhost:5318"];

/// The endpoint of all exporters, each of which has a path of its own there.
const UPSTREAM: &str = "http://upstream.test";

/// Attributes of resources for which files ask, and what they may be. An empty text means that there is no such attribute.
const OF_RESOURCES: [(&str, &[&str]); 6] = [
    ("tenant", &["acme", "globex", "initech", "acme-labs", ""]),
    ("region", &["eu-west-1", "eu-north-2", "us-east-1", ""]),
    ("deployment.environment", &["production", "staging", "development", ""]),
    ("service.name", &["checkout", "cart", "search", ""]),
    ("shard", &["1", "2", "3", ""]),
    ("canary", &["true", "false", ""]),
];

/// The same of records. None is called like one of resources, since a record has those of its resource in Sluice's conditions.
const OF_RECORDS: [(&str, &[&str]); 4] = [
    ("level", &["debug", "info", "error", ""]),
    ("http.route", &["/health", "/cart/7", "/pay", ""]),
    ("tier", &["1", "2", ""]),
    ("retried", &["true", "false", ""]),
];

/// Headers of requests.
const OF_REQUESTS: [(&str, &[&str]); 2] =
    [("x-tenant", &["acme", "globex", "initech", ""]), ("x-debug", &["on", "off", ""])];

/// What is sent, and how.
struct Request {
    signal: Signal,
    body: Vec<u8>,
    headers: Vec<(&'static str, &'static str)>,
    /// Which of [`LISTENERS`] it is sent to.
    listener: usize,
}

/// What came out: for each exporter and signal the records in the order in which they came, each in a request of its own.
type Streams = BTreeMap<String, Vec<Decoded>>;

/// The same file gives the same requests.
fn requests(listeners: &[usize]) -> Vec<Request> {
    let mut runner = TestRunner::deterministic();
    let mut number = 0;
    let request = |position: usize| {
        let signal = Signal::ALL[position % Signal::ALL.len()];
        let message = messages::request(signal)
            .prop_filter("there are records", move |request| otlp::count_request(signal, request) > 0);
        let body = drawn(&mut runner, message);
        let mut message = Decoded::of(signal, &body).comparable();
        message.each_resource(|attributes| draw_attributes(&mut runner, &OF_RESOURCES, attributes));
        message.each_record(|attributes, time| {
            draw_attributes(&mut runner, &OF_RECORDS, attributes);
            number += 1;
            *time = number;
        });
        let headers = OF_REQUESTS.map(|(name, values)| (name, drawn(&mut runner, select(values))));
        Request {
            signal,
            body: message.encoded(),
            headers: headers.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            listener: drawn(&mut runner, select(listeners.to_vec())),
        }
    };
    (0..REQUESTS).map(request).collect()
}

fn drawn<T>(runner: &mut TestRunner, strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).expect("there is a value").current()
}

/// Gives each attribute one of its values.
fn draw_attributes(runner: &mut TestRunner, all: &[(&str, &'static [&'static str])], to: &mut Vec<KeyValue>) {
    for (key, values) in all {
        to.retain(|pair| pair.key != *key);
        let text = drawn(runner, select(*values));
        let value = match (text.parse(), text.parse()) {
            (Ok(number), _) => Value::IntValue(number),
            (_, Ok(flag)) => Value::BoolValue(flag),
            _ => Value::StringValue(text.to_owned()),
        };
        if !text.is_empty() {
            let value = Some(AnyValue { value: Some(value) });
            to.push(KeyValue { key: (*key).to_owned(), value, ..KeyValue::default() });
        }
    }
}

impl Request {
    /// Sends it to one of these addresses, and waits for its answer. What nothing takes is still answered by success.
    async fn send(&self, addresses: &[SocketAddr]) {
        let to = addresses[self.listener];
        if LISTENERS[self.listener].ends_with(":4317") {
            let call = grpc::framed(0, &self.body);
            let reply = grpc::call(to, grpc::export(self.signal), &self.headers, call).await;
            assert_eq!(reply.code(), tonic::Code::Ok, "{}", reply.message());
        } else {
            let mut headers = vec![("content-type", "application/x-protobuf")];
            headers.extend(&self.headers);
            let answer = http::send(to, "POST", self.signal.path(), &headers, self.body.clone().into()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
}

/// The file for a program that listens at these addresses and sends to this upstream.
fn filled(file: &str, addresses: &[SocketAddr], upstream: &Sink) -> String {
    let file = file.replace(UPSTREAM, &upstream.url());
    let pairs = LISTENERS.into_iter().zip(addresses);
    pairs.fold(file, |file, (written, address)| file.replace(written, &address.to_string()))
}

async fn through_a_collector(file: &str, requests: &[Request]) -> Streams {
    let upstream = sinks::recording().await;
    let config = |addresses: &[SocketAddr]| filled(file, addresses, &upstream);
    let collector = Collector::start_listening(LISTENERS.len(), config).await;
    for request in requests {
        request.send(collector.addresses()).await;
    }
    collector.assert_content();
    // It sends what it has queued before it ends.
    collector.end().await;
    streams(&upstream)
}

async fn through_sluice(file: &str, requests: &[Request]) -> Streams {
    let upstream = sinks::recording().await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let sluice = Sluice::start(&filled(file, &[any; LISTENERS.len()], &upstream)).await;
    let [http, grpc] =
        [sluice.router().addresses(Role::Otlp).await, sluice.router().addresses(Role::OtlpGrpc).await];
    let (mut http, mut grpc) = (http.into_iter(), grpc.into_iter());
    let addresses = LISTENERS.map(|written| {
        let next = if written.ends_with(":4317") { grpc.next() } else { http.next() };
        next.filter(|_| file.contains(written)).unwrap_or(any)
    });
    for request in requests {
        request.send(&addresses).await;
    }
    sluice.settled().await;
    streams(&upstream)
}

fn streams(upstream: &Sink) -> Streams {
    let mut streams = Streams::new();
    for request in upstream.taken() {
        let signal = Signal::ALL.into_iter().find(|signal| request.path.ends_with(signal.path()));
        let signal = signal.expect("exporters send to the paths of signals");
        let message = Decoded::of(signal, &request.body).canonical();
        streams.entry(request.path).or_default().extend(message.records());
    }
    streams
}

/// Each record as text, in an order that depends on them alone.
fn sorted(records: &[Decoded]) -> Vec<String> {
    let mut all: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
    all.sort();
    all
}

async fn assert_same(file: &str) {
    let written = |position: &usize| file.contains(LISTENERS[*position]);
    let listeners: Vec<usize> = (0..LISTENERS.len()).filter(written).collect();
    let requests = requests(&listeners);
    let expected = through_a_collector(file, &requests).await;
    let found = through_sluice(file, &requests).await;

    let exporters = |streams: &Streams| -> BTreeSet<String> { streams.keys().cloned().collect() };
    assert_eq!(exporters(&found), exporters(&expected));
    for part in file.split(UPSTREAM).skip(1) {
        let exporter = part.split('"').next().unwrap();
        let is_used = |path: &String| path.starts_with(&format!("{exporter}/v1/"));
        assert!(expected.keys().any(is_used), "{exporter} gets nothing, so that nothing is compared");
    }
    for (path, mut records) in found {
        let (ours, theirs) = (sorted(&records), sorted(&expected[&path]));
        for (position, (one, other)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(one, other, "{path}, the record at {position}");
        }
        assert_eq!(ours.len(), theirs.len(), "{path}");
        let mut last = 0;
        for record in &mut records {
            record.each_record(|_, number| {
                assert!(*number > last, "{path}: {number} comes behind {last}");
                last = *number;
            });
        }
    }
}

macro_rules! whole_files {
    ($($claim:ident: $file:literal;)*) => {
        $(
            #[tokio::test]
            async fn $claim() {
                assert_same(include_str!(concat!("whole_files/", $file))).await;
            }
        )*
    };
}

whole_files! {
    a_file_that_routes_by_tenant_does_as_in_a_collector: "by_tenant.yaml";
    a_file_that_combines_conditions_does_as_in_a_collector: "and_or_not.yaml";
    a_file_that_routes_by_patterns_does_as_in_a_collector: "patterns.yaml";
    a_file_that_copies_to_pipelines_does_as_in_a_collector: "copies.yaml";
    a_file_that_routes_records_does_as_in_a_collector: "records.yaml";
    a_file_that_routes_by_headers_does_as_in_a_collector: "headers.yaml";
    a_file_that_joins_receivers_does_as_in_a_collector: "forward.yaml";
    a_file_that_edits_does_as_in_a_collector: "edits.yaml";
    a_file_of_many_pipelines_and_exporters_does_as_in_a_collector: "fan_out.yaml";
    a_file_of_connectors_behind_each_other_does_as_in_a_collector: "chained.yaml";
}
