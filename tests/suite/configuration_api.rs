//! The configuration as the API shows it, what a reload would do to it, and what it would do with a request.

use rig::sink::Fault;
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::http::{self, Answer};
use crate::support::payload::{entry_of, logs, request, resource};
use crate::support::router::write_config;
use crate::support::sinks;
use crate::support::yaml::{QUICK, SINGLY};
use crate::support::{Sluice, SluiceProcess, eventually};

const CONFIG: &str = "/api/v1/config";

/// A configuration in which secrets and comments are planted, on lines of their own.
const PLANTED: &str = "\
receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } } }
admin: { endpoint: 127.0.0.1:0 }
exporters:
  # the token used to be planted-in-a-comment
  otlp_http/up:
    endpoint: https://up.example.com   # planted-behind
    timeout: ${env:SLUICE_TEST_TIMEOUT:-7s}
    headers:
      Authorization: Bearer planted-token
      X-Block: >-
        planted-first
        planted-second
  nop:
routes:
  - { name: all, match: { team.token: planted-team }, exporters: [otlp_http/up] }
  - { name: rest, exporters: [nop] }
";

fn lines(text: &Value) -> Vec<&str> {
    text.as_str().unwrap().lines().collect()
}

#[tokio::test]
async fn the_file_in_use_is_shown_line_by_line_without_its_secrets() {
    let sluice = Sluice::start(PLANTED).await;
    let shown = sluice.api(CONFIG).await;
    assert!(!shown.to_string().contains("planted"), "{shown}");
    let text = lines(&shown["text"]);
    assert_eq!(text.len(), PLANTED.lines().count(), "the same lines as the file");
    for (line, said) in [
        (3, ""),
        (5, "    endpoint: https://up.example.com"),
        (6, "    timeout: ${env:SLUICE_TEST_TIMEOUT:-7s}"),
        (8, "      Authorization: [redacted]"),
        (10, "        [redacted]"),
        (12, "  nop:"),
        (14, "  - { name: all, match: { team.token: [redacted] }, exporters: [otlp_http/up] }"),
    ] {
        assert_eq!(text[line], said, "line {}", line + 1);
    }
    assert_eq!((&shown["problems"], &shown["reloads"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn problems_are_at_lines_of_the_text_that_they_are_about_and_reloads_are_remembered() {
    let sluice = Sluice::start(PLANTED).await;
    sluice.reconfigure(&PLANTED.replace("nop:", "nop: {}")).await;
    let answer = sluice.reload(&PLANTED.replace("    endpoint: https", "    endpont: https")).await;
    assert_eq!(answer.status, 422);
    let shown = sluice.api(CONFIG).await;
    assert!(!shown.to_string().contains("planted"), "{shown}");
    let failed = &shown["last_error"];
    let problem = failed["problems"].as_array().unwrap().iter().find(|problem| problem["line"] == 6).unwrap();
    assert!(problem["message"].as_str().unwrap().contains("`endpont`"), "{problem}");
    assert_eq!(lines(&failed["text"])[5], "    endpont: [redacted]");
    assert_eq!(lines(&shown["text"])[5], "    endpoint: https://up.example.com", "the one in use stays");

    let reloads = shown["reloads"].as_array().unwrap();
    let told: Vec<_> = reloads.iter().map(|reload| (&reload["outcome"], &reload["version"])).collect();
    assert_eq!(told, [(&json!("failed"), &Value::Null), (&json!("succeeded"), &json!(2))]);
    assert!(reloads[0]["error"].as_str().unwrap().contains("unknown key `endpont`"), "{}", reloads[0]);
    assert!(reloads[0]["at"].as_str().unwrap().ends_with('Z') && reloads[1]["error"].is_null());
    for _ in 0..60 {
        sluice.router().reload("a test").await.unwrap_err();
    }
    assert_eq!(sluice.api(CONFIG).await["reloads"].as_array().unwrap().len(), 50);
}

async fn dry_run(sluice: &Sluice, yaml: &str) -> Answer {
    write_config(sluice.directory(), yaml);
    dry_run_of_file(sluice).await
}

async fn dry_run_of_file(sluice: &Sluice) -> Answer {
    http::send(sluice.admin, "POST", "/api/v1/reload?dry_run=true", &[], bytes::Bytes::new()).await
}

/// What a reload would do, which has to be possible.
async fn plan(sluice: &Sluice, yaml: &str) -> Value {
    let answer = dry_run(sluice, yaml).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_without_secrets_and_changes_nothing() {
    let sluice = Sluice::start(PLANTED).await;
    let nothing = plan(&sluice, PLANTED).await;
    let none = json!({ "added": [], "removed": [], "changed": [], "reordered": false });
    assert_eq!((&nothing["valid"], &nothing["exporters"]), (&json!(true), &none));
    assert_eq!((&nothing["routes"], &nothing["receivers"], &nothing["settings"]), (&none, &none, &json!([])));

    let changed = PLANTED
        .replace("planted-token", "planted-other")
        .replace("timeout: ${env:SLUICE_TEST_TIMEOUT:-7s}", "timeout: 9s")
        .replace("  nop:\n", "  debug:\n")
        .replace("[nop]", "[debug]")
        .replace("planted-team", "planted-new")
        + "limits: { streams: 7 }\n";
    let plan_ = plan(&sluice, &changed).await;
    assert!(!plan_.to_string().contains("planted"), "{plan_}");
    assert_eq!(
        (&plan_["exporters"]["added"], &plan_["exporters"]["removed"]),
        (&json!(["debug"]), &json!(["nop"]))
    );
    let up = &plan_["exporters"]["changed"];
    assert_eq!(up[0]["name"], "otlp_http/up");
    assert_eq!(
        up[0]["fields"],
        json!([
            { "field": "headers.Authorization", "from": "[redacted]", "to": "[redacted]" },
            { "field": "timeout", "from": "${env:SLUICE_TEST_TIMEOUT:-7s}", "to": "9s" },
        ])
    );
    let routes = plan_["routes"]["changed"].as_array().unwrap();
    assert_eq!(
        (&routes[0]["name"], &routes[0]["fields"][0]["field"]),
        (&json!("all"), &json!("match.team.token"))
    );
    assert_eq!(routes[1]["fields"], json!([{ "field": "exporters.0", "from": "nop", "to": "debug" }]));
    assert_eq!(plan_["settings"], json!([{ "field": "limits.streams", "from": null, "to": 7 }]));
    assert_eq!(plan_["needs_restart"], json!([]));

    let shown = sluice.api(CONFIG).await;
    assert_eq!((&shown["version"], &shown["reloads"]), (&json!(1), &json!([])), "nothing has changed");
    assert!(shown["config"]["exporters"]["nop"].is_null() && shown["last_error"].is_null());
    let swapped = PLANTED
        .replace("name: all,", "name: x,")
        .replace("name: rest", "name: all")
        .replace("name: x,", "name: rest,");
    assert_eq!(plan(&sluice, &swapped).await["routes"]["reordered"], true);
}

#[tokio::test]
async fn a_dry_run_of_a_wrong_file_says_what_a_reload_would_and_is_not_counted() {
    let sluice = Sluice::start(PLANTED).await;
    let answer = dry_run(&sluice, &PLANTED.replace("routes:", "rotes:")).await;
    assert_eq!(answer.status, 422);
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&told["valid"], &told["problems"][0]["line"]), (&json!(false), &json!(14)), "{told}");
    assert!(
        lines(&told["text"])[13].starts_with("rotes:") && !told.to_string().contains("planted"),
        "{told}"
    );
    assert_eq!(sluice.metric("sluice_config_reloads_total", &[]).await, 0.0);
    assert!(sluice.api(CONFIG).await["last_error"].is_null());
    for query in ["?dry_run=yes", "?dryrun=true"] {
        let path = format!("/api/v1/reload{query}");
        let answer = http::send(sluice.admin, "POST", &path, &[], bytes::Bytes::new()).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(sluice.api(CONFIG).await["version"], 1);
}

#[tokio::test]
async fn a_dry_run_says_what_would_drain_and_what_needs_a_restart() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let yaml = crate::support::yaml::up(&up.url(), &[QUICK, SINGLY]);
    let sluice = Sluice::start(&yaml).await;
    let body = logs(&[("a", &["x"]), ("b", &["y"])]);
    sluice.accept(Signal::Logs, body.clone()).await;
    let without = "exporters: { nop: }\nroutes: [{ exporters: [nop] }]\n";
    let told = plan(&sluice, without).await;
    assert_eq!(told["exporters"]["removed"], json!(["otlp_http/up"]));
    assert_eq!((&told["streams_to_drain"], &told["pending_bytes_to_drain"]), (&json!(2), &json!(body.len())));
    let journal = yaml + "journal: { directory: '@DIR@/journal' }\n";
    let told = plan(&sluice, &journal).await;
    assert_eq!(told["needs_restart"], json!(["a change of `journal` needs a restart"]));
    assert!(!sluice.directory().join("journal").exists(), "nothing is made");
    up.clear_faults();
    sluice.settled().await;
    assert_eq!(up.counts().records, 2);
}

/// Who may change something.
const WRITER: &str = "0123456789abcdef-writer";

/// A dry run of this text in place of the file's.
async fn try_candidate(sluice: &Sluice, text: impl Into<bytes::Bytes>) -> Answer {
    let token = format!("Bearer {WRITER}");
    let headers = [("content-type", "application/yaml"), ("authorization", token.as_str())];
    http::send(sluice.admin, "POST", "/api/v1/reload?dry_run=true", &headers, text.into()).await
}

/// An exporter that sends a planted token, and one that sends nothing.
fn with_two_exporters(up: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }} }} }} }}\n\
         admin: {{ endpoint: 127.0.0.1:0, write_token: {WRITER} }}\n\
         exporters:\n\
         \x20 otlp_http/up: {{ endpoint: '{up}', compression: none, headers: {{ X: planted-token }}, {QUICK}, {SINGLY} }}\n\
         \x20 nop:\n\
         routes:\n\
         \x20 - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}\n\
         \x20 - {{ exporters: [nop] }}\n"
    )
}

#[tokio::test]
async fn a_candidate_is_planned_in_place_of_the_file_and_changes_nothing() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let yaml = with_two_exporters(&up.url());
    let sluice = Sluice::start(&yaml).await;
    let body = logs(&[("a", &["x"]), ("b", &["y"])]);
    sluice.accept(Signal::Logs, body.clone()).await;
    let (before, file) = (sluice.api(CONFIG).await, std::fs::read(sluice.config()).unwrap());
    let told = async |text: String| {
        let answer = try_candidate(&sluice, text).await;
        assert!(!answer.text().contains("planted"), "{}", answer.text());
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let (status, same) = told(yaml.clone()).await;
    let none = json!({ "added": [], "removed": [], "changed": [], "reordered": false });
    assert_eq!((status, &same["valid"], &same["exporters"]), (200, &json!(true), &none));

    let (status, changed) =
        told(yaml.replace("planted-token", "planted-other").replace("compression: none", "timeout: 9s"))
            .await;
    assert_eq!((status, &changed["streams_to_drain"]), (200, &json!(0)));
    assert_eq!(
        changed["exporters"]["changed"],
        json!([{ "name": "otlp_http/up", "fields": [
            { "field": "compression", "from": "none", "to": null },
            { "field": "headers.X", "from": "[redacted]", "to": "[redacted]" },
            { "field": "timeout", "from": null, "to": "9s" },
        ] }])
    );

    let without: Vec<&str> = yaml.lines().filter(|line| !line.contains("otlp_http/up")).collect();
    let (status, removed) = told(without.join("\n") + "\n").await;
    assert_eq!((status, &removed["exporters"]["removed"]), (200, &json!(["otlp_http/up"])));
    assert_eq!(
        (&removed["streams_to_drain"], &removed["pending_bytes_to_drain"]),
        (&json!(2), &json!(body.len()))
    );

    let (status, broken) = told(yaml.replace("routes:", "rotes:")).await;
    assert_eq!((status, &broken["valid"]), (422, &json!(false)));
    let problem = &broken["problems"][0];
    assert_eq!(problem["file"], sluice.config().display().to_string(), "it stands for the file");
    assert!(lines(&broken["text"])[5].starts_with("rotes:") && problem["line"] == 6, "{broken}");

    assert_eq!(sluice.api(CONFIG).await, before, "nothing has changed");
    assert_eq!(std::fs::read(sluice.config()).unwrap(), file);
    assert_eq!(sluice.metric("sluice_config_reloads_total", &[]).await, 0.0);
    up.clear_faults();
    sluice.settled().await;
    assert_eq!(up.counts().records, 2, "all was delivered by the exporter of the file");
}

#[tokio::test]
async fn a_candidate_is_read_with_the_files_and_rows_that_it_names() {
    let sluice = Sluice::start(&with_two_exporters("http://127.0.0.1:9")).await;
    let place = |name: &str| sluice.directory().join(name).display().to_string();
    std::fs::write(place("timeout"), "9s\n").unwrap();
    std::fs::write(place("rows.yaml"), "- { id: acme, values: { token: planted-token } }\n").unwrap();
    let more = format!("tenants: {{ file: '{}' }}\n", place("rows.yaml"));
    let text = with_two_exporters("http://127.0.0.1:9")
        .replace("compression: none", &format!("timeout: '${{file:{}}}'", place("timeout")))
        + &more;
    let answer = try_candidate(&sluice, text.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let plan: Value = serde_json::from_slice(&answer.body).unwrap();
    let fields = plan["exporters"]["changed"][0]["fields"].to_string();
    assert!(fields.contains("timeout") && !fields.contains("9s"), "{fields}");

    std::fs::write(place("rows.yaml"), "- { id: acme, values: { token: planted-token }, nonsense: 1 }\n")
        .unwrap();
    let answer = try_candidate(&sluice, text.clone()).await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &told["problems"][0]["file"]), (422, &json!(place("rows.yaml"))), "{told}");
    assert!(told.to_string().contains("nonsense") && !told.to_string().contains("planted"), "{told}");
    std::fs::remove_file(place("timeout")).unwrap();
    let answer = try_candidate(&sluice, text).await;
    assert!(answer.status == 422 && answer.text().contains("can't read the file"), "{}", answer.text());
}

#[tokio::test]
async fn nothing_that_a_candidate_reads_from_files_is_shown_wherever_it_stands() {
    let sluice = Sluice::start(&with_two_exporters("http://127.0.0.1:9")).await;
    let secret = sluice.directory().join("secret");
    std::fs::write(&secret, "planted-in-a-file\n").unwrap();
    let secret = format!("${{file:{}}}", secret.display());
    let text = with_two_exporters("http://127.0.0.1:9");
    for (what, more) in [
        (
            "the name of a route",
            text.replacen("- { exporters", &format!("- {{ name: '{secret}', exporters"), 1),
        ),
        ("a directory", text.clone() + &format!("tenants: {{ directory: '/nowhere/{secret}' }}\n")),
        (
            "a file of a certificate",
            text.replace("compression: none", &format!("tls: {{ ca_file: '/nowhere/{secret}' }}")),
        ),
    ] {
        let answer = try_candidate(&sluice, more).await;
        assert!([200, 422].contains(&answer.status), "{what}: {}", answer.text());
        assert!(!answer.text().contains("planted"), "{what}: {}", answer.text());
        let is_shown = what != "a file of a certificate";
        assert!(!is_shown || answer.text().contains("[redacted]"), "{what}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_is_no_candidate_or_from_somebody_else_is_not_planned() {
    let yaml = with_two_exporters("http://127.0.0.1:9");
    let sluice = Sluice::start(&yaml).await;
    let large = vec![b'#'; (4 << 20) + 1];
    assert_eq!(try_candidate(&sluice, large).await.status, 413);
    let answer = try_candidate(&sluice, vec![b'a', 0xff]).await;
    assert!(answer.status == 422 && answer.text().contains("not UTF-8 text"), "{}", answer.text());

    let token = format!("Bearer {WRITER}");
    let (yaml_type, dry_run) = (("content-type", "application/yaml"), "/api/v1/reload?dry_run=true");
    for (path, headers, status, said) in [
        (dry_run, vec![yaml_type], 401, "needs a token"),
        (dry_run, vec![yaml_type, ("authorization", "Bearer other")], 401, "not the one"),
        (
            dry_run,
            vec![("content-type", "application/x-www-form-urlencoded"), ("authorization", token.as_str())],
            415,
            "--data-binary",
        ),
        ("/api/v1/reload", vec![yaml_type, ("authorization", token.as_str())], 400, "takes no body"),
    ] {
        let answer = http::send(sluice.admin, "POST", path, &headers, yaml.clone().into()).await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text());
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    }
    assert_eq!(sluice.api(CONFIG).await["version"], 1);

    // Without a write token, a dry run of the file is for those on this machine, and a text of somebody's is for nobody.
    let open = Sluice::start(PLANTED).await;
    assert_eq!(dry_run_of_file(&open).await.status, 200);
    let answer = try_candidate(&open, PLANTED).await;
    assert!(answer.status == 403 && answer.text().contains("set `admin.write_token`"), "{}", answer.text());
}

#[tokio::test]
async fn a_reload_is_told_with_who_has_asked_for_it_and_nothing_of_a_candidate_is() {
    let yaml = with_two_exporters("http://127.0.0.1:9");
    let sluice = SluiceProcess::start(&yaml, &["--log-level", "debug"]).await;
    let token = format!("Bearer {WRITER}");
    let headers = [("content-type", "application/yaml"), ("authorization", token.as_str())];
    let candidate = yaml.replace("planted-token", "planted-candidate");
    let answer =
        http::send(sluice.admin, "POST", "/api/v1/reload?dry_run=true", &headers, candidate.into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = http::send(sluice.admin, "POST", "/api/v1/reload", &headers[1..], bytes::Bytes::new()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = sluice.logged("reload asked for").await;
    assert!(line.contains("write_token") && line.contains("127.0.0.1:"), "{line}");
    let line = sluice.logged("configuration reloaded").await;
    assert!(line.contains("the write token, from 127.0.0.1"), "{line}");
    sluice.signal("HUP").await;
    sluice.write_config(&(yaml + "limits: { streams: 7 }\n"));
    let by = eventually("all are remembered", async || {
        let reloads = sluice.api(CONFIG).await["reloads"].clone();
        let by: Vec<String> = reloads
            .as_array()
            .unwrap()
            .iter()
            .map(|reload| reload["by"].as_str().unwrap().to_owned())
            .collect();
        (by.len() >= 2 && sluice.api(CONFIG).await["text"].as_str().unwrap().contains("limits")).then_some(by)
    })
    .await;
    assert_eq!(by.last().unwrap(), "the write token, from 127.0.0.1");
    assert!(by.iter().any(|by| by == "SIGHUP"), "{by:?}");
    assert!(!sluice.log().iter().any(|line| line.contains("planted")), "{:#?}", sluice.log());
}

const ROUTED: &str = "\
exporters:
  otlp_http/teams: { endpoint: 'https://otel.example.com/in/{{ key }}', headers: { Authorization: Bearer planted-token } }
  nop:
routes:
  - { name: special, match: { team: 'special-*' }, key: team, exporters: [nop] }
  - { name: teams, match: { team: '*' }, key: team, exporters: [otlp_http/teams] }
";

async fn explain(sluice: &Sluice, query: &str, content_type: &str, body: impl Into<bytes::Bytes>) -> Answer {
    let headers = [("content-type", content_type)];
    http::send(sluice.admin, "POST", &format!("/api/v1/explain{query}"), &headers, body.into()).await
}

#[tokio::test]
async fn a_request_is_explained_as_the_command_does_by_the_configuration_in_use() {
    let sluice = Sluice::start(ROUTED).await;
    let entry = |attributes: &[(&str, &str)]| entry_of(Signal::Logs, resource(attributes), &["x", "y"]);
    let payload =
        request(&[entry(&[("team", "a b")]), entry(&[("team", "special-1")]), entry(&[("zone", "eu")])]);
    let answer = explain(&sluice, "?signal=logs", "application/x-protobuf", payload.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(!told.to_string().contains("planted"), "{told}");
    assert_eq!(
        (&told["signal"], &told["version"], &told["truncated"]),
        (&json!("logs"), &json!(1), &json!(false))
    );
    let entries = told["entries"].as_array().unwrap();
    let routes = |at: usize| entries[at]["parts"][0]["routes"].as_array().unwrap();
    assert_eq!((&routes(0)[0]["route"], &routes(0)[0]["outcome"]), (&json!("special"), &json!("not_taken")));
    assert!(routes(0)[0]["why"].as_str().unwrap().contains("`team` is `a b`"));
    let sent = &routes(0)[1];
    assert_eq!(
        (&sent["outcome"], &sent["key"], &sent["exporter"]),
        (&json!("sent"), &json!("a b"), &json!("otlp_http/teams"))
    );
    assert_eq!(sent["target"], "https://otel.example.com/in/a%20b/v1/logs");
    let headers = sent["headers"].as_array().unwrap();
    assert!(headers.contains(&json!("authorization: [redacted]")), "{headers:?}");
    assert_eq!((routes(1).len(), &routes(1)[0]["exporter"]), (1, &json!("nop")), "the first match wins");
    let unrouted = &entries[2]["parts"][0]["unrouted"];
    assert_eq!(unrouted["outcome"], "rejected", "{unrouted}");

    // What the command prints names the same routes and destinations.
    let home = sluice.directory();
    std::fs::write(home.join("captured.pb"), &payload).unwrap();
    let args = ["explain", "sluice.yaml", "--payload", "captured.pb", "--signal", "logs"];
    let output =
        tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice")).args(args).current_dir(home).output();
    let printed = String::from_utf8(output.await.unwrap().stdout).unwrap();
    for said in [
        sent["target"].as_str().unwrap(),
        routes(0)[0]["why"].as_str().unwrap(),
        unrouted["why"].as_str().unwrap(),
    ] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
    assert_eq!(sluice.metric("sluice_received_requests_total", &[]).await, 0.0, "nobody has taken it in");

    let moved = ROUTED.replace("otel.example.com", "other.example.com");
    sluice.reconfigure(&moved).await;
    let answer = explain(&sluice, "", "application/x-protobuf", payload).await;
    assert!(answer.text().contains("https://other.example.com/in/a%20b/v1/logs"), "{}", answer.text());
}

#[tokio::test]
async fn json_is_explained_with_what_would_be_cut_out_and_what_is_no_request_is_told() {
    let sluice = Sluice::start(ROUTED).await;
    let json_request = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"team","value":{"stringValue":"a"}}]},
        "scopeLogs":[{"logRecords":[{},{"traceId":"x"}]}]}]}"#;
    let answer = explain(&sluice, "", "application/json; charset=utf-8", json_request).await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&told["signal"], &told["field"]), (&json!("logs"), &json!("resourceLogs")));
    assert_eq!(told["entries"][0]["records"], 1);
    assert_eq!(told["cuts"][0]["path"], "resourceLogs[0].scopeLogs[0].logRecords[1].traceId");
    for (field, signal) in
        [("resourceSpans", "traces"), ("resourceMetrics", "metrics"), ("resourceLogs", "logs")]
    {
        for entries in ["[]", "[{}]"] {
            let body = format!("{{\"{field}\":{entries}}}");
            let answer = explain(&sluice, "", "application/json", body.clone()).await;
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, &told["signal"]), (200, &json!(signal)), "{body}: {told}");
            assert_eq!(told["entries_total"], u64::from(entries == "[{}]"), "{told}");
        }
    }
    for (query, content_type, body, status, said) in [
        (
            "",
            "application/json",
            r#"{"resourceSpans":[],"resourceLogs":[]}"#,
            422,
            "another signal's entries",
        ),
        ("", "application/x-protobuf", "", 422, "the payload fits no signal, or more than one"),
        ("", "text/plain", "{}", 415, "send an OTLP request"),
        ("?signal=log", "application/json", "{}", 400, "`signal` is traces, metrics or logs"),
        (
            "?key=x",
            "application/json",
            "{}",
            400,
            "unknown parameter `key`: there are signal, tenant and receiver",
        ),
        (
            "?receiver=otlp/outside",
            "application/json",
            "{}",
            400,
            "unknown receiver `otlp/outside`: there is `otlp`",
        ),
        ("", "application/json", "{}", 422, "the payload fits no signal, or more than one"),
        ("?signal=logs", "application/json", "{\"resourceLogs\":[", 422, "it would be answered 400"),
        ("?signal=logs", "application/x-protobuf", "\u{7f}", 422, "it would be answered 400"),
    ] {
        let answer = explain(&sluice, query, content_type, body).await;
        assert_eq!(answer.status, status, "{query} {body}: {}", answer.text());
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    }
    assert_eq!(sluice.get("/api/v1/explain").await.status, 405);
    let large = explain(&sluice, "", "application/json", vec![b' '; (1 << 20) + 1]).await;
    assert_eq!(large.status, 413);
}

#[tokio::test]
async fn a_compressed_request_is_explained_if_a_receiver_would_take_it_and_refused_if_not() {
    let sluice = Sluice::start(ROUTED).await;
    let payload = request(&[entry_of(Signal::Logs, resource(&[("team", "a")]), &["x"])]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &payload).unwrap();
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut deflate, &payload).unwrap();
    let bodies = [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(&payload[..], 1).unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("identity", payload.clone()),
    ];
    let explain = async |coding: &str, body: Vec<u8>| {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", coding)];
        http::send(sluice.admin, "POST", "/api/v1/explain?signal=logs&receiver=otlp", &headers, body.into())
            .await
    };
    for (coding, body) in bodies {
        let answer = explain(coding, body).await;
        assert_eq!(answer.status, 200, "{coding}: {}", answer.text());
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(told["entries"][0]["records"], 1, "{coding}: {told}");
    }
    let unknown = explain("br", payload.clone()).await;
    assert_eq!(unknown.status, 415);
    assert!(
        unknown.text().contains("`Content-Encoding: br` is not taken: send gzip, zstd, deflate"),
        "{}",
        unknown.text()
    );
    let wrong = explain("gzip", payload).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("not valid Gzip data"), "{}", wrong.text());
    // A body that is small as it comes, and large behind that.
    let large = explain("zstd", zstd::encode_all(&vec![0; 64 << 20][..], 1).unwrap()).await;
    assert_eq!(large.status, 413, "{}", large.text());
}

#[tokio::test]
async fn what_is_said_of_a_request_of_many_entries_is_bounded() {
    let sluice = Sluice::start(ROUTED).await;
    let entry = entry_of(Signal::Logs, resource(&[("team", "a")]), &["x"]);
    let payload = request(&vec![entry; 20_000]);
    let answer = explain(&sluice, "?signal=logs", "application/x-protobuf", payload).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.body.len() < 2 << 20, "{}", answer.body.len());
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&told["truncated"], &told["entries_total"]), (&json!(true), &json!(20_000)));
    eventually("it goes on", async || (sluice.get("/readyz").await.status == 200).then_some(())).await;
}
