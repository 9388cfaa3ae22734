//! A bad configuration never replaces a good one.

use sluice::otlp::Signal;

use crate::support::Sluice;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml;

#[tokio::test]
async fn a_configuration_that_cannot_be_used_leaves_everything_as_it_was() {
    let up = sinks::recording().await;
    let good = yaml::up(&up.url(), &[]);
    let sluice = Sluice::start(&good).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let receivers =
        |http: &str| format!("receivers: {{ otlp: {{ protocols: {{ http: {{ {http} }} }} }} }}\n");
    let address = address.to_string();
    let rows: [(&str, String, &str); 8] = [
        ("not YAML", "exporters: [".to_owned(), ""),
        ("an unknown key", good.replace("endpoint:", "endpiont:"), "endpoint"),
        (
            "an exporter that does not exist",
            good.replace("[otlp_http/up]", "[otlp_http/down]"),
            "otlp_http/down",
        ),
        ("no route", yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))]), "route"),
        ("an address in use", receivers(&format!("endpoint: '{address}'")) + &good, &address),
        (
            "a dead-letter directory that is a file",
            good.clone() + "dead_letter: { directory: '@DIR@/sluice.yaml' }\n",
            "dead-letter",
        ),
        (
            "a certificate that is not there",
            yaml::up("https://localhost", &["tls: { ca_file: '@DIR@/missing.pem' }"]),
            "missing.pem",
        ),
        ("a variable that is not set", good.clone() + "shutdown_timeout: ${env:NOT_SET}\n", "NOT_SET"),
    ];
    for (attempt, (what, yaml, names)) in rows.into_iter().enumerate() {
        let answer = sluice.reload(&yaml).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        assert!(answer.text().contains(names), "{what}: {}", answer.text());
        let config = sluice.api("/api/v1/config").await;
        assert_eq!(config["version"], 1, "{what}");
        assert!(config["last_error"]["error"].is_string(), "{what}: {config}");
        sluice.accept(Signal::Logs, logs(&[("a", &[what])])).await;
        up.records(attempt as u64 + 1).await;
        assert_eq!(up.texts(Signal::Logs).last().map(String::as_str), Some(what));
    }
    let metrics = sluice.settled().await;
    assert_eq!(metrics.sum("sluice_config_reloads_total", &[("outcome", "failed")]), 8.0, "{metrics:?}");
    sluice.reconfigure(&good).await;
    let config = sluice.api("/api/v1/config").await;
    assert_eq!(config["version"], 2);
    assert!(config["last_error"].is_null(), "{config}");
}

#[tokio::test]
async fn no_answer_about_a_configuration_has_a_secret_in_it() {
    let up = sinks::recording().await;
    let good = yaml::up(&up.url(), &["headers: { X-Api: s3cret-4711 }"]);
    let sluice = Sluice::start(&good).await;
    let config = sluice.api("/api/v1/config").await;
    assert!(!config.to_string().contains("s3cret"), "{config}");
    assert_eq!(config["config"]["exporters"]["otlp_http/up"]["endpoint"], up.url());
    for broken in [
        yaml::up(&up.url(), &["headers: { X-Api: a, X-Api: s3cret-4711 }"]),
        yaml::up(&up.url(), &["heders: { X-Api: s3cret-4711 }"]),
        yaml::up(&up.url(), &["headers: { X-Api: \"s3cret-4711 }"]),
        yaml::up(&up.url(), &["headers:", "- X-Api: [s3cret-4711"]),
        yaml::up(&up.url(), &["timeout: s3cret-4711"]),
        yaml::up(&up.url(), &["tls: { key_file: s3cret-4711 }"]),
        yaml::up("user:s3cret-4711@h:4317", &[]),
        yaml::up("https://h/x y?api_key=s3cret-4711", &[]),
        good.clone() + "limits: { memory: s3cret-4711 } # s3cret-4711\n",
    ] {
        let answer = sluice.reload(&broken).await;
        assert_eq!(answer.status, 422, "{broken}: {}", answer.text());
        assert!(!answer.text().contains("s3cret"), "{broken}: {}", answer.text());
        let config = sluice.api("/api/v1/config").await;
        assert!(!config.to_string().contains("s3cret"), "{broken}: {config}");
    }
}
