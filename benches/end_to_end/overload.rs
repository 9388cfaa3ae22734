//! Senders that could send many times what the upstream takes: what is delivered meanwhile, beside what the upstream
//! takes of a backlog when nobody sends.

use std::time::Duration;

use clap::Args;
use rig::send::SendSettings;
use rig::sink::{Fault, Sink};
use tokio::time::Instant;

use crate::Failure;
use crate::rig::Rig;
use crate::table::Table;
use crate::wire::Passage;

/// How often the sink is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What it takes until queues are full.
const RAMP: Duration = Duration::from_secs(3);
/// Everything that was acknowledged must arrive in this time.
const DELIVERY: Duration = Duration::from_secs(60);
/// `limits.memory`, unless it is configured.
const MEMORY: u64 = 512 << 20;

#[derive(Args)]
pub(crate) struct OverloadArguments {
    /// For how long senders push, once queues are full.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

impl Default for OverloadArguments {
    fn default() -> Self {
        Self { seconds: 10 }
    }
}

/// A load and an upstream that is too slow for it.
struct Case {
    name: &'static str,
    passage: &'static str,
    connections: usize,
    streams: usize,
    /// Records in each of ten entries.
    records: usize,
    /// Before the upstream answers, so that a stream gets one batch of 512 KiB at most in this time.
    answers_after: Duration,
}

const CASES: [Case; 5] = [
    Case {
        name: "streams full, 1 MB requests",
        passage: "protobuf to protobuf",
        connections: 16,
        streams: 4,
        records: 350,
        answers_after: Duration::from_millis(50),
    },
    Case {
        name: "streams full, 110 kB requests",
        passage: "protobuf to protobuf",
        connections: 64,
        streams: 4,
        records: 38,
        answers_after: Duration::from_millis(50),
    },
    Case {
        name: "streams full, gRPC in and out",
        passage: "gRPC to gRPC",
        connections: 64,
        streams: 4,
        records: 38,
        answers_after: Duration::from_millis(50),
    },
    Case {
        name: "memory full, 1 MB requests",
        passage: "protobuf to protobuf",
        connections: 16,
        streams: 100,
        records: 350,
        answers_after: Duration::from_millis(900),
    },
    Case {
        name: "memory full, gRPC in and out",
        passage: "gRPC to gRPC",
        connections: 64,
        streams: 100,
        records: 38,
        answers_after: Duration::from_millis(1500),
    },
];

/// Runs all cases, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &OverloadArguments) -> Result<String, Failure> {
    let mut table = Table::new(&[
        "",
        "load x capacity",
        "unloaded MB/s",
        "overloaded MB/s",
        "%",
        "answered 200",
        "refused",
        "peak MiB",
        "bound MiB",
    ]);
    for case in &CASES {
        let cells = measure(rig, case, Duration::from_secs(arguments.seconds))
            .map_err(|error| format!("{}: {error}", case.name))?;
        eprintln!("{}", cells.join(", "));
        table.row(cells);
    }
    Ok(format!(
        "## Overload\n\n\
         The upstream answers every batch late, so that a stream gets at most 512 KiB in that time. Senders push as fast as \
         they are answered, and wait as long as `Retry-After` says when they are refused. Unloaded is what the upstream takes \
         of the backlog once they have stopped. Everything that was acknowledged arrived in order. How many times the \
         upstream's capacity is sent is told by an upstream that takes all.\n\n{}",
        table.render()
    ))
}

fn settings(case: &Case, passage: Passage, address: std::net::SocketAddr) -> SendSettings {
    SendSettings {
        protocol: passage.incoming.protocol,
        streams: case.streams,
        share_streams: true,
        entries: 10,
        records: case.records,
        record_bytes: 283,
        connections: case.connections,
        timeout: Duration::from_secs(20),
        retry: true,
        ..SendSettings::new(format!("http://{address}"))
    }
}

/// What arrives in a second, in MB.
fn pace(rig: &Rig, sink: &Sink, time: Duration) -> f64 {
    let (before, start) = (sink.counts().records, Instant::now());
    rig.wait(time);
    (sink.counts().records - before) as f64 * 283.0 / 1e6 / start.elapsed().as_secs_f64()
}

fn measure(rig: &Rig, case: &Case, time: Duration) -> Result<Vec<String>, Failure> {
    let passage =
        Passage::ALL.into_iter().find(|passage| passage.name == case.passage).ok_or("no passage")?;
    let sink = rig.start_sink(passage.outgoing)?;
    let proxy = rig.start_sluice(passage, &sink, "")?;
    let unhindered = {
        let load = rig.start_load(settings(case, passage, proxy.addr))?;
        rig.wait(Duration::from_millis(500));
        let possible = pace(rig, &sink, Duration::from_secs(2));
        load.stop();
        rig.wait_for_records(&sink, rig.finish_load(load)?.records, DELIVERY)?;
        possible
    };
    let before = sink.counts().records;
    sink.set_fault(Fault::none().delayed(case.answers_after));
    let load = rig.start_load(settings(case, passage, proxy.addr))?;
    rig.wait(RAMP);
    let overloaded = pace(rig, &sink, time);
    load.stop();
    // The last answers are on their way; what is queued is far more.
    rig.wait(LOOK);
    let unloaded = pace(rig, &sink, Duration::from_secs(1).max(case.answers_after * 4));
    let report = rig.finish_load(load)?;
    sink.clear_faults();
    rig.wait_for_records(&sink, before + report.records, DELIVERY)?;
    let (memory, counts) = (proxy.memory(), sink.counts());
    if !counts.in_order() || counts.duplicates > 0 || counts.records != before + report.records {
        return Err(format!("what was acknowledged is not what arrived: {report}\n{counts:?}").into());
    }
    let bound = MEMORY + (64 << 20) + ((16 << 10) * case.connections + (6 << 10) * case.streams) as u64;
    let mebibytes = |bytes: u64| format!("{:.0}", bytes as f64 / 1_048_576.0);
    let refused: u64 = report.retries.values().sum();
    Ok(vec![
        case.name.to_owned(),
        format!("{:.1}", unhindered / unloaded),
        format!("{unloaded:.0}"),
        format!("{overloaded:.0}"),
        format!("{:.0}", 100.0 * overloaded / unloaded),
        report.requests.to_string(),
        refused.to_string(),
        mebibytes(memory.peak),
        mebibytes(bound),
    ])
}
