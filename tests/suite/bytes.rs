//! Bytes out = bytes in: what arrives are the entries that were sent, byte for byte, in batches of the configured
//! sizes; only an entry that is larger than a batch may be is split.

use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use prost::Message as _;
use rig::sink::Fault;
use sluice::otlp::Signal;
use tokio::time::Instant;

use crate::support::payload::{
    self, KEY, entries, entry, field, filler, key, logs, request, resource, texts, varint,
};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK};
use crate::support::{PATIENCE, Sluice};

fn batches(settings: &str) -> String {
    format!("sending_queue: {{ batch: {{ {settings} }} }}")
}

/// Never because of its age.
const PATIENT: &str = "flush_timeout: 1h";

async fn start(url: &str, batch: &str) -> Sluice {
    Sluice::start(&yaml::up(url, &[QUICK, &batches(batch)])).await
}

fn own_resource() -> Vec<u8> {
    field(1, resource(&[(KEY, "x"), ("service.name", "ü")]).encode_to_vec())
}

/// A length of more bytes than it needs.
fn long_field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut len = varint(bytes.len() as u64);
    *len.last_mut().unwrap() |= 0x80;
    len.extend([0x80, 0x00]);
    [key(number, 2), len, bytes.to_vec()].concat()
}

#[tokio::test]
async fn entries_arrive_byte_for_byte_however_they_are_encoded() {
    let up = sinks::recording().await;
    let sluice = start(&up.url(), "min_size: 1, flush_timeout: 0s").await;
    let record = [field(5, field(1, "text")), key(1, 1), vec![7; 8]].concat();
    let scope = |records: &[u8]| field(2, [field(1, field(1, "scope")), records.to_vec()].concat());
    let record_out_of_order =
        [field(6, [field(2, field(1, "value")), field(1, "key")].concat()), record.clone()].concat();
    let sent: Vec<(&str, Vec<u8>)> = vec![
        ("ordinary", [own_resource(), scope(&field(2, &record))].concat()),
        ("the resource comes last", [scope(&field(2, &record)), own_resource()].concat()),
        (
            "an unknown field in the entry",
            [own_resource(), field(77, "?"), scope(&field(2, &record))].concat(),
        ),
        (
            "unknown fields of every wire type in a record",
            [
                own_resource(),
                scope(&field(
                    2,
                    [
                        record.clone(),
                        key(200, 0),
                        vec![5],
                        key(201, 1),
                        vec![1; 8],
                        field(202, "?"),
                        key(203, 5),
                        vec![2; 4],
                    ]
                    .concat(),
                )),
            ]
            .concat(),
        ),
        ("fields in another order", [own_resource(), scope(&field(2, &record_out_of_order))].concat()),
        ("lengths of more bytes than they need", [own_resource(), scope(&long_field(2, &record))].concat()),
        (
            "defaults written out",
            [own_resource(), scope(&field(2, [key(2, 0), vec![0], field(3, ""), record.clone()].concat()))]
                .concat(),
        ),
        (
            "a number that is written twice",
            [
                own_resource(),
                scope(&field(2, [key(2, 0), vec![9], key(2, 0), vec![17], record.clone()].concat())),
            ]
            .concat(),
        ),
        (
            "a schema URL between the scopes",
            [
                own_resource(),
                scope(&field(2, &record)),
                field(3, "https://schema"),
                scope(&field(2, &record)),
            ]
            .concat(),
        ),
        ("an empty scope", [own_resource(), field(2, ""), scope(&field(2, &record))].concat()),
    ];
    for (index, (what, entry)) in sent.iter().enumerate() {
        sluice.accept(Signal::Logs, request(&[entry])).await;
        up.wait_for_requests(index as u64 + 1, PATIENCE).await.unwrap();
        assert_eq!(up.bodies(Signal::Logs)[index], request(&[entry]), "{what}");
    }
    sluice.settled().await;
}

#[tokio::test]
async fn packed_and_unpacked_numbers_arrive_as_they_were_sent() {
    let up = sinks::recording().await;
    let sluice = start(&up.url(), "min_size: 1, flush_timeout: 0s").await;
    let histogram = |point: Vec<u8>| {
        let metric = [field(1, "latency"), field(9, field(1, point))].concat();
        [own_resource(), field(2, field(2, metric))].concat()
    };
    let packed = histogram([field(6, [3; 16]), field(7, [0; 8])].concat());
    let unpacked = histogram([key(6, 1), vec![3; 8], key(6, 1), vec![3; 8], key(7, 1), vec![0; 8]].concat());
    sluice.accept(Signal::Metrics, request(&[&packed, &unpacked])).await;
    sluice.settled().await;
    assert_eq!(up.entries(Signal::Metrics), [packed, unpacked]);
}

#[tokio::test]
async fn the_entries_of_a_stream_are_concatenated_and_those_of_others_stay_apart() {
    let up = sinks::recording().await;
    let sent: Vec<Vec<u8>> = (0..9)
        .map(|index| entry(Signal::Traces, ["a", "b", "c"][index % 3], &[&format!("span {index}")]))
        .collect();
    let of = |stream: usize| -> Vec<u8> { request(&sent.iter().skip(stream).step_by(3).collect::<Vec<_>>()) };
    let sluice = start(&up.url(), &format!("min_size: {}, {PATIENT}", of(0).len())).await;
    sluice.accept(Signal::Traces, request(&sent)).await;
    sluice.settled().await;
    let mut bodies = up.bodies(Signal::Traces);
    bodies.sort();
    let mut expected = [of(0), of(1), of(2)];
    expected.sort();
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn no_batch_is_above_max_size_nor_below_min_size_while_there_is_more() {
    const MIN: usize = 4096;
    const MAX: usize = 6000;
    let up = sinks::recording().await;
    let sluice = start(&up.url(), &format!("min_size: {MIN}, max_size: {MAX}, {PATIENT}")).await;
    let mut sent = Vec::new();
    for size in (0..200).map(|index| 50 + 37 * index % 1500) {
        let entry = entry(Signal::Logs, "x", &[&filler("", size)]);
        sluice.accept(Signal::Logs, request(&[&entry])).await;
        sent.push(entry);
    }
    assert!(sluice.shut_down().await.is_empty(), "shutting down sends what is not full");
    assert_eq!(up.entries(Signal::Logs), sent);
    let bodies = up.bodies(Signal::Logs);
    assert!(bodies.iter().all(|body| body.len() <= MAX));
    // A batch but the last is closed below `min_size` only by an entry that would make it too large.
    let mut taken = 0;
    for (index, body) in bodies.iter().enumerate() {
        taken += entries(body).len();
        let next = sent.get(taken).map_or(0, |entry| request(&[entry]).len());
        let last = index + 1 == bodies.len();
        assert!(last || body.len() >= MIN || body.len() + next > MAX, "batch {index}: {} bytes", body.len());
    }
}

#[tokio::test]
async fn a_batch_leaves_when_min_size_is_reached() {
    let up = sinks::recording().await;
    let one = logs(&[("x", &["one"])]);
    let sluice = start(&up.url(), &format!("min_size: {}, {PATIENT}", 3 * one.len())).await;
    for _ in 0..7 {
        sluice.accept(Signal::Logs, one.clone()).await;
    }
    up.wait_for_requests(2, PATIENCE).await.unwrap();
    assert_eq!(up.bodies(Signal::Logs), [one.repeat(3), one.repeat(3)]);
    sluice.wait_for_metric("sluice_pending_records", &[], 1.0).await;
    sluice.assert_conserved().await;
}

#[tokio::test]
async fn a_batch_leaves_when_flush_timeout_has_passed_and_not_before() {
    let up = sinks::recording().await;
    let sluice = start(&up.url(), "flush_timeout: 150ms").await;
    let posted = Instant::now();
    sluice.accept(Signal::Logs, logs(&[("x", &["one"])])).await;
    up.records(1).await;
    let waited = up.requests()[0].arrived - posted;
    assert!(waited >= Duration::from_millis(150), "{waited:?}");
}

#[tokio::test]
async fn an_entry_of_exactly_max_size_is_not_split_and_one_byte_more_is() {
    for (spare, requests) in [(0, 1), (1, 2)] {
        let up = sinks::recording().await;
        let whole = logs(&[("x", &[&filler("1", 500), &filler("2", 500)])]);
        let max = whole.len() - spare;
        let sluice = start(&up.url(), &format!("min_size: 1, max_size: {max}, flush_timeout: 0s")).await;
        sluice.accept(Signal::Logs, whole.clone()).await;
        up.records(2).await;
        sluice.settled().await;
        let bodies = up.bodies(Signal::Logs);
        assert_eq!(bodies.len(), requests);
        if spare == 0 {
            assert_eq!(bodies[0], whole);
        } else {
            let half = |text| logs(&[("x", &[&filler(text, 500)])]);
            assert_eq!(bodies, [half("1"), half("2")]);
        }
    }
}

#[tokio::test]
async fn an_entry_above_max_size_is_split_at_records_and_a_single_record_above_it_goes_alone() {
    const MAX: usize = 1500;
    for signal in Signal::ALL {
        let up = sinks::recording().await;
        let sluice = start(&up.url(), &format!("min_size: 1, max_size: {MAX}, flush_timeout: 0s")).await;
        let sent: Vec<String> =
            (0..30).map(|n| filler(&format!("{n} "), if n == 13 { 4000 } else { 100 + 20 * n })).collect();
        let all: Vec<&str> = sent.iter().map(String::as_str).collect();
        sluice.accept(signal, request(&[entry(signal, "x", &all)])).await;
        up.records(30).await;
        sluice.settled().await;
        assert_eq!(up.texts(signal), sent, "{signal}");
        let (large, small): (Vec<_>, Vec<_>) =
            up.bodies(signal).into_iter().partition(|body| body.len() > MAX);
        assert_eq!(large, [request(&[entry(signal, "x", &[&sent[13]])])], "{signal}");
        assert!(small.len() < 29, "{signal}: pieces are filled");
    }
}

#[tokio::test]
async fn data_points_of_one_metric_are_split_under_copies_of_what_is_above_them() {
    let up = sinks::recording().await;
    let sluice = start(&up.url(), "min_size: 1, max_size: 1000, flush_timeout: 0s").await;
    let sent: Vec<String> = (0..40).map(|n| filler(&format!("{n} "), 60)).collect();
    let all: Vec<&str> = sent.iter().map(String::as_str).collect();
    let whole = entry(Signal::Metrics, "x", &all);
    sluice.accept(Signal::Metrics, request(&[&whole])).await;
    up.records(40).await;
    sluice.settled().await;
    let mut header = ResourceMetrics::decode(&*whole).unwrap();
    header.scope_metrics[0].metrics[0].data = None;
    let pieces = up.entries(Signal::Metrics);
    assert!(pieces.len() > 3);
    for piece in &pieces {
        assert!(request(&[piece]).len() <= 1000);
        let mut decoded = ResourceMetrics::decode(&**piece).unwrap();
        decoded.scope_metrics[0].metrics[0].data = None;
        assert_eq!(decoded, header);
        assert!(!texts(Signal::Metrics, piece).is_empty());
    }
    assert_eq!(up.texts(Signal::Metrics), sent);
}

#[tokio::test]
async fn what_is_compressed_on_the_way_is_the_same_inside() {
    let compressions = ["gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4", "none"];
    for compression in compressions {
        let up = sinks::recording().await;
        let options = format!("endpoint: '{}', compression: {compression}", up.url());
        let config = yaml::exporters(&[("otlp_http/up", options)]) + &yaml::by_stream("otlp_http/up");
        let sluice = Sluice::start(&config).await;
        let sent = logs(&[("x", &[&filler("compressible", 5000)])]);
        sluice.accept(Signal::Logs, sent.clone()).await;
        up.records(1).await;
        let request = &up.taken()[0];
        assert_eq!(request.body, sent, "{compression}");
        let encoding = request.headers.get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(encoding, (compression != "none").then_some(compression));
        assert_eq!(request.wire_body == request.body, compression == "none");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        // Sluice itself takes what it sends.
        let headers: Vec<_> = encoding.map(|encoding| ("content-encoding", encoding)).into_iter().collect();
        let answer = sluice.post_with(Signal::Logs, request.wire_body.clone(), &headers).await;
        assert_eq!((answer.status, answer.partial(Signal::Logs)), (200, None), "{compression}");
        up.records(2).await;
        // One begins as frames do, the other doesn't.
        let frames = request.wire_body.starts_with(b"\xff\x06\0\0sNaPpY");
        assert_eq!(frames, compression == "x-snappy-framed");
    }
}

#[tokio::test]
async fn an_entry_in_pieces_is_one_stream_in_order_with_what_follows_it() {
    let up = sinks::recording().await;
    up.add_fault(Fault::status(503).ratio(0.3));
    let sluice = start(&up.url(), "min_size: 1, max_size: 800, flush_timeout: 0s").await;
    let sent: Vec<String> = (0..60).map(|n| filler(&format!("{n} "), 90)).collect();
    for chunk in sent.chunks(20) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        sluice.accept(Signal::Logs, logs(&[("x", &chunk)])).await;
    }
    up.records(60).await;
    assert_eq!(up.texts(Signal::Logs), sent);
    assert_eq!(payload::entries(&up.bodies(Signal::Logs)[0]).len(), 1);
}
