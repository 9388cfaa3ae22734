//! Mistakes of form, and that all are reported at once.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::config::Severity;
use crate::export::Statuses;
use crate::journal::SyncPolicy;

#[test]
fn all_problems_are_reported_at_once_with_line_and_caret() {
    let yaml = r#"receivers:
  otlp:
    protocols: { http: { endpoint: "4318" } }
exporters:
  otlp_http/s2:
    endpont: https://basin.b.s2.dev/otlp
    headers: { Authorization: "Bearer s3cret", x y: 1 }
    timeout: 30
routes:
  - exporters: [otlp_http/s3]
unrouted: drp
"#;
    let problems = load(yaml).unwrap_err();
    assert_eq!(
        problems.to_string(),
        r#"config.yaml:3:36: error: `4318` can't be listened on: it has no host
  |
3 |     protocols: { http: { endpoint: "4318" } }
  |                                    ^^^^^^
  = help: write `127.0.0.1:4318` or `0.0.0.0:4318`

config.yaml:6:5: error: unknown key `endpont` in `exporters.otlp_http/s2`; did you mean `endpoint`?
  |
6 |     endpont: [redacted]
  |     ^^^^^^^

config.yaml:7:48: error: this is not a header's name
  |
7 |     headers: { Authorization: [redacted], [redacted]: [redacted] }
  |                                           ^^^^^^^^^^
  = help: a name has letters, digits and `-`, without spaces or `:`

config.yaml:8:14: error: `30` is not a duration (in `timeout`)
  |
8 |     timeout: 30
  |              ^^
  = help: it has no unit: write `30s` for seconds or `30ms` for milliseconds

config.yaml:10:17: error: there is no exporter `otlp_http/s3`
   |
10 |   - exporters: [otlp_http/s3]
   |                 ^^^^^^^^^^^^
   = help: did you mean `otlp_http/s2`?

config.yaml:11:11: error: `drp` is not a value of `unrouted`
   |
11 | unrouted: drp
   |           ^^^
   = help: did you mean `drop`? the values are `reject`, `drop` and `dead_letter`
"#
    );
}

#[test]
fn unknown_keys_name_the_nearest_or_all() {
    assert_eq!(
        said(&with("limit: {}\n")),
        ["4:1 error: unknown key `limit` in the top level; did you mean `limits`?"]
    );
    assert_eq!(
        said(&with("admin: { colour: red }\n")),
        ["4:10 error: unknown key `colour` in `admin` (the keys here are `enabled`, `endpoint`, `hosts`, \
             `read_token`, `read_token_sha256`, `write_token`, `write_token_sha256`, `tls`, `insecure` and `tenant_metrics`)"]
    );
}

#[test]
fn unknown_types_of_exporters_name_the_types() {
    let yaml = |name: &str| {
        format!("receivers: {{ otlp: {{ protocols: {{ http: }} }} }}\nexporters: {{ {name}: {{}} }}\n")
    };
    assert_eq!(
        said(&yaml("otlp_htp/s2"))[1],
        "2:14 error: `otlp_htp/s2` is not a known type of exporter (did you mean `otlp_http/s2`?)"
    );
    assert_eq!(
        said(&yaml("kafka"))[1],
        "2:14 error: `kafka` is not a known type of exporter (the types are `otlp_http`, `otlphttp`, `otlp_grpc`, \
         `otlp`, `file`, `debug` and `nop`, each alone or as `TYPE/NAME`)"
    );
    assert_eq!(
        said(&yaml("file/"))[1],
        "2:14 error: `file/` is not a known type of exporter (write `file`, or `file/NAME`)"
    );
    for (name, instead) in [("logging", "debug"), ("logging/all", "debug/all")] {
        assert_eq!(
            said(&yaml(name))[1],
            format!("2:14 error: `{name}` is not a known type of exporter (did you mean `{instead}`?)")
        );
    }
}

#[test]
fn receivers_of_other_protocols_are_left_to_a_collector() {
    let of = |name: &str| said(&MINIMAL.replace("otlp:", &format!("{name}:"))).remove(0);
    for name in ["prometheus", "jaeger", "zipkin/old", "hostmetrics", "logging", "filelog"] {
        assert_eq!(
            of(name),
            format!(
                "1:14 error: `{name}` is not a known type of receiver (Sluice receives OTLP alone: keep a Collector in front \
                 that sends this on as OTLP, and write `otlp` here)"
            )
        );
    }
    assert_eq!(of("oltp"), "1:14 error: `oltp` is not a known type of receiver (did you mean `otlp`?)");
}

#[test]
fn wrong_kinds_say_what_to_write() {
    assert_eq!(
        said(&with("limits: 5\n")),
        [
            "4:9 error: `limits` must be a map, not a single value (write keys and values, such as `memory: …`, indented \
          below it)"
        ]
    );
    assert_eq!(
        said(&with_routes("  - exporters: file\n")),
        ["4:16 error: `routes[0].exporters` must be a list, not a single value (write [file])"]
    );
    assert_eq!(
        said(&with("shutdown_timeout: [1s]\n")),
        ["4:19 error: `shutdown_timeout` must be a single value, not a list"]
    );
}

#[test]
fn wrong_types_say_what_to_write() {
    assert_eq!(
        said(&with("limits: { streams: \"5\" }\n")),
        [
            "4:20 error: `limits.streams` must be a whole number, not `5` (text in quotes is text; remove the quotes)"
        ]
    );
    assert_eq!(
        said(&with("limits: { streams: many }\n")),
        ["4:20 error: `limits.streams` must be a whole number"]
    );
    assert_eq!(
        said(&with("admin: { enabled: yes }\n")),
        ["4:19 error: `admin.enabled` must be `true` or `false`, not `yes`"]
    );
    assert_eq!(
        said(&with("limits: { streams: 0 }\n")),
        ["4:20 error: `0` is out of range for `streams` (the least is 1)"]
    );
    assert_eq!(
        said(&with("shutdown_timeout: 25\n")),
        [
            "4:19 error: `25` is not a duration (in `shutdown_timeout`) (it has no unit: write `25s` for seconds or `25ms` \
          for milliseconds)"
        ]
    );
    assert_eq!(
        said(&with("limits: { memory: lots }\n")),
        [
            "4:19 error: this is not an amount of memory (in `memory`) (write a size such as `512MiB`, or a share such as `60%`)"
        ]
    );
}

#[test]
fn a_key_without_a_value_means_its_default() {
    let compiled = good(&with("limits:\nshutdown_timeout:\nunrouted:\n"));
    assert_eq!(compiled.limits, crate::config::UsageLimits { memory: 512 << 20, streams: 100_000 });
    assert_eq!(compiled.shutdown_timeout.as_secs(), 25);
}

#[test]
fn integers_are_written_as_in_yaml_1_1_and_1_2() {
    for (written, number) in [
        ("4_000", 4000),
        ("0xFA0", 4000),
        ("0o7640", 4000),
        ("0b1000", 8),
        ("+7", 7),
        ("4_000_", 4000),
        ("0x_FA0", 4000),
    ] {
        let compiled = good(&with(&format!("limits: {{ streams: {written} }}\n")));
        assert_eq!((compiled.limits.streams, compiled.warnings.len()), (number, 0), "{written}");
    }
    let queue = "sending_queue: { queue_size: 4_000_000, sizer: bytes, batch: { max_size: 1_000KiB, min_size: 0x1000 } }";
    let queue = exporter("debug", queue).queue;
    assert_eq!((queue.queue_bytes, queue.batch.max_size, queue.batch.min_size), (4_000_000, 1_024_000, 4096));
    let retry = "endpoint: https://a\nretry_on_failure: { statuses: [0x1F7, 4_29], multiplier: 1_0 }";
    let settings = exporter("otlp_http", retry);
    assert_eq!(settings.statuses, Statuses::retrying(vec![503, 429]));
    assert_eq!(settings.retry.multiplier.to_string(), "10");
    let substituted =
        load_with(&with("limits: { streams: \"${env:N}\" }\n"), &|_| Some("1_000".into())).unwrap();
    assert_eq!(substituted.limits.streams, 1000);
}

#[test]
fn an_integer_in_base_60_is_an_error_that_says_what_to_write() {
    let instead = |number: u32| {
        format!("(in YAML 1.1, numbers with `:` are in base 60; if that is meant, write `{number}`)")
    };
    assert_eq!(
        said(&with("limits: { streams: 190:20:30 }\n")),
        [format!(
            "4:20 error: `limits.streams` must be a whole number, not `190:20:30` {}",
            instead(685_230)
        )]
    );
    assert_eq!(
        said(&with("limits: { memory: 190:20:30 }\n")),
        [format!("4:19 error: `190:20:30` is not an amount of memory (in `memory`) {}", instead(685_230))]
    );
    // What may be a secret is not repeated as a number, either.
    let substituted = load_with(&with("limits: { streams: \"${env:N}\" }\n"), &|_| Some("1:30".into()));
    assert!(!substituted.err().unwrap().to_string().contains("90"));
}

#[test]
fn a_leading_zero_is_octal_as_in_the_collector_and_a_warning_says_so() {
    assert_eq!(
        said(&with("limits: { streams: 010 }\n")),
        [
            "4:20 warning: a number that begins with 0 is octal, as in a Collector: this is 8 (write `8`, or `10` if that \
             is meant)"
        ]
    );
    assert_eq!(good(&with("limits: { streams: 010 }\n")).limits.streams, 8);
    assert_eq!(good(&with("limits: { streams: 089 }\n")).limits.streams, 89);
    assert_eq!(exporter("debug", "sending_queue: { queue_size: 020 }").queue.queue_requests, Some(16));
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() {
    good(&format!("\u{feff}{MINIMAL}"));
}

#[test]
fn duplicate_keys_are_all_named() {
    assert_eq!(
        said(&with("limits: { streams: 1, streams: 2 }\nexporters: {}\n")),
        [
            "4:23 error: duplicate key `streams` (it is already on line 4; keep one of the two)",
            "5:1 error: duplicate key `exporters` (it is already on line 2; keep one of the two)",
        ]
    );
    let shown = load(&with("limits: { streams: 1, streams: 2 }\n")).unwrap_err().to_string();
    assert!(shown.contains("4 | limits: { streams: 1, streams: [redacted] }"), "{shown}");
}

#[test]
fn what_is_no_yaml_is_shown_with_its_place() {
    let problems = load("receivers:\n  otlp: [\n").unwrap_err();
    assert_eq!(problems.list.len(), 1);
    assert!(problems.list[0].message.starts_with("not valid YAML: "), "{problems}");
    assert!(problems.list[0].line.is_some());
}

#[test]
fn of_a_text_that_is_no_yaml_what_stands_before_the_mistake_is_shown_as_ever() {
    for (yaml, shown) in [
        (
            "exporters:\n  otlp_http: { headers: { A: s3cret }, timeout: 5s, \"s3cret\n",
            "2 |   otlp_http: { headers: { A: [redacted] }, timeout: 5s, [redacted]",
        ),
        (
            "exporters:\n  otlp_http: { headers: { A: s3cret, s3cret: \"s3cret\n",
            "2 |   otlp_http: { headers: { A: [redacted], [redacted]",
        ),
        // A secret with a quote in it.
        (
            "exporters:\n  otlp_http: { headers: { A: \"s3c\"ret}\" } }\n",
            "2 |   otlp_http: { headers: { [redacted]",
        ),
        // One that is repeated behind the mistake.
        (
            "exporters:\n  file/a: { path: &s ./s3cret }\n  debug: { verbosity: [ }\n",
            "3 |   debug: { verbosity: [ }",
        ),
        ("exporters:\n  debug: { verbosity: basic ]\n", "2 |   debug: { verbosity: basic ]"),
        ("exporters:\n\tdebug: s3cret\n", "2 |  debug: [redacted]"),
        ("\n{ s3cret: s3cret, ", "2 | { [redacted]"),
    ] {
        let problems = load(yaml).unwrap_err();
        let shown = format!("{shown}\n");
        assert!(problems.to_string().contains(&shown), "{shown}{problems}");
        assert!(!problems.text.contains("s3cret"), "{}", problems.text);
    }
}

#[test]
fn a_bracket_and_a_quote_that_are_not_closed_are_named() {
    let help = |yaml: &str| load(yaml).unwrap_err().list.remove(0).help.unwrap();
    let unclosed = "receivers: { otlp: { protocols: { http: } }\nexporters: { debug: }\n";
    assert_eq!(
        help(unclosed),
        "close the `{` that stands on line 1 with `}`, or put a comma between what is in it"
    );
    assert_eq!(help("limits: { memory: \"1GiB }\n"), "write the same quote where the text ends");
    assert_eq!(help("exporters:\n\tdebug:\n"), "indent with spaces, not with tabs");
    assert_eq!(
        help("exporters:\n  debug: {}\n  - file\n"),
        "the keys of a map begin in one column, and no `- ` stands among them"
    );
}

#[test]
fn a_file_without_sections_has_one_problem() {
    let empty = "- error: the configuration is empty (the least is `receivers: { otlp: { protocols: { http: } } }`, \
                 `exporters: { file/local: { path: ./data } }` and `routes: [{ exporters: [file/local] }]`, each on a line of its own)";
    for yaml in ["", "# nothing\n", "---\n", "{}\n"] {
        assert_eq!(said(yaml), [empty]);
    }
    for (yaml, kind) in [("[]\n", "a list"), ("- a\n", "a list"), ("hello\n", "a single value")] {
        let said = said(yaml);
        let kind = format!("1:1 error: the configuration must be a map, not {kind} ");
        assert!(matches!(&*said, [only] if only.starts_with(&kind)), "{said:?}");
    }
}

#[test]
fn the_least_that_an_empty_file_lacks_can_be_used() {
    let help = load("").unwrap_err().list.remove(0).help.unwrap();
    let sections: Vec<&str> = help.split('`').skip(1).step_by(2).collect();
    assert_eq!(sections.len(), 3);
    good(&sections.join("\n"));
}

#[test]
fn a_misspelt_section_costs_one_error_in_every_example() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = std::fs::read_dir(root.join("config")).unwrap();
    let mut misspelt = 0;
    for path in examples.map(|example| example.unwrap().path()).filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).unwrap();
        if load_without_secrets(&text).is_err() {
            continue;
        }
        for line in text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase())) {
            let Some((key, _)) = line.split_once(':').filter(|(key, _)| key.len() > 4) else { continue };
            let short = &key[..key.len() - 1];
            let wrong = text.replacen(&format!("\n{key}:"), &format!("\n{short}:"), 1);
            if wrong == text {
                continue;
            }
            let problems = load_without_secrets(&wrong).unwrap_err();
            let errors: Vec<&str> = problems
                .list
                .iter()
                .filter(|problem| problem.severity == Severity::Error)
                .map(|problem| &*problem.message)
                .collect();
            let expected = format!("unknown key `{short}` in the top level; did you mean `{key}`?");
            assert_eq!(errors, [expected], "{}", path.display());
            misspelt += 1;
        }
    }
    assert!(misspelt > 30, "{misspelt}");
}

#[test]
fn what_a_misspelt_section_holds_is_checked_as_well() {
    assert_eq!(
        said(
            &MINIMAL
                .replace("exporters: {", "exporter: {")
                .replace("debug: }", "debug: { verbsity: basic } }")
        ),
        [
            "2:1 error: unknown key `exporter` in the top level; did you mean `exporters`?",
            "2:22 error: unknown key `verbsity` in `exporters.debug`; did you mean `verbosity`?"
        ]
    );
    // Where there is a section of that name, it stays what it is.
    assert_eq!(
        said(&with("exporter: { file: }\n")),
        ["4:1 error: unknown key `exporter` in the top level; did you mean `exporters`?"]
    );
}

#[test]
fn what_is_below_a_misspelt_key_is_checked_as_well() {
    let yaml = "receivers: { otlp: { protocols: { htp: { max_request_body_size: big } } } }\n\
                exporters: { otlp_htp/a: { timeout: soon }, debug: { sending_que: { num_consumers: few } } }\n\
                routes: [{ exporters: [debug] }]\njournal: { directory: ./j, max_siz: 1 }\n";
    assert_eq!(
        said(yaml),
        [
            "1:35 error: unknown key `htp` in `receivers.otlp.protocols`; did you mean `http`?",
            "1:65 error: this is not a size (in `max_request_body_size`) (write a size such as `524288`, `512KiB`, `10MB` or `1GiB`)",
            "2:14 error: `otlp_htp/a` is not a known type of exporter (did you mean `otlp_http/a`?)",
            "2:37 error: this is not a duration (in `timeout`) (write a duration such as `50ms`, `30s`, `5m` or `1h30m`)",
            "2:54 error: unknown key `sending_que` in `exporters.debug`; did you mean `sending_queue`?",
            "2:84 error: `exporters.debug.sending_queue.num_consumers` must be a whole number",
            "4:28 error: unknown key `max_siz` in `journal`; did you mean `max_size`?",
        ]
    );
}

#[test]
fn what_is_indented_too_far_or_too_little_costs_one_error() {
    let too_far = "receivers:\n  otlp: { protocols: { http: } }\n  exporters: { debug: }\nroutes: [{ exporters: [debug] }]\n";
    assert_eq!(
        said(too_far),
        [
            "3:3 error: `exporters` stands below `receivers` (begin the line of `exporters` without spaces: it is a section \
             of its own)"
        ]
    );
    let too_little =
        MINIMAL.replace("{ otlp: { protocols: { http: } } }", "{ otlp: , protocols: { http: } }");
    assert_eq!(
        said(&too_little),
        [
            "1:22 error: `protocols` is not a known type of receiver (`protocols` is a key of receivers: indent it by more, \
             below the name of one)"
        ]
    );
}

#[test]
fn without_an_exporter_no_route_is_told_that_its_own_is_not_there() {
    let said = said("receivers: { otlp: { protocols: { http: } } }\nroutes: [{ exporters: [debug] }]\n");
    assert!(
        matches!(&*said, [only] if only.contains("there is no exporter, so nothing can be sent")),
        "{said:?}"
    );
}

#[test]
fn a_second_document_is_refused() {
    assert_eq!(
        said(&with("---\nlimits: {}\n")),
        [
            "4:1 error: a second YAML document starts here (write one document; everything after `---` belongs into \
          another file)"
        ]
    );
}

#[test]
fn a_tag_is_refused() {
    assert_eq!(
        said(&with("shutdown_timeout: !include x\n")),
        ["4:28 error: a YAML tag (`!…`) means nothing here (if it is text, put quotes around it)"]
    );
}

#[test]
fn anchors_and_merge_keys_work() {
    let yaml = "\
receivers: { otlp: { protocols: { http: } } }
exporters:
  file/a: &base { path: ./a, sending_queue: &queue { max_in_flight: 7 } }
  file/b: { <<: *base, path: ./b }
  debug: { sending_queue: *queue }
routes: [{ exporters: [file/a, file/b, debug] }]
";
    let compiled = good(yaml);
    let flights: Vec<usize> = compiled.exporters.iter().map(|(_, exporter)| exporter.max_in_flight).collect();
    assert_eq!(flights, [7, 7, 7]);
    assert!(matches!(&compiled.exporters[1].1.kind, ExporterKind::File(file) if file.path.ends_with("b")));
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut yaml = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(yaml, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let said = said(&yaml);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("error: aliases repeat more than 100000 values, or 8 MiB of text"), "{said:?}");

    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100].join(","));
    assert!(self::said(&long)[0].contains("error: aliases repeat more than"));
}

#[test]
fn a_large_file_without_aliases_is_not_taken_for_one_with_them() {
    let mut yaml = MINIMAL.lines().take(2).fold(String::new(), |yaml, line| yaml + line + "\n") + "routes:\n";
    for tenant in 0..10_000 {
        writeln!(yaml, "  - {{ name: r{tenant}, match: {{ tenant.id: t{tenant}, env: prod }}, key: a, exporters: [debug] }}")
            .unwrap();
    }
    let compiled = good(&yaml);
    assert_eq!((compiled.routes.len(), compiled.warnings.len()), (10_000, 0));
    // One of them that is never reached is found all the same.
    writeln!(yaml, "  - {{ match: {{ tenant.id: t7777, env: prod, a: \"*\" }}, exporters: [debug] }}")
        .unwrap();
    let yaml = yaml.replace("t7777, env: prod }, key: a,", "t7777, env: prod },");
    assert!(
        said(&yaml)[0].contains("`route-10001` is never reached: `r7777` (line 7781)"),
        "{:?}",
        said(&yaml)
    );

    let too_many = format!("a: [{}]\n", "x,".repeat(1_000_001));
    assert_eq!(
        said(&too_many),
        ["1:1999999 error: there are more than 1000000 keys and values, which is the most"]
    );
}

#[test]
fn deep_nesting_is_refused() {
    for deep in ["[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000)] {
        assert_eq!(said(&deep).len(), 1);
    }
    let mut chain = "a0: &a0 [[[[[x]]]]]\n".to_owned();
    for level in 1..40 {
        writeln!(chain, "a{level}: &a{level} [[[[[*a{}]]]]]", level - 1).unwrap();
    }
    assert!(said(&chain)[0].contains("levels deep by its aliases"));
    assert_eq!(said("a: &a [*a]\n"), ["1:8 error: an alias can't stand inside the value that it repeats"]);
}

#[test]
fn dead_letters_are_synced_where_the_journal_is() {
    let synced =
        |journal: &str| good(&with(&format!("{journal}dead_letter: {{}}\n"))).dead_letter.unwrap().synced;
    assert!(synced("journal: {}\n") && synced("journal: { sync: 100ms }\n"));
    assert!(!synced("") && !synced("journal: { sync: never }\n"));
}

#[test]
fn journal_and_dead_letters_can_not_be_in_one_directory() {
    let both = |journal: &str, letters: &str| {
        let journal = format!("journal: {{ directory: {journal} }}\n");
        said(&with(&format!("{journal}dead_letter: {{ directory: {letters} }}\n")))
    };
    let help = " (write directories beside each other, such as `./journal` and `./dead-letters`)";
    for (journal, letters, what) in [
        ("./kept", "kept/", "`dead_letter.directory` is `journal.directory`"),
        ("kept", "kept/letters", "`dead_letter.directory` is in `journal.directory`"),
        ("/kept/letters/journal", "/kept/letters", "`journal.directory` is in `dead_letter.directory`"),
        (".", "./dead-letters", "`dead_letter.directory` is in `journal.directory`"),
    ] {
        assert_eq!(both(journal, letters), [format!("5:27 error: {what}{help}")]);
    }
    assert_eq!(both("kept", "kept-letters"), [""; 0]);
    assert_eq!(said(&with("journal:\ndead_letter: { directory: ./journal/x }\n")).len(), 1);
}

#[test]
fn a_journal_has_room_for_some_segments_and_says_when_it_syncs() {
    assert_eq!(
        said(&with("journal: { directory: ./journal, max_size: 15MiB, segment_size: 1023KiB }\n")),
        ["4:44 error: `max_size` must be at least 16MiB", "4:65 error: `segment_size` must be at least 1MiB",]
    );
    let sizes =
        |size: &str| format!("journal: {{ directory: ./journal, max_size: 1TiB, segment_size: {size} }}\n");
    for too_large in ["1025MiB", "32GiB", "33GiB", "1TiB", "1000TiB"] {
        let said = said(&with(&sizes(too_large)));
        assert_eq!(said, ["4:64 error: `segment_size` must be at most 1GiB"], "{too_large}");
    }
    assert_eq!(good(&with(&sizes("1GiB"))).journal.unwrap().segment_size, 1 << 30);
    let journal = |sync: &str| good(&with(&format!("journal: {{ sync: {sync} }}\n"))).journal.unwrap();
    assert_eq!(journal("always").sync, SyncPolicy::Always);
    assert_eq!(journal("100ms").sync, SyncPolicy::Every(Duration::from_millis(100)));
    assert_eq!(journal("never").sync, SyncPolicy::Never);
    assert_eq!(
        said(&with("journal: { sync: sometimes }\n")),
        [
            "4:18 error: this is not a sync policy (in `sync`) (write `always`, `never`, or a duration such as `100ms`)"
        ]
    );
    assert_eq!(
        said(&with("journal: { sync: 0s }\n")),
        [
            "4:18 error: `0s` is not a sync policy (in `sync`) (write `always`, `never`, or a duration such as `100ms`)"
        ]
    );
}

#[test]
fn what_the_collector_has_and_sluice_does_not_need_is_a_warning_that_says_why() {
    assert_eq!(
        said(&with(
            "processors: { batch: }\nextensions: { zpages: }\nservice: { telemetry: { logs: {} } }\n"
        )),
        [
            "4:15 warning: the processor `batch` has no effect: batches are formed by `sending_queue.batch` of each \
             exporter",
            "5:15 warning: the extension `zpages` has no effect: metrics and API are `admin:`",
            "6:1 warning: `service` has no effect: there are no pipelines; `routes` says what goes where",
        ]
    );
}

#[test]
fn memory_is_a_size_or_a_share_and_more_than_there_is_a_warning() {
    assert_eq!(good(&with("limits: { memory: 50% }\n")).limits.memory, MEMORY / 100 * 50);
    assert_eq!(good(&with("limits: { memory: 1GiB }\n")).limits.memory, 1 << 30);
    assert_eq!(
        said(&with("limits: { memory: 9GiB }\n")),
        ["4:19 warning: `9GiB` is more memory than there is (8GiB) (write a share of it, such as `60%`)"]
    );
    assert_eq!(said(&with("limits: { memory: 1KiB }\n")), ["4:19 error: `memory` must be at least 1MiB"]);
}

#[test]
fn a_long_line_is_shown_around_the_place() {
    let yaml = with(&format!("limits: {{ {} streams: many }}\n", " ".repeat(500)));
    let text = load(&yaml).unwrap_err().to_string();
    assert!(text.lines().all(|line| line.len() < 200), "{text}");
    assert!(text.contains("streams: [redacted] }"), "{text}");
}

#[test]
fn a_missing_file_is_a_problem_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.yaml");
    let problems =
        crate::config::load(&crate::config::ConfigSource::File(path.clone()), &|_| None).unwrap_err();
    assert_eq!(problems.list.len(), 1);
    assert!(problems.list[0].message.starts_with("can't read it: "));
    assert_eq!(problems.files, [path]);
}

#[test]
fn problems_are_serialised_for_programs() {
    let problems = load(&with("unrouted: drp\n")).unwrap_err();
    assert_eq!(
        serde_json::to_value(&problems).unwrap(),
        serde_json::json!([{
            "severity": "error", "file": "config.yaml", "line": 4, "column": 11,
            "message": "`drp` is not a value of `unrouted`",
            "help": "did you mean `drop`? the values are `reject`, `drop` and `dead_letter`",
        }])
    );
}

#[test]
fn a_template_without_quotes_is_told_to_have_quotes() {
    for line in [
        "headers: { X-Scope-OrgID: {{ key }} }",
        "headers: { X-Scope-OrgID: {{key}} }",
        "headers: { X-Scope-OrgID: tenant-{{ key }} }",
        "headers: { X-Scope-OrgID: {{ resource[\"service.name\"] }} }",
        "headers: { a: \"{{ key }}\", b: it's, c: {{ signal }} }",
        "headers:\n  X-Scope-OrgID: {{ key }}",
        "headers:\n  X-Scope-OrgID: {{ key }}-x",
        "endpoint: {{ key }}",
        "endpoint: {{ resource['service.name'] }}",
    ] {
        let said = said(&with_exporter("otlp_http", line));
        assert!(
            said[0].ends_with(" (put quotes around what has a `{{ … }}`: `\"{{ key }}\"`)"),
            "{line}: {said:?}"
        );
    }
    // In quotes it is not what is wrong.
    let said = said(&with_exporter("otlp_http", "headers: { X: \"{{ key }}\", Y: @x }"));
    assert!(said[0].ends_with(" (put quotes around a text that begins with `@`)"), "{said:?}");
}

#[test]
fn a_text_that_begins_as_yaml_syntax_does_is_told_to_have_quotes() {
    let said_of = |value: &str| {
        let said = said(&with_routes(&format!(
            "  - match: {{ tenant.id: {value} }}\n    exporters: [debug, file]\n"
        )));
        said[0].split_once(" (").unwrap_or_else(|| panic!("{value}: {said:?}")).1.to_owned()
    };
    for alone in ["*", "* ", "[*, a]", "[a, *]", "{ not: * }"] {
        assert_eq!(said_of(alone), "put quotes around `*`: `\"*\"`)", "{alone}");
    }
    for glob in ["*-prod", "*prod*", "**", "[a, *.example.com]"] {
        let help = said_of(glob);
        assert!(
            help.starts_with("put quotes around a text that begins with `*`, such as `\"*-prod\"`"),
            "{help}"
        );
    }
    for first in ["@", "%"] {
        let expected = format!("put quotes around a text that begins with `{first}`)");
        assert_eq!(said_of(&format!("{first}x")), expected);
    }
    assert_eq!(said_of("`x`"), "put quotes around a text that begins with a backtick)");
    // A block has no braces around the value.
    let block = said(&with_routes("  - match:\n      tenant.id: *\n    exporters: [debug, file]\n"));
    assert!(block[0].ends_with(" (put quotes around `*`: `\"*\"`)"), "{block:?}");
}
