//! Every fault does what it says, over a real socket.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use rig::sink::{Counts, Fault, RetryAfter, Sink, SinkSettings};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::raw::{Answer, exchange, numbered, post, text};

/// Longer than any test takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn faulty(fault: Fault) -> Sink {
    let settings = SinkSettings { faults: vec![fault], ..SinkSettings::default() };
    Sink::start(settings).await.expect("a free port")
}

async fn answer(fault: Fault) -> (Sink, Answer) {
    let sink = faulty(fault).await;
    let answer = post(&sink, &numbered("a", &[0, 1])).await;
    (sink, answer)
}

#[tokio::test]
async fn a_status_refuses_with_a_message_and_takes_nothing() {
    let (sink, answer) = answer(Fault::status(503).message("too much")).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, None));
    assert!(answer.body.ends_with(b"too much"));
    let counts = sink.counts();
    assert_eq!((counts.requests, counts.refused, counts.accepted, counts.records), (1, 1, 0, 0));
    assert!(counts.bytes > 0);
}

#[tokio::test]
async fn retry_after_comes_in_seconds_or_as_a_date() {
    let (_, seconds) = answer(Fault::status(429).retry_after(RetryAfter::Seconds(2))).await;
    assert_eq!(seconds.header("retry-after"), Some("2"));

    let before = SystemTime::now();
    let (_, date) = answer(Fault::status(429).retry_after(RetryAfter::Date(Duration::from_secs(3600)))).await;
    let date = httpdate::parse_http_date(date.header("retry-after").unwrap()).unwrap();
    let away = date.duration_since(before).unwrap();
    assert!(away > Duration::from_secs(3590) && away < Duration::from_secs(3660), "{away:?}");
}

#[tokio::test]
async fn a_redirect_names_its_target() {
    let (sink, answer) = answer(Fault::redirect(307, "http://127.0.0.1:9/elsewhere")).await;
    assert_eq!((answer.status(), answer.header("location")), (307, Some("http://127.0.0.1:9/elsewhere")));
    assert_eq!(sink.counts().records, 0);
}

#[tokio::test]
async fn partial_success_says_what_it_was_told_to_say() {
    let (sink, answer) = answer(Fault::partial_success(77, "a lie")).await;
    let partial = ExportLogsServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_log_records, partial.error_message.as_str()), (77, "a lie"));
    assert_eq!((sink.counts().records, sink.counts().rejected), (2, 77));
}

#[tokio::test]
async fn an_unreadable_body_comes_with_200() {
    let (sink, answer) = answer(Fault::garbage_body()).await;
    assert_eq!(answer.status(), 200);
    assert!(ExportLogsServiceResponse::decode(&answer.body[..]).is_err());
    assert_eq!(sink.counts().records, 2);
}

#[tokio::test]
async fn an_answer_can_be_something_else_than_http() {
    let (sink, answer) = answer(Fault::not_http()).await;
    assert!(!answer.head.is_empty() && answer.status() == 0, "{answer:?}");
    assert_eq!(sink.counts().records, 0);
}

#[tokio::test]
async fn a_cut_answer_takes_the_records_and_says_nothing() {
    let (sink, answer) = answer(Fault::cut_answer()).await;
    assert_eq!(answer.head, "");
    assert_eq!((sink.counts().records, sink.counts().refused), (2, 0));
}

#[tokio::test]
async fn a_cut_body_ends_the_connection_before_the_body_has_ended() {
    for fault in [Fault::reset_after(1000), Fault::close_after(1000)] {
        let sink = faulty(fault).await;
        // The rest of the body never comes: if the sink waited for it, this would not return.
        let head = "POST /v1/logs HTTP/1.1\r\nHost: sink\r\nContent-Type: application/x-protobuf\r\n\
                    Content-Length: 100000\r\n\r\n";
        let answer = exchange(&sink, &[head.as_bytes(), &[0; 2000]].concat()).await;
        assert_eq!(answer.head, "");
        assert_eq!((sink.counts().refused, sink.counts().records), (1, 0));
    }
}

#[tokio::test]
async fn a_hanging_request_gets_no_answer_and_stops_no_other() {
    let sink = faulty(Fault::hang().on_streams("slow*")).await;
    let slow = numbered("slow-1", &[0]);
    let hanging = post(&sink, &slow);
    tokio::pin!(hanging);
    tokio::select! {
        answer = &mut hanging => panic!("{answer:?}"),
        counts = sink.wait_for_requests(1, PATIENCE) => assert_eq!(counts.unwrap().refused, 1),
    }
    assert_eq!(post(&sink, &numbered("fast-1", &[0])).await.status(), 200);
    // It hangs until the sink ends.
    sink.stop().await;
    assert_eq!(hanging.await.head, "");
}

#[tokio::test]
async fn a_delay_comes_before_the_answer() {
    let started = Instant::now();
    let (sink, answer) = answer(Fault::none().delayed(Duration::from_millis(50))).await;
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!((answer.status(), sink.counts().records), (200, 2));
}

#[tokio::test]
async fn a_poison_record_is_refused_and_others_are_not() {
    let sink = faulty(Fault::status(400).on_text("poison")).await;
    assert_eq!(post(&sink, &text("a", "some poison here")).await.status(), 400);
    assert_eq!(post(&sink, &text("a", "water")).await.status(), 200);
}

#[tokio::test]
async fn a_cut_that_depends_on_the_stream_spares_the_others() {
    let sink = faulty(Fault::reset_after(0).on_streams("bad-*")).await;
    assert_eq!(post(&sink, &numbered("bad-1", &[0])).await.head, "");
    assert_eq!(post(&sink, &numbered("good-1", &[0])).await.status(), 200);
}

#[tokio::test]
async fn a_script_answers_one_request_each_then_faults_go_on() {
    let sink = faulty(Fault::status(500)).await;
    sink.script([Fault::status(503), Fault::cut_answer(), Fault::reset_after(1), Fault::none()]);
    let mut statuses = Vec::new();
    for number in 0..5 {
        statuses.push(post(&sink, &numbered("a", &[number])).await.status());
    }
    assert_eq!(statuses, [503, 0, 0, 200, 500]);
}

#[tokio::test]
async fn faults_change_while_it_runs() {
    let sink = faulty(Fault::status(500).first(1)).await;
    let request = text("a", "x");
    assert_eq!(post(&sink, &request).await.status(), 500);
    assert_eq!(post(&sink, &request).await.status(), 200);
    sink.set_fault(Fault::status(401));
    sink.add_fault(Fault::status(402));
    assert_eq!(post(&sink, &request).await.status(), 401);
    sink.clear_faults();
    assert_eq!(post(&sink, &request).await.status(), 200);
}

#[tokio::test]
async fn a_stopped_sink_refuses_connections_and_can_come_back() {
    let sink = faulty(Fault::none()).await;
    let listen = sink.addr();
    sink.stop().await;
    assert!(TcpStream::connect(listen).await.is_err());

    let sink = Sink::start(SinkSettings { listen, ..SinkSettings::default() }).await.unwrap();
    assert_eq!(post(&sink, &text("a", "x")).await.status(), 200);
}

#[tokio::test]
async fn http2_without_tls_is_served_too() {
    let sink = faulty(Fault::none()).await;
    let stream = TcpStream::connect(sink.addr()).await.unwrap();
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("{}/v1/logs", sink.url()))
        .header("content-type", "application/x-protobuf")
        .body(Full::new(Bytes::from(numbered("a", &[0, 1, 2]))))
        .unwrap();
    assert_eq!(requests.send_request(request).await.unwrap().status(), 200);
    assert_eq!(sink.counts().records, 3);
    drop(requests);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn waiting_ends_with_the_counts_at_the_deadline() {
    let sink = faulty(Fault::none()).await;
    post(&sink, &numbered("a", &[0, 1])).await;
    assert_eq!(sink.wait_for_records(2, PATIENCE).await.unwrap().records, 2);
    let late = sink.wait_for_records(3, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(late.counts.records, 2);
}

/// Finishes once a request has arrived, and returns what was counted then.
async fn finish_under(sink: &Sink, within: Duration) -> Counts {
    while sink.counts().requests == 0 {
        tokio::task::yield_now().await;
    }
    sink.finish(within).await;
    sink.counts()
}

#[tokio::test]
async fn a_sink_that_finishes_answers_what_has_arrived_and_counts_it() {
    let sink = faulty(Fault::none().delayed(Duration::from_millis(100))).await;
    let body = numbered("a", &[0, 1]);
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: sink\r\nContent-Length: {}\r\nContent-Type: application/x-protobuf\r\n\r\n",
        body.len()
    );
    // The connection is not closed by the sender: that the exchange ends is the sink's doing.
    let request = [head.as_bytes(), &body].concat();
    let both = async { tokio::join!(exchange(&sink, &request), finish_under(&sink, PATIENCE)) };
    let (answer, counts) = tokio::time::timeout(PATIENCE, both).await.expect("both end");
    assert_eq!((answer.status(), counts.accepted, counts.records), (200, 1, 2));
    assert!(TcpStream::connect(sink.addr()).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_sink_that_finishes_does_not_wait_for_ever() {
    let sink = faulty(Fault::hang()).await;
    let body = numbered("a", &[0]);
    let both = async { tokio::join!(post(&sink, &body), finish_under(&sink, Duration::ZERO)) };
    let (answer, counts) = tokio::time::timeout(PATIENCE, both).await.expect("both end");
    assert_eq!((answer.status(), counts.accepted), (0, 0));
}
