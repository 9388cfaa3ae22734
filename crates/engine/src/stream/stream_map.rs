//! The live streams of one exporter, by their names.
//!
//! A stream is found here from the moment in which it is made until it is forgotten, and of a name there is one at a time. Whoever has
//! found a stream may still hold it when it is forgotten. So a stream that is to go is *retired* first: in one step it is seen to hold
//! nothing and takes no reservation from then on. That happens while nobody can look up its name. So who is told that a stream has
//! retired and looks up its name again never finds that stream, but its successor, or makes it.

use std::sync::Arc;

// Not by name, since a test has this file compiled with other locks.
use super::sync::DashMap;
use otlp::Signal;

/// By signal and routing key, as it is [written](crate::route::RoutingKey::written).
#[derive(Debug)]
pub(super) struct StreamMap<S>([DashMap<Arc<str>, Arc<S>>; 3]);

impl<S> StreamMap<S> {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| DashMap::new()))
    }

    /// The stream of this name, if there is one. Nothing is allocated.
    pub(super) fn find(&self, signal: Signal, key: &str) -> Option<Arc<S>> {
        self.0[signal.index()].get(key).map(|stream| Arc::clone(&stream))
    }

    /// The stream of this name, which `make` makes if there is none. Others wait for the map meanwhile.
    pub(super) fn find_or_make<E>(
        &self,
        signal: Signal,
        key: &Arc<str>,
        make: impl FnOnce() -> Result<Arc<S>, E>,
    ) -> Result<Arc<S>, E> {
        let found = self.0[signal.index()].entry(key.clone()).or_try_insert_with(make)?;
        Ok(Arc::clone(&found))
    }

    /// Adds a stream, of whose name there is none.
    pub(super) fn add(&self, signal: Signal, key: &Arc<str>, stream: Arc<S>) {
        let before = self.0[signal.index()].insert(key.clone(), stream);
        debug_assert!(before.is_none(), "a name has one live stream");
    }

    /// Forgets the stream of this name if `retire` has retired it. Returns it then.
    pub(super) fn forget(
        &self,
        signal: Signal,
        key: &str,
        retire: impl FnOnce(&Arc<S>) -> bool,
    ) -> Option<Arc<S>> {
        self.0[signal.index()].remove_if(key, |_, stream| retire(stream)).map(|(_, stream)| stream)
    }

    /// Forgets every stream that `retire` has retired.
    pub(super) fn forget_all(&self, mut retire: impl FnMut(&Arc<S>) -> bool) {
        for streams in &self.0 {
            streams.retain(|_, stream| !retire(stream));
            streams.shrink_to_fit();
        }
    }

    /// Looks at every stream. While one is looked at it can't be forgotten.
    pub(super) fn for_each(&self, mut look: impl FnMut(&Arc<S>)) {
        self.0.iter().for_each(|streams| streams.iter().for_each(|stream| look(&stream)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(DashMap::len).sum()
    }
}
