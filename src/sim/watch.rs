//! Looks at the masters between steps of the world: who leads, what was applied, and how each failover went.
//!
//! Looking changes nothing. A member is noted whenever what it tells has changed since the last look.

use std::collections::BTreeMap;

use crate::base::SimTime;
use crate::oracle::observation::{CarriedOut, LogDigest, LogId, MasterObservation, Role};
use crate::sim::cluster::Cluster;
use crate::sim::outcome::Failover;
use crate::sim::progress::{HostState, ProcessState};
use crate::sim::scenario::target;
use crate::stack::observe::{Applied, EntryId, MasterFacts, Role as Raft};

/// What was seen so far.
#[derive(Default)]
pub struct Watch {
    /// All observations of masters, in order of time.
    pub masters: Vec<MasterObservation>,
    /// Changes of leader that faults caused.
    pub failovers: Vec<Failover>,
    /// Snapshots that masters took over from a leader, all starts of a master together.
    pub installed: BTreeMap<usize, u64>,
    last: BTreeMap<usize, Brief>,
    leader: Option<usize>,
    led: Option<(usize, u64)>,
    /// Term of the leader that the last fault on a leader hit.
    hit: Option<u64>,
    roles: Vec<HostState>,
    /// The cluster's changes at which all of them were compared with nobody cut off.
    compared: Option<u64>,
    afresh: bool,
}

impl Watch {
    /// Notes every master again at the next look, whether or not it has changed.
    pub fn look_afresh(&mut self) {
        self.afresh = true;
    }

    /// Who leads now.
    pub fn leader(&self) -> Option<usize> {
        self.leader
    }

    /// Who leads now, or led last.
    pub fn last_leader(&self) -> Option<usize> {
        self.leader.or(self.led.map(|(member, _)| member))
    }

    /// Member and term of the last leader seen.
    pub fn last_term(&self) -> Option<(usize, u64)> {
        self.led
    }

    /// What a change of leader is measured against: the term of the leader that the last fault on a leader hit, or of the
    /// last leader seen.
    pub fn term_before(&self) -> u64 {
        self.hit.or(self.led.map(|(_, term)| term)).unwrap_or_default()
    }

    /// Notes that a client's change was acknowledged at `ack`: the failovers before it are over. Gives those.
    pub fn note_service(&mut self, ack: Option<SimTime>) -> Vec<Failover> {
        let mut over = Vec::new();
        let Some(ack) = ack else { return over };
        for failover in self.failovers.iter_mut().rev().take_while(|failover| failover.serving_at.is_none()) {
            if failover.new_leader_at.is_some_and(|at| ack >= at) {
                failover.serving_at = Some(ack);
                over.push(failover.clone());
            }
        }
        over
    }

    /// Looks at every master. Gives the failover that a new leader completes.
    pub fn look(&mut self, cluster: &Cluster, now: SimTime) -> Option<Failover> {
        for index in cluster.of(target::Role::Master) {
            self.look_at(cluster, index, now);
        }
        self.afresh = false;
        self.leader = cluster.leader();
        let leader = self.leader?;
        let term = cluster.members[leader].observer.look(|facts| facts.serving).unwrap_or_default();
        if self.led.is_some_and(|(_, led)| term <= led) {
            return None;
        }
        self.led = Some((leader, term));
        let open = self.failovers.iter_mut().rev().find(|failover| failover.new_leader.is_none())?;
        open.new_leader = Some(cluster.members[leader].plan.name.clone());
        open.new_leader_at = Some(now);
        Some(open.clone())
    }

    /// A fault hit the leader: a failover begins.
    pub fn leader_hit(&mut self, cluster: &Cluster, fault: &str, now: SimTime) {
        let Some((member, term)) = self.led else { return };
        self.hit = Some(term);
        self.failovers.push(Failover {
            fault: fault.into(),
            old_leader: cluster.members[member].plan.name.clone(),
            killed_at: now,
            new_leader: None,
            new_leader_at: None,
            serving_at: None,
        });
    }

    /// The members' roles, if they changed since the last call. `cut_off` tells who is, if anybody is.
    pub fn changed_roles(
        &mut self,
        cluster: &Cluster,
        cut_off: Option<impl Fn(usize) -> bool>,
    ) -> Option<&[HostState]> {
        // Asked for after every slice of time and seldom true: nothing is allocated to find that out.
        let masters = cluster.of(target::Role::Master);
        let lives = cut_off.is_none().then(|| cluster.changes());
        let cut_off = |i: usize| cut_off.as_ref().is_some_and(|cut_off| cut_off(i));
        // Of the others nothing changes but the process, and of that every change is counted.
        let still = lives.is_some() && std::mem::replace(&mut self.compared, lives) == lives;
        let is_alive = |i: usize, known: &HostState| known.process == cluster.members[i].process_state(cut_off(i));
        let is_master =
            |i: usize, known: &HostState| (known.role, known.term) == (cluster.role_word(i), term_of(cluster, i));
        let same = self.roles.len() == cluster.members.len()
            && (still || self.roles.iter().enumerate().all(|(i, known)| is_alive(i, known)))
            && masters.into_iter().all(|i| is_master(i, &self.roles[i]));
        if same {
            return None;
        }
        let state = |i: usize| {
            let (role, process, term) = state_of(cluster, i, cut_off(i));
            HostState { name: cluster.members[i].plan.name.clone(), role, process, term }
        };
        self.roles = (0..cluster.members.len()).map(state).collect();
        Some(&self.roles)
    }

    fn look_at(&mut self, cluster: &Cluster, index: usize, now: SimTime) {
        let member = &cluster.members[index];
        if !member.running() {
            return;
        }
        let brief = member.observer.look(|facts| Brief::new(member.incarnation, facts));
        let seen = self.last.insert(index, brief);
        if !self.afresh && seen == Some(brief) {
            return;
        }
        let seen = seen.filter(|seen| seen.incarnation == brief.incarnation);
        let known = seen.and_then(|seen| seen.applied).map_or(0, |id| id.index);
        *self.installed.entry(index).or_default() += brief.installed - seen.map_or(0, |seen| seen.installed);
        let observation = member.observer.look(|facts| {
            let new = facts.tail.iter().rev().take_while(|applied| applied.id.index > known);
            let mut log: Vec<_> = new.map(digest).collect();
            log.reverse();
            MasterObservation {
                at: now,
                host: member.host,
                name: member.plan.name.clone(),
                member: u64::from(member.plan.index),
                incarnation: member.incarnation,
                storage: member.storage,
                term: facts.term,
                voted_for: facts.voted_for,
                role: role(facts.role),
                acks_writes: facts.serving.is_some(),
                last_log: facts.last_log,
                committed: facts.committed.map_or(0, |id| id.index),
                applied: facts.applied.map_or(0, |id| id.index),
                state_hash: facts.tail.back().map(|applied| applied.state_hash),
                log,
            }
        });
        self.masters.push(observation);
    }
}

/// The facts of a master that an observation tells, small enough to be compared after every slice of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Brief {
    incarnation: u32,
    term: u64,
    voted_for: Option<u64>,
    role: Raft,
    serving: Option<u64>,
    last_log: Option<u64>,
    committed: Option<EntryId>,
    applied: Option<EntryId>,
    installed: u64,
}

impl Brief {
    fn new(incarnation: u32, facts: &MasterFacts) -> Self {
        let &MasterFacts { term, voted_for, role, serving, last_log, committed, applied, installed, .. } = facts;
        Self { incarnation, term, voted_for, role, serving, last_log, committed, applied, installed }
    }
}

/// Role, process and term of a member.
fn state_of(cluster: &Cluster, index: usize, cut_off: bool) -> (&'static str, ProcessState, Option<u64>) {
    let member = &cluster.members[index];
    (cluster.role_word(index), member.process_state(cut_off), term_of(cluster, index))
}

fn term_of(cluster: &Cluster, index: usize) -> Option<u64> {
    let member = &cluster.members[index];
    (member.plan.role == target::Role::Master).then(|| member.observer.look(|facts| facts.term))
}

/// An applied entry as oracles compare it.
pub fn digest(applied: &Applied) -> LogDigest {
    let carried_out = applied.carried_out.map(|change| CarriedOut { op: change.op, took_effect: change.took_effect });
    LogDigest { id: log_id(applied.id), hash: applied.state_hash, carried_out }
}

fn log_id(id: EntryId) -> LogId {
    LogId { term: id.term, index: id.index }
}

fn role(role: Raft) -> Role {
    match role {
        Raft::Leader => Role::Leader,
        Raft::Candidate => Role::Candidate,
        Raft::Follower => Role::Follower,
        Raft::Learner => Role::Learner,
        Raft::Down => Role::Down,
    }
}
