//! The streams that an exporter has under one set of template attributes.
//!
//! A reload that makes an exporter's templates use other attributes names its streams anew: from then on the entries of
//! a routing key go to other streams, while the ones before may still have a backlog. A routing key keeps its order all
//! the same: a stream takes no batch as long as its key holds anything in an earlier generation. Nothing ever waits for a
//! later generation, so that no two can wait for each other; and only the key waits, not the exporter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use tokio::sync::Notify;

use super::StreamName;
use super::queue::Stream;
use crate::otlp::Signal;
use crate::route::Values as _;

/// The streams of one exporter whose identities hold the same attributes.
#[derive(Debug)]
pub(super) struct Generation {
    /// Names the generation by its address: a later one may use the same attributes again.
    pub(super) attributes: Arc<[Box<str>]>,
    /// By signal and identity.
    pub(super) streams: [DashMap<Arc<str>, Arc<Stream>>; 3],
    /// What each routing key holds, if attributes make several streams of one. Otherwise the key's only stream knows.
    keys: [DashMap<Box<str>, Arc<Held>>; 3],
}

/// Framed bytes that the streams of one generation and routing key hold.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: AtomicU64,
    none: Notify,
}

impl Held {
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let held = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(held >= bytes, "no more is given back than was held");
        if held == bytes {
            self.none.notify_waiters();
        }
    }

    fn is_none(&self) -> bool {
        self.bytes.load(Ordering::Acquire) == 0
    }

    /// Ready once nothing is held.
    pub(super) async fn settled(&self) {
        loop {
            // Made before asking, so that the last one to give back is not missed.
            let none = self.none.notified();
            if self.is_none() {
                return;
            }
            none.await;
        }
    }
}

impl Generation {
    pub(super) fn new(attributes: Arc<[Box<str>]>) -> Self {
        Self {
            attributes,
            streams: std::array::from_fn(|_| DashMap::new()),
            keys: std::array::from_fn(|_| DashMap::new()),
        }
    }

    /// Whether names with these attributes, which are the same ones and not only equal, belong here.
    pub(super) fn is_of(&self, attributes: &Arc<[Box<str>]>) -> bool {
        Arc::ptr_eq(&self.attributes, attributes)
    }

    /// Where a stream that is made now counts what it holds.
    pub(super) fn held_by(&self, name: &StreamName) -> Arc<Held> {
        if self.attributes.is_empty() {
            return Arc::default();
        }
        self.keys[name.signal().index()].entry(name.routing_key().into()).or_default().clone()
    }

    /// What a routing key holds, if anything.
    pub(super) fn holds(&self, signal: Signal, key: &str) -> Option<Arc<Held>> {
        let held = if self.attributes.is_empty() {
            self.streams[signal.index()].get(key).map(|stream| stream.of_key().clone())
        } else {
            self.keys[signal.index()].get(key).map(|held| held.clone())
        };
        held.filter(|held| !held.is_none())
    }

    /// Forgets the keys of streams that are gone.
    pub(super) fn forget_keys(&self) {
        for keys in &self.keys {
            keys.retain(|_, held| Arc::strong_count(held) > 1);
            keys.shrink_to_fit();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.streams.iter().map(DashMap::len).sum()
    }

    /// Whether nobody can name a stream of this generation any more: no stream does, and no routing table.
    pub(super) fn is_over(&self) -> bool {
        Arc::strong_count(&self.attributes) == 1 && self.len() == 0
    }
}
