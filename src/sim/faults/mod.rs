//! Faults of a run: injected by step, taken back by time, by `heal`, or at the end; each with the proof that it acted.
//!
//! They act on hosts, links, disks and clocks; never on the memory of the stack.

mod active;
mod inject;
mod rot;

use std::collections::BTreeMap;

pub use active::{Active, Effect, Undo};
pub use inject::Aim;

use crate::base::SimTime;
use crate::oracle::FaultEffect;
use crate::sim::cluster::{Cluster, Life};
use crate::world::engine::World;
use crate::world::engine::glass::Glass;
use crate::world::lab::Lab;

/// What was injected and what is still to be taken back.
#[derive(Default)]
pub struct Faults {
    all: Vec<Active>,
    /// Whom the last fault hit.
    pub victim: Vec<usize>,
    /// How many cuts keep a member from others.
    cuts: BTreeMap<usize, u32>,
}

impl Faults {
    /// When the next part of a fault is due to be taken back.
    pub fn next_due(&self) -> Option<SimTime> {
        self.all.iter().flat_map(|active| &active.undo).filter_map(|(at, ..)| *at).min()
    }

    /// Takes back what is due. Gives the texts of the faults and the members, for progress.
    pub fn expire(&mut self, lab: &Lab<Glass>, cluster: &mut Cluster, now: SimTime) -> Vec<(String, Vec<String>)> {
        self.take_back(lab, cluster, |at, _, _| at.is_some_and(|at| at <= now))
    }

    /// Takes back what concerns `members`: cuts, disk faults, pauses. Stopped programs stay stopped.
    pub fn heal(&mut self, lab: &Lab<Glass>, cluster: &mut Cluster, members: &[usize]) -> Vec<(String, Vec<String>)> {
        self.take_back(lab, cluster, |_, member, undo| undo.by_heal() && members.contains(&member))
    }

    /// Takes everything back, and starts whatever does not run.
    pub fn heal_all(&mut self, lab: &Lab<Glass>, cluster: &mut Cluster) {
        self.take_back(lab, cluster, |_, _, _| true);
        for index in 0..cluster.members.len() {
            if cluster.members[index].life == Life::Frozen {
                cluster.thaw(lab, index);
            }
            cluster.start(lab, index);
        }
    }

    /// Whether a cut keeps the member from others.
    pub fn cut_off(&self, member: usize) -> bool {
        self.cuts.get(&member).is_some_and(|cuts| *cuts > 0)
    }

    fn take_back(
        &mut self,
        lab: &Lab<Glass>,
        cluster: &mut Cluster,
        due: impl Fn(Option<SimTime>, usize, Undo) -> bool,
    ) -> Vec<(String, Vec<String>)> {
        let mut ended = Vec::new();
        for active in &mut self.all {
            let (now, later): (Vec<_>, Vec<_>) = active.undo.drain(..).partition(|&(at, m, undo)| due(at, m, undo));
            active.undo = later;
            for &(_, member, undo) in &now {
                let late = undo_one(lab, cluster, undo);
                if let Effect::Counted(count) = &mut active.effect {
                    *count += late;
                }
                if matches!(undo, Undo::Unblock(..)) {
                    self.cuts.entry(member).and_modify(|cuts| *cuts = cuts.saturating_sub(1));
                }
            }
            if !now.is_empty() {
                ended.push((active.fault.clone(), active.hosts.clone()));
            }
        }
        ended
    }

    /// What became of each fault so far.
    pub fn effects(&self, lab: &Lab<Glass>) -> Vec<FaultEffect> {
        let told = |active: &Active| FaultEffect {
            fault: active.fault.clone(),
            at: active.at,
            counted: active.counted.into(),
            effects: count(lab, &active.effect),
            skipped: None,
        };
        self.all.iter().map(told).collect()
    }
}

/// Gives what the undoing itself shows of the fault's effect.
fn undo_one(lab: &Lab<Glass>, cluster: &mut Cluster, undo: Undo) -> u64 {
    match undo {
        Undo::Unblock(from, to) => lab.world.unblock(from, to),
        Undo::Link(from, to) => lab.world.set_link(from, to, None),
        Undo::Disk(fault) => lab.disks.clear(fault),
        Undo::Thaw(member) => return cluster.thaw(lab, member),
        Undo::Restart(member) => cluster.start(lab, member),
        Undo::EndGrace(member) => {
            cluster.kill(lab, member);
        }
    }
    0
}

fn count(lab: &Lab<Glass>, effect: &Effect) -> u64 {
    match effect {
        Effect::Counted(count) => *count,
        Effect::Blocked(links) => {
            links.iter().map(|(from, to, before)| lab.world.link_counters(*from, *to).blocked - before).sum()
        }
        Effect::Ruled(links) => {
            links.iter().map(|(from, to, before)| lab.world.link_counters(*from, *to).ruled - before).sum()
        }
        Effect::Disk(faults) => faults.iter().map(|fault| lab.disks.hits(*fault)).sum(),
    }
}
