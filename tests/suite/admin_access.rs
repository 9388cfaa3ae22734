//! Who may use the admin listener: with which token or certificate, under which name, and from which web pages.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use serde_json::Value;
use sluice::run::Role;
use tokio::net::TcpStream;

use crate::support::http::{self, Answer};
use crate::support::tls::{Authority, SecureConnection, handshake};
use crate::support::wire::Wire;
use crate::support::{Front, Metrics, Sluice, SluiceProcess, eventually};

const READER: &str = "0123456789abcdef-reader";
const WRITER: &str = "0123456789abcdef-writer";

/// A token that is not configured.
const GUESS: &str = "guess-of-somebody-else";

/// Pages that show something.
const PAGES: [&str; 8] = [
    "/",
    "/metrics",
    "/api/v1/streams",
    "/api/v1/exporters",
    "/api/v1/exporters/debug",
    "/api/v1/dead-letters",
    "/api/v1/journal",
    "/api/v1/config",
];

/// A configuration with these options of `admin`.
fn config(admin: &str) -> String {
    format!("exporters: {{ debug: }}\nroutes: [{{ exporters: [debug] }}]\nadmin: {{ {admin} }}\n")
}

/// The options of a listener that counts as one that other machines reach, with more of them.
fn outside(more: &str) -> String {
    config(&format!("endpoint: '0.0.0.0:0', {more}"))
}

fn both_tokens() -> String {
    format!("read_token: {READER}, write_token: {WRITER}")
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

/// On loopback, where a listener on every address is found.
fn admin(front: &Front) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, front.admin.port()).into()
}

/// The answer to a request with these headers and no others.
async fn ask_with(to: SocketAddr, line: &str, headers: &[String]) -> Answer {
    let mut wire = Wire::open(to).await;
    wire.write(format!("{line} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n"))).await;
    wire.answer().await
}

/// The answer to a request under the listener's address, with this token.
async fn ask(to: SocketAddr, line: &str, token: Option<&str>) -> Answer {
    let headers = [Some(format!("host: {to}")), token.map(bearer)];
    ask_with(to, line, &headers.into_iter().flatten().collect::<Vec<_>>()).await
}

async fn status(to: SocketAddr, line: &str, token: Option<&str>) -> u16 {
    ask(to, line, token).await.status
}

/// The same over HTTP/2, to this `:authority`.
async fn status_of_http2(to: SocketAddr, authority: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let stream = TcpStream::connect(to).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = ::http::Request::get(format!("http://{authority}{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut client = client.ready().await.unwrap();
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    answer.await.unwrap().status().as_u16()
}

/// How many requests were refused for this.
async fn refused(to: SocketAddr, token: &str, cause: &str) -> f64 {
    let page = ask(to, "GET /metrics", Some(token)).await;
    Metrics::parse(&page.text()).sum("sluice_admin_refused_requests_total", &[("cause", cause)])
}

#[tokio::test]
async fn off_loopback_nobody_reads_without_a_token_and_probes_are_answered() {
    let sluice = Sluice::start(&outside(&both_tokens())).await;
    let to = admin(&sluice);
    for page in PAGES {
        let line = format!("GET {page}");
        for (token, expected) in [(None, 401), (Some("other"), 401), (Some(READER), 200), (Some(WRITER), 200)]
        {
            let answer = ask(to, &line, token).await;
            assert_eq!(answer.status, expected, "{page} {token:?}");
            let asked = (expected == 401).then_some("Bearer");
            assert_eq!(answer.header("www-authenticate"), asked, "{page} {token:?}");
        }
        assert_eq!(http::send(to, "HEAD", page, &[], Bytes::new()).await.status, 401, "{page}");
        let own = to.to_string();
        assert_eq!(status_of_http2(to, &own, page, &[]).await, 401, "{page}");
        let token = format!("Bearer {READER}");
        assert_eq!(status_of_http2(to, &own, page, &[("authorization", &token)]).await, 200, "{page}");
    }
    for probe in ["GET /healthz", "GET /readyz"] {
        assert_eq!(status(to, probe, None).await, 200, "{probe}");
    }
    assert_eq!(refused(to, READER, "no_token").await, 3.0 * PAGES.len() as f64);
    assert_eq!(refused(to, READER, "wrong_token").await, PAGES.len() as f64);
}

#[tokio::test]
async fn a_change_needs_the_write_token_also_on_loopback() {
    for (yaml, without_a_token) in [
        (config(&format!("endpoint: '127.0.0.1:0', {}", both_tokens())), 200),
        (outside(&both_tokens()), 401),
    ] {
        let sluice = Sluice::start(&yaml).await;
        let to = admin(&sluice);
        assert_eq!(status(to, "GET /api/v1/config", None).await, without_a_token);
        assert_eq!(status(to, "POST /api/v1/reload", None).await, 401);
        assert_eq!(status(to, "POST /api/v1/reload", Some("other")).await, 401);
        assert_eq!(status(to, "POST /api/v1/reload", Some(READER)).await, 403);
        assert_eq!(sluice.router().report().version, 1, "nothing was reloaded");
        assert_eq!(status(to, "POST /api/v1/reload", Some(WRITER)).await, 200);
        assert_eq!(refused(to, WRITER, "read_token").await, 1.0);
    }
}

#[tokio::test]
async fn without_a_write_token_a_reload_is_for_those_on_this_machine() {
    let inside = Sluice::start(&config("endpoint: '127.0.0.1:0'")).await;
    assert_eq!(status(admin(&inside), "POST /api/v1/reload", None).await, 200);
    for options in ["insecure: true".to_owned(), format!("read_token: {READER}")] {
        let sluice = Sluice::start(&outside(&options)).await;
        for token in [None, Some(READER)] {
            let answer = ask(admin(&sluice), "POST /api/v1/reload", token).await;
            assert_eq!(answer.status, 403, "{options}");
            assert!(answer.text().contains("set `admin.write_token`"), "{}", answer.text());
        }
        assert_eq!(sluice.router().report().version, 1);
    }
}

#[tokio::test]
async fn a_token_that_is_nearly_right_is_wrong() {
    let sluice = Sluice::start(&outside(&both_tokens())).await;
    let to = admin(&sluice);
    let own = format!("host: {to}");
    let wrong = [
        vec![bearer(&WRITER[..WRITER.len() - 1])],
        vec![bearer(&format!("{WRITER}0"))],
        vec![bearer(&WRITER.to_uppercase())],
        vec![bearer(&format!("{READER}, {WRITER}"))],
        vec![bearer(&format!("\"{WRITER}\""))],
        vec![bearer("")],
        vec![bearer("[redacted]")],
        vec![bearer(WRITER), bearer(WRITER)],
        vec![bearer("other"), bearer(WRITER)],
        vec![format!("authorization: {WRITER}")],
        vec![format!("authorization: Basic {WRITER}")],
        vec![format!("authorization: Bearer{WRITER}")],
        vec![format!("proxy-authorization: Bearer {WRITER}")],
        vec![format!("cookie: token={WRITER}")],
    ];
    for headers in wrong {
        let headers = [vec![own.clone()], headers].concat();
        let answer = ask_with(to, "GET /api/v1/config", &headers).await;
        assert_eq!(answer.status, 401, "{headers:?}");
        assert!(!answer.text().contains(&WRITER[..8]), "{}", answer.text());
    }
    assert_eq!(status(to, &format!("GET /api/v1/config?token={WRITER}"), None).await, 401);
    for right in [format!("authorization: bearer {WRITER}"), format!("AUTHORIZATION: Bearer   {WRITER} ")] {
        assert_eq!(ask_with(to, "GET /api/v1/config", &[own.clone(), right]).await.status, 200);
    }
}

#[tokio::test]
async fn of_a_token_its_hash_is_enough_and_both_hold_while_it_is_changed() {
    // Of `secret`.
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let sluice = Sluice::start(&outside(&format!("write_token_sha256: {hash}, write_token: {WRITER}"))).await;
    let to = admin(&sluice);
    for token in ["secret", WRITER] {
        assert_eq!(status(to, "POST /api/v1/reload", Some(token)).await, 200);
    }
    assert_eq!(status(to, "POST /api/v1/reload", Some(hash)).await, 401, "the hash is not the token");
}

#[tokio::test]
async fn off_loopback_it_does_not_start_without_tokens_or_certificates() {
    let authority = Authority::new("authority");
    let tls = format!("tls: {{ {} }}", authority.server());
    for options in ["", "read_token: ''", &tls] {
        let Err(error) = Sluice::try_start(&outside(options)).await else { panic!("it starts: {options}") };
        assert!(error.to_string().contains("can read routing keys"), "{error}");
        assert!(error.to_string().contains("`insecure: true` if that is meant"), "{error}");
    }
    let sluice = Sluice::start(&config("endpoint: '127.0.0.1:0'")).await;
    let answer = sluice.reload(&outside("")).await;
    assert_eq!(answer.status, 422, "nor does a reload open it: {}", answer.text());
}

#[tokio::test]
async fn what_is_insecure_in_writing_is_readable_and_a_warning_at_each_start_and_reload() {
    let sluice = SluiceProcess::start(&outside("insecure: true"), &[]).await;
    for page in PAGES {
        assert_eq!(status(admin(&sluice), &format!("GET {page}"), None).await, 200, "{page}");
    }
    let warnings = || sluice.log().iter().filter(|line| line.contains("can read routing keys")).count();
    assert_eq!(warnings(), 1);
    sluice.signal("HUP").await;
    eventually("it warns again", async || (warnings() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_token_file_that_changes_ends_the_token_before_also_on_open_connections() {
    let yaml = outside("read_token: '${file:@DIR@/token}'");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{READER}\n")).unwrap();
    let yaml = yaml.replace("@DIR@", directory.path().to_str().unwrap());
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    let to = admin(&sluice);
    let mut kept = Wire::open(to).await;
    let request = format!("GET /api/v1/streams HTTP/1.1\r\nhost: {to}\r\n{}\r\n\r\n", bearer(READER));
    kept.write(&request).await;
    assert_eq!(kept.answer().await.status, 200);
    std::fs::write(&file, format!("{WRITER}\n")).unwrap();
    eventually("the new token is taken", async || {
        (status(to, "GET /api/v1/streams", Some(WRITER)).await == 200).then_some(())
    })
    .await;
    kept.write(&request).await;
    assert_eq!(kept.answer().await.status, 401);
    // A file that is gone changes nothing.
    std::fs::remove_file(&file).unwrap();
    sluice.logged("configuration not reloaded").await;
    assert_eq!(status(to, "GET /api/v1/streams", Some(WRITER)).await, 200);
    assert_eq!(status(to, "GET /api/v1/streams", None).await, 401);
}

#[tokio::test]
async fn a_client_certificate_reads_and_changes_what_no_token_is_asked_for() {
    let (authority, clients, others) =
        (Authority::new("authority"), Authority::new("clients"), Authority::new("others"));
    let tls =
        format!("tls: {{ {}, client_ca_file: '{}' }}", authority.server(), clients.path("ca.pem").display());
    let known = authority.client(Some(&clients.sign("operator")), &["h2", "http/1.1"]);
    for (more, reload) in [("", 200), (", write_token: 0123456789abcdef-writer", 401)] {
        let sluice = Sluice::start(&outside(&format!("{tls}{more}"))).await;
        let to = admin(&sluice);
        let mut connection = SecureConnection::open(to, known.clone()).await.expect("it is let in");
        let read = connection.send("GET", "/api/v1/config", &[], Vec::new()).await;
        assert_eq!(read.map(|(status, _)| status), Some(200));
        let changed = connection.send("POST", "/api/v1/reload", &[], Vec::new()).await;
        assert_eq!(changed.map(|(status, _)| status), Some(reload));
        if reload == 401 {
            let token = [("authorization", "Bearer 0123456789abcdef-writer")];
            let changed = connection.send("POST", "/api/v1/reload", &token, Vec::new()).await;
            assert_eq!(changed.map(|(status, _)| status), Some(200));
        }
        // With TLS 1.3 a client learns that it is not let in when it has sent something.
        for stranger in [None, Some(others.sign("operator"))] {
            let client = authority.client(stranger.as_ref(), &["http/1.1"]);
            if let Some(mut connection) = SecureConnection::open(to, client).await {
                assert_eq!(connection.send("GET", "/healthz", &[], Vec::new()).await, None);
            }
        }
        let plain = http::try_send(to, "GET", "/healthz", &[], Bytes::new()).await;
        assert!(plain.is_none(), "without TLS nothing is answered: {plain:?}");
    }
}

#[tokio::test]
async fn pages_without_tls_are_foreign_to_a_listener_that_has_it() {
    let authority = Authority::new("authority");
    let sluice =
        Sluice::start(&outside(&format!("read_token: {READER}, tls: {{ {} }}", authority.server()))).await;
    let client = authority.client(None, &["http/1.1"]);
    assert!(handshake(admin(&sluice), client.clone()).await.is_ok());
    for (origin, expected) in [("https://localhost", 200), ("http://localhost", 403)] {
        let mut connection = SecureConnection::open(admin(&sluice), client.clone()).await.unwrap();
        let token = format!("Bearer {READER}");
        let headers = [("authorization", &*token), ("origin", origin)];
        let answer = connection.send("GET", "/api/v1/config", &headers, Vec::new()).await;
        assert_eq!(answer.map(|(status, _)| status), Some(expected), "{origin}");
    }
}

#[tokio::test]
async fn a_refusal_is_in_the_log_and_a_token_never_is() {
    let yaml = outside(&both_tokens());
    let sluice = SluiceProcess::start(&yaml, &["--log-level", "trace"]).await;
    let to = admin(&sluice);
    let mut shown = Vec::new();
    for _ in 0..20 {
        for token in [None, Some(GUESS), Some(READER), Some(WRITER)] {
            for line in ["GET /api/v1/config", "GET /metrics", "POST /api/v1/reload"] {
                shown.push(ask(to, line, token).await.text());
            }
            let token = format!("Bearer {}", token.unwrap_or_default());
            status_of_http2(to, &to.to_string(), "/api/v1/config", &[("authorization", &token)]).await;
        }
    }
    let broken = yaml.replace("read_token", "read_tokn").replace("write_token: ", "write_token: [");
    sluice.write_config(&broken);
    let answer = ask(to, "POST /api/v1/reload", Some(WRITER)).await;
    assert_eq!(answer.status, 422);
    shown.push(answer.text());
    shown.push(ask(to, "GET /api/v1/config", Some(READER)).await.text());
    for (cause, words) in [
        ("no_token", "this page needs a token"),
        ("wrong_token", "is not the one that is configured"),
        ("read_token", "this token may read alone"),
    ] {
        let line = sluice.logged(&format!("cause=\"{cause}\"")).await;
        assert!(line.contains(words) && line.contains("peer=127.0.0.1:"), "{line}");
        let lines = sluice.log().iter().filter(|line| line.contains(&format!("cause=\"{cause}\""))).count();
        assert!(lines <= 20, "one line in ten seconds, and not one for each request: {lines}");
    }
    shown.extend(sluice.log());
    for text in shown {
        for secret in [READER, WRITER, GUESS] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn the_admin_listener_answers_to_its_own_names_alone() {
    let yaml = config("endpoint: '127.0.0.1:0', hosts: [sluice.monitoring.svc]")
        + "health: { endpoint: 127.0.0.1:0 }\n";
    let sluice = Sluice::start(&yaml).await;
    let (to, port) = (sluice.admin, sluice.admin.port());
    let lines = ["GET /api/v1/config", "GET /metrics", "GET /readyz", "GET /", "POST /api/v1/reload"];
    for own in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "LocalHost".to_owned(),
        "10.1.2.3".to_owned(),
        format!("[::1]:{port}"),
        "sluice.monitoring.svc:80".to_owned(),
    ] {
        for line in lines {
            let answer = ask_with(to, line, &[format!("host: {own}")]).await;
            assert_eq!(answer.status, 200, "{line} {own}");
        }
        assert_eq!(status_of_http2(to, &own, "/api/v1/config", &[]).await, 200, "{own}");
    }
    let version = sluice.router().report().version;
    for foreign in [
        format!("evil.example:{port}"),
        "evil.example.".to_owned(),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        "evil.sluice.monitoring.svc".to_owned(),
        "sluice.monitoring.svc.evil.example".to_owned(),
        format!("127.0.0.1:{port}@evil.example"),
        format!("evil.example@127.0.0.1:{port}"),
        "[::1].evil.example".to_owned(),
        "2130706433".to_owned(),
        "0x7f000001".to_owned(),
        "127.1".to_owned(),
    ] {
        for line in lines {
            for name in ["host", "HOST"] {
                let answer = ask_with(to, line, &[format!("{name}: {foreign}")]).await;
                assert!([400, 403].contains(&answer.status), "{line} {foreign}: {}", answer.status);
            }
        }
        if !foreign.contains(['@', '[']) {
            assert_eq!(status_of_http2(to, &foreign, "/api/v1/config", &[]).await, 403, "{foreign}");
        }
    }
    let own = format!("127.0.0.1:{port}");
    assert_eq!(status_of_http2(to, &own, "/api/v1/config", &[("host", "evil.example")]).await, 403);
    for (line, host, expected) in [
        (format!("GET http://evil.example:{port}/api/v1/config"), own.clone(), 403),
        (format!("GET http://{own}/api/v1/config"), "evil.example".to_owned(), 403),
        (format!("GET http://{own}/api/v1/config"), own.clone(), 200),
    ] {
        assert_eq!(ask_with(to, &line, &[format!("host: {host}")]).await.status, expected, "{line} {host}");
    }
    let host = format!("host: {own}");
    for (headers, expected) in [
        (vec!["x: without a host".to_owned()], 400),
        (vec![host.clone(), host.clone()], 400),
        (vec![host.clone(), "host: evil.example".to_owned()], 400),
        (vec!["host:".to_owned()], 403),
    ] {
        assert_eq!(ask_with(to, "GET /api/v1/config", &headers).await.status, expected, "{headers:?}");
    }
    let mut old = Wire::open(to).await;
    old.write("GET /api/v1/config HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.answer().await.status, 403, "older clients have to name it, too");
    assert_eq!(sluice.router().report().version, version, "nothing was reloaded");
    assert!(refused(to, "", "foreign_name").await > 0.0);
    // Prometheus knows the health listener by whatever name it has there.
    let health = sluice.router().addresses(Role::Health).await[0];
    assert_eq!(ask_with(health, "GET /metrics", &["host: sluice.evil.svc".to_owned()]).await.status, 200);
}

#[tokio::test]
async fn pages_of_other_sites_are_not_answered_whatever_they_ask_for() {
    let yaml = config("endpoint: '127.0.0.1:0'") + "health: { endpoint: 127.0.0.1:0 }\n";
    let sluice = Sluice::start(&yaml).await;
    let health = sluice.router().addresses(Role::Health).await[0];
    let (to, port) = (sluice.admin, sluice.admin.port());
    let foreign = |port: u16| {
        [
            "origin: http://evil.example".to_owned(),
            "origin: null".to_owned(),
            "origin:".to_owned(),
            format!("origin: http://127.0.0.1:{port}@evil.example"),
            format!("origin: http://evil.example:{port}"),
            "origin: http://127.0.0.1".to_owned(),
            format!("origin: http://127.0.0.1:{}", port ^ 1),
            format!("origin: http://127.0.0.1.:{port}"),
            format!("origin: http://[::1]:{port}"),
            format!("origin: http://localhost:{port}"),
            format!("origin: file://127.0.0.1:{port}"),
            "sec-fetch-site: cross-site".to_owned(),
            "sec-fetch-site: same-site".to_owned(),
            "sec-fetch-site: SAME-ORIGIN, cross-site".to_owned(),
        ]
    };
    for header in foreign(port) {
        for line in [
            "GET /api/v1/streams",
            "GET /metrics",
            "GET /",
            "GET /readyz",
            "POST /api/v1/reload",
            "OPTIONS /",
        ] {
            let headers = [format!("host: 127.0.0.1:{port}"), header.clone()];
            assert_eq!(ask_with(to, line, &headers).await.status, 403, "{line} {header}");
        }
    }
    for header in foreign(health.port()) {
        let headers = [format!("host: {health}"), header.clone()];
        assert_eq!(ask_with(health, "GET /metrics", &headers).await.status, 403, "{header}");
    }
    assert_eq!(sluice.router().report().version, 1, "nothing was reloaded");
    let own = [
        format!("host: 127.0.0.1:{port}"),
        format!("origin: http://127.0.0.1:{port}"),
        "sec-fetch-site: same-origin".to_owned(),
    ];
    assert_eq!(ask_with(to, "GET /api/v1/streams", &own).await.status, 200);
    assert!(refused(to, "", "foreign_page").await > 0.0);
}

#[tokio::test]
async fn the_configuration_is_shown_without_tokens_and_hashes() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let sluice = Sluice::start(&outside(&format!("{}, read_token_sha256: {hash}", both_tokens()))).await;
    let answer = ask(admin(&sluice), "GET /api/v1/config", Some("secret")).await;
    let shown: Value = serde_json::from_slice(&answer.body).unwrap();
    for key in ["read_token", "write_token", "read_token_sha256"] {
        assert_eq!(shown["config"]["admin"][key], "[redacted]", "{shown}");
    }
    for secret in [READER, WRITER, hash] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
}
