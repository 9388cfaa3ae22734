//! An upstream that hangs while senders push as hard as they can: memory stays bounded, and in the end nothing that
//! was acknowledged is missing.

use std::time::Duration;

use clap::Args;
use rig::send::SendSettings;
use rig::sink::Fault;

use crate::Failure;
use crate::proxy::Kind;
use crate::rig::Rig;
use crate::wire::Passage;

const CONNECTIONS: usize = 64;
const STREAMS: usize = 1_000;

/// The largest memory that may be used: `limits.memory` (512 MiB unless configured), and what comes on top.
const BOUND: usize = (512 << 20) + (64 << 20) + (16 << 10) * CONNECTIONS + (6 << 10) * STREAMS;

#[derive(Args)]
pub(crate) struct StalledArguments {
    /// For how long senders push.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

impl Default for StalledArguments {
    fn default() -> Self {
        Self { seconds: 15 }
    }
}

/// Pushes, lets the upstream recover, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &StalledArguments) -> Result<String, Failure> {
    let sink = rig.start_sink(Passage::PLAIN.outgoing)?;
    sink.set_fault(Fault::hang());
    let proxy = rig.start_proxy(Kind::Sluice, Passage::PLAIN, &sink)?.ok_or("Sluice is a process")?;
    let report = rig.run_load(SendSettings {
        streams: STREAMS,
        entries: 10,
        records: 38,
        record_bytes: 283,
        connections: CONNECTIONS,
        duration: Some(Duration::from_secs(arguments.seconds)),
        ..SendSettings::new(format!("http://{}", proxy.addr))
    })?;
    let memory = proxy.memory();
    sink.clear_faults();
    rig.wait_for_records(&sink, report.records, Duration::from_secs(180))?;

    let counts = sink.counts();
    if !counts.in_order() || counts.records - counts.duplicates != report.records {
        return Err(format!("what was acknowledged is not what arrived: {report}\n{counts:?}").into());
    }
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    Ok(format!(
        "## Stalled upstream\n\n\
         The upstream reads and never answers; {CONNECTIONS} senders push requests of 110 kB to {STREAMS} streams for \
         {} s, without a pause after a refusal.\n\n\
         - accepted: {} requests, {:.0} MB; refused: {:?}\n\
         - peak memory: {:.0} MiB; the limit of 512 MiB allows for {:.0} MiB in all\n\
         - once the upstream answered again, every accepted record arrived, in order\n",
        arguments.seconds,
        report.requests,
        report.bytes as f64 / 1e6,
        report.failures,
        mebibytes(memory.peak),
        mebibytes(BOUND as u64),
    ))
}
