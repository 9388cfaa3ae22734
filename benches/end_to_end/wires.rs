//! What each way in and out costs: encodings, protocols, compression, TLS.

use std::collections::HashMap;

use clap::Args;

use crate::Failure;
use crate::load::{CONNECTIONS, Measured, STREAMS, Size, measure, some};
use crate::proxy::Kind;
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::wire::Passage;

/// Those that are compared.
const KINDS: [Kind; 5] = [Kind::Haproxy, Kind::Sluice, Kind::Collector, Kind::CollectorRouting, Kind::Rotel];

/// The request sizes, with the requests of a run through a proxy that decodes them. The first is what is measured
/// unless another is asked for.
const SIZES: [Size; 2] = [
    Size { name: "110 kB", entries: 10, records: 38, record_bytes: 283, requests: 3_000 },
    Size { name: "2.9 kB", entries: 1, records: 10, record_bytes: 275, requests: 40_000 },
];

/// Times as many requests go through what needs little CPU for each, whose cost could not be read exactly otherwise.
const LIGHT: u64 = 4;

/// This part of the requests, if there is JSON on either side.
const JSON_SHARE: u64 = 2;

type Runs = HashMap<(Passage, Kind), Vec<Measured>>;

#[derive(Args)]
pub(crate) struct WiresArguments {
    /// Runs of everything; the medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Only those whose name contains this, such as `JSON` or `gzip to`.
    #[arg(long)]
    wire: Option<String>,
    /// The request sizes whose name contains this, instead of 110 kB.
    #[arg(long)]
    size: Option<String>,
    /// Send this part of the usual number of requests.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

impl WiresArguments {
    /// All of it, for these proxies.
    pub(crate) fn all(only: Vec<Kind>, scale: f64) -> Self {
        Self { runs: 3, only, wire: None, size: None, scale }
    }
}

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &WiresArguments) -> Result<String, Failure> {
    let wanted = |kind: &Kind| match &arguments.only[..] {
        [] => kind.program(&rig.sluice).is_some(),
        only => only.contains(kind),
    };
    let kinds: Vec<Kind> = KINDS.into_iter().filter(wanted).collect();
    let named = |passage: &Passage| arguments.wire.as_ref().is_none_or(|part| passage.name.contains(part));
    let passages: Vec<Passage> = Passage::ALL.into_iter().filter(named).collect();
    some("--wire", arguments.wire.as_deref(), &passages, Passage::ALL.map(|passage| passage.name))?;
    let asked = |size: &Size| match &arguments.size {
        Some(part) => size.name.contains(part),
        None => size.name == SIZES[0].name,
    };
    let sizes: Vec<Size> = SIZES.into_iter().filter(asked).collect();
    some("--size", arguments.size.as_deref(), &sizes, SIZES.map(|size| size.name))?;
    let mut section = format!(
        "## Ways in and out\n\n\
         {CONNECTIONS} connections, closed loop, logs of {STREAMS} streams. Medians of {} interleaved runs. MB and GB are \
         of protobuf without compression, whatever is on the wire; CPU is that of the proxy alone, read when everything \
         accepted had been delivered. Load generator and upstream encode, compress and encrypt on the same cores, and \
         where that is dear they bound the throughput, but not the CPU that is shown. Checked in every run: each request \
         was taken, and as many records arrived as were sent, duplicates aside. Of all but Rotel, which loses resources \
         and reorders, also that no record is missing or there twice, and that no byte is. The order of each sender's \
         records in each stream is checked of all but Rotel and the Collector that routes, which may change it: how many \
         of theirs were late stands in `reordered` (of the median run). HAProxy passes bodies on as they are; Rotel has no TLS and \
         no zstd in its receivers, neither JSON nor zstd in its exporter, and checks no \
         certificate.\n",
        arguments.runs
    );
    for size in sizes {
        let mut runs = Runs::new();
        for run in 0..arguments.runs {
            for &passage in &passages {
                for &kind in kinds.iter().filter(|kind| kind.passes(passage)) {
                    let size = Size { requests: requests(size, passage, kind, arguments.scale), ..size };
                    let measured = measure(rig, kind, passage, size)
                        .map_err(|error| format!("{}, {}, {kind}: {error}", size.name, passage.name))?;
                    eprintln!(
                        "{} run {}/{} {}, {kind}: {:.0} MB/s, {:.2} CPU s/GB",
                        size.name,
                        run + 1,
                        arguments.runs,
                        passage.name,
                        measured.megabytes_per_second,
                        measured.cpu_per_gigabyte,
                    );
                    runs.entry((passage, kind)).or_default().push(measured);
                }
            }
        }
        section += &render(size, &passages, &kinds, &runs);
    }
    Ok(section)
}

/// How many requests make a run.
fn requests(size: Size, passage: Passage, kind: Kind, scale: f64) -> u64 {
    let decoded = if passage.has_json() { size.requests / JSON_SHARE } else { size.requests };
    let requests = if matches!(kind, Kind::Haproxy | Kind::Sluice) { decoded * LIGHT } else { decoded };
    ((requests as f64 * scale) as u64).max(1)
}

fn render(size: Size, passages: &[Passage], kinds: &[Kind], runs: &Runs) -> String {
    let of = |passage: Passage, kind: Kind, value: fn(&Measured) -> f64| {
        runs.get(&(passage, kind)).map(|runs| median(runs.iter().map(value).collect()))
    };
    let cpu = |passage: Passage, kind: Kind| of(passage, kind, |run| run.cpu_per_gigabyte);
    let shown = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };

    let mut head = vec!["CPU s/GB".to_owned()];
    head.extend(kinds.iter().map(ToString::to_string));
    head.extend(["x Collector", "x Collector, routing"].map(str::to_owned));
    let mut summary = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for &passage in passages {
        let mut row = vec![passage.name.to_owned()];
        row.extend(kinds.iter().map(|&kind| shown(cpu(passage, kind), 2)));
        for collector in [Kind::Collector, Kind::CollectorRouting] {
            let ratio = cpu(passage, collector).zip(cpu(passage, Kind::Sluice));
            row.push(shown(ratio.map(|(collector, sluice)| collector / sluice), 1));
        }
        summary.row(row);
    }

    let Size { name, entries, records, requests, .. } = size;
    let bytes = entries * records;
    let mut text = format!(
        "\n### {name} requests ({entries} entries, {bytes} records; {requests} requests a run, half with JSON, {LIGHT} times \
         as many through HAProxy and Sluice)\n\n\
         The last two columns say how many times Sluice's CPU a Collector takes.\n\n{}",
        summary.render()
    );
    for &passage in passages {
        let mut table = Table::new(&[
            "",
            "MB/s",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "CPU s/GB",
            "CPU us/request",
            "peak MiB",
            "reordered",
        ]);
        for &kind in kinds.iter().filter(|&&kind| runs.contains_key(&(passage, kind))) {
            let cell = |value: fn(&Measured) -> f64, digits: usize| shown(of(passage, kind, value), digits);
            table.row(vec![
                kind.to_string(),
                cell(|run| run.megabytes_per_second, 0),
                cell(|run| run.requests_per_second, 0),
                cell(|run| run.p50_ms, 2),
                cell(|run| run.p99_ms, 2),
                cell(|run| run.cpu_per_gigabyte, 2),
                cell(|run| run.micros_per_request, 1),
                cell(|run| run.peak_mebibytes, 0),
                cell(|run| run.reordered, 0),
            ]);
        }
        text.extend(["\n#### ", passage.name, "\n\n", &table.render()]);
    }
    text
}
