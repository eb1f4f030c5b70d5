//! What lay on the workers' disks during the run: looked at from outside at the end of each phase, and after bits rotted.
//! Which blocks there are is looked at every second, without their bytes.
//!
//! A block that was bad at a look and answered a read wrongly before the next one, or after the one before, served its
//! damage: by the end of the run it may be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Story;
use crate::base::SimTime;
use crate::oracle::history::{Answer, BytesSeen, Call};
use crate::oracle::{BlockObservation, Gone, Health, WorkerObservation};
use crate::sim::cluster::{BlockFile, block_files, disk_changes, whole_blocks};
use crate::sim::scenario::target::Role;
use crate::stack::wire::BlockId;

/// Between two looks at which blocks there are.
const EVERY: Duration = Duration::from_secs(1);

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
    /// The blocks at the last look between, by member.
    there: BTreeMap<usize, Blocks>,
    gone: Vec<Gone>,
    followed: Option<SimTime>,
}

/// The blocks of one member.
#[derive(Debug)]
struct Blocks {
    storage: u32,
    changes: u64,
    blocks: BTreeSet<BlockId>,
}

impl DiskWatch {
    /// When the last look was.
    pub fn looked_at(&self) -> Option<SimTime> {
        self.seen.last().map(|seen| seen.at)
    }

    /// Blocks that went, in order of time.
    pub fn gone(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.gone)
    }

    /// Notes what went from a member's disks. What went with a disk that was replaced is not the worker's doing.
    fn note(&mut self, (member, worker): (usize, &str), now: Blocks, at: SimTime) {
        let before = self.there.get(&member).filter(|before| before.storage == now.storage);
        let went = before.into_iter().flat_map(|before| before.blocks.difference(&now.blocks));
        self.gone.extend(went.map(|block| Gone { worker: worker.to_owned(), block: *block, at }));
        self.there.insert(member, now);
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

    /// Looks which blocks there are, on disks that have changed.
    pub(super) fn follow_blocks(&mut self) {
        let now = self.now();
        if self.disks.followed.is_some_and(|at| now.since(at) < EVERY) {
            return;
        }
        self.disks.followed = Some(now);
        for index in self.cluster.of(Role::Worker) {
            let member = &self.cluster.members[index];
            let (storage, changes) = (member.storage, disk_changes(&self.lab, &self.cluster, index));
            let known = self.disks.there.get(&index);
            // A container that has just started has not said where its blocks are.
            if !member.running()
                || member.store.is_empty()
                || known.is_some_and(|known| (known.storage, known.changes) == (storage, changes))
            {
                continue;
            }
            let blocks = whole_blocks(&self.lab, &self.cluster, index);
            self.disks.note((index, &member.plan.name), Blocks { storage, changes, blocks }, now);
        }
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
        let watch = DiskWatch { seen, ..DiskWatch::default() };
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

    #[test]
    fn a_block_goes_with_its_worker_s_doing_or_with_its_disk() {
        let blocks = |storage, all: &[u64]| Blocks {
            storage,
            changes: 0,
            blocks: all.iter().map(|n| BlockId::new(InodeId(1), *n)).collect(),
        };
        let mut watch = DiskWatch::default();
        for (secs, storage, all) in [(1, 0, &[0, 1][..]), (2, 0, &[1, 2]), (3, 1, &[]), (4, 1, &[3])] {
            watch.note((7, "w"), blocks(storage, all), SimTime::from_secs(secs));
        }
        let gone = Gone { worker: "w".into(), block: BlockId::new(InodeId(1), 0), at: SimTime::from_secs(2) };
        assert_eq!(watch.gone(), [gone]);
    }
}
