//! The directory of copies of what was damaged.

use std::io;

use super::buffer::write_blocks;
use super::disk::{BLOCK, Disk, read_what_is_left};

/// The directory below the journal's.
const DIRECTORY: &str = "quarantine";

/// Bytes that are copied at a time.
const AT_ONCE: u64 = 1 << 20;

/// Copies `length` bytes of a file from `offset` on, or as many as there are. The name of the copy says what it is of;
/// it is as long as whole blocks are, and zero where the disk can't read the file any more.
pub(super) fn keep(disk: &dyn Disk, file: &str, offset: u64, length: u64) -> io::Result<String> {
    let name = format!("{file}-at-{offset}-length-{length}");
    let from = disk.open_to_read(file)?;
    let end = (offset + length).min(from.length()?).max(offset);
    let to = disk.create(&format!("{DIRECTORY}/{name}"), (end - offset).next_multiple_of(BLOCK as u64))?;
    let mut at = offset;
    while at < end {
        let mut bytes = vec![0; AT_ONCE.min(end - at) as usize];
        read_what_is_left(&*from, &mut bytes, at)?;
        write_blocks(&*to, &bytes, at - offset)?;
        at += bytes.len() as u64;
    }
    to.sync_data()?;
    Ok(name)
}

/// The same while a journal is opened, which a failure does not stop: a disk that has no room for the copy is no reason to do
/// without the rest of the journal.
pub(super) fn keep_if_possible(disk: &dyn Disk, file: &str, offset: u64, length: u64) {
    if let Err(error) = keep(disk, file, offset, length) {
        tracing::error!(
            segment = file, at = offset, %error, "a part of the journal is corrupt, and no copy of it can be kept"
        );
    }
}

/// Moves a file into quarantine as a whole, or leaves it where it is if that can't be done.
pub(super) fn keep_whole_if_possible(disk: &dyn Disk, file: &str) {
    if let Err(error) = disk.rename(file, &format!("{DIRECTORY}/{file}")) {
        tracing::error!(file, %error, "a file that is no segment of the journal can't be moved to `quarantine/`");
    }
}
