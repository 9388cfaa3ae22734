//! Small bodies of which the processors of a route make large ones.

use prost::Message as _;
use rig::sink::Sink;
use sluice::otlp::Signal;

use crate::meter::{MIB, peak_memory};
use crate::support::payload::{KEY, attribute, entry, field, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::{PATIENCE, SluiceProcess, yaml};

/// `limits.memory` of these tests.
const LIMIT: u64 = 128 * MIB;

/// What a process may have resident at the most: the limit, what an idle process takes, and what an allocator keeps.
const MOST: u64 = 3 * LIMIT;

const WHY: &str = "edited, it would take more than `limits.memory`";

async fn start(processor: &str) -> (Sink, SluiceProcess) {
    start_with_env(processor, &[]).await
}

async fn start_with_env(processor: &str, variables: &[(&str, &str)]) -> (Sink, SluiceProcess) {
    let up = sinks::counting().await;
    let (name, _) = processor.split_once(':').unwrap();
    let route = format!("{{ processors: [{name}], match: {{ {KEY}: '*' }}, key: {KEY},");
    let config =
        yaml::up(&up.url(), &[]).replace(&format!("{{ match: {{ {KEY}: '*' }}, key: {KEY},"), &route);
    assert!(config.contains(&route), "{config}");
    let config = config + &format!("processors: {{ {processor} }}\nlimits: {{ memory: {LIMIT} }}\n");
    (up, SluiceProcess::start_with_env(&config, variables).await)
}

/// The attribute `a` so many times, and `b` of so many bytes once, as fields of this number.
fn repeated(number: u32, times: usize, bytes: usize) -> Vec<u8> {
    let a = field(number, attribute("a", "").encode_to_vec());
    let b = field(number, attribute("b", &"b".repeat(bytes)).encode_to_vec());
    [a.repeat(times), b].concat()
}

/// An entry of logs with this scope beside its stream.
fn entry_with(scope: impl AsRef<[u8]>) -> Vec<u8> {
    [field(1, resource(&[(KEY, "large")]).encode_to_vec()), field(2, scope)].concat()
}

/// Sends an entry that becomes too large together with one that does not: the one alone is rejected, for the reason that is
/// told, and the other arrives.
async fn assert_rejected_alone(up: &Sink, sluice: &SluiceProcess, large: &[u8]) {
    let ordinary = entry(Signal::Logs, "ordinary", &["x"]);
    let answer = sluice.post(Signal::Logs, request(&[large, &ordinary])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (records, message) = answer.partial(Signal::Logs).unwrap();
    assert!(records > 0 && message.contains(WHY), "{records} {message}");
    up.records(1).await;
    // An entry by itself is treated the same.
    let answer = sluice.post(Signal::Logs, request(&[large])).await;
    assert!(format!("{answer:?}").contains(WHY), "{answer:?}");
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    let peak = peak_memory(sluice);
    assert!(peak <= MOST, "{} MiB were resident", peak / MIB);
}

#[tokio::test]
async fn a_record_that_gets_a_long_value_many_times_is_rejected_before_it_takes_memory() {
    // The third fits into memory, but not once more into a queue.
    for (times, bytes) in [(20_000, 60_000), (60_000, 400_000), (1_200, 60_000)] {
        let (up, sluice) =
            start("attributes/a: { actions: [{ key: a, from_attribute: b, action: update }] }").await;
        let large = entry_with(field(2, repeated(6, times, bytes)));
        assert_rejected_alone(&up, &sluice, &large).await;
    }
}

#[tokio::test]
async fn a_resource_that_gets_a_long_value_many_times_is_rejected_before_it_takes_memory() {
    let (up, sluice) =
        start("resource/a: { attributes: [{ key: a, from_attribute: b, action: update }] }").await;
    let stream = field(1, attribute(KEY, "large").encode_to_vec());
    let resource = [stream, repeated(1, 20_000, 60_000)].concat();
    let large = [field(1, resource), field(2, field(2, ""))].concat();
    assert_rejected_alone(&up, &sluice, &large).await;
}

#[tokio::test]
async fn four_million_records_that_get_an_attribute_each_are_rejected_before_they_take_memory() {
    let (up, sluice) =
        start("attributes/a: { actions: [{ key: added, value: to all, action: upsert }] }").await;
    let large = entry_with(field(2, "").repeat(4_000_000));
    assert_rejected_alone(&up, &sluice, &large).await;
}

#[tokio::test]
async fn half_a_million_attributes_of_one_record_are_edited_within_the_memory_limit() {
    let (up, sluice) = start("attributes/a: { actions: [{ key: added, value: 1, action: upsert }] }").await;
    let entry = entry_with(field(2, field(6, "").repeat(500_000)));
    sluice.accept(Signal::Logs, request(&[entry])).await;
    up.records(1).await;
    assert!(peak_memory(&sluice) <= MOST);
}

#[tokio::test]
async fn other_requests_are_answered_while_a_large_one_is_edited_even_by_a_single_worker() {
    let processor = "attributes/a: { actions: [{ key: added, value: 1, action: upsert }] }";
    let (up, sluice) = start_with_env(processor, &[("TOKIO_WORKER_THREADS", "1")]).await;
    // Less than what is put aside without edits.
    let large = request(&[entry_with(field(2, "").repeat(400_000))]);
    assert!(large.len() < MIB as usize);
    let mut answered = 0;
    let mut large = std::pin::pin!(sluice.post(Signal::Logs, large));
    let answer = loop {
        let ordinary = sluice.accept(Signal::Logs, request(&[entry(Signal::Logs, "ordinary", &["x"])]));
        tokio::select! {
            answer = &mut large => break answer,
            () = ordinary => answered += 1,
        }
    };
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answered > 10, "{answered} requests were answered meanwhile");
    up.wait_for_records(400_000, PATIENCE).await.unwrap();
}
