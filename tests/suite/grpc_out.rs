//! The `otlp_grpc` exporter against tonic's server, and against one that does what no proper server would.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;
use sluice::otlp::Signal;
use tokio::time::Instant;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Code, Status};

use crate::support::grpc;
use crate::support::grpc_upstream::{Call, GrpcUpstream, Reply};
use crate::support::payload::{entry_of, logs, request, resource};
use crate::support::scripted::{Said, Scripted};
use crate::support::tls::Authority;
use crate::support::yaml::{QUICK, SINGLY, by_stream, exporters};
use crate::support::{PATIENCE, Sluice, eventually};

/// A Sluice with one exporter of these options, that makes a stream of every `s2.stream` and sends every request by
/// itself.
async fn start(options: &str) -> Sluice {
    let options = format!("{options}, {SINGLY}, {QUICK}");
    Sluice::start(&(exporters(&[("otlp_grpc/up", options)]) + &by_stream("otlp_grpc/up"))).await
}

fn one(stream: &str, text: &str) -> Vec<u8> {
    logs(&[(stream, &[text])])
}

#[tokio::test]
async fn rule_1_every_signal_arrives_in_every_coding() {
    let up = GrpcUpstream::taking();
    for (index, coding) in ["none", "gzip", "zstd"].into_iter().enumerate() {
        let headers = "headers: { Authorization: 'Bearer {{ key }}', trace-bin: ab }";
        let sluice = start(&format!("{}, compression: {coding}, timeout: 7s, {headers}", up.options())).await;
        for signal in Signal::ALL {
            let text = format!("{signal} {coding} {}", "x".repeat(200_000));
            sluice
                .accept(signal, request(&[entry_of(signal, resource(&[("s2.stream", "a")]), &[&text])]))
                .await;
        }
        up.records(3 * (index + 1)).await;
        sluice.settled().await;
        for call in &up.calls()[3 * index..] {
            let metadata =
                |name: &str| call.metadata.get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(metadata("authorization").unwrap(), "Bearer a");
            assert!(metadata("user-agent").unwrap().starts_with("sluice/"));
            assert_eq!(metadata("grpc-timeout").unwrap(), "7000m");
            let binary = call.metadata.get_bin("trace-bin").unwrap().to_bytes().unwrap();
            assert_eq!(&binary[..], b"ab");
            assert!(call.texts[0].starts_with(&format!("{} {coding} x", call.signal)));
        }
    }
}

#[tokio::test]
async fn rules_17_and_22_what_passes_is_retried_in_order_after_the_delay_that_was_asked_for() {
    let mut refusals = vec![Code::Unavailable, Code::Aborted, Code::DeadlineExceeded, Code::OutOfRange];
    let up = GrpcUpstream::new(move |_| match refusals.pop() {
        Some(code) => Reply::Refuse(Status::new(code, "not now")),
        None => Reply::Take,
    });
    let sluice = start(&up.options()).await;
    for text in ["1", "2", "3"] {
        sluice.accept(Signal::Logs, one("a", text)).await;
    }
    up.records(3).await;
    assert_eq!(up.texts(), ["1", "2", "3"]);
    let metrics = sluice.settled().await;
    for (code, count) in [("UNAVAILABLE", 1.0), ("ABORTED", 1.0), ("OUT_OF_RANGE", 1.0), ("OK", 3.0)] {
        assert_eq!(metrics.sum("sluice_export_attempts_total", &[("code", code)]), count, "{code}");
    }
}

#[tokio::test]
async fn statuses_of_grpc_can_be_named_and_those_of_http_where_there_is_none() {
    let mut refusals = vec![Code::NotFound, Code::Internal];
    let up = GrpcUpstream::new(move |_| match refusals.pop() {
        Some(code) => Reply::Refuse(Status::new(code, "not now")),
        None => Reply::Take,
    });
    let statuses = "statuses: { INTERNAL: retry, NOT_FOUND: hold, UNAVAILABLE: dead_letter }";
    let sluice = start(&format!("{}, {statuses}", up.options())).await;
    for text in ["1", "2"] {
        sluice.accept(Signal::Logs, one("a", text)).await;
    }
    up.records(2).await;
    let metrics = sluice.settled().await;
    assert_eq!(
        (up.texts(), metrics.exported("otlp_grpc/up", "delivered")),
        (vec!["1".into(), "2".into()], 2.0)
    );

    let unavailable = GrpcUpstream::new(|_| Reply::Refuse(Status::new(Code::Unavailable, "for good")));
    let sluice = start(&format!("{}, {statuses}", unavailable.options())).await;
    sluice.accept(Signal::Logs, one("a", "1")).await;
    assert_eq!(sluice.settled().await.exported("otlp_grpc/up", "rejected"), 1.0);

    let proxy = Scripted::saying(Said::new(404, &[], "")).await;
    let sluice = start(&format!("{}, statuses: {{ 404: delivered }}", proxy.grpc_options())).await;
    sluice.accept(Signal::Logs, one("a", "1")).await;
    assert_eq!(sluice.settled().await.exported("otlp_grpc/up", "delivered"), 1.0);
}

/// `RESOURCE_EXHAUSTED`, with `RetryInfo` if there is a delay.
fn exhausted(delay: Option<Duration>) -> Status {
    let Some(delay) = delay else { return Status::resource_exhausted("too much") };
    let retry_info = grpc::RetryInfo { retry_delay: Some(delay.try_into().unwrap()) };
    let detail = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: retry_info.encode_to_vec(),
    };
    let code = Code::ResourceExhausted;
    let status = grpc::Status { code: code as i32, message: "later".to_owned(), details: vec![detail] };
    Status::with_details(code, "later", status.encode_to_vec().into())
}

#[tokio::test]
async fn rule_18_exhausted_resources_are_asked_for_again_only_with_retry_info() {
    let delay = Duration::from_millis(300);
    let mut refused_at = None;
    let up = GrpcUpstream::new(move |call| match call.texts[0].as_str() {
        "busy 1" => match refused_at {
            None => {
                refused_at = Some(Instant::now());
                Reply::Refuse(exhausted(Some(delay)))
            }
            Some(at) if at.elapsed() < delay => Reply::Refuse(Status::internal("too early")),
            Some(_) => Reply::Take,
        },
        "large 1" if call.texts.len() > 1 => Reply::Refuse(exhausted(None)),
        "never" => Reply::Refuse(exhausted(None)),
        _ => Reply::Take,
    });
    let sluice = start(&up.options()).await;
    for (stream, texts) in [
        ("a", &["busy 1", "busy 2"][..]),
        ("b", &["large 1", "large 2"]),
        ("c", &["never"]),
        ("c", &["next"]),
    ] {
        sluice.accept(Signal::Logs, logs(&[(stream, texts)])).await;
    }
    up.records(5).await;
    let metrics = sluice.settled().await;
    let calls = |start: &str| -> Vec<usize> {
        let of = |call: &&Call| call.texts[0].starts_with(start);
        up.calls().iter().filter(of).map(|call| call.texts.len()).collect()
    };
    assert_eq!(calls("busy"), [2, 2], "the same again, after the delay");
    assert_eq!(calls("large"), [2, 1, 1], "in halves, at once");
    assert_eq!(calls("ne"), [1, 1], "what can't be halved is given up, and the next has its turn");
    assert_eq!(metrics.sum("sluice_exported_records_total", &[("outcome", "rejected")]), 1.0);
    assert_eq!(metrics.sum("sluice_export_attempts_total", &[("code", "RESOURCE_EXHAUSTED")]), 3.0);
}

#[tokio::test]
async fn batches_that_are_configured_larger_arrive_in_pieces_that_a_server_takes() {
    const LIMIT: usize = 4 << 20;
    // Tonic refuses a message above 4 MiB, unless it is told otherwise.
    let up = GrpcUpstream::taking();
    let batch = "sending_queue: { batch: { min_size: 32MiB, max_size: 64MiB, flush_timeout: 100ms } }";
    let options = format!("{}, {batch}, {QUICK}", up.options());
    let sluice = Sluice::start(&(exporters(&[("otlp_grpc/up", options)]) + &by_stream("otlp_grpc/up"))).await;
    let text = |index: usize| format!("{index:02} {}", "x".repeat(700_000));
    let mut expected = Vec::new();
    // Some in requests of their own, and more than fits in one entry.
    for index in 0..12 {
        sluice.accept(Signal::Logs, one("a", &text(index))).await;
        expected.push(text(index));
    }
    let many: Vec<String> = (12..30).map(text).collect();
    let texts: Vec<&str> = many.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("a", &texts)])).await;
    expected.extend(many);
    up.records(30).await;
    assert!(up.texts() == expected, "all of it, in order");
    sluice.settled().await;
    let sizes: Vec<usize> = up.calls().iter().map(|call| call.texts.iter().map(String::len).sum()).collect();
    assert!(sizes.iter().all(|size| *size < LIMIT), "{sizes:?}");
    assert!(sizes.iter().any(|size| *size > LIMIT / 2), "pieces are no smaller than they must be: {sizes:?}");
}

#[tokio::test]
async fn rule_19_what_stays_is_not_retried() {
    let up = GrpcUpstream::new(|call| match call.texts[0].as_str() {
        "bad" => Reply::Refuse(Status::internal("broken")),
        _ => Reply::Take,
    });
    let sluice = start(&up.options()).await;
    sluice.accept(Signal::Logs, one("a", "bad")).await;
    sluice.accept(Signal::Logs, one("a", "good")).await;
    up.records(1).await;
    let metrics = sluice.settled().await;
    assert_eq!(up.calls().len(), 2);
    assert_eq!(metrics.sum("sluice_exported_records_total", &[("outcome", "rejected")]), 1.0);
}

#[tokio::test]
async fn a_destination_that_refuses_us_holds_the_stream() {
    let refusals = AtomicUsize::new(0);
    let up = GrpcUpstream::new(move |_| match refusals.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Refuse(Status::unauthenticated("who are you")),
        1 => Reply::Refuse(Status::permission_denied("not you")),
        2 => Reply::Refuse(Status::unimplemented("nothing here")),
        _ => Reply::Take,
    });
    let sluice = start(&up.options()).await;
    sluice.accept(Signal::Logs, one("a", "x")).await;
    up.records(1).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.sum("sluice_exported_records_total", &[("outcome", "delivered")]), 1.0);
}

/// How the message before the trailers may not be there: not at all, in part, or as a prefix that announces more.
const UNREADABLE: [&[u8]; 3] = [b"", b"\0\0", b"\0\0\0\0\x09ab"];

#[tokio::test]
async fn the_status_in_the_trailers_counts_whatever_came_before_it() {
    for message in UNREADABLE {
        let saying = async |trailers: &[(&str, &str)]| {
            let up = Scripted::saying(Said::grpc(&[], message, trailers)).await;
            let sluice = start(&up.grpc_options()).await;
            sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
            (up, sluice)
        };
        // The data is bad: it is divided, and each record ends.
        for code in ["3", "8"] {
            let (up, sluice) = saying(&[("grpc-status", code)]).await;
            let metrics = sluice.settled().await;
            assert_eq!(metrics.exported("otlp_grpc/up", "rejected"), 2.0, "{message:?}, {code}");
            assert_eq!(up.asked().len(), 3, "once whole, and each record");
        }
        // It stays so.
        let (up, sluice) = saying(&[("grpc-status", "13")]).await;
        assert_eq!(sluice.settled().await.exported("otlp_grpc/up", "rejected"), 2.0);
        assert_eq!(up.asked().len(), 1);
        // It was taken, whatever it wanted to say about it.
        let (up, sluice) = saying(&[("grpc-status", "0")]).await;
        assert_eq!(sluice.settled().await.exported("otlp_grpc/up", "delivered"), 2.0);
        assert_eq!(up.asked().len(), 1, "nothing that was taken is sent again");
        // The destination is wrong.
        let (_up, sluice) = saying(&[("grpc-status", "16"), ("grpc-message", "who are you")]).await;
        eventually("the stream is held, and says why", async || {
            let shown = sluice.api("/api/v1/streams").await;
            let error = &shown["streams"][0]["last_error"];
            let said = error["message"].as_str()?.contains("who are you");
            (said && error["code"] == "UNAUTHENTICATED").then_some(())
        })
        .await;
        let attempts = [("code", "UNAUTHENTICATED")];
        assert!(sluice.metric("sluice_export_attempts_total", &attempts).await > 0.0);
    }
}

#[tokio::test]
async fn rule_22_retry_info_behind_headers_and_no_message_is_waited_for() {
    let retry_delay = Some(Duration::from_secs(600).try_into().unwrap());
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: grpc::RetryInfo { retry_delay }.encode_to_vec(),
    };
    let later =
        BASE64.encode(grpc::Status { code: 14, message: String::new(), details: vec![any] }.encode_to_vec());
    for message in UNREADABLE {
        let trailers = [("grpc-status", "14"), ("grpc-status-details-bin", &later)];
        let up = Scripted::saying(Said::grpc(&[], message, &trailers)).await;
        let sluice = start(&up.grpc_options()).await;
        sluice.accept(Signal::Logs, one("a", "x")).await;
        eventually("it has been answered", async || {
            (sluice.metric("sluice_export_attempts_total", &[("code", "UNAVAILABLE")]).await > 0.0)
                .then_some(())
        })
        .await;
        let state = sluice.api("/api/v1/streams").await["streams"][0]["state"].clone();
        assert_eq!((state, up.asked().len()), ("backing_off".into(), 1), "{message:?}");
    }
}

#[tokio::test]
async fn the_record_that_is_refused_is_found() {
    let up = GrpcUpstream::new(|call| {
        if call.texts.iter().any(|text| text == "poison") {
            Reply::Refuse(Status::invalid_argument("poison"))
        } else {
            Reply::Take
        }
    });
    let sluice = start(&up.options()).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2", "3", "poison", "4", "5"])])).await;
    up.records(5).await;
    assert_eq!(up.texts(), ["1", "2", "3", "4", "5"]);
    let metrics = sluice.settled().await;
    assert_eq!(metrics.sum("sluice_exported_records_total", &[("outcome", "rejected")]), 1.0);
}

#[tokio::test]
async fn rules_13_and_14_partial_success_is_counted_and_never_sent_again() {
    let up = GrpcUpstream::new(|call| match call.texts[0].as_str() {
        "part" => Reply::Partly(2, "too old".to_owned()),
        "warned" => Reply::Partly(0, "soon too old".to_owned()),
        _ => Reply::Take,
    });
    let sluice = start(&up.options()).await;
    for texts in [&["part", "1", "2"][..], &["warned"], &["whole"]] {
        sluice.accept(Signal::Logs, logs(&[("a", texts)])).await;
    }
    up.records(5).await;
    let metrics = sluice.settled().await;
    assert_eq!(up.calls().len(), 3);
    for (outcome, count) in [("delivered", 3.0), ("rejected", 2.0)] {
        assert_eq!(metrics.sum("sluice_exported_records_total", &[("outcome", outcome)]), count, "{outcome}");
    }
}

#[tokio::test]
async fn rule_5_an_answer_that_is_too_long_is_not_read_to_its_end_and_counts_as_success() {
    let up = GrpcUpstream::new(|call| match call.texts[0].as_str() {
        "long" => Reply::Partly(1, "x".repeat(5 << 20)),
        _ => Reply::Take,
    });
    let sluice = start(&up.options()).await;
    // More of them, in turn and at a time, than would fit into the window that answers share.
    for _ in 0..5 {
        for stream in ["a", "b", "c"] {
            sluice.accept(Signal::Logs, one(stream, "long")).await;
            sluice.accept(Signal::Logs, one(stream, "next")).await;
        }
    }
    up.records(30).await;
    let metrics = sluice.settled().await;
    assert_eq!((up.calls().len(), up.connections()), (30, 1));
    assert_eq!(metrics.sum("sluice_exported_records_total", &[("outcome", "delivered")]), 30.0);
}

#[tokio::test]
async fn connections_that_the_upstream_ends_lose_and_double_nothing() {
    let server = Server::builder().max_connection_age(Duration::from_millis(30));
    let up = GrpcUpstream::with(server, |_| Reply::Take);
    let sluice = start(&up.options()).await;
    let mut expected = Vec::new();
    for index in 0..100 {
        sluice.accept(Signal::Logs, one("a", &index.to_string())).await;
        expected.push(index.to_string());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    up.records(100).await;
    assert_eq!(up.texts(), expected);
    assert!(up.connections() > 1, "connections were ended");
    sluice.settled().await;
}

#[tokio::test]
async fn streams_share_connections() {
    let up = GrpcUpstream::taking();
    let sluice = start(&up.options()).await;
    for stream in 0..50 {
        sluice.accept(Signal::Logs, one(&stream.to_string(), "x")).await;
    }
    up.records(50).await;
    assert_eq!(up.connections(), 1);
}

#[tokio::test]
async fn calls_that_hang_delay_no_other_stream_however_few_a_connection_takes() {
    let server = Server::builder().max_concurrent_streams(2);
    let up = GrpcUpstream::with(server, |call: &Call| match call.texts[0].as_str() {
        "slow" => Reply::Hang,
        _ => Reply::Take,
    });
    let sluice = start(&up.options()).await;
    for stream in 0..7 {
        sluice.accept(Signal::Logs, one(&format!("slow{stream}"), "slow")).await;
    }
    eventually("all of them hang", async || (up.calls().len() == 7).then_some(())).await;
    for round in 0..5 {
        sluice.accept(Signal::Logs, one("fast", &round.to_string())).await;
    }
    up.records(5).await;
    assert_eq!(up.texts(), ["0", "1", "2", "3", "4"]);
    assert!(up.connections() >= 4, "{} connections for eight streams, two on each", up.connections());
}

/// Serves HTTP/2 by hand: reads the heads of all calls, and of their messages only those whose head does not say
/// `slow`. Returns its address and the count of answered calls.
async fn unreading() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let count = count.clone();
                    tokio::spawn(async move {
                        let (head, mut body) = request.into_parts();
                        if head.headers["authorization"] == "slow" {
                            // Held, and never read.
                            let _body = body;
                            std::future::pending::<()>().await;
                            return;
                        }
                        while let Some(data) = body.data().await {
                            // One that waits for the window is taken back.
                            let Ok(data) = data else { return };
                            let _ = body.flow_control().release_capacity(data.len());
                        }
                        count.fetch_add(1, Ordering::SeqCst);
                        let answer = http::Response::builder().header("content-type", "application/grpc");
                        let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
                        stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        stream.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    (address, answered)
}

#[tokio::test]
async fn a_message_that_is_not_read_delays_no_other_stream() {
    let (address, answered) = unreading().await;
    let options = format!(
        "endpoint: 'http://{address}', compression: none, headers: {{ authorization: '{{{{ key }}}}' }}"
    );
    let sluice = start(&options).await;
    // More than the window of a stream, which is also that of the connection.
    sluice.accept(Signal::Logs, one("slow", &"x".repeat(300_000))).await;
    for round in 0..20 {
        sluice.accept(Signal::Logs, one(&format!("fast{round}"), &"y".repeat(100_000))).await;
    }
    eventually("the others get through", async || (answered.load(Ordering::SeqCst) == 20).then_some(()))
        .await;
    assert_eq!(sluice.metric("sluice_pending_records", &[]).await, 1.0);
}

#[tokio::test]
async fn upstreams_are_verified_and_shown_a_certificate() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let server = authority.sign("localhost");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&server.certificate, &server.key))
        .client_ca_root(Certificate::from_pem(std::fs::read(clients.path("ca.pem")).unwrap()));
    let up = GrpcUpstream::with(Server::builder().tls_config(tls).unwrap(), |_| Reply::Take);
    clients.write("client", &clients.sign("sluice"));
    let endpoint = format!("endpoint: 'localhost:{}'", up.address.port());
    let identity = format!(
        "cert_file: '{}', key_file: '{}'",
        clients.path("client.pem").display(),
        clients.path("client.key").display()
    );
    let ca = format!("ca_file: '{}'", authority.path("ca.pem").display());

    let trusted = start(&format!("{endpoint}, tls: {{ {ca}, {identity} }}")).await;
    trusted.accept(Signal::Logs, one("a", "x")).await;
    up.records(1).await;

    for tls in [ca, format!("ca_file: '{}', {identity}", clients.path("ca.pem").display())] {
        let refused = start(&format!("{endpoint}, tls: {{ {tls} }}")).await;
        refused.accept(Signal::Logs, one("a", "y")).await;
        eventually("it fails", async || {
            let attempts = refused.metric("sluice_export_attempts_total", &[]).await;
            (attempts > 0.0).then_some(())
        })
        .await;
        assert_eq!(refused.metric("sluice_export_attempts_total", &[("code", "OK")]).await, 0.0);
    }
    assert_eq!(up.texts(), ["x"]);
}

#[tokio::test]
async fn rule_20_an_upstream_that_is_down_is_tried_until_it_is_there() {
    let address = crate::support::sinks::nobody().await;
    let sluice = start(&format!("endpoint: '{address}', tls: {{ insecure: true }}")).await;
    sluice.accept(Signal::Logs, one("a", "x")).await;
    eventually("it is tried", async || {
        (sluice.metric("sluice_export_attempts_total", &[("code", "connect")]).await >= 2.0).then_some(())
    })
    .await;
    let up = tokio::net::TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = tokio::time::timeout(PATIENCE, up.accept()).await.unwrap().unwrap();
    let mut preface = [0; 24];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut preface).await.unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

/// A server whose first connection takes so many calls, answers none of them, and then says GOAWAY; others take what comes.
/// Returns where it listens, and how many connections there were.
async fn going_away_after(calls: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let connections = count.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                let mut unanswered = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if is_first {
                        unanswered.push((request, respond));
                        if unanswered.len() == calls {
                            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                        }
                        continue;
                    }
                    let mut answer = http::Response::new(());
                    answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                    answer.headers_mut().insert("grpc-status", "0".parse().unwrap());
                    respond.send_response(answer, true).unwrap();
                }
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn calls_whose_connection_goes_away_share_one_new_connection() {
    const STREAMS: usize = 60;
    let (address, connections) = going_away_after(STREAMS).await;
    let sluice = start(&format!("endpoint: '{address}', tls: {{ insecure: true }}")).await;
    let keys: Vec<String> = (0..STREAMS).map(|stream| format!("stream {stream}")).collect();
    let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (key.as_str(), &["text"][..])).collect();
    sluice.accept(Signal::Logs, logs(&entries)).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_grpc/up", "delivered"), STREAMS as f64);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn streams_that_wait_for_a_connection_that_fails_do_not_each_try_another() {
    const STREAMS: usize = 60;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let connections = count.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            // So long that all streams wait for it.
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(socket);
        }
    });
    let hours = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
    let options = format!("endpoint: '{address}', tls: {{ insecure: true }}, {SINGLY}, {hours}");
    let sluice = Sluice::start(&(exporters(&[("otlp_grpc/up", options)]) + &by_stream("otlp_grpc/up"))).await;
    let keys: Vec<String> = (0..STREAMS).map(|stream| format!("stream {stream}")).collect();
    let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (key.as_str(), &["text"][..])).collect();
    sluice.accept(Signal::Logs, logs(&entries)).await;
    sluice.wait_for_metric("sluice_export_attempts_total", &[("code", "reset")], STREAMS as f64).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
