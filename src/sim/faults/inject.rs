//! From a step of the scenario to changes of the world.

use super::active::{Counter, LinkSpan, LookupSpan};
use super::links::Patch;
use super::rot;
use super::{Active, Effect, Faults, Undo};
use crate::base::time::nanos;
use crate::base::{HostId, SimTime, Stream};
use crate::sim::cluster::{Cluster, burst, latency, ratio};
use crate::sim::scenario::fault::{ClockJump, Degrade, DiskError, Dns, Terminate};
use crate::sim::scenario::{ConnectFailure, Direction, DiskCall, DnsFailure, Fault, Span, Targets};
use crate::world::disk::{DiskFault, Odds, Pages};
use crate::world::engine::{DnsFault, SynPolicy};
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
    pub fn inject(&mut self, lab: &Lab, cluster: &mut Cluster, fault: &Fault, aim: Aim<'_>) -> Vec<usize> {
        let Aim { leader, chance } = aim;
        let members = cluster.resolve(fault.target(), leader, &self.victim, chance);
        let victim = self.victim.clone();
        let peers = |cluster: &Cluster, to: &Targets, chance: &mut Stream| cluster.resolve(to, leader, &victim, chance);
        let (counted, effect, undo) = match fault {
            Fault::Thaw(_) => {
                self.thaw(lab, cluster, &members);
                return members;
            }
            Fault::Heal(_) => {
                self.heal(lab, cluster, &members);
                return members;
            }
            Fault::Restart(restart) => {
                for &member in &members {
                    if restart.new_address {
                        cluster.readdress(lab, member);
                    }
                    cluster.start(lab, member);
                }
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
            Fault::DeletePod(_) => {
                let deleted = members.iter().filter(|&&m| cluster.delete_pod(m)).count();
                ("pods deleted", Effect::Counted(deleted as u64), Vec::new())
            }
            Fault::OutOfMemory(_) => {
                let hit = members.iter().filter(|&&m| cluster.out_of_memory(lab, m)).count();
                ("processes killed", Effect::Counted(hit as u64), Vec::new())
            }
            Fault::SnapshotVolumes(image) => {
                ("snapshots taken", Effect::Counted(self.images.take(lab, cluster, &members, &image.name)), Vec::new())
            }
            Fault::RestoreVolumes(image) => {
                let restored = self.images.restore(lab, cluster, &members, &image.name);
                ("volumes put back", Effect::Counted(restored), Vec::new())
            }
            Fault::Terminate(stop) => terminate(lab, cluster, &members, stop),
            Fault::Freeze(_) => {
                let frozen: Vec<usize> = members.iter().copied().filter(|&m| cluster.freeze(lab, m)).collect();
                let undo = frozen.iter().map(|&m| (None, m, Undo::Thaw(m))).collect();
                ("turns of tasks delayed", Effect::Counted(0), undo)
            }
            Fault::Partition(cut) => {
                let links = directions(cluster, &members, &peers(cluster, &cut.to, chance), cut.direction);
                self.partition(lab, &links)
            }
            Fault::Hold(cut) => {
                let links = directions(cluster, &members, &peers(cluster, &cut.to, chance), cut.direction);
                self.hold(lab, &links)
            }
            Fault::Degrade(degrade) => {
                let links = directions(cluster, &members, &peers(cluster, &degrade.to, chance), degrade.direction);
                self.degrade(lab, &links, degrade)
            }
            Fault::ResetConnections(cut) => {
                let peers = peers(cluster, &cut.to, chance);
                let links = directions(cluster, &members, &peers, Direction::Both);
                ("connections reset", Effect::Counted(reset(lab, &links)), Vec::new())
            }
            Fault::ConnectFails(fails) => {
                let links = directions(cluster, &members, &peers(cluster, &fails.to, chance), fails.direction);
                self.shut(lab, &links, fails.how)
            }
            Fault::Dns(dns) => self.mislead(lab, cluster, &members, dns),
            Fault::DiskFull(_) => disk_fault(lab, cluster, &members, "writes refused", || DiskFault::Full { free: 0 }),
            Fault::DiskStall(_) => {
                disk_fault(lab, cluster, &members, "calls stalled", || DiskFault::Stall { until: SimTime::NEVER })
            }
            Fault::DiskError(error) => disk_fault(lab, cluster, &members, "calls failed", || disk_error(error)),
            Fault::BitRot(damage) => {
                let before = self.damage.len();
                let rot = |&m: &usize| rot::blocks(lab, cluster, m, damage.blocks, chance);
                self.damage.extend(members.iter().flat_map(rot));
                ("blocks damaged", Effect::Counted((self.damage.len() - before) as u64), Vec::new())
            }
            Fault::ClockJump(jump) => {
                members.iter().for_each(|&m| clock_jump(lab, cluster, m, jump));
                let ran = members.iter().filter(|&&m| cluster.members[m].running()).count();
                ("clocks of running programs moved", Effect::Counted(ran as u64), Vec::new())
            }
        };
        let undo = due(undo, fault.lasting().map(|span| lab.now() + span.0));
        let hosts = cluster.names(&members);
        let at = lab.now();
        self.all.push(Active {
            fault: fault.to_string(),
            hosts,
            at,
            refuses_writes: refuses_writes(fault),
            counted,
            effect,
            undo,
            skipped: None,
        });
        self.victim.clone_from(&members);
        members
    }

    fn partition(&mut self, lab: &Lab, links: &[Directed]) -> Parts {
        let effect = watch(lab, links, |counters| counters.blocked);
        let undo = links.iter().map(|&(member, from, to)| {
            lab.world.block(from, to);
            self.close(member, (from, to));
            (None, member, Undo::Unblock(from, to))
        });
        ("segments stopped", effect, undo.collect())
    }

    fn hold(&mut self, lab: &Lab, links: &[Directed]) -> Parts {
        let effect = watch(lab, links, |counters| counters.held);
        let undo = links.iter().map(|&(member, from, to)| {
            lab.world.hold(from, to);
            self.close(member, (from, to));
            (None, member, Undo::Release(from, to))
        });
        ("segments held", effect, undo.collect())
    }

    fn degrade(&mut self, lab: &Lab, links: &[Directed], degrade: &Degrade) -> Parts {
        let effect = watch(lab, links, |counters| counters.ruled);
        let patch = Patch {
            latency: degrade.latency.map(latency),
            loss: degrade.loss.map(ratio),
            burst: degrade.burst.map(burst),
        };
        let number = self.all.len();
        let undo = links.iter().map(|&(member, from, to)| {
            self.layers.add(lab, (from, to), number, patch);
            (None, member, Undo::Link(from, to))
        });
        ("segments under the rule", effect, undo.collect())
    }

    fn shut(&mut self, lab: &Lab, links: &[Directed], how: ConnectFailure) -> Parts {
        let effect = watch(lab, links, |counters| counters.syns);
        let policy = match how {
            ConnectFailure::Refused => SynPolicy::Refuse,
            ConnectFailure::Dropped => SynPolicy::Drop,
        };
        let number = self.all.len();
        let undo = links.iter().map(|&(member, from, to)| {
            self.doors.shut(lab, (from, to), number, policy);
            (None, member, Undo::Connects(from, to))
        });
        ("connects refused or dropped", effect, undo.collect())
    }

    fn mislead(&mut self, lab: &Lab, cluster: &Cluster, members: &[usize], dns: &Dns) -> Parts {
        let answers = dns.answers.map(|answers| match answers {
            DnsFailure::Unknown => DnsFault::NxDomain,
            DnsFailure::Silent => DnsFault::Silent,
            DnsFailure::Stale => DnsFault::Stale,
        });
        let number = self.all.len();
        let (mut spans, mut undo) = (Vec::new(), Vec::new());
        for &member in members {
            let host = cluster.members[member].host;
            spans.push(LookupSpan { host, before: lab.world.dns_affected(host), after: None });
            self.doors.mislead(lab, host, number, answers, dns.latency.map(latency));
            undo.push((None, member, Undo::Dns(host)));
        }
        ("lookups spoiled", Effect::Lookups(spans), undo)
    }
}

/// Resets what connects the two ends of each link, once a pair.
fn reset(lab: &Lab, links: &[Directed]) -> u64 {
    let mut pairs: Vec<(HostId, HostId)> = links.iter().map(|&(_, a, b)| (a.min(b), a.max(b))).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().map(|(a, b)| lab.world.reset_connections(a, b)).sum()
}

/// Whether nothing can be written to a disk under the fault.
fn refuses_writes(fault: &Fault) -> bool {
    match fault {
        Fault::DiskFull(_) | Fault::DiskStall(_) => true,
        Fault::DiskError(error) => error.on != DiskCall::Read && error.odds.num >= error.odds.den,
        _ => false,
    }
}

fn terminate(lab: &Lab, cluster: &mut Cluster, members: &[usize], stop: &Terminate) -> Parts {
    let told: Vec<usize> = members.iter().copied().filter(|&m| cluster.terminate(lab, m)).collect();
    let end = lab.now() + stop.grace.0;
    let end_grace = |&m: &usize| (Some(end), m, Undo::EndGrace(m, cluster.members[m].incarnation));
    let mut undo: Undos = told.iter().map(end_grace).collect();
    undo.extend(restarts(lab, members, stop.restart_after.map(|s| Span(s.0 + stop.grace.0))));
    ("processes told to end", Effect::Counted(told.len() as u64), undo)
}

/// The effect of a fault on links, counted from now on, each direction once.
fn watch(lab: &Lab, links: &[Directed], counter: Counter) -> Effect {
    let mut pairs: Vec<(HostId, HostId)> = links.iter().map(|&(_, from, to)| (from, to)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let span = |(from, to)| LinkSpan { from, to, before: counter(&lab.world.link_counters(from, to)), after: None };
    Effect::Links(counter, pairs.into_iter().map(span).collect())
}

type Undos = Vec<(Option<SimTime>, usize, Undo)>;
/// (member, from, to) of a direction that a fault on links means.
type Directed = (usize, HostId, HostId);
type Parts = (&'static str, Effect, Undos);

/// Gives every part without a time of its own the fault's end.
fn due(undo: Undos, end: Option<SimTime>) -> Undos {
    undo.into_iter().map(|(at, member, undo)| (at.or(end), member, undo)).collect()
}

fn restarts(lab: &Lab, members: &[usize], after: Option<Span>) -> Undos {
    let Some(after) = after else { return Vec::new() };
    let at = lab.now() + after.0;
    members.iter().map(|&m| (Some(at), m, Undo::Restart(m))).collect()
}

fn directions(cluster: &Cluster, members: &[usize], peers: &[usize], direction: Direction) -> Vec<Directed> {
    let mut found = Vec::new();
    for &member in members {
        for &peer in peers.iter().filter(|&&peer| peer != member) {
            let (here, there) = (cluster.members[member].host, cluster.members[peer].host);
            // On Kubernetes several stand on one host, and no cut goes through it.
            if here == there {
                continue;
            }
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

fn disk_fault(
    lab: &Lab,
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

fn clock_jump(lab: &Lab, cluster: &Cluster, member: usize, jump: &ClockJump) {
    let host = cluster.members[member].host;
    let by = i64::try_from(nanos(jump.by.0)).unwrap_or(i64::MAX);
    let mut clock = lab.world.clock(host);
    clock.offset_ns = clock.offset_ns.saturating_add(if jump.back { -by } else { by });
    lab.world.set_clock(host, clock);
}
