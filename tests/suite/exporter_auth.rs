//! `auth` of exporters: tokens and passwords that change while data is sent, and authorization servers that fail.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sluice::otlp::Signal;
use tokio::time::Instant;

use crate::support::grpc_upstream::{GrpcUpstream, Reply};
use crate::support::letters::letters;
use crate::support::payload::{self, logs};
use crate::support::scripted::{Asked, Said, Scripted};
use crate::support::token_server::{CLIENT_SECRET, TokenServer, refusal, token};
use crate::support::yaml::{LETTERS, QUICK, SINGLY, by_stream, exporters, to};
use crate::support::{Front, Sluice, SluiceProcess, eventually};

const HOUR: Duration = Duration::from_secs(3600);

const OAUTH2: &str = "auth: { authenticator: oauth2client/ingest }";

/// One exporter, `otlp_http/up`, that fetches its tokens from `tokens`.
fn with_tokens(up: &Scripted, tokens: &TokenServer, more: &str) -> String {
    tokens.extension(more)
        + &exporters(&[("otlp_http/up", to(&up.url(), &[OAUTH2, SINGLY, QUICK]))])
        + &by_stream("otlp_http/up")
}

fn authorization(asked: &Asked) -> String {
    asked.headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned()
}

fn unauthorized(words: &str) -> Said {
    Said::new(401, &[("content-type", "text/plain")], words.to_owned())
}

fn taken() -> Said {
    Said::new(200, &[("content-type", "application/x-protobuf")], "")
}

/// An upstream that takes what has a header that is `good`, and refuses the rest with what it was given.
async fn upstream(
    good: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> (Scripted, Arc<Mutex<Vec<String>>>) {
    let texts = Arc::<Mutex<Vec<String>>>::default();
    let all = texts.clone();
    let upstream = Scripted::new(move |asked| {
        let header = authorization(asked);
        if !good(&header) {
            return unauthorized(&format!("not {header}"));
        }
        for entry in payload::entries(&asked.body) {
            all.lock().extend(payload::texts(Signal::Logs, &entry));
        }
        taken()
    })
    .await;
    (upstream, texts)
}

/// Sends so many records to each of three streams, over `time`.
async fn send_over(sluice: &Front, records: usize, time: Duration) {
    let mut pause = tokio::time::interval(time / records as u32);
    for number in 0..records {
        pause.tick().await;
        send_to_each(sluice, number).await;
    }
}

/// Sends the record of this number to each of three streams.
async fn send_to_each(sluice: &Front, number: usize) {
    for stream in ["a", "b", "c"] {
        sluice.accept(Signal::Logs, logs(&[(stream, &[&format!("{stream}{number}")])])).await;
    }
}

/// Checks that so many records of each of the three streams arrived, each once and in order.
fn assert_whole_and_in_order(texts: &[String], records: usize) {
    assert_eq!(texts.len(), 3 * records);
    for stream in ["a", "b", "c"] {
        let got: Vec<&String> = texts.iter().filter(|text| text.starts_with(stream)).collect();
        let expected: Vec<String> = (0..records).map(|number| format!("{stream}{number}")).collect();
        assert_eq!(got, expected.iter().collect::<Vec<_>>());
    }
}

async fn stream(front: &Front, key: &str) -> Value {
    front.api(&format!("/api/v1/streams?key={key}")).await["streams"][0].clone()
}

#[tokio::test]
async fn one_token_is_fetched_for_all_streams_of_an_exporter_and_sent_with_every_request() {
    let tokens = TokenServer::giving(HOUR).await;
    let (up, texts) = upstream(|header| header == format!("Bearer {}", token(1))).await;
    let sluice = Sluice::start(&with_tokens(&up, &tokens, "scopes: [ingest.write]")).await;
    assert!(tokens.asked().is_empty(), "nothing is sent yet");
    send_over(&sluice, 50, Duration::from_millis(100)).await;
    sluice.settled().await;
    assert_whole_and_in_order(&texts.lock(), 50);
    assert_eq!((tokens.given(), up.asked().len()), (1, 150));
    let body = String::from_utf8(tokens.asked()[0].body.to_vec()).unwrap();
    assert_eq!(body, "grant_type=client_credentials&scope=ingest.write");
}

#[tokio::test]
async fn tokens_go_with_calls_of_grpc_as_well() {
    let tokens = TokenServer::giving(HOUR).await;
    let expected = format!("Bearer {}", token(2));
    let up = GrpcUpstream::new(move |call| match call.metadata.get("authorization") {
        Some(value) if *value == *expected => Reply::Take,
        value => Reply::Refuse(tonic::Status::unauthenticated(format!("not {value:?}"))),
    });
    let config = tokens.extension("")
        + &exporters(&[("otlp_grpc/up", format!("{}, {OAUTH2}, {SINGLY}, {QUICK}", up.options()))])
        + &by_stream("otlp_grpc/up");
    let sluice = Sluice::start(&config).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    up.records(1).await;
    let shown = stream(&sluice, "a").await;
    assert_eq!(shown["last_error"]["code"], "UNAUTHENTICATED");
    let message = shown["last_error"]["message"].as_str().unwrap();
    assert!(message.contains("[redacted]") && !message.contains("s3cret"), "{message}");
    assert_eq!(tokens.given(), 2, "the first was refused");
}

#[tokio::test]
async fn tokens_that_end_in_a_second_are_renewed_under_load_and_nothing_is_lost_refused_or_reordered() {
    let tokens = Arc::new(TokenServer::giving(Duration::from_secs(1)).await);
    // How long a token is on its way depends on the machine, so any that was given is good.
    let (server, refused) = (tokens.clone(), Arc::<AtomicUsize>::default());
    let count = refused.clone();
    let (up, texts) = upstream(move |header| {
        let good = (1..=server.given()).any(|number| header == format!("Bearer {}", token(number)));
        count.fetch_add(usize::from(!good), Ordering::SeqCst);
        good
    })
    .await;
    let sluice = Sluice::start(&with_tokens(&up, &tokens, "")).await;
    let mut sent = 0;
    eventually("the token was renewed four times", async || {
        send_to_each(&sluice, sent).await;
        sent += 1;
        (tokens.given() > 4).then_some(())
    })
    .await;
    sluice.settled().await;
    assert_whole_and_in_order(&texts.lock(), sent);
    assert_eq!(refused.load(Ordering::SeqCst), 0);
    let last = up.asked().last().map(authorization);
    assert_ne!(last, Some(format!("Bearer {}", token(1))), "the first token is not used for ever");
}

#[tokio::test]
async fn a_token_that_the_upstream_refuses_is_fetched_anew_and_what_waited_is_delivered() {
    let tokens = TokenServer::giving(HOUR).await;
    let revoked = Arc::<AtomicUsize>::default();
    let until = revoked.clone();
    let (up, texts) = upstream(move |header| {
        (1..=until.load(Ordering::SeqCst)).all(|number| header != format!("Bearer {}", token(number)))
    })
    .await;
    let sluice = Sluice::start(&with_tokens(&up, &tokens, "")).await;
    for number in 0..3 {
        revoked.store(number, Ordering::SeqCst);
        sluice.accept(Signal::Logs, logs(&[("a", &[&number.to_string()])])).await;
        sluice.settled().await;
    }
    assert_eq!(*texts.lock(), ["0", "1", "2"]);
    assert_eq!(tokens.given(), 3);
}

#[tokio::test]
async fn a_refusal_of_the_client_holds_its_streams_and_is_said_in_log_and_api_without_the_secret() {
    let tokens = TokenServer::giving(HOUR).await;
    tokens.fail_with(refusal("invalid_client", &format!("sluice with {CLIENT_SECRET} has expired")));
    let (up, texts) = upstream(|_| true).await;
    let sluice = SluiceProcess::start(&with_tokens(&up, &tokens, ""), &["--log-level", "trace"]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    let line = sluice.logged("the stream is held: check its credentials").await;
    let expected = "gives no token: invalid_client: sluice with [redacted] has expired";
    assert!(
        line.contains("`oauth2client/ingest`: the token endpoint `http://") && line.contains(expected),
        "{line}"
    );
    let shown = stream(&sluice, "a").await;
    assert_eq!(
        (&shown["last_error"]["code"], &shown["last_success"]),
        (&json!("token_refused"), &Value::Null)
    );
    assert!(shown["last_error"]["message"].as_str().unwrap().contains(expected), "{shown}");
    assert!(sluice.metric("sluice_export_attempts_total", &[("code", "token_refused")]).await >= 1.0);
    assert!(up.asked().is_empty(), "nothing goes out without a token");
    tokens.recover();
    sluice.settled().await;
    assert_eq!(*texts.lock(), ["1"]);
    let config = sluice.get("/api/v1/config").await.text();
    for text in sluice.log().into_iter().chain([config]) {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// Sends through an exporter whose token endpoint answers so at first, which is seen as an attempt with this code; then it gives
/// tokens.
async fn goes_on_after(fault: Said, code: &str) {
    let tokens = TokenServer::giving(HOUR).await;
    tokens.fail_with(fault);
    let (up, texts) = upstream(|header| header == format!("Bearer {}", token(1))).await;
    let sluice = Sluice::start(&with_tokens(&up, &tokens, "timeout: 300ms")).await;
    send_over(&sluice, 3, Duration::from_millis(3)).await;
    let error = eventually("it is seen that there is no token", async || {
        Some(stream(&sluice, "a").await["last_error"].clone()).filter(|error| !error.is_null())
    })
    .await;
    assert_eq!(error["code"], code, "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    tokens.recover();
    sluice.settled().await;
    assert_whole_and_in_order(&texts.lock(), 3);
}

#[tokio::test]
async fn nothing_is_lost_while_a_token_endpoint_fails() {
    goes_on_after(Said::new(500, &[], "oops"), "token").await;
}

#[tokio::test]
async fn nothing_is_lost_while_a_token_endpoint_does_not_end_its_answers() {
    goes_on_after(Said::new(200, &[], "{\"access_token\":").endless(), "token").await;
}

#[tokio::test]
async fn nothing_is_lost_while_a_token_endpoint_answers_by_half_a_token() {
    goes_on_after(Said::new(200, &[], "{\"access_token\":\"h4lf-s3cret"), "token_refused").await;
}

#[tokio::test]
async fn nothing_is_lost_while_a_token_endpoint_answers_by_a_mebibyte() {
    goes_on_after(Said::new(200, &[], "x".repeat(1 << 20)), "token_refused").await;
}

#[tokio::test]
async fn nothing_is_lost_while_a_token_endpoint_redirects() {
    let elsewhere = [("location", "http://127.0.0.1:1/?s3cret")];
    goes_on_after(Said::new(307, &elsewhere, ""), "token_refused").await;
}

#[tokio::test]
async fn a_token_endpoint_that_never_answers_delays_only_the_exporter_that_needs_it() {
    let tokens = TokenServer::giving(HOUR).await;
    tokens.fail_with(Said::new(200, &[], "").endless());
    let (waits, _) = upstream(|_| true).await;
    let (goes_on, texts) = upstream(|_| true).await;
    let config = tokens.extension("")
        + &exporters(&[
            ("otlp_http/waits", to(&waits.url(), &[OAUTH2, SINGLY])),
            ("otlp_http/goes_on", to(&goes_on.url(), &[SINGLY])),
        ])
        + &by_stream("otlp_http/waits, otlp_http/goes_on");
    let sluice = Sluice::start(&config).await;
    let started = Instant::now();
    send_over(&sluice, 10, Duration::from_millis(10)).await;
    eventually("the other exporter delivers", async || (texts.lock().len() == 30).then_some(())).await;
    assert!(started.elapsed() < Duration::from_secs(25), "less than the token endpoint's timeout");
    assert!(waits.asked().is_empty());
    assert_eq!(tokens.asked().len(), 1, "one request for all three streams");
}

fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_token_in_a_file_is_changed_under_load_and_nothing_is_lost_or_reordered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    write(&path, "token-0-s3cret\n");
    // Each token ends at once when there is the next.
    let last = Arc::<AtomicUsize>::default();
    let now = last.clone();
    let (up, texts) =
        upstream(move |header| header == format!("Bearer token-{}-s3cret", now.load(Ordering::SeqCst))).await;
    let config = format!("extensions: {{ bearertokenauth: {{ filename: '{}' }} }}\n", path.display())
        + &exporters(&[(
            "otlp_http/up",
            to(&up.url(), &["auth: { authenticator: bearertokenauth }", SINGLY, QUICK]),
        )])
        + &by_stream("otlp_http/up");
    let sluice = Sluice::start(&config).await;
    let changing = async {
        for number in 1..=100 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            write(&path, &format!("token-{number}-s3cret\n"));
            last.store(number, Ordering::SeqCst);
        }
    };
    tokio::join!(changing, send_over(&sluice, 300, Duration::from_secs(3)));
    let metrics = sluice.settled().await;
    assert_whole_and_in_order(&texts.lock(), 300);
    assert_eq!(
        metrics.sum("sluice_config_reloads_total", &[]).to_bits(),
        0_f64.to_bits(),
        "without a reload"
    );
}

#[tokio::test]
async fn a_password_in_a_file_is_read_again_and_its_absence_leaves_the_last_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    write(&path, "first-s3cret\n");
    let config = |up: &Scripted| {
        format!(
            "extensions: {{ basicauth/up: {{ client_auth: {{ username: acme, password_file: '{}' }} }} }}\n",
            path.display()
        ) + &exporters(&[(
            "otlp_http/up",
            to(&up.url(), &["auth: { authenticator: basicauth/up }", SINGLY, QUICK]),
        )]) + &by_stream("otlp_http/up")
    };
    let basic = |password: &str| {
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("acme:{password}")))
    };
    let expected = Arc::new(Mutex::new(basic("first-s3cret")));
    let now = expected.clone();
    let (up, texts) = upstream(move |header| *header == *now.lock()).await;
    let sluice = SluiceProcess::start(&config(&up), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    sluice.settled().await;
    write(&path, "second-s3cret\n");
    *expected.lock() = basic("second-s3cret");
    sluice.accept(Signal::Logs, logs(&[("a", &["2"])])).await;
    sluice.settled().await;
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["3"])])).await;
    sluice.settled().await;
    assert_eq!(*texts.lock(), ["1", "2", "3"]);
    sluice.logged("can't be used, so what it last held is sent on: No such file").await;
    assert!(!sluice.says("s3cret"), "{:?}", sluice.log());
}

#[tokio::test]
async fn a_reload_that_leaves_auth_as_it_is_goes_on_with_the_token() {
    let tokens = TokenServer::giving(HOUR).await;
    let (up, texts) = upstream(|_| true).await;
    let config = with_tokens(&up, &tokens, "");
    let sluice = Sluice::start(&config).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    sluice.settled().await;
    sluice.reconfigure(&config.replace("compression: none", "compression: none, timeout: 7s")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["2"])])).await;
    sluice.settled().await;
    assert_eq!(tokens.given(), 1);
    sluice.reconfigure(&with_tokens(&up, &tokens, "scopes: [more]")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["3"])])).await;
    sluice.settled().await;
    assert_eq!(tokens.given(), 2, "what is asked for is another thing now");
    assert_eq!(*texts.lock(), ["1", "2", "3"]);
}

#[tokio::test]
async fn what_an_upstream_says_back_of_a_token_is_not_in_a_dead_letter() {
    let tokens = TokenServer::giving(HOUR).await;
    let (up, _) = upstream(|_| false).await;
    let config =
        with_tokens(&up, &tokens, "").replace(QUICK, &format!("{QUICK}, statuses: {{ 401: dead_letter }}"));
    let sluice = Sluice::start(&(config + LETTERS)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    sluice.settled().await;
    let letters = letters(&sluice.directory().join("letters"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].text("reason"), "401 Unauthorized: not [redacted]");
}

#[tokio::test]
async fn explain_shows_the_header_without_its_value_and_fetches_no_token() {
    let tokens = TokenServer::giving(HOUR).await;
    let (up, _) = upstream(|_| true).await;
    let directory = tempfile::tempdir().unwrap();
    let payload = directory.path().join("logs.pb");
    std::fs::write(&payload, logs(&[("a", &["1"])])).unwrap();
    let config = crate::support::router::write_config(directory.path(), &with_tokens(&up, &tokens, ""));
    let explained = tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["explain".as_ref(), config.as_os_str(), "--payload".as_ref(), payload.as_os_str()])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(text.contains("\n    authorization: [redacted]\n"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    assert!(tokens.asked().is_empty() && up.asked().is_empty());
}
