//! Ports of the nodes for runtimes that use their network.
//!
//! Fluid's controllers hand them out of one range per cache. The policy `bitmap` takes the lowest that is free, which is
//! why the documents show 20000 and 26000: the first port of a fresh range goes to the first master's RPC. The policy
//! `random` is upstream's default today. Ports come back when the runtime is deleted; a controller that restarts learns
//! what is taken from the runtimes that there are (upstream leaked them: issue #1991).

use std::collections::BTreeSet;
use std::ops::Range;

use crate::base::Stream;

/// How a free port is chosen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum PortPolicy {
    /// The lowest.
    #[default]
    Bitmap,
    /// Any.
    Random,
}

/// No port is free in the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} ports are wanted and {free} of {}-{} are free", range.start, range.end - 1)]
pub struct PortsExhausted {
    /// How many were asked for.
    pub wanted: usize,
    /// How many there were.
    pub free: usize,
    /// Of which range.
    pub range: Range<u16>,
}

/// The ports of one range.
#[derive(Debug, Clone)]
pub struct Ports {
    range: Range<u16>,
    policy: PortPolicy,
    taken: BTreeSet<u16>,
}

impl Ports {
    /// All of `range` is free but `taken`; what of that lies outside is of no interest.
    pub fn new(range: Range<u16>, policy: PortPolicy, taken: impl IntoIterator<Item = u16>) -> Self {
        let taken = taken.into_iter().filter(|port| range.contains(port)).collect();
        Self { range, policy, taken }
    }

    /// Takes `count` ports, all or none. `chance` is asked by the policy `random` only.
    ///
    /// # Errors
    /// If fewer are free.
    pub fn take(&mut self, count: usize, chance: &mut Stream) -> Result<Vec<u16>, PortsExhausted> {
        let mut free: Vec<u16> = self.range.clone().filter(|port| !self.taken.contains(port)).collect();
        if free.len() < count {
            return Err(PortsExhausted { wanted: count, free: free.len(), range: self.range.clone() });
        }
        let chosen: Vec<u16> = match self.policy {
            PortPolicy::Bitmap => free.drain(..count).collect(),
            PortPolicy::Random => {
                (0..count).map(|_| free.swap_remove(chance.below(free.len() as u64) as usize)).collect()
            }
        };
        self.taken.extend(&chosen);
        Ok(chosen)
    }

    /// Gives ports back.
    pub fn give_back(&mut self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            self.taken.remove(&port);
        }
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.range.len() - self.taken.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Seed;

    fn chance() -> Stream {
        Seed(1).stream("ports", 0)
    }

    #[test]
    fn the_lowest_free_ports_are_taken_and_come_back() {
        let mut ports = Ports::new(100..105, PortPolicy::Bitmap, [101, 7]);
        assert_eq!(ports.take(2, &mut chance()), Ok(vec![100, 102]));
        assert_eq!(ports.take(3, &mut chance()), Err(PortsExhausted { wanted: 3, free: 2, range: 100..105 }));
        ports.give_back([100]);
        assert_eq!(ports.take(3, &mut chance()), Ok(vec![100, 103, 104]));
        assert_eq!(ports.free(), 0);
    }

    proptest! {
        #[test]
        fn no_port_is_given_twice(random: bool, asks in proptest::collection::vec(0usize..6, 1..12)) {
            let policy = if random { PortPolicy::Random } else { PortPolicy::Bitmap };
            let mut ports = Ports::new(1000..1020, policy, []);
            let (mut chance, mut given) = (chance(), BTreeSet::new());
            for ask in asks {
                match ports.take(ask, &mut chance) {
                    Ok(some) => some.into_iter().for_each(|port| assert!((1000..1020).contains(&port) && given.insert(port))),
                    Err(why) => assert!(why.free < ask && why.free == 20 - given.len()),
                }
            }
            prop_assert_eq!(ports.free(), 20 - given.len());
        }
    }
}
