use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message as _;
use tokio::time::Instant;

use super::*;
use crate::query::Query;
use crate::stream::{AdmissionObserver as _, AdmittedEntry, Budget};
use crate::watches::{RecordWatch, Threshold, WatchSettings};
use otlp::{self, REDACTED, Redaction, Signal};

const MEMORY: u64 = 64 << 20;

/// When entries are admitted: noon of the 28th of March 2026.
const ADMITTED: u64 = 1_774_699_200_000_000_000;

fn observer(patterns: &[&str], recent: u64) -> (Arc<RecordObserver>, Arc<Budget>) {
    let budget = Arc::new(Budget::new(MEMORY));
    let observer = Arc::new(RecordObserver::new(budget.clone(), Arc::default()));
    let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let redaction = Redaction::new(&patterns).unwrap();
    observer.configure(TapSettings { redaction, recent }, Vec::new());
    (observer, budget)
}

/// An entry of log records with these texts and attributes.
fn logs(records: &[(&str, &[(&str, &str)])]) -> Vec<u8> {
    let text = |text: &str| Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) });
    let attribute = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: text(value),
        ..KeyValue::default()
    };
    let record = |(body, attributes): &(&str, &[(&str, &str)])| LogRecord {
        body: text(body),
        attributes: attributes.iter().map(attribute).collect(),
        time_unix_nano: 1_774_569_600_000_000_000,
        ..LogRecord::default()
    };
    let scope_logs =
        vec![ScopeLogs { log_records: records.iter().map(record).collect(), ..ScopeLogs::default() }];
    ResourceLogs { scope_logs, ..ResourceLogs::default() }.encode_to_vec()
}

fn admit(observer: &RecordObserver, tenant: Option<&str>, entry: &[u8]) {
    let records = otlp::count_records(Signal::Logs, entry);
    let streams = [("debug", "k")];
    let entry = AdmittedEntry { bytes: entry, records, tenant, streams: &streams, at: ADMITTED };
    observer.admitted(Signal::Logs, &entry);
}

fn tap(observer: &Arc<RecordObserver>, query: &str, limit: u32) -> TapReader {
    TapReader::open(observer, &observer.read_query(query).unwrap(), limit).unwrap()
}

/// The bodies that wait to be shown.
async fn bodies(reader: &mut TapReader) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(500), reader.next()).await {
        match event {
            TapEvent::Record(record) => bodies.push(record["body"].as_str().unwrap().to_owned()),
            other => panic!("{other:?}"),
        }
    }
    bodies
}

#[tokio::test(start_paused = true)]
async fn a_tap_is_shown_what_matches_and_nobody_looks_once_it_is_closed() {
    let (observer, budget) = observer(&[], 0);
    assert!(!observer.is_needed(Signal::Logs));
    let mut reader = tap(&observer, "refused tenant:acme", 100);
    assert!(observer.is_needed(Signal::Logs));
    assert_eq!(budget.used(), 1 << 20);
    admit(&observer, Some("acme"), &logs(&[("connection refused", &[]), ("fine", &[]), ("refused", &[])]));
    admit(&observer, Some("globex"), &logs(&[("refused", &[])]));
    assert_eq!(bodies(&mut reader).await, ["connection refused", "refused"]);
    drop(reader);
    assert!(!observer.is_needed(Signal::Logs));
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_signals_that_can_match_are_looked_at() {
    let (observer, _) = observer(&[], 0);
    let needed = |query: &str| {
        let _reader = tap(&observer, query, 1);
        Signal::ALL.map(|signal| observer.is_needed(signal))
    };
    assert_eq!(needed("duration:>1s OR signal:traces"), [true, false, false]);
    assert_eq!(needed("level:error service:api"), [true, false, true]);
    assert_eq!(needed("body:x"), [false, false, true]);
    assert_eq!(needed("NOT signal:logs"), [true, true, false]);
    assert_eq!(needed("x"), [true; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_limit_is_left_out_and_told() {
    let (observer, _) = observer(&[], 0);
    let mut reader = tap(&observer, "", 2);
    admit(&observer, None, &logs(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])]));
    assert_eq!(bodies(&mut reader).await, ["a", "b"]);
    assert_eq!(reader.next().await, Some(TapEvent::LeftOut(2)));
    tokio::time::advance(Duration::from_secs(1)).await;
    admit(&observer, None, &logs(&[("e", &[])]));
    assert_eq!(bodies(&mut reader).await, ["e"]);
    assert_eq!(reader.next().await, Some(TapEvent::Quiet), "fifteen seconds later");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_holds_a_mebibyte_and_loses_the_rest() {
    let (observer, _) = observer(&[], 0);
    let mut reader = tap(&observer, "", 1000);
    let large = "x".repeat(200_000);
    for _ in 0..10 {
        admit(&observer, None, &logs(&[(&large, &[])]));
    }
    assert_eq!(bodies(&mut reader).await.len(), 5);
    assert_eq!(reader.next().await, Some(TapEvent::LeftOut(5)));
    admit(&observer, None, &logs(&[(&large, &[])]));
    assert_eq!(bodies(&mut reader).await.len(), 1, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn as_many_taps_as_may_be_are_open_at_a_time() {
    let (observer, _) = observer(&[], 0);
    let readers: Vec<TapReader> = (0..16).map(|_| tap(&observer, "", 1)).collect();
    assert_eq!(TapReader::open(&observer, &Query::default(), 1).unwrap_err(), NoTap::TooMany { most: 16 });
    drop(readers);
    assert!(TapReader::open(&observer, &Query::default(), 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_tap_that_is_ended_says_nothing_more() {
    let (observer, _) = observer(&[], 0);
    let mut reader = tap(&observer, "", 10);
    observer.end_taps();
    assert!(!observer.is_needed(Signal::Logs));
    assert_eq!(reader.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_is_neither_shown_nor_found_out_by_asking() {
    let (observer, _) = observer(&["(?i)password$", r"token=\w+"], MEMORY / 4);
    let entry = logs(&[("login token=abc123 ok", &[("user.password", "hunter2"), ("user", "eve")])]);
    let mut everything = tap(&observer, "", 10);
    let mut asking = tap(&observer, "abc123", 10);
    admit(&observer, None, &entry);
    let Some(TapEvent::Record(record)) = everything.next().await else { panic!("it is shown") };
    assert_eq!(record["body"], "login [redacted] ok");
    assert_eq!(record["attributes"]["user.password"], REDACTED);
    assert_eq!(record["attributes"]["user"], "eve");
    assert_eq!(bodies(&mut asking).await, [""; 0]);
    let wrong = observer.read_query("a user.password:h*").unwrap_err();
    assert_eq!(wrong.column, 3);
    let found = |query: &str| find(&observer, &search(query)).records;
    assert_eq!(found("").len(), 1);
    assert_eq!(found("login")[0]["message"], "login [redacted] ok");
    assert_eq!(found("abc123").len(), 0);
}

fn search(query: &str) -> RecentSearch {
    RecentSearch {
        query: Query::parse(query).unwrap(),
        tenant: None,
        from: None,
        to: None,
        batch_size: 100,
        order: RecordOrder::NewestFirst,
        after: None,
    }
}

/// The page of a search that nothing ends.
fn find(observer: &RecordObserver, search: &RecentSearch) -> SearchPage {
    let end = SearchEnd { deadline: Instant::now() + Duration::from_secs(60), is_wanted: &|| true };
    observer.recent().search(search, &observer.redaction(), &end)
}

fn messages(page: &SearchPage) -> Vec<&str> {
    page.records.iter().map(|record| record["message"].as_str().unwrap()).collect()
}

#[test]
fn recent_records_are_found_from_either_end_a_page_at_a_time() {
    let (observer, _) = observer(&[], MEMORY / 4);
    for text in ["a", "b", "c"] {
        admit(&observer, Some(text), &logs(&[(&format!("{text}1"), &[]), (&format!("{text}2"), &[])]));
    }
    let find = |search: &RecentSearch| find(&observer, search);
    assert_eq!(messages(&find(&search(""))), ["c2", "c1", "b2", "b1", "a2", "a1"]);
    let oldest = RecentSearch { order: RecordOrder::OldestFirst, ..search("") };
    assert_eq!(messages(&find(&oldest)), ["a1", "a2", "b1", "b2", "c1", "c2"]);
    for (order, expected) in [
        (RecordOrder::NewestFirst, ["c2 c1 b2 b1", "a2 a1"]),
        (RecordOrder::OldestFirst, ["a1 a2 b1 b2", "c1 c2"]),
    ] {
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let page = find(&RecentSearch { batch_size: 4, order, after, ..search("") });
            pages.push(messages(&page).join(" "));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, expected);
    }
    let of_b = RecentSearch { tenant: Some("b".to_owned()), ..search("") };
    assert_eq!(messages(&find(&of_b)), ["b2", "b1"]);
    assert_eq!(messages(&find(&search("tenant:c c1"))), ["c1"]);
    let before = RecentSearch { to: Some(5), ..search("") };
    assert_eq!(messages(&find(&before)), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_record_without_a_time_has_the_one_at_which_it_was_observed_or_admitted() {
    const MINUTE: u64 = 60_000_000_000;
    let (observer, _) = observer(&[], MEMORY / 4);
    let mut everything = tap(&observer, "", 10);
    let mut of_the_day = tap(&observer, "dt:[2026-03-28T12:00:00Z TO 2026-03-28T12:00:00Z]", 10);
    let record = |body: &str, time: u64, observed: u64| LogRecord {
        body: Some(AnyValue { value: Some(Any::StringValue(body.to_owned())) }),
        time_unix_nano: time,
        observed_time_unix_nano: observed,
        ..LogRecord::default()
    };
    let log_records = vec![
        record("happened", ADMITTED - 2 * MINUTE, ADMITTED - MINUTE),
        record("observed", 0, ADMITTED - MINUTE),
        record("admitted", 0, 0),
    ];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    admit(&observer, None, &ResourceLogs { scope_logs, ..ResourceLogs::default() }.encode_to_vec());
    for (body, time) in [
        ("happened", "2026-03-28T11:58:00Z"),
        ("observed", "2026-03-28T11:59:00Z"),
        ("admitted", "2026-03-28T12:00:00Z"),
    ] {
        let Some(TapEvent::Record(shown)) = everything.next().await else { panic!("it is shown") };
        assert_eq!((&shown["body"], &shown["time"]), (&body.into(), &time.into()));
        let page = find(&observer, &search(body));
        assert_eq!(page.records[0]["dt"], time);
    }
    assert_eq!(bodies(&mut of_the_day).await, ["admitted"]);
    let since = RecentSearch { from: Some(ADMITTED), ..search("") };
    assert_eq!(messages(&find(&observer, &since)), ["admitted"]);
    let until = RecentSearch { to: Some(ADMITTED - MINUTE), ..search("") };
    assert_eq!(messages(&find(&observer, &until)), ["observed", "happened"]);
}

#[test]
fn recent_records_keep_their_bounds_and_each_tenant_its_newest() {
    let (observer, budget) = observer(&[], 100_000);
    admit(&observer, Some("quiet"), &logs(&[("quiet", &[])]));
    for number in 0..1000 {
        admit(&observer, Some("loud"), &logs(&[(&format!("{number}"), &[])]));
        assert!(observer.recent().bytes() <= 100_000);
        assert_eq!(observer.recent().bytes(), budget.used());
    }
    let page = find(&observer, &RecentSearch { batch_size: 1000, ..search("") });
    let found = messages(&page);
    assert_eq!(found.first(), Some(&"999"));
    assert_eq!(found.last(), Some(&"quiet"));
    assert!(found.len() > 100);
    // An entry that is larger than all is not kept, and nothing goes for it.
    admit(&observer, None, &logs(&[(&"x".repeat(200_000), &[])]));
    assert_eq!(messages(&find(&observer, &search("")))[0], "999");
    observer.configure(TapSettings::default(), Vec::new());
    assert_eq!((observer.recent().bytes(), budget.used()), (0, 0));
    assert!(!observer.is_needed(Signal::Logs));
}

#[test]
fn what_a_search_holds_takes_its_room_until_it_is_looked_at() {
    const ROOM: u64 = 100_000;
    let (observer, budget) = observer(&[], ROOM);
    let admit_many = || (0..200).for_each(|_| admit(&observer, None, &logs(&[(&"x".repeat(1000), &[])])));
    admit_many();
    let (asked, held) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let is_wanted = || {
        asked.set(asked.get() + 1);
        match asked.get() {
            1 => {
                // The ring lets all go that the search holds, which stays charged.
                observer.recent().set_limit(0);
                held.set(observer.recent().bytes());
                observer.recent().set_limit(ROOM);
                admit_many();
            }
            2 => admit_many(),
            _ => {}
        }
        assert!(observer.recent().bytes() <= ROOM);
        assert_eq!(observer.recent().bytes(), budget.used());
        true
    };
    let end = SearchEnd { deadline: Instant::now() + Duration::from_secs(60), is_wanted: &is_wanted };
    let page = observer.recent().search(&search("nothing"), &Redaction::default(), &end);
    assert_eq!((page.records.len(), page.next), (0, None));
    assert!(held.get() > ROOM / 2 && asked.get() > 50);
    observer.recent().set_limit(0);
    assert_eq!((observer.recent().bytes(), budget.used()), (0, 0));
}

#[test]
fn a_search_holds_a_mebibyte_or_one_entry_at_a_time() {
    let (observer, _) = observer(&[], MEMORY / 2);
    let held = std::cell::Cell::new(0);
    let is_wanted = || {
        observer.recent().set_limit(0);
        held.set(held.get().max(observer.recent().bytes()));
        true
    };
    let end = SearchEnd { deadline: Instant::now() + Duration::from_secs(60), is_wanted: &is_wanted };
    for (length, most) in [(300_000, 1 << 20), (1_500_000, 1_600_000)] {
        observer.recent().set_limit(MEMORY / 2);
        (0..5).for_each(|_| admit(&observer, None, &logs(&[(&"x".repeat(length), &[])])));
        held.set(0);
        observer.recent().search(&search("nothing"), &Redaction::default(), &end);
        assert!(held.get() > length as u64 && held.get() <= most, "{}", held.get());
    }
}

#[test]
fn recent_records_give_way_where_memory_is_used_up() {
    let (observer, budget) = observer(&[], MEMORY);
    assert!(budget.reserve(MEMORY - 1500));
    for number in 0..10 {
        admit(&observer, None, &logs(&[(&format!("{number}"), &[])]));
        assert!(budget.used() <= MEMORY);
    }
    let page = find(&observer, &search(""));
    assert_eq!(messages(&page).first(), Some(&"9"));
    assert!(messages(&page).len() < 10);
}

#[test]
fn a_search_ends_at_its_deadline_with_what_was_found_and_goes_on_from_there() {
    let (observer, _) = observer(&[], MEMORY / 4);
    for text in ["a", "b", "c"] {
        admit(&observer, None, &logs(&[(&format!("{text}1"), &[]), (&format!("{text}2"), &[])]));
    }
    for (order, expected) in [
        (RecordOrder::NewestFirst, ["c2 c1", "b2 b1", "a2 a1"]),
        (RecordOrder::OldestFirst, ["a1 a2", "b1 b2", "c1 c2"]),
    ] {
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let search = RecentSearch { order, after, ..search("") };
            let end = SearchEnd { deadline: Instant::now(), is_wanted: &|| true };
            let page = observer.recent().search(&search, &Redaction::default(), &end);
            pages.push(messages(&page).join(" "));
            after = page.next.map(|next| SearchCursor::read(&next.to_string()).unwrap());
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, expected);
    }
}

#[test]
fn a_search_that_nobody_waits_for_ends_within_an_entry() {
    let (observer, _) = observer(&[], MEMORY / 4);
    let many: Vec<(&str, &[(&str, &str)])> = vec![("x", &[]); 1000];
    (0..3).for_each(|_| admit(&observer, None, &logs(&many)));
    let asked = std::cell::Cell::new(0);
    let is_wanted = || {
        asked.set(asked.get() + 1);
        asked.get() < 10
    };
    let end = SearchEnd { deadline: Instant::now() + Duration::from_secs(60), is_wanted: &is_wanted };
    observer.recent().search(&search("x"), &Redaction::default(), &end);
    assert!(asked.get() < 20, "{}", asked.get());
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_is_neither_found_nor_counted_nor_missed() {
    let (observer, _) = observer(&[r"password=\w+"], MEMORY / 4);
    let (mut asking, mut denying) = (tap(&observer, "hunter2", 1), tap(&observer, "NOT hunter2", 1));
    for _ in 0..3 {
        admit(&observer, None, &logs(&[("login password=hunter2", &[])]));
    }
    let Some(TapEvent::Record(record)) = denying.next().await else { panic!("it is shown") };
    assert_eq!(record["body"], "login [redacted]");
    assert_eq!(denying.next().await, Some(TapEvent::LeftOut(2)));
    assert_eq!(asking.next().await, Some(TapEvent::Quiet), "nothing is left out that matches");
    assert_eq!(find(&observer, &search("hunter2")).records.len(), 0);
    assert_eq!(find(&observer, &search("NOT hunter2")).records.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_watch_sees_what_is_hidden_from_others() {
    let (observer, _) = observer(&[], 0);
    let within = Duration::from_secs(60);
    let watch = Arc::new(RecordWatch::new(WatchSettings {
        name: "leak".to_owned(),
        query: Query::parse("password=hunter2").unwrap(),
        shown_query: "[redacted]".to_owned(),
        tenants: None,
        threshold: Threshold::Above { records: 10, within },
    }));
    let redaction = Redaction::new(&["password=.*"]).unwrap();
    observer.configure(TapSettings { redaction, recent: 0 }, vec![watch.clone()]);
    admit(&observer, None, &logs(&[("password=hunter2", &[]), ("other", &[])]));
    assert_eq!(watch.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tap_without_time_looks_at_nothing_and_counts_what_may_match() {
    let (observer, _) = observer(&[], 0);
    let mut of_all = tap(&observer, "*a*b*", 10);
    let mut of_acme = tap(&observer, "tenant:acme *a*b*", 10);
    observer.spend_allowance();
    admit(&observer, Some("globex"), &logs(&[("a b", &[]), ("a b", &[])]));
    assert_eq!(of_all.next().await, Some(TapEvent::LeftOut(2)));
    assert_eq!(of_acme.next().await, Some(TapEvent::Quiet), "it is of another tenant");
}

#[tokio::test(start_paused = true)]
async fn a_tap_is_shown_so_many_bytes_in_a_second() {
    let (observer, _) = observer(&[], 0);
    let mut reader = tap(&observer, "", 1000);
    let large = "x".repeat(500_000);
    let mut shown = 0;
    for _ in 0..20 {
        admit(&observer, None, &logs(&[(&large, &[])]));
        // The time of the runtime stands still meanwhile.
        while let Ok(Some(TapEvent::Record(_))) =
            tokio::time::timeout(Duration::from_nanos(1), reader.next()).await
        {
            shown += 1;
        }
    }
    assert_eq!(shown, 8, "of half a megabyte each");
    assert_eq!(reader.next().await, Some(TapEvent::LeftOut(12)));
}

proptest! {
    #[test]
    fn redacting_leaves_valid_otlp_and_as_many_records(
        (signal, request) in prop_oneof![Just(Signal::Traces), Just(Signal::Metrics), Just(Signal::Logs)]
            .prop_flat_map(|signal| (Just(signal), otlp::arbitrary_request(signal)))
    ) {
        let redaction = Redaction::new(&["^[ab]$".to_owned(), "x".to_owned()]).unwrap();
        for entry in otlp::split(signal, &request).unwrap().entries {
            let clean = redaction.apply(signal, &entry.bytes);
            let mut framed = Vec::new();
            otlp::put_frame(&mut framed, clean.len());
            framed.extend_from_slice(&clean);
            prop_assert_eq!(otlp::validate(signal, &framed), Ok(entry.records));
        }
    }

    #[test]
    fn a_record_alone_is_what_it_was_among_others(
        (signal, request) in prop_oneof![Just(Signal::Traces), Just(Signal::Metrics), Just(Signal::Logs)]
            .prop_flat_map(|signal| (Just(signal), otlp::arbitrary_request(signal)))
    ) {
        let origin = crate::query::RecordOrigin { signal, tenant: None, streams: &[], admitted: ADMITTED };
        for entry in otlp::split(signal, &request).unwrap().entries {
            let visited = otlp::visit_records(signal, &entry.bytes, &mut |record| {
                let alone = record.alone();
                assert!(alone.len() <= record.len_alone());
                assert_eq!(otlp::count_records(signal, &alone), 1);
                let visited = otlp::visit_records(signal, &alone, &mut |again| {
                    assert_eq!(shown::record(again, &origin), shown::record(record, &origin));
                    std::ops::ControlFlow::Continue(())
                });
                assert!(visited.is_continue());
                std::ops::ControlFlow::Continue(())
            });
            prop_assert!(visited.is_continue());
        }
    }
}
