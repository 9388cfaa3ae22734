//! What to try with a Sluice that has just started: commands that send what its own routes take.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::otlp::{self, Signal, put_frame};
use crate::receive::Snapshot;
use crate::route::{EntryOrigin, RoutingKey, Unroutable};
use crate::stream::StreamName;

/// Logs first: they are what people send by hand.
const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Traces, Signal::Metrics];

/// The value of attributes that may have any, and so the stream, where the data names it.
const CURL: &str = "curl";

/// What the one record says.
const HELLO: &str = "hello from curl!";

/// The attribute that `sluice send` sets unless told otherwise.
const SEND_ATTRIBUTE: &str = "s2.stream";

/// The lines to try, with the URLs of these listeners; a line that says why where there is no such command.
pub(super) fn to_try(snapshot: &Snapshot, program: &str, otlp: &str, admin: Option<&str>) -> String {
    let mut text = "Try:\n".to_owned();
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "  {line}").expect("writing to a String can't fail");
    };
    // Whoever tries it has started what answers, and a test's certificate is seldom one for an address.
    let unchecked = |url: &str, option: &'static str| if url.starts_with("https:") { option } else { "" };
    match SIGNALS.into_iter().find_map(|signal| Some((signal, by_curl(snapshot, signal)?))) {
        Some((signal, resource)) => line(format_args!(
            "echo {} | base64 -d | curl -sS{} -H 'Content-Type: application/x-protobuf' --data-binary @- {otlp}{}",
            BASE64.encode(request(signal, resource)),
            unchecked(otlp, " -k"),
            signal.path(),
        )),
        None => line(format_args!(
            "(no route takes a resource that could be made up here; `sluice explain` says what a captured one is missing)"
        )),
    }
    if let Some((signal, attribute)) =
        SIGNALS.into_iter().find_map(|signal| Some((signal, by_send(snapshot, signal)?)))
    {
        let option =
            if attribute == SEND_ATTRIBUTE { String::new() } else { format!(" --attribute {attribute}") };
        line(format_args!(
            "{program} send --endpoint {otlp}{} --signal {signal}{option} --streams 10 --duration 5s",
            unchecked(otlp, " --insecure-skip-verify"),
        ));
    }
    if let Some(admin) = admin {
        line(format_args!("curl -s{} {admin}/api/v1/streams", unchecked(admin, " -k")));
        writeln!(text, "\nIn a browser, {admin}/ is the dashboard.").expect("writing to a String can't fail");
    }
    text
}

/// A resource that is routed: one that has only a service name, as most have, else one that a route asks for.
fn by_curl(snapshot: &Snapshot, signal: Signal) -> Option<Resource> {
    let service = vec![("service.name", CURL.to_owned())];
    let examples = std::iter::once(service).chain(snapshot.routes.examples(signal, CURL));
    examples.map(|attributes| resource(&attributes)).find(|resource| is_taken(snapshot, signal, resource))
}

/// The attribute that `sluice send` has to set; it sets no other one.
fn by_send(snapshot: &Snapshot, signal: Signal) -> Option<&str> {
    let names = std::iter::once(SEND_ATTRIBUTE).chain(snapshot.routes.attributes());
    let plain = |name: &&str| name.chars().all(|char| char.is_ascii_alphanumeric() || "._-/".contains(char));
    let taken = |name: &&str| is_taken(snapshot, signal, &resource(&[(*name, "stream-0".to_owned())]));
    names.filter(plain).find(taken)
}

/// Whether every exporter that is to get an entry with this resource can send it.
fn is_taken(snapshot: &Snapshot, signal: Signal, resource: &Resource) -> bool {
    let request = request(signal, resource.clone());
    let split = otlp::split(signal, &request).expect("what is made here is OTLP");
    let entry = split.entries.first().expect("it is one entry");
    let mut all_fit = true;
    let routed = snapshot.routes.route::<Unroutable>(
        signal,
        entry,
        &EntryOrigin::default(),
        &mut String::new(),
        |hit| {
            let name = StreamName { signal, key: RoutingKey::written(hit.key) };
            all_fit &= snapshot.exporters[hit.exporter].target(&name).is_ok();
            Ok(())
        },
        |_, _| {},
    );
    routed == Ok(true) && all_fit
}

fn resource(attributes: &[(&str, String)]) -> Resource {
    let attributes = attributes.iter().map(|(key, value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(text(value)),
        ..KeyValue::default()
    });
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.to_owned())) }
}

/// A request with one record.
fn request(signal: Signal, resource: Resource) -> Vec<u8> {
    let resource = Some(resource);
    let entry = match signal {
        Signal::Logs => {
            let record = LogRecord {
                severity_number: 9,
                severity_text: "INFO".to_owned(),
                body: Some(text(HELLO)),
                ..LogRecord::default()
            };
            let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
            ResourceLogs { resource, scope_logs: vec![scope], ..ResourceLogs::default() }.encode_to_vec()
        }
        Signal::Traces => {
            let span = Span {
                trace_id: rand::random::<[u8; 16]>().to_vec(),
                span_id: rand::random::<[u8; 8]>().to_vec(),
                name: HELLO.to_owned(),
                ..Span::default()
            };
            let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
            ResourceSpans { resource, scope_spans: vec![scope], ..ResourceSpans::default() }.encode_to_vec()
        }
        Signal::Metrics => {
            let point = NumberDataPoint {
                value: Some(number_data_point::Value::AsInt(1)),
                ..NumberDataPoint::default()
            };
            let metric = Metric {
                name: HELLO.to_owned(),
                data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })),
                ..Metric::default()
            };
            let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
            ResourceMetrics { resource, scope_metrics: vec![scope], ..ResourceMetrics::default() }
                .encode_to_vec()
        }
    };
    let mut request = Vec::new();
    put_frame(&mut request, entry.len());
    request.extend_from_slice(&entry);
    request
}
