//! The file of one block: a header of 4 KiB, the bytes, and a checksum for every 64 KiB of them.
//!
//! The checksum (CRC-32C) covers the block's id and the chunk's place as well, so that the right bytes at the wrong place
//! are no match. Header and table have checksums of their own. Bytes in, values out, no I/O.

use serde::{Deserialize, Serialize};

use crate::base::planted::{Bug, planted};
use crate::stack::wire::BlockId;

/// Bytes before the block's own.
pub const HEADER_BYTES: usize = 4096;

/// Bytes under one checksum.
pub const CHUNK_BYTES: u64 = 64 * 1024;

const MAGIC: [u8; 8] = *b"SGBLOCK\x01";

/// Where the bytes of a block came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Written by a client: there may be no other copy.
    Written,
    /// Read through from an under-store's file of this version.
    Cached {
        /// Names the version.
        fingerprint: String,
    },
}

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose file this is.
    pub block: BlockId,
    /// Bytes of the block.
    pub length: u64,
    /// Where they came from.
    pub origin: Origin,
    /// Checksum of the checksum table.
    pub table_crc: u32,
}

/// Bytes on disk are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// The header cannot be read, or is of another block.
    #[error("bad header")]
    Header,
    /// The checksum table cannot be read.
    #[error("bad checksum table")]
    Table,
    /// A chunk does not match its checksum.
    #[error("chunk {0} does not match its checksum")]
    Chunk(u64),
}

impl Header {
    /// [`HEADER_BYTES`] bytes; none if the fingerprint is too long for them.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let payload = postcard::to_stdvec(self).ok()?;
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
        out.extend_from_slice(&payload);
        (out.len() <= HEADER_BYTES).then(|| {
            out.resize(HEADER_BYTES, 0);
            out
        })
    }

    /// Reads what [`Header::encode`] made for `block`.
    pub fn decode(block: BlockId, bytes: &[u8]) -> Result<Self, Corrupt> {
        let header = Self::decode_any(bytes).ok_or(Corrupt::Header)?;
        if header.block == block { Ok(header) } else { Err(Corrupt::Header) }
    }

    fn decode_any(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (crc, rest) = rest.split_first_chunk()?;
        let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
        (crc32c::crc32c(payload) == u32::from_le_bytes(*crc)).then(|| postcard::from_bytes(payload).ok()).flatten()
    }
}

/// Number of chunks of a block of `length` bytes.
pub fn chunk_count(length: u64) -> u64 {
    length.div_ceil(CHUNK_BYTES)
}

/// The bytes of a checksum table.
pub fn encode_table(table: &[u32]) -> Vec<u8> {
    table.iter().flat_map(|crc| crc.to_le_bytes()).collect()
}

/// Reads the checksum table that belongs to `header`.
pub fn decode_table(header: &Header, bytes: &[u8]) -> Result<Vec<u32>, Corrupt> {
    if bytes.len() as u64 != chunk_count(header.length) * 4 || crc32c::crc32c(bytes) != header.table_crc {
        return Err(Corrupt::Table);
    }
    Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// The start of a chunk's checksum; the chunk's bytes are appended to it.
fn seed(block: BlockId, chunk: u64) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&block.0.to_le_bytes());
    place[8..].copy_from_slice(&chunk.to_le_bytes());
    crc32c::crc32c(&place)
}

/// Checks `data`, which begins at chunk `first`, chunk by chunk: the one place where bytes from a disk are believed.
pub fn verify(block: BlockId, table: &[u32], first: u64, data: &[u8]) -> Result<(), Corrupt> {
    if planted(Bug::UnverifiedBlock) { Ok(()) } else { matches(block, table, first, data) }
}

fn matches(block: BlockId, table: &[u32], first: u64, data: &[u8]) -> Result<(), Corrupt> {
    for (i, chunk) in data.chunks(CHUNK_BYTES as usize).enumerate() {
        let index = first + i as u64;
        let got = crc32c::crc32c_append(seed(block, index), chunk);
        if table.get(index as usize) != Some(&got) {
            return Err(Corrupt::Chunk(index));
        }
    }
    Ok(())
}

/// Looks at the whole file of `block` from outside, as an operator would: its header, and whether all bytes match.
///
/// # Errors
/// [`Corrupt::Header`] if nothing can be said about the rest.
pub fn inspect(block: BlockId, file: &[u8]) -> Result<(Header, Result<(), Corrupt>), Corrupt> {
    let (head, rest) = file.split_at_checked(HEADER_BYTES).ok_or(Corrupt::Header)?;
    let header = Header::decode(block, head)?;
    let parts = usize::try_from(header.length).ok().and_then(|length| rest.split_at_checked(length));
    let health = parts.ok_or(Corrupt::Table).and_then(|(data, sums)| {
        let table = decode_table(&header, sums)?;
        matches(block, &table, 0, data)
    });
    Ok((header, health))
}

/// Makes the checksum table while a block is written front to back.
#[derive(Debug, Clone)]
pub struct Summer {
    block: BlockId,
    length: u64,
    table: Vec<u32>,
}

impl Summer {
    /// Of an empty block.
    pub fn new(block: BlockId) -> Self {
        Self { block, length: 0, table: Vec::new() }
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes.
    pub fn append(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (index, within) = (self.length / CHUNK_BYTES, self.length % CHUNK_BYTES);
            if within == 0 {
                self.table.push(seed(self.block, index));
            }
            let take = data.len().min((CHUNK_BYTES - within) as usize);
            if let Some(crc) = self.table.last_mut() {
                *crc = crc32c::crc32c_append(*crc, &data[..take]);
            }
            self.length += take as u64;
            data = &data[take..];
        }
    }

    /// The table so far.
    pub fn into_table(self) -> Vec<u32> {
        self.table
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Content;

    fn table(block: BlockId, data: &[u8], pieces: &[usize]) -> Vec<u32> {
        let mut summer = Summer::new(block);
        let mut rest = data;
        for piece in pieces {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            summer.append(now);
            rest = later;
        }
        summer.append(rest);
        summer.into_table()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn however_it_was_written_it_verifies(length in 0usize..200_000, pieces in prop::collection::vec(0usize..70_000, 0..6)) {
            let data = Content::of("/b", 1).bytes(0, length);
            let table = table(BlockId(7), &data, &pieces);
            prop_assert_eq!(table.len() as u64, chunk_count(length as u64));
            prop_assert_eq!(verify(BlockId(7), &table, 0, &data), Ok(()));
        }

        #[test]
        fn one_flipped_bit_is_found(length in 1usize..200_000, at: prop::sample::Index, bit in 0u8..8) {
            let mut data = Content::of("/b", 1).bytes(0, length);
            let table = table(BlockId(7), &data, &[]);
            let at = at.index(length);
            data[at] ^= 1 << bit;
            prop_assert_eq!(verify(BlockId(7), &table, 0, &data), Err(Corrupt::Chunk(at as u64 / CHUNK_BYTES)));
        }

        #[test]
        fn no_bytes_make_the_header_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let framed: Vec<u8> = MAGIC.iter().copied().chain(bytes).collect();
            prop_assert_eq!(Header::decode(BlockId(1), &framed), Err(Corrupt::Header));
        }
    }

    /// One block's file as the store writes it.
    fn file(block: BlockId, data: &[u8]) -> Vec<u8> {
        let sums = encode_table(&table(block, data, &[]));
        let table_crc = crc32c::crc32c(&sums);
        let header = Header { block, length: data.len() as u64, origin: Origin::Written, table_crc };
        [header.encode().unwrap(), data.to_vec(), sums].concat()
    }

    #[test]
    fn a_file_is_inspected_whole() {
        let good = file(BlockId(7), &vec![5; 70_000]);
        let health = |bytes: &[u8]| inspect(BlockId(7), bytes).map(|(_, health)| health);
        assert_eq!(health(&good), Ok(Ok(())));
        let flipped = |at: usize| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        };
        assert_eq!(health(&flipped(20)), Err(Corrupt::Header));
        assert_eq!(health(&flipped(HEADER_BYTES + 66_000)), Ok(Err(Corrupt::Chunk(1))));
        assert_eq!(health(&flipped(good.len() - 1)), Ok(Err(Corrupt::Table)));
        assert_eq!(health(&good[..good.len() - 1]), Ok(Err(Corrupt::Table)));
        assert_eq!(health(&good[..HEADER_BYTES - 1]), Err(Corrupt::Header));
    }

    #[test]
    fn an_inspection_is_not_fooled_by_the_planted_bug() {
        let Ok(_plant) = crate::base::planted::plant(&[Bug::UnverifiedBlock]) else { return };
        let mut bad = file(BlockId(7), &[5; 100]);
        bad[HEADER_BYTES] ^= 1;
        assert_eq!(inspect(BlockId(7), &bad).map(|(_, health)| health), Ok(Err(Corrupt::Chunk(0))));
        assert_eq!(verify(BlockId(7), &[0], 0, &[5; 100]), Ok(()));
    }

    #[test]
    fn right_bytes_at_the_wrong_place_are_no_match() {
        let data = vec![5; 2 * CHUNK_BYTES as usize];
        let sums = table(BlockId(7), &data, &[]);
        let chunk = &data[..CHUNK_BYTES as usize];
        assert_eq!(verify(BlockId(7), &[sums[1], sums[0]], 0, chunk), Err(Corrupt::Chunk(0)));
        assert_eq!(verify(BlockId(8), &sums, 0, chunk), Err(Corrupt::Chunk(0)));
        assert_eq!(verify(BlockId(7), &sums, 2, chunk), Err(Corrupt::Chunk(2)));
    }

    #[test]
    fn headers_come_back_or_are_refused() {
        let origin = Origin::Cached { fingerprint: "\"1-2-3\"".into() };
        let header = Header { block: BlockId(7), length: 70_000, origin, table_crc: 9 };
        let bytes = header.encode().unwrap();
        assert_eq!(Header::decode(BlockId(7), &bytes), Ok(header.clone()));
        assert_eq!(Header::decode(BlockId(8), &bytes), Err(Corrupt::Header));
        for at in [0, 8, 12, 20] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Header::decode(BlockId(7), &bad), Err(Corrupt::Header), "byte {at}");
        }
        let long = Origin::Cached { fingerprint: "x".repeat(HEADER_BYTES) };
        assert_eq!(Header { origin: long, ..header.clone() }.encode(), None);
        let sums = encode_table(&[1, 2]);
        let whole = Header { table_crc: crc32c::crc32c(&sums), ..header };
        assert_eq!(decode_table(&whole, &sums), Ok(vec![1, 2]));
        assert_eq!(decode_table(&whole, &sums[..4]), Err(Corrupt::Table));
    }
}
