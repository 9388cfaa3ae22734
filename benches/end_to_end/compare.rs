//! What passing the same requests through costs, beside `HAProxy` and nginx.

use std::collections::HashMap;
use std::time::Duration;

use sluice::cli::send::SendSettings;

use crate::proxy::{Kind, Proxy};
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::{CompareArguments, Failure};

/// Connections of the load generator, each with one request at a time.
const CONNECTIONS: usize = 16;
const STREAMS: usize = 10;
/// Everything accepted must arrive in this time after the last answer.
const DELIVERY: Duration = Duration::from_secs(60);

/// A request size, and how many requests make a run.
#[derive(Clone, Copy, Debug)]
struct Size {
    name: &'static str,
    entries: usize,
    records: usize,
    record_bytes: usize,
    requests: u64,
}

const SIZES: [Size; 4] = [
    Size { name: "1 MB", entries: 10, records: 350, record_bytes: 283, requests: 2_500 },
    Size { name: "110 kB", entries: 10, records: 38, record_bytes: 283, requests: 20_000 },
    Size { name: "2.9 kB", entries: 1, records: 10, record_bytes: 275, requests: 150_000 },
    Size { name: "0.4 kB", entries: 1, records: 1, record_bytes: 240, requests: 150_000 },
];

/// One run.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    megabytes_per_second: f64,
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_per_gigabyte: f64,
    micros_per_request: f64,
    peak_mebibytes: f64,
    /// Load generator and upstream, in microseconds per request.
    send_micros: f64,
    sink_micros: f64,
}

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &CompareArguments) -> Result<String, Failure> {
    let wanted = |kind: &Kind| match &arguments.only[..] {
        [] => *kind == Kind::Direct || kind.program(&rig.sluice).is_some(),
        only => only.contains(kind),
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    let mut section = format!(
        "## Passing requests through\n\n{CONNECTIONS} connections, closed loop, logs of {STREAMS} streams without \
         compression. Medians of {} interleaved runs. CPU is that of the proxy alone, read when everything accepted \
         had been delivered.\n",
        arguments.runs
    );
    for size in SIZES {
        if arguments.size.as_ref().is_some_and(|part| !size.name.contains(part)) {
            continue;
        }
        let size = Size { requests: ((size.requests as f64 * arguments.scale) as u64).max(1), ..size };
        let mut runs: HashMap<Kind, Vec<Measured>> = HashMap::new();
        for run in 0..arguments.runs {
            for &kind in &kinds {
                let measured = measure(rig, kind, size)?;
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

fn measure(rig: &Rig, kind: Kind, size: Size) -> Result<Measured, Failure> {
    let sink = rig.start_sink()?;
    let proxy = rig.start_proxy(kind, &sink)?;
    let target = proxy.as_ref().map_or(sink.addr(), |proxy| proxy.addr);
    let settings = SendSettings {
        streams: STREAMS,
        share_streams: true,
        entries: size.entries,
        records: size.records,
        record_bytes: size.record_bytes,
        connections: CONNECTIONS,
        requests: Some(size.requests),
        timeout: Duration::from_secs(60),
        // A proxy may refuse what it has no room for; it is then charged with the next attempt, too.
        retry: true,
        ..SendSettings::new(format!("http://{target}"))
    };
    let cpu = || proxy.as_ref().map_or(Ok(0.0), Proxy::cpu);

    let warm_up =
        rig.run_load(SendSettings { requests: Some((size.requests / 20).max(1)), ..settings.clone() })?;
    rig.wait_for_records(&sink, warm_up.records, DELIVERY)?;
    let (cpu_before, (send_before, sink_before)) = (cpu()?, Rig::own_cpu());

    let report = rig.run_load(settings)?;
    rig.wait_for_records(&sink, warm_up.records + report.records, DELIVERY)?;
    let (cpu_after, (send_after, sink_after)) = (cpu()?, Rig::own_cpu());

    let counts = sink.counts();
    let sent = warm_up.bytes + report.bytes;
    let unchanged = counts.in_order() && counts.duplicates == 0 && counts.bytes >= sent;
    if !report.all_taken() || (!unchanged && !kind.changes()) {
        return Err(format!("{kind} lost, changed or reordered something: {report}\n{counts:?}").into());
    }
    if !report.retries.is_empty() {
        eprintln!("{kind} refused requests, which were sent again: {:?}", report.retries);
    }
    let cpu = cpu_after - cpu_before;
    let requests = report.requests as f64;
    Ok(Measured {
        megabytes_per_second: report.megabytes_per_second,
        requests_per_second: report.requests_per_second,
        p50_ms: report.latency_ms.p50,
        p99_ms: report.latency_ms.p99,
        cpu_per_gigabyte: cpu / (report.bytes as f64 / 1e9),
        micros_per_request: cpu * 1e6 / requests,
        peak_mebibytes: proxy.map_or(0.0, |proxy| proxy.memory().peak as f64 / 1_048_576.0),
        send_micros: (send_after - send_before) * 1e6 / requests,
        sink_micros: (sink_after - sink_before) * 1e6 / requests,
    })
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
