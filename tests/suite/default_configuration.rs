//! The configuration that Sluice runs on where nothing else is given, from the printed `curl` to the files.

use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::de::DeserializeOwned;
use sluice::otlp::Signal;
use tokio::process::Command;

use crate::support::SluiceProcess;
use crate::support::payload::{entries, entry_of, filler, request, resource, texts};
use crate::support::process::TAKEN;

/// The embedded configuration on free ports.
fn embedded() -> String {
    let text = sluice::config::EMBEDDED;
    ["127.0.0.1:4317", "127.0.0.1:4318", "127.0.0.1:8888"].into_iter().fold(
        text.to_owned(),
        |text, address| {
            assert!(text.contains(address), "{address}");
            text.replace(address, "127.0.0.1:0")
        },
    )
}

/// The requests in a file of lines, as the vocabulary's own JSON reader understands them.
fn lines<T: DeserializeOwned + Message>(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str::<T>(line).expect("a line is a request").encode_to_vec())
        .collect()
}

fn all_texts(signal: Signal, path: &Path) -> Vec<String> {
    let requests = match signal {
        Signal::Logs => lines::<ExportLogsServiceRequest>(path),
        Signal::Traces => lines::<ExportTraceServiceRequest>(path),
        Signal::Metrics => lines::<ExportMetricsServiceRequest>(path),
    };
    requests.iter().flat_map(|request| entries(request)).flat_map(|entry| texts(signal, &entry)).collect()
}

#[tokio::test]
async fn every_stream_becomes_files_of_otlp_json_lines() {
    let sluice = SluiceProcess::start(&embedded(), &[]).await;
    // The first of these attributes that is there names the stream.
    let streams: [(&[(&str, &str)], &str); 4] = [
        (&[("s2.stream", "tenants/a b"), ("service.name", "x")], "tenants%2Fa%20b"),
        (&[("highlight.project_id", "42"), ("service.name", "x")], "42"),
        (&[("service.name", "checkout")], "checkout"),
        (&[("service.name", "..")], "%2E."),
    ];
    for signal in Signal::ALL {
        for (index, (attributes, _)) in streams.iter().enumerate() {
            for part in 0..3 {
                let text = format!("{index}-{part}");
                let body = request(&[entry_of(signal, resource(attributes), &[&text])]);
                sluice.accept(signal, body).await;
            }
        }
    }
    sluice.settled().await;
    for signal in Signal::ALL {
        for (index, (_, directory)) in streams.iter().enumerate() {
            let file =
                sluice.directory().join("data").join(directory).join(format!("{}.jsonl", signal.name()));
            let expected: Vec<_> = (0..3).map(|part| format!("{index}-{part}")).collect();
            assert_eq!(all_texts(signal, &file), expected, "{}", file.display());
        }
    }
}

#[tokio::test]
async fn the_printed_commands_work() {
    let sluice = SluiceProcess::start_on_terminal(&embedded()).await;
    let curl = sluice.logged("curl -sS").await;
    let sent = Command::new("bash").args(["-c", &curl]).output().await;
    let Ok(sent) = sent else { panic!("the printed command needs bash and curl") };
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(String::from_utf8_lossy(&sent.stdout), TAKEN, "nothing was rejected");
    sluice.settled().await;
    let file = sluice.directory().join("data/curl/logs.jsonl");
    assert_eq!(all_texts(Signal::Logs, &file), ["hello from curl!"]);

    let send = sluice.logged("send --endpoint").await.replace("5s", "200ms");
    let sent = Command::new("bash").args(["-c", &send]).output().await.expect("bash is there");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    sluice.settled().await;
    assert!(sluice.directory().join("data/stream-0/logs.jsonl").exists());

    let streams = sluice.logged("/api/v1/streams").await;
    let listed = Command::new("bash").args(["-c", &streams]).output().await.expect("bash is there");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("the API speaks JSON");
    assert_eq!(listed["total"], 11);
}

#[tokio::test]
async fn files_are_rotated_by_size_and_old_ones_removed() {
    let yaml = "exporters: { file/local: { path: ./data, rotation: { max_megabytes: 1, max_backups: 2 } } }\n\
                routes: [{ match: { service.name: '*' }, key: service.name, exporters: [file/local] }]\n";
    let sluice = SluiceProcess::start(yaml, &[]).await;
    let large = filler("x", 400_000);
    for _ in 0..10 {
        let entry = entry_of(Signal::Logs, resource(&[("service.name", "big")]), &[&large]);
        sluice.accept(Signal::Logs, request(&[entry])).await;
        sluice.settled().await;
    }
    let directory = sluice.directory().join("data/big");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names.len(), 3, "the current one and two backups: {names:?}");
    assert!(names.contains(&"logs.jsonl"), "{names:?}");
    for file in &files {
        assert!(std::fs::metadata(file).unwrap().len() <= 1 << 20, "{}", file.display());
        let texts = all_texts(Signal::Logs, file);
        assert!(
            (1..=2).contains(&texts.len()) && texts.iter().all(|text| *text == large),
            "whole lines alone"
        );
    }
}
