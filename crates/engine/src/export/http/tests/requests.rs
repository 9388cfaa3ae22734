//! What arrives at the upstream.

use std::io::Read as _;

use super::upstream::Received;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What arrives after one attempt with settings that `change` has changed.
async fn received(change: impl FnOnce(&mut OtlpHttpSettings), batch: &Batch) -> Received {
    let upstream = Upstream::answering(OK).await;
    let mut http = http_settings(&upstream.url());
    change(&mut http);
    let transport = new(http).unwrap();
    let answer = transport.send_batch("k", batch).await;
    assert_eq!(answer.outcome, DELIVERED, "{}", answer.detail);
    upstream.received().remove(0)
}

/// Chunks of many sizes, 3 MiB in all, that don't compress to nothing.
fn large() -> Batch {
    let mut byte = 1_u8;
    let chunks = (0..100_usize).map(|chunk| {
        let bytes = (0..chunk * 631).map(|_| {
            byte = byte.wrapping_mul(97).wrapping_add(13);
            byte
        });
        Bytes::from(bytes.collect::<Vec<u8>>())
    });
    Batch::new(Signal::Logs, chunks.collect(), 1)
}

#[tokio::test]
async fn rules_24_and_25_a_protobuf_body_is_the_batch_byte_for_byte() {
    for batch in [batch(), large()] {
        let received = received(|_| (), &batch).await;
        assert_eq!(received.line, "POST /v1/logs HTTP/1.1");
        assert_eq!(received.headers["content-type"], "application/x-protobuf");
        assert!(!received.headers.contains_key("content-encoding"));
        assert!(received.body == batch.to_bytes(), "the bodies differ");
    }
}

#[tokio::test]
async fn rule_29_a_gzip_body_says_so_and_decodes_to_the_batch() {
    for batch in [batch(), large()] {
        let received =
            received(|http| http.upstream.compression = Compression::Gzip { level: 1 }, &batch).await;
        assert_eq!(received.headers["content-encoding"], "gzip");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&received.body[..]).read_to_end(&mut plain).unwrap();
        assert!(plain == batch.to_bytes(), "the bodies differ");
    }
}

#[tokio::test]
async fn a_zstd_body_decodes_to_the_batch() {
    for batch in [batch(), large()] {
        let received =
            received(|http| http.upstream.compression = Compression::Zstd { level: 3 }, &batch).await;
        assert_eq!(received.headers["content-encoding"], "zstd");
        assert!(zstd::decode_all(&received.body[..]).unwrap() == batch.to_bytes(), "the bodies differ");
    }
}

#[tokio::test]
async fn rule_26_a_json_body_says_so_and_is_an_export_request() {
    // One `ResourceLogs` without fields.
    let batch = Batch::new(Signal::Logs, vec![Bytes::from_static(b"\x0a\x00")], 1);
    let plain = received(|http| http.encoding = Encoding::Json, &batch).await;
    assert_eq!(plain.headers["content-type"], "application/json");
    let json: serde_json::Value = serde_json::from_slice(&plain.body).unwrap();
    assert!(json["resourceLogs"].is_array(), "{json}");
    let change = |http: &mut OtlpHttpSettings| {
        http.encoding = Encoding::Json;
        http.upstream.compression = Compression::Gzip { level: 9 };
    };
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&received(change, &batch).await.body[..])
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn rules_4_and_32_a_request_that_is_too_large_is_not_sent() {
    let upstream = Upstream::answering(OK).await;
    let transport = new(http_settings(&upstream.url())).unwrap();
    let batch = Batch::new(Signal::Logs, vec![Bytes::from(vec![0; (64 << 20) + 1])], 1);
    let answer = transport.send_batch("k", &batch).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("oversize", AttemptOutcome::Bad));
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn sluice_names_itself_and_the_host() {
    let upstream = Upstream::answering(OK).await;
    new(http_settings(&upstream.url())).unwrap().send("k").await;
    let headers = &upstream.received()[0].headers;
    assert_eq!(headers["host"], upstream.address.to_string());
    assert_eq!(headers["user-agent"], concat!("sluice/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn configured_headers_replace_those_of_sluice() {
    let received = received(
        |http| {
            http.upstream.headers = vec![
                header("user-agent", "mine"),
                header("content-type", "application/protobuf"),
                header("host", "virtual.example"),
                header("x-scope-orgid", "{{ key }}/{{ signal }}"),
            ];
        },
        &batch(),
    )
    .await;
    for (name, value) in [
        ("user-agent", "mine"),
        ("content-type", "application/protobuf"),
        ("host", "virtual.example"),
        ("x-scope-orgid", "k/logs"),
    ] {
        assert_eq!(received.headers[name], value);
    }
}

#[tokio::test]
async fn a_query_is_sent_and_never_shown() {
    // The upstream echoes it, as it is and decoded.
    let echo = "no s3cr%2Ft nor s3cr/t-ok nor b";
    let upstream =
        Upstream::answering(&format!("HTTP/1.1 500 X\r\nContent-Length: {}\r\n\r\n{echo}", echo.len())).await;
    let url = format!("http://{}/x?token=s3cr%2Ft&a=b#part", upstream.address);
    let transport = new(http_settings(&url)).unwrap();
    let answer = transport.send("k").await;
    assert_eq!(upstream.received()[0].line, "POST /x?token=s3cr%2Ft&a=b HTTP/1.1");
    assert_eq!(answer.detail, "500 Internal Server Error: no [redacted] nor [redacted]-ok nor b");
    let target = transport.target(&stream("k")).unwrap();
    let shown = format!("{target:?} {target} {target:#} {}", target.url());
    assert!(!shown.contains("s3cr"), "{shown}");

    let error = new(http_settings("ftp://u/x?token=s3cr3t")).unwrap_err().to_string();
    assert!(error.starts_with("`ftp://u/x?[redacted]` is not an absolute URL"), "{error}");
}

#[test]
fn templates_are_rendered_per_stream_and_shared_without_values() {
    let fixed = new(http_settings("http://u/v1/logs")).unwrap();
    let (one, two) = (fixed.target(&stream("a")).unwrap(), fixed.target(&stream("b")).unwrap());
    assert!(std::sync::Arc::ptr_eq(&one, &two));

    let keyed = new(http_settings("http://{{ key }}.example/{{ key }}/v1/logs")).unwrap();
    let (one, two) = (keyed.target(&stream("a")).unwrap(), keyed.target(&stream("B.c")).unwrap());
    assert_eq!((one.url(), two.url()), ("http://a.example/a/v1/logs", "http://b.c.example/B.c/v1/logs"));
    assert!(keyed.target(&stream("a/b")).is_err());
}

#[test]
fn what_can_never_be_sent_is_refused_before_there_is_data() {
    let refused = |change: &dyn Fn(&mut OtlpHttpSettings)| {
        let mut http = http_settings("http://u/v1/logs");
        change(&mut http);
        new(http).unwrap_err().to_string()
    };
    let url = |text: &'static str| move |http: &mut OtlpHttpSettings| http.urls = http_settings(text).urls;
    assert_eq!(
        refused(&url("u:4318")),
        "`u:4318` is not an absolute URL: write `http://host:port/path` or `https://host/path`"
    );
    assert!(refused(&url("ftp://user:secret@u/")).starts_with("`ftp://u/` is not an absolute URL"));
    let credentials = refused(&url("https://user:secret@u/"));
    assert!(credentials.starts_with("`https://u/` is a URL with credentials"), "{credentials}");
    assert!(refused(&url("http://u/a b")).starts_with("`http://u/a b` is not a URL"));
    let length = refused(&|http| http.upstream.headers = vec![header("Content-Length", "7")]);
    assert_eq!(length, "the header `content-length` can't be configured: Sluice sets it to fit each request");
    let value = refused(&|http| http.upstream.headers = vec![header("x-token", "se\ncret")]);
    assert!(value.starts_with("the value of the header `x-token`") && !value.contains("cret"), "{value}");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let mut http = http_settings("http://u/v1/logs?key=s3cr3t-url");
    http.upstream.headers = vec![header("authorization", "Bearer s3cr3t-header")];
    http.proxy_url = Some("http://u:s3cr3t-proxy@p:1".into());
    let transport = new(http).unwrap();
    let target = transport.target(&stream("k")).unwrap();
    let shown = format!("{target:?} {target} {}", target.url());
    assert!(!shown.contains("s3cr3t"), "{shown}");
}
