//! `sluice explain`: what would become of a captured payload, entry by entry, and why.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::{HeaderName, HeaderValue};

use super::config_file::{ConfigArgs, SecretsArgs, lacks_secrets_alone};
use crate::config::{self, ConfigSource, FilledPreset, RowCheck, SecretPresence};
use crate::explain::{
    self, AskedRoute, CapturedPayload, Edits, EntrySize, ExplainedEntry, ExplainedPart, Explainer,
    PayloadError, RouteAnswer, TakenEnd, UnroutedPart,
};
use crate::export::{ExporterSettings, Transport, WithRow};
use crate::net::Network;
use crate::otlp::Signal;
use crate::route::{EntryRoutes, RequestHeaders, RouteTable};
use crate::run;
use crate::stream::StreamName;

/// Print for every entry of a captured payload which route, stream, exporter, URL and headers it gets, and why
/// earlier routes did not match
#[derive(Args, Debug)]
// Made by clap, it would have a file that was named as one that is required.
#[command(
    override_usage = "sluice explain [OPTIONS] --payload <PAYLOAD> [FILE]",
    after_help = "Examples:
  sluice explain sluice.yaml --payload captured.pb --signal logs
  sluice explain sluice.yaml --payload hello.json --tenant acme
  sluice explain --without-secrets sluice.yaml --payload dead-letters/20261201T000000.000Z-00000000.logs.pb"
)]
pub struct ExplainArgs {
    /// The configuration, which `--config` may name as well
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    secrets: SecretsArgs,
    /// An `Export<Signal>ServiceRequest` in protobuf or JSON, such as a `.pb` file of the dead-letter directory; `-` for
    /// standard input
    #[arg(long)]
    payload: PathBuf,
    /// traces, metrics or logs; without it, the payload's file name or its content decides
    #[arg(long, value_parser = |name: &str| Signal::from_name(name).ok_or("write traces, metrics or logs"))]
    signal: Option<Signal>,
    /// Take every entry for this tenant's, as if one of its senders had sent it; without it, the attribute of `tenants.attribute`
    /// decides
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Take the payload to have come by this receiver, such as `otlp/outside`; without it, routes for any receiver may match
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// Take the request to have had this header, such as `X-Tenant: acme`; may be given several times. Headers that are not given
    /// are absent
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ExplainArgs {
    /// What is named, by either way.
    pub(super) fn configurations(&self) -> [Option<&Path>; 2] {
        [self.file.as_deref(), self.config.file()]
    }
}

/// Explains to `out`. Exit code 1 if the configuration or the payload can't be read.
pub fn explain(
    args: &ExplainArgs,
    source: &ConfigSource,
    env: fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let secrets = args.secrets.secrets();
    if *source == ConfigSource::StandardInput && args.payload.as_os_str() == "-" {
        writeln!(
            out,
            "standard input can't be both the configuration and the payload: write one of them to a file"
        )?;
        return Ok(ExitCode::FAILURE);
    }
    let compiled = match config::load_with(source, &env, secrets, RowCheck::Alone) {
        Ok(compiled) => compiled,
        Err(problems) => {
            writeln!(out, "{problems}")?;
            if lacks_secrets_alone(source, &env) {
                writeln!(
                    out,
                    "nothing is sent here: `sluice explain --without-secrets` goes without what is not there"
                )?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(receiver) = &args.receiver {
        let known: Vec<&str> = compiled.listeners.iter().map(|settings| &*settings.name).collect();
        if let Err(unknown) = explain::check_receiver(receiver, &known) {
            writeln!(out, "{unknown}")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut payload = Vec::new();
    if args.payload.as_os_str() == "-" {
        io::stdin().read_to_end(&mut payload)?;
    } else {
        payload = std::fs::read(&args.payload).map_err(|error| {
            io::Error::new(error.kind(), format!("can't read `{}`: {error}", args.payload.display()))
        })?;
    }
    let mut payload = match CapturedPayload::new(&payload, args.signal.or_else(|| named(&args.payload))) {
        Ok(payload) => payload,
        Err(PayloadError::UnknownSignal) => {
            writeln!(out, "{} with `--signal`", PayloadError::UnknownSignal)?;
            return Ok(ExitCode::FAILURE);
        }
        Err(malformed) => {
            writeln!(out, "{malformed}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    if secrets == SecretPresence::Optional {
        let what = "placeholders stand for what is not there, and certificates are not read";
        writeln!(out, "without secrets: {what}; `sluice check --without-secrets` says where")?;
    }
    let table = run::table_of(&compiled, env, secrets)?;
    let routes = Arc::new(RouteTable::new(compiled.routes, compiled.unrouted));
    let transports = transports(compiled.exporters)?;
    let request = RequestHeaders::of(routes.headers(), &args.headers.iter().cloned().collect());
    let exporters = transports.iter().map(|(name, _)| name.clone()).collect();
    let routes = EntryRoutes { routes, exporters, table: Arc::new(table), request };
    let rows = routes.table.clone();
    let targets =
        |exporter: usize, stream: &StreamName| transports[exporter].1.target(&WithRow::of(&rows, stream));
    let (signal, field) = (payload.signal(), payload.entry_field());
    let mut explainer = Explainer::new(signal, routes, &targets);
    (explainer.tenant, explainer.receiver) = (args.tenant.clone(), args.receiver.clone());
    let split = payload.split();
    for entry in &split.entries {
        show(&explainer.entry(entry), field, out)?;
    }
    for cut in &split.cuts {
        let (path, offset, reason) = (&cut.path, cut.offset, &cut.reason);
        writeln!(out, "cut out: {path} at byte {offset}: {reason} ({} records)", cut.records)?;
    }
    for sentence in split.ignored.sentences() {
        writeln!(out, "ignored: {sentence}")?;
    }
    if split.entries.is_empty() && split.cuts.is_empty() {
        writeln!(out, "the request is empty: it would be answered 200 and go nowhere")?;
    }
    show_presets(&compiled.presets, &explainer.reached(), out)?;
    Ok(ExitCode::SUCCESS)
}

/// The transport of each exporter.
fn transports(exporters: Vec<(Arc<str>, ExporterSettings)>) -> io::Result<Vec<(Arc<str>, Transport)>> {
    let transport = |(name, settings): (Arc<str>, ExporterSettings)| match Transport::new(
        &name,
        &settings,
        &Network::Machine,
        None,
    ) {
        Ok(transport) => Ok((name, transport)),
        Err(error) => Err(io::Error::other(format!("exporter `{name}`: {error}"))),
    };
    exporters.into_iter().map(transport).collect()
}

/// A header as `NAME: VALUE`. The value may be a credential and is not repeated.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write `NAME: VALUE`")?;
    let name = name.trim().parse().map_err(|_| "what stands before the colon is not a header's name")?;
    let value = value.trim().parse().map_err(|_| "what stands behind the colon can't be sent in a header")?;
    Ok((name, value))
}

/// A dead letter's file name says its signal.
fn named(path: &Path) -> Option<Signal> {
    let name = path.file_name()?.to_str()?;
    Signal::ALL.into_iter().find(|signal| name.contains(signal.name()))
}

/// How large an entry is.
fn size(size: EntrySize) -> String {
    format!("records: {}, bytes: {}", size.records, size.bytes)
}

/// Prints what would become of an entry; `field` is the name of the entries in the payload.
fn show(entry: &ExplainedEntry, field: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{field}[{}]: {}", entry.index, size(entry.size))?;
    if let Some(tenant) = &entry.tenant {
        writeln!(out, "  tenant `{tenant}`")?;
    }
    if let Some(why) = &entry.not_taken {
        writeln!(out, "  not taken: {why}")?;
    }
    for (nth, part) in entry.parts.iter().enumerate() {
        if entry.parts.len() > 1 {
            let (nth, all) = (nth + 1, entry.parts.len());
            writeln!(out, "  part {nth} of {all}, by its records: {}", size(part.size))?;
        }
        show_part(part, out)?;
    }
    Ok(())
}

fn show_part(part: &ExplainedPart, out: &mut dyn Write) -> io::Result<()> {
    for AskedRoute { route, answer } in &part.routes {
        match answer {
            RouteAnswer::Missed(why) => writeln!(out, "  route `{route}` does not take it: {why}")?,
            RouteAnswer::Taken { exporter, key, overridden, end } => {
                let end = told(end);
                writeln!(out, "  route `{route}`: stream `{key}` of exporter `{exporter}`{end}")?;
                if let Some(overridden) = overridden {
                    writeln!(out, "    {overridden}")?;
                }
            }
        }
    }
    for hint in &part.hints {
        writeln!(out, "  {hint}")?;
    }
    match &part.unrouted {
        None => Ok(()),
        Some(UnroutedPart::Dropped) => writeln!(out, "  dropped: no route takes it"),
        Some(UnroutedPart::Rejected(why)) => writeln!(out, "  rejected: {why}"),
        Some(UnroutedPart::DeadLetter(why)) => writeln!(out, "  becomes a dead letter: {why}"),
    }
}

/// Prints what becomes of a part that a route gives to a stream, as the next lines.
fn told(end: &TakenEnd) -> String {
    let edited = |edits: &Option<Edits>| {
        edits.as_ref().map_or_else(String::new, |Edits { names, change }| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let nothing = if *change { "" } else { ", which change nothing" };
            format!("\n    edited by {}{nothing}", names.join(", "))
        })
    };
    match end {
        TakenEnd::Already(route) => {
            format!("\n    already in this stream by route `{route}`, whose copy counts")
        }
        TakenEnd::Unedited(why) => format!("\n    rejected: the route can't edit it: {why}"),
        TakenEnd::Sent { edits, target } => {
            format!("{}\n    {}", edited(edits), format!("{target:#}").replace('\n', "\n    "))
        }
        TakenEnd::Held { edits, why } => {
            format!("{}\n    held until the row of its tenant is put right: {why}", edited(edits))
        }
        TakenEnd::Rejected { edits, why } => format!("{}\n    rejected: {why}", edited(edits)),
    }
}

/// Prints what presets have filled in at exporters.
fn show_presets(presets: &[FilledPreset], exporters: &[Arc<str>], out: &mut dyn Write) -> io::Result<()> {
    for name in exporters {
        if let Some(preset) = presets.iter().find(|preset| *preset.exporter == **name) {
            let filled = preset.to_string().replace('\n', "\n  ");
            writeln!(out, "exporter `{name}`\n  {filled}")?;
        }
    }
    Ok(())
}
