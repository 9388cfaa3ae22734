//! The rule for prometheus-adapter, by which an autoscaler in Kubernetes gets a metric of Prometheus.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::kubernetes::kustomize;
use crate::prometheus::{DISCOVERED, Prometheus};
use crate::support::payload::logs;
use crate::support::{SluiceProcess, eventually, sinks, yaml};
use crate::tools::{output, root, run, shown, tools_directory};

/// Builds the adapter's own code, without its server. Go itself knows what has changed.
fn adapter() -> Command {
    let built = tools_directory().join("prometheus-adapter");
    run(Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"])
        .arg(&built)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .current_dir(root("tests/deploy/adapter")));
    Command::new(built)
}

/// What Prometheus knows of a Pod whose metrics are at a port of this machine.
fn pod(name: &str, port: u16, scrape: Option<&Value>) -> Value {
    let mut labels = json!({
        "__meta_kubernetes_namespace": "observability",
        "__meta_kubernetes_pod_name": name,
        "__meta_kubernetes_pod_annotation_prometheus_io_port": port.to_string(),
    });
    if let Some(scrape) = scrape {
        labels["__meta_kubernetes_pod_annotation_prometheus_io_scrape"] = scrape.clone();
    }
    json!({ "targets": ["127.0.0.1:4317"], "labels": labels })
}

/// The job of docs/kubernetes.md, in a cluster with these Pods.
fn job_of_pods(pods: &[Value]) -> String {
    let shown = shown("yaml", "prometheus").into_iter().find(|block| block.text.contains(DISCOVERED));
    let pods = format!("static_configs: {}", json!(pods));
    let text = shown.expect("docs/kubernetes.md has it").text.replace(DISCOVERED, &pods);
    let config: Value = serde_saphyr::from_str(&text).unwrap();
    let [job] = &config["scrape_configs"].as_array().unwrap()[..] else { panic!("there is one job: {text}") };
    job.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_gets_what_waits_in_each_replica_by_the_rule_that_is_shown() {
    let away = format!("http://{}", sinks::nobody().await);
    let sluice = SluiceProcess::start(&yaml::up(&away, &[]), &[]).await;
    sluice.post(Signal::Logs, logs(&[("a", &["x"]), ("b", &["y", "z"])])).await;
    let metrics = sluice.get("/metrics").await.text();
    let waits = metrics.lines().filter(|line| line.starts_with("sluice_pending_bytes{"));
    let waits: u64 = waits.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64).sum();
    assert!(waits > 0, "{metrics}");

    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    let [rule] = &shown("yaml", "prometheus-adapter")[..] else { panic!("there is one such block") };
    fs::write(&rules, &rule.text).unwrap();
    let gateway = kustomize("deploy/kubernetes/gateway");
    let annotations = &gateway.one("StatefulSet")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "13133");
    let prometheus = Prometheus::start(
        directory.path(),
        &[job_of_pods(&[
            // By the first of its ports, and without the annotation as other Pods are.
            pod("sluice-0", sluice.admin.port(), Some(&annotations["prometheus.io/scrape"])),
            pod("other-0", sluice.admin.port(), None),
        ])],
    );
    let found = eventually("Prometheus has read it", async || {
        prometheus
            .query("sum by (job, namespace, pod) (sluice_pending_bytes)")
            .await
            .filter(|found| !found.is_empty())
    });
    let found = found.await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["metric"], json!({ "job": "pods", "namespace": "observability", "pod": "sluice-0" }));

    let metrics = &gateway.one("HorizontalPodAutoscaler")["spec"]["metrics"];
    let metric = metrics[0]["pods"]["metric"]["name"].as_str().unwrap();
    let mut adapter = adapter();
    adapter.arg(&rules).args([&*prometheus.url(), "observability", metric, "sluice-0", "sluice-1"]);
    let said = tokio::task::block_in_place(|| output(&mut adapter));
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("sluice-0 {waits}\n"), "{error}");
}
