//! The language: how it is read and written, what is said of what is wrong, and what matches.

mod arbitrary;
mod oracle;
mod parsing;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::otlp::{self, Signal};

/// The positions of the records of a request that match, over all its entries.
fn matching(query: &str, signal: Signal, request: &[u8]) -> BTreeSet<(usize, usize)> {
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    matching_all(&[query], signal, request).remove(0)
}

fn matching_all(queries: &[Query], signal: Signal, request: &[u8]) -> Vec<BTreeSet<(usize, usize)>> {
    let set = QuerySet::new(queries);
    let origin = RecordOrigin { signal, tenant: Some("acme"), streams: &[("one", "k"), ("two", "l")] };
    let mut found = vec![BTreeSet::new(); queries.len()];
    for (at, entry) in otlp::split(signal, request).expect("it is valid").entries.iter().enumerate() {
        set.evaluate(0..set.len(), &origin, &entry.bytes, &mut |query, record| {
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

#[test]
fn an_entry_is_not_looked_into_if_what_is_known_of_it_decides() {
    // Not even valid: a record of it would be found.
    let set = QuerySet::new(&[Query::parse("tenant:globex level:error").unwrap()]);
    let origin = RecordOrigin { signal: Signal::Logs, tenant: Some("acme"), streams: &[] };
    let request = oracle::sample_logs();
    let entries = otlp::split(Signal::Logs, &request).unwrap().entries;
    set.evaluate(0..1, &origin, &entries[0].bytes, &mut |_, _| panic!("it is of another tenant"));
}
