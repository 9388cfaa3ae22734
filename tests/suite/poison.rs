//! No poison: nobody's bytes get another's batch refused. What is not valid OTLP is cut out, named and dead-lettered;
//! what an upstream still refuses is searched for until it stands alone.

use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use prost::Message as _;
use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::support::letters::{letters, wait_for_letters};
use crate::support::payload::{self, KEY, entry, field, key, logs, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK};
use crate::support::{PATIENCE, Sluice};

const UP: &str = "otlp_http/up";

/// A record that is not valid, and what is said about it.
struct Bad {
    what: &'static str,
    record: Vec<u8>,
    reason: &'static str,
}

/// Every reason for which a log record can be cut out.
fn bad_records() -> Vec<Bad> {
    let bad = |what, record: &[&[u8]], reason| Bad { what, record: record.concat(), reason };
    let unknown = |wire_type| key(50, wire_type);
    let deep = (0..60).fold(field(1, "x"), |value, _| field(5, field(1, value)));
    vec![
        bad("invalid UTF-8", &[&field(5, field(1, b"caf\xe9"))], "UTF-8"),
        bad("invalid UTF-8 in an attribute key", &[&field(6, field(1, b"\xff\xfe"))], "UTF-8"),
        bad("a known field with another wire type", &[&field(2, "x")], "wire type"),
        bad("a fixed field as a varint", &[&key(1, 0), &[1]], "wire type"),
        bad("a group", &[&unknown(3), &unknown(4)], "groups"),
        bad("the end of a group", &[&unknown(4)], "groups"),
        bad("wire type 6", &[&unknown(6), &[0]], "wire type"),
        bad("wire type 7", &[&unknown(7), &[0]], "wire type"),
        bad("field number 0", &[&[0x00, 0x01]], "field number"),
        bad("a field number above 2^29-1", &[&payload::varint(1 << 32), &[1]], "field number"),
        bad("a varint of eleven bytes", &[&key(2, 0), &[0x80; 10], &[0x00]], "varint"),
        bad("a varint above 64 bits", &[&key(2, 0), &[0xff; 9], &[0x02]], "varint"),
        bad("a length beyond the end", &[&key(5, 2), &[100], b"short"], "beyond the end"),
        bad("a truncated fixed field", &[&key(1, 1), &[0; 7]], "beyond the end"),
        bad("an unknown field beyond the end", &[&unknown(2), &[9]], "beyond the end"),
        bad("a trace id of 15 bytes", &[&field(9, [1; 15])], "trace id"),
        bad("a trace id of 32 bytes, as hexadecimal has", &[&field(9, [b'a'; 32])], "trace id"),
        bad("a span id of 7 bytes", &[&field(10, [1; 7])], "span id"),
        bad("nesting of more than 100 levels", &[&field(5, &deep)], "nested"),
    ]
}

/// An entry whose records are these encoded ones.
fn entry_with(stream: &str, records: &[&[u8]]) -> Vec<u8> {
    let scope: Vec<u8> = [field(1, field(1, "scope"))]
        .into_iter()
        .chain(records.iter().map(|record| field(2, record)))
        .flatten()
        .collect();
    [field(1, resource(&[(KEY, stream)]).encode_to_vec()), field(2, scope)].concat()
}

/// An encoded log record.
fn record(text: &str) -> Vec<u8> {
    let one = ResourceLogs::decode(&*entry(Signal::Logs, "", &[text])).unwrap();
    LogRecord::encode_to_vec(&one.scope_logs[0].log_records[0])
}

fn offset_in(message: &str) -> usize {
    let (_, rest) = message.split_once("at byte ").expect("the message tells the offset");
    rest.split(|char: char| !char.is_ascii_digit()).next().unwrap().parse().unwrap()
}

fn position(whole: &[u8], part: &[u8]) -> usize {
    whole.windows(part.len()).position(|window| window == part).expect("it is in there")
}

async fn start(url: &str) -> Sluice {
    Sluice::start(&(yaml::up(url, &[QUICK]) + LETTERS)).await
}

#[tokio::test]
async fn every_kind_of_invalid_record_is_cut_out_named_and_dead_lettered_alone() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let directory = sluice.directory().join("letters");
    let (before, first, last, after) = (
        entry(Signal::Logs, "x", &["before"]),
        record("first"),
        record("last"),
        entry(Signal::Logs, "x", &["after"]),
    );
    for (row, Bad { what, record: bad, reason }) in bad_records().into_iter().enumerate() {
        let mixed = entry_with("x", &[&first, &bad, &last]);
        let sent = request(&[&before, &mixed, &after]);
        let answer = sluice.post(Signal::Logs, sent.clone()).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let (rejected, message) = answer.partial(Signal::Logs).expect(what);
        assert_eq!(rejected, 1, "{what}");
        assert!(message.contains("resource_logs[1].scope_logs[0].log_records[1]"), "{what}: {message}");
        assert!(message.contains(reason), "{what}: {message}");
        let start = position(&sent, &bad);
        let offset = offset_in(&message);
        assert!((start..start + bad.len()).contains(&offset), "{what}: {message}, the record is at {start}");

        up.records(4 * (row as u64 + 1)).await;
        let arrived = up.entries(Signal::Logs);
        let expected = [before.clone(), entry_with("x", &[&first, &last]), after.clone()];
        assert_eq!(arrived[3 * row..], expected, "{what}: the rest arrives byte for byte");

        let letters = wait_for_letters(&directory, row + 1).await;
        let letter = &letters[row];
        assert_eq!(letter.bytes, request(&[entry_with("x", &[&bad])]), "{what}");
        assert!(letter.note["exporter"].is_null() && letter.note["key"].is_null(), "{}", letter.note);
        assert_eq!((letter.records(), letter.text("signal")), (1, "logs"));
        assert!(letter.text("reason").contains(reason), "{}", letter.note);
    }
    let metrics = sluice.settled().await;
    let rejected = metrics.sum("sluice_received_records_total", &[("outcome", "rejected")]);
    assert_eq!(rejected, bad_records().len() as f64);
}

#[tokio::test]
async fn an_entry_or_scope_is_cut_out_where_the_framing_in_it_does_not_hold() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let good = entry(Signal::Logs, "x", &["good"]);
    let own_resource = || field(1, resource(&[(KEY, "x")]).encode_to_vec());
    let two_records = [field(2, record("1")), field(2, record("2"))].concat();
    let rows: [(&str, Vec<u8>, &str, i64); 6] = [
        ("a second resource", [good.clone(), own_resource()].concat(), "more than one resource", 1),
        ("old scopes that are not scopes", [good.clone(), field(1000, "old")].concat(), "1000", 1),
        (
            "a resource that is not UTF-8",
            [field(1, field(1, field(1, b"\xff"))), field(2, &two_records)].concat(),
            "UTF-8",
            2,
        ),
        ("a scope beyond the end", [own_resource(), key(2, 2), vec![99, 1]].concat(), "beyond the end", 1),
        (
            "a scope's name that is not UTF-8",
            [own_resource(), field(2, [field(1, field(1, b"\xff")), two_records.clone()].concat())].concat(),
            "UTF-8",
            2,
        ),
        (
            "a record beyond the end of its scope",
            [own_resource(), field(2, [field(2, record("1")), key(2, 2), vec![99, 1]].concat())].concat(),
            "beyond the end",
            1,
        ),
    ];
    let count = rows.len();
    for (row, (what, bad, reason, records)) in rows.into_iter().enumerate() {
        let answer = sluice.post(Signal::Logs, request(&[&good, &bad, &good])).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let (rejected, message) = answer.partial(Signal::Logs).expect(what);
        assert_eq!(rejected, records, "{what}: {message}");
        assert!(message.contains("resource_logs[1]") && message.contains(reason), "{what}: {message}");
        up.records(2 * (row as u64 + 1)).await;
        let letters = wait_for_letters(&sluice.directory().join("letters"), row + 1).await;
        assert_eq!(letters[row].bytes, request(&[&bad]), "{what}");
    }
    sluice.settled().await;
    assert_eq!(up.entries(Signal::Logs), vec![good; 2 * count]);
}

#[tokio::test]
async fn a_bad_scope_does_not_take_its_neighbours_with_it() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let header = field(1, resource(&[(KEY, "x")]).encode_to_vec());
    let scope = |name: &[u8], text| field(2, [field(1, field(1, name)), field(2, record(text))].concat());
    let (first, bad, last) = (scope(b"a", "1"), scope(b"\xff", "2"), scope(b"c", "3"));
    let answer = sluice
        .post(Signal::Logs, request(&[[header.clone(), first.clone(), bad, last.clone()].concat()]))
        .await;
    let (rejected, message) = answer.partial(Signal::Logs).unwrap();
    assert_eq!(rejected, 1);
    assert!(message.contains("resource_logs[0].scope_logs[1].scope"), "{message}");
    up.records(2).await;
    assert_eq!(up.entries(Signal::Logs), [[header, first, last].concat()]);
}

#[tokio::test]
async fn invalid_spans_and_data_points_are_cut_out_as_well() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let header = field(1, resource(&[(KEY, "x")]).encode_to_vec());
    let good_span = [field(1, [1; 16]), field(2, [1; 8]), field(5, "good")].concat();
    let bad_span = [field(1, [1; 16]), field(2, [1; 3]), field(5, "bad")].concat();
    let spans = [header.clone(), field(2, [field(2, &good_span), field(2, &bad_span)].concat())].concat();
    let (rejected, message) =
        sluice.post(Signal::Traces, request(&[spans])).await.partial(Signal::Traces).unwrap();
    assert_eq!(rejected, 1);
    assert!(message.contains("resource_spans[0].scope_spans[0].spans[1]"), "{message}");

    // A histogram (field 9) whose bucket counts (field 6, packed) are 7 bytes long.
    let good_point = field(6, [0; 8]);
    let bad_point = field(6, [0; 7]);
    let metric = |points: &[&[u8]]| {
        let points: Vec<u8> = points.iter().flat_map(|point| field(1, point)).collect();
        field(2, field(2, [field(1, "latency"), field(9, points)].concat()))
    };
    let sent = request(&[[header.clone(), metric(&[&good_point, &bad_point, &good_point])].concat()]);
    let (rejected, message) = sluice.post(Signal::Metrics, sent).await.partial(Signal::Metrics).unwrap();
    assert_eq!(rejected, 1);
    assert!(
        message.contains("resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[1]"),
        "{message}"
    );
    sluice.settled().await;
    assert_eq!(up.entries(Signal::Metrics), [[header.clone(), metric(&[&good_point, &good_point])].concat()]);
    assert_eq!(up.entries(Signal::Traces), [[header, field(2, field(2, &good_span))].concat()]);
}

#[tokio::test]
async fn a_request_is_400_only_if_its_own_framing_is_broken_or_nothing_valid_is_left() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let good = logs(&[("x", &["good"])]);
    let broken: [(&str, Vec<u8>); 5] = [
        ("a cut request", good[..good.len() - 1].to_vec()),
        ("an entry that is a varint", [good.clone(), key(1, 0), vec![1]].concat()),
        ("a group around it", [good.clone(), key(9, 3)].concat()),
        ("not protobuf at all", b"{\"resourceLogs\": []}".to_vec()),
        ("nothing valid in it", request(&[entry_with("x", &[&field(2, "x")])])),
    ];
    for (what, body) in broken {
        let answer = sluice.post(Signal::Logs, body).await;
        assert_eq!((answer.status, answer.error().code), (400, 3), "{what}: {answer:?}");
        assert!(!answer.error().message.is_empty(), "{what}");
    }
    sluice.accept(Signal::Logs, [good.clone(), field(9, "another field of the request")].concat()).await;
    sluice.accept(Signal::Logs, Vec::new()).await;
    up.records(1).await;
    assert_eq!(up.bodies(Signal::Logs), [good], "only the entries are taken over");
}

#[tokio::test]
async fn what_is_cut_out_beyond_the_sixteenth_part_goes_into_one_letter() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let (good, bad) = (record("good"), field(2, "x"));
    let records: Vec<&[u8]> = (0..100).flat_map(|_| [&good[..], &bad[..]]).collect();
    let answer = sluice.post(Signal::Logs, request(&[entry_with("x", &records)])).await;
    let (rejected, message) = answer.partial(Signal::Logs).unwrap();
    assert_eq!(rejected, 100);
    assert!(message.len() < 2048, "{message}");
    up.records(100).await;
    let letters = wait_for_letters(&sluice.directory().join("letters"), 17).await;
    assert_eq!(letters.iter().map(crate::support::letters::Letter::records).sum::<u64>(), 100);
}

#[tokio::test]
async fn a_record_that_the_upstream_refuses_is_found_and_dead_lettered_alone() {
    for (status, signal) in [(400, Signal::Logs), (413, Signal::Traces), (422, Signal::Metrics)] {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(status).message("bad record").on_text("poison"));
        let sluice = start(&up.url()).await;
        let texts: Vec<String> =
            (0..40).map(|n| if n == 23 { "poison".to_owned() } else { format!("text {n}") }).collect();
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        let parts = [&all[..10], &all[10..25], &all[25..]];
        let entries: Vec<_> = parts.iter().map(|part| entry(signal, "x", part)).collect();
        sluice.accept(signal, request(&entries)).await;
        up.records(39).await;
        let metrics = sluice.settled().await;
        let expected: Vec<&str> = all.iter().copied().filter(|text| *text != "poison").collect();
        assert_eq!(up.texts(signal), expected, "the others are delivered, in order");
        assert_eq!(metrics.exported(UP, "dead_lettered"), 1.0);
        let letters = letters(&sluice.directory().join("letters"));
        assert_eq!(letters[0].bytes, request(&[entry(signal, "x", &["poison"])]));
        assert_eq!((letters[0].text("exporter"), letters[0].text("key")), (UP, "x"));
        let reason = letters[0].text("reason");
        assert!(reason.contains(&status.to_string()) && reason.contains("bad record"), "{reason}");
    }
}

/// Sends one batch of so many records, in entries of `each`, to an upstream that refuses those of which `is_bad` says so
/// and every batch with one of them. Returns the texts of the others that should arrive, those that have, and how many
/// attempts were refused.
async fn divided(
    records: usize,
    each: usize,
    is_bad: impl Fn(usize) -> bool,
) -> (Vec<String>, Vec<String>, u64) {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400).on_text("poison"));
    let sluice = start(&up.url()).await;
    let text = |n| if is_bad(n) { format!("poison {n}") } else { format!("text {n}") };
    let texts: Vec<String> = (0..records).map(text).collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let entries: Vec<_> = all.chunks(each).map(|part| entry(Signal::Logs, "x", part)).collect();
    sluice.accept(Signal::Logs, request(&entries)).await;
    let metrics = sluice.settled().await;
    let good: Vec<String> = texts.iter().filter(|text| text.starts_with("text")).cloned().collect();
    assert_eq!(metrics.exported(UP, "dead_lettered"), (records - good.len()) as f64);
    assert_eq!(metrics.exported(UP, "delivered"), good.len() as f64);
    (good, up.texts(Signal::Logs), up.counts().refused)
}

/// What the search for `bad` of `records` may cost: `2k·log2(n/k) + 2k`, and the way down to entries and records of uneven
/// sizes.
fn most_attempts(records: usize, bad: usize) -> u64 {
    let (n, k) = (records as f64, bad as f64);
    (2.0 * k * (n / k).log2() + 2.0 * k + 2.0 * n.log2()).ceil() as u64
}

#[tokio::test]
async fn bad_records_are_found_however_many_stand_together_and_wherever_they_stand() {
    type Case = (&'static str, usize, fn(usize) -> bool);
    let cases: [Case; 8] = [
        ("the first five", 1024, |n| n < 5),
        ("the first forty", 1024, |n| n < 40),
        ("the last five", 1024, |n| n >= 1019),
        ("five in the middle, across the halves", 1024, |n| (510..515).contains(&n)),
        ("all but the first", 512, |n| n != 0),
        ("two clusters of thirty", 1000, |n| n < 30 || (700..730).contains(&n)),
        ("every second one", 256, |n| n % 2 == 0),
        ("every tenth one and the first twenty", 500, |n| n < 20 || n % 10 == 9),
    ];
    for (what, records, is_bad) in cases {
        for each in [records, 7] {
            let (good, arrived, attempts) = divided(records, each, is_bad).await;
            assert_eq!(arrived, good, "{what}, in entries of {each}: all others arrive once, in order");
            let bad = records - good.len();
            let most = most_attempts(records, bad);
            assert!(attempts <= most, "{what}, in entries of {each}: {attempts} of {most} attempts");
        }
    }
}

#[tokio::test]
async fn a_batch_of_which_only_the_last_record_is_good_delivers_that_one_once() {
    let (good, arrived, _) = divided(600, 600, |n| n != 599).await;
    assert_eq!(arrived, good);
}

#[tokio::test]
async fn a_record_that_was_tried_before_its_turn_is_sent_again_behind_what_follows_it() {
    // So many side by side that the search for good ones begins at the end.
    let (good, mut arrived, attempts) = divided(1024, 1024, |n| n < 700).await;
    assert_eq!(arrived.first(), good.last(), "the last record was tried first");
    arrived.remove(0);
    assert_eq!(arrived, good, "and arrives in its turn as well");
    assert!(attempts <= most_attempts(1024, 700), "{attempts} attempts");
}

#[tokio::test]
async fn a_batch_is_given_up_as_a_whole_once_records_from_all_over_it_were_refused() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400));
    let sluice = start(&up.url()).await;
    let texts: Vec<String> = (0..1000).map(|number| format!("text {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("x", &texts)])).await;
    let metrics = sluice.settled().await;
    let refused = up.counts().refused;
    assert!((64..250).contains(&refused), "{refused} attempts, not two for each record");
    assert_eq!(metrics.exported(UP, "dead_lettered"), 1000.0);
    let letters = letters(&sluice.directory().join("letters"));
    let given_up = letters.iter().flat_map(|letter| payload::entries(&letter.bytes));
    let given_up: Vec<String> = given_up.flat_map(|entry| payload::texts(Signal::Logs, &entry)).collect();
    assert_eq!(given_up, texts, "every record once, in order");
    let reason = letters.last().unwrap().text("reason");
    assert!(reason.contains("from all over it"), "{reason}");
}

#[tokio::test]
async fn many_bad_records_among_good_ones_are_all_found() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400).on_text("poison"));
    let sluice = start(&up.url()).await;
    let texts: Vec<String> =
        (0..64).map(|n| if n % 5 == 4 { format!("poison {n}") } else { format!("text {n}") }).collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("x", &all)])).await;
    up.wait_for_records(52, PATIENCE).await.unwrap();
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported(UP, "dead_lettered"), 12.0);
    let expected: Vec<&str> = all.into_iter().filter(|text| text.starts_with("text")).collect();
    assert_eq!(up.texts(Signal::Logs), expected);
}
