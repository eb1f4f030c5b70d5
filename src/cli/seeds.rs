//! Ranges of seeds: `0..100`, `5..=9`.

use std::str::FromStr;

use crate::base::Seed;

/// Most seeds in one sweep.
const MOST: u64 = 10_000_000;

/// A range of seeds that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    last: u64,
}

impl Seeds {
    /// One seed.
    pub const fn one(seed: Seed) -> Self {
        Self { first: seed.0, last: seed.0 }
    }

    /// All of them, ascending.
    pub fn all(self) -> Vec<Seed> {
        (self.first..=self.last).map(Seed).collect()
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not a range of seeds; write one such as 0..100 or 0..=99");
        let (first, last) = text.split_once("..").ok_or_else(refuse)?;
        let first = first.parse::<Seed>().map_err(|_| refuse())?.0;
        let last = match last.strip_prefix('=') {
            Some(last) => last.parse::<Seed>().map_err(|_| refuse())?.0,
            None => last.parse::<Seed>().ok().and_then(|end| end.0.checked_sub(1)).ok_or_else(refuse)?,
        };
        match last.checked_sub(first) {
            None => Err(format!("`{text}` holds no seed")),
            Some(span) if span >= MOST => Err(format!("`{text}` holds more than {MOST} seeds")),
            Some(_) => Ok(Self { first, last }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_rust_s() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|s| s.all().iter().map(|s| s.0).collect::<Vec<_>>());
        assert_eq!(seeds("0..3"), Ok(vec![0, 1, 2]));
        assert_eq!(seeds("5..=6"), Ok(vec![5, 6]));
        assert_eq!(seeds("0x10..0x12"), Ok(vec![16, 17]));
        assert_eq!(seeds("18446744073709551615..=18446744073709551615"), Ok(vec![u64::MAX]));
        for text in
            ["", "3", "..", "3..", "..3", "3..3", "0..0", "5..2", "a..b", "0..99999999999", "0..=18446744073709551615"]
        {
            assert!(seeds(text).is_err(), "{text}");
        }
    }
}
