//! `sluice journal`: looks at a journal.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::journal::{Damage, InspectedSegment, InspectedStream, Inspection, inspect};
use crate::route::RoutingKey;
use crate::stream::StreamAddress;

/// The most streams that are listed as text; `--json` lists all.
const STREAMS: usize = 50;

/// Look at a journal
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice journal inspect ./journal
  sluice journal inspect --json ./journal | jq '.streams[0]'")]
pub struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    Inspect(InspectArgs),
}

/// Show segments, streams, what is not delivered, and damage
///
/// Changes nothing, and may be used beside a running process. Exit code 1 if there is damage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice journal inspect ./journal
  sluice journal inspect --verify --json ./journal")]
struct InspectArgs {
    /// The journal's directory.
    directory: PathBuf,
    /// Read and check every record, rather than trust the indexes.
    #[arg(long)]
    verify: bool,
    /// Print one JSON object, with all streams.
    #[arg(long)]
    json: bool,
}

/// Prints the state of the journal to `out`.
pub fn journal(args: &JournalArgs, out: &mut dyn Write) -> io::Result<ExitCode> {
    let JournalCommand::Inspect(args) = &args.command;
    let inspection = inspect(&args.directory, args.verify).map_err(io::Error::other)?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &to_json(&inspection))?;
        writeln!(out)?;
    } else {
        write_text(&inspection, out)?;
    }
    // A write that a crash interrupted is no damage: it was never acknowledged.
    let damaged = inspection.damage.iter().any(|damage| !matches!(damage, Damage::Torn { .. }));
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write_text(inspection: &Inspection, out: &mut dyn Write) -> io::Result<()> {
    let Inspection { segments, streams, spare_segments, spare_bytes, damage } = inspection;
    let length: u64 = segments.iter().map(|segment| segment.length).sum();
    let waiting: Vec<&InspectedStream> = streams.iter().filter(|stream| stream.entries > 0).collect();
    let total = |of: fn(&InspectedStream) -> u64| waiting.iter().map(|stream| of(stream)).sum::<u64>();
    writeln!(
        out,
        "backlog: {} entries, {} records, {} in {} streams",
        total(|stream| stream.entries),
        total(|stream| stream.records),
        bytes(total(|stream| stream.bytes)),
        waiting.len(),
    )?;
    writeln!(
        out,
        "on disk: {} segments with {}, {spare_segments} spare ones with {}",
        segments.len(),
        bytes(length),
        bytes(*spare_bytes),
    )?;
    if !segments.is_empty() {
        writeln!(
            out,
            "\n{:<25} {:<8} {:>11} {:>9} {:>12}",
            "segment", "kind", "written", "streams", "entries"
        )?;
        for segment in segments {
            let InspectedSegment { file, used, streams, entries, .. } = segment;
            let (kind, used) = (kind(segment), bytes(*used));
            writeln!(out, "{file:<25} {kind:<8} {used:>11} {streams:>9} {entries:>12}")?;
        }
    }
    write_streams(waiting, out)?;
    if damage.is_empty() {
        return writeln!(out, "\nno damage");
    }
    writeln!(out, "\ndamage, and what Sluice does when it meets it:")?;
    damage.iter().try_for_each(|damage| writeln!(out, "  {damage}"))
}

fn write_streams(mut waiting: Vec<&InspectedStream>, out: &mut dyn Write) -> io::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    waiting.sort_by_key(|stream| std::cmp::Reverse(stream.bytes));
    writeln!(out, "\n{:>11} {:>10} {:>12} {:>14}  stream", "backlog", "entries", "records", "from entry")?;
    for stream in waiting.iter().take(STREAMS) {
        let InspectedStream { number, key, first, entries, records, bytes: size, .. } = stream;
        let name = key.as_ref().and_then(StreamAddress::of_journal).map_or_else(
            || format!("number {number}, whose name is damaged"),
            // Values may hold control characters, which a terminal would obey.
            |StreamAddress { exporter, name }| {
                format!("{exporter} {} {}", name.signal, name.key.text().escape_debug())
            },
        );
        writeln!(out, "{:>11} {entries:>10} {records:>12} {first:>14}  {name}", bytes(*size))?;
    }
    match waiting.len().saturating_sub(STREAMS) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more streams, with less; `--json` has them all"),
    }
}

fn kind(segment: &InspectedSegment) -> &'static str {
    match (segment.carried, segment.sealed) {
        (false, true) => "log",
        (false, false) => "log, open",
        (true, true) => "carried",
        (true, false) => "carried, open",
    }
}

/// A size for people: `1.5 MiB`.
fn bytes(number: u64) -> String {
    let mut number = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if number < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{number:.digits$} {unit}");
        }
        number /= 1024.0;
    }
    format!("{number:.1} TiB")
}

fn to_json(inspection: &Inspection) -> Value {
    let segment = |segment: &InspectedSegment| {
        json!({
            "file": segment.file,
            "carried": segment.carried,
            "sealed": segment.sealed,
            "length": segment.length,
            "used": segment.used,
            "streams": segment.streams,
            "entries": segment.entries,
            "bytes": segment.bytes,
        })
    };
    let stream = |stream: &InspectedStream| {
        let address = stream.key.as_ref().and_then(StreamAddress::of_journal);
        let key = address.as_ref().map(|address| &address.name.key);
        let parts: serde_json::Map<_, _> = key
            .into_iter()
            .flat_map(RoutingKey::parts)
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        json!({
            "number": stream.number,
            "exporter": address.as_ref().map(|address| &*address.exporter),
            "signal": address.as_ref().map(|address| address.name.signal.name()),
            "key": key.map(RoutingKey::text),
            "parts": parts,
            "tenant": key.and_then(RoutingKey::tenant),
            "segments": stream.segments,
            "first": stream.first,
            "entries": stream.entries,
            "records": stream.records,
            "bytes": stream.bytes,
        })
    };
    json!({
        "segments": inspection.segments.iter().map(segment).collect::<Vec<_>>(),
        "streams": inspection.streams.iter().map(stream).collect::<Vec<_>>(),
        "spare_segments": inspection.spare_segments,
        "spare_bytes": inspection.spare_bytes,
        "damage": inspection.damage.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::{Journal, JournalSettings};

    fn inspecting(directory: PathBuf, json: bool) -> JournalArgs {
        JournalArgs { command: JournalCommand::Inspect(InspectArgs { directory, verify: true, json }) }
    }

    fn refused(directory: &Path) -> String {
        journal(&inspecting(directory.to_owned(), false), &mut Vec::new()).unwrap_err().to_string()
    }

    /// The journal that version 3 wrote, see `src/journal/tests/fixture.rs`.
    fn inspected(json: bool) -> String {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal/v3");
        let mut out = Vec::new();
        assert_eq!(journal(&inspecting(directory, json), &mut out).unwrap(), ExitCode::SUCCESS);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_see_the_backlog_of_each_stream() {
        let text = inspected(false);
        assert!(text.starts_with("backlog: 33 entries, 39 records, 16.8 KiB in 2 streams\n"), "{text}");
        assert!(text.contains("otlp_http/up logs slow/eu\n"), "{text}");
        assert!(text.ends_with("\nno damage\n"), "{text}");
    }

    #[test]
    fn programs_get_all_of_it() {
        let json: Value = serde_json::from_str(&inspected(true)).unwrap();
        let stream = &json["streams"][1];
        assert_eq!(stream["exporter"], "otlp_http/up");
        assert_eq!((&stream["key"], &stream["parts"]), (&json!("fast"), &json!({})));
        let stream = &json["streams"][0];
        assert_eq!(stream["parts"], json!({ "name": "slow", "region": "eu" }));
        let stream = &json["streams"][1];
        assert_eq!(
            (&stream["first"], &stream["entries"], &stream["records"]),
            (&json!(200), &json!(20), &json!(20))
        );
        assert_eq!(json["damage"], json!([]));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = refused(Path::new("/nowhere/at/all"));
        assert!(error.starts_with("journal `/nowhere/at/all` can't be read: "), "{error}");
    }

    #[test]
    fn a_directory_that_is_no_journal_is_not_called_an_empty_one() {
        let above = tempfile::tempdir().unwrap();
        let error = refused(above.path());
        let expected = format!("`{}` is not a journal: ", above.path().display());
        assert!(error.starts_with(&expected) && error.contains("the `directory` of `journal:`"), "{error}");

        let settings = JournalSettings::new(above.path().join("journal"));
        Journal::open(settings).unwrap().0.close();
        std::fs::write(above.path().join("sluice.yaml"), "").unwrap();
        assert!(refused(above.path()).starts_with(&expected), "what is above a journal is none");
        let mut out = Vec::new();
        let args = inspecting(above.path().join("journal"), false);
        assert_eq!(journal(&args, &mut out).unwrap(), ExitCode::SUCCESS);
        assert!(String::from_utf8(out).unwrap().starts_with("backlog: 0 entries"), "an empty one is one");
    }
}
