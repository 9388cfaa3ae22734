//! Exporters whose upstream speaks something else than they do: the error names it, and says what to write.

use std::net::SocketAddr;

use sluice::otlp::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::support::grpc_upstream::{GrpcUpstream, Reply};
use crate::support::payload::logs;
use crate::support::tls::Authority;
use crate::support::yaml::{self, QUICK};
use crate::support::{Sluice, eventually};

/// An alert that ends a TLS handshake: a message was not expected.
const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 10];

/// The first frame of an HTTP/2 server, with one setting.
const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

/// A load balancer's answer to what it can't pass on.
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";

/// A server that says this on each connection once it has been sent something, and ends it when the client does. Nothing:
/// it ends the connection at once.
async fn saying(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut read = vec![0; 1 << 16];
                if !matches!(stream.read(&mut read).await, Ok(1..)) || answer.is_empty() {
                    return;
                }
                if stream.write_all(answer).await.is_ok() {
                    while matches!(stream.read(&mut read).await, Ok(1..)) {}
                }
            });
        }
    });
    address
}

/// The code and the message of the first error of an exporter of this kind and these options, to which a request is sent.
async fn first_error(kind: &str, options: &str) -> (String, String) {
    let name = format!("{kind}/up");
    let config = yaml::exporters(&[(&name, format!("{options}, compression: none, {QUICK}"))]);
    let route = format!("routes: [{{ signals: [logs], key: s2.stream, exporters: [{name}] }}]\n");
    let sluice = Sluice::start(&(config + &route)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    eventually("the attempt has failed", async || {
        let shown = sluice.api("/api/v1/streams").await;
        let error = &shown["streams"][0]["last_error"];
        Some((error["code"].as_str()?.to_owned(), error["message"].as_str()?.to_owned()))
    })
    .await
}

/// Checks that the error of an exporter with these options has this code and all of these words, and none of `s3cr3t`.
async fn assert_told(kind: &str, options: &str, code: &str, words: &[&str]) {
    let (found, message) = first_error(kind, options).await;
    assert_eq!(found, code, "{kind}, {options}: {message}");
    for word in words {
        assert!(message.contains(word), "{kind}, {options}: no `{word}` in: {message}");
    }
    assert!(!message.contains("s3cr3t") && !message.contains('…'), "{message}");
}

#[tokio::test]
async fn an_otlp_http_exporter_says_what_its_upstream_speaks_and_what_to_write() {
    let cases: [(&[u8], &str); 5] = [
        (ALERT, "it speaks TLS: write `https://`"),
        (
            SETTINGS,
            "it speaks HTTP/2, as an otlp_grpc endpoint (port 4317): use its HTTP port (4318), or `otlp_grpc`",
        ),
        (b"220 mail.example ESMTP\r\n", "is it https, or an otlp_grpc endpoint (port 4317)?"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "is it https, or an otlp_grpc endpoint (port 4317)?"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "not an HTTP/1.1 answer from"),
    ];
    for (answer, words) in cases {
        let address = saying(answer).await;
        let url = format!("from `http://{address}/base/v1/logs");
        let options = format!("endpoint: 'http://{address}/base'");
        assert_told("otlp_http", &options, "protocol", &[words, &url]).await;
        let options = format!("logs_endpoint: 'http://{address}/base/v1/logs?token=s3cr3t'");
        assert_told("otlp_http", &options, "protocol", &[words, &url]).await;
    }
}

#[tokio::test]
async fn an_answer_that_begins_as_http_1_1_and_is_broken_gets_no_hint_at_other_protocols() {
    let address = saying(b"HTTP/1.1 nonsense\r\n\r\n").await;
    let (_, message) = first_error("otlp_http", &format!("endpoint: 'http://{address}'")).await;
    assert!(!message.contains("otlp_grpc") && !message.contains("https"), "{message}");
}

#[tokio::test]
async fn an_otlp_http_exporter_at_a_grpc_server_is_told_so_with_and_without_tls() {
    let up = GrpcUpstream::taking();
    let options = format!("endpoint: 'http://{}'", up.address);
    assert_told("otlp_http", &options, "protocol", &["it speaks HTTP/2", "or `otlp_grpc`"]).await;

    let (secure, ca) = (Authority::new("authority"), "ca.pem");
    let up = tls_grpc(&secure);
    let tls = format!("tls: {{ ca_file: '{}', server_name_override: localhost }}", secure.path(ca).display());
    let options = format!("endpoint: 'https://{}', {tls}", up.address);
    assert_told(
        "otlp_http",
        &options,
        "tls",
        &["no TLS with `https://127.0.0.1:", "`otlp_http` HTTP/1.1 (port 4318)"],
    )
    .await;
}

/// A gRPC server with a certificate for `localhost`.
fn tls_grpc(authority: &Authority) -> GrpcUpstream {
    let identity = authority.sign("localhost");
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(identity.certificate, identity.key));
    GrpcUpstream::with(Server::builder().tls_config(tls).unwrap(), |_| Reply::Take)
}

#[tokio::test]
async fn an_otlp_grpc_exporter_says_what_its_upstream_speaks_and_what_to_write() {
    let cases: [(&[u8], &str, &str); 4] = [
        (ALERT, "protocol", "it speaks TLS: write `https://`, or no `insecure: true`"),
        (
            BAD_REQUEST,
            "protocol",
            "it speaks HTTP/1.1, as an otlp_http endpoint (port 4318): use its gRPC port (4317), or `otlp_http`",
        ),
        (b"220 mail.example ESMTP\r\n", "protocol", "is it https, or an otlp_http endpoint (port 4318)?"),
        (b"", "reset", "is it https, or an otlp_http endpoint (port 4318)?"),
    ];
    for (answer, code, words) in cases {
        let address = saying(answer).await;
        let at = format!("HTTP/2 is not spoken at `http://{address}`: ");
        for options in [
            format!("endpoint: '{address}', tls: {{ insecure: true }}"),
            format!("endpoint: 'http://{address}'"),
        ] {
            assert_told("otlp_grpc", &options, code, &[words, &at]).await;
        }
    }
}

#[tokio::test]
async fn an_otlp_grpc_exporter_at_an_https_server_without_http_2_is_told_so() {
    let authority = Authority::new("authority");
    // It has no opinion on the protocol, and answers in HTTP/1.1.
    let acceptor = {
        let identity = authority.sign("localhost");
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(identity.key.as_bytes()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.der()], key)
            .unwrap();
        tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut read = vec![0; 1 << 16];
            while matches!(stream.read(&mut read).await, Ok(1..)) {
                if stream.write_all(BAD_REQUEST).await.is_err() || stream.flush().await.is_err() {
                    break;
                }
            }
        }
    });
    let options = format!(
        "endpoint: 'https://{address}', tls: {{ ca_file: '{}', server_name_override: localhost }}",
        authority.path("ca.pem").display()
    );
    assert_told(
        "otlp_grpc",
        &options,
        "protocol",
        &["it speaks HTTP/1.1", &format!("at `https://{address}`")],
    )
    .await;
}

#[tokio::test]
async fn an_exporter_with_tls_at_a_server_without_it_is_told_what_to_write() {
    let up = GrpcUpstream::taking();
    let plain = "it speaks no TLS: write `http://`, or, without a scheme, `tls: { insecure: true }`";
    let with = format!("no TLS with `https://{}`: ", up.address);
    assert_told("otlp_grpc", &format!("endpoint: '{}'", up.address), "tls", &[plain, &with]).await;
    assert_told("otlp_grpc", &format!("endpoint: 'https://{}'", up.address), "tls", &[plain, &with]).await;
    assert_told("otlp_http", &format!("endpoint: 'https://{}'", up.address), "tls", &[plain, &with]).await;
    let up = saying(BAD_REQUEST).await;
    assert_told("otlp_http", &format!("endpoint: 'https://{up}'"), "tls", &[plain]).await;
    // It hangs up, which may have other reasons.
    let up = saying(b"").await;
    let perhaps = "if it speaks no TLS, write `http://`, or, without a scheme, `tls: { insecure: true }`";
    for kind in ["otlp_http", "otlp_grpc"] {
        assert_told(kind, &format!("endpoint: 'https://{up}'"), "tls", &[perhaps]).await;
    }
}

#[tokio::test]
async fn a_proxy_that_speaks_something_else_is_named_with_its_url_in_question() {
    let proxy = saying(ALERT).await;
    let options = format!("endpoint: 'http://up.example', proxy_url: 'http://me:s3cr3t@{proxy}'");
    let words = [&*format!("from the proxy `http://{proxy}`"), "is that its URL?"];
    assert_told("otlp_http", &options, "protocol", &words).await;

    let proxy = saying(BAD_REQUEST).await;
    let options = format!("endpoint: 'http://up.example', proxy_url: 'https://me:s3cr3t@{proxy}'");
    let words = [&*format!("no TLS with `https://{proxy}`"), "write `http://` in the URL of the proxy"];
    assert_told("otlp_http", &options, "tls", &words).await;
}

#[tokio::test]
async fn an_upstream_that_speaks_another_protocol_to_every_stream_is_probed_as_one_that_is_away() {
    for (kind, answer) in [("otlp_grpc", BAD_GATEWAY), ("otlp_grpc", ALERT), ("otlp_http", ALERT)] {
        let address = saying(answer).await;
        let name = format!("{kind}/up");
        let options = format!("endpoint: 'http://{address}', compression: none, {QUICK}");
        let config = yaml::exporters(&[(&name, options)]);
        let route = format!("routes: [{{ signals: [logs], key: s2.stream, exporters: [{name}] }}]\n");
        let sluice = Sluice::start(&(config + &route)).await;
        for key in ["a", "b", "c", "d", "e"] {
            sluice.accept(Signal::Logs, logs(&[(key, &["1"])])).await;
        }
        eventually("the circuit is open", async || {
            let closed = sluice.metric("sluice_destinations", &[("circuit", "closed")]).await;
            let shown = sluice.api("/api/v1/exporters").await;
            (closed == 0.0 && shown["exporters"][0]["pending_records"] == 5).then_some(())
        })
        .await;
    }
}
