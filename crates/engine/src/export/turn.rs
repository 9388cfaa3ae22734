//! Whose turn it is to begin: where more streams have something to send than their destination takes at a time, a consumer waits
//! for its turn before it takes a batch, in a future that is small enough for a million of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Consumers of one destination that may have begun and wait for a place among its requests. Enough for a place never to stay
/// free while there is another consumer.
const MOST_BEGUN: usize = 1024;

/// The turns of one destination, which are given in the order in which consumers ask.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Semaphore>);

/// A consumer's turn, if it has waited for one. It ends when the consumer's first attempt begins, or before the consumer waits for
/// anything else than a place for that attempt: a consumer that waits for long keeps no other from beginning.
#[derive(Debug, Default)]
pub struct Turn {
    of: Option<Turns>,
    has_ended: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_BEGUN)))
    }
}

impl Turns {
    /// The next turn.
    pub(super) fn next(&self) -> impl Future<Output = SemaphorePermit<'_>> {
        self.0.acquire().map(|permit| permit.expect("the semaphore is never closed"))
    }

    /// What a consumer keeps of a turn that it has waited for.
    pub(super) fn keep(&self, permit: SemaphorePermit<'_>) -> Turn {
        permit.forget();
        Turn { of: Some(self.clone()), has_ended: AtomicBool::new(false) }
    }
}

impl Turn {
    /// Lets another consumer begin, if this one has waited for its turn.
    pub(super) fn end(&self) {
        if let Some(Turns(turns)) = &self.of
            && !self.has_ended.swap(true, Ordering::AcqRel)
        {
            turns.add_permits(1);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}
