//! Homes of metadata, as the masters that work with them present them.

use std::collections::BTreeMap;

use crate::base::SimTime;
use crate::oracle::cluster::JournalSeen;
use crate::sim::cluster::Cluster;
use crate::sim::scenario::Scenario;
use crate::sim::scenario::target::Role;
use crate::stack::observe::Role as Raft;

/// What a master presented, to see whether it changed.
type Brief = (u32, u64, Option<u64>, u64, bool, Option<u64>);

/// All that was presented.
#[derive(Default)]
pub(super) struct Journals {
    seen: Vec<JournalSeen>,
    last: BTreeMap<usize, Brief>,
}

impl Journals {
    /// Looks at every master.
    pub fn look(&mut self, cluster: &Cluster, scenario: &Scenario, now: SimTime) {
        let meta = scenario.runtime.metadata();
        for index in cluster.of(Role::Master) {
            let member = &cluster.members[index];
            let Some(facts) = cluster.facts(index).filter(|facts| facts.role != Raft::Down) else { continue };
            let kept = facts.committed.map_or(0, |id| id.index).min(facts.last_log.unwrap_or(0));
            let brief = (member.incarnation, facts.term, facts.last_log, kept, facts.serving.is_some(), facts.cluster);
            if self.last.insert(index, brief) == Some(brief) {
                continue;
            }
            let home = match member.volumes.first() {
                Some(volume) => volume.clone(),
                None => format!("{} {}", member.plan.name, member.pod.as_deref().unwrap_or_default()),
            };
            self.seen.push(JournalSeen {
                at: now,
                home,
                member: member.plan.name.clone(),
                group: format!("{}/{}", meta.namespace, meta.name),
                cluster: facts.cluster.map(|name| format!("{name:016x}")).unwrap_or_default(),
                term: facts.term,
                last: facts.last_log.unwrap_or(0),
                kept,
                serving: facts.serving.is_some(),
                noticed: None,
                volatile: member.volumes.is_empty(),
                state: facts.tail.back().map(|applied| (applied.id.index, applied.state_hash)),
                log: Vec::new(),
            });
        }
    }

    /// All of them.
    pub fn told(self) -> Vec<JournalSeen> {
        self.seen
    }
}
