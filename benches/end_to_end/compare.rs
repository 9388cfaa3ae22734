//! What passing the same requests through costs, beside `HAProxy` and nginx.

use std::collections::HashMap;

use crate::load::{CONNECTIONS, Measured, STREAMS, Size, measure, some};
use crate::proxy::Kind;
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::wire::Passage;
use crate::{CompareArguments, Failure};

/// The request sizes.
const SIZES: [Size; 4] = [
    Size { name: "1 MB", entries: 10, records: 350, record_bytes: 283, requests: 2_500 },
    Size { name: "110 kB", entries: 10, records: 38, record_bytes: 283, requests: 20_000 },
    Size { name: "2.9 kB", entries: 1, records: 10, record_bytes: 275, requests: 150_000 },
    Size { name: "0.4 kB", entries: 1, records: 1, record_bytes: 240, requests: 150_000 },
];

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &CompareArguments) -> Result<String, Failure> {
    let wanted = |kind: &Kind| match &arguments.only[..] {
        [] => *kind == Kind::Direct || kind.program(&rig.sluice).is_some(),
        only => only.contains(kind),
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    let asked = |size: &Size| arguments.size.as_ref().is_none_or(|part| size.name.contains(part));
    let sizes: Vec<Size> = SIZES.into_iter().filter(asked).collect();
    some("--size", arguments.size.as_deref(), &sizes, SIZES.map(|size| size.name))?;
    let mut section = format!(
        "## Passing requests through\n\n{CONNECTIONS} connections, closed loop, logs of {STREAMS} streams without \
         compression. Medians of {} interleaved runs. CPU is that of the proxy alone, read when everything accepted \
         had been delivered.\n",
        arguments.runs
    );
    for size in sizes {
        let size = size.scaled(arguments.scale);
        let mut runs: HashMap<Kind, Vec<Measured>> = HashMap::new();
        for run in 0..arguments.runs {
            for &kind in &kinds {
                let measured = measure(rig, kind, Passage::PLAIN, size)?;
                eprintln!(
                    "{} run {}/{} {kind}: {:.0} MB/s, {:.2} CPU s/GB, {:.1} CPU us/request",
                    size.name,
                    run + 1,
                    arguments.runs,
                    measured.megabytes_per_second,
                    measured.cpu_per_gigabyte,
                    measured.micros_per_request
                );
                runs.entry(kind).or_default().push(measured);
            }
        }
        section += &render(size, &kinds, &runs);
    }
    Ok(section)
}

fn render(size: Size, kinds: &[Kind], runs: &HashMap<Kind, Vec<Measured>>) -> String {
    let of = |kind: Kind, value: fn(&Measured) -> f64| {
        runs.get(&kind).map(|runs| median(runs.iter().map(value).collect()))
    };
    let mut table = Table::new(&[
        "",
        "MB/s",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU s/GB",
        "CPU us/request",
        "x HAProxy",
        "peak MiB",
        "(send us)",
        "(sink us)",
    ]);
    let baseline = of(Kind::Haproxy, |run| run.micros_per_request);
    for &kind in kinds {
        let cell = |value: fn(&Measured) -> f64, digits: usize| {
            of(kind, value).map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        let of_proxy = |value: fn(&Measured) -> f64, digits: usize| {
            if kind == Kind::Direct { "-".to_owned() } else { cell(value, digits) }
        };
        let ratio = match (baseline, of(kind, |run| run.micros_per_request)) {
            (Some(baseline), Some(own)) if kind != Kind::Direct => format!("{:.2}", own / baseline),
            _ => "-".to_owned(),
        };
        table.row(vec![
            kind.to_string(),
            cell(|run| run.megabytes_per_second, 0),
            cell(|run| run.requests_per_second, 0),
            cell(|run| run.p50_ms, 2),
            cell(|run| run.p99_ms, 2),
            of_proxy(|run| run.cpu_per_gigabyte, 2),
            of_proxy(|run| run.micros_per_request, 1),
            ratio,
            of_proxy(|run| run.peak_mebibytes, 0),
            cell(|run| run.send_micros, 1),
            cell(|run| run.sink_micros, 1),
        ]);
    }
    let Size { name, entries, records, requests, .. } = size;
    let bytes = entries * records;
    format!(
        "\n### {name} requests ({entries} entries, {bytes} records; {requests} requests a run)\n\n{}",
        table.render()
    )
}
