//! Members whose programs are containers: they follow their pods from node to node and from start to start.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Life, Member};
use crate::base::HostId;
use crate::sim::kubernetes::{Component, Kubernetes, Node, Part, Seen};
use crate::sim::scenario::PlannedHost;
use crate::sim::scenario::target::Role;
use crate::stack::observe::Observer;
use crate::world::lab::Lab;

impl Kubernetes {
    /// Where a member stands before its pod is anywhere; none for one that is outside of the cluster.
    pub fn place(&self, plan: &PlannedHost) -> Option<(HostId, Ipv4Addr)> {
        match plan.role {
            Role::UnderStore => None,
            Role::Control => Some(self.plane_host),
            Role::Master | Role::Worker | Role::Fuse | Role::Node => {
                let node = self.nodes.get(plan.index as usize % self.nodes.len().max(1))?;
                Some((node.machine.id.host, node.machine.id.ip))
            }
        }
    }

    /// The container that is the member's program now.
    fn of(&self, member: &Member) -> Option<(&Node, Seen)> {
        let name = &member.plan.name;
        match member.plan.role {
            Role::Master => self.running(|pod| pod == name, |part| matches!(part, Part::Master(_))),
            Role::Worker => self.worker(name, member.plan.index as usize),
            Role::Fuse => {
                let node = self.nodes.get(member.plan.index as usize)?;
                node.running(|_| true, |part| matches!(part, Part::Fuse)).map(|seen| (node, seen))
            }
            Role::UnderStore | Role::Node | Role::Control => None,
        }
    }

    /// A worker by its pod's name, or, where workers are a DaemonSet, by its place among the nodes.
    fn worker(&self, name: &str, index: usize) -> Option<(&Node, Seen)> {
        let worker = |part: &Part| matches!(part, Part::Worker(_));
        self.running(|pod| pod == name, worker).or_else(|| {
            let set = name.rsplit_once('-').map_or(name, |(set, _)| set);
            let stateful = |pod: &str| pod.rsplit_once('-').is_some_and(|(_, n)| n.parse::<u32>().is_ok());
            let node = self.nodes.get(index)?;
            let seen = node.running(|pod| pod.starts_with(set) && !stateful(pod), worker)?;
            Some((node, seen))
        })
    }
}

/// Takes over what the member's pod has come to. Gives whether anything changed.
pub(super) fn follow(member: &mut Member, kubernetes: &Kubernetes, lab: &Lab) -> bool {
    let process = match member.plan.role {
        Role::UnderStore => return false,
        Role::Node => kubernetes.nodes.get(member.plan.index as usize).and_then(|node| node.kubelet),
        Role::Control => kubernetes.components.get(&Component::ALL[member.plan.index as usize]).copied(),
        Role::Master | Role::Worker | Role::Fuse => return follow_pod(member, kubernetes, lab),
    };
    match process.filter(|process| lab.world.running(*process)) {
        None => stop(member, kubernetes, lab),
        Some(process) if member.process == Some(process) && member.running() => false,
        Some(process) => {
            member.process = Some(process);
            member.life = Life::Up;
            member.incarnation += 1;
            true
        }
    }
}

fn follow_pod(member: &mut Member, kubernetes: &Kubernetes, lab: &Lab) -> bool {
    let Some((node, seen)) = kubernetes.of(member).filter(|(_, seen)| seen.process.is_some()) else {
        return stop(member, kubernetes, lab);
    };
    if let Part::Worker(store) = &seen.part {
        member.store = store.get().cloned().unwrap_or_default();
    }
    if member.container.as_deref() == Some(&seen.id) && member.running() {
        return false;
    }
    member.guests.drain(..).for_each(|guest| lab.world.kill(guest));
    (member.host, member.ip) = (node.machine.id.host, node.machine.id.ip);
    member.disk = lab.disks.mounts(member.host).into_iter().find_map(|(at, disk)| (at == "/").then_some(disk));
    member.process = seen.process;
    member.life = Life::Up;
    member.incarnation += 1;
    member.observer = match seen.part {
        Part::Master(observer) => observer,
        _ => Arc::new(Observer::default()),
    };
    // Another pod object begins with another journal, unless that is on a volume: its `emptyDir` is new.
    let moved = member.pod.as_ref().is_some_and(|pod| *pod != seen.uid);
    if moved && (seen.volumes.is_empty() || seen.volumes != member.volumes) {
        member.storage += 1;
    }
    member.volumes = seen.volumes;
    (member.container, member.pod) = (Some(seen.id), Some(seen.uid));
    true
}

fn stop(member: &mut Member, kubernetes: &Kubernetes, lab: &Lab) -> bool {
    if !member.running() {
        return false;
    }
    member.guests.drain(..).for_each(|guest| lab.world.kill(guest));
    let powered = kubernetes.node_on(member.host).is_none_or(|node| kubernetes.nodes[node].powered);
    member.life = if powered { Life::Stopped } else { Life::Dark };
    true
}
