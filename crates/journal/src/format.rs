//! The block at the head of every file: what it is, its version, and the salt that its checksums begin with. And how numbers
//! stand in files: little-endian, those of a payload that is nothing else one behind the other.

use bytes::{Buf as _, BufMut as _};

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
    Log = 1,
    /// A segment that compaction wrote.
    Compacted = 2,
    /// Positions.
    Positions = 3,
}

impl Purpose {
    fn from_code(code: u32) -> Option<Self> {
        [Self::Log, Self::Compacted, Self::Positions].into_iter().find(|purpose| *purpose as u32 == code)
    }
}

/// The first block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
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

impl FileHeader {
    /// The first block of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut header = [0; LENGTH];
        let mut fields = &mut header[..];
        fields.put_slice(&MAGIC);
        fields.put_u32_le(VERSION);
        fields.put_u32_le(self.purpose as u32);
        fields.put_u64_le(self.id);
        fields.put_u64_le(self.salt);
        let crc = crc32c::crc32c(&header[..LENGTH - 4]);
        header[LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
        let mut block = vec![0; BLOCK];
        for copy in COPIES {
            block[copy..copy + LENGTH].copy_from_slice(&header);
        }
        block
    }

    /// Reads the first block of a file, which may be shorter.
    pub(super) fn decode(block: &[u8]) -> Result<Self, BadHeader> {
        let copies = COPIES.iter().filter_map(|copy| block.get(*copy..copy + LENGTH));
        for copy in copies.filter(|copy| is_whole(copy)) {
            let mut fields = &copy[MAGIC.len()..];
            // Where the checksum stands is the same in all versions, so another one is told from a flipped bit.
            let version = fields.get_u32_le();
            if version != VERSION {
                return Err(BadHeader::Version(version));
            }
            if let Some(purpose) = Purpose::from_code(fields.get_u32_le()) {
                return Ok(Self { purpose, id: fields.get_u64_le(), salt: fields.get_u64_le() });
            }
        }
        Err(BadHeader::Corrupt)
    }

    /// What the checksums of the file begin with.
    pub(super) fn seed(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.salt.to_le_bytes()), &self.id.to_le_bytes())
    }
}

fn is_whole(copy: &[u8]) -> bool {
    let (header, mut crc) = copy.split_at(LENGTH - 4);
    header.starts_with(&MAGIC) && crc32c::crc32c(header) == crc.get_u32_le()
}

/// Rows of so many numbers each, 64 bits a number.
pub(super) fn encode_numbers<const N: usize>(rows: impl IntoIterator<Item = [u64; N]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    rows.into_iter().flatten().for_each(|number| bytes.put_u64_le(number));
    bytes
}

/// The rows that [`encode_numbers`] wrote. What is left behind the last whole one is left out.
pub(super) fn decode_numbers<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u64; N]> {
    bytes.chunks_exact(N * 8).map(|mut row| std::array::from_fn(|_| row.get_u64_le()))
}

/// The next multiple of a block.
pub(super) fn whole_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader { purpose: Purpose::Log, id: 7, salt: 0x1234_5678_9abc_def0 };

    #[test]
    fn a_flipped_bit_anywhere_in_the_first_block_leaves_the_header_readable() {
        let mut block = HEADER.encode();
        for bit in 0..BLOCK * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&block), Ok(HEADER), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut block = HEADER.encode();
        for copy in COPIES {
            block[copy + 8] = 9;
            let crc = crc32c::crc32c(&block[copy..copy + LENGTH - 4]);
            block[copy + LENGTH - 4..copy + LENGTH].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(FileHeader::decode(&block), Err(BadHeader::Version(9)));
        assert_eq!(FileHeader::decode(&[]), Err(BadHeader::Corrupt));
        assert_eq!(FileHeader::decode(&[0; BLOCK]), Err(BadHeader::Corrupt));
    }
}
