//! What a test asks of a running Sluice, wherever it runs: to take a request, and how things stand.

use std::net::SocketAddr;

use sluice::otlp::Signal;

use super::eventually;
use super::http::{self, Answer};
use super::metrics::Metrics;

/// The addresses of a running Sluice.
#[derive(Clone, Debug)]
pub struct Front {
    /// Of the first OTLP listener.
    pub otlp: SocketAddr,
    /// Of the admin listener.
    pub admin: SocketAddr,
}

impl Front {
    /// The endpoint to send to, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.otlp)
    }

    /// Posts a request as it is.
    pub async fn post(&self, signal: Signal, body: impl Into<bytes::Bytes>) -> Answer {
        self.post_with(signal, body, &[]).await
    }

    /// Posts a request with more headers, such as `content-encoding`.
    pub async fn post_with(
        &self,
        signal: Signal,
        body: impl Into<bytes::Bytes>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut all = vec![("content-type", "application/x-protobuf")];
        all.extend_from_slice(headers);
        http::send(self.otlp, "POST", signal.path(), &all, body.into()).await
    }

    /// Posts logs that have to be taken whole.
    pub async fn accept(&self, signal: Signal, body: impl Into<bytes::Bytes>) {
        let answer = self.post(signal, body).await;
        assert_eq!((answer.status, answer.partial(signal)), (200, None), "{answer:?}");
    }

    /// A page of the admin listener.
    pub async fn get(&self, path: &str) -> Answer {
        http::send(self.admin, "GET", path, &[], bytes::Bytes::new()).await
    }

    /// A page of the API.
    pub async fn api(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).expect("the API speaks JSON")
    }

    /// All metrics of now.
    pub async fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.text())
    }

    /// The sum of all samples of `name` that have these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().await.sum(name, labels)
    }

    /// Waits until a metric is what is expected.
    pub async fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let mut last = f64::NAN;
        let what = format!("{name}{labels:?} = {expected}");
        let reached = tokio::time::timeout(super::PATIENCE, async {
            eventually(&what, async || {
                last = self.metric(name, labels).await;
                (last.to_bits() == expected.to_bits()).then_some(())
            })
            .await;
        })
        .await;
        assert!(reached.is_ok(), "{what}: it is {last}");
    }

    /// Waits until nothing is pending anywhere, and checks that every record is accounted for.
    pub async fn settled(&self) -> Metrics {
        self.wait_for_metric("sluice_pending_bytes", &[], 0.0).await;
        self.assert_conserved().await
    }

    /// Checks for every exporter: routed + recovered = delivered + rejected + dead-lettered + dropped + pending. A
    /// page of metrics is no snapshot, so that it may take a moment until the sum holds.
    pub async fn assert_conserved(&self) -> Metrics {
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            let metrics = self.metrics().await;
            let broken: Vec<String> =
                metrics.exporters().iter().filter_map(|exporter| metrics.imbalance(exporter)).collect();
            if broken.is_empty() {
                return metrics;
            }
            assert!(tokio::time::Instant::now() < deadline, "records are not conserved: {broken:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
