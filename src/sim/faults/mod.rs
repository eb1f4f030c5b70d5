//! Faults of a run: injected by step, taken back by time, by `heal`, or at the end; each with the proof that it acted.
//!
//! They act on hosts, links, disks and clocks; never on the memory of the stack.

mod active;
mod doors;
mod images;
mod inject;
mod links;
mod needs;
mod rot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use active::{Active, Effect, Undo};
pub use inject::Aim;
pub use needs::{lacking, left_out};

use self::doors::Doors;
use self::images::VolumeImages;
use self::links::Layers;
use crate::base::{HostId, SimTime};
use crate::oracle::{Damage, FaultEffect};
use crate::sim::cluster::{Cluster, Life};
use crate::sim::scenario::Fault;
use crate::world::lab::Lab;

/// What was injected and what is still to be taken back.
#[derive(Default)]
pub struct Faults {
    all: Vec<Active>,
    /// Whom the last fault hit.
    pub victim: Vec<usize>,
    /// How many cuts keep a member from others.
    cuts: BTreeMap<usize, u32>,
    /// How many cuts or holds are on a direction.
    closed: BTreeMap<(HostId, HostId), u32>,
    layers: Layers,
    doors: Doors,
    images: VolumeImages,
    /// Copies of blocks that media destroyed so far.
    pub damage: Vec<Damage>,
}

impl Faults {
    /// When the next part of a fault is due to be taken back.
    pub fn next_due(&self) -> Option<SimTime> {
        self.all.iter().flat_map(|active| &active.undo).filter_map(|(at, ..)| *at).min()
    }

    /// Takes back what is due. Gives the texts of the faults and the members, for progress.
    pub fn expire(&mut self, lab: &Lab, cluster: &mut Cluster, now: SimTime) -> Vec<(String, Vec<String>)> {
        self.take_back(lab, cluster, |at, _, _| at.is_some_and(|at| at <= now))
    }

    /// Takes back what concerns `members`: cuts, disk faults, pauses. Stopped programs stay stopped.
    pub fn heal(&mut self, lab: &Lab, cluster: &mut Cluster, members: &[usize]) -> Vec<(String, Vec<String>)> {
        self.take_back(lab, cluster, |_, member, undo| undo.by_heal() && members.contains(&member))
    }

    /// Lets frozen `members` go on, and mends nothing else.
    pub fn thaw(&mut self, lab: &Lab, cluster: &mut Cluster, members: &[usize]) -> Vec<(String, Vec<String>)> {
        self.take_back(lab, cluster, |_, _, undo| matches!(undo, Undo::Thaw(member) if members.contains(&member)))
    }

    /// Takes everything back, and starts whatever does not run.
    pub fn heal_all(&mut self, lab: &Lab, cluster: &mut Cluster) {
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

    /// Whether any member was ever cut off.
    pub fn cut_anyone(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Whether all links are open and nothing is left to be taken back: everybody talks, and no disk refuses.
    pub fn none(&self) -> bool {
        self.closed.is_empty() && self.all.iter().all(|active| active.undo.is_empty())
    }

    /// Whether two hosts hear each other, as far as cuts and holds go.
    pub fn talk(&self, a: HostId, b: HostId) -> bool {
        !self.closed.contains_key(&(a, b)) && !self.closed.contains_key(&(b, a))
    }

    /// Whether the member's disk takes no writes: it is full, stalled, or fails every write or sync.
    pub fn disk_refuses(&self, member: usize) -> bool {
        let on_disk = |undo: &(Option<SimTime>, usize, Undo)| undo.1 == member && matches!(undo.2, Undo::Disk(_));
        self.all.iter().any(|active| active.refuses_writes && active.undo.iter().any(on_disk))
    }

    fn close(&mut self, member: usize, link: (HostId, HostId)) {
        *self.cuts.entry(member).or_default() += 1;
        *self.closed.entry(link).or_default() += 1;
    }

    fn open(&mut self, member: usize, link: (HostId, HostId)) {
        self.cuts.entry(member).and_modify(|cuts| *cuts = cuts.saturating_sub(1));
        if let Some(cuts) = self.closed.get_mut(&link) {
            *cuts -= 1;
            if *cuts == 0 {
                self.closed.remove(&link);
            }
        }
    }

    fn take_back(
        &mut self,
        lab: &Lab,
        cluster: &mut Cluster,
        due: impl Fn(Option<SimTime>, usize, Undo) -> bool,
    ) -> Vec<(String, Vec<String>)> {
        let mut ended = Vec::new();
        for number in 0..self.all.len() {
            let undo = std::mem::take(&mut self.all[number].undo);
            let (now, later): (Vec<_>, Vec<_>) = undo.into_iter().partition(|&(at, m, undo)| due(at, m, undo));
            self.all[number].undo = later;
            for &(_, member, undo) in &now {
                let late = self.undo(lab, cluster, number, member, undo);
                match &mut self.all[number].effect {
                    Effect::Counted(count) => *count += late,
                    // What happens on the link from now on is not this fault's doing.
                    Effect::Links(counter, spans) => {
                        let of_link = |span: &&mut active::LinkSpan| undo.link() == Some((span.from, span.to));
                        for span in spans.iter_mut().filter(of_link) {
                            span.after = Some(counter(&lab.world.link_counters(span.from, span.to)));
                        }
                    }
                    Effect::Lookups(spans) => {
                        for span in spans.iter_mut().filter(|span| undo == Undo::Dns(span.host)) {
                            span.after = Some(lab.world.dns_affected(span.host));
                        }
                    }
                    Effect::Disk(_) => {}
                }
            }
            if !now.is_empty() {
                ended.push((self.all[number].fault.clone(), self.all[number].hosts.clone()));
            }
        }
        ended
    }

    /// Gives what the undoing itself shows of the fault's effect.
    fn undo(&mut self, lab: &Lab, cluster: &mut Cluster, number: usize, member: usize, undo: Undo) -> u64 {
        match undo {
            Undo::Unblock(from, to) => {
                lab.world.unblock(from, to);
                self.open(member, (from, to));
            }
            Undo::Release(from, to) => {
                lab.world.release(from, to);
                self.open(member, (from, to));
            }
            Undo::Link(from, to) => self.layers.remove(lab, (from, to), number),
            Undo::Connects(from, to) => self.doors.open(lab, (from, to), number),
            Undo::Dns(host) => self.doors.set_right(lab, host, number),
            Undo::Disk(fault) => lab.disks.clear(fault),
            Undo::Thaw(member) => return cluster.thaw(lab, member),
            Undo::Restart(member) => cluster.start(lab, member),
            Undo::EndGrace(member, incarnation) => {
                if cluster.members[member].incarnation == incarnation {
                    cluster.kill(lab, member);
                }
            }
        }
        0
    }

    /// Notes a fault that the engine cannot express.
    pub fn skip(&mut self, fault: &Fault, at: SimTime, why: String) {
        let (fault, effect) = (fault.to_string(), Effect::Counted(0));
        let undo = Vec::new();
        let (hosts, refuses_writes, skipped) = (Vec::new(), false, Some(why));
        self.all.push(Active { fault, hosts, at, refuses_writes, counted: "", effect, undo, skipped });
    }

    /// What became of each fault so far.
    pub fn effects(&self, lab: &Lab) -> Vec<FaultEffect> {
        let told = |active: &Active| FaultEffect {
            fault: active.fault.clone(),
            at: active.at,
            counted: active.counted.into(),
            effects: count(lab, &active.effect),
            skipped: active.skipped.clone(),
        };
        self.all.iter().map(told).collect()
    }
}

fn count(lab: &Lab, effect: &Effect) -> u64 {
    match effect {
        Effect::Counted(count) => *count,
        Effect::Links(counter, spans) => {
            let now = |span: &active::LinkSpan| counter(&lab.world.link_counters(span.from, span.to));
            spans.iter().map(|span| span.after.unwrap_or_else(|| now(span)) - span.before).sum()
        }
        Effect::Lookups(spans) => {
            let now = |span: &active::LookupSpan| lab.world.dns_affected(span.host);
            spans.iter().map(|span| span.after.unwrap_or_else(|| now(span)) - span.before).sum()
        }
        Effect::Disk(faults) => faults.iter().map(|fault| lab.disks.hits(*fault)).sum(),
    }
}
