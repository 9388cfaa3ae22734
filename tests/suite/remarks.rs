//! What the log says of requests that are not taken, or not whole: every cause, once, and in the right column.

use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::support::grpc::{call, export, framed};
use crate::support::payload::{KEY, attribute, entry_of, field, logs, request, resource, resource_of};
use crate::support::yaml::{self, LETTERS, QUICK};
use crate::support::{Sluice, SluiceProcess, eventually, http, sinks};

/// What the progress lines say of a column, summed up.
fn progress(sluice: &SluiceProcess, column: &str) -> u64 {
    let value = |line: &String| {
        let (_, rest) = line.split_once(&format!(" {column}="))?;
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    sluice.log().iter().filter(|line| line.contains("records_in=")).filter_map(value).sum()
}

#[tokio::test]
async fn what_was_shed_is_not_called_unrouted_and_counts_once() {
    let up = sinks::counting().await;
    let queue = "sending_queue: { when_full: shed, batch: { flush_timeout: 0s } }";
    let limits = "limits: { streams: 1 }\nunrouted: drop\n";
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[QUICK, queue]) + limits), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    let answer = sluice.post(Signal::Logs, logs(&[("b", &["2", "3", "4"])])).await;
    assert_eq!(answer.partial(Signal::Logs).expect("a stream was shed").0, 3);
    sluice.logged("was shed by `otlp_http/up`").await;
    sluice.logged("records not delivered").await;
    assert!(!sluice.log().iter().any(|line| line.contains("unrouted: drop")), "{:?}", sluice.log());
    // A count that comes behind the others, so that nothing of theirs is still to come.
    sluice.accept(Signal::Logs, request(&[entry_of(Signal::Logs, resource(&[("x", "y")]), &["5"])])).await;
    sluice.logged("records without a route dropped, as `unrouted: drop` says").await;
    let lost = || progress(&sluice, "not_delivered");
    eventually("the progress lines have it", async || (lost() >= 4).then_some(())).await;
    assert_eq!(lost(), 4, "three shed, one dropped: {:?}", sluice.log());
}

#[tokio::test]
async fn what_becomes_dead_letters_is_said_to_be_kept() {
    let up = sinks::counting().await;
    let kept = "unrouted: dead_letter\n".to_owned() + LETTERS;
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[QUICK]) + &kept), &[]).await;
    let entry = entry_of(Signal::Logs, resource(&[("x", "y")]), &["1"]);
    sluice.accept(Signal::Logs, request(&[entry])).await;
    let said = "records without a route are kept as dead letters, as `unrouted: dead_letter` says: no route takes these logs";
    sluice.logged(said).await;
}

#[tokio::test]
async fn rule_34_answers_are_trimmed_whatever_was_sent() {
    const MOST: usize = 4096;
    let up = sinks::counting().await;
    let (missing, long) = ("y".repeat(1000), "x".repeat(20_000));
    let config = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))])
        + &format!("routes: [{{ match: {{ {missing}: '*' }}, exporters: [otlp_http/up] }}]\n");
    let sluice = Sluice::start(&config).await;
    // Hundreds of entries, each with a fault of its own, or without the attribute that is to be named.
    let invalid = |index: usize| field(2, field(2, field(9, vec![1; index % 16])));
    let unrouted = entry_of(Signal::Logs, resource(&[(&long, "")]), &["text"]);
    let entries: Vec<_> = (1..500).flat_map(|index| [invalid(index), unrouted.clone()]).collect();
    let answer = sluice.post(Signal::Logs, request(&entries)).await;
    assert!(answer.partial(Signal::Logs).expect("nothing was taken").0 > 500);
    assert!(answer.body.len() < MOST, "{} bytes", answer.body.len());

    // A path of a name that nobody knows, within one that does not end.
    let deep = format!("{{\"resourceLogs\":[{{\"{long}\":{}", format!("{{\"{long}\":[").repeat(50));
    let url = format!("/{long}");
    for (path, content_type, body, status) in [
        ("/v1/logs", "application/json", deep.as_str(), 400),
        (url.as_str(), "application/json", "{}", 404),
        (url.as_str(), "application/x-protobuf", "", 404),
        ("/v1/logs", long.as_str(), "", 415),
    ] {
        let headers = [("content-type", content_type)];
        let answer = http::send(sluice.otlp, "POST", path, &headers, body.to_owned().into()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(!answer.body.is_empty() && answer.body.len() < MOST, "{} bytes", answer.body.len());
    }
}

#[tokio::test]
async fn every_cause_of_a_rejection_is_in_the_log() {
    let up = sinks::counting().await;
    let http_receiver = "http: { endpoint: 127.0.0.1:0, max_request_body_size: 1MiB }";
    let receivers = format!("receivers: {{ otlp: {{ protocols: {{ {http_receiver} }} }} }}\n");
    let sluice = SluiceProcess::start(&(receivers + &yaml::up(&up.url(), &[])), &[]).await;
    let post = async |body: Vec<u8>| sluice.post(Signal::Logs, body).await.status;
    let unrouted = entry_of(Signal::Logs, resource(&[(KEY, ""), ("x", "y")]), &["1"]);
    let twice = resource_of(vec![attribute(KEY, "a"), attribute(KEY, "b")]);
    assert_eq!(post(request(&[&unrouted, &unrouted, &unrouted])).await, 200);
    assert_eq!(post(request(&[unrouted])).await, 200);
    assert_eq!(post(request(&[entry_of(Signal::Logs, twice, &["2"])])).await, 200);
    assert_eq!(post(logs(&[("a", &["x"])])[..10].to_vec()).await, 400);
    assert_eq!(post(br#"{"resourceLogs":[]}"#.to_vec()).await, 400);
    let gzip = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    let garbage = bytes::Bytes::from_static(b"this is not gzip");
    assert_eq!(http::send(sluice.otlp, "POST", "/v1/logs", &gzip, garbage).await.status, 400);
    assert_eq!(post(vec![0; 2 << 20]).await, 413);
    for line in [
        "resource_logs[0] (s2.stream is there but empty) and 2 more: no route takes these logs",
        "occurs twice with different values",
        "field goes beyond the end of its message",
        "this looks like JSON",
        "the body is not valid Gzip data",
        "the body is larger than",
    ] {
        sluice.logged(line).await;
    }
    let rejected = || progress(&sluice, "rejected");
    let received = sluice.metrics().await.sum("sluice_received_records_total", &[("outcome", "rejected")]);
    eventually("the progress lines have it", async || (rejected() as f64 >= received).then_some(())).await;
    assert_eq!(rejected() as f64, received);
    assert_eq!(progress(&sluice, "not_delivered"), 0, "what was never taken is not missing");
}

#[tokio::test]
async fn a_refusal_names_the_stream_that_is_full() {
    let up = sinks::counting().await;
    up.set_fault(Fault::hang());
    let queue = "sending_queue: { queue_size: 1KiB, batch: { min_size: 1, max_size: 1KiB } }";
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[QUICK, queue]), &[]).await;
    let mut posted = 0;
    while sluice.post(Signal::Logs, logs(&[("fine", &[]), ("the full one", &["text"])])).await.status == 200 {
        posted += 1;
        assert!(posted < 100, "a kilobyte is full at some time");
    }
    let line = sluice.logged("request refused: the queue of a stream is full").await;
    for part in ["exporter=otlp_http/up", "key=\"the full one\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn the_line_about_unrouted_and_rejected_data_names_peer_user_agent_and_service() {
    const PROTOBUF: &str = "application/x-protobuf";
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[]), &[]).await;
    let agent = "agent/1 ".to_owned() + &"x".repeat(200);
    let send = async |kind: &str, body: Vec<u8>| {
        let headers = [("content-type", kind), ("user-agent", &*agent)];
        http::send(sluice.otlp, "POST", "/v1/logs", &headers, body.into()).await.status
    };
    let unrouted = entry_of(Signal::Logs, resource(&[("service.name", "shop\n1")]), &["1"]);
    assert_eq!(send(PROTOBUF, request(&[unrouted])).await, 200);
    let line = sluice.logged("no route takes these logs").await;
    assert!(line.contains("service=\"shop\u{fffd}1\"") || line.contains("shop\u{fffd}1"), "{line}");
    let bad = [
        entry_of(Signal::Logs, resource(&[("service.name", "cart")]), &[]),
        field(2, field(2, field(9, "x"))),
    ]
    .concat();
    assert_eq!(send(PROTOBUF, request(&[bad])).await, 200);
    let rejected = sluice.logged("a trace id must have 16 bytes").await;
    assert!(rejected.contains("cart"), "{rejected}");
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"till"}}]},
        "scopeLogs":[{"logRecords":[{"flags":"x"}]}]}]}"#;
    assert_eq!(send("application/json", json.into()).await, 400);
    let of_json = sluice.logged("must be a number").await;
    assert!(of_json.contains("till"), "{of_json}");
    assert_eq!(send(PROTOBUF, vec![0xff]).await, 400);
    let malformed = sluice.logged("request rejected").await;
    for line in [&line, &rejected, &of_json, &malformed] {
        assert!(line.contains("peer=\"127.0.0.1:") || line.contains("peer=127.0.0.1:"), "{line}");
        assert!(line.contains("agent/1 xxx") && !line.contains(&"x".repeat(150)), "{line}");
    }
}

#[tokio::test]
async fn every_service_whose_data_has_no_route_is_named_with_peer_and_user_agent_also_by_grpc() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[]), &[]).await;
    let unrouted = request(&[
        entry_of(Signal::Logs, resource(&[(KEY, "a"), ("service.name", "taken")]), &["1"]),
        entry_of(Signal::Logs, resource(&[("service.name", "shop")]), &["2"]),
    ]);
    let agent = [("user-agent", "OTel-OTLP-Exporter-Test/1")];
    let reply = call(sluice.otlp, export(Signal::Logs), &agent, framed(0, &unrouted)).await;
    assert_eq!(reply.code(), tonic::Code::Ok);
    let line = sluice.logged("resource_logs[1] (s2.stream absent): no route takes these logs").await;
    for part in ["127.0.0.1:", "OTel-OTLP-Exporter-Test/1", "shop", "records=1"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // Within the time in which nothing is said twice about one of them.
    let other = request(&[entry_of(Signal::Logs, resource(&[("service.name", "till")]), &["3"])]);
    assert_eq!(sluice.post(Signal::Logs, other).await.status, 200);
    let line = sluice.logged("till").await;
    assert!(line.contains("no route takes these logs"), "{line}");
}
