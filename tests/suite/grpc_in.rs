//! OTLP/gRPC as senders meet it: services, codings, limits, statuses.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message as _;
use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use sluice::run::Role;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::bodies;
use crate::support::grpc::{Pieces, Reply, call, call_with, export, framed};
use crate::support::payload::{entry_of, field, logs, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::tls::Authority;
use crate::support::{PATIENCE, Sluice, eventually};

/// A Sluice whose gRPC receiver has these options.
async fn start(options: &str) -> (Sink, Sluice, std::net::SocketAddr) {
    start_with(options, "", "").await
}

/// The same with options of the exporter and more sections.
async fn start_with(options: &str, exporter: &str, more: &str) -> (Sink, Sluice, std::net::SocketAddr) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }}, grpc: {{ endpoint: 127.0.0.1:0, {options} }} }} }} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: {}, compression: none, {exporter} }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n{more}",
        up.url()
    ))
    .await;
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    (up, sluice, grpc)
}

async fn channel(to: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{to}")).unwrap().connect().await.unwrap()
}

fn logs_request(stream: &str, text: &str) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest::decode(&*logs(&[(stream, &[text])])).unwrap()
}

fn one(signal: Signal, text: &str) -> Vec<u8> {
    request(&[entry_of(signal, resource(&[("s2.stream", "a")]), &[text])])
}

async fn send(to: std::net::SocketAddr, message: &[u8]) -> Reply {
    call(to, export(Signal::Logs), &[], framed(0, message)).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn rule_1_every_signal_is_taken_in_every_coding() {
    let (up, sluice, grpc) = start("").await;
    let codings = [
        None,
        Some(CompressionEncoding::Gzip),
        Some(CompressionEncoding::Zstd),
        Some(CompressionEncoding::Deflate),
    ];
    for (index, coding) in codings.into_iter().enumerate() {
        let text = format!("{index} {}", "x".repeat(10_000));
        let [traces, metrics, logs] = Signal::ALL.map(|signal| one(signal, &text));
        macro_rules! export {
            ($client:ident, $request:ident, $body:expr) => {{
                let mut client =
                    $client::new(channel(grpc).await).accept_compressed(CompressionEncoding::Gzip);
                if let Some(coding) = coding {
                    client = client.send_compressed(coding);
                }
                let response = client.export($request::decode(&*$body).unwrap()).await.unwrap();
                assert_eq!(response.into_inner().partial_success, None);
            }};
        }
        export!(TraceServiceClient, ExportTraceServiceRequest, traces);
        export!(MetricsServiceClient, ExportMetricsServiceRequest, metrics);
        export!(LogsServiceClient, ExportLogsServiceRequest, logs);
        up.records(3 * (index as u64 + 1)).await;
        for signal in Signal::ALL {
            assert_eq!(up.texts(signal)[index], text, "{signal} {coding:?}");
        }
    }
    let accepted = [("transport", "grpc"), ("outcome", "accepted")];
    assert_eq!(sluice.metric("sluice_received_records_total", &accepted).await, 12.0);
    assert_eq!(sluice.metric("sluice_received_records_total", &[("transport", "http")]).await, 0.0);
}

#[tokio::test]
async fn rule_46_calls_are_recognised_on_the_http_port_too() {
    let (up, sluice, _) = start("").await;
    let mut client =
        LogsServiceClient::new(channel(sluice.otlp).await).send_compressed(CompressionEncoding::Gzip);
    client.export(logs_request("a", "x")).await.unwrap();
    sluice.accept(Signal::Logs, logs(&[("a", &["y"])])).await;
    up.records(2).await;
    assert_eq!(up.texts(Signal::Logs), ["x", "y"]);
}

#[tokio::test]
async fn requests_of_http_are_taken_on_the_grpc_port_too() {
    let (up, _sluice, grpc) = start("").await;
    let headers = [("content-type", "application/x-protobuf")];
    let answer =
        crate::support::http::send(grpc, "POST", "/v1/logs", &headers, logs(&[("a", &["x"])]).into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    up.records(1).await;
}

#[tokio::test]
async fn calls_are_taken_over_tls() {
    let authority = Authority::new("authority");
    let (up, _sluice, grpc) = start(&format!("tls: {{ {} }}", authority.server())).await;
    let ca = Certificate::from_pem(std::fs::read(authority.path("ca.pem")).unwrap());
    let endpoint = Endpoint::from_shared(format!("https://localhost:{}", grpc.port())).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(ca);
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    LogsServiceClient::new(channel).export(logs_request("a", "x")).await.unwrap();
    up.records(1).await;
}

#[tokio::test]
async fn rule_9_an_empty_request_succeeds() {
    let (_up, _sluice, grpc) = start("").await;
    let reply = send(grpc, b"").await;
    assert_eq!((reply.code(), &reply.body[..]), (Code::Ok, &framed(0, b"")[..]));
    assert_eq!(reply.header("content-type"), Some("application/grpc"));
    // Compressed, it may be nothing at all or the coding of nothing.
    for message in [vec![], gzip(b"")] {
        let reply = call(grpc, export(Signal::Logs), &[("grpc-encoding", "gzip")], framed(1, &message)).await;
        assert_eq!(reply.code(), Code::Ok);
    }
}

#[tokio::test]
async fn rules_10_and_11_partial_success_is_ok_and_counts() {
    let (up, _sluice, grpc) = start("").await;
    let mut client = LogsServiceClient::new(channel(grpc).await);
    let whole = client.export(logs_request("a", "x")).await.unwrap().into_inner();
    assert_eq!(whole, ExportLogsServiceResponse { partial_success: None });
    let unrouted = entry_of(Signal::Logs, resource(&[("service.name", "b")]), &["y", "z"]);
    let mixed = request(&[entry_of(Signal::Logs, resource(&[("s2.stream", "a")]), &["w"]), unrouted]);
    let partial =
        client.export(ExportLogsServiceRequest::decode(&*mixed).unwrap()).await.unwrap().into_inner();
    let partial = partial.partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 2);
    assert!(partial.error_message.contains("s2.stream"), "{}", partial.error_message);
    up.records(2).await;
    assert_eq!(up.texts(Signal::Logs), ["x", "w"]);
}

#[tokio::test]
async fn rule_12_a_warning_rejects_nothing() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&format!(
        "exporters:\n  otlp_http/up: {{ endpoint: {0} }}\n  \
         otlp_http/other: {{ endpoint: {0}, headers: {{ tenant: '{{{{ key | replace(\"a\", \"ä\") }}}}' }} }}\n\
         routes: [{{ key: s2.stream, exporters: [otlp_http/up, otlp_http/other] }}]\n",
        up.url()
    ))
    .await;
    let mut client = LogsServiceClient::new(channel(sluice.otlp).await);
    let partial = client.export(logs_request("a", "x")).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 0);
    assert!(
        partial.error_message.contains("not for exporter `otlp_http/other`"),
        "{}",
        partial.error_message
    );
    up.records(1).await;
}

#[tokio::test]
async fn rule_30_long_answers_are_compressed_where_that_is_asked_for() {
    let up = sinks::recording().await;
    // What is missing is named, so that a long name makes a long answer.
    let attribute = "long.".repeat(200);
    let sluice = Sluice::start(&format!(
        "exporters: {{ otlp_http/up: {{ endpoint: {} }} }}\n\
         routes: [{{ match: {{ {attribute}: '*' }}, exporters: [otlp_http/up] }}]\n",
        up.url()
    ))
    .await;
    let body = framed(0, &one(Signal::Logs, "x"));
    let path = export(Signal::Logs);
    let partial = |message: &[u8]| {
        let partial = ExportLogsServiceResponse::decode(message).unwrap().partial_success.unwrap();
        assert!(partial.error_message.contains("long.long."), "{}", partial.error_message);
        partial.rejected_log_records
    };
    let unpacked = |packed: &[u8]| {
        let mut message = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut message).unwrap();
        message
    };
    let plain = call(sluice.otlp, path, &[], body.clone()).await;
    assert_eq!((plain.code(), plain.header("grpc-encoding"), plain.body[0]), (Code::Ok, None, 0));
    assert_eq!(partial(&plain.body[5..]), 1);
    let packed = call(sluice.otlp, path, &[("grpc-accept-encoding", "identity,gzip")], body).await;
    assert_eq!((packed.code(), packed.header("grpc-encoding"), packed.body[0]), (Code::Ok, Some("gzip"), 1));
    assert_eq!(partial(&unpacked(&packed.body[5..])), 1);
    assert!(packed.body.len() < plain.body.len() / 4);

    // By HTTP, too.
    let post = async |accepts: &str| {
        let message = one(Signal::Logs, "x");
        sluice.post_with(Signal::Logs, message, &[("accept-encoding", accepts)]).await
    };
    let plain = post("identity").await;
    assert_eq!((plain.status, plain.header("content-encoding"), partial(&plain.body)), (200, None, 1));
    let packed = post("deflate, gzip;q=0.5").await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(packed.header("vary"), Some("accept-encoding"));
    assert_eq!(partial(&unpacked(&packed.body)), 1);
}

#[tokio::test]
async fn rules_2_and_3_what_is_too_large_is_resource_exhausted_and_not_to_be_retried() {
    let (up, sluice, grpc) = start("max_recv_msg_size_mib: 1").await;
    let large = one(Signal::Logs, &"x".repeat(1 << 20));
    let path = export(Signal::Logs);
    for reply in [
        send(grpc, &large).await,
        call(grpc, path, &[("grpc-encoding", "gzip")], framed(1, &gzip(&large))).await,
        // Believed without reading what was never sent.
        call(grpc, path, &[], [0, 255, 255, 255, 255].to_vec()).await,
    ] {
        assert_eq!(
            (reply.code(), reply.retry_delay()),
            (Code::ResourceExhausted, None),
            "{}",
            reply.message()
        );
        assert!(reply.message().contains("larger than 1048576 bytes"), "{}", reply.message());
    }
    let fits = one(Signal::Logs, &"x".repeat((1 << 20) - 200));
    assert_eq!(send(grpc, &fits).await.code(), Code::Ok);
    up.records(1).await;
    let rejected = [("transport", "grpc"), ("outcome", "rejected")];
    assert_eq!(sluice.metric("sluice_received_requests_total", &rejected).await, 3.0);
    // Of what is not read nobody knows how many records it has.
    assert_eq!(sluice.metric("sluice_received_records_total", &rejected).await, 0.0);
}

#[tokio::test]
async fn rules_15_21_and_22_overload_is_unavailable_with_retry_info() {
    let queue =
        "sending_queue: { queue_size: 1KiB }, retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
    let (up, _sluice, grpc) = start_with("", queue, "").await;
    up.set_fault(Fault::status(503));
    assert_eq!(send(grpc, &one(Signal::Logs, &"x".repeat(2000))).await.code(), Code::Ok);
    let full = send(grpc, &one(Signal::Logs, &"y".repeat(2000))).await;
    assert_eq!(full.code(), Code::Unavailable, "{}", full.message());
    let delay = full.retry_delay().expect("a time to wait");
    assert!((1..=5).contains(&delay.as_secs()), "{delay:?}");
    assert_eq!(full.details().unwrap().code, Code::Unavailable as i32);

    let status =
        LogsServiceClient::new(channel(grpc).await).export(logs_request("a", "z")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn rule_16_malformed_requests_are_invalid_argument_and_name_the_field() {
    let (_up, _sluice, grpc) = start("").await;
    let reply = send(grpc, b"\x0a\xff").await;
    assert_eq!((reply.code(), reply.retry_delay()), (Code::InvalidArgument, None));
    let details = reply.details().unwrap();
    assert!(details.details[0].type_url.ends_with("google.rpc.BadRequest"));
    assert_eq!(details.message, reply.message());
    // Nothing valid is left of it.
    let reply = send(grpc, &field(1, field(2, field(2, field(9, b"short"))))).await;
    assert_eq!(reply.code(), Code::InvalidArgument, "{}", reply.message());
}

#[tokio::test]
async fn messages_in_either_format_of_snappy_and_in_lz4_are_taken() {
    let (up, _sluice, grpc) = start("").await;
    let body = one(Signal::Logs, "x");
    let cases = [
        ("snappy", bodies::snappy_frames(&body)),
        ("snappy", bodies::snappy_block(&body)),
        ("x-snappy-framed", bodies::snappy_frames(&body)),
        ("lz4", bodies::lz4(&body)),
    ];
    for (index, (coding, packed)) in cases.into_iter().enumerate() {
        let reply = call(grpc, export(Signal::Logs), &[("grpc-encoding", coding)], framed(1, &packed)).await;
        assert_eq!(reply.code(), Code::Ok, "{coding}: {}", reply.message());
        up.records(index as u64 + 1).await;
    }
    assert!(up.bodies(Signal::Logs).iter().all(|received| *received == body));
}

#[tokio::test]
async fn messages_that_are_not_what_their_coding_says_are_invalid_argument() {
    let (_up, _sluice, grpc) = start("").await;
    let path = export(Signal::Logs);
    let packed = gzip(&one(Signal::Logs, "x"));
    for coding in ["gzip", "zstd", "deflate", "snappy", "lz4"] {
        let reply = call(grpc, path, &[("grpc-encoding", coding)], framed(1, b"nonsense")).await;
        assert_eq!(reply.code(), Code::InvalidArgument, "{coding}: {}", reply.message());
    }
    let cut = call(grpc, path, &[("grpc-encoding", "gzip")], framed(1, &packed[..packed.len() - 4])).await;
    assert_eq!(cut.code(), Code::InvalidArgument, "{}", cut.message());
    let unnamed = call(grpc, path, &[], framed(1, &packed)).await;
    assert_eq!(unnamed.code(), Code::InvalidArgument);
    assert!(unnamed.message().contains("`grpc-encoding` doesn't say how"), "{}", unnamed.message());
}

#[tokio::test]
async fn an_uncompressed_message_is_taken_whatever_the_coding_is_called() {
    let (up, _sluice, grpc) = start("").await;
    let body = framed(0, &one(Signal::Logs, "x"));
    let reply = call(grpc, export(Signal::Logs), &[("grpc-encoding", "zstd")], body).await;
    assert_eq!(reply.code(), Code::Ok);
    up.records(1).await;
}

#[tokio::test]
async fn a_unary_call_has_exactly_one_message() {
    let (up, _sluice, grpc) = start("").await;
    let message = one(Signal::Logs, "x");
    let path = export(Signal::Logs);
    for (body, reason) in [
        ([framed(0, &message), framed(0, &message)].concat(), "second message"),
        ([framed(0, &message), vec![0]].concat(), "second message"),
        (vec![], "no message"),
        (framed(0, &message)[..20].to_vec(), "ended early"),
        (vec![0, 0, 0], "ended early"),
        (framed(2, &message), "begins with 2"),
    ] {
        let reply = call(grpc, path, &[], body).await;
        assert_eq!(reply.code(), Code::InvalidArgument, "{reason}");
        assert!(reply.message().contains(reason), "{}", reply.message());
    }
    assert!(up.requests().is_empty());
}

#[tokio::test]
async fn a_message_is_read_in_whatever_pieces_it_comes() {
    let (up, _sluice, grpc) = start("").await;
    let body = framed(0, &one(Signal::Logs, "x"));
    let body = Pieces::of(&body, 1);
    assert_eq!(call_with(grpc, export(Signal::Logs), &[], body).await.code(), Code::Ok);
    up.records(1).await;
}

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let (_up, _sluice, grpc) = start("").await;
    let body = framed(0, b"");
    for (path, said) in [
        (
            "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
            "profiles are not supported",
        ),
        ("/opentelemetry.proto.collector.logs.v1.LogsService/Import", "there is `Export`"),
        ("/some.other.Service/Method", "there is no `/some.other.Service/Method`"),
        ("/v1/logs", "there is no"),
    ] {
        let reply = call(grpc, path, &[], body.clone()).await;
        assert_eq!(reply.code(), Code::Unimplemented, "{path}");
        assert!(reply.message().contains(said), "{}", reply.message());
    }
    let brotli = call(grpc, export(Signal::Logs), &[("grpc-encoding", "br")], body.clone()).await;
    assert_eq!(brotli.code(), Code::Unimplemented);
    let said = "`grpc-encoding: br` is not taken: send gzip, zstd, deflate, snappy, lz4, identity, or no such header";
    assert_eq!(brotli.message(), said);
    assert_eq!(brotli.header("grpc-accept-encoding"), Some("gzip, zstd, deflate, snappy, lz4, identity"));
    let json = call(grpc, export(Signal::Logs), &[("content-type", "application/grpc+json")], body).await;
    assert_eq!(json.code(), Code::Unimplemented, "{}", json.message());
    assert!(
        json.message().starts_with("`content-type: application/grpc+json` is not taken"),
        "{}",
        json.message()
    );
}

#[tokio::test]
async fn grpc_web_is_not_taken_for_grpc() {
    let (_up, sluice, grpc) = start("").await;
    for to in [grpc, sluice.otlp] {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://{to}/v1/logs"))
            .header("content-type", "application/grpc-web+proto")
            .body(http_body_util::Empty::<Bytes>::new())
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 415);
    }
}

#[tokio::test]
async fn a_calls_own_deadline_ends_it() {
    let (_up, _sluice, grpc) = start("").await;
    let body = framed(0, &[0; 1000])[..500].to_vec();
    let reply = call_with(
        grpc,
        export(Signal::Logs),
        &[("grpc-timeout", "50m")],
        Pieces::of(&body, body.len()).endless(),
    )
    .await;
    assert_eq!(reply.code(), Code::DeadlineExceeded);
    assert!(reply.message().contains("50ms"), "{}", reply.message());
}

#[tokio::test]
async fn a_call_whose_deadline_has_passed_is_answered_at_once_and_not_taken() {
    // An upstream that is away keeps senders waiting that wait for delivery.
    let never = sinks::nobody().await;
    let waits = format!("acknowledge: delivered\nacknowledge_timeout: {}s\n", 2 * PATIENCE.as_secs());
    let sluice = Sluice::start(&format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }}, grpc: {{ endpoint: 127.0.0.1:0 }} }} }} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: http://{never} }} }}\n\
         routes: [{{ exporters: [otlp_http/up] }}]\n{waits}"
    ))
    .await;
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    let message = framed(0, &one(Signal::Logs, "x"));
    for over in ["0S", "0H", "0n", "00000000m", "1n"] {
        let reply = call(grpc, export(Signal::Logs), &[("grpc-timeout", over)], message.clone()).await;
        assert_eq!((reply.code(), reply.retry_delay()), (Code::DeadlineExceeded, None), "{over}");
        let unread = Pieces::of(&message, 3).endless();
        let reply = call_with(grpc, export(Signal::Logs), &[("grpc-timeout", over)], unread).await;
        assert_eq!(reply.code(), Code::DeadlineExceeded, "{over}");
    }
    assert_eq!(sluice.metric("sluice_pending_records", &[]).await, 0.0);
}

#[tokio::test]
async fn content_types_that_contradict_each_other_are_not_taken_over_grpc() {
    let (_up, _sluice, grpc) = start("").await;
    let body = framed(0, &one(Signal::Logs, "x"));
    let of = |types: &'static [&'static str]| -> Vec<_> {
        types.iter().map(|content_type| ("content-type", *content_type)).collect()
    };
    for types in [
        &["application/grpc", "application/json"][..],
        &["application/grpc", "application/grpc+json"],
        &["application/grpc;a=b, application/x-protobuf"],
    ] {
        let reply = call(grpc, export(Signal::Logs), &of(types), body.clone()).await;
        assert_eq!(reply.code(), Code::Unimplemented, "{types:?}");
        assert!(reply.message().contains("is not taken"), "{}", reply.message());
    }
    for types in [
        &["application/grpc", "application/grpc"][..],
        &["application/grpc", "application/grpc+proto"],
        &["application/grpc;a=b"],
    ] {
        let reply = call(grpc, export(Signal::Logs), &of(types), body.clone()).await;
        assert_eq!(reply.code(), Code::Ok, "{types:?}: {}", reply.message());
    }
}

#[tokio::test]
async fn what_has_come_of_a_message_counts_against_the_memory() {
    let (_up, sluice, grpc) = start("read_timeout: 1m").await;
    // Within the window that HTTP/2 gives a sender at first.
    let body = framed(0, &vec![0; 100_000])[..60_005].to_vec();
    let reading = tokio::spawn(async move {
        call_with(grpc, export(Signal::Logs), &[], Pieces::of(&body, body.len()).endless()).await
    });
    eventually("what has come is counted", async || {
        (sluice.metric("sluice_memory_bytes", &[]).await >= 60_000.0).then_some(())
    })
    .await;
    reading.abort();
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn calls_beyond_the_memory_limit_are_told_to_come_back() {
    let (_up, sluice, grpc) = start_with("", "", "limits: { memory: 1MiB }\n").await;
    let body = framed(0, &vec![0; 700_000])[..700_000].to_vec();
    let reading = tokio::spawn(async move {
        call_with(grpc, export(Signal::Logs), &[], Pieces::of(&body, body.len()).endless()).await
    });
    eventually("the first call has most of the memory", async || {
        (sluice.metric("sluice_memory_bytes", &[]).await > 600_000.0).then_some(())
    })
    .await;
    let reply = send(grpc, &one(Signal::Logs, &"x".repeat(600_000))).await;
    assert_eq!(reply.code(), Code::Unavailable, "{}", reply.message());
    assert!(reply.retry_delay().is_some());
    reading.abort();
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    assert_eq!(send(grpc, &one(Signal::Logs, &"x".repeat(100_000))).await.code(), Code::Ok);
    let never = send(grpc, &one(Signal::Logs, &"x".repeat(2_000_000))).await;
    assert_eq!((never.code(), never.retry_delay()), (Code::ResourceExhausted, None));
}

#[tokio::test]
async fn a_connection_that_has_grown_old_ends_without_losing_or_doubling_a_call() {
    let (up, _sluice, grpc) = start(
        "keepalive: { server_parameters: { max_connection_age: 50ms, max_connection_age_grace: 10s } }",
    )
    .await;
    let client = LogsServiceClient::new(channel(grpc).await);
    let mut sent = Vec::new();
    for index in 0..100 {
        let text = index.to_string();
        // A call that the client had not sent yet when its connection went, it reports as cancelled.
        while let Err(status) = client.clone().export(logs_request("a", &text)).await {
            assert_eq!(status.code(), Code::Cancelled, "{status}");
        }
        sent.push(text);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    up.records(100).await;
    assert_eq!(up.texts(Signal::Logs), sent);
}

#[tokio::test]
async fn health_is_told_by_grpc() {
    let (_up, sluice, grpc) = start("").await;
    let mut client = HealthClient::new(channel(grpc).await);
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let serving = HealthCheckResponse { status: ServingStatus::Serving as i32 };
    for service in ["", "opentelemetry.proto.collector.logs.v1.LogsService"] {
        assert_eq!(client.check(ask(service)).await.unwrap().into_inner(), serving);
    }
    assert_eq!(client.check(ask("other")).await.unwrap_err().code(), Code::NotFound);

    let mut unknown = client.watch(ask("other")).await.unwrap().into_inner();
    let status = unknown.message().await.unwrap().unwrap().status;
    assert_eq!(status, ServingStatus::ServiceUnknown as i32);
    let mut watched = client.watch(ask("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap(), Some(serving));
    sluice.router().begin_stopping();
    let status = watched.message().await.unwrap().unwrap().status;
    assert_eq!(status, ServingStatus::NotServing as i32);
    assert_eq!(watched.message().await.unwrap_err().code(), Code::Unavailable);
    let status = client.check(ask("")).await.unwrap().into_inner().status;
    assert_eq!(status, ServingStatus::NotServing as i32);
}

#[tokio::test]
async fn those_who_watch_do_not_hold_up_the_end() {
    let (_up, sluice, grpc) = start("").await;
    let mut client = HealthClient::new(channel(grpc).await);
    let mut watched = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watched.message().await.unwrap().unwrap();
    assert!(sluice.shut_down().await.is_empty());
    watched.message().await.unwrap().unwrap();
    assert_eq!(watched.message().await.unwrap_err().code(), Code::Unavailable);
}
