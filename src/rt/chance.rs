//! Chance, by name.

use rand::TryRng;
use rand::rngs::SysRng;

use super::backend::with_engine;
use crate::base::{Seed, Stream};

/// A new random stream for `domain`. In a world it follows from the seed, the host, the incarnation of the process and
/// how many streams of this name the process has asked for; live it starts from the operating system's entropy.
pub fn stream(domain: &str) -> Stream {
    with_engine(|e| e.stream(domain)).unwrap_or_else(|| live_seed().stream(domain, 0))
}

/// Sixty-four bits from the operating system. Its entropy source does not fail once a machine is up; if it does, the
/// address of a local variable still tells processes apart.
fn live_seed() -> Seed {
    let mark = 0u8;
    Seed(SysRng.try_next_u64().unwrap_or(std::ptr::from_ref(&mark) as u64))
}
