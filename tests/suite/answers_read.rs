//! How answers of upstreams are read: in whatever form they come, and never more of them than is needed.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use sluice::otlp::Signal;

use crate::support::grpc::framed;
use crate::support::payload::{field, logs};
use crate::support::scripted::{Said, Scripted};
use crate::support::yaml::{SINGLY, by_stream, exporters, to};
use crate::support::{Sluice, SluiceProcess, eventually};

/// `Export<Signal>ServiceResponse` of a Collector that takes all.
const FULL: &[u8] = b"\x0a\x00";

/// The same, of one that rejects a record.
const PARTIAL: &[u8] = b"\x0a\x0b\x08\x01\x12\x07too old";

type Compress = fn(&[u8]) -> Vec<u8>;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

/// What a sender of two records that waits for delivery is told of them, and what is counted as delivered and rejected.
async fn told(exporter: &str, options: &str) -> (Option<(i64, String)>, [f64; 2]) {
    let config = exporters(&[(exporter, format!("{options}, {SINGLY}"))]) + &by_stream(exporter);
    let sluice = Sluice::start(&(config + "acknowledge: delivered\n")).await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
    assert_eq!(answer.status, 200);
    let metrics = sluice.settled().await;
    let counted = ["delivered", "rejected"].map(|outcome| metrics.exported(exporter, outcome));
    (answer.partial(Signal::Logs), counted)
}

#[tokio::test]
async fn compressed_messages_of_grpc_are_read_and_a_full_success_is_silent() {
    let codings: [(&str, Compress); 3] = [("gzip", gzip), ("zstd", zstd), ("deflate", zlib)];
    for (name, compress) in codings {
        for (named, flag) in
            [(Some(name), 1), (None, 1), (Some("identity"), 1), (Some("snappy"), 1), (Some(name), 0)]
        {
            let headers: Vec<_> = named.map(|named| ("grpc-encoding", named)).into_iter().collect();
            let saying = async |message: &[u8]| {
                let said = Said::grpc(&headers, framed(flag, &compress(message)), &[("grpc-status", "0")]);
                let up = Scripted::saying(said).await;
                let told = told("otlp_grpc/up", &up.grpc_options()).await;
                let accepts = up.asked()[0].headers["grpc-accept-encoding"].clone();
                assert_eq!(accepts, "gzip, zstd, deflate");
                told
            };
            let (partial, counted) = saying(FULL).await;
            assert_eq!((partial, counted), (None, [2.0, 0.0]), "{name} as {named:?}");
            let (partial, counted) = saying(PARTIAL).await;
            let (rejected, why) = partial.unwrap();
            assert_eq!((rejected, counted), (1, [1.0, 1.0]), "{name} as {named:?}");
            assert!(why.contains("too old"), "{why}");
        }
    }
}

#[tokio::test]
async fn answers_of_http_are_read_whatever_they_are_labelled_as() {
    let json = br#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}"#;
    let with_mark = [b"\xef\xbb\xbf", &json[..]].concat();
    for (content_type, encoding, body) in [
        ("application/x-protobuf", "gzip", gzip(PARTIAL)),
        ("application/x-protobuf", "", gzip(PARTIAL)),
        ("application/x-protobuf", "gzip", PARTIAL.to_vec()),
        ("application/x-protobuf", "gzip", zstd(PARTIAL)),
        ("application/json", "", PARTIAL.to_vec()),
        ("application/x-protobuf", "deflate", zlib(json)),
        ("text/html", "br", with_mark),
    ] {
        let up = Scripted::saying(Said::new(
            200,
            &[("content-type", content_type), ("content-encoding", encoding)],
            body,
        ))
        .await;
        let (partial, counted) = told("otlp_http/up", &to(&up.url(), &[])).await;
        let (rejected, why) = partial.unwrap();
        assert_eq!((rejected, counted), (1, [1.0, 1.0]), "{content_type}, `{encoding}`");
        assert!(why.contains("too old"), "{why}");
    }
}

#[tokio::test]
async fn the_count_of_a_partial_success_is_found_behind_a_message_of_megabytes() {
    let message = field(2, "x".repeat(3 << 20));
    let long = field(1, [&message[..], b"\x08\x01"].concat());
    let up = Scripted::saying(Said::new(200, &[], long.clone())).await;
    let (partial, counted) = told("otlp_http/up", &to(&up.url(), &[])).await;
    assert_eq!((partial.unwrap().0, counted), (1, [1.0, 1.0]));
    for (flag, message) in [(0, long.clone()), (1, gzip(&long))] {
        let said = Said::grpc(&[("grpc-encoding", "gzip")], framed(flag, &message), &[("grpc-status", "0")]);
        let up = Scripted::saying(said).await;
        let (partial, counted) = told("otlp_grpc/up", &up.grpc_options()).await;
        assert_eq!((partial.unwrap().0, counted), (1, [1.0, 1.0]));
    }
}

#[tokio::test]
async fn rule_5_an_answer_of_more_than_4_mib_counts_as_delivered_and_is_not_asked_for_again() {
    let long = field(1, field(2, "x".repeat(5 << 20)));
    for (flag, message) in [(0, long.clone()), (1, gzip(&long))] {
        let said = Said::grpc(&[("grpc-encoding", "gzip")], framed(flag, &message), &[("grpc-status", "0")]);
        let up = Scripted::saying(said).await;
        let (partial, counted) = told("otlp_grpc/up", &up.grpc_options()).await;
        assert!(partial.unwrap().1.contains("longer than 4194304 bytes"));
        assert_eq!((counted, up.asked().len()), ([2.0, 0.0], 1));
    }
}

const STREAMS: u64 = 200;
const KEPT: u64 = 64 << 10;

/// What the process takes for `STREAMS` answers of which 3 MiB have come, and the end has not.
async fn waiting_for_the_rest(exporter: &str, options: &str) {
    let config = exporters(&[(exporter, format!("{options}, timeout: 5m, {SINGLY}"))]) + &by_stream(exporter);
    let sluice = SluiceProcess::start(&config, &[]).await;
    // With buffers of a request each before it is measured.
    sluice.accept(Signal::Logs, logs(&[("before", &["text"])])).await;
    sluice.settled().await;
    let before = sluice.resident_bytes();
    let keys: Vec<String> = (0..STREAMS).map(|stream| format!("stream {stream}")).collect();
    let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (key.as_str(), &["text"][..])).collect();
    sluice.accept(Signal::Logs, logs(&entries)).await;
    // Of some only the start has been kept when all has come.
    eventually("what is kept of all answers is counted", async || {
        (sluice.metric("sluice_memory_bytes", &[]).await >= (STREAMS * KEPT * 3 / 4) as f64).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let counted = sluice.metric("sluice_memory_bytes", &[]).await as u64;
    // What is queued is counted, too: a chunk for each stream.
    assert!(counted <= STREAMS * (KEPT + (8 << 10)), "{counted} bytes counted");
    let grown = sluice.resident_bytes().saturating_sub(before);
    // What was sent is beside it, and buffers of both directions. Of the 3 MiB that have come it is a sixteenth.
    assert!(grown <= 3 * STREAMS * KEPT, "{grown} bytes for {STREAMS} answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_whose_rest_does_not_come_take_64_kib_each_beside_their_connections() {
    let long: bytes::Bytes = vec![b'x'; 3 << 20].into();
    let at_first =
        |asked: &crate::support::scripted::Asked| asked.body.windows(6).any(|part| part == b"before");
    let endless = Said::new(200, &[], long.clone()).endless();
    let up =
        Scripted::new(move |asked| if at_first(asked) { Said::new(200, &[], "") } else { endless.clone() })
            .await;
    waiting_for_the_rest("otlp_http/up", &to(&up.url(), &[])).await;

    let endless = Said::grpc(&[], framed(0, &vec![b'x'; 4 << 20])[..3 << 20].to_vec(), &[]).endless();
    let up =
        Scripted::new(
            move |asked| {
                if at_first(asked) { Said::status(tonic::Code::Ok, &[]) } else { endless.clone() }
            },
        )
        .await;
    waiting_for_the_rest("otlp_grpc/up", &format!("{}, compression: none", up.grpc_options())).await;
}
