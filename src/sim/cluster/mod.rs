//! The cluster of a run, built from the manifests: hosts, disks, links, and the lives of their programs.
//!
//! A thin piece that stands where the simulated Kubernetes will: it knows names, addresses and roles as Fluid gives them,
//! and starts and stops programs. What the programs are is told by `programs.rs`.

mod blocks;
mod build;
mod member;
mod pods;
mod programs;
mod servers;
mod target;

use std::ops::Range;
use std::sync::Arc;

pub use blocks::{BlockFile, block_files, cached_bytes, disk_changes, whole_blocks};
use build::address;
pub use build::{build, burst, latency, ratio};
pub use member::{Life, Member};
pub use programs::{
    JOURNAL_PORT, MASTER_PORT, Programs, WORKER_PORT, client_options, master_config, url_path, web_options,
    worker_tuning,
};
pub use servers::{Secrets, StoreServer, servers};

use crate::base::{HostId, SimTime};
use crate::sim::kubernetes::{Component, Kubernetes};
use crate::sim::scenario::target::Role;
use crate::stack::observe::{MasterFacts, Observer};
use crate::world::lab::Lab;

/// Hosts and what runs on them.
pub struct Cluster {
    /// All members: masters, workers, fuse clients, under-stores, in this order.
    pub members: Vec<Member>,
    /// The Kubernetes that starts and ends the members' programs, if the scenario has one.
    pub kubernetes: Option<Kubernetes>,
    programs: Programs,
    changes: u64,
    /// Whether the pods were looked at before.
    served: bool,
    /// Processes of the world that had ended when exits were noticed last, if the engine counts them.
    ended: Option<u64>,
}

impl Cluster {
    /// Indexes of the members of a role.
    pub fn of(&self, role: Role) -> Range<usize> {
        let first = |beyond: &dyn Fn(Role) -> bool| self.members.partition_point(|member| !beyond(member.plan.role));
        first(&|at| at >= role)..first(&|at| at > role)
    }

    /// Counts the changes of any member's life: whoever saw this number before has nothing new to see.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The programs' configurations.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Starts a member's program, with power if it had none. Nothing if it runs.
    pub fn start(&mut self, lab: &Lab, index: usize) {
        if self.power_on(lab, index) {
            return;
        }
        let member = &mut self.members[index];
        if member.running() {
            return;
        }
        lab.world.power_on(member.host);
        member.incarnation += 1;
        member.ending = false;
        member.observer = Arc::new(Observer::default());
        let program = self.programs.program(member);
        let name = member.plan.name.clone();
        // The host has power: starting cannot fail.
        member.process = lab.world.start(member.host, &name, program).ok();
        member.life = Life::Up;
        self.changes += 1;
    }

    /// On Kubernetes: the member's node gets its power and its kubelet back, which starts what was there. Gives whether the
    /// member is Kubernetes' to start.
    fn power_on(&mut self, lab: &Lab, index: usize) -> bool {
        let host = self.members[index].host;
        let role = self.members[index].plan.role;
        let Some(kubernetes) = &mut self.kubernetes else { return false };
        if role == Role::Control {
            kubernetes.start_component(lab, Component::ALL[self.members[index].plan.index as usize]);
            self.changes += 1;
            return true;
        }
        let Some(node) = kubernetes.node_on(host) else { return false };
        kubernetes.power_on(lab, node);
        for member in self.members.iter_mut().filter(|member| member.host == host && member.life == Life::Dark) {
            member.life = Life::Stopped;
        }
        self.changes += 1;
        true
    }

    /// The host loses its power, and on Kubernetes every member on it.
    fn pull_plug(&mut self, lab: &Lab, host: HostId) {
        let node = self.kubernetes.as_mut().and_then(|kubernetes| kubernetes.node_on(host).map(|n| (kubernetes, n)));
        match node {
            Some((kubernetes, node)) => drop(kubernetes.power_loss(lab, node)),
            None => lab.power_loss(host),
        }
        for member in self.members.iter_mut().filter(|member| member.host == host) {
            member.guests.clear();
            member.life = Life::Dark;
        }
        self.changes += 1;
    }

    /// Gives a member that does not run another address; its name follows.
    pub fn readdress(&mut self, lab: &Lab, index: usize) {
        let member = &mut self.members[index];
        if member.running() {
            return;
        }
        member.moves += 1;
        member.ip = address(member.plan.role, member.plan.index, member.moves);
        lab.world.set_address(member.host, member.ip);
    }

    /// Deletes the member's pod as a user would. Gives whether there was one.
    pub fn delete_pod(&self, index: usize) -> bool {
        let member = &self.members[index];
        match (&self.kubernetes, &member.pod) {
            (Some(kubernetes), Some(pod)) => kubernetes.delete_pod(pod),
            _ => false,
        }
    }

    /// The kernel kills the member's program at its memory limit. Gives whether there was one to kill.
    pub fn out_of_memory(&mut self, lab: &Lab, index: usize) -> bool {
        let member = &self.members[index];
        let (Some(kubernetes), Some(container)) = (&self.kubernetes, &member.container) else { return false };
        member.running() && kubernetes.out_of_memory(container) && self.kill(lab, index)
    }

    /// SIGKILL, for those who use the member's mount as well. Gives whether there was something to kill.
    pub fn kill(&mut self, lab: &Lab, index: usize) -> bool {
        let member = &mut self.members[index];
        let Some(process) = member.process.filter(|_| member.running()) else { return false };
        lab.world.kill(process);
        member.guests.drain(..).for_each(|guest| lab.world.kill(guest));
        member.life = Life::Stopped;
        self.changes += 1;
        true
    }

    /// SIGTERM. Gives whether there was somebody to tell.
    pub fn terminate(&mut self, lab: &Lab, index: usize) -> bool {
        let member = &mut self.members[index];
        let Some(process) = member.process.filter(|_| member.running()) else { return false };
        lab.world.terminate(process);
        member.ending = true;
        true
    }

    /// Pulls the plug: unsynced data are gone. Gives whether there was power.
    pub fn power_loss(&mut self, lab: &Lab, index: usize) -> bool {
        if self.members[index].life == Life::Dark {
            return false;
        }
        self.pull_plug(lab, self.members[index].host);
        true
    }

    /// Stops a program in its tracks.
    pub fn freeze(&mut self, lab: &Lab, index: usize) -> bool {
        let member = &mut self.members[index];
        let Some(process) = member.process.filter(|_| member.life == Life::Up) else { return false };
        lab.world.freeze(process);
        member.guests.iter().for_each(|guest| lab.world.freeze(*guest));
        member.life = Life::Frozen;
        self.changes += 1;
        true
    }

    /// Lets it go on; gives how many of its tasks were late.
    pub fn thaw(&mut self, lab: &Lab, index: usize) -> u64 {
        let member = &mut self.members[index];
        let Some(process) = member.process.filter(|_| member.life == Life::Frozen) else { return 0 };
        member.life = Life::Up;
        self.changes += 1;
        member.guests.iter().chain([&process]).map(|process| lab.world.thaw(*process) as u64).sum()
    }

    /// Notes programs that ended, and gives those that nobody had asked to.
    pub fn notice_exits(&mut self, lab: &Lab) -> Vec<usize> {
        let mut ended = Vec::new();
        if self.kubernetes.is_some() {
            // Its kubelets notice, and start again what they should.
            return ended;
        }
        let count = lab.world.ended();
        if count.is_some() && count == self.ended {
            return ended;
        }
        self.ended = count;
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.running() && member.process.is_some_and(|p| !lab.world.running(p)) {
                member.guests.drain(..).for_each(|guest| lab.world.kill(guest));
                member.life = Life::Stopped;
                self.changes += 1;
                ended.extend((!member.ending).then_some(index));
            }
        }
        ended
    }

    /// On Kubernetes: carries out what was ordered, and takes over what its pods have come to.
    pub fn serve(&mut self, lab: &Lab) {
        let Some(kubernetes) = &mut self.kubernetes else { return };
        if !kubernetes.serve(lab) && self.served {
            return;
        }
        self.served = true;
        for member in &mut self.members {
            if pods::follow(member, kubernetes, lab) {
                self.changes += 1;
            }
        }
    }

    /// The master that serves clients: of those that say so, the one with the highest term. A master that is frozen or
    /// cut off may still believe that it serves; its term tells.
    pub fn leader(&self) -> Option<usize> {
        let serving = |i: usize| {
            let member = &self.members[i];
            let term = if member.running() { member.observer.look(|facts| facts.serving) } else { None };
            term.map(|term| (term, i))
        };
        self.of(Role::Master).filter_map(serving).max().map(|(_, i)| i)
    }

    /// A master's facts, if its program runs.
    pub fn facts(&self, index: usize) -> Option<MasterFacts> {
        let member = &self.members[index];
        member.running().then(|| member.observer.facts())
    }

    /// Names of members.
    pub fn names(&self, indexes: &[usize]) -> Vec<String> {
        indexes.iter().map(|&i| self.members[i].plan.name.clone()).collect()
    }

    /// What a member is, in a word, for tables.
    pub fn role_word(&self, index: usize) -> &'static str {
        use crate::stack::observe::Role as Raft;
        let member = &self.members[index];
        match member.plan.role {
            Role::Worker => "worker",
            Role::Fuse => "fuse",
            Role::UnderStore => "under-store",
            Role::Node => "kubelet",
            Role::Control => "control plane",
            Role::Master if !member.running() => "follower",
            Role::Master => match member.observer.look(|facts| facts.role) {
                Raft::Leader => "leader",
                Raft::Candidate => "candidate",
                Raft::Learner => "learner",
                Raft::Follower | Raft::Down => "follower",
            },
        }
    }

    /// Start times of the programs at boot: each member a little after the other, as pods come up.
    pub fn boot_order(&self, jitter: &mut crate::base::Stream) -> Vec<(SimTime, usize)> {
        let here = |i: &usize| self.kubernetes.is_none() || self.members[*i].plan.role == Role::UnderStore;
        let mut order: Vec<_> = (0..self.members.len())
            .filter(here)
            .map(|i| {
                let late = match self.members[i].plan.role {
                    Role::UnderStore => 0,
                    Role::Master => jitter.range(0..=2_000),
                    Role::Worker | Role::Fuse | Role::Node | Role::Control => jitter.range(1_000..=3_000),
                };
                (SimTime::from_millis(late), i)
            })
            .collect();
        order.sort();
        order
    }
}
