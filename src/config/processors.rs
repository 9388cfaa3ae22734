//! The processors of a Collector's file, of which Sluice runs two where a route names them.
//!
//! Any other processor that may drop, mask or change data is an error wherever a pipeline may run it: what it holds back would be
//! sent on otherwise. The two that change nothing are left out with a warning that says which option does what they are for.
//! A processor that is defined, but that none of the file's pipelines names, is run by no Collector either, so that leaving it
//! out takes nothing away: it is a warning, too. Where there is no pipeline, as in a file of processors alone, nothing tells
//! that it is unused, and it is an error. One of the two that are run is an error where a pipeline may name it and no route does.

use std::collections::HashSet;

use super::model;
use super::node::{Mention, Node, Origin, Value};
use super::problem::{Report, listed, nearest, quoted};
use super::secrets::REDACTED;

/// What is done about a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is run by each route that names it.
    Run,
    /// It is left out, with a warning that says what does here what it is for. It drops and changes no data.
    LeftOut(&'static str),
    /// It is an error.
    Refused {
        /// What would become of the data without it.
        without: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

use Treatment::{LeftOut, Refused, Run};

const ELSEWHERE: &str = "let the senders, a Collector before this one or the upstream do it";

/// Processors of one kind, by each name that they have or had, and what is done about them.
pub(super) const TABLE: &[(&[&str], Treatment)] = &[
    (&["resource", "attributes"], Run),
    (&["batch"], LeftOut("batches are formed by `sending_queue.batch` of each exporter")),
    (&["memory_limiter"], LeftOut("`limits.memory` bounds what is held, and what is beyond it is refused")),
    (
        &["filter"],
        Refused {
            without: "what it drops would be sent on",
            instead: "to drop whole resources, write a `match` for each of `routes` and `unrouted: drop`; to drop single \
                      spans, data points or log records, let the senders, a Collector before this one or the upstream do it",
        },
    ),
    (
        &["probabilistic_sampler", "tail_sampling"],
        Refused {
            without: "what it leaves out would be sent on",
            instead: "let the senders sample, which SDKs do by `OTEL_TRACES_SAMPLER`, or let a Collector before this one do it",
        },
    ),
    (
        &["redaction", "transform"],
        Refused {
            without: "what it drops, masks or changes would be sent on as it came",
            instead: ELSEWHERE,
        },
    ),
    (
        &["resource_detection", "resourcedetection", "k8s_attributes", "k8sattributes"],
        Refused {
            without: "resources would be routed and sent on as they came",
            instead: "let the senders set the attributes, which SDKs do by `OTEL_RESOURCE_ATTRIBUTES`, or a processor `resource` that \
                      a route names",
        },
    ),
    (
        &["groupbyattrs"],
        Refused {
            without: "routes would not find the attributes that it moves to resources",
            instead: "let a Collector before this one do it",
        },
    ),
    (
        &["groupbytrace"],
        Refused {
            without: "spans would be sent on as they came, those that it discards among them",
            instead: "let a Collector before this one or the upstream do it",
        },
    ),
    (
        &["span", "geoip", "schema", "coralogix", "sumologic", "genainormalizer", "isolationforest"],
        Refused { without: "what it adds or changes would be sent on as it came", instead: ELSEWHERE },
    ),
    (
        &["drain", "logdedup", "unroll"],
        Refused { without: "log records would be sent on as they came", instead: ELSEWHERE },
    ),
    (
        &["cumulative_to_delta", "cumulativetodelta", "delta_to_cumulative", "deltatocumulative"],
        Refused {
            without: "metrics would be sent on as they came",
            instead: "let the senders choose, which SDKs do by `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`, or let a \
                      Collector before this one do it",
        },
    ),
    (
        &[
            "delta_to_rate",
            "deltatorate",
            "interval",
            "metric_start_time",
            "metricstarttime",
            "metrics_transform",
            "metricstransform",
            "metricsgeneration",
            "experimental_metricsgeneration",
            "cardinality_guardian",
        ],
        Refused { without: "metrics would be sent on as they came", instead: ELSEWHERE },
    ),
    (
        &["remotetap"],
        Refused {
            without: "what passes would be shown nowhere",
            instead: "name an exporter of the type `debug` or `file` beside the others of a route",
        },
    ),
];

/// What is done about a processor that is not in the table.
pub(super) const ANY_OTHER: Treatment =
    Refused { without: "what it drops, masks or changes would be sent on as it came", instead: ELSEWHERE };

/// The keys of a pipeline.
const PIPELINE: [&str; 3] = ["receivers", "processors", "exporters"];

/// Whether the text is what a type of processor is called.
pub(super) fn is_type(text: &str) -> bool {
    types().any(|known| known == text)
}

/// Whether a processor changes no data and is left out.
pub(super) fn is_left_out(name: &str) -> bool {
    instead_of_harmless(model::type_of(name)).is_some()
}

/// Whether Sluice runs a processor itself.
pub(super) fn is_run(name: &str) -> bool {
    treatment(model::type_of(name)).unwrap_or(ANY_OTHER) == Run
}

/// What does here what a processor of a type is for that changes nothing.
pub(super) fn instead_of_harmless(r#type: &str) -> Option<&'static str> {
    match treatment(r#type)? {
        LeftOut(why) => Some(why),
        Run | Refused { .. } => None,
    }
}

/// What would become of data without a processor of a type that is known and not available, and what to do instead.
pub(super) fn not_available(r#type: &str) -> Option<(&'static str, &'static str)> {
    match treatment(r#type)? {
        Refused { without, instead } => Some((without, instead)),
        Run | LeftOut(_) => None,
    }
}

fn types() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|(types, _)| types.iter().copied())
}

fn treatment(r#type: &str) -> Option<Treatment> {
    TABLE.iter().find(|(types, _)| types.contains(&r#type)).map(|(_, treatment)| *treatment)
}

/// Reports every processor that the file defines, or that one of its pipelines names. `own` is the file as Sluice's own
/// configuration, whose routes name those that are run.
pub(super) fn check(root: &Node, own: &Node, report: &mut Report) {
    let section = root.get("processors");
    let defined = section.map(Node::mentions).unwrap_or_default();
    let has_settings = section.is_some_and(Node::is_map);
    let routed = in_routes(own);
    let pipelines = Pipelines::of(root.get("service"));
    let known: HashSet<&str> = defined.iter().map(|mention| mention.name).collect();
    let run: HashSet<&str> = pipelines.processors.iter().map(|mention| mention.name).collect();
    for processor in &defined {
        let may_run = !pipelines.are_known || run.contains(processor.name);
        if treatment(model::type_of(processor.name)) != Some(Run) {
            say(processor, may_run, report);
        } else if !has_settings {
            say_without_settings(processor, report);
        } else if !routed.contains(processor.name) {
            say_unrouted(processor, may_run && root.get("service").is_some(), report);
        }
    }
    for processor in pipelines.processors.iter().filter(|processor| !known.contains(processor.name)) {
        if treatment(model::type_of(processor.name)) == Some(Run) {
            say_without_settings(processor, report);
        } else {
            say(processor, true, report);
        }
    }
    if let Some(service) = root.get("service") {
        check_keys(service, report);
    }
}

/// The processors that routes name.
fn in_routes(root: &Node) -> HashSet<&str> {
    let Some(routes) = root.get("routes") else { return HashSet::new() };
    let routes = (0..).map_while(|index| routes.item(index));
    routes
        .filter_map(|route| route.get("processors"))
        .flat_map(Node::mentions)
        .map(|mention| mention.name)
        .collect()
}

/// What the pipelines of a file say of its processors.
struct Pipelines<'a> {
    /// Those that they name.
    processors: Vec<Mention<'a>>,
    /// Whether that is all of it: there are pipelines, and no part of them is substituted, which a Collector would read as
    /// YAML.
    are_known: bool,
}

impl<'a> Pipelines<'a> {
    fn of(service: Option<&'a Node>) -> Self {
        let Some(service) = service else { return Self { processors: Vec::new(), are_known: false } };
        let written = service.get("pipelines").map(Node::entries).unwrap_or_default();
        let are_known = written.iter().any(|pipeline| !pipeline.value.entries().is_empty());
        let mut found = Self { processors: Vec::new(), are_known };
        found.gather(service);
        found
    }

    /// Takes the processors that stand below `service`, in whatever shape.
    fn gather(&mut self, node: &'a Node) {
        match &node.value {
            Value::Scalar(scalar) => self.are_known &= !scalar.is_substituted(),
            Value::Seq(items) => items.iter().for_each(|item| self.gather(item)),
            Value::Map(entries) => {
                for entry in entries {
                    match entry.key.as_str() {
                        "processors" => {
                            let processors = entry.value.mentions();
                            self.are_known &= !entry.value.is_substituted()
                                && processors.iter().all(|mention| mention.origin == Origin::Written);
                            self.processors.extend(processors);
                        }
                        // Those below `telemetry` are of the Collector's own spans.
                        "receivers" | "exporters" | "extensions" | "telemetry" => {}
                        _ => self.gather(&entry.value),
                    }
                }
            }
        }
    }
}

/// A misspelt `processors` would leave out what it holds.
fn check_keys(service: &Node, report: &mut Report) {
    for pipeline in service.get("pipelines").map(Node::entries).unwrap_or_default() {
        for entry in pipeline.value.entries() {
            if PIPELINE.contains(&entry.key.as_str()) {
                continue;
            }
            let key = if report.shows(entry.key_span) { quoted(&entry.key) } else { format!("`{REDACTED}`") };
            match nearest(&entry.key, PIPELINE) {
                Some(near) => {
                    let message = format!("unknown key {key} in a pipeline; did you mean `{near}`?");
                    report.error(entry.key_span, message);
                }
                None => report
                    .error(entry.key_span, format!("unknown key {key} in a pipeline"))
                    .help(format!("the keys here are {}", listed(PIPELINE))),
            }
        }
    }
}

/// Reports a processor that could be run, but of which nothing is there but the name.
fn say_without_settings(processor: &Mention<'_>, report: &mut Report) {
    if processor.origin == Origin::Placeholder {
        return;
    }
    let shown = processor.shown();
    report.error(processor.span, format!("the processor {shown} has no settings")).help(
        "write them below its name in the map `processors`, and the name in the `processors` of routes",
    );
}

/// Reports a processor that no route names; `may_run`: a pipeline may run it.
fn say_unrouted(processor: &Mention<'_>, may_run: bool, report: &mut Report) {
    let shown = processor.shown();
    if may_run {
        let message = format!("the processor {shown} is not run: a pipeline may name it, and no route does");
        report
            .error(processor.span, message)
            .help(format!("write `processors: [{}]` in the routes that it is for", shown.trim_matches('`')));
    } else {
        report
            .warn(processor.span, format!("the processor {shown} has no effect: no route names it"))
            .help(format!("write `processors: [{}]` in the routes that it is for", shown.trim_matches('`')));
    }
}

/// Reports a processor, which a pipeline may run or which none does.
fn say(processor: &Mention<'_>, may_run: bool, report: &mut Report) {
    // Which one it is can't be told, and that a placeholder stands there has been.
    if processor.origin == Origin::Placeholder {
        return;
    }
    let (shown, at) = (processor.shown(), processor.span);
    let r#type = model::type_of(processor.name);
    let known = treatment(r#type);
    match known.unwrap_or(ANY_OTHER) {
        Run => {}
        LeftOut(why) => {
            report.warn(at, format!("the processor {shown} has no effect: {why}"));
        }
        Refused { .. } if !may_run => {
            report.warn(at, format!("the processor {shown} has no effect: no pipeline names it"));
        }
        Refused { without, instead } => {
            let near =
                nearest(r#type, types()).filter(|_| known.is_none() && processor.origin == Origin::Written);
            let instead = match near.map(|near| (near, treatment(near))) {
                Some((near, Some(Refused { instead, .. }))) => {
                    format!("did you mean `{near}`? {instead}, and remove it here")
                }
                Some((near, _)) => format!("did you mean `{near}`?"),
                None => format!("{instead}, and remove it here"),
            };
            report.error(at, format!("the processor {shown} is not available: {without}")).help(instead);
        }
    }
}
