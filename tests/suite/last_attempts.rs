//! What the admin API shows of the last attempts of an exporter and of a tenant: each with the stream that it is of, failures in
//! any case, and others once somebody has looked.

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::payload::{entry_of, request, resource};
use crate::support::sinks;
use crate::support::yaml::{self, LETTERS, SINGLY};
use crate::support::{Sluice, eventually};

/// What has failed waits for the rest of a test.
const PATIENT: &str = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";

const SECRET: &str = "s3cr3t-of-the-upstream";

/// One exporter, `otlp_http/up`, with these options, for tenants that an attribute names, with a stream for every value of
/// `s2.stream`; `rows` are those of the tenants.
fn config(url: &str, options: &[&str], rows: &str) -> String {
    let headers = format!("headers: {{ Authorization: 'Bearer {SECRET}' }}");
    yaml::up(url, &[&[SINGLY, &headers][..], options].concat())
        + &format!("tenants: {{ attribute: tenant.id, list: [{rows}] }}\n")
}

/// Has records with these texts taken in for a stream of a tenant.
async fn send(sluice: &Sluice, tenant: &str, stream: &str, texts: &[&str]) {
    let resource = resource(&[("tenant.id", tenant), ("s2.stream", stream)]);
    sluice.accept(Signal::Logs, request(&[entry_of(Signal::Logs, resource, texts)])).await;
}

async fn shown(sluice: &Sluice, path: &str) -> Value {
    let answer = sluice.get(&format!("/api/v1/{path}")).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert!(!answer.text().contains(SECRET), "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The last attempts that a page shows.
async fn last_attempts(sluice: &Sluice, path: &str) -> Vec<Value> {
    shown(sluice, path).await["last_attempts"].as_array().unwrap().clone()
}

/// The same, once there are so many.
async fn so_many_attempts(sluice: &Sluice, path: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} attempts are shown by {path}"), async || {
        let attempts = last_attempts(sluice, path).await;
        (attempts.len() == count).then_some(attempts)
    })
    .await
}

/// What can be told beforehand of an attempt: tenant, key, code, records.
fn essence(attempt: &Value) -> (&str, &str, &str, u64) {
    let stream = &attempt["stream"];
    (
        stream["tenant"].as_str().unwrap(),
        stream["key"].as_str().unwrap(),
        attempt["code"].as_str().unwrap(),
        attempt["records"].as_u64().unwrap(),
    )
}

const EXPORTER: &str = "exporters/otlp_http/up";

#[tokio::test]
async fn of_tenants_that_share_an_exporter_each_shows_its_own_attempts_and_the_exporter_those_of_both() {
    let up = sinks::counting().await;
    up.add_fault(Fault::status(503).message("globex is over its quota").on_streams("of-globex"));
    let sluice = Sluice::start(&config(&up.url(), &[PATIENT], "{ id: acme }, { id: globex }")).await;
    send(&sluice, "acme", "of-acme", &["x"]).await;
    sluice.settled().await;
    send(&sluice, "globex", "of-globex", &["x", "y"]).await;

    let failed = so_many_attempts(&sluice, "tenants/globex", 1).await;
    assert_eq!(essence(&failed[0]), ("globex", "of-globex", "503", 2));
    let stream =
        json!({ "exporter": "otlp_http/up", "signal": "logs", "tenant": "globex", "key": "of-globex" });
    assert_eq!(failed[0]["stream"], stream);
    assert_eq!(
        (&failed[0]["target"], &failed[0]["part"]),
        (&json!(format!("{}/v1/logs", up.url())), &json!(false))
    );
    assert!(failed[0]["message"].as_str().unwrap().contains("globex is over its quota"), "{failed:?}");
    assert!(failed[0]["bytes"].as_u64() > Some(0) && failed[0]["millis"].as_f64() > Some(0.0), "{failed:?}");
    assert!(
        last_attempts(&sluice, "tenants/acme").await.is_empty(),
        "it has not failed, and nobody had looked when it was delivered"
    );
    assert_eq!(last_attempts(&sluice, EXPORTER).await, failed, "what has failed is there, whoever looks");

    // Somebody has looked at both.
    send(&sluice, "acme", "another", &["z"]).await;
    let of_acme = so_many_attempts(&sluice, "tenants/acme", 1).await;
    assert_eq!(essence(&of_acme[0]), ("acme", "another", "200", 1));
    let of_both = last_attempts(&sluice, EXPORTER).await;
    assert_eq!(of_both, [&of_acme[..], &failed].concat(), "the newest comes first");
    assert_eq!(last_attempts(&sluice, "tenants/globex").await, failed);
    eventually("all are counted by code", async || {
        (shown(&sluice, EXPORTER).await["attempts"] == json!({ "200": 2, "503": 1 })).then_some(())
    })
    .await;

    // The page of its stream is found by what is said of an attempt.
    let path = "streams/one?exporter=otlp_http/up&signal=logs&tenant=globex&key=of-globex";
    let mut of_stream = shown(&sluice, path).await["attempts"][0].clone();
    of_stream["stream"] = stream;
    assert_eq!(of_stream, failed[0]);
}

#[tokio::test]
async fn an_exporter_that_sends_each_tenant_elsewhere_shows_where_each_attempt_went() {
    let (acmes, globexs) = (sinks::counting().await, sinks::counting().await);
    globexs.set_fault(Fault::status(401).message("expired"));
    let row = |id: &str, port: u16| format!("{{ id: {id}, values: {{ port: '{port}' }} }}");
    let rows = format!("{}, {}", row("acme", acmes.addr().port()), row("globex", globexs.addr().port()));
    let url = "http://127.0.0.1:{{ tenant.port }}";
    let sluice = Sluice::start(&config(url, &[PATIENT], &rows)).await;
    assert!(last_attempts(&sluice, EXPORTER).await.is_empty());
    send(&sluice, "acme", "a", &["x"]).await;
    so_many_attempts(&sluice, EXPORTER, 1).await;
    send(&sluice, "globex", "a", &["x"]).await;
    let attempts = so_many_attempts(&sluice, EXPORTER, 2).await;
    let seen: Vec<_> = attempts.iter().map(|attempt| (essence(attempt), &attempt["target"])).collect();
    let target = |up: &Sink| json!(format!("{}/v1/logs", up.url()));
    assert_eq!(
        seen,
        [(("globex", "a", "401", 1), &target(&globexs)), (("acme", "a", "200", 1), &target(&acmes)),]
    );
}

#[tokio::test]
async fn of_a_batch_that_is_divided_after_a_413_each_part_is_an_attempt_that_says_so() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(413).message("too large").on_text("large"));
    let config = config(&up.url(), &[PATIENT], "{ id: acme }") + LETTERS;
    let sluice = Sluice::start(&config).await;
    for path in [EXPORTER, "tenants/acme"] {
        assert!(last_attempts(&sluice, path).await.is_empty());
    }
    send(&sluice, "acme", "a", &["one", "two", "three", "large"]).await;
    for path in [EXPORTER, "tenants/acme"] {
        let attempts = so_many_attempts(&sluice, path, 5).await;
        let seen: Vec<_> = attempts.iter().map(|attempt| (essence(attempt), &attempt["part"])).collect();
        let (part, whole) = (&json!(true), &json!(false));
        assert_eq!(
            seen,
            [
                (("acme", "a", "413", 1), part),
                (("acme", "a", "200", 1), part),
                (("acme", "a", "413", 2), part),
                (("acme", "a", "200", 2), part),
                (("acme", "a", "413", 4), whole),
            ],
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_attempt_that_is_not_answered_in_time_is_shown_with_the_time_that_it_took() {
    let up = sinks::counting().await;
    up.set_fault(Fault::hang());
    let sluice = Sluice::start(&config(&up.url(), &[PATIENT, "timeout: 300ms"], "{ id: acme }")).await;
    send(&sluice, "acme", "a", &["x"]).await;
    for path in [EXPORTER, "tenants/acme"] {
        let attempts = so_many_attempts(&sluice, path, 1).await;
        assert_eq!(essence(&attempts[0]), ("acme", "a", "timeout", 1), "{path}");
        assert!(attempts[0]["millis"].as_f64() >= Some(300.0), "{path}: {attempts:?}");
        assert!(
            attempts[0]["message"].as_str().unwrap().contains("no answer within"),
            "{path}: {attempts:?}"
        );
    }
}
