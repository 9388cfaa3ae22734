//! A Collector's whole file: what its pipelines become, and what is said of the rest.

use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::*;
use crate::config::import::from_text;
use crate::config::{Imported, Severity};
use crate::otlp::Signal;
use crate::route::{EntryOrigin, Hit, RequestHeaders, RouteTable, RoutingKey, Unroutable};

/// A file with these exporters, connectors and pipelines.
fn file(connectors: &str, pipelines: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: , grpc: }} }} }}\n\
         exporters:\n  otlphttp/a: {{ endpoint: \"https://a.test\" }}\n  otlphttp/b: {{ endpoint: \"https://b.test\" }}\n  \
         otlp/c: {{ endpoint: \"c.test:4317\" }}\n  nop:\n{connectors}service:\n  pipelines:\n{pipelines}"
    )
}

fn imported(yaml: &str) -> Imported {
    from_text(yaml, "collector.yaml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// The routes of an import, without comments.
fn routes(yaml: &str) -> String {
    let imported = imported(yaml);
    assert_eq!(
        imported.problems.iter().filter(|one| one.severity == Severity::Error).count(),
        0,
        "{}",
        imported.yaml
    );
    let (_, rest) = imported.yaml.split_once("\nroutes:\n").expect("there are routes");
    rest.split("\n\n").next().unwrap().trim_end().to_owned()
}

/// Checks that a file runs as it is, and as it is imported with nothing to say of it.
fn runs(yaml: &str) -> Compiled {
    let imported = imported(yaml);
    assert_eq!(said(&imported.yaml), [""; 0], "{}", imported.yaml);
    runs_with_warnings(yaml)
}

/// Checks that a file runs as it is, and is the same as it is imported.
fn runs_with_warnings(yaml: &str) -> Compiled {
    let compiled = good(yaml);
    let imported = imported(yaml);
    let again = good(&imported.yaml);
    let shown =
        |compiled: &Compiled| format!("{:?}{:?}{:?}", compiled.routes, compiled.exporters, compiled.journal);
    assert_eq!(shown(&compiled), shown(&again), "{}", imported.yaml);
    compiled
}

#[test]
fn a_pipeline_is_a_route_for_its_signal() {
    let yaml = file(
        "",
        "    traces: { receivers: [otlp], exporters: [otlphttp/a, otlp/c] }\n    logs/x: { receivers: [otlp], processors: [], exporters: [otlphttp/b] }\n",
    );
    let compiled = runs(&yaml);
    assert_eq!(compiled.routes.len(), 2);
    assert_eq!(compiled.routes[0].signals, [true, false, false]);
    assert_eq!(compiled.routes[1].name, "logs/x");
    assert!(compiled.routes.iter().all(|route| !route.continues));
}

#[test]
fn pipelines_of_one_receiver_and_signal_each_get_everything() {
    let yaml = file(
        "",
        "    logs/a: { receivers: [otlp], exporters: [otlphttp/a] }\n    traces: { receivers: [otlp], exporters: [nop] }\n    \
         logs/b: { receivers: [otlp], exporters: [otlphttp/b] }\n    logs/c: { receivers: [otlp], exporters: [otlphttp/a] }\n",
    );
    let compiled = runs(&yaml);
    let continues: Vec<_> = compiled.routes.iter().map(|route| (&*route.name, route.continues)).collect();
    assert_eq!(continues, [("logs/a", true), ("traces", false), ("logs/b", true), ("logs/c", false)]);
}

#[test]
fn pipelines_of_other_receivers_leave_each_other_alone() {
    let yaml = file(
        "",
        "    logs/a: { receivers: [otlp], exporters: [otlphttp/a] }\n    logs/b: { receivers: [otlp/2], exporters: [otlphttp/b] }\n    \
         logs/c: { receivers: [otlp, otlp/2], exporters: [otlp/c] }\n    traces: { receivers: [otlp, otlp/2], exporters: [nop] }\n",
    )
    .replace("receivers: { otlp:", "receivers: { otlp/2: { protocols: { http: { endpoint: \"localhost:5318\" } } }, otlp:");
    let compiled = runs(&yaml);
    let of = |name: &str| compiled.routes.iter().find(|route| route.name == name).unwrap();
    assert_eq!(of("logs/a").receivers.as_deref(), Some(&["otlp".to_owned()][..]));
    assert!(of("logs/a").continues && of("logs/b").continues && !of("logs/c").continues);
    assert_eq!(of("traces").receivers, None);
}

#[test]
fn a_forward_connector_joins_pipelines() {
    let yaml = file(
        "connectors: { forward: , forward/2: }\n",
        "    logs/in: { receivers: [otlp], exporters: [forward, nop] }\n    logs/mid: { receivers: [forward], exporters: [forward/2] }\n    \
         logs/out: { receivers: [forward/2], exporters: [otlphttp/a] }\n    logs/also: { receivers: [forward], exporters: [otlphttp/b] }\n",
    );
    let compiled = runs(&yaml);
    let names: Vec<_> = compiled.routes.iter().map(|route| (&*route.name, route.continues)).collect();
    assert_eq!(names, [("logs/in", true), ("logs/out", true), ("logs/also", false)]);
}

#[test]
fn pipelines_in_a_circle_are_an_error() {
    let of = |pipelines: &str| said(&file("connectors: { forward: }\n", pipelines)).join("\n");
    let one = of("    logs: { receivers: [otlp, forward], exporters: [forward, nop] }\n");
    assert!(one.contains("error: the pipeline `logs` stands behind itself"), "{one}");
    let each = |name: usize| {
        format!("    logs/{name}: {{ receivers: [otlp, forward], exporters: [forward, nop] }}\n")
    };
    let two = of(&(0..2).map(each).collect::<String>());
    assert!(two.contains("error: the pipeline `logs/0` stands behind itself"), "{two}");
    let chain = said(&file(
        "connectors: { forward/1: , forward/2: }\n",
        "    logs/1: { receivers: [otlp, forward/2], exporters: [forward/1] }\n    logs/2: { receivers: [forward/1], exporters: [forward/2] }\n",
    ))
    .join("\n");
    assert!(chain.contains("error: the pipelines `logs/1` and `logs/2` stand in a circle"), "{chain}");
}

/// Pipelines behind each other, from each of which data goes on in as many ways.
fn levels(levels: usize, ways: usize, r#type: &str) -> String {
    let (mut connectors, mut pipelines) = ("connectors:\n".to_owned(), String::new());
    for level in 0..=levels {
        if level < levels {
            writeln!(connectors, "  {type}/{level}:").unwrap();
        }
        if level < levels && r#type == "routing" {
            let row = |way| {
                format!(
                    "      - {{ condition: 'attributes[\"a{level}\"] == \"{way}\"', pipelines: [logs/{}-{way}] }}\n",
                    level + 1
                )
            };
            connectors.push_str("    table:\n");
            connectors.extend((0..ways).map(row));
        }
        for way in 0..if level == 0 { 1 } else { ways } {
            let receiver = if level == 0 { "otlp".to_owned() } else { format!("{type}/{}", level - 1) };
            let exporter = if level == levels { "nop".to_owned() } else { format!("{type}/{level}") };
            let pipeline = format!("{{ receivers: [{receiver}], exporters: [{exporter}] }}");
            writeln!(pipelines, "    logs/{level}-{way}: {pipeline}").unwrap();
        }
    }
    file(&connectors, &pipelines)
}

#[test]
fn connectors_that_make_more_ways_than_can_be_followed_are_an_error_at_once() {
    for (depth, ways, kind, says) in [
        (20, 2, "forward", "more than 16 pipelines stand behind each other"),
        (20, 2, "routing", "more than 16 pipelines stand behind each other"),
        (15, 2, "forward", "the connectors make more than 10000 ways through the pipelines"),
        (15, 2, "routing", "the connectors make more than 10000 ways through the pipelines"),
        (5, 100, "forward", "the connectors make more than 10000 ways through the pipelines"),
        (12, 2, "routing", "the conditions become more than 1000 routes"),
        (2, 60, "routing", "the conditions become more than 1000 routes"),
    ] {
        let yaml = levels(depth, ways, kind);
        let text = said(&yaml).join("\n");
        assert_eq!(text.matches("error: ").count(), 1, "{text}");
        assert!(text.contains(says), "{says}: {text}");
        refuses(&yaml, says);
    }
    // What is within the bounds is followed.
    for (depth, ways, kind) in [(12, 2, "forward"), (9, 2, "routing"), (2, 20, "routing")] {
        let text = said(&levels(depth, ways, kind)).join("\n");
        assert!(!text.contains("stand behind each other") && !text.contains("more than"), "{text}");
    }
}

/// Checks that a file is imported with this error, and that what is imported is refused until somebody has looked at the route
/// that says so.
fn refuses(yaml: &str, says: &str) {
    let imported = imported(yaml);
    let is_listed = imported
        .problems
        .iter()
        .any(|problem| problem.severity == Severity::Error && problem.message.contains(says));
    assert!(is_listed, "{says}: {}", imported.yaml);
    let routes = routes_of(&imported);
    assert!(routes.contains("    not_imported: \""), "{says}: {routes}");
    let quoted = says.replace('"', "\\\"");
    assert!(routes.contains(&quoted), "{says}: {routes}");
    let text = said(&imported.yaml).join("\n");
    assert!(
        text.contains("error: a part of the Collector's file could not be taken for this route"),
        "{says}: {text}"
    );
}

#[test]
fn a_row_that_could_not_be_taken_is_refused_where_it_stood() {
    let row = |row: &str| {
        let rows = format!(
            "connectors:\n  routing:\n    default_pipelines: [logs/rest]\n    table:\n      - {{ {row} }}\n"
        );
        file(&rows, TARGETS)
    };
    let within = |condition: &str| {
        row(&format!("context: log, condition: '{condition}', pipelines: [logs/a, logs/b]"))
    };
    let grammar = "the condition has what no route can express: ";
    let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    let many: Vec<String> =
        (0..8).map(|n| format!("(attributes[\"a{n}\"] == \"1\" or attributes[\"b{n}\"] == \"1\")")).collect();
    for (condition, what) in [
        ("attributes[\"level\"] > 3", "`>`"),
        ("severity_number < 5", "`severity_number`"),
        ("attributes[\"a\"] == 5.5", "a number that is not whole"),
        ("attributes[\"a\"] == attributes[\"b\"]", "the comparison of two attributes"),
        ("1 == 1", "the comparison of two values"),
        ("attributes[\"a\"][\"b\"] == \"c\"", "a value within an attribute"),
        ("attributes[a] == \"c\"", "an attribute whose name is not a text"),
        ("HasPrefix(attributes[\"a\"], \"b\")", "`HasPrefix`"),
        ("IsMatch(attributes[\"a\"], attributes[\"b\"])", "what `IsMatch` matches with"),
        ("attributes[\"a\"]", "it ends too early"),
        ("attributes[\"a\"] == \"b\" \"c\"", "a text where none can stand"),
        ("attributes[\"a\"] == \"b\" 5", "a number where none can stand"),
        ("attributes[\"a\"] ~ \"b\"", "the character"),
        ("not not true", "`not not`"),
    ] {
        refuses(&within(condition), &format!("{grammar}{what}"));
    }
    refuses(&within("attributes[\"a"), "a text in the condition is never closed");
    refuses(&within(&deep), "the condition is nested more than 32 levels deep");
    refuses(&within(&many.join(" and ")), "the conditions become more than 64 routes");
    let of_scope = "the condition has what no route can express: `scope.attributes`";
    refuses(&within("scope.attributes[\"a\"] == \"1\""), of_scope);
    refuses(
        &within("span.attributes[\"a\"] == \"1\""),
        "the condition has what no route can express: `span.attributes`",
    );
    let fine = "condition: 'attributes[\"a\"] == \"1\"'";
    for (written, says) in [
        (
            "statement: 'delete_key(attributes, \"a\") where true', pipelines: [logs/a]".to_owned(),
            "the statement is not `route()`",
        ),
        (
            "statement: 'route() if true', pipelines: [logs/a]".to_owned(),
            "the condition has what no route can express: `if`",
        ),
        ("pipelines: [logs/a]".to_owned(), "a row of the table has no condition"),
        (fine.to_owned(), "a row of the table names no pipeline"),
        (format!("{fine}, pipelines: [logs/aa]"), "there is no pipeline `logs/aa`"),
        (format!("{fine}, pipelines: [log/a]"), "there is no pipeline `log/a`"),
        (
            format!("{fine}, context: body, pipelines: [logs/a]"),
            "the context of this row is none that routes know",
        ),
        (
            format!("{fine}, context: scope, pipelines: [logs/a]"),
            "the context of this row is none that routes know",
        ),
        (
            format!("{fine}, action: drop, pipelines: [logs/a]"),
            "the action of this row is none that routes know",
        ),
        (format!("{fine}, actoin: copy, pipelines: [logs/a]"), "unknown key `actoin` in a row of the table"),
    ] {
        refuses(&row(&written), says);
    }
    // It comes before the route that would have taken its data, and is for the exporters that it was to go to.
    let imported = imported(&within("attributes[\"level\"] > 3"));
    assert!(
        routes_of(&imported).starts_with(
            "  - name: logs/a\n    not_imported: \"the condition has what no route can express: `>`\"\n    signals: [logs]\n    \
             exporters: [otlphttp/a]\n"
        ),
        "{}",
        imported.yaml
    );
}

#[test]
fn a_way_that_could_not_be_taken_is_refused_in_an_import() {
    let table = "    table: [{ condition: 'attributes[\"a\"] == \"1\"', pipelines: [logs/a] }]\n";
    let with = |settings: &str| file(&format!("connectors:\n  routing:\n{table}{settings}"), TARGETS);
    refuses(&with("    default_pipelines: [logs/rset]\n"), "there is no pipeline `logs/rset`");
    refuses(
        &with("    default_pipeline: [logs/rest]\n"),
        "unknown key `default_pipeline` in a routing connector",
    );
    let processor =
        "processors: { resource/x: { attributes: [{ key: tenant, value: a, action: upsert }] } }\n";
    let edited = TARGETS.replace("{ receivers: [otlp],", "{ receivers: [otlp], processors: [resource/x],");
    refuses(
        &file(&format!("{processor}{TABLE}"), &edited),
        "the connector asks for `tenant`, which the processor `resource/x` before it changes",
    );
    let of =
        |connectors: &str, pipelines: &str| file(&format!("connectors: {{ {connectors} }}\n"), pipelines);
    refuses(
        &of("failover: ", "    logs: { receivers: [otlp], exporters: [failover, nop] }\n"),
        "the connector `failover` is not available",
    );
    refuses(
        &of("forward: ", "    logs: { receivers: [otlp], exporters: [forward, nop] }\n"),
        "no pipeline for `logs` receives from the connector `forward`",
    );
    refuses(
        &of(
            "forward: ",
            "    logs: { receivers: [otlp], exporters: [forward, nop] }\n    logs/x: { receivers: [forward], exporters: [] }\n",
        ),
        "the pipeline names no exporter",
    );
    refuses(
        &file(
            "",
            "    logs: { receivers: [otlp], exporters: [nop] }\n    log: { receivers: [otlp], exporters: [otlphttp/a] }\n",
        ),
        "the pipeline `log` is for no signal that is routed",
    );
    let said = said(&file("", "    log: { receivers: [otlp], exporters: [otlphttp/a] }\n")).join("\n");
    assert!(said.contains("(did you mean `logs`?)"), "{said}");
    // Conditions of two connectors, of which the second is asked for what the first leaves.
    let mut rows = String::new();
    for n in 0..8 {
        let condition = format!("attributes[\"a{n}\"] == \"1\" and attributes[\"b{n}\"] == \"1\"");
        writeln!(rows, "      - {{ condition: '{condition}', pipelines: [logs/a] }}").unwrap();
    }
    let two = format!(
        "connectors:\n  routing:\n    table:\n{rows}    default_pipelines: [logs/rest]\n  forward:\n"
    );
    let behind = TARGETS.replace(
        "logs/a: { receivers: [routing], exporters: [otlphttp/a]",
        "logs/a: { receivers: [routing], exporters: [forward/2]",
    );
    let two = two.replace("  forward:", "  routing/2:\n    table: [{ condition: 'attributes[\"z\"] == \"1\"', pipelines: [logs/z] }]\n  forward/2:");
    let behind = format!(
        "{behind}    logs/y: {{ receivers: [forward/2], exporters: [routing/2] }}\n    logs/z: {{ receivers: [routing/2], exporters: [otlphttp/a] }}\n"
    );
    refuses(&file(&two, &behind), "the conditions become more than 64 routes");
}

const TABLE: &str = "\
connectors:
  routing:
    default_pipelines: [logs/rest]
    table:
      - condition: attributes[\"tenant\"] == \"acme\" or attributes[\"tenant\"] == \"globex\"
        pipelines: [logs/a]
      - statement: route() where IsMatch(resource.attributes[\"env\"], \"^prod\") and attributes[\"zone\"] != nil
        pipelines: [logs/b, logs/a]
";

const TARGETS: &str = "    \
    logs/in: { receivers: [otlp], exporters: [routing] }
    logs/a: { receivers: [routing], exporters: [otlphttp/a] }
    logs/b: { receivers: [routing], exporters: [otlphttp/b] }
    logs/rest: { receivers: [routing], exporters: [nop] }
";

#[test]
fn the_first_row_of_a_routing_connector_that_matches_takes_all() {
    let yaml = file(TABLE, TARGETS);
    runs(&yaml);
    assert_eq!(
        routes(&yaml),
        "  - name: logs/a\n    match:\n      tenant: [acme, globex]\n    signals: [logs]\n    key: \"{{ 'logs/a' }}\"\n    exporters: [otlphttp/a]\n  \
         - name: logs/b\n    match:\n      env:\n        regex: \"^prod\"\n      zone:\n        exists: true\n    signals: [logs]\n    exporters: [otlphttp/b]\n    continue: true\n  \
         - name: logs/a-2\n    match:\n      env:\n        regex: \"^prod\"\n      zone:\n        exists: true\n    signals: [logs]\n    key: \"{{ 'logs/a' }}\"\n    exporters: [otlphttp/a]\n  \
         - name: logs/rest\n    signals: [logs]\n    exporters: [nop]"
    );
}

/// The exporters that an entry goes to, in the order of their names, whose resource has these attributes.
fn targets(compiled: &Compiled, attributes: &[(&str, &str)]) -> Vec<String> {
    targets_of(compiled, attributes, &[], &[])
}

/// The same of one whose only record has these, in a request with these headers.
fn targets_of(
    compiled: &Compiled,
    attributes: &[(&str, &str)],
    record: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Vec<String> {
    let shown = |(exporter, key): (String, RoutingKey)| {
        let key = if key.parts().count() > 0 { format!(" {key}") } else { String::new() };
        format!("{exporter}{key}")
    };
    streams_of(compiled, attributes, record, headers).into_iter().map(shown).collect()
}

/// The same as the exporters with the keys of their streams.
fn streams_of(
    compiled: &Compiled,
    attributes: &[(&str, &str)],
    record: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Vec<(String, RoutingKey)> {
    let all = |attributes: &[(&str, &str)]| {
        let pair = |(key, value): &(&str, &str)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(Value::StringValue((*value).to_owned())) }),
            ..KeyValue::default()
        };
        attributes.iter().map(pair).collect()
    };
    let record = LogRecord { attributes: all(record), ..LogRecord::default() };
    let entry = ResourceLogs {
        resource: Some(Resource { attributes: all(attributes), ..Resource::default() }),
        scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    let request = ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec();
    let entry = crate::otlp::split(Signal::Logs, &request).unwrap().entries.remove(0);
    let table = RouteTable::new(compiled.routes.clone(), compiled.unrouted);
    let name = |text: &str| text.parse::<http::HeaderName>().unwrap();
    let head = headers.iter().map(|(header, value)| (name(header), value.parse().unwrap())).collect();
    let headers = RequestHeaders::of(table.headers(), &head);
    let origin = EntryOrigin { request: Some(&headers), ..EntryOrigin::default() };
    let mut found = Vec::new();
    let hit = |hit: Hit<'_>| {
        let key = crate::route::RoutingKey::written(hit.key);
        found.push((compiled.exporters[hit.exporter].0.to_string(), key));
        Ok(())
    };
    let routed = table.route::<Unroutable>(Signal::Logs, &entry, &origin, &mut String::new(), hit, |_, _| {});
    routed.unwrap();
    found.sort();
    found
}

#[test]
fn what_stands_behind_a_choice_gets_everything_all_the_same() {
    // Two connectors, of which each decides about all data.
    let second = "  routing/2:\n    table:\n      - { condition: 'attributes[\"b\"] == \"1\"', pipelines: [logs/x] }\n      - { condition: 'attributes[\"c\"] == \"1\"', pipelines: [logs/y] }\n    default_pipelines: [logs/z]\n";
    let first = "connectors:\n  routing/1:\n    table:\n      - { condition: 'attributes[\"a\"] == \"1\"', pipelines: [logs/u] }\n      - { condition: 'attributes[\"b\"] == \"1\"', pipelines: [logs/v] }\n";
    let exporters = "  nop/u:\n  nop/v:\n  nop/x:\n  nop/y:\n  nop/z:\n";
    let pipelines = "    \
        logs/u: { receivers: [routing/1], exporters: [nop/u] }
    logs/v: { receivers: [routing/1], exporters: [nop/v] }
    logs/x: { receivers: [routing/2], exporters: [nop/x] }
    logs/y: { receivers: [routing/2], exporters: [nop/y] }
    logs/z: { receivers: [routing/2], exporters: [nop/z] }
";
    let yaml = file(
        &format!("{exporters}{first}{second}"),
        &format!("    logs/in: {{ receivers: [otlp], exporters: [routing/1, routing/2, nop] }}\n{pipelines}"),
    );
    let compiled = runs(&yaml);
    for (attributes, expected) in [
        (&[][..], &["nop", "nop/z"][..]),
        (&[("a", "1")], &["nop", "nop/u", "nop/z"]),
        (&[("a", "1"), ("b", "1")], &["nop", "nop/u", "nop/x"]),
        (&[("b", "1"), ("c", "1")], &["nop", "nop/v", "nop/x"]),
        (&[("c", "1")], &["nop", "nop/y"]),
        (&[("a", "2"), ("c", "2")], &["nop", "nop/z"]),
    ] {
        assert_eq!(targets(&compiled, attributes), expected, "{attributes:?}");
    }
}

#[test]
fn a_choice_behind_a_choice_takes_what_the_first_has_given_it_and_no_more() {
    let connectors = "  nop/u:\n  nop/v:\n  nop/w:\nconnectors:\n  routing/1:\n    table: [{ condition: 'attributes[\"a\"] == \"1\"', pipelines: [logs/mid] }]\n    default_pipelines: [logs/w]\n  \
                      routing/2:\n    table: [{ condition: 'attributes[\"b\"] == \"1\"', pipelines: [logs/u] }]\n";
    let yaml = file(
        connectors,
        "    logs/in: { receivers: [otlp], exporters: [routing/1] }\n    logs/mid: { receivers: [routing/1], exporters: [routing/2] }\n    \
         logs/u: { receivers: [routing/2], exporters: [nop/u] }\n    logs/w: { receivers: [routing/1], exporters: [nop/w] }\n",
    );
    let yaml = yaml.replace("  nop/v:\n", "");
    let compiled = runs(&yaml);
    assert_eq!(targets(&compiled, &[("a", "1"), ("b", "1")]), ["nop/u"]);
    // It is for the second one, which has nothing for it.
    assert_eq!(targets(&compiled, &[("a", "1")]), [""; 0]);
    assert_eq!(targets(&compiled, &[("b", "1")]), ["nop/w"]);
}

#[test]
fn a_table_may_have_all_rows_that_match_or_copies() {
    let rows = "      - { condition: 'attributes[\"a\"] == \"1\"', pipelines: [logs/a] }\n      - { condition: 'attributes[\"b\"] == \"1\"', pipelines: [logs/b] }\n";
    let all = format!(
        "connectors:\n  routing:\n    match_once: false\n    default_pipelines: [logs/rest]\n    table:\n{rows}"
    );
    let compiled = runs(&file(&all, TARGETS));
    assert_eq!(targets(&compiled, &[("a", "1"), ("b", "1")]), ["otlphttp/a", "otlphttp/b"]);
    assert_eq!(targets(&compiled, &[("b", "1")]), ["otlphttp/b"]);
    assert_eq!(targets(&compiled, &[]), ["nop"]);
    let once = runs(&file(&all.replace("match_once: false", "match_once: true"), TARGETS));
    assert_eq!(targets(&once, &[("a", "1"), ("b", "1")]), ["otlphttp/a"]);
    let copy = all.replace("    match_once: false\n", "").replacen(
        "pipelines: [logs/a]",
        "action: copy, pipelines: [logs/a]",
        1,
    );
    let compiled = runs(&file(&copy, TARGETS));
    assert_eq!(targets(&compiled, &[("a", "1"), ("b", "1")]), ["otlphttp/a", "otlphttp/b"]);
    assert_eq!(targets(&compiled, &[("a", "1")]), ["nop", "otlphttp/a"]);
}

#[test]
fn a_condition_that_routes_cant_express_is_an_error_at_its_place() {
    let connectors = "connectors:\n  routing:\n    table:\n      - condition: severity_number < 9\n        context: log\n        pipelines: [logs/a]\n";
    let said = said(&file(
        connectors,
        TARGETS.replace("    logs/rest: { receivers: [routing], exporters: [nop] }\n", "").as_str(),
    ));
    assert!(
        said.iter().any(|line| line.starts_with("10:20 error: the condition has what no route can express: `severity_number` (compare attributes by")),
        "{said:?}"
    );
}

#[test]
fn a_row_for_another_signal_is_none_of_this_one() {
    let connectors = "connectors:\n  routing:\n    default_pipelines: [logs/a, traces/a]\n    table:\n      - { context: span, condition: 'attributes[\"a\"] == \"1\"', pipelines: [traces/a] }\n";
    let pipelines = "    logs: { receivers: [otlp], exporters: [routing] }\n    logs/a: { receivers: [routing], exporters: [nop] }\n    traces/a: { receivers: [routing], exporters: [nop] }\n";
    runs(&file(connectors, pipelines));
}

#[test]
fn a_connector_that_asks_for_what_a_processor_before_it_changes_is_an_error() {
    let connectors = format!(
        "processors: {{ resource/x: {{ attributes: [{{ key: tenant, value: a, action: upsert }}] }} }}\n{TABLE}"
    );
    let pipelines = TARGETS.replace("{ receivers: [otlp],", "{ receivers: [otlp], processors: [resource/x],");
    let said = said(&file(&connectors, &pipelines));
    assert!(
        said.iter().any(|line| line
            .contains("the connector asks for `tenant`, which the processor `resource/x` before it changes")),
        "{said:?}"
    );
}

#[test]
fn other_connectors_receivers_and_exporters_are_errors_that_name_them() {
    let yaml = file(
        "  kafka: {}\nconnectors: { spanmetrics: }\n",
        "    traces: { receivers: [otlp, jaeger], exporters: [otlphttp/a, kafka, spanmetrics] }\n    metrics: { receivers: [spanmetrics], exporters: [otlphttp/a] }\n",
    )
    .replace("receivers: {", "receivers: { jaeger: , zipkin: ,");
    let text = said(&yaml).join("\n");
    for part in [
        "error: the receiver `jaeger` is not available: Sluice receives OTLP alone (keep a Collector in front that sends this on as OTLP, and remove it here)",
        "warning: the receiver `zipkin` has no effect: no pipeline names it",
        "error: the exporter `kafka` is not available: Sluice sends OTLP, writes files and prints (let a Collector behind this one send it on, and remove it here)",
        "error: the connector `spanmetrics` is not available: ",
        "warning: the exporter `otlphttp/b` has no effect: no pipeline names it",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // Receivers and exporters are left out of an import. What is left can be run once the rest has been looked at.
    refuses(&yaml, "the connector `spanmetrics` is not available");
    let imported = imported(&yaml.replace(", spanmetrics]", "]").replace("[spanmetrics]", "[otlp]"));
    assert!(
        imported.yaml.contains("# - line 1: the receiver `jaeger` is not available"),
        "{}",
        imported.yaml
    );
    good(&imported.yaml);
}

#[test]
fn a_processor_that_protects_stays_in_an_import_so_that_it_is_not_run_without() {
    let yaml = file(
        "processors: { redaction/cards: , batch: }\n",
        "    logs: { receivers: [otlp], processors: [batch, redaction/cards], exporters: [nop] }\n",
    );
    let text = said(&yaml).join("\n");
    assert!(text.contains("error: the processor `redaction/cards` is not available"), "{text}");
    assert!(text.contains("warning: the processor `batch` has no effect"), "{text}");
    let imported = imported(&yaml);
    assert!(imported.yaml.contains("redaction/cards"), "{}", imported.yaml);
    assert!(load(&imported.yaml).is_err());
    assert!(!routes_of(&imported).contains("batch"), "{}", imported.yaml);
}

#[test]
fn processors_that_are_run_are_named_by_the_routes_of_their_pipelines_and_of_those_behind() {
    let yaml = file(
        "processors:\n  resource/env: { attributes: [{ key: env, value: prod, action: upsert }] }\n  attributes/pii: { actions: [{ key: user, action: delete }] }\n  \
         attributes/unused: { actions: [{ key: user, action: delete }] }\n  batch:\nconnectors: { forward: }\n",
        "    logs/in: { receivers: [otlp], processors: [batch, resource/env], exporters: [forward, nop] }\n    \
         logs/out: { receivers: [forward], processors: [attributes/pii], exporters: [otlphttp/a] }\n",
    );
    let compiled = runs(&yaml);
    let edits: Vec<_> = compiled.routes.iter().map(|route| (&*route.name, route.edits.len())).collect();
    assert_eq!(edits, [("logs/in", 1), ("logs/out", 2)]);
    let said = said(&yaml);
    assert!(
        said.iter().any(|line| line.contains("warning: the processor `attributes/unused` has no effect")),
        "{said:?}"
    );
    assert!(routes(&yaml).contains("processors: [resource/env, attributes/pii]"), "{}", routes(&yaml));
}

fn routes_of(imported: &Imported) -> &str {
    imported.yaml.split_once("\nroutes:\n").unwrap().1
}

#[test]
fn a_queue_on_disk_becomes_a_journal() {
    let yaml = file(
        "extensions: { file_storage/q: { directory: /var/lib/q, fsync: true } }\n",
        "    logs: { receivers: [otlp], exporters: [otlphttp/a] }\n  extensions: [file_storage/q]\n",
    )
    .replace("\"https://a.test\" }", "\"https://a.test\", sending_queue: { storage: file_storage/q } }");
    let compiled = runs(&yaml);
    let journal = compiled.journal.unwrap();
    assert_eq!(journal.directory, std::path::Path::new("/var/lib/q/journal"));
    assert_eq!(journal.sync, crate::journal::SyncPolicy::Always);
    // One that is written wins.
    let own = format!("{yaml}journal: {{ directory: ./mine }}\n");
    assert_eq!(good(&own).journal.unwrap().directory, std::path::Path::new("./mine"));
    // Of another kind, there is nothing like it.
    let other = yaml.replace("file_storage/q", "db_storage");
    assert!(
        said(&other).iter().any(|line| line.contains("`storage` is not available")),
        "{:?}",
        said(&other)
    );
}

#[test]
fn extensions_for_health_and_authentication_are_taken() {
    let yaml = file(
        "extensions:\n  health_check: { endpoint: \"127.0.0.1:13134\" }\n  pprof:\n  zpages:\n  basicauth/up: { client_auth: { username: a, password: \"${env:P:-x}\" } }\n  bearertokenauth/unused: { token: x }\n",
        "    logs: { receivers: [otlp], exporters: [otlphttp/a] }\n  extensions: [health_check, pprof, basicauth/up, bearertokenauth/unused]\n",
    )
    .replace("\"https://a.test\" }", "\"https://a.test\", auth: { authenticator: basicauth/up } }");
    let compiled = runs(&yaml);
    assert_eq!(compiled.health, Some("127.0.0.1:13134".parse().unwrap()));
    let text = said(&yaml).join("\n");
    assert!(
        text.contains("warning: the extension `pprof` has no effect: metrics and API are `admin:`"),
        "{text}"
    );
    assert!(!text.contains("zpages"), "it is not started: {text}");
    // By default it is where the Collector's is.
    let default = yaml.replace("health_check: { endpoint: \"127.0.0.1:13134\" }", "health_check:");
    assert_eq!(good(&default).health.unwrap().port(), 13133);
}

#[test]
fn telemetry_of_the_collector_is_taken_where_there_is_something_like_it() {
    let with = |telemetry: &str| {
        file("", &format!("    logs: {{ receivers: [otlp], exporters: [nop] }}\n  telemetry: {telemetry}\n"))
    };
    let of = |telemetry: &str| {
        let said = said(&with(telemetry));
        said.into_iter().filter(|line| !line.contains("no pipeline names it")).collect::<Vec<_>>().join("\n")
    };
    for silent in [
        "{}",
        "{ logs: { level: INFO } }",
        "{ metrics: { address: \"localhost:8888\" } }",
        "{ metrics: { level: detailed } }",
    ] {
        assert_eq!(of(silent), "", "{silent}");
    }
    assert_eq!(
        good(&with("{ metrics: { address: \"127.0.0.1:8899\" } }")).admin.unwrap().endpoint.port(),
        8899
    );
    assert!(of("{ logs: { level: debug } }").contains("`logs` has no effect: `--log-level`"));
    assert!(
        of("{ metrics: { address: \"0.0.0.0:8888\" } }")
            .contains("`metrics` has no effect: `/metrics` of `health`")
    );
    assert!(of("{ traces: { level: basic } }").contains("`traces` has no effect"));
}

#[test]
fn a_file_exporter_writes_into_a_directory_and_deletes_nothing_that_a_collector_keeps() {
    let of = |block: &str| {
        let yaml =
            file(&format!("  file/x: {block}\n"), "    logs: { receivers: [otlp], exporters: [file/x] }\n");
        let compiled = good(&yaml);
        let ExporterKind::File(file) = &compiled.exporters[0].1.kind else { panic!("{compiled:?}") };
        runs(&yaml);
        (file.path.display().to_string(), file.max_file_size >> 20, file.max_backups)
    };
    assert_eq!(of("{ path: /data/out.json }"), ("/data/out".to_owned(), 64, 0));
    assert_eq!(of("{ path: ./out.d/x, rotation: { max_backups: 3 } }"), ("./out.d/x".to_owned(), 100, 3));
    let yaml = file(
        "  file/x: { path: /a, format: proto }\n",
        "    logs: { receivers: [otlp], exporters: [file/x] }\n",
    );
    assert!(
        said(&yaml).iter().any(|line| line.contains("`format: proto` is not available")),
        "{:?}",
        said(&yaml)
    );
}

#[test]
fn the_logging_exporter_of_old_is_debug() {
    let yaml = file(
        "  logging/x: { loglevel: debug }\n",
        "    logs: { receivers: [otlp], exporters: [logging/x] }\n",
    );
    let compiled = runs(&yaml);
    assert_eq!(&*compiled.exporters[0].0, "debug/x");
    assert!(matches!(&compiled.exporters[0].1.kind, ExporterKind::Debug(debug) if debug.detailed));
}

#[test]
fn headers_that_are_written_are_set_and_others_left_as_they_are() {
    let of = |headers: &str, written: &str| {
        let yaml = file(
            &format!("extensions: {{ headers_setter: {{ headers: {headers} }} }}\n"),
            "    logs: { receivers: [otlp], exporters: [otlphttp/a] }\n  extensions: [headers_setter]\n",
        )
        .replace(
            "\"https://a.test\" }",
            &format!("\"https://a.test\", headers: {written}, auth: {{ authenticator: headers_setter }} }}"),
        );
        let compiled = runs(&yaml);
        let ExporterKind::OtlpHttp(http) = &compiled.exporters[0].1.kind else { panic!() };
        let shown = |(name, value): &(http::HeaderName, crate::export::SecretTemplate)| {
            (name.to_string(), value.0.as_text().unwrap().to_string())
        };
        let mut headers: Vec<_> = http.upstream.headers.iter().map(shown).collect();
        headers.sort();
        headers
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(of("[{ key: X-Org, value: a }]", "{}"), [pair("x-org", "a")]);
    assert_eq!(of("[{ key: X-Org, value: a }]", "{ x-org: b, y: c }"), [pair("x-org", "a"), pair("y", "c")]);
    assert_eq!(of("[{ action: insert, key: X-Org, value: a }]", "{ x-org: b }"), [pair("x-org", "b")]);
    assert_eq!(of("[{ action: update, key: X-Org, value: a }]", "[{ name: y, value: b }]"), [pair("y", "b")]);
    assert_eq!(of("[{ action: delete, key: Y }]", "[{ name: y, value: b }]"), []);
}

#[test]
fn an_import_keeps_variables_and_shows_none_of_their_values() {
    let yaml = file("", "    logs: { receivers: [otlp], exporters: [otlphttp/a] }\n").replace(
        "\"https://a.test\" }",
        "\"${env:URL}\", headers: { Authorization: \"Bearer ${env:HOME}\" } }",
    );
    let imported = imported(&yaml);
    assert!(imported.yaml.contains("endpoint: \"${env:URL}\""), "{}", imported.yaml);
    assert!(imported.yaml.contains("\"Bearer ${env:HOME}\""), "{}", imported.yaml);
    assert!(!imported.yaml.contains("placeholder"), "{}", imported.yaml);
}

/// A file with a row for each condition, which leads to `logs/a`.
fn with_rows(conditions: &[&str]) -> String {
    let mut rows = "connectors:\n  routing:\n    default_pipelines: [logs/rest]\n    table:\n".to_owned();
    for condition in conditions {
        writeln!(rows, "      - {{ condition: '{condition}', pipelines: [logs/a] }}").unwrap();
    }
    file(&rows, TARGETS)
}

#[test]
fn an_import_holds_for_what_the_file_itself_holds_for_whatever_variables_are() {
    let values = [None, Some("dev"), Some("prod"), Some(""), Some("$5"), Some("p-1"), Some("x")];
    for conditions in [
        &[r#"attributes["a"] == "${env:X}" and attributes["a"] != "dev""#][..],
        &[r#"attributes["a"] == "prod" and attributes["a"] != "${env:X}""#],
        &[r#"attributes["a"] == "${env:X}" and attributes["a"] == "dev""#],
        &[
            r#"(attributes["a"] == "${env:X}" or attributes["a"] == 5) and (attributes["a"] == "dev" or attributes["a"] == "")"#,
        ],
        &[r#"attributes["a"] == "${env:X}" and IsMatch(attributes["a"], "^p")"#],
        &[r#"attributes["a"] == "prod" and IsMatch(attributes["a"], "${env:X}")"#],
        &[r#"attributes["a"] == "prod" and not IsMatch(attributes["a"], "${env:X}")"#],
        &[r#"attributes["a"] != "${env:X}" and attributes["a"] == "${env:X}-1""#],
        &[r#"not IsMatch(attributes["a"], "${env:X}") and attributes["a"] != 5"#],
        &[r#"IsMatch(attributes["a"], "${env:X}") and attributes["a"] != "dev""#],
        &[r#"attributes["a"] != "${env:X}" and attributes["a"] != 5"#],
        &[r#"attributes["a"] == "${env:X}" or attributes["a"] == 5"#],
        &[r#"attributes["a"] == "${env:X}""#],
        &[r#"IsMatch(attributes["a"], "${env:X}")"#],
        &[r#"attributes["a"] == "$$5" and IsMatch(attributes["a"], "^\\$$5$")"#],
        &[r#"attributes["a"] == "$$5" and not IsMatch(attributes["a"], "^..$")"#],
        &[r#"attributes["a"] == "$$5" and attributes["a"] == "$5""#],
        &[r#"attributes["a"] == "${env:X}""#, r#"attributes["a"] == "dev""#],
    ] {
        let yaml = with_rows(conditions);
        let imported = imported(&yaml).yaml;
        for x in ["dev", "prod", "", "^d", "p"] {
            let env = |name: &str| (name == "X").then(|| x.to_owned());
            let [itself, again] = [&yaml, &imported].map(|yaml| {
                load_with(yaml, &env).unwrap_or_else(|problems| panic!("X={x:?}: {problems}\n{imported}"))
            });
            for value in values {
                let attributes: Vec<_> = value.map(|value| ("a", value)).into_iter().collect();
                let [itself, again] = [&itself, &again].map(|compiled| targets(compiled, &attributes));
                assert_eq!(itself, again, "X={x:?}, a={value:?}: {conditions:?}\n{imported}");
            }
        }
    }
}

#[test]
fn what_an_import_cant_say_of_variables_is_an_error_of_it() {
    for (condition, says) in [
        (
            r#"attributes["a"] == "${env:X}" and attributes["a"] == "${env:Y}""#,
            "one attribute must be equal to a variable and to another value as well",
        ),
        (r#"attributes["${env:X}"] == "a""#, "a variable or `$$` in the name of an attribute or a header"),
        (r#"attributes["t$$u"] == "a""#, "a variable or `$$` in the name of an attribute or a header"),
        (r"${env:X}", "a variable outside of quotes"),
        (r#"attributes["a"] == ${env:X}"#, "a variable outside of quotes"),
    ] {
        let yaml = with_rows(&[condition]);
        refuses(&yaml, says);
        let problems = imported(&yaml).problems;
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        assert_eq!(errors.count(), 1, "{condition}: {problems:?}");
    }
    let once = with_rows(&[r#"attributes["a"] == "b""#])
        .replace("    table:", "    match_once: ${env:X}\n    table:");
    refuses(&once, "`match_once` of a routing connector is neither `true` nor `false`");
    let edited = with_rows(&[r#"attributes["a"] == "b""#])
        .replace(
            "connectors:",
            "processors: { resource: { attributes: [{ key: \"${env:X}\", action: delete }] } }\nconnectors:",
        )
        .replace(
            "{ receivers: [otlp], exporters: [routing] }",
            "{ receivers: [otlp], processors: [resource], exporters: [routing] }",
        );
    refuses(&edited, "may change, since the name of what it changes is a variable");
}

#[test]
fn what_an_import_says_is_about_what_it_writes() {
    let two = with_rows(&[r#"attributes["a"] == "${env:X}""#, r#"attributes["a"] == "${env:Y}""#]);
    let not = with_rows(&[r#"not (attributes["a"] == "${env:X}" and attributes["a"] == "z")"#]);
    let unlike = with_rows(&[r#"attributes["a"] == "${env:X}" and attributes["a"] != "${env:Y}""#]);
    for yaml in [two, not, unlike] {
        let imported = imported(&yaml);
        let said: Vec<String> = imported.problems.iter().map(|problem| problem.message.clone()).collect();
        let expected =
            ["no route sends to `otlphttp/b`", "the exporter `otlp/c` has no effect: no pipeline names it"];
        assert_eq!(said, expected, "{}", imported.yaml);
        assert!(imported.yaml.contains("name: logs/a") && imported.yaml.contains("name: logs/rest"));
    }
}

#[test]
fn an_import_leaves_out_what_has_no_effect_and_says_so() {
    let yaml = file("", "    logs: { receivers: [otlp], exporters: [otlphttp/a] }\n").replace(
        "\"https://a.test\" }",
        "\"https://a.test\", read_buffer_size: 5, sending_queue: { num_consumers: 10, queue_size: 100 } }",
    );
    let imported = imported(&yaml);
    assert!(imported.yaml.contains("read_buffer_size` has no effect"), "{}", imported.yaml);
    assert!(imported.yaml.contains("queue_size: 100"), "{}", imported.yaml);
    assert_eq!(said(&imported.yaml), [""; 0]);
}

#[test]
fn only_a_collectors_whole_file_is_imported() {
    for (yaml, says) in [
        (MINIMAL, "it has `routes`, so that it is Sluice's own already"),
        ("receivers: { otlp: }\n", "it has no `service.pipelines`"),
        ("service: { pipelines: {} }\n", "it has no `service.pipelines`"),
        ("a: [", "not valid YAML"),
    ] {
        let problems = from_text(yaml, "collector.yaml").unwrap_err();
        assert!(problems.to_string().contains(says), "{problems}");
    }
}

#[test]
fn a_file_with_routes_is_read_as_before() {
    let service = "service: { pipelines: { logs: { receivers: [otlp], exporters: [debug] } } }\n";
    assert!(said(&with(service))[0].contains("`service` has no effect"));
}

#[test]
fn a_row_may_ask_for_attributes_of_records_and_for_headers_of_the_request() {
    let connectors = "connectors:\n  routing:\n    default_pipelines: [logs/rest]\n    table:\n      \
        - { context: log, condition: 'attributes[\"region\"] == \"east\" and resource.attributes[\"env\"] != \"test\"', pipelines: [logs/a] }\n      \
        - { context: request, condition: 'request[\"X-Tenant\"] == \"acme\"', pipelines: [logs/b] }\n";
    let compiled = runs(&file(connectors, TARGETS));
    let of =
        |attributes: &[_], record: &[_], headers: &[_]| targets_of(&compiled, attributes, record, headers);
    assert_eq!(of(&[], &[("region", "east")], &[("x-tenant", "acme")]), ["otlphttp/a"]);
    assert_eq!(of(&[("env", "test")], &[("region", "east")], &[("x-tenant", "acme")]), ["otlphttp/b"]);
    assert_eq!(of(&[], &[], &[("x-tenant", "globex")]), ["nop"]);
    let unlike = connectors.replace("== \"acme\"", "!= \"acme\"");
    let compiled = runs(&file(&unlike, TARGETS));
    let of = |headers: &[_]| targets_of(&compiled, &[], &[], headers);
    assert_eq!(of(&[("x-tenant", "globex")]), ["otlphttp/b"]);
    assert_eq!(of(&[("x-tenant", "acme")]), ["nop"]);
    assert_eq!(of(&[]), ["nop"], "a header that is not there is unlike nothing");
}

#[test]
fn a_row_about_records_asks_for_their_own_attributes_alone() {
    let connectors = "connectors:\n  routing:\n    default_pipelines: [logs/rest]\n    table:\n      \
        - { context: log, condition: 'attributes[\"a\"] == \"1\" or attributes[\"a\"] == 1', pipelines: [logs/a] }\n      \
        - { context: log, condition: 'attributes[\"b\"] == nil and attributes[\"c\"] != true', pipelines: [logs/b] }\n";
    let yaml = file(connectors, TARGETS);
    assert!(!said(&yaml).iter().any(|line| line.contains("row")), "{:?}", said(&yaml));
    assert_eq!(
        routes(&yaml),
        "  - name: logs/a\n    match:\n      record_alone:\n        a:\n          equals:\n            text: \"1\"\n            \
         number: 1\n    signals: [logs]\n    exporters: [otlphttp/a]\n  \
         - name: logs/b\n    match:\n      record_alone:\n        b:\n          exists: false\n        c:\n          not:\n            \
         equals:\n              boolean: true\n    signals: [logs]\n    exporters: [otlphttp/b]\n  \
         - name: logs/rest\n    signals: [logs]\n    exporters: [nop]"
    );
    let compiled = runs(&yaml);
    let of = |attributes: &[_], record: &[_]| targets_of(&compiled, attributes, record, &[]);
    assert_eq!(of(&[], &[("a", "1")]), ["otlphttp/a"]);
    assert_eq!(
        of(&[("a", "1")], &[("b", "")]),
        ["nop"],
        "neither the resource's counts, nor is what is empty absent"
    );
    assert_eq!(of(&[("b", "1")], &[("c", "true")]), ["otlphttp/b"], "a text is no boolean");
}

#[test]
fn a_row_about_metrics_may_ask_for_their_resource_alone() {
    let with = |condition: &str| {
        let row = format!("{{ context: metric, condition: '{condition}', pipelines: [metrics/a] }}");
        file(
            &format!("connectors:\n  routing:\n    default_pipelines: [metrics/b]\n    table: [{row}]\n"),
            "    metrics: { receivers: [otlp], exporters: [routing] }\n    \
             metrics/a: { receivers: [routing], exporters: [otlphttp/a] }\n    \
             metrics/b: { receivers: [routing], exporters: [nop] }\n",
        )
    };
    runs(&with("resource.attributes[\"a\"] == \"1\""));
    for (condition, path) in [
        ("attributes[\"a\"] == \"1\"", "attributes"),
        ("metric.name == \"a\"", "metric.name"),
        ("datapoint.attributes[\"a\"] == \"1\"", "datapoint.attributes"),
    ] {
        let said = said(&with(condition)).join("\n");
        let message = format!(
            "error: the condition has what no route can express: `{path}` (with `context: metric` a route"
        );
        assert!(
            said.contains(&message) && said.contains("write `context: datapoint`"),
            "{condition}: {said}"
        );
    }
    let of_scope = with("attributes[\"a\"] == \"1\"").replace("context: metric", "context: scope");
    assert!(
        said(&of_scope).join("\n").contains("a routing connector has no context `scope`: write"),
        "{of_scope}"
    );
}

#[test]
fn a_header_of_the_request_that_an_exporter_sends_on_is_a_part_of_the_key() {
    let with = |header: &str| {
        file(
            &format!("extensions: {{ headers_setter: {{ headers: [{header}] }} }}\n"),
            "    logs: { receivers: [otlp], exporters: [otlphttp/a, nop] }\n  extensions: [headers_setter]\n",
        )
        .replace("\"https://a.test\" }", "\"https://a.test\", auth: { authenticator: headers_setter } }")
        .replace("{ protocols: { http: ,", "{ protocols: { http: { include_metadata: true },")
    };
    let compiled = runs(&with("{ key: X-Scope-OrgID, from_context: X-Tenant }"));
    let ExporterKind::OtlpHttp(http) = &compiled.exporters[0].1.kind else { panic!() };
    assert_eq!(http.upstream.headers[0].0, "x-scope-orgid");
    assert_eq!(http.upstream.headers[0].1.0.reads().count(), 1);
    assert_eq!(targets_of(&compiled, &[], &[], &[("x-tenant", "acme")]), ["nop", "otlphttp/a acme"]);
    assert_eq!(
        targets_of(&compiled, &[], &[], &[]),
        ["nop"],
        "there is no stream to `a` that it could be of"
    );
    let compiled = runs(&with("{ key: X-Scope-OrgID, from_context: X-Tenant, default_value: nobody }"));
    assert_eq!(targets_of(&compiled, &[], &[], &[]), ["nop", "otlphttp/a nobody"]);
    let said = said(&with("{ key: Authorization, from_context: authorization }"));
    assert!(
        said.iter()
            .any(|line| line.contains("the header `authorization` may be a credential, and keys are shown")),
        "{said:?}"
    );
}

/// A file whose exporters send headers of the request on, and one that doesn't.
fn with_headers(a: &str, b: &str) -> String {
    let extensions = format!(
        "extensions:\n  headers_setter/a: {{ headers: [{a}] }}\n  headers_setter/b: {{ headers: [{b}] }}\n"
    );
    file(
        &extensions,
        "    logs: { receivers: [otlp], exporters: [otlphttp/a, nop, otlphttp/b] }\n  extensions: [headers_setter/a, headers_setter/b]\n",
    )
    .replace("\"https://a.test\" }", "\"https://a.test\", auth: { authenticator: headers_setter/a } }")
    .replace("\"https://b.test\" }", "\"https://b.test\", auth: { authenticator: headers_setter/b } }")
}

#[test]
fn exporters_that_send_other_headers_on_take_nothing_from_each_other() {
    let of = |yaml: &str, headers: &[(&str, &str)]| targets_of(&runs(yaml), &[], &[], headers);
    let one_default = with_headers(
        "{ key: X-Org, from_context: X-Tenant }",
        "{ key: X-Org, from_context: x-tenant, default_value: zz }",
    );
    assert_eq!(of(&one_default, &[]), ["nop", "otlphttp/b zz"]);
    assert_eq!(of(&one_default, &[("x-tenant", "acme")]), ["nop", "otlphttp/a acme", "otlphttp/b acme"]);
    let defaults = with_headers(
        "{ key: X-Org, from_context: X-Tenant, default_value: AAA }",
        "{ key: X-Org, from_context: X-Tenant, default_value: BBB }",
    );
    assert_eq!(of(&defaults, &[]), ["nop", "otlphttp/a AAA", "otlphttp/b BBB"]);
    let alike = with_headers(
        "{ key: X-Org, from_context: x-tenant }",
        "{ key: X-Org, from_context: x-tenant }, { key: X-Other, from_context: x_tenant }",
    );
    let headers = [("x-tenant", "acme"), ("x_tenant", "globex")];
    assert_eq!(of(&alike, &headers), ["nop", "otlphttp/a acme", "otlphttp/b acme/globex"]);
    assert_eq!(of(&alike, &headers[..1]), ["nop", "otlphttp/a acme"]);
}

#[test]
fn exporters_that_send_the_same_headers_on_share_a_route() {
    let same =
        with_headers("{ key: X-Org, from_context: X-Tenant }", "{ key: X-Other, from_context: x-tenant }");
    assert_eq!(
        routes(&same),
        "  - name: logs\n    signals: [logs]\n    key:\n      x_tenant:\n        request: X-Tenant\n    exporters: [otlphttp/a, otlphttp/b]\n    continue: true\n  \
         - name: logs-2\n    signals: [logs]\n    key: \"{{ 'logs' }}\"\n    exporters: [nop]"
    );
}

/// The streams that an entry goes to whose only record has these attributes.
fn streams(compiled: &Compiled, record: &[(&str, &str)]) -> Vec<String> {
    let shown = |(exporter, key): (String, RoutingKey)| format!("{exporter} {key}");
    streams_of(compiled, &[], record, &[]).into_iter().map(shown).collect()
}

#[test]
fn all_ways_to_a_pipeline_end_in_one_stream_of_each_exporter() {
    let connectors = "connectors:\n  routing:\n    default_pipelines: [logs/a]\n    table:\n      \
        - { context: log, condition: 'attributes[\"a\"] == \"1\" or attributes[\"b\"] == \"1\"', pipelines: [logs/b] }\n      \
        - { context: log, condition: 'attributes[\"c\"] == \"1\"', pipelines: [logs/a] }\n";
    let pipelines = TARGETS.replace("    logs/rest: { receivers: [routing], exporters: [nop] }\n", "");
    let yaml = file(connectors, &pipelines);
    let compiled = runs(&yaml);
    assert_eq!(compiled.routes.len(), 4);
    for name in ["a", "b"] {
        assert_eq!(streams(&compiled, &[(name, "1")]), ["otlphttp/b logs/b"]);
    }
    for name in ["c", "d"] {
        assert_eq!(streams(&compiled, &[(name, "1")]), ["otlphttp/a logs/a"]);
    }
    // Whatever its name has in it, which stands in quotes.
    let compiled = runs(&yaml.replace("logs/b", "\"logs/b'\\\\c\""));
    assert_eq!(streams(&compiled, &[("b", "1")]), ["otlphttp/b logs/b'\\c"]);
}

#[test]
fn rows_for_which_earlier_ones_leave_nothing_are_left_out_with_a_warning() {
    let with = |rows: &str| {
        let rest = "    default_pipelines: [logs/rest]\n";
        file(&format!("connectors:\n  routing:\n{rest}    table:\n{rows}"), TARGETS)
    };
    let unreached = "warning: this row of the table gets nothing, and is left out";
    let all = with(
        "      - { statement: route(), pipelines: [logs/a] }\n      - { condition: 'attributes[\"b\"] == \"1\"', pipelines: [logs/b] }\n",
    );
    let compiled = runs_with_warnings(&all);
    assert_eq!(targets(&compiled, &[("b", "1")]), ["otlphttp/a"]);
    let text = said(&all).join("\n");
    assert!(text.contains(unreached), "{text}");
    assert!(text.contains("warning: the default pipelines get nothing, and are left out"), "{text}");
    for (first, second, beside) in [
        (r#"attributes["a"] != nil"#, r#"IsMatch(attributes["a"], "^x")"#, ("a", "x")),
        (
            r#"IsMatch(attributes["a"], "^x") or attributes["b"] == "1""#,
            r#"attributes["a"] == "x" and attributes["c"] == "1""#,
            ("b", "1"),
        ),
        (r#"attributes["a"] != nil"#, r#"attributes["a"] != "" and attributes["a"] != nil"#, ("a", "")),
    ] {
        let rows = format!(
            "      - {{ condition: '{first}', pipelines: [logs/a] }}\n      - {{ condition: '{second}', pipelines: [logs/b] }}\n"
        );
        let compiled = runs_with_warnings(&with(&rows));
        assert_eq!(targets(&compiled, &[beside]), ["otlphttp/a"], "{first}");
        assert_eq!(targets(&compiled, &[]), ["nop"]);
        let text = said(&with(&rows)).join("\n");
        assert_eq!(text.matches(unreached).count(), 1, "{text}");
    }
    // One case of a row is enough for it to stay.
    let rows = "      - { condition: 'attributes[\"a\"] != nil', pipelines: [logs/a] }\n      - { condition: 'attributes[\"a\"] == \"1\" or attributes[\"b\"] == \"1\"', pipelines: [logs/b] }\n";
    let compiled = runs(&with(rows));
    assert_eq!(targets(&compiled, &[("b", "1")]), ["otlphttp/b"]);
    assert!(!said(&with(rows)).join("\n").contains(unreached));
    // A copy takes nothing from others.
    let copy = with(
        "      - { statement: route(), action: copy, pipelines: [logs/a] }\n      - { condition: 'attributes[\"b\"] == \"1\"', pipelines: [logs/b] }\n",
    );
    let compiled = runs(&copy);
    assert_eq!(targets(&compiled, &[("b", "1")]), ["otlphttp/a", "otlphttp/b"]);
    assert_eq!(targets(&compiled, &[]), ["nop", "otlphttp/a"]);
}

#[test]
fn a_processor_before_and_behind_a_connector_is_run_twice() {
    let yaml = file(
        "processors: { resource/x: { attributes: [{ key: env, action: hash }] } }\nconnectors: { forward: }\n",
        "    logs/in: { receivers: [otlp], processors: [resource/x], exporters: [forward] }\n    logs/out: { receivers: [forward], processors: [resource/x], exporters: [nop] }\n",
    );
    assert_eq!(runs(&yaml).routes[0].edits.len(), 2);
}

#[test]
fn the_expression_of_a_row_is_read_as_a_collector_reads_it() {
    let with = |pattern: &str| {
        let rows = format!(
            "connectors:\n  routing:\n    default_pipelines: [logs/rest, logs/b]\n    table:\n      - condition: 'IsMatch(attributes[\"a\"], \"{pattern}\")'\n        pipelines: [logs/a]\n"
        );
        file(&rows, TARGETS)
    };
    let compiled = runs(&with(r"^\\d+$"));
    assert_eq!(targets(&compiled, &[("a", "12")]), ["otlphttp/a"]);
    assert_eq!(targets(&compiled, &[("a", "١٢")]), ["nop", "otlphttp/b"], "digits are of ASCII");
    let text = said(&with("^(a")).join("\n");
    assert!(
        text.contains("11:20 error: what `IsMatch` matches with is no regular expression: unclosed group"),
        "{text}"
    );
}

#[test]
fn a_row_with_a_condition_and_a_statement_is_an_error() {
    let rows = "connectors:\n  routing:\n    default_pipelines: [logs/rest, logs/b]\n    table:\n      - { condition: 'attributes[\"a\"] == \"1\"', statement: route(), pipelines: [logs/a] }\n";
    let text = said(&file(rows, TARGETS)).join("\n");
    assert!(
        text.contains("error: a row of the table has a `condition` and a `statement` (keep one of the two)"),
        "{text}"
    );
}

#[test]
fn a_forward_connector_that_leads_nowhere_or_to_another_signal_is_an_error() {
    let of = |out: &str| {
        let pipelines = format!("    logs: {{ receivers: [otlp], exporters: [forward, nop] }}\n    {out}\n");
        said(&file("connectors: { forward: }\n", &pipelines)).join("\n")
    };
    let text = of("traces/x: { receivers: [forward], exporters: [nop] }");
    assert!(
        text.contains("error: `forward` hands logs on, and the pipeline `traces/x` that receives from it is for traces (receive from it in a pipeline for logs, or remove it here)"),
        "{text}"
    );
    let text = of("traces/x: { receivers: [otlp], exporters: [nop] }");
    assert!(text.contains("error: no pipeline for `logs` receives from the connector `forward`"), "{text}");
}

#[test]
fn braces_in_values_of_a_collectors_processors_are_no_templates() {
    let yaml = file(
        "processors:\n  attributes/x:\n    include: { match_type: strict, attributes: [{ key: t, value: \"{{x\" }] }\n    actions:\n      - { key: a, value: \"a {{ key }} {{{ b }}\", action: upsert }\n",
        "    logs: { receivers: [otlp], processors: [attributes/x], exporters: [nop] }\n",
    );
    let compiled = runs(&yaml);
    let edit = &compiled.routes[0].edits[0];
    assert_eq!(edit.templates.iter().flat_map(crate::route::Template::reads).count(), 0);
    assert!(
        imported(&yaml).yaml.contains("\"a {{ '{{' }} key }} {{ '{{' }}{ b }}\""),
        "{}",
        imported(&yaml).yaml
    );
    assert!(imported(&yaml).yaml.contains("\"{{x\""), "{}", imported(&yaml).yaml);
    let listed = yaml.replace("\"a {{ key }} {{{ b }}\"", "[\"{{ key }}\"]");
    assert!(good(&listed).routes[0].edits[0].templates.is_empty());
}

#[test]
fn a_pipeline_of_which_no_exporter_is_available_is_named_as_left_out() {
    let pipelines = "    metrics: { receivers: [otlp], exporters: [prometheusremotewrite] }\n    logs: { receivers: [otlp], exporters: [nop, kafka] }\n";
    let yaml = file("  prometheusremotewrite: {}\n  kafka: {}\n", pipelines);
    let imported = imported(&yaml);
    let says = "the pipeline `metrics` is left out: none of its exporters is available";
    assert!(imported.yaml.contains(&format!("# - line 11: {says}\n")), "{}", imported.yaml);
    assert!(!imported.yaml.contains("pipeline `logs`"), "{}", imported.yaml);
    good(&imported.yaml);
}

#[test]
fn a_header_without_a_default_is_warned_of_since_data_without_it_is_rejected() {
    let with = |default: &str| {
        file(
            &format!(
                "extensions: {{ headers_setter: {{ headers: [{{ key: X-Org, from_context: X-Tenant{default} }}] }} }}\n"
            ),
            "    logs: { receivers: [otlp], exporters: [otlphttp/a] }\n  extensions: [headers_setter]\n",
        )
        .replace("\"https://a.test\" }", "\"https://a.test\", auth: { authenticator: headers_setter } }")
    };
    let says = "the data of a request without this header does not get to this exporter: a Collector sends it with an empty header \
                (write `default_value: NAME` beside it";
    let imported = imported(&with(""));
    assert!(imported.yaml.contains(says), "{}", imported.yaml);
    assert!(said(&with("")).iter().any(|line| line.contains(says)), "{:?}", said(&with("")));
    let other = said(&with(", default_value: nobody")).join("\n");
    assert!(!other.contains("without this header"), "{other}");
}

#[test]
fn a_processor_that_is_not_available_is_called_so_in_an_import() {
    let yaml = file(
        "processors: { tail_sampling: { policies: [] } }\n",
        "    traces: { receivers: [otlp], processors: [tail_sampling], exporters: [nop] }\n",
    );
    let imported = imported(&yaml);
    let text = said(&imported.yaml).join("\n");
    assert!(
        text.contains("error: the processor `tail_sampling` is not available: what it leaves out would be sent on (let the senders sample"),
        "{text}"
    );
}

#[test]
fn what_is_named_and_is_not_there_is_an_error_that_names_what_is_near() {
    let pipelines = "    logs: { receivers: [otlp], exporters: [otlphttp/a, debgu] }\n";
    let yaml = file("  debug:\n", pipelines)
        .replace("\"https://a.test\" }", "\"https://a.test\", sending_queue: { storage: file_storage/x } }");
    let text = said(&yaml).join("\n");
    assert!(text.contains("error: there is no exporter `debgu` (did you mean `debug`?)"), "{text}");
    assert!(text.contains("error: there is no extension `"), "{text}");
    assert!(text.contains("(write it below `extensions`, with its `directory`)"), "{text}");
    let near = yaml.replace("  debug:\n", "  debug:\nextensions: { file_storage/y: }\n");
    let text = said(&near).join("\n");
    assert!(text.contains("(did you mean `file_storage/y`?)"), "{text}");
    let there = yaml.replace("  debug:\n", "  debug:\nextensions: { file_storage/x: }\n");
    assert!(!said(&there).join("\n").contains("there is no extension"), "{:?}", said(&there));
}

#[test]
fn an_authenticator_that_is_there_and_not_available_is_called_so() {
    let yaml = file(
        "extensions: { oidc: { issuer_url: \"https://id.test\" } }\n",
        "    logs: { receivers: [otlp], exporters: [nop] }\n  extensions: [oidc]\n",
    )
    .replace("{ http: ,", "{ http: { auth: { authenticator: oidc } },");
    let text = said(&yaml).join("\n");
    assert!(
        text.contains("error: the extension `oidc` is not available, and what it protects would be open"),
        "{text}"
    );
}

#[test]
fn connectors_beside_routes_are_told_what_routes_can_do() {
    let text = said(&with("connectors: { routing: , count: }\n")).join("\n");
    assert!(text.contains("the connector `routing` has no effect: `routes` says what goes where. Write its conditions as the `match`"), "{text}");
    assert!(
        text.contains(
            "the connector `count` has no effect: there is nothing like it: `routes` only chooses exporters;"
        ),
        "{text}"
    );
}
