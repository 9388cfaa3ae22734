//! A thousand streams whose upstream never answers them, beside a thousand of the same destination that it does answer:
//! what that does to the latency of the others.

use std::time::Duration;

use clap::Args;
use rig::send::{Report, SendSettings};
use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::Failure;
use crate::rig::Rig;
use crate::table::Table;
use crate::wire::Passage;

/// Of each kind.
const STREAMS: usize = 1_000;
/// What is asked of the healthy streams, in requests of one entry each.
const RATE: f64 = 500.0;
/// From when on hanging streams may not be noticed any more.
const NOTICED: Duration = Duration::from_secs(10);
/// A sender gets its answer when its data is delivered, so that its latency is the stream's.
const DELIVERED: &str = "acknowledge: delivered\nacknowledge_timeout: 1h\n";
/// What spans of this size have in them, and log records have not.
const OF_SPANS: &str = "sluice.filling";

#[derive(Args)]
pub(crate) struct HangingArguments {
    /// For how long latencies are measured, before and from ten seconds after the hang begins.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

impl Default for HangingArguments {
    fn default() -> Self {
        Self { seconds: 15 }
    }
}

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &HangingArguments) -> Result<String, Failure> {
    let mut table = Table::new(&["", "requests", "p50 ms", "p90 ms", "p99 ms", "x p50", "x p90", "x p99"]);
    for name in ["protobuf to protobuf", "HTTP to gRPC"] {
        let passage = Passage::ALL.into_iter().find(|passage| passage.name == name).ok_or("no passage")?;
        measure(rig, passage, Duration::from_secs(arguments.seconds), &mut table)
            .map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(format!(
        "## Hanging streams\n\n\
         {STREAMS} streams of traces are never answered; {STREAMS} of logs of the same destination are, {RATE} requests a \
         second with one entry each. Latency is from a request to its answer once the upstream has taken it \
         (`acknowledge: delivered`), the 50 ms of `flush_timeout` included. `max_in_flight` is 256, as by default; an attempt \
         that hangs ends after 10 s and is repeated.\n\n{}",
        table.render()
    ))
}

fn measure(rig: &Rig, passage: Passage, time: Duration, table: &mut Table) -> Result<(), Failure> {
    let sink = rig.start_sink(passage.outgoing)?;
    let proxy = rig.start_sluice(passage, &sink, DELIVERED)?;
    let load = |signal| SendSettings {
        protocol: passage.incoming.protocol,
        signal,
        streams: STREAMS,
        entries: 1,
        records: 1,
        timeout: Duration::from_secs(3600),
        ..SendSettings::new(format!("http://{}", proxy.addr))
    };
    let healthy = |time| {
        let (connections, rate, duration) = (250, Some(RATE), Some(time));
        rig.run_load(SendSettings { connections, rate, duration, ..load(Signal::Logs) })
    };
    healthy(Duration::from_secs(2))?;
    let unloaded = healthy(time)?;
    sink.set_fault(Fault::hang().on_text(OF_SPANS));
    let hanging = rig.start_load(SendSettings { connections: STREAMS, ..load(Signal::Traces) })?;
    let at_first = healthy(NOTICED)?;
    let beside = healthy(time)?;
    if sink.streams(Signal::Traces).values().any(|stream| stream.records > 0)
        || hanging.progress().requests > 0
    {
        return Err("a stream that was to hang was answered".into());
    }
    drop(hanging);
    for (name, report) in
        [("unloaded", &unloaded), ("in the first 10 s of the hang", &at_first), ("after that", &beside)]
    {
        table.row(row(&format!("{}: {name}", passage.name), report, &unloaded)?);
    }
    Ok(())
}

fn row(name: &str, report: &Report, unloaded: &Report) -> Result<Vec<String>, Failure> {
    if !report.all_taken() || report.unsent > 0 {
        return Err(format!("not every request of the healthy streams was taken: {report}").into());
    }
    let (Some(now), Some(then)) = (&report.latency_ms, &unloaded.latency_ms) else {
        return Err(format!("no request has ended: {report}\n{unloaded}").into());
    };
    let mut cells = vec![name.to_owned(), report.requests.to_string()];
    cells.extend([now.p50, now.p90, now.p99].iter().map(|latency| format!("{latency:.1}")));
    let ratios = [now.p50 / then.p50, now.p90 / then.p90, now.p99 / then.p99];
    cells.extend(ratios.iter().map(|ratio| format!("{ratio:.2}")));
    Ok(cells)
}
