//! What it costs senders that somebody looks at records, beside nobody doing so: watches, and taps with a query that takes as long as
//! one can.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rig::send::SendSettings;

use crate::Failure;
use crate::load::{CONNECTIONS, STREAMS, Size};
use crate::proxy::{Proxy, Tuning};
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::wire::Passage;

const SIZE: Size = Size { name: "110 kB", entries: 10, records: 38, record_bytes: 283, requests: 8000 };

/// Requests in a second: a part of what one core could take, so that the latency is that of a request and not of a queue.
const RATE: f64 = 400.0;

/// The most taps at a time.
const TAPS: usize = 16;

/// Who looks.
const CASES: [(&str, &str, usize); 4] = [
    ("nobody", "", 0),
    (
        "a watch for `level:error service:api`",
        "{ name: a, query: 'level:error service:api', above: 1 in 1h }",
        0,
    ),
    ("a watch for a text in the body", "{ name: a, query: '\"connection refused\"', above: 1 in 1h }", 0),
    ("16 taps with a query of 100 conditions with wildcards", "", TAPS),
];

/// How long everything may take to be delivered.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct LookingArguments {
    /// Runs of each case; medians are shown.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Send this part of the usual number of requests.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

impl LookingArguments {
    /// All of it.
    pub(crate) fn all(scale: f64) -> Self {
        Self { runs: 3, scale }
    }
}

/// One run.
struct Cost {
    cpu_per_gigabyte: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &LookingArguments) -> Result<String, Failure> {
    let size = SIZE.scaled(arguments.scale);
    let mut costs = CASES.map(|_| Vec::new());
    // In turn, so that what else the machine does is spread over all.
    for run in 0..arguments.runs {
        for ((name, watch, taps), costs) in CASES.into_iter().zip(&mut costs) {
            let cost = measure(rig, size, watch, taps)?;
            let Cost { cpu_per_gigabyte, p50_ms, p99_ms } = cost;
            eprintln!(
                "run {}/{} {name}: {cpu_per_gigabyte:.2} CPU s/GB, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms",
                run + 1,
                arguments.runs
            );
            costs.push(cost);
        }
    }
    let of = |costs: &[Cost], of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
    let cpu = costs.each_ref().map(|costs| of(costs, |cost| cost.cpu_per_gigabyte));
    let mut table = Table::new(&["who looks", "CPU s/GB", "ratio", "p50 ms", "p99 ms"]);
    for (((name, ..), costs), cost) in CASES.into_iter().zip(&costs).zip(cpu) {
        let (p50, p99) = (of(costs, |cost| cost.p50_ms), of(costs, |cost| cost.p99_ms));
        table.row(vec![
            name.to_owned(),
            format!("{cost:.2}"),
            format!("{:.2}", cost / cpu[0]),
            format!("{p50:.2}"),
            format!("{p99:.2}"),
        ]);
    }
    Ok(format!(
        "## Looking at records\n\n\
         What watches and taps cost. {CONNECTIONS} connections, {RATE} requests a second, logs of {STREAMS} streams in requests of \
         110 kB with {} entries, {} requests a run. Medians of {} interleaved runs.\n\n{}",
        size.entries,
        size.requests,
        arguments.runs,
        table.render()
    ))
}

fn measure(rig: &Rig, size: Size, watch: &str, taps: usize) -> Result<Cost, Failure> {
    let sink = rig.start_sink(Passage::PLAIN.outgoing)?;
    let tuning =
        Tuning { blocks: format!("tap: {{ open: true }}\nwatches: [{watch}]\n"), ..Tuning::default() };
    let (proxy, _) = Proxy::start_tuned(&rig.sluice, sink.addr(), &rig.certificates, &tuning)?;
    // They end with the proxy.
    for _ in 0..taps {
        open_tap(proxy.admin)?;
    }
    let load = |size: Size| SendSettings { rate: Some(RATE), ..size.load(format!("http://{}", proxy.addr)) };
    let warm_up = rig.run_load(load(size.scaled(0.05)))?;
    rig.wait_for_records(&sink, warm_up.records, PATIENCE)?;
    let before = proxy.cpu()?;
    let report = rig.run_load(load(size))?;
    rig.wait_for_records(&sink, warm_up.records + report.records, PATIENCE)?;
    let cpu = proxy.cpu()? - before;
    let counts = sink.counts();
    if !report.all_taken() || counts.missing + counts.duplicates + counts.reordered > 0 {
        return Err(format!("something was lost or reordered: {report}\n{counts:?}").into());
    }
    let latency = report.latency_ms.ok_or("no request has ended")?;
    Ok(Cost { cpu_per_gigabyte: cpu / (report.bytes as f64 / 1e9), p50_ms: latency.p50, p99_ms: latency.p99 })
}

/// Opens a tap, and reads what it says for as long as it says anything.
fn open_tap(admin: SocketAddr) -> Result<(), Failure> {
    let conditions: Vec<String> = (0..100).map(|nth| format!("body:*e?e*t?t*q?{nth}*")).collect();
    let query = utf8_percent_encode(&conditions.join(" OR "), NON_ALPHANUMERIC).to_string();
    let mut tap = TcpStream::connect(admin)?;
    write!(tap, "GET /api/v1/tap?query={query} HTTP/1.1\r\nHost: {admin}\r\n\r\n")?;
    let mut buffer = [0; 4096];
    let read = tap.read(&mut buffer)?;
    if !buffer[..read].starts_with(b"HTTP/1.1 200") {
        return Err(format!("no tap: {}", String::from_utf8_lossy(&buffer[..read])).into());
    }
    std::thread::spawn(move || while tap.read(&mut buffer).is_ok_and(|read| read > 0) {});
    Ok(())
}
