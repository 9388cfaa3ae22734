//! A file read in pieces, so that memory is needed for one of them and not for the file.

use std::io;

use super::disk::{BLOCK, DiskFile, read_what_is_left};
use super::number_set::NumberSet;
use super::record::{HEADER, Record, RecordCheck};

/// Bytes of a piece.
pub(super) const PIECE: usize = 1 << 20;

/// A file, or its beginning. What is looked at next is best near what was looked at last.
#[derive(Debug)]
pub(super) struct PiecewiseFile<'f> {
    file: &'f dyn DiskFile,
    /// Nothing from here on is looked at.
    end: u64,
    /// Where the piece in memory begins.
    at: u64,
    piece: Vec<u8>,
    /// The places that the disk can't read, of those that were looked at; they are zero. `None` if it is an error to look at one.
    lost: Option<NumberSet>,
}

impl<'f> PiecewiseFile<'f> {
    /// The first `end` bytes of a file, which has so many. It is an error if one can't be read.
    pub(super) fn new(file: &'f dyn DiskFile, end: u64) -> Self {
        Self { file, end, at: 0, piece: Vec::new(), lost: None }
    }

    /// The same; what the disk can't read any more is zero.
    pub(super) fn of_what_is_left(file: &'f dyn DiskFile, end: u64) -> Self {
        Self { lost: Some(NumberSet::default()), ..Self::new(file, end) }
    }

    /// How much of the file is looked at, in bytes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The places that the disk can't read, of those that were looked at.
    pub(super) fn lost(self) -> NumberSet {
        self.lost.unwrap_or_default()
    }

    /// So many bytes from `at` on, or those that there are; no more than half a piece.
    pub(super) fn get(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        debug_assert!(length <= PIECE / 2, "what is asked for lies in one piece");
        let end = at.saturating_add(length as u64).min(self.end);
        if at >= end {
            return Ok(&[]);
        }
        if at < self.at || end > self.at + self.piece.len() as u64 {
            self.load(at - at % BLOCK as u64)?;
        }
        Ok(&self.piece[(at - self.at) as usize..(end - self.at) as usize])
    }

    fn load(&mut self, at: u64) -> io::Result<()> {
        let length = (PIECE as u64).min(self.end - at) as usize;
        let mut piece = std::mem::take(&mut self.piece);
        piece.resize(length, 0);
        match &mut self.lost {
            None => self.file.read_at(&mut piece, at)?,
            Some(lost) => *lost = lost.union(&read_what_is_left(self.file, &mut piece, at)?),
        }
        (self.at, self.piece) = (at, piece);
        Ok(())
    }

    /// What begins at `at`.
    pub(super) fn find(&mut self, at: u64, seed: u32) -> io::Result<RecordCheck> {
        let Some((record, expected)) = Record::header(self.get(at, HEADER)?, seed) else {
            return Ok(RecordCheck::Nothing);
        };
        let mut crc = seed;
        let payload = at + HEADER as u64;
        let end = payload + u64::from(record.length);
        for at in (payload..end).step_by(PIECE / 2) {
            let wanted = ((end - at) as usize).min(PIECE / 2);
            let bytes = self.get(at, wanted)?;
            if bytes.len() < wanted {
                return Ok(RecordCheck::Broken(record));
            }
            crc = crc32c::crc32c_append(crc, bytes);
        }
        Ok(if crc == expected { RecordCheck::Whole(record) } else { RecordCheck::Broken(record) })
    }

    /// The payload of the record at `at`, as a whole: for the small ones that are no entries. `None` if it is not whole.
    pub(super) fn payload(&mut self, at: u64, record: &Record, seed: u32) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let end = at + HEADER as u64 + u64::from(record.length);
        for at in (at..end).step_by(PIECE / 2) {
            bytes.extend_from_slice(self.get(at, ((end - at) as usize).min(PIECE / 2))?);
        }
        let whole = Record::find(&bytes, seed) == RecordCheck::Whole(*record);
        Ok(whole.then(|| bytes.split_off(HEADER)))
    }

    /// Whether so many bytes from `at` on are there and zero; no more than a block.
    pub(super) fn is_zero(&mut self, at: u64, length: u64) -> io::Result<bool> {
        let bytes = self.get(at, length as usize)?;
        Ok(bytes.len() as u64 == length && bytes.iter().all(|byte| *byte == 0))
    }
}
