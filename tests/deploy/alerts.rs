//! The alerting rules.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::board::metrics_in;
use crate::prometheus::DISCOVERED;
use crate::tools::{root, run, shown, tool};

/// What stands behind `key` in the lines of a file.
fn values<'a>(text: &'a str, key: &str) -> BTreeSet<&'a str> {
    text.lines()
        .filter_map(|line| Some(line.trim_start_matches([' ', '-']).strip_prefix(key)?.trim()))
        .collect()
}

#[test]
fn every_alert_fires_on_what_it_is_for_and_none_on_a_sluice_that_is_well() {
    // Beside each other, since the test file names the rules by a path that is relative to it.
    let directory = tempfile::tempdir().unwrap();
    fs::copy(root("deploy/prometheus/alerts.yaml"), directory.path().join("alerts.yaml")).unwrap();
    let tests = directory.path().join("alerts_test.yaml");
    fs::copy(root("tests/deploy/prometheus/alerts_test.yaml"), &tests).unwrap();
    run(Command::new(tool("promtool")).args(["test", "rules"]).arg(tests));
}

#[test]
fn prometheus_takes_the_configurations_that_the_documentation_shows() {
    let all = shown("yaml", "prometheus");
    assert_eq!(all.len(), 2);
    for block in all {
        let directory = tempfile::tempdir().unwrap();
        fs::copy(root("deploy/prometheus/alerts.yaml"), directory.path().join("alerts.yaml")).unwrap();
        let file = directory.path().join("prometheus.yml");
        // Debian's Prometheus knows no Kubernetes.
        fs::write(&file, block.text.replace(DISCOVERED, "static_configs: []")).unwrap();
        run(Command::new(tool("promtool")).args(["check", "config"]).arg(file));
    }
}

#[test]
fn every_alert_is_tested() {
    let rules = fs::read_to_string(root("deploy/prometheus/alerts.yaml")).unwrap();
    let tests = fs::read_to_string(root("tests/deploy/prometheus/alerts_test.yaml")).unwrap();
    let alerts = values(&rules, "alert:");
    assert!(alerts.len() > 20, "{alerts:?}");
    let untested: Vec<_> = alerts
        .into_iter()
        .filter(|alert| {
            let (by_series, by_name) =
                (format!("alertname=\"{alert}\",alertstate"), format!("alertname: {alert}\n"));
            !tests.contains(&by_series) && !tests.contains(&by_name)
        })
        .collect();
    assert!(untested.is_empty(), "tests/deploy/prometheus/alerts_test.yaml does not have {untested:?}");
}

#[test]
fn every_metric_that_an_alert_reads_is_documented() {
    let rules = fs::read_to_string(root("deploy/prometheus/alerts.yaml")).unwrap();
    let documented = fs::read_to_string(root("docs/metrics.md")).unwrap();
    let unknown: Vec<_> = metrics_in(&rules)
        .into_iter()
        .filter(|name| !documented.contains(&format!("| `{name}` |")))
        .collect();
    assert!(unknown.is_empty(), "docs/metrics.md does not have {unknown:?}");
}
