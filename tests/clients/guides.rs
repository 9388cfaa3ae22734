//! Programs that are set up as the pages of S2, Highlight and Better Stack have it, with another endpoint and nothing else
//! changed: behind Sluice, what they send is taken by upstreams that are as strict as the real ones.

use sluice::otlp::Signal;

use crate::sdk::Sdk::{self, Go, Node, Python};
use crate::sdk::{BOTH_PORTS, grpc_url};
use crate::support::SluiceProcess;
use crate::support::stand_ins::{BetterStack, Highlight, Rules, S2, StandIn};

const SDKS: [Sdk; 3] = [Python, Go, Node];

/// What each program sends, by signal.
const SENT: [(Signal, &str); 3] =
    [(Signal::Traces, "checkout"), (Signal::Metrics, "orders"), (Signal::Logs, "paid")];

/// Follows the guide with each SDK, and waits until all of it is in one stream of the upstream.
async fn all_arrives<R: Rules>(
    up: &StandIn<R>,
    stream: &str,
    protocol: &str,
    endpoint: &str,
    variables: &[(&str, &str)],
) {
    for sdk in SDKS {
        let before = up.taken();
        let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
        all.extend_from_slice(variables);
        sdk.follow_guide(protocol, &all).await;
        let records: usize = SENT.iter().map(|(signal, _)| before.of(stream, *signal).len()).sum();
        let taken = up.records(records + SENT.len()).await;
        for (signal, text) in SENT {
            let new = &taken.of(stream, signal)[before.of(stream, signal).len()..];
            assert_eq!(new, [text], "{sdk:?}, {protocol}, {signal}");
        }
        assert_eq!(taken.streams().len(), 1, "{:?}", taken.streams());
    }
}

#[tokio::test]
async fn s2s_by_a_resource_attribute() {
    let s2 = S2::start(&[("my-basin", "of-the-basin")]).await;
    let proxy = s2.url();
    let yaml = format!(
        "{BOTH_PORTS}exporters:\n\
         \x20 otlp_http/s2: {{ preset: s2, endpoint: 'http://my-basin.b.s2.dev', token: of-the-basin, proxy_url: '{proxy}' }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/s2] }}]\n"
    );
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    // The page's endpoint ends in it, and Sluice takes it, too.
    let endpoint = format!("{}/otlp", sluice.url());
    let variables = [
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,s2.stream=stream-a"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20of-the-program"),
    ];
    all_arrives(&s2, "stream-a", "http/protobuf", &endpoint, &variables).await;
}

#[tokio::test]
async fn highlights_by_http_and_by_grpc() {
    let highlight = Highlight::start(&["1jdkoe52"]).await;
    let exporters = [
        ("otlp_http/highlight", format!("endpoint: '{}'", highlight.url())),
        ("otlp_grpc/highlight", highlight.grpc_options()),
    ];
    for (exporter, endpoint) in exporters {
        let yaml = format!(
            "{BOTH_PORTS}exporters: {{ {exporter}: {{ preset: highlight, {endpoint} }} }}\n\
             routes: [{{ match: {{ highlight.project_id: '*' }}, key: highlight.project_id, exporters: [{exporter}] }}]\n"
        );
        let sluice = SluiceProcess::start(&yaml, &[]).await;
        let variables = [("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,highlight.project_id=1jdkoe52")];
        all_arrives(&highlight, "1jdkoe52", "http/protobuf", &sluice.url(), &variables).await;
        all_arrives(&highlight, "1jdkoe52", "grpc", &grpc_url(&sluice).await, &variables).await;
    }
}

#[tokio::test]
async fn better_stacks_by_the_token_of_a_source() {
    let up = BetterStack::start(&[("acme", "acme-source")]).await;
    let yaml = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: tenants }} }} }} }} }}\n\
         exporters:\n\
         \x20 otlp_http/betterstack: {{ preset: better_stack, endpoint: '{url}', token: '{{{{ tenant.token }}}}' }}\n\
         routes: [{{ tenants: '*', key: '{{{{ tenant.id }}}}', exporters: [otlp_http/betterstack] }}]\n\
         tenants:\n\
         \x20 list: [{{ id: acme, senders: [{{ name: web, token: acme-source }}], values: {{ token: acme-source }} }}]\n",
        url = up.url()
    );
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    let variables = [
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20acme-source"),
    ];
    all_arrives(&up, "acme", "http/protobuf", &sluice.url(), &variables).await;
}
