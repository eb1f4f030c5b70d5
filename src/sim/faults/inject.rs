//! From a step of the scenario to changes of the world.

use super::rot;
use super::{Active, Effect, Faults, Undo};
use crate::base::time::nanos;
use crate::base::{HostId, SimTime, Stream};
use crate::sim::cluster::{Cluster, latency, ratio};
use crate::sim::scenario::fault::{ClockJump, Degrade, DiskError, Partition};
use crate::sim::scenario::{Direction, DiskCall, Fault, Span, Targets};
use crate::world::disk::{DiskFault, Odds, Pages};
use crate::world::engine::glass::Glass;
use crate::world::engine::{LinkRule, World};
use crate::world::lab::Lab;

/// What it takes to find out whom a fault means.
pub struct Aim<'a> {
    /// Who leads now, or led last.
    pub leader: Option<usize>,
    /// Picks where one of several is meant, and which bit rots.
    pub chance: &'a mut Stream,
}

impl Faults {
    /// Injects a fault, or for a remedy takes faults back. Gives the members it was aimed at.
    pub fn inject(&mut self, lab: &Lab<Glass>, cluster: &mut Cluster, fault: &Fault, aim: Aim<'_>) -> Vec<usize> {
        let Aim { leader, chance } = aim;
        let members = cluster.resolve(fault.target(), leader, &self.victim, chance);
        let peers = |cluster: &Cluster, to: &Targets, chance: &mut Stream| cluster.resolve(to, leader, &[], chance);
        let (counted, effect, undo) = match fault {
            Fault::Thaw(_) | Fault::Heal(_) => {
                self.heal(lab, cluster, &members);
                return members;
            }
            Fault::Restart(_) => {
                members.iter().for_each(|&m| cluster.start(lab, m));
                return members;
            }
            Fault::Kill(stop) => {
                let hit = members.iter().filter(|&&m| cluster.kill(lab, m)).count();
                ("processes killed", Effect::Counted(hit as u64), restarts(lab, &members, stop.restart_after))
            }
            Fault::PowerLoss(stop) => {
                let hit = members.iter().filter(|&&m| cluster.power_loss(lab, m)).count();
                ("hosts without power", Effect::Counted(hit as u64), restarts(lab, &members, stop.restart_after))
            }
            Fault::Terminate(stop) => {
                let hit = members.iter().filter(|&&m| cluster.terminate(lab, m)).count();
                let mut undo = restarts(lab, &members, stop.restart_after.map(|s| Span(s.0 + stop.grace.0)));
                let end = lab.now() + stop.grace.0;
                undo.extend(members.iter().map(|&m| (Some(end), m, Undo::EndGrace(m))));
                ("processes told to end", Effect::Counted(hit as u64), undo)
            }
            Fault::Freeze(_) => {
                let frozen: Vec<usize> = members.iter().copied().filter(|&m| cluster.freeze(lab, m)).collect();
                let undo = frozen.iter().map(|&m| (None, m, Undo::Thaw(m))).collect();
                ("turns of tasks delayed", Effect::Counted(0), undo)
            }
            Fault::Partition(cut) => self.partition(lab, cluster, &members, &peers(cluster, &cut.to, chance), cut),
            Fault::Degrade(links) => degrade(lab, cluster, &members, &peers(cluster, &links.to, chance), links),
            Fault::DiskFull(_) => disk_fault(lab, cluster, &members, "writes refused", || DiskFault::Full { free: 0 }),
            Fault::DiskStall(_) => {
                disk_fault(lab, cluster, &members, "calls stalled", || DiskFault::Stall { until: SimTime::NEVER })
            }
            Fault::DiskError(error) => disk_fault(lab, cluster, &members, "calls failed", || disk_error(error)),
            Fault::BitRot(damage) => {
                let flipped = members.iter().map(|&m| rot::blocks(lab, cluster, m, damage.blocks, chance)).sum();
                ("blocks damaged", Effect::Counted(flipped), Vec::new())
            }
            Fault::ClockJump(jump) => {
                members.iter().for_each(|&m| clock_jump(lab, cluster, m, jump));
                ("clocks moved", Effect::Counted(members.len() as u64), Vec::new())
            }
        };
        let undo = due(undo, fault.lasting().map(|span| lab.now() + span.0));
        let hosts = cluster.names(&members);
        let at = lab.now();
        self.all.push(Active { fault: fault.to_string(), hosts, at, counted, effect, undo });
        self.victim.clone_from(&members);
        members
    }

    fn partition(
        &mut self,
        lab: &Lab<Glass>,
        cluster: &Cluster,
        members: &[usize],
        peers: &[usize],
        cut: &Partition,
    ) -> Parts {
        let (mut before, mut undo) = (Vec::new(), Vec::new());
        for (member, from, to) in directions(cluster, members, peers, cut.direction) {
            before.push((from, to, lab.world.link_counters(from, to).blocked));
            lab.world.block(from, to);
            undo.push((None, member, Undo::Unblock(from, to)));
            *self.cuts.entry(member).or_default() += 1;
        }
        ("segments stopped", Effect::Blocked(before), undo)
    }
}

type Undos = Vec<(Option<SimTime>, usize, Undo)>;
type Parts = (&'static str, Effect, Undos);

/// Gives every part without a time of its own the fault's end.
fn due(undo: Undos, end: Option<SimTime>) -> Undos {
    undo.into_iter().map(|(at, member, undo)| (at.or(end), member, undo)).collect()
}

fn restarts(lab: &Lab<Glass>, members: &[usize], after: Option<Span>) -> Undos {
    let Some(after) = after else { return Vec::new() };
    let at = lab.now() + after.0;
    members.iter().map(|&m| (Some(at), m, Undo::Restart(m))).collect()
}

/// (member, from, to) of every direction that a fault on links means.
fn directions(
    cluster: &Cluster,
    members: &[usize],
    peers: &[usize],
    direction: Direction,
) -> Vec<(usize, HostId, HostId)> {
    let mut found = Vec::new();
    for &member in members {
        for &peer in peers.iter().filter(|&&peer| peer != member) {
            let (here, there) = (cluster.members[member].host, cluster.members[peer].host);
            if direction != Direction::In {
                found.push((member, here, there));
            }
            if direction != Direction::Out {
                found.push((member, there, here));
            }
        }
    }
    found
}

fn degrade(lab: &Lab<Glass>, cluster: &Cluster, members: &[usize], peers: &[usize], links: &Degrade) -> Parts {
    let default = LinkRule::default();
    let rule = LinkRule {
        latency: links.latency.map_or(default.latency, latency),
        loss: links.loss.map(ratio).unwrap_or_default(),
        ..default
    };
    let (mut before, mut undo) = (Vec::new(), Vec::new());
    for (member, from, to) in directions(cluster, members, peers, links.direction) {
        before.push((from, to, lab.world.link_counters(from, to).ruled));
        lab.world.set_link(from, to, Some(rule));
        undo.push((None, member, Undo::Link(from, to)));
    }
    ("segments under the rule", Effect::Ruled(before), undo)
}

fn disk_fault(
    lab: &Lab<Glass>,
    cluster: &Cluster,
    members: &[usize],
    counted: &'static str,
    fault: impl Fn() -> DiskFault,
) -> Parts {
    let with_disk = members.iter().filter_map(|&m| Some((m, cluster.members[m].disk?)));
    let injected: Vec<_> = with_disk.filter_map(|(m, disk)| Some((m, lab.disks.inject(disk, fault()).ok()?))).collect();
    let undo = injected.iter().map(|&(m, id)| (None, m, Undo::Disk(id))).collect();
    (counted, Effect::Disk(injected.into_iter().map(|(_, id)| id).collect()), undo)
}

fn disk_error(error: &DiskError) -> DiskFault {
    let odds = Odds { num: error.odds.num, den: error.odds.den, limit: u64::MAX };
    let under = String::new();
    match error.on {
        DiskCall::Read => DiskFault::ReadError { under, odds },
        DiskCall::Write => DiskFault::WriteError { under, odds },
        // As ext4 since Linux 4.13: the pages are marked clean, and what they held is lost.
        DiskCall::Sync => DiskFault::SyncError { under, odds, pages: Pages::Lost },
    }
}

fn clock_jump(lab: &Lab<Glass>, cluster: &Cluster, member: usize, jump: &ClockJump) {
    let host = cluster.members[member].host;
    let by = i64::try_from(nanos(jump.by.0)).unwrap_or(i64::MAX);
    let mut clock = lab.world.clock(host);
    clock.offset_ns = clock.offset_ns.saturating_add(if jump.back { -by } else { by });
    lab.world.set_clock(host, clock);
}
