//! The plan against a naive model: a list of blocks in the order of their use.

use proptest::prelude::*;

use super::super::plan::{Level, NoPlace, Plan};
use crate::stack::wire::{BlockId, Medium};

#[derive(Debug, Clone)]
enum Op {
    Write { block: u64, bytes: u64 },
    Grow { block: u64, more: u64 },
    Seal { block: u64, pinned: bool },
    Acquire(u64),
    Release(u64),
    Drop(u64),
    Pin(u64, bool),
    Watermarks,
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let block = || 0u64..12;
    prop_oneof![
        6 => (block(), 1u64..60).prop_map(|(block, bytes)| Op::Write { block, bytes }),
        2 => (block(), 1u64..30).prop_map(|(block, more)| Op::Grow { block, more }),
        6 => (block(), prop::bool::weighted(0.2)).prop_map(|(block, pinned)| Op::Seal { block, pinned }),
        4 => block().prop_map(Op::Acquire),
        3 => block().prop_map(Op::Release),
        1 => block().prop_map(Op::Drop),
        1 => (block(), any::<bool>()).prop_map(|(block, pin)| Op::Pin(block, pin)),
        2 => Just(Op::Watermarks),
        4 => Just(Op::Sweep),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    block: BlockId,
    dir: usize,
    bytes: u64,
    users: u32,
    pinned: bool,
    whole: bool,
    going: bool,
}

/// Blocks, least recently used first.
struct Model {
    blocks: Vec<Known>,
}

const QUOTAS: [u64; 3] = [100, 100, 150];
const LEVEL_OF: [usize; 3] = [0, 0, 1];
const HIGH: u64 = 800;
const LOW: u64 = 500;

fn levels() -> Vec<Level> {
    let level =
        |medium, quotas: &[u64]| Level { medium, high_permille: HIGH, low_permille: LOW, quotas: quotas.to_vec() };
    vec![level(Medium::Mem, &QUOTAS[..2]), level(Medium::Hdd, &QUOTAS[2..])]
}

impl Model {
    fn find(&mut self, block: BlockId) -> Option<&mut Known> {
        self.blocks.iter_mut().find(|k| k.block == block)
    }

    fn touch(&mut self, block: BlockId) {
        let at = self.blocks.iter().position(|k| k.block == block).unwrap();
        let known = self.blocks.remove(at);
        self.blocks.push(known);
    }

    fn used(&self, dir: usize) -> u64 {
        self.blocks.iter().filter(|k| k.dir == dir).map(|k| k.bytes).sum()
    }

    fn may_leave(k: &Known) -> bool {
        k.whole && !k.going && k.users == 0 && !k.pinned
    }

    /// Least recently used first, no more than needed, in one directory.
    fn victims(&self, dir: usize, bytes: u64) -> Option<Vec<BlockId>> {
        let mut used: u64 = self.blocks.iter().filter(|k| k.dir == dir && !k.going).map(|k| k.bytes).sum();
        let mut victims = vec![];
        for k in self.blocks.iter().filter(|k| k.dir == dir && Self::may_leave(k)) {
            if used + bytes <= QUOTAS[dir] {
                break;
            }
            used -= k.bytes;
            victims.push(k.block);
        }
        (used + bytes <= QUOTAS[dir]).then_some(victims)
    }

    fn go(&mut self, blocks: &[BlockId]) {
        for block in blocks {
            self.find(*block).unwrap().going = true;
        }
    }

    /// What the plan must say is going after a choice, for the directory that it chose.
    fn chosen(&mut self, dir: usize, bytes: u64) {
        if self.used(dir) + bytes > QUOTAS[dir] {
            let victims = self.victims(dir, bytes).expect("the plan chose a directory that cannot be emptied so far");
            self.go(&victims);
        }
    }
}

fn sweep(plan: &mut Plan, model: &mut Model) {
    let leaving: Vec<_> = plan.leaving().into_iter().map(|l| (l.block, l.dir, l.sealed)).collect();
    let mut want: Vec<_> =
        model.blocks.iter().filter(|k| k.going && k.users == 0).map(|k| (k.block, k.dir, k.whole)).collect();
    want.sort_unstable();
    assert_eq!(leaving, want);
    for (block, ..) in leaving {
        plan.gone(block);
        model.blocks.retain(|k| k.block != block);
    }
}

fn run(plan: &mut Plan, model: &mut Model, op: Op) {
    match op {
        Op::Write { block, bytes } => {
            let block = BlockId(block);
            match plan.choose(block, bytes) {
                Err(NoPlace::Exists) => {
                    let going = plan.is_going(block);
                    assert_eq!(model.find(block).map(|k| k.going), Some(going));
                }
                Err(NoPlace::Full) => assert!((0..3).all(|dir| model.victims(dir, bytes).is_none())),
                Ok(dir) => {
                    let free = |d: usize| QUOTAS[d] - model.used(d);
                    let roomy: Vec<_> = (0..3).filter(|d| free(*d) >= bytes).collect();
                    let level = |d: usize| LEVEL_OF[d];
                    if roomy.is_empty() {
                        let able = (0..3).filter(|d| model.victims(*d, bytes).is_some());
                        assert_eq!(able.map(level).min(), Some(level(dir)), "not the fastest level");
                    } else {
                        assert_eq!(roomy.iter().map(|d| level(*d)).min(), Some(level(dir)), "not the fastest level");
                        let peers = roomy.iter().filter(|d| level(**d) == level(dir));
                        assert_eq!(peers.map(|d| free(*d)).max(), Some(free(dir)), "not the emptiest");
                    }
                    model.chosen(dir, bytes);
                    sweep(plan, model);
                    if plan.begin(block, dir, bytes) {
                        let known = Known { block, dir, bytes, users: 0, pinned: false, whole: false, going: false };
                        model.blocks.push(known);
                    } else {
                        assert!(model.used(dir) + bytes > QUOTAS[dir], "there is room");
                    }
                }
            }
        }
        Op::Grow { block, more } => {
            let block = BlockId(block);
            let writing = model.find(block).filter(|k| !k.whole && !k.going).map(|k| k.dir);
            let Some(dir) = writing else {
                assert!(!plan.grow(block, more));
                return;
            };
            let able = model.victims(dir, more);
            assert_eq!(plan.choose_growth(block, more).is_ok(), able.is_some());
            model.go(&able.unwrap_or_default());
            sweep(plan, model);
            let fits = model.used(dir) + more <= QUOTAS[dir];
            assert_eq!(plan.grow(block, more), fits);
            if fits {
                model.find(block).unwrap().bytes += more;
            }
        }
        Op::Seal { block, pinned } => {
            let block = BlockId(block);
            let known = model.find(block).filter(|k| !k.whole && !k.going);
            assert_eq!(plan.seal(block, pinned), known.is_some());
            if let Some(known) = known {
                (known.whole, known.pinned) = (true, pinned);
                model.touch(block);
            }
        }
        Op::Acquire(block) => {
            let block = BlockId(block);
            let known = model.find(block).filter(|k| k.whole && !k.going);
            assert_eq!(plan.acquire(block), known.as_ref().map(|k| k.dir));
            if let Some(known) = known {
                known.users += 1;
                model.touch(block);
            }
        }
        Op::Release(block) => {
            let block = BlockId(block);
            if let Some(known) = model.find(block).filter(|k| k.users > 0) {
                known.users -= 1;
                let now = known.users == 0 && known.going;
                assert_eq!(plan.release(block), now);
            }
        }
        Op::Drop(block) => {
            let block = BlockId(block);
            let known = model.find(block).filter(|k| !k.going);
            assert_eq!(plan.drop_block(block), known.is_some());
            known.into_iter().for_each(|k| k.going = true);
        }
        Op::Pin(block, pinned) => {
            plan.set_pinned(BlockId(block), pinned);
            model.find(BlockId(block)).into_iter().for_each(|k| k.pinned = pinned);
        }
        Op::Watermarks => {
            for level in 0..2 {
                let capacity: u64 = (0..3).filter(|d| LEVEL_OF[*d] == level).map(|d| QUOTAS[d]).sum();
                let here = |k: &Known| LEVEL_OF[k.dir] == level && !k.going;
                let mut used: u64 = model.blocks.iter().filter(|k| here(k)).map(|k| k.bytes).sum();
                if used * 1000 <= capacity * HIGH {
                    continue;
                }
                let mut go = vec![];
                for k in model.blocks.iter().filter(|k| here(k) && Model::may_leave(k)) {
                    if used * 1000 <= capacity * LOW {
                        break;
                    }
                    used -= k.bytes;
                    go.push(k.block);
                }
                model.go(&go);
            }
            plan.enforce_watermarks();
        }
        Op::Sweep => sweep(plan, model),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Never over quota, in-use and pinned never leave, least recently used first, watermarks to the byte.
    #[test]
    fn the_plan_agrees_with_a_list(ops in prop::collection::vec(op(), 0..120)) {
        let mut plan = Plan::new(levels());
        let mut model = Model { blocks: vec![] };
        for op in ops {
            run(&mut plan, &mut model, op);
            prop_assert_eq!(plan.check(), Ok(()));
            for (dir, quota) in QUOTAS.iter().enumerate() {
                prop_assert!(model.used(dir) <= *quota, "directory {} is over its quota", dir);
            }
            let used: Vec<u64> = plan.usage().iter().map(|u| u.used).collect();
            prop_assert_eq!(used, vec![model.used(0) + model.used(1), model.used(2)]);
            let mut going: Vec<_> = model.blocks.iter().filter(|k| k.going && k.users == 0).map(|k| k.block).collect();
            going.sort_unstable();
            prop_assert_eq!(plan.leaving().iter().map(|l| l.block).collect::<Vec<_>>(), going);
        }
    }
}

#[test]
fn a_worker_that_starts_over_quota_comes_down() {
    let mut plan = Plan::new(levels());
    for block in 0..4 {
        assert!(plan.adopt(BlockId(block), 2, 60, block == 0));
    }
    assert!(!plan.adopt(BlockId(0), 1, 60, false), "the same block twice");
    assert_eq!(plan.enforce_watermarks(), [BlockId(1), BlockId(2), BlockId(3)]);
    assert_eq!(plan.choose(BlockId(9), 151), Err(NoPlace::Full), "larger than any directory");
}
