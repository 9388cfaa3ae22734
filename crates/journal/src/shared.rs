//! What the journal's threads and its users hold together.
//!
//! Locks are taken in the order in which they stand in [`Shared`]. The first three are held while reading and writing, by
//! the two threads of the journal that do; the others for a moment only.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Condvar, Mutex};

use super::buffers::Buffers;
use super::commit::{Committer, Queue};
use super::disk::Disk;
use super::place::Place;
use super::state::State;
use super::tend::Tender;
use super::types::JournalSettings;
use super::watched::Asked;
use super::writer::Prepared;

/// The journal behind its handle.
pub(super) struct Shared {
    pub(super) settings: JournalSettings,
    /// Bytes of a segment, as `segment_size` and `max_size` allow.
    pub(super) segment_size: u64,
    pub(super) disk: Arc<dyn Disk>,
    /// Writes the log.
    pub(super) committer: Mutex<Committer>,
    /// Frees, carries, and writes positions.
    pub(super) tender: Mutex<Tender>,
    /// Held while the log's next segment is made or taken, so that they are used in the order of their numbers.
    pub(super) supply: Mutex<()>,
    /// A segment that waits for the log.
    pub(super) ready: Mutex<Option<Prepared>>,
    /// Requests that wait for the committer.
    pub(super) queue: Mutex<Queue>,
    /// Wakes the committer.
    pub(super) work: Condvar,
    pub(super) state: Mutex<State>,
    /// For those who read.
    pub(super) buffers: Arc<Buffers>,
    /// Ends the tender.
    pub(super) ended: Mutex<bool>,
    pub(super) end: Condvar,
    /// Ends the threads that watch.
    pub(super) over: Mutex<bool>,
    pub(super) told_over: Condvar,
    /// What the disk has not answered.
    pub(super) asked: Arc<Asked>,
    /// What has to be where it was opened.
    pub(super) place: Place,
    /// Whether the newest line in the log about the disk says that it fails.
    pub(super) told_failing: Mutex<bool>,
    /// Whether the tender should carry on at once rather than when it is time.
    pub(super) short_of_room: AtomicBool,
    /// The directory is this process's as long as this is there.
    pub(super) lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("settings", &self.settings).finish_non_exhaustive()
    }
}
