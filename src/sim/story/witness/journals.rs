//! Homes of metadata, as the masters that work with them present them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::SimTime;
use crate::oracle::LogDigest;
use crate::oracle::cluster::JournalSeen;
use crate::sim::cluster::{Cluster, Member};
use crate::sim::scenario::Scenario;
use crate::sim::scenario::target::Role;
use crate::sim::watch::digest;
use crate::stack::observe::{MasterFacts, Role as Raft};

/// What a master presented, to see whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Brief {
    incarnation: u32,
    term: u64,
    last_log: Option<u64>,
    kept: u64,
    serving: bool,
    outdated: bool,
    cluster: Option<u64>,
}

/// What a master and its home are called: the same for thousands of looks.
struct Names {
    home: Arc<str>,
    member: Arc<str>,
    group: Arc<str>,
    /// Of which cluster the next is the name.
    of: Option<u64>,
    cluster: Arc<str>,
}

impl Names {
    fn of(member: &Member, facts: &MasterFacts, scenario: &Scenario) -> Self {
        let (name, meta) = (&member.plan.name, scenario.runtime.metadata());
        let home = match member.volumes.first() {
            Some(volume) => volume.as_str().into(),
            None => [name, " ", member.pod.as_deref().unwrap_or_default()].concat().into(),
        };
        Self {
            home,
            member: name.as_str().into(),
            group: [&meta.namespace, "/", &meta.name].concat().into(),
            of: facts.cluster,
            cluster: facts.cluster.map(|name| format!("{name:016x}")).unwrap_or_default().into(),
        }
    }

    fn are_of(&self, member: &Member, facts: &MasterFacts) -> bool {
        let pod = || self.home.strip_prefix(&member.plan.name)?.strip_prefix(' ');
        self.of == facts.cluster
            && match member.volumes.first() {
                Some(volume) => *self.home == **volume,
                None => pod() == Some(member.pod.as_deref().unwrap_or_default()),
            }
    }
}

/// All that was presented.
#[derive(Default)]
pub(super) struct Journals {
    seen: Vec<JournalSeen>,
    names: BTreeMap<usize, Names>,
    last: BTreeMap<usize, Brief>,
    /// Up to which entry of which start of a master its log was taken over.
    taken: BTreeMap<usize, (u32, u64)>,
}

impl Journals {
    /// Looks at every master.
    pub fn look(&mut self, cluster: &Cluster, scenario: &Scenario, now: SimTime) {
        for index in cluster.of(Role::Master) {
            let member = &cluster.members[index];
            if member.running() {
                member.observer.look(|facts| self.look_at(index, member, facts, scenario, now));
            }
        }
    }

    fn look_at(&mut self, index: usize, member: &Member, facts: &MasterFacts, scenario: &Scenario, now: SimTime) {
        if facts.role == Raft::Down {
            return;
        }
        let kept = facts.committed.map_or(0, |id| id.index).min(facts.last_log.unwrap_or(0));
        let brief = Brief {
            incarnation: member.incarnation,
            term: facts.term,
            last_log: facts.last_log,
            kept,
            serving: facts.serving.is_some(),
            outdated: facts.outdated,
            cluster: facts.cluster,
        };
        if self.last.insert(index, brief) == Some(brief) {
            return;
        }
        let log = if brief.serving { self.news(index, member.incarnation, facts) } else { Vec::new() };
        let names = self.names.entry(index).or_insert_with(|| Names::of(member, facts, scenario));
        if !names.are_of(member, facts) {
            *names = Names::of(member, facts, scenario);
        }
        self.seen.push(JournalSeen {
            at: now,
            home: names.home.clone(),
            member: names.member.clone(),
            group: names.group.clone(),
            cluster: names.cluster.clone(),
            term: facts.term,
            last: facts.last_log.unwrap_or(0),
            kept,
            serving: brief.serving,
            noticed: facts.outdated.then(|| "it refuses to serve".into()),
            volatile: member.volumes.is_empty(),
            state: facts.tail.back().map(|applied| (applied.id.index, applied.state_hash)),
            log,
        });
    }

    /// Entries that a serving master applied since the last look, without a gap: it may have taken over a snapshot.
    fn news(&mut self, index: usize, incarnation: u32, facts: &MasterFacts) -> Vec<LogDigest> {
        let taken = self.taken.entry(index).or_default();
        let known = if taken.0 == incarnation { taken.1 } else { 0 };
        let mut log: Vec<LogDigest> = Vec::new();
        for applied in facts.tail.iter().rev().take_while(|applied| applied.id.index > known) {
            if log.last().is_some_and(|after| after.id.index != applied.id.index + 1) {
                break;
            }
            log.push(digest(applied));
        }
        log.reverse();
        *taken = (incarnation, log.last().map_or(known, |last| last.id.index));
        log
    }

    /// All of them.
    pub fn told(self) -> Vec<JournalSeen> {
        self.seen
    }
}
