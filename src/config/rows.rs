//! Rows of the table of tenants in files of their own: each file is read as a configuration is, with the same substitutions, checks and
//! problems.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::compile::{self, RowExporters, RowTargets};
use super::model::TenantRow;
use super::node::Node;
use super::parse;
use super::problem::{Problem, ProblemReport, Severity};
use super::schema::Shape;
use super::span::Span;
use super::substitute::{SourceFiles, Substitution};
use super::{Compiled, RowCheck, SecretPresence, Surroundings, secrets, shape};
use crate::byte_order_mark;
use crate::regular::{self, FileStamp};
use crate::tenants::{BrokenRow, RowContent, Tenant};
#[cfg(any(test, fuzzing))]
use crate::tenants::{Table, TableRow, TableSettings};

/// The most bytes of a file with one row.
pub(crate) const LARGEST_ROW: usize = 1 << 20;

/// The most problems of a broken row that the table keeps.
const TOLD: usize = 3;

/// Reads the rows of a directory.
#[derive(Clone, Debug)]
pub struct RowReader {
    env: fn(&str) -> Option<String>,
    secrets: SecretPresence,
    exporters: Vec<Arc<str>>,
    /// What exporters read of each row, if rows are checked against that.
    targets: Option<Arc<RowTargets>>,
}

/// The outcome of reading a row.
#[derive(Debug)]
pub struct ReadRow {
    /// The row, or that it is gone or broken.
    pub content: RowContent,
    /// The errors and warnings about the row.
    pub problems: Vec<Problem>,
    /// The files that it names by `${file:}`, and what each was before it was read.
    pub(crate) files: Vec<(PathBuf, FileStamp)>,
}

impl RowReader {
    /// A reader of rows that may name the exporters of a configuration. `env` looks up an environment variable.
    pub fn new(
        compiled: &Compiled,
        env: fn(&str) -> Option<String>,
        secrets: SecretPresence,
        rows: RowCheck,
    ) -> Self {
        let exporters = compiled.exporters.iter().map(|(name, _)| name.clone()).collect();
        let targets = || Arc::new(RowTargets::new(&compiled.exporters, &compiled.routes));
        Self { env, secrets, exporters, targets: (rows == RowCheck::WithExporters).then(targets) }
    }

    /// Whether rows may name the same exporters as with another reader.
    pub fn has_exporters_of(&self, other: &Self) -> bool {
        self.exporters == other.exporters
    }

    /// Reads the row in a file, which stands at `place` in its directory. Blocks as reading files does.
    pub fn read(&self, path: &Path, place: &Arc<str>) -> ReadRow {
        match regular::read(path, LARGEST_ROW as u64) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => self.read_text(text, path, place),
                Err(_) => Self::unreadable(path, place, "it is not UTF-8 text"),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // What it leads to may be mounted or checked out later than the link.
                if path.is_symlink() {
                    return Self::unreadable(path, place, "it is a link that leads nowhere");
                }
                ReadRow { content: RowContent::Gone, problems: Vec::new(), files: Vec::new() }
            }
            Err(error) => Self::unreadable(path, place, &error.to_string()),
        }
    }

    /// Reads a row from its text.
    pub(crate) fn read_text(&self, text: &str, path: &Path, place: &Arc<str>) -> ReadRow {
        let text = byte_order_mark::strip(text);
        let mut files = SourceFiles::default();
        // What of a text may be shown is only looked for where there is something to say.
        let mut report = ProblemReport::default();
        let mut row = self.compile(text, place, &mut files, &mut report, false);
        let mut problems = Vec::new();
        if !report.is_empty() {
            report = ProblemReport::default();
            row = self.compile(text, place, &mut files, &mut report, true);
            problems = report.finish(&path.display().to_string(), text);
        }
        let is_broken = problems.iter().any(|problem| problem.severity == Severity::Error);
        let (tenant, has_all_senders) = row.map_or((None, false), |row| (row.tenant, row.has_all_senders));
        let content = match tenant {
            Some(tenant) if !is_broken => RowContent::Row(Arc::new(tenant)),
            tenant => RowContent::Broken(broken(place, &problems, tenant.as_ref(), has_all_senders)),
        };
        ReadRow { content, problems, files: files.stamps() }
    }

    fn compile(
        &self,
        text: &str,
        place: &Arc<str>,
        files: &mut SourceFiles,
        report: &mut ProblemReport,
        shows: bool,
    ) -> Option<compile::CompiledRow> {
        let substitution = Substitution::new(&self.env, self.secrets, files);
        let (root, row) =
            typed::<TenantRow>(text, Shape::tenant_row(), "a row of the table", substitution, report, shows)?;
        let names = self.exporters.iter().map(|name| &**name).collect();
        let exporters = RowExporters { names, incomplete: false, targets: self.targets.as_deref() };
        Some(compile::compile_row(&row, &root, place, &exporters, (text, self.secrets), files, report))
    }

    fn unreadable(path: &Path, place: &Arc<str>, reason: &str) -> ReadRow {
        let problems = vec![Problem::of_file(path, format!("can't read it: {reason}"))];
        let content = RowContent::Broken(broken(place, &problems, None, false));
        ReadRow { content, problems, files: Vec::new() }
    }
}

/// The record that the table keeps of a row that can't be used.
fn broken(place: &Arc<str>, problems: &[Problem], tenant: Option<&Tenant>, complete: bool) -> BrokenRow {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let mut told: Vec<String> = errors.clone().take(TOLD).map(|problem| format!("{problem:#}")).collect();
    if let Some(more) = errors.count().checked_sub(TOLD).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    let senders = tenant.map_or(&[][..], |tenant| &tenant.senders);
    BrokenRow {
        id: place.rsplit_once('.').map(|(id, _)| id.into()),
        problem: told.join("; "),
        credentials: senders.iter().map(|sender| sender.credential.clone()).collect(),
        complete: complete && tenant.is_some(),
    }
}

/// Reads a file with a list of rows, which counts as a whole: if there is an error among the problems, no row may be used.
pub(super) fn read_list(
    path: &Path,
    files: &mut SourceFiles,
    surroundings: &Surroundings<'_>,
    exporters: &RowExporters<'_>,
) -> (Vec<Arc<Tenant>>, Vec<Problem>) {
    let text = match files.read(path) {
        Ok(text) => text,
        Err(reason) => return (Vec::new(), vec![Problem::of_file(path, format!("can't read it: {reason}"))]),
    };
    let text = byte_order_mark::strip(&text);
    let name = path.display().to_string();
    let mut report = ProblemReport::default();
    let substitution = Substitution::new(surroundings.env, surroundings.secrets, files);
    let shape = Shape::tenant_rows();
    let rows = typed::<Vec<TenantRow>>(text, shape, "a file of rows", substitution, &mut report, true);
    let tenants = rows.map_or_else(Vec::new, |(root, rows)| {
        let source = (text, surroundings.secrets);
        compile::compile_rows(&rows, &root, &name, exporters, source, files, &mut report)
    });
    (tenants, report.finish(&name, text))
}

/// The key by which a file that is read as a configuration looks like a row of the table of tenants, or like a list of them.
pub(super) fn key_of_row(root: &Node) -> Option<Span> {
    let row = root.item(0).unwrap_or(root);
    let is_configuration = ["receivers", "routes", "service"].iter().any(|key| row.get(key).is_some());
    let of_rows = ["id", "senders", "values"].iter().find_map(|key| row.entry(key));
    of_rows.filter(|_| !is_configuration).map(|entry| entry.key_span)
}

/// A text as the typed model, and as the tree that knows its lines.
fn typed<T: DeserializeOwned>(
    text: &str,
    shape: Shape<'_>,
    what: &'static str,
    mut substitution: Substitution<'_>,
    report: &mut ProblemReport,
    shows: bool,
) -> Option<(Node, T)> {
    let mut root = match parse::parse(text, report) {
        Ok(root) => root,
        Err(fragment) => {
            if shows {
                report.show_fragment(&fragment, &secrets::look_as(shape, &fragment.root));
            }
            return None;
        }
    };
    if shows {
        let sight = secrets::look_as(shape, &root);
        report.show(&sight);
    }
    substitution.apply(&mut root, report);
    let checked = shape::check_as(shape, what, &root, text, report)?;
    match serde_json::from_value(checked) {
        Ok(typed) => Some((root, typed)),
        Err(_) if report.has_errors() => None,
        Err(error) => {
            // The schema let something pass that the model can't hold. The error's own text may quote a secret.
            report.error_without_place(format!("can't be read as {what} ({:?})", error.classify()));
            None
        }
    }
}

/// Checks what is promised of any text of a row: reading it ends, it shows no secret, and what is taken can be used.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_row(text: &str) {
    // Right as a token, and not as a name, which is no secret.
    const SECRET: &str = "hunter2~of~the~environment";
    if text.contains("file:") {
        // What is in files is no business of arbitrary text.
        return;
    }
    let env = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let reader =
        RowReader { env, secrets: SecretPresence::Needed, exporters: vec!["debug".into()], targets: None };
    let ReadRow { content, problems, .. } =
        reader.read_text(text, Path::new("acme.yaml"), &"acme.yaml".into());
    let mut shown: String = problems.iter().map(ToString::to_string).collect();
    if let RowContent::Row(tenant) = &content {
        shown.extend([format!("{:?}", tenant.values)]);
    }
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(
        !shown.contains("can't be read as"),
        "the schema lets something pass that the model can't hold: {shown}"
    );
    let has_error = problems.iter().any(|problem| problem.severity == Severity::Error);
    match content {
        RowContent::Row(tenant) => {
            assert!(&*tenant.id == "acme" && !has_error);
            let table = Table::of(TableSettings::default(), std::slice::from_ref(&tenant), &Table::default());
            assert!(
                matches!(table.tenant("acme"), Some(TableRow::Ready(same)) if Arc::ptr_eq(same, &tenant))
            );
        }
        RowContent::Broken(broken) => assert!(has_error && !broken.problem.is_empty()),
        RowContent::Gone => panic!("a text is there"),
    }
}
