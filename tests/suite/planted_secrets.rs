//! A secret in every place where a configuration or a table of tenants can hold one, and none of them in anything that is shown.

use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sluice::otlp::Signal;
use tokio::process::Command;

use crate::support::payload::{entry_of, request, resource};
use crate::support::scripted::{Said, Scripted};
use crate::support::token_server;
use crate::support::yaml::QUICK;
use crate::support::{PATIENCE, SluiceProcess, eventually, http};

/// What every planted secret begins with.
const PLANTED: &str = "s3cr3t-";

/// The hash of the token that is planted by its hash alone.
const HASHED: &str = "5f9b7ec3a0f4d1b2c6e8d7a9b0c1d2e3f4a5b6c7d8e9fa0b1c2d3e4f5a6b7c8d";

/// Users with their planted passwords, as the header `Basic` has them.
const USERS: [(&str, &str); 5] = [
    ("row", "s3cr3t-row-basic"),
    ("in", "s3cr3t-htpasswd"),
    ("out", "s3cr3t-client-auth"),
    ("proxy", "s3cr3t-proxy"),
    ("guess", "s3cr3t-guessed-basic"),
];

fn basic(user: &str) -> String {
    let password = USERS.iter().find(|(name, _)| *name == user).expect("it is one of them").1;
    BASE64_STANDARD.encode(format!("{user}:{password}"))
}

/// One exporter for each way of showing a credential, and one tenant for each way of bringing one along.
fn config(up: &str, token_url: &str) -> String {
    format!(
        "receivers:\n\
         \x20 otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: tenants }} }} }} }}\n\
         \x20 otlp/token: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: bearertokenauth/in }} }} }} }}\n\
         \x20 otlp/user: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: basicauth/in }} }} }} }}\n\
         extensions:\n\
         \x20 bearertokenauth/in: {{ tokens: [s3cr3t-token-in, '${{file:@DIR@/token-in}}'] }}\n\
         \x20 basicauth/in: {{ htpasswd: {{ inline: 'in:s3cr3t-htpasswd' }} }}\n\
         \x20 bearertokenauth/out: {{ filename: '@DIR@/token-out' }}\n\
         \x20 basicauth/out: {{ client_auth: {{ username: out, password: s3cr3t-client-auth }} }}\n\
         \x20 oauth2client/out: {{ client_id: sluice, client_secret: s3cr3t-client, token_url: '{token_url}/token' }}\n\
         exporters:\n\
         \x20 otlp_http/row:\n\
         \x20   logs_endpoint: '{up}/{{{{ tenant.path }}}}/v1/logs?key={{{{ tenant.query }}}}&fixed=s3cr3t-query'\n\
         \x20   headers: {{ Authorization: 'Bearer {{{{ tenant.token }}}}', X-Fixed: s3cr3t-header, X-File: '${{file:@DIR@/header}}', X-Env: 'a-${{env:PLANTED}}', X-Two: '{{{{ tenant.dataset }}}}-{{{{ tenant.token | upper }}}}' }}\n\
         \x20   compression: none\n\
         \x20   {QUICK}\n\
         \x20 otlp_http/token: {{ endpoint: '{up}/token', {QUICK}, auth: {{ authenticator: bearertokenauth/out }} }}\n\
         \x20 otlp_http/user: {{ endpoint: '{up}/user', {QUICK}, auth: {{ authenticator: basicauth/out }} }}\n\
         \x20 otlp_http/oauth: {{ endpoint: '{up}/oauth', {QUICK}, auth: {{ authenticator: oauth2client/out }} }}\n\
         \x20 otlp_http/proxied: {{ endpoint: 'http://upstream.example/proxied', {QUICK}, proxy_url: 'http://proxy:s3cr3t-proxy@{proxy}' }}\n\
         routes:\n\
         \x20 - {{ signals: [logs], tenants: [acme, globex], key: '{{{{ tenant.id }}}}', exporters: [otlp_http/row, otlp_http/token, otlp_http/user, otlp_http/oauth, otlp_http/proxied] }}\n\
         tenants: {{ directory: '@DIR@/tenants.d' }}\n\
         admin: {{ endpoint: 127.0.0.1:0, write_token: s3cr3t-writer-0123456789, read_token: '${{file:@DIR@/reader}}', tenant_metrics: true }}\n\
         journal: {{ directory: '@DIR@/journal' }}\n\
         dead_letter: {{ directory: '@DIR@/letters' }}\n",
        proxy = up.trim_start_matches("http://"),
    )
}

const ACME: &str = "\
id: acme
senders:
  - { name: web, token: s3cr3t-row-token }
  - { name: file, token: '${file:row-file}' }
  - { name: hashed, token_sha256: HASHED }
  - { name: user, basic: { username: row, password: s3cr3t-row-basic } }
values:
  path: s3cr3t-path
  query: 's3cr3t-query&of row'
  token: [s3cr3t-value-one, '${file:value-two}']
  dataset: s3cr3t-dataset
";

/// What is wrong with it must be told without what stands there.
const GLOBEX: &str = "\
id: globex
senders: [{ name: web, token: s3cr3t-row-token }, { name: s3cr3t name, tokn: s3cr3t-misspelt }, s3cr3t-alone]
values: { token: { s3cr3t-nested }, other: { name: s3cr3t-deep } }
limits: { rate: s3cr3t-rate }
surplus: s3cr3t-unknown
";

fn plant(directory: &Path) {
    for (file, secret) in [
        ("token-in", "s3cr3t-token-in-file"),
        ("token-out", "s3cr3t-token-out"),
        ("header", "s3cr3t-header-file"),
        ("reader", "s3cr3t-reader-0123456789"),
        ("row-file", "s3cr3t-row-file"),
        ("value-two", "s3cr3t-value-two"),
    ] {
        std::fs::write(directory.join(file), secret).unwrap();
    }
    std::fs::create_dir(directory.join("tenants.d")).unwrap();
    std::fs::write(directory.join("tenants.d/acme.yaml"), ACME.replace("HASHED", HASHED)).unwrap();
    std::fs::write(directory.join("tenants.d/globex.yaml"), GLOBEX).unwrap();
}

/// An upstream that says all that it was asked back to whoever asks: that it refuses the credential, then that it refuses the data.
async fn echo() -> Scripted {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Scripted::new(move |asked| {
        let headers: Vec<_> = asked
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let said = format!("{} {}", asked.path, headers.join(", "));
        let status = if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 12 { 401 } else { 400 };
        Said::new(status, &[("content-type", "text/plain")], said)
    })
    .await
}

async fn printed(directory: &Path, args: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(args)
        .current_dir(directory)
        .env("PLANTED", "s3cr3t-env")
        .env("SLUICE_ADMIN_TOKEN", "s3cr3t-writer-0123456789")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary was built");
    let mut stdin = child.stdin.take().expect("it is piped");
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
    drop(stdin);
    let output =
        tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").unwrap();
    assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{args:?} says something");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn no_planted_secret_is_in_a_log_a_page_a_metric_an_error_a_dead_letter_or_what_a_command_prints() {
    let (up, tokens) =
        (echo().await, Scripted::saying(token_server::refusal("invalid_client", "not s3cr3t-client")).await);
    let yaml = config(&up.url(), &tokens.url());
    let sluice =
        SluiceProcess::start_prepared(&yaml, &["--log-level", "trace"], &[("PLANTED", "s3cr3t-env")], plant)
            .await;
    let directory = sluice.directory().to_owned();
    let mut shown: Vec<(String, String)> = Vec::new();

    // Right and wrong credentials of every kind at each receiver.
    let receivers = eventually("its receivers listen", async || {
        let found: Vec<_> = sluice.log().iter().filter_map(|line| address(line)).collect();
        (found.len() == 3).then_some(found)
    })
    .await;
    let body = request(&[entry_of(Signal::Logs, resource(&[("tenant.id", "acme")]), &["x"])]);
    for to in &receivers {
        for credential in [
            "Bearer s3cr3t-row-token".to_owned(),
            "Bearer s3cr3t-row-file".to_owned(),
            "Bearer s3cr3t-token-in".to_owned(),
            "Bearer s3cr3t-token-in-file".to_owned(),
            "Bearer s3cr3t-guessed".to_owned(),
            "s3cr3t-without-a-scheme".to_owned(),
            format!("Basic {}", basic("row")),
            format!("Basic {}", basic("in")),
            format!("Basic {}", basic("guess")),
            "Basic s3cr3t-no-base64".to_owned(),
        ] {
            let headers =
                [("content-type", "application/x-protobuf"), ("authorization", credential.as_str())];
            let answer = http::send(*to, "POST", "/v1/logs", &headers, body.clone().into()).await;
            shown.push((
                format!("the answer to {credential} at {to}"),
                format!("{:?} {}", answer.headers, answer.text()),
            ));
        }
    }

    // Both the refused credentials and the refused data, of which dead letters are made.
    eventually("everything was tried", async || (up.asked().len() > 12).then_some(())).await;
    let reader = [("authorization", "Bearer s3cr3t-reader-0123456789")];
    let letters = eventually("there are dead letters", async || {
        let page =
            http::send(sluice.admin, "GET", "/api/v1/dead-letters", &reader, bytes::Bytes::new()).await;
        page.text().contains("\"reason\"").then(|| page.text())
    })
    .await;
    assert!(letters.contains("[redacted]"), "the upstream has said back what it was asked: {letters}");
    shown.push(("dead letters".to_owned(), letters));
    for path in [
        "/",
        "/metrics",
        "/metrics/tenants",
        "/healthz",
        "/readyz",
        "/api/v1/streams",
        "/api/v1/exporters",
        "/api/v1/tenants",
        "/api/v1/tenants/acme",
        "/api/v1/tenants/globex",
        "/api/v1/tenants/s3cr3",
        "/api/v1/journal",
        "/api/v1/config",
        "/api/v1/streams?q=x",
        "/api/v1/nothing",
    ] {
        for headers in [&reader[..], &[("authorization", "Bearer s3cr3t-guessed-token")], &[]] {
            let page = http::send(sluice.admin, "GET", path, headers, bytes::Bytes::new()).await;
            shown.push((format!("{path} {}", page.status), format!("{:?} {}", page.headers, page.text())));
        }
    }

    // Errors of configurations and rows.
    let writer = [("authorization", "Bearer s3cr3t-writer-0123456789"), ("content-type", "application/json")];
    for (from, to) in [
        ("headers: {", "headers: ["),
        ("client_secret", "client_secrt"),
        ("password: s3cr3t-client-auth", "password: [s3cr3t-client-auth]"),
        ("inline: 'in:s3cr3t-htpasswd'", "inline: 's3cr3t-htpasswd'"),
        ("X-Fixed: s3cr3t-header", "X-Fixed: \"s3cr3t-header\\n\""),
        ("write_token: s3cr3t-writer-0123456789", "write_token: 's3cr3t- and more'"),
        ("http://proxy:s3cr3t-proxy@", "ftp://proxy:s3cr3t-proxy@"),
        ("fixed=s3cr3t-query", "fixed={{ s3cr3t-query }}"),
    ] {
        assert!(yaml.contains(from), "{from}");
        sluice.write_config(&yaml.replace(from, to));
        let answer = http::send(sluice.admin, "POST", "/api/v1/reload", &writer, bytes::Bytes::new()).await;
        assert_eq!(answer.status, 422, "{to}: {}", answer.text());
        shown.push((format!("a reload with {to}"), answer.text()));
        let file = directory.join("sluice.yaml");
        shown.push((
            format!("a check with {to}"),
            printed(&directory, &["check", file.to_str().unwrap()], "").await,
        ));
    }
    sluice.write_config(&yaml);
    let row = r#"{ "id": "initech", "values": { "token": { "a": "s3cr3t-api" } }, "limits": "s3cr3t-api", "surplus": "s3cr3t-api" }"#;
    let answer = http::send(sluice.admin, "POST", "/api/v1/tenants", &writer, row.into()).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    shown.push(("the answer to a broken row".to_owned(), answer.text()));

    // What commands print.
    let admin = format!("http://{}", sluice.admin);
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"tenant.id","value":{"stringValue":"acme"}}]},"scopeLogs":[{"logRecords":[{}]}]}]}"#;
    let commands: [(&[&str], &str); 7] = [
        (&["check", "sluice.yaml"], ""),
        (&["check", "--tenants", "sluice.yaml"], ""),
        (&["explain", "-c", "sluice.yaml", "--payload", "-", "--signal", "logs", "--tenant", "acme"], json),
        (&["journal", "inspect", "journal"], ""),
        (&["tenants", "--admin", &admin, "list"], ""),
        (&["tenants", "--admin", &admin, "show", "acme"], ""),
        (&["tenants", "--admin", &admin, "show", "globex"], ""),
    ];
    for (args, input) in commands {
        shown.push((format!("sluice {args:?}"), printed(&directory, args, input).await));
    }

    sluice.signal("TERM").await;
    sluice.logged("SIGTERM").await;
    shown.push(("the log".to_owned(), sluice.log().join("\n")));
    for letter in std::fs::read_dir(directory.join("letters")).unwrap() {
        let path = letter.unwrap().path();
        for file in walk(&path) {
            shown.push((
                file.display().to_string(),
                String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned(),
            ));
        }
    }
    assert!(shown.len() > 100, "{}", shown.len());
    let hidden = USERS.map(|(user, _)| basic(user));
    for (what, text) in &shown {
        // Of what is guessed or written in a wrong place nothing may be shown either.
        for secret in hidden.iter().map(String::as_str).chain([PLANTED, HASHED, "S3CR3T-"]) {
            if let Some(at) = text.find(secret) {
                let (from, to) = (
                    text.floor_char_boundary(at.saturating_sub(200)),
                    text.ceil_char_boundary((at + 200).min(text.len())),
                );
                panic!("{secret} is in {what}: {}", &text[from..to]);
            }
        }
    }
}

/// The address that a line of the log says a receiver for OTLP/HTTP has.
fn address(line: &str) -> Option<std::net::SocketAddr> {
    let (_, rest) = line.split_once("OTLP/HTTP on ")?;
    rest.split([' ', ',']).next()?.trim_start_matches("http://").parse().ok()
}

/// The files there, however deep.
fn walk(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    std::fs::read_dir(path).unwrap().flat_map(|entry| walk(&entry.unwrap().path())).collect()
}
