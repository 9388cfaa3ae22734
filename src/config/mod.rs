//! The YAML, from text to the settings that the engine runs on.
//!
//! The stages: the text becomes a tree that knows its lines (`node`), `${…}` is substituted in its values
//! (`substitute`), every key and value is checked against the schema (`shape`), the valid ones are read as the typed
//! model (`model`), and the model is compiled into the settings that the modules own (`compile`), with the checks that
//! look across sections. No stage stops at the first mistake: [`load`] reports all there are, with their lines.
//!
//! Imports point down this list: `fill_in`, `compile`, `pipelines`, `shape`, `substitute`, `parse`; `problem`, the report;
//! `secrets`, which texts may be shown; `schema`; `collector` and `processors`, the tables; `model`; `presets`; `node`, the tree;
//! `quoting` and `span`.

mod collector;
mod compile;
mod credential;
mod fill_in;
mod import;
mod machine;
mod model;
mod node;
mod outline;
mod parse;
mod pipelines;
mod presets;
mod problem;
mod processor_check;
mod processors;
mod quoting;
mod re2;
mod reference;
mod row_text;
mod rows;
mod schema;
mod secrets;
mod sections;
mod shape;
mod span;
mod substitute;
#[cfg(test)]
mod tests;
mod yaml;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::access::AdminTokens;
use crate::byte_order_mark;
use crate::dead_letters::DeadLetterSettings;
use crate::descriptors::Demand;
use crate::export::{ExporterKind, ExporterSettings, MOST_OPEN_FILES, TelemetrySettings};
use crate::journal::JournalSettings;
use crate::receive::{Acknowledge, ListenerSettings};
use crate::route::{RouteSpec, Unrouted};
use crate::tap::TapSettings;
use crate::tenants::{TableSettings, Tenant};
use crate::watches::WatchSettings;

pub(crate) use compile::{TENANT_IDS, is_tenant_id};
pub use fill_in::FilledPreset;
pub use import::{Imported, import};
pub use outline::{ConfigDifference, ConfigOutline};
pub use presets::preset_reference;
pub use problem::{Problem, Problems, Severity};
pub use reference::reference;
pub use row_text::{RowText, UnwritableRow};
pub(crate) use rows::LARGEST_ROW;
#[cfg(any(test, fuzzing))]
pub(crate) use rows::check_row;
pub use rows::{ReadRow, RowReader};
pub use schema::published as schema;
pub use substitute::SubstitutedValues;
pub use substitute::fingerprint;

use compile::{WrittenRows, WrittenTable};
use pipelines::RefusedProcessors;
use problem::ProblemReport;
use quoting::{nearest, quoted};
use substitute::{NOT_TEXT, SourceFiles, Substitution, read_standard_input};

/// The configuration that is used where there is no file.
pub const EMBEDDED: &str = include_str!("../../config/sluice.yaml");

/// Where the same text stands in a checkout; looked for before the embedded one is used.
const DEFAULT_PATH: &str = "./config/sluice.yaml";

/// Reads a duration as it is written in a configuration, such as `50ms` or `1h30m`; or says what to write.
pub fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<model::Duration>().map(|duration| duration.0)
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file.
    File(PathBuf),
    /// What comes through standard input, which can be read once.
    StandardInput,
    /// [`EMBEDDED`].
    Embedded,
}

impl ConfigSource {
    /// The file that was asked for, else the one that `SLUICE_CONFIG` names, else `./config/sluice.yaml` if it is
    /// there, else the embedded configuration.
    pub fn choose(asked: Option<PathBuf>, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let named = || env("SLUICE_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let default = || Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists());
        asked.or_else(named).or_else(default).map_or(Self::Embedded, Self::named)
    }

    /// The file of this name, where `-` is standard input.
    pub fn named(file: PathBuf) -> Self {
        if file.as_os_str() == "-" { Self::StandardInput } else { Self::File(file) }
    }

    /// Its text, or why it can't be read; blocks.
    fn read(&self, files: &mut SourceFiles) -> Result<Cow<'static, str>, String> {
        match self {
            Self::File(path) => files.read_once(path).map(Cow::Owned),
            Self::StandardInput => read_standard_input().map(Cow::Owned),
            Self::Embedded => Ok(Cow::Borrowed(EMBEDDED)),
        }
    }

    /// The name of the source in problems.
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::StandardInput => "<stdin>".to_owned(),
            Self::Embedded => "config/sluice.yaml (embedded)".to_owned(),
        }
    }
}

impl std::fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(_) | Self::StandardInput => f.write_str(&self.name()),
            Self::Embedded => f.write_str("the embedded configuration"),
        }
    }
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The listeners of every `otlp` receiver; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// The exporters by name, in the order of the file.
    pub exporters: Vec<(Arc<str>, ExporterSettings)>,
    /// The routes, in the order in which they are asked; at least one.
    pub routes: Vec<RouteSpec>,
    /// The table of tenants.
    pub tenants: Option<TenantTable>,
    /// What happens to entries that no route takes.
    pub unrouted: Unrouted,
    /// The limits of memory and streams.
    pub limits: UsageLimits,
    /// When senders get their answers.
    pub acknowledge: Acknowledge,
    /// How long senders wait at most that wait for their upstreams.
    pub acknowledge_timeout: Duration,
    /// Where queues are kept on disk.
    pub journal: Option<JournalSettings>,
    /// Where dead letters go.
    pub dead_letter: Option<DeadLetterSettings>,
    /// The listener for metrics, health and API; `None` if turned off.
    pub admin: Option<ListenerSettings>,
    /// The tokens of that listener.
    pub admin_tokens: AdminTokens,
    /// Whether that listener shows metrics of each tenant.
    pub tenant_metrics: bool,
    /// The listener for health and metrics alone.
    pub health: Option<SocketAddr>,
    /// Which attributes of records taps show, and how many records are kept.
    pub tap: TapSettings,
    /// The watches, in the order of the configuration.
    pub watches: Vec<WatchSettings>,
    /// The URL of the Alertmanager that is told which watches fire.
    pub alertmanager: Option<String>,
    /// The upstream of Sluice's own telemetry.
    pub telemetry: Option<TelemetrySettings>,
    /// How long to go on accepting once shutdown has begun.
    pub shutdown_delay: Duration,
    /// How long to wait until everything is delivered.
    pub shutdown_timeout: Duration,
    /// What works, but not as its writer may think.
    pub warnings: Vec<Problem>,
    /// The YAML as written, before substitution, secrets replaced by `[redacted]`.
    pub redacted: serde_json::Value,
    /// The text of the file, secrets replaced and comments left out.
    pub text: String,
    /// The values by their keys, to be compared with another configuration.
    pub outline: ConfigOutline,
    /// What variables and files have given.
    pub substituted: SubstitutedValues,
    /// What presets have filled in, in the order of the exporters.
    pub presets: Vec<FilledPreset>,
    /// Every file that was read: the configuration, and those of `${file:}`.
    pub files: Vec<PathBuf>,
    /// [`fingerprint`] of `files`.
    pub hash: u64,
}

impl Compiled {
    /// The most file descriptors that this configuration may use, by use.
    pub(crate) fn descriptors(&self) -> Demand {
        let mut wanted = Demand::default();
        for listener in &self.listeners {
            wanted.receivers = wanted.receivers.saturating_add(listener.max_connections);
        }
        for (_, exporter) in &self.exporters {
            match exporter.kind {
                ExporterKind::OtlpHttp(_) | ExporterKind::OtlpGrpc(_) => {
                    wanted.exporters = wanted.exporters.saturating_add(exporter.max_in_flight);
                }
                ExporterKind::File(_) => wanted.files = wanted.files.saturating_add(MOST_OPEN_FILES),
                ExporterKind::Debug(_) | ExporterKind::Nop => {}
            }
        }
        wanted
    }
}

/// The table of tenants, as the configuration names it.
#[derive(Clone, Debug)]
pub struct TenantTable {
    /// The settings of the table as a whole.
    pub settings: TableSettings,
    /// The place of its rows.
    pub rows: TenantRows,
}

/// The place of the table's rows.
#[derive(Clone, Debug)]
pub enum TenantRows {
    /// The files of a directory, which a [`RowReader`] reads later.
    Directory(PathBuf),
    /// Rows in the configuration, or in a file of their own that has been read with it.
    Listed(Vec<Arc<Tenant>>),
}

/// The limits of memory and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageLimits {
    /// Bytes of data in flight and queued.
    pub memory: u64,
    /// Streams alive at a time.
    pub streams: usize,
}

/// Whether the variables and files that a configuration names have to exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretPresence {
    /// They have to exist: the configuration is to be run.
    #[default]
    Needed,
    /// A placeholder replaces each variable and file that does not exist, with a warning, and files of certificates are not read. The
    /// compiled configuration can be inspected, but not run.
    Optional,
}

/// What rows of the table of tenants are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowCheck {
    /// The rules for rows themselves. That is enough to use them, and quick even for a hundred thousand.
    Alone,
    /// Also what exporters read of them: an exporter that could not send a tenant's data causes a warning.
    WithExporters,
}

/// How a Collector's file is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Translation {
    /// With the values of its variables, as a Collector reads it.
    WithValues,
    /// As it is written, so that problems are about the output of an import.
    AsWritten,
}

/// What reading a configuration depends on, beside its files.
struct Surroundings<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    secrets: SecretPresence,
    rows: RowCheck,
    translation: Translation,
    /// The machine's bytes of memory, if known.
    memory: Option<u64>,
}

/// Reads, checks and compiles a configuration. `env` looks up an environment variable.
///
/// Host names of listeners are resolved, and `${file:}` is read, so this may block for as long as the resolver and
/// the file system take.
///
/// # Errors
///
/// Every problem there is, if one of them is an error.
pub fn load(source: &ConfigSource, env: &dyn Fn(&str) -> Option<String>) -> Result<Compiled, Problems> {
    load_with(source, env, SecretPresence::Needed, RowCheck::Alone)
}

/// As [`load`], with a choice whether variables and files have to exist, and how rows are checked.
///
/// # Errors
///
/// Every problem there is, if one of them is an error.
pub fn load_with(
    source: &ConfigSource,
    env: &dyn Fn(&str) -> Option<String>,
    secrets: SecretPresence,
    rows: RowCheck,
) -> Result<Compiled, Problems> {
    let mut files = SourceFiles::default();
    let text = source.read(&mut files);
    load_text(source, text, files, env, (secrets, rows))
}

/// As [`load`], with this text in place of what `source` has: it is read as the content of the same file would be.
///
/// # Errors
///
/// Every problem there is, if one of them is an error.
pub fn load_candidate(
    source: &ConfigSource,
    text: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Compiled, Problems> {
    let text = std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| NOT_TEXT.to_owned());
    load_text(source, text, SourceFiles::default(), env, (SecretPresence::Needed, RowCheck::Alone))
}

/// Reads the text of `source`, or reports why there is none.
fn load_text(
    source: &ConfigSource,
    text: Result<Cow<'_, str>, String>,
    files: SourceFiles,
    env: &dyn Fn(&str) -> Option<String>,
    (secrets, rows): (SecretPresence, RowCheck),
) -> Result<Compiled, Problems> {
    let surroundings =
        Surroundings { env, secrets, rows, translation: Translation::WithValues, memory: machine::memory() };
    let name = source.name();
    match text {
        Ok(text) => read(&text, &name, files, &surroundings),
        Err(reason) => {
            let mut report = ProblemReport::default();
            let problem = report.error_without_place(format!("can't read it: {reason}"));
            if let ConfigSource::File(path) = source
                && let Some(help) = file_to_name(path)
            {
                problem.help(help);
            }
            Err(problems(report, (&name, ""), files))
        }
    }
}

/// The help for the name of a file that does not exist or is no file.
fn file_to_name(path: &Path) -> Option<String> {
    /// The most files of a directory that are compared with the name.
    const MOST_FILES: usize = 1000;
    if path.is_dir() {
        return Some("name a file in it".to_owned());
    }
    if path.exists() {
        return None;
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = std::fs::read_dir(directory).into_iter().flatten().take(MOST_FILES).flatten();
    let names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
        let near =
            if path.parent() == Some(Path::new("")) { PathBuf::from(near) } else { directory.join(near) };
        return Some(format!("did you mean {}?", quoted(&near.display().to_string())));
    }
    let working = std::env::current_dir().ok().filter(|_| path.is_relative())?;
    Some(format!(
        "a relative path begins at the working directory, {}",
        quoted(&working.display().to_string())
    ))
}

/// The problems of a file of this name and text.
fn problems(report: ProblemReport, (name, text): (&str, &str), files: SourceFiles) -> Problems {
    let (files, hash) = files.finish();
    let masked = report.masked(text);
    Problems { list: report.finish(name, text), files, hash, text: masked }
}

fn read(
    text: &str,
    name: &str,
    mut files: SourceFiles,
    surroundings: &Surroundings<'_>,
) -> Result<Compiled, Problems> {
    let text = byte_order_mark::strip(text);
    let mut report = ProblemReport::default();
    let mut root = match parse::parse(text, &mut report) {
        Ok(root) => root,
        Err(fragment) => {
            report.show_fragment(&fragment, &secrets::look(&fragment.root));
            return Err(problems(report, (name, text), files));
        }
    };

    let sight = secrets::look(&root);
    report.show(&sight);
    if let Some(at) = rows::key_of_row(&root) {
        report.error(at, "this is no configuration: it looks like a row of the table of tenants").help(
            "rows are checked by `sluice check --tenants FILE`, where FILE is the configuration whose `tenants` names them",
        );
        return Err(problems(report, (name, text), files));
    }
    if !shape::has_sections(&root, text, &mut report) {
        return Err(problems(report, (name, text), files));
    }
    sections::put_right(&mut root, &mut report);
    let mut redacted = sight.redacted;
    let is_collectors = pipelines::is_whole_file(&root);
    if is_collectors {
        // The translation tells which of its values may be shown.
        let own = pipelines::translate(&root, RefusedProcessors::LeftOut, &mut ProblemReport::default());
        let sight = secrets::look(&own);
        report.show(&sight);
        redacted = sight.redacted;
    }
    let as_written = is_collectors && surroundings.translation == Translation::AsWritten;
    let mut own = as_written.then(|| pipelines::translate(&root, RefusedProcessors::LeftOut, &mut report));
    if let Some(own) = &mut own {
        // Problems with variables are reported for the file itself.
        Substitution::new(surroundings.env, surroundings.secrets, &mut files)
            .apply(own, &mut ProblemReport::default());
    }
    Substitution::new(surroundings.env, surroundings.secrets, &mut files).apply(&mut root, &mut report);
    if is_collectors && !as_written {
        own = Some(pipelines::translate(&root, RefusedProcessors::LeftOut, &mut report));
    }
    processor_check::check(&root, own.as_ref().unwrap_or(&root), &mut report);
    let mut root = own.unwrap_or(root);
    let outline = ConfigOutline::of(&root, &report, text);
    let substituted = SubstitutedValues::of(&root);
    let presets = fill_in::fill_in(&mut root, &mut report);
    let checked = shape::check(&root, text, &mut report);
    // The problems of the file with the table of tenants.
    let mut of_rows = Vec::new();
    let parts = match serde_json::from_value::<model::Config>(checked) {
        Ok(config) => {
            let parts = compile::compile(&config, &root, (text, name), surroundings, &mut files, &mut report);
            let exporters = compile::row_exporters(&config, parts.row_targets.as_ref(), &root, &report);
            let mut table = |WrittenTable { settings, rows }: WrittenTable| {
                let rows = match rows {
                    WrittenRows::Directory(path) => TenantRows::Directory(path),
                    WrittenRows::Listed(tenants) => TenantRows::Listed(tenants),
                    WrittenRows::File(path)
                        if surroundings.secrets == SecretPresence::Optional && !path.exists() =>
                    {
                        let file = quoting::path(&path);
                        let at = root.near(&["tenants", "file"]).span;
                        report.warn_of_absence(
                            at,
                            format!("the file {file} is not there: its rows are not read"),
                        );
                        TenantRows::Listed(Vec::new())
                    }
                    WrittenRows::File(path) => {
                        let (tenants, problems) =
                            rows::read_list(&path, &mut files, surroundings, &exporters);
                        of_rows = problems;
                        TenantRows::Listed(tenants)
                    }
                };
                TenantTable { settings, rows }
            };
            let tenants = parts.tenants.clone().map(&mut table);
            Some((parts, tenants))
        }
        Err(_) if report.has_errors() => None,
        Err(error) => {
            // The schema has accepted a value that the model can't hold. The error's own text may quote a secret.
            report.error_without_place(format!("can't be read as a configuration ({:?})", error.classify()));
            None
        }
    };

    let failed = report.has_errors() || of_rows.iter().any(|problem| problem.severity == Severity::Error);
    let masked = report.masked(text);
    let mut list = report.finish(name, text);
    list.extend(of_rows);
    let (files, hash) = files.finish();
    let Some((parts, tenants)) = parts.filter(|_| !failed) else {
        return Err(Problems { list, files, hash, text: masked });
    };
    Ok(Compiled {
        listeners: parts.listeners,
        exporters: parts.exporters,
        routes: parts.routes,
        tenants,
        unrouted: parts.unrouted,
        limits: parts.limits,
        acknowledge: parts.acknowledge,
        acknowledge_timeout: parts.acknowledge_timeout,
        journal: parts.journal,
        dead_letter: parts.dead_letter,
        admin: parts.admin,
        admin_tokens: parts.admin_tokens,
        tenant_metrics: parts.tenant_metrics,
        health: parts.health,
        tap: parts.tap,
        watches: parts.watches,
        alertmanager: parts.alertmanager,
        telemetry: parts.telemetry,
        shutdown_delay: parts.shutdown_delay,
        shutdown_timeout: parts.shutdown_timeout,
        warnings: list,
        redacted,
        text: masked,
        outline,
        substituted,
        presets,
        files,
        hash,
    })
}
