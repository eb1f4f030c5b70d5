//! A 128-bit rolling hash: two lanes of folded 64-bit multiplication, as in wyhash.
//!
//! It tells runs apart and finds accidents; it is no defence against someone who wants a collision.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The hash of a whole trace. Prints as 32 hexadecimal digits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The hash so far; order matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    a: u64,
    b: u64,
}

impl Default for Rolling {
    fn default() -> Self {
        Self { a: 0x2d35_8dcc_aa6c_78a5, b: 0x8bb8_4b93_962e_acc9 }
    }
}

const fn fold(x: u64, y: u64) -> u64 {
    let wide = x as u128 * y as u128;
    wide as u64 ^ (wide >> 64) as u64
}

impl Rolling {
    /// Adds one word.
    #[inline]
    pub fn word(&mut self, w: u64) {
        self.a = fold(self.a ^ w, 0x9e37_79b9_7f4a_7c15).wrapping_add(self.b);
        self.b = fold(self.b.rotate_left(23) ^ w, 0xd1b5_4a32_d192_ed03).wrapping_add(1);
    }

    /// Adds bytes and their number.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        let mut word = [0; 8];
        let rest = chunks.remainder();
        word[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(word));
        self.word(bytes.len() as u64);
    }

    /// The hash of all that was added.
    pub fn digest(&self) -> Digest {
        let mut end = *self;
        end.word(0);
        end.word(0);
        Digest(u128::from(end.a) << 64 | u128::from(end.b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[u64]) -> Digest {
        let mut r = Rolling::default();
        words.iter().for_each(|w| r.word(*w));
        r.digest()
    }

    #[test]
    fn order_number_and_value_of_words_matter() {
        let all = [of(&[]), of(&[0]), of(&[0, 0]), of(&[1, 2]), of(&[2, 1]), of(&[1]), of(&[1, 2, 0])];
        for (i, x) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|y| x != y), "{i}");
        }
    }

    #[test]
    fn every_bit_of_a_word_moves_both_halves() {
        for bit in 0..64 {
            let (x, y) = (of(&[7, 9, 11]).0, of(&[7, 9 ^ (1 << bit), 11]).0);
            assert!((x >> 64) != (y >> 64) && x as u64 != y as u64, "bit {bit}");
        }
    }

    #[test]
    fn bytes_do_not_run_into_each_other() {
        let of = |parts: &[&str]| {
            let mut r = Rolling::default();
            parts.iter().for_each(|p| r.bytes(p.as_bytes()));
            r.digest()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a\0"]), of(&["a"]));
    }

    #[test]
    fn prints_and_reads_back() {
        let d = of(&[1]);
        assert_eq!(d.to_string().parse::<Digest>().unwrap(), d);
        assert_eq!(d.to_string().len(), 32);
    }
}
