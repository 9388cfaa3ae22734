//! TLS on receivers: who is served, who is let in, and certificates that change.

use http::Version;
use rig::sink::Sink;
use sluice::otlp::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::payload::logs;
use crate::support::process::{TAKEN, run_printed};
use crate::support::sinks::{self, Received as _};
use crate::support::tls::{Authority, SecureConnection, handshake};
use crate::support::{PATIENCE, Sluice, SluiceProcess, eventually};

/// The configuration of a Sluice whose HTTP receiver has these `tls` options, and more of its own.
fn config(up: &Sink, tls: &str, more: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, tls: {{ {tls} }}, {more} }} }} }} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: {}, compression: none }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n",
        up.url()
    )
}

async fn start(tls: &str, more: &str) -> (Sink, Sluice) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, tls, more)).await;
    (up, sluice)
}

fn body() -> Vec<u8> {
    logs(&[("a", &["x"])])
}

#[tokio::test]
async fn both_versions_of_http_are_served_over_tls() {
    let authority = Authority::new("authority");
    let (up, sluice) = start(&authority.server(), "").await;
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let mut connection =
            SecureConnection::open(sluice.otlp, authority.client(None, alpn)).await.expect("it speaks TLS");
        assert_eq!(connection.post(Signal::Logs.path(), body()).await, Some((200, version)), "{alpn:?}");
    }
    up.records(3).await;
}

#[tokio::test]
async fn the_log_says_that_tls_is_spoken_and_what_is_printed_to_try_speaks_it() {
    let authority = Authority::new("authority");
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start_on_terminal(&config(&up, &authority.server(), "")).await;
    sluice.logged(&format!("OTLP/HTTP on https://{}", sluice.otlp)).await;
    sluice.logged(&format!("admin on http://{}", sluice.admin)).await;
    let curl = sluice.logged("curl -sS").await;
    assert!(curl.contains(" -k ") && curl.contains(&format!(" https://{}/v1/logs", sluice.otlp)), "{curl}");
    assert_eq!(run_printed(&curl).await, TAKEN);
    let send = sluice.logged(" send --endpoint").await;
    run_printed(&send.replace("--duration 5s", "--requests 1")).await;
    up.records(201).await;
}

#[tokio::test]
async fn a_sender_without_tls_is_not_served() {
    let authority = Authority::new("authority");
    let (up, sluice) = start(&authority.server(), "").await;
    let answer = crate::support::http::try_send(
        sluice.otlp,
        "POST",
        "/v1/logs",
        &[("content-type", "application/x-protobuf")],
        body().into(),
    )
    .await;
    assert!(answer.is_none(), "{answer:?}");
    assert!(up.requests().is_empty());
}

#[tokio::test]
async fn senders_have_to_show_a_certificate_of_the_client_authority() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let tls = format!("{}, client_ca_file: '{}'", authority.server(), clients.path("ca.pem").display());
    let (up, sluice) = start(&tls, "").await;
    let answer = async |identity: Option<&_>| {
        let mut connection = SecureConnection::open(sluice.otlp, authority.client(identity, &["h2"])).await?;
        connection.post(Signal::Logs.path(), body()).await
    };
    assert_eq!(answer(None).await, None);
    assert_eq!(answer(Some(&authority.sign("sender"))).await, None);
    assert!(up.requests().is_empty());
    assert_eq!(answer(Some(&clients.sign("sender"))).await, Some((200, Version::HTTP_2)));
    up.records(1).await;
}

#[tokio::test]
async fn only_tls_1_3_is_spoken_where_it_is_the_lowest_version() {
    let authority = Authority::new("authority");
    let (_up, sluice) = start(&format!("{}, min_version: '1.3'", authority.server()), "").await;
    let mut old = (*authority.client(None, &[])).clone();
    assert!(handshake(sluice.otlp, old.clone().into()).await.is_ok());
    old = rustls::ClientConfig::builder_with_provider(old.crypto_provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let error = handshake(sluice.otlp, old.into()).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[tokio::test]
async fn a_changed_certificate_is_served_and_open_connections_go_on() {
    let authority = Authority::new("authority");
    let tls = format!("{}, reload_interval: 1ms", authority.server());
    let (up, sluice) = start(&tls, "").await;
    let client = authority.client(None, &["h2"]);
    let open = async || SecureConnection::open(sluice.otlp, client.clone()).await.expect("it speaks TLS");
    let mut first = open().await;

    let changed = authority.sign("localhost");
    authority.write("server", &changed);
    eventually("the new certificate is served", async || {
        (open().await.certificate == changed.der()).then_some(())
    })
    .await;
    // Half of a rotation, nonsense, nothing: the last good one stays.
    authority.write("server", &mixed(&authority));
    assert_eq!(open().await.certificate, changed.der());
    std::fs::write(authority.path("server.pem"), "nonsense").unwrap();
    assert_eq!(open().await.certificate, changed.der());
    std::fs::remove_file(authority.path("server.pem")).unwrap();
    assert_eq!(open().await.certificate, changed.der());

    assert_eq!(first.post(Signal::Logs.path(), body()).await, Some((200, Version::HTTP_2)));
    up.records(1).await;
}

/// A certificate with the key of another.
fn mixed(authority: &Authority) -> crate::support::tls::Identity {
    let mut mixed = authority.sign("localhost");
    mixed.key = authority.sign("localhost").key;
    mixed
}

#[tokio::test]
async fn a_reload_of_the_configuration_reads_the_files_and_drops_no_connection() {
    let authority = Authority::new("authority");
    let tls = format!("{}, reload_interval: 0s", authority.server());
    let (up, sluice) = start(&tls, "").await;
    let client = authority.client(None, &["h2"]);
    let open = async || SecureConnection::open(sluice.otlp, client.clone()).await.expect("it speaks TLS");
    let mut first = open().await;

    let changed = authority.sign("localhost");
    authority.write("server", &changed);
    assert_eq!(open().await.certificate, first.certificate, "nobody has asked for the new one yet");
    sluice.reconfigure(&config(&up, &tls, "")).await;
    assert_eq!(open().await.certificate, changed.der());

    std::fs::write(authority.path("server.key"), "nonsense").unwrap();
    let refused = sluice.reload(&config(&up, &tls, "")).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().contains("server.key` of `tls.key_file` holds no usable private key"),
        "{}",
        refused.text()
    );
    assert_eq!(open().await.certificate, changed.der());

    assert_eq!(first.post(Signal::Logs.path(), body()).await, Some((200, Version::HTTP_2)));
    up.records(1).await;
}

#[tokio::test]
async fn handshakes_that_hang_delay_nobody_and_are_ended() {
    let authority = Authority::new("authority");
    let (up, sluice) = start(&authority.server(), "read_header_timeout: 1s").await;
    let mut hanging = Vec::new();
    for _ in 0..50 {
        hanging.push(TcpStream::connect(sluice.otlp).await.unwrap());
    }
    let mut connection =
        SecureConnection::open(sluice.otlp, authority.client(None, &[])).await.expect("it speaks TLS");
    assert_eq!(connection.post(Signal::Logs.path(), body()).await, Some((200, Version::HTTP_11)));
    up.records(1).await;
    for mut stream in hanging {
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert_eq!(read.expect("it is closed").unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn handshakes_count_as_connections() {
    let authority = Authority::new("authority");
    let (_up, sluice) = start(&authority.server(), "read_header_timeout: 1m, max_connections: 1").await;
    let hanging = TcpStream::connect(sluice.otlp).await.unwrap();
    let client = authority.client(None, &[]);
    // Accepted in turn, so that the one that hangs has the only place.
    let waiting = tokio::spawn(handshake(sluice.otlp, client));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    drop(hanging);
    assert!(tokio::time::timeout(PATIENCE, waiting).await.expect("its turn comes").unwrap().is_ok());
}
