//! Many live streams at a time: what they take, and whether they come to rest.

use std::time::Duration;

use clap::Args;
use rig::send::SendSettings;

use crate::Failure;
use crate::proxy::Kind;
use crate::rig::Rig;
use crate::wire::Passage;

/// How long the process is watched after the last upstream answer.
const WINDOW: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct StreamsArguments {
    /// Live streams, a multiple of 10.
    #[arg(long, default_value_t = 100_000)]
    streams: usize,
}

impl Default for StreamsArguments {
    fn default() -> Self {
        Self { streams: 100_000 }
    }
}

/// Sends one small entry to each stream, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &StreamsArguments) -> Result<String, Failure> {
    let sink = rig.start_sink(Passage::PLAIN.outgoing)?;
    let proxy = rig.start_proxy(Kind::Sluice, Passage::PLAIN, &sink)?.ok_or("Sluice is a process")?;
    let (cpu_start, empty) = (proxy.cpu()?, proxy.memory());
    // One connection, so that every stream gets exactly one entry.
    let report = rig.run_load(SendSettings {
        streams: arguments.streams,
        entries: 10,
        records: 1,
        record_bytes: 240,
        connections: 1,
        requests: Some(arguments.streams as u64 / 10),
        ..SendSettings::new(format!("http://{}", proxy.addr))
    })?;
    rig.wait_for_records(&sink, report.records, Duration::from_secs(120))?;
    let (cpu_delivered, full) = (proxy.cpu()?, proxy.memory());
    rig.wait(WINDOW);
    let cpu_first = proxy.cpu()?;
    rig.wait(WINDOW);
    let (cpu_second, rest) = (proxy.cpu()?, proxy.memory());

    let counts = sink.counts();
    if !report.all_taken() || !counts.in_order() || counts.streams != report.records {
        return Err(format!("not everything was delivered in order: {report}\n{counts:?}").into());
    }
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let per_stream = (full.peak - empty.resident.min(full.peak)) as f64 / counts.streams as f64 / 1024.0;
    Ok(format!(
        "## {} live streams\n\n\
         One entry of one record each, {} upstream requests, all delivered in order.\n\n\
         - peak memory: {:.0} MiB, {per_stream:.1} KiB for each stream; resident 4 s later: {:.0} MiB\n\
         - CPU until all was delivered: {:.2} s; in the {WINDOW:?} after the last upstream answer: {:.2} s; \
         in the {WINDOW:?} after that: {:.2} s\n",
        counts.streams,
        counts.requests,
        mebibytes(full.peak),
        mebibytes(rest.resident),
        cpu_delivered - cpu_start,
        cpu_first - cpu_delivered,
        cpu_second - cpu_first,
    ))
}
