use super::*;
use crate::route::RoutingKey;
use crate::stream::StreamName;
use otlp::Signal;

/// A stream of this key of an exporter.
fn stream(exporter: &str, key: &str) -> StreamAddress {
    let name = StreamName { signal: Signal::Logs, key: RoutingKey::written(key) };
    StreamAddress { exporter: exporter.into(), name }
}

/// One of many.
fn numbered(number: usize) -> StreamAddress {
    stream("up", &number.to_string())
}

/// A failed attempt at so many records, by which it is known again.
pub(in crate::stream) fn attempt(stream: &StreamAddress, records: u64) -> StreamAttempt {
    StreamAttempt {
        stream: stream.clone(),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(records),
        failed: true,
        code: "503".into(),
        target: "http://localhost/v1/logs".into(),
        took: Duration::ZERO,
        bytes: 1,
        records,
        is_part: false,
        message: "".into(),
    }
}

/// The records of the attempts of a list.
pub(in crate::stream) fn records(attempts: &[Arc<StreamAttempt>]) -> Vec<u64> {
    attempts.iter().map(|attempt| attempt.records).collect()
}

impl AttemptLists {
    fn fail(&mut self, stream: &StreamAddress, tenant: Option<&Arc<str>>, records: u64) -> bool {
        let attempt = Arc::new(attempt(stream, records));
        self.note(tenant, &attempt, WantedBy::ALL, &mut Forgotten::new())
    }

    /// Returns whether a list has it.
    fn succeed(&mut self, stream: &StreamAddress, tenant: Option<&Arc<str>>, records: u64) -> bool {
        let attempt = Arc::new(StreamAttempt { failed: false, ..attempt(stream, records) });
        self.note(tenant, &attempt, WantedBy::ALL, &mut Forgotten::new());
        Arc::strong_count(&attempt) > 1
    }

    fn of_stream(&mut self, stream: &StreamAddress) -> Vec<u64> {
        records(&self.look_at_stream(stream, &mut Forgotten::new()))
    }

    fn of_exporter(&mut self, exporter: &str) -> Vec<u64> {
        records(&self.exporters.look(&exporter.into(), &mut Forgotten::new()).attempts)
    }

    fn of_tenant(&mut self, tenant: &Arc<str>) -> Vec<u64> {
        records(&self.tenants.look(tenant, &mut Forgotten::new()).attempts)
    }

    /// What all lists take, each as if it shared nothing with others.
    fn bytes(&self) -> usize {
        let of = |lists: &mut dyn Iterator<Item = &AttemptList>| -> usize {
            lists.flat_map(|list| &list.attempts).map(|attempt| attempt.size()).sum()
        };
        of(&mut self.streams.lists.values())
            + of(&mut self.exporters.lists.values())
            + of(&mut self.tenants.lists.values())
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_stream_attempts_are_kept_from_a_failure_or_a_look_on_for_ten_minutes_the_newest_twenty() {
    let mut lists = AttemptLists::default();
    let (zero, one) = (numbered(0), numbered(1));
    assert!(!lists.succeed(&zero, None, 1), "of a healthy stream nothing is kept");
    assert!(lists.fail(&zero, None, 2));
    assert!(lists.succeed(&zero, None, 3), "how it went on is kept");
    assert_eq!(lists.of_stream(&zero), [3, 2]);
    assert_eq!(lists.of_stream(&stream("other", "0")), [0; 0]);
    assert_eq!(lists.of_stream(&one), [0; 0]);
    for number in 0..30 {
        assert!(lists.succeed(&one, None, number), "somebody has looked");
    }
    let newest: Vec<u64> = (10..30).rev().collect();
    assert_eq!(lists.of_stream(&one), newest);
    tokio::time::advance(KEPT / 2).await;
    lists.of_stream(&one);
    tokio::time::advance(KEPT / 2).await;
    lists.sweep(&mut Forgotten::new());
    assert!(!lists.succeed(&zero, None, 1));
    assert!(lists.succeed(&one, None, 1));
}

#[tokio::test(start_paused = true)]
async fn of_an_exporter_and_a_tenant_failures_are_kept_in_any_case_and_successes_for_ten_minutes_from_a_look_on()
 {
    let mut lists = AttemptLists::default();
    let (acme, globex): (Arc<str>, Arc<str>) = ("acme".into(), "globex".into());
    let (failing, healthy, elsewhere) =
        (stream("up", "failing"), stream("up", "healthy"), stream("other", "healthy"));
    lists.fail(&failing, Some(&acme), 1);
    assert!(!lists.succeed(&healthy, Some(&acme), 2), "another stream has failed, and nobody has looked");
    assert_eq!(lists.of_exporter("up"), [1]);
    assert!(lists.succeed(&healthy, Some(&globex), 3));
    assert!(!lists.succeed(&elsewhere, Some(&globex), 4), "at another exporter nobody has looked");
    lists.fail(&failing, Some(&acme), 5);
    assert_eq!(lists.of_exporter("up"), [5, 3, 1]);
    assert_eq!(lists.of_tenant(&acme), [5, 1]);
    assert!(lists.succeed(&elsewhere, Some(&acme), 6));
    assert_eq!(lists.of_tenant(&acme), [6, 5, 1]);
    assert_eq!(lists.of_tenant(&globex), [0; 0], "it has not failed, and nobody had looked");

    tokio::time::advance(KEPT).await;
    lists.fail(&failing, Some(&acme), 7);
    assert!(!lists.succeed(&healthy, Some(&acme), 8), "nobody has looked for ten minutes");
    assert!(lists.succeed(&failing, Some(&acme), 9), "the stream itself has failed");
    assert_eq!(lists.of_tenant(&acme)[..2], [7, 6]);
}

#[tokio::test(start_paused = true)]
async fn the_list_of_a_stream_begins_with_what_those_of_its_exporter_and_its_tenant_know_of_it() {
    let mut lists = AttemptLists::default();
    let acme: Arc<str> = "acme".into();
    let key = RoutingKey::of(Some("acme"), "a", std::iter::empty());
    let stream = stream("up", key.as_written());
    assert!(lists.of_exporter("up").is_empty());
    assert!(lists.succeed(&stream, Some(&acme), 1) && lists.succeed(&numbered(0), None, 2));
    assert!(lists.of_tenant(&acme).is_empty());
    assert!(lists.succeed(&stream, Some(&acme), 3), "both lists take it");
    for number in 0..EACH as u64 {
        lists.succeed(&numbered(0), None, number);
    }
    assert!(lists.succeed(&stream, Some(&acme), 4));
    assert_eq!(lists.of_stream(&stream), [4, 3], "each once, and nothing that is in no list any more");
    lists.succeed(&stream, Some(&acme), 5);
    assert_eq!(lists.of_stream(&stream), [5, 4, 3]);
}

#[tokio::test(start_paused = true)]
async fn no_more_streams_than_there_is_room_for_are_kept_and_what_is_looked_at_is_among_them() {
    let mut lists = AttemptLists::default();
    let note = |lists: &mut AttemptLists, number: usize| lists.fail(&numbered(number), None, 1);
    for number in 0..STREAMS {
        assert!(note(&mut lists, number));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(!note(&mut lists, STREAMS) && note(&mut lists, 0));
    assert_eq!(lists.of_stream(&numbered(STREAMS)), [1], "the exporter's list has it");
    assert!(note(&mut lists, STREAMS) && note(&mut lists, 0), "the look was after what comes now");
    assert!(!note(&mut lists, 1), "of that nothing was heard for longest");
    assert_eq!(lists.streams.lists.len(), STREAMS);
}

#[tokio::test(start_paused = true)]
async fn however_many_attempts_succeed_the_last_failures_keep_their_places() {
    let mut lists = AttemptLists::default();
    let tenant: Arc<str> = "acme".into();
    let (failing, healthy) = (stream("up", "failing"), stream("up", "healthy"));
    (0..3).for_each(|number| _ = lists.fail(&failing, Some(&tenant), number));
    assert_eq!(lists.of_exporter("up"), [2, 1, 0]);
    assert_eq!(lists.of_tenant(&tenant), [2, 1, 0]);
    (100..200).for_each(|number| _ = lists.succeed(&healthy, Some(&tenant), number));
    let newest = |first: u64, failures: &[u64]| [(first..200).rev().collect(), failures.to_vec()].concat();
    assert_eq!(lists.of_exporter("up"), newest(183, &[2, 1, 0]));
    assert_eq!(lists.of_tenant(&tenant), newest(183, &[2, 1, 0]));
    (10..40).for_each(|number| _ = lists.fail(&failing, Some(&tenant), number));
    assert_eq!(lists.of_exporter("up"), (20..40).rev().collect::<Vec<_>>());
    (100..200).for_each(|number| _ = lists.succeed(&healthy, Some(&tenant), number));
    assert_eq!(lists.of_exporter("up"), newest(190, &(30..40).rev().collect::<Vec<_>>()));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_tenants_that_fail_at_once_take_no_more_than_what_is_documented() {
    let mut lists = AttemptLists::default();
    for round in 0..EACH {
        // Those that fail again are the first of them, which have lists.
        for number in 0..(if round == 0 { 100_000 } else { STREAMS }) {
            let exporter = format!("otlp_http/{}", number % 1_000);
            let tenant: Arc<str> = format!("tenant-{number}").into();
            // One of many of each tenant, so that nothing is shared.
            let stream = stream(&exporter, &format!("{tenant}-{round}-{}", "k".repeat(500)));
            let long = |what: &str| what.repeat(256).into();
            let attempt = StreamAttempt { target: long("t"), message: long("ü"), ..attempt(&stream, 1) };
            lists.note(Some(&tenant), &Arc::new(attempt), WantedBy::ALL, &mut Forgotten::new());
        }
    }
    let kept = (lists.streams.lists.len(), lists.exporters.lists.len(), lists.tenants.lists.len());
    assert_eq!(kept, (STREAMS, EXPORTERS, TENANTS));
    assert!(lists.bytes() < 20 << 20, "{}", lists.bytes());
    assert!(lists.tenants.lists.values().all(|list| list.attempts.len() > 5), "some have room in any case");
    // The first that failed is shown, and so is whoever is looked at.
    assert!(!lists.of_tenant(&"tenant-0".into()).is_empty());
    let last: Arc<str> = "tenant-99999".into();
    assert!(lists.of_tenant(&last).is_empty());
    lists.fail(&stream("up", "a"), Some(&last), 7);
    assert_eq!(lists.of_tenant(&last), [7]);
    assert_eq!(lists.tenants.lists.len(), TENANTS);
}
