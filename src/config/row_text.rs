//! The text of a row that is a file of its own: how it is made, and how it is changed.
//!
//! A change keeps what people have written: only the changed keys are written anew, and all else stays, including comments and `${…}`.
//! That works on the lines of the file, which YAML allows to be written in many ways; so the result is parsed again, and where it is not
//! the row that it should be, the whole file is written anew, without comments.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::node::{Node, NodeEntry, NodeValue, Scalar};
use super::parse;
use super::problem::ProblemReport;
use super::span::Span;
use super::yaml::{is_plain, write_entry, written};
use crate::byte_order_mark;

/// The text of a row in its file, without substitution.
pub struct RowText {
    text: String,
    root: Node,
}

/// The error of a key that can't be written in YAML, such as `<<`, or one that is longer than a line may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key of this row can't be written in YAML")]
pub struct UnwritableRow;

impl RowText {
    /// The text of a row that has an id so far.
    pub fn new(id: &str) -> Result<Self, UnwritableRow> {
        let mut row = Self { text: String::new(), root: map(Vec::new()) };
        row.put("id", Some(text(id)))?;
        Ok(row)
    }

    /// The text of a present row; `None` if it is not a YAML map.
    pub fn parse(source: &str) -> Option<Self> {
        let text = byte_order_mark::strip(source).to_owned();
        let root = parsed(&text)?;
        Some(Self { text, root })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Writes the value of a key. `${…}` in the value is escaped, so that nothing is substituted when it is read.
    pub fn set(&mut self, key: &str, value: &Json) -> Result<(), UnwritableRow> {
        self.put(key, Some(node_of(value)))
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) -> Result<(), UnwritableRow> {
        self.put(key, None)
    }

    /// Applies a JSON merge patch (RFC 7396): its values are written, `null` removes a key, and maps are merged likewise. `${…}` in the
    /// values is escaped, so that nothing is substituted when they are read.
    pub fn merge(&mut self, patch: &Map<String, Json>) -> Result<(), UnwritableRow> {
        self.rewrite(&merged(self.root.entries(), patch))
    }

    /// Adds a sender who has the token of this hash.
    pub fn add_sender(&mut self, name: &str, token_sha256: &str) -> Result<(), UnwritableRow> {
        let mut senders = self.senders();
        senders.push(map(vec![entry("name", text(name)), entry("token_sha256", text(token_sha256))]));
        self.put("senders", Some(seq(senders)))
    }

    /// Gives the sender at a position another token, by its hash. The former token becomes that of a sender with the name and the expiry in
    /// `former`; without `former` it is removed.
    pub fn change_token(
        &mut self,
        position: usize,
        token_sha256: &str,
        former: Option<(&str, &str)>,
    ) -> Result<(), UnwritableRow> {
        let mut senders = self.senders();
        let Some(sender) = senders.get_mut(position) else { return Ok(()) };
        let before = sender.clone();
        if let NodeValue::Map(entries) = &mut sender.value {
            entries.retain(|entry| entry.key != "expires");
            for entry in entries.iter_mut().filter(|entry| ["token", "token_sha256"].contains(&&*entry.key)) {
                "token_sha256".clone_into(&mut entry.key);
                entry.value = text(token_sha256);
            }
        }
        if let Some((name, ends)) = former {
            senders.insert(position + 1, with(&with(&before, "name", text(name)), "expires", text(ends)));
        }
        self.put("senders", Some(seq(senders)))
    }

    /// Removes senders, by their positions.
    pub fn remove_senders(&mut self, positions: &[usize]) -> Result<(), UnwritableRow> {
        if positions.is_empty() {
            return Ok(());
        }
        let rest = self.senders().into_iter().enumerate();
        let rest = rest.filter(|(position, _)| !positions.contains(position)).map(|(_, sender)| sender);
        self.put("senders", Some(seq(rest.collect())))
    }

    fn senders(&self) -> Vec<Node> {
        match self.root.get("senders").map(|list| &list.value) {
            Some(NodeValue::Seq(senders)) => senders.clone(),
            _ => Vec::new(),
        }
    }

    /// Changes the value of a key of the row, or removes the key.
    fn put(&mut self, key: &str, value: Option<Node>) -> Result<(), UnwritableRow> {
        self.rewrite(&match value {
            Some(value) => with(&self.root, key, value),
            None => map(self.root.entries().iter().filter(|entry| entry.key != key).cloned().collect()),
        })
    }

    /// Changes the text to that of another row; all changes go through here.
    fn rewrite(&mut self, wanted: &Node) -> Result<(), UnwritableRow> {
        if says_same(&self.root, wanted) {
            return Ok(());
        }
        for text in [edited(&self.text, &self.root, wanted), Some(rendered(wanted))].into_iter().flatten() {
            if let Some(root) = parsed(&text).filter(|root| says_same(root, wanted)) {
                *self = Self { text, root };
                return Ok(());
            }
        }
        Err(UnwritableRow)
    }
}

fn parsed(text: &str) -> Option<Node> {
    let mut report = ProblemReport::default();
    let root = parse::parse(text, &mut report).ok()?;
    (!report.has_errors() && matches!(root.value, NodeValue::Map(_))).then_some(root)
}

fn node_of(json: &Json) -> Node {
    let plain = |text: String| scalar(Scalar { text, plain: true, ..Scalar::default() });
    match json {
        Json::Null => plain("null".to_owned()),
        Json::Bool(value) => plain(value.to_string()),
        Json::Number(value) => plain(value.to_string()),
        Json::String(value) => text(&value.replace('$', "$$")),
        Json::Array(items) => seq(items.iter().map(node_of).collect()),
        Json::Object(entries) => map(entries.iter().map(|(key, value)| entry(key, node_of(value))).collect()),
    }
}

fn text(text: &str) -> Node {
    scalar(Scalar { text: text.to_owned(), ..Scalar::default() })
}

fn scalar(scalar: Scalar) -> Node {
    Node { span: Span::default(), value: NodeValue::Scalar(scalar) }
}

fn seq(items: Vec<Node>) -> Node {
    Node { span: Span::default(), value: NodeValue::Seq(items) }
}

fn map(entries: Vec<NodeEntry>) -> Node {
    Node { span: Span::default(), value: NodeValue::Map(entries) }
}

fn entry(key: &str, value: Node) -> NodeEntry {
    NodeEntry { key: key.to_owned(), key_span: Span::default(), value }
}

/// A map with another value under a key, at its place if it has the key.
fn with(node: &Node, key: &str, value: Node) -> Node {
    let mut entries = node.entries().to_vec();
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => entry.value = value,
        None => entries.push(entry(key, value)),
    }
    map(entries)
}

/// The result of a JSON merge patch (RFC 7396) of a map.
fn merged(before: &[NodeEntry], patch: &Map<String, Json>) -> Node {
    let known: HashSet<&str> = before.iter().map(|entry| &*entry.key).collect();
    let kept = before.iter().filter_map(|before| match patch.get(&before.key) {
        None => Some(before.clone()),
        Some(value) => Some(entry(&before.key, patched(Some(&before.value), value)?)),
    });
    let added = patch.iter().filter(|(key, _)| !known.contains(&***key));
    map(kept.chain(added.filter_map(|(key, value)| Some(entry(key, patched(None, value)?)))).collect())
}

/// The result of a value of a JSON merge patch for the present value; `None` if the key is to be absent.
fn patched(before: Option<&Node>, patch: &Json) -> Option<Node> {
    match patch {
        Json::Null => None,
        Json::Object(patch) => {
            let after = merged(before.map_or(&[], Node::entries), patch);
            // RFC 7396 would leave an empty map where keys are taken out of one that is not there; it says as little in a row.
            let is_removal = before.is_none() && after.entries().is_empty() && !patch.is_empty();
            (!is_removal).then_some(after)
        }
        value => Some(node_of(value)),
    }
}

/// Whether two nodes have the same value, whatever their places.
fn says_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (NodeValue::Scalar(one), NodeValue::Scalar(other)) if one.is_null() || other.is_null() => {
            one.is_null() == other.is_null()
        }
        (NodeValue::Scalar(one), NodeValue::Scalar(other)) => {
            // Quotes tell a number or a boolean from a text, and nothing else.
            one.text == other.text && (one.plain == other.plain || !is_plain(&one.text))
        }
        (NodeValue::Seq(one), NodeValue::Seq(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| says_same(one, other))
        }
        (NodeValue::Map(one), NodeValue::Map(other)) => {
            let same = |(one, other): (&NodeEntry, &NodeEntry)| {
                one.key == other.key && says_same(&one.value, &other.value)
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        _ => false,
    }
}

/// A range of a text and its replacement: whole lines, or a single value within a line.
type TextEdit = (Range<usize>, String);

/// The text of a map, changed to that of another map; `None` if not each key begins a line.
fn edited(source: &str, before: &Node, after: &Node) -> Option<String> {
    let mut edits = edits_of(source, before, after, source.len())?;
    edits.sort_by_key(|(place, _)| (place.start, place.end));
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    for (place, text) in edits {
        // What an alias repeats stands elsewhere, and may be changed twice.
        out.push_str(source.get(at..place.start)?);
        let is_line = text.ends_with('\n');
        if is_line && !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&text);
        at = place.end;
    }
    out.push_str(source.get(at..)?);
    Some(out)
}

/// The edits that change a map to another one. Its text ends at `end`, where keys are added. `None` if that needs whole lines, and the
/// keys don't begin lines.
fn edits_of(source: &str, before: &Node, after: &Node, end: usize) -> Option<Vec<TextEdit>> {
    let mut starts: Vec<usize> = before.entries().iter().map(|entry| entry.key_span.start).collect();
    starts.sort_unstable();
    // In braces, and behind a `?`, a map begins before its first key.
    let is_block = starts.first().is_none_or(|first| *first == before.span.start);
    let indent = starts.first().map_or(0, |first| first - line_start(source, *first));
    let wanted: HashMap<&str, &Node> =
        after.entries().iter().map(|entry| (&*entry.key, &entry.value)).collect();
    let mut edits = Vec::new();
    for entry in before.entries() {
        let value = wanted.get(&*entry.key).copied();
        if value.is_some_and(|value| says_same(&entry.value, value)) {
            continue;
        }
        if let Some(text) = value.and_then(|value| in_its_line(source, &entry.value, value)) {
            edits.push((entry.value.span.start..entry.value.span.end, text));
            continue;
        }
        let next = starts.partition_point(|start| *start <= entry.key_span.start);
        let lines = lines_of(source, entry, starts.get(next).copied().unwrap_or(end).min(end))?;
        let inner = value
            .filter(|value| !value.entries().is_empty() && !entry.value.entries().is_empty())
            .and_then(|value| edits_of(source, &entry.value, value, lines.end));
        match inner {
            Some(inner) => edits.extend(inner),
            None if !is_block => return None,
            None => {
                let mut text = String::new();
                if let Some(value) = value {
                    write_entry(&entry.key, value, indent, &mut text);
                }
                edits.push((lines, text));
            }
        }
    }
    let known: HashSet<&str> = before.entries().iter().map(|entry| &*entry.key).collect();
    let mut added = String::new();
    for entry in after.entries().iter().filter(|entry| !known.contains(&*entry.key)) {
        write_entry(&entry.key, &entry.value, indent, &mut added);
    }
    if !added.is_empty() {
        if !is_block {
            return None;
        }
        edits.push((end..end, added));
    }
    Some(edits)
}

/// The replacement of a single value that is a part of a line, so that the text behind it stays.
fn in_its_line(source: &str, before: &Node, after: &Node) -> Option<String> {
    let NodeValue::Scalar(after) = &after.value else { return None };
    before.text()?;
    let written_before = source.get(before.span.start..before.span.end)?;
    (!written_before.is_empty() && !written_before.contains('\n')).then(|| written(after))
}

/// The lines of a key and its value, of which the next key begins at `next`. Comments before that are about it; what looks like
/// one within a text is a part of the text.
fn lines_of(source: &str, entry: &NodeEntry, next: usize) -> Option<Range<usize>> {
    let start = entry.key_span.start;
    let of_value = last_text(&entry.value, &(start..next)).unwrap_or(start);
    let of_value = source.get(..of_value)?.trim_end().len();
    let mut end = start;
    let mut at = start;
    for line in source.get(start..next)?.split_inclusive('\n') {
        let is_content = !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if at < of_value || is_content {
            end = at + line.len();
        }
        at += line.len();
    }
    Some(line_start(source, start)..end)
}

/// The beginning of the line of a place.
fn line_start(source: &str, place: usize) -> usize {
    source[..place].rfind('\n').map_or(0, |end| end + 1)
}

/// The end of the last text in a value that begins within a part of the file, cut to that part: blank lines behind it may belong to the
/// text.
fn last_text(node: &Node, within: &Range<usize>) -> Option<usize> {
    match &node.value {
        NodeValue::Scalar(_) => within.contains(&node.span.start).then(|| node.span.end.min(within.end)),
        NodeValue::Seq(items) => items.iter().filter_map(|item| last_text(item, within)).max(),
        NodeValue::Map(entries) => entries.iter().filter_map(|entry| last_text(&entry.value, within)).max(),
    }
}

/// A row as it is written anew.
fn rendered(root: &Node) -> String {
    let mut out = String::new();
    root.entries().iter().for_each(|entry| write_entry(&entry.key, &entry.value, 0, &mut out));
    out
}
