//! `sluice explain`: what would become of a captured payload, entry by entry, and why.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::{HeaderName, HeaderValue};

use super::config_file::{ConfigArgs, SecretsArgs};
use super::entry_routes::EntryRoutes;
use crate::config::{self, Compiled, FilledPreset, RowCheck, Secrets, Source};
use crate::export::{Transport, WithRow};
use crate::net::Network;
use crate::otlp::{self, Entry, Malformed, Signal, Split, Untaken};
use crate::receive::{Owner, SenderIdentity};
use crate::route::{
    self, EditError, Hit, Overridden, RequestHeaders, RouteTable, RoutingKey, TakenEntry, Unrouted,
};
use crate::run;
use crate::stream::StreamName;
use crate::tenants::{Table, Tenant};

/// Print for every entry of a captured payload which route, stream, exporter, URL and headers it gets, and why
/// earlier routes did not match
#[derive(Args, Debug)]
// Made by clap, it would have a file that was named as one that is required.
#[command(override_usage = "sluice explain [OPTIONS] --payload <PAYLOAD> [FILE]")]
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
    source: &Source,
    env: fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let secrets = args.secrets.secrets();
    let compiled = match config::load_with(source, &env, secrets, RowCheck::Alone) {
        Ok(compiled) => compiled,
        Err(problems) => {
            writeln!(out, "{problems}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut payload = Vec::new();
    if args.payload.as_os_str() == "-" {
        io::stdin().read_to_end(&mut payload)?;
    } else {
        payload = std::fs::read(&args.payload).map_err(|error| {
            io::Error::new(error.kind(), format!("can't read `{}`: {error}", args.payload.display()))
        })?;
    }
    let signal = args.signal.or_else(|| named(&args.payload)).or_else(|| guessed(&payload));
    // Whatever is wrong with the framing is so for every signal.
    let mut request = Vec::new();
    let split = match split(signal.unwrap_or(Signal::Logs), &payload, &mut request) {
        Ok(split) => split,
        Err(malformed) => {
            let kind = signal.map_or_else(|| "an OTLP".to_owned(), |signal| format!("a {signal}"));
            writeln!(out, "not {kind} request, it would be answered 400: {malformed}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let Some(signal) = signal else {
        writeln!(out, "the payload fits no signal, or more than one: say which with `--signal`")?;
        return Ok(ExitCode::FAILURE);
    };
    let field = if is_json(&payload) { signal.json_entry_field() } else { signal.entry_field() };
    if secrets == Secrets::Optional {
        let what = "placeholders stand for what is not there, and certificates are not read";
        writeln!(out, "without secrets: {what}; `sluice check --without-secrets` says where")?;
    }
    let table = run::table_of(&compiled, env, secrets)?;
    let explanation = Explanation::new(compiled, table, args, signal, field)?;
    for entry in &split.entries {
        explanation.entry(entry, out)?;
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
    explanation.presets(out)?;
    Ok(ExitCode::SUCCESS)
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

/// Whether a payload is JSON. A brace would be the beginning of a group, which no request in protobuf has.
fn is_json(payload: &[u8]) -> bool {
    payload.trim_ascii_start().first() == Some(&b'{')
}

/// Splits a payload in either encoding. What JSON stands for is in `request`.
fn split<'a>(signal: Signal, payload: &'a [u8], request: &'a mut Vec<u8>) -> Result<Split<'a>, Malformed> {
    if !is_json(payload) {
        return otlp::split(signal, payload);
    }
    let transcoded = match otlp::read_request(signal, payload, &mut |_| true) {
        Ok(transcoded) => transcoded,
        Err(Untaken::Malformed(malformed)) => return Err(malformed),
        Err(Untaken::NoRoom) => unreachable!("there is always room"),
    };
    *request = transcoded.bytes;
    let mut split = otlp::split(signal, request)?;
    transcoded.omitted.restore(&mut split);
    Ok(split)
}

/// The signal, if the bytes are whole and valid as one only; JSON says by its names what it is.
fn guessed(payload: &[u8]) -> Option<Signal> {
    let named = is_json(payload);
    let fits = |signal: &Signal| {
        split(*signal, payload, &mut Vec::new()).is_ok_and(|split| {
            let has_records = split.entries.iter().any(|entry| entry.records > 0);
            if named { has_records || !split.cuts.is_empty() } else { has_records && split.cuts.is_empty() }
        })
    };
    let mut fitting = Signal::ALL.into_iter().filter(fits);
    fitting.next().filter(|_| fitting.next().is_none())
}

/// How large an entry is.
fn size(entry: &Entry<'_>) -> String {
    format!("records: {}, bytes: {}", entry.records, entry.bytes.len())
}

struct Explanation {
    signal: Signal,
    /// What the payload calls its entries.
    field: &'static str,
    routes: EntryRoutes,
    /// Of each exporter.
    transports: Vec<Transport>,
    /// What was filled in at some of them.
    presets: Vec<FilledPreset>,
    /// The exporters that an entry goes to, by their positions.
    reached: RefCell<BTreeSet<usize>>,
    /// Whose every entry is, if that was said.
    tenant: Option<String>,
    receiver: Option<String>,
}

impl Explanation {
    fn new(
        compiled: Compiled,
        table: Table,
        args: &ExplainArgs,
        signal: Signal,
        field: &'static str,
    ) -> io::Result<Self> {
        let routes = RouteTable::new(compiled.routes, compiled.unrouted);
        let (exporters, transports): (Vec<Arc<str>>, Vec<Transport>) = compiled
            .exporters
            .into_iter()
            .map(|(name, settings)| match Transport::new(&name, &settings, &Network::Machine, None) {
                Ok(transport) => Ok((name, transport)),
                Err(error) => Err(io::Error::other(format!("exporter `{name}`: {error}"))),
            })
            .collect::<io::Result<_>>()?;
        let request = RequestHeaders::of(routes.headers(), &args.headers.iter().cloned().collect());
        let routes = EntryRoutes { routes, exporters, table, request };
        let (tenant, receiver) = (args.tenant.clone(), args.receiver.clone());
        let presets = compiled.presets;
        let reached = RefCell::default();
        Ok(Self { signal, field, routes, transports, presets, reached, tenant, receiver })
    }

    /// What presets have filled in at the exporters that entries go to.
    fn presets(&self, out: &mut dyn Write) -> io::Result<()> {
        for exporter in self.reached.borrow().iter() {
            let name = &self.routes.exporters[*exporter];
            if let Some(preset) = self.presets.iter().find(|preset| *preset.exporter == **name) {
                let filled = preset.to_string().replace('\n', "\n  ");
                writeln!(out, "exporter `{name}`\n  {filled}")?;
            }
        }
        Ok(())
    }

    fn entry(&self, entry: &Entry<'_>, out: &mut dyn Write) -> io::Result<()> {
        let field = self.field;
        writeln!(out, "{field}[{}]: {}", entry.index, size(entry))?;
        // As the first of its senders would have sent it.
        let sender;
        let owner = match &self.tenant {
            Some(id) => {
                let listed = Owner::listed(&self.routes.table, id);
                sender = match listed {
                    Owner::Tenant(tenant) if !tenant.senders.is_empty() => {
                        Some(SenderIdentity::new(tenant.clone(), 0))
                    }
                    _ => None,
                };
                match &sender {
                    Some(sender) => Owner::of(&self.routes.table, Some(sender), entry.resource()),
                    None => listed,
                }
            }
            None => Owner::of(&self.routes.table, None, entry.resource()),
        };
        let tenant = match &owner {
            Owner::Nobody => None,
            Owner::Tenant(tenant) => {
                writeln!(out, "  tenant `{}`", tenant.id)?;
                Some(*tenant)
            }
            not_taken => return writeln!(out, "  not taken: {not_taken}"),
        };
        let receiver = self.receiver.as_deref();
        let parts =
            self.routes.partition(self.signal, entry.clone(), tenant.map(|tenant| &**tenant), receiver);
        for (nth, part) in parts.iter().enumerate() {
            if parts.len() > 1 {
                writeln!(out, "  part {} of {}, by its records: {}", nth + 1, parts.len(), size(part))?;
            }
            self.part(part, tenant, out)?;
        }
        Ok(())
    }

    /// An entry whose records agree in what routes look at.
    fn part(&self, entry: &Entry<'_>, tenant: Option<&Arc<Tenant>>, out: &mut dyn Write) -> io::Result<()> {
        // Lines in the order in which the routes were asked, whether they took the entry or not.
        let lines = RefCell::new(Vec::new());
        let routes = &self.routes.routes;
        // The routes by which it is in the streams of exporters, which have it once.
        let mut streams: HashMap<(usize, String), usize> = HashMap::new();
        let routed = self.routes.route(
            self.signal,
            entry,
            tenant.map(|tenant| &**tenant),
            self.receiver.as_deref(),
            |hit| {
                let name = &self.routes.exporters[hit.exporter];
                let stream = StreamName { signal: self.signal, key: RoutingKey::written(hit.key) };
                let what_becomes = match streams.get(&(hit.exporter, hit.key.to_owned())) {
                    Some(first) => {
                        let first = routes.name(*first);
                        format!("\n    already in this stream by route `{first}`, whose copy counts")
                    }
                    None => match self.edits(&hit, entry, tenant) {
                        Ok(edits) => {
                            streams.insert((hit.exporter, hit.key.to_owned()), hit.route);
                            self.reached.borrow_mut().insert(hit.exporter);
                            format!("{edits}\n    {}", self.destination(hit.exporter, &stream))
                        }
                        Err(error) => format!("\n    rejected: the route can't edit it: {error}"),
                    },
                };
                let (route, key) = (routes.name(hit.route), &stream.key);
                let line =
                    format!("  route `{route}`: stream `{key}` of exporter `{name}`{what_becomes}");
                lines.borrow_mut().push(line);
                if let Some(Overridden { name, record, resource }) = hit.overridden {
                    lines.borrow_mut().push(format!(
                        "    `{name}` is `{record}` on the records, which counted, and `{resource}` on the resource"
                    ));
                }
            },
            |route, why| {
                let line = format!("  route `{}` does not take it: {}", routes.name(route), why());
                lines.borrow_mut().push(line);
            },
        );
        for line in lines.into_inner() {
            writeln!(out, "{line}")?;
        }
        for hint in routes.record_hints(self.signal, entry) {
            writeln!(out, "  {hint}")?;
        }
        match routed {
            Ok(true) => Ok(()),
            Ok(false) => {
                let becomes = match routes.unrouted() {
                    Unrouted::Drop => return writeln!(out, "  dropped: no route takes it"),
                    Unrouted::Reject { .. } => "rejected",
                    Unrouted::DeadLetter => "becomes a dead letter",
                };
                writeln!(out, "  {becomes}: {}", routes.missing(self.signal))
            }
            Err(error) => writeln!(out, "  rejected: {error}"),
        }
    }

    /// Where an exporter sends a stream, or why it can't.
    fn destination(&self, exporter: usize, stream: &StreamName) -> String {
        match self.transports[exporter].target(&WithRow::of(&self.routes.table, stream)) {
            Ok(target) => format!("{target:#}").replace('\n', "\n    "),
            Err(error) if error.is_of_row() && stream.key.tenant().is_some() => {
                format!("held until the row of its tenant is put right: {error}")
            }
            Err(error) => format!("rejected: {error}"),
        }
    }

    /// What the processors of a route do to an entry, as the next line; nothing if it has none.
    fn edits(
        &self,
        hit: &Hit<'_>,
        entry: &Entry<'_>,
        tenant: Option<&Arc<Tenant>>,
    ) -> Result<String, EditError> {
        let edits = self.routes.routes.edits(hit.route);
        if edits.is_empty() {
            return Ok(String::new());
        }
        let taken = TakenEntry {
            signal: self.signal,
            bytes: &entry.bytes,
            resource: entry.resource(),
            key: hit.key,
            tenant: tenant.map(|tenant| &**tenant),
        };
        let names: Vec<String> = edits.iter().map(|edit| format!("`{}`", edit.name)).collect();
        let edited = route::edited(edits, &taken, &mut |_| true)?;
        let nothing = if edited.is_none() { ", which change nothing" } else { "" };
        Ok(format!("\n    edited by {}{nothing}", names.join(", ")))
    }
}
