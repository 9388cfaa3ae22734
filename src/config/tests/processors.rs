//! The processors of a Collector's file, of which none may be left out that protects something.

use super::*;
use crate::config::{Problem, Severity};

/// The types of the processors of `otelcol-contrib`, by
/// `distributions/otelcol-contrib/manifest.yaml` of github.com/open-telemetry/opentelemetry-collector-releases, v0.159.0, and the
/// `metadata.yaml` of each, with the names that they had before.
const CONTRIB: [&str; 41] = [
    "attributes",
    "batch",
    "cardinality_guardian",
    "coralogix",
    "cumulative_to_delta",
    "cumulativetodelta",
    "delta_to_cumulative",
    "delta_to_rate",
    "deltatocumulative",
    "deltatorate",
    "drain",
    "experimental_metricsgeneration",
    "filter",
    "genainormalizer",
    "geoip",
    "groupbyattrs",
    "groupbytrace",
    "interval",
    "isolationforest",
    "k8s_attributes",
    "k8sattributes",
    "logdedup",
    "memory_limiter",
    "metric_start_time",
    "metrics_transform",
    "metricsgeneration",
    "metricstarttime",
    "metricstransform",
    "probabilistic_sampler",
    "redaction",
    "remotetap",
    "resource",
    "resource_detection",
    "resourcedetection",
    "schema",
    "span",
    "sumologic",
    "tail_sampling",
    "transform",
    "unroll",
    // Removed from it, and found in older files.
    "routing",
];

/// Those that are run where a route names them.
const RUN: [&str; 2] = ["attributes", "resource"];

/// Those that change no data.
const HARMLESS: [&str; 2] = ["batch", "memory_limiter"];

/// The problems about processors, in the order of the file.
fn said_of_processors(more: &str) -> Vec<Problem> {
    list(load(&with(more)))
}

fn list(loaded: Result<Compiled, Problems>) -> Vec<Problem> {
    let list = loaded.map_or_else(|problems| problems.list, |compiled| compiled.warnings);
    list.into_iter().filter(|problem| problem.message.starts_with("the processor ")).collect()
}

#[test]
fn every_processor_of_the_contrib_distribution_that_is_not_run_is_an_error_that_says_what_to_do_or_harmless()
{
    for r#type in CONTRIB.into_iter().filter(|r#type| !RUN.contains(r#type)) {
        for name in [r#type.to_owned(), format!("{type}/2"), format!("{type}/of.traces-1")] {
            for yaml in [
                format!("processors: {{ {name}: {{}} }}\n"),
                format!("processors:\n  {name}:\n    key: [value]\n"),
                format!("service: {{ pipelines: {{ logs: {{ processors: [{name}] }} }} }}\n"),
                format!(
                    "processors:\n  {name}:\nservice:\n  pipelines:\n    traces/in:\n      receivers: [otlp]\n      \
                     processors:\n      - {name}\n      exporters: [debug]\n"
                ),
            ] {
                let said = said_of_processors(&yaml);
                let [problem] = &said[..] else { panic!("{yaml}{said:?}") };
                if HARMLESS.contains(&r#type) {
                    assert_eq!(problem.severity, Severity::Warning, "{yaml}");
                    assert!(
                        problem.message.starts_with(&format!("the processor `{name}` has no effect: ")),
                        "{problem}"
                    );
                } else {
                    assert_eq!(problem.severity, Severity::Error, "{yaml}");
                    assert!(
                        problem.message.starts_with(&format!("the processor `{name}` is not available: ")),
                        "{problem}"
                    );
                    let help = problem.help.as_deref().unwrap();
                    assert!(help.ends_with(", and remove it here"), "{problem}");
                }
            }
        }
    }
}

#[test]
fn what_a_processor_is_for_is_named_where_an_option_does_it() {
    for (name, says) in [
        ("batch", "`sending_queue.batch`"),
        ("memory_limiter/a", "`limits.memory`"),
        ("filter/health", "`unrouted: drop`"),
        ("tail_sampling", "`OTEL_TRACES_SAMPLER`"),
        ("resourcedetection/env", "`OTEL_RESOURCE_ATTRIBUTES`"),
        ("cumulativetodelta", "`OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`"),
        ("remotetap", "`debug`"),
    ] {
        let said = said_of_processors(&format!("processors: {{ {name}: {{}} }}\n"));
        assert!(said[0].to_string().contains(says), "{}", said[0]);
    }
}

#[test]
fn processors_that_may_drop_mask_or_change_data_are_errors_that_name_them_in_whatever_shape() {
    for name in ["redaction", "filter/health", "unheard_of"] {
        for yaml in [
            format!("processors: [{name}]\n"),
            format!("processors: {name}\n"),
            format!("processors: [{{ {name}: {{}} }}]\n"),
            format!("processors: {{ {name}: false }}\n"),
            format!("processors: {{ batch: , {name}: }}\n"),
            format!("processors: &all {{ {name}: {{}} }}\n"),
            format!("processors: {{ <<: {{ {name}: {{}} }}, batch: }}\n"),
            format!("service: {{ pipelines: {{ logs: {{ processors: [batch, {name}] }} }} }}\n"),
            format!("service: {{ pipelines: [{{ logs: {{ processors: [{name}] }} }}] }}\n"),
            format!("service: {{ pipelines: {{ logs: {{ processors: {{ {name}: {{}} }} }} }} }}\n"),
            format!("service: {{ pipelines: {{ logs: {{ processors: {{ {name}: }} }} }} }}\n"),
            format!("service: {{ pipelines: {{ logs: {{ processors: {name} }} }} }}\n"),
            format!("service: {{ pipelines: {{ logs: {{ processors: [batch, [{name}]] }} }} }}\n"),
            format!("service: {{ pipelines: {{ logs: {{ processors: [{{ {name}: {{ a: b }} }}] }} }} }}\n"),
            format!("service: {{ pipelines: {{ logs: [{{ processors: [{name}] }}] }} }}\n"),
            format!("service: {{ pipelines: {{ logs: , processors: [{name}] }} }}\n"),
            format!("service: [{{ pipelines: {{ logs: {{ processors: [{name}] }} }} }}]\n"),
            format!("service: [[{{ pipelines: [[{{ logs/2: {{ processors: {{ {name}: {{}} }} }} }}]] }}]]\n"),
            format!("service: {{ logs: {{ processors: [{name}] }} }}\n"),
            format!("service: {{ processors: [{name}] }}\n"),
            // What stands in several places is one mistake.
            format!(
                "service: {{ pipelines: {{ logs: &p {{ processors: [{name}] }}, traces: *p, metrics: {{ <<: *p, receivers: \
                 [otlp] }} }} }}\n"
            ),
            format!(
                "processors: [{name}]\nservice: {{ pipelines: {{ logs: {{ processors: {{ {name}: }} }} }} }}\n"
            ),
            format!(
                "processors: {{ &n {name}: , batch: }}\nservice: {{ pipelines: {{ logs: {{ processors: [*n, batch] }} }} }}\n"
            ),
        ] {
            let said = said(&with(&yaml));
            let errors: Vec<_> = said.iter().filter(|line| line.contains(" error: ")).collect();
            assert_eq!(errors.len(), 1, "{yaml}{said:?}");
            assert!(errors[0].contains(&format!("the processor `{name}` is not available")), "{said:?}");
        }
    }
}

#[test]
fn the_processors_of_the_collectors_own_spans_are_none_of_the_data() {
    let own =
        "service: { telemetry: { traces: { processors: [{ simple: { exporter: { console: {} } } }] } } }\n";
    assert_eq!(good(&with(own)).warnings.len(), 1);
}

#[test]
fn a_processor_that_none_of_the_pipelines_names_is_a_warning() {
    let unused = "processors: { redaction/old: { allow_all_keys: true }, batch: }\n";
    for service in [
        "service: { pipelines: { logs: { receivers: [otlp], exporters: [debug] } } }\n",
        "service: { pipelines: { logs: { receivers: [otlp], processors: [batch], exporters: [debug] } } }\n",
        "service: { pipelines: { logs: { receivers: [otlp], processors: , exporters: [debug] }, traces: } }\n",
        "service: { pipelines: { logs: { processors: [~] } } }\n",
        "service: { extensions: [zpages], pipelines: { logs: { receivers: [\"${env:RECEIVER}\"] } } }\n",
    ] {
        let yaml = with(&format!("{unused}{service}"));
        let said = list(load_with(&yaml, &|_| Some("otlp".into())));
        assert_eq!(said[0].message, "the processor `redaction/old` has no effect: no pipeline names it");
        assert!(said.iter().all(|problem| problem.severity == Severity::Warning), "{said:?}");
    }
}

#[test]
fn a_processor_is_an_error_where_nothing_tells_that_it_is_unused() {
    let defined = "processors: { redaction/old: { allow_all_keys: true }, batch: }\n";
    for service in [
        "",
        "service:\n",
        "service: { extensions: [zpages] }\n",
        "service: { pipelines: }\n",
        "service: { pipelines: {} }\n",
        "service: { pipelines: { logs: } }\n",
        "service: { pipelines: [logs] }\n",
        "service: { pipelines: \"${env:TEXT}\" }\n",
        "service: \"${env:TEXT}\"\n",
        // A Collector would read the text as YAML.
        "service: { pipelines: { logs: { processors: \"${env:TEXT}\" }, traces: { receivers: [otlp] } } }\n",
        "service: { pipelines: { logs: { processors: [batch, \"${env:TEXT}\"] } } }\n",
        "service: { pipelines: { logs: \"${env:TEXT}\", traces: { receivers: [otlp] } } }\n",
    ] {
        let yaml = with(&format!("{defined}{service}"));
        let said = list(load_with(&yaml, &|_| Some("[redaction/old, batch]".into())));
        assert_eq!(said[0].severity, Severity::Error, "{service}");
        assert!(said[0].message.starts_with("the processor `redaction/old` is not available"), "{service}");
    }
    // It is another one that the pipeline names.
    for other in ["redaction", "redaction/new", "redaction/old/"] {
        let service = format!("service: {{ pipelines: {{ logs: {{ processors: [{other}] }} }} }}\n");
        let said = said_of_processors(&format!("{defined}{service}"));
        assert_eq!(said[0].severity, Severity::Warning);
        assert!(
            said[2].message.starts_with(&format!("the processor `{other}` is not available")),
            "{said:?}"
        );
    }
}

#[test]
fn a_processor_that_a_variable_names_is_not_shown() {
    let yaml = with("service: { pipelines: { logs: { processors: [\"${env:PROCESSOR}\"] } } }\n");
    for (value, severity) in
        [("s3cret", Severity::Error), ("redaction", Severity::Error), ("batch", Severity::Warning)]
    {
        let loaded = load_with(&yaml, &|_| Some(value.into()));
        let said = list(loaded);
        assert_eq!(said[0].severity, severity, "{value}");
        assert!(said[0].message.starts_with("the processor `[redacted]` "), "{}", said[0]);
        assert!(said[0].to_string().contains("processors: [[redacted]]"), "{}", said[0]);
    }
    // Of nothing, nothing is to be said.
    assert_eq!(list(load_with(&yaml, &|_| Some(String::new()))), []);
    let missing = load_with(&yaml, &|_| None).unwrap_err().list;
    assert_eq!(
        missing.iter().filter(|problem| problem.severity == Severity::Error).count(),
        1,
        "{missing:?}"
    );
}

#[test]
fn a_placeholder_for_a_processor_is_no_error_but_may_be_one_that_is_defined() {
    let service = "service: { pipelines: { logs: { processors: [\"${env:PROCESSOR}\"] } } }\n";
    let without_secrets = |yaml: &str| list(load_without_secrets(yaml));
    assert_eq!(without_secrets(&with(service)), []);
    let said = without_secrets(&with(&format!("processors: {{ filter: {{}} }}\n{service}")));
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].severity, Severity::Error);
}

#[test]
fn a_misspelt_key_of_a_pipeline_leaves_no_processor_out() {
    let pipeline = |key: &str| {
        with(&format!(
            "processors: {{ redaction: {{}} }}\nservice:\n  pipelines:\n    logs:\n      receivers: [otlp]\n      {key}: \
             [redaction]\n      exporters: [debug]\n"
        ))
    };
    for key in ["processor", "procesors", "Processors", "processors "] {
        let said = said(&pipeline(&format!("\"{key}\"")));
        assert!(
            said.iter().any(|line| line.starts_with("9:7 error: unknown key ")
                && line.ends_with(" in a pipeline; did you mean `processors`?")),
            "{said:?}"
        );
    }
    let said = said(&pipeline("middle"));
    assert!(
        said.iter().any(|line| line
            == "9:7 error: unknown key `middle` in a pipeline (the keys here are `receivers`, `processors` and `exporters`)"),
        "{said:?}"
    );
}

#[test]
fn a_misspelt_processor_is_told_what_it_may_be() {
    for (name, help) in [
        ("bacth", "did you mean `batch`?"),
        ("Batch", "did you mean `batch`?"),
        ("memory-limiter/a", "did you mean `memory_limiter`?"),
        ("memorylimiter", "did you mean `memory_limiter`?"),
        (
            "redactoin/pii",
            "did you mean `redaction`? let the senders, a Collector before this one or the upstream do it, and remove it here",
        ),
        (
            "unheard_of",
            "let the senders, a Collector before this one or the upstream do it, and remove it here",
        ),
    ] {
        let said = said_of_processors(&format!("processors: {{ {name}: {{}} }}\n"));
        assert_eq!(said[0].severity, Severity::Error, "{name}");
        assert_eq!(said[0].help.as_deref(), Some(help), "{name}");
    }
    for (key, near) in [("procesors", "processors"), ("processor", "processors"), ("servce", "service")] {
        let said = said(&with(&format!("{key}: {{}}\n")));
        assert_eq!(
            said,
            [format!("4:1 error: unknown key `{key}` in the top level; did you mean `{near}`?")]
        );
    }
}

/// `docs/configuration.md`, from the heading `### Processors` to the next.
fn section() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("\n### Processors\n").expect("the page has the section");
    rest.split("\n#").next().unwrap().to_owned()
}

#[test]
fn what_the_table_in_the_documentation_says_of_a_processor_is_what_is_said() {
    let mut types = Vec::new();
    for row in section().lines().filter(|line| line.starts_with("| `") || line.starts_with("| any other")) {
        let [names, is, instead] = row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        for name in names.replace("any other", "`unheard_of`").split(", ") {
            let r#type = name.trim_matches('`');
            let said = said_of_processors(&format!("processors: {{ {type}: }}\n"));
            let [problem] = &said[..] else { panic!("{said:?}") };
            let help = problem.help.as_deref();
            if RUN.contains(&r#type) {
                let message = format!("the processor `{type}` has no effect: no route names it");
                assert_eq!((problem.severity, &problem.message), (Severity::Warning, &message));
                assert_eq!(is, "run by the routes that name it");
            } else if let Some(without) = is.strip_prefix("an error: ") {
                let message = format!("the processor `{type}` is not available: {without}");
                assert_eq!((problem.severity, &problem.message), (Severity::Error, &message));
                assert_eq!(help, Some(&*format!("{instead}, and remove it here")));
            } else {
                let message = format!("the processor `{type}` has no effect: {instead}");
                assert_eq!((problem.severity, &problem.message), (Severity::Warning, &message));
                assert_eq!((is, help), ("a warning", None));
            }
            types.push(r#type.to_owned());
        }
    }
    let missing: Vec<_> = CONTRIB.iter().filter(|known| !types.iter().any(|shown| shown == *known)).collect();
    assert_eq!(missing, [&"routing"]);
}

#[test]
fn each_sentence_of_the_documentation_about_processors_holds() {
    use Severity::{Error, Warning};

    /// What stands in a file, and how bad the problem is whose message has this part.
    type Example = (&'static str, Severity, &'static str);
    let sentences: [(&str, &[Example]); 12] = [
        (
            "Sluice runs `resource` and `attributes`, in the routes that [name them](#edits)",
            &[(
                "processors: { resource: { attributes: [{ key: a, action: delete }] } }\n",
                Warning,
                "the processor `resource` has no effect: no route names it",
            )],
        ),
        (
            "Such a processor is an error if a pipeline of `service` names it, or may name it, and no route does",
            &[
                (
                    "processors: { attributes/pii: { actions: [{ key: a, action: delete }] } }\nservice: { pipelines: { logs: { processors: [attributes/pii] } } }\n",
                    Error,
                    "the processor `attributes/pii` is not run: a pipeline may name it, and no route does",
                ),
                (
                    "processors: { attributes/pii: { actions: [{ key: a, action: delete }] } }\nservice: { pipelines: { logs: { processors: [\"${env:P}\"] } } }\n",
                    Error,
                    "the processor `attributes/pii` is not run: a pipeline may name it, and no route does",
                ),
                (
                    "service: { pipelines: { logs: { processors: [attributes/pii] } } }\n",
                    Error,
                    "the processor `attributes/pii` has no settings",
                ),
            ],
        ),
        (
            "`batch` and `memory_limiter` change no data",
            &[(
                "processors: { batch: }\n",
                Warning,
                "the processor `batch` has no effect: batches are formed by `sending_queue.batch`",
            )],
        ),
        (
            "They are left out with a warning that says which option does what they are for",
            &[(
                "processors: { memory_limiter: }\n",
                Warning,
                "the processor `memory_limiter` has no effect: `limits.memory`",
            )],
        ),
        (
            "Every other processor is an error, since it may drop, mask or change data that would be sent on as it came",
            &[(
                "processors: { redaction: }\n",
                Error,
                "what it drops, masks or changes would be sent on as it came",
            )],
        ),
        (
            "So is one that Sluice has never heard of",
            &[(
                "processors: { unheard_of: }\n",
                Error,
                "what it drops, masks or changes would be sent on as it came",
            )],
        ),
        (
            "A problem is at each place where a processor stands: in `processors` or in a pipeline, with or without a name after its type (`redaction/cards`), as a list, as a map, or alone",
            &[
                ("processors: { redaction: }\n", Error, "the processor `redaction` "),
                ("processors: [redaction/cards]\n", Error, "the processor `redaction/cards` "),
                ("processors: redaction/cards\n", Error, "the processor `redaction/cards` "),
                (
                    "service: { pipelines: { logs: { processors: [redaction/cards] } } }\n",
                    Error,
                    "the processor `redaction/cards` ",
                ),
                (
                    "service: { pipelines: { logs: { processors: { redaction: } } } }\n",
                    Error,
                    "the processor `redaction` ",
                ),
                (
                    "service: { pipelines: { logs: { processors: redaction } } }\n",
                    Error,
                    "the processor `redaction` ",
                ),
            ],
        ),
        (
            "One that is in `processors`, but in none of the file's pipelines, is run by no Collector either, and gives a warning",
            &[(
                "processors: { redaction: {} }\nservice: { pipelines: { logs: { receivers: [otlp] } } }\n",
                Warning,
                "the processor `redaction` has no effect: no pipeline names it",
            )],
        ),
        (
            "Where there are no pipelines it is an error",
            &[(
                "processors: { redaction: {} }\nservice: { extensions: [] }\n",
                Error,
                "the processor `redaction` is not available",
            )],
        ),
        (
            "Without any `service`, `resource` and `attributes` give only a warning",
            &[(
                "processors: { attributes/a: { actions: [{ key: x, action: delete }] } }\n",
                Warning,
                "the processor `attributes/a` has no effect",
            )],
        ),
        (
            "It is an error, too, where a part of the pipelines comes from a variable or a file",
            &[
                (
                    "processors: { redaction: {} }\nservice: { pipelines: { logs: { processors: [\"${env:P}\"] } } }\n",
                    Error,
                    "the processor `redaction` is not available",
                ),
                (
                    "processors: { redaction: {} }\nservice: { pipelines: { logs: { processors: [\"${file:rustfmt.toml}\"] } } }\n",
                    Error,
                    "the processor `redaction` is not available",
                ),
            ],
        ),
        (
            "A key of a pipeline that is none of `receivers`, `processors` and `exporters` is an error, too: a misspelt `processors` would leave out what it holds",
            &[(
                "service: { pipelines: { logs: { procesors: [redaction] } } }\n",
                Error,
                "unknown key `procesors` in a pipeline",
            )],
        ),
    ];
    let section = section();
    let prose = section.split("<!--").next().unwrap();
    let prose = prose.split_whitespace().collect::<Vec<_>>().join(" ");
    let written: Vec<&str> = prose.trim_end_matches('.').split(". ").collect();
    assert_eq!(written, sentences.map(|(sentence, _)| sentence));
    for (sentence, examples) in sentences {
        for (yaml, severity, message) in examples {
            let loaded = load_with(&with(yaml), &|_| Some("batch".into()));
            let list = loaded.map_or_else(|problems| problems.list, |compiled| compiled.warnings);
            let found = list.iter().find(|problem| problem.message.contains(message));
            assert_eq!(found.map(|problem| problem.severity), Some(*severity), "{sentence}: {yaml}{list:?}");
        }
    }
}
