//! Which stream suffers, and why: what the API and the log say of each, however many fail at once.

use std::time::Duration;

use rig::sink::{Fault, Sink, SinkSettings};
use serde_json::{Value, json};
use sluice::otlp::Signal;
use sluice::receive::TlsServerSettings;
use tokio::time::Instant;

use crate::support::payload::logs;
use crate::support::sinks;
use crate::support::tls::Authority;
use crate::support::yaml::{self, LETTERS, QUICK};
use crate::support::{Sluice, SluiceProcess, clock, eventually};

/// A stream of each key that fails in a way of its own: key, code, a word of what the upstream says, what the stream does.
const FAILURES: [(&str, &str, &str, &str); 6] = [
    ("expired", "401", "expired", "held"),
    ("forbidden", "403", "not yours", "held"),
    ("moved", "404", "no such source", "held"),
    ("overloaded", "503", "come back later", "backing_off"),
    ("reset", "reset", "without an answer", "backing_off"),
    ("hanging", "timeout", "no answer within", "backing_off"),
];

fn fail_each_in_its_way(up: &rig::sink::Sink) {
    for (key, code, words, _) in FAILURES {
        let fault = match code {
            "reset" => Fault::reset_after(u64::MAX),
            "timeout" => Fault::hang(),
            status => Fault::status(status.parse().unwrap()).message(words),
        };
        up.add_fault(fault.on_streams(key));
    }
}

async fn stream(front: &crate::support::Front, key: &str) -> Value {
    let shown = front.api(&format!("/api/v1/streams?key={key}")).await;
    shown["streams"][0].clone()
}

#[tokio::test]
async fn every_failing_stream_is_named_in_the_log_with_its_own_cause() {
    let up = sinks::counting().await;
    fail_each_in_its_way(&up);
    let config = yaml::up(&up.url(), &[QUICK, "timeout: 300ms"]);
    let sluice = SluiceProcess::start(&config, &[]).await;
    for (key, ..) in FAILURES {
        sluice.accept(Signal::Logs, logs(&[(key, &["text"])])).await;
    }
    sluice.accept(Signal::Logs, logs(&[("fine", &["text"])])).await;
    for (key, code, words, _) in FAILURES {
        let line = sluice.logged(&format!("key=\"{key}\"")).await;
        assert!(line.contains(words) && line.contains(code), "{line}");
    }
    assert!(sluice.logged("key=\"expired\"").await.contains("check its credentials"));
    assert!(sluice.logged("key=\"moved\"").await.contains("check its endpoint"));
    assert!(!sluice.says("key=\"fine\""), "{:?}", sluice.log());
}

/// How streams fail that share no upstream: key, exporter, code, and a word of what the line says.
const APART: [(&str, &str, &str, &str); 7] = [
    ("expired", "up", "401", "check its credentials"),
    ("forbidden", "up", "403", "check its credentials"),
    ("moved", "up", "404", "check its endpoint"),
    ("broken", "up", "500", "something broke"),
    ("refused", "refusing", "connect", "Connection refused"),
    ("nowhere", "unknown", "connect", "nowhere.invalid"),
    ("untrusted", "untrusted", "tls", "certificate"),
];

#[tokio::test]
async fn of_seven_streams_that_fail_for_seven_reasons_each_is_named_with_its_own_and_the_api_shows_the_same()
{
    let up = sinks::counting().await;
    for (key, _, code, words) in APART {
        if let Ok(status) = code.parse() {
            up.add_fault(Fault::status(status).message(words).on_streams(key));
        }
    }
    // Its certificate is of an authority that nobody trusts.
    let authority = Authority::new("authority");
    authority.write("server", &authority.sign("localhost"));
    let tls = TlsServerSettings {
        cert_file: authority.path("server.pem"),
        key_file: authority.path("server.key"),
        client_ca_file: None,
        only_tls13: false,
        reload_interval: Duration::from_secs(10),
    };
    let settings = SinkSettings { tls: Some(tls), ..SinkSettings::default() };
    let untrusted = Sink::start(settings).await.unwrap();
    let urls = [
        ("otlp_http/up", up.url()),
        ("otlp_http/refusing", format!("http://{}", sinks::nobody().await)),
        ("otlp_http/unknown", "http://nowhere.invalid:4318".to_owned()),
        ("otlp_http/untrusted", format!("https://localhost:{}", untrusted.addr().port())),
    ];
    // 500 is repeated, as S2's is.
    let retry = "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms, statuses: [429, 500, 502, 503, 504] }";
    let exporters = urls.map(|(name, url)| (name, yaml::to(&url, &[retry])));
    let routes: Vec<String> = APART
        .iter()
        .map(|(key, exporter, ..)| {
            format!(
                "  - {{ match: {{ s2.stream: {key} }}, key: s2.stream, exporters: [otlp_http/{exporter}] }}\n"
            )
        })
        .collect();
    let config = yaml::exporters(&exporters) + "routes:\n" + &routes.concat();
    let sluice = SluiceProcess::start(&config, &[]).await;
    let began = Instant::now();
    for (key, ..) in APART {
        sluice.accept(Signal::Logs, logs(&[(key, &["text"])])).await;
    }
    for (key, exporter, code, words) in APART {
        let line = sluice.logged(&format!("key=\"{key}\"")).await;
        assert!(line.contains(words) && line.contains(&format!("otlp_http/{exporter}")), "{line}");
        let status = code.parse::<u16>().is_err() || line.contains(code);
        assert!(status, "401, 403 and 404 are three causes: {line}");
        let shown = eventually(key, async || {
            let shown = stream(&sluice, key).await;
            (shown["last_error"]["code"] == code).then_some(shown)
        })
        .await;
        assert_eq!(
            (&shown["last_success"], &shown["dead_lettered_records"]),
            (&Value::Null, &json!(0)),
            "{shown}"
        );
    }
    assert!(began.elapsed() < Duration::from_secs(60), "all are named within a minute");
}

#[tokio::test]
async fn of_a_thousand_failing_streams_the_log_names_some_and_says_how_many_it_left_out() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503).message("come back later"));
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[QUICK]), &[]).await;
    let began = Instant::now();
    for first in (0..1000).step_by(100) {
        let keys: Vec<String> = (first..first + 100).map(|number| format!("stream {number}")).collect();
        let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (key.as_str(), &["text"][..])).collect();
        sluice.accept(Signal::Logs, logs(&entries)).await;
    }
    let line = sluice.logged("lines about other trouble were left out").await;
    assert!(line.contains("left_out="), "{line}");
    let named = sluice.log().iter().filter(|line| line.contains("key=\"stream")).count();
    // 60 at once, and then 20 in each second.
    let most = 60 + 20 * (began.elapsed().as_secs() as usize + 1);
    assert!((1..=most).contains(&named), "{named} lines, and {most} at the most");
}

#[tokio::test]
async fn each_line_about_an_attempt_that_failed_names_its_target_without_query() {
    let up = sinks::counting().await;
    fail_each_in_its_way(&up);
    up.add_fault(Fault::status(400).message("no schema").on_streams("bad"));
    for retry in [QUICK, "retry_on_failure: { enabled: false }"] {
        let url = format!("{}/v1/logs?tenant={{{{ key }}}}&token=s3cr3t", up.url());
        let options = format!("logs_endpoint: '{url}', compression: none, timeout: 300ms, {retry}");
        let config = yaml::exporters(&[("otlp_http/up", options)])
            + "routes: [{ signals: [logs], key: s2.stream, exporters: [otlp_http/up] }]\n";
        let sluice = SluiceProcess::start(&config, &[]).await;
        let target = format!("target={}/v1/logs?[redacted]", up.url());
        for key in FAILURES.iter().map(|(key, ..)| *key).chain(["bad"]) {
            sluice.accept(Signal::Logs, logs(&[(key, &["text"])])).await;
            let line = sluice.logged(&format!("key=\"{key}\"")).await;
            assert!(line.contains(&target) && !line.contains("s3cr3t"), "{line}");
        }
    }
}

#[tokio::test]
async fn of_templates_the_line_and_the_api_name_the_url_that_answered() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(404).message("no such tenant"));
    let endpoint = format!("{}/t/{{{{ key }}}}", up.url());
    let sluice = SluiceProcess::start(&yaml::up(&endpoint, &[QUICK]), &[]).await;
    for key in ["one", "two"] {
        sluice.accept(Signal::Logs, logs(&[(key, &["text"])])).await;
        let url = format!("{}/t/{key}/v1/logs", up.url());
        let line = sluice.logged(&format!("key=\"{key}\"")).await;
        assert!(line.contains(&format!("target={url} ")) && line.contains("404"), "{line}");
        assert_eq!(stream(&sluice, key).await["last_error"]["target"], json!(url));
    }
}

#[tokio::test]
async fn the_api_shows_of_each_stream_its_last_error_and_what_it_does() {
    let up = sinks::counting().await;
    fail_each_in_its_way(&up);
    // Long waits, so that each is found waiting.
    let retry = "retry_on_failure: { initial_interval: 5m, max_interval: 5m }, timeout: 300ms";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[retry])).await;
    for (key, ..) in FAILURES {
        sluice.accept(Signal::Logs, logs(&[(key, &["text"])])).await;
    }
    sluice.accept(Signal::Logs, logs(&[("fine", &["text"])])).await;
    for (key, code, words, state) in FAILURES {
        let shown = eventually(key, async || {
            let shown = stream(&sluice, key).await;
            (shown["state"] == state).then_some(shown)
        })
        .await;
        assert_eq!(shown["last_error"]["code"], code, "{shown}");
        assert!(shown["last_error"]["message"].as_str().unwrap().contains(words), "{shown}");
        assert!(shown["last_error"]["at"].as_str().unwrap().ends_with('Z'), "{shown}");
        assert_eq!((&shown["last_success"], &shown["delivered_records"]), (&Value::Null, &json!(0)));
    }
    let fine = eventually("it is delivered", async || {
        let shown = stream(&sluice, "fine").await;
        (shown["state"] == "idle").then_some(shown)
    })
    .await;
    assert_eq!((&fine["last_error"], &fine["delivered_records"]), (&Value::Null, &json!(1)));
    assert!(fine["last_success"].is_string(), "{fine}");
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_taken_counts_as_failing_whatever_ends_its_batches() {
    let named = "statuses: { 503: dead_letter }";
    let without_retries = "retry_on_failure: { enabled: false }";
    for (status, option) in [(500, ""), (409, ""), (503, named), (503, without_retries)] {
        let up = sinks::counting().await;
        up.set_fault(Fault::status(status).message("never"));
        let options = [QUICK, option].into_iter().filter(|option| !option.is_empty()).collect::<Vec<_>>();
        // Only one of both may say how attempts are repeated.
        let options = if option == without_retries { vec![option] } else { options };
        let sluice = Sluice::start(&(yaml::up(&up.url(), &options) + LETTERS)).await;
        for text in ["1", "2"] {
            sluice.accept(Signal::Logs, logs(&[("bad", &[text])])).await;
            sluice.settled().await;
        }
        let bad = stream(&sluice, "bad").await;
        assert_eq!(bad["dead_lettered_records"], 2, "{status}, {option}: {bad}");
        assert_eq!(bad["failed_attempts"], 2, "{status}, {option}: {bad}");
        assert_eq!(sluice.api("/api/v1/exporters").await["exporters"][0]["failing_streams"], 1);
        up.clear_faults();
        sluice.accept(Signal::Logs, logs(&[("bad", &["3"])])).await;
        sluice.settled().await;
        assert_eq!(stream(&sluice, "bad").await["failed_attempts"], 0);
        assert_eq!(sluice.api("/api/v1/exporters").await["exporters"][0]["failing_streams"], 0);
    }
}

#[tokio::test]
async fn a_stream_all_of_whose_records_are_dead_lettered_does_not_look_healthy() {
    let up = sinks::counting().await;
    up.add_fault(Fault::status(400).message("no schema").on_streams("bad"));
    up.add_fault(Fault::partial_success(2, "too old").on_streams("old"));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK]) + LETTERS)).await;
    for key in ["bad", "old", "fine"] {
        sluice.accept(Signal::Logs, logs(&[(key, &["1", "2"])])).await;
    }
    sluice.settled().await;
    let bad = stream(&sluice, "bad").await;
    assert_eq!((&bad["dead_lettered_records"], &bad["delivered_records"]), (&json!(2), &json!(0)), "{bad}");
    assert_eq!((&bad["last_success"], &bad["last_error"]["code"]), (&Value::Null, &json!("400")), "{bad}");
    assert!(bad["last_error"]["message"].as_str().unwrap().contains("no schema"), "{bad}");
    assert!(bad["failed_attempts"].as_u64().unwrap() > 0, "{bad}");
    assert_eq!(sluice.api("/api/v1/exporters").await["exporters"][0]["failing_streams"], 2);
    let old = stream(&sluice, "old").await;
    assert_eq!((&old["rejected_records"], &old["delivered_records"]), (&json!(2), &json!(0)), "{old}");
    assert!(old["last_error"]["message"].as_str().unwrap().contains("too old"), "{old}");
    assert!(old["failed_attempts"].as_u64().unwrap() > 0, "nothing of it was taken: {old}");
    // The upstream takes what comes next, and the last error stays to be read.
    up.clear_faults();
    sluice.accept(Signal::Logs, logs(&[("bad", &["3"])])).await;
    sluice.settled().await;
    let bad = stream(&sluice, "bad").await;
    assert_eq!((&bad["failed_attempts"], &bad["delivered_records"]), (&json!(0), &json!(1)), "{bad}");
    assert!(bad["last_success"].is_string() && bad["last_error"].is_object(), "{bad}");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_told_of_before_its_timeout_is_over_and_then_as_what_it_is() {
    let up = sinks::counting().await;
    up.set_fault(Fault::hang());
    let patient = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[patient, "timeout: 25s"])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["text"])])).await;
    eventually("the attempt is under way", async || {
        (stream(&sluice, "a").await["state"] == "sending" && up.counts().requests > 0).then_some(())
    })
    .await;
    assert_eq!(stream(&sluice, "a").await["unanswered_seconds"], Value::Null);
    clock::pass(Duration::from_secs(12)).await;
    let told = async |kind: &str| {
        eventually(kind, async || {
            let overview = sluice.api("/api/v1/overview").await;
            let told = overview["attention"].as_array().unwrap().clone();
            (told.len() == 1 && told[0]["kind"] == kind).then(|| told[0]["text"].as_str().unwrap().to_owned())
        })
        .await
    };
    let text = told("unanswered").await;
    assert!(text.starts_with("otlp_http/up, 1 stream: no answer from it for 1"), "{text}");
    assert!(
        text.ends_with(
            "has not answered yet; the attempt ends at the latest when the exporter's `timeout` of 25s is over."
        ),
        "{text}"
    );
    assert!(stream(&sluice, "a").await["unanswered_seconds"].as_f64().unwrap() >= 12.0);

    clock::pass(Duration::from_secs(14)).await;
    let text = told("failing").await;
    let expected = "does not answer in time (no answer before the exporter's `timeout` of 25s was over)";
    assert!(text.contains("no answer from it for") && text.contains(expected), "{text}");
    let shown = stream(&sluice, "a").await;
    assert_eq!(
        (&shown["unanswered_seconds"], &shown["last_error"]["code"]),
        (&Value::Null, &json!("timeout"))
    );
}

#[tokio::test]
async fn what_is_answered_beside_an_attempt_that_hangs_does_not_hide_it() {
    let up = sinks::counting().await;
    up.set_fault(Fault::hang().on_text("hangs"));
    let queue = "sending_queue: { num_consumers: 2, batch: { min_size: 1, flush_timeout: 0s } }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[queue, "timeout: 10m"])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["hangs"])])).await;
    eventually("the attempt is under way", async || (up.counts().requests > 0).then_some(())).await;
    clock::pass(Duration::from_secs(12)).await;
    eventually("it is told of", async || {
        stream(&sluice, "a").await["unanswered_seconds"].is_number().then_some(())
    })
    .await;
    sluice.accept(Signal::Logs, logs(&[("a", &["fine"])])).await;
    let shown = eventually("what comes behind it is delivered", async || {
        Some(stream(&sluice, "a").await).filter(|shown| shown["delivered_records"] == 1)
    })
    .await;
    assert!(shown["unanswered_seconds"].as_f64().is_some_and(|seconds| seconds >= 12.0), "{shown}");
}

#[tokio::test]
async fn what_is_taken_beside_a_batch_that_is_held_leaves_the_stream_held_since_then() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(401).on_text("refused"));
    let queue = "sending_queue: { num_consumers: 2, batch: { min_size: 1, flush_timeout: 0s } }";
    let patient = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[queue, patient])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["refused"])])).await;
    let held = eventually("it is held", async || {
        Some(stream(&sluice, "a").await).filter(|shown| shown["state"] == "held")
    })
    .await;
    assert!(held["hold"]["since"].is_string(), "{held}");
    sluice.accept(Signal::Logs, logs(&[("a", &["fine"])])).await;
    let shown = eventually("what comes behind it is delivered", async || {
        Some(stream(&sluice, "a").await).filter(|shown| shown["delivered_records"] == 1)
    })
    .await;
    assert_eq!((&shown["state"], &shown["hold"]), (&held["state"], &held["hold"]));
    assert_eq!(sluice.metric("sluice_held_streams", &[]).await, 1.0);
}
