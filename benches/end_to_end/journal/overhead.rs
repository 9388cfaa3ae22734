//! Acknowledging with the journal and without, beside what the disk itself takes.

use std::collections::HashMap;

use rig::send::SendSettings;

use super::disk::{self, Syncs};
use super::{JournalArguments, SIZES, Sync, directory};
use crate::Failure;
use crate::load::{CONNECTIONS, Measured, STREAMS, Size, measure_through, some};
use crate::proxy::{Kind, Proxy};
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::wire::Passage;

/// Writes of the disk by itself, in each run.
const WRITES: usize = 1_000;

/// The same for writes that are as large as a group of requests.
const LARGE_WRITES: usize = 200;

/// What is measured of each size.
const CASES: [(Sync, Load); 6] = [
    (Sync::Off, Load::Closed),
    (Sync::Always, Load::Closed),
    (Sync::Interval, Load::Closed),
    (Sync::Never, Load::Closed),
    (Sync::Off, Load::Paced),
    (Sync::Always, Load::Paced),
];

/// This part of the requests goes ahead: the journal has then used all its files once, as it has in the long run.
const WARM_UP: u64 = 4;

/// How the senders send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Load {
    /// As fast as they are answered. That is as fast as the core can: latency is a queue for it.
    Closed,
    /// At a rate that leaves the core time, and counted from when a request was due: latency is the journal's.
    Paced,
}

/// What was measured of one size.
#[derive(Default)]
struct Runs {
    sluice: HashMap<(Sync, Load), Vec<Measured>>,
    /// The median and the 99th percentile in milliseconds.
    disk: HashMap<Write, Vec<(f64, f64)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Write {
    Appended,
    Block,
    Group,
}

pub(super) fn run(rig: &Rig, arguments: &JournalArguments) -> Result<String, Failure> {
    let asked = |size: &Size| arguments.size.as_ref().is_none_or(|part| size.name.contains(part));
    let sizes: Vec<Size> = SIZES.into_iter().filter(asked).collect();
    some("--size", arguments.size.as_deref(), &sizes, SIZES.map(|size| size.name))?;
    let mut section = format!(
        "\n### Acknowledging\n\n\
         {CONNECTIONS} connections, logs of {STREAMS} streams; Sluice on one core. In a closed loop senders send as fast as \
         they are answered, so that latency is a queue for that core; at a rate it counts from when a request was due. \
         Medians of {} interleaved runs. `x off` is CPU beside the same without a journal in the same run, `x fdatasync` the 99th percentile of the acknowledgement \
         beside that of the disk with 4 KiB: written past the page cache into a file that was written before, as the \
         journal writes.\n",
        arguments.runs
    );
    for size in sizes.into_iter().map(|size| size.scaled(arguments.scale)) {
        let mut runs = Runs::default();
        for run in 0..arguments.runs {
            for (sync, load) in CASES {
                let measured = measure(rig, sync, load, size)?;
                eprintln!(
                    "{} run {}/{} journal {sync}, {load:?}: {:.0} MB/s, p99 {:.2} ms, {:.2} CPU s/GB",
                    size.name,
                    run + 1,
                    arguments.runs,
                    measured.megabytes_per_second,
                    measured.p99_ms,
                    measured.cpu_per_gigabyte,
                );
                runs.sluice.entry((sync, load)).or_default().push(measured);
            }
            measure_disk(size, &mut runs)?;
        }
        section += &render(size, &runs);
    }
    Ok(section)
}

fn measure(rig: &Rig, sync: Sync, load: Load, size: Size) -> Result<Measured, Failure> {
    let directory = directory()?;
    let sink = rig.start_sink(Passage::PLAIN.outgoing)?;
    let tuning = sync.tuning(directory.path());
    let (proxy, _) = Proxy::start_tuned(&rig.sluice, sink.addr(), &rig.certificates, &tuning)?;
    let rate = (load == Load::Paced).then(|| pace(size) * 1e6 / request(size) as f64);
    let settings = SendSettings { rate, ..size.load(format!("http://{}", proxy.addr)) };
    measure_through(rig, Kind::Sluice, Some(&proxy), &sink, settings, size.requests / WARM_UP)
}

/// MB/s that are asked for where senders don't send as fast as they can.
fn pace(size: Size) -> f64 {
    if request(size) < 10_000 { 15.0 } else { 150.0 }
}

/// Bytes of a request, about.
fn request(size: Size) -> usize {
    size.entries * size.records * size.record_bytes
}

/// About what the journal writes at a time: while one half of the senders waits for its group, the other half sends.
fn group(size: Size) -> usize {
    CONNECTIONS / 2 * request(size)
}

fn measure_disk(size: Size, runs: &mut Runs) -> Result<(), Failure> {
    let directory = directory()?;
    let mut note = |write: Write, syncs: &Syncs| {
        let (p50, p99) = (syncs.percentile(0.5), syncs.percentile(0.99));
        eprintln!("{} disk, {write:?}: p50 {p50:.2} ms, p99 {p99:.2} ms", size.name);
        runs.disk.entry(write).or_default().push((p50, p99));
    };
    note(Write::Appended, &disk::appending(directory.path(), WRITES)?);
    note(Write::Block, &disk::as_the_journal(directory.path(), 1, WRITES)?);
    note(Write::Group, &disk::as_the_journal(directory.path(), group(size), LARGE_WRITES)?);
    Ok(())
}

fn render(size: Size, runs: &Runs) -> String {
    let disk = |write: Write| {
        let runs = &runs.disk[&write];
        let median_of = |value: fn(&(f64, f64)) -> f64| median(runs.iter().map(value).collect());
        (median_of(|(p50, _)| *p50), median_of(|(_, p99)| *p99))
    };
    let mut table = Table::new(&[
        "`sync`",
        "load",
        "MB/s",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "x fdatasync",
        "CPU s/GB",
        "x off",
        "peak MiB",
    ]);
    for (sync, load) in CASES {
        let of = |sync: Sync, value: fn(&Measured) -> f64| {
            median(runs.sluice[&(sync, load)].iter().map(value).collect())
        };
        let p99 = of(sync, |run| run.p99_ms);
        // In each run for itself: how fast the machine is changes more than this.
        let beside = runs.sluice[&(sync, load)].iter().zip(&runs.sluice[&(Sync::Off, load)]);
        let times_off = beside.map(|(run, off)| run.cpu_per_gigabyte / off.cpu_per_gigabyte).collect();
        table.row(vec![
            sync.to_string(),
            match load {
                Load::Closed => "closed loop".to_owned(),
                Load::Paced => format!("{:.0} MB/s", pace(size)),
            },
            format!("{:.0}", of(sync, |run| run.megabytes_per_second)),
            format!("{:.0}", of(sync, |run| run.requests_per_second)),
            format!("{:.2}", of(sync, |run| run.p50_ms)),
            format!("{p99:.2}"),
            format!("{:.2}", p99 / disk(Write::Block).1),
            format!("{:.2}", of(sync, |run| run.cpu_per_gigabyte)),
            format!("{:.2}", median(times_off)),
            format!("{:.0}", of(sync, |run| run.peak_mebibytes)),
        ]);
    }
    let mut own = Table::new(&["the disk: a write and its `fdatasync`", "p50 ms", "p99 ms"]);
    for (write, name) in [
        (Write::Block, "4 KiB, as the journal writes".to_owned()),
        (Write::Group, format!("{} KiB, as the journal writes a group", group(size) / 1024)),
        (Write::Appended, "4 KiB, appended to a plain file".to_owned()),
    ] {
        let (p50, p99) = disk(write);
        own.row(vec![name, format!("{p50:.2}"), format!("{p99:.2}")]);
    }
    let Size { name, entries, requests, .. } = size;
    format!(
        "\n#### {name} requests ({entries} entries; {requests} requests a run)\n\n{}\n{}",
        table.render(),
        own.render()
    )
}
