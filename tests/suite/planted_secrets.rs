//! A secret in every place where a configuration or a table of tenants can hold one, and none of them in anything that is shown.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sluice::otlp::Signal;
use tokio::process::Command;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::grpc::{call, export, framed};
use crate::support::letters::letters;
use crate::support::payload::{entry_of, request, resource};
use crate::support::scripted::{Asked, Said, Scripted};
use crate::support::token_server;
use crate::support::yaml::QUICK;
use crate::support::{PATIENCE, SluiceProcess, eventually, http};

/// What every planted secret begins with.
const PLANTED: &str = "s3cr3t-";

/// The hash of the token that is planted by its hash alone.
const HASHED: &str = "5f9b7ec3a0f4d1b2c6e8d7a9b0c1d2e3f4a5b6c7d8e9fa0b1c2d3e4f5a6b7c8d";

/// Users with their planted passwords, as the header `Basic` has them.
const USERS: [(&str, &str); 9] = [
    ("row", "s3cr3t-row-basic"),
    ("in", "s3cr3t-htpasswd"),
    ("filed", "s3cr3t-htpasswd-file"),
    ("out", "s3cr3t-client-auth"),
    ("outfile", "s3cr3t-client-auth-file"),
    ("client", "s3cr3t-client"),
    ("clientfile", "s3cr3t-client-file"),
    ("proxy", "s3cr3t-proxy"),
    ("guess", "s3cr3t-guessed-basic"),
];

/// What gRPC encodes in a status' message, of what stands in a header.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// What the program finds in its environment.
const VARIABLES: [(&str, &str); 3] = [
    ("PLANTED", "s3cr3t-env"),
    ("PLANTED_SENDER", "s3cr3t-row-sender-env"),
    ("PLANTED_VALUE", "s3cr3t-row-value-env"),
];

const READER: [(&str, &str); 1] = [("authorization", "Bearer s3cr3t-reader-0123456789")];

const WRITER: [(&str, &str); 2] =
    [("authorization", "Bearer s3cr3t-writer-0123456789"), ("content-type", "application/json")];

fn basic(user: &str) -> String {
    let password = USERS.iter().find(|(name, _)| *name == user).expect("it is one of them").1;
    BASE64_STANDARD.encode(format!("{user}:{password}"))
}

/// One exporter for each way of showing a credential, and one receiver for each way of asking for one.
fn config(up: &Scripted, token_url: &str, tenants: &str) -> String {
    let receiver = |name: &str, authenticator: &str| {
        let options = format!("{{ endpoint: 127.0.0.1:0, auth: {{ authenticator: {authenticator} }} }}");
        format!("  {name}: {{ protocols: {{ http: {options}, grpc: {options} }} }}\n")
    };
    let receivers = receiver("otlp", "tenants")
        + &receiver("otlp/token", "bearertokenauth/in")
        + &receiver("otlp/user", "basicauth/in");
    format!(
        "receivers:\n{receivers}\
         extensions:\n\
         \x20 bearertokenauth/in: {{ tokens: [s3cr3t-token-in, '${{file:@DIR@/token-in}}'] }}\n\
         \x20 basicauth/in: {{ htpasswd: {{ inline: 'in:s3cr3t-htpasswd', file: '@DIR@/users-in' }} }}\n\
         \x20 bearertokenauth/out: {{ filename: '@DIR@/token-out' }}\n\
         \x20 basicauth/out: {{ client_auth: {{ username: out, password: s3cr3t-client-auth }} }}\n\
         \x20 basicauth/outfile: {{ client_auth: {{ username: outfile, password_file: '@DIR@/password-out' }} }}\n\
         \x20 oauth2client/out: {{ client_id: client, client_secret: s3cr3t-client, token_url: '{token_url}/token' }}\n\
         \x20 oauth2client/outfile: {{ client_id: clientfile, client_secret_file: '@DIR@/client-secret', token_url: '{token_url}/token' }}\n\
         exporters:\n\
         \x20 otlp_http/row:\n\
         \x20   logs_endpoint: '{url}/{{{{ tenant.path }}}}/v1/logs?key={{{{ tenant.query }}}}&fixed=s3cr3t-query'\n\
         \x20   headers: {{ Authorization: 'Bearer {{{{ tenant.token }}}}', X-Fixed: s3cr3t-header, X-File: '${{file:@DIR@/header}}', X-Env: 'a-${{env:PLANTED}}', X-Two: '{{{{ tenant.dataset }}}}-{{{{ tenant.token | upper }}}}', X-Region: '{{{{ tenant.region }}}}' }}\n\
         \x20   compression: none\n\
         \x20   {QUICK}\n\
         \x20 otlp_http/token: {{ endpoint: '{url}/token', {QUICK}, auth: {{ authenticator: bearertokenauth/out }} }}\n\
         \x20 otlp_http/user: {{ endpoint: '{url}/user', {QUICK}, auth: {{ authenticator: basicauth/out }} }}\n\
         \x20 otlp_http/userfile: {{ endpoint: '{url}/userfile', {QUICK}, auth: {{ authenticator: basicauth/outfile }} }}\n\
         \x20 otlp_http/oauth: {{ endpoint: '{url}/oauth', {QUICK}, auth: {{ authenticator: oauth2client/out }} }}\n\
         \x20 otlp_http/oauthfile: {{ endpoint: '{url}/oauthfile', {QUICK}, auth: {{ authenticator: oauth2client/outfile }} }}\n\
         \x20 otlp_http/proxied: {{ endpoint: 'http://upstream.example/proxied', {QUICK}, proxy_url: 'http://proxy:s3cr3t-proxy@{address}' }}\n\
         \x20 otlp_http/preset: {{ preset: better_stack, endpoint: '{url}/preset', {QUICK}, token: 's3cr3t-preset-{{{{ tenant.region }}}}' }}\n\
         \x20 otlp_grpc/row: {{ {grpc}, {QUICK}, headers: {{ authorization: 'Bearer {{{{ tenant.token }}}}', x-fixed: s3cr3t-metadata, x-region: 'grpc-{{{{ tenant.region }}}}' }} }}\n\
         routes:\n\
         \x20 - {{ signals: [logs], tenants: [acme, globex], key: '{{{{ tenant.id }}}}', exporters: [{EXPORTERS}] }}\n\
         tenants: {tenants}\n\
         telemetry: {{ endpoint: '{url}/telemetry', headers: {{ x-telemetry: 's3cr3t-telemetry', x-env: 'b-${{env:PLANTED}}' }}, interval: 200ms }}\n\
         admin: {{ endpoint: 127.0.0.1:0, write_token: s3cr3t-writer-0123456789, read_token: '${{file:@DIR@/reader}}', tenant_metrics: true }}\n\
         journal: {{ directory: '@DIR@/journal' }}\n\
         dead_letter: {{ directory: '@DIR@/letters' }}\n",
        url = up.url(),
        address = up.address,
        grpc = up.grpc_options(),
    )
}

const EXPORTERS: &str = "otlp_http/row, otlp_http/token, otlp_http/user, otlp_http/userfile, otlp_http/oauth, otlp_http/oauthfile, otlp_http/proxied, otlp_http/preset, otlp_grpc/row";

/// What of it has to reach the upstream, so that it can be shown at all; and what the endpoint for tokens has to be asked.
fn sent() -> (Vec<String>, Vec<String>) {
    let plain = [
        "/s3cr3t-path/v1/logs?key=s3cr3t-query%26of%20row&fixed=s3cr3t-query",
        "authorization: Bearer s3cr3t-value-one",
        "authorization: Bearer s3cr3t-value-two",
        "x-fixed: s3cr3t-header",
        "x-file: s3cr3t-header-file",
        "x-env: a-s3cr3t-env",
        "x-two: s3cr3t-dataset-S3CR3T-VALUE-ONE",
        "x-region: s3cr3t-row-value-env",
        "authorization: Bearer s3cr3t-token-out",
        "authorization: Bearer s3cr3t-access",
        "authorization: Bearer s3cr3t-preset-s3cr3t-row-value-env",
        "x-fixed: s3cr3t-metadata",
        "x-region: grpc-s3cr3t-row-value-env",
        "x-telemetry: s3cr3t-telemetry",
        "x-env: b-s3cr3t-env",
    ];
    let users = ["out", "outfile"].map(|user| format!("authorization: Basic {}", basic(user)));
    let proxy = format!("proxy-authorization: Basic {}", basic("proxy"));
    let upstream = plain.map(str::to_owned).into_iter().chain(users).chain([proxy]).collect();
    let clients = ["client", "clientfile"].map(|user| format!("authorization: Basic {}", basic(user)));
    (upstream, clients.into())
}

/// Credentials that each one of the receivers takes, and such that none does.
fn credentials() -> (Vec<String>, Vec<String>) {
    let bearer = |token: &&str| format!("Bearer {token}");
    let tokens = [
        "s3cr3t-row-token",
        "s3cr3t-row-file",
        "s3cr3t-row-sender-env",
        "s3cr3t-token-in",
        "s3cr3t-token-in-file",
    ];
    let users = ["row", "in", "filed"].map(|user| format!("Basic {}", basic(user)));
    let right = tokens.iter().map(bearer).chain(users).collect();
    let wrong = [
        "Bearer s3cr3t-guessed".to_owned(),
        "s3cr3t-without-a-scheme".to_owned(),
        format!("Basic {}", basic("guess")),
        "Basic s3cr3t-no-base64".to_owned(),
    ];
    (right, wrong.into())
}

const ACME: &str = "\
id: acme
senders:
  - { name: web, token: s3cr3t-row-token }
  - { name: file, token: '${file:row-file}' }
  - { name: env, token: '${env:PLANTED_SENDER}' }
  - { name: hashed, token_sha256: HASHED }
  - { name: user, basic: { username: row, password: s3cr3t-row-basic } }
values:
  path: s3cr3t-path
  query: 's3cr3t-query&of row'
  token: [s3cr3t-value-one, '${file:value-two}']
  dataset: s3cr3t-dataset
  region: '${env:PLANTED_VALUE}'
";

/// What is wrong with it must be told without what stands there.
const GLOBEX: &str = "\
id: globex
senders: [{ name: web, token: s3cr3t-row-token }, { name: s3cr3t name, tokn: s3cr3t-misspelt }, s3cr3t-alone]
values: { token: { s3cr3t-nested }, other: { name: s3cr3t-deep } }
limits: { rate: s3cr3t-rate }
surplus: s3cr3t-unknown
";

/// Acme's row.
fn acme() -> String {
    ACME.replace("HASHED", HASHED)
}

/// A row as it stands in a list.
fn listed(row: &str) -> String {
    format!("    - {}\n", row.trim_end().replace('\n', "\n      "))
}

fn plant(directory: &Path) {
    for (file, secret) in [
        ("token-in", "s3cr3t-token-in-file"),
        ("users-in", "filed:s3cr3t-htpasswd-file\n"),
        ("token-out", "s3cr3t-token-out"),
        ("password-out", "s3cr3t-client-auth-file"),
        ("client-secret", "s3cr3t-client-file"),
        ("header", "s3cr3t-header-file"),
        ("reader", "s3cr3t-reader-0123456789"),
        ("row-file", "s3cr3t-row-file"),
        ("value-two", "s3cr3t-value-two"),
        ("tenants.yaml", &listed(&acme())),
    ] {
        std::fs::write(directory.join(file), secret).unwrap();
    }
    std::fs::create_dir(directory.join("tenants.d")).unwrap();
    std::fs::write(directory.join("tenants.d/acme.yaml"), acme()).unwrap();
    std::fs::write(directory.join("tenants.d/globex.yaml"), GLOBEX).unwrap();
}

/// All that a request says beside its body.
fn said(asked: &Asked) -> String {
    let headers = asked.headers.iter();
    let headers: Vec<_> =
        headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    format!("{} {}", asked.path, headers.join(", "))
}

/// An upstream that says all that it was asked back to whoever asks: by each path, that it refuses the credential, and from the
/// third time that it refuses the data.
async fn echo() -> Scripted {
    let asked_before = Mutex::new(HashMap::<String, usize>::new());
    Scripted::new(move |asked| {
        let path = asked.path.split('?').next().unwrap().to_owned();
        let is_grpc = path.starts_with("/opentelemetry");
        let before = *asked_before.lock().entry(path).and_modify(|before| *before += 1).or_default();
        let said = said(asked);
        if is_grpc {
            let code = if before < 2 { Code::Unauthenticated } else { Code::InvalidArgument };
            let message = utf8_percent_encode(&said, GRPC_MESSAGE).to_string();
            return Said::status(code, &[("grpc-message", &message)]);
        }
        let status = if before < 2 { 401 } else { 400 };
        Said::new(status, &[("content-type", "text/plain")], said)
    })
    .await
}

/// An endpoint for tokens that says back what it was asked when a client comes for the first time, and gives it a token later.
async fn token_endpoint() -> Scripted {
    let known = Mutex::new(Vec::new());
    Scripted::new(move |asked| {
        let client = asked.headers["authorization"].clone();
        let mut known = known.lock();
        if known.contains(&client) {
            let token = r#"{"access_token":"s3cr3t-access","token_type":"Bearer","expires_in":3600}"#;
            return Said::new(200, &[("content-type", "application/json")], token);
        }
        known.push(client);
        token_server::refusal("invalid_client", &said(asked))
    })
    .await
}

/// Sluice with all that is planted, the upstream and the endpoint for tokens that it talks to, and what it has shown.
struct Planted {
    sluice: SluiceProcess,
    yaml: String,
    up: Scripted,
    tokens: Scripted,
    shown: Vec<(String, String)>,
}

impl Planted {
    /// Starts with this table of tenants.
    async fn start(tenants: &str) -> Self {
        let (up, tokens) = (echo().await, token_endpoint().await);
        let yaml = config(&up, &tokens.url(), tenants);
        let arguments = ["--log-level", "trace"];
        let sluice = SluiceProcess::start_prepared(&yaml, &arguments, &VARIABLES, plant).await;
        Self { sluice, yaml, up, tokens, shown: Vec::new() }
    }

    /// Something that is shown, and may have no secret in it.
    fn shows(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.shown.push((what.into(), text.into()));
    }

    /// The addresses of the three receivers by a protocol.
    async fn receivers(&self, what: &str) -> Vec<SocketAddr> {
        eventually("its receivers listen", async || {
            let found: Vec<_> = self.sluice.log().iter().filter_map(|line| address(line, what)).collect();
            (found.len() == 3).then_some(found)
        })
        .await
    }

    /// Shows right and wrong credentials of every kind at each receiver, by HTTP and gRPC.
    async fn send_with_every_credential(&mut self) {
        let (right, wrong) = credentials();
        let body = request(&[entry_of(Signal::Logs, resource(&[("tenant.id", "acme")]), &["x"])]);
        let mut taken: BTreeMap<String, usize> =
            right.iter().chain(&wrong).map(|credential| (credential.clone(), 0)).collect();
        let (http, grpc) = (self.receivers("OTLP/HTTP on ").await, self.receivers("OTLP/gRPC on ").await);
        // At once, since who guesses is answered late.
        let mut answers = JoinSet::new();
        for credential in taken.keys() {
            for to in http.iter().copied() {
                let (credential, body) = (credential.clone(), body.clone());
                answers.spawn(async move {
                    let headers =
                        [("content-type", "application/x-protobuf"), ("authorization", credential.as_str())];
                    let answer = http::send(to, "POST", "/v1/logs", &headers, body.into()).await;
                    let text = format!("{:?} {}", answer.headers, answer.text());
                    (credential, answer.status == 200, text)
                });
            }
            for to in grpc.iter().copied() {
                let (credential, body) = (credential.clone(), framed(0, &body));
                answers.spawn(async move {
                    let headers = [("authorization", credential.as_str())];
                    let reply = call(to, export(Signal::Logs), &headers, body).await;
                    let text = format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.body));
                    (credential, reply.code() == Code::Ok, text)
                });
            }
        }
        for (credential, is_taken, text) in answers.join_all().await {
            self.shows(format!("an answer to {credential}"), text);
            *taken.get_mut(&credential).unwrap() += usize::from(is_taken);
        }
        for (credential, times) in taken {
            let expected = if right.contains(&credential) { 2 } else { 0 };
            assert_eq!(
                times, expected,
                "{credential} is taken by one receiver, by HTTP and gRPC, or by none"
            );
        }
    }

    /// Waits until all that exporters send has been sent, and refused as a credential and as data.
    async fn has_sent_and_buried_everything(&self) {
        let (to_upstream, to_tokens) = sent();
        for (server, expected) in [(&self.up, to_upstream), (&self.tokens, to_tokens)] {
            for secret in expected {
                eventually(&format!("{secret} is sent"), async || {
                    server.asked().iter().any(|asked| said(asked).contains(&secret)).then_some(())
                })
                .await;
            }
        }
        let directory = self.sluice.directory().join("letters");
        for exporter in EXPORTERS.split(", ") {
            eventually(&format!("{exporter} has a dead letter"), async || {
                letters(&directory).iter().any(|letter| letter.text("exporter") == exporter).then_some(())
            })
            .await;
        }
    }

    /// Every page, for who may read and for others.
    async fn show_pages(&mut self) {
        let guessed = [("authorization", "Bearer s3cr3t-guessed-token")];
        for path in [
            "/",
            "/metrics",
            "/metrics/tenants",
            "/healthz",
            "/readyz",
            "/api/v1/streams",
            "/api/v1/exporters",
            "/api/v1/exporters/otlp_http/row",
            "/api/v1/streams/one?exporter=otlp_http/row&signal=logs&tenant=acme&key=acme",
            "/api/v1/tenants",
            "/api/v1/tenants/acme",
            "/api/v1/tenants/globex",
            "/api/v1/tenants/s3cr3",
            "/api/v1/journal",
            "/api/v1/dead-letters",
            "/api/v1/config",
            "/api/v1/streams?q=x",
            "/api/v1/nothing",
        ] {
            for headers in [&READER[..], &guessed, &[]] {
                let page = http::send(self.sluice.admin, "GET", path, headers, Bytes::new()).await;
                self.shows(format!("{path} {}", page.status), format!("{:?} {}", page.headers, page.text()));
            }
        }
    }

    /// Has a broken configuration refused, by a reload and by a check.
    async fn is_refused(&mut self, from: &str, to: &str) {
        assert!(self.yaml.contains(from), "{from}");
        self.sluice.write_config(&self.yaml.replace(from, to));
        self.reload_is_refused(to).await;
        self.sluice.write_config(&self.yaml);
    }

    async fn reload_is_refused(&mut self, what: &str) {
        let answer = http::send(self.sluice.admin, "POST", "/api/v1/reload", &WRITER, Bytes::new()).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        self.shows(format!("a reload with {what}"), answer.text());
        for (method, path) in [("POST", "/api/v1/reload?dry_run=true"), ("GET", "/api/v1/config")] {
            let answer = http::send(self.sluice.admin, method, path, &WRITER, Bytes::new()).await;
            self.shows(format!("{path} after {what}"), answer.text());
        }
        self.command(&["check", "sluice.yaml"], "", 1).await;
    }

    /// Runs a command, which has to end with this code.
    async fn command(&mut self, args: &[&str], input: &str, code: i32) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(args)
            .current_dir(self.sluice.directory())
            .envs(VARIABLES)
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
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(!text.is_empty(), "{args:?} says something");
        self.shows(format!("sluice {args:?}"), text);
    }

    /// What commands print about a configuration that is right; a check of all rows ends with this code.
    async fn show_commands(&mut self, of_rows: i32) {
        let admin = format!("http://{}", self.sluice.admin);
        let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"tenant.id","value":{"stringValue":"acme"}}]},"scopeLogs":[{"logRecords":[{}]}]}]}"#;
        let explain =
            ["explain", "-c", "sluice.yaml", "--payload", "-", "--signal", "logs", "--tenant", "acme"];
        self.command(&["check", "sluice.yaml"], "", 0).await;
        self.command(&["check", "--tenants", "sluice.yaml"], "", of_rows).await;
        self.command(&explain, json, 0).await;
        self.command(&["journal", "inspect", "journal"], "", 0).await;
        self.command(&["replay", "-c", "sluice.yaml", "--dry-run", "letters"], "", 0).await;
        self.command(&["tenants", "--admin", &admin, "list"], "", 0).await;
        self.command(&["tenants", "--admin", &admin, "show", "acme"], "", 0).await;
    }

    /// Ends it, and checks that nothing of all this has a secret in it, its log and the dead letters included.
    async fn has_shown_no_secret(mut self) {
        self.sluice.signal("TERM").await;
        assert!(self.sluice.ended().await.success(), "nothing is left but what the journal has");
        self.sluice.logged("shut down: ").await;
        self.shows("the log", self.sluice.log().join("\n"));
        for file in walk(&self.sluice.directory().join("letters")) {
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
            self.shows(file.display().to_string(), text);
        }
        let hidden = USERS.map(|(user, _)| basic(user));
        for (what, text) in &self.shown {
            // Of what is guessed or written in a wrong place nothing may be shown either.
            for secret in hidden.iter().map(String::as_str).chain([PLANTED, HASHED, "S3CR3T-"]) {
                if let Some(at) = text.find(secret) {
                    let around = &text.as_bytes()[at.saturating_sub(200)..(at + 200).min(text.len())];
                    panic!("{secret} is in {what}: {}", String::from_utf8_lossy(around));
                }
            }
        }
    }
}

#[tokio::test]
async fn no_planted_secret_is_in_a_log_a_page_a_metric_an_error_a_dead_letter_or_what_a_command_prints() {
    let mut planted = Planted::start("{ directory: '@DIR@/tenants.d' }").await;
    planted.send_with_every_credential().await;
    planted.has_sent_and_buried_everything().await;
    let letters =
        http::send(planted.sluice.admin, "GET", "/api/v1/dead-letters", &READER, Bytes::new()).await.text();
    assert!(letters.contains("[redacted]"), "the upstream has said back what it was asked: {letters}");
    planted.show_pages().await;

    // Errors of configurations and rows.
    for (from, to) in [
        ("headers: {", "headers: ["),
        ("client_secret:", "client_secrt:"),
        ("password: s3cr3t-client-auth ", "password: [s3cr3t-client-auth] "),
        ("inline: 'in:s3cr3t-htpasswd'", "inline: 's3cr3t-htpasswd'"),
        ("X-Fixed: s3cr3t-header", "X-Fixed: \"s3cr3t-header\\n\""),
        ("x-fixed: s3cr3t-metadata", "x-fixed: \"s3cr3t-metadata\\n\""),
        ("write_token: s3cr3t-writer-0123456789", "write_token: 's3cr3t- and more'"),
        ("http://proxy:s3cr3t-proxy@", "ftp://proxy:s3cr3t-proxy@"),
        ("fixed=s3cr3t-query", "fixed={{ s3cr3t-query }}"),
    ] {
        planted.is_refused(from, to).await;
    }
    let users = planted.sluice.directory().join("users-in");
    std::fs::write(&users, "s3cr3t-without-a-user\n").unwrap();
    planted.reload_is_refused("a broken file of users").await;
    std::fs::write(&users, "filed:s3cr3t-htpasswd-file\n").unwrap();
    let row = r#"{ "id": "initech", "values": { "token": { "a": "s3cr3t-api" } }, "limits": "s3cr3t-api", "surplus": "s3cr3t-api" }"#;
    let answer = http::send(planted.sluice.admin, "POST", "/api/v1/tenants", &WRITER, row.into()).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    planted.shows("the answer to a broken row", answer.text());

    planted.show_commands(1).await;
    let admin = format!("http://{}", planted.sluice.admin);
    planted.command(&["tenants", "--admin", &admin, "show", "globex"], "", 0).await;
    assert!(planted.shown.len() > 100, "{}", planted.shown.len());
    planted.has_shown_no_secret().await;
}

#[tokio::test]
async fn no_planted_secret_of_a_table_that_is_one_file_is_shown() {
    let mut planted = Planted::start("{ file: '@DIR@/tenants.yaml' }").await;
    planted.send_with_every_credential().await;
    planted.has_sent_and_buried_everything().await;
    planted.show_pages().await;
    planted.show_commands(0).await;
    let file = planted.sluice.directory().join("tenants.yaml");
    std::fs::write(file, listed(&acme()) + &listed(GLOBEX)).unwrap();
    planted.reload_is_refused("a broken row").await;
    planted.has_shown_no_secret().await;
}

#[tokio::test]
async fn no_planted_secret_of_a_table_in_the_configuration_is_shown() {
    let row = format!("\n  list:\n{}", listed(&acme()));
    let mut planted = Planted::start(&row).await;
    planted.send_with_every_credential().await;
    planted.has_sent_and_buried_everything().await;
    planted.show_pages().await;
    planted.show_commands(0).await;
    planted.is_refused(&row, &(row.clone() + &listed(GLOBEX))).await;
    planted.has_shown_no_secret().await;
}

/// The address that a line of the log says a receiver has.
fn address(line: &str, what: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(what)?;
    rest.split([' ', ',']).next()?.trim_start_matches("http://").parse().ok()
}

/// The files there, however deep.
fn walk(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    std::fs::read_dir(path).unwrap().flat_map(|entry| walk(&entry.unwrap().path())).collect()
}
