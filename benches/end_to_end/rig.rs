//! Load generator and upstream, on threads of their own, so that the cost of each can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rig::send::{Load, Report, SendSettings};
use rig::sink::{Sink, SinkSettings};
use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::certificates::Certificates;
use crate::process;
use crate::proxy::{Kind, Proxy};
use crate::wire::{Passage, Wire};

const SEND: &str = "bench-send";
const SINK: &str = "bench-sink";

/// Two runtimes, and where the proxies are.
pub(crate) struct Rig {
    send: Runtime,
    sink: Runtime,
    pub(crate) sluice: PathBuf,
    pub(crate) certificates: Certificates,
}

impl Rig {
    pub(crate) fn new(sluice: PathBuf) -> Result<Self, Failure> {
        Ok(Self { send: runtime(SEND)?, sink: runtime(SINK)?, sluice, certificates: Certificates::new()? })
    }

    /// A fresh upstream for what comes on `wire`.
    pub(crate) fn start_sink(&self, wire: Wire) -> Result<Sink, Failure> {
        let tls = wire.tls.then(|| self.certificates.server());
        Ok(self.sink.block_on(Sink::start(SinkSettings { tls, ..SinkSettings::default() }))?)
    }

    /// An upstream that comes up at an address where there was none.
    pub(crate) fn start_sink_at(&self, listen: SocketAddr) -> Result<Sink, Failure> {
        Ok(self.sink.block_on(Sink::start(SinkSettings { listen, ..SinkSettings::default() }))?)
    }

    /// Starts a proxy in front of `sink`; nothing for [`Kind::Direct`].
    pub(crate) fn start_proxy(
        &self,
        kind: Kind,
        passage: Passage,
        sink: &Sink,
    ) -> Result<Option<Proxy>, Failure> {
        if kind == Kind::Direct {
            return Ok(None);
        }
        let program = kind.program(&self.sluice).ok_or_else(|| format!("{kind} is not installed"))?;
        Proxy::start(kind, &program, sink.addr(), passage, &self.certificates, "").map(Some)
    }

    /// Starts Sluice in front of `sink`, with `more` in its configuration.
    pub(crate) fn start_sluice(&self, passage: Passage, sink: &Sink, more: &str) -> Result<Proxy, Failure> {
        Proxy::start(Kind::Sluice, &self.sluice, sink.addr(), passage, &self.certificates, more)
    }

    /// Starts a load.
    pub(crate) fn start_load(&self, settings: SendSettings) -> Result<Load, Failure> {
        let _context = self.send.enter();
        Ok(Load::start(settings)?)
    }

    /// Runs a load to its end.
    pub(crate) fn run_load(&self, settings: SendSettings) -> Result<Report, Failure> {
        let load = self.start_load(settings)?;
        self.finish_load(load)
    }

    /// Waits for the end of a load.
    pub(crate) fn finish_load(&self, load: Load) -> Result<Report, Failure> {
        // On a worker, so that the thread that waits here has no part in it.
        Ok(self.send.block_on(self.send.spawn(load.finish()))?)
    }

    /// Waits until the sink has `records` different records.
    pub(crate) fn wait_for_records(
        &self,
        sink: &Sink,
        records: u64,
        within: Duration,
    ) -> Result<(), Failure> {
        self.sink.block_on(sink.wait_for_records(records, within))?;
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: Duration) {
        self.send.block_on(async { tokio::time::sleep(time).await });
    }

    /// CPU seconds of the load generator and of the upstream so far.
    pub(crate) fn own_cpu() -> (f64, f64) {
        (process::cpu_of_threads(SEND), process::cpu_of_threads(SINK))
    }
}

fn runtime(name: &str) -> Result<Runtime, Failure> {
    Ok(Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build()?)
}
