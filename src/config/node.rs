//! The YAML as a tree in which every key and value knows where it stands in the file.

use std::ops::Range;

use super::quoting::{REDACTED, is_name, named};
use super::span::Span;

/// A value of the YAML file.
#[derive(Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: NodeValue,
}

#[derive(Clone, PartialEq)]
pub(super) enum NodeValue {
    Scalar(Scalar),
    Seq(Vec<Node>),
    Map(Vec<NodeEntry>),
}

/// A scalar as text; its type is what the schema expects of it.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes, so that it may be a number, a boolean or null.
    pub(super) plain: bool,
    /// Whether the text is as it is written.
    pub(super) origin: ScalarOrigin,
    /// Where in the text the substituted values are.
    pub(super) literal: Vec<Range<usize>>,
}

/// Where the text of a scalar comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ScalarOrigin {
    /// As it is written.
    #[default]
    Written,
    /// It holds a substituted value, which may be a secret, whatever its key.
    Substituted,
    /// It holds a placeholder for a value that can't be read.
    Placeholder,
    /// A value that was to be substituted can't be read, which has been reported.
    Missing,
}

#[derive(Clone, PartialEq)]
pub(super) struct NodeEntry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

/// A name that a value consists of, or that is a key in it.
pub(super) struct Mention<'a> {
    pub(super) name: &'a str,
    pub(super) span: Span,
    /// Whether the name is as it is written.
    pub(super) origin: ScalarOrigin,
}

impl Mention<'_> {
    /// The name in backticks, if it has the form of one and may be shown.
    pub(super) fn shown(&self) -> String {
        if self.origin == ScalarOrigin::Written { named(self.name) } else { format!("`{REDACTED}`") }
    }
}

impl Node {
    /// A text that stands at this place, with quotes if it could be read as something else without.
    pub(super) fn of_text(text: impl Into<String>, span: Span) -> Self {
        let text = text.into();
        let needs_quotes = !is_name(&text)
            || !text.starts_with(|first: char| first.is_ascii_alphabetic())
            || ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word));
        Self::of_scalar(text, !needs_quotes, span)
    }

    /// A number, or a word such as `true`.
    pub(super) fn of_word(word: impl Into<String>, span: Span) -> Self {
        Self::of_scalar(word.into(), true, span)
    }

    fn of_scalar(text: String, plain: bool, span: Span) -> Self {
        Self { span, value: NodeValue::Scalar(Scalar { text, plain, ..Scalar::default() }) }
    }

    pub(super) fn of_items(items: Vec<Self>, span: Span) -> Self {
        Self { span, value: NodeValue::Seq(items) }
    }

    pub(super) fn of_entries(entries: Vec<NodeEntry>, span: Span) -> Self {
        Self { span, value: NodeValue::Map(entries) }
    }

    /// The names in a value of any shape: a single value, the keys of a map, or either in a list.
    pub(super) fn mentions(&self) -> Vec<Mention<'_>> {
        match &self.value {
            // A missing value has been reported.
            NodeValue::Scalar(scalar) if scalar.is_null() || scalar.text.is_empty() || self.is_missing() => {
                Vec::new()
            }
            NodeValue::Scalar(scalar) => {
                vec![Mention { name: &scalar.text, span: self.span, origin: scalar.origin }]
            }
            NodeValue::Seq(items) => items.iter().flat_map(Self::mentions).collect(),
            NodeValue::Map(entries) => {
                let keys = entries.iter().map(|entry| (&entry.key, entry.key_span));
                keys.map(|(name, span)| Mention { name, span, origin: ScalarOrigin::Written }).collect()
            }
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(&self.value, NodeValue::Map(_))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.is_null())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(super) fn entry(&self, key: &str) -> Option<&NodeEntry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The text of a single value.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Scalar(scalar) => Some(&scalar.text),
            NodeValue::Seq(_) | NodeValue::Map(_) => None,
        }
    }

    /// The entries of a map; of anything else, none.
    pub(super) fn entries(&self) -> &[NodeEntry] {
        match &self.value {
            NodeValue::Map(entries) => entries,
            NodeValue::Scalar(_) | NodeValue::Seq(_) => &[],
        }
    }

    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        match &self.value {
            NodeValue::Seq(items) => items.get(index),
            NodeValue::Scalar(_) | NodeValue::Map(_) => None,
        }
    }

    /// The node at a path of keys, or the nearest above it that exists: where to point for its sake.
    pub(super) fn near(&self, path: &[&str]) -> &Self {
        let mut node = self;
        for key in path {
            match node.get(key) {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// Whether the value holds something that was substituted.
    pub(super) fn is_substituted(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.is_substituted())
    }

    /// Whether `holds` is true of any scalar in this value.
    pub(super) fn any_scalar(&self, holds: &dyn Fn(&Scalar) -> bool) -> bool {
        match &self.value {
            NodeValue::Scalar(scalar) => holds(scalar),
            NodeValue::Seq(items) => items.iter().any(|item| item.any_scalar(holds)),
            NodeValue::Map(entries) => entries.iter().any(|entry| entry.value.any_scalar(holds)),
        }
    }

    /// Whether a value that was to be substituted into this one can't be read.
    pub(super) fn is_missing(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.origin == ScalarOrigin::Missing)
    }

    /// Whether a placeholder stands in the value.
    pub(super) fn has_placeholder(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.origin == ScalarOrigin::Placeholder)
    }

    /// Where in a scalar's text the substituted values are, which are no template.
    pub(super) fn literal(&self) -> &[Range<usize>] {
        match &self.value {
            NodeValue::Scalar(scalar) => &scalar.literal,
            NodeValue::Seq(_) | NodeValue::Map(_) => &[],
        }
    }

    /// The kind of the value, in the words of problems.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::Scalar(scalar) if scalar.is_null() => "nothing",
            NodeValue::Scalar(_) => "a single value",
            NodeValue::Seq(_) => "a list",
            NodeValue::Map(_) => "a map",
        }
    }
}

impl NodeEntry {
    pub(super) fn new(key: impl Into<String>, key_span: Span, value: Node) -> Self {
        Self { key: key.into(), key_span, value }
    }
}

impl Scalar {
    /// Whether the text is not as it is written.
    pub(super) fn is_substituted(&self) -> bool {
        self.origin != ScalarOrigin::Written
    }

    /// Null as in YAML 1.2; and as in the Collector, a substitution that is empty.
    pub(super) fn is_null(&self) -> bool {
        match self.text.as_str() {
            "" => self.plain || self.is_substituted(),
            "~" | "null" | "Null" | "NULL" => self.plain,
            _ => false,
        }
    }
}

/// The tree of a text that is not YAML, up to the place at which the parser stopped.
pub(super) struct Fragment {
    pub(super) root: Node,
    /// The end of the text that was parsed, in bytes.
    pub(super) end: usize,
    /// Keys and values that an alias may repeat behind that place, where they may be secrets.
    pub(super) anchored: Vec<Span>,
}
