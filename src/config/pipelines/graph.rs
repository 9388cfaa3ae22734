//! The pipelines of a Collector's file, followed from their receivers through connectors to exporters.

use std::collections::HashMap;

use super::cases::Cases;
use super::condition::{self, About, NotExpressible};
use crate::config::collector;
use crate::config::model::type_of;
use crate::config::node::{Mention, Node};
use crate::config::problem::ProblemReport;
use crate::config::quoting::{enumerated, named, nearest};
use crate::config::span::Span;
use crate::otlp::Signal;

/// The most pipelines behind each other.
const LONGEST: usize = 16;
/// The most pipelines that data comes to, each counted as often as there are ways to it.
const MOST_WAYS: usize = 10_000;

/// A pipeline as it is written.
pub(super) struct Pipeline<'a> {
    pub(super) name: &'a str,
    /// The place of its name.
    pub(super) at: Span,
    /// The place of its settings.
    written: Span,
    pub(super) signal: Signal,
    pub(super) receivers: Vec<Mention<'a>>,
    pub(super) processors: Vec<Mention<'a>>,
    pub(super) exporters: Vec<Mention<'a>>,
}

/// What happens to the data that comes to a pipeline.
pub(super) enum PipelineStep<'p> {
    /// All data is sent.
    Send(Sending<'p>),
    /// A connector chooses.
    Choose(Choice<'p>),
}

/// The end of a way.
#[derive(Clone)]
pub(super) struct Sending<'p> {
    /// The pipeline that sends.
    pub(super) pipeline: &'p Pipeline<'p>,
    /// The processors of all pipelines on the way.
    pub(super) processors: Vec<&'p Mention<'p>>,
    pub(super) exporters: Vec<&'p Mention<'p>>,
    /// The parts of the way that could not be translated, which have been reported.
    pub(super) lacks: Option<String>,
}

/// The arms from which a connector chooses.
pub(super) struct Choice<'p> {
    pub(super) arms: Vec<Arm<'p>>,
    /// The steps for data that no arm has taken.
    pub(super) otherwise: Vec<PipelineStep<'p>>,
    /// The place of these steps in the file.
    pub(super) rest_at: Option<Span>,
}

/// An arm of a choice.
pub(super) struct Arm<'p> {
    /// `None` if the condition could not be translated; the end of the steps has the reason.
    pub(super) when: Option<Cases>,
    /// The place of the condition.
    pub(super) at: Span,
    pub(super) takes: Takes,
    pub(super) steps: Vec<PipelineStep<'p>>,
}

/// Which of the data that an arm takes goes on to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// None.
    All,
    /// All, to later arms and to the steps for data that no arm has taken.
    Copy,
    /// All, to later arms alone.
    CopyForArms,
}

impl<'p> Sending<'p> {
    /// The end in place of steps that could not be translated.
    pub(super) fn lacking(
        pipeline: &'p Pipeline<'p>,
        processors: &[&'p Mention<'p>],
        lacks: impl Into<String>,
    ) -> Self {
        Self { pipeline, processors: processors.to_vec(), exporters: Vec::new(), lacks: Some(lacks.into()) }
    }
}

impl PipelineStep<'_> {
    /// Adds to all ends a part of the way that could not be translated.
    fn lack(&mut self, what: &str) {
        match self {
            Self::Send(sending) => sending.lacks = Some(what.to_owned()),
            Self::Choose(choice) => {
                let behind = choice.arms.iter_mut().flat_map(|arm| &mut arm.steps);
                behind.chain(&mut choice.otherwise).for_each(|step| step.lack(what));
            }
        }
    }
}

/// Why the ways through the pipelines are not followed, which has been reported.
pub(super) struct NotFollowed<'p> {
    pub(super) pipeline: &'p Pipeline<'p>,
    pub(super) why: String,
}

/// The size of the graph behind a pipeline, including itself.
#[derive(Clone, Copy)]
struct GraphExtent {
    /// The number of pipelines, each counted as often as there are ways to it.
    ways: usize,
    /// The longest chain of pipelines.
    length: usize,
}

/// The pipelines of a file, and the components that they name.
pub(super) struct Graph<'a> {
    pub(super) pipelines: Vec<Pipeline<'a>>,
    /// The pipelines whose signal is misspelt.
    pub(super) misspelt: Vec<Misspelt<'a>>,
    root: &'a Node,
}

/// A pipeline whose name is nearly that of a signal, which has been reported.
pub(super) struct Misspelt<'a> {
    pub(super) name: &'a str,
    pub(super) at: Span,
    pub(super) why: String,
}

impl<'a> Graph<'a> {
    /// Reads `service.pipelines`.
    pub(super) fn new(root: &'a Node, report: &mut ProblemReport) -> Self {
        let (mut pipelines, mut misspelt) = (Vec::new(), Vec::new());
        for entry in root.near(&["service", "pipelines"]).entries() {
            let shown = if report.shows(entry.key_span) { named(&entry.key) } else { named("") };
            let Some(signal) = Signal::from_name(type_of(&entry.key)) else {
                let why = format!("the pipeline {shown} is for no signal that is routed");
                let problem = report.error(entry.key_span, &*why);
                match nearest(type_of(&entry.key), Signal::ALL.map(Signal::name)) {
                    Some(near) => {
                        problem.help(format!("did you mean `{near}`?"));
                        misspelt.push(Misspelt { name: &entry.key, at: entry.key_span, why });
                    }
                    None => {
                        problem.help("the signals are `traces`, `metrics` and `logs`; remove the pipeline");
                    }
                }
                continue;
            };
            let mentions = |key: &str| entry.value.get(key).map(Node::mentions).unwrap_or_default();
            pipelines.push(Pipeline {
                name: &entry.key,
                at: entry.key_span,
                written: entry.value.span,
                signal,
                receivers: mentions("receivers"),
                processors: mentions("processors"),
                exporters: mentions("exporters"),
            });
        }
        Self { pipelines, misspelt, root }
    }

    /// Whether the name is that of a connector, which is defined.
    pub(super) fn is_connector(&self, name: &str) -> bool {
        self.root.get("connectors").is_some_and(|connectors| connectors.get(name).is_some())
    }

    /// Checks that the ways from the pipelines are few and short enough to be followed. Reports the first that is not.
    pub(super) fn check_ways<'p>(
        &'p self,
        sources: &[&'p Pipeline<'p>],
        report: &mut ProblemReport,
    ) -> Result<(), NotFollowed<'p>> {
        let mut known = HashMap::new();
        let mut ways = 0_usize;
        for source in sources {
            let extent = self.extent(source, &mut Vec::new(), &mut known, report)?;
            ways = ways.saturating_add(extent.ways);
            if ways > MOST_WAYS {
                let why = format!("the connectors make more than {MOST_WAYS} ways through the pipelines");
                report
                    .error(source.at, &*why)
                    .help("write `routes` in place of `service.pipelines`, one for each way that is meant");
                return Err(NotFollowed { pipeline: source, why });
            }
        }
        Ok(())
    }

    /// The size of the graph behind a pipeline to which data comes through the pipelines of `before`.
    fn extent<'p>(
        &'p self,
        pipeline: &'p Pipeline<'p>,
        before: &mut Vec<&'p Pipeline<'p>>,
        known: &mut HashMap<&'p str, GraphExtent>,
        report: &mut ProblemReport,
    ) -> Result<GraphExtent, NotFollowed<'p>> {
        let first = before.iter().position(|earlier| earlier.name == pipeline.name);
        if let Some(first) = first {
            let shown = |one: &&Pipeline<'_>| if report.shows(one.at) { named(one.name) } else { named("") };
            let names: Vec<String> = before[first..].iter().map(shown).collect();
            let why = format!("the pipelines {} stand in a circle", enumerated(&names));
            let why = if names.len() == 1 {
                format!("the pipeline {} stands behind itself", names[0])
            } else {
                why
            };
            report
                .error(pipeline.at, &*why)
                .help("remove the connector from the `receivers` or the `exporters` of one of them");
            return Err(NotFollowed { pipeline, why });
        }
        let mut extent = GraphExtent { ways: 1, length: 1 };
        before.push(pipeline);
        if let Some(extent) = known.get(pipeline.name) {
            before.pop();
            return within_longest(pipeline, before.len(), *extent, report);
        }
        within_longest(pipeline, before.len() - 1, extent, report)?;
        for next in self.next(pipeline) {
            let behind = self.extent(next, before, known, report)?;
            extent.ways = extent.ways.saturating_add(behind.ways);
            extent.length = extent.length.max(1 + behind.length);
        }
        before.pop();
        known.insert(pipeline.name, extent);
        Ok(extent)
    }

    /// The pipelines that get data of this one by connectors, each as often as it does.
    fn next<'p>(&'p self, pipeline: &'p Pipeline<'p>) -> Vec<&'p Pipeline<'p>> {
        let mut next = Vec::new();
        for connector in pipeline.exporters.iter().filter(|mention| self.is_connector(mention.name)) {
            match type_of(connector.name) {
                "forward" => next.extend(self.forwarded(pipeline, connector)),
                "routing" => {
                    let written = self.root.near(&["connectors", connector.name]);
                    let rows = (0..).map_while(|position| written.near(&["table"]).item(position));
                    let lists =
                        rows.filter_map(|row| row.get("pipelines")).chain(written.get("default_pipelines"));
                    let named =
                        lists.flat_map(Node::mentions).filter_map(|mention| self.pipeline(mention.name));
                    next.extend(named.filter(|next| next.signal == pipeline.signal));
                }
                _ => {}
            }
        }
        next
    }

    fn pipeline(&self, name: &str) -> Option<&Pipeline<'a>> {
        self.pipelines.iter().find(|pipeline| pipeline.name == name)
    }

    /// The pipelines that a `forward` connector hands the data of this one to.
    fn forwarded<'p>(
        &'p self,
        pipeline: &'p Pipeline<'p>,
        connector: &'p Mention<'p>,
    ) -> impl Iterator<Item = &'p Pipeline<'p>> {
        self.pipelines.iter().filter(|next| {
            next.signal == pipeline.signal
                && next.receivers.iter().any(|receiver| receiver.name == connector.name)
        })
    }

    /// What happens to data that comes to a pipeline, behind the processors of the pipelines before it. The ways have been checked.
    pub(super) fn steps<'p>(
        &'p self,
        pipeline: &'p Pipeline<'p>,
        before: &[&'p Mention<'p>],
        report: &mut ProblemReport,
    ) -> Vec<PipelineStep<'p>> {
        let mut processors = before.to_vec();
        processors.extend(&pipeline.processors);
        let (connectors, exporters): (Vec<_>, Vec<_>) =
            pipeline.exporters.iter().partition(|mention| self.is_connector(mention.name));
        let mut steps = Vec::new();
        let lacking = |why: String| PipelineStep::Send(Sending::lacking(pipeline, &processors, why));
        if pipeline.exporters.is_empty() && !report.has_error_within(pipeline.written) {
            let why = "the pipeline names no exporter";
            report.error(pipeline.at, why).help("write `exporters: [NAME]` in it");
            steps.push(lacking(why.to_owned()));
        }
        if !exporters.is_empty() {
            let processors = processors.clone();
            steps.push(PipelineStep::Send(Sending { pipeline, processors, exporters, lacks: None }));
        }
        for connector in connectors {
            match type_of(connector.name) {
                "forward" => {
                    let mut is_received = false;
                    for next in self.forwarded(pipeline, connector) {
                        is_received = true;
                        steps.extend(self.steps(next, &processors, report));
                    }
                    if !is_received {
                        steps.push(lacking(self.report_no_receiver(pipeline, connector, report)));
                    }
                }
                "routing" => {
                    let (choice, unknown) = self.choice(pipeline, connector, &processors, report);
                    steps.extend(unknown.map(lacking));
                    steps.push(PipelineStep::Choose(choice));
                }
                _ => {
                    let why = collector::connector(connector.name);
                    let why = format!("the connector {} is not available: {why}", connector.shown());
                    report
                        .error(connector.span, &*why)
                        .help("let a Collector before or behind this do it, and remove it here");
                    steps.push(lacking(why));
                }
            }
        }
        steps
    }

    /// Reports a `forward` from which no pipeline of its signal receives, and returns the message.
    fn report_no_receiver(
        &self,
        pipeline: &Pipeline<'_>,
        connector: &Mention<'_>,
        report: &mut ProblemReport,
    ) -> String {
        let (shown, signal) = (connector.shown(), pipeline.signal);
        let receives =
            |other: &&Pipeline<'_>| other.receivers.iter().any(|receiver| receiver.name == connector.name);
        let (why, help) = match self.pipelines.iter().find(receives) {
            Some(other) => (
                format!(
                    "{shown} hands {signal} on, and the pipeline {} that receives from it is for {}",
                    if report.shows(other.at) { named(other.name) } else { named("") },
                    other.signal
                ),
                format!("receive from it in a pipeline for {signal}, or remove it here"),
            ),
            None => (
                format!("no pipeline for `{signal}` receives from the connector {shown}"),
                "name it in the `receivers` of a pipeline, or remove it here".to_owned(),
            ),
        };
        report.error(connector.span, &*why).help(help);
        why
    }

    /// The choice of a routing connector, and the message about its first unknown key, if there is one.
    fn choice<'p>(
        &'p self,
        pipeline: &'p Pipeline<'p>,
        connector: &Mention<'_>,
        processors: &[&'p Mention<'p>],
        report: &mut ProblemReport,
    ) -> (Choice<'p>, Option<String>) {
        let written = self.root.near(&["connectors", connector.name]);
        let keys = ["table", "default_pipelines", "error_mode", "match_once"];
        let mut unknown = check_keys(written, &keys, "a routing connector", report);
        // The key was removed in version 0.120, since which the first arm that matches counts.
        let match_once = written.get("match_once").filter(|node| !node.is_null());
        let matches_all = match match_once.map(|node| node.text().and_then(crate::config::model::boolean)) {
            None | Some(Some(true)) => false,
            Some(Some(false)) => true,
            Some(None) => {
                let message = "`match_once` of a routing connector is neither `true` nor `false`";
                let at = match_once.map_or(written.span, |node| node.span);
                report
                    .error(at, message)
                    .help("write one of the two; the first row that matches takes all if it is left out");
                unknown.get_or_insert_with(|| message.to_owned());
                false
            }
        };
        let mut arms = Vec::new();
        let mut position = 0;
        while let Some(row) = written.near(&["table"]).item(position) {
            position += 1;
            let Some(mut arm) = self.arm(row, pipeline, processors, report) else { continue };
            let edited =
                arm.when.as_ref().and_then(|when| self.check_edits(when, connector, processors, report));
            if let Some(why) = edited {
                for step in &mut arm.steps {
                    step.lack(&why);
                }
            }
            if matches_all {
                arm.takes = Takes::CopyForArms;
            }
            arms.push(arm);
        }
        let defaults = written.get("default_pipelines");
        let otherwise = defaults.map(|list| self.behind(list, pipeline, processors, report));
        let rest_at = defaults.filter(|list| !list.mentions().is_empty()).map(|list| list.span);
        (Choice { arms, otherwise: otherwise.unwrap_or_default(), rest_at }, unknown)
    }

    /// The arm of a row of the table; `None` if it is not for this signal. Parts that can't be translated are reported, and noted in the steps.
    fn arm<'p>(
        &'p self,
        row: &Node,
        pipeline: &'p Pipeline<'p>,
        processors: &[&'p Mention<'p>],
        report: &mut ProblemReport,
    ) -> Option<Arm<'p>> {
        let context = row.get("context").and_then(Node::text).unwrap_or_default();
        let about = match (context, pipeline.signal) {
            ("" | "resource", _) => Some(About::Resource),
            ("span", Signal::Traces) | ("log", Signal::Logs) | ("datapoint", Signal::Metrics) => {
                Some(About::Record(pipeline.signal))
            }
            ("metric", Signal::Metrics) => Some(About::Metric),
            ("request", _) => Some(About::Request),
            ("span" | "log" | "datapoint" | "metric", _) => return None,
            _ => None,
        };
        let mut lacks = Vec::new();
        let mut refuse = |at: Span, message: String, help: &str| {
            report.error(at, &*message).help(help);
            lacks.push(message);
        };
        if about.is_none() {
            let message = "the context of this row is none that routes know".to_owned();
            let help = if context == "scope" {
                "a routing connector has no context `scope`: write `context: span`, `log` or `datapoint` and ask for an attribute of \
                 the record, or `context: resource`"
            } else {
                "the contexts are `resource`, `span`, `log`, `metric`, `datapoint` and `request`"
            };
            refuse(row.near(&["context"]).span, message, help);
        }
        let takes = match row.get("action").and_then(Node::text) {
            None | Some("" | "move") => Takes::All,
            Some("copy") => Takes::Copy,
            Some(_) => {
                let message = "the action of this row is none that routes know".to_owned();
                refuse(row.near(&["action"]).span, message, "the actions are `move` and `copy`");
                Takes::All
            }
        };
        let is_written = |key: &str| row.get(key).is_some_and(|node| !node.is_null());
        if is_written("condition") && is_written("statement") {
            let message = "a row of the table has a `condition` and a `statement`".to_owned();
            refuse(row.near(&["statement"]).span, message, "keep one of the two");
        }
        let condition = ["condition", "statement"].into_iter().find_map(|key| {
            let node = row.get(key).filter(|node| !node.is_null())?;
            Some((node, node.text()?, key == "statement"))
        });
        let mut when = None;
        if let (Some((node, text, is_statement)), Some(about)) = (condition, about) {
            let cases = condition::parse(text, about, is_statement)
                .and_then(|condition| Cases::of(&condition).map_err(NotExpressible::from));
            match cases {
                Ok(cases) => when = Some(cases),
                Err(NotExpressible { message, help }) => refuse(node.span, message, help),
            }
        } else if condition.is_none() {
            let message = "a row of the table has no condition".to_owned();
            refuse(row.span, message, "write `condition: resource.attributes[\"tenant\"] == \"acme\"`");
        }
        let list = row.get("pipelines");
        if list.is_none() {
            let message = "a row of the table names no pipeline".to_owned();
            refuse(row.span, message, "write `pipelines: [NAME]`");
        }
        let keys = ["context", "condition", "statement", "action", "pipelines"];
        lacks.extend(check_keys(row, &keys, "a row of the table", report));
        let mut steps = list.map(|list| self.behind(list, pipeline, processors, report)).unwrap_or_default();
        if let Some(why) = lacks.first() {
            if list.is_none() {
                steps.push(PipelineStep::Send(Sending::lacking(pipeline, processors, why)));
            }
            for step in &mut steps {
                step.lack(why);
            }
        }
        let at = condition.map_or(row.span, |(node, ..)| node.span);
        Some(Arm { when, at, takes, steps }).filter(|arm| !arm.steps.is_empty())
    }

    /// What happens to data that is handed to the pipelines of a list.
    fn behind<'p>(
        &'p self,
        list: &Node,
        pipeline: &'p Pipeline<'p>,
        processors: &[&'p Mention<'p>],
        report: &mut ProblemReport,
    ) -> Vec<PipelineStep<'p>> {
        let written = self.root.near(&["service", "pipelines"]);
        let mut steps = Vec::new();
        for mention in list.mentions() {
            match self.pipeline(mention.name) {
                Some(next) if next.signal == pipeline.signal => {
                    steps.extend(self.steps(next, processors, report));
                }
                Some(_) => {}
                // It is for a signal that is not routed, which has been reported.
                None if written.get(mention.name).is_some() => {}
                None => {
                    let why = format!("there is no pipeline {}", mention.shown());
                    let near = nearest(mention.name, self.pipelines.iter().map(|known| known.name));
                    let problem = report.error(mention.span, &*why);
                    if let Some(near) = near {
                        problem.help(format!("did you mean {}?", named(near)));
                    }
                    steps.push(PipelineStep::Send(Sending::lacking(pipeline, processors, why)));
                }
            }
        }
        steps
    }

    /// Reports a condition on something that a processor before the connector changes: routes see the data as it was received. Returns the
    /// message.
    fn check_edits(
        &self,
        when: &Cases,
        connector: &Mention<'_>,
        processors: &[&Mention<'_>],
        report: &mut ProblemReport,
    ) -> Option<String> {
        let mut first = None;
        for processor in processors {
            let written = self.root.near(&["processors", processor.name]);
            let edits = |name: &str| match type_of(processor.name) {
                "resource" | "attributes" => edit_of(written, name),
                _ => None,
            };
            let edited = when.attributes().find_map(|attribute| match attribute {
                condition::Attribute::Resource(name) | condition::Attribute::Record(name) => {
                    edits(name).map(|edit| (name, edit))
                }
                condition::Attribute::Request(_) => None,
            });
            if let Some((name, edit)) = edited {
                let (processor, attribute) = (processor.shown(), named(name));
                let why = format!(
                    "the connector asks for {attribute}, which the processor {processor} before it {edit}"
                );
                report
                    .error(connector.span, &*why)
                    .help("routes choose by what came in: ask for what the attribute is before, and name the processor in the pipelines behind the connector");
                first.get_or_insert(why);
            }
        }
        first
    }
}

/// The size of a graph, if it is within the limits for a pipeline with so many pipelines `before` it; otherwise that is reported.
fn within_longest<'p>(
    pipeline: &'p Pipeline<'p>,
    before: usize,
    extent: GraphExtent,
    report: &mut ProblemReport,
) -> Result<GraphExtent, NotFollowed<'p>> {
    if before + extent.length <= LONGEST {
        return Ok(extent);
    }
    let why = format!("more than {LONGEST} pipelines stand behind each other");
    report.error(pipeline.at, &*why).help("join some of them into one");
    Err(NotFollowed { pipeline, why })
}

/// Whether actions of a processor name an attribute, or choose by a pattern.
fn edit_of(written: &Node, name: &str) -> Option<&'static str> {
    let mut position = 0;
    let list = ["attributes", "actions"].into_iter().find_map(|key| written.get(key));
    while let Some(action) = list.and_then(|list| list.item(position)) {
        position += 1;
        let key = action.get("key").and_then(Node::text);
        if key == Some(name) || action.get("pattern").is_some_and(|pattern| !pattern.is_null()) {
            return Some("changes");
        }
        if key.is_some_and(condition::has_variable) {
            return Some("may change, since the name of what it changes is a variable");
        }
    }
    None
}

/// Reports unknown keys of a Collector's map, and returns the message about the first.
pub(super) fn check_keys(
    map: &Node,
    known: &[&str],
    what: &str,
    report: &mut ProblemReport,
) -> Option<String> {
    let mut first = None;
    for entry in map.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let shown = named(&entry.key);
        let why = format!("unknown key {shown} in {what}");
        let problem = report.error(entry.key_span, &*why);
        first.get_or_insert(why);
        match nearest(&entry.key, known.iter().copied()) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem
                .help(format!("the keys here are {}", crate::config::quoting::listed(known.iter().copied()))),
        }
    }
    first
}
