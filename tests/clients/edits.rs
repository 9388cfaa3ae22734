//! What Sluice makes of processors, against what a real Collector makes of the same: both get the same arbitrary messages, and
//! what comes out of both is compared.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use rig::sink::Sink;
use sluice::otlp::{self, Signal};

use crate::collector::Collector;
use crate::collectors::otlp_http;
use crate::decoded::Decoded;
use crate::messages;
use crate::support::Sluice;
use crate::support::sinks;
use crate::support::yaml::{self, SINGLY};

/// Messages of each signal for each of the configurations.
const MESSAGES: usize = 40;

/// The settings of an `attributes` or `resource` processor's actions.
const ACTIONS: [&str; 14] = [
    "[{ key: a, value: new, action: insert }, { key: b.c, value: 12, action: update }, { key: n, value: 1.5, action: upsert }]",
    "[{ key: a, value: true, action: upsert }, { key: x, value: [p, 'q', r], action: insert }, { key: y, value: '', action: INSERT }]",
    "[{ key: a, from_attribute: b.c, action: insert }, { key: n, from_attribute: user.id, action: update }]",
    "[{ key: x, from_attribute: a, action: upsert }, { key: a, action: delete }, { key: a, from_attribute: x, action: insert }]",
    "[{ key: x, from_attribute: n, default_value: none, action: insert }, { key: z, default_value: 7, action: upsert }]",
    "[{ key: password, action: delete }, { pattern: '^user[.]', action: delete }]",
    "[{ key: a, action: hash }, { pattern: '(?i)MAIL|^n$', action: hash }]",
    r"[{ pattern: '^\w+$', action: hash }, { key: user.id, pattern: '\.c$', action: Delete }]",
    "[{ key: a, converted_type: string, action: convert }, { key: b.c, converted_type: string, action: convert }, { key: n, \
     converted_type: string, action: convert }]",
    "[{ key: a, converted_type: int, action: convert }, { key: n, converted_type: int, action: convert }]",
    "[{ key: a, converted_type: double, action: convert }, { key: n, converted_type: double, action: convert }]",
    r"[{ key: a, pattern: '^(?P<first>\w)(?P<rest>.*)$', action: extract }, { key: n, pattern: '(?P<a>[a-z]+) ?(?P<digits>\d+)?', action: extract }]",
    "[{ key: n, value: '42', action: upsert }, { key: n, converted_type: int, action: convert }, { key: n, action: hash }]",
    "[{ key: a, value: 0x10, action: upsert }, { key: b.c, value: 1e3, action: upsert }, { key: n, value: 'yes', action: upsert }, { \
     key: é, value: no, action: upsert }]",
];

/// What is asked of spans and log records.
const OF_BOTH: [&str; 6] = [
    "include: { match_type: strict, attributes: [{ key: a }] }",
    "include: { match_type: strict, resources: [{ key: service.name }] }, exclude: { match_type: strict, attributes: [{ key: n }, { key: a \
     }] }",
    "exclude: { match_type: regexp, attributes: [{ key: a, value: '[a-m]' }] }",
    "include: { match_type: regexp, libraries: [{ name: '[a-m]', version: '' }] }",
    "exclude: { match_type: strict, libraries: [{ name: '' }] }",
    "include: { match_type: regexp, attributes: [{ key: b.c, value: '^-?[0-9.]+$' }], resources: [{ key: a }] }",
];

/// What is asked of spans alone.
const OF_SPANS: [&str; 4] = [
    "include: { match_type: regexp, services: ['nil', '[a-m]'] }",
    "include: { match_type: strict, span_kinds: [SPAN_KIND_SERVER, SPAN_KIND_CLIENT] }",
    "exclude: { match_type: regexp, span_names: ['^[a-f]', '^$'], span_kinds: [UNSPECIFIED, INTERNAL, SERVER] }",
    "include: { match_type: strict, services: ['<nil-service-name>'] }",
];

/// What is asked of log records alone.
const OF_LOGS: [&str; 4] = [
    "include: { match_type: regexp, log_bodies: ['[a-m]', '^[{[]'] }",
    "include: { match_type: strict, log_severity_number: { min: 9, match_undefined: true } }",
    "exclude: { match_type: regexp, log_severity_texts: ['[a-m]'], log_severity_number: { min: 3 } }",
    "exclude: { match_type: strict, log_bodies: [''] }",
];

/// What is asked of metrics.
const OF_METRICS: [&str; 2] = [
    "include: { match_type: regexp, metric_names: ['^[a-m]'] }",
    "exclude: { match_type: strict, metric_names: [''] }",
];

/// A Collector and a Sluice with the same processors.
struct Pair {
    collector: Collector,
    sluice: Sluice,
    from_collector: Sink,
    from_sluice: Sink,
}

impl Pair {
    /// With this section, and the names of those in it that traces, metrics and logs pass through.
    async fn start(processors: &str, of_signals: [&str; 3]) -> Self {
        let (from_collector, from_sluice) = (sinks::recording().await, sinks::recording().await);
        let collector = Collector::start_processing(
            processors,
            of_signals,
            &otlp_http(&from_collector.url(), "compression: none"),
            "otlp_http",
        )
        .await;
        let route = |signal: Signal| {
            let names = of_signals[signal.index()];
            format!(
                "  - {{ name: {signal}, signals: [{signal}], processors: [{names}], exporters: [otlp_http/up] }}\n"
            )
        };
        let routes: String = Signal::ALL.into_iter().map(route).collect();
        let exporters = yaml::exporters(&[("otlp_http/up", yaml::to(&from_sluice.url(), &[SINGLY]))]);
        let sluice = Sluice::start(&format!("{exporters}{processors}\nroutes:\n{routes}")).await;
        Self { collector, sluice, from_collector, from_sluice }
    }

    /// Sends arbitrary messages through both, and compares what comes out.
    async fn compare(&self, signals: &[Signal], how: &str) {
        let mut runner = TestRunner::default();
        for &signal in signals {
            // A Collector sends nothing where there are no records.
            let messages = messages::request(signal)
                .prop_filter("there are records", move |request| otlp::count_request(signal, request) > 0);
            for _ in 0..MESSAGES {
                let message = messages.new_tree(&mut runner).expect("there is a message").current();
                let message = Decoded::of(signal, &message).comparable();
                self.collector.post(signal, message.encoded()).await;
                self.sluice.accept(signal, message.encoded()).await;
                self.sluice.settled().await;
                let [expected, found] = [&self.from_collector, &self.from_sluice].map(|sink| {
                    let mut all = Decoded::of(signal, &[]);
                    sink.take_requests()
                        .iter()
                        .for_each(|taken| all.extend(Decoded::of(signal, &taken.body)));
                    all.canonical()
                });
                assert!(found == expected, "{how}{}\nsent: {message:?}", difference(&found, &expected));
            }
        }
    }
}

/// Where what Sluice has made begins to differ from what the Collector has.
fn difference(found: &Decoded, expected: &Decoded) -> String {
    let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
    let same = found.chars().zip(expected.chars()).take_while(|(one, other)| one == other).count();
    let part = |text: &str| text.chars().skip(same.saturating_sub(300)).take(500).collect::<String>();
    format!("Sluice: … {} …\nthe Collector: … {} …", part(&found), part(&expected))
}

#[tokio::test]
async fn resources_are_edited_as_a_collector_edits_them() {
    for actions in ACTIONS {
        let processors = format!("processors:\n  resource/it:\n    attributes: {actions}\n");
        let pair = Pair::start(&processors, ["resource/it"; 3]).await;
        pair.compare(&Signal::ALL, &processors).await;
    }
}

#[tokio::test]
async fn records_are_edited_as_a_collector_edits_them() {
    for actions in ACTIONS {
        let processors = format!("processors:\n  attributes/it:\n    actions: {actions}\n");
        let pair = Pair::start(&processors, ["attributes/it"; 3]).await;
        pair.compare(&Signal::ALL, &processors).await;
    }
}

#[tokio::test]
async fn what_includes_and_excludes_records_does_so_as_in_a_collector() {
    const MARK: &str = "actions: [{ key: marked, value: true, action: upsert }]";
    let asked = [
        (&OF_BOTH[..], &[Signal::Traces, Signal::Logs][..]),
        (&OF_SPANS, &[Signal::Traces]),
        (&OF_LOGS, &[Signal::Logs]),
        (&OF_METRICS, &[Signal::Metrics]),
    ];
    for (filters, signals) in asked {
        for filter in filters {
            // What the first has made of resources is what the second asks.
            let processors = format!(
                "processors:\n  resource/it: {{ attributes: [{{ key: a, from_attribute: n, action: insert }}] }}\n  attributes/it: {{ \
                 {MARK}, {filter} }}\n"
            );
            let names =
                |signal| if signals.contains(&signal) { "resource/it, attributes/it" } else { "resource/it" };
            let pair = Pair::start(&processors, Signal::ALL.map(names)).await;
            pair.compare(signals, &processors).await;
        }
    }
}
