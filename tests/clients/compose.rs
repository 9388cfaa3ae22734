//! `deploy/compose`: its Collector and its Sluice, by their own files, of which the addresses alone are changed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use sluice::otlp::Signal;

use crate::collector::Collector;
use crate::support::payload::{entry_of, request, resource};
use crate::support::{SluiceProcess, eventually};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose").join(name)).unwrap()
}

#[tokio::test]
async fn what_comes_to_the_collector_of_docker_compose_is_in_the_files_of_sluice() {
    let mut yaml = file("sluice/sluice.yaml");
    for address in ["0.0.0.0:4317", "0.0.0.0:4318", "127.0.0.1:8888", "0.0.0.0:13133"] {
        yaml = yaml.replace(address, "127.0.0.1:0");
    }
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    let of_collector = |addresses: &[SocketAddr]| {
        let pairs = [
            ("0.0.0.0:4318", addresses[0].to_string()),
            ("0.0.0.0:4317", addresses[1].to_string()),
            ("http://sluice:4318", sluice.url()),
        ];
        let yaml =
            pairs.iter().fold(file("collector.yaml"), |yaml, (written, ours)| yaml.replace(written, ours));
        // Its own metrics would have a port that is always the same.
        yaml + "  telemetry: { metrics: { level: none } }\n"
    };
    let collector = Collector::start_listening(2, of_collector).await;
    let service = resource(&[("service.name", "shop")]);
    for signal in Signal::ALL {
        let body = request(&[entry_of(signal, service.clone(), &["paid"])]);
        collector.post(signal, body).await;
        let path = sluice.directory().join(format!("data/shop/{}.jsonl", signal.name()));
        eventually("it is written", async || {
            fs::read_to_string(&path).ok().filter(|text| text.contains("paid"))
        })
        .await;
    }
    collector.assert_content();
}
