//! The bytes of simulated files: a pure function of path, version and offset.
//!
//! Whoever knows the path and the version of a file knows every byte of it without storing one, so under-stores can serve
//! gigabytes, workloads can write them, and oracles can check any read of any range. The generator is SplitMix64 (Steele,
//! Lea, Flood) counted by 8-byte word, hence seekable; neighbouring versions of a path share no bytes but by chance.

use super::seed::mix;

const WORD: u64 = 8;
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One version of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    key: u64,
}

impl Content {
    /// The content of `version` of the file at `path`. Paths are compared as text.
    pub fn of(path: &str, version: u64) -> Self {
        let mut key = mix(version ^ 0x636f_6e74_656e_7421);
        for chunk in path.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            key = mix(key ^ u64::from_le_bytes(word)).rotate_left(chunk.len() as u32);
        }
        Self { key }
    }

    /// Writes the bytes at `offset ..` into `buf`.
    pub fn fill(self, offset: u64, buf: &mut [u8]) {
        let skip = (offset % WORD) as usize;
        let mut index = offset / WORD;
        let mut rest = buf;
        if skip > 0 {
            let head = rest.len().min(WORD as usize - skip);
            let (first, tail) = rest.split_at_mut(head);
            first.copy_from_slice(&self.word(index)[skip..skip + head]);
            index = index.wrapping_add(1);
            rest = tail;
        }
        for chunk in rest.chunks_mut(WORD as usize) {
            chunk.copy_from_slice(&self.word(index)[..chunk.len()]);
            index = index.wrapping_add(1);
        }
    }

    /// The bytes at `offset .. offset + length`.
    pub fn bytes(self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(offset, &mut bytes);
        bytes
    }

    /// Where `data`, read at `offset`, first differs from this content; none if it does not.
    pub fn first_difference(self, offset: u64, data: &[u8]) -> Option<u64> {
        let mut want = [0; 4096];
        for (i, part) in data.chunks(want.len()).enumerate() {
            let start = offset + (i * want.len()) as u64;
            let want = &mut want[..part.len()];
            self.fill(start, want);
            if want != part {
                let at = part.iter().zip(&*want).take_while(|(got, want)| got == want).count();
                return Some(start + at as u64);
            }
        }
        None
    }

    fn word(self, index: u64) -> [u8; WORD as usize] {
        mix(self.key.wrapping_add(index.wrapping_mul(STEP))).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any cut into reads gives the bytes of one long read.
        #[test]
        fn a_range_is_a_slice_of_the_whole(start in 0u64..5000, length in 0usize..5000, version in 0u64..4) {
            let content = Content::of("/a/b", version);
            let whole = content.bytes(0, 10_000);
            let part = content.bytes(start, length);
            prop_assert_eq!(&part[..], &whole[start as usize..start as usize + length]);
            prop_assert_eq!(content.first_difference(start, &part), None);
        }

        #[test]
        fn one_wrong_byte_is_found(at in 0usize..9000, flip in 1u8..=255) {
            let content = Content::of("/a", 1);
            let mut data = content.bytes(17, 9000);
            data[at] ^= flip;
            prop_assert_eq!(content.first_difference(17, &data), Some(17 + at as u64));
        }
    }

    #[test]
    fn versions_and_paths_differ_everywhere_that_matters() {
        let first = Content::of("/hbase/a", 1).bytes(0, 64);
        for other in [Content::of("/hbase/a", 2), Content::of("/hbase/b", 1), Content::of("/hbase/a\0", 1)] {
            let same = other.bytes(0, 64).iter().zip(&first).filter(|(a, b)| a == b).count();
            assert!(same < 8, "{same} of 64 bytes are equal");
        }
    }

    /// Pinned: recorded scenarios name content only by path and version.
    #[test]
    fn the_bytes_are_pinned() {
        assert_eq!(Content::of("/hbase/CHANGES.md", 1).bytes(3, 8), PINNED);
    }
    const PINNED: [u8; 8] = [136, 18, 198, 44, 214, 90, 3, 37];
}
