//! Reports the processors of a file that Sluice does not run, or that no route names.

use std::collections::HashSet;

use super::model;
use super::node::{Mention, Node, NodeValue, Scalar, ScalarOrigin};
use super::problem::ProblemReport;
use super::processors::Treatment::{LeftOut, Refused, Run};
use super::processors::{ANY_OTHER, treatment, types};
use super::quoting::{REDACTED, listed, nearest, quoted};

/// The keys of a pipeline.
const PIPELINE: [&str; 3] = ["receivers", "processors", "exporters"];

/// Reports every processor that the file defines, or that one of its pipelines names. `own` is the file as Sluice's own
/// configuration, whose routes name those that are run.
pub(super) fn check(root: &Node, own: &Node, report: &mut ProblemReport) {
    let section = root.get("processors");
    let defined = section.map(Node::mentions).unwrap_or_default();
    let has_settings = section.is_some_and(Node::is_map);
    let routed = in_routes(own);
    // A placeholder may stand for any name.
    let is_placeholder = |scalar: &Scalar| scalar.origin == ScalarOrigin::Placeholder;
    let may_be_routed = [own.get("routes"), root.get("service")]
        .into_iter()
        .flatten()
        .any(|node| node.any_scalar(&is_placeholder));
    let pipelines = Pipelines::of(root.get("service"));
    let known: HashSet<&str> = defined.iter().map(|mention| mention.name).collect();
    let run: HashSet<&str> = pipelines.processors.iter().map(|mention| mention.name).collect();
    for processor in &defined {
        let may_run = !pipelines.are_known || run.contains(processor.name);
        if treatment(model::type_of(processor.name)) != Some(Run) {
            say(processor, may_run, report);
        } else if !has_settings {
            say_without_settings(processor, report);
        } else if !routed.contains(processor.name) && !may_be_routed {
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

/// The processors in the pipelines of a file.
struct Pipelines<'a> {
    /// The processors that pipelines name.
    processors: Vec<Mention<'a>>,
    /// Whether these are all: there are pipelines, and no part of them is substituted, which a Collector would read as YAML.
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

    /// Adds the processors below `service`, in any shape.
    fn gather(&mut self, node: &'a Node) {
        match &node.value {
            NodeValue::Scalar(scalar) => self.are_known &= !scalar.is_substituted(),
            NodeValue::Seq(items) => items.iter().for_each(|item| self.gather(item)),
            NodeValue::Map(entries) => {
                for entry in entries {
                    match entry.key.as_str() {
                        "processors" => {
                            let processors = entry.value.mentions();
                            self.are_known &= !entry.value.is_substituted()
                                && processors.iter().all(|mention| mention.origin == ScalarOrigin::Written);
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

/// Reports unknown keys of pipelines: a misspelt `processors` would leave out the processors below it.
fn check_keys(service: &Node, report: &mut ProblemReport) {
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

/// Reports a processor that could be run, but has no settings.
fn say_without_settings(processor: &Mention<'_>, report: &mut ProblemReport) {
    if processor.origin == ScalarOrigin::Placeholder {
        return;
    }
    let shown = processor.shown();
    report.error(processor.span, format!("the processor {shown} has no settings")).help(
        "write them below its name in the map `processors`, and the name in the `processors` of routes",
    );
}

/// Reports a processor that no route names; `may_run`: a pipeline may run it.
fn say_unrouted(processor: &Mention<'_>, may_run: bool, report: &mut ProblemReport) {
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
fn say(processor: &Mention<'_>, may_run: bool, report: &mut ProblemReport) {
    // The placeholder, which has been reported, does not tell which processor is meant.
    if processor.origin == ScalarOrigin::Placeholder {
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
            let near = nearest(r#type, types())
                .filter(|_| known.is_none() && processor.origin == ScalarOrigin::Written);
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
