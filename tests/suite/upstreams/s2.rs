//! `preset: s2`.

use std::time::Duration;

use sluice::otlp::Signal;
use tokio::time::Instant;

use super::{QUICK, send, texts};
use crate::support::letters::wait_for_letters;
use crate::support::payload::{KEY, filler, logs};
use crate::support::stand_ins::{MOST_RECORDS, S2, StandIn};
use crate::support::yaml::{self, LETTERS, SINGLY};
use crate::support::{Sluice, eventually};

const BASINS: [(&str, &str); 1] = [("my-basin", "t0ken")];

/// Sluice in front of S2. It is reached as a proxy, so that requests are for the host of the basin, as the real one wants it.
fn config(s2: &StandIn<S2>, options: &[&str]) -> String {
    let mut all = vec![format!(
        "preset: s2, endpoint: 'http://my-basin.b.s2.dev', token: t0ken, proxy_url: '{}'",
        s2.url()
    )];
    all.extend(options.iter().map(|option| (*option).to_owned()));
    yaml::exporters(&[("otlp_http/s2", all.join(", "))]) + &yaml::by_stream("otlp_http/s2") + LETTERS
}

async fn start(s2: &StandIn<S2>, options: &[&str]) -> Sluice {
    Sluice::start(&config(s2, options)).await
}

#[tokio::test]
async fn every_signal_of_every_stream_arrives_in_order() {
    let s2 = S2::start(&BASINS).await;
    let sluice = start(&s2, &[]).await;
    let streams = ["a", "b/c d", "ä"];
    for round in 0..3 {
        for stream in streams {
            for signal in Signal::ALL {
                let text = format!("{stream} {round}");
                send(&sluice, signal, &[(KEY, stream)], &[&text]).await;
            }
        }
    }
    let taken = s2.records(27).await;
    for stream in streams {
        for signal in Signal::ALL {
            assert_eq!(taken.of(stream, signal), texts(stream, 3), "{signal}");
        }
    }
    sluice.settled().await;
}

#[tokio::test]
async fn s2_takes_json_if_that_is_written() {
    let s2 = S2::start(&BASINS).await;
    let sluice = start(&s2, &["encoding: json"]).await;
    for signal in [Signal::Traces, Signal::Logs] {
        send(&sluice, signal, &[(KEY, "a")], &["x"]).await;
    }
    s2.records(2).await;
    assert!(s2.asked().iter().all(|asked| asked.headers["content-type"] == "application/json"));
}

#[tokio::test]
async fn much_at_once_arrives_in_appends_that_s2_takes() {
    let s2 = S2::start(&BASINS).await;
    let sluice = start(&s2, &[]).await;
    let records = texts("x", 40);
    let large: Vec<String> = records.iter().map(|text| filler(text, 100 << 10)).collect();
    let large: Vec<&str> = large.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("a", &large)])).await;
    let taken = s2.records(40).await;
    assert_eq!(taken.of("a", Signal::Logs), large);
    assert!(taken.largest <= 512 << 10, "{}", taken.largest);
}

#[tokio::test]
async fn a_429_is_waited_for_as_long_as_it_asks_and_delays_no_other_stream() {
    let s2 = S2::start(&BASINS).await;
    let sluice = start(&s2, &[QUICK]).await;
    s2.fail_next_with(429, "retry-after", "1");
    let started = Instant::now();
    send(&sluice, Signal::Logs, &[(KEY, "a")], &["1"]).await;
    eventually("the first is refused", async || (s2.asked().len() == 1).then_some(())).await;
    send(&sluice, Signal::Logs, &[(KEY, "b")], &["2"]).await;
    let taken = s2.records(1).await;
    assert_eq!(taken.of("b", Signal::Logs), ["2"], "it has not waited for the other one");
    s2.records(2).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_s2_says_may_be_tried_again_is() {
    let s2 = S2::start(&BASINS).await;
    let sluice = start(&s2, &[QUICK]).await;
    let statuses = [408, 409, 429, 500, 502, 503, 504];
    s2.fail_next(&statuses);
    send(&sluice, Signal::Logs, &[(KEY, "a")], &["1"]).await;
    send(&sluice, Signal::Logs, &[(KEY, "a")], &["2"]).await;
    assert_eq!(s2.records(2).await.of("a", Signal::Logs), ["1", "2"]);
    assert!(s2.asked().len() > statuses.len());
    sluice.settled().await;
}

#[tokio::test]
async fn an_append_whose_condition_fails_becomes_a_dead_letter_at_once() {
    let s2 = S2::start(&BASINS).await;
    let sluice = start(&s2, &[QUICK, SINGLY]).await;
    s2.fail_next(&[412]);
    send(&sluice, Signal::Logs, &[(KEY, "a")], &["1"]).await;
    send(&sluice, Signal::Logs, &[(KEY, "a")], &["2"]).await;
    let letters = wait_for_letters(&sluice.directory().join("letters"), 1).await;
    assert!(letters[0].text("reason").contains("412"), "{}", letters[0].note);
    assert_eq!(s2.records(1).await.of("a", Signal::Logs), ["2"]);
    assert_eq!(s2.asked().len(), 2);
}

#[tokio::test]
async fn an_access_token_that_has_expired_loses_nothing_until_there_is_another() {
    let s2 = S2::start(&[("my-basin", "another")]).await;
    s2.expect(401);
    let sluice = start(&s2, &[QUICK]).await;
    send(&sluice, Signal::Logs, &[(KEY, "a")], &["1"]).await;
    eventually("the stream is held", async || {
        let page = sluice.api("/api/v1/streams?state=held").await;
        (page["streams"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    let text =
        sluice.api("/api/v1/streams").await.to_string() + &sluice.api("/api/v1/config").await.to_string();
    assert!(!text.contains("t0ken"), "{text}");
    sluice.reconfigure(&config(&s2, &[QUICK]).replace("token: t0ken", "token: another")).await;
    assert_eq!(s2.records(1).await.of("a", Signal::Logs), ["1"]);
}

#[tokio::test]
async fn an_append_that_is_too_large_is_divided() {
    let s2 = S2::start(&BASINS).await;
    s2.expect(413);
    let batch = "sending_queue: { batch: { flush_timeout: 1h, min_size: 2000000, max_size: 3MiB } }";
    let sluice = start(&s2, &[QUICK, batch]).await;
    let large: Vec<String> = texts("x", 24).iter().map(|text| filler(text, 100 << 10)).collect();
    let all: Vec<&str> = large.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("a", &all)])).await;
    assert_eq!(s2.records(24).await.of("a", Signal::Logs), all);
    sluice.settled().await;
}

#[tokio::test]
async fn more_records_than_an_append_takes_are_one_request_that_s2_divides() {
    let s2 = S2::start(&BASINS).await;
    let sluice = start(&s2, &[]).await;
    let records = texts("x", 2 * MOST_RECORDS + 500);
    let all: Vec<&str> = records.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("a", &all)])).await;
    assert_eq!(s2.records(all.len()).await.of("a", Signal::Logs), all);
    assert_eq!(s2.asked().len(), 1);
}

#[tokio::test]
async fn were_more_records_than_an_append_takes_refused_they_would_arrive_in_smaller_requests() {
    let s2 = S2::start_undivided(&BASINS).await;
    s2.expect(413);
    let sluice = start(&s2, &[QUICK]).await;
    let records = texts("x", 2 * MOST_RECORDS + 500);
    let all: Vec<&str> = records.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("a", &all)])).await;
    assert_eq!(s2.records(all.len()).await.of("a", Signal::Logs), all);
    sluice.settled().await;
    sluice.assert_conserved().await;
}

#[tokio::test]
async fn each_basin_is_reached_at_its_own_host() {
    let s2 = S2::start(&[("basin-one", "t0ken"), ("basin-two", "t0ken")]).await;
    let yaml = config(&s2, &[])
        .replace("my-basin", "{{ key.basin }}")
        .replace("key: s2.stream", "key: { basin: s2.basin, stream: s2.stream }");
    let sluice = Sluice::start(&yaml).await;
    for basin in ["basin-one", "basin-two"] {
        send(&sluice, Signal::Traces, &[(KEY, basin), ("s2.basin", basin)], &["x"]).await;
    }
    s2.records(2).await;
    let mut hosts: Vec<String> =
        s2.asked().iter().map(|asked| asked.headers["host"].to_str().unwrap().to_owned()).collect();
    hosts.sort();
    assert_eq!(hosts, ["basin-one.b.s2.dev", "basin-two.b.s2.dev"]);
}
