//! S9: data that was acknowledged and has no other copy is not evicted.
//!
//! A worker may drop what an under-store has too. A block of a file that nobody can read at the end, and that lay whole on
//! a worker's disk and does so no more, was dropped before it was persisted. What a medium destroyed, or what
//! went with a disk that was replaced, is not the worker's doing.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::Finding;
use super::observation::{Health, WorkerObservation};
use super::record::RunRecord;
use super::violation::Violation;

/// Checks one run: every block that lay whole on a disk and was looked for again.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let unreadable: BTreeMap<_, _> = record
        .final_tree
        .iter()
        .flat_map(|tree| &tree.unreadable)
        .map(|lost| (lost.file, lost.path.as_str()))
        .collect();
    let rotted = |worker: &str, block| record.damage.iter().any(|d| d.worker == worker && d.block == block);
    let mut told = BTreeSet::new();
    for gone in record.gone.iter().filter(|gone| !rotted(&gone.worker, gone.block)) {
        let Some(path) = unreadable.get(&gone.block.file()) else { continue };
        if told.insert((gone.worker.as_str(), gone.block)) {
            finding.check(Some(Violation::EvictedUnpersisted {
                worker: gone.worker.clone(),
                block: gone.block,
                path: (*path).to_owned(),
                at: gone.at,
            }));
        }
    }
    let mut lives: BTreeMap<(&str, u32), Vec<&WorkerObservation>> = BTreeMap::new();
    record.workers.iter().for_each(|seen| lives.entry((&seen.name, seen.storage)).or_default().push(seen));
    for ((worker, _), looks) in lives {
        for pair in looks.windows(2) {
            let [before, after] = pair else { continue };
            for block in before.blocks.iter().filter(|block| block.health == Health::Good) {
                let there = after.blocks.iter().any(|other| other.block == block.block);
                let dropped = !there && !rotted(worker, block.block) && !told.contains(&(worker, block.block));
                let path = unreadable.get(&block.block.file()).filter(|_| dropped);
                finding.check(path.map(|path| Violation::EvictedUnpersisted {
                    worker: worker.to_owned(),
                    block: block.block,
                    path: (*path).to_owned(),
                    at: after.at,
                }));
            }
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HostId;
    use crate::oracle::observation::{BlockObservation, Damage, FinalTree, Gone, Unreadable};
    use crate::oracle::testing::at;
    use crate::stack::wire::{BlockId, InodeId};

    /// Two looks at a worker that held block 0 of file 1; then it is there still or not.
    fn run(still: bool, storage: u32, unreadable: bool, damage: Vec<Damage>) -> Finding {
        let block = BlockObservation {
            block: BlockId::new(InodeId(1), 0),
            length: 9,
            health: Health::Good,
            served_while_bad: 0,
        };
        let look =
            |t, storage, blocks| WorkerObservation { at: at(t), host: HostId(1), name: "w".into(), storage, blocks };
        let second = if still { vec![block.clone()] } else { vec![] };
        let lost = Unreadable { path: "/f".into(), file: InodeId(1), error: "no copy".into() };
        let tree = FinalTree { unreadable: if unreadable { vec![lost] } else { vec![] }, ..FinalTree::default() };
        check(&RunRecord {
            workers: vec![look(1, 0, vec![block]), look(2, storage, second)],
            final_tree: Some(tree),
            damage,
            ..RunRecord::default()
        })
    }

    #[test]
    fn a_block_that_went_with_the_only_copy_of_a_file_is_told() {
        let finding = run(false, 0, true, vec![]);
        assert!(matches!(&finding.violations[..], [Violation::EvictedUnpersisted { .. }]), "{:?}", finding.violations);
        assert!(finding.violations[0].to_string().contains("/f"), "{}", finding.violations[0]);
    }

    #[test]
    fn a_block_that_came_and_went_between_two_looks_is_told_once() {
        let gone = |file| Gone { worker: "w".into(), block: BlockId::new(InodeId(file), 0), at: at(2) };
        let lost = Unreadable { path: "/f".into(), file: InodeId(1), error: "no copy".into() };
        let final_tree = Some(FinalTree { unreadable: vec![lost], ..FinalTree::default() });
        let record = RunRecord { gone: vec![gone(1), gone(1), gone(2)], final_tree, ..RunRecord::default() };
        assert_eq!(check(&record).violations.len(), 1);
        let damage = vec![Damage { worker: "w".into(), block: BlockId::new(InodeId(1), 0), at: at(1) }];
        assert_eq!(check(&RunRecord { damage, ..record }).violations, []);
    }

    #[test]
    fn what_others_have_or_what_was_destroyed_may_go() {
        let rotted = Damage { worker: "w".into(), block: BlockId::new(InodeId(1), 0), at: at(1) };
        for (still, storage, unreadable, damage, checks) in [
            (true, 0, true, vec![], 1),
            (false, 0, false, vec![], 1),
            (false, 1, true, vec![], 0),
            (false, 0, true, vec![rotted], 1),
        ] {
            let finding = run(still, storage, unreadable, damage);
            assert_eq!((finding.violations.len(), finding.checks), (0, checks));
        }
    }
}
