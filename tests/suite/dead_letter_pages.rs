//! `GET /api/v1/dead-letters`: what is listed, in which order, and what never is.

use rig::sink::Fault;
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::payload::{field, filler, logs};
use crate::support::sinks;
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Sluice, eventually};

const UP: &str = "otlp_http/up";
const PAGE: &str = "/api/v1/dead-letters";

/// Shows what is in letters to everybody.
const OPEN: &str = "tap: { open: true }\n";

/// The texts of a member of all letters of a page.
fn all(page: &Value, member: &str) -> Vec<String> {
    let letters = page["letters"].as_array().expect("letters are a list");
    letters.iter().map(|letter| letter[member].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_letter_is_listed_with_all_but_what_may_be_secret() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(400).message("no tenant for Bearer s3cr3t-token"));
    let headers = "headers: { Authorization: 'Bearer s3cr3t-token', X-Of-Sender: '{{ key }}' }";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY, headers]) + LETTERS)).await;
    sluice.accept(Signal::Logs, logs(&[("the key", &["text"])])).await;
    sluice.settled().await;

    let page = sluice.api(PAGE).await;
    let letter = &page["letters"][0];
    assert_eq!((&page["total"], &page["next"], &page["full"]), (&json!(1), &Value::Null, &json!(false)));
    assert_eq!(page["directory"], sluice.directory().join("letters").to_str().unwrap());
    assert_eq!(page["max_size"], 1 << 30);
    let on_disk: u64 = std::fs::read_dir(sluice.directory().join("letters"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(page["bytes"], on_disk);

    let body = logs(&[("the key", &["text"])]);
    assert_eq!(letter["exporter"], UP);
    assert_eq!((&letter["signal"], &letter["key"]), (&json!("logs"), &json!("the key")));
    assert_eq!((&letter["records"], &letter["bytes"]), (&json!(1), &json!(body.len())));
    assert_eq!(letter["reason"], "400 Bad Request: no tenant for [redacted]");
    assert!(letter["time"].as_str().unwrap().ends_with('Z'), "{letter}");
    let note = sluice.directory().join("letters").join(letter["file"].as_str().unwrap());
    let note: Value = serde_json::from_slice(&std::fs::read(note).unwrap()).unwrap();
    assert_eq!(note["time"], letter["time"], "the file is the letter's");
    assert_eq!(note["key"], "the key", "a replay needs it");
    assert!(!page.to_string().contains("s3cr3t"), "{page}");
}

#[tokio::test]
async fn what_was_given_up_at_max_elapsed_time_is_listed() {
    let url = format!("http://{}", sinks::nobody().await);
    let short = "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms, max_elapsed_time: 100ms }";
    let sluice = Sluice::start(&(yaml::up(&url, &[short, SINGLY]) + LETTERS)).await;
    sluice
        .accept(
            Signal::Traces,
            crate::support::payload::request(&[crate::support::payload::entry(
                Signal::Traces,
                "a",
                &["x", "y"],
            )]),
        )
        .await;
    assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 2.0);
    let page = sluice.api(PAGE).await;
    let letter = &page["letters"][0];
    assert_eq!((&letter["signal"], &letter["records"]), (&json!("traces"), &json!(2)));
    assert!(letter["reason"].as_str().unwrap().starts_with("given up after retries: "), "{letter}");
}

#[tokio::test]
async fn an_empty_directory_and_none_at_all_are_pages_like_any_other() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[]) + LETTERS)).await;
    let page = sluice.api(PAGE).await;
    assert_eq!((&page["total"], &page["bytes"], &page["letters"]), (&json!(0), &json!(0), &json!([])));
    sluice.reconfigure(&yaml::up(&up.url(), &[])).await;
    let none = json!({
        "directory": null, "bytes": 0, "max_size": null, "full": false, "total": 0, "matching": 0, "matching_is_exact": true,
        "letters": [], "next": null,
    });
    assert_eq!(sluice.api(PAGE).await, none);
}

#[tokio::test]
async fn pages_lead_from_the_newest_letter_to_the_oldest() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(406));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + LETTERS)).await;
    for stream in ["1", "2", "3", "4", "5"] {
        sluice.accept(Signal::Logs, logs(&[(stream, &["x"])])).await;
        sluice.settled().await;
    }
    let mut keys = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = sluice.api(&format!("{PAGE}{query}")).await;
        assert_eq!(page["total"], 5);
        let listed = all(&page, "key");
        assert!(listed.len() <= 2);
        keys.extend(listed);
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=2&after={next}");
    }
    assert_eq!(keys, ["5", "4", "3", "2", "1"]);
    assert_eq!(all(&sluice.api(PAGE).await, "key"), keys);
}

#[tokio::test]
async fn a_file_that_is_no_letter_is_shown_with_what_is_wrong() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[]) + LETTERS)).await;
    let directory = sluice.directory().join("letters");
    std::fs::write(directory.join("a.logs.json"), "no JSON").unwrap();
    std::fs::write(directory.join("b.logs.pb"), "bytes").unwrap();
    let page = sluice.api(PAGE).await;
    assert_eq!(all(&page, "file"), ["b.logs.pb", "a.logs.json"]);
    assert_eq!(page["letters"][0]["problem"], "its `.json` is missing");
    let problem = page["letters"][1]["problem"].as_str().unwrap();
    assert!(problem.starts_with("not a dead letter: "), "{problem}");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_and_a_directory_that_is_gone_are_errors() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[]) + LETTERS)).await;
    for (query, error) in [
        ("?limit=x", "`limit` is a number, not `x`"),
        (
            "?state=a",
            "unknown parameter `state`: there are limit, after, skip, exporter, tenant, key, reason, signal, from and to",
        ),
    ] {
        let answer = sluice.get(&format!("{PAGE}{query}")).await;
        assert_eq!((answer.status, answer.text()), (400, json!({ "error": error }).to_string() + "\n"));
    }
    std::fs::remove_dir(sluice.directory().join("letters")).unwrap();
    let answer = sluice.get(PAGE).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("letters`: No such file"), "{}", answer.text());
}

#[tokio::test]
async fn a_full_directory_says_so_until_a_letter_finds_room_again() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(406));
    let config = |size: &str| {
        let bound = format!("dead_letter: {{ directory: '@DIR@/letters', max_size: {size} }}\n");
        yaml::up(&up.url(), &[QUICK, SINGLY]) + &bound
    };
    let sluice = Sluice::start(&config("4KiB")).await;
    let state = async || {
        sluice.accept(Signal::Logs, logs(&[("a", &[&filler("text", 2000)])])).await;
        sluice.settled().await;
        let page = sluice.api(PAGE).await;
        assert!(page["bytes"].as_u64() <= page["max_size"].as_u64(), "{page}");
        (page["total"].as_u64().unwrap(), page["full"].as_bool().unwrap())
    };
    assert_eq!(state().await, (1, false));
    assert_eq!(state().await, (1, true));
    sluice.reconfigure(&config("1MiB")).await;
    assert_eq!(state().await, (2, false));
}

#[tokio::test]
async fn a_page_has_the_letters_that_meet_the_conditions() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(406));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + LETTERS)).await;
    for stream in ["web-1", "db", "web-2", "web-3"] {
        sluice.accept(Signal::Logs, logs(&[(stream, &["x"])])).await;
        sluice.settled().await;
    }
    let keys = async |query: &str| all(&sluice.api(&format!("{PAGE}?{query}")).await, "key");
    assert_eq!(keys("key=web").await, ["web-3", "web-2", "web-1"]);
    assert_eq!(keys("exporter=otlp_http%2Fup&key=db&signal=logs&reason=406").await, ["db"]);
    let first = sluice.api(&format!("{PAGE}?key=web&limit=2")).await;
    assert_eq!(
        (all(&first, "key"), &first["total"]),
        (vec!["web-3".to_owned(), "web-2".to_owned()], &json!(4))
    );
    let next = first["next"].as_str().unwrap();
    let second = sluice.api(&format!("{PAGE}?key=web&limit=2&after={next}")).await;
    assert_eq!((all(&second, "key"), &second["next"]), (vec!["web-1".to_owned()], &Value::Null));
    let found = |page: &Value| (page["matching"].clone(), page["matching_is_exact"].clone());
    assert_eq!((found(&first), found(&second)), ((json!(3), json!(true)), (json!(3), json!(true))));
    let every = sluice.api(PAGE).await;
    assert_eq!((&every["total"], found(&every)), (&json!(4), (json!(4), json!(true))));
    let nobodys = sluice.api(&format!("{PAGE}?tenant=nobody")).await;
    assert_eq!((&nobodys["total"], found(&nobodys)), (&json!(4), (json!(0), json!(true))));
    let newest = sluice.api(&format!("{PAGE}?limit=1")).await["letters"][0]["time"].clone();
    let newest = newest.as_str().unwrap();
    assert_eq!(keys(&format!("from={newest}")).await, ["web-3"]);
    assert_eq!(keys(&format!("to={newest}&key=web-2")).await, ["web-2"]);
    for (query, said) in [
        ("exporters=x", "unknown parameter `exporters`: there are limit, after, skip, exporter"),
        ("from=today", "`from` is a moment such as `2026-12-01T00:00:00Z`, not `today`"),
        ("signal=log", "`signal` is traces, metrics or logs"),
    ] {
        let answer = sluice.get(&format!("{PAGE}?{query}")).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(said), "{}", answer.text());
    }
}

/// What is in the only letter.
async fn only_letter(sluice: &Sluice) -> Value {
    let page = eventually("there is a letter", async || {
        let page = sluice.api(PAGE).await;
        (page["total"] == 1).then_some(page)
    })
    .await;
    sluice.api(&format!("{PAGE}/{}", page["letters"][0]["file"].as_str().unwrap())).await
}

#[tokio::test]
async fn a_letter_shows_its_records_and_marks_the_one_that_was_refused() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(400).on_text("poison"));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + LETTERS + OPEN)).await;
    let hostile = "poison <script>alert(1)</script>";
    sluice.accept(Signal::Logs, logs(&[("a", &["fine", hostile, "fine too"])])).await;
    sluice.settled().await;
    let letter = only_letter(&sluice).await;
    assert_eq!((&letter["record_count"], &letter["encoding"]), (&json!(1), &json!("proto")));
    assert_eq!((&letter["offending"], &letter["truncated"]), (&json!([0]), &json!(false)));
    assert_eq!(letter["faults"], json!([]));
    let entry = &letter["records"][0];
    assert_eq!(entry["scopeLogs"][0]["logRecords"][0]["body"]["stringValue"], hostile);
    assert_eq!(entry["resource"]["attributes"][0]["key"], "s2.stream");
    assert!(letter["reason"].as_str().unwrap().starts_with("400"), "{letter}");
}

#[tokio::test]
async fn a_look_inside_a_letter_hides_what_a_tap_hides() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(400));
    let config = yaml::up(&up.url(), &[QUICK, SINGLY]) + LETTERS + OPEN;
    let secret = "user=eve password=s3cret-a";
    let of_protobuf = Sluice::start(&config).await;
    of_protobuf.accept(Signal::Logs, logs(&[("a", &[secret])])).await;
    of_protobuf.settled().await;
    let of_json = Sluice::start(&(yaml::up(&up.url(), &[SINGLY]) + LETTERS + OPEN)).await;
    let attribute = r#"{"key":"user.password","value":{"stringValue":"s3cret-b"}}"#;
    let body = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"traceId":"no id","body":{{"stringValue":"{secret}"}},"attributes":[{attribute}]}}]}}]}}]}}"#
    );
    let json_headers = [("content-type", "application/json")];
    crate::support::http::send(of_json.otlp, "POST", "/v1/logs", &json_headers, body.into()).await;
    for sluice in [&of_protobuf, &of_json] {
        let letter = only_letter(sluice).await;
        let shown = letter["records"].to_string();
        assert!(shown.contains("user=eve [redacted]") && !shown.contains("s3cret"), "{letter}");
    }
    // Whoever hides nothing sees all.
    of_json
        .reconfigure(&(yaml::up(&up.url(), &[SINGLY]) + LETTERS + "tap: { open: true, redact: [] }\n"))
        .await;
    assert!(only_letter(&of_json).await["records"].to_string().contains("s3cret-b"));
}

#[tokio::test]
async fn a_letter_of_json_hides_values_that_are_no_texts_by_what_they_are_written_as() {
    const OPEN: &str = r"tap: { open: true, redact: ['\b4[0-9]{15}\b'] }
";
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY]) + LETTERS + OPEN)).await;
    // The bytes are of that number and one byte more.
    let values = [
        r#"{"intValue":4111111111111111}"#,
        r#"{"intValue":"4111111111111111"}"#,
        r#"{"doubleValue":4111111111111111.0}"#,
        r#"{"bytesValue":"NDExMTExMTExMTExMTExMQA="}"#,
        r#"{"bytes_value":"NDExMTExMTExMTExMTExMQA"}"#,
        r#"{"arrayValue":{"values":[{"intValue":7},{"intValue":4111111111111111}]}}"#,
    ];
    let attributes = values.map(|value| format!(r#"{{"key":"card","value":{value}}}"#)).join(",");
    let body = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"traceId":"no id","attributes":[{attributes}]}}]}}]}}]}}"#
    );
    let json_headers = [("content-type", "application/json")];
    crate::support::http::send(sluice.otlp, "POST", "/v1/logs", &json_headers, body.into()).await;
    let letter = only_letter(&sluice).await;
    let record = &letter["records"][0]["scopeLogs"][0]["logRecords"][0];
    let hidden = "[redacted]";
    let shown: Vec<&Value> = record["attributes"].as_array().unwrap().iter().map(|it| &it["value"]).collect();
    let expected = [
        json!({ "intValue": hidden }),
        json!({ "intValue": hidden }),
        json!({ "doubleValue": hidden }),
        json!({ "bytesValue": hidden }),
        json!({ "bytes_value": hidden }),
        json!({ "arrayValue": { "values": [{ "intValue": 7 }, { "intValue": hidden }] } }),
    ];
    assert_eq!(shown, expected.iter().collect::<Vec<_>>(), "{letter}");
}

#[tokio::test]
async fn a_large_letter_shows_its_beginning_within_a_mebibyte() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(406));
    let large = "sending_queue: { batch: { min_size: 1, flush_timeout: 0s, max_size: 8MiB } }";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, large]) + LETTERS + OPEN)).await;
    let texts: Vec<String> = (0..400).map(|number| filler(&format!("{number}-"), 10_000)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("a", &texts)])).await;
    sluice.settled().await;
    let page = sluice.api(PAGE).await;
    let answer = sluice.get(&format!("{PAGE}/{}", page["letters"][0]["file"].as_str().unwrap())).await;
    assert!(answer.body.len() < (1 << 20) + 4096, "{}", answer.body.len());
    let letter: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&letter["truncated"], &letter["offending"]), (&json!(true), &json!([])));
    let shown = letter["records"].as_array().unwrap();
    let body = &shown[0]["scopeLogs"][0]["logRecords"][0]["body"]["stringValue"];
    assert!(body.as_str().unwrap().starts_with("0-"), "in the order of the letter");
    assert!(shown.len() > 5);
}

#[tokio::test]
async fn what_was_cut_out_shows_what_is_wrong_with_it() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY]) + LETTERS + OPEN)).await;
    let bad_entry = field(1, [field(1, field(1, b"\xff")), field(2, "")].concat());
    let body = [logs(&[("a", &["good"])]), bad_entry].concat();
    assert_eq!(sluice.post(Signal::Logs, body).await.status, 200);
    let letter = only_letter(&sluice).await;
    assert_eq!(letter["records"], json!([]));
    let fault = letter["faults"][0]["path"].as_str().unwrap();
    assert!(fault.starts_with("resource_logs[0].resource.attributes[0]"), "{letter}");
}

#[tokio::test]
async fn what_was_cut_out_of_json_is_shown_as_it_came() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY]) + LETTERS + OPEN)).await;
    let body = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"no id","body":{"stringValue":"x"}}]}]}]}"#;
    let json_headers = [("content-type", "application/json")];
    let answer =
        crate::support::http::send(sluice.otlp, "POST", "/v1/logs", &json_headers, body.into()).await;
    assert_eq!(answer.status, 400, "nothing valid is left");
    let letter = only_letter(&sluice).await;
    assert_eq!((&letter["encoding"], &letter["offending"]), (&json!("json"), &json!([0])));
    assert_eq!(letter["records"][0]["scopeLogs"][0]["logRecords"][0]["traceId"], "no id");
}

#[tokio::test]
async fn no_name_leads_out_of_the_directory() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[]) + LETTERS + OPEN)).await;
    let directory = sluice.directory().join("letters");
    let secret = sluice.directory().join("secret.logs.json");
    std::fs::write(&secret, r#"{"secret":"hunter2"}"#).unwrap();
    std::os::unix::fs::symlink(&secret, directory.join("link.logs.json")).unwrap();
    for name in [
        "..%2Fsecret.logs.json",
        "%2E%2E%2Fsecret.logs.json",
        "%2Fetc%2Fpasswd",
        "..",
        "%00.json",
        "nothing.logs.json",
    ] {
        let answer = sluice.get(&format!("{PAGE}/{name}")).await;
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    let link = sluice.api(&format!("{PAGE}/link.logs.json")).await;
    assert_eq!(link, json!({ "file": "link.logs.json", "problem": "not a file" }));
    let note = serde_json::json!({
        "version": 1, "exporter": null, "signal": "logs", "key": null, "reason": "x", "records": 1,
        "bytes": std::fs::metadata(&secret).unwrap().len(), "time": "2026-01-01T00:00:00.000Z",
    });
    std::fs::write(directory.join("b.logs.json"), note.to_string()).unwrap();
    std::os::unix::fs::symlink(&secret, directory.join("b.logs.pb")).unwrap();
    let answer = sluice.get(&format!("{PAGE}/b.logs.json")).await;
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
}

#[tokio::test]
async fn what_is_in_a_letter_is_for_those_who_may_see_records_and_the_list_for_all_who_may_read() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(400));
    let tokens = "admin: { endpoint: 127.0.0.1:0, read_token: the-reader-of-letters }\n";
    let config = yaml::up(&up.url(), &[QUICK, SINGLY]) + LETTERS;
    for admin in ["", tokens] {
        let sluice = Sluice::start(&(config.clone() + admin)).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["text"])])).await;
        sluice.settled().await;
        let page = sluice.api(PAGE).await;
        let inside = format!("{PAGE}/{}", page["letters"][0]["file"].as_str().unwrap());
        let refused = sluice.get(&inside).await;
        let expected = if admin.is_empty() { 403 } else { 401 };
        assert_eq!(refused.status, expected, "{}", refused.text());
        let token = [("authorization", "Bearer the-reader-of-letters")];
        let answer =
            crate::support::http::send(sluice.admin, "GET", &inside, &token, Vec::new().into()).await;
        assert_eq!(answer.status == 200, !admin.is_empty(), "{}", answer.text());
    }
}
