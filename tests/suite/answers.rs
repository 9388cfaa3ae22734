//! What an upstream's answer means: delivered, tried again, searched, held, or given up.

use std::time::Duration;

use rig::sink::{Fault, RetryAfter, Sink};
use sluice::otlp::Signal;

use crate::support::letters::letters;
use crate::support::payload::logs;
use crate::support::scripted::{Said, Scripted};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{PATIENCE, Sluice, SluiceProcess};

const UP: &str = "otlp_http/up";

async fn start(up: &Sink, options: &[&str]) -> Sluice {
    let mut all = vec![SINGLY];
    all.extend_from_slice(options);
    Sluice::start(&(yaml::up(&up.url(), &all) + LETTERS)).await
}

/// Sends three batches of one record and has the first answer to the second of them be `fault`. Returns what was
/// delivered, in order, and the texts of the dead letters' reasons.
async fn second_batch_gets(fault: Fault) -> (Vec<String>, Vec<String>, Sluice) {
    second_batch_gets_with(fault, &[QUICK]).await
}

async fn second_batch_gets_with(fault: Fault, options: &[&str]) -> (Vec<String>, Vec<String>, Sluice) {
    let up = sinks::recording().await;
    up.script([Fault::none(), fault]);
    let sluice = start(&up, options).await;
    for text in ["first", "second", "third"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    sluice.settled().await;
    let letters = letters(&sluice.directory().join("letters"));
    let reasons = letters.iter().map(|letter| letter.text("reason").to_owned()).collect();
    for letter in &letters {
        assert_eq!(letter.bytes, logs(&[("a", &["second"])]));
        assert_eq!((letter.text("exporter"), letter.text("key"), letter.records()), (UP, "a", 1));
    }
    (up.texts(Signal::Logs), reasons, sluice)
}

async fn attempts(sluice: &Sluice, code: u16) -> f64 {
    sluice.metric("sluice_export_attempts_total", &[("code", &code.to_string())]).await
}

#[tokio::test]
async fn rule_39_statuses_that_pass_are_tried_again_in_order() {
    for status in [429, 502, 503, 504, 520, 530] {
        let (texts, letters, sluice) = second_batch_gets(Fault::status(status)).await;
        assert_eq!(texts, ["first", "second", "third"], "{status}");
        assert_eq!(letters, [""; 0], "{status}");
        assert_eq!(attempts(&sluice, status).await, 1.0);
    }
}

#[tokio::test]
async fn statuses_that_fault_the_destination_hold_the_stream() {
    for status in [401, 403, 404, 405, 407, 415, 501] {
        let (texts, letters, sluice) = second_batch_gets(Fault::status(status)).await;
        assert_eq!(texts, ["first", "second", "third"], "{status}");
        assert_eq!(letters, [""; 0], "{status}");
        assert_eq!(attempts(&sluice, status).await, 1.0);
    }
}

#[tokio::test]
async fn statuses_that_fault_the_data_dead_letter_what_cannot_be_halved() {
    for status in [400, 413, 422] {
        let (texts, letters, _) = second_batch_gets(Fault::status(status).message("too bad")).await;
        assert_eq!(texts, ["first", "third"], "{status}");
        assert!(letters[0].contains(&status.to_string()) && letters[0].contains("too bad"), "{letters:?}");
    }
}

#[tokio::test]
async fn rules_8_and_39_all_other_statuses_dead_letter_the_batch() {
    for status in [402, 406, 408, 409, 410, 412, 431, 500, 505, 511] {
        let (texts, letters, sluice) = second_batch_gets(Fault::status(status)).await;
        assert_eq!(texts, ["first", "third"], "{status}");
        assert!(letters[0].contains(&status.to_string()), "{letters:?}");
        assert_eq!(sluice.metrics().await.exported(UP, "dead_lettered"), 1.0);
    }
}

#[tokio::test]
async fn the_list_of_statuses_to_retry_can_be_changed() {
    let up = sinks::recording().await;
    up.script([Fault::status(408), Fault::status(500), Fault::none(), Fault::status(503)]);
    let retry = "retry_on_failure: { initial_interval: 5ms, max_interval: 9ms, statuses: [408, 500] }";
    let sluice = start(&up, &[retry]).await;
    for text in ["first", "second"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["first"]);
    assert_eq!(metrics.exported(UP, "dead_lettered"), 1.0, "503 is not in the list");
}

/// Without retries, so that `retry` and `hold` differ: what is held is tried again all the same.
const NO_RETRIES: &str = "retry_on_failure: { enabled: false, initial_interval: 5ms, max_interval: 9ms }";

#[tokio::test]
async fn a_status_can_be_named_to_count_as_delivered() {
    for (status, named) in [(409, "409: delivered"), (503, "5xx: delivered"), (302, "300-399: delivered")] {
        let statuses = format!("statuses: {{ {named} }}");
        let (texts, letters, sluice) =
            second_batch_gets_with(Fault::status(status), &[QUICK, &statuses]).await;
        assert_eq!(texts, ["first", "third"], "{named}: the sink refused it and keeps nothing of it");
        assert_eq!(letters, [""; 0], "{named}");
        let metrics = sluice.metrics().await;
        assert_eq!((metrics.exported(UP, "delivered"), metrics.exported(UP, "rejected")), (3.0, 0.0));
        assert_eq!(attempts(&sluice, status).await, 1.0);
    }
}

#[tokio::test]
async fn a_status_can_be_named_to_be_tried_again() {
    for (status, named) in [(409, "409: retry"), (400, "4xx: retry"), (599, "4xx: retry, 599: retry")] {
        let statuses = format!("statuses: {{ {named} }}");
        let (texts, letters, sluice) =
            second_batch_gets_with(Fault::status(status), &[QUICK, &statuses]).await;
        assert_eq!((texts.len(), letters.len()), (3, 0), "{named}");
        assert_eq!(texts, ["first", "second", "third"], "{named}");
        assert_eq!(attempts(&sluice, status).await, 1.0);
        let (texts, letters, _) =
            second_batch_gets_with(Fault::status(status), &[NO_RETRIES, &statuses]).await;
        assert_eq!((texts.len(), letters.len()), (2, 1), "{named}, without retries");
        assert!(letters[0].contains("not delivered, and retries are off"), "{letters:?}");
    }
}

#[tokio::test]
async fn a_status_can_be_named_to_hold_the_stream() {
    for (status, named) in [(422, "422: hold"), (503, "503: hold"), (500, "500-530: hold")] {
        let statuses = format!("statuses: {{ {named} }}");
        let (texts, letters, sluice) =
            second_batch_gets_with(Fault::status(status), &[NO_RETRIES, &statuses]).await;
        assert_eq!(texts, ["first", "second", "third"], "{named}");
        assert_eq!(letters, [""; 0], "{named}");
        assert_eq!(attempts(&sluice, status).await, 1.0);
    }
}

#[tokio::test]
async fn a_status_can_be_named_to_make_a_dead_letter_of_the_batch() {
    for (status, named) in [
        (404, "404: dead_letter"),
        (503, "503: dead_letter"),
        (400, "400: dead_letter"),
        (525, "5xx: dead_letter"),
        (301, "3xx: dead_letter"),
    ] {
        let statuses = format!("statuses: {{ {named} }}");
        let (texts, letters, _) =
            second_batch_gets_with(Fault::status(status).message("no such stream"), &[QUICK, &statuses])
                .await;
        assert_eq!(texts, ["first", "third"], "{named}");
        assert!(letters[0].contains(&status.to_string()), "{letters:?}");
    }
}

#[tokio::test]
async fn a_status_can_be_named_to_split_the_batch_until_the_refused_record_stands_alone() {
    for (status, named) in [(500, "500: split"), (503, "5xx: divide"), (409, "409-411: split, 4xx: hold")] {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(status).on_text("bad"));
        let sluice = start(&up, &[QUICK, &format!("statuses: {{ {named} }}")]).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["1", "2", "bad", "3", "4"])])).await;
        sluice.settled().await;
        assert_eq!(up.texts(Signal::Logs), ["1", "2", "3", "4"], "{named}");
        let letters = letters(&sluice.directory().join("letters"));
        assert_eq!(letters.len(), 1, "{named}");
        assert_eq!(letters[0].bytes, logs(&[("a", &["bad"])]), "{named}");
    }
}

#[tokio::test]
async fn a_named_status_wins_over_the_list_of_those_to_retry_and_a_narrow_range_over_a_wide_one() {
    let up = sinks::recording().await;
    up.script([Fault::status(408), Fault::status(500), Fault::none(), Fault::status(507)]);
    let sluice = start(
        &up,
        &[
            "retry_on_failure: { initial_interval: 5ms, max_interval: 9ms, statuses: [408, 507] }",
            "statuses: { 5xx: dead_letter, \"500-505\": retry }",
        ],
    )
    .await;
    for text in ["first", "second"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["first"], "408 and 500 were tried again, 507 was not");
    assert_eq!(metrics.exported(UP, "dead_lettered"), 1.0);
}

#[tokio::test]
async fn a_named_retry_and_a_named_hold_wait_as_long_as_any_other_whatever_the_upstream_asks_for() {
    const LEAST: Duration = Duration::from_millis(60);
    for action in ["retry", "hold"] {
        let up = Scripted::saying(Said::new(409, &[("retry-after", "0")], "")).await;
        let retry = "retry_on_failure: { initial_interval: 60ms, max_interval: 1s, randomization_factor: 0 }";
        let statuses = format!("statuses: {{ 409: {action} }}");
        let sluice = Sluice::start(&yaml::up(&up.url(), &[SINGLY, retry, &statuses])).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
        let asked = up.wait_for(4).await;
        for pair in asked.windows(2) {
            let waited = pair[1].at - pair[0].at;
            assert!(waited >= LEAST, "{action}: {waited:?}");
        }
        assert!(asked[3].at - asked[0].at >= LEAST * 4, "{action}: the waits grow");
    }
}

#[tokio::test]
async fn a_gateways_status_that_ends_a_batch_by_its_name_opens_no_circuit() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = start(&up, &["statuses: { 503: dead_letter }", "timeout: 5s"]).await;
    let streams: Vec<String> = (0..20).map(|stream| format!("stream-{stream}")).collect();
    for stream in &streams {
        sluice.accept(Signal::Logs, logs(&[(stream, &["x"])])).await;
    }
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported(UP, "dead_lettered"), 20.0, "none waited for a probe");
    assert_eq!(attempts(&sluice, 503).await, 20.0);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_holds_the_stream() {
    for status in [300, 301, 302, 303, 307, 308] {
        let (texts, letters, _) =
            second_batch_gets(Fault::redirect(status, "http://elsewhere.example/")).await;
        assert_eq!(texts, ["first", "second", "third"], "{status}");
        assert_eq!(letters, [""; 0], "{status}");
    }
}

#[tokio::test]
async fn rule_13_partial_success_is_not_retried_and_not_dead_lettered() {
    let (texts, letters, sluice) = second_batch_gets(Fault::partial_success(1, "no")).await;
    assert_eq!(texts, ["first", "second", "third"]);
    assert_eq!(letters, [""; 0]);
    let metrics = sluice.metrics().await;
    assert_eq!((metrics.exported(UP, "delivered"), metrics.exported(UP, "rejected")), (2.0, 1.0));
}

#[tokio::test]
async fn rule_14_partial_success_without_rejected_records_is_full_success() {
    for warning in ["", "deprecated"] {
        let (texts, letters, sluice) = second_batch_gets(Fault::partial_success(0, warning)).await;
        assert_eq!((texts.len(), letters.len()), (3, 0), "{warning}");
        assert_eq!(sluice.metrics().await.exported(UP, "delivered"), 3.0);
    }
}

#[tokio::test]
async fn no_answer_is_tried_again_in_order() {
    for fault in [Fault::reset_after(0), Fault::close_after(1), Fault::not_http()] {
        let (texts, letters, _) = second_batch_gets(fault).await;
        assert_eq!(texts, ["first", "second", "third"]);
        assert_eq!(letters, [""; 0]);
    }
    let (texts, _, _) = second_batch_gets(Fault::cut_answer()).await;
    assert_eq!(texts[0], "first");
    assert_eq!(texts.last().unwrap(), "third");
}

#[tokio::test]
async fn without_retries_what_would_be_tried_again_is_dead_lettered_but_a_wrong_token_still_holds() {
    let up = sinks::recording().await;
    up.script([Fault::status(503), Fault::status(401)]);
    let sluice = start(&up, &["retry_on_failure: { enabled: false, initial_interval: 5ms }"]).await;
    for text in ["first", "second"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["second"]);
    assert_eq!(metrics.exported(UP, "dead_lettered"), 1.0);
}

#[tokio::test]
async fn a_held_stream_goes_on_as_soon_as_its_exporter_has_a_new_token() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(401));
    let config = |token: &str| {
        let headers = format!("headers: {{ Authorization: 'Bearer {token}' }}");
        let patient = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
        yaml::up(&up.url(), &[SINGLY, patient, &headers])
    };
    let sluice = Sluice::start(&config("old")).await;
    for text in ["1", "2"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    up.wait_for_requests(1, PATIENCE).await.unwrap();
    sluice.wait_for_metric("sluice_export_attempts_total", &[("code", "401")], 1.0).await;
    up.clear_faults();
    sluice.reconfigure(&config("new")).await;
    up.records(2).await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2"]);
    assert!(up.taken().iter().all(|request| request.headers["authorization"] == "Bearer new"));
}

#[tokio::test]
async fn a_retry_after_of_hours_does_not_outlast_a_reload() {
    let up = sinks::recording().await;
    up.script([Fault::status(503).retry_after(RetryAfter::Date(Duration::from_secs(100_000)))]);
    let sluice = Sluice::start(&yaml::up(&up.url(), &[SINGLY])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    sluice.wait_for_metric("sluice_export_attempts_total", &[("code", "503")], 1.0).await;
    sluice.reconfigure(&yaml::up(&up.url(), &[SINGLY, "timeout: 7s"])).await;
    up.records(1).await;
}

#[tokio::test]
async fn at_debug_the_log_tells_of_each_attempt_what_was_sent_where_and_what_came_of_it() {
    let up = sinks::recording().await;
    up.script([Fault::status(503), Fault::none()]);
    let endpoint = format!("logs_endpoint: '{}/v1/logs?token=s3cr3t'", up.url());
    let options = [SINGLY, QUICK, "headers: { Authorization: 'Bearer hunter2' }", &endpoint];
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &options), &["--log-level", "debug"]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["text"])])).await;
    sluice.settled().await;
    for (code, outcome) in [("503", "retry"), ("200", "delivered")] {
        let line = sluice.logged(&format!("outcome=\"{outcome}\"")).await;
        let bytes = format!("bytes={}", logs(&[("a", &["text"])]).len());
        let target = format!("target={}/v1/logs?[redacted]", up.url());
        for part in [
            "attempt made",
            "exporter=otlp_http/up",
            "signal=logs",
            "key=\"a\"",
            "records=1",
            "duration=",
            &bytes,
            &target,
            &format!("code=\"{code}\""),
        ] {
            assert!(line.contains(part), "`{part}` is missing: {line}");
        }
    }
    assert!(!sluice.says("hunter2") && !sluice.says("s3cr3t"), "{:?}", sluice.log());
}
