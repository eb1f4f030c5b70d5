//! What lay on the workers' disks during the run: looked at from outside at the end of each phase, and after bits rotted.
//!
//! A block that was bad at a look and answered a read wrongly before the next one, or after the one before, served its
//! damage: by the end of the run it may be gone.

use super::Story;
use crate::base::SimTime;
use crate::oracle::history::{Answer, BytesSeen, Call};
use crate::oracle::{BlockObservation, Health, WorkerObservation};
use crate::sim::cluster::{BlockFile, block_files};
use crate::sim::scenario::target::Role;
use crate::stack::wire::BlockId;

/// A read that a worker answered wrongly.
pub(super) struct WrongRead {
    worker: String,
    block: BlockId,
    at: SimTime,
}

/// All looks, in order of time.
#[derive(Debug, Default)]
pub(super) struct DiskWatch {
    seen: Vec<WorkerObservation>,
}

impl DiskWatch {
    /// When the last look was.
    pub fn looked_at(&self) -> Option<SimTime> {
        self.seen.last().map(|seen| seen.at)
    }

    /// The looks, with what was answered from blocks while they were bad.
    pub fn judged(&self, wrong: &[WrongRead]) -> Vec<WorkerObservation> {
        let mut times: Vec<SimTime> = self.seen.iter().map(|seen| seen.at).collect();
        times.dedup();
        let mut judged = self.seen.clone();
        for seen in &mut judged {
            let before = times.iter().rev().find(|at| **at < seen.at).copied().unwrap_or(SimTime::ZERO);
            let after = times.iter().find(|at| **at > seen.at).copied().unwrap_or(SimTime::NEVER);
            // Wrong bytes of a good block went wrong elsewhere: that is for the oracle of bytes to tell.
            for block in seen.blocks.iter_mut().filter(|block| block.health == Health::Bad) {
                let of = |read: &&WrongRead| read.worker == seen.name && read.block == block.block;
                let served = wrong.iter().filter(of).filter(|read| before < read.at && read.at <= after);
                block.served_while_bad = served.count() as u64;
            }
        }
        judged
    }
}

impl Story<'_> {
    /// Reads every worker's disk past the worker.
    pub(super) fn look_at_disks(&mut self) {
        let seen = |index: usize| {
            let member = &self.cluster.members[index];
            let block = |file: BlockFile| BlockObservation {
                block: file.block,
                length: file.payload.end - file.payload.start,
                health: if file.bad { Health::Bad } else { Health::Good },
                served_while_bad: 0,
            };
            WorkerObservation {
                at: self.now(),
                host: member.host,
                name: member.plan.name.clone(),
                storage: member.storage,
                blocks: block_files(&self.lab, &self.cluster, index).into_iter().map(block).collect(),
            }
        };
        let seen: Vec<_> = self.cluster.of(Role::Worker).map(seen).collect();
        self.disks.seen.extend(seen);
    }

    /// Reads that workers answered wrongly, by the block that the first wrong byte lies in.
    pub(super) fn wrong_reads(&self) -> Vec<WrongRead> {
        let block_size = self.scenario.spec.parameters.master.block_size.get().max(1);
        let mut wrong = Vec::new();
        self.workload.recorder().look(|operations| {
            for op in operations {
                let (Call::Read { file, .. }, Some(Answer::Bytes(seen))) = (&op.call, op.answer()) else { continue };
                if let (BytesSeen::Mismatch { offset, worker: Some(worker), .. }, Some(at)) = (seen, op.returned()) {
                    let block = BlockId::new(*file, offset / block_size);
                    wrong.push(WrongRead { worker: worker.clone(), block, at });
                }
            }
        });
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HostId;
    use crate::stack::wire::InodeId;

    #[test]
    fn a_block_that_is_gone_by_the_end_has_served_what_it_served() {
        let block = |sequence| BlockId::new(InodeId(1), sequence);
        let look = |secs, blocks: &[(u64, Health)]| WorkerObservation {
            at: SimTime::from_secs(secs),
            host: HostId(1),
            name: "w".into(),
            storage: 0,
            blocks: blocks
                .iter()
                .map(|&(n, health)| BlockObservation { block: block(n), length: 9, health, served_while_bad: 0 })
                .collect(),
        };
        let seen = vec![
            look(10, &[(0, Health::Good), (1, Health::Good)]),
            look(20, &[(0, Health::Bad), (1, Health::Good)]),
            look(30, &[(1, Health::Good)]),
        ];
        let watch = DiskWatch { seen };
        let read =
            |secs, n, worker: &str| WrongRead { worker: worker.into(), block: block(n), at: SimTime::from_secs(secs) };
        for (reads, want) in [
            (vec![read(15, 0, "w"), read(25, 0, "w")], 2),
            (vec![read(10, 0, "w"), read(31, 0, "w")], 0),
            (vec![read(15, 1, "w"), read(15, 0, "v")], 0),
        ] {
            let served =
                watch.judged(&reads).iter().flat_map(|seen| &seen.blocks).map(|b| b.served_while_bad).sum::<u64>();
            assert_eq!(served, want);
        }
    }
}
