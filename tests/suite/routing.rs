//! Which stream an entry goes to, and what happens to one that goes nowhere.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::support::Sluice;
use crate::support::grpc_upstream::GrpcUpstream;
use crate::support::http::Answer;
use crate::support::payload::{
    KEY, any_attribute, attribute, entry_of, logs, request, resource, resource_of,
};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};

/// One log for a resource with these attributes.
fn log(attributes: &[(&str, &str)], text: &str) -> Vec<u8> {
    request(&[entry_of(Signal::Logs, resource(attributes), &[text])])
}

fn rejected(answer: &Answer) -> (i64, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.partial(Signal::Logs).expect("something was rejected")
}

async fn routed(url: &str, routes: &str) -> Sluice {
    let exporters = yaml::exporters(&[("otlp_http/up", yaml::to(url, &[QUICK, SINGLY]))]);
    Sluice::start(&(exporters + routes)).await
}

/// Keys and pending or delivered entries of all live streams.
async fn keys(sluice: &Sluice) -> Vec<String> {
    let streams = sluice.api("/api/v1/streams").await;
    let all = streams["streams"].as_array().expect("a list").iter();
    let mut keys: Vec<String> = all.map(|stream| stream["key"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn rule_56_an_entry_fans_out_to_two_exporters_of_which_one_may_fail() {
    let (fine, failing) = (sinks::recording().await, sinks::recording().await);
    failing.set_fault(Fault::status(503));
    let exporters = yaml::exporters(&[
        ("otlp_http/fine", yaml::to(&fine.url(), &[QUICK, SINGLY])),
        ("otlp_http/failing", yaml::to(&failing.url(), &[QUICK, SINGLY])),
    ]);
    let sluice = Sluice::start(&(exporters + &yaml::by_stream("otlp_http/fine, otlp_http/failing"))).await;
    for text in ["1", "2", "3"] {
        sluice.accept(Signal::Logs, log(&[(KEY, "a")], text)).await;
    }
    fine.records(3).await;
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.exported("otlp_http/fine", "delivered"), 3.0);
    assert_eq!(metrics.sum("sluice_pending_records", &[("exporter", "otlp_http/failing")]), 3.0);
    failing.clear_faults();
    failing.records(3).await;
    sluice.settled().await;
    assert_eq!(failing.texts(Signal::Logs), ["1", "2", "3"]);
    let accepted = sluice.metric("sluice_received_records_total", &[("outcome", "accepted")]).await;
    assert_eq!(accepted, 3.0, "what is received once is counted once");
}

#[tokio::test]
async fn the_first_route_that_matches_wins_unless_it_continues() {
    let (one, two, rest) = (sinks::recording().await, sinks::recording().await, sinks::recording().await);
    let exporters = yaml::exporters(&[
        ("otlp_http/one", yaml::to(&one.url(), &[SINGLY])),
        ("otlp_http/two", yaml::to(&two.url(), &[SINGLY])),
        ("otlp_http/rest", yaml::to(&rest.url(), &[SINGLY])),
    ]);
    let routes = "routes:
  - { name: copy, match: { tier: gold }, key: s2.stream, exporters: [otlp_http/one], continue: true }
  - { match: { s2.stream: 'a*' }, key: s2.stream, exporters: [otlp_http/two] }
  - { match: { s2.stream: '*' }, key: s2.stream, exporters: [otlp_http/rest] }
";
    let sluice = Sluice::start(&(exporters + routes)).await;
    sluice.accept(Signal::Logs, log(&[(KEY, "abc"), ("tier", "gold")], "gold a")).await;
    sluice.accept(Signal::Logs, log(&[(KEY, "abc")], "a")).await;
    sluice.accept(Signal::Logs, log(&[(KEY, "x"), ("tier", "gold")], "gold x")).await;
    sluice.settled().await;
    assert_eq!(one.texts(Signal::Logs), ["gold a", "gold x"]);
    assert_eq!(two.texts(Signal::Logs), ["gold a", "a"]);
    assert_eq!(rest.texts(Signal::Logs), ["gold x"]);
}

#[tokio::test]
async fn an_entry_is_in_a_stream_once_however_many_routes_say_so() {
    let up = sinks::recording().await;
    let routes = "routes:
  - { match: { tier: gold }, key: s2.stream, exporters: [otlp_http/up], continue: true }
  - { match: { s2.stream: '*' }, key: s2.stream, exporters: [otlp_http/up] }
";
    let sluice = routed(&up.url(), routes).await;
    sluice.accept(Signal::Logs, log(&[(KEY, "a"), ("tier", "gold")], "once")).await;
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["once"]);
    assert_eq!(metrics.sum("sluice_routed_records_total", &[]), 1.0);
}

#[tokio::test]
async fn what_no_route_takes_is_rejected_by_partial_success_that_names_the_attributes() {
    let up = sinks::recording().await;
    let sluice = routed(&up.url(), &yaml::by_stream("otlp_http/up")).await;
    let both = request(&[
        entry_of(Signal::Logs, resource(&[("other", "x")]), &["1", "2"]),
        entry_of(Signal::Logs, resource(&[(KEY, "a")]), &["3"]),
    ]);
    let (records, message) = rejected(&sluice.post(Signal::Logs, both).await);
    assert_eq!(records, 2);
    assert!(message.contains("`s2.stream`"), "{message}");
    let (records, _) = rejected(&sluice.post(Signal::Logs, log(&[], "wholly unrouted")).await);
    assert_eq!(records, 1, "a request that is wholly unrouted is 200, too");
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["3"]);
    assert_eq!(metrics.sum("sluice_received_records_total", &[("outcome", "rejected")]), 3.0);
}

#[tokio::test]
async fn what_no_route_takes_is_dropped_and_counted_where_that_is_configured() {
    let up = sinks::recording().await;
    let sluice = routed(&up.url(), &(yaml::by_stream("otlp_http/up") + "unrouted: drop\n")).await;
    sluice.accept(Signal::Logs, log(&[("other", "x")], "dropped")).await;
    sluice.accept(Signal::Logs, log(&[(KEY, "a")], "kept")).await;
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["kept"]);
    let received = |outcome| metrics.sum("sluice_received_records_total", &[("outcome", outcome)]);
    assert_eq!((received("accepted"), received("dropped"), received("rejected")), (1.0, 1.0, 0.0));
}

#[tokio::test]
async fn an_attribute_that_occurs_twice_with_different_values_gets_its_entry_rejected() {
    let up = sinks::recording().await;
    let sluice = routed(&up.url(), &yaml::by_stream("otlp_http/up")).await;
    let entry = |values: [&str; 2], text| {
        let attributes = values.iter().map(|value| attribute(KEY, value)).collect();
        entry_of(Signal::Logs, resource_of(attributes), &[text])
    };
    let both = request(&[entry(["a", "b"], "conflicting"), entry(["a", "a"], "repeated")]);
    let (records, message) = rejected(&sluice.post(Signal::Logs, both).await);
    assert_eq!(records, 1);
    assert!(message.contains("resource_logs[0]") && message.contains("twice"), "{message}");
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["repeated"]);
}

#[tokio::test]
async fn the_first_key_that_is_present_names_the_stream() {
    let up = sinks::recording().await;
    let routes = "routes:
  - { key: [tenant, service.name], exporters: [otlp_http/up] }
";
    let sluice = routed(&up.url(), routes).await;
    sluice.accept(Signal::Logs, log(&[("service.name", "shop")], "1")).await;
    sluice.accept(Signal::Logs, log(&[("service.name", "shop"), ("tenant", "acme")], "2")).await;
    sluice.accept(Signal::Logs, log(&[("service.name", "bank"), ("tenant", "")], "3")).await;
    let (records, _) = rejected(&sluice.post(Signal::Logs, log(&[("host", "x")], "4")).await);
    assert_eq!(records, 1);
    sluice.settled().await;
    assert_eq!(keys(&sluice).await, ["acme", "bank", "shop"]);
}

#[tokio::test]
async fn rule_58_integers_and_booleans_are_keys_and_other_values_are_not() {
    let up = sinks::recording().await;
    let sluice = routed(&up.url(), &yaml::by_stream("otlp_http/up")).await;
    let with = |value: Value| {
        request(&[entry_of(Signal::Logs, resource_of(vec![any_attribute(KEY, value)]), &["text"])])
    };
    for value in
        [Value::IntValue(-42), Value::IntValue(i64::MIN), Value::BoolValue(true), Value::BoolValue(false)]
    {
        sluice.accept(Signal::Logs, with(value)).await;
    }
    for value in [
        Value::DoubleValue(1.0),
        Value::BytesValue(b"a".to_vec()),
        Value::StringValue(String::new()),
        Value::StringValue("a\0b".to_owned()),
        Value::StringValue("a\nb".to_owned()),
        Value::StringValue("x".repeat(513)),
    ] {
        let what = format!("{value:?}");
        assert_eq!(rejected(&sluice.post(Signal::Logs, with(value)).await).0, 1, "{what}");
    }
    sluice.accept(Signal::Logs, with(Value::StringValue("x".repeat(512)))).await;
    sluice.settled().await;
    let keys = keys(&sluice).await;
    assert_eq!(keys[..4], ["-42", "-9223372036854775808", "false", "true"]);
    assert_eq!(keys.len(), 5);
}

#[tokio::test]
async fn rule_57_an_index_into_no_string_table_is_absent_and_passed_on() {
    let up = sinks::recording().await;
    let sluice = routed(&up.url(), &yaml::by_stream("otlp_http/up")).await;
    // Where it would name the stream, there is no name.
    let value = any_attribute(KEY, Value::StringValueStrindex(3));
    let name = KeyValue { key: String::new(), key_strindex: 3, ..attribute("", "a") };
    for attribute in [&value, &name] {
        let entry = entry_of(Signal::Logs, resource_of(vec![attribute.clone()]), &["text"]);
        assert_eq!(rejected(&sluice.post(Signal::Logs, request(&[entry])).await).0, 1, "{attribute:?}");
    }
    // Beside one, it changes nothing, and is not changed.
    let other = any_attribute("other", Value::StringValueStrindex(3));
    let beside = resource_of(vec![name, other, attribute(KEY, "a")]);
    let body = request(&[entry_of(Signal::Logs, beside, &["text"])]);
    sluice.accept(Signal::Logs, body.clone()).await;
    sluice.settled().await;
    assert_eq!((keys(&sluice).await, up.bodies(Signal::Logs)), (vec!["a".to_owned()], vec![body.into()]));
}

#[tokio::test]
async fn a_template_puts_a_key_together() {
    let up = sinks::recording().await;
    let routes = r#"routes:
  - { match: { tenant: "*" }, key: '{{ resource["tenant"] }}/{{ signal }}', exporters: [otlp_http/up] }
"#;
    let sluice = routed(&up.url(), routes).await;
    sluice.accept(Signal::Logs, log(&[("tenant", "acme")], "1")).await;
    sluice
        .accept(Signal::Traces, request(&[entry_of(Signal::Traces, resource(&[("tenant", "acme")]), &["2"])]))
        .await;
    sluice.settled().await;
    assert_eq!(keys(&sluice).await, ["acme/logs", "acme/traces"]);
}

#[tokio::test]
async fn templates_in_endpoint_and_headers_are_filled_per_stream() {
    let up = sinks::recording().await;
    let options = format!(
        r"endpoint: 'http://127.0.0.1:9', logs_endpoint: '{}/tenants/{{{{ key.tenant }}}}/v1/{{{{ signal }}}}', compression: none, headers: {{ X-Scope-OrgID: '{{{{ key.stream }}}}' }}",
        up.url()
    );
    let route = "routes: [{ signals: [logs], key: { stream: s2.stream, tenant: tenant }, exporters: [otlp_http/up] }]\n";
    let sluice = Sluice::start(&(yaml::exporters(&[("otlp_http/up", options)]) + route)).await;
    sluice.accept(Signal::Logs, log(&[(KEY, "a"), ("tenant", "acme/eu ö")], "1")).await;
    sluice.settled().await;
    let taken = &up.taken()[0];
    assert_eq!(taken.path, "/tenants/acme%2Feu%20%C3%B6/v1/logs");
    assert_eq!(taken.headers["x-scope-orgid"], "a");

    for unsafe_value in ["..", "."] {
        let answer = sluice.post(Signal::Logs, log(&[(KEY, "a"), ("tenant", unsafe_value)], "2")).await;
        let (records, message) = rejected(&answer);
        assert_eq!(records, 1, "{unsafe_value}");
        assert!(message.contains("tenant") || message.contains(unsafe_value), "{message}");
    }
    let (_, message) = rejected(&sluice.post(Signal::Logs, log(&[(KEY, "a")], "3")).await);
    assert!(message.contains("`tenant`"), "{message}");
    assert_eq!(up.counts().requests, 1);
}

#[tokio::test]
async fn a_value_with_spaces_around_it_never_arrives_as_the_one_without_them() {
    let (http, grpc) = (sinks::recording().await, GrpcUpstream::taking());
    let header = "headers: { X-Tenant: '{{ key }}' }";
    let routes = "routes:\n  - { match: { tenant: { not: admin } }, key: tenant, exporters: [otlp_http/up, otlp_grpc/up] }\n";
    let exporters = yaml::exporters(&[
        ("otlp_http/up", yaml::to(&http.url(), &[SINGLY, header])),
        ("otlp_grpc/up", format!("{}, {SINGLY}, {header}", grpc.options())),
    ]);
    let sluice = Sluice::start(&(exporters + routes)).await;
    for tenant in ["admin ", " admin", "  admin  "] {
        let answer = sluice.post(Signal::Logs, log(&[("tenant", tenant)], "never")).await;
        let (count, message) = rejected(&answer);
        assert_eq!(count, 1, "{tenant:?}");
        assert!(message.contains("`key`") && message.contains("spaces around it"), "{message}");
    }
    for tenant in ["admin\t", "\tadmin", "\u{a0}admin", " ", "   "] {
        let answer = sluice.post(Signal::Logs, log(&[("tenant", tenant)], "never")).await;
        assert_eq!(rejected(&answer).0, 1, "{tenant:?}");
    }
    sluice.accept(Signal::Logs, log(&[("tenant", "ad min")], "text")).await;
    sluice.settled().await;
    assert_eq!((http.texts(Signal::Logs), grpc.texts()), (vec!["text".to_owned()], vec!["text".to_owned()]));
    assert_eq!(http.taken()[0].headers["x-tenant"], "ad min");
    assert_eq!(grpc.calls()[0].metadata.get("x-tenant").unwrap(), "ad min");
}

#[tokio::test]
async fn a_value_that_is_not_header_safe_gets_its_entry_rejected_with_the_reason() {
    let up = sinks::recording().await;
    let options = yaml::to(&up.url(), &[SINGLY, "headers: { X-Scope-OrgID: '{{ key }}' }"]);
    let config = yaml::exporters(&[("otlp_http/up", options)]) + &yaml::by_stream("otlp_http/up");
    let sluice = Sluice::start(&config).await;
    let both = request(&[
        entry_of(Signal::Logs, resource(&[(KEY, "a\u{7f}b")]), &["control"]),
        entry_of(Signal::Logs, resource(&[(KEY, "grün")]), &["not ASCII"]),
        entry_of(Signal::Logs, resource(&[(KEY, "plain")]), &["fine"]),
    ]);
    let (records, message) = rejected(&sluice.post(Signal::Logs, both).await);
    assert_eq!(records, 2, "{message}");
    assert!(message.contains("resource_logs[1]") && message.contains("header"), "{message}");
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["fine"]);
    assert_eq!(metrics.sum("sluice_routed_records_total", &[]), 1.0);
}

#[tokio::test]
async fn rule_12_an_exporter_that_can_take_an_entry_gets_it_and_the_sender_learns_of_the_one_that_cannot() {
    let (plain, templated) = (sinks::recording().await, sinks::recording().await);
    let header = "headers: { X-Tenant: '{{ key }}' }";
    for exporters in ["otlp_http/plain, otlp_http/templated", "otlp_http/templated, otlp_http/plain"] {
        let config = yaml::exporters(&[
            ("otlp_http/plain", yaml::to(&plain.url(), &[SINGLY])),
            ("otlp_http/templated", yaml::to(&templated.url(), &[SINGLY, header])),
        ]) + &yaml::by_stream(exporters);
        let sluice = Sluice::start(&config).await;
        let before = plain.counts().records;
        for key in ["ä", "ö"] {
            let (records, message) = rejected(&sluice.post(Signal::Logs, log(&[(KEY, key)], "text")).await);
            assert_eq!(records, 0, "one exporter has it: {message}");
            assert!(message.contains("otlp_http/templated"), "{message}");
        }
        let metrics = sluice.settled().await;
        assert_eq!(plain.counts().records, before + 2, "{exporters}");
        assert_eq!(metrics.sum("sluice_received_records_total", &[("outcome", "accepted")]), 2.0);
        assert_eq!(metrics.sum("sluice_received_records_total", &[("outcome", "rejected")]), 0.0);
    }
    assert_eq!(templated.counts().requests, 0);
}

#[tokio::test]
async fn a_route_is_for_its_signals_alone_and_without_a_key_is_one_stream() {
    let up = sinks::recording().await;
    let sluice =
        routed(&up.url(), "routes:\n  - { name: all, signals: [logs], exporters: [otlp_http/up] }\n").await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"]), ("b", &["2"])])).await;
    let spans = request(&[entry_of(Signal::Traces, resource(&[(KEY, "a")]), &["3"])]);
    let answer = sluice.post(Signal::Traces, spans).await;
    assert_eq!(answer.partial(Signal::Traces).expect("no route takes traces").0, 1);
    sluice.settled().await;
    assert_eq!(keys(&sluice).await, ["all"]);
    assert_eq!(up.texts(Signal::Logs), ["1", "2"]);
}
