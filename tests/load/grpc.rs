//! The load generator and the sink in gRPC and TLS, and through a Sluice.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use rig::send::{Load, Report, SendCompression, SendEncoding, SendError, SendProtocol, SendSettings};
use rig::sink::{Fault, RetryAfter, Sink, SinkSettings};
use sluice::client::TlsClientSettings;
use sluice::otlp::Signal;
use sluice::receive::TlsServerSettings;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::Code;

use crate::raw::numbered;
use crate::support::grpc::{call, export, framed};
use crate::support::grpc_upstream::{GrpcUpstream, Reply};
use crate::support::http2::Calls;
use crate::support::tls::Authority;
use crate::support::{PATIENCE, Sluice};

async fn sink() -> Sink {
    Sink::start(SinkSettings::default()).await.expect("a free port")
}

async fn secure_sink(authority: &Authority) -> Sink {
    authority.write("sink", &authority.sign("127.0.0.1"));
    let tls = TlsServerSettings {
        cert_file: authority.path("sink.pem"),
        key_file: authority.path("sink.key"),
        client_ca_file: None,
        only_tls13: false,
        reload_interval: Duration::ZERO,
    };
    Sink::start(SinkSettings { tls: Some(tls), ..SinkSettings::default() }).await.expect("a free port")
}

/// Twelve calls to six streams over two connections.
fn calls(endpoint: impl Into<String>) -> SendSettings {
    SendSettings {
        protocol: SendProtocol::Grpc,
        streams: 6,
        entries: 4,
        records: 3,
        record_bytes: 300,
        connections: 2,
        requests: Some(12),
        ..SendSettings::new(endpoint)
    }
}

async fn send(settings: SendSettings) -> Report {
    Load::start(settings).expect("the settings are right").finish().await
}

fn assert_complete(sink: &Sink, report: &Report) {
    let counts = sink.counts();
    assert!(counts.in_order(), "{counts:?}");
    assert_eq!((counts.records - counts.duplicates, counts.unnumbered), (report.records, 0));
}

#[tokio::test]
async fn calls_of_every_signal_and_coding_arrive_in_order() {
    let codings = [
        SendCompression::None,
        SendCompression::Gzip,
        SendCompression::Zstd,
        SendCompression::Snappy,
        SendCompression::Lz4,
    ];
    for (signal, compression) in Signal::ALL.into_iter().cycle().zip(codings) {
        let sink = sink().await;
        // Larger than the window that HTTP/2 begins with.
        let report = send(SendSettings { signal, compression, records: 500, ..calls(sink.url()) }).await;
        let counts = sink.counts();
        assert!(report.all_taken(), "{report}");
        assert_eq!((report.requests, report.records), (12, 24_000));
        assert_complete(&sink, &report);
        assert_eq!((counts.bytes, counts.wire_bytes), (report.bytes, report.wire_bytes));
        assert_eq!(compression == SendCompression::None, report.bytes == report.wire_bytes);
    }
}

#[tokio::test]
async fn a_server_that_nobody_here_wrote_understands_the_calls() {
    let up = GrpcUpstream::taking();
    let report =
        send(SendSettings { compression: SendCompression::Gzip, ..calls(format!("http://{}", up.address)) });
    assert!(report.await.all_taken());
    assert_eq!((up.calls().len(), up.connections(), up.texts().len()), (12, 2, 144));
}

#[tokio::test]
async fn failures_are_counted_by_code() {
    let sink = sink().await;
    sink.script([
        Fault::status(503),
        Fault::status(400),
        Fault::status(418),
        Fault::redirect(307, "http://127.0.0.1:9/"),
        Fault::reset_after(10),
        Fault::none(),
    ]);
    let report = send(calls(sink.url())).await;
    assert_eq!((report.requests, report.failed), (7, 5), "{report}");
    for cause in ["UNAVAILABLE", "INVALID_ARGUMENT", "UNKNOWN", "307", "closed"] {
        assert_eq!(report.failures.get(cause), Some(&1), "{cause}: {report}");
    }
    assert_complete(&sink, &report);
}

#[tokio::test]
async fn rules_17_and_18_retries_lose_nothing_and_keep_the_order() {
    let sink = sink().await;
    let at_once = RetryAfter::Seconds(0);
    sink.script([
        Fault::status(503).retry_after(at_once),
        Fault::status(429),
        Fault::status(504).retry_after(RetryAfter::Date(Duration::ZERO)),
        Fault::none(),
        Fault::cut_answer(),
        Fault::reset_after(100),
        Fault::not_http(),
    ]);
    let report = send(SendSettings { retry: true, ..calls(sink.url()) }).await;
    assert!(report.all_taken(), "{report}");
    assert_eq!((report.requests, report.retries.values().sum::<u64>()), (12, 6));
    assert_complete(&sink, &report);
    assert_eq!(sink.counts().duplicates, 12, "the call whose answer was cut came twice");
}

#[tokio::test]
async fn rule_18_exhausted_resources_are_final_without_retry_info() {
    let sink = sink().await;
    sink.set_fault(Fault::status(413).first(1));
    let report = send(SendSettings { retry: true, ..calls(sink.url()) }).await;
    assert_eq!((report.failures["RESOURCE_EXHAUSTED"], report.retries.len()), (1, 0));
}

#[tokio::test]
async fn rule_22_the_delay_of_retry_info_is_waited_for() {
    let sink = sink().await;
    sink.script([Fault::status(503).retry_after(RetryAfter::Seconds(1))]);
    let started = Instant::now();
    let report = send(SendSettings { retry: true, requests: Some(1), ..calls(sink.url()) }).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(report.retries["UNAVAILABLE"], 1);
}

#[tokio::test]
async fn a_call_without_an_answer_is_a_timeout() {
    let sink = sink().await;
    sink.set_fault(Fault::hang());
    // Long enough for a connection to be opened on a busy machine, since that has to come before an answer can be missed.
    let timeout = Duration::from_secs(2);
    let report = send(SendSettings { timeout, requests: Some(2), ..calls(sink.url()) }).await;
    assert_eq!(report.failures["timeout"], 2);
}

#[tokio::test]
async fn rejected_records_are_read_from_the_answer() {
    let up = GrpcUpstream::new({
        let mut replies = vec![Reply::Partly(5, "no".to_owned())];
        move |_| replies.pop().unwrap_or(Reply::Take)
    });
    let report = send(calls(format!("http://{}", up.address))).await;
    assert_eq!((report.rejected, report.failed), (5, 0));
}

#[tokio::test]
async fn json_and_paths_are_no_settings_of_grpc() {
    let json = SendSettings { encoding: SendEncoding::Json, ..calls("http://127.0.0.1:9") };
    assert!(matches!(Load::start(json), Err(SendError::GrpcJson)));
    assert!(matches!(Load::start(calls("http://127.0.0.1:9/otlp")), Err(SendError::GrpcPath)));
}

#[tokio::test]
async fn faults_of_a_status_are_codes() {
    let body = framed(0, &numbered("a", &[0]));
    let path = export(Signal::Logs);
    for (status, code, retry) in [
        (400, Code::InvalidArgument, None),
        (401, Code::Unauthenticated, None),
        (403, Code::PermissionDenied, None),
        (404, Code::Unimplemented, None),
        (413, Code::ResourceExhausted, None),
        (429, Code::ResourceExhausted, Some(Duration::ZERO)),
        (500, Code::Internal, None),
        (503, Code::Unavailable, None),
        (504, Code::DeadlineExceeded, None),
    ] {
        let sink = sink().await;
        sink.set_fault(Fault::status(status).message("as told: 100 %"));
        let reply = call(sink.addr(), path, &[], body.clone()).await;
        assert_eq!((reply.code(), reply.retry_delay()), (code, retry), "{status}");
        assert_eq!((reply.message().as_str(), sink.counts().refused), ("as told: 100 %", 1));
    }
    let sink = sink().await;
    sink.set_fault(Fault::status(503).retry_after(RetryAfter::Seconds(7)));
    let reply = call(sink.addr(), path, &[], body).await;
    assert_eq!(reply.retry_delay(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_a_code() {
    let sink = sink().await;
    let (path, message) = (export(Signal::Logs), numbered("a", &[0]));
    let gzip = [("grpc-encoding", "gzip")];
    for (path, headers, body, code) in [
        ("/a.Service/Export", &[][..], framed(0, &message), Code::Unimplemented),
        (path, &[("grpc-encoding", "br")], framed(1, &message), Code::Unimplemented),
        (path, &gzip, framed(1, &message), Code::InvalidArgument),
        (path, &[], framed(0, &message)[..20].to_vec(), Code::InvalidArgument),
        (path, &[], [framed(0, &message), framed(0, &message)].concat(), Code::InvalidArgument),
    ] {
        assert_eq!(call(sink.addr(), path, headers, body).await.code(), code);
    }
    assert_eq!((sink.counts().refused, sink.counts().records), (5, 0));
    // A message may be sent as it is, whatever the header offers.
    assert_eq!(call(sink.addr(), path, &gzip, framed(0, &message)).await.code(), Code::Ok);
    assert_eq!(sink.counts().records, 1);
}

#[tokio::test]
async fn what_had_come_of_a_call_that_was_taken_back_is_in_no_other() {
    let sink = sink().await;
    let mut calls = Calls::over(TcpStream::connect(sink.addr()).await.unwrap()).await;
    let path = export(Signal::Logs);
    let body = framed(0, &numbered("a", &[0, 1]));
    let (first, second) = body.split_at(20);

    let mut taken_back = calls.begin(path).await;
    taken_back.send(first.to_vec(), false);
    taken_back.send(second.to_vec(), false);
    calls.settled().await;
    taken_back.reset();
    sink.wait_for_requests(1, PATIENCE).await.unwrap();
    assert_eq!(sink.counts().records, 0);

    assert_eq!(calls.call(path, body.clone()).await, Code::Ok);
    let mut in_pieces = calls.begin(path).await;
    for (piece, last) in [(first, false), (second, true)] {
        in_pieces.send(piece.to_vec(), last);
    }
    assert_eq!(in_pieces.code().await, Code::Ok);
    let counts = sink.counts();
    assert_eq!((counts.accepted, counts.refused, counts.records, counts.duplicates), (2, 1, 4, 2));
}

#[tokio::test]
async fn partial_success_is_the_message_of_an_answer() {
    let sink = sink().await;
    sink.set_fault(Fault::partial_success(77, "a lie"));
    let reply = call(sink.addr(), export(Signal::Logs), &[], framed(0, &numbered("a", &[0]))).await;
    assert_eq!((reply.code(), sink.counts().rejected), (Code::Ok, 77));
    let message = ExportLogsServiceResponse::decode(&reply.body[5..]).unwrap();
    assert_eq!(message.partial_success.unwrap().rejected_log_records, 77);
}

#[tokio::test]
async fn grpc_goes_in_and_out_of_a_sluice() {
    for (sent, passed_on) in
        [(SendCompression::Gzip, "zstd"), (SendCompression::Snappy, "snappy"), (SendCompression::Lz4, "gzip")]
    {
        let sink = sink().await;
        sink.script([Fault::status(503).retry_after(RetryAfter::Seconds(0)), Fault::cut_answer()]);
        let sluice = Sluice::start(&format!(
            "exporters:\n  otlp_grpc/up:\n    endpoint: {}\n    compression: {passed_on}\n    \
             retry_on_failure: {{ initial_interval: 1ms, max_interval: 5ms }}\n\
             routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_grpc/up] }}]\n",
            sink.url()
        ))
        .await;
        let report =
            send(SendSettings { compression: sent, retry: true, ..calls(format!("http://{}", sluice.otlp)) })
                .await;
        assert!(report.all_taken(), "{report}");
        sink.wait_for_records(report.records, PATIENCE).await.unwrap();
        assert_complete(&sink, &report);
    }
}

#[tokio::test]
async fn tls_is_spoken_in_http_and_grpc_in_and_out_of_a_sluice() {
    let authority = Authority::new("authority");
    authority.write("sluice", &authority.sign("127.0.0.1"));
    let file = |name: &str| authority.path(name).display().to_string();
    let tls = TlsClientSettings { ca_file: Some(authority.path("ca.pem")), ..TlsClientSettings::default() };
    for (protocol, exporter) in [(SendProtocol::Http, "otlp_http"), (SendProtocol::Grpc, "otlp_grpc")] {
        let sink = secure_sink(&authority).await;
        let direct = send(SendSettings { protocol, tls: tls.clone(), ..calls(sink.url()) }).await;
        assert!(direct.all_taken(), "{direct}");
        assert_complete(&sink, &direct);

        let sink = secure_sink(&authority).await;
        let sluice = Sluice::start(&format!(
            "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, tls: {{ cert_file: '{}', key_file: '{}' }} }} }} }} }}\n\
             exporters: {{ {exporter}/up: {{ endpoint: '{}', tls: {{ ca_file: '{}' }} }} }}\n\
             routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [{exporter}/up] }}]\n",
            file("sluice.pem"), file("sluice.key"), sink.url(), file("ca.pem"),
        ))
        .await;
        let through = calls(format!("https://{}", sluice.otlp));
        let report = send(SendSettings { protocol, tls: tls.clone(), ..through }).await;
        assert!(report.all_taken(), "{report}");
        sink.wait_for_records(report.records, PATIENCE).await.unwrap();
        assert_complete(&sink, &report);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_failure_unless_it_is_not_to_be_checked() {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let sink = secure_sink(&authority).await;
    let trusting = |ca: &Path, insecure_skip_verify| SendSettings {
        tls: TlsClientSettings {
            ca_file: Some(ca.to_owned()),
            insecure_skip_verify,
            ..TlsClientSettings::default()
        },
        requests: Some(2),
        ..calls(sink.url())
    };
    let report = send(trusting(&other.path("ca.pem"), false)).await;
    assert_eq!((report.failures["tls"], sink.counts().requests), (2, 0));
    assert!(send(trusting(&other.path("ca.pem"), true)).await.all_taken());

    let missing = Load::start(trusting(&other.path("none.pem"), false)).unwrap_err();
    assert!(missing.to_string().contains("none.pem"), "{missing}");
    let mut nonsense = std::fs::File::create(other.path("nonsense.pem")).unwrap();
    nonsense.write_all(b"nonsense").unwrap();
    assert!(matches!(Load::start(trusting(&other.path("nonsense.pem"), false)), Err(SendError::Tls(_))));
}
