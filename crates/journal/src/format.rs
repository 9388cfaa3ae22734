//! The block at the head of every file: what it is, its version, and the salt that its checksums begin with.

use super::disk::BLOCK;

/// The version that this code writes, and the only one that it reads.
pub(super) const VERSION: u32 = 3;

/// Bytes that a segment has at most, so that 32 bits are enough for every length, place and count in one. It may be longer
/// than `segment_size` for one large request.
pub(super) const LARGEST: u64 = (4 << 30) - BLOCK as u64;

/// Where the records of every segment begin: behind its header.
pub(super) const RECORDS_AT: u64 = BLOCK as u64;

/// The first eight bytes, in every version. The four behind them are the version.
const MAGIC: [u8; 8] = *b"sluicejl";

/// Bytes of a header.
const LENGTH: usize = 64;

/// Where the copies of the header stand in the first block: in different sectors, so that one bad sector or flipped bit
/// does not cost a segment its salt, without which nothing in it could be checked.
const COPIES: [usize; 2] = [0, BLOCK / 2];

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A segment of requests as they came.
    Log,
    /// A segment that compaction wrote.
    Compacted,
    /// Positions.
    Positions,
}

impl Purpose {
    const fn code(self) -> u32 {
        match self {
            Self::Log => 1,
            Self::Compacted => 2,
            Self::Positions => 3,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Log, Self::Compacted, Self::Positions].into_iter().find(|purpose| purpose.code() == code)
    }
}

/// The first block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) purpose: Purpose,
    /// The number of the segment, or the generation of the positions.
    pub(super) id: u64,
    /// Chosen anew whenever a file is put to use: what it held before can't pass for what it holds now, and nobody who
    /// sends entries can make one that looks like a record.
    pub(super) salt: u64,
}

/// Why a first block is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is of another version.
    Version(u32),
    /// Neither copy is whole.
    Corrupt,
}

impl Header {
    /// Writes the header into the first block of a file; the rest of the block is zeroed.
    pub(super) fn encode(&self, block: &mut [u8]) {
        block[..BLOCK].fill(0);
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.purpose.code().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..LENGTH - 4]);
        bytes[LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
        for copy in COPIES {
            block[copy..copy + LENGTH].copy_from_slice(&bytes);
        }
    }

    /// Reads the first block of a file, which may be shorter.
    pub(super) fn decode(block: &[u8]) -> Result<Self, BadHeader> {
        let copies: Vec<&[u8]> =
            COPIES.iter().filter_map(|copy| block.get(*copy..copy + LENGTH)).filter(|c| whole(c)).collect();
        for copy in &copies {
            // Where the checksum stands is the same in all versions, so another one is told from a flipped bit.
            let version = u32_at(copy, 8);
            if version != VERSION {
                return Err(BadHeader::Version(version));
            }
            if let Some(purpose) = Purpose::from_code(u32_at(copy, 12)) {
                return Ok(Self { purpose, id: u64_at(copy, 16), salt: u64_at(copy, 24) });
            }
        }
        Err(BadHeader::Corrupt)
    }

    /// What the checksums of the file begin with.
    pub(super) fn seed(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.salt.to_le_bytes()), &self.id.to_le_bytes())
    }
}

fn whole(copy: &[u8]) -> bool {
    copy[..8] == MAGIC && crc32c::crc32c(&copy[..LENGTH - 4]) == u32_at(copy, LENGTH - 4)
}

/// The number that begins at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The number that begins at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The next multiple of a block.
pub(super) fn whole_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { purpose: Purpose::Log, id: 7, salt: 0x1234_5678_9abc_def0 };

    #[test]
    fn a_flipped_bit_anywhere_in_the_first_block_leaves_the_header_readable() {
        let mut block = vec![0; BLOCK];
        HEADER.encode(&mut block);
        for bit in 0..BLOCK * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&block), Ok(HEADER), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut block = vec![0; BLOCK];
        HEADER.encode(&mut block);
        for copy in COPIES {
            block[copy + 8] = 9;
            let crc = crc32c::crc32c(&block[copy..copy + LENGTH - 4]);
            block[copy + LENGTH - 4..copy + LENGTH].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(Header::decode(&block), Err(BadHeader::Version(9)));
        assert_eq!(Header::decode(&[]), Err(BadHeader::Corrupt));
        assert_eq!(Header::decode(&[0; BLOCK]), Err(BadHeader::Corrupt));
    }
}
