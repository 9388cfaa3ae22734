//! A Collector's file, written as Sluice's own configuration.
//!
//! The output is the same tree as the file is loaded as, with `${…}` kept: no variable and no file is read. Comments at its top list the
//! parts of the Collector's file that could not be taken.

use std::fmt::Write as _;

use super::ConfigSource;
use super::collector::{self, KeyVerdict};
use super::model;
use super::node::{Node, NodeEntry, NodeValue};
use super::parse;
use super::pipelines::{self, RefusedProcessors};
use super::problem::{Problem, ProblemReport, Problems, Severity};
use super::schema::Shape;
use super::substitute::SourceFiles;
use super::yaml::write_entry;
use super::{RowCheck, SecretPresence, Surroundings, Translation, machine, problems, read, secrets};
use crate::byte_order_mark;

/// A Collector's file as Sluice's own configuration.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The configuration, with comments.
    pub yaml: String,
    /// Errors about the parts that could not be translated, and warnings about those that work in another way; in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads a Collector's file, whatever it is called.
///
/// # Errors
///
/// What is wrong with the file if it is not YAML, or not a Collector's.
pub fn import(source: &ConfigSource) -> Result<Imported, Problems> {
    let name = source.name();
    let mut files = SourceFiles::default();
    let text = match source.read(&mut files) {
        Ok(text) => text,
        Err(reason) => {
            let mut report = ProblemReport::default();
            report.error_without_place(format!("can't read it: {reason}")).help("name a Collector's file");
            return Err(problems(report, (&name, ""), files));
        }
    };
    from_text(&text, &name)
}

/// As [`import`], of a text that stands in a file of this name.
pub(super) fn from_text(text: &str, name: &str) -> Result<Imported, Problems> {
    let text = byte_order_mark::strip(text);
    let mut report = ProblemReport::default();
    let root = parse::parse(text, &mut report).ok().filter(|_| !report.has_errors());
    if let Some(root) = &root
        && !pipelines::is_whole_file(root)
    {
        let what = if root.get("routes").is_some() {
            ("it has `routes`, so that it is Sluice's own already", "run it as it is")
        } else {
            ("it has no `service.pipelines`", "name the whole file of a Collector")
        };
        report.error_without_place(what.0).help(what.1);
    }
    let Some(root) = root.filter(|_| !report.has_errors()) else {
        return Err(problems(report, (name, text), SourceFiles::default()));
    };
    let surroundings = Surroundings {
        env: &|_| None,
        secrets: SecretPresence::Optional,
        rows: RowCheck::Alone,
        translation: Translation::AsWritten,
        memory: machine::memory(),
    };
    let mut list = match read(text, name, SourceFiles::default(), &surroundings) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => problems.list,
    };
    // Files that are absent here may exist where Sluice runs.
    list.retain(|problem| !problem.is_of_placeholder);
    report.show(&secrets::look(&root));
    let translated = pipelines::translate(&root, RefusedProcessors::Kept, &mut report);
    let translated = without_collectors_keys(&translated, Shape::root());
    Ok(Imported { yaml: written(&translated, name, &list), problems: list })
}

/// The tree without keys of the Collector that have no effect here. Keys that are errors stay.
fn without_collectors_keys(node: &Node, shape: Shape<'_>) -> Node {
    let shape = shape.of_kind(node);
    let value = match &node.value {
        NodeValue::Map(entries) if shape.is("object") => {
            let kept = entries.iter().filter_map(|entry| {
                let Some(schema) = shape.property(&entry.key) else {
                    return has_effect(entry, shape, node).then(|| entry.clone());
                };
                if !keeps_order(entry, shape) {
                    return None;
                }
                let value = without_collectors_keys(&entry.value, Shape::of(schema));
                Some(NodeEntry { value, ..entry.clone() })
            });
            NodeValue::Map(kept.collect())
        }
        NodeValue::Seq(items) if shape.is("array") => {
            let shape = Shape::of(&shape.body["items"]);
            NodeValue::Seq(items.iter().map(|item| without_collectors_keys(item, shape)).collect())
        }
        other => other.clone(),
    };
    Node { span: node.span, value }
}

/// Whether a key that is not in the schema is an error, and so has to stay.
fn has_effect(entry: &NodeEntry, shape: Shape<'_>, map: &Node) -> bool {
    let Some(definition) = shape.definition else { return true };
    match collector::verdict(definition, &entry.key) {
        None => true,
        Some((KeyVerdict::Ignored, _)) => false,
        Some(_) => !collector::asks_for_nothing(definition, &entry.key, &entry.value, map),
    }
}

/// Whether it is anything but the number of consumers of a queue, of which more than one would send a stream's batches in any
/// order: a Collector has ten for all that it sends, and streams are sent at the same time without it.
fn keeps_order(entry: &NodeEntry, shape: Shape<'_>) -> bool {
    let consumers = entry.value.text().and_then(model::integer);
    shape.definition != Some("SendingQueue")
        || entry.key != "num_consumers"
        || consumers.is_none_or(|many| many <= 1)
}

/// The comment before a section of the file.
fn comment(section: &str) -> &'static str {
    match section {
        "routes" => {
            "\
# A route for each way through the pipelines. They are asked in order: the first that matches takes a resource, and with
# `continue: true` later ones are asked, too.
#
# A route is one stream for each signal and exporter, whose batches are sent one after the other. To have a stream, with
# an order, a queue and retries of its own, for each value of an attribute, write `key: service.name` in a route.
"
        }
        "exporters" => {
            "\
# Each stream has a queue. What an upstream doesn't take is sent again until it does, unless `retry_on_failure` has a
# `max_elapsed_time`; what it refuses for good is kept if there is a `dead_letter: { directory: ./dead-letters }`.
"
        }
        "journal" => "# Keeps the queues of all exporters on disk, in place of `sending_queue.storage`.\n",
        "health" => "# `/healthz` and `/readyz` for probes, and `/metrics`.\n",
        _ => "",
    }
}

fn written(root: &Node, name: &str, problems: &[Problem]) -> String {
    let mut out = format!("# Sluice's configuration, made of {} by `sluice import`.\n", printable(name));
    let lists =
        [(Severity::Error, "Could not be taken:"), (Severity::Warning, "Left out, or works in another way:")];
    for (severity, heading) in lists {
        let mut listed = problems.iter().filter(|problem| problem.severity == severity).peekable();
        if listed.peek().is_some() {
            write!(out, "#\n# {heading}\n").expect("writing to a String can't fail");
        }
        for problem in listed {
            let place = problem.line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let help = problem.help.iter().fold(String::new(), |_, help| format!(" ({help})"));
            let text = format!("{place}{}{help}", problem.message);
            writeln!(out, "# - {}", printable(&text)).expect("writing to a String can't fail");
        }
    }
    for NodeEntry { key, value, .. } in root.entries() {
        out.push('\n');
        out.push_str(comment(key));
        write_entry(key, value, 0, &mut out);
    }
    out
}

/// A text that stays in its comment.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}
