//! The board for Grafana: every query that it makes is asked of a real Prometheus that scrapes a real Sluice.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::support::eventful::Eventful;
use crate::support::{eventually, http};
use crate::tools::{root, tool};

/// The names of Sluice's metrics in a text.
pub(crate) fn metrics_in(text: &str) -> BTreeSet<&str> {
    text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .filter(|word| word.starts_with("sluice_"))
        .map(|word| {
            // The series of a histogram.
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            histogram.unwrap_or(word)
        })
        .collect()
}

fn board() -> Value {
    serde_json::from_str(&fs::read_to_string(root("deploy/grafana/sluice.json")).unwrap()).unwrap()
}

/// Every query of the board, each with the title of its panel, as Grafana makes it where all is chosen.
fn queries(board: &Value) -> Vec<(String, String)> {
    let panels = board["panels"].as_array().unwrap();
    let of_panels = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| {
            (panel["title"].as_str().unwrap().to_owned(), target["expr"].as_str().unwrap().to_owned())
        })
    });
    let annotations = board["annotations"]["list"].as_array().unwrap().iter();
    let of_annotations = annotations
        .map(|annotation| ("annotation".to_owned(), annotation["expr"].as_str().unwrap().to_owned()));
    of_panels
        .chain(of_annotations)
        .map(|(title, query)| {
            let variables = ["$job", "$instance", "$exporter"];
            let query = variables.iter().fold(query, |query, name| query.replace(name, ".*"));
            (title, query.replace("$__rate_interval", "30s"))
        })
        .collect()
}

/// A Prometheus that reads all of Sluice's metrics every second. It is killed when it is dropped.
struct Prometheus {
    address: SocketAddr,
    _process: Child,
}

impl Prometheus {
    fn start(directory: &Path, sluice: SocketAddr) -> Self {
        let config = directory.join("prometheus.yml");
        let jobs = [("sluice", "/metrics"), ("sluice-tenants", "/metrics/tenants")].map(|(name, path)| {
            format!(
                "  - {{ job_name: {name}, metrics_path: {path}, static_configs: [{{ targets: ['{sluice}'] }}] }}\n"
            )
        });
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\nscrape_configs:\n{}",
            root("deploy/prometheus/alerts.yaml").display(),
            jobs.concat()
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

    /// What a query gives now; nothing if it can't be asked yet.
    async fn query(&self, query: &str) -> Option<Vec<Value>> {
        let encoded = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/api/v1/query?query={encoded}");
        let answer = http::try_send(self.address, "GET", &path, &[], Bytes::new()).await?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(answer["data"]["result"].as_array().unwrap().clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_board_shows_something_of_a_sluice_to_which_it_happens() {
    let eventful = Eventful::start().await;
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(directory.path(), eventful.sluice.admin);

    let mut open = queries(&board());
    assert!(open.len() > 40, "{}", open.len());
    eventually("every query gives something", async || {
        eventful.send_all_sorts().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut still = Vec::new();
        for (title, query) in open.drain(..) {
            if prometheus.query(&query).await.is_none_or(|result| result.is_empty()) {
                still.push((title, query));
            }
        }
        open = still;
        println!("nothing yet for {open:#?}");
        open.is_empty().then_some(())
    })
    .await;
}

#[test]
fn every_metric_that_the_board_reads_is_documented() {
    let text = fs::read_to_string(root("deploy/grafana/sluice.json")).unwrap();
    let documented = fs::read_to_string(root("docs/metrics.md")).unwrap();
    let unknown: Vec<_> =
        metrics_in(&text).into_iter().filter(|name| !documented.contains(&format!("| `{name}` |"))).collect();
    assert!(unknown.is_empty(), "docs/metrics.md does not have {unknown:?}");
}
