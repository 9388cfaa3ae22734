//! Starting what sends: one task for each stream of an exporter that has something to send.

use std::sync::{Arc, Weak};

use super::exporter::{Active, DeadLetterBox, Exporter};
use super::{Fate, deliver};
use crate::stream::{EngineState, Outlet, Stream, StreamName};

/// Starts an exporter of this name, which sends from now on.
pub fn start(
    name: Arc<str>,
    active: Active,
    shared: Arc<EngineState>,
    dead_letters: DeadLetterBox,
) -> Arc<Exporter> {
    let exporter = Arc::new(Exporter::new(name, active, shared, dead_letters));
    exporter.registry().attach(Box::new(Consumers(Arc::downgrade(&exporter))));
    exporter
}

/// Starts consumers; the registry outlives no exporter, but must not keep one alive either.
#[derive(Debug)]
struct Consumers(Weak<Exporter>);

impl Outlet<Stream> for Consumers {
    fn check(&self, name: &StreamName) -> Result<(), String> {
        let Some(exporter) = self.0.upgrade() else { return Ok(()) };
        match exporter.target(name) {
            // The row is at fault, not the entry: it waits until the row is put right.
            Err(error) if error.is_of_row() && name.key.tenant().is_some() => Ok(()),
            target => target.map(drop).map_err(|error| error.to_string()),
        }
    }

    fn start(&self, stream: Arc<Stream>) {
        if let Some(exporter) = self.0.upgrade() {
            tokio::spawn(deliver::consume(exporter, stream));
        }
    }

    fn count_lost(&self, name: &StreamName, records: u64) {
        if let Some(exporter) = self.0.upgrade() {
            exporter.count(name, Fate::Dropped, records);
        }
    }

    fn count_withdrawn(&self, name: &StreamName, records: u64) {
        if let Some(exporter) = self.0.upgrade() {
            exporter.withdraw(name, records);
        }
    }
}
