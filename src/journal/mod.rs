//! The durable queue on disk.

mod backlog;
mod buffer;
mod carry;
mod commit;
mod directory;
mod disk;
mod format;
mod handle;
mod index;
mod merge;
mod positions;
mod quarantine;
mod read;
mod record;
mod recover;
mod scan;
mod shared;
#[doc(hidden)]
pub mod simulation;
mod state;
mod streams;
mod supply;
mod survey;
mod tend;
#[cfg(test)]
mod tests;
mod types;
mod writer;

pub use disk::{BLOCK, Disk, DiskFile};
pub use handle::Journal;
pub use types::{
    Appended, Chunk, Damage, Done, Entry, Failing, Group, JournalSettings, JournalState, NotWritten, OpenError,
    ReadError, RecoveredStream, Recovery, StreamId, StreamKey, SyncPolicy, Written,
};
