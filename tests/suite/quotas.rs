//! Quotas: what a tenant may send, and what it may hold, and that nobody else notices.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use sluice::run::{self, Role};
use sluice::tenants::{QuotaUsage, TableRow};
use tokio::task::JoinSet;
use tokio::time::{Instant, advance};
use tonic::Code;

use crate::support::clock;
use crate::support::grpc::{call, export, framed};
use crate::support::http::{self, Answer};
use crate::support::http2::Calls;
use crate::support::payload::{KEY, entries, entry_of, filler, logs, request, resource, texts};
use crate::support::sinks::{self, Received as _};
use crate::support::wire::Wire;
use crate::support::yaml::{LETTERS, QUICK, SINGLY};
use crate::support::{Front, Sluice, SluiceProcess, eventually};

/// A configuration whose receiver has these options on both protocols, with a stream for each tenant and `s2.stream`, and these rows.
fn config(up: &str, options: &str, rows: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, {options} }}, grpc: {{ endpoint: 127.0.0.1:0, {options} }} }} }} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: '{up}', compression: none, {SINGLY}, {QUICK} }} }}\n\
         routes: [{{ tenants: '*', key: s2.stream, exporters: [otlp_http/up] }}]\n\
         tenants: {{ list: [{rows}] }}\n"
    )
}

/// The same where senders show who they are.
fn authenticated(up: &str, rows: &str) -> String {
    config(up, "auth: { authenticator: tenants }", rows)
}

/// A row whose sender has its id as its token.
fn row(id: &str, limits: &str) -> String {
    format!("{{ id: {id}, senders: [{{ name: web, token: {id} }}], limits: {{ {limits} }} }}")
}

async fn start(rows: &str) -> (Sink, Sluice, SocketAddr) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&authenticated(&up.url(), rows)).await;
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    (up, sluice, grpc)
}

/// Posts logs as a sender of a tenant.
async fn post(sluice: &Sluice, tenant: &str, body: Vec<u8>) -> Answer {
    sluice.post_with(Signal::Logs, body, &[("authorization", &format!("Bearer {tenant}"))]).await
}

/// A request with one record of about so many bytes.
fn body(bytes: usize) -> Vec<u8> {
    logs(&[("a", &[&filler("", bytes)])])
}

/// An entry that names its tenant, with one record of about so many bytes.
fn entry(tenant: &str, stream: &str, bytes: usize) -> Vec<u8> {
    entry_of(Signal::Logs, resource(&[("tenant.id", tenant), (KEY, stream)]), &[&filler("", bytes)])
}

fn usage(sluice: &Sluice, tenant: &str) -> QuotaUsage {
    let tenants = sluice.router().tenants();
    let table = tenants.table();
    let Some(TableRow::Ready(row)) = table.tenant(tenant) else { panic!("there is no `{tenant}`") };
    tenants.account(tenant).quota().usage(&row.limits)
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").expect("it says when to come back").parse().unwrap()
}

#[tokio::test]
async fn a_sender_that_is_over_its_rate_is_refused_before_its_body_is_read() {
    let (up, sluice, grpc) =
        start(&[row("acme", "rate: 1KiB/s, burst: 1KiB"), row("globex", "")].join(", ")).await;
    assert_eq!(
        post(&sluice, "acme", body(100 << 10)).await.status,
        200,
        "what is not used up lets any size in"
    );
    for (content_type, is_json) in [("application/x-protobuf", false), ("application/json", true)] {
        let mut wire = Wire::open(sluice.otlp).await;
        let content_type = format!("content-type: {content_type}");
        let headers = ["authorization: Bearer acme", &content_type, "content-length: 1000000"];
        wire.request("POST /v1/logs", &headers, "").await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 429);
        assert!((90..=101).contains(&retry_after(&answer)), "{answer:?}");
        let said = "the tenant `acme` has sent more than its `limits.rate`; send it again in ";
        if is_json {
            let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(status["code"], 8);
            assert!(status["message"].as_str().unwrap().starts_with(said), "{status}");
        } else {
            let status = answer.error();
            assert_eq!(status.code, 8);
            assert!(status.message.starts_with(said), "{status:?}");
        }
    }
    let mut calls = Calls::over(tokio::net::TcpStream::connect(grpc).await.unwrap()).await;
    let waiting = calls.begin_with(export(Signal::Logs), &[("authorization", "Bearer acme")]).await;
    assert_eq!(waiting.code().await, Code::ResourceExhausted);
    let reply =
        call(grpc, export(Signal::Logs), &[("authorization", "Bearer acme")], framed(0, &body(1))).await;
    let delay = reply.retry_delay().expect("it says when to come back");
    assert!((Duration::from_secs(90)..Duration::from_secs(101)).contains(&delay), "{delay:?}");
    assert!(delay.subsec_nanos() > 0, "it is not rounded");

    assert_eq!(post(&sluice, "globex", body(100 << 10)).await.status, 200);
    up.records(2).await;
    let metrics = sluice.metrics().await;
    let refused = |transport| {
        metrics.sum("sluice_received_requests_total", &[("transport", transport), ("outcome", "refused")])
    };
    assert_eq!((refused("http"), refused("grpc")), (2.0, 2.0));
    assert!(sluice.router().tenants().account("acme").quota().was_over_limit_recently());
}

#[tokio::test]
async fn whoever_comes_back_when_it_is_told_to_is_taken() {
    let (up, sluice, _) = start(&row("acme", "rate: 2KiB/s, burst: 2KiB")).await;
    let _clock = clock::hold();
    for round in 1..=2 {
        assert_eq!(post(&sluice, "acme", body(3000)).await.status, 200);
        // Half a second is what it takes by then, and whole seconds are what it is told.
        for earlier in [0, 400] {
            advance(Duration::from_millis(earlier)).await;
            let refused = post(&sluice, "acme", body(3000)).await;
            assert_eq!((refused.status, retry_after(&refused)), (429, 1));
        }
        advance(Duration::from_secs(1)).await;
        up.records(round).await;
    }
}

#[tokio::test]
async fn a_burst_is_taken_at_once_and_is_a_second_of_the_rate_unless_it_is_written() {
    let rows = [
        row("acme", "rate: 10KiB/s"),
        row("globex", "rate: 10KiB/s, burst: 100KiB"),
        row("initech", "rate: 10KiB/s, burst: 1"),
    ];
    let (_up, sluice, _) = start(&rows.join(", ")).await;
    let _clock = clock::hold();
    for (tenant, requests) in [("acme", 2), ("globex", 20), ("initech", 1)] {
        let mut taken = 0;
        while post(&sluice, tenant, body(5 << 10)).await.status == 200 {
            taken += 1;
        }
        assert_eq!(taken, requests, "{tenant}");
    }
}

#[tokio::test]
async fn json_and_compressed_bodies_are_charged_by_their_protobuf() {
    let (_up, sluice, _) =
        start(&["json", "proto", "gzip"].map(|id| row(id, "rate: 1B/s, burst: 1MiB")).join(", ")).await;
    let text = "x".repeat(10_000);
    let protobuf = logs(&[("a", &[&text])]);
    let json = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"s2.stream","value":{{"stringValue":"a"}}}}]}},
        "scopeLogs":[{{"scope":{{"name":"scope"}},"logRecords":[{{"body":{{"stringValue":"{text}"}}}}]}}]}}]}}"#
    );
    let headers = [("authorization", "Bearer json"), ("content-type", "application/json")];
    let answer = http::send(sluice.otlp, "POST", "/v1/logs", &headers, json.into()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &protobuf).unwrap();
    let headers = [("authorization", "Bearer gzip"), ("content-encoding", "gzip")];
    assert_eq!(sluice.post_with(Signal::Logs, encoder.finish().unwrap(), &headers).await.status, 200);
    let len = protobuf.len() as u64;
    assert_eq!(post(&sluice, "proto", protobuf).await.status, 200);
    for (tenant, tolerance) in [("proto", 3), ("gzip", 3), ("json", 100)] {
        let used = usage(&sluice, tenant).burst;
        assert!(used.abs_diff(len) < tolerance, "{tenant}: {used} of {len}");
    }
}

#[tokio::test]
async fn what_a_sender_may_not_send_is_charged_to_its_own_tenant() {
    let rows = [row("acme", "rate: 1B/s, burst: 1MiB"), row("globex", "rate: 1B/s, burst: 1MiB")];
    let (_up, sluice, _) = start(&rows.join(", ")).await;
    let body = request(&[entry("acme", "a", 1000), entry("globex", "a", 50_000)]);
    assert_eq!(post(&sluice, "acme", body).await.status, 200);
    assert!(usage(&sluice, "acme").burst > 51_000);
    assert_eq!(usage(&sluice, "globex").burst, 0);
}

#[tokio::test]
async fn a_request_of_several_tenants_is_refused_whole_for_one_of_them_and_nobody_is_charged() {
    let up = sinks::recording().await;
    let rows = |rate: &str| {
        let rows = [row("acme", &format!("rate: {rate}")), row("globex", "rate: 1B/s, burst: 10MiB")];
        config(&up.url(), "", &rows.join(", "))
    };
    let sluice = Sluice::start(&rows("1KiB/s")).await;
    sluice.accept(Signal::Logs, request(&[entry("acme", "a", 30 << 10)])).await;
    let both = request(&[entry("globex", "a", 1000), entry("acme", "a", 10), entry("globex", "a", 1000)]);
    let refused = sluice.post(Signal::Logs, both.clone()).await;
    assert_eq!(refused.status, 429);
    assert!(
        (25..=30).contains(&retry_after(&refused)) && refused.error().message.contains("`acme`"),
        "{refused:?}"
    );
    assert_eq!((usage(&sluice, "globex").burst, usage(&sluice, "globex").streams), (0, 0));
    let metrics = sluice.metrics().await;
    assert_eq!(metrics.sum("sluice_received_records_total", &[("outcome", "refused")]), 3.0);

    sluice.reconfigure(&rows("1MiB/s")).await;
    sluice.accept(Signal::Logs, both).await;
    assert!(usage(&sluice, "globex").burst > 0);
    up.records(4).await;
    sluice.settled().await;
}

#[tokio::test]
async fn whoever_sends_for_others_is_refused_for_them_and_not_for_its_own_tenant() {
    let gateway = "{ id: gateway, senders: [{ name: web, token: gateway, may_send_for: ['acme', 'gateway'] }], limits: { rate: 1KiB/s } }";
    let (up, sluice, _) = start(&[gateway, &row("acme", "rate: 1KiB/s")].join(", ")).await;
    let of = |tenant: &str| request(&[entry(tenant, "a", 30 << 10)]);
    assert_eq!(post(&sluice, "gateway", of("gateway")).await.status, 200);
    assert_eq!(post(&sluice, "gateway", of("gateway")).await.status, 429);
    assert_eq!(post(&sluice, "gateway", of("acme")).await.status, 200);
    assert_eq!(post(&sluice, "gateway", of("acme")).await.status, 429);
    assert_eq!(post(&sluice, "acme", of("acme")).await.status, 429, "what others sent for it counts");
    up.records(2).await;
}

#[tokio::test]
async fn a_limit_that_changes_in_the_row_counts_at_once_and_without_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let write = |limits: &str| {
        let (file, new) = (directory.path().join("acme.yaml"), directory.path().join("acme.new"));
        std::fs::write(
            &new,
            format!("id: acme\nsenders: [{{ name: web, token: acme }}]\nlimits: {{ {limits} }}\n"),
        )
        .unwrap();
        std::fs::rename(new, file).unwrap();
    };
    write("rate: 1KiB/s");
    let up = sinks::recording().await;
    let yaml = authenticated(&up.url(), "")
        .replace("list: []", &format!("directory: '{}'", directory.path().display()));
    let sluice = Sluice::start(&yaml).await;
    tokio::spawn(run::watch_tenants(sluice.router().clone()));
    assert_eq!(post(&sluice, "acme", body(1 << 20)).await.status, 200);
    let refused = post(&sluice, "acme", body(1)).await;
    assert!(refused.status == 429 && retry_after(&refused) > 1000, "{refused:?}");
    let version = sluice.router().report().version;
    write("rate: 100MiB/s, streams: 1");
    eventually("the higher rate", async || {
        (post(&sluice, "acme", body(1)).await.status == 200).then_some(())
    })
    .await;
    let other = post(&sluice, "acme", logs(&[("b", &["x"])])).await;
    assert!(other.status == 503 && other.error().message.contains("`acme`"), "{other:?}");
    write("streams: 2");
    eventually("another stream", async || {
        (post(&sluice, "acme", logs(&[("b", &["x"])])).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(sluice.router().report().version, version);
}

#[tokio::test]
async fn a_stream_beyond_the_limit_of_its_tenant_is_refused_and_named() {
    let (up, sluice, grpc) = start(&[row("acme", "streams: 2"), row("globex", "")].join(", ")).await;
    let streams = |names: &[&str]| {
        let entries: Vec<(&str, &[&str])> = names.iter().map(|name| (*name, &["x"][..])).collect();
        logs(&entries)
    };
    assert_eq!(post(&sluice, "acme", streams(&["a", "b"])).await.status, 200);
    let refused = post(&sluice, "acme", streams(&["c"])).await;
    assert_eq!(
        (refused.status, &*refused.error().message),
        (503, "the tenant `acme` has reached its `limits.streams`")
    );
    assert!((1..=5).contains(&retry_after(&refused)));
    let headers = [("authorization", "Bearer acme")];
    let reply = call(grpc, export(Signal::Logs), &headers, framed(0, &streams(&["c"]))).await;
    assert_eq!(reply.code(), Code::Unavailable);
    assert_eq!(post(&sluice, "acme", streams(&["a"])).await.status, 200, "those that there are go on");
    assert_eq!(post(&sluice, "globex", streams(&["a", "b", "c"])).await.status, 200);
    let never = post(&sluice, "acme", streams(&["d", "e", "a"])).await;
    assert_eq!(never.status, 503, "there is room for one of them when the others have ended: {never:?}");
    up.records(6).await;
    assert_eq!(usage(&sluice, "acme").streams, 2);
}

#[tokio::test]
async fn under_shed_what_is_beyond_a_tenants_limit_is_cut_out_buried_and_told() {
    let up = sinks::recording().await;
    let rows = [row("acme", "streams: 1"), row("globex", "")].join(", ");
    let yaml = config(&up.url(), "", &rows).replace("sending_queue: {", "sending_queue: { when_full: shed,")
        + LETTERS;
    let sluice = Sluice::start(&yaml).await;
    let mixed = request(&[entry("acme", "a", 10), entry("acme", "b", 10), entry("globex", "c", 10)]);
    let answer = sluice.post(Signal::Logs, mixed).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("a part was cut out");
    assert_eq!((answer.status, rejected), (200, 1));
    assert!(
        message.contains(
            "entry 1 was shed by `otlp_http/up`: the tenant `acme` has reached its `limits.streams`"
        ),
        "{message}"
    );
    up.records(2).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "dead_lettered"), 1.0);
}

/// Ninety-nine tenants that send, in a Sluice of their own or beside a tenant whose requests are never answered.
struct Healthy {
    up: Sink,
    sluice: Sluice,
    /// From each request to its arrival at the upstream.
    latencies: Vec<Duration>,
    /// From the first request of a round to the arrival of the last one.
    rounds: Vec<Duration>,
}

impl Healthy {
    const TENANTS: usize = 99;
    /// That many of them send at a time.
    const AT_ONCE: usize = 9;

    /// All tenants have these limits, and all go to one upstream, which never answers what is of the tenant `stuck`.
    async fn start(limits: &str, bounds: &str) -> Self {
        let up = sinks::recording().await;
        up.set_fault(Fault::hang().on_text(STUCK));
        let ids = (0..Self::TENANTS).map(|number| format!("t{number}")).chain([STUCK.to_owned()]);
        let rows: Vec<_> = ids.map(|id| row(&id, limits)).collect();
        let sluice = Sluice::start(&(authenticated(&up.url(), &rows.join(", ")) + bounds)).await;
        Self { up, sluice, latencies: Vec::new(), rounds: Vec::new() }
    }

    /// Sends a record of each tenant, and waits until they have arrived.
    async fn round(&mut self) {
        let round = self.rounds.len();
        let begun = Instant::now();
        let mut sending = JoinSet::new();
        for first in 0..Self::AT_ONCE {
            let front = Front::clone(&self.sluice);
            sending.spawn(async move {
                let mut sent = Vec::new();
                for number in (first..Self::TENANTS).step_by(Self::AT_ONCE) {
                    let (text, authorization) = (format!("{number} {round}"), format!("Bearer t{number}"));
                    let (body, headers) = (logs(&[("a", &[&text])]), [("authorization", &*authorization)]);
                    sent.push((text.clone(), Instant::now()));
                    let answer = front.post_with(Signal::Logs, body, &headers).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
                sent
            });
        }
        let sent: HashMap<_, _> = sending.join_all().await.into_iter().flatten().collect();
        self.up.records(((round + 1) * Self::TENANTS) as u64).await;
        self.rounds.push(begun.elapsed());
        for taken in self.up.taken() {
            for text in entries(&taken.body).iter().flat_map(|entry| texts(Signal::Logs, entry)) {
                self.latencies.extend(sent.get(&text).map(|sent| taken.decided.duration_since(*sent)));
            }
        }
    }

    /// Everything has arrived in order, and nothing of it is held any more.
    async fn have_lost_nothing(&self) {
        let texts = self.up.texts(Signal::Logs);
        for number in 0..Self::TENANTS {
            let own = format!("{number} ");
            let rounds: Vec<_> = texts.iter().filter_map(|text| text.strip_prefix(&own)).collect();
            assert_eq!(rounds, (0..self.rounds.len()).map(|round| round.to_string()).collect::<Vec<_>>());
            let nothing = async || (usage(&self.sluice, &format!("t{number}")).memory == 0).then_some(());
            eventually("nothing is held any more", nothing).await;
        }
    }
}

/// The tenant whose requests are never answered, and what is in their records.
const STUCK: &str = "stuck";

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// Has the stuck tenant fill its share, and compares how the others fare beside it with how they fare alone, round by round.
/// Without its limit it would take all that there is within the `bounds` of the configuration.
async fn one_that_is_stuck_is_not_noticed(limits: &str, bounds: &str) -> QuotaUsage {
    const ROUNDS: usize = 7;
    let name = limits.split(':').next().unwrap();
    let reached = format!("the tenant `{STUCK}` has reached its `limits.{name}`");
    let (mut alone, mut beside) =
        (Healthy::start(limits, bounds).await, Healthy::start(limits, bounds).await);
    let front = Front::clone(&beside.sluice);
    let push = async move |stream: usize| {
        let body = logs(&[(&format!("s{stream}"), &[&filler(STUCK, 20_000)])]);
        let headers = [("authorization", "Bearer stuck")];
        let answer = front.post_with(Signal::Logs, body, &headers).await;
        if answer.status == 503 {
            assert_eq!(answer.error().message, reached);
        } else {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        answer.status
    };
    let mut streams = 0..;
    let mut refused = 0;
    while refused < 5 {
        refused += usize::from(push(streams.next().unwrap()).await == 503);
    }
    for _ in 0..ROUNDS {
        alone.round().await;
        let (push, first) = (push.clone(), streams.start);
        let pushing = tokio::spawn(async move {
            for stream in first.. {
                assert_eq!(push(stream).await, 503);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        beside.round().await;
        assert!(!pushing.is_finished(), "it is refused for as long as it is stuck");
        pushing.abort();
    }
    beside.have_lost_nothing().await;
    for (what, alone, beside) in
        [("latency", &alone.latencies, &beside.latencies), ("round", &alone.rounds, &beside.rounds)]
    {
        let (alone, beside) = (median(alone), median(beside));
        println!("median {what}: {beside:?} beside the tenant that is stuck, {alone:?} alone");
        assert!(beside < 3 * alone, "the others notice it");
    }
    usage(&beside.sluice, STUCK)
}

#[tokio::test]
async fn one_stuck_tenant_that_fills_its_share_of_memory_changes_nothing_for_ninety_nine_others() {
    let stuck = one_that_is_stuck_is_not_noticed("memory: 256KiB", "limits: { memory: 16MiB }\n").await;
    // The last one came into an empty stream, while a little of the share was left.
    assert_eq!(stuck.streams, 14);
    assert!(stuck.memory <= (256 << 10) + 21_000, "{stuck:?}");
}

#[tokio::test]
async fn one_stuck_tenant_that_fills_its_share_of_streams_changes_nothing_for_ninety_nine_others() {
    let stuck = one_that_is_stuck_is_not_noticed("streams: 10", "limits: { streams: 120 }\n").await;
    assert_eq!(stuck.streams, 10);
}

#[tokio::test]
async fn one_stuck_tenant_that_fills_its_share_of_the_journal_changes_nothing_for_ninety_nine_others() {
    let journal = "journal: { directory: '@DIR@/journal', max_size: 16MiB, segment_size: 1MiB }\n";
    let stuck = one_that_is_stuck_is_not_noticed("journal: 1MiB", journal).await;
    assert!((900 << 10..(1 << 20) + 21_000).contains(&stuck.journal), "{stuck:?}");
}

#[tokio::test]
async fn with_a_journal_a_tenant_takes_its_share_of_memory_and_of_the_disk_also_after_a_restart() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(429));
    let journal = format!(
        "journal: {{ directory: '{}/journal', max_size: 16MiB, segment_size: 1MiB }}\nshutdown_timeout: 0s\n",
        kept.path().display()
    );
    let rows = [row("acme", "memory: 64KiB, journal: 1MiB"), row("globex", "")].join(", ");
    let yaml = authenticated(&up.url(), &rows) + &journal;
    let mut taken = 0;
    {
        let sluice = Sluice::start(&yaml).await;
        loop {
            let stream = format!("s{}", taken % 4);
            let answer =
                post(&sluice, "acme", logs(&[(&stream, &[&filler(&format!("{taken} "), 20_000)])])).await;
            if answer.status == 503 {
                assert_eq!(answer.error().message, "the tenant `acme` has reached its `limits.journal`");
                break;
            }
            assert_eq!(answer.status, 200, "{answer:?}");
            taken += 1;
        }
        assert!((48..=52).contains(&taken), "{taken}");
        // But for what is read of each stream to be tried again.
        assert!(usage(&sluice, "acme").memory <= (64 << 10) + 4 * 21_000, "{:?}", usage(&sluice, "acme"));
        assert_eq!(post(&sluice, "globex", body(20_000)).await.status, 200);
        sluice.shut_down().await;
    }
    let sluice = Sluice::start(&yaml).await;
    let recovered = usage(&sluice, "acme");
    assert_eq!(recovered.streams, 4);
    assert!((900 << 10..=1 << 20).contains(&recovered.journal), "{recovered:?}");
    let refused = post(&sluice, "acme", logs(&[("s0", &[&filler("", 60_000)])])).await;
    assert!(refused.status == 503 && refused.error().message.contains("limits.journal"), "{refused:?}");
    up.clear_faults();
    up.records(taken + 1).await;
    sluice.settled().await;
    let settled = usage(&sluice, "acme");
    assert_eq!((settled.journal, settled.memory), (0, 0));
    assert_eq!(post(&sluice, "acme", body(60_000)).await.status, 200);
}

#[tokio::test]
async fn the_log_names_the_tenant_whose_limit_is_reached_and_says_it_once() {
    let up = sinks::recording().await;
    let rows = [row("acme", "rate: 1KiB/s"), row("globex", "streams: 1")].join(", ");
    let sluice = SluiceProcess::start(&authenticated(&up.url(), &rows), &[]).await;
    let post = async |tenant: &str, body: Vec<u8>| {
        sluice.post_with(Signal::Logs, body, &[("authorization", &format!("Bearer {tenant}"))]).await.status
    };
    assert_eq!(post("acme", body(30_000)).await, 200);
    assert_eq!(post("globex", body(10)).await, 200);
    for _ in 0..5 {
        assert_eq!(post("acme", body(10)).await, 429);
        assert_eq!(post("globex", logs(&[("b", &["x"])])).await, 503);
    }
    sluice.logged("the tenant `acme` has sent more than its `limits.rate`").await;
    sluice.logged("the tenant `globex` has reached its `limits.streams`").await;
    let lines = sluice.log();
    for said in ["more than its `limits.rate`", "reached its `limits.streams`"] {
        assert_eq!(lines.iter().filter(|line| line.contains(said)).count(), 1, "{said}");
    }
}
