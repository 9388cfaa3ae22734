//! `${env:NAME}`, `${env:NAME:-default}`, `${NAME}`, `${file:PATH}` and `$$`, as in the Collector.
//!
//! Values are put in after the YAML was parsed, into one scalar each: a value can't become a key, a list or a
//! second option, whatever is in it. It is not looked at for further `${}` either.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::SecretPresence;
use super::node::{Node, NodeValue, Scalar, ScalarOrigin};
use super::problem::ProblemReport;
use super::quoting::REDACTED;
use super::span::Span;
use super::{quoting, secrets};
use crate::byte_order_mark;
use crate::regular::{self, FileStamp};

/// The most bytes of a configuration, and of a file that it reads.
const LARGEST: u64 = 16 << 20;

/// Why a text can't be read.
pub(super) const NOT_TEXT: &str = "it is not UTF-8 text";

/// Substitutes variables and files, and notes the files that it has read.
pub(super) struct Substitution<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    secrets: SecretPresence,
    files: &'a mut SourceFiles,
}

/// Replaces absent variables and files where they needn't exist. It is valid in a header, a path, a host and a key.
pub(super) const PLACEHOLDER: &str = "placeholder";

/// Replaces a URL with a placeholder in it that is no URL. Its domain is reserved (RFC 2606).
pub(super) const PLACEHOLDER_URL: &str = "https://placeholder.invalid:4317";

impl<'a> Substitution<'a> {
    pub(super) fn new(
        env: &'a dyn Fn(&str) -> Option<String>,
        secrets: SecretPresence,
        files: &'a mut SourceFiles,
    ) -> Self {
        Self { env, secrets, files }
    }

    /// Substitutes in every scalar at and below `node`.
    pub(super) fn apply(&mut self, node: &mut Node, report: &mut ProblemReport) {
        match &mut node.value {
            NodeValue::Scalar(scalar) => self.scalar(scalar, node.span, report),
            NodeValue::Seq(items) => items.iter_mut().for_each(|item| self.apply(item, report)),
            NodeValue::Map(entries) => {
                for entry in entries {
                    self.apply(&mut entry.value, report);
                }
            }
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar, span: Span, report: &mut ProblemReport) {
        if !scalar.text.contains('$') {
            return;
        }
        let mut out = String::new();
        let mut rest = scalar.text.as_str();
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$$") {
                out.push('$');
                rest = after;
            } else if let Some(inner) = rest.strip_prefix("${") {
                let Some(close) = inner.find('}') else {
                    report
                        .error(span, "`${` is never closed by `}`")
                        .help("write `${env:NAME}`, or `$$` for a dollar sign");
                    scalar.origin = ScalarOrigin::Missing;
                    return;
                };
                if scalar.origin == ScalarOrigin::Written {
                    scalar.origin = ScalarOrigin::Substituted;
                }
                let value = match self.value(&inner[..close]) {
                    Err(failure) if failure.is_absence && self.secrets == SecretPresence::Optional => {
                        report.warn_of_placeholder(span, failure.message);
                        if scalar.origin != ScalarOrigin::Missing {
                            scalar.origin = ScalarOrigin::Placeholder;
                        }
                        Ok(PLACEHOLDER.to_owned())
                    }
                    value => value,
                };
                match value {
                    Ok(value) => {
                        if value.trim().is_empty() && inner.starts_with("file:") {
                            let file = quoting::path(Path::new(&inner["file:".len()..close]));
                            report.warn(span, format!("there is nothing in the file {file}"));
                        }
                        scalar.literal.push(out.len()..out.len() + value.len());
                        out.push_str(&value);
                    }
                    Err(SubstitutionFailure { message, help, .. }) => {
                        report.error(span, message).help(help);
                        scalar.origin = ScalarOrigin::Missing;
                    }
                }
                rest = &inner[close + 1..];
            } else {
                out.push('$');
                rest = &rest[1..];
            }
        }
        out.push_str(rest);
        scalar.text = out;
        // The mistakes of the substitutions themselves have been told.
        if scalar.origin == ScalarOrigin::Placeholder {
            report.excuse(span);
        }
    }

    /// The value of `${expression}`.
    fn value(&mut self, expression: &str) -> Result<String, SubstitutionFailure> {
        if let Some(path) = expression.strip_prefix("file:") {
            return self.file(Path::new(path));
        }
        let (name, default) = match expression.strip_prefix("env:").unwrap_or(expression).split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (expression.strip_prefix("env:").unwrap_or(expression), None),
        };
        if !secrets::is_variable(name) {
            // Its text may be a part of a password that happens to have `${` in it.
            return Err(SubstitutionFailure {
                is_absence: false,
                message: "this `${…}` is not a substitution".into(),
                help:
                    "write `${env:NAME}`, `${env:NAME:-default}` or `${file:PATH}`, or `$$` for a dollar sign"
                        .into(),
            });
        }
        match ((self.env)(name), default) {
            // As in a shell, `:-` also stands in for an empty value.
            (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(SubstitutionFailure {
                is_absence: true,
                message: format!("the environment variable `{name}` is not set"),
                help: format!("set it, or write `${{env:{name}:-default}}`"),
            }),
        }
    }

    fn file(&mut self, path: &Path) -> Result<String, SubstitutionFailure> {
        let shown = quoting::path(path);
        self.files.read_value(path).map_err(|reason| SubstitutionFailure {
            is_absence: true,
            message: format!("can't read the file {shown}: {reason}"),
            help: "a relative path is relative to the working directory".into(),
        })
    }
}

/// What variables and files have given for the values of a configuration, to be hidden where it must not be shown.
#[derive(Clone, Default)]
pub struct SubstitutedValues(Vec<String>);

impl fmt::Debug for SubstitutedValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubstitutedValues({})", self.0.len())
    }
}

impl SubstitutedValues {
    /// Those of a configuration that is substituted.
    pub(super) fn of(root: &Node) -> Self {
        let mut values = Self::default();
        values.add(root);
        // A value may be a part of another, of which the rest would be left if it were hidden first.
        values.0.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        values
    }

    fn add(&mut self, node: &Node) {
        match &node.value {
            NodeValue::Scalar(scalar) => {
                let values = scalar.literal.iter().filter_map(|range| scalar.text.get(range.clone()));
                self.0.extend(values.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned));
            }
            NodeValue::Seq(items) => items.iter().for_each(|item| self.add(item)),
            NodeValue::Map(entries) => entries.iter().for_each(|entry| self.add(&entry.value)),
        }
    }

    /// A text without them.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), REDACTED))
    }
}

struct SubstitutionFailure {
    /// The variable or the file is not there, or can't be read.
    is_absence: bool,
    message: String,
    help: String,
}

/// The files that a configuration or a row was read from, each with the hash and the stamp that it had.
#[derive(Default)]
pub(super) struct SourceFiles(BTreeMap<PathBuf, FileRead>);

struct FileRead {
    /// The hash of its content.
    digest: u64,
    /// The stamp from before it was read.
    stamp: FileStamp,
}

impl SourceFiles {
    /// Reads a text file; the error says why not, never what is in it.
    pub(super) fn read(&mut self, path: &Path) -> Result<String, String> {
        let stamp = FileStamp::of(path);
        let bytes = read(path);
        let digest = digest(bytes.as_deref().ok());
        self.0.entry(path.to_owned()).or_insert(FileRead { digest, stamp });
        String::from_utf8(bytes?).map_err(|_| NOT_TEXT.to_owned())
    }

    /// As [`SourceFiles::read`], for a file that stands for one value: without its final line break.
    pub(super) fn read_value(&mut self, path: &Path) -> Result<String, String> {
        let text = self.read(path)?;
        let text = byte_order_mark::strip(&text);
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// As [`SourceFiles::read`], also through a pipe. A pipe is not read again; a file that takes its place is.
    pub(super) fn read_once(&mut self, path: &Path) -> Result<String, String> {
        if regular::is_pipe(path) {
            let bytes = match regular::read_pipe(path, LARGEST) {
                Ok(None) => return self.read(path),
                Ok(Some(bytes)) => Ok(bytes),
                Err(error) => Err(error.to_string()),
            };
            let read = FileRead { digest: digest(None), stamp: FileStamp::of(path) };
            self.0.entry(path.to_owned()).or_insert(read);
            return String::from_utf8(bytes?).map_err(|_| NOT_TEXT.to_owned());
        }
        self.read(path)
    }

    /// The paths, and the hash over all contents.
    pub(super) fn finish(self) -> (Vec<PathBuf>, u64) {
        let (files, digests): (Vec<PathBuf>, Vec<u64>) =
            self.0.into_iter().map(|(path, read)| (path, read.digest)).unzip();
        let hash = combine(files.iter().zip(digests));
        (files, hash)
    }

    /// The paths, each with the file's stamp from before it was read.
    pub(super) fn stamps(self) -> Vec<(PathBuf, FileStamp)> {
        self.0.into_iter().map(|(path, read)| (path, read.stamp)).collect()
    }
}

/// A hash of the present contents of `files`: when it differs from that of a configuration, the files have changed since
/// that configuration was read from them.
///
/// The contents are read, rather than the stamps, so that a `ConfigMap`'s swapped symlink and a network file system without
/// change events are noticed alike. A file that can't be read counts as such.
pub fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut files: Vec<&PathBuf> = files.iter().collect();
    files.sort_unstable();
    combine(files.into_iter().map(|file| (file, digest(read(file).as_deref().ok()))))
}

fn digest(content: Option<&[u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Files come in the order of their paths.
fn combine<'a>(digests: impl Iterator<Item = (&'a PathBuf, u64)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    digests.for_each(|digest| digest.hash(&mut hasher));
    hasher.finish()
}

/// Reads standard input to its end.
pub(super) fn read_standard_input() -> Result<String, String> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 {
        0 => Err("nothing comes through standard input, which can be read once: write the text to it, and for a Sluice that \
                  reloads name a file"
            .to_owned()),
        length if length > LARGEST => Err(format!("it has more than {} MiB", LARGEST >> 20)),
        _ => String::from_utf8(bytes).map_err(|error| error.utf8_error().to_string()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    regular::read(path, LARGEST).map_err(|error| error.to_string())
}
