//! Whom a step means, at the moment it is reached.

use super::{Cluster, Member};
use crate::base::Stream;
use crate::sim::scenario::target::Role;
use crate::sim::scenario::{Target, Targets};

/// Whether a target that needs no roles of the moment names the member.
pub(super) fn names(target: &Target, member: &Member) -> bool {
    let role = member.plan.role;
    match target {
        Target::All => true,
        Target::Masters => role == Role::Master,
        Target::Workers => role == Role::Worker,
        Target::Fuses => role == Role::Fuse,
        Target::UnderStores => role == Role::UnderStore,
        Target::Nodes => role == Role::Node,
        Target::Member(of, index) => role == *of && member.plan.index == *index,
        Target::Host(name) => member.plan.name == *name,
        Target::Leader | Target::Follower | Target::Followers | Target::Worker | Target::Fuse | Target::Victim => false,
    }
}

impl Cluster {
    /// The members that `targets` mean now, in order, each once. `leader` is the one that leads now or last led;
    /// `victim` whom the last fault hit; `chance` picks where a role has several and one is meant.
    pub fn resolve(
        &self,
        targets: &Targets,
        leader: Option<usize>,
        victim: &[usize],
        chance: &mut Stream,
    ) -> Vec<usize> {
        let mut found: Vec<usize> = targets.0.iter().flat_map(|t| self.one(t, leader, victim, chance)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn one(&self, target: &Target, leader: Option<usize>, victim: &[usize], chance: &mut Stream) -> Vec<usize> {
        let followers = || self.of(Role::Master).filter(|i| Some(*i) != leader);
        let running = |i: &usize| self.members[*i].running();
        let mut pick = |from: Vec<usize>| chance.pick(&from).copied().into_iter().collect();
        match target {
            Target::Leader => leader.into_iter().collect(),
            Target::Followers => followers().collect(),
            Target::Follower => pick(followers().filter(running).collect()),
            Target::Worker => pick(self.of(Role::Worker).filter(running).collect()),
            Target::Fuse => pick(self.of(Role::Fuse).filter(running).collect()),
            Target::Victim => victim.to_vec(),
            fixed => (0..self.members.len()).filter(|&i| names(fixed, &self.members[i])).collect(),
        }
    }
}
