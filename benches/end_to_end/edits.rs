//! What the processors of a route cost, beside the same route without.

use std::time::Duration;

use clap::Args;

use crate::Failure;
use crate::load::{CONNECTIONS, STREAMS, Size};
use crate::proxy::{Proxy, Tuning};
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::wire::Passage;

const SIZE: Size = Size { name: "110 kB", entries: 10, records: 38, record_bytes: 283, requests: 20_000 };

/// What is done, and the settings of the processor that does it.
const CASES: [(&str, &str, &str); 5] = [
    ("nothing", "", ""),
    (
        "`upsert` of one attribute of the resource",
        "resource",
        "attributes: [{ key: deployment.environment.name, value: production, action: upsert }]",
    ),
    (
        "`upsert` of one attribute of each log record, which is new",
        "attributes",
        "actions: [{ key: deployment.environment.name, value: production, action: upsert }]",
    ),
    (
        "`update` of one attribute of each log record",
        "attributes",
        "actions: [{ key: http.request.method, value: '***', action: update }]",
    ),
    (
        "`delete` of one attribute of each log record",
        "attributes",
        "actions: [{ key: http.request.method, action: delete }]",
    ),
];

/// How long everything may take to be delivered.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct EditsArguments {
    /// Runs of each case; medians are shown.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Send this part of the usual number of requests.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

impl EditsArguments {
    /// All of it.
    pub(crate) fn all(scale: f64) -> Self {
        Self { runs: 5, scale }
    }
}

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &EditsArguments) -> Result<String, Failure> {
    let size = SIZE.scaled(arguments.scale);
    let mut costs = CASES.map(|_| Vec::new());
    // In turn, so that what else the machine does is spread over all.
    for run in 0..arguments.runs {
        for ((name, r#type, settings), costs) in CASES.into_iter().zip(&mut costs) {
            let cost = measure(rig, size, r#type, settings)?;
            eprintln!("run {}/{} {name}: {cost:.2} CPU s/GB", run + 1, arguments.runs);
            costs.push(cost);
        }
    }
    let costs = costs.map(median);
    let mut table = Table::new(&["what is done", "CPU s/GB", "ratio"]);
    for ((name, ..), cost) in CASES.into_iter().zip(costs) {
        table.row(vec![name.to_owned(), format!("{cost:.2}"), format!("{:.2}", cost / costs[0])]);
    }
    Ok(format!(
        "## Edits\n\n\
         What the processors of a route cost. {CONNECTIONS} connections, closed loop, logs of {STREAMS} streams in requests of 110 kB \
         with {} entries, {} requests a run. Medians of {} interleaved runs.\n\n{}",
        size.entries,
        size.requests,
        arguments.runs,
        table.render()
    ))
}

/// CPU seconds for each GB that is sent.
fn measure(rig: &Rig, size: Size, r#type: &str, settings: &str) -> Result<f64, Failure> {
    let sink = rig.start_sink(Passage::PLAIN.outgoing)?;
    let tuning = if r#type.is_empty() {
        Tuning::default()
    } else {
        Tuning {
            blocks: format!("processors: {{ {type}: {{ {settings} }} }}\n"),
            route: format!("processors: [{type}]"),
            ..Tuning::default()
        }
    };
    let (proxy, _) = Proxy::start_tuned(&rig.sluice, sink.addr(), &rig.certificates, &tuning)?;
    let load = size.load(format!("http://{}", proxy.addr));
    let warm_up = rig.run_load(size.scaled(0.05).load(format!("http://{}", proxy.addr)))?;
    rig.wait_for_records(&sink, warm_up.records, PATIENCE)?;
    let before = proxy.cpu()?;
    let report = rig.run_load(load)?;
    rig.wait_for_records(&sink, warm_up.records + report.records, PATIENCE)?;
    let cpu = proxy.cpu()? - before;
    let counts = sink.counts();
    if !report.all_taken() || counts.missing + counts.duplicates + counts.reordered > 0 {
        return Err(format!("something was lost or reordered: {report}\n{counts:?}").into());
    }
    Ok(cpu / (report.bytes as f64 / 1e9))
}
