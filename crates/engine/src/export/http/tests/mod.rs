//! The transport against hand-written upstreams on real sockets.

mod answers;
mod connections;
mod held;
mod proxies;
mod requests;
mod tls;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;

use self::upstream::Upstream;
use super::HttpTransport;
use crate::backoff::RetrySettings;
use crate::encoding::Encoding;
use crate::export::conditions::LoneAttempt;
use crate::export::{
    Answer, AttemptOutcome, Compression, ExporterKind, ExporterSettings, HoldScope, OtlpHttpSettings,
    SecretTemplate, Statuses, TransportError, UpstreamSettings,
};
use crate::net::Network;
use crate::route::{RoutingKey, Template};
use crate::stream::{Batch, BatchSettings, Budget, QueueSettings, StreamName, WhenFull};
use otlp::Signal;

/// A stream of logs with a key.
fn stream(key: &str) -> StreamName {
    StreamName { signal: Signal::Logs, key: RoutingKey::written(key) }
}

/// What both protocols have, uncompressed and with a short timeout.
pub(crate) fn upstream_settings() -> UpstreamSettings {
    UpstreamSettings {
        headers: vec![],
        auth: None,
        compression: Compression::None,
        timeout: Duration::from_secs(10),
        tls: crate::client::TlsClientSettings::default(),
        max_connection_age: Duration::from_secs(300),
    }
}

/// Settings as a configuration with nothing but an endpoint has them, uncompressed and with a short timeout.
pub(crate) fn http_settings(url: &str) -> OtlpHttpSettings {
    let template = Template::parse(url).unwrap();
    OtlpHttpSettings {
        urls: [Some(template.clone()), Some(template.clone()), Some(template)],
        upstream: upstream_settings(),
        encoding: Encoding::Proto,
        proxy_url: None,
        max_idle_connections: 16,
        idle_timeout: Duration::from_secs(90),
    }
}

/// The same, changed in what every exporter to the network has.
fn http_settings_with(url: &str, change: impl FnOnce(&mut UpstreamSettings)) -> OtlpHttpSettings {
    let mut http = http_settings(url);
    change(&mut http.upstream);
    http
}

fn header(name: &str, value: &str) -> (HeaderName, SecretTemplate) {
    (name.parse().unwrap(), SecretTemplate(Template::parse(value).unwrap()))
}

pub(crate) fn exporter(http: OtlpHttpSettings) -> ExporterSettings {
    ExporterSettings {
        kind: ExporterKind::OtlpHttp(Box::new(http)),
        queue: QueueSettings {
            enabled: true,
            num_consumers: 1,
            queue_bytes: 1 << 24,
            queue_requests: None,
            when_full: WhenFull::Refuse,
            batch: BatchSettings { flush_timeout: Duration::ZERO, min_size: 1 << 18, max_size: 1 << 19 },
        },
        max_in_flight: 256,
        retry: RetrySettings::without_jitter(),
        statuses: Statuses::default(),
        valid_key: None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "shorter in every test")]
fn new(http: OtlpHttpSettings) -> Result<HttpTransport, TransportError> {
    HttpTransport::new(&exporter(http.clone()), &http, &Network::Machine, None)
}

/// A batch of ten records in several chunks.
fn batch() -> Batch {
    let chunks =
        ["\x0a\x05hello", "\x0a\x05world", "\x0a\x01!"].map(|text| Bytes::from_static(text.as_bytes()));
    Batch::new(Signal::Logs, chunks.to_vec(), 10)
}

impl HttpTransport {
    async fn send(&self, key: &'static str) -> Answer {
        self.send_batch(key, &batch()).await
    }

    async fn send_batch(&self, key: &'static str, batch: &Batch) -> Answer {
        let alone = LoneAttempt::default();
        let target = self.target(&stream(key)).unwrap();
        let answer = self.attempt(&target, batch, alone.conditions()).await.expect("nothing opens a circuit");
        assert_eq!(alone.budget.used(), 0, "what an attempt took is given back");
        answer
    }
}

/// The answer to one attempt at an upstream that always answers so.
async fn answer_to(response: &str) -> Answer {
    let upstream = Upstream::answering(response).await;
    new(http_settings(&upstream.url())).unwrap().send("k").await
}

const DELIVERED: AttemptOutcome = AttemptOutcome::Delivered { rejected: 0, warning: false };
const WARNED: AttemptOutcome = AttemptOutcome::Delivered { rejected: 0, warning: true };
const RETRY: AttemptOutcome = AttemptOutcome::Retry { after: None };
const HOLD: AttemptOutcome = AttemptOutcome::Hold { scope: HoldScope::Stream, after: None };
