//! `routes`.

use super::*;
use crate::otlp::ReadValue;
use crate::route::{KeySource, KeySpec, Matcher, RouteSpec, TestedValue, Unrouted};

fn route(lines: &str) -> RouteSpec {
    good(&with_routes(lines)).routes.remove(0)
}

/// A text as conditions test it; without one, what they test where an attribute is absent.
fn tested(text: Option<&str>) -> TestedValue<'_> {
    text.map_or(TestedValue::ABSENT, |text| ReadValue::Text(text).into())
}

#[test]
fn a_route_compiles() {
    let route = route(
        "  - { match: { a: \"x-*\", b: [1, true], c: { regex: \"^y\" }, d: { not: z }, e: { exists: false } }, signals: \
         [logs, traces], key: [s2.stream, service.name], exporters: [file, debug], continue: true, max_streams: 5 }\n",
    );
    assert_eq!(route.name, "route-1");
    assert_eq!(route.signals, [true, false, true]);
    assert_eq!(route.exporters, [1, 0]);
    assert!(route.continues);
    assert_eq!(route.max_streams, Some(5));
    assert!(
        matches!(&route.key, KeySpec::One(KeySource::Attributes(names)) if names == &["s2.stream", "service.name"])
    );
    let holds = |attribute: &str, value: Option<&str>| {
        let (_, matcher) = route.matches.iter().find(|(name, _)| name == attribute).unwrap();
        matcher.matches(&tested(value))
    };
    assert!(holds("a", Some("x-1")) && !holds("a", Some("1")));
    assert!(holds("b", Some("1")) && holds("b", Some("true")) && !holds("b", Some("2")));
    assert!(holds("c", Some("yes")) && !holds("c", Some("no")));
    assert!(holds("d", Some("y")) && holds("d", None) && !holds("d", Some("z")));
    assert!(holds("e", None) && !holds("e", Some("")));
}

#[test]
fn numbers_match_as_they_are_written() {
    let route = route("  - { match: { build: 007, ratio: 1.50 }, exporters: [debug, file] }\n");
    let written = |name: &str| if name == "build" { "007" } else { "1.50" };
    assert!(route.matches.iter().all(|(name, matcher)| matcher.matches(&tested(Some(written(name))))));
}

#[test]
fn a_key_is_nothing_an_attribute_or_a_template() {
    let key = |key: &str| route(&format!("  - {{ {key} exporters: [debug, file] }}\n")).key;
    assert!(matches!(key(""), KeySpec::Route));
    assert!(
        matches!(key("key: service.name,"), KeySpec::One(KeySource::Attributes(names)) if names == ["service.name"])
    );
    assert!(matches!(
        key("key: \"{{ signal }}-{{ resource['a'] }}\","),
        KeySpec::One(KeySource::Template(_))
    ));
    let KeySpec::Parts(parts) = key("key: { z: a, b: [c, d], e: \"{{ signal }}\" },") else {
        panic!("it has parts")
    };
    let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["z", "b", "e"], "in the order of the file");
}

#[test]
fn mistakes_in_the_parts_of_a_key_say_what_to_write() {
    let said_of = |key: &str| {
        said(&with_routes(&format!("  - {{ key: {key}, exporters: [debug, file] }}\n"))).join("\n")
    };
    for (key, message) in [
        ("{}", "a key has from 1 to 8 parts"),
        ("{ a: x, b: x, c: x, d: x, e: x, f: x, g: x, h: x, i: x }", "a key has from 1 to 8 parts"),
        ("{ tenant.id: x }", "the name of a part is made of letters, digits and `_`"),
        ("{ 7: x }", "the name of a part is made of letters, digits and `_`"),
        ("{ a: [] }", "`key` names no attribute"),
        ("{ a: \"{{ key }}\" }", "`{{ key }}` can't stand in the key that it is made of"),
        ("{ a: { b: c } }", "unknown key `b` in `routes[0].key.a`"),
        ("{ a: \"{{ tenant.zone }}\" }", "the value `zone` of a tenant's row is shown wherever the key is"),
    ] {
        let said = said_of(key);
        assert!(said.contains(message), "{key}: {said}");
    }
}

#[test]
fn what_a_template_of_an_exporter_can_not_read_says_which_key_to_write() {
    let said_of = |key: &str, template: &str| {
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:4318 }} }} }} }}\n\
             exporters: {{ otlp_http/up: {{ endpoint: 'http://u/', headers: {{ X: \"{template}\" }} }} }}\n\
             routes: [{{ {key}exporters: [otlp_http/up] }}]\n"
        );
        said(&text).join("\n")
    };
    let attribute = "{{ resource['service.name'] }}";
    for (key, parts) in [
        ("", "service_name: service.name"),
        ("key: tenant.id, ", "tenant_id: tenant.id, service_name: service.name"),
        ("key: [tenant.id, team], ", "tenant_id: [tenant.id, team], service_name: service.name"),
        ("key: { team: team }, ", "team: team, service_name: service.name"),
    ] {
        let said = said_of(key, attribute);
        assert!(said.contains("and no attributes"), "{said}");
        assert!(
            said.contains(&format!(
                "write `key: {{ {parts} }}` in the route, and `{{{{ key.service_name }}}}` here"
            )),
            "{said}"
        );
    }
    let said = said_of("key: { team: team }, ", "{{ key.zone }}");
    assert!(said.contains("has no part `zone` (there are `{{ key.team }}`)"), "{said}");
    let said = said_of("key: team, ", "{{ key.zone }}");
    assert!(said.contains("has no part `zone` (read all of it by `{{ key }}`"), "{said}");
    assert_eq!(said_of("key: { zone: zone }, ", "{{ key.zone }}"), "");
}

#[test]
fn mistakes_in_a_route_say_what_to_write() {
    let said_of = |lines: &str| said(&with_routes(&format!("  - {{ {lines} exporters: [debug, file] }}\n")));
    assert_eq!(
        said_of("key: \"{{ key }}\","),
        ["4:12 error: `{{ key }}` can't stand in the key that it is made of (name an attribute: `{{ \
          resource[\"service.name\"] }}`, or `{{ tenant.id }}`)"]
    );
    assert_eq!(
        said_of("key: [],"),
        [
            "4:12 error: `key` names no attribute (name a resource attribute, or leave out `key` for one stream per route)"
        ]
    );
    assert_eq!(
        said_of("match: { a: { regex: \"(\" } },"),
        ["4:28 error: `(` is not a regular expression (unclosed group)"]
    );
    assert_eq!(
        said_of("match: { a: { regex: x, exists: true } },"),
        [
            "4:19 error: `exists` can't stand beside `regex` or `equals`, and `exists: false` not beside anything (leave `exists` out; \
          `regex` and `equals` only hold where the attribute exists anyway)"
        ]
    );
    assert_eq!(
        said_of("match: { a: {}, b: , c: { not: {} } },"),
        [
            "4:19 error: this says nothing about the attribute (write `\"*\"` for any value, a glob, a list of globs, or \
             `{ regex: … }`)",
            "4:23 error: a key in `routes[0].match` has no value (write `name: value`)",
            "4:38 error: this says nothing about the attribute (write `\"*\"` for any value, a glob, a list of globs, or \
             `{ regex: … }`)",
        ]
    );
    assert_eq!(
        said_of("signals: [log],"),
        [
            "4:17 error: `log` is not a value of `signals` (did you mean `logs`? the values are `traces`, `metrics` and \
          `logs`)"
        ]
    );
    assert_eq!(
        said_of("signals: [],"),
        ["4:16 error: a route without signals takes nothing (leave out `signals` to take all)"]
    );
    assert_eq!(
        said_of("max_streams: 0,"),
        ["4:20 error: `0` is out of range for `max_streams` (the least is 1)"]
    );
}

#[test]
fn exporters_must_exist() {
    assert_eq!(
        said(&with_routes("  - exporters: [debg, file, kafka, file]\n  - exporters: []\n")),
        [
            "4:17 error: there is no exporter `debg` (did you mean `debug`?)",
            "4:29 error: there is no exporter `kafka` (the exporters are `debug` and `file`)",
            "4:36 error: `file` is named twice (keep one of the two)",
            "5:16 error: the route names no exporter (write `exporters: [NAME]`, with the name of an exporter above)",
        ]
    );
    let other_spelling = "receivers: { otlp: { protocols: { http: } } }\nexporters: { otlp_http/s2: { endpoint: \
                          \"https://a\" } }\nroutes: [{ exporters: [otlphttp/s2] }]\n";
    assert_eq!(
        said(other_spelling)[0],
        "3:24 error: there is no exporter `otlphttp/s2` (did you mean `otlp_http/s2`?)"
    );
}

#[test]
fn an_exporter_of_an_unknown_type_is_one_error_wherever_routes_name_it() {
    let yaml = "receivers: { otlp: { protocols: { http: } } }\nexporters: { logging: }\nroutes: [{ exporters: [logging] }]\n";
    assert_eq!(said(yaml), ["2:14 error: `logging` is not a known type of exporter (did you mean `debug`?)"]);
}

#[test]
fn an_exporter_has_a_url_for_every_signal_it_is_sent() {
    let yaml = "receivers: { otlp: { protocols: { http: } } }\nexporters: { otlp_http: { logs_endpoint: \"https://a/logs\" } \
                }\nroutes: [{ exporters: [otlp_http] }]\n";
    assert_eq!(
        said(yaml),
        [
            "3:24 error: `otlp_http` has no URL for traces, which this route sends to it (give it an `endpoint`, or the route \
          `signals` without traces)"
        ]
    );
    good(&yaml.replace("exporters: [otlp_http]", "signals: [logs], exporters: [otlp_http]"));
}

#[test]
fn names_are_given_once() {
    assert_eq!(
        said(&with_routes(
            "  - { name: a, match: { x: y }, exporters: [debug] }\n  - { name: a, exporters: [file] }\n"
        )),
        ["5:13 error: duplicate route name `a` (it is already the name of the route on line 4)"]
    );
}

/// The attributes of records and of resources that a source of a key reads.
fn of_records(source: &KeySource) -> (Vec<&str>, Vec<&str>) {
    let KeySource::Records { record, resource } = source else { panic!("{source:?} is not of records") };
    (record.iter().map(String::as_str).collect(), resource.iter().map(String::as_str).collect())
}

#[test]
fn a_key_of_records_is_an_attribute_of_theirs_or_else_of_the_resource() {
    let key = |key: &str| route(&format!("  - {{ key: {key}, exporters: [debug, file] }}\n")).key;
    for (written, expected) in [
        ("{ record: a, resource: b }", (vec!["a"], vec!["b"])),
        ("{ resource: [b, c], record: [a, d] }", (vec!["a", "d"], vec!["b", "c"])),
        ("{ record: a }", (vec!["a"], vec![])),
    ] {
        let KeySpec::One(source) = key(written) else { panic!("{written} is one source") };
        assert_eq!(of_records(&source), expected);
    }
    let KeySpec::Parts(parts) = key("{ service: service.name, project: { record: a, resource: [a, b] } }")
    else {
        panic!("it has parts")
    };
    assert!(matches!(&parts[0], (name, KeySource::Attributes(_)) if name == "service"));
    assert_eq!((&*parts[1].0, of_records(&parts[1].1)), ("project", (vec!["a"], vec!["a", "b"])));
}

#[test]
fn mistakes_in_a_key_of_records_say_what_to_write() {
    for (key, messages) in [
        (
            "{ record: a, resource: a, service: service.name }",
            [
                "`record` and `resource` say whose attribute the whole key is",
                "{ service: …, project: { record: A, resource: A } }",
            ],
        ),
        ("{ tenant: t, resource: a }", ["can't be parts beside others", "{ tenant: …, project: { record: A"]),
        ("{ resource: a }", ["`resource` alone", "{ record: tenant.id, resource: tenant.id }"]),
        ("{ project: { resource: a } }", ["`resource` alone", "{ record: tenant.id, resource: tenant.id }"]),
        ("{ project: {} }", ["`resource` alone", "`key: tenant.id`"]),
        ("{ record: { record: a } }", ["each take an attribute", "`key: { record: A, resource: A }`"]),
        (
            "{ record: \"{{ signal }}\" }",
            ["a template can't stand for an attribute of records", "attributes alone"],
        ),
        ("{ record: [] }", ["`key` names no attribute", ""]),
        ("{ records: a, resource: a }", ["unknown key `records` in `key`", "did you mean `record`?"]),
        ("{ record: a, resources: a }", ["unknown key `resources` in `key`", "did you mean `resource`?"]),
        ("{ project: { recrod: a } }", ["unknown key `recrod`", "`record`"]),
        ("{ record: \"a, b\" }", ["is the name of one attribute here", ""]),
    ] {
        let said =
            said(&with_routes(&format!("  - {{ key: {key}, exporters: [debug, file] }}\n"))).join("\n");
        for message in messages {
            assert!(said.contains(message), "{key}: {message}: {said}");
        }
        assert_eq!(said.lines().count(), 1, "{key}: {said}");
    }
}

#[test]
fn conditions_on_records_stand_below_record_and_a_glob_there_is_one_on_a_resource_attribute() {
    let matches = |written: &str| {
        let route = route(&format!("  - {{ match: {written}, exporters: [debug, file] }}\n"));
        let shown = |(name, matcher): &(String, Matcher)| {
            format!("{name} {} {}", matcher.matches(&tested(Some("x"))), matcher.matches(&tested(None)))
        };
        let [of_resource, of_records, alone] =
            [&route.matches, &route.record_matches, &route.record_alone_matches]
                .map(|matches| matches.iter().map(shown).collect::<Vec<_>>());
        (of_resource, [of_records, alone].concat())
    };
    let of = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        matches(
            "{ a: x, record: { a: [y], b: { not: y }, c: { exists: true }, d: { regex: z }, record: x } }"
        ),
        (
            of(&["a true false"]),
            of(&["a false false", "b true true", "c true false", "d false false", "record true false"])
        )
    );
    assert_eq!(matches("{ record: x }"), (of(&["record true false"]), of(&[])));
    assert_eq!(matches("{ record: [x, y] }"), (of(&["record true false"]), of(&[])));
    assert_eq!(matches("{ record: '' }"), (of(&["record false false"]), of(&[])));
    assert_eq!(
        matches("{ record: { a: x }, record_alone: { b: y, c: { not: x } } }"),
        (of(&[]), of(&["a true false", "b false false", "c false true"]))
    );
    assert_eq!(matches("{ record_alone: x }"), (of(&["record_alone true false"]), of(&[])));
}

#[test]
fn mistakes_in_conditions_on_records_say_what_to_write() {
    let said_of = |written: &str| {
        said(&with_routes(&format!("  - {{ match: {{ record: {written} }}, exporters: [debug, file] }}\n")))
            .join("\n")
    };
    for (written, messages) in [
        ("{}", ["`record` names no attribute", "`record: { tenant.id: \"*\" }`"]),
        (
            "{ regex: a }",
            ["`regex` is the name of an attribute of records here", "{ tenant.id: { regex: … } }"],
        ),
        (
            "{ equals: { text: a } }",
            ["`equals` is the name of an attribute of records here", "{ tenant.id: { equals: … } }"],
        ),
        ("{ a: { regexp: x } }", ["unknown key `regexp`", "`regex`"]),
        ("{ a: {} }", ["this says nothing about the attribute", ""]),
        ("{ a: { regex: \"(\" } }", ["is not a regular expression", ""]),
        (
            "a",
            [
                "warning: this asks for a resource attribute called `record`",
                "write a map: `record: { tenant.id: \"*\" }`",
            ],
        ),
    ] {
        let said = said_of(written);
        for message in messages {
            assert!(said.contains(message), "{written}: {message}: {said}");
        }
    }
}

#[test]
fn a_condition_below_a_name_that_is_almost_record_or_request_asks_whether_that_is_meant() {
    let said_of = |written: &str| {
        said(&with_routes(&format!("  - {{ match: {{ {written} }}, exporters: [debug, file] }}\n")))
            .join("\n")
    };
    for (written, at, near) in [
        ("records: { team: b }", "`team` in `routes[0].match.records`", "record"),
        ("Record: { team: { not: b } }", "`team` in `routes[0].match.Record`", "record"),
        ("requests: { X-Tenant: b }", "`X-Tenant` in `routes[0].match.requests`", "request"),
    ] {
        let said = said_of(written);
        assert!(said.ends_with(&format!("unknown key {at}; did you mean `{near}: {{ … }}`?")), "{said}");
    }
    let said = said_of("records: { regexp: b }");
    assert!(said.ends_with("did you mean `regex`?"), "it is a rule about a resource attribute: {said}");
    assert!(said_of("request: a").contains("this asks for a resource attribute called `request`"));
    for silent in ["records: a", "record: [a]", "request: [a]", "records: { regex: b }"] {
        assert_eq!(said_of(silent), "", "{silent}");
    }
}

#[test]
fn a_condition_on_records_hides_a_later_one_on_records_alone() {
    let unreachable = |first: &str, second: &str| {
        let yaml = with_routes(&format!(
            "  - {{ {first} exporters: [debug] }}\n  - {{ {second} exporters: [file] }}\n"
        ));
        said(&yaml).iter().any(|line| line.contains("is never reached"))
    };
    let any = "match: { record: { a: \"*\" } },";
    assert!(unreachable(any, "match: { record: { a: b } },"));
    assert!(unreachable("match: { record: { a: b } },", "match: { record: { a: b }, c: d },"));
    // The record may have another value than the resource, or one where that has none.
    assert!(!unreachable(any, "match: { a: b },"));
    assert!(!unreachable("match: { a: \"*\" },", "match: { record: { a: b } },"));
    // Whether there is a key.
    assert!(unreachable(
        &format!("{any} key: {{ record: a, resource: a }},"),
        "match: { record: { a: b } },"
    ));
    assert!(!unreachable(&format!("{any} key: {{ record: a }},"), "match: { record: { a: b } },"));
    assert!(!unreachable("key: { record: a, resource: a },", ""));
    assert!(unreachable("match: { a: \"*\" }, key: { record: b, resource: a },", "match: { a: c },"));
}

#[test]
fn what_a_key_of_records_is_made_of_is_shown() {
    let shown = |key: &str| {
        good(&with_routes(&format!("  - {{ key: {key}, exporters: [debug, file] }}\n"))).redacted["routes"][0]
            ["key"]
            .clone()
    };
    let project = serde_json::json!({ "record": "a.b", "resource": ["a.b", "c"] });
    assert_eq!(shown("{ record: a.b, resource: [a.b, c] }"), project);
    assert_eq!(shown("{ project: { record: a.b, resource: [a.b, c] } }")["project"], project);
}

#[test]
fn a_route_behind_one_that_takes_all_is_unreachable() {
    let unreachable = |first: &str, second: &str| {
        let yaml = with_routes(&format!(
            "  - {{ name: first, {first} exporters: [debug] }}\n  - {{ name: second, {second} exporters: [file] }}\n"
        ));
        said(&yaml).iter().any(|line| line.contains("is never reached"))
    };
    assert!(unreachable("", ""));
    assert!(unreachable("", "match: { a: b },"));
    assert!(unreachable("match: { a: \"*\" },", "match: { a: b },"));
    assert!(unreachable("match: { a: \"*\" }, key: a,", "match: { a: b, c: d },"));
    assert!(unreachable("match: { a: { exists: true } },", "match: { a: [b, c] },"));
    assert!(unreachable("match: { a: [b, c, d] },", "match: { a: [b, c] },"));
    assert!(unreachable("signals: [logs, traces],", "signals: [logs],"));

    assert!(!unreachable("continue: true,", ""));
    assert!(!unreachable("match: { a: b },", ""));
    assert!(!unreachable("match: { a: b },", "match: { a: \"*\" },"));
    assert!(!unreachable("signals: [logs],", ""));
    assert!(!unreachable("match: { a: \"*\" },", "match: { a: { not: b } },"));
    // Without its key an entry goes on to the next route.
    assert!(!unreachable("key: service.name,", ""));
}

#[test]
fn an_unreachable_route_names_the_one_before_it() {
    assert_eq!(
        said(&with_routes("  - { exporters: [debug] }\n  - { match: { a: b }, exporters: [file] }\n")),
        [
            "5:5 error: the route `route-2` is never reached: `route-1` (line 4) takes all that it matches (move it before \
          that one, or write `continue: true` there)"
        ]
    );
}

#[test]
fn an_exporter_that_no_route_names_is_a_warning() {
    assert_eq!(
        said(&with_routes("  - { exporters: [debug] }\n")),
        ["2:23 warning: no route sends to `file` (name it in a route's `exporters`, or remove it)"]
    );
}

#[test]
fn a_list_is_any_of_its_globs() {
    let route = route("  - { match: { a: [\"x-*\", y] }, exporters: [debug, file] }\n");
    assert!(matches!(&route.matches[0].1, Matcher::AnyOf(globs) if globs.len() == 2));
}

#[test]
fn several_names_in_one_text_are_taken_as_one_attribute_with_a_warning() {
    let said_of = |lines: &str| said(&with_routes(&format!("  - {lines}\n    exporters: [debug, file]\n")));
    let list = "(did you mean a list: `[tenant.id, service.name]`?)";
    for key in ["tenant.id, service.name", "tenant.id,service.name", "\"[tenant.id, service.name]\""] {
        assert_eq!(
            said_of(&format!("key: {key}")),
            [format!("4:10 warning: this is the name of one attribute here {list}")],
            "{key}"
        );
    }
    assert_eq!(
        said_of("key: tenant.id service.name"),
        ["4:10 warning: this is the name of one attribute here (write one attribute, or a list such as \
          `[tenant.id, service.name]`)"]
    );
    assert_eq!(
        said_of("key: [\"tenant.id \", b]"),
        ["4:11 warning: this is the name of one attribute here (did you mean `tenant.id`?)"]
    );
    assert_eq!(
        said_of("key: [\"a, b\", c]"),
        ["4:11 warning: this is the name of one attribute here (write each attribute as an item of its own)"]
    );
    assert_eq!(
        said_of("match: { \"a, b\": x }"),
        ["4:14 warning: this is the name of one attribute here (write each attribute with its own value: \
          `{ tenant.id: acme, region: eu }`)"]
    );
    for right in [
        "key: [tenant.id, service.name]",
        "key: tenant.id",
        "key: \"{{ resource['a, b'] }}\"",
        "match: { k8s/x_y-z: a }",
    ] {
        assert_eq!(said_of(right), [""; 0], "{right}");
    }
}

#[test]
fn an_attribute_written_as_in_ottl_is_a_warning_that_names_it_alone() {
    let ways = [
        "resource.tenant.id",
        "resource.attributes.tenant.id",
        "attributes.tenant.id",
        "attributes[\"tenant.id\"]",
        "resource[\"tenant.id\"]",
        "resource.attributes['tenant.id']",
    ];
    for way in ways {
        let quoted = format!("'{}'", way.replace('\'', "''"));
        for lines in
            [format!("key: {quoted}"), format!("key: [{quoted}, b]"), format!("match: {{ {quoted}: a }}")]
        {
            let said = said(&with_routes(&format!("  - {lines}\n    exporters: [debug, file]\n")));
            assert_eq!(said.len(), 1, "{lines}: {said:?}");
            assert!(said[0].contains(" warning: "), "{said:?}");
            assert!(said[0].ends_with(" (name the attribute alone: `tenant.id`)"), "{lines}: {said:?}");
        }
    }
    // Inside of `{ }` the bracket begins a list.
    for lines in ["{ match: { attributes[\"tenant.id\"]: a },", "{ key: resource.attributes[\"tenant.id\"],"]
    {
        let said = said(&with_routes(&format!("  - {lines} exporters: [debug, file] }}\n")));
        assert!(
            said[0].ends_with(" (name the attribute alone: `tenant.id` for `attributes[\"tenant.id\"]`)"),
            "{lines}: {said:?}"
        );
    }
    for other in ["resources.x", "attribute.x", "resource", "resource_type"] {
        let yaml = with_routes(&format!("  - key: {other}\n    exporters: [debug, file]\n"));
        assert_eq!(said(&yaml), [""; 0], "{other}");
    }
}

#[test]
fn what_no_route_takes_is_rejected_dropped_or_kept_and_what_would_do_nothing_is_a_warning() {
    let unrouted = |lines: &str| (good(&with(lines)).unrouted, said(&with(lines)));
    let rejected = |whole_as_error| Unrouted::Reject { whole_as_error };
    assert_eq!(unrouted(""), (rejected(false), vec![]));
    assert_eq!(unrouted("unrouted_status: 200\n"), (rejected(false), vec![]));
    assert_eq!(unrouted("unrouted: reject\nunrouted_status: 400\n"), (rejected(true), vec![]));
    assert_eq!(unrouted("unrouted: dead_letter\ndead_letter: {}\n"), (Unrouted::DeadLetter, vec![]));

    let (dropped, told) = unrouted("unrouted: drop\nunrouted_status: 200\n");
    assert_eq!(dropped, Unrouted::Drop);
    let nothing =
        "`unrouted_status` has no effect with `unrouted: drop` (leave it out, or write `unrouted: reject`)";
    assert!(told.len() == 1 && told[0].ends_with(&format!("warning: {nothing}")), "{told:?}");
    let (kept, told) = unrouted("unrouted: dead_letter\nunrouted_status: 400\ndead_letter: {}\n");
    assert_eq!(kept, Unrouted::DeadLetter);
    assert!(told.len() == 1 && told[0].contains("no effect with `unrouted: dead_letter`"), "{told:?}");

    let (without, told) = unrouted("unrouted: dead_letter\nunrouted_status: 400\n");
    assert_eq!(without, rejected(true));
    let nowhere = "without `dead_letter`, what no route takes is rejected (write `dead_letter: { directory: ./dead-letters }`, or \
                   `unrouted: reject`)";
    assert!(told.len() == 1 && told[0].ends_with(&format!("warning: {nowhere}")), "{told:?}");
    let wrong = said(&with("unrouted_status: 404\n"));
    assert!(wrong[0].contains("`404` is not a value of `unrouted_status`"), "{wrong:?}");
}

#[test]
fn conditions_on_headers_stand_below_request_and_headers_are_the_same_in_any_case() {
    let yaml = with_routes(
        "  - { match: { a: b, request: { X-Tenant: [acme, globex], x-debug: { exists: false } } }, exporters: [debug, file] }\n",
    );
    let compiled = good(&yaml);
    let route = &compiled.routes[0];
    let names: Vec<_> = route.request_matches.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-tenant", "x-debug"]);
    assert_eq!(route.matches.len(), 1);
    let of_resource = with_routes("  - { match: { request: a* }, exporters: [debug, file] }\n");
    assert_eq!(good(&of_resource).routes[0].matches[0].0, "request");
    for (written, says) in [
        ("{}", "`request` names no header"),
        ("{ \"a b\": c }", "this is not a header's name"),
        ("{ X-A: b, x-a: c }", "the header `x-a` stands here twice"),
        ("{ X-A: {} }", "this says nothing about the attribute"),
    ] {
        let said = said(&with_routes(&format!(
            "  - {{ match: {{ request: {written} }}, exporters: [debug, file] }}\n"
        )));
        assert!(said.iter().any(|line| line.contains(says)), "{written}: {said:?}");
    }
}

#[test]
fn a_key_may_be_a_header_of_the_request_that_carries_no_credential() {
    let key = |key: &str| route(&format!("  - {{ key: {key}, exporters: [debug, file] }}\n")).key;
    let KeySpec::Parts(parts) =
        key("{ org: { request: X-Scope-OrgID, default: nobody }, service: service.name }")
    else {
        panic!("it has parts")
    };
    assert!(
        matches!(&parts[0].1, KeySource::Request { header, default: Some(default) } if header == "x-scope-orgid" && default == "nobody")
    );
    let whole = key("{ request: X-Tenant }");
    assert!(matches!(whole, KeySpec::One(KeySource::Request { default: None, .. })));
    for (written, says) in [
        ("{ a: { request: Authorization } }", "the header `authorization` may be a credential"),
        ("{ request: X-Api-Key }", "the header `x-api-key` may be a credential"),
        ("{ a: { request: X, record: b } }", "`request` can't stand beside `record` and `resource`"),
        ("{ request: X, b: c }", "`request` says that the whole key is a header"),
        ("{ a: { record: b, default: c } }", "`default` stands beside `request` alone"),
        ("{ a: { request: \"b c\" } }", "this is not a header's name"),
    ] {
        let said = said(&with_routes(&format!("  - {{ key: {written}, exporters: [debug, file] }}\n")));
        assert!(said.iter().any(|line| line.contains(says)), "{written}: {said:?}");
    }
}

#[test]
fn a_rule_may_ask_for_a_value_and_exclude_some() {
    let matcher = |rule: &str| {
        route(&format!("  - {{ match: {{ a: {rule} }}, exporters: [debug, file] }}\n")).matches.remove(0).1
    };
    let holds = |matcher: &Matcher, text| matcher.matches(&tested(text));
    let prod = matcher("{ regex: \"^prod\", not: prod-test }");
    assert!(holds(&prod, Some("prod-1")) && !holds(&prod, Some("prod-test")) && !holds(&prod, None));
    let there = matcher("{ exists: true, not: [x, y] }");
    assert!(holds(&there, Some("z")) && !holds(&there, Some("x")) && !holds(&there, None));
}

#[test]
fn exact_values_stand_below_their_types() {
    let matcher = |rule: &str| {
        route(&format!("  - {{ match: {{ a: {rule} }}, exporters: [debug, file] }}\n")).matches.remove(0).1
    };
    let holds = |rule: &str| {
        let matcher = matcher(rule);
        [
            ReadValue::Text("5"),
            ReadValue::Int(5),
            ReadValue::Double(5.0),
            ReadValue::Bool(true),
            ReadValue::Text(""),
            ReadValue::Text("*"),
            ReadValue::Empty,
        ]
        .map(|value| matcher.matches(&value.into()))
    };
    assert_eq!(holds("{ equals: { text: 5 } }"), [true, false, false, false, false, false, false]);
    assert_eq!(holds("{ equals: { text: [\"\", \"*\"] } }"), [false, false, false, false, true, true, false]);
    assert_eq!(holds("{ equals: { text: '' } }"), [false, false, false, false, true, false, false]);
    assert_eq!(holds("{ equals: { number: 5 } }"), [false, true, true, false, false, false, false]);
    assert_eq!(
        holds("{ equals: { number: [-7, 5], boolean: true } }"),
        [false, true, true, true, false, false, false]
    );
    assert_eq!(holds("{ not: { equals: { number: 5 } } }"), [true, false, false, true, true, true, true]);
    assert_eq!(
        holds("{ regex: '^[5t]', equals: { number: [-7, 5], text: '*', boolean: false } }"),
        [false, true, true, false, false, false, false]
    );
    assert_eq!(
        holds("{ equals: { number: 5, text: '5' }, not: { equals: { text: '5' } } }"),
        [false, true, true, false, false, false, false]
    );
    assert_eq!(
        holds("{ not: { equals: { boolean: [true, false] }, regex: '^5$' } }"),
        [false, false, false, false, true, true, true]
    );
    let said_of = |conditions: String| {
        said(&with_routes(&format!("  - {{ match: {{ {conditions} }}, exporters: [debug, file] }}\n")))
            .join("\n")
    };
    let said = |rule: &str| said_of(format!("a: {rule}"));
    for (rule, says) in [
        ("{ equals: {} }", "`equals` names no value"),
        ("{ equals: { text: [] } }", "`text` names no value"),
        ("{ equals: { number: 5.5 } }", "must be a whole number"),
        ("{ equals: { boolean: maybe } }", "must be `true` or `false`"),
        ("{ equals: { string: a } }", "unknown key `string`"),
        ("{ equals: { text: [], number: 5 } }", "`text` names no value"),
        ("{ not: { equals: { text: a, boolean: [] } } }", "`boolean` names no value"),
        ("{ equals: { text: a }, exists: true }", "`exists` can't stand beside `regex` or `equals`"),
        ("{ not: {} }", "this says nothing about the attribute"),
    ] {
        assert!(said(rule).contains(says), "{rule}: {}", said(rule));
    }
    for (rule, says) in [
        ("{ equals: { number: 5 } }", "a header is a text, which equals no number"),
        ("{ equals: { text: a, boolean: [true] } }", "a header is a text, which equals no boolean"),
        ("{ not: { equals: { number: [5] } } }", "a header is a text, which equals no number"),
    ] {
        let of_request = said_of(format!("request: {{ X: {rule} }}"));
        assert!(of_request.contains(says), "{rule}: {of_request}");
    }
}

#[test]
fn a_condition_that_what_is_no_key_meets_leaves_something_for_a_later_route() {
    let said = |condition: &str| {
        let lines = format!(
            "  - {{ match: {condition}, key: a, exporters: [debug] }}\n  - {{ match: {condition}, exporters: [file] }}\n"
        );
        said(&with_routes(&lines)).join("\n")
    };
    for condition in ["{ a: \"*\" }", "{ a: [x, y] }", "{ a: { equals: { text: x } } }"] {
        assert!(said(condition).contains("is never reached"), "{condition}: {}", said(condition));
    }
    for condition in ["{ a: { exists: true } }", "{ a: { regex: x } }", "{ a: { equals: { number: 5 } } }"] {
        assert_eq!(said(condition), "", "{condition}");
    }
}
