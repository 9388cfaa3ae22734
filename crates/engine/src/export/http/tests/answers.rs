//! What each answer means for the batch.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;

use super::*;
use crate::client::Secrets;
use crate::export::upstream::answer_body::UpstreamAnswerBody;
use crate::export::upstream::partial_success::PartialSuccess;
use crate::export::upstream::sanitizer::Sanitizer;
use crate::net::Network;
use crate::rpc::Code;

fn with_body(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn json(status: &str, body: &str) -> String {
    with_body(status, "application/json", body)
}

async fn outcome_of_status(status: u16) -> AttemptOutcome {
    let answer = answer_to(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(answer.code, status.to_string());
    answer.outcome
}

#[tokio::test]
async fn rules_38_and_39_the_status_decides() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(outcome_of_status(status).await, DELIVERED, "{status}");
    }
    for status in [429, 502, 503, 504].into_iter().chain(520..=530) {
        assert_eq!(outcome_of_status(status).await, RETRY, "{status}");
    }
    for status in [400, 413, 422] {
        assert_eq!(outcome_of_status(status).await, AttemptOutcome::Bad, "{status}");
    }
    for status in [300, 301, 302, 303, 304, 307, 308, 399, 401, 403, 404, 405, 407, 415, 501] {
        assert_eq!(outcome_of_status(status).await, HOLD, "{status}");
    }
    for status in [402, 406, 408, 409, 410, 431, 451, 500, 505, 519, 531, 599] {
        assert_eq!(outcome_of_status(status).await, AttemptOutcome::Refused, "{status}");
    }
}

#[tokio::test]
async fn rule_38_the_code_in_the_body_decides_nothing() {
    for (status, code, expected) in [
        ("530 X", Code::InvalidArgument, RETRY),
        ("503 X", Code::InvalidArgument, RETRY),
        ("429 X", Code::Unimplemented, RETRY),
        ("400 X", Code::Unavailable, AttemptOutcome::Bad),
        ("500 X", Code::Unavailable, AttemptOutcome::Refused),
    ] {
        let body = serde_json::json!({ "code": code as i32, "message": "what the body says" }).to_string();
        let answer = answer_to(&json(status, &body)).await;
        assert_eq!(answer.outcome, expected, "{status}, {code:?}");
        assert!(answer.detail.contains("what the body says"), "the body is read: {}", answer.detail);
    }
}

#[tokio::test]
async fn the_retried_statuses_can_be_chosen() {
    let upstream = Upstream::new(|request| {
        let status = request.headers["x-status"].clone();
        upstream::Then::Answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
    })
    .await;
    for (status, expected) in
        [("408", RETRY), ("500", RETRY), ("404", RETRY), ("503", AttemptOutcome::Refused)]
    {
        let http =
            http_settings_with(&upstream.url(), |http| http.headers = vec![header("x-status", status)]);
        let mut settings = exporter(http.clone());
        settings.statuses = Statuses::retrying(vec![404, 408, 500]);
        let transport = HttpTransport::new(&settings, &http, &Network::Machine, None).unwrap();
        assert_eq!(transport.send("k").await.outcome, expected, "{status}");
    }
}

#[tokio::test]
async fn a_status_that_http_does_not_know_makes_no_label_of_its_own() {
    let answer = answer_to("HTTP/1.1 799 X\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("other", AttemptOutcome::Refused));
}

#[tokio::test]
async fn rule_42_retry_after_is_understood_as_seconds_and_as_a_date() {
    let after = async |status: &str, value: &str| {
        let text = format!("HTTP/1.1 {status} X\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
        match answer_to(&text).await.outcome {
            AttemptOutcome::Retry { after } | AttemptOutcome::Hold { after, .. } => after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(after("503", "7").await, Some(Duration::from_secs(7)));
    assert_eq!(after("429", " 0 ").await, Some(Duration::ZERO));
    assert_eq!(after("401", "60").await, Some(Duration::from_secs(60)));
    assert_eq!(after("503", "soon").await, None);
    for nothing in ["-1", "+5", "1.5", "5s", "1_000", ""] {
        assert_eq!(after("503", nothing).await, None, "{nothing}");
    }
    assert_eq!(after("503", "Thu, 01 Jan 1970 00:00:00 GMT").await, Some(Duration::ZERO));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let waits = after("503", &date).await.unwrap();
    assert!(waits > Duration::from_secs(3500) && waits <= Duration::from_secs(3600), "{waits:?}");
}

#[tokio::test]
async fn rule_42_a_retry_after_of_any_number_of_digits_is_a_wait() {
    for (digits, seconds) in [
        ("0000000000000000000000000000007".to_owned(), Duration::from_secs(7)),
        (u64::MAX.to_string(), Duration::from_secs(u64::MAX)),
        ("18446744073709551616".to_owned(), Duration::MAX),
        ("99999999999999999999".to_owned(), Duration::MAX),
        ("9".repeat(400), Duration::MAX),
    ] {
        let text = format!("HTTP/1.1 503 X\r\nRetry-After: {digits}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            answer_to(&text).await.outcome,
            AttemptOutcome::Retry { after: Some(seconds) },
            "{digits}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let location =
            format!("HTTP/1.1 {status} X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
        let answer = answer_to(&location).await;
        assert_eq!(answer.outcome, HOLD);
        assert!(answer.detail.contains(&elsewhere.url()), "{}", answer.detail);
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn where_a_redirect_leads_is_shown_without_its_query() {
    for location in ["/v1/logs/?token=s3cr%33t", "https://s3cr3t@u/v1/logs/?token=s3cr3t"] {
        let answer =
            answer_to(&format!("HTTP/1.1 308 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(answer.detail.contains("/v1/logs/?[redacted]`"), "{}", answer.detail);
        assert!(!answer.detail.contains("s3cr"), "{}", answer.detail);
    }
}

/// Rules 11 to 14.
#[tokio::test]
async fn partial_success_is_counted_in_either_encoding() {
    let proto = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 3,
            error_message: "odd".into(),
        }),
    };
    let proto = String::from_utf8(proto.encode_to_vec()).unwrap();
    let rejected = AttemptOutcome::Delivered { rejected: 3, warning: false };
    for text in [
        with_body("200 OK", "application/x-protobuf", &proto),
        json("200 OK", r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"odd"}}"#),
        json("200 OK", r#"{"partial_success":{"rejected_spans":3,"error_message":"odd"}}"#),
        with_body(
            "200 OK",
            "application/json; charset=utf-8",
            r#" {"partialSuccess":{"rejectedDataPoints":3,"errorMessage":"odd","x":[]}}"#,
        ),
    ] {
        let answer = answer_to(&text).await;
        assert_eq!(answer.outcome, rejected, "{text}");
        assert_eq!(answer.detail, "3 of 10 records rejected: odd");
    }
}

#[tokio::test]
async fn an_empty_partial_success_is_full_success() {
    for body in [
        "{}",
        r#"{"partialSuccess":{}}"#,
        r#"{"partialSuccess":null}"#,
        r#"{"partialSuccess":{"rejectedSpans":"0"}}"#,
    ] {
        assert_eq!(answer_to(&json("200 OK", body)).await.outcome, DELIVERED, "{body}");
    }
    let proto = with_body("200 OK", "application/x-protobuf", "\x0a\x00");
    assert_eq!(answer_to(&proto).await.outcome, DELIVERED);
}

#[tokio::test]
async fn a_message_without_rejections_is_a_warning() {
    let answer = answer_to(&json("200 OK", r#"{"partialSuccess":{"errorMessage":"slow down"}}"#)).await;
    assert_eq!((answer.outcome, answer.detail.as_str()), (WARNED, "slow down"));
}

#[tokio::test]
async fn a_lying_partial_success_never_counts_more_than_the_batch() {
    for (count, rejected) in [("11", 10), ("9223372036854775807", 10), ("-1", 0), ("-9223372036854775808", 0)]
    {
        let body = format!(r#"{{"partialSuccess":{{"rejectedLogRecords":"{count}"}}}}"#);
        let answer = answer_to(&json("200 OK", &body)).await;
        assert_eq!(answer.outcome, AttemptOutcome::Delivered { rejected, warning: true }, "{count}");
        assert!(answer.detail.contains(count), "{}", answer.detail);
    }
}

#[tokio::test]
async fn success_with_an_unreadable_body_is_delivered_with_a_warning() {
    for text in [
        with_body("200 OK", "text/html", "<html>it works"),
        with_body("200 OK", "application/x-protobuf", "OK"),
        json("200 OK", "{"),
        json("200 OK", "[]"),
        json("200 OK", r#"{"partialSuccess":7}"#),
        json("200 OK", r#"{"partialSuccess":{"rejectedSpans":"many"}}"#),
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx".to_owned(),
    ] {
        let answer = answer_to(&text).await;
        assert_eq!((answer.code.as_ref(), answer.outcome), ("200", WARNED), "{text}");
        assert!(!answer.detail.is_empty());
    }
}

/// Rules 5 and 33.
#[tokio::test]
async fn rule_33_an_oversized_answer_is_not_read_to_its_end() {
    let long = "x".repeat(4 * 1024 * 1024 + 1);
    let answer = answer_to(&with_body("200 OK", "text/plain", &long)).await;
    assert_eq!(answer.outcome, WARNED);
    assert!(answer.detail.contains("longer than 4194304 bytes"), "{}", answer.detail);
    let answer = answer_to(&with_body("503 X", "text/plain", &long)).await;
    assert_eq!(answer.outcome, RETRY);
}

/// The answer to ten records that has this status, these headers and this body.
fn judged(status: u16, headers: &[(&'static str, &str)], bytes: &[u8]) -> Answer {
    let headers: http::HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    let mut body = UpstreamAnswerBody::new(&Arc::new(Budget::new(u64::MAX)));
    bytes.chunks(10_000).for_each(|piece| body.push(piece).unwrap());
    let status = http::StatusCode::from_u16(status).unwrap();
    let reply = crate::export::http::answer::Reply { status, headers: &headers, body: Ok(body) };
    reply.judge(
        &Statuses::retrying(vec![503]),
        10,
        &Sanitizer::hiding(&Secrets::default()),
        SystemTime::now(),
    )
}

/// Bytes as they are, and as every coding makes of them, with its name.
fn coded(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(plain).unwrap();
    zlib.write_all(plain).unwrap();
    deflate.write_all(plain).unwrap();
    vec![
        ("identity", plain.to_vec()),
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("zstd", zstd::encode_all(plain, 1).unwrap()),
        // Without zlib's frame it is known by its label alone.
        ("deflate", deflate.finish().unwrap()),
    ]
}

/// An answer that says that two were rejected, in either encoding, and one that says nothing.
const PARTIAL: [&[u8]; 4] = [
    b"\x0a\x07\x08\x02\x12\x03odd",
    b"\x0a\x07\x12\x03odd\x08\x02",
    br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"odd"}}"#,
    b"\xef\xbb\xbf\r\n {\"partial_success\": {\"error_message\": \"odd\", \"rejected_data_points\": 2}}\n",
];
const FULL: [&[u8]; 8] = [
    b"",
    b"\n",
    b"\x0a\x00",
    b"\x0a\x04\x08\x00\x12\x00",
    b"{}",
    b"\xef\xbb\xbf{}",
    b" {\"partialSuccess\":null}",
    b"\xef\xbb\xbf",
];

#[test]
fn an_answer_is_read_whatever_it_is_labelled_as() {
    let content_types = ["application/x-protobuf", "application/json; charset=utf-8", "text/plain", ""];
    for content_type in content_types {
        for label in
            ["", "identity", "gzip", "x-gzip", "GZIP", "deflate", "zstd", "br", "gzip, gzip", "utf-8"]
        {
            let headers = [("content-type", content_type), ("content-encoding", label)];
            for (plain, expected) in PARTIAL
                .map(|plain| (plain, AttemptOutcome::Delivered { rejected: 2, warning: false }))
                .into_iter()
                .chain(FULL.map(|plain| (plain, DELIVERED)))
            {
                for (coding, bytes) in &coded(plain)[..4] {
                    let answer = judged(200, &headers, bytes);
                    assert_eq!(answer.outcome, expected, "{plain:?} by {coding}, labelled {headers:?}");
                }
            }
        }
    }
}

#[test]
fn a_deflate_without_a_frame_and_codings_on_top_of_each_other_are_read_by_their_labels() {
    let expected = AttemptOutcome::Delivered { rejected: 2, warning: false };
    for plain in PARTIAL {
        let bare = coded(plain).pop().unwrap().1;
        assert_eq!(judged(200, &[("content-encoding", "deflate")], &bare).outcome, expected);
        for (first, once) in &coded(plain)[1..4] {
            for (second, twice) in &coded(once)[1..4] {
                let names = format!("{first}, identity,{second}");
                assert_eq!(judged(200, &[("content-encoding", &names)], twice).outcome, expected, "{names}");
            }
        }
    }
}

#[test]
fn an_answer_that_neither_decoder_takes_is_a_warning_in_every_coding() {
    for plain in [&b"<html>it works"[..], b"OK", b"[]", b"7", b"\x0a\x02\x08", b"{\"partialSuccess\":7}"] {
        for (coding, bytes) in coded(plain) {
            for label in ["", coding] {
                let answer = judged(200, &[("content-encoding", label)], &bytes);
                assert_eq!(answer.outcome, WARNED, "{plain:?} by {coding}, labelled `{label}`");
                assert!(answer.detail.starts_with("200 OK, but the answer"), "{}", answer.detail);
            }
        }
    }
}

#[test]
fn of_a_partial_success_that_is_too_long_to_be_kept_the_count_is_found_before_and_behind_the_message() {
    for filler in ["x", "ü", "\\n", "\\\"", "\\u00fc\\\\", "\\ud83d\\ude00"] {
        for len in [64 << 10, 65_530, 65_531, 65_532, 65_533, 65_534, 65_535, 200_000, 4_000_000] {
            let message = format!("odd: {}", filler.repeat(len / filler.len() + 1));
            let rejected = r#""rejectedLogRecords": "2""#;
            let mut answers = vec![
                format!(r#"{{"partialSuccess":{{{rejected},"errorMessage":"{message}"}}}}"#).into_bytes(),
                format!(r#"{{"partialSuccess": {{ "errorMessage": "{message}", {rejected} }} }}"#)
                    .into_bytes(),
            ];
            let text = PartialSuccess { rejected: 0, error_message: message }.encode_to_vec();
            for fields in [[&b"\x08\x02"[..], &text], [&text, b"\x08\x02"]] {
                let fields = fields.concat();
                let mut proto = vec![0x0a];
                prost::encoding::encode_varint(fields.len() as u64, &mut proto);
                answers.push([proto, fields].concat());
            }
            for plain in answers {
                for (coding, bytes) in &coded(&plain)[..4] {
                    let answer = judged(200, &[("content-encoding", coding)], bytes);
                    let expected = AttemptOutcome::Delivered { rejected: 2, warning: false };
                    assert_eq!(
                        answer.outcome, expected,
                        "{len} of `{filler}` by {coding}: {}",
                        answer.detail
                    );
                    assert!(answer.detail.starts_with("2 of 10 records rejected: odd:"), "{}", answer.detail);
                }
            }
        }
    }
}

#[test]
fn reasons_are_read_whatever_they_are_labelled_as() {
    // `google.rpc.Status { code: 3, message: "bad" }`
    for plain in
        [&b"\x08\x03\x12\x03bad"[..], b"\x12\x03bad", b"bad", b"\xef\xbb\xbf{\"code\":3,\"message\":\"bad\"}"]
    {
        for content_type in ["application/x-protobuf", "application/json", ""] {
            for (coding, bytes) in &coded(plain)[..4] {
                for label in ["", "gzip", "br", coding] {
                    let headers = [("content-type", content_type), ("content-encoding", label)];
                    let answer = judged(400, &headers, bytes);
                    assert_eq!(answer.outcome, AttemptOutcome::Bad);
                    assert_eq!(answer.detail, "400 Bad Request: bad", "{plain:?} by {coding}: {headers:?}");
                }
            }
        }
    }
}

#[test]
fn rule_33_a_compressed_answer_is_bounded_after_decompression_too() {
    let good = br#"{"partialSuccess":{"rejectedSpans":"2"}}"#;
    let partial = AttemptOutcome::Delivered { rejected: 2, warning: false };
    for (coding, bytes) in coded(good) {
        assert_eq!(judged(200, &[("content-encoding", coding)], &bytes).outcome, partial);
    }
    for (coding, bytes) in coded(&vec![b' '; 8 * 1024 * 1024]).drain(1..) {
        let answer = judged(200, &[("content-encoding", coding)], &bytes);
        assert_eq!(answer.outcome, WARNED);
        assert!(answer.detail.contains("longer than"), "{coding}: {}", answer.detail);
    }
}

/// Rule 37.
#[tokio::test]
async fn the_reason_is_taken_from_whatever_the_upstream_says() {
    // `google.rpc.Status { code: 3, message: "bad" }`
    let status = "\x08\x03\x12\x03bad";
    for (text, detail) in [
        (with_body("400 Bad Request", "application/x-protobuf", status), "400 Bad Request: bad"),
        (json("400 Bad Request", r#"{"code":3,"message":"bad"}"#), "400 Bad Request: bad"),
        (json("403 Forbidden", r#"{"error":{"message":"no"}}"#), "403 Forbidden: no"),
        (json("403 Forbidden", r#"{"error":"no"}"#), "403 Forbidden: no"),
        (json("403 Forbidden", r#"{"why":"no"}"#), r#"403 Forbidden: {"why":"no"}"#),
        (
            with_body("500 X", "text/plain", "out\r\n\tof \x1bcheese"),
            "500 Internal Server Error: out of cheese",
        ),
        (with_body("500 X", "text/plain", " \n"), "500 Internal Server Error"),
    ] {
        assert_eq!(answer_to(&text).await.detail, detail);
    }
    let long = answer_to(&with_body("500 X", "text/plain", &"ü".repeat(5000))).await.detail;
    assert!(long.chars().count() <= 257, "{}", long.len());
}

#[tokio::test]
async fn secrets_that_an_upstream_echoes_are_not_repeated() {
    let upstream = Upstream::new(|request| {
        upstream::Then::Answer(with_body("401 X", "text/plain", &format!("got {:?}", request.headers)))
    })
    .await;
    let http = http_settings_with(&upstream.url(), |http| {
        http.headers =
            vec![header("authorization", "Bearer s3cr3t-t0ken"), header("x-token", "{{ key }}-hidden")];
    });
    let answer = new(http).unwrap().send("mykey").await;
    assert!(answer.detail.contains("[redacted]"), "{}", answer.detail);
    assert!(!answer.detail.contains("s3cr3t") && !answer.detail.contains("hidden"), "{}", answer.detail);
}
