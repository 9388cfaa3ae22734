//! Requests through a proxy.

use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;

use super::upstream::{Upstream, read_request};
use super::*;
use crate::client::Proxies;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A proxy that opens tunnels to `to`, whatever it is asked for, or refuses with `refusal`.
async fn tunnel_proxy(to: std::net::SocketAddr, refusal: Option<&'static str>) -> Upstream {
    Upstream::accepting(move |number, mut stream, log| async move {
        let request = read_request(number, &mut stream).await.unwrap();
        log.lock().push(request);
        if let Some(refusal) = refusal {
            stream.write_all(refusal.as_bytes()).await.unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await.unwrap();
        let mut upstream = TcpStream::connect(to).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut upstream).await;
    })
    .await
}

#[tokio::test]
async fn http_goes_through_a_proxy_with_the_whole_url() {
    let proxy = Upstream::answering(OK).await;
    let mut http = http_settings("http://api.invalid:4318/v1/logs");
    http.proxy_url = Some(format!("http://user:secret@{}", proxy.address).into());
    let transport = new(http).unwrap();
    assert_eq!(transport.send("k").await.outcome, DELIVERED);
    let received = proxy.received().remove(0);
    assert_eq!(received.line, "POST http://api.invalid:4318/v1/logs HTTP/1.1");
    assert_eq!(received.headers["host"], "api.invalid:4318");
    assert_eq!(received.headers["proxy-authorization"], "Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(received.body, batch().to_bytes());
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let authority = tls::Authority::new();
    let upstream = tls::Server::new(authority.server("api.invalid"), None).await;
    let proxy = tunnel_proxy(upstream.address(), None).await;
    let mut http = http_settings("https://api.invalid/v1/logs");
    http.upstream.tls = authority.trusted();
    http.proxy_url = Some(format!("http://user:secret@{}", proxy.address).into());
    let answer = new(http).unwrap().send("k").await;
    assert_eq!(answer.outcome, DELIVERED, "{}", answer.detail);
    let connect = proxy.received().remove(0);
    assert_eq!(connect.line, "CONNECT api.invalid:443 HTTP/1.1");
    assert_eq!(connect.headers["proxy-authorization"], "Basic dXNlcjpzZWNyZXQ=");
    let received = upstream.received().remove(0);
    assert_eq!(
        (received.line.as_str(), received.headers["host"].as_str()),
        ("POST /v1/logs HTTP/1.1", "api.invalid")
    );
    assert!(!received.headers.contains_key("proxy-authorization"), "the upstream sees the proxy's password");
}

#[tokio::test]
async fn a_proxy_that_opens_no_tunnel_is_named() {
    for (refusal, detail) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407 to CONNECT"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy answered 502 to CONNECT"),
        ("", "the proxy closed the connection after CONNECT"),
        ("what?\r\n\r\n", "the proxy's answer to CONNECT is not HTTP"),
    ] {
        let proxy = tunnel_proxy(([127, 0, 0, 1], 1).into(), Some(refusal)).await;
        let mut http = http_settings("https://api.invalid/v1/logs");
        http.proxy_url = Some(format!("http://user:secret@{}", proxy.address).into());
        let answer = new(http).unwrap().send("k").await;
        assert_eq!((answer.code.as_ref(), answer.outcome), ("connect", RETRY), "{}", answer.detail);
        assert!(answer.detail.contains(detail) && !answer.detail.contains("secret"), "{}", answer.detail);
    }
}

#[tokio::test]
async fn no_proxy_leads_straight_to_the_upstream() {
    let upstream = Upstream::answering(OK).await;
    let proxies = Proxies::like_env("http://proxy.invalid", "http://proxy.invalid", "10.0.0.0/8");
    let transport = new(http_settings(&upstream.url())).unwrap().with_proxies(proxies);
    assert_eq!(transport.send("k").await.outcome, DELIVERED);
    assert_eq!(upstream.received()[0].line, "POST /v1/logs HTTP/1.1");
}
