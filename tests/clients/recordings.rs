//! The recordings in `tests/fixtures`, with which `tests/suite` does without the SDKs.
//!
//! `UPDATE_FIXTURES=1 cargo test --test clients recordings` makes them anew.

use std::fs;

use bytes::Bytes;
use serde_json::Value;
use sluice::otlp::Signal;

use crate::capture::{Capture, Captured};
use crate::sdk::Sdk;
use crate::support::fixtures::{Encoding, directory, recorded};
use crate::support::telemetry::Telemetry;

/// What an SDK sends in an encoding, each request with the name of its file.
async fn requests(sdk: Sdk, encoding: Encoding) -> Vec<(String, Captured)> {
    let up = Capture::start().await;
    let (protocol, compression) = match encoding {
        Encoding::Protobuf => ("http/protobuf", "none"),
        Encoding::Json => ("http/json", "none"),
        Encoding::Grpc => ("grpc", "gzip"),
    };
    sdk.send(protocol, &up.url(), compression).await;
    let mut metrics = 0;
    let named = up.captured().into_iter().map(|(signal, body)| {
        let number = match signal {
            Signal::Metrics => {
                metrics += 1;
                format!("-{metrics}")
            }
            Signal::Traces | Signal::Logs => String::new(),
        };
        (format!("{signal}{number}.{}", encoding.extension()), (signal, body))
    });
    named.collect()
}

async fn are_what_it_sends(sdk: Sdk, encodings: &[Encoding]) {
    let name = format!("{sdk:?}").to_lowercase();
    for &encoding in encodings {
        let sent = requests(sdk, encoding).await;
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::create_dir_all(directory(&name)).unwrap();
            for (file, (_, body)) in &sent {
                fs::write(directory(&name).join(file), body).unwrap();
            }
        }
        let files = recorded(&name, encoding).into_iter();
        let files: Vec<Captured> = files.map(|file| (file.signal, Bytes::from(file.body))).collect();
        let mut sent: Vec<Captured> = sent.into_iter().map(|(_, request)| request).collect();
        sent.sort_by_key(|(signal, _)| signal.name());
        let what = format!("{name} in {encoding:?} (UPDATE_FIXTURES=1 records it anew)");
        match encoding {
            Encoding::Protobuf => decoded(&sent).assert_is(&decoded(&files), &what),
            Encoding::Grpc => decoded(&unframed(&sent)).assert_is(&decoded(&unframed(&files)), &what),
            Encoding::Json => assert_eq!(parsed(&sent), parsed(&files), "{what}"),
        }
    }
}

fn decoded(requests: &[Captured]) -> Telemetry {
    let mut all = Telemetry::default();
    for (signal, body) in requests {
        all.add(*signal, body);
    }
    all
}

/// The messages of gRPC's frames, one in each body.
fn unframed(requests: &[Captured]) -> Vec<Captured> {
    let message = |body: &Bytes| {
        let (head, message) = body.split_at(5);
        assert_eq!(u32::from_be_bytes(head[1..].try_into().unwrap()) as usize, message.len());
        // gRPC for Python leaves a message as it is if compressing it would make it longer.
        if head[0] == 0 {
            return Bytes::copy_from_slice(message);
        }
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(message), &mut plain).unwrap();
        Bytes::from(plain)
    };
    requests.iter().map(|(signal, body)| (*signal, message(body))).collect()
}

/// JSON without the times of metrics.
fn parsed(requests: &[Captured]) -> Vec<Value> {
    fn without_times(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !name.ends_with("UnixNano"));
                fields.values_mut().for_each(without_times);
            }
            Value::Array(items) => items.iter_mut().for_each(without_times),
            _ => {}
        }
    }
    let parse = |(signal, body): &Captured| {
        let mut value = serde_json::from_slice(body).unwrap();
        if *signal == Signal::Metrics {
            without_times(&mut value);
        }
        value
    };
    requests.iter().map(parse).collect()
}

#[tokio::test]
async fn of_python_are_what_it_sends() {
    are_what_it_sends(Sdk::Python, &[Encoding::Protobuf, Encoding::Json, Encoding::Grpc]).await;
}

#[tokio::test]
async fn of_go_are_what_it_sends() {
    are_what_it_sends(Sdk::Go, &[Encoding::Protobuf, Encoding::Grpc]).await;
}

#[tokio::test]
async fn of_node_are_what_it_sends() {
    are_what_it_sends(Sdk::Node, &[Encoding::Protobuf, Encoding::Json, Encoding::Grpc]).await;
}

#[tokio::test]
async fn of_java_are_what_it_sends() {
    are_what_it_sends(Sdk::Java, &[Encoding::Protobuf, Encoding::Grpc]).await;
}
