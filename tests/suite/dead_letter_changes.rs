//! Dead letters replayed and deleted by the API: what is sent and in which order, what stays, and what becomes of it when the replay
//! is broken off.

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;
use tokio::task::JoinHandle;

use crate::support::http::{self, Answer};
use crate::support::letters::{letters, replay, replaying};
use crate::support::payload::{entry_of, filler, logs, request, resource};
use crate::support::router::write_config;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Front, Site, Sluice, SluiceProcess, eventually};

const UP: &str = "otlp_http/up";
const WRITER: &str = "0123456789abcdef-writer";
const ADMIN: &str = "admin: { endpoint: 127.0.0.1:0, write_token: 0123456789abcdef-writer }\n";
const SITE_ADMIN: &str = "admin: { endpoint: '@ADMIN@', write_token: 0123456789abcdef-writer }\n";

/// One exporter with these options, with dead letters, and with somebody who may replay them.
fn config(up: &Sink, options: &[&str], rest: &str) -> String {
    yaml::up(&up.url(), options) + LETTERS + ADMIN + rest
}

async fn ask(front: &Front, action: &str, body: &Value, token: Option<&str>) -> Answer {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
    let path = format!("/api/v1/dead-letters/{action}");
    http::send(front.admin, "POST", &path, &headers, body.to_string().into()).await
}

/// Replays or deletes, which has to be possible.
async fn change(front: &Front, action: &str, body: Value) -> Value {
    let answer = ask(front, action, &body, Some(WRITER)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// Has another configuration be in use.
async fn reconfigure(sluice: &Sluice, yaml: &str) {
    write_config(sluice.directory(), yaml);
    sluice.router().reload().await.unwrap();
}

fn all() -> Value {
    json!({ "all": true })
}

/// Letters of the streams a and b, whose upstream is well again.
async fn two_streams_of_letters(options: &[&str], rest: &str) -> (Sink, Sluice) {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(406));
    let options = [options, &[SINGLY]].concat();
    let sluice = Sluice::start(&config(&up, &options, rest)).await;
    for number in 1..=5 {
        for stream in ["a", "b"] {
            sluice.accept(Signal::Logs, logs(&[(stream, &[&format!("{stream}{number}")])])).await;
        }
    }
    assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 10.0);
    up.clear_faults();
    (up, sluice)
}

fn left(sluice: &Sluice) -> usize {
    letters(&sluice.directory().join("letters")).len()
}

/// What an upstream got of a stream, in order.
fn of_stream(up: &Sink, stream: &str) -> Vec<String> {
    up.texts(Signal::Logs).into_iter().filter(|text| text.starts_with(stream)).collect()
}

fn numbered(stream: &str) -> Vec<String> {
    (1..=5).map(|number| format!("{stream}{number}")).collect()
}

#[tokio::test]
async fn letters_go_through_their_streams_in_order_and_their_files_go_once_they_are_delivered() {
    let (up, sluice) = two_streams_of_letters(&[QUICK], "").await;
    let answer = change(&sluice, "replay", all()).await;
    let expected = json!({
        "replayed": 10, "records": 10, "dead_lettered": 0, "rejected": 0, "dropped": 0, "left": 0, "problems": [],
    });
    assert_eq!(answer, expected);
    assert_eq!((of_stream(&up, "a"), of_stream(&up, "b")), (numbered("a"), numbered("b")));
    assert_eq!(left(&sluice), 0);
    let metrics = sluice.settled().await;
    assert_eq!((metrics.exported(UP, "delivered"), metrics.exported(UP, "dead_lettered")), (10.0, 10.0));
    assert_eq!(metrics.sum("sluice_routed_records_total", &[]), 20.0, "they were routed a second time");
    assert_eq!(metrics.sum("sluice_dead_letter_bytes", &[]), 0.0);
}

#[tokio::test]
async fn what_is_named_or_meets_the_conditions_is_replayed_or_deleted_and_nothing_else() {
    let (up, sluice) = two_streams_of_letters(&[QUICK], "").await;
    let page = sluice.api("/api/v1/dead-letters?key=a").await;
    let files: Vec<&str> =
        page["letters"].as_array().unwrap().iter().map(|letter| letter["file"].as_str().unwrap()).collect();
    assert_eq!(files.len(), 5);
    // The newest first, and one that is not there.
    let body = json!({ "files": [files[0], files[1], "../../etc/passwd.json", "no.such.json"] });
    let answer = change(&sluice, "replay", body).await;
    assert_eq!((&answer["replayed"], &answer["left"]), (&json!(2), &json!(2)), "{answer}");
    assert_eq!(answer["problems"][0]["error"], "there is no such letter");
    assert_eq!(
        of_stream(&up, "a"),
        ["a4", "a5"],
        "the order of the letters counts, and not that of the names"
    );

    let deleted = change(&sluice, "delete", json!({ "files": [files[2], "../sluice.yaml"] })).await;
    assert_eq!(
        (&deleted["deleted"], &deleted["records"], &deleted["left"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert!(sluice.config().exists());
    let deleted =
        change(&sluice, "delete", json!({ "filter": { "key": "b", "reason": "not ACCEPTABLE" } })).await;
    assert_eq!(deleted, json!({ "deleted": 5, "records": 5, "left": 0, "problems": [] }));
    assert_eq!(left(&sluice), 2);
    std::fs::write(sluice.directory().join("letters/broken.logs.json"), "{}").unwrap();
    let deleted = change(&sluice, "delete", all()).await;
    assert_eq!(deleted["deleted"], 3, "also what is no whole letter");
    assert_eq!(std::fs::read_dir(sluice.directory().join("letters")).unwrap().count(), 0);
    assert_eq!(sluice.metric("sluice_dead_letter_bytes", &[]).await, 0.0);
    assert_eq!(up.counts().records, 2, "what was deleted is not sent");
}

#[tokio::test]
async fn what_a_request_must_be_is_told() {
    let (_up, sluice) = two_streams_of_letters(&[QUICK], "").await;
    for (action, body, said) in [
        ("replay", json!({}), "say which letters"),
        ("replay", json!({ "all": true, "files": [] }), "by one of these"),
        ("delete", json!({ "all": false }), "`all` is true or not there"),
        ("delete", json!({ "filter": {} }), "`all: true` means every letter"),
        ("delete", json!({ "filter": { "exporters": "x" } }), "unknown condition `exporters`"),
        ("replay", json!({ "filter": { "from": "today" } }), "`from` is a moment"),
        ("replay", json!({ "filter": { "key": 7 } }), "the condition `key` is a text"),
        ("replay", json!({ "files": [1] }), "`files` is a list of names"),
        ("delete", json!({ "all": true, "removed_tenants": true }), "no other key"),
    ] {
        let answer = ask(&sluice, action, &body, Some(WRITER)).await;
        assert_eq!(answer.status, 422, "{body}");
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    }
    for token in [None, Some("another-token-of-some-length")] {
        assert_eq!(ask(&sluice, "delete", &all(), token).await.status, 401);
    }
    assert_eq!(sluice.get("/api/v1/dead-letters/replay").await.status, 405);
    assert_eq!(left(&sluice), 10);
    let without = "exporters: { nop: }\nroutes: [{ exporters: [nop] }]\n".to_owned() + ADMIN;
    reconfigure(&sluice, &without).await;
    let answer = ask(&sluice, "replay", &all(), Some(WRITER)).await;
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("set `dead_letter.directory`"), "{}", answer.text());
}

#[tokio::test]
async fn what_is_refused_again_becomes_a_letter_again_and_the_rest_goes_on() {
    let (up, sluice) = two_streams_of_letters(&[QUICK], "").await;
    up.set_fault(Fault::status(400).on_text("a3"));
    let answer = change(&sluice, "replay", all()).await;
    assert_eq!((&answer["replayed"], &answer["records"]), (&json!(10), &json!(9)), "{answer}");
    assert_eq!((&answer["dead_lettered"], &answer["left"]), (&json!(1), &json!(0)), "{answer}");
    assert_eq!(of_stream(&up, "a"), ["a1", "a2", "a4", "a5"]);
    let again = letters(&sluice.directory().join("letters"));
    assert_eq!((again.len(), again[0].records()), (1, 1));
    assert!(again[0].text("reason").starts_with("400"), "{:?}", again[0].note);
    sluice.settled().await;
}

#[tokio::test]
async fn a_letter_that_is_not_delivered_in_time_is_taken_back_and_stays_with_those_behind_it() {
    for journal in ["", "journal: { directory: '@DIR@/journal' }\n"] {
        let rest = format!("acknowledge_timeout: 300ms\n{journal}");
        let (up, sluice) = two_streams_of_letters(&[QUICK], &rest).await;
        up.set_fault(Fault::status(503).on_text("a3"));
        let answer = change(&sluice, "replay", all()).await;
        assert_eq!((&answer["replayed"], &answer["left"]), (&json!(7), &json!(3)), "{answer}");
        let told = answer["problems"][0]["error"].as_str().unwrap();
        assert!(told.starts_with("not delivered in time (`otlp_http/up`: 503"), "{told}");
        assert_eq!(answer["problems"][1]["error"], "behind a letter of its stream that was not delivered");
        assert_eq!(of_stream(&up, "b"), numbered("b"), "the other stream goes on");
        assert_eq!((of_stream(&up, "a"), left(&sluice)), (vec!["a1".to_owned(), "a2".to_owned()], 3));
        let metrics = sluice.settled().await;
        assert_eq!(metrics.sum("sluice_withdrawn_records_total", &[]), 3.0);

        up.clear_faults();
        assert_eq!(change(&sluice, "replay", all()).await["replayed"], 3);
        assert_eq!((of_stream(&up, "a"), left(&sluice)), (numbered("a"), 0));
        sluice.settled().await;
    }
}

#[tokio::test]
async fn a_letter_that_is_refused_again_and_finds_no_room_stays_where_it_is() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(406));
    let full = "dead_letter: { directory: '@DIR@/letters', max_size: 3KiB }\n";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + full + ADMIN)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &[&filler("text", 2000)])])).await;
    sluice.settled().await;
    let before = letters(&sluice.directory().join("letters"));
    let answer = change(&sluice, "replay", all()).await;
    assert_eq!((&answer["replayed"], &answer["left"]), (&json!(0), &json!(1)), "{answer}");
    assert_eq!((&answer["records"], &answer["dropped"]), (&json!(0), &json!(1)), "{answer}");
    let told = answer["problems"][0]["error"].as_str().unwrap();
    assert!(told.contains("have found no place in a dead letter"), "{told}");
    let after = letters(&sluice.directory().join("letters"));
    assert_eq!((after.len(), &after[0].bytes), (1, &before[0].bytes));
    sluice.settled().await;
}

#[tokio::test]
async fn one_replay_at_a_time_is_made_in_whatever_process() {
    let (up, sluice) = two_streams_of_letters(&[QUICK, "timeout: 1s"], "acknowledge_timeout: 1h\n").await;
    up.set_fault(Fault::hang());
    let front = (*sluice).clone();
    let first = tokio::spawn(async move { change(&front, "replay", all()).await });
    let is_hanging = async || up.requests().iter().any(|request| request.answered.is_none()).then_some(());
    eventually("the replay hangs", is_hanging).await;
    for action in ["replay", "delete"] {
        let second = ask(&sluice, action, &all(), Some(WRITER)).await;
        assert_eq!(second.status, 409);
        assert!(second.text().contains("being replayed or deleted"), "{}", second.text());
    }
    let (success, output) = replay(&sluice).await;
    assert!(!success && output.contains("being replayed or deleted by somebody else"), "{output}");
    // Whoever only asks may.
    let dry = replaying(&sluice).arg("--dry-run").output().await.unwrap();
    assert!(String::from_utf8_lossy(&dry.stdout).contains("10 letters (10 records) can be sent"));
    assert_eq!(left(&sluice), 10);
    up.clear_faults();
    assert_eq!(first.await.unwrap()["replayed"], 10);

    let (up, sluice) = two_streams_of_letters(&[QUICK], "").await;
    up.set_fault(Fault::hang());
    let mut other = replaying(&sluice).spawn().unwrap();
    let is_hanging = async || up.requests().iter().any(|request| request.answered.is_none()).then_some(());
    eventually("`sluice replay` hangs", is_hanging).await;
    let answer = ask(&sluice, "replay", &all(), Some(WRITER)).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    other.kill().await.unwrap();
    up.clear_faults();
    let replayed = eventually("the lock is let go of with the process", async || {
        let answer = ask(&sluice, "replay", &all(), Some(WRITER)).await;
        (answer.status == 200).then(|| serde_json::from_slice::<Value>(&answer.body).unwrap())
    });
    assert_eq!(replayed.await["replayed"], 10);
}

#[tokio::test]
async fn a_reload_in_the_midst_sends_the_rest_by_the_new_settings() {
    let (up, sluice) = two_streams_of_letters(&[QUICK], "acknowledge_timeout: 1h\n").await;
    up.set_fault(Fault::status(503));
    let front = (*sluice).clone();
    let replaying = tokio::spawn(async move { change(&front, "replay", all()).await });
    sluice.wait_for_metric("sluice_pending_records", &[], 10.0).await;
    let other = sinks::recording().await;
    reconfigure(&sluice, &config(&other, &[QUICK, SINGLY], "")).await;
    assert_eq!(replaying.await.unwrap()["replayed"], 10);
    assert_eq!((of_stream(&other, "a"), of_stream(&other, "b")), (numbered("a"), numbered("b")));
    assert_eq!((left(&sluice), up.counts().records), (0, 0));
    sluice.settled().await;
}

#[tokio::test]
async fn letters_of_an_exporter_that_is_removed_in_the_midst_are_there_afterwards() {
    let (up, sluice) = two_streams_of_letters(&[QUICK], "acknowledge_timeout: 1h\n").await;
    up.set_fault(Fault::status(503));
    let front = (*sluice).clone();
    let replaying = tokio::spawn(async move { change(&front, "replay", all()).await });
    sluice.wait_for_metric("sluice_pending_records", &[], 10.0).await;
    let without = format!(
        "exporters: {{ nop: }}\nroutes: [{{ exporters: [nop] }}]\nshutdown_timeout: 1s\n{LETTERS}{ADMIN}"
    );
    reconfigure(&sluice, &without).await;
    let answer = replaying.await.unwrap();
    assert_eq!((&answer["replayed"], &answer["left"]), (&json!(0), &json!(10)), "{answer}");
    assert_eq!(left(&sluice), 10);
    let answer = change(&sluice, "replay", all()).await;
    assert_eq!(answer["problems"][0]["error"], "the configuration has no exporter `otlp_http/up`");
    assert_eq!(left(&sluice), 10);
}

/// A site on which five letters are being replayed to an upstream that takes nothing.
struct ReplayUnderWay {
    up: Sink,
    site: Site,
    yaml: String,
    sluice: SluiceProcess,
    replaying: JoinHandle<Answer>,
}

impl ReplayUnderWay {
    async fn begin(settings: &str) -> Self {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(406));
        let site = Site::new();
        let yaml = yaml::up(&up.url(), &[QUICK, SINGLY])
            + LETTERS
            + SITE_ADMIN
            + "acknowledge_timeout: 1h\n"
            + settings;
        let sluice = site.start(&yaml).await;
        for number in 1..=5 {
            sluice.accept(Signal::Logs, logs(&[("a", &[&format!("a{number}")])])).await;
        }
        assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 5.0);
        up.set_fault(Fault::status(503));
        let front = site.front();
        let replaying = tokio::spawn(async move { ask(&front, "replay", &all(), Some(WRITER)).await });
        sluice.wait_for_metric("sluice_pending_records", &[], 5.0).await;
        Self { up, site, yaml, sluice, replaying }
    }
}

#[tokio::test]
async fn a_shutdown_in_the_midst_leaves_what_was_not_delivered_where_it_was() {
    for journal in ["", "journal: { directory: '@DIR@/journal' }\n"] {
        let ReplayUnderWay { up, site, yaml, sluice: mut first, replaying } =
            ReplayUnderWay::begin(&format!("shutdown_timeout: 2s\n{journal}")).await;
        first.signal("TERM").await;
        assert_eq!(first.ended().await.code(), Some(0), "{:?}", first.log());
        // The answer may still come, or the process has gone before.
        let _ = replaying.await;
        assert_eq!(letters(&site.directory().join("letters")).len(), 5, "{:?}", first.log());
        up.clear_faults();
        let next = site.start(&yaml).await;
        assert_eq!(next.metric("sluice_recovered_records_total", &[]).await, 0.0, "it was taken back");
        assert_eq!(change(&next, "replay", all()).await["replayed"], 5);
        assert_eq!(of_stream(&up, "a"), numbered("a"));
        next.settled().await;
    }
}

#[tokio::test]
async fn a_replay_that_is_killed_loses_nothing() {
    for journal in ["", "journal: { directory: '@DIR@/journal' }\n"] {
        let ReplayUnderWay { up, site, yaml, sluice: mut first, replaying } =
            ReplayUnderWay::begin(journal).await;
        first.kill().await;
        replaying.abort();
        up.clear_faults();
        let next = site.start(&yaml).await;
        change(&next, "replay", all()).await;
        next.settled().await;
        let mut texts = of_stream(&up, "a");
        // What the journal had is sent, too: at least once.
        texts.dedup();
        texts.sort();
        texts.dedup();
        assert_eq!(texts, numbered("a"));
        assert_eq!(letters(&site.directory().join("letters")).len(), 0);
    }
}

#[tokio::test]
async fn what_no_route_took_goes_to_all_its_streams_once_there_is_a_route() {
    let up = sinks::recording().await;
    let exporters =
        yaml::exporters(&[(UP, yaml::to(&up.url(), &[QUICK, "headers: { X-Stream: '{{ key }}' }"]))]);
    let rest = format!("unrouted: dead_letter\n{LETTERS}{ADMIN}");
    let narrow = "routes: [{ match: { team: x }, key: team, exporters: [otlp_http/up] }]\n";
    let sluice = Sluice::start(&format!("{exporters}{narrow}{rest}")).await;
    let entry = |team, text| entry_of(Signal::Logs, resource(&[("team", team)]), &[text]);
    let body = request(&[entry("a", "a1"), entry("b", "b1"), entry("a", "a2")]);
    assert_eq!(sluice.post(Signal::Logs, body).await.status, 200);
    eventually("it is a letter", async || (left(&sluice) == 1).then_some(())).await;
    let answer = change(&sluice, "replay", all()).await;
    assert_eq!((&answer["replayed"], &answer["left"]), (&json!(0), &json!(1)), "{answer}");
    assert!(answer["problems"][0]["error"].as_str().unwrap().contains("no route"), "{answer}");

    let wide = "routes: [{ match: { team: '*' }, key: team, exporters: [otlp_http/up] }]\n";
    reconfigure(&sluice, &format!("{exporters}{wide}{rest}")).await;
    let answer = change(&sluice, "replay", all()).await;
    assert_eq!(
        (&answer["replayed"], &answer["records"], &answer["left"]),
        (&json!(2), &json!(3), &json!(0)),
        "{answer}"
    );
    assert_eq!(
        (of_stream(&up, "a"), of_stream(&up, "b")),
        (vec!["a1".to_owned(), "a2".to_owned()], vec!["b1".to_owned()])
    );
    assert!(up.taken().iter().all(|taken| ["a", "b"].contains(&taken.headers["x-stream"].to_str().unwrap())));
    assert_eq!(left(&sluice), 0);
    sluice.settled().await;
}

#[tokio::test]
async fn each_replay_and_deletion_is_in_the_log_with_who_asked_for_it_and_from_where() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(406));
    let sluice = SluiceProcess::start(&config(&up, &[QUICK, SINGLY], ""), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"]), ("b", &["2"])])).await;
    sluice.settled().await;
    up.clear_faults();
    change(&sluice, "replay", json!({ "filter": { "key": "a" } })).await;
    let line = sluice.logged("dead letters replayed").await;
    for said in
        ["by=\"write_token\"", "peer=127.0.0.1:", "letters=1", "records=1", "left=0", "key: \\\"a\\\""]
    {
        assert!(line.contains(said), "{said}: {line}");
    }
    change(&sluice, "delete", all()).await;
    let line = sluice.logged("dead letters deleted").await;
    for said in ["by=\"write_token\"", "peer=127.0.0.1:", "letters=1", "which=\"all\""] {
        assert!(line.contains(said), "{said}: {line}");
    }
    assert!(!sluice.log().iter().any(|line| line.contains(WRITER)));
}

#[tokio::test]
async fn sluice_replay_takes_the_same_conditions() {
    let (up, sluice) = two_streams_of_letters(&[QUICK], "").await;
    let run = async |args: &[&str]| {
        let output = replaying(&sluice).args(args).output().await.unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for args in [
        ["--exporter", "otlp_http/other"],
        ["--tenant", "acme"],
        ["--reason", "never said"],
        ["--signal", "traces"],
        ["--from", "2999-01-01T00:00:00Z"],
        ["--to", "2001-01-01T00:00:00Z"],
    ] {
        let (code, output) = run(&args).await;
        assert_eq!(
            (code, output.as_str()),
            (Some(0), "0 letters (0 records) delivered, 0 left\n"),
            "{args:?}"
        );
    }
    let (code, output) = run(&["--from", "today"]).await;
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("`from` is a moment such as"), "{output}");
    let (code, output) =
        run(&["--key", "b", "--exporter", UP, "--tenant", "", "--reason", "406", "--signal", "logs"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert_eq!((up.counts().records, of_stream(&up, "b"), left(&sluice)), (5, numbered("b"), 5));
}

#[tokio::test]
async fn letters_of_an_upstream_that_takes_nothing_are_not_waited_for_one_by_one() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(406));
    let sluice = Sluice::start(&config(&up, &[QUICK, SINGLY], "acknowledge_timeout: 200ms\n")).await;
    let names: Vec<String> = (0..60).map(|number| format!("s{number}")).collect();
    let texts = ["x"];
    let entries: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &texts[..])).collect();
    sluice.accept(Signal::Logs, logs(&entries)).await;
    assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 60.0);
    up.set_fault(Fault::status(503));
    let answer = change(&sluice, "replay", all()).await;
    assert_eq!((&answer["replayed"], &answer["left"]), (&json!(0), &json!(60)));
    let told = "`otlp_http/up` has not taken the letters of 16 streams, one after the other";
    let problems = answer["problems"].as_array().unwrap();
    assert!(problems.iter().any(|problem| problem["error"].as_str().unwrap() == told), "{answer}");
    assert_eq!(left(&sluice), 60);
}

#[tokio::test]
async fn a_replay_that_waits_for_what_an_operator_holds_says_who_holds_it_and_how_to_release_it() {
    let (up, sluice) = two_streams_of_letters(&[], "acknowledge_timeout: 300ms\n").await;
    let token = format!("Bearer {WRITER}");
    let post = async |path: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("authorization", token.as_str())];
        let answer =
            http::send(sluice.admin, "POST", &format!("/api/v1/{path}"), &headers, body.to_string().into())
                .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    post("streams/hold", json!({ "exporter": UP, "signal": "logs", "key": "a", "for": "10m" })).await;
    let answer = change(&sluice, "replay", all()).await;
    assert_eq!((&answer["replayed"], &answer["left"]), (&json!(5), &json!(5)), "{answer}");
    let told = answer["problems"][0]["error"].as_str().unwrap();
    for part in [
        "not delivered in time (its stream is held by an operator (the write token, from 127.0.0.1) since 20",
        ", until 20",
        ": release it on its page, or by POST /api/v1/streams/release)",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    post("streams/release", json!({ "exporter": UP, "signal": "logs", "key": "a" })).await;
    post(&format!("exporters/{UP}/hold"), json!({})).await;
    let answer = change(&sluice, "replay", all()).await;
    let told = answer["problems"][0]["error"].as_str().unwrap();
    assert!(
        told.contains("all of `otlp_http/up` is held by an operator (")
            && told.contains(", until it is released: "),
        "{told}"
    );
    post(&format!("exporters/{UP}/release"), json!({})).await;
    assert_eq!(change(&sluice, "replay", all()).await["replayed"], 5);
    assert_eq!((of_stream(&up, "a"), left(&sluice)), (numbered("a"), 0));
}

#[tokio::test]
async fn what_is_no_file_among_letters_is_told_by_the_api_and_by_the_command_and_the_rest_is_sent() {
    let (up, sluice) = two_streams_of_letters(&[], "").await;
    let directory = sluice.directory().join("letters");
    let mut payloads: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    payloads.retain(|path| path.extension() == Some("pb".as_ref()));
    payloads.sort();
    // The same bytes behind a link; a pipe that nobody writes to; a directory; a link to nothing in the place of a note.
    let [linked, piped, directed, noted] = &payloads[..4] else { panic!("ten letters") };
    let elsewhere = sluice.directory().join("elsewhere.pb");
    std::fs::rename(linked, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, linked).unwrap();
    std::fs::remove_file(piped).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, piped, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    std::fs::remove_file(directed).unwrap();
    std::fs::create_dir(directed).unwrap();
    std::fs::remove_file(noted.with_extension("json")).unwrap();
    std::os::unix::fs::symlink("nowhere", noted.with_extension("json")).unwrap();
    let name = |path: &std::path::Path| {
        path.with_extension("json").file_name().unwrap().to_str().unwrap().to_owned()
    };
    let no_files = [
        (linked, "its `.pb` is not a file"),
        (piped, "its `.pb` is not a file"),
        (directed, "its `.pb` is not a file"),
        (noted, "not a file"),
    ];

    let page = sluice.api("/api/v1/dead-letters").await;
    let (by_command, printed) = replay(&sluice).await;
    assert!(!by_command, "{printed}");
    for (path, problem) in no_files {
        let listed = page["letters"].as_array().unwrap().iter().find(|letter| letter["file"] == name(path));
        assert_eq!(listed.map(|letter| &letter["problem"]), Some(&json!(problem)), "{page}");
        let shown = ask_inside(&sluice, &name(path)).await;
        assert_eq!(shown["problem"], problem, "{shown}");
        assert!(printed.contains(&format!("{}: skipped: {problem}", name(path))), "{printed}");
    }
    assert!(printed.contains("6 letters (6 records) delivered, 0 left"), "{printed}");
    up.records(6).await;

    let answer = change(&sluice, "replay", all()).await;
    assert_eq!((&answer["replayed"], &answer["left"]), (&json!(0), &json!(4)), "{answer}");
    assert!(!std::fs::read(&elsewhere).unwrap().is_empty(), "what a link leads to stays");
}

/// What is inside a letter.
async fn ask_inside(front: &Front, file: &str) -> Value {
    let token = format!("Bearer {WRITER}");
    let path = format!("/api/v1/dead-letters/{file}");
    let answer =
        http::send(front.admin, "GET", &path, &[("authorization", token.as_str())], Vec::new().into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}
