//! Whole files of a Collector in a real one, and as they are in Sluice: both get the same requests, and what comes out at each
//! exporter is compared. A file is in `whole_files`; addresses in it stand for others, which each program is given.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use proptest::sample::select;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;
use rig::sink::{RecordedRequest, Sink};
use sluice::otlp::{self, Signal};
use sluice::run::Role;

use crate::collector::Collector;
use crate::decoded::Decoded;
use crate::messages;
use crate::support::sinks::{self, Received as _};
use crate::support::{Sluice, grpc, http};

/// Requests that both programs get.
const REQUESTS: usize = 300;

/// Records have numbers in the order in which they are sent, in place of their times: so many are there for each request.
const NUMBERS: u64 = 1000;

/// Where receivers listen by the files: one by HTTP, one by gRPC, and another one by HTTP.
const LISTENERS: [&str; 3] = ["localhost:4318", "localhost:4317", "localhost:5318"];

/// The endpoint of all exporters, each of which has a path of its own there.
const UPSTREAM: &str = "http://upstream.test";

/// The header that tells the stream of what Sluice sends.
const STREAM: &str = "x-stream";

/// Attributes of resources for which files ask, and what they may be, as [`value_of`] reads it. An empty text means that there is no
/// such attribute.
const OF_RESOURCES: [(&str, &[&str]); 6] = [
    ("tenant", &["acme", "globex", "initech", "acme-labs", ""]),
    ("region", &["eu-west-1", "eu-north-2", "us-east-1", ""]),
    ("deployment.environment", &["production", "staging", "development", "''", ""]),
    ("service.name", &["checkout", "cart", "search", "[]", ""]),
    ("shard", &["1", "2", "3", "1.0", "'1'", ""]),
    ("canary", &["true", "false", "'true'", ""]),
];

/// The same of records, and of what they stand in and of what stands in them: of each with a value of its own.
const OF_RECORDS: [(&str, &[&str]); 4] = [
    ("level", &["debug", "info", "error", "''", "long", "bytes", "no bytes", ""]),
    ("http.route", &["/health", "/cart/7", "/pay", ""]),
    ("tier", &["1", "2", "1.0", "1.5", "'1'", "[]", ""]),
    ("retried", &["true", "false", "'true'", "empty", ""]),
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

/// A request in which something came out.
struct Delivery {
    /// The path of the exporter, with the signal's.
    path: String,
    /// Which of Sluice's streams it belongs to; a Collector has none.
    stream: Option<String>,
    /// What is in it, each record in a message of its own.
    records: Vec<Decoded>,
}

/// Requests for what the file takes, always the same.
fn requests(file: &str) -> Vec<Request> {
    let listeners: Vec<usize> = (0..LISTENERS.len()).filter(|&at| file.contains(LISTENERS[at])).collect();
    // A Collector has no path for a signal that comes to no pipeline.
    let is_taken = |signal: &Signal| {
        let comes_in =
            |line: &str| line.contains("receivers: [otlp") && line.trim_start().starts_with(signal.name());
        file.lines().any(comes_in)
    };
    let signals: Vec<Signal> = Signal::ALL.into_iter().filter(is_taken).collect();
    let mut runner = TestRunner::deterministic();
    let request = |position: usize| {
        let signal = signals[position % signals.len()];
        let message = messages::request(signal)
            .prop_filter("there are records", move |request| otlp::count_request(signal, request) > 0);
        let body = drawn(&mut runner, message);
        let mut message = Decoded::of(signal, &body).comparable();
        // The Collector's connector loses it where it divides metrics by their data points.
        if file.contains("context: datapoint") {
            message = message.without_metadata();
        }
        message.each_resource(|attributes| draw_attributes(&mut runner, &OF_RESOURCES, attributes));
        message.each_beside_records(|attributes| draw_attributes(&mut runner, &OF_RECORDS, attributes));
        let mut number = position as u64 * NUMBERS;
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
            listener: drawn(&mut runner, select(listeners.clone())),
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
        if !text.is_empty() {
            let value = Some(AnyValue { value: value_of(text) });
            to.push(KeyValue { key: (*key).to_owned(), value, ..KeyValue::default() });
        }
    }
}

/// A number or a boolean; in single quotes, a text that could be one; a value of another type by its name; else a text.
fn value_of(text: &str) -> Option<Value> {
    Some(match (text, text.parse(), text.parse(), text.parse()) {
        ("empty", ..) => return None,
        ("[]", ..) => Value::ArrayValue(ArrayValue::default()),
        ("bytes", ..) => Value::BytesValue(b"bytes".to_vec()),
        ("no bytes", ..) => Value::BytesValue(Vec::new()),
        ("long", ..) => Value::StringValue("long".repeat(200)),
        (_, Ok(number), ..) => Value::IntValue(number),
        (_, _, Ok(number), _) => Value::DoubleValue(number),
        (.., Ok(flag)) => Value::BoolValue(flag),
        _ => Value::StringValue(text.trim_matches('\'').to_owned()),
    })
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

async fn through_a_collector(file: &str, requests: &[Request]) -> Vec<Delivery> {
    let upstream = sinks::recording().await;
    let config = |addresses: &[SocketAddr]| filled(file, addresses, &upstream);
    let collector = Collector::start_listening(LISTENERS.len(), config).await;
    for request in requests {
        request.send(collector.addresses()).await;
    }
    collector.assert_content();
    // It sends what it has queued before it ends.
    collector.end().await;
    deliveries(&upstream)
}

async fn through_sluice(file: &str, requests: &[Request]) -> Vec<Delivery> {
    let upstream = sinks::recording().await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // Requests say which stream they belong to.
    let endpoint = format!("endpoint: \"{UPSTREAM}");
    let file = file.replace(&endpoint, &format!("headers: {{ {STREAM}: \"{{{{ key }}}}\" }}, {endpoint}"));
    let sluice = Sluice::start(&filled(&file, &[any; LISTENERS.len()], &upstream)).await;
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
    deliveries(&upstream)
}

fn deliveries(upstream: &Sink) -> Vec<Delivery> {
    let delivery = |request: RecordedRequest| {
        let signal = Signal::ALL.into_iter().find(|signal| request.path.ends_with(signal.path()));
        let signal = signal.expect("exporters send to the paths of signals");
        Delivery {
            stream: request.headers.get(STREAM).map(|stream| stream.to_str().unwrap().to_owned()),
            records: Decoded::of(signal, &request.body).canonical().records(),
            path: request.path,
        }
    };
    upstream.taken().into_iter().map(delivery).collect()
}

/// What each exporter has sent of each signal: every record as text, in an order that depends on them alone.
fn sorted(deliveries: &[Delivery]) -> BTreeMap<&str, Vec<String>> {
    let mut sorted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for delivery in deliveries {
        let records = delivery.records.iter().map(|record| format!("{record:?}"));
        sorted.entry(&delivery.path).or_default().extend(records);
    }
    for records in sorted.values_mut() {
        records.sort();
    }
    sorted
}

/// Checks that each stream has its requests in the order in which they were sent, and the records of a request in theirs, if
/// they went to the same streams.
fn assert_in_order(deliveries: &[Delivery]) {
    let mut numbered = Vec::new();
    for delivery in deliveries {
        let stream = (&*delivery.path, delivery.stream.as_deref().expect("Sluice tells the stream"));
        for record in &delivery.records {
            record.clone().each_record(|_, number| numbered.push((stream, *number)));
        }
    }
    let mut streams_of: BTreeMap<u64, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for (stream, number) in &numbered {
        streams_of.entry(*number).or_default().insert(*stream);
    }
    let (mut last_request, mut last_record) = (BTreeMap::new(), BTreeMap::new());
    for (stream, number) in numbered {
        let before = last_request.insert(stream, number / NUMBERS).unwrap_or_default();
        assert!(number / NUMBERS >= before, "{stream:?}: {number} comes behind request {before}");
        let before = last_record.insert((stream, &streams_of[&number]), number).unwrap_or_default();
        assert!(number > before, "{stream:?}: {number} comes behind {before}");
    }
}

async fn assert_same(file: &str) {
    let requests = requests(file);
    let from_collector = through_a_collector(file, &requests).await;
    let from_sluice = through_sluice(file, &requests).await;

    let (mut found, expected) = (sorted(&from_sluice), sorted(&from_collector));
    for exporter in file.split(UPSTREAM).skip(1).filter_map(|part| part.split('"').next()) {
        let is_its_own = |path: &&str| path.starts_with(&format!("{exporter}/v1/"));
        assert!(expected.keys().any(is_its_own), "{exporter} gets nothing, so that nothing is compared");
    }
    for (path, theirs) in expected {
        let ours = found.remove(path).unwrap_or_default();
        for (position, (one, other)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(one, other, "{path}, the record at {position}");
        }
        assert_eq!(ours.len(), theirs.len(), "{path}");
    }
    assert!(found.is_empty(), "Sluice alone sends to {:?}", found.keys());
    assert_in_order(&from_sluice);
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
    a_file_that_routes_by_what_stands_on_records_alone_does_as_in_a_collector: "records_alone.yaml";
    a_file_that_routes_by_headers_does_as_in_a_collector: "headers.yaml";
    a_file_that_joins_receivers_does_as_in_a_collector: "forward.yaml";
    a_file_that_edits_does_as_in_a_collector: "edits.yaml";
    a_file_of_many_pipelines_and_exporters_does_as_in_a_collector: "fan_out.yaml";
    a_file_of_connectors_behind_each_other_does_as_in_a_collector: "chained.yaml";
}
