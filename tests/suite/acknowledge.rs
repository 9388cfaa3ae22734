//! `acknowledge: delivered`: a sender is answered once its upstreams have answered, and what they don't take in time is
//! taken back.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rig::sink::{Fault, Sink, SinkSettings};
use sluice::otlp::Signal;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::gate::Gate;
use crate::support::grpc::{self, Reply};
use crate::support::http::Answer;
use crate::support::letters::letters;
use crate::support::payload::{entry, field, logs, request};
use crate::support::sinks::{self, Received as _};
use crate::support::wire::Wire;
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Metrics, Sluice, SluiceProcess};

const UP: &str = "otlp_http/up";
const PROTOBUF: &str = "content-type: application/x-protobuf";

/// Nobody waits as long in a test.
const PATIENT: &str = "acknowledge: delivered\nacknowledge_timeout: 1h\n";
const HASTY: &str = "acknowledge: delivered\nacknowledge_timeout: 300ms\n";

/// An upstream that failed once is not asked again while a test runs.
const SLOWLY: &str = "retry_on_failure: { initial_interval: 30m, max_interval: 1h }";

fn post(sluice: &Arc<Sluice>, body: Vec<u8>) -> JoinHandle<Answer> {
    let sluice = sluice.clone();
    tokio::spawn(async move { sluice.post(Signal::Logs, body).await })
}

async fn pending(sluice: &Sluice, records: f64) {
    sluice.wait_for_metric("sluice_pending_records", &[], records).await;
}

fn received(metrics: &Metrics, outcome: &str) -> f64 {
    metrics.sum("sluice_received_records_total", &[("outcome", outcome)])
}

fn withdrawn(metrics: &Metrics) -> f64 {
    metrics.sum("sluice_withdrawn_records_total", &[])
}

/// Checks that nothing of a request that was refused is left, and that it was counted as such.
async fn assert_withdrawn(sluice: &Sluice, records: f64) {
    let metrics = sluice.settled().await;
    assert_eq!(
        (metrics.sum("sluice_exported_records_total", &[("outcome", "dropped")]), withdrawn(&metrics)),
        (records, records)
    );
    assert_eq!((received(&metrics, "accepted"), received(&metrics, "refused")), (0.0, records));
    assert_eq!(metrics.sum("sluice_memory_bytes", &[]), 0.0, "its memory was given back");
}

#[tokio::test]
async fn a_sender_is_answered_once_the_upstream_has_answered() {
    let gate = Gate::start().await;
    let sluice = Arc::new(Sluice::start(&(yaml::up(&gate.url(), &[SINGLY]) + PATIENT)).await);
    let waiting = post(&sluice, logs(&[("a", &["x"])]));
    gate.arrived(1).await;
    let metrics = sluice.metrics().await;
    assert_eq!((received(&metrics, "accepted"), received(&metrics, "refused")), (0.0, 0.0));
    assert!(!waiting.is_finished());
    gate.answer(200);
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.partial(Signal::Logs)), (200, None));
    let metrics = sluice.settled().await;
    assert_eq!((received(&metrics, "accepted"), metrics.exported(UP, "delivered")), (1.0, 1.0));
    assert_eq!(metrics.sum("sluice_memory_bytes", &[]), 0.0);
}

#[tokio::test]
async fn a_request_waits_for_all_its_streams_and_all_pieces_of_its_entries() {
    let gate = Gate::start().await;
    let small = "sending_queue: { batch: { min_size: 1, max_size: 300, flush_timeout: 0s } }";
    let sluice = Arc::new(Sluice::start(&(yaml::up(&gate.url(), &[small]) + PATIENT)).await);
    let long = "x".repeat(150);
    let waiting = post(&sluice, logs(&[("a", &[&long, &long, &long]), ("b", &["y"])]));
    // One record of `a` after the other, and `b`.
    for answered in 0..4 {
        gate.arrived(answered + 1).await;
        assert!(!waiting.is_finished(), "{answered} of 4 are answered");
        gate.answer(200);
    }
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.partial(Signal::Logs)), (200, None));
    assert_eq!(gate.texts().len(), 4);
}

#[tokio::test]
async fn what_the_upstream_refuses_for_good_is_partial_success_with_its_message() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400).message("no such field").on_text("poison"));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY, QUICK]) + LETTERS + PATIENT)).await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1", "poison", "2"]), ("b", &["3"])])).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("not all of it was taken");
    assert_eq!((answer.status, rejected), (200, 1));
    assert!(message.contains("`otlp_http/up`") && message.contains("no such field"), "{message}");
    let metrics = sluice.settled().await;
    assert_eq!((received(&metrics, "accepted"), received(&metrics, "rejected")), (3.0, 1.0));
    assert_eq!(letters(&sluice.directory().join("letters")).len(), 1);
    assert_eq!(up.texts(Signal::Logs).len(), 3);

    up.set_fault(Fault::status(406).message("closed"));
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("nothing of it was taken");
    assert_eq!((answer.status, rejected), (200, 2));
    assert!(message.contains("closed"), "{message}");
}

#[tokio::test]
async fn the_upstreams_partial_success_is_the_senders() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY]) + PATIENT)).await;
    up.set_fault(Fault::partial_success(2, "too old"));
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1", "2", "3"])])).await;
    let (rejected, message) = answer.partial(Signal::Logs).unwrap();
    assert_eq!((answer.status, rejected), (200, 2));
    assert!(message.contains("`otlp_http/up`") && message.contains("too old"), "{message}");

    up.set_fault(Fault::partial_success(0, "use another endpoint"));
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1"])])).await;
    let (rejected, message) = answer.partial(Signal::Logs).unwrap();
    assert_eq!((answer.status, rejected), (200, 0));
    assert!(message.contains("use another endpoint"), "{message}");
    let metrics = sluice.settled().await;
    assert_eq!((received(&metrics, "accepted"), received(&metrics, "rejected")), (2.0, 2.0));
}

#[tokio::test]
async fn what_is_late_is_taken_back_and_the_retry_arrives_once() {
    let address = sinks::nobody().await;
    let sluice = Sluice::start(&(yaml::up(&format!("http://{address}"), &[SINGLY, QUICK]) + HASTY)).await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["x"]), ("b", &["y"])])).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.error().message.contains("not delivered within 300ms"), "{answer:?}");
    assert_withdrawn(&sluice, 2.0).await;

    let settings = SinkSettings { listen: address, record_requests: true, ..SinkSettings::default() };
    let up = Sink::start(settings).await.unwrap();
    sluice.accept(Signal::Logs, logs(&[("a", &["x"]), ("b", &["y"])])).await;
    let mut texts = up.texts(Signal::Logs);
    texts.sort();
    assert_eq!(texts, ["x", "y"]);
}

#[tokio::test]
async fn what_waits_for_a_retry_is_taken_back_from_among_others_and_these_keep_their_order() {
    let address = sinks::nobody().await;
    // All in one batch, which is tried once.
    let batch = "sending_queue: { batch: { flush_timeout: 100ms } }";
    let yaml = yaml::up(&format!("http://{address}"), &[batch, SLOWLY]) + PATIENT;
    let sluice = Arc::new(Sluice::start(&yaml).await);
    let mut waiting = Vec::new();
    for index in 0..6 {
        let (stream, text) = ("a", format!("{index}"));
        waiting.push(post(&sluice, logs(&[(stream, &[&text])])));
        pending(&sluice, f64::from(index + 1)).await;
    }
    let attempts = [("code", "connect")];
    sluice.wait_for_metric("sluice_export_attempts_total", &attempts, 1.0).await;
    for gone in [1, 2, 4] {
        waiting[gone].abort();
    }
    pending(&sluice, 3.0).await;
    let settings = SinkSettings { listen: address, record_requests: true, ..SinkSettings::default() };
    let up = Sink::start(settings).await.unwrap();
    // Other settings end the wait for the retry.
    sluice.reconfigure(&(yaml.replace(SLOWLY, QUICK))).await;
    for index in [0, 3, 5] {
        let answer = (&mut waiting[index]).await.unwrap();
        assert_eq!((answer.status, answer.partial(Signal::Logs)), (200, None));
    }
    let mut texts = up.texts(Signal::Logs);
    if texts.first().is_some_and(|first| first != "0") {
        texts.reverse();
    }
    assert_eq!(texts, ["0", "3", "5"]);
    let metrics = sluice.settled().await;
    assert_eq!((metrics.exported(UP, "delivered"), withdrawn(&metrics)), (3.0, 3.0));
    assert_eq!(metrics.sum("sluice_memory_bytes", &[]), 0.0);
}

#[tokio::test]
async fn a_sender_that_goes_takes_its_entries_with_it() {
    let address = sinks::nobody().await;
    let up = format!("http://{address}");
    for exporter in [QUICK, SLOWLY] {
        let sluice = Sluice::start(&(yaml::up(&up, &[SINGLY, exporter]) + PATIENT)).await;
        let body = logs(&[("a", &["x", "y"])]);
        let length = format!("content-length: {}", body.len());
        let mut wire = Wire::open(sluice.otlp).await;
        wire.request("POST /v1/logs", &[PROTOBUF, &length], &body).await;
        pending(&sluice, 2.0).await;
        assert!(wire.is_silent());
        drop(wire);
        assert_withdrawn(&sluice, 2.0).await;
    }
}

#[tokio::test]
async fn what_waits_for_a_probe_of_its_destination_is_taken_back() {
    let up = format!("http://{}", sinks::nobody().await);
    let sluice = Arc::new(Sluice::start(&(yaml::up(&up, &[SINGLY, SLOWLY]) + PATIENT)).await);
    let keys: Vec<String> = (0..8).map(|key| key.to_string()).collect();
    let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (&**key, &["x"][..])).collect();
    let waiting = post(&sluice, logs(&entries));
    sluice.wait_for_metric("sluice_destinations", &[("circuit", "open")], 1.0).await;
    waiting.abort();
    assert_withdrawn(&sluice, 8.0).await;
}

#[tokio::test]
async fn what_stands_in_line_for_its_destination_is_taken_back() {
    let gate = Gate::start().await;
    let one = "sending_queue: { max_in_flight: 1, batch: { min_size: 1, flush_timeout: 0s } }";
    let sluice = Arc::new(Sluice::start(&(yaml::up(&gate.url(), &[one]) + PATIENT)).await);
    // One after the other moves to the allowance of those that hang, and these are all there is.
    let hanging: Vec<_> = (0..5).map(|key| post(&sluice, logs(&[(&key.to_string(), &["x"])]))).collect();
    gate.arrived(5).await;
    let in_line = post(&sluice, logs(&[("b", &["y"])]));
    pending(&sluice, 6.0).await;
    in_line.abort();
    pending(&sluice, 5.0).await;
    for _ in &hanging {
        gate.answer(200);
    }
    for waiting in hanging {
        assert_eq!(waiting.await.unwrap().status, 200);
    }
    let metrics = sluice.settled().await;
    assert_eq!((metrics.exported(UP, "delivered"), withdrawn(&metrics)), (5.0, 1.0));
    assert_eq!(gate.texts().len(), 5);
}

#[tokio::test]
async fn a_stream_that_is_reset_takes_its_entries_with_it_and_no_others() {
    let gate = Gate::start().await;
    let nobody = format!("http://{}", sinks::nobody().await);
    let exporters = yaml::exporters(&[
        ("otlp_http/up", yaml::to(&gate.url(), &[SINGLY])),
        ("otlp_http/dead", yaml::to(&nobody, &[SINGLY, SLOWLY])),
    ]);
    let routes = "routes:\n  - { match: { s2.stream: up }, key: s2.stream, exporters: [otlp_http/up] }\n  \
                  - { match: { s2.stream: '*' }, key: s2.stream, exporters: [otlp_http/dead] }\n";
    let sluice = Sluice::start(&(exporters + routes + PATIENT)).await;
    let mut calls = Calls::open(sluice.otlp).await;
    let dead = calls.logs(&logs(&[("dead", &["x"])]));
    pending(&sluice, 1.0).await;
    // It is read while the other one waits, on the same connection.
    let up = calls.logs(&logs(&[("up", &["y"])]));
    gate.arrived(1).await;
    dead.abort();
    sluice.wait_for_metric("sluice_withdrawn_records_total", &[("exporter", "otlp_http/dead")], 1.0).await;
    gate.answer(200);
    assert_eq!(up.await.unwrap().code(), tonic::Code::Ok);
    let metrics = sluice.settled().await;
    assert_eq!((received(&metrics, "accepted"), received(&metrics, "refused")), (1.0, 1.0));
}

#[tokio::test]
async fn calls_are_answered_as_requests_are() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY, QUICK]) + HASTY)).await;
    let call = async |headers: &[(&str, &str)]| {
        let body = grpc::framed(0, &logs(&[("a", &["1", "2"])]));
        grpc::call(sluice.otlp, grpc::export(Signal::Logs), headers, body).await
    };
    let delivered = call(&[]).await;
    assert_eq!((delivered.code(), &delivered.body[..]), (tonic::Code::Ok, &[0; 5][..]));
    up.set_fault(Fault::partial_success(1, "too old"));
    let partial = call(&[]).await;
    assert_eq!(partial.code(), tonic::Code::Ok);
    assert!(partial.body.windows(7).any(|text| text == b"too old"), "{partial:?}");
    up.set_fault(Fault::status(503));
    let late = call(&[]).await;
    assert_eq!(late.code(), tonic::Code::Unavailable);
    assert!(late.retry_delay().is_some() && late.message().contains("not delivered within"), "{late:?}");
    sluice.settled().await;
    assert_eq!(up.counts().records, 4);
}

#[tokio::test]
async fn a_calls_own_deadline_takes_its_entries_back() {
    let up = format!("http://{}", sinks::nobody().await);
    let sluice = Sluice::start(&(yaml::up(&up, &[SINGLY, SLOWLY]) + PATIENT)).await;
    let body = grpc::framed(0, &logs(&[("a", &["x"])]));
    let path = grpc::export(Signal::Logs);
    let reply = grpc::call(sluice.otlp, path, &[("grpc-timeout", "300m")], body).await;
    assert_eq!(reply.code(), tonic::Code::Unavailable);
    assert_withdrawn(&sluice, 1.0).await;
}

#[tokio::test]
async fn what_is_being_sent_when_its_time_is_over_ends_as_it_ends() {
    for (status, delivered) in [(200, 1.0), (503, 0.0)] {
        let gate = Gate::start().await;
        let sluice = Sluice::start(&(yaml::up(&gate.url(), &[SINGLY, QUICK]) + HASTY)).await;
        let answer = sluice.post(Signal::Logs, logs(&[("a", &["x"])])).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        pending(&sluice, 1.0).await;
        gate.answer(status);
        let metrics = sluice.settled().await;
        assert_eq!((metrics.exported(UP, "delivered"), withdrawn(&metrics)), (delivered, 1.0 - delivered));
        assert_eq!(received(&metrics, "refused"), 1.0);
        assert_eq!(gate.texts().len(), 1, "it is not sent again");
    }
}

#[tokio::test]
async fn with_fan_out_a_request_waits_for_every_exporter() {
    let healthy = sinks::recording().await;
    let dead = format!("http://{}", sinks::nobody().await);
    let exporters = yaml::exporters(&[
        ("otlp_http/healthy", yaml::to(&healthy.url(), &[SINGLY])),
        ("otlp_http/dead", yaml::to(&dead, &[SINGLY, QUICK])),
    ]);
    let routes = yaml::by_stream("otlp_http/healthy, otlp_http/dead");
    let sluice = Sluice::start(&(exporters + &routes + HASTY)).await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["x"])])).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/healthy", "delivered"), 1.0);
    assert_eq!(metrics.exported("otlp_http/dead", "dropped"), 1.0);
    assert_eq!(healthy.texts(Signal::Logs), ["x"]);
}

#[tokio::test]
async fn with_fan_out_a_record_is_rejected_only_if_no_exporter_takes_it() {
    let (one, two) = (sinks::counting().await, sinks::counting().await);
    let exporters = yaml::exporters(&[
        ("otlp_http/one", yaml::to(&one.url(), &[SINGLY])),
        ("otlp_http/two", yaml::to(&two.url(), &[SINGLY])),
    ]);
    let routes = yaml::by_stream("otlp_http/one, otlp_http/two");
    let sluice = Sluice::start(&(exporters + &routes + PATIENT)).await;
    two.set_fault(Fault::status(406).message("closed"));
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["x", "y"])])).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("there is a warning");
    assert_eq!((answer.status, rejected), (200, 0));
    assert!(message.contains("`otlp_http/two`") && message.contains("closed"), "{message}");
    one.set_fault(Fault::status(406).message("closed, too"));
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["x", "y"])])).await;
    assert_eq!(answer.partial(Signal::Logs).expect("nobody took it").0, 2);
    let metrics = sluice.settled().await;
    assert_eq!((received(&metrics, "accepted"), received(&metrics, "rejected")), (2.0, 2.0));
}

#[tokio::test]
async fn what_was_cut_out_of_a_refused_request_is_buried_only_with_the_one_that_is_taken() {
    let address = sinks::nobody().await;
    let yaml = yaml::up(&format!("http://{address}"), &[SINGLY, QUICK]) + LETTERS + HASTY;
    let sluice = Sluice::start(&yaml).await;
    let body = || [request(&[entry(Signal::Logs, "a", &["x"])]), field(1, [0xff])].concat();
    assert_eq!(sluice.post(Signal::Logs, body()).await.status, 503);
    assert_withdrawn(&sluice, 1.0).await;
    let _up = Sink::start(SinkSettings { listen: address, ..SinkSettings::default() }).await.unwrap();
    let answer = sluice.post(Signal::Logs, body()).await;
    assert_eq!((answer.status, answer.partial(Signal::Logs).expect("a part is not valid").0), (200, 1));
    sluice.settled().await;
    crate::support::eventually("it is buried", async || {
        let letters = letters(&sluice.directory().join("letters"));
        assert!(letters.len() < 2, "the same twice");
        (!letters.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_waits_for_its_answer_is_neither_idle_nor_slow() {
    let up = format!("http://{}", sinks::nobody().await);
    let receivers = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, read_header_timeout: 1s, \
                     idle_timeout: 1s } } } }\n";
    let timeout = "acknowledge: delivered\nacknowledge_timeout: 3500ms\n";
    let sluice = Sluice::start(&(receivers.to_owned() + &yaml::up(&up, &[SINGLY, QUICK]) + timeout)).await;
    assert_eq!(sluice.post(Signal::Logs, logs(&[("a", &["x"])])).await.status, 503);
}

#[tokio::test]
async fn a_reload_says_when_later_senders_are_answered() {
    let gate = Gate::start().await;
    let queued = yaml::up(&gate.url(), &[SINGLY]);
    let sluice = Arc::new(Sluice::start(&(queued.clone() + PATIENT)).await);
    let waiting = post(&sluice, logs(&[("a", &["1"])]));
    gate.arrived(1).await;
    sluice.reconfigure(&queued).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["2"])])).await;
    assert!(!waiting.is_finished());
    gate.answer(200);
    assert_eq!(waiting.await.unwrap().status, 200);
    sluice.reconfigure(&(queued + PATIENT)).await;
    let waiting = post(&sluice, logs(&[("b", &["3"])]));
    gate.arrived(3).await;
    assert!(!waiting.is_finished());
    gate.answer(200);
    gate.answer(200);
    assert_eq!(waiting.await.unwrap().status, 200);
    sluice.settled().await;
}

#[tokio::test]
async fn at_the_end_those_who_wait_are_answered() {
    let config = |url: &str| yaml::up(url, &[SINGLY, QUICK]) + PATIENT + "shutdown_timeout: 2s\n";
    let send = async |sluice: &SluiceProcess| {
        let body = logs(&[("a", &["x"])]);
        let length = format!("content-length: {}", body.len());
        let mut wire = Wire::open(sluice.otlp).await;
        wire.request("POST /v1/logs", &[PROTOBUF, &length], &body).await;
        sluice.wait_for_metric("sluice_pending_records", &[], 1.0).await;
        wire
    };
    let nobody = format!("http://{}", sinks::nobody().await);
    let mut sluice = SluiceProcess::start(&config(&nobody), &[]).await;
    let mut refused = send(&sluice).await;
    sluice.signal("TERM").await;
    assert_eq!(refused.answer().await.status, 503);
    assert_eq!(sluice.ended().await.code(), Some(0), "nobody was promised anything: {:?}", sluice.log());

    let gate = Gate::start().await;
    let mut sluice = SluiceProcess::start(&config(&gate.url()), &[]).await;
    let mut delivered = send(&sluice).await;
    gate.arrived(1).await;
    sluice.signal("TERM").await;
    sluice.logged("shutting down: delivering").await;
    gate.answer(200);
    assert_eq!(delivered.answer().await.status, 200);
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
}

#[tokio::test]
async fn where_nobody_waits_for_delivery_nothing_is_taken_back() {
    let up = format!("http://{}", sinks::nobody().await);
    let sluice = Sluice::start(&yaml::up(&up, &[SINGLY, QUICK])).await;
    let body = logs(&[("a", &["x"])]);
    let mut wire = Wire::open(sluice.otlp).await;
    wire.request("POST /v1/logs", &[PROTOBUF, &format!("content-length: {}", body.len())], &body).await;
    assert_eq!(wire.answer().await.status, 200);
    drop(wire);
    let attempts = async || sluice.metric("sluice_export_attempts_total", &[]).await;
    let before = attempts().await;
    crate::support::eventually("it is tried again", async || (attempts().await > before).then_some(())).await;
    assert_eq!(sluice.assert_conserved().await.sum("sluice_pending_records", &[]), 1.0);
}

/// Calls on one connection.
struct Calls(hyper::client::conn::http2::SendRequest<Full<Bytes>>, SocketAddr);

impl Calls {
    async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("it listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender, to)
    }

    /// A call that is reset when it is aborted.
    fn logs(&mut self, message: &[u8]) -> JoinHandle<Reply> {
        let request = http::Request::post(format!("http://{}{}", self.1, grpc::export(Signal::Logs)))
            .header("content-type", "application/grpc")
            .body(Full::new(grpc::framed(0, message).into()))
            .unwrap();
        let answer = self.0.send_request(request);
        tokio::spawn(async move {
            let (head, body) = answer.await.unwrap().into_parts();
            let body = body.collect().await.unwrap();
            let mut headers = head.headers;
            headers.extend(body.trailers().cloned().unwrap_or_default());
            Reply { headers, body: body.to_bytes() }
        })
    }
}
