//! The problems of a configuration with their places: collected while it is read, shown all at once.
//!
//! The text looks like a compiler's: place, message, the line itself with a caret, and what to write instead.
//! Of the line, keys, structure and the values that are known to be no secrets (`secrets`) are shown, because the text ends up in logs and
//! in the API.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::node::{Fragment, Node, NodeValue};
use super::quoting::{REDACTED, quoted};
use super::secrets::{Sight, known_keys};
use super::span::Span;
use crate::terminal::is_obeyed;

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration can't be used.
    Error,
    /// The configuration works, but not as its writer may think.
    Warning,
}

/// One problem of a configuration, ready to be shown; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The configuration file.
    pub file: String,
    /// The line, from 1; `None` for a problem of the file as a whole.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The line with a caret under the place.
    #[serde(skip)]
    pub(super) snippet: Option<String>,
    /// Whether the problem is a warning that a placeholder replaces an absent variable or file.
    #[serde(skip)]
    pub(super) is_of_placeholder: bool,
}

impl Problem {
    /// Whether the problem is only a warning that a placeholder replaces an absent variable or file.
    pub fn tells_of_placeholder(&self) -> bool {
        self.is_of_placeholder
    }

    /// An error of a file as a whole.
    pub(crate) fn of_file(file: &Path, message: String) -> Self {
        let file = file.display().to_string();
        Self {
            severity: Severity::Error,
            file,
            line: None,
            column: None,
            message,
            help: None,
            snippet: None,
            is_of_placeholder: false,
        }
    }

    /// A warning that what a configuration names is not there, and needn't be.
    pub(crate) fn of_absence(path: &Path, message: String) -> Self {
        let severity = Severity::Warning;
        Self { severity, is_of_placeholder: true, ..Self::of_file(path, message) }
    }
}

impl fmt::Display for Problem {
    /// With `{:#}` it is one line for a log, whose level tells how bad it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if f.alternate() {
            write!(f, ": {}", self.message)?;
            return self.help.iter().try_for_each(|help| write!(f, " (help: {help})"));
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, ": {severity}: {}", self.message)?;
        if let Some(snippet) = &self.snippet {
            f.write_str(snippet)?;
        }
        if let Some(help) = &self.help {
            let gutter = self.line.map_or(1, |line| line.to_string().len());
            writeln!(f, "{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// Why a configuration can't be used: every error, and the warnings beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    /// In the order of the file.
    pub list: Vec<Problem>,
    /// Every file that was read or looked for, so that a watcher sees when it is repaired.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// The hash of their content, as [`super::fingerprint`] computes it.
    #[serde(skip)]
    pub hash: u64,
    /// The configuration line by line, as it may be shown; empty if it can't be read.
    #[serde(skip)]
    pub text: String,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct ProblemReport {
    found: Vec<FoundProblem>,
    /// The keys and values of the file, and whether they may be shown.
    texts: HashMap<Span, bool>,
    /// Up to this byte the keys and values of the file are known.
    looked_to: usize,
    /// The values in which a placeholder stands. What is wrong with one of them is a mistake of the placeholder's.
    placeholders: HashSet<Span>,
}

#[derive(Debug)]
struct FoundProblem {
    severity: Severity,
    span: Option<Span>,
    message: String,
    help: Option<String>,
    is_of_placeholder: bool,
    /// Whether it is not told, because it is a mistake of a placeholder's. What follows from it is no mistake either.
    is_excused: bool,
}

impl FoundProblem {
    fn is_told_error(&self) -> bool {
        self.severity == Severity::Error && !self.is_excused
    }
}

impl ProblemReport {
    /// Adds an error; `help` says what to write instead.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.add(Severity::Error, Some(span), message.into())
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.add(Severity::Warning, Some(span), message.into())
    }

    /// Adds a warning that something of the value at `span` is absent, and needn't be there.
    pub(super) fn warn_of_absence(&mut self, span: Span, message: impl Into<String>) {
        self.add(Severity::Warning, Some(span), message.into());
        if let Some(last) = self.found.last_mut() {
            last.is_of_placeholder = true;
            last.is_excused = false;
        }
    }

    /// Adds a warning that a placeholder replaces an absent variable or file in the value at `span`.
    pub(super) fn warn_of_placeholder(&mut self, span: Span, message: impl fmt::Display) {
        self.warn_of_absence(span, format!("{message}: a placeholder stands for it"));
    }

    /// Notes that a placeholder stands in the value at `span`: from now on no problem of that value is told.
    pub(super) fn excuse(&mut self, span: Span) {
        self.placeholders.insert(span);
    }

    /// Notes that the value at `span`, in which a placeholder stands, is not used: that it is missing is no mistake.
    pub(super) fn leave_out_placeholder(&mut self, span: Span) {
        self.excuse(span);
        self.error(span, "a placeholder stands here");
    }

    /// Adds an error of the file as a whole.
    pub(super) fn error_without_place(&mut self, message: impl Into<String>) -> &mut Self {
        self.add(Severity::Error, None, message.into())
    }

    /// Adds a help to the last problem: what to write instead.
    pub(super) fn help(&mut self, help: impl Into<String>) {
        if let Some(last) = self.found.last_mut() {
            last.help = Some(help.into());
        }
    }

    /// Notes the place of a key or a value, which is not shown for now.
    pub(super) fn text(&mut self, span: Span) {
        self.texts.insert(span, false);
    }

    /// Shows a duplicate key, which is not in the tree.
    pub(super) fn show_key(&mut self, span: Span) {
        self.texts.insert(span, true);
    }

    /// Shows the keys and values that were found to be harmless.
    pub(super) fn show(&mut self, sight: &Sight) {
        self.looked_to = usize::MAX;
        self.texts.extend(sight.shown.iter().map(|span| (*span, true)));
        self.texts.extend(sight.hidden.iter().map(|span| (*span, false)));
    }

    /// As [`ProblemReport::show`], for a file of which only a fragment could be parsed.
    pub(super) fn show_fragment(&mut self, fragment: &Fragment, sight: &Sight) {
        self.show(sight);
        self.looked_to = fragment.end;
        self.texts.extend(fragment.anchored.iter().map(|span| (*span, false)));
    }

    /// Whether this key or value may be shown.
    pub(super) fn shows(&self, span: Span) -> bool {
        self.texts.get(&span) == Some(&true)
    }

    /// The value as it is written in the file, quoted, if it may be shown; never a substituted value.
    pub(super) fn written(&self, node: &Node, source: &str) -> String {
        match &node.value {
            NodeValue::Scalar(_) if !self.shows(node.span) => format!("`{REDACTED}`"),
            NodeValue::Scalar(scalar) if scalar.is_substituted() => {
                quoted(source.get(node.span.start..node.span.end).unwrap_or_default())
            }
            NodeValue::Scalar(scalar) => quoted(&scalar.text),
            NodeValue::Seq(_) | NodeValue::Map(_) => node.kind().to_owned(),
        }
    }

    /// The value as the subject at the beginning of a sentence; `this`, if it may not be shown.
    pub(super) fn subject(&self, node: &Node, source: &str) -> String {
        match &node.value {
            NodeValue::Scalar(_) if !self.shows(node.span) => "this".to_owned(),
            _ => self.written(node, source),
        }
    }

    /// Whether there is a problem at exactly this place.
    pub(super) fn has_said(&self, span: Span) -> bool {
        self.found.iter().any(|found| found.span == Some(span))
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(FoundProblem::is_told_error)
    }

    /// Whether there are no problems.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether there is an error that stands in none of the spans.
    pub(super) fn has_error_outside(&self, spans: &[Span]) -> bool {
        self.found.iter().any(|found| {
            let is_inside = |inner: Span| spans.iter().any(|span| span.contains(inner));
            found.is_told_error() && !found.span.is_some_and(is_inside)
        })
    }

    /// Whether the map may lack entries, because of an error inside it or because a placeholder stands for one of them or for all.
    pub(super) fn lacks_entries(&self, map: &Node) -> bool {
        let is_placeholder = |span: Span| self.placeholders.contains(&span);
        is_placeholder(map.span)
            || map.entries().iter().any(|entry| is_placeholder(entry.value.span))
            || self.found.iter().any(|found| {
                found.is_told_error() && found.span.is_some_and(|inner| map.span.contains(inner))
            })
    }

    /// Whether there is an error inside `span`, be it only one of a placeholder: a key that is missing there may be a misspelt one.
    pub(super) fn has_error_within(&self, span: Span) -> bool {
        self.found.iter().any(|found| {
            found.severity == Severity::Error && found.span.is_some_and(|inner| span.contains(inner))
        })
    }

    fn add(&mut self, severity: Severity, span: Option<Span>, message: String) -> &mut Self {
        let is_excused = span.is_some_and(|span| self.placeholders.contains(&span));
        self.found.push(FoundProblem {
            severity,
            span,
            message,
            help: None,
            is_of_placeholder: false,
            is_excused,
        });
        self
    }

    /// The file line by line, with `[redacted]` for what may not be shown, and without comments.
    pub(super) fn masked(&self, source: &str) -> String {
        let lines = self.lines(source);
        let shown: Vec<String> = (0..lines.starts.len()).map(|line| lines.shown(line)).collect();
        shown.join("\n")
    }

    fn lines<'a>(&self, source: &'a str) -> Lines<'a> {
        let mut texts: Vec<(Span, bool)> = self.texts.iter().map(|(span, shown)| (*span, *shown)).collect();
        texts.sort_unstable();
        Lines { texts, looked_to: self.looked_to, ..Lines::new(source) }
    }

    /// The problems in the order of the file, each once.
    pub(super) fn finish(mut self, file: &str, source: &str) -> Vec<Problem> {
        if self.found.is_empty() {
            return Vec::new();
        }
        self.found.retain(|found| !found.is_excused);
        self.found.sort_by_key(|found| (found.span, found.severity));
        let lines = self.lines(source);
        let mut problems: Vec<Problem> = Vec::with_capacity(self.found.len());
        for found in self.found {
            let place = found.span.map(|span| lines.place(span));
            let problem = Problem {
                severity: found.severity,
                file: file.to_owned(),
                line: place.as_ref().map(|place| place.line + 1),
                column: place.as_ref().map(|place| place.column + 1),
                message: found.message,
                help: found.help,
                snippet: place.map(|place| lines.snippet(&place)),
                is_of_placeholder: found.is_of_placeholder,
            };
            // One anchor used in many places is still one mistake.
            let seen = |other: &Problem| {
                other.line == problem.line
                    && other.column == problem.column
                    && other.message == problem.message
            };
            if !problems.iter().rev().take(16).any(seen) {
                problems.push(problem);
            }
        }
        problems
    }
}

/// The file by lines.
struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
    /// The keys and values in the order of the file, and whether they may be shown.
    texts: Vec<(Span, bool)>,
    /// Up to this byte the keys and values are known.
    looked_to: usize,
}

/// How a character of a line is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    AsItIs,
    /// As a part of the secret that begins at this byte.
    Redacted(usize),
    /// As nothing: comments.
    LeftOut,
}

struct TextPosition {
    /// From 0.
    line: usize,
    /// In characters, from 0.
    column: usize,
    span: Span,
}

impl<'a> Lines<'a> {
    fn new(source: &'a str) -> Self {
        let breaks = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(breaks).collect(), texts: Vec::new(), looked_to: 0 }
    }

    fn place(&self, span: Span) -> TextPosition {
        let clamp = |at: usize| {
            (0..=at.min(self.source.len())).rev().find(|at| self.source.is_char_boundary(*at)).unwrap_or(0)
        };
        let span = Span { start: clamp(span.start), end: clamp(span.end.max(span.start)) };
        let line = self.starts.partition_point(|start| *start <= span.start) - 1;
        let column = self.source[self.starts[line]..span.start].chars().count();
        TextPosition { line, column, span }
    }

    /// How each byte of a line that begins at `start` is shown.
    fn looks(&self, start: usize, line: &str) -> Vec<Look> {
        let known = self.looked_to.saturating_sub(start).min(line.len());
        let mut looks = self.looks_of_known(start, &line.as_bytes()[..known]);
        let Some(mut rest) = line.get(known..) else {
            looks.resize(line.len(), Look::Redacted(start + known));
            return looks;
        };
        match looks.last() {
            // A secret may go on behind a quote in it.
            Some(&look @ Look::Redacted(_)) => {
                looks.resize(line.len(), look);
                return looks;
            }
            // What stands behind a key or a value that is shown is structure, at which the parser may have stopped.
            Some(_) => rest = rest.trim_start_matches([' ', ':', ',', '{', '}', '[', ']']),
            None => {}
        }
        looks.resize(line.len() - rest.len(), Look::AsItIs);
        let of_rest = looks.len();
        looks.resize(line.len(), Look::Redacted(start + of_rest));
        for shown in known_keys(rest) {
            looks[of_rest..][shown].fill(Look::AsItIs);
        }
        looks
    }

    /// How each byte of a line, or of its beginning, is shown where keys and values are known.
    fn looks_of_known(&self, start: usize, line: &[u8]) -> Vec<Look> {
        let texts = &self.texts;
        let mut looks = Vec::with_capacity(line.len());
        let mut is_comment = false;
        let mut begun: Option<usize> = None;
        for (offset, byte) in line.iter().copied().enumerate() {
            let at = start + offset;
            let text = texts.get(texts.partition_point(|(span, _)| span.end <= at));
            let look = match text.filter(|(span, _)| span.start <= at) {
                Some((_, true)) => Look::AsItIs,
                Some((span, false)) => Look::Redacted(span.start),
                // Between keys and values there are structure, anchors, tags and comments.
                None => {
                    let apart = offset == 0 || line[offset - 1].is_ascii_whitespace();
                    is_comment |= byte == b'#' && apart;
                    if is_comment {
                        Look::LeftOut
                    } else if byte.is_ascii_whitespace() || b"{}[],:-?|>&*!".contains(&byte) {
                        begun = None;
                        Look::AsItIs
                    } else {
                        Look::Redacted(*begun.get_or_insert(at))
                    }
                }
            };
            looks.push(look);
        }
        looks
    }

    /// The text of a line.
    fn line(&self, line: usize) -> &'a str {
        self.source[self.starts[line]..].split('\n').next().unwrap_or_default().trim_end_matches('\r')
    }

    /// A line, redacted.
    fn shown(&self, line: usize) -> String {
        let text = self.line(line);
        let looks = self.looks(self.starts[line], text);
        // A text of several lines reaches to the end of the indentation behind it, which tells nothing.
        let indentation = text.len() - text.trim_start().len();
        let (mut shown, mut before) = (text[..indentation].to_owned(), Look::AsItIs);
        for (offset, char) in text.char_indices().skip_while(|(offset, _)| *offset < indentation) {
            match looks[offset] {
                Look::AsItIs => shown.push(if is_obeyed(char) { ' ' } else { char }),
                Look::Redacted(_) if looks[offset] != before => shown.push_str(REDACTED),
                Look::Redacted(_) | Look::LeftOut => {}
            }
            before = looks[offset];
        }
        shown.truncate(shown.trim_end().len());
        shown
    }

    /// The line with a caret under the span, without secrets, and cut around the place if it is long.
    fn snippet(&self, place: &TextPosition) -> String {
        const WIDEST: usize = 120;
        const BEFORE: usize = 50;

        let start = self.starts[place.line];
        let text = self.line(place.line);
        let looks = self.looks(start, text);
        let mut shown: Vec<char> = Vec::new();
        let (mut from, mut to) = (None, 0);
        let mut before = Look::AsItIs;
        for (offset, char) in text.char_indices() {
            let at = start + offset;
            let inside = place.span.start <= at && (at < place.span.end || at == place.span.start);
            if inside && from.is_none() {
                from = Some(shown.len());
            }
            let look = looks[offset];
            match look {
                Look::AsItIs => shown.push(if is_obeyed(char) { ' ' } else { char }),
                Look::Redacted(_) if look != before => shown.extend(REDACTED.chars()),
                Look::Redacted(_) | Look::LeftOut => {}
            }
            before = look;
            if inside {
                to = shown.len();
            }
        }
        let from = from.unwrap_or(shown.len());
        let to = to.max(from + 1);

        let skipped = if shown.len() > WIDEST { from.saturating_sub(BEFORE) } else { 0 };
        let window: String = shown.iter().skip(skipped).take(WIDEST).collect();
        let carets = "^".repeat((to - from).min(WIDEST.saturating_sub(from - skipped)).max(1));
        let number = (place.line + 1).to_string();
        let gutter = " ".repeat(number.len());
        format!(
            "{gutter} |\n{number} | {}\n{gutter} | {}{carets}\n",
            window.trim_end(),
            " ".repeat(from - skipped)
        )
    }
}
