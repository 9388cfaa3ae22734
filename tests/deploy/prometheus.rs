//! A real Prometheus.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::support::http;
use crate::tools::{root, tool};

/// How docs/kubernetes.md has Prometheus find Pods.
pub(crate) const DISCOVERED: &str = "kubernetes_sd_configs: [{ role: pod }]";

/// A Prometheus that reads metrics every second, and has the alerts. It is killed when it is dropped.
pub(crate) struct Prometheus {
    address: SocketAddr,
    _process: Child,
}

impl Prometheus {
    /// Starts one whose files are in `directory`, with these items of `scrape_configs`.
    pub(crate) fn start(directory: &Path, jobs: &[String]) -> Self {
        let config = directory.join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\nscrape_configs: [{}]\n",
            root("deploy/prometheus/alerts.yaml").display(),
            jobs.join(", ")
        );
        fs::write(&config, text).unwrap();
        // It says nowhere which port the system has given it. That of a listener that is gone is given to nobody else for a while.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(tool("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { address, _process: process }
    }

    /// Where it is asked.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a query gives now; nothing if it can't be asked yet.
    pub(crate) async fn query(&self, query: &str) -> Option<Vec<Value>> {
        let data = self.get(&format!("/api/v1/query?query={}", encoded(query))).await?;
        Some(data["result"].as_array().unwrap().clone())
    }

    /// The values that a label has in series, in their order: what Grafana's `label_values` asks for.
    pub(crate) async fn label_values(&self, series: &str, label: &str) -> Vec<String> {
        let path = format!("/api/v1/label/{label}/values?match%5B%5D={}", encoded(series));
        let values = self.get(&path).await.expect("it answers");
        values.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    /// The data of an answer, which has to be a success.
    async fn get(&self, path: &str) -> Option<Value> {
        let answer = http::try_send(self.address, "GET", path, &[], Bytes::new()).await?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        Some(answer["data"].clone())
    }
}

/// A text as a part of a URL.
fn encoded(text: &str) -> impl std::fmt::Display {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
