//! The journal as the streams see it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{
    Chunk, Disk, Done, Group, JournalSettings, JournalState, OpenError, ReadError, Recovery, StreamId, StreamKey,
};

/// A queue on disk that many streams share. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {}

impl Journal {
    /// Takes the directory, recovers what is in it, and starts the journal's threads. Blocks.
    pub fn open(settings: JournalSettings) -> Result<(Self, Recovery), OpenError> {
        todo!("{settings:?}")
    }

    /// The same on any disk, and without threads: nothing is written but by [`Journal::commit_once`], nothing freed but
    /// by [`Journal::tend_once`]. For tests that decide when what happens.
    #[doc(hidden)]
    pub fn open_by_hand(settings: JournalSettings, disk: Arc<dyn Disk>) -> Result<(Self, Recovery), OpenError> {
        todo!("{settings:?} {disk:?}")
    }

    /// The number of a stream, which is made if it is not known. Nothing is written before its first entry.
    /// It is valid until [`Journal::forget`].
    pub fn stream(&self, key: &StreamKey) -> StreamId {
        todo!("{key:?}")
    }

    /// Nobody will use the number of this stream any more. Its entries stay; once there are none, neither does it, and
    /// its key begins anew.
    pub fn forget(&self, stream: StreamId) {
        todo!("{stream:?}")
    }

    /// Queues one request to be written. `done` is called on the journal's thread, for all requests in the order in
    /// which they stand in the log, once the request is durable as `sync` says, or with why it is not; then nothing of it
    /// is in the journal, and its sequence numbers go to others. Never blocks.
    pub fn append(&self, request: Vec<Group>, done: Done) {
        drop((request, done));
        todo!()
    }

    /// These entries of a stream need not be kept: in any order, usually rising. Never blocks.
    pub fn settle(&self, stream: StreamId, sequences: RangeInclusive<u64>) {
        todo!("{stream:?} {sequences:?}")
    }

    /// What a stream has from the sequence number `from` on, in order: about `max_bytes`, but at least one record of the
    /// log if there is any. Empty if there is nothing. What is found to be damaged is left out and settled. Blocks.
    pub fn read(&self, stream: StreamId, from: u64, max_bytes: usize) -> Result<Vec<Chunk>, ReadError> {
        todo!("{stream:?} {from} {max_bytes}")
    }

    /// Whether a request of `bytes` (its entries, for all streams) would be taken now. False while the disk fails.
    pub fn has_room(&self, bytes: u64) -> bool {
        todo!("{bytes}")
    }

    /// What the journal says about itself.
    pub fn state(&self) -> JournalState {
        todo!()
    }

    /// Writes what has been appended, makes the positions durable, and ends the threads. What is appended afterwards is
    /// [`NotWritten::Closed`](super::NotWritten::Closed). Blocks.
    pub fn close(&self) {
        todo!()
    }
}
