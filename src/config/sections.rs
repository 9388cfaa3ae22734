//! Sections that are misspelt or indented too far: reports and corrects them before the rest is checked.
//!
//! So such a mistake causes one error alone: the keys of the section are checked as well, and names that refer to them are found.

use super::collector;
use super::model;
use super::node::{Node, NodeEntry, NodeValue};
use super::problem::ProblemReport;
use super::schema::Shape;
use super::shape::{key_that_is_meant, unknown_key};

/// Corrects the sections of a configuration.
pub(super) fn put_right(root: &mut Node, report: &mut ProblemReport) {
    take_out(root, report);
    rename(root, report);
}

/// Gives a misspelt section the name that is meant, unless there is a section of that name.
fn rename(root: &mut Node, report: &mut ProblemReport) {
    let shape = Shape::root();
    for index in 0..root.entries().len() {
        let section = &root.entries()[index];
        let (key, at) = (&section.key, section.key_span);
        if shape.property(key).is_some() || collector::knows("Config", key) {
            continue;
        }
        let Some(meant) = key_that_is_meant(key, root, shape).filter(|meant| root.get(meant).is_none())
        else {
            continue;
        };
        let unknown = unknown_key(section, report);
        report.error(at, format!("{unknown} in the top level; did you mean `{meant}`?"));
        if let NodeValue::Map(sections) = &mut root.value {
            meant.clone_into(&mut sections[index].key);
        }
    }
}

/// Takes a section out of another, in which it stands as if it were the name of a receiver, an exporter and the like, unless there is
/// a section of that name.
fn take_out(root: &mut Node, report: &mut ProblemReport) {
    let shape = Shape::root();
    let mut taken: Vec<NodeEntry> = Vec::new();
    let NodeValue::Map(sections) = &mut root.value else { return };
    let names: Vec<String> = sections.iter().map(|section| section.key.clone()).collect();
    for section in sections.iter_mut() {
        let Some(schema) = shape.property(&section.key) else { continue };
        let components = Shape::of(schema);
        if components.typed_values().next().is_none() {
            continue;
        }
        let NodeValue::Map(entries) = &mut section.value.value else { continue };
        let is_section = |entry: &NodeEntry| {
            shape.properties().any(|(known, _)| known == entry.key)
                && components.typed_values().all(|(known, _)| known != model::type_of(&entry.key))
                && !names.contains(&entry.key)
        };
        for entry in entries.extract_if(.., |entry| is_section(entry)) {
            let key = &entry.key;
            report
                .error(entry.key_span, format!("`{key}` stands below `{}`", section.key))
                .help(format!("begin the line of `{key}` without spaces: it is a section of its own"));
            taken.push(entry);
        }
    }
    for entry in taken {
        if sections.iter().all(|section| section.key != entry.key) {
            sections.push(entry);
        }
    }
}
