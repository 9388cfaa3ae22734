//! What `statuses` says beyond the stream and the moment: least times, holds of a tenant's streams and of an exporter's, what is
//! dropped, and what becomes of all statuses that nobody names.

use std::time::Duration;

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;
use tonic::{Code, Status};

use crate::support::grpc_upstream::{GrpcUpstream, Reply};
use crate::support::letters::letters;
use crate::support::payload::{entry_of, logs, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Front, Sluice, SluiceProcess, eventually};

const UP: &str = "otlp_http/up";

/// What is held or retried is so for the rest of a test, unless something else ends that.
const PATIENT: &str = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";

async fn start(up: &Sink, options: &[&str]) -> Sluice {
    let mut all = vec![SINGLY];
    all.extend_from_slice(options);
    Sluice::start(&(yaml::up(&up.url(), &all) + LETTERS)).await
}

async fn send(front: &Front, stream: &str, text: &str) {
    front.accept(Signal::Logs, logs(&[(stream, &[text])])).await;
}

/// The streams that a query of the API finds.
async fn streams(front: &Front, query: &str) -> Vec<Value> {
    let page = front.api(&format!("/api/v1/streams?{query}")).await;
    page["streams"].as_array().expect("a list").clone()
}

/// Waits until so many streams that a query finds are held.
async fn held(front: &Front, query: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} streams are held"), async || {
        Some(streams(front, &format!("{query}&state=held")).await).filter(|held| held.len() == count)
    })
    .await
}

/// What the API shows of [`UP`].
async fn exporter(front: &Front) -> Value {
    let page = front.api("/api/v1/exporters").await;
    let mut all = page["exporters"].as_array().expect("a list").iter();
    all.find(|exporter| exporter["name"] == UP).expect("it is there").clone()
}

/// How many requests an upstream has answered with this status.
fn answered(up: &Sink, status: u16) -> usize {
    let is_so =
        |answered: Option<http::StatusCode>| answered.is_some_and(|answered| answered.as_u16() == status);
    up.requests().iter().filter(|request| is_so(request.answered)).count()
}

/// Two tenants at two exporters, whose streams are named by `service.name`.
fn tenants(up: &Sink, other: &Sink, statuses: &str, token: &str) -> String {
    let headers = "headers: { X-Token: '{{ tenant.token }}' }";
    yaml::exporters(&[
        (UP, yaml::to(&up.url(), &[SINGLY, PATIENT, headers, statuses])),
        ("otlp_http/other", yaml::to(&other.url(), &[SINGLY])),
    ]) + &format!(
        "routes: [{{ tenants: '*', key: service.name, exporters: [{UP}, otlp_http/other] }}]\n\
         tenants:\n  list:\n\
         \x20   - {{ id: acme, values: {{ token: {token} }} }}\n\
         \x20   - {{ id: globex, values: {{ token: globex }} }}\n"
    )
}

async fn send_as(front: &Front, tenant: &str, service: &str, text: &str) {
    let resource = resource(&[("tenant.id", tenant), ("service.name", service)]);
    front.accept(Signal::Logs, request(&[entry_of(Signal::Logs, resource, &[text])])).await;
}

#[tokio::test]
async fn a_402_of_one_stream_holds_all_of_its_tenants_at_that_exporter_and_no_other_tenants() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    up.set_fault(Fault::status(402).message("pay first").on_text("acme web"));
    let statuses = "statuses: { 402: { hold_tenant: 1h } }";
    let sluice = Sluice::start(&tenants(&up, &other, statuses, "acme")).await;
    send_as(&sluice, "acme", "web", "acme web").await;
    held(&sluice, "tenant=acme", 1).await;
    for (tenant, service) in [("acme", "shop"), ("acme", "mail"), ("globex", "web"), ("globex", "shop")] {
        send_as(&sluice, tenant, service, &format!("{tenant} {service}")).await;
    }
    up.records(2).await;
    other.records(5).await;
    let mut arrived = up.texts(Signal::Logs);
    arrived.sort();
    assert_eq!(arrived, ["globex shop", "globex web"]);
    let held = held(&sluice, "exporter=otlp_http/up&tenant=acme", 3).await;
    assert_eq!(up.requests().len(), 3, "nothing else of acme was asked about");
    for stream in &held {
        let error = &stream["last_error"];
        assert_eq!(error["code"], "402", "{stream}");
        assert!(error["message"].as_str().unwrap().contains("pay first"), "{stream}");
        let (failures, of) = match stream["key"].as_str() {
            Some("web") => (1, Value::Null),
            _ => (0, json!({ "signal": "logs", "key": "web", "tenant": "acme" })),
        };
        assert_eq!((&stream["failed_attempts"], &error["of_stream"]), (&failures.into(), &of), "{stream}");
    }

    let shown = exporter(&sluice).await;
    assert_eq!(shown["held"], Value::Null, "not all of it");
    assert_eq!((&shown["held_tenants"], &shown["held_streams"]), (&1.into(), &3.into()));
    assert_eq!(sluice.metric("sluice_held_streams", &[("exporter", UP)]).await, 3.0);
    let page = sluice.api("/api/v1/tenants?state=held").await;
    assert_eq!((&page["total"], &page["tenants"][0]["id"]), (&1.into(), &"acme".into()));
    assert_eq!(sluice.api("/api/v1/tenants/globex").await["states"], json!(["ok"]));
}

#[tokio::test]
async fn another_row_of_the_tenant_ends_its_hold_and_another_row_of_another_does_not() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    up.set_fault(Fault::status(402).on_text("acme"));
    let statuses = "statuses: { 402: { hold_tenant: 1h } }";
    let config = tenants(&up, &other, statuses, "old");
    let sluice = Sluice::start(&config).await;
    send_as(&sluice, "acme", "web", "acme 1").await;
    held(&sluice, "tenant=acme", 1).await;
    send_as(&sluice, "acme", "shop", "acme 2").await;
    held(&sluice, "tenant=acme", 2).await;
    up.clear_faults();
    sluice.reconfigure(&config.replace("token: globex", "token: changed")).await;
    send_as(&sluice, "globex", "web", "globex").await;
    up.records(1).await;
    assert_eq!(up.requests().len(), 2, "acme's streams wait on");
    sluice.reconfigure(&config.replace("token: old", "token: new")).await;
    up.records(3).await;
    sluice.settled().await;
    assert_eq!(answered(&up, 402), 1);
}

#[tokio::test]
async fn other_settings_of_the_exporter_end_its_hold() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(402));
    let options = [PATIENT, "statuses: { 402: { hold_exporter: 1h } }"];
    let sluice = start(&up, &options).await;
    send(&sluice, "a", "1").await;
    held(&sluice, "", 1).await;
    for stream in ["b", "c"] {
        send(&sluice, stream, "2").await;
    }
    held(&sluice, "", 3).await;
    let shown = exporter(&sluice).await["held"].clone();
    assert_eq!((&shown["for"]["code"], &shown["for"]["of_stream"]["key"]), (&"402".into(), &"a".into()));
    let until = shown["until"].as_str().unwrap();
    assert!(until.ends_with('Z') && until > shown["for"]["at"].as_str().unwrap(), "{shown}");
    up.clear_faults();
    sluice.reconfigure(&yaml::up(&up.url(), &[SINGLY, PATIENT, "timeout: 7s"])).await;
    up.records(3).await;
    sluice.settled().await;
    assert_eq!(exporter(&sluice).await["held"], Value::Null);
    assert_eq!((up.requests().len(), answered(&up, 402)), (4, 1));
}

#[tokio::test]
async fn when_the_time_of_an_exporters_hold_is_up_one_stream_alone_tries_until_it_is_taken() {
    const LEAST: Duration = Duration::from_millis(700);
    let up = sinks::recording().await;
    up.set_fault(Fault::status(402).first(3));
    let sluice = start(&up, &[QUICK, "statuses: { 402: { hold_exporter: 700ms } }"]).await;
    send(&sluice, "0", "0").await;
    held(&sluice, "", 1).await;
    for stream in 1..20 {
        send(&sluice, &stream.to_string(), &stream.to_string()).await;
    }
    up.records(20).await;
    sluice.settled().await;
    let requests = up.requests();
    assert_eq!(requests.len(), 3 + 20, "each refusal was one stream's, and all others waited for it");
    for pair in requests[..4].windows(2) {
        let waited = pair[1].arrived - pair[0].decided;
        assert!(waited >= LEAST, "{waited:?}");
    }
    assert_eq!(answered(&up, 402), 3);
}

#[tokio::test]
async fn what_is_no_tenants_is_held_alone_where_a_status_holds_tenants() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(402).on_streams("a"));
    let sluice = start(&up, &[PATIENT, "statuses: { 402: { hold_tenant: 1h } }"]).await;
    send(&sluice, "a", "1").await;
    held(&sluice, "", 1).await;
    send(&sluice, "b", "2").await;
    up.records(1).await;
    assert_eq!(up.texts(Signal::Logs), ["2"]);
    let shown = exporter(&sluice).await;
    assert_eq!((&shown["held"], &shown["held_tenants"]), (&Value::Null, &0.into()));
}

#[tokio::test]
async fn what_is_tried_again_or_held_waits_for_its_least_time() {
    const LEAST: Duration = Duration::from_millis(150);
    for action in ["retry", "hold", "hold_tenant", "hold_exporter"] {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(409).first(3));
        let sluice = start(&up, &[QUICK, &format!("statuses: {{ 409: {{ {action}: 150ms }} }}")]).await;
        send(&sluice, "a", "1").await;
        up.records(1).await;
        sluice.settled().await;
        for pair in up.requests().windows(2) {
            let waited = pair[1].arrived - pair[0].decided;
            assert!(waited >= LEAST, "{action}: {waited:?}");
        }
    }
}

#[tokio::test]
async fn what_ends_or_splits_a_batch_does_so_after_its_least_time_and_until_then_it_is_tried_again() {
    const LEAST: Duration = Duration::from_millis(200);
    for (action, fate) in [("dead_letter", "dead_lettered"), ("drop", "dropped"), ("split", "dead_lettered")]
    {
        let statuses = format!("statuses: {{ 503: {{ {action}: 200ms }} }}");
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503).on_text("bad"));
        let sluice = start(&up, &[QUICK, &statuses]).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["bad", "good"])])).await;
        let metrics = sluice.settled().await;
        let requests = up.requests();
        let whole: Vec<_> = requests.iter().filter(|request| request.body == requests[0].body).collect();
        let lasted = whole[whole.len() - 1].decided - whole[0].decided;
        // It counts from when the first answer had arrived to when the last one had.
        assert!(whole.len() > 3 && lasted >= LEAST * 3 / 4, "{action}: {} in {lasted:?}", whole.len());
        let (ended, pieces) = if action == "split" { (1.0, 2) } else { (2.0, 0) };
        assert_eq!(metrics.exported(UP, fate), ended, "{action}");
        assert_eq!(requests.len() - whole.len(), pieces, "{action}: a piece has no time of its own");
        // One that is taken in time is not ended at all.
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503).first(3));
        let sluice = start(&up, &[QUICK, &statuses.replace("200ms", "1h")]).await;
        send(&sluice, "a", "1").await;
        assert_eq!(sluice.settled().await.exported(UP, "delivered"), 1.0, "{action}");
        // Without retries it is not tried again.
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503));
        let sluice =
            start(&up, &["retry_on_failure: { enabled: false }", &statuses.replace("200ms", "1h")]).await;
        send(&sluice, "a", "1").await;
        assert_eq!(sluice.settled().await.exported(UP, fate), 1.0, "{action}");
        assert_eq!(up.requests().len(), 1, "{action}");
    }
}

#[tokio::test]
async fn what_a_status_drops_counts_as_dropped_leaves_no_dead_letter_and_is_in_the_log() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(420).message("enough").on_text("unwanted"));
    let config = yaml::up(&up.url(), &[SINGLY, QUICK, "statuses: { 420: drop }"]) + LETTERS;
    let sluice = SluiceProcess::start(&config, &[]).await;
    for text in ["first", "unwanted", "third"] {
        send(&sluice, "a", text).await;
    }
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["first", "third"]);
    assert_eq!((metrics.exported(UP, "dropped"), metrics.exported(UP, "delivered")), (1.0, 2.0));
    assert_eq!(metrics.sum("sluice_withdrawn_records_total", &[]), 0.0);
    let stream = &streams(&sluice, "").await[0];
    assert_eq!((&stream["dropped_records"], &stream["dead_lettered_records"]), (&1.into(), &0.into()));
    assert_eq!(exporter(&sluice).await["records"]["logs"]["dropped"], 1);
    assert!(letters(&sluice.directory().join("letters")).is_empty());
    let line = sluice.logged("records not delivered").await;
    for said in ["enough", "`statuses` drops what is answered so", "outcome=\"dropped\"", "key=\"a\""] {
        assert!(line.contains(said), "{line}");
    }
}

#[tokio::test]
async fn the_log_says_what_is_held_for_an_answer() {
    for (action, said) in [
        ("hold", "so the stream is held: check its account"),
        ("hold_exporter", "so all streams of the exporter are held: check its account"),
    ] {
        let up = sinks::counting().await;
        up.set_fault(Fault::status(402));
        let statuses = format!("statuses: {{ 402: {{ {action}: 1h }} }}");
        let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[QUICK, &statuses]), &[]).await;
        send(&sluice, "a", "1").await;
        let line = sluice.logged("the destination refuses us").await;
        assert!(line.contains(said) && line.contains("key=\"a\""), "{line}");
    }
}

#[tokio::test]
async fn statuses_that_speak_of_the_destination_hold_by_default_and_are_shown_so() {
    for status in [301, 302, 303, 307, 308, 401, 403, 404, 405, 407, 415, 501] {
        let up = sinks::counting().await;
        up.set_fault(Fault::status(status));
        let sluice = start(&up, &[PATIENT]).await;
        send(&sluice, "a", "1").await;
        let held = held(&sluice, "", 1).await;
        assert_eq!(held[0]["last_error"]["code"], status.to_string());
        assert_eq!(sluice.metric("sluice_held_streams", &[("exporter", UP)]).await, 1.0, "{status}");
        assert_eq!(exporter(&sluice).await["held_streams"], 1, "{status}");
    }
}

#[tokio::test]
async fn default_is_about_statuses_that_mean_nothing_by_themselves_and_about_no_other() {
    for (status, dropped, dead_lettered) in [
        (402, 1.0, 0.0),
        (409, 1.0, 0.0),
        (500, 1.0, 0.0),
        (400, 0.0, 1.0),
        (413, 0.0, 1.0),
        (401, 0.0, 0.0),
        (404, 0.0, 0.0),
        (302, 0.0, 0.0),
        (405, 0.0, 0.0),
        (501, 0.0, 0.0),
        (429, 0.0, 0.0),
        (503, 0.0, 0.0),
        (520, 0.0, 0.0),
        (418, 0.0, 1.0),
    ] {
        let up = sinks::recording().await;
        up.script([Fault::status(status)]);
        let sluice = start(&up, &[QUICK, "statuses: { default: drop, 418: dead_letter }"]).await;
        send(&sluice, "a", "1").await;
        let metrics = sluice.settled().await;
        let ended = ["dropped", "dead_lettered", "delivered"].map(|fate| metrics.exported(UP, fate));
        assert_eq!(ended, [dropped, dead_lettered, 1.0 - dropped - dead_lettered], "{status}");
    }
}

/// A Sluice in front of an upstream that answers the first call with this code, and takes all others.
async fn refused_once(code: Code, statuses: &str) -> (GrpcUpstream, Sluice) {
    let mut refusal = Some(Status::new(code, "no"));
    let up = GrpcUpstream::new(move |_| match refusal.take() {
        Some(status) => Reply::Refuse(status),
        None => Reply::Take,
    });
    let options = format!("{}, {SINGLY}, {QUICK}, statuses: {{ {statuses} }}", up.options());
    let config = yaml::exporters(&[("otlp_grpc/up", options)]) + &yaml::by_stream("otlp_grpc/up");
    (up, Sluice::start(&config).await)
}

#[tokio::test]
async fn default_is_about_codes_of_grpc_that_mean_nothing_by_themselves_and_about_no_other() {
    for (code, fate) in [
        (Code::Unknown, "dropped"),
        (Code::NotFound, "dropped"),
        (Code::Internal, "dropped"),
        (Code::InvalidArgument, "rejected"),
        (Code::Unauthenticated, "delivered"),
        (Code::PermissionDenied, "delivered"),
        (Code::Unimplemented, "delivered"),
        (Code::Unavailable, "delivered"),
        (Code::Aborted, "delivered"),
        (Code::FailedPrecondition, "delivered"),
    ] {
        let (_up, sluice) = refused_once(code, "default: drop, FAILED_PRECONDITION: retry").await;
        send(&sluice, "a", "1").await;
        assert_eq!(sluice.settled().await.exported("otlp_grpc/up", fate), 1.0, "{code:?}");
    }
}

#[tokio::test]
async fn a_code_of_grpc_can_hold_the_exporter_and_have_a_least_time() {
    let (up, sluice) =
        refused_once(Code::FailedPrecondition, "FAILED_PRECONDITION: { hold_exporter: 1h }").await;
    send(&sluice, "a", "1").await;
    held(&sluice, "", 1).await;
    send(&sluice, "b", "2").await;
    let both = held(&sluice, "", 2).await;
    assert!(both.iter().all(|stream| stream["last_error"]["code"] == "FAILED_PRECONDITION"), "{both:?}");
    assert_eq!(up.calls().len(), 1);

    let (up, sluice) = refused_once(Code::NotFound, "NOT_FOUND: { retry: 150ms }").await;
    let began = tokio::time::Instant::now();
    send(&sluice, "a", "1").await;
    up.records(1).await;
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    sluice.settled().await;
}

#[tokio::test]
async fn without_retries_senders_that_wait_are_told_of_a_hold_at_once_and_not_whose_answer_it_is_for() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(402).message("the account of a is empty"));
    let options = ["retry_on_failure: { enabled: false }", "statuses: { 402: { hold_exporter: 1h } }"];
    let config = yaml::up(&up.url(), &[&[SINGLY], &options[..]].concat()) + "acknowledge: delivered\n";
    let sluice = Sluice::start(&config).await;
    let first = sluice.post(Signal::Logs, logs(&[("a", &["1"])])).await;
    assert_eq!(first.status, 503, "{first:?}");
    let second = sluice.post(Signal::Logs, logs(&[("b", &["2"])])).await;
    assert_eq!(second.status, 503, "{second:?}");
    let message = second.error().message;
    assert!(
        message.contains("held because its destination has refused") && !message.contains("account"),
        "{message}"
    );
    assert_eq!(up.requests().len(), 1);
    sluice.settled().await;
}
