//! Isolation: a stalled stream or exporter delays no other.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use tokio::time::Instant;

use crate::support::payload::{KEY, entries, entry, entry_of, filler, logs, request, resource, texts};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK};
use crate::support::{PATIENCE, Sluice, eventually};

const STREAMS: usize = 1000;
const STALLED: usize = 300;

/// What a busy machine may add to a latency: less than the second that a stream loses by waiting for a hanging attempt to
/// give its place up.
const NOISE: Duration = Duration::from_millis(500);

/// Rounds in which the healthy streams have to get their latency back; on a machine that is busy with other things, most are
/// noise.
const ROUNDS: usize = 40;

/// Consecutive rounds, of which most have to be good.
const WINDOW: usize = 5;

fn key(stream: usize) -> String {
    format!("{}-{stream:04}", if stream < STALLED { "slow" } else { "fine" })
}

/// One record for every stream, in requests of 100 entries; returns when each of them was posted.
async fn post_round(sluice: &Sluice, round: usize) -> BTreeMap<String, Instant> {
    let mut posted = BTreeMap::new();
    for chunk in (0..STREAMS).collect::<Vec<_>>().chunks(100) {
        // Slow and fine streams apart: under `refuse`, a mixed request would be refused with the slow ones.
        let texts: Vec<String> = chunk.iter().map(|stream| format!("{} {round}", key(*stream))).collect();
        let all: Vec<_> = chunk
            .iter()
            .zip(&texts)
            .map(|(stream, text)| {
                entry_of(Signal::Logs, resource(&[(KEY, &key(*stream)), ("service.name", "test")]), &[text])
            })
            .collect();
        let now = Instant::now();
        sluice.accept(Signal::Logs, request(&all)).await;
        posted.extend(texts.into_iter().map(|text| (text, now)));
    }
    posted
}

/// The 99th percentile of the time from posting a fine stream's record to its arrival.
fn p99(up: &Sink, posted: &BTreeMap<String, Instant>) -> Duration {
    let mut waits: Vec<Duration> = Vec::new();
    for request in up.taken() {
        for text in entries(&request.body).iter().flat_map(|entry| texts(Signal::Logs, entry)) {
            if let Some(at) = posted.get(&text).filter(|_| text.starts_with("fine")) {
                waits.push(request.arrived.saturating_duration_since(*at));
            }
        }
    }
    waits.sort();
    waits[waits.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_streams_delay_neither_others_of_their_exporter_nor_other_exporters() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    let queue = "sending_queue: { batch: { flush_timeout: 5ms } }";
    let exporters = yaml::exporters(&[
        ("otlp_http/up", yaml::to(&up.url(), &[QUICK, queue, "timeout: 1h"])),
        ("otlp_http/other", yaml::to(&other.url(), &[QUICK, queue])),
    ]);
    let sluice = Sluice::start(&(exporters + &yaml::by_stream("otlp_http/up, otlp_http/other"))).await;

    up.set_fault(Fault::hang().on_streams("slow-*"));
    let mut rounds = 0;
    // The 99th percentile of the same records at either exporter: at `other`, where nothing hangs, it is what the
    // machine makes of it at that moment.
    let mut round = async || {
        rounds += 1;
        let posted = post_round(&sluice, rounds).await;
        let healthy = ((STREAMS - STALLED) * rounds) as u64;
        up.wait_for_records(healthy, PATIENCE).await.expect("700 streams are delivered");
        other.records((STREAMS * rounds) as u64).await;
        (p99(&up, &posted), p99(&other, &posted))
    };
    let keeps_up = |(up, other): &(Duration, Duration)| *up <= 2 * *other + NOISE;
    // The first rounds are slow: a hanging attempt gives its place up after a second.
    let mut latencies = Vec::new();
    let most_keep_up = |rounds: &[_]| rounds.iter().filter(|round| keeps_up(round)).count() > WINDOW / 2;
    while !latencies.last_chunk::<WINDOW>().is_some_and(|last| most_keep_up(last)) {
        assert!(latencies.len() < ROUNDS, "the healthy streams don't get their latency back: {latencies:?}");
        latencies.push(round().await);
    }

    let metrics = sluice.assert_conserved().await;
    let pending = |exporter| metrics.sum("sluice_pending_records", &[("exporter", exporter)]);
    assert_eq!(pending("otlp_http/other"), 0.0);
    assert_eq!(pending("otlp_http/up"), (rounds * STALLED) as f64);
}

#[tokio::test]
async fn a_stalled_exporter_delays_no_other_exporter() {
    let (stalled, fine) = (sinks::counting().await, sinks::counting().await);
    stalled.set_fault(Fault::hang());
    let exporters = yaml::exporters(&[
        (
            "otlp_http/stalled",
            yaml::to(&stalled.url(), &["timeout: 1h", "sending_queue: { max_in_flight: 1 }"]),
        ),
        ("otlp_http/fine", yaml::to(&fine.url(), &[])),
    ]);
    let sluice = Sluice::start(&(exporters + &yaml::by_stream("otlp_http/stalled, otlp_http/fine"))).await;
    for round in 0..20 {
        let keys: Vec<String> = (0..10).map(|stream| format!("{round} {stream}")).collect();
        let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (key.as_str(), &["text"][..])).collect();
        sluice.accept(Signal::Logs, logs(&entries)).await;
    }
    fine.records(200).await;
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.exported("otlp_http/fine", "delivered"), 200.0);
    assert_eq!(metrics.exported("otlp_http/stalled", "delivered"), 0.0);
}

#[tokio::test]
async fn streams_that_wait_for_a_retry_take_no_place_from_others() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).on_streams("broken-*"));
    let options = [
        "retry_on_failure: { initial_interval: 1h, max_interval: 1h }",
        "sending_queue: { max_in_flight: 1, batch: { flush_timeout: 0s } }",
    ];
    let sluice = Sluice::start(&yaml::up(&up.url(), &options)).await;
    for stream in 0..20 {
        let (broken, fine) = (format!("broken-{stream}"), format!("fine-{stream}"));
        sluice.accept(Signal::Logs, logs(&[(&broken, &["1"]), (&fine, &["1"])])).await;
    }
    up.records(20).await;
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.sum("sluice_pending_records", &[]), 20.0);
}

#[tokio::test]
async fn a_full_stream_leaves_others_their_room() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).on_streams("full"));
    let queue =
        "sending_queue: { queue_size: 1KiB, batch: { min_size: 1, max_size: 1KiB, flush_timeout: 0s } }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, queue])).await;
    let mut taken = 0;
    while sluice.post(Signal::Logs, logs(&[("full", &["some text"])])).await.status == 200 {
        taken += 1;
        assert!(taken < 100, "a kilobyte is full at some time");
    }
    for round in 0..50 {
        sluice.accept(Signal::Logs, logs(&[("fine", &[&format!("text {round}")])])).await;
        up.records(round + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_a_dead_upstream_keep_no_other_from_reading_its_backlog_in_the_journal() {
    let (dead, fine) = (sinks::nobody().await, sinks::counting().await);
    fine.set_fault(Fault::status(503));
    let exporters = yaml::exporters(&[
        ("otlp_http/dead", yaml::to(&format!("http://{dead}"), &[QUICK])),
        ("otlp_http/fine", yaml::to(&fine.url(), &[QUICK])),
    ]);
    let routes = "routes:
  - { match: { s2.stream: 'dead-*' }, key: s2.stream, exporters: [otlp_http/dead] }
  - { match: { s2.stream: 'fine-*' }, key: s2.stream, exporters: [otlp_http/fine] }
";
    let journal = "journal: { directory: '@DIR@/journal', sync: never }\nlimits: { memory: 16MiB }\n";
    let sluice = Sluice::start(&(exporters + routes + journal)).await;
    let text = filler("", 600_000);
    // Four times what there is memory for, in turn, so that both are behind and ask for memory to read into.
    for stream in 0..100 {
        let kind = if stream % 2 == 0 { "dead" } else { "fine" };
        for _ in 0..2 {
            sluice.accept(Signal::Logs, logs(&[(&format!("{kind}-{stream}"), &[&text])])).await;
        }
    }
    fine.clear_faults();
    fine.wait_for_records(100, PATIENCE).await.expect("its backlog is read while the other's waits");
    let counts = fine.counts();
    assert_eq!((counts.records, counts.in_order()), (100, true), "{counts:?}");
    sluice.wait_for_metric("sluice_pending_records", &[("exporter", "otlp_http/fine")], 0.0).await;
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.exported("otlp_http/fine", "delivered"), 100.0);
    assert_eq!(metrics.sum("sluice_pending_records", &[("exporter", "otlp_http/dead")]), 100.0);
}

#[tokio::test]
async fn a_division_leaves_the_destination_to_other_streams_between_its_attempts() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400).on_text("poison"));
    // One attempt at a time for all streams together.
    let queue = "sending_queue: { max_in_flight: 1, batch: { flush_timeout: 5ms } }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, queue])).await;
    // Some four hundred attempts, of which the healthy stream needs ten to come in between.
    let poison: Vec<String> = (0..3000).map(|number| format!("poison {number}")).collect();
    let poison: Vec<&str> = poison.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("divided", &poison)])).await;
    // The division has begun.
    up.wait_for_requests(20, PATIENCE).await.unwrap();
    for number in 0..10 {
        sluice.accept(Signal::Logs, logs(&[("healthy", &[&format!("fine {number}")])])).await;
        up.records(number + 1).await;
    }
    let before_its_end = up.counts().refused;
    sluice.settled().await;
    assert!(before_its_end < up.counts().refused, "all ten arrived while the division went on");
}

/// More streams than the consumers that an exporter lets begin at once.
const CROWD: usize = 4000;

/// Records that each of them sends.
const TURNS: usize = 4;

/// Sends one record of each of so many streams of a tenant.
async fn send_of_tenant(sluice: &Sluice, tenant: &str, streams: usize) {
    for chunk in (0..streams).collect::<Vec<_>>().chunks(500) {
        let entry = |stream: &usize| {
            let key = format!("{tenant}-{stream}");
            entry_of(Signal::Logs, resource(&[("tenant.id", tenant), (KEY, &key)]), &[&key])
        };
        sluice.accept(Signal::Logs, request(&chunk.iter().map(entry).collect::<Vec<_>>())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_wait_for_their_turn_at_a_hanging_destination_delay_no_other_and_leave_it_when_their_row_does()
 {
    let (hanging, fine) = (sinks::counting().await, sinks::counting().await);
    hanging.set_fault(Fault::hang());
    let config = |acme: &Sink| {
        let row = |id, up: &Sink| format!("{{ id: {id}, values: {{ port: '{}' }} }}", up.addr().port());
        let options = ["timeout: 1h", "sending_queue: { batch: { flush_timeout: 1ms } }"];
        yaml::exporters(&[("otlp_http/up", yaml::to("http://127.0.0.1:{{ tenant.port }}", &options))])
            + &format!(
                "routes: [{{ tenants: '*', key: {KEY}, exporters: [otlp_http/up] }}]\n\
                 tenants: {{ list: [{}, {}] }}\n",
                row("acme", acme),
                row("globex", &fine)
            )
    };
    let sluice = Sluice::start(&config(&hanging)).await;
    send_of_tenant(&sluice, "acme", CROWD).await;
    hanging.wait_for_requests(256, PATIENCE).await.expect("so many are under way at a time");
    send_of_tenant(&sluice, "globex", 500).await;
    fine.records(500).await;
    sluice.wait_for_metric("sluice_pending_records", &[], CROWD as f64).await;

    sluice.reconfigure(&config(&fine)).await;
    eventually("all but what hangs has gone the new way", async || {
        let hung = hanging.counts().requests;
        (fine.counts().records + hung == (CROWD + 500) as u64).then_some(())
    })
    .await;
    let metrics = sluice.assert_conserved().await;
    let hung = hanging.counts().requests as f64;
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), (CROWD + 500) as f64 - hung);
    assert_eq!((fine.counts().duplicates, fine.counts().reordered), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_more_to_send_waits_behind_others_for_its_next_turn_and_keeps_its_order() {
    let up = sinks::recording().await;
    up.set_fault(Fault::none().delayed(Duration::from_millis(20)));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, yaml::SINGLY])).await;
    for round in 0..TURNS {
        for first in (0..CROWD).step_by(500) {
            let entry =
                |stream: usize| entry(Signal::Logs, &stream.to_string(), &[&format!("{stream} {round}")]);
            sluice.accept(Signal::Logs, request(&(first..first + 500).map(entry).collect::<Vec<_>>())).await;
        }
    }
    up.records((CROWD * TURNS) as u64).await;
    let mut next = BTreeMap::<String, usize>::new();
    for text in up.texts(Signal::Logs) {
        let (stream, round) = text.split_once(' ').expect("as it was sent");
        let next = next.entry(stream.to_owned()).or_default();
        assert_eq!(round, next.to_string(), "stream {stream}");
        *next += 1;
    }
    assert_eq!((next.len(), sluice.settled().await.sum("sluice_pending_records", &[])), (CROWD, 0.0));
}
