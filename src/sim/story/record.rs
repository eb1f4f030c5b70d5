//! From what was seen to the record that the oracles judge, and from their judgement to the outcome.

use std::collections::BTreeMap;

use super::{End, Story};
use crate::oracle::history::{Answer, BytesSeen, Call};
use crate::oracle::{BlockObservation, Bounds, Goal, Health, RunRecord, Setup, WorkerObservation, judge};
use crate::rt::interpose;
use crate::sim::cluster::{BlockFile, block_files};
use crate::sim::outcome::{Escapes, Outcome, Table};
use crate::sim::scenario::target::Role;
use crate::stack::observe::Role as Raft;
use crate::stack::wire::BlockId;
use crate::world::engine::World;

impl Story<'_> {
    /// Runs the story, judges it, and gives the outcome.
    pub fn run(mut self) -> Outcome {
        let end = self.tell().err();
        self.leave();
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
        RunRecord {
            seed: self.seed.0,
            history: self.workload.history(),
            setup: Setup { directories: self.workload.directories(), external: self.workload.directories() },
            masters: std::mem::take(&mut self.watch.masters),
            workers: self.workers(),
            final_tree: self.final_tree.clone(),
            under_store: self.workload.recorder().under_store(),
            faults: self.faults.effects(&self.lab),
            goals: self.goals.clone(),
            healed: self.healed,
            ended: self.now(),
            core: self.core.verdict(),
            bounds: Bounds::default(),
            deadlock: None,
            crashes: panics.iter().map(|p| format!("{:.3} {} {}: {}", p.at, p.host, p.task, p.message)).collect(),
            over_budget: None,
            trace_hashes: vec![self.lab.world.digest().0],
            trace_difference: None,
        }
    }

    /// How often clients got wrong bytes of each block from each worker.
    fn wrong_reads(&self) -> BTreeMap<(String, BlockId), u64> {
        let block_size = self.scenario.spec.parameters.master.block_size.get().max(1);
        let mut wrong = BTreeMap::new();
        self.workload.recorder().look(|operations| {
            for op in operations {
                let (Call::Read { file, .. }, Some(Answer::Bytes(seen))) = (&op.call, op.answer()) else { continue };
                if let BytesSeen::Mismatch { offset, worker: Some(worker), .. } = seen {
                    let block = BlockId::new(*file, offset / block_size);
                    *wrong.entry((worker.clone(), block)).or_default() += 1;
                }
            }
        });
        wrong
    }

    fn workers(&self) -> Vec<WorkerObservation> {
        let wrong = self.wrong_reads();
        let seen = |index: usize| {
            let member = &self.cluster.members[index];
            let block = |file: BlockFile| {
                let wrong = wrong.get(&(member.plan.name.clone(), file.block)).copied().unwrap_or_default();
                BlockObservation {
                    block: file.block,
                    length: file.payload.end - file.payload.start,
                    health: if file.bad { Health::Bad } else { Health::Good },
                    // Wrong bytes of a good block went wrong elsewhere: that is for the oracle of bytes to tell.
                    served_while_bad: if file.bad { wrong } else { 0 },
                }
            };
            WorkerObservation {
                at: self.now(),
                host: member.host,
                name: member.plan.name.clone(),
                blocks: block_files(&self.lab, &self.cluster, index).into_iter().map(block).collect(),
            }
        };
        self.cluster.of(Role::Worker).map(seen).collect()
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
