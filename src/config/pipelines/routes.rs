//! The ways of data through pipelines as `routes`.
//!
//! Several pipelines that get the same data each get all of it: their routes have `continue: true`. Data for which a connector chooses
//! goes one way alone. Where no route follows a choice, the routes of the choice are asked in order, and the first that matches takes the
//! data; elsewhere each of them has in its `match` that none before it matches.

use std::collections::HashMap;

use super::RefusedProcessors;
use super::cases::{Case, Cases, TooMany, implies};
use super::condition::{Attribute, NotExpressible};
use super::graph::{Arm, Choice, Graph, Misspelt, NotFollowed, Pipeline, PipelineStep, Sending, Takes};
use super::headers::HeaderKeys;
use crate::config::node::{Mention, Node, NodeEntry};
use crate::config::problem::ProblemReport;
use crate::config::quoting::named;
use crate::config::span::Span;

/// The most routes of all choices whose routes repeat the negated conditions of the routes before them.
const MOST_APART: usize = 1000;

/// A route in the making.
struct Branch<'p> {
    sending: Sending<'p>,
    /// The pipeline by whose receivers the data comes.
    source: &'p Pipeline<'p>,
    case: Case,
    /// The place of its condition, or else of its pipeline's name.
    at: Span,
    /// Whether later routes are asked, if the routes' receivers and signals do not decide that.
    continues: Option<bool>,
}

/// The steps for the data of one pipeline.
struct Task<'p> {
    source: &'p Pipeline<'p>,
    step: PipelineStep<'p>,
}

/// The routes of the pipelines that have receivers of their own. `keys` are the headers that exporters read of requests, and `refused`
/// decides about incomplete routes.
pub(super) fn routes(
    graph: &Graph<'_>,
    keys: &HeaderKeys,
    refused: RefusedProcessors,
    is_receiver: &dyn Fn(&Mention<'_>) -> bool,
    processors: &dyn Fn(&Mention<'_>) -> bool,
    exporters: &dyn Fn(&str) -> Option<String>,
    report: &mut ProblemReport,
) -> Vec<Node> {
    let sources: Vec<_> =
        graph.pipelines.iter().filter(|pipeline| pipeline.receivers.iter().any(is_receiver)).collect();
    let mut tasks = Vec::new();
    match graph.check_ways(&sources, report) {
        Ok(()) => {
            for source in sources {
                let steps = graph.steps(source, &[], report);
                tasks.extend(steps.into_iter().map(|step| Task { source, step }));
            }
        }
        Err(NotFollowed { pipeline, why }) => {
            let step = PipelineStep::Send(Sending::lacking(pipeline, &[], why));
            tasks.push(Task { source: pipeline, step });
        }
    }
    // Unconditional routes come first, and let the data go on to the choices.
    tasks.sort_by_key(|task| matches!(task.step, PipelineStep::Choose(_)));
    let mut branches = Vec::new();
    for (position, task) in tasks.iter().enumerate() {
        let is_last = !tasks[position + 1..].iter().any(|later| meet(task.source, later.source));
        let source = task.source;
        let earlier = branches.len();
        let done = match &task.step {
            PipelineStep::Send(sending) => {
                branches.push(Branch::new(sending, source, Case::new(), sending.pipeline.at, None));
                Ok(())
            }
            PipelineStep::Choose(choice) if is_last && is_in_order(choice, keys) => {
                in_order(choice, source, &mut branches, report)
            }
            PipelineStep::Choose(choice) => apart(choice, &Cases::always(), source, &mut branches, report),
        };
        if let Err(error) = done {
            let NotExpressible { message, help } = error.into();
            report.error(source.at, &*message).help(help);
            branches.truncate(earlier);
            let lacking = Sending::lacking(source, &[], message);
            branches.push(Branch::new(&lacking, source, Case::new(), source.at, None));
        }
    }
    written(&branches, (graph, keys), refused, is_receiver, processors, exporters, report)
}

impl<'p> Branch<'p> {
    fn new(
        sending: &Sending<'p>,
        source: &'p Pipeline<'p>,
        case: Case,
        at: Span,
        continues: Option<bool>,
    ) -> Self {
        Self { sending: sending.clone(), source, case, at, continues }
    }
}

/// Whether the same data may come to both.
fn meet(one: &Pipeline<'_>, other: &Pipeline<'_>) -> bool {
    let names = |name: &str| other.receivers.iter().any(|receiver| receiver.name == name);
    one.signal == other.signal && one.receivers.iter().any(|receiver| names(receiver.name))
}

/// The sending, if all data is sent unconditionally.
fn sendings<'s, 'p>(steps: &'s [PipelineStep<'p>]) -> Option<Vec<&'s Sending<'p>>> {
    let all = steps.iter().map(|step| match step {
        PipelineStep::Send(sending) => Some(sending),
        PipelineStep::Choose(_) => None,
    });
    all.collect()
}

/// Whether the routes of a choice may be asked in order: each takes whatever it matches, and leaves it to no other choice.
fn is_in_order(choice: &Choice<'_>, keys: &HeaderKeys) -> bool {
    let takes_all = |steps: &[PipelineStep<'_>]| {
        sendings(steps).is_some_and(|all| {
            all.iter()
                .all(|sending| sending.exporters.iter().all(|exporter| keys.of(exporter.name).is_empty()))
        })
    };
    choice.arms.iter().all(|arm| arm.takes != Takes::CopyForArms && takes_all(&arm.steps))
        && takes_all(&choice.otherwise)
}

fn in_order<'p>(
    choice: &Choice<'p>,
    source: &'p Pipeline<'p>,
    branches: &mut Vec<Branch<'p>>,
    report: &mut ProblemReport,
) -> Result<(), TooMany> {
    let mut taken: Vec<Case> = Vec::new();
    for Arm { when, at, takes, steps } in &choice.arms {
        let sendings = sendings(steps).unwrap_or_default();
        let cases = match when {
            None => vec![Case::new()],
            Some(when) if *takes == Takes::Copy => when.apart()?,
            Some(when) => when.list().to_vec(),
        };
        let is_possible = !cases.is_empty();
        let mut is_reached = false;
        for case in cases {
            if taken.iter().any(|earlier| implies(&case, earlier)) {
                continue;
            }
            is_reached = true;
            for (nth, sending) in sendings.iter().enumerate() {
                let continues = *takes == Takes::Copy || nth + 1 < sendings.len();
                branches.push(Branch::new(sending, source, case.clone(), *at, Some(continues)));
            }
            if *takes == Takes::All && when.is_some() {
                taken.push(case);
            }
        }
        if is_possible && !is_reached {
            warn_of_unreached(*at, report);
        }
    }
    let otherwise = sendings(&choice.otherwise).unwrap_or_default();
    if taken.iter().any(Case::is_empty) {
        warn_of_no_rest(choice, report);
        return Ok(());
    }
    for (nth, sending) in otherwise.iter().enumerate() {
        let continues = nth + 1 < otherwise.len();
        branches.push(Branch::new(sending, source, Case::new(), sending.pipeline.at, Some(continues)));
    }
    Ok(())
}

/// Warns of a row that is left out because earlier rows leave nothing for it.
fn warn_of_unreached(at: Span, report: &mut ProblemReport) {
    let message =
        "this row of the table gets nothing, and is left out: earlier ones take all that it asks for";
    report.warn(at, message).help("remove it, or move it before them");
}

/// Warns of default pipelines that are left out because the rows leave nothing for them.
fn warn_of_no_rest(choice: &Choice<'_>, report: &mut ProblemReport) {
    if let Some(at) = choice.rest_at {
        let message =
            "the default pipelines get nothing, and are left out: the rows of the table take everything";
        report.warn(at, message).help("remove `default_pipelines`");
    }
}

/// The routes of a choice, each of which matches by itself the part that it takes of the data for which `before` holds.
fn apart<'p>(
    choice: &Choice<'p>,
    before: &Cases,
    source: &'p Pipeline<'p>,
    branches: &mut Vec<Branch<'p>>,
    report: &mut ProblemReport,
) -> Result<(), TooMany> {
    let (mut left, mut otherwise) = (before.clone(), before.clone());
    for arm in &choice.arms {
        let Some(asked) = &arm.when else {
            all_apart(&arm.steps, &Cases::always(), arm.at, source, branches, report)?;
            continue;
        };
        let when = left.and(asked)?;
        if when.list().is_empty() && !before.and(asked)?.list().is_empty() {
            warn_of_unreached(arm.at, report);
        }
        all_apart(&arm.steps, &when, arm.at, source, branches, report)?;
        if arm.takes == Takes::Copy {
            continue;
        }
        let others = asked.not()?;
        otherwise = otherwise.and(&others)?;
        if arm.takes == Takes::All {
            left = left.and(&others)?;
        }
    }
    if otherwise.list().is_empty() && !before.list().is_empty() {
        warn_of_no_rest(choice, report);
    }
    all_apart(&choice.otherwise, &otherwise, source.at, source, branches, report)
}

fn all_apart<'p>(
    steps: &[PipelineStep<'p>],
    when: &Cases,
    at: Span,
    source: &'p Pipeline<'p>,
    branches: &mut Vec<Branch<'p>>,
    report: &mut ProblemReport,
) -> Result<(), TooMany> {
    for step in steps {
        match step {
            PipelineStep::Send(sending) => {
                let cases = when.apart()?.into_iter();
                branches.extend(cases.map(|case| Branch::new(sending, source, case, at, None)));
                if branches.len() > MOST_APART && !when.is_always() {
                    return Err(TooMany(MOST_APART));
                }
            }
            PipelineStep::Choose(choice) => apart(choice, when, source, branches, report)?,
        }
    }
    Ok(())
}

fn written(
    branches: &[Branch<'_>],
    (graph, keys): (&Graph<'_>, &HeaderKeys),
    refused: RefusedProcessors,
    is_receiver: &dyn Fn(&Mention<'_>) -> bool,
    runs: &dyn Fn(&Mention<'_>) -> bool,
    exporters: &dyn Fn(&str) -> Option<String>,
    report: &mut ProblemReport,
) -> Vec<Node> {
    let mut receivers: Vec<&str> = Vec::new();
    for receiver in
        graph.pipelines.iter().flat_map(|pipeline| &pipeline.receivers).filter(|one| is_receiver(one))
    {
        if !receivers.contains(&receiver.name) {
            receivers.push(receiver.name);
        }
    }
    let later_continues = |position: usize, branch: &Branch<'_>| {
        let later = || branches[position + 1..].iter().any(|later| meet(branch.source, later.source));
        branch.continues.unwrap_or_else(later)
    };
    let mut routes = Vec::new();
    for (position, branch) in branches.iter().enumerate() {
        let mut groups = keys.groups(&branch.sending.exporters);
        let is_available = |group: &Vec<&Mention<'_>>| group.iter().any(|one| exporters(one.name).is_some());
        if groups.iter().any(is_available) {
            groups.retain(is_available);
        }
        let last = groups.pop().unwrap_or_default();
        routes.extend(groups.into_iter().map(|group| (branch, group, true)));
        routes.push((branch, last, later_continues(position, branch)));
    }
    let mut routes_of: HashMap<&str, usize> = HashMap::new();
    for (branch, ..) in &routes {
        *routes_of.entry(branch.sending.pipeline.name).or_default() += 1;
    }
    let mut left_out: Vec<&str> = Vec::new();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut nodes = Vec::new();
    if refused == RefusedProcessors::Kept {
        for Misspelt { name, at, why } in &graph.misspelt {
            let name = NodeEntry::new("name", *at, Node::of_text(*name, *at));
            let lacks = NodeEntry::new("not_imported", *at, Node::of_text(why.clone(), *at));
            nodes.push(Node::of_entries(vec![name, lacks], *at));
        }
    }
    for (branch, group, continues) in &routes {
        let (pipeline, at) = (branch.sending.pipeline, branch.sending.pipeline.at);
        let mut seen: Vec<String> = Vec::new();
        let mut targets = Vec::new();
        for exporter in group {
            if let Some(name) = exporters(exporter.name).filter(|name| !seen.contains(name)) {
                targets.push(Node::of_text(name.clone(), exporter.span));
                seen.push(name);
            }
        }
        let mut lacks = branch.sending.lacks.clone();
        if targets.is_empty() && branch.case.is_empty() && lacks.is_none() {
            if branch.sending.exporters.len() == pipeline.exporters.len()
                && !left_out.contains(&pipeline.name)
            {
                let shown = if report.shows(at) { named(pipeline.name) } else { named("") };
                let message = format!("the pipeline {shown} is left out: none of its exporters is available");
                report.warn(at, message);
                left_out.push(pipeline.name);
            }
            continue;
        }
        if targets.is_empty() {
            // Without the route, its data would go on to another route.
            let all = group.iter();
            targets.extend(all.map(|exporter| Node::of_text(exporter.name, exporter.span)));
        }
        let mut entries = Vec::new();
        let mut put = |key: &str, value: Node| entries.push(NodeEntry::new(key, at, value));
        let count = names.entry(pipeline.name).or_default();
        *count += 1;
        let name = if *count == 1 { pipeline.name.to_owned() } else { format!("{}-{count}", pipeline.name) };
        put("name", Node::of_text(name, at));
        if !branch.case.is_empty() {
            match matches(&branch.case, branch.at) {
                Ok(node) => put("match", node),
                Err(NotExpressible { message, help }) => {
                    report.error(branch.at, &*message).help(help);
                    lacks = Some(message);
                }
            }
        }
        if let Some(lacks) = lacks {
            if refused == RefusedProcessors::LeftOut {
                continue;
            }
            put("not_imported", Node::of_text(lacks, branch.at));
        }
        let of_source: Vec<&Mention<'_>> =
            branch.source.receivers.iter().filter(|one| is_receiver(one)).collect();
        if of_source.len() < receivers.len() {
            let items = of_source.iter().map(|one| Node::of_text(one.name, one.span)).collect();
            put("receivers", Node::of_items(items, at));
        }
        put("signals", Node::of_items(vec![Node::of_text(pipeline.signal.name(), at)], at));
        let run: Vec<Node> = (branch.sending.processors.iter().filter(|one| runs(one)))
            .map(|one| Node::of_text(one.name, one.span))
            .collect();
        if !run.is_empty() {
            put("processors", Node::of_items(run, at));
        }
        if let Some(key) = keys.key_of(group) {
            put("key", key);
        } else if routes_of[pipeline.name] > 1 {
            // However the data comes to the pipeline, it leaves it in one order.
            put("key", Node::of_text(constant(pipeline.name), at));
        }
        if !targets.is_empty() {
            put("exporters", Node::of_items(targets, at));
        }
        if *continues {
            put("continue", Node::of_word("true", at));
        }
        nodes.push(Node::of_entries(entries, at));
    }
    nodes
}

/// A template whose value is this text.
fn constant(text: &str) -> String {
    format!("{{{{ '{}' }}}}", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The `match` of a route.
fn matches(case: &Case, at: Span) -> Result<Node, NotExpressible> {
    let (mut resource, mut record_alone, mut request) = (Vec::new(), Vec::new(), Vec::new());
    for (attribute, values) in case {
        let value = values.written(at)?;
        let (list, name) = match attribute {
            Attribute::Resource(name) => (&mut resource, name),
            Attribute::Record(name) => (&mut record_alone, name),
            Attribute::Request(name) => (&mut request, name),
        };
        list.push(NodeEntry::new(name.clone(), at, value));
    }
    // What stands below these is no condition on a resource attribute of that name.
    if let Some(entry) =
        resource.iter().find(|entry| ["record", "record_alone", "request"].contains(&&*entry.key))
    {
        return Err(NotExpressible {
            message: format!("a resource attribute called `{}` can't stand in a route's `match`", entry.key),
            help: "ask for another attribute",
        });
    }
    for (key, list) in [("record_alone", record_alone), ("request", request)] {
        if !list.is_empty() {
            resource.push(NodeEntry::new(key, at, Node::of_entries(list, at)));
        }
    }
    Ok(Node::of_entries(resource, at))
}
