//! The language: how it is read and written, what is said of what is wrong, and what matches.

mod arbitrary;
mod oracle;
mod parsing;

use std::cell::Cell;
use std::collections::BTreeSet;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;

use super::facts::LOOKED_AT;
use super::*;
use otlp::{self, Redaction, Signal};

/// When entries were admitted: noon of the 28th of March 2026.
const ADMITTED: u64 = 1_774_699_200_000_000_000;

/// The positions of the records of a request that match, over all its entries.
fn matching(query: &str, signal: Signal, request: &[u8]) -> BTreeSet<(usize, usize)> {
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    matching_all(&[query], signal, request).remove(0)
}

fn matching_all(queries: &[Query], signal: Signal, request: &[u8]) -> Vec<BTreeSet<(usize, usize)>> {
    matching_seen(queries, signal, request, &QuerySight::EVERYTHING)
}

fn matching_seen(
    queries: &[Query],
    signal: Signal,
    request: &[u8],
    sight: &QuerySight<'_>,
) -> Vec<BTreeSet<(usize, usize)>> {
    let set = QuerySet::new(queries);
    let streams = [("one", "k"), ("two", "l")];
    let origin = RecordOrigin { signal, tenant: Some("acme"), streams: &streams, admitted: ADMITTED };
    let mut found = vec![BTreeSet::new(); queries.len()];
    for (at, entry) in otlp::split(signal, request).expect("it is valid").entries.iter().enumerate() {
        set.evaluate(&origin, &entry.bytes, sight, &mut |query, record| {
            let is_new = found[query].insert((at, record.position()));
            assert!(is_new, "a record is found once");
        });
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_is_read_as_the_same_query(query in arbitrary::query()) {
        let written = query.to_string();
        prop_assert_eq!(Query::parse(&written), Ok(query), "{}", written);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_column_that_it_has(text in "[a-c:\"\\\\*?()\\[\\]<>= ANDORTNOT.0-9-]{0,24}") {
        check_query(&text);
    }

    #[test]
    fn the_walk_finds_what_decoded_messages_say(
        (signal, request) in prop_oneof![Just(Signal::Traces), Just(Signal::Metrics), Just(Signal::Logs)]
            .prop_flat_map(|signal| (Just(signal), otlp::arbitrary_request(signal))),
        queries in proptest::collection::vec(arbitrary::query(), 1..6),
    ) {
        let found = matching_all(&queries, signal, &request);
        for (query, found) in queries.iter().zip(found) {
            prop_assert_eq!(found, oracle::matching(query, signal, &request), "{}", query);
        }
    }
}

#[test]
fn every_kind_of_condition_is_asked_of_records_that_people_send() {
    let request = oracle::sample_logs();
    let found = |query: &str| {
        let found: Vec<usize> =
            matching(query, Signal::Logs, &request).into_iter().map(|(_, at)| at).collect();
        found
    };
    for (query, expected) in [
        ("", &[0, 1, 2][..]),
        ("level:error", &[0]),
        ("level:>=warn", &[0, 1]),
        ("severity:[debug TO warn]", &[1, 2]),
        ("NOT level:error", &[1, 2]),
        ("level:error service:api", &[0]),
        ("service:API", &[0, 1, 2]),
        ("service:web", &[]),
        ("\"connection refused\"", &[0]),
        ("CONNECTION", &[0]),
        ("conn*fused", &[0]),
        ("host:prod-*", &[0, 1, 2]),
        ("host:prod-?", &[0, 1, 2]),
        ("host:prod", &[]),
        ("status:>=500", &[0]),
        ("status:[400 TO 499]", &[1]),
        ("status:503", &[0]),
        ("status:50?", &[0]),
        ("status:(503 OR 404)", &[0, 1]),
        ("-status:*", &[2]),
        ("http.response.status_code:503", &[0]),
        ("attributes.http.response.status_code:503", &[0]),
        ("resource.http.response.status_code:503", &[]),
        ("resource.service.name:api", &[0, 1, 2]),
        ("attributes.service.name:api", &[]),
        ("tags:blue", &[1]),
        ("flag:true", &[1]),
        ("ratio:0.50", &[1]),
        ("ratio:>0.4", &[1]),
        ("trace_id:0102*", &[0]),
        ("trace:0102030405060708090a0b0c0d0e0f10", &[0]),
        ("tenant:acme", &[0, 1, 2]),
        ("tenant:ACME", &[]),
        ("stream:l exporter:one", &[0, 1, 2]),
        ("signal:logs", &[0, 1, 2]),
        ("signal:traces", &[]),
        ("duration:>1s", &[]),
        ("scope:http", &[0, 1, 2]),
        ("dt:[2026-03-27 TO ..]", &[0, 1]),
        ("dt:<2026-03-27T00:00:00Z", &[2]),
        ("(level:warn OR level:error) AND NOT \"refused\"", &[1]),
        ("message:*", &[0, 1]),
        ("severity_text:oops", &[2]),
    ] {
        assert_eq!(found(query), expected, "{query}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn queries_see_what_is_shown_and_not_what_is_there(
        (signal, request) in prop_oneof![Just(Signal::Traces), Just(Signal::Metrics), Just(Signal::Logs)]
            .prop_flat_map(|signal| (Just(signal), otlp::arbitrary_request(signal))),
        queries in proptest::collection::vec(arbitrary::query(), 1..6),
    ) {
        let redaction = Redaction::new(&["^a$", "x"]).unwrap();
        let mut shown = Vec::new();
        for entry in &otlp::split(signal, &request).unwrap().entries {
            let clean = redaction.apply(signal, &entry.bytes);
            otlp::put_frame(&mut shown, clean.len());
            shown.extend_from_slice(&clean);
        }
        let sight = QuerySight { redaction: Some(&redaction), ..QuerySight::EVERYTHING };
        let seen = matching_seen(&queries, signal, &request, &sight);
        for ((query, seen), of_shown) in queries.iter().zip(seen).zip(matching_all(&queries, signal, &shown)) {
            prop_assert_eq!(seen, of_shown, "{}", query);
        }
    }
}

/// How often it was asked whether there is time to look at the records of an entry of logs for a query.
fn looks(query: &str, redaction: &Redaction, entry: &ResourceLogs) -> usize {
    let (set, looks) = (QuerySet::new(&[Query::parse(query).unwrap()]), Cell::new(0));
    let has_time = || {
        looks.set(looks.get() + 1);
        true
    };
    let sight = QuerySight { redaction: Some(redaction), has_time: &has_time };
    let origin = RecordOrigin { signal: Signal::Logs, tenant: None, streams: &[], admitted: ADMITTED };
    set.evaluate(&origin, &entry.encode_to_vec(), &sight, &mut |_, _| {});
    looks.get()
}

/// So many log records without anything, below a resource and a scope that have a text.
fn small_records(records: usize, text: &str) -> ResourceLogs {
    let value = Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) });
    let attributes = vec![KeyValue { key: "k".to_owned(), value, ..KeyValue::default() }];
    let resource = Some(Resource { attributes: attributes.clone(), ..Resource::default() });
    let scope =
        Some(InstrumentationScope { name: text.to_owned(), attributes, ..InstrumentationScope::default() });
    let log_records = vec![LogRecord::default(); records];
    ResourceLogs {
        resource,
        scope_logs: vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }
}

#[test]
fn what_records_have_in_common_is_looked_at_once_for_all_of_them() {
    let redaction = Redaction::new(&["nothing like this"]).unwrap();
    for query in ["k:a*b", "scope.k:a*b", "resource.k:a*b", "scope:a*b", "k:(a*b OR b*a) scope:c*"] {
        let entry = small_records(1000, &"a".repeat(LOOKED_AT));
        let looks = looks(query, &redaction, &entry);
        assert!((1..1010).contains(&looks), "{query}: {looks}");
    }
}

#[test]
fn a_look_ends_before_the_record_for_which_there_is_no_time() {
    let set = QuerySet::new(&[
        Query::default(),
        Query::parse("tenant:a*").unwrap(),
        Query::parse("NOT k:x").unwrap(),
    ]);
    let entry = small_records(10, "a").encode_to_vec();
    let origin = RecordOrigin { signal: Signal::Logs, tenant: None, streams: &[], admitted: ADMITTED };
    let left = Cell::new(5);
    let has_time = || {
        let has_time = left.get() > 0;
        left.set(left.get().max(1) - 1);
        has_time
    };
    let sight = QuerySight { redaction: None, has_time: &has_time };
    let mut found = Vec::new();
    let looked_at =
        set.evaluate(&origin, &entry, &sight, &mut |query, record| found.push((record.position(), query)));
    assert_eq!((&looked_at.queries[..], looked_at.records), (&[0, 2][..], 4));
    let expected: Vec<(usize, usize)> = (0..4).flat_map(|at| [(at, 0), (at, 2)]).collect();
    assert_eq!(found, expected);
    let looked_at = set.evaluate(&origin, &entry, &sight, &mut |_, _| panic!("there is no time"));
    assert_eq!(
        (&looked_at.queries[..], looked_at.records),
        (&[0, 2][..], 0),
        "what can't match is known all the same"
    );
}

#[test]
fn a_long_text_is_seen_in_part_and_not_at_all_where_something_is_hidden() {
    let text = "a".repeat(LOOKED_AT) + "z";
    let request = |entry: &ResourceLogs| {
        let (mut request, entry) = (Vec::new(), entry.encode_to_vec());
        otlp::put_frame(&mut request, entry.len());
        request.extend_from_slice(&entry);
        request
    };
    let request = request(&small_records(1, &text));
    let (hides, shows) = (Redaction::new(&["x"]).unwrap(), Redaction::default());
    for (query, redaction, matches) in [
        ("k:aa*", None, true),
        ("k:*z", None, false),
        ("k:aa*", Some(&shows), true),
        ("k:aa*", Some(&hides), false),
        ("k:*", Some(&hides), true),
        ("scope:aa*", Some(&hides), false),
    ] {
        let sight = QuerySight { redaction, ..QuerySight::EVERYTHING };
        let found = matching_seen(&[Query::parse(query).unwrap()], Signal::Logs, &request, &sight);
        assert_eq!(!found[0].is_empty(), matches, "{query} {redaction:?}");
    }
}

#[test]
fn how_often_bytes_may_be_gone_through_is_known_before() {
    let passes = |queries: &[&str], redacted| {
        let queries: Vec<Query> = queries.iter().map(|query| Query::parse(query).unwrap()).collect();
        Signal::ALL.map(|signal| QuerySet::new(&queries).most_passes(signal, redacted))
    };
    assert_eq!(passes(&[], false), [0; 3]);
    assert_eq!(passes(&["level:error"], true), [1, 0, 1], "no text is looked at");
    assert_eq!(passes(&["body:refused", "signal:traces"], false), [1, 0, 9]);
    let long = "x".repeat(120);
    assert_eq!(passes(&[&format!("body:{long}*{long}")], false), [0, 0, 12]);
    assert_eq!(passes(&["service:api"], false), [8; 3]);
    assert!(passes(&["service:api"], true) > passes(&["service:api"], false));
}

#[test]
fn a_masked_query_has_no_text_that_may_not_be_shown() {
    let masked = |query: &str| Query::parse(query).unwrap().masked(&|text| text.len() < 4, "[m]").to_string();
    for (query, expected) in [
        ("level:error status:>=500 a:b", r"level:error \[m\]:>=500 a:b"),
        ("long-word OR (a -body:a*long-word?)", r#""[m]" OR (a NOT body:"[m]")"#),
    ] {
        assert_eq!(masked(query), expected);
    }
}

#[test]
fn an_entry_is_not_looked_into_if_what_is_known_of_it_decides() {
    // Not even valid: a record of it would be found.
    let set = QuerySet::new(&[Query::parse("tenant:globex level:error").unwrap()]);
    let origin =
        RecordOrigin { signal: Signal::Logs, tenant: Some("acme"), streams: &[], admitted: ADMITTED };
    let request = oracle::sample_logs();
    let entries = otlp::split(Signal::Logs, &request).unwrap().entries;
    set.evaluate(&origin, &entries[0].bytes, &QuerySight::EVERYTHING, &mut |_, _| {
        panic!("it is of another tenant");
    });
}
