//! Programs that are set up as the pages of S2, Highlight and Better Stack have it, with another endpoint and nothing else
//! changed: behind Sluice, what they send is taken by upstreams that are as strict as the real ones. And what this repository's own pages
//! say of SDKs and of a Collector, word by word.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use sluice::otlp::Signal;

use crate::collector::Collector;
use crate::sdk::Sdk::{self, Go, Java, Node, Python};
use crate::sdk::{BOTH_PORTS, grpc_url};
use crate::support::payload::{entry_of, request, resource};
use crate::support::stand_ins::{BetterStack, Highlight, Rules, S2, StandIn};
use crate::support::{SluiceProcess, eventually};

/// Those that send nothing else. Java's sends metrics about itself as well.
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

/// A page, and its blocks of code that begin so.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/quick-start").join(page);
    let text = fs::read_to_string(path).unwrap();
    let opening = format!("```{fence}\n");
    text.split(&opening).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// A configuration of this repository, with ports that are free.
fn on_free_ports(config: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(config);
    let yaml = fs::read_to_string(path).unwrap();
    ["4317", "4318", "8888"].iter().fold(yaml, |yaml, port| yaml.replace(&format!(":{port}"), ":0"))
}

/// Waits until the files of a service have each signal so often.
async fn in_files(sluice: &SluiceProcess, service: &str, times: usize) {
    for (signal, text) in SENT {
        let file = sluice.directory().join(format!("data/{service}/{}.jsonl", signal.name()));
        let count = || fs::read_to_string(&file).map_or(0, |lines| lines.matches(text).count());
        eventually("it is written", async || (count() >= times).then_some(())).await;
        assert_eq!(count(), times, "{signal}");
    }
}

#[tokio::test]
async fn ours_from_an_sdk_of_each_language_by_the_variables_that_it_shows() {
    let exports: Vec<Vec<(String, String)>> = blocks("sdks.md", "sh")
        .iter()
        .map(|block| {
            let lines = block.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
            lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        })
        .collect();
    let [http, grpc, token] = &exports[..] else { panic!("{exports:?}") };
    let sluice = SluiceProcess::start(&on_free_ports("sluice.yaml"), &[]).await;
    let grpc_port = grpc_url(&sluice).await;
    let mut times = 0;
    for more in [&[][..], grpc, token] {
        let all: Vec<(&str, String)> = http
            .iter()
            .chain(more)
            .map(|(name, value)| {
                let here = value
                    .replace("http://127.0.0.1:4318", &sluice.url())
                    .replace("http://127.0.0.1:4317", &grpc_port);
                (name.as_str(), here)
            })
            .collect();
        let of = |wanted| all.iter().rfind(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
        let protocol = of("OTEL_EXPORTER_OTLP_PROTOCOL").unwrap();
        let variables: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for sdk in SDKS.into_iter().chain([Java]) {
            sdk.follow_guide(protocol, &variables).await;
            times += 1;
        }
        // By its stream of S2, or by its service, which have one name.
        in_files(&sluice, "shop", times).await;
    }
}

/// Starts a Collector with a file of the page, which sends to a Sluice, and has it take something of each signal.
async fn by_a_collector(shown: &str, sluice: &SluiceProcess) {
    let collector = Collector::start_listening(2, |addresses: &[SocketAddr]| {
        let [http, grpc] = [addresses[0], addresses[1]].map(|address| address.to_string());
        let yaml = shown.replace("127.0.0.1:14318", &http).replace("127.0.0.1:14317", &grpc);
        let upstreams = ["http://127.0.0.1:4318", "https://sluice.example.com:4318"];
        upstreams.iter().fold(yaml, |yaml, upstream| yaml.replace(upstream, &sluice.url()))
    });
    let collector = collector.await;
    for (signal, text) in SENT {
        let entry = entry_of(signal, resource(&[("service.name", "shop")]), &[text]);
        collector.post(signal, request(&[entry])).await;
    }
    in_files(sluice, "shop", 1).await;
    collector.assert_content();
}

#[tokio::test]
async fn ours_from_a_collector_by_the_file_that_it_shows() {
    let shown = blocks("collector.md", "yaml collector").swap_remove(0);
    let sluice = SluiceProcess::start(&on_free_ports("sluice.yaml"), &[]).await;
    by_a_collector(&shown, &sluice).await;
}

/// In the file that the page begins with. Without the token, Sluice would take nothing.
#[tokio::test]
async fn ours_from_a_collector_with_a_token_by_the_exporter_that_it_shows() {
    let [whole, exporters] = &blocks("collector.md", "yaml collector")[..] else { panic!("there are two") };
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let (mut whole, exporters) = (read(whole), read(exporters));
    for (name, exporter) in exporters["exporters"].as_object().unwrap() {
        assert!(whole["exporters"].get(name).is_some(), "the file has {name}");
        whole["exporters"][name] = exporter.clone();
    }
    let http = "      http:\n        endpoint: 127.0.0.1:0\n";
    let auth = format!("{http}        auth: {{ authenticator: bearertokenauth }}\n");
    let yaml = on_free_ports("sluice.yaml").replace(http, &auth);
    let yaml = yaml + "extensions: { bearertokenauth: { token: of-the-collector } }\n";
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    let anonymous = sluice.post(Signal::Logs, Vec::new()).await;
    assert_eq!(anonymous.status, 401, "{}", anonymous.text());
    by_a_collector(&whole.to_string(), &sluice).await;
}
