//! One load through one proxy, and what it took.

use std::time::Duration;

use rig::send::SendSettings;
use rig::sink::Sink;

use crate::Failure;
use crate::proxy::{Kind, Proxy};
use crate::rig::Rig;
use crate::wire::{Passage, Wire};

/// Connections of the load generator, each with one request at a time.
pub(crate) const CONNECTIONS: usize = 16;
/// Streams of the load, each of which a Collector that routes has an exporter for.
pub(crate) const STREAMS: usize = 10;
/// Everything accepted must arrive in this time after the last answer.
const DELIVERY: Duration = Duration::from_secs(60);

/// A request size, and how many requests make a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) entries: usize,
    pub(crate) records: usize,
    pub(crate) record_bytes: usize,
    pub(crate) requests: u64,
}

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) megabytes_per_second: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_per_gigabyte: f64,
    pub(crate) micros_per_request: f64,
    pub(crate) peak_mebibytes: f64,
    /// Records that came after a later one of their stream and sender.
    pub(crate) reordered: f64,
    /// Load generator and upstream, in microseconds per request.
    pub(crate) send_micros: f64,
    pub(crate) sink_micros: f64,
}

/// An error unless something is `chosen`: what was asked for, and what there is.
pub(crate) fn some<T, const N: usize>(
    option: &str,
    asked: Option<&str>,
    chosen: &[T],
    all: [&str; N],
) -> Result<(), Failure> {
    match chosen {
        [] => {
            let (asked, all) = (asked.unwrap_or_default(), all.join("`, `"));
            Err(format!("nothing matches {option} `{asked}`: write a part of `{all}`").into())
        }
        _ => Ok(()),
    }
}

impl Size {
    /// The same with this part of the requests.
    pub(crate) fn scaled(self, scale: f64) -> Self {
        Self { requests: ((self.requests as f64 * scale) as u64).max(1), ..self }
    }

    /// The load that sends them to `endpoint`.
    pub(crate) fn load(self, endpoint: String) -> SendSettings {
        SendSettings {
            streams: STREAMS,
            share_streams: true,
            entries: self.entries,
            records: self.records,
            record_bytes: self.record_bytes,
            connections: CONNECTIONS,
            requests: Some(self.requests),
            timeout: Duration::from_secs(60),
            // A proxy may refuse what it has no room for; it is then charged with the next attempt, too.
            retry: true,
            ..SendSettings::new(endpoint)
        }
    }
}

/// Sends one load through a proxy, to an upstream that checks it.
pub(crate) fn measure(rig: &Rig, kind: Kind, passage: Passage, size: Size) -> Result<Measured, Failure> {
    let sink = rig.start_sink(passage.outgoing)?;
    let proxy = rig.start_proxy(kind, passage, &sink)?;
    let target = proxy.as_ref().map_or(sink.addr(), |proxy| proxy.addr);
    let Wire { protocol, encoding, compression, .. } = passage.incoming;
    let settings = SendSettings {
        protocol,
        encoding,
        compression,
        tls: rig.certificates.client(),
        ..size.load(format!("{}://{target}", passage.incoming.scheme()))
    };
    measure_through(rig, kind, proxy.as_ref(), &sink, settings, size.requests / 20)
}

/// The same for a proxy that runs, in front of `sink`, after so many requests that don't count.
pub(crate) fn measure_through(
    rig: &Rig,
    kind: Kind,
    proxy: Option<&Proxy>,
    sink: &Sink,
    settings: SendSettings,
    warm_up: u64,
) -> Result<Measured, Failure> {
    let cpu = || proxy.map_or(Ok(0.0), Proxy::cpu);
    let warm_up = rig.run_load(SendSettings { requests: Some(warm_up.max(1)), ..settings.clone() })?;
    rig.wait_for_records(sink, warm_up.records, DELIVERY)?;
    let (cpu_before, (send_before, sink_before)) = (cpu()?, Rig::own_cpu());

    let report = rig.run_load(settings)?;
    rig.wait_for_records(sink, warm_up.records + report.records, DELIVERY)?;
    let (cpu_after, (send_after, sink_after)) = (cpu()?, Rig::own_cpu());

    let counts = sink.counts();
    let sent = warm_up.bytes + report.bytes;
    let in_order = counts.reordered == 0 || kind.reorders();
    let unchanged = in_order && counts.missing == 0 && counts.duplicates == 0 && counts.bytes >= sent;
    if !report.all_taken() || (!unchanged && !kind.changes()) {
        return Err(format!("{kind} lost, changed or reordered something: {report}\n{counts:?}").into());
    }
    if !report.retries.is_empty() {
        eprintln!("{kind} refused requests, which were sent again: {:?}", report.retries);
    }
    let cpu = cpu_after - cpu_before;
    let requests = report.requests as f64;
    let latency = report.latency_ms.ok_or("no request has ended")?;
    Ok(Measured {
        megabytes_per_second: report.megabytes_per_second,
        requests_per_second: report.requests_per_second,
        p50_ms: latency.p50,
        p99_ms: latency.p99,
        cpu_per_gigabyte: cpu / (report.bytes as f64 / 1e9),
        micros_per_request: cpu * 1e6 / requests,
        peak_mebibytes: proxy.map_or(0.0, |proxy| proxy.memory().peak as f64 / 1_048_576.0),
        reordered: counts.reordered as f64,
        send_micros: (send_after - send_before) * 1e6 / requests,
        sink_micros: (sink_after - sink_before) * 1e6 / requests,
    })
}
