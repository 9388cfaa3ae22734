//! The part of the configuration that requests need.

use std::sync::Arc;
use std::time::Duration;

use super::flow::FlowPaths;
use crate::export::Exporter;
use crate::route::RouteTable;
use crate::stream::StreamCount;

/// `acknowledge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Once its data is queued.
    Queued,
    /// Once the upstreams have taken it.
    Delivered,
}

/// Everything from the configuration that a request needs, immutable. A request uses one to its end.
#[derive(Debug)]
pub struct ConfigSnapshot {
    /// Counts up with every reload.
    pub version: u64,
    /// The compiled routes; exporters by position in `exporters`.
    pub routes: Arc<RouteTable>,
    /// How much goes which way by them.
    pub flow: FlowPaths,
    /// `max_streams` of each route.
    pub route_streams: Vec<Option<Arc<StreamCount>>>,
    /// In the order of the configuration.
    pub exporters: Vec<Arc<Exporter>>,
    /// When senders get their answers.
    pub acknowledge: Acknowledge,
    /// `acknowledge_timeout`: how long those may wait that wait for their upstreams.
    pub acknowledge_timeout: Duration,
    /// Whether any exporter has no queue, so that senders wait for it in any case.
    pub unqueued: bool,
}

impl ConfigSnapshot {
    /// Whether the configuration has this exporter: one that is being removed isn't in it.
    pub fn uses(&self, exporter: &Arc<Exporter>) -> bool {
        self.exporters.iter().any(|current| Arc::ptr_eq(current, exporter))
    }
}
