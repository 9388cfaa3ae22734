//! The commands: what they print and how they exit.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use rig::sink::Fault;
use serde_json::Value;
use sluice::otlp::Signal;
use sluice::run::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::support::payload::{attribute, entry_of, logs, request, resource};
use crate::support::process::{TAKEN, run_printed, spawn_on_terminal};
use crate::support::sinks;
use crate::support::tls::Authority;
use crate::support::{Sluice, SluiceProcess, eventually, http};

/// How a command ended.
struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

async fn sluice_in(directory: &Path, args: &[&str], input: &[u8]) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(args)
        .current_dir(directory)
        .env_remove("RUST_LOG")
        .env_remove("SLUICE_CONFIG")
        .env("SLUICE_TEST_TOKEN", "hunter2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary was built");
    // A command that doesn't read has closed its end.
    let _ = child.stdin.take().expect("it is piped").write_all(input).await;
    let ended = tokio::time::timeout(crate::support::PATIENCE, child.wait_with_output()).await;
    let output = ended.expect("it ends in time").expect("it can be waited for");
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("it prints text"),
        error: String::from_utf8(output.stderr).expect("it prints text"),
    }
}

async fn sluice(args: &[&str]) -> Ended {
    sluice_in(&std::env::temp_dir(), args, b"").await
}

const GOOD: &str = "\
receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } } }
exporters:
  otlp_http/tenants: { endpoint: 'https://otel.example.com/in/{{ key }}', headers: { Authorization: 'Bearer ${env:SLUICE_TEST_TOKEN}' } }
  file/local: { path: ./data }
routes:
  - { name: special, match: { s2.stream: 'special-*' }, key: s2.stream, exporters: [file/local] }
  - { name: traces, match: { s2.stream: '*' }, signals: [traces], key: s2.stream, exporters: [file/local] }
  - { name: tenants, match: { s2.stream: '*' }, key: s2.stream, exporters: [otlp_http/tenants], continue: true }
  - { name: copy, match: { s2.stream: { regex: '^a' } }, key: s2.stream, exporters: [file/local] }
";

fn directory(yaml: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sluice.yaml"), yaml).unwrap();
    directory
}

#[tokio::test]
async fn check_exits_with_0_or_with_1_and_every_problem() {
    let good = directory(GOOD);
    let ended = sluice_in(good.path(), &["check", "sluice.yaml"], b"").await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "sluice.yaml: fine\n"), "{}", ended.error);

    let bad = directory(&GOOD.replace("path: ./data", "pth: ./data").replace("[file/local]", "[file/lokal]"));
    let ended = sluice_in(bad.path(), &["check", "sluice.yaml"], b"").await;
    assert_eq!(ended.code, Some(1));
    for expected in
        ["sluice.yaml:4:17: error: unknown key `pth`", "did you mean `path`?", "`file/lokal`", "errors\n"]
    {
        assert!(ended.out.contains(expected), "{expected}: {}", ended.out);
    }
    assert!(!ended.out.contains("hunter2"), "{}", ended.out);
    let ended = sluice_in(bad.path(), &["check", "nowhere.yaml"], b"").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("nowhere.yaml: error: can't read it"), "{}", ended.out);
    assert!(ended.out.contains("help: a relative path begins at the working directory"), "{}", ended.out);
    let ended = sluice_in(bad.path(), &["check", "sluise.yaml"], b"").await;
    assert!(ended.out.contains("help: did you mean `sluice.yaml`?"), "{}", ended.out);
    let ended = sluice_in(bad.path(), &["check", "."], b"").await;
    assert!(ended.out.contains("help: name a file in it"), "{}", ended.out);
}

#[tokio::test]
async fn check_and_explain_run_without_the_secrets() {
    let yaml = GOOD
        .replace("SLUICE_TEST_TOKEN", "SLUICE_TOKEN_THAT_IS_NOT_SET")
        .replace("headers:", "tls: { ca_file: ./not/here.pem }, headers:");
    let home = directory(&yaml);
    let payload = request(&[entry_of(Signal::Logs, resource(&[("s2.stream", "b")]), &["x"])]);
    let explain = ["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"];
    let lacking = sluice_in(home.path(), &explain, &payload).await;
    assert_eq!(lacking.code, Some(1), "{}", lacking.out);
    assert!(lacking.out.ends_with("goes without what is not there\n"), "{}", lacking.out);
    std::fs::create_dir(home.path().join("letters")).unwrap();
    let replay = ["replay", "--config", "sluice.yaml", "--dry-run", "letters"];
    let lacking = sluice_in(home.path(), &replay, b"").await;
    assert_eq!(lacking.code, Some(1), "{}", lacking.out);
    assert!(lacking.out.contains("`sluice replay --dry-run --without-secrets`"), "{}", lacking.out);
    let without = sluice_in(home.path(), &[&replay[..], &["--without-secrets"]].concat(), b"").await;
    assert_eq!(without.code, Some(0), "{} {}", without.out, without.error);
    let sending = ["replay", "--config", "sluice.yaml", "--without-secrets", "letters"];
    assert_eq!(sluice_in(home.path(), &sending, b"").await.code, Some(2), "what is sent needs them");

    let explain = [&explain[..], &["--without-secrets"]].concat();
    let explained = sluice_in(home.path(), &explain, &payload).await;
    assert_eq!(explained.code, Some(0), "{} {}", explained.out, explained.error);
    for expected in
        ["without secrets: ", "https://otel.example.com/in/b/v1/logs", "authorization: [redacted]"]
    {
        assert!(explained.out.contains(expected), "{expected}: {}", explained.out);
    }
    let checked = sluice_in(home.path(), &["check", "sluice.yaml", "--without-secrets"], b"").await;
    assert_eq!(checked.code, Some(0), "{}", checked.out);
    assert!(
        checked.out.contains("`SLUICE_TOKEN_THAT_IS_NOT_SET` is not set: a placeholder stands"),
        "{}",
        checked.out
    );
    assert!(checked.out.contains("the files of `tls` are not read"), "{}", checked.out);
}

#[tokio::test]
async fn check_warns_of_rows_that_lack_what_an_exporter_reads_and_exits_with_0() {
    let yaml = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } } }\n\
                exporters: { otlp_http/up: { endpoint: 'https://{{ tenant.host }}/', headers: { Authorization: 'Bearer {{ tenant.token }}' } } }\n\
                routes: [{ tenants: 'a*', key: '{{ tenant.id }}', exporters: [otlp_http/up] }]\n\
                tenants: { directory: ./tenants.d }\n";
    let home = directory(yaml);
    let rows = home.path().join("tenants.d");
    std::fs::create_dir(&rows).unwrap();
    for (id, values) in [
        ("acme", "{ host: up.example.com, token: hunter2 }"),
        ("ajax", "{ token: hunter2 }"),
        ("atom", "{ host: hunter2 host, token: hunter2 }"),
        ("globex", "{}"),
    ] {
        std::fs::write(rows.join(format!("{id}.yaml")), format!("id: {id}\nvalues: {values}\n")).unwrap();
    }
    let plain = sluice_in(home.path(), &["check", "sluice.yaml"], b"").await;
    assert_eq!((plain.code, plain.out.as_str()), (Some(0), "sluice.yaml: fine\n"), "{}", plain.error);
    let checked = sluice_in(home.path(), &["check", "--tenants", "sluice.yaml"], b"").await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.error);
    for expected in [
        "tenants.d/ajax.yaml:2:1: warning: the exporter `otlp_http/up` can't send data of tenant `ajax`: the tenant's row has no value \
         `host`",
        "tenants.d/atom.yaml:2:17: warning: the exporter `otlp_http/up` can't send data of tenant `atom`: the value of `tenant.host` \
         can't be put into a URL's host",
        "./tenants.d: 4 of 4 rows can be used\nsluice.yaml: can be used, with 2 warnings\n",
    ] {
        assert!(checked.out.contains(expected), "{expected}: {}", checked.out);
    }
    assert!(!checked.out.contains("hunter2"), "{}", checked.out);
}

#[tokio::test]
async fn run_with_a_bad_file_exits_with_1_and_says_what_check_says() {
    let bad = directory("receivers: 1\n");
    let checked = sluice_in(bad.path(), &["check", "sluice.yaml"], b"").await;
    let ran = sluice_in(bad.path(), &["run", "--config", "sluice.yaml"], b"").await;
    assert_eq!((checked.code, ran.code), (Some(1), Some(1)));
    let first = checked.out.lines().next().expect("there is a problem");
    assert!(ran.error.contains(first), "{first}: {}", ran.error);
    let ran = sluice_in(bad.path(), &["run", "--config", "sluice.yaml", "--log-format", "json"], b"").await;
    assert_eq!(ran.code, Some(1));
    let lines: Vec<Value> = ran.error.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(
        lines.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(first))),
        "{lines:?}"
    );
}

#[tokio::test]
async fn explain_takes_json_and_tells_its_signal_by_itself() {
    let home = directory(GOOD);
    let json = br#" {"resourceLogs":[7,{"resource":{"attributes":[{"key":"s2.stream","value":{"stringValue":"special-1"}}]},
        "scopeLogs":[{"logRecords":[{},{"traceId":"x"}]}]}]}"#;
    let ended = sluice_in(home.path(), &["explain", "sluice.yaml", "--payload", "-"], json).await;
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    for expected in [
        "resourceLogs[1]: records: 1, bytes: ",
        "route `special`: stream `special-1` of exporter `file/local`",
        "cut out: resourceLogs[0] at byte ",
        "cut out: resourceLogs[1].scopeLogs[0].logRecords[1].traceId at byte ",
    ] {
        assert!(ended.out.contains(expected), "{expected}: {}", ended.out);
    }
    let args = ["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"];
    let ended = sluice_in(home.path(), &args, br#"{"resourceLogs":["#).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("it would be answered 400: the document ends in the middle"), "{}", ended.out);
}

#[tokio::test]
async fn explain_shows_what_a_preset_fills_in_and_which_keys_its_upstream_does_not_take() {
    let yaml = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } } }\n\
                exporters:\n\
                \x20 otlp_http/s2: { preset: s2, endpoint: https://my-basin.b.s2.dev, token: hunter2, compression: gzip }\n\
                \x20 otlp_grpc/highlight: { preset: highlight }\n\
                routes:\n\
                \x20 - { match: { s2.stream: '*' }, key: s2.stream, exporters: [otlp_http/s2] }\n\
                \x20 - { match: { highlight.project_id: '*' }, key: highlight.project_id, exporters: [otlp_grpc/highlight] }\n";
    let home = directory(yaml);
    let entry = |name, value| entry_of(Signal::Logs, resource(&[(name, value)]), &["x"]);
    let project = "highlight.project_id";
    let payload = request(&[entry("s2.stream", "a"), entry(project, "7"), entry(project, "no id")]);
    let explain = ["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"];
    let ended = sluice_in(home.path(), &explain, &payload).await;
    assert_eq!(ended.code, Some(0), "{} {}", ended.out, ended.error);
    for expected in [
        "    https://my-basin.b.s2.dev/otlp/v1/logs\n",
        "    authorization: [redacted]\n",
        "exporter `otlp_http/s2`\n  preset `s2` fills in:\n    endpoint: …/otlp\n    sending_queue.num_consumers: 1\n",
        "    statuses.409: { dead_letter: 10m }\n    statuses.412: dead_letter\n    headers.Authorization: Bearer [redacted]\n",
        "  preset `highlight` fills in:\n    endpoint: https://otel.highlight.io:4317\n    valid_key.description: a project's id is a number",
        "\n    valid_key.regex: [1-9][0-9]{0,8}|",
        "    rejected: the upstream does not take the key `no id`: a project's id is a number from 1 to 2147483647",
    ] {
        assert!(ended.out.contains(expected), "{expected}: {}", ended.out);
    }
    assert_eq!(ended.out.matches("fills in:").count(), 2, "each once: {}", ended.out);
    assert!(!ended.out.contains("hunter2"), "{}", ended.out);
}

#[tokio::test]
async fn explain_says_where_each_entry_goes_and_why_not_elsewhere() {
    let home = directory(GOOD);
    let entry = |attributes: &[(&str, &str)]| entry_of(Signal::Logs, resource(attributes), &["x", "y"]);
    let payload = request(&[
        entry(&[("s2.stream", "a/b c")]),
        entry(&[("s2.stream", "special-1")]),
        entry(&[("service.name", "nobody")]),
    ]);
    std::fs::write(home.path().join("captured.pb"), &payload).unwrap();
    let args = ["explain", "sluice.yaml", "--payload", "captured.pb", "--signal", "logs"];
    let ended = sluice_in(home.path(), &args, b"").await;
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    let sections: Vec<&str> = ended.out.split("resource_logs[").skip(1).collect();
    assert_eq!(sections.len(), 3, "{}", ended.out);
    for expected in [
        "0]: records: 2, bytes: ",
        "route `special` does not take it: `s2.stream` is `a/b c`",
        "route `traces` does not take it",
        "route `tenants`: stream `a/b c` of exporter `otlp_http/tenants`",
        "https://otel.example.com/in/a%2Fb%20c/v1/logs",
        "content-type: application/x-protobuf",
        "authorization: [redacted]",
        "route `copy`: stream `a/b c` of exporter `file/local`",
        "./data/a%2Fb%20c/logs.jsonl",
    ] {
        assert!(sections[0].contains(expected), "{expected}: {}", sections[0]);
    }
    assert!(
        sections[1].contains("route `special`: stream `special-1` of exporter `file/local`"),
        "{}",
        sections[1]
    );
    assert!(!sections[1].contains("`tenants`"), "the first match wins: {}", sections[1]);
    assert!(
        sections[2].contains("`s2.stream` is absent") && sections[2].contains("rejected: "),
        "{}",
        sections[2]
    );
    assert!(!ended.out.contains("hunter2"), "{}", ended.out);

    let piped =
        sluice_in(home.path(), &["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"], &payload)
            .await;
    assert_eq!(piped.out, ended.out, "a payload can be piped");
    let ended =
        sluice_in(home.path(), &["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"], &[0xff])
            .await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("it would be answered 400"), "{}", ended.out);
}

#[tokio::test]
async fn schema_prints_a_json_schema_of_all_sections() {
    let ended = sluice(&["schema"]).await;
    assert_eq!(ended.code, Some(0));
    let schema: Value = serde_json::from_str(&ended.out).expect("it is JSON");
    for section in
        ["receivers", "exporters", "routes", "unrouted", "limits", "admin", "health", "dead_letter"]
    {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[tokio::test]
async fn a_configuration_that_comes_through_standard_input_is_checked_as_a_file_is() {
    let home = directory("");
    std::fs::write(home.path().join("rows.yaml"), "tenants: [{ id: acme }, { id: acme }]\n").unwrap();
    let ended = sluice_in(home.path(), &["check", "-"], GOOD.as_bytes()).await;
    assert_eq!((ended.code, &*ended.out), (Some(0), "<stdin>: fine\n"), "{}", ended.error);
    // A relative path begins at the working directory, as in a file.
    let bad = GOOD.replace("path: ./data", "pth: ./data") + "tenants: { file: rows.yaml }\n";
    for args in [&["check", "-"][..], &["check", "--config", "-"], &["--config", "-", "check", "--quiet"]] {
        let ended = sluice_in(home.path(), args, bad.as_bytes()).await;
        assert_eq!(ended.code, Some(1), "{args:?}: {}", ended.error);
        assert!(ended.out.contains("<stdin>:4:17: error: unknown key `pth`"), "{args:?}: {}", ended.out);
        assert!(ended.out.contains("rows.yaml:1:"), "{args:?}: {}", ended.out);
    }
    let ended = sluice_in(home.path(), &["check", "-"], b"").await;
    assert!(
        ended.code == Some(1) && ended.out.contains("nothing comes through standard input"),
        "{}",
        ended.out
    );
    let ended = sluice_in(home.path(), &["explain", "-", "--payload", "-"], GOOD.as_bytes()).await;
    assert!(
        ended.code == Some(1) && ended.out.contains("both the configuration and the payload"),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn whoever_asks_another_listener_is_told_that_it_is_no_admin_listener() {
    const ELSEWHERE: &str = "is no admin listener: ";
    let up = sinks::counting().await;
    let sluice_ = Sluice::start(&format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}' }} }}\nroutes: [{{ exporters: [otlp_http/up] }}]\n\
         health: {{ endpoint: 127.0.0.1:0 }}\n",
        up.url()
    ))
    .await;
    let page = answering(
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\ncontent-length: 14\r\n\r\n<h1>None</h1>\n",
    )
    .await;
    let welcome =
        answering("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<h1>Hi!</h1>\n")
            .await;
    // The settings with which a server of HTTP/2 begins.
    let grpc = answering("\0\0\0\u{4}\0\0\0\0\0").await;
    let health = sluice_.router().addresses(Role::Health).await[0];
    for (address, said) in [
        (sluice_.otlp, "an OTLP receiver answers there (404 Not Found)"),
        (health, "Sluice's health listener answers there (404 Not Found)"),
        (page, "another server answers there (404 Not Found)"),
        (welcome, "another server answers there (200 OK)"),
        (grpc, "what is there speaks no HTTP/1.1: is it the port of a gRPC server"),
        (answering("").await, "it has closed the connection without one"),
    ] {
        let address = address.to_string();
        for command in [&["tenants", "list"][..], &["tenants", "pause", "acme"], &["tap"]] {
            let ended = sluice(&[command, &["--admin", &address]].concat()).await;
            assert_eq!(ended.code, Some(1), "{command:?}: {}", ended.error);
            assert!(ended.error.contains(said), "{command:?}: {}", ended.error);
            assert!(ended.error.contains("`admin.endpoint`"), "{command:?}: {}", ended.error);
            assert!(
                ended.error.contains(ELSEWHERE) || !said.contains("answers there"),
                "{command:?}: {}",
                ended.error
            );
        }
    }
    // It takes connections, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for command in [&["tenants", "list"][..], &["tap"]] {
        let ended = sluice(&[command, &["--admin", &address, "--timeout", "200ms"]].concat()).await;
        assert!(ended.error.contains("it has not come within 200ms (`--timeout`)"), "{}", ended.error);
    }
    let ended = sluice(&["health", &sluice_.otlp.to_string()]).await;
    assert!(ended.error.contains("answered 404 Not Found: name the endpoint of `health`"), "{}", ended.error);
}

/// The address of something that answers whatever it is asked with these bytes.
async fn answering(answer: &'static str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = connection.read(&mut head).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn health_exits_with_0_only_if_it_is_ready() {
    let up = sinks::counting().await;
    let sluice_ = Sluice::start(&format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}' }} }}\nroutes: [{{ exporters: [otlp_http/up] }}]\n",
        up.url()
    ))
    .await;
    let url = format!("http://{}", sluice_.admin);
    for url in [url.clone(), url.clone() + "/", url.clone() + "/readyz", sluice_.admin.to_string()] {
        let ended = sluice(&["health", &url]).await;
        assert_eq!(ended.code, Some(0), "{url}: {}", ended.error);
    }
    sluice_.router().begin_stopping();
    let ended = sluice(&["health", &url]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.error.contains("answered 503"), "{}", ended.error);
    let ended = sluice(&["health", &sinks::nobody().await.to_string()]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.error.contains("can't be reached: Connection refused"), "{}", ended.error);
}

#[tokio::test]
async fn explain_divides_an_entry_by_its_records_and_says_which_attribute_counted() {
    const BY_RECORD: &str = "\
receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } } }
exporters: { file/local: { path: ./data } }
routes:
  - { name: metrics, signals: [metrics], exporters: [file/local] }
  - { name: team, match: { team: a }, exporters: [file/local], continue: true }
  - { name: project, key: { record: project.id, resource: project.id }, exporters: [file/local] }
  - { name: zone, match: { zone: '*' }, key: zone, exporters: [file/local] }
";
    let home = directory(BY_RECORD);
    let entry = |of: &[(&str, &str)], records: &[(&str, &str)]| {
        let record = |(name, value): &(&str, &str)| LogRecord {
            attributes: vec![attribute(name, value)],
            ..LogRecord::default()
        };
        let log_records = records.iter().map(record).collect();
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        ResourceLogs { resource: Some(resource(of)), scope_logs, ..ResourceLogs::default() }.encode_to_vec()
    };
    let payload = request(&[
        entry(
            &[("project.id", "1"), ("team", "b")],
            &[("project.id", "2"), ("team", "a"), ("project.id", "2")],
        ),
        // The other record goes the same way since it has the attribute, but no value.
        entry(&[], &[("zone", "north"), ("project.id", "")]),
    ]);
    let args = ["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"];
    let ended = sluice_in(home.path(), &args, &payload).await;
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    let (differing, missing) = ended.out.split_once("resource_logs[1]").unwrap();
    let (first, second) = differing.split_once("part 2 of 2").unwrap();
    for (expected, part) in [
        ("part 1 of 2, by its records: records: 2, bytes: ", first),
        ("route `project`: stream `2` of exporter `file/local`", first),
        ("`project.id` is `2` on the records, which counted, and `1` on the resource", first),
        (", by its records: records: 1, bytes: ", second),
        ("route `project`: stream `1` of exporter `file/local`", second),
        (
            "`team` is `b` on the resource, which counted, and `a` on the first record: for records to count, write \
             `match: { record: { team: … } }`",
            second,
        ),
        (
            "`project.id` is absent on the first of its 2 records, `project.id` is absent on the resource",
            missing,
        ),
        (
            "`zone` is not on the resource; it is on the records: write `match: { record: { zone: … } }` and \
             `key: { record: zone, resource: zone }`",
            missing,
        ),
        ("rejected: no route takes these logs", missing),
    ] {
        assert!(part.contains(expected), "{expected}: {part}");
    }
}

#[tokio::test]
async fn explain_says_which_processors_edit_an_entry_and_why_they_can_not() {
    let home = directory(
        "receivers: { otlp: { protocols: { http: } } }\nexporters: { debug: }\nprocessors:\n  resource/zone: { attributes: [{ key: \
         place, value: '{{ resource[\"zone\"] }}', action: insert }] }\nroutes: [{ name: all, processors: [resource/zone], exporters: \
         [debug] }]\n",
    );
    let entry = |attributes: &[(&str, &str)]| entry_of(Signal::Logs, resource(attributes), &["x"]);
    let payload = request(&[
        entry(&[("zone", "eu")]),
        entry(&[("zone", "eu"), ("place", "here")]),
        entry(&[("service.name", "nobody")]),
    ]);
    let args = ["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"];
    let ended = sluice_in(home.path(), &args, &payload).await;
    let sections: Vec<&str> = ended.out.split("resource_logs[").skip(1).collect();
    for (section, expected) in sections.iter().zip([
        "stream `all` of exporter `debug`\n    edited by `resource/zone`\n",
        "\n    edited by `resource/zone`, which change nothing\n",
        "\n    rejected: the route can't edit it: the resource has no attribute `zone`, which a template needs\n",
    ]) {
        assert!(section.contains(expected), "{expected}: {section}");
    }
    assert_eq!(sections.len(), 3, "{}", ended.out);
    assert!(!sections[2].contains("standard output"), "what is rejected has no destination: {}", sections[2]);
}

#[tokio::test]
async fn explain_says_which_route_has_put_an_entry_into_a_stream_before() {
    let home = directory(
        "receivers: { otlp: { protocols: { http: } } }\nexporters: { debug: , file/all: { path: ./data } }\nprocessors:\n  \
         resource/a: { attributes: [{ key: a, action: delete }] }\n  resource/zone: { attributes: [{ key: place, value: '{{ \
         resource[\"zone\"] }}', action: insert }] }\nroutes:\n  - { name: zoned, key: [k, k], processors: [resource/zone], exporters: \
         [debug], continue: true }\n  - { name: plain, key: k, exporters: [debug], continue: true }\n  - { name: edited, key: [k, \
         other], processors: [resource/a], exporters: [debug, file/all] }\n",
    );
    let payload = request(&[entry_of(Signal::Logs, resource(&[("k", "1"), ("a", "b")]), &["x"])]);
    let args = ["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"];
    let ended = sluice_in(home.path(), &args, &payload).await;
    for expected in [
        "  route `zoned`: stream `1` of exporter `debug`\n    rejected: the route can't edit it: ",
        "  route `plain`: stream `1` of exporter `debug`\n    standard output\n",
        "  route `edited`: stream `1` of exporter `debug`\n    already in this stream by route `plain`, whose copy counts\n",
        "  route `edited`: stream `1` of exporter `file/all`\n    edited by `resource/a`\n    ./data",
    ] {
        assert!(ended.out.contains(expected), "{expected}: {}{}", ended.out, ended.error);
    }
}

#[tokio::test]
async fn explain_without_a_payload_says_that_the_file_may_be_left_out() {
    let ended = sluice(&["explain", "sluice.yaml"]).await;
    assert_eq!(ended.code, Some(2));
    let usage = "Usage: sluice explain [OPTIONS] --payload <PAYLOAD> [FILE]";
    assert!(ended.error.contains("--payload") && ended.error.contains(usage), "{}", ended.error);
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    let wrong: [&[&str]; 15] = [
        &["frobnicate"],
        &["--nonsense"],
        &["check", "one", "--two"],
        &["explain", "sluice.yaml"],
        &["run", "--log-format", "xml"],
        &["send", "--streams", "many"],
        &["send", "--protocol", "grpc", "--encoding", "json"],
        &["send", "--endpoint", "https://127.0.0.1:9", "--ca-file", "nowhere.pem"],
        &["sink", "--tls-cert", "sink.pem"],
        &["explain", "sluice.yaml", "--payload", "x", "--signal", "profiles"],
        &["--config", "one.yaml", "run", "--config", "two.yaml"],
        &["check", "one.yaml", "--config", "two.yaml"],
        &["--config", "one.yaml", "explain", "two.yaml", "--payload", "x"],
        &["--config", "one.yaml", "replay", "--config", "two.yaml", "letters"],
        &["--config", "one.yaml", "health"],
    ];
    for args in wrong {
        let ended = sluice(args).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.error);
        assert!(ended.out.is_empty() && !ended.error.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn send_and_sink_speak_grpc_over_tls() {
    let authority = Authority::new("authority");
    let listen = sinks::nobody().await;
    authority.write("sink", &authority.sign(&listen.ip().to_string()));
    let file = |name: &str| authority.path(name).to_str().expect("UTF-8").to_owned();
    let listen = listen.to_string();
    let endpoint = format!("https://{listen}");
    let (cert, key, ca) = (file("sink.pem"), file("sink.key"), file("ca.pem"));
    let sink =
        ["sink", "--listen", &listen, "--tls-cert", &cert, "--tls-key", &key, "--expect-records", "200"];
    let send = [
        "send",
        "--protocol",
        "grpc",
        "--endpoint",
        &endpoint,
        "--ca-file",
        &ca,
        "--requests",
        "1",
        "--retry",
    ];
    let (received, sent) = tokio::join!(sluice(&sink), sluice(&send));
    assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{}\n{}", sent.error, received.error);
    assert!(received.out.contains("0 missing, 0 reordered, 0 duplicates"), "{}", received.out);
}

#[tokio::test]
async fn send_and_sink_say_how_far_they_are_every_ten_seconds_at_most_in_a_file() {
    let listen = sinks::nobody().await.to_string();
    let endpoint = format!("http://{listen}");
    let sink = ["sink", "--listen", &listen, "--expect-records", "2400"];
    let send = ["send", "--endpoint", &endpoint, "--duration", "12s", "--rate", "1", "--retry"];
    let began = tokio::time::Instant::now();
    let (received, sent) = tokio::join!(sluice(&sink), sluice(&send));
    let most = began.elapsed().as_secs() as usize / 10;
    for ended in [received, sent] {
        assert_eq!(ended.code, Some(0), "{}", ended.error);
        let lines = ended.error.matches(" requests/s  ").count();
        assert!((1..=most).contains(&lines), "{lines} of {most}: {}", ended.error);
    }
}

#[tokio::test]
async fn send_and_sink_say_each_second_how_far_they_are_on_a_terminal() {
    let listen = sinks::nobody().await.to_string();
    let endpoint = format!("http://{listen}");
    let sink: &[&str] = &["sink", "--listen", &listen];
    let send = &["send", "--endpoint", &endpoint, "--duration", "60s", "--rate", "20", "--retry"];
    let started = [sink, send].map(|args| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let log = Arc::default();
        (spawn_on_terminal(&mut command, Arc::clone(&log)), log)
    });
    for (_child, log) in &started {
        let lines = || log.lock().iter().filter(|line: &&String| line.contains(" requests/s  ")).count();
        eventually("it says so twice", async || (lines() >= 2).then_some(())).await;
    }
}

#[tokio::test]
async fn a_sink_asks_about_its_attribute_if_records_come_without_it() {
    for (named, asked) in [("tenant.id", true), ("s2.stream", false)] {
        let listen = sinks::nobody().await.to_string();
        let endpoint = format!("http://{listen}");
        let sink = ["sink", "--listen", &listen, "--expect-records", "200"];
        let send = [
            "send",
            "--endpoint",
            &endpoint,
            "--attribute",
            named,
            "--streams",
            "1",
            "--requests",
            "1",
            "--retry",
        ];
        let (received, _) = tokio::join!(sluice(&sink), sluice(&send));
        let question =
            "200 of 200 records without `s2.stream`, which count as one stream: is --attribute right?";
        assert_eq!(received.out.contains(question), asked, "{named}: {}", received.out);
    }
}

#[tokio::test]
async fn explain_shows_headers_that_are_made_of_the_routing_key_and_no_others() {
    let home = directory(
        "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } } }\n\
         exporters:\n\
         \x20 otlp_http/up:\n\
         \x20   endpoint: \"https://otel.example.com/{{ key.zone }}\"\n\
         \x20   headers:\n\
         \x20     X-Scope-OrgID: '{{ key }}'\n\
         \x20     X-Where: \"{{ key.zone }}/{{ signal }}\"\n\
         \x20     X-Same: \"{{ key.stream }}\"\n\
         \x20     Authorization: 'Bearer {{ key }}'\n\
         \x20     X-Both: \"{{ key }}-s3cr3t\"\n\
         \x20     X-Fixed: fixed-s3cr3t\n\
         \x20 otlp_grpc/up:\n\
         \x20   endpoint: otel.example.com:4317\n\
         \x20   headers: { x-tenant: '{{ key }}', x-token: s3cr3t }\n\
         routes: [{ key: { stream: s2.stream, zone: zone }, exporters: [otlp_http/up, otlp_grpc/up] }]\n",
    );
    let attributes = [("s2.stream", "acme"), ("zone", "eu")];
    let payload = request(&[entry_of(Signal::Logs, resource(&attributes), &["x"])]);
    let args = ["explain", "sluice.yaml", "--payload", "-", "--signal", "logs"];
    let ended = sluice_in(home.path(), &args, &payload).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.error);
    for line in [
        "x-scope-orgid: acme/eu",
        "x-where: eu/logs",
        "x-same: acme",
        "authorization: [redacted]",
        "x-both: [redacted]",
        "x-fixed: [redacted]",
        "x-tenant: acme/eu",
    ] {
        assert!(ended.out.lines().any(|shown| shown.trim() == line), "{line}: {}", ended.out);
    }
    assert!(!ended.out.contains("s3cr3t"), "{}", ended.out);
}

#[tokio::test]
async fn send_shows_what_the_server_says_but_no_secrets() {
    for protocol in ["http", "grpc"] {
        let up = sinks::counting().await;
        let endpoint = format!("http://{}", up.addr());
        let send = async || {
            let header = "Authorization: Bearer hunter2";
            let args = [
                "send",
                "--protocol",
                protocol,
                "--endpoint",
                &endpoint,
                "--requests",
                "1",
                "--header",
                header,
            ];
            sluice(&args).await
        };
        up.set_fault(Fault::status(400).message("hunter2 may not send\nto `here`"));
        let refused = send().await;
        assert_eq!(refused.code, Some(1), "{}", refused.error);
        assert!(refused.error.contains(": [redacted] may not send to `here`"), "{}", refused.error);
        up.set_fault(Fault::partial_success(3, "three are too old for hunter2"));
        let partial = send().await;
        let said = "the server answers with partial success: three are too old for [redacted]";
        assert!(partial.error.contains(said), "{}", partial.error);
        assert!(!(refused.error + &partial.error).contains("hunter2"));
    }
}

#[tokio::test]
async fn version_and_help_exit_with_0() {
    let ended = sluice(&["--version"]).await;
    assert_eq!((ended.code, ended.out), (Some(0), format!("sluice {}\n", env!("CARGO_PKG_VERSION"))));
    let ended = sluice(&["--help"]).await;
    assert_eq!(ended.code, Some(0));
    let about = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(about.contains("splits OTLP by attributes of resources and records"), "{about}");
    for command in ["run", "check", "explain", "schema", "send", "sink", "health"] {
        assert!(ended.out.contains(&format!("\n  {command} ")), "{command}: {}", ended.out);
    }
}

#[tokio::test]
async fn with_log_format_json_every_line_is_json() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let yaml = format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}' }} }}\nroutes: [{{ exporters: [otlp_http/up] }}]\nshutdown_timeout: 1s\n",
        up.url()
    );
    let mut sluice = SluiceProcess::start(&yaml, &["--log-format", "json"]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    sluice.logged("attempt failed and will be repeated").await;
    sluice.write_config("receivers: [\n");
    sluice.logged("configuration not reloaded").await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(1));
    sluice.logged("not delivered in time").await;
    for line in sluice.log() {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        assert!(line["message"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn hundreds_of_warnings_leave_room_for_the_lines_that_say_where_it_listens() {
    let unused: Vec<String> = (0..300).map(|number| format!("  debug/{number}:\n")).collect();
    let unused = unused.concat();
    let yaml = format!("exporters:\n  debug:\n{unused}routes: [{{ exporters: [debug] }}]\n");
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    sluice.logged("OTLP/HTTP on").await;
    sluice.logged("admin on").await;
    let line = sluice.logged("the configuration has more warnings").await;
    assert!(line.contains("more=280"), "{line}");
    let warnings = sluice.log().iter().filter(|line| line.contains("no route sends to")).count();
    assert_eq!(warnings, 20);
}

#[tokio::test]
async fn a_warning_of_the_configuration_is_one_line_of_the_log_that_says_once_how_bad_it_is() {
    let yaml =
        "exporters: { debug: { sending_queue: { num_consumers: 2 } } }\nroutes: [{ exporters: [debug] }]\n";
    let sluice = SluiceProcess::start(yaml, &[]).await;
    let line = sluice.logged("the order within a stream is lost").await;
    assert!(line.contains(" WARN ") && line.contains("(help: write `num_consumers: 1`"), "{line}");
    assert!(!line.contains("warning:"), "{line}");
    assert!(!sluice.log().iter().any(|line| line.contains("^^^")), "no picture in a log: {:?}", sluice.log());
}

#[tokio::test]
async fn config_names_the_configuration_wherever_it_stands() {
    let home = directory(GOOD);
    std::fs::rename(home.path().join("sluice.yaml"), home.path().join("mine.yaml")).unwrap();
    std::fs::create_dir(home.path().join("letters")).unwrap();
    std::fs::write(home.path().join("x.logs.pb"), logs(&[("special-1", &["x"])])).unwrap();
    let config: [&str; 2] = ["--config", "mine.yaml"];
    let commands: [(&[&str], &str); 3] = [
        (&["check"], "mine.yaml: fine\n"),
        (&["explain", "--payload", "x.logs.pb"], "route `special`: stream `special-1`"),
        (&["replay", "letters"], "0 letters (0 records) delivered, 0 left\n"),
    ];
    for (command, expected) in commands {
        for args in [[&config, command].concat(), [command, &config].concat()] {
            let ended = sluice_in(home.path(), &args, b"").await;
            assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.out, ended.error);
            assert!(ended.out.contains(expected), "{args:?}: {}", ended.out);
            // Without the file, all of them say so: none has read another one.
            let gone = args.iter().map(|arg| arg.replace("mine.yaml", "gone.yaml")).collect::<Vec<_>>();
            let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
            let ended = sluice_in(home.path(), &gone, b"").await;
            assert_eq!(ended.code, Some(1), "{args:?}");
            assert!(ended.out.contains("gone.yaml: error: can't read it"), "{args:?}: {}", ended.out);
        }
    }
    let ended = sluice_in(home.path(), &["--config", "mine.yaml", "check", "mine.yaml"], b"").await;
    assert_eq!(ended.code, Some(0), "the same twice is no contradiction: {}", ended.error);
}

#[tokio::test]
async fn a_file_in_place_of_a_command_gets_a_hint() {
    for file in ["demo.yaml", "demo.yml", "./demo"] {
        let ended = sluice(&[file]).await;
        assert_eq!(ended.code, Some(2));
        assert!(ended.error.contains(&format!("write `sluice run --config {file}`")), "{}", ended.error);
    }
    let ended = sluice(&["chek"]).await;
    assert!(ended.error.contains("check") && !ended.error.contains("--config chek"), "{}", ended.error);
}

#[tokio::test]
async fn a_request_to_a_wrong_place_is_logged_with_what_to_do_once_in_a_while() {
    let sluice = SluiceProcess::start("exporters: { debug: }\nroutes: [{ exporters: [debug] }]\n", &[]).await;
    let send = async |method, path, kind| {
        let headers = [("content-type", kind), ("user-agent", "OTel-Test/1")];
        http::send(sluice.otlp, method, path, &headers, bytes::Bytes::new()).await.status
    };
    for _ in 0..20 {
        assert_eq!(send("POST", "/api/traces", "application/x-protobuf").await, 404);
        assert_eq!(send("GET", "/v1/logs", "application/x-protobuf").await, 405);
        assert_eq!(send("POST", "/v1/logs", "text/plain").await, 415);
    }
    for (code, what) in [
        ("404", "there is no `/api/traces` here: send to `/v1/traces`"),
        ("405", "`GET` is not allowed here: OTLP is sent by POST"),
        ("415", "`Content-Type: text/plain` is not taken: send `Content-Type: application/x-protobuf`, "),
    ] {
        let line = sluice.logged(what).await;
        let code = format!("code=\"{code}\"");
        let sender = ["peer=\"127.0.0.1:", "user_agent=\"OTel-Test/1\""];
        for part in [" WARN ", &code, "receiver=\"otlp\""].iter().chain(&sender) {
            assert!(line.contains(part), "{part}: {line}");
        }
        let lines = sluice.log().iter().filter(|line| line.contains(what)).count();
        assert!(lines < 20, "{lines} lines for 20 requests");
    }
}

#[tokio::test]
async fn what_to_try_is_printed_to_terminals_alone() {
    let yaml = "exporters: { debug: }\nroutes: [{ exporters: [debug] }]\n";
    let mut sluice = SluiceProcess::start(yaml, &[]).await;
    sluice.signal("TERM").await;
    assert!(sluice.ended().await.success());
    sluice.logged("nothing is left").await;
    assert!(!sluice.says("Try:") && !sluice.says("curl"), "{:?}", sluice.log());
}

#[tokio::test]
async fn what_is_printed_to_try_is_what_the_routes_take() {
    let cases = [
        ("match: { project: { regex: '^[0-9a-z]{1,16}$' } }, key: project", "logs", None),
        (
            "match: { tenant: [acme, globex], env: { not: dev } }, key: '{{ resource[\"team\"] }}/x'",
            "logs",
            None,
        ),
        ("match: { service.name: { exists: false }, zone: 'eu-*-?' }, signals: [traces]", "traces", None),
        ("match: { service.name: { not: curl } }, key: [pod, host]", "logs", Some("--attribute pod")),
        ("signals: [metrics]", "metrics", Some("--signal metrics --streams")),
    ];
    for (route, signal, send) in cases {
        let yaml = format!("exporters: {{ debug: }}\nroutes: [{{ {route}, exporters: [debug] }}]\n");
        let sluice = SluiceProcess::start_on_terminal(&yaml).await;
        let curl = sluice.logged("curl -sS").await;
        assert_eq!(run_printed(&curl).await, TAKEN, "{route}: nothing was rejected");
        let accepted = [("signal", signal), ("transport", "http"), ("outcome", "accepted")];
        assert_eq!(sluice.metric("sluice_received_records_total", &accepted).await, 1.0, "{route}");
        sluice.logged("/api/v1/streams").await;
        sluice.logged(&format!("http://{}/ is the dashboard", sluice.admin)).await;
        let line = sluice.log().into_iter().find(|line| line.contains(" send --endpoint"));
        assert_eq!(line.is_some(), send.is_some(), "{route}: {line:?}");
        if let (Some(line), Some(send)) = (line, send) {
            assert!(line.contains(send), "{line}");
            run_printed(&line.replace("--duration 5s", "--requests 1")).await;
        }
    }
    let never =
        "exporters: { debug: }\nroutes: [{ match: { id: { regex: '^[0-9]{9}$' } }, exporters: [debug] }]\n";
    let sluice = SluiceProcess::start_on_terminal(never).await;
    sluice.logged("no route takes a resource that could be made up here").await;
    sluice.logged("/api/v1/streams").await;
    assert!(!sluice.log().iter().any(|line| line.contains("/v1/logs")), "{:?}", sluice.log());
}

#[tokio::test]
async fn every_command_has_a_manual_page_and_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let ended = sluice_in(directory.path(), &["man", "pages"], b"").await;
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    let help = sluice(&["--help"]).await.out;
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"run") && commands.contains(&"man"), "{commands:?}");
    let completions = sluice(&["completions", "bash"]).await.out;
    for command in commands.into_iter().filter(|command| *command != "help") {
        let page = directory.path().join(format!("pages/sluice-{command}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(page.contains(".SH SYNOPSIS"), "{command}: {page}");
        assert!(completions.contains(&format!("sluice,{command})")), "{command}: {completions}");
    }
    for shell in ["zsh", "fish"] {
        let ended = sluice(&["completions", shell]).await;
        assert!(ended.code == Some(0) && ended.out.contains("without-secrets"), "{shell}: {}", ended.error);
    }
}

#[tokio::test]
async fn a_log_has_colours_on_a_terminal_unless_no_color_is_set() {
    let yaml = "exporters: { nop: }\nroutes: [{ exporters: [nop] }]\n";
    let has_colours = |sluice: &SluiceProcess| sluice.log().iter().any(|line| line.contains('\u{1b}'));
    assert!(has_colours(&SluiceProcess::start_on_terminal(yaml).await));
    assert!(has_colours(&SluiceProcess::start_on_terminal_with_env(yaml, &[("NO_COLOR", "")]).await));
    assert!(!has_colours(&SluiceProcess::start_on_terminal_with_env(yaml, &[("NO_COLOR", "1")]).await));
    assert!(!has_colours(&SluiceProcess::start(yaml, &[]).await), "nor where nobody watches");
}

#[tokio::test]
async fn what_flows_is_told_each_second_on_a_terminal_and_at_most_every_ten_in_a_log() {
    let yaml = "exporters: { nop: }\nroutes: [{ exporters: [nop] }]\n";
    let begun = tokio::time::Instant::now();
    let (watched, kept) =
        (SluiceProcess::start_on_terminal(yaml).await, SluiceProcess::start(yaml, &[]).await);
    let told =
        |sluice: &SluiceProcess| sluice.log().iter().filter(|line| line.contains("MB/s in")).count() as u64;
    eventually("three lines on the terminal", async || {
        for sluice in [&watched, &kept] {
            sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        }
        (told(&watched) >= 3).then_some(())
    })
    .await;
    assert!(told(&kept) <= begun.elapsed().as_secs() / 10, "{:?}", kept.log());
    kept.logged("MB/s in").await;
    assert!(begun.elapsed() >= std::time::Duration::from_secs(10));
}

#[tokio::test]
async fn a_command_whose_output_nobody_reads_ends_without_a_panic() {
    let bad = directory(&GOOD.replace("path: ./data", "pth: ./data"));
    let upstream = sinks::recording().await.url();
    let send = ["send", "--endpoint", &*upstream, "--rate", "10", "--duration", "1500ms"];
    let tap = ["tap", "--admin", "http://127.0.0.1:9"];
    let list = ["tenants", "list", "--admin", "http://127.0.0.1:9"];
    let commands: [&[&str]; 12] = [
        &["--help"],
        &["--version"],
        &["no-such-command"],
        &["check", "sluice.yaml"],
        &["import", "sluice.yaml"],
        &["explain", "sluice.yaml", "--payload", "nothing"],
        &["schema"],
        &["completions", "bash"],
        &["health", "http://127.0.0.1:9"],
        &list,
        &tap,
        &send,
    ];
    for args in commands {
        let ended = unread(bad.path(), args).wait().await.unwrap();
        assert!(matches!(ended.code(), Some(0..=2)), "{args:?}: {ended}");
    }
}

#[tokio::test]
async fn a_sink_whose_progress_nobody_reads_ends_and_a_router_whose_log_nobody_reads_goes_on() {
    let address = sinks::nobody().await;
    let listen = address.to_string();
    let home = directory(&GOOD.replace("127.0.0.1:0", &listen));
    let mut sink = unread(home.path(), &["sink", "--listen", &listen]);
    let body = request(&[entry_of(Signal::Logs, resource(&[("s2.stream", "special-a")]), &["x"])]);
    let headers = [("content-type", "application/x-protobuf")];
    let deliver = async || {
        let sent = http::try_send(address, "POST", "/v1/logs", &headers, body.clone().into()).await;
        sent.filter(|answer| answer.status == 200)
    };
    eventually("the sink takes it", &deliver).await;
    let ended = sink.wait().await.unwrap();
    assert!(matches!(ended.code(), Some(0 | 1)), "{ended}");

    let mut router = unread(home.path(), &["run", "--config", "sluice.yaml", "--log-level", "debug"]);
    for _ in 0..3 {
        eventually("the router takes it", &deliver).await;
    }
    assert!(router.try_wait().unwrap().is_none(), "it goes on");
}

/// Starts a command that nobody reads the output of.
fn unread(directory: &Path, args: &[&str]) -> tokio::process::Child {
    let closed = || Stdio::from(std::io::pipe().expect("there are descriptors").1);
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(args)
        .current_dir(directory)
        .env_remove("SLUICE_CONFIG")
        .env("SLUICE_TEST_TOKEN", "hunter2")
        .stdin(Stdio::null())
        .stdout(closed())
        .stderr(closed())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary was built")
}
