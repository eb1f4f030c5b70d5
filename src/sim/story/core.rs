//! Whether a majority of masters could work and talk: the fault budget, watched.
//!
//! Within it a correct cluster must serve; beyond it the right behaviour is to refuse and to lose nothing.

use std::time::Duration;

use crate::base::{HostId, SimTime};
use crate::oracle::Core;
use crate::sim::cluster::{Cluster, Life};
use crate::sim::faults::Faults;
use crate::sim::scenario::target::Role;

/// A majority may be missing for this long before the budget counts as exceeded: a restart, not an outage.
const SHORT: Duration = Duration::from_secs(1);

/// When there was no majority.
#[derive(Debug, Default)]
pub struct CoreWatch {
    since: Option<SimTime>,
    beyond: Option<(SimTime, Option<SimTime>, String)>,
    formed: bool,
}

impl CoreWatch {
    /// Looks at the masters. Before all of them have once worked, the cluster is still forming.
    pub fn look(&mut self, cluster: &Cluster, faults: &Faults, now: SimTime) {
        let masters = cluster.of(Role::Master).count();
        let up = cluster.of(Role::Master).map(|i| &cluster.members[i]).filter(|member| member.life == Life::Up);
        let up: Vec<HostId> = up.map(|member| member.host).collect();
        self.note(masters, largest_group(&up, |a, b| faults.talk(a, b)), now);
    }

    /// `able` of `masters` can work and talk.
    fn note(&mut self, masters: usize, able: usize, now: SimTime) {
        self.formed |= able == masters;
        if !self.formed {
            return;
        }
        if able * 2 > masters {
            if let Some((_, until @ None, _)) = &mut self.beyond {
                *until = Some(now);
            }
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) > SHORT && self.beyond.is_none() {
            let why = format!("{able} of {masters} masters could work and talk");
            self.beyond = Some((since, None, why));
        }
    }

    /// For the oracles.
    pub fn verdict(&self) -> Core {
        match &self.beyond {
            None => Core::Kept,
            Some((from, until, why)) => Core::Beyond { from: *from, until: *until, why: why.clone() },
        }
    }
}

/// Size of the largest group of hosts that all hear each other.
fn largest_group(hosts: &[HostId], talk: impl Fn(HostId, HostId) -> bool) -> usize {
    fn grow(group: &mut Vec<HostId>, rest: &[HostId], talk: &impl Fn(HostId, HostId) -> bool) -> usize {
        let Some((&next, rest)) = rest.split_first() else { return group.len() };
        let mut largest = 0;
        if group.iter().all(|&other| talk(other, next)) {
            group.push(next);
            largest = grow(group, rest, talk);
            group.pop();
        }
        // Without `next` there is something to win only if it hears less than all.
        if group.len() + 1 + rest.len() > largest { largest.max(grow(group, rest, talk)) } else { largest }
    }
    grow(&mut Vec::new(), hosts, &talk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(masters: u32, cuts: &[(u32, u32)]) -> usize {
        let hosts: Vec<HostId> = (0..masters).map(HostId).collect();
        largest_group(&hosts, |a, b| !cuts.contains(&(a.0, b.0)) && !cuts.contains(&(b.0, a.0)))
    }

    #[test]
    fn a_group_is_as_large_as_all_of_it_hear_each_other() {
        assert_eq!((group(0, &[]), group(3, &[]), group(5, &[])), (0, 3, 5));
        assert_eq!(group(3, &[(0, 1)]), 2, "one way is enough to be deaf");
        assert_eq!(group(3, &[(0, 1), (0, 2)]), 2, "one of three alone");
        assert_eq!(group(3, &[(0, 1), (1, 2), (2, 0)]), 1);
        assert_eq!(group(5, &[(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)]), 3, "two against three");
    }

    #[test]
    fn the_budget_is_spent_after_a_second_without_a_majority_once_the_cluster_had_formed() {
        let at = SimTime::from_millis;
        let mut core = CoreWatch::default();
        core.note(3, 1, at(0));
        core.note(3, 1, at(9_000));
        assert_eq!(core.verdict(), Core::Kept, "still forming");
        for (able, now) in [(3, 10_000), (1, 20_000), (2, 20_900), (1, 21_000)] {
            core.note(3, able, at(now));
        }
        assert_eq!(core.verdict(), Core::Kept, "a restart is no outage");
        core.note(3, 1, at(22_020));
        core.note(3, 2, at(30_000));
        let Core::Beyond { from, until, .. } = core.verdict() else { panic!("not seen") };
        assert_eq!((from, until), (at(21_000), Some(at(30_000))));
    }
}
