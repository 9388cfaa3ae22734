//! Upstreams, and what has arrived at them.

use bytes::Bytes;
use rig::sink::{RecordedRequest, Sink, SinkSettings};
use sluice::otlp::Signal;

use super::{PATIENCE, payload};

/// An upstream that counts.
pub async fn counting() -> Sink {
    Sink::start(SinkSettings::default()).await.expect("there is a free port")
}

/// An upstream that keeps every request.
pub async fn recording() -> Sink {
    let settings = SinkSettings { record_requests: true, ..SinkSettings::default() };
    Sink::start(settings).await.expect("there is a free port")
}

/// One that keeps every request, at an address.
pub async fn recording_at(listen: std::net::SocketAddr) -> Sink {
    let settings = SinkSettings { listen, record_requests: true, ..SinkSettings::default() };
    Sink::start(settings).await.expect("the address is free")
}

/// An address at which nobody listens, and which nobody else is given: a port of 127.0.0.1 would be free for any test that binds
/// port 0 meanwhile, or connects. All of 127.0.0.0/8 is this machine.
pub async fn nobody() -> std::net::SocketAddr {
    let [a, b, c] = rand::random::<[u8; 3]>();
    // Neither 127.0.0.0, nor 127.0.0.1, nor 127.255.255.255.
    let own = std::net::Ipv4Addr::new(127, a.clamp(1, 254), b, c);
    let listener = tokio::net::TcpListener::bind((own, 0)).await.expect("there is a free port");
    listener.local_addr().expect("it is bound")
}

/// What an upstream received, and how it is looked at.
pub trait Received {
    /// Waits until that many records have been taken.
    async fn records(&self, records: u64);

    /// Requests that were taken.
    fn taken(&self) -> Vec<RecordedRequest>;

    /// The bodies of the requests that were taken, of one signal.
    fn bodies(&self, signal: Signal) -> Vec<Bytes> {
        let of_signal = |request: &RecordedRequest| request.path.ends_with(signal.path());
        self.taken().into_iter().filter(of_signal).map(|request| request.body).collect()
    }

    /// The entries that were taken, in order.
    fn entries(&self, signal: Signal) -> Vec<Vec<u8>> {
        self.bodies(signal).iter().flat_map(|body| payload::entries(body)).collect()
    }

    /// The texts of the records that were taken, in order.
    fn texts(&self, signal: Signal) -> Vec<String> {
        self.entries(signal).iter().flat_map(|entry| payload::texts(signal, entry)).collect()
    }
}

impl Received for Sink {
    async fn records(&self, records: u64) {
        self.wait_for_records(records, PATIENCE).await.expect("the records arrive");
    }

    fn taken(&self) -> Vec<RecordedRequest> {
        let ok = |request: &RecordedRequest| request.answered.is_some_and(|status| status.is_success());
        self.requests().into_iter().filter(ok).collect()
    }
}
