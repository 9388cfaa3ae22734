//! SDKs and a Collector over TLS, with authorities of our own: one that the servers' certificates are of, and one that
//! clients may have to show a certificate of.

use std::ffi::OsString;
use std::process::Command;

use crate::collector::Collector;
use crate::collectors::{assert_arrived, otlp_grpc, otlp_http};
use crate::sdk::Sdk::{self, Go, Java, Node, Python};
use crate::sdk::grpc_url;
use crate::support::sinks::{self, Received as _};
use crate::support::telemetry::Telemetry;
use crate::support::tls::Authority;
use crate::support::yaml::{by_stream, exporters};
use crate::support::{PATIENCE, SluiceProcess, yaml};

/// Who trusts whom.
struct Trust {
    servers: Authority,
    clients: Authority,
    mutual: bool,
}

impl Trust {
    /// `mutual`: clients have to show a certificate, too.
    fn new(mutual: bool) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        clients.write("client", &clients.sign("client"));
        Self { servers, clients, mutual }
    }

    /// `tls` of a receiver: Sluice's and the Collector's are the same.
    fn receiver(&self) -> String {
        let client_ca = self.clients.path("ca.pem");
        let client_ca = self.mutual.then(|| format!(", client_ca_file: '{}'", client_ca.display()));
        format!("tls: {{ {}{} }}", self.servers.server(), client_ca.unwrap_or_default())
    }

    /// `tls` of an exporter: Sluice's and the Collector's are the same.
    fn exporter(&self) -> String {
        let [certificate, key] = ["client.pem", "client.key"].map(|name| self.clients.path(name));
        let own = format!(", cert_file: '{}', key_file: '{}'", certificate.display(), key.display());
        let own = if self.mutual { own } else { String::new() };
        format!("tls: {{ ca_file: '{}'{own} }}", self.servers.path("ca.pem").display())
    }

    /// The same for SDKs.
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let ca = OsString::from(self.servers.path("ca.pem"));
        // Go's exporter of logs over gRPC (0.20) knows only where Go itself looks.
        let mut variables = vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.clone()), ("SSL_CERT_FILE", ca)];
        if self.mutual {
            variables.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", self.clients.path("client.pem").into()));
            variables.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", self.clients.path("client.key").into()));
        }
        variables
    }

    /// The same for Java, which reads no PEM by itself.
    fn java_options(&self) -> (&'static str, OsString) {
        let [pem, store] = ["ca.pem", "ca.jks"].map(|name| self.servers.path(name));
        let made = Command::new("keytool")
            .args(["-importcert", "-noprompt", "-storetype", "JKS", "-storepass", "no secret", "-file"])
            .args([pem.as_os_str(), "-keystore".as_ref(), store.as_os_str()])
            .output();
        assert!(made.expect("Java has a keytool").status.success());
        ("JAVA_TOOL_OPTIONS", format!("-Djavax.net.ssl.trustStore={}", store.display()).into())
    }

    /// A Sluice that takes TLS alone, and where: over HTTP, over gRPC.
    async fn sluice(&self, up: &str) -> (SluiceProcess, [String; 2]) {
        self.sluice_with(&yaml::up(up, &[])).await
    }

    /// The same with these exporters and routes.
    async fn sluice_with(&self, exporters_and_routes: &str) -> (SluiceProcess, [String; 2]) {
        let tls = self.receiver();
        let receivers = format!(
            "receivers:
  otlp:
    protocols:
      http: {{ endpoint: 127.0.0.1:0, {tls} }}
      grpc: {{ endpoint: 127.0.0.1:0, {tls} }}
"
        );
        let sluice = SluiceProcess::start(&(receivers + exporters_and_routes), &[]).await;
        let endpoints = [secure(&sluice.url()), secure(&grpc_url(&sluice).await)];
        (sluice, endpoints)
    }
}

/// The name that the servers' certificates are for.
fn secure(url: &str) -> String {
    url.replace("http://127.0.0.1", "https://localhost")
}

async fn arrives(sdk: Sdk, protocols: &[&str], trust: &Trust) {
    let mut variables = trust.variables();
    if let Java = sdk {
        variables.push(trust.java_options());
    }
    let sent = sdk.sends().await;
    for protocol in protocols {
        let up = sinks::recording().await;
        let (sluice, [http, grpc]) = trust.sluice(&up.url()).await;
        let endpoint = if *protocol == "grpc" { grpc } else { http };
        sdk.send_with(protocol, &endpoint, "gzip", &variables).await;
        up.wait_for_records(sent.records(), PATIENCE).await.expect("everything arrives");
        sluice.settled().await;
        Telemetry::of(&up.taken()).assert_is(&sent, &format!("{sdk:?}, {protocol} over TLS"));
    }
}

#[tokio::test]
async fn python_sends_over_tls() {
    arrives(Python, &["http/protobuf", "http/json", "grpc"], &Trust::new(false)).await;
}

#[tokio::test]
async fn go_sends_over_tls() {
    arrives(Go, &["http/protobuf", "grpc"], &Trust::new(false)).await;
}

#[tokio::test]
async fn node_sends_over_tls() {
    // Over gRPC it warns if it has no certificate of its own.
    arrives(Node, &["http/protobuf", "http/json"], &Trust::new(false)).await;
}

#[tokio::test]
async fn java_sends_over_tls() {
    arrives(Java, &["http/protobuf", "grpc"], &Trust::new(false)).await;
}

#[tokio::test]
async fn sdks_show_a_certificate() {
    arrives(Python, &["http/protobuf", "grpc"], &Trust::new(true)).await;
    // Over gRPC, its exporter of logs shows none.
    arrives(Go, &["http/protobuf"], &Trust::new(true)).await;
    arrives(Node, &["http/protobuf", "grpc"], &Trust::new(true)).await;
}

#[tokio::test]
async fn a_collector_sends_to_sluice_over_tls() {
    let sent = Go.sends().await;
    for mutual in [false, true] {
        let trust = Trust::new(mutual);
        let up = sinks::recording().await;
        let (sluice, [http, grpc]) = trust.sluice(&up.url()).await;
        for (exporters, name) in [
            (otlp_http(&http, &trust.exporter()), "otlp_http"),
            (otlp_grpc(&grpc, &trust.exporter()), "otlp_grpc"),
        ] {
            let collector = Collector::start(&exporters, name).await;
            Go.send("http/protobuf", &collector.http(), "none").await;
            sluice.settled().await;
            collector.assert_content();
        }
        up.wait_for_records(2 * sent.records(), PATIENCE).await.expect("everything arrives");
    }
}

#[tokio::test]
async fn a_collector_takes_from_sluice_over_tls() {
    let sent = Go.sends().await;
    for mutual in [false, true] {
        let trust = Trust::new(mutual);
        for name in ["otlp_http/up", "otlp_grpc/up"] {
            let up = sinks::recording().await;
            let behind = otlp_http(&up.url(), "compression: none");
            let collector = Collector::start_with(&trust.receiver(), &behind, "otlp_http").await;
            let endpoint = if name == "otlp_grpc/up" { collector.grpc() } else { collector.http() };
            let options = format!("endpoint: '{}', {}", secure(&endpoint), trust.exporter());
            let config = exporters(&[(name, options.clone())]) + &by_stream(name);
            let sluice = SluiceProcess::start(&config, &[]).await;
            Go.send("http/protobuf", &sluice.url(), "none").await;
            assert_arrived(&up, &sent, &options).await;
            sluice.settled().await;
            collector.assert_content();
        }
    }
}

/// Highlight's exporter by gRPC (`otel.highlight.io:4317`) or by HTTP (`https://otel.highlight.io:4318`), which it
/// documents without any further option. Changed are the host, and what a host of our own needs: a port, and the
/// authority of its certificate.
fn highlight(name: &str, url: &str, trust: &Trust) -> String {
    let endpoint = if name == "otlp/highlight" { url.trim_start_matches("https://") } else { url };
    format!(
        "exporters:
  {name}:
    endpoint: {endpoint}
    {}
",
        trust.exporter()
    )
}

#[tokio::test]
async fn highlights_endpoints_work_in_a_collector_and_in_sluice() {
    let sent = Go.sends().await;
    for name in ["otlp/highlight", "otlphttp/highlight"] {
        let trust = Trust::new(false);
        let up = sinks::recording().await;
        let behind = otlp_http(&up.url(), "compression: none");
        let highlight_itself = Collector::start_with(&trust.receiver(), &behind, "otlp_http").await;
        let of = |http: &str, grpc: &str| secure(if name == "otlp/highlight" { grpc } else { http });
        let endpoint = of(&highlight_itself.http(), &highlight_itself.grpc());
        let block = highlight(name, &endpoint, &trust) + &by_stream(name);
        let (sluice, [http, grpc]) = trust.sluice_with(&block).await;
        let before = Collector::start(&highlight(name, &of(&http, &grpc), &trust), name).await;
        Go.send("http/protobuf", &before.http(), "none").await;
        assert_arrived(&up, &sent, name).await;
        sluice.settled().await;
        before.assert_content();
        highlight_itself.assert_content();
    }
}
