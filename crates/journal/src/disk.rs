//! The interface to a disk, so that tests can give the journal one that fails.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::number_set::NumberSet;

/// Writes begin and end at multiples of this, in bytes: what direct I/O asks for, and what a disk writes at a time.
pub const BLOCK: usize = 4096;

/// One directory of files. File names are relative to it, with `/` between directories.
pub trait Disk: Debug + Send + Sync {
    /// Takes the directory for this process alone, for as long as what is returned lives. Makes it if it is missing.
    /// [`io::ErrorKind::WouldBlock`] if another process has it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
    /// Every file, and its length in bytes; none that another program made in a directory below.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Makes a file of `len` bytes, all zero, with its room reserved if the file system can; replaces one that is there.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that is there, to write and read.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that is there, to read.
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The same for large reads, of which the system keeps no copy: best if they begin and end at multiples of [`BLOCK`], in
    /// the file and in memory.
    fn open_to_read_directly(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_to_read(name)
    }
    /// Gives a file another name; replaces one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Those who have it open may go on reading it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what was created, renamed and removed safe against a power cut.
    fn sync_directory(&self) -> io::Result<()>;
    /// A number that nobody can guess.
    fn nonce(&self) -> u64;
    /// Which file has this name now, or which directory this one's path leads to. `None` if that can't change.
    fn identity(&self, name: Option<&str>) -> io::Result<Option<Identity>> {
        let _ = name;
        Ok(None)
    }
}

/// Tells a file or directory from all others, whatever its name is: its device and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device.
    pub device: u64,
    /// The number, of the inode.
    pub number: u64,
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `into` from `offset` on; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// Says that this part will be read soon.
    fn will_need(&self, offset: u64, length: u64) {
        let _ = (offset, length);
    }
    /// Writes all of `bytes`. `offset`, the length and the address of `bytes` are multiples of [`BLOCK`]. A file that
    /// ends before grows.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes it `len` bytes long and reserves the room for it.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes what was written safe against a power cut. After an error nothing is known about what was written since
    /// the last success.
    fn sync_data(&self) -> io::Result<()>;
    /// Which file this is, whatever has its name now. `None` if that can't change.
    fn identity(&self) -> io::Result<Option<Identity>> {
        Ok(None)
    }
}

/// Whether a disk says so of a place that it can't read any more, or whose content is not what was written.
pub(super) fn is_lost(error: &io::Error) -> bool {
    [Errno::IO, Errno::BADMSG, Errno::UCLEAN]
        .iter()
        .any(|lost| error.raw_os_error() == Some(lost.raw_os_error()))
}

/// Fills `into` from `offset` on with what can be read. The rest is zero; its places in the file are returned.
pub(super) fn read_what_is_left(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<NumberSet> {
    const AT_ONCE: usize = 1 << 20;
    let mut lost = NumberSet::default();
    for (at, part) in (offset..).step_by(AT_ONCE).zip(into.chunks_mut(AT_ONCE)) {
        match file.read_at(part, at) {
            Err(error) if is_lost(&error) => {}
            read => {
                read?;
                continue;
            }
        }
        for (at, block) in (at..).step_by(BLOCK).zip(part.chunks_mut(BLOCK)) {
            match file.read_at(block, at) {
                Err(error) if is_lost(&error) => {
                    block.fill(0);
                    lost.insert(at..at + block.len() as u64);
                }
                read => read?,
            }
        }
    }
    Ok(lost)
}
