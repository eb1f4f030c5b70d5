//! From what was seen to the record that the oracles judge, and from their judgement to the outcome.

use std::time::Duration;

use super::{End, Story};
use crate::oracle::{Bounds, FinalTree, Goal, RunRecord, Setup, judge};
use crate::rt::interpose;
use crate::sim::outcome::{Escapes, Outcome, Table};
use crate::sim::scenario::target::Role;
use crate::stack::observe::Role as Raft;
use crate::trace::{Digest, Rolling};

impl Story<'_> {
    /// Runs the story, judges it, and gives the outcome.
    pub fn run(mut self) -> Outcome {
        let end = self.tell().err();
        self.judged(end)
    }

    /// Holds what was seen against every promise.
    fn judged(mut self, end: Option<End>) -> Outcome {
        self.leave();
        if self.disks.looked_at() != Some(self.now()) {
            self.look_at_disks();
        }
        let mut record = self.record();
        match end {
            None => {}
            Some(End::OverBudget(what)) => record.over_budget = Some(what),
            Some(End::Deadlock(tasks)) => record.deadlock = Some(tasks),
            Some(End::Stuck(why)) => record.goals.push(Goal { name: why, reached: 0 }),
        }
        let judgement = judge(&record);
        let mut outcome = self.outcome_of(&record);
        outcome.verdict = judgement.verdict;
        outcome.violations = judgement.violations;
        outcome.oracles = judgement.oracles;
        outcome.notes.extend(judgement.notes);
        outcome
    }

    fn record(&mut self) -> RunRecord {
        let panics = self.lab.world.panics();
        let lives = self.lives();
        let cluster = self.testimony();
        RunRecord {
            seed: self.seed.0,
            history: self.workload.history(),
            setup: Setup { directories: self.workload.directories(), external: self.workload.directories() },
            masters: std::mem::take(&mut self.watch.masters),
            workers: self.disks.judged(&self.wrong_reads()),
            gone: self.disks.gone(),
            final_tree: self.final_tree.clone(),
            under_store: self.workload.recorder().under_store(),
            damage: self.faults.damage.clone(),
            faults: self.faults.effects(&self.lab),
            goals: self.goals.clone(),
            lives,
            // Of a cluster that was taken down nobody expects a leader.
            healed: self.healed.filter(|_| !self.torn_down()),
            ended: self.now(),
            core: self.core.verdict(),
            bounds: self.bounds(),
            deadlock: None,
            crashes: panics.iter().map(|p| format!("{:.3} {} {}: {}", p.at, p.host, p.task, p.message)).collect(),
            over_budget: None,
            trace_hashes: vec![self.lab.world.digest().0],
            trace_difference: None,
            cluster,
        }
    }

    /// What the oracles hold the run against: as its parameters promise.
    pub(super) fn bounds(&self) -> Bounds {
        let parameters = &self.scenario.spec.parameters;
        let (raft, client) = (&parameters.raft, &parameters.client);
        Bounds {
            // An election that failed once, and the replay of the journal.
            leader: 2 * raft.election_timeout.max.0 + Duration::from_secs(5),
            operation: client.retry_budget.0 + client.request_timeout.0,
            staleness: client.attribute_cache.0 + Duration::from_secs(10),
            ..Bounds::default()
        }
    }

    fn outcome_of(&mut self, record: &RunRecord) -> Outcome {
        let mut outcome = self.outcome.clone();
        outcome.failovers = self.watch.failovers.clone();
        outcome.faults = record.faults.clone();
        outcome.counters = self.workload.counters();
        outcome.counters.insert("raft.terms".into(), self.watch.last_term().map_or(0, |(_, term)| term));
        outcome.counters.insert("raft.snapshots_installed".into(), self.watch.installed.values().sum());
        outcome.tables.push(self.masters_table());
        let (getrandom, clock) = interpose::end();
        outcome.escapes = Escapes { getrandom, clock };
        outcome.events = self.lab.world.events();
        outcome.ended = self.now();
        outcome.final_state = self.final_tree.as_ref().map(hash);
        outcome.trace_hash = self.lab.world.digest();
        if let Err(error) = self.lab.world.finish_trace() {
            outcome.notes.push(format!("the trace file is not whole: {error}"));
        }
        outcome
    }

    fn masters_table(&self) -> Table {
        let columns = ["MASTER", "ROLE", "TERM", "APPLIED", "SNAPSHOT", "PURGED", "INSTALLED", "STARTS"]
            .map(str::to_owned)
            .to_vec();
        let row = |index: usize| {
            let member = &self.cluster.members[index];
            let facts = member.observer.facts();
            let role = match facts.role {
                Raft::Leader => "LEADER",
                Raft::Follower => "FOLLOWER",
                Raft::Candidate => "CANDIDATE",
                Raft::Learner => "LEARNER",
                Raft::Down => "DOWN",
            };
            let index_of =
                |id: Option<crate::stack::observe::EntryId>| id.map_or("-".into(), |id| id.index.to_string());
            vec![
                member.plan.name.clone(),
                role.into(),
                facts.term.to_string(),
                index_of(facts.applied),
                index_of(facts.snapshot),
                index_of(facts.purged),
                self.watch.installed.get(&index).copied().unwrap_or_default().to_string(),
                member.incarnation.to_string(),
            ]
        };
        Table { title: "masters".into(), columns, rows: self.cluster.of(Role::Master).map(row).collect() }
    }
}

/// Of what clients see of a tree: no inodes, no versions, which depend on the order of operations.
fn hash(tree: &FinalTree) -> Digest {
    let mut rolling = Rolling::default();
    for (path, seen) in &tree.entries {
        rolling.bytes(path.as_bytes());
        rolling.word(seen.length << 2 | u64::from(seen.dir) << 1 | u64::from(seen.completed));
    }
    rolling.digest()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Seed, SimTime};
    use crate::oracle::{Verdict, Violation};
    use crate::sim::progress::Silent;
    use crate::sim::scenario::{Scenario, load};
    use crate::stack::wire::OpId;
    use crate::stack::wire::master::MasterRequest;
    use crate::world::engine::glass::Glass;
    use crate::world::lab::Lab;

    fn scenario(workload: &str, steps: &str) -> Scenario {
        let text = format!(
            "
name: still
about: Little happens.
nodes: [n1, n2, n3]
manifests: [dataset.yaml, runtime.yaml]
under_stores:
  - {{url: https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/, files: [{{path: a, size: 9}}]}}
parameters: {{client: {{retry_budget: 10s, request_timeout: 3s}}, raft: {{heartbeat: 2s, election_timeout: {{min: 6s, max: 7s}}}}}}
workload: {workload}
steps: {steps}
"
        );
        let read = |path: &str| match path {
            "dataset.yaml" => Ok(include_bytes!("../../../scenarios/manifests/goosefs/dataset.yaml").to_vec()),
            _ => Ok(include_bytes!("../../../scenarios/manifests/goosefs/runtime.yaml").to_vec()),
        };
        load::parse("still.yaml", text, &read).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_world_where_nothing_will_happen_is_a_deadlock_once_all_is_healed_and_the_outcome_names_who_waits() {
        let (scenario, seed) = (scenario("{}", "[{wait: 1s}]"), Seed(1));
        let mut progress = Silent;
        let mut story = Story::new(&scenario, seed, Lab::new(seed, Glass::plain(seed)), &mut progress);
        let host = story.cluster.members[0].host;
        story.lab.world.start(host, "client", Box::pin(std::future::pending())).unwrap();
        assert_eq!(story.slice(SimTime::from_secs(1)), Ok(()), "nobody waits");
        let stat = MasterRequest::Stat { path: "/".into() };
        story.workload.recorder().audit(0).began(OpId { client: 1, seq: 1 }, &stat);
        assert_eq!(story.slice(SimTime::from_secs(2)), Ok(()), "the heal is still to come");
        story.healed = Some(story.now());
        let end = story.slice(SimTime::from_secs(3)).unwrap_err();
        let outcome = story.judged(Some(end));
        assert_eq!(outcome.verdict, Verdict::Liveness);
        let deadlock = |violation: &&Violation| matches!(violation, Violation::Deadlock { .. });
        let Some(Violation::Deadlock { pending, tasks }) = outcome.violations.iter().find(deadlock) else {
            panic!("{:?}", outcome.violations)
        };
        assert_eq!((*pending, tasks.len()), (1, 1));
        assert!(tasks[0].contains("client main: waits for"), "{tasks:?}");
    }

    #[test]
    fn clients_die_with_their_mount_and_come_back_with_it() {
        let workload = "{clients: 2, tail: 1s, think_time: {min: 1ms, max: 2ms}, \
                        mix: {mkdir: 1, create: 0, rename: 0, delete: 1, list: 1, stat: 1, read: 0}}";
        // While the leader stands still every call waits.
        let steps = "[{wait: 3s}, {freeze: {target: leader, for: 1s}}, {wait: 500ms}, \
                     {power_loss: {target: fuse/0, restart_after: 2s}}, {wait: 4s}]";
        let (scenario, seed) = (scenario(workload, steps), Seed(1));
        let mut progress = Silent;
        let mut story = Story::new(&scenario, seed, Lab::new(seed, Glass::plain(seed)), &mut progress);
        let end = story.tell().err();
        assert_eq!(end, None);
        let history = story.workload.history();
        let died = |op: &&crate::oracle::Operation| op.to_string().contains("the client died");
        assert!(history.iter().any(|op| died(&op)), "it waited for the leader");
        let ids = |client: u32| {
            let own = history.iter().filter(|op| op.client == client).map(|op| op.op.client);
            own.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!((ids(0), ids(1)), (2, 1), "a client that comes back is a new one to the masters");
        let outcome = story.judged(end);
        assert_eq!(outcome.verdict, Verdict::Pass, "{:?}", outcome.violations);
        assert_eq!(outcome.counters.keys().find(|key| key.ends_with(".pending")), None);
    }

    #[test]
    fn bounds_follow_the_parameters() {
        let (scenario, seed) = (scenario("{}", "[{wait: 1s}]"), Seed(1));
        let mut progress = Silent;
        let bounds = Story::new(&scenario, seed, Lab::new(seed, Glass::plain(seed)), &mut progress).bounds();
        assert_eq!((bounds.operation, bounds.leader), (Duration::from_secs(13), Duration::from_secs(19)));
    }
}
