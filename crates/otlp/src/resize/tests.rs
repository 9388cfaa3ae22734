use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{arbitrary, put_frame, split, validate};

fn records(signal: Signal, request: &[u8]) -> u64 {
    piece::records(Message::request(signal), request).unwrap()
}

/// Every record with everything above it, in order: what must stay the same however a request is cut.
fn flat(signal: Signal, request: &[u8]) -> Vec<String> {
    let mut flat = Vec::new();
    match signal {
        Signal::Traces => {
            for mut entry in ExportTraceServiceRequest::decode(request).unwrap().resource_spans {
                for mut scope in std::mem::take(&mut entry.scope_spans) {
                    let spans = std::mem::take(&mut scope.spans);
                    flat.extend(spans.iter().map(|span| format!("{entry:?} {scope:?} {span:?}")));
                }
            }
        }
        Signal::Logs => {
            for mut entry in ExportLogsServiceRequest::decode(request).unwrap().resource_logs {
                for mut scope in std::mem::take(&mut entry.scope_logs) {
                    let records = std::mem::take(&mut scope.log_records);
                    flat.extend(records.iter().map(|record| format!("{entry:?} {scope:?} {record:?}")));
                }
            }
        }
        Signal::Metrics => {
            for mut entry in ExportMetricsServiceRequest::decode(request).unwrap().resource_metrics {
                for mut scope in std::mem::take(&mut entry.scope_metrics) {
                    for mut metric in std::mem::take(&mut scope.metrics) {
                        let points = metric.data.as_mut().map(take_points).unwrap_or_default();
                        flat.extend(
                            points.iter().map(|point| format!("{entry:?} {scope:?} {metric:?} {point}")),
                        );
                    }
                }
            }
        }
    }
    flat
}

fn take_points(data: &mut Data) -> Vec<String> {
    fn debug<T: std::fmt::Debug>(points: &mut Vec<T>) -> Vec<String> {
        points.drain(..).map(|point| format!("{point:?}")).collect()
    }
    match data {
        Data::Gauge(data) => debug(&mut data.data_points),
        Data::Sum(data) => debug(&mut data.data_points),
        Data::Histogram(data) => debug(&mut data.data_points),
        Data::ExponentialHistogram(data) => debug(&mut data.data_points),
        Data::Summary(data) => debug(&mut data.data_points),
    }
}

fn split_all(signal: Signal, request: &[u8], max_framed: usize) -> Vec<(Vec<u8>, u64)> {
    let mut pieces = Vec::new();
    for entry in split(signal, request).unwrap().entries {
        split_to_size(signal, &entry.bytes, max_framed, &mut |piece, records| {
            let mut framed = Vec::new();
            put_frame(&mut framed, piece.len());
            framed.extend_from_slice(piece);
            pieces.push((framed, records));
        });
    }
    pieces
}

/// One of the records of a request, with its headers.
fn single(signal: Signal, request: &[u8]) -> Vec<u8> {
    match halve(signal, request) {
        Some([(first, _), _]) => single(signal, &first),
        None => request.to_vec(),
    }
}

fn any_request() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    prop::sample::select(&Signal::ALL[..]).prop_flat_map(|signal| (Just(signal), arbitrary::request(signal)))
}

#[test]
fn an_entry_that_fits_is_not_touched() {
    let entry = b"\x12\x04\x12\x02\x1a\x00";
    let mut pieces = Vec::new();
    split_to_size(Signal::Logs, entry, 8, &mut |piece, records| pieces.push((piece.to_vec(), records)));
    assert_eq!(pieces, [(entry.to_vec(), 1)]);
}

#[test]
fn pieces_are_filled_up_to_the_limit_inclusive() {
    // Five records of 4 bytes in one scope: two fit in 2 + 2 + 2 * 4.
    let entry = [&b"\x12\x14"[..], &b"\x12\x02\x1a\x00".repeat(5)].concat();
    let mut lens = Vec::new();
    split_to_size(Signal::Logs, &entry, 12, &mut |piece, records| {
        lens.push((frame_len(piece.len()), records));
    });
    assert_eq!(lens, [(12, 2), (12, 2), (8, 1)]);
}

#[test]
fn records_under_a_huge_resource_stay_together() {
    let resource = [&b"\x0a\x60\xa2\x06\x5d"[..], &[7; 0x5d]].concat();
    let entry = [resource, [&b"\x12\x40"[..], &b"\x12\x02\x1a\x00".repeat(16)].concat()].concat();
    let mut counts = Vec::new();
    split_to_size(Signal::Logs, &entry, 100, &mut |_, records| counts.push(records));
    assert_eq!(counts, [16]);
    split_to_size(Signal::Logs, &entry, 128, &mut |_, records| counts.push(records));
    assert_eq!(counts[1..], [6, 6, 4]);
}

#[test]
fn a_scope_that_fits_in_a_piece_is_not_torn() {
    let scope = [&b"\x12\x08"[..], &b"\x12\x02\x1a\x00".repeat(2)].concat();
    let mut pieces = Vec::new();
    split_to_size(Signal::Logs, &scope.repeat(3), 20, &mut |piece, _| pieces.push(piece.to_vec()));
    assert_eq!(pieces, [scope.clone(), scope.clone(), scope]);
}

#[test]
fn a_metric_that_states_its_data_twice_stays_whole() {
    let metric = b"\x2a\x04\x0a\x00\x0a\x00\x2a\x02\x0a\x00";
    let entry = [&b"\x12\x0c\x12\x0a"[..], metric].concat();
    let mut pieces = Vec::new();
    split_to_size(Signal::Metrics, &entry, 5, &mut |piece, records| pieces.push((piece.to_vec(), records)));
    assert_eq!(pieces, [(entry.clone(), 3)]);
    let request = [&b"\x0a\x0e"[..], &entry].concat();
    assert_eq!(records(Signal::Metrics, &request), 3);
    assert_eq!(halve(Signal::Metrics, &request), None);
}

#[test]
fn halves_part_between_entries_first_then_scopes_then_records() {
    let record = b"\x12\x02\x1a\x00";
    let scope = |records: usize| [&[0x12, records as u8 * 4][..], &record.repeat(records)].concat();
    let entry = |scopes: &[usize]| {
        let scopes = scopes.iter().flat_map(|records| scope(*records)).collect::<Vec<u8>>();
        [&[0x0a, scopes.len() as u8][..], &scopes].concat()
    };
    let halves = |request: &[u8]| halve(Signal::Logs, request).unwrap();
    let expected = [(entry(&[3, 3]), 6), (entry(&[1]), 1)];
    assert_eq!(halves(&[entry(&[3, 3]), entry(&[1])].concat()), expected);
    assert_eq!(halves(&entry(&[1, 5])), [(entry(&[1]), 1), (entry(&[5]), 5)]);
    assert_eq!(halves(&entry(&[3])), [(entry(&[2]), 2), (entry(&[1]), 1)]);
    assert_eq!(halve(Signal::Logs, &entry(&[1])), None);
    // An entry without records can be what is refused, and must not take the record beside it along.
    let without = b"\x0a\x02\x0a\x00".to_vec();
    assert_eq!(halves(&[entry(&[1]), without.clone()].concat()), [(entry(&[1]), 1), (without.clone(), 0)]);
    assert_eq!(halves(&without.repeat(3)), [(without.repeat(2), 0), (without.clone(), 0)]);
    assert_eq!(halve(Signal::Logs, &without), None);
}

/// A request of logs: of each entry, how many records each of its scopes has.
fn logs_of(entries: &[Vec<usize>]) -> Vec<u8> {
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    // Each record has its position, from 1, as its time.
    let mut times = 1..;
    let mut scope = |records: &usize| ScopeLogs {
        log_records: times
            .by_ref()
            .take(*records)
            .map(|time_unix_nano| LogRecord { time_unix_nano, ..LogRecord::default() })
            .collect(),
        ..ScopeLogs::default()
    };
    let entry = |scopes: &Vec<usize>| ResourceLogs {
        scope_logs: scopes.iter().map(&mut scope).collect(),
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest { resource_logs: entries.iter().map(entry).collect() }.encode_to_vec()
}

/// After how many halvings the last record of a request to do so stands alone.
fn depth(signal: Signal, request: &[u8]) -> u32 {
    halve(signal, request)
        .map_or(0, |[(first, _), (second, _)]| 1 + depth(signal, &first).max(depth(signal, &second)))
}

/// How many attempts it takes to find the records of these times, each of which has whatever it is in refused.
fn attempts(request: &[u8], bad: &dyn Fn(u64) -> bool) -> u64 {
    let decoded = ExportLogsServiceRequest::decode(request).unwrap();
    let scopes = decoded.resource_logs.iter().flat_map(|entry| &entry.scope_logs);
    let refused = scopes.flat_map(|scope| &scope.log_records).any(|record| bad(record.time_unix_nano));
    let halves = halve(Signal::Logs, request).filter(|_| refused);
    1 + halves.map_or(0, |[(first, _), (second, _)]| attempts(&first, bad) + attempts(&second, bad))
}

/// The most attempts that find `bad` records, each of which stands alone after `depth` halvings at most.
fn most_attempts(bad: u64, depth: u32) -> u64 {
    let rounded = bad.next_power_of_two();
    2 * bad * u64::from(depth.saturating_sub(rounded.ilog2())) + 2 * rounded
}

/// The most that a record may need in a request of so many.
fn most_halvings(records: u64, levels: u32) -> u32 {
    records.next_power_of_two().ilog2() + 2 * levels
}

#[test]
fn halves_part_where_they_are_most_alike() {
    let halves = |sizes: &[usize]| {
        let entries: Vec<Vec<usize>> = sizes.iter().map(|records| vec![*records]).collect();
        halve(Signal::Logs, &logs_of(&entries)).unwrap().map(|(_, records)| records)
    };
    assert_eq!(halves(&[3, 6, 4]), [9, 4]);
    assert_eq!(halves(&[4, 6, 3]), [4, 9]);
    assert_eq!(halves(&[10, 10, 5]), [10, 15]);
    assert_eq!(halves(&[3, 6, 3]), [9, 3], "of two that are as near, the one behind");
    assert_eq!(halves(&[1, 512, 1, 256]), [513, 257]);
}

#[test]
fn a_small_entry_between_large_ones_costs_no_halving_of_its_own() {
    let sizes = (0..10).rev().flat_map(|power| [vec![1], vec![1 << power]]).collect::<Vec<_>>();
    let request = logs_of(&sizes);
    let all = records(Signal::Logs, &request);
    assert!(depth(Signal::Logs, &request) <= most_halvings(all, 1), "{}", depth(Signal::Logs, &request));
}

#[test]
fn ten_bad_records_of_a_hundred_cost_91_attempts_where_halves_are_equal_and_99_where_scopes_are_uneven() {
    // The first of each run of ten.
    let bad = |time: u64| time % 10 == 1;
    let even = attempts(&logs_of(&[vec![100]]), &bad);
    assert!(even <= 91 && even <= most_attempts(10, most_halvings(100, 0)), "{even}");
    let uneven = attempts(&logs_of(&vec![vec![10, 10, 5]; 4]), &bad);
    assert!(uneven <= 99 && uneven <= most_attempts(10, most_halvings(100, 2)), "{uneven}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn refused_records_are_found_within_the_bound_that_is_documented(
        entries in prop::collection::vec(prop::collection::vec(1..40_usize, 1..5), 1..8),
        chosen in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
    ) {
        let request = logs_of(&entries);
        let all = records(Signal::Logs, &request);
        let bad: std::collections::HashSet<u64> =
            chosen.iter().map(|index| index.index(all as usize) as u64 + 1).collect();
        let most = most_attempts(bad.len() as u64, most_halvings(all, 2));
        let cost = attempts(&request, &|time| bad.contains(&time));
        prop_assert!(cost <= most, "{} attempts of {most} for {} of {all}", cost, bad.len());
    }

    #[test]
    fn every_record_stands_alone_soon_however_uneven_entries_and_scopes_are(
        entries in prop::collection::vec(prop::collection::vec(0..60_usize, 1..6), 1..20),
    ) {
        let request = logs_of(&entries);
        let all = records(Signal::Logs, &request);
        // Entries without records are told apart as well.
        prop_assume!(entries.iter().all(|scopes| scopes.iter().sum::<usize>() > 0));
        prop_assert!(depth(Signal::Logs, &request) <= most_halvings(all, 2));
    }

    #[test]
    fn pieces_hold_every_record_once_in_order_and_keep_the_size((signal, request) in any_request(), max in 1..2000_usize) {
        let pieces = split_all(signal, &request, max);
        for (piece, count) in &pieces {
            prop_assert_eq!(validate(signal, piece), Ok(*count));
            let fits = piece.len() <= max || *count <= 1 || single(signal, piece).len() > max / 8 * 7;
            prop_assert!(fits, "{} bytes with {count} records", piece.len());
        }
        let all: Vec<u8> = pieces.into_iter().flat_map(|(piece, _)| piece).collect();
        prop_assert_eq!(flat(signal, &all), flat(signal, &request));
    }

    #[test]
    fn halving_again_and_again_ends_in_single_records((signal, request) in any_request()) {
        let mut open = vec![request.clone()];
        let mut singles = Vec::new();
        while let Some(part) = open.pop() {
            if let Some([(first, in_first), (second, in_second)]) = halve(signal, &part) {
                prop_assert!((in_first > 0 && in_second > 0) || records(signal, &part) <= 1);
                prop_assert_eq!(validate(signal, &first), Ok(in_first));
                prop_assert_eq!(validate(signal, &second), Ok(in_second));
                prop_assert_eq!(in_first + in_second, records(signal, &part));
                open.extend([second, first]);
            } else {
                prop_assert!(records(signal, &part) <= 1 && crate::count_entries(&part) <= 1);
                singles.extend(part);
            }
        }
        prop_assert_eq!(flat(signal, &singles), flat(signal, &request));
    }
}
