//! Sends what Sluice tells of itself, by the same means as an `otlp_http` exporter sends: its connections, its TLS, its reading of
//! answers. It has no queue and no streams, and so nothing of it is in any metric or span.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::{
    Answer, Conditions, ExporterKind, SecretTemplate, Target, TelemetrySettings, Transport, TransportError,
};
use crate::net::Network;
use crate::route::{RoutingKey, Template, Values};
use crate::stream::{Batch, Budget};
use crate::telemetry::{INSTANCE_HEADER, InstanceId};
use otlp::{Redaction, Signal};

/// Where own telemetry is sent.
#[derive(Debug)]
pub struct TelemetryUpstream {
    settings: TelemetrySettings,
    transport: Transport,
    hanging: AtomicBool,
}

/// The values of a request with own telemetry: none but its signal.
struct OwnSignal(Signal);

impl Values for OwnSignal {
    fn key(&self) -> Option<&RoutingKey> {
        None
    }

    fn signal(&self) -> Signal {
        self.0
    }
}

impl TelemetryUpstream {
    /// One by these settings, for the process of this instance. Reads certificates, and opens no connection.
    pub fn new(
        settings: TelemetrySettings,
        instance_id: &InstanceId,
        network: &Network,
    ) -> Result<Self, TransportError> {
        let mut upstream = settings.upstream.clone();
        if let ExporterKind::OtlpHttp(http) = &mut upstream.kind {
            let instance = Template::parse(instance_id.secret()).expect("it has no braces");
            http.upstream.headers.push((INSTANCE_HEADER, SecretTemplate(instance)));
        }
        let transport = Transport::new("telemetry", &upstream, network, None)?;
        Ok(Self { settings, transport, hanging: AtomicBool::new(false) })
    }

    /// As they are configured.
    pub fn settings(&self) -> &TelemetrySettings {
        &self.settings
    }

    /// Where a signal is sent, for people.
    pub fn target(&self, signal: Signal) -> Result<Target, String> {
        self.transport.target(&OwnSignal(signal)).map_err(|error| error.to_string())
    }

    /// One attempt to send an encoded request with so many records. `redaction` says what of them is not shown where the endpoint says
    /// it back.
    pub async fn attempt(
        &self,
        target: &Target,
        signal: Signal,
        request: Bytes,
        records: u64,
        (redaction, budget): (&ArcSwap<Redaction>, &Arc<Budget>),
    ) -> Option<Answer> {
        let begun = OnceLock::new();
        let hanging = &self.hanging;
        let conditions =
            Conditions { hanging, redaction, budget, pass: None, begun: &begun, turn: None, span: None };
        self.transport.attempt(target, &Batch::new(signal, vec![request], records), conditions).await
    }
}
