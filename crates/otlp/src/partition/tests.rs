use std::borrow::Cow;
use std::fmt::Write as _;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{ReadValue, RecordAttribute, arbitrary, frame_len, oracle, put_frame, split};

fn is_usable(value: ReadValue<'_>) -> bool {
    value != ReadValue::Text("")
}

/// The attribute `k`, wherever it stands.
fn k() -> RecordAttribute {
    RecordAttribute { name: "k".into(), is_alone: false }
}

/// A log record called `name` whose attribute `k` is this, if it is there.
fn record(name: &str, value: Option<&str>) -> LogRecord {
    let attribute = |text: &str| KeyValue {
        key: "k".to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) }),
        ..KeyValue::default()
    };
    let attributes = value.map(attribute).into_iter().collect();
    LogRecord { event_name: name.to_owned(), attributes, ..LogRecord::default() }
}

fn request(scopes: Vec<ScopeLogs>) -> Vec<u8> {
    let entry =
        ResourceLogs { scope_logs: scopes, schema_url: "entry".to_owned(), ..ResourceLogs::default() };
    let entry = entry.encode_to_vec();
    let mut request = Vec::new();
    put_frame(&mut request, entry.len());
    request.extend(entry);
    request
}

fn scope(name: &str, log_records: Vec<LogRecord>) -> ScopeLogs {
    ScopeLogs { schema_url: name.to_owned(), log_records, ..ScopeLogs::default() }
}

/// What an entry of logs says: its scopes, each with the names of its records.
fn shown(entry: &Entry<'_>) -> String {
    let decoded = ResourceLogs::decode(&*entry.bytes).unwrap();
    assert_eq!(decoded.schema_url, "entry");
    let mut shown = String::new();
    for scope in decoded.scope_logs {
        let names: Vec<String> = scope.log_records.into_iter().map(|record| record.event_name).collect();
        write!(shown, "{}({}) ", scope.schema_url, names.join(" ")).unwrap();
    }
    shown.trim_end().to_owned()
}

/// Sends each combination a way of its own.
fn each_its_own() -> impl FnMut(&[Found<'_>], &mut RoomCheck<'_>) -> Option<u32> {
    let mut next = 0..;
    move |_, _| next.next()
}

fn partitioned(request: &[u8], room: &mut dyn FnMut(usize) -> bool) -> Result<Vec<String>, NoRoom> {
    let entry = split(Signal::Logs, request).unwrap().entries.remove(0);
    let names = [k()];
    let parts = partition(
        Signal::Logs,
        &entry,
        &RecordAttributes::new(&names, is_usable),
        &mut each_its_own(),
        room,
    )?;
    Ok(parts.into_iter().flatten().map(|part| format!("{}: {}", part.records, shown(&part))).collect())
}

#[test]
fn an_entry_becomes_one_for_each_combination_in_the_order_in_which_they_appear() {
    let request = request(vec![
        scope("one", vec![record("a", Some("x")), record("b", None), record("c", Some("x"))]),
        scope("empty", vec![]),
        scope("two", vec![record("d", Some("y")), record("e", Some("")), record("f", Some("x"))]),
    ]);
    let parts = partitioned(&request, &mut |_| true).unwrap();
    // A scope without records goes with the record before it.
    assert_eq!(parts, ["3: one(a c) empty() two(f)", "1: one(b)", "1: two(d)", "1: two(e)"]);
}

#[test]
fn combinations_that_go_one_way_stay_together_in_order() {
    let records = |values: &[&str]| values.iter().map(|value| record(value, Some(value))).collect();
    let parts_of = |values: &[&str]| {
        let request = request(vec![scope("one", records(values))]);
        let entry = split(Signal::Logs, &request).unwrap().entries.remove(0);
        let names = [k()];
        // By the first letter.
        let mut ways = Vec::new();
        let mut way_of = |found: &[Found<'_>], _: &mut RoomCheck<'_>| {
            let [Found::Value(ReadValue::Text(text))] = found else { panic!("{found:?}") };
            let letter = text.chars().next();
            let known = ways.iter().position(|known| *known == letter);
            known.or_else(|| (ways.push(letter), Some(ways.len() - 1)).1).map(|way| way as u32)
        };
        let attributes = RecordAttributes::new(&names, is_usable);
        let parts = partition(Signal::Logs, &entry, &attributes, &mut way_of, &mut |_| true).unwrap();
        parts.map(|parts| parts.iter().map(shown).collect::<Vec<_>>())
    };
    assert_eq!(parts_of(&["a1", "a2", "a3"]), None);
    let parts = parts_of(&["a1", "a2", "b1", "a3", "b2", "a1"]).unwrap();
    assert_eq!(parts, ["one(a1 a2 a3 a1)", "one(b1 b2)"]);
}

/// Sends each combination a way of its own, all of which lead to one stream besides.
struct Meeting(u32);

impl RecordWays for Meeting {
    fn way_of(&mut self, _: &[Found<'_>], _: &mut RoomCheck<'_>) -> Option<u32> {
        self.0 += 1;
        Some(self.0 - 1)
    }

    fn meet(&self) -> bool {
        true
    }
}

#[test]
fn ways_that_meet_divide_an_entry_wherever_the_way_changes_so_that_all_records_keep_their_order() {
    let request = request(vec![
        scope("one", vec![record("a", Some("x")), record("b", Some("x")), record("c", None)]),
        scope("two", vec![record("d", None), record("e", Some("x"))]),
    ]);
    let entry = split(Signal::Logs, &request).unwrap().entries.remove(0);
    let names = [k()];
    let attributes = RecordAttributes::new(&names, is_usable);
    let mut asked = 0;
    let mut room = |bytes: usize| {
        asked += bytes;
        true
    };
    let parts = partition(Signal::Logs, &entry, &attributes, &mut Meeting(0), &mut room).unwrap().unwrap();
    let shown: Vec<String> = parts.iter().map(|part| format!("{}: {}", part.records, shown(part))).collect();
    assert_eq!(shown, ["2: one(a b)", "2: one(c) two(d)", "1: two(e)"]);
    assert!(asked >= parts.iter().map(|part| frame_len(part.bytes.len()) + COMBINATION_OVERHEAD).sum());
}

#[test]
fn an_entry_whose_records_agree_stays_as_it_is_and_takes_no_memory() {
    let same = request(vec![scope("one", vec![record("a", Some("x")), record("b", Some("x"))])]);
    let none = request(vec![scope("one", vec![record("a", None), record("b", None)]), scope("two", vec![])]);
    for request in [same, none, request(vec![])] {
        assert_eq!(partitioned(&request, &mut |_| panic!("it takes nothing")).unwrap(), [""; 0]);
    }
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let large = "x".repeat(1000);
    let records = (0..100).map(|number| record("a", Some(&number.to_string())));
    let request = request(vec![scope(&large, records.collect())]);
    let mut asked = 0;
    let mut room = |bytes: usize| {
        asked += bytes;
        true
    };
    assert_eq!(partitioned(&request, &mut room).unwrap().len(), 100);
    assert!(asked > 100 * 1000 + 100 * COMBINATION_OVERHEAD, "{asked}");
    let mut left = asked;
    let mut too_little = |bytes: usize| {
        left = left.saturating_sub(bytes);
        left > 0
    };
    assert_eq!(partitioned(&request, &mut too_little), Err(NoRoom));
    assert_eq!(partitioned(&request, &mut |_| false), Err(NoRoom));
}

/// Were the work the square of their number, this would not end.
#[test]
fn a_hundred_thousand_combinations_are_told_apart() {
    let records = (0..100_000).map(|number| record("a", Some(&number.to_string()))).collect();
    let request = request(vec![scope("one", records)]);
    assert_eq!(partitioned(&request, &mut |_| true).unwrap().len(), 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn parts_hold_the_records_of_their_combination_byte_for_byte_in_order(
        (signal, request) in any_request(), names in proptest::collection::vec("[ab]", 1..3)
    ) {
        oracle::check_partition(signal, &request, &names);
    }
}

/// Requests in which many records have the attributes `a` and `b`.
fn any_request() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    prop::sample::select(&Signal::ALL[..]).prop_flat_map(|signal| (Just(signal), arbitrary::request(signal)))
}

#[test]
fn what_is_written_is_no_larger_than_what_was_asked_for() {
    let request = request(vec![
        scope("one", vec![record("a", Some("x")), record("b", None)]),
        scope("two", vec![record("c", Some("x")), record("d", None)]),
    ]);
    let entry = split(Signal::Logs, &request).unwrap().entries.remove(0);
    assert!(matches!(entry.bytes, Cow::Borrowed(_)));
    let names = [k()];
    let mut last = 0;
    let attributes = RecordAttributes::new(&names, is_usable);
    let mut room = |bytes: usize| {
        last = bytes;
        true
    };
    let parts =
        partition(Signal::Logs, &entry, &attributes, &mut each_its_own(), &mut room).unwrap().unwrap();
    let written: usize = parts.iter().map(|part| frame_len(part.bytes.len())).sum();
    assert!(written <= last && last < written * 3, "{written} {last}");
}
