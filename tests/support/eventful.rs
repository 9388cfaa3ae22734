//! A Sluice to which everything happens that its metrics tell of, for those that look at all of them.

use std::net::SocketAddr;

use bytes::Bytes;
use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;

use super::payload::{entry_of, logs, request, resource};
use super::tls::Authority;
use super::{SluiceProcess, http, sinks};

/// Sluice with a journal, tenants and certificates, of whose upstreams one is well, one refuses tokens, and one is away.
pub struct Eventful {
    /// Sluice itself.
    pub sluice: SluiceProcess,
    _upstreams: [Sink; 2],
    _authority: Authority,
}

impl Eventful {
    /// Starts it.
    pub async fn start() -> Self {
        Self::start_telling(None).await
    }

    /// Starts it so that it tells about itself at a URL, or at the upstream that is well.
    pub async fn start_telling(endpoint: Option<&str>) -> Self {
        let (well, refusing) = (sinks::counting().await, sinks::counting().await);
        refusing.set_fault(Fault::status(401));
        let away = sinks::nobody().await;
        let authority = Authority::new("ca");
        let (tls, ca) = (authority.server(), authority.path("ca.pem"));
        let yaml = format!(
            "
receivers:
  otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }} }} }}
  otlp/tenants: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: tenants }} }} }} }}
  otlp/tls: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, tls: {{ {tls} }} }} }} }}
tenants:
  list:
    - {{ id: acme, senders: [{{ name: web, token: acme-in }}] }}
    - {{ id: globex, paused: true, senders: [{{ name: web, token: globex-in, expires: 2100-01-01T00:00:00Z }}] }}
exporters:
  otlp_http/well: {{ endpoint: '{well}', sending_queue: {{ batch: {{ flush_timeout: 10ms }} }} }}
  otlp_http/refusing: {{ endpoint: '{refusing}' }}
  otlp_http/away: {{ endpoint: 'http://{away}', retry_on_failure: {{ initial_interval: 50ms, max_interval: 200ms }} }}
  otlp_http/secure: {{ endpoint: 'https://localhost:1', tls: {{ ca_file: '{ca}', {tls} }} }}
routes:
  - {{ match: {{ s2.stream: refused }}, key: s2.stream, exporters: [otlp_http/refusing] }}
  - {{ match: {{ s2.stream: away }}, key: s2.stream, exporters: [otlp_http/away] }}
  - {{ match: {{ s2.stream: secure }}, key: s2.stream, exporters: [otlp_http/secure] }}
  - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/well] }}
watches: [{{ name: all, query: '*', tenants: '*', above: '1 in 5m' }}]
telemetry: {{ endpoint: '{endpoint}', interval: 1s }}
unrouted: dead_letter
journal: {{ directory: '@DIR@/journal', max_size: 64MiB }}
dead_letter: {{ directory: '@DIR@/letters' }}
admin: {{ endpoint: 127.0.0.1:0, tenant_metrics: true }}
",
            well = well.url(),
            endpoint = endpoint.unwrap_or(&well.url()),
            refusing = refusing.url(),
            ca = ca.display(),
        );
        let sluice = SluiceProcess::start(&yaml, &[]).await;
        Self { sluice, _upstreams: [well, refusing], _authority: authority }
    }

    /// Sends what is taken and what is not, and has the configuration reloaded.
    pub async fn send_all_sorts(&self) {
        let sluice = &self.sluice;
        for stream in ["a", "b", "refused", "away", "secure"] {
            sluice.post(Signal::Logs, logs(&[(stream, &["x"])])).await;
        }
        // No route takes it.
        sluice.post(Signal::Logs, request(&[entry_of(Signal::Logs, resource(&[]), &["x"])])).await;
        let json = [("content-type", "application/json")];
        let no_otlp = Bytes::from_static(br#"{"logs":[{}]}"#);
        http::send(sluice.otlp, "POST", "/v1/logs", &json, no_otlp).await;
        http::send(sluice.otlp, "GET", "/nowhere", &[], Bytes::new()).await;
        let [_, tenants, tls] = self.receivers()[..] else {
            panic!("it has three receivers: {:?}", sluice.log())
        };
        for (token, stream) in
            [("acme-in", "c"), ("acme-in", "refused"), ("globex-in", "c"), ("of-nobody", "c")]
        {
            let token = format!("Bearer {token}");
            let headers = [("content-type", "application/x-protobuf"), ("authorization", &*token)];
            http::send(tenants, "POST", "/v1/logs", &headers, logs(&[(stream, &["x"])]).into()).await;
        }
        // It speaks TLS.
        http::try_send(tls, "GET", "/", &[], Bytes::new()).await;
        let foreign = [("origin", "https://example.com"), ("sec-fetch-site", "cross-site")];
        http::send(sluice.admin, "GET", "/api/v1/streams", &foreign, Bytes::new()).await;
        sluice.signal("HUP").await;
    }

    /// Where its receivers listen, in the order of the configuration.
    fn receivers(&self) -> Vec<SocketAddr> {
        let address = |line: &String| {
            let (_, url) = line.split_once("OTLP/HTTP on ")?;
            url.split_once("://")?.1.parse().ok()
        };
        self.sluice.log().iter().filter_map(address).collect()
    }
}
