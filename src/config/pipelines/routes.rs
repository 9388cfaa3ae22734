//! The ways of data through pipelines as `routes`.
//!
//! Of several pipelines that get the same data, each has it whole: their routes say `continue: true`. What a connector chooses
//! goes one way alone. Where nothing stands behind a choice, its routes are asked in order, and the first that matches takes
//! all; elsewhere each of them says in its `match` that none before it has.

use std::collections::HashMap;

use super::Refused;
use super::cases::{Case, Cases, TooMany};
use super::condition::{Attribute, NotExpressible};
use super::graph::{Arm, Choice, Graph, Misspelt, NotFollowed, Pipeline, Sending, Step, Takes};
use super::headers::HeaderKeys;
use crate::config::node::{Entry, Mention, Node};
use crate::config::problem::{Report, Span};
use crate::config::secrets::named;

/// Routes that all choices together may become where each of them says by itself what it takes, and so has the conditions of all
/// that are asked before it.
const MOST_APART: usize = 1000;

/// A route in the making.
struct Branch<'p> {
    sending: Sending<'p>,
    /// The pipeline by whose receivers the data comes.
    source: &'p Pipeline<'p>,
    case: Case,
    /// Where its condition stands, or else the name of its pipeline.
    at: Span,
    /// Whether later routes are asked, if that is not told by what they are for.
    continues: Option<bool>,
}

/// What is done with the data of one pipeline.
struct Task<'p> {
    source: &'p Pipeline<'p>,
    step: Step<'p>,
}

/// The routes of the pipelines that have receivers of their own. `keys` is what exporters read of requests, and `refused` says what
/// becomes of routes that lack something.
pub(super) fn routes(
    graph: &Graph<'_>,
    keys: &HeaderKeys,
    refused: Refused,
    is_receiver: &dyn Fn(&Mention<'_>) -> bool,
    processors: &dyn Fn(&Mention<'_>) -> bool,
    exporters: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
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
            let step = Step::Send(Sending::lacking(pipeline, &[], why));
            tasks.push(Task { source: pipeline, step });
        }
    }
    // What is sent in any case does not take it from those that choose.
    tasks.sort_by_key(|task| matches!(task.step, Step::Choose(_)));
    let mut branches = Vec::new();
    for (position, task) in tasks.iter().enumerate() {
        let is_last = !tasks[position + 1..].iter().any(|later| meet(task.source, later.source));
        let source = task.source;
        let earlier = branches.len();
        let done = match &task.step {
            Step::Send(sending) => {
                branches.push(Branch::new(sending, source, Case::new(), sending.pipeline.at, None));
                Ok(())
            }
            Step::Choose(choice) if is_last && is_in_order(choice, keys) => {
                in_order(choice, source, &mut branches)
            }
            Step::Choose(choice) => apart(choice, &Cases::always(), source, &mut branches),
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

/// Whether some data may come to both.
fn meet(one: &Pipeline<'_>, other: &Pipeline<'_>) -> bool {
    let names = |name: &str| other.receivers.iter().any(|receiver| receiver.name == name);
    one.signal == other.signal && one.receivers.iter().any(|receiver| names(receiver.name))
}

/// What is done, where all of it is sent.
fn sendings<'s, 'p>(steps: &'s [Step<'p>]) -> Option<Vec<&'s Sending<'p>>> {
    let all = steps.iter().map(|step| match step {
        Step::Send(sending) => Some(sending),
        Step::Choose(_) => None,
    });
    all.collect()
}

/// Whether the routes of a choice may be asked in order: each takes whatever it matches, and leaves it to no other choice.
fn is_in_order(choice: &Choice<'_>, keys: &HeaderKeys) -> bool {
    let takes_all = |steps: &[Step<'_>]| {
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
) -> Result<(), TooMany> {
    for Arm { when, at, takes, steps } in &choice.arms {
        let sendings = sendings(steps).unwrap_or_default();
        let cases = match when {
            None => vec![Case::new()],
            Some(when) if *takes == Takes::Copy => when.apart()?,
            Some(when) => when.list().to_vec(),
        };
        for case in cases {
            for (nth, sending) in sendings.iter().enumerate() {
                let continues = *takes == Takes::Copy || nth + 1 < sendings.len();
                branches.push(Branch::new(sending, source, case.clone(), *at, Some(continues)));
            }
        }
    }
    let otherwise = sendings(&choice.otherwise).unwrap_or_default();
    for (nth, sending) in otherwise.iter().enumerate() {
        let continues = nth + 1 < otherwise.len();
        branches.push(Branch::new(sending, source, Case::new(), sending.pipeline.at, Some(continues)));
    }
    Ok(())
}

/// The routes of a choice, each of which says by itself what it takes of the data for which `before` holds.
fn apart<'p>(
    choice: &Choice<'p>,
    before: &Cases,
    source: &'p Pipeline<'p>,
    branches: &mut Vec<Branch<'p>>,
) -> Result<(), TooMany> {
    let (mut left, mut otherwise) = (before.clone(), before.clone());
    for arm in &choice.arms {
        let Some(when) = &arm.when else {
            all_apart(&arm.steps, &Cases::always(), arm.at, source, branches)?;
            continue;
        };
        all_apart(&arm.steps, &left.and(when)?, arm.at, source, branches)?;
        if arm.takes == Takes::Copy {
            continue;
        }
        let others = when.not()?;
        otherwise = otherwise.and(&others)?;
        if arm.takes == Takes::All {
            left = left.and(&others)?;
        }
    }
    all_apart(&choice.otherwise, &otherwise, source.at, source, branches)
}

fn all_apart<'p>(
    steps: &[Step<'p>],
    when: &Cases,
    at: Span,
    source: &'p Pipeline<'p>,
    branches: &mut Vec<Branch<'p>>,
) -> Result<(), TooMany> {
    for step in steps {
        match step {
            Step::Send(sending) => {
                let cases = when.apart()?.into_iter();
                branches.extend(cases.map(|case| Branch::new(sending, source, case, at, None)));
                if branches.len() > MOST_APART && !when.is_always() {
                    return Err(TooMany(MOST_APART));
                }
            }
            Step::Choose(choice) => apart(choice, when, source, branches)?,
        }
    }
    Ok(())
}

fn written(
    branches: &[Branch<'_>],
    (graph, keys): (&Graph<'_>, &HeaderKeys),
    refused: Refused,
    is_receiver: &dyn Fn(&Mention<'_>) -> bool,
    runs: &dyn Fn(&Mention<'_>) -> bool,
    exporters: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Vec<Node> {
    let mut receivers: Vec<&str> = Vec::new();
    for receiver in
        graph.pipelines.iter().flat_map(|pipeline| &pipeline.receivers).filter(|one| is_receiver(one))
    {
        if !receivers.contains(&receiver.name) {
            receivers.push(receiver.name);
        }
    }
    let mut left_out: Vec<&str> = Vec::new();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut nodes = Vec::new();
    if refused == Refused::Kept {
        for Misspelt { name, at, why } in &graph.misspelt {
            let name = Entry::new("name", *at, Node::of_text(*name, *at));
            let lacks = Entry::new("not_imported", *at, Node::of_text(why.clone(), *at));
            nodes.push(Node::of_entries(vec![name, lacks], *at));
        }
    }
    for (position, branch) in branches.iter().enumerate() {
        let (pipeline, at) = (branch.sending.pipeline, branch.sending.pipeline.at);
        let mut seen: Vec<String> = Vec::new();
        let mut targets = Vec::new();
        for exporter in &branch.sending.exporters {
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
            // Without the route, what it takes would go on to another.
            let all = branch.sending.exporters.iter();
            targets.extend(all.map(|exporter| Node::of_text(exporter.name, exporter.span)));
        }
        let mut entries = Vec::new();
        let mut put = |key: &str, value: Node| entries.push(Entry::new(key, at, value));
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
            if refused == Refused::LeftOut {
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
        let key = keys.key_of(&branch.sending.exporters);
        if let Some(key) = key {
            put("key", key);
        }
        if !targets.is_empty() {
            put("exporters", Node::of_items(targets, at));
        }
        let continues = branch.continues.unwrap_or_else(|| {
            branches[position + 1..].iter().any(|later| meet(branch.source, later.source))
        });
        if continues {
            put("continue", Node::of_word("true", at));
        }
        nodes.push(Node::of_entries(entries, at));
    }
    nodes
}

/// The `match` of a route.
fn matches(case: &Case, at: Span) -> Result<Node, NotExpressible> {
    let (mut resource, mut record, mut request) = (Vec::new(), Vec::new(), Vec::new());
    for (attribute, values) in case {
        let value = values.written(at)?;
        let (list, name) = match attribute {
            Attribute::Resource(name) => (&mut resource, name),
            Attribute::Record(name) => (&mut record, name),
            Attribute::Request(name) => (&mut request, name),
        };
        list.push(Entry::new(name.clone(), at, value));
    }
    for (key, list) in [("record", record), ("request", request)] {
        if resource.iter().any(|entry| entry.key == key) {
            return Err(NotExpressible {
                message: format!("a resource attribute called `{key}` can't stand in a route's `match`"),
                help: "ask for another attribute",
            });
        }
        if !list.is_empty() {
            resource.push(Entry::new(key, at, Node::of_entries(list, at)));
        }
    }
    Ok(Node::of_entries(resource, at))
}
