//! Whether a majority of masters could work and talk: the fault budget, watched.
//!
//! Within it a correct cluster must serve; beyond it the right behaviour is to refuse and to lose nothing. A master whose
//! disk takes nothing can talk and vote as far as it has written before, and no further: without a majority of sound disks
//! nothing is promised, but an acknowledgement is not proof of a mistake either.

use std::time::Duration;

use crate::base::{HostId, SimTime};
use crate::oracle::{Core, Outage};
use crate::sim::cluster::{Cluster, Life};
use crate::sim::faults::Faults;
use crate::sim::scenario::target::Role;

/// A majority may be missing for this long before the budget counts as exceeded: a restart, not an outage.
const SHORT: Duration = Duration::from_secs(1);

/// When there was no majority.
#[derive(Debug, Default)]
pub struct CoreWatch {
    /// No majority ran and talked.
    apart: Spans,
    /// A majority did, but not one with disks that take what it writes.
    hampered: Spans,
    formed: bool,
}

/// Times that lasted.
#[derive(Debug, Default)]
struct Spans {
    since: Option<SimTime>,
    /// (from, until, why); the last one may still go on.
    all: Vec<(SimTime, Option<SimTime>, String)>,
}

impl Spans {
    fn note(&mut self, why: Option<String>, now: SimTime) {
        let goes_on = self.all.last_mut().filter(|(_, until, _)| until.is_none());
        match (why, goes_on) {
            (None, going_on) => {
                self.since = None;
                if let Some((_, until, _)) = going_on {
                    *until = Some(now);
                }
            }
            (Some(_), Some(_)) => {}
            (Some(why), None) => {
                let since = *self.since.get_or_insert(now);
                if now.since(since) > SHORT {
                    self.all.push((since, None, why));
                }
            }
        }
    }
}

impl CoreWatch {
    /// Looks at the masters. Before all of them have once worked, the cluster is still forming.
    pub fn look(&mut self, cluster: &Cluster, faults: &Faults, now: SimTime) {
        let masters = cluster.of(Role::Master).count();
        let up = || cluster.of(Role::Master).filter(|&i| cluster.members[i].life == Life::Up);
        if faults.none() {
            // After nearly every slice of time: nothing is allocated.
            let able = up().count();
            return self.note(masters, able, able, now);
        }
        let up: Vec<usize> = up().collect();
        let sound: Vec<usize> = up.iter().copied().filter(|&i| !faults.disk_refuses(i)).collect();
        let group = |members: &[usize]| {
            let hosts: Vec<HostId> = members.iter().map(|&i| cluster.members[i].host).collect();
            largest_group(&hosts, |a, b| faults.talk(a, b))
        };
        self.note(masters, group(&up), group(&sound), now);
    }

    /// `able` of `masters` can work and talk, `sound` of them with a disk that takes what they write.
    fn note(&mut self, masters: usize, able: usize, sound: usize, now: SimTime) {
        self.formed |= able == masters;
        if !self.formed {
            return;
        }
        let apart = able * 2 <= masters;
        let hampered = !apart && sound * 2 <= masters;
        self.apart.note(apart.then(|| format!("{able} of {masters} masters could work and talk")), now);
        let why = || format!("{sound} of {masters} masters could work, talk and write");
        self.hampered.note(hampered.then(why), now);
    }

    /// For the oracles.
    pub fn verdict(&self) -> Core {
        let outages = |spans: &Spans, quorum| {
            let outage =
                |(from, until, why): &_| Outage { from: *from, until: *until, why: String::clone(why), quorum };
            spans.all.iter().map(outage).collect::<Vec<_>>()
        };
        let mut all = outages(&self.apart, false);
        all.extend(outages(&self.hampered, true));
        all.sort_by_key(|outage| outage.from);
        if all.is_empty() { Core::Kept } else { Core::Beyond(all) }
    }
}

/// Whether a member that takes itself for the leader runs and hears a majority: one that is cut off or stands still may
/// claim what it likes.
pub fn has_majority(cluster: &Cluster, faults: &Faults, leader: usize) -> bool {
    let host = |i: usize| cluster.members[i].host;
    let up = cluster.of(Role::Master).filter(|&i| cluster.members[i].life == Life::Up);
    let hears = up.filter(|&i| i == leader || faults.talk(host(leader), host(i))).count();
    cluster.members[leader].life == Life::Up && hears * 2 > cluster.of(Role::Master).count()
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
        core.note(3, 1, 1, at(0));
        core.note(3, 1, 1, at(9_000));
        assert_eq!(core.verdict(), Core::Kept, "still forming");
        for (able, now) in [(3, 10_000), (1, 20_000), (2, 20_900), (1, 21_000)] {
            core.note(3, able, able, at(now));
        }
        assert_eq!(core.verdict(), Core::Kept, "a restart is no outage");
        for (able, now) in [(1, 22_020), (2, 30_000), (0, 40_000), (0, 41_020), (0, 50_000)] {
            core.note(3, able, able, at(now));
        }
        let Core::Beyond(outages) = core.verdict() else { panic!("not seen") };
        let spans: Vec<_> = outages.iter().map(|outage| (outage.from, outage.until, outage.quorum)).collect();
        assert_eq!(spans, [(at(21_000), Some(at(30_000)), false), (at(40_000), None, false)], "each by itself");
    }

    #[test]
    fn a_majority_whose_disks_take_nothing_is_beyond_the_budget_and_may_acknowledge_what_it_had_written() {
        let at = SimTime::from_millis;
        let mut core = CoreWatch::default();
        for (able, sound, now) in [(3, 3, 0), (3, 2, 1_000), (3, 2, 9_000)] {
            core.note(3, able, sound, at(now));
        }
        assert_eq!(core.verdict(), Core::Kept, "one of three disks");
        for (able, sound, now) in [(3, 1, 10_000), (3, 1, 12_000), (1, 1, 13_000), (1, 1, 15_000), (3, 3, 20_000)] {
            core.note(3, able, sound, at(now));
        }
        let Core::Beyond(outages) = core.verdict() else { panic!("not seen") };
        let spans: Vec<_> = outages.iter().map(|outage| (outage.from, outage.until, outage.quorum)).collect();
        assert_eq!(
            spans,
            [(at(10_000), Some(at(13_000)), true), (at(13_000), Some(at(20_000)), false)],
            "full disks first, then no majority at all"
        );
    }
}
