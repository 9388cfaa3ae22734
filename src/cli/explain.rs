//! `sluice explain`: what would become of a captured payload, entry by entry, and why.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::config_file::ConfigArgs;
use crate::config::{self, Compiled, Source};
use crate::export::Transport;
use crate::otlp::{self, Entry, Reason, Signal};
use crate::route::{RouteTable, Unroutable, Unrouted};
use crate::stream::StreamName;

/// What is said of a payload in JSON.
const JSON: &str = "the payload looks like JSON: `sluice explain` takes protobuf, such as a `.pb` file of the \
                    dead-letter directory";

/// Print for every entry of a captured payload which route, stream, exporter, URL and headers it gets, and why
/// earlier routes did not match
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The configuration, which `--config` may name as well
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// An `Export<Signal>ServiceRequest` in protobuf, such as a `.pb` file of the dead-letter directory; `-` for standard input
    #[arg(long)]
    payload: PathBuf,
    /// traces, metrics or logs; without it, the payload's file name or its content decides
    #[arg(long, value_parser = |name: &str| Signal::from_name(name).ok_or("write traces, metrics or logs"))]
    signal: Option<Signal>,
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
    env: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let compiled = match config::load(source, env) {
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
    let split = match otlp::split(signal.unwrap_or(Signal::Logs), &payload) {
        Ok(split) => split,
        Err(malformed) if malformed.reason == Reason::LooksLikeJson => {
            writeln!(out, "{JSON}")?;
            return Ok(ExitCode::FAILURE);
        }
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
    let explanation = Explanation::new(compiled, signal)?;
    for entry in &split.entries {
        explanation.entry(entry, out)?;
    }
    for cut in &split.cuts {
        let (path, offset, reason) = (&cut.path, cut.offset, &cut.reason);
        writeln!(out, "cut out: {path} at byte {offset}: {reason} ({} records)", cut.records)?;
    }
    if split.entries.is_empty() && split.cuts.is_empty() {
        writeln!(out, "the request is empty: it would be answered 200 and go nowhere")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A dead letter's file name says its signal.
fn named(path: &Path) -> Option<Signal> {
    let name = path.file_name()?.to_str()?;
    Signal::ALL.into_iter().find(|signal| name.contains(signal.name()))
}

/// The signal, if the bytes are whole and valid as one only.
fn guessed(payload: &[u8]) -> Option<Signal> {
    let fits = |signal: &Signal| {
        otlp::split(*signal, payload)
            .is_ok_and(|split| split.cuts.is_empty() && split.entries.iter().any(|entry| entry.records > 0))
    };
    let mut fitting = Signal::ALL.into_iter().filter(fits);
    fitting.next().filter(|_| fitting.next().is_none())
}

struct Explanation {
    signal: Signal,
    routes: RouteTable,
    exporters: Vec<(Arc<str>, Transport)>,
}

impl Explanation {
    fn new(compiled: Compiled, signal: Signal) -> io::Result<Self> {
        let identities = compiled.exporters.iter().map(|(_, settings)| settings.attributes()).collect();
        let routes = RouteTable::new(compiled.routes, identities, compiled.unrouted);
        let exporters = compiled
            .exporters
            .into_iter()
            .map(|(name, settings)| match Transport::new(&name, &settings) {
                Ok(transport) => Ok((name, transport)),
                Err(error) => Err(io::Error::other(format!("exporter `{name}`: {error}"))),
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { signal, routes, exporters })
    }

    fn entry(&self, entry: &Entry<'_>, out: &mut dyn Write) -> io::Result<()> {
        let field = self.signal.entry_field();
        writeln!(out, "{field}[{}]: records: {}, bytes: {}", entry.index, entry.records, entry.bytes.len())?;
        // Lines in the order in which the routes were asked, whether they took the entry or not.
        let lines = std::cell::RefCell::new(Vec::new());
        let routed = self.routes.route::<Unroutable>(
            self.signal,
            entry.resource(),
            &mut String::new(),
            |hit| {
                let (name, transport) = &self.exporters[hit.exporter];
                let route = self.routes.name(hit.route);
                let identity = match hit.identity {
                    Ok(identity) => identity,
                    Err(error) => {
                        lines
                            .borrow_mut()
                            .push(format!("  route `{route}`: not for exporter `{name}`: {error}"));
                        return Ok(());
                    }
                };
                let stream = StreamName::new(self.signal, identity.into(), hit.attributes.clone());
                let key = stream.routing_key();
                let destination = match transport.target(&stream) {
                    Ok(target) => format!("{target:#}").replace('\n', "\n    "),
                    Err(error) => format!("rejected: {error}"),
                };
                let line =
                    format!("  route `{route}`: stream `{key}` of exporter `{name}`\n    {destination}");
                lines.borrow_mut().push(line);
                Ok(())
            },
            |route, why| {
                let line = format!("  route `{}` does not take it: {}", self.routes.name(route), why());
                lines.borrow_mut().push(line);
            },
        );
        for line in lines.into_inner() {
            writeln!(out, "{line}")?;
        }
        match routed {
            Ok(true) => Ok(()),
            Ok(false) if self.routes.unrouted() == Unrouted::Drop => {
                writeln!(out, "  dropped: no route takes it")
            }
            Ok(false) => writeln!(out, "  rejected: {}", self.routes.missing(self.signal)),
            Err(error) => writeln!(out, "  rejected: {error}"),
        }
    }
}
