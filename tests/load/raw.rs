//! The least HTTP client that shows what is on the wire, and requests made by hand.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rig::sink::Sink;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the server wrote before it closed the connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The status code; 0 if there is no status line.
    pub(crate) fn status(&self) -> u16 {
        let code = self.head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        code.map_or(0, |code| code.parse().expect("a status code is a number"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends `request` as it is; everything up to the end of the connection, or its reset, is the answer.
pub(crate) async fn exchange(sink: &Sink, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(sink.addr()).await.expect("the sink listens");
    let mut answer = Vec::new();
    // Either may be cut off; what came before that counts.
    let _ = stream.write_all(request).await;
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let body = answer.split_off(end);
    Answer { head: String::from_utf8_lossy(&answer).into_owned(), body }
}

/// Posts encoded logs.
pub(crate) async fn post(sink: &Sink, body: &[u8]) -> Answer {
    post_with(sink, "POST /v1/logs", "Content-Type: application/x-protobuf\r\n", body).await
}

/// Posts with a request line and headers of one's own.
pub(crate) async fn post_with(sink: &Sink, line: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: sink\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    exchange(sink, &[head.as_bytes(), body].concat()).await
}

/// A request with one entry of `stream` whose records have these sequence numbers, all of one sender.
pub(crate) fn numbered(stream: &str, numbers: &[u64]) -> Vec<u8> {
    let record = |number: &u64| LogRecord {
        attributes: vec![
            attribute("sluice.sender", "00000000000000aa"),
            attribute("sluice.sequence", &format!("{number:016}")),
        ],
        ..LogRecord::default()
    };
    request(stream, numbers.iter().map(record).collect())
}

/// A request with one entry of `stream` and one record with this text.
pub(crate) fn text(stream: &str, text: &str) -> Vec<u8> {
    let body = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    request(stream, vec![LogRecord { body, ..LogRecord::default() }])
}

fn request(stream: &str, log_records: Vec<LogRecord>) -> Vec<u8> {
    let resource = Some(Resource { attributes: vec![attribute("s2.stream", stream)], ..Resource::default() });
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let entry = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
