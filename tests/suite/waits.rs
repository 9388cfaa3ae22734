//! The pauses between attempts: what an upstream wishes lengthens them, and never shortens them.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message as _;
use sluice::otlp::Signal;
use tokio::task::{JoinSet, LocalSet};
use tonic::Code;

use crate::support::grpc::{RetryInfo, Status};
use crate::support::payload::logs;
use crate::support::scripted::{Asked, Said, Scripted};
use crate::support::yaml::{SINGLY, by_stream, exporters, to};
use crate::support::{Sluice, eventually};

/// Pauses of 20, 40, 80 and 160 ms, without jitter.
const GROWING: &str = "retry_on_failure: { initial_interval: 20ms, multiplier: 2, max_interval: 160ms, randomization_factor: 0 }";

/// What they come to before the fifth attempt.
const BEFORE_THE_FIFTH: [u64; 4] = [20, 40, 80, 160];

/// Sluice with one exporter, and one record on its way in each of so many streams.
async fn sending(exporter: &str, options: String, streams: usize) -> Sluice {
    let sluice = Sluice::start(&(exporters(&[(exporter, options)]) + &by_stream(exporter))).await;
    let keys: Vec<String> = (0..streams).map(|stream| format!("stream {stream}")).collect();
    let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (key.as_str(), &["text"][..])).collect();
    sluice.accept(Signal::Logs, logs(&entries)).await;
    sluice
}

/// Checks that each attempt of the only stream came no sooner after the one before than Sluice's own pauses say.
fn assert_own_pauses(asked: &[Asked], case: &str) {
    for (pair, own) in asked.windows(2).zip(BEFORE_THE_FIFTH) {
        let pause = pair[1].at.duration_since(pair[0].at);
        // The first is stamped by the upstream a moment before its answer is written.
        assert!(pause >= Duration::from_millis(own), "{case}: {pause:?} where {own} ms are our own");
    }
}

#[tokio::test]
async fn a_retry_after_that_is_over_never_shortens_the_pauses_of_a_stream() {
    let now = SystemTime::now();
    let past = httpdate::fmt_http_date(now - Duration::from_secs(2));
    let present = httpdate::fmt_http_date(now);
    let long_ago = "Thu, 01 Jan 1970 00:00:00 GMT";
    let (mut cases, local) = (JoinSet::new(), LocalSet::new());
    for status in [503, 429, 401, 404, 502] {
        for wish in ["0", "-1", "0.001", "soon", &past, &present, long_ago] {
            let (case, said) =
                (format!("{status} with `{wish}`"), Said::new(status, &[("retry-after", wish)], ""));
            let attempts = async move {
                let up = Scripted::saying(said).await;
                let _sluice = sending("otlp_http/up", to(&up.url(), &[SINGLY, GROWING]), 1).await;
                assert_own_pauses(&up.wait_for(5).await[..5], &case);
            };
            cases.spawn_local_on(attempts, &local);
        }
    }
    local.run_until(cases.join_all()).await;
}

/// `RetryInfo` as the two trailers that servers write it in.
fn retry_info(code: Code, delay: Option<prost_types::Duration>) -> [(&'static str, String); 2] {
    let info = RetryInfo { retry_delay: delay };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    let details = vec![prost_types::Any { type_url, value: info.encode_to_vec() }];
    let status = Status { code: code as i32, message: "later".to_owned(), details };
    [
        ("grpc-status-details-bin", BASE64.encode(status.encode_to_vec())),
        ("google.rpc.retryinfo-bin", BASE64.encode(info.encode_to_vec())),
    ]
}

#[tokio::test]
async fn a_retry_info_of_nothing_never_shortens_the_pauses_of_a_stream() {
    let delay = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let delays = [delay(0, 0), delay(0, 1_000_000), delay(-5, 0), delay(0, -1), delay(-1, 999_999_999), None];
    let (mut cases, local) = (JoinSet::new(), LocalSet::new());
    for code in [Code::Unavailable, Code::ResourceExhausted, Code::Unauthenticated] {
        for delay in delays {
            let both = retry_info(code, delay);
            let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
            for trailers in [&both[..], &both[..1], &both[1..]] {
                let (case, said) = (format!("{code:?} with {delay:?}"), Said::status(code, trailers));
                let attempts = async move {
                    let up = Scripted::saying(said).await;
                    let options = format!("{}, {SINGLY}, {GROWING}", up.grpc_options());
                    let _sluice = sending("otlp_grpc/up", options, 1).await;
                    assert_own_pauses(&up.wait_for(5).await[..5], &case);
                };
                cases.spawn_local_on(attempts, &local);
            }
        }
    }
    local.run_until(cases.join_all()).await;
}

#[tokio::test]
async fn an_absurd_retry_info_is_a_long_pause_and_no_panic() {
    let delay = Some(prost_types::Duration { seconds: i64::MAX, nanos: i32::MAX });
    let trailers = retry_info(Code::Unavailable, delay);
    let trailers = trailers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let up = Scripted::saying(Said::status(Code::Unavailable, &trailers)).await;
    let sluice = sending("otlp_grpc/up", format!("{}, {SINGLY}, {GROWING}", up.grpc_options()), 1).await;
    sluice.wait_for_metric("sluice_export_attempts_total", &[("code", "UNAVAILABLE")], 1.0).await;
    assert_eq!(sluice.metric("sluice_pending_records", &[]).await, 1.0);
}

/// Twenty streams whose own pauses are an hour, at an upstream that says this to each of them.
async fn opens_the_circuit(exporter: &str, options: String, up: &Scripted) {
    let hours = "retry_on_failure: { initial_interval: 1h, max_interval: 1h, randomization_factor: 0 }";
    let sluice = sending(exporter, format!("{options}, {SINGLY}, {hours}"), 20).await;
    eventually("the circuit opens, though the upstream asks to come again", async || {
        let open = sluice.metric("sluice_destinations", &[("circuit", "open")]).await;
        (open == 1.0).then_some(())
    })
    .await;
    let asked = up.asked().len();
    assert!((5..=20).contains(&asked), "no stream asks twice: {asked}");
}

#[tokio::test]
async fn an_upstream_that_is_away_and_asks_to_come_at_once_opens_the_circuit() {
    let up = Scripted::saying(Said::new(503, &[("retry-after", "0")], "")).await;
    opens_the_circuit("otlp_http/up", to(&up.url(), &[]), &up).await;
    let trailers = retry_info(Code::Unavailable, Some(prost_types::Duration::default()));
    let trailers = trailers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let up = Scripted::saying(Said::status(Code::Unavailable, &trailers)).await;
    opens_the_circuit("otlp_grpc/up", up.grpc_options(), &up).await;
}

#[tokio::test]
async fn streams_that_a_circuit_lets_go_and_that_fail_again_keep_their_own_pauses() {
    // One stream is answered and closes the circuit again and again; the others never are.
    let up = Scripted::new(|asked| {
        let fine = asked.body.windows(4).any(|window| window == b"fine");
        Said::new(if fine { 200 } else { 503 }, &[], "")
    })
    .await;
    let hours = "retry_on_failure: { initial_interval: 1h, max_interval: 1h, randomization_factor: 0 }";
    let sluice = sending("otlp_http/up", to(&up.url(), &[SINGLY, hours]), 20).await;
    let refused = |up: &Scripted| {
        up.asked().iter().filter(|asked| !asked.body.windows(4).any(|window| window == b"fine")).count()
    };
    up.wait_for(20).await;
    for _ in 0..3 {
        let before = up.asked().len() - refused(&up);
        sluice.accept(Signal::Logs, logs(&[("fine", &["fine"])])).await;
        eventually("the healthy stream is served", async || {
            (up.asked().len() - refused(&up) > before).then_some(())
        })
        .await;
        eventually("what the circuit lets go has failed", async || {
            (sluice.metric("sluice_destinations", &[("circuit", "half_open")]).await == 0.0).then_some(())
        })
        .await;
    }
    // Once, and once more when the circuit closed for the first time.
    assert!(refused(&up) <= 40, "{} attempts of 20 streams whose own pauses are an hour", refused(&up));
}
