//! S10: corruption is detected or repaired, never served.
//!
//! The harness reads every worker's disk from outside, at the end of each phase and whenever bits rotted, and counts what was
//! answered from blocks that were bad then, gone since or not. A block may be bad: disks rot. Handing it out is the violation. A wrong read ([`Violation::WrongBytes`]) is S7's; the two together tell the story.

use super::judge::Finding;
use super::observation::Health;
use super::record::RunRecord;
use super::violation::Violation;

/// Checks one run: every block that was ever seen bad.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let mut named = std::collections::BTreeSet::new();
    for worker in &record.workers {
        for block in worker.blocks.iter().filter(|b| b.health != Health::Good || b.served_while_bad > 0) {
            let served = block.served_while_bad > 0 && named.insert((&worker.name, block.block));
            finding.check(served.then(|| Violation::CorruptionServed {
                worker: worker.name.clone(),
                block: block.block,
                times: block.served_while_bad,
                at: worker.at,
            }));
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HostId;
    use crate::oracle::observation::{BlockObservation, WorkerObservation};
    use crate::oracle::testing::at;
    use crate::stack::wire::{BlockId, InodeId};

    #[test]
    fn a_bad_block_may_lie_there_but_not_be_served() {
        let cases = [
            (Health::Good, 0, 0, 0),
            (Health::Bad, 0, 1, 0),
            (Health::Bad, 2, 2, 1),
            (Health::Good, 1, 2, 1), // repaired, but too late
        ];
        for (health, served_while_bad, checks, violations) in cases {
            let block = BlockObservation { block: BlockId::new(InodeId(1), 0), length: 9, health, served_while_bad };
            let seen = |t| WorkerObservation {
                at: at(t),
                host: HostId(1),
                name: "w".into(),
                storage: 0,
                blocks: vec![block.clone()],
            };
            let finding = check(&RunRecord { workers: vec![seen(1), seen(2)], ..RunRecord::default() });
            assert_eq!(finding.violations.len(), violations, "{health:?} {served_while_bad}: named once");
            assert_eq!(finding.checks > 0, checks > 0);
        }
    }
}
