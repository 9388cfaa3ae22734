//! `sluice replay`: sends dead letters again.
//!
//! Each letter goes only to the exporter it was recorded for, with that exporter's present settings, in the order
//! in which the letters were stored. One that never had an exporter, such as one that no route took, is divided first into
//! letters for the streams that the present routes give it, which stand in its place. A stream whose letter fails stops there, so
//! that its order holds; others go on. What was delivered is removed at once, so that a replay that is interrupted can be started
//! again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;

use super::config_file::{ConfigArgs, lacks_secrets_alone};
use super::counted::counted;
use crate::backoff::{AskedWait, Backoff};
use crate::config::{self, Compiled, ConfigSource, RowCheck, SecretPresence};
use crate::dead_letters::{
    ConditionError, DeadLetterFilter, DeadLetterPart, DeadLettersLock, FoundDeadLetters, StoredDeadLetter,
    letters,
};
use crate::export::{
    Answer, AttemptOutcome, Conditions, ExporterSettings, TENANT_REMOVED, Target, Transport, WithRow,
};
use crate::net::Network;
use crate::otlp::{Redaction, Signal};
use crate::route::{EntryRoutes, RequestHeaders, RouteTable, RoutingKey, Values};
use crate::run::{self, DeadLetterAddresses};
use crate::stream::{Batch, Budget, StreamName};
use crate::tenants::Table;
use crate::terminal::escaped;

/// Attempts at one letter.
const ATTEMPTS: usize = 5;

/// The longest wait for another attempt at a letter; a letter that would need a longer one is left, as somebody sits before the screen.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Send dead letters again, each only to the exporter it was recorded for, or if it never had one where the routes send it now; exit
/// 0 only if all were taken
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice replay --config sluice.yaml --dry-run ./dead-letters
  sluice replay --config sluice.yaml --dry-run --without-secrets ./dead-letters
  sluice replay --config sluice.yaml --exporter otlp_http/s2 --reason 401 ./dead-letters
  sluice replay --config sluice.yaml --tenant acme --from 2026-12-01T00:00:00Z ./dead-letters")]
pub struct ReplayArgs {
    /// The directory of `dead_letter.directory`
    directory: PathBuf,
    #[command(flatten)]
    filter: DeadLetterFilterArgs,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Also letters of tenants that were removed: they are sent by the rows that have their ids now
    #[arg(long)]
    removed_tenants: bool,
    /// Only say what would be sent where
    #[arg(long)]
    dry_run: bool,
    /// With `--dry-run`: go without the variables and files that the configuration names, where they are not there. A placeholder stands
    /// for each, also in URLs
    #[arg(long, requires = "dry_run")]
    without_secrets: bool,
}

/// Which letters are sent: those that meet all of these conditions
#[derive(Args, Debug, Default)]
struct DeadLetterFilterArgs {
    /// Only letters for this exporter; with an empty name, those that never had one
    #[arg(long, value_name = "NAME")]
    exporter: Option<String>,
    /// Only letters of this tenant; with an empty id, those that are nobody's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only letters with this text in their routing key
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Only letters with this text in their reason, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only letters of this signal: traces, metrics or logs
    #[arg(long, value_name = "SIGNAL", value_parser = |value: &str| condition("signal", value))]
    signal: Option<String>,
    /// Only letters that were given up at this moment or later, such as 2026-12-01T00:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = |value: &str| condition("from", value))]
    from: Option<String>,
    /// Only letters that were given up before this moment
    #[arg(long, value_name = "MOMENT", value_parser = |value: &str| condition("to", value))]
    to: Option<String>,
}

impl DeadLetterFilterArgs {
    fn filter(&self) -> Result<DeadLetterFilter, ConditionError> {
        let Self { exporter, tenant, key, reason, signal, from, to } = self;
        let given = [
            ("exporter", exporter),
            ("tenant", tenant),
            ("key", key),
            ("reason", reason),
            ("signal", signal),
            ("from", from),
            ("to", to),
        ];
        let mut filter = DeadLetterFilter::default();
        for (name, value) in given {
            if let Some(value) = value {
                filter.set(name, value)?;
            }
        }
        Ok(filter)
    }
}

/// The value of a condition, if it can be one.
fn condition(name: &str, value: &str) -> Result<String, ConditionError> {
    DeadLetterFilter::default().set(name, value).map(|()| value.to_owned())
}

/// Replays a directory by the exporters of `source`, and prints the outcome.
pub fn replay(
    args: &ReplayArgs,
    source: &ConfigSource,
    env: fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let secrets = if args.without_secrets { SecretPresence::Optional } else { SecretPresence::Needed };
    let compiled = match config::load_with(source, &env, secrets, RowCheck::Alone) {
        Ok(compiled) => compiled,
        Err(problems) => {
            writeln!(out, "{problems}")?;
            if args.dry_run && lacks_secrets_alone(source, &env) {
                writeln!(
                    out,
                    "a dry run sends nothing: `sluice replay --dry-run --without-secrets` goes without what is not there"
                )?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let unreadable = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't read `{}`: {error}", args.directory.display()))
    };
    let take_lock = || {
        DeadLettersLock::take(&args.directory).map_err(unreadable)?.ok_or_else(|| {
            let directory = args.directory.display();
            io::Error::other(format!(
                "the letters in `{directory}` are being replayed or deleted by somebody else: try again when that has ended"
            ))
        })
    };
    let _lock = if args.dry_run { None } else { Some(take_lock()?) };
    let mut found = letters(&args.directory).map_err(unreadable)?;
    let filter = args.filter.filter().map_err(io::Error::other)?;
    found.letters.retain(|letter| filter.takes(letter));
    if !filter.is_empty() {
        // A file that is no letter can't be matched against conditions.
        found.damaged.clear();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = run::table_of(&compiled, env, secrets)?;
    let replay = Replay {
        is_embedded: matches!(source, ConfigSource::Embedded),
        dry_run: args.dry_run,
        removed_tenants: args.removed_tenants,
        ..Replay::new(source.to_string(), compiled, table)
    };
    let all_went = runtime.block_on(replay.letters(&found, out))?;
    Ok(if all_went { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A replay under way.
struct Replay {
    /// The name of the configuration that has the exporters, for people.
    source: String,
    exporters: HashMap<Arc<str>, ExporterSettings>,
    /// The routes for letters that never had an exporter, with the tenants, whose rows templates read.
    routes: EntryRoutes,
    /// The attributes that are not shown where an upstream's answer quotes them.
    redaction: ArcSwap<Redaction>,
    transports: HashMap<Arc<str>, Transport>,
    /// Whether the configuration is the embedded one, because there is no file.
    is_embedded: bool,
    dry_run: bool,
    removed_tenants: bool,
    /// Streams that stopped at a letter.
    stopped: HashSet<(String, Signal, Option<RoutingKey>)>,
    /// Exporters that did not answer for all attempts at a letter. Until they do, each of their streams gets one
    /// attempt without waits, or a thousand streams of a dead upstream would take hours.
    unresponsive: HashSet<Arc<str>>,
    /// Exporters of letters that the configuration doesn't have.
    unknown: BTreeSet<String>,
    tally: ReplayTally,
}

#[derive(Default)]
struct ReplayTally {
    delivered: u64,
    records: u64,
    rejected: u64,
    left: u64,
}

impl Replay {
    fn new(source: String, compiled: Compiled, table: Table) -> Self {
        let routes = EntryRoutes {
            routes: Arc::new(RouteTable::new(compiled.routes, compiled.unrouted)),
            exporters: compiled.exporters.iter().map(|(name, _)| name.clone()).collect(),
            table: Arc::new(table),
            // Dead letters do not keep the request's headers.
            request: RequestHeaders::default(),
        };
        Self {
            source,
            exporters: compiled.exporters.into_iter().collect(),
            routes,
            redaction: ArcSwap::from_pointee(compiled.tap.redaction),
            transports: HashMap::new(),
            is_embedded: false,
            dry_run: false,
            removed_tenants: false,
            stopped: HashSet::new(),
            unresponsive: HashSet::new(),
            unknown: BTreeSet::new(),
            tally: ReplayTally::default(),
        }
    }

    /// Sends the letters that were found; `true` if none is left and no record was rejected.
    async fn letters(mut self, found: &FoundDeadLetters, out: &mut dyn Write) -> io::Result<bool> {
        for (path, reason) in &found.damaged {
            writeln!(out, "{}", told(path, &format!("skipped: {reason}")))?;
        }
        for letter in &found.letters {
            self.letter(letter, out).await?;
        }
        let ReplayTally { delivered, records, rejected, left } = self.tally;
        let damaged = found.damaged.len() as u64;
        let sent = format!("{} ({})", counted(delivered, "letter"), counted(records, "record"));
        if self.dry_run {
            writeln!(out, "{sent} can be sent, {left} can't")?;
        } else {
            writeln!(out, "{sent} delivered, {left} left")?;
        }
        if rejected > 0 {
            let records = counted(rejected, "record");
            writeln!(out, "of what was delivered, {records} rejected by partial success and gone")?;
        }
        if damaged > 0 {
            let files = counted(damaged, "file");
            writeln!(out, "left as found, since no whole letter can be read of it: {files}")?;
        }
        for name in &self.unknown {
            let source = &self.source;
            let name = escaped(name);
            writeln!(out, "{source} has no exporter `{name}`: name the file that has it by `--config FILE`")?;
        }
        Ok(left == 0 && rejected == 0 && damaged == 0)
    }

    /// Sends one letter, which is divided first if it never had an exporter.
    async fn letter(&mut self, letter: &StoredDeadLetter, out: &mut dyn Write) -> io::Result<()> {
        if let Some(name) = letter.exporter() {
            return self.letter_for(name, letter, out).await;
        }
        let parts = match self.address(letter) {
            Ok(parts) => parts,
            Err(why) => return self.leave(letter, &why, out),
        };
        if self.dry_run {
            return parts.iter().try_for_each(|part| self.show_part(letter, part, out));
        }
        let letters = match letter.divide(&parts) {
            Ok(letters) => letters,
            Err(error) => {
                let why = format!("it can't be divided among the streams that it goes to: {error}");
                return self.leave(letter, &why, out);
            }
        };
        for letter in &letters {
            match letter.exporter() {
                Some(name) => self.letter_for(name, letter, out).await?,
                None => self.leave(letter, letter.reason(), out)?,
            }
        }
        Ok(())
    }

    /// The parts of a letter that never had an exporter, or why it can't be sent.
    fn address(&mut self, letter: &StoredDeadLetter) -> Result<Vec<DeadLetterPart>, String> {
        if self.is_embedded {
            return Err("it goes where routes send it, and the embedded configuration has none of yours: name the configuration by \
                        `--config FILE`"
                .to_owned());
        }
        let routes = self.routes.clone();
        let open = |name: &Arc<str>, stream: &StreamName| {
            self.open(name, stream)?;
            Ok(self.exporters[name].queue.batch.max_size)
        };
        DeadLetterAddresses { routes: &routes, open }.address(letter)
    }

    /// Prints what would become of a part of a letter.
    fn show_part(
        &mut self,
        letter: &StoredDeadLetter,
        part: &DeadLetterPart,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let (Some(name), Some(key)) = (&part.exporter, &part.key) else {
            return self.leave(letter, &part.reason, out);
        };
        match self.open(name, &StreamName { signal: letter.signal(), key: key.clone() }) {
            Ok((name, target)) => self.show(letter, part.records, &name, &target, out),
            Err(reason) => self.leave(letter, &reason, out),
        }
    }

    /// Prints the URL to which records would be sent.
    fn show(
        &mut self,
        letter: &StoredDeadLetter,
        records: u64,
        name: &str,
        target: &Target,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.tally.delivered += 1;
        self.tally.records += records;
        let (records, came) = (counted(records, "record"), how_it_came(letter));
        let said = format!("{records} to `{name}` at {target} ({}{came})", letter.reason());
        writeln!(out, "{}", told(letter.path(), &said))
    }

    /// Sends a letter to the exporter that it was recorded for, unless its stream has stopped.
    async fn letter_for(
        &mut self,
        name: &str,
        letter: &StoredDeadLetter,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if letter.reason() == TENANT_REMOVED && !self.removed_tenants {
            let why = "its tenant was removed, and the id may be somebody else's by now: add `--removed-tenants` to send it by the \
                       row that has the id";
            return self.leave(letter, why, out);
        }
        let stream = (name.to_owned(), letter.signal(), letter.key().cloned());
        if self.stopped.contains(&stream) {
            return self.leave(letter, "behind a letter of its stream that was not delivered", out);
        }
        let failure = match self.open(name, letter) {
            Ok((name, target)) if self.dry_run => {
                return self.show(letter, letter.records(), &name, &target, out);
            }
            Ok((name, target)) => match self.send(&name, &target, letter).await {
                Err(error) => format!("its bytes can't be read: {error}"),
                Ok(Answer { outcome: AttemptOutcome::Delivered { rejected, .. }, detail, .. }) => {
                    if !detail.is_empty() {
                        writeln!(out, "{}", told(letter.path(), &format!("delivered: {detail}")))?;
                    }
                    letter.remove()?;
                    self.tally.delivered += 1;
                    self.tally.records += letter.records();
                    self.tally.rejected += rejected;
                    return Ok(());
                }
                Ok(Answer { code, detail, .. }) => format!("{code}: {detail}"),
            },
            Err(reason) => reason,
        };
        self.stopped.insert(stream);
        self.leave(letter, &failure, out)
    }

    fn leave(&mut self, letter: &StoredDeadLetter, reason: &str, out: &mut dyn Write) -> io::Result<()> {
        self.tally.left += 1;
        let said = format!("left: {reason}{}", how_it_came(letter));
        writeln!(out, "{}", told(letter.path(), &said))
    }

    /// The exporter, set up when it is first needed, and its destination for these values.
    fn open(&mut self, name: &str, values: &impl Values) -> Result<(Arc<str>, Target), String> {
        let Some((name, settings)) = self.exporters.get_key_value(name) else {
            self.unknown.insert(name.to_owned());
            return Err(format!("the configuration has no exporter `{name}`"));
        };
        if !self.transports.contains_key(name) {
            let transport =
                Transport::new(name, settings, &Network::Machine, None).map_err(|error| error.to_string())?;
            self.transports.insert(Arc::clone(name), transport);
        }
        let target = self.transports[name]
            .target(&WithRow::of(&self.routes.table, values))
            .map_err(|error| error.to_string())?;
        Ok((Arc::clone(name), target))
    }

    /// Attempts a letter until the answer is final or patience ends.
    async fn send(
        &mut self,
        name: &Arc<str>,
        target: &Target,
        letter: &StoredDeadLetter,
    ) -> io::Result<Answer> {
        let batch = Batch::new(letter.signal(), vec![letter.load()?], letter.records());
        let transport = &self.transports[name];
        let attempts = if self.unresponsive.contains(name) { 1 } else { ATTEMPTS };
        let mut backoff = Backoff::new();
        // One letter at a time is not charged to any tenant, and takes the memory that it needs.
        let (hanging, budget) = (AtomicBool::default(), Arc::new(Budget::new(u64::MAX)));
        let begun = OnceLock::new();
        let conditions = Conditions {
            hanging: &hanging,
            redaction: &self.redaction,
            budget: &budget,
            pass: None,
            begun: &begun,
            turn: None,
            span: None,
        };
        let mut attempt = 1;
        loop {
            let answer = transport.attempt(target, &batch, conditions).await;
            let answer = answer.expect("without a pass an attempt is always made");
            let AttemptOutcome::Retry { after } = answer.outcome else {
                self.unresponsive.remove(name);
                return Ok(answer);
            };
            let asked = AskedWait { after, least: answer.least };
            let wait = backoff.next_wait(&self.exporters[name].retry, asked);
            if !wait.worthwhile || attempt >= attempts || wait.length > LONGEST_WAIT {
                self.unresponsive.insert(Arc::clone(name));
                return Ok(answer);
            }
            tokio::time::sleep(wait.length).await;
            attempt += 1;
        }
    }
}

/// Prints a line about a file. Its name and the text of its note are not trusted, and so are escaped.
fn told(path: &Path, said: &str) -> String {
    format!("{}: {}", escaped(&path.display().to_string()), escaped(said))
}

/// The addition to a line about a letter that never had an exporter.
fn how_it_came(letter: &StoredDeadLetter) -> String {
    letter.origin().map_or_else(String::new, |origin| format!("; {origin}"))
}

#[cfg(test)]
mod tests;
