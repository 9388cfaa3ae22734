//! The durable queue on disk.

mod disk;
mod handle;
mod types;

pub use disk::{BLOCK, Disk, DiskFile};
pub use handle::Journal;
pub use types::{
    Appended, Chunk, Damage, Done, Entry, Failing, Group, JournalSettings, JournalState, NotWritten, OpenError,
    ReadError, RecoveredStream, Recovery, StreamId, StreamKey, SyncPolicy, Written,
};
