//! `processors` that routes name.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::*;
use crate::otlp::{self, EditAction, EditMemory, EditedPart, NoTexts, Signal};
use crate::route::{TakenEntry, edited};

/// A configuration with these processors, of which the one route names `names`.
fn edits(names: &str, processors: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: }} }} }}\nexporters: {{ debug: }}\nroutes: [{{ {names}, exporters: [debug] }}]\n\
         processors:\n{processors}\n"
    )
}

fn resource(action: &str) -> String {
    edits("processors: [resource]", &format!("  resource: {{ attributes: [{action}] }}"))
}

fn records(rest: &str) -> String {
    edits(
        "processors: [attributes], signals: [logs]",
        &format!("  attributes: {{ actions: [{{ key: a, action: delete }}], {rest} }}"),
    )
}

#[test]
fn a_route_has_the_processors_that_it_names_in_its_order() {
    let yaml = edits(
        "processors: [attributes/b, resource/a]",
        "  resource/a: { attributes: [{ key: a, value: x, action: insert }, { key: b, action: DELETE }] }\n  attributes/b: \
         { actions: [{ pattern: '^c', action: Hash }], include_events: true }",
    );
    let compiled = good(&yaml);
    assert_eq!(compiled.warnings.len(), 0, "{:?}", compiled.warnings);
    let [first, second] = &compiled.routes[0].edits[..] else { panic!("two are named") };
    assert!(matches!(first.edit.of, EditedPart::Records { events: true, include: None, exclude: None }));
    assert!(matches!(first.edit.actions[..], [EditAction::Hash(_)]));
    assert!(matches!(second.edit.of, EditedPart::Resource));
    assert!(matches!(second.edit.actions[..], [EditAction::Write { .. }, EditAction::Delete(_)]));
}

#[test]
fn what_is_wrong_with_an_action_is_said_with_what_to_write() {
    for (action, expected) in [
        ("{ key: a }", "this says nothing of what is done with the attribute"),
        ("{ key: a, action: remove }", "is not a value of `action`"),
        ("{ action: delete }", "the action names no attribute (write `key: NAME`, or `pattern: EXPRESSION`)"),
        ("{ key: '', action: upsert, value: x }", "the action names no attribute (write `key: NAME`)"),
        (
            "{ key: a, action: insert }",
            "the action has no value (write `value: …`, or `from_attribute: NAME`)",
        ),
        (
            "{ key: a, action: insert, value: x, from_attribute: b }",
            "an action has a `value` or a `from_attribute`, not both",
        ),
        (
            "{ key: a, action: delete, value: x }",
            "`action: delete` takes no `value` (it takes `key` and `pattern`)",
        ),
        ("{ key: a, action: upsert, value: x, pattern: y }", "`action: upsert` takes no `pattern`"),
        ("{ key: a, action: hash, pattern: '(' }", "is not a regular expression"),
        ("{ key: a, action: extract }", "`action: extract` needs a `pattern`"),
        (
            "{ key: a, action: extract, pattern: '(x)' }",
            "each group of an `extract` has the name of an attribute",
        ),
        (
            "{ key: a, action: extract, pattern: 'x' }",
            "each group of an `extract` has the name of an attribute",
        ),
        ("{ key: a, action: convert }", "`action: convert` needs a `converted_type`"),
        ("{ key: a, action: convert, converted_type: bool }", "is not a value of `converted_type`"),
        (
            "{ key: a, action: insert, from_context: metadata.x }",
            "`from_context` is not available: what a request came with is not kept",
        ),
        ("{ key: a, action: insert, value: { b: c } }", "must be a single value, not a map"),
        ("{ key: a, action: insert, value: '{{ nope }}' }", "is not a template expression"),
        ("{ key: a, action: insert, value: ['{{ key }}'] }", "a list can't hold a template"),
        (
            "{ key: a, action: insert, value: '{{ tenant.id }}' }",
            "a processor reads a tenant, and there is no table",
        ),
        (
            "{ key: a, action: insert, value: '{{ key.zone }}' }",
            "the key of the route `route-1` has no part `zone`",
        ),
        ("{ kye: a, action: delete }", "did you mean `key`?"),
    ] {
        let said = said(&resource(action));
        assert!(said.iter().any(|line| line.contains(expected)), "{action}: {said:?}");
        assert!(
            said.len() == 1 || action.contains("pattern: '('") || action.contains("kye"),
            "{action}: {said:?}"
        );
    }
    for empty in ["  resource:", "  resource: {}", "  resource: { attributes: [] }"] {
        let said = said(&edits("processors: [resource]", empty));
        assert!(said[0].contains("without `attributes` nothing is changed"), "{said:?}");
    }
}

#[test]
fn a_processor_that_is_named_twice_is_run_twice() {
    let yaml = edits(
        "processors: [resource/env, resource/env]",
        "  resource/env: { attributes: [{ key: a, action: hash }] }",
    );
    assert_eq!(good(&yaml).routes[0].edits.len(), 2);
}

#[test]
fn a_processor_that_is_not_there_is_an_error_with_the_nearest_name() {
    let said =
        |names: &str| said(&edits(names, "  resource/env: { attributes: [{ key: a, action: delete }] }"));
    let nearest = said("processors: [resource/evn]");
    assert!(
        nearest
            .iter()
            .any(|line| line.contains("there is no processor `resource/evn` (did you mean `resource/env`?)")),
        "{nearest:?}"
    );
    let unused = said("name: all");
    assert!(
        unused[0].contains("warning: the processor `resource/env` has no effect: no route names it"),
        "{unused:?}"
    );
    let none =
        super::said(&MINIMAL.replace("exporters: [debug]", "exporters: [debug], processors: [resource]"));
    assert!(none.iter().any(|line| line.contains("there is no processor `resource`")), "{none:?}");
}

#[test]
fn a_pipelines_list_of_processors_can_be_a_routes() {
    let said = said(&edits(
        "processors: [memory_limiter, resource, batch]",
        "  resource: { attributes: [{ key: a, action: delete }] }\n  batch:\n  memory_limiter: { check_interval: 1s }",
    ));
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said.iter().all(|line| line.contains(" warning: ")), "{said:?}");
    let named = said.iter().filter(|line| line.starts_with("3:") && line.contains("has no effect: "));
    assert_eq!(named.count(), 2, "{said:?}");
}

#[test]
fn what_can_not_be_asked_of_a_routes_signals_is_an_error() {
    for (rest, expected) in [
        (
            "include: { match_type: strict, services: [a] }",
            "asks for `services`, which can't be asked of logs",
        ),
        (
            "exclude: { match_type: strict, metric_names: [a] }",
            "asks for `metric_names`, which can't be asked of logs",
        ),
        ("include: { match_type: strict, log_bodies: [a], span_names: [b] }", "asks for `span_names`"),
        ("include: { services: [a] }", "this does not say how it is compared"),
        ("include: { match_type: strict }", "nothing is asked here"),
        ("include: { match_type: glob, log_bodies: [a] }", "is not a value of `match_type`"),
        ("include: { match_type: regexp, log_bodies: ['('] }", "is not a regular expression"),
        ("include: { match_type: strict, attributes: [{ value: a }] }", "this names no attribute"),
        ("include: { match_type: strict, log_bodie: [a] }", "did you mean `log_bodies`?"),
        ("include: { match_type: expr, expressions: [a] }", "`expressions` is not available"),
    ] {
        let said = said(&records(rest));
        assert!(
            said.iter().any(|line| line.contains(" error: ") && line.contains(expected)),
            "{rest}: {said:?}"
        );
    }
    let kinds = said(&edits(
        "processors: [attributes], signals: [traces]",
        "  attributes: { actions: [{ key: a, action: delete }], include: { match_type: strict, span_kinds: [server] } }",
    ));
    assert!(kinds[0].contains("`SPAN_KIND_SERVER`"), "{kinds:?}");
    let all = said(&edits(
        "processors: [attributes]",
        "  attributes: { actions: [{ key: a, action: delete }], include: { match_type: strict, resources: [{ key: a }] } }",
    ));
    assert!(
        all[0].contains(
            "asks for `resources`, which can't be asked of metrics (write `signals: [traces, logs]`"
        ),
        "{all:?}"
    );
    assert_eq!(
        said(&records("include: { match_type: regexp, regexp: { cacheenabled: true }, log_bodies: [a] }"))
            .len(),
        1
    );
}

#[test]
fn values_are_of_the_types_that_yaml_gives_them() {
    let written = |value: &str| {
        let yaml = resource(&format!("{{ key: a, action: insert, value: {value} }}"));
        let loaded = load_with(&yaml, &|name| {
            Some(match name {
                "NUMBER" => "12".to_owned(),
                "BRACES" => "{{ key }}".to_owned(),
                _ => "text".to_owned(),
            })
        });
        let compiled = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let edit = compiled.routes[0].edits[0].edit.clone();
        let entry =
            edit.apply(Signal::Logs, b"", &NoTexts, &mut EditMemory::new(&mut |_| true)).unwrap().unwrap();
        let decoded = Resource::decode(otlp::resource(&entry));
        format!("{:?}", decoded.unwrap().attributes[0].value.clone().unwrap().value.unwrap())
    };
    for (value, expected) in [
        ("prod", "StringValue(\"prod\")"),
        ("'12'", "StringValue(\"12\")"),
        ("12", "IntValue(12)"),
        ("-0x10", "IntValue(-16)"),
        ("1.50", "DoubleValue(1.5)"),
        ("1e3", "DoubleValue(1000.0)"),
        ("-.inf", "DoubleValue(-inf)"),
        ("true", "BoolValue(true)"),
        ("'true'", "StringValue(\"true\")"),
        ("yes", "StringValue(\"yes\")"),
        ("1.2.3", "StringValue(\"1.2.3\")"),
        ("''", "StringValue(\"\")"),
        ("\"${env:NUMBER}\"", "IntValue(12)"),
        ("\"n${env:NUMBER}\"", "StringValue(\"n12\")"),
        ("\"1${env:NUMBER}\"", "StringValue(\"112\")"),
        ("\"${env:BRACES}\"", "StringValue(\"{{ key }}\")"),
    ] {
        assert_eq!(written(value), expected, "{value}");
    }
    assert!(
        written("[a, 1]").contains(
            "[AnyValue { value: Some(StringValue(\"a\")) }, AnyValue { value: Some(IntValue(1)) }]"
        )
    );
}

#[test]
fn values_of_actions_are_not_shown() {
    let yaml = edits(
        "processors: [resource/env]",
        "  resource/env: { attributes: [{ key: team.id, value: s3cret, action: upsert }, { key: a, default_value: s3cret, \
         from_attribute: b.c, action: insert }, { pattern: \"^env[.]\", action: delete }] }",
    );
    let shown = good(&yaml).redacted.to_string();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!format!("{:?}", good(&yaml).routes).contains("s3cret"));
    for harmless in ["resource/env", "team.id", "upsert", "b.c", "^env[.]", "delete"] {
        assert!(shown.contains(harmless), "{harmless}: {shown}");
    }
}

/// Attributes with the texts that they hold.
fn attributes(texts: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, text): &(&str, &str)| {
        let value = AnyValue { value: Some(Value::StringValue((*text).to_owned())) };
        KeyValue { key: (*key).to_owned(), value: Some(value), ..KeyValue::default() }
    };
    texts.iter().map(pair).collect()
}

/// Why a route with these processors can't edit logs that have these attributes on the resource and on the record.
fn why_not_edited(yaml: &str, resource: &[(&str, &str)], record: &[(&str, &str)]) -> Option<String> {
    let log_records = vec![LogRecord { attributes: attributes(record), ..LogRecord::default() }];
    let entry = ResourceLogs {
        resource: Some(Resource { attributes: attributes(resource), ..Resource::default() }),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    let bytes = entry.encode_to_vec();
    let entry = TakenEntry {
        signal: Signal::Logs,
        bytes: &bytes,
        resource: otlp::resource(&bytes),
        key: "k",
        tenant: None,
    };
    edited(&good(yaml).routes[0].edits, &entry, &mut |_| true).err().map(|error| error.to_string())
}

#[test]
fn a_template_is_filled_only_where_its_text_is_written() {
    let missing = Some("the resource has no attribute `owner`, which a template needs".to_owned());
    let value = "value: \"{{ resource['owner'] | lower }}\"";
    let of_resource = |action: &str| resource(&format!("{{ key: team, {value}, action: {action} }}"));
    let of_records = |action: &str| {
        let processors = format!("  attributes: {{ actions: [{{ key: team, {value}, action: {action} }}] }}");
        edits("processors: [attributes]", &processors)
    };
    for (action, without, with) in
        [("insert", &missing, &None), ("update", &None, &missing), ("upsert", &missing, &missing)]
    {
        let yaml = of_resource(action);
        assert_eq!(why_not_edited(&yaml, &[], &[("team", "a")]), *without, "{action} on the resource");
        assert_eq!(why_not_edited(&yaml, &[("team", "a")], &[]), *with, "{action} on the resource");
        assert_eq!(why_not_edited(&yaml, &[("owner", "A"), ("team", "a")], &[]), None, "{action}");
        let yaml = of_records(action);
        assert_eq!(why_not_edited(&yaml, &[("team", "a")], &[]), *without, "{action} on the record");
        assert_eq!(why_not_edited(&yaml, &[], &[("team", "a")]), *with, "{action} on the record");
    }
    let from = resource(&format!("{{ key: team, from_attribute: group, default_{value}, action: upsert }}"));
    assert_eq!(why_not_edited(&from, &[("group", "a")], &[]), None, "the default is not written");
    assert_eq!(why_not_edited(&from, &[], &[]), missing);
}

#[test]
fn routes_that_put_one_entry_into_one_stream_with_different_processors_are_an_error() {
    let said_of = |first: &str, second: &str| {
        said(&format!(
            "receivers: {{ otlp: {{ protocols: {{ http: }} }}, otlp/b: {{ protocols: {{ grpc: }} }} }}\nexporters: {{ debug: , file: \
             }}\nprocessors:\n  resource/a: {{ attributes: [{{ key: a, action: delete }}] }}\n  resource/b: {{ attributes: [{{ key: b, \
             action: delete }}] }}\nroutes:\n  - {{ exporters: [debug], continue: true, {first} }}\n  - {{ exporters: [debug, file], \
             processors: [resource/a], {second} }}\n  - {{ match: {{ x: y }}, processors: [resource/b], exporters: [file] }}\n"
        ))
        .into_iter()
        .filter(|line| line.contains("in one stream") || line.contains("error"))
        .collect::<Vec<_>>()
    };
    let expected = |severity: &str, verb: &str| {
        format!(
            "8:5 {severity}: what the routes `route-1` (line 7) and `route-2` both take {verb} in one stream of `debug`, where the \
             `processors` of the first alone count (give one of them another `key`, or both the same `processors`)"
        )
    };
    for (first, second) in [
        ("key: k", "key: k, match: { k: '*' }"),
        ("key: k", "key: [k], match: { k: '*' }"),
        ("key: k, processors: [resource/b]", "key: k, match: { k: '*' }"),
        ("key: k, match: { env: prod }", "key: k, match: { zone: eu }"),
        ("key: k, match: { env: 'p*' }", "key: k, match: { env: prod }"),
        ("key: k, match: { env: prod }", "key: k, match: { record: { env: test } }"),
        ("key: { k: k }, signals: [logs, traces]", "key: { k: k }, signals: [logs, metrics]"),
        ("key: k, receivers: [otlp, otlp/b]", "key: k, receivers: [otlp/b]"),
    ] {
        assert_eq!(said_of(first, second), [expected("error", "is")], "{first} | {second}");
    }
    let regexes = ("key: k, match: { env: { regex: '^p' } }", "key: k, match: { env: { regex: 'd$' } }");
    assert_eq!(said_of(regexes.0, regexes.1), [expected("warning", "may be")]);
    for (first, second) in [
        ("name: one", "name: two, match: { a: b }"),
        ("key: k", "key: l, match: { l: '*' }"),
        ("key: k, processors: [resource/a]", "key: k, match: { k: '*' }"),
        ("key: k, signals: [logs]", "key: k, signals: [metrics]"),
        ("key: k, match: { env: prod }", "key: k, match: { env: { not: prod } }"),
        ("key: k, match: { env: 'prod-*' }", "key: k, match: { env: [test, 'dev-*'] }"),
        ("key: k, match: { env: prod }", "key: k, match: { env: { exists: false } }"),
        ("key: k, receivers: [otlp]", "key: k, receivers: [otlp/b]"),
    ] {
        assert_eq!(said_of(first, second), [""; 0], "{first} | {second}");
    }
}
