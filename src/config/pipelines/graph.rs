//! The pipelines of a Collector's file, followed from their receivers through connectors to exporters.

use super::cases::Cases;
use super::condition::{self, About, NotExpressible};
use crate::config::collector;
use crate::config::model::type_of;
use crate::config::node::{Mention, Node};
use crate::config::problem::{Report, Span, nearest};
use crate::config::secrets::named;
use crate::otlp::Signal;

/// Pipelines behind each other at most.
const LONGEST: usize = 16;

/// A pipeline as it is written.
pub(super) struct Pipeline<'a> {
    pub(super) name: &'a str,
    /// Where its name stands.
    pub(super) at: Span,
    pub(super) signal: Signal,
    pub(super) receivers: Vec<Mention<'a>>,
    pub(super) processors: Vec<Mention<'a>>,
    pub(super) exporters: Vec<Mention<'a>>,
}

/// What becomes of the data that comes to a pipeline.
pub(super) enum Step<'p> {
    /// All of it is sent.
    Send(Sending<'p>),
    /// A connector chooses.
    Choose(Choice<'p>),
}

/// The end of a way.
#[derive(Clone)]
pub(super) struct Sending<'p> {
    /// The pipeline that sends.
    pub(super) pipeline: &'p Pipeline<'p>,
    /// Those of all pipelines on the way.
    pub(super) processors: Vec<&'p Mention<'p>>,
    pub(super) exporters: Vec<&'p Mention<'p>>,
}

/// The ways from which a connector chooses.
pub(super) struct Choice<'p> {
    pub(super) arms: Vec<Arm<'p>>,
    /// What is done with data that no arm has taken.
    pub(super) otherwise: Vec<Step<'p>>,
    /// Where that is written.
    pub(super) rest_at: Option<Span>,
}

/// One of these ways.
pub(super) struct Arm<'p> {
    pub(super) when: Cases,
    /// Where the condition stands.
    pub(super) at: Span,
    pub(super) takes: Takes,
    pub(super) steps: Vec<Step<'p>>,
}

/// What an arm leaves for others of what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing.
    All,
    /// All of it, for later arms and for what is done otherwise.
    Copy,
    /// All of it, for later arms alone.
    CopyForArms,
}

/// The pipelines of a file, and what they are made of.
pub(super) struct Graph<'a> {
    pub(super) pipelines: Vec<Pipeline<'a>>,
    root: &'a Node,
}

impl<'a> Graph<'a> {
    /// Reads `service.pipelines`.
    pub(super) fn new(root: &'a Node, report: &mut Report) -> Self {
        let mut pipelines = Vec::new();
        for entry in root.near(&["service", "pipelines"]).entries() {
            let shown = if report.shows(entry.key_span) { named(&entry.key) } else { named("") };
            let Some(signal) = Signal::from_name(type_of(&entry.key)) else {
                let problem = report
                    .error(entry.key_span, format!("the pipeline {shown} is for no signal that is routed"));
                problem.help("the signals are `traces`, `metrics` and `logs`; remove the pipeline");
                continue;
            };
            let mentions = |key: &str| entry.value.get(key).map(Node::mentions).unwrap_or_default();
            pipelines.push(Pipeline {
                name: &entry.key,
                at: entry.key_span,
                signal,
                receivers: mentions("receivers"),
                processors: mentions("processors"),
                exporters: mentions("exporters"),
            });
        }
        Self { pipelines, root }
    }

    /// Whether the name is that of a connector, which is defined.
    pub(super) fn is_connector(&self, name: &str) -> bool {
        self.root.get("connectors").is_some_and(|connectors| connectors.get(name).is_some())
    }

    /// What becomes of data that comes to a pipeline, behind the processors of those before it.
    pub(super) fn steps<'p>(
        &'p self,
        pipeline: &'p Pipeline<'p>,
        before: &[&'p Mention<'p>],
        length: usize,
        report: &mut Report,
    ) -> Vec<Step<'p>> {
        if length > LONGEST {
            report.error(
                pipeline.at,
                format!("more than {LONGEST} pipelines stand behind each other, or in a circle"),
            );
            return Vec::new();
        }
        let mut processors = before.to_vec();
        processors.extend(&pipeline.processors);
        let (connectors, exporters): (Vec<_>, Vec<_>) =
            pipeline.exporters.iter().partition(|mention| self.is_connector(mention.name));
        let mut steps = Vec::new();
        if !exporters.is_empty() {
            steps.push(Step::Send(Sending { pipeline, processors: processors.clone(), exporters }));
        }
        for connector in connectors {
            match type_of(connector.name) {
                "forward" => {
                    let behind = |next: &&Pipeline<'_>| {
                        next.signal == pipeline.signal
                            && next.receivers.iter().any(|receiver| receiver.name == connector.name)
                    };
                    let behind: Vec<_> = self.pipelines.iter().filter(behind).collect();
                    if behind.is_empty() {
                        self.report_no_receiver(pipeline, connector, report);
                    }
                    for next in behind {
                        steps.extend(self.steps(next, &processors, length + 1, report));
                    }
                }
                "routing" => {
                    steps.push(Step::Choose(self.choice(pipeline, connector, &processors, length, report)));
                }
                _ => {
                    let why = collector::connector(connector.name);
                    let shown = connector.shown();
                    report
                        .error(connector.span, format!("the connector {shown} is not available: {why}"))
                        .help("let a Collector before or behind this do it, and remove it here");
                }
            }
        }
        steps
    }

    /// Reports a `forward` from which no pipeline of its signal receives.
    fn report_no_receiver(&self, pipeline: &Pipeline<'_>, connector: &Mention<'_>, report: &mut Report) {
        let (shown, signal) = (connector.shown(), pipeline.signal);
        let receives =
            |other: &&Pipeline<'_>| other.receivers.iter().any(|receiver| receiver.name == connector.name);
        match self.pipelines.iter().find(receives) {
            Some(other) => {
                let message = format!(
                    "{shown} hands {signal} on, and the pipeline {} that receives from it is for {}",
                    named(other.name),
                    other.signal
                );
                let help = format!("receive from it in a pipeline for {signal}, or remove it here");
                report.error(connector.span, message).help(help);
            }
            None => {
                report
                    .error(connector.span, format!("no pipeline receives from {shown}"))
                    .help("name it in the `receivers` of a pipeline, or remove it here");
            }
        }
    }

    fn choice<'p>(
        &'p self,
        pipeline: &'p Pipeline<'p>,
        connector: &Mention<'_>,
        processors: &[&'p Mention<'p>],
        length: usize,
        report: &mut Report,
    ) -> Choice<'p> {
        let written = self.root.near(&["connectors", connector.name]);
        check_keys(
            written,
            &["table", "default_pipelines", "error_mode", "match_once"],
            "a routing connector",
            report,
        );
        let is_false = |node: &Node| node.text().and_then(crate::config::model::boolean) == Some(false);
        // Removed in version 0.120, in which the first that matches counts.
        let matches_all = written.get("match_once").is_some_and(is_false);
        let mut arms = Vec::new();
        let mut position = 0;
        while let Some(row) = written.near(&["table"]).item(position) {
            position += 1;
            let Some(arm) = self.arm(row, pipeline, processors, length, report) else { continue };
            self.check_edits(&arm.when, connector, processors, report);
            arms.push(match (matches_all, arm.takes) {
                (true, _) => Arm { takes: Takes::CopyForArms, ..arm },
                (false, _) => arm,
            });
        }
        let defaults = written.get("default_pipelines");
        let otherwise = defaults.map(|list| self.behind(list, pipeline, processors, length, report));
        let rest_at = defaults.filter(|list| !list.mentions().is_empty()).map(|list| list.span);
        Choice { arms, otherwise: otherwise.unwrap_or_default(), rest_at }
    }

    /// A row of the table; `None` if it is not for this signal, or can't be read, which has been reported.
    fn arm<'p>(
        &'p self,
        row: &Node,
        pipeline: &'p Pipeline<'p>,
        processors: &[&'p Mention<'p>],
        length: usize,
        report: &mut Report,
    ) -> Option<Arm<'p>> {
        check_keys(
            row,
            &["context", "condition", "statement", "action", "pipelines"],
            "a row of the table",
            report,
        );
        let context = row.get("context").and_then(Node::text).unwrap_or_default();
        let about = match (context, pipeline.signal) {
            ("" | "resource", _) => About::Resource,
            ("span", Signal::Traces) | ("log", Signal::Logs) | ("datapoint", Signal::Metrics) => {
                About::Record
            }
            ("metric", Signal::Metrics) => About::Metric,
            ("request", _) => About::Request,
            ("span" | "log" | "datapoint" | "metric", _) => return None,
            _ => {
                let words = "the contexts are `resource`, `span`, `log`, `datapoint` and `request`";
                report
                    .error(row.near(&["context"]).span, "the context of this row is none that routes know")
                    .help(words);
                return None;
            }
        };
        let takes = match row.get("action").and_then(Node::text) {
            None | Some("" | "move") => Takes::All,
            Some("copy") => Takes::Copy,
            Some(_) => {
                report
                    .error(row.near(&["action"]).span, "the action of this row is none that routes know")
                    .help("the actions are `move` and `copy`");
                return None;
            }
        };
        let is_written = |key: &str| row.get(key).is_some_and(|node| !node.is_null());
        if is_written("condition") && is_written("statement") {
            let message = "a row of the table has a `condition` and a `statement`";
            report.error(row.near(&["statement"]).span, message).help("keep one of the two");
            return None;
        }
        let condition = ["condition", "statement"].into_iter().find_map(|key| {
            let node = row.get(key).filter(|node| !node.is_null())?;
            Some((node, node.text()?, key == "statement"))
        });
        let Some((node, text, is_statement)) = condition else {
            report
                .error(row.span, "a row of the table has no condition")
                .help("write `condition: resource.attributes[\"tenant\"] == \"acme\"`");
            return None;
        };
        let cases = condition::parse(text, about, is_statement)
            .and_then(|condition| Cases::of(&condition).map_err(NotExpressible::from));
        let when = match cases {
            Ok(when) => when,
            Err(NotExpressible { message, help }) => {
                report.error(node.span, message).help(help);
                return None;
            }
        };
        if about == About::Record
            && when.attributes().any(|one| matches!(one, condition::Attribute::Record(_)))
        {
            let message = "this row is asked about more than the records' own attributes: where a record lacks one, that of its \
                           events, its scope, its metric's metadata or its resource counts, unlike in a Collector";
            report.warn(node.span, message).help(
                "ask for an attribute that stands on the records alone, or is the same wherever it stands",
            );
        }
        let Some(list) = row.get("pipelines") else {
            report.error(row.span, "a row of the table names no pipeline").help("write `pipelines: [NAME]`");
            return None;
        };
        let steps = self.behind(list, pipeline, processors, length, report);
        Some(Arm { when, at: node.span, takes, steps }).filter(|arm| !arm.steps.is_empty())
    }

    /// What becomes of data that is handed to the pipelines of a list.
    fn behind<'p>(
        &'p self,
        list: &Node,
        pipeline: &'p Pipeline<'p>,
        processors: &[&'p Mention<'p>],
        length: usize,
        report: &mut Report,
    ) -> Vec<Step<'p>> {
        let mut steps = Vec::new();
        for mention in list.mentions() {
            let Some(next) = self.pipelines.iter().find(|known| known.name == mention.name) else {
                if Signal::from_name(type_of(mention.name)).is_some() {
                    let near = nearest(mention.name, self.pipelines.iter().map(|known| known.name));
                    let problem =
                        report.error(mention.span, format!("there is no pipeline {}", mention.shown()));
                    if let Some(near) = near {
                        problem.help(format!("did you mean {}?", named(near)));
                    }
                }
                continue;
            };
            if next.signal == pipeline.signal {
                steps.extend(self.steps(next, processors, length + 1, report));
            }
        }
        steps
    }

    /// Reports a condition on something that a processor before the connector changes: routes see what came in.
    fn check_edits(
        &self,
        when: &Cases,
        connector: &Mention<'_>,
        processors: &[&Mention<'_>],
        report: &mut Report,
    ) {
        for processor in processors {
            let written = self.root.near(&["processors", processor.name]);
            let edits = |name: &str| match type_of(processor.name) {
                "resource" | "attributes" => is_edited(written, name),
                _ => false,
            };
            let edited = when.attributes().find_map(|attribute| match attribute {
                condition::Attribute::Resource(name) | condition::Attribute::Record(name) => {
                    edits(name).then_some(name)
                }
                condition::Attribute::Request(_) => None,
            });
            if let Some(name) = edited {
                let (processor, attribute) = (processor.shown(), named(name));
                report
                    .error(
                        connector.span,
                        format!("the connector asks for {attribute}, which the processor {processor} before it changes"),
                    )
                    .help("routes choose by what came in: ask for what the attribute is before, and name the processor in the pipelines behind the connector");
            }
        }
    }
}

/// Whether actions of a processor name an attribute, or choose by a pattern.
fn is_edited(written: &Node, name: &str) -> bool {
    let mut position = 0;
    let list = ["attributes", "actions"].into_iter().find_map(|key| written.get(key));
    while let Some(action) = list.and_then(|list| list.item(position)) {
        position += 1;
        let is_named = action.get("key").and_then(Node::text) == Some(name);
        if is_named || action.get("pattern").is_some_and(|pattern| !pattern.is_null()) {
            return true;
        }
    }
    false
}

/// Reports keys of a Collector's map that are not known.
pub(super) fn check_keys(map: &Node, known: &[&str], what: &str, report: &mut Report) {
    for entry in map.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let shown = named(&entry.key);
        let problem = report.error(entry.key_span, format!("unknown key {shown} in {what}"));
        match nearest(&entry.key, known.iter().copied()) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem
                .help(format!("the keys here are {}", crate::config::problem::listed(known.iter().copied()))),
        }
    }
}
