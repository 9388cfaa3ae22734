//! Streams that the journal had when it was opened.
//!
//! They were named by the templates of their time, so they are generations of their own: what is older goes first, and
//! everything that the journal had goes before what this process has admitted. For the order in which streams came to be
//! there are their numbers.

use std::collections::HashSet;
use std::sync::Arc;

use dashmap::mapref::entry::Entry;

use super::StreamName;
use super::durable::Durable;
use super::generation::Generation;
use super::history::History;
use super::queue::Stream;
use super::registry::Registry;
use crate::journal::RecoveredStream;
use crate::route::Values as _;

impl Registry {
    /// Makes streams that the journal had. They count against `limits.streams`, but are not refused for that. Returns those
    /// that the exporter could not send, and why.
    pub fn recover(self: &Arc<Self>, mut found: Vec<RecoveredStream>) -> Vec<(RecoveredStream, String)> {
        let (mut fit, mut left) = (Vec::new(), Vec::new());
        let mut eras: Vec<Arc<Generation>> = Vec::new();
        let mut in_era = HashSet::new();
        found.sort_by_key(|stream| stream.id);
        for stream in found {
            let key = &stream.key;
            let name = StreamName::new(key.signal, key.identity.clone(), key.attributes.clone());
            if let Err(problem) = self.check(&name) {
                left.push((stream, problem));
                continue;
            }
            let same = eras.last().is_some_and(|last| last.attributes == key.attributes);
            if !same || in_era.contains(&(key.signal, key.identity.clone())) {
                // Attributes of its own, since their address is its name.
                let attributes = key.attributes.iter().cloned().collect();
                eras.push(Arc::new(Generation::new(attributes)));
                in_era.clear();
            }
            in_era.insert((key.signal, key.identity.clone()));
            fit.push((eras.len() - 1, stream));
        }
        // Known before the first of them sends: each stream has to find what is ahead of it. As long as somebody else has their
        // attributes, no sweep takes those for over that are still empty.
        let in_use: Vec<_> = eras.iter().map(|era| era.attributes.clone()).collect();
        let before =
            self.generations.rcu(|known| known.iter().chain(eras.iter().rev()).cloned().collect::<Vec<_>>());
        let oldest = before.last().expect("there is always a generation");
        for (at, stream) in fit {
            let era = &eras[at];
            // With nothing in between, what comes now can go on in the same streams.
            let goes_on = at + 1 == eras.len() && oldest.attributes == era.attributes;
            if !(goes_on && self.take_over(oldest, &stream)) {
                self.take_over(era, &stream);
            }
        }
        drop(in_use);
        left
    }

    /// Makes a stream that the journal had, unless the generation has one of that name.
    fn take_over(self: &Arc<Self>, generation: &Generation, found: &RecoveredStream) -> bool {
        let name =
            StreamName::new(found.key.signal, found.key.identity.clone(), generation.attributes.clone());
        let streams = &generation.streams[name.signal().index()];
        let Entry::Vacant(vacant) = streams.entry(name.identity().clone()) else { return false };
        self.shared().streams.join_anyway();
        let of_key = generation.held_by(&name);
        let durable = self.shared().journal.as_ref().map(|journal| Durable::again(journal, found));
        let history = History::default();
        let stream = Arc::new(Stream::new(name, self.clone(), of_key, None, durable, history));
        // Before anybody can find it: what is admitted comes behind.
        stream.recover(found);
        vacant.insert(stream);
        true
    }
}
