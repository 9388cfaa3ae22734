//! Watches: what they count, when they fire, who is told, and that a reload keeps what stays.

use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::payload::{KEY, entry_of, logs, request, resource};
use crate::support::scripted::{Asked, Said, Scripted};
use crate::support::{Front, Sluice, SluiceProcess, eventually};

fn config(watches: &str) -> String {
    format!("exporters: {{ nop: }}\nroutes: [{{ key: {KEY}, exporters: [nop] }}]\nwatches: [{watches}]\n")
}

/// All alerts of a request, by their label `alertname`, and whether they have ended.
fn alerts(asked: &Asked) -> Vec<(String, bool)> {
    let alerts: Vec<Value> = serde_json::from_slice(&asked.body).expect("alerts are a list");
    let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
    let ends = |alert: &Value| alert["endsAt"].as_str().unwrap().to_owned();
    let now = sluice::utc::rfc3339(std::time::SystemTime::now());
    alerts.iter().map(|alert| (name(alert), ends(alert) <= now)).collect()
}

async fn told(alertmanager: &Scripted, wanted: (&str, bool)) -> Asked {
    eventually(&format!("the Alertmanager is told {wanted:?}"), async || {
        let asked = alertmanager.asked().into_iter();
        asked.rev().find(|asked| alerts(asked).iter().any(|(name, ended)| (&**name, *ended) == wanted))
    })
    .await
}

async fn watch(front: &Front, name: &str) -> Value {
    let shown = front.api("/api/v1/watches").await;
    let watches = shown["watches"].as_array().unwrap().clone();
    watches.into_iter().find(|watch| watch["name"] == name).unwrap_or_else(|| panic!("{shown}"))
}

#[tokio::test]
async fn a_watch_fires_and_resolves_and_the_alertmanager_is_told_of_both() {
    let alertmanager = Scripted::saying(Said::new(200, &[], "")).await;
    let yaml = config("{ name: api-errors, query: 'refused service:api', above: 2 in 2s }")
        + &format!("alertmanager: {}\n", alertmanager.url());
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    assert_eq!(watch(&sluice, "api-errors").await["state"], "ok");
    let of_api = |text: &str| {
        let resource = resource(&[(KEY, "k"), ("service.name", "api")]);
        request(&[entry_of(Signal::Logs, resource, &[text])])
    };
    for _ in 0..3 {
        sluice.accept(Signal::Logs, of_api("connection refused")).await;
        sluice.accept(Signal::Logs, of_api("fine")).await;
    }
    let asked = told(&alertmanager, ("api-errors", false)).await;
    assert_eq!(asked.path, "/api/v2/alerts");
    assert_eq!(asked.headers["content-type"], "application/json");
    let alert: Value = serde_json::from_slice::<Value>(&asked.body).unwrap()[0].take();
    assert_eq!(alert["labels"], json!({ "alertname": "api-errors", "source": "sluice" }));
    assert_eq!(alert["annotations"]["query"], "refused service:api");
    assert!(
        alert["annotations"]["summary"].as_str().unwrap().starts_with("more than 2 records in 2s"),
        "{alert}"
    );
    sluice.logged("watch fires: more than 2 records").await;
    told(&alertmanager, ("api-errors", true)).await;
    sluice.logged("watch fires no more").await;
    let shown = watch(&sluice, "api-errors").await;
    assert_eq!((&shown["state"], &shown["records_total"]), (&json!("ok"), &json!(3)), "{shown}");
    assert_eq!(sluice.metric("sluice_watch_records_total", &[("watch", "api-errors")]).await, 3.0);
    sluice.wait_for_metric("sluice_watch_firing", &[("watch", "api-errors")], 0.0).await;
}

#[tokio::test]
async fn silence_fires_and_an_alertmanager_that_fails_is_told_again_and_delays_no_data() {
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let failures = failing.clone();
    let alertmanager = Scripted::new(move |_| {
        let status = if failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 { 500 } else { 200 };
        Said::new(status, &[], "")
    })
    .await;
    let yaml = config("{ name: heartbeat, query: 'job:backup done', below: 1 in 1s }")
        + &format!("alertmanager: {}\n", alertmanager.url());
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    alertmanager.wait_for(1).await;
    sluice.logged("the Alertmanager has not taken the alerts").await;
    sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
    sluice.wait_for_metric("sluice_watch_firing", &[("watch", "heartbeat")], 1.0).await;
    let requests = alertmanager.wait_for(3).await;
    assert!(requests.iter().all(|asked| alerts(asked) == [("heartbeat".to_owned(), false)]));
    eventually("it is known that it was told", async || {
        let shown = sluice.api("/api/v1/watches").await;
        (shown["alertmanager"]["last_error"].is_null() && !shown["alertmanager"]["last_sent"].is_null())
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_tenant_is_counted_by_itself_and_shown_on_the_page_of_tenants() {
    let yaml = "
exporters: { nop: }
tenants: { list: [{ id: acme }, { id: globex }, { id: silent }] }
routes: [{ tenants: '*', key: '{{ tenant.id }}', exporters: [nop] }]
admin: { endpoint: '127.0.0.1:0', tenant_metrics: true }
watches:
  - { name: errors, query: error, tenants: 'a*', above: 1 in 1h }
  - { name: errors-of-each, query: error, tenants: '*', above: 1 in 1h }
  - { name: all, query: error, above: 100 in 1h }
  - { name: gone, query: '*', tenants: '*', below: 1 in 1s }
";
    let sluice = Sluice::start(yaml).await;
    tokio::spawn(sluice::run::judge_watches(sluice.router().clone()));
    let of = |tenant: &str, texts: &[&str]| entry_of(Signal::Logs, resource(&[("tenant.id", tenant)]), texts);
    let entries = [of("acme", &["error 1", "fine", "error 2"]), of("globex", &["error 3"])];
    sluice.accept(Signal::Logs, request(&entries)).await;
    let fires = eventually("acme's fires", async || {
        let shown = watch(&sluice, "errors").await;
        (shown["state"] == "firing").then_some(shown)
    })
    .await;
    assert_eq!((&fires["firing"][0]["tenant"], &fires["firing_total"]), (&json!("acme"), &json!(1)));
    assert_eq!(fires["records_total"], 2, "globex is none of its tenants");
    assert_eq!(fires["nearest_tenant"], json!({ "id": "acme", "records": 2 }));
    let all = eventually("records of all tenants are counted together", async || {
        let shown = watch(&sluice, "errors-of-each").await;
        (shown["state"] == "firing").then_some(shown)
    })
    .await;
    assert_eq!((&all["records"], &all["nearest_tenant"]["records"]), (&json!(3), &json!(2)), "{all}");
    let overview = sluice.api("/api/v1/overview").await;
    let found =
        overview["attention"].as_array().unwrap().iter().find(|one| one["subject"]["name"] == "errors");
    let found = found.unwrap_or_else(|| panic!("{overview}"));
    assert_eq!(
        (&found["kind"], &found["severity"], &found["href"]),
        (&json!("watch_firing"), &json!("warning"), &json!("/watches"))
    );
    let text = found["text"].as_str().unwrap();
    assert!(text.ends_with(": 2 records of acme matched in the last 60 min, above 1."), "{text}");
    let firing = sluice.api("/api/v1/tenants/acme").await["firing_watches"].take();
    assert_eq!(
        (&firing[0]["watch"], &firing[0]["records"], &firing[0]["above"], &firing[0]["within_seconds"]),
        (&json!("errors"), &json!(2), &json!(1), &json!(3600.0)),
        "{firing}"
    );
    let of_globex = sluice.api("/api/v1/tenants/globex").await["firing_watches"].take();
    assert!(!of_globex.to_string().contains("\"errors\""), "{of_globex}");
    assert_eq!(watch(&sluice, "all").await["records_total"], 3);
    eventually("the silent tenant is missed", async || {
        let shown = watch(&sluice, "gone").await;
        let firing = shown["firing"].as_array().unwrap().clone();
        firing.iter().any(|series| series["tenant"] == "silent").then_some(())
    })
    .await;
    let page = sluice.get("/metrics/tenants").await.text();
    for line in [
        r#"sluice_watch_records_total{watch="errors",tenant="acme"} 2"#,
        r#"sluice_watch_records_total{watch="all",tenant="globex"} 1"#,
        r#"sluice_watch_firing{watch="errors",tenant="acme"} 1.0"#,
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
}

#[tokio::test]
async fn a_reload_keeps_what_stays_and_begins_anew_with_what_changes() {
    let one = "{ name: one, query: hello, above: 10 in 1h }";
    let sluice =
        Sluice::start(&config(&format!("{one}, {{ name: two, query: hello, above: 10 in 1h }}"))).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["hello"])])).await;
    sluice
        .reconfigure(&config(&format!("{{ name: two, query: hello OR bye, above: 10 in 1h }}, {one}")))
        .await;
    sluice.accept(Signal::Logs, logs(&[("a", &["bye", "hello"])])).await;
    assert_eq!(watch(&sluice, "one").await["records_total"], 2);
    assert_eq!(watch(&sluice, "two").await["records_total"], 2);
    let wrong = sluice.reload(&config("{ name: one, query: 'level:eror', above: 10 in 1h }")).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("wrong at its column 7"), "{}", wrong.text());
    assert_eq!(watch(&sluice, "one").await["records_total"], 2, "the one before goes on");
    sluice.reconfigure(&config("")).await;
    assert_eq!(sluice.api("/api/v1/watches").await, json!({ "watches": [], "alertmanager": null }));
}

#[tokio::test]
async fn what_is_refused_or_rejected_is_not_counted() {
    let yaml = "exporters: { nop: }\nroutes: [{ match: { known: 'y' }, exporters: [nop] }]
watches: [{ name: all, query: '*', above: 10 in 1h }]\n";
    let sluice = Sluice::start(yaml).await;
    let known = entry_of(Signal::Logs, resource(&[("known", "y")]), &["a"]);
    let unknown = entry_of(Signal::Logs, resource(&[("known", "n")]), &["b"]);
    let answer = sluice.post(Signal::Logs, request(&[known, unknown])).await;
    assert_eq!(answer.partial(Signal::Logs).map(|(rejected, _)| rejected), Some(1));
    assert_eq!(watch(&sluice, "all").await["records_total"], 1);
}
