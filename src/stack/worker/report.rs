//! What the master has yet to be told about this worker's blocks.
//!
//! Rule: whatever calls fail or get lost, once a report is answered the master knows exactly the blocks that are held.
//! A heartbeat that failed may or may not have arrived, so what it said is said again, as far as it is still true; a
//! registration says everything, so nothing is left to say.

use std::collections::BTreeSet;

use crate::stack::wire::BlockId;

/// The changes that one heartbeat carries.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Blocks that came.
    pub added: BTreeSet<BlockId>,
    /// Blocks that went.
    pub removed: BTreeSet<BlockId>,
}

/// Blocks that the master should know of, and what it was not told yet.
#[derive(Debug, Default)]
pub struct Report {
    held: BTreeSet<BlockId>,
    pending: Delta,
}

impl Report {
    /// A block is held, and the master knows its length.
    pub fn add(&mut self, block: BlockId) {
        self.held.insert(block);
        self.pending.removed.remove(&block);
        self.pending.added.insert(block);
    }

    /// A block is not held (any more). Told even if it was never added: a commit may have put it on the master's map.
    pub fn remove(&mut self, block: BlockId) {
        self.held.remove(&block);
        self.pending.added.remove(&block);
        self.pending.removed.insert(block);
    }

    /// Whether the master answered a report that had this block. What it commands about any other block was decided before
    /// it heard of it: of an earlier block with the same id, say, that a restart of this worker cut short.
    pub fn told(&self, block: BlockId) -> bool {
        self.held.contains(&block) && !self.pending.added.contains(&block)
    }

    /// What the next heartbeat says.
    pub fn take(&mut self) -> Delta {
        std::mem::take(&mut self.pending)
    }

    /// A heartbeat got no answer: its changes are still to be told, unless undone since.
    pub fn merge_back(&mut self, failed: Delta) {
        self.pending.added.extend(failed.added.into_iter().filter(|block| self.held.contains(block)));
        self.pending.removed.extend(failed.removed.into_iter().filter(|block| !self.held.contains(block)));
    }

    /// Everything, for a registration. A failed registration must be followed by another one.
    pub fn all(&mut self) -> Vec<BlockId> {
        self.pending = Delta::default();
        self.held.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Add(u64),
        Remove(u64),
        /// A heartbeat: whether it arrives, whether its answer does, and what happens meanwhile.
        Beat {
            arrives: bool,
            answered: bool,
            meanwhile: Vec<Step>,
        },
        Register {
            arrives: bool,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let change = || prop_oneof![(0u64..6).prop_map(Step::Add), (0u64..6).prop_map(Step::Remove)];
        prop_oneof![
            4 => change(),
            2 => (any::<bool>(), any::<bool>(), prop::collection::vec(change(), 0..3))
                .prop_map(|(arrives, answered, meanwhile)| Step::Beat { arrives, answered, meanwhile }),
            1 => any::<bool>().prop_map(|arrives| Step::Register { arrives }),
        ]
    }

    #[derive(Default)]
    struct Bench {
        report: Report,
        held: BTreeSet<BlockId>,
        master: BTreeSet<BlockId>,
        registered: bool,
    }

    impl Bench {
        fn run(&mut self, step: Step) {
            match step {
                Step::Add(b) => {
                    self.held.insert(BlockId(b));
                    self.report.add(BlockId(b));
                }
                Step::Remove(b) => {
                    self.held.remove(&BlockId(b));
                    self.report.remove(BlockId(b));
                }
                Step::Beat { .. } if !self.registered => {}
                Step::Beat { arrives, answered, meanwhile } => {
                    let delta = self.report.take();
                    if arrives {
                        self.master.extend(&delta.added);
                        self.master.retain(|b| !delta.removed.contains(b));
                    }
                    meanwhile.into_iter().for_each(|step| self.run(step));
                    if !(arrives && answered) {
                        self.report.merge_back(delta);
                    }
                }
                Step::Register { arrives } => {
                    let all = self.report.all();
                    self.registered = arrives;
                    if arrives {
                        self.master = all.into_iter().collect();
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_master_knows_what_is_held_after_an_answered_report(steps in prop::collection::vec(step(), 0..60)) {
            let mut bench = Bench::default();
            steps.into_iter().for_each(|step| bench.run(step));
            if bench.registered {
                bench.run(Step::Beat { arrives: true, answered: true, meanwhile: vec![] });
            } else {
                bench.run(Step::Register { arrives: true });
            }
            prop_assert_eq!(&bench.master, &bench.held);
            prop_assert_eq!(bench.report.take(), Delta::default());
        }
    }
}
