//! What a sink says about the order of what it gets, and how it reads it.

use std::io::Write;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, metric::Data,
};
use prost::Message;
use rig::sink::{Counts, Sink, SinkSettings};
use sluice::otlp::Signal;

use crate::raw::{numbered, post, post_with, text};

async fn sink() -> Sink {
    Sink::start(SinkSettings::default()).await.expect("a free port")
}

async fn counts_after(requests: &[Vec<u8>]) -> Counts {
    let sink = sink().await;
    for request in requests {
        assert_eq!(post(&sink, request).await.status(), 200);
    }
    sink.counts()
}

#[tokio::test]
async fn records_in_order_are_in_order() {
    let counts = counts_after(&[numbered("a", &[0, 1]), numbered("a", &[2, 3]), numbered("b", &[0])]).await;
    assert!(counts.in_order());
    assert_eq!((counts.records, counts.entries, counts.streams, counts.duplicates), (5, 3, 2, 0));
}

#[tokio::test]
async fn a_swapped_pair_is_found() {
    let counts = counts_after(&[numbered("a", &[0, 2]), numbered("a", &[1])]).await;
    assert!(!counts.in_order());
    assert_eq!((counts.reordered, counts.missing, counts.duplicates), (1, 0, 0));
}

#[tokio::test]
async fn a_duplicate_is_found_and_is_no_disorder() {
    let counts = counts_after(&[numbered("a", &[0, 1]), numbered("a", &[0, 1, 2])]).await;
    assert!(counts.in_order());
    assert_eq!((counts.reordered, counts.missing, counts.duplicates), (0, 0, 2));
}

#[tokio::test]
async fn a_missing_record_is_found() {
    let counts = counts_after(&[numbered("a", &[0, 1, 4])]).await;
    assert!(!counts.in_order());
    assert_eq!((counts.reordered, counts.missing, counts.duplicates), (0, 2, 0));
}

#[tokio::test]
async fn a_number_in_another_stream_is_another_sequence() {
    let sink = sink().await;
    post(&sink, &numbered("a", &[0, 1])).await;
    post(&sink, &numbered("b", &[1])).await;
    assert_eq!(sink.stream(Signal::Logs, "a").missing, 0);
    assert_eq!(sink.stream(Signal::Logs, "b").missing, 1);
    assert_eq!(sink.streams(Signal::Logs).len(), 2);
    assert!(sink.streams(Signal::Traces).is_empty());
}

#[tokio::test]
async fn records_of_other_senders_are_counted_without_order() {
    let counts = counts_after(&[text("a", "hello")]).await;
    assert_eq!((counts.records, counts.unnumbered, counts.in_order()), (1, 1, true));
    assert_eq!(counts.unnamed, 0);
}

#[tokio::test]
async fn every_kind_of_data_point_is_a_record() {
    let metric = |data| Metric { data: Some(data), ..Metric::default() };
    let number = || vec![NumberDataPoint::default(); 2];
    let kinds = [
        Data::Gauge(Gauge { data_points: number() }),
        Data::Sum(Sum { data_points: number(), ..Sum::default() }),
        Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint::default()],
            ..Histogram::default()
        }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![ExponentialHistogramDataPoint::default()],
            ..ExponentialHistogram::default()
        }),
        Data::Summary(Summary { data_points: vec![SummaryDataPoint::default()] }),
    ];
    let scope = ScopeMetrics { metrics: kinds.map(metric).to_vec(), ..ScopeMetrics::default() };
    let entry = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    let request = ExportMetricsServiceRequest { resource_metrics: vec![entry] }.encode_to_vec();

    let sink = sink().await;
    let answer =
        post_with(&sink, "POST /v1/metrics", "Content-Type: application/x-protobuf\r\n", &request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!((sink.counts().records, sink.counts().unnamed), (7, 7));
    assert_eq!(
        sink.stream(Signal::Metrics, "").records,
        7,
        "an entry without the attribute has the empty key"
    );
}

#[tokio::test]
async fn bodies_are_read_in_every_encoding() {
    let body = numbered("a", &[0, 1, 2]);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::bulk::compress(&body, 1).unwrap();
    for (encoding, wire) in [("identity", body.clone()), ("gzip", gzip), ("deflate", deflate), ("zstd", zstd)]
    {
        let sink = sink().await;
        let headers = format!("Content-Type: application/x-protobuf\r\nContent-Encoding: {encoding}\r\n");
        assert_eq!(post_with(&sink, "POST /v1/logs", &headers, &wire).await.status(), 200, "{encoding}");
        let counts = sink.counts();
        assert_eq!((counts.records, counts.bytes), (3, body.len() as u64), "{encoding}");
        assert_eq!(counts.wire_bytes, wire.len() as u64, "{encoding}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_not_counted() {
    let sink = sink().await;
    let protobuf = "Content-Type: application/x-protobuf\r\n";
    let body = numbered("a", &[0]);
    let refused = [
        ("POST /v1/other", protobuf.to_owned(), &body[..], 404),
        ("GET /v1/logs", protobuf.to_owned(), &body[..], 405),
        ("POST /v1/logs", "Content-Type: text/plain\r\n".to_owned(), &body[..], 415),
        ("POST /v1/logs", "Content-Type: application/json\r\n".to_owned(), &body[..], 400),
        ("POST /v1/logs", format!("{protobuf}Content-Encoding: br\r\n"), &body[..], 415),
        ("POST /v1/logs", format!("{protobuf}Content-Encoding: gzip\r\n"), &body[..], 400),
        ("POST /v1/logs", protobuf.to_owned(), &body[..body.len() - 1], 400),
    ];
    for (line, headers, body, status) in refused {
        assert_eq!(post_with(&sink, line, &headers, body).await.status(), status, "{line} {headers}");
    }
    let counts = sink.counts();
    assert_eq!((counts.requests, counts.refused, counts.malformed), (7, 7, 1));
    assert_eq!((counts.accepted, counts.records), (0, 0));
}

#[tokio::test]
async fn recorded_requests_show_what_came() {
    let settings = SinkSettings { record_requests: true, ..SinkSettings::default() };
    let sink = Sink::start(settings).await.unwrap();
    let body = numbered("a", &[0]);
    let wire = zstd::bulk::compress(&body, 1).unwrap();
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: zstd\r\nX-Tenant: seven\r\n";
    post_with(&sink, "POST /prefix/v1/logs?x=1", headers, &wire).await;

    let requests = sink.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/prefix/v1/logs?x=1"));
    assert_eq!(request.headers["x-tenant"], "seven");
    assert_eq!((&request.body[..], &request.wire_body[..]), (&body[..], &wire[..]));
    assert_eq!(request.answered.unwrap(), 200);
}
