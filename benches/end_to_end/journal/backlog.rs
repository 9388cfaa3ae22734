//! The upstream is away while a backlog grows on disk, and comes back: how fast it is taken in, and read back.

use std::time::Duration;

use rig::send::SendSettings;
use tokio::time::Instant;

use super::{JournalArguments, SIZES, Sync, directory};
use crate::Failure;
use crate::load::{CONNECTIONS, Size};
use crate::proxy::{Proxy, Tuning, free_address};
use crate::rig::Rig;
use crate::table::{Table, median};

/// So little memory that the backlog is on disk.
const MEMORY: &str = "limits: { memory: 128MiB }\n";

/// Bytes of each backlog, in GB.
const GIGABYTES: f64 = 1.0;

/// The backlog must be delivered in this time.
const DELIVERY: Duration = Duration::from_secs(120);

/// Who has the backlog, and whether the process that took it in dies before it is delivered.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    size: Size,
    streams: usize,
    killed: bool,
}

const CASES: [Case; 4] = [
    Case { name: "1 stream, 110 kB", size: SIZES[1], streams: 1, killed: false },
    Case { name: "10 streams, 110 kB", size: SIZES[1], streams: 10, killed: false },
    Case { name: "10 streams, 110 kB, `kill -9` and restart", size: SIZES[1], streams: 10, killed: true },
    Case { name: "1000 streams, 2.9 kB", size: SIZES[2], streams: 1_000, killed: false },
];

/// One run.
struct Measured {
    taken_in: f64,
    read_back: f64,
    /// CPU seconds for each GB.
    cpu_in: f64,
    cpu_back: f64,
    /// Until the first record arrived, once the upstream was there.
    first: f64,
    /// Until Sluice was ready, with the backlog if it was killed.
    ready: f64,
    peak_mebibytes: f64,
}

pub(super) fn run(rig: &Rig, arguments: &JournalArguments) -> Result<String, Failure> {
    let mut table = Table::new(&[
        "",
        "in MB/s",
        "back MB/s",
        "back : in",
        "in CPU s/GB",
        "back CPU s/GB",
        "first after s",
        "ready after s",
        "peak MiB",
    ]);
    let asked = |case: &Case| arguments.size.as_ref().is_none_or(|part| case.size.name.contains(part));
    for case in CASES.into_iter().filter(asked) {
        let mut runs = Vec::new();
        for run in 0..arguments.runs {
            let measured =
                measure(rig, case, arguments.scale).map_err(|error| format!("{}: {error}", case.name))?;
            eprintln!(
                "backlog run {}/{} {}: {:.0} MB/s in, {:.0} back; CPU s/GB {:.2} and {:.2}; ready after {:.2} s",
                run + 1,
                arguments.runs,
                case.name,
                measured.taken_in,
                measured.read_back,
                measured.cpu_in,
                measured.cpu_back,
                measured.ready,
            );
            runs.push(measured);
        }
        let cell = |value: fn(&Measured) -> f64, digits: usize| {
            format!("{:.digits$}", median(runs.iter().map(value).collect()))
        };
        table.row(vec![
            case.name.to_owned(),
            cell(|run| run.taken_in, 0),
            cell(|run| run.read_back, 0),
            cell(|run| run.read_back / run.taken_in, 2),
            cell(|run| run.cpu_in, 2),
            cell(|run| run.cpu_back, 2),
            cell(|run| run.first, 2),
            cell(|run| run.ready, 2),
            cell(|run| run.peak_mebibytes, 0),
        ]);
    }
    Ok(format!(
        "\n### A backlog\n\n\
         {CONNECTIONS} connections push {:.1} GB, closed loop, while nothing listens at the upstream's address; `sync: always`, \
         `limits.memory: 128MiB`, Sluice on one core. Then the upstream comes up, and everything has to arrive, in order: \
         from the first record to the last. Medians of {} runs.\n\n{}",
        GIGABYTES * arguments.scale,
        arguments.runs,
        table.render()
    ))
}

fn measure(rig: &Rig, case: Case, scale: f64) -> Result<Measured, Failure> {
    let directory = directory()?;
    let tuning = Sync::Always.tuning(directory.path());
    let tuning = Tuning { blocks: tuning.blocks + MEMORY, ..tuning };
    let upstream = free_address()?;
    let start = || Proxy::start_tuned(&rig.sluice, upstream, &rig.certificates, &tuning);

    let Size { entries, records, record_bytes, .. } = case.size;
    let request = (entries * records * record_bytes) as f64;
    let (mut proxy, mut ready) = start()?;
    let cpu_before = proxy.cpu()?;
    let report = rig.run_load(SendSettings {
        streams: case.streams,
        requests: Some((GIGABYTES * 1e9 * scale / request) as u64),
        ..case.size.load(format!("http://{}", proxy.addr))
    })?;
    if !report.all_taken() {
        return Err(format!("not everything was taken: {report}").into());
    }
    let gigabytes = report.bytes as f64 / 1e9;
    let cpu_in = (proxy.cpu()? - cpu_before) / gigabytes;
    if case.killed {
        proxy.kill()?;
        (proxy, ready) = start()?;
    }

    let cpu_before = proxy.cpu()?;
    let back = Instant::now();
    let sink = rig.start_sink_at(upstream)?;
    rig.wait_for_records(&sink, 1, DELIVERY)?;
    let first = back.elapsed();
    rig.wait_for_records(&sink, report.records, DELIVERY)?;
    let all = back.elapsed();
    let cpu_back = (proxy.cpu()? - cpu_before) / gigabytes;

    let counts = sink.counts();
    if !counts.in_order() || counts.records - counts.duplicates != report.records {
        return Err(format!("what was acknowledged is not what arrived: {report}\n{counts:?}").into());
    }
    Ok(Measured {
        taken_in: report.megabytes_per_second,
        read_back: gigabytes * 1e3 / all.saturating_sub(first).as_secs_f64(),
        cpu_in,
        cpu_back,
        first: first.as_secs_f64(),
        ready: ready.as_secs_f64(),
        peak_mebibytes: proxy.memory().peak as f64 / 1_048_576.0,
    })
}
