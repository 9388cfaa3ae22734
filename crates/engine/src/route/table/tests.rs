//! Routes asked with attributes, without exporters or streams.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use regex::Regex;

use super::*;
use crate::route::{ExactValue, Glob, LONGEST_KEY};
use crate::tenants::{TenantLimits, TenantValues};

fn any(name: &str, value: Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource(attributes: &[(&str, &str)]) -> Vec<u8> {
    let text = |(name, value): &(&str, &str)| any(name, Value::StringValue((*value).to_owned()));
    resource_of(attributes.iter().map(text).collect())
}

fn resource_of(attributes: Vec<KeyValue>) -> Vec<u8> {
    Resource { attributes, ..Resource::default() }.encode_to_vec()
}

/// A request of one entry that has nothing but this resource.
fn request_of(resource: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    let framed = otlp::frame_len(resource.len());
    otlp::put_frame(&mut request, framed);
    otlp::put_frame(&mut request, resource.len());
    request.extend_from_slice(resource);
    request
}

/// The one entry of a request.
fn entry_in(signal: Signal, request: &[u8]) -> Entry<'_> {
    otlp::split(signal, request).expect("it is framed").entries.remove(0)
}

fn route(name: &str, matches: &[(&str, &str)], key: KeySpec) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        matches: matches
            .iter()
            .map(|(name, glob)| ((*name).to_owned(), Matcher::Glob(Glob::new(glob))))
            .collect(),
        record_matches: Vec::new(),
        record_alone_matches: Vec::new(),
        request_matches: Vec::new(),
        signals: [true; 3],
        tenants: None,
        receivers: None,
        key,
        edits: Vec::new(),
        exporters: vec![0],
        continues: false,
        max_streams: None,
    }
}

fn by(names: &[&str]) -> KeySpec {
    KeySpec::One(KeySource::Attributes(names.iter().map(|name| (*name).to_owned()).collect()))
}

/// A row with these values.
fn tenant(id: &str, values: &[(&str, &[&str])]) -> Tenant {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned().into()).collect();
    Tenant {
        id: id.into(),
        place: "row".into(),
        platform: None,
        senders: Box::default(),
        values: TenantValues::new(values.iter().map(|(name, all)| ((*name).into(), texts(all))).collect()),
        exporters: None,
        limits: TenantLimits::default(),
        paused: false,
        hold: false,
    }
}

fn table(routes: Vec<RouteSpec>) -> RouteTable {
    RouteTable::new(routes, Unrouted::Reject { whole_as_error: false })
}

/// The hits as `route>exporter:key`, NUL shown as `|`, and whether a route took the entry.
fn ask(table: &RouteTable, signal: Signal, resource: &[u8]) -> Result<(Vec<String>, bool), Unroutable> {
    ask_from(&EntryOrigin::default(), table, signal, resource)
}

fn ask_from(
    origin: &EntryOrigin<'_>,
    table: &RouteTable,
    signal: Signal,
    resource: &[u8],
) -> Result<(Vec<String>, bool), Unroutable> {
    let mut hits = Vec::new();
    let request = request_of(resource);
    let routed = table.route::<Unroutable>(
        signal,
        &entry_in(signal, &request),
        origin,
        &mut "left over".to_owned(),
        |hit| {
            hits.push(format!("{}>{}:{}", table.name(hit.route), hit.exporter, hit.key.replace('\0', "|")));
            Ok(())
        },
        |_, _| {},
    )?;
    Ok((hits, routed))
}

fn hits(table: &RouteTable, attributes: &[(&str, &str)]) -> Vec<String> {
    ask(table, Signal::Logs, &resource(attributes)).expect("nothing conflicts").0
}

fn misses(table: &RouteTable, signal: Signal, attributes: &[(&str, &str)]) -> Vec<String> {
    misses_of(table, signal, &resource(attributes))
}

fn misses_of(table: &RouteTable, signal: Signal, resource: &[u8]) -> Vec<String> {
    misses_from(&EntryOrigin::default(), table, signal, resource)
}

fn misses_from(origin: &EntryOrigin<'_>, table: &RouteTable, signal: Signal, resource: &[u8]) -> Vec<String> {
    let mut misses = Vec::new();
    let request = request_of(resource);
    table
        .route::<Unroutable>(
            signal,
            &entry_in(signal, &request),
            origin,
            &mut String::new(),
            |_| Ok(()),
            |at, why| misses.push(format!("{}: {}", table.name(at), why())),
        )
        .expect("nothing conflicts");
    misses
}

#[test]
fn the_first_route_wins_and_all_its_conditions_must_hold() {
    let table = table(vec![
        route("both", &[("a", "1"), ("b", "*")], by(&["a"])),
        route("one", &[("a", "*")], by(&["a"])),
    ]);
    assert_eq!(hits(&table, &[("a", "1"), ("b", "x")]), ["both>0:1"]);
    assert_eq!(hits(&table, &[("a", "2"), ("b", "x")]), ["one>0:2"]);
    assert_eq!(hits(&table, &[("a", "1")]), ["one>0:1"]);
    assert_eq!(hits(&table, &[("b", "1")]), [""; 0]);
}

#[test]
fn a_route_that_continues_lets_later_ones_be_asked() {
    let mut first = route("first", &[("a", "*")], by(&["a"]));
    first.continues = true;
    let table = table(vec![first, route("second", &[], by(&["b"])), route("third", &[], KeySpec::Route)]);
    assert_eq!(hits(&table, &[("a", "1"), ("b", "2")]), ["first>0:1", "second>0:2"]);
    assert_eq!(hits(&table, &[("a", "1")]), ["first>0:1", "third>0:third"]);
}

#[test]
fn a_route_whose_key_is_absent_does_not_take_the_entry() {
    let table =
        table(vec![route("keyed", &[("a", "*")], by(&["b", "c"])), route("rest", &[], KeySpec::Route)]);
    assert_eq!(hits(&table, &[("a", "1"), ("c", "3")]), ["keyed>0:3"]);
    assert_eq!(hits(&table, &[("a", "1"), ("b", "2"), ("c", "3")]), ["keyed>0:2"]);
    assert_eq!(hits(&table, &[("a", "1"), ("b", ""), ("c", "3")]), ["keyed>0:3"], "empty is absent");
    assert_eq!(hits(&table, &[("a", "1")]), ["rest>0:rest"]);
}

#[test]
fn a_value_of_spaces_alone_is_absent_for_keys_globs_and_templates() {
    let [no_admin, none] = ["admin", "*"].map(|glob| Matcher::Not(Box::new(Matcher::Glob(Glob::new(glob)))));
    let table = table(vec![
        route("keyed", &[], by(&["b", "c"])),
        RouteSpec {
            matches: vec![("tenant".to_owned(), none)],
            ..route("without a tenant", &[], KeySpec::Route)
        },
        RouteSpec {
            matches: vec![("tenant".to_owned(), no_admin)],
            ..route("no admin", &[], by(&["tenant"]))
        },
    ]);
    for spaces in [" ", "   ", " \t "] {
        assert_eq!(hits(&table, &[("b", spaces), ("c", "3")]), ["keyed>0:3"], "{spaces:?}");
        assert_eq!(
            hits(&table, &[("b", spaces), ("tenant", spaces)]),
            ["without a tenant>0:without a tenant"]
        );
    }
    // Whether these can be sent is the exporter's to say.
    assert_eq!(hits(&table, &[("tenant", "admin ")]), ["no admin>0:admin "]);
    // HTTP cuts off no other space than these two.
    assert_eq!(hits(&table, &[("b", "\u{a0}")]), ["keyed>0:\u{a0}"]);
    assert_eq!(hits(&table, &[("b", "\u{3000}")]), ["keyed>0:\u{3000}"]);
}

#[test]
fn keys_are_text_integers_and_booleans() {
    let table = table(vec![route("keyed", &[], by(&["k"]))]);
    let key = |value| ask(&table, Signal::Traces, &resource_of(vec![any("k", value)])).unwrap().0;
    assert_eq!(key(Value::IntValue(i64::MIN)), ["keyed>0:-9223372036854775808"]);
    assert_eq!(key(Value::IntValue(0)), ["keyed>0:0"]);
    assert_eq!(key(Value::BoolValue(true)), ["keyed>0:true"]);
    assert_eq!(key(Value::StringValue("ü/..".to_owned())), ["keyed>0:ü/.."]);
    for absent in ["", "a\0b", "a\nb", "\u{7f}", "\u{85}"] {
        assert_eq!(key(Value::StringValue(absent.to_owned())), [""; 0], "{absent:?}");
    }
    assert_eq!(key(Value::StringValue("x".repeat(LONGEST_KEY))).len(), 1);
    assert_eq!(key(Value::StringValue("x".repeat(LONGEST_KEY + 1))), [""; 0]);
    assert_eq!(key(Value::DoubleValue(1.0)), [""; 0]);
    assert_eq!(key(Value::BytesValue(vec![97])), [""; 0]);
}

#[test]
fn an_attribute_twice_conflicts_only_with_another_value_and_where_a_route_looks_at_it() {
    let table = table(vec![route("keyed", &[("a", "*")], by(&["a"]))]);
    assert_eq!(hits(&table, &[("a", "1"), ("a", "1")]), ["keyed>0:1"]);
    assert_eq!(hits(&table, &[("a", "1"), ("z", "1"), ("z", "2")]), ["keyed>0:1"]);
    let conflicting = ask(&table, Signal::Logs, &resource(&[("a", "1"), ("z", "1"), ("a", "2")]));
    assert_eq!(conflicting, Err(Unroutable::Conflicting("a".to_owned())));
}

#[test]
fn a_key_of_parts_holds_each_under_its_name_and_is_absent_if_one_is() {
    let parts = KeySpec::Parts(vec![
        ("tenant".to_owned(), KeySource::Attributes(vec!["tenant".to_owned()])),
        ("service".to_owned(), KeySource::Attributes(vec!["service".to_owned(), "host".to_owned()])),
        (
            "signal".to_owned(),
            KeySource::Template(Template::parse("{{ signal | upper }}").expect("it is right")),
        ),
    ]);
    let mut fan_out = route("fan-out", &[], parts);
    fan_out.exporters = vec![1, 0];
    let table = table(vec![fan_out]);
    let key = |value: &str| format!("|tenant|acme|service|{value}|signal|LOGS");
    let expected = |value| [format!("fan-out>1:{}", key(value)), format!("fan-out>0:{}", key(value))];
    assert_eq!(hits(&table, &[("tenant", "acme"), ("host", "h1")]), expected("h1"));
    assert_eq!(hits(&table, &[("tenant", "acme"), ("host", "h1"), ("service", "shop")]), expected("shop"));
    assert_eq!(
        misses(&table, Signal::Logs, &[("tenant", "acme"), ("service", "")]),
        ["fan-out: it has no key: `service` is there but empty, `host` is absent"]
    );
}

#[test]
fn a_template_makes_the_key_of_what_is_there() {
    let template = Template::parse("{{ resource[\"a\"] }}-{{ signal }}").expect("it is right");
    let table = table(vec![route("keyed", &[], KeySpec::One(KeySource::Template(template)))]);
    assert_eq!(hits(&table, &[("a", "1")]), ["keyed>0:1-logs"]);
    assert_eq!(hits(&table, &[("b", "1")]), [""; 0]);
}

#[test]
fn every_route_asked_in_vain_says_why() {
    let mut metrics = route("metrics", &[], KeySpec::Route);
    metrics.signals = [false, true, false];
    let table = table(vec![
        metrics,
        route("prod", &[("env", "prod")], KeySpec::Route),
        route("keyed", &[], by(&["k"])),
        route("late", &[("zone", "*")], KeySpec::Route),
    ]);
    assert_eq!(
        misses(&table, Signal::Logs, &[("env", "test")]),
        [
            "metrics: it is not for logs",
            "prod: `env` is `test`, which does not match",
            "keyed: it has no key: `k` is absent",
            "late: `zone` is absent, which does not match",
        ]
    );
    assert_eq!(misses(&table, Signal::Metrics, &[]), [""; 0], "nobody is asked after a hit");
}

#[test]
fn a_condition_on_the_type_of_a_value_says_what_the_value_is() {
    let equals_five = Matcher::Equals(vec![ExactValue::Number(5)]);
    let regex = || Matcher::Regex(Regex::new("^x").unwrap());
    let mut all = ["equal", "matched", "missing", "all"].map(|name| route(name, &[], KeySpec::Route));
    let matchers = [
        equals_five,
        regex(),
        Matcher::Exists(false),
        Matcher::All(vec![
            Matcher::Exists(true),
            Matcher::Not(Box::new(Matcher::Glob(Glob::new("never")))),
            regex(),
        ]),
    ];
    for (route, matcher) in all.iter_mut().zip(matchers) {
        route.matches = vec![("k".to_owned(), matcher)];
    }
    let table = table(all.to_vec());
    let list = Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(1)) }] });
    for (value, seen) in [
        (Value::StringValue("5".to_owned()), "is the text `5`".to_owned()),
        (Value::StringValue(String::new()), "is the text ``".to_owned()),
        (Value::StringValue("a\u{1b}".to_owned()), "is the text `a\\u{1b}`".to_owned()),
        (Value::StringValue("y".repeat(600)), format!("is the text `{}…`", "y".repeat(200))),
        (Value::IntValue(6), "is the number `6`".to_owned()),
        (Value::DoubleValue(5.5), "is the number `5.5`".to_owned()),
        (Value::BoolValue(true), "is the boolean `true`".to_owned()),
        (Value::BytesValue(vec![1, 2]), "is bytes, 2 of them".to_owned()),
        (list, "is the list `[1]`".to_owned()),
    ] {
        let misses = misses_of(&table, Signal::Logs, &resource_of(vec![any("k", value)]));
        let expected = ["equal", "matched", "missing", "all"]
            .map(|name| format!("{name}: `k` {seen}, which does not match"));
        assert_eq!(misses, expected);
    }
    let absent = misses(&table, Signal::Logs, &[]);
    assert_eq!(
        absent[..2],
        ["equal: `k` is absent, which does not match", "matched: `k` is absent, which does not match"]
    );
}

#[test]
fn what_is_there_but_of_no_use_is_not_called_absent() {
    let template = Template::parse("{{ resource[\"k\"] }}-{{ resource[\"l\"] }}").expect("it is right");
    let table = table(vec![
        route("matched", &[("k", "*")], KeySpec::Route),
        route("keyed", &[], by(&["k", "l"])),
        route("made", &[], KeySpec::One(KeySource::Template(template))),
    ]);
    let long = "x".repeat(LONGEST_KEY + 1);
    for (value, why) in [
        (Value::StringValue(String::new()), "is there but empty"),
        (Value::StringValue(long), "is longer than 512 bytes"),
        (Value::StringValue("a\u{1}".to_owned()), "holds control characters"),
        (Value::DoubleValue(1.0), "is neither a string, an integer nor a boolean"),
        (Value::BytesValue(vec![]), "is neither a string, an integer nor a boolean"),
    ] {
        let resource = resource_of(vec![any("k", value)]);
        let misses = misses_of(&table, Signal::Logs, &resource);
        let expected = [
            format!("matched: `k` {why}, which does not match"),
            format!("keyed: it has no key: `k` {why}, `l` is absent"),
            format!("made: it has no key: `k` {why}, `l` is absent"),
        ];
        assert_eq!(misses, expected);
        let mut text = String::new();
        table.put_values(Signal::Logs, &entry_in(Signal::Logs, &request_of(&resource)), &mut text);
        assert_eq!(text, format!(" (k {why}, l absent)"));
    }
    let halves = "y".repeat(LONGEST_KEY / 2);
    let template = Template::parse("{{ resource[\"k\"] }}-{{ resource[\"l\"] }}").expect("it is right");
    let made = self::table(vec![route("made", &[], KeySpec::One(KeySource::Template(template)))]);
    let too_long = misses(&made, Signal::Logs, &[("k", &halves), ("l", &halves)]);
    assert_eq!(too_long, ["made: it has no key: it is longer than 512 bytes"]);
}

#[test]
fn a_route_is_for_its_tenants_and_its_receivers() {
    let mut acme = route(
        "acme",
        &[],
        KeySpec::One(KeySource::Template(Template::parse("{{ tenant.id }}").expect("it is right"))),
    );
    acme.tenants = Some(vec![Glob::new("acme"), Glob::new("acme-*")]);
    let mut outside = route("outside", &[], KeySpec::Route);
    outside.receivers = Some(vec!["otlp/outside".to_owned()]);
    outside.exporters = vec![0, 1];
    let table = table(vec![acme, outside]);
    let from = |receiver, tenant: Option<&str>, exporters| {
        let tenant = tenant.map(|id| self::tenant(id, &[]));
        let origin = EntryOrigin { receiver, tenant: tenant.as_ref(), exporters, request: None };
        ask_from(&origin, &table, Signal::Logs, &resource(&[])).expect("nothing conflicts").0
    };
    assert_eq!(from(Some("otlp"), Some("acme-1"), None), ["acme>0:\u{1}acme-1\u{1}acme-1"]);
    assert_eq!(from(Some("otlp"), Some("globex"), None), [""; 0]);
    assert_eq!(from(Some("otlp"), None, None), [""; 0]);
    let outside = ["outside>0:\u{1}globex\u{1}outside", "outside>1:\u{1}globex\u{1}outside"];
    assert_eq!(from(Some("otlp/outside"), Some("globex"), None), outside);
    assert_eq!(from(None, None, None), ["outside>0:outside", "outside>1:outside"], "it may be any receiver");
    assert_eq!(from(None, Some("globex"), Some(&[3])), ["outside>3:\u{1}globex\u{1}outside"]);
}

#[test]
fn a_key_reads_the_first_text_of_a_value_of_the_row_and_is_absent_without_it() {
    let template = Template::parse("{{ tenant.zone }}-{{ tenant.id }}").expect("it is right");
    let table = table(vec![route("zones", &[], KeySpec::One(KeySource::Template(template)))]);
    let asked = |values: &[(&str, &[&str])]| {
        let tenant = tenant("acme", values);
        let origin = EntryOrigin { tenant: Some(&tenant), ..EntryOrigin::default() };
        let hits = ask_from(&origin, &table, Signal::Logs, &resource(&[])).expect("nothing conflicts").0;
        (hits, misses_from(&origin, &table, Signal::Logs, &resource(&[])))
    };
    let key = |text: &str| vec![format!("zones>0:\u{1}acme\u{1}{text}")];
    assert_eq!(asked(&[("zone", &["eu", "us"])]).0, key("eu-acme"));
    for (value, why) in [
        (None, "the tenant's row has no value `zone`, which a template needs"),
        (Some("a\nb"), "it holds control characters"),
    ] {
        let values = value.as_ref().map(|value| ("zone", std::slice::from_ref(value)));
        let (hits, misses) = asked(values.as_slice());
        assert_eq!((hits, misses), (vec![], vec![format!("zones: it has no key: {why}")]));
    }
    assert_eq!(misses(&table, Signal::Logs, &[]), ["zones: it has no key: the entry is no tenant's"]);
    assert_eq!(
        table.missing(Signal::Logs),
        "no route takes these logs: routes look at the values `zone` of the tenant's row"
    );
}

#[test]
fn what_is_missing_is_told_by_the_attributes_that_routes_look_at() {
    let mut traces = route("traces", &[("t", "*")], KeySpec::Route);
    traces.signals = Signal::ALL.map(|signal| signal == Signal::Traces);
    let table = table(vec![traces, route("rest", &[("a", "*")], by(&["b"]))]);
    let missing = table.missing(Signal::Logs);
    assert!(missing.contains("`a`") && missing.contains("`b`") && !missing.contains("`t`"), "{missing}");
    assert!(table.missing(Signal::Traces).contains("`t`"));
}

#[test]
fn what_a_resource_without_a_route_has_is_shown_within_bounds() {
    let shown = |asked: &[&str], attributes: &[(&str, &str)]| {
        let table = table(vec![route("only", &[], by(asked))]);
        let mut text = String::new();
        let request = request_of(&resource(attributes));
        table.put_values(Signal::Logs, &entry_in(Signal::Logs, &request), &mut text);
        text
    };
    assert_eq!(shown(&["env", "zone"], &[("env", "test"), ("host", "h")]), " (env=`test`, zone absent)");
    let long = "ä".repeat(100);
    assert_eq!(shown(&["env"], &[("env", &long)]), format!(" (env=`{}…`)", "ä".repeat(64)));
    let many = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")];
    assert_eq!(shown(&many.map(|(name, _)| name), &many), " (a=`1`, b=`2`, c=`3`, d=`4`, …)");
}

/// A request of one entry of logs: its resource, and the attributes of each record.
fn logs(resource: &[(&str, &str)], records: &[&[(&str, &str)]]) -> Vec<u8> {
    let text = |(name, value): &(&str, &str)| any(name, Value::StringValue((*value).to_owned()));
    let record = |of: &&[(&str, &str)]| LogRecord {
        attributes: of.iter().map(text).collect(),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: records.iter().map(record).collect(), ..ScopeLogs::default() };
    let resource = Resource { attributes: resource.iter().map(text).collect(), ..Resource::default() };
    let entry = ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec()
}

fn by_record(record: &[&str], resource: &[&str]) -> KeySpec {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    KeySpec::One(KeySource::Records { record: names(record), resource: names(resource) })
}

/// The hits of each part of a request of logs.
fn hits_by_record(table: &RouteTable, request: &[u8]) -> Vec<Result<Vec<String>, String>> {
    let entry = entry_in(Signal::Logs, request);
    let parts =
        table.partition(Signal::Logs, &entry, &EntryOrigin::default(), &mut |_| true).expect("there is room");
    let hits = |entry: &Entry<'_>| {
        let mut hits = Vec::new();
        let hit = |hit: Hit<'_>| {
            let over = hit.overridden.map(|over| format!(" over {}", over.resource)).unwrap_or_default();
            hits.push(format!("{}>{}{over}", table.name(hit.route), hit.key));
            Ok(())
        };
        let origin = EntryOrigin::default();
        let routed =
            table.route::<Unroutable>(Signal::Logs, entry, &origin, &mut String::new(), hit, |_, _| {});
        routed.map(|_| hits).map_err(|error| error.to_string())
    };
    parts.unwrap_or_else(|| vec![entry]).iter().map(hits).collect()
}

/// The hits of a part that is routed.
fn hits_of(hits: &[&str]) -> Vec<String> {
    hits.iter().map(|hit| (*hit).to_owned()).collect()
}

#[test]
fn what_a_record_has_overrides_the_resource_and_what_is_of_no_use_does_not() {
    let table = table(vec![route("keyed", &[], by_record(&["p", "q"], &["p"]))]);
    let long = "x".repeat(LONGEST_KEY + 1);
    let records: &[&[(&str, &str)]] =
        &[&[("p", "1")], &[], &[("q", "2")], &[("p", "")], &[("p", &long), ("q", "0")], &[("p", "0")]];
    let request = logs(&[("p", "0")], records);
    // All but two end in the stream `0`: by the resource's, by `q`, and by their own.
    let expected =
        [Ok(hits_of(&["keyed>1 over 0"])), Ok(hits_of(&["keyed>0"])), Ok(hits_of(&["keyed>2 over 0"]))];
    assert_eq!(hits_by_record(&table, &request), expected);
}

#[test]
fn without_a_resource_attribute_only_the_records_count() {
    let table = table(vec![route("keyed", &[], by_record(&["p"], &[])), route("rest", &[], KeySpec::Route)]);
    let request = logs(&[("p", "0")], &[&[("p", "1")], &[]]);
    assert_eq!(hits_by_record(&table, &request), [Ok(hits_of(&["keyed>1"])), Ok(hits_of(&["rest>rest"]))]);
}

#[test]
fn a_condition_on_records_holds_for_the_resource_where_a_record_has_nothing() {
    let mut prod = route("prod", &[("zone", "*")], KeySpec::Route);
    prod.record_matches = vec![("env".to_owned(), Matcher::Glob(Glob::new("prod")))];
    let table = table(vec![prod, route("rest", &[], KeySpec::Route)]);
    let request = logs(&[("zone", "a"), ("env", "prod")], &[&[], &[("env", "test")], &[("env", "prod")]]);
    assert_eq!(hits_by_record(&table, &request), [Ok(hits_of(&["prod>prod"])), Ok(hits_of(&["rest>rest"]))]);
}

#[test]
fn a_condition_on_records_alone_holds_for_what_stands_on_them_whatever_the_resource_and_the_scope_have() {
    let alone = |name: &str, matcher| {
        let mut alone = route("alone", &[], KeySpec::Route);
        alone.record_alone_matches = vec![(name.to_owned(), matcher)];
        table(vec![alone, route("rest", &[], KeySpec::Route)])
    };
    let (taken, left) = (Ok(hits_of(&["alone>alone"])), Ok(hits_of(&["rest>rest"])));
    let request = logs(&[("env", "prod")], &[&[], &[("env", "test")], &[("env", "prod")]]);
    let prod = alone("env", Matcher::Glob(Glob::new("prod")));
    assert_eq!(hits_by_record(&prod, &request), [left.clone(), taken.clone()], "the first two go one way");
    let absent = alone("env", Matcher::Exists(false));
    assert_eq!(hits_by_record(&absent, &request), [taken, left]);
    assert!(prod.looks_at_records(Signal::Logs));
    assert_eq!(
        prod.missing(Signal::Logs),
        "no route takes these logs: routes look at the attributes `env` of records"
    );
}

#[test]
fn one_attribute_may_be_asked_for_on_records_alone_and_wherever_it_stands() {
    let mut both = route("both", &[], by_record(&["env"], &["env"]));
    both.record_alone_matches = vec![("env".to_owned(), Matcher::Exists(false))];
    let mut anywhere = route("anywhere", &[], KeySpec::Route);
    anywhere.record_matches = vec![("env".to_owned(), Matcher::Glob(Glob::new("prod")))];
    let table = table(vec![both, anywhere]);
    let request = logs(&[("env", "prod")], &[&[], &[("env", "prod")], &[("env", "test")]]);
    assert_eq!(
        hits_by_record(&table, &request),
        [Ok(hits_of(&["both>prod"])), Ok(hits_of(&["anywhere>anywhere"])), Ok(hits_of(&[]))]
    );
    assert_eq!(
        table.missing(Signal::Logs),
        "no route takes these logs: routes look at the attributes `env` of records and at the resource attributes `env`"
    );
    let mut text = String::new();
    table.put_values(Signal::Logs, &entry_in(Signal::Logs, &request), &mut text);
    assert_eq!(text, " (env=`prod`, env absent on the record, env absent on the record itself)");
}

#[test]
fn what_can_not_be_a_key_is_there_for_conditions_wherever_it_stands() {
    let there = |set: fn(&mut RouteSpec, Vec<(String, Matcher)>)| {
        let mut there = route("there", &[], KeySpec::Route);
        set(&mut there, vec![("a".to_owned(), Matcher::Exists(true))]);
        table(vec![there, route("rest", &[], KeySpec::Route)])
    };
    let long = "x".repeat(LONGEST_KEY + 1);
    let on_resource = logs(&[("a", &long)], &[&[]]);
    let on_record = logs(&[], &[&[("a", &long)], &[("a", "")]]);
    let (taken, left) = (Ok(hits_of(&["there>there"])), Ok(hits_of(&["rest>rest"])));
    let of_resource = there(|spec, matches| spec.matches = matches);
    let of_records = there(|spec, matches| spec.record_matches = matches);
    let alone = there(|spec, matches| spec.record_alone_matches = matches);
    for (table, request, expected) in [
        (&of_resource, &on_resource, &taken),
        (&of_resource, &on_record, &left),
        (&of_records, &on_resource, &taken),
        (&of_records, &on_record, &taken),
        (&alone, &on_resource, &left),
        (&alone, &on_record, &taken),
    ] {
        assert_eq!(hits_by_record(table, request), std::slice::from_ref(expected));
    }
}

#[test]
fn records_of_a_signal_are_only_told_apart_by_what_its_routes_look_at() {
    let mut traces = route("traces", &[], by_record(&["t"], &[]));
    traces.signals = Signal::ALL.map(|signal| signal == Signal::Traces);
    let table = table(vec![traces, route("logs", &[], KeySpec::Route)]);
    assert!(table.looks_at_records(Signal::Traces) && !table.looks_at_records(Signal::Logs));
    let request = logs(&[], &[&[("t", "1")], &[("t", "2")]]);
    assert_eq!(hits_by_record(&table, &request), [Ok(hits_of(&["logs>logs"]))]);
}

#[test]
fn records_that_conflict_with_themselves_are_not_routed_and_take_no_other_along() {
    let table = table(vec![route("keyed", &[], by_record(&["p"], &["p"]))]);
    let request = logs(&[], &[&[("p", "1")], &[("p", "1"), ("p", "2")]]);
    let conflicting = "the attribute `p` of its records occurs twice with different values".to_owned();
    assert_eq!(hits_by_record(&table, &request), [Ok(hits_of(&["keyed>1"])), Err(conflicting)]);
}

#[test]
fn what_is_missing_on_the_resource_and_there_on_the_first_record_is_told_with_what_to_write() {
    let shown = |table: &RouteTable, request: &[u8]| {
        let mut text = String::new();
        table.put_values(Signal::Logs, &entry_in(Signal::Logs, request), &mut text);
        text
    };
    let plain = table(vec![route("keyed", &[("p", "*")], by(&["p", "q"]))]);
    let (missing, there) = (logs(&[], &[&[("q", "1")], &[]]), logs(&[("q", "1")], &[&[("q", "2")]]));
    assert_eq!(
        shown(&plain, &missing),
        " (p absent, q absent; `q` is not on the resource; it is on the records: write `key: { record: q, resource: q }`)"
    );
    assert_eq!(shown(&plain, &there), " (p absent, q=`1`)", "what is on the resource is not missing");
    assert_eq!(
        plain.record_hints(Signal::Logs, &entry_in(Signal::Logs, &there))[0].to_string(),
        "`q` is `1` on the resource, which counted, and `2` on the first record: for records to count, write \
         `key: { record: q, resource: q }`"
    );
    let both = logs(&[], &[&[("p", "1")]]);
    assert!(
        shown(&plain, &both)
            .ends_with("write `match: { record: { p: … } }` and `key: { record: p, resource: p }`)")
    );
    let looking = table(vec![route("keyed", &[], by_record(&["p"], &["p"]))]);
    let without = logs(&[], &[&[("q", "1")]]);
    assert_eq!(shown(&looking, &without), " (p absent, p absent on the record)");
    assert_eq!(
        looking.missing(Signal::Logs),
        "no route takes these logs: routes look at the attributes `p` of records and at the resource attributes `p`"
    );
}

#[test]
fn routes_that_look_at_records_say_why_they_take_none() {
    let mut matching = route("matching", &[], KeySpec::Route);
    matching.record_matches = vec![("env".to_owned(), Matcher::Glob(Glob::new("prod")))];
    let mut alone = route("alone", &[], KeySpec::Route);
    alone.record_alone_matches = vec![("q".to_owned(), Matcher::Exists(true))];
    let table = table(vec![matching, alone, route("keyed", &[], by_record(&["p"], &["q"]))]);
    let request = logs(&[("q", ""), ("env", "prod")], &[&[("env", "test")]]);
    let mut misses = Vec::new();
    let entry = entry_in(Signal::Logs, &request);
    let miss = |at: usize, why: &dyn Fn() -> Miss| misses.push(format!("{}: {}", table.name(at), why()));
    let origin = EntryOrigin::default();
    let routed =
        table.route::<Unroutable>(Signal::Logs, &entry, &origin, &mut String::new(), |_| Ok(()), miss);
    assert_eq!(routed, Ok(false));
    assert_eq!(
        misses,
        [
            "matching: `env` is `test` on the record, which does not match",
            "alone: `q` is absent on the record, which does not match",
            "keyed: it has no key: `p` is absent on the record, `q` is there but empty on the resource",
        ]
    );
}

#[test]
fn patterns_are_much_work_in_long_values_and_little_in_those_of_ordinary_resources() {
    let named = |nth: usize| {
        let pattern = Matcher::Regex(regex::Regex::new(&format!("^tenant-{nth}-")).unwrap());
        RouteSpec { matches: vec![("service.name".to_owned(), pattern)], ..route("r", &[], KeySpec::Route) }
    };
    let table = RouteTable::new((0..300).map(named).collect(), Unrouted::Drop);
    let most = |value: &str| {
        let request = request_of(&resource(&[("service.name", value)]));
        table.most_matched(Signal::Logs, &request)
    };
    assert!(most(&"a".repeat(900_000)) > 300 * 900_000);
    assert!(most("tenant-7-shop") < 150_000);
    let without = RouteTable::new(vec![route("r", &[("service.name", "*")], KeySpec::Route)], Unrouted::Drop);
    let long = request_of(&resource(&[("service.name", &"a".repeat(900_000))]));
    assert_eq!(without.most_matched(Signal::Logs, &long), 0);
}
