//! The model, compiled into the settings that the modules own, with the checks that the schema can't make: names that
//! must exist, addresses, URLs, templates, patterns, and what sections say about each other.

mod address;
mod admin;
mod client_tls;
mod exporter_auth;
mod exporters;
mod extensions;
mod headers;
mod listeners;
mod own_receivers;
mod processors;
mod queue;
mod receiver_auth;
mod routes;
mod row_targets;
mod server_tls;
mod statuses;
mod tap;
mod telemetry;
mod template_values;
mod tenant_rows;
mod tenants;
mod url;
mod watches;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::access::AdminTokens;
use crate::dead_letters::DeadLetterSettings;
use crate::export::{ExporterSettings, TelemetrySettings};
use crate::journal::{JournalSettings, SyncPolicy};
use crate::receive::{Acknowledge, ListenerSettings};
use crate::route::{RouteSpec, Unrouted};
use crate::tap::TapSettings;
use crate::tenants::UnknownTenant;
use crate::watches::WatchSettings;

use super::model;
use super::node::Node;
use super::problem::ProblemReport;
use super::substitute::SourceFiles;
use super::{RowCheck, SecretPresence, Surroundings, UsageLimits, re2};

pub(super) use row_targets::RowTargets;
pub(super) use tenant_rows::{CompiledRow, RowExporters, compile_row, compile_rows};
pub(crate) use tenant_rows::{TENANT_IDS, is_tenant_id};
pub(super) use tenants::{WrittenRows, WrittenTable};
pub(super) use url::is_local;

use address::Addresses;
use exporter_auth::ExporterAuths;
use extensions::Extensions;
use own_receivers::OwnReceivers;
use processors::Processors;

/// The parts of [`super::Compiled`] that come from the model.
pub(super) struct CompiledParts {
    pub(super) listeners: Vec<ListenerSettings>,
    pub(super) exporters: Vec<(Arc<str>, ExporterSettings)>,
    pub(super) routes: Vec<RouteSpec>,
    pub(super) row_targets: Option<RowTargets>,
    pub(super) tenants: Option<WrittenTable>,
    pub(super) unrouted: Unrouted,
    pub(super) limits: UsageLimits,
    pub(super) acknowledge: Acknowledge,
    pub(super) acknowledge_timeout: std::time::Duration,
    pub(super) journal: Option<JournalSettings>,
    pub(super) dead_letter: Option<DeadLetterSettings>,
    pub(super) admin: Option<ListenerSettings>,
    pub(super) admin_tokens: AdminTokens,
    pub(super) tenant_metrics: bool,
    pub(super) health: Option<SocketAddr>,
    pub(super) tap: TapSettings,
    pub(super) watches: Vec<WatchSettings>,
    pub(super) alertmanager: Option<String>,
    pub(super) telemetry: Option<TelemetrySettings>,
    pub(super) shutdown_delay: Duration,
    pub(super) shutdown_timeout: Duration,
}

/// What the compilation of every section needs.
struct Context<'a> {
    /// The text, for quoting values as they are written.
    source: &'a str,
    /// What the file is called.
    file: &'a str,
    /// Whether the files of certificates and credentials have to be there.
    secrets: SecretPresence,
    /// Reads these files and notes them, so that the configuration is loaded again when they change.
    files: &'a mut SourceFiles,
    report: &'a mut ProblemReport,
}

impl Context<'_> {
    /// The value as it stands in the file, quoted, if it may be shown.
    fn written(&self, node: &Node) -> String {
        self.report.written(node, self.source)
    }

    /// The value as the subject at the beginning of a sentence.
    fn subject(&self, node: &Node) -> String {
        self.report.subject(node, self.source)
    }

    /// Warns that the files of the `tls` at `node` are not read, if they needn't exist. Returns whether that is so.
    fn leaves_out_files(&mut self, node: &Node) -> bool {
        let leaves_out = self.secrets == SecretPresence::Optional;
        if leaves_out {
            self.report.warn_of_absence(node.span, "the files of `tls` are not read");
        }
        leaves_out
    }

    /// The regular expression `text`, which is written at `node`; `None` if it is none, which has been reported.
    fn regex(&mut self, text: &str, node: &Node) -> Option<Regex> {
        match Regex::new(text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let subject = self.subject(node);
                let problem = self.report.error(node.span, format!("{subject} is not a regular expression"));
                if !node.is_substituted() {
                    problem.help(re2::reason(&error));
                }
                None
            }
        }
    }

    /// The line, from 1, of a byte of the file.
    fn line_of(&self, at: usize) -> usize {
        self.source[..at].matches('\n').count() + 1
    }

    /// Whether the absence of `key` may follow from another mistake: from one in its value, or from a wrong key
    /// beside which it would stand. The absence is not reported then.
    fn is_excused(&self, map: &Node, key: &str) -> bool {
        match map.get(key) {
            Some(value) => self.report.has_error_within(value.span),
            None => map.entries().iter().any(|entry| self.report.has_error_within(entry.key_span)),
        }
    }

    /// Reports a problem of a section as a whole; one without a place if the file has no such section.
    fn section_error(&mut self, root: &Node, key: &str, message: &str) -> &mut ProblemReport {
        match root.get(key) {
            Some(section) => self.report.error(section.span, message),
            None => self.report.error_without_place(message),
        }
    }

    /// Reports a duration of zero where it would mean not to wait at all.
    fn above_zero(&mut self, duration: model::Duration, node: &Node, key: &str) -> Duration {
        if duration.0.is_zero() {
            self.report.error(node.near(&[key]).span, format!("`{key}` must be longer than zero"));
        }
        duration.0
    }
}

/// The exporters that rows of the table may name, and `targets` to check rows against.
pub(super) fn row_exporters<'a>(
    config: &'a model::Config,
    targets: Option<&'a RowTargets>,
    root: &Node,
    report: &ProblemReport,
) -> RowExporters<'a> {
    let names = config.exporters.0.iter().map(|(name, _)| name.as_str()).collect();
    RowExporters { names, incomplete: report.lacks_entries(root.near(&["exporters"])), targets }
}

/// Compiles a configuration whose tree is `root`. What can't be compiled is reported and left out.
pub(super) fn compile(
    config: &model::Config,
    root: &Node,
    (source, file): (&str, &str),
    surroundings: &Surroundings<'_>,
    files: &mut SourceFiles,
    report: &mut ProblemReport,
) -> CompiledParts {
    let mut context = Context { source, file, secrets: surroundings.secrets, files, report };
    let context = &mut context;
    let mut addresses = Addresses::default();

    let mut extensions = Extensions::new(&config.extensions, root);
    let listeners = listeners::compile(&config.receivers, &mut extensions, root, &mut addresses, context);
    let (admin, admin_tokens) = admin::compile(&config.admin, root.near(&["admin"]), &mut addresses, context);
    let admin_tokens = admin_tokens.with_open_taps(config.tap.open);
    let health = config.health.as_ref().and_then(|health| {
        addresses.take(&health.endpoint, root.near(&["health", "endpoint"]), "`health`", context)
    });
    let own_receivers = OwnReceivers(&listeners);
    let exporters = exporters::compile(&config.exporters, &own_receivers, &mut extensions, root, context);
    let telemetry = config.telemetry.as_ref().and_then(|section| {
        let mut auths = ExporterAuths::new(&mut extensions);
        telemetry::compile(section, &own_receivers, &mut auths, root.near(&["telemetry"]), context)
    });
    extensions.warn_of_unused(context);
    receiver_auth::check_table(&listeners, root, context);
    let processors = Processors::compile(&config.processors, root, context);
    let routes =
        routes::compile(&config.routes, &config.exporters, &config.receivers, &processors, root, context);
    template_values::check(&exporters, &routes, &config.routes, root, context);
    // Routes and exporters with errors have been left out of these.
    let checks_rows = surroundings.rows == RowCheck::WithExporters && !context.report.has_errors();
    let row_targets = checks_rows.then(|| RowTargets::new(&exporters, &routes));
    let tenants = config.tenants.as_ref().and_then(|section| {
        let exporters = row_exporters(config, row_targets.as_ref(), root, context.report);
        tenants::compile(section, root.near(&["tenants"]), &exporters, context)
    });
    if tenants.as_ref().is_some_and(|table| table.settings.unknown == UnknownTenant::DeadLetter)
        && config.dead_letter.is_none()
    {
        context
            .report
            .warn(
                root.near(&["tenants", "unknown"]).span,
                "without `dead_letter`, entries of unknown tenants are rejected",
            )
            .help("write `dead_letter: { directory: ./dead-letters }`, or `unknown: reject`");
    }
    let unrouted = unrouted(config, root, context);
    let limits = limits(&config.limits, root, surroundings.memory, context);
    // What is not known is no limit.
    let is_excused = context.is_excused(root.near(&["limits"]), "memory");
    let memory = if is_excused { u64::MAX } else { limits.memory };
    let tap = tap::compile(&config.tap, memory, root.near(&["tap"]), context);
    let watches = watches::compile(&config.watches, root.near(&["watches"]), context);
    let url = config.alertmanager.as_deref();
    let alertmanager = watches::alertmanager(url, !config.watches.is_empty(), root, context);
    let journal = config.journal.as_ref().map(|settings| journal(settings, root, context));
    if let (Some(journal), Some(dead_letter)) = (&journal, &config.dead_letter) {
        keep_apart(&journal.directory, &dead_letter.directory, root, context);
    }

    CompiledParts {
        listeners,
        exporters,
        routes,
        row_targets,
        tenants,
        unrouted,
        limits,
        acknowledge: match config.acknowledge {
            model::AcknowledgeWord::Queued => Acknowledge::Queued,
            model::AcknowledgeWord::Delivered => Acknowledge::Delivered,
        },
        acknowledge_timeout: context.above_zero(config.acknowledge_timeout, root, "acknowledge_timeout"),
        dead_letter: config.dead_letter.as_ref().map(|dead_letter| {
            if dead_letter.max_size.0 == 0 {
                let span = root.near(&["dead_letter", "max_size"]).span;
                context
                    .report
                    .error(span, "`max_size` must be above zero")
                    .help("leave out `dead_letter` to keep nothing");
            }
            DeadLetterSettings {
                directory: dead_letter.directory.clone(),
                max_size: dead_letter.max_size.0,
                synced: journal.as_ref().is_some_and(|journal| journal.sync != SyncPolicy::Never),
            }
        }),
        journal,
        admin,
        admin_tokens,
        tenant_metrics: config.admin.tenant_metrics,
        health,
        tap,
        watches,
        alertmanager,
        telemetry,
        shutdown_delay: config.shutdown_delay.0,
        shutdown_timeout: config.shutdown_timeout.0,
    }
}

/// What becomes of entries that no route takes. Without a dead-letter directory they are rejected rather than dead-lettered.
fn unrouted(config: &model::Config, root: &Node, context: &mut Context<'_>) -> Unrouted {
    let written = match (config.unrouted, &config.dead_letter) {
        (model::UnroutedWord::Reject, _) => None,
        (model::UnroutedWord::Drop, _) => Some((Unrouted::Drop, "drop")),
        (model::UnroutedWord::DeadLetter, Some(_)) => Some((Unrouted::DeadLetter, "dead_letter")),
        (model::UnroutedWord::DeadLetter, None) => {
            context
                .report
                .warn(root.near(&["unrouted"]).span, "without `dead_letter`, what no route takes is rejected")
                .help("write `dead_letter: { directory: ./dead-letters }`, or `unrouted: reject`");
            None
        }
    };
    let Some((unrouted, word)) = written else {
        return Unrouted::Reject {
            whole_as_error: config.unrouted_status == model::UnroutedStatus::BadRequest,
        };
    };
    if let Some(status) = root.get("unrouted_status") {
        context
            .report
            .warn(status.span, format!("`unrouted_status` has no effect with `unrouted: {word}`"))
            .help("leave it out, or write `unrouted: reject`");
    }
    unrouted
}

fn limits(
    limits: &model::LimitsSection,
    root: &Node,
    memory: Option<u64>,
    context: &mut Context<'_>,
) -> UsageLimits {
    /// The least memory: one body and one batch of the default sizes need it.
    const LEAST: u64 = 1 << 20;
    let node = root.near(&["limits", "memory"]);
    let bytes = match (limits.memory, memory) {
        (model::Memory::Bytes(bytes), Some(memory)) if bytes > memory => {
            let subject = context.subject(node);
            context
                .report
                .warn(
                    node.span,
                    format!("{subject} is more memory than there is ({})", model::ByteSize(memory)),
                )
                .help("write a share of it, such as `60%`");
            bytes
        }
        (model::Memory::Bytes(bytes), _) => bytes,
        (model::Memory::Percent(percent), Some(memory)) => memory / 100 * u64::from(percent),
        (model::Memory::Percent(_), None) => {
            context
                .report
                .error(node.span, "this system does not say how much memory there is")
                .help("write a size, such as `512MiB`");
            LEAST
        }
    };
    if bytes < LEAST {
        context.report.error(node.span, "`memory` must be at least 1MiB");
    }
    UsageLimits { memory: bytes, streams: limits.streams }
}

/// Reports directories that are the same or nested: each counts the bytes in its own, and removing one would remove both.
fn keep_apart(journal: &Path, dead_letter: &Path, root: &Node, context: &mut Context<'_>) {
    // `./data` and `data` are the same. Making a path absolute fails for an empty path alone.
    let [journal, dead_letter] =
        [journal, dead_letter].map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let problem = if journal == dead_letter {
        "`dead_letter.directory` is `journal.directory`"
    } else if dead_letter.starts_with(&journal) {
        "`dead_letter.directory` is in `journal.directory`"
    } else if journal.starts_with(&dead_letter) {
        "`journal.directory` is in `dead_letter.directory`"
    } else {
        return;
    };
    context
        .report
        .error(root.near(&["dead_letter", "directory"]).span, problem)
        .help("write directories beside each other, such as `./journal` and `./dead-letters`");
}

/// The least that a journal can work with, in bytes.
const LEAST_JOURNAL: u64 = 16 << 20;

fn journal(journal: &model::JournalSection, root: &Node, context: &mut Context<'_>) -> JournalSettings {
    let size = |key: &str| root.near(&["journal", key]).span;
    if journal.max_size.0 < LEAST_JOURNAL {
        context.report.error(size("max_size"), "`max_size` must be at least 16MiB");
    }
    if journal.segment_size.0 < LEAST_JOURNAL / 16 {
        context.report.error(size("segment_size"), "`segment_size` must be at least 1MiB");
    }
    if journal.segment_size.0 > JournalSettings::LARGEST_SEGMENT {
        context.report.error(size("segment_size"), "`segment_size` must be at most 1GiB");
    }
    JournalSettings {
        directory: journal.directory.clone(),
        max_size: journal.max_size.0,
        sync: match journal.sync {
            model::JournalSync::Always => SyncPolicy::Always,
            model::JournalSync::Every(every) => SyncPolicy::Every(every.0),
            model::JournalSync::Never => SyncPolicy::Never,
        },
        segment_size: journal.segment_size.0,
    }
}
