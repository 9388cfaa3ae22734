//! What the row of a tenant does to its entries: whose an entry is, where it goes and with what credential, and what a change of the
//! row does to what is queued.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use parking_lot::Mutex;
use prost::Message as _;
use rig::sink::{Fault, Sink};
use serde_json::Value;
use sluice::otlp::Signal;
use sluice::run::{self, Role};
use sluice::tenants::SenderLookup;
use tempfile::TempDir;
use tokio::time::MissedTickBehavior;
use tonic::Code;

use crate::support::grpc::{call, export, framed};
use crate::support::grpc_upstream::{GrpcUpstream, Reply};
use crate::support::http::{self, Answer};
use crate::support::payload::{attribute, entries, entry_of, request, resource, resource_of, texts};
use crate::support::scripted::{Said, Scripted};
use crate::support::sinks::{self, Received as _};
use crate::support::wire::{self, Wire};
use crate::support::{PATIENCE, Sluice, SluiceProcess, eventually};

/// Two receivers, of which `otlp/outside` asks the table of tenants who sends; one exporter and one route for all.
fn config(up: &Sink, tenants: &str) -> String {
    config_to(&up.url(), tenants)
}

/// The same for an upstream of this address.
fn config_to(up: &str, tenants: &str) -> String {
    format!(
        "receivers:\n\
         \x20 otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: tenants }} }} }} }}\n\
         \x20 otlp/inside: {{ protocols: {{ grpc: {{ endpoint: 127.0.0.1:0 }} }} }}\n\
         exporters:\n\
         \x20 otlp_http/up:\n\
         \x20   endpoint: {up}\n\
         \x20   compression: none\n\
         \x20   headers: {{ Authorization: 'Bearer {{{{ tenant.token }}}}', X-Tenant: '{{{{ tenant.id }}}}' }}\n\
         \x20   retry_on_failure: {{ initial_interval: 50ms, max_interval: 1h }}\n\
         \x20   sending_queue: {{ batch: {{ flush_timeout: 1ms }} }}\n\
         routes: [{{ tenants: '*', key: '{{{{ tenant.id }}}}', exporters: [otlp_http/up] }}]\n\
         dead_letter: {{ directory: '@DIR@/letters' }}\n\
         tenants:\n{tenants}"
    )
}

/// Rows of acme and globex, whose senders have the tokens `ID-in`, and whose upstream gets `ID-out`; and one of a gateway that may
/// send for acme and whatever begins with `acme-`.
const ROWS: &str = "  list:\n\
    \x20   - { id: acme, senders: [{ name: web, token: acme-in }], values: { token: acme-out } }\n\
    \x20   - { id: acme-eu, values: { token: acme-eu-out } }\n\
    \x20   - { id: globex, senders: [{ name: web, token: globex-in }], values: { token: globex-out } }\n\
    \x20   - { id: proxy, senders: [{ name: gateway, token: proxy-in, may_send_for: [acme, 'acme-*'] }], values: { token: proxy-out } }\n";

async fn start(rest: &str) -> (Sink, Sluice) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, &format!("{ROWS}{rest}"))).await;
    (up, sluice)
}

fn entry(attributes: &[(&str, &str)], text: &str) -> Vec<u8> {
    entry_of(Signal::Logs, resource(attributes), &[text])
}

fn log(attributes: &[(&str, &str)], text: &str) -> Vec<u8> {
    request(&[entry(attributes, text)])
}

/// Sends as the tenant whose sender has the token `ID-in`.
async fn post_as(sluice: &Sluice, tenant: &str, body: Vec<u8>) -> Answer {
    let authorization = format!("Bearer {tenant}-in");
    sluice.post_with(Signal::Logs, body, &[("authorization", &authorization)]).await
}

/// As whom each text has arrived: the credential and the tenant of its request.
fn arrived(up: &Sink) -> Vec<(String, String, String)> {
    let mut arrived = Vec::new();
    for taken in up.taken() {
        let header = |name: &str| taken.headers[name].to_str().unwrap().to_owned();
        let (credential, tenant) = (header("authorization"), header("x-tenant"));
        for text in entries(&taken.body).iter().flat_map(|entry| texts(Signal::Logs, entry)) {
            arrived.push((text, credential.clone(), tenant.clone()));
        }
    }
    arrived.sort();
    arrived
}

fn as_of(text: &str, tenant: &str) -> (String, String, String) {
    (text.to_owned(), format!("Bearer {tenant}-out"), tenant.to_owned())
}

fn partial(answer: &Answer) -> (i64, String) {
    answer.partial(Signal::Logs).unwrap_or_else(|| panic!("something is not taken: {answer:?}"))
}

#[tokio::test]
async fn a_sender_is_its_tenant_whether_its_resource_says_so_or_not() {
    let (up, sluice) = start("").await;
    for (tenant, named) in
        [("acme", &[][..]), ("acme", &[("tenant.id", "acme")]), ("globex", &[("service.name", "x")])]
    {
        assert_eq!(post_as(&sluice, tenant, log(named, tenant)).await.status, 200);
    }
    sluice.settled().await;
    assert_eq!(arrived(&up), [as_of("acme", "acme"), as_of("acme", "acme"), as_of("globex", "globex")]);
}

#[tokio::test]
async fn a_sender_of_acme_can_send_nothing_as_globex() {
    let (up, sluice) = start("").await;
    let globex = [("tenant.id", "globex")];
    let answer = post_as(&sluice, "acme", log(&globex, "stolen")).await;
    assert_eq!((answer.status, answer.error().code), (403, 7));
    assert!(
        answer.error().message.contains("`tenant.id` names the tenant `globex`"),
        "{}",
        answer.error().message
    );

    // In one entry of a thousand.
    let mut entries: Vec<_> = (0..1000).map(|_| entry(&[], "mine")).collect();
    entries[500] = entry(&globex, "stolen");
    let answer = post_as(&sluice, "acme", request(&entries)).await;
    let (rejected, message) = partial(&answer);
    assert_eq!((answer.status, rejected), (200, 1));
    assert!(message.contains("resource_logs[500]") && message.contains("`globex`"), "{message}");

    // As something else than a text, twice, and with what looks like it.
    let bytes = any_value::Value::BytesValue(b"globex".to_vec());
    let bytes = opentelemetry_proto::tonic::common::v1::KeyValue {
        key: "tenant.id".to_owned(),
        value: Some(AnyValue { value: Some(bytes) }),
        ..Default::default()
    };
    let as_bytes = request(&[entry_of(Signal::Logs, resource_of(vec![bytes]), &["mine"])]);
    assert_eq!(post_as(&sluice, "acme", as_bytes).await.status, 200, "it names nobody");
    let twice = resource_of(vec![attribute("tenant.id", "acme"), attribute("tenant.id", "globex")]);
    let answer = post_as(&sluice, "acme", request(&[entry_of(Signal::Logs, twice, &["stolen"])])).await;
    assert!(partial(&answer).1.contains("occurs twice with different values"), "{answer:?}");
    for alike in
        ["globex ", " globex", "GLOBEX", "ｇlobex", "globex\u{0}", "globex/../acme", "acme/../globex", "*"]
    {
        let answer = post_as(&sluice, "acme", log(&[("tenant.id", alike)], "stolen")).await;
        assert_eq!(answer.status, 403, "{alike:?}");
    }
    sluice.settled().await;
    let arrived = arrived(&up);
    assert_eq!(arrived.len(), 1000);
    assert!(arrived.iter().all(|one| *one == as_of("mine", "acme")), "{arrived:?}");
}

#[tokio::test]
async fn metadata_and_headers_of_a_sender_name_nobody() {
    let (up, sluice) = start("").await;
    let headers = [
        ("authorization", "Bearer acme-in"),
        ("tenant.id", "globex"),
        ("x-tenant", "globex"),
        ("x-scope-orgid", "globex"),
    ];
    let answer = sluice.post_with(Signal::Logs, log(&[], "mine"), &headers).await;
    assert_eq!(answer.status, 200);
    let body = framed(0, &log(&[], "mine"));
    assert_eq!(call(sluice.otlp, export(Signal::Logs), &headers, body).await.code(), Code::Ok);
    let stolen = framed(0, &log(&[("tenant.id", "globex")], "stolen"));
    let reply = call(sluice.otlp, export(Signal::Logs), &headers, stolen).await;
    assert_eq!(reply.code(), Code::PermissionDenied);
    sluice.settled().await;
    assert_eq!(arrived(&up), [as_of("mine", "acme"), as_of("mine", "acme")]);
}

#[tokio::test]
async fn a_gateway_sends_for_those_that_its_row_names_and_nobody_else() {
    let (up, sluice) = start("").await;
    let body = request(&[
        entry(&[("tenant.id", "acme")], "for acme"),
        entry(&[("tenant.id", "acme-eu")], "for acme-eu"),
        entry(&[("tenant.id", "globex")], "stolen"),
        entry(&[], "its own"),
        entry(&[("tenant.id", "acme-nobody")], "unknown"),
    ]);
    let (rejected, message) = partial(&post_as(&sluice, "proxy", body).await);
    assert_eq!(rejected, 2);
    assert!(
        message.contains("may not send for it") && message.contains("there is no tenant `acme-nobody`"),
        "{message}"
    );
    sluice.settled().await;
    assert_eq!(
        arrived(&up),
        [as_of("for acme", "acme"), as_of("for acme-eu", "acme-eu"), as_of("its own", "proxy")]
    );
}

#[tokio::test]
async fn a_stamp_says_whose_an_entry_is_whatever_its_sender_has_written() {
    let (up, sluice) = start("  stamp: tenant.id\n").await;
    let others = [("service.name", "shop"), ("zone", "eu")];
    for named in [&[][..], &[("tenant.id", "globex")], &[("tenant.id", "acme")]] {
        let answer = post_as(&sluice, "acme", log(&[named, &others].concat(), "mine")).await;
        assert_eq!((answer.status, answer.partial(Signal::Logs)), (200, None), "{named:?}");
    }
    assert_eq!(post_as(&sluice, "proxy", log(&[("tenant.id", "acme-eu")], "for another")).await.status, 200);
    sluice.settled().await;
    for body in up.bodies(Signal::Logs) {
        for entry in ExportLogsServiceRequest::decode(&*body).unwrap().resource_logs {
            let attributes = entry.resource.unwrap().attributes;
            let named: Vec<_> = attributes.iter().filter(|one| one.key == "tenant.id").collect();
            assert_eq!(named.len(), 1);
            let expected = if attributes.len() == 1 { "acme-eu" } else { "acme" };
            assert_eq!(*named[0], attribute("tenant.id", expected));
            assert!([1, 3].contains(&attributes.len()), "{attributes:?}");
        }
    }
}

#[tokio::test]
async fn without_auth_the_attribute_decides_and_unknown_says_what_becomes_of_others() {
    let both = request(&[
        entry(&[("tenant.id", "acme")], "for acme"),
        entry(&[("tenant.id", "nobody")], "unknown"),
        entry(&[], "unnamed"),
    ]);
    let inside = async |sluice: &Sluice| {
        let to = sluice.router().addresses(Role::OtlpGrpc).await[0];
        let reply = call(to, export(Signal::Logs), &[], framed(0, &both)).await;
        assert_eq!(reply.code(), Code::Ok, "{}", reply.message());
        sluice.settled().await
    };
    let (up, sluice) = start("").await;
    let metrics = inside(&sluice).await;
    assert_eq!(arrived(&up), [as_of("for acme", "acme")]);
    assert_eq!(metrics.sum("sluice_received_records_total", &[("outcome", "rejected")]), 2.0);

    let (up, sluice) = start("  unknown: dead_letter\n").await;
    let metrics = inside(&sluice).await;
    assert_eq!(arrived(&up), [as_of("for acme", "acme")]);
    assert_eq!(metrics.sum("sluice_received_records_total", &[("outcome", "dropped")]), 1.0);
    let letter = eventually("it is stored", async || {
        let page = sluice.api("/api/v1/dead-letters").await;
        (page["total"] == 1).then(|| page["letters"][0].clone())
    })
    .await;
    assert_eq!(letter["reason"], "there is no tenant `nobody`");

    let rows = "    - { id: default, values: { token: default-out } }\n  unknown: default\n";
    let (up, sluice) = start(rows).await;
    inside(&sluice).await;
    assert_eq!(
        arrived(&up),
        [as_of("for acme", "acme"), as_of("unknown", "default"), as_of("unnamed", "default")]
    );
}

#[tokio::test]
async fn a_sender_of_acme_that_names_globex_in_the_key_sends_as_acme() {
    let up = sinks::recording().await;
    let yaml = config(&up, ROWS).replace("key: '{{ tenant.id }}'", "key: service.name");
    let sluice = Sluice::start(&yaml).await;
    let in_the_key = ("service.name", "globex");
    let in_both = [in_the_key, ("tenant.id", "globex")];
    assert_eq!(post_as(&sluice, "acme", log(&[in_the_key], "in the key")).await.status, 200);
    assert_eq!(post_as(&sluice, "acme", log(&in_both, "in both")).await.status, 403);
    let body = request(&[entry(&in_both, "in both"), entry(&[in_the_key], "beside both")]);
    let (rejected, message) = partial(&post_as(&sluice, "acme", body).await);
    assert!(rejected == 1 && message.contains("`globex`"), "{message}");
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), 2.0);
    assert_eq!(arrived(&up), [as_of("beside both", "acme"), as_of("in the key", "acme")]);
    let page = sluice.api("/api/v1/streams").await;
    let of: Vec<_> =
        page["streams"].as_array().unwrap().iter().map(|one| (&one["tenant"], &one["key"])).collect();
    assert_eq!(of, [(&"acme".into(), &"globex".into())], "globex has no stream");
}

#[tokio::test]
async fn two_tenants_of_one_key_have_streams_of_their_own() {
    let up = sinks::recording().await;
    let yaml = config(&up, ROWS).replace("key: '{{ tenant.id }}'", "key: service.name");
    let sluice = Sluice::start(&yaml).await;
    for tenant in ["acme", "globex"] {
        assert_eq!(post_as(&sluice, tenant, log(&[("service.name", "shop")], tenant)).await.status, 200);
    }
    sluice.settled().await;
    assert_eq!(arrived(&up), [as_of("acme", "acme"), as_of("globex", "globex")]);
    let page = sluice.api("/api/v1/streams").await;
    let mut of: Vec<_> =
        page["streams"].as_array().unwrap().iter().map(|one| (&one["tenant"], &one["key"])).collect();
    of.sort_by_key(|(tenant, _)| tenant.to_string());
    let (shop, acme, globex) = (Value::from("shop"), Value::from("acme"), Value::from("globex"));
    assert_eq!(of, [(&acme, &shop), (&globex, &shop)]);
}

#[tokio::test]
async fn a_route_asks_by_which_receiver_an_entry_came() {
    let up = sinks::recording().await;
    let routes = "routes:\n\
        \x20 - { receivers: [otlp/inside], tenants: '*', key: 'inside-{{ tenant.id }}', exporters: [otlp_http/up] }\n\
        \x20 - { receivers: [otlp], tenants: [acme], key: 'outside-{{ tenant.id }}', exporters: [otlp_http/up] }\n";
    let yaml = config(&up, ROWS)
        .replace("routes: [{ tenants: '*', key: '{{ tenant.id }}', exporters: [otlp_http/up] }]\n", routes);
    let sluice = Sluice::start(&yaml).await;
    assert_eq!(post_as(&sluice, "acme", log(&[], "1")).await.status, 200);
    let (rejected, message) = partial(&post_as(&sluice, "globex", log(&[], "2")).await);
    assert_eq!(rejected, 1, "{message}");
    let to = sluice.router().addresses(Role::OtlpGrpc).await[0];
    let body = framed(0, &log(&[("tenant.id", "globex")], "3"));
    assert_eq!(call(to, export(Signal::Logs), &[], body).await.code(), Code::Ok);
    sluice.settled().await;
    assert_eq!(arrived(&up), [as_of("1", "acme"), as_of("3", "globex")]);
    let page = sluice.api("/api/v1/streams").await;
    let mut keys: Vec<_> =
        page["streams"].as_array().unwrap().iter().map(|one| one["key"].to_string()).collect();
    keys.sort();
    assert_eq!(keys, ["\"inside-globex\"", "\"outside-acme\""]);
}

/// A directory of rows, and the configuration that names it.
struct Rows(TempDir);

impl Rows {
    fn new(rows: &[(&str, &str)]) -> Self {
        let rows_of = Self(TempDir::new().unwrap());
        for (id, row) in rows {
            rows_of.write(id, row);
        }
        rows_of
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, id: &str, row: &str) {
        let next = self.path().join(format!(".{id}.next"));
        std::fs::write(&next, format!("{{ id: {id}, {row} }}\n")).unwrap();
        std::fs::rename(next, self.path().join(format!("{id}.yaml"))).unwrap();
    }

    fn section(&self) -> String {
        format!("  directory: '{}'\n", self.path().display())
    }

    /// A Sluice that sends to `up` and watches the rows.
    async fn start(&self, up: &Sink) -> Sluice {
        watching(&config(up, &self.section())).await
    }
}

async fn watching(yaml: &str) -> Sluice {
    let sluice = Sluice::start(yaml).await;
    tokio::spawn(run::watch_tenants(sluice.router().clone()));
    sluice
}

fn row(id: &str, rest: &str) -> String {
    format!("senders: [{{ name: web, token: {id}-in }}], {rest}")
}

/// Has a stream wait for an hour because its upstream answers so, and changes its row.
async fn is_tried_at_once_after(status: u16, state: &str) {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(status));
    let rows = Rows::new(&[("acme", &row("acme", "values: { token: expired }"))]);
    // What wakes it is the change, and not its own wait.
    let yaml = config(&up, &rows.section()).replace("initial_interval: 50ms", "initial_interval: 1h");
    let sluice = watching(&yaml).await;
    for text in ["1", "2", "3"] {
        assert_eq!(post_as(&sluice, "acme", log(&[], text)).await.status, 200);
    }
    eventually(state, async || {
        let page = sluice.api("/api/v1/streams").await;
        (page["streams"][0]["state"] == state).then_some(())
    })
    .await;
    up.clear_faults();
    rows.write("acme", &row("acme", "values: { token: acme-out }"));
    up.wait_for_records(3, PATIENCE).await.unwrap();
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3"]);
    assert_eq!(arrived(&up), [as_of("1", "acme"), as_of("2", "acme"), as_of("3", "acme")]);
}

#[tokio::test]
async fn a_changed_row_is_used_at_once_for_what_is_queued_behind_a_refused_credential() {
    is_tried_at_once_after(401, "held").await;
}

#[tokio::test]
async fn a_changed_row_is_used_at_once_for_what_waits_to_be_tried_again() {
    is_tried_at_once_after(503, "backing_off").await;
}

#[tokio::test]
async fn of_two_credentials_the_next_is_tried_when_one_is_refused_and_the_one_that_works_is_kept() {
    let up = sinks::recording().await;
    up.script([Fault::status(401)]);
    let rows = Rows::new(&[("acme", &row("acme", "values: { token: [acme-old, acme-out] }"))]);
    let sluice = rows.start(&up).await;
    for text in ["1", "2", "3"] {
        assert_eq!(post_as(&sluice, "acme", log(&[], text)).await.status, 200);
        sluice.settled().await;
    }
    assert_eq!(arrived(&up), [as_of("1", "acme"), as_of("2", "acme"), as_of("3", "acme")]);
    let refused = [("code", "401")];
    assert_eq!(
        sluice.metric("sluice_export_attempts_total", &refused).await,
        1.0,
        "the first was not tried again"
    );

    // Where none works the stream is held, and each is tried in its turn.
    up.set_fault(Fault::status(401));
    assert_eq!(post_as(&sluice, "acme", log(&[], "4")).await.status, 200);
    eventually("both are refused", async || {
        (sluice.metric("sluice_export_attempts_total", &refused).await >= 3.0).then_some(())
    })
    .await;
    up.clear_faults();
    rows.write("acme", &row("acme", "values: { token: acme-out }"));
    sluice.settled().await;
    assert_eq!(arrived(&up).last().unwrap(), &as_of("4", "acme"));
}

#[tokio::test]
async fn rows_of_a_list_that_only_move_to_other_lines_wake_no_stream_and_keep_the_credential_that_works() {
    let rows = |first: &str| {
        format!(
            "  list:\n{first}\
             \x20   - {{ id: acme, {} }}\n\
             \x20   - {{ id: globex, {} }}\n",
            row("acme", "values: { token: [acme-old, acme-out] }"),
            row("globex", "values: { token: globex-out }"),
        )
    };
    let up = sinks::recording().await;
    up.script([Fault::status(401)]);
    let with =
        |first: &str| config(&up, &rows(first)).replace("initial_interval: 50ms", "initial_interval: 1h");
    let sluice = Sluice::start(&with("")).await;
    assert_eq!(post_as(&sluice, "acme", log(&[], "1")).await.status, 200);
    up.wait_for_records(1, PATIENCE).await.unwrap();
    up.set_fault(Fault::status(401).on_text("held"));
    assert_eq!(post_as(&sluice, "globex", log(&[], "held")).await.status, 200);
    let refused = async || sluice.metric("sluice_export_attempts_total", &[("code", "401")]).await;
    eventually("globex is held", async || (refused().await == 2.0).then_some(())).await;

    sluice.reconfigure(&with("    # Of the week.\n    - { id: initech }\n")).await;
    let place = sluice.api("/api/v1/tenants/acme").await["place"].as_str().unwrap().to_owned();
    let line = place.rsplit(':').nth(1).unwrap().parse::<usize>().unwrap();
    let text = std::fs::read_to_string(sluice.config()).unwrap();
    assert!(
        text.lines().nth(line - 1).unwrap().contains("id: acme"),
        "it is listed by its new line: {place}"
    );
    for (text, records) in [("2", 2), ("3", 3)] {
        assert_eq!(post_as(&sluice, "acme", log(&[], text)).await.status, 200);
        up.wait_for_records(records, PATIENCE).await.unwrap();
    }
    assert_eq!(arrived(&up), [as_of("1", "acme"), as_of("2", "acme"), as_of("3", "acme")]);
    assert_eq!(refused().await, 2.0, "neither the old credential nor globex is tried again");
}

/// Senders of a tenant whose tokens change: each has a stream of its own, and shows the newest token.
struct RotatedSenders {
    /// The newest token, and the one that each sender shows just now.
    tokens: Mutex<(usize, [usize; Self::COUNT])>,
    done: AtomicBool,
}

impl RotatedSenders {
    const COUNT: usize = 4;

    fn new() -> Self {
        Self { tokens: Mutex::new((0, [0; Self::COUNT])), done: AtomicBool::new(false) }
    }

    /// Sends one record after the other until it is done; returns how many it has sent.
    async fn send(&self, sluice: &Sluice, sender: usize) -> usize {
        let stream = sender.to_string();
        for number in 0.. {
            if self.done.load(Ordering::Acquire) {
                return number;
            }
            let token = {
                let mut tokens = self.tokens.lock();
                tokens.1[sender] = tokens.0;
                tokens.0
            };
            let authorization = format!("Bearer in-{token}");
            let body = log(&[("service.name", &stream)], &format!("{sender} {number}"));
            let answer = sluice.post_with(Signal::Logs, body, &[("authorization", &authorization)]).await;
            assert_eq!(
                (answer.status, answer.partial(Signal::Logs)),
                (200, None),
                "record {number} of sender {sender} by token {token}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        unreachable!("there are numbers enough")
    }

    /// From now on they show this token, which is known.
    fn show(&self, token: usize) {
        self.tokens.lock().0 = token;
    }

    /// Waits until nobody shows a token older than this one, as whoever ends a token should.
    async fn have_left_all_before(&self, token: usize) {
        eventually("nobody shows an older token", async || {
            self.tokens.lock().1.iter().all(|shown| *shown >= token).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_tokens_of_a_tenant_change_a_hundred_times_in_ten_seconds_and_nothing_is_lost_refused_or_reordered()
 {
    const CHANGES: usize = 100;
    // The upstream takes the newest token alone, and tells what it took by which.
    let (newest, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let up = Scripted::new({
        let (newest, taken) = (newest.clone(), taken.clone());
        move |asked| {
            let token = newest.load(Ordering::SeqCst);
            if asked.headers["authorization"] != format!("Bearer out-{token}") {
                return Said::new(401, &[], "");
            }
            let texts = entries(&asked.body).into_iter().flat_map(|entry| texts(Signal::Logs, &entry));
            taken.lock().extend(texts.map(|text| (text, token)));
            Said::new(200, &[("content-type", "application/x-protobuf")], "")
        }
    })
    .await;
    let rows = Rows::new(&[]);
    // Three tokens of senders are good, and the upstream's next one is known before it counts.
    let write = |number: usize| {
        let senders: Vec<_> = (number.saturating_sub(2)..=number)
            .map(|number| format!("{{ name: web-{number}, token: in-{number} }}"))
            .collect();
        let next = number + 1;
        let row =
            format!("senders: [{}], values: {{ token: [out-{number}, out-{next}] }}", senders.join(", "));
        rows.write("acme", &row);
    };
    write(0);
    let yaml = config_to(&up.url(), &rows.section()).replace("key: '{{ tenant.id }}'", "key: service.name");
    let sluice = Arc::new(watching(&yaml).await);
    let senders = Arc::new(RotatedSenders::new());
    let sending: Vec<_> = (0..RotatedSenders::COUNT)
        .map(|sender| {
            let (sluice, senders) = (sluice.clone(), senders.clone());
            tokio::spawn(async move { senders.send(&sluice, sender).await })
        })
        .collect();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..=CHANGES {
        pace.tick().await;
        senders.have_left_all_before(number.saturating_sub(2)).await;
        newest.store(number, Ordering::SeqCst);
        write(number);
        let token = format!("in-{number}");
        eventually("the row is in use", async || {
            let found = matches!(
                sluice.router().tenants().table().by_token(token.as_bytes(), SystemTime::now()),
                SenderLookup::Sender { .. }
            );
            found.then_some(())
        })
        .await;
        senders.show(number);
    }
    senders.done.store(true, Ordering::Release);
    let mut sent = Vec::new();
    for sender in sending {
        sent.push(sender.await.unwrap());
    }
    let metrics = sluice.settled().await;
    let taken = std::mem::take(&mut *taken.lock());
    assert_eq!(taken.len(), sent.iter().sum::<usize>());
    for (sender, sent) in sent.into_iter().enumerate() {
        let own = format!("{sender} ");
        let arrived: Vec<_> = taken.iter().filter_map(|(text, _)| text.strip_prefix(&own)).collect();
        assert_eq!(arrived, (0..sent).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    let used: BTreeSet<_> = taken.iter().map(|(_, token)| token).collect();
    assert!(used.len() > CHANGES / 2, "{} outbound tokens were used for {} records", used.len(), taken.len());
    let refused = metrics.sum("sluice_export_attempts_total", &[("code", "401")]);
    assert!(refused >= 10.0, "tokens that had ended were shown {refused} times");
}

#[tokio::test]
async fn a_row_without_what_the_exporter_reads_holds_its_stream_and_no_other() {
    let up = sinks::recording().await;
    let rows = Rows::new(&[
        ("acme", &row("acme", "values: { dataset: prod }")),
        ("globex", &row("globex", "values: { token: globex-out }")),
        ("evil", &row("evil", "values: { token: \"a\\r\\nX-Injected: b\" }")),
    ]);
    let sluice = rows.start(&up).await;
    for tenant in ["acme", "evil", "globex"] {
        assert_eq!(post_as(&sluice, tenant, log(&[], tenant)).await.status, 200, "{tenant}");
    }
    up.records(1).await;
    assert_eq!(arrived(&up), [as_of("globex", "globex")]);
    let errors = eventually("both are held", async || {
        let page = sluice.api("/api/v1/streams").await;
        let errors: Vec<_> = page["streams"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|stream| stream["state"] == "held")
            .map(|stream| stream["last_error"]["message"].to_string())
            .collect();
        (errors.len() == 2).then_some(errors)
    })
    .await;
    assert!(errors.iter().any(|error| error.contains("the tenant's row has no value `token`")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("only printable ASCII")), "{errors:?}");
    rows.write("acme", &row("acme", "values: { token: acme-out }"));
    rows.write("evil", &row("evil", "values: { token: evil-out }"));
    sluice.settled().await;
    assert_eq!(arrived(&up), [as_of("acme", "acme"), as_of("evil", "evil"), as_of("globex", "globex")]);
}

#[tokio::test]
async fn what_is_held_of_a_tenant_stays_held_when_its_row_is_gone_and_what_is_not_is_delivered_if_it_can_be()
{
    let up = sinks::recording().await;
    let rows = Rows::new(&[("acme", &row("acme", "hold: true"))]);
    let yaml = config(&up, &rows.section()).replace("Bearer {{ tenant.token }}", "Bearer of-all");
    let sluice = watching(&yaml).await;
    let is_held = async |why: &str| {
        eventually(&format!("it is held: {why}"), async || {
            let page = sluice.api("/api/v1/streams").await;
            let stream = &page["streams"][0];
            let said = stream["last_error"]["message"].as_str().unwrap_or_default();
            (stream["state"] == "held" && said.contains(why)).then_some(())
        })
        .await;
    };
    assert_eq!(post_as(&sluice, "acme", log(&[], "one")).await.status, 200);
    is_held("").await;
    std::fs::remove_file(rows.path().join("acme.yaml")).unwrap();
    is_held("the table has no row of this tenant, and the last one said `hold: true`").await;
    rows.write("acme", &row("acme", "hold: true, platform: node"));
    is_held("").await;
    assert_eq!(up.texts(Signal::Logs), Vec::<String>::new());
    rows.write("acme", &row("acme", "platform: node"));
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["one"]);

    up.set_fault(Fault::status(503));
    assert_eq!(post_as(&sluice, "acme", log(&[], "two")).await.status, 200);
    std::fs::remove_file(rows.path().join("acme.yaml")).unwrap();
    eventually("the row is gone", async || {
        (post_as(&sluice, "acme", log(&[], "three")).await.status == 401).then_some(())
    })
    .await;
    up.set_fault(Fault::none());
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs)[..2], ["one", "two"]);
}

#[tokio::test]
async fn a_body_that_comes_after_its_tenant_was_replaced_by_another_of_its_id_is_not_that_ones() {
    let up = sinks::recording().await;
    let rows = Rows::new(&[("acme", &row("acme", "values: { token: first }"))]);
    let sluice = rows.start(&up).await;
    let body = log(&[], "slow");
    let length = format!("content-length: {}", body.len());
    let head = ["authorization: Bearer acme-in", "content-type: application/x-protobuf", &length];
    let mut slow = Wire::open(sluice.otlp).await;
    slow.write(wire::head("POST /v1/logs", &head)).await;
    slow.write(&body[..5]).await;
    rows.write("acme", "senders: [{ name: web, token: another }], values: { token: second }");
    eventually("the row is another one", async || {
        (post_as(&sluice, "acme", log(&[], "early")).await.status == 401).then_some(())
    })
    .await;
    slow.write(&body[5..]).await;
    let answer = slow.answer().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("has changed while the request came"), "{}", answer.text());
    sluice.settled().await;
    assert!(!up.texts(Signal::Logs).contains(&"slow".to_owned()));
}

#[tokio::test]
async fn what_is_held_of_a_tenant_stays_held_over_restarts_with_its_row_and_without() {
    const STREAMS: usize = 40;
    let up = sinks::recording().await;
    let rows = Rows::new(&[("acme", &row("acme", "hold: true"))]);
    let kept = TempDir::new().unwrap();
    // The exporter reads nothing of the row, so that nothing but the hold keeps it from sending.
    let yaml = config(&up, &rows.section())
        .replace("Bearer {{ tenant.token }}", "Bearer of-all")
        .replace("key: '{{ tenant.id }}'", "key: service.name")
        + &format!("journal: {{ directory: '{}/journal' }}\n", kept.path().display())
        + "admin: { endpoint: 127.0.0.1:0, write_token: writer }\nshutdown_timeout: 0s\n";
    let all_held = async |sluice: &SluiceProcess, sent: usize| {
        eventually("all its streams are held", async || {
            let page = sluice.api("/api/v1/streams").await;
            let streams = page["streams"].as_array().unwrap();
            (streams.len() == sent && streams.iter().all(|stream| stream["state"] == "held")).then_some(())
        })
        .await;
        assert_eq!(up.texts(Signal::Logs), Vec::<String>::new());
    };
    let mut first = SluiceProcess::start(&yaml, &[]).await;
    for stream in 0..STREAMS {
        let body = log(&[("service.name", &stream.to_string())], "held");
        let answer = first.post_with(Signal::Logs, body, &[("authorization", "Bearer acme-in")]).await;
        assert_eq!(answer.status, 200);
    }
    all_held(&first, STREAMS).await;
    first.kill().await;
    let mut second = SluiceProcess::start(&yaml, &[]).await;
    all_held(&second, STREAMS).await;
    second.kill().await;
    std::fs::remove_file(rows.path().join("acme.yaml")).unwrap();
    let third = SluiceProcess::start(&yaml, &[]).await;
    all_held(&third, STREAMS).await;
    let delete = "/api/v1/tenants/acme?pending=dead_letter";
    let headers = [("authorization", "Bearer writer")];
    let answer = http::send(third.admin, "DELETE", delete, &headers, bytes::Bytes::new()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let dead = [("outcome", "dead_lettered")];
    assert_eq!(third.metric("sluice_exported_records_total", &dead).await, STREAMS as f64);
    assert_eq!(up.texts(Signal::Logs), Vec::<String>::new());
}

#[tokio::test]
async fn a_tenant_that_is_held_is_taken_on_and_waits_and_one_that_is_paused_is_refused_and_drains() {
    let up = sinks::recording().await;
    let token = |id: &str| format!("values: {{ token: {id}-out }}");
    let rows = Rows::new(&[
        ("acme", &row("acme", &format!("{}, hold: true", token("acme")))),
        ("globex", &row("globex", &token("globex"))),
    ]);
    let sluice = rows.start(&up).await;
    assert_eq!(post_as(&sluice, "acme", log(&[], "held")).await.status, 200);
    assert_eq!(post_as(&sluice, "globex", log(&[], "1")).await.status, 200);
    up.records(1).await;
    eventually("it is shown as held", async || {
        let page = sluice.api("/api/v1/streams").await;
        let streams = page["streams"].as_array().unwrap();
        streams.iter().any(|stream| stream["tenant"] == "acme" && stream["state"] == "held").then_some(())
    })
    .await;

    up.set_fault(Fault::status(503));
    assert_eq!(post_as(&sluice, "globex", log(&[], "2")).await.status, 200);
    rows.write("globex", &row("globex", &format!("{}, paused: true", token("globex"))));
    let refused = eventually("it is paused", async || {
        let answer = post_as(&sluice, "globex", log(&[], "3")).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let to = sluice.router().addresses(Role::OtlpGrpc).await[0];
    let body = framed(0, &log(&[("tenant.id", "globex")], "4"));
    let reply = call(to, export(Signal::Logs), &[], body).await;
    assert_eq!(
        (reply.code(), reply.retry_delay().is_some()),
        (Code::Unavailable, true),
        "who is known by its resource as well"
    );
    up.clear_faults();
    rows.write("acme", &row("acme", &token("acme")));
    eventually("what is queued is delivered", async || {
        (arrived(&up).iter().filter(|one| one.2 == "acme").count() == 1).then_some(())
    })
    .await;
    eventually("of both", async || arrived(&up).contains(&as_of("2", "globex")).then_some(())).await;
}

#[tokio::test]
async fn a_row_can_name_exporters_in_place_of_its_routes() {
    let (up, eu) = (sinks::recording().await, sinks::recording().await);
    let rows = "  list:\n\
        \x20   - { id: acme, senders: [{ name: web, token: acme-in }], values: { token: acme-out }, exporters: [otlp_http/eu] }\n\
        \x20   - { id: globex, senders: [{ name: web, token: globex-in }], values: { token: globex-out } }\n";
    let yaml = config(&up, rows).replace(
        "routes:",
        &format!("  otlp_http/eu: {{ endpoint: {}, compression: none, headers: {{ X-Eu: '{{{{ tenant.token }}}}' }} }}\nroutes:", eu.url()),
    );
    let sluice = Sluice::start(&yaml).await;
    for tenant in ["acme", "globex"] {
        assert_eq!(post_as(&sluice, tenant, log(&[], tenant)).await.status, 200);
    }
    sluice.settled().await;
    assert_eq!(
        (up.texts(Signal::Logs), eu.texts(Signal::Logs)),
        (vec!["globex".to_owned()], vec!["acme".to_owned()])
    );
    assert_eq!(eu.taken()[0].headers["x-eu"], "acme-out");
}

#[tokio::test]
async fn a_row_that_never_was_any_good_is_tried_again_by_its_senders_and_costs_no_other() {
    let up = sinks::recording().await;
    let rows = Rows::new(&[
        ("acme", "senders: [{ name: web, token: acme-in }], values: { token: '${file:/nowhere/at/all}' }"),
        ("globex", &row("globex", "values: { token: globex-out }")),
    ]);
    let sluice = rows.start(&up).await;
    assert_eq!(post_as(&sluice, "acme", log(&[], "early")).await.status, 503);
    assert_eq!(post_as(&sluice, "globex", log(&[], "1")).await.status, 200);
    let to = sluice.router().addresses(Role::OtlpGrpc).await[0];
    let both =
        request(&[entry(&[("tenant.id", "acme")], "early"), entry(&[("tenant.id", "globex")], "never")]);
    assert_eq!(call(to, export(Signal::Logs), &[], framed(0, &both)).await.code(), Code::Unavailable);
    rows.write("acme", &row("acme", "values: { token: acme-out }"));
    eventually("its senders are taken on", async || {
        (post_as(&sluice, "acme", log(&[], "2")).await.status == 200).then_some(())
    })
    .await;
    sluice.settled().await;
    assert_eq!(arrived(&up), [as_of("1", "globex"), as_of("2", "acme")]);
}

#[tokio::test]
async fn values_of_rows_change_nothing_around_them_wherever_they_stand() {
    let up = sinks::recording().await;
    let rows = Rows::new(&[("acme", &row("acme", "values: { part: x }"))]);
    let yaml = config(&up, &rows.section())
        .replace(
            &format!("endpoint: {}\n", up.url()),
            &format!(
                "logs_endpoint: '{}/in/{{{{ tenant.part }}}}/v1/logs?q={{{{ tenant.part }}}}'\n",
                up.url()
            ),
        )
        .replace("routes: [{ tenants", "routes: [{ signals: [logs], tenants")
        .replace("Bearer {{ tenant.token }}", "Bearer x");
    let sluice = watching(&yaml).await;
    let long = "a".repeat(8192);
    for (value, path) in [
        ("a\\r\\nHost: b", "/in/a%0D%0AHost%3A%20b/v1/logs?q=a%0D%0AHost%3A%20b"),
        ("a\\0b", "/in/a%00b/v1/logs?q=a%00b"),
        ("a/../b", "/in/a%2F..%2Fb/v1/logs?q=a%2F..%2Fb"),
        ("a?b=c&d", "/in/a%3Fb%3Dc%26d/v1/logs?q=a%3Fb%3Dc%26d"),
        ("a#b", "/in/a%23b/v1/logs?q=a%23b"),
        ("%2e%2e", "/in/%252e%252e/v1/logs?q=%252e%252e"),
        ("user@host", "/in/user%40host/v1/logs?q=user%40host"),
        ("．．", "/in/%EF%BC%8E%EF%BC%8E/v1/logs?q=%EF%BC%8E%EF%BC%8E"),
        (&long, &format!("/in/{long}/v1/logs?q={long}")),
    ] {
        rows.write("acme", &row("acme", &format!("values: {{ part: \"{value}\" }}")));
        eventually("the row is in use", async || {
            assert_eq!(post_as(&sluice, "acme", log(&[], "x")).await.status, 200, "{value}");
            sluice.settled().await;
            (up.taken().last().unwrap().path == *path).then_some(())
        })
        .await;
    }
    let good = row("acme", "values: { part: good }");
    for value in ["..", "."] {
        rows.write("acme", &row("acme", &format!("values: {{ part: \"{value}\" }}")));
        eventually("it is held", async || {
            post_as(&sluice, "acme", log(&[], "y")).await;
            let stream = sluice.api("/api/v1/streams").await["streams"][0].clone();
            (stream["state"] == "held" && stream["last_error"]["code"] == "no_destination").then_some(())
        })
        .await;
        // So that the next one is held for its own sake.
        rows.write("acme", &good);
        sluice.settled().await;
        assert_eq!(up.taken().last().unwrap().path, "/in/good/v1/logs?q=good");
    }
    let paths: BTreeSet<_> = up.taken().into_iter().map(|taken| taken.path).collect();
    assert!(paths.iter().all(|path| !path.contains("/../") && !path.contains("/./")), "{paths:?}");
}

#[tokio::test]
async fn values_in_the_routing_key_change_nothing_around_them_wherever_they_stand() {
    let up = sinks::recording().await;
    let yaml = config(&up, ROWS)
        .replace(
            "exporters:\n  otlp_http/up:\n",
            &format!(
                "exporters:\n\
                 \x20 otlp_http/path:\n\
                 \x20   endpoint: '{}/in/{{{{ key }}}}'\n\
                 \x20   headers: {{ Authorization: 'Bearer {{{{ tenant.token }}}}', X-Tenant: '{{{{ tenant.id }}}}' }}\n\
                 \x20 otlp_http/up:\n",
                up.url()
            ),
        )
        .replace("X-Tenant: '{{ tenant.id }}' }\n    retry", "X-Tenant: '{{ tenant.id }}', X-Key: '{{ key }}' }\n    retry")
        .replace(
            "routes: [{ tenants: '*', key: '{{ tenant.id }}', exporters: [otlp_http/up] }]",
            "routes: [{ signals: [logs], key: service.name, exporters: [otlp_http/path] }, { key: service.name, exporters: [otlp_http/up] }]",
        );
    let sluice = Sluice::start(&yaml).await;
    let (longest, too_long) = ("a".repeat(512), "a".repeat(8192));
    // What stands in the path, and whether a header takes it.
    let values = [
        ("globex", Some("globex"), true),
        ("acme/../globex", Some("acme%2F..%2Fglobex"), true),
        ("..", None, true),
        (".", None, true),
        ("a@b", Some("a%40b"), true),
        ("a#b", Some("a%23b"), true),
        ("a?b=c&d", Some("a%3Fb%3Dc%26d"), true),
        ("%2e%2e", Some("%252e%252e"), true),
        ("．．", Some("%EF%BC%8E%EF%BC%8E"), false),
        ("ü", Some("%C3%BC"), false),
        (" a", Some("%20a"), false),
        ("{{ tenant.token }}", Some("%7B%7B%20tenant.token%20%7D%7D"), true),
        (&longest, Some(&longest), true),
        // No keys at all.
        ("a\r\nX-Injected: b", None, false),
        ("a\0b", None, false),
        (&too_long, None, false),
    ];
    for (value, path, header) in values {
        let named = [("service.name", value)];
        for (signal, is_taken) in [(Signal::Logs, path.is_some()), (Signal::Traces, header)] {
            let body = request(&[entry_of(signal, resource(&named), &["x"])]);
            let answer = sluice.post_with(signal, body, &[("authorization", "Bearer acme-in")]).await;
            assert_eq!(
                (answer.status, answer.partial(signal).is_none()),
                (200, is_taken),
                "{value:?}: {answer:?}"
            );
        }
    }
    sluice.settled().await;
    let taken = up.taken();
    assert!(taken.iter().all(|taken| taken.headers["authorization"] == "Bearer acme-out"));
    assert!(
        taken
            .iter()
            .all(|taken| taken.headers["x-tenant"] == "acme" && !taken.headers.contains_key("x-injected"))
    );
    let paths: BTreeSet<_> = taken.iter().filter_map(|taken| taken.path.strip_prefix("/in/")).collect();
    let expected: Vec<_> =
        values.iter().filter_map(|(_, path, _)| path.map(|path| format!("{path}/v1/logs"))).collect();
    assert_eq!(paths, expected.iter().map(String::as_str).collect());
    let keys: BTreeSet<_> = taken
        .iter()
        .filter_map(|taken| taken.headers.get("x-key"))
        .map(|key| key.to_str().unwrap())
        .collect();
    assert_eq!(keys, values.iter().filter(|(.., header)| *header).map(|(value, ..)| *value).collect());
}

#[tokio::test]
async fn a_key_made_of_the_row_is_another_from_the_next_request_on_and_is_rejected_where_the_row_has_no_value()
 {
    let up = sinks::recording().await;
    let rows = Rows::new(&[
        ("acme", &row("acme", "values: { token: acme-out, zone: eu }")),
        ("globex", &row("globex", "values: { token: globex-out }")),
    ]);
    let yaml = config(&up, &rows.section())
        .replace(
            "key: '{{ tenant.id }}'",
            "key: { zone: '{{ tenant.zone | upper }}', service: service.name }",
        )
        .replace("X-Tenant: '{{ tenant.id }}'", "X-Tenant: '{{ tenant.id }}', X-Zone: '{{ key.zone }}'");
    let sluice = watching(&yaml).await;
    let body = |text: &str| log(&[("service.name", "shop")], text);
    let keys = async || {
        let streams = sluice.api("/api/v1/streams").await["streams"].clone();
        let keys =
            streams.as_array().unwrap().iter().map(|stream| stream["key"].as_str().unwrap().to_owned());
        keys.collect::<BTreeSet<_>>()
    };
    assert_eq!(post_as(&sluice, "acme", body("1")).await.partial(Signal::Logs), None);
    assert_eq!(keys().await, BTreeSet::from(["EU/shop".to_owned()]));

    let refused = partial(&post_as(&sluice, "globex", body("2")).await);
    assert_eq!(refused.0, 1);
    assert!(refused.1.contains("the values `zone` of the tenant's row"), "{}", refused.1);

    rows.write("acme", &row("acme", "values: { token: acme-out, zone: us }"));
    rows.write("globex", &row("globex", "values: { token: globex-out, zone: asia }"));
    eventually("the changed rows are in use", async || {
        assert_eq!(post_as(&sluice, "acme", body("3")).await.partial(Signal::Logs), None);
        let of_globex = post_as(&sluice, "globex", body("3")).await;
        (of_globex.partial(Signal::Logs).is_none() && keys().await.contains("US/shop")).then_some(())
    })
    .await;
    sluice.settled().await;
    assert_eq!(keys().await, ["EU/shop", "US/shop", "ASIA/shop"].map(ToOwned::to_owned).into());
    for taken in up.taken() {
        let header = |name: &str| taken.headers[name].to_str().unwrap().to_owned();
        let zones: &[&str] = if header("x-tenant") == "acme" { &["EU", "US"] } else { &["ASIA"] };
        assert!(zones.contains(&&*header("x-zone")), "{taken:?}");
    }
}

#[tokio::test]
async fn calls_of_grpc_go_where_the_row_says_with_its_credential_and_the_next_one_where_that_is_refused() {
    let up = GrpcUpstream::new(|call| {
        let of = |name| call.metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if of("authorization") == format!("Bearer {}-out", of("x-tenant")) {
            Reply::Take
        } else {
            Reply::Refuse(tonic::Status::unauthenticated("it has ended"))
        }
    });
    let (host, port) = (up.address.ip().to_string(), up.address.port());
    let values = |id: &str, host: &str, tokens: &str| {
        row(id, &format!("values: {{ host: \"{host}\", port: {port}, token: {tokens} }}"))
    };
    let rows = Rows::new(&[
        ("acme", &values("acme", &host, "[acme-old, acme-out]")),
        ("globex", &values("globex", &host, "globex-out")),
    ]);
    let yaml = config_to("'http://{{ tenant.host }}:{{ tenant.port }}'", &rows.section())
        .replace("otlp_http/up", "otlp_grpc/up");
    let sluice = watching(&yaml).await;
    for text in ["1", "2", "3"] {
        for tenant in ["acme", "globex"] {
            assert_eq!(post_as(&sluice, tenant, log(&[], &format!("{tenant} {text}"))).await.status, 200);
            sluice.settled().await;
        }
    }
    // What can stand neither in metadata nor in an address is not sent, and what is queued goes by the row that comes next.
    for (host, tokens) in [
        (&*host, "\"a\\r\\nx-tenant: globex\""),
        (&*host, "\"a\\0\""),
        (&*host, "\"ü\""),
        ("user@evil.example", "acme-out"),
        ("evil.example#", "acme-out"),
        ("%2e%2e", "acme-out"),
    ] {
        rows.write("acme", &values("acme", host, tokens));
        eventually("it is held", async || {
            assert_eq!(post_as(&sluice, "acme", log(&[], "acme")).await.status, 200);
            let page = sluice.api("/api/v1/streams?tenant=acme").await;
            let stream = &page["streams"][0];
            (stream["state"] == "held" && stream["last_error"]["code"] == "no_destination").then_some(())
        })
        .await;
        rows.write("acme", &values("acme", &up.address.ip().to_string(), "acme-out"));
        sluice.settled().await;
    }
    let calls = up.calls();
    let refused: Vec<_> = calls.iter().filter(|call| !call.taken).collect();
    assert_eq!(refused.len(), 1, "the credential that was taken is kept: {refused:?}");
    assert_eq!(refused[0].metadata.get("authorization").unwrap(), "Bearer acme-old");
    for tenant in ["acme", "globex"] {
        let of_tenant =
            calls.iter().filter(|call| call.taken && call.metadata.get("x-tenant").unwrap() == tenant);
        let texts: Vec<_> = of_tenant.flat_map(|call| &call.texts).collect();
        assert!(texts.iter().all(|text| text.starts_with(tenant)), "{texts:?}");
        assert_eq!(texts[..3], [1, 2, 3].map(|number| format!("{tenant} {number}")).each_ref());
    }
}

#[tokio::test]
async fn of_ten_thousand_tenants_with_a_token_and_a_host_each_everything_goes_under_its_own_and_in_order() {
    const TENANTS: usize = 10_000;
    const ROUNDS: usize = 3;
    const ENTRIES: usize = 50;
    let id = |number: usize| format!("t{number:05}");
    let rows = TempDir::new().unwrap();
    for number in 0..TENANTS {
        let id = id(number);
        let row = format!("{{ id: {id}, values: {{ host: {id}.example, token: {id}-out }} }}\n");
        std::fs::write(rows.path().join(format!("{id}.yaml")), row).unwrap();
    }
    let gateway = "{ id: gateway, senders: [{ name: all, token: gateway-in, may_send_for: ['t*'] }], values: { host: g.example, token: gateway-out } }\n";
    std::fs::write(rows.path().join("gateway.yaml"), gateway).unwrap();

    // Every host is reached through one proxy, which is told for whom it is asked.
    let up = sinks::recording().await;
    let section = format!("  directory: '{}'\n", rows.path().display());
    let yaml = config(&up, &section).replace(
        &format!("endpoint: {}", up.url()),
        &format!(
            "endpoint: 'http://{{{{ tenant.host }}}}'\n    proxy_url: {}\n    idle_conn_timeout: 100ms",
            up.url()
        ),
    );
    let sluice = Sluice::start(&yaml).await;
    for round in 0..ROUNDS {
        for first in (0..TENANTS).step_by(ENTRIES) {
            // Neighbours in a request differ from round to round.
            let entries: Vec<_> = (first..first + ENTRIES)
                .map(|number| id(number * (7 + 2 * round) % TENANTS))
                .map(|id| entry(&[("tenant.id", &id)], &format!("{id} {round}")))
                .collect();
            let answer = post_as(&sluice, "gateway", request(&entries)).await;
            assert_eq!((answer.status, answer.partial(Signal::Logs)), (200, None));
        }
    }
    sluice.settled().await;

    let mut next = HashMap::new();
    for taken in up.taken() {
        let header = |name: &str| taken.headers[name].to_str().unwrap();
        let tenant = header("x-tenant");
        assert_eq!(header("authorization"), format!("Bearer {tenant}-out"));
        assert_eq!(header("host"), format!("{tenant}.example"));
        for text in entries(&taken.body).iter().flat_map(|entry| texts(Signal::Logs, entry)) {
            let round = next.entry(tenant.to_owned()).or_insert(0);
            assert_eq!(text, format!("{tenant} {round}"), "its own, and in order");
            *round += 1;
        }
    }
    assert_eq!(next.len(), TENANTS);
    assert!(next.values().all(|rounds| *rounds == ROUNDS), "everything has arrived");
}

#[tokio::test]
async fn a_tenant_that_sends_nothing_now_takes_less_than_one_and_a_half_kibibytes_whether_it_has_sent_or_not()
{
    const TENANTS: u64 = 20_000;
    // A thousand tenants that have sent have a history of 3 KiB each, however many there are.
    const HISTORIES: u64 = 1_000 * (3 << 10);
    // A stream is gone a minute after its last entry, and what is idle is looked for every fifteen seconds.
    const UNTIL_IDLE: Duration = Duration::from_secs(92);
    let token = |number: u64| format!("token-of-sender-{number}");
    // Before anything is sent, and after one request of each tenant of which so many send, once they are idle again.
    let resident = async |tenants: u64| {
        let rows = TempDir::new().unwrap();
        for number in 0..tenants {
            let row = format!(
                "{{ id: t{number}, platform: node, senders: [{{ name: web, token: {} }}], \
                 values: {{ host: t{number}.upstream.example, token: token-of-the-tenant-{number} }}, limits: {{ rate: 10MiB/s }} }}\n",
                token(number)
            );
            std::fs::write(rows.path().join(format!("t{number}.yaml")), row).unwrap();
        }
        let table = format!("tenants: {{ directory: '{}' }}\n", rows.path().display());
        let yaml = format!(
            "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0{} }} }} }} }}\n\
             exporters: {{ debug: {{}} }}\n\
             routes: [{{ key: tenant.id, exporters: [debug] }}]\n{}",
            if tenants > 0 { ", auth: { authenticator: tenants }" } else { "" },
            if tenants > 0 { table } else { String::new() },
        );
        let sluice = SluiceProcess::start(&yaml, &[]).await;
        let before = least_resident(&sluice).await;
        if tenants == 0 {
            // Their streams are nobody's, so that one request may have many.
            for first in (0..TENANTS).step_by(500) {
                let entries: Vec<_> = (first..first + 500)
                    .map(|number| entry(&[("tenant.id", &format!("t{number}"))], "hello"))
                    .collect();
                sluice.accept(Signal::Logs, request(&entries)).await;
            }
        }
        let mut wire = Wire::open(sluice.otlp).await;
        for number in 0..tenants {
            let body = log(&[("tenant.id", &format!("t{number}"))], "hello");
            let length = format!("content-length: {}", body.len());
            let authorization = format!("authorization: Bearer {}", token(number));
            let headers = ["content-type: application/x-protobuf", &length, &authorization];
            // In one piece: the other side delays its acknowledgement of a head that comes alone.
            wire.write([wire::head("POST /v1/logs", &headers).into_bytes(), body].concat()).await;
            let answer = wire.answer().await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        tokio::time::sleep(UNTIL_IDLE).await;
        assert_eq!(sluice.metric("sluice_streams", &[]).await, 0.0);
        (before, least_resident(&sluice).await)
    };
    let (without, with) = tokio::join!(resident(0), resident(TENANTS));
    let sent_nothing = with.0.saturating_sub(without.0) / TENANTS;
    let has_sent = with.1.saturating_sub(without.1 + HISTORIES) / TENANTS;
    println!("{sent_nothing} bytes for each tenant that has sent nothing, {has_sent} for each that has");
    assert!(sent_nothing < 1536 && has_sent < 1536, "{sent_nothing} and {has_sent} bytes for each tenant");
}

/// The least memory that it has within some seconds: what it has used for a while is given back later.
async fn least_resident(sluice: &SluiceProcess) -> u64 {
    let mut least = sluice.resident_bytes();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        least = least.min(sluice.resident_bytes());
    }
    least
}

#[tokio::test]
async fn a_row_that_gives_no_host_port_or_header_holds_its_stream_and_nothing_goes_elsewhere() {
    let up = sinks::recording().await;
    let address = up.url().trim_start_matches("http://").to_owned();
    let (host, port) = address.split_once(':').unwrap();
    let values = |host: &str, port: &str, name: &str| {
        row("acme", &format!("values: {{ host: \"{host}\", port: \"{port}\", name: \"{name}\" }}"))
    };
    let good = values(host, port, "fine");
    let rows = Rows::new(&[("acme", &good)]);
    let yaml = config(&up, &rows.section())
        .replace(
            &format!("endpoint: {}\n", up.url()),
            "endpoint: 'http://{{ tenant.host }}:{{ tenant.port }}'\n",
        )
        .replace("Bearer {{ tenant.token }}", "Bearer {{ tenant.name }}");
    let sluice = watching(&yaml).await;
    let stream = async || sluice.api("/api/v1/streams").await["streams"][0].clone();
    let mut sent = 0;
    let long = "a".repeat(8192);
    let hosts = [
        "a\\r\\nHost: b",
        "a\\0",
        "bücher.example",
        "user@evil.example",
        "evil.example#",
        "evil.example?",
        "a/..",
        "%2e%2e",
        "１２７.0.0.1",
        "．．",
        "a b",
        "",
        "[::1",
        "evil.example:80",
        "evil.example\\\\",
        &long,
    ]
    .map(|host| values(host, port, "fine"));
    let ports = [
        "99999",
        "65536",
        "0",
        "",
        "x",
        "-1",
        "4318/x",
        "80@evil.example",
        "80#",
        "８０",
        "80\\r\\nHost: b",
        "80\\0",
        &"1".repeat(8192),
    ]
    .map(|port| values(host, port, "fine"));
    let names = ["a\\r\\nX-Injected: b", "a\\nb", "a\\0b", "ü", "．．", " a", "a ", "\\t"]
        .map(|name| values(host, port, name));
    for bad in hosts.iter().chain(&ports).chain(&names) {
        rows.write("acme", bad);
        // Until the row is in use, it is sent by the one before.
        eventually("it is held", async || {
            assert_eq!(post_as(&sluice, "acme", log(&[], &sent.to_string())).await.status, 200);
            sent += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let stream = stream().await;
            (stream["state"] == "held" && stream["last_error"]["code"] == "no_destination").then_some(())
        })
        .await;
        rows.write("acme", &good);
        sluice.settled().await;
    }
    for value in ["..", "a@b#c?d%2e", &long] {
        rows.write("acme", &values(host, port, value));
        eventually("it is sent as it is", async || {
            assert_eq!(post_as(&sluice, "acme", log(&[], &sent.to_string())).await.status, 200);
            sent += 1;
            sluice.settled().await;
            (up.taken().last().unwrap().headers["authorization"] == format!("Bearer {value}")).then_some(())
        })
        .await;
    }
    let expected: Vec<_> = (0..sent).map(|number| number.to_string()).collect();
    assert_eq!(up.texts(Signal::Logs), expected, "all of it, and in order");
    assert!(up.taken().iter().all(|taken| !taken.headers.contains_key("x-injected")));
}

#[tokio::test]
async fn a_stamp_does_not_stand_in_for_an_attribute_that_counts_before_it() {
    let (up, sluice) = start("  attribute: [customer, tenant.id, owner]\n  stamp: tenant.id\n").await;
    for (attribute, status) in [("customer", 403), ("tenant.id", 200), ("owner", 200)] {
        let answer = post_as(&sluice, "acme", log(&[(attribute, "globex")], attribute)).await;
        assert_eq!(answer.status, status, "{attribute}");
    }
    let (rejected, _) = partial(
        &post_as(
            &sluice,
            "acme",
            request(&[
                entry(&[("tenant.id", "acme"), ("customer", "globex")], "stolen"),
                entry(&[("tenant.id", "globex"), ("customer", "acme")], "mine"),
            ]),
        )
        .await,
    );
    assert_eq!(rejected, 1);
    sluice.settled().await;
    assert_eq!(arrived(&up), [as_of("mine", "acme"), as_of("owner", "acme"), as_of("tenant.id", "acme")]);
}
