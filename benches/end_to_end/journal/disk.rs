//! The disk by itself: how long a write and its `fdatasync` take where the journal is.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use tokio::time::Instant;

use crate::Failure;

/// Direct writes begin at multiples of this, in the file and in memory.
const BLOCK: usize = 4096;

/// The file that is written, again and again.
const FILE: usize = 64 << 20;

/// What is written before the first measurement, at a time.
const FILL: usize = 1 << 20;

/// How long each write took with its sync, in milliseconds, shortest first.
pub(super) struct Syncs(Vec<f64>);

impl Syncs {
    pub(super) fn percentile(&self, part: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(last as f64 * part).round() as usize]
    }
}

/// Writes `bytes` (rounded up to blocks) at a time as the journal does: past the page cache, into a file that was written
/// before.
pub(super) fn as_the_journal(directory: &Path, bytes: usize, writes: usize) -> Result<Syncs, Failure> {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::DIRECT.bits().cast_signed());
    let bytes = bytes.next_multiple_of(BLOCK);
    let room = vec![0x5a; bytes.max(FILL) + BLOCK];
    let skip = room.as_ptr().align_offset(BLOCK);
    let blocks = &room[skip..skip + bytes.max(FILL)];

    let path = directory.join("probe");
    let file = options.write(true).create(true).truncate(true).open(&path)?;
    for at in (0..FILE).step_by(FILL) {
        file.write_all_at(&blocks[..FILL], at as u64)?;
    }
    file.sync_all()?;
    let places = (0..FILE - bytes).step_by(bytes).cycle();
    measured(&file, &path, &blocks[..bytes], places.take(writes))
}

/// Appends 4 KiB at a time to an ordinary file.
pub(super) fn appending(directory: &Path, writes: usize) -> Result<Syncs, Failure> {
    let path = directory.join("probe");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    measured(&file, &path, &[0x5a; BLOCK], (0..).step_by(BLOCK).take(writes))
}

fn measured(
    file: &File,
    path: &Path,
    bytes: &[u8],
    places: impl Iterator<Item = usize>,
) -> Result<Syncs, Failure> {
    let mut times = Vec::new();
    for at in places {
        let began = Instant::now();
        file.write_all_at(bytes, at as u64)?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(Syncs(times))
}
