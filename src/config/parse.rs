//! Builds the tree of a YAML text from the parser's events rather than through a deserializer: scalars keep their text (so that
//! `match: { build: 007 }` means `007`), duplicate keys are all seen and reported, and one wrong value hides no
//! other problem. Aliases are expanded and merge keys (`<<`) merged here, within a budget.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::node::{Fragment, Node, NodeEntry, NodeValue, Scalar};
use super::problem::ProblemReport;
use super::quoting::{is_name, named};
use super::span::Span;

/// The deepest nesting of collections; the deepest key of the schema is at a third of it.
const DEEPEST: usize = 32;
/// The most values that are written, which bounds the cost of a file of the largest size.
const MOST_WRITTEN: usize = 1_000_000;
/// The most values that aliases repeat.
const MOST_REPEATED: usize = 100_000;
/// The most bytes of text that aliases copy.
const MOST_ALIASED_BYTES: usize = 8 << 20;

/// Parses one YAML document. If the text is not YAML, the report says why.
pub(super) fn parse(source: &str, report: &mut ProblemReport) -> Result<Node, Fragment> {
    let mut options = granit_parser::Options::default();
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    options.set_emit_comments(false);

    let mut tree = Builder {
        source,
        report,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        repeated: 0,
        aliased: 0,
        read: 0,
        root: None,
    };
    for event in Parser::new_from_str_with_options(source, options) {
        let done = match event {
            Ok((event, span)) => {
                let span = tree.span(&span.start, &span.end);
                tree.read = tree.read.max(span.end);
                tree.take(event, span)
            }
            Err(error) => {
                let at = tree.offset(error.marker());
                let help = missing_quotes(source, at)
                    .or_else(|| indented_by_tab(source, at))
                    .or_else(|| misplaced(&error.info()).map(str::to_owned))
                    .or_else(|| tree.unclosed_bracket());
                let problem = tree
                    .report
                    .error(Span { start: at, end: at }, format!("not valid YAML: {}", error.info()));
                if let Some(help) = help {
                    problem.help(help);
                }
                None
            }
        };
        if done.is_none() {
            return Err(tree.into_fragment());
        }
    }
    Ok(tree.root.unwrap_or(Node { span: Span::default(), value: NodeValue::Map(Vec::new()) }))
}

/// The help where the parser says only what it has not found.
fn misplaced(said: &str) -> Option<&'static str> {
    if said.contains("unclosed quote") {
        return Some("write the same quote where the text ends");
    }
    said.contains("did not find expected key")
        .then_some("the keys of a map begin in one column, and no `- ` stands among them")
}

/// The help about a tab in the indentation before `at`.
fn indented_by_tab(source: &str, at: usize) -> Option<String> {
    let before = &source[..at];
    let line = &source[before.rfind('\n').map_or(0, |end| end + 1)..];
    let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    indentation.contains('\t').then(|| "indent with spaces, not with tabs".to_owned())
}

/// The help, mostly to use quotes, if the parser stopped at `at` because text that is common in a configuration is syntax in YAML.
fn missing_quotes(source: &str, at: usize) -> Option<String> {
    let (before, after) = source.split_at(at);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    if has_bare_template(&before[start..], after) {
        return Some(QUOTE_TEMPLATES.to_owned());
    }
    if before[start..].contains('$') || after.starts_with('$') {
        return Some("inside of `{ }` and `[ ]`, put quotes around what has a `${…}`".to_owned());
    }
    if after.starts_with('[') && ["attributes", "resource"].iter().any(|way| before.ends_with(way)) {
        return Some("name the attribute alone: `tenant.id` for `attributes[\"tenant.id\"]`".to_owned());
    }
    let first = after.chars().next().filter(|first| "*@%`".contains(*first))?;
    let rest = after[1..].trim_start_matches([' ', '\t']);
    Some(match first {
        '*' if rest.is_empty() || rest.starts_with(['\n', '\r', ',', ']', '}', '#']) => {
            "put quotes around `*`: `\"*\"`".to_owned()
        }
        '*' => "put quotes around a text that begins with `*`, such as `\"*-prod\"`; without them it repeats what an \
                anchor above it (`&name`) names"
            .to_owned(),
        '`' => "put quotes around a text that begins with a backtick".to_owned(),
        first => format!("put quotes around a text that begins with `{first}`"),
    })
}

const QUOTE_TEMPLATES: &str = "put quotes around what has a `{{ … }}`: `\"{{ key }}\"`";

/// Whether a `{{` stands outside of quotes in `before`, which is a line up to a place, or across that place.
fn has_bare_template(before: &str, after: &str) -> bool {
    let mut quote = None;
    let mut previous = ' ';
    for char in before.chars() {
        match quote {
            Some(open) if open == char => quote = None,
            // Within a word it is an apostrophe.
            None if matches!(char, '"' | '\'') && (previous.is_whitespace() || "[{,:".contains(previous)) => {
                quote = Some(char);
            }
            None if char == '{' && previous == '{' => return true,
            Some(_) | None => {}
        }
        previous = char;
    }
    quote.is_none() && (after.starts_with("{{") || (previous == '{' && after.starts_with('{')))
}

struct Builder<'a> {
    source: &'a str,
    report: &'a mut ProblemReport,
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, Anchored>,
    /// All values so far, including those of aliases.
    nodes: usize,
    /// The values of aliases alone.
    repeated: usize,
    /// Bytes of text in the values of aliases.
    aliased: usize,
    /// The end of the text that was parsed, in bytes.
    read: usize,
    root: Option<Node>,
}

/// A collection that is not closed yet.
struct OpenCollection {
    start: usize,
    anchor: usize,
    nodes_before: usize,
    content: OpenContent,
}

enum OpenContent {
    Seq(Vec<Node>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<NodeEntry>,
    /// Where each key stands.
    seen: HashMap<String, Span>,
    /// The key whose value comes next.
    key: Option<(String, Span)>,
    /// The values of `<<`.
    merges: Vec<Node>,
}

struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
    bytes: usize,
}

impl Builder<'_> {
    /// `None` ends the parsing; the report says why.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text(tag.as_deref(), span)?;
                let text = text.into_owned();
                self.nodes += 1;
                self.report.text(span);
                let node =
                    Node { span, value: NodeValue::Scalar(Scalar { text, plain, ..Scalar::default() }) };
                self.within_budget(span)?;
                self.remember(anchor, &node, 1);
                self.place(node)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), span)?;
                self.open(span.start, anchor, OpenContent::Seq(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), span)?;
                self.open(span.start, anchor, OpenContent::Map(OpenMap::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::DocumentStart(..) if self.root.is_some() => {
                self.report
                    .error(span, "a second YAML document starts here")
                    .help("write one document; everything after `---` belongs into another file");
                None
            }
            _ => Some(()),
        }
    }

    /// The tree so far, as if all open collections ended here. A key without a value yet is left out.
    fn into_fragment(mut self) -> Fragment {
        let end = self.read;
        let mut anchored = Vec::new();
        self.anchors.values().for_each(|Anchored { node, .. }| texts_of(node, &mut anchored));
        let mut inner = self.root.take();
        while let Some(OpenCollection { start, anchor, content, .. }) = self.open.pop() {
            let value = match content {
                OpenContent::Seq(mut items) => {
                    items.extend(inner);
                    NodeValue::Seq(items)
                }
                OpenContent::Map(OpenMap { mut entries, key, .. }) => {
                    let of_key =
                        key.zip(inner).map(|((key, key_span), value)| NodeEntry { key, key_span, value });
                    entries.extend(of_key);
                    NodeValue::Map(entries)
                }
            };
            let node = Node { span: Span { start, end }, value };
            if anchor != 0 {
                texts_of(&node, &mut anchored);
            }
            inner = Some(node);
        }
        let root = inner.unwrap_or(Node { span: Span::default(), value: NodeValue::Map(Vec::new()) });
        Fragment { root, end, anchored }
    }

    /// The help if the innermost open collection began with a bracket.
    fn unclosed_bracket(&self) -> Option<String> {
        let OpenCollection { start, .. } = self.open.last()?;
        let (bracket, closing) = match self.source.as_bytes().get(*start)? {
            b'{' => ('{', '}'),
            b'[' => ('[', ']'),
            _ => return None,
        };
        let line = self.source[..*start].matches('\n').count() + 1;
        Some(format!(
            "close the `{bracket}` that stands on line {line} with `{closing}`, or put a comma between what is in it"
        ))
    }

    fn open(&mut self, start: usize, anchor: usize, content: OpenContent) -> Option<()> {
        self.nodes += 1;
        self.open.push(OpenCollection { start, anchor, nodes_before: self.nodes, content });
        self.within_budget(Span { start, end: start })
    }

    fn close(&mut self, end: usize) -> Option<()> {
        let OpenCollection { start, anchor, nodes_before, content } =
            self.open.pop().expect("the parser balances its events");
        let value = match content {
            OpenContent::Seq(items) => NodeValue::Seq(items),
            OpenContent::Map(mut map) => {
                for merged in std::mem::take(&mut map.merges) {
                    self.merge(&mut map, merged);
                }
                NodeValue::Map(map.entries)
            }
        };
        // A block collection is closed by the next token; its span ends with its own text.
        let end = start + self.source.get(start..end).unwrap_or_default().trim_end().len();
        let node = Node { span: Span { start, end }, value };
        self.remember(anchor, &node, self.nodes - nodes_before + 1);
        self.place(node)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Option<()> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            self.report.error(span, "an alias can't stand inside the value that it repeats");
            return None;
        };
        self.nodes += anchored.nodes;
        self.repeated += anchored.nodes;
        self.aliased += anchored.bytes;
        if self.open.len() + anchored.height > DEEPEST {
            self.report.error(span, format!("nested more than {DEEPEST} levels deep by its aliases"));
            return None;
        }
        self.within_budget(span)?;
        let node = self.anchors[&anchor].node.clone();
        self.place(node)
    }

    fn within_budget(&mut self, span: Span) -> Option<()> {
        if self.repeated > MOST_REPEATED || self.aliased > MOST_ALIASED_BYTES {
            let bytes = MOST_ALIASED_BYTES >> 20;
            self.report
                .error(
                    span,
                    format!("aliases repeat more than {MOST_REPEATED} values, or {bytes} MiB of text"),
                )
                .help("write what several exporters share once, and merge it with `<<`");
            return None;
        }
        if self.nodes - self.repeated > MOST_WRITTEN {
            self.report.error(
                span,
                format!("there are more than {MOST_WRITTEN} keys and values, which is the most"),
            );
            return None;
        }
        Some(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, nodes: usize) {
        if anchor != 0 {
            let (height, bytes) = extent(node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, height, bytes });
        }
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node) -> Option<()> {
        let Some(OpenCollection { content, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match content {
            OpenContent::Seq(items) => items.push(node),
            OpenContent::Map(map) => {
                let Some((key, key_span)) = map.key.take() else {
                    let NodeValue::Scalar(scalar) = node.value else {
                        let problem = self
                            .report
                            .error(node.span, format!("a key must be text, this is {}", node.kind()));
                        let (before, written) = self.source.split_at(node.span.start);
                        if before.ends_with('{') && written.starts_with('{') {
                            problem.help(QUOTE_TEMPLATES);
                        }
                        return None;
                    };
                    map.key = Some((scalar.text, node.span));
                    return Some(());
                };
                if key == "<<" {
                    map.merges.push(node);
                } else if let Some(first) = map.seen.get(&key) {
                    let line = self.source[..first.start].matches('\n').count() + 1;
                    // Where there is no value, the key may be one.
                    let shown = !node.is_null() && is_name(&key);
                    if shown {
                        self.report.show_key(key_span);
                    }
                    let what =
                        if shown { format!("duplicate key {}", named(&key)) } else { "duplicate key".into() };
                    self.report
                        .error(key_span, what)
                        .help(format!("it is already on line {line}; keep one of the two"));
                } else {
                    map.seen.insert(key.clone(), key_span);
                    map.entries.push(NodeEntry { key, key_span, value: node });
                }
            }
        }
        Some(())
    }

    /// YAML 1.1 merge keys: a map's own keys win, then those of the first map that is merged.
    fn merge(&mut self, map: &mut OpenMap, merged: Node) {
        match merged.value {
            NodeValue::Map(entries) => {
                for entry in entries {
                    if !map.seen.contains_key(&entry.key) {
                        map.seen.insert(entry.key.clone(), entry.key_span);
                        map.entries.push(entry);
                    }
                }
            }
            NodeValue::Seq(maps) => maps.into_iter().for_each(|merged| self.merge(map, merged)),
            NodeValue::Scalar(_) => {
                self.report.error(merged.span, "`<<` merges a map or a list of maps, this is a single value");
            }
        }
    }

    /// Whether a tag says that the value is text whatever it looks like.
    fn is_text(&mut self, tag: Option<&Tag>, span: Span) -> Option<bool> {
        match tag {
            None => Some(false),
            Some(tag) if tag.is_yaml_core_schema() => Some(tag.suffix() == "str"),
            Some(_) => {
                // The tag is not quoted: a password may begin with `!`.
                self.report
                    .error(span, "a YAML tag (`!…`) means nothing here")
                    .help("if it is text, put quotes around it");
                None
            }
        }
    }

    fn span(&self, start: &Marker, end: &Marker) -> Span {
        Span { start: self.offset(start), end: self.offset(end) }
    }

    fn offset(&self, marker: &Marker) -> usize {
        marker.byte_offset().unwrap_or_else(|| {
            self.source.char_indices().nth(marker.index()).map_or(self.source.len(), |(at, _)| at)
        })
    }
}

/// The places of the keys and single values in a node.
fn texts_of(node: &Node, texts: &mut Vec<Span>) {
    match &node.value {
        NodeValue::Scalar(_) => texts.push(node.span),
        NodeValue::Seq(items) => items.iter().for_each(|item| texts_of(item, texts)),
        NodeValue::Map(entries) => {
            for entry in entries {
                texts.push(entry.key_span);
                texts_of(&entry.value, texts);
            }
        }
    }
}

/// How deep a node is, and how many bytes of text it holds.
fn extent(node: &Node) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match &node.value {
        NodeValue::Scalar(scalar) => return (0, scalar.text.len()),
        NodeValue::Seq(items) => items.iter().map(extent).collect(),
        NodeValue::Map(entries) => entries
            .iter()
            .map(|entry| {
                let (height, bytes) = extent(&entry.value);
                (height, bytes + entry.key.len())
            })
            .collect(),
    };
    let height = children.iter().map(|(height, _)| *height).max().unwrap_or(0) + 1;
    (height, children.iter().map(|(_, bytes)| bytes).sum())
}
