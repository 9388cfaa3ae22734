//! What became of each tenant: the list of them, one by one, and as metrics.

use std::path::Path;

use rig::sink::{Fault, Sink};
use serde_json::Value;
use sluice::otlp::Signal;
use sluice::run;

use crate::support::payload::{entry_of, field, filler, request, resource};
use crate::support::sinks;
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Front, Metrics, Sluice, SluiceProcess, eventually};

const UP: &str = "otlp_http/up";

const ROUTES: &str = "routes: [{ tenants: '*', key: '{{ tenant.id }}', exporters: [otlp_http/up] }]\n";

const AUTHENTICATED: &str = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, auth: { authenticator: tenants } } } } }\n";

const TOKEN: &str = "headers: { Authorization: 'Bearer {{ tenant.token }}' }";

const TENANT_METRICS: &str = "admin: { endpoint: 127.0.0.1:0, tenant_metrics: true }\n";

/// Tenants of every kind. What is secret of them begins with `s3cret`.
const ROWS: &str = "
    - id: acme
      platform: node
      senders:
        - { name: web, token: s3cret-web }
        - { name: user, basic: { username: acme, password: s3cret-password }, expires: '2099-01-01T00:00:00Z' }
        - { name: mesh, certificate: { uri: 'spiffe://prod/acme' } }
        - { name: gateway, token: s3cret-gateway, may_send_for: [acme, 'acme-*'] }
      values: { host: s3cret-host, token: [s3cret-one, s3cret-two] }
      limits: { rate: 10MiB/s, burst: 20MiB, streams: 5, memory: 1MiB, journal: 2MiB }
    - { id: globex, senders: [{ name: web, token: s3cret-globex }], values: { token: s3cret-three }, hold: false }
    - { id: initech, platform: python, senders: [{ name: web, token: s3cret-initech }], paused: true }
    - { id: umbrella, senders: [{ name: web, token: s3cret-umbrella }], hold: true }
";

/// The exporter with more options, the rows, and the routes by tenant.
fn config(up: &str, options: &[&str], rows: &str) -> String {
    let options = [&[QUICK, SINGLY], options].concat();
    yaml::exporters(&[(UP, yaml::to(up, &options))]) + ROUTES + &format!("tenants:\n  list: {rows}\n")
}

/// Rows of these ids and nothing else.
fn plain(ids: &[&str]) -> String {
    let rows: Vec<_> = ids.iter().map(|id| format!("{{ id: {id} }}")).collect();
    format!("[{}]", rows.join(", "))
}

/// An entry of a tenant.
fn of(tenant: &str, texts: &[&str]) -> Vec<u8> {
    entry_of(Signal::Logs, resource(&[("tenant.id", tenant)]), texts)
}

async fn tenant(front: &Front, id: &str) -> Value {
    front.api(&format!("/api/v1/tenants/{id}")).await
}

async fn listed(front: &Front, query: &str) -> Vec<String> {
    ids(&front.api(&format!("/api/v1/tenants?{query}")).await)
}

fn ids(page: &Value) -> Vec<String> {
    let rows = page["tenants"].as_array().expect("a list");
    rows.iter().map(|row| row["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until nothing of a tenant is pending, and checks that each of its records is accounted for.
async fn settled(front: &Front, id: &str) -> Value {
    let what = format!("nothing of {id} is pending");
    eventually(&what, async || {
        let tenant = tenant(front, id).await;
        (tenant["pending_records"] == 0 && is_conserved(&tenant)).then_some(tenant)
    })
    .await
}

/// Whether routed + recovered = delivered + rejected + dead-lettered + dropped + pending.
fn is_conserved(tenant: &Value) -> bool {
    let of = |name: &str| tenant["records"][name].as_u64().expect("a count");
    let ended: u64 = ["delivered", "rejected", "dead_lettered", "dropped"].map(of).iter().sum();
    of("routed") + of("recovered") == ended + tenant["pending_records"].as_u64().expect("a count")
}

/// Acme is fine, globex is refused by its upstream, initech is paused, and umbrella sends nothing.
async fn four(more: &str) -> (Sink, Sluice) {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(401).on_text("globex-text").message("this token has ended"));
    // So long that it is seen to be held whenever it is looked at.
    let options = [TOKEN, "statuses: { 401: { hold: 1h } }"];
    let sluice = Sluice::start(&(config(&up.url(), &options, ROWS) + AUTHENTICATED + more)).await;
    let post = async |token: &str, entry: Vec<u8>| {
        let authorization = format!("Bearer {token}");
        let answer =
            sluice.post_with(Signal::Logs, request(&[entry]), &[("authorization", &authorization)]).await;
        answer.status
    };
    assert_eq!(post("s3cret-web", of("acme", &["1", "2", "3"])).await, 200);
    assert_eq!(post("s3cret-web", of("acme", &["4", "5"])).await, 200);
    assert_eq!(post("s3cret-globex", of("globex", &["globex-text"])).await, 200);
    assert_eq!(post("s3cret-initech", of("initech", &["1"])).await, 503);
    settled(&sluice, "acme").await;
    eventually("globex is held", async || {
        let streams = tenant(&sluice, "globex").await["live_streams"].clone();
        (streams[0]["state"] == "held").then_some(())
    })
    .await;
    (up, sluice)
}

#[tokio::test]
async fn the_list_shows_every_row_of_the_table_and_finds_those_that_need_somebody() {
    let (_up, sluice) = four("").await;
    let page = sluice.api("/api/v1/tenants").await;
    assert_eq!(ids(&page), ["acme", "globex", "initech", "umbrella"]);
    assert_eq!((&page["total"], &page["next"]), (&4.into(), &Value::Null));
    let states: Vec<_> = (0..4).map(|at| page["tenants"][at]["states"].to_string()).collect();
    assert_eq!(
        states,
        [r#"["ok"]"#, r#"["failing","held"]"#, r#"["paused","silent"]"#, r#"["held","silent"]"#]
    );
    let acme = &page["tenants"][0];
    assert_eq!(acme["platform"], "node");
    assert_eq!(acme["received"]["records"]["accepted"], 5);
    assert_eq!(acme["records"]["delivered"], 5);
    assert!(acme["bytes_per_second"].as_u64().unwrap() > 0);
    assert!(acme["last_success"].is_string() && acme["last_failure"].is_null());
    let globex = &page["tenants"][1];
    assert_eq!((&globex["pending_records"], &globex["streams"]), (&1.into(), &1.into()));
    assert!(globex["oldest_pending_seconds"].is_f64());
    assert_eq!(globex["last_failure"]["exporter"], UP);
    let said = globex["last_failure"]["message"].as_str().unwrap();
    assert!(said.contains("this token has ended"), "{said}");
    assert_eq!(page["tenants"][2]["received"]["refused_requests"], 1);

    for (query, expected) in [
        ("state=failing", vec!["globex"]),
        ("state=paused", vec!["initech"]),
        ("state=held", vec!["globex", "umbrella"]),
        ("state=silent", vec!["initech", "umbrella"]),
        ("state=ok", vec!["acme"]),
        ("state=broken", vec![]),
        ("state=over_limit", vec![]),
        ("q=nod", vec!["acme"]),
        ("q=e", vec!["acme", "globex", "initech", "umbrella"]),
        ("q=e&state=silent&limit=1", vec!["initech"]),
        ("q=nobody", vec![]),
    ] {
        assert_eq!(listed(&sluice, query).await, expected, "{query}");
    }
    for order in ["pending", "oldest", "last_failure"] {
        let ordered = listed(&sluice, &format!("sort={order}")).await;
        assert_eq!(ordered, ["globex", "acme", "initech", "umbrella"], "{order}");
    }
    assert_eq!(listed(&sluice, "sort=rate").await[0], "acme");
    assert_eq!(listed(&sluice, "after=gone").await, ["initech", "umbrella"], "it may have gone since");
    for wrong in ["state=fine", "sort=size", "limit=many", "sort=rate&after=nobody", "tenant=acme"] {
        let answer = sluice.get(&format!("/api/v1/tenants?{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
    }
    assert_eq!(sluice.get("/api/v1/tenants/nobody").await.status, 404);
}

#[tokio::test]
async fn pages_of_the_list_follow_one_another_in_every_order() {
    let (_up, sluice) = four("").await;
    for (order, expected) in [
        ("id", ["acme", "globex", "initech", "umbrella"]),
        ("pending", ["globex", "acme", "initech", "umbrella"]),
    ] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        for _ in 0..4 {
            let page = sluice.api(&format!("/api/v1/tenants?sort={order}&limit=1{after}")).await;
            assert_eq!(page["total"], 4);
            seen.extend(ids(&page));
            after = page["next"].as_str().map_or_else(String::new, |next| format!("&after={next}"));
        }
        assert_eq!(seen, expected, "{order}");
        assert!(after.is_empty(), "the fourth is the last page");
    }
    for (order, expected) in [
        ("-id", "umbrella initech globex acme"),
        ("state", "globex initech umbrella acme"),
        ("-state", "acme umbrella initech globex"),
        ("-pending", "acme initech umbrella globex"),
        ("received", "acme globex initech umbrella"),
        ("-received", "initech umbrella globex acme"),
        ("-delivered", "globex initech umbrella acme"),
        ("streams", "acme globex initech umbrella"),
        ("-streams", "initech umbrella acme globex"),
        // What has no such figure comes last either way.
        ("-oldest", "globex acme initech umbrella"),
        ("-last_failure", "globex acme initech umbrella"),
    ] {
        let expected: Vec<_> = expected.split(' ').collect();
        assert_eq!(listed(&sluice, &format!("sort={order}")).await, expected, "{order}");
        for (skip, id) in expected.iter().enumerate() {
            let page = sluice.api(&format!("/api/v1/tenants?sort={order}&limit=1&skip={skip}")).await;
            assert_eq!((ids(&page), &page["total"]), (vec![(*id).to_owned()], &4.into()), "{order}");
            assert_eq!(page["next"].as_str(), Some(*id).filter(|_| skip < 3), "{order}");
        }
        let behind = listed(&sluice, &format!("sort={order}&after={}&skip=1", expected[0])).await;
        assert_eq!(behind, expected[2..], "{order}");
        assert!(listed(&sluice, &format!("sort={order}&skip=4")).await.is_empty());
    }
    let rest = listed(&sluice, "state=silent&after=globex").await;
    assert_eq!(rest, ["initech", "umbrella"], "also behind one that is not in this list");
}

#[tokio::test]
async fn a_tenant_is_shown_with_its_row_its_senders_its_limits_and_its_streams() {
    let (_up, sluice) = four("").await;
    let acme = tenant(&sluice, "acme").await;
    let senders = acme["senders"].as_array().unwrap();
    let masked: Vec<_> =
        senders.iter().map(|sender| (sender["name"].as_str().unwrap(), &sender["credential"])).collect();
    let kinds: Vec<_> = senders.iter().map(|sender| sender["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["token", "basic", "certificate", "token"]);
    assert_eq!(masked[1], ("user", &"[redacted]".into()));
    assert_eq!(masked[2], ("mesh", &"uri:spiffe://prod/acme".into()));
    let web = masked[0].1.as_str().unwrap();
    assert!(web.starts_with("sha256:") && web.chars().count() == 12, "{web}");
    assert!(senders[0]["last_used_from"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(senders[0]["last_used"].is_string() && senders[1]["last_used"].is_null());
    assert_eq!(senders[1]["expires"], "2099-01-01T00:00:00.000Z");
    assert_eq!(senders[3]["may_send_for"].to_string(), r#"["acme","acme-*"]"#);
    assert_eq!(acme["values"].to_string(), r#"{"host":["[redacted]"],"token":["[redacted]","[redacted]"]}"#);
    assert_eq!(acme["limits"]["streams"].to_string(), r#"{"limit":5,"used":1}"#);
    assert_eq!(acme["limits"]["memory"].to_string(), r#"{"limit":1048576,"used":0}"#);
    assert_eq!(
        (&acme["limits"]["rate"]["limit"], &acme["limits"]["burst"]["limit"]),
        (&(10 << 20).into(), &(20 << 20).into())
    );
    assert_eq!(acme["signals"]["logs"]["records"]["delivered"], 5);
    assert_eq!(acme["signals"]["traces"]["records"]["delivered"], 0);
    let globex = tenant(&sluice, "globex").await;
    assert_eq!(globex["live_streams"][0]["tenant"], "globex");
    assert_eq!(globex["live_streams"][0]["last_error"]["code"], "401");
    assert_eq!(globex["failures"][0]["code"], "401");
    assert!(globex["limits"]["memory"]["used"].as_u64().unwrap() > 0);
    assert_eq!(tenant(&sluice, "initech").await["paused"], true);
    let streams = sluice.api("/api/v1/streams?tenant=globex").await;
    assert_eq!((&streams["total"], &streams["streams"][0]["tenant"]), (&1.into(), &"globex".into()));
    assert_eq!(sluice.api("/api/v1/streams?tenant=glob").await["total"], 0);
}

#[tokio::test]
async fn metrics_of_each_tenant_are_a_page_of_their_own_that_is_there_if_it_is_asked_for() {
    let (up, sluice) = four("").await;
    let off = sluice.get("/metrics/tenants").await;
    assert_eq!(off.status, 404);
    assert!(off.text().contains("tenant_metrics: true"), "{}", off.text());
    sluice.reconfigure(&(config(&up.url(), &[TOKEN], ROWS) + AUTHENTICATED + TENANT_METRICS)).await;
    let answer = sluice.get("/metrics/tenants").await;
    assert!(answer.header("content-type").unwrap().contains("openmetrics"), "{answer:?}");
    let page = Metrics::parse(&answer.text());
    let acme = |name: &str, outcome: &str| page.sum(name, &[("tenant", "acme"), ("outcome", outcome)]);
    assert_eq!(acme("sluice_tenant_received_records_total", "accepted"), 5.0);
    assert_eq!(acme("sluice_tenant_exported_records_total", "delivered"), 5.0);
    assert_eq!(page.sum("sluice_tenant_routed_records_total", &[("tenant", "acme")]), 5.0);
    assert_eq!(page.sum("sluice_tenant_pending_records", &[]), 1.0, "that of globex");
    assert_eq!(page.sum("sluice_tenant_refused_requests_total", &[("tenant", "initech")]), 1.0);
    assert_eq!(page.sum("sluice_tenant_streams", &[("tenant", "acme")]), 1.0);
    assert!(page.sum("sluice_tenant_last_success_timestamp_seconds", &[]) > 1e9);
    let text = answer.text();
    let absent = ["tenant=\"umbrella\"", "sluice_tenant_recovered_records_total{", "rejected"];
    assert!(!absent.iter().any(|absent| text.contains(absent)), "what is 0 is left out: {text}");
    let bounded = sluice.get("/metrics").await.text();
    assert!(!bounded.contains("acme"), "the other page is bounded");
}

#[tokio::test]
async fn metrics_have_the_end_of_each_credential_and_of_the_last_one() {
    let rows = "
    - { id: acme, senders: [{ name: web, token: a, expires: 2100-01-01T00:00:00Z }, { name: batch, token: b, expires: 2101-01-01T00:00:00Z }] }
    - { id: globex, senders: [{ name: web, token: c, expires: 2001-09-09T01:46:40Z }, { name: batch, token: d }] }
";
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(config(&up.url(), &[], rows) + TENANT_METRICS)).await;
    let page = Metrics::parse(&sluice.get("/metrics/tenants").await.text());
    let of_sender = |tenant: &str, sender: &str| {
        page.sum("sluice_tenant_sender_expiry_timestamp_seconds", &[("tenant", tenant), ("sender", sender)])
    };
    let [sooner, later, over] = [4_102_444_800.0, 4_133_980_800.0, 1_000_000_000.0];
    assert_eq!((of_sender("acme", "web"), of_sender("acme", "batch")), (sooner, later));
    assert_eq!((of_sender("globex", "web"), of_sender("globex", "batch")), (over, 0.0), "one has no end");
    let last =
        |tenant: &str| page.sum("sluice_tenant_credentials_expiry_timestamp_seconds", &[("tenant", tenant)]);
    assert_eq!((last("acme"), last("globex")), (later, 0.0));
}

#[tokio::test]
async fn no_page_about_tenants_has_a_secret() {
    let (_up, sluice) = four(TENANT_METRICS).await;
    for path in [
        "/api/v1/tenants",
        "/api/v1/tenants/acme",
        "/api/v1/tenants/globex",
        "/api/v1/tenants/initech",
        "/api/v1/tenants/umbrella",
        "/api/v1/tenants/s3cre",
        "/metrics/tenants",
        "/api/v1/streams",
        "/api/v1/config",
    ] {
        let text = sluice.get(path).await.text();
        assert!(!text.contains("s3cret"), "{path}: {text}");
    }
}

#[tokio::test]
async fn an_entry_counts_for_its_own_tenant_however_many_a_request_has() {
    let up = sinks::counting().await;
    let rows = "[{ id: acme }, { id: globex }, { id: initech, paused: true }]";
    let sluice = Sluice::start(&config(&up.url(), &[], rows)).await;
    let mixed = [of("acme", &["1", "2"]), of("globex", &["3"]), of("nobody", &["4"]), of("acme", &["5"])];
    let answer = sluice.post(Signal::Logs, request(&mixed)).await;
    assert_eq!(answer.partial(Signal::Logs).expect("nobody is not known").0, 1);
    let acme = settled(&sluice, "acme").await;
    assert_eq!(acme["received"]["records"]["accepted"], 3);
    let bytes = [&mixed[0], &mixed[3]].map(|entry| field(1, entry).len()).iter().sum::<usize>();
    assert_eq!(acme["received"]["bytes"], bytes);
    assert_eq!(settled(&sluice, "globex").await["records"]["delivered"], 1);
    assert_eq!(sluice.get("/api/v1/tenants/nobody").await.status, 404, "who is not known has no account");

    // One tenant that is paused has all of it refused, that before and that behind it.
    let refused = request(&[of("acme", &["1"]), of("initech", &["2"]), of("globex", &["3", "4"])]);
    assert_eq!(sluice.post(Signal::Logs, refused).await.status, 503);
    for (id, records) in [("acme", 1), ("initech", 1), ("globex", 2)] {
        let received = &tenant(&sluice, id).await["received"];
        assert_eq!(
            (&received["records"]["refused"], &received["refused_requests"]),
            (&records.into(), &1.into()),
            "{id}"
        );
    }
}

#[tokio::test]
async fn what_is_not_taken_counts_for_its_senders_tenant_and_for_no_other() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(config(&up.url(), &[], ROWS) + AUTHENTICATED)).await;
    let body = request(&[of("acme", &["1"]), of("globex", &["2", "3"])]);
    let answer = sluice.post_with(Signal::Logs, body, &[("authorization", "Bearer s3cret-web")]).await;
    assert_eq!(answer.partial(Signal::Logs).expect("globex is foreign").0, 2);
    let acme = settled(&sluice, "acme").await;
    assert_eq!(acme["received"]["records"]["accepted"], 1);
    assert_eq!(acme["received"]["records"]["rejected"], 2);
    assert_eq!(tenant(&sluice, "globex").await["received"]["records"]["rejected"], 0);
}

#[tokio::test]
async fn every_record_of_a_tenant_is_accounted_for_after_faults() {
    let up = sinks::counting().await;
    up.add_fault(Fault::status(503).first(3));
    up.add_fault(Fault::status(400).on_text("poison"));
    up.add_fault(Fault::partial_success(1, "one is too old").on_text("old"));
    let rows = plain(&["acme", "globex"]);
    let sluice = Sluice::start(&(config(&up.url(), &[], &rows) + LETTERS)).await;
    for number in 0..20 {
        let mine = match number % 4 {
            0 => ["a", "poison"],
            1 => ["old", "b"],
            _ => ["c", "d"],
        };
        sluice.accept(Signal::Logs, request(&[of("acme", &mine), of("globex", &["1", "2", "3"])])).await;
    }
    let (acme, globex) = (settled(&sluice, "acme").await, settled(&sluice, "globex").await);
    let metrics = sluice.settled().await;
    assert_eq!((&acme["records"]["routed"], &globex["records"]["routed"]), (&40.into(), &60.into()));
    assert_eq!((&acme["records"]["dead_lettered"], &acme["records"]["rejected"]), (&5.into(), &5.into()));
    assert_eq!(globex["records"]["delivered"], 60);
    for outcome in ["delivered", "rejected", "dead_lettered", "dropped"] {
        let of = |tenant: &Value| tenant["records"][outcome].as_u64().unwrap() as f64;
        assert_eq!(metrics.exported(UP, outcome), of(&acme) + of(&globex), "{outcome}");
    }
    assert_eq!((&acme["pending_bytes"], &acme["oldest_pending_seconds"]), (&0.into(), &Value::Null));
    let codes: Vec<_> = acme["failures"].as_array().unwrap().iter().map(|failure| &failure["code"]).collect();
    assert!(codes.contains(&&"400".into()) && codes.contains(&&"200".into()), "{codes:?}");
}

#[tokio::test]
async fn a_tenant_that_has_as_much_as_it_may_have_is_over_its_limit_and_no_other_is() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503).on_text("stuck"));
    for (when_full, refused) in [("refuse", true), ("shed", false)] {
        let queue = format!(
            "sending_queue: {{ when_full: {when_full}, batch: {{ min_size: 1, flush_timeout: 0s }} }}"
        );
        let exporters = yaml::exporters(&[(UP, yaml::to(&up.url(), &[QUICK, &queue]))]);
        let rows = "[{ id: acme, limits: { memory: 2KiB } }, { id: globex, limits: { memory: 2KiB } }]";
        let sluice = Sluice::start(&format!("{exporters}{ROUTES}tenants:\n  list: {rows}\n")).await;
        let stuck = filler("stuck", 1500);
        sluice.accept(Signal::Logs, request(&[of("acme", &[&stuck])])).await;
        let used = &tenant(&sluice, "acme").await["limits"]["memory"];
        assert!(used["limit"] == 2048 && used["used"].as_u64().unwrap() > 1500, "{used}");
        let answer = sluice.post(Signal::Logs, request(&[of("acme", &[&stuck])])).await;
        assert_eq!(answer.status == 503, refused, "{answer:?}");
        sluice.accept(Signal::Logs, request(&[of("globex", &["1"])])).await;
        assert_eq!(listed(&sluice, "state=over_limit").await, ["acme"], "{when_full}");
        settled(&sluice, "globex").await;
        let shed = eventually("every record of acme is accounted for", async || {
            let acme = tenant(&sluice, "acme").await;
            is_conserved(&acme).then_some(acme)
        })
        .await;
        assert_eq!(shed["records"]["dropped"] == 1, !refused, "{shed}");
        assert_eq!(shed["received"]["records"]["refused"] == 1, refused, "{shed}");
    }
}

#[tokio::test]
async fn a_request_beyond_a_tenants_rate_counts_as_refused_though_it_was_not_read() {
    let up = sinks::counting().await;
    let rows =
        "[{ id: acme, senders: [{ name: web, token: s3cret-web }], limits: { rate: 1KiB/s, burst: 1KiB } }]";
    let sluice = Sluice::start(&(config(&up.url(), &[], rows) + AUTHENTICATED)).await;
    let headers = [("authorization", "Bearer s3cret-web")];
    for expected in [200, 429] {
        let body = request(&[of("acme", &[&filler("1", 50_000)])]);
        assert_eq!(sluice.post_with(Signal::Logs, body, &headers).await.status, expected);
    }
    let acme = settled(&sluice, "acme").await;
    assert_eq!(acme["states"].to_string(), r#"["over_limit"]"#);
    assert_eq!(acme["received"]["records"]["accepted"], 1);
    assert_eq!(acme["received"]["refused_requests"], 1);
    assert!(acme["limits"]["burst"]["used"].as_u64().unwrap() > 1024, "{}", acme["limits"]);
}

#[tokio::test]
async fn what_the_journal_had_of_a_tenant_is_recovered() {
    let (up, kept) = (sinks::counting().await, tempfile::tempdir().unwrap());
    up.set_fault(Fault::status(503));
    let journal = format!("journal: {{ directory: '{}/journal' }}\n", kept.path().display());
    let config = config(&up.url(), &[], &plain(&["acme"])) + &journal + "shutdown_timeout: 0s\n";
    let first = Sluice::start(&config).await;
    first.accept(Signal::Logs, request(&[of("acme", &["1", "2", "3"])])).await;
    first.shut_down().await;
    up.clear_faults();
    drop(first);
    let second = Sluice::start(&config).await;
    let acme = settled(&second, "acme").await;
    assert_eq!((&acme["records"]["recovered"], &acme["records"]["routed"]), (&3.into(), &0.into()));
    assert_eq!(acme["records"]["delivered"], 3);
}

#[tokio::test]
async fn a_tenant_without_a_row_is_forgotten_once_nothing_of_it_is_left() {
    let up = sinks::counting().await;
    let with = |ids: &[&str]| config(&up.url(), &[], &plain(ids)) + TENANT_METRICS;
    let sluice = Sluice::start(&with(&["acme", "globex"])).await;
    assert_eq!(
        sluice.post(Signal::Logs, request(&[of("acme", &["1"]), of("globex", &["2"])])).await.status,
        200
    );
    for id in ["acme", "globex"] {
        settled(&sluice, id).await;
    }
    sluice.reconfigure(&with(&["acme"])).await;
    // What it was is to be seen until the second look finds nothing else of it: its stream is there at the first.
    sluice.router().tenants().release_idle();
    assert_eq!(tenant(&sluice, "globex").await["records"]["delivered"], 1);
    for exporter in sluice.router().exporters().iter() {
        exporter.registry().forget_idle();
    }
    sluice.router().tenants().release_idle();
    tokio::spawn(run::sweep(sluice.router().clone()));
    eventually("globex is forgotten", async || {
        (sluice.get("/api/v1/tenants/globex").await.status == 404).then_some(())
    })
    .await;
    let page = sluice.get("/metrics/tenants").await.text();
    assert!(page.contains("acme") && !page.contains("globex"), "{page}");
}

/// Writes a row for each of so many tenants.
fn write_rows(directory: &Path, count: usize) {
    for number in 0..count {
        let row = format!("id: t{number:05}\nplatform: p{}\n", number % 7);
        std::fs::write(directory.join(format!("t{number:05}.yaml")), row).unwrap();
    }
}

#[tokio::test]
async fn ten_thousand_rows_are_listed_page_by_page_and_broken_ones_among_them() {
    let rows = tempfile::tempdir().unwrap();
    write_rows(rows.path(), 10_000);
    std::fs::write(rows.path().join("broken.yaml"), "id: broken\nplatfrm: node\n").unwrap();
    std::fs::write(rows.path().join("not an id.yaml"), "platform: node\n").unwrap();
    let exporters = yaml::exporters(&[(UP, yaml::to("http://127.0.0.1:9", &[QUICK, SINGLY]))]);
    let tenants = format!("tenants: {{ directory: '{}' }}\n", rows.path().display());
    let sluice = Sluice::start(&(exporters + ROUTES + &tenants)).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = sluice.api(&format!("/api/v1/tenants?limit=5000{after}")).await;
        assert_eq!(page["total"], 10_002);
        let rows = page["tenants"].as_array().unwrap();
        assert!(rows.len() <= 1000, "no page is larger");
        seen.extend(rows.iter().map(|row| row["place"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 10_002);
    assert_eq!(sluice.api("/api/v1/tenants?q=p3&limit=1").await["total"], 1429);
    assert_eq!(
        listed(&sluice, "skip=9998&limit=2").await,
        ["t09996", "t09997"],
        "`broken` and one without an id come first"
    );
    assert_eq!(listed(&sluice, "sort=-id&skip=5000&limit=2").await, ["t04999", "t04998"]);
    assert_eq!(listed(&sluice, "after=t05000&skip=1000&limit=1").await, ["t06001"]);
    let broken = sluice.api("/api/v1/tenants?state=broken").await;
    assert_eq!(broken["total"], 2);
    let shown = tenant(&sluice, "broken").await;
    let problem = shown["problem"]["text"].as_str().unwrap();
    assert!(problem.contains("unknown key `platfrm`"), "{problem}");
    assert!(shown["problem"]["since"].is_string() && shown["senders"].is_null());
    let misnamed = sluice.api("/api/v1/tenants/not%20an%20id").await;
    assert_eq!((&misnamed["place"], &misnamed["states"][0]), (&"not an id.yaml".into(), &"broken".into()));
}

#[tokio::test]
async fn the_log_names_the_tenant_whose_stream_is_in_trouble() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(401));
    let config = config(&up.url(), &[], &plain(&["acme", "globex"])) + LETTERS;
    let sluice = SluiceProcess::start(&config, &[]).await;
    let logged_of = async |id: &str, what: &str| {
        let named = format!("tenant=\"{id}\"");
        eventually(&format!("a line about {id}: {what}"), async || {
            sluice.log().into_iter().find(|line| line.contains(what) && line.contains(&named))
        })
        .await
    };
    for id in ["acme", "globex"] {
        sluice.accept(Signal::Logs, request(&[of(id, &["1"])])).await;
        logged_of(id, "the destination refuses us").await;
    }
    up.set_fault(Fault::status(422));
    for id in ["acme", "globex"] {
        logged_of(id, "records not delivered").await;
    }
}
