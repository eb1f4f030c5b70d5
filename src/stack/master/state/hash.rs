//! The fingerprint of a set, kept up to date item by item.
//!
//! The sum of its items' hashes: it does not depend on their order, and taking an item out undoes putting it in. Equal
//! sets always agree; unequal ones collide with a chance near 2^-128. It is no defence against someone who looks for
//! collisions, and its value may change with the compiler: compare within one build, never store it.

use std::hash::{Hash, Hasher};

use crate::base::seed::mix;

/// A set's fingerprint.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetHash(u128);

impl SetHash {
    /// An item came in.
    pub fn add(&mut self, item: &impl Hash) {
        self.0 = self.0.wrapping_add(of(item));
    }

    /// An item went out.
    pub fn remove(&mut self, item: &impl Hash) {
        self.0 = self.0.wrapping_sub(of(item));
    }

    /// The fingerprint so far.
    pub fn get(self) -> u128 {
        self.0
    }
}

/// 128 bits of one item.
pub(super) fn of(item: &impl Hash) -> u128 {
    let mut hasher = Lanes { low: 0x243f_6a88_85a3_08d3, high: 0x1319_8a2e_0370_7344 };
    item.hash(&mut hasher);
    u128::from(mix(hasher.high)) << 64 | u128::from(mix(hasher.low ^ hasher.high.rotate_left(32)))
}

/// Two 64-bit lanes, each word multiplied in and folded.
struct Lanes {
    low: u64,
    high: u64,
}

/// High half onto low half of the product, so that every input bit reaches every output bit.
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a).wrapping_mul(u128::from(b));
    wide as u64 ^ (wide >> 64) as u64
}

impl Hasher for Lanes {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut buf = [0; 8];
            buf.copy_from_slice(word);
            self.write_u64(u64::from_le_bytes(buf));
        }
        let rest = words.remainder();
        let mut buf = [0; 8];
        buf[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(buf) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.low = fold(self.low ^ n, 0x9e37_79b9_7f4a_7c15).wrapping_add(self.high);
        self.high = fold(self.high.rotate_left(23) ^ n, 0xc2b2_ae3d_27d4_eb4f) ^ n.wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        mix(self.low ^ self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_removal_do_not_show() {
        let (mut one, mut two) = (SetHash::default(), SetHash::default());
        one.add(&"a");
        one.add(&"b");
        two.add(&"b");
        two.add(&"c");
        two.add(&"a");
        assert_ne!(one, two);
        two.remove(&"c");
        assert_eq!(one, two);
    }

    #[test]
    fn near_items_do_not_collide() {
        let mut all = Vec::new();
        for n in 1..=2000u64 {
            all.extend([
                of(&n),
                of(&(n, 0u8)),
                of(&(0u8, n)),
                of(&format!("f{n}")),
                of(&vec![0u8; (1 + n % 64) as usize]),
            ]);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4 * 2000 + 64);
        for bit in 0..128 {
            let ones = all.iter().filter(|h| *h >> bit & 1 == 1).count();
            assert!((3600..4500).contains(&ones), "bit {bit} is set in {ones} of {}", all.len());
        }
    }
}
