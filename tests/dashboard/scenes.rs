//! Sluices that the browser is shown: each with what it takes for something to be seen on every page.

use std::fmt::Write as _;

use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use sluice::run::judge_watches;

use crate::support::payload::{entry_of, request, resource};
use crate::support::sinks;
use crate::support::yaml::QUICK;
use crate::support::{Sluice, eventually};

/// Who may change something.
pub(crate) const WRITER: &str = "0123456789abcdef-writer";

/// What every exporter sends, and no page shows.
const HEADERS: &str = "headers: { Authorization: 'Bearer s3cr3t-header', X-Api-Key: s3cr3t-value }";

/// What is refused or fails waits for the rest of a test, unless somebody has it try before.
const PATIENT: &str = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";

/// Three upstreams, of which one takes everything, one refuses the token, and one refuses the data; a table of tenants; dead
/// letters; and a watch.
pub(crate) struct Scene {
    pub(crate) sluice: Sluice,
    /// The upstream that refuses the data.
    pub(crate) picky: Sink,
    _others: [Sink; 2],
    _tenants: tempfile::TempDir,
}

impl Scene {
    /// Starts it, and has sent to it what the pages show.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// As [`Scene::start`], with more of a configuration.
    pub(crate) async fn start_with(more: &str) -> Self {
        let (well, refusing, picky) =
            (sinks::counting().await, sinks::counting().await, sinks::counting().await);
        refusing.set_fault(Fault::status(401).message("Bearer s3cr3t-header has expired"));
        picky.set_fault(Fault::status(400).message("no such project"));
        let tenants = tempfile::tempdir().unwrap();
        for id in ["acme", "globex", "initech"] {
            let row =
                format!("id: {id}\nsenders: [{{ name: default, token: the-token-of-{id}-0123456789 }}]\n");
            std::fs::write(tenants.path().join(format!("{id}.yaml")), row).unwrap();
        }
        let mut yaml = format!(
            "admin: {{ endpoint: 127.0.0.1:0, write_token: {WRITER} }}\n\
             tenants: {{ directory: '{}', attribute: tenant.id }}\n\
             dead_letter: {{ directory: '@DIR@/letters' }}\n\
             tap: {{ open: true, recent: 1MiB }}\n\
             watches: [{{ name: records-of-acme, query: 'tenant:acme', above: 1 in 5m }}]\n\
             exporters:\n",
            tenants.path().display()
        );
        for (name, up, retries) in
            [("well", &well, QUICK), ("refusing", &refusing, PATIENT), ("picky", &picky, QUICK)]
        {
            writeln!(
                yaml,
                "  otlp_http/{name}: {{ endpoint: '{}', compression: none, {HEADERS}, {retries} }}",
                up.url()
            )
            .unwrap();
        }
        yaml += "routes:\n";
        for name in ["refusing", "picky"] {
            writeln!(yaml, "  - {{ name: {name}, match: {{ to: {name} }}, key: s2.stream, exporters: [otlp_http/{name}] }}").unwrap();
        }
        yaml += "  - { name: rest, key: s2.stream, exporters: [otlp_http/well] }\n";
        let sluice = Sluice::start(&(yaml + more)).await;
        tokio::spawn(judge_watches(sluice.router().clone()));
        let scene = Self { sluice, picky, _others: [well, refusing], _tenants: tenants };
        scene.send_some().await;
        scene
    }

    /// Sends records of every signal to every upstream, and waits until each has become what becomes of it.
    async fn send_some(&self) {
        for signal in Signal::ALL {
            for (number, tenant) in ["acme", "globex", "initech"].into_iter().enumerate() {
                for (to, stream) in [("well", "alpha"), ("well", "beta"), ("refusing", "gamma")] {
                    let texts = ["one", "two", "three"];
                    let resource = resource(&[("to", to), ("tenant.id", tenant), ("s2.stream", stream)]);
                    self.sluice
                        .accept(signal, request(&[entry_of(signal, resource, &texts[..=number])]))
                        .await;
                }
            }
        }
        self.send_refused(Signal::Logs, "acme", "delta", "a bad record").await;
        eventually("everything has become what becomes of it", async || {
            let metrics = self.sluice.metrics().await;
            let is = |exporter, outcome| {
                metrics.sum("sluice_exported_records_total", &[("exporter", exporter), ("outcome", outcome)])
            };
            let held = metrics.sum("sluice_held_streams", &[("exporter", "otlp_http/refusing")]);
            (is("otlp_http/well", "delivered") >= 36.0
                && is("otlp_http/picky", "dead_lettered") >= 1.0
                && held >= 9.0)
                .then_some(())
        })
        .await;
    }

    /// Sends a record that is refused, and becomes a dead letter by itself.
    pub(crate) async fn send_refused(&self, signal: Signal, tenant: &str, stream: &str, text: &str) {
        let letters = async || self.sluice.api("/api/v1/dead-letters?limit=1").await["total"].as_u64();
        let before = letters().await;
        let resource = resource(&[("to", "picky"), ("tenant.id", tenant), ("s2.stream", stream)]);
        self.sluice.accept(signal, request(&[entry_of(signal, resource, &[text])])).await;
        eventually("it is a dead letter", async || (letters().await > before).then_some(())).await;
    }
}
