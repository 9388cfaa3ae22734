//! The overview and the history: what is seen at a glance, and the sentences about what asks for somebody.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::payload::{entry, entry_of, logs, request, resource};
use crate::support::sinks;
use crate::support::yaml::{LETTERS, QUICK, SINGLY};
use crate::support::{Sluice, eventually};

fn config(up: &Sink, rest: &str) -> String {
    format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}', compression: none, {QUICK} }} }}\n\
         routes: [{{ name: streams, match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n{rest}",
        up.url()
    )
}

async fn overview(sluice: &Sluice) -> Value {
    sluice.api("/api/v1/overview").await
}

/// What asks for somebody and is of this kind.
fn of_kind<'o>(overview: &'o Value, kind: &str) -> Vec<&'o Value> {
    let all = overview["attention"].as_array().unwrap();
    assert_eq!(overview["attention_total"], all.len());
    all.iter().filter(|attention| attention["kind"] == kind).collect()
}

/// Waits until one thing of this kind asks for somebody.
async fn attention(sluice: &Sluice, kind: &str) -> Value {
    eventually(kind, async || {
        let overview = overview(sluice).await;
        of_kind(&overview, kind).first().map(|attention| (*attention).clone())
    })
    .await
}

/// The states of all nodes of the flow, by their ids.
fn states(overview: &Value) -> BTreeMap<String, String> {
    let nodes = overview["flow"]["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| (node["id"].as_str().unwrap().to_owned(), node["state"].as_str().unwrap().to_owned()))
        .collect()
}

#[tokio::test]
async fn at_rest_its_numbers_are_those_of_the_metrics() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, LETTERS)).await;
    for signal in Signal::ALL {
        sluice.accept(signal, request(&[entry(signal, "a", &["x", "y"]), entry(signal, "b", &["z"])])).await;
    }
    sluice.settled().await;
    // Refused by the upstream, by the routes, and by what is valid.
    up.set_fault(Fault::status(400));
    sluice.accept(Signal::Logs, logs(&[("bad", &["1"])])).await;
    sluice.settled().await;
    let unrouted = request(&[entry_of(Signal::Logs, resource(&[("other", "1")]), &["1", "2"])]);
    assert_eq!(sluice.post(Signal::Logs, unrouted).await.partial(Signal::Logs).unwrap().0, 2);
    assert_eq!(sluice.post(Signal::Traces, "no OTLP").await.status, 400);
    up.set_fault(Fault::status(503));
    sluice.accept(Signal::Metrics, request(&[entry(Signal::Metrics, "waits", &["1"])])).await;
    sluice.wait_for_metric("sluice_export_attempts_total", &[("code", "400")], 1.0).await;
    eventually("what waits is tried", async || {
        (sluice.metric("sluice_export_attempts_total", &[("code", "503")]).await > 0.0).then_some(())
    })
    .await;

    let (shown, metrics) = (overview(&sluice).await, sluice.metrics().await);
    let totals = &shown["totals"];
    for signal in Signal::ALL {
        let of = ("signal", signal.name());
        let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, &[&[of], labels].concat()) as u64;
        let received = json!({
            "requests": sum("sluice_received_requests_total", &[]),
            "records": sum("sluice_received_records_total", &[("outcome", "accepted")]),
            "bytes": sum("sluice_received_bytes_total", &[]),
        });
        assert_eq!(totals["received"][signal.name()], received, "{signal}");
        let exported =
            json!({ "records": sum("sluice_exported_records_total", &[("outcome", "delivered")]) });
        assert_eq!(totals["exported"][signal.name()], exported, "{signal}");
    }
    let sum = |name: &str, outcome: &str| metrics.sum(name, &[("outcome", outcome)]) as u64;
    let (received, exported) = ("sluice_received_records_total", "sluice_exported_records_total");
    let not_delivered = json!({
        "rejected": sum(received, "rejected") + sum(exported, "rejected"),
        "dead_lettered": sum(exported, "dead_lettered"),
        "dropped": sum(exported, "dropped"),
        "refused": sum(received, "refused"),
        "unrouted": sum(received, "dropped"),
    });
    assert_eq!(totals["not_delivered"], not_delivered);
    assert_eq!((&not_delivered["rejected"], &not_delivered["dead_lettered"]), (&json!(2), &json!(1)));
    let gauge = |name: &str| metrics.sum(name, &[]) as u64;
    let pending = json!({
        "records": gauge("sluice_pending_records"),
        "bytes": gauge("sluice_pending_bytes"),
        "streams": gauge("sluice_streams"),
    });
    assert_eq!((&totals["pending"], &pending["records"]), (&pending, &json!(1)));
    assert_eq!(shown["memory"]["limit"], gauge("sluice_memory_limit_bytes"));
    assert_eq!(shown["dead_letters"]["bytes"], gauge("sluice_dead_letter_bytes"));
    assert_eq!((&shown["journal"], &shown["tenants"]), (&Value::Null, &Value::Null));
    assert_eq!((&shown["phase"], &shown["reload"]["version"]), (&json!("ready"), &json!(1)));
}

#[tokio::test]
async fn its_only_parameter_is_none() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    for (path, error) in [
        ("/api/v1/overview?x=1", "unknown parameter `x`: there are none"),
        ("/api/v1/history?x=1", "unknown parameter `x`: there are range, exporter, signal, tenant and key"),
        ("/api/v1/history?range=1y", "`range` is one of 15m, 24h, not `1y`"),
    ] {
        let answer = sluice.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap()["error"], error);
    }
    assert_eq!(sluice.get("/api/v1/history?exporter=nobody").await.status, 404);
}

#[tokio::test]
async fn the_flow_is_counted_by_receiver_route_and_exporter_and_goes_on_over_a_reload() {
    let up = sinks::counting().await;
    let fan_out = |route: &str| {
        format!(
            "exporters: {{ otlp_http/up: {{ endpoint: '{}', compression: none }}, nop: , debug: }}\n\
             routes:\n\
             \x20 - {{ name: {route}, match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up, nop] }}\n\
             \x20 - {{ name: rest, exporters: [debug] }}\n",
            up.url()
        )
    };
    let sluice = Sluice::start(&fan_out("streams")).await;
    let send = async || {
        sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"]), ("b", &["3"])])).await;
        sluice.settled().await;
    };
    let records = |from: &str, to: &str| {
        let flow = sluice.router().flow().all();
        let found = flow.iter().find(|(edge, _)| {
            let text = format!("{edge:?}");
            text.contains(&format!("\"{from}\"")) && text.contains(&format!("\"{to}\""))
        });
        found.map(|(_, volume)| volume.records)
    };
    send().await;
    let all = || {
        [("otlp", "streams"), ("streams", "otlp_http/up"), ("streams", "nop"), ("otlp", "rest")]
            .map(|(from, to)| records(from, to))
    };
    assert_eq!(all(), [Some(3), Some(3), Some(3), Some(0)]);
    let picture = eventually("something has passed since the last look", async || {
        send().await;
        let shown = overview(&sluice).await;
        (shown["rates"]["received"]["logs"]["records"].as_f64().unwrap() > 0.0).then_some(shown)
    })
    .await;
    let states = states(&picture);
    for (id, state) in [
        ("receiver:otlp", "ok"),
        ("route:streams", "ok"),
        ("route:rest", "idle"),
        ("exporter:otlp_http/up", "ok"),
        ("exporter:debug", "idle"),
    ] {
        assert_eq!(states.get(id).map(String::as_str), Some(state), "{id} of {states:?}");
    }
    let nodes = picture["flow"]["nodes"].as_array().unwrap();
    let places = |kind: &str| -> Vec<&str> {
        nodes.iter().filter(|node| node["kind"] == kind).map(|node| node["name"].as_str().unwrap()).collect()
    };
    assert_eq!(places("route"), ["streams", "rest"], "in the order of the configuration");
    assert_eq!(places("exporter"), ["otlp_http/up", "nop", "debug"]);
    let edges = picture["flow"]["edges"].as_array().unwrap();
    let rate = |from: &str, to: &str| {
        let edge = edges.iter().find(|edge| edge["from"] == from && edge["to"] == to).unwrap();
        assert!(edge["bytes_per_second"].as_f64() >= edge["records_per_second"].as_f64(), "{edge}");
        edge["records_per_second"].as_f64().unwrap()
    };
    let received = rate("receiver:otlp", "route:streams");
    assert!(received > 0.0);
    assert_eq!(rate("route:streams", "exporter:otlp_http/up"), received);
    assert_eq!(rate("route:streams", "exporter:nop"), received);

    let before = all();
    sluice.reconfigure(&format!("{}unrouted: drop\n", fan_out("streams"))).await;
    assert_eq!(all(), before, "nothing is reset");
    send().await;
    assert_eq!(records("otlp", "streams"), before[0].map(|before| before + 3));
    sluice.reconfigure(&fan_out("renamed")).await;
    assert_eq!((records("otlp", "streams"), records("otlp", "renamed")), (None, Some(0)));
}

#[tokio::test]
async fn an_exporter_that_delivers_nothing_is_never_ok_and_its_streams_are_counted_alike_everywhere() {
    /// What is held is so for the rest of the test.
    const PATIENT: &str = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
    /// How the upstream fails, what the exporter does about that, and the state that is told of it.
    const CASES: [(&str, &str, &str); 9] = [
        ("well", "", "ok"),
        ("400", "", "failing"),
        ("400-dropped", "statuses: { 400: drop }", "failing"),
        ("503-given-up", "retry_on_failure: { enabled: false }", "failing"),
        ("partial", "", "failing"),
        ("401", PATIENT, "held"),
        ("404", PATIENT, "held"),
        ("hanging", "timeout: 300ms", "failing"),
        ("away", "", "failing"),
    ];
    for letters in [LETTERS, ""] {
        let mut ups = Vec::new();
        let (mut exporters, mut routes) = ("exporters:\n".to_owned(), "routes:\n".to_owned());
        for (name, options, _) in CASES {
            let up = sinks::counting().await;
            match name {
                "well" => {}
                "partial" => up.set_fault(Fault::partial_success(1, "too old")),
                "hanging" => up.set_fault(Fault::hang()),
                status => up.set_fault(Fault::status(status[..3].parse().unwrap_or(503))),
            }
            let url = if name == "away" { format!("http://{}", sinks::nobody().await) } else { up.url() };
            writeln!(
                exporters,
                "  otlp_http/{name}: {{ endpoint: '{url}', compression: none, {SINGLY}, {options} }}"
            )
            .unwrap();
            writeln!(routes, "  - {{ match: {{ to: '{name}' }}, exporters: [otlp_http/{name}] }}").unwrap();
            ups.push(up);
        }
        let sluice = Sluice::start(&(exporters + &routes + letters)).await;
        let send = async || {
            for (name, ..) in CASES {
                let entry = entry_of(Signal::Logs, resource(&[("to", name)]), &["x"]);
                sluice.accept(Signal::Logs, request(&[entry])).await;
            }
        };
        let expected: BTreeMap<String, String> = CASES
            .iter()
            .map(|(name, _, state)| (format!("exporter:otlp_http/{name}"), (*state).to_owned()))
            .collect();
        send().await;
        let shown = eventually("each has the state of what it does", async || {
            send().await;
            let shown = overview(&sluice).await;
            let mut states = states(&shown);
            states.retain(|id, _| id.starts_with("exporter:"));
            (states == expected).then_some(shown)
        })
        .await;
        assert!(shown["attention_total"].as_u64() >= Some(3), "{}", shown["attention"]);
        eventually("the streams are counted alike", async || {
            let exporters = sluice.api("/api/v1/exporters").await;
            let exporters = exporters["exporters"].as_array().unwrap();
            let sum = |figure: &str| exporters.iter().map(|one| one[figure].as_u64().unwrap()).sum::<u64>();
            let streams = overview(&sluice).await["streams"].clone();
            let is_failing = |one: &&Value| one["failing_streams"] != 0 || one["held_streams"] != 0;
            let troubled: Vec<_> = exporters.iter().filter(is_failing).collect();
            let is_same =
                streams["failing"] == sum("failing_streams") && streams["held"] == sum("held_streams");
            (is_same && troubled.len() == CASES.len() - 1).then_some(())
        })
        .await;
        for name in ["400", "400-dropped", "partial"] {
            let refused =
                of_kind(&overview(&sluice).await, "refused").into_iter().cloned().collect::<Vec<_>>();
            let of_exporter = format!("otlp_http/{name}");
            assert!(
                refused.iter().any(|told| told["subject"]["name"] == of_exporter),
                "{name}: {refused:#?}"
            );
        }
        for up in ups {
            up.clear_faults();
        }
    }
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_of_what_comes_is_failing_and_not_idle() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config(&up, "limits: { streams: 1 }\n")).await;
    let receiver = |shown: &Value| states(shown)["receiver:otlp"].clone();
    assert_eq!(receiver(&overview(&sluice).await), "idle");
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    for (body, status) in [(logs(&[("b", &["x"])]), 503), (b"no OTLP".to_vec(), 400)] {
        let shown = eventually("it refuses everything", async || {
            assert_eq!(sluice.post(Signal::Logs, body.clone()).await.status, status);
            let shown = overview(&sluice).await;
            (receiver(&shown) == "failing").then_some(shown)
        })
        .await;
        let nodes = shown["flow"]["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["id"] == "receiver:otlp").unwrap();
        assert!(node["title"].as_str().unwrap().contains("nothing taken of "), "{node}");
        up.clear_faults();
        eventually("it takes something", async || {
            sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
            (receiver(&overview(&sluice).await) == "ok").then_some(())
        })
        .await;
        eventually("what was taken is long ago", async || {
            (receiver(&overview(&sluice).await) == "idle").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_limit_of_streams_that_is_reached_is_an_error_and_a_warning_before() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config(&up, "limits: { streams: 20 }\n")).await;
    let fill = async |keys: std::ops::Range<usize>| {
        let entries: Vec<_> = keys.map(|key| entry(Signal::Logs, &key.to_string(), &["x"])).collect();
        sluice.accept(Signal::Logs, request(&entries)).await;
    };
    fill(0..19).await;
    assert_eq!(attention(&sluice, "streams_full").await["severity"], "warning");
    fill(19..20).await;
    assert_eq!(attention(&sluice, "streams_full").await["severity"], "error");
}

#[tokio::test]
async fn a_journal_without_room_for_senders_is_an_error_and_a_warning_before() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let journal = "journal: { directory: '@DIR@/journal', max_size: 16MiB, segment_size: 1MiB }\n";
    let sluice = Sluice::start(&config(&up, journal)).await;
    let text = "x".repeat(256 << 10);
    let mut before = Vec::new();
    let refused = eventually("it is full", async || {
        let answer = sluice.post(Signal::Logs, logs(&[("a", &[&text])])).await;
        let shown = overview(&sluice).await;
        let told = of_kind(&shown, "journal_full").first().map(|told| (*told).clone());
        if answer.status == 200 {
            before.extend(told);
            return None;
        }
        assert_eq!(answer.status, 503);
        Some(told.expect("it is told that senders are refused"))
    })
    .await;
    assert_eq!(refused["severity"], "error", "{refused}");
    assert!(refused["text"].as_str().unwrap().contains("senders are refused with 503. "), "{refused}");
    assert!(before.iter().all(|told| told["severity"] == "warning"), "{before:#?}");
}

#[tokio::test]
async fn a_tenant_whose_token_is_refused_is_named_with_what_to_do_until_it_is_put_right() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(401));
    let rows = "tenants: { list: [{ id: globex, values: { token: t } }, { id: acme, paused: true }, { id: initech, hold: true }] }\n";
    let sluice = Sluice::start(&format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}', headers: {{ X-Token: '{{{{ tenant.token }}}}' }}, compression: none, {QUICK} }} }}\n\
         routes: [{{ exporters: [otlp_http/up] }}]\n{rows}",
        up.url()
    ))
    .await;
    for tenant in ["globex", "initech"] {
        let entry = entry_of(Signal::Logs, resource(&[("tenant.id", tenant)]), &["x"]);
        sluice.accept(Signal::Logs, request(&[entry])).await;
    }
    let held = attention(&sluice, "held").await;
    assert_eq!(held["severity"], "error");
    assert_eq!(held["subject"], json!({ "kind": "tenant", "name": "globex" }));
    assert_eq!(held["href"], "/tenants/globex");
    assert!(held["pending_bytes"].as_u64() > Some(0) && held["since"].is_string(), "{held}");
    let text = held["text"].as_str().unwrap();
    assert!(text.starts_with("globex: 401 from `otlp_http/up` for "), "{text}");
    assert!(
        text.ends_with("wait: its token is refused; put a valid one into its row of the table of tenants."),
        "{text}"
    );

    let shown = eventually("the held tenant has something to deliver", async || {
        let shown = overview(&sluice).await;
        let held = of_kind(&shown, "tenant_held")
            .first()
            .is_some_and(|held| held["pending_bytes"].as_u64() > Some(0));
        // While the other one is tried again, it is not held.
        (held && !of_kind(&shown, "held").is_empty()).then_some(shown)
    })
    .await;
    let told: Vec<_> = shown["attention"]
        .as_array()
        .unwrap()
        .iter()
        .map(|told| (told["kind"].as_str().unwrap(), told["subject"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(told[0], ("held", "globex"), "the most urgent first");
    assert!(
        told.contains(&("tenant_paused", "acme")) && told.contains(&("tenant_held", "initech")),
        "{told:?}"
    );
    assert_eq!(told.len(), 3, "what a row holds is not told twice: {told:?}");
    assert_eq!(shown["tenants"], json!({ "count": 3, "problems": 0 }));
    assert_eq!(states(&shown)["exporter:otlp_http/up"], "held");

    up.set_fault(Fault::none());
    eventually("nobody is told of what is over", async || {
        of_kind(&overview(&sluice).await, "held").is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_is_away_is_told_of_once_and_not_for_each_of_its_streams() {
    let sluice = Sluice::start(&format!(
        "exporters: {{ otlp_http/up: {{ endpoint: 'http://{}', compression: none, {QUICK} }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n",
        sinks::nobody().await
    ))
    .await;
    let entries: Vec<_> = (0..20).map(|number| entry(Signal::Logs, &number.to_string(), &["x"])).collect();
    sluice.accept(Signal::Logs, request(&entries)).await;
    let away = attention(&sluice, "upstream_away").await;
    assert_eq!(away["subject"], json!({ "kind": "exporter", "name": "otlp_http/up" }));
    assert_eq!(away["href"], "/exporters/otlp_http/up");
    let text = away["text"].as_str().unwrap();
    assert!(text.starts_with("otlp_http/up: http://127.") && text.contains("takes nothing for"), "{text}");
    assert!(text.contains("there is no connection to the upstream"), "{text}");
    let shown = overview(&sluice).await;
    assert_eq!(shown["attention_total"], 1, "{}", shown["attention"]);
    assert_eq!(states(&shown)["exporter:otlp_http/up"], "failing");
}

#[tokio::test]
async fn a_configuration_that_can_not_be_used_is_told_with_its_first_problem() {
    let up = sinks::counting().await;
    let good = config(&up, "");
    let sluice = Sluice::start(&good).await;
    assert_eq!(overview(&sluice).await["attention"], json!([]));
    assert_eq!(sluice.reload(&good.replace("compression: none", "compression: nothing")).await.status, 422);
    let shown = overview(&sluice).await;
    let [failed] = of_kind(&shown, "reload_failed")[..] else { panic!("{shown}") };
    let text = failed["text"].as_str().unwrap();
    assert!(
        text.contains("version 1 stays in use")
            && text.contains("sluice.yaml:")
            && text.contains("compression"),
        "{text}"
    );
    assert!(!text.contains('\n'), "{text}");
    assert!(shown["reload"]["last_error"]["error"].as_str().unwrap().contains("compression"));
    sluice.reconfigure(&good).await;
    let shown = overview(&sluice).await;
    assert_eq!((&shown["attention"], &shown["reload"]["last_error"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_certificate_that_ends_and_rows_that_are_broken_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (file("cert.pem", certificate.pem()), file("key.pem", key.serialize_pem()));
    std::fs::create_dir(directory.path().join("rows")).unwrap();
    file("rows/acme.yaml", "id: acme\nnonsense: 1\n".to_owned());
    let up = sinks::counting().await;
    let shows = format!("exporters: {{ otlp_http/up: {{ tls: {{ cert_file: '{cert}', key_file: '{key}' }},");
    let yaml = config(
        &up,
        &format!(
            "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, tls: {{ cert_file: '{cert}', key_file: '{key}' }} }} }} }} }}\n\
             tenants: {{ directory: '{}' }}\n",
            directory.path().join("rows").display()
        ),
    );
    let sluice = Sluice::start(&yaml.replace("exporters: { otlp_http/up: {", &shows)).await;
    let shown = overview(&sluice).await;
    let mut both = of_kind(&shown, "certificate_expires");
    both.sort_by_key(|told| told["subject"]["name"].to_string());
    let [ended, client] = both[..] else { panic!("{shown}") };
    assert_eq!((&client["severity"], &client["href"]), (&json!("error"), &json!("/exporters/otlp_http/up")));
    assert_eq!(client["subject"], json!({ "kind": "certificate", "name": "otlp_http/up" }));
    let text = client["text"].as_str().unwrap();
    assert!(
        text.starts_with("The client certificate of `otlp_http/up` has ended ")
            && text.contains("so that upstreams that ask for one refuse it. Put a new one into"),
        "{text}"
    );
    assert_eq!((&ended["severity"], &ended["subject"]["name"]), (&json!("error"), &json!("otlp")));
    assert!(
        ended["text"].as_str().unwrap().contains("so that no sender connects. Put a new one into"),
        "{ended}"
    );
    let [broken] = of_kind(&shown, "broken_row")[..] else { panic!("{shown}") };
    assert_eq!((&broken["subject"]["name"], &broken["href"]), (&json!("acme"), &json!("/tenants/acme")));
    assert!(broken["text"].as_str().unwrap().contains("its senders get 503"), "{broken}");
}

#[tokio::test]
async fn the_history_has_what_came_in_and_goes_on_over_a_reload() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    let series = async |query: &str, figure: &str| {
        let shown = sluice.api(&format!("/api/v1/history?{query}")).await;
        shown["series"][figure].as_array().unwrap().clone()
    };
    let most = |values: &[Value]| values.iter().filter_map(Value::as_f64).fold(f64::NAN, f64::max);
    sluice.accept(Signal::Logs, logs(&[("a", &["x"; 100])])).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let exported = eventually("a step has what was exported", async || {
        sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        let values = series("exporter=otlp_http/up", "exported_records").await;
        (most(&values) > 0.0).then_some(values)
    })
    .await;
    assert_eq!(exported.len(), 180);
    assert!(most(&series("range=15m", "received_records").await) > 0.0);
    assert!(most(&series("range=15m", "received_bytes").await) > 0.0);
    assert_eq!(series("range=24h", "received_records").await, vec![Value::Null; 720]);
    sluice.reconfigure(&config(&up, "unrouted: drop\n")).await;
    assert!(most(&series("exporter=otlp_http/up", "exported_records").await) > 0.0);
}

#[tokio::test]
async fn what_an_exporter_has_delivered_that_is_gone_stays_in_the_totals() {
    let up = sinks::counting().await;
    let with = |exporters: &[&str]| {
        let each =
            exporters.iter().map(|name| format!("otlp_http/{name}: {{ endpoint: '{}', {QUICK} }}", up.url()));
        let all = exporters.iter().map(|name| format!("otlp_http/{name}"));
        format!(
            "exporters: {{ {} }}\nroutes: [{{ key: s2.stream, exporters: [{}] }}]\n",
            each.collect::<Vec<_>>().join(", "),
            all.collect::<Vec<_>>().join(", ")
        )
    };
    let sluice = Sluice::start(&with(&["stays", "goes"])).await;
    let exported = async || overview(&sluice).await["totals"]["exported"]["logs"]["records"].clone();
    let send = async || sluice.accept(Signal::Logs, logs(&[("a", &["1", "2", "3"])])).await;
    send().await;
    eventually("both have delivered", async || (exported().await == 6).then_some(())).await;
    sluice.reconfigure(&with(&["stays"])).await;
    eventually("the one is gone", async || {
        let all = sluice.api("/api/v1/exporters").await;
        (all["exporters"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    assert_eq!(exported().await, 6);
    send().await;
    eventually("the other goes on", async || (exported().await == 9).then_some(())).await;
    sluice.reconfigure(&with(&["stays", "goes"])).await;
    send().await;
    eventually("the one is back", async || (exported().await == 15).then_some(())).await;
}

#[tokio::test]
async fn a_queue_that_is_full_needs_attention_before_and_while_its_senders_are_refused() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let with_queue = config(&up, "")
        .replace("compression: none,", "compression: none, sending_queue: { queue_size: 10KiB },");
    let sluice = Sluice::start(&with_queue).await;
    let text = "x".repeat(4800);
    sluice.accept(Signal::Logs, logs(&[("much", &[&text])])).await;
    sluice.accept(Signal::Logs, logs(&[("little", &["x"])])).await;
    assert_eq!(of_kind(&overview(&sluice).await, "queue_full"), Vec::<&Value>::new(), "half of it is free");
    sluice.accept(Signal::Logs, logs(&[("much", &[&text])])).await;
    let full = attention(&sluice, "queue_full").await;
    assert_eq!((&full["severity"], &full["href"]), (&json!("error"), &json!("/exporters/otlp_http/up")));
    let text = full["text"].as_str().unwrap();
    assert!(text.contains("the queue of 1 stream at `otlp_http/up` is full (9.7 kB of 10 kB)"), "{text}");
    assert!(text.contains("senders are refused with 503, or soon will be"), "{text}");
    up.clear_faults();
    eventually("nothing waits any more", async || {
        of_kind(&overview(&sluice).await, "queue_full").is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn streams_whose_last_records_were_refused_need_attention_though_nothing_waits() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, LETTERS)).await;
    up.set_fault(Fault::status(400));
    sluice.accept(Signal::Logs, logs(&[("bad", &["1"])])).await;
    let refused = attention(&sluice, "refused").await;
    assert_eq!(refused["severity"], "error");
    let text = refused["text"].as_str().unwrap();
    assert!(
        text.contains("400") && text.contains("all that 1 stream sent last was refused for good"),
        "{text}"
    );
    up.set_fault(Fault::status(200));
    sluice.accept(Signal::Logs, logs(&[("bad", &["2"])])).await;
    eventually("it is taken again", async || {
        of_kind(&overview(&sluice).await, "refused").is_empty().then_some(())
    })
    .await;
}
