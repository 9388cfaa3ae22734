//! Pages of streams and exporters: every order, in pieces, while streams come and go; and all about one of them.

use std::collections::BTreeSet;
use std::time::Duration;

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::payload::{entry_of, filler, logs, request, resource};
use crate::support::sinks;
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Front, Sluice, eventually, http};

/// What fails is repeated after this test.
const PATIENT: &str = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";

const ORDERS: [&str; 8] = [
    "oldest",
    "key",
    "exporter",
    "tenant",
    "pending_bytes",
    "delivered_records",
    "failed_attempts",
    "last_error",
];

/// Streams of three tenants at two exporters of which one takes nothing.
async fn start(up: &Sink, other: &Sink) -> Sluice {
    Sluice::start(
        &(yaml::exporters(&[
            ("otlp_http/up", yaml::to(&up.url(), &[SINGLY, PATIENT])),
            ("otlp_http/other", yaml::to(&other.url(), &[SINGLY])),
        ]) + "routes: [{ tenants: '*', key: service.name, exporters: [otlp_http/up, otlp_http/other] }]\n\
              tenants: { list: [{ id: acme }, { id: globex }, { id: initech }] }\n"),
    )
    .await
}

async fn send(front: &Front, tenant: &str, service: &str, text: &str) {
    let resource = resource(&[("tenant.id", tenant), ("service.name", service)]);
    front.accept(Signal::Logs, request(&[entry_of(Signal::Logs, resource, &[text])])).await;
}

/// What names a stream.
fn id(stream: &Value) -> String {
    let part = |name: &str| stream[name].as_str().unwrap_or("-").to_owned();
    [part("exporter"), part("signal"), part("tenant"), part("key")].join(" ")
}

/// All pages of a query, a few streams on each; between them `meanwhile` happens.
async fn pages(front: &Front, query: &str, mut meanwhile: impl AsyncFnMut()) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = front.api(&format!("/api/v1/streams?{query}&limit=5{after}")).await;
        let streams = page["streams"].as_array().expect("a list");
        assert!(streams.len() <= 5, "{page}");
        all.extend_from_slice(streams);
        let Some(next) = page["next"].as_str() else { return all };
        after = format!("&after={next}");
        meanwhile().await;
    }
}

/// Whether streams are in an order; those that have nothing come last.
fn is_in_order(streams: &[&Value], order: &str, descending: bool) -> bool {
    let place = |stream: &Value| -> Value {
        match order {
            // They came in the order of their keys.
            "oldest" if stream["oldest_pending_seconds"].is_null() => Value::Null,
            "oldest" => stream["key"].clone(),
            "last_error" => stream["last_error"]["at"].clone(),
            field => stream[field].clone(),
        }
    };
    streams.windows(2).all(|pair| match (place(pair[0]), place(pair[1])) {
        (_, Value::Null) => true,
        (Value::Null, _) => false,
        (Value::String(one), Value::String(other)) => {
            if descending {
                one >= other
            } else {
                one <= other
            }
        }
        (one, other) => {
            let (one, other) = (one.as_u64().unwrap(), other.as_u64().unwrap());
            if descending { one >= other } else { one <= other }
        }
    })
}

#[tokio::test]
async fn the_pages_of_every_order_are_all_streams_once_while_others_come_and_go() {
    let (up, other) = (sinks::counting().await, sinks::counting().await);
    up.set_fault(Fault::status(401).message("expired"));
    let sluice = start(&up, &other).await;
    let mut expected = BTreeSet::new();
    for number in 0..7 {
        for tenant in ["acme", "globex", "initech"] {
            let service = format!("service-{number}");
            send(&sluice, tenant, &service, &filler("x", 10 + number)).await;
            for exporter in ["otlp_http/up", "otlp_http/other"] {
                expected.insert(format!("{exporter} logs {tenant} {service}"));
            }
        }
    }
    eventually("all at one exporter have failed, and all at the other are delivered", async || {
        let shown = sluice.api("/api/v1/exporters").await;
        let all = shown["exporters"].as_array()?;
        let of = |name: &str, field: &str| {
            all.iter().find(|one| one["name"] == name).map(|one| one[field].clone())
        };
        let held = of("otlp_http/up", "held_streams")?;
        (held == 21
            && of("otlp_http/up", "failing_streams")? == 21
            && of("otlp_http/other", "pending_bytes")? == 0)
            .then_some(())
    })
    .await;
    let mut newcomers = 0;
    for order in ORDERS {
        for direction in ["", "-"] {
            let query = format!("sort={direction}{order}");
            let mut of_order = 3;
            let streams = pages(&sluice, &query, async || {
                if of_order == 0 {
                    return;
                }
                of_order -= 1;
                newcomers += 1;
                // Some before and some behind what was read.
                send(&sluice, "acme", &format!("{}{newcomers}", ["a", "z"][newcomers % 2]), "x").await;
            })
            .await;
            let ids: Vec<String> = streams.iter().map(id).collect();
            let settled: Vec<&Value> =
                streams.iter().filter(|stream| expected.contains(&id(stream))).collect();
            assert!(is_in_order(&settled, order, direction == "-"), "{query}: {settled:#?}");
            let known: Vec<&String> = ids.iter().filter(|id| expected.contains(*id)).collect();
            assert_eq!(known.len(), expected.len(), "{query}: {ids:#?}");
            assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), expected.iter().collect(), "{query}");
            let all: BTreeSet<&String> = ids.iter().collect();
            // A newcomer that is delivered between two pages may move behind the second of them.
            assert!(all.len() == ids.len() || !matches!(order, "key" | "exporter" | "tenant"), "{query}");
        }
    }
    let shown =
        pages(&sluice, "sort=key&key=service-3&tenant=globex&exporter=otlp_http/up", async || {}).await;
    assert_eq!(shown.iter().map(id).collect::<Vec<_>>(), ["otlp_http/up logs globex service-3"]);
    assert_eq!(sluice.api("/api/v1/streams?signal=traces").await["total"], 0);
    let held = sluice.api("/api/v1/streams?signal=logs&state=held&limit=1").await;
    assert!(held["total"].as_u64().unwrap() >= 21, "{held}");
}

#[tokio::test]
async fn a_page_may_begin_anywhere_behind_the_start_or_another_page() {
    const STREAMS: usize = 12_000;
    // Nothing is sent, so that the order stays as it is.
    let exporter = yaml::up("http://127.0.0.1:9", &["sending_queue: { batch: { flush_timeout: 1h } }"]);
    let sluice = Sluice::start(&(format!("limits: {{ streams: {STREAMS} }}\n") + &exporter)).await;
    let name = |number: usize| format!("stream-{number:05}");
    // In an order that has nothing to do with that of the keys.
    let all: Vec<String> = (0..STREAMS).map(|at| name(at * 7919 % STREAMS)).collect();
    for part in all.chunks(2000) {
        let part: Vec<(&str, &[&str])> = part.iter().map(|key| (&**key, &["x"][..])).collect();
        sluice.accept(Signal::Logs, logs(&part)).await;
    }
    let page = async |query: &str| -> (Vec<String>, Option<String>) {
        let page = sluice.api(&format!("/api/v1/streams?limit=3&{query}")).await;
        assert_eq!(page["total"], STREAMS, "{query}");
        let keys = page["streams"].as_array().unwrap().iter();
        let keys = keys.map(|stream| stream["key"].as_str().unwrap().to_owned()).collect();
        (keys, page["next"].as_str().map(str::to_owned))
    };
    let names = |numbers: &[usize]| -> Vec<String> { numbers.iter().copied().map(name).collect() };
    for (query, expected) in [
        ("sort=key&skip=0", names(&[0, 1, 2])),
        ("sort=key&skip=5000", names(&[5000, 5001, 5002])),
        ("sort=key&skip=9000", names(&[9000, 9001, 9002])),
        ("sort=-key&skip=9000", names(&[2999, 2998, 2997])),
        ("sort=key&skip=11998", names(&[11_998, 11_999])),
        ("sort=key&skip=12000", names(&[])),
        ("sort=key&skip=18446744073709551615", names(&[])),
        // All have waited, in the order in which they came, and hold as much.
        ("sort=pending_bytes&skip=10000", names(&[10_000, 10_001, 10_002])),
    ] {
        let (keys, next) = page(query).await;
        assert_eq!(keys, expected, "{query}");
        let Some(next) = next else {
            assert!(keys.len() < 3, "{query}");
            continue;
        };
        let sort = query.split('&').next().unwrap();
        let last: usize = keys[2].strip_prefix("stream-").unwrap().parse().unwrap();
        for skip in [0, 1, 2500] {
            let (keys, _) = page(&format!("{sort}&after={next}&skip={skip}")).await;
            let first = if sort == "sort=-key" { last - 1 - skip } else { last + 1 + skip };
            assert_eq!(keys.first(), (first < STREAMS).then(|| name(first)).as_ref(), "{query}, {skip}");
        }
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_told_with_those_that_there_are() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
    for key in ["a", "b"] {
        sluice.accept(Signal::Logs, logs(&[(key, &["x"])])).await;
    }
    let next = sluice.api("/api/v1/streams?limit=1&sort=key").await["next"].as_str().unwrap().to_owned();
    for (path, said) in [
        ("streams?sort=size", "oldest, key, exporter, tenant, pending_bytes"),
        ("streams?sort=--key", "oldest, key"),
        ("streams?signal=profiles", "traces, metrics, logs"),
        ("streams?limit=many", "`limit` is a number"),
        ("streams?after=nothing", "`after` is not what `next` was"),
        (&*format!("streams?sort=-key&after={next}"), "is of a page with sort=key"),
        ("streams?page=2", "exporter, tenant, key, signal, state, sort, limit, after and skip"),
        ("streams/one?exporter=otlp_http/up&key=a", "`signal` is missing"),
        ("streams/one?signal=logs&key=a", "`exporter` is missing"),
        ("streams/one?exporter=otlp_http/up&signal=logs&name=a", "exporter, signal, tenant and key"),
        ("exporters?sort=size", "configuration, name, type"),
        ("exporters?limit=many", "`limit` is a number"),
        ("exporters?after=otlp_http/gone", "is not there (any more)"),
        ("streams?skip=-1", "`skip` is a number"),
        ("exporters?skip=some", "`skip` is a number"),
        ("exporters?key=a", "q, sort, limit, after and skip"),
    ] {
        let answer = sluice.get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains(said), "{path}: {}", answer.text());
    }
    for path in
        ["streams/one?exporter=otlp_http/up&signal=logs&key=c", "exporters/otlp_http/gone", "streams/two"]
    {
        assert_eq!(sluice.get(&format!("/api/v1/{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn streams_that_are_forgotten_are_on_the_pages_behind_those_that_live_and_are_found_one_by_one() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, SINGLY])).await;
    for number in 0..12 {
        sluice.accept(Signal::Logs, logs(&[(&format!("past-{number:02}"), &["x"])])).await;
    }
    sluice.settled().await;
    let registry = sluice.router().exporters()[0].registry().clone();
    eventually("all are forgotten", async || {
        registry.forget_idle();
        registry.is_empty().then_some(())
    })
    .await;
    sluice.accept(Signal::Logs, logs(&[("present", &["x"])])).await;
    sluice.settled().await;
    let keys = |streams: &[Value]| -> Vec<String> {
        streams.iter().map(|stream| stream["key"].as_str().unwrap().to_owned()).collect()
    };
    let past: Vec<String> = (0..12).map(|number| format!("past-{number:02}")).collect();
    let all = pages(&sluice, "sort=oldest", async || {}).await;
    assert_eq!(keys(&all), [&["present".to_owned()][..], &past].concat());
    assert!(all.iter().all(|stream| stream["state"] == "idle" && stream["delivered_records"] == 1));
    assert_eq!(keys(&pages(&sluice, "sort=key&state=idle&key=past", async || {}).await), past);
    assert_eq!(sluice.api("/api/v1/streams?state=sending").await["total"], 0);
    let one = sluice.api("/api/v1/streams/one?exporter=otlp_http/up&signal=logs&key=past-07").await;
    assert_eq!(
        (&one["live"], &one["delivered_records"], &one["attempts"]),
        (&json!(false), &json!(1), &json!([]))
    );
}

#[tokio::test]
async fn one_stream_shows_its_last_attempts_once_it_fails_or_somebody_looks() {
    const SECRET: &str = "Bearer s3cr3t-of-the-upstream";
    let up = sinks::recording().await;
    up.add_fault(Fault::status(503).message("come back later").on_streams("failing"));
    let headers = format!("headers: {{ Authorization: '{SECRET}' }}");
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, SINGLY, &headers])).await;
    let one = async |key: &str| {
        let text =
            sluice.get(&format!("/api/v1/streams/one?exporter=otlp_http%2Fup&signal=logs&key={key}")).await;
        assert_eq!(text.status, 200, "{}", text.text());
        assert!(!text.text().contains(SECRET), "{}", text.text());
        serde_json::from_slice::<Value>(&text.body).unwrap()
    };
    sluice.accept(Signal::Logs, logs(&[("failing", &["x", "y"]), ("healthy", &["x"])])).await;
    let failing = eventually("many attempts have failed", async || {
        let shown = one("failing").await;
        (shown["attempts"].as_array()?.len() == 20).then_some(shown)
    })
    .await;
    for attempt in failing["attempts"].as_array().unwrap() {
        assert_eq!((&attempt["code"], &attempt["records"]), (&json!("503"), &json!(2)), "{attempt}");
        assert!(attempt["message"].as_str().unwrap().contains("come back later"), "{attempt}");
        assert!(
            attempt["bytes"].as_u64().unwrap() > 0 && attempt["millis"].as_f64().unwrap() > 0.0,
            "{attempt}"
        );
    }
    assert_eq!(failing["settings"]["headers"]["Authorization"], "[redacted]", "{failing}");
    assert_eq!((&failing["live"], &failing["hold"]), (&json!(true), &Value::Null));
    assert!(failing["failed_attempts"].as_u64().unwrap() >= 20);

    sluice.wait_for_metric("sluice_exported_records_total", &[("outcome", "delivered")], 1.0).await;
    assert_eq!(one("healthy").await["attempts"], json!([]), "nobody had looked when it was delivered");
    sluice.accept(Signal::Logs, logs(&[("healthy", &["z"])])).await;
    let attempts = eventually("the next one is kept", async || {
        let shown = one("healthy").await["attempts"].clone();
        (shown.as_array()?.len() == 1).then_some(shown)
    })
    .await;
    assert_eq!((&attempts[0]["code"], &attempts[0]["message"]), (&json!("200"), &json!("")));

    up.clear_faults();
    let recovered = eventually("it recovers", async || {
        let shown = one("failing").await;
        (shown["delivered_records"] == 2).then_some(shown)
    })
    .await;
    assert_eq!(recovered["attempts"][0]["code"], "200", "the newest comes first, and how it ended is there");
    assert_eq!(recovered["attempts"][1]["code"], "503");
}

#[tokio::test]
async fn a_stream_whose_key_has_parts_is_found_by_the_text_that_is_shown_of_it() {
    let sluice = Sluice::start(
        "exporters: { debug: { sending_queue: { batch: { flush_timeout: 1h } } } }\n\
         routes: [{ key: { service: service.name, zone: zone }, exporters: [debug] }]\n",
    )
    .await;
    let resource = resource(&[("service.name", "a b"), ("zone", "eu/1")]);
    sluice.accept(Signal::Traces, request(&[entry_of(Signal::Traces, resource, &["x"])])).await;
    let key = sluice.api("/api/v1/streams").await["streams"][0]["key"].as_str().unwrap().to_owned();
    assert_eq!(key, "a%20b/eu%2F1");
    let key = key.replace('%', "%25");
    let one = sluice.api(&format!("/api/v1/streams/one?exporter=debug&signal=traces&key={key}")).await;
    assert_eq!(one["parts"], json!({ "service": "a b", "zone": "eu/1" }), "{one}");
    assert_eq!(sluice.api(&format!("/api/v1/streams?key={key}")).await["total"], 1);
    assert_eq!(sluice.api("/api/v1/streams?key=eu/1").await["total"], 0, "what is shown is looked through");
}

#[tokio::test]
async fn exporters_are_listed_in_every_order_a_page_at_a_time_and_each_with_all_about_it() {
    let (up, other) = (sinks::counting().await, sinks::counting().await);
    up.set_fault(Fault::status(401).message("expired"));
    let headers = "headers: { Authorization: 'Bearer s3cr3t-of-the-upstream' }";
    let sluice = Sluice::start(
        &(yaml::exporters(&[
            ("otlp_http/up", yaml::to(&up.url(), &[SINGLY, PATIENT, headers])),
            ("otlp_http/other", yaml::to(&other.url(), &[SINGLY])),
            ("nop/none", String::new()),
        ]) + &yaml::by_stream("otlp_http/up, otlp_http/other")),
    )
    .await;
    for key in ["a", "b"] {
        sluice.accept(Signal::Logs, logs(&[(key, &["x"])])).await;
    }
    eventually("both streams of one are held", async || {
        let shown = sluice.api("/api/v1/exporters?q=up").await;
        (shown["exporters"][0]["held_streams"] == 2).then_some(())
    })
    .await;
    sluice.wait_for_metric("sluice_exported_records_total", &[("outcome", "delivered")], 2.0).await;
    let names = async |query: &str| -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = sluice.api(&format!("/api/v1/exporters?limit=1{query}{after}")).await;
            assert_eq!(page["total"], if query.contains("q=") { 2 } else { 3 });
            let shown = page["exporters"].as_array().unwrap().clone();
            names.extend(shown.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { return names };
            after = format!("&after={next}");
        }
    };
    let (up_name, other_name, none) = ("otlp_http/up", "otlp_http/other", "nop/none");
    let configured = names("").await;
    assert_eq!(configured.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(names("&sort=name").await, [none, other_name, up_name]);
    let second = sluice.api("/api/v1/exporters?sort=name&limit=1&skip=1").await;
    assert_eq!((&second["exporters"][0]["name"], &second["next"]), (&json!(other_name), &json!(other_name)));
    assert_eq!(names("&sort=-name").await, [up_name, other_name, none]);
    assert_eq!(names("&sort=-held_streams").await[0], up_name);
    assert_eq!(names("&sort=-failing_streams").await[0], up_name);
    assert_eq!(names("&sort=-pending_bytes").await[0], up_name);
    assert_eq!(names("&sort=-pending_records").await[0], up_name);
    assert_eq!(names("&sort=oldest").await, [up_name, none, other_name], "those that have nothing come last");
    assert_eq!(names("&sort=-delivered_records").await[0], other_name);
    assert_eq!(names("&sort=type").await[0], none);
    assert_eq!(names("&sort=streams").await[0], none);
    assert_eq!(names("&sort=-state").await, [up_name, other_name, none], "held, ok and idle");
    assert_eq!(names("&sort=state").await, [none, other_name, up_name]);
    assert_eq!(names("&sort=-not_delivered_records").await, names("&sort=name").await, "nothing is lost");
    assert_eq!(names("&q=http&sort=name").await, [other_name, up_name]);

    for path in ["otlp_http/up", "otlp_http%2Fup"] {
        let answer = sluice.get(&format!("/api/v1/exporters/{path}")).await;
        assert!(!answer.text().contains("s3cr3t"), "{}", answer.text());
        let one: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&one["name"], &one["type"]), (&json!(up_name), &json!("otlp_http")));
        assert_eq!(one["state"], "held", "{one}");
        assert_eq!(one["settings"]["headers"]["Authorization"], "[redacted]", "{one}");
        assert_eq!(one["settings"]["endpoint"], up.url());
        assert_eq!((&one["attempts"]["401"], &one["failing_streams"]), (&json!(2), &json!(2)));
        assert_eq!(one["destinations"]["total"], 1);
        let errors = one["last_errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "one of each code: {one}");
        assert_eq!((&errors[0]["code"], &errors[0]["of_stream"]["signal"]), (&json!("401"), &json!("logs")));
        assert!(errors[0]["message"].as_str().unwrap().contains("expired"));
    }
}

/// As in production with an upstream that is away, at a size that a test can wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_streams_are_paged_through_to_the_last_while_requests_come() {
    const STREAMS: usize = 20_000;
    let sluice = Sluice::start(
        "exporters: { debug: { sending_queue: { batch: { flush_timeout: 1h } } } }\n\
         routes: [{ match: { s2.stream: '*' }, key: s2.stream, exporters: [debug] }]\n",
    )
    .await;
    let keys: Vec<String> =
        (0..STREAMS).map(|number| format!("stream-{:05}", number * 7919 % STREAMS)).collect();
    for some in keys.chunks(1000) {
        let entries: Vec<(&str, &[&str])> = some.iter().map(|key| (key.as_str(), &["x"][..])).collect();
        sluice.accept(Signal::Logs, logs(&entries)).await;
    }
    let (admin, router) = (sluice.admin, sluice.router().clone());
    let reading = tokio::spawn(async move {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/streams?sort=key&limit=1000{after}");
            let answer = http::send(admin, "GET", &path, &[], bytes::Bytes::new()).await;
            let page: Value = serde_json::from_slice(&answer.body).unwrap();
            let streams = page["streams"].as_array().unwrap();
            all.extend(streams.iter().map(|stream| stream["key"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { return all };
            after = format!("&after={next}");
        }
    });
    while !reading.is_finished() {
        sluice.accept(Signal::Logs, logs(&[("stream-00000", &["y"]), ("stream-19999", &["y"])])).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let all = reading.await.unwrap();
    assert!(all.is_sorted() && all.len() == STREAMS, "{}", all.len());
    assert_eq!(router.exporters()[0].registry().len(), STREAMS);
}
