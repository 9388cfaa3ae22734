//! The board for Grafana: every query that it makes is asked of a real Prometheus that scrapes a real Sluice.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::blocks::{blocks, pages};
use crate::prometheus::Prometheus;
use crate::support::eventful::Eventful;
use crate::support::eventually;
use crate::tools::root;

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
    of_panels.chain(of_annotations).map(|(title, query)| (title, where_all_is_chosen(&query))).collect()
}

/// A query as Grafana makes it where all is chosen.
fn where_all_is_chosen(query: &str) -> String {
    let variables = ["$job", "$instance", "$exporter"];
    let query = variables.iter().fold(query.to_owned(), |query, name| query.replace(name, ".*"));
    query.replace("$__rate_interval", "30s")
}

/// The series and the label that each variable of the board has its values of: `label_values(SERIES, LABEL)`.
fn variables(board: &Value) -> Vec<(String, String)> {
    let variables = board["templating"]["list"].as_array().unwrap().iter();
    let asked = variables.filter(|variable| variable["type"] == "query").map(|variable| {
        let query = variable["query"]["query"].as_str().unwrap();
        assert_eq!(variable["definition"], query, "what is shown is what is asked");
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = inside.and_then(|inside| inside.rsplit_once(", ")).expect(query);
        assert_eq!(variable["name"], label);
        (where_all_is_chosen(series), label.to_owned())
    });
    asked.collect()
}

/// What pages show as a query of Prometheus.
fn queries_of_pages() -> Vec<(String, String)> {
    let all = pages().into_iter().flat_map(|page| blocks(&page));
    all.filter(|block| block.language == "promql").map(|block| (block.place, block.text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_board_shows_something_of_a_sluice_to_which_it_happens() {
    let eventful = Eventful::start().await;
    let directory = tempfile::tempdir().unwrap();
    let jobs = [("sluice", "/metrics"), ("sluice-tenants", "/metrics/tenants")].map(|(name, path)| {
        let address = eventful.sluice.admin;
        format!(
            "{{ job_name: {name}, metrics_path: {path}, static_configs: [{{ targets: ['{address}'] }}] }}"
        )
    });
    let prometheus = Prometheus::start(directory.path(), &jobs);

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

    // What pages show is for what has not happened here.
    let shown = queries_of_pages();
    assert!(shown.len() > 1, "{shown:?}");
    for (place, query) in shown {
        assert!(prometheus.query(&query).await.is_some(), "{place}");
    }

    let variables = variables(&board());
    assert_eq!(variables.len(), 3, "{variables:?}");
    for (series, label) in variables {
        let values = prometheus.label_values(&series, &label).await;
        // The other job has metrics of tenants alone.
        let expected: &[&str] = match &*label {
            "job" => &["sluice"],
            "instance" => &[&eventful.sluice.admin.to_string()],
            _ => &["otlp_http/away", "otlp_http/refusing", "otlp_http/secure", "otlp_http/well"],
        };
        assert_eq!(values, expected, "label_values({series}, {label})");
    }
}

#[test]
fn every_metric_that_the_board_reads_is_documented() {
    let text = fs::read_to_string(root("deploy/grafana/sluice.json")).unwrap();
    let documented = fs::read_to_string(root("docs/metrics.md")).unwrap();
    let unknown: Vec<_> =
        metrics_in(&text).into_iter().filter(|name| !documented.contains(&format!("| `{name}` |"))).collect();
    assert!(unknown.is_empty(), "docs/metrics.md does not have {unknown:?}");
}
